//! A look at the whole cache, whoever filled it: Asgard, `huggingface_hub` old and new, servers in containers.
//!
//! Everything in it is hostile: folders are not entered through links, depth and number are bounded, nothing is opened
//! but small lists. Sizes are lengths of files, as the Hub counts them, and not allocated blocks: a file system tells
//! those only some time after it was written to. Of what is shared, every content counts once.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, Metadata};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::Instant;

use super::layout::{folder_name, is_commit, is_repo_path, small_file};
use super::owner::{Foreign, User};
use super::shared;

/// How much is looked at.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// Files and folders in all.
    pub entries: usize,
    pub until: Option<Instant>,
}

impl Default for Bounds {
    fn default() -> Self {
        Self { entries: 1_000_000, until: None }
    }
}

/// Folders below one another, in a snapshot and in the name of a branch.
const DEEPEST: u32 = 16;
const DEEPEST_REF: u32 = 6;

/// `(device, inode)`: what tells one content from another.
pub type Inode = (u64, u64);

/// What is in a cache.
#[derive(Debug, Clone, Default)]
pub struct Scan {
    /// The `hub` folder, with links followed.
    pub hub: PathBuf,
    /// By id.
    pub repos: Vec<Repo>,
    /// Bytes of everything in it, data sets included.
    pub held: u64,
    /// What there is besides models, a sentence each.
    pub notes: Vec<String>,
    /// False where a bound was met: then nothing may be said of what is missing.
    pub whole: bool,
    /// Names of blobs that lead to each content of the store that repositories share, in data sets too.
    pub(super) store_users: BTreeMap<PathBuf, usize>,
}

/// One model repository.
#[derive(Debug, Clone, Default)]
pub struct Repo {
    /// "organisation/name".
    pub id: String,
    pub folder: PathBuf,
    /// The folder is a link: looked into, never deleted from.
    pub linked: bool,
    pub snapshots: Vec<Snapshot>,
    pub blobs: BTreeMap<String, Blob>,
    /// What other programs' downloads left, in bytes.
    pub leftovers: u64,
    /// What Asgard's own unfinished downloads hold, in bytes.
    pub partial: u64,
    pub foreign: Option<Foreign>,
}

/// The content of a file, in `blobs/`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Blob {
    pub bytes: u64,
    pub inode: Inode,
    /// How many names it has on the disk, ours among them.
    pub names: u64,
    /// Where it really lies, when it is in the store that repositories share.
    pub store: Option<PathBuf>,
}

#[derive(Debug, Clone, Default)]
pub struct Snapshot {
    /// 40 hexadecimal digits.
    pub commit: String,
    pub path: PathBuf,
    /// Branches and tags that lead here.
    pub revisions: Vec<String>,
    /// By path in the repository.
    pub files: BTreeMap<String, Entry>,
}

/// A file of a snapshot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Entry {
    /// A link to this blob of the repository.
    Blob(String),
    /// A file of its own, as where links are not to be had.
    Own(Blob),
    /// A link to something that is not the cache's.
    Outside { bytes: u64 },
    /// A link that leads nowhere.
    Broken,
    /// Neither file nor link to one, or with a name that no repository has.
    Odd,
}

impl Snapshot {
    /// Bytes of a file, where its content is here.
    pub fn size(&self, repo: &Repo, path: &str) -> Option<u64> {
        match self.files.get(path)? {
            Entry::Blob(name) => repo.blobs.get(name).map(|b| b.bytes),
            Entry::Own(blob) => Some(blob.bytes),
            Entry::Outside { bytes } => Some(*bytes),
            Entry::Broken | Entry::Odd => None,
        }
    }
}

