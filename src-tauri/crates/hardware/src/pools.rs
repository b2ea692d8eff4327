//! From what was read to memory pools: pure.

use domain::Bytes;
use domain::pool::{PoolId, PoolKind, PoolReading};

use crate::cards::Card;
use crate::nvml::{NvmlDevice, NvmlMemory};
use crate::reading::{GpuReading, MemoryFacts};

/// Everything that was read of memory.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Survey {
    pub(crate) memory: MemoryFacts,
    pub(crate) amd: Vec<Card>,
    pub(crate) nvidia: Vec<NvmlDevice>,
    /// What all GPUs together may map of the system's memory.
    pub(crate) pages_limit: Option<Bytes>,
    /// What processes hold through NVIDIA's built-in GPUs, where there is one and it says so.
    pub(crate) nvidia_holds: Option<Bytes>,
}

/// Where the memory of each GPU is, in the order AMD, NVIDIA.
pub(crate) struct Places {
    pub(crate) amd: Vec<PoolId>,
    pub(crate) nvidia: Vec<PoolId>,
    host: PoolKind,
}

impl Survey {
    /// 1. A card with memory of its own (a large carve-out is such memory too): a pool for each, AMD's before
    ///    NVIDIA's, each by PCI address.
    /// 2. The system's memory is one more pool. It is unified where a GPU takes what it needs from it: NVIDIA's
    ///    built-in ones, Strix Halo with a small carve-out, and any other processor's graphics where there is no card
    ///    with memory of its own; beside one they only drive the screen.
    pub(crate) fn places(&self) -> Places {
        let no_own =
            self.nvidia.iter().all(NvmlDevice::shares_system_memory) && self.amd.iter().all(|c| !has_own(c));
        let unified = self.nvidia.iter().any(NvmlDevice::shares_system_memory)
            || self.amd.iter().any(|c| c.shares_system_memory() && (no_own || c.is_strix_halo()));
        let (host, id) = if unified { (PoolKind::Unified, "unified") } else { (PoolKind::Ram, "ram") };
        let mut own = 0;
        let mut place = |has_own: bool| {
            if has_own {
                own += 1;
                PoolId::new(format!("gpu{}", own - 1))
            } else {
                PoolId::new(id)
            }
        };
        let amd = self.amd.iter().map(|c| place(has_own(c))).collect();
        let nvidia = self.nvidia.iter().map(|d| place(d.has_own())).collect();
        Places { amd, nvidia, host }
    }

    pub(crate) fn pools(&self) -> Vec<PoolReading> {
        let places = self.places();
        let own = |id: &PoolId, n: usize, capacity: Option<Bytes>, used: Option<Bytes>| PoolReading {
            id: id.clone(),
            name: format!("GPU {n}"),
            kind: PoolKind::Vram,
            capacity,
            device_cap: None,
            // More than there is cannot be in use; without a figure nothing is claimed to be.
            used: used.unwrap_or_default().min(capacity.unwrap_or(used.unwrap_or_default())),
            device_used: None,
        };
        let amd = self.amd.iter().zip(&places.amd).filter(|(card, _)| has_own(card));
        let amd = amd.map(|(card, id)| (id, card.vram_total, card.vram_used));
        let nvidia = self.nvidia.iter().zip(&places.nvidia).filter(|(d, _)| d.has_own());
        let nvidia = nvidia.map(|(device, id)| (id, device.total(), device.used()));
        let mut pools: Vec<PoolReading> =
            amd.chain(nvidia).enumerate().map(|(n, (id, total, used))| own(id, n, total, used)).collect();
        pools.push(self.host(places.host));
        pools
    }

