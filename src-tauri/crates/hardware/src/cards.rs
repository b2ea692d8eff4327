//! AMD cards in `/sys/class/drm`.

use std::path::Path;

use domain::Bytes;

use crate::files::{self, line, number};
use crate::meminfo::PLAUSIBLE;

const AMD: &str = "0x1002";

/// The graphics of Strix Halo.
const STRIX_HALO: &str = "0x1586";

/// One GPU that says how much memory it has.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Card {
    pub(crate) device: String,
    pub(crate) product: Option<String>,
    pub(crate) pci: Option<String>,
    pub(crate) built_in: Option<bool>,
    pub(crate) vram_total: Option<Bytes>,
    pub(crate) vram_used: Option<Bytes>,
    pub(crate) gtt_total: Option<Bytes>,
    pub(crate) gtt_used: Option<Bytes>,
    pub(crate) sensors: Sensors,
}

/// What a card says of its work.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(crate) struct Sensors {
    pub(crate) busy: Option<f64>,
    pub(crate) temperature: Option<f64>,
    pub(crate) power_watts: Option<f64>,
    pub(crate) clock_mhz: Option<u32>,
}

impl Card {
    pub(crate) fn is_strix_halo(&self) -> bool {
        self.device == STRIX_HALO
    }

    /// Whether its memory is the system's: a processor's own graphics with a small carve-out, where the driver takes
    /// what it needs from ordinary memory (GTT). With a large carve-out it takes the carve-out, and is a card like
    /// any other: the driver takes the larger of the two.
    pub(crate) fn shares_system_memory(&self) -> bool {
        let vram = self.vram_total.unwrap_or_default();
        let small = vram <= Bytes::gb(4.0);
        let built_in = if self.is_strix_halo() { Some(true) } else { self.built_in };
        match self.gtt_total {
            Some(gtt) => gtt > vram && built_in.unwrap_or(small),
            // Without a figure the carve-out alone decides, and only for the machine that is known.
            None => self.is_strix_halo() && small,
        }
    }

    pub(crate) fn name(&self) -> String {
        match &self.product {
            Some(product) => product.clone(),
            None if self.is_strix_halo() => "AMD Strix Halo".to_owned(),
            None if self.device.is_empty() => "AMD graphics".to_owned(),
            None => format!("AMD graphics {}", self.device),
        }
    }
}

/// What is asked of the cards. Sensors cost more, and wake a card that sleeps in some kernels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ask {
    Memory,
    Everything,
}

/// The AMD cards that say anything of their memory: by PCI address where every one has it, else in the kernel's order.
///
/// What a card is divided into (XCP partitions have a cardN each) says nothing of memory, or has the card's own
/// address: it is not counted again.
pub(crate) fn read(sysroot: &Path, ask: Ask) -> Vec<Card> {
    let folder = sysroot.join("sys/class/drm");
    // Connectors are "card0-DP-1".
    let mut numbers: Vec<u32> =
        files::names(&folder).iter().filter_map(|name| name.strip_prefix("card")?.parse().ok()).collect();
    numbers.sort_unstable();
    numbers.dedup();
    let mut cards: Vec<Card> = Vec::new();
    for n in numbers {
        if let Some(card) = read_card(&folder.join(format!("card{n}/device")), ask)
            && (card.pci.is_none() || cards.iter().all(|c| c.pci != card.pci))
        {
            cards.push(card);
        }
    }
    if cards.iter().all(|c| c.pci.is_some()) {
        cards.sort_by(|a, b| a.pci.cmp(&b.pci));
    }
    cards
}

