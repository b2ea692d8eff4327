//! Who uses which agent right now, counted by the gateway's leases.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

use domain::agent::AgentName;

use crate::run_loop::Loop;
use crate::state::Event;

/// Counts leases, and refuses new ones of agents that are draining.
#[derive(Clone)]
pub(crate) struct Leases {
    inner: Arc<Mutex<Inner>>,
    to: Loop,
}

#[derive(Default)]
struct Inner {
    counts: BTreeMap<AgentName, u32>,
    closed: BTreeSet<AgentName>,
}

/// One request's use of an agent; it ends when this is dropped.
pub(crate) struct Guard {
    agent: AgentName,
    leases: Leases,
}

impl Leases {
    pub(crate) fn new(to: Loop) -> Self {
        Self { inner: Arc::default(), to }
    }

    /// A lease, or `None` while the agent drains: no request is let in that the drain would have to wait for.
    pub(crate) fn take(&self, agent: &AgentName) -> Option<Guard> {
        let mut inner = self.lock();
        if inner.closed.contains(agent) {
            return None;
        }
        *inner.counts.entry(agent.clone()).or_default() += 1;
        self.publish(&inner);
        Some(Guard { agent: agent.clone(), leases: self.clone() })
    }

    pub(crate) fn close(&self, agent: &AgentName) {
        self.lock().closed.insert(agent.clone());
    }

    pub(crate) fn open(&self, agent: &AgentName) {
        self.lock().closed.remove(agent);
    }

    pub(crate) fn count(&self, agent: &AgentName) -> u32 {
        self.lock().counts.get(agent).copied().unwrap_or(0)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn publish(&self, inner: &Inner) {
        self.to.note(Event::Leased(inner.counts.clone()));
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        let mut inner = self.leases.lock();
        if let Some(count) = inner.counts.get_mut(&self.agent) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                inner.counts.remove(&self.agent);
            }
        }
        self.leases.publish(&inner);
    }
}