    fn host(&self, kind: PoolKind) -> PoolReading {
        let memory = &self.memory;
        let used = memory.used().unwrap_or_default();
        let possible = |held: Option<Bytes>| held.filter(|h| memory.total.is_none_or(|total| *h <= total));
        let sharing = self.sharing().filter(|_| kind == PoolKind::Unified);
        // NVIDIA's built-in GPUs have no cap of their own.
        let (device_cap, device_used) =
            sharing.map_or((None, possible(self.nvidia_holds)), |card| (self.cap(card), self.mapped(card)));
        let (id, name) = match kind {
            PoolKind::Unified => ("unified", "Unified memory"),
            PoolKind::Ram | PoolKind::Vram => ("ram", "System memory"),
        };
        PoolReading {
            id: PoolId::new(id),
            name: name.to_owned(),
            kind,
            capacity: memory.total,
            device_cap,
            // GTT pages are system memory: they are in here already, and more of them than that is in use for sure.
            used: used.max(device_used.unwrap_or_default()),
            device_used,
        }
    }

    /// The card that shares the system's memory. Of several the one that computes.
    pub(crate) fn sharing(&self) -> Option<&Card> {
        let sharing = || self.amd.iter().filter(|c| c.shares_system_memory());
        sharing().find(|c| c.is_strix_halo()).or_else(|| sharing().next())
    }

    /// The cap on what the card may map: at most what the system has, whatever the driver says.
    fn cap(&self, card: &Card) -> Option<Bytes> {
        let total = self.memory.total;
        card.gtt_total.map(|cap| total.map_or(cap, |total| cap.min(total)))
    }

    /// What the card has mapped; a figure above what the system has says nothing.
    fn mapped(&self, card: &Card) -> Option<Bytes> {
        card.gtt_used.filter(|used| self.memory.total.is_none_or(|total| *used <= total))
    }

    pub(crate) fn gpus(&self) -> Vec<GpuReading> {
        let places = self.places();
        let amd = self.amd.iter().zip(places.amd).map(|(card, pool)| GpuReading {
            pool,
            name: card.name(),
            pci: card.pci.clone(),
            uuid: None,
            busy: card.sensors.busy,
            temperature: card.sensors.temperature,
            power_watts: card.sensors.power_watts,
            clock_mhz: card.sensors.clock_mhz,
            vram_total: card.vram_total,
            vram_used: card.vram_used.filter(|used| card.vram_total.is_none_or(|total| *used <= total)),
            gtt_total: card.gtt_total,
            gtt_used: self.mapped(card),
        });
        let nvidia = self.nvidia.iter().zip(places.nvidia).map(|(device, pool)| {
            let own = device.has_own();
            GpuReading {
                pool,
                name: device.name.clone(),
                pci: device.pci.clone(),
                uuid: device.uuid.clone(),
                busy: device.busy.filter(|b| *b <= 100).map(|b| f64::from(b) / 100.0),
                temperature: device.temperature.filter(|t| *t <= 200).map(f64::from),
                power_watts: device.power_milliwatts.filter(|p| *p <= 10_000_000).map(|p| p as f64 / 1000.0),
                clock_mhz: device.clock_mhz.filter(|c| *c <= 100_000),
                vram_total: device.total().filter(|_| own),
                vram_used: device.used().filter(|_| own).filter(|u| device.total().is_none_or(|t| *u <= t)),
                gtt_total: None,
                gtt_used: None,
            }
        });
        amd.chain(nvidia).collect()
    }
}

fn has_own(card: &Card) -> bool {
    !card.shares_system_memory() && card.vram_total.is_some()
}

impl NvmlDevice {
    pub(crate) fn total(&self) -> Option<Bytes> {
        match self.memory {
            NvmlMemory::Known { total, .. } => Some(total),
            NvmlMemory::Unsupported | NvmlMemory::Unknown => None,
        }
    }

    /// What nobody else can have: the larger of what is said to be in use, the driver's part included, and of what
    /// is not free.
    pub(crate) fn used(&self) -> Option<Bytes> {
        match self.memory {
            NvmlMemory::Known { total, free, used, reserved } => {
                // What is lost, nobody gets anything of.
                Some(if self.lost { total } else { (used + reserved).max(total.saturating_sub(free)) })
            }
            NvmlMemory::Unsupported | NvmlMemory::Unknown => None,
        }
    }
}
