//! What is known of each server from one look to the next.

use std::time::Duration;

use super::crash::Crashes;
use super::{House, Now, Schedule, Seen};
use crate::agent::{AgentName, AgentState};

#[derive(Debug, Clone, Default)]
pub(super) struct Server {
    last: Option<AgentState>,
    /// Since when it answers, through a drain and a stop, until it is asleep or failed.
    pub(super) ready_since: Option<Duration>,
    /// Since when it is on its way up.
    pub(super) starting_since: Option<Duration>,
    /// When it was used last, or became ready.
    pub(super) used: Duration,
    pub(super) crashes: Crashes,
    /// Wishes in a row that came to a good end without its being seen ready.
    pub(super) in_vain: u32,
    /// Before this its idle time is not looked at again: its going did not work.
    pub(super) idle_rest: Duration,
    /// To bring the base profile back with its going did not work.
    pub(super) alone: bool,
}

/// On its way up.
pub(super) fn starts(state: AgentState) -> bool {
    matches!(state, AgentState::Pulling | AgentState::Starting | AgentState::Loading)
}

/// Down, and nobody is at it.
pub(super) fn sleeps(state: AgentState) -> bool {
    matches!(state, AgentState::Asleep | AgentState::Failed)
}

impl Schedule {
    pub(super) fn observe(&mut self, now: Now, house: &House) {
        for (name, seen) in &house.agents {
            self.observe_one(now, name, seen);
        }
        // Who is gone from the stack is forgotten, but for leases that are still to end.
        self.servers.retain(|name, _| house.agents.contains_key(name));
        self.closed.retain(|name| house.agents.contains_key(name));
    }

    pub(super) fn observe_one(&mut self, now: Now, name: &AgentName, seen: &Seen) {
        if !self.servers.contains_key(name) {
            self.servers.insert(name.clone(), Server::default());
        }
        let Some(server) = self.servers.get_mut(name) else { return };
        let before = server.last.replace(seen.state);
        if seen.own > 0 {
            server.used = now.steady;
        }
        server.starting_since = starts(seen.state).then(|| server.starting_since.unwrap_or(now.steady));
        match seen.state {
            AgentState::Ready | AgentState::Busy => {
                if server.ready_since.is_none() {
                    server.ready_since = Some(now.steady);
                    server.used = now.steady;
                    server.alone = false;
                    server.in_vain = 0;
                    server.idle_rest = Duration::ZERO;
                }
                if let Some(wish) = self.wish.as_mut().filter(|w| w.server.as_ref() == Some(name)) {
                    wish.became_ready = true;
                }
            }
            AgentState::Draining | AgentState::Stopping => {}
            AgentState::Failed => {
                let ready_since = server.ready_since.take();
                if before.is_some_and(AgentState::answers) {
                    let why = seen.failure.as_deref().unwrap_or_default();
                    server.crashes.crashed(now.steady, ready_since, why);
                }
            }
            AgentState::Asleep => {
                // Whoever stopped it is done with it.
                self.closed.remove(name);
                if server.ready_since.take().is_some() {
                    self.books.released(name, now);
                }
            }
            // Somebody started it anew between two looks: it was not let go.
            AgentState::Pulling | AgentState::Starting | AgentState::Loading => server.ready_since = None,
        }
    }

    /// Leases, or the server's own count where that is more.
    pub(super) fn in_use(&self, name: &AgentName, seen: &Seen) -> u32 {
        self.lease_count(name).max(seen.own)
    }

    /// Whether requests get this server now.
    pub(super) fn takes_requests(&self, name: &AgentName, seen: &Seen, person: bool) -> bool {
        seen.state.answers() && !self.closed.contains(name) && (person || !self.fenced.contains(name))
    }
}
