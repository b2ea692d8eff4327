//! Whether the kernel's memory killer ended a server, from its own log.
//!
//! Engines tell of the first process of a container alone. vLLM's workers are children of it: when the kernel kills
//! one, the server ends by itself with an exit code that says nothing. Where the log may not be read
//! (`kernel.dmesg_restrict`), nothing is known; where it has no such line, a program that watches the memory
//! (earlyoom) may still have done it.

use std::fs::File;
use std::io::{ErrorKind, Read};
use std::path::Path;

use rustix::fs::{Mode, OFlags};

/// The kernel's log, as it hands it out record by record.
pub const KERNEL_LOG: &str = "/dev/kmsg";

/// A record is shorter than this by the kernel's own rule.
const RECORD: usize = 8192;
/// More than any kernel keeps.
const LONGEST: usize = 64 << 20;
/// What is kept of it: a machine that kills all the time says the same again and again.
const KEPT: usize = 1 << 20;

/// A process that the kernel killed because memory ran out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemoryKill {
    pub pid: u32,
    /// The kernel's short name of it, at most 15 bytes.
    pub program: String,
    /// Its control group had reached a limit of its own; the machine had memory left.
    pub group: bool,
}

/// The lines of a kernel log that tell of such kills, oldest first; nothing where it may not be read. Never waits for
/// a line to come.
pub fn read(path: &Path) -> Option<String> {
    let descriptor =
        rustix::fs::open(path, OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC, Mode::empty()).ok()?;
    let mut file = File::from(descriptor);
    let mut record = vec![0; RECORD];
    // What a read of a plain file cut is put together again.
    let (mut line, mut kept, mut seen) = (Vec::new(), String::new(), 0);
    while seen < LONGEST {
        let length = match file.read(&mut record) {
            Ok(0) => break,
            Ok(length) => length,
            // The kernel overwrote what was next: it goes on with the oldest that it has.
            Err(error) if error.kind() == ErrorKind::BrokenPipe => {
                seen += RECORD;
                continue;
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(error) if error.kind() == ErrorKind::WouldBlock => break,
            Err(_) => return None,
        };
        seen += length;
        for byte in record.iter().take(length) {
            if *byte == b'\n' {
                keep(&line, &mut kept);
                line.clear();
            } else if line.len() < RECORD {
                line.push(*byte);
            }
        }
    }
    keep(&line, &mut kept);
    Some(kept)
}

fn keep(line: &[u8], kept: &mut String) {
    let line = String::from_utf8_lossy(line);
    if kept.len() < KEPT && (killed(&line).is_some() || chosen(&line).is_some()) {
        kept.push_str(&line);
        kept.push('\n');
    }
}

/// The last kill in a kernel log that concerns a server: one of its processes, or one in its container, whose id is in
/// the name of its control group.
pub fn memory_kill(log: &str, container: &str, pids: &[u32]) -> Option<MemoryKill> {
    // The kernel tells of a kill in two lines, the control group in the first.
    let mut group_of: Option<(u32, bool)> = None;
    let mut last = None;
    for line in log.lines() {
        if let Some((pid, group)) = chosen(line) {
            group_of = Some((pid, is_container(container) && group.contains(container)));
        } else if let Some(kill) = killed(line) {
            let inside = group_of.is_some_and(|(pid, inside)| pid == kill.pid && inside);
            if inside || pids.contains(&kill.pid) {
                last = Some(kill);
            }
        }
    }
    last
}

/// Engines' own ids; a short name could be in any path.
fn is_container(id: &str) -> bool {
    id.len() >= 12 && id.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// "oom-kill:constraint=…,task_memcg=/system.slice/docker-0a1b….scope,task=python3,pid=12,uid=0"
fn chosen(line: &str) -> Option<(u32, &str)> {
    let facts = line.split_once("oom-kill:constraint=")?.1;
    let fact = |name: &str| facts.rsplit_once(name).map(|(_, rest)| rest.split(',').next().unwrap_or(rest));
    Some((fact(",pid=")?.trim().parse().ok()?, fact(",task_memcg=").unwrap_or_default()))
}

/// "Out of memory: Killed process 12 (python3) total-vm:…", or of a "Memory cgroup". Older kernels said "Kill".
fn killed(line: &str) -> Option<MemoryKill> {
    let (before, after) = line.split_once("ut of memory")?;
    let rest = after.split_once("illed process ").or_else(|| after.split_once("Kill process "))?.1;
    let (pid, rest) = rest.split_once(' ')?;
    let program = rest.strip_prefix('(')?;
    // A name may have brackets of its own.
    let end = [") total-vm", ") score", "),"].iter().find_map(|end| program.find(end));
    let program = program.get(..end.or_else(|| program.find(')'))?)?;
    Some(MemoryKill {
        pid: pid.parse().ok()?,
        program: program.to_owned(),
        group: before.contains("Memory cgroup"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "0a1b2c3d4e5f60718293a4b5c6d7e8f90a1b2c3d4e5f60718293a4b5c6d7e8f9";

    #[expect(clippy::unnecessary_wraps, reason = "it is what a reading is held against")]
    fn kill(pid: u32, program: &str, group: bool) -> Option<MemoryKill> {
        Some(MemoryKill { pid, program: program.to_owned(), group })
    }

    #[test]
    fn kills_are_found_in_every_form() {
        for (line, wanted) in [
            (
                "6,1234,987654321,-;Out of memory: Killed process 4711 (VLLM::EngineCor) total-vm:99kB, anon-rss:1kB",
                kill(4711, "VLLM::EngineCor", false),
            ),
            ("[  12.5] Out of memory: Killed process 12 (a) (b) total-vm:1kB", kill(12, "a) (b", false)),
            (
                "3,1,2,-;Memory cgroup out of memory: Killed process 9 (llama-server) total-vm:1kB",
                kill(9, "llama-server", true),
            ),
            (
                "Out of memory: Kill process 7 (python3) score 900 or sacrifice child",
                kill(7, "python3", false),
            ),
            ("Out of memory (oom_kill_allocating_task): Killed process 8 (x), UID 0", kill(8, "x", false)),
            ("6,1,2,-;Killed process 4711 (x) by hand", None),
            ("Out of memory: Killed process x (y)", None),
            ("Out of memory: Killed process 4294967296 (y) total-vm", None),
            ("Out of memory: Killed process 5 y", None),
            ("Out of memory", None),
            ("", None),
        ] {
            assert_eq!(killed(line), wanted, "{line}");
        }
    }

    #[test]
    fn a_kill_concerns_a_server_by_its_process_or_by_its_container() {
        let log = format!(
            "6,1,1,-;oom-kill:constraint=CONSTRAINT_NONE,nodemask=(null),cpuset=/,mems_allowed=0,global_oom,\
             task_memcg=/system.slice/docker-{ID}.scope,task=VLLM::Worker_TP,pid=4711,uid=0\n\
             3,2,2,-;Out of memory: Killed process 4711 (VLLM::Worker_TP) total-vm:1kB\n\
             3,3,3,-;Out of memory: Killed process 99 (firefox) total-vm:1kB\n"
        );
        let worker = kill(4711, "VLLM::Worker_TP", false);
        assert_eq!(memory_kill(&log, ID, &[]), worker);
        assert_eq!(memory_kill(&log, ID, &[1, 2]), worker);
        assert_eq!(memory_kill(&log, "1:2:3", &[4711]), worker, "a local process");
        assert_eq!(memory_kill(&log, &ID.replace('0', "1"), &[1]), None, "another container");
        for no_id in ["", "docker", "system.slice", "a1b2"] {
            assert_eq!(memory_kill(&log, no_id, &[]), None, "{no_id}");
        }
        assert_eq!(memory_kill(&log, "", &[4711, 99]), kill(99, "firefox", false), "the last");
        // The control group is of the process that it names, and of no other.
        let other = log.replace("pid=4711", "pid=4712");
        assert_eq!(memory_kill(&other, ID, &[]), None);
    }

    #[test]
    fn a_log_is_read_without_waiting_and_what_is_none_says_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("kmsg");
        assert_eq!(read(&path), None);
        assert_eq!(read(folder.path()), None, "a folder");
        // Longer than one read, with bytes that are no text.
        let mut bytes = vec![0xff; 3 * RECORD];
        bytes.extend(
            b"\n4,1,2,-;quiet\n SUBSYSTEM=x\n3,2,2,-;Out of memory: Killed process 5 (vllm) total-vm:1kB",
        );
        std::fs::write(&path, &bytes).unwrap();
        let log = read(&path).unwrap();
        assert_eq!(log.lines().count(), 1, "{log}");
        assert_eq!(memory_kill(&log, "", &[5]), kill(5, "vllm", false));
        // A pipe that nobody writes to would hold a reader for ever.
        let fifo = folder.path().join("fifo");
        rustix::fs::mknodat(rustix::fs::CWD, &fifo, rustix::fs::FileType::Fifo, Mode::RUSR | Mode::WUSR, 0)
            .unwrap();
        assert_eq!(read(&fifo).as_deref(), Some(""));
    }

    proptest::proptest! {
        #[test]
        fn no_text_breaks_it(text in "((oom-kill:constraint=|,pid=|,task_memcg=|Out of memory|Killed process |[()0-9a-f ]|\\PC){0,8}\n){0,6}") {
            let _ = memory_kill(&text, ID, &[1]);
        }
    }
}
