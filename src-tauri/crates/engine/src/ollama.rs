//! Models of an Ollama daemon: loaded and unloaded by its own API. The daemon itself is never started or stopped.
//!
//! The API as of Ollama 0.5 and later: `/api/version`, `/api/tags` (what it has), `/api/ps` (what is loaded),
//! `/api/generate` without a prompt (loads; with `keep_alive` 0 unloads), `/api/pull`.

use std::collections::BTreeMap;
use std::time::Duration;

use async_trait::async_trait;
use domain::AgentName;
use domain::secret::Secret;
use futures_util::StreamExt as _;
use futures_util::stream::{self, BoxStream};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::time::{Instant, timeout};

use crate::{
    Engine, EngineError, EngineEvent, EngineInfo, ErrorKind, Instance, Launch, OnProgress, Phase,
    StartProgress,
};

/// What is on the disk and what is loaded is told at once.
const SHORT: Duration = Duration::from_secs(3);
/// A large model from a slow disk.
const LOADING: Duration = Duration::from_mins(30);
/// A pull that says nothing for so long has lost its registry.
const SILENCE: Duration = Duration::from_mins(3);
/// No list of models is longer.
const LARGEST: usize = 4 << 20;

/// An agent that is a model of a daemon.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Server {
    pub agent: AgentName,
    /// "http://127.0.0.1:11434".
    pub endpoint: String,
    /// "qwen2.5:14b".
    pub model: String,
    /// Tokens that it is loaded with.
    pub context: u32,
    pub revision: String,
    pub reserved: Vec<(String, u64, u64)>,
}

/// One model of a daemon. Bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OllamaModel {
    pub name: String,
    /// On the disk.
    pub size: u64,
    pub loaded: bool,
    /// In memory, all of it; 0 where it is not loaded.
    pub total: u64,
    /// Of that, on the GPU.
    pub vram: u64,
}

#[derive(Debug)]
pub struct OllamaEngine {
    servers: Vec<Server>,
    client: reqwest::Client,
}

#[derive(Debug, Default, Deserialize)]
struct Entry {
    #[serde(default)]
    name: String,
    #[serde(default)]
    size: u64,
    #[serde(default)]
    size_vram: u64,
}

/// Names compare with the tag that Ollama adds.
fn tagged(name: &str) -> String {
    let last = name.rsplit('/').next().unwrap_or(name);
    if last.contains(':') {
        name.to_ascii_lowercase()
    } else {
        format!("{}:latest", name.to_ascii_lowercase())
    }
}

fn away(endpoint: &str, why: &str) -> EngineError {
    EngineError::new(
        ErrorKind::Unreachable,
        format!("Ollama at {endpoint} does not answer: {why}."),
        "Start it where it is installed, for example with: systemctl start ollama",
    )
}

fn failed(endpoint: &str, why: impl std::fmt::Display) -> EngineError {
    EngineError::new(
        ErrorKind::Failed,
        format!("Ollama at {endpoint} refused: {why}."),
        "Look at its log: journalctl -u ollama",
    )
}

/// The whole answer, if it is not too large and comes in time. The error of a refusal is Ollama's own sentence.
async fn ask(
    request: reqwest::RequestBuilder,
    endpoint: &str,
    patience: Duration,
) -> Result<Vec<u8>, EngineError> {
    let asked = async {
        let answer = request.send().await.map_err(|e| away(endpoint, &e.without_url().to_string()))?;
        whole(answer, endpoint).await
    };
    match timeout(patience, asked).await {
        Ok(answer) => answer,
        Err(_) => Err(away(endpoint, &format!("nothing came within {} s", patience.as_secs()))),
    }
}

async fn whole(answer: reqwest::Response, endpoint: &str) -> Result<Vec<u8>, EngineError> {
    let status = answer.status();
    let mut bytes = Vec::new();
    let mut body = answer.bytes_stream();
    while let Some(piece) = body.next().await {
        bytes.extend_from_slice(&piece.map_err(|e| away(endpoint, &e.without_url().to_string()))?);
        if bytes.len() > LARGEST {
            return Err(failed(endpoint, "its answer is far too large"));
        }
    }
    if status.is_success() { Ok(bytes) } else { Err(refusal(endpoint, status.as_u16(), &bytes)) }
}

