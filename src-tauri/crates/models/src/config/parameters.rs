//! The weights that a configuration implies: matrices of each layer, tables, and what they take as stored.

use std::collections::HashMap;

use domain::Bytes;
use domain::estimate::{Parts, State};

use super::experts::{self, Mixture};
use super::layers::{Attention, Feed, Layer, Mixer};
use super::quant::Quantisation;
use super::state;
use super::text::Text;

/// Who holds a matrix where several devices share the model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Held {
    Divided,
    Whole,
    /// A routed expert's.
    Expert,
}

/// Matrices of one shape within a layer.
#[derive(Debug, Clone, Copy)]
struct Matrix {
    /// Its name in checkpoints, several spellings separated by bars.
    name: &'static str,
    inputs: u64,
    outputs: u64,
    copies: u64,
    held: Held,
}

fn matrix(name: &'static str, inputs: u64, outputs: u64) -> Matrix {
    Matrix { name, inputs, outputs, copies: 1, held: Held::Divided }
}

fn whole(name: &'static str, inputs: u64, outputs: u64) -> Matrix {
    Matrix { held: Held::Whole, ..matrix(name, inputs, outputs) }
}

/// One layer's weights: matrices that can be quantised, and elements that never are (norms, routers, convolutions).
#[derive(Debug, Default)]
struct Content {
    matrices: Vec<Matrix>,
    plain: u128,
}

/// Everything that is needed beside the layers themselves.
pub(super) struct Shape<'a> {
    pub(super) text: Text<'a>,
    pub(super) hidden: u64,
    pub(super) vocabulary: u64,
    pub(super) tied: bool,
    pub(super) attention: Attention,
    pub(super) state: Option<State>,
    pub(super) mixture: Option<Mixture>,
    /// Bytes of an unquantised weight.
    pub(super) bytes: u64,
}

#[derive(Debug, Default, Clone, Copy)]
struct Sum {
    total: u128,
    experts: u128,
    whole: u128,
}

impl Sum {
    fn add(&mut self, other: Self, times: u64) {
        let times = u128::from(times);
        self.total = self.total.saturating_add(other.total.saturating_mul(times));
        self.experts = self.experts.saturating_add(other.experts.saturating_mul(times));
        self.whole = self.whole.saturating_add(other.whole.saturating_mul(times));
    }
}

/// How the weights divide; `towers` are counted beside.
pub(super) fn parts(
    shape: &Shape<'_>,
    layers: &[Layer],
    quant: Option<&Quantisation>,
    towers: u128,
) -> Parts {
    let mut sum = Sum::default();
    let mut contents: HashMap<Layer, Content> = HashMap::new();
    if quant.is_some_and(Quantisation::by_layer) {
        for (at, layer) in (0u64..).zip(layers) {
            let content = contents.entry(*layer).or_insert_with(|| content(shape, *layer));
            sum.add(sized(shape, content, quant, Some(at)), 1);
        }
    } else {
        let mut counts: HashMap<Layer, u64> = HashMap::new();
        for layer in layers {
            *counts.entry(*layer).or_default() += 1;
        }
        for (layer, count) in counts {
            sum.add(sized(shape, &content(shape, layer), quant, Some(1)), count);
        }
    }
    let table = u128::from(shape.vocabulary) * u128::from(shape.hidden);
    let table_bytes = table.saturating_mul(u128::from(shape.bytes));
    let output = if shape.tied { 0 } else { output_layer(shape, quant, table_bytes) };
    let per_layer = per_layer_table(shape, layers.len());
    let embedding = if shape.tied { per_layer } else { table_bytes.saturating_add(per_layer) };
    let total = sum
        .total
        .saturating_add(table_bytes)
        .saturating_add(per_layer)
        .saturating_add(output)
        .saturating_add(towers);
    Parts {
        total: saturate(total),
        embedding: saturate(embedding),
        experts: saturate(sum.experts),
        towers: saturate(towers),
        replicated: saturate(sum.whole),
        prediction: prediction(shape, layers, quant),
    }
}

