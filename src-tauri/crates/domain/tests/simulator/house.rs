//! A household on that machine: plans are made and carried out as the run loop does it, one step after another.

use std::collections::{BTreeMap, BTreeSet};

use domain::agent::{AgentName, AgentState};
use domain::attribution::{Measured, measure, refine};
use domain::footprint::{Learned, Observation, apply, learn};
use domain::lost::{lost_after_stop, recovered};
use domain::memory::{Bytes, GIB};
use domain::plan::{
    Action, Goal, Headroom, Plan, Running, Situation, claims, footprint_of, headroom, ledgers,
    loading_claims, plan, plan_undo,
};
use domain::pool::{Held, PoolId, PoolKind, PoolReading, Share, Shares};
use domain::stack::{Agent, ClaimBasis, Stack};

use super::Chance;
use super::check::{Counts, Look, ledger_is_true, never_together, within_bounds};
use super::counters::{Machine, Row, Tells};

/// What an agent truly takes.
#[derive(Debug, Clone)]
pub struct Nature {
    pub steady: Row,
    pub peak: Row,
    /// Instants that it loads for.
    pub ticks: u64,
}

/// What happens beside the plans, of a hundred.
#[derive(Debug, Clone)]
pub struct Temper {
    /// Counters tell the truth, nobody else moves while something is under way, and agents take what they declare.
    pub plain: bool,
    pub neighbours: u64,
    pub leaks: u64,
    pub failures: u64,
}

/// An agent as the run loop knows it.
#[derive(Debug, Clone)]
pub struct Live {
    pub state: AgentState,
    pub reserved: Shares,
    pub measured: Option<Measured>,
    pub at_rest: bool,
    /// By how much its figure may be wrong in each pool, and why is known.
    pub slack: Vec<u64>,
}

pub struct House {
    chance: Chance,
    pub machine: Machine,
    /// As written.
    pub stack: Stack,
    /// With what was learned.
    effective: Stack,
    natures: BTreeMap<AgentName, Nature>,
    pub temper: Temper,
    pub counts: Counts,
    pub live: BTreeMap<AgentName, Live>,
    lost: BTreeMap<PoolId, Bytes>,
    pub lost_slack: Vec<u64>,
    observations: BTreeMap<AgentName, Vec<Observation>>,
    learned: BTreeMap<AgentName, Learned>,
    pub situation: Situation,
    story: Vec<String>,
    pub tell: bool,
}

/// A step that did not come to its end, or a promise that was broken.
enum Stuck {
    Failed,
    Broken(String),
}

impl From<String> for Stuck {
    fn from(broken: String) -> Self {
        Self::Broken(broken)
    }
}

impl House {
    pub fn new(
        chance: Chance,
        machine: Machine,
        stack: Stack,
        natures: BTreeMap<AgentName, Nature>,
        temper: Temper,
        counts: Counts,
    ) -> Self {
        let pools = machine.pools.len();
        Self {
            chance,
            machine,
            effective: stack.clone(),
            stack,
            natures,
            counts: Counts { cases: 1, plain: u64::from(temper.plain), ..counts },
            temper,
            live: BTreeMap::new(),
            lost: BTreeMap::new(),
            lost_slack: vec![0; pools],
            observations: BTreeMap::new(),
            learned: BTreeMap::new(),
            situation: Situation::default(),
            story: Vec::new(),
            tell: false,
        }
    }

    pub fn story(&self) -> String {
        self.story.join("\n")
    }

    fn note(&mut self, what: impl FnOnce(&Self) -> String) {
        if self.tell {
            let line = what(self);
            self.story.push(line);
        }
    }

    pub fn planned_stack(&self) -> &Stack {
        &self.effective
    }

    /// By how much counters may differ before one is doubted, where they may lie.
    pub fn disagreement(&self, place: usize) -> u64 {
        let faults = &self.machine.faults;
        if self.temper.plain {
            return 0;
        }
        let cache = if faults.cgroup == Tells::Nothing || self.machine.pools[place].kind == PoolKind::Vram {
            0
        } else {
            faults.file_cache
        };
        2 * GIB + cache
    }

    pub fn live_through(&mut self) -> Result<(), String> {
        self.note(|h| format!("{:?}\n{:?}\n{:#?}", h.temper, h.machine, h.natures));
        for _ in 0..self.chance.between(4, 9) {
            for _ in 0..self.chance.between(1, 3) {
                self.quiet_instant()?;
            }
            let goal = self.goal();
            self.fulfil(&goal)?;
        }
        self.quiet_instant()
    }

