//! What one agent holds, measured without the rights of root.
//!
//! Nothing tells it directly. Starts are serialised, so what the pools gained since just before a start is the
//! agent's ([`step`]): the rise of GTT is its device part, the fall of `MemAvailable` its whole. The kernel's own
//! books of the agent make that exact where they can be read: DRM fdinfo and NVML for the device part, the control
//! group and PSS of its processes for the rest. Every one of these counters lags, lies or is missing somewhere, so
//! they are held against each other; where two differ by more than two units that is said, and the larger counts.
//!
//! After the start the step is not taken again: by then others have moved the pools too. What is learned later comes
//! from the agent's own counters alone ([`refine`]).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::memory::{Bytes, Unit};
use crate::pool::{PoolId, PoolKind, PoolReading, Share, Shares};

/// Everything that was read of one agent. What could not be read is `None`, never zero.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Sources {
    /// What the pools gained since just before its start, if it is the one that loads: see [`step`].
    pub step: Option<Shares>,
    /// By pool, what the DRM fdinfo of its processes sums up to, each client once.
    pub fdinfo: Option<BTreeMap<PoolId, Bytes>>,
    /// By pool, what NVML names for its processes.
    pub nvml: Option<BTreeMap<PoolId, Bytes>>,
    /// Its control group: anonymous, shared and kernel memory, without the file cache. GTT is not in it.
    pub cgroup: Option<Bytes>,
    /// The proportional set size of its processes. GTT is not in it.
    pub pss: Option<Bytes>,
}

/// The best counter that a figure rests on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Quality {
    /// The pools before and after its start.
    Step,
    Fdinfo,
    Nvml,
    /// Its processes or its control group alone.
    Processes,
}

/// Two counters that cannot both be right.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Doubt {
    /// By how much they differ.
    pub bytes: Bytes,
    /// A sentence for the bar.
    pub message: String,
}

/// What an agent holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Measured {
    pub shares: Shares,
    pub quality: Quality,
    pub doubt: Option<Doubt>,
    /// What was measured around its start: later readings refine this, never each other, so that one that lies is
    /// forgotten with the next.
    pub base: Shares,
    /// Whether counters told the device's part from the rest.
    pub apart: bool,
}

impl Measured {
    /// A figure that somebody else vouches for: the server's own word, a stand-in's report.
    pub fn said(shares: Shares, quality: Quality) -> Self {
        Self { base: shares.clone(), shares, quality, doubt: None, apart: true }
    }
}

/// More memory than any machine has, for a counter without a pool to hold it against: 1 PB.
const ABSURD: Bytes = Bytes(1 << 50);

/// What the pools gained since `before`: the device part by the device's own counter, the whole by what is in use.
/// A counter that fell gained nothing. Where the device has no counter, all of a card's memory is the device's, and
/// none of ordinary memory.
pub fn step(before: &[PoolReading], now: &[PoolReading]) -> Shares {
    let gained = |n: &PoolReading| {
        let b = before.iter().find(|b| b.id == n.id)?;
        let (device, total) = gains(b, n);
        let device = device.unwrap_or(if n.kind == PoolKind::Vram { total } else { Bytes::ZERO });
        Some((n.id.clone(), Share { device, host: total.saturating_sub(device) }))
    };
    now.iter().filter_map(gained).collect()
}

/// The gain by the device's counter, where there is one, and by what is in use.
fn gains(before: &PoolReading, now: &PoolReading) -> (Option<Bytes>, Bytes) {
    let device = before.device_used.zip(now.device_used).map(|(b, n)| n.saturating_sub(b));
    (device, now.used.saturating_sub(before.used))
}

/// What an agent holds, from everything that is known of it; `None` where nothing is.
///
/// `pools_before` are the pools just before its start and may be empty where that was not seen; `reserved` tells
/// which pools it is on: what the others gained is not its.
///
/// No part is ever above what its pool says is in use.
pub fn measure(
    pools_before: &[PoolReading],
    now: &[PoolReading],
    sources: &Sources,
    reserved: &Shares,
) -> Option<Measured> {
    let ordinary = now.iter().find(|p| p.kind != PoolKind::Vram).or(now.first())?;
    let stepped =
        sources.step.clone().or_else(|| (!pools_before.is_empty()).then(|| step(pools_before, now)));
    let mut found = Found::default();
    for pool in now {
        let own = reserved.is_empty() || reserved.contains_key(&pool.id);
        let step = stepped.as_ref().filter(|_| own).and_then(|s| s.get(&pool.id)).copied();
        let is_ordinary = pool.id == ordinary.id;
        let look = Look {
            pool,
            step,
            before: pools_before.iter().find(|b| b.id == pool.id).filter(|_| step.is_some()),
            exact: exact(sources, pool),
            processes: if is_ordinary { Processes::of(sources, pool) } else { None },
            reserved: reserved.get(&pool.id).copied().unwrap_or_default(),
        };
        look.into(&mut found, is_ordinary);
    }
    let best = [Quality::Nvml, Quality::Fdinfo, Quality::Step, Quality::Processes];
    let quality = best.into_iter().find(|q| found.seen.contains(q))?;
    let apart = found.doubt.is_none() && !found.mixed;
    Some(Measured { base: found.shares.clone(), shares: found.shares, quality, doubt: found.doubt, apart })
}

