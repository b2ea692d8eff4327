//! The thread that writes what arrives.
//!
//! One for each download: writers of one file would only wait for one another, and those who receive must not wait for
//! a disk. What it has been handed and not written yet is bounded in bytes.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::mpsc as std_mpsc;
use std::sync::{Arc, OnceLock};
use std::thread;

use bytes::Bytes;
use domain::download::Span;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};

use super::follow::Follow;
use super::part::Part;

/// Bytes that have arrived and are not written yet: one permit is one of 1024.
const ROOM: u32 = 12 << 10;
/// What is written between two looks at what is claimed.
const BATCH: usize = 64;

pub(crate) enum Order {
    Write {
        part: Arc<Part>,
        at: u64,
        bytes: Bytes,
        _room: OwnedSemaphorePermit,
    },
    /// Answered when everything before it is written and claimed.
    Mark(oneshot::Sender<Result<(), Broken>>),
}

/// Writing failed, and nothing more is written.
#[derive(Debug, Clone)]
pub(crate) struct Broken {
    pub(crate) path: std::path::PathBuf,
    pub(crate) errno: Option<i32>,
    pub(crate) why: String,
}

impl Broken {
    pub(crate) fn of(path: &std::path::Path, error: &io::Error) -> Self {
        Self { path: path.to_path_buf(), errno: error.raw_os_error(), why: error.to_string() }
    }

    pub(crate) fn error(&self) -> io::Error {
        self.errno.map_or_else(|| io::Error::other(self.why.clone()), io::Error::from_raw_os_error)
    }
}

/// The way to the writing thread; it ends when the last of these is gone.
#[derive(Clone)]
pub(crate) struct Writer {
    orders: mpsc::UnboundedSender<Order>,
    room: Arc<Semaphore>,
    /// Why nothing is written any more: nobody is to go on receiving for a disk that is full.
    broken: Arc<OnceLock<Broken>>,
}

impl Writer {
    /// `follow` is told of what has landed.
    pub(crate) fn start(follow: std_mpsc::Sender<Follow>) -> io::Result<Self> {
        let (orders, inbox) = mpsc::unbounded_channel();
        let broken = Arc::new(OnceLock::new());
        let shared = broken.clone();
        thread::Builder::new()
            .name("download-write".to_owned())
            .spawn(move || run(inbox, &follow, &shared))?;
        Ok(Self { orders, room: Arc::new(Semaphore::new(ROOM as usize)), broken })
    }

    /// Waits until there is room. An error where an earlier write failed, of whatever part.
    pub(crate) async fn write(&self, part: &Arc<Part>, at: u64, bytes: Bytes) -> Result<(), Broken> {
        let gone = || Broken { path: part.path.clone(), errno: None, why: "writing has stopped".to_owned() };
        let permits = u32::try_from(bytes.len().div_ceil(1024)).unwrap_or(ROOM).clamp(1, ROOM);
        let room = self.room.clone().acquire_many_owned(permits).await.map_err(|_| gone())?;
        if let Some(broken) = self.broken.get() {
            return Err(broken.clone());
        }
        self.orders.send(Order::Write { part: part.clone(), at, bytes, _room: room }).map_err(|_| gone())
    }

    /// Waits until everything that was handed over is written and claimed.
    pub(crate) async fn mark(&self, part: &Part) -> Result<(), Broken> {
        let gone = || Broken { path: part.path.clone(), errno: None, why: "writing has stopped".to_owned() };
        let (done, told) = oneshot::channel();
        self.orders.send(Order::Mark(done)).map_err(|_| gone())?;
        told.await.map_err(|_| gone())?
    }
}

fn run(
    mut inbox: mpsc::UnboundedReceiver<Order>,
    follow: &std_mpsc::Sender<Follow>,
    broken: &OnceLock<Broken>,
) {
    let mut landed: Vec<(Arc<Part>, Vec<Span>)> = Vec::new();
    while let Some(first) = inbox.blocking_recv() {
        let mut marks = Vec::new();
        let mut next = Some(first);
        let mut count = 0;
        while let Some(order) = next.take() {
            match order {
                Order::Write { part, at, bytes, .. } if broken.get().is_none() => {
                    match write(&part.data, at, &bytes) {
                        Ok(()) => add(&mut landed, &part, Span::new(at, at + bytes.len() as u64)),
                        Err(e) => {
                            broken.get_or_init(|| Broken::of(&part.path, &e));
                        }
                    }
                }
                Order::Write { .. } => {}
                Order::Mark(done) => marks.push(done),
            }
            count += 1;
            if count < BATCH {
                next = inbox.try_recv().ok();
            }
        }
        for (part, spans) in landed.drain(..) {
            if let Err(e) = part.claim(&spans) {
                broken.get_or_init(|| Broken::of(&part.path, &e));
            }
        }
        // Who follows may be gone at the end; then nobody needs to be told.
        let _ = follow.send(Follow::Look);
        for done in marks {
            let _ = done.send(broken.get().cloned().map_or(Ok(()), Err));
        }
    }
}

fn write(data: &File, at: u64, bytes: &[u8]) -> io::Result<()> {
    data.write_all_at(bytes, at)
}

/// Spans of one connection follow one another; they become one.
fn add(landed: &mut Vec<(Arc<Part>, Vec<Span>)>, part: &Arc<Part>, span: Span) {
    let Some((_, spans)) = landed.iter_mut().find(|(p, _)| Arc::ptr_eq(p, part)) else {
        landed.push((part.clone(), vec![span]));
        return;
    };
    match spans.iter_mut().find(|s| s.end == span.start) {
        Some(before) => before.end = span.end,
        None => spans.push(span),
    }
}
