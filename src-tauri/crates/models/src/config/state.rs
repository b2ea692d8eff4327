//! The constant state of linear attention, state-space models and short convolutions.
//!
//! Shapes are those of vLLM's `MambaStateShapeCalculator`; a state that one of them keeps in 32 bits is kept so here.

use domain::estimate::State;

use super::layers::narrow;
use super::text::Text;

/// Every layer is a state-space model.
pub(super) fn is_pure(text: Text<'_>) -> bool {
    text.is(&["mamba", "mamba2", "falcon_mamba"])
}

/// Every layer has attention and a state-space model.
pub(super) fn beside_attention(text: Text<'_>) -> bool {
    text.is(&["falcon_h1", "hymba"])
}

/// Kept in ways that no formula here covers.
pub(super) fn is_unknown(text: Text<'_>) -> bool {
    text.is(&[
        "rwkv",
        "rwkv5",
        "rwkv6",
        "rwkv7",
        "recurrent_gemma",
        "xlstm",
        "retnet",
        "deepseek_v4",
        "deepseek_v41",
    ]) || text.node.has("compress_ratios")
}

/// The state of one layer, where the file describes one.
pub(super) fn read(text: Text<'_>) -> Option<State> {
    gated_delta(text)
        .or_else(|| key_decay(text))
        .or_else(|| short_conv(text))
        .or_else(|| lightning(text))
        .or_else(|| mamba2(text))
        .or_else(|| mamba1(text))
}

/// Bytes of a recurrent element: 4 for what is named a 32-bit type, zero for "as the model's".
fn recurrent_bytes(name: Option<&str>) -> u32 {
    match name {
        Some("float32" | "fp32" | "torch.float32") => 4,
        _ => 0,
    }
}

/// Qwen3-Next and its kin.
fn gated_delta(text: Text<'_>) -> Option<State> {
    let node = text.node;
    let values = node.num("linear_num_value_heads")?;
    let keys = node.num("linear_num_key_heads").unwrap_or(values);
    let key = node.num("linear_key_head_dim").unwrap_or(128);
    let value = node.num("linear_value_head_dim").unwrap_or(key);
    let kernel = text.num(&["linear_conv_kernel_dim"]).unwrap_or(4);
    let width = keys.saturating_mul(key).saturating_mul(2).saturating_add(values.saturating_mul(value));
    Some(State {
        conv: width.saturating_mul(kernel.saturating_sub(1)),
        recurrent: values.saturating_mul(value).saturating_mul(key),
        recurrent_bytes: recurrent_bytes(node.text("mamba_ssm_dtype")),
        ..State::default()
    })
}

/// Kimi Linear; its recurrent state is always kept in 32 bits.
fn key_decay(text: Text<'_>) -> Option<State> {
    let linear = text.node.node("linear_attn_config")?;
    let heads = linear.num("num_heads")?;
    let dim = linear.num("head_dim")?;
    let kernel = linear.num("short_conv_kernel_size").unwrap_or(4);
    Some(State {
        conv: heads.saturating_mul(dim).saturating_mul(3).saturating_mul(kernel.saturating_sub(1)),
        recurrent: heads.saturating_mul(dim).saturating_mul(dim),
        recurrent_bytes: 4,
        ..State::default()
    })
}

/// LFM2.
fn short_conv(text: Text<'_>) -> Option<State> {
    let node = text.node;
    let kept = node.num("conv_L_cache")?;
    let width = node.any(&["conv_dim", "hidden_size"])?;
    Some(State { conv: width.saturating_mul(kept.saturating_sub(1)), ..State::default() })
}

/// MiniMax-01.
fn lightning(text: Text<'_>) -> Option<State> {
    text.node.list("attn_type_list")?;
    let heads = text.num(&["num_attention_heads"])?;
    let dim = text.num(&["head_dim"]).or_else(|| text.num(&["hidden_size"])?.checked_div(heads))?;
    Some(State { recurrent: heads.saturating_mul(dim).saturating_mul(dim), ..State::default() })
}

/// Bamba, Granite 4, Falcon-H1, Nemotron-H, Zamba2, Mamba 2.
fn mamba2(text: Text<'_>) -> Option<State> {
    let node = text.node;
    let own = text.is(&["mamba2"]);
    let heads = node
        .any(&["mamba_n_heads", "n_mamba_heads", "mamba_num_heads"])
        .or_else(|| if own { node.num("num_heads") } else { None })?;
    let dim = node
        .any(&["mamba_d_head", "mamba_headdim", "mamba_head_dim", "hidden_size_per_head"])
        .or_else(|| if own { node.num("head_dim") } else { None });
    let size = node.any(&["mamba_d_state", "ssm_state_size", "state_size"])?;
    let kernel = node.any(&["mamba_d_conv", "conv_kernel", "conv_kernel_size"]).unwrap_or(4);
    let inner = node.num("mamba_d_ssm").or_else(|| dim.map(|dim| heads.saturating_mul(dim)))?;
    let dim = dim.or_else(|| inner.checked_div(heads))?;
    let groups = node.any(&["mamba_n_groups", "mamba_ngroups", "n_groups"]).unwrap_or(0);
    let kept = kernel.saturating_sub(1);
    let bytes = if text.is(&["nemotron_h"]) {
        recurrent_bytes(Some(node.text("mamba_ssm_cache_dtype").unwrap_or("float32")))
    } else {
        0
    };
    Some(State {
        conv: inner.saturating_mul(kept),
        groups: narrow(groups),
        per_group: size.saturating_mul(2).saturating_mul(kept),
        recurrent: heads.saturating_mul(dim).saturating_mul(size),
        recurrent_bytes: bytes,
    })
}

/// Jamba, Mamba, Falcon-Mamba.
fn mamba1(text: Text<'_>) -> Option<State> {
    let node = text.node;
    let size = node.any(&["mamba_d_state", "state_size", "ssm_state_size"])?;
    let kernel = node.any(&["mamba_d_conv", "conv_kernel", "d_conv"]).unwrap_or(4);
    let inner = inner(text)?;
    Some(State {
        conv: inner.saturating_mul(kernel.saturating_sub(1)),
        recurrent: inner.saturating_mul(size),
        ..State::default()
    })
}

/// The width inside a state-space layer.
pub(super) fn inner(text: Text<'_>) -> Option<u64> {
    let node = text.node;
    let expanded = || {
        let expand = node.any(&["mamba_expand", "expand"]).unwrap_or(2);
        Some(text.num(&["hidden_size", "d_model"])?.saturating_mul(expand))
    };
    let own = if is_pure(text) { node.any(&["intermediate_size", "d_inner"]) } else { None };
    own.or_else(expanded)
}