/// A later reading of an agent whose start was measured: what its own counters show beyond that counts too. One that
/// shows less changes nothing: a process that cannot be read any more still holds what it held.
///
/// Where the start did not tell the parts apart, a counter of one part tells of bytes that may be in the other's
/// figure, and adds to the whole only beyond it.
pub fn refine(known: &Measured, sources: &Sources) -> Measured {
    let sane = |bytes: &Bytes| *bytes < ABSURD;
    // A process that a session started is in the session's control group, with everything else there: that one
    // tells only where the processes themselves cannot be read.
    let host = sources.pss.filter(sane).or(sources.cgroup.filter(sane));
    let ordinary = ordinary_of(&known.base);
    let mut shares = known.base.clone();
    for (pool, share) in &mut shares {
        let of = |source: &Option<BTreeMap<PoolId, Bytes>>| source.as_ref()?.get(pool).copied().filter(sane);
        let device = of(&sources.fdinfo).max(of(&sources.nvml)).unwrap_or_default();
        let host = host.filter(|_| ordinary.as_ref() == Some(pool)).unwrap_or_default();
        let before = *share;
        share.device = before.device.max(device);
        share.host = if known.apart {
            before.host.max(host)
        } else {
            before.total().max(device + host).saturating_sub(share.device)
        };
    }
    Measured { shares, ..known.clone() }
}

/// The pool of ordinary memory among an agent's: the one with most of it, else one that the device has no part of.
fn ordinary_of(shares: &Shares) -> Option<PoolId> {
    let most = shares.iter().max_by_key(|(_, s)| (s.host, std::cmp::Reverse(s.device)));
    most.map(|(id, _)| id.clone())
}

#[derive(Default)]
struct Found {
    shares: Shares,
    doubt: Option<Doubt>,
    /// Some pool shows its device's part in nothing but the whole.
    mixed: bool,
    /// What any figure rests on.
    seen: Vec<Quality>,
}

impl Found {
    /// The largest of several doubts is the one that is said.
    fn doubt(&mut self, bytes: Bytes, message: String) {
        if self.doubt.as_ref().is_none_or(|d| d.bytes < bytes) {
            self.doubt = Some(Doubt { bytes, message });
        }
    }
}

/// What processes hold of ordinary memory: at least, and at most.
#[derive(Clone, Copy)]
struct Processes {
    least: Bytes,
    most: Bytes,
}

impl Processes {
    /// The control group holds more than processes map (shared memory, the kernel's own) and, on some machines, file
    /// pages in spite of what was asked for; so beside PSS it is the upper end.
    fn of(sources: &Sources, pool: &PoolReading) -> Option<Self> {
        // More than the machine has is a lie; more than is in use is not: file pages that are mapped count as available.
        let possible = |bytes: &Bytes| *bytes <= pool.capacity.unwrap_or(ABSURD);
        match (sources.pss.filter(possible), sources.cgroup.filter(possible)) {
            (None, None) => None,
            (Some(pss), None) => Some(Self { least: pss, most: pss }),
            (None, Some(cgroup)) => Some(Self { least: Bytes::ZERO, most: cgroup }),
            (Some(pss), Some(cgroup)) => Some(Self { least: pss.min(cgroup), most: pss.max(cgroup) }),
        }
    }
}

/// The device part in `pool` by the counters of the agent itself. More than is in use there is a lie.
fn exact(sources: &Sources, pool: &PoolReading) -> Option<(Bytes, Quality)> {
    let all = pool.device_used.unwrap_or(pool.used);
    let of = |source: &Option<BTreeMap<PoolId, Bytes>>| source.as_ref()?.get(&pool.id).copied();
    let possible = |bytes: &Bytes| *bytes <= all + disagreement(pool);
    let fdinfo = of(&sources.fdinfo).filter(possible).map(|b| (b, Quality::Fdinfo));
    let nvml = of(&sources.nvml).filter(possible).map(|b| (b, Quality::Nvml));
    [fdinfo, nvml].into_iter().flatten().max_by_key(|(bytes, _)| *bytes)
}

/// By how much two counters may differ before it is said: two units.
fn disagreement(pool: &PoolReading) -> Bytes {
    unit_of(pool).of(2.0)
}

fn unit_of(pool: &PoolReading) -> Unit {
    Unit::for_capacity(pool.capacity.unwrap_or(Bytes(u64::MAX)))
}

