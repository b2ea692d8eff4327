//! Memory pools: what a machine has, who holds it, and what a further agent may claim.
//!
//! One model serves every machine. Strix Halo with a small carve-out is one unified pool with a second bound (the
//! GTT cap, on what GPU agents hold together); with a large carve-out it is a VRAM pool and a RAM pool; a box with
//! four cards is four VRAM pools and one RAM pool. Nothing above `hardware` asks which case it is.
//!
//! On unified memory GTT pages *are* system RAM: `used` already contains `device_used`, the two are never added.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::agent::AgentName;
use crate::attribution::Doubt;
use crate::memory::{Bytes, Unit};

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct PoolId(pub String);

impl PoolId {
    pub fn new(id: impl Into<String>) -> Self {
        Self(id.into())
    }
}

impl std::fmt::Display for PoolId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PoolKind {
    Unified,
    Vram,
    Ram,
}

/// A pool as the machine reports it at one instant. All figures in bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PoolReading {
    pub id: PoolId,
    /// For a person: "Unified memory", "GPU 0".
    pub name: String,
    pub kind: PoolKind,
    /// What the pool has. Detected, never believed from a file; `None` where it could not be detected.
    pub capacity: Option<Bytes>,
    /// The GTT cap: the second bound, on what GPU agents hold together (unified pools only).
    pub device_cap: Option<Bytes>,
    /// In use now, by everybody.
    pub used: Bytes,
    /// Of that, held through the GPU (GTT).
    pub device_used: Option<Bytes>,
}

/// What an agent takes, or holds, of one pool.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Share {
    /// Held through the GPU; counts against the pool's device cap too.
    pub device: Bytes,
    /// Held by its processes in ordinary memory.
    pub host: Bytes,
}

impl Share {
    pub fn total(self) -> Bytes {
        self.device + self.host
    }

    /// The larger of two, each part on its own. "An agent counts with the larger of reserved and measured."
    #[must_use]
    pub fn max(self, other: Self) -> Self {
        // The total decides; the parts of the larger total are kept, so that a sum never exceeds what was seen.
        if other.total() > self.total() { other } else { self }
    }
}

/// Shares by pool.
pub type Shares = BTreeMap<PoolId, Share>;

/// An agent that holds memory, as the ledger sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Held {
    pub agent: AgentName,
    /// What its start reserved.
    pub reserved: Shares,
    /// What was measured of it, where anything was.
    pub measured: Option<Shares>,
}

impl Held {
    /// What it counts with in `pool`.
    pub fn counts(&self, pool: &PoolReading) -> Share {
        let reserved = self.reserved.get(&pool.id).copied().unwrap_or_default();
        let measured = self.measured.as_ref().and_then(|m| m.get(&pool.id)).copied().unwrap_or_default();
        reserved.max(within(measured, pool.used))
    }

    /// What of the pool's use is this agent's. Where nothing could be measured (an agent found running after a
    /// restart) it is taken to hold what it reserved; else its own bytes would count again as other programs'.
    fn used_in(&self, pool: &PoolReading) -> Share {
        let shares = self.measured.as_ref().unwrap_or(&self.reserved);
        within(shares.get(&pool.id).copied().unwrap_or_default(), pool.used)
    }
}

/// A figure above all that is in use is a lie of some counter, and not believed beyond that.
fn within(share: Share, used: Bytes) -> Share {
    let device = share.device.min(used);
    Share { device, host: share.host.min(used.saturating_sub(device)) }
}

fn sum(shares: &[(AgentName, Share)]) -> Share {
    let add =
        |a: Share, b: &(AgentName, Share)| Share { device: a.device + b.1.device, host: a.host + b.1.host };
    shares.iter().fold(Share::default(), add)
}

/// The ledger of one pool: every byte is an agent's, somebody else's, lost, free, or kept back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ledger {
    pub id: PoolId,
    pub name: String,
    pub kind: PoolKind,
    pub capacity: Bytes,
    /// The most that may be in use in all, other programs included.
    pub limit: Bytes,
    pub device_cap: Option<Bytes>,
    pub used: Bytes,
    pub device_used: Option<Bytes>,
    /// Used less what is measured of agents.
    pub other: Bytes,
    /// Of the GPU's part, what no agent holds.
    pub device_other: Bytes,
    /// Did not come back after a stop.
    pub lost: Bytes,
    /// What each agent counts with: the larger of reserved and measured.
    pub held: Vec<(AgentName, Share)>,
    /// What of the pool's use is each agent's, in the order of `held`.
    pub measured: Vec<(AgentName, Share)>,
}

