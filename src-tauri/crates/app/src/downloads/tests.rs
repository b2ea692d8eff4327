//! The line of downloads with a played engine: every end, every restart, every fault of the database.

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

use super::ends;
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
        model: asked.repo.clone(),
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

#[tokio::test(start_paused = true)]
async fn two_are_fetched_the_third_waits_and_each_end_is_told() {
    let mut play = Play::new().await;
    let first = play.pull("o/one").await;
    assert_eq!((first.commit.as_deref(), first.total_bytes), (Some("a".repeat(40).as_str()), Some(100)));
    play.pull("o/two").await;
    let third = play.pull("o/three").await;
    assert_eq!(
        (third.state, third.detail.as_deref()),
        (DownloadState::Queued, Some("Waiting for 1 download"))
    );
    let call = play.played.next().await;
    assert_eq!((call.wanted.repo.as_str(), call.wanted.revision.as_str()), ("o/one", "main"));
    call.moves(40, 40);
    let list = play.line.list();
    assert_eq!((list.downloads[0].state, list.downloads[0].done_bytes), (DownloadState::Running, 40));
    assert_eq!((list.bytes_per_second, list.seconds_left), (Some(50.0), Some(260.0 / 50.0)));
    call.ends(Ok(()));
    let done = play.until(&first.id, DownloadState::Done).await;
    assert_eq!((done.done_bytes, done.verified_bytes, done.files_done), (100, 100, 2));
    assert!(done.finished.is_some());
    let words = "Title of o/one is here, 0.0\u{a0}MB, checksums match.";
    assert_eq!(play.told().await, Told::Happened(Severity::Info, words.to_owned()));
    assert_eq!(play.told().await, Told::Arrived("o/one".to_owned()));
    play.until(&third.id, DownloadState::Running).await;
    let states = play.all();
    assert_eq!(states[2], ("o/one".to_owned(), DownloadState::Done), "what is done stands last");
    play.line.forget(&first.id).await.unwrap();
    assert_eq!(play.all().len(), 2);
    assert_eq!(play.line.forget(&third.id).await.unwrap_err().code, Code::Busy);
    assert_eq!(play.line.forget("nine").await.unwrap_err().code, Code::Unknown);
}

#[tokio::test(start_paused = true)]
async fn what_is_asked_for_twice_is_fetched_once() {
    let play = Play::new().await;
    let first = play.pull("o/one").await;
    assert_eq!(play.pull("o/one").await.id, first.id);
    let other = play.line.pull(&variant("o/one", "Q4_K_M")).await.unwrap();
    assert_ne!(other.id, first.id, "other files are another download");
    assert_eq!(other.state, DownloadState::Queued, "one repository at a time");
    play.line.pause(Some(&first.id)).await.unwrap();
    play.until(&first.id, DownloadState::Paused).await;
    // Who asks for it again wants it.
    let again = play.pull("o/one").await;
    assert_eq!((again.id.as_str(), again.state), (first.id.as_str(), DownloadState::Queued));
    // The branch has moved: that is something else.
    play.played.inner().main = 'b';
    assert_ne!(play.pull("o/one").await.id, first.id);
}

