//! How much memory there is for agents: carve-out, GTT cap, limit, what was lost.

use std::collections::BTreeSet;

use super::{Check, Facts, ask, fix, gib};
use crate::agent::AgentName;
use crate::memory::{Bytes, GIB, Unit};
use crate::plan::claims;
use crate::pool::{Ledger, PoolKind, PoolReading};
use crate::stack::Stack;

/// Firmware calls 512 MB what some kernels report as up to 4 GB.
const SMALL_CARVE_OUT: Bytes = Bytes(4 * GIB);
const PAGE: u64 = 4096;

pub(super) fn checks(facts: &Facts) -> Vec<Check> {
    vec![carve_out(facts), gtt_cap(facts), limit(facts), counters(facts), lost(facts)]
}

fn carve_out(facts: &Facts) -> Check {
    let asked = ask(
        "carve_out",
        "GPU carve-out",
        "512 MB, or the least that the firmware offers",
        "What the firmware gives to the GPU is taken from the system for good. With a small carve-out the driver takes what it needs from ordinary memory and gives it back.",
    );
    match facts.graphics.carve_out {
        None => asked.skip("No graphics here share the system's memory."),
        Some(size) if size <= SMALL_CARVE_OUT => asked.pass(size.show(Unit::for_capacity(size))),
        Some(size) => asked.warn(
            format!("{} are held by the GPU alone", size.show(Unit::Gb)),
            "# In the firmware's setup, set UMA frame buffer size (or: dedicated graphics memory) to 512 MB:\nsystemctl reboot --firmware-setup",
        ),
    }
}

/// What GPU agents of the profile that takes most hold together.
pub(super) fn most_on_device(
    stack: &Stack,
    pools: &[PoolReading],
    pool: &PoolReading,
) -> Option<(String, Bytes)> {
    let of_profile = |agents: &[AgentName]| -> Bytes {
        let servers: BTreeSet<&AgentName> = agents.iter().map(|name| stack.server_of(name)).collect();
        let held = servers.iter().filter_map(|name| stack.agent(name)).filter(|agent| agent.is_ours());
        held.filter_map(|agent| claims(agent, pools).get(&pool.id).map(|share| share.device)).sum()
    };
    let all = stack.profiles.iter().map(|profile| (profile.name.clone(), of_profile(&profile.agents)));
    all.max_by_key(|(_, bytes)| *bytes)
}

/// What to raise the cap to: all of the memory but one GB, in whole GB.
fn cap_to_set(capacity: Bytes) -> Bytes {
    Bytes((capacity.0 / GIB).saturating_sub(1).max(1) * GIB)
}

fn gtt_cap(facts: &Facts) -> Check {
    let why = "The GPU may map this much of the memory; the kernel's default is half of it. Agents on the GPU cannot hold more together, however much is free.";
    let title = "GPU-addressable memory";
    let pools = &facts.situation.pools;
    let Some(pool) = pools.iter().find(|p| p.kind == PoolKind::Unified) else {
        return ask("gtt_cap", title, "As much as the profiles need", why)
            .skip("No graphics here share the system's memory.");
    };
    let unit = pool.capacity.map(Unit::for_capacity).unwrap_or_default();
    // What other programs hold through the GPU is under the same cap.
    let held: Bytes = facts
        .situation
        .running
        .iter()
        .filter_map(|r| Some(r.held.measured.as_ref().unwrap_or(&r.held.reserved).get(&pool.id)?.device))
        .sum();
    let others = pool.device_used.unwrap_or_default().saturating_sub(held);
    let most = facts.stack.as_ref().ok().and_then(|stack| most_on_device(stack, pools, pool));
    let need = most.map(|(profile, bytes)| (profile, bytes + others));
    let wanted = match &need {
        Some((profile, bytes)) => format!("At least {}, for {profile}", bytes.show_up(unit)),
        None => "As much as the profiles need".to_owned(),
    };
    let asked = ask("gtt_cap", title, wanted, why);
    let Some(cap) = pool.device_cap else {
        return asked.skip("The driver does not say how much the GPU may map.");
    };
    let module = if facts.kernel.amdttm { "amdttm" } else { "ttm" };
    let limit = facts.kernel.pages_limit.as_ref();
    let pages = limit.map_or_else(|_| String::new(), |pages| format!(", {module}.pages_limit={pages}"));
    let found = if unit == Unit::Gb { format!("{}{pages}", gib(cap)) } else { cap.show(unit) };
    if facts.rehearsal && unit == Unit::Mb {
        return asked.pass(found);
    }
    let capacity = pool.capacity.unwrap_or(cap);
    let set = |bytes: Bytes| {
        let word = format!("{module}.pages_limit={}", bytes.0 / PAGE);
        fix::kernel_parameters(facts.distribution, &[word], &["amdgpu.gttsize"])
    };
    let best = cap_to_set(capacity);
    match need {
        // A cap that cannot be raised is not what is wrong: others hold what is short, and the profiles say so.
        Some((_, need)) if need > cap && cap < best => {
            let default = if cap <= capacity.share(51, 100) { ", half of the memory" } else { "" };
            asked.fail(format!("{found}{default}, {} short", need.saturating_sub(cap).show_up(unit)), set(best))
        }
        _ if cap > capacity => asked
            .because("The GPU may map more than there is, so the cap protects nobody: the machine runs out before the GPU does.")
            .warn(format!("{found}, more than the {} that the system has", gib(capacity)), set(best)),
        _ => asked.pass(found),
    }
}

