//! Kernels and firmware of which somebody reported that they break this GPU. A table, so that a new report is a line.

/// One report.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Known {
    pub what: What,
    /// What goes wrong, one sentence.
    pub says: &'static str,
    pub source: &'static str,
    /// Year and month of the source.
    pub date: &'static str,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum What {
    /// Every kernel older than this, as major, minor, patch.
    KernelBelow([u32; 3]),
    /// This version of the linux-firmware package, as its eight digits.
    FirmwarePackage(&'static str),
    /// This version of the scheduler's firmware, which the package brings.
    MesFirmware(u32),
}

/// All of Strix Halo (gfx1151).
pub const KNOWN: &[Known] = &[
    Known {
        what: What::KernelBelow([6, 18, 4]),
        says: "Older kernels were reported unsteady with ROCm on this GPU; what is reported to work was tested with 6.18.4.",
        source: "github.com/kyuz0/amd-strix-halo-toolboxes, docs/troubleshooting-firmware.md",
        date: "2026-01",
    },
    Known {
        what: What::FirmwarePackage("20251125"),
        says: "It crashes or hangs ROCm on this GPU and was recalled; not every distribution has followed.",
        source: "github.com/kyuz0/amd-strix-halo-toolboxes, docs/troubleshooting-firmware.md",
        date: "2026-01",
    },
    Known {
        what: What::MesFirmware(0x83),
        says: "It hangs the GPU or faults on memory; going back to the firmware of 20251111 mended it.",
        source: "github.com/ROCm/legacy-rocm-build/issues/5724",
        date: "2026-01",
    },
];

/// Whether a kernel's release ("6.17.0-8-generic") is older than a version. None where it does not begin with one.
pub fn version_below(release: &str, version: [u32; 3]) -> Option<bool> {
    let digits: String = release.chars().take_while(|c| c.is_ascii_digit() || *c == '.').collect();
    let mut parts = digits.split('.').filter(|p| !p.is_empty()).map(str::parse::<u32>);
    let (Some(Ok(major)), Some(Ok(minor))) = (parts.next(), parts.next()) else { return None };
    let patch = parts.next().and_then(Result::ok).unwrap_or(0);
    Some([major, minor, patch] < version)
}

/// The date in a package's version: "20251125-1.fc43", "20240318.git3b128b60-0ubuntu2".
pub(super) fn package_date(version: &str) -> Option<&str> {
    // Debian may put an epoch before it.
    let version = version.rsplit_once(':').map_or(version, |(_, rest)| rest);
    version.get(..8).filter(|d| d.starts_with("20") && d.bytes().all(|b| b.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn releases_are_compared_as_numbers() {
        for (release, below) in [
            ("6.18.4-200.fc43.x86_64", Some(false)),
            ("6.18.3", Some(true)),
            ("6.9.12-generic", Some(true)),
            ("6.18-rc1", Some(true)),
            ("7.0.0", Some(false)),
            ("6.20", Some(false)),
            ("generic", None),
            ("", None),
            ("99999999999.1.1", None),
        ] {
            assert_eq!(version_below(release, [6, 18, 4]), below, "{release}");
        }
    }

    #[test]
    fn a_packages_date() {
        assert_eq!(package_date("20251125-1.fc43"), Some("20251125"));
        assert_eq!(package_date("20240318.git3b128b60-0ubuntu2.1"), Some("20240318"));
        assert_eq!(package_date("1:20251111-1"), Some("20251111"));
        for none in ["", "1.187.39", "2025", "ä0251125"] {
            assert_eq!(package_date(none), None, "{none}");
        }
    }
}
