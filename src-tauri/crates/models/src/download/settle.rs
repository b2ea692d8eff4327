//! Files that have their names, and may not be on the disk yet.
//!
//! Waiting for the disk before each file gets its name would make a download as slow as the disk is. Instead, a list of
//! what is about to be named is on the disk before the first name is given; when all have theirs, the disk is flushed
//! behind everybody's back, and the list goes. A list that is found after a power cut says which files to hash again.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use rustix::fs::{FlockOperation, flock, syncfs};

use super::layout::Place;
use super::part::boot;
use super::steps::hash_of;
use crate::hub::Hash;

const END: &str = "settle";
/// Of a list. A hundred thousand names are a fifth of that.
const LONGEST: u64 = 64 << 20;

/// A list that is in force. Held by `flock` as long as its process lives.
#[derive(Debug)]
pub(crate) struct List {
    file: File,
    path: PathBuf,
}

impl List {
    /// Of what is about to be named below `place`.
    pub(crate) fn write<'a>(
        place: &Place,
        contents: impl Iterator<Item = (&'a Hash, u64)>,
    ) -> io::Result<Self> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = place.own().join(format!("{}-{number}.{END}", std::process::id()));
        let mut file = File::create(&path)?;
        flock(&file, FlockOperation::NonBlockingLockExclusive)?;
        let mut text = format!("{}\n", boot(&file));
        for (hash, size) in contents {
            // Writing to a string cannot fail.
            let _ = writeln!(text, "{} {size}", hash.hex());
        }
        file.write_all(text.as_bytes())?;
        file.sync_data()?;
        // Its own name, too.
        File::open(place.own())?.sync_all()?;
        Ok(Self { file, path })
    }

    /// Flushes the disk and takes the list away, on a thread of its own that nobody waits for.
    pub(crate) fn settle(self) {
        let begun = std::thread::Builder::new().name("download-settle".to_owned()).spawn(move || {
            if syncfs(&self.file).is_ok() {
                let _ = fs::remove_file(&self.path);
            }
        });
        if let Err(e) = begun {
            tracing::warn!("downloads are checked once more at the next start: no thread ({e})");
        }
    }
}

/// Looks at the lists that earlier lives left below a repository's folder. What a power cut may have taken is hashed,
/// and what is damaged loses its name; how many that were.
pub(crate) fn recover(place: &Place) -> usize {
    let entries = fs::read_dir(place.own()).into_iter().flatten().flatten();
    entries
        .map(|e| e.path())
        .filter(|p| p.extension().is_some_and(|e| e == END))
        .map(|p| recover_list(place, &p))
        .sum()
}

fn recover_list(place: &Place, path: &Path) -> usize {
    let Ok(file) = File::open(path) else { return 0 };
    if flock(&file, FlockOperation::NonBlockingLockExclusive).is_err() {
        return 0;
    }
    let text =
        file.metadata().ok().filter(|m| m.len() <= LONGEST).and_then(|_| fs::read_to_string(path).ok());
    let text = text.unwrap_or_default();
    let mut lines = text.lines();
    let now = boot(&file);
    if lines.next() == Some(now.as_str()) && !now.is_empty() {
        // The same kernel holds what was written.
        List { file, path: path.to_path_buf() }.settle();
        return 0;
    }
    let mut damaged = 0;
    for line in lines {
        let Some((hex, size)) = line.split_once(' ') else { continue };
        let Ok(size) = size.parse::<u64>() else { continue };
        let hash = match hex.len() {
            _ if !domain::download::names::is_hex(hex, hex.len()) => continue,
            40 => Hash::Git(hex.to_owned()),
            64 => Hash::Sha256(hex.to_owned()),
            _ => continue,
        };
        let blob = place.blob(hex);
        if fs::metadata(&blob).is_ok() && !hash_of(&blob, &hash, size).is_ok_and(|found| found == hex) {
            tracing::warn!("{} was damaged by a power cut, and is fetched again", blob.display());
            damaged += usize::from(fs::remove_file(&blob).is_ok());
        }
    }
    let _ = fs::remove_file(path);
    damaged
}