/// Looks at all of `hub`. One that does not exist is empty.
pub fn scan(hub: &Path, user: &User, bounds: Bounds) -> Scan {
    let mut look = Look { left: bounds.entries, until: bounds.until, contents: BTreeMap::new() };
    let mut scan = Scan { hub: hub.canonicalize().unwrap_or_else(|_| hub.to_path_buf()), ..Scan::default() };
    let (mut others, mut strange) = (BTreeMap::<&str, (usize, u64)>::new(), BTreeSet::new());
    let store = shared::Store::in_cache(&scan.hub);
    for name in look.names(&scan.hub.clone()) {
        let path = scan.hub.join(&name);
        if let Some(rest) = name.strip_prefix("models--") {
            let id = rest.replace("--", "/");
            if folder_name(&id).is_ok_and(|folder| folder == name) && path.is_dir() {
                let repo = look.repo(id, path, user, store.as_ref());
                scan.repos.push(repo);
                continue;
            }
        }
        let kind = ["datasets--", "spaces--", "kernels--"].into_iter().find(|kind| name.starts_with(kind));
        if let Some(kind) = kind.filter(|_| path.is_dir()) {
            let (blobs, leftovers) = look.blobs(&path, user, &mut Foreign::default(), store.as_ref());
            let bytes = blobs.values().map(|b| b.bytes).sum::<u64>().saturating_add(leftovers);
            note_store(&mut scan.store_users, &blobs);
            let entry = others.entry(kind).or_default();
            *entry = (entry.0 + 1, entry.1.saturating_add(bytes));
        } else if !is_expected(&name, store.is_some()) {
            strange.insert(name);
        }
    }
    for repo in &scan.repos {
        note_store(&mut scan.store_users, &repo.blobs);
    }
    if let Some(store) = &store {
        for (_, bytes, inode) in store.contents(look.left.min(100_000)) {
            look.contents.insert(inode, bytes);
        }
    }
    scan.repos.sort_by(|a, b| a.id.cmp(&b.id));
    scan.held = look.contents.values().fold(0, |sum, bytes| sum.saturating_add(*bytes));
    scan.whole = !look.spent();
    scan.notes = notes(&others, &strange, scan.whole);
    scan
}

fn is_expected(name: &str, has_store: bool) -> bool {
    matches!(name, ".locks" | "CACHEDIR.TAG" | "version.txt" | "version_diffusers_cache.txt")
        || name == ".DS_Store"
        || (has_store && name == shared::FOLDER)
}

fn note_store(users: &mut BTreeMap<PathBuf, usize>, blobs: &BTreeMap<String, Blob>) {
    for store in blobs.values().filter_map(|b| b.store.clone()) {
        *users.entry(store).or_default() += 1;
    }
}

fn notes(others: &BTreeMap<&str, (usize, u64)>, strange: &BTreeSet<String>, whole: bool) -> Vec<String> {
    let mut notes = Vec::new();
    for (kind, (count, bytes)) in others {
        let (one, more) = match *kind {
            "datasets--" => ("data set", "data sets"),
            "spaces--" => ("space", "spaces"),
            _ => ("repository of kernels", "repositories of kernels"),
        };
        let size = super::size(*bytes);
        notes.push(match count {
            1 => format!("1 {one} of other programs holds {size}."),
            n => format!("{n} {more} of other programs hold {size}."),
        });
    }
    match strange.len() {
        0 => {}
        1 => {
            notes.push(format!("{} is no repository.", strange.iter().map(|n| shown(n)).collect::<String>()));
        }
        n => notes.push(format!(
            "{n} other files and folders are no repositories, the first of them {}.",
            strange.iter().next().map(|n| shown(n)).unwrap_or_default()
        )),
    }
    if !whole {
        notes.push(
            "The cache is too large to be looked at as a whole: the list may miss some models.".to_owned(),
        );
    }
    notes
}

/// A name for a person, short and without what would upset a line.
fn shown(name: &str) -> String {
    name.chars().filter(|c| !c.is_control()).take(80).collect()
}

/// What a look has left, and what it has seen.
struct Look {
    left: usize,
    until: Option<Instant>,
    /// Bytes of each content, once.
    contents: BTreeMap<Inode, u64>,
}

