//! The stack: which agents there are, what they run, and which of them are awake together.
//!
//! Two types on purpose. [`raw::RawStack`] is exactly what the file says; [`resolve`] checks it and gives the
//! [`Stack`] that everything else uses, or every problem at once, each with the place and what to write instead.

mod changed;
mod gateway;
mod hash;
mod hub_file;
mod offload;
mod quantity;
pub mod raw;
mod resolve;
mod roles;
mod suggest;
mod surface;

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::agent::AgentName;
use crate::footprint::Learned;
use crate::memory::Bytes;
use crate::pool::PoolId;

pub use changed::{Diff, changed};
pub use gateway::{Gateway, GatewayKey};
pub use hash::{agent_hash, hash};
pub use hub_file::HubFile;
pub use offload::offload;
pub use resolve::{Facts, Gpu, Note, Problem, resolve};
pub use surface::{Surface, SurfaceKind, surface, surface_hash};

/// [`Agent::drain`] of an agent whose requests are never cut off: `drain = "finish"`. It is stopped when they are
/// done, however long that takes.
pub const DRAIN_FINISH: Duration = Duration::MAX;
/// [`Agent::drain`] of an agent that is stopped under its requests: `drain = "abort"`.
pub const DRAIN_ABORT: Duration = Duration::ZERO;

/// A profile's name: lower case, as in the stack file.
pub type ProfileName = String;

/// The checked stack. Order is the file's everywhere.
#[derive(Debug, Clone, PartialEq)]
pub struct Stack {
    pub name: String,
    /// The profile to return to.
    pub base: ProfileName,
    /// Sets of agents of which no two are ever awake together.
    pub conflicts: Vec<Vec<AgentName>>,
    pub memory: MemoryLimits,
    pub agents: Vec<Agent>,
    pub profiles: Vec<Profile>,
    pub gateway: Gateway,
    /// The GPU whose known limits the choices were held against.
    pub gpu: Option<Gpu>,
    /// What is allowed but worth knowing.
    pub notes: Vec<Note>,
}

impl Stack {
    pub fn agent(&self, name: &AgentName) -> Option<&Agent> {
        self.agents.iter().find(|a| &a.name == name)
    }

    pub fn profile(&self, name: &str) -> Option<&Profile> {
        self.profiles.iter().find(|p| p.name == name)
    }

    /// Whether a rule forbids these two awake together. A role is awake where its server is.
    pub fn conflict(&self, a: &AgentName, b: &AgentName) -> bool {
        let (a, b) = (self.server_of(a), self.server_of(b));
        let holds = |set: &[AgentName], name| set.iter().any(|n| self.server_of(n) == name);
        a != b && self.conflicts.iter().any(|set| holds(set, a) && holds(set, b))
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct MemoryLimits {
    /// For a machine with one pool.
    pub limit: Option<Bytes>,
    /// By pool, where there are several.
    pub by_pool: BTreeMap<PoolId, Bytes>,
}

impl MemoryLimits {
    pub fn for_pool(&self, pool: &PoolId) -> Option<Bytes> {
        self.by_pool.get(pool).copied().or(self.limit)
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Profile {
    pub name: ProfileName,
    pub agents: Vec<AgentName>,
}

/// Whose summon budget an agent counts on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Tier {
    Primary,
    Coder,
    Reviewer,
    Utility,
}

/// The model server an agent runs on: which plug-in of `engine` turns it into a launch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum BackendKind {
    #[serde(rename = "vllm")]
    Vllm,
    #[serde(rename = "llama.cpp")]
    LlamaCpp,
    /// A server that already runs and speaks OpenAI's dialect. Never started or stopped.
    #[serde(rename = "external")]
    External,
    /// A model of an Ollama daemon: loaded and unloaded by its own API, the daemon itself is never touched.
    #[serde(rename = "ollama")]
    Ollama,
}

impl BackendKind {
    pub fn word(self) -> &'static str {
        match self {
            Self::Vllm => "vllm",
            Self::LlamaCpp => "llama.cpp",
            Self::External => "external",
            Self::Ollama => "ollama",
        }
    }
}

/// What an agent's memory claim is made of, as the file gives it: exactly one of the three.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum ClaimBasis {
    /// Weights + this KV cache + overhead.
    KvCache { weights: Bytes, kv_cache: Bytes, overhead: Bytes },
    /// The whole claim in one number.
    Memory(Bytes),
    /// A share of the pool's capacity, 0 to 1.
    Share(f64),
}

