//! What NVIDIA's management library says of its cards: from the library itself, or from a recording.
//!
//! Deliberately absent: parts of a divided card (MIG) as pools of their own, cards of a vGPU's host.

mod library;
mod recorded;

use std::path::Path;

use domain::Bytes;

pub use recorded::{Answer, parse};

use crate::cards::Ask;

const UNNAMED: &str = "NVIDIA GPU";

/// The source of the answers: one adapter for the library, one for `nvml.json` of a recording.
pub trait Nvml {
    /// Every card, by PCI address; those without an address come last. None where there is no library.
    fn devices(&self, ask: Ask) -> Vec<NvmlDevice>;

    /// The processes that hold memory of each card, in the order of [`Nvml::devices`]; `None` for a card that does
    /// not say.
    fn processes(&self) -> Vec<Option<Vec<NvmlProcess>>>;
}

/// One card. Every figure is absent where it has no answer.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct NvmlDevice {
    pub name: String,
    pub uuid: Option<String>,
    /// As [`crate::pci_address`] writes it.
    pub pci: Option<String>,
    pub memory: NvmlMemory,
    /// Whether the card is divided into parts (MIG).
    pub divided: bool,
    /// Per cent.
    pub busy: Option<u32>,
    /// °C.
    pub temperature: Option<u32>,
    pub power_milliwatts: Option<u64>,
    pub clock_mhz: Option<u32>,
    /// It answered before and does not now: the rest is what it said last.
    pub lost: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum NvmlMemory {
    Known {
        total: Bytes,
        free: Bytes,
        used: Bytes,
        /// The driver's own, in neither of the others.
        reserved: Bytes,
    },
    /// The card has no memory of its own (GB10, Jetson): it uses the system's.
    Unsupported,
    /// It should have some, and did not say: its driver is too old, say. It is in no pool.
    #[default]
    Unknown,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NvmlProcess {
    /// On the host, whatever container it is in.
    pub pid: u32,
    /// Absent where the driver does not count by process.
    pub memory: Option<Bytes>,
}

impl NvmlDevice {
    /// Whether it is part of the processor and its memory the system's: said by its name, or by having no answer to
    /// the question of memory. A divided card has none either at times, and is a card all the same.
    pub fn shares_system_memory(&self) -> bool {
        const BUILT_IN: [&str; 6] = ["GB10", "ORIN", "THOR", "XAVIER", "TEGRA", "JETSON"];
        let name = self.name.to_uppercase();
        let named = name.split(|c: char| !c.is_ascii_alphanumeric()).any(|word| BUILT_IN.contains(&word));
        named || (self.memory == NvmlMemory::Unsupported && !self.divided)
    }

    /// Whether it has a pool of its own.
    pub(crate) fn has_own(&self) -> bool {
        !self.shares_system_memory() && self.total().is_some()
    }
}

/// The answers for the machine below `sysroot`: the library's for the one we run on, else its recording's.
pub(crate) fn of(sysroot: &Path) -> Box<dyn Nvml> {
    if sysroot == Path::new("/") {
        Box::new(library::Library)
    } else {
        Box::new(recorded::Recorded::new(sysroot))
    }
}

/// By PCI address, those without one last.
fn by_address<T>(devices: &mut [(Option<String>, T)]) {
    devices.sort_by(|(a, _), (b, _)| (a.is_none(), a).cmp(&(b.is_none(), b)));
}

/// What the processes of those cards hold, where every one of them says so.
pub(crate) fn held_through(cards: &[bool], processes: &[Option<Vec<NvmlProcess>>]) -> Option<Bytes> {
    let chosen = cards.iter().zip(processes).filter(|(chosen, _)| **chosen);
    let bytes = chosen.map(|(_, named)| named.as_ref()?.iter().map(|p| p.memory).sum::<Option<Bytes>>());
    bytes.sum()
}

#[cfg(test)]
mod tests;
