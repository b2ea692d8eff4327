//! What was asked for and what was sent, so that a test can hold clients to their promises.

use std::sync::Mutex;

use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Entry {
    /// "hub" or "cdn".
    pub host: String,
    pub method: String,
    /// With its query.
    pub target: String,
    /// "owner/name/path/of/file", where it was of a file.
    pub file: String,
    pub range: Option<String>,
    /// Whether an Authorization header came with it; never what it said.
    pub authorization: bool,
    /// 0 until it is answered.
    pub status: u16,
    /// Bytes of the body that the connection took.
    pub bytes: u64,
}

/// Which entry.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Number(usize, u64);

#[derive(Debug, Default)]
pub(crate) struct Log(Mutex<Entries>);

#[derive(Debug, Default)]
struct Entries {
    entries: Vec<Entry>,
    /// Rises when the log is emptied, so that answers under way do not write into later entries.
    round: u64,
}

impl Log {
    fn with<T>(&self, look: impl FnOnce(&mut Entries) -> T) -> T {
        look(&mut self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner))
    }

    pub(crate) fn add(&self, entry: Entry) -> Number {
        self.with(|all| {
            all.entries.push(entry);
            Number(all.entries.len() - 1, all.round)
        })
    }

    pub(crate) fn change(&self, number: Number, change: impl FnOnce(&mut Entry)) {
        self.with(|all| {
            if all.round == number.1
                && let Some(entry) = all.entries.get_mut(number.0)
            {
                change(entry);
            }
        });
    }

    pub(crate) fn all(&self) -> Vec<Entry> {
        self.with(|all| all.entries.clone())
    }

    pub(crate) fn clear(&self) {
        self.with(|all| {
            all.entries.clear();
            all.round += 1;
        });
    }
}
