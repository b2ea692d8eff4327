//! How a checkpoint's weights are quantised, as its `quantization_config` says.

use serde_json::Value;

use super::json::{Node, whole};
use super::names::Names;

/// What scales stand beside the values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Scales {
    /// One for the whole matrix.
    Tensor,
    /// One for each output, in bits.
    Channel(u64),
    /// One of so many bits for each group of inputs of each output.
    Group { size: u64, bits: u64 },
    /// One of 32 bits for each tile.
    Block(u64, u64),
}

/// How one matrix is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Scheme {
    bits: u64,
    scales: Scales,
}

impl Scheme {
    /// Bytes of a matrix.
    pub(super) fn bytes(self, inputs: u64, outputs: u64) -> u128 {
        let (inputs, outputs) = (u128::from(inputs), u128::from(outputs));
        let scales = match self.scales {
            Scales::Tensor => 0,
            Scales::Channel(bits) => outputs * u128::from(bits) / 8,
            Scales::Group { size, bits } => {
                inputs.div_ceil(u128::from(size.max(1))) * outputs * u128::from(bits) / 8
            }
            Scales::Block(a, b) => {
                outputs.div_ceil(u128::from(a.max(1))) * inputs.div_ceil(u128::from(b.max(1))) * 4
            }
        };
        inputs * outputs * u128::from(self.bits) / 8 + scales
    }
}

/// The quantisation of one checkpoint.
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a property of a format, and none excludes another"
)]
#[derive(Debug)]
pub(super) struct Quantisation {
    /// As a person would say it.
    pub(super) label: String,
    /// Named modules with a scheme of their own, the first that fits; None as the list: every other one.
    schemes: Vec<(Option<Names>, Scheme)>,
    left_out: Names,
    /// Experts alone are quantised (MXFP4 of gpt-oss).
    experts_only: bool,
    /// Towers are quantised as well, unless they are left out.
    towers: bool,
    pub(super) output_layer: bool,
    /// How it stores weights is not known: 16 bits are the bound.
    pub(super) unknown: bool,
    pub(super) cache_dtype: Option<String>,
}

impl Quantisation {
    pub(super) fn by_layer(&self) -> bool {
        self.left_out.by_layer()
            || self.schemes.iter().any(|(names, _)| names.as_ref().is_some_and(Names::by_layer))
    }

    /// How a matrix is stored; None: as the checkpoint's own type.
    pub(super) fn of(&self, layer: Option<u64>, module: &str, expert: bool) -> Option<Scheme> {
        if self.unknown || (self.experts_only && !expert) || self.left_out.has(layer, module) {
            return None;
        }
        let fits = |names: &Option<Names>| names.as_ref().is_none_or(|n| n.has(layer, module));
        self.schemes.iter().find(|(names, _)| fits(names)).map(|(_, scheme)| *scheme)
    }

    /// How the towers' matrices are stored.
    pub(super) fn of_towers(&self) -> Option<Scheme> {
        const NAMES: &str = "visual|vision_tower|vision_model|vision_encoder|audio_tower|multi_modal_projector|model.visual.blocks.0.mlp.fc1|vision_tower.encoder.layers.0.fc1|model.vision_tower.encoder.layers.0.fc1";
        if self.towers { self.of(None, NAMES, false) } else { None }
    }
}

fn group(bits: u64, size: Option<u64>, scale: u64, zero: bool) -> Scheme {
    let scales = match size.filter(|s| *s > 0) {
        Some(size) => Scales::Group { size, bits: scale + if zero { bits } else { 0 } },
        None => Scales::Channel(scale + if zero { bits } else { 0 }),
    };
    Scheme { bits, scales }
}

