//! One content into the cache: cloned, linked or copied, and hashed as it lies there.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::Path;

use rustix::fs::{ioctl_ficlone, statvfs};
use sha2::{Digest as _, Sha256};

use super::super::verify::{Hashing, hex};
use super::source::{Source, SourceFile};
use super::{ImportError, failed};

const PIECE: usize = 1 << 20;

pub(super) struct Brought {
    pub(super) sha256: String,
    /// Bytes.
    pub(super) copied: u64,
}

/// Whether there is room for what has to be copied: all of it from another file system, as far as can be said before.
pub(super) fn room(folder: &Path, source: &Source) -> Result<(), ImportError> {
    let here = fs::metadata(folder).map_err(|e| failed(folder, &e))?.dev();
    let elsewhere = |file: &&SourceFile| fs::metadata(&file.path).is_ok_and(|m| m.dev() != here);
    enough(folder, source.files.iter().filter(elsewhere).map(|f| f.bytes).sum())
}

fn enough(folder: &Path, needed: u64) -> Result<(), ImportError> {
    let free = statvfs(folder).map_or(u64::MAX, |s| s.f_bavail.saturating_mul(s.f_frsize));
    if needed > free { Err(ImportError::DiskFull { needed, free }) } else { Ok(()) }
}

/// A clone shares its blocks until somebody writes; a link shares everything, and is what other file systems have.
pub(super) fn bring(
    file: &SourceFile,
    to: &Path,
    at: &mut Hashing,
    tell: &mut dyn FnMut(&Hashing) -> bool,
) -> Result<Brought, ImportError> {
    let _ = fs::remove_file(to);
    let mut from = File::open(&file.path).map_err(|e| failed(&file.path, &e))?;
    let before = from.metadata().map_err(|e| failed(&file.path, &e))?;
    if !before.is_file() {
        return Err(failed(&file.path, &io::Error::from(ErrorKind::InvalidInput)));
    }
    let made = new_file(to).map_err(|e| failed(to, &e))?;
    let cloned = ioctl_ficlone(&made, &from).is_ok();
    let linked = !cloned && fs::remove_file(to).and_then(|()| fs::hard_link(&file.path, to)).is_ok();
    let (sha256, copied) = if cloned || linked {
        let mut there = File::open(to).map_err(|e| failed(to, &e))?;
        (pass(&mut there, None, to, at, tell)?, 0)
    } else {
        enough(to.parent().unwrap_or(to), before.len())?;
        let mut made = new_file(to).map_err(|e| failed(to, &e))?;
        let sha256 = pass(&mut from, Some(&mut made), to, at, tell)?;
        made.sync_all().map_err(|e| failed(to, &e))?;
        (sha256, before.len())
    };
    let after = fs::metadata(&file.path).map_err(|e| failed(&file.path, &e))?;
    let same = |a: &fs::Metadata, b: &fs::Metadata| {
        a.len() == b.len() && a.mtime() == b.mtime() && a.mtime_nsec() == b.mtime_nsec()
    };
    if !same(&before, &after) || after.len() != file.bytes {
        return Err(ImportError::Changed(file.path.clone()));
    }
    Ok(Brought { sha256, copied })
}

fn new_file(to: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).create(true).truncate(true).mode(0o644).open(to)
}

/// Reads to the end, hashes, and writes it elsewhere where that is wanted.
fn pass(
    from: &mut File,
    mut to: Option<&mut File>,
    path: &Path,
    at: &mut Hashing,
    tell: &mut dyn FnMut(&Hashing) -> bool,
) -> Result<String, ImportError> {
    let mut hasher = Sha256::new();
    let mut piece = vec![0; PIECE];
    loop {
        let count = match from.read(&mut piece) {
            Ok(0) => return Ok(hex(&hasher.finalize())),
            Ok(count) => count,
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(error) => return Err(failed(path, &error)),
        };
        let bytes = piece.get(..count).unwrap_or_default();
        hasher.update(bytes);
        if let Some(to) = &mut to {
            to.write_all(bytes).map_err(|error| match error.kind() {
                ErrorKind::StorageFull | ErrorKind::QuotaExceeded => {
                    ImportError::DiskFull { needed: at.total.saturating_sub(at.done), free: 0 }
                }
                _ => failed(path, &error),
            })?;
        }
        at.done += count as u64;
        if !tell(at) {
            return Err(ImportError::Cancelled);
        }
    }
}
