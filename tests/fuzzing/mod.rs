//! What the fuzz targets share. Shared by path, because targets live beside the parsers that they try.
//!
//! Bytes of any kind rarely come past the first check of a format, so an input is a whole one with things done to it:
//! the engine's bytes are read as a list of edits. Under `cargo test` the engine is a random one and ends after a
//! moment; `make soak` gives each target a minute (`BOLERO_RANDOM_TEST_TIME_MS`). One that fails prints a
//! `BOLERO_RANDOM_SEED`, which repeats that very input.

#![allow(dead_code, reason = "each target uses its part")]

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// How long a target runs where nothing else is said.
pub(crate) const SHORT: Duration = Duration::from_millis(400);
/// How many of the engine's bytes make an input at most: some thirty edits.
pub(crate) const MOST_EDITS: usize = 192;
/// No parser may take longer for inputs as small as these; far above what any takes, for busy machines.
const LONGEST: Duration = Duration::from_secs(10);

/// Numbers that begin trouble, as they stand in binary files.
const NUMBERS: [u64; 12] =
    [0, 1, 2, 9, 255, 4096, 1 << 31, (1 << 32) - 1, 1 << 50, 1 << 60, 1 << 63, u64::MAX];
/// The same in texts, and signs that open what nothing closes.
const WORDS: [&str; 22] = [
    "-1",
    "0",
    "1e999",
    "-1e308",
    "18446744073709551616",
    "9223372036854775807",
    "NaN",
    "Infinity",
    "null",
    "true",
    "\"\"",
    "[",
    "{",
    "]",
    "}",
    "\"",
    "\\u0000",
    "\u{1b}[31m",
    ":",
    ",",
    "\n",
    "{{{{[[[[",
];

/// The input that `edits` make of one of the `whole` ones. The first byte chooses; with a last choice the edits
/// themselves are the input.
pub(crate) fn input(whole: &[Vec<u8>], edits: &[u8]) -> Vec<u8> {
    let Some((choice, edits)) = edits.split_first() else { return Vec::new() };
    let Some(base) = whole.get(usize::from(*choice) % (whole.len() + 1)) else { return edits.to_vec() };
    let mut bytes = base.clone();
    for edit in edits.chunks_exact(6) {
        let place = usize::from(u16::from_le_bytes([edit[1], edit[2]]));
        let at = place % (bytes.len() + 1);
        let number = usize::from(edit[3]);
        match edit[0] % 8 {
            0 => overwrite(&mut bytes, at, &[edit[3]]),
            1 => overwrite(&mut bytes, at, &NUMBERS[number % NUMBERS.len()].to_le_bytes()),
            2 => overwrite(&mut bytes, at, &NUMBERS[number % NUMBERS.len()].to_le_bytes()[..4]),
            3 => put(&mut bytes, at, at, WORDS[number % WORDS.len()].as_bytes()),
            4 => replace_number(&mut bytes, at, WORDS[number % WORDS.len()].as_bytes()),
            5 => bytes.truncate(at),
            6 => {
                let end = (at + usize::from(edit[4])).min(bytes.len());
                put(&mut bytes, at, end, &[]);
            }
            _ => {
                let end = (at + usize::from(edit[4])).min(bytes.len());
                let again = bytes[at..end].repeat(1 + number % 8);
                put(&mut bytes, at, at, &again);
            }
        }
    }
    bytes
}

fn put(bytes: &mut Vec<u8>, from: usize, to: usize, with: &[u8]) {
    drop(bytes.splice(from..to, with.iter().copied()));
}

fn overwrite(bytes: &mut Vec<u8>, at: usize, with: &[u8]) {
    let end = (at + with.len()).min(bytes.len());
    put(bytes, at, end, with);
}

/// The next number of a text becomes something else.
fn replace_number(bytes: &mut Vec<u8>, at: usize, with: &[u8]) {
    let Some(from) = bytes[at..].iter().position(u8::is_ascii_digit).map(|n| at + n) else { return };
    let length = bytes[from..].iter().take_while(|b| b.is_ascii_digit() || **b == b'.').count();
    put(bytes, from, from + length, with);
}

/// What a target counts.
pub(crate) struct Count {
    name: &'static str,
    inputs: AtomicU64,
    read: AtomicU64,
}

impl Count {
    pub(crate) const fn of(name: &'static str) -> Self {
        Self { name, inputs: AtomicU64::new(0), read: AtomicU64::new(0) }
    }

    /// Tries one input. `parse` says whether it was read.
    pub(crate) fn try_one(&self, parse: impl FnOnce() -> bool) {
        let begun = Instant::now();
        let read = parse();
        assert!(begun.elapsed() < LONGEST, "{} took {:?} for one input", self.name, begun.elapsed());
        self.inputs.fetch_add(1, Ordering::Relaxed);
        self.read.fetch_add(u64::from(read), Ordering::Relaxed);
    }

    /// Prints what was tried, which must be something.
    pub(crate) fn finish(&self) {
        let (inputs, read) = (self.inputs.load(Ordering::Relaxed), self.read.load(Ordering::Relaxed));
        println!("fuzzed {}: {inputs} inputs, {read} of them read", self.name);
        assert!(inputs > 0, "{} tried nothing", self.name);
    }
}

/// A message about an untrusted file: short, on one line, one or two sentences.
pub(crate) fn assert_fit_for_a_person(message: &str) {
    assert!(message.chars().count() < 1000, "{} characters: {message}", message.chars().count());
    assert!(!message.chars().any(char::is_control), "{message:?}");
    assert!(message.ends_with('.'), "{message}");
}
