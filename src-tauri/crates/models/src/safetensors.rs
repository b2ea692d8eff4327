//! Headers of safetensors files, their index, and lists of files: how much the weights are, to the byte.
//!
//! Layout: u64 length, little endian, then that many bytes of JSON: name to type, shape and place of each tensor.
//! Source: the format's own README, which allows headers of up to 100 MB.

use std::collections::BTreeMap;
use std::io::Read;

use domain::Bytes;
use serde::Deserialize;

pub const MOST_HEADER: u64 = 100_000_000;
/// A list of the files of a repository.
pub const MOST_LIST: usize = 64 << 20;
/// More than any file on any disk: a list that says so lies.
const MOST_FILE: u64 = 1 << 50;

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SafetensorsError {
    #[error("The header of this safetensors file ends early. Fetch it again.")]
    Short,
    #[error(
        "This safetensors file claims a header of {0} bytes, and none is larger than {MOST_HEADER}. Look whether it is the right file."
    )]
    TooLong(u64),
    #[error("The header of this safetensors file is damaged: {0}. Fetch it again.")]
    Damaged(String),
    #[error("This list of files cannot be read: {0}. Look whether it is the right file.")]
    List(String),
}

/// What one file holds.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Header {
    /// Bytes by type, as the file names them: "BF16", "I32".
    pub by_type: BTreeMap<String, Bytes>,
    pub tensors: usize,
}

impl Header {
    pub fn bytes(&self) -> Bytes {
        self.by_type.values().copied().sum()
    }
}

#[derive(Deserialize)]
struct Entry {
    dtype: String,
    shape: Vec<u64>,
    data_offsets: (u64, u64),
}

/// Reads a header from the beginning of a file; `size` is the file's, where it is known.
///
/// # Errors
/// [`SafetensorsError`]: a header that ends early, is too long, or contradicts itself.
pub fn read(from: &mut dyn Read, size: Option<u64>) -> Result<Header, SafetensorsError> {
    let mut length = [0; 8];
    from.read_exact(&mut length).map_err(|_| SafetensorsError::Short)?;
    let length = u64::from_le_bytes(length);
    if length > MOST_HEADER {
        return Err(SafetensorsError::TooLong(length));
    }
    let mut bytes = Vec::new();
    // Memory is taken as bytes arrive, never for a length that is only claimed.
    from.take(length).read_to_end(&mut bytes).map_err(|_| SafetensorsError::Short)?;
    if bytes.len() as u64 != length {
        return Err(SafetensorsError::Short);
    }
    let damaged = |what: String| SafetensorsError::Damaged(what);
    let entries: BTreeMap<String, serde_json::Value> =
        serde_json::from_slice(&bytes).map_err(|e| damaged(e.to_string()))?;
    let room = size.map(|size| size.saturating_sub(8 + length));
    let mut header = Header::default();
    let mut places = Vec::new();
    for (name, entry) in entries.into_iter().filter(|(name, _)| name != "__metadata__") {
        let name: String = name.chars().filter(|c| !c.is_control()).take(80).collect();
        let entry: Entry = serde_json::from_value(entry).map_err(|e| damaged(format!("{name}: {e}")))?;
        let (from, to) = entry.data_offsets;
        if to < from || room.is_some_and(|room| to > room) {
            return Err(damaged(format!("{name} lies outside of the file")));
        }
        let elements = entry.shape.iter().try_fold(1_u64, |all, n| all.checked_mul(*n));
        let bits = bits(&entry.dtype);
        if let (Some(elements), Some(bits)) = (elements, bits)
            && elements.checked_mul(bits).map(|bits| bits.div_ceil(8)) != Some(to - from)
        {
            return Err(damaged(format!("{name} is not as large as its shape says")));
        }
        if bits.is_none() && !is_a_word(&entry.dtype) {
            return Err(damaged(format!("{name} is of a type that is no word")));
        }
        *header.by_type.entry(entry.dtype).or_default() += Bytes(to - from);
        header.tensors += 1;
        places.push((from, to));
    }
    places.sort_unstable();
    if places.windows(2).any(|pair| pair[1].0 < pair[0].1) {
        return Err(damaged("two of its tensors lie over each other".to_owned()));
    }
    Ok(header)
}