    fn goal(&mut self) -> Goal {
        let agents = &self.stack.agents;
        let agent = agents[pick(&mut self.chance, agents.len())].name.clone();
        match self.chance.between(0, 9) {
            0..=4 => {
                let profiles = &self.stack.profiles;
                Goal::Profile(profiles[pick(&mut self.chance, profiles.len())].name.clone())
            }
            5..=7 => Goal::Awake(agent),
            8 => Goal::Asleep(agent),
            _ => Goal::Nobody,
        }
    }

    /// Nothing is under way: others move, agents grow, what leaked may come back.
    fn quiet_instant(&mut self) -> Result<(), String> {
        self.neighbours_move(if self.temper.plain { 50 } else { self.temper.neighbours });
        self.agents_grow();
        for place in 0..self.machine.pools.len() {
            if self.machine.pools[place].leaked > 0 && self.chance.percent(15) {
                self.machine.pools[place].leaked /= self.chance.between(1, 2) * 1000;
                self.counts.came_back += 1;
            }
        }
        // A quiet machine is as long at rest as its counters are late.
        for _ in 0..=self.machine.faults.lag {
            self.instant(None)?;
        }
        self.refresh();
        ledger_is_true(self)
    }

    fn neighbours_move(&mut self, of_hundred: u64) {
        for place in 0..self.machine.pools.len() {
            if !self.chance.percent(of_hundred) {
                continue;
            }
            let free = self.machine.pools[place].capacity.saturating_sub(self.machine.used(place));
            let more = self.chance.between(0, (free / 2).min(20 * GIB));
            let grows = self.chance.percent(50);
            let pool = &mut self.machine.pools[place];
            let part = match pool.kind {
                PoolKind::Vram => &mut pool.other.device,
                PoolKind::Unified if self.chance.percent(10) => &mut pool.other.device,
                PoolKind::Ram | PoolKind::Unified => &mut pool.other.host,
            };
            let moved = if grows { more } else { self.chance.between(0, part.0) };
            part.0 = if grows { part.0 + moved } else { part.0 - moved };
            for live in self.live.values_mut().filter(|l| !l.at_rest) {
                live.slack[place] += moved;
            }
        }
    }

    /// A KV cache that fills, buffers of a long prompt. Whom nothing shows to grow is measured too low by as much.
    fn agents_grow(&mut self) {
        let faults = self.machine.faults.clone();
        for (name, row) in &mut self.machine.held {
            let Some(live) = self.live.get_mut(name).filter(|l| l.at_rest) else { continue };
            for (place, share) in row.iter_mut().enumerate() {
                let pool = &self.machine.pools[place];
                let reserved = live.reserved.get(&pool.id).copied().unwrap_or_default().total().0;
                let most = if self.temper.plain { reserved } else { reserved / 100 * 110 };
                let room = most.saturating_sub(share.total().0);
                if room == 0 || !self.chance.percent(20) {
                    continue;
                }
                let by = self.chance.between(0, room);
                let shown = if share.device > Bytes::ZERO {
                    share.device.0 += by;
                    let tells = if pool.kind == PoolKind::Vram { faults.nvml } else { faults.fdinfo };
                    tells.always_true()
                } else {
                    share.host.0 += by;
                    let silent = matches!(faults.pss, Tells::Nothing | Tells::Absurd);
                    faults.pss.always_true() || silent && faults.cgroup.always_true()
                };
                // Where the start told no parts apart, growth is seen only beyond the whole.
                if !shown || live.measured.as_ref().is_some_and(|m| !m.apart) {
                    live.slack[place] += by;
                }
            }
        }
    }

    /// One instant, and what must hold at each.
    fn instant(&mut self, look: Option<&Look>) -> Result<(), String> {
        self.machine.tick();
        self.counts.instants += 1;
        never_together(self)?;
        match look {
            Some(look) => within_bounds(self, look),
            None => Ok(()),
        }
    }

    fn read(&mut self) -> Vec<PoolReading> {
        self.machine.read(&mut self.chance)
    }

    /// The figures as the run loop keeps them.
    fn refresh(&mut self) {
        let pools = self.read();
        for (name, live) in &mut self.live {
            if live.at_rest
                && let Some(known) = &live.measured
            {
                live.measured = Some(refine(known, &self.machine.sources(name, &mut self.chance)));
            }
        }
        let running = self.live.iter().map(|(name, live)| Running {
            agent: name.clone(),
            state: live.state,
            held: Held {
                agent: name.clone(),
                reserved: live.reserved.clone(),
                measured: live.measured.as_ref().map(|m| m.shares.clone()),
            },
            in_use: 0,
        });
        self.situation =
            Situation { pools, lost: self.lost.clone(), running: running.collect(), ..Situation::default() };
        let Ok(found) = ledgers(&self.effective, &self.situation) else { return };
        for (reading, ledger) in self.situation.pools.iter().zip(&found) {
            if let Some(lost) = self.lost.get_mut(&reading.id) {
                *lost = recovered(*lost, reading, ledger);
            }
        }
        self.lost.retain(|_, lost| *lost > Bytes::ZERO);
        self.situation.lost.clone_from(&self.lost);
    }

