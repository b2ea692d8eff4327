//! Agents that a person asked to start again as soon as nobody uses them.
//!
//! No request is cut for it and none is held back: a server in use waits on, however long that is. Who is idle goes in
//! one wish that stops and starts it, and that a request which comes in between ends before anything was stopped. The
//! wish to restart is forgotten when the agent stops for another reason (it has the new settings at its next start), with
//! a switch of the profile, and with the controller: nothing of it is kept.

use super::next::Wished;
use super::{House, Now, Order, Schedule, Seen, words};
use crate::agent::{AgentName, AgentState};
use crate::plan::{Goal, Running};

/// What becomes of one that is asked to start again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Turn {
    /// Nobody uses it.
    Now,
    /// It is in use, on its way, or something else is under way.
    Later,
    /// It stops by itself, or another profile comes.
    Never,
}

impl Schedule {
    /// Servers that wait to start again.
    pub fn restarts(&self) -> impl Iterator<Item = &AgentName> {
        self.again.iter()
    }

    pub(super) fn ask_again(&mut self, house: &House, agent: &AgentName) {
        self.again.insert(house.stack.server_of(agent).clone());
    }

    pub(super) fn take_back_again(&mut self, house: &House, agent: &AgentName) {
        self.again.remove(house.stack.server_of(agent));
    }

    /// Nobody starts again by itself any more: the person wants another household.
    pub(super) fn forget_again(&mut self, house: &House, orders: &mut Vec<Order>) {
        for agent in std::mem::take(&mut self.again) {
            let because = words::restart_forgotten_by_switch(&proper(house, &agent));
            orders.push(Order::RestartForgotten { agent, because });
        }
    }

    /// Wishes the first of them that nobody uses to start again, and forgets those whose restart has lost its sense.
    pub(super) fn start_again(&mut self, now: Now, house: &House, orders: &mut Vec<Order>) {
        if self.again.is_empty() {
            return;
        }
        if house.busy.as_ref().is_some_and(|b| b.switches) {
            self.forget_again(house, orders);
            return;
        }
        let asked: Vec<AgentName> = self.again.iter().cloned().collect();
        for agent in asked {
            match self.turn(now, house, &agent) {
                Turn::Later => {}
                Turn::Never => {
                    self.again.remove(&agent);
                    let because = words::restart_forgotten(&proper(house, &agent));
                    orders.push(Order::RestartForgotten { agent, because });
                }
                Turn::Now => {
                    self.again.remove(&agent);
                    self.wish = Some(Wished::again(&agent, now.steady));
                    let because = words::restarts_now(&proper(house, &agent));
                    let to = agent.to_string();
                    orders.push(Order::Wish { goal: Goal::Again(agent), to, gentle: true, because });
                }
            }
        }
    }

    fn turn(&self, now: Now, house: &House, agent: &AgentName) -> Turn {
        let Some(seen) = house.agents.get(agent) else { return Turn::Never };
        match seen.state {
            AgentState::Asleep | AgentState::Failed | AgentState::Stopping | AgentState::Draining => {
                return Turn::Never;
            }
            AgentState::Pulling | AgentState::Starting | AgentState::Loading => return Turn::Later,
            AgentState::Ready | AgentState::Busy => {}
        }
        let others = self.wish.is_some() || house.busy.is_some() || now.steady < self.rest_until;
        if others || self.is_used(house, agent, seen) { Turn::Later } else { Turn::Now }
    }

    /// By the leases, by what the server counts, and by what whoever stops it would read: that may lag a moment behind.
    fn is_used(&self, house: &House, agent: &AgentName, seen: &Seen) -> bool {
        let told = |r: &Running| &r.agent == agent && r.in_use > 0;
        self.in_use(agent, seen) > 0
            || self.closed.contains(agent)
            || !self.queues.of(agent).is_empty()
            || house.situation.running.iter().any(told)
    }
}

fn proper(house: &House, agent: &AgentName) -> String {
    house.agents.get(agent).map_or_else(|| agent.proper(), |s| s.proper.clone())
}
