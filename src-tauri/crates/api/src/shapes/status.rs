//! `status`: the whole state at one revision.

use domain::agent::{AgentState, Stage};
use serde::{Deserialize, Serialize};
use ts_rs::TS;

/// An empty payload or answer: `{}`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, TS)]
pub struct Nothing {}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, TS)]
pub struct Changed {
    pub revision: u64,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, TS)]
pub struct Status {
    pub revision: u64,
    pub profile: Option<String>,
    /// Whether exactly the profile's agents are awake.
    pub profile_matches: bool,
    pub switching: Option<Switching>,
    pub rehearsal: bool,
    pub engines: Vec<EngineStatus>,
    pub gateway: GatewayStatus,
    pub pools: Vec<Pool>,
    pub agents: Vec<AgentStatus>,
    /// Sentences that concern the whole: a stack file that does not hold, an engine that went away, lost memory.
    pub notices: Vec<Notice>,
    /// Whether the stack in force came from somebody else and waits for a person's word.
    pub unconfirmed: bool,
    /// How many servers of others were found that nobody has said anything about.
    pub open_neighbours: u32,
    /// The name of the stack in force, and whether it is a file of the user's or the shipped one.
    pub stack: StackName,
    /// RFC 3339: since when this controller runs.
    pub since: String,
    /// The memory was given to something else: what was stopped for it, and until when it stays so.
    pub yielded: Option<Yielded>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, TS)]
pub struct Yielded {
    /// RFC 3339; null until resumed.
    pub until: Option<String>,
    /// Who was awake before.
    pub agents: Vec<String>,
}

/// A change of an agent's stack entry that one press applies.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, TS)]
pub struct Suggestion {
    /// "failure", "footprint", "kv_peak".
    pub id: String,
    pub key: String,
    /// As it would be written in the stack file.
    #[ts(type = "unknown")]
    pub value: serde_json::Value,
    /// One or two sentences: what was seen, and what the change does.
    pub words: String,
    /// Memory that it gives back (above zero) or takes.
    pub gives_bytes: Option<i64>,
}

/// Planned beside measured.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, TS)]
pub struct Footprint {
    pub planned_bytes: u64,
    pub steady_bytes: u64,
    pub peak_bytes: u64,
    pub starts: u32,
    /// "planned 25.0, measured 24.6, 6 starts"
    pub words: String,
    /// What moved since earlier starts, in words.
    pub drift: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, TS)]
pub struct StackName {
    pub name: String,
    pub saved: bool,
    pub hash: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, TS)]
pub struct Notice {
    pub severity: Severity,
    pub message: String,
    pub next: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, TS)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    Info,
    Warning,
    Failure,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, TS)]
pub struct Switching {
    pub from: Option<String>,
    /// A profile, or the agent that a start or stop is about.
    pub to: String,
    /// 1-based.
    pub step: u32,
    pub steps: u32,
    pub agent: Option<String>,
    /// "drain", "stop", "wait_memory", "pull", "start", "wait_ready", "undo".
    pub stage: String,
    /// 0 to 1 over the whole.
    pub progress: Option<f64>,
    pub seconds_left: Option<f64>,
    pub cancellable: bool,
    /// Whether it is being undone.
    pub undoing: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, TS)]
pub struct EngineStatus {
    pub id: String,
    /// "docker", "podman", "process", "external", "ollama".
    pub kind: String,
    pub version: Option<String>,
    pub reachable: bool,
    pub error: Option<Failure>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, TS)]
pub struct GatewayStatus {
    /// "http://127.0.0.1:8899/v1"; null when its port could not be had.
    pub address: Option<String>,
    pub paused: bool,
    pub error: Option<Failure>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, TS)]
pub struct Failure {
    pub code: String,
    pub message: String,
    pub next: String,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, TS)]
