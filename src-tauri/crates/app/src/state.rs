//! The state, and every event that can change it. `apply` is the one place that does.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use api::shapes::activity::Event as ActivityEvent;
use api::shapes::status::{Failure, Notice};
use domain::advice::KvUse;
use domain::agent::{AgentName, AgentState, Stage};
use domain::attribution::{Measured, Quality};
use domain::footprint::{self, Learned};
use domain::lost;
use domain::memory::Bytes;
use domain::plan::{Action, Plan, Running, Situation, claims, ledgers};
use domain::pool::{Held, PoolId, PoolReading, Share, Shares};
use domain::stack::{Agent, ClaimBasis, Gpu, Profile, Stack};
use engine::backend::OwnNumbers;
use engine::backend::failure::{self, Suggestion};
use jiff::Timestamp;
use store::adoptions::Answer;
use store::confirm::Unconfirmed;

use crate::agent_live::SAME_FIGURES;
pub(crate) use crate::agent_live::{AgentLive, Figures};
pub(crate) use crate::event::Event;
use crate::neighbours::Found;
use crate::overlay;
use crate::yielding::Yielded;

/// An operation under way.
#[derive(Debug, Clone)]
pub(crate) struct Operation {
    pub(crate) id: u64,
    pub(crate) from: Option<String>,
    /// A profile, or an agent.
    pub(crate) to: String,
    pub(crate) plan: Arc<Plan>,
    /// 0-based step under way.
    pub(crate) step: usize,
    pub(crate) undoing: bool,
    pub(crate) cancellable: bool,
    pub(crate) began: Timestamp,
}

impl Operation {
    pub(crate) fn action(&self) -> Option<(Action, &AgentName)> {
        self.plan.steps.get(self.step).map(|s| (s.action, &s.agent))
    }
}

/// The state of an engine.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct EngineLive {
    pub(crate) id: String,
    pub(crate) kind: String,
    pub(crate) version: Option<String>,
    pub(crate) error: Option<Failure>,
}

/// The stack file as it was read last.
#[derive(Debug, Clone, Default)]
pub(crate) struct StackSource {
    pub(crate) path: String,
    pub(crate) saved: bool,
    pub(crate) text: String,
    pub(crate) problems: Vec<api::shapes::settings::StackProblem>,
}

#[derive(Debug, Clone)]
pub(crate) struct State {
    pub(crate) revision: u64,
    pub(crate) started: Timestamp,
    pub(crate) rehearsal: bool,
    /// The GPU of this machine, where it is one of which is known what works on it.
    pub(crate) gpu: Option<Gpu>,
    /// The stack file's, and with the adopted servers of others laid over it.
    pub(crate) file_stack: Arc<Stack>,
    pub(crate) stack: Arc<Stack>,
    /// What was said about servers of others, and what of them was seen last.
    pub(crate) answers: Arc<Vec<Answer>>,
    pub(crate) found: Arc<Vec<Found>>,
    /// The stack came from somebody else, and nobody has confirmed it.
    pub(crate) unconfirmed: Option<Arc<Unconfirmed>>,
    /// The variables of the earlier scheduler, laid over every stack.
    pub(crate) variables: Arc<BTreeMap<String, String>>,
    pub(crate) stack_hash: String,
    pub(crate) source: Arc<StackSource>,
    pub(crate) profile: Option<String>,
    pub(crate) agents: BTreeMap<AgentName, AgentLive>,
    pub(crate) pools: Vec<PoolReading>,
    /// Where two sources of a pool's figures contradict each other, in words.
    pub(crate) doubts: BTreeMap<PoolId, String>,
    pub(crate) lost: BTreeMap<PoolId, Bytes>,
    /// What agents take by their earlier starts, and in words how that moved.
    pub(crate) learned: BTreeMap<AgentName, (Learned, Option<String>)>,
    /// What the last week says of each KV cache.
    pub(crate) kv_use: BTreeMap<AgentName, KvUse>,
    pub(crate) engines: Vec<EngineLive>,
    pub(crate) gateway: Option<String>,
    pub(crate) gateway_error: Option<Failure>,
    /// Tools get no agents from the gateway.
    pub(crate) paused: bool,
    pub(crate) operation: Option<Operation>,
    pub(crate) to_pull: BTreeSet<AgentName>,
    pub(crate) start_seconds: BTreeMap<AgentName, f64>,
    pub(crate) leases: BTreeMap<AgentName, u32>,
    /// Who starts again as soon as nobody uses them. The schedule's word; a restart of the controller forgets it.
    pub(crate) restarts: BTreeSet<AgentName>,
    pub(crate) yielded: Option<Arc<Yielded>>,
    pub(crate) notices: BTreeMap<&'static str, Notice>,
    pub(crate) events: Arc<Vec<ActivityEvent>>,
    /// Counts what is not in the state itself (chats, requests, downloads), so that readers know to fetch.
    pub(crate) elsewhere: u64,
}

