//! What is known of the models that the shipped stacks name: preset data, until an estimate from the model's own
//! files replaces it.
//!
//! Sources: config.json and file lists of the repositories. KV bytes per token = 2 x layers x KV heads x head
//! dimension x 2 bytes (16-bit cache).

use crate::estimate::{Cache, Heads, LayerRun, ModelFacts, Weights};
use crate::memory::{Bytes, KIB};

/// Facts about one model.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct KnownModel {
    /// The Hub id, or OWNER/NAME/FILE of a GGUF file there; compared without regard to case.
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

impl KnownModel {
    /// The same figures as the files of a model would give them. One layer that costs what all of them do: no more is
    /// known here.
    pub fn facts(&self) -> ModelFacts {
        let width = u32::try_from(self.kv_bytes_per_token / 4).unwrap_or(u32::MAX);
        ModelFacts {
            architecture: "known by name".to_owned(),
            layers: vec![LayerRun { count: 1, cache: Cache::Full { heads: Heads::of(1, width) } }],
            max_context: Some(self.max_context),
            dtype: "float16".to_owned(),
            quantization: Some(self.quantization.to_owned()),
            weights: Weights::Computed(self.weights),
            notes: vec![
                "The model's files are not here: the figures are those that come with Asgard. Fetch it for exact ones."
                    .to_owned(),
            ],
            ..ModelFacts::default()
        }
    }
}

/// Families of models and how they spell the calls of tools, by words in the id, the more special ones first.
/// Source: the list of parsers in vLLM's documentation of tool calling.
const FAMILIES: &[(&str, &str)] = &[
    ("qwen3-coder", "qwen3_coder"),
    ("qwen3coder", "qwen3_coder"),
    ("qwen", "hermes"),
    ("qwq", "hermes"),
    ("hermes", "hermes"),
    ("llama-4", "llama4_pythonic"),
    ("llama4", "llama4_pythonic"),
    ("llama-3", "llama3_json"),
    ("llama3", "llama3_json"),
    ("mixtral", "mistral"),
    ("ministral", "mistral"),
    ("devstral", "mistral"),
    ("mistral", "mistral"),
    ("gpt-oss", "openai"),
    ("gptoss", "openai"),
    ("deepseek-v3.1", "deepseek_v31"),
    ("deepseek-v3", "deepseek_v3"),
    ("deepseek-r1-0528", "deepseek_v3"),
    ("glm-4.5", "glm45"),
    ("glm-4.6", "glm45"),
    ("glm4moe", "glm45"),
    ("kimi-k2", "kimi_k2"),
    ("granite", "granite"),
    ("phi-4-mini", "phi4_mini_json"),
    ("internlm2", "internlm"),
    ("jamba", "jamba"),
    ("hunyuan-a13b", "hunyuan_a13b"),
];

/// The parser of tool calls that vLLM is started with for a model; none where its family is not known. A model of the
/// catalog has its own, others that of their family by the id, then by the architecture ("Qwen2ForCausalLM").
pub fn tool_parser(id: &str, architecture: Option<&str>) -> Option<&'static str> {
    if let Some(known) = known_model(id) {
        return Some(known.tool_parser);
    }
    let of = |text: &str| {
        let text = text.to_ascii_lowercase();
        // A distilled model is named after its teacher first, and speaks as the family that it was made from.
        let text = text.split_once("distill-").map_or(text.as_str(), |(_, of)| of);
        FAMILIES.iter().find(|(word, _)| text.contains(word)).map(|(_, parser)| *parser)
    };
    of(id).or_else(|| architecture.and_then(of))
}

/// The facts on `id`, if it is one of the models known here.
pub fn known_model(id: &str) -> Option<&'static KnownModel> {
    KNOWN.iter().find(|m| m.id.eq_ignore_ascii_case(id))
}

