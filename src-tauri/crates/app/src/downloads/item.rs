//! One download as the controller remembers it.

use std::sync::Arc;

use api::shapes::hub::HubProblem;
use domain::download::queue::{Id, Phase, Then};
use jiff::Timestamp;
use models::download::Progress;
use models::hub::{Hash, RepoFile};
use store::database::{DownloadPhase, DownloadRecord, FileRecord};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::source::{Asked, Found};

pub(super) struct Item {
    pub(super) id: Id,
    pub(super) asked: Asked,
    /// Once it is resolved. The commit stays what it was then.
    pub(super) found: Option<Found>,
    /// Of an earlier run, whose list of files is not there any more.
    pub(super) commit: Option<String>,
    pub(super) model: String,
    pub(super) title: String,
    /// Why it failed, or what it waits for.
    pub(super) problem: Option<HubProblem>,
    pub(super) total: Option<u64>,
    pub(super) done: u64,
    /// In attempts that ended.
    pub(super) fetched: u64,
    pub(super) files_total: Option<u64>,
    pub(super) files_done: u64,
    pub(super) added: Timestamp,
    pub(super) finished: Option<Timestamp>,
    /// While an attempt is under way.
    pub(super) attempt: Option<Attempt>,
    /// How far the last attempt came.
    pub(super) last: Option<Progress>,
}

pub(super) struct Attempt {
    pub(super) cancel: CancellationToken,
    /// None while the Hub is asked what there is to fetch.
    pub(super) progress: Option<watch::Receiver<Progress>>,
}

impl Item {
    pub(super) fn new(id: Id, asked: Asked, now: Timestamp) -> Self {
        Self {
            id,
            model: asked.repo.clone(),
            title: crate::discover::title(&asked.repo),
            asked,
            found: None,
            commit: None,
            problem: None,
            total: None,
            done: 0,
            fetched: 0,
            files_total: None,
            files_done: 0,
            added: now,
            finished: None,
            attempt: None,
            last: None,
        }
    }

    pub(super) fn resolved(&mut self, found: Found) {
        self.total = Some(found.total());
        self.files_total = Some(found.files.len() as u64);
        self.commit = Some(found.commit.clone());
        self.model.clone_from(&found.model);
        self.title.clone_from(&found.title);
        self.found = Some(found);
    }

    /// What is asked for when its list of files is read again: what it was pinned to.
    pub(super) fn pinned(&self) -> Asked {
        match &self.commit {
            Some(commit) => Asked { revision: commit.clone(), ..self.asked.clone() },
            None => self.asked.clone(),
        }
    }

    /// How far it is now.
    pub(super) fn progress(&self) -> Option<Progress> {
        let live = self.attempt.as_ref().and_then(|a| a.progress.as_ref());
        live.map(|progress| progress.borrow().clone())
    }

    /// Takes the figures of the attempt over, whether it goes on or not.
    pub(super) fn record(&self, phase: Phase) -> DownloadRecord {
        // Without the files: they may be many, and only sums are kept.
        let (mut done, mut fetched, mut files_done) = (self.done, self.fetched, self.files_done);
        if let Some(live) = self.attempt.as_ref().and_then(|a| a.progress.as_ref()) {
            let live = live.borrow();
            done = live.done_bytes;
            fetched = fetched.saturating_add(live.fetched_bytes);
            files_done = live.files_done as u64;
        }
        DownloadRecord {
            id: self.id,
            repo: self.asked.repo.clone(),
            revision: self.asked.revision.clone(),
            variant: self.asked.variant.clone(),
            patterns: self.asked.patterns.clone(),
            commit: self.commit.clone(),
            model: self.model.clone(),
            title: self.title.clone(),
            phase: kept_phase(phase),
            problem: self.problem.as_ref().and_then(|p| serde_json::to_value(p).ok()),
            total_bytes: self.total,
            done_bytes: done,
            fetched_bytes: fetched,
            files_total: self.files_total,
            files_done,
            added: self.added,
            finished: self.finished,
        }
    }

    /// One of an earlier run, and where it stood.
    pub(super) fn of_record(record: DownloadRecord, files: Option<Vec<FileRecord>>) -> (Self, Phase) {
        let phase = match record.phase {
            DownloadPhase::Wanted => Phase::Queued,
            DownloadPhase::Paused => Phase::Paused,
            DownloadPhase::Failed => Phase::Failed,
            DownloadPhase::Done => Phase::Done,
        };
        let asked = Asked {
            repo: record.repo,
            revision: record.revision,
            variant: record.variant,
            patterns: record.patterns,
        };
        let found = files.zip(record.commit.clone()).and_then(|(files, commit)| {
            let files: Option<Vec<RepoFile>> = files.into_iter().map(file_of).collect();
            Some(Found {
                commit,
                variant: asked.variant.clone(),
                model: record.model.clone(),
                title: record.title.clone(),
                files: Arc::new(files?),
            })
        });
        let item = Self {
            found,
            commit: record.commit,
            model: record.model,
            title: record.title,
            problem: record.problem.and_then(|p| serde_json::from_value(p).ok()),
            total: record.total_bytes,
            done: record.done_bytes,
            fetched: record.fetched_bytes,
            files_total: record.files_total,
            files_done: record.files_done,
            finished: record.finished,
            ..Self::new(record.id, asked, record.added)
        };
        (item, phase)
    }

    pub(super) fn file_records(&self) -> Option<Vec<FileRecord>> {
        let files = self.found.as_ref()?.files.iter();
        Some(
            files
                .map(|f| FileRecord { path: f.path.clone(), size: f.size, hash: f.hash.hex().to_owned() })
                .collect(),
        )
    }
}

fn kept_phase(phase: Phase) -> DownloadPhase {
    match phase {
        Phase::Queued | Phase::Active | Phase::Waiting { .. } | Phase::Stopping(Then::Queue) => {
            DownloadPhase::Wanted
        }
        Phase::Paused | Phase::Stopping(Then::Pause | Then::Remove { .. }) => DownloadPhase::Paused,
        Phase::Failed => DownloadPhase::Failed,
        Phase::Done => DownloadPhase::Done,
    }
}

/// None for what was never written by us: the list is read again then.
fn file_of(kept: FileRecord) -> Option<RepoFile> {
    let hex = kept.hash.bytes().all(|b| b.is_ascii_hexdigit());
    let hash = match kept.hash.len() {
        64 if hex => Hash::Sha256(kept.hash),
        40 if hex => Hash::Git(kept.hash),
        _ => return None,
    };
    models::cache::is_repo_path(&kept.path).then_some(RepoFile { path: kept.path, size: kept.size, hash })
}
