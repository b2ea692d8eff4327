//! One agent as the state knows it: what it does, since when, what it holds, what its server says of itself.

use std::sync::Arc;

use api::shapes::status::Failure;
use domain::agent::{AgentState, Stage};
use domain::attribution::Measured;
use domain::memory::Bytes;
use domain::pool::PoolReading;
use engine::Instance;
use engine::backend::OwnNumbers;
use engine::backend::failure::Suggestion;
use engine::metrics::Live;
use jiff::Timestamp;

/// One agent as it is now.
#[derive(Debug, Clone)]
pub(crate) struct AgentLive {
    pub(crate) state: AgentState,
    pub(crate) since: Timestamp,
    pub(crate) stage: Option<Stage>,
    /// 0 to 1 within the stage, where the log says so.
    pub(crate) stage_progress: Option<f64>,
    /// When this start began; for the time left.
    pub(crate) start_began: Option<Timestamp>,
    pub(crate) detail: Option<String>,
    pub(crate) drain_until: Option<Timestamp>,
    pub(crate) error: Option<Failure>,
    pub(crate) instance: Option<Instance>,
    pub(crate) engine: Option<String>,
    pub(crate) measured: Option<Measured>,
    /// The highest that was measured of it while it loaded.
    pub(crate) peak: Option<Measured>,
    /// The pools just before its start: what they gained since is its own, because starts are serialised.
    pub(crate) baseline: Vec<PoolReading>,
    pub(crate) figures: Figures,
    /// When the figures were read.
    pub(crate) figures_at: Option<Timestamp>,
    /// What its server said of its own memory while it started.
    pub(crate) own: OwnNumbers,
    /// A change of its stack entry that a failure suggests.
    pub(crate) suggestion: Option<Suggestion>,
    /// The log of a run whose container is gone.
    pub(crate) kept_log: Arc<Vec<String>>,
}

impl AgentLive {
    pub(crate) fn asleep(now: Timestamp) -> Self {
        Self {
            state: AgentState::Asleep,
            since: now,
            stage: None,
            stage_progress: None,
            start_began: None,
            detail: None,
            drain_until: None,
            error: None,
            instance: None,
            engine: None,
            measured: None,
            peak: None,
            baseline: Vec::new(),
            figures: Figures::default(),
            figures_at: None,
            own: OwnNumbers::default(),
            suggestion: None,
            kept_log: Arc::default(),
        }
    }

    /// Takes a new measurement; whether it changed anything.
    pub(crate) fn measure(&mut self, seen: Measured) -> bool {
        let total = |m: &Measured| -> Bytes { m.shares.values().map(|s| s.total()).sum() };
        let loads = matches!(self.state, AgentState::Starting | AgentState::Loading);
        if loads && self.peak.as_ref().is_none_or(|peak| total(peak) < total(&seen)) {
            self.peak = Some(seen.clone());
        }
        let changed = self.measured.as_ref() != Some(&seen);
        self.measured = Some(seen);
        changed
    }

    pub(crate) fn enter(&mut self, state: AgentState, now: Timestamp) {
        if self.state != state {
            self.state = state;
            self.since = now;
        }
        if !matches!(state, AgentState::Starting | AgentState::Loading | AgentState::Pulling) {
            self.stage = None;
            self.stage_progress = None;
            self.start_began = None;
        }
        if state != AgentState::Draining {
            self.drain_until = None;
        }
        if state != AgentState::Failed {
            self.error = None;
        }
        if matches!(state, AgentState::Asleep | AgentState::Failed) {
            self.instance = None;
            self.measured = None;
            self.figures = Figures::default();
            self.figures_at = None;
            self.detail = None;
        }
    }
}

/// What a server says of itself in `/metrics`.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Figures {
    pub(crate) running: Option<u32>,
    pub(crate) waiting: Option<u32>,
    pub(crate) kv_cache_used: Option<f64>,
    pub(crate) tokens_per_second: Option<f64>,
    pub(crate) prompt_tokens_per_second: Option<f64>,
    pub(crate) time_to_first_token_seconds: Option<f64>,
    pub(crate) preemptions: Option<u64>,
    pub(crate) preemptions_per_minute: Option<f64>,
    pub(crate) kv_capacity_tokens: Option<u64>,
}

/// Figures that stay the same are published anew after so many seconds, so that their time does not grow old.
pub(crate) const SAME_FIGURES: i64 = 30;

impl Figures {
    pub(crate) fn of(live: &Live) -> Self {
        Self {
            running: live.running,
            waiting: live.waiting,
            kv_cache_used: live.kv_cache_used,
            tokens_per_second: live.tokens_per_second,
            prompt_tokens_per_second: live.prompt_tokens_per_second,
            time_to_first_token_seconds: live.time_to_first_token_seconds,
            preemptions: live.preemptions,
            preemptions_per_minute: None,
            kv_capacity_tokens: live.kv_capacity_tokens,
        }
    }

    pub(crate) fn in_use(self) -> u32 {
        self.running.unwrap_or(0).saturating_add(self.waiting.unwrap_or(0))
    }
}