/// Every byte of a pool, each in one place: the parts sum up to its capacity.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parts {
    /// What is in use by each agent.
    pub agents: Vec<(AgentName, Bytes)>,
    /// In use by everything else.
    pub other: Bytes,
    /// In use by nobody any more.
    pub lost: Bytes,
    /// May still be used.
    pub free: Bytes,
    /// Between the limit, or what is in use where that is more, and the capacity.
    pub kept_back: Bytes,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("The capacity of {name} could not be detected.")]
pub struct CapacityUnknown {
    pub pool: PoolId,
    pub name: String,
}

impl Ledger {
    /// Other programs are planned with at least 6 units, so that a machine just after boot promises nothing that
    /// the desktop and a browser will need in a minute; on a machine with less than 32 units with three sixteenths
    /// of them, or nothing would be left for anybody. A card's own memory is not where they live: half a unit there.
    pub fn other_floor(kind: PoolKind, capacity: Bytes) -> Bytes {
        let unit = Unit::for_capacity(capacity);
        match kind {
            PoolKind::Unified | PoolKind::Ram => unit.of(6.0).min(capacity.share(3, 16)),
            PoolKind::Vram => unit.of(0.5),
        }
    }

    /// The limit in force: the stack's, at most capacity less 4 units; without one, capacity less 8 units. A machine
    /// with less than 32 units keeps back an eighth and a quarter of what it has instead. Of a card's own memory,
    /// where nothing but the GPU's work lives, half a unit and one unit are kept back.
    pub fn limit_for(kind: PoolKind, capacity: Bytes, wished: Option<Bytes>) -> Bytes {
        let unit = Unit::for_capacity(capacity);
        let (least, usual) = match kind {
            PoolKind::Unified | PoolKind::Ram => {
                (unit.of(4.0).min(capacity.share(1, 8)), unit.of(8.0).min(capacity.share(1, 4)))
            }
            PoolKind::Vram => (unit.of(0.5), unit.of(1.0)),
        };
        let highest = capacity.saturating_sub(least);
        wished.unwrap_or_else(|| capacity.saturating_sub(usual)).min(highest)
    }

    /// # Errors
    /// A capacity that was not detected: it is never guessed.
    pub fn new(
        reading: &PoolReading,
        wished_limit: Option<Bytes>,
        lost: Bytes,
        held: &[Held],
    ) -> Result<Self, CapacityUnknown> {
        let capacity = reading
            .capacity
            .filter(|c| c.0 > 0)
            .ok_or_else(|| CapacityUnknown { pool: reading.id.clone(), name: reading.name.clone() })?;
        let each: Vec<_> = held.iter().map(|h| (h.agent.clone(), h.used_in(reading))).collect();
        let measured = sum(&each);
        Ok(Self {
            id: reading.id.clone(),
            name: reading.name.clone(),
            kind: reading.kind,
            capacity,
            limit: Self::limit_for(reading.kind, capacity, wished_limit),
            device_cap: reading.device_cap,
            used: reading.used,
            device_used: reading.device_used,
            // What was lost is part of what is used, and counted on its own below.
            other: reading.used.saturating_sub(measured.total()).saturating_sub(lost),
            device_other: reading.device_used.unwrap_or_default().saturating_sub(measured.device),
            lost,
            held: held.iter().map(|h| (h.agent.clone(), h.counts(reading))).collect(),
            measured: each,
        })
    }

    pub fn unit(&self) -> Unit {
        Unit::for_capacity(self.capacity)
    }

    /// Other programs as a plan counts them.
    pub fn planned_other(&self) -> Bytes {
        self.other.max(Self::other_floor(self.kind, self.capacity))
    }

    /// What agents together may claim of this pool.
    pub fn for_agents(&self) -> Bytes {
        self.limit.saturating_sub(self.planned_other()).saturating_sub(self.lost)
    }

    /// What agents together may hold through the GPU, where a cap is known.
    pub fn for_agents_on_device(&self) -> Option<Bytes> {
        self.device_cap.map(|cap| cap.saturating_sub(self.device_other))
    }

    /// What a further agent may claim: `limit - max(other, 6 GB) - lost - sum over agents of max(reserved, measured)`.
    pub fn available(&self) -> Bytes {
        self.for_agents().saturating_sub(sum(&self.held).total())
    }

    /// What a further agent finds at this instant, whatever was reserved: `MemAvailable` less what is kept back, and,
    /// for one that is `on_device`, at most what is free under the GTT cap. `available` promises, this only bounds it:
    /// an agent that has not yet taken what it reserved is still to come.
    pub fn at_hand(&self, on_device: bool) -> Bytes {
        let under_cap = self
            .device_cap
            .filter(|_| on_device)
            .map(|cap| cap.saturating_sub(self.device_used.unwrap_or_default()));
        under_cap.map_or(self.free(), |cap| cap.min(self.free()))
    }

