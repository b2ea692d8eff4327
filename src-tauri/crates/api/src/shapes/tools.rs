//! Coding tools: the configuration that each needs to use the agents through Bifrost.

use serde::{Deserialize, Serialize};
use ts_rs::TS;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, TS)]
#[serde(rename_all = "kebab-case")]
pub enum Tool {
    Opencode,
    /// oh-my-opencode, also named oh-my-openagent.
    OhMyOpencode,
    Codex,
    ClaudeCode,
    Zed,
    Continue,
    Cline,
    Aider,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, TS)]
pub struct ToolRequest {
    pub tool: Tool,
    /// Write a project's `.opencode/` instead of the user's own configuration.
    pub project: Option<String>,
    /// The primary: an agent's name, or "cloud:PROVIDER/MODEL". Null leaves what is there.
    pub primary: Option<String>,
    /// Which gateway key the tool shall use; null: none.
    pub key: Option<String>,
    /// To write: the diff that the person saw. Where it would be another one now, nothing is written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[ts(optional)]
    pub shown: Option<String>,
}

/// As [`ToolRequest`], for every tool at once.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, TS)]
#[serde(default)]
pub struct ToolsRequest {
    pub project: Option<String>,
    pub primary: Option<String>,
    pub key: Option<String>,
}

/// What would be written, or is to be copied.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, TS)]
pub struct ToolConfig {
    pub tool: Tool,
    /// "OpenCode".
    pub title: String,
    /// The file it belongs into; null where the tool has no file of its own (settings in its window, variables).
    pub path: Option<String>,
    /// The lines to copy, whole.
    pub text: String,
    /// What Asgard would write: a unified diff against the file as it is; null where it does not write this tool's.
    pub diff: Option<String>,
    /// Nothing would change.
    pub same: bool,
    /// In one line each: what to know before using it.
    pub notes: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, TS)]
pub struct ToolConfigs {
    pub tools: Vec<ToolConfig>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, TS)]
pub struct ToolWritten {
    pub path: String,
    /// Where the file as it was is kept; null where there was none.
    pub backup: Option<String>,
    pub same: bool,
}

/// Ask an agent five short prompts and measure.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, TS)]
pub struct BenchRequest {
    pub agent: String,
}

/// One line of a measurement; the last has `done`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, TS)]
pub struct BenchLine {
    pub agent: String,
    /// 1 to 5; 0 in the last line.
    pub prompt: u32,
    pub of: u32,
    pub first_token_seconds: Option<f64>,
    pub tokens_per_second: Option<f64>,
    pub tokens: Option<u64>,
    /// The medians are in this line.
    pub done: bool,
    /// A prompt that got no answer.
    pub error: Option<String>,
}
