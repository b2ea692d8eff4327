//! A real Podman service of the test's own: its socket, its images and its containers are in one folder.
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

use crate::docker::{missing_program, take_turn};

pub struct PodmanEngine {
    folder: tempfile::TempDir,
    service: Option<Child>,
    _turn: File,
    /// A service that somebody else started.
    given: Option<String>,
}

/// Names a Podman service to use in the place of one of the test's own, such as one without root:
/// "unix:///run/user/1000/podman/podman.sock". Its images and containers of tests stay there when a test fails.
const GIVEN: &str = "ASGARD_TEST_PODMAN";

/// Small limits and no systemd: it also runs where the machine itself is a container or has old control groups.
const CONFIGURATION: &str = "\
[containers]
default_ulimits = [\"nofile=4096:4096\", \"nproc=4096:4096\"]

[engine]
runtime = \"runc\"
cgroup_manager = \"cgroupfs\"
";

impl PodmanEngine {
    /// Starts one and returns when it answers.
    ///
    /// # Errors
    /// Why there is none here.
    pub async fn start() -> Result<Self, String> {
        let given = std::env::var(GIVEN).ok();
        missing_program(&["podman", "runc", "conmon", "iptables"])?;
        if given.is_none() && !rustix::process::geteuid().is_root() {
            return Err("starting a Podman service of its own needs root".to_owned());
        }
        let folder = tempfile::Builder::new().prefix("asgard-podman-").tempdir_in("/tmp").unwrap();
        fs::write(folder.path().join("containers.conf"), CONFIGURATION).unwrap();
        // A registry on the loopback speaks plain HTTP. Docker takes that for granted, Podman is told.
        fs::write(
            folder.path().join("registries.conf"),
            "[[registry]]\nprefix = \"127.0.0.1\"\nlocation = \"127.0.0.1\"\ninsecure = true\n",
        )
        .unwrap();
        let mut engine = Self { folder, service: None, _turn: take_turn(), given };
        if !engine.is_given() {
            engine.run().await?;
        }
        Ok(engine)
    }

    fn at(&self, below: &str) -> PathBuf {
        self.folder.path().join(below)
    }

    fn command(&self) -> Command {
        let mut command = Command::new("podman");
        command
            .env("CONTAINERS_CONF", self.at("containers.conf"))
            .env("CONTAINERS_REGISTRIES_CONF", self.at("registries.conf"))
            .arg("--root")
            .arg(self.at("root"))
            .arg("--runroot")
            .arg(self.at("run"))
            .stdin(Stdio::null());
        command
    }

    /// Whether it is another's, and so not to be ended.
    pub fn is_given(&self) -> bool {
        self.given.is_some()
    }

    pub fn host(&self) -> String {
        if let Some(given) = &self.given {
            return given.clone();
        }
        format!("unix://{}", self.at("podman.sock").display())
    }

    pub fn log(&self) -> String {
        fs::read_to_string(self.at("podman.log")).unwrap_or_default()
    }

    /// Starts the service again after [`PodmanEngine::kill`], on the same data.
    ///
    /// # Errors
    /// It does not answer.
    pub async fn run(&mut self) -> Result<(), String> {
        let log = File::create(self.at("podman.log")).unwrap();
        let _ = fs::remove_file(self.at("podman.sock"));
        let mut command = self.command();
        command
            .args(["system", "service", "--time=0", &self.host()])
            .stdout(log.try_clone().unwrap())
            .stderr(log);
        self.service =
            Some(command.spawn().map_err(|error| format!("podman could not be started: {error}"))?);
        let deadline = Instant::now() + Duration::from_secs(60);
        while std::os::unix::net::UnixStream::connect(self.at("podman.sock")).is_err() {
            if self.service.as_mut().is_some_and(|service| service.try_wait().is_ok_and(|end| end.is_some()))
            {
                return Err(format!("podman's service ended: {}", self.log().trim()));
            }
            assert!(Instant::now() < deadline, "podman did not answer:\n{}", self.log());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        Ok(())
    }

    /// `kill -9` of the service; its containers live on, each under a monitor of its own.
    pub fn kill(&mut self) {
        if let Some(mut service) = self.service.take() {
            service.kill().unwrap();
            service.wait().unwrap();
        }
    }

    /// `podman …` on the same data: whether it went well, and what it printed.
    pub fn podman(&self, arguments: &[&str]) -> (bool, String) {
        match self.command().args(arguments).output() {
            Ok(done) => (done.status.success(), String::from_utf8_lossy(&done.stdout).into_owned()),
            Err(error) => panic!("podman is installed: {error}"),
        }
    }
}

impl Drop for PodmanEngine {
    fn drop(&mut self) {
        if self.is_given() {
            return;
        }
        self.podman(&["rm", "-fa", "-t", "0"]);
        if let Some(mut service) = self.service.take() {
            if let Some(pid) = i32::try_from(service.id()).ok().and_then(Pid::from_raw) {
                let _ = kill_process(pid, Signal::TERM);
            }
            let _ = service.wait();
        }
        // Its storage is mounted on itself, and so the folder could not be removed.
        let _ = Command::new("umount").arg(self.at("root/overlay")).stderr(Stdio::null()).status();
    }
}
