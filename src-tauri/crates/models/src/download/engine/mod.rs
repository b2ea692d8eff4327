//! One download under way: what is handed to which connection, and what is made of how that ended.
//!
//! One task owns all of this; connections, the disk and the hash are tasks and threads that tell it what happened.

mod ended;
mod hand_out;
mod report;
mod trouble;

use std::collections::VecDeque;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::Sender;
use std::time::Duration;

use domain::download::climb::Climb;
use domain::download::{Span, meter::Meter};
use tokio::sync::{mpsc, watch};
use tokio::task::{JoinSet, spawn_blocking};
use tokio::time::{Instant, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use super::ask::Trouble;
use super::follow::{Follow, Hashed};
use super::get::{Ended, Line, Note};
use super::jobs::{Job, Stage, jobs};
use super::layout::{Place, failed, free};
use super::part::Part;
use super::settle;
use super::steps::{self, Begun, There};
use super::write::{Broken, Writer};
use super::{FetchError, Fetched, Progress, RateLimit, Tuning, Wanted};
use crate::hub::Hub;

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
        let revision = self.wanted.revision.clone();
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
            place.name_ahead(&revision, &commit)?;
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

    /// Bytes that are not on the disk yet.
    fn to_come(&self) -> u64 {
        self.jobs
            .iter()
            .map(|job| job.content.size.saturating_sub(job.bytes().0))
            .fold(0, u64::saturating_add)
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
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, FetchError> {
    spawn_blocking(work).await.map_err(|e| FetchError::Io { path: "disk".into(), why: e.to_string() })
}
