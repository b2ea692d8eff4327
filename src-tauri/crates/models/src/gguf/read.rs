//! The header of a GGUF file, read from its beginning; every length in it is bounded, because files are untrusted.
//!
//! Layout, little endian: magic `GGUF`, u32 version, u64 tensors, u64 entries; the entries (key, u32 type, value);
//! the tensors' names, dimensions, types and offsets. Strings have a u64 length before them, arrays an element type
//! and a u64 count. Source: the specification beside ggml.

use std::collections::BTreeMap;
use std::io::{self, Read};

use super::types::{MOST_BYTES_PER_ELEMENT, tensor_type};

/// The tokenizer's lists are the bulk of a header: the largest known have some 20 MB.
pub const MOST_HEADER: u64 = 512 << 20;
const MOST_ENTRIES: u64 = 65_536;
const MOST_TENSORS: u64 = 1_000_000;
const MOST_KEY: u64 = 1024;
/// A longer text is passed over: a chat template may have 64 KB, and nothing here needs one.
const KEPT_TEXT: u64 = 4096;
/// Lists of numbers up to this length are kept: one figure for each layer.
const KEPT_NUMBERS: u64 = 4096;
const DEEPEST: u32 = 4;
const MOST_DIMENSIONS: u32 = 8;

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GgufError {
    #[error(
        "This is no GGUF file: it does not begin with the four letters. Look whether it is the right file."
    )]
    NotGguf,
    #[error("This GGUF file is written for machines of the other byte order. Fetch one for x86 or ARM.")]
    BigEndian,
    #[error(
        "This GGUF file is of version {0}, and 2 and 3 are known. Fetch a newer file, or use a newer Asgard."
    )]
    Version(u32),
    #[error("The header of this GGUF file is damaged: {0}. Fetch it again.")]
    Damaged(String),
    #[error("The header of this GGUF file ends early. Fetch it again.")]
    Short,
    #[error("This GGUF file cannot be read: {0}. Check who may read it.")]
    Io(String),
}

/// A value that was kept.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    Number(f64),
    Integer(u64),
    Truth(bool),
    Text(String),
    Numbers(Vec<u64>),
    /// A text or a list that is too long to keep, or of texts: how many bytes or elements.
    Passed(u64),
}

/// One tensor of the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tensor {
    pub name: String,
    /// Elements in all.
    pub elements: u64,
    /// Of the innermost dimension.
    pub row: u64,
    pub kind: u32,
}

impl Tensor {
    /// Bytes it takes; whether that is exact, or no more than a bound because the type is not known.
    pub fn bytes(&self) -> (u64, bool) {
        let Some(of) = tensor_type(self.kind) else {
            return (self.elements.saturating_mul(MOST_BYTES_PER_ELEMENT), false);
        };
        let rows = self.elements.checked_div(self.row).unwrap_or_default();
        (self.row.div_ceil(of.block).saturating_mul(of.bytes).saturating_mul(rows), true)
    }
}

/// What a header says.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Header {
    pub version: u32,
    pub entries: BTreeMap<String, Value>,
    pub tensors: Vec<Tensor>,
    /// How many bytes of the file it takes.
    pub length: u64,
}

