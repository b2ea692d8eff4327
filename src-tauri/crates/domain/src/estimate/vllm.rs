//! The KV pool as vLLM's V1 engine lays it out. Read in its sources up to 0.32 (`v1/core/kv_cache_utils.py`,
//! `v1/kv_cache_interface.py`, `platforms/interface.py`):
//!
//! - Layers that keep the same are one *kind*. A model with one kind has one group of layers; a block of the pool
//!   holds 16 tokens of every layer.
//! - A model with several kinds gets groups of equal size: the smallest kind's number of layers, or the largest kind's
//!   where that is less than half as much again (a quarter, up to 0.15 or so). Kinds that the size does not divide are
//!   padded: Gemma 3 27B's 52 sliding and 10 full layers are counted as 70. Every group draws its blocks from the one
//!   pool, and a block holds one page of each layer of one group.
//! - All pages are of one size. A smaller page is made longer by a whole factor, or padded where that does not go up.
//!   For states (linear attention, Mamba) the attention's block is first enlarged, in steps of 16 tokens (128 with
//!   MLA, in newer versions), until its page holds a state; then states are padded to it.
//! - One sequence takes from each group: for full attention `ceil(context / block)`; for a sliding window
//!   `ceil(min(window - 1 + batched, context) / block) + 1`; for chunks `ceil(min(chunk + batched, context) / block)`;
//!   for a state one, or two where prefixes are cached (`align`).
//!
//! Versions from 0.26 on count the tokens of two batches for windows where scheduling is asynchronous, their default.
//! One batch is counted here, as by all versions before; who wants the newer figure asks with twice the batched tokens.

use super::dtype::{self, CacheType};
use super::{BATCHED_TOKENS, Cache, Heads, ModelFacts, Pool, Request, State, Sureness};
use crate::memory::Bytes;

const BLOCK: u64 = 16;
/// Hybrid models with MLA: kernels want whole multiples of this.
const LATENT_BLOCK: u64 = 128;

/// The kinds of layers, as vLLM tells them apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Grows with every token. MLA counts as this.
    Full,
    Sliding(u64),
    Chunked(u64),
    Cross(u64),
    State,
}

/// Layers with equal pages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Layers {
    kind: Kind,
    latent: bool,
    count: u64,
    /// Bytes of one token; of the whole state for a state.
    token: u128,
    /// Tokens in a block.
    block: u64,
    /// Bytes of one block of one layer.
    page: u128,
}

/// A number of equal groups.
struct Groups {
    kind: Kind,
    number: u64,
    block: u64,
}

/// The pool of one rank.
struct Layout {
    groups: Vec<Groups>,
    /// Bytes of one block of the pool: a page of each layer of a group.
    block_bytes: u128,
}

pub(super) fn cache(
    model: &ModelFacts,
    request: &Request,
    context: u32,
    notes: &mut Vec<String>,
) -> (Pool, Sureness) {
    let (cache_type, known) = cache_type(model, request, notes);
    let layers = layers(model, request, cache_type);
    let batched = batched(request);
    if request.batched_tokens.is_none()
        && layers
            .iter()
            .any(|l| matches!(l.kind, Kind::Sliding(w) | Kind::Chunked(w) if w < u64::from(context)))
    {
        notes.push(format!("Layers with a window are counted with {BATCHED_TOKENS} batched tokens."));
    }
    let heads = uneven_heads(model, request);
    if let Some(heads) = heads {
        notes.push(format!(
            "{} devices do not divide the {heads} heads of the cache evenly; vLLM may refuse that.",
            request.tensor_parallel
        ));
    }
    let per_token = layers
        .iter()
        .filter(|l| grows(l.kind, u64::from(context)))
        .map(|l| l.token.saturating_mul(u128::from(l.count)))
        .fold(0u128, u128::saturating_add);
    let layout = layout(layers);
    let sequences = u128::from(request.sequences);
    let bytes = |state: bool| {
        let blocks = layout
            .groups
            .iter()
            .filter(|g| (g.kind == Kind::State) == state)
            .map(|g| blocks(g, u64::from(context), batched, request.prefix_caching))
            .fold(0u128, u128::saturating_add);
        saturate(blocks.saturating_mul(layout.block_bytes).saturating_mul(sequences))
    };
    let sureness = if known && heads.is_none() { Sureness::Exact } else { Sureness::Bound };
    (Pool { per_token: saturate(per_token).0, kv: bytes(false), state: bytes(true) }, sureness)
}

/// Blocks of the pool, divided by what one sequence takes.
pub(super) fn concurrency(model: &ModelFacts, request: &Request, context: u32, kv: Bytes) -> Option<f64> {
    let (layout, per_sequence) = of_one_sequence(model, request, context)?;
    let blocks = u128::from(kv.0) / layout.block_bytes;
    Some(blocks as f64 / per_sequence as f64)
}