fn output_layer(shape: &Shape<'_>, quant: Option<&Quantisation>, table_bytes: u128) -> u128 {
    quant
        .filter(|q| q.output_layer)
        .and_then(|q| q.of(None, "lm_head", false))
        .map_or(table_bytes, |scheme| scheme.bytes(shape.hidden, shape.vocabulary))
}

/// Gemma 3n and its kin: a table of small embeddings for every layer.
fn per_layer_table(shape: &Shape<'_>, layers: usize) -> u128 {
    let node = shape.text.node;
    let default = if shape.text.is(&["gemma3n_text"]) { Some((262_144, 256)) } else { None };
    let rows = node.num("vocab_size_per_layer_input").or(default.map(|(rows, _)| rows));
    let width = node.num("hidden_size_per_layer_input").or(default.map(|(_, width)| width));
    let (Some(rows), Some(width)) = (rows, width) else { return 0 };
    u128::from(rows)
        .saturating_mul(u128::from(width))
        .saturating_mul(u128::try_from(layers).unwrap_or_default())
        .saturating_mul(u128::from(shape.bytes))
}

/// Layers that predict several tokens at once: in the files, loaded for speculative decoding only.
fn prediction(shape: &Shape<'_>, layers: &[Layer], quant: Option<&Quantisation>) -> Bytes {
    let node = shape.text.node;
    let own = if shape.text.is(&["qwen3_next"]) { Some(1) } else { None };
    let number = node
        .any(&["num_nextn_predict_layers", "mtp_num_hidden_layers", "num_mtp_modules", "mtp_num_layers"])
        .or(own)
        .unwrap_or_default()
        .min(16);
    let last = layers.iter().rev().find(|l| l.mixer == Mixer::Full).or(layers.last());
    let Some(last) = last.filter(|_| number > 0) else { return Bytes::ZERO };
    let one = sized(shape, &content(shape, *last), quant, None);
    let join = u128::from(shape.hidden) * u128::from(shape.hidden) * 2 * u128::from(shape.bytes);
    saturate(one.total.saturating_add(join).saturating_mul(u128::from(number)))
}

/// Bytes of one layer.
fn sized(shape: &Shape<'_>, content: &Content, quant: Option<&Quantisation>, at: Option<u64>) -> Sum {
    let plain = content.plain.saturating_mul(u128::from(shape.bytes));
    let mut sum = Sum { total: plain, experts: 0, whole: plain };
    for m in &content.matrices {
        let scheme = quant.and_then(|q| q.of(at, m.name, m.held == Held::Expert));
        let one = match scheme {
            Some(scheme) => scheme.bytes(m.inputs, m.outputs),
            None => u128::from(m.inputs) * u128::from(m.outputs) * u128::from(shape.bytes),
        };
        let all = one.saturating_mul(u128::from(m.copies));
        sum.total = sum.total.saturating_add(all);
        match m.held {
            Held::Divided => {}
            Held::Whole => sum.whole = sum.whole.saturating_add(all),
            Held::Expert => sum.experts = sum.experts.saturating_add(all),
        }
    }
    sum
}

fn content(shape: &Shape<'_>, layer: Layer) -> Content {
    let mut content = Content { matrices: Vec::new(), plain: 2 * u128::from(shape.hidden) };
    if matches!(layer.mixer, Mixer::Full | Mixer::Sliding | Mixer::Chunked | Mixer::Both) {
        attention(shape, layer, &mut content);
    }
    if matches!(layer.mixer, Mixer::State | Mixer::Both) {
        states(shape, &mut content);
    }
    match (layer.feed, shape.mixture) {
        (Feed::Dense, _) => dense(shape, &mut content),
        (Feed::Experts, Some(mixture)) => mixed(shape, mixture, &mut content),
        (Feed::Experts, None) | (Feed::None, _) => {}
    }
    if let Some(width) = shape.text.node.num("hidden_size_per_layer_input").filter(|w| *w > 0) {
        content.matrices.push(matrix("per_layer_input_gate", shape.hidden, width));
        content.matrices.push(matrix("per_layer_projection", width, shape.hidden));
    }
    content
}