fn refusal(endpoint: &str, status: u16, body: &[u8]) -> EngineError {
    let said = serde_json::from_slice::<Value>(body).ok();
    let said =
        said.as_ref().and_then(|v| v["error"].as_str()).map(|s| s.chars().take(200).collect::<String>());
    failed(endpoint, said.unwrap_or_else(|| format!("it answered {status}")))
}

fn read<T: serde::de::DeserializeOwned>(endpoint: &str, bytes: &[u8]) -> Result<T, EngineError> {
    serde_json::from_slice(bytes).map_err(|e| failed(endpoint, format!("its answer is no JSON ({e})")))
}

async fn list(client: &reqwest::Client, endpoint: &str, path: &str) -> Result<Vec<Entry>, EngineError> {
    let bytes = ask(client.get(format!("{endpoint}{path}")), endpoint, SHORT).await?;
    // Something else on that port may answer JSON too: without a list it is not Ollama, and not "nothing loaded".
    match read::<Value>(endpoint, &bytes)?.get_mut("models").map(Value::take) {
        Some(Value::Null) => Ok(Vec::new()),
        Some(models) => serde_json::from_value(models)
            .map_err(|e| failed(endpoint, format!("its list of models cannot be read ({e})"))),
        None => Err(failed(endpoint, "its answer has no list of models, so it may not be Ollama")),
    }
}

fn no_model(model: &str) -> EngineError {
    EngineError::new(
        ErrorKind::NoModel,
        format!("Ollama has no model {model}."),
        format!("Fetch it with: ollama pull {model}"),
    )
}

/// What a pull has told so far: bytes done and in all, by the digest of each of the model's files.
#[derive(Debug, Default)]
struct Pulled {
    files: BTreeMap<String, (u64, u64)>,
    /// It checks what it fetched, and says nothing before that is done.
    verifying: bool,
}

impl Pulled {
    /// Takes a line; `Err` with Ollama's own sentence. A line that is no JSON says nothing.
    fn take(&mut self, line: &[u8]) -> Result<Option<StartProgress>, String> {
        let Ok(said) = serde_json::from_slice::<Value>(line) else { return Ok(None) };
        if let Some(error) = said["error"].as_str() {
            return Err(error.chars().take(200).collect());
        }
        self.verifying = said["status"].as_str().is_some_and(|s| s.starts_with("verifying"));
        let (Some(digest), Some(total)) = (said["digest"].as_str(), said["total"].as_u64()) else {
            return Ok(None);
        };
        // The first lines of a file come without "completed".
        let done = said["completed"].as_u64().unwrap_or(0).min(total);
        self.files.insert(digest.to_owned(), (done, total));
        let sum = |of: fn(&(u64, u64)) -> u64| self.files.values().map(of).fold(0, u64::saturating_add);
        Ok(Some(StartProgress::Pulling { done: sum(|f| f.0), total: Some(sum(|f| f.1)) }))
    }
}

/// Every model that a daemon has, and which of them are loaded.
///
/// # Errors
/// It does not answer, or not in its own words.
pub async fn models(client: &reqwest::Client, endpoint: &str) -> Result<Vec<OllamaModel>, EngineError> {
    let there = list(client, endpoint, "/api/tags").await?;
    let loaded = list(client, endpoint, "/api/ps").await?;
    Ok(there
        .into_iter()
        .map(|entry| {
            let now = loaded.iter().find(|l| tagged(&l.name) == tagged(&entry.name));
            OllamaModel {
                size: entry.size,
                loaded: now.is_some(),
                total: now.map_or(0, |l| l.size),
                vram: now.map_or(0, |l| l.size_vram.min(l.size)),
                name: entry.name,
            }
        })
        .collect())
}

