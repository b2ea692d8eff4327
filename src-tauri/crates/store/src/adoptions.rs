//! What a person said about servers that Asgard did not start. Kept before anything is done, so that it can be taken
//! back whatever happens in between.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::atomic;

/// One answer about one server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    /// The server's: "docker/strix-vllm_thor-1", "process/4711-90210"; with "#MODEL" behind it for one model of several.
    pub id: String,
    pub name: String,
    pub engine: String,
    pub what: What,
    /// RFC 3339.
    #[serde(default)]
    pub when: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "said", rename_all = "lowercase")]
pub enum What {
    Adopted {
        agent: String,
        /// "http://127.0.0.1:8001".
        endpoint: String,
        /// By which id it knows its model.
        model: Option<String>,
        backend: String,
        context: Option<u32>,
        /// Bytes that it counts with.
        memory: Option<u64>,
        /// Whether no agent of the stack file has this name.
        guest: bool,
    },
    Left,
    Stopped {
        /// The engine's id of the container, to start it again.
        container: Option<String>,
        /// Of a process: its command line and its folder.
        command: Vec<String>,
        folder: Option<PathBuf>,
    },
}

#[derive(Debug, thiserror::Error)]
pub enum AdoptionsError {
    #[error("The answers about servers of others in {} cannot be {doing}: {cause}.", path.display())]
    Io { path: PathBuf, doing: &'static str, cause: io::Error },
    #[error("The answers about servers of others could not be read ({cause}). They were set aside as {}.", moved_to.display())]
    Corrupt { moved_to: PathBuf, cause: String },
}

/// # Errors
/// A file that cannot be read; one that is damaged is set aside first, so that the next start is clean.
pub fn read(path: &Path) -> Result<Vec<Answer>, AdoptionsError> {
    let failed = |doing| move |cause| AdoptionsError::Io { path: path.to_path_buf(), doing, cause };
    let bytes = match fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(failed("read")(error)),
    };
    serde_json::from_slice(&bytes).or_else(|error| {
        let moved_to = atomic::set_aside(path, "corrupt").map_err(failed("set aside"))?;
        Err(AdoptionsError::Corrupt { moved_to, cause: error.to_string() })
    })
}

/// # Errors
/// The folder or the file cannot be written; then what was there is still there.
pub fn write(path: &Path, answers: &[Answer]) -> Result<(), AdoptionsError> {
    let failed = |cause| AdoptionsError::Io { path: path.to_path_buf(), doing: "written", cause };
    let text = serde_json::to_vec_pretty(answers).map_err(|e| failed(e.into()))?;
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).map_err(failed)?;
    }
    atomic::write(path, &text, 0o600).map_err(failed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answers() -> Vec<Answer> {
        let adopted = What::Adopted {
            agent: "thor".into(),
            endpoint: "http://127.0.0.1:8001".into(),
            model: Some("Qwen/Qwen2.5-14B-Instruct-AWQ".into()),
            backend: "vllm".into(),
            context: Some(32_768),
            memory: Some(25 << 30),
            guest: false,
        };
        let stopped = What::Stopped { container: Some("ab12".into()), command: Vec::new(), folder: None };
        [("docker/a", adopted), ("docker/b", What::Left), ("docker/c", stopped)]
            .map(|(id, what)| Answer {
                id: id.into(),
                name: id.into(),
                engine: "docker".into(),
                what,
                when: "2026-02-07T14:10:00Z".into(),
            })
            .to_vec()
    }

    #[test]
    fn what_is_written_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("below/adoptions.json");
        assert_eq!(read(&path).unwrap(), Vec::new());
        write(&path, &answers()).unwrap();
        assert_eq!(read(&path).unwrap(), answers());
    }

    #[test]
    fn a_damaged_file_is_set_aside_once() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("adoptions.json");
        fs::write(&path, "[{").unwrap();
        let Err(AdoptionsError::Corrupt { moved_to, .. }) = read(&path) else { panic!("it was taken") };
        assert_eq!(fs::read(moved_to).unwrap(), b"[{");
        assert_eq!(read(&path).unwrap(), Vec::new());
    }
}
