//! One agent: wishes, health, logs.

use serde::{Deserialize, Serialize};
use ts_rs::TS;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, TS)]
pub struct AgentRequest {
    pub agent: String,
}

/// Apply one of an agent's suggestions to the stack file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, TS)]
pub struct SuggestionRequest {
    pub agent: String,
    pub id: String,
}

/// Give the memory to something else.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, TS)]
pub struct YieldRequest {
    /// For how long; null until resumed.
    pub hours: Option<f64>,
}

/// What an agent is started with, and why: the same awake and asleep.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, TS)]
pub struct LaunchPreview {
    pub agent: String,
    /// "vllm", "llama.cpp".
    pub backend: String,
    /// "docker", "podman", "container" where no engine answers, "process".
    pub engine: String,
    /// With its digest where one is pinned; null for a process.
    pub image: Option<String>,
    /// "vLLM 0.32.0"; null where the image was not asked yet, and then no flag is dropped.
    pub version: Option<String>,
    /// The server's own command line.
    pub command: Vec<String>,
    /// A whole command for a shell, the container around it included; secrets are `****`.
    pub command_text: String,
    pub env: Vec<LaunchVariable>,
    /// In the order of the command line.
    pub flags: Vec<ExplainedFlag>,
    pub dropped: Vec<DroppedFlag>,
    /// What else is to be known, a sentence each.
    pub notes: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, TS)]
pub struct LaunchVariable {
    pub name: String,
    /// Null: it is a secret.
    pub value: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, TS)]
pub struct ExplainedFlag {
    pub flag: String,
    /// Null for a flag that has none.
    pub value: Option<String>,
    pub why: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, TS)]
pub struct DroppedFlag {
    pub flag: String,
    pub why: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, TS)]
pub struct HealthRequest {
    pub deep: bool,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, TS)]
pub struct Health {
    pub agents: Vec<AgentHealth>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, TS)]
pub struct AgentHealth {
    pub name: String,
    pub state: String,
    /// Null when asleep: a listing never wakes anyone.
    pub healthy: Option<bool>,
    pub detail: String,
    /// Seconds to the first token of the deep check.
    pub first_token_seconds: Option<f64>,
    pub tool_call: Option<bool>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, TS)]
pub struct LogsRequest {
    pub agent: String,
    /// At most this many of the last lines; 500 where null.
    pub lines: Option<u32>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, TS)]
pub struct LogTail {
    pub agent: String,
    pub lines: Vec<LogLine>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, TS)]
pub struct LogLine {
    pub text: String,
}
