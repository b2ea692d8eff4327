//! The stack as a whole: presets, import and export, edits, and what must be confirmed before anything is started.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use ts_rs::TS;

use super::settings::StackProblem;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, TS)]
pub struct Presets {
    pub presets: Vec<Preset>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, TS)]
pub struct Preset {
    pub name: String,
    /// One sentence on what it is.
    pub summary: String,
    /// The machine it is made for: "Strix Halo, 128 GB".
    pub machine: String,
    /// The agents' names for a person.
    pub agents: Vec<String>,
    pub profiles: Vec<String>,
    /// Whether the stack in force is this one, unchanged.
    pub in_force: bool,
    /// Whether its base profile fits this machine now; null where that could not be planned.
    pub fits: Option<bool>,
    /// "Fits, 21.6 GB to spare", or why not.
    pub reason: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, TS)]
pub struct PresetRequest {
    pub name: String,
    /// Say what would be written, and write nothing.
    pub dry_run: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, TS)]
pub struct PresetUsed {
    pub name: String,
    pub path: String,
    /// Where the stack file that was there before is kept.
    pub kept: Option<String>,
    pub written: bool,
    pub text: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, TS)]
#[serde(rename_all = "lowercase")]
pub enum ImportKind {
    Compose,
    Env,
    /// A stack file of somebody else.
    Stack,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, TS)]
pub struct ImportRequest {
    pub kind: ImportKind,
    /// Whole paths.
    pub files: Vec<String>,
    pub env: Option<String>,
    /// Make it the stack; else only say what it would be.
    pub write: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, TS)]
pub struct Imported {
    /// The text of the stack file.
    pub stack: String,
    pub understood: Vec<Finding>,
    /// With the reason of each.
    pub corrected: Vec<Finding>,
    pub not_understood: Vec<Finding>,
    /// Names of secrets found; they go to the keyring or a file of mode 0600, never to the stack.
    pub secrets: Vec<String>,
    pub surface: Vec<SurfaceEntry>,
    /// What of the stack does not hold yet, if anything.
    pub problems: Vec<StackProblem>,
    /// Where it was written, and where the stack before it is kept.
    pub written: Option<String>,
    pub kept: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, TS)]
pub struct Finding {
    pub file: String,
    /// 1-based.
    pub line: Option<u32>,
    /// The agent it is about, where it is about one.
    pub agent: Option<String>,
    /// The variable, service or key: "THOR_MAX_LEN", "services.vllm_frigga.volumes".
    pub what: String,
    /// One or two sentences: what became of it, and why.
    pub message: String,
}

/// What a stack makes this machine run or reach. Shown before a stack of somebody else is started for the first time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, TS)]
pub struct SurfaceEntry {
    pub agent: String,
    pub kind: SurfaceKind,
    pub text: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, TS)]
#[serde(rename_all = "lowercase")]
pub enum SurfaceKind {
    Image,
    Command,
    Mount,
    Device,
    Argument,
    Variable,
    Endpoint,
}

/// Whether the stack in force waits for a person's word.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, TS)]
pub struct Confirmation {
    pub needed: bool,
    /// Where the stack came from: "imported from hybrid.yml".
    pub source: String,
    pub surface: Vec<SurfaceEntry>,
    /// Of what is confirmed; another surface has another hash.
    pub hash: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, TS)]
pub struct ConfirmRequest {
    pub hash: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, TS)]
#[serde(rename_all = "lowercase")]
pub enum ExportKind {
    Compose,
    Env,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, TS)]
pub struct ExportRequest {
    pub kind: ExportKind,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, TS)]
pub struct Exported {
    pub files: Vec<TextFile>,
    /// What could not be carried over, and why.
    pub notes: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, TS)]
pub struct TextFile {
    pub name: String,
    pub text: String,
}

/// The stack as an editor shows it: each key as the file has it, and what is in force.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, TS)]
pub struct StackForm {
    /// Of the text; an edit names it, so that two editors do not undo each other.
    pub hash: String,
    pub saved: bool,
    pub agents: Vec<AgentForm>,
    pub profiles: Vec<ProfileForm>,
    /// Ports that are free for a further agent, the first to propose.
    pub next_port: u16,
    /// Names of models that the machine has or that Asgard knows.
    pub models: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, TS)]
pub struct AgentForm {
    pub agent: String,
    pub display_name: String,
    /// As written in the file: text, number, flag or list of texts.
    #[ts(type = "{ [key: string]: StackValue }")]
    pub written: BTreeMap<String, Value>,
    /// What is in force where nothing is written.
    #[ts(type = "{ [key: string]: StackValue }")]
    pub defaults: BTreeMap<String, Value>,
    pub profiles: Vec<String>,
    pub claim_bytes: u64,
    pub weights_bytes: u64,
    pub kv_bytes: u64,
    pub overhead_bytes: u64,
    /// Bytes of KV cache that one more token costs, where it is known.
    pub kv_bytes_per_token: Option<u64>,
    /// The longest context of its model, where it is known.
    pub max_context: Option<u32>,
    /// What is worth knowing of its choices, from what is known of this GPU.
    pub warnings: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, TS)]
pub struct ProfileForm {
    pub name: String,
    pub agents: Vec<String>,
    pub fits: Option<bool>,
    pub reason: String,
}

/// One change of the stack file. Comments and order of everything else stay.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, TS)]
#[serde(tag = "edit", rename_all = "snake_case")]
pub enum StackEdit {
    /// A new agent at the end; an error where there is one of that name.
    AddAgent {
        agent: String,
        #[ts(type = "{ [key: string]: StackValue | null }")]
        keys: BTreeMap<String, Value>,
        profiles: Vec<String>,
    },
    /// Sets keys; null takes one away.
    ChangeAgent {
        agent: String,
        #[ts(type = "{ [key: string]: StackValue | null }")]
        keys: BTreeMap<String, Value>,
    },
    /// The same keys under another name, with a port of its own.
    DuplicateAgent {
        agent: String,
        to: String,
        port: u16,
    },
    /// Everywhere it is named: profiles, conflicts, roles.
    RenameAgent {
        agent: String,
        to: String,
    },
    RemoveAgent {
        agent: String,
    },
    /// Every agent's name once, in the new order.
    OrderAgents {
        agents: Vec<String>,
    },
    /// In which profiles an agent is.
    AgentProfiles {
        agent: String,
        profiles: Vec<String>,
    },
    /// A new profile, or other agents in one.
    PutProfile {
        profile: String,
        agents: Vec<String>,
    },
    RemoveProfile {
        profile: String,
    },
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, TS)]
pub struct EditRequest {
    /// The hash of the text that the edits were made on.
    pub hash: String,
    pub edits: Vec<StackEdit>,
    pub dry_run: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, TS)]
pub struct Edited {
    pub saved: bool,
    /// Why it was not saved.
    pub problems: Vec<StackProblem>,
    pub notes: Vec<String>,
    /// Running agents whose server must be started again for this to count.
    pub restarts: Vec<String>,
    pub profiles: Vec<ProfileForm>,
    /// Where the text before is kept, if it was saved.
    pub kept: Option<String>,
}

/// What a press of "apply" did: only agents that changed, and none under a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, TS)]
pub struct Applied {
    pub restarted: Vec<String>,
    /// In use: each is restarted when its last request has ended, as after `restart_when_idle`.
    pub busy: Vec<String>,
}
