//! Neighbours that are processes of this machine: found in /proc, asked to end, and run again.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use futures_util::future;
use rustix::process::Signal;
use tokio::time::timeout;

use super::recognise::{self, ProcessFacts};
use super::{Kind, Neighbour, Place};
use crate::process::proc::{self, Who};
use crate::process::run;
use crate::{EngineError, ErrorKind, ports};

/// Every process that serves a model or holds one of the `wanted` ports, except `ours` and what runs in containers.
pub fn processes(proc_root: &Path, ours: &[u32], in_containers: &[u32], wanted: &[u16]) -> Vec<Neighbour> {
    let all = proc::all(proc_root);
    let listening: BTreeMap<u64, u16> = ports::listening(proc_root).into_iter().collect();
    let uid = rustix::process::geteuid().as_raw();
    let mut found: BTreeMap<u32, Neighbour> = BTreeMap::new();
    for stat in all.iter().filter(|s| !s.zombie) {
        let pid = stat.who.pid;
        if ours.contains(&pid) || in_containers.contains(&pid) {
            continue;
        }
        let folder = proc_root.join(pid.to_string());
        let argv = argv(&folder);
        if argv.is_empty() || is_of_a_container(&cgroup(&folder)) || passes_on(&argv) {
            continue;
        }
        let environment = proc::environment(proc_root, pid);
        // An agent of an Asgard, this one or another: it has its own ways.
        if environment.as_ref().is_some_and(|e| e.contains_key("ASGARD_INSTANCE")) {
            continue;
        }
        let key = environment
            .as_ref()
            .and_then(|e| recognise::key_variables().iter().find_map(|name| e.get(*name).cloned()));
        let own_ports: Vec<u16> = if listening.is_empty() { Vec::new() } else { held(&folder, &listening) };
        let facts = ProcessFacts {
            pid,
            started: stat.who.started,
            name: fs::read_to_string(folder.join("comm")).unwrap_or_default().trim().to_owned(),
            argv,
            ports: own_ports,
            unit: unit(&folder),
            own: fs::metadata(&folder).is_ok_and(|m| m.uid() == uid),
            folder: fs::read_link(folder.join("cwd")).ok(),
            key,
            pids: proc::family(proc_root, pid),
        };
        found.extend(recognise::process(&facts, wanted).map(|n| (pid, n)));
    }
    let parents: BTreeMap<u32, u32> = all.iter().map(|s| (s.who.pid, s.parent)).collect();
    let folded: BTreeSet<u32> = found
        .iter()
        .filter(|(pid, neighbour)| is_folded(**pid, neighbour, &found, &parents))
        .map(|(pid, _)| *pid)
        .collect();
    found.into_iter().filter(|(pid, _)| !folded.contains(pid)).map(|(_, n)| n).collect()
}

/// Whether this is a part of another that was found: a worker of a server, which has its command line or its socket,
/// or what a server was started by and that passes no signal on to it.
fn is_folded(
    pid: u32,
    neighbour: &Neighbour,
    found: &BTreeMap<u32, Neighbour>,
    parents: &BTreeMap<u32, u32>,
) -> bool {
    let same = |other: &Neighbour| other.kind == neighbour.kind && other.line.model == neighbour.line.model;
    if starts_another(&neighbour.command) {
        return found.iter().any(|(child, n)| *child != pid && parents.get(child) == Some(&pid) && same(n));
    }
    let mut at = pid;
    // A chain of parents has no circle, but what is read while it changes may.
    for _ in 0..parents.len() {
        let Some(parent) = parents.get(&at).filter(|parent| **parent != at) else { return false };
        at = *parent;
        let Some(above) = found.get(&at).filter(|n| !starts_another(&n.command)) else { continue };
        let its_socket = neighbour.kind == Kind::Unknown && above.port == neighbour.port;
        if its_socket || neighbour.kind != Kind::Unknown && same(above) {
            return true;
        }
    }
    false
}

/// `sh -c "cd … && vllm serve …"`, `uv run vllm serve …`.
fn starts_another(argv: &[String]) -> bool {
    const STARTERS: [&str; 12] = [
        "sh",
        "bash",
        "dash",
        "ash",
        "zsh",
        "env",
        "nohup",
        "uv",
        "tini",
        "dumb-init",
        "catatonit",
        "docker-init",
    ];
    argv.first().and_then(|p| p.rsplit('/').next()).is_some_and(|program| STARTERS.contains(&program))
}

