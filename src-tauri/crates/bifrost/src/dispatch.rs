//! What the gateway asks of the rest of Asgard.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use domain::schedule::{Place, Ticket};
use domain::secret::Secret;
use domain::{AgentName, AgentState};
use serde_json::Value;
use tokio::sync::{oneshot, watch};

use crate::Refusal;

/// Who gives agents to requests. The gateway knows neither engines nor schedules: it asks here.
#[async_trait]
pub trait Dispatch: Send + Sync + 'static {
    /// Every agent, awake or not, in the order of the stack file. Cheap: asked at every request.
    fn models(&self) -> Arc<[Model]>;

    /// Who comes with these, or why they may not come in. Asked at every request, before its body is read.
    fn admit(&self, presented: &Presented<'_>) -> Result<Client, Refusal>;

    /// A lease on the agent that `wanted.model` names. Never waits: where it cannot be had at once, what is handed
    /// back is a place in the queue.
    fn ask(&self, wanted: &Wanted) -> Asked;

    /// Summon, release, restore. The answer's status and body; see [`ControlAnswer`].
    async fn control(&self, what: Control, client: &Client) -> ControlAnswer;

    /// The body of `GET /v1/status`.
    async fn status(&self) -> Value;

    /// The body of `GET /metrics`, Prometheus' text.
    async fn metrics(&self) -> String;

    /// A request came to its end. Must not wait.
    fn record(&self, record: Record);
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

/// What a client shows of itself.
#[derive(Debug, Clone, Copy)]
pub struct Presented<'a> {
    pub address: SocketAddr,
    /// The bearer of `Authorization`, or `x-api-key`.
    pub key: Option<&'a str>,
    /// `x-asgard-face`: how the window, the tray and the command line make themselves known.
    pub face: Option<&'a str>,
    pub user_agent: Option<&'a str>,
}

/// Who asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Client {
    /// For the record: the key's name, else the first word of the user agent, else "unknown".
    pub name: Arc<str>,
    /// The person at the window, the tray or the command line.
    pub person: bool,
    /// The agents that its key allows; none: all.
    pub agents: Option<Arc<[AgentName]>>,
}

/// What a request asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// The body's `model`: an agent's name or a model's id. See [`route`](crate::route).
    pub model: String,
    /// The path, without the query: `/v1/chat/completions`.
    pub path: String,
    pub stream: bool,
    /// It does not wait to the end, and was told to come again: its leaving is no hang-up.
    pub returns: bool,
    pub client: Client,
}

/// The answer to [`Dispatch::ask`].
#[derive(Debug)]
pub enum Asked {
    Granted(Lease),
    Refused(Refusal),
    Waiting(Waiting),
}

/// A place in the queue. Dropping it leaves the queue.
pub struct Waiting {
    pub ticket: Ticket,
    /// Where it stands; changes while it waits.
    pub place: watch::Receiver<Place>,
    /// The end of the wait. An error means that the controller is ending.
    pub outcome: oneshot::Receiver<Result<Lease, Refusal>>,
    guard: Box<dyn Send>,
}

impl Waiting {
    /// `guard` is dropped when the client hangs up before the wait is over.
    pub fn new(
        ticket: Ticket,
        place: watch::Receiver<Place>,
        outcome: oneshot::Receiver<Result<Lease, Refusal>>,
        guard: impl Send + 'static,
    ) -> Self {
        Self { ticket, place, outcome, guard: Box::new(guard) }
    }

    /// Waits to the end. What the guard does at its drop must be harmless once the outcome is there.
    ///
    /// # Errors
    /// The refusal that ended the wait.
    pub async fn wait(mut self) -> Result<Lease, Refusal> {
        let outcome = (&mut self.outcome).await;
        outcome.unwrap_or_else(|_| {
            Err(Refusal::Busy { message: "Asgard is ending. Try again later.".to_owned(), retry_after: 30 })
        })
    }
}

impl std::fmt::Debug for Waiting {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let _ = &self.guard;
        f.debug_struct("Waiting").field("ticket", &self.ticket).finish_non_exhaustive()
    }
}

/// What the control paths ask for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Control {
    /// The agent as the path names it, not yet known to exist.
    Summon(String),
    Release(String),
    Restore,
}

/// The answer of a control path.
#[derive(Debug)]
pub enum ControlAnswer {
    /// `{ok, action, agent, profile, duration_seconds, detail, timestamp}`, and the status it goes with: 200, or 504
    /// where the wait was too long and the loading goes on.
    Done {
        status: u16,
        body: Value,
    },
    Refused(Refusal),
}

/// The right to use an agent for one request. Dropping it gives the agent back; the gateway holds it until the last
/// byte of the answer is handed on or the client is gone.
pub struct Lease {
    pub ticket: Ticket,
    pub agent: AgentName,
    /// Where the agent listens: `http://127.0.0.1:8001`, with a path in front of `/v1` where it has one.
    pub endpoint: Arc<str>,
    /// The agent's key of this start; empty where its server takes none.
    pub key: Secret,
    /// The longest that this request may take; the answer breaks off there. `None`: as long as it takes.
    pub max_seconds: Option<u64>,
    /// The name that the agent's server knows its model by, where it does not know the one that was asked for.
    pub model: Option<String>,
    /// Why the request waited, in one sentence.
    pub story: Option<String>,
    /// In a lock that is never taken: with it a lease may be lent across threads, whatever the guard is.
    _guard: Mutex<Box<dyn Send>>,
}

impl Lease {
    /// `guard` is dropped with the lease: its `Drop` is how the schedule hears that the agent is less in use.
    pub fn new(
        ticket: Ticket,
        agent: AgentName,
        endpoint: impl Into<Arc<str>>,
        key: Secret,
        guard: impl Send + 'static,
    ) -> Self {
        Self {
            ticket,
            agent,
            endpoint: endpoint.into(),
            key,
            max_seconds: None,
            model: None,
            story: None,
            _guard: Mutex::new(Box::new(guard)),
        }
    }
}

impl std::fmt::Debug for Lease {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Lease")
            .field("ticket", &self.ticket)
            .field("agent", &self.agent)
            .field("endpoint", &self.endpoint)
            .field("max_seconds", &self.max_seconds)
            .finish_non_exhaustive()
    }
}

/// What became of one request.
#[derive(Debug, Clone, PartialEq)]
pub struct Record {
    /// None where it never came to a lease or a place.
    pub ticket: Option<Ticket>,
    pub client: Arc<str>,
    /// Who answered, or was asked for; none where no agent was named that exists.
    pub agent: Option<AgentName>,
    pub path: String,
    pub stream: bool,
    pub outcome: Outcome,
    /// The status that the client was sent.
    pub status: u16,
    pub prompt_tokens: Option<u64>,
    pub completion_tokens: Option<u64>,
    /// The tokens were counted by the events of the stream, not said by the server.
    pub counted: bool,
    /// Until the lease.
    pub queued: Duration,
    /// From the lease to the first event with content.
    pub first_token: Option<Duration>,
    /// Between the first and the last token.
    pub tokens_per_second: Option<f64>,
    /// From the request's head to the end of its answer.
    pub took: Duration,
    /// Why it waited or was refused, or what broke it.
    pub why: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Outcome {
    Done,
    /// The gateway said no.
    Refused,
    /// The agent answered with an error.
    Error,
    /// The answer broke off.
    Broken,
    /// The client hung up.
    Left,
}

impl Outcome {
    pub fn word(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Refused => "refused",
            Self::Error => "error",
            Self::Broken => "broken",
            Self::Left => "left",
        }
    }
}
