//! What is known of one request on its way, and the one line that is written of it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use domain::AgentName;
use http::StatusCode;
use tokio::time::Instant;

use crate::meter::Seen;
use crate::{Dispatch, Lease, Outcome, Record, Waiting, Wanted};

/// One request from its head to the end of its answer. Its [`Record`] is written exactly once, when it is dropped:
/// however the request ends, by an answer, a refusal, a break or a hang-up at any point.
///
/// Until it is told otherwise the outcome is [`Outcome::Left`], because that is what being dropped early means.
pub(crate) struct Trip {
    dispatch: Arc<dyn Dispatch>,
    began: Instant,
    asked: Option<Instant>,
    leased: Option<Instant>,
    /// There until it is written.
    record: Option<Record>,
    open: Option<Open>,
}

impl Trip {
    pub(crate) fn begin(dispatch: Arc<dyn Dispatch>, client: Arc<str>, path: &str) -> Self {
        let record = Record {
            ticket: None,
            client,
            agent: None,
            path: path.to_owned(),
            stream: false,
            outcome: Outcome::Left,
            status: 0,
            prompt_tokens: None,
            completion_tokens: None,
            counted: false,
            queued: Duration::ZERO,
            first_token: None,
            tokens_per_second: None,
            took: Duration::ZERO,
            why: None,
        };
        Self { dispatch, began: Instant::now(), asked: None, leased: None, record: Some(record), open: None }
    }

    /// The place among the open requests that is given back with it.
    pub(crate) fn holds(&mut self, open: Open) {
        self.open = Some(open);
    }

    fn note(&mut self, note: impl FnOnce(&mut Record)) {
        if let Some(record) = &mut self.record {
            note(record);
        }
    }

    /// An agent is being asked for.
    pub(crate) fn asks(&mut self, wanted: &Wanted) {
        self.asked = Some(Instant::now());
        self.note(|record| record.stream = wanted.stream);
    }

    /// Who was asked for, where no lease and no place in a queue says it.
    pub(crate) fn means(&mut self, agent: Option<&AgentName>) {
        self.note(|record| record.agent = agent.cloned());
    }

    pub(crate) fn waits(&mut self, waiting: &Waiting) {
        self.note(|record| {
            record.ticket = Some(waiting.ticket);
            record.agent = Some(waiting.place.borrow().agent.clone());
        });
    }

    pub(crate) fn granted(&mut self, lease: &Lease) {
        self.leased = Some(Instant::now());
        self.note(|record| {
            record.ticket = Some(lease.ticket);
            record.agent = Some(lease.agent.clone());
            record.why.clone_from(&lease.story);
        });
    }

    /// When the lease was had: what the time to the first token is counted from.
    pub(crate) fn leased_at(&self) -> Instant {
        self.leased.unwrap_or(self.began)
    }

    pub(crate) fn path(&self) -> &str {
        self.record.as_ref().map_or("", |record| &record.path)
    }

    /// The status that the client is sent.
    pub(crate) fn answers(&mut self, status: StatusCode) {
        self.note(|record| record.status = status.as_u16());
    }

    /// How it ends. `why` is told after what is already known of the wait. An answer with an error's status is one
    /// of the agent's, whole or not.
    pub(crate) fn ends(&mut self, outcome: Outcome, why: Option<String>) {
        self.note(|record| {
            let error = outcome == Outcome::Done && record.status >= 400;
            record.outcome = if error { Outcome::Error } else { outcome };
            record.why = match (record.why.take(), why) {
                (Some(story), Some(why)) => Some(format!("{story} {why}")),
                (story, why) => story.or(why),
            };
        });
    }

    pub(crate) fn seen(&mut self, seen: &Seen) {
        self.note(|record| {
            record.prompt_tokens = seen.prompt_tokens;
            record.completion_tokens = seen.completion_tokens;
            record.counted = seen.counted;
            record.first_token = seen.first_token;
            record.tokens_per_second = seen.tokens_per_second;
        });
    }
}

impl Drop for Trip {
    fn drop(&mut self) {
        let Some(mut record) = self.record.take() else { return };
        record.took = self.began.elapsed();
        if let Some(asked) = self.asked {
            // Who never came to a lease waited to the end.
            record.queued = self.leased.unwrap_or_else(Instant::now).duration_since(asked);
        }
        self.dispatch.record(record);
        drop(self.open.take());
    }
}

/// How many requests for an agent are open at once.
#[derive(Clone, Default)]
pub(crate) struct Opened(Arc<AtomicUsize>);

/// A place among them; free again when it is dropped.
pub(crate) struct Open(Arc<AtomicUsize>);

impl Opened {
    /// One more, if there are fewer than `max`.
    pub(crate) fn open(&self, max: usize) -> Option<Open> {
        let more = |open: usize| (open < max).then_some(open + 1);
        self.0.fetch_update(Ordering::AcqRel, Ordering::Acquire, more).ok()?;
        Some(Open(Arc::clone(&self.0)))
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}