impl Look {
    fn spent(&self) -> bool {
        self.left == 0 || self.until.is_some_and(|until| Instant::now() >= until)
    }

    /// The names in a folder that are UTF-8; sorted, so that two looks at the same disk agree.
    fn names(&mut self, folder: &Path) -> Vec<String> {
        let mut names = Vec::new();
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            if self.spent() {
                break;
            }
            self.left -= 1;
            names.push(entry.file_name().to_string_lossy().into_owned());
        }
        names.sort();
        names
    }

    fn repo(&mut self, id: String, folder: PathBuf, user: &User, store: Option<&shared::Store>) -> Repo {
        let mut foreign = Foreign::default();
        let linked = fs::symlink_metadata(&folder).is_ok_and(|m| m.is_symlink());
        let mut whose = |path: &Path| {
            if let Some(metadata) = fs::symlink_metadata(path).ok().filter(|m| user.is_kept_out(m)) {
                foreign.note(&metadata, &folder);
            }
        };
        for name in ["", "blobs", "refs", "snapshots"] {
            whose(&folder.join(name));
        }
        let (blobs, leftovers) = self.blobs(&folder, user, &mut foreign, store);
        let by_commit = self.refs(&folder.join("refs"));
        let mut repo = Repo { id, linked, blobs, leftovers, ..Repo::default() };
        let snapshots = folder.join("snapshots");
        if is_folder(&snapshots) {
            for commit in self.names(&snapshots) {
                let path = snapshots.join(&commit);
                if is_commit(&commit) && is_folder(&path) {
                    if let Some(metadata) = fs::symlink_metadata(&path).ok().filter(|m| user.is_kept_out(m)) {
                        foreign.note(&metadata, &folder);
                    }
                    let mut files = BTreeMap::new();
                    self.files(&path, "", 0, &repo.blobs, &mut files);
                    let revisions = by_commit.get(&commit).cloned().unwrap_or_default();
                    repo.snapshots.push(Snapshot { commit, path, revisions, files });
                }
            }
        }
        // What "main" leads to comes first.
        repo.snapshots.sort_by_key(|s| (!s.revisions.iter().any(|r| r == "main"), s.commit.clone()));
        repo.partial = self.partial(&folder.join(super::OURS), 0);
        if let Some(locks) =
            folder.parent().zip(folder.file_name()).map(|(hub, name)| hub.join(".locks").join(name))
            && let Some(metadata) = fs::symlink_metadata(&locks).ok().filter(|m| user.is_kept_out(m))
        {
            foreign.note(&metadata, &locks);
        }
        repo.foreign = (foreign.count > 0).then_some(foreign);
        repo.folder = folder;
        repo
    }

    /// The blobs of a repository, and the bytes of what unfinished downloads of other programs left among them.
    fn blobs(
        &mut self,
        repo: &Path,
        user: &User,
        foreign: &mut Foreign,
        store: Option<&shared::Store>,
    ) -> (BTreeMap<String, Blob>, u64) {
        let folder = repo.join("blobs");
        let (mut blobs, mut leftovers) = (BTreeMap::new(), 0_u64);
        if !is_folder(&folder) {
            return (blobs, leftovers);
        }
        for name in self.names(&folder) {
            let path = folder.join(&name);
            let Ok(metadata) = fs::symlink_metadata(&path) else { continue };
            if user.is_kept_out(&metadata) && !metadata.is_symlink() {
                foreign.note(&metadata, repo);
            }
            let blob = if metadata.is_file() {
                blob_of(&metadata, None)
            } else if let Some((target, metadata)) = store.and_then(|s| s.target_of(&path)) {
                blob_of(&metadata, Some(target))
            } else {
                continue;
            };
            self.contents.insert(blob.inode, blob.bytes);
            if is_hash(&name) {
                blobs.insert(name, blob);
            } else {
                leftovers = leftovers.saturating_add(blob.bytes);
            }
        }
        (blobs, leftovers)
    }

    /// Revisions by the commit that they lead to.
    fn refs(&mut self, folder: &Path) -> BTreeMap<String, Vec<String>> {
        let mut found = BTreeMap::<String, Vec<String>>::new();
        let mut open = vec![(folder.to_path_buf(), String::new(), 0)];
        while let Some((folder, prefix, depth)) = open.pop() {
            if !is_folder(&folder) {
                continue;
            }
            for name in self.names(&folder) {
                let (path, revision) = (folder.join(&name), format!("{prefix}{name}"));
                if is_folder(&path) {
                    if depth < DEEPEST_REF {
                        open.push((path, format!("{revision}/"), depth + 1));
                    }
                } else if is_repo_path(&revision)
                    && let Some(commit) = small_file(&path).map(|text| text.trim().to_owned())
                    && is_commit(&commit)
                {
                    found.entry(commit).or_default().push(revision);
                }
            }
        }
        for revisions in found.values_mut() {
            revisions.sort();
        }
        found
    }

    fn files(
        &mut self,
        folder: &Path,
        prefix: &str,
        depth: u32,
        blobs: &BTreeMap<String, Blob>,
        files: &mut BTreeMap<String, Entry>,
    ) {
        for name in self.names(folder) {
            let (path, inside) = (folder.join(&name), format!("{prefix}{name}"));
            let Ok(metadata) = fs::symlink_metadata(&path) else { continue };
            if metadata.is_dir() {
                if depth < DEEPEST {
                    self.files(&path, &format!("{inside}/"), depth + 1, blobs, files);
                }
                continue;
            }
            let entry = if !is_repo_path(&inside) {
                Entry::Odd
            } else if metadata.is_file() {
                let blob = blob_of(&metadata, None);
                self.contents.insert(blob.inode, blob.bytes);
                Entry::Own(blob)
            } else if metadata.is_symlink() {
                linked(&path, blobs)
            } else {
                Entry::Odd
            };
            files.insert(inside, entry);
        }
    }

    /// What Asgard's own downloads of a repository hold: allocated blocks, because their files are made in their whole
    /// length before they are filled.
    fn partial(&mut self, folder: &Path, depth: u32) -> u64 {
        if !is_folder(folder) || depth > 2 {
            return 0;
        }
        let mut held = 0_u64;
        for name in self.names(folder) {
            let path = folder.join(name);
            let Ok(metadata) = fs::symlink_metadata(&path) else { continue };
            if metadata.is_dir() {
                held = held.saturating_add(self.partial(&path, depth + 1));
            } else if metadata.is_file() {
                let bytes = metadata.len().min(metadata.blocks().saturating_mul(512));
                self.contents.insert(inode_of(&metadata), bytes);
                held = held.saturating_add(bytes);
            }
        }
        held
    }
}

