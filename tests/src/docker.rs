//! A real Docker Engine of the test's own: its socket, its data and its processes are in one folder.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a harness: what fails here fails the test"
)]

use std::fs::{self, File};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tokio::time::Instant;

/// Container engines of tests take turns, over all test programs, for as long as the file is held.
pub(crate) fn take_turn() -> File {
    let path = std::env::temp_dir().join("asgard-journeys-docker.lock");
    let turn = fs::OpenOptions::new().create(true).append(true).open(path).unwrap();
    rustix::fs::flock(&turn, rustix::fs::FlockOperation::LockExclusive).unwrap();
    turn
}

/// Whether all of these programs are there.
///
/// # Errors
/// Names the first one that is missing.
pub fn missing_program(names: &[&str]) -> Result<(), String> {
    let path = std::env::var("PATH").unwrap_or_default();
    let places: Vec<&str> = path.split(':').chain(["/usr/sbin", "/sbin"]).collect();
    match names.iter().find(|name| !places.iter().any(|place| PathBuf::from(place).join(name).is_file())) {
        Some(name) => Err(format!("{name} is missing")),
        None => Ok(()),
    }
}

/// Why no Docker Engine can be started here.
///
/// # Errors
/// The reason.
pub fn docker_can_run() -> Result<(), String> {
    missing_program(&["dockerd", "docker", "iptables"])?;
    if rustix::process::geteuid().is_root() {
        Ok(())
    } else {
        Err("starting a Docker Engine needs root".to_owned())
    }
}

/// A test that cannot run here says why on the terminal; with `ASGARD_NO_SKIP=1` that is a failure.
pub fn skipped(what: &str, why: &str) {
    assert!(std::env::var_os("ASGARD_NO_SKIP").is_none_or(|v| v != "1"), "{what} cannot run here: {why}");
    say(&format!("{what}: skipped, {why}"));
}

/// A line for whoever runs the tests. It also shows where the test passes: what `println!` says would not.
pub fn say(line: &str) {
    use std::io::Write as _;
    let _ = writeln!(std::io::stderr().lock(), "{line}");
}

pub struct DockerEngine {
    folder: tempfile::TempDir,
    daemon: Option<Child>,
    /// Two engines in one network namespace undo each other's rules, so engines take turns, over all test programs.
    _turn: File,
}

impl DockerEngine {
    /// Starts one and returns when it answers.
    pub async fn start() -> Self {
        let turn = take_turn();
        let folder = tempfile::Builder::new().prefix("asgard-docker-").tempdir_in("/tmp").unwrap();
        let mut engine = Self { folder, daemon: None, _turn: turn };
        engine.run().await;
        engine
    }

    fn at(&self, below: &str) -> PathBuf {
        self.folder.path().join(below)
    }

    pub fn host(&self) -> String {
        format!("unix://{}", self.at("docker.sock").display())
    }

    pub fn log(&self) -> String {
        fs::read_to_string(self.at("dockerd.log")).unwrap_or_default()
    }

    /// Starts the daemon again after [`DockerEngine::kill`], on the same data.
    pub async fn run(&mut self) {
        let log = File::create(self.at("dockerd.log")).unwrap();
        let _ = fs::remove_file(self.at("docker.sock"));
        let _ = fs::remove_file(self.at("dockerd.pid"));
        // containerd dies with dockerd; where nobody has fetched its exit yet, its id would pass for a live one.
        let _ = fs::remove_file(self.at("exec/containerd/containerd.pid"));
        let child = Command::new("dockerd")
            .arg("--data-root")
            .arg(self.at("data"))
            .arg("--exec-root")
            .arg(self.at("exec"))
            .arg("--pidfile")
            .arg(self.at("dockerd.pid"))
            // Its five tries to download a layer take most of a minute.
            .args(["-H", &self.host(), "--live-restore", "--max-download-attempts", "2"])
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .expect("dockerd is installed");
        self.daemon = Some(child);
        let deadline = Instant::now() + Duration::from_secs(60);
        loop {
            if self.docker(&["version"]).0 {
                return;
            }
            assert!(Instant::now() < deadline, "dockerd did not answer:\n{}", self.log());
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// `kill -9` of the daemon; its containers live on (live restore).
    pub fn kill(&mut self) {
        if let Some(mut daemon) = self.daemon.take() {
            daemon.kill().unwrap();
            daemon.wait().unwrap();
        }
    }

    /// `docker …` on this engine: whether it went well, and what it printed.
    pub fn docker(&self, arguments: &[&str]) -> (bool, String) {
        let done =
            Command::new("docker").args(["-H", &self.host()]).args(arguments).stdin(Stdio::null()).output();
        match done {
            Ok(done) => (done.status.success(), String::from_utf8_lossy(&done.stdout).into_owned()),
            Err(e) => panic!("the docker client is installed: {e}"),
        }
    }
}

impl Drop for DockerEngine {
    fn drop(&mut self) {
        if self.daemon.is_some() {
            let (_, all) = self.docker(&["ps", "-aq"]);
            let ids: Vec<&str> = all.split_whitespace().collect();
            if !ids.is_empty() {
                let mut arguments = vec!["rm", "-f"];
                arguments.extend(ids);
                self.docker(&arguments);
            }
        }
        if let Some(mut daemon) = self.daemon.take() {
            if let Some(pid) = i32::try_from(daemon.id()).ok().and_then(Pid::from_raw) {
                let _ = kill_process(pid, Signal::TERM);
            }
            let _ = daemon.wait();
        }
        // A daemon that was killed leaves its data folder mounted on itself, and so the folder could not be removed.
        let _ = Command::new("umount").arg(self.at("data")).stderr(Stdio::null()).status();
    }
}
