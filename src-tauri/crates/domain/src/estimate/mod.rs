//! What a model takes of memory: weights, KV cache, fixed state and overhead, on each device.
//!
//! One function for the command, the window and the planner: [`estimate`]. It knows how the servers count, not only
//! what the mathematics needs: vLLM's blocks, its equal-sized groups of layers and its enlarged blocks of hybrid
//! models ([`vllm`]), llama.cpp's cells and compute buffer ([`llama_cpp`]).
//!
//! Every figure says how it is known ([`Certainty`]); what is a bound or an assumption stands in
//! [`Estimate::notes`]. Arithmetic saturates: an absurd model gives an absurd figure, never a small one.

mod dtype;
mod facts;
mod llama_cpp;
mod overhead;
mod vllm;

use serde::{Deserialize, Serialize};

use crate::memory::Bytes;
use crate::stack::BackendKind;

pub use facts::{Cache, Experts, Heads, LayerRun, ModelFacts, Parts, State, Weights};

/// Sequences and ranks above these are taken for a slip of the pen.
pub const MOST_SEQUENCES: u32 = 65_536;
pub const MOST_RANKS: u32 = 1024;

/// What vLLM's API server takes for `--max-num-batched-tokens` on a device that reports 70 GiB or more, as one with
/// unified memory does; 2048 on smaller ones. The larger one is the careful one.
pub const BATCHED_TOKENS: u32 = 8192;

/// How a model shall be served.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    pub backend: BackendKind,
    /// Tokens of one sequence; without it the longest that the model allows.
    pub context: Option<u32>,
    /// Sequences at once.
    pub sequences: u32,
    /// Devices that share the model.
    pub tensor_parallel: u32,
    /// `auto`, `fp8`, `f16`, `q8_0` … as the server's own flag spells it.
    pub kv_dtype: Option<String>,
    /// Said on the command line; the checkpoint's own is used where this is none.
    pub quantization: Option<String>,
    /// vLLM's `--max-num-batched-tokens`, llama.cpp's `-ub`; [`BATCHED_TOKENS`] and 512 without it.
    pub batched_tokens: Option<u32>,
    /// Whether vLLM caches prefixes. Hybrid models then keep two copies of each state.
    pub prefix_caching: bool,
}

impl Request {
    /// One sequence on one device, everything else left to the server.
    pub fn one(backend: BackendKind, context: Option<u32>) -> Self {
        Self {
            backend,
            context,
            sequences: 1,
            tensor_parallel: 1,
            kv_dtype: None,
            quantization: None,
            batched_tokens: None,
            prefix_caching: false,
        }
    }
}

/// What one device holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceEstimate {
    /// Counted from zero.
    pub device: u32,
    pub weights: Bytes,
    /// What one more token of one sequence costs here.
    pub kv_bytes_per_token: u64,
    pub kv: Bytes,
    pub state: Bytes,
    pub overhead: Bytes,
    pub total: Bytes,
}

/// How a figure is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Sureness {
    /// Read from the model's own files, or follows from them by the server's own rules.
    Exact,
    /// Computed by a formula that is near the truth.
    Computed,
    /// No more than this; how much less is not known.
    Bound,
    /// Nothing is known; the figure is zero and means nothing.
    Unknown,
}

/// How each figure is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Certainty {
    pub weights: Sureness,
    /// Of `kv_bytes_per_token`, `kv` and `state`.
    pub kv: Sureness,
    pub overhead: Sureness,
}

impl Certainty {
    /// That of the total: the least sure of the three.
    pub fn total(self) -> Sureness {
        self.weights.max(self.kv).max(self.overhead)
    }
}

/// What a model takes. Sums are over all devices, with what is repeated on each of them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Estimate {
    pub architecture: String,
    /// Tokens of one sequence, as asked for or the model's own limit.
    pub context: u32,
    pub sequences: u32,
    pub weights: Bytes,
    /// What one more token of one sequence costs once `context` tokens are there: only layers that still grow.
    pub kv_bytes_per_token: u64,
    /// The part of the pool that tokens take, for `sequences` of `context` tokens.
    pub kv: Bytes,
    /// The part of the pool that does not grow with tokens. vLLM takes both from one pool.
    pub state: Bytes,
    /// Activations, graphs, the runtime: planned, until it was measured.
    pub overhead: Bytes,
    pub total: Bytes,
    pub per_device: Vec<DeviceEstimate>,
    pub certainty: Certainty,
    /// What is a bound, an assumption, or was not understood.
    pub notes: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EstimateError {
    #[error(
        "A model server of somebody else holds what it holds. Ask for an estimate with vllm or llama.cpp."
    )]
    NotOurs,
    #[error("The model's files do not say how long a context may be. Give a context in tokens.")]
    ContextUnknown,
    #[error("{0} sequences at once cannot be served. Give a number from 1 to {MOST_SEQUENCES}.")]
    Sequences(u32),
    #[error("A model cannot be divided among {0} devices. Give a number from 1 to {MOST_RANKS}.")]
    Ranks(u32),
    #[error(
        "{heads} attention heads cannot be divided among {ranks} devices. Choose a number of devices that divides {heads}."
    )]
    Heads { heads: u32, ranks: u32 },
}

