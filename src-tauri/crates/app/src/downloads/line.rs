//! The line of downloads: the queue's orders carried out, each change written down, and all of it readable at once.
//!
//! `domain`'s queue decides; this holds it behind one lock that nothing waits under. Figures are read from the
//! attempts when somebody asks for them: with nobody looking, nothing is computed and nobody is woken.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use api::shapes::status::Severity;
use domain::download::queue::{End, Event, Id, Order, Phase, Queue, Then};
use jiff::Timestamp;
use models::download::{Progress, RateLimit};
use store::database::Database;
use tokio::sync::{Notify, mpsc, watch};
use tokio::time::{Instant, sleep, timeout_at};
use tokio_util::sync::CancellationToken;

use super::ends::{self, Ending};
use super::item::{Attempt, Item};
use super::show;
use super::source::{Asked, Found, Source};

/// How often the figures of a running download are written down. What a crash forgets of them is only figures.
const WRITE: Duration = Duration::from_secs(5);
/// So many that are done stay in the list.
const DONE_KEPT: usize = 50;

/// What the line has to tell.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Told {
    /// For Activity.
    Happened(Severity, String),
    /// All files of a repository are here.
    Arrived(String),
    /// A download goes on no more by itself.
    Failed { repo: String, title: String },
}

/// Clones are the same line.
#[derive(Clone)]
pub(crate) struct Line {
    pub(super) inner: Arc<Inner>,
}

pub(super) struct Inner {
    pub(super) source: Arc<dyn Source>,
    pub(super) rate: Arc<RateLimit>,
    pub(super) database: Arc<Mutex<Database>>,
    told: mpsc::UnboundedSender<Told>,
    began: Instant,
    desk: Mutex<Desk>,
    /// Something is to be written.
    pub(super) write: Notify,
    /// One writes at a time, so that an older state never comes after a younger one.
    pub(super) writing: tokio::sync::Mutex<()>,
    /// Whether earlier runs were heard: before that no number can be given, and nothing may be written.
    pub(super) recalled: watch::Sender<bool>,
    /// One is taken up at a time, so that two that ask for the same at once get the same.
    pub(super) taking_up: tokio::sync::Mutex<()>,
    /// The clock must be looked at anew.
    due: Notify,
    /// Something changed that a face shows, besides figures.
    pub(super) changed: Notify,
    /// A download came to an end, for good or for now.
    pub(super) ended: Notify,
    has_changed: AtomicBool,
}

#[derive(Default)]
pub(super) struct Desk {
    pub(super) queue: Queue,
    pub(super) items: BTreeMap<Id, Item>,
    pub(super) next: Id,
    pub(super) dirty: BTreeSet<Id>,
    pub(super) files_dirty: BTreeSet<Id>,
    pub(super) gone: BTreeSet<Id>,
    /// As they were measured last.
    pub(super) free: Option<u64>,
    pub(super) partial: u64,
    pub(super) partial_days: u32,
    pub(super) then_start: Option<String>,
}

impl Line {
    pub(crate) fn new(
        source: Arc<dyn Source>,
        database: Arc<Mutex<Database>>,
        told: mpsc::UnboundedSender<Told>,
    ) -> Self {
        let desk = Desk { next: 1, partial_days: super::PARTIAL_DAYS, ..Desk::default() };
        let line = Self {
            inner: Arc::new(Inner {
                source,
                rate: Arc::new(RateLimit::new(None)),
                database,
                told,
                began: Instant::now(),
                desk: Mutex::new(desk),
                write: Notify::new(),
                writing: tokio::sync::Mutex::new(()),
                recalled: watch::Sender::new(false),
                taking_up: tokio::sync::Mutex::new(()),
                due: Notify::new(),
                changed: Notify::new(),
                ended: Notify::new(),
                has_changed: AtomicBool::new(false),
            }),
        };
        tokio::spawn(line.clone().keep_time());
        tokio::spawn(line.clone().keep_writing());
        line
    }

