//! Installed models: what is in the Hugging Face cache, whoever put it there.

use serde::{Deserialize, Serialize};
use ts_rs::TS;

use super::hub::Fit;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, TS)]
pub struct InstalledModels {
    /// By name.
    pub models: Vec<InstalledModel>,
    /// The `hub` folder.
    pub path: String,
    /// What the cache really holds; shared blobs counted once.
    pub held_bytes: u64,
    pub free_bytes: Option<u64>,
    /// Why nothing can be written there, in a sentence; null where it can.
    pub read_only: Option<String>,
    /// What there is besides models (data sets, folders that are none): a sentence each.
    pub notes: Vec<String>,
}

/// One snapshot of one repository, one GGUF of it, or what was imported.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, TS)]
pub struct InstalledModel {
    /// For requests; unique in the list.
    pub id: String,
    /// What an agent's `model` says of it.
    pub model: String,
    pub repo: String,
    pub title: String,
    pub commit: String,
    /// Branches and tags that point to the commit.
    pub revisions: Vec<String>,
    /// The folder or file.
    pub path: String,
    /// What its removal would free.
    pub held_bytes: u64,
    /// What it shares with other snapshots besides.
    pub shared_bytes: u64,
    pub files: u64,
    pub backend: Option<String>,
    /// "AWQ 4-bit".
    pub quantization: Option<String>,
    pub architecture: Option<String>,
    pub max_context: Option<u32>,
    pub licence: Option<String>,
    pub licence_title: Option<String>,
    pub used_by: Vec<ModelUser>,
    /// Presets that name it.
    pub presets: Vec<String>,
    pub complete: bool,
    /// What is missing or wrong.
    pub problem: Option<String>,
    /// When its hashes were last compared and right, RFC 3339.
    pub verified: Option<String>,
    /// Files that others own and this user cannot change: what that is, and the command that mends it.
    pub owner: Option<OwnerProblem>,
    pub weights_bytes: Option<u64>,
    /// At `context` and one sequence.
    pub memory_bytes: Option<u64>,
    pub context: Option<u32>,
    pub fit: Fit,
    pub tokens_per_second: Option<f64>,
    /// The download that brings the rest of it, where one is in the queue.
    pub download: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, TS)]
pub struct ModelUser {
    pub agent: String,
    pub display_name: String,
    pub awake: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, TS)]
pub struct OwnerProblem {
    pub message: String,
    pub command: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, TS)]
pub struct InstalledRequest {
    pub id: String,
}

/// While files are hashed, a chunk at most four times a second; the last has `done`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, TS)]
pub struct VerifyProgress {
    pub file: String,
    pub done_bytes: u64,
    pub total_bytes: u64,
    pub done: bool,
    /// Files whose content is not what their name says, or that cannot be read; at the end.
    pub damaged: Vec<String>,
    /// Files that nothing is known of to compare with.
    pub unknown: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, TS)]
pub struct RemoveModelRequest {
    pub id: String,
    /// Say what would go, and delete nothing.
    pub dry_run: bool,
    /// Also where an agent is set to it, as long as it sleeps.
    pub even_if_configured: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, TS)]
pub struct RemovedModel {
    pub removed: bool,
    pub freed_bytes: u64,
    pub files: u64,
    /// Why it is kept: who uses it.
    pub protected: Option<String>,
    pub users: Vec<ModelUser>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, TS)]
pub struct ImportModelRequest {
    /// A folder with a config.json and weights, or a GGUF file. A whole path.
    pub path: String,
    /// "organisation/name" under which it is to be found; made from the file's name where null.
    pub repo: Option<String>,
}

/// While it is read, a chunk at most four times a second; the last has the model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, TS)]
pub struct ImportProgress {
    /// Read at the moment, as it will be called in the repository.
    pub file: String,
    pub done_bytes: u64,
    pub total_bytes: u64,
    pub model: Option<InstalledModel>,
}
