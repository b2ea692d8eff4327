//! The Hugging Face cache in its standard layout:
//! `models--org--name/{blobs/<etag>, refs/<revision>, snapshots/<commit>/<path> → ../../blobs/<etag>}`.

mod layout;
mod presence;

pub use layout::{BadId, fetch_command, folder_name, is_repo_path};
pub use presence::{Presence, gguf_path, has_model};
