//! What unfinished downloads hold, and its end.
//!
//! Ours lie in `models--…/.asgard/`, apart from the blobs: neither `huggingface_hub` nor a server takes them for its
//! own, and nothing here touches what is not ours.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use domain::download::names::is_hex;

use super::layout::{Lock, OWN, Place};
use super::settle;

/// Who was told to stop has stopped by then.
const PATIENCE: Duration = Duration::from_secs(3);

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
    let mut found = Vec::new();
    for repo in repos(cache) {
        let Ok(place) = Place::new(cache, &repo) else { continue };
        for (path, hash) in parts(&place) {
            let Ok(metadata) = fs::symlink_metadata(&path) else { continue };
            let journal = fs::symlink_metadata(place.journal(&hash)).and_then(|m| m.modified()).ok();
            let used = metadata.modified().ok().max(journal).unwrap_or(SystemTime::UNIX_EPOCH);
            found.push(Partial {
                repo: repo.clone(),
                hash,
                bytes: metadata.blocks() * 512,
                last_used: used,
                path,
            });
        }
    }
    found.sort_by(|a, b| (&a.repo, &a.hash).cmp(&(&b.repo, &b.hash)));
    found
}

/// Deletes those that nobody took up for `older_than`, not the ones that a running download holds; and looks after files
/// that a power cut may have damaged just after they got their names. It may hash those, so it may take a while.
pub fn sweep(cache: &Path, older_than: Duration, now: SystemTime) -> Swept {
    for repo in repos(cache) {
        if let Ok(place) = Place::new(cache, &repo) {
            settle::recover(&place);
            now.checked_sub(older_than).into_iter().for_each(|before| place.forget_names(before));
        }
    }
    let mut swept = Swept::default();
    for old in partials(cache) {
        // A clock that was set back makes nothing old.
        let age = now.duration_since(old.last_used).unwrap_or_default();
        let Ok(place) = Place::new(cache, &old.repo) else { continue };
        if age < older_than {
            continue;
        }
        if let Ok(Some(_lock)) = place.lock(&old.hash) {
            swept.files += usize::from(remove(&place, &old.hash).is_ok());
            swept.bytes += old.bytes;
        }
    }
    swept
}

/// Deletes what a cancelled download of `repo` left of the files with these hashes; says how many bytes that frees.
///
/// # Errors
/// A file cannot be deleted, or is fetched by a running download.
pub fn discard(cache: &Path, repo: &str, hashes: &[String]) -> io::Result<u64> {
    let place =
        Place::new(cache, repo).map_err(|e| io::Error::new(io::ErrorKind::InvalidInput, e.to_string()))?;
    let mut freed = 0;
    for hash in hashes.iter().filter(|h| is_hex(h, h.len()) && matches!(h.len(), 40 | 64)) {
        let Ok(metadata) = fs::symlink_metadata(place.part(hash)) else { continue };
        let _lock = wait_for(&place, hash)?;
        remove(&place, hash)?;
        freed += metadata.blocks() * 512;
    }
    place.forget_names(SystemTime::now());
    // A folder that holds nothing of ours any more need not stay.
    let _ = fs::remove_dir(place.own());
    Ok(freed)
}

fn wait_for(place: &Place, hash: &str) -> io::Result<Lock> {
    let until = Instant::now() + PATIENCE;
    loop {
        match place.lock(hash).map_err(|e| io::Error::other(e.to_string()))? {
            Some(lock) => return Ok(lock),
            None if Instant::now() < until => std::thread::sleep(Duration::from_millis(20)),
            None => return Err(io::Error::new(io::ErrorKind::WouldBlock, "a download is at it")),
        }
    }
}

fn remove(place: &Place, hash: &str) -> io::Result<()> {
    for path in [place.journal(hash), place.journal(hash).with_extension("journal-new"), place.part(hash)] {
        match fs::remove_file(path) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
            _ => {}
        }
    }
    Ok(())
}

fn repos(cache: &Path) -> Vec<String> {
    let entries = fs::read_dir(cache).into_iter().flatten().flatten();
    let ours = entries.filter(|e| e.path().join(OWN).is_dir());
    ours.filter_map(|e| Some(e.file_name().to_str()?.strip_prefix("models--")?.replace("--", "/"))).collect()
}

/// Parts, with the hash that each is to have.
fn parts(place: &Place) -> Vec<(PathBuf, String)> {
    let entries = fs::read_dir(place.own()).into_iter().flatten().flatten();
    let named = entries.filter_map(|e| {
        let hash = e.file_name().to_str()?.strip_suffix(".part")?.to_owned();
        (matches!(hash.len(), 40 | 64) && is_hex(&hash, hash.len())).then(|| (e.path(), hash))
    });
    named.collect()
}
