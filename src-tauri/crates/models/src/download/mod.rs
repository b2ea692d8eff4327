//! Downloads into the Hugging Face cache: resumable at every byte, verified while they arrive.
//!
//! What is promised, in the order in which things go wrong:
//!
//! - Names and paths of the list are hostile until they were checked; nothing is written outside of the cache.
//! - What would not fit is refused before the first byte, and a disk that fills up on the way keeps what has landed.
//! - What is in the cache already is not fetched again, and neither is what landed before a pause, a lost network,
//!   `kill -9` or a power cut.
//! - A file gets its name when its hash is right, and not before.
//! - An answer that is no answer to what was asked (another range, another file, a page of a captive portal,
//!   compressed bytes, too few, too many) never becomes bytes of a file.
//! - Two programs that fetch the same file (another Asgard, `huggingface_hub`) wait for one another.
//! - The token goes to the Hub's own host and port, and nowhere else.
//!
//! Deliberately absent: which files are wanted, the queue, the token's keeping. Xet: files above [`LARGEST`] are
//! refused.

mod ask;
mod digest;
mod engine;
mod error;
mod follow;
mod get;
mod jobs;
mod layout;
mod part;
mod partials;
mod progress;
mod rate;
mod settle;
mod steps;
mod write;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

pub use error::FetchError;
pub use partials::{Partial, Swept, discard, partials, sweep};
pub use progress::{FileProgress, Progress, State};
pub use rate::RateLimit;

use crate::hub::{Hub, RepoFile};

/// Bytes. A larger file can only be had through Xet (the Hub's own limit for plain HTTP).
pub const LARGEST: u64 = 50_000_000_000;

/// What is to be in the cache.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// "organisation/name".
    pub repo: String,
    /// The name that is written below `refs/` when everything is here ("main"). A commit has none.
    pub revision: String,
    /// 40 hexadecimal digits.
    pub commit: String,
    /// Those of the commit that are wanted; small ones are fetched first, the others in this order.
    pub files: Vec<RepoFile>,
}

/// What was done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fetched {
    /// `snapshots/<commit>` in the cache.
    pub snapshot: PathBuf,
    /// Over the network, bodies of files alone.
    pub fetched_bytes: u64,
    /// Files that were in the cache already.
    pub files_there: usize,
}

/// How patient and how greedy a download is.
#[derive(Debug, Clone)]
pub struct Tuning {
    /// A connection that brings nothing for so long is given up.
    pub stall: Duration,
    /// So long without a byte, and while asking fails, a download waits before it gives up.
    pub patience: Duration,
    /// What has landed is brought to the disk so often; a power cut costs what came since.
    pub flush: Duration,
    pub first_connections: u32,
    pub most_connections: u32,
}

impl Default for Tuning {
    fn default() -> Self {
        Self {
            stall: Duration::from_secs(20),
            patience: Duration::from_secs(600),
            flush: Duration::from_secs(5),
            first_connections: 8,
            most_connections: 16,
        }
    }
}

/// Brings what is wanted into `cache` (the `hub` folder of the Hugging Face cache) and names it.
///
/// It may be dropped or cancelled at any moment: what has landed stays, and the next call goes on there. While the
/// network is away it waits ([`State::Waiting`]) and goes on by itself; after [`Tuning::patience`] without a byte it
/// gives up with [`FetchError::Hub`], and may be called again. What another program fetches is waited for.
///
/// # Errors
/// [`FetchError`]; whatever it is, what has landed and may be right is kept.
pub async fn fetch(
    hub: &Hub,
    cache: &Path,
    wanted: &Wanted,
    rate: &Arc<RateLimit>,
    progress: watch::Sender<Progress>,
    cancel: CancellationToken,
) -> Result<Fetched, FetchError> {
    fetch_with(hub, cache, wanted, rate, progress, cancel, &Tuning::default()).await
}

/// [`fetch`] with another patience.
///
/// # Errors
/// As [`fetch`].
pub async fn fetch_with(
    hub: &Hub,
    cache: &Path,
    wanted: &Wanted,
    rate: &Arc<RateLimit>,
    progress: watch::Sender<Progress>,
    cancel: CancellationToken,
    tuning: &Tuning,
) -> Result<Fetched, FetchError> {
    engine::Engine::new(hub, cache, wanted, rate, progress, tuning)?.run(&cancel).await
}
