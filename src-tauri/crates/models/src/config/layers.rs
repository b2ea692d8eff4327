//! Which layers a model has, and what each of them keeps.

use domain::estimate::{Cache, Heads, LayerRun, State};
use serde_json::Value;

use super::json::{shown, whole};
use super::state;
use super::text::Text;

/// More than any model has; each costs a few bytes while the file is read.
pub(super) const MOST_LAYERS: u64 = 100_000;

/// What a layer does with the tokens before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Mixer {
    Full,
    Sliding,
    Chunked,
    /// Linear attention or a state-space model.
    State,
    /// Attention and a state-space model side by side.
    Both,
    /// Nothing: a feed-forward layer alone.
    None,
}

/// What a layer does with each token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Feed {
    Dense,
    Experts,
    None,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Layer {
    pub(super) mixer: Mixer,
    pub(super) feed: Feed,
    /// Reads another layer's cache and keeps none.
    pub(super) shares: bool,
    /// KV heads where the file gives them for each layer; zero: as everywhere.
    pub(super) heads: u32,
}

/// Attention of one model, all heads.
#[derive(Debug, Clone, Copy)]
pub(super) struct Attention {
    pub(super) queries: u64,
    pub(super) full: Heads,
    pub(super) sliding: Heads,
    pub(super) latent: Option<Latent>,
    pub(super) window: u32,
    pub(super) chunk: u32,
    /// Bytes of each token that an indexer keeps beside the latent.
    pub(super) indexer: u32,
}

/// Multi-head latent attention.
#[derive(Debug, Clone, Copy)]
pub(super) struct Latent {
    pub(super) queries: u64,
    pub(super) rank: u64,
    pub(super) rope: u64,
    pub(super) plain: u64,
    pub(super) value: u64,
}

/// The layers of a model, in its order.
pub(super) struct Layers {
    pub(super) all: Vec<Layer>,
    /// Something was not understood, and what grows most was taken for it.
    pub(super) bounded: bool,
}

pub(super) fn read(text: Text<'_>, count: u64) -> Layers {
    let found = text.node.found();
    let mut bounded = false;
    let mixers = mixers(text, count, &mut bounded);
    let heads = text.node.list("num_key_value_heads").or_else(|| text.node.list("num_kv_heads"));
    let shared = text.num(&["num_kv_shared_layers"]).unwrap_or_default().min(count);
    let experts = super::experts::pattern(text, count, found);
    let all = (0..count)
        .zip(mixers)
        .map(|(at, (mixer, own_feed))| Layer {
            mixer,
            feed: own_feed.unwrap_or(if experts.at(at) { Feed::Experts } else { Feed::Dense }),
            shares: at >= count - shared,
            heads: heads.and_then(|h| per_layer(h, at)).unwrap_or_default(),
        })
        .collect();
    Layers { all, bounded }
}

/// The entry for layer `at`; lists that are shorter repeat.
fn per_layer(list: &[Value], at: u64) -> Option<u32> {
    let at = usize::try_from(at).ok()? % list.len().max(1);
    u32::try_from(whole(list.get(at)?)?).ok()
}

type Mixed = (Mixer, Option<Feed>);

/// The kind of every layer, from whichever of the many spellings the file uses.
fn mixers(text: Text<'_>, count: u64, bounded: &mut bool) -> Vec<Mixed> {
    let node = text.node;
    let found = node.found();
    let plain = |m: Mixer| (m, None);
    let each = |of: &dyn Fn(u64) -> Mixer| (0..count).map(|at| plain(of(at))).collect::<Vec<_>>();

    if let Some(pattern) = node.text("hybrid_override_pattern") {
        return letters(pattern, count, text, bounded);
    }
    for key in ["layer_types", "layers_block_type", "block_types", "attention_layer_types"] {
        if let Some(words) = node.list(key).filter(|l| !l.is_empty()) {
            return listed(text, key, words, count, bounded);
        }
    }
    // Which layers are full attention, the others being states.
    if let Some(list) = node.list("attn_type_list") {
        return each(&|at| if per_layer(list, at) == Some(1) { Mixer::Full } else { Mixer::State });
    }
    if let Some(list) = node.list("attn_layer_indices").or_else(|| node.list("full_attn_idxs")) {
        let full: std::collections::HashSet<u64> = list.iter().filter_map(whole).collect();
        return each(&|at| if full.contains(&at) { Mixer::Full } else { Mixer::State });
    }
    if let Some(list) = node.node("linear_attn_config").and_then(|linear| linear.list("full_attn_layers")) {
        // Counted from one.
        let full: std::collections::HashSet<u64> = list.iter().filter_map(whole).collect();
        return each(&|at| if full.contains(&(at + 1)) { Mixer::Full } else { Mixer::State });
    }
    if let Some(period) = node.num("attn_layer_period").filter(|p| *p > 0) {
        let offset = node.num("attn_layer_offset").unwrap_or_default();
        return each(&|at| if at % period == offset % period { Mixer::Full } else { Mixer::State });
    }
    let every = text.num(&["full_attention_interval"]).filter(|e| *e > 0);
    if let Some(every) = every.filter(|_| node.has("linear_num_value_heads")) {
        return each(&|at| if (at + 1).is_multiple_of(every) { Mixer::Full } else { Mixer::State });
    }
    if state::is_pure(text) {
        return (0..count).map(|_| (Mixer::State, Some(Feed::None))).collect();
    }
    if state::beside_attention(text) {
        return each(&|_| Mixer::Both);
    }
    if state::is_unknown(text) {
        *bounded = true;
        found.note(format!(
            "What {:?} keeps for a sequence is not understood: every layer is counted as full attention.",
            text.model_type
        ));
        return each(&|_| Mixer::Full);
    }
    windows(text, count, bounded)
}

