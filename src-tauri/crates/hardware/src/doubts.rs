//! Where two sources of one figure contradict each other, or one says what cannot be: pure.

use domain::memory::{Bytes, GIB, Unit};
use domain::pool::{PoolId, PoolKind, PoolReading};

use crate::nvml::NvmlMemory;
use crate::pools::Survey;
use crate::reading::Doubt;

/// Counters are read one after the other and lag: less than this is no contradiction.
const TOLERANCE: Bytes = Bytes(2 * GIB);

const ASK_AGAIN: &str = "Restart the machine if this stays; until then leave more room than usual.";

pub(crate) fn doubts(survey: &Survey, pools: &[PoolReading]) -> Vec<Doubt> {
    let mut found = Vec::new();
    system(survey, pools, &mut found);
    amd(survey, &mut found);
    nvidia(survey, &mut found);
    found
}

/// What `more` exceeds `less` by, where that is a contradiction.
fn beyond(more: Option<Bytes>, less: Option<Bytes>) -> Option<Bytes> {
    Some(more?.saturating_sub(less?)).filter(|difference| *difference > TOLERANCE)
}

fn show(bytes: Bytes) -> String {
    bytes.show(Unit::Gb)
}

fn system(survey: &Survey, pools: &[PoolReading], found: &mut Vec<Doubt>) {
    let Some(pool) = pools.last().filter(|p| p.kind != PoolKind::Vram) else { return };
    let mut say = |bytes: Bytes, message: String, next: &str| {
        found.push(Doubt { pool: pool.id.clone(), message, next: next.to_owned(), bytes });
    };
    let memory = &survey.memory;
    if let (Some(total), None) = (memory.total, memory.available) {
        let message = format!(
            "The system does not say how much of its {} is available, so none is counted as in use.",
            show(total)
        );
        say(total, message, "Look at /proc/meminfo: a line MemAvailable should be there.");
    }
    if let (Some(free), Some(total)) = (memory.free, memory.total)
        && free > total
    {
        let message =
            format!("The system says that {} are free of {}, which cannot be.", show(free), show(total));
        say(free.saturating_sub(total), message, ASK_AGAIN);
    }
    let Some(card) = survey.sharing().filter(|_| pool.kind == PoolKind::Unified) else { return };
    if let (Some(mapped), Some(total)) = (card.gtt_used, memory.total)
        && mapped > total
    {
        let message = format!(
            "The GPU says that it holds {} of a system that has {}, so what it holds is not counted with.",
            show(mapped),
            show(total)
        );
        say(mapped.saturating_sub(total), message, ASK_AGAIN);
    } else if let Some(bytes) = beyond(card.gtt_used, memory.used()) {
        let (mapped, used) = (card.gtt_used.unwrap_or_default(), memory.used().unwrap_or_default());
        let message = format!(
            "The GPU holds {} while the system says that only {} are in use, so the larger is counted.",
            show(mapped),
            show(used)
        );
        say(bytes, message, ASK_AGAIN);
    }
    if let (Some(used), Some(cap)) = (card.gtt_used, card.gtt_total)
        && used > cap
    {
        let message = format!(
            "The GPU says that it holds {} under a cap of {}, which cannot be.",
            show(used),
            show(cap)
        );
        say(used.saturating_sub(cap), message, ASK_AGAIN);
    }
    if let Some(bytes) = beyond(card.gtt_total, memory.total) {
        let (cap, total) = (card.gtt_total.unwrap_or_default(), memory.total.unwrap_or_default());
        let message = format!(
            "The GPU may map {} of a system that has {}, so the smaller is counted.",
            show(cap),
            show(total)
        );
        say(
            bytes,
            message,
            "Set ttm.pages_limit to less than the system has, so that something is left for it.",
        );
    }
    if let (Some(cap), Some(limit)) = (card.gtt_total, survey.pages_limit)
        && let Some(bytes) = beyond(Some(cap.max(limit)), Some(cap.min(limit)))
    {
        let message = format!(
            "The GPU's driver says that it may map {}, its memory manager (ttm.pages_limit) {}.",
            show(cap),
            show(limit)
        );
        say(bytes, message, "Set ttm.pages_limit alone, leave amdgpu.gttsize out, and restart the machine.");
    }
}

fn amd(survey: &Survey, found: &mut Vec<Doubt>) {
    for (card, id) in survey.amd.iter().zip(survey.places().amd) {
        if id.0.starts_with("gpu") {
            own(&id, card.vram_total, card.vram_used, found);
        }
    }
}

fn nvidia(survey: &Survey, found: &mut Vec<Doubt>) {
    for (device, id) in survey.nvidia.iter().zip(survey.places().nvidia) {
        let mut say = |bytes: Bytes, message: String, next: &str| {
            found.push(Doubt { pool: id.clone(), message, next: next.to_owned(), bytes });
        };
        if device.shares_system_memory() {
            continue;
        }
        let NvmlMemory::Known { total, free, used, reserved } = device.memory else {
            let message =
                format!("{} does not say how much memory it has, so it is in no pool.", device.name);
            say(Bytes::ZERO, message, "Update NVIDIA's driver, and look at what nvidia-smi says.");
            continue;
        };
        if device.lost {
            let message =
                format!("{} no longer answers, so all of its {} count as in use.", device.name, show(total));
            say(
                total,
                message,
                "Restart the machine; if it happens again, look at the card's power and slot.",
            );
            continue;
        }
        let sum = free + used + reserved;
        if free > total {
            let message = format!(
                "{} says that {} are free of {}, which cannot be.",
                device.name,
                show(free),
                show(total)
            );
            say(free.saturating_sub(total), message, ASK_AGAIN);
        } else if let Some(bytes) = beyond(Some(sum.max(total)), Some(sum.min(total))) {
            let message = format!(
                "{} says that it has {}, but what is free, in use and reserved adds up to {}.",
                device.name,
                show(total),
                show(sum)
            );
            say(bytes, message, ASK_AGAIN);
        }
        if device.divided {
            let message = format!(
                "{} is divided into parts (MIG), and none of them has all of its {}.",
                device.name,
                show(total)
            );
            say(total, message, "Give agents no more than a part has, or switch MIG off.");
        }
        own(&id, Some(total), Some(used), found);
    }
}

/// Of a card's own memory.
fn own(id: &PoolId, total: Option<Bytes>, used: Option<Bytes>, found: &mut Vec<Doubt>) {
    let Some(total) = total else { return };
    let (bytes, message) = match used {
        None => (
            total,
            format!("The card does not say how much of its {} is in use, so none is counted.", show(total)),
        ),
        Some(used) if used > total => (
            used.saturating_sub(total),
            format!(
                "The card says that {} are in use of {}, so all of it is counted.",
                show(used),
                show(total)
            ),
        ),
        Some(_) => return,
    };
    found.push(Doubt { pool: id.clone(), message, next: ASK_AGAIN.to_owned(), bytes });
}
