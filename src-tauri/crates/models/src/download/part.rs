//! One unfinished file: its bytes, and the journal of what is claimed of them.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use domain::download::journal::{self, Claims, Hashed, Header, Line};
use domain::download::{Ranges, Span};
use rustix::fs::{AtFlags, StatxFlags, statx};

use super::layout::{Lock, Place};

/// Appended so much, a journal is begun anew.
const LONG: u64 = 1 << 20;

#[derive(Debug)]
pub(crate) struct Part {
    pub(crate) path: PathBuf,
    pub(crate) data: File,
    header: Header,
    journal_path: PathBuf,
    journal: Mutex<Journal>,
    /// On the disk, or in the kernel's hands.
    landed: Mutex<Ranges>,
    /// Hashed so far, for who wants to know.
    pub(crate) verified: AtomicU64,
    /// Something landed since the last flush began.
    dirty: AtomicBool,
    flushes: AtomicU64,
    _lock: Lock,
}

#[derive(Debug)]
struct Journal {
    file: Arc<File>,
    /// Appended since it was begun, bytes.
    length: u64,
    /// The flush that began last; a journal that was begun anew has begun none.
    flush: u64,
    hashed: Option<Hashed>,
    flushed: Claims,
}

fn lock<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Part {
    /// Opens what an earlier life left of this file, or begins it; with the hash to go on from.
    pub(crate) fn open(
        place: &Place,
        hash: &str,
        size: u64,
        held: Lock,
    ) -> io::Result<(Self, Option<Hashed>)> {
        let (path, journal_path) = (place.part(hash), place.journal(hash));
        let data = fs::OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path)?;
        let metadata = data.metadata()?;
        let boot = boot(&data);
        let old = read_journal(&journal_path)?;
        let old = old.filter(|j| j.header.size == size && j.header.hash == hash);
        let claims =
            old.as_ref().map(|j| j.believed(&boot, metadata.ino(), metadata.len())).unwrap_or_default();
        // What survives a power cut is what did before.
        let mut flushed = old.map(|j| j.believed("", metadata.ino(), metadata.len())).unwrap_or_default();
        if claims.landed.bytes() == 0 {
            flushed = Claims::default();
            empty(&data, metadata.len())?;
        }
        data.set_len(size)?;
        let header = Header { size, hash: hash.to_owned(), inode: metadata.ino(), boot };
        let journal = begin(&journal_path, &header, &claims, flushed)?;
        let part = Self {
            path,
            data,
            header,
            journal_path,
            journal: Mutex::new(journal),
            verified: AtomicU64::new(0),
            dirty: AtomicBool::new(claims.landed.bytes() > 0),
            landed: Mutex::new(claims.landed),
            flushes: AtomicU64::new(0),
            _lock: held,
        };
        Ok((part, claims.hashed))
    }

    pub(crate) fn size(&self) -> u64 {
        self.header.size
    }

    pub(crate) fn landed(&self) -> Ranges {
        lock(&self.landed).clone()
    }

    pub(crate) fn landed_bytes(&self) -> u64 {
        lock(&self.landed).bytes()
    }

    /// How far it is there without a hole.
    pub(crate) fn front(&self) -> u64 {
        lock(&self.landed).prefix()
    }

    /// These bytes were written; from now on that is claimed.
    pub(crate) fn claim(&self, spans: &[Span]) -> io::Result<()> {
        let mut text = String::new();
        for span in spans.iter().filter(|s| !s.is_empty()) {
            Line::Landed(*span).write(&mut text);
        }
        let mut journal = lock(&self.journal);
        journal.append(&text)?;
        let mut landed = lock(&self.landed);
        for span in spans {
            landed.insert(*span);
        }
        self.dirty.store(true, Ordering::Relaxed);
        if journal.length > LONG {
            let claims = Claims { landed: landed.clone(), hashed: journal.hashed.clone() };
            let flushed = journal.flushed.clone();
            *journal = begin(&self.journal_path, &self.header, &claims, flushed)?;
        }
        Ok(())
    }

    pub(crate) fn claim_hash(&self, hashed: Hashed) -> io::Result<()> {
        let mut text = String::new();
        Line::Hashed(hashed.clone()).write(&mut text);
        let mut journal = lock(&self.journal);
        journal.hashed = Some(hashed);
        journal.append(&text)
    }

    /// Brings what has landed so far to where a power cut cannot take it.
    pub(crate) fn flush(&self) -> io::Result<()> {
        if !self.dirty.swap(false, Ordering::Relaxed) {
            return Ok(());
        }
        let (number, claims) = {
            let mut journal = lock(&self.journal);
            let number = self.flushes.fetch_add(1, Ordering::Relaxed) + 1;
            journal.flush = number;
            let mut text = String::new();
            Line::FlushBegins(number).write(&mut text);
            journal.append(&text)?;
            (number, Claims { landed: lock(&self.landed).clone(), hashed: journal.hashed.clone() })
        };
        self.data.sync_data()?;
        let mut journal = lock(&self.journal);
        if journal.flush != number {
            // It was begun anew meanwhile, and knows nothing of that beginning.
            self.dirty.store(true, Ordering::Relaxed);
            return Ok(());
        }
        let mut text = String::new();
        Line::FlushEnded(number).write(&mut text);
        journal.append(&text)?;
        journal.flushed = claims;
        // Not under the lock: what lands while a slow disk takes this line must be claimed, or a kill costs it.
        let file = journal.file.clone();
        drop(journal);
        file.sync_data()
    }

    /// Nothing of it counts any more.
    pub(crate) fn start_over(&self) -> io::Result<()> {
        let mut journal = lock(&self.journal);
        let mut landed = lock(&self.landed);
        *journal = begin(&self.journal_path, &self.header, &Claims::default(), Claims::default())?;
        *landed = Ranges::default();
        self.verified.store(0, Ordering::Relaxed);
        empty(&self.data, self.header.size)?;
        self.data.set_len(self.header.size)
    }

    /// It has its name; what was claimed of it is of no use now.
    pub(crate) fn forget_journal(&self) {
        let _ = fs::remove_file(&self.journal_path);
    }

    /// It came damaged, and is not to be gone on with.
    pub(crate) fn discard(&self) {
        let _ = fs::remove_file(&self.journal_path);
        let _ = fs::remove_file(&self.path);
    }
}

