//! The line of downloads with a played engine: every end, every restart, every fault of the database.

mod ends;
mod figures;
mod kept;
mod pulling;
mod then_start;

use std::collections::{BTreeMap, VecDeque};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, SystemTime};

use api::Code;
use api::shapes::downloads::{Download, DownloadState, PullRequest, Remedy};
use api::shapes::status::Severity;
use async_trait::async_trait;
use models::download::{FetchError, Fetched, Partial, Progress, RateLimit, State, Wanted};
use models::hub::{Hash, HubError, RepoFile};
use store::database::Database;
use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;

use super::line::{Line, Told};
use super::source::{Asked, Found, Here, Nothing, Source};

/// A Hub and an engine that do what a test says.
#[derive(Default)]
struct Played {
    inner: Mutex<Inner>,
    begun: tokio::sync::Notify,
}

#[derive(Default)]
struct Inner {
    /// What the next questions about a repository are answered with; after them it is found.
    answers: BTreeMap<String, VecDeque<Nothing>>,
    asked: Vec<Asked>,
    /// What `main` is now.
    main: char,
    begun: VecDeque<Call>,
    here: BTreeMap<String, Here>,
    at_hand: bool,
    free: Option<u64>,
    discarded: Vec<(String, Vec<String>)>,
}

/// A call of `fetch` that goes on until it is ended.
struct Call {
    wanted: Wanted,
    progress: watch::Sender<Progress>,
    cancel: CancellationToken,
    end: oneshot::Sender<Result<Fetched, FetchError>>,
}

impl Call {
    fn moves(&self, done: u64, fetched: u64) {
        self.progress.send_modify(|p| {
            p.state = State::Running;
            p.done_bytes = done;
            p.fetched_bytes = fetched;
            p.bytes_per_second = Some(50.0);
        });
    }

    fn ends(self, with: Result<(), FetchError>) {
        let fetched = Fetched { snapshot: PathBuf::from("/x"), fetched_bytes: 100, files_there: 0 };
        let _ = self.end.send(with.map(|()| fetched));
    }
}

impl Played {
    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap()
    }

    async fn next(&self) -> Call {
        let wait = async {
            loop {
                let begun = self.begun.notified();
                if let Some(call) = self.inner().begun.pop_front() {
                    return call;
                }
                begun.await;
            }
        };
        tokio::time::timeout(Duration::from_secs(3600), wait).await.expect("an attempt begins")
    }

    fn none_begun(&self) -> bool {
        self.inner().begun.is_empty()
    }

    fn refuses(&self, repo: &str, with: impl IntoIterator<Item = HubError>) {
        self.inner().answers.insert(repo.to_owned(), with.into_iter().map(Nothing::Hub).collect());
    }
}

fn found(asked: &Asked, commit: char) -> Found {
    let file = |path: &str, size, hash: char| RepoFile {
        path: path.to_owned(),
        size,
        hash: Hash::Sha256(hash.to_string().repeat(64)),
    };
    let mut files = vec![file("config.json", 10, 'c'), file("model.safetensors", 90, 'e')];
    if let Some(variant) = &asked.variant {
        files[1] = file(&format!("{variant}.gguf"), 90, 'f');
    }
    Found {
        commit: commit.to_string().repeat(40),
        variant: asked.variant.clone(),
        model: match &asked.variant {
            Some(variant) => format!("{}/{variant}.gguf", asked.repo),
            None => asked.repo.clone(),
        },
        title: format!("Title of {}", asked.repo),
        files: Arc::new(files),
    }
}

#[async_trait]
impl Source for Played {
    async fn look_up(&self, asked: &Asked) -> Result<Found, Nothing> {
        let mut inner = self.inner();
        inner.asked.push(asked.clone());
        if let Some(answer) = inner.answers.get_mut(&asked.repo).and_then(VecDeque::pop_front) {
            return Err(answer);
        }
        let main = if inner.main == '\0' { 'a' } else { inner.main };
        let commit = asked.revision.chars().next().filter(|_| asked.revision.len() == 40).unwrap_or(main);
        Ok(found(asked, commit))
    }