/// The parts of a claim that is given in one number (`memory` or `share`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KnownParts {
    pub weights: Bytes,
    /// What the server takes besides weights and KV cache.
    pub overhead: Bytes,
}

/// Where the figures of a claim come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Basis {
    /// The stack file gives them, or the preset data of a shipped model do.
    Declared,
    /// From the model's own files: what they say of its weights and its cache.
    Estimated,
    /// Measured at earlier starts, where that is more.
    Learned,
}

/// How an agent is run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Runs {
    /// In a container, or, in a rehearsal without an engine, as a process.
    Container { image: String, host_ipc: bool },
    /// As a local process: the program and the arguments that come before the backend's own.
    Process { command: Vec<String> },
    /// Somebody else runs it, at this address: on the loopback, without `/v1` and without a slash at its end.
    External { endpoint: String },
    /// An Ollama daemon at this address loads and unloads the model.
    Ollama { endpoint: String },
}

/// How llama.cpp reads the file of the weights.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LoadMode {
    /// Copied into memory. What Asgard asks for where nothing is written: mapping large files hangs on some GPUs.
    None,
    /// Mapped: pages come as they are touched, and the kernel may drop them again.
    Mmap,
    /// Copied, and held in memory whatever happens.
    Mlock,
    /// Mapped, and held.
    MmapMlock,
    /// Past the page cache.
    Dio,
}

impl LoadMode {
    pub const ALL: [Self; 5] = [Self::None, Self::Mmap, Self::Mlock, Self::MmapMlock, Self::Dio];

    /// As the stack file and `--load-mode` spell it.
    pub fn word(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Mmap => "mmap",
            Self::Mlock => "mlock",
            Self::MmapMlock => "mmap+mlock",
            Self::Dio => "dio",
        }
    }
}

/// Where the layers of a llama.cpp agent are meant to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layers {
    /// None of them on a GPU.
    Cpu,
    /// Some or all on the GPU.
    Gpu,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Agent {
    pub name: AgentName,
    /// The name for a person; "Odin" where the file gives none.
    pub display_name: String,
    /// "Supreme Architect".
    pub title: String,
    /// The prompt it is given in chats.
    pub role: String,
    pub tier: Tier,
    pub backend: BackendKind,
    pub runs: Runs,
    /// A Hub id or, for llama.cpp, the path of a GGUF file.
    pub model: String,
    pub revision: Option<String>,
    pub port: u16,
    /// Tokens.
    pub context: u32,
    pub sequences: u32,
    pub claim: ClaimBasis,
    /// Where the weights in the claim come from.
    pub basis: Basis,
    /// What its earlier starts took: nothing of the file. Plans count it where it is above the claim.
    pub learned: Option<Learned>,
    /// What a claim in one number is made of, where that is known: the KV cache is what these leave of it.
    pub known_parts: Option<KnownParts>,
    /// Bytes of KV cache that one more token costs, where it is known.
    pub kv_bytes_per_token: Option<u64>,
    pub dtype: Option<String>,
    pub quantization: Option<String>,
    pub kv_dtype: Option<String>,
    pub tensor_parallel: u32,
    /// Pools it runs on; empty for "the machine's only one" (or the first `tensor_parallel` cards).
    pub devices: Vec<PoolId>,
    pub tool_parser: Option<String>,
    pub draft_model: Option<String>,
    /// Tokens that the draft model writes ahead; none leaves it to the backend's default.
    pub draft_tokens: Option<u32>,
    /// The most tokens of one forward pass: vLLM's `--max-num-batched-tokens`, llama.cpp's logical batch.
    pub batched_tokens: Option<u32>,
    /// vLLM: whether the beginnings that prompts share are kept. None leaves it to the server.
    pub prefix_caching: Option<bool>,
    /// vLLM: no graphs, which saves memory and time at the start and costs speed.
    pub eager: bool,
    /// vLLM: which attention kernels are used, "TRITON_ATTN".
    pub attention_backend: Option<String>,
    /// llama.cpp: how many layers the GPU holds; 0 keeps the agent on the processor.
    pub gpu_layers: Option<u32>,
    /// llama.cpp: how the file of the weights is read.
    pub load_mode: Option<LoadMode>,
    /// llama.cpp: ordinary memory for the prompts of conversations that left their slot, beside the KV cache.
    pub cache_ram: Option<Bytes>,
    pub args: Vec<String>,
    pub env: BTreeMap<String, String>,
    /// Idle time after which it sleeps again.
    pub ttl: Option<Duration>,
    /// How long running requests may finish before a stop. See [`DRAIN_FINISH`] and [`DRAIN_ABORT`].
    pub drain: Duration,
    /// How long a start may take before it counts as failed.
    pub load_timeout: Duration,
    /// How long one request may take in all; without one, as long as its client waits.
    pub request_timeout: Option<Duration>,
    pub min_residency: Duration,
    /// Stays awake through a switch.
    pub pinned: bool,
    pub served_by: Option<AgentName>,
    pub glyph: Option<String>,
    pub color: Option<String>,
}

