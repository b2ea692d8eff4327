//! Who is woken next, and for whom.
//!
//! Asked for only while somebody waits, nothing is under way and no wish is out. In the order of the queues:
//!
//! - A plan that does not fit sends all who wait for that agent away, with its reason.
//! - A plan that stops nobody goes at once, also before others whose turn waits for something; but not before one
//!   that is older than [`super::AGING`], whose turn it might put off.
//! - A plan that stops agents waits until each of them has been ready for its `min_residency`, and until those on
//!   their way are there. Then it goes, whatever is in flight: the drain of the carrying out, with the agent's
//!   deadline, ends that.
//! - An agent whose `drain` is "finish" has no deadline. It is left alone until nobody uses it; meanwhile its tools'
//!   new requests are held back, or they would keep it for ever. What the person asks of it goes through.

use std::time::Duration;

use super::seen::sleeps;
use super::step::whole_seconds;
use super::{Denied, House, Now, Order, Schedule, WishEnd, words};
use crate::agent::{AgentName, AgentState};
use crate::plan::{Goal, Plan, PlanError, Situation, plan};
use crate::stack::DRAIN_FINISH;

/// After a wish that changed nothing, the next one waits so long: the household may be told of late.
const PAUSE: Duration = Duration::from_millis(500);
/// So many wishes in a row that end well and bring nobody count as a failed start.
const MOST_IN_VAIN: u32 = 3;
/// An idle agent whose going met something else is tried again after so long.
const IDLE_AGAIN: Duration = Duration::from_secs(5);
/// One whose going was cancelled or failed is left alone for so long.
const IDLE_REST: Duration = Duration::from_secs(60);

/// A wish that is out.
#[derive(Debug, Clone)]
pub(super) struct Wished {
    /// Who is woken; none where nobody is, but put to sleep.
    pub(super) server: Option<AgentName>,
    /// The idle agent that is to go.
    pub(super) idle: Option<AgentName>,
    /// Who is woken was awake, and is stopped first.
    again: bool,
    since: Duration,
    /// It was counted as a summons of tools.
    counted: bool,
    pub(super) became_ready: bool,
}

impl Wished {
    pub(super) fn to_sleep(agent: &AgentName, since: Duration) -> Self {
        Self {
            server: None,
            idle: Some(agent.clone()),
            again: false,
            since,
            counted: false,
            became_ready: false,
        }
    }

    pub(super) fn again(agent: &AgentName, since: Duration) -> Self {
        Self {
            server: Some(agent.clone()),
            idle: None,
            again: true,
            since,
            counted: false,
            became_ready: false,
        }
    }
}

/// What those who wait for a server wait for, beside its own coming.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Blocked {
    /// For the minimum that this one stays.
    Residency { of: AgentName, until: Duration },
    /// For the requests of this one, which has no deadline.
    InUse(AgentName),
    /// For this one to arrive.
    Arrival(AgentName),
    /// For the back-off after its own crash.
    BackOff { until: Duration },
    /// For those who are before it.
    Behind(AgentName),
}

impl Blocked {
    pub(super) fn until(&self) -> Option<Duration> {
        match self {
            Self::Residency { until, .. } | Self::BackOff { until } => Some(*until),
            Self::InUse(_) | Self::Arrival(_) | Self::Behind(_) => None,
        }
    }
}

