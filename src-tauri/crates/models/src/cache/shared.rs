//! The store that repositories of one cache share (`huggingface_hub` 2): `blobs/<two digits>/<hash>` holds a content
//! once, a repository's own `blobs/<etag>` are links to it, and `<hash>.refs` beside it lists those links.
//!
//! Asgard writes nothing into it. When the last link goes, the content goes by the store's own rules: under its lock,
//! and only where its list of links can be read and none of them is left.

use std::fs::{self, File, Metadata, OpenOptions};
use std::io::Read as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Component, Path, PathBuf};

use rustix::fs::{FlockOperation, OFlags, flock};

use super::scan::{Inode, inode_of, is_folder};

pub(super) const FOLDER: &str = "blobs";
const MARKER: &str = ".huggingface-shared-blobs";
const VERSION: &str = "1\n";
/// A list of links that is longer is not read; then nothing is deleted.
const LONGEST_LIST: u64 = 4 << 20;

#[derive(Debug, Clone)]
pub(super) struct Store {
    hub: PathBuf,
}

impl Store {
    /// The store of a cache, where it has one of the kind that is known.
    pub(super) fn in_cache(hub: &Path) -> Option<Self> {
        let marker = hub.join(FOLDER).join(MARKER);
        let known = is_folder(&hub.join(FOLDER))
            && fs::symlink_metadata(&marker).is_ok_and(|m| m.is_file() && m.len() < 64)
            && fs::read_to_string(&marker).is_ok_and(|text| text == VERSION);
        known.then(|| Self { hub: hub.to_path_buf() })
    }

    /// Where a blob that is a link leads to in the store.
    pub(super) fn target_of(&self, blob: &Path) -> Option<(PathBuf, Metadata)> {
        let target = self.named_by(blob)?;
        let metadata = fs::symlink_metadata(&target).ok().filter(Metadata::is_file)?;
        Some((target, metadata))
    }

    /// The place in the store that a link names, whether or not anything is there.
    fn named_by(&self, blob: &Path) -> Option<PathBuf> {
        let link = fs::read_link(blob).ok()?;
        let target = plain(&blob.parent()?.join(link))?;
        let rest = target.strip_prefix(self.hub.join(FOLDER)).ok()?;
        let parts: Vec<&str> = rest.iter().filter_map(|p| p.to_str()).collect();
        match parts.as_slice() {
            [prefix, hash] if is_name(hash) && hash.starts_with(prefix) && prefix.len() == 2 => Some(target),
            _ => None,
        }
    }

    /// Every content of it: path, bytes, inode.
    pub(super) fn contents(&self, most: usize) -> Vec<(PathBuf, u64, Inode)> {
        let folder = self.hub.join(FOLDER);
        let entries = |folder: &Path| fs::read_dir(folder).into_iter().flatten().flatten();
        entries(&folder)
            .filter(|e| e.file_name().len() == 2 && is_folder(&e.path()))
            .flat_map(|e| entries(&e.path()))
            .filter(|e| e.file_name().to_str().is_some_and(is_name))
            .take(most)
            .filter_map(|e| {
                let metadata = e.metadata().ok().filter(Metadata::is_file)?;
                Some((e.path(), metadata.len(), inode_of(&metadata)))
            })
            .collect()
    }

    /// Deletes a content that no link leads to any more; the bytes that this freed. Whatever is in doubt stays.
    pub(super) fn sweep(&self, content: &Path) -> u64 {
        let Some(_lock) = lock(&beside(content, ".lock")) else { return 0 };
        let list = beside(content, ".refs");
        let Some(text) = list_of(&list) else { return 0 };
        let used = text.lines().any(|line| {
            let named = Path::new(line);
            let inside = named.components().all(|c| matches!(c, Component::Normal(_)));
            inside && self.named_by(&self.hub.join(named)).is_some_and(|target| target == content)
        });
        if used {
            return 0;
        }
        let Some(metadata) = fs::symlink_metadata(content).ok().filter(Metadata::is_file) else { return 0 };
        if fs::remove_file(content).is_err() {
            return 0;
        }
        let _ = fs::remove_file(list);
        metadata.len()
    }
}

fn is_name(hash: &str) -> bool {
    hash.len() == 64 && hash.chars().all(|c| matches!(c, '0'..='9' | 'a'..='f'))
}

fn beside(content: &Path, ending: &str) -> PathBuf {
    let mut name = content.file_name().unwrap_or_default().to_owned();
    name.push(ending);
    content.with_file_name(name)
}

fn list_of(path: &Path) -> Option<String> {
    let file = OpenOptions::new().read(true).custom_flags(no_link()).open(path).ok()?;
    let length = file.metadata().ok().filter(Metadata::is_file)?.len();
    let mut text = String::new();
    (length <= LONGEST_LIST).then_some(())?;
    file.take(LONGEST_LIST).read_to_string(&mut text).ok()?;
    Some(text)
}

fn lock(path: &Path) -> Option<File> {
    let file = OpenOptions::new()
        .write(true)
        .create(true)
        .mode(0o666)
        .truncate(false)
        .custom_flags(no_link())
        .open(path)
        .ok()?;
    flock(&file, FlockOperation::NonBlockingLockExclusive).ok()?;
    Some(file)
}

fn no_link() -> i32 {
    (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits().cast_signed()
}

/// A path without "." and "..", by its words alone; none where it would lead above the root.
fn plain(path: &Path) -> Option<PathBuf> {
    let mut plain = PathBuf::new();
    for part in path.components() {
        match part {
            Component::ParentDir => {
                if !plain.pop() {
                    return None;
                }
            }
            Component::CurDir => {}
            part => plain.push(part),
        }
    }
    Some(plain)
}
