//! The Hugging Face Hub, or a mirror of it (`HF_ENDPOINT`): what it has, whose token it is, what a repository holds.
//!
//! Format: domain facts of the Hub's HTTP API (`/api/models`, `/api/models/{id}/tree/{rev}`, `/api/whoami-v2`,
//! `/{id}/resolve/{rev}/{path}`). Everything that it says was written by strangers: lengths are bounded, paths and ids
//! are checked before anything else sees them.
//!
//! Deliberately absent: the bytes of weights. Those are [`crate::download`]'s.

use domain::secret::Secret;

/// How a hub is reached. Made once; cheap to clone.
#[derive(Debug, Clone)]
pub struct Hub {
    /// "https://huggingface.co", without a slash at its end.
    pub endpoint: String,
    /// Sent to the endpoint's own host and port alone, never along a redirect that leaves it.
    pub token: Option<Secret>,
    /// Follows no redirect, has no cookie and no proxy of its own.
    pub http: reqwest::Client,
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

/// Why the Hub did not give what was asked for. Each is a sentence on what happened; `next` says what to do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HubError {
    #[error("{repo} does not exist on the Hub, or it is private and no token was sent.")]
    NeedsToken { repo: String },
    #[error("The Hub does not take the token.")]
    BadToken,
    #[error("The licence of {repo} was not accepted with this account.")]
    LicenceNotAccepted { repo: String, page: String },
    #[error("This account has no access to {repo}.")]
    NoAccess { repo: String, page: String },
    #[error("{what} does not exist on the Hub.")]
    NotFound { what: String },
    #[error("The Hub asks to wait {seconds} s.")]
    RateLimited { seconds: u64 },
    /// It could not be reached, or it fell silent: it may be tried again.
    #[error("{host} cannot be reached ({why}).")]
    Unreachable { host: String, why: String },
    /// It answered with something that is no answer of a Hub: a captive portal, a proxy's page.
    #[error("{host} does not answer like a Hub ({why}).")]
    Strange { host: String, why: String },
    #[error("The Hub failed with {status}.")]
    Failed { status: u16 },
}
