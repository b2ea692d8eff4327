//! When blobs were last found right. Kept in a small file of Asgard's own, never in the cache: a mark that somebody else
//! could write would be worth nothing.

use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::scan::{Entry, Repo, Snapshot};
use super::verify::{Stamp, stamp};

/// A larger file is none of ours.
const LARGEST: u64 = 64 << 20;
/// More marks are not kept; the oldest go.
const MOST: usize = 200_000;

/// By blob. A blob whose length or time of change is another has lost its mark.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Marks {
    #[serde(default)]
    blobs: BTreeMap<String, Mark>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Mark {
    bytes: u64,
    /// Nanoseconds since 1970, as text: JSON has no numbers of that length.
    changed: String,
    /// RFC 3339.
    verified: String,
}

impl Marks {
    /// What is kept in a file; nothing where there is none, or none that can be read.
    pub fn read(path: &Path) -> Self {
        let small = fs::metadata(path).is_ok_and(|m| m.is_file() && m.len() <= LARGEST);
        let text = if small { fs::read(path).unwrap_or_default() } else { Vec::new() };
        serde_json::from_slice(&text).unwrap_or_default()
    }

    /// Replaces the file as a whole.
    pub fn write(&self, path: &Path) -> io::Result<()> {
        let beside = path.with_extension(format!("{}.new", std::process::id()));
        let mut file =
            OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&beside)?;
        file.write_all(&serde_json::to_vec(self).map_err(io::Error::other)?)?;
        file.sync_all()?;
        fs::rename(&beside, path)
    }

    /// Remembers what was found right at `when` (RFC 3339).
    pub fn add(&mut self, right: &[Stamp], when: &str) {
        for stamp in right {
            let mark =
                Mark { bytes: stamp.bytes, changed: stamp.changed.to_string(), verified: when.to_owned() };
            self.blobs.insert(stamp.blob.clone(), mark);
        }
        while self.blobs.len() > MOST {
            let Some(oldest) =
                self.blobs.iter().min_by(|a, b| a.1.verified.cmp(&b.1.verified)).map(|(k, _)| k.clone())
            else {
                return;
            };
            self.blobs.remove(&oldest);
        }
    }

    /// Forgets what is to be right of these files.
    pub fn forget(&mut self, repo: &Repo, snapshot: &Snapshot, parts: &[String]) {
        for part in parts {
            if let Some(Entry::Blob(name)) = snapshot.files.get(part)
                && let Some(stamp) = stamp(repo, name)
            {
                self.blobs.remove(&stamp.blob);
            }
        }
    }

    /// When all of these files were right, all of them at that time or later; none where one never was.
    pub fn verified(&self, repo: &Repo, snapshot: &Snapshot, parts: &[String]) -> Option<String> {
        let mut oldest: Option<String> = None;
        for part in parts {
            let Some(Entry::Blob(name)) = snapshot.files.get(part) else { return None };
            let now = stamp(repo, name)?;
            let mark = self.blobs.get(&now.blob)?;
            if mark.bytes != now.bytes || mark.changed != now.changed.to_string() {
                return None;
            }
            if oldest.as_ref().is_none_or(|oldest| mark.verified < *oldest) {
                oldest = Some(mark.verified.clone());
            }
        }
        oldest
    }
}