/// One sequence and the block that is set aside; zero where the model keeps nothing.
pub(super) fn smallest(model: &ModelFacts, request: &Request, context: u32) -> Bytes {
    match of_one_sequence(model, request, context) {
        Some((layout, blocks)) => saturate(blocks.saturating_add(1).saturating_mul(layout.block_bytes)),
        None => Bytes::ZERO,
    }
}

fn of_one_sequence(model: &ModelFacts, request: &Request, context: u32) -> Option<(Layout, u128)> {
    let (cache_type, _) = cache_type(model, request, &mut Vec::new());
    let layout = layout(layers(model, request, cache_type));
    let blocks = layout
        .groups
        .iter()
        .map(|g| blocks(g, u64::from(context), batched(request), request.prefix_caching))
        .fold(0u128, u128::saturating_add);
    (layout.block_bytes > 0 && blocks > 0).then_some((layout, blocks))
}

fn cache_type(model: &ModelFacts, request: &Request, notes: &mut Vec<String>) -> (CacheType, bool) {
    let asked = request.kv_dtype.as_deref().unwrap_or("auto");
    match model.cache_dtype.as_deref() {
        Some(own) if asked.eq_ignore_ascii_case("auto") => {
            notes.push(format!(
                "The checkpoint asks for a cache of type {own}; versions that do not follow it take a 16-bit one. Name the type to be sure."
            ));
            // The careful one of the two.
            dtype::resolve("auto", dtype::vllm, notes)
        }
        _ => dtype::resolve(asked, dtype::vllm, notes),
    }
}

fn batched(request: &Request) -> u64 {
    u64::from(request.batched_tokens.unwrap_or(BATCHED_TOKENS))
}

/// Heads of a cache that the ranks neither divide nor are divided by.
fn uneven_heads(model: &ModelFacts, request: &Request) -> Option<u32> {
    let ranks = request.tensor_parallel.max(1);
    model.layers.iter().find_map(|run| match run.cache {
        Cache::Full { heads }
        | Cache::Sliding { heads, .. }
        | Cache::Chunked { heads, .. }
        | Cache::Cross { heads, .. } => {
            let fine = heads.kv == 0 || heads.kv.is_multiple_of(ranks) || ranks.is_multiple_of(heads.kv);
            (!fine).then_some(heads.kv)
        }
        _ => None,
    })
}

fn grows(kind: Kind, context: u64) -> bool {
    match kind {
        Kind::Full => true,
        Kind::Sliding(window) | Kind::Chunked(window) => context <= window,
        Kind::Cross(_) | Kind::State => false,
    }
}

/// The layers of one rank, pages not yet made equal.
fn layers(model: &ModelFacts, request: &Request, cache_type: CacheType) -> Vec<Layers> {
    let ranks = u64::from(request.tensor_parallel.max(1));
    let mla = request.kv_dtype.as_deref().is_some_and(|d| d.eq_ignore_ascii_case("fp8_ds_mla"));
    let mut found: Vec<Layers> = Vec::new();
    for run in model.layers.iter().filter(|r| r.count > 0) {
        let (kind, token) = match run.cache {
            Cache::Full { heads } => (Kind::Full, token(heads, ranks, cache_type)),
            Cache::Sliding { heads, window } => {
                (Kind::Sliding(u64::from(window)), token(heads, ranks, cache_type))
            }
            Cache::Chunked { heads, chunk } => {
                (Kind::Chunked(u64::from(chunk)), token(heads, ranks, cache_type))
            }
            Cache::Cross { heads, tokens } => {
                (Kind::Cross(u64::from(tokens)), token(heads, ranks, cache_type))
            }
            // 512 values in eight bits, four scales of 32 bits and 64 values of 16 bits.
            Cache::Latent { width: 576 } if mla => (Kind::Full, 656),
            Cache::Latent { width } => (Kind::Full, cache_type.vector(u64::from(width))),
            Cache::Fixed { bytes_per_token } => (Kind::Full, u128::from(bytes_per_token)),
            Cache::State(state) => (Kind::State, state_bytes(state, ranks)),
        };
        if token == 0 {
            continue;
        }
        let latent = matches!(run.cache, Cache::Latent { .. } | Cache::Fixed { .. });
        let equal = |l: &&mut Layers| l.kind == kind && l.token == token && l.latent == latent;
        match found.iter_mut().find(equal) {
            Some(same) => same.count = same.count.saturating_add(run.count),
            None => found.push(Layers { kind, latent, count: run.count, token, block: 0, page: 0 }),
        }
    }
    let block = block(&found);
    for layers in &mut found {
        (layers.block, layers.page) = match layers.kind {
            Kind::State => (1, layers.token),
            _ => (block, layers.token.saturating_mul(u128::from(block))),
        };
    }
    found
}