/// Layers that differ by their windows alone.
fn windows(text: Text<'_>, count: u64, bounded: &mut bool) -> Vec<Mixed> {
    let node = text.node;
    let each = |of: &dyn Fn(u64) -> Mixer| (0..count).map(|at| (of(at), None)).collect::<Vec<_>>();
    if text.is(&["llama4_text", "llama4"]) && text.num(&["attention_chunk_size"]).is_some() {
        // Layers without rotary positions see everything: those with a zero, else every fourth.
        let list = node.list("no_rope_layers").filter(|l| !l.is_empty());
        return each(&|at| {
            let chunked = match list {
                Some(list) => per_layer(list, at) != Some(0),
                None => !(at + 1).is_multiple_of(4),
            };
            if chunked { Mixer::Chunked } else { Mixer::Full }
        });
    }
    let window = text.num(&["sliding_window", "sliding_window_size"]).filter(|w| *w > 0);
    if window.is_none() || node.yes("use_sliding_window") == Some(false) {
        return each(&|_| Mixer::Full);
    }
    if let Some(list) = node.list("hybrid_layer_pattern").or_else(|| node.list("sliding_window_pattern")) {
        return each(&|at| {
            let slides = match usize::try_from(at).ok().and_then(|at| list.get(at % list.len().max(1))) {
                Some(Value::Bool(yes)) => *yes,
                other => other.and_then(whole) == Some(1),
            };
            if slides { Mixer::Sliding } else { Mixer::Full }
        });
    }
    if let Some(letters) = node.text("sliding_window_pattern").filter(|l| !l.is_empty()) {
        // "LLLG": L for local. The last layer is always a global one.
        let letters: Vec<char> = letters.chars().take(64).collect();
        return each(&|at| {
            let letter = usize::try_from(at).ok().and_then(|at| letters.get(at % letters.len()));
            if letter == Some(&'L') && at + 1 < count { Mixer::Sliding } else { Mixer::Full }
        });
    }
    if let Some(every) =
        text.num(&["sliding_window_pattern", "_sliding_window_pattern"]).filter(|every| *every > 0)
    {
        return each(&|at| if (at + 1).is_multiple_of(every) { Mixer::Full } else { Mixer::Sliding });
    }
    if text.is(&["gemma2", "gpt_oss"]) {
        return each(&|at| if at.is_multiple_of(2) { Mixer::Sliding } else { Mixer::Full });
    }
    if node.yes("use_sliding_window") == Some(true) {
        let full = node.num("max_window_layers").unwrap_or_default();
        return each(&|at| if at < full { Mixer::Full } else { Mixer::Sliding });
    }
    if text.is(&["mistral", "mixtral", "ministral", "phi3", "phimoe", "starcoder2", "phi4mm", "minimax_m2"]) {
        return each(&|_| Mixer::Sliding);
    }
    *bounded = true;
    node.found().note(format!(
        "Which layers of {:?} have the window is not known: all are counted as full attention.",
        text.model_type
    ));
    each(&|_| Mixer::Full)
}

