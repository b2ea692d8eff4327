//! What every stand-in holds now.
//!
//! A server keeps one file, locked with `flock` for its whole life and rewritten in place: the lock is on the
//! inode, works through a bind mount into a container, and the kernel gives it back whatever way the server dies.
//! A file whose lock can be taken therefore belongs to a server that is dead, and holds nothing.
//!
//! Deliberately absent: renaming over the old file (it would leave the lock behind) and deleting the file at the
//! end (a server that starts at that instant would lock a file nobody can find).

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};

/// How long a new server waits for the one before it to let go of the file.
const LOCK_PATIENCE: Duration = Duration::from_secs(5);

#[derive(Debug, Serialize, Deserialize)]
struct Line {
    agent: String,
    bytes: u64,
}

/// The writing end, held by one server.
#[derive(Debug)]
pub struct Report {
    file: File,
    agent: String,
}

impl Report {
    /// Opens and locks the file, and reports nothing held.
    ///
    /// # Errors
    /// The file cannot be opened, or another live server still has it after five seconds.
    pub fn open(path: &Path, agent: &str) -> io::Result<Self> {
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)?;
        }
        let file = OpenOptions::new().create(true).read(true).write(true).truncate(false).open(path)?;
        let deadline = Instant::now() + LOCK_PATIENCE;
        // Not a blocking lock: a server that cannot have the file must say so, not hang.
        while let Err(error) = flock(&file, FlockOperation::NonBlockingLockExclusive) {
            if error != rustix::io::Errno::WOULDBLOCK {
                return Err(io::Error::from(error));
            }
            if Instant::now() >= deadline {
                let text = format!("{} belongs to a server that still runs", path.display());
                return Err(io::Error::new(io::ErrorKind::WouldBlock, text));
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        let report = Self { file, agent: agent.to_owned() };
        report.say(0)?;
        Ok(report)
    }

    /// Reports `bytes` as held. Called before memory is taken and after it is given back, so that the report is
    /// never below the truth.
    pub fn say(&self, bytes: u64) -> io::Result<()> {
        let line = Line { agent: self.agent.clone(), bytes };
        let mut text = serde_json::to_string(&line)?;
        // Padded to one length, so that a reader never meets the tail of a longer line before it was cut off.
        let length = self.agent.len() + 48;
        text.extend(std::iter::repeat_n(' ', length.saturating_sub(text.len())));
        text.push('\n');
        self.file.write_all_at(text.as_bytes(), 0)?;
        self.file.set_len(text.len() as u64)
    }
}

/// What the live servers of `dir` hold, by agent. Files of dead servers and unreadable ones count for nothing; a
/// folder that does not exist holds nothing.
///
/// # Errors
/// The folder exists and cannot be listed.
pub fn held(dir: &Path) -> io::Result<Vec<(String, u64)>> {
    let entries = match fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut all = Vec::new();
    for entry in entries {
        let path = entry?.path();
        if path.extension().is_some_and(|e| e == "json")
            && let Some(line) = live(&path)
        {
            all.push((line.agent, line.bytes));
        }
    }
    all.sort();
    Ok(all)
}

/// The report in `path`, if the server that wrote it lives.
fn live(path: &Path) -> Option<Line> {
    let file = File::open(path).ok()?;
    if flock(&file, FlockOperation::NonBlockingLockShared).is_ok() {
        // Given back at once: the next server may be waiting for it.
        let _ = flock(&file, FlockOperation::Unlock);
        return None;
    }
    // A write is not atomic for a reader: two equal reads in a row are taken for one state.
    let mut before = None;
    for _ in 0..16 {
        let mut buffer = [0_u8; 256];
        let length = file.read_at(&mut buffer, 0).ok()?;
        if before == Some((buffer, length)) {
            return serde_json::from_slice(buffer.get(..length)?).ok();
        }
        before = Some((buffer, length));
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_live_server_counts_and_a_dead_one_does_not() {
        let dir = tempfile::tempdir().unwrap();
        let thor = Report::open(&dir.path().join("thor.json"), "thor").unwrap();
        let odin = Report::open(&dir.path().join("odin.json"), "odin").unwrap();
        thor.say(26_528_973).unwrap();
        odin.say(65_011_712).unwrap();
        assert_eq!(held(dir.path()).unwrap(), [("odin".into(), 65_011_712), ("thor".into(), 26_528_973)]);
        thor.say(7).unwrap();
        drop(odin);
        assert_eq!(held(dir.path()).unwrap(), [("thor".into(), 7)]);
    }

    #[test]
    fn the_same_agent_starts_again_with_nothing_held() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("thor.json");
        Report::open(&path, "thor").unwrap().say(99).unwrap();
        let _again = Report::open(&path, "thor").unwrap();
        assert_eq!(held(dir.path()).unwrap(), [("thor".into(), 0)]);
    }

    #[test]
    fn no_folder_holds_nothing_and_strange_files_are_passed_over() {
        let dir = tempfile::tempdir().unwrap();
        assert!(held(&dir.path().join("none")).unwrap().is_empty());
        fs::write(dir.path().join("notes.txt"), "{\"agent\":\"x\",\"bytes\":1}").unwrap();
        let strange = dir.path().join("strange.json");
        fs::write(&strange, "not a report").unwrap();
        let file = File::open(&strange).unwrap();
        flock(&file, FlockOperation::LockExclusive).unwrap();
        assert!(held(dir.path()).unwrap().is_empty());
    }
}
