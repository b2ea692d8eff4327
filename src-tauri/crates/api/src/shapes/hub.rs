//! The Hub: what it has, what of that would run here, and the account.

use serde::{Deserialize, Serialize};
use ts_rs::TS;

use super::downloads::Remedy;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, TS)]
#[serde(rename_all = "snake_case")]
pub enum SearchSort {
    #[default]
    Trending,
    Downloads,
    Likes,
    Updated,
}

#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, TS)]
pub struct SearchRequest {
    pub text: String,
    /// "vllm" or "llama.cpp"; both where null.
    pub backend: Option<String>,
    /// "awq", "gptq", "gguf", "bf16", …; any where null.
    pub quantization: Option<String>,
    /// Only what is not known to fail on this machine's GPU.
    pub works_here: bool,
    /// Only what fits beside a profile or alone.
    pub fits: bool,
    pub open_licence: bool,
    pub sort: SearchSort,
    /// Of the page before; null for the first.
    pub cursor: Option<String>,
}

/// First one page, then each of its models again as soon as its files were looked at.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, TS)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum SearchChunk {
    Page {
        models: Vec<HubModel>,
        /// For the next page; null at the end.
        cursor: Option<String>,
        /// What it is checked for: "gfx1151". Null where the GPU is not one that something is known of.
        checked_for: Option<String>,
        /// Where it comes from: "Hugging Face", or the mirror's host.
        from: String,
    },
    /// Takes the place of the one with the same `repo`.
    Model { model: Box<HubModel> },
}

/// The models that ship with Asgard's presets, known without a network.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, TS)]
pub struct CuratedModels {
    pub models: Vec<HubModel>,
    pub checked_for: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, TS)]
#[serde(rename_all = "snake_case")]
pub enum Gate {
    #[default]
    Open,
    /// Access is given at once to who accepts the licence.
    Auto,
    /// A person of the publisher decides.
    Manual,
}

/// A repository of the Hub. Every text in it was written by strangers.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, TS)]
pub struct HubModel {
    /// "Qwen/Qwen2.5-14B-Instruct-AWQ".
    pub repo: String,
    /// For a person: "Qwen2.5 14B Instruct".
    pub title: String,
    /// One sentence of ours on what it is: "Mixture of experts, 3B active. Long context, fast for its size."
    pub summary: String,
    /// As the Hub has it: "apache-2.0".
    pub licence: Option<String>,
    /// "Apache 2.0".
    pub licence_title: Option<String>,
    pub open_licence: Option<bool>,
    pub gated: Gate,
    pub private: bool,
    pub downloads: Option<u64>,
    pub likes: Option<u64>,
    /// RFC 3339.
    pub last_modified: Option<String>,
    /// Presets that name it, and their agents: "strix-halo: Thor and Frigga".
    pub curated_for: Vec<String>,
    /// Pinned when it was resolved; null before.
    pub commit: Option<String>,
    /// Whether the files were looked at; before that `variants` is empty, or what is known of a curated one.
    pub detailed: bool,
    pub variants: Vec<Variant>,
    /// The id of the variant that suits this machine best; null where none runs here.
    pub best: Option<String>,
    /// Whether the request's filters let it through; null until the files were looked at.
    pub matches: Option<bool>,
    /// Why the files could not be looked at, and what helps.
    pub problem: Option<HubProblem>,
}

/// One of the ways to have a model: all of a repository of safetensors, or one GGUF (with all its parts) of many.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, TS)]
pub struct Variant {
    /// "all", or the GGUF's own word: "Q4_K_M". Unique in its repository.
    pub id: String,
    /// "AWQ 4-bit", "Q4_K_M".
    pub title: String,
    /// "vllm" or "llama.cpp"; null: nothing here runs it.
    pub backend: Option<String>,
    pub quantization: Option<String>,
    /// What an agent's `model` would say: the repository, or OWNER/NAME/FILE.gguf.
    pub model: String,
    /// Paths in the repository, those that are fetched.
    pub files: Vec<String>,
    pub download_bytes: u64,
    /// All that it takes of memory at `context` and one sequence; null where it is not known.
    pub memory_bytes: Option<u64>,
    pub weights_bytes: Option<u64>,
    /// Tokens that `memory_bytes` is for.
    pub context: Option<u32>,
    pub max_context: Option<u32>,
    /// All of them, and those that a token goes through.
    pub parameters: Option<u64>,
    pub active_parameters: Option<u64>,
    /// Memory bandwidth over active bytes: an estimate, an upper bound. Null where either is not known.
    pub tokens_per_second: Option<f64>,
    pub fit: Fit,
    /// What is known not to work with it on this GPU.
    pub troubles: Vec<Trouble>,
    /// Why it cannot be fetched at all, and what to choose instead: a file over 50 GB, a hostile path.
    pub refused: Option<HubProblem>,
    /// All its files are in the cache.
    pub installed: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, TS)]
