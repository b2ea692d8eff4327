//! A model's config.json, read into what an estimate starts from.
//!
//! Configurations are written by hundreds of authors: the same thing has a dozen names, defaults are left out, the
//! language model lies inside of another part. What is read here follows Transformers' names and vLLM's reading of
//! them; what is not understood becomes a note and a bound, never a figure that looks known. The file is untrusted:
//! its size, the depth of its nesting (128, by the parser), each number and each list are bounded.

mod experts;
mod json;
mod layers;
mod names;
mod parameters;
mod quant;
mod state;
mod text;
mod tower;

use domain::estimate::{Cache, Heads, LayerRun, ModelFacts, Weights};
use serde_json::Value;

use json::{Found, Node};
use layers::{Attention, Latent, MOST_LAYERS, narrow};
use parameters::Shape;
use text::Text;

/// No config.json is larger: those with a list of every quantised layer have a few hundred kilobytes.
pub const MOST_BYTES: usize = 8 << 20;

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    #[error(
        "This config.json has {0} bytes, and none of a model is larger than {MOST_BYTES}. Look whether it is the right file."
    )]
    TooLarge(usize),
    #[error("This config.json is not JSON: {0}. Fetch it again.")]
    NotJson(String),
    #[error("This config.json does not describe a model: {0}. Look whether it is the right file.")]
    NotAModel(String),
}

/// The facts that `json`, the text of a config.json, gives. Weights are [`Weights::Computed`], or unknown where the
/// shapes are not all there; whoever has the list of files or a header puts [`Weights::Exact`] in their place.
///
/// # Errors
/// Where it is too large, no JSON, or describes no model: without layers, with a negative or an absurd number of them.
pub fn read(json: &[u8]) -> Result<ModelFacts, ConfigError> {
    if json.len() > MOST_BYTES {
        return Err(ConfigError::TooLarge(json.len()));
    }
    let value = json::parse(json).map_err(|e| ConfigError::NotJson(e.to_string()))?;
    let Value::Object(map) = &value else {
        return Err(ConfigError::NotAModel("it is no object".to_owned()));
    };
    let found = Found::default();
    let mut facts = described(Node::new(map, &found))?;
    let mut notes = found.into_notes();
    notes.append(&mut facts.notes);
    facts.notes = notes;
    Ok(facts)
}

fn described(root: Node<'_>) -> Result<ModelFacts, ConfigError> {
    let (node, around) = text::text_part(root);
    let text = Text::new(node);
    let found = root.found();
    let count = layer_count(text)?;
    let hidden = text.num(&["hidden_size", "n_embd", "d_model", "dim", "model_dim"]).unwrap_or_default();
    let mut layers = layers::read(text, count);
    let encoder_only = is_encoder(root, text);
    if encoder_only {
        found.note("The model only encodes: it keeps no cache.");
    }
    let attention = attention(text, hidden, &mut layers.bounded)?;
    let state = state::read(text);
    if state.is_none()
        && layers.all.iter().any(|l| matches!(l.mixer, layers::Mixer::State | layers::Mixer::Both))
    {
        layers.bounded = true;
        found.note(
            "The state of the model's linear layers is not described: they are counted as full attention.",
        );
        for layer in &mut layers.all {
            if layer.mixer == layers::Mixer::State {
                layer.mixer = layers::Mixer::Full;
            }
        }
    }
    if node.list("block_configs").is_some_and(|l| !l.is_empty()) {
        layers.bounded = true;
        found.note(
            "The layers differ from each other in ways that are not read: each is counted as the widest.",
        );
    }
    let mut runs = if encoder_only { Vec::new() } else { layers::runs(&layers.all, attention, state) };
    let pair = is_encoder_decoder(root, text);
    if pair {
        layers.bounded = true;
        cross(text, attention, count, &mut runs);
    }
    let dtype = dtype(root, node);
    let quant = quant::read(root, node);
    let shape = Shape {
        text,
        hidden,
        vocabulary: text
            .num(&["vocab_size", "padded_vocab_size", "n_vocab"])
            .or_else(|| around.num("vocab_size"))
            .unwrap_or_default(),
        tied: text.tied(around),
        attention,
        state,
        mixture: parameters::mixture(text),
        bytes: if dtype == "float32" { 4 } else { 2 },
    };
    let mut towers = tower::bytes(around, hidden, shape.bytes, quant.as_ref());
    if pair {
        towers = towers
            .saturating_add(tower::encoder(text, hidden, count).saturating_mul(u128::from(shape.bytes)));
    }
    let parts = parameters::parts(&shape, &layers.all, quant.as_ref(), towers);
    let known = hidden > 0 && shape.vocabulary > 0;
    let weights = match (&quant, known) {
        (_, false) => {
            found.note("The shapes of the weights are not all there.");
            Weights::Unknown { bound: None }
        }
        (Some(q), true) if q.unknown => Weights::Unknown { bound: Some(parts.total) },
        _ => Weights::Computed(parts.total),
    };
    let width = parameters::width(&shape);
    let experts = shape.mixture;
    Ok(ModelFacts {
        architecture: architecture(root, text),
        layers: runs,
        attention_heads: narrow(attention.queries),
        hidden: narrow(hidden),
        intermediate: experts
            .map_or(width, |m| m.width.saturating_mul(m.active).saturating_add(m.shared).max(width)),
        vocabulary: narrow(shape.vocabulary),
        tied_embeddings: shape.tied,
        experts: experts.map(experts::Mixture::experts),
        max_context: text.max_context(),
        dtype,
        quantization: quant.as_ref().map(|q| q.label.clone()),
        cache_dtype: quant.as_ref().and_then(|q| q.cache_dtype.clone()),
        weights,
        parts: if known { parts } else { domain::estimate::Parts::default() },
        bounded: layers.bounded,
        notes: Vec::new(),
    })
}

