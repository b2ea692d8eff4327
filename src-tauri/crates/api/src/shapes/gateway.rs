//! Bifrost: who waits, what was asked of it, and what it allows.

use serde::{Deserialize, Serialize};
use ts_rs::TS;

/// Which requests are shown.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, TS)]
#[serde(default)]
pub struct RequestsQuery {
    /// At most so many of those that ended; up to 1000, and 0 is 100.
    pub limit: u32,
    /// Those that ended before this one; null for the latest.
    pub before: Option<i64>,
    pub agent: Option<String>,
    pub client: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, TS)]
pub struct Requests {
    /// Waiting and running ones, the oldest first.
    pub under_way: Vec<RequestRow>,
    /// Those that ended, the latest first.
    pub ended: Vec<RequestRow>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, TS)]
#[serde(rename_all = "snake_case")]
pub enum RequestOutcome {
    /// In a queue.
    Waiting,
    Running,
    Done,
    /// The gateway said no.
    Refused,
    /// The agent answered with an error.
    Error,
    /// The answer broke off.
    Broken,
    /// The client hung up.
    Left,
}

/// One request. What is not known is null.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, TS)]
pub struct RequestRow {
    /// Null while it is under way.
    pub id: Option<i64>,
    /// When it came.
    pub time: String,
    /// The key's name, else the user agent's first word.
    pub client: String,
    pub agent: Option<String>,
    pub path: String,
    pub stream: bool,
    pub outcome: RequestOutcome,
    /// What the client was sent.
    pub status: Option<u16>,
    pub prompt_tokens: Option<u64>,
    pub completion_tokens: Option<u64>,
    /// Completion tokens were counted by the events of the stream, not said by the server.
    pub counted: bool,
    pub queued_seconds: f64,
    pub first_token_seconds: Option<f64>,
    pub tokens_per_second: Option<f64>,
    pub seconds: f64,
    /// While it waits: its place, what is under way, the time left.
    pub place: Option<RequestPlace>,
    /// Why it waited or was refused, in one sentence.
    pub why: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, TS)]
pub struct RequestPlace {
    /// 1 is next.
    pub place: u32,
    /// "Draining Valkyrie", "Loading Odin".
    pub stage: String,
    pub seconds_left: Option<f64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, TS)]
#[serde(rename_all = "snake_case")]
pub enum TableFormat {
    Csv,
    Json,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, TS)]
pub struct ExportRequestsRequest {
    pub format: TableFormat,
}

/// A text to save under a name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, TS)]
pub struct NamedText {
    pub name: String,
    pub text: String,
}

/// The session of the summon budgets, and the keys.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, TS)]
pub struct GatewayView {
    pub session_start: String,
    /// Ends by itself after 8 hours without a summon.
    pub session_ends: Option<String>,
    pub budgets: Vec<BudgetView>,
    pub keys: Vec<KeyView>,
    /// The settings of `[gateway]` in force, as their keys spell them.
    pub settings: GatewaySettings,
}

/// What is left of a budget for clients. The person at the window is not bound by it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, TS)]
pub struct BudgetView {
    /// "reviewer" or "utility".
    pub tier: String,
    pub used: u32,
    /// Null: no limit.
    pub limit: Option<u32>,
    /// Until when the cooldown forbids a summon.
    pub cooldown_until: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, TS)]
pub struct KeyView {
    pub name: String,
    /// Null: every agent.
    pub agents: Option<Vec<String>>,
    /// When a request last came with it.
    pub last_used: Option<String>,
}

/// Times in seconds; 0 means no limit.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, TS)]
pub struct GatewaySettings {
    pub listen: String,
    pub wake: bool,
    pub hold: bool,
    pub queue_limit: u32,
    pub max_streams: u32,
    pub odin_ttl: f64,
    pub odin_cooldown: f64,
    pub session_budget_odin: u32,
    pub session_budget_utility: u32,
    pub health_timeout: f64,
}

/// Change `[gateway]` in the stack file; only what is given changes.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, TS)]
#[serde(default)]
pub struct GatewayPatch {
    pub wake: Option<bool>,
    pub hold: Option<bool>,
    pub queue_limit: Option<u32>,
    pub odin_ttl: Option<f64>,
    pub odin_cooldown: Option<f64>,
    pub session_budget_odin: Option<u32>,
    pub session_budget_utility: Option<u32>,
    pub health_timeout: Option<f64>,
    /// Address and port. Another address than the loopback needs a key first.
    pub listen: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, TS)]
pub struct PauseRequest {
    pub paused: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, TS)]
pub struct NewKeyRequest {
    pub name: String,
    /// Null: every agent.
    pub agents: Option<Vec<String>>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, TS)]
pub struct KeyRequest {
    pub name: String,
}

/// A tool's key in clear: for the tool's own configuration.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, TS)]
pub struct KeyText {
    pub name: String,
    pub key: String,
}
