//! Which models a cache holds: a repository of weights is one, and each GGUF file of a repository (with all its parts)
//! is one of its own.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use domain::stack::HubFile;

use super::layout::small_file;
use super::presence::{extension, is_weights, parts_of, verdict};
use super::remove::removal_of;
use super::scan::{Entry, Repo, Scan, Snapshot};

/// One snapshot of one repository, or one GGUF of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Installed {
    /// Unique in the cache.
    pub id: String,
    /// What an agent's `model` says of it.
    pub model: String,
    pub repo: String,
    /// Empty where nothing of any commit is here yet.
    pub commit: String,
    pub revisions: Vec<String>,
    /// The snapshot's folder, or the (first) GGUF file in it.
    pub path: PathBuf,
    /// Paths in the repository that make it up; of a GGUF its parts.
    pub parts: Vec<String>,
    pub is_gguf: bool,
    /// Bytes that its removal would free, and what it shares with others besides.
    pub held: u64,
    pub shared: u64,
    /// What is missing or wrong.
    pub problem: Option<String>,
}

/// The models of a cache, by name.
pub fn installed(scan: &Scan) -> Vec<Installed> {
    let mut all: Vec<Installed> = scan
        .repos
        .iter()
        .flat_map(|repo| {
            let begun = repo.snapshots.is_empty().then(|| begun(repo)).flatten();
            repo.snapshots.iter().flat_map(|s| of_snapshot(scan, repo, s)).chain(begun).collect::<Vec<_>>()
        })
        .collect();
    all.sort_by_key(|model| model.model.to_lowercase());
    all
}

/// The models of a snapshot as lists of its files: the name of the first, and all of them.
pub(super) fn models_of(snapshot: &Snapshot) -> Vec<(Option<String>, Vec<String>)> {
    let mut ggufs = BTreeMap::<String, Vec<String>>::new();
    let mut rest = Vec::new();
    for path in snapshot.files.keys() {
        if is_gguf(path) && !is_projector(path) {
            let parts = parts_of(path);
            let first = parts.first().unwrap_or(path).clone();
            // All that there should be, so that one that is missing is seen.
            ggufs.entry(first).or_insert_with(|| if parts.is_empty() { vec![path.clone()] } else { parts });
        } else {
            rest.push(path.clone());
        }
    }
    let alone = ggufs.is_empty();
    let mut models: Vec<_> = ggufs.into_iter().map(|(first, parts)| (Some(first), parts)).collect();
    if alone || rest.iter().any(|path| is_weights(path) && !is_gguf(path)) {
        models.push((None, rest));
    }
    models
}

fn is_gguf(path: &str) -> bool {
    extension(path).eq_ignore_ascii_case("gguf")
}

/// The eyes of a model, which come in a file of their own.
fn is_projector(path: &str) -> bool {
    path.to_ascii_lowercase().contains("mmproj")
}

fn of_snapshot(scan: &Scan, repo: &Repo, snapshot: &Snapshot) -> Vec<Installed> {
    models_of(snapshot)
        .into_iter()
        .map(|(gguf, parts)| {
            let model = match &gguf {
                None => repo.id.clone(),
                Some(first) => {
                    let of_hub = format!("{}/{first}", repo.id);
                    // A name that the stack file does not take for one of the Hub is given as a path.
                    match HubFile::parse(&of_hub) {
                        Some(_) => of_hub,
                        None => snapshot.path.join(first).to_string_lossy().into_owned(),
                    }
                }
            };
            let problem = match &gguf {
                Some(_) => parts_problem(repo, snapshot, &parts),
                None => repo_problem(repo, snapshot),
            };
            let removal = removal_of(scan, repo, snapshot, gguf.as_deref());
            let own: u64 = sum(repo, snapshot, removal.paths());
            Installed {
                id: id_of(&repo.id, gguf.as_deref(), &snapshot.commit),
                model,
                repo: repo.id.clone(),
                commit: snapshot.commit.clone(),
                revisions: snapshot.revisions.clone(),
                path: gguf.as_ref().map_or_else(|| snapshot.path.clone(), |first| snapshot.path.join(first)),
                is_gguf: gguf.is_some(),
                held: removal.freed,
                shared: own.saturating_sub(removal.freed),
                problem,
                parts,
            }
        })
        .collect()
}

pub(super) fn id_of(repo: &str, gguf: Option<&str>, commit: &str) -> String {
    match gguf {
        Some(file) => format!("{repo}/{file}@{commit}"),
        None => format!("{repo}@{commit}"),
    }
}

/// Bytes of these files, each content once.
fn sum<'a>(repo: &Repo, snapshot: &Snapshot, paths: impl Iterator<Item = &'a str>) -> u64 {
    let mut seen = BTreeSet::new();
    paths
        .filter_map(|path| match snapshot.files.get(path)? {
            Entry::Blob(name) => repo.blobs.get(name),
            Entry::Own(blob) => Some(blob),
            Entry::Outside { .. } | Entry::Broken | Entry::Odd => None,
        })
        .filter(|blob| seen.insert(blob.inode))
        .map(|blob| blob.bytes)
        .sum()
}

fn parts_problem(repo: &Repo, snapshot: &Snapshot, parts: &[String]) -> Option<String> {
    parts.iter().find_map(|part| match (snapshot.files.get(part), snapshot.size(repo, part)) {
        (None, _) if parts.len() > 1 => Some(format!("{part} is missing, one of {} parts.", parts.len())),
        (None, _) => Some(format!("{part} is missing.")),
        (Some(_), None) => Some(format!("{part} is listed, but its content is not there.")),
        (Some(_), Some(0)) => Some(format!("{part} is empty.")),
        (Some(_), Some(_)) => None,
    })
}

fn repo_problem(repo: &Repo, snapshot: &Snapshot) -> Option<String> {
    // The GGUF files beside it are models of their own, and no part of this one.
    let files: BTreeMap<String, Option<u64>> = snapshot
        .files
        .keys()
        .filter(|path| !is_gguf(path))
        .map(|path| (path.clone(), snapshot.size(repo, path)))
        .collect();
    verdict(&files, &|name| small_file(&snapshot.path.join(name))).err()
}

/// A repository of which there is nothing but what a download has begun.
fn begun(repo: &Repo) -> Option<Installed> {
    let held = repo.blobs.values().map(|b| b.bytes).sum::<u64>() + repo.leftovers;
    (held > 0).then(|| Installed {
        id: id_of(&repo.id, None, ""),
        model: repo.id.clone(),
        repo: repo.id.clone(),
        commit: String::new(),
        revisions: Vec::new(),
        path: repo.folder.clone(),
        parts: Vec::new(),
        is_gguf: false,
        held,
        shared: 0,
        problem: Some("Its download was begun and not finished.".to_owned()),
    })
}
