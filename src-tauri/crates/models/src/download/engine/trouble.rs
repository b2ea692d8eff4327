//! What is made of troubles: which are waited out, which end a download.

use std::time::Duration;

use domain::download::patience;
use tokio::time::Instant;

use super::{Engine, MOST_EXPIRED, MOST_MIXED, MOST_STRANGE};
use crate::download::FetchError;
use crate::download::ask::Trouble;
use crate::download::jobs::{Job, Server, Stage};
use crate::download::layout::failed;
use crate::download::write::Broken;
use crate::hub::HubError;

impl Engine {
    /// A connection ended before its end; `gained`: not without bringing something.
    pub(super) fn trouble(&mut self, index: usize, trouble: Trouble, gained: bool) -> Result<(), FetchError> {
        if gained {
            self.went_well(index);
        }
        let Some(job) = self.jobs.get_mut(index) else { return Ok(()) };
        match trouble {
            Trouble::Disk(broken) => Err(self.disk(&broken)),
            Trouble::Refused(e) => Err(FetchError::Hub(e)),
            Trouble::Changed(why) => Err(FetchError::Changed { file: job.target.path.clone(), why }),
            Trouble::Again(e) => {
                if gained {
                    return Ok(());
                }
                if self.gained.0.elapsed() > self.tuning.patience {
                    return Err(FetchError::Hub(e));
                }
                self.failures += 1;
                self.wait(patience::back_off(self.failures, chance()), &e);
                Ok(())
            }
            Trouble::Strange(e) => {
                job.faults.strange += 1;
                let times = job.faults.strange;
                forget_source(job);
                if times >= MOST_STRANGE {
                    return Err(FetchError::Hub(e));
                }
                self.wait(patience::back_off(times, chance()), &e);
                Ok(())
            }
            Trouble::Patience { wait, why } => {
                self.climb.back_down(self.began.elapsed());
                // What was asked for is no silence of the Hub's.
                self.gained.0 = Instant::now() + wait;
                self.wait(wait, &why);
                Ok(())
            }
            Trouble::Expired(e) => {
                job.faults.expired += 1;
                forget_source(job);
                if job.faults.expired >= MOST_EXPIRED {
                    return Err(FetchError::Hub(e));
                }
                Ok(())
            }
            Trouble::Mixed => {
                job.faults.mixed += 1;
                let again = job.faults.mixed >= MOST_MIXED;
                forget_source(job);
                let idle = job.connections == 0;
                if let Stage::Large(large) = &mut job.stage
                    && again
                {
                    // Which of the two is the right one, the hash will tell; bytes of both are none.
                    large.anew = true;
                    large.blind = true;
                    large.etag = None;
                    if idle {
                        return self.begin_anew(index);
                    }
                }
                Ok(())
            }
            Trouble::NoRanges => {
                if let Stage::Large(large) = &mut job.stage {
                    large.server = Server::NoRanges;
                }
                Ok(())
            }
        }
    }

    pub(super) fn wait(&mut self, wait: Duration, why: &HubError) {
        let until = Instant::now() + wait;
        self.pause = self.pause.max(Some(until));
        self.why = why.to_string();
    }

    pub(super) fn disk(&self, broken: &Broken) -> FetchError {
        self.with_need(failed(&broken.path, &broken.error()))
    }

    /// A full disk, with how much is still to come.
    pub(super) fn with_need(&self, error: FetchError) -> FetchError {
        match error {
            FetchError::DiskFull { free, .. } => {
                // What the kernel refused it does not have, whatever it says.
                let needed = self.to_come();
                FetchError::DiskFull { needed, free: free.min(needed.saturating_sub(1)) }
            }
            error => error,
        }
    }
}

/// The address is found anew with the next request.
pub(super) fn forget_source(job: &mut Job) {
    if let Stage::Large(large) = &mut job.stage {
        large.source = None;
    }
}

pub(super) fn damaged(job: &Job, got: String) -> FetchError {
    FetchError::Damaged { file: job.target.path.clone(), expected: job.content.hash.hex().to_owned(), got }
}

/// From 0 to 1. Without the system's randomness everybody waits equally long, which is no reason to fail.
pub(super) fn chance() -> f64 {
    f64::from(getrandom::u32().unwrap_or(u32::MAX / 2)) / f64::from(u32::MAX)
}
