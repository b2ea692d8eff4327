//! What must hold, judged by the machine's truth.

use std::collections::BTreeMap;
use std::ops::AddAssign;

use domain::agent::AgentName;
use domain::memory::{Bytes, GIB};
use domain::plan::ledgers;
use domain::pool::{Ledger, PoolKind, Shares};

use super::counters::Row;
use super::house::House;

/// How much of everything was seen, so that a campaign that proves nothing is noticed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    pub cases: u64,
    pub plain: u64,
    pub instants: u64,
    pub plans: u64,
    pub refused: u64,
    pub starts: u64,
    pub failed_starts: u64,
    pub refused_at_the_look: u64,
    pub undone: u64,
    pub leaks: u64,
    pub lost_said: u64,
    pub came_back: u64,
    pub doubts: u64,
    pub learned: u64,
    pub learned_above: u64,
    /// Instants at which the sum was past a limit, by no more than what could not be known.
    pub excused: u64,
}

impl AddAssign for Counts {
    fn add_assign(&mut self, o: Self) {
        self.cases += o.cases;
        self.plain += o.plain;
        self.instants += o.instants;
        self.plans += o.plans;
        self.refused += o.refused;
        self.starts += o.starts;
        self.failed_starts += o.failed_starts;
        self.refused_at_the_look += o.refused_at_the_look;
        self.undone += o.undone;
        self.leaks += o.leaks;
        self.lost_said += o.lost_said;
        self.came_back += o.came_back;
        self.doubts += o.doubts;
        self.learned += o.learned;
        self.learned_above += o.learned_above;
        self.excused += o.excused;
    }
}

/// The instant at which a start was decided: the truth then, and what was promised.
#[derive(Debug, Clone)]
pub struct Look {
    pub agent: AgentName,
    /// What the start was planned with, while it loads.
    pub claim: Shares,
    other: Vec<(u64, u64)>,
    used: Vec<(u64, u64)>,
    held: BTreeMap<AgentName, Row>,
    ledgers: Vec<Ledger>,
    leaked: Vec<u64>,
}

impl Look {
    pub fn new(house: &House, agent: &AgentName, claim: Shares, ledgers: Vec<Ledger>) -> Self {
        let machine = &house.machine;
        let places = 0..machine.pools.len();
        Self {
            agent: agent.clone(),
            claim,
            other: machine.pools.iter().map(|p| (p.other.total().0, p.other.device.0)).collect(),
            used: places.map(|p| (machine.used(p), machine.device_used(p))).collect(),
            held: machine.held.clone(),
            ledgers,
            leaked: machine.pools.iter().map(|p| p.leaked).collect(),
        }
    }
}

fn over(a: u64, b: u64) -> u64 {
    a.saturating_sub(b)
}

/// During a start of ours: no pool is past its limit or cap, but for what could not be known.
pub fn within_bounds(house: &mut House, look: &Look) -> Result<(), String> {
    for place in 0..house.machine.pools.len() {
        let ledger = &look.ledgers[place];
        let claim = look.claim.get(&ledger.id).copied().unwrap_or_default();
        if claim.total() == Bytes::ZERO {
            continue;
        }
        let used = house.machine.used(place);
        let excuse = if house.temper.plain { 0 } else { unknowable(house, look, place, false) };
        if used > ledger.limit.0 {
            if used > ledger.limit.0 + excuse {
                return Err(format!(
                    "{} starts: {} holds {} of a limit of {}, and {} of it could not be known",
                    look.agent,
                    ledger.id,
                    gb(used),
                    gb(ledger.limit.0),
                    gb(excuse)
                ));
            }
            house.counts.excused += 1;
        }
        let Some(cap) = ledger.device_cap.filter(|_| claim.device > Bytes::ZERO) else { continue };
        // Without a counter of the GPU's own nobody knows what others hold through it.
        if ledger.device_used.is_none() || house.machine.faults.gtt_stands_still {
            continue;
        }
        let device = house.machine.device_used(place);
        let excuse = if house.temper.plain { 0 } else { unknowable(house, look, place, true) };
        if device > cap.0 + excuse {
            return Err(format!(
                "{} starts: the GPU holds {} of a cap of {}, and {} of it could not be known",
                look.agent,
                gb(device),
                gb(cap.0),
                gb(excuse)
            ));
        }
    }
    Ok(())
}

