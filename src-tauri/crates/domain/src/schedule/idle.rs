//! Agents that nobody uses any more.
//!
//! The idle time of an agent is its `ttl`; a reviewer without one has the gateway's `odin_ttl`, unless it belongs to the
//! base profile or Ollama loads it, which has idle times of its own. It counts from the last use: the end of a lease, the last look at which its server counted requests of
//! its own, or its becoming ready. Nobody goes while in use, or before their `min_residency`. Pinned agents and servers
//! that others run never go.
//!
//! With the agent that goes, the base profile comes back: see [`Schedule::after_release`].

use std::collections::BTreeSet;
use std::time::Duration;

use super::next::Wished;
use super::{House, Now, Order, Schedule, words};
use crate::agent::{AgentName, AgentState};
use crate::plan::{Goal, plan};
use crate::stack::{Agent, Runs, Tier};

impl Schedule {
    /// Wishes the first agent to sleep whose idle time is over.
    pub(super) fn put_idle_to_sleep(&mut self, now: Now, house: &House, orders: &mut Vec<Order>) {
        if self.wish.is_some() || house.busy.is_some() {
            return;
        }
        let due =
            house.agents.keys().find(|name| self.idle_at(house, name).is_some_and(|at| at <= now.steady));
        let Some(name) = due else { return };
        // Who waits decides who is woken next, not the base profile.
        let alone = !self.queues.is_empty() || self.servers.get(name).is_some_and(|s| s.alone);
        let goal = if alone { Goal::Asleep(name.clone()) } else { self.after_release(house, name) };
        let to = match &goal {
            Goal::Profile(profile) => profile.clone(),
            _ => name.to_string(),
        };
        let used = self.servers.get(name).map_or(now.steady, |s| s.used);
        let because = words::idle(house, name, now.steady.saturating_sub(used));
        self.wish = Some(Wished::to_sleep(name, now.steady));
        orders.push(Order::Wish { goal, to, gentle: true, because });
    }

    /// When the idle time of this agent is over, if nobody uses it until then.
    pub(super) fn idle_at(&self, house: &House, name: &AgentName) -> Option<Duration> {
        let seen = house.agents.get(name)?;
        let known = self.servers.get(name)?;
        let agent = house.stack.agent(name)?;
        let ttl = idle_time(house, agent)?;
        let free = seen.state.answers() && !self.closed.contains(name) && self.in_use(name, seen) == 0;
        if !free || !self.queues.of(name).is_empty() {
            return None;
        }
        let residency = known.ready_since?.saturating_add(agent.min_residency);
        Some(known.used.saturating_add(ttl).max(residency).max(known.idle_rest))
    }

    /// Where the household goes when `agent` is let go: by a client, or because its idle time is over. What is awake
    /// without it, and with it the agents of the base profile, if the plan of that fits and no rule forbids it; else
    /// `agent` sleeps, and nothing else changes.
    ///
    /// An agent of the base profile that has an idle time of its own is not brought back: it would go and come for
    /// ever. Neither is one that crashed of late. Nobody is brought back while the person sent everybody to sleep, and
    /// while the memory is given away or requests are paused.
    pub fn after_release(&self, house: &House, agent: &AgentName) -> Goal {
        let stack = &house.stack;
        let agent = stack.server_of(agent);
        let asleep = Goal::Asleep(agent.clone());
        let Some(base) = stack.profile(&stack.base) else { return asleep };
        let base_servers = base.servers(stack);
        if self.kept().down || house.paused || house.yielded.is_some() || base_servers.contains(agent) {
            return asleep;
        }
        let stays: BTreeSet<AgentName> = house
            .situation
            .running
            .iter()
            .filter(|r| &r.agent != agent)
            .filter(|r| r.state.holds_memory() && r.state != AgentState::Stopping)
            .map(|r| r.agent.clone())
            .collect();
        let comes_back = |name: &&AgentName| {
            let well = self.servers.get(*name).is_none_or(|s| s.crashes.in_a_row() == 0);
            well && stack.agent(name).is_some_and(|a| a.is_ours() && a.ttl.is_none())
        };
        let back: BTreeSet<AgentName> =
            base_servers.iter().filter(|n| !stays.contains(*n)).filter(comes_back).cloned().collect();
        let wanted: BTreeSet<AgentName> = stays.union(&back).cloned().collect();
        let situation = self.situation(house);
        let leads_there =
            |goal: &Goal| plan(stack, &situation, goal).is_ok_and(|plan| plan.fits && plan.awake == wanted);
        let profile = Goal::Profile(base.name.clone());
        let missing =
            base_servers.iter().any(|n| !wanted.contains(n) && stack.agent(n).is_some_and(Agent::is_ours));
        if !missing && leads_there(&profile) {
            return profile;
        }
        let exactly = Goal::Exactly(wanted.clone());
        if !back.is_empty() && leads_there(&exactly) { exactly } else { asleep }
    }
}

/// How long an agent may be idle.
fn idle_time(house: &House, agent: &Agent) -> Option<Duration> {
    if agent.pinned || !agent.is_ours() {
        return None;
    }
    if agent.ttl.is_some() {
        return agent.ttl;
    }
    let stack = &house.stack;
    let in_base = || {
        let base = stack.profile(&stack.base);
        base.is_some_and(|p| p.agents.iter().any(|n| stack.server_of(n) == &agent.name))
    };
    let odin = stack.gateway.odin_ttl;
    let ollama = matches!(agent.runs, Runs::Ollama { .. });
    (agent.tier == Tier::Reviewer && !odin.is_zero() && !ollama && !in_base()).then_some(odin)
}