impl OllamaEngine {
    /// # Errors
    /// [`ErrorKind::Failed`] when no HTTP client can be made here.
    pub fn new(servers: Vec<Server>) -> Result<Self, EngineError> {
        let client = net::plain().build().map_err(|error| {
            EngineError::new(
                ErrorKind::Failed,
                format!("No HTTP client could be made: {error}."),
                "Restart Asgard; if it happens again, the machine is out of memory or of open files.",
            )
        })?;
        Ok(Self { servers, client })
    }

    fn endpoints(&self) -> Vec<&str> {
        let mut all: Vec<&str> = Vec::new();
        for server in &self.servers {
            if !all.contains(&server.endpoint.as_str()) {
                all.push(&server.endpoint);
            }
        }
        all
    }

    fn server(&self, agent: &AgentName) -> Result<&Server, EngineError> {
        self.servers.iter().find(|s| &s.agent == agent).ok_or_else(|| {
            EngineError::new(
                ErrorKind::Failed,
                format!("{} is no model of Ollama's in this stack.", agent.proper()),
                "Read the stack file again.",
            )
        })
    }

    /// Bytes that loaded models hold: `(agent, on the GPU, in ordinary memory)`. A daemon that is away holds none.
    pub async fn held(&self) -> Vec<(AgentName, u64, u64)> {
        let mut held = Vec::new();
        for endpoint in self.endpoints() {
            let Ok(loaded) = list(&self.client, endpoint, "/api/ps").await else { continue };
            for server in self.servers.iter().filter(|s| s.endpoint == endpoint) {
                if let Some(entry) = loaded.iter().find(|e| tagged(&e.name) == tagged(&server.model)) {
                    let device = entry.size_vram.min(entry.size);
                    held.push((server.agent.clone(), device, entry.size - device));
                }
            }
        }
        held
    }

    async fn is_loaded(&self, server: &Server) -> Result<bool, EngineError> {
        let loaded = list(&self.client, &server.endpoint, "/api/ps").await?;
        Ok(loaded.iter().any(|e| tagged(&e.name) == tagged(&server.model)))
    }

    async fn generate(
        &self,
        server: &Server,
        keep_alive: i64,
        patience: Duration,
    ) -> Result<(), EngineError> {
        let mut body = json!({ "model": server.model, "keep_alive": keep_alive, "stream": false });
        if keep_alive != 0 {
            body["options"] = json!({ "num_ctx": server.context });
        }
        let request = self.client.post(format!("{}/api/generate", server.endpoint)).json(&body);
        ask(request, &server.endpoint, patience).await.map(drop)
    }

    fn instance(server: &Server) -> Instance {
        Instance {
            agent: server.agent.clone(),
            id: format!("{}#{}", server.endpoint, server.model),
            revision: server.revision.clone(),
            reserved: server.reserved.clone(),
            endpoint: server.endpoint.clone(),
            key: Secret::default(),
            phase: Phase::Running,
            pids: Vec::new(),
        }
    }

    fn no_log(agent: &AgentName) -> EngineError {
        EngineError::new(
            ErrorKind::Foreign,
            format!("{} runs in Ollama, which keeps one log for all of its models.", agent.proper()),
            "Look at it with: journalctl -u ollama",
        )
    }
}

