//! The cache as llama.cpp lays it out.
//!
//! `-c` is the total of all slots and cut into equal parts, each rounded up to 256 cells. Layers with a window keep
//! window + ubatch cells, rounded up likewise, unless `--swa-full` is given. States are kept in 32 bits, one for each
//! slot. Nothing grows later: the whole cache is allocated at the start.

use super::dtype::{self, CacheType};
use super::{Cache, Heads, ModelFacts, Pool, Request, State, Sureness};
use crate::memory::Bytes;

/// Cells of a cache come in steps of this.
const CELLS: u64 = 256;
/// `-ub` where none is given.
pub(super) const UBATCH: u32 = 512;

pub(super) fn cache(
    model: &ModelFacts,
    request: &Request,
    context: u32,
    notes: &mut Vec<String>,
) -> (Pool, Sureness) {
    let asked = request.kv_dtype.as_deref().unwrap_or("auto");
    let (cache_type, known) = dtype::resolve(asked, dtype::llama_cpp, notes);
    let sequences = u128::from(request.sequences);
    let ranks = u128::from(request.tensor_parallel.max(1));
    let context_cells = u64::from(context).next_multiple_of(CELLS);
    let ubatch = u64::from(request.batched_tokens.unwrap_or(UBATCH));
    let (mut per_token, mut kv, mut state) = (0u128, 0u128, 0u128);
    for run in &model.layers {
        let count = u128::from(run.count);
        let mut add = |heads: Heads, cells: u64, grows: bool| {
            let token = token(heads, cache_type).saturating_mul(count);
            kv = kv.saturating_add(token.saturating_mul(u128::from(cells)));
            if grows {
                per_token = per_token.saturating_add(token);
            }
        };
        let windowed =
            |window: u32| u64::from(window).saturating_add(ubatch).next_multiple_of(CELLS).min(context_cells);
        match run.cache {
            Cache::Full { heads } => add(heads, context_cells, true),
            Cache::Sliding { heads, window } => add(heads, windowed(window), context <= window),
            Cache::Chunked { heads, chunk } => add(heads, windowed(chunk), context <= chunk),
            // The latent is kept once, as a key; there is no value.
            Cache::Latent { width } => add(Heads { kv: 1, key: width, value: 0 }, context_cells, true),
            Cache::Fixed { bytes_per_token } => {
                let token = u128::from(bytes_per_token).saturating_mul(count);
                per_token = per_token.saturating_add(token);
                kv = kv.saturating_add(token.saturating_mul(u128::from(context_cells)));
            }
            Cache::Cross { heads, tokens } => add(heads, u64::from(tokens).next_multiple_of(CELLS), false),
            Cache::State(of) => state = state.saturating_add(state_bytes(of).saturating_mul(count)),
        }
    }
    // Layers are dealt out to several devices whole; the evenest case is counted.
    let part = |bytes: u128| u64::try_from(bytes.div_ceil(ranks)).unwrap_or(u64::MAX);
    let pool = Pool {
        per_token: part(per_token),
        kv: Bytes(part(kv.saturating_mul(sequences))),
        state: Bytes(part(state.saturating_mul(sequences))),
    };
    let sureness = match (known, request.tensor_parallel > 1) {
        (false, _) => Sureness::Bound,
        (true, true) => Sureness::Computed,
        (true, false) => Sureness::Exact,
    };
    (pool, sureness)
}

pub(super) fn concurrency(model: &ModelFacts, request: &Request, context: u32, kv: Bytes) -> Option<f64> {
    let one = Request { sequences: 1, ..request.clone() };
    let (pool, _) = cache(model, &one, context, &mut Vec::new());
    let one = pool.kv + pool.state;
    (one > Bytes::ZERO).then(|| (kv.0 as f64 / one.0 as f64).floor())
}

/// Keys and values are rows of their own, each of all heads.
fn token(heads: Heads, cache_type: CacheType) -> u128 {
    let row = |dim: u32| cache_type.vector(u64::from(heads.kv) * u64::from(dim));
    row(heads.key) + row(heads.value)
}

fn state_bytes(state: State) -> u128 {
    let conv = u128::from(state.conv) + u128::from(state.groups) * u128::from(state.per_group);
    conv.saturating_add(u128::from(state.recurrent)).saturating_mul(4)
}
