//! What one reading of the machine says.

use domain::Bytes;
use domain::pool::{PoolId, PoolKind, PoolReading};
use serde::{Deserialize, Serialize};

/// The machine at one instant.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Reading {
    /// Never empty: the system's own memory is always one of them, and the last.
    pub pools: Vec<PoolReading>,
    /// Every GPU that says something of itself, those without a pool of their own too.
    pub gpus: Vec<GpuReading>,
    pub memory: MemoryFacts,
    /// Absent where the kernel does not account for it.
    pub pressure: Option<Pressure>,
    /// Where two sources contradict each other.
    pub doubts: Vec<Doubt>,
}

/// One GPU. Every figure is absent where the driver does not give it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct GpuReading {
    /// The pool that its memory is in: its own, or the one it shares with the system.
    pub pool: PoolId,
    pub name: String,
    /// Its PCI address, in lower case with a domain of four digits: "0000:c4:00.0".
    pub pci: Option<String>,
    /// NVIDIA's name for it, which outlives a change of slots.
    pub uuid: Option<String>,
    /// The part of the time in which it worked, 0 to 1.
    pub busy: Option<f64>,
    /// °C, at the edge of the chip.
    pub temperature: Option<f64>,
    pub power_watts: Option<f64>,
    /// The shaders' clock.
    pub clock_mhz: Option<u32>,
    pub vram_total: Option<Bytes>,
    pub vram_used: Option<Bytes>,
    /// A cap on what it may map of the system's memory, not memory of its own.
    pub gtt_total: Option<Bytes>,
    /// Part of what the system has in use.
    pub gtt_used: Option<Bytes>,
}

/// `/proc/meminfo`, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct MemoryFacts {
    /// What the kernel has, less the firmware's carve-out.
    pub total: Option<Bytes>,
    /// What programs can still get without swapping, by the kernel's estimate.
    pub available: Option<Bytes>,
    pub free: Option<Bytes>,
    pub buffers: Option<Bytes>,
    pub cached: Option<Bytes>,
    pub swap_total: Option<Bytes>,
    pub swap_free: Option<Bytes>,
    pub shmem: Option<Bytes>,
    /// The kernel's own, that it gives back when asked.
    pub reclaimable: Option<Bytes>,
}

impl MemoryFacts {
    /// In use by everybody; absent where the kernel does not say what is available.
    pub fn used(&self) -> Option<Bytes> {
        Some(self.total?.saturating_sub(self.available?))
    }
}

/// `/proc/pressure/memory`: how long tasks waited for memory.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct Pressure {
    /// Per cent of the last ten seconds in which some task waited.
    pub some_avg10: f64,
    /// Per cent in which all of them did.
    pub full_avg10: f64,
    /// Since the machine started, microseconds.
    pub some_total_us: u64,
    pub full_total_us: u64,
}

/// Two sources that differ by more than 2 GB, or one that says what cannot be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Doubt {
    pub pool: PoolId,
    /// What contradicts what, and which is counted with: one sentence.
    pub message: String,
    /// What to do: one sentence.
    pub next: String,
    /// By how much they differ.
    pub bytes: Bytes,
}

/// What a further program could take of `pool` now, with `reserve` left over: of memory that the GPU shares with the
/// system the smaller of what is free under the GTT cap and what the kernel has available; of a card's own memory
/// what is not in use.
///
/// `None` where the pool is not there or does not say enough; never a guess.
pub fn headroom(reading: &Reading, pool: &PoolId, reserve: Bytes) -> Option<Bytes> {
    let pool = reading.pools.iter().find(|p| p.id == *pool)?;
    if pool.kind == PoolKind::Vram {
        let card = reading.gpus.iter().find(|g| g.pool == pool.id)?;
        return Some(pool.capacity?.saturating_sub(card.vram_used?).saturating_sub(reserve));
    }
    // Where the GPU holds more than the system says is in use, what the GPU says counts.
    let free = pool.capacity?.saturating_sub(pool.used);
    let available = reading.memory.available?.min(free).saturating_sub(reserve);
    // Without a figure for what the GPU holds, the cap itself still bounds.
    let under_cap = pool.device_cap.map(|cap| cap.saturating_sub(pool.device_used.unwrap_or_default()));
    Some(under_cap.map_or(available, |free| free.min(available)))
}