/// Bytes of one token in one layer on one rank. Heads that are fewer than the ranks are repeated.
fn token(heads: Heads, ranks: u64, cache_type: CacheType) -> u128 {
    if heads.kv == 0 {
        return 0;
    }
    let here = u64::from(heads.kv).div_ceil(ranks).max(1);
    let both = cache_type.vector(u64::from(heads.key)) + cache_type.vector(u64::from(heads.value));
    both.saturating_mul(u128::from(here))
}

fn state_bytes(state: State, ranks: u64) -> u128 {
    let ranks_wide = u128::from(ranks);
    let groups = u64::from(state.groups);
    // Where the ranks do not divide the groups, each rank gets those that its heads need.
    let groups = if groups == 0 || groups % ranks == 0 { groups } else { groups.max(ranks) };
    let conv = u128::from(state.conv) + u128::from(groups) * u128::from(state.per_group);
    let recurrent_bytes = if state.recurrent_bytes == 0 { 2 } else { state.recurrent_bytes };
    conv.div_ceil(ranks_wide).saturating_mul(2).saturating_add(
        u128::from(state.recurrent).div_ceil(ranks_wide).saturating_mul(u128::from(recurrent_bytes)),
    )
}

/// Tokens in a block: enlarged for hybrid models until the widest attention page holds the largest state.
fn block(layers: &[Layers]) -> u64 {
    let state = layers.iter().filter(|l| l.kind == Kind::State).map(|l| l.token).max();
    let token = layers.iter().filter(|l| l.kind != Kind::State).map(|l| l.token).max();
    let (Some(state), Some(token)) = (state, token) else { return BLOCK };
    let latent = layers.iter().any(|l| l.latent);
    let step = if latent { LATENT_BLOCK } else { BLOCK };
    let steps = state.div_ceil(token.saturating_mul(u128::from(step)).max(1));
    u64::try_from(steps).unwrap_or(u64::MAX).saturating_mul(step).max(BLOCK)
}

fn layout(mut layers: Vec<Layers>) -> Layout {
    let Some(first) = layers.first().copied() else {
        return Layout { groups: Vec::new(), block_bytes: 0 };
    };
    // One kind throughout, its pages perhaps of several sizes: one group that holds every layer.
    if layers.iter().all(|l| l.kind == first.kind) {
        let block_bytes = layers
            .iter()
            .map(|l| l.page.saturating_mul(u128::from(l.count)))
            .fold(0u128, u128::saturating_add);
        return Layout {
            groups: vec![Groups { kind: first.kind, number: 1, block: first.block }],
            block_bytes,
        };
    }
    let page = layers.iter().map(|l| l.page).max().unwrap_or_default();
    for layer in &mut layers {
        if layer.kind != Kind::State && page % layer.page == 0 {
            let factor = u64::try_from(page / layer.page).unwrap_or(u64::MAX);
            layer.block = layer.block.saturating_mul(factor);
        }
        layer.page = page;
    }
    // Kinds that are the same with equal pages are one.
    let mut kinds: Vec<Layers> = Vec::new();
    for layer in layers {
        match kinds.iter_mut().find(|k| k.kind == layer.kind && k.block == layer.block) {
            Some(same) => same.count = same.count.saturating_add(layer.count),
            None => kinds.push(layer),
        }
    }
    let size = group_size(kinds.iter().map(|k| k.count));
    let groups = kinds
        .iter()
        .map(|k| Groups { kind: k.kind, number: k.count.div_ceil(size), block: k.block })
        .collect();
    Layout { groups, block_bytes: page.saturating_mul(u128::from(size)) }
}

/// Layers in each group, from the number of layers of each kind.
fn group_size(counts: impl Iterator<Item = u64> + Clone) -> u64 {
    let least = counts.clone().min().unwrap_or(1).max(1);
    let most = counts.max().unwrap_or(1).max(1);
    if most.saturating_mul(2) < least.saturating_mul(3) { most } else { least }
}

/// Blocks of the pool that one sequence takes from all groups of one kind.
fn blocks(groups: &Groups, context: u64, batched: u64, prefix_caching: bool) -> u128 {
    let block = groups.block.max(1);
    let each = match groups.kind {
        Kind::Full => context.div_ceil(block),
        Kind::Sliding(window) => {
            window.saturating_sub(1).saturating_add(batched).min(context).div_ceil(block) + 1
        }
        Kind::Chunked(chunk) => chunk.saturating_add(batched).min(context).div_ceil(block),
        Kind::Cross(tokens) => tokens.div_ceil(block),
        Kind::State => 1 + u64::from(prefix_caching),
    };
    u128::from(each) * u128::from(groups.number)
}

fn saturate(bytes: u128) -> Bytes {
    Bytes(u64::try_from(bytes).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_are_of_the_smallest_kind_unless_the_largest_is_near_it() {
        for (counts, size) in
            [(vec![10, 52], 10), (vec![4, 22], 4), (vec![12, 12], 12), (vec![12, 13], 13), (vec![20, 30], 20)]
        {
            assert_eq!(group_size(counts.iter().copied()), size, "{counts:?}");
        }
    }
}
