//! Who waits, and in which order.
//!
//! Requests wait by server: all that wait for one are served by the same swap. Between servers the oldest request
//! that counts as the person's decides, then the oldest of the tools.

use std::collections::BTreeMap;
use std::time::Duration;

use super::{Ask, Ticket};
use crate::agent::AgentName;

/// After so long a tool's request counts as the person's: with their age, so that later ones of the person come
/// after it.
pub const AGING: Duration = Duration::from_secs(300);

/// One request that waits.
#[derive(Debug, Clone)]
pub(super) struct Waiter {
    pub(super) ask: Ask,
    pub(super) since: Duration,
}

impl Waiter {
    /// The order: those of the person and the aged first, then by age.
    fn key(&self, now: Duration) -> Key {
        Key { late: !(self.ask.person || self.aged(now)), since: self.since, ticket: self.ask.ticket }
    }

    pub(super) fn aged(&self, now: Duration) -> bool {
        now.saturating_sub(self.since) >= AGING
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Key {
    late: bool,
    since: Duration,
    ticket: Ticket,
}

#[derive(Debug, Clone, Default)]
pub(super) struct Queues {
    /// By server, in the order of their coming. No list is empty.
    by_server: BTreeMap<AgentName, Vec<Waiter>>,
    server_of: BTreeMap<Ticket, AgentName>,
}

impl Queues {
    pub(super) fn is_empty(&self) -> bool {
        self.server_of.is_empty()
    }

    pub(super) fn holds(&self, ticket: Ticket) -> bool {
        self.server_of.contains_key(&ticket)
    }

    pub(super) fn tickets(&self) -> impl Iterator<Item = Ticket> {
        self.server_of.keys().copied()
    }

    pub(super) fn of(&self, server: &AgentName) -> &[Waiter] {
        self.by_server.get(server).map_or(&[], Vec::as_slice)
    }

    pub(super) fn server(&self, ticket: Ticket) -> Option<&AgentName> {
        self.server_of.get(&ticket)
    }

    pub(super) fn servers(&self) -> impl Iterator<Item = &AgentName> {
        self.by_server.keys()
    }

    pub(super) fn all(&self) -> impl Iterator<Item = &Waiter> {
        self.by_server.values().flatten()
    }

    pub(super) fn push(&mut self, server: &AgentName, waiter: Waiter) {
        self.server_of.insert(waiter.ask.ticket, server.clone());
        self.by_server.entry(server.clone()).or_default().push(waiter);
    }

    pub(super) fn remove(&mut self, ticket: Ticket) -> Option<Waiter> {
        let server = self.server_of.remove(&ticket)?;
        let list = self.by_server.get_mut(&server)?;
        let place = list.iter().position(|w| w.ask.ticket == ticket)?;
        let waiter = list.remove(place);
        if list.is_empty() {
            self.by_server.remove(&server);
        }
        Some(waiter)
    }

    /// Takes those of `server` out that `which` names, in the order of their coming.
    pub(super) fn take(&mut self, server: &AgentName, which: impl Fn(&Waiter) -> bool) -> Vec<Waiter> {
        let Some(list) = self.by_server.remove(server) else { return Vec::new() };
        let (taken, left): (Vec<_>, Vec<_>) = list.into_iter().partition(which);
        for waiter in &taken {
            self.server_of.remove(&waiter.ask.ticket);
        }
        if !left.is_empty() {
            self.by_server.insert(server.clone(), left);
        }
        taken
    }

    /// The servers that somebody waits for, who is next first.
    pub(super) fn in_order(&self, now: Duration) -> Vec<AgentName> {
        let mut order: Vec<_> =
            self.by_server.iter().filter_map(|(name, list)| Some((first(list, now)?, name))).collect();
        order.sort_unstable_by_key(|(key, _)| *key);
        order.into_iter().map(|(_, name)| name.clone()).collect()
    }

    /// Whether somebody for `server` waited so long that nobody goes before them any more.
    pub(super) fn aged(&self, server: &AgentName, now: Duration) -> bool {
        self.of(server).first().is_some_and(|w| w.aged(now))
    }

    /// 1 is next; those of servers whose turn comes first are counted.
    pub(super) fn place(&self, ticket: Ticket, now: Duration) -> Option<u32> {
        let own = self.server_of.get(&ticket)?;
        let list = self.of(own);
        let mine = first(list, now)?;
        let before: usize = self
            .by_server
            .values()
            .filter(|other| first(other, now).is_some_and(|key| key < mine))
            .map(Vec::len)
            .sum();
        let within = list.iter().position(|w| w.ask.ticket == ticket)?;
        u32::try_from(before + within + 1).ok()
    }

    /// When the next of the tools that wait is old enough to count as the person.
    pub(super) fn next_aging(&self, now: Duration) -> Option<Duration> {
        let young = self.all().filter(|w| !w.ask.person && !w.aged(now));
        young.map(|w| w.since + AGING).min()
    }
}

fn first(list: &[Waiter], now: Duration) -> Option<Key> {
    list.iter().map(|w| w.key(now)).min()
}
