//! Container images: what is there, which version, whether a newer one is offered.

use serde::{Deserialize, Serialize};
use ts_rs::TS;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, TS)]
pub struct Images {
    pub images: Vec<Image>,
    /// Free where the engine keeps its images.
    pub free_bytes: Option<u64>,
    /// Why nothing can be said, if so.
    pub error: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, TS)]
pub struct Image {
    /// As the stack writes it, or the tag of an image that no agent uses.
    pub reference: String,
    /// The digest that agents are started with, "sha256:…"; null until it was pulled once.
    pub digest: Option<String>,
    /// "vLLM 0.32.0", read once from the image itself.
    pub version: Option<String>,
    pub size_bytes: Option<u64>,
    /// RFC 3339: when this digest was written down.
    pub since: Option<String>,
    /// Agents of the stack that use it; empty for an unused one.
    pub used_by: Vec<String>,
    pub present: bool,
    /// A newer digest under the same tag, as found at `checked`.
    pub newer: Option<String>,
    pub checked: Option<String>,
    /// The digest before the last change; it can be taken again.
    pub previous: Option<String>,
    /// One line: what became of the last check or trial.
    pub detail: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, TS)]
pub struct ImageRequest {
    pub reference: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, TS)]
pub struct TryImageRequest {
    pub reference: String,
    /// The one agent that it is tried on.
    pub agent: String,
}
