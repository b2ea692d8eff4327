//! What is told of it.

use std::sync::atomic::Ordering;

use domain::download::meter::Meter;
use tokio::time::Instant;

use super::Engine;
use crate::download::State;
use crate::download::jobs::{Job, Stage};

impl Engine {
    pub(super) fn state(&self) -> State {
        if self.remaining == 0 {
            return State::Done;
        }
        let waits = self.pause.map(|until| until.saturating_duration_since(Instant::now()));
        if self.connections == 0 && waits.is_some() || self.failures > 1 {
            // The seconds that are left, not those that have passed.
            let seconds = waits.unwrap_or_default().as_millis().div_ceil(1000);
            let seconds = u64::try_from(seconds).unwrap_or(u64::MAX);
            return State::Waiting { why: self.why.clone(), seconds };
        }
        if self.connections > 0 {
            return State::Running;
        }
        let is_at_work = |job: &Job| !job.is_done() && !matches!(job.stage, Stage::Due);
        if self.jobs.iter().any(is_at_work) {
            return if self.to_come() == 0 { State::Verifying } else { State::Running };
        }
        match self.held.first().and_then(|(_, index)| self.jobs.get(*index)) {
            Some(job) => State::Waiting {
                why: format!("Another program is fetching {}.", job.target.path),
                seconds: 1,
            },
            None => State::Running,
        }
    }

    pub(super) fn report(&mut self, last: bool) {
        let now = self.began.elapsed();
        let state = self.state();
        let fetched_bytes = self.line.fetched.load(Ordering::Relaxed);
        let to_come = self.to_come();
        let (jobs, meter, connections) = (&mut self.jobs, &self.meter, self.connections);
        self.progress.send_modify(|progress| {
            progress.state = state;
            progress.connections = if last { 0 } else { connections };
            progress.fetched_bytes = fetched_bytes;
            progress.bytes_per_second = meter.per_second();
            progress.seconds_left = meter.seconds_left(to_come);
            (progress.done_bytes, progress.verified_bytes, progress.files_done) = (0, 0, 0);
            for job in jobs {
                let (done, verified) = job.bytes();
                let is_done = job.is_done();
                if job.connections > 0 {
                    job.meter.look(now, done);
                } else {
                    job.meter = Meter::default();
                }
                for file in &job.files {
                    let Some(file) = progress.files.get_mut(*file) else { continue };
                    file.done_bytes = done;
                    file.verified_bytes = verified;
                    file.done = is_done;
                    file.connections = if last { 0 } else { job.connections };
                    file.bytes_per_second = job.meter.per_second();
                    file.seconds_left = job.meter.seconds_left(file.total_bytes.saturating_sub(done));
                    progress.done_bytes += done;
                    progress.verified_bytes += verified;
                    progress.files_done += usize::from(is_done);
                }
            }
        });
    }
}
