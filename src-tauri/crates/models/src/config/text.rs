//! Which part of a configuration describes the language model, and what its model type implies where it is silent.

use super::json::Node;

/// Where configurations of several parts keep the language model, from the outside in.
const NESTED: [&str; 8] = [
    "text_config",
    "llm_config",
    "language_config",
    "language_model_config",
    "thinker_config",
    "text_model",
    "language_model",
    "decoder",
];
const LAYERS: [&str; 6] =
    ["num_hidden_layers", "n_layer", "n_layers", "num_layers", "decoder_layers", "num_decoder_layers"];
/// Deeper than any real one.
const DEEPEST: usize = 4;

/// The language model's part, and the part that holds it beside its towers.
pub(super) fn text_part(root: Node<'_>) -> (Node<'_>, Node<'_>) {
    let (mut text, mut around) = (root, root);
    for _ in 0..DEEPEST {
        let inner = NESTED.iter().find_map(|key| {
            // A part without a width describes nothing.
            text.node(key).filter(|n| n.has("model_type") || n.has("hidden_size") || n.has("text_config"))
        });
        let Some(inner) = inner else { break };
        around = text;
        text = inner;
    }
    (text, around)
}

/// Values that a model type's own defaults give where the file leaves a key out, as shortened configurations do.
struct Defaults {
    model_type: &'static str,
    values: &'static [(&'static str, u64)],
}

const DEFAULTS: &[Defaults] = &[
    Defaults {
        model_type: "gemma3_text",
        values: &[
            ("num_hidden_layers", 26),
            ("hidden_size", 2304),
            ("intermediate_size", 9216),
            ("num_attention_heads", 8),
            ("num_key_value_heads", 4),
            ("head_dim", 256),
            ("vocab_size", 262_208),
            ("max_position_embeddings", 131_072),
            ("sliding_window", 4096),
            ("sliding_window_pattern", 6),
        ],
    },
    Defaults {
        model_type: "gemma3n_text",
        values: &[
            ("num_hidden_layers", 35),
            ("hidden_size", 2048),
            ("intermediate_size", 16_384),
            ("num_attention_heads", 8),
            ("num_key_value_heads", 2),
            ("head_dim", 256),
            ("vocab_size", 262_400),
            ("max_position_embeddings", 32_768),
            ("sliding_window", 512),
            ("sliding_window_pattern", 5),
            ("num_kv_shared_layers", 15),
        ],
    },
    Defaults {
        model_type: "gemma2",
        values: &[
            ("num_attention_heads", 8),
            ("num_key_value_heads", 4),
            ("head_dim", 256),
            ("max_position_embeddings", 8192),
            ("sliding_window", 4096),
            ("vocab_size", 256_000),
        ],
    },
    Defaults {
        model_type: "gemma",
        values: &[("head_dim", 256), ("max_position_embeddings", 8192), ("vocab_size", 256_000)],
    },
    Defaults {
        model_type: "llama",
        values: &[
            ("num_hidden_layers", 32),
            ("hidden_size", 4096),
            ("intermediate_size", 11_008),
            ("num_attention_heads", 32),
            ("vocab_size", 32_000),
            ("max_position_embeddings", 2048),
        ],
    },
    Defaults {
        model_type: "mistral",
        values: &[
            ("num_hidden_layers", 32),
            ("hidden_size", 4096),
            ("intermediate_size", 14_336),
            ("num_attention_heads", 32),
            ("num_key_value_heads", 8),
            ("vocab_size", 32_000),
            ("max_position_embeddings", 131_072),
            ("sliding_window", 4096),
        ],
    },
    Defaults {
        model_type: "qwen2",
        values: &[
            ("num_hidden_layers", 32),
            ("hidden_size", 4096),
            ("intermediate_size", 22_016),
            ("num_attention_heads", 32),
            ("num_key_value_heads", 32),
            ("vocab_size", 151_936),
            ("max_position_embeddings", 32_768),
        ],
    },
    Defaults { model_type: "qwen3", values: &[("head_dim", 128), ("num_key_value_heads", 32)] },
    Defaults {
        model_type: "qwen3_moe",
        values: &[("num_key_value_heads", 4), ("moe_intermediate_size", 768), ("num_experts_per_tok", 8)],
    },
    Defaults {
        model_type: "qwen3_next",
        values: &[
            ("head_dim", 256),
            ("num_key_value_heads", 2),
            ("full_attention_interval", 4),
            ("linear_conv_kernel_dim", 4),
        ],
    },
    Defaults { model_type: "cohere2", values: &[("sliding_window", 4096), ("sliding_window_pattern", 4)] },
    Defaults { model_type: "gpt_oss", values: &[("head_dim", 64), ("sliding_window", 128)] },
    Defaults { model_type: "mixtral", values: &[("num_local_experts", 8), ("num_experts_per_tok", 2)] },
    Defaults {
        model_type: "llama4_text",
        values: &[("attention_chunk_size", 8192), ("interleave_moe_layer_step", 1), ("head_dim", 128)],
    },
    Defaults { model_type: "deepseek_v3", values: &[("qk_rope_head_dim", 64), ("first_k_dense_replace", 3)] },
];

