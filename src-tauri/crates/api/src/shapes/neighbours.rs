//! Model servers that run on this machine and that Asgard did not start.

use serde::{Deserialize, Serialize};
use ts_rs::TS;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, TS)]
pub struct Neighbours {
    /// By port, those without one last.
    pub neighbours: Vec<Neighbour>,
}

/// A server of others, as it was found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, TS)]
pub struct Neighbour {
    /// Stays the same as long as it is the same container or process: "docker/strix-vllm_thor-1", "process/4711".
    pub id: String,
    /// The container's or the program's name.
    pub name: String,
    pub kind: NeighbourKind,
    pub server: ServerKind,
    /// Where it comes from, one line: "Compose project strix, service vllm_thor".
    pub origin: String,
    pub image: Option<String>,
    /// The command line it was started with, secrets left out.
    pub command: Vec<String>,
    pub port: Option<u16>,
    /// Where requests would go; null where it cannot be reached from here.
    pub endpoint: Option<String>,
    /// What it serves; of Ollama every model that it has.
    pub models: Vec<NeighbourModel>,
    pub memory_bytes: Option<u64>,
    pub memory_basis: MemoryBasis,
    pub running: bool,
    /// The agent of the stack whose port or model it has.
    pub agent: Option<String>,
    pub answer: Answer,
    /// What adopting does, or why it is not possible: "Thor is served by it; it is never restarted."
    pub adopt_hint: String,
    pub adopt_refused: bool,
    /// What stopping does, or why it is not possible.
    pub stop_hint: String,
    pub stop_refused: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, TS)]
pub struct NeighbourModel {
    pub name: String,
    /// On the disk, where the server tells.
    pub size_bytes: Option<u64>,
    pub loaded: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, TS)]
#[serde(rename_all = "lowercase")]
pub enum NeighbourKind {
    Container,
    Compose,
    Toolbox,
    Process,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, TS)]
pub enum ServerKind {
    #[serde(rename = "vllm")]
    Vllm,
    #[serde(rename = "llama.cpp")]
    LlamaCpp,
    #[serde(rename = "ollama")]
    Ollama,
    /// The earlier scheduler, which holds the gateway's port.
    #[serde(rename = "bifrost")]
    Bifrost,
    /// Something else that holds a port of the stack.
    #[serde(rename = "unknown")]
    Unknown,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, TS)]
#[serde(rename_all = "lowercase")]
pub enum MemoryBasis {
    Measured,
    /// What its command line says it takes.
    Declared,
    Unknown,
}

/// What the person said about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, TS)]
#[serde(rename_all = "lowercase")]
pub enum Answer {
    /// Not asked yet.
    Open,
    /// Left alone: not asked again.
    Left,
    /// Shown, routed to and counted; never restarted.
    Adopted,
    /// Stopped by Asgard; it can be started again.
    Stopped,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, TS)]
pub struct NeighbourRequest {
    pub id: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, TS)]
pub struct AdoptRequest {
    pub id: String,
    /// The agent that it serves from now on; null for the one whose place it holds, or a guest of its own.
    pub agent: Option<String>,
    /// Of a server with several models (Ollama), the one that is meant.
    pub model: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, TS)]
pub struct StopNeighbourRequest {
    pub id: String,
    /// Start the agent whose place it held.
    pub take_place: bool,
}
