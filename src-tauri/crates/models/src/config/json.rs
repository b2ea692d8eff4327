//! Reading values out of a configuration that may say anything.

use std::cell::RefCell;

use serde_json::{Map, Value};

/// No number of a model's shape is larger; what is, is a mistake or a trap.
const MOST: u64 = 1 << 40;

/// What was wrong with values on the way: collected, because one strange value need not spoil the rest.
#[derive(Debug, Default)]
pub(super) struct Found {
    notes: RefCell<Vec<String>>,
}

impl Found {
    /// At most so many sentences are kept: a hostile file must not fill the memory with complaints.
    const MOST: usize = 20;

    pub(super) fn note(&self, text: impl Into<String>) {
        let text = text.into();
        let mut notes = self.notes.borrow_mut();
        if notes.len() < Self::MOST && !notes.contains(&text) {
            notes.push(text);
        }
    }

    pub(super) fn into_notes(self) -> Vec<String> {
        self.notes.into_inner()
    }
}

/// One object of the configuration.
#[derive(Clone, Copy)]
pub(super) struct Node<'a> {
    map: &'a Map<String, Value>,
    found: &'a Found,
}

impl<'a> Node<'a> {
    pub(super) fn new(map: &'a Map<String, Value>, found: &'a Found) -> Self {
        Self { map, found }
    }

    pub(super) fn found(&self) -> &'a Found {
        self.found
    }

    pub(super) fn has(&self, key: &str) -> bool {
        self.map.get(key).is_some_and(|v| !v.is_null())
    }

    /// The key is there, be it null: it was decided upon.
    pub(super) fn mentions(&self, key: &str) -> bool {
        self.map.contains_key(key)
    }

    pub(super) fn node(&self, key: &str) -> Option<Node<'a>> {
        self.map.get(key)?.as_object().map(|map| Node { map, found: self.found })
    }

    pub(super) fn value(&self, key: &str) -> Option<&'a Value> {
        self.map.get(key).filter(|v| !v.is_null())
    }

    pub(super) fn entries(&self) -> impl Iterator<Item = (&'a String, &'a Value)> {
        self.map.iter()
    }

    pub(super) fn text(&self, key: &str) -> Option<&'a str> {
        self.map.get(key)?.as_str()
    }

    pub(super) fn list(&self, key: &str) -> Option<&'a [Value]> {
        self.map.get(key)?.as_array().map(Vec::as_slice)
    }

    pub(super) fn yes(&self, key: &str) -> Option<bool> {
        self.map.get(key)?.as_bool()
    }

    /// A whole number that is not negative. Anything else is noted and counts as not there.
    pub(super) fn num(&self, key: &str) -> Option<u64> {
        let value = self.map.get(key).filter(|v| !v.is_null())?;
        let number = whole(value);
        if number.is_none() && !value.is_array() && !value.is_object() && !value.is_boolean() {
            self.found.note(format!("{key} is {}, which was passed over.", shown(value)));
        }
        number
    }

    /// The first of several spellings that is there.
    pub(super) fn any(&self, keys: &[&str]) -> Option<u64> {
        keys.iter().find_map(|key| self.num(key))
    }

    /// As [`Node::any`]; a list (one entry for each layer) counts with its largest.
    pub(super) fn any_most(&self, keys: &[&str]) -> Option<u64> {
        keys.iter().find_map(|key| match self.list(key) {
            Some(list) => list.iter().filter_map(whole).max(),
            None => self.num(key),
        })
    }

    pub(super) fn real(&self, key: &str) -> Option<f64> {
        self.map.get(key)?.as_f64().filter(|f| f.is_finite())
    }

    pub(super) fn texts(&self, key: &str) -> Option<Vec<&'a str>> {
        self.list(key).map(|list| list.iter().filter_map(Value::as_str).collect())
    }
}

/// A whole number within reason; 32.0 is one.
pub(super) fn whole(value: &Value) -> Option<u64> {
    let number = if let Some(number) = value.as_u64() {
        number
    } else {
        let real = value.as_f64().filter(|f| f.fract() == 0.0 && *f >= 0.0 && *f <= MOST as f64)?;
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "held to 0 and MOST")]
        let number = real as u64;
        number
    };
    (number <= MOST).then_some(number)
}

pub(super) fn shown(value: &Value) -> String {
    let text = value.to_string();
    if text.chars().count() > 40 { text.chars().take(40).chain(['…']).collect() } else { text }
}

/// The file as JSON. Python writes `NaN` and `Infinity` where JSON has no such word (`time_step_limit` of Mamba
/// models); they are read as null.
pub(super) fn parse(json: &[u8]) -> Result<Value, serde_json::Error> {
    let first = serde_json::from_slice(json);
    let (Err(error), Some(mended)) = (&first, without_words(json)) else { return first };
    serde_json::from_slice(&mended).map_err(|_| {
        // The first complaint is about the file as it is.
        serde_json::Error::io(std::io::Error::other(error.to_string()))
    })
}

fn without_words(json: &[u8]) -> Option<Vec<u8>> {
    const WORDS: [&[u8]; 3] = [b"-Infinity", b"Infinity", b"NaN"];
    let mut mended = Vec::with_capacity(json.len());
    let (mut quoted, mut at, mut changed) = (false, 0, false);
    while let Some(rest) = json.get(at..).filter(|r| !r.is_empty()) {
        let byte = rest[0];
        if quoted && byte == b'\\' {
            mended.extend_from_slice(&rest[..rest.len().min(2)]);
            at += 2;
            continue;
        }
        quoted ^= byte == b'"';
        if !quoted && let Some(word) = WORDS.iter().find(|w| rest.starts_with(w)) {
            mended.extend_from_slice(b"null");
            at += word.len();
            changed = true;
            continue;
        }
        mended.push(byte);
        at += 1;
    }
    changed.then_some(mended)
}