    /// By how much a further `claim` passes a bound; zero where it fits. The live look before a start: by what is
    /// promised to those that run, and by what is in use at this instant, whichever is more.
    pub fn short_of(&self, claim: Share) -> Bytes {
        if claim.total() == Bytes::ZERO {
            return Bytes::ZERO;
        }
        let held = sum(&self.held);
        let promised = (held.total() + claim.total()).saturating_sub(self.for_agents());
        let at_hand = (self.used + claim.total()).saturating_sub(self.limit);
        let on_device = match self.device_cap {
            Some(cap) if claim.device > Bytes::ZERO => {
                let in_use = self.device_used.unwrap_or_default().max(held.device + self.device_other);
                (in_use + claim.device).saturating_sub(cap)
            }
            _ => Bytes::ZERO,
        };
        promised.max(at_hand).max(on_device)
    }

    /// What is measured of agents, in all.
    pub fn measured_total(&self) -> Bytes {
        sum(&self.measured).total()
    }

    /// Where every byte is. Counters that claim more than is in use are cut in the order agents, lost.
    pub fn parts(&self) -> Parts {
        let mut rest = self.used.min(self.capacity);
        let mut take = |bytes: Bytes| {
            let taken = bytes.min(rest);
            rest = rest.saturating_sub(taken);
            taken
        };
        let agents = self.measured.iter().map(|(a, s)| (a.clone(), take(s.total()))).collect();
        let lost = take(self.lost);
        let used = self.used.min(self.capacity);
        Parts {
            agents,
            other: rest,
            lost,
            free: self.limit.saturating_sub(used),
            kept_back: self.capacity.saturating_sub(self.limit.max(used)),
        }
    }

    /// Counters of the pool that cannot all be right, where they are more than two units apart.
    pub fn doubt(&self) -> Option<Doubt> {
        let unit = self.unit();
        let shown = |bytes: Bytes| bytes.show(unit);
        let of_agents = self.measured_total();
        let device = self.device_used.unwrap_or_default();
        let found = [
            (
                device.saturating_sub(self.used),
                format!(
                    "The GPU's counter shows {} in use and the system's {} in all.",
                    shown(device),
                    shown(self.used)
                ),
            ),
            (
                of_agents.saturating_sub(self.used),
                format!(
                    "Agents are measured with {} while {} are in use in all.",
                    shown(of_agents),
                    shown(self.used)
                ),
            ),
            (
                self.used.saturating_sub(self.capacity),
                format!("{} are said to be in use of {}.", shown(self.used), shown(self.capacity)),
            ),
        ];
        let worst = found.into_iter().max_by_key(|(by, _)| *by)?;
        (worst.0 > unit.of(2.0)).then_some(Doubt { bytes: worst.0, message: worst.1 })
    }

    /// Free as the window says it: limit less used.
    pub fn free(&self) -> Bytes {
        self.limit.saturating_sub(self.used)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figures(capacity: Bytes) -> [Bytes; 3] {
        [
            Ledger::other_floor(PoolKind::Ram, capacity),
            capacity.saturating_sub(Ledger::limit_for(PoolKind::Ram, capacity, Some(capacity))),
            capacity.saturating_sub(Ledger::limit_for(PoolKind::Ram, capacity, None)),
        ]
    }

    #[test]
    fn a_small_machine_keeps_back_a_part_and_a_large_one_a_fixed_amount() {
        let gb = |amounts: [f64; 3]| amounts.map(Bytes::gb);
        assert_eq!(figures(Bytes::gb(128.0)), gb([6.0, 4.0, 8.0]));
        assert_eq!(figures(Bytes::gb(32.0)), gb([6.0, 4.0, 8.0]), "both rules meet at 32 GB");
        assert_eq!(figures(Bytes::gb(16.0)), gb([3.0, 2.0, 4.0]));
        assert_eq!(figures(Bytes::gb(8.0)), gb([1.5, 1.0, 2.0]));
        // A rehearsal's machine of 128 MB is the 128 GB one in the smaller unit.
        assert_eq!(figures(Bytes::mb(128.0)), [6.0, 4.0, 8.0].map(Bytes::mb));
    }

    #[test]
    fn more_memory_never_leaves_less_for_agents() {
        let left = |gb: u32| {
            let capacity = Bytes::gb(f64::from(gb));
            let [floor, _, usual] = figures(capacity);
            capacity.saturating_sub(usual).saturating_sub(floor)
        };
        for gb in 1..256 {
            assert!(left(gb) > Bytes::ZERO && left(gb + 1) >= left(gb), "{gb}");
        }
    }
}
