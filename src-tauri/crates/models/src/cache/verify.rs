//! Reading a model again, and comparing what is read with its names: a blob is called by the hash of its content.

use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use sha1::Sha1;
use sha2::{Digest as _, Sha256};

use super::scan::{Entry, Repo, Snapshot};

/// Bytes that are read at once.
const PIECE: usize = 1 << 20;

/// How far it is.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Hashing {
    /// The file's path in the repository.
    pub file: String,
    pub done: u64,
    pub total: u64,
}

/// What was found.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Verified {
    /// Paths in the repository whose content is not what the name says, or that cannot be read.
    pub damaged: Vec<String>,
    /// Paths of which nothing is known to compare with.
    pub unknown: Vec<String>,
    /// What was found right: to be remembered.
    pub right: Vec<Stamp>,
}

/// A blob as it was: another length or time of change is another content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stamp {
    /// "models--org--name/blobs/<hash>".
    pub blob: String,
    pub bytes: u64,
    /// Nanoseconds since 1970.
    pub changed: i128,
}

/// Hashes these files of a snapshot. `tell` is called after each piece, and ends it by saying no: then there is no
/// result.
pub fn verify(
    repo: &Repo,
    snapshot: &Snapshot,
    parts: &[String],
    tell: &mut dyn FnMut(&Hashing) -> bool,
) -> Option<Verified> {
    let mut found = Verified::default();
    let total = parts.iter().filter_map(|path| snapshot.size(repo, path)).sum();
    let mut at = Hashing { total, ..Hashing::default() };
    for path in parts {
        path.clone_into(&mut at.file);
        match snapshot.files.get(path) {
            Some(Entry::Blob(name)) => {
                let before = stamp(repo, name);
                let right = is_right(&repo.folder.join("blobs").join(name), name, &mut at, tell)?;
                match (right, before) {
                    (Some(true), Some(stamp)) => found.right.push(stamp),
                    (Some(true), None) | (None, _) => found.unknown.push(path.clone()),
                    (Some(false), _) => found.damaged.push(path.clone()),
                }
            }
            Some(Entry::Own(_) | Entry::Outside { .. }) => {
                at.done += snapshot.size(repo, path).unwrap_or(0);
                found.unknown.push(path.clone());
            }
            Some(Entry::Broken | Entry::Odd) | None => found.damaged.push(path.clone()),
        }
        if !tell(&at) {
            return None;
        }
    }
    Some(found)
}

/// Whether a file's content is what its name says; none where the name is no hash that is known. The outer none: it was
/// ended.
#[expect(clippy::option_option, reason = "ended, not known, known: three answers")]
fn is_right(
    path: &Path,
    name: &str,
    at: &mut Hashing,
    tell: &mut dyn FnMut(&Hashing) -> bool,
) -> Option<Option<bool>> {
    let opened = std::fs::metadata(path).ok().filter(std::fs::Metadata::is_file).zip(File::open(path).ok());
    let Some((metadata, mut file)) = opened else { return Some(Some(false)) };
    let mut hasher = match name.len() {
        64 => Hasher::Sha256(Sha256::new()),
        40 => Hasher::Git(Sha1::new_with_prefix(format!("blob {}\0", metadata.len()))),
        _ => {
            at.done += metadata.len();
            return Some(None);
        }
    };
    let mut piece = vec![0; PIECE];
    loop {
        match file.read(&mut piece) {
            Ok(0) => return Some(Some(hasher.hex() == name.to_ascii_lowercase())),
            Ok(count) => {
                hasher.add(piece.get(..count).unwrap_or_default());
                at.done += count as u64;
                if !tell(at) {
                    return None;
                }
            }
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(_) => return Some(Some(false)),
        }
    }
}

enum Hasher {
    Sha256(Sha256),
    Git(Sha1),
}

impl Hasher {
    fn add(&mut self, bytes: &[u8]) {
        match self {
            Self::Sha256(hasher) => hasher.update(bytes),
            Self::Git(hasher) => hasher.update(bytes),
        }
    }

    fn hex(self) -> String {
        match self {
            Self::Sha256(hasher) => hex(&hasher.finalize()),
            Self::Git(hasher) => hex(&hasher.finalize()),
        }
    }
}

pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The stamp of a blob as it is now.
pub(super) fn stamp(repo: &Repo, name: &str) -> Option<Stamp> {
    let path: PathBuf = repo.folder.join("blobs").join(name);
    let metadata = std::fs::metadata(path).ok()?;
    let changed = match metadata.modified().ok()?.duration_since(UNIX_EPOCH) {
        Ok(after) => i128::try_from(after.as_nanos()).ok()?,
        Err(before) => -i128::try_from(before.duration().as_nanos()).ok()?,
    };
    let folder = repo.folder.file_name()?.to_string_lossy();
    Some(Stamp { blob: format!("{folder}/blobs/{name}"), bytes: metadata.len(), changed })
}

/// The stamps of these files of a snapshot, as they are now.
pub fn stamps(repo: &Repo, snapshot: &Snapshot, files: &[String]) -> Vec<Stamp> {
    let names = files.iter().filter_map(|path| match snapshot.files.get(path)? {
        Entry::Blob(name) => Some(name),
        Entry::Own(_) | Entry::Outside { .. } | Entry::Broken | Entry::Odd => None,
    });
    names.filter_map(|name| stamp(repo, name)).collect()
}
