//! One step: what happened, and what is to be done now.
//!
//! Most steps are a request for an agent that is ready, and its end: they look at nothing else, and plan nothing.

use std::time::Duration;

use super::queue::Waiter;
use super::seen::{sleeps, starts};
use super::{Ask, Denied, Happening, Held, House, Now, Order, PersonAct, Schedule, Ticket, words};
use crate::agent::AgentName;

/// What clients are told to wait where nothing better is known, in seconds.
const RETRY: u64 = 30;

impl Schedule {
    /// Takes notice of what happened. Every order is to be carried out, in this order. Tickets that are not known are
    /// passed over.
    pub fn step(&mut self, now: Now, house: &House, happening: Happening) -> Vec<Order> {
        let mut orders = Vec::new();
        self.books.clock(now);
        match happening {
            Happening::Asked(ask) => self.asked(now, house, ask, &mut orders),
            Happening::Left(ticket) => self.left(now, house, ticket, &mut orders),
            Happening::Looked => self.look(now, house, &mut orders),
            Happening::WishEnded(end) => {
                self.wish_ended(now, house, end, &mut orders);
                self.look(now, house, &mut orders);
            }
            Happening::Closed(agent) => {
                self.closed.insert(house.stack.server_of(&agent).clone());
                self.look(now, house, &mut orders);
            }
            Happening::Opened(agent) => {
                self.closed.remove(house.stack.server_of(&agent));
                self.look(now, house, &mut orders);
            }
            Happening::Person(act) => {
                self.person(now, house, act, &mut orders);
                self.look(now, house, &mut orders);
            }
            Happening::NewSession => {
                self.books.new_session(now);
                self.look(now, house, &mut orders);
            }
        }
        if self.books.take_changed() {
            orders.push(Order::Keep);
        }
        orders
    }

    fn asked(&mut self, now: Now, house: &House, ask: Ask, orders: &mut Vec<Order>) {
        let ticket = ask.ticket;
        if self.held.contains_key(&ticket) || self.queues.holds(ticket) {
            return;
        }
        let server = house.stack.server_of(&ask.agent);
        let Some(seen) = house.agents.get(server) else {
            let (message, next) = words::unknown(&ask.agent);
            orders.push(refused(ticket, Denied::Failed { message, next, retry_after: None }));
            return;
        };
        if house.paused && !ask.person {
            orders.push(refused(ticket, words::paused()));
            return;
        }
        self.observe_one(now, server, seen);
        if self.takes_requests(server, seen, ask.person) {
            // Those who came earlier have it first, where the look that shows it ready is still to come.
            if !self.queues.of(server).is_empty() {
                self.look(now, house, orders);
            }
            let server = server.clone();
            self.lend(now, ticket, ask.summon, &server);
            orders.push(Order::Grant { ticket, server, story: None });
            return;
        }
        if let Some(why) = self.forbidden(now, house, server, ask.person) {
            orders.push(refused(ticket, why));
            return;
        }
        let limit = usize::try_from(house.stack.gateway.queue_limit).unwrap_or(usize::MAX);
        let waiting = self.queues.of(server).len();
        if limit > 0 && waiting >= limit && !ask.person {
            let message = words::queue_full(&seen.proper, waiting);
            let retry_after = seconds_left(house, server).unwrap_or(RETRY);
            orders.push(refused(ticket, Denied::QueueFull { message, retry_after }));
            return;
        }
        // Nothing is different for a further one of those who wait already, but for the first of the person.
        let known = self.blocked.contains_key(server) && !ask.person;
        let server = server.clone();
        self.queues.push(&server, Waiter { ask, since: now.steady });
        if known || self.wish.is_some() || house.busy.is_some() {
            self.note(now, house);
        } else {
            self.look(now, house, orders);
        }
    }

