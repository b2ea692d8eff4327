//! Those who ask.

use domain::agent::AgentName;
use domain::schedule::{Denied, Happening, Ticket};

use super::house::Day;

/// The longest request.
pub const LONGEST: u64 = 120_000;

/// One request, until it was refused or has left.
pub struct Request {
    pub server: AgentName,
    pub person: bool,
    pub summon: bool,
    pub asked: u64,
    pub foreign: u64,
    answered: bool,
    /// While it holds a lease.
    pub ends: Option<u64>,
}

impl Request {
    pub fn new(server: AgentName, person: bool, summon: bool, asked: u64, foreign: u64) -> Self {
        Self { server, person, summon, asked, foreign, answered: false, ends: None }
    }

    pub fn waits(&self) -> bool {
        !self.answered
    }
}

impl Day {
    pub fn granted(&mut self, ticket: Ticket, server: &AgentName, story: Option<&str>) -> Result<(), String> {
        let long = self.chance.between(0, LONGEST);
        let now = self.now;
        let Some(request) = self.requests.get_mut(&ticket).filter(|r| r.waits()) else {
            return Err(format!("Ticket {ticket} was answered twice, or after it left."));
        };
        if &request.server != server {
            return Err(format!("Ticket {ticket} got {server} for {}.", request.server));
        }
        if now > request.asked && story.is_none_or(|s| !s.starts_with("Waited ") || !s.ends_with('.')) {
            return Err(format!("Ticket {ticket} waited, and its story is {story:?}."));
        }
        request.answered = true;
        let (summon, asked, foreign) = (request.summon, request.asked, request.foreign);
        request.ends = Some(if summon { now } else { now + long });
        let fine = self.servers.get(server).is_some_and(|s| s.state.answers() && !s.closed);
        if !fine {
            return Err(format!("Ticket {ticket} got {server}, which cannot take it."));
        }
        self.counts.granted += 1;
        self.waited(ticket, asked, foreign)
    }

    pub fn refused(&mut self, ticket: Ticket, why: &Denied) -> Result<(), String> {
        let Some(request) = self.requests.get(&ticket).filter(|r| r.waits()) else {
            return Err(format!("Ticket {ticket} was answered twice, or after it left."));
        };
        let (server, person) = (request.server.clone(), request.person);
        let (asked, foreign) = (request.asked, request.foreign);
        self.counts.refused += 1;
        self.refusal_is_sound(ticket, &server, person, why)?;
        self.requests.remove(&ticket);
        self.waited(ticket, asked, foreign)
    }

    pub fn hangs_up(&mut self) -> Result<(), String> {
        let alive: Vec<Ticket> =
            self.requests.iter().filter(|(_, r)| r.waits() || r.ends.is_some()).map(|(t, _)| *t).collect();
        if alive.is_empty() {
            return Ok(());
        }
        let ticket = self.one_of(alive);
        self.counts.hung_up += 1;
        self.leaves(ticket)
    }

    fn leaves(&mut self, ticket: Ticket) -> Result<(), String> {
        self.requests.remove(&ticket);
        self.tell(Happening::Left(ticket))
    }

    /// Every lease on this server breaks.
    pub fn cut(&mut self, server: &AgentName) -> Result<(), String> {
        let broken: Vec<Ticket> = self
            .requests
            .iter()
            .filter(|(_, r)| r.ends.is_some() && &r.server == server)
            .map(|(t, _)| *t)
            .collect();
        if let Some(known) = self.servers.get_mut(server) {
            known.past_us_until = known.past_us_until.min(self.now);
        }
        broken.into_iter().try_for_each(|ticket| self.leaves(ticket))
    }

    pub fn next_of_requests(&self) -> Option<u64> {
        let ends = self.requests.values().filter_map(|r| r.ends);
        let past_us = self.servers.values().map(|s| s.past_us_until).filter(|t| *t > self.now);
        ends.chain(past_us).min()
    }

    pub fn requests_go_on(&mut self) -> Result<(), String> {
        let over: Vec<Ticket> = self
            .requests
            .iter()
            .filter(|(_, r)| r.ends.is_some_and(|at| at <= self.now))
            .map(|(t, _)| *t)
            .collect();
        over.into_iter().try_for_each(|ticket| self.leaves(ticket))?;
        if self.servers.values().any(|s| s.past_us_until == self.now) {
            self.tell(Happening::Looked)?;
        }
        Ok(())
    }
}
