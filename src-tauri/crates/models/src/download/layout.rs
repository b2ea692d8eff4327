//! Where things lie in the cache: blobs, links, names of revisions and locks exactly as `huggingface_hub` has them, and
//! our own unfinished files in a folder beside them that it does not look into.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, symlink};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use rustix::fs::{Access, FlockOperation, access, flock, statvfs};
use rustix::io::Errno;

use super::FetchError;

/// The folder of unfinished files, within that of a repository.
pub(crate) const OWN: &str = ".asgard";
/// The end of a file that becomes the name of a commit.
const AHEAD: &str = "ref";
/// How backup programs know a cache (bford.info/cachedir).
const TAG: &str = "Signature: 8a477f597d28d172789f06886806bc55\n\
    # This folder holds models of the Hugging Face Hub. They can be fetched again.\n";

/// One repository's part of the cache.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    cache: PathBuf,
    pub(crate) folder: PathBuf,
    locks: PathBuf,
}

/// A lock that is held as long as this lives, however the process ends.
#[derive(Debug)]
pub(crate) struct Lock {
    _file: File,
}

impl Place {
    /// `repo` was checked; the folder need not exist.
    pub(crate) fn new(cache: &Path, repo: &str) -> Result<Self, FetchError> {
        let name = crate::cache::folder_name(repo)
            .map_err(|_| FetchError::HostilePath { path: repo.chars().take(300).collect() })?;
        Ok(Self {
            folder: cache.join(&name),
            locks: cache.join(".locks").join(&name),
            cache: cache.to_path_buf(),
        })
    }

    pub(crate) fn blobs(&self) -> PathBuf {
        self.folder.join("blobs")
    }

    pub(crate) fn blob(&self, hash: &str) -> PathBuf {
        self.blobs().join(hash)
    }

    pub(crate) fn own(&self) -> PathBuf {
        self.folder.join(OWN)
    }

    pub(crate) fn part(&self, hash: &str) -> PathBuf {
        self.own().join(format!("{hash}.part"))
    }

    pub(crate) fn journal(&self, hash: &str) -> PathBuf {
        self.own().join(format!("{hash}.journal"))
    }

    pub(crate) fn snapshot(&self, commit: &str) -> PathBuf {
        self.folder.join("snapshots").join(commit)
    }

    /// Makes the folders, and sees that they can be written to.
    pub(crate) fn prepare(&self, commit: &str) -> Result<(), FetchError> {
        let folders = [
            self.cache.clone(),
            self.blobs(),
            self.folder.join("refs"),
            self.snapshot(commit),
            self.own(),
            self.locks.clone(),
        ];
        for folder in &folders {
            fs::create_dir_all(folder).map_err(|e| failed(folder, &e))?;
            access(folder, Access::WRITE_OK | Access::EXEC_OK).map_err(|e| failed(folder, &e.into()))?;
        }
        let tag = self.cache.join("CACHEDIR.TAG");
        if !tag.exists() {
            // Only a courtesy to others.
            let _ = fs::write(tag, TAG);
        }
        Ok(())
    }