const EVENTS_KEPT: usize = 200;

impl State {
    pub(crate) fn new(
        stack: Arc<Stack>,
        stack_hash: String,
        source: StackSource,
        rehearsal: bool,
        now: Timestamp,
    ) -> Self {
        let agents = stack.agents.iter().map(|a| (a.name.clone(), AgentLive::asleep(now))).collect();
        Self {
            revision: 1,
            started: now,
            rehearsal,
            gpu: None,
            file_stack: stack.clone(),
            stack,
            answers: Arc::default(),
            found: Arc::default(),
            unconfirmed: None,
            variables: Arc::default(),
            stack_hash,
            source: Arc::new(source),
            profile: None,
            agents,
            pools: Vec::new(),
            doubts: BTreeMap::new(),
            lost: BTreeMap::new(),
            learned: BTreeMap::new(),
            kv_use: BTreeMap::new(),
            engines: Vec::new(),
            gateway: None,
            gateway_error: None,
            paused: false,
            operation: None,
            to_pull: BTreeSet::new(),
            start_seconds: BTreeMap::new(),
            leases: BTreeMap::new(),
            restarts: BTreeSet::new(),
            yielded: None,
            notices: BTreeMap::new(),
            events: Arc::default(),
            elsewhere: 0,
        }
    }

