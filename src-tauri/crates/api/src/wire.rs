//! The control socket's lines.
//!
//! Client to controller: `{"id": 7, "cmd": "switch", "payload": {"profile": "odin"}}`; `{"id": 7, "cancel": true}`
//! ends a stream. Controller to client: `{"id": 7, "ok": …}` or `{"id": 7, "error": …}` once; for a stream
//! `{"id": 7, "chunk": …}` any number of times, then `{"id": 7, "ok": {}}` or an error. Many may be under way at once.
//! A client that goes away ends its streams; it does not undo what it asked for.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::error::ApiError;

/// The longest line that is taken: a conversation's message with a large paste in it.
pub const MAX_LINE: usize = 16 << 20;

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Call {
    pub id: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cmd: Option<String>,
    #[serde(default)]
    pub payload: Value,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub cancel: bool,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Reply {
    pub id: u64,
    #[serde(flatten)]
    pub body: Body,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Body {
    Ok(Value),
    Chunk(Value),
    Error(ApiError),
}
