//! Errors as every face gets them: a code, what happened, what to do.

use serde::{Deserialize, Serialize};
use ts_rs::TS;

/// A code exists only where a client reacts to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, TS)]
#[serde(rename_all = "snake_case")]
pub enum Code {
    /// The words of the request are wrong: exit code 2.
    Usage,
    /// Nothing of that name: exit code 2.
    Unknown,
    /// The answer is no, with numbers: exit code 1.
    DoesNotFit,
    /// Not now: something else is under way. Shown as a notice, not as a failure.
    Busy,
    /// The one who asked, or another face, cancelled it.
    Cancelled,
    /// It was tried and failed: exit code 1.
    Failed,
    /// The container engine cannot be reached: exit code 3.
    Engine,
    /// No controller runs, or it went away: exit code 3.
    Unreachable,
    /// The stack file does not hold: exit code 1.
    Stack,
    /// The stack came from somebody else, and nobody has confirmed what it would run. The window offers to show it.
    Unconfirmed,
    /// The agent is not awake. The window offers "Switch and send".
    Asleep,
}

/// What happened (one sentence), then what to do (one sentence, possibly empty).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, TS, thiserror::Error)]
#[error("{message}")]
pub struct ApiError {
    pub code: Code,
    pub message: String,
    pub next: String,
}

impl ApiError {
    pub fn new(code: Code, message: impl Into<String>, next: impl Into<String>) -> Self {
        Self { code, message: message.into(), next: next.into() }
    }

    /// The exit code of a command that ends with this error.
    pub fn exit_code(&self) -> u8 {
        match self.code {
            Code::Usage | Code::Unknown => 2,
            Code::Engine | Code::Unreachable => 3,
            _ => 1,
        }
    }
}