impl Header {
    pub fn text(&self, key: &str) -> Option<&str> {
        match self.entries.get(key)? {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }

    /// A whole number; a list counts only where all of it is the same.
    pub fn number(&self, key: &str) -> Option<u64> {
        match self.entries.get(key)? {
            Value::Integer(n) => Some(*n),
            Value::Numbers(all) => all.first().copied().filter(|first| all.iter().all(|n| n == first)),
            _ => None,
        }
    }

    /// One number for each of `layers`: a list, or the same for all.
    pub fn for_each_layer(&self, key: &str, layers: usize) -> Option<Vec<u64>> {
        match self.entries.get(key)? {
            Value::Integer(n) => Some(vec![*n; layers]),
            Value::Truth(t) => Some(vec![u64::from(*t); layers]),
            // A shorter list says nothing of the layers behind it.
            Value::Numbers(all) if all.len() >= layers => Some(all.iter().take(layers).copied().collect()),
            _ => None,
        }
    }

    /// How many elements a list has.
    pub fn length_of(&self, key: &str) -> Option<u64> {
        match self.entries.get(key)? {
            Value::Numbers(all) => u64::try_from(all.len()).ok(),
            Value::Passed(count) => Some(*count),
            _ => None,
        }
    }
}

/// Reads a header from the beginning of a file. Nothing behind it is touched.
///
/// # Errors
/// [`GgufError`]: no GGUF file, a version that is not known, a header that is damaged or ends early.
pub fn read(from: &mut dyn Read) -> Result<Header, GgufError> {
    let mut cursor = Cursor { from, taken: 0, list: None };
    if &cursor.take::<4>().map_err(|e| if e == GgufError::Short { GgufError::NotGguf } else { e })? != b"GGUF"
    {
        return Err(GgufError::NotGguf);
    }
    let version = cursor.u32()?;
    if version.swap_bytes() == 2 || version.swap_bytes() == 3 {
        return Err(GgufError::BigEndian);
    }
    if !(2..=3).contains(&version) {
        return Err(GgufError::Version(version));
    }
    let tensors = bounded(cursor.u64()?, MOST_TENSORS, "tensors")?;
    let count = bounded(cursor.u64()?, MOST_ENTRIES, "entries")?;
    let mut header = Header { version, ..Header::default() };
    for _ in 0..count {
        let key = cursor.name()?;
        let kind = cursor.u32()?;
        let value = cursor.value(kind, 0)?;
        header.entries.insert(key, value);
    }
    for _ in 0..tensors {
        header.tensors.push(cursor.tensor()?);
    }
    header.length = cursor.taken;
    Ok(header)
}

/// Reads as much of a header as `bytes`, the beginning of a file, hold: the entries that are there whole and, of a list
/// that is cut off, how long it is. The second is whether the header was all there, its tensors too.
///
/// # Errors
/// [`GgufError`], but for a header that ends early.
pub fn read_beginning(bytes: &[u8]) -> Result<(Header, bool), GgufError> {
    if let Some(whole) = short_is_none(read(&mut &*bytes))? {
        return Ok((whole, true));
    }
    let mut from = bytes;
    let mut cursor = Cursor { from: &mut from, taken: 0, list: None };
    let mut header = Header::default();
    let begun = |cursor: &mut Cursor<'_>| {
        cursor.take::<4>()?;
        let version = cursor.u32()?;
        cursor.u64()?;
        Ok((version, cursor.u64()?))
    };
    let Some((version, count)) = short_is_none(begun(&mut cursor))? else { return Ok((header, false)) };
    header.version = version;
    for _ in 0..count {
        let Some((key, kind)) = short_is_none(cursor.name().and_then(|key| Ok((key, cursor.u32()?))))? else {
            break;
        };
        cursor.list = None;
        let value = short_is_none(cursor.value(kind, 0))?;
        let cut = value.is_none();
        if let Some(value) = value.or_else(|| cursor.list.map(Value::Passed)) {
            header.entries.insert(key, value);
        }
        if cut {
            break;
        }
    }
    header.length = cursor.taken;
    Ok((header, false))
}

fn short_is_none<T>(result: Result<T, GgufError>) -> Result<Option<T>, GgufError> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(GgufError::Short) => Ok(None),
        Err(error) => Err(error),
    }
}

fn bounded(count: u64, most: u64, of: &str) -> Result<u64, GgufError> {
    if count > most {
        return Err(GgufError::Damaged(format!("it claims {count} {of}")));
    }
    Ok(count)
}

struct Cursor<'a> {
    from: &'a mut dyn Read,
    taken: u64,
    /// How many elements the outermost list claims that was begun last.
    list: Option<u64>,
}

