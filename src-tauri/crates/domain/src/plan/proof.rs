//! The arithmetic of plans: what is held, what that comes to in each pool, and whether it is too much.

use std::collections::BTreeMap;

use super::StepPool;
use crate::agent::AgentName;
use crate::memory::Bytes;
use crate::pool::{Ledger, PoolId, Share, Shares};

/// What each agent counts with, by pool.
pub(super) type Holding = BTreeMap<AgentName, Shares>;

/// All agents' parts in one pool.
pub(super) fn sum_in(holding: &Holding, pool: &PoolId) -> Share {
    let shares = holding.values().filter_map(|s| s.get(pool));
    shares.fold(Share::default(), |a, b| Share { device: a.device + b.device, host: a.host + b.host })
}

/// What agents count with, ledger by ledger.
pub(super) fn reserved(ledgers: &[Ledger], holding: &Holding) -> Vec<Bytes> {
    ledgers.iter().map(|l| sum_in(holding, &l.id).total()).collect()
}

/// What is in use in all, ledger by ledger.
pub(super) fn peaks(ledgers: &[Ledger], holding: &Holding) -> Vec<Bytes> {
    ledgers.iter().map(|l| in_all(l, sum_in(holding, &l.id))).collect()
}

fn in_all(ledger: &Ledger, agents: Share) -> Bytes {
    ledger.planned_other() + ledger.lost + agents.total()
}

/// `during` is what is held while the step lasts, `after` what is held when it is done.
pub(super) fn step_pools(ledgers: &[Ledger], during: &Holding, after: &Holding) -> Vec<StepPool> {
    let of = |ledger: &Ledger| StepPool {
        id: ledger.id.clone(),
        reserved_after: sum_in(after, &ledger.id).total(),
        peak: in_all(ledger, sum_in(during, &ledger.id)),
    };
    ledgers.iter().map(of).collect()
}

/// How much a pool is short of, by each of its two bounds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Short {
    pub(super) pool: PoolId,
    pub(super) limit: Bytes,
    pub(super) device: Bytes,
}

impl Short {
    pub(super) fn by(&self) -> Bytes {
        self.limit.max(self.device)
    }
}

/// The pools that do not have what the starts need.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Verdict {
    short: Vec<Short>,
}

impl Verdict {
    pub(super) fn fits() -> Self {
        Self { short: Vec::new() }
    }

    /// `holding` is what is held after the last start: the starts only ever add, so that is the peak of them all.
    ///
    /// The distances are taken to the bounds themselves, not to what is left for agents: where other programs alone
    /// are past the limit, their excess is missing too.
    pub(super) fn of(ledgers: &[Ledger], holding: &Holding, claimed: &[Shares]) -> Self {
        let short = ledgers.iter().filter_map(|ledger| {
            let claims = || claimed.iter().filter_map(|c| c.get(&ledger.id));
            let agents = sum_in(holding, &ledger.id);
            let limit = if claims().any(|s| s.total() > Bytes::ZERO) {
                in_all(ledger, agents).saturating_sub(ledger.limit)
            } else {
                Bytes::ZERO
            };
            let device = match ledger.device_cap {
                Some(cap) if claims().any(|s| s.device > Bytes::ZERO) => {
                    (agents.device + ledger.device_other).saturating_sub(cap)
                }
                _ => Bytes::ZERO,
            };
            let short = Short { pool: ledger.id.clone(), limit, device };
            (short.by() > Bytes::ZERO).then_some(short)
        });
        Self { short: short.collect() }
    }

    pub(super) fn shortfall(&self, pool: &PoolId) -> Bytes {
        self.short.iter().find(|s| &s.pool == pool).map(Short::by).unwrap_or_default()
    }

    /// The pool that is short of most; the first of equals.
    pub(super) fn worst(&self) -> Option<&Short> {
        self.short.iter().reduce(|worst, s| if s.by() > worst.by() { s } else { worst })
    }

    /// What is left in the tightest of the pools that the starts took from, with that pool's ledger.
    pub(super) fn spare<'a>(
        ledgers: &'a [Ledger],
        holding: &Holding,
        before: &Holding,
    ) -> Option<(&'a Ledger, Bytes)> {
        let left = |ledger: &'a Ledger| {
            let agents = sum_in(holding, &ledger.id);
            let taken = agents.total() > sum_in(before, &ledger.id).total();
            let under_limit = ledger.for_agents().saturating_sub(agents.total());
            let under_cap = ledger.for_agents_on_device().map(|room| room.saturating_sub(agents.device));
            taken.then(|| (ledger, under_cap.map_or(under_limit, |cap| cap.min(under_limit))))
        };
        ledgers.iter().filter_map(left).min_by_key(|(_, spare)| *spare)
    }
}
