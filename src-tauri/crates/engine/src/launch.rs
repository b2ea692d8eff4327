//! A launch: everything an engine needs to start one agent, as plain data.

use std::collections::BTreeMap;
use std::path::PathBuf;

use domain::AgentName;
use domain::secret::Secret;

use crate::backend::flags::Fallback;

/// Who this Asgard is, so that equal labels of another instance are foreign.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// 16 hex digits, derived from machine id, user id and the data folder's path: it survives the folder's deletion.
    pub instance: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mount {
    pub source: PathBuf,
    pub target: String,
    pub read_only: bool,
}

/// What runs: an image, or a program of this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Program {
    Image {
        image: String,
        /// Devices of the host, "/dev/kfd".
        devices: Vec<String>,
        /// Numeric group ids of the host: names would be looked up in the container's own group file.
        groups: Vec<u32>,
        mounts: Vec<Mount>,
        host_ipc: bool,
        /// Bytes of /dev/shm with private IPC.
        shm_bytes: u64,
        seccomp_unconfined: bool,
        /// What is run in place of the image's own entry point; none leaves that as it is.
        entrypoint: Option<Vec<String>>,
        /// NVIDIA cards, by number, which the engine hands in with their driver; empty is all of them, none is none.
        nvidia: Option<Vec<String>>,
        /// What is passed where the server in the image lacks a flag.
        fallbacks: Vec<Fallback>,
    },
    Local {
        /// The program and the arguments that come before the backend's own.
        command: Vec<String>,
        log_file: PathBuf,
    },
}

#[derive(Debug, Clone, PartialEq)]
pub struct Launch {
    pub identity: Identity,
    pub agent: AgentName,
    pub program: Program,
    /// The whole command line after the program: `vllm serve …` or `llama-server …` without the program's own name
    /// for `Local` programs that already are it.
    pub args: Vec<String>,
    pub env: BTreeMap<String, String>,
    /// The name of the variable that carries the key, and the key.
    pub key: (String, Secret),
    /// On 127.0.0.1.
    pub port: u16,
    /// The hash of the agent's part of the stack.
    pub revision: String,
    /// What it reserves, by pool id: `(device, host)` bytes.
    pub reserved: Vec<(String, u64, u64)>,
}
