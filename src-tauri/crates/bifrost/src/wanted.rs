//! Finding the model's name in a request's body while the body arrives.
//!
//! The body is walked over piece by piece and not kept here: a request with a hundred thousand tokens of history, or
//! with pictures of 50 MB in it, costs no tree and no copy. What is walked over is checked for being JSON, so that
//! what is found is what every other reader finds.

use std::ops::Range;

/// The model that a body names, and where: the bytes of the value, quotes included.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Named {
    pub(crate) model: String,
    pub(crate) at: Range<usize>,
    /// Whether a stream is asked for: `"stream": true`.
    pub(crate) stream: bool,
}

const NOT_A_TEXT: &str = "The request's `model` must be there once, as a text.";
/// The longest text of a model, as it is written. No name and no path on a disk is longer.
const LONGEST: usize = 4096;
/// The longest text of a key that could be `model` or `stream`: every character as `\u0061`.
const LONGEST_KEY: usize = 48;

/// A reader of JSON that is fed with pieces.
///
/// Two `model` keys are refused, because readers differ in which one they take, and the agent that is leased would then
/// not be the one that answers. Keys inside other objects do not count, however often they come.
#[derive(Debug, Default)]
pub(crate) struct Scan {
    state: State,
    nesting: Nesting,
    /// Bytes taken in earlier pieces.
    taken: usize,
    /// What the text that is being read is for.
    role: Role,
    /// The text of a key of the outermost object, or of the model: as written, with its quotes.
    text: Vec<u8>,
    /// The key whose value is next, where it is one of those that matter.
    key: Key,
    model: Option<(String, Range<usize>)>,
    model_from: usize,
    stream: bool,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum State {
    /// Nothing yet but spaces.
    #[default]
    Start,
    Value,
    /// After `[`.
    ValueOrEnd,
    /// After `{`.
    KeyOrEnd,
    Key,
    Colon,
    /// After a value: a comma or the end of what it is in.
    After,
    Text,
    Escape,
    /// So many hexadecimal digits are missing.
    Hex(u8),
    Number(Number),
    /// The rest of `true`, `false` or `null`.
    Word(&'static [u8]),
    /// After the outermost object: only spaces.
    Done,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Number {
    Minus,
    Zero,
    Whole,
    Point,
    Fraction,
    E,
    Sign,
    Exponent,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Role {
    #[default]
    Passed,
    /// A key, of an inner object.
    InnerKey,
    /// A key of the outermost object.
    OuterKey,
    Model,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Key {
    #[default]
    Other,
    Model,
    Stream,
}

/// What is open, one bit each: a body nested a million deep costs 125 kB, and no stack.
#[derive(Debug, Default)]
struct Nesting {
    bits: Vec<u64>,
    depth: usize,
}

impl Nesting {
    fn open(&mut self, object: bool) {
        if self.depth.is_multiple_of(64) {
            self.bits.push(0);
        }
        if let Some(last) = self.bits.last_mut() {
            *last = *last << 1 | u64::from(object);
        }
        self.depth += 1;
    }

    fn in_object(&self) -> bool {
        self.bits.last().is_some_and(|last| last & 1 == 1)
    }

    fn close(&mut self) {
        self.depth = self.depth.saturating_sub(1);
        if self.depth.is_multiple_of(64) {
            self.bits.pop();
        } else if let Some(last) = self.bits.last_mut() {
            *last >>= 1;
        }
    }
}

fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r')
}

impl Scan {
    /// The next piece.
    ///
    /// # Errors
    /// A sentence about what is wrong with the body. What comes after it need not be fed any more.
    pub(crate) fn push(&mut self, piece: &[u8]) -> Result<(), String> {
        let mut at = 0;
        while let Some(&byte) = piece.get(at) {
            at += match self.state {
                State::Text => self.text(&piece[at..], at)?,
                State::Escape => self.escape(byte, at)?,
                State::Hex(missing) => self.hex(byte, missing, at)?,
                State::Number(number) => self.number(number, byte, at)?,
                State::Word(rest) => self.word(rest, byte, at)?,
                _ if is_space(byte) => 1,
                _ => self.mark(byte, at)?,
            };
        }
        self.taken += piece.len();
        Ok(())
    }

    /// The end of the body: the text of the top-level `model`.
    ///
    /// # Errors
    /// A sentence about what is wrong with the body.
    pub(crate) fn finish(self) -> Result<Named, String> {
        match (self.state, self.model) {
            (State::Done, Some((model, at))) => Ok(Named { model, at, stream: self.stream }),
            (State::Done, None) => Err("The request names no model.".to_owned()),
            _ => Err(format!("The request is not valid JSON: it ends early, after {} bytes.", self.taken)),
        }
    }

    fn broken<T>(&self, what: &str, at: usize) -> Result<T, String> {
        Err(format!("The request is not valid JSON: {what} at byte {}.", self.taken + at + 1))
    }

    /// A byte between texts, numbers and words.
    fn mark(&mut self, byte: u8, at: usize) -> Result<usize, String> {
        match (self.state, byte) {
            (State::Start, b'{') => self.open(true),
            (State::Start, b'[' | b'"' | b't' | b'f' | b'n' | b'-' | b'0'..=b'9') => {
                return Err(NOT_A_TEXT.to_owned());
            }
            (State::KeyOrEnd, b'}') | (State::ValueOrEnd, b']') => self.close(),
            (State::KeyOrEnd | State::Key, b'"') => {
                let outer = self.nesting.depth == 1;
                self.begin_text(if outer { Role::OuterKey } else { Role::InnerKey });
            }
            (State::Colon, b':') => self.state = State::Value,
            (State::After, b',') => {
                self.state = if self.nesting.in_object() { State::Key } else { State::Value };
            }
            (State::After, b'}') if self.nesting.in_object() => self.close(),
            (State::After, b']') if !self.nesting.in_object() => self.close(),
            (State::Value | State::ValueOrEnd, _) => return self.value(byte, at),
            _ => return self.broken("something else was expected", at),
        }
        Ok(1)
    }

    fn open(&mut self, object: bool) {
        self.nesting.open(object);
        self.state = if object { State::KeyOrEnd } else { State::ValueOrEnd };
    }

    fn close(&mut self) {
        self.nesting.close();
        self.state = if self.nesting.depth == 0 { State::Done } else { State::After };
    }

    fn value(&mut self, byte: u8, at: usize) -> Result<usize, String> {
        let key = std::mem::take(&mut self.key);
        match key {
            Key::Other => {}
            Key::Stream => self.stream = byte == b't',
            Key::Model if self.model.is_some() || byte != b'"' => return Err(NOT_A_TEXT.to_owned()),
            Key::Model => self.model_from = self.taken + at,
        }
        match byte {
            b'"' => self.begin_text(if key == Key::Model { Role::Model } else { Role::Passed }),
            b'{' => self.open(true),
            b'[' => self.open(false),
            b't' => self.state = State::Word(b"rue"),
            b'f' => self.state = State::Word(b"alse"),
            b'n' => self.state = State::Word(b"ull"),
            b'-' => self.state = State::Number(Number::Minus),
            b'0' => self.state = State::Number(Number::Zero),
            b'1'..=b'9' => self.state = State::Number(Number::Whole),
            _ => return self.broken("a value was expected", at),
        }
        Ok(1)
    }

    fn begin_text(&mut self, role: Role) {
        self.role = role;
        self.text.clear();
        self.keep(b"\"");
        self.state = State::Text;
    }

    fn keep(&mut self, bytes: &[u8]) {
        let room = match self.role {
            Role::OuterKey => LONGEST_KEY,
            Role::Model => LONGEST,
            Role::Passed | Role::InnerKey => return,
        };
        // One more than there is room for, so that a text that is too long is known to be.
        let room = (room + 1).saturating_sub(self.text.len());
        self.text.extend_from_slice(&bytes[..bytes.len().min(room)]);
    }

    /// As much of a text as is there.
    fn text(&mut self, rest: &[u8], at: usize) -> Result<usize, String> {
        let plain = plain(rest);
        self.keep(&rest[..plain]);
        match rest.get(plain) {
            None => return Ok(plain),
            Some(b'"') => {
                self.keep(b"\"");
                self.end_text(at + plain)?;
            }
            Some(b'\\') => {
                self.keep(b"\\");
                self.state = State::Escape;
            }
            Some(_) => return self.broken("a control character in a text", at + plain),
        }
        Ok(plain + 1)
    }

    fn end_text(&mut self, at: usize) -> Result<(), String> {
        self.state = match self.role {
            Role::InnerKey | Role::OuterKey => State::Colon,
            Role::Passed | Role::Model => State::After,
        };
        match self.role {
            Role::OuterKey if self.text.len() <= LONGEST_KEY => {
                self.key = match &self.text[..] {
                    b"\"model\"" => Key::Model,
                    b"\"stream\"" => Key::Stream,
                    // "mod\u0065l" is `model` to the agent, so it is here.
                    text if text.contains(&b'\\') => {
                        match serde_json::from_slice::<String>(text).as_deref() {
                            Ok("model") => Key::Model,
                            Ok("stream") => Key::Stream,
                            _ => Key::Other,
                        }
                    }
                    _ => Key::Other,
                };
                if self.key == Key::Model && self.model.is_some() {
                    return Err(NOT_A_TEXT.to_owned());
                }
            }
            Role::Model if self.text.len() <= LONGEST => {
                let model = serde_json::from_slice(&self.text).map_err(|_| NOT_A_TEXT.to_owned())?;
                self.model = Some((model, self.model_from..self.taken + at + 1));
            }
            Role::Model => return Err("The request's `model` is far too long for a name.".to_owned()),
            Role::OuterKey | Role::InnerKey | Role::Passed => {}
        }
        Ok(())
    }

    fn escape(&mut self, byte: u8, at: usize) -> Result<usize, String> {
        self.keep(&[byte]);
        self.state = match byte {
            b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => State::Text,
            b'u' => State::Hex(4),
            _ => return self.broken("an unknown escape in a text", at),
        };
        Ok(1)
    }

    fn hex(&mut self, byte: u8, missing: u8, at: usize) -> Result<usize, String> {
        if !byte.is_ascii_hexdigit() {
            return self.broken("an unknown escape in a text", at);
        }
        self.keep(&[byte]);
        self.state = if missing > 1 { State::Hex(missing - 1) } else { State::Text };
        Ok(1)
    }

    fn number(&mut self, number: Number, byte: u8, at: usize) -> Result<usize, String> {
        use Number::{E, Exponent, Fraction, Minus, Point, Sign, Whole, Zero};
        self.state = State::Number(match (number, byte) {
            (Minus, b'0') => Zero,
            (Minus, b'1'..=b'9') | (Whole, b'0'..=b'9') => Whole,
            (Zero | Whole, b'.') => Point,
            (Point | Fraction, b'0'..=b'9') => Fraction,
            (Zero | Whole | Fraction, b'e' | b'E') => E,
            (E, b'+' | b'-') => Sign,
            (E | Sign | Exponent, b'0'..=b'9') => Exponent,
            (Zero | Whole | Fraction | Exponent, _) => {
                // Not a part of the number any more: it is looked at again.
                self.state = State::After;
                return Ok(0);
            }
            _ => return self.broken("half a number", at),
        });
        Ok(1)
    }

    fn word(&mut self, rest: &'static [u8], byte: u8, at: usize) -> Result<usize, String> {
        match rest.split_first() {
            Some((&next, rest)) if next == byte => {
                self.state = if rest.is_empty() { State::After } else { State::Word(rest) };
                Ok(1)
            }
            _ => self.broken("an unknown word", at),
        }
    }
}

/// How many bytes from the start of a text neither end it nor need a look.
fn plain(text: &[u8]) -> usize {
    const BLOCK: usize = 256;
    let mut at = 0;
    loop {
        let block = &text[at..text.len().min(at + BLOCK)];
        let mark = memchr::memchr2(b'"', b'\\', block).unwrap_or(block.len());
        // Without an early exit many bytes are compared at once.
        if block[..mark].iter().fold(u8::MAX, |least, &byte| least.min(byte)) < b' ' {
            let before = block[..mark].iter().position(|&byte| byte < b' ');
            return at + before.unwrap_or(mark);
        }
        at += mark;
        if mark < BLOCK {
            return at;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Map, Value};

    use super::*;

    /// In pieces of this size; 0: whole.
    fn scan(body: &[u8], piece: usize) -> Result<Named, String> {
        let mut scan = Scan::default();
        for piece in body.chunks(if piece == 0 { body.len().max(1) } else { piece }) {
            scan.push(piece)?;
        }
        scan.finish()
    }

    fn model_in(body: &[u8]) -> Result<Named, String> {
        let whole = scan(body, 0);
        for piece in [1, 2, 3, 7, 33] {
            if body.len() < 10_000 || piece == 33 {
                let cut = scan(body, piece);
                assert_eq!(whole, cut, "{:?} in pieces of {piece}", String::from_utf8_lossy(body));
            }
        }
        whole
    }

    fn check(body: &str, expected: Result<&str, &str>) {
        match (model_in(body.as_bytes()), expected) {
            (Ok(named), Ok(expected)) => assert_eq!(named.model, expected, "{body}"),
            (Err(why), Err(part)) => assert!(why.contains(part), "{body}: {why:?} does not say {part:?}"),
            (got, expected) => panic!("{body}: got {got:?}, expected {expected:?}"),
        }
    }

    #[test]
    fn the_model_is_found_or_its_absence_said() {
        check(r#"{"model":"odin"}"#, Ok("odin"));
        check(r#" {"messages":[{"model":"x","model":"y"}],"model":"odin","a":{"model":3}} "#, Ok("odin"));
        check(r#"{"mod\u0065l":"odin"}"#, Ok("odin"));
        check(r#"{"model":"Qwen\/Qwen2.5"}"#, Ok("Qwen/Qwen2.5"));
        check(r#"{"model":"ödin 🜁"}"#, Ok("ödin 🜁"));
        check(r#"{"model":""}"#, Ok(""));
        check(r#"{"a":"\ud800","model":"odin"}"#, Ok("odin"));
        check(r"{}", Err("names no model"));
        check(r#"{"a":{"model":"odin"}}"#, Err("names no model"));
        check(r#"{"model":"odin","model":"odin"}"#, Err("once"));
        check(r#"{"model":"odin","mod\u0065l":"thor"}"#, Err("once"));
        check(r#"{"model":3}"#, Err("as a text"));
        check(r#"{"model":null}"#, Err("as a text"));
        check(r#"{"model":["odin"]}"#, Err("as a text"));
        check(r#"{"model":"odin""#, Err("not valid JSON"));
        check(r#"{"model":"odin"} {}"#, Err("not valid JSON"));
        check(r#"{"model":"odin",}"#, Err("not valid JSON"));
        check(r"{'model':'odin'}", Err("not valid JSON"));
        check("", Err("not valid JSON"));
        check("\u{feff}{\"model\":\"odin\"}", Err("not valid JSON"));
        check("[]", Err("must be there"));
        check("\"model\"", Err("must be there"));
    }

    #[test]
    fn a_body_nested_a_million_deep_is_walked_without_a_stack() {
        let deep = format!(r#"{{"a":{}1{},"model":"odin"}}"#, "[".repeat(1_000_000), "]".repeat(1_000_000));
        check(&deep, Ok("odin"));
    }

    fn json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            ".*".prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 32, 6, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
                proptest::collection::vec((key(), inner), 0..6)
                    .prop_map(|pairs| Value::Object(pairs.into_iter().collect())),
            ]
        })
    }

    fn key() -> impl Strategy<Value = String> {
        prop_oneof!["model|Model|model |messages|stream", ".{0,8}"]
    }

    proptest! {
        #[test]
        fn what_is_found_is_what_a_full_reader_finds(
            pairs in proptest::collection::vec((key(), json()), 0..8),
            model in proptest::option::of(".{0,20}"),
            pretty: bool,
            place in 0_usize..8,
        ) {
            // Written by hand, so that the model stands at any place among the keys.
            let mut seen = Map::new();
            let mut pairs: Vec<(String, Value)> = pairs
                .into_iter()
                .filter(|(key, _)| key != "model" && seen.insert(key.clone(), Value::Null).is_none())
                .collect();
            if let Some(model) = &model {
                pairs.insert(place.min(pairs.len()), ("model".to_owned(), Value::from(model.clone())));
            }
            let parts: Vec<String> = pairs
                .iter()
                .map(|(key, value)| {
                    let value = if pretty { serde_json::to_string_pretty(value) } else { serde_json::to_string(value) };
                    format!("{}:{}", Value::from(key.clone()), value.unwrap())
                })
                .collect();
            let body = format!("{{{}}}", parts.join(","));
            let full: Value = serde_json::from_str(&body).unwrap();
            let found = model_in(body.as_bytes()).ok();
            prop_assert_eq!(found.as_ref().map(|n| n.model.as_str()), full["model"].as_str());
            // Another name in its place changes that value and nothing else.
            if let Some(named) = found {
                let theirs = Value::from("so \"me\"/Other\n");
                let other = [&body[..named.at.start], &theirs.to_string(), &body[named.at.end..]].concat();
                let mut expected = full;
                expected["model"] = theirs;
                prop_assert_eq!(serde_json::from_str::<Value>(&other).unwrap(), expected);
            }
        }

        #[test]
        fn no_bytes_make_it_fall_over(body in proptest::collection::vec(any::<u8>(), 0..200)) {
            let full: Option<Value> = serde_json::from_slice(&body).ok();
            if let Ok(named) = model_in(&body)
                && let Some(full) = full
            {
                prop_assert_eq!(Some(named.model.as_str()), full["model"].as_str());
            }
        }
    }
}