fn attention(shape: &Shape<'_>, layer: Layer, content: &mut Content) {
    let (h, a) = (shape.hidden, &shape.attention);
    if let Some(latent) = a.latent {
        let query = a.queries.saturating_mul(latent.plain.saturating_add(latent.rope));
        if latent.queries > 0 {
            content.matrices.push(whole("self_attn.q_a_proj", h, latent.queries));
            content.matrices.push(matrix("self_attn.q_b_proj", latent.queries, query));
        } else {
            content.matrices.push(matrix("self_attn.q_proj", h, query));
        }
        content.matrices.push(whole("self_attn.kv_a_proj_with_mqa", h, latent.rank + latent.rope));
        let both = a.queries.saturating_mul(latent.plain.saturating_add(latent.value));
        content.matrices.push(matrix("self_attn.kv_b_proj", latent.rank, both));
        content.matrices.push(matrix("self_attn.o_proj", a.queries.saturating_mul(latent.value), h));
        indexer(shape, latent.queries, content);
        return;
    }
    let of = if layer.mixer == Mixer::Sliding { a.sliding } else { a.full };
    let kv = u64::from(if layer.heads > 0 { layer.heads } else { of.kv });
    // Qwen3-Next and its kin gate the output with a second half of the query projection.
    let gated = shape.text.node.yes("attn_output_gate").unwrap_or_else(|| {
        shape.text.model_type.starts_with("qwen3_next") || shape.text.model_type.starts_with("qwen3_5")
    });
    let query = a.queries.saturating_mul(u64::from(of.key));
    let out = a.queries.saturating_mul(u64::from(of.value));
    content.matrices.push(matrix("self_attn.q_proj", h, if gated { query.saturating_mul(2) } else { query }));
    content.matrices.push(matrix("self_attn.k_proj", h, kv.saturating_mul(u64::from(of.key))));
    content.matrices.push(matrix("self_attn.v_proj", h, kv.saturating_mul(u64::from(of.value))));
    content.matrices.push(matrix("self_attn.o_proj", out, h));
}

fn indexer(shape: &Shape<'_>, queries: u64, content: &mut Content) {
    let node = shape.text.node;
    let (Some(heads), Some(dim)) = (node.num("index_n_heads"), node.num("index_head_dim")) else { return };
    content.matrices.push(whole("self_attn.indexer.wq_b", queries, heads.saturating_mul(dim)));
    content.matrices.push(whole("self_attn.indexer.wk", shape.hidden, dim));
    content.plain += u128::from(shape.hidden) * u128::from(heads);
}

fn states(shape: &Shape<'_>, content: &mut Content) {
    let (h, node) = (shape.hidden, shape.text.node);
    let Some(state) = shape.state else { return };
    if let Some(values) = node.num("linear_num_value_heads") {
        let keys = node.num("linear_num_key_heads").unwrap_or(values);
        let value = node.num("linear_value_head_dim").unwrap_or(128).saturating_mul(values);
        let key = node.num("linear_key_head_dim").unwrap_or(128).saturating_mul(keys);
        content.matrices.push(matrix(
            "linear_attn.in_proj_qkvz|linear_attn.in_proj_qkv|linear_attn.in_proj_z",
            h,
            key.saturating_add(value).saturating_mul(2),
        ));
        content.matrices.push(matrix("linear_attn.out_proj", value, h));
        content.plain += u128::from(h) * u128::from(values) * 2 + u128::from(state.conv) * 4 / 3;
    } else if let Some(linear) = node.node("linear_attn_config") {
        let heads = linear.num("num_heads").unwrap_or_default();
        let dim = linear.num("head_dim").unwrap_or_default();
        let all = heads.saturating_mul(dim);
        for name in ["self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"] {
            content.matrices.push(matrix(name, h, all));
        }
        for (down, up) in
            [("self_attn.f_a_proj", "self_attn.f_b_proj"), ("self_attn.g_a_proj", "self_attn.g_b_proj")]
        {
            content.matrices.push(whole(down, h, dim));
            content.matrices.push(matrix(up, dim, all));
        }
        content.matrices.push(matrix("self_attn.o_proj", all, h));
        content.plain += u128::from(h) * u128::from(heads);
    } else if node.has("conv_L_cache") {
        content.matrices.push(matrix("conv.in_proj", h, h.saturating_mul(3)));
        content.matrices.push(matrix("conv.out_proj", h, h));
    } else if node.has("attn_type_list") {
        let all = shape.attention.queries.saturating_mul(u64::from(shape.attention.full.key));
        content.matrices.push(matrix("self_attn.qkv_proj", h, all.saturating_mul(3)));
        content.matrices.push(matrix("self_attn.output_gate", h, all));
        content.matrices.push(matrix("self_attn.out_proj", all, h));
    } else {
        scan(shape, state, content);
    }
}

