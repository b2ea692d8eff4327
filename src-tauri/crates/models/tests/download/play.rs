//! A Hub, a cache and what is wanted.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use models::download::{FetchError, Fetched, Progress, RateLimit, Tuning, Wanted, fetch_with};
use models::hub::{Hash, Hub, RepoFile};
use rehearsal::hub::{Content, File, Repo, Running};
use tempfile::TempDir;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

pub(crate) const REPO: &str = "org/model";
pub(crate) const TOKEN: &str = "hf_secret";

pub(crate) struct Play {
    pub(crate) server: Running,
    pub(crate) cache: TempDir,
    pub(crate) wanted: Wanted,
    pub(crate) tuning: Tuning,
    pub(crate) rate: Arc<RateLimit>,
    pub(crate) contents: Vec<(String, Content)>,
}

/// So many seeded bytes.
pub(crate) fn seeded(size: u64) -> Content {
    Content::Seeded { size, seed: size }
}

/// As the Hub lists them.
pub(crate) fn listed(files: &[File]) -> Vec<RepoFile> {
    let file = |f: &File| {
        let hash = if f.lfs { Hash::Sha256(f.etag()) } else { Hash::Git(f.etag()) };
        RepoFile { path: f.path.clone(), size: f.content.size(), hash }
    };
    files.iter().map(file).collect()
}

pub(crate) fn quick() -> Tuning {
    Tuning {
        stall: Duration::from_millis(700),
        patience: Duration::from_secs(4),
        flush: Duration::from_millis(200),
        first_connections: 4,
        most_connections: 6,
    }
}

impl Play {
    pub(crate) fn new(contents: &[(&str, Content)]) -> Self {
        Self::of(contents, |hub| hub)
    }

    /// With a Hub that is set up in another way.
    pub(crate) fn of(
        contents: &[(&str, Content)],
        set_up: impl FnOnce(rehearsal::hub::Hub) -> rehearsal::hub::Hub,
    ) -> Self {
        let files: Vec<File> =
            contents.iter().map(|(path, content)| File::new(*path, content.clone())).collect();
        let listed = listed(&files);
        let repo = Repo::new(REPO, files);
        let commit = repo.commits.last().unwrap().id.clone();
        let hub = rehearsal::hub::Hub::new(vec![repo]).with_account(TOKEN, "loki");
        let server = set_up(hub).start().unwrap();
        Self {
            server,
            cache: tempfile::tempdir().unwrap(),
            wanted: Wanted { repo: REPO.to_owned(), revision: "main".to_owned(), commit, files: listed },
            tuning: quick(),
            rate: Arc::new(RateLimit::default()),
            contents: contents.iter().map(|(path, content)| ((*path).to_owned(), content.clone())).collect(),
        }
    }

    /// One large file and two small ones.
    pub(crate) fn usual() -> Self {
        Self::new(&[
            ("config.json", Content::text("{}")),
            ("w.safetensors", seeded(9_000_001)),
            ("a/b.txt", seeded(777)),
        ])
    }

    /// One large file alone, "w.safetensors".
    pub(crate) fn large(size: u64) -> Self {
        Self::new(&[("w.safetensors", seeded(size))])
    }

    pub(crate) fn hub(&self) -> Hub {
        Hub::new(&self.server.endpoint(), Some(domain::secret::Secret::new(TOKEN))).unwrap()
    }

    pub(crate) fn folder(&self) -> PathBuf {
        self.cache.path().join("models--org--model")
    }

    pub(crate) fn size(&self) -> u64 {
        self.wanted.files.iter().map(|f| f.size).sum()
    }

    pub(crate) async fn fetch(&self) -> Result<Fetched, FetchError> {
        self.fetch_until(CancellationToken::new(), watch::Sender::new(Progress::default())).await
    }

    pub(crate) async fn fetch_until(
        &self,
        cancel: CancellationToken,
        progress: watch::Sender<Progress>,
    ) -> Result<Fetched, FetchError> {
        let hub = self.hub();
        let fetching =
            fetch_with(&hub, self.cache.path(), &self.wanted, &self.rate, progress, cancel, &self.tuning);
        tokio::time::timeout(Duration::from_secs(60), fetching).await.expect("it neither ends nor fails")
    }

    /// Until `enough` of it has landed; then the future is dropped, as when the program is killed.
    pub(crate) async fn fetch_and_die(&self, enough: u64) -> bool {
        let progress = watch::Sender::new(Progress::default());
        let mut seen = progress.subscribe();
        tokio::select! {
            biased;
            done = self.fetch_until(CancellationToken::new(), progress) => { done.unwrap(); false }
            _ = seen.wait_for(|p| p.fetched_bytes >= enough) => true,
        }
    }

    /// Every byte, and the standard layout; nothing of ours is left but a list that is being settled.
    pub(crate) fn assert_complete(&self) {
        let folder = self.folder();
        assert_eq!(fs::read_to_string(folder.join("refs/main")).unwrap(), self.wanted.commit);
        for (path, content) in &self.contents {
            self.assert_right(path, content);
        }
        let left = fs::read_dir(folder.join(".asgard")).unwrap().map(|e| e.unwrap().path());
        let left: Vec<PathBuf> = left.filter(|p| p.extension().is_none_or(|e| e != "settle")).collect();
        assert!(left.is_empty(), "{left:?}");
    }

    pub(crate) fn assert_right(&self, path: &str, content: &Content) {
        let link = self.folder().join("snapshots").join(&self.wanted.commit).join(path);
        let target = fs::read_link(&link).unwrap();
        assert!(target.is_relative() && target.starts_with("../.."), "{}", target.display());
        let listed = self.wanted.files.iter().find(|f| f.path == path).unwrap();
        assert_eq!(target.file_name().unwrap().to_str(), Some(listed.hash.hex()));
        assert!(fs::read(&link).unwrap() == content.to_vec(), "{path} holds other bytes");
    }

    /// Nothing that looks like a file of the repository, and no name for the revision.
    pub(crate) fn assert_nothing_named(&self) {
        assert!(!self.folder().join("refs/main").exists());
        let blobs = fs::read_dir(self.folder().join("blobs")).into_iter().flatten().count();
        assert_eq!(blobs, 0, "a file was named that is not right");
    }

    /// Bytes of files that the Hub sent.
    pub(crate) fn served(&self) -> u64 {
        let log = self.server.log();
        log.iter().filter(|e| !e.file.is_empty() && matches!(e.status, 200 | 206)).map(|e| e.bytes).sum()
    }

    /// At most two in a hundred more than the files have.
    pub(crate) fn assert_served_once(&self) {
        let (served, size) = (self.served(), self.size());
        let log = || {
            let log = self.server.log();
            let lines = log.iter().filter(|e| !e.file.is_empty());
            lines.map(|e| format!("{} {:?} {} {}\n", e.status, e.range, e.bytes, e.file)).collect::<String>()
        };
        assert!(served <= size + size / 50, "{served} bytes were served of {size}\n{}", log());
    }
}

pub(crate) fn files_below(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        if entry.file_type().unwrap().is_dir() {
            found.extend(files_below(&entry.path()));
        } else {
            found.push(entry.path());
        }
    }
    found
}
