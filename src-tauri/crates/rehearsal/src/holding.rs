//! The memory a stand-in holds for real, and the books about it.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use crate::journal::{Event, Journal};
use crate::report::Report;
use crate::settings::Settings;

/// Held memory is taken in blocks that the allocator maps on their own, so that giving one back really returns it.
const BLOCK: u64 = 1 << 20;

pub(crate) struct Holding {
    journal: Option<Journal>,
    report: Option<Report>,
    blocks: Mutex<Vec<Vec<u8>>>,
    bytes: AtomicU64,
    /// One byte in so many is held for real.
    held_part: u64,
}

impl Holding {
    /// Opens the books; nothing is held yet.
    pub(crate) fn open(settings: &Settings) -> io::Result<Self> {
        let journal = match &settings.journal {
            Some(path) => Some(Journal::open(path, &settings.agent)?),
            None => None,
        };
        let report = match &settings.report {
            Some(path) => Some(Report::open(path, &settings.agent)?),
            None => None,
        };
        Ok(Self {
            journal,
            report,
            blocks: Mutex::default(),
            bytes: AtomicU64::new(0),
            held_part: settings.held_part,
        })
    }

    /// Holds `total` bytes from now on, if that is more than before. The books are written first.
    pub(crate) fn grow_to(&self, total: u64) -> io::Result<()> {
        let before = self.bytes.load(Ordering::Relaxed);
        if total <= before {
            return Ok(());
        }
        if let Some(journal) = &self.journal {
            journal.write(Event::Hold, total)?;
        }
        if let Some(report) = &self.report {
            report.say(total)?;
        }
        let mut blocks = self.blocks.lock().unwrap_or_else(PoisonError::into_inner);
        let mut missing = total / self.held_part - before / self.held_part;
        while missing > 0 {
            let size = missing.min(BLOCK);
            // Not zeroes: a page of zeroes would be promised, not held.
            blocks.push(vec![0xA5_u8; usize::try_from(size).unwrap_or(usize::MAX)]);
            missing -= size;
        }
        std::hint::black_box(&*blocks);
        self.bytes.store(total, Ordering::Relaxed);
        Ok(())
    }

    /// A line in the journal that changes nothing about the memory.
    pub(crate) fn note(&self, event: Event) {
        if let Some(journal) = &self.journal {
            // A full disk must not end a server over a line that moves no byte.
            let _ = journal.write(event, self.bytes.load(Ordering::Relaxed));
        }
    }

    /// Gives everything back, then closes the books.
    pub(crate) fn release(&self) {
        *self.blocks.lock().unwrap_or_else(PoisonError::into_inner) = Vec::new();
        self.bytes.store(0, Ordering::Relaxed);
        if let Some(report) = &self.report {
            let _ = report.say(0);
        }
        self.note(Event::Exit);
    }
}
