//! The mark beside a stack file that came from somebody else: nothing of it is started while it is there.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::atomic;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unconfirmed {
    /// "imported from hybrid.yml".
    pub source: String,
    /// Of what it would run, when it was written.
    pub surface_hash: String,
}

#[derive(Debug, thiserror::Error)]
#[error("The mark of an unconfirmed stack, {}, cannot be {doing}: {cause}.", path.display())]
pub struct ConfirmError {
    path: PathBuf,
    doing: &'static str,
    cause: io::Error,
}

/// The mark, if there is one. One that cannot be read still holds the stack back.
pub fn read(path: &Path) -> Option<Unconfirmed> {
    let unknown =
        || Unconfirmed { source: "brought from somewhere else".to_owned(), surface_hash: String::new() };
    match fs::read(path) {
        Ok(bytes) => Some(serde_json::from_slice(&bytes).unwrap_or_else(|_| unknown())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(_) => Some(unknown()),
    }
}

/// # Errors
/// The folder or the file cannot be written.
pub fn write(path: &Path, mark: &Unconfirmed) -> Result<(), ConfirmError> {
    let failed = |cause| ConfirmError { path: path.to_path_buf(), doing: "written", cause };
    let text = serde_json::to_vec_pretty(mark).map_err(|e| failed(e.into()))?;
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).map_err(failed)?;
    }
    atomic::write(path, &text, 0o600).map_err(failed)
}

/// # Errors
/// The file cannot be removed; then it goes on holding the stack back.
pub fn clear(path: &Path) -> Result<(), ConfirmError> {
    atomic::remove(path).map_err(|cause| ConfirmError { path: path.to_path_buf(), doing: "removed", cause })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_holds_back_until_it_is_cleared_even_when_damaged() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("unconfirmed.json");
        assert_eq!(read(&path), None);
        let mark = Unconfirmed { source: "imported from x.yml".into(), surface_hash: "h".into() };
        write(&path, &mark).unwrap();
        assert_eq!(read(&path), Some(mark));
        fs::write(&path, "{").unwrap();
        assert!(read(&path).is_some());
        clear(&path).unwrap();
        clear(&path).unwrap();
        assert_eq!(read(&path), None);
    }
}
