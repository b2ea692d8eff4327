//! Set up by pointing: a model for an agent, tried before it is written, and the first run.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use ts_rs::TS;

use super::agents::LaunchPreview;
use super::hub::HubModel;
use super::plans::PlanPool;
use super::settings::StackProblem;
use super::stacks::ProfileForm;

/// A model and its choices for an agent that exists, or for a new one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, TS)]
pub struct AssignRequest {
    /// Of the stack file's text that the choice was made on.
    pub hash: String,
    pub agent: String,
    /// Makes an agent of that name; null: it exists.
    pub new: Option<NewAgent>,
    /// What the stack file will say: a repository, OWNER/NAME/FILE.gguf, or the whole path of a GGUF file.
    pub model: String,
    /// The commit; null: "main".
    pub revision: Option<String>,
    /// "vllm" or "llama.cpp"; found out from the model where null.
    pub backend: Option<String>,
    /// Tokens; the model's limit, at most 32K, where null.
    pub context: Option<u32>,
    pub sequences: Option<u32>,
    /// "auto", "fp8", "q8_0", …
    pub kv_dtype: Option<String>,
    /// Bytes of KV cache; what `sequences` full contexts take where null.
    pub kv_cache_bytes: Option<u64>,
    /// The profiles that it shall be in; as they are where null.
    pub profiles: Option<Vec<String>>,
    /// The profile whose memory is shown.
    pub beside: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, TS)]
pub struct NewAgent {
    pub title: Option<String>,
    /// A rune's name or one letter.
    pub glyph: Option<String>,
    pub color: Option<String>,
    /// The next free one where null.
    pub port: Option<u16>,
}

/// What a choice would come to. Nothing is written.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, TS)]
pub struct AssignPreview {
    /// What is in force with it.
    pub context: u32,
    pub max_context: Option<u32>,
    /// The longest context that fits `beside` with these sequences; null where none does.
    pub longest_context: Option<u32>,
    pub sequences: u32,
    pub kv_dtype: String,
    /// KV types that this server and GPU take, each with what is known of it.
    pub kv_dtypes: Vec<KvChoice>,
    pub backend: String,
    pub weights_bytes: u64,
    pub kv_bytes: u64,
    pub overhead_bytes: u64,
    pub total_bytes: u64,
    pub kv_bytes_per_token: Option<u64>,
    /// How the figures are known: "exact", "computed", "bound", "unknown".
    pub certainty: String,
    /// The pools under `beside` (or with nobody else awake).
    pub pools: Vec<PlanPool>,
    /// The check against every profile.
    pub profiles: Vec<ProfileForm>,
    /// The keys that would be written; null takes one away.
    #[ts(type = "{ [key: string]: StackValue | null }")]
    pub keys: BTreeMap<String, Value>,
    pub launch: Option<LaunchPreview>,
    pub problems: Vec<StackProblem>,
    pub notes: Vec<String>,
    /// It runs and would have to be started again for this to count.
    pub restart: bool,
    /// Memory that its model was seen to take at other starts: nothing is known yet where null.
    pub learned_bytes: Option<u64>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, TS)]
pub struct KvChoice {
    pub name: String,
    pub title: String,
    pub warning: Option<String>,
}

/// The first steps on a machine: what was found, and what is proposed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, TS)]
pub struct FirstRun {
    /// Whether the window should offer it: no stack file was ever written, and nobody has skipped it.
    pub due: bool,
    pub engine: FirstEngine,
    /// The preset that suits the machine, and its title.
    pub preset: Option<String>,
    pub machine: String,
    pub gpu: Option<String>,
    /// Bytes, of the pool that agents live in.
    pub capacity_bytes: Option<u64>,
    pub limit_bytes: Option<u64>,
    /// Bounds of a limit that may be chosen.
    pub least_limit_bytes: Option<u64>,
    pub most_limit_bytes: Option<u64>,
    pub other_bytes: Option<u64>,
    /// Of the base profile first.
    pub models: Vec<FirstModel>,
    pub image: Option<FirstImage>,
    pub free_bytes: Option<u64>,
    pub base: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, TS)]
pub struct FirstEngine {
    pub found: bool,
    /// "Docker 27.3".
    pub title: String,
    pub problem: Option<String>,
    pub next: Option<String>,
    /// A whole command for a shell, where one helps.
    pub command: Option<String>,
    /// Checks of readiness that are not passed, a sentence each.
    pub advice: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, TS)]
pub struct FirstModel {
    pub model: HubModel,
    pub agents: Vec<String>,
    pub bytes: Option<u64>,
    /// Proposed: the base profile needs it.
    pub chosen: bool,
    pub installed: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, TS)]
pub struct FirstImage {
    pub reference: String,
    pub bytes: Option<u64>,
    pub present: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, TS)]
pub struct FinishFirstRunRequest {
    /// Take this preset; null: the stack stays.
    pub preset: Option<String>,
    pub limit_bytes: Option<u64>,
    /// Repositories to fetch.
    pub models: Vec<String>,
    /// Start the base profile when all of them are here.
    pub start: bool,
    /// Nothing of all this: it is not offered again.
    pub skip: bool,
}
