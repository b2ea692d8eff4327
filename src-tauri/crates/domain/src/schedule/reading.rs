//! What others may read of the schedule; nothing here changes it.

use std::collections::BTreeMap;
use std::time::Duration;

use super::next::Blocked;
use super::seen::sleeps;
use super::{House, Kept, Now, Place, Schedule, Ticket, budget};
use crate::agent::{AgentName, AgentState};
use crate::stack::Tier;

/// No moment is waited for more exactly than this: what is late by so little was not late.
const GRAIN: Duration = Duration::from_millis(10);

/// What tools may yet do with one tier.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Budget {
    /// Summons of this session.
    pub used: u32,
    /// None: no limit.
    pub limit: Option<u32>,
    /// When every agent of the tier may be summoned again, by the wall's clock; none where that is now.
    pub cooldown_until: Option<i64>,
}

impl Schedule {
    pub fn kept(&self) -> &Kept {
        self.books.kept()
    }

    /// Tickets that wait, in no order of theirs.
    pub fn waiting(&self) -> impl Iterator<Item = Ticket> {
        self.queues.tickets()
    }

    /// How many wait for this server.
    pub fn waiting_for(&self, server: &AgentName) -> usize {
        self.queues.of(server).len()
    }

    /// Leases by server, none of them zero.
    pub fn leases(&self) -> BTreeMap<AgentName, u32> {
        self.leases.iter().filter(|(_, n)| **n > 0).map(|(name, n)| (name.clone(), *n)).collect()
    }

    pub fn lease_count(&self, server: &AgentName) -> u32 {
        self.leases.get(server).copied().unwrap_or(0)
    }

    /// Whether a wish is out whose end was not told.
    pub fn wish_is_out(&self) -> bool {
        self.wish.is_some()
    }

    pub fn budget(&self, house: &House, tier: Tier, now: Now) -> Budget {
        let of_tier = house.stack.agents.iter().filter(|a| a.tier == tier);
        Budget {
            used: self.books.used(&house.stack, tier),
            limit: budget::limit(&house.stack, tier),
            cooldown_until: of_tier
                .filter_map(|a| self.books.cooldown_until(&house.stack, a, now.wall))
                .max(),
        }
    }

    /// When this agent may be summoned by tools again, by the wall's clock; none where that is now.
    pub fn cooldown_until(&self, house: &House, agent: &AgentName, now: Now) -> Option<i64> {
        let server = house.stack.agent(house.stack.server_of(agent))?;
        self.books.cooldown_until(&house.stack, server, now.wall)
    }

    /// When the session of the budgets ends if nobody is summoned any more, by the wall's clock.
    pub fn session_end(&self) -> i64 {
        self.books.session_end()
    }

    /// The steady time from `now` on after which [`Schedule::step`] is to be called with
    /// [`super::Happening::Looked`]; none where only something that happens can change anything. To be asked again
    /// after every step.
    pub fn next_look(&self, now: Now, house: &House) -> Option<Duration> {
        // The end of what is under way comes as a step of its own.
        if self.wish.is_some() || house.busy.is_some() {
            return None;
        }
        let waits = !self.queues.is_empty() || !self.again.is_empty();
        let rest = (waits && self.rest_until > now.steady).then_some(self.rest_until);
        let blocked = self.blocked.values().filter_map(Blocked::until).min();
        let aging = self.queues.next_aging(now.steady);
        let idle = house.agents.keys().filter_map(|name| self.idle_at(house, name)).min();
        let next = [rest, blocked, aging, idle].into_iter().flatten().min()?;
        Some(next.saturating_sub(now.steady).max(GRAIN))
    }

    /// Where a ticket that waits stands; none for one that does not wait.
    pub fn place(&self, ticket: Ticket, now: Now, house: &House) -> Option<Place> {
        let server = self.queues.server(ticket)?;
        let (stage, seconds_left) = self.stage(server, now, house);
        let place = self.queues.place(ticket, now.steady)?;
        let waiter = self.queues.of(server).iter().find(|w| w.ask.ticket == ticket)?;
        Some(Place { agent: waiter.ask.agent.clone(), place, stage, seconds_left })
    }

    /// What those who wait for `server` see, and for how long yet.
    fn stage(&self, server: &AgentName, now: Now, house: &House) -> (String, Option<f64>) {
        let Some(seen) = house.agents.get(server) else { return ("Waiting".to_owned(), None) };
        let proper =
            |name: &AgentName| house.agents.get(name).map_or_else(|| name.proper(), |s| s.proper.clone());
        let who = &seen.proper;
        match seen.state {
            AgentState::Pulling => return (format!("Pulling the image of {who}"), seen.seconds_left),
            AgentState::Starting => return (format!("Starting {who}"), seen.seconds_left),
            AgentState::Loading => return (format!("Loading {who}"), seen.seconds_left),
            AgentState::Draining => return (format!("Draining {who}"), seen.seconds_left),
            AgentState::Stopping => return (format!("Stopping {who}"), seen.seconds_left),
            AgentState::Ready | AgentState::Busy if self.closed.contains(server) => {
                return (format!("Draining {who}"), seen.seconds_left);
            }
            AgentState::Ready | AgentState::Busy => return (format!("Waiting for {who}"), None),
            AgentState::Asleep | AgentState::Failed => {}
        }
        debug_assert!(sleeps(seen.state));
        let start = house.situation.start_seconds.get(server).copied();
        if let Some(busy) = &house.busy {
            let left = busy.seconds_left.filter(|_| busy.awake.contains(server));
            return (busy.stage.clone(), left);
        }
        if let Some(wish) = &self.wish {
            let stage = match (&wish.server, &wish.idle) {
                (Some(other), _) if other != server => format!("Waiting for {}", proper(other)),
                (None, Some(idle)) => format!("Waiting for {}", proper(idle)),
                _ => format!("Waking {who}"),
            };
            return (stage, start.filter(|_| wish.server.as_ref() == Some(server)));
        }
        let after = |until: Duration| start.map(|s| s + until.saturating_sub(now.steady).as_secs_f64());
        match self.blocked.get(server) {
            Some(Blocked::Residency { of, until }) => (format!("Waiting for {}", proper(of)), after(*until)),
            Some(Blocked::InUse(of) | Blocked::Arrival(of) | Blocked::Behind(of)) => {
                (format!("Waiting for {}", proper(of)), None)
            }
            Some(Blocked::BackOff { until }) => (format!("Waiting to start {who} again"), after(*until)),
            None => (format!("Waking {who}"), start),
        }
    }
}
