//! A tool's file: read with care, and written so that it is whole at every moment and nothing of it is ever lost.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _, fchown};
use std::path::{Path, PathBuf};

use api::{ApiError, Code};

/// Larger files are something else by mistake.
const LARGEST: u64 = 1 << 20;

/// A file as it was found.
#[derive(Debug, Clone)]
pub(super) struct Found {
    /// As it was named.
    path: PathBuf,
    /// Where its bytes are: a link is followed, and stays a link.
    real: PathBuf,
    /// None where there is no file yet.
    pub(super) text: Option<String>,
    mode: u32,
    owner: Option<(u32, u32)>,
}

fn cannot(path: &Path, doing: &str, error: &io::Error) -> ApiError {
    let (why, next) = match error.kind() {
        ErrorKind::PermissionDenied => {
            ("you may not".to_owned(), "Check who owns it and its folder, and what its mode allows.")
        }
        ErrorKind::ReadOnlyFilesystem => {
            ("its file system is read-only".to_owned(), "Write the lines where your configuration is made.")
        }
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => {
            ("the disk is full".to_owned(), "Make room and try again; the file is as it was.")
        }
        _ if error.raw_os_error() == Some(rustix::io::Errno::LOOP.raw_os_error()) => {
            ("its links lead in a circle".to_owned(), "Make it a file, or a link to one.")
        }
        _ => (error.to_string(), "Check the path; the file is as it was."),
    };
    ApiError::new(Code::Failed, format!("{} cannot be {doing}: {why}.", path.display()), next)
}

fn is_no(path: &Path, why: &str) -> ApiError {
    ApiError::new(Code::Failed, format!("{} {why}.", path.display()), "Move it away, or name another file.")
}

/// # Errors
/// What is there and is no readable text file of a usual size.
pub(super) fn look(path: &Path) -> Result<Found, ApiError> {
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            return Ok(Found {
                path: path.to_path_buf(),
                real: path.to_path_buf(),
                text: None,
                mode: 0o644,
                owner: None,
            });
        }
        Err(error) => return Err(cannot(path, "read", &error)),
        Ok(_) => {}
    }
    let real = fs::canonicalize(path).map_err(|error| match error.kind() {
        ErrorKind::NotFound => is_no(path, "is a link to a file that is not there"),
        _ => cannot(path, "read", &error),
    })?;
    let metadata = fs::metadata(&real).map_err(|e| cannot(path, "read", &e))?;
    if metadata.is_dir() {
        return Err(is_no(path, "is a folder, not a file"));
    }
    // A pipe would be waited on for ever.
    if !metadata.is_file() {
        return Err(is_no(path, "is no ordinary file"));
    }
    let mut bytes = Vec::new();
    File::open(&real)
        .and_then(|file| file.take(LARGEST + 1).read_to_end(&mut bytes))
        .map_err(|e| cannot(path, "read", &e))?;
    if bytes.len() as u64 > LARGEST {
        return Err(is_no(path, "is larger than 1 MB, so it is no configuration"));
    }
    let text = String::from_utf8(bytes).map_err(|_| {
        ApiError::new(
            Code::Failed,
            format!("{} is no UTF-8 text.", path.display()),
            "Save it as UTF-8, then try again.",
        )
    })?;
    Ok(Found {
        path: path.to_path_buf(),
        real,
        text: Some(text),
        mode: metadata.mode() & 0o7777,
        owner: Some((metadata.uid(), metadata.gid())),
    })
}

/// Writes `text` over what was found, and answers where the file as it was is kept.
///
/// In this order, so that a kill at any moment leaves the old file or the new one whole: the new bytes beside it, the
/// backup, a last look whether it is still what was found, the rename.
///
/// # Errors
/// The first step that fails; then the file is as it was.
pub(super) fn write(found: &Found, text: &str, stamp: &str) -> Result<Option<PathBuf>, ApiError> {
    let mut writing = Writing::stage(found, text)?;
    let backup = writing.back_up(stamp)?;
    writing.swap()?;
    Ok(backup)
}

/// A write under way. Dropped before [`Writing::swap`] it leaves nothing beside the file but a backup.
struct Writing<'a> {
    found: &'a Found,
    staged: PathBuf,
}

impl<'a> Writing<'a> {
    fn stage(found: &'a Found, text: &str) -> Result<Self, ApiError> {
        let failed = |e: io::Error| cannot(&found.path, "written", &e);
        if found.text.is_some() {
            // A rename needs no leave of the file itself; its mode is still somebody's word.
            OpenOptions::new().write(true).open(&found.real).map_err(failed)?;
        } else if let Some(folder) = found.real.parent() {
            fs::create_dir_all(folder).map_err(failed)?;
        }
        let staged = beside(&found.real, &format!("asgard-{}.new", std::process::id()));
        // What an earlier process of this number left when it was killed.
        let _ = fs::remove_file(&staged);
        let writing = Self { found, staged };
        (|| {
            let mut options = OpenOptions::new();
            // As closed as the file itself from its first byte on.
            let mut file = options.write(true).create_new(true).mode(found.mode).open(&writing.staged)?;
            if let Some((user, group)) = found.owner {
                // Root edits a user's file: it stays the user's. Nobody else can give one away, nor needs to.
                let _ = fchown(&file, Some(user), Some(group));
                file.set_permissions(fs::Permissions::from_mode(found.mode))?;
            }
            file.write_all(text.as_bytes())?;
            file.sync_all()
        })()
        .map_err(failed)?;
        Ok(writing)
    }

    /// A copy under a name that nothing has yet.
    fn back_up(&mut self, stamp: &str) -> Result<Option<PathBuf>, ApiError> {
        let Some(text) = &self.found.text else { return Ok(None) };
        let failed = |e: io::Error| cannot(&self.found.path, "backed up", &e);
        for n in 0..10_000_u32 {
            let number = if n == 0 { String::new() } else { format!("-{n}") };
            let name = beside(&self.found.path, &format!("{stamp}{number}.bak"));
            // It gets its name when it is whole, so that no kill leaves half a backup.
            match store::atomic::write_new(&name, text.as_bytes(), self.found.mode) {
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
                Err(error) => return Err(failed(error)),
                Ok(()) => return Ok(Some(name)),
            }
        }
        Err(failed(io::Error::from(ErrorKind::AlreadyExists)))
    }

    fn swap(&mut self) -> Result<(), ApiError> {
        if look(&self.found.path)?.text != self.found.text {
            return Err(changed(&self.found.path));
        }
        let failed = |e: io::Error| cannot(&self.found.path, "written", &e);
        if self.found.text.is_none() {
            // A link instead of a rename: one that appeared in the meantime is not replaced.
            match fs::hard_link(&self.staged, &self.found.real) {
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                    return Err(changed(&self.found.path));
                }
                Err(_) => fs::rename(&self.staged, &self.found.real).map_err(failed)?,
                Ok(()) => {}
            }
        } else {
            fs::rename(&self.staged, &self.found.real).map_err(failed)?;
        }
        if let Some(folder) = self.found.real.parent() {
            // Some file systems cannot; the rename is whole all the same.
            let _ = File::open(folder).and_then(|f| f.sync_all());
        }
        Ok(())
    }
}

impl Drop for Writing<'_> {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.staged);
    }
}

pub(super) fn changed(path: &Path) -> ApiError {
    ApiError::new(
        Code::Busy,
        format!("{} has changed since it was looked at, and is left as it is.", path.display()),
        "Look at what would change again, then write.",
    )
}

fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".");
    name.push(suffix);
    PathBuf::from(name)
}

#[cfg(test)]
mod tests;