    fn left(&mut self, now: Now, house: &House, ticket: Ticket, orders: &mut Vec<Order>) {
        if let Some(held) = self.held.remove(&ticket) {
            if let Some(count) = self.leases.get_mut(&held.server) {
                *count = count.saturating_sub(1);
            }
            let answers = house.agents.get(&held.server).is_some_and(|s| s.state.answers());
            if let Some(server) = self.servers.get_mut(&held.server) {
                if !held.summon {
                    server.used = server.used.max(now.steady);
                }
                if answers && !held.summon {
                    server.crashes.lease_ended(now.steady);
                }
            }
            // Somebody may wait for the end of this very use, or its own restart.
            let waited_for = self.fenced.contains(&held.server) || self.again.contains(&held.server);
            if waited_for && self.lease_count(&held.server) == 0 {
                self.look(now, house, orders);
            }
            return;
        }
        let Some(server) = self.queues.server(ticket).cloned() else { return };
        self.queues.remove(ticket);
        if self.queues.is_empty() {
            self.nobody_waits();
        }
        // Nothing is held back any more for those who are gone, and others may be next.
        if self.queues.of(&server).is_empty() {
            self.look(now, house, orders);
        }
    }

    /// Everything that time and the household may have changed.
    pub(super) fn look(&mut self, now: Now, house: &House, orders: &mut Vec<Order>) {
        self.observe(now, house);
        self.note(now, house);
        if !self.queues.is_empty() {
            self.turn_away(now, house, orders);
            self.consider(now, house, orders);
            self.grant_ready(now, house, orders);
            self.note(now, house);
        }
        if self.queues.is_empty() {
            self.nobody_waits();
        }
        self.start_again(now, house, orders);
        self.put_idle_to_sleep(now, house, orders);
    }

    fn nobody_waits(&mut self) {
        self.blocked.clear();
        self.fenced.clear();
        self.story.clear();
    }

    /// Those who wait and may not, any more.
    fn turn_away(&mut self, now: Now, house: &House, orders: &mut Vec<Order>) {
        let servers: Vec<AgentName> = self.queues.servers().cloned().collect();
        for server in servers {
            if !house.agents.contains_key(&server) {
                let (message, next) = words::unknown(&server);
                let why = Denied::Failed { message, next, retry_after: None };
                self.refuse(now, &server, &why, |_| true, orders);
                continue;
            }
            if house.paused {
                self.refuse(now, &server, &words::paused(), |w| !w.ask.person, orders);
            }
            for person in [false, true] {
                if self.queues.of(&server).iter().any(|w| w.ask.person == person)
                    && let Some(why) = self.forbidden(now, house, &server, person)
                {
                    self.refuse(now, &server, &why, |w| w.ask.person == person, orders);
                }
            }
        }
    }

    /// What forbids to wait for this server. Nothing does while it is on its way, on behalf of whomever.
    fn forbidden(&self, now: Now, house: &House, server: &AgentName, person: bool) -> Option<Denied> {
        let seen = house.agents.get(server)?;
        let comes = !sleeps(seen.state)
            || self.wish.as_ref().is_some_and(|w| w.server.as_ref() == Some(server))
            || house.busy.as_ref().is_some_and(|b| b.awake.contains(server));
        debug_assert!(!starts(seen.state) || comes);
        if comes {
            return None;
        }
        if let Some(known) = self.servers.get(server).filter(|s| s.crashes.given_up()) {
            return Some(words::given_up(server, &seen.proper, &known.crashes));
        }
        if person || self.queues.of(server).iter().any(|w| w.ask.person) {
            return None;
        }
        if let Some(until) = house.yielded {
            return Some(words::yielded(&seen.proper, until, now.wall));
        }
        if !house.stack.gateway.wake {
            return Some(words::asleep(server, &seen.proper));
        }
        self.books.forbids(&house.stack, house.stack.agent(server)?, now)
    }

