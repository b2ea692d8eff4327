//! Carrying a plan out, as the controller does: drain, stop, start, one after another, and back where it fails.

use std::collections::{BTreeSet, VecDeque};

use domain::agent::{AgentName, AgentState};
use domain::plan::{Action, Goal, plan, plan_undo};
use domain::schedule::{Happening, WishEnd};
use domain::stack::DRAIN_FINISH;

use super::house::{Day, LATE};

/// The longest load and the longest stop.
const LOAD: u64 = 60_000;
const STOP: u64 = 15_000;

pub struct Operation {
    pub by_person: bool,
    gentle: bool,
    pub cancelled: bool,
    pub awake: BTreeSet<AgentName>,
    before: BTreeSet<AgentName>,
    steps: VecDeque<(Action, AgentName)>,
    phase: Phase,
    end: WishEnd,
    undoing: bool,
    began: u64,
}

enum Phase {
    Next,
    Draining(AgentName, Option<u64>),
    Stopping(AgentName, u64),
    Loading(AgentName, u64),
}

impl Operation {
    pub fn is_at(&self, name: &AgentName) -> bool {
        match &self.phase {
            Phase::Next => false,
            Phase::Draining(at, _) | Phase::Stopping(at, _) | Phase::Loading(at, _) => at == name,
        }
    }
}

impl Operation {
    pub fn so_far(&self, now: u64) -> u64 {
        now - self.began
    }
}

impl Day {
    /// Begins to carry a goal out; what cannot be is over at once.
    pub fn begin(&mut self, goal: &Goal, by_person: bool, gentle: bool) -> Result<(), String> {
        self.note(|| format!("{goal:?} begins, by the person: {by_person}"));
        let plan = plan(&self.stack, &self.situation(), goal).map_err(|e| e.to_string())?;
        if !plan.fits {
            return if by_person { Ok(()) } else { self.wish_ends(WishEnd::DoesNotFit(plan.reason)) };
        }
        self.operation = Some(Operation {
            by_person,
            gentle,
            cancelled: false,
            before: self.awake(),
            steps: plan.steps.iter().map(|s| (s.action, s.agent.clone())).collect(),
            awake: plan.awake,
            phase: Phase::Next,
            end: WishEnd::Done,
            undoing: false,
            began: self.now,
        });
        Ok(())
    }

    fn wish_ends(&mut self, end: WishEnd) -> Result<(), String> {
        self.wish = None;
        self.tell(Happening::WishEnded(end))
    }

    pub fn next_of_operation(&self) -> Option<u64> {
        if let Some((_, _, Some(begins))) = &self.wish {
            return Some((*begins).max(self.now)).min(self.next_of_phase().or(Some(*begins)));
        }
        self.next_of_phase()
    }

    fn next_of_phase(&self) -> Option<u64> {
        let operation = self.operation.as_ref()?;
        match &operation.phase {
            Phase::Next => Some(self.now),
            // Its requests may be over, which is looked at with every event.
            Phase::Draining(_, _) if operation.cancelled && !operation.undoing => Some(self.now),
            Phase::Draining(agent, _) if self.in_use(agent) == 0 => Some(self.now),
            Phase::Draining(_, until) => *until,
            Phase::Stopping(_, until) | Phase::Loading(_, until) => Some(*until),
        }
    }

    pub fn operation_goes_on(&mut self) -> Result<(), String> {
        if let Some((goal, gentle, Some(begins))) = self.wish.clone()
            && begins <= self.now
        {
            if self.operation.is_some() {
                self.counts.busy += 1;
                return self.wish_ends(WishEnd::Busy);
            }
            self.wish = Some((goal.clone(), gentle, None));
            self.begin(&goal, false, gentle)?;
        }
        while self.operation.is_some() && self.next_of_phase().is_some_and(|t| t <= self.now) {
            self.one_step()?;
        }
        Ok(())
    }

    fn one_step(&mut self) -> Result<(), String> {
        let Some(operation) = self.operation.as_mut() else { return Ok(()) };
        if operation.cancelled && !operation.undoing && !matches!(operation.phase, Phase::Stopping(_, _)) {
            return self.back(WishEnd::Cancelled);
        }
        match std::mem::replace(&mut operation.phase, Phase::Next) {
            Phase::Next => match operation.steps.pop_front() {
                None => self.over(),
                Some((Action::Drain | Action::Stop, agent)) => self.stops(&agent),
                Some((Action::Start, agent)) => {
                    let until = self.now + self.chance.between(500, LOAD);
                    operation.phase = Phase::Loading(agent.clone(), until);
                    self.becomes(&agent, AgentState::Loading)
                }
                Some(_) => Ok(()),
            },
            Phase::Draining(agent, _) => {
                // Done, or at its deadline.
                self.cut(&agent)?;
                self.stops(&agent)
            }
            Phase::Stopping(agent, _) => {
                self.becomes(&agent, AgentState::Asleep)?;
                self.opens(&agent)
            }
            Phase::Loading(agent, _) => {
                if self.chance.percent(15) {
                    self.counts.failed_starts += 1;
                    self.becomes(&agent, AgentState::Failed)?;
                    return self.back(WishEnd::Failed { agent, message: "It did not start.".into() });
                }
                self.becomes(&agent, AgentState::Ready)
            }
        }
    }

