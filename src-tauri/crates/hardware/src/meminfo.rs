//! `/proc/meminfo`.

use std::fs;
use std::path::Path;

use domain::memory::{Bytes, KIB};

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct MemInfo {
    pub(crate) total: Option<Bytes>,
    pub(crate) available: Option<Bytes>,
}

impl MemInfo {
    /// In use by everybody. Without a figure for what is available nothing is claimed to be used.
    pub(crate) fn used(self) -> Bytes {
        match (self.total, self.available) {
            (Some(total), Some(available)) => total.saturating_sub(available),
            _ => Bytes::ZERO,
        }
    }
}

pub(crate) fn read(sysroot: &Path) -> MemInfo {
    fs::read(sysroot.join("proc/meminfo"))
        .map(|bytes| parse(&String::from_utf8_lossy(&bytes)))
        .unwrap_or_default()
}

fn parse(text: &str) -> MemInfo {
    let value = |name: &str| {
        text.lines().find_map(|line| {
            let rest = line.strip_prefix(name)?.strip_prefix(':')?;
            let kib: u64 = rest.trim().strip_suffix("kB")?.trim().parse().ok()?;
            kib.checked_mul(KIB).map(Bytes)
        })
    };
    // Kernels before 3.14 do not say what is available; what is surely free comes close enough.
    let surely_free = || Some(value("MemFree")? + value("Buffers")? + value("Cached")?);
    MemInfo {
        total: value("MemTotal").filter(|t| *t > Bytes::ZERO),
        available: value("MemAvailable").or_else(surely_free),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_usual_file() {
        let info = parse("MemTotal:       131072000 kB\nMemFree:  5 kB\nMemAvailable:   110100480 kB\n");
        assert_eq!(info.total, Some(Bytes::gb(125.0)));
        assert_eq!(info.used(), Bytes::gb(20.0));
    }

    #[test]
    fn an_old_kernel() {
        let info = parse("MemTotal: 100 kB\nMemFree: 10 kB\nBuffers: 20 kB\nCached: 30 kB\n");
        assert_eq!(info.used(), Bytes(40 * KIB));
    }

    #[test]
    fn lies_become_absence() {
        for text in [
            "",
            "MemTotal: 0 kB",
            "MemTotal: x kB",
            "MemTotal: 99999999999999999999 kB",
            "MemTotal: 5 MB",
            "MemTotalX: 5 kB",
        ] {
            assert_eq!(parse(text).total, None, "{text:?}");
        }
        assert_eq!(parse("MemTotal: 5 kB\nMemAvailable: 9 kB").used(), Bytes::ZERO);
        assert_eq!(parse("MemTotal: 5 kB").used(), Bytes::ZERO);
    }
}
