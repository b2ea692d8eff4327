//! A request's body while it is held: in memory, and past a limit in a file that has no name.

use std::fs::Permissions;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use bytes::{Bytes, BytesMut};
use tokio::fs::File;
use tokio::io::{AsyncSeekExt, AsyncWriteExt};

/// What is held in memory at most; more goes to the file.
pub(crate) const IN_MEMORY: usize = 1 << 20;
/// How much is written at once. Also what a body in a file costs in memory.
const PIECE: usize = 256 << 10;

/// A body as it arrives.
pub(crate) enum Spool {
    Memory(Bytes, BytesMut),
    File { file: File, len: usize },
}

/// A whole body.
#[derive(Debug)]
pub(crate) enum Stored {
    Memory(Bytes),
    /// At its beginning.
    File {
        file: File,
        len: usize,
    },
}

impl Spool {
    pub(crate) fn new() -> Self {
        Self::Memory(Bytes::new(), BytesMut::new())
    }

    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Memory(first, more) => first.len() + more.len(),
            Self::File { len, .. } => *len,
        }
    }

    /// Takes the next piece of the body; `folder` is where the file is made when one is needed.
    ///
    /// # Errors
    /// What the disk says.
    pub(crate) async fn push(&mut self, piece: Bytes, folder: Option<&Path>) -> io::Result<()> {
        match self {
            // Most bodies come in one piece, which is then kept as it is.
            Self::Memory(first, more) if first.is_empty() && more.is_empty() && piece.len() <= IN_MEMORY => {
                *first = piece;
            }
            Self::Memory(first, more) if first.len() + more.len() + piece.len() <= IN_MEMORY => {
                more.extend_from_slice(&std::mem::take(first));
                more.extend_from_slice(&piece);
            }
            Self::Memory(first, more) => {
                let mut file = unnamed(folder.map(Path::to_owned)).await?;
                let len = first.len() + more.len() + piece.len();
                for part in [&first[..], &more[..], &piece[..]] {
                    file.write_all(part).await?;
                }
                *self = Self::File { file, len };
            }
            Self::File { file, len } => {
                file.write_all(&piece).await?;
                *len += piece.len();
            }
        }
        Ok(())
    }

    /// # Errors
    /// What the disk says.
    pub(crate) async fn close(self) -> io::Result<Stored> {
        match self {
            Self::Memory(first, more) if more.is_empty() => Ok(Stored::Memory(first)),
            // `first` was put in front of the others when the second came.
            Self::Memory(_, more) => Ok(Stored::Memory(more.freeze())),
            Self::File { mut file, len } => {
                file.flush().await?;
                file.rewind().await?;
                Ok(Stored::File { file, len })
            }
        }
    }
}

/// A file of mode 0600 that no folder lists, so that nothing of it is left whatever happens.
async fn unnamed(folder: Option<std::path::PathBuf>) -> io::Result<File> {
    let make = move || {
        let file = match folder {
            Some(folder) => tempfile::tempfile_in(folder),
            None => tempfile::tempfile(),
        }?;
        file.set_permissions(Permissions::from_mode(0o600))?;
        io::Result::Ok(file)
    };
    let made = tokio::task::spawn_blocking(make).await.map_err(io::Error::other)??;
    let mut file = File::from_std(made);
    file.set_max_buf_size(PIECE);
    Ok(file)
}