/// What `model` takes when it is served as `request` says.
///
/// # Errors
/// Where the question has no answer: no context is known, or the devices cannot share the model.
pub fn estimate(model: &ModelFacts, request: &Request) -> Result<Estimate, EstimateError> {
    let context = check(model, request)?;
    let mut notes = model.notes.clone();
    if let Some(most) = model.max_context.filter(|most| context > *most) {
        notes.push(format!(
            "The model's own limit is {most} tokens; a server refuses {context} unless it is told otherwise."
        ));
    }
    let (cache, mut kv_sureness) = if is_llama(request.backend) {
        llama_cpp::cache(model, request, context, &mut notes)
    } else {
        vllm::cache(model, request, context, &mut notes)
    };
    if model.bounded {
        kv_sureness = Sureness::Bound;
    }
    let (weights, weights_sureness) = weights(model, request, &mut notes);
    let ranks = request.tensor_parallel;
    let here = overhead::on_one(model, request, context, weights);
    let device_weights = weights_on_one(model, request, weights);
    let device = |device| DeviceEstimate {
        device,
        weights: device_weights,
        kv_bytes_per_token: cache.per_token,
        kv: cache.kv,
        state: cache.state,
        overhead: here,
        total: device_weights + cache.kv + cache.state + here,
    };
    let per_device: Vec<DeviceEstimate> = (0..ranks).map(device).collect();
    let sum = |of: fn(&DeviceEstimate) -> Bytes| per_device.iter().map(of).sum::<Bytes>();
    Ok(Estimate {
        architecture: model.architecture.clone(),
        context,
        sequences: request.sequences,
        weights: sum(|d| d.weights),
        kv_bytes_per_token: cache.per_token.saturating_mul(u64::from(ranks)),
        kv: sum(|d| d.kv),
        state: sum(|d| d.state),
        overhead: sum(|d| d.overhead),
        total: sum(|d| d.total),
        certainty: Certainty { weights: weights_sureness, kv: kv_sureness, overhead: Sureness::Computed },
        per_device,
        notes,
    })
}

/// How many sequences of the request's context a pool of `kv` bytes (on each device) holds: what vLLM prints as
/// "Maximum concurrency for N tokens per request". Newer versions (0.24 and later) print this times the context as
/// "KV cache size"; older ones print blocks, which is less for hybrid models and not to be compared.
///
/// None where the model keeps nothing, or nothing is known of it.
pub fn concurrency(model: &ModelFacts, request: &Request, kv: Bytes) -> Option<f64> {
    let context = check(model, request).ok()?;
    if is_llama(request.backend) {
        return llama_cpp::concurrency(model, request, context, kv);
    }
    vllm::concurrency(model, request, context, kv)
}

/// The longest context of which one sequence fits into a pool of `kv` bytes (on each device), at most the model's
/// own limit. With vLLM one block is set aside, as its block pool does.
///
/// None where not even one token fits, or nothing is known.
pub fn longest_context(model: &ModelFacts, request: &Request, kv: Bytes) -> Option<u32> {
    let most = model.max_context.or(request.context)?;
    let fits = |context: u32| {
        let asked = Request { context: Some(context), sequences: 1, ..request.clone() };
        smallest_pool(model, &asked).is_some_and(|needed| needed <= kv)
    };
    if !fits(1) {
        return None;
    }
    let (mut fit, mut above) = (1, most.saturating_add(1));
    while above - fit > 1 {
        let middle = fit + (above - fit) / 2;
        if fits(middle) { fit = middle } else { above = middle }
    }
    Some(fit)
}

/// The smallest pool on each device with which a server starts at all: one sequence of the request's context and,
/// for vLLM, the one block that its block pool sets aside (checked by 0.32; older versions start with one block less).
pub fn smallest_pool(model: &ModelFacts, request: &Request) -> Option<Bytes> {
    let asked = Request { sequences: 1, ..request.clone() };
    let context = check(model, &asked).ok()?;
    let mut notes = Vec::new();
    if is_llama(request.backend) {
        let (cache, _) = llama_cpp::cache(model, &asked, context, &mut notes);
        return Some(cache.kv + cache.state);
    }
    Some(vllm::smallest(model, &asked, context))
}

/// Bytes of weights that one generated token reads: everything but the rows of the embedding table that it does not
/// need, the experts it does not pass, and towers for pictures and sound. The bound of a speed estimate is the
/// memory's bandwidth divided by this.
///
/// None where it is not known how the weights divide.
pub fn active_weights(model: &ModelFacts, request: &Request) -> Option<Bytes> {
    let (whole, _) = weights(model, request, &mut Vec::new());
    let parts = &model.parts;
    if whole == Bytes::ZERO || parts.total == Bytes::ZERO {
        // A dense model reads nearly all of it.
        return (whole > Bytes::ZERO && model.experts.is_none()).then_some(whole);
    }
    let idle_experts = match model.experts {
        Some(Experts { total, active }) => {
            parts.experts.share(u64::from(total.saturating_sub(active)), u64::from(total.max(1)))
        }
        None => Bytes::ZERO,
    };
    let idle = idle_experts + parts.embedding + parts.towers;
    Some(whole.share(parts.total.saturating_sub(idle).0, parts.total.0))
}