    /// Applies one event. Returns whether anything that a face shows has changed.
    pub(crate) fn apply(&mut self, event: Event, now: Timestamp) -> bool {
        match event {
            Event::OperationBegan(operation) => self.operation = Some(operation),
            Event::UndoBegan { plan } => {
                if let Some(operation) = &mut self.operation {
                    operation.plan = plan;
                    operation.step = 0;
                    operation.undoing = true;
                    operation.cancellable = false;
                }
            }
            Event::StepBegan { step } => {
                if let Some(operation) = &mut self.operation {
                    operation.step = step;
                }
            }
            Event::CancelNoLongerPossible => {
                if let Some(operation) = &mut self.operation {
                    operation.cancellable = false;
                }
            }
            Event::OperationEnded { id } => {
                if self.operation.as_ref().is_some_and(|o| o.id == id) {
                    self.operation = None;
                }
                let awake = self.awake();
                if let Some(profile) = self.stack.profiles.iter().find(|p| self.profile_awake(p) == awake) {
                    self.profile = Some(profile.name.clone());
                }
            }
            Event::ProfileChosen(profile) => self.profile = profile,
            Event::Moved { agent, to, detail } => {
                if let Some(live) = self.agents.get_mut(&agent) {
                    live.enter(to, now);
                    live.detail = detail;
                }
            }
            Event::Draining { agent, until } => {
                if let Some(live) = self.agents.get_mut(&agent) {
                    live.enter(AgentState::Draining, now);
                    live.drain_until = until;
                }
            }
            Event::Began { agent, baseline } => {
                if let Some(live) = self.agents.get_mut(&agent) {
                    live.enter(AgentState::Starting, now);
                    live.stage = Some(Stage::Container);
                    live.start_began = Some(now);
                    live.kept_log = Arc::default();
                    // Nothing yet, which is not the same as unknown.
                    live.measured = Some(Measured::said(Shares::new(), Quality::Step));
                    live.peak = None;
                    live.own = OwnNumbers::default();
                    live.suggestion = None;
                    live.baseline = baseline;
                }
            }
            Event::Started { agent, engine, instance } => {
                if let Some(live) = self.agents.get_mut(&agent) {
                    live.enter(AgentState::Loading, now);
                    live.stage = Some(Stage::Container);
                    live.engine = Some(engine);
                    live.instance = Some(instance);
                }
            }
            Event::Progressed { agent, stage, within, detail } => {
                let Some(live) = self.agents.get_mut(&agent) else { return false };
                // A late line of a log never moves a ready agent back.
                if !matches!(live.state, AgentState::Starting | AgentState::Loading | AgentState::Pulling) {
                    return false;
                }
                if live.stage.is_some_and(|s| s > stage) {
                    return false;
                }
                live.stage = Some(stage);
                live.stage_progress = within;
                if detail.is_some() {
                    live.detail = detail;
                }
            }
            Event::Ready { agent } => {
                if let Some(live) = self.agents.get_mut(&agent) {
                    live.enter(AgentState::Ready, now);
                    live.detail = None;
                }
                self.settle(&agent, now);
            }
            Event::Slept { agent } => {
                if let Some(live) = self.agents.get_mut(&agent) {
                    // A failure stays to be read until the next start.
                    if live.state != AgentState::Failed {
                        live.enter(AgentState::Asleep, now);
                    }
                }
            }
            Event::Failed { agent, failure, log } => {
                let suggestion = self.suggested(&agent, &failure, &log);
                if let Some(live) = self.agents.get_mut(&agent) {
                    live.enter(AgentState::Failed, now);
                    live.error = Some(failure);
                    live.suggestion = suggestion;
                    live.kept_log = log;
                }
            }
            Event::Said { agent, own } => {
                let Some(live) = self.agents.get_mut(&agent) else { return false };
                if live.own == own {
                    return false;
                }
                live.own = own;
            }
            Event::WeekSeen(seen) => {
                if self.kv_use == seen {
                    return false;
                }
                self.kv_use = seen;
            }
            Event::Adopted { agent, engine, instance, ready } => {
                if let Some(live) = self.agents.get_mut(&agent) {
                    live.enter(if ready { AgentState::Ready } else { AgentState::Loading }, now);
                    live.engine = Some(engine);
                    live.instance = Some(instance);
                }
                self.settle(&agent, now);
            }
            Event::Read(look) => {
                let mut changed = self.pools != look.pools || self.doubts != look.doubts;
                self.pools = look.pools;
                self.doubts = look.doubts;
                for (agent, seen) in look.measured {
                    if let Some(live) = self.agents.get_mut(&agent) {
                        changed |= live.measure(seen);
                    }
                }
                changed |= self.look_for_lost();
                if !changed {
                    return false;
                }
            }
            Event::Figured { agent, instance, figures } => {
                let Some(live) = self.agents.get_mut(&agent) else { return false };
                if live.instance.as_ref().is_none_or(|i| i.id != instance) {
                    return false;
                }
                let fresh = live
                    .figures_at
                    .is_some_and(|at| (0..SAME_FIGURES).contains(&(now.as_second() - at.as_second())));
                if live.figures == figures && fresh {
                    return false;
                }
                live.figures = figures;
                live.figures_at = Some(now);
                self.settle(&agent, now);
            }
            Event::Leased(leases) => {
                self.leases = leases;
                let names: Vec<AgentName> = self.agents.keys().cloned().collect();
                for agent in names {
                    self.settle(&agent, now);
                }
            }
            Event::RestartsWait(restarts) => {
                if self.restarts == restarts {
                    return false;
                }
                self.restarts = restarts;
            }
            Event::Lost { pool, bytes } => {
                let lost = self.lost.entry(pool).or_default();
                *lost += bytes;
            }
            Event::EngineSeen(engine) => match self.engines.iter_mut().find(|e| e.id == engine.id) {
                Some(known) if *known == engine => return false,
                Some(known) => *known = engine,
                None => self.engines.push(engine),
            },
            Event::ImagesSeen { to_pull } => self.to_pull = to_pull,
            Event::GatewaySeen { address, error } => {
                self.gateway = address;
                self.gateway_error = error;
            }
            Event::Paused(paused) => {
                if self.paused == paused {
                    return false;
                }
                self.paused = paused;
            }
            Event::StackRead { stack, hash, source } => {
                self.source = source;
                if let Some(stack) = stack {
                    self.file_stack = stack;
                    self.stack_hash = hash;
                    self.lay_over(now);
                }
            }
            Event::Answered { answers } => {
                self.answers = answers;
                self.lay_over(now);
            }
            Event::NeighboursSeen { found } => {
                if self.found == found {
                    return false;
                }
                self.found = found;
            }
            Event::Confirming(unconfirmed) => self.unconfirmed = unconfirmed,
            Event::Learned(learned) => {
                if self.learned == learned {
                    return false;
                }
                self.learned = learned;
                self.lay_over(now);
            }
            Event::StartTimed { agent, median } => {
                self.start_seconds.insert(agent, median);
            }
            Event::Noticed { key, notice } => {
                let before = self.notices.get(key).cloned();
                if before == notice {
                    return false;
                }
                match notice {
                    Some(notice) => self.notices.insert(key, notice),
                    None => self.notices.remove(key),
                };
            }
            Event::Yielded(yielded) => self.yielded = yielded.map(Arc::new),
            Event::Happened(event) => {
                let mut events: Vec<ActivityEvent> = self.events.as_ref().clone();
                events.insert(0, event);
                events.truncate(EVENTS_KEPT);
                self.events = Arc::new(events);
            }
            Event::ChatsChanged | Event::ModelsChanged | Event::RequestsChanged | Event::DownloadsChanged => {
                self.elsewhere += 1;
            }
        }
        self.revision += 1;
        true
    }