fn apart(a: Bytes, b: Bytes) -> Bytes {
    a.max(b).saturating_sub(a.min(b))
}

/// Everything about one pool.
struct Look<'a> {
    pool: &'a PoolReading,
    step: Option<Share>,
    before: Option<&'a PoolReading>,
    /// The agent's own counter of its device part.
    exact: Option<(Bytes, Quality)>,
    processes: Option<Processes>,
    reserved: Share,
}

impl Look<'_> {
    fn into(self, found: &mut Found, is_ordinary: bool) {
        let known = self.step.is_some() || self.exact.is_some() || self.processes.is_some();
        let step = self.step.map(|_| Quality::Step);
        let processes = self.processes.map(|_| Quality::Processes);
        found.seen.extend(self.exact.map(|(_, quality)| quality).into_iter().chain(step).chain(processes));
        found.mixed |= !self.has_counter() && self.exact.is_none() && self.reserved.device > Bytes::ZERO;
        if !known {
            return;
        }
        let device = self.device(found);
        let host = self.host(device, found);
        let share = self.bounded(Share { device, host });
        // The pool of ordinary memory is kept when it is empty: later readings must find it.
        if share.total() > Bytes::ZERO || is_ordinary {
            found.shares.insert(self.pool.id.clone(), share);
        }
    }

    fn has_counter(&self) -> bool {
        self.pool.device_used.is_some() || self.pool.kind == PoolKind::Vram
    }

    fn device(&self, found: &mut Found) -> Bytes {
        match (self.exact.map(|(bytes, _)| bytes), self.step) {
            (Some(exact), Some(step)) if self.has_counter() => {
                let differ = apart(exact, step.device);
                if differ > disagreement(self.pool) {
                    let unit = unit_of(self.pool);
                    found.doubt(
                        differ,
                        format!(
                            "Its processes name {} on the device, and {} rose by {}: the larger counts.",
                            exact.show(unit),
                            self.counter(),
                            step.device.show(unit)
                        ),
                    );
                    return exact.max(step.device);
                }
                exact
            }
            (Some(exact), _) => exact,
            (None, Some(step)) if self.has_counter() => step.device,
            // Nothing counts the device's part here: as much as was reserved through it, of what processes do not hold.
            (None, Some(step)) => {
                let least = self.processes.map_or(Bytes::ZERO, |p| p.least);
                step.total().saturating_sub(least).min(self.reserved.device)
            }
            (None, None) => Bytes::ZERO,
        }
    }

    /// What it holds in ordinary memory beside `device`.
    fn host(&self, device: Bytes, found: &mut Found) -> Bytes {
        if self.pool.kind == PoolKind::Vram {
            return Bytes::ZERO;
        }
        let Some(step) = self.step else {
            // A control group alone is the best there is then, file pages or not.
            return self
                .processes
                .map_or(Bytes::ZERO, |p| if p.least > Bytes::ZERO { p.least } else { p.most });
        };
        let fell = self.fell(step);
        let beside = fell.saturating_sub(device);
        let most = self.processes.map_or(Bytes::ZERO, |p| p.most);
        let least = self.processes.map_or(Bytes::ZERO, |p| p.least);
        let unit = unit_of(self.pool);
        if self.on_device() && device > fell + disagreement(self.pool) {
            let by = device.saturating_sub(fell);
            found.doubt(
                by,
                format!(
                    "{} rose by {} while available memory fell by {}: the larger counts.",
                    self.counter(),
                    device.show(unit),
                    fell.show(unit)
                ),
            );
        } else if (self.on_device() || self.processes.is_some()) && beside > most + disagreement(self.pool) {
            let explained = device + most;
            found.doubt(
                fell.saturating_sub(explained),
                format!(
                    "Available memory fell by {} while {} of it can be explained: the larger counts.",
                    fell.show(unit),
                    explained.show(unit)
                ),
            );
            return beside;
        }
        match self.processes {
            // More in its processes than memory fell by is no contradiction: file pages count as available.
            Some(_) => beside.clamp(least, most),
            None => beside,
        }
    }

    /// By how much available memory fell; a step keeps no trace of it where the device's counter rose by more.
    fn fell(&self, step: Share) -> Bytes {
        match self.before {
            Some(before) if step.host == Bytes::ZERO => gains(before, self.pool).1.min(step.total()),
            _ => step.total(),
        }
    }

    /// Whether its device part is system memory, so that two counters show it.
    fn on_device(&self) -> bool {
        self.pool.kind == PoolKind::Unified && self.has_counter()
    }

    fn counter(&self) -> &'static str {
        if self.pool.kind == PoolKind::Unified { "GTT" } else { "Device memory" }
    }

    fn bounded(&self, share: Share) -> Share {
        let device = share.device.min(self.pool.device_used.unwrap_or(self.pool.used)).min(self.pool.used);
        Share { device, host: share.host.min(self.pool.used.saturating_sub(device)) }
    }
}