    fn stops(&mut self, agent: &AgentName) -> Result<(), String> {
        let state = self.servers.get(agent).map(|s| s.state);
        if !state.is_some_and(AgentState::holds_memory) {
            return Ok(());
        }
        if let Some(server) = self.servers.get_mut(agent) {
            server.closed = true;
        }
        self.tell(Happening::Closed(agent.clone()))?;
        if self.in_use(agent) > 0 {
            let Some(operation) = self.operation.as_mut() else { return Ok(()) };
            if operation.gentle {
                self.opens(agent)?;
                return self.back(WishEnd::Cancelled);
            }
            let drain = self.stack.agent(agent).map(|a| a.drain).unwrap_or_default();
            let until = u64::try_from(drain.as_millis()).ok().filter(|_| drain != DRAIN_FINISH);
            operation.phase = Phase::Draining(agent.clone(), until.map(|d| self.now + d));
            return self.becomes(agent, AgentState::Draining);
        }
        let until = self.now + self.chance.between(100, STOP);
        if let Some(operation) = self.operation.as_mut() {
            operation.phase = Phase::Stopping(agent.clone(), until);
        }
        self.becomes(agent, AgentState::Stopping)
    }

    fn opens(&mut self, agent: &AgentName) -> Result<(), String> {
        if let Some(server) = self.servers.get_mut(agent) {
            server.closed = false;
        }
        self.tell(Happening::Opened(agent.clone()))
    }

    fn becomes(&mut self, agent: &AgentName, state: AgentState) -> Result<(), String> {
        let now = self.now;
        self.note(|| format!("{agent} is {state}"));
        if let Some(server) = self.servers.get_mut(agent) {
            server.state = state;
            match state {
                AgentState::Ready => server.ready_since = server.ready_since.or(Some(now)),
                AgentState::Asleep => {
                    server.released = server.ready_since.take().map(|_| now).or(server.released);
                }
                AgentState::Failed | AgentState::Loading => server.ready_since = None,
                _ => {}
            }
        }
        self.tell(Happening::Looked)
    }

    /// Something did not work: what ran before is put back.
    fn back(&mut self, end: WishEnd) -> Result<(), String> {
        let draining: Vec<AgentName> = self
            .servers
            .iter()
            .filter(|(_, s)| s.state == AgentState::Draining || s.closed && s.state.answers())
            .map(|(n, _)| n.clone())
            .collect();
        for agent in draining {
            self.becomes(&agent, AgentState::Ready)?;
            self.opens(&agent)?;
        }
        let loading: Vec<AgentName> = self
            .servers
            .iter()
            .filter(|(_, s)| s.state == AgentState::Loading)
            .map(|(n, _)| n.clone())
            .collect();
        for agent in loading {
            self.becomes(&agent, AgentState::Asleep)?;
        }
        let situation = self.situation();
        let Some(operation) = self.operation.as_mut() else { return Ok(()) };
        if operation.undoing {
            // The way back is not forced either: it ends here.
            operation.steps.clear();
            return Ok(());
        }
        (operation.undoing, operation.end, operation.phase) = (true, end, Phase::Next);
        let undo = plan_undo(&self.stack, &situation, &operation.before).map_err(|e| e.to_string())?;
        operation.steps = undo.steps.iter().map(|s| (s.action, s.agent.clone())).collect();
        operation.awake = undo.awake;
        Ok(())
    }

    fn over(&mut self) -> Result<(), String> {
        let Some(operation) = self.operation.take() else { return Ok(()) };
        self.note(|| format!("It is over: {:?}", operation.end));
        if operation.by_person {
            return self.tell(Happening::Looked);
        }
        self.counts.carried += 1;
        self.longest_wish = self.longest_wish.max(self.now - operation.began + LATE);
        // Whoever looks in between sees that nothing is under way.
        if self.chance.percent(30) {
            self.tell(Happening::Looked)?;
        }
        // Whoever carries it out may call the giving way of a gentle wish either.
        let gave_way = operation.gentle && operation.end == WishEnd::Cancelled && self.chance.percent(50);
        self.wish_ends(if gave_way { WishEnd::Busy } else { operation.end })
    }
}
