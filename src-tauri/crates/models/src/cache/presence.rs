//! Whether a model can be loaded from the cache, without the network. What it needs is decided from a list of its files
//! ([`verdict`]), apart from the look at the disk.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use super::layout::{commit_of, folder_name, is_repo_path, is_safe_path, small_file};

/// Whether a model can be loaded without the network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Presence {
    Complete {
        snapshot: PathBuf,
    },
    /// Something is there, but not all; why, in a sentence.
    Incomplete {
        why: String,
    },
    Absent,
}

/// How deep a snapshot is looked into. Models keep their files at the top or one folder down.
pub(super) const DEEPEST: u32 = 4;

/// Whether `id` is in the cache below `hub`, at a revision (a commit, tag or branch; "main" without one).
pub fn has_model(hub: &Path, id: &str, revision: Option<&str>) -> Presence {
    let revision = revision.unwrap_or("main");
    let folder = match folder_name(id) {
        Ok(name) => hub.join(name),
        Err(bad) => return Presence::Incomplete { why: bad.to_string() },
    };
    if !is_safe_path(revision) {
        return Presence::Incomplete { why: format!("{revision:?} is not a revision.") };
    }
    if !folder.is_dir() {
        return Presence::Absent;
    }
    let Some(commit) = commit_of(&folder, revision) else {
        return nothing_named(&folder, id, revision);
    };
    let snapshot = folder.join("snapshots").join(&commit);
    if !snapshot.is_dir() {
        return nothing_named(&folder, id, revision);
    }
    let mut files = BTreeMap::new();
    list(&snapshot, "", 0, &mut files);
    match verdict(&files, &|name| small_file(&snapshot.join(name))) {
        Ok(()) => Presence::Complete { snapshot },
        Err(why) => Presence::Incomplete { why },
    }
}

/// Where a GGUF file of a repository lies in the cache below `hub`, if it is there whole: of a split one the first part,
/// and only when every part is there.
pub fn gguf_path(hub: &Path, repo: &str, file: &str, revision: Option<&str>) -> Option<PathBuf> {
    let revision = revision.unwrap_or("main");
    if !is_safe_path(revision) || !is_repo_path(file) {
        return None;
    }
    let folder = hub.join(folder_name(repo).ok()?);
    let snapshot = folder.join("snapshots").join(commit_of(&folder, revision)?);
    // Following the link: a broken one is a file that is not there.
    let whole = |name: &str| fs::metadata(snapshot.join(name)).is_ok_and(|m| m.is_file() && m.len() > 0);
    parts(file).iter().all(|part| whole(part)).then(|| snapshot.join(file))
}

/// "a-00001-of-00003.gguf" is three files; any other is one.
fn parts(file: &str) -> Vec<String> {
    let split = || {
        let (rest, count) = file.strip_suffix(".gguf")?.rsplit_once("-of-")?;
        let (stem, first) = rest.rsplit_once('-')?;
        let number = |text: &str| (text.len() == 5).then(|| text.parse::<u32>().ok()).flatten();
        (number(first)? == 1).then_some(())?;
        let count = number(count).filter(|n| (1..=999).contains(n))?;
        Some((1..=count).map(|part| format!("{stem}-{part:05}-of-{count:05}.gguf")).collect())
    };
    split().unwrap_or_else(|| vec![file.to_owned()])
}

/// The model's folder is there, but not this revision.
fn nothing_named(folder: &Path, id: &str, revision: &str) -> Presence {
    let entries = |name: &str| fs::read_dir(folder.join(name)).into_iter().flatten().flatten();
    let begun = entries("blobs").any(|e| e.file_name().to_string_lossy().ends_with(".incomplete"));
    if begun {
        Presence::Incomplete { why: format!("The download of {id} was begun and not finished.") }
    } else if entries("snapshots").next().is_some() {
        Presence::Incomplete { why: format!("{id} is in the cache, but not at revision {revision}.") }
    } else {
        Presence::Absent
    }
}

