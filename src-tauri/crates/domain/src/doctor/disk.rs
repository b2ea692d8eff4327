//! Room on disks, models that are there, and a cache that this user can work with.

use super::facts::missing_bytes;
use super::{Check, Facts, Free, Seen, ask, fix, on_disk};

const GB: u64 = 1_000_000_000;
/// Room for a model's temporary files and for what else happens on the disk.
const SPARE: u64 = 10 * GB;
/// A large image with a ROCm in it, packed and unpacked.
const IMAGE: u64 = 40 * GB;
/// Compiled kernels of some agents.
const CACHES: u64 = 5 * GB;
const DATA: u64 = GB;

pub(super) fn checks(facts: &Facts) -> Vec<Check> {
    vec![
        models(facts),
        hub(facts),
        room_for_models(facts),
        room_for_images(facts),
        caches(facts),
        data(facts),
    ]
}

fn models(facts: &Facts) -> Check {
    let asked = ask(
        "models",
        "Models",
        "Whole in the Hugging Face cache",
        "Agents are started without the network: a model that is not whole is refused before anything is stopped for it.",
    );
    if facts.rehearsal {
        return asked.skip("Stand-ins need none.");
    }
    let models = match &facts.models {
        Ok(models) => models,
        Err(reason) => return asked.skip(reason.clone()),
    };
    let missing: Vec<_> = models.iter().filter(|m| m.missing.is_some()).collect();
    if models.is_empty() {
        return asked.skip("No agent takes a model from there.");
    }
    if missing.is_empty() {
        return asked.pass(format!("{} of {}", models.len(), models.len()));
    }
    let size = match missing_bytes(models) {
        0 => String::new(),
        bytes => format!(", about {} to fetch", on_disk(bytes)),
    };
    let fetch: Vec<&str> = missing.iter().map(|m| m.fetch.as_str()).collect();
    asked.warn(format!("{} of {}{size}", models.len() - missing.len(), models.len()), fetch.join("\n"))
}

fn hub(facts: &Facts) -> Check {
    let asked = ask(
        "hub_cache",
        "Hugging Face cache",
        "Everything in it is yours",
        "Containers that run as root leave files of root there. You can then neither finish nor delete those downloads.",
    );
    let hub = match &facts.hub {
        Ok(hub) => hub,
        Err(reason) => return asked.skip(reason.clone()),
    };
    let own = || format!("sudo chown -R \"$USER\": {}", fix::quoted(&hub.path));
    let first = |paths: &[String]| paths.first().cloned().unwrap_or_default();
    if !hub.unreadable.is_empty() {
        return asked.fail(format!("{} cannot be read", first(&hub.unreadable)), own());
    }
    if !hub.foreign.is_empty() {
        return asked.warn(format!("{} belongs to another user", first(&hub.foreign)), own());
    }
    if !hub.exists {
        return asked.pass(format!("{} is made with the first download", hub.path));
    }
    let cut = if hub.cut { ", as far as it was looked at" } else { "" };
    asked.pass(format!("{}, all yours{cut}", hub.path))
}

/// A disk with less than `wanted`; with less than `least` nothing works.
fn room(id: &str, title: &str, free: &Seen<Free>, wanted: u64, least: u64, why: &str) -> Check {
    let asked = ask(id, title, format!("At least {}", on_disk(wanted)), why);
    let free = match free {
        Ok(free) => free,
        Err(reason) => return asked.skip(reason.clone()),
    };
    let found = format!("{} at {}", on_disk(free.bytes), free.path);
    let look = format!(
        "df -h {}\ndu -xh --max-depth=2 {} | sort -h | tail -20",
        fix::quoted(&free.path),
        fix::quoted(&free.path)
    );
    if free.bytes < least {
        asked.fail(found, look)
    } else if free.bytes < wanted {
        asked.warn(found, look)
    } else {
        asked.pass(found)
    }
}

fn room_for_models(facts: &Facts) -> Check {
    let missing = facts.models.as_ref().map_or(0, |models| missing_bytes(models));
    let missing = if facts.rehearsal { 0 } else { missing };
    room(
        "disk_models",
        "Free disk for models",
        &facts.disks.models,
        missing.saturating_add(SPARE),
        missing.max(GB),
        "Models that are not here yet are downloaded there.",
    )
}

fn room_for_images(facts: &Facts) -> Check {
    let absent = facts.images.as_ref().is_ok_and(|images| images.iter().any(|i| i.present == Ok(false)));
    let wanted = if absent && !facts.rehearsal { IMAGE } else { SPARE };
    room(
        "disk_images",
        "Free disk for images",
        &facts.disks.engine,
        wanted,
        2 * GB,
        "The engine keeps images there, and needs them packed and unpacked while it pulls. An engine without room fails at everything.",
    )
}

fn caches(facts: &Facts) -> Check {
    room(
        "disk_caches",
        "Free disk for compile caches",
        &facts.disks.caches,
        CACHES,
        GB / 2,
        "Model servers keep what they compiled there; without it every start compiles anew, for minutes.",
    )
}

fn data(facts: &Facts) -> Check {
    room(
        "disk_data",
        "Free disk for the database",
        &facts.disks.data,
        DATA,
        GB / 10,
        "Chats and history are kept there.",
    )
}
