//! What a plan looks at, with everything that is asked again and again found beforehand: a plan for a hundred agents
//! on eight pools is to take milliseconds, and tries every profile.

use std::collections::{BTreeMap, BTreeSet};

use super::claims::Claims;
use super::{Running, Situation};
use crate::agent::{AgentName, AgentState};
use crate::pool::Ledger;
use crate::stack::{Agent, Stack};

pub(super) struct View<'a> {
    /// Servers only: no agent of it is a role.
    pub(super) stack: &'a Stack,
    pub(super) situation: &'a Situation,
    /// In the order of the situation's pools.
    pub(super) ledgers: Vec<Ledger>,
    agents: BTreeMap<&'a AgentName, (&'a Agent, Claims)>,
    running: BTreeMap<&'a AgentName, &'a Running>,
    /// By agent, with whom it is never awake.
    kept_apart: BTreeMap<&'a AgentName, BTreeSet<&'a AgentName>>,
}

impl<'a> View<'a> {
    pub(super) fn new(stack: &'a Stack, situation: &'a Situation, ledgers: Vec<Ledger>) -> Self {
        // The first of a name is the one that counts, as it does wherever a list is searched.
        let mut agents = BTreeMap::new();
        for agent in &stack.agents {
            agents.entry(&agent.name).or_insert_with(|| (agent, Claims::of(agent, &situation.pools)));
        }
        let mut running = BTreeMap::new();
        for one in &situation.running {
            running.entry(&one.agent).or_insert(one);
        }
        let mut kept_apart: BTreeMap<_, BTreeSet<_>> = BTreeMap::new();
        for set in &stack.conflicts {
            for a in set {
                kept_apart.entry(a).or_default().extend(set.iter().filter(|b| *b != a));
            }
        }
        Self { stack, situation, ledgers, agents, running, kept_apart }
    }

    pub(super) fn agent(&self, name: &AgentName) -> Option<&'a Agent> {
        self.agents.get(name).map(|(agent, _)| *agent)
    }

    pub(super) fn claims(&self, name: &AgentName) -> Option<&Claims> {
        self.agents.get(name).map(|(_, claims)| claims)
    }

    pub(super) fn running(&self, name: &AgentName) -> Option<&'a Running> {
        self.running.get(name).copied()
    }

    /// Whether it is there to stay, if nobody stops it.
    pub(super) fn is_awake(&self, name: &AgentName) -> bool {
        self.running(name).is_some_and(|r| stays(r.state))
    }

    pub(super) fn awake_now(&self) -> impl Iterator<Item = &'a AgentName> {
        self.situation.running.iter().filter(|r| stays(r.state)).map(|r| &r.agent)
    }

    /// An agent that the stack does not know was started by an earlier stack: ours as well.
    pub(super) fn is_ours(&self, name: &AgentName) -> bool {
        self.agent(name).is_none_or(Agent::is_ours)
    }

    pub(super) fn conflict(&self, a: &AgentName, b: &AgentName) -> bool {
        self.kept_apart.get(a).is_some_and(|others| others.contains(b))
    }

    /// The pairs that a rule forbids among these, each once, in the order of their names.
    pub(super) fn conflicts_among<'b>(
        &self,
        names: &'b BTreeSet<AgentName>,
    ) -> impl Iterator<Item = (&'b AgentName, &'b AgentName)> {
        let others = move |a: &'b AgentName| {
            let apart = self.kept_apart.get(a);
            apart
                .into_iter()
                .flatten()
                .filter(move |b| **b > a)
                .filter_map(move |b| Some((a, names.get(*b)?)))
        };
        names.iter().flat_map(others)
    }
}

/// Whether an agent in this state is there to stay, if nobody stops it.
pub(super) fn stays(state: AgentState) -> bool {
    match state {
        AgentState::Starting
        | AgentState::Loading
        | AgentState::Ready
        | AgentState::Busy
        // Held back from requests, and still whole.
        | AgentState::Draining => true,
        AgentState::Asleep | AgentState::Pulling | AgentState::Stopping | AgentState::Failed => false,
    }
}
