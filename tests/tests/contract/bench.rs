//! One engine to check, and launches for it that do the same on each.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use bollard::Docker;
use bollard::query_parameters::{CreateImageOptionsBuilder, TagImageOptionsBuilder};
use domain::AgentName;
use domain::secret::Secret;
use engine::container::ContainerEngine;
use engine::process::ProcessEngine;
use engine::{Engine, EngineEvent, Identity, Instance, Launch, Phase, Program};
use futures_util::stream::BoxStream;
use futures_util::{Stream, StreamExt as _};
use journeys::docker::{DockerEngine, docker_can_run, missing_program};
use journeys::podman::PodmanEngine;
use tokio::sync::Mutex;
use tokio::time::timeout;

pub const LONG: Duration = Duration::from_mins(1);

/// An image with a shell, made here.
pub const SHELL: &str = "contract-shell:1";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Docker,
    Podman,
    Process,
}

impl Kind {
    pub fn name(self) -> &'static str {
        match self {
            Self::Docker => "docker",
            Self::Podman => "podman",
            Self::Process => "process",
        }
    }
}

enum Daemon {
    Docker(DockerEngine),
    Podman(PodmanEngine),
    None,
}

pub struct Bench {
    pub kind: Kind,
    pub folder: tempfile::TempDir,
    daemon: Mutex<Daemon>,
    host: String,
}

impl Bench {
    /// The engine, with the shell in it.
    pub async fn start(kind: Kind) -> Result<Self, String> {
        missing_program(&["busybox"])?;
        let (daemon, host) = match kind {
            Kind::Docker => {
                docker_can_run()?;
                let docker = DockerEngine::start().await;
                let host = docker.host();
                (Daemon::Docker(docker), host)
            }
            Kind::Podman => {
                let podman = PodmanEngine::start().await?;
                let host = podman.host();
                (Daemon::Podman(podman), host)
            }
            Kind::Process => (Daemon::None, String::new()),
        };
        let folder = tempfile::Builder::new().prefix("asgard-contract-").tempdir_in("/tmp").unwrap();
        let bench = Self { kind, folder, daemon: Mutex::new(daemon), host };
        if bench.has_containers() {
            bench.make_shell().await;
        }
        Ok(bench)
    }

    pub fn has_containers(&self) -> bool {
        self.kind != Kind::Process
    }

    /// The engine's own interface, to look past ours.
    pub fn api(&self) -> Docker {
        let path = self.host.trim_start_matches("unix://");
        Docker::connect_with_unix(path, 60, bollard::API_DEFAULT_VERSION).unwrap()
    }

    pub async fn api_at_its_version(&self) -> Docker {
        self.api().negotiate_version().await.unwrap()
    }

    async fn make_shell(&self) {
        let root = self.folder.path().join("shell");
        fs::create_dir_all(root.join("bin")).unwrap();
        for name in ["sh", "sleep", "true", "cat", "busybox"] {
            fs::copy("/usr/bin/busybox", root.join("bin").join(name)).unwrap();
        }
        let archive = self.folder.path().join("shell.tar");
        let tar = Command::new("tar").arg("-C").arg(&root).arg("-cf").arg(&archive).arg("bin").status();
        assert!(tar.unwrap().success());
        let docker = self.api_at_its_version().await;
        let (name, tag) = SHELL.split_once(':').unwrap();
        let options = CreateImageOptionsBuilder::new()
            .from_src("-")
            .repo(name)
            .changes(vec!["VOLUME [\"/scratch\"]".to_owned()])
            .build();
        let body = bollard::body_full(fs::read(&archive).unwrap().into());
        let mut answers = docker.create_image(Some(options), Some(body), None);
        let mut id = None;
        while let Some(answer) = answers.next().await {
            id = answer.unwrap().status.filter(|status| status.starts_with("sha256:")).or(id);
        }
        let options = TagImageOptionsBuilder::new().repo(name).tag(tag).build();
        docker.tag_image(&id.unwrap(), Some(options)).await.unwrap();
    }

    /// The engine for one Asgard.
    pub async fn engine(&self, identity: &Identity) -> Arc<dyn Engine> {
        match self.kind {
            Kind::Process => Arc::new(ProcessEngine::new(identity.clone())),
            _ => Arc::new(self.containers(identity).await),
        }
    }

    pub async fn containers(&self, identity: &Identity) -> ContainerEngine {
        let host = self.host.clone();
        ContainerEngine::connect(identity, &|name| (name == "DOCKER_HOST").then(|| host.clone())).await
    }

