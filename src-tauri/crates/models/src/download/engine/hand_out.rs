//! What is handed to whom.

use std::sync::mpsc::Sender;

use domain::download::portion;
use tokio::time::Instant;

use super::{Engine, Failure, MOST_OPEN, Out, Small, blocking};
use crate::download::FetchError;
use crate::download::follow::{self, Follow};
use crate::download::get::Portion;
use crate::download::jobs::{Server, Stage};
use crate::download::layout::{Lock, failed};
use crate::download::steps::{self, Begun};
use crate::download::write::Writer;

impl Engine {
    pub(super) fn hand_out(&mut self) -> Result<(), FetchError> {
        if self.pause.is_some_and(|until| Instant::now() < until) {
            return Ok(());
        }
        self.pause = None;
        loop {
            // A small file's request is over before anything could be learned from it.
            let allowed =
                if self.small.is_empty() { self.climb.connections() } else { self.tuning.most_connections };
            if self.connections >= allowed {
                return Ok(());
            }
            if let Some(index) = self.small.pop_front() {
                self.fetch_small(index);
            } else if !self.fetch_portion()? {
                if self.opening == 0
                    && self.open.len() < MOST_OPEN
                    && let Some(index) = self.large.pop_front()
                {
                    self.open(index);
                }
                return Ok(());
            }
        }
    }

    pub(super) fn open(&mut self, index: usize) {
        let Some(job) = self.jobs.get_mut(index) else { return };
        job.stage = Stage::Opening;
        self.opening += 1;
        let (place, commit, content) = (self.place.clone(), self.commit.clone(), job.content.clone());
        self.tasks.spawn(async move {
            let begun = blocking(move || steps::begin(&place, &commit, &content)).await;
            (index, Out::Begun(begun.and_then(|b| b)))
        });
    }

    pub(super) fn fetch_small(&mut self, index: usize) {
        let Some(job) = self.jobs.get_mut(index) else { return };
        job.stage = Stage::Small;
        job.connections = 1;
        self.connections += 1;
        let (place, commit, content) = (self.place.clone(), self.commit.clone(), job.content.clone());
        let (line, target, mut bytes) =
            (self.line.clone(), job.target.clone(), std::mem::take(&mut job.begun));
        self.tasks.spawn(async move {
            let begun = {
                let (place, commit, content) = (place.clone(), commit.clone(), content.clone());
                blocking(move || steps::begin(&place, &commit, &content)).await
            };
            let lock: Lock = match begun.and_then(|b| b) {
                Err(e) => return (index, Out::Small { bytes, result: Err(Failure::Disk(e)) }),
                Ok(Begun::There | Begun::Large { .. }) => {
                    return (index, Out::Small { bytes, result: Ok(Small::There) });
                }
                Ok(Begun::Held) => return (index, Out::Small { bytes, result: Ok(Small::Held) }),
                Ok(Begun::Small(lock)) => lock,
            };
            if (bytes.len() as u64) < target.size
                && let Err(trouble) = line.small(&target, &mut bytes).await
            {
                return (index, Out::Small { bytes, result: Err(Failure::Trouble(trouble)) });
            }
            let named = blocking(move || {
                let _held = lock;
                let named = steps::finish_small(&place, &commit, &content, &bytes)?;
                Ok::<_, FetchError>(match named {
                    Ok(()) => Small::Named,
                    Err(hash) => Small::Damaged(hash),
                })
            })
            .await;
            (index, Out::Small { bytes: Vec::new(), result: named.and_then(|n| n).map_err(Failure::Disk) })
        });
    }

    /// Hands out a portion of the first open file that has one; whether there was one.
    pub(super) fn fetch_portion(&mut self) -> Result<bool, FetchError> {
        let speed = self.meter.per_second().map(|s| s / f64::from(self.connections.max(1)));
        let allowed = self.climb.connections();
        if self.open.is_empty() {
            return Ok(false);
        }
        let (writer, _) = self.threads()?;
        for index in self.open.iter().copied() {
            let Some(job) = self.jobs.get_mut(index) else { continue };
            let Stage::Large(large) = &mut job.stage else { continue };
            let alone = large.server != Server::Ranges;
            let is_busy = large.server == Server::Asking || alone && job.connections > 0;
            if large.anew || is_busy {
                continue;
            }
            let Some(mut span) = large.portions.take(portion::length(large.portions.left(), allowed, speed))
            else {
                continue;
            };
            if large.server == Server::NoRanges {
                large.portions.take_all();
                span.end = job.content.size;
            }
            if large.server == Server::Unknown {
                large.server = Server::Asking;
            }
            let portion = Portion {
                job: index,
                target: job.target.clone(),
                part: large.part.clone(),
                span,
                source: large.source.clone(),
                etag: large.etag.clone(),
                alone,
                whole: large.server == Server::NoRanges,
            };
            job.connections += 1;
            self.connections += 1;
            let line = self.line.clone();
            self.tasks.spawn(async move { (index, Out::Portion(span, line.portion(portion, writer).await)) });
            return Ok(true);
        }
        Ok(false)
    }

    pub(super) fn threads(&mut self) -> Result<(Writer, Sender<Follow>), FetchError> {
        if self.threads.is_none() {
            let start = || {
                let follow = follow::start(self.hashed.clone())?;
                Ok::<_, std::io::Error>((Writer::start(follow.clone())?, follow))
            };
            self.threads = Some(start().map_err(|e| failed(&self.place.folder, &e))?);
        }
        self.threads.clone().ok_or_else(|| FetchError::Io {
            path: self.place.folder.clone(),
            why: "no thread to write with".to_owned(),
        })
    }
}