    /// The stack in force follows from the file and from what was adopted.
    pub(crate) fn lay_over(&mut self, now: Timestamp) {
        let learned = self.learned.iter().map(|(agent, (learned, _))| (agent.clone(), *learned)).collect();
        let stack = footprint::apply(&overlay::effective(&self.file_stack, &self.answers), &learned);
        let (stack, _) = stack.with_env(|name| self.variables.get(name).cloned());
        self.stack = Arc::new(stack);
        for agent in &self.stack.agents {
            self.agents.entry(agent.name.clone()).or_insert_with(|| AgentLive::asleep(now));
        }
        let stack = self.stack.clone();
        for (name, live) in &mut self.agents {
            // What others run is theirs again as soon as nobody calls it an agent of this stack.
            let others = live.engine.as_deref() == Some("external")
                || live.state == AgentState::Loading && live.instance.is_none();
            if others && stack.agent(name).is_none_or(Agent::is_ours) {
                live.enter(AgentState::Asleep, now);
                live.engine = None;
            }
        }
        // An agent that left the file stays in the state while it runs: its memory is still held.
        self.agents.retain(|name, live| stack.agent(name).is_some() || live.instance.is_some());
    }

    /// What the text of a failure suggests to change, with what the agent has now in mind.
    fn suggested(&self, agent: &AgentName, failure: &Failure, log: &[String]) -> Option<Suggestion> {
        let agent = self.stack.agent(agent)?;
        let kv_cache = match agent.claim {
            ClaimBasis::KvCache { kv_cache, .. } => Some(kv_cache.0),
            ClaimBasis::Memory(_) | ClaimBasis::Share(_) => None,
        };
        // How it ended is known by the name of the failure alone.
        [(None, false), (Some(137), false), (Some(137), true)]
            .into_iter()
            .map(|(exit, oom)| failure::explain_ended_for(log, exit, oom, Some(agent.context), kv_cache))
            .find(|explained| explained.id == failure.code)?
            .suggestion
    }

