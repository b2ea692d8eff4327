//! The thread that hashes what has landed, in the order of the file, behind the front.
//!
//! What it reads was written a moment ago and comes from memory. Its state is written down now and then, so that a
//! later life hashes only what lies past that; when the last byte lands, only the last few are left to hash.

use std::io;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, Sender, TryRecvError, channel};
use std::thread;

use tokio::sync::mpsc::UnboundedSender;

use super::digest::Digest;
use super::part::Part;

const PIECE: usize = 1 << 20;
/// The state is written down after so many bytes.
const CHECKPOINT: u64 = 64 << 20;

pub(crate) enum Follow {
    /// From where the digest stands.
    Begin { job: usize, part: Arc<Part>, digest: Digest },
    /// Something may have landed.
    Look,
    /// Not this one any more.
    Leave { job: usize },
}

/// A whole file's hash in hexadecimal, or why it cannot be read.
pub(crate) struct Hashed {
    pub(crate) job: usize,
    pub(crate) hash: io::Result<String>,
}

struct One {
    job: usize,
    part: Arc<Part>,
    digest: Digest,
    written_down: u64,
}

/// It ends when all senders are gone, having written down where it stands.
pub(crate) fn start(told: UnboundedSender<Hashed>) -> io::Result<Sender<Follow>> {
    let (orders, inbox) = channel();
    thread::Builder::new().name("download-hash".to_owned()).spawn(move || run(&inbox, &told))?;
    Ok(orders)
}

fn run(inbox: &Receiver<Follow>, told: &UnboundedSender<Hashed>) {
    let mut open: Vec<One> = Vec::new();
    let mut buffer = vec![0; PIECE];
    let mut idle = true;
    loop {
        // Orders come before work, so that an end is an end.
        loop {
            let order =
                if idle { inbox.recv().map_err(|_| TryRecvError::Disconnected) } else { inbox.try_recv() };
            idle = false;
            match order {
                Ok(Follow::Begin { job, part, digest }) => {
                    part.verified.store(digest.bytes(), Ordering::Relaxed);
                    open.push(One { job, part, written_down: digest.bytes(), digest });
                }
                Ok(Follow::Look) => {}
                Ok(Follow::Leave { job }) => open.retain(|one| one.job != job),
                Err(TryRecvError::Empty) => break,
                Err(TryRecvError::Disconnected) => {
                    open.iter_mut().for_each(One::write_down);
                    return;
                }
            }
        }
        let mut worked = false;
        let mut at = 0;
        while let Some(one) = open.get_mut(at) {
            let hash = match one.step(&mut buffer) {
                Ok(Step::Idle) => None,
                Ok(Step::Worked) => {
                    worked = true;
                    None
                }
                Ok(Step::Whole) => Some(Ok(one.digest.clone().finish())),
                Err(e) => Some(Err(e)),
            };
            match hash {
                Some(hash) => {
                    let one = open.swap_remove(at);
                    let _ = told.send(Hashed { job: one.job, hash });
                }
                None => at += 1,
            }
        }
        idle = !worked;
    }
}

enum Step {
    Idle,
    Worked,
    Whole,
}

impl One {
    fn step(&mut self, buffer: &mut [u8]) -> io::Result<Step> {
        let size = self.part.size();
        let at = self.digest.bytes();
        if at >= size {
            return Ok(Step::Whole);
        }
        let there = self.part.front().saturating_sub(at);
        if there == 0 {
            return Ok(Step::Idle);
        }
        let length = usize::try_from(there).unwrap_or(usize::MAX).min(buffer.len());
        let piece = buffer.get_mut(..length).unwrap_or_default();
        self.part.data.read_exact_at(piece, at)?;
        self.digest.update(piece);
        self.part.verified.store(self.digest.bytes(), Ordering::Relaxed);
        if self.digest.bytes() - self.written_down >= CHECKPOINT {
            self.write_down();
        }
        if self.digest.bytes() >= size { Ok(Step::Whole) } else { Ok(Step::Worked) }
    }

    fn write_down(&mut self) {
        let Some(checkpoint) = self.digest.checkpoint().filter(|c| c.bytes > self.written_down) else {
            return;
        };
        // A disk that takes no line costs a later life some hashing; bytes that it does not take are told by who writes.
        if self.part.claim_hash(checkpoint).is_ok() {
            self.written_down = self.digest.bytes();
        }
    }
}
