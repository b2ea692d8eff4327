//! The steps of a download that only touch the disk.

use std::fs;
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use super::FetchError;
use super::digest::{Digest, of_bytes};
use super::layout::{Lock, Place, failed};
use super::part::{Part, boot, read_journal};
use crate::hub::Hash;

/// Bytes. A smaller file is fetched by one request into memory; what is in the cache of such files is hashed again.
pub(crate) const SMALL: u64 = 64 << 10;

/// One content, and the paths that have it.
#[derive(Debug, Clone)]
pub(crate) struct Content {
    pub(crate) hash: Hash,
    pub(crate) size: u64,
    pub(crate) paths: Vec<String>,
}

/// What there is of a content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum There {
    All,
    /// So many bytes have landed, and so many are held on the disk for it.
    Some {
        landed: u64,
        held: u64,
    },
}

pub(crate) fn look(place: &Place, commit: &str, content: &Content) -> Result<There, FetchError> {
    if is_there(place, content) {
        link(place, commit, content)?;
        return Ok(There::All);
    }
    let copied = |path: &String| {
        place.is_copy(commit, path, content.size)
            && (content.size > SMALL || is_right(&place.snapshot(commit).join(path), content))
    };
    if !content.paths.is_empty() && content.paths.iter().all(copied) {
        return Ok(There::All);
    }
    let (mut landed, mut held) = (0, 0);
    if content.size > SMALL
        && let Ok(data) = fs::File::open(place.part(content.hash.hex()))
        && let Ok(metadata) = data.metadata()
        && let Ok(Some(journal)) = read_journal(&place.journal(content.hash.hex()))
        && journal.header.size == content.size
        && journal.header.hash == content.hash.hex()
    {
        landed = journal.believed(&boot(&data), metadata.ino(), metadata.len()).landed.bytes();
        held = (metadata.blocks() * 512).min(content.size);
    }
    Ok(There::Some { landed, held })
}

/// Whether the blob is there: by its size, and where that costs nothing by its hash.
fn is_there(place: &Place, content: &Content) -> bool {
    let blob = place.blob(content.hash.hex());
    let sized = fs::metadata(&blob).is_ok_and(|m| m.is_file() && m.len() == content.size);
    sized && (content.size > SMALL || is_right(&blob, content))
}

fn is_right(path: &Path, content: &Content) -> bool {
    hash_of(path, &content.hash, content.size).is_ok_and(|hash| hash == content.hash.hex())
}

/// Of a whole file, read from its beginning.
pub(crate) fn hash_of(path: &Path, hash: &Hash, size: u64) -> io::Result<String> {
    let mut file = fs::File::open(path)?;
    let length = usize::try_from(size).unwrap_or(usize::MAX).clamp(1, 1 << 20);
    let (mut buffer, mut digest) = (vec![0; length], Digest::new(hash, size));
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(digest.finish()),
            read => digest.update(buffer.get(..read).unwrap_or_default()),
        }
    }
}

fn link(place: &Place, commit: &str, content: &Content) -> Result<(), FetchError> {
    content.paths.iter().try_for_each(|path| place.link(commit, path, content.hash.hex()))
}

/// How the fetching of a content begins.
pub(crate) enum Begun {
    /// Another program brought it meanwhile.
    There,
    /// Another program is at it.
    Held,
    Small(Lock),
    Large {
        part: Box<Part>,
        digest: Digest,
        resumed: bool,
    },
}

pub(crate) fn begin(place: &Place, commit: &str, content: &Content) -> Result<Begun, FetchError> {
    let hash = content.hash.hex();
    let Some(lock) = place.lock(hash)? else { return Ok(Begun::Held) };
    if is_there(place, content) {
        link(place, commit, content)?;
        return Ok(Begun::There);
    }
    if content.size <= SMALL {
        return Ok(Begun::Small(lock));
    }
    let opened = Part::open(place, hash, content.size, lock);
    let (part, hashed) = opened.map_err(|e| failed(&place.part(hash), &e))?;
    let resumed = part.landed_bytes() > 0;
    let digest = hashed.and_then(|h| Digest::resume(&content.hash, content.size, &h));
    let digest = digest.unwrap_or_else(|| Digest::new(&content.hash, content.size));
    Ok(Begun::Large { part: Box::new(part), digest, resumed })
}

/// A small file that has arrived, whole and right: it gets its name. Its real hash where that is another.
pub(crate) fn finish_small(
    place: &Place,
    commit: &str,
    content: &Content,
    bytes: &[u8],
) -> Result<Result<(), String>, FetchError> {
    let got = of_bytes(&content.hash, bytes);
    if got != content.hash.hex() {
        return Ok(Err(got));
    }
    let beside = place.own().join(format!("{}.small", content.hash.hex()));
    let blob = place.blob(content.hash.hex());
    fs::write(&beside, bytes).and_then(|()| fs::rename(&beside, &blob)).map_err(|e| {
        let _ = fs::remove_file(&beside);
        failed(&blob, &e)
    })?;
    link(place, commit, content).map(Ok)
}

/// A large file whose hash is right gets its name.
pub(crate) fn finish_large(
    place: &Place,
    commit: &str,
    content: &Content,
    part: &Part,
) -> Result<(), FetchError> {
    let blob = place.blob(content.hash.hex());
    fs::rename(&part.path, &blob).map_err(|e| failed(&blob, &e))?;
    part.forget_journal();
    link(place, commit, content)
}