/// What the processes of one container are and do, as far as this user may see it.
#[derive(Debug, Default)]
pub(crate) struct Inside {
    pub(crate) pids: Vec<u32>,
    pub(crate) commands: Vec<Vec<String>>,
    pub(crate) listening: Vec<u16>,
}

/// Every process that runs in a container, by the control group that names it: also those which were started in it
/// later, and are no children of its first.
#[derive(Debug)]
pub(crate) struct Contained {
    proc_root: PathBuf,
    groups: Vec<(u32, String)>,
    listening: BTreeMap<u64, u16>,
}

impl Contained {
    pub(crate) fn look(proc_root: &Path) -> Self {
        let groups = proc::all(proc_root).into_iter().filter(|s| !s.zombie).filter_map(|stat| {
            let folder = proc_root.join(stat.who.pid.to_string());
            let group = cgroup(&folder);
            // What watches a container is beside it.
            (is_of_a_container(&group) && !group.contains("conmon")).then_some((stat.who.pid, group))
        });
        Self {
            groups: groups.collect(),
            listening: ports::listening(proc_root).into_iter().collect(),
            proc_root: proc_root.to_owned(),
        }
    }

    /// Those of the container with this id, whose first process is `first`.
    pub(crate) fn of(&self, id: &str, first: u32) -> Inside {
        let mut pids = proc::family(&self.proc_root, first);
        // An empty id is in every name.
        let named = self.groups.iter().filter(|(_, group)| id.len() >= 12 && group.contains(id));
        pids.extend(named.map(|(pid, _)| *pid));
        pids.sort_unstable();
        pids.dedup();
        let folders: Vec<PathBuf> = pids.iter().map(|pid| self.proc_root.join(pid.to_string())).collect();
        let mut listening: Vec<u16> = folders.iter().flat_map(|f| held(f, &self.listening)).collect();
        listening.sort_unstable();
        listening.dedup();
        Inside { commands: folders.iter().map(|f| argv(f)).collect(), listening, pids }
    }
}

fn argv(folder: &Path) -> Vec<String> {
    let bytes = fs::read(folder.join("cmdline")).unwrap_or_default();
    let words = bytes.split(|b| *b == 0).map(|word| String::from_utf8_lossy(word).into_owned());
    let mut words: Vec<String> = words.collect();
    // The last word is closed by a zero too.
    if words.last().is_some_and(String::is_empty) {
        words.pop();
    }
    words
}

/// What an engine runs to reach its containers: it listens for them, and they are known by themselves.
fn passes_on(argv: &[String]) -> bool {
    const ENGINES_OWN: [&str; 6] =
        ["docker-proxy", "rootlessport", "slirp4netns", "pasta", "conmon", "containerd-shim-runc-v2"];
    let program = argv.first().and_then(|p| p.rsplit('/').next()).unwrap_or_default();
    ENGINES_OWN.contains(&program)
}

fn cgroup(folder: &Path) -> String {
    fs::read_to_string(folder.join("cgroup")).unwrap_or_default()
}

fn is_of_a_container(cgroup: &str) -> bool {
    ["/docker", "docker-", "libpod", "/machine.slice", "kubepods", "containerd"]
        .iter()
        .any(|m| cgroup.contains(m))
}

/// "ollama.service": what would start it again. A session's own units start nothing again.
fn unit(folder: &Path) -> Option<String> {
    let cgroup = cgroup(folder);
    let parts = cgroup.lines().flat_map(|line| line.rsplit('/'));
    let mut units = parts.filter(|part| part.ends_with(".service"));
    units
        .find(|name| !["user@", "app-", "session-"].iter().any(|own| name.starts_with(own)))
        .map(str::to_owned)
}

/// The command that ends a unit: a user's own one needs no other rights.
fn stop_command(folder: &Path, unit: &str) -> String {
    if cgroup(folder).contains("/user@") {
        format!("systemctl --user stop {unit}")
    } else {
        format!("sudo systemctl stop {unit}")
    }
}

fn held(folder: &Path, listening: &BTreeMap<u64, u16>) -> Vec<u16> {
    let files = fs::read_dir(folder.join("fd")).into_iter().flatten().flatten();
    let mut ports: Vec<u16> = files
        .filter_map(|file| fs::read_link(file.path()).ok())
        .filter_map(|link| link.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.parse::<u64>().ok())
        .filter_map(|inode| listening.get(&inode).copied())
        .collect();
    ports.sort_unstable();
    ports.dedup();
    ports
}

