//! A repository of safetensors (or older weights) as one variant: what a server reads of it.

use std::collections::{BTreeMap, BTreeSet};

use domain::stack::BackendKind;

use super::{ALL, RepoVariant, Unfit, is_about, name, too_large};
use crate::hub::{RepoFile, Tree};

/// Texts beside the weights are at most so large; more is data of another kind.
const LARGEST_TEXT: u64 = 500_000_000;

/// Whether `path` is the list of a split model's weights.
pub fn is_index(path: &str) -> bool {
    !path.contains('/') && path.ends_with(".safetensors.index.json")
}

/// `alone`: there is no GGUF, so that something has to stand for the repository.
pub(super) fn variant(repo: &str, tree: &Tree, index: Option<&[u8]>, alone: bool) -> Option<RepoVariant> {
    let weights = weights(&tree.files, index);
    let hostile = tree.refused.iter().find(|r| is_safetensors(&r.path) && !r.path.contains("onnx"));
    if weights.is_empty() && hostile.is_none() && !alone {
        return None;
    }
    let has = |path: &str| tree.files.iter().any(|f| f.path == path);
    let native = weights.iter().any(|f| f.path.starts_with("consolidated"));
    let servable = !weights.is_empty() && (has("config.json") || (native && has("params.json")));
    let files: Vec<RepoFile> = if servable {
        let own: BTreeSet<&str> = weights.iter().map(|w| w.path.as_str()).collect();
        let wanted = |f: &&RepoFile| own.contains(f.path.as_str()) || is_companion(f);
        tree.files.iter().filter(wanted).cloned().collect()
    } else {
        // Nothing here knows what of it is needed: whoever wants it wants all of it.
        tree.files.clone()
    };
    let refused = match hostile {
        Some(bad) => Some(Unfit::Hostile { path: bad.path.clone(), why: bad.why }),
        None => missing(&weights).or_else(|| too_large(&files)),
    };
    Some(RepoVariant {
        id: ALL.to_owned(),
        backend: servable.then_some(BackendKind::Vllm),
        model: repo.to_owned(),
        weights: weights.iter().map(|f| f.path.clone()).collect(),
        files,
        refused,
    })
}

/// The weights as vLLM loads them: those of the index; else safetensors at the top, in parts where there are parts;
/// Mistral's own format and pickled ones only where there is nothing else.
fn weights(files: &[RepoFile], index: Option<&[u8]>) -> Vec<RepoFile> {
    if let Some(named) = index.and_then(named) {
        let found: Vec<RepoFile> = files.iter().filter(|f| named.contains(&f.path)).cloned().collect();
        if found.len() == named.len() {
            return found;
        }
    }
    let top = |keep: &dyn Fn(&str) -> bool| -> Vec<RepoFile> {
        let fits = |f: &&RepoFile| !f.path.contains('/') && keep(&f.path);
        let found: Vec<RepoFile> = files.iter().filter(fits).cloned().collect();
        // The same once more, in one file.
        let stems: BTreeSet<&str> = found.iter().filter_map(|f| Some(part(&f.path)?.0)).collect();
        let again = |f: &RepoFile| f.path.rsplit_once('.').is_some_and(|(stem, _)| stems.contains(stem));
        found.iter().filter(|f| !again(f)).cloned().collect()
    };
    let tensors = top(&|p| is_safetensors(p) && !is_beside(p) && !p.starts_with("consolidated"));
    if !tensors.is_empty() {
        return tensors;
    }
    let native = top(&|p| is_safetensors(p) && p.starts_with("consolidated"));
    if !native.is_empty() {
        return native;
    }
    top(&|p| p.starts_with("pytorch_model") && has_ending(p, "bin"))
}

/// The names of an index's weights.
fn named(index: &[u8]) -> Option<BTreeSet<String>> {
    #[derive(serde::Deserialize)]
    struct Index {
        weight_map: BTreeMap<String, String>,
    }
    let index: Index = serde_json::from_slice(index).ok()?;
    let names: BTreeSet<String> = index.weight_map.into_values().collect();
    (!names.is_empty()).then_some(names)
}

/// "model-00002-of-00003.safetensors": its stem, and how many parts there are.
fn part(path: &str) -> Option<(&str, u32)> {
    let (rest, of) = path.rsplit_once('.')?.0.rsplit_once("-of-")?;
    let (stem, _) = rest.rsplit_once('-')?;
    Some((stem, of.parse().ok()?))
}

/// Parts that their own names say must be there.
fn missing(weights: &[RepoFile]) -> Option<Unfit> {
    let mut sets: BTreeMap<(&str, u32), u32> = BTreeMap::new();
    for key in weights.iter().filter_map(|f| part(&f.path)) {
        *sets.entry(key).or_default() += 1;
    }
    sets.into_iter().find_map(|((_, of), there)| (there < of).then_some(Unfit::Parts { parts: of }))
}

fn has_ending(path: &str, ending: &str) -> bool {
    path.rsplit_once('.').is_some_and(|(_, e)| e.eq_ignore_ascii_case(ending))
}

fn is_safetensors(path: &str) -> bool {
    has_ending(path, "safetensors")
}

/// Files that have the ending of weights and are none of the model's.
fn is_beside(path: &str) -> bool {
    let lower = path.to_ascii_lowercase();
    ["adapter_", "optimizer", "scheduler", "rng_state", "training_args"].iter().any(|b| lower.starts_with(b))
}

/// What a server reads beside the weights: configurations, tokenizers, templates, code of the model's own; and what
/// the model may be used for.
fn is_companion(file: &RepoFile) -> bool {
    let path = file.path.as_str();
    let ending = path.rsplit_once('.').map_or("", |(_, e)| e).to_ascii_lowercase();
    let text =
        matches!(ending.as_str(), "json" | "txt" | "jinja" | "model" | "tiktoken" | "py" | "yaml" | "yml");
    if file.size > LARGEST_TEXT {
        return false;
    }
    match path.split_once('/') {
        None => is_about(path) || (text && !other_index(path)),
        // Templates beside the usual one.
        Some(("additional_chat_templates", rest)) => !rest.contains('/') && ending == "jinja",
        // Layers behind the model, of those that embed: "1_Pooling", "2_Dense".
        Some((folder, rest)) => {
            let numbered = folder.as_bytes().first().is_some_and(u8::is_ascii_digit)
                && folder.as_bytes().get(1) == Some(&b'_');
            numbered && !rest.contains('/') && (text || name(path) == "model.safetensors")
        }
    }
}

/// The index of weights that are not taken.
fn other_index(path: &str) -> bool {
    path.ends_with(".bin.index.json") || path.starts_with("consolidated.safetensors.index")
}
