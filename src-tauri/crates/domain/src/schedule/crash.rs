//! Crashes in a row: how long after one the next start waits, and when nobody but the person starts it again.
//!
//! A crash is a start on behalf of requests that failed, or an agent that was ready and is failed. The next request
//! starts it again, after two seconds the first time and fifteen the second. After the third it is left failed. A lease
//! that ended well, or five minutes of being ready, begin the row anew; so does the person who starts it.
//!
//! A lease that ends does not say how. One that broke with its agent ends before the crash is seen, so an end counts
//! as a good one only where the agent still stood [`SETTLED`] later.

use std::time::Duration;

/// What the next start waits for, after the first and the second crash in a row.
const BACK_OFF: [Duration; 2] = [Duration::from_secs(2), Duration::from_secs(15)];
/// Seen so long after a lease's end, a crash has nothing to do with it.
const SETTLED: Duration = Duration::from_secs(30);
/// Ready for so long, an agent is well.
const WELL: Duration = Duration::from_secs(300);

#[derive(Debug, Clone, Default)]
pub(super) struct Crashes {
    in_a_row: usize,
    last: Option<Duration>,
    /// When a lease ended first since the last crash while the agent stood.
    well_since: Option<Duration>,
    why: String,
}

impl Crashes {
    /// `ready_since`: since when it had been ready, if it was.
    pub(super) fn crashed(&mut self, now: Duration, ready_since: Option<Duration>, why: &str) {
        let past = |since: Option<Duration>, least| since.is_some_and(|s| now.saturating_sub(s) >= least);
        if past(self.well_since, SETTLED) || past(ready_since, WELL) {
            self.in_a_row = 0;
        }
        self.in_a_row += 1;
        self.last = Some(now);
        self.well_since = None;
        why.clone_into(&mut self.why);
    }

    pub(super) fn forgive(&mut self) {
        *self = Self::default();
    }

    /// A lease ended while the agent stood.
    pub(super) fn lease_ended(&mut self, now: Duration) {
        if self.in_a_row > 0 {
            self.well_since.get_or_insert(now);
        }
    }

    /// Whether one was counted since `moment`.
    pub(super) fn counted_since(&self, moment: Duration) -> bool {
        self.last.is_some_and(|last| last >= moment)
    }

    /// It crashed so often that only the person starts it again.
    pub(super) fn given_up(&self) -> bool {
        self.in_a_row > BACK_OFF.len()
    }

    pub(super) fn in_a_row(&self) -> usize {
        self.in_a_row
    }

    pub(super) fn why(&self) -> &str {
        &self.why
    }

    /// When it may be started again; none where that is now.
    pub(super) fn not_before(&self, now: Duration) -> Option<Duration> {
        let back_off = BACK_OFF.get(self.in_a_row.checked_sub(1)?)?;
        let until = self.last?.saturating_add(*back_off);
        (until > now).then_some(until)
    }
}
