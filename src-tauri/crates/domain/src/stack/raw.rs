//! The stack file exactly as written. Nothing is checked here but the shape; see [`super::resolve`].

use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;

use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

/// A table whose order is the file's: "the first in the stack file" has a meaning.
#[derive(Debug, Clone, PartialEq)]
pub struct Ordered<T>(pub Vec<(String, T)>);

impl<T> Default for Ordered<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Ordered<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Entries<T>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for Entries<T> {
            type Value = Ordered<T>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a table")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut entries = Vec::new();
                while let Some(entry) = map.next_entry()? {
                    entries.push(entry);
                }
                Ok(Ordered(entries))
            }
        }
        deserializer.deserialize_map(Entries(PhantomData))
    }
}

/// A size as the file gives it: `"12 GB"`, `"512 MB"`, `"1.5 GiB"`, or bytes. 1 GB of memory = 2^30 bytes.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(untagged)]
pub enum RawSize {
    Text(String),
    Bytes(i64),
}

/// A time as the file gives it: `"20 min"`, `"90 s"`, `"1 h"`, or seconds.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(untagged)]
pub enum RawTime {
    Text(String),
    Seconds(i64),
}

/// One limit, or one for each pool.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(untagged)]
pub enum RawLimit {
    One(RawSize),
    ByPool(BTreeMap<String, RawSize>),
}

#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawStack {
    pub version: Option<i64>,
    pub name: Option<String>,
    pub base: Option<String>,
    #[serde(default)]
    pub conflicts: Vec<Vec<String>>,
    #[serde(default)]
    pub memory: RawMemory,
    #[serde(default)]
    pub agents: Ordered<RawAgent>,
    #[serde(default)]
    pub profiles: Ordered<RawProfile>,
    #[serde(default)]
    pub gateway: RawGateway,
}

#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawMemory {
    pub limit: Option<RawLimit>,
}

#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawProfile {
    #[serde(default)]
    pub agents: Vec<String>,
}

/// Integers are signed here so that "-4096" is a problem with a place and a sentence, not a type error.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawAgent {
    pub name: Option<String>,
    pub title: Option<String>,
    pub role: Option<String>,
    pub tier: Option<String>,
    pub backend: Option<String>,
    /// `container`, `process` or `external`; left out, it follows from `image`, `command` and `endpoint`.
    pub engine: Option<String>,
    pub command: Option<Vec<String>>,
    pub endpoint: Option<String>,
    pub model: Option<String>,
    pub revision: Option<String>,
    pub image: Option<String>,
    pub host_ipc: Option<bool>,
    pub port: Option<i64>,
    pub context: Option<i64>,
    pub sequences: Option<i64>,
    pub weights: Option<RawSize>,
    pub overhead: Option<RawSize>,
    pub kv_cache: Option<RawSize>,
    pub memory: Option<RawSize>,
    pub share: Option<f64>,
    pub dtype: Option<String>,
    pub quantization: Option<String>,
    pub kv_dtype: Option<String>,
    pub tensor_parallel: Option<i64>,
    pub devices: Option<Vec<String>>,
    pub tool_parser: Option<String>,
    pub draft_model: Option<String>,
    pub draft_tokens: Option<i64>,
    pub batched_tokens: Option<i64>,
    pub prefix_caching: Option<bool>,
    pub eager: Option<bool>,
    pub attention_backend: Option<String>,
    pub gpu_layers: Option<i64>,
    pub load_mode: Option<String>,
    pub cache_ram: Option<RawSize>,
    pub args: Option<Vec<String>>,
    pub env: Option<BTreeMap<String, String>>,
    pub ttl: Option<RawTime>,
    pub drain: Option<RawTime>,
    pub load_timeout: Option<RawTime>,
    pub request_timeout: Option<RawTime>,
    pub min_residency: Option<RawTime>,
    pub pinned: Option<bool>,
    pub served_by: Option<String>,
    pub glyph: Option<String>,
    pub color: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawGateway {
    pub listen: Option<String>,
    pub max_body: Option<RawSize>,
    pub hosts: Option<Vec<String>>,
    pub wake: Option<bool>,
    pub hold: Option<bool>,
    pub queue_limit: Option<i64>,
    pub max_streams: Option<i64>,
    pub odin_ttl: Option<RawTime>,
    pub odin_cooldown: Option<RawTime>,
    pub session_budget_odin: Option<i64>,
    pub session_budget_utility: Option<i64>,
    pub health_timeout: Option<RawTime>,
    #[serde(default)]
    pub keys: Ordered<RawKey>,
}

/// A tool's key, by its name. The secret itself is never in the file.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawKey {
    pub agents: Option<Vec<String>>,
}
