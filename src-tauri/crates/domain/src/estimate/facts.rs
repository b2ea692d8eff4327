//! What is known of one model, wherever it was read from: a config.json, a GGUF header, a list of files.

use serde::{Deserialize, Serialize};

use crate::memory::Bytes;

/// The pure description of one model that every estimate starts from.
///
/// Readers of formats (in `models`) fill it; nothing in it depends on how the model will be served. What a reader did
/// not understand stands in [`ModelFacts::notes`], and [`ModelFacts::bounded`] says that the caches described here are
/// the most it could be, not what it is.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct ModelFacts {
    /// The class in config.json ("Qwen2ForCausalLM") or `general.architecture` of a GGUF ("qwen2").
    pub architecture: String,
    /// What each layer keeps, as runs of equal ones, so that 100,000 layers cost nothing. A layer with two caches
    /// (attention beside a state-space model) stands in two runs. The order has no meaning.
    pub layers: Vec<LayerRun>,
    /// Query heads; zero where unknown. Tensor parallelism must divide them.
    pub attention_heads: u32,
    /// The width of the residual stream; zero where unknown.
    pub hidden: u32,
    /// The widest thing one token becomes in a layer (the feed-forward layer, or all its active experts).
    pub intermediate: u64,
    /// Tokens in the vocabulary; zero where unknown.
    pub vocabulary: u32,
    /// Whether the output layer is the embedding table itself.
    pub tied_embeddings: bool,
    pub experts: Option<Experts>,
    /// Tokens, with the scaling of rotary embeddings that the file itself asks for.
    pub max_context: Option<u32>,
    /// The type that weights were made in: "bfloat16", "float16", "float32".
    pub dtype: String,
    /// As a person would say it: "AWQ 4-bit", "FP8", "MXFP4", "GGUF Q4_K_M". None: not quantised.
    pub quantization: Option<String>,
    /// A KV cache type that the checkpoint itself asks for ("fp8"); newer vLLM versions follow it.
    pub cache_dtype: Option<String>,
    pub weights: Weights,
    /// How the weights divide, as computed. Only ratios of it are used where the sum is known better.
    pub parts: Parts,
    /// The caches above are the most it could be: something was not understood.
    pub bounded: bool,
    /// What was not understood, a sentence each.
    pub notes: Vec<String>,
}

/// So many layers that keep the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct LayerRun {
    pub count: u64,
    pub cache: Cache,
}

/// Heads of a KV cache in one layer, of the whole model (not of one device).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Heads {
    pub kv: u32,
    /// Elements of one key.
    pub key: u32,
    /// Elements of one value.
    pub value: u32,
}

impl Heads {
    /// Keys and values of the same width, the usual case.
    pub fn of(kv: u32, dim: u32) -> Self {
        Self { kv, key: dim, value: dim }
    }
}

/// What one layer keeps for a sequence.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum Cache {
    /// Keys and values of every token.
    Full { heads: Heads },
    /// Keys and values of the last `window` tokens.
    Sliding { heads: Heads, window: u32 },
    /// Keys and values of the current chunk of so many tokens (Llama 4).
    Chunked { heads: Heads, chunk: u32 },
    /// One compressed vector of `width` elements for each token (MLA: `kv_lora_rank` + `qk_rope_head_dim`). Every
    /// rank of a tensor-parallel group holds all of it.
    Latent { width: u32 },
    /// So many bytes for each token, whatever the cache's type is, on every rank (the key cache of the indexer of
    /// DeepSeek's sparse attention).
    Fixed { bytes_per_token: u32 },
    /// Keys and values of an encoder's output, of at most `tokens`.
    Cross { heads: Heads, tokens: u32 },
    /// A state of constant size for each sequence (linear attention, state-space models, short convolutions).
    State(State),
}

/// The state of one layer for one sequence: a convolution's last inputs and a recurrent matrix.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
pub struct State {
    /// Elements of the convolution's state, divided among the ranks of a tensor-parallel group.
    pub conv: u64,
    /// Groups (`n_groups` of Mamba 2) and elements of the convolution's state for each; ranks that the groups do not
    /// divide evenly hold repeated ones.
    pub groups: u32,
    pub per_group: u64,
    /// Elements of the recurrent state, divided among the ranks.
    pub recurrent: u64,
    /// Bytes of one recurrent element; zero for "as the model's type".
    pub recurrent_bytes: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Experts {
    pub total: u32,
    /// Routed experts that one token passes through.
    pub active: u32,
}

/// How much the weights take in memory, and how that is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Weights {
    /// Summed from tensors of a header, or from a list of files.
    Exact(Bytes),
    /// From the shapes that a config.json implies.
    Computed(Bytes),
    /// Not known; at most `bound` where even that can be said.
    Unknown { bound: Option<Bytes> },
}

impl Default for Weights {
    fn default() -> Self {
        Self::Unknown { bound: None }
    }
}

impl Weights {
    /// The figure, or the bound; zero where nothing is known.
    pub fn bytes(self) -> Bytes {
        match self {
            Self::Exact(bytes) | Self::Computed(bytes) => bytes,
            Self::Unknown { bound } => bound.unwrap_or_default(),
        }
    }
}

/// How the weights divide, computed from a configuration. All zero: not known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Parts {
    /// Everything that a server loads.
    pub total: Bytes,
    /// The table of input embeddings, of which a token reads one row; zero where it is the output layer too.
    pub embedding: Bytes,
    /// All routed experts together.
    pub experts: Bytes,
    /// What a token of text does not pass (vision and audio towers, their projectors).
    pub towers: Bytes,
    /// What every rank of a tensor-parallel group holds whole (norms, routers, down-projections of latents, towers
    /// that are not divided).
    pub replicated: Bytes,
    /// In the files, but loaded for speculative decoding only (layers that predict several tokens); not in `total`.
    pub prediction: Bytes,
}
