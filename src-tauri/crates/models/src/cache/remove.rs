//! Deleting a model: its links, its names, and those blobs that nothing else refers to. What it shares stays.
//!
//! What goes is decided from a look ([`Removal`]), so that it can be said before anything happens. The order is that of
//! the Hub's own client: links first, contents last, so that a crash leaves no link that leads nowhere.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};

use rustix::fs::{Access, access};

use super::busy;
use super::folder::Folder;
use super::installed::{id_of, models_of};
use super::owner::{Foreign, User};
use super::presence::extension;
use super::scan::{Blob, Entry, Inode, Repo, Scan, Snapshot};
use super::shared::Store;

/// What the removal of a model comes to.
#[derive(Debug, Clone, Default)]
pub struct Removal {
    pub repo: String,
    /// Bytes that come free: contents that have no other name, in this cache or elsewhere.
    pub freed: u64,
    /// Of its snapshot.
    pub files: usize,
    hub: PathBuf,
    /// The repository's folder, by its name in the cache.
    folder: String,
    linked: bool,
    commit: String,
    revisions: Vec<String>,
    /// Paths in the snapshot; all of them where `whole`.
    paths: Vec<String>,
    whole: bool,
    /// Nothing is left of the repository.
    last: bool,
    blobs: Vec<String>,
    stores: BTreeSet<PathBuf>,
    inodes: BTreeSet<Inode>,
    foreign: Option<Foreign>,
}

