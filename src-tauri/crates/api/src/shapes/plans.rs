//! Plans and what came of them.

use serde::{Deserialize, Serialize};
use ts_rs::TS;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, TS)]
pub struct PlanRequest {
    /// Exactly one of the two.
    pub profile: Option<String>,
    pub agent: Option<String>,
    /// As if this were written in the stack file already.
    #[serde(default)]
    pub change: Option<PlanChange>,
}

/// Another choice for one agent, asked about before anything is saved.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, TS)]
pub struct PlanChange {
    pub agent: String,
    /// Tokens.
    #[serde(default)]
    pub context: Option<u32>,
    #[serde(default)]
    pub sequences: Option<u32>,
    #[serde(default)]
    pub kv_dtype: Option<String>,
    /// "12 GB". Left out, the cache grows and shrinks with the other three.
    #[serde(default)]
    pub kv_cache: Option<String>,
}

/// What a change amounts to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, TS)]
pub struct PlanChanged {
    pub agent: String,
    /// The keys as they would be written.
    #[ts(type = "Record<string, unknown>")]
    pub keys: std::collections::BTreeMap<String, serde_json::Value>,
    /// The agent's whole claim before and after, bytes.
    pub claim_bytes_before: u64,
    pub claim_bytes_after: u64,
    /// What the check of the stack says of it.
    pub notes: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, TS)]
pub struct SwitchRequest {
    pub profile: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, TS)]
pub struct UpRequest {
    pub profile: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, TS)]
pub struct Profiles {
    pub profiles: Vec<ProfileView>,
}

/// A card of the profile switcher.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, TS)]
pub struct ProfileView {
    pub name: String,
    pub agents: Vec<String>,
    /// The sum of its agents' claims on the main pool.
    pub total_bytes: u64,
    pub active: bool,
    pub plan: Plan,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, TS)]
pub struct Plan {
    pub profile: Option<String>,
    pub from: Option<String>,
    pub fits: bool,
    pub reason: String,
    /// What to do about a refusal; empty where it fits.
    pub next: String,
    pub stack_hash: String,
    pub steps: Vec<PlanStep>,
    pub pools: Vec<PlanPool>,
    /// Who is awake at the end.
    pub awake: Vec<String>,
    pub stops: Vec<String>,
    pub starts: Vec<String>,
    /// About how long it takes in all, where every part was measured once.
    pub seconds: Option<f64>,
    /// The whole of it for a person: "Stops Valkyrie and starts Odin, at most 108.3 of 120.0 GB in use on the way,
    /// about 90 s."
    #[serde(default)]
    pub sentence: String,
    /// Where the question was "what if".
    pub changed: Option<PlanChanged>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, TS)]
pub struct PlanStep {
    /// "drain", "stop", "wait_memory", "pull", "start", "wait_ready", "undo".
    pub action: String,
    pub agent: String,
    pub seconds: Option<f64>,
    pub reason: String,
    pub pools: Vec<PlanStepPool>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, TS)]
pub struct PlanStepPool {
    pub id: String,
    pub reserved_bytes_after: u64,
    pub peak_bytes: u64,
}

/// A pool of `status` with what is planned in it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, TS)]
pub struct PlanPool {
    pub id: String,
    pub name: String,
    pub kind: String,
    pub capacity_bytes: Option<u64>,
    pub limit_bytes: Option<u64>,
    pub device_cap_bytes: Option<u64>,
    pub used_bytes: u64,
    pub device_used_bytes: Option<u64>,
    pub other_bytes: u64,
    pub lost_bytes: u64,
    pub available_bytes: u64,
    pub planned_bytes: u64,
    pub peak_bytes: u64,
    pub shortfall_bytes: u64,
    pub agents: Vec<PlanAgent>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, TS)]
pub struct PlanAgent {
    pub agent: String,
    pub weights_bytes: u64,
    pub kv_bytes: u64,
    pub overhead_bytes: u64,
    /// "declared", "estimated", "learned".
    pub basis: String,
}

/// How a wish ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, TS)]
pub struct Outcome {
    pub result: OutcomeKind,
    /// One sentence: "odin is active." or what failed and what was put back.
    pub message: String,
    pub profile: Option<String>,
    pub seconds: f64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, TS)]
#[serde(rename_all = "lowercase")]
pub enum OutcomeKind {
    Done,
    /// Cancelled and put back.
    Cancelled,
}