/// One device's part of the cache for the whole request.
struct Pool {
    per_token: u64,
    kv: Bytes,
    state: Bytes,
}

fn is_llama(backend: BackendKind) -> bool {
    // Ollama's own runner counts as llama.cpp does.
    matches!(backend, BackendKind::LlamaCpp | BackendKind::Ollama)
}

/// The context, where the request can be answered.
fn check(model: &ModelFacts, request: &Request) -> Result<u32, EstimateError> {
    if request.backend == BackendKind::External {
        return Err(EstimateError::NotOurs);
    }
    if request.sequences == 0 || request.sequences > MOST_SEQUENCES {
        return Err(EstimateError::Sequences(request.sequences));
    }
    let ranks = request.tensor_parallel;
    if ranks == 0 || ranks > MOST_RANKS {
        return Err(EstimateError::Ranks(ranks));
    }
    let heads = model.attention_heads;
    if !is_llama(request.backend) && heads > 0 && !heads.is_multiple_of(ranks) {
        return Err(EstimateError::Heads { heads, ranks });
    }
    request.context.or(model.max_context).filter(|c| *c > 0).ok_or(EstimateError::ContextUnknown)
}

/// What a server has of the weights in memory, all devices together and nothing repeated.
fn weights(model: &ModelFacts, request: &Request, notes: &mut Vec<String>) -> (Bytes, Sureness) {
    let sureness = match model.weights {
        Weights::Exact(_) => Sureness::Exact,
        Weights::Computed(_) => Sureness::Computed,
        Weights::Unknown { bound: Some(_) } => Sureness::Bound,
        Weights::Unknown { bound: None } => {
            notes.push("How large the weights are is not known.".to_owned());
            Sureness::Unknown
        }
    };
    let bytes = model.weights.bytes();
    if is_llama(request.backend) {
        return (bytes, sureness);
    }
    let bytes = without_prediction(model, bytes);
    let asked = request.quantization.as_deref().map(str::to_ascii_lowercase);
    let plain = model.quantization.is_none();
    // vLLM turns 32-bit checkpoints into 16-bit ones as it loads them.
    let loaded = if plain && model.dtype == "float32" { Bytes(bytes.0 / 2) } else { bytes };
    match asked.as_deref() {
        // Quantised while loading: what is in 16 bits in the files is held in eight or four.
        Some("fp8" | "int8" | "experts_int8") if plain => {
            (on_the_fly(model, loaded, 8), sureness.max(Sureness::Computed))
        }
        Some("bitsandbytes") if plain => (on_the_fly(model, loaded, 4), sureness.max(Sureness::Computed)),
        Some(word) if plain && !matches!(word, "auto" | "none" | "") => {
            notes.push(format!(
                "The files are not quantised, and what {word:?} makes of them is not known: counted as they are."
            ));
            (loaded, sureness.max(Sureness::Bound))
        }
        _ => (loaded, sureness),
    }
}

/// Files may hold layers for speculative decoding, which vLLM does not load otherwise. Whether they are in a sum of
/// sizes shows where the shapes account for the sum exactly enough: in 16 bits, and in FP8 where those layers are kept.
fn without_prediction(model: &ModelFacts, bytes: Bytes) -> Bytes {
    let Parts { total, prediction, .. } = model.parts;
    let told_apart = matches!(model.weights, Weights::Exact(_))
        && model.quantization.as_deref().is_none_or(|q| q == "FP8")
        && prediction.0 > total.0 / 100;
    // Nearer to the sum with them than to the sum without.
    let within = bytes > total + Bytes(prediction.0 / 2) && bytes < total + prediction + prediction;
    if told_apart && within { bytes.saturating_sub(prediction) } else { bytes }
}

/// Weights in 16 bits that are brought to `bits` while they are loaded; embeddings and towers stay as they are.
fn on_the_fly(model: &ModelFacts, bytes: Bytes, bits: u64) -> Bytes {
    let parts = &model.parts;
    let stays = if parts.total == Bytes::ZERO {
        bytes.share(1, 10)
    } else {
        // The output layer is as large as the table, and often the table itself.
        let table = u64::from(model.vocabulary).saturating_mul(u64::from(model.hidden)).saturating_mul(2);
        let tables = Bytes(table.saturating_mul(if model.tied_embeddings { 1 } else { 2 }));
        bytes.share((tables + parts.towers).0.min(parts.total.0), parts.total.0)
    };
    stays + bytes.saturating_sub(stays).share(bits, 16)
}

/// One device's part of the weights.
fn weights_on_one(model: &ModelFacts, request: &Request, whole: Bytes) -> Bytes {
    let ranks = u64::from(request.tensor_parallel);
    let repeated = if is_llama(request.backend) {
        Bytes::ZERO
    } else {
        whole.share(model.parts.replicated.0.min(model.parts.total.0), model.parts.total.0)
    };
    repeated + Bytes(whole.saturating_sub(repeated).0.div_ceil(ranks))
}