/// Asks a process of others to end, and waits for it. It is never killed by force: it is not ours.
///
/// # Errors
/// It is another user's, systemd would start it again, or it does not end in time.
pub async fn stop_process(neighbour: &Neighbour, grace: Duration) -> Result<(), EngineError> {
    let Place::Process { pid, started, unit, own, .. } = &neighbour.place else { return Ok(()) };
    if let Some(unit) = unit {
        return Err(EngineError::new(
            ErrorKind::Foreign,
            format!("{} is run by systemd, which would start it again.", neighbour.name),
            format!("Stop it with: {}", stop_command(&Path::new("/proc").join(pid.to_string()), unit)),
        ));
    }
    if !own {
        return Err(EngineError::new(
            ErrorKind::Foreign,
            format!("{} belongs to another user.", neighbour.name),
            "Stop it where it was started.",
        ));
    }
    let failed = |error: std::io::Error| {
        EngineError::new(
            ErrorKind::Failed,
            format!("{} could not be asked to end: {error}.", neighbour.name),
            "Stop it where it was started.",
        )
    };
    let proc_root = Path::new("/proc");
    let who = Who { pid: *pid, started: *started };
    let Some(handle) = proc::handle(proc_root, who).map_err(failed)? else { return Ok(()) };
    // Its workers end with it; what they hold is free only when they have.
    let workers = proc::family(proc_root, *pid).into_iter().filter(|member| member != pid);
    let workers = workers.filter_map(|member| proc::stat(proc_root, member));
    let workers: Vec<OwnedFd> =
        workers.filter_map(|stat| proc::handle(proc_root, stat.who).ok().flatten()).collect();
    proc::signal(&handle, Signal::TERM).map_err(failed)?;
    let all = std::iter::once(handle).chain(workers).map(run::ended);
    if let Ok(ended) = timeout(grace, future::try_join_all(all)).await {
        ended.map(drop).map_err(failed)
    } else {
        let seconds = grace.as_secs();
        let remains = proc::stat(proc_root, *pid).is_some_and(|stat| stat.who == who && !stat.zombie);
        let what = if remains {
            format!("{} has not ended {seconds} s after it was asked to.", neighbour.name)
        } else {
            format!("{} has ended, but what it started runs on after {seconds} s.", neighbour.name)
        };
        let next = "It is not Asgard's to kill; end it where it was started.";
        Err(EngineError::new(ErrorKind::Failed, what, next))
    }
}

