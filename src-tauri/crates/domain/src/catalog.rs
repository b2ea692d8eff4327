//! What is known of the models that the shipped stacks name: preset data, until an estimate from the model's own
//! files replaces it.
//!
//! Sources: config.json and file lists of the repositories. KV bytes per token = 2 x layers x KV heads x head
//! dimension x 2 bytes (16-bit cache).

use crate::memory::{Bytes, KIB};

/// Facts about one model.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct KnownModel {
    /// The Hub id, compared without regard to case.
    pub id: &'static str,
    /// Weights in memory.
    pub weights: Bytes,
    /// Bytes of 16-bit KV cache per token.
    pub kv_bytes_per_token: u64,
    /// The longest context that the model's own configuration allows.
    pub max_context: u32,
    pub quantization: &'static str,
    pub tool_parser: &'static str,
    /// What a vLLM server of it is planned with beyond weights and KV cache, until one was measured.
    pub vllm_overhead: Bytes,
}

/// The facts on `id`, if it is one of the models known here.
pub fn known_model(id: &str) -> Option<&'static KnownModel> {
    KNOWN.iter().find(|m| m.id.eq_ignore_ascii_case(id))
}

const fn gb_tenths(tenths: u64) -> Bytes {
    Bytes((tenths << 30) / 10)
}

const KNOWN: &[KnownModel] = &[
    KnownModel {
        id: "Qwen/Qwen2.5-14B-Instruct-AWQ",
        weights: gb_tenths(93),
        kv_bytes_per_token: 192 * KIB,
        max_context: 32_768,
        quantization: "AWQ 4-bit",
        tool_parser: "hermes",
        vllm_overhead: gb_tenths(40),
    },
    KnownModel {
        id: "QuantTrio/Qwen3-Coder-30B-A3B-Instruct-AWQ",
        weights: gb_tenths(156),
        kv_bytes_per_token: 96 * KIB,
        max_context: 262_144,
        quantization: "AWQ 4-bit",
        tool_parser: "qwen3_coder",
        vllm_overhead: gb_tenths(40),
    },
    KnownModel {
        id: "casperhansen/llama-3.3-70b-instruct-awq",
        weights: gb_tenths(370),
        kv_bytes_per_token: 320 * KIB,
        max_context: 131_072,
        quantization: "AWQ 4-bit",
        tool_parser: "llama3_json",
        vllm_overhead: gb_tenths(50),
    },
    KnownModel {
        id: "Qwen/Qwen2.5-3B-Instruct-AWQ",
        weights: gb_tenths(25),
        kv_bytes_per_token: 36 * KIB,
        max_context: 32_768,
        quantization: "AWQ 4-bit",
        tool_parser: "hermes",
        vllm_overhead: gb_tenths(40),
    },
    KnownModel {
        id: "Qwen/Qwen2.5-7B-Instruct-AWQ",
        weights: gb_tenths(52),
        kv_bytes_per_token: 56 * KIB,
        max_context: 32_768,
        quantization: "AWQ 4-bit",
        tool_parser: "hermes",
        vllm_overhead: gb_tenths(40),
    },
];