#[async_trait]
impl Engine for OllamaEngine {
    fn id(&self) -> &'static str {
        "ollama"
    }

    async fn probe(&self) -> Result<EngineInfo, EngineError> {
        let mut info = EngineInfo { kind: "ollama", version: None };
        if let Some(endpoint) = self.endpoints().first() {
            let bytes = ask(self.client.get(format!("{endpoint}/api/version")), endpoint, SHORT).await?;
            let said: Value = read(endpoint, &bytes)?;
            info.version = said["version"].as_str().map(|v| v.chars().take(40).collect());
        }
        Ok(info)
    }

    async fn list(&self) -> Result<Vec<Instance>, EngineError> {
        let mut all = Vec::new();
        for endpoint in self.endpoints() {
            let loaded = list(&self.client, endpoint, "/api/ps").await?;
            let here = self.servers.iter().filter(|s| s.endpoint == endpoint);
            let is_loaded = |s: &&Server| loaded.iter().any(|e| tagged(&e.name) == tagged(&s.model));
            all.extend(here.filter(is_loaded).map(Self::instance));
        }
        Ok(all)
    }

    async fn has_image(&self, launch: &Launch) -> Result<bool, EngineError> {
        let server = self.server(&launch.agent)?;
        let there = list(&self.client, &server.endpoint, "/api/tags").await?;
        Ok(there.iter().any(|e| tagged(&e.name) == tagged(&server.model)))
    }

    async fn pull(&self, launch: &Launch, on: OnProgress<'_>) -> Result<(), EngineError> {
        let server = self.server(&launch.agent)?;
        let endpoint = &server.endpoint;
        let body = json!({ "model": server.model, "stream": true });
        let request = self.client.post(format!("{endpoint}/api/pull")).json(&body).send();
        let answer = timeout(SILENCE, request)
            .await
            .map_err(|_| away(endpoint, "it says nothing"))?
            .map_err(|e| away(endpoint, &e.without_url().to_string()))?;
        if !answer.status().is_success() {
            let refused = timeout(SHORT, whole(answer, endpoint)).await;
            return refused
                .unwrap_or_else(|_| Err(away(endpoint, "it refuses and does not say why")))
                .map(drop);
        }
        let mut body = answer.bytes_stream();
        let mut kept: Vec<u8> = Vec::new();
        let mut pulled = Pulled::default();
        loop {
            // A large file from a slow disk takes as long to check as to load.
            let patience = if pulled.verifying { LOADING } else { SILENCE };
            let piece = match timeout(patience, body.next()).await {
                Ok(Some(Ok(piece))) => piece,
                Ok(Some(Err(e))) => return Err(away(endpoint, &e.without_url().to_string())),
                Ok(None) => break,
                Err(_) => return Err(away(endpoint, "the pull says nothing any more")),
            };
            kept.extend_from_slice(&piece);
            while let Some(end) = kept.iter().position(|b| *b == b'\n') {
                let line: Vec<u8> = kept.drain(..=end).collect();
                if let Some(step) = pulled.take(&line).map_err(|said| failed(endpoint, said))? {
                    on(step);
                }
            }
            if kept.len() > LARGEST {
                return Err(failed(endpoint, "a line of its answer is far too long"));
            }
        }
        // The last line may come without its end, and may be the error.
        pulled.take(&kept).map_err(|said| failed(endpoint, said))?;
        if self.has_image(launch).await? {
            return Ok(());
        }
        Err(failed(endpoint, format!("{} is not there after its pull", server.model)))
    }

    async fn start(&self, launch: &Launch, on: OnProgress<'_>) -> Result<Instance, EngineError> {
        let server = self.server(&launch.agent)?;
        if !self.has_image(launch).await? {
            return Err(no_model(&server.model));
        }
        on(StartProgress::Created);
        self.generate(server, -1, LOADING).await?;
        on(StartProgress::Started);
        Ok(Self::instance(server))
    }

    async fn stop(&self, agent: &AgentName, grace: Duration) -> Result<(), EngineError> {
        let server = self.server(agent)?;
        if !self.is_loaded(server).await? {
            return Ok(());
        }
        self.generate(server, 0, grace.max(SHORT)).await?;
        let deadline = Instant::now() + grace.max(SHORT);
        // It answers before the memory is given back, and tells nobody when it is.
        while self.is_loaded(server).await? {
            if Instant::now() >= deadline {
                return Err(failed(&server.endpoint, format!("{} stays loaded", server.model)));
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        Ok(())
    }

    async fn log_tail(&self, agent: &AgentName, _lines: usize) -> Result<Vec<String>, EngineError> {
        Err(Self::no_log(agent))
    }

    async fn log_follow(&self, agent: &AgentName) -> Result<BoxStream<'static, String>, EngineError> {
        Err(Self::no_log(agent))
    }

    fn events(&self) -> BoxStream<'static, EngineEvent> {
        // It tells nobody what it loads; whoever asks it finds out.
        stream::pending().boxed()
    }
}
