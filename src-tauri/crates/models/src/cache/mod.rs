//! The Hugging Face cache in its standard layout:
//! `models--org--name/{blobs/<etag>, refs/<revision>, snapshots/<commit>/<path> → ../../blobs/<etag>}`.
//!
//! [`presence`] answers quickly whether one model can be loaded; [`scan`] looks at everything, [`installed`] makes
//! models of it, [`remove`], [`verify`] and [`import`] change it or read it as a whole.
//!
//! Every file of it may have been put there by somebody else: nothing is deleted through a link, and nothing outside of
//! it at all.

mod busy;
mod card;
mod folder;
mod import;
mod installed;
mod layout;
mod marks;
mod owner;
mod presence;
mod remove;
mod scan;
mod shared;
#[cfg(test)]
mod tests;
mod verify;

pub use card::{Card, card};
pub use import::{ImportError, Imported, import};
pub use installed::{Installed, installed};
pub use layout::{BadId, fetch_command, folder_name, is_repo_path};
pub use marks::Marks;
pub use owner::{Foreign, User, quoted};
pub use presence::{Presence, gguf_path, has_model};
pub use remove::{Removal, RemoveError, Removed, removal, remove};
pub use scan::{Blob, Bounds, Entry, Inode, Repo, Scan, Snapshot, scan};
pub use verify::{Hashing, Stamp, Verified, stamps, verify};

/// What Asgard keeps in a repository's folder for itself: unfinished downloads and imports.
const OURS: &str = ".asgard";

/// The size of files for a person, in units of 10⁹ as model hosts count them: "19.2 GB", "420 MB".
pub fn size(bytes: u64) -> String {
    match bytes {
        0..10_000_000 => format!("{:.1}\u{a0}MB", bytes as f64 / 1e6),
        10_000_000..1_000_000_000 => format!("{:.0}\u{a0}MB", bytes as f64 / 1e6),
        _ => format!("{:.1}\u{a0}GB", bytes as f64 / 1e9),
    }
}
