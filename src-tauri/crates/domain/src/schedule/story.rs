//! Why a request waited, in one sentence: from what was seen meanwhile, never from what was meant to happen.

use std::time::Duration;

use super::next::Blocked;
use super::seen::starts;
use super::{Denied, House, Now, Schedule, words};
use crate::agent::{AgentName, AgentState};

/// More than these in one sentence nobody reads.
const MOST: usize = 5;

/// What was seen while somebody waited; forgotten when nobody does.
#[derive(Debug, Clone, Default)]
pub(super) struct Timeline {
    spans: Vec<Span>,
}

#[derive(Debug, Clone)]
struct Span {
    what: What,
    /// Who did it.
    agent: AgentName,
    proper: String,
    from: Duration,
    to: Option<Duration>,
    requests: u32,
    /// A start that came to its end.
    ready: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum What {
    Starting,
    Draining,
    Stopping,
    /// Could not be stopped yet, by those who wait for this one.
    Staying(AgentName),
    /// Was left alone until its requests were done, by those who wait for this one.
    Finishing(AgentName),
    BackingOff,
}

impl Schedule {
    /// Writes down what goes on, if anybody waits.
    pub(super) fn note(&mut self, now: Now, house: &House) {
        if self.queues.is_empty() {
            return;
        }
        let mut on: Vec<(What, &AgentName, u32)> = Vec::new();
        for (name, seen) in &house.agents {
            if starts(seen.state) {
                on.push((What::Starting, name, 0));
            }
            let drains = seen.state == AgentState::Draining || self.closed.contains(name);
            if drains && seen.state != AgentState::Stopping && self.in_use(name, seen) > 0 {
                on.push((What::Draining, name, self.in_use(name, seen)));
            }
            if seen.state == AgentState::Stopping {
                on.push((What::Stopping, name, 0));
            }
        }
        for (server, blocked) in &self.blocked {
            match blocked {
                Blocked::Residency { of, .. } => on.push((What::Staying(server.clone()), of, 0)),
                Blocked::InUse(of) => {
                    let requests = house.agents.get(of).map_or(0, |seen| self.in_use(of, seen));
                    on.push((What::Finishing(server.clone()), of, requests));
                }
                Blocked::BackOff { .. } => on.push((What::BackingOff, server, 0)),
                Blocked::Arrival(_) | Blocked::Behind(_) => {}
            }
        }
        let oldest = self.queues.all().map(|w| w.since).min().unwrap_or(now.steady);
        let spans = &mut self.story.spans;
        for span in spans.iter_mut().filter(|s| s.to.is_none()) {
            if let Some((_, _, requests)) = on.iter().find(|(what, name, _)| span.is(what, name)) {
                span.requests = span.requests.max(*requests);
            } else {
                span.to = Some(now.steady);
                span.ready = house.agents.get(&span.agent).is_some_and(|s| s.state.answers());
            }
        }
        spans.retain(|s| s.to.is_none_or(|to| to >= oldest));
        for (what, name, requests) in on {
            if spans.iter().any(|s| s.to.is_none() && s.is(&what, name)) {
                continue;
            }
            let began = self.servers.get(name).and_then(|s| s.starting_since);
            let from = began.filter(|_| what == What::Starting).unwrap_or(now.steady);
            let proper = house.agents.get(name).map_or_else(|| name.proper(), |s| s.proper.clone());
            let (agent, to) = (name.clone(), None);
            spans.push(Span { what, agent, proper, from, to, requests, ready: false });
        }
    }
}

impl Span {
    fn is(&self, what: &What, agent: &AgentName) -> bool {
        &self.what == what && &self.agent == agent
    }

    /// In words, to somebody who waits for `server` since `since`.
    fn words(&self, server: &AgentName, since: Duration, now: Duration) -> Option<String> {
        let end = self.to.unwrap_or(now);
        let seen = words::seconds(end.saturating_sub(self.from.max(since)));
        let who = &self.proper;
        let own = &self.agent == server;
        Some(match &self.what {
            What::Starting if !self.ready => {
                let for_so_long = words::seconds(end.saturating_sub(self.from));
                format!("{who} was loading for {for_so_long}")
            }
            What::Starting => {
                let took = words::seconds(end.saturating_sub(self.from));
                match (own, self.from < since) {
                    (true, false) => format!("{who} loaded in {took}"),
                    (true, true) => format!("{who}, already on its way, loaded in {took}"),
                    (false, _) => format!("{who} loaded first, in {took}"),
                }
            }
            What::Draining => format!("{who} was draining {}", words::requests(self.requests)),
            What::Stopping if end.saturating_sub(self.from) < Duration::from_secs(1) => return None,
            What::Stopping => format!("{who} stopped in {}", words::seconds(end.saturating_sub(self.from))),
            What::Staying(for_whom) if for_whom == server => {
                format!("{who} stayed {seen} for its minimum")
            }
            What::Finishing(for_whom) if for_whom == server => {
                format!("{who} was finishing {}", words::requests(self.requests))
            }
            What::BackingOff if own => format!("{who} had crashed and rested {seen}"),
            What::Staying(_) | What::Finishing(_) | What::BackingOff => return None,
        })
    }
}

impl Timeline {
    pub(super) fn clear(&mut self) {
        self.spans.clear();
    }

    /// "Waited 41 s: Valkyrie was draining one request, Odin loaded in 38 s."
    pub(super) fn granted(&self, since: Duration, now: Duration, server: &AgentName, proper: &str) -> String {
        let waited = words::seconds(now.saturating_sub(since));
        let parts = self.parts(since, now, server);
        if parts.is_empty() {
            return format!("Waited {waited} until {proper} took requests.");
        }
        format!("Waited {waited}: {}.", parts.join(", "))
    }

    /// The same for one who waited in vain; none where it did not wait at all.
    pub(super) fn refused(
        &self,
        since: Duration,
        now: Duration,
        server: &AgentName,
        why: &Denied,
    ) -> Option<String> {
        if now == since {
            return None;
        }
        let waited = words::seconds(now.saturating_sub(since));
        let parts = self.parts(since, now, server);
        let what = if parts.is_empty() { String::new() } else { format!(": {}", parts.join(", ")) };
        Some(format!("Waited {waited}{what}. {}", why.message()))
    }

    fn parts(&self, since: Duration, now: Duration, server: &AgentName) -> Vec<String> {
        let mut spans: Vec<&Span> = self.spans.iter().filter(|s| s.to.unwrap_or(now) >= since).collect();
        spans.sort_by_key(|s| s.from);
        let mut parts: Vec<String> = Vec::new();
        for part in spans.iter().filter_map(|s| s.words(server, since, now)) {
            if !parts.contains(&part) {
                parts.push(part);
            }
        }
        // What came last explains most.
        parts.split_off(parts.len().saturating_sub(MOST))
    }
}
