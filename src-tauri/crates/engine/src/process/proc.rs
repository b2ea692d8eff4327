//! What /proc says: which processes are ours, whose they are and whether they are still the same ones.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

/// One process at one time. A process id is used again some day; together with its start time it is not, until the
/// machine restarts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Who {
    pub(crate) pid: u32,
    /// Clock ticks since the machine started.
    pub(crate) started: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stat {
    pub(crate) who: Who,
    pub(crate) parent: u32,
    pub(crate) group: u32,
    /// It has ended and only its exit code is left.
    pub(crate) zombie: bool,
}

/// The stat of one process, if it is there.
pub(crate) fn stat(proc: &Path, pid: u32) -> Option<Stat> {
    parse_stat(pid, &fs::read_to_string(proc.join(pid.to_string()).join("stat")).ok()?)
}

fn parse_stat(pid: u32, text: &str) -> Option<Stat> {
    // The name is in parentheses and may hold spaces and parentheses itself.
    let rest = text.rsplit_once(')')?.1;
    let fields: Vec<&str> = rest.split_whitespace().collect();
    let number = |at: usize| fields.get(at)?.parse::<u64>().ok();
    Some(Stat {
        who: Who { pid, started: number(19)? },
        parent: u32::try_from(number(1)?).ok()?,
        group: u32::try_from(number(2)?).ok()?,
        zombie: matches!(*fields.first()?, "Z" | "X" | "x"),
    })
}

/// Every process that can be seen.
pub(crate) fn all(proc: &Path) -> Vec<Stat> {
    let Ok(entries) = fs::read_dir(proc) else { return Vec::new() };
    entries
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok())
        .filter_map(|pid| stat(proc, pid))
        .collect()
}

/// `root` and everything below it.
pub(crate) fn family(proc: &Path, root: u32) -> Vec<u32> {
    let all = all(proc);
    let mut found = vec![root];
    let mut next = 0;
    while let Some(&parent) = found.get(next) {
        found.extend(all.iter().filter(|s| s.parent == parent && s.who.pid != parent).map(|s| s.who.pid));
        next += 1;
    }
    found.sort_unstable();
    found.dedup();
    found
}

/// The environment a process was started with. Only its own user may read it.
pub(crate) fn environment(proc: &Path, pid: u32) -> Option<BTreeMap<String, String>> {
    let bytes = fs::read(proc.join(pid.to_string()).join("environ")).ok()?;
    let pairs = bytes.split(|b| *b == 0).filter_map(|pair| {
        let text = String::from_utf8_lossy(pair);
        let (name, value) = text.split_once('=')?;
        Some((name.to_owned(), value.to_owned()))
    });
    Some(pairs.collect())
}

pub(crate) fn boot_id(proc: &Path) -> String {
    fs::read_to_string(proc.join("sys/kernel/random/boot_id")).unwrap_or_default().trim().to_owned()
}

/// A handle on exactly this process; `None` when it has ended. The handle is taken first and the start time compared
/// after, so that it can never be another process that got the same id in between.
pub(crate) fn handle(proc: &Path, who: Who) -> io::Result<Option<OwnedFd>> {
    let Some(pid) = i32::try_from(who.pid).ok().and_then(Pid::from_raw) else { return Ok(None) };
    let fd = match pidfd_open(pid, PidfdFlags::empty()) {
        Ok(fd) => fd,
        Err(rustix::io::Errno::SRCH) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    Ok(stat(proc, who.pid).filter(|s| s.who == who).map(|_| fd))
}

pub(crate) fn signal(handle: &OwnedFd, signal: Signal) -> io::Result<()> {
    match pidfd_send_signal(handle, signal) {
        Ok(()) | Err(rustix::io::Errno::SRCH) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_cannot_shift_the_fields() {
        let text = "42 (a) b (c) S 7 42 42 0 -1 4194304 1 2 3 4 5 6 7 8 20 0 1 0 987654 1 2";
        assert_eq!(
            parse_stat(42, text),
            Some(Stat { who: Who { pid: 42, started: 987_654 }, parent: 7, group: 42, zombie: false })
        );
        assert!(parse_stat(1, "1 (x) Z 0 1 1 0 -1 0 0 0 0 0 0 0 0 0 20 0 1 0 5").unwrap().zombie);
        assert_eq!(parse_stat(1, "nonsense"), None);
    }

    #[test]
    fn this_process_is_seen() {
        let proc = Path::new("/proc");
        let me = std::process::id();
        let stat = stat(proc, me).unwrap();
        assert!(!stat.zombie && family(proc, stat.parent).contains(&me));
        assert!(environment(proc, me).unwrap().contains_key("PATH"));
        assert!(handle(proc, stat.who).unwrap().is_some());
        // The same id with another start time is another process.
        assert!(handle(proc, Who { started: stat.who.started + 1, ..stat.who }).unwrap().is_none());
    }
}
