//! Downloads: the queue, what each of them does now, and how fast.
//!
//! Sizes of files are bytes; a face shows them in units of 10⁹, as model hosts do.

use serde::{Deserialize, Serialize};
use ts_rs::TS;

use super::hub::HubProblem;

#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, TS)]
pub struct PullRequest {
    pub repo: String,
    /// "main" where null; pinned to the commit that it is when it is first resolved.
    pub revision: Option<String>,
    /// A variant's id ("Q4_K_M"); null: what a server needs of the repository, and of several GGUF files the best here.
    pub variant: Option<String>,
    /// Paths or globs in the repository; where there are any they count instead of the variant.
    pub files: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, TS)]
pub struct DownloadRequest {
    pub id: String,
}

/// One download, or all of them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, TS)]
pub struct DownloadsRequest {
    pub id: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, TS)]
pub struct CancelDownloadRequest {
    pub id: String,
    /// Leave what has arrived for a later try; else it is deleted.
    pub keep: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, TS)]
pub struct DownloadLimitRequest {
    /// Bytes a second over all downloads; null: as fast as it goes.
    pub bytes_per_second: Option<u64>,
}

/// The queue, in the order in which it is worked off; what ended stands last.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, TS)]
pub struct Downloads {
    pub downloads: Vec<Download>,
    /// Over all of them.
    pub bytes_per_second: Option<f64>,
    pub seconds_left: Option<f64>,
    /// The person has paused them all.
    pub paused: bool,
    pub limit_bytes_per_second: Option<u64>,
    /// Free on the disk of the cache.
    pub free_bytes: Option<u64>,
    /// What unfinished downloads hold there.
    pub partial_bytes: u64,
    /// Partial files of downloads that nobody took up again are deleted after so many days.
    pub partial_days: u32,
    /// The profile that is started once what it needs is here; null: none.
    pub then_start: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, TS)]
#[serde(rename_all = "snake_case")]
pub enum DownloadState {
    Queued,
    /// Asks the Hub for the commit and the list of files.
    Resolving,
    Running,
    /// Everything is here; the last bytes are hashed.
    Verifying,
    Paused,
    /// It goes on by itself: the network is away, the Hub asked for patience.
    Waiting,
    Failed,
    Done,
}

/// A button that helps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, TS)]
#[serde(rename_all = "snake_case")]
pub enum Remedy {
    AddToken,
    /// The token there is not taken.
    ChangeToken,
    AcceptLicence,
    AskForAccess,
    TryAgain,
    FreeDisk,
    ChooseOther,
    FixOwner,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, TS)]
pub struct Download {
    pub id: String,
    pub repo: String,
    /// As asked for.
    pub revision: String,
    /// What it is pinned to; null before it is resolved.
    pub commit: Option<String>,
    pub variant: Option<String>,
    /// What an agent's `model` would say of it.
    pub model: String,
    pub title: String,
    pub state: DownloadState,
    /// "Waiting for 1 download", "The Hub asks to wait 55 s".
    pub detail: Option<String>,
    pub total_bytes: Option<u64>,
    pub done_bytes: u64,
    /// Of `done_bytes`, hashed and found right so far.
    pub verified_bytes: u64,
    /// Bytes that came over the network in this and earlier attempts; more than `done_bytes` where some came twice.
    pub fetched_bytes: u64,
    pub bytes_per_second: Option<f64>,
    pub seconds_left: Option<f64>,
    pub connections: u32,
    pub files_total: Option<u64>,
    pub files_done: u64,
    pub problem: Option<HubProblem>,
    /// RFC 3339.
    pub added: String,
    pub finished: Option<String>,
}

/// One download with its files.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, TS)]
pub struct DownloadDetail {
    pub download: Download,
    /// At most 2,000 of them, those under way first.
    pub files: Vec<DownloadFile>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, TS)]
pub struct DownloadFile {
    pub path: String,
    pub total_bytes: u64,
    pub done_bytes: u64,
    pub verified_bytes: u64,
    pub bytes_per_second: Option<f64>,
    pub seconds_left: Option<f64>,
    pub connections: u32,
    pub done: bool,
}
