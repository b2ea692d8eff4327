//! Taking a folder or a GGUF file into the cache, so that every tool finds it there without a network.
//!
//! The original stays. Contents are cloned or linked where the file system can, and else copied; all of them are read
//! once, because a blob is called by its hash. The commit is made from those hashes: the same files give the same one.

mod bring;
mod source;

use std::fs;
use std::io;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use sha1::{Digest as _, Sha1};

use super::folder::Folder;
use super::layout::{folder_name, is_commit, small_file};
use super::scan::is_folder;
use super::verify::{Hashing, hex};
use super::{OURS, size};
use source::Source;

static IMPORTS: AtomicU64 = AtomicU64::new(0);

/// Where an import without a name goes.
const OWNER: &str = "imported";

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Imported {
    /// "organisation/name".
    pub repo: String,
    pub commit: String,
    /// The (first) GGUF file in it, where it is one.
    pub gguf: Option<String>,
    /// Bytes that had to be copied.
    pub copied: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ImportError {
    #[error("{} is not there.", .0.display())]
    NotThere(PathBuf),
    #[error("{} is in the cache already.", .0.display())]
    InCache(PathBuf),
    #[error("{} is no model: {why}", path.display())]
    NotAModel { path: PathBuf, why: String },
    #[error("{} is a link that leads out of the folder.", .0.display())]
    LeadsOut(PathBuf),
    #[error("{} holds more than {most} files.", path.display())]
    TooMany { path: PathBuf, most: usize },
    #[error("{0:?} is no name of a repository.")]
    BadName(String),
    #[error("The cache has another {0} already.")]
    Taken(String),
    #[error("{} are needed in the cache, and {} are free.", size(*needed), size(*free))]
    DiskFull { needed: u64, free: u64 },
    #[error("{} changed while it was read.", .0.display())]
    Changed(PathBuf),
    #[error("The import was cancelled.")]
    Cancelled,
    #[error("{} failed ({why}).", path.display())]
    Io { path: PathBuf, why: String },
}

impl ImportError {
    /// What to do, in a sentence.
    pub fn next(&self) -> &'static str {
        match self {
            Self::NotThere(_) => "Check the path.",
            Self::InCache(_) => "It can be used as it is.",
            Self::NotAModel { .. } => "Choose a folder with a config.json and weights, or a GGUF file.",
            Self::LeadsOut(_) => "Put the file itself in its place, or import the folder that it leads to.",
            Self::TooMany { .. } => "Choose the folder of one model.",
            Self::BadName(_) => "Write it as on the Hub: organisation/name.",
            Self::Taken(_) => "Give it another name.",
            Self::DiskFull { .. } => "Make room, or move the cache with HF_HUB_CACHE.",
            Self::Changed(_) => "Try again when nothing writes to it.",
            Self::Cancelled => "",
            Self::Io { .. } => "Look at the disk and at whose files these are, then try again.",
        }
    }
}

fn failed(path: &Path, error: &io::Error) -> ImportError {
    ImportError::Io { path: path.to_path_buf(), why: error.to_string() }
}

/// Takes `source` into the cache below `hub`, as `name` ("organisation/name") or under one made from its own.
///
/// `tell` is called after each piece that was read, and ends it by saying no; then nothing is left of it.
pub fn import(
    hub: &Path,
    source: &Path,
    name: Option<&str>,
    tell: &mut dyn FnMut(&Hashing) -> bool,
) -> Result<Imported, ImportError> {
    let source = Source::look(hub, source)?;
    let repo = match name {
        Some(name) => name.to_owned(),
        None => format!("{OWNER}/{}", made_name(&source.name)),
    };
    let folder_name = folder_name(&repo)
        .ok()
        .filter(|_| repo.contains('/'))
        .ok_or_else(|| ImportError::BadName(repo.clone()))?;
    fs::create_dir_all(hub).map_err(|e| failed(hub, &e))?;
    let folder = hub.join(&folder_name);
    if folder.exists() && !is_folder(&folder) {
        return Err(ImportError::Taken(repo));
    }
    let main = small_file(&folder.join("refs/main")).map(|text| text.trim().to_owned());
    // Two may be under way at once, in this process too.
    let number = IMPORTS.fetch_add(1, Ordering::Relaxed);
    let work = folder.join(OURS).join(format!("import-{}-{number}", std::process::id()));
    let done = work_in(&folder, &work, &source, tell).and_then(|(commit, links, copied)| {
        if name.is_some() && main.as_ref().is_some_and(|main| is_commit(main) && *main != commit) {
            return Err(ImportError::Taken(repo.clone()));
        }
        place(&folder, &work, &commit, &links)?;
        Ok(Imported { repo: repo.clone(), commit, gguf: source.gguf.clone(), copied })
    });
    tidy(hub, &folder_name, &work);
    done
}

