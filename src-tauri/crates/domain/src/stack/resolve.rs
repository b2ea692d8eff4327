//! Raw to resolved: every check of the stack file, all problems at once.

use std::collections::BTreeMap;

use super::Stack;
use super::raw::RawStack;
use crate::memory::Bytes;

/// What the check needs to know from outside the file.
#[derive(Debug, Clone, Default)]
pub struct Facts {
    /// Sizes on disk of models that are plain files (GGUF paths), by the path as written.
    pub file_sizes: BTreeMap<String, Bytes>,
    /// 1 for a real machine. 1024 for a rehearsal, whose stack is written in MB for GB: the known figures of models
    /// (weights, overhead, KV bytes per token) are divided by it, so that every sum is the same in a smaller unit.
    pub scale: u64,
}

/// One thing that is wrong, where, and what to write instead.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The path of the key: `["agents", "odin", "port"]`. Empty for the file as a whole.
    pub path: Vec<String>,
    /// What is wrong, one sentence.
    pub message: String,
    /// What to do, one sentence.
    pub next: String,
}

/// Something allowed but worth knowing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    pub path: Vec<String>,
    pub message: String,
}

/// # Errors
/// Every problem of the file at once, never only the first.
pub fn resolve(_raw: &RawStack, _facts: &Facts) -> Result<Stack, Vec<Problem>> {
    Err(Vec::new())
}
