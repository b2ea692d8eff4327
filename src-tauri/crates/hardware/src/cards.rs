//! AMD cards in `/sys/class/drm`.

use std::fs;
use std::path::Path;

use domain::Bytes;

use crate::line;

const AMD: &str = "0x1002";

/// The graphics of Strix Halo.
const STRIX_HALO: &str = "0x1586";

/// One GPU that says how much memory it has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Card {
    pub(crate) device: String,
    pub(crate) vram_total: Option<Bytes>,
    pub(crate) vram_used: Bytes,
    pub(crate) gtt_total: Option<Bytes>,
    pub(crate) gtt_used: Option<Bytes>,
}

impl Card {
    pub(crate) fn is_strix_halo(&self) -> bool {
        self.device == STRIX_HALO
    }

    /// Whether its memory is the system's: a processor's own graphics with a small carve-out, where the driver takes
    /// what it needs from ordinary memory (GTT). With a large carve-out it takes the carve-out, and is a card like
    /// any other.
    pub(crate) fn shares_system_memory(&self) -> bool {
        let vram = self.vram_total.unwrap_or_default();
        let known = self.is_strix_halo();
        let small = vram <= Bytes::gb(4.0);
        match self.gtt_total {
            Some(gtt) => gtt > vram && (known || small),
            // Without a figure the carve-out alone decides, and only for the machine that is known.
            None => known && small,
        }
    }
}

/// The AMD cards that say anything of their memory, in the kernel's order.
pub(crate) fn read(sysroot: &Path) -> Vec<Card> {
    let folder = sysroot.join("sys/class/drm");
    let entries = fs::read_dir(&folder).into_iter().flatten().flatten();
    let mut numbers: Vec<u32> =
        entries.filter_map(|e| e.file_name().to_str()?.strip_prefix("card")?.parse().ok()).collect();
    numbers.sort_unstable();
    numbers.dedup();
    numbers.into_iter().filter_map(|n| read_card(&folder.join(format!("card{n}/device")))).collect()
}

fn read_card(folder: &Path) -> Option<Card> {
    let text = |name: &str| line(&folder.join(name));
    let bytes = |name: &str| text(name)?.parse().ok().map(Bytes);
    if text("vendor")? != AMD {
        return None;
    }
    let vram_total = bytes("mem_info_vram_total").filter(|b| *b > Bytes::ZERO);
    let gtt_total = bytes("mem_info_gtt_total").filter(|b| *b > Bytes::ZERO);
    if vram_total.is_none() && gtt_total.is_none() {
        return None;
    }
    Some(Card {
        device: text("device").unwrap_or_default(),
        vram_total,
        vram_used: bytes("mem_info_vram_used").unwrap_or_default(),
        gtt_total,
        gtt_used: bytes("mem_info_gtt_used"),
    })
}
