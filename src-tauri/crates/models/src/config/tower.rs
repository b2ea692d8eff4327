//! Towers beside the language model: pictures and sound. They are loaded with it and counted with it.

use super::json::Node;
use super::quant::Quantisation;
use super::text::Text;

/// Bytes of all towers and of what joins them to the language model.
pub(super) fn bytes(around: Node<'_>, hidden: u64, of_weight: u64, quant: Option<&Quantisation>) -> u128 {
    let mut elements: u128 = 0;
    for key in ["vision_config", "vision_tower_config", "vit_config", "visual", "vision_encoder"] {
        if let Some(node) = around.node(key) {
            elements = elements.saturating_add(tower(node, hidden, around, key));
            break;
        }
    }
    for key in ["audio_config", "audio_tower_config", "audio_encoder"] {
        if let Some(node) = around.node(key) {
            elements = elements.saturating_add(tower(node, hidden, around, key));
            break;
        }
    }
    match quant.and_then(Quantisation::of_towers) {
        Some(scheme) => {
            // All matrices as one: groups divide it evenly enough.
            let side = u64::try_from(elements / 4096).unwrap_or(u64::MAX / 8192);
            scheme.bytes(4096, side)
        }
        None => elements.saturating_mul(u128::from(of_weight)),
    }
}

/// Weights of the encoder beside a decoder of `layers`, and of what joins each of the decoder's layers to it.
pub(super) fn encoder(text: Text<'_>, width: u64, layers: u64) -> u128 {
    let node = text.node;
    let own = node.any(&["encoder_layers", "num_layers", "num_hidden_layers"]).unwrap_or(layers);
    let inner = node.any(&["encoder_ffn_dim", "d_ff"]).unwrap_or_else(|| width.saturating_mul(4));
    let w = u128::from(width);
    let square = 4 * w * w;
    (square + 2 * w * u128::from(inner))
        .saturating_mul(u128::from(own))
        .saturating_add(square.saturating_mul(u128::from(layers)))
}

fn tower(node: Node<'_>, hidden: u64, around: Node<'_>, key: &str) -> u128 {
    let model_type = node.text("model_type").unwrap_or_default();
    let layers = node
        .any(&[
            "depth",
            "num_hidden_layers",
            "layers",
            "num_layers",
            "encoder_layers",
            "vt_num_hidden_layers",
            "conf_num_hidden_layers",
        ])
        .or(default(model_type).map(|d| d.0));
    let width = node
        .any(&["embed_dim", "d_model", "width", "hidden_size", "vt_hidden_size", "hidden_dim"])
        .or(default(model_type).map(|d| d.1));
    let (Some(layers), Some(width)) = (layers, width) else {
        if !node.has("model_type") && node.entries().next().is_none() {
            return 0;
        }
        around
            .found()
            .note(format!("How large the tower of {key} is was not understood: it is not in the weights."));
        return 0;
    };
    let inner = node
        .any(&["intermediate_size", "encoder_ffn_dim", "vt_intermediate_size"])
        .or(default(model_type).map(|d| d.2))
        .or_else(|| node.num("mlp_ratio").map(|r| width.saturating_mul(r)))
        .unwrap_or_else(|| width.saturating_mul(4));
    // Some of Qwen's towers, and Pixtral, have a gate.
    let gated =
        matches!(model_type, "qwen2_5_vl" | "pixtral" | "qwen2_5_omni_vision_encoder" | "gemma4_vision")
            || around.text("model_type") == Some("qwen2_5_vl");
    let matrices: u128 = if gated { 3 } else { 2 };
    let w = u128::from(width);
    // A conformer has two feed-forward layers and a convolution in each of its layers.
    let conformer = model_type.contains("gemma3n_audio") || node.has("conf_num_hidden_layers");
    let block = if conformer { 16 * w * w } else { 4 * w * w + matrices * w * u128::from(inner) };
    let encoder = block.saturating_mul(u128::from(layers));
    encoder.saturating_add(projector(node, width, hidden, around))
}

/// What turns a tower's output into the language model's tokens.
fn projector(node: Node<'_>, width: u64, hidden: u64, around: Node<'_>) -> u128 {
    let (w, h) = (u128::from(width), u128::from(hidden));
    if let Some(merge) = node.num("spatial_merge_size").or_else(|| around.num("spatial_merge_size")) {
        let joined = w.saturating_mul(u128::from(merge.min(64)).pow(2));
        let out = node.num("out_hidden_size").map_or(h, u128::from);
        // Qwen3-VL has one more for each layer that it taps.
        let taps = node.list("deepstack_visual_indexes").map_or(0, <[_]>::len).min(64);
        let times = u128::try_from(taps).unwrap_or_default() + 1;
        return joined
            .saturating_mul(joined)
            .saturating_add(joined.saturating_mul(out))
            .saturating_mul(times);
    }
    w.saturating_mul(h).saturating_add(h.saturating_mul(h).min(w.saturating_mul(h)))
}

/// Layers, width and inner width of towers that configurations name without numbers.
fn default(model_type: &str) -> Option<(u64, u64, u64)> {
    match model_type {
        "siglip_vision_model" => Some((12, 768, 3072)),
        "clip_vision_model" | "pixtral" => Some((24, 1024, 4096)),
        // MobileNet V5 of Gemma 3n, about 300 million weights in all.
        "gemma3n_vision" => Some((25, 1000, 3000)),
        "gemma3n_audio" => Some((12, 1536, 6144)),
        "qwen2_vl" => Some((32, 1280, 5120)),
        "qwen2_5_vl" => Some((32, 1280, 3420)),
        _ => None,
    }
}
