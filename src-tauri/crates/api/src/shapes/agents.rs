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