#[tokio::test(start_paused = true)]
async fn two_that_ask_at_once_get_the_same() {
    let play = Play::new().await;
    let (one, two) = (asked("o/one"), asked("o/one"));
    let (one, two) = tokio::join!(play.line.pull(&one), play.line.pull(&two));
    assert_eq!(one.unwrap().id, two.unwrap().id);
    assert_eq!(play.all().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn before_earlier_runs_were_heard_no_number_is_given() {
    let play = Play::bare(Arc::new(Mutex::new(Database::in_memory().unwrap())));
    assert_eq!(play.line.pull(&asked("o/one")).await.unwrap_err().code, Code::Busy);
    assert!(!play.line.flush().await, "and nothing is written over them");
    play.line.recall().await;
    assert_eq!(play.pull("o/one").await.id, "1");
}

#[tokio::test(start_paused = true)]
async fn a_restart_takes_up_where_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let open = || Database::open(&folder.path().join("asgard.db")).unwrap().database;
    let mut play = Play::on(Arc::new(Mutex::new(open()))).await;
    let (running, paused) = (play.pull("o/running").await, play.pull("o/paused").await);
    let call = play.played.next().await;
    call.moves(40, 44);
    play.line.pause(Some(&paused.id)).await.unwrap();
    let (queued, failed, done, gone) = (
        play.pull("o/queued").await,
        play.pull("o/failed").await,
        play.pull("o/done").await,
        play.pull("o/gone").await,
    );
    // The slot of the paused one goes to each of the others in turn.
    let _paused = play.played.next().await;
    let next = play.played.next().await;
    assert_eq!(next.wanted.repo, "o/queued");
    play.line.pause(Some(&queued.id)).await.unwrap();
    play.played.next().await.ends(Err(FetchError::Damaged {
        file: "a".into(),
        expected: "b".into(),
        got: "c".into(),
    }));
    play.until(&failed.id, DownloadState::Failed).await;
    play.played.next().await.ends(Ok(()));
    play.until(&done.id, DownloadState::Done).await;
    play.line.resume(Some(&queued.id)).await.unwrap();
    play.line.cancel(&gone.id, true).await.unwrap();
    play.line.put_away().await;
    // As after kill -9: nothing is told to end.
    while play.told.try_recv().is_ok() {}
    let before = play.database.clone();
    let play = Play::bare(Arc::new(Mutex::new(open())));
    play.played.inner().main = 'b';
    play.line.recall().await;
    drop(before);
    let state = |id: &str| play.one(id).state;
    assert_eq!(state(&paused.id), DownloadState::Paused);
    assert_eq!(state(&failed.id), DownloadState::Failed);
    assert_eq!(state(&done.id), DownloadState::Done);
    assert!(play.line.detail(&gone.id).is_err());
    assert_eq!(play.one(&failed.id).problem.unwrap().remedy, Some(Remedy::TryAgain));
    let call = play.played.next().await;
    assert_eq!(call.wanted.repo, "o/running");
    assert_eq!(call.wanted.commit, "a".repeat(40), "the branch moved meanwhile, the download did not");
    assert_eq!(call.wanted.files.len(), 2);
    assert_eq!((play.one(&running.id).done_bytes, play.one(&running.id).fetched_bytes), (40, 44));
    call.moves(60, 20);
    assert_eq!((play.one(&running.id).done_bytes, play.one(&running.id).fetched_bytes), (60, 64));
    assert_eq!(play.played.next().await.wanted.repo, "o/queued");
    assert!(play.played.inner().asked.is_empty(), "the Hub need not be asked for what is known");
    let new = play.pull("o/new").await;
    assert!(new.id.parse::<u64>().unwrap() > gone.id.parse::<u64>().unwrap(), "no number is used twice");
}

#[tokio::test(start_paused = true)]
async fn without_a_network_it_waits_and_is_pinned_when_it_is_first_resolved() {
    let play = Play::new().await;
    play.played.refuses("o/one", [away(), away(), away()]);
    let download = play.pull("o/one").await;
    assert_eq!((download.commit, download.title.as_str()), (None, "One"));
    let waiting = play.until(&download.id, DownloadState::Waiting).await;
    let words = "hub cannot be reached (no route). The next try is in 5\u{a0}s";
    assert_eq!((waiting.detail.as_deref(), waiting.problem), (Some(words), None));
    let call = play.played.next().await;
    assert_eq!(call.wanted.commit, "a".repeat(40));
    play.played.inner().main = 'b';
    // A list that is not believed any more is read again, of the same commit.
    call.ends(Err(FetchError::Changed { file: "a".into(), why: "another size".into() }));
    play.until(&download.id, DownloadState::Failed).await;
    play.line.resume(Some(&download.id)).await.unwrap();
    assert_eq!(play.played.next().await.wanted.commit, "a".repeat(40));
    assert_eq!(play.played.inner().asked.last().unwrap().revision, "a".repeat(40));
    assert_eq!(play.played.inner().asked[0].revision, "main");
}

#[tokio::test(start_paused = true)]
async fn each_error_of_the_engine_has_its_state_and_its_button() {
    use DownloadState::{Failed, Waiting};
    let page = || "https://hub/o/n".to_owned();
    let repo = || "o/n".to_owned();
    let at = || PathBuf::from("/cache/x");
    for (error, state, remedy, words) in [
        (FetchError::Hub(away()), Waiting, None, "next try is in 5"),
        (FetchError::Hub(HubError::Failed { status: 503 }), Waiting, None, "failed with 503"),
        (
            FetchError::Hub(HubError::Failed { status: 400 }),
            Failed,
            Some(Remedy::TryAgain),
            "failed with 400",
        ),
        (FetchError::Hub(HubError::RateLimited { seconds: 55 }), Waiting, None, "asks to wait 55"),
        (
            FetchError::Hub(HubError::Strange { host: "h".into(), why: "a page".into() }),
            Waiting,
            None,
            "does not answer like a Hub",
        ),
        (FetchError::InUse { file: "f".into() }, Waiting, None, "Another program"),
        (FetchError::Hub(HubError::NeedsToken { repo: repo() }), Failed, Some(Remedy::AddToken), "no token"),
        (
            FetchError::Hub(HubError::GatedNeedsToken { repo: repo(), page: page() }),
            Failed,
            Some(Remedy::AddToken),
            "gated",
        ),
        (FetchError::Hub(HubError::BadToken), Failed, Some(Remedy::ChangeToken), "token"),
        (
            FetchError::Hub(HubError::LicenceNotAccepted { repo: repo(), page: page() }),
            Failed,
            Some(Remedy::AcceptLicence),
            "licence",
        ),
        (
            FetchError::Hub(HubError::NoAccess { repo: repo(), page: page() }),
            Failed,
            Some(Remedy::AskForAccess),
            "access",
        ),
        (
            FetchError::Hub(HubError::NotFound { what: repo() }),
            Failed,
            Some(Remedy::ChooseOther),
            "does not exist",
        ),
        (FetchError::DiskFull { needed: 9_000_000_000, free: 1 }, Failed, Some(Remedy::FreeDisk), "9.0"),
        (
            FetchError::NotWritable { path: at(), why: "denied".into(), owner: Some(0) },
            Failed,
            Some(Remedy::FixOwner),
            "/cache/x",
        ),
        (
            FetchError::NotWritable { path: at(), why: "read-only".into(), owner: None },
            Failed,
            Some(Remedy::TryAgain),
            "/cache/x",
        ),
        (
            FetchError::Damaged { file: "f".into(), expected: "a".into(), got: "b".into() },
            Failed,
            Some(Remedy::TryAgain),
            "damaged",
        ),
        (
            FetchError::TooLarge { file: "f".into(), size: 60_000_000_000 },
            Failed,
            Some(Remedy::ChooseOther),
            "Xet",
        ),
        (FetchError::HostilePath { path: "../x".into() }, Failed, Some(Remedy::ChooseOther), "cache"),
        (
            FetchError::Clash { first: "a".into(), second: "A".into() },
            Failed,
            Some(Remedy::ChooseOther),
            "exist",
        ),
        (
            FetchError::Changed { file: "f".into(), why: "etag".into() },
            Failed,
            Some(Remedy::TryAgain),
            "listed",
        ),
        (FetchError::Io { path: at(), why: "EIO".into() }, Failed, Some(Remedy::TryAgain), "EIO"),
    ] {
        let mut play = Play::new().await;
        let download = play.pull("o/n").await;
        let call = play.played.next().await;
        call.moves(30, 30);
        call.ends(Err(error.clone()));
        let now = play.until(&download.id, state).await;
        assert_eq!(now.done_bytes, 30, "what has arrived is counted: {error:?}");
        let said = match &now.problem {
            Some(problem) => {
                assert_eq!(problem.remedy, remedy, "{error:?}");
                let ends = problem.next.ends_with(['.', '\'']);
                assert!(problem.message.ends_with('.') && ends, "{problem:?}");
                problem.message.clone()
            }
            None => now.detail.clone().unwrap_or_default(),
        };
        assert_eq!(now.problem.is_some(), state == Failed, "{error:?}");
        assert!(said.contains(words), "{error:?}: {said}");
        if state == Failed {
            let Told::Happened(Severity::Failure, line) = play.told().await else { panic!("{error:?}") };
            assert!(line.starts_with("Title of o/n could not be downloaded: "), "{line}");
        } else {
            assert!(play.told.try_recv().is_err(), "it goes on: nothing has ended");
            // And it does, by itself.
            assert_eq!(play.played.next().await.wanted.repo, "o/n");
        }
    }
    let cancelled = ends::of_fetch(&FetchError::Cancelled);
    assert_eq!((cancelled.end, cancelled.problem), (domain::download::queue::End::Stopped, None));
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_had_is_refused_at_once() {
    let play = Play::new().await;
    play.played.inner().free = Some(250);
    play.pull("o/one").await;
    play.pull("o/two").await;
    // 100 each are still to come.
    let error = play.line.pull(&asked("o/three")).await.unwrap_err();
    assert_eq!(error.code, Code::DoesNotFit);
    assert!(error.message.contains("/cache") && error.message.contains("other downloads"), "{error:?}");
    play.played.inner().here.insert("o/three".to_owned(), Here { whole: false, bytes: 60 });
    assert_eq!(play.pull("o/three").await.done_bytes, 60, "what is here need not be brought");
    play.played.refuses("o/none", [HubError::NotFound { what: "o/none".into() }]);
    assert_eq!(play.line.pull(&asked("o/none")).await.unwrap_err().code, Code::Unknown);
    let refused = api::shapes::hub::HubProblem {
        message: "Too large.".into(),
        next: "Choose another.".into(),
        remedy: Some(Remedy::ChooseOther),
        page: None,
    };
    play.played.inner().answers.insert("o/large".to_owned(), [Nothing::Refused(refused)].into());
    let error = play.line.pull(&asked("o/large")).await.unwrap_err();
    assert_eq!((error.message.as_str(), error.next.as_str()), ("Too large.", "Choose another."));
    for hostile in ["", "../x", "a/../../b", "a/b/c", "/etc/passwd", "a\0b", "-rf", "a b/c", &"x".repeat(300)]
    {
        assert_eq!(play.line.pull(&asked(hostile)).await.unwrap_err().code, Code::Usage, "{hostile:?}");
    }
    for revision in ["../main", "/x", "a\nb", &"x".repeat(201)] {
        let asked = PullRequest { revision: Some(revision.to_owned()), ..asked("o/one") };
        assert_eq!(play.line.pull(&asked).await.unwrap_err().code, Code::Usage, "{revision:?}");
    }
    for files in [vec![String::new()], vec!["a\0".to_owned()], vec!["a".to_owned(); 101]] {
        let asked = PullRequest { files, ..asked("o/one") };
        assert_eq!(play.line.pull(&asked).await.unwrap_err().code, Code::Usage);
    }
    assert_eq!(play.all().len(), 3);
}

#[tokio::test(start_paused = true)]
async fn what_is_here_is_done_at_once_and_needs_no_hub() {
    let play = Play::new().await;
    play.played.inner().here.insert("o/here".to_owned(), Here { whole: true, bytes: 100 });
    let done = play.pull("o/here").await;
    assert_eq!((done.state, done.done_bytes), (DownloadState::Done, 100));
    assert_eq!(play.pull("o/here").await.id, done.id);
    // It was removed since.
    play.played.inner().here.clear();
    let again = play.pull("o/here").await;
    assert_ne!(again.id, done.id);
    assert_eq!(play.played.next().await.wanted.repo, "o/here");
    // The Hub is away, and all of it is here.
    play.played.inner().at_hand = true;
    play.played.refuses("o/off", [away()]);
    let offline = play.pull("o/off").await;
    assert_eq!((offline.state, offline.commit), (DownloadState::Done, Some("a".repeat(40))));
    assert!(play.played.none_begun());
}

#[tokio::test(start_paused = true)]
async fn a_closed_repository_waits_in_the_list_for_its_key() {
    let play = Play::new().await;
    let gated = || HubError::GatedNeedsToken { repo: "o/gated".into(), page: "https://hub/o/gated".into() };
    play.played.refuses("o/gated", [gated(), gated()]);
    let closed = play.pull("o/gated").await;
    let problem = closed.problem.clone().unwrap();
    assert_eq!((closed.state, problem.remedy), (DownloadState::Failed, Some(Remedy::AddToken)));
    assert_eq!(problem.page.as_deref(), Some("https://hub/o/gated"));
    assert_eq!(play.pull("o/gated").await.id, closed.id, "asked again, it is the same row");
    play.line.token_changed();
    assert_eq!(play.played.next().await.wanted.repo, "o/gated");
    assert_eq!(play.one(&closed.id).problem, None);
}

#[tokio::test(start_paused = true)]
async fn cancelled_bytes_go_unless_they_are_kept_or_somebody_elses() {
    let play = Play::new().await;
    let one = play.line.pull(&variant("o/one", "Q4_K_M")).await.unwrap();
    let other = play.line.pull(&variant("o/one", "Q8_0")).await.unwrap();
    let call = play.played.next().await;
    let list = play.line.cancel(&one.id, false).await.unwrap();
    assert_eq!(list.downloads.len(), 1, "it is gone for whoever looks");
    call.cancel.cancelled().await;
    assert_eq!(play.played.next().await.wanted.repo, "o/one", "the other one's turn");
    play.line.cancel(&other.id, false).await.unwrap();
    let gone = async {
        while play.played.inner().discarded.is_empty() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), gone).await.unwrap();
    let discarded = play.played.inner().discarded.clone();
    let all = vec!["c".repeat(64), "f".repeat(64)];
    assert_eq!(discarded, [("o/one".to_owned(), all)], "only when nobody wants the same blobs any more");
    let kept = play.pull("o/kept").await;
    let call = play.played.next().await;
    play.line.cancel(&kept.id, true).await.unwrap();
    call.cancel.cancelled().await;
    let play = play.restarted().await;
    assert_eq!(play.all(), [], "a restart does not bring it back");
    assert!(play.played.none_begun() && play.played.inner().discarded.is_empty());
}

#[tokio::test(start_paused = true)]
async fn patience_that_the_hub_asks_for_is_shown_and_kept() {
    let play = Play::new().await;
    let one = play.pull("o/one").await;
    play.played.next().await.ends(Err(FetchError::Hub(HubError::RateLimited { seconds: 55 })));
    let waiting = play.until(&one.id, DownloadState::Waiting).await;
    assert_eq!(waiting.detail.as_deref(), Some("The Hub asks to wait 55\u{a0}s"));
    let two = play.pull("o/two").await;
    assert_eq!(two.state, DownloadState::Queued);
    assert!(two.detail.unwrap().starts_with("The Hub asks to wait"));
    let asked_at = tokio::time::Instant::now();
    play.played.next().await;
    assert!(asked_at.elapsed() >= Duration::from_secs(54), "{:?}", asked_at.elapsed());
    // One that is refused when it is first asked for waits as well.
    play.played.refuses("o/three", [HubError::RateLimited { seconds: 30 }]);
    let three = play.pull("o/three").await;
    assert!(three.detail.unwrap().contains("asks to wait 30"));
}

#[tokio::test(start_paused = true)]
async fn a_database_that_takes_nothing_holds_no_download_up() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("asgard.db");
    drop(Database::open(&path).unwrap());
    // It can be read and not written.
    let database = Arc::new(Mutex::new(Database::look(&path).unwrap()));
    let play = Play::on(database.clone()).await;
    let download = play.pull("o/one").await;
    assert_eq!(play.played.next().await.wanted.repo, "o/one");
    assert_eq!(kept(&path), 0);
    // The disk has room again.
    *database.lock().unwrap() = Database::open(&path).unwrap().database;
    let written = async {
        while !play.line.flush().await || kept(&path) == 0 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(600), written).await.expect("what waited is written");
    let play = play.restarted().await;
    assert_eq!(play.one(&download.id).repo, "o/one");
    assert_eq!(play.played.next().await.wanted.files.len(), 2, "its files too");
}