/// A type of tomorrow is still a word.
fn is_a_word(dtype: &str) -> bool {
    !dtype.is_empty() && dtype.len() <= 32 && dtype.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

/// Bits of one element.
fn bits(dtype: &str) -> Option<u64> {
    Some(match dtype {
        "F64" | "I64" | "U64" | "C64" => 64,
        "F32" | "I32" | "U32" => 32,
        "F16" | "BF16" | "I16" | "U16" => 16,
        "F8_E4M3" | "F8_E5M2" | "F8_E8M0" | "F8_E4M3FNUZ" | "F8_E5M2FNUZ" | "I8" | "U8" | "BOOL" => 8,
        "F6_E2M3" | "F6_E3M2" => 6,
        "F4" => 4,
        _ => return None,
    })
}

/// `metadata.total_size` of an index.
///
/// # Errors
/// What is no index, or does not say how much it is.
pub fn index_total(json: &[u8]) -> Result<Bytes, SafetensorsError> {
    #[derive(Deserialize)]
    struct Index {
        metadata: Metadata,
    }
    #[derive(Deserialize)]
    struct Metadata {
        // Some tools write it as a number with a point.
        total_size: serde_json::Number,
    }
    if json.len() > MOST_LIST {
        return Err(SafetensorsError::List(format!("it has {} bytes", json.len())));
    }
    let index: Index = serde_json::from_slice(json).map_err(|e| SafetensorsError::List(e.to_string()))?;
    let total = &index.metadata.total_size;
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the range was looked at")]
    let bytes = total
        .as_u64()
        .or_else(|| total.as_f64().filter(|f| (0.0..1e15).contains(f)).map(|f| f as u64))
        .filter(|bytes| (1..MOST_FILE).contains(bytes));
    bytes.map(Bytes).ok_or_else(|| SafetensorsError::List(format!("total_size = {total} is no size")))
}

/// One file of a repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct File {
    pub path: String,
    pub size: Option<u64>,
}

/// A list of files as the Hub's API gives it: of `tree`, a list with `path` and `size`; of `models`, an object with
/// `siblings`; or a plain map from path to size.
///
/// # Errors
/// What is none of the three.
pub fn file_list(json: &[u8]) -> Result<Vec<File>, SafetensorsError> {
    if json.len() > MOST_LIST {
        return Err(SafetensorsError::List(format!("it has {} bytes", json.len())));
    }
    let value: serde_json::Value =
        serde_json::from_slice(json).map_err(|e| SafetensorsError::List(e.to_string()))?;
    let entries = match &value {
        serde_json::Value::Array(entries) => entries.iter().map(entry).collect::<Option<Vec<_>>>(),
        serde_json::Value::Object(map) => match map.get("siblings").or_else(|| map.get("files")) {
            Some(serde_json::Value::Array(entries)) => entries.iter().map(entry).collect(),
            _ => map
                .iter()
                .map(|(path, size)| Some(File { path: path.clone(), size: Some(size.as_u64()?) }))
                .collect(),
        },
        _ => None,
    };
    let files = entries.ok_or_else(|| {
        SafetensorsError::List("its entries have no path, as a list of the Hub's files has".to_owned())
    })?;
    if let Some(absurd) = files.iter().find(|f| f.size.is_some_and(|s| s >= MOST_FILE)) {
        let path: String = absurd.path.chars().filter(|c| !c.is_control()).take(80).collect();
        return Err(SafetensorsError::List(format!("it says that {path} is larger than any disk")));
    }
    Ok(files)
}

fn entry(value: &serde_json::Value) -> Option<File> {
    let path = ["path", "rfilename", "name"].iter().find_map(|k| value[*k].as_str())?.to_owned();
    let size = value["lfs"]["size"].as_u64().or_else(|| value["size"].as_u64());
    Some(File { path, size })
}

/// The bytes of a model's weights in a list of files, as vLLM loads them: safetensors where there are any, else
/// `.bin`; what a repository holds twice (another format, `original/`, adapters) is left out. `None` where there are
/// none, or a size is missing.
pub fn weights(files: &[File]) -> Option<Bytes> {
    let of = |ending: &str| -> Vec<&File> {
        files
            .iter()
            .filter(|f| f.path.ends_with(ending) && !f.path.contains('/') && !is_beside(&f.path))
            .collect()
    };
    let found = [".safetensors", ".bin", ".pt"].iter().map(|e| of(e)).find(|found| !found.is_empty())?;
    // One file with everything beside the same in parts: the parts are what the index names.
    let parts: Vec<&File> = found.iter().copied().filter(|f| f.path.contains("-of-")).collect();
    let whole = if parts.is_empty() { found } else { parts };
    whole.iter().map(|f| f.size.map(Bytes)).sum()
}