    fn fulfil(&mut self, goal: &Goal) -> Result<(), String> {
        self.refresh();
        let planned = plan(&self.effective, &self.situation, goal).map_err(|e| e.to_string())?;
        self.counts.plans += 1;
        self.counts.refused += u64::from(!planned.fits);
        self.note(|_| format!("{goal:?}: {}", planned.reason));
        if !planned.fits {
            return Ok(());
        }
        let before: BTreeSet<AgentName> = self.live.keys().cloned().collect();
        match self.carry_out(&planned) {
            Ok(()) => Ok(()),
            Err(Stuck::Broken(broken)) => Err(broken),
            Err(Stuck::Failed) => {
                self.counts.undone += 1;
                self.refresh();
                let back = plan_undo(&self.effective, &self.situation, &before).map_err(|e| e.to_string())?;
                self.note(|_| format!("undoing: {}", back.reason));
                match self.carry_out(&back) {
                    Err(Stuck::Broken(broken)) => Err(broken),
                    Ok(()) | Err(Stuck::Failed) => Ok(()),
                }
            }
        }
    }

    fn carry_out(&mut self, plan: &Plan) -> Result<(), Stuck> {
        for step in &plan.steps {
            match step.action {
                Action::Stop => self.stop(&step.agent)?,
                Action::Start => self.start(&step.agent)?,
                Action::Drain | Action::WaitMemory | Action::Pull | Action::WaitReady | Action::Undo => {}
            }
        }
        Ok(())
    }

    fn stop(&mut self, name: &AgentName) -> Result<(), String> {
        self.note(|h| format!("stop {name}: {:?}", h.machine.held.get(name)));
        let before = self.read();
        let Some(live) = self.live.get_mut(name) else {
            return Err(format!("{name} stops and is not there"));
        };
        live.state = AgentState::Stopping;
        live.at_rest = false;
        let held = live.measured.as_ref().map(|m| m.shares.clone());
        let unseen = live.slack.clone();
        if let Some(row) = self.machine.held.remove(name) {
            for (place, share) in row.iter().enumerate() {
                let unit = GIB.max(share.total().0 / 20);
                self.lost_slack[place] = self.lost_slack[place].max(GIB);
                if share.device > Bytes::ZERO && self.chance.percent(self.temper.leaks) {
                    let leaks = share.device.0 / 100 * self.chance.between(1, 100);
                    self.machine.pools[place].leaked += leaks;
                    // What was never seen of it is not missed.
                    self.lost_slack[place] += unit + unseen[place];
                    self.counts.leaks += 1;
                    self.note(|_| format!("{leaks} leak in {place}"));
                }
            }
        }
        for patience in (0..6).rev() {
            if !self.temper.plain {
                self.neighbours_move(self.temper.neighbours);
            }
            self.instant(None)?;
            let now = self.read();
            let Some(held) = &held else { break };
            let lost = lost_after_stop(name.as_str(), &before, &now, held, None);
            if lost.is_empty() {
                break;
            }
            if patience == 0 {
                for lost in lost {
                    *self.lost.entry(lost.pool).or_default() += lost.bytes;
                    self.counts.lost_said += 1;
                }
            }
        }
        self.live.remove(name);
        self.refresh();
        Ok(())
    }

