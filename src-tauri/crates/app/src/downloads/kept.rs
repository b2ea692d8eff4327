//! What of the line outlives the controller: written with each change, read at the start.

use std::collections::BTreeSet;
use std::sync::PoisonError;
use std::time::Duration;

use domain::download::queue::{Event, Id, Phase, Queue, Then};
use store::database::{DownloadRecord, FileRecord};
use tokio::time::{Instant, sleep, sleep_until};

use super::item::Item;
use super::line::Line;

/// After a refusal of the database, how long until the next try; doubled up to the second.
const AGAIN: (Duration, Duration) = (Duration::from_secs(5), Duration::from_secs(60));

/// A database that another program holds for long keeps nobody's request waiting longer.
const WRITE_PATIENCE: Duration = Duration::from_secs(8);

type Kept = (DownloadRecord, Option<Vec<FileRecord>>);

impl Line {
    /// Writes what changed. A database that is locked or full holds nothing up: it is tried again, and until then the
    /// line goes on from memory.
    pub(super) async fn keep_writing(self) {
        let mut pause: Option<Duration> = None;
        loop {
            match pause {
                Some(pause) => sleep_until(Instant::now() + pause).await,
                None => self.inner.write.notified().await,
            }
            if self.flush().await {
                if pause.take().is_some() {
                    tracing::info!("Downloads are written down again.");
                }
            } else {
                if pause.is_none() {
                    tracing::warn!(
                        "The database does not take the downloads for now; they go on without it."
                    );
                }
                pause = Some(pause.map_or(AGAIN.0, |last| (last * 2).min(AGAIN.1)));
            }
        }
    }

    /// Writes what changed, or gives up soon: then it is tried again later.
    pub(super) async fn written(&self) {
        // In a task of its own: what it has taken out to write must not be dropped with whoever waits here.
        let line = self.clone();
        let flush = tokio::spawn(async move { line.flush().await });
        if !matches!(tokio::time::timeout(WRITE_PATIENCE, flush).await, Ok(Ok(true))) {
            self.inner.write.notify_one();
        }
    }

    /// Whether the database took all of it.
    pub(super) async fn flush(&self) -> bool {
        let _one = self.inner.writing.lock().await;
        if !*self.inner.recalled.borrow() {
            return false;
        }
        let (records, files, gone) = {
            let mut desk = self.desk();
            let dirty = std::mem::take(&mut desk.dirty);
            let files_dirty = std::mem::take(&mut desk.files_dirty);
            let gone = std::mem::take(&mut desk.gone);
            let records: Vec<DownloadRecord> =
                dirty.iter().filter_map(|id| desk.items.get(id)?.record_in(&desk.queue)).collect();
            // What is about to go is gone for the next run, whatever happens before it has ended.
            let going = dirty
                .iter()
                .filter(|id| matches!(desk.queue.phase(**id), Some(Phase::Stopping(Then::Remove { .. }))));
            let gone: BTreeSet<Id> = gone.into_iter().chain(going.copied()).collect();
            let files: Vec<(Id, Vec<FileRecord>)> = files_dirty
                .iter()
                .filter_map(|id| Some((*id, desk.items.get(id)?.file_records()?)))
                .collect();
            let files = files.into_iter().filter(|(id, _)| !gone.contains(id)).collect::<Vec<_>>();
            (records, files, gone)
        };
        if records.is_empty() && files.is_empty() && gone.is_empty() {
            return true;
        }
        let database = self.inner.database.clone();
        let ids: BTreeSet<Id> = records.iter().map(|r| r.id).collect();
        let file_ids: BTreeSet<Id> = files.iter().map(|(id, _)| *id).collect();
        let going: Vec<Id> = gone.iter().copied().collect();
        let done = tokio::task::spawn_blocking(move || {
            let mut database = database.lock().unwrap_or_else(PoisonError::into_inner);
            database.keep_downloads(&records, &going)?;
            files.iter().try_for_each(|(id, files)| database.keep_download_files(*id, files))
        });
        let outcome = done.await;
        if let Ok(Ok(())) = outcome {
            return true;
        }
        if let Ok(Err(error)) = outcome {
            tracing::debug!("Downloads are not written down for now: {error}");
        }
        let mut desk = self.desk();
        desk.dirty.extend(ids);
        desk.files_dirty.extend(file_ids);
        desk.gone.extend(gone);
        let there: BTreeSet<Id> = desk.items.keys().copied().collect();
        desk.dirty.retain(|id| there.contains(id));
        desk.files_dirty.retain(|id| there.contains(id));
        false
    }

    /// Returns when earlier runs were heard, or says that they could not be for now.
    pub(super) async fn is_recalled(&self) -> bool {
        let mut recalled = self.inner.recalled.subscribe();
        tokio::time::timeout(WRITE_PATIENCE, recalled.wait_for(|r| *r)).await.is_ok_and(|r| r.is_ok())
    }

    /// What earlier runs of the controller have left: what was under way goes on. A database that cannot be read is
    /// asked again until it can: its numbers must not be given twice.
    pub(crate) async fn recall(&self) {
        let mut pause = AGAIN.0;
        let (next, kept) = loop {
            match self.kept().await {
                Ok(kept) => break kept,
                Err(why) => {
                    tracing::warn!("Downloads of earlier cannot be read for now: {why}");
                    sleep(pause).await;
                    pause = (pause * 2).min(AGAIN.1);
                }
            }
        };
        {
            let mut desk = self.desk();
            desk.next = desk.next.max(next);
            for (record, files) in kept {
                let (item, phase) = Item::of_record(record, files);
                let (id, repo) = (item.id, item.asked.repo.clone());
                desk.items.insert(id, item);
                self.apply_on(&mut desk, Event::Added { id, repo, phase });
            }
        }
        self.inner.recalled.send_replace(true);
        self.measure().await;
    }

    /// The next number, and every download with its files.
    async fn kept(&self) -> Result<(Id, Vec<Kept>), String> {
        let database = self.inner.database.clone();
        let read = tokio::task::spawn_blocking(move || {
            let database = database.lock().unwrap_or_else(PoisonError::into_inner);
            let next = database.next_download()?;
            // A list of files that cannot be read is asked for again; its download is not lost with it.
            let kept = database.downloads()?.into_iter().map(|record| {
                let files = database.download_files(record.id).unwrap_or_default();
                (record, files)
            });
            Ok::<_, store::database::DatabaseError>((next, kept.collect()))
        });
        read.await.map_err(|e| e.to_string())?.map_err(|e| e.to_string())
    }

    /// The controller ends: the last figures are written. What is under way is not told to stop: it is safe at every
    /// moment, and the next run of the controller takes it up.
    pub(crate) async fn put_away(&self) {
        {
            let mut desk = self.desk();
            let under_way: Vec<Id> =
                desk.items.values().filter(|i| i.attempt.is_some()).map(|i| i.id).collect();
            desk.dirty.extend(under_way);
        }
        self.written().await;
    }
}

impl Item {
    /// None for one that is about to go.
    fn record_in(&self, queue: &Queue) -> Option<DownloadRecord> {
        match queue.phase(self.id)? {
            Phase::Stopping(Then::Remove { .. }) => None,
            phase => Some(self.record(phase)),
        }
    }
}