impl Schedule {
    pub(super) fn consider(&mut self, now: Now, house: &House, orders: &mut Vec<Order>) {
        if self.wish.is_some() {
            return;
        }
        self.blocked.clear();
        let held_back = std::mem::take(&mut self.fenced);
        if house.busy.is_some() || now.steady < self.rest_until {
            return;
        }
        let mut situation = None;
        // The first whose turn it is and who has to wait for others.
        let mut head: Option<AgentName> = None;
        for server in self.queues.in_order(now.steady) {
            let Some(seen) = house.agents.get(&server) else { continue };
            if !sleeps(seen.state) {
                if !seen.state.answers() || self.closed.contains(&server) {
                    self.blocked.insert(server.clone(), Blocked::Arrival(server));
                }
                continue;
            }
            if let Some(until) = self.servers.get(&server).and_then(|s| s.crashes.not_before(now.steady)) {
                self.blocked.insert(server, Blocked::BackOff { until });
                continue;
            }
            if let Some(head) = head.as_ref().filter(|h| self.queues.aged(h, now.steady)) {
                self.blocked.insert(server, Blocked::Behind(head.clone()));
                continue;
            }
            let situation = situation.get_or_insert_with(|| self.situation(house));
            let plan = match plan(&house.stack, situation, &Goal::Awake(server.clone())) {
                Ok(plan) if plan.fits => plan,
                Ok(plan) => {
                    let why = Denied::DoesNotFit { message: plan.reason, next: plan.next };
                    self.refuse(now, &server, &why, |_| true, orders);
                    continue;
                }
                Err(error) => {
                    self.refuse(now, &server, &no_plan(&error), |_| true, orders);
                    continue;
                }
            };
            let stops: Vec<&AgentName> = plan.stops().collect();
            if let Some(head) = head.as_ref().filter(|_| !stops.is_empty()) {
                self.blocked.insert(server, Blocked::Behind(head.clone()));
                continue;
            }
            if let Some(blocked) = self.hindrance(now, house, &stops) {
                self.blocked.insert(server.clone(), blocked);
                head = Some(server);
                continue;
            }
            // Who was held back until they were idle stays so until somebody begins to stop them.
            self.fenced = stops.into_iter().filter(|n| held_back.contains(*n)).cloned().collect();
            self.wish_awake(now, &server, &plan, orders);
            return;
        }
    }

    /// The situation with the leases that no server counts yet.
    pub(super) fn situation(&self, house: &House) -> Situation {
        let mut situation = house.situation.clone();
        for running in &mut situation.running {
            let own = house.agents.get(&running.agent).map_or(0, |s| s.own);
            running.in_use = self.lease_count(&running.agent).max(own);
        }
        situation
    }

    /// What speaks against stopping these now. Agents that could be stopped but for their requests are held back.
    fn hindrance(&mut self, now: Now, house: &House, stops: &[&AgentName]) -> Option<Blocked> {
        let mut in_use = Vec::new();
        for name in stops.iter().copied() {
            // One that the stack does not know any more has nobody who waits for it.
            let (Some(seen), Some(agent)) = (house.agents.get(name), house.stack.agent(name)) else {
                continue;
            };
            match seen.state {
                AgentState::Asleep | AgentState::Failed | AgentState::Stopping => continue,
                AgentState::Pulling | AgentState::Starting | AgentState::Loading => {
                    return Some(Blocked::Arrival(name.clone()));
                }
                AgentState::Ready | AgentState::Busy | AgentState::Draining => {}
            }
            let since = self.servers.get(name).and_then(|s| s.ready_since).unwrap_or(now.steady);
            let until = since.saturating_add(agent.min_residency);
            if until > now.steady {
                return Some(Blocked::Residency { of: name.clone(), until });
            }
            if agent.drain == DRAIN_FINISH && self.in_use(name, seen) > 0 {
                in_use.push(name);
            }
        }
        let first = in_use.first().map(|name| Blocked::InUse((*name).clone()));
        self.fenced.extend(in_use.into_iter().cloned());
        first
    }

    fn wish_awake(&mut self, now: Now, server: &AgentName, plan: &Plan, orders: &mut Vec<Order>) {
        let waiting = self.queues.of(server);
        let counted = !waiting.iter().any(|w| w.ask.person);
        let because = words::because(waiting.len(), server, plan);
        if counted {
            self.books.summoned(server, now);
        }
        self.wish = Some(Wished {
            server: Some(server.clone()),
            idle: None,
            again: false,
            since: now.steady,
            counted,
            became_ready: false,
        });
        let goal = Goal::Awake(server.clone());
        orders.push(Order::Wish { goal, to: server.to_string(), gentle: false, because });
    }

