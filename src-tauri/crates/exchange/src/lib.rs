//! Stacks from and to other formats: the compose files and the `.env` of strix-opencode and of those like it.
//!
//! Pure: text in, text out. Nothing of an imported text is ever run, no variable but those given is read, and what is
//! not understood is said instead of guessed.
//!
//! Deliberately absent: files and folders, a YAML writer for anything but our own exports, `include` and `extends`
//! across files.

mod agents;
mod claim;
mod compose;
mod correct;
mod dotenv;
mod env;
mod export;
mod finish;
mod interpolate;
mod known;
mod report;
mod stack;
mod write;
mod yaml;

use domain::Bytes;
use domain::secret::Secret;

pub use compose::import_compose;
pub use env::import_env;
pub use export::{Export, export_compose, export_env};
pub use stack::import_stack;

/// One file as it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceFile {
    /// As the person named it.
    pub name: String,
    pub text: String,
}

/// What the import may know of this machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Facts {
    /// What a share of the GPU's memory is a share of. Without it shares stay shares, and that is said.
    pub capacity: Option<Bytes>,
}

/// What became of one thing in a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    pub file: String,
    /// 1-based.
    pub line: Option<u32>,
    pub agent: Option<String>,
    /// The variable, or the path of the key: "THOR_MAX_LEN", "services.vllm_frigga.volumes".
    pub what: String,
    /// One or two sentences: what became of it, and why.
    pub message: String,
}

/// A stack out of other files.
#[derive(Debug, Clone, Default)]
pub struct Import {
    /// The text of a stack file.
    pub stack: String,
    pub understood: Vec<Finding>,
    pub corrected: Vec<Finding>,
    pub not_understood: Vec<Finding>,
    /// Names and values of secrets that the files held.
    pub secrets: Vec<(String, Secret)>,
}

/// Why nothing was imported: one sentence with the place, one with what to do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct ImportError {
    pub message: String,
    pub next: String,
}
