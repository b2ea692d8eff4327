//! From a GGUF header to what an estimate starts from, by the rules of llama.cpp's loader.

use std::collections::BTreeMap;

use domain::Bytes;
use domain::estimate::{Cache, Experts, Heads, LayerRun, ModelFacts, Parts, State, Weights};

use super::read::{Header, Tensor};
use super::types::{self, tensor_type};

/// More layers than any model has; a header that claims more lies.
const MOST_LAYERS: u64 = 100_000;

/// What the headers of a model's files say: the first, and of a split model the others with their tensors.
pub fn facts(first: &Header, others: &[Header]) -> ModelFacts {
    let architecture = first.text("general.architecture").unwrap_or_default().to_owned();
    let of = Model { header: first, architecture: &architecture };
    let mut notes = Vec::new();
    let mut bounded = false;
    let tensors = || std::iter::once(first).chain(others).flat_map(|h| &h.tensors);
    let (weights, mut parts) = weights(tensors(), &mut notes);
    let tied = !tensors().any(|t| t.name == "output.weight");
    if tied {
        // Then every token passes the whole of it on its way out.
        parts.embedding = Bytes::ZERO;
    }
    let layers = of.layers(&mut notes, &mut bounded);
    if layers.is_empty() && architecture != "clip" {
        bounded = true;
        notes.push("The file does not say how many layers it has, so its KV cache is not known.".to_owned());
    }
    let embedding = of.number("embedding_length").unwrap_or(0);
    let experts = of.number("expert_count").filter(|n| *n > 0).map(|total| Experts {
        total: narrow(total),
        active: narrow(of.number("expert_used_count").unwrap_or(total)),
    });
    let width = of.largest("feed_forward_length").unwrap_or(0);
    let expert_width = of.number("expert_feed_forward_length").unwrap_or(0);
    let active = experts.map_or(0, |e| u64::from(e.active));
    ModelFacts {
        layers,
        attention_heads: narrow(of.largest("attention.head_count").unwrap_or(0)),
        hidden: narrow(embedding),
        intermediate: width.max(expert_width.saturating_mul(active)),
        vocabulary: narrow(
            first.length_of("tokenizer.ggml.tokens").or_else(|| of.number("vocab_size")).unwrap_or(0),
        ),
        tied_embeddings: tied,
        experts,
        max_context: of.number("context_length").map(narrow),
        dtype: "float16".to_owned(),
        quantization: Some(format!("GGUF {}", quantization(first, tensors()))),
        cache_dtype: None,
        weights,
        parts,
        bounded,
        notes,
        architecture,
    }
}

fn narrow(value: u64) -> u32 {
    u32::try_from(value).unwrap_or(u32::MAX)
}

/// What the file says of itself, else the type that most of its bytes have.
fn quantization<'a>(first: &Header, tensors: impl Iterator<Item = &'a Tensor>) -> String {
    if let Some(name) = first.number("general.file_type").and_then(types::file_type) {
        return name.to_owned();
    }
    let mut by_type: BTreeMap<u32, u64> = BTreeMap::new();
    for tensor in tensors {
        let bytes = by_type.entry(tensor.kind).or_default();
        *bytes = bytes.saturating_add(tensor.bytes().0);
    }
    let most = by_type.into_iter().max_by_key(|(_, bytes)| *bytes).map(|(kind, _)| kind);
    match most.map(|kind| (kind, tensor_type(kind))) {
        Some((_, Some(of))) => of.name.to_owned(),
        Some((kind, None)) => format!("type {kind}"),
        None => "without tensors".to_owned(),
    }
}

/// The exact sum, or a bound where a type is not known.
fn weights<'a>(tensors: impl Iterator<Item = &'a Tensor>, notes: &mut Vec<String>) -> (Weights, Parts) {
    let mut parts = Parts::default();
    let mut exact = true;
    let mut unknown: BTreeMap<u32, u64> = BTreeMap::new();
    let add = |to: &mut Bytes, bytes: u64| *to += Bytes(bytes);
    for tensor in tensors {
        let (bytes, known) = tensor.bytes();
        if !known {
            exact = false;
            *unknown.entry(tensor.kind).or_default() += 1;
        }
        add(&mut parts.total, bytes);
        if tensor.name == "token_embd.weight" {
            add(&mut parts.embedding, bytes);
        } else if tensor.name.contains("_exps.") {
            add(&mut parts.experts, bytes);
        } else if tensor.name.starts_with("v.") || tensor.name.starts_with("mm.") {
            add(&mut parts.towers, bytes);
        } else if tensor.name.contains(".nextn.") {
            add(&mut parts.prediction, bytes);
        }
    }
    for (kind, count) in unknown {
        notes.push(format!(
            "{count} tensors are of type {kind}, which is newer than this Asgard: their size is a bound."
        ));
    }
    let weights =
        if exact { Weights::Exact(parts.total) } else { Weights::Unknown { bound: Some(parts.total) } };
    (weights, parts)
}