    pub(super) fn wish_ended(&mut self, now: Now, house: &House, end: WishEnd, orders: &mut Vec<Order>) {
        // A last look while it counts as under way, so that what it brought is seen as its.
        self.observe(now, house);
        let Some(wish) = self.wish.take() else { return };
        self.note(now, house);
        // What it kept back waits for it no more; and who is served by now is not sent away.
        self.fenced.clear();
        self.grant_ready(now, house, orders);
        if let Some(server) = wish.server.as_ref().filter(|_| wish.counted && !wish.became_ready) {
            self.books.give_back(server);
        }
        if let Some(idle) = wish.idle.as_ref().and_then(|n| self.servers.get_mut(n)) {
            let rest = match end {
                WishEnd::Done => Duration::ZERO,
                WishEnd::Busy => IDLE_AGAIN,
                WishEnd::Cancelled => IDLE_REST,
                WishEnd::DoesNotFit(_) | WishEnd::Failed { .. } | WishEnd::Refused { .. } => {
                    idle.alone = true;
                    IDLE_REST
                }
            };
            idle.idle_rest = now.steady + rest;
        }
        let why = match end {
            WishEnd::Busy => {
                // Something else came first: it waits on. One that stops meanwhile is forgotten with the next look.
                self.again.extend(wish.server.filter(|_| wish.again));
                self.rest_until = now.steady + PAUSE;
                return;
            }
            WishEnd::Done => {
                let Some(server) = wish.server.as_ref().filter(|_| !wish.became_ready) else { return };
                self.rest_until = now.steady + PAUSE;
                if !self.was_in_vain(house, server) {
                    return;
                }
                let message = words::did_not_stay(&proper(house, server));
                self.start_failed(now, house, server, wish.since, &message)
            }
            WishEnd::Cancelled => {
                let Some(server) = &wish.server else { return };
                words::cancelled(&proper(house, server))
            }
            WishEnd::DoesNotFit(message) => Denied::DoesNotFit { message, next: words::fits_not_now() },
            WishEnd::Refused { message, next } => Denied::Asleep { message, next, retry_after: None },
            WishEnd::Failed { agent, message } => {
                let agent = house.stack.server_of(&agent).clone();
                let why = self.start_failed(now, house, &agent, wish.since, &message);
                self.refuse(now, &agent, &why, |_| true, orders);
                why
            }
        };
        if let Some(server) = wish.server {
            self.refuse(now, &server, &why, |_| true, orders);
        }
    }

    /// Counts a good end after which the agent is not there; whether that happened too often. Once or twice it is
    /// only told of late.
    fn was_in_vain(&mut self, house: &House, name: &AgentName) -> bool {
        let down = house.agents.get(name).is_some_and(|seen| sleeps(seen.state));
        let Some(server) = self.servers.get_mut(name).filter(|_| down) else { return false };
        server.in_vain += 1;
        let too_often = server.in_vain >= MOST_IN_VAIN;
        if too_often {
            server.in_vain = 0;
        }
        too_often
    }

    fn start_failed(
        &mut self,
        now: Now,
        house: &House,
        agent: &AgentName,
        since: Duration,
        message: &str,
    ) -> Denied {
        let proper = proper(house, agent);
        let Some(server) = self.servers.get_mut(agent) else {
            let (message, next) = words::unknown(agent);
            return Denied::Failed { message, next, retry_after: None };
        };
        // A crash that was seen on the way is this one.
        if !server.crashes.counted_since(since) {
            server.crashes.crashed(now.steady, None, message);
        }
        if server.crashes.given_up() {
            return words::given_up(agent, &proper, &server.crashes);
        }
        let left = server.crashes.not_before(now.steady).unwrap_or(now.steady).saturating_sub(now.steady);
        words::start_failed(agent, &proper, message, whole_seconds(left))
    }
}

fn proper(house: &House, server: &AgentName) -> String {
    house.agents.get(server).map_or_else(|| server.proper(), |s| s.proper.clone())
}

fn no_plan(error: &PlanError) -> Denied {
    Denied::DoesNotFit { message: error.to_string(), next: words::see_doctor() }
}
