//! What a file holds, made when it is asked for: gigabytes cost no memory.

use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use sha1::Sha1;
use sha2::{Digest, Sha256};

/// The bytes of a file.
#[derive(Debug, Clone)]
pub enum Content {
    Bytes(Bytes),
    /// As many bytes as wanted, the same for the same seed.
    Seeded {
        size: u64,
        seed: u64,
    },
    /// A beginning that means something (a header), and seeded bytes up to `size`.
    Headed {
        head: Bytes,
        size: u64,
        seed: u64,
    },
}

/// Every chunk of seeded bytes begins with its own number, so that no two chunks are alike.
const CHUNK: usize = 1 << 16;

impl Content {
    pub fn text(text: impl Into<String>) -> Self {
        Self::Bytes(Bytes::from(text.into()))
    }

    pub fn size(&self) -> u64 {
        match self {
            Self::Bytes(bytes) => bytes.len() as u64,
            Self::Seeded { size, .. } | Self::Headed { size, .. } => *size,
        }
    }

    /// Writes the bytes from `offset` on into `to`; both must lie within the file.
    pub fn fill(&self, offset: u64, to: &mut [u8]) {
        match self {
            Self::Bytes(bytes) => copy(bytes, offset, to),
            Self::Seeded { seed, .. } => seeded(*seed, offset, to),
            Self::Headed { head, seed, .. } => {
                let within = (head.len() as u64).saturating_sub(offset).min(to.len() as u64);
                let (first, rest) = to.split_at_mut(usize::try_from(within).unwrap_or(0));
                copy(head, offset, first);
                seeded(*seed, offset + within, rest);
            }
        }
    }

    /// All of it. For small files and for comparing.
    pub fn to_vec(&self) -> Vec<u8> {
        let mut all = vec![0; usize::try_from(self.size()).unwrap_or(0)];
        self.fill(0, &mut all);
        all
    }

    fn pieces(&self, mut each: impl FnMut(&[u8])) {
        let mut buffer = vec![0; 1 << 18];
        let mut at = 0;
        while at < self.size() {
            let length = usize::try_from((self.size() - at).min(buffer.len() as u64)).unwrap_or(0);
            let Some(piece) = buffer.get_mut(..length) else { return };
            self.fill(at, piece);
            each(piece);
            at += length as u64;
        }
    }

    /// SHA-256 in hexadecimal digits. A pass over everything.
    pub fn sha256(&self) -> String {
        let mut hash = Sha256::new();
        self.pieces(|piece| hash.update(piece));
        hex(&hash.finalize())
    }

    /// The git hash: SHA-1 of "blob SIZE\0" and the bytes.
    pub fn git(&self) -> String {
        let mut hash = Sha1::new();
        hash.update(format!("blob {}\0", self.size()));
        self.pieces(|piece| hash.update(piece));
        hex(&hash.finalize())
    }
}

fn copy(from: &[u8], offset: u64, to: &mut [u8]) {
    let at = usize::try_from(offset).unwrap_or(usize::MAX);
    if let Some(part) = from.get(at..at.saturating_add(to.len())) {
        to.copy_from_slice(part);
    }
}

/// Sixty-four kilobytes that look random and do not compress.
fn base() -> &'static [u8] {
    static BASE: OnceLock<Vec<u8>> = OnceLock::new();
    BASE.get_or_init(|| (0..CHUNK as u64 / 8).flat_map(|n| mix(n ^ 0x5eed).to_le_bytes()).collect())
}

/// SplitMix64's last step.
pub(crate) fn mix(n: u64) -> u64 {
    let z = n.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

fn seeded(seed: u64, mut offset: u64, mut to: &mut [u8]) {
    let chunk = CHUNK as u64;
    while !to.is_empty() {
        let within = usize::try_from(offset % chunk).unwrap_or(0);
        let length = to.len().min(CHUNK - within);
        let (piece, rest) = std::mem::take(&mut to).split_at_mut(length);
        if let Some(from) = base().get(within..within + length) {
            piece.copy_from_slice(from);
        }
        let mark = mix(seed.wrapping_mul(0x1_0001).wrapping_add(offset / chunk)).to_le_bytes();
        for (n, byte) in mark.iter().enumerate() {
            if let Some(place) = n.checked_sub(within).and_then(|n| piece.get_mut(n)) {
                *place = *byte;
            }
        }
        offset += length as u64;
        to = rest;
    }
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

/// SHA-1 of a text, in hexadecimal digits: for ids that only have to look like git's.
pub(crate) fn id_of(text: &str) -> String {
    hex(&Sha1::digest(text.as_bytes()))
}

/// Hashes that are computed at most once, when they are asked for.
#[derive(Debug, Clone, Default)]
pub(crate) struct Hashes {
    sha256: Arc<OnceLock<String>>,
    git: Arc<OnceLock<String>>,
}

impl Hashes {
    /// A hash that is only claimed, for a file that nobody is to fetch.
    pub(crate) fn claimed(sha256: String) -> Self {
        let hashes = Self::default();
        let _ = hashes.sha256.set(sha256);
        hashes
    }

    pub(crate) fn sha256(&self, of: &Content) -> &str {
        self.sha256.get_or_init(|| of.sha256())
    }

    pub(crate) fn git(&self, of: &Content) -> &str {
        self.git.get_or_init(|| of.git())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn hashes_are_the_well_known_ones() {
        let hello = Content::text("hello\n");
        assert_eq!(hello.git(), "ce013625030ba8dba906f756967f9e9ca394464a");
        assert_eq!(hello.sha256(), "5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03");
    }

    #[test]
    fn no_two_chunks_and_no_two_seeds_are_alike() {
        let a = Content::Seeded { size: 3 * CHUNK as u64, seed: 1 }.to_vec();
        let b = Content::Seeded { size: 3 * CHUNK as u64, seed: 2 }.to_vec();
        assert_ne!(a[..CHUNK], a[CHUNK..2 * CHUNK]);
        assert_ne!(a, b);
    }

    proptest! {
        #[test]
        fn every_part_is_the_same_whichever_way_it_is_read(
            size in 1..300_000_u64, head in 0..50_usize, from in 0..300_000_u64, length in 0..140_000_u64,
        ) {
            let content = Content::Headed { head: Bytes::from(vec![7; head]), size: size + 50, seed: 9 };
            let all = content.to_vec();
            let from = from.min(size);
            let length = length.min(size - from);
            let mut part = vec![0; usize::try_from(length).unwrap()];
            content.fill(from, &mut part);
            prop_assert_eq!(&all[usize::try_from(from).unwrap()..usize::try_from(from + length).unwrap()], &part[..]);
        }
    }
}
