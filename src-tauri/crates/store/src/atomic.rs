//! Files that are there whole or not at all, even when the power goes in the middle of a write.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// Replaces `path` by `bytes`: a neighbour is written, brought to the disk, and renamed.
pub fn write(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    let neighbour = written_neighbour(path, bytes, mode)?;
    let renamed = fs::rename(&neighbour, path);
    if renamed.is_err() {
        let _ = fs::remove_file(&neighbour);
    }
    renamed?;
    sync_folder(path)
}

/// As [`write`], but an existing file wins: then the answer is [`io::ErrorKind::AlreadyExists`] and nothing changes.
/// A link is made instead of a rename, because a rename would replace a file that appeared in the meantime.
pub fn write_new(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    let neighbour = written_neighbour(path, bytes, mode)?;
    let linked = match fs::hard_link(&neighbour, path) {
        // A file system without links (FAT, some network shares): the next best is a file that is only ever new.
        Err(error)
            if matches!(error.kind(), io::ErrorKind::PermissionDenied | io::ErrorKind::Unsupported) =>
        {
            OpenOptions::new()
                .write(true)
                .create_new(true)
                .mode(mode)
                .open(path)
                .and_then(|mut f| f.write_all(bytes))
        }
        other => other,
    };
    let _ = fs::remove_file(&neighbour);
    linked?;
    sync_folder(path)
}

/// Removes a file and brings its absence to the disk. A file that is not there is fine.
pub fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Ok(()) => sync_folder(path),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

/// Gives `path` a new name that nothing has yet: `path.word`, else `path.word.1` and so on.
pub fn set_aside(path: &Path, word: &str) -> io::Result<PathBuf> {
    let target = free_name(path, word);
    fs::rename(path, &target)?;
    sync_folder(path)?;
    Ok(target)
}

/// The first name of the kind `path.word`, `path.word.1` … that is free.
pub fn free_name(path: &Path, word: &str) -> PathBuf {
    let first = with_suffix(path, word);
    if fs::symlink_metadata(&first).is_err() {
        return first;
    }
    let numbered = |n: u32| with_suffix(path, &format!("{word}.{n}"));
    (1..10_000).map(numbered).find(|p| fs::symlink_metadata(p).is_err()).unwrap_or(first)
}

pub(crate) fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".");
    name.push(suffix);
    PathBuf::from(name)
}

fn written_neighbour(path: &Path, bytes: &[u8], mode: u32) -> io::Result<PathBuf> {
    // The process id keeps two programs apart; one that was killed in mid-write left a file that is overwritten.
    let neighbour = with_suffix(path, &format!("{}.new", std::process::id()));
    let written = (|| {
        let mut file =
            OpenOptions::new().write(true).create(true).truncate(true).mode(mode).open(&neighbour)?;
        file.write_all(bytes)?;
        file.sync_all()
    })();
    if let Err(error) = written {
        let _ = fs::remove_file(&neighbour);
        return Err(error);
    }
    Ok(neighbour)
}

fn sync_folder(path: &Path) -> io::Result<()> {
    let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    match File::open(folder)?.sync_all() {
        // Some file systems cannot sync a folder; the rename itself is still whole.
        Err(error) if error.kind() == io::ErrorKind::InvalidInput => Ok(()),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        let mut names: Vec<String> =
            fs::read_dir(folder).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn a_write_replaces_and_leaves_nothing_beside() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        write(&path, b"one", 0o600).unwrap();
        write(&path, b"two", 0o600).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"two");
        assert_eq!(names(folder.path()), ["a"]);
    }

    #[test]
    fn write_new_never_replaces() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        write_new(&path, b"mine", 0o644).unwrap();
        assert_eq!(write_new(&path, b"other", 0o644).unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(fs::read(&path).unwrap(), b"mine");
        assert_eq!(names(folder.path()), ["a"]);
    }

    #[test]
    fn what_is_set_aside_never_replaces_what_was() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        for text in ["one", "two", "three"] {
            fs::write(&path, text).unwrap();
            set_aside(&path, "corrupt").unwrap();
        }
        assert_eq!(names(folder.path()), ["a.corrupt", "a.corrupt.1", "a.corrupt.2"]);
        assert_eq!(fs::read(folder.path().join("a.corrupt.1")).unwrap(), b"two");
    }

    #[test]
    fn removing_nothing_is_fine() {
        let folder = tempfile::tempdir().unwrap();
        assert!(remove(&folder.path().join("none")).is_ok());
    }
}
