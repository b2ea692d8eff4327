//! Why a download ended without its files. Each is a sentence on what happened; [`FetchError::next`] says what to do.

use std::path::PathBuf;

use crate::cache::quoted;
use crate::hub::HubError;

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FetchError {
    #[error(transparent)]
    Hub(#[from] HubError),
    #[error("{} are missing on the disk of the cache: {} are needed and {} are free.", gb(.needed.saturating_sub(*.free)), gb(*.needed), gb(*.free))]
    DiskFull {
        /// Bytes still to be written.
        needed: u64,
        free: u64,
    },
    #[error("{} cannot be written to ({why}).", path.display())]
    NotWritable {
        path: PathBuf,
        why: String,
        /// The user id that it belongs to, where that is not ours: containers that run as root leave such folders.
        owner: Option<u32>,
    },
    #[error("{file} arrived damaged twice: its hash is {got}, and it should be {expected}.")]
    Damaged { file: String, expected: String, got: String },
    #[error("{file} has {}, and the Hub gives files above {} through Xet alone.", gb(*size), gb(super::LARGEST))]
    TooLarge { file: String, size: u64 },
    #[error("The repository names a file {path:?}, which could lead out of the cache.")]
    HostilePath { path: String },
    #[error("The repository names {first:?} and {second:?}, which cannot both exist.")]
    Clash { first: String, second: String },
    /// The Hub gives something else than it listed.
    #[error("{file} is not the file that the Hub listed ({why}).")]
    Changed { file: String, why: String },
    #[error("The download was cancelled.")]
    Cancelled,
    #[error("{} failed ({why}).", path.display())]
    Io { path: PathBuf, why: String },
}

impl FetchError {
    /// What to do, in a sentence; empty where there is nothing.
    pub fn next(&self) -> String {
        match self {
            Self::Hub(e) => e.next().to_owned(),
            Self::DiskFull { needed, free } => format!(
                "Make room for {} more, then resume: what has arrived is kept.",
                gb(needed.saturating_sub(*free))
            ),
            Self::NotWritable { path, owner: Some(0), .. } => format!(
                "A container has made it as root. Give it back: sudo chown -R $(id -u):$(id -g) {}",
                quoted(&path.to_string_lossy())
            ),
            Self::NotWritable { path, .. } => {
                format!("Make {} writable, or set HF_HUB_CACHE to a folder that is.", path.display())
            }
            Self::Damaged { .. } => {
                "Try again later, or without the proxy or mirror in between: what arrived was thrown away."
                    .to_owned()
            }
            Self::TooLarge { .. } => {
                "Choose a variant that is split into several files, or a smaller quantisation.".to_owned()
            }
            Self::HostilePath { .. } | Self::Clash { .. } => "Choose another repository.".to_owned(),
            Self::Changed { .. } => "Start the download anew, so that the list is read again.".to_owned(),
            Self::Cancelled => String::new(),
            Self::Io { .. } => "Look at the disk, then try again: what has arrived is kept.".to_owned(),
        }
    }
}

/// Files are counted in units of 10⁹.
fn gb(bytes: u64) -> String {
    match bytes {
        0..10_000_000 => format!("{:.1}\u{a0}MB", bytes as f64 / 1e6),
        10_000_000..1_000_000_000 => format!("{:.0}\u{a0}MB", bytes as f64 / 1e6),
        _ => format!("{:.1}\u{a0}GB", bytes as f64 / 1e9),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_to_be_copied_into_a_shell_is_one_word_there() {
        let next = |path: &str| {
            FetchError::NotWritable { path: path.into(), why: "denied".into(), owner: Some(0) }.next()
        };
        assert!(next("/home/me/hub").ends_with("$(id -u):$(id -g) /home/me/hub"), "{}", next("/home/me/hub"));
        let hostile = next("/home/it's here; rm -rf ~");
        assert!(hostile.ends_with(r"'/home/it'\''s here; rm -rf ~'"), "{hostile}");
    }
}
