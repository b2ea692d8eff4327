//! Each GGUF quantisation of a repository, with all of its parts.

use std::collections::{BTreeMap, BTreeSet};

use domain::stack::{BackendKind, HubFile};

use super::{RepoVariant, Unfit, is_about, name, too_large};
use crate::hub::{RepoFile, Tree};

/// A file of so many parts, which lie beside each other.
struct Group<'a> {
    /// By number, from 1.
    parts: BTreeMap<u32, &'a RepoFile>,
    of: u32,
}

pub(super) fn variants(repo: &str, tree: &Tree) -> Vec<RepoVariant> {
    let mut groups: Vec<((String, u32), Group<'_>)> = Vec::new();
    let mut places: BTreeMap<(String, u32), usize> = BTreeMap::new();
    for file in tree.files.iter().filter(|f| is_model(&f.path)) {
        let (stem, part, of) = split(&file.path).unwrap_or_else(|| (stem(&file.path).to_owned(), 1, 1));
        let key = (stem, of);
        let place = *places.entry(key.clone()).or_insert_with(|| {
            groups.push((key, Group { parts: BTreeMap::new(), of }));
            groups.len() - 1
        });
        groups[place].1.parts.entry(part).or_insert(file);
    }
    // Two models in one repository have the same words: then the names of the files tell them apart.
    let mut words: BTreeMap<String, usize> = BTreeMap::new();
    for ((stem, _), _) in &groups {
        *words.entry(word(stem).unwrap_or_default()).or_default() += 1;
    }
    let about: Vec<&RepoFile> = tree.files.iter().filter(|f| is_about(&f.path)).collect();
    let mut taken = BTreeSet::new();
    groups
        .into_iter()
        .filter_map(|((stem, _), group)| {
            let own = word(&stem).filter(|w| words.get(w) == Some(&1));
            let id = own.unwrap_or_else(|| super::name(&stem).to_owned());
            let id = if taken.insert(id.clone()) { id } else { stem.clone() };
            variant(repo, id, &group, &about)
        })
        .collect()
}

fn variant(repo: &str, id: String, group: &Group<'_>, about: &[&RepoFile]) -> Option<RepoVariant> {
    let parts: Vec<&RepoFile> = group.parts.values().copied().collect();
    let first = parts.first()?;
    let whole = u32::try_from(parts.len()) == Ok(group.of) && group.parts.contains_key(&1);
    let mut files: Vec<RepoFile> = about.iter().copied().cloned().collect();
    files.extend(parts.iter().copied().cloned());
    let refused =
        if whole { too_large(parts.iter().copied()) } else { Some(Unfit::Parts { parts: group.of }) };
    let model = format!("{repo}/{}", first.path);
    Some(RepoVariant {
        id,
        backend: can_be_named(&model).then_some(BackendKind::LlamaCpp),
        model,
        weights: parts.iter().map(|f| f.path.clone()).collect(),
        files,
        refused,
    })
}

/// Weights of a language model, not the eyes of one or what a quantisation was made with.
fn is_model(path: &str) -> bool {
    let lower = name(path).to_ascii_lowercase();
    let gguf = lower.rsplit_once('.').is_some_and(|(_, ending)| ending == "gguf");
    gguf && !["mmproj", "imatrix"].iter().any(|other| lower.contains(other))
}

fn stem(path: &str) -> &str {
    path.get(..path.len().saturating_sub(".gguf".len())).unwrap_or(path)
}

/// "a/b-00002-of-00003.gguf": what all parts share, which part, of how many.
fn split(path: &str) -> Option<(String, u32, u32)> {
    let (rest, of) = stem(path).rsplit_once("-of-")?;
    let (stem, part) = rest.rsplit_once('-')?;
    let number = |text: &str| (text.len() == 5).then(|| text.parse::<u32>().ok()).flatten();
    let (part, of) = (number(part)?, number(of)?);
    ((1..=999).contains(&of) && (1..=of).contains(&part)).then(|| (stem.to_owned(), part, of))
}

/// The word of a quantisation in a file's name or, failing that, in its folder's: "Q4_K_M", "UD-Q4_K_XL", "BF16".
fn word(stem: &str) -> Option<String> {
    let folder = stem.rsplit_once('/').map(|(folder, _)| name(folder));
    word_of(name(stem)).or_else(|| word_of(folder?))
}

fn word_of(name: &str) -> Option<String> {
    let upper = name.to_ascii_uppercase();
    let pieces: Vec<&str> = upper.split(['-', '.']).collect();
    let at = pieces.iter().rposition(|piece| is_word(piece))?;
    // Unsloth's own mixes carry their mark before the word.
    let dynamic = at > 0 && pieces[at - 1] == "UD";
    Some(if dynamic { format!("UD-{}", pieces[at]) } else { pieces[at].to_owned() })
}

fn is_word(piece: &str) -> bool {
    if matches!(piece, "BF16" | "F16" | "FP16" | "F32" | "FP32" | "MXFP4" | "MXFP4_MOE" | "TQ1_0" | "TQ2_0") {
        return true;
    }
    let digits = piece.strip_prefix("IQ").or_else(|| piece.strip_prefix('Q'));
    let Some(rest) = digits else { return false };
    let mut chars = rest.chars();
    let bits = chars.next().is_some_and(|c| ('1'..='8').contains(&c));
    let tail = chars.as_str();
    bits && (tail.is_empty()
        || tail.strip_prefix('_').is_some_and(|t| {
            !t.is_empty() && t.len() <= 8 && t.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
        }))
}

/// Whether an agent can name this file: the names that stack files take are narrower than the Hub's.
fn can_be_named(model: &str) -> bool {
    HubFile::parse(model).is_some()
}