fn kept(path: &Path) -> usize {
    Database::look(path).unwrap().downloads().unwrap().len()
}

#[tokio::test(start_paused = true)]
async fn all_are_paused_and_figures_are_counted_over_attempts() {
    let play = Play::new().await;
    let one = play.pull("o/one").await;
    let call = play.played.next().await;
    call.moves(40, 44);
    assert!(!play.line.list().paused);
    let list = play.line.pause(None).await.unwrap();
    assert!(list.paused);
    play.until(&one.id, DownloadState::Paused).await;
    call.cancel.cancelled().await;
    let paused = play.one(&one.id);
    assert_eq!((paused.done_bytes, paused.fetched_bytes, paused.bytes_per_second), (40, 44, None));
    assert!(!play.line.resume(None).await.unwrap().paused);
    let call = play.played.next().await;
    assert_eq!(play.one(&one.id).done_bytes, 40, "before it has looked around, what was known counts");
    call.moves(50, 10);
    assert_eq!(play.one(&one.id).fetched_bytes, 54);
    let detail = play.line.detail(&one.id).unwrap();
    assert_eq!(detail.files.len(), 2);
    assert!(play.line.pause(Some("99")).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn figures_wake_nobody_and_are_told_once() {
    let play = Play::new().await;
    play.pull("o/one").await;
    let call = play.played.next().await;
    while play.line.take_changed() | play.line.take_moved() {
        tokio::task::yield_now().await;
    }
    for n in 1..=1000 {
        call.moves(n, n);
    }
    assert!(!play.line.take_changed(), "a figure is no change of the list");
    assert!(play.line.take_moved());
    assert!(!play.line.take_moved());
}

#[tokio::test(start_paused = true)]
async fn the_list_of_what_is_done_has_an_end() {
    let play = Play::new().await;
    for n in 0..60 {
        let download = play.pull(&format!("o/n{n}")).await;
        play.played.next().await.ends(Ok(()));
        play.until(&download.id, DownloadState::Done).await;
    }
    let shrunk = async {
        while play.all().len() > 50 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), shrunk).await.unwrap();
    assert_eq!(play.all()[0].0, "o/n59", "the latest first");
    assert!(super::ask::limit_of(Some(5)).is_err());
    assert_eq!(super::ask::limit_of(None).unwrap(), None);
    play.line.limit(Some(20_000));
    assert_eq!(play.line.list().limit_bytes_per_second, Some(20_000));
}