/// What nobody could have known at the look, in one pool: of all, or of the device's part.
fn unknowable(house: &House, look: &Look, place: usize, device: bool) -> u64 {
    let machine = &house.machine;
    let ledger = &look.ledgers[place];
    let of = |share: domain::pool::Share| if device { share.device.0 } else { share.total().0 };
    let either = |pair: (u64, u64)| if device { pair.1 } else { pair.0 };
    // Others took more meanwhile.
    let other = of(machine.pools[place].other);
    let mut sum = over(other, either(look.other[place]));
    // The counters kept something back.
    let said = if device { ledger.device_used.unwrap_or_default().0 } else { ledger.used.0 };
    sum += over(either(look.used[place]), said);
    // It takes more than it was ever seen to.
    let mine = machine.held.get(&look.agent).map_or(0, |row| of(row[place]));
    sum += over(mine, look.claim.get(&ledger.id).map_or(0, |s| of(*s)));
    for (n, (agent, counts)) in ledger.held.iter().enumerate() {
        let then = look.held.get(agent).map_or(0, |row| of(row[place]));
        let now = machine.held.get(agent).map_or(0, |row| of(row[place]));
        // Another agent takes more than it counts with.
        sum += over(now, then.max(of(*counts)));
        // What was taken for an agent's was somebody else's, or was counted in ordinary memory.
        sum += over(of(ledger.measured[n].1), then);
        if device {
            sum += over(counts.total().0, counts.device.0);
        }
    }
    // What was taken for lost was somebody else's.
    sum + over(ledger.lost.0, look.leaked[place])
}

fn gb(bytes: u64) -> String {
    format!("{:.3} GB", bytes as f64 / GIB as f64)
}

/// At every instant: no two in conflict are there together.
pub fn never_together(house: &House) -> Result<(), String> {
    let there: Vec<&AgentName> = house.machine.held.keys().collect();
    for (n, a) in there.iter().enumerate() {
        for b in &there[n + 1..] {
            if house.stack.conflict(a, b) {
                return Err(format!("{a} and {b} meet"));
            }
        }
    }
    Ok(())
}

/// The ledger against the truth.
///
/// Always: the parts of a pool sum up to its capacity, and nothing is measured above what is in use. Of an agent at
/// rest, the figure is wrong by at most: what others moved while it loaded, its own growth since that no counter
/// showed, and the lag of the counters; plus two units where counters may lie, because only from there on is a
/// contradiction told from noise. What is lost is at least what leaked, less a unit or 5 % of each stop, and less
/// what was measured too high; at most, all that no agent holds.
pub fn ledger_is_true(house: &House) -> Result<(), String> {
    let situation = house.situation.clone();
    let ledgers = ledgers(house.planned_stack(), &situation).map_err(|e| e.to_string())?;
    for (place, ledger) in ledgers.iter().enumerate() {
        let parts = ledger.parts();
        let sum = parts.agents.iter().map(|(_, b)| b.0).sum::<u64>()
            + parts.other.0
            + parts.lost.0
            + parts.free.0
            + parts.kept_back.0;
        if sum != ledger.capacity.0 {
            return Err(format!("the parts of {} sum up to {}", ledger.id, gb(sum)));
        }
        for (agent, share) in &ledger.measured {
            if share.total() > ledger.used {
                return Err(format!("{agent} is measured above all that is in use of {}", ledger.id));
            }
            let Some(live) = house.live.get(agent).filter(|l| l.at_rest) else { continue };
            let truth = house.machine.held.get(agent).map_or(0, |row| row[place].total().0);
            let measured = share.total().0;
            // What the latest reading of the pool does not admit cannot be believed of an agent either.
            let kept_back = over(house.machine.used(place), ledger.used.0);
            let slack = live.slack[place] + kept_back + house.disagreement(place);
            if truth > measured + slack {
                return Err(format!(
                    "{agent} holds {} of {}, and {} is measured; {} can be explained",
                    gb(truth),
                    ledger.id,
                    gb(measured),
                    gb(slack)
                ));
            }
            if measured > truth + slack {
                return Err(format!(
                    "{agent} is measured with {} of {}, and holds {}; {} can be explained",
                    gb(measured),
                    ledger.id,
                    gb(truth),
                    gb(slack)
                ));
            }
        }
        if house.temper.plain {
            let leaked = house.machine.pools[place].leaked;
            let slack = house.lost_slack[place];
            if leaked > ledger.lost.0 + slack {
                return Err(format!(
                    "{} leaked in {}, and {} is known to be lost; {} can be explained",
                    gb(leaked),
                    ledger.id,
                    gb(ledger.lost.0),
                    gb(slack)
                ));
            }
            let nobodys = over(house.machine.used(place), ledger.measured_total().0);
            if ledger.lost.0 > leaked.max(nobodys) {
                return Err(format!(
                    "{} more is lost of {} than anybody could hold",
                    gb(ledger.lost.0),
                    ledger.id
                ));
            }
            // With everything known, other programs are exactly what is left.
            let other = house.machine.pools[place].other.total().0;
            let known: u64 = house.live.values().map(|l| l.slack[place]).sum();
            if house.live.values().all(|l| l.at_rest)
                && ledger.other.0.abs_diff(other + over(leaked, ledger.lost.0))
                    > known + over(ledger.lost.0, leaked)
            {
                return Err(format!(
                    "other programs hold {} of {}, and {} is said",
                    gb(other),
                    ledger.id,
                    gb(ledger.other.0)
                ));
            }
        }
        if ledger.kind == PoolKind::Vram && ledger.device_cap.is_some() {
            return Err("a card has no cap beside its capacity".into());
        }
    }
    Ok(())
}
