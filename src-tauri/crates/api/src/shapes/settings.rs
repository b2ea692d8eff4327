//! Settings, the stack file, the end.

use serde::{Deserialize, Serialize};
use ts_rs::TS;

/// What the controller does after login.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, TS)]
#[serde(rename_all = "snake_case")]
pub enum AfterLogin {
    #[default]
    Nothing,
    LastProfile,
    BaseProfile,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, TS)]
pub struct Settings {
    pub after_login: AfterLogin,
}

/// Only what is given changes.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, TS)]
pub struct SettingsPatch {
    pub after_login: Option<AfterLogin>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, TS)]
pub struct StackFile {
    pub path: String,
    /// Whether the file exists; if not, the text is the shipped stack.
    pub saved: bool,
    pub text: String,
    pub problems: Vec<StackProblem>,
    pub notes: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, TS)]
pub struct StackProblem {
    pub file: String,
    /// 1-based; null where the whole file is meant.
    pub line: Option<u32>,
    pub message: String,
    pub next: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, TS)]
pub struct ShutdownRequest {
    pub stop_agents: bool,
}