    fn start(&mut self, name: &AgentName) -> Result<(), Stuck> {
        if let Some(other) = self.live.iter().find(|(_, l)| !l.at_rest) {
            return Err(Stuck::Broken(format!("{name} starts while {} loads", other.0)));
        }
        let agent = self.effective.agent(name).cloned().ok_or_else(|| format!("{name} is unknown"))?;
        let look = self.look(&agent)?;
        let before = self.read();
        self.counts.starts += 1;
        let reserved = claims(&agent, &before);
        let slack = (0..self.machine.pools.len()).map(|p| self.kept_back(&before, p)).collect();
        let nothing = Measured::said(Shares::new(), domain::attribution::Quality::Step);
        self.live.insert(
            name.clone(),
            Live {
                state: AgentState::Loading,
                reserved: reserved.clone(),
                measured: Some(nothing),
                at_rest: false,
                slack,
            },
        );
        let nature = self.natures[name].clone();
        let fails = self.chance.percent(self.temper.failures).then(|| self.chance.between(1, nature.ticks));
        let mut peak: Option<(Bytes, Measured)> = None;
        for tick in 1..=nature.ticks + 1 {
            let row = if tick > nature.ticks {
                nature.steady.clone()
            } else {
                nature.peak.iter().map(|s| part(*s, tick, nature.ticks)).collect()
            };
            self.machine.held.insert(name.clone(), row);
            if !self.temper.plain {
                self.neighbours_move(self.temper.neighbours);
            }
            self.instant(Some(&look))?;
            let now = self.read();
            let sources = self.machine.sources(name, &mut self.chance);
            let measured =
                measure(&before, &now, &sources, &reserved).ok_or("nothing was measured".to_owned())?;
            possible(&measured, &now)?;
            let footprint = footprint_of(&agent, &now, &measured.shares);
            if peak.as_ref().is_none_or(|(most, _)| *most < footprint) {
                peak = Some((footprint, measured.clone()));
            }
            let late: Vec<u64> = (0..now.len()).map(|p| self.kept_back(&now, p)).collect();
            if let Some(live) = self.live.get_mut(name) {
                live.measured = Some(measured.clone());
                if tick > nature.ticks {
                    live.state = AgentState::Ready;
                    live.at_rest = true;
                    live.slack.iter_mut().zip(late).for_each(|(slack, late)| *slack += late);
                }
            }
            if fails == Some(tick) {
                self.counts.failed_starts += 1;
                self.note(|_| format!("{name} fails"));
                self.stop(name)?;
                return Err(Stuck::Failed);
            }
            if tick > nature.ticks
                && let Some((most, at_most)) = &peak
            {
                self.learn(&agent, (*most, at_most), (footprint, &measured));
            }
        }
        self.note(|h| format!("{name} is ready: {:?}", h.live[name].measured));
        self.refresh();
        Ok(())
    }

    /// What a reading does not show, or shows too much, of what is truly in use.
    fn kept_back(&self, readings: &[PoolReading], place: usize) -> u64 {
        self.machine.used(place).abs_diff(readings[place].used.0)
    }

    /// The last look at the live figures.
    fn look(&mut self, agent: &Agent) -> Result<Look, Stuck> {
        for _ in 0..3 {
            self.refresh();
            let found = ledgers(&self.effective, &self.situation).map_err(|e| e.to_string())?;
            let claim = loading_claims(agent, &self.situation.pools);
            if headroom(&found, &claim) == Headroom::Enough {
                return Ok(Look::new(self, &agent.name, claim, found));
            }
            if !self.temper.plain {
                self.neighbours_move(self.temper.neighbours);
            }
            self.instant(None)?;
        }
        self.counts.refused_at_the_look += 1;
        self.note(|_| format!("no room for {}", agent.name));
        Err(Stuck::Failed)
    }

    fn learn(&mut self, agent: &Agent, peak: (Bytes, &Measured), steady: (Bytes, &Measured)) {
        let (weights, kv) = match agent.claim {
            ClaimBasis::KvCache { weights, kv_cache, .. } => (weights, kv_cache),
            ClaimBasis::Memory(_) | ClaimBasis::Share(_) => (Bytes::ZERO, Bytes::ZERO),
        };
        match Observation::new(weights, kv, peak, steady) {
            Ok(observation) => {
                let all = self.observations.entry(agent.name.clone()).or_default();
                all.push(observation);
                if let Some(learned) = learn(agent, all) {
                    self.counts.learned += 1;
                    let declared = agent.claim_in(Bytes::ZERO);
                    self.counts.learned_above += u64::from(learned.peak > declared);
                    self.learned.insert(agent.name.clone(), learned);
                    self.effective = apply(&self.stack, &self.learned);
                }
            }
            Err(_) => self.counts.doubts += 1,
        }
    }
}

fn pick(chance: &mut Chance, count: usize) -> usize {
    usize::try_from(chance.next()).unwrap_or(0) % count.max(1)
}

fn part(share: Share, of: u64, all: u64) -> Share {
    Share { device: Bytes(share.device.0 / all * of), host: Bytes(share.host.0 / all * of) }
}

/// Never above what the pool says is in use.
fn possible(measured: &Measured, now: &[PoolReading]) -> Result<(), String> {
    for pool in now {
        let share = measured.shares.get(&pool.id).copied().unwrap_or_default();
        if share.total() > pool.used || share.device > pool.device_used.unwrap_or(pool.used) {
            return Err(format!("{share:?} is measured of {pool:?}"));
        }
    }
    Ok(())
}