    pub(super) fn desk(&self) -> MutexGuard<'_, Desk> {
        self.inner.desk.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn now(&self) -> Duration {
        self.inner.began.elapsed()
    }

    pub(super) fn tell(&self, told: Told) {
        let _ = self.inner.told.send(told);
    }

    /// Whether something but figures has changed since the last call.
    pub(super) fn take_changed(&self) -> bool {
        self.inner.has_changed.swap(false, Ordering::Relaxed)
    }

    pub(super) fn show_again(&self) {
        self.inner.has_changed.store(true, Ordering::Relaxed);
        self.inner.changed.notify_one();
    }

    /// Takes an event in and sees to its orders.
    pub(super) fn apply(&self, event: Event) {
        let mut desk = self.desk();
        self.apply_on(&mut desk, event);
    }

    pub(super) fn apply_on(&self, desk: &mut Desk, event: Event) {
        let before: BTreeMap<Id, Option<Phase>> =
            desk.items.keys().map(|id| (*id, desk.queue.phase(*id))).collect();
        let orders = desk.queue.apply(event, self.now());
        for order in orders {
            self.see_to(desk, order);
        }
        for (id, phase) in before {
            let now = desk.queue.phase(id);
            if now != phase && now.is_some() {
                desk.dirty.insert(id);
                if matches!(now, Some(Phase::Queued | Phase::Active)) && matches!(phase, Some(Phase::Failed))
                {
                    desk.forgive(id);
                }
            }
        }
        self.inner.due.notify_one();
        self.inner.write.notify_one();
        self.show_again();
    }

    fn see_to(&self, desk: &mut Desk, order: Order) {
        match order {
            Order::Begin(id) => {
                let cancel = CancellationToken::new();
                let Some(item) = desk.items.get_mut(&id) else { return };
                item.attempt = Some(Attempt { cancel: cancel.clone(), progress: None });
                item.finished = None;
                tokio::spawn(self.clone().carry(id, cancel));
            }
            Order::Stop(id) => {
                if let Some(attempt) = desk.items.get(&id).and_then(|i| i.attempt.as_ref()) {
                    attempt.cancel.cancel();
                }
            }
            Order::Discard(id) => self.discard(desk, id),
            Order::Remove(id) => {
                desk.items.remove(&id);
                desk.dirty.remove(&id);
                desk.files_dirty.remove(&id);
                desk.gone.insert(id);
            }
        }
    }

    /// Deletes what a download left unfinished, but for files that another one is about too, also one that is asked for
    /// right after.
    fn discard(&self, desk: &Desk, id: Id) {
        let Some((repo, mut hashes)) = desk.items.get(&id).and_then(|item| {
            let files = &item.found.as_ref()?.files;
            let hashes: BTreeSet<String> = files.iter().map(|f| f.hash.hex().to_owned()).collect();
            Some((item.asked.repo.clone(), hashes))
        }) else {
            return;
        };
        let line = self.clone();
        tokio::spawn(async move {
            let _one = line.inner.taking_up.lock().await;
            line.desk().keep_wanted(&repo, &mut hashes);
            if hashes.is_empty() {
                return;
            }
            let (source, hashes) = (line.inner.source.clone(), hashes.into_iter().collect::<Vec<_>>());
            let _ = tokio::task::spawn_blocking(move || source.discard(&repo, &hashes)).await;
            line.measure().await;
        });
    }

    /// One attempt at a download, from its beginning to its end.
    async fn carry(self, id: Id, cancel: CancellationToken) {
        let ending = self.attempt(id, &cancel).await;
        self.settle(id, ending);
        self.inner.ended.notify_one();
        self.inner.write.notify_one();
        self.measure().await;
    }

