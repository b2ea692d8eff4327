//! Configurations of the families, as their owners publish them, but for what a token of cache takes.

use serde_json::{Value, json};

/// What tells one size of a family from another.
#[derive(Debug, Clone, Copy)]
pub(super) struct Size {
    /// "qwen2", "llama", "qwen3_moe", "qwen3_next", "gemma3_text".
    pub(super) kind: &'static str,
    /// Layers x KV heads, each head of one element: 1/2048 of the bytes of a token's cache in 16 bits times two.
    pub(super) layers: u32,
    pub(super) hidden: u32,
    pub(super) intermediate: u32,
    pub(super) heads: u32,
    pub(super) vocabulary: u32,
    pub(super) context: u32,
    pub(super) tied: bool,
}

pub(super) const fn qwen2(layers: u32, hidden: u32, intermediate: u32, heads: u32) -> Size {
    Size {
        kind: "qwen2",
        layers,
        hidden,
        intermediate,
        heads,
        vocabulary: 152_064,
        context: 32_768,
        tied: false,
    }
}

pub(super) const fn llama(layers: u32, hidden: u32, intermediate: u32, heads: u32) -> Size {
    Size {
        kind: "llama",
        layers,
        hidden,
        intermediate,
        heads,
        vocabulary: 128_256,
        context: 131_072,
        tied: false,
    }
}

pub(super) const QWEN_0_5B: Size = Size { tied: true, vocabulary: 151_936, ..qwen2(3, 896, 4864, 14) };
pub(super) const QWEN_1_5B: Size = Size { tied: true, vocabulary: 151_936, ..qwen2(7, 1536, 8960, 12) };
pub(super) const QWEN_3B: Size = Size { tied: true, vocabulary: 151_936, ..qwen2(9, 2048, 11_008, 16) };
pub(super) const QWEN_7B: Size = qwen2(14, 3584, 18_944, 28);
pub(super) const QWEN_14B: Size = qwen2(48, 5120, 13_824, 40);
pub(super) const QWEN_30B: Size =
    Size { kind: "qwen3_moe", vocabulary: 151_936, context: 262_144, ..qwen2(24, 2048, 5472, 32) };
pub(super) const QWEN_80B: Size =
    Size { kind: "qwen3_next", vocabulary: 151_936, context: 262_144, ..qwen2(24, 2048, 5120, 16) };
pub(super) const LLAMA_8B: Size = llama(32, 4096, 14_336, 32);
pub(super) const LLAMA_70B: Size = llama(80, 8192, 28_672, 64);
pub(super) const LLAMA_405B: Size = llama(126, 16_384, 53_248, 128);

impl Size {
    pub(super) fn architecture(&self) -> &'static str {
        match self.kind {
            "qwen2" => "Qwen2ForCausalLM",
            "qwen3_moe" => "Qwen3MoeForCausalLM",
            "qwen3_next" => "Qwen3NextForCausalLM",
            _ => "LlamaForCausalLM",
        }
    }

    /// config.json.
    pub(super) fn config(&self, dtype: &str, quantization: Option<Value>) -> Value {
        let mut config = json!({
            "architectures": [self.architecture()],
            "model_type": self.kind,
            "torch_dtype": dtype,
            "hidden_size": self.hidden,
            "intermediate_size": self.intermediate,
            "max_position_embeddings": self.context,
            "num_attention_heads": self.heads,
            "num_hidden_layers": self.layers,
            "num_key_value_heads": 1,
            "head_dim": 1,
            "rms_norm_eps": 1e-6,
            "tie_word_embeddings": self.tied,
            "use_cache": true,
            "vocab_size": self.vocabulary,
        });
        let more = match self.kind {
            "qwen2" => {
                json!({ "use_sliding_window": false, "sliding_window": 131_072, "max_window_layers": self.layers })
            }
            "qwen3_moe" => json!({
                "decoder_sparse_step": 1, "mlp_only_layers": [], "moe_intermediate_size": 768, "num_experts": 128,
                "num_experts_per_tok": 8, "norm_topk_prob": true, "use_sliding_window": false, "sliding_window": null,
            }),
            // One layer in four keeps a cache; the others keep a state, here of 1/1024 over all of them.
            "qwen3_next" => json!({
                "full_attention_interval": 4, "decoder_sparse_step": 1, "mlp_only_layers": [],
                "moe_intermediate_size": 512, "num_experts": 512, "num_experts_per_tok": 10,
                "shared_expert_intermediate_size": 512, "linear_conv_kernel_dim": 4, "linear_key_head_dim": 16,
                "linear_num_key_heads": 2, "linear_num_value_heads": 4, "linear_value_head_dim": 16,
            }),
            _ => json!({
                "rope_scaling": { "factor": 8.0, "high_freq_factor": 4.0, "low_freq_factor": 1.0,
                                  "original_max_position_embeddings": 8192, "rope_type": "llama3" },
            }),
        };
        if let (Some(config), Value::Object(more)) = (config.as_object_mut(), more) {
            config.extend(more);
            if let Some(quantization) = quantization {
                config.insert("quantization_config".to_owned(), quantization);
            }
        }
        config
    }

    /// `general.architecture` of a GGUF.
    pub(super) fn gguf_name(&self) -> &'static str {
        match self.kind {
            "qwen3_moe" => "qwen3moe",
            "qwen2" => "qwen2",
            _ => "llama",
        }
    }
}
