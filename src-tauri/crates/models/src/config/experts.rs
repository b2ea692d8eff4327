//! Mixtures of experts: how many, how wide, in which layers.

use domain::estimate::Experts;
use serde_json::Value;

use super::json::{Found, Node, whole};
use super::layers::narrow;
use super::text::Text;

/// The experts of one layer.
#[derive(Debug, Clone, Copy)]
pub(super) struct Mixture {
    pub(super) total: u64,
    pub(super) active: u64,
    /// Width of one expert.
    pub(super) width: u64,
    /// Width of the experts that every token passes, together.
    pub(super) shared: u64,
}

impl Mixture {
    pub(super) fn experts(self) -> Experts {
        Experts { total: narrow(self.total), active: narrow(self.active.min(self.total)) }
    }
}

pub(super) fn read(text: Text<'_>) -> Option<Mixture> {
    const TOTAL: [&str; 6] = [
        "num_local_experts",
        "num_experts",
        "n_routed_experts",
        "moe_num_experts",
        "num_routed_experts",
        "num_moe_experts",
    ];
    const ACTIVE: [&str; 8] = [
        "num_experts_per_tok",
        "num_experts_per_token",
        "top_k_experts",
        "moe_topk",
        "moe_k",
        "moe_top_k",
        "num_selected_experts",
        "n_activated_experts",
    ];
    let node = text.node;
    let inner = node.node("ffn_config").filter(|n| n.has("moe_num_experts")).unwrap_or(node);
    let total =
        inner.any_most(&TOTAL).or_else(|| text.num(&["num_local_experts"])).filter(|total| *total > 1)?;
    let active = inner.any_most(&ACTIVE).or_else(|| text.num(&["num_experts_per_tok"])).unwrap_or(1);
    let width = inner
        .any_most(&["moe_intermediate_size", "expert_ffn_hidden_size", "ffn_hidden_size"])
        .or_else(|| text.num(&["moe_intermediate_size"]))
        .or_else(|| node.any_most(&["intermediate_size"]))
        .unwrap_or_default();
    Some(Mixture { total, active, width, shared: shared(text, node, width) })
}

fn shared(text: Text<'_>, node: Node<'_>, width: u64) -> u64 {
    let own = node.any(&[
        "shared_expert_intermediate_size",
        "moe_shared_expert_intermediate_size",
        "shared_intermediate_size",
    ]);
    if let Some(own) = own {
        let times = node.num("n_shared_experts").filter(|_| text.is(&["nemotron_h"])).unwrap_or(1).max(1);
        return own.saturating_mul(times);
    }
    if text.is(&["llama4_text", "llama4"]) {
        return width;
    }
    let number = node.any_most(&[
        "n_shared_experts",
        "num_shared_experts",
        "num_shared_expert",
        "moe_num_shared_experts",
    ]);
    number.unwrap_or_default().saturating_mul(width)
}

/// Which layers have experts.
pub(super) struct Pattern {
    every: u64,
    offset: u64,
    first: u64,
    dense: std::collections::HashSet<u64>,
    listed: Option<Vec<bool>>,
    none: bool,
}

impl Pattern {
    pub(super) fn at(&self, layer: u64) -> bool {
        if self.none || layer < self.first || self.dense.contains(&layer) {
            return false;
        }
        if let Some(listed) = &self.listed {
            return usize::try_from(layer).ok().and_then(|at| listed.get(at)).copied().unwrap_or(true);
        }
        layer % self.every == self.offset
    }
}

pub(super) fn pattern(text: Text<'_>, count: u64, found: &Found) -> Pattern {
    let node = text.node;
    let mut pattern = Pattern {
        every: 1,
        offset: 0,
        first: 0,
        dense: std::collections::HashSet::new(),
        listed: None,
        none: read(text).is_none(),
    };
    let step = node
        .any(&["decoder_sparse_step", "expert_layer_period", "moe_layer_interval", "moe_every_n_layers"])
        .or_else(|| text.num(&["interleave_moe_layer_step"]))
        .or_else(|| node.num("moe_layer_freq"))
        .filter(|step| *step > 0);
    if let Some(step) = step {
        pattern.every = step;
        // Jamba counts from its offset, the others let every n-th layer be the last of its n.
        let from = node.num("expert_layer_offset");
        let aligned = node.has("moe_layer_freq") && !node.has("decoder_sparse_step");
        pattern.offset = from.unwrap_or(if aligned { 0 } else { step - 1 }) % step;
    }
    pattern.first = text
        .num(&["first_k_dense_replace", "num_dense_layers", "moe_layer_start_index", "n_dense_layers"])
        .unwrap_or_default();
    if let Some(dense) = node.list("mlp_only_layers") {
        pattern.dense = dense.iter().filter_map(whole).collect();
    }
    let flags = node.list("moe_layer_freq").map(|l| l.iter().map(|v| whole(v) != Some(0)).collect());
    let words = node
        .list("mlp_layer_types")
        .map(|l| l.iter().map(|v| v.as_str() != Some("dense")).collect::<Vec<bool>>());
    pattern.listed = words.or(flags);
    if let Some(layers) = node.list("moe_layers").filter(|l| !l.is_empty()) {
        let with: std::collections::HashSet<u64> = layers.iter().filter_map(whole).collect();
        pattern.listed = Some((0..count).map(|at| with.contains(&at)).collect());
    }
    if let Some(Value::String(layers)) = node.value("moe_layers_enum") {
        let with: std::collections::HashSet<u64> =
            layers.split(',').filter_map(|n| n.trim().parse().ok()).collect();
        pattern.listed = Some((0..count).map(|at| with.contains(&at)).collect());
    }
    if pattern.none && (node.has("moe") || node.has("moe_config") || node.has("num_moe_layers")) {
        found.note("The model seems to have experts, but not in a way that is understood.");
    }
    pattern
}