    /// Writes the end of an attempt into the line, and tells of it where it is the end of the download.
    fn settle(&self, id: Id, ending: Ending) {
        let mut desk = self.desk();
        let Some(item) = desk.items.get_mut(&id) else { return };
        let mut moved = false;
        if let Some(last) = item.progress() {
            item.done = last.done_bytes;
            item.fetched = item.fetched.saturating_add(last.fetched_bytes);
            item.files_done = last.files_done as u64;
            moved = last.fetched_bytes > 0;
            item.last = Some(last);
        }
        item.attempt = None;
        item.problem = ending.problem;
        if ending.list_again {
            item.found = None;
        }
        if ending.end == End::Done {
            item.done = item.total.unwrap_or(item.done);
            item.files_done = item.files_total.unwrap_or(item.files_done);
            item.finished = Some(Timestamp::now());
            item.last = None;
        }
        if moved {
            self.apply_on(&mut desk, Event::Progressed(id));
        }
        self.apply_on(&mut desk, Event::Ended { id, end: ending.end });
        // The queue has the last word: a page that is no Hub's for the tenth time is a failure.
        let phase = desk.queue.phase(id);
        desk.dirty.insert(id);
        let Some(item) = desk.items.get_mut(&id) else { return };
        match phase {
            Some(Phase::Done) => {
                item.problem = None;
                let told = Told::Happened(Severity::Info, show::arrived(item));
                let repo = item.asked.repo.clone();
                self.tell(told);
                self.tell(Told::Arrived(repo));
                desk.thin_out(|event| self.apply_later(event));
            }
            Some(Phase::Failed) => {
                item.finished = Some(Timestamp::now());
                if let Some(problem) = &item.problem {
                    let words = format!("{} could not be downloaded: {}", item.title, problem.message);
                    let words =
                        if problem.next.is_empty() { words } else { format!("{words} {}", problem.next) };
                    self.tell(Told::Happened(Severity::Failure, words));
                }
                self.tell(Told::Failed { repo: item.asked.repo.clone(), title: item.title.clone() });
            }
            _ => {}
        }
    }

    fn apply_later(&self, event: Event) {
        let line = self.clone();
        tokio::spawn(async move { line.apply(event) });
    }

    async fn attempt(&self, id: Id, cancel: &CancellationToken) -> Ending {
        let (asked, found) = {
            let desk = self.desk();
            let Some(item) = desk.items.get(&id) else { return Ending::fine(End::Stopped) };
            (item.pinned(), item.found.clone())
        };
        let found = if let Some(found) = found {
            found
        } else {
            let looked = tokio::select! {
                looked = self.inner.source.look_up(&asked) => looked,
                () = cancel.cancelled() => return Ending::fine(End::Stopped),
            };
            match looked {
                Ok(found) => {
                    self.resolved(id, found.clone());
                    found
                }
                Err(error) => return ends::of_look_up(&error),
            }
        };
        let asked = {
            let desk = self.desk();
            let Some(item) = desk.items.get(&id) else { return Ending::fine(End::Stopped) };
            item.asked.clone()
        };
        let wanted = found.wanted(&asked);
        let (progress, seen) = watch::channel(Progress::of(&wanted));
        if let Some(attempt) = self.desk().items.get_mut(&id).and_then(|i| i.attempt.as_mut()) {
            attempt.progress = Some(seen);
        }
        self.show_again();
        let fetch = self.inner.source.fetch(wanted, &self.inner.rate, progress, cancel.clone());
        tokio::pin!(fetch);
        let ended = loop {
            tokio::select! {
                ended = &mut fetch => break ended,
                () = sleep(WRITE) => {
                    self.desk().dirty.insert(id);
                    self.inner.write.notify_one();
                }
            }
        };
        match ended {
            Ok(_) => Ending::fine(End::Done),
            Err(error) => ends::of_fetch(&error),
        }
    }

    /// The revision is pinned to what it is now.
    fn resolved(&self, id: Id, found: Found) {
        let mut desk = self.desk();
        if let Some(item) = desk.items.get_mut(&id) {
            item.resolved(found);
            desk.dirty.insert(id);
            desk.files_dirty.insert(id);
        }
        drop(desk);
        self.inner.write.notify_one();
        self.show_again();
    }

