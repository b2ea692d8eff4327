//! The ways to have a model of a repository, from its list of files: all of its safetensors as one, each GGUF
//! quantisation with all of its parts.
//!
//! Pure. What a server does not read is left out: the same weights in another format, other folders, pictures. Names
//! were checked when the list was read ([`crate::hub::Tree`]).

mod choose;
mod gguf;
mod glob;
mod weights;

#[cfg(test)]
mod tests;

use std::collections::BTreeSet;

use domain::stack::BackendKind;

use crate::download::LARGEST;
use crate::hub::{Refusal, RepoFile, Tree};

pub use choose::{Chosen, NotChosen, files_for};
pub use weights::is_index;

/// The id of a repository of safetensors taken as one.
pub const ALL: &str = "all";

/// One way to have the model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RepoVariant {
    /// [`ALL`], or the GGUF's own word, "Q4_K_M". Unique in its repository.
    pub id: String,
    /// None: nothing here runs it.
    pub backend: Option<BackendKind>,
    /// What an agent's `model` would say: the repository, or OWNER/NAME/FILE.gguf.
    pub model: String,
    /// What is fetched, in the repository's order.
    pub files: Vec<RepoFile>,
    /// Of those, the paths of the weights; of a split one the first part first.
    pub weights: Vec<String>,
    /// Why it cannot be fetched at all.
    pub refused: Option<Unfit>,
}

impl RepoVariant {
    pub fn download_bytes(&self) -> u64 {
        self.files.iter().map(|f| f.size).fold(0, u64::saturating_add)
    }

    /// Bytes of the weights, as files.
    pub fn weights_bytes(&self) -> u64 {
        let own: BTreeSet<&String> = self.weights.iter().collect();
        self.files.iter().filter(|f| own.contains(&f.path)).map(|f| f.size).fold(0, u64::saturating_add)
    }
}

/// Why a variant cannot be fetched.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unfit {
    #[error("{file} has {} GB, and the Hub gives files above 50 GB through Xet alone.", .size / 1_000_000_000)]
    TooLarge {
        file: String,
        /// Bytes.
        size: u64,
        /// The id of another variant of the repository that can be had and is nearest to it.
        instead: Option<String>,
    },
    #[error("The repository names a file {path:?} that is not taken: {why}.")]
    Hostile { path: String, why: Refusal },
    #[error("The repository has not all of its {parts} parts.")]
    Parts { parts: u32 },
}

impl Unfit {
    pub fn next(&self) -> String {
        match self {
            Self::TooLarge { instead: Some(id), .. } => {
                format!("Choose {id}, or one that is split into parts.")
            }
            Self::TooLarge { .. } => {
                "Choose a repository that has it split into parts, or a smaller quantisation.".to_owned()
            }
            Self::Hostile { .. } | Self::Parts { .. } => "Choose another repository.".to_owned(),
        }
    }
}

/// Every variant of `repo`. `index` is the text of its safetensors index, where it has one and it was fetched
/// ([`is_index`]): then its weights are those that the index names.
pub fn variants(repo: &str, tree: &Tree, index: Option<&[u8]>) -> Vec<RepoVariant> {
    let mut all: Vec<RepoVariant> = gguf::variants(repo, tree);
    if let Some(whole) = weights::variant(repo, tree, index, all.is_empty()) {
        all.insert(0, whole);
    }
    // What could be had instead of one that is too large: the largest that is smaller than it.
    let fine: Vec<(String, u64)> = all
        .iter()
        .filter(|v| v.refused.is_none() && v.backend.is_some())
        .map(|v| (v.id.clone(), v.download_bytes()))
        .collect();
    for variant in &mut all {
        let own = variant.download_bytes();
        if let Some(Unfit::TooLarge { instead, .. }) = &mut variant.refused {
            let nearest = fine.iter().filter(|(_, bytes)| *bytes <= own).max_by_key(|(_, bytes)| *bytes);
            *instead = nearest.map(|(id, _)| id.clone());
        }
    }
    all
}

/// The first of `files` that plain HTTP does not give.
fn too_large<'a>(files: impl IntoIterator<Item = &'a RepoFile>) -> Option<Unfit> {
    let large = files.into_iter().find(|f| f.size > LARGEST)?;
    Some(Unfit::TooLarge { file: large.path.clone(), size: large.size, instead: None })
}

/// The last part of a path.
fn name(path: &str) -> &str {
    path.rsplit_once('/').map_or(path, |(_, name)| name)
}

/// Texts that go with whatever is fetched: what the model may be used for is kept beside it.
fn is_about(path: &str) -> bool {
    let lower = path.to_ascii_lowercase();
    let begins = |word: &str| lower.starts_with(word);
    !path.contains('/') && (begins("readme") || begins("licen") || begins("notice") || begins("use_policy"))
}
