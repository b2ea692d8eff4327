//! Who runs the model servers, and how they are started.
//!
//! An [`Engine`] is one outside world that runs agents: a container engine, this machine's own processes, or servers
//! of others. A [`backend::Backend`] is a plug-in that turns an agent into a [`Launch`], knows when it is ready and
//! reads its log. The two do not know each other: a `Launch` is plain data between them.
//!
//! **The engine is the truth.** What runs is read from labels (containers) or from the environment of processes, never
//! from memory of it: the controller may be killed at any instant, its data folder deleted, and still finds its agents.
//!
//! Deliberately absent: when to start or stop anything. That is `domain::plan` and `app`'s run loop.

pub mod backend;
pub mod container;
pub mod external;
pub mod kernel_log;
pub mod launch;
mod lines;
pub mod metrics;
pub mod neighbour;
pub mod ollama;
mod ports;
pub mod process;
pub mod shell;

use std::time::Duration;

use async_trait::async_trait;
use domain::AgentName;
use domain::secret::Secret;
use futures_util::stream::BoxStream;

pub use launch::{Identity, Launch, Mount, Program};
pub use ports::port_holder;

/// What an engine says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EngineInfo {
    /// "docker", "podman", "process", "external", "ollama".
    pub kind: &'static str,
    pub version: Option<String>,
}

/// An agent's server as its engine sees it.
#[derive(Debug, Clone, PartialEq)]
pub struct Instance {
    pub agent: AgentName,
    /// The engine's own name for it: a container id, or "pid:start time:boot id".
    pub id: String,
    /// The hash of the agent's part of the stack that it was started with.
    pub revision: String,
    /// What the start reserved, by pool id, in bytes: `(device, host)`. From the label, so that it survives.
    pub reserved: Vec<(String, u64, u64)>,
    /// Where it answers, "http://127.0.0.1:8001".
    pub endpoint: String,
    /// The key it was started with, read back from where it runs.
    pub key: Secret,
    pub phase: Phase,
    /// The process ids on this host that belong to it, where the engine tells.
    pub pids: Vec<u32>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Phase {
    Running,
    /// It ended by itself or was killed: the code where it is known, and whether the kernel's memory killer did it.
    Exited {
        code: Option<i64>,
        oom: bool,
    },
}

/// How far the start itself has come (before the server's own log says more).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StartProgress {
    /// Bytes pulled and bytes in all, as far as they are known.
    Pulling {
        done: u64,
        total: Option<u64>,
    },
    Created,
    Started,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EngineEvent {
    /// Something about this agent of ours changed: look.
    Changed(AgentName),
    /// The engine went away or came back: look at everything.
    Everything,
}

/// Everything that can go wrong at an engine, each a sentence with a next step.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct EngineError {
    pub kind: ErrorKind,
    /// What happened, one sentence.
    pub message: String,
    /// What to do, one sentence.
    pub next: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorKind {
    /// The engine cannot be reached.
    Unreachable,
    /// It answers, but this user may not.
    Forbidden,
    NoImage,
    PortTaken,
    /// The name is taken by something that is not ours; it is never touched.
    Foreign,
    /// The model's files are not in the cache.
    NoModel,
    Cancelled,
    Failed,
}

impl EngineError {
    pub fn new(kind: ErrorKind, message: impl Into<String>, next: impl Into<String>) -> Self {
        Self { kind, message: message.into(), next: next.into() }
    }
}

/// Called with each step of a start. It must be quick: it runs on the engine's task.
pub type OnProgress<'a> = &'a mut (dyn FnMut(StartProgress) + Send);

/// One outside world that runs agents.
#[async_trait]
pub trait Engine: Send + Sync {
    /// "docker", "process", …: how the status names it.
    fn id(&self) -> &str;

    /// # Errors
    /// [`ErrorKind::Unreachable`] or [`ErrorKind::Forbidden`], with the command that helps.
    async fn probe(&self) -> Result<EngineInfo, EngineError>;

    /// Every instance that is ours ([`Identity::instance`]), running or ended. Never anything foreign.
    async fn list(&self) -> Result<Vec<Instance>, EngineError>;

    /// Whether what the launch needs (the image) is there.
    async fn has_image(&self, launch: &Launch) -> Result<bool, EngineError>;

    /// Fetch what the launch needs, with progress in bytes. Nothing to do for processes.
    async fn pull(&self, launch: &Launch, on: OnProgress<'_>) -> Result<(), EngineError>;

    /// Start it. An ended instance of ours of the same agent is removed first; a running one is an error; anything
    /// foreign that holds the name or the port is an error that names it. Returns when the process runs, not when the
    /// model is loaded. Dropping the future must not leave a half-made instance behind that `list` would not show.
    async fn start(&self, launch: &Launch, on: OnProgress<'_>) -> Result<Instance, EngineError>;

    /// Ask it to end, kill it after `grace`, and return when it is gone. Gone already is fine.
    async fn stop(&self, agent: &AgentName, grace: Duration) -> Result<(), EngineError>;

    /// The last `lines` of its log, oldest first; also of one that has ended.
    async fn log_tail(&self, agent: &AgentName, lines: usize) -> Result<Vec<String>, EngineError>;

    /// Its log from the start of this run, line by line, until it ends.
    async fn log_follow(&self, agent: &AgentName) -> Result<BoxStream<'static, String>, EngineError>;

    /// What changes, without asking again and again. Ends only when the engine object is dropped.
    fn events(&self) -> BoxStream<'static, EngineEvent>;
}
