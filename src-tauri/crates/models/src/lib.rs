//! Weights: where the Hugging Face cache has them, and whether all of them are there.
//!
//! Read only. Deliberately absent, for now: downloads, the Hub itself, what is inside the files.

pub mod cache;
pub mod config;

use std::path::Path;

pub use cache::gguf_path;

/// Whether a GGUF file is there to be loaded: a plain file (or a link to one) that is not empty.
pub fn gguf_exists(path: &Path) -> bool {
    std::fs::metadata(path).is_ok_and(|m| m.is_file() && m.len() > 0)
}
