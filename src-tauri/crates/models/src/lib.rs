//! Weights: where the Hugging Face cache has them, whether all of them are there, and what their files say of a model.
//!
//! Read only. Every file is untrusted: lengths are bounded before memory is taken. Deliberately absent, for now:
//! downloads, the Hub itself.

pub mod cache;
pub mod config;
pub mod describe;
pub mod download;
pub mod gguf;
pub mod hub;
pub mod remote;
pub mod safetensors;
pub mod variants;

use std::path::Path;

pub use cache::gguf_path;
pub use describe::{DescribeError, Described, describe, facts_of};

/// Whether a GGUF file is there to be loaded: a plain file (or a link to one) that is not empty.
pub fn gguf_exists(path: &Path) -> bool {
    std::fs::metadata(path).is_ok_and(|m| m.is_file() && m.len() > 0)
}
