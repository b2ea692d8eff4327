//! The hash of a file as far as it is known, which can be written down between any two bytes and taken up again.
//!
//! SHA-256 of the bytes (FIPS 180-4), or git's name of a blob: SHA-1 of "blob SIZE\0" and the bytes. The rounds are
//! RustCrypto's, with the processor's own instructions where it has them; the blocks and the end are here, because its
//! hashers do not say what they hold.

use std::fmt::Write;

use domain::download::journal::Hashed;

use crate::hub::Hash;

const BLOCK: usize = 64;
const SHA256: [u32; 8] =
    [0x6a09_e667, 0xbb67_ae85, 0x3c6e_f372, 0xa54f_f53a, 0x510e_527f, 0x9b05_688c, 0x1f83_d9ab, 0x5be0_cd19];
const SHA1: [u32; 5] = [0x6745_2301, 0xefcd_ab89, 0x98ba_dcfe, 0x1032_5476, 0xc3d2_e1f0];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Sha256([u32; 8]),
    Sha1([u32; 5]),
}

impl State {
    fn rounds(&mut self, blocks: &[[u8; BLOCK]]) {
        match self {
            Self::Sha256(state) => sha2::block_api::compress256(state, blocks),
            Self::Sha1(state) => sha1::block_api::compress(state, blocks),
        }
    }

    fn words(&self) -> &[u32] {
        match self {
            Self::Sha256(state) => state,
            Self::Sha1(state) => state,
        }
    }

    fn hex(&self) -> String {
        self.words().iter().fold(String::new(), |mut text, word| {
            // Writing to a string cannot fail.
            let _ = write!(text, "{word:08x}");
            text
        })
    }

    fn read(&mut self, hex: &str) -> Option<()> {
        let words: &mut [u32] = match self {
            Self::Sha256(state) => state,
            Self::Sha1(state) => state,
        };
        (hex.len() == words.len() * 8 && hex.is_ascii()).then_some(())?;
        for (word, at) in words.iter_mut().zip((0..).step_by(8)) {
            *word = u32::from_str_radix(hex.get(at..at + 8)?, 16).ok()?;
        }
        Some(())
    }
}

#[derive(Debug, Clone)]
pub(crate) struct Digest {
    state: State,
    /// Less than a block that waits for its rest.
    tail: Vec<u8>,
    /// Of the file's bytes, those in `tail` with them.
    bytes: u64,
    /// Before the file's own bytes: "blob SIZE\0".
    prefix: u64,
}

impl Digest {
    pub(crate) fn new(hash: &Hash, size: u64) -> Self {
        let (state, prefix) = match hash {
            Hash::Sha256(_) => (State::Sha256(SHA256), String::new()),
            Hash::Git(_) => (State::Sha1(SHA1), format!("blob {size}\0")),
        };
        Self { state, bytes: 0, prefix: prefix.len() as u64, tail: prefix.into_bytes() }
    }

    /// Goes on where [`Digest::checkpoint`] stood; none if that is no state of such a hash.
    pub(crate) fn resume(hash: &Hash, size: u64, from: &Hashed) -> Option<Self> {
        let mut digest = Self::new(hash, size);
        let at_block = (digest.prefix + from.bytes).is_multiple_of(BLOCK as u64);
        (at_block && from.bytes <= size).then_some(())?;
        digest.state.read(&from.state)?;
        digest.tail.clear();
        digest.bytes = from.bytes;
        Some(digest)
    }

