//! From what was read to memory pools: pure.

use domain::pool::{PoolId, PoolKind, PoolReading};

use crate::cards::Card;
use crate::meminfo::MemInfo;

/// 1. A card with memory of its own (a large carve-out is such memory too): a pool for each, and one for the RAM.
///    A processor's small graphics beside it only drives the screen.
/// 2. Else graphics that share the system's memory: one unified pool, with the GTT cap as its second bound.
/// 3. Else the RAM alone.
pub(crate) fn pools(memory: MemInfo, cards: &[Card]) -> Vec<PoolReading> {
    let own = cards.iter().filter(|c| !c.shares_system_memory() && c.vram_total.is_some());
    let mut pools: Vec<PoolReading> = own
        .enumerate()
        .map(|(n, card)| PoolReading {
            id: PoolId::new(format!("gpu{n}")),
            name: format!("GPU {n}"),
            kind: PoolKind::Vram,
            capacity: card.vram_total,
            device_cap: None,
            used: card.vram_used,
            device_used: None,
        })
        .collect();
    let shared = cards.iter().find(|c| c.shares_system_memory()).filter(|_| pools.is_empty());
    pools.push(match shared {
        Some(card) => PoolReading {
            id: PoolId::new("unified"),
            name: "Unified memory".to_owned(),
            kind: PoolKind::Unified,
            capacity: memory.total,
            device_cap: card.gtt_total,
            // GTT pages are system memory: they are in here already.
            used: memory.used(),
            device_used: card.gtt_used,
        },
        None => PoolReading {
            id: PoolId::new("ram"),
            name: "System memory".to_owned(),
            kind: PoolKind::Ram,
            capacity: memory.total,
            device_cap: None,
            used: memory.used(),
            device_used: None,
        },
    });
    pools
}