    /// Takes the lock that `huggingface_hub` takes for this blob; none while another holds it.
    pub(crate) fn lock(&self, hash: &str) -> Result<Option<Lock>, FetchError> {
        let path = self.locks.join(format!("{hash}.lock"));
        let first = lock(&path);
        let locked = match first {
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                fs::create_dir_all(&self.locks).and_then(|()| lock(&path))
            }
            done => done,
        };
        locked.map_err(|e| failed(&path, &e))
    }

    /// Lets `path` of the snapshot lead to the blob. A link that is right stays; what is in the way goes.
    pub(crate) fn link(&self, commit: &str, path: &str, hash: &str) -> Result<(), FetchError> {
        let link = self.snapshot(commit).join(path);
        let depth = path.split('/').count() + 1;
        let target = PathBuf::from("../".repeat(depth)).join("blobs").join(hash);
        if fs::read_link(&link).is_ok_and(|t| t == target) {
            return Ok(());
        }
        let fail = |e: io::Error| failed(&link, &e);
        let folder = link.parent().unwrap_or(&link);
        if depth > 2 {
            fs::create_dir_all(folder).map_err(fail)?;
        }
        match symlink(&target, &link) {
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {
                // In one step, so that nobody ever finds nothing there.
                let beside = self.own().join(format!("{hash}.{}.link", std::process::id()));
                let _ = fs::remove_file(&beside);
                symlink(&target, &beside).and_then(|()| fs::rename(&beside, &link)).map_err(fail)
            }
            done => done.map_err(fail),
        }
    }

    /// Whether `path` of the snapshot is there without a blob: copied in, where there were no links.
    pub(crate) fn is_copy(&self, commit: &str, path: &str, size: u64) -> bool {
        fs::symlink_metadata(self.snapshot(commit).join(path)).is_ok_and(|m| m.is_file() && m.len() == size)
    }

    /// Writes down what `revision` will stand for, where nobody looks yet. On the disk it is at once: at the end it would
    /// have to wait for everything else that the disk has not taken yet.
    pub(crate) fn name_ahead(&self, revision: &str, commit: &str) -> Result<(), FetchError> {
        if self.is_named(revision, commit) {
            return Ok(());
        }
        let ahead = self.ahead(commit);
        let write = || {
            let mut file = File::create(&ahead)?;
            file.write_all(commit.as_bytes())?;
            file.sync_data()
        };
        write().map_err(|e| failed(&ahead, &e))
    }

    /// From now on `revision` stands for this commit. A commit stands for itself.
    pub(crate) fn name(&self, revision: &str, commit: &str) -> Result<(), FetchError> {
        if self.is_named(revision, commit) {
            return Ok(());
        }
        let path = self.folder.join("refs").join(revision);
        let give = || {
            if let Some(folder) = path.parent() {
                fs::create_dir_all(folder)?;
            }
            fs::rename(self.ahead(commit), &path)
        };
        match give() {
            // Somebody else gave it another name meanwhile.
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                self.name_ahead(revision, commit)?;
                give().map_err(|e| failed(&path, &e))
            }
            given => given.map_err(|e| failed(&path, &e)),
        }
    }

    fn is_named(&self, revision: &str, commit: &str) -> bool {
        let path = || self.folder.join("refs").join(revision);
        revision.is_empty()
            || domain::download::names::is_commit(revision)
            || fs::read_to_string(path()).is_ok_and(|text| text == commit)
    }

    /// Deletes what was written ahead and not used since `before`. Who still wants one writes it again.
    pub(crate) fn forget_names(&self, before: SystemTime) {
        let entries = fs::read_dir(self.own()).into_iter().flatten().flatten();
        for path in entries.map(|e| e.path()).filter(|p| p.extension().is_some_and(|e| e == AHEAD)) {
            if fs::symlink_metadata(&path).and_then(|m| m.modified()).is_ok_and(|at| at <= before) {
                let _ = fs::remove_file(path);
            }
        }
    }

    /// What was written ahead of a commit's name; the same for all who fetch it, so that it never gathers.
    fn ahead(&self, commit: &str) -> PathBuf {
        self.own().join(format!("{commit}.{AHEAD}"))
    }
}

/// `flock` on a file that may be taken away meanwhile.
pub(crate) fn lock(path: &Path) -> io::Result<Option<Lock>> {
    for _ in 0..16 {
        let open = |write: bool| {
            fs::OpenOptions::new()
                .read(true)
                .write(write)
                .create(write)
                .truncate(false)
                .mode(0o664)
                .open(path)
        };
        // A lock file of another user's may still be locked.
        let file = open(true).or_else(|e| open(false).map_err(|_| e))?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(Errno::AGAIN | Errno::ACCESS) => return Ok(None),
            // A file system without locks has nobody to wait for.
            Err(Errno::NOSYS | Errno::OPNOTSUPP | Errno::NOLCK) => return Ok(Some(Lock { _file: file })),
            Err(e) => return Err(e.into()),
        }
        let held = file.metadata()?;
        if fs::metadata(path).is_ok_and(|now| now.ino() == held.ino() && now.dev() == held.dev()) {
            return Ok(Some(Lock { _file: file }));
        }
    }
    Ok(None)
}

/// Free for us on the disk that holds `path`, bytes; none where that is not told.
pub(crate) fn free(path: &Path) -> Option<u64> {
    let told = statvfs(path).ok()?;
    Some(told.f_bavail.saturating_mul(told.f_frsize))
}

/// What an error of the disk at `path` means.
pub(crate) fn failed(path: &Path, error: &io::Error) -> FetchError {
    let errno = error.raw_os_error().map(Errno::from_raw_os_error);
    match errno {
        Some(Errno::NOSPC) => FetchError::DiskFull { needed: 0, free: free(path).unwrap_or(0) },
        Some(Errno::DQUOT) => FetchError::DiskFull { needed: 0, free: 0 },
        Some(Errno::ACCESS | Errno::PERM | Errno::ROFS) => {
            let why = match errno {
                Some(Errno::ROFS) => "the disk is read-only",
                _ => "permission denied",
            };
            let there = path.ancestors().find_map(|p| Some((p, fs::symlink_metadata(p).ok()?)));
            let own = rustix::process::geteuid().as_raw();
            let owner = there.as_ref().map(|(_, m)| m.uid()).filter(|uid| *uid != own);
            let path = there.map_or(path, |(p, _)| p).to_path_buf();
            FetchError::NotWritable { path, why: why.to_owned(), owner }
        }
        _ => {
            let text = error.to_string();
            let why = text.split(" (os error").next().unwrap_or_default().to_lowercase();
            FetchError::Io { path: path.to_path_buf(), why }
        }
    }
}
