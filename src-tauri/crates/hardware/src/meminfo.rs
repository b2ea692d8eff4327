//! `/proc/meminfo`.

use std::path::Path;

use domain::memory::{Bytes, KIB};

use crate::files;
use crate::reading::MemoryFacts;

/// More than any machine has: a figure above it is a lie, and absent.
pub(crate) const PLAUSIBLE: Bytes = Bytes(1 << 50);

pub(crate) fn read(sysroot: &Path) -> MemoryFacts {
    files::text(&sysroot.join("proc/meminfo")).map(|text| parse(&text)).unwrap_or_default()
}

/// The figures in the text of `/proc/meminfo`. What is not a number of kB below a pebibyte is absent.
///
/// Kernels before 3.14 do not say what is available, and containers' stand-ins for the file lie at times: without
/// one that is at most the total, what is surely free (MemFree + Buffers + Cached) comes close enough.
pub fn parse(text: &str) -> MemoryFacts {
    let value = |name: &str| {
        text.lines().find_map(|line| {
            let rest = line.strip_prefix(name)?.strip_prefix(':')?;
            let kib: u64 = rest.trim().strip_suffix("kB")?.trim().parse().ok()?;
            kib.checked_mul(KIB).map(Bytes).filter(|bytes| *bytes <= PLAUSIBLE)
        })
    };
    let total = value("MemTotal").filter(|t| *t > Bytes::ZERO);
    let possible = |bytes: &Bytes| total.is_none_or(|total| *bytes <= total);
    let surely_free = || Some(value("MemFree")? + value("Buffers")? + value("Cached")?).filter(possible);
    MemoryFacts {
        total,
        available: value("MemAvailable").filter(possible).or_else(surely_free),
        free: value("MemFree"),
        buffers: value("Buffers"),
        cached: value("Cached"),
        swap_total: value("SwapTotal"),
        swap_free: value("SwapFree"),
        shmem: value("Shmem"),
        reclaimable: value("SReclaimable"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_usual_file() {
        let info = parse(
            "MemTotal:       131072000 kB\nMemFree:  5 kB\nMemAvailable:   110100480 kB\nSwapFree: 4 kB\n",
        );
        assert_eq!(info.total, Some(Bytes::gb(125.0)));
        assert_eq!(info.used(), Some(Bytes::gb(20.0)));
        assert_eq!((info.free, info.swap_free), (Some(Bytes(5 * KIB)), Some(Bytes(4 * KIB))));
        assert_eq!((info.swap_total, info.cached), (None, None));
    }

    #[test]
    fn an_old_kernel() {
        let info = parse("MemTotal: 100 kB\nMemFree: 10 kB\nBuffers: 20 kB\nCached: 30 kB\n");
        assert_eq!(info.used(), Some(Bytes(40 * KIB)));
    }

    #[test]
    fn lies_become_absence() {
        for text in [
            "",
            "MemTotal: 0 kB",
            "MemTotal: x kB",
            "MemTotal: -5 kB",
            "MemTotal: 99999999999999999999 kB",
            "MemTotal: 9999999999999999 kB",
            "MemTotal: 5 MB",
            "MemTotalX: 5 kB",
        ] {
            assert_eq!(parse(text).total, None, "{text:?}");
        }
        assert_eq!(
            parse("MemTotal: 5 kB\nMemAvailable: 9 kB").available,
            None,
            "more available than there is"
        );
        assert_eq!(
            parse("MemTotal: 5 kB\nMemAvailable: 9 kB\nMemFree: 1 kB\nBuffers: 1 kB\nCached: 1 kB").used(),
            Some(Bytes(2 * KIB))
        );
        assert_eq!(parse("MemTotal: 5 kB").used(), None);
    }
}