    /// Puts one into the line, in whatever phase.
    pub(super) fn add(
        &self,
        asked: Asked,
        found: Option<Found>,
        phase: Phase,
        change: impl FnOnce(&mut Item),
    ) -> Id {
        let mut desk = self.desk();
        let id = desk.next;
        desk.next += 1;
        let mut item = Item::new(id, asked, Timestamp::now());
        if let Some(found) = found {
            item.resolved(found);
            desk.files_dirty.insert(id);
        }
        change(&mut item);
        let repo = item.asked.repo.clone();
        desk.items.insert(id, item);
        desk.dirty.insert(id);
        self.apply_on(&mut desk, Event::Added { id, repo, phase });
        id
    }

    pub(super) fn is_active(&self) -> bool {
        self.desk().items.values().any(|i| i.attempt.is_some())
    }

    /// Whether figures moved since the last call.
    pub(super) fn take_moved(&self) -> bool {
        let mut moved = false;
        for item in self.desk().items.values_mut() {
            if let Some(progress) = item.attempt.as_mut().and_then(|a| a.progress.as_mut())
                && progress.has_changed().unwrap_or(false)
            {
                progress.mark_unchanged();
                moved = true;
            }
        }
        moved
    }

    /// Repositories with a download that goes on by itself.
    pub(crate) fn going_on(&self) -> BTreeSet<String> {
        let desk = self.desk();
        let goes_on = |phase: Option<Phase>| {
            matches!(
                phase,
                Some(Phase::Queued | Phase::Active | Phase::Waiting { .. } | Phase::Stopping(Then::Queue))
            )
        };
        let items = desk.items.values().filter(|i| goes_on(desk.queue.phase(i.id)));
        items.map(|i| i.asked.repo.clone()).collect()
    }

    /// Measures what faces are shown of the disk.
    pub(super) async fn measure(&self) {
        let source = self.inner.source.clone();
        let measured = tokio::task::spawn_blocking(move || {
            let partial = source.partials().iter().fold(0, |sum: u64, p| sum.saturating_add(p.bytes));
            (source.free(), partial)
        });
        let Ok((free, partial)) = measured.await else { return };
        {
            let mut desk = self.desk();
            (desk.free, desk.partial) = (free, partial);
        }
        self.show_again();
    }

    /// Wakes what waits for time alone.
    async fn keep_time(self) {
        loop {
            let wake = self.desk().queue.wake(self.now());
            match wake {
                Some(at) => {
                    let _ = timeout_at(self.inner.began + at, self.inner.due.notified()).await;
                    if self.now() >= at {
                        self.apply(Event::Tick);
                    }
                }
                None => self.inner.due.notified().await,
            }
        }
    }
}

impl Desk {
    /// Takes out the files of a repository that a download in the line still wants.
    fn keep_wanted(&self, repo: &str, hashes: &mut BTreeSet<String>) {
        for item in self.items.values().filter(|i| i.asked.repo == repo) {
            if self.queue.phase(item.id) != Some(Phase::Done)
                && let Some(found) = &item.found
            {
                for file in found.files.iter() {
                    hashes.remove(file.hash.hex());
                }
            }
        }
    }

    /// What went wrong with it is no longer so.
    fn forgive(&mut self, id: Id) {
        if let Some(item) = self.items.get_mut(&id) {
            item.problem = None;
            item.finished = None;
        }
    }

    /// The list of what is done does not grow for ever.
    fn thin_out(&self, mut forget: impl FnMut(Event)) {
        let mut done: Vec<(Option<Timestamp>, Id)> = self
            .items
            .values()
            .filter(|i| self.queue.phase(i.id) == Some(Phase::Done))
            .map(|i| (i.finished, i.id))
            .collect();
        done.sort_unstable();
        let many = done.len().saturating_sub(DONE_KEPT);
        done.into_iter().take(many).for_each(|(_, id)| forget(Event::Forget(id)));
    }
}
