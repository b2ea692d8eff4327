//! The texts of `/proc/swaps`, `/proc/modules`, `/etc/group` and `/etc/os-release`: pure.

use std::collections::BTreeMap;

use domain::Bytes;
use domain::memory::KIB;
use serde::{Deserialize, Serialize};

/// A place that memory is swapped out to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Swap {
    /// "/dev/nvme0n1p3", "/swap.img", "/dev/zram0".
    pub path: String,
    pub kind: SwapKind,
    pub size: Bytes,
    pub used: Bytes,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SwapKind {
    Partition,
    File,
    /// Compressed, in memory itself: it makes no room for what does not compress, such as weights.
    Zram,
}

/// `/proc/swaps`. Lines that say something else are passed over.
pub fn swaps(text: &str) -> Vec<Swap> {
    let swap = |line: &str| {
        let words: Vec<&str> = line.split_ascii_whitespace().collect();
        let [path, kind, size, used, ..] = words[..] else { return None };
        let kib = |word: &str| word.parse::<u64>().ok()?.checked_mul(KIB).map(Bytes);
        let kind = match kind {
            _ if path.starts_with("/dev/zram") => SwapKind::Zram,
            "partition" => SwapKind::Partition,
            "file" => SwapKind::File,
            _ => return None,
        };
        // A path's spaces are written \040.
        Some(Swap { path: path.replace("\\040", " "), kind, size: kib(size)?, used: kib(used)? })
    };
    text.lines().filter_map(swap).collect()
}

/// The names in `/proc/modules`.
pub fn modules(text: &str) -> Vec<String> {
    text.lines().filter_map(|line| line.split_ascii_whitespace().next()).map(str::to_owned).collect()
}

/// `/etc/group`: number to name and members.
pub fn groups(text: &str) -> BTreeMap<u32, (String, Vec<String>)> {
    let group = |line: &str| {
        let mut fields = line.split(':');
        let (name, _, id) = (fields.next()?, fields.next()?, fields.next()?.parse().ok()?);
        let members = fields.next().unwrap_or_default().split(',').map(str::trim);
        Some((id, (name.to_owned(), members.filter(|m| !m.is_empty()).map(str::to_owned).collect())))
    };
    text.lines().filter_map(group).collect()
}

/// What the system calls itself in `/etc/os-release`.
pub fn os_release(text: &str) -> Option<String> {
    let value = text.lines().find_map(|line| line.strip_prefix("PRETTY_NAME="))?;
    Some(value.trim().trim_matches(['"', '\'']).to_owned()).filter(|name| !name.is_empty())
}
