//! Whether somebody uses files of the cache right now: a download that holds its lock, a server that has them open.

use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::Path;

use rustix::fs::{FlockOperation, OFlags, flock, major, minor};
use rustix::io::Errno;

use super::scan::{Inode, is_folder};

/// Locks of one repository that are looked at.
const MOST_LOCKS: usize = 100_000;

/// Takes every lock of a repository (`.locks/<folder>/<etag>.lock`, as `huggingface_hub` makes them), so that no
/// download writes to it while the files live that this returns.
///
/// # Errors
/// The name of a blob that another program is just downloading.
pub(super) fn lock_all(hub: &Path, repo_folder: &str) -> Result<Vec<File>, String> {
    let folder = hub.join(".locks").join(repo_folder);
    let mut held = Vec::new();
    if !is_folder(&folder) {
        return Ok(held);
    }
    for entry in fs::read_dir(&folder).into_iter().flatten().flatten().take(MOST_LOCKS) {
        let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits().cast_signed();
        let Ok(file) = OpenOptions::new().read(true).custom_flags(flags).open(entry.path()) else { continue };
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Err(Errno::WOULDBLOCK) => {
                let name = entry.file_name().to_string_lossy().into_owned();
                return Err(name.trim_end_matches(".lock").to_owned());
            }
            // As many as may be open at once: the rest are not under way, or are met when they are taken.
            Ok(()) if held.len() < 500 => held.push(file),
            _ => {}
        }
    }
    Ok(held)
}

/// The name of a program of this user that has one of these files open or in its memory; this program does not count.
/// Other users' programs cannot be seen.
pub(super) fn user_of(files: &BTreeSet<Inode>) -> Option<String> {
    let own = std::process::id().to_string();
    fs::read_dir("/proc").ok()?.flatten().find_map(|entry| {
        let pid = entry.file_name().to_string_lossy().into_owned();
        if pid == own || !pid.chars().all(|c| c.is_ascii_digit()) {
            return None;
        }
        let process = entry.path();
        (has_open(&process, files) || has_mapped(&process, files)).then(|| {
            let name = fs::read_to_string(process.join("comm")).unwrap_or_default();
            format!("{} (process {pid})", name.trim())
        })
    })
}

fn has_open(process: &Path, files: &BTreeSet<Inode>) -> bool {
    fs::read_dir(process.join("fd")).into_iter().flatten().flatten().any(|fd| {
        // Pipes and sockets are told by their names, so that nothing of them is looked at.
        fs::read_link(fd.path()).is_ok_and(|to| to.is_absolute())
            && fs::metadata(fd.path()).is_ok_and(|m| m.is_file() && files.contains(&(m.dev(), m.ino())))
    })
}

fn has_mapped(process: &Path, files: &BTreeSet<Inode>) -> bool {
    let devices: BTreeSet<(String, u64)> =
        files.iter().map(|(dev, ino)| (format!("{:02x}:{:02x}", major(*dev), minor(*dev)), *ino)).collect();
    fs::read_to_string(process.join("maps")).unwrap_or_default().lines().any(|line| {
        let mut words = line.split_ascii_whitespace().skip(3);
        let (Some(device), Some(inode)) = (words.next(), words.next()) else { return false };
        inode.parse().is_ok_and(|inode| inode != 0 && devices.contains(&(device.to_owned(), inode)))
    })
}