/// Every model that is known here.
pub fn all() -> &'static [KnownModel] {
    KNOWN
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
    // 16-bit weights. 29.5 GB and 61.06 GB on the disk, read from the repositories' file lists.
    KnownModel {
        id: "Qwen/Qwen2.5-14B-Instruct",
        weights: gb_tenths(275),
        kv_bytes_per_token: 192 * KIB,
        max_context: 32_768,
        quantization: "BF16",
        tool_parser: "hermes",
        vllm_overhead: gb_tenths(40),
    },
    KnownModel {
        id: "Qwen/Qwen3-Coder-30B-A3B-Instruct",
        weights: gb_tenths(569),
        kv_bytes_per_token: 96 * KIB,
        max_context: 262_144,
        quantization: "BF16",
        tool_parser: "qwen3_coder",
        vllm_overhead: gb_tenths(40),
    },
    // Computed, not read: 4-bit checkpoints of this model are named with 45 to 49 GB, and the upper end is taken. Of 48
    // layers 12 keep a cache (2 heads of 256); the others keep 38 to 74 MB for each sequence, which is in the overhead.
    // Its format is compressed-tensors, which vLLM finds out by itself.
    KnownModel {
        id: "cpatonn/Qwen3-Next-80B-A3B-Instruct-AWQ-4bit",
        weights: Bytes(49_000_000_000),
        kv_bytes_per_token: 24 * KIB,
        max_context: 262_144,
        quantization: "compressed-tensors 4-bit",
        tool_parser: "hermes",
        vllm_overhead: gb_tenths(60),
    },
    // GGUF files of the Hub. Bytes are those of the file, which llama.cpp loads as it is; the last figure is vLLM's and
    // means nothing for them.
    KnownModel {
        id: "unsloth/Llama-3.3-70B-Instruct-GGUF/Llama-3.3-70B-Instruct-Q4_K_M.gguf",
        weights: Bytes(42_520_398_432),
        kv_bytes_per_token: 320 * KIB,
        max_context: 131_072,
        quantization: "GGUF Q4_K_M",
        tool_parser: "llama3_json",
        vllm_overhead: gb_tenths(0),
    },
    KnownModel {
        id: "unsloth/Qwen3-Coder-30B-A3B-Instruct-GGUF/Qwen3-Coder-30B-A3B-Instruct-Q4_K_M.gguf",
        weights: Bytes(18_556_689_568),
        kv_bytes_per_token: 96 * KIB,
        max_context: 262_144,
        quantization: "GGUF Q4_K_M",
        tool_parser: "qwen3_coder",
        vllm_overhead: gb_tenths(0),
    },
    KnownModel {
        id: "bartowski/Qwen2.5-14B-Instruct-GGUF/Qwen2.5-14B-Instruct-Q4_K_M.gguf",
        weights: Bytes(8_988_110_976),
        kv_bytes_per_token: 192 * KIB,
        max_context: 32_768,
        quantization: "GGUF Q4_K_M",
        tool_parser: "hermes",
        vllm_overhead: gb_tenths(0),
    },
    KnownModel {
        id: "bartowski/Qwen2.5-7B-Instruct-GGUF/Qwen2.5-7B-Instruct-Q4_K_M.gguf",
        weights: Bytes(4_683_074_240),
        kv_bytes_per_token: 56 * KIB,
        max_context: 32_768,
        quantization: "GGUF Q4_K_M",
        tool_parser: "hermes",
        vllm_overhead: gb_tenths(0),
    },
    KnownModel {
        id: "bartowski/Qwen2.5-3B-Instruct-GGUF/Qwen2.5-3B-Instruct-Q4_K_M.gguf",
        weights: Bytes(1_929_903_264),
        kv_bytes_per_token: 36 * KIB,
        max_context: 32_768,
        quantization: "GGUF Q4_K_M",
        tool_parser: "hermes",
        vllm_overhead: gb_tenths(0),
    },
    // 28 layers with 2 heads of 128, and 24 layers with 2 heads of 64.
    KnownModel {
        id: "Qwen/Qwen2.5-1.5B-Instruct-GGUF/qwen2.5-1.5b-instruct-q4_k_m.gguf",
        weights: Bytes(1_117_320_736),
        kv_bytes_per_token: 28 * KIB,
        max_context: 32_768,
        quantization: "GGUF Q4_K_M",
        tool_parser: "hermes",
        vllm_overhead: gb_tenths(0),
    },
    KnownModel {
        id: "Qwen/Qwen2.5-0.5B-Instruct-GGUF/qwen2.5-0.5b-instruct-q4_k_m.gguf",
        weights: Bytes(491_400_032),
        kv_bytes_per_token: 12 * KIB,
        max_context: 32_768,
        quantization: "GGUF Q4_K_M",
        tool_parser: "hermes",
        vllm_overhead: gb_tenths(0),
    },
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parser_of_tool_calls_follows_from_the_family() {
        for (id, architecture, parser) in [
            ("Qwen/Qwen2.5-14B-Instruct-AWQ", None, Some("hermes")),
            ("someone/Qwen3-Coder-480B-AWQ", None, Some("qwen3_coder")),
            ("someone/Meta-Llama-3.1-8B-Instruct", None, Some("llama3_json")),
            ("deepseek-ai/DeepSeek-R1-Distill-Llama-3-70B", None, Some("llama3_json")),
            ("deepseek-ai/DeepSeek-R1-Distill-Qwen-32B", None, Some("hermes")),
            ("someone/Renamed-7B", Some("Qwen2ForCausalLM"), Some("hermes")),
            ("someone/Renamed-7B", Some("StrangeForCausalLM"), None),
            ("openai/gpt-oss-120b", None, Some("openai")),
        ] {
            assert_eq!(tool_parser(id, architecture), parser, "{id}");
        }
    }

    #[test]
    fn the_facts_of_a_known_model_cost_what_the_catalog_says() {
        use crate::estimate::{Request, estimate};
        use crate::stack::BackendKind;
        for model in all() {
            let gguf = crate::stack::HubFile::parse(model.id).is_some();
            let backend = if gguf { BackendKind::LlamaCpp } else { BackendKind::Vllm };
            let made = estimate(&model.facts(), &Request::one(backend, Some(8192))).unwrap();
            assert_eq!(made.weights, model.weights, "{}", model.id);
            assert_eq!(made.kv.0, model.kv_bytes_per_token * 8192, "{}", model.id);
        }
    }
}