/// The files of a snapshot with the sizes that their links lead to; none for a link that leads nowhere.
pub(super) fn list(folder: &Path, prefix: &str, depth: u32, files: &mut BTreeMap<String, Option<u64>>) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let name = format!("{prefix}{}", entry.file_name().to_string_lossy());
        match fs::metadata(entry.path()) {
            Ok(metadata) if metadata.is_dir() => {
                if depth < DEEPEST {
                    list(&entry.path(), &format!("{name}/"), depth + 1, files);
                }
            }
            Ok(metadata) => {
                files.insert(name, Some(metadata.len()));
            }
            Err(_) => {
                files.insert(name, None);
            }
        }
    }
}

/// Whether these files are a whole model, or what is missing. `text` reads one of them.
pub(super) fn verdict(
    files: &BTreeMap<String, Option<u64>>,
    text: &dyn Fn(&str) -> Option<String>,
) -> Result<(), String> {
    if let Some((name, _)) = files.iter().find(|(_, size)| size.is_none()) {
        return Err(format!("{name} is listed, but its content is not there."));
    }
    let weights: BTreeSet<&str> = files.keys().map(String::as_str).filter(|n| is_weights(n)).collect();
    if let Some(name) = weights.iter().find(|n| files.get(**n) == Some(&Some(0))) {
        return Err(format!("{name} is empty."));
    }
    let gguf = weights.iter().any(|n| extension(n) == "gguf");
    if !gguf && !files.contains_key("config.json") {
        return Err("config.json is missing.".to_owned());
    }
    let mut needed = BTreeSet::new();
    for index in files.keys().filter(|n| n.ends_with(".safetensors.index.json") && !n.contains('/')) {
        needed.extend(files_of_index(index, text(index).as_deref())?);
    }
    needed.extend(weights.iter().flat_map(|name| parts_of(name)));
    if let Some(missing) = needed.iter().find(|n| !files.contains_key(*n)) {
        return Err(format!("{missing} is missing, one of {} files of weights.", needed.len()));
    }
    if weights.is_empty() { Err("There are no weights.".to_owned()) } else { Ok(()) }
}

pub(super) fn is_weights(name: &str) -> bool {
    match extension(name) {
        "safetensors" | "gguf" => true,
        // Older models. Other `.bin` files (an optimiser's state, say) are no weights.
        "bin" => name.starts_with("pytorch_model"),
        _ => false,
    }
}

pub(super) fn extension(name: &str) -> &str {
    name.rsplit_once('.').map_or("", |(_, end)| end)
}

fn files_of_index(index: &str, text: Option<&str>) -> Result<BTreeSet<String>, String> {
    #[derive(serde::Deserialize)]
    struct Index {
        weight_map: BTreeMap<String, String>,
    }
    let unreadable = || format!("{index} cannot be read.");
    let found: Index = serde_json::from_str(text.ok_or_else(unreadable)?).map_err(|_| unreadable())?;
    let names: BTreeSet<String> = found.weight_map.into_values().collect();
    if names.is_empty() || !names.iter().all(|n| is_safe_path(n)) {
        return Err(unreadable());
    }
    Ok(names)
}

/// All the parts of a split file, by the name of one: "model-00002-of-00003.safetensors".
pub(super) fn parts_of(name: &str) -> Vec<String> {
    let split = || {
        let (rest, end) = name.rsplit_once('.')?;
        let (rest, parts) = rest.rsplit_once("-of-")?;
        let (stem, part) = rest.rsplit_once('-')?;
        let number = |text: &str| (text.len() == 5).then(|| text.parse::<u32>().ok()).flatten();
        let parts = number(parts).filter(|n| (1..=10_000).contains(n))?;
        number(part)?;
        Some((1..=parts).map(|n| format!("{stem}-{n:05}-of-{parts:05}.{end}")).collect())
    };
    split().unwrap_or_default()
}

#[cfg(test)]
#[path = "presence_tests.rs"]
mod tests;
