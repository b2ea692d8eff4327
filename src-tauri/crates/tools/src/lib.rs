//! What coding tools need to use the agents through Bifrost: OpenCode's and oh-my-opencode's files edited in place, and
//! the lines to copy for the others.
//!
//! Pure: text in, text out. Where the files are, and how they are written so that nothing is lost, is `app`'s.
//!
//! Deliberately absent: secrets. A tool's file refers to a key by the name of a variable or the path of a file.

mod ask;
mod diff;
mod household;
pub mod jsonc;
mod oh_my;
mod opencode;
mod others;
mod roles;

pub use ask::{Ask, BadPrimary, NO_KEY, Primary};
pub use diff::unified;
pub use household::{Household, Part};
pub use oh_my::oh_my_opencode;
pub use opencode::{Edited, opencode};
pub use others::{Lines, aider, claude_code, cline, codex, continue_dev, zed};
