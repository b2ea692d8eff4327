//! What an agent takes of each pool: as declared, as learned from its starts, and while it loads.

use super::proof::Row;
use super::{Basis, PlannedAgent};
use crate::memory::{Bytes, Unit};
use crate::pool::{PoolKind, PoolReading, Share, Shares};
use crate::stack::{Agent, ClaimBasis};

/// What `agent` takes of each pool of this machine: what it declares, or what its earlier starts took where that is
/// more.
///
/// Unified memory, and a machine without any GPU memory, take the whole claim in one pool. On cards the claim is
/// divided evenly over the agent's devices (its own list, or the first `tensor_parallel` cards), and its processes
/// take one unit of ordinary memory: a planned figure, until one was measured. An agent that stays off the GPU takes
/// all of its claim in ordinary memory.
pub fn claims(agent: &Agent, pools: &[PoolReading]) -> Shares {
    shares(pools, &Claims::of(agent, pools).steady)
}

/// What it takes while it loads: never less than [`claims`]. A server that profiles, compiles or unpacks needs more
/// for a while than it does afterwards.
pub fn loading_claims(agent: &Agent, pools: &[PoolReading]) -> Shares {
    shares(pools, &Claims::of(agent, pools).loading)
}

/// What the stack file says, whatever was learned since.
pub fn declared_claims(agent: &Agent, pools: &[PoolReading]) -> Shares {
    shares(pools, &Claims::of(agent, pools).declared)
}

/// What `held` comes to as one figure of the agent, for an [`crate::footprint::Observation`]: what the pools of its
/// model hold. Of several devices the fullest counts for each, because a claim is divided evenly; ordinary memory
/// beside cards is left out, as it is in the claim.
pub fn footprint_of(agent: &Agent, pools: &[PoolReading], held: &Shares) -> Bytes {
    let places = places(agent, pools);
    let devices = places.iter().filter_map(|place| held.get(&pools.get(*place)?.id));
    let fullest = devices.map(|s| s.total()).max().unwrap_or_default();
    Bytes(fullest.0.saturating_mul(parts(&places)))
}

fn shares(pools: &[PoolReading], row: &[Share]) -> Shares {
    let each = pools.iter().zip(row).filter(|(_, share)| share.total() > Bytes::ZERO);
    each.map(|(pool, share)| (pool.id.clone(), *share)).collect()
}

fn parts(places: &[usize]) -> u64 {
    u64::try_from(places.len().max(1)).unwrap_or(1)
}

/// Everything an agent claims, by the place of a pool in the machine's list.
#[derive(Debug, Clone)]
pub(super) struct Claims {
    /// The pools that hold its model.
    places: Vec<usize>,
    pub(super) declared: Row,
    pub(super) steady: Row,
    pub(super) loading: Row,
}

impl Claims {
    pub(super) fn of(agent: &Agent, pools: &[PoolReading]) -> Self {
        // A role is on its server's bytes.
        let places = if agent.served_by.is_some() { Vec::new() } else { places(agent, pools) };
        let at_least = |figure: Option<Bytes>| at_least(agent, pools, &places, figure);
        Self {
            declared: at_least(None),
            steady: at_least(agent.learned.map(|l| l.steady)),
            loading: at_least(agent.learned.map(|l| l.peak.max(l.steady))),
            places,
        }
    }

    /// What its claim in a pool is made of; nothing where it claims none there. What was learned beyond the declared
    /// claim is overhead.
    pub(super) fn parts(&self, agent: &Agent, place: usize) -> Option<PlannedAgent> {
        let whole = self.steady.get(place)?.total();
        if whole == Bytes::ZERO {
            return None;
        }
        let declared = self.declared.get(place)?.total();
        let (weights, kv) = match agent.claim {
            // The unit of ordinary memory beside a card holds neither weights nor cache.
            ClaimBasis::KvCache { weights, kv_cache, overhead } if self.places.contains(&place) => {
                let sum = weights + kv_cache + overhead + agent.cache_ram.unwrap_or_default();
                (declared.share(weights.0, sum.0), declared.share(kv_cache.0, sum.0))
            }
            ClaimBasis::KvCache { .. } | ClaimBasis::Memory(_) | ClaimBasis::Share(_) => {
                (Bytes::ZERO, Bytes::ZERO)
            }
        };
        let overhead = whole.saturating_sub(weights).saturating_sub(kv);
        let basis = if whole > declared { Basis::Learned } else { agent.basis };
        Some(PlannedAgent { agent: agent.name.clone(), weights, kv, overhead, basis })
    }
}

fn at_least(agent: &Agent, pools: &[PoolReading], places: &[usize], learned: Option<Bytes>) -> Row {
    let mut row = vec![Share::default(); pools.len()];
    let parts = parts(places);
    // What conversations leave behind fills up long after a start was measured.
    let learned = learned.map(|l| l + agent.cache_ram.unwrap_or_default()).unwrap_or_default();
    let mut on_cards = false;
    for place in places.iter().copied() {
        let Some(pool) = pools.get(place) else { continue };
        on_cards |= pool.kind == PoolKind::Vram;
        let declared = agent.claim_in(pool.capacity.unwrap_or_default());
        // A share is of each card's own capacity; anything else is divided, rounded up so that nothing is dropped.
        let declared = match agent.claim {
            ClaimBasis::Share(_) => declared,
            ClaimBasis::KvCache { .. } | ClaimBasis::Memory(_) => Bytes(declared.0.div_ceil(parts)),
        };
        let here = declared.max(Bytes(learned.0.div_ceil(parts)));
        let on_device = agent.on_device() && pool.kind != PoolKind::Ram;
        row[place] = if on_device {
            Share { device: here, host: Bytes::ZERO }
        } else {
            Share { device: Bytes::ZERO, host: here }
        };
    }
    if on_cards && let Some(ram) = pools.iter().position(|p| p.kind == PoolKind::Ram) {
        let unit = Unit::for_capacity(pools[ram].capacity.unwrap_or_default());
        row[ram] = Share { device: Bytes::ZERO, host: unit.of(1.0) };
    }
    row
}

/// The places of the pools that hold the agent's model.
fn places(agent: &Agent, pools: &[PoolReading]) -> Vec<usize> {
    let of_kind =
        |kind| pools.iter().enumerate().filter(move |(_, p)| p.kind == kind).map(|(place, _)| place);
    let named: Vec<_> = pools
        .iter()
        .enumerate()
        .filter(|(_, p)| agent.devices.contains(&p.id))
        .map(|(place, _)| place)
        .collect();
    if !named.is_empty() {
        return named;
    }
    let ordinary = of_kind(PoolKind::Ram).next();
    let unified = of_kind(PoolKind::Unified).next();
    if !agent.on_device() {
        return ordinary.or(unified).or((!pools.is_empty()).then_some(0)).into_iter().collect();
    }
    if let Some(unified) = unified {
        return vec![unified];
    }
    let wanted = usize::try_from(agent.tensor_parallel.max(1)).unwrap_or(1);
    let cards: Vec<_> = of_kind(PoolKind::Vram).take(wanted).collect();
    if cards.is_empty() { ordinary.into_iter().collect() } else { cards }
}