    /// A script that plays the server. `$PORT` is its port.
    pub fn launch(&self, identity: &Identity, agent: &AgentName, script: &str) -> Launch {
        let port = free_port();
        let words = ["sh", "-c", script].map(str::to_owned);
        let (program, args) = match self.kind {
            Kind::Process => {
                let log_file = self.folder.path().join(format!("{}-{agent}.log", identity.instance));
                let mut command = Vec::from(words);
                "/bin/sh".clone_into(&mut command[0]);
                (Program::Local { command, log_file }, Vec::new())
            }
            _ => (image(SHELL), words.into()),
        };
        Launch {
            identity: identity.clone(),
            agent: agent.clone(),
            program,
            args,
            env: BTreeMap::from([("PORT".to_owned(), port.to_string())]),
            key: ("THE_KEY".to_owned(), Secret::new("s3cret")),
            port,
            revision: "r1".to_owned(),
            reserved: vec![("uma".to_owned(), 1, 2)],
        }
    }

    /// Whether the engine was started here, and may be ended.
    pub async fn is_own(&self) -> bool {
        match &*self.daemon.lock().await {
            Daemon::Docker(_) => true,
            Daemon::Podman(podman) => !podman.is_given(),
            Daemon::None => false,
        }
    }

    /// `kill -9` of the engine itself, and the engine again.
    pub async fn kill(&self) {
        match &mut *self.daemon.lock().await {
            Daemon::Docker(docker) => docker.kill(),
            Daemon::Podman(podman) => podman.kill(),
            Daemon::None => {}
        }
    }

    pub async fn run(&self) {
        match &mut *self.daemon.lock().await {
            Daemon::Docker(docker) => docker.run().await,
            Daemon::Podman(podman) => podman.run().await.unwrap(),
            Daemon::None => {}
        }
    }
}

pub fn image(name: &str) -> Program {
    Program::Image {
        image: name.to_owned(),
        devices: Vec::new(),
        groups: Vec::new(),
        mounts: Vec::new(),
        host_ipc: false,
        shm_bytes: 64 << 20,
        seccomp_unconfined: false,
        entrypoint: None,
        nvidia: None,
        fallbacks: Vec::new(),
    }
}

pub fn free_port() -> u16 {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port()
}

pub fn agent(name: &str) -> AgentName {
    AgentName::new(name).unwrap()
}

/// An identity of the check's own, so that no check sees what another left.
pub fn identity(check: usize, letter: char) -> Identity {
    Identity { instance: format!("{letter}{check:03x}{:04x}00000000", std::process::id() & 0xffff) }
}

pub async fn start(engine: &Arc<dyn Engine>, launch: &Launch) -> Instance {
    timeout(LONG, engine.start(launch, &mut |_| {})).await.unwrap().unwrap()
}

/// The log until the line that is wanted.
pub async fn until_line(engine: &Arc<dyn Engine>, of: &AgentName, wanted: &str) -> Vec<String> {
    let mut log: BoxStream<'static, String> = engine.log_follow(of).await.unwrap();
    let mut seen = Vec::new();
    let read = async {
        while let Some(line) = log.next().await {
            seen.push(line);
            if seen.last().is_some_and(|line| line == wanted) {
                return;
            }
        }
    };
    let done = timeout(LONG, read).await;
    assert!(done.is_ok() && seen.last().is_some_and(|line| line == wanted), "no {wanted:?} in {seen:?}");
    seen
}

/// Waits until the only instance has ended, woken by the engine's events.
pub async fn ended(
    engine: &Arc<dyn Engine>,
    events: &mut (impl Stream<Item = EngineEvent> + Unpin),
) -> Phase {
    let wait = async {
        loop {
            let list = engine.list().await.unwrap();
            assert!(list.len() < 2, "{list:?}");
            if let Some(phase) =
                list.first().map(|i| i.phase.clone()).filter(|phase| *phase != Phase::Running)
            {
                return phase;
            }
            events.next().await.unwrap();
        }
    };
    timeout(LONG, wait).await.unwrap()
}

/// The names of all containers with a label, ours or not.
pub async fn labelled(docker: &Docker, label: &str) -> Vec<String> {
    let filters = HashMap::from([("label".to_owned(), vec![label.to_owned()])]);
    let options =
        bollard::query_parameters::ListContainersOptionsBuilder::new().all(true).filters(&filters).build();
    let list = docker.list_containers(Some(options)).await.unwrap();
    list.into_iter().filter_map(|container| container.names?.into_iter().next()).collect()
}

/// The static stand-in, where it was built.
pub fn stand_in() -> Option<PathBuf> {
    let built = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/stand-in/asgard-stand-in");
    let named = std::env::var_os("ASGARD_STAND_IN").map(PathBuf::from);
    named.into_iter().chain([built]).find(|path| path.is_file())
}
