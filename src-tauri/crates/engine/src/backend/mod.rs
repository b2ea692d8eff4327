//! Backends: one file turns an agent into a launch, a readiness check and a log reader.

mod assemble;
pub mod explain;
pub mod failure;
pub mod flags;
pub mod llama_cpp;
mod llama_cpp_log;
mod own;
mod scan;
pub mod vllm;
mod vllm_log;

pub use own::OwnNumbers;

use std::path::PathBuf;

use domain::pool::PoolId;
use domain::secret::Secret;
use domain::stack::{Agent, BackendKind};
use domain::{GpuVendor, Stage};

use crate::launch::{Identity, Launch};

/// What a launch needs to know of the host, read at the edges.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Host {
    /// Devices that exist, of those a GPU agent needs: "/dev/kfd", "/dev/dri".
    pub devices: Vec<String>,
    /// Group ids that own them (render, video), without repetition.
    pub groups: Vec<u32>,
    /// The Hub's `hub` folder.
    pub hub: PathBuf,
    /// Asgard's own folder for compile caches.
    pub caches: PathBuf,
    /// Where logs of local processes go.
    pub logs: PathBuf,
    /// Capacity of the pool the agent is on, bytes: what a utilisation share is a share of.
    pub capacity: u64,
    /// Whose GPU it is, where there is one that is known.
    pub gpu_vendor: Option<GpuVendor>,
    /// NVIDIA cards, in their own order.
    pub nvidia: Vec<NvidiaCard>,
}

/// A card as NVIDIA's runtime is asked for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NvidiaCard {
    /// The pool of its memory.
    pub pool: PoolId,
    /// Its UUID, which holds whatever the order of cards; none where it is not known, and then its number is taken.
    pub uuid: Option<String>,
}

/// A rehearsal runs the stand-in in the place of the real program, with the very same arguments.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StandIn {
    /// An image that holds the stand-in, and the folder for reports and journal to mount read-write.
    Image { image: String, folder: PathBuf },
    /// This program under its hidden subcommand.
    Process { command: Vec<String>, folder: PathBuf },
}

/// Everything a start is made from.
#[derive(Debug, Clone)]
pub struct Order<'a> {
    pub agent: &'a Agent,
    pub identity: &'a Identity,
    pub host: &'a Host,
    pub key: Secret,
    pub revision: String,
    pub reserved: Vec<(String, u64, u64)>,
    pub rehearsal: Option<Rehearsal>,
    /// Where the model's file lies, of a model that is named by its place on the Hub.
    pub gguf: Option<PathBuf>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rehearsal {
    pub stand_in: StandIn,
    /// Bytes to hold for real.
    pub hold: u64,
    /// `ASGARD_REHEARSAL_*` variables that are handed on (load time, speed, faults, journal).
    pub env: Vec<(String, String)>,
}

/// What one line of a log says. Sizes in bytes.
#[derive(Debug, Clone, PartialEq)]
pub enum LogFact {
    Stage(Stage),
    /// 0 to 1 within the stage.
    StageProgress(Stage, f64),
    /// vLLM, of one rank: each says its own.
    WeightsLoaded {
        bytes: u64,
        seconds: f64,
        /// The process that says so, where the line names it.
        worker: Option<u32>,
    },
    /// The KV cache in tokens. Of models with layers of several kinds older versions of vLLM say a half to a quarter
    /// of what fits; their [`LogFact::Concurrency`] is right.
    KvTokens(u64),
    /// Of one rank.
    KvBytes(u64),
    GraphsTook {
        bytes: u64,
        seconds: f64,
    },
    /// So many requests of so many tokens fit at once.
    Concurrency {
        tokens_per_request: u64,
        times: f64,
    },
    /// The device as the server found it.
    Device {
        free: u64,
        total: u64,
    },
    /// The context of one request, tokens.
    ContextChosen(u32),
    /// A piece of memory that the server set aside: llama.cpp names each, vLLM its work space.
    Buffer {
        kind: BufferKind,
        /// On a GPU, not in ordinary memory.
        device: bool,
        bytes: u64,
    },
    /// The server says it is up; the health check follows.
    Listening,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BufferKind {
    Weights,
    Kv,
    /// Work space of a pass.
    Compute,
    Output,
    /// What a sequence keeps of recurrent layers, however long it is.
    State,
}

impl LogFact {
    /// The stage that the start is in once this was read, where it tells.
    pub fn stage(&self) -> Option<Stage> {
        match self {
            Self::Stage(stage) | Self::StageProgress(stage, _) => Some(*stage),
            Self::WeightsLoaded { .. } | Self::KvBytes(_) => Some(Stage::KvCache),
            Self::KvTokens(_) | Self::Concurrency { .. } | Self::GraphsTook { .. } | Self::Listening => {
                Some(Stage::WarmUp)
            }
            Self::Device { .. } | Self::ContextChosen(_) | Self::Buffer { .. } => None,
        }
    }
}

/// A plug-in for one kind of model server.
pub trait Backend: Send + Sync {
    /// The pure function from an agent to what is started.
    ///
    /// # Errors
    /// An argument of the user's that Asgard sets itself, or a setting that this backend does not have.
    fn launch(&self, order: &Order<'_>) -> Result<Launch, crate::EngineError>;

    /// Everything that a log line says, mostly nothing.
    fn facts(&self, line: &str) -> Vec<LogFact>;

    /// The first of what a log line says, if anything: where a line tells of the stage too, that stands first.
    fn read_line(&self, line: &str) -> Option<LogFact> {
        self.facts(line).into_iter().next()
    }

    /// The path to ask for health, and what its answer means.
    fn health_path(&self) -> &'static str;
}

/// The backend of a kind; external agents are launched by nobody.
pub fn backend(kind: BackendKind) -> Option<&'static dyn Backend> {
    match kind {
        BackendKind::Vllm => Some(&vllm::Vllm),
        BackendKind::LlamaCpp => Some(&llama_cpp::LlamaCpp),
        BackendKind::External | BackendKind::Ollama => None,
    }
}