    /// Leases for everybody whose server takes requests.
    pub(super) fn grant_ready(&mut self, now: Now, house: &House, orders: &mut Vec<Order>) {
        let servers: Vec<AgentName> = self.queues.servers().cloned().collect();
        for server in servers {
            let Some(seen) = house.agents.get(&server) else { continue };
            if !self.takes_requests(&server, seen, true) {
                continue;
            }
            let fenced = self.fenced.contains(&server);
            for waiter in self.queues.take(&server, |w| w.ask.person || !fenced) {
                let story = self.story.granted(waiter.since, now.steady, &server, &seen.proper);
                self.lend(now, waiter.ask.ticket, waiter.ask.summon, &server);
                let (ticket, server) = (waiter.ask.ticket, server.clone());
                orders.push(Order::Grant { ticket, server, story: Some(story) });
            }
        }
    }

    fn lend(&mut self, now: Now, ticket: Ticket, summon: bool, server: &AgentName) {
        if let Some(count) = self.leases.get_mut(server) {
            *count = count.saturating_add(1);
        } else {
            self.leases.insert(server.clone(), 1);
        }
        if let Some(server) = self.servers.get_mut(server) {
            server.used = now.steady;
        }
        self.held.insert(ticket, Held { server: server.clone(), summon });
    }

    /// Sends those of `server` away that `which` names.
    pub(super) fn refuse(
        &mut self,
        now: Now,
        server: &AgentName,
        why: &Denied,
        which: impl Fn(&Waiter) -> bool,
        orders: &mut Vec<Order>,
    ) {
        for waiter in self.queues.take(server, which) {
            let story = self.story.refused(waiter.since, now.steady, server, why);
            orders.push(Order::Refuse { ticket: waiter.ask.ticket, why: why.clone(), story });
        }
    }

    fn person(&mut self, now: Now, house: &House, act: PersonAct, orders: &mut Vec<Order>) {
        match act {
            PersonAct::Switched => {
                self.books.set_down(false);
                self.forget_again(house, orders);
            }
            PersonAct::RestartWhenIdle(agent) => self.ask_again(house, &agent),
            PersonAct::RestartTakenBack(agent) => self.take_back_again(house, &agent),
            PersonAct::Started(agent) => {
                self.books.set_down(false);
                if let Some(server) = self.servers.get_mut(house.stack.server_of(&agent)) {
                    server.crashes.forgive();
                }
            }
            PersonAct::Down => {
                self.books.set_down(true);
                let servers: Vec<AgentName> = self.queues.servers().cloned().collect();
                for server in servers {
                    self.stopped_by_hand(now, house, &server, orders);
                }
            }
            PersonAct::Stopped(agent) => {
                self.stopped_by_hand(now, house, house.stack.server_of(&agent), orders);
            }
        }
    }

    /// Tools that waited for it would wake it again at once, against the person's will.
    fn stopped_by_hand(&mut self, now: Now, house: &House, server: &AgentName, orders: &mut Vec<Order>) {
        let proper = house.agents.get(server).map_or_else(|| server.proper(), |s| s.proper.clone());
        self.refuse(now, server, &words::stopped(&proper), |w| !w.ask.person, orders);
    }
}

fn refused(ticket: Ticket, why: Denied) -> Order {
    Order::Refuse { ticket, why, story: None }
}

/// Whole seconds until `moment`, at least one.
pub(super) fn whole_seconds(left: Duration) -> u64 {
    (left.as_secs() + u64::from(left.subsec_nanos() > 0)).max(1)
}

/// Seconds until `server` may be ready, for whoever is sent away; between 1 and 120.
fn seconds_left(house: &House, server: &AgentName) -> Option<u64> {
    let seconds = house
        .agents
        .get(server)
        .and_then(|s| s.seconds_left)
        .or_else(|| house.situation.start_seconds.get(server).copied())?;
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped")]
    let whole = seconds.ceil().clamp(1.0, 120.0) as u64;
    Some(whole)
}