/// State-space models: Mamba 1 (no groups, `dt` of low rank) and Mamba 2.
fn scan(shape: &Shape<'_>, state: State, content: &mut Content) {
    let (h, node) = (shape.hidden, shape.text.node);
    let size = node.any(&["mamba_d_state", "ssm_state_size", "state_size"]).unwrap_or(16).max(1);
    let inner = state.recurrent / size;
    let heads = node
        .any(&["mamba_n_heads", "n_mamba_heads", "mamba_num_heads"])
        .or_else(|| if shape.text.is(&["mamba2"]) { node.num("num_heads") } else { None });
    content.plain += u128::from(state.conv) * 4 / 3;
    if let Some(heads) = heads {
        let groups = u64::from(state.groups).saturating_mul(size).saturating_mul(2);
        let width = inner.saturating_mul(2).saturating_add(groups).saturating_add(heads);
        content.matrices.push(matrix("mixer.in_proj|mamba.in_proj", h, width));
        content.matrices.push(matrix("mixer.out_proj|mamba.out_proj", inner, h));
        return;
    }
    let inner = state::inner(shape.text).unwrap_or(inner);
    let rank = node.any(&["mamba_dt_rank", "time_step_rank"]).unwrap_or_else(|| h.div_ceil(16));
    content.matrices.push(matrix("mixer.in_proj|mamba.in_proj", h, inner.saturating_mul(2)));
    content.matrices.push(matrix(
        "mixer.x_proj|mamba.x_proj",
        inner,
        rank.saturating_add(size.saturating_mul(2)),
    ));
    content.matrices.push(matrix("mixer.dt_proj|mamba.dt_proj", rank, inner));
    content.matrices.push(matrix("mixer.out_proj|mamba.out_proj", inner, h));
    content.plain += u128::from(inner) * u128::from(size);
}

fn dense(shape: &Shape<'_>, content: &mut Content) {
    let width = width(shape);
    if is_gated(shape.text) {
        content.matrices.push(matrix("mlp.gate_proj|feed_forward.w1|mlp.gate_up_proj", shape.hidden, width));
    }
    content.matrices.push(matrix(
        "mlp.up_proj|feed_forward.w3|mixer.up_proj|mlp.gate_up_proj|mlp.fc1",
        shape.hidden,
        width,
    ));
    content.matrices.push(matrix(
        "mlp.down_proj|feed_forward.w2|mixer.down_proj|mlp.fc2",
        width,
        shape.hidden,
    ));
}

