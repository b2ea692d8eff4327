//! Neighbours that are processes of this machine: found in /proc, asked to end, and run again.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use rustix::process::Signal;
use tokio::time::timeout;

use super::recognise::{self, ProcessFacts};
use super::{Neighbour, Place};
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
        if argv.is_empty() || in_container(&folder) || passes_on(&argv) {
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
    // Workers of a server are recognised by its own command line: they are folded into it.
    let workers: BTreeSet<u32> = all
        .iter()
        .filter(|s| s.parent != s.who.pid && found.contains_key(&s.parent))
        .map(|s| s.who.pid)
        .collect();
    found.into_iter().filter(|(pid, _)| !workers.contains(pid)).map(|(_, n)| n).collect()
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

fn in_container(folder: &Path) -> bool {
    let cgroup = fs::read_to_string(folder.join("cgroup")).unwrap_or_default();
    ["/docker", "docker-", "libpod", "/machine.slice", "kubepods", "containerd"]
        .iter()
        .any(|m| cgroup.contains(m))
}

/// "ollama.service": what would start it again. A session's own units start nothing again.
fn unit(folder: &Path) -> Option<String> {
    let cgroup = fs::read_to_string(folder.join("cgroup")).ok()?;
    let last =
        cgroup.lines().filter_map(|line| line.rsplit('/').next()).find(|name| name.ends_with(".service"))?;
    let of_a_session = last.starts_with("user@") || last.starts_with("app-") || last.starts_with("session-");
    (!of_a_session).then(|| last.to_owned())
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
            format!("Stop it with: systemctl stop {unit}"),
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
    let who = Who { pid: *pid, started: *started };
    let Some(handle) = proc::handle(Path::new("/proc"), who).map_err(failed)? else { return Ok(()) };
    proc::signal(&handle, Signal::TERM).map_err(failed)?;
    match timeout(grace, run::ended(handle)).await {
        Ok(ended) => ended.map_err(failed),
        Err(_) => Err(EngineError::new(
            ErrorKind::Failed,
            format!("{} has not ended {} s after it was asked to.", neighbour.name, grace.as_secs()),
            "It is not Asgard's to kill; end it where it was started.",
        )),
    }
}

/// Runs a command line again, as it was, by itself: no shell, nothing of the controller's environment that is secret.
///
/// # Errors
/// There is no program, or it cannot be started.
pub fn start_process(command: &[String], folder: Option<&Path>) -> Result<(), EngineError> {
    let failed =
        |why: String| EngineError::new(ErrorKind::Failed, why, "Start it where it was started before.");
    if command.iter().any(|word| word == "…" || word.ends_with("=…")) {
        return Err(failed("It was started with a key, which is not kept.".to_owned()));
    }
    let Some((program, arguments)) = command.split_first() else {
        return Err(failed("Its command line is not known.".to_owned()));
    };
    let mut again = Command::new(program);
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
        let sleep: Vec<String> = ["/bin/sleep", "31.4159"].map(str::to_owned).to_vec();
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
}