/// The quantisation that `root` or the language model's own part names.
pub(super) fn read(root: Node<'_>, text: Node<'_>) -> Option<Quantisation> {
    let keys = ["quantization_config", "compression_config"];
    let node = keys.iter().find_map(|k| root.node(k).or_else(|| text.node(k)))?;
    let method = node
        .text("quant_method")
        .or_else(|| node.node("producer")?.text("name"))
        .unwrap_or_default()
        .to_ascii_lowercase();
    // Some say it one level further down.
    let node = node.node("quantization").unwrap_or(node);
    let mut q = Quantisation {
        label: String::new(),
        schemes: Vec::new(),
        left_out: left_out(node),
        experts_only: false,
        towers: true,
        output_layer: node.yes("lm_head").unwrap_or(false),
        unknown: false,
        cache_dtype: cache_dtype(node),
    };
    let bits = node.any(&["bits", "w_bit", "nbits"]).filter(|b| (1..=16).contains(b));
    let size = node.any(&["group_size", "q_group_size"]);
    match method.as_str() {
        "awq" | "awq_marlin" => {
            let bits = bits.unwrap_or(4);
            q.label = format!("AWQ {bits}-bit");
            let zero = node.yes("zero_point").unwrap_or(true);
            q.schemes.push((None, group(bits, size.or(Some(128)), 16, zero)));
            q.towers = false;
        }
        "gptq" | "gptq_marlin" | "auto-round" | "auto_round" | "autoround" | "intel/auto-round" => {
            let bits = bits.unwrap_or(4);
            let name = if method.contains("gptq") { "GPTQ" } else { "AutoRound" };
            q.label = format!("{name} {bits}-bit");
            q.schemes.push((None, group(bits, size, 16, true)));
            q.towers = false;
            own_bits(node, &mut q);
        }
        "fp8" | "fbgemm_fp8" | "ptpc_fp8" | "deepspeedfp" => {
            q.label = String::from("FP8");
            let tile = node.list("weight_block_size").map(|l| l.iter().filter_map(whole).collect::<Vec<_>>());
            let scales = match tile.as_deref() {
                Some([a, b]) => Scales::Block(*a, *b),
                _ if method == "fp8" => Scales::Tensor,
                _ => Scales::Channel(32),
            };
            q.schemes.push((None, Scheme { bits: 8, scales }));
        }
        "mxfp4" | "gpt_oss_mxfp4" => {
            q.label = String::from("MXFP4");
            q.schemes.push((None, group(4, Some(32), 8, false)));
            q.experts_only = true;
        }
        "compressed-tensors" | "compressed_tensors" | "sparseml" => compressed(node, &mut q),
        "modelopt" | "modelopt_fp4" | "modelopt_mixed" | "modelopt_mxfp8" => modelopt(node, &mut q),
        "bitsandbytes" => bitsandbytes(node, &mut q),
        "experts_int8" => {
            q.label = String::from("INT8 experts");
            q.schemes.push((None, Scheme { bits: 8, scales: Scales::Channel(32) }));
            q.experts_only = true;
        }
        "eetq" | "w8a8_int8" | "int8" => {
            q.label = String::from("INT8");
            q.schemes.push((None, Scheme { bits: 8, scales: Scales::Channel(32) }));
        }
        "hqq" => {
            let own = node.node("quant_config").and_then(|n| n.node("weight_quant_params"));
            let bits = own.and_then(|n| n.num("nbits")).or(bits).unwrap_or(4);
            let size = own.and_then(|n| n.num("group_size")).or(size).unwrap_or(64);
            q.label = format!("HQQ {bits}-bit");
            q.schemes.push((None, Scheme { bits, scales: Scales::Group { size, bits: 32 } }));
        }
        "quark" => quark(node, &mut q),
        _ => {}
    }
    if q.schemes.is_empty() {
        q.unknown = true;
        q.label = if method.is_empty() { "unknown".to_owned() } else { method };
        node.found().note(format!(
            "How {:?} stores weights is not known: they are counted with 16 bits, which is a bound.",
            q.label
        ));
    }
    if q.left_out.strange {
        node.found().note("Not every entry of the list of unquantised modules could be read.");
    }
    Some(q)
}

fn left_out(node: Node<'_>) -> Names {
    const KEYS: [&str; 7] = [
        "modules_to_not_convert",
        "ignored_layers",
        "ignore",
        "exclude_modules",
        "exclude",
        "llm_int8_skip_modules",
        "exclude_layers",
    ];
    let mut names = Names::new(KEYS.iter().filter_map(|k| node.list(k)).flatten());
    if let Some(dynamic) = node.node("dynamic") {
        for (name, _) in dynamic.entries().take(1000).filter(|(name, _)| name.starts_with("-:")) {
            names.add(name);
        }
    }
    names
}

/// AutoRound: modules with bits of their own, of which only "left at 16" is told apart.
fn own_bits(node: Node<'_>, q: &mut Quantisation) {
    let Some(extra) = node.node("extra_config") else { return };
    for (name, value) in extra.entries().take(100_000) {
        if value.get("bits").and_then(whole).is_some_and(|bits| bits >= 16) {
            q.left_out.add(name);
        }
    }
}

fn cache_dtype(node: Node<'_>) -> Option<String> {
    let scheme = node.node("kv_cache_scheme");
    let eight = scheme.is_some_and(|s| s.num("num_bits") == Some(8));
    let algorithm = node.text("kv_cache_quant_algo").is_some_and(|a| a.eq_ignore_ascii_case("fp8"));
    (eight || algorithm).then(|| "fp8".to_owned())
}