fn mixed(shape: &Shape<'_>, mixture: Mixture, content: &mut Content) {
    const GATE: &str =
        "mlp.experts.0.gate_proj|mlp.experts|block_sparse_moe.experts.0.w1|feed_forward.experts";
    const UP: &str = "mlp.experts.0.up_proj|mlp.experts|block_sparse_moe.experts.0.w3|feed_forward.experts|mixer.experts.0.up_proj";
    const DOWN: &str = "mlp.experts.0.down_proj|mlp.experts|block_sparse_moe.experts.0.w2|feed_forward.experts|mixer.experts.0.down_proj";
    let (h, width) = (shape.hidden, mixture.width);
    let expert = |name, inputs, outputs| Matrix {
        copies: mixture.total,
        held: Held::Expert,
        ..matrix(name, inputs, outputs)
    };
    let gated = is_gated(shape.text);
    if gated {
        content.matrices.push(expert(GATE, h, width));
    }
    content.matrices.push(expert(UP, h, width));
    content.matrices.push(expert(DOWN, width, h));
    content.plain += u128::from(h) * u128::from(mixture.total);
    if mixture.shared > 0 {
        if gated {
            content.matrices.push(matrix(
                "mlp.shared_expert.gate_proj|mlp.shared_experts.gate_proj|feed_forward.shared_expert.gate_proj",
                h,
                mixture.shared,
            ));
        }
        content.matrices.push(matrix(
            "mlp.shared_expert.up_proj|mlp.shared_experts.up_proj|feed_forward.shared_expert.up_proj",
            h,
            mixture.shared,
        ));
        content.matrices.push(matrix(
            "mlp.shared_expert.down_proj|mlp.shared_experts.down_proj|feed_forward.shared_expert.down_proj",
            mixture.shared,
            h,
        ));
    }
    // Arctic and Gemma 4 have a dense layer beside the experts.
    if shape.text.is(&["arctic", "gemma4_text"]) {
        dense(shape, content);
    }
}

/// The width of a dense feed-forward layer.
pub(super) fn width(shape: &Shape<'_>) -> u64 {
    let (text, node) = (shape.text, shape.text.node);
    if text.is(&["llama4_text", "llama4"])
        && let Some(width) = node.num("intermediate_size_mlp")
    {
        return width;
    }
    let own = node
        .any_most(&[
            "intermediate_size",
            "n_inner",
            "ffn_dim",
            "ffn_hidden_size",
            "inner_hidden_size",
            "d_ff",
            "decoder_ffn_dim",
        ])
        .or_else(|| text.num(&["intermediate_size"]));
    match own {
        // Qwen's first generation names both halves of the gate together.
        Some(width) if text.is(&["qwen"]) => width / 2,
        Some(width) if text.is(&["lfm2", "lfm2_moe"]) => adjusted(shape, width),
        Some(width) => width,
        None => shape.hidden.saturating_mul(4),
    }
}

/// LFM2 takes two thirds of what it names, rounded up to a multiple.
fn adjusted(shape: &Shape<'_>, width: u64) -> u64 {
    let node = shape.text.node;
    let asked = node.yes("block_auto_adjust_ff_dim").unwrap_or(shape.text.is(&["lfm2"]));
    if !asked {
        return width;
    }
    let multiple = node.num("block_multiple_of").unwrap_or(256).max(1);
    let times = node.real("block_ffn_dim_multiplier").unwrap_or(1.0).clamp(0.0, 1e3);
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "both are bounded")]
    let adjusted = ((width.saturating_mul(2) / 3) as f64 * times) as u64;
    adjusted.div_ceil(multiple).saturating_mul(multiple)
}

/// Whether a feed-forward layer has three matrices (with a gate) or two.
pub(super) fn is_gated(text: Text<'_>) -> bool {
    const TWO: &[&str] = &[
        "gpt2",
        "gpt_neo",
        "gpt_neox",
        "gptj",
        "gpt_bigcode",
        "bloom",
        "opt",
        "falcon",
        "mpt",
        "phi",
        "starcoder2",
        "nemotron",
        "nemotron_h",
        "persimmon",
        "codegen",
        "whisper",
        "bart",
        "bert",
        "roberta",
        "xlm-roberta",
        "arcee",
        "apertus",
        "distilbert",
        "electra",
        "mpnet",
        "camembert",
        "t5",
        "fuyu",
    ];
    !text.is(TWO)
}

/// The experts of the model, where it has any.
pub(super) fn mixture(text: Text<'_>) -> Option<Mixture> {
    experts::read(text)
}

pub(super) fn saturate(bytes: u128) -> Bytes {
    Bytes(u64::try_from(bytes).unwrap_or(u64::MAX))
}
