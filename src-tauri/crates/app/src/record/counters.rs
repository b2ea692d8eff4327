//! Sums since the start, for `/metrics`. Kept in memory alone: Prometheus knows what a restart is.

use std::collections::BTreeMap;
use std::sync::Arc;

use bifrost::{Outcome, Record};
use domain::agent::AgentName;

/// So many clients have sums of their own; names are what clients say of themselves, so there could be any number.
const CLIENTS: usize = 200;
/// All clients beyond.
const OTHERS: &str = "others";

/// Upper bounds in seconds.
const WAITS: &[f64] = &[0.01, 0.1, 0.5, 1.0, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0];
const FIRSTS: &[f64] = &[0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0];
const WHOLES: &[f64] = &[0.1, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0];

/// The sums.
#[derive(Debug, Clone, Default)]
pub(crate) struct Counters {
    /// By agent, client and outcome.
    pub(crate) requests: BTreeMap<(Option<AgentName>, Arc<str>, Outcome), u64>,
    /// By the status that the client was sent.
    pub(crate) refused: BTreeMap<u16, u64>,
    pub(crate) by_agent: BTreeMap<AgentName, OfAgent>,
    clients: std::collections::BTreeSet<Arc<str>>,
}

/// One agent's.
#[derive(Debug, Clone)]
pub(crate) struct OfAgent {
    pub(crate) prompt_tokens: u64,
    pub(crate) completion_tokens: u64,
    pub(crate) queued: Histogram,
    pub(crate) first_token: Histogram,
    pub(crate) took: Histogram,
}

impl Default for OfAgent {
    fn default() -> Self {
        Self {
            prompt_tokens: 0,
            completion_tokens: 0,
            queued: Histogram::new(WAITS),
            first_token: Histogram::new(FIRSTS),
            took: Histogram::new(WHOLES),
        }
    }
}

impl Counters {
    pub(super) fn count(&mut self, record: &Record) {
        let client = self.client(&record.client);
        *self.requests.entry((record.agent.clone(), client, record.outcome)).or_default() += 1;
        if record.outcome == Outcome::Refused {
            *self.refused.entry(record.status).or_default() += 1;
        }
        let Some(agent) = &record.agent else { return };
        let of = self.by_agent.entry(agent.clone()).or_default();
        of.prompt_tokens = of.prompt_tokens.saturating_add(record.prompt_tokens.unwrap_or(0));
        of.completion_tokens = of.completion_tokens.saturating_add(record.completion_tokens.unwrap_or(0));
        of.queued.add(record.queued.as_secs_f64());
        if let Some(first) = record.first_token {
            of.first_token.add(first.as_secs_f64());
        }
        // How long a refusal took says nothing of an agent.
        if record.outcome != Outcome::Refused {
            of.took.add(record.took.as_secs_f64());
        }
    }

    fn client(&mut self, name: &Arc<str>) -> Arc<str> {
        if let Some(known) = self.clients.get(name) {
            return known.clone();
        }
        if self.clients.len() >= CLIENTS || name.len() > super::LONGEST_NAME {
            return Arc::from(OTHERS);
        }
        self.clients.insert(name.clone());
        name.clone()
    }
}

/// How often something took at most so long.
#[derive(Debug, Clone)]
pub(crate) struct Histogram {
    bounds: &'static [f64],
    /// One for each bound, not yet summed up.
    counts: Vec<u64>,
    pub(crate) count: u64,
    pub(crate) sum: f64,
}

impl Histogram {
    pub(crate) fn new(bounds: &'static [f64]) -> Self {
        Self { bounds, counts: vec![0; bounds.len()], count: 0, sum: 0.0 }
    }

    pub(crate) fn add(&mut self, seconds: f64) {
        let at = self.bounds.iter().position(|bound| seconds <= *bound);
        if let Some(count) = at.and_then(|at| self.counts.get_mut(at)) {
            *count += 1;
        }
        self.count += 1;
        self.sum += seconds;
    }

    /// Each bound with how many were at most that long.
    pub(crate) fn buckets(&self) -> impl Iterator<Item = (f64, u64)> {
        self.bounds.iter().zip(&self.counts).scan(0, |sum, (bound, count)| {
            *sum += count;
            Some((*bound, *sum))
        })
    }
}
