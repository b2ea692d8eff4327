//! What an agent takes of each pool: as declared, as learned from its starts, and while it loads.

use super::{Basis, PlannedAgent};
use crate::memory::{Bytes, Unit};
use crate::pool::{PoolId, PoolKind, PoolReading, Share, Shares};
use crate::stack::{Agent, ClaimBasis};

/// What `agent` takes of each pool of this machine: what it declares, or what its earlier starts took where that is
/// more.
///
/// Unified memory, and a machine without any GPU memory, take the whole claim in one pool. On cards the claim is
/// divided evenly over the agent's devices (its own list, or the first `tensor_parallel` cards), and its processes
/// take one unit of ordinary memory: a planned figure, until one was measured. An agent that stays off the GPU takes
/// all of its claim in ordinary memory.
pub fn claims(agent: &Agent, pools: &[PoolReading]) -> Shares {
    at_least(agent, pools, agent.learned.map(|l| l.steady))
}

/// What it takes while it loads: never less than [`claims`]. A server that profiles, compiles or unpacks needs more
/// for a while than it does afterwards.
pub fn loading_claims(agent: &Agent, pools: &[PoolReading]) -> Shares {
    at_least(agent, pools, agent.learned.map(|l| l.peak.max(l.steady)))
}

/// What the stack file says, whatever was learned since.
pub fn declared_claims(agent: &Agent, pools: &[PoolReading]) -> Shares {
    at_least(agent, pools, None)
}

/// What `held` comes to as one figure of the agent, for an [`crate::footprint::Observation`]: what the pools of its
/// model hold. Of several devices the fullest counts for each, because a claim is divided evenly; ordinary memory
/// beside cards is left out, as it is in the claim.
pub fn footprint_of(agent: &Agent, pools: &[PoolReading], held: &Shares) -> Bytes {
    let devices = devices_of(agent, pools);
    let fullest = devices.iter().filter_map(|p| held.get(&p.id)).map(|s| s.total()).max().unwrap_or_default();
    Bytes(fullest.0.saturating_mul(parts(&devices)))
}

fn parts(devices: &[&PoolReading]) -> u64 {
    u64::try_from(devices.len().max(1)).unwrap_or(1)
}

fn at_least(agent: &Agent, pools: &[PoolReading], learned: Option<Bytes>) -> Shares {
    // A role is on its server's bytes.
    if agent.served_by.is_some() {
        return Shares::new();
    }
    let devices = devices_of(agent, pools);
    let on_cards = devices.iter().any(|p| p.kind == PoolKind::Vram);
    let parts = parts(&devices);
    // What conversations leave behind fills up long after a start was measured.
    let learned = learned.map(|l| l + agent.cache_ram.unwrap_or_default()).unwrap_or_default();
    let mut shares = Shares::new();
    for pool in devices {
        let declared = agent.claim_in(pool.capacity.unwrap_or_default());
        // A share is of each card's own capacity; anything else is divided, rounded up so that nothing is dropped.
        let declared = match agent.claim {
            ClaimBasis::Share(_) => declared,
            ClaimBasis::KvCache { .. } | ClaimBasis::Memory(_) => Bytes(declared.0.div_ceil(parts)),
        };
        let here = declared.max(Bytes(learned.0.div_ceil(parts)));
        let on_device = agent.on_device() && pool.kind != PoolKind::Ram;
        let share = if on_device {
            Share { device: here, host: Bytes::ZERO }
        } else {
            Share { device: Bytes::ZERO, host: here }
        };
        shares.insert(pool.id.clone(), share);
    }
    if on_cards && let Some(ram) = pools.iter().find(|p| p.kind == PoolKind::Ram) {
        let unit = Unit::for_capacity(ram.capacity.unwrap_or_default());
        shares.insert(ram.id.clone(), Share { device: Bytes::ZERO, host: unit.of(1.0) });
    }
    shares.retain(|_, share| share.total() > Bytes::ZERO);
    shares
}

/// The pools that hold the agent's model.
fn devices_of<'a>(agent: &Agent, pools: &'a [PoolReading]) -> Vec<&'a PoolReading> {
    let of_kind = |kind| pools.iter().filter(move |p: &&PoolReading| p.kind == kind);
    let named: Vec<_> = pools.iter().filter(|p| agent.devices.contains(&p.id)).collect();
    if !named.is_empty() {
        return named;
    }
    let ordinary = of_kind(PoolKind::Ram).next();
    let unified = of_kind(PoolKind::Unified).next();
    if !agent.on_device() {
        return ordinary.or(unified).or(pools.first()).into_iter().collect();
    }
    if let Some(unified) = unified {
        return vec![unified];
    }
    let wanted = usize::try_from(agent.tensor_parallel.max(1)).unwrap_or(1);
    let cards: Vec<_> = of_kind(PoolKind::Vram).take(wanted).collect();
    if cards.is_empty() { ordinary.into_iter().collect() } else { cards }
}

/// What the agent's claim in `pool` is made of; nothing where it claims none there. What was learned beyond the
/// declared claim is overhead.
pub(super) fn parts_in(agent: &Agent, pools: &[PoolReading], pool: &PoolId) -> Option<PlannedAgent> {
    let whole = claims(agent, pools).get(pool).copied()?.total();
    let declared = declared_claims(agent, pools).get(pool).copied().unwrap_or_default().total();
    let (weights, kv) = match agent.claim {
        ClaimBasis::KvCache { weights, kv_cache, overhead } => {
            let sum = weights + kv_cache + overhead + agent.cache_ram.unwrap_or_default();
            // The unit of ordinary memory beside a card holds neither weights nor cache.
            if devices_of(agent, pools).iter().any(|p| &p.id == pool) {
                (declared.share(weights.0, sum.0), declared.share(kv_cache.0, sum.0))
            } else {
                (Bytes::ZERO, Bytes::ZERO)
            }
        }
        ClaimBasis::Memory(_) | ClaimBasis::Share(_) => (Bytes::ZERO, Bytes::ZERO),
    };
    let overhead = whole.saturating_sub(weights).saturating_sub(kv);
    let basis = if whole > declared { Basis::Learned } else { agent.basis };
    Some(PlannedAgent { agent: agent.name.clone(), weights, kv, overhead, basis })
}
