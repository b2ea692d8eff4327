//! One controller per user: a lock that the kernel releases when its holder ends, however it ends.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;

use rustix::fs::{FlockOperation, flock};

use crate::paths::Paths;

/// Held as long as it lives. The file stays: removing it would let two programs each lock a file of their own.
#[derive(Debug)]
pub struct ControllerLock {
    _file: File,
}

#[derive(Debug, thiserror::Error)]
pub enum LockError {
    #[error("{}", held_by(*.0))]
    HeldBy(Option<u32>),
    #[error("The lock {} cannot be taken: {cause}. Check that its folder is yours and can be written.", path.display())]
    Io { path: PathBuf, cause: io::Error },
}

fn held_by(pid: Option<u32>) -> String {
    let who = pid.map(|p| format!(" (process {p})")).unwrap_or_default();
    format!("A controller already runs for this user{who}. Use it, or end it before starting another.")
}

impl ControllerLock {
    pub fn take(paths: &Paths) -> Result<Self, LockError> {
        let path = paths.lock_file();
        Self::take_file(&path).map_err(|refusal| match refusal {
            Refusal::Held(pid) => LockError::HeldBy(pid),
            Refusal::Io(cause) => LockError::Io { path, cause },
        })
    }

    fn take_file(path: &std::path::Path) -> Result<Self, Refusal> {
        // Opened close-on-exec, as the standard library does: an agent started by us must not hold the lock for us.
        let mut file =
            OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path)?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => {
                let mut text = String::new();
                let _ = (&mut file).take(32).read_to_string(&mut text);
                return Err(Refusal::Held(text.trim().parse().ok()));
            }
            Err(error) => return Err(Refusal::Io(error.into())),
        }
        file.set_len(0)?;
        file.rewind()?;
        writeln!(file, "{}", std::process::id())?;
        file.flush()?;
        Ok(Self { _file: file })
    }
}

enum Refusal {
    Held(Option<u32>),
    Io(io::Error),
}

impl From<io::Error> for Refusal {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paths(folder: &std::path::Path) -> Paths {
        let folder = folder.to_path_buf();
        Paths {
            config: folder.clone(),
            data: folder.clone(),
            state: folder.clone(),
            cache: folder.clone(),
            runtime: folder.clone(),
            hub: folder.clone(),
            client_token: folder,
            rehearsal: false,
        }
    }

    #[test]
    fn the_second_is_told_who_holds_it_and_may_have_it_afterwards() {
        let folder = tempfile::tempdir().unwrap();
        let paths = paths(folder.path());
        let first = ControllerLock::take(&paths).unwrap();
        let refused = ControllerLock::take(&paths).unwrap_err();
        assert!(matches!(refused, LockError::HeldBy(Some(pid)) if pid == std::process::id()), "{refused}");
        drop(first);
        assert!(ControllerLock::take(&paths).is_ok());
    }

    #[test]
    fn a_stale_number_inside_locks_nobody_out() {
        let folder = tempfile::tempdir().unwrap();
        let paths = paths(folder.path());
        std::fs::write(paths.lock_file(), "1\n").unwrap();
        let _held = ControllerLock::take(&paths).unwrap();
        let text = std::fs::read_to_string(paths.lock_file()).unwrap();
        assert_eq!(text.trim(), std::process::id().to_string());
    }

    #[test]
    fn a_folder_that_is_not_there_is_named() {
        let error = ControllerLock::take(&paths(std::path::Path::new("/nowhere/at/all"))).unwrap_err();
        assert!(error.to_string().contains("/nowhere/at/all/controller.lock"), "{error}");
    }
}
