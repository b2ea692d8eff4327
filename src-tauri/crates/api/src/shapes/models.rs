//! Models: what one takes.

use serde::{Deserialize, Serialize};
use ts_rs::TS;

#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, TS)]
pub struct EstimateRequest {
    /// A Hub id, a folder, a GGUF file, a config.json.
    pub model: String,
    /// Tokens; the model's limit, at most 32K, where null.
    pub context: Option<u32>,
    /// 1 where null.
    pub sequences: Option<u32>,
    /// 1 where null.
    pub tensor_parallel: Option<u32>,
    pub kv_dtype: Option<String>,
    pub quantization: Option<String>,
}

/// What a model takes of memory, in bytes, for `context` x `sequences`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, TS)]
pub struct Estimate {
    pub model: String,
    pub architecture: String,
    /// "vllm" or "llama.cpp".
    pub backend: String,
    /// What it was read from, in words.
    pub source: String,
    pub quantization: Option<String>,
    pub context: u32,
    /// The model's own limit.
    pub max_context: Option<u32>,
    pub sequences: u32,
    pub tensor_parallel: u32,
    pub weights_bytes: u64,
    /// What one more token costs at full context: only layers that still grow. Of the model; what devices repeat stands
    /// with them.
    pub kv_bytes_per_token: u64,
    pub kv_bytes: u64,
    /// What does not grow with tokens.
    pub state_bytes: u64,
    pub overhead_bytes: u64,
    pub total_bytes: u64,
    pub per_device: Vec<DeviceEstimate>,
    /// How each figure is known: "exact", "computed", "bound", "unknown".
    pub certainty: Certainty,
    pub fits: Vec<EstimateFit>,
    pub notes: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, TS)]
pub struct DeviceEstimate {
    pub device: u32,
    pub weights_bytes: u64,
    /// With replication.
    pub kv_bytes_per_token: u64,
    pub kv_bytes: u64,
    pub state_bytes: u64,
    pub overhead_bytes: u64,
    pub total_bytes: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, TS)]
pub struct Certainty {
    pub weights: String,
    pub kv: String,
    pub overhead: String,
}

/// Whether it would fit beside a profile.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, TS)]
pub struct EstimateFit {
    /// Null: alone.
    pub profile: Option<String>,
    pub fits: bool,
    pub reason: String,
}
