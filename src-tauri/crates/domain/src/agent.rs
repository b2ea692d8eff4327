//! An agent's name, and the states it can be in.

use std::borrow::Borrow;
use std::fmt;

use serde::{Deserialize, Serialize};

/// The name of an agent as the stack file spells it: lower-case letters, digits and hyphens, at most 40, starting
/// with a letter. It becomes part of container names, labels and paths, so nothing else is let in.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct AgentName(String);

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is not a name: use lower-case letters, digits and hyphens, starting with a letter, at most 40"
)]
pub struct BadName(pub String);

impl AgentName {
    pub fn new(name: &str) -> Result<Self, BadName> {
        let fine = name.len() <= 40
            && name.starts_with(|c: char| c.is_ascii_lowercase())
            && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-');
        if fine { Ok(Self(name.to_owned())) } else { Err(BadName(name.to_owned())) }
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// As a proper name in a sentence: "odin" is written "Odin".
    pub fn proper(&self) -> String {
        let mut letters = self.0.chars();
        letters
            .next()
            .map(|first| first.to_ascii_uppercase().to_string() + letters.as_str())
            .unwrap_or_default()
    }
}

impl fmt::Display for AgentName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Borrow<str> for AgentName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl<'de> Deserialize<'de> for AgentName {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
        Self::new(&text).map_err(serde::de::Error::custom)
    }
}

/// The state of an agent: one word each, the same in cards, tray, log filters and notifications.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AgentState {
    Asleep,
    Pulling,
    Starting,
    Loading,
    Ready,
    Busy,
    Draining,
    Stopping,
    Failed,
}

impl AgentState {
    pub const ALL: [Self; 9] = [
        Self::Asleep,
        Self::Pulling,
        Self::Starting,
        Self::Loading,
        Self::Ready,
        Self::Busy,
        Self::Draining,
        Self::Stopping,
        Self::Failed,
    ];

    pub fn word(self) -> &'static str {
        match self {
            Self::Asleep => "asleep",
            Self::Pulling => "pulling",
            Self::Starting => "starting",
            Self::Loading => "loading",
            Self::Ready => "ready",
            Self::Busy => "busy",
            Self::Draining => "draining",
            Self::Stopping => "stopping",
            Self::Failed => "failed",
        }
    }

    /// Whether memory must be counted for an agent in this state.
    pub fn holds_memory(self) -> bool {
        !matches!(self, Self::Asleep | Self::Pulling | Self::Failed)
    }

    /// Whether it can take a request now.
    pub fn answers(self) -> bool {
        matches!(self, Self::Ready | Self::Busy)
    }
}

impl fmt::Display for AgentState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// How far a start has come: the four steps under the card's progress bar.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    Container,
    Weights,
    KvCache,
    WarmUp,
}

impl Stage {
    /// The word shown while it lasts.
    pub fn word(self) -> &'static str {
        match self {
            Self::Container => "Starting",
            Self::Weights => "Loading weights",
            Self::KvCache => "KV cache",
            Self::WarmUp => "Warm-up",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_could_escape_a_path_or_a_label_are_refused() {
        for bad in ["", "Odin", "-odin", "odin/..", "o din", "1odin", "ödin", &"a".repeat(41)] {
            assert!(AgentName::new(bad).is_err(), "{bad:?} must be refused");
        }
        for good in ["odin", "a", "coder-2", &"a".repeat(40)] {
            assert!(AgentName::new(good).is_ok(), "{good:?} must be taken");
        }
    }

    #[test]
    fn a_name_in_a_sentence_is_proper() {
        assert_eq!(AgentName::new("odin").map(|n| n.proper()), Ok("Odin".to_owned()));
    }
}