/// Runs a command line again, as it was, by itself: no shell, and nothing of the controller's environment that is
/// secret or Asgard's own. What else its own environment held is not known any more.
///
/// # Errors
/// There is no program, or it cannot be started.
pub fn start_process(command: &[String], folder: Option<&Path>) -> Result<(), EngineError> {
    let failed =
        |why: String| EngineError::new(ErrorKind::Failed, why, "Start it where it was started before.");
    if command.iter().any(|word| word.contains(recognise::HIDDEN)) {
        return Err(failed("It was started with a key, which is not kept.".to_owned()));
    }
    let Some((program, arguments)) = command.split_first() else {
        return Err(failed("Its command line is not known.".to_owned()));
    };
    // "./llama-server" is below its own folder, not below the controller's.
    let path = match folder.filter(|_| program.contains('/')) {
        Some(folder) => folder.join(program),
        None => PathBuf::from(program),
    };
    let mut again = Command::new(path);
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        if recognise::is_secret_name(&text) || text.starts_with("ASGARD_") {
            again.env_remove(&name);
        }
    }
    again.args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    if let Some(folder) = folder.filter(|f| f.is_dir()) {
        again.current_dir(folder);
    }
    std::os::unix::process::CommandExt::process_group(&mut again, 0);
    let mut child = again.spawn().map_err(|e| failed(format!("{program} could not be started: {e}.")))?;
    // Its end is fetched by a thread that does nothing else, so that no dead entry is left behind.
    std::thread::spawn(move || child.wait());
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::super::Kind;
    use super::*;

    #[test]
    fn whoever_holds_a_port_of_the_stack_is_found() {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let own = std::process::id();
        let found = processes(Path::new("/proc"), &[], &[], &[port]);
        let me = found.iter().find(|n| matches!(n.place, Place::Process { pid, .. } if pid == own));
        // Run as an agent of an Asgard it would be passed over; a test is none.
        assert_eq!(me.map(|n| (n.kind, n.port)), Some((Kind::Unknown, Some(port))), "{found:#?}");
        assert!(processes(Path::new("/proc"), &[own], &[], &[port]).iter().all(|n| n.port != Some(port)));
    }

    #[tokio::test]
    async fn a_process_is_asked_to_end_and_run_again() {
        // Found again by its command line: that of this run of the tests, and not of another beside it.
        let sleep = vec!["/bin/sleep".to_owned(), format!("31.{}", std::process::id())];
        start_process(&sleep, None).unwrap();
        let running = || {
            proc::all(Path::new("/proc"))
                .into_iter()
                .find(|s| !s.zombie && argv(&Path::new("/proc").join(s.who.pid.to_string())) == sleep)
        };
        let stat = running().expect("it runs");
        let neighbour = |unit: Option<&str>, own| Neighbour {
            id: "process/1".into(),
            name: "sleep".into(),
            engine: "process".into(),
            kind: Kind::Unknown,
            place: Place::Process {
                pid: stat.who.pid,
                started: stat.who.started,
                unit: unit.map(str::to_owned),
                own,
                folder: None,
            },
            command: sleep.clone(),
            line: domain::server_line::ServerLine::default(),
            port: None,
            endpoint: None,
            key: domain::secret::Secret::default(),
            running: true,
            pids: vec![stat.who.pid],
        };
        let grace = Duration::from_secs(5);
        for refused in [neighbour(Some("x.service"), true), neighbour(None, false)] {
            assert_eq!(stop_process(&refused, grace).await.unwrap_err().kind, ErrorKind::Foreign);
        }
        assert!(running().is_some());
        stop_process(&neighbour(None, true), grace).await.unwrap();
        assert!(running().is_none());
        // Gone already is fine.
        stop_process(&neighbour(None, true), grace).await.unwrap();
        assert!(start_process(&[], None).is_err());
        assert!(start_process(&["x".into(), "--api-key".into(), "…".into()], None).is_err());
    }

    /// A neighbour that is this child of the test's.
    fn of(child: &std::process::Child) -> Neighbour {
        let stat = proc::stat(Path::new("/proc"), child.id()).unwrap();
        Neighbour {
            id: "process/1".into(),
            name: "server".into(),
            engine: "process".into(),
            kind: Kind::Unknown,
            place: Place::Process {
                pid: stat.who.pid,
                started: stat.who.started,
                unit: None,
                own: true,
                folder: None,
            },
            command: Vec::new(),
            line: domain::server_line::ServerLine::default(),
            port: None,
            endpoint: None,
            key: domain::secret::Secret::default(),
            running: true,
            pids: vec![stat.who.pid],
        }
    }

    #[tokio::test]
    async fn what_does_not_end_or_leaves_a_worker_behind_is_said_and_not_killed() {
        use std::io::{BufRead as _, BufReader};
        for (script, said) in [
            ("trap '' TERM; echo; while read x; do :; done", "has not ended"),
            ("(trap '' TERM; echo; while read x; do :; done) <&0 & wait", "runs on"),
        ] {
            // It reads from a pipe that the test holds: it ends with the test, however that ends.
            let mut shell = Command::new("/bin/bash");
            shell.args(["-c", script]).stdin(Stdio::piped()).stdout(Stdio::piped());
            let mut child = shell.spawn().unwrap();
            let mut line = String::new();
            BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
            let family: Vec<Who> = proc::family(Path::new("/proc"), child.id())
                .into_iter()
                .filter_map(|pid| proc::stat(Path::new("/proc"), pid).map(|s| s.who))
                .collect();
            let error = stop_process(&of(&child), Duration::from_millis(200)).await.unwrap_err();
            assert_eq!(error.kind, ErrorKind::Failed);
            assert!(error.message.contains(said), "{script}: {error:?}");
            let handles: Vec<OwnedFd> =
                family.iter().filter_map(|who| proc::handle(Path::new("/proc"), *who).unwrap()).collect();
            assert!(!handles.is_empty(), "{script}: something runs on");
            for handle in &handles {
                proc::signal(handle, Signal::KILL).unwrap();
            }
            child.wait().unwrap();
        }
    }
}
