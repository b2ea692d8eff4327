//! One download under way: what is handed to which connection, and what is made of how that ended.
//!
//! One task owns all of this; connections, the disk and the hash are tasks and threads that tell it what happened.

use std::collections::VecDeque;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::Sender;
use std::time::Duration;

use domain::download::climb::Climb;
use domain::download::portion::{self, Portions};
use domain::download::{Span, meter::Meter, patience};
use tokio::sync::{mpsc, watch};
use tokio::task::{JoinSet, spawn_blocking};
use tokio::time::{Instant, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use super::ask::Trouble;
use super::follow::{self, Follow, Hashed};
use super::get::{Ended, Line, Note, Portion};
use super::jobs::{Job, Large, Server, Stage, jobs};
use super::layout::{Lock, Place, failed, free};
use super::part::Part;
use super::settle;
use super::steps::{self, Begun, There};
use super::write::{Broken, Writer};
use super::{FetchError, Fetched, Progress, RateLimit, State, Tuning, Wanted};
use crate::hub::{Hub, HubError};

const TICK: Duration = Duration::from_millis(150);
/// What another program holds is looked at again after this.
const HELD: Duration = Duration::from_millis(250);
/// Answers that are none of a Hub's, in a row, of one file.
const MOST_STRANGE: u32 = 4;
/// Addresses that were refused, in a row, of one file.
const MOST_EXPIRED: u32 = 5;
/// Other content than a moment ago, in a row, of one file.
const MOST_MIXED: u32 = 3;
/// Large files that are open at a time.
const MOST_OPEN: usize = 6;
/// How long the end of a download waits for the disk.
const LAST_FLUSH: Duration = Duration::from_secs(3);
/// What a small file costs on a disk beside its bytes.
const CRUMB: u64 = 4096;

pub(crate) struct Engine {
    line: Line,
    place: Place,
    commit: Arc<str>,
    wanted: Wanted,
    tuning: Tuning,
    progress: watch::Sender<Progress>,
    jobs: Vec<Job>,
    small: VecDeque<usize>,
    large: VecDeque<usize>,
    /// Large ones that are being opened, and those that are open.
    opening: usize,
    open: Vec<usize>,
    /// Not done yet.
    remaining: usize,
    /// Another program is at these, which are looked at again then.
    held: Vec<(Instant, usize)>,
    tasks: JoinSet<(usize, Out)>,
    notes: mpsc::UnboundedReceiver<Note>,
    hashes: mpsc::UnboundedReceiver<Hashed>,
    hashed: mpsc::UnboundedSender<Hashed>,
    /// The two threads, once there is a large file.
    threads: Option<(Writer, Sender<Follow>)>,
    climb: Climb,
    meter: Meter,
    connections: u32,
    /// In a row, without a byte; and why the last one was.
    failures: u32,
    why: String,
    /// Nothing is asked for before that.
    pause: Option<Instant>,
    began: Instant,
    /// When a byte came last, and how many had come by then.
    gained: (Instant, u64),
    flushed: Instant,
    files_there: usize,
}

enum Out {
    Begun(Result<Begun, FetchError>),
    Small { bytes: Vec<u8>, result: Result<Small, Failure> },
    Portion(Span, Ended),
    Named(Result<(), FetchError>),
    Flushed(Result<(), Broken>),
}

enum Small {
    Named,
    There,
    Held,
    /// It is another: its hash.
    Damaged(String),
}

enum Failure {
    Trouble(Trouble),
    Disk(FetchError),
}

impl Engine {
    pub(crate) fn new(
        hub: &Hub,
        cache: &Path,
        wanted: &Wanted,
        rate: &Arc<RateLimit>,
        progress: watch::Sender<Progress>,
        tuning: &Tuning,
    ) -> Result<Self, FetchError> {
        let jobs = jobs(wanted)?;
        let place = Place::new(cache, &wanted.repo)?;
        let (told, notes) = mpsc::unbounded_channel();
        let (hashed, hashes) = mpsc::unbounded_channel();
        let now = Instant::now();
        progress.send_replace(Progress::of(wanted));
        Ok(Self {
            line: Line {
                hub: hub.clone(),
                rate: rate.clone(),
                fetched: Arc::new(AtomicU64::new(0)),
                stall: tuning.stall,
                notes: told,
            },
            place,
            commit: wanted.commit.as_str().into(),
            wanted: wanted.clone(),
            climb: Climb::new(tuning.first_connections, tuning.most_connections),
            tuning: tuning.clone(),
            progress,
            jobs,
            small: VecDeque::new(),
            large: VecDeque::new(),
            opening: 0,
            open: Vec::new(),
            remaining: 0,
            held: Vec::new(),
            tasks: JoinSet::new(),
            notes,
            hashes,
            hashed,
            threads: None,
            meter: Meter::default(),
            connections: 0,
            failures: 0,
            why: String::new(),
            pause: None,
            began: now,
            gained: (now, 0),
            flushed: now,
            files_there: 0,
        })
    }

    pub(crate) async fn run(mut self, cancel: &CancellationToken) -> Result<Fetched, FetchError> {
        let worked = tokio::select! {
            biased;
            () = cancel.cancelled() => Err(FetchError::Cancelled),
            worked = self.work() => worked,
        };
        self.report(true);
        let fetched_bytes = self.line.fetched.load(Ordering::Relaxed);
        let done = Fetched {
            snapshot: self.place.snapshot(&self.commit),
            fetched_bytes,
            files_there: self.files_there,
        };
        self.stop().await;
        worked.map(|()| done)
    }

    async fn work(&mut self) -> Result<(), FetchError> {
        let list = self.survey().await?;
        let worked = self.fetch().await;
        let (place, revision, commit) =
            (self.place.clone(), self.wanted.revision.clone(), self.commit.clone());
        let named = match worked {
            Ok(()) => blocking(move || place.name(&revision, &commit)).await?,
            Err(e) => Err(e),
        };
        if let Some(list) = list {
            list.settle();
        }
        named
    }

    /// What is there already; whether the rest fits.
    async fn survey(&mut self) -> Result<Option<settle::List>, FetchError> {
        let (place, commit) = (self.place.clone(), self.commit.clone());
        let contents: Vec<_> = self.jobs.iter().map(|job| job.content.clone()).collect();
        let (there, list) = blocking(move || {
            place.prepare(&commit)?;
            settle::recover(&place);
            let there: Vec<There> =
                contents.iter().map(|c| steps::look(&place, &commit, c)).collect::<Result<_, _>>()?;
            let missing = || contents.iter().zip(&there).filter(|(_, t)| **t != There::All);
            let needed = missing().map(|(content, there)| match there {
                There::All => 0,
                There::Some { held, .. } => content.size - held + CRUMB,
            });
            let needed = needed.fold(0, u64::saturating_add);
            if let Some(free) = free(&place.folder).filter(|free| *free < needed) {
                return Err(FetchError::DiskFull { needed, free });
            }
            let mut named = missing().map(|(content, _)| (&content.hash, content.size)).peekable();
            let list = match named.peek() {
                None => None,
                Some(_) => Some(settle::List::write(&place, named).map_err(|e| failed(&place.own(), &e))?),
            };
            Ok((there, list))
        })
        .await??;
        for (index, there) in there.into_iter().enumerate() {
            let Some(job) = self.jobs.get_mut(index) else { continue };
            match there {
                There::All => {
                    job.stage = Stage::Done;
                    self.files_there += job.files.len();
                }
                There::Some { landed, .. } => {
                    self.remaining += 1;
                    job.left = landed;
                    let queue = if job.is_small() { &mut self.small } else { &mut self.large };
                    queue.push_back(index);
                }
            }
        }
        Ok(list)
    }

    async fn fetch(&mut self) -> Result<(), FetchError> {
        let mut ticks = interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        self.gained.0 = Instant::now();
        while self.remaining > 0 {
            self.hand_out()?;
            tokio::select! {
                Some(note) = self.notes.recv() => self.note(note),
                Some(hashed) = self.hashes.recv() => self.hashed(hashed)?,
                Some(ended) = self.tasks.join_next() => match ended {
                    Ok((job, out)) => self.ended(job, out)?,
                    Err(e) => return Err(FetchError::Io { path: self.place.folder.clone(), why: e.to_string() }),
                },
                _ = ticks.tick() => self.tick()?,
            }
        }
        Ok(())
    }

    fn hand_out(&mut self) -> Result<(), FetchError> {
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

    fn open(&mut self, index: usize) {
        let Some(job) = self.jobs.get_mut(index) else { return };
        job.stage = Stage::Opening;
        self.opening += 1;
        let (place, commit, content) = (self.place.clone(), self.commit.clone(), job.content.clone());
        self.tasks.spawn(async move {
            let begun = blocking(move || steps::begin(&place, &commit, &content)).await;
            (index, Out::Begun(begun.and_then(|b| b)))
        });
    }

    fn fetch_small(&mut self, index: usize) {
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
    fn fetch_portion(&mut self) -> Result<bool, FetchError> {
        let speed = self.meter.per_second().map(|s| s / f64::from(self.connections.max(1)));
        let allowed = self.climb.connections();
        let (writer, _) = self.threads()?;
        for index in self.open.iter().copied() {
            let Some(job) = self.jobs.get_mut(index) else { continue };
            let Stage::Large(large) = &mut job.stage else { continue };
            let alone = match large.server {
                _ if large.anew => continue,
                Server::Asking => continue,
                Server::Unknown => true,
                Server::NoRanges if job.connections > 0 => continue,
                Server::NoRanges => true,
                Server::Ranges => false,
            };
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

    fn threads(&mut self) -> Result<(Writer, Sender<Follow>), FetchError> {
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

    fn note(&mut self, note: Note) {
        let Some(Stage::Large(large)) = self.jobs.get_mut(note.job).map(|job| &mut job.stage) else { return };
        if !large.blind {
            large.etag = note.source.etag.clone();
        }
        large.source = Some(note.source);
        if note.whole {
            large.server = Server::NoRanges;
            large.portions.take_all();
        } else if large.server != Server::NoRanges {
            large.server = Server::Ranges;
        }
    }

    fn ended(&mut self, index: usize, out: Out) -> Result<(), FetchError> {
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

    fn begun(&mut self, index: usize, begun: Begun) -> Result<(), FetchError> {
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

    fn hold(&mut self, index: usize) {
        if let Some(job) = self.jobs.get_mut(index) {
            job.stage = Stage::Due;
            self.held.push((Instant::now() + HELD, index));
        }
    }

    fn done(&mut self, index: usize) {
        if let Some(job) = self.jobs.get_mut(index) {
            job.stage = Stage::Done;
            job.begun = Vec::new();
            self.remaining -= 1;
        }
    }

    fn small_ended(
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

    fn portion_ended(&mut self, index: usize, span: Span, ended: Ended) -> Result<(), FetchError> {
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

    fn went_well(&mut self, index: usize) {
        self.failures = 0;
        if let Some(job) = self.jobs.get_mut(index) {
            job.faults.strange = 0;
            job.faults.expired = 0;
            job.faults.mixed = 0;
        }
    }

    /// A connection ended before its end; `gained`: not without bringing something.
    fn trouble(&mut self, index: usize, trouble: Trouble, gained: bool) -> Result<(), FetchError> {
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

    fn wait(&mut self, wait: Duration, why: &HubError) {
        let until = Instant::now() + wait;
        self.pause = self.pause.max(Some(until));
        self.why = why.to_string();
    }

    fn disk(&self, broken: &Broken) -> FetchError {
        self.with_need(failed(&broken.path, &broken.error()))
    }

    /// A full disk, with how much is still to come.
    fn with_need(&self, error: FetchError) -> FetchError {
        match error {
            FetchError::DiskFull { free, .. } => {
                // What the kernel refused it does not have, whatever it says.
                let needed = self.to_come();
                FetchError::DiskFull { needed, free: free.min(needed.saturating_sub(1)) }
            }
            error => error,
        }
    }

    /// Bytes that are not on the disk yet.
    fn to_come(&self) -> u64 {
        self.jobs
            .iter()
            .map(|job| job.content.size.saturating_sub(job.bytes().0))
            .fold(0, u64::saturating_add)
    }

    fn hashed(&mut self, hashed: Hashed) -> Result<(), FetchError> {
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
    fn begin_anew(&mut self, index: usize) -> Result<(), FetchError> {
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
    fn follow(&mut self, index: usize) -> Result<(), FetchError> {
        let (_, follow) = self.threads()?;
        let Some(job) = self.jobs.get(index) else { return Ok(()) };
        let Stage::Large(large) = &job.stage else { return Ok(()) };
        let digest = super::digest::Digest::new(&job.content.hash, job.content.size);
        let _ = follow.send(Follow::Leave { job: index });
        let _ = follow.send(Follow::Begin { job: index, part: large.part.clone(), digest });
        Ok(())
    }

    fn tick(&mut self) -> Result<(), FetchError> {
        let now = Instant::now();
        let arrived = self.line.fetched.load(Ordering::Relaxed);
        if arrived > self.gained.1 {
            self.gained = (self.gained.0.max(now), arrived);
        }
        let elapsed = self.began.elapsed();
        self.climb.look(elapsed, arrived, self.connections >= self.climb.connections());
        self.meter.look(elapsed, arrived);
        let mut due = Vec::new();
        self.held.retain(|(at, index)| {
            let is_due = *at <= now;
            if is_due {
                due.push(*index);
            }
            !is_due
        });
        for index in due {
            let small = self.jobs.get(index).is_some_and(Job::is_small);
            if small { self.small.push_back(index) } else { self.large.push_front(index) }
        }
        if self.flushed.elapsed() >= self.tuning.flush {
            self.flushed = now;
            self.look_at_the_disk()?;
        }
        self.report(false);
        Ok(())
    }

    /// Flushes what has landed, and sees that the rest still fits.
    fn look_at_the_disk(&mut self) -> Result<(), FetchError> {
        let needed = self.to_come();
        if let Some(free) = free(&self.place.folder).filter(|free| *free < needed) {
            return Err(FetchError::DiskFull { needed, free });
        }
        for (index, part) in self.open_parts() {
            self.tasks.spawn(async move {
                let path = part.path.clone();
                let flushed = spawn_blocking(move || part.flush()).await;
                let flushed = flushed.unwrap_or_else(|e| Err(std::io::Error::other(e)));
                (index, Out::Flushed(flushed.map_err(|e| Broken::of(&path, &e))))
            });
        }
        Ok(())
    }

    fn open_parts(&self) -> Vec<(usize, Arc<Part>)> {
        let open = self.jobs.iter().enumerate().filter_map(|(index, job)| match &job.stage {
            Stage::Large(large) => Some((index, large.part.clone())),
            _ => None,
        });
        open.collect()
    }

    /// Ends everything, and lets go of the locks; what has landed is brought to the disk if that does not take long.
    async fn stop(mut self) {
        self.tasks.abort_all();
        while self.tasks.join_next().await.is_some() {}
        let parts: Vec<Arc<Part>> = self.open_parts().into_iter().map(|(_, part)| part).collect();
        let weak: Vec<_> = parts.iter().map(Arc::downgrade).collect();
        let deadline = Instant::now() + LAST_FLUSH;
        if let (Some((writer, _)), Some(part)) = (self.threads.take(), parts.first()) {
            let _ = tokio::time::timeout_at(deadline, writer.mark(part)).await;
        }
        let flushed = spawn_blocking(move || {
            for part in parts {
                // Who reads the journal later believes what is in it; a flush that failed is not.
                let _ = part.flush();
            }
        });
        let _ = tokio::time::timeout_at(deadline, flushed).await;
        self.jobs.clear();
        while weak.iter().any(|part| part.strong_count() > 0) && Instant::now() < deadline {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    fn state(&self) -> State {
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

    fn report(&mut self, last: bool) {
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

/// The address is found anew with the next request.
fn forget_source(job: &mut Job) {
    if let Stage::Large(large) = &mut job.stage {
        large.source = None;
    }
}

fn damaged(job: &Job, got: String) -> FetchError {
    FetchError::Damaged { file: job.target.path.clone(), expected: job.content.hash.hex().to_owned(), got }
}

/// From 0 to 1. Without the system's randomness everybody waits equally long, which is no reason to fail.
fn chance() -> f64 {
    f64::from(getrandom::u32().unwrap_or(u32::MAX / 2)) / f64::from(u32::MAX)
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, FetchError> {
    spawn_blocking(work).await.map_err(|e| FetchError::Io { path: "disk".into(), why: e.to_string() })
}
