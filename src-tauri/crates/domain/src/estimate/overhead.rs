//! What a server takes beyond weights and cache: planned with, until a start of it was measured.

use super::{ModelFacts, Request, is_llama};
use crate::memory::{Bytes, GIB, MIB};

/// The least a vLLM server is planned with: 4 to 7 GB beyond weights and cache were seen on machines with unified
/// memory, the host's part of its processes included.
pub(super) const VLLM: Bytes = Bytes(4 * GIB);
/// The least a llama.cpp server is planned with.
pub(super) const LLAMA_CPP: Bytes = Bytes(GIB);

/// The runtime, the engine's processes and captured graphs, before anything that grows with the model.
const VLLM_RUNTIME: Bytes = Bytes(3 * GIB + 512 * MIB);
/// The share of the weights that loading and repacking leave in the allocator.
const OF_WEIGHTS: (u64, u64) = (25, 1000);
/// Larger models are loaded piece by piece: their share does not grow for ever.
const MOST_OF_WEIGHTS: Bytes = Bytes(2 * GIB);
/// Buffers of the collectives between ranks.
const COLLECTIVES: Bytes = Bytes(512 * MIB);
const LLAMA_CPP_RUNTIME: Bytes = Bytes(512 * MIB);

/// On one device. `weights` are those of the whole model.
///
/// vLLM: runtime and graphs, 2.5 % of the weights (2 GB at most), the activations of one batch (what enters and leaves a
/// feed-forward layer, in 16 bits), logits of every sequence in 32 bits, twice; never less than 4 GB. llama.cpp:
/// half a gigabyte and its compute buffer (logits and the feed-forward layer of one ubatch, the mask of the context),
/// never less than one; `--cache-ram` is not in it.
pub(super) fn on_one(model: &ModelFacts, request: &Request, context: u32, weights: Bytes) -> Bytes {
    let ranks = u64::from(request.tensor_parallel.max(1));
    let times = |a: u64, b: u64| Bytes(a.saturating_mul(b));
    let vocabulary = u64::from(model.vocabulary);
    let hidden = u64::from(model.hidden);
    if is_llama(request.backend) {
        let ubatch = u64::from(request.batched_tokens.unwrap_or(super::llama_cpp::UBATCH));
        let logits = times(ubatch, vocabulary.saturating_mul(4));
        let layer =
            times(ubatch, hidden.saturating_mul(4).saturating_add(model.intermediate).saturating_mul(4));
        let mask = times(ubatch, u64::from(context).saturating_mul(u64::from(request.sequences))).share(2, 1);
        return (LLAMA_CPP_RUNTIME + logits + layer + mask).max(LLAMA_CPP);
    }
    let batched = u64::from(request.batched_tokens.unwrap_or(super::BATCHED_TOKENS));
    let layer = hidden.saturating_mul(6).saturating_add(model.intermediate.saturating_mul(2) / ranks);
    let activations = times(batched, layer.saturating_mul(2));
    let logits = times(u64::from(request.sequences), vocabulary.saturating_mul(8));
    let collectives = if ranks > 1 { COLLECTIVES } else { Bytes::ZERO };
    let of_weights = Bytes(weights.0 / ranks).share(OF_WEIGHTS.0, OF_WEIGHTS.1).min(MOST_OF_WEIGHTS);
    (VLLM_RUNTIME + of_weights + activations + logits + collectives).max(VLLM)
}