fn limit(facts: &Facts) -> Check {
    let asked = ask(
        "memory_limit",
        "Memory limit",
        "A capacity that can be read, and a limit of at most 4 GB less",
        "Without a capacity nothing is planned. The rest above the limit keeps the desktop alive while a model loads.",
    );
    let Some(pool) = facts.situation.pools.first() else {
        return asked.fail("No memory of this machine could be read", "head -3 /proc/meminfo");
    };
    let Some(capacity) = pool.capacity.filter(|c| *c > Bytes::ZERO) else {
        return asked
            .fail(format!("The capacity of {} could not be read", pool.name), "head -3 /proc/meminfo");
    };
    let unit = Unit::for_capacity(capacity);
    let wished = facts.stack.as_ref().ok().and_then(|stack| stack.memory.for_pool(&pool.id));
    let limit = Ledger::limit_for(pool.kind, capacity, wished);
    let found = format!("{} of {}", limit.show(unit), capacity.show(unit));
    match wished {
        Some(wished) if wished > limit => asked
            .because("The stack asks for more than this machine can give, so a lower limit is in force.")
            .warn(
                format!("{found}, the stack asks for {}", wished.show(unit)),
                "# Lower or remove limit in [memory] of the stack file:\nasgard config edit",
            ),
        _ => asked.pass(found),
    }
}

fn counters(facts: &Facts) -> Check {
    let asked = ask(
        "counters",
        "Memory counters",
        "They agree within 2 GB",
        "The GPU's driver and the kernel count the same memory. Where they differ, figures are shown with that doubt.",
    );
    match facts.doubts.first() {
        None if facts.situation.pools.is_empty() => asked.skip("There are no figures."),
        None => asked.pass("They agree"),
        Some((message, next)) => {
            let all: Vec<&str> = facts.doubts.iter().map(|(message, _)| message.as_str()).collect();
            let said = if next.is_empty() { message } else { next };
            asked.warn(all.join(" "), format!("# {said}\nasgard doctor --report asgard-report.md"))
        }
    }
}

fn lost(facts: &Facts) -> Check {
    let asked = ask(
        "lost_memory",
        "Memory that did not come back",
        "None",
        "A process that hangs in the kernel keeps what it mapped until the next boot. Plans count with what is left.",
    );
    if !facts.lost_is_known {
        return asked.skip("Only a running controller sees what agents leave behind.");
    }
    let lost: Bytes = facts.situation.lost.values().copied().sum();
    let unit = facts.situation.pools.iter().filter_map(|p| p.capacity).max().map(Unit::for_capacity);
    if lost == Bytes::ZERO {
        asked.pass("None")
    } else {
        asked.warn(format!("{} since the last boot", lost.show(unit.unwrap_or_default())), "sudo reboot")
    }
}