impl Removal {
    pub(super) fn paths(&self) -> impl Iterator<Item = &str> {
        self.paths.iter().map(String::as_str)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Removed {
    /// Bytes.
    pub freed: u64,
    pub files: usize,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RemoveError {
    #[error("{} is a link to another place.", .0.display())]
    Linked(PathBuf),
    #[error("{repo} is being downloaded by another program.")]
    Downloading { repo: String },
    #[error("{program} has files of {repo} open.")]
    Open { repo: String, program: String },
    #[error("{message}")]
    Foreign { message: String, command: String },
    #[error("{} could not be removed as a whole ({why}).", path.display())]
    Io { path: PathBuf, why: String },
}

impl RemoveError {
    /// What to do, in a sentence.
    pub fn next(&self) -> String {
        match self {
            Self::Linked(_) => "Remove it yourself where it lies.".to_owned(),
            Self::Downloading { .. } => {
                "Wait until it is done, or end that program, then try again.".to_owned()
            }
            Self::Open { .. } => "End that program, then try again.".to_owned(),
            Self::Foreign { command, .. } => format!("Make it yours, then try again: {command}"),
            Self::Io { .. } => "Look at the disk, then try again: what is left is removed then.".to_owned(),
        }
    }
}

/// What the removal of the model with this id would do.
pub fn removal(scan: &Scan, id: &str) -> Option<Removal> {
    scan.repos.iter().filter(|repo| id.starts_with(&repo.id)).find_map(|repo| {
        if repo.snapshots.is_empty() {
            return (id == id_of(&repo.id, None, ""))
                .then(|| removal_of(scan, repo, &Snapshot::default(), None));
        }
        repo.snapshots.iter().find_map(|snapshot| {
            let (gguf, _) = models_of(snapshot)
                .into_iter()
                .find(|(gguf, _)| id == id_of(&repo.id, gguf.as_deref(), &snapshot.commit))?;
            Some(removal_of(scan, repo, snapshot, gguf.as_deref()))
        })
    })
}

pub(super) fn removal_of(scan: &Scan, repo: &Repo, snapshot: &Snapshot, gguf: Option<&str>) -> Removal {
    let models = models_of(snapshot);
    let whole = models.len() <= 1;
    let paths: Vec<String> = if whole {
        snapshot.files.keys().cloned().collect()
    } else {
        let own = models.into_iter().find(|(first, _)| first.as_deref() == gguf).unwrap_or_default().1;
        // Eyes are a GGUF file's, and stay with those.
        own.into_iter().filter(|path| gguf.is_some() || extension(path) != "gguf").collect()
    };
    let last = whole && repo.snapshots.len() <= 1;
    let gone: BTreeSet<&str> = paths.iter().map(String::as_str).collect();
    let blobs: Vec<String> = if last {
        repo.blobs.keys().cloned().collect()
    } else {
        let stays = |s: &Snapshot, path: &str| s.commit != snapshot.commit || !gone.contains(path);
        let all =
            || repo.snapshots.iter().flat_map(|s| s.files.iter().map(move |(path, entry)| (s, path, entry)));
        let named = |entry: &Entry| match entry {
            Entry::Blob(name) => Some(name.clone()),
            _ => None,
        };
        let kept: BTreeSet<String> =
            all().filter(|(s, path, _)| stays(s, path)).filter_map(|(_, _, entry)| named(entry)).collect();
        let dropped: BTreeSet<String> =
            all().filter(|(s, path, _)| !stays(s, path)).filter_map(|(_, _, entry)| named(entry)).collect();
        dropped.difference(&kept).cloned().collect()
    };
    let own = paths.iter().filter_map(|path| match snapshot.files.get(path) {
        Some(Entry::Own(blob)) => Some(blob),
        _ => None,
    });
    let contents: Vec<&Blob> = blobs.iter().filter_map(|name| repo.blobs.get(name)).chain(own).collect();
    let (freed, stores) = freed(scan, &contents);
    Removal {
        repo: repo.id.clone(),
        freed: freed + if last { repo.leftovers } else { 0 },
        files: paths.len(),
        hub: scan.hub.clone(),
        folder: repo.folder.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default(),
        linked: repo.linked,
        commit: snapshot.commit.clone(),
        revisions: snapshot.revisions.clone(),
        inodes: contents.iter().map(|blob| blob.inode).collect(),
        foreign: repo.foreign.clone(),
        paths,
        whole,
        last,
        blobs,
        stores,
    }
}

/// Bytes of those contents whose every name is among the ones that go, and the places in the shared store to look at.
fn freed(scan: &Scan, contents: &[&Blob]) -> (u64, BTreeSet<PathBuf>) {
    let mut names = BTreeMap::<Inode, (u64, &Blob)>::new();
    for blob in contents {
        names.entry(blob.inode).or_insert((0, blob)).0 += 1;
    }
    let (mut bytes, mut stores) = (0_u64, BTreeSet::new());
    for (going, blob) in names.values() {
        let free = match &blob.store {
            None => *going >= blob.names,
            Some(store) => {
                stores.insert(store.clone());
                let users = scan.store_users.get(store).copied().unwrap_or(usize::MAX);
                scan.whole && usize::try_from(*going).is_ok_and(|going| going >= users)
            }
        };
        bytes = bytes.saturating_add(if free { blob.bytes } else { 0 });
    }
    (bytes, stores)
}

/// Carries it out. What is refused is refused before anything is deleted.
pub fn remove(removal: &Removal, user: &User) -> Result<Removed, RemoveError> {
    let path = removal.hub.join(&removal.folder);
    if removal.linked || super::scan::is_folder(&path) != path.exists() {
        return Err(RemoveError::Linked(path));
    }
    if let Some(error) = foreign(removal, &path, user) {
        return Err(error);
    }
    // Held until everything is gone.
    let _locks = busy::lock_all(&removal.hub, &removal.folder)
        .map_err(|_| RemoveError::Downloading { repo: removal.repo.clone() })?;
    if let Some(program) = busy::user_of(&removal.inodes) {
        return Err(RemoveError::Open { repo: removal.repo.clone(), program });
    }
    delete(removal).map_err(|error| RemoveError::Io { path, why: error.to_string() })?;
    if let Some(store) = Store::in_cache(&removal.hub) {
        for content in &removal.stores {
            store.sweep(content);
        }
    }
    Ok(Removed { freed: removal.freed, files: removal.files })
}

/// Who may not write to these folders may not delete in them.
fn foreign(removal: &Removal, path: &Path, user: &User) -> Option<RemoveError> {
    let snapshots = path.join("snapshots");
    let folders = [path.to_path_buf(), path.join("blobs"), snapshots.join(&removal.commit), snapshots];
    let closed =
        folders.iter().find(|f| f.is_dir() && access(*f, Access::WRITE_OK | Access::EXEC_OK).is_err())?;
    Some(match &removal.foreign {
        Some(foreign) => RemoveError::Foreign { message: foreign.message(), command: foreign.command(user) },
        None => RemoveError::Io { path: closed.clone(), why: "it may not be written to".to_owned() },
    })
}

fn delete(removal: &Removal) -> io::Result<()> {
    let hub = Folder::open(&removal.hub)?;
    let Some(repo) = hub.below(&removal.folder)? else { return Ok(()) };
    if let Some(snapshots) = repo.below("snapshots")?.filter(|_| !removal.commit.is_empty()) {
        if removal.whole {
            snapshots.remove_all(&removal.commit)?;
        } else if let Some(snapshot) = snapshots.below(&removal.commit)? {
            for path in &removal.paths {
                snapshot.remove_path(path)?;
            }
        }
    }
    if removal.whole && !removal.commit.is_empty() {
        if let Some(refs) = repo.below("refs")? {
            for revision in &removal.revisions {
                refs.remove_path(revision)?;
            }
        }
        if let Some(absent) = repo.below(".no_exist")? {
            absent.remove_all(&removal.commit)?;
        }
        if let Some(trees) = repo.below("trees")? {
            trees.remove(&format!("{}.json", removal.commit))?;
        }
    }
    if let Some(blobs) = repo.below("blobs")? {
        for name in &removal.blobs {
            blobs.remove(name)?;
        }
    }
    let folders: &[&str] = &["snapshots", "refs", ".no_exist", "trees", "blobs", super::OURS];
    if removal.last {
        // All but our own unfinished downloads: those belong to the queue.
        for name in folders.iter().filter(|name| **name != super::OURS) {
            repo.remove_all(name)?;
        }
        repo.remove_if_empty(super::OURS)?;
        hub.remove_if_empty(&removal.folder)?;
    }
    Ok(())
}