impl Agent {
    /// What the agent declares to take of each pool. Until it is measured, all of a GPU agent's claim is counted on the device:
    /// which part its processes take in ordinary memory is not known before the first start, and the careful
    /// figure is the larger one for the bound that fails hard.
    pub fn claim_in(&self, capacity: Bytes) -> Bytes {
        match self.claim {
            ClaimBasis::KvCache { weights, kv_cache, overhead } => {
                weights + kv_cache + overhead + self.cache_ram.unwrap_or_default()
            }
            ClaimBasis::Memory(bytes) => bytes,
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "0 to 1 was checked")]
            ClaimBasis::Share(share) => capacity.share((share * 1e6).round() as u64, 1_000_000),
        }
    }

    /// Whether it takes memory of this machine that Asgard starts and stops.
    pub fn is_ours(&self) -> bool {
        !matches!(self.runs, Runs::External { .. })
    }

    /// Whether its memory counts against the GPU's cap. A llama.cpp agent told to keep every layer on the CPU
    /// holds none there.
    pub fn on_device(&self) -> bool {
        match self.backend {
            BackendKind::Vllm | BackendKind::Ollama => true,
            BackendKind::LlamaCpp => match self.layers() {
                Some(Layers::Cpu) => false,
                Some(Layers::Gpu) => true,
                // Nothing said: a container is given the GPU, and a program of this machine is kept off it.
                None => self.runs_in_container(),
            },
            BackendKind::External => false,
        }
    }

    /// What is said of where the layers go: by `gpu_layers`, else by `args` of a file from before that key.
    pub fn layers(&self) -> Option<Layers> {
        if let Some(layers) = self.gpu_layers {
            return Some(if layers == 0 { Layers::Cpu } else { Layers::Gpu });
        }
        let value = |names: &[&str]| {
            self.args.windows(2).rev().find(|w| names.contains(&w[0].as_str())).map(|w| w[1].as_str())
        };
        if value(&["-dev", "--device"]) == Some("none") {
            return Some(Layers::Cpu);
        }
        match value(&["-ngl", "--n-gpu-layers", "--gpu-layers"]) {
            Some("0") => Some(Layers::Cpu),
            Some(_) => Some(Layers::Gpu),
            None => None,
        }
    }

    pub fn runs_in_container(&self) -> bool {
        matches!(self.runs, Runs::Container { .. })
    }
}