#[serde(rename_all = "snake_case")]
pub enum FitKind {
    /// Beside one profile at least.
    Fits,
    /// Beside one profile at least, with a shorter context than asked for.
    LessContext,
    /// Only in place of somebody.
    Alone,
    Never,
    #[default]
    Unknown,
}

#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, TS)]
pub struct Fit {
    pub kind: FitKind,
    /// "Fits beside standard and heimdall", "Too large for every profile, by 5.4 GB or more".
    pub words: String,
    /// In the stack's order, at last alone (`profile` null).
    pub profiles: Vec<ProfileFit>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, TS)]
#[serde(rename_all = "snake_case")]
pub enum ProfileFitKind {
    /// An agent of the profile runs it.
    InProfile,
    Fits,
    LessContext,
    No,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, TS)]
pub struct ProfileFit {
    /// Null: with nobody else awake.
    pub profile: Option<String>,
    pub kind: ProfileFitKind,
    /// The longest context that fits, in tokens, at one sequence; null where none does.
    pub context: Option<u32>,
    /// Bytes left at the peak where it fits, bytes short (negative) where it does not.
    pub spare_bytes: Option<i64>,
    /// "7.6 GB to spare", "42.4 GB short".
    pub reason: String,
}

/// "FP8 weights crash on gfx1151."
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, TS)]
pub struct Trouble {
    /// "crashes", "loses accuracy", "is slow", …
    pub verdict: String,
    /// Whether it is known not to run at all.
    pub fatal: bool,
    pub message: String,
    pub source: String,
    pub date: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, TS)]
pub struct RepoRequest {
    pub repo: String,
    /// "main" where null.
    pub revision: Option<String>,
}

/// One repository, looked at.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, TS)]
pub struct ModelInfo {
    pub model: HubModel,
    /// At most 2,000 of them, in the repository's order.
    pub files: Vec<RepoFile>,
    pub file_count: u64,
    pub total_bytes: u64,
    /// The model card's text, at most 100,000 characters; hostile.
    pub card: Option<String>,
    /// Its page, for a browser.
    pub page: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, TS)]
pub struct RepoFile {
    pub path: String,
    pub bytes: u64,
    /// Null where the Hub has only the git hash.
    pub sha256: Option<String>,
}

/// Why something of the Hub is not to be had.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, TS)]
pub struct HubProblem {
    pub message: String,
    pub next: String,
    pub remedy: Option<Remedy>,
    /// The page that helps: where the licence is accepted, or access is asked for.
    pub page: Option<String>,
}

/// The Hub's account, never its token.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, TS)]
pub struct HubAccount {
    /// "https://huggingface.co".
    pub endpoint: String,
    /// Where the token is; null where there is none.
    pub token: Option<TokenPlace>,
    /// Whose token it is, as the Hub said last.
    pub user: Option<String>,
    /// "read", "write", "fine-grained".
    pub role: Option<String>,
    /// RFC 3339.
    pub checked: Option<String>,
    pub problem: Option<HubProblem>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, TS)]
#[serde(rename_all = "snake_case")]
pub enum TokenPlace {
    Keyring,
    /// Asgard's own file of mode 0600.
    File,
    /// `HF_TOKEN`.
    Environment,
    /// The file that the Hub's own client wrote (`HF_TOKEN_PATH`).
    ClientFile,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, TS)]
pub struct TokenRequest {
    pub token: TokenText,
}

/// A token on its way from a face to the controller: it travels, and does not print.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, TS)]

pub struct TokenText(pub String);

impl std::fmt::Debug for TokenText {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("TokenText(****)")
    }
}
