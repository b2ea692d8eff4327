//! What softens a short peak: swap, swappiness, and somebody who ends the right program in time.

use super::{Check, Facts, Swap, ask, fix};
use crate::memory::{Bytes, Unit};
use crate::pool::PoolKind;

/// Idle memory of a desktop is a few GB; what the GPU has mapped is pinned and never swapped.
const ENOUGH: f64 = 8.0;
/// The kernel's default is 60.
const SWAPPINESS: u64 = 80;
/// Below this the kernel keeps idle memory nearly to the end.
const LEAST_SWAPPINESS: u64 = 10;

pub(super) fn checks(facts: &Facts) -> Vec<Check> {
    vec![swap(facts), swappiness(facts), early_oom(facts), pressure(facts)]
}

fn total(swap: &Swap) -> Bytes {
    swap.areas.iter().flatten().map(|area| area.size).sum()
}

fn swap(facts: &Facts) -> Check {
    let enough = facts.swap.memory.map_or(Bytes::gb(ENOUGH), |c| Bytes::gb(ENOUGH).min(c.share(1, 4)));
    let unit = Unit::for_capacity(enough);
    let asked = ask(
        "swap",
        "Swap",
        format!("At least {}", enough.show(unit)),
        "Without room to swap, a short peak ends the largest program. It helps the desktop's idle memory only: what the GPU has mapped is never swapped.",
    );
    let areas = match &facts.swap.areas {
        Ok(areas) => areas,
        Err(reason) => return asked.skip(reason.clone()),
    };
    let size = total(&facts.swap);
    let more = || fix::swap_file(enough.saturating_sub(size), facts.swap.root_file_system.as_deref());
    if areas.is_empty() {
        return asked.warn("None", more());
    }
    let in_memory = if areas.iter().all(super::SwapArea::in_memory) { ", compressed in memory" } else { "" };
    let found = format!("{}{in_memory}", size.show(Unit::for_capacity(size)));
    // Firmware and file systems round down a little.
    if size >= enough.share(95, 100) { asked.pass(found) } else { asked.warn(found, more()) }
}

fn swappiness(facts: &Facts) -> Check {
    let unified = facts.situation.pools.iter().any(|p| p.kind == PoolKind::Unified);
    let wanted = if unified { SWAPPINESS } else { LEAST_SWAPPINESS };
    let asked = ask(
        "swappiness",
        "Swappiness",
        format!("At least {wanted}"),
        "The kernel should move idle memory of programs out before a model load needs the room.",
    );
    match &facts.swap.swappiness {
        Err(reason) => asked.skip(reason.clone()),
        Ok(_) if facts.swap.areas.is_ok() && total(&facts.swap) == Bytes::ZERO => asked.skip("There is no swap."),
        Ok(value) if *value >= wanted => asked.pass(value.to_string()),
        Ok(value) => asked.warn(
            value.to_string(),
            format!(
                "echo 'vm.swappiness={wanted}' | sudo tee /etc/sysctl.d/99-swappiness.conf\nsudo sysctl --system"
            ),
        ),
    }
}

fn early_oom(facts: &Facts) -> Check {
    let asked = ask(
        "early_oom",
        "earlyoom",
        "earlyoom or systemd-oomd running",
        "It ends one program early, before the desktop freezes; the kernel by itself acts late.",
    );
    match &facts.swap.early_oom {
        Err(reason) => asked.skip(reason.clone()),
        Ok(Some(name)) => asked.pass(format!("{name} runs")),
        Ok(None) => asked.warn(
            "Not running",
            format!("{}\nsudo systemctl enable --now earlyoom", fix::install(facts.distribution, "earlyoom")),
        ),
    }
}

fn pressure(facts: &Facts) -> Check {
    let asked = ask(
        "pressure",
        "Memory pressure",
        "The kernel tells it (PSI)",
        "With it Asgard notices a shortage before it hurts; without it the free memory is looked at once a second.",
    );
    match &facts.kernel.pressure {
        Err(reason) => asked.skip(reason.clone()),
        Ok(true) => asked.pass("The kernel tells it"),
        Ok(false) => asked.warn(
            "/proc/pressure/memory cannot be read",
            fix::kernel_parameters(facts.distribution, &["psi=1".to_owned()], &[]),
        ),
    }
}