    async fn fetch(
        &self,
        wanted: Wanted,
        _rate: &Arc<RateLimit>,
        progress: watch::Sender<Progress>,
        cancel: CancellationToken,
    ) -> Result<Fetched, FetchError> {
        let (end, ended) = oneshot::channel();
        self.inner().begun.push_back(Call { wanted, progress, cancel: cancel.clone(), end });
        self.begun.notify_one();
        tokio::select! {
            ended = ended => ended.unwrap_or(Err(FetchError::Cancelled)),
            () = cancel.cancelled() => Err(FetchError::Cancelled),
        }
    }

    fn at_hand(&self, asked: &Asked) -> Option<Found> {
        self.inner().at_hand.then(|| found(asked, 'a'))
    }

    fn here(&self, asked: &Asked, _found: &Found) -> Here {
        self.inner().here.get(&asked.repo).copied().unwrap_or_default()
    }

    fn partials(&self) -> Vec<Partial> {
        vec![Partial {
            repo: "o/x".to_owned(),
            hash: "e".repeat(64),
            bytes: 7,
            last_used: SystemTime::UNIX_EPOCH,
            path: PathBuf::from("/x"),
        }]
    }

    fn discard(&self, repo: &str, hashes: &[String]) {
        self.inner().discarded.push((repo.to_owned(), hashes.to_vec()));
    }

    fn free(&self) -> Option<u64> {
        self.inner().free
    }

    fn folder(&self) -> PathBuf {
        PathBuf::from("/cache")
    }
}

struct Play {
    line: Line,
    played: Arc<Played>,
    told: mpsc::UnboundedReceiver<Told>,
    database: Arc<Mutex<Database>>,
}

impl Play {
    async fn new() -> Self {
        Self::on(Arc::new(Mutex::new(Database::in_memory().unwrap()))).await
    }

    async fn on(database: Arc<Mutex<Database>>) -> Self {
        let play = Self::bare(database);
        play.line.recall().await;
        play
    }

    /// Before it has heard of earlier runs.
    fn bare(database: Arc<Mutex<Database>>) -> Self {
        let played = Arc::new(Played::default());
        let (tell, told) = mpsc::unbounded_channel();
        let line = Line::new(played.clone(), database.clone(), tell);
        Self { line, played, told, database }
    }

    /// The next run of the controller, on what this one has written.
    async fn restarted(self) -> Self {
        Self::on(self.database.clone()).await
    }

    async fn pull(&self, repo: &str) -> Download {
        self.line.pull(&asked(repo)).await.unwrap()
    }

    fn all(&self) -> Vec<(String, DownloadState)> {
        self.line.list().downloads.into_iter().map(|d| (d.repo, d.state)).collect()
    }

    fn one(&self, id: &str) -> Download {
        self.line.detail(id).unwrap().download
    }

    /// Waits until a download is in a state.
    async fn until(&self, id: &str, state: DownloadState) -> Download {
        let wait = async {
            loop {
                let changed = self.line.inner.changed.notified();
                let now = self.line.detail(id).unwrap().download;
                if now.state == state {
                    return now;
                }
                changed.await;
            }
        };
        tokio::time::timeout(Duration::from_secs(30), wait)
            .await
            .unwrap_or_else(|_| panic!("{id} never was {state:?}: {:?}", self.line.list().downloads))
    }

    async fn told(&mut self) -> Told {
        tokio::time::timeout(Duration::from_secs(30), self.told.recv()).await.unwrap().unwrap()
    }
}

fn asked(repo: &str) -> PullRequest {
    PullRequest { repo: repo.to_owned(), ..PullRequest::default() }
}

fn variant(repo: &str, variant: &str) -> PullRequest {
    PullRequest { variant: Some(variant.to_owned()), ..asked(repo) }
}

fn away() -> HubError {
    HubError::Unreachable { host: "hub".into(), why: "no route".into() }
}
