//! The truth of a machine, and how its counters tell it.

use std::collections::{BTreeMap, VecDeque};

use domain::agent::AgentName;
use domain::attribution::Sources;
use domain::memory::{Bytes, GIB};
use domain::pool::{PoolId, PoolKind, PoolReading, Share};

use super::Chance;

/// One share for each pool.
pub type Row = Vec<Share>;

pub fn total(row: &[Share], place: usize) -> u64 {
    row[place].total().0
}

/// A pool as it is.
#[derive(Debug, Clone)]
pub struct Pool {
    pub id: PoolId,
    pub kind: PoolKind,
    pub capacity: u64,
    pub cap: Option<u64>,
    /// What other programs hold.
    pub other: Share,
    /// What nobody holds any more.
    pub leaked: u64,
}

/// How a machine's counters fail.
#[derive(Debug, Clone, Default)]
pub struct Faults {
    /// The device's counter of a pool that has one is not there.
    pub no_device_counter: bool,
    /// GTT stays where it is, whatever the GPU holds.
    pub gtt_stands_still: bool,
    /// By how many instants `MemAvailable` is late.
    pub lag: usize,
    /// Of a hundred readings, how many say less than the one before for no reason.
    pub backwards: u64,
    pub fdinfo: Tells,
    pub pss: Tells,
    pub cgroup: Tells,
    pub nvml: Tells,
    /// What the control group counts of file pages beside.
    pub file_cache: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Tells {
    #[default]
    Nothing,
    Truth,
    /// Some of its processes cannot be read.
    Half,
    Absurd,
    /// Sometimes there, sometimes not.
    Flickers,
}

impl Tells {
    fn say(self, truth: u64, chance: &mut Chance) -> Option<Bytes> {
        match self {
            Self::Nothing => None,
            Self::Truth => Some(Bytes(truth)),
            Self::Half => Some(Bytes(truth / 2)),
            Self::Absurd => Some(Bytes(u64::MAX - chance.between(0, 4096))),
            Self::Flickers => chance.percent(50).then_some(Bytes(truth)),
        }
    }

    pub fn always_true(self) -> bool {
        self == Self::Truth
    }

    pub fn never_false(self) -> bool {
        matches!(self, Self::Nothing | Self::Truth | Self::Flickers)
    }
}

/// The machine: what is true.
#[derive(Debug, Clone)]
pub struct Machine {
    pub pools: Vec<Pool>,
    pub held: BTreeMap<AgentName, Row>,
    pub faults: Faults,
    /// What was in use at earlier instants, by pool, the latest first.
    past: VecDeque<Vec<u64>>,
}

impl Machine {
    pub fn new(pools: Vec<Pool>, faults: Faults) -> Self {
        Self { pools, held: BTreeMap::new(), faults, past: VecDeque::new() }
    }

    /// Truly in use.
    pub fn used(&self, place: usize) -> u64 {
        let pool = &self.pools[place];
        pool.other.total().0 + pool.leaked + self.held.values().map(|row| total(row, place)).sum::<u64>()
    }

    /// Truly held through the GPU. What leaks does so in its driver.
    pub fn device_used(&self, place: usize) -> u64 {
        let pool = &self.pools[place];
        pool.other.device.0 + pool.leaked + self.held.values().map(|row| row[place].device.0).sum::<u64>()
    }

    /// One instant passes.
    pub fn tick(&mut self) {
        let now = (0..self.pools.len()).map(|p| self.used(p)).collect();
        self.past.push_front(now);
        self.past.truncate(self.faults.lag + 1);
    }

    /// What the counters say now.
    pub fn read(&self, chance: &mut Chance) -> Vec<PoolReading> {
        let reading = |(place, pool): (usize, &Pool)| {
            let mut used = self.used(place);
            // Only what the system's own memory is counted by is late; a card's driver tells at once.
            if pool.kind != PoolKind::Vram && self.faults.lag > 0 {
                used = self.past.get(self.faults.lag - 1).map_or(used, |then| then[place]);
            }
            if chance.percent(self.faults.backwards) {
                used = used.saturating_sub(chance.between(0, 3 * GIB));
            }
            let device = match pool.kind {
                PoolKind::Ram => None,
                _ if self.faults.no_device_counter => None,
                PoolKind::Unified if self.faults.gtt_stands_still => Some(Bytes(GIB / 4)),
                PoolKind::Unified | PoolKind::Vram => Some(Bytes(self.device_used(place))),
            };
            PoolReading {
                id: pool.id.clone(),
                name: pool.id.to_string(),
                kind: pool.kind,
                capacity: Some(Bytes(pool.capacity)),
                device_cap: pool.cap.map(Bytes),
                used: Bytes(used),
                device_used: device,
            }
        };
        self.pools.iter().enumerate().map(reading).collect()
    }

    /// What is told of one agent beside the pools.
    pub fn sources(&self, agent: &AgentName, chance: &mut Chance) -> Sources {
        let Some(row) = self.held.get(agent) else { return Sources::default() };
        let by_pool = |tells: Tells, of: &dyn Fn(&Pool) -> bool, chance: &mut Chance| {
            let mut said = BTreeMap::new();
            for (pool, share) in self.pools.iter().zip(row) {
                if of(pool)
                    && share.device > Bytes::ZERO
                    && let Some(bytes) = tells.say(share.device.0, chance)
                {
                    said.insert(pool.id.clone(), bytes);
                }
            }
            (!said.is_empty()).then_some(said)
        };
        let host: u64 = row.iter().map(|s| s.host.0).sum();
        let cache = self.faults.file_cache;
        Sources {
            step: None,
            fdinfo: by_pool(self.faults.fdinfo, &|p| p.kind == PoolKind::Unified, chance),
            nvml: by_pool(self.faults.nvml, &|p| p.kind == PoolKind::Vram, chance),
            cgroup: self.faults.cgroup.say(host + cache, chance),
            pss: self.faults.pss.say(host, chance),
        }
    }
}
