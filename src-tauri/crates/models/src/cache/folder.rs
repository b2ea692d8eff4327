//! Deleting below a folder without ever going through a link: each step is taken from an open folder, so that one that
//! is exchanged for a link meanwhile leads nowhere.

use std::ffi::CStr;
use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags, openat, statat, unlinkat};
use rustix::io::Errno;

/// Folders below one another that are emptied.
const DEEPEST: u32 = 64;

pub(super) struct Folder(OwnedFd);

impl Folder {
    /// A folder by its path, which is trusted.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        Ok(Self(openat(CWD, path, flags, Mode::empty())?))
    }

    /// A folder in this one; none where there is no such folder, or a link in its place.
    pub(super) fn below(&self, name: &str) -> io::Result<Option<Self>> {
        self.enter(name)
    }

    fn enter<P: rustix::path::Arg>(&self, name: P) -> io::Result<Option<Self>> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        match openat(&self.0, name, flags, Mode::empty()) {
            Ok(fd) => Ok(Some(Self(fd))),
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Deletes a file or a link by its path below this folder, and the folders on the way that this left empty.
    pub(super) fn remove_path(&self, path: &str) -> io::Result<()> {
        let Some((first, rest)) = path.split_once('/') else { return self.remove(path) };
        if let Some(folder) = self.below(first)? {
            folder.remove_path(rest)?;
            self.remove_if_empty(first)?;
        }
        Ok(())
    }

    /// Deletes a file or a link; one that is gone already is fine.
    pub(super) fn remove(&self, name: &str) -> io::Result<()> {
        fine(unlinkat(&self.0, name, AtFlags::empty()), &[Errno::NOENT])
    }

    pub(super) fn remove_if_empty(&self, name: &str) -> io::Result<()> {
        let kept = [Errno::NOENT, Errno::NOTEMPTY, Errno::EXIST, Errno::NOTDIR];
        fine(unlinkat(&self.0, name, AtFlags::REMOVEDIR), &kept)
    }

    /// Deletes a folder in this one with everything in it; links in it are deleted, not followed.
    pub(super) fn remove_all(&self, name: &str) -> io::Result<()> {
        if let Some(folder) = self.below(name)? {
            folder.empty(0)?;
            self.remove_if_empty(name)?;
        }
        Ok(())
    }

    fn empty(&self, depth: u32) -> io::Result<()> {
        let mut folders = Vec::new();
        for entry in Dir::read_from(&self.0)? {
            let entry = entry?;
            let name: &CStr = entry.file_name();
            if name == c"." || name == c".." {
                continue;
            }
            let kind = FileType::from_raw_mode(statat(&self.0, name, AtFlags::SYMLINK_NOFOLLOW)?.st_mode);
            if kind == FileType::Directory {
                folders.push(name.to_owned());
            } else {
                fine(unlinkat(&self.0, name, AtFlags::empty()), &[Errno::NOENT])?;
            }
        }
        for name in folders.into_iter().filter(|_| depth < DEEPEST) {
            if let Some(folder) = self.enter(name.as_c_str())? {
                folder.empty(depth + 1)?;
            }
            fine(unlinkat(&self.0, name.as_c_str(), AtFlags::REMOVEDIR), &[Errno::NOENT, Errno::NOTEMPTY])?;
        }
        Ok(())
    }
}

fn fine(done: Result<(), Errno>, expected: &[Errno]) -> io::Result<()> {
    match done {
        Err(error) if !expected.contains(&error) => Err(error.into()),
        _ => Ok(()),
    }
}