/// Files that have the ending of weights and are none.
fn is_beside(path: &str) -> bool {
    let name = path.to_ascii_lowercase();
    ["adapter_", "training_args", "optimizer", "scheduler", "rng_state", "consolidated"]
        .iter()
        .any(|begin| name.starts_with(begin))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(header: &str) -> Vec<u8> {
        let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
        bytes.extend(header.as_bytes());
        bytes
    }

    #[test]
    fn a_header_is_summed_by_type() {
        let bytes = file(
            r#"{"__metadata__":{"format":"pt"},"a":{"dtype":"BF16","shape":[2,3],"data_offsets":[0,12]},
                "b":{"dtype":"I32","shape":[4],"data_offsets":[12,28]},"c":{"dtype":"F4","shape":[4],"data_offsets":[28,30]}}"#,
        );
        let header = read(&mut bytes.as_slice(), Some(bytes.len() as u64 + 30)).unwrap();
        assert_eq!((header.bytes(), header.tensors), (Bytes(30), 3));
        assert_eq!(header.by_type["BF16"], Bytes(12));
    }

    #[test]
    fn lies_are_refused_in_words() {
        let long = (1_u64 << 63).to_le_bytes();
        assert_eq!(read(&mut long.as_slice(), None), Err(SafetensorsError::TooLong(1 << 63)));
        assert_eq!(read(&mut [1, 2, 3].as_slice(), None), Err(SafetensorsError::Short));
        let short = 90_000_000_u64.to_le_bytes();
        assert_eq!(read(&mut short.as_slice(), None), Err(SafetensorsError::Short));
        for damaged in [
            "{",
            "[]",
            r#"{"a":{"dtype":"BF16","shape":[2],"data_offsets":[4,0]}}"#,
            r#"{"a":{"dtype":"BF16","shape":[2],"data_offsets":[0,5]}}"#,
            r#"{"a":{"dtype":"BF16","shape":[-2],"data_offsets":[0,4]}}"#,
            r#"{"a":{"dtype":"BF16","shape":[500],"data_offsets":[0,1000]}}"#,
            r#"{"a":{"dtype":"I32","shape":[1],"data_offsets":[0,4]},"b":{"dtype":"I32","shape":[1],"data_offsets":[2,6]}}"#,
            r#"{"a":{"dtype":"a\u0000b","shape":[1],"data_offsets":[0,4]}}"#,
        ] {
            let bytes = file(damaged);
            let error = read(&mut bytes.as_slice(), Some(bytes.len() as u64 + 100)).unwrap_err();
            assert!(matches!(error, SafetensorsError::Damaged(_)), "{damaged}: {error}");
        }
    }

    #[test]
    fn an_index_says_its_sum() {
        assert_eq!(
            index_total(br#"{"metadata":{"total_size":9980000000},"weight_map":{}}"#),
            Ok(Bytes(9_980_000_000))
        );
        assert_eq!(index_total(br#"{"metadata":{"total_size":1.5e9}}"#), Ok(Bytes(1_500_000_000)));
        for bad in
            ["{}", "[]", r#"{"metadata":{"total_size":-1}}"#, r#"{"metadata":{"total_size":1e300}}"#, "x"]
        {
            assert!(index_total(bad.as_bytes()).is_err(), "{bad}");
        }
    }

    #[test]
    fn the_lists_of_the_hub_are_read_and_only_weights_count() {
        let tree = br#"[{"type":"file","path":"model-00001-of-00002.safetensors","size":3,"lfs":{"size":3990000000}},
            {"type":"file","path":"model-00002-of-00002.safetensors","size":3970000000},
            {"path":"consolidated.safetensors","size":7960000000},{"path":"model.safetensors","size":7},
            {"path":"original/x.safetensors","size":5},{"path":"config.json","size":700},{"path":"adapter_model.safetensors","size":9}]"#;
        assert_eq!(weights(&file_list(tree).unwrap()), Some(Bytes(7_960_000_000)));
        let siblings = br#"{"siblings":[{"rfilename":"pytorch_model.bin","size":12},{"rfilename":"training_args.bin","size":1}]}"#;
        assert_eq!(weights(&file_list(siblings).unwrap()), Some(Bytes(12)));
        let map = br#"{"model.safetensors": 30, "README.md": 1}"#;
        assert_eq!(weights(&file_list(map).unwrap()), Some(Bytes(30)));
        assert_eq!(weights(&file_list(br#"[{"path":"model.safetensors"}]"#).unwrap()), None, "no size");
        for bad in
            ["7", "{\"a\":\"b\"}", "[1]", "[{\"path\":\"m.safetensors\",\"size\":18446744073709551615}]", ""]
        {
            assert!(file_list(bad.as_bytes()).is_err(), "{bad}");
        }
    }
}