    /// How many bytes of the file it has seen.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    pub(crate) fn update(&mut self, mut bytes: &[u8]) {
        self.bytes += bytes.len() as u64;
        if !self.tail.is_empty() {
            let (head, rest) = bytes.split_at(bytes.len().min(BLOCK - self.tail.len()));
            self.tail.extend_from_slice(head);
            bytes = rest;
            let (blocks, _) = self.tail.as_chunks();
            if blocks.is_empty() {
                return;
            }
            self.state.rounds(blocks);
            self.tail.clear();
        }
        let (blocks, rest) = bytes.as_chunks();
        self.state.rounds(blocks);
        self.tail.extend_from_slice(rest);
    }

    /// As of the last whole block; none before the first that ends within the file's own bytes.
    pub(crate) fn checkpoint(&self) -> Option<Hashed> {
        let bytes = self.bytes.checked_sub(self.tail.len() as u64).filter(|b| *b > 0)?;
        Some(Hashed { bytes, state: self.state.hex() })
    }

    /// In hexadecimal.
    pub(crate) fn finish(mut self) -> String {
        let bits = (self.prefix + self.bytes).wrapping_mul(8);
        self.tail.push(0x80);
        while self.tail.len() % BLOCK != BLOCK - 8 {
            self.tail.push(0);
        }
        self.tail.extend_from_slice(&bits.to_be_bytes());
        let (blocks, _) = self.tail.as_chunks();
        self.state.rounds(blocks);
        self.state.hex()
    }
}

/// Of bytes that are all here.
pub(crate) fn of_bytes(hash: &Hash, bytes: &[u8]) -> String {
    let mut digest = Digest::new(hash, bytes.len() as u64);
    digest.update(bytes);
    digest.finish()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use sha2::Digest as _;

    use super::*;

    fn kinds() -> [Hash; 2] {
        [Hash::Sha256(String::new()), Hash::Git(String::new())]
    }

    fn judge(hash: &Hash, bytes: &[u8]) -> String {
        let hex = |bytes: &[u8]| bytes.iter().map(|b| format!("{b:02x}")).collect::<String>();
        match hash {
            Hash::Sha256(_) => hex(&sha2::Sha256::digest(bytes)),
            Hash::Git(_) => hex(&sha1::Sha1::new()
                .chain_update(format!("blob {}\0", bytes.len()))
                .chain_update(bytes)
                .finalize()),
        }
    }

    #[test]
    fn known_names() {
        assert_eq!(of_bytes(&kinds()[1], b""), "e69de29bb2d1d6434b8b29ae775ad8c2e48c5391");
        assert_eq!(of_bytes(&kinds()[1], b"what is up, doc?"), "bd9dbf5aae1a3862dd1526723246b20206e5fc37");
        assert_eq!(
            of_bytes(&kinds()[0], b"abc"),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
    }

    proptest! {
        /// In pieces of any size, written down and taken up between any two of them.
        #[test]
        fn it_is_the_hash(bytes in prop::collection::vec(any::<u8>(), 0..700), cuts in prop::collection::vec(1usize..150, 0..20)) {
            for hash in kinds() {
                let size = bytes.len() as u64;
                let mut digest = Digest::new(&hash, size);
                let mut at = 0;
                for cut in cuts.iter().chain(std::iter::repeat(&97)) {
                    if at >= bytes.len() { break }
                    let to = (at + cut).min(bytes.len());
                    digest.update(&bytes[at..to]);
                    prop_assert_eq!(digest.bytes(), to as u64);
                    at = to;
                    if let Some(checkpoint) = digest.checkpoint() {
                        digest = Digest::resume(&hash, size, &checkpoint).unwrap();
                        at = usize::try_from(digest.bytes()).unwrap();
                        prop_assert!(to - at < 64);
                        digest.update(&bytes[at..to]);
                        at = to;
                    }
                }
                prop_assert_eq!(digest.finish(), judge(&hash, &bytes));
            }
        }

        #[test]
        fn a_state_that_is_none_is_refused(bytes in 0u64..2000, state in "[0-9a-fé]{0,70}") {
            for hash in kinds() {
                let digits = if matches!(hash, Hash::Git(_)) { 40 } else { 64 };
                let resumed = Digest::resume(&hash, 1000, &Hashed { bytes, state: state.clone() });
                prop_assert!(resumed.is_none() || (state.len() == digits && bytes <= 1000));
            }
        }
    }
}