    /// What was lost may come back later; whether it did.
    fn look_for_lost(&mut self) -> bool {
        if self.lost.is_empty() {
            return false;
        }
        let Ok(ledgers) = ledgers(&self.stack, &self.situation()) else { return false };
        let mut changed = false;
        for (reading, ledger) in self.pools.iter().zip(&ledgers) {
            if let Some(bytes) = self.lost.get_mut(&reading.id) {
                let still = lost::recovered(*bytes, reading, ledger);
                changed |= still != *bytes;
                *bytes = still;
            }
        }
        self.lost.retain(|_, bytes| *bytes > Bytes::ZERO);
        if self.lost.is_empty() {
            self.notices.remove("lost");
        }
        changed
    }

    /// An agent as it is now; of a role, its server.
    pub(crate) fn live(&self, name: &AgentName) -> Option<&AgentLive> {
        self.agents.get(self.stack.server_of(name))
    }

    /// Ready and busy follow from who uses the agent.
    fn settle(&mut self, agent: &AgentName, now: Timestamp) {
        let in_use = self.in_use(agent);
        if let Some(live) = self.agents.get_mut(agent) {
            match live.state {
                AgentState::Ready if in_use > 0 => live.enter(AgentState::Busy, now),
                AgentState::Busy if in_use == 0 => live.enter(AgentState::Ready, now),
                _ => {}
            }
        }
    }

    /// Leases, or the server's own count, whichever is more: clients that go past Bifrost are seen.
    pub(crate) fn in_use(&self, agent: &AgentName) -> u32 {
        let agent = self.stack.server_of(agent);
        let leases = self.leases.get(agent).copied().unwrap_or(0);
        let own = self.agents.get(agent).map_or(0, |l| l.figures.in_use());
        leases.max(own)
    }

    pub(crate) fn awake(&self) -> BTreeSet<AgentName> {
        self.agents
            .iter()
            .filter(|(_, live)| live.state.holds_memory())
            .filter(|(name, _)| self.stack.agent(name).is_none_or(Agent::is_ours))
            .map(|(name, _)| name.clone())
            .collect()
    }

    pub(crate) fn profile_matches(&self) -> bool {
        self.profile
            .as_deref()
            .and_then(|name| self.stack.profile(name))
            .is_some_and(|p| self.profile_awake(p) == self.awake())
    }

    /// Who is awake when a profile is in force: roles by their servers; servers of others are never waited for.
    fn profile_awake(&self, profile: &Profile) -> BTreeSet<AgentName> {
        let ours = |n: &AgentName| self.stack.agent(n).is_none_or(Agent::is_ours);
        profile.servers(&self.stack).into_iter().filter(ours).collect()
    }

    /// What an agent has reserved: by the label of what runs, else by the stack.
    pub(crate) fn reserved(&self, name: &AgentName) -> Shares {
        let labelled = self.agents.get(name).and_then(|l| l.instance.as_ref()).map(|i| &i.reserved);
        match labelled {
            Some(reserved) if !reserved.is_empty() => reserved
                .iter()
                .map(|(pool, device, host)| {
                    (PoolId::new(pool.clone()), Share { device: Bytes(*device), host: Bytes(*host) })
                })
                .collect(),
            _ => self.stack.agent(name).map(|a| claims(a, &self.pools)).unwrap_or_default(),
        }
    }

    /// What a plan is made from.
    pub(crate) fn situation(&self) -> Situation {
        let running = self
            .agents
            .iter()
            .filter(|(_, live)| live.state.holds_memory())
            .map(|(name, live)| Running {
                agent: name.clone(),
                state: live.state,
                held: Held {
                    agent: name.clone(),
                    reserved: self.reserved(name),
                    measured: live.measured.as_ref().map(|m| m.shares.clone()),
                },
                in_use: self.in_use(name),
            })
            .collect();
        Situation {
            pools: self.pools.clone(),
            lost: self.lost.clone(),
            running,
            to_pull: self.to_pull.clone(),
            start_seconds: self.start_seconds.clone(),
            profile: self.profile.clone(),
        }
    }
}
