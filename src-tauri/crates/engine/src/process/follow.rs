//! Reading a log file: its end, or all of it as it grows.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::inotify;
use tokio::io::unix::AsyncFd;
use tokio::sync::mpsc;

use super::run::waitable;
use crate::lines::{self, Lines};

/// No tail reads more: 500 lines are far below it.
const TAIL: u64 = 2 << 20;

/// The last `count` lines of the file; none if there is no file.
pub(super) fn tail(path: &Path, count: usize) -> io::Result<Vec<String>> {
    let mut file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let length = file.metadata()?.len();
    let start = length.saturating_sub(TAIL);
    file.seek(SeekFrom::Start(start))?;
    let mut bytes = Vec::new();
    file.take(TAIL).read_to_end(&mut bytes)?;
    let mut all = lines::all(&bytes);
    if start > 0 && !all.is_empty() {
        // The first of them was cut.
        all.remove(0);
    }
    Ok(lines::last(all, count))
}

/// Sends every line of the file from its start, and goes on as it grows, until `ended` (a process handle) says that
/// nobody writes any more. Without a handle what is there is sent and that is all.
pub(super) async fn follow(path: &Path, ended: Option<OwnedFd>, to: mpsc::Sender<String>) -> io::Result<()> {
    let mut file = File::open(path)?;
    let watch = inotify::init(inotify::CreateFlags::CLOEXEC | inotify::CreateFlags::NONBLOCK)?;
    inotify::add_watch(&watch, path, inotify::WatchFlags::MODIFY)?;
    let watch = waitable(watch)?;
    let ended = ended.map(waitable).transpose()?;
    let mut over = ended.is_none();
    let mut cut = Lines::default();
    let mut buffer = vec![0; 64 * 1024];
    loop {
        // All that is there, then wait. Whether the writer had ended is looked at before reading, so that its last
        // words are not missed.
        loop {
            let count = file.read(&mut buffer)?;
            let mut out = Vec::new();
            cut.take(buffer.get(..count).unwrap_or_default(), &mut out);
            for line in out {
                if to.send(line).await.is_err() {
                    return Ok(());
                }
            }
            if count == 0 {
                break;
            }
        }
        if over {
            if let Some(line) = cut.finish() {
                let _ = to.send(line).await;
            }
            return Ok(());
        }
        tokio::select! {
            grown = watch.readable() => {
                let mut grown = grown?;
                drain(watch.get_ref());
                grown.clear_ready();
            }
            () = until(ended.as_ref()) => over = true,
            () = to.closed() => return Ok(()),
        }
    }
}

async fn until(handle: Option<&AsyncFd<OwnedFd>>) {
    match handle {
        Some(handle) => drop(handle.readable().await),
        None => std::future::pending().await,
    }
}

fn drain(watch: &OwnedFd) {
    let mut space = [MaybeUninit::uninit(); 1024];
    let mut reader = inotify::Reader::new(watch, &mut space);
    while reader.next().is_ok() {}
}
