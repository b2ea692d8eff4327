//! Model servers that somebody else started: recognised, stopped and started again when a person says so, never
//! removed.
//!
//! Looking is passive: labels, images, ports and command lines. Nothing here is done to one that nobody asked about.

pub(crate) mod here;
pub(crate) mod recognise;

use domain::secret::Secret;
use domain::server_line::ServerLine;

pub use here::{processes, start_process, stop_process};

/// What serves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Vllm,
    LlamaCpp,
    Ollama,
    /// The earlier scheduler of strix-opencode, which holds the gateway's port.
    Bifrost,
    /// Not a model server as far as can be told, but it holds a port that the stack wants.
    Unknown,
}

/// Where it lives, and how it is found again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    Container {
        /// The engine's own id.
        id: String,
        image: String,
        /// `com.docker.compose.project` and `com.docker.compose.service` (Podman's spellings too).
        project: Option<String>,
        service: Option<String>,
        /// A toolbox or distrobox container: a person works in it.
        toolbox: bool,
    },
    Process {
        pid: u32,
        /// In ticks since boot: with the pid it names one process for ever.
        started: u64,
        /// The systemd unit that would start it again, "ollama.service".
        unit: Option<String>,
        /// Whether it is this user's, so that it can be stopped.
        own: bool,
        /// To start it again: its working folder.
        folder: Option<std::path::PathBuf>,
    },
}

/// One server of others.
#[derive(Debug, Clone, PartialEq)]
pub struct Neighbour {
    /// Stable while it is the same container or process: "docker/NAME", "process/PID-STARTED".
    pub id: String,
    /// The container's or the program's name.
    pub name: String,
    /// The engine's id: "docker", "podman", "process".
    pub engine: String,
    pub kind: Kind,
    pub place: Place,
    /// Program and arguments, as started.
    pub command: Vec<String>,
    /// What the command line says, where it is a model server's.
    pub line: ServerLine,
    /// The port on this machine where it is reached.
    pub port: Option<u16>,
    /// "http://127.0.0.1:8001"; none where it is not published here.
    pub endpoint: Option<String>,
    /// From its command line or environment, so that requests can be passed on.
    pub key: Secret,
    pub running: bool,
    pub pids: Vec<u32>,
}
