//! What the gateway asks of the rest of Asgard.

use std::net::SocketAddr;

use async_trait::async_trait;
use domain::secret::Secret;
use domain::{AgentName, AgentState};

use crate::Refusal;

/// Who gives agents to requests. The gateway knows neither engines nor schedules: it asks here.
#[async_trait]
pub trait Dispatch: Send + Sync + 'static {
    /// Every agent, awake or not, in the order of the stack file.
    async fn models(&self) -> Vec<Model>;

    /// A lease on the agent that `wanted.model` names. May take as long as it must: when the client hangs up, the
    /// future is dropped, and whoever waits in it must leave the queue then.
    async fn lease(&self, wanted: &Wanted) -> Result<Lease, Refusal>;
}

/// An agent as `/v1/models` shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Model {
    pub id: AgentName,
    /// The model's own id on the Hub.
    pub model: String,
    pub state: AgentState,
    pub max_model_len: u32,
}

/// What a request asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// The body's `model`: an agent's name or a model's id. See [`route`](crate::route).
    pub model: String,
    /// The path, without the query: `/v1/chat/completions`.
    pub path: String,
    pub client: Client,
}

/// Who asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Client {
    pub address: SocketAddr,
    /// What it calls itself, by its `User-Agent`.
    pub name: Option<String>,
}

/// The right to use an agent for one request. Dropping it gives the agent back; the gateway holds it until the last
/// byte of the answer is handed on or the client is gone.
pub struct Lease {
    pub agent: AgentName,
    /// Where the agent listens: `http://127.0.0.1:8001`, with a path in front of `/v1` where it has one.
    pub endpoint: String,
    /// The agent's key of this start; empty where its server takes none.
    pub key: Secret,
    /// The longest that this request may take; the answer breaks off there. `None`: as long as it takes.
    pub max_seconds: Option<u64>,
    /// The name that the agent's server knows its model by, where it does not know the one that was asked for.
    pub model: Option<String>,
    _guard: Box<dyn Send>,
}

impl Lease {
    /// `guard` is dropped with the lease: its `Drop` is how the schedule hears that the agent is less in use.
    pub fn new(
        agent: AgentName,
        endpoint: impl Into<String>,
        key: Secret,
        max_seconds: Option<u64>,
        guard: impl Send + 'static,
    ) -> Self {
        Self { agent, endpoint: endpoint.into(), key, max_seconds, model: None, _guard: Box::new(guard) }
    }

    /// For a server of others, and for a role on another agent's: the request's `model` is replaced by this name.
    #[must_use]
    pub fn with_model(mut self, model: String) -> Self {
        self.model = Some(model);
        self
    }
}

impl std::fmt::Debug for Lease {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Lease")
            .field("agent", &self.agent)
            .field("endpoint", &self.endpoint)
            .field("max_seconds", &self.max_seconds)
            .finish_non_exhaustive()
    }
}