fn architecture(root: Node<'_>, text: Text<'_>) -> String {
    let first = root.texts("architectures").and_then(|list| list.first().copied());
    first.or(root.text("model_type")).unwrap_or(text.model_type).chars().take(100).collect()
}

fn layer_count(text: Text<'_>) -> Result<u64, ConfigError> {
    // LongCat has two attention layers in each of what it calls a layer.
    let times = if text.model_type.starts_with("longcat_flash") { 2 } else { 1 };
    match text.layers() {
        Some(0) => Err(ConfigError::NotAModel("it has no layers".to_owned())),
        Some(count) if count > MOST_LAYERS => Err(ConfigError::NotAModel(format!(
            "it claims {count} layers, and no model has more than {MOST_LAYERS}"
        ))),
        Some(count) => Ok(count * times),
        None => match text.node.list("layer_types").or_else(|| text.node.list("layers_block_type")) {
            Some(list) if !list.is_empty() => {
                Ok(u64::try_from(list.len()).unwrap_or(u64::MAX).min(MOST_LAYERS))
            }
            _ => {
                let found = text.node.value("num_hidden_layers").map(json::shown);
                Err(ConfigError::NotAModel(match found {
                    Some(shown) => format!("its num_hidden_layers is {shown}"),
                    None => "it does not say how many layers there are".to_owned(),
                }))
            }
        },
    }
}

/// The type of the weights. Where none is named it is taken for 16 bits, as a server loads them.
fn dtype(root: Node<'_>, text: Node<'_>) -> String {
    let named = [text, root].iter().find_map(|n| n.text("dtype").or_else(|| n.text("torch_dtype")));
    let name = named.unwrap_or("bfloat16").trim_start_matches("torch.").to_ascii_lowercase();
    match name.as_str() {
        "float32" | "fp32" | "float" => "float32".to_owned(),
        "float16" | "fp16" | "half" => "float16".to_owned(),
        _ => "bfloat16".to_owned(),
    }
}

/// Heads and their widths.
fn attention(text: Text<'_>, hidden: u64, bounded: &mut bool) -> Result<Attention, ConfigError> {
    let node = text.node;
    let attn = node.node("attn_config");
    let heads = text
        .num(&["num_attention_heads", "n_head", "n_heads", "num_heads", "decoder_attention_heads"])
        .filter(|heads| *heads > 0);
    let queries = heads.unwrap_or_default();
    let kv = kv_heads(text, attn, queries);
    let divided = hidden.checked_div(queries).unwrap_or_default();
    let dim = text
        .num(&["head_dim", "hidden_size_per_head", "kv_channels", "attention_head_dim", "head_size", "d_kv"])
        .filter(|d| *d > 0)
        .unwrap_or(divided);
    if !state::is_pure(text) && (queries == 0 || dim == 0) {
        return Err(ConfigError::NotAModel(
            "it does not say how many attention heads there are, or how wide".to_owned(),
        ));
    }
    let value = node.num("v_head_dim").filter(|v| *v > 0 && !node.has("kv_lora_rank")).unwrap_or(dim);
    // Gemma 4 has wider heads where it sees everything, MiMo-V2 others where it does not.
    let full = Heads {
        kv: narrow(node.num("num_global_key_value_heads").filter(|n| *n > 0).unwrap_or(kv)),
        key: narrow(node.num("global_head_dim").filter(|n| *n > 0).unwrap_or(dim)),
        value: narrow(node.num("global_head_dim").filter(|n| *n > 0).unwrap_or(value)),
    };
    let sliding = Heads {
        kv: narrow(node.any(&["swa_num_key_value_heads"]).filter(|n| *n > 0).unwrap_or(kv)),
        key: narrow(node.num("swa_head_dim").filter(|n| *n > 0).unwrap_or(dim)),
        value: narrow(node.any(&["swa_v_head_dim", "swa_head_dim"]).filter(|n| *n > 0).unwrap_or(value)),
    };
    let (latent, full) = latent(text, queries, full, bounded);
    Ok(Attention {
        queries,
        full,
        sliding,
        latent,
        window: narrow(text.num(&["sliding_window", "sliding_window_size"]).unwrap_or_default()),
        chunk: narrow(text.num(&["attention_chunk_size"]).unwrap_or_default()),
        indexer: if latent.is_some() && node.has("index_topk") { indexer(node) } else { 0 },
    })
}