struct Model<'a> {
    header: &'a Header,
    architecture: &'a str,
}

impl Model<'_> {
    fn key(&self, name: &str) -> String {
        format!("{}.{name}", self.architecture)
    }

    fn number(&self, name: &str) -> Option<u64> {
        self.header.number(&self.key(name))
    }

    fn each(&self, name: &str, layers: usize) -> Option<Vec<u64>> {
        self.header.for_each_layer(&self.key(name), layers)
    }

    fn largest(&self, name: &str) -> Option<u64> {
        match self.header.entries.get(&self.key(name))? {
            super::Value::Integer(n) => Some(*n),
            super::Value::Numbers(all) => all.iter().max().copied(),
            _ => None,
        }
    }

    /// What each layer keeps.
    fn layers(&self, notes: &mut Vec<String>, bounded: &mut bool) -> Vec<LayerRun> {
        let Some(blocks) = self.number("block_count").filter(|n| (1..=MOST_LAYERS).contains(n)) else {
            return Vec::new();
        };
        if is_without_cache(self.architecture) {
            notes.push("A model that embeds or encodes keeps no cache from token to token.".to_owned());
            return Vec::new();
        }
        // Layers that predict further tokens stand behind the others and keep no cache here.
        let predicting = self.number("nextn_predict_layers").unwrap_or(0).min(blocks);
        let Ok(count) = usize::try_from(blocks - predicting) else { return Vec::new() };
        let width = self.number("embedding_length").unwrap_or(0);
        let heads = self.largest("attention.head_count").unwrap_or(0).max(1);
        let usual = width / heads;
        let kv_heads = self
            .each("attention.head_count_kv", count)
            .or_else(|| self.each("attention.head_count", count))
            .unwrap_or_else(|| vec![heads; count]);
        let full = Dimensions {
            key: self.number("attention.key_length").unwrap_or(usual),
            value: self.number("attention.value_length").unwrap_or(usual),
        };
        let windowed = Dimensions {
            key: self.number("attention.key_length_swa").unwrap_or(full.key),
            value: self.number("attention.value_length_swa").unwrap_or(full.value),
        };
        let window = self.number("attention.sliding_window").filter(|w| *w > 0);
        let slides = self.sliding(count, window.is_some(), notes, bounded);
        let chunk =
            (self.architecture == "llama4").then(|| self.number("attention.chunk_size").unwrap_or(8192));
        let latent = self
            .number("attention.kv_lora_rank")
            .filter(|rank| *rank > 0 && self.architecture != "minicpm3")
            .map(|rank| rank.saturating_add(self.number("rope.dimension_count").unwrap_or(0)));
        let state = self.state(width);
        let recurrent = self.recurrent(count, &kv_heads);
        let with_cache = count.saturating_sub(
            usize::try_from(self.number("attention.shared_kv_layers").unwrap_or(0)).unwrap_or(count),
        );
        let mut kinds: BTreeMap<String, LayerRun> = BTreeMap::new();
        let mut add = |cache: Cache| {
            kinds.entry(format!("{cache:?}")).or_insert(LayerRun { count: 0, cache }).count += 1;
        };
        for layer in 0..count {
            let is_recurrent = recurrent.get(layer).copied().unwrap_or(false);
            if let Some(state) = state.filter(|_| is_recurrent || self.is_both()) {
                add(Cache::State(state));
            }
            let kv = kv_heads.get(layer).copied().unwrap_or(0);
            if is_recurrent && !self.is_both() || kv == 0 || layer >= with_cache {
                continue;
            }
            if let Some(width) = latent {
                add(Cache::Latent { width: narrow(width) });
                continue;
            }
            let slides = slides.get(layer).copied().unwrap_or(false);
            let of = |d: &Dimensions| Heads { kv: narrow(kv), key: narrow(d.key), value: narrow(d.value) };
            match (slides, chunk, window) {
                (true, Some(chunk), _) => add(Cache::Chunked { heads: of(&full), chunk: narrow(chunk) }),
                (true, None, Some(window)) => {
                    add(Cache::Sliding { heads: of(&windowed), window: narrow(window) });
                }
                _ => add(Cache::Full { heads: of(&full) }),
            }
        }
        kinds.into_values().collect()
    }

    /// Which layers look at a window only: as the file says, else as the architecture is built.
    fn sliding(
        &self,
        layers: usize,
        has_window: bool,
        notes: &mut Vec<String>,
        bounded: &mut bool,
    ) -> Vec<bool> {
        if self.architecture == "llama4" {
            return every(layers, 4);
        }
        if !has_window {
            return vec![false; layers];
        }
        match self.header.entries.get(&self.key("attention.sliding_window_pattern")) {
            Some(super::Value::Numbers(all)) if all.len() >= layers => {
                return all.iter().take(layers).map(|n| *n > 0).collect();
            }
            Some(super::Value::Integer(n)) => return every(layers, *n),
            _ => {}
        }
        match self.architecture {
            "gemma2" | "gpt-oss" => every(layers, 2),
            "gemma3" | "gemma-embedding" => every(layers, 6),
            "gemma3n" => every(layers, 5),
            "cohere2" | "olmo2" | "exaone4" | "exaone-moe" | "smallthinker" | "afmoe" => every(layers, 4),
            "phi3" | "mistral" | "plamo3" => vec![true; layers],
            // A window that llama.cpp reads of no such model: all layers keep everything.
            "llama" | "qwen2" | "qwen3" | "qwen2moe" | "qwen3moe" | "mistral3" => vec![false; layers],
            other => {
                *bounded = true;
                notes.push(format!(
                    "Some layers of {other} keep only a window, and the file does not say which: all are counted as if they kept everything."
                ));
                vec![false; layers]
            }
        }
    }

    /// Whether every layer has attention and a state beside it.
    fn is_both(&self) -> bool {
        matches!(self.architecture, "falcon-h1")
    }

    /// Which layers keep a state instead of a cache.
    fn recurrent(&self, layers: usize, kv_heads: &[u64]) -> Vec<bool> {
        if matches!(self.architecture, "mamba" | "mamba2" | "rwkv6" | "rwkv6qwen2" | "rwkv7" | "arwkv7") {
            return vec![true; layers];
        }
        if let Some(interval) = self.number("full_attention_interval").filter(|n| *n > 0) {
            return (0..layers as u64).map(|layer| !(layer + 1).is_multiple_of(interval)).collect();
        }
        let has_state =
            self.number("ssm.conv_kernel").is_some() || self.number("shortconv.l_cache").is_some();
        if self.architecture == "kimi-linear" || has_state && !self.is_both() {
            return kv_heads.iter().map(|kv| *kv == 0).collect();
        }
        vec![false; layers]
    }

    /// The state of one recurrent layer, of which llama.cpp keeps every element in 32 bits.
    fn state(&self, width: u64) -> Option<State> {
        if let Some(cache) = self.number("shortconv.l_cache") {
            let conv = cache.saturating_sub(1).saturating_mul(width);
            return Some(State { conv, recurrent_bytes: 4, ..State::default() });
        }
        if let Some(head) = self.number("wkv.head_size") {
            let shift = self.number("token_shift_count").unwrap_or(2);
            return Some(State {
                conv: shift.saturating_mul(width),
                recurrent: head.saturating_mul(width),
                recurrent_bytes: 4,
                ..State::default()
            });
        }
        let kernel = self.number("ssm.conv_kernel")?;
        let inner = self.number("ssm.inner_size").unwrap_or(0);
        let size = self.number("ssm.state_size").unwrap_or(0);
        let groups = self.number("ssm.group_count").unwrap_or(0);
        let rows = inner.saturating_add(groups.saturating_mul(size).saturating_mul(2));
        Some(State {
            conv: kernel.saturating_sub(1).saturating_mul(rows),
            recurrent: size.saturating_mul(inner),
            recurrent_bytes: 4,
            ..State::default()
        })
    }
}

struct Dimensions {
    key: u64,
    value: u64,
}

/// All layers slide but the last of each `n`. None of them where `n` is zero, all where it is one.
fn every(layers: usize, n: u64) -> Vec<bool> {
    (0..layers as u64)
        .map(|layer| match n {
            0 => false,
            1 => true,
            n => layer % n < n - 1,
        })
        .collect()
}

fn is_without_cache(architecture: &str) -> bool {
    matches!(
        architecture,
        "bert"
            | "nomic-bert"
            | "nomic-bert-moe"
            | "jina-bert-v2"
            | "jina-bert-v3"
            | "modern-bert"
            | "neo-bert"
            | "clip"
    )
}