/// Model types whose output layer is the embedding table unless the file says otherwise.
const TIED: &[&str] = &[
    "gemma",
    "gemma2",
    "gemma3",
    "gemma3_text",
    "gemma3n_text",
    "gemma4_text",
    "cohere",
    "cohere2",
    "gpt2",
    "gpt_bigcode",
    "bloom",
    "opt",
    "mpt",
    "falcon",
    "starcoder2",
    "mamba",
    "lfm2",
    "lfm2_moe",
    "whisper",
    "bart",
    "granitemoehybrid",
];

/// A language model's part together with the defaults of its type.
#[derive(Clone, Copy)]
pub(super) struct Text<'a> {
    pub(super) node: Node<'a>,
    pub(super) model_type: &'a str,
}

impl<'a> Text<'a> {
    pub(super) fn new(node: Node<'a>) -> Self {
        Self { node, model_type: node.text("model_type").unwrap_or_default() }
    }

    /// A number of the file, else of the type's defaults. A key that is null has no default: it was switched off.
    pub(super) fn num(&self, keys: &[&str]) -> Option<u64> {
        self.node.any(keys).or_else(|| {
            let defaults = DEFAULTS.iter().find(|d| d.model_type == self.model_type)?;
            keys.iter()
                .filter(|k| !self.node.mentions(k))
                .find_map(|key| defaults.values.iter().find(|(name, _)| name == key).map(|(_, value)| *value))
        })
    }

    pub(super) fn layers(&self) -> Option<u64> {
        self.num(&LAYERS)
    }

    pub(super) fn is(&self, types: &[&str]) -> bool {
        types.contains(&self.model_type)
    }

    pub(super) fn tied(&self, around: Node<'_>) -> bool {
        let key = "tie_word_embeddings";
        self.node.yes(key).or_else(|| around.yes(key)).unwrap_or_else(|| self.is(TIED))
    }

    /// The longest context, in tokens: the least of what the file names, stretched as its rotary embeddings say. The
    /// rules are those of vLLM's `_get_and_verify_max_len`.
    pub(super) fn max_context(&self) -> Option<u32> {
        const KEYS: [&str; 9] = [
            "max_position_embeddings",
            "n_positions",
            "max_seq_len",
            "seq_length",
            "max_sequence_length",
            "max_seq_length",
            "seq_len",
            "max_target_positions",
            "n_ctx",
        ];
        let own = if self.is(&["cohere", "cohere2"]) { self.node.num("model_max_length") } else { None };
        let least = KEYS.iter().filter_map(|k| self.node.num(k)).filter(|n| *n > 0).min();
        let base = own
            .or(least)
            .or_else(|| self.num(&["max_position_embeddings"]))
            .or_else(|| self.node.num("model_max_length"))?;
        let rope = self.node.node("rope_scaling").or_else(|| self.node.node("rope_parameters"));
        let stretched = match rope {
            Some(rope) if !self.model_type.starts_with("gemma3") => stretched(base, rope),
            _ => base,
        };
        u32::try_from(stretched).ok().filter(|n| *n > 0)
    }
}

fn stretched(base: u64, rope: Node<'_>) -> u64 {
    // One for each kind of layer: that of full attention counts.
    let rope = rope.node("full_attention").unwrap_or(rope);
    let kind = rope.text("rope_type").or_else(|| rope.text("type")).unwrap_or_default();
    if matches!(kind, "su" | "longrope" | "llama3" | "mrope" | "default" | "proportional") {
        return base;
    }
    let factor = rope.real("factor").filter(|f| *f > 0.0 && *f < 1e6).unwrap_or(1.0);
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "both factors are bounded")]
    let times = |tokens: u64| (tokens as f64 * factor) as u64;
    if kind.contains("yarn") {
        // Some files name the stretched length, some the original one. Older versions of vLLM take the original one
        // times the factor, newer ones what the file names.
        return rope.num("original_max_position_embeddings").map_or(base, times).max(base);
    }
    times(base)
}
