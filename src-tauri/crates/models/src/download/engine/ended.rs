//! What is made of how things ended.

use std::sync::Arc;

use domain::download::Span;
use domain::download::portion::Portions;
use tokio::time::Instant;

use super::trouble::{damaged, forget_source};
use super::{Engine, Failure, HELD, Out, Small, blocking};
use crate::download::FetchError;
use crate::download::digest::Digest;
use crate::download::follow::{Follow, Hashed};
use crate::download::get::{Ended, Note};
use crate::download::jobs::{Large, Server, Stage};
use crate::download::layout::failed;
use crate::download::part::Part;
use crate::download::steps::{self, Begun};

impl Engine {
    pub(super) fn note(&mut self, note: Note) {
        let Some(Stage::Large(large)) = self.jobs.get_mut(note.job).map(|job| &mut job.stage) else { return };
        if !large.blind {
            large.etag.clone_from(&note.source.etag);
        }
        large.source = Some(note.source);
        if note.whole {
            large.server = Server::NoRanges;
            large.portions.take_all();
        } else if large.server != Server::NoRanges {
            large.server = Server::Ranges;
        }
    }

    pub(super) fn ended(&mut self, index: usize, out: Out) -> Result<(), FetchError> {
        match out {
            Out::Begun(begun) => {
                self.opening -= 1;
                self.begun(index, begun.map_err(|e| self.with_need(e))?)
            }
            Out::Small { bytes, result } => self.small_ended(index, bytes, result),
            Out::Portion(span, ended) => self.portion_ended(index, span, ended),
            Out::Named(named) => {
                named?;
                self.done(index);
                Ok(())
            }
            Out::Flushed(flushed) => flushed.map_err(|b| self.disk(&b)),
        }
    }

    pub(super) fn begun(&mut self, index: usize, begun: Begun) -> Result<(), FetchError> {
        match begun {
            Begun::There => {
                self.files_there += self.jobs.get(index).map_or(0, |job| job.files.len());
                self.done(index);
            }
            Begun::Held | Begun::Small(_) => self.hold(index),
            Begun::Large { part, digest, resumed } => {
                let (_, follow) = self.threads()?;
                let Some(job) = self.jobs.get_mut(index) else { return Ok(()) };
                let part = Arc::<Part>::from(part);
                let portions = Portions::new(job.content.size, &part.landed());
                let _ = follow.send(Follow::Begin { job: index, part: part.clone(), digest });
                self.open.push(index);
                job.stage = Stage::Large(Box::new(Large {
                    part,
                    portions,
                    server: Server::Unknown,
                    source: None,
                    etag: None,
                    blind: false,
                    resumed,
                    anew: false,
                }));
            }
        }
        Ok(())
    }

    pub(super) fn hold(&mut self, index: usize) {
        if let Some(job) = self.jobs.get_mut(index) {
            job.stage = Stage::Due;
            self.held.push((Instant::now() + HELD, index));
        }
    }

    pub(super) fn done(&mut self, index: usize) {
        if let Some(job) = self.jobs.get_mut(index) {
            job.stage = Stage::Done;
            job.begun = Vec::new();
            self.remaining -= 1;
        }
    }

    pub(super) fn small_ended(
        &mut self,
        index: usize,
        bytes: Vec<u8>,
        result: Result<Small, Failure>,
    ) -> Result<(), FetchError> {
        self.connections -= 1;
        let Some(job) = self.jobs.get_mut(index) else { return Ok(()) };
        job.connections = 0;
        match result {
            Ok(Small::Named) => {
                self.went_well(index);
                self.done(index);
                Ok(())
            }
            Ok(Small::There) => {
                self.files_there += job.files.len();
                self.done(index);
                Ok(())
            }
            Ok(Small::Held) => {
                job.begun = bytes;
                self.hold(index);
                Ok(())
            }
            Ok(Small::Damaged(got)) => {
                job.faults.damaged += 1;
                if job.faults.damaged > 1 {
                    return Err(damaged(job, got));
                }
                job.stage = Stage::Due;
                self.small.push_back(index);
                Ok(())
            }
            Err(Failure::Disk(e)) => Err(self.with_need(e)),
            Err(Failure::Trouble(trouble)) => {
                let gained = bytes.len() as u64 > job.left;
                job.left = bytes.len() as u64;
                job.begun = bytes;
                job.stage = Stage::Due;
                self.small.push_back(index);
                self.trouble(index, trouble, gained)
            }
        }
    }

