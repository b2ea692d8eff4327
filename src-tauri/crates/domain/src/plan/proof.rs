//! The arithmetic of plans: what is held, what that comes to in each pool, and whether it is too much.
//!
//! Everything here is by the place of a ledger in its list, so that a plan for a hundred agents compares no names.

use std::collections::BTreeMap;

use super::StepPool;
use crate::agent::AgentName;
use crate::memory::Bytes;
use crate::pool::{Ledger, PoolId, Share};

/// One share for each ledger.
pub(super) type Row = Vec<Share>;

/// What each agent counts with.
#[derive(Debug, Clone, Default)]
pub(super) struct Holding {
    pub(super) agents: BTreeMap<AgentName, Row>,
}

impl Holding {
    /// What those that run count with.
    pub(super) fn now(ledgers: &[Ledger]) -> Self {
        let mut agents = BTreeMap::new();
        for (place, ledger) in ledgers.iter().enumerate() {
            for (agent, share) in &ledger.held {
                let row: &mut Row =
                    agents.entry(agent.clone()).or_insert_with(|| vec![Share::default(); ledgers.len()]);
                row[place] = *share;
            }
        }
        Self { agents }
    }

    /// All agents' parts, pool by pool.
    pub(super) fn sums(&self, pools: usize) -> Row {
        let mut sums = vec![Share::default(); pools];
        for row in self.agents.values() {
            add(&mut sums, row);
        }
        sums
    }
}

pub(super) fn add(sums: &mut [Share], row: &[Share]) {
    for (sum, share) in sums.iter_mut().zip(row) {
        *sum = Share { device: sum.device + share.device, host: sum.host + share.host };
    }
}

/// What is in use in all where agents hold `agents`.
pub(super) fn in_all(ledger: &Ledger, agents: Share) -> Bytes {
    ledger.planned_other() + ledger.lost + agents.total()
}

/// `during` is what is held while the step lasts, `after` what is held when it is done.
pub(super) fn step_pools(ledgers: &[Ledger], during: &[Share], after: &[Share]) -> Vec<StepPool> {
    let each = ledgers.iter().zip(during.iter().zip(after));
    each.map(|(ledger, (during, after))| StepPool {
        id: ledger.id.clone(),
        reserved_after: after.total(),
        peak: in_all(ledger, *during),
    })
    .collect()
}

/// The instant of one start: what is held in each pool while this agent loads, and what it claims of each then.
#[derive(Debug, Clone)]
pub(super) struct Moment {
    pub(super) loading: AgentName,
    pub(super) held: Row,
    pub(super) claim: Row,
}

/// How much a pool is short of, by each of its two bounds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Short {
    /// The place of the pool's ledger.
    pub(super) place: usize,
    pub(super) limit: Bytes,
    pub(super) device: Bytes,
    /// What agents hold at the instant that is worst.
    pub(super) held: Share,
    /// The agent that needs it only while it loads.
    pub(super) loading: Option<AgentName>,
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
    /// `moments` are the starts in their order, `end` is what is held when all of them are at rest. A start may need
    /// more while it loads than the last one leaves held, so each is looked at.
    ///
    /// A pool that no start claims of is as it was, and is no reason to refuse. The distances are taken to the bounds
    /// themselves, not to what is left for agents: where other programs alone are past the limit, their excess is
    /// missing too.
    pub(super) fn of(ledgers: &[Ledger], moments: &[Moment], end: &[Share]) -> Self {
        let mut short = Vec::new();
        for (place, ledger) in ledgers.iter().enumerate() {
            let claimed = moments.iter().any(|m| m.claim[place].total() > Bytes::ZERO);
            let claimed_on_device = moments.iter().any(|m| m.claim[place].device > Bytes::ZERO);
            let cap = ledger.device_cap.filter(|_| claimed_on_device);
            if !claimed {
                continue;
            }
            let past = |held: Share| {
                let limit = in_all(ledger, held).saturating_sub(ledger.limit);
                let device = cap.map(|cap| (held.device + ledger.device_other).saturating_sub(cap));
                (limit, device.unwrap_or_default())
            };
            let (limit, device) = past(end[place]);
            let mut worst = Short { place, limit, device, held: end[place], loading: None };
            for moment in moments {
                let held = moment.held[place];
                let (limit, device) = past(held);
                if limit.max(device) > worst.by() {
                    worst = Short { place, limit, device, held, loading: Some(moment.loading.clone()) };
                }
            }
            if worst.by() > Bytes::ZERO {
                short.push(worst);
            }
        }
        Self { short }
    }

    pub(super) fn shortfall(&self, place: usize) -> Bytes {
        self.short.iter().find(|s| s.place == place).map(Short::by).unwrap_or_default()
    }

    /// The pool that is short of most; the first of equals.
    pub(super) fn worst(&self) -> Option<&Short> {
        self.short.iter().reduce(|worst, s| if s.by() > worst.by() { s } else { worst })
    }

    /// What is left in the tightest of the pools that the starts took from, with that pool's ledger.
    pub(super) fn spare<'a>(
        ledgers: &'a [Ledger],
        end: &[Share],
        before: &[Share],
    ) -> Option<(&'a Ledger, Bytes)> {
        let left = |(place, ledger): (usize, &'a Ledger)| {
            let agents = end[place];
            let taken = agents.total() > before[place].total();
            let under_limit = ledger.for_agents().saturating_sub(agents.total());
            let under_cap = ledger.for_agents_on_device().map(|room| room.saturating_sub(agents.device));
            taken.then(|| (ledger, under_cap.map_or(under_limit, |cap| cap.min(under_limit))))
        };
        ledgers.iter().enumerate().filter_map(left).min_by_key(|(_, spare)| *spare)
    }
}

/// The place of a pool's ledger.
pub(super) fn place_of(ledgers: &[Ledger], pool: &PoolId) -> Option<usize> {
    ledgers.iter().position(|l| &l.id == pool)
}
