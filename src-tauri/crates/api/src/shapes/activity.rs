//! What happened.

use serde::{Deserialize, Serialize};
use ts_rs::TS;

use super::status::Severity;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, TS)]
pub struct EventsRequest {
    pub limit: u32,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, TS)]
pub struct Events {
    pub events: Vec<Event>,
}

/// "Odin ready in 38 s", at a time, about an agent or none.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, TS)]
pub struct Event {
    pub time: String,
    pub severity: Severity,
    pub agent: Option<String>,
    pub message: String,
}