/// Throws away what a file holds. One that holds nothing is not touched: ext4 takes a cut to nothing as the sign of
/// contents that are being replaced, and writes all of them to the disk while the file is closed.
fn empty(data: &File, length: u64) -> io::Result<()> {
    if length > 0 { data.set_len(0) } else { Ok(()) }
}

impl Journal {
    fn append(&mut self, text: &str) -> io::Result<()> {
        (&*self.file).write_all(text.as_bytes())?;
        self.length += text.len() as u64;
        Ok(())
    }
}

/// A journal that says these claims, in the place of any other, in one step.
fn begin(path: &PathBuf, header: &Header, claims: &Claims, flushed: Claims) -> io::Result<Journal> {
    let beside = path.with_extension("journal-new");
    let mut file = File::create(&beside)?;
    let text = journal::begin(header, claims, &flushed);
    file.write_all(text.as_bytes())?;
    if flushed != Claims::default() {
        // What was safe must stay so: the new journal is on the disk before it takes the old one's place.
        file.sync_data()?;
    }
    fs::rename(&beside, path)?;
    Ok(Journal { file: Arc::new(file), length: 0, flush: 0, hashed: claims.hashed.clone(), flushed })
}

pub(crate) fn read_journal(path: &PathBuf) -> io::Result<Option<journal::Journal>> {
    let mut text = Vec::new();
    match File::open(path) {
        Ok(file) => file.take(journal::LONGEST as u64).read_to_end(&mut text)?,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(e),
    };
    Ok(journal::read(&text))
}

/// Names the running kernel and the mount that a file lies in: what was written to it is there while both are the same.
/// A mount has a name of its own since Linux 6.8; before that "-" stands for it.
pub(crate) fn boot(file: &File) -> String {
    /// `STATX_MNT_ID_UNIQUE`, which rustix does not name.
    const MOUNT: u32 = 0x4000;
    let kernel = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    let kernel = kernel.trim();
    if kernel.is_empty() {
        return String::new();
    }
    let told = statx(file, "", AtFlags::EMPTY_PATH, StatxFlags::from_bits_retain(MOUNT));
    match told {
        Ok(told) if told.stx_mask & MOUNT != 0 => format!("{kernel}/{}", told.stx_mnt_id),
        _ => format!("{kernel}/-"),
    }
}