fn kv_heads(text: Text<'_>, attn: Option<Node<'_>>, queries: u64) -> u64 {
    let node = text.node;
    if text.is(&["falcon"]) && node.yes("new_decoder_architecture") != Some(true) {
        return if node.yes("multi_query") == Some(false) { queries } else { 1 };
    }
    if text.is(&["gpt_bigcode"]) {
        return if node.yes("multi_query") == Some(false) { queries } else { 1 };
    }
    let own = node
        .any_most(&[
            "n_head_kv",
            "num_kv_heads",
            "num_key_value_heads",
            "n_kv_heads",
            "multi_query_group_num",
            "num_attention_groups",
        ])
        .or_else(|| text.num(&["num_key_value_heads"]))
        .or_else(|| attn?.num("kv_n_heads"));
    own.filter(|kv| *kv > 0).unwrap_or(queries)
}

/// Latent attention, where the model has it and servers keep the latent; the expanded keys and values where they
/// are known to keep those, or where it is not known.
fn latent(text: Text<'_>, queries: u64, full: Heads, bounded: &mut bool) -> (Option<Latent>, Heads) {
    const TYPES: &[&str] = &[
        "axk1",
        "deepseek_v2",
        "deepseek_v3",
        "deepseek_v32",
        "deepseek_mtp",
        "dots3_note",
        "glm5_next",
        "glm5_next_text",
        "glm_moe_dsa",
        "glm4_moe_lite",
        "kimi_k2",
        "kimi_k25",
        "kimi_linear",
        "longcat_flash",
        "longcat_flash_ngram",
        "pangu_ultra_moe",
        "bailing_hybrid",
        "hy_v4",
        "mistral4",
        "mistral_large_3",
    ];
    let node = text.node;
    let Some(rank) = node.num("kv_lora_rank").filter(|r| *r > 0) else { return (None, full) };
    let rope = text.num(&["qk_rope_head_dim"]).unwrap_or_default();
    let plain = node.num("qk_nope_head_dim").unwrap_or_default();
    let value = node.num("v_head_dim").unwrap_or(plain);
    let of = Latent { queries: node.num("q_lora_rank").unwrap_or_default(), rank, rope, plain, value };
    if text.is(TYPES) {
        return (Some(of), full);
    }
    if !text.is(&["minicpm3"]) {
        *bounded = true;
        node.found().note(format!(
            "Whether a server keeps the latent of {:?} is not known: its keys and values are counted in full.",
            text.model_type
        ));
    }
    let wide = narrow(plain.saturating_add(rope));
    (None, Heads { kv: narrow(queries), key: wide, value: wide })
}

/// The indexer of sparse attention keeps a key of 8-bit values and a 32-bit scale for each 128 of them.
fn indexer(node: Node<'_>) -> u32 {
    let dim = node.num("index_head_dim").unwrap_or(128);
    narrow(dim.saturating_add(dim.div_ceil(128).saturating_mul(4)))
}

/// Models that turn a text into one vector or a class.
fn is_encoder(root: Node<'_>, text: Text<'_>) -> bool {
    let named = text.is(&[
        "bert",
        "roberta",
        "xlm-roberta",
        "modernbert",
        "nomic_bert",
        "distilbert",
        "electra",
        "mpnet",
        "camembert",
        "deberta",
        "deberta-v2",
        "new",
        "gte",
        "albert",
        "jina_bert",
        "siglip",
        "clip",
    ]);
    let decoder = root.yes("is_decoder") == Some(true);
    named && !decoder
}

fn is_encoder_decoder(root: Node<'_>, text: Text<'_>) -> bool {
    root.yes("is_encoder_decoder") == Some(true) || text.is(&["whisper", "bart", "t5", "mbart"])
}

/// The decoder's layers look at the encoder's output as well.
fn cross(text: Text<'_>, attention: Attention, count: u64, runs: &mut Vec<LayerRun>) {
    let tokens = text.num(&["max_source_positions", "max_position_embeddings"]).unwrap_or(1500);
    runs.push(LayerRun { count, cache: Cache::Cross { heads: attention.full, tokens: narrow(tokens) } });
    text.node.found().note(
        "An encoder and a decoder: what is kept of the encoder's output is counted for the longest input.",
    );
}
