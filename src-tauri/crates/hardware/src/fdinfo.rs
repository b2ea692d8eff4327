//! `/proc/PID/fdinfo`: what a process holds through the GPU's driver.

use std::collections::BTreeMap;

use domain::Bytes;
use domain::memory::{GIB, KIB, MIB};

use crate::cards::pci_address;
use crate::meminfo::PLAUSIBLE;

/// One open file of a GPU's, of which several may be the same client.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DrmClient {
    /// "amdgpu".
    pub driver: String,
    /// As [`crate::pci_address`] writes it; absent for a GPU on no PCI bus.
    pub pci: Option<String>,
    /// Of the driver's whole life; absent in kernels before 5.19, where every file counts on its own.
    pub id: Option<u64>,
    /// On the card.
    pub vram: Option<Bytes>,
    /// System memory that the GPU maps.
    pub gtt: Option<Bytes>,
}

/// The text of one file in `/proc/PID/fdinfo`; `None` where it is not a GPU's.
///
/// What is there now is `drm-resident-*`; amdgpu before 6.14 says the same as `drm-memory-*`, and `drm-total-*`
/// alone, which counts what was moved away too, is better than nothing. Units are KiB and MiB, or none for bytes.
pub fn parse(text: &str) -> Option<DrmClient> {
    let fields: BTreeMap<&str, &str> = text
        .lines()
        .filter_map(|line| line.split_once(':'))
        .map(|(key, value)| (key, value.trim()))
        .collect();
    let driver = fields.get("drm-driver").filter(|d| !d.is_empty())?;
    let held = |region: &str| {
        ["drm-resident-", "drm-memory-", "drm-total-"]
            .into_iter()
            .find_map(|kind| amount(fields.get(format!("{kind}{region}").as_str())?))
    };
    Some(DrmClient {
        driver: (*driver).to_owned(),
        pci: fields.get("drm-pdev").and_then(|address| pci_address(address)),
        id: fields.get("drm-client-id").and_then(|id| id.parse().ok()),
        // amdgpu counts regions on its own by name; others have vram0, vram1.
        vram: held("vram").or_else(|| held("vram0")),
        gtt: held("gtt"),
    })
}

fn amount(text: &str) -> Option<Bytes> {
    let mut words = text.split_ascii_whitespace();
    let number: u64 = words.next()?.parse().ok()?;
    let unit = match words.next() {
        None => 1,
        Some("KiB" | "kB") => KIB,
        Some("MiB") => MIB,
        Some("GiB") => GIB,
        Some(_) => return None,
    };
    number.checked_mul(unit).map(Bytes).filter(|bytes| *bytes <= PLAUSIBLE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_dialects_and_their_units() {
        let new = "pos:\t0\nflags:\t02100002\ndrm-driver:\tamdgpu\ndrm-client-id:\t12\ndrm-pdev:\t0000:c4:00.0\n\
                   drm-total-vram:\t900 MiB\ndrm-resident-vram:\t7 MiB\ndrm-total-gtt:\t50 GiB\n\
                   drm-memory-gtt:\t3 KiB\ndrm-resident-gtt:\t0\namd-requested-gtt:\t5 KiB\n";
        let client = parse(new).unwrap();
        assert_eq!((client.driver.as_str(), client.id), ("amdgpu", Some(12)));
        assert_eq!(client.pci.as_deref(), Some("0000:c4:00.0"));
        assert_eq!(
            (client.vram, client.gtt),
            (Some(Bytes(7 * MIB)), Some(Bytes::ZERO)),
            "resident comes first"
        );
        let old = "drm-driver: amdgpu\ndrm-memory-vram: 5 KiB\ndrm-memory-gtt: 24117248 KiB\n";
        let client = parse(old).unwrap();
        assert_eq!((client.id, client.pci), (None, None));
        assert_eq!((client.vram, client.gtt), (Some(Bytes(5 * KIB)), Some(Bytes::gb(23.0))));
        let total = parse("drm-driver: xe\ndrm-total-vram0: 2 MiB\n").unwrap();
        assert_eq!((total.vram, total.gtt), (Some(Bytes(2 * MIB)), None));
    }

    #[test]
    fn other_files_and_lies() {
        for other in ["", "pos: 0\nflags: 02\n", "drm-driver:\n", "drm-driver\n"] {
            assert_eq!(parse(other), None, "{other:?}");
        }
        for lie in
            ["x", "", "-1 KiB", "5 parsecs", "18446744073709551616", "18446744073709551615 KiB", "9e9 KiB"]
        {
            let client =
                parse(&format!("drm-driver: amdgpu\ndrm-memory-gtt: {lie}\ndrm-client-id: {lie}\n")).unwrap();
            assert_eq!((client.gtt, client.id), (None, None), "{lie:?}");
        }
    }
}