/// A file's path in the repository, and the name of its blob.
type Link = (String, String);

/// Brings every content into `blobs/`; the commit, the links to make, and the bytes that were copied.
fn work_in(
    folder: &Path,
    work: &Path,
    source: &Source,
    tell: &mut dyn FnMut(&Hashing) -> bool,
) -> Result<(String, Vec<Link>, u64), ImportError> {
    for path in [work.to_path_buf(), folder.join("blobs"), folder.join("refs"), folder.join("snapshots")] {
        fs::create_dir_all(&path).map_err(|e| failed(&path, &e))?;
        if !is_folder(&path) {
            return Err(failed(&path, &io::Error::from(io::ErrorKind::NotADirectory)));
        }
    }
    let mut at = Hashing { total: source.files.iter().map(|f| f.bytes).sum(), ..Hashing::default() };
    bring::room(folder, source)?;
    let (mut links, mut contents, mut copied) = (Vec::new(), Vec::new(), 0);
    for (number, file) in source.files.iter().enumerate() {
        file.inside.clone_into(&mut at.file);
        let there = work.join(format!("content-{number}"));
        let brought = bring::bring(file, &there, &mut at, tell)?;
        copied += brought.copied;
        contents.push((there, folder.join("blobs").join(&brought.sha256)));
        links.push((file.inside.clone(), brought.sha256));
    }
    // Only when all of them are there: one that is ended before leaves no blob that nothing leads to.
    for (there, blob) in contents {
        if blob.exists() {
            fs::remove_file(&there).map_err(|e| failed(&there, &e))?;
        } else {
            fs::rename(&there, &blob).map_err(|e| failed(&blob, &e))?;
        }
    }
    Ok((commit_of(&links), links, copied))
}

fn commit_of(links: &[Link]) -> String {
    let mut hasher = Sha1::new_with_prefix("asgard import\n");
    for (path, hash) in links {
        hasher.update(format!("{hash} {path}\n"));
    }
    hex(&hasher.finalize())
}

/// Makes the snapshot and what "main" leads to; each appears as a whole.
fn place(folder: &Path, work: &Path, commit: &str, links: &[Link]) -> Result<(), ImportError> {
    let snapshot = folder.join("snapshots").join(commit);
    if !is_folder(&snapshot) {
        let made = work.join("snapshot");
        for (path, hash) in links {
            let link = made.join(path);
            let up = "../".repeat(2 + path.matches('/').count());
            let parent = link.parent().unwrap_or(&made);
            fs::create_dir_all(parent).map_err(|e| failed(parent, &e))?;
            symlink(format!("{up}blobs/{hash}"), &link).map_err(|e| failed(&link, &e))?;
        }
        fs::rename(&made, &snapshot).map_err(|e| failed(&snapshot, &e))?;
    }
    let (new, main) = (work.join("main"), folder.join("refs/main"));
    fs::write(&new, commit).map_err(|e| failed(&new, &e))?;
    fs::rename(&new, &main).map_err(|e| failed(&main, &e))
}

/// What was in the making goes, and folders that this left empty. What cannot be deleted is no reason to fail.
fn tidy(hub: &Path, folder_name: &str, work: &Path) {
    let go = || -> io::Result<()> {
        let hub = Folder::open(hub)?;
        let Some(repo) = hub.below(folder_name)? else { return Ok(()) };
        if let Some(ours) = repo.below(OURS)? {
            ours.remove_all(&work.file_name().unwrap_or_default().to_string_lossy())?;
        }
        for name in [OURS, "blobs", "refs", "snapshots"] {
            repo.remove_if_empty(name)?;
        }
        drop(repo);
        hub.remove_if_empty(folder_name)
    };
    let _ = go();
}

/// A name of a repository made from one of a file or folder.
pub(super) fn made_name(of: &str) -> String {
    let mut name = String::new();
    for c in of.chars().take(90) {
        let c = if c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.') { c } else { '-' };
        // Two in a row mean something else in the cache.
        if !(matches!(c, '-' | '.') && name.ends_with(['-', '.'])) {
            name.push(c);
        }
    }
    let name = name.trim_matches(['-', '.']);
    if name.is_empty() { "model".to_owned() } else { name.to_owned() }
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
