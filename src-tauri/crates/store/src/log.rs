//! The log file, which never grows without end.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use crate::atomic::with_suffix;

/// A file that is moved to `.1`, `.2` … when it is full. One `write` is never torn over two files.
#[derive(Debug)]
pub struct RotatingFile {
    path: PathBuf,
    file: File,
    size: u64,
    largest: u64,
    keep: u32,
}

impl RotatingFile {
    /// 10 MB, and three older ones.
    pub fn open(path: &Path) -> io::Result<Self> {
        Self::with_limits(path, 10_000_000, 3)
    }

    pub fn with_limits(path: &Path, largest: u64, keep: u32) -> io::Result<Self> {
        let file = append_to(path)?;
        let size = file.metadata()?.len();
        Ok(Self { path: path.to_path_buf(), file, size, largest, keep })
    }

    fn rotate(&mut self) -> io::Result<()> {
        let older = |n: u32| with_suffix(&self.path, &n.to_string());
        if self.keep == 0 {
            fs::remove_file(&self.path)?;
        } else {
            for n in (1..self.keep).rev() {
                match fs::rename(older(n), older(n + 1)) {
                    Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                    _ => {}
                }
            }
            fs::rename(&self.path, older(1))?;
        }
        self.file = append_to(&self.path)?;
        self.size = 0;
        Ok(())
    }
}

impl Write for RotatingFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.size > 0 && self.size.saturating_add(bytes.len() as u64) > self.largest {
            // A log that cannot be rotated (somebody deleted it, say) is still written to: lines matter more.
            if self.rotate().is_err() {
                self.file = append_to(&self.path)?;
                self.size = 0;
            }
        }
        self.file.write_all(bytes)?;
        self.size = self.size.saturating_add(bytes.len() as u64);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

fn append_to(path: &Path) -> io::Result<File> {
    OpenOptions::new().create(true).append(true).mode(0o600).open(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sizes(path: &Path) -> Vec<u64> {
        std::iter::once(path.to_path_buf())
            .chain((1..6).map(|n| with_suffix(path, &n.to_string())))
            .map_while(|p| fs::metadata(p).ok())
            .map(|m| m.len())
            .collect()
    }

    #[test]
    fn it_keeps_so_many_and_loses_only_the_oldest() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.log");
        let mut log = RotatingFile::with_limits(&path, 100, 3).unwrap();
        for n in 0..100 {
            log.write_all(format!("line {n:04} of a log\n").as_bytes()).unwrap();
        }
        assert_eq!(sizes(&path).len(), 4, "the log and three older ones");
        assert!(sizes(&path).iter().all(|s| *s <= 100 && s % 19 == 0), "no line is torn: {:?}", sizes(&path));
        assert!(fs::read_to_string(&path).unwrap().ends_with("line 0099 of a log\n"));
    }

    #[test]
    fn it_goes_on_where_it_was() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.log");
        for text in ["one", "two"] {
            RotatingFile::open(&path).unwrap().write_all(text.as_bytes()).unwrap();
        }
        assert_eq!(fs::read_to_string(&path).unwrap(), "onetwo");
    }

    #[test]
    fn one_that_was_deleted_begins_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.log");
        let mut log = RotatingFile::with_limits(&path, 10, 2).unwrap();
        log.write_all(b"0123456789").unwrap();
        fs::remove_file(&path).unwrap();
        log.write_all(b"after").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "after");
    }
}