fn blob_of(metadata: &Metadata, store: Option<PathBuf>) -> Blob {
    Blob { bytes: metadata.len(), inode: inode_of(metadata), names: metadata.nlink(), store }
}

pub(super) fn inode_of(metadata: &Metadata) -> Inode {
    (metadata.dev(), metadata.ino())
}

/// A folder itself, not a link to one.
pub(super) fn is_folder(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|m| m.is_dir())
}

/// The name of a blob: the hash of its content. Others name theirs so too, whatever the hash.
fn is_hash(name: &str) -> bool {
    (32..=128).contains(&name.len()) && name.chars().all(|c| c.is_ascii_hexdigit())
}

/// Where a link of a snapshot leads.
fn linked(path: &Path, blobs: &BTreeMap<String, Blob>) -> Entry {
    let Ok(metadata) = fs::metadata(path) else { return Entry::Broken };
    let name = fs::read_link(path).ok().and_then(|t| t.file_name().map(|n| n.to_string_lossy().into_owned()));
    match name.filter(|name| blobs.get(name).is_some_and(|b| b.inode == inode_of(&metadata))) {
        Some(name) => Entry::Blob(name),
        None if metadata.is_file() => Entry::Outside { bytes: metadata.len() },
        None => Entry::Odd,
    }
}