fn compressed(node: Node<'_>, q: &mut Quantisation) {
    let Some(groups) = node.node("config_groups") else { return };
    let mut labels: Vec<String> = Vec::new();
    for (_, value) in groups.entries().take(64) {
        let Some(map) = value.as_object() else { continue };
        let one = Node::new(map, node.found());
        let Some(weights) = one.node("weights") else { continue };
        let bits = weights.num("num_bits").filter(|b| (1..=16).contains(b)).unwrap_or(16);
        let size = weights.num("group_size").filter(|s| *s > 0);
        let float = weights.text("type") == Some("float");
        let zero = weights.yes("symmetric") == Some(false);
        let strategy = weights.text("strategy").unwrap_or_default();
        let scheme = match (float, bits, strategy, size) {
            // NVFP4 and MXFP4: an 8-bit scale for each group.
            (true, 4, _, size) => group(4, size.or(Some(16)), 8, false),
            (_, 8, "block", _) => {
                let tile: Vec<u64> = weights
                    .list("block_structure")
                    .map(|l| l.iter().filter_map(whole).collect())
                    .unwrap_or_default();
                let (a, b) = if let [a, b] = tile.as_slice() { (*a, *b) } else { (128, 128) };
                Scheme { bits: 8, scales: Scales::Block(a, b) }
            }
            (_, bits, "tensor", _) => Scheme { bits, scales: Scales::Tensor },
            (_, bits, _, size) => group(bits, size, 16, zero),
        };
        let label = match (float, bits) {
            (true, 4) if size == Some(32) => "MXFP4".to_owned(),
            (true, 4) => "NVFP4".to_owned(),
            (true, 8) => "FP8".to_owned(),
            _ => format!("{bits}-bit"),
        };
        labels.push(label);
        let targets = one.list("targets").unwrap_or_default();
        let by_class = targets.iter().filter_map(Value::as_str).any(|t| {
            !t.starts_with("re:") && !t.contains('.') && t.starts_with(|c: char| c.is_ascii_uppercase())
        });
        let names = Names::new(targets.iter());
        let names = if by_class || names.is_empty() { None } else { Some(names) };
        q.schemes.push((names, scheme));
    }
    // Named modules before "all others".
    q.schemes.sort_by_key(|(names, _)| names.is_none());
    labels.dedup();
    q.label = format!("compressed-tensors {}", labels.join(" and "));
}

fn modelopt(node: Node<'_>, q: &mut Quantisation) {
    let algorithm = node.text("quant_algo").unwrap_or_default().to_ascii_uppercase();
    let size = node.num("group_size").filter(|s| *s > 0);
    let (label, scheme) = match algorithm.as_str() {
        "NVFP4" | "NVFP4_AWQ" | "W4A8_NVFP4_FP8" => ("NVFP4", group(4, size.or(Some(16)), 8, false)),
        "FP8" => ("FP8", Scheme { bits: 8, scales: Scales::Tensor }),
        "FP8_PB_WO" | "FP8_PB_REAL" => ("FP8", Scheme { bits: 8, scales: Scales::Block(128, 128) }),
        "FP8_PER_CHANNEL_PER_TOKEN" => ("FP8", Scheme { bits: 8, scales: Scales::Channel(32) }),
        "MXFP8" => ("MXFP8", group(8, Some(32), 8, false)),
        "W4A16_AWQ" | "W4A8_AWQ" => ("AWQ 4-bit", group(4, size.or(Some(128)), 16, false)),
        _ => {
            if node.has("config_groups") {
                compressed(node, q);
            }
            return;
        }
    };
    q.label = String::from(label);
    q.schemes.push((None, scheme));
}

fn bitsandbytes(node: Node<'_>, q: &mut Quantisation) {
    let eight = node.yes("load_in_8bit") == Some(true) || node.yes("_load_in_8bit") == Some(true);
    if eight {
        q.label = String::from("bitsandbytes 8-bit");
        q.schemes.push((None, Scheme { bits: 8, scales: Scales::Channel(32) }));
        return;
    }
    // A scale for each 64 values: 32 bits, or 8 bits where the scales are quantised once more.
    let twice = node.yes("bnb_4bit_use_double_quant").unwrap_or(false);
    q.label = String::from("bitsandbytes 4-bit");
    q.schemes.push((None, group(4, Some(64), if twice { 8 } else { 32 }, false)));
}

fn quark(node: Node<'_>, q: &mut Quantisation) {
    let weight = node.node("global_quant_config").and_then(|n| n.node("weight"));
    let Some(weight) = weight else { return };
    let size = weight.num("group_size").filter(|s| *s > 0);
    let (label, scheme) = match weight.text("dtype").unwrap_or_default() {
        "fp4" | "mxfp4" => ("MXFP4", group(4, size.or(Some(32)), 8, false)),
        "fp6_e3m2" | "fp6_e2m3" => ("MXFP6", group(6, size.or(Some(32)), 8, false)),
        "fp8_e4m3" | "fp8_e5m2" | "fp8" => {
            let channel = weight.text("qscheme") == Some("per_channel");
            let scales = if channel { Scales::Channel(32) } else { Scales::Tensor };
            ("FP8", Scheme { bits: 8, scales })
        }
        "int8" => ("INT8", Scheme { bits: 8, scales: Scales::Channel(32) }),
        "int4" | "uint4" => ("4-bit", group(4, size.or(Some(128)), 16, true)),
        _ => return,
    };
    q.label = format!("Quark {label}");
    q.schemes.push((None, scheme));
}
