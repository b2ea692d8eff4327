//! Which files a download fetches.

use super::{ALL, RepoVariant, Unfit, glob, variants};
use crate::download::LARGEST;
use crate::hub::{RepoFile, Tree};

/// What a download is of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chosen {
    /// None where files were named.
    pub variant: Option<String>,
    /// What an agent's `model` would say of it.
    pub model: String,
    pub files: Vec<RepoFile>,
}

/// Why there is nothing to fetch.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotChosen {
    #[error("{repo} has no variant {variant:?}.")]
    NoVariant { repo: String, variant: String, there: Vec<String> },
    #[error("{repo} has no file that is {pattern:?}.")]
    NoFile { repo: String, pattern: String },
    #[error("{repo} has no files.")]
    Nothing { repo: String },
    #[error(transparent)]
    Unfit(#[from] Unfit),
}

impl NotChosen {
    pub fn next(&self) -> String {
        match self {
            Self::NoVariant { there, .. } if there.is_empty() => "Look at its page on the Hub.".to_owned(),
            Self::NoVariant { there, .. } => format!("It has {}.", listed(there)),
            Self::NoFile { .. } => "Look at its list of files.".to_owned(),
            Self::Nothing { .. } => "Choose another repository.".to_owned(),
            Self::Unfit(unfit) => unfit.next(),
        }
    }
}

fn listed(all: &[String]) -> String {
    const MOST: usize = 20;
    let shown: Vec<&str> = all.iter().take(MOST).map(String::as_str).collect();
    let more = all.len().saturating_sub(MOST);
    let rest = if more > 0 { format!(" and {more} more") } else { String::new() };
    format!("{}{rest}", shown.join(", "))
}

/// The files that a download of `repo` fetches: those that `patterns` describe where there are any, else those of
/// `variant`. Without either: what a server needs of the repository, and of several GGUF files the one that most
/// people take; whoever knows the machine names a better one.
///
/// # Errors
/// [`NotChosen`]: what was named is not there or cannot be had.
pub fn files_for(
    repo: &str,
    tree: &Tree,
    variant: Option<&str>,
    patterns: &[String],
) -> Result<Chosen, NotChosen> {
    if tree.files.is_empty() {
        return Err(NotChosen::Nothing { repo: repo.to_owned() });
    }
    if !patterns.is_empty() {
        return named(repo, tree, patterns);
    }
    let all = variants(repo, tree, None);
    let found = match variant {
        Some(id) => all.iter().find(|v| v.id.eq_ignore_ascii_case(id)),
        None => usual(&all),
    };
    let Some(found) = found else {
        let there = all.into_iter().map(|v| v.id).collect();
        let variant = variant.unwrap_or_default().to_owned();
        return Err(NotChosen::NoVariant { repo: repo.to_owned(), variant, there });
    };
    if let Some(unfit) = &found.refused {
        return Err(unfit.clone().into());
    }
    Ok(Chosen { variant: Some(found.id.clone()), model: found.model.clone(), files: found.files.clone() })
}

/// Without any word of the person's or the machine's.
fn usual(all: &[RepoVariant]) -> Option<&RepoVariant> {
    const USUAL: [&str; 6] = ["Q4_K_M", "UD-Q4_K_XL", "Q4_K_S", "Q5_K_M", "Q4_0", "Q8_0"];
    let runs = |v: &&RepoVariant| v.backend.is_some() && v.refused.is_none();
    all.iter()
        .filter(runs)
        .find(|v| v.id == ALL)
        .or_else(|| USUAL.iter().find_map(|w| all.iter().filter(runs).find(|v| v.id == *w)))
        .or_else(|| all.iter().find(runs))
        .or_else(|| all.first())
}

fn named(repo: &str, tree: &Tree, patterns: &[String]) -> Result<Chosen, NotChosen> {
    let lone = patterns.iter().find(|p| !tree.files.iter().any(|f| glob::matches(p, &f.path)));
    if let Some(pattern) = lone {
        return Err(NotChosen::NoFile { repo: repo.to_owned(), pattern: pattern.clone() });
    }
    let wanted = |f: &&RepoFile| patterns.iter().any(|p| glob::matches(p, &f.path));
    let files: Vec<RepoFile> = tree.files.iter().filter(wanted).cloned().collect();
    if let Some(large) = files.iter().find(|f| f.size > LARGEST) {
        let unfit = Unfit::TooLarge { file: large.path.clone(), size: large.size, instead: None };
        return Err(unfit.into());
    }
    // One GGUF, with all its parts or without, is what an agent would name.
    let whole = variants(repo, tree, None)
        .into_iter()
        .find(|v| v.id != ALL && v.weights.first().is_some_and(|w| files.iter().any(|f| f.path == *w)));
    Ok(Chosen { variant: None, model: whole.map_or_else(|| repo.to_owned(), |v| v.model), files })
}
