//! Who holds memory: programs by name, and the processes of an agent. Of this machine only.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use domain::memory::KIB;
use sysinfo::{ProcessRefreshKind, ProcessesToUpdate, System};

use crate::files;

/// The `n` programs that hold most memory, largest first, all processes of one name together. Shared pages count in
/// each of them, so this says what is large, not how large exactly; memory held through the GPU is in none.
pub fn top_holders(n: usize) -> Vec<(String, u64)> {
    let Ok(mut system) = System::new() else { return Vec::new() };
    system.refresh_processes_specifics(
        ProcessesToUpdate::All,
        true,
        ProcessRefreshKind::nothing().with_memory().without_tasks(),
    );
    let mut by_name: BTreeMap<String, u64> = BTreeMap::new();
    for process in system.processes().values() {
        let bytes = by_name.entry(process.name().to_string_lossy().into_owned()).or_default();
        *bytes = bytes.saturating_add(process.memory());
    }
    largest(by_name, n)
}

fn largest(by_name: BTreeMap<String, u64>, n: usize) -> Vec<(String, u64)> {
    let mut holders: Vec<(String, u64)> = by_name.into_iter().filter(|(_, bytes)| *bytes > 0).collect();
    holders.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
    holders.truncate(n);
    holders
}

/// The bytes that these processes and all below them hold: their share of shared pages where the kernel tells it to
/// us (PSS), else what is resident. Processes that are gone hold nothing.
pub fn process_memory(pids: &[u32]) -> u64 {
    ProcessTree::read(Path::new("/proc")).memory(pids)
}

/// Which process is below which, at one instant. Finding that out means looking at every process of the machine:
/// who measures several agents does it once.
#[derive(Debug, Clone)]
pub struct ProcessTree {
    proc: PathBuf,
    children: BTreeMap<u32, Vec<u32>>,
}

impl ProcessTree {
    pub(crate) fn read(proc: &Path) -> Self {
        Self { proc: proc.to_path_buf(), children: children_by_parent(proc) }
    }

    /// These processes and all below them. Those that are gone stay in.
    pub fn family(&self, pids: &[u32]) -> BTreeSet<u32> {
        let mut seen = BTreeSet::new();
        let mut waiting = pids.to_vec();
        while let Some(pid) = waiting.pop() {
            if seen.insert(pid) {
                waiting.extend(self.children.get(&pid).into_iter().flatten());
            }
        }
        seen
    }

    /// As [`process_memory`].
    pub fn memory(&self, pids: &[u32]) -> u64 {
        let family = self.family(pids);
        family.into_iter().map(|pid| held_by(&self.proc.join(pid.to_string()))).fold(0, u64::saturating_add)
    }

    pub(crate) fn proc(&self) -> &Path {
        &self.proc
    }
}

/// Which of these programs run, by the name that the kernel has of them (at most 15 bytes): "earlyoom".
pub(crate) fn running(proc: &Path, names: &[&str]) -> BTreeSet<String> {
    let pids = files::names(proc).into_iter().filter(|name| name.bytes().all(|b| b.is_ascii_digit()));
    let named = pids.filter_map(|pid| files::line(&proc.join(pid).join("comm")));
    named.filter(|name| names.iter().any(|n| n.get(..15).unwrap_or(n) == name)).collect()
}

fn held_by(process: &Path) -> u64 {
    let value = |file: &str, name: &str| {
        let text = files::text(&process.join(file))?;
        let rest = text.lines().find_map(|l| l.strip_prefix(name))?.trim();
        rest.strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(KIB)
    };
    value("smaps_rollup", "Pss:").or_else(|| value("status", "VmRSS:")).unwrap_or(0)
}

fn children_by_parent(proc: &Path) -> BTreeMap<u32, Vec<u32>> {
    let mut children: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
    for entry in fs::read_dir(proc).into_iter().flatten().flatten() {
        let pid: Option<u32> = entry.file_name().to_str().and_then(|n| n.parse().ok());
        if let Some(pid) = pid
            && let Some(parent) = files::text(&entry.path().join("stat")).as_deref().and_then(parent)
        {
            children.entry(parent).or_default().push(pid);
        }
    }
    children
}

/// The parent in `stat`. The program's name before it may hold spaces and brackets: it ends at the last one.
fn parent(stat: &str) -> Option<u32> {
    stat.rsplit_once(')')?.1.split_ascii_whitespace().nth(1)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_brackets_hides_no_parent() {
        assert_eq!(parent("42 (a) R 7 (b)) S 17 42 42 0 -1"), Some(17));
        assert_eq!(parent("42 (sh) S 1 42"), Some(1));
        for damaged in ["", "42", "42 (sh", "42 (sh) S", "42 (sh) S x"] {
            assert_eq!(parent(damaged), None, "{damaged:?}");
        }
    }

    #[test]
    fn children_count_once_and_what_is_gone_holds_nothing() {
        let proc = tempfile::tempdir().unwrap();
        let add = |pid: u32, parent: u32, files: &[(&str, &str)]| {
            let folder = proc.path().join(pid.to_string());
            fs::create_dir(&folder).unwrap();
            fs::write(folder.join("stat"), format!("{pid} (a b) S {parent} 1 1")).unwrap();
            for (name, text) in files {
                fs::write(folder.join(name), text).unwrap();
            }
        };
        add(
            10,
            1,
            &[
                ("smaps_rollup", "Rss: 900 kB\nPss:   100 kB\nPss_Dirty: 7 kB\n"),
                ("status", "VmRSS: 900 kB\n"),
            ],
        );
        add(11, 10, &[("status", "Name:\tx\nVmRSS:\t     20 kB\n")]);
        add(12, 11, &[("smaps_rollup", "Pss: 3 kB\n")]);
        add(13, 1, &[("smaps_rollup", "Pss: 5000 kB\n")]);
        assert_eq!(ProcessTree::read(proc.path()).memory(&[10, 12, 999]), 123 * KIB);
        assert_eq!(ProcessTree::read(proc.path()).memory(&[]), 0);
    }

    #[test]
    fn programs_are_found_by_name() {
        let proc = tempfile::tempdir().unwrap();
        for (pid, name) in [("7", "earlyoom\n"), ("8", "systemd-oomdaem\n"), ("acpi", "nohang\n"), ("9", "x")]
        {
            fs::create_dir(proc.path().join(pid)).unwrap();
            fs::write(proc.path().join(pid).join("comm"), name).unwrap();
        }
        let found = running(proc.path(), &["earlyoom", "systemd-oomdaemon", "nohang"]);
        assert_eq!(found.into_iter().collect::<Vec<_>>(), ["earlyoom", "systemd-oomdaem"]);
    }

    #[test]
    fn this_process_holds_memory_and_is_among_the_holders() {
        assert!(process_memory(&[std::process::id()]) > 100 * KIB);
        let holders = top_holders(3);
        assert!(!holders.is_empty() && holders.len() <= 3);
        assert!(holders.is_sorted_by(|a, b| a.1 >= b.1), "{holders:?}");
    }
}
