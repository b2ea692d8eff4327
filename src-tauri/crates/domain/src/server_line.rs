//! A model server's command line, read back: what somebody else's container or process was started with.
//!
//! The flags are those of vLLM 0.11 to 0.33 and llama.cpp up to b11434, in every spelling that those accept.

use crate::secret::Secret;
use crate::stack::BackendKind;

/// What a command line says. What it does not say is `None`; what is not understood is in `rest`, word for word.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ServerLine {
    pub backend: Option<BackendKind>,
    pub model: Option<String>,
    /// `--served-model-name`, `--alias`: by which names requests may ask for it. Empty: by the model's own.
    pub served_names: Vec<String>,
    pub host: Option<String>,
    pub port: Option<u16>,
    /// Tokens of one conversation.
    pub context: Option<u32>,
    pub sequences: Option<u32>,
    /// `--gpu-memory-utilization`, 0 to 1.
    pub utilization: Option<f64>,
    /// `--kv-cache-memory-bytes`.
    pub kv_bytes: Option<u64>,
    pub dtype: Option<String>,
    pub kv_dtype: Option<String>,
    pub quantization: Option<String>,
    pub tool_parser: Option<String>,
    pub tensor_parallel: Option<u32>,
    pub revision: Option<String>,
    pub draft_model: Option<String>,
    /// `-ngl` as written: "0", "99", "all".
    pub gpu_layers: Option<String>,
    pub api_key: Option<Secret>,
    pub rest: Vec<String>,
}