fn read_card(folder: &Path, ask: Ask) -> Option<Card> {
    let bytes = |name: &str| number(&folder.join(name)).map(Bytes).filter(|b| *b <= PLAUSIBLE);
    if line(&folder.join("vendor"))? != AMD {
        return None;
    }
    let vram_total = bytes("mem_info_vram_total").filter(|b| *b > Bytes::ZERO);
    let gtt_total = bytes("mem_info_gtt_total").filter(|b| *b > Bytes::ZERO);
    if vram_total.is_none() && gtt_total.is_none() {
        return None;
    }
    let hwmon = hwmon(folder);
    Some(Card {
        device: line(&folder.join("device")).unwrap_or_default(),
        product: line(&folder.join("product_name")),
        pci: uevent(folder, "PCI_SLOT_NAME").and_then(|address| pci_address(&address)),
        built_in: built_in(folder, hwmon.as_deref()),
        vram_total,
        vram_used: bytes("mem_info_vram_used"),
        gtt_total,
        gtt_used: bytes("mem_info_gtt_used"),
        sensors: if ask == Ask::Everything && !sleeps(folder) {
            sensors(folder, hwmon.as_deref())
        } else {
            Sensors::default()
        },
    })
}

fn hwmon(folder: &Path) -> Option<std::path::PathBuf> {
    let folder = folder.join("hwmon");
    files::names(&folder).into_iter().find(|n| n.starts_with("hwmon")).map(|n| folder.join(n))
}

/// Whether the card is part of the processor, where the driver gives it away: only such have a voltage of the
/// north bridge, and only cards of their own have a fan or a maker of their memory.
fn built_in(folder: &Path, hwmon: Option<&Path>) -> Option<bool> {
    let north_bridge = |hwmon: &Path| line(&hwmon.join("in1_label")).is_some_and(|label| label == "vddnb");
    if hwmon.is_some_and(north_bridge) {
        return Some(true);
    }
    let own = line(&folder.join("mem_info_vram_vendor")).is_some()
        || hwmon.is_some_and(|hwmon| number(&hwmon.join("fan1_input")).is_some());
    own.then_some(false)
}

/// A card that the kernel switched off meanwhile: asking its sensors would wake it.
fn sleeps(folder: &Path) -> bool {
    line(&folder.join("power/runtime_status")).is_some_and(|status| status == "suspended")
}

fn sensors(folder: &Path, hwmon: Option<&Path>) -> Sensors {
    let busy = number(&folder.join("gpu_busy_percent")).filter(|n| *n <= 100).map(|n| n as f64 / 100.0);
    let value = |name: &str| number(&hwmon?.join(name));
    let temperature = hwmon.and_then(|h| line(&h.join("temp1_input"))?.parse::<i64>().ok());
    Sensors {
        busy,
        // Thousandths of a degree, below freezing too.
        temperature: temperature.filter(|t| (-60_000..=200_000).contains(t)).map(|t| t as f64 / 1000.0),
        // Millionths of a watt; which of the two there is differs by generation.
        power_watts: value("power1_average")
            .or_else(|| value("power1_input"))
            .filter(|w| *w <= 10_000_000_000)
            .map(|w| w as f64 / 1e6),
        clock_mhz: value("freq1_input")
            .map(|hz| hz / 1_000_000)
            .and_then(|mhz| u32::try_from(mhz).ok())
            .filter(|mhz| *mhz <= 100_000),
    }
}

/// A value in a device's `uevent`.
pub(crate) fn uevent(device: &Path, name: &str) -> Option<String> {
    let text = files::text(&device.join("uevent"))?;
    let value = text.lines().find_map(|l| l.strip_prefix(name)?.strip_prefix('='))?.trim();
    (!value.is_empty()).then(|| value.to_owned())
}

/// A PCI address in one form, "0000:c4:00.0": the kernel's; NVML writes a domain of eight digits, and capitals.
pub fn pci_address(text: &str) -> Option<String> {
    let (domain, rest) = text.trim().split_once(':')?;
    let (bus, rest) = rest.split_once(':')?;
    let (device, function) = rest.split_once('.')?;
    let number = |text: &str, most: u32| u32::from_str_radix(text, 16).ok().filter(|n| *n <= most);
    Some(format!(
        "{:04x}:{:02x}:{:02x}.{:x}",
        number(domain, u32::MAX)?,
        number(bus, 0xff)?,
        number(device, 0x1f)?,
        number(function, 7)?
    ))
}
