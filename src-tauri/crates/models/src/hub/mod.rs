//! The Hugging Face Hub, or a mirror of it (`HF_ENDPOINT`): what it has, whose token it is, what a repository holds.
//!
//! Format: domain facts of the Hub's HTTP API (`/api/models`, `/api/models/{id}/tree/{rev}`, `/api/whoami-v2`,
//! `/{id}/resolve/{rev}/{path}`). Everything that it says was written by strangers: lengths are bounded, paths and ids
//! are checked before anything else sees them.
//!
//! Deliberately absent: the bytes of weights. Those are [`crate::download`]'s.

mod account;
mod ask;
mod endpoint;
mod error;
mod link;
mod path;
mod repo;
mod search;
mod tree;

use domain::secret::Secret;

pub use account::Account;
pub(crate) use ask::{Stay, is_redirect, unreachable};
pub(crate) use endpoint::shown_host;
pub use endpoint::{BadEndpoint, PUBLIC};
pub(crate) use error::of_answer;
pub use error::{HubError, wait_of};
pub use path::{Refusal, refusal, repo_refusal};
pub use repo::{About, Gated, GgufSummary, RepoInfo};
pub use search::{Found, Sort, Wanted};
pub use tree::{MOST_FILES, Refused, Tree};

/// How a hub is reached. Made once; cheap to clone.
#[derive(Debug, Clone)]
pub struct Hub {
    /// "https://huggingface.co", without a slash at its end.
    pub endpoint: String,
    /// Sent to the endpoint's own host and port alone, never along a redirect that leaves it.
    pub token: Option<Secret>,
    /// Follows no redirect and has no cookie. Goes through the environment's proxies, but not to this machine.
    pub http: reqwest::Client,
    /// Nothing is asked of it: every question is answered with [`HubError::Offline`].
    pub offline: bool,
}

/// One file of a repository at a commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RepoFile {
    /// Checked: relative, no "..", no control characters ([`crate::cache::is_repo_path`]).
    pub path: String,
    /// Bytes.
    pub size: u64,
    pub hash: Hash,
}

/// What the Hub says that a file's content is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Hash {
    /// Of an LFS file: SHA-256 of its bytes, 64 hexadecimal digits.
    Sha256(String),
    /// Of a small file: SHA-1 of "blob SIZE\0" and its bytes, 40 hexadecimal digits.
    Git(String),
}

impl Hash {
    /// The name of its blob in the cache, which is also its ETag.
    pub fn hex(&self) -> &str {
        match self {
            Self::Sha256(hex) | Self::Git(hex) => hex,
        }
    }
}