    pub(super) fn portion_ended(&mut self, index: usize, span: Span, ended: Ended) -> Result<(), FetchError> {
        self.connections -= 1;
        let Some(job) = self.jobs.get_mut(index) else { return Ok(()) };
        job.connections -= 1;
        let Stage::Large(large) = &mut job.stage else { return Ok(()) };
        if large.server == Server::NoRanges && job.connections == 0 {
            // It was to bring everything.
            large.portions = Portions::new(job.content.size, &large.part.landed());
        } else {
            large.portions.give_back(Span::new(ended.to, span.end));
        }
        if large.server == Server::Asking {
            large.server = Server::Unknown;
        }
        if large.anew && job.connections == 0 {
            return self.begin_anew(index);
        }
        match ended.result {
            Ok(()) => {
                self.went_well(index);
                Ok(())
            }
            Err(trouble) => self.trouble(index, trouble, ended.to > span.start),
        }
    }

    pub(super) fn went_well(&mut self, index: usize) {
        self.failures = 0;
        if let Some(job) = self.jobs.get_mut(index) {
            job.faults.strange = 0;
            job.faults.expired = 0;
            job.faults.mixed = 0;
        }
    }

    pub(super) fn hashed(&mut self, hashed: Hashed) -> Result<(), FetchError> {
        let index = hashed.job;
        let Some(job) = self.jobs.get_mut(index) else { return Ok(()) };
        let Stage::Large(large) = &mut job.stage else { return Ok(()) };
        let part = large.part.clone();
        let got = hashed.hash.map_err(|e| failed(&part.path, &e))?;
        if got == job.content.hash.hex() {
            job.stage = Stage::Naming;
            self.open.retain(|open| *open != index);
            let (place, commit, content) = (self.place.clone(), self.commit.clone(), job.content.clone());
            self.tasks.spawn(async move {
                let named = blocking(move || steps::finish_large(&place, &commit, &content, &part)).await;
                (index, Out::Named(named.and_then(|n| n)))
            });
            return Ok(());
        }
        if std::mem::take(&mut large.resumed) {
            // What an earlier life wrote down may be wrong where the bytes are right.
            tracing::info!(
                "{} is hashed from its beginning: what was known of it does not fit",
                job.target.path
            );
            return self.follow(index);
        }
        job.faults.damaged += 1;
        if job.faults.damaged > 1 {
            part.discard();
            return Err(damaged(job, got));
        }
        tracing::warn!("{} arrived damaged and is fetched again", job.target.path);
        self.begin_anew(index)
    }

    /// Nothing of a large file counts; no connection is at it.
    pub(super) fn begin_anew(&mut self, index: usize) -> Result<(), FetchError> {
        let Some(job) = self.jobs.get_mut(index) else { return Ok(()) };
        forget_source(job);
        let Stage::Large(large) = &mut job.stage else { return Ok(()) };
        large.anew = false;
        large.resumed = false;
        large.part.start_over().map_err(|e| failed(&large.part.path, &e))?;
        large.portions.start_over();
        self.follow(index)
    }

    /// Hashes a large file from its beginning.
    pub(super) fn follow(&mut self, index: usize) -> Result<(), FetchError> {
        let (_, follow) = self.threads()?;
        let Some(job) = self.jobs.get(index) else { return Ok(()) };
        let Stage::Large(large) = &job.stage else { return Ok(()) };
        let digest = Digest::new(&job.content.hash, job.content.size);
        let _ = follow.send(Follow::Leave { job: index });
        let _ = follow.send(Follow::Begin { job: index, part: large.part.clone(), digest });
        Ok(())
    }
}
