//! Reading small files that may be anything: missing, a folder, a pipe, endless.

use std::fs::{self, OpenOptions};
use std::io::Read;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use rustix::fs::OFlags;

/// No file of sysfs or proc that is read here is nearly as long.
const LONGEST: u64 = 1 << 20;

/// A file's text, its damaged characters replaced. A pipe is not waited for, and what is longer than a mebibyte is
/// cut off.
pub(crate) fn text(path: &Path) -> Option<String> {
    String::from_utf8(bytes(path).ok()?)
        .map_or_else(|damaged| Some(String::from_utf8_lossy(damaged.as_bytes()).into_owned()), Some)
}

/// As [`text`], saying why there is none.
pub(crate) fn bytes(path: &Path) -> std::io::Result<Vec<u8>> {
    let flags = i32::try_from((OFlags::NONBLOCK | OFlags::CLOEXEC).bits()).unwrap_or_default();
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path)?;
    let mut bytes = Vec::with_capacity(256);
    file.take(LONGEST).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// A small file's text, without the space around it; an empty one says nothing.
pub(crate) fn line(path: &Path) -> Option<String> {
    text(path).map(|text| text.trim().to_owned()).filter(|text| !text.is_empty())
}

/// A whole number that is not negative.
pub(crate) fn number(path: &Path) -> Option<u64> {
    line(path)?.parse().ok()
}

/// The names in a folder, in order.
pub(crate) fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut names: Vec<String> = entries.filter_map(|e| e.file_name().into_string().ok()).collect();
    names.sort_unstable();
    names
}
