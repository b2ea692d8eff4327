//! Servers that somebody else runs: adopted as they are, never started or stopped.

use std::time::Duration;

use async_trait::async_trait;
use domain::AgentName;
use domain::secret::Secret;
use futures_util::StreamExt as _;
use futures_util::future;
use futures_util::stream::{self, BoxStream};

use crate::{Engine, EngineError, EngineEvent, EngineInfo, ErrorKind, Instance, Launch, OnProgress, Phase};

/// A server that does not say within this time that it is there counts as away.
const PATIENCE: Duration = Duration::from_secs(3);

/// One server of others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Server {
    pub agent: AgentName,
    /// "http://127.0.0.1:1234", with or without "/v1".
    pub endpoint: String,
    /// Empty where it wants none.
    pub key: Secret,
    pub revision: String,
}

/// The servers of others that the stack names.
#[derive(Debug)]
pub struct ExternalEngine {
    servers: Vec<Server>,
    client: reqwest::Client,
}

impl ExternalEngine {
    /// # Errors
    /// [`ErrorKind::Failed`] when no HTTP client can be made here.
    pub fn new(servers: Vec<Server>) -> Result<Self, EngineError> {
        let client = net::plain().timeout(PATIENCE).build().map_err(|error| {
            EngineError::new(
                ErrorKind::Failed,
                format!("No HTTP client could be made: {error}."),
                "Restart Asgard; if it happens again, the machine is out of memory or of open files.",
            )
        })?;
        Ok(Self { servers, client })
    }

    /// Whether it answers at all. A server that wants a key which is not known is there all the same.
    async fn answers(&self, server: &Server) -> bool {
        let mut request = self.client.get(format!("{}/v1/models", base(&server.endpoint)));
        if !server.key.is_empty() {
            request = request.bearer_auth(server.key.reveal());
        }
        match request.send().await {
            Ok(answer) => answer.status().is_success() || matches!(answer.status().as_u16(), 401 | 403),
            Err(_) => false,
        }
    }

    fn not_ours(agent: &AgentName, verb: &str) -> EngineError {
        EngineError::new(
            ErrorKind::Foreign,
            format!("{} is not ours to {verb}: somebody else runs its server.", agent.proper()),
            format!("{} that server where it runs.", if verb == "start" { "Start" } else { "Stop" }),
        )
    }

    fn no_log(agent: &AgentName) -> EngineError {
        EngineError::new(
            ErrorKind::Foreign,
            format!("{} has no log here: somebody else runs its server.", agent.proper()),
            "Look at the log where the server runs.",
        )
    }
}

/// The address without a slash at the end and without "/v1".
fn base(endpoint: &str) -> &str {
    let endpoint = endpoint.trim_end_matches('/');
    endpoint.strip_suffix("/v1").unwrap_or(endpoint)
}

#[async_trait]
impl Engine for ExternalEngine {
    fn id(&self) -> &'static str {
        "external"
    }

    async fn probe(&self) -> Result<EngineInfo, EngineError> {
        Ok(EngineInfo { kind: "external", version: None })
    }

    async fn list(&self) -> Result<Vec<Instance>, EngineError> {
        let there = future::join_all(self.servers.iter().map(|server| self.answers(server))).await;
        let present = self.servers.iter().zip(there).filter(|(_, there)| *there);
        Ok(present
            .map(|(server, _)| Instance {
                agent: server.agent.clone(),
                id: base(&server.endpoint).to_owned(),
                revision: server.revision.clone(),
                reserved: Vec::new(),
                endpoint: base(&server.endpoint).to_owned(),
                key: server.key.clone(),
                phase: Phase::Running,
                pids: Vec::new(),
            })
            .collect())
    }

    async fn has_image(&self, _launch: &Launch) -> Result<bool, EngineError> {
        Ok(true)
    }

    async fn pull(&self, _launch: &Launch, _on: OnProgress<'_>) -> Result<(), EngineError> {
        Ok(())
    }

    async fn start(&self, launch: &Launch, _on: OnProgress<'_>) -> Result<Instance, EngineError> {
        Err(Self::not_ours(&launch.agent, "start"))
    }

    async fn stop(&self, agent: &AgentName, _grace: Duration) -> Result<(), EngineError> {
        Err(Self::not_ours(agent, "stop"))
    }

    async fn log_tail(&self, agent: &AgentName, _lines: usize) -> Result<Vec<String>, EngineError> {
        Err(Self::no_log(agent))
    }

    async fn log_follow(&self, agent: &AgentName) -> Result<BoxStream<'static, String>, EngineError> {
        Err(Self::no_log(agent))
    }

    fn events(&self) -> BoxStream<'static, EngineEvent> {
        // Nobody tells when such a server comes or goes; whoever asks it finds out.
        stream::pending().boxed()
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    use super::*;

    fn server(endpoint: String) -> Server {
        let agent = AgentName::new("mimir").unwrap();
        Server { agent, endpoint, key: Secret::new("k"), revision: "r".into() }
    }

    #[tokio::test]
    async fn a_server_that_answers_is_an_instance_and_is_left_alone() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let served = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = vec![0; 1024];
            let count = stream.read(&mut request).await.unwrap();
            stream
                .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\n{}")
                .await
                .unwrap();
            String::from_utf8_lossy(&request[..count]).to_ascii_lowercase()
        });
        let engine = ExternalEngine::new(vec![server(format!("{address}/v1/"))]).unwrap();
        let list = engine.list().await.unwrap();
        assert_eq!(
            list.first().map(|i| (i.endpoint.as_str(), &i.phase)),
            Some((address.as_str(), &Phase::Running))
        );
        let request = served.await.unwrap();
        assert!(
            request.starts_with("get /v1/models ") && request.contains("authorization: bearer k"),
            "{request}"
        );
        let error = engine.stop(&AgentName::new("mimir").unwrap(), Duration::ZERO).await.unwrap_err();
        assert_eq!(error.kind, ErrorKind::Foreign);
    }

    #[tokio::test]
    async fn one_that_is_away_is_not_listed() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        drop(listener);
        let engine = ExternalEngine::new(vec![server(address)]).unwrap();
        assert!(engine.list().await.unwrap().is_empty());
    }
}
