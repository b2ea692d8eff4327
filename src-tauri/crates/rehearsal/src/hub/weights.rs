//! Small files that are whole: headers of safetensors and GGUF that readers accept, with made-up bytes behind them.

use bytes::Bytes;
use serde_json::{Map, Value, json};

use super::content::Content;

/// A tensor: its name, its type as the format spells it, its shape.
pub(super) type Tensor<'a> = (&'a str, &'a str, Vec<u64>);

fn bytes_of(dtype: &str, shape: &[u64]) -> u64 {
    let bits = match dtype {
        "I32" | "F32" => 32,
        "F8_E4M3" => 8,
        _ => 16,
    };
    shape.iter().product::<u64>() * bits / 8
}

/// A safetensors file with these tensors.
pub(super) fn safetensors(tensors: &[Tensor<'_>], seed: u64) -> Content {
    let mut at = 0;
    let mut map = Map::new();
    map.insert("__metadata__".to_owned(), json!({ "format": "pt" }));
    for (name, dtype, shape) in tensors {
        let end = at + bytes_of(dtype, shape);
        map.insert((*name).to_owned(), json!({ "dtype": dtype, "shape": shape, "data_offsets": [at, end] }));
        at = end;
    }
    let mut text = Value::Object(map).to_string();
    // The format asks for tensors at multiples of eight.
    text.push_str(&" ".repeat((8 - text.len() % 8) % 8));
    let mut head = (text.len() as u64).to_le_bytes().to_vec();
    head.extend(text.as_bytes());
    Content::Headed { size: head.len() as u64 + at, head: Bytes::from(head), seed }
}

/// A GGUF file under construction (version 3, little endian).
#[derive(Debug, Default)]
pub(super) struct Gguf {
    entries: u64,
    tensors: u64,
    body: Vec<u8>,
    infos: Vec<u8>,
    data: u64,
}

fn text(to: &mut Vec<u8>, text: &str) {
    to.extend((text.len() as u64).to_le_bytes());
    to.extend(text.as_bytes());
}

impl Gguf {
    fn entry(mut self, key: &str, kind: u32, value: &[u8]) -> Self {
        self.entries += 1;
        text(&mut self.body, key);
        self.body.extend(kind.to_le_bytes());
        self.body.extend(value);
        self
    }

    pub(super) fn number(self, key: &str, value: u32) -> Self {
        self.entry(key, 4, &value.to_le_bytes())
    }

    pub(super) fn word(self, key: &str, value: &str) -> Self {
        let mut bytes = Vec::new();
        text(&mut bytes, value);
        self.entry(key, 8, &bytes)
    }

    /// A tensor of `blocks` blocks: elements and bytes of a block go with the type's number.
    pub(super) fn tensor(mut self, name: &str, kind: u32, elements: u64, bytes: u64) -> Self {
        self.tensors += 1;
        text(&mut self.infos, name);
        self.infos.extend(1_u32.to_le_bytes());
        self.infos.extend(elements.to_le_bytes());
        self.infos.extend(kind.to_le_bytes());
        self.infos.extend(self.data.to_le_bytes());
        self.data += bytes.next_multiple_of(32);
        self
    }

    pub(super) fn content(self, seed: u64) -> Content {
        let mut head = b"GGUF".to_vec();
        head.extend(3_u32.to_le_bytes());
        head.extend(self.tensors.to_le_bytes());
        head.extend(self.entries.to_le_bytes());
        head.extend(self.body);
        head.extend(self.infos);
        head.resize(head.len().next_multiple_of(32), 0);
        Content::Headed { size: head.len() as u64 + self.data, head: Bytes::from(head), seed }
    }
}
