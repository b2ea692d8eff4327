//! What a set of processes holds: through the GPU, and in their control group. Without any right that a desktop user
//! lacks: what may not be read is not known, and never counts as nothing.
//!
//! Deliberately absent: asking a container's own processes from inside it (the engine's to do); memory limits.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{self, ErrorKind};
use std::path::Path;

use domain::Bytes;
use domain::pool::PoolId;
use serde::{Deserialize, Serialize};

use crate::cards::Ask;
use crate::fdinfo::{self, DrmClient};
use crate::nvml::NvmlProcess;
use crate::pools::Survey;
use crate::processes::ProcessTree;
use crate::{Machine, files};

/// What processes hold through GPUs.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct DeviceMemory {
    /// By the pool that the bytes are in. A card's own memory is in the card's; what a GPU maps of the system's (GTT)
    /// is in the system's, and in no process's resident set. A pool that is not here: they hold nothing of it.
    pub by_pool: BTreeMap<PoolId, Bytes>,
}

impl DeviceMemory {
    pub fn total(&self) -> Bytes {
        self.by_pool.values().copied().sum()
    }
}

/// What these processes and all below them hold through the machine's GPUs.
///
/// `None` where that is not known in full: a process whose files are closed to us (a container's, run as root), a
/// driver that does not count by process, and where there is no GPU to ask. Processes that are gone hold nothing. A
/// file that several share counts once.
///
/// The small carve-out of a GPU that shares the system's memory is in no pool, and is not counted.
pub fn device_memory(machine: &Machine, pids: &[u32]) -> Option<DeviceMemory> {
    device_memory_of(machine, &machine.processes(), pids)
}

/// As [`device_memory`], for one who knows the processes already.
pub fn device_memory_of(machine: &Machine, tree: &ProcessTree, pids: &[u32]) -> Option<DeviceMemory> {
    let survey = machine.survey(Ask::Memory);
    if survey.amd.is_empty() && survey.nvidia.is_empty() {
        return None;
    }
    let family = tree.family(pids);
    let mut held = DeviceMemory::default();
    if !survey.amd.is_empty() {
        add_clients(&survey, clients(tree.proc(), &family).ok()?, &mut held)?;
    }
    if !survey.nvidia.is_empty() {
        add_processes(&survey, &machine.nvml().processes(), &family, &mut held)?;
    }
    held.by_pool.retain(|_, bytes| *bytes > Bytes::ZERO);
    Some(held)
}

/// The clients that the processes have open, each once.
fn clients(proc: &Path, family: &BTreeSet<u32>) -> io::Result<Vec<DrmClient>> {
    let mut seen = BTreeSet::new();
    let mut found = Vec::new();
    for pid in family {
        let folder = proc.join(pid.to_string()).join("fdinfo");
        let entries = match fs::read_dir(&folder) {
            Err(error) if gone(&error) => continue,
            entries => entries?,
        };
        for entry in entries {
            let entry = match entry {
                Err(error) if gone(&error) => continue,
                entry => entry?,
            };
            let bytes = match files::bytes(&entry.path()) {
                Err(error) if gone(&error) => continue,
                bytes => bytes?,
            };
            let Some(client) = fdinfo::parse(&String::from_utf8_lossy(&bytes)) else { continue };
            if client.id.is_none_or(|id| seen.insert((client.pci.clone(), client.driver.clone(), id))) {
                found.push(client);
            }
        }
    }
    Ok(found)
}

/// It ended, or the file was closed, while we looked.
fn gone(error: &io::Error) -> bool {
    const ESRCH: i32 = rustix::io::Errno::SRCH.raw_os_error();
    error.kind() == ErrorKind::NotFound || error.raw_os_error() == Some(ESRCH)
}

/// `None` where a client says nothing of memory, or is of a card that is not known.
fn add_clients(survey: &Survey, clients: Vec<DrmClient>, held: &mut DeviceMemory) -> Option<()> {
    let places = survey.places().amd;
    let host = survey.pools().pop()?.id;
    for client in clients.into_iter().filter(|c| c.driver == "amdgpu") {
        let card = survey.amd.iter().position(|card| card.pci.is_some() && card.pci == client.pci);
        // A single card needs no address.
        let card = card.or((survey.amd.len() == 1).then_some(0))?;
        if client.vram.is_none() && client.gtt.is_none() {
            return None;
        }
        if places[card] != host {
            *held.by_pool.entry(places[card].clone()).or_default() += client.vram.unwrap_or_default();
        }
        *held.by_pool.entry(host.clone()).or_default() += client.gtt.unwrap_or_default();
    }
    Some(())
}

/// `None` where a card does not name its processes, or not what one of ours holds.
fn add_processes(
    survey: &Survey,
    answers: &[Option<Vec<NvmlProcess>>],
    family: &BTreeSet<u32>,
    held: &mut DeviceMemory,
) -> Option<()> {
    for (place, answer) in survey.places().nvidia.iter().zip(answers) {
        for process in answer.as_ref()?.iter().filter(|p| family.contains(&p.pid)) {
            *held.by_pool.entry(place.clone()).or_default() += process.memory?;
        }
    }
    Some(())
}

/// What the control group (version 2) of process `pid` holds, less the file pages that the kernel would drop first:
/// for a container the ordinary memory of all its processes. What is mapped through the GPU is mostly not charged to
/// it. `None` where the process is in the root group, or the group cannot be read.
///
/// A process that was started from a session is in that session's group, together with everything else in it.
pub fn cgroup_memory(machine: &Machine, pid: u32) -> Option<Bytes> {
    let group = parse_cgroup(&files::text(&machine.at(&format!("proc/{pid}/cgroup")))?)?;
    let folder = machine.at("sys/fs/cgroup").join(group);
    let current = Bytes(files::number(&folder.join("memory.current"))?);
    let inactive = files::text(&folder.join("memory.stat")).and_then(|text| parse_inactive_file(&text))?;
    Some(current.saturating_sub(inactive))
}

/// The group's folder below the mount, from `/proc/PID/cgroup`. A group outside of what we see ("/../x") is none.
pub fn parse_cgroup(text: &str) -> Option<String> {
    let path = text.lines().find_map(|line| line.strip_prefix("0::/"))?;
    let inside =
        !path.is_empty() && path.split('/').all(|part| !part.is_empty() && part != "." && part != "..");
    inside.then(|| path.to_owned())
}

/// "inactive_file" of `memory.stat`, in bytes.
pub fn parse_inactive_file(text: &str) -> Option<Bytes> {
    text.lines().find_map(|line| line.strip_prefix("inactive_file ")?.trim().parse().ok().map(Bytes))
}

#[cfg(test)]
mod tests;
