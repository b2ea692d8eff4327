//! Where models come from, as the queue sees it: a list of files, the files, and what is here of them.

use std::path::PathBuf;
use std::sync::Arc;

use api::shapes::hub::HubProblem;
use async_trait::async_trait;
use models::download::{FetchError, Fetched, Partial, Progress, RateLimit, Wanted};
use models::hub::{HubError, RepoFile};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// What was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Asked {
    /// "organisation/name".
    pub(crate) repo: String,
    /// A branch, a tag or a commit.
    pub(crate) revision: String,
    pub(crate) variant: Option<String>,
    /// Paths or globs; where there are any they count instead of the variant.
    pub(crate) patterns: Vec<String>,
}

/// What that is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Found {
    /// 40 hexadecimal digits.
    pub(crate) commit: String,
    pub(crate) variant: Option<String>,
    /// What an agent's `model` would say of it.
    pub(crate) model: String,
    pub(crate) title: String,
    pub(crate) files: Arc<Vec<RepoFile>>,
}

impl Found {
    /// Bytes.
    pub(crate) fn total(&self) -> u64 {
        self.files.iter().fold(0, |sum, file| sum.saturating_add(file.size))
    }

    pub(crate) fn wanted(&self, asked: &Asked) -> Wanted {
        Wanted {
            repo: asked.repo.clone(),
            revision: asked.revision.clone(),
            commit: self.commit.clone(),
            files: self.files.as_ref().clone(),
        }
    }

    /// Whether both stand for the same bytes under the same names.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        let paths = |found: &Self| {
            let mut paths: Vec<String> = found.files.iter().map(|f| f.path.clone()).collect();
            paths.sort_unstable();
            paths
        };
        self.commit == other.commit && self.files.len() == other.files.len() && paths(self) == paths(other)
    }
}

/// Why there is nothing to fetch.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Nothing {
    Hub(HubError),
    /// The Hub has it, and it is not taken: a file over 50 GB, a hostile path, no such variant.
    Refused(HubProblem),
}

impl From<HubError> for Nothing {
    fn from(error: HubError) -> Self {
        Self::Hub(error)
    }
}

/// What of a download lies in the cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Here {
    /// All of it, under the names of its commit and of its revision.
    pub(crate) whole: bool,
    /// Of its files, those that came whole and parts of others.
    pub(crate) bytes: u64,
}

/// Behind it are the Hub and the disk, and in tests neither.
#[async_trait]
pub(crate) trait Source: Send + Sync + 'static {
    async fn look_up(&self, asked: &Asked) -> Result<Found, Nothing>;

    async fn fetch(
        &self,
        wanted: Wanted,
        rate: &Arc<RateLimit>,
        progress: watch::Sender<Progress>,
        cancel: CancellationToken,
    ) -> Result<Fetched, FetchError>;

    /// What was asked for as it lies in the cache, whole; without the network. Blocks.
    fn at_hand(&self, asked: &Asked) -> Option<Found>;

    /// Blocks.
    fn here(&self, asked: &Asked, found: &Found) -> Here;

    /// Unfinished files. Blocks.
    fn partials(&self) -> Vec<Partial>;

    /// Deletes what is unfinished of these files of a repository. Blocks.
    fn discard(&self, repo: &str, hashes: &[String]);

    /// On the disk of the cache, bytes. Blocks.
    fn free(&self) -> Option<u64>;

    /// The cache's folder, for words.
    fn folder(&self) -> PathBuf;
}