impl Cursor<'_> {
    fn count(&mut self, bytes: u64) -> Result<(), GgufError> {
        self.taken = self.taken.saturating_add(bytes);
        if self.taken > MOST_HEADER {
            return Err(GgufError::Damaged(format!("it is larger than {} MB", MOST_HEADER >> 20)));
        }
        Ok(())
    }

    fn take<const N: usize>(&mut self) -> Result<[u8; N], GgufError> {
        self.count(N as u64)?;
        let mut bytes = [0; N];
        self.from.read_exact(&mut bytes).map_err(|e| failed(&e))?;
        Ok(bytes)
    }

    fn u32(&mut self) -> Result<u32, GgufError> {
        self.take().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Result<u64, GgufError> {
        self.take().map(u64::from_le_bytes)
    }

    fn skip(&mut self, bytes: u64) -> Result<(), GgufError> {
        self.count(bytes)?;
        let passed = io::copy(&mut (&mut *self.from).take(bytes), &mut io::sink()).map_err(|e| failed(&e))?;
        if passed == bytes { Ok(()) } else { Err(GgufError::Short) }
    }

    /// A text of a known length. Memory is taken as bytes arrive, never for a length that is only claimed.
    fn text(&mut self, length: u64) -> Result<String, GgufError> {
        self.count(length)?;
        let mut bytes = Vec::new();
        (&mut *self.from).take(length).read_to_end(&mut bytes).map_err(|e| failed(&e))?;
        if bytes.len() as u64 != length {
            return Err(GgufError::Short);
        }
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    fn name(&mut self) -> Result<String, GgufError> {
        let length = self.u64()?;
        if length > MOST_KEY {
            return Err(GgufError::Damaged(format!("it claims a name of {length} bytes")));
        }
        self.text(length)
    }

    fn value(&mut self, kind: u32, depth: u32) -> Result<Value, GgufError> {
        Ok(match kind {
            0 => Value::Integer(self.take::<1>()?[0].into()),
            1 => signed(i64::from(i8::from_le_bytes(self.take()?))),
            2 => Value::Integer(u16::from_le_bytes(self.take()?).into()),
            3 => signed(i64::from(i16::from_le_bytes(self.take()?))),
            4 => Value::Integer(self.u32()?.into()),
            5 => signed(i64::from(i32::from_le_bytes(self.take()?))),
            6 => Value::Number(f32::from_le_bytes(self.take()?).into()),
            7 => Value::Truth(self.take::<1>()?[0] != 0),
            8 => {
                let length = self.u64()?;
                if length > KEPT_TEXT {
                    self.skip(length)?;
                    Value::Passed(length)
                } else {
                    Value::Text(self.text(length)?)
                }
            }
            9 => self.list(depth)?,
            10 => Value::Integer(self.u64()?),
            11 => signed(i64::from_le_bytes(self.take()?)),
            12 => Value::Number(f64::from_le_bytes(self.take()?)),
            other => return Err(GgufError::Damaged(format!("it has a value of the unknown type {other}"))),
        })
    }

    fn list(&mut self, depth: u32) -> Result<Value, GgufError> {
        if depth >= DEEPEST {
            return Err(GgufError::Damaged("its lists are nested too deep".to_owned()));
        }
        let kind = self.u32()?;
        let count = self.u64()?;
        if depth == 0 {
            self.list = Some(count);
        }
        let width = match kind {
            0 | 1 | 7 => Some(1),
            2 | 3 => Some(2),
            4..=6 => Some(4),
            10..=12 => Some(8),
            8 | 9 => None,
            other => return Err(GgufError::Damaged(format!("it has a list of the unknown type {other}"))),
        };
        match width {
            Some(_) if count <= KEPT_NUMBERS && !matches!(kind, 6 | 12) => {
                let mut numbers = Vec::new();
                for _ in 0..count {
                    numbers.push(match self.value(kind, depth + 1)? {
                        Value::Integer(n) => n,
                        Value::Truth(t) => u64::from(t),
                        // Below zero: no count of anything.
                        _ => 0,
                    });
                }
                Ok(Value::Numbers(numbers))
            }
            Some(width) => {
                let bytes = count.checked_mul(width).ok_or_else(|| claims(count))?;
                self.skip(bytes)?;
                Ok(Value::Passed(count))
            }
            None => {
                // Each element takes at least its own length.
                if count.checked_mul(8).is_none_or(|bytes| self.taken.saturating_add(bytes) > MOST_HEADER) {
                    return Err(claims(count));
                }
                for _ in 0..count {
                    if kind == 8 {
                        let length = self.u64()?;
                        self.skip(length)?;
                    } else {
                        self.list(depth + 1)?;
                    }
                }
                Ok(Value::Passed(count))
            }
        }
    }

    fn tensor(&mut self) -> Result<Tensor, GgufError> {
        let name = self.name()?;
        let dimensions = self.u32()?;
        if dimensions > MOST_DIMENSIONS {
            return Err(GgufError::Damaged(format!("it claims a tensor of {dimensions} dimensions")));
        }
        let mut elements = 1_u64;
        let mut row = 1;
        for n in 0..dimensions {
            let size = self.u64()?;
            if n == 0 {
                row = size;
            }
            elements = elements.checked_mul(size).filter(|all| *all < 1 << 50).ok_or_else(|| {
                GgufError::Damaged(format!("it claims a tensor that no machine could hold, {}", shown(&name)))
            })?;
        }
        let kind = self.u32()?;
        let _offset = self.u64()?;
        Ok(Tensor { name, elements, row, kind })
    }
}

fn claims(count: u64) -> GgufError {
    GgufError::Damaged(format!("it claims a list of {count} elements"))
}

/// A name out of a file, fit for a message.
fn shown(name: &str) -> String {
    name.chars().filter(|c| !c.is_control()).take(60).collect()
}

fn signed(value: i64) -> Value {
    u64::try_from(value).map_or(Value::Number(value as f64), Value::Integer)
}

fn failed(error: &io::Error) -> GgufError {
    if error.kind() == io::ErrorKind::UnexpectedEof {
        GgufError::Short
    } else {
        GgufError::Io(error.to_string())
    }
}
