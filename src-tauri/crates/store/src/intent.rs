//! What a switch set out to do, on the disk from before its first step until after its last: the one thing a
//! controller that was killed leaves to its successor.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::atomic;

/// Agents are names here, not checked ones: the stack may have changed since, and the reader decides what is left.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Intent {
    pub id: u64,
    pub from_awake: Vec<String>,
    /// The wish in words: "switch to odin".
    pub goal: String,
    pub to_awake: Vec<String>,
    #[serde(default)]
    pub profile_from: Option<String>,
    #[serde(default)]
    pub profile_to: Option<String>,
    #[serde(default)]
    pub steps_done: u32,
    /// RFC 3339.
    #[serde(default)]
    pub started: String,
}

#[derive(Debug, thiserror::Error)]
pub enum IntentError {
    #[error("The note on the switch under way in {} cannot be {doing}: {cause}. Check that its folder can be written and has room.", path.display())]
    Io { path: PathBuf, doing: &'static str, cause: io::Error },
    #[error("The note on an unfinished switch could not be read ({cause}). It was set aside as {}; what runs is taken as it is.", moved_to.display())]
    Corrupt { moved_to: PathBuf, cause: String },
}

pub fn write(path: &Path, intent: &Intent) -> Result<(), IntentError> {
    let failed = |cause| IntentError::Io { path: path.to_path_buf(), doing: "written", cause };
    let text = serde_json::to_vec_pretty(intent).map_err(|e| failed(e.into()))?;
    // The folder may have been deleted under a running controller; a switch need not fail for that.
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).map_err(failed)?;
    }
    atomic::write(path, &text, 0o600).map_err(failed)
}

/// The intent that was left, if any. One that cannot be read is set aside, so that the next start is clean.
pub fn read(path: &Path) -> Result<Option<Intent>, IntentError> {
    let failed = |doing| move |cause| IntentError::Io { path: path.to_path_buf(), doing, cause };
    let bytes = match fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed("read")(error)),
    };
    match serde_json::from_slice(&bytes) {
        Ok(intent) => Ok(Some(intent)),
        Err(error) => {
            let moved_to = atomic::set_aside(path, "corrupt").map_err(failed("set aside"))?;
            tracing::warn!(file = %path.display(), moved_to = %moved_to.display(), %error, "an intent could not be read");
            Err(IntentError::Corrupt { moved_to, cause: error.to_string() })
        }
    }
}

pub fn clear(path: &Path) -> Result<(), IntentError> {
    atomic::remove(path).map_err(|cause| IntentError::Io {
        path: path.to_path_buf(),
        doing: "removed",
        cause,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn intent() -> Intent {
        Intent {
            id: 7,
            from_awake: vec!["thor".into(), "valkyrie".into()],
            goal: "switch to odin".into(),
            to_awake: vec!["thor".into(), "odin".into()],
            profile_from: Some("standard".into()),
            profile_to: Some("odin".into()),
            steps_done: 2,
            started: "2026-02-07T14:10:00Z".into(),
        }
    }

    #[test]
    fn what_was_written_is_read_until_it_is_cleared() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state/intent.json");
        assert_eq!(read(&path).unwrap(), None);
        write(&path, &intent()).unwrap();
        assert_eq!(read(&path).unwrap(), Some(intent()));
        clear(&path).unwrap();
        clear(&path).unwrap();
        assert_eq!(read(&path).unwrap(), None);
    }

    #[test]
    fn a_damaged_one_is_set_aside_and_said_once() {
        for damage in ["", "{", "[]", "{\"id\": -1}", "\u{0}\u{0}\u{0}"] {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("intent.json");
            fs::write(&path, damage).unwrap();
            let error = read(&path).unwrap_err();
            let IntentError::Corrupt { moved_to, .. } = &error else { panic!("{damage:?} gave {error}") };
            assert_eq!(fs::read_to_string(moved_to).unwrap(), damage);
            assert_eq!(read(&path).unwrap(), None);
        }
    }

    #[test]
    fn one_of_a_later_version_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("intent.json");
        fs::write(&path, r#"{"id":1,"from_awake":[],"goal":"g","to_awake":["a"],"weather":"fine"}"#).unwrap();
        assert_eq!(read(&path).unwrap().map(|i| i.to_awake), Some(vec!["a".to_owned()]));
    }
}