/// Words for each layer.
fn listed(text: Text<'_>, key: &str, words: &[Value], count: u64, bounded: &mut bool) -> Vec<Mixed> {
    let found = text.node.found();
    let given = u64::try_from(words.len()).unwrap_or(u64::MAX);
    if given < count {
        *bounded = true;
        found.note(format!(
            "{key} names {given} of {count} layers: the others are counted as full attention."
        ));
    }
    (0..count)
        .map(|at| {
            let word = usize::try_from(at).ok().and_then(|at| words.get(at));
            let mixer = match word.and_then(Value::as_str) {
                Some("full_attention" | "attention" | "global" | "global_attention" | "full") => Mixer::Full,
                Some("sliding_attention" | "sliding" | "local" | "local_attention" | "sliding_window") => {
                    // Switched off, or without a size, it is full attention.
                    if text.num(&["sliding_window", "sliding_window_size"]).is_none_or(|w| w == 0) {
                        Mixer::Full
                    } else {
                        Mixer::Sliding
                    }
                }
                Some("chunked_attention") => Mixer::Chunked,
                Some(
                    "linear_attention"
                    | "mamba"
                    | "mamba2"
                    | "conv"
                    | "m"
                    | "recurrent"
                    | "gated_delta_net"
                    | "kda"
                    | "linear"
                    | "ssm"
                    | "lightning_attention",
                ) => Mixer::State,
                Some("hybrid") => Mixer::Both,
                Some("moe" | "mlp") => return (Mixer::None, Some(Feed::Experts)),
                None if word.is_none() => Mixer::Full,
                _ => {
                    *bounded = true;
                    found.note(format!(
                        "Layers of the kind {} are not understood: they are counted as full attention.",
                        word.map_or_else(String::new, shown)
                    ));
                    Mixer::Full
                }
            };
            (mixer, None)
        })
        .collect()
}

/// Nemotron-H: M a state, * attention, - a dense feed-forward layer, E one of experts.
fn letters(pattern: &str, count: u64, text: Text<'_>, bounded: &mut bool) -> Vec<Mixed> {
    let letters: Vec<char> = pattern
        .chars()
        .filter(|c| !c.is_whitespace() && *c != '|')
        .take(usize::try_from(count).unwrap_or_default())
        .collect();
    if u64::try_from(letters.len()).unwrap_or_default() < count {
        *bounded = true;
        text.node.found().note("hybrid_override_pattern names fewer layers than there are.");
    }
    let mut mixed: Vec<Mixed> = letters
        .iter()
        .map(|letter| match letter {
            'M' => (Mixer::State, Some(Feed::None)),
            '-' => (Mixer::None, Some(Feed::Dense)),
            'E' => (Mixer::None, Some(Feed::Experts)),
            _ => (Mixer::Full, Some(Feed::None)),
        })
        .collect();
    mixed.resize(usize::try_from(count).unwrap_or_default(), (Mixer::Full, Some(Feed::None)));
    mixed
}

/// The caches of all layers, equal ones together.
pub(super) fn runs(layers: &[Layer], attention: Attention, state: Option<State>) -> Vec<LayerRun> {
    let mut runs: Vec<LayerRun> = Vec::new();
    let mut add = |cache: Cache| match runs.iter_mut().find(|r| r.cache == cache) {
        Some(run) => run.count += 1,
        None => runs.push(LayerRun { count: 1, cache }),
    };
    for layer in layers.iter().filter(|l| !l.shares) {
        let heads = |of: Heads| if layer.heads > 0 { Heads { kv: layer.heads, ..of } } else { of };
        let keeps = |mixer: Mixer| {
            matches!((layer.mixer, mixer), (Mixer::Both, Mixer::Full | Mixer::State)) || layer.mixer == mixer
        };
        if keeps(Mixer::Full) {
            match attention.latent {
                Some(latent) => add(Cache::Latent { width: narrow(latent.rank + latent.rope) }),
                None => add(Cache::Full { heads: heads(attention.full) }),
            }
            if attention.indexer > 0 {
                add(Cache::Fixed { bytes_per_token: attention.indexer });
            }
        }
        match layer.mixer {
            Mixer::Sliding => {
                add(Cache::Sliding { heads: heads(attention.sliding), window: attention.window });
            }
            Mixer::Chunked => add(Cache::Chunked { heads: heads(attention.full), chunk: attention.chunk }),
            _ => {}
        }
        if keeps(Mixer::State)
            && let Some(state) = state
        {
            add(Cache::State(state));
        }
    }
    runs
}

/// Numbers of a shape were held to 2^40; what is wider than 32 bits is absurd and stays the most there is.
pub(super) fn narrow(number: u64) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}