pub struct Pool {
    pub id: String,
    pub name: String,
    /// "unified", "vram", "ram".
    pub kind: String,
    pub capacity_bytes: Option<u64>,
    pub limit_bytes: Option<u64>,
    pub device_cap_bytes: Option<u64>,
    pub used_bytes: u64,
    pub device_used_bytes: Option<u64>,
    pub other_bytes: u64,
    pub lost_bytes: u64,
    pub available_bytes: u64,
    pub agents: Vec<PoolAgent>,
    /// Two sources of this pool's figures that differ, in words; null where they agree.
    pub doubt: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, TS)]
pub struct PoolAgent {
    pub agent: String,
    pub reserved_bytes: u64,
    pub measured_bytes: Option<u64>,
    pub device_bytes: u64,
    pub host_bytes: u64,
    /// What the reservation is made of, for the bar: solid, hatched, and the rest.
    pub weights_bytes: u64,
    pub kv_bytes: u64,
    pub overhead_bytes: u64,
    pub learned: Option<Learned>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, TS)]
pub struct Learned {
    pub steady_bytes: u64,
    pub peak_bytes: u64,
    pub starts: u32,
}

#[expect(clippy::struct_excessive_bools, reason = "a shape on the wire: each is a fact of its own")]
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, TS)]
pub struct AgentStatus {
    pub name: String,
    /// "Odin".
    pub display_name: String,
    pub title: String,
    #[ts(type = "AgentState")]
    pub state: AgentState,
    #[ts(type = "Stage | null")]
    pub stage: Option<Stage>,
    /// 0 to 1 of the start.
    pub progress: Option<f64>,
    pub seconds_left: Option<f64>,
    /// One line for a person about what it is doing.
    pub detail: Option<String>,
    /// The id of the engine it runs on.
    pub engine: Option<String>,
    pub endpoint: Option<String>,
    pub backend: String,
    pub model: String,
    pub quantization: Option<String>,
    pub port: u16,
    pub context: u32,
    pub running: Option<u32>,
    pub waiting: Option<u32>,
    /// 0 to 1.
    pub kv_cache_used: Option<f64>,
    pub tokens_per_second: Option<f64>,
    pub prompt_tokens_per_second: Option<f64>,
    /// Mean over the requests that got their first token last.
    pub time_to_first_token_seconds: Option<f64>,
    /// Requests that had to give their KV cache up for others, since the server started.
    pub preemptions: Option<u64>,
    /// Tokens that its KV cache holds, as the server says.
    pub kv_capacity_tokens: Option<u64>,
    /// RFC 3339: since when it is in this state.
    pub since: Option<String>,
    pub drain_until: Option<String>,
    pub idle_until: Option<String>,
    /// RFC 3339: when the live figures were read; it may be half a minute older where they stayed the same.
    pub figures_at: Option<String>,
    pub restart_to_apply: bool,
    /// A person asked for its restart: it comes as soon as nobody uses it. Forgotten with a stop of the agent, a switch
    /// of the profile, and the controller's end.
    pub restart_when_idle: bool,
    pub pinned: bool,
    /// Another agent's server, on which this one is a role.
    pub served_by: Option<String>,
    /// It runs on a server that Asgard did not start: shown and counted, never restarted.
    pub adopted: bool,
    /// What is known of its choices on this GPU, each with reason, source and date.
    pub warnings: Vec<String>,
    pub glyph: Option<String>,
    pub color: Option<String>,
    /// What it takes when awake, on the pool it takes most of.
    pub claim_bytes: u64,
    pub claim: ClaimParts,
    pub error: Option<Failure>,
    /// What pressing Start would do ("Stops Valkyrie", "Starting takes about 90 s"); null when awake.
    pub start_hint: Option<String>,
    /// Whether pressing Start would be refused; the hint says why.
    pub start_refused: bool,
    pub footprint: Option<Footprint>,
    /// Changes worth a press: after a failure for want of memory, where a measured figure is below the declared one,
    /// where the KV cache of a week was hardly used or always full.
    #[serde(default)]
    pub suggestions: Vec<Suggestion>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, TS)]
pub struct ClaimParts {
    pub weights_bytes: u64,
    pub kv_bytes: u64,
    pub overhead_bytes: u64,
}
