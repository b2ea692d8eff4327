//! Containers of others on a real Docker Engine, as the engine sees them: recognised, stopped without being removed,
//! started again; ours are never among them.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "what fails here fails the test")]

use std::fs;
use std::process::Command;
use std::time::Duration;

use engine::container::ContainerEngine;
use engine::neighbour::{Kind, Neighbour, Place};
use engine::{ErrorKind, Identity};
use journeys::docker::{DockerEngine, docker_can_run, missing_program, skipped};
use journeys::household::free_port;
use tokio::time::Instant;

const IMAGE: &str = "asgard-stand-in:strix";
const MODEL: &str = "Qwen/Qwen2.5-14B-Instruct-AWQ";
const GRACE: Duration = Duration::from_secs(10);
const DEADLINE: Duration = Duration::from_secs(20);

struct Machine {
    docker: DockerEngine,
    engine: ContainerEngine,
}

impl Machine {
    /// An engine with an image that holds the stand-in and a program that waits; None where there can be none.
    async fn new(what: &str) -> Option<Self> {
        if let Err(why) = docker_can_run().and_then(|()| missing_program(&["busybox"])) {
            skipped(what, &why);
            return None;
        }
        let docker = DockerEngine::start().await;
        let program = std::env::var("ASGARD_STAND_IN").expect("the static stand-in is built and named");
        let folder = tempfile::tempdir().unwrap();
        fs::copy(program, folder.path().join("asgard-stand-in")).unwrap();
        fs::copy("/usr/bin/busybox", folder.path().join("sleep")).unwrap();
        let tar = folder.path().join("image.tar");
        let made = Command::new("tar")
            .args([
                "-cf",
                tar.to_str().unwrap(),
                "-C",
                folder.path().to_str().unwrap(),
                "asgard-stand-in",
                "sleep",
            ])
            .status();
        assert!(made.unwrap().success());
        let (ok, out) = docker.docker(&["import", tar.to_str().unwrap(), IMAGE]);
        assert!(ok, "{out}");
        let host = docker.host();
        let us = Identity { instance: "us".to_owned() };
        let engine =
            ContainerEngine::connect(&us, &|name| (name == "DOCKER_HOST").then(|| host.clone())).await;
        Some(Self { docker, engine })
    }

    fn run(&self, name: &str, options: &[&str], command: &[&str]) {
        let arguments = [&["run", "-d", "--name", name], options, &[IMAGE], command].concat();
        let (ok, out) = self.docker.docker(&arguments);
        assert!(ok, "{name}: {out}");
    }

    fn status(&self, name: &str) -> String {
        let (ok, out) = self.docker.docker(&["inspect", "--format", "{{.State.Status}}", name]);
        if ok { out.trim().to_owned() } else { "gone".to_owned() }
    }

    async fn find(&self, wanted: &[u16], name: &str) -> Option<Neighbour> {
        self.engine.neighbours(wanted).await.unwrap().into_iter().find(|n| n.name == name)
    }

    /// Until it is seen so: a program that was just started has not got its command line or port at once.
    async fn seen(&self, wanted: &[u16], name: &str, so: impl Fn(&Neighbour) -> bool) -> Neighbour {
        let deadline = Instant::now() + DEADLINE;
        loop {
            let found = self.find(wanted, name).await;
            match found {
                Some(neighbour) if so(&neighbour) => return neighbour,
                other => assert!(Instant::now() < deadline, "{name} was last seen as {other:#?}"),
            }
            tokio::task::yield_now().await;
        }
    }
}

fn id(neighbour: &Neighbour) -> &str {
    match &neighbour.place {
        Place::Container { id, .. } => id,
        Place::Process { .. } => panic!("{neighbour:?} is no container"),
    }
}

#[tokio::test]
async fn what_compose_runs_is_recognised_stopped_and_started_again() {
    let Some(machine) = Machine::new("neighbours in containers").await else { return };
    let wanted = [8001, 8899];
    machine.run(
        "strix-vllm_thor-1",
        &[
            "--label",
            "com.docker.compose.project=strix",
            "--label",
            "com.docker.compose.service=vllm_thor",
            "--publish",
            "127.0.0.1:8001:8001",
            "--restart",
            "unless-stopped",
        ],
        &[
            "/asgard-stand-in",
            "vllm",
            "serve",
            MODEL,
            "--host",
            "0.0.0.0",
            "--port",
            "8001",
            "--api-key",
            "sk-thor",
        ],
    );
    machine.run("holder", &["--publish", "127.0.0.1:8899:8899"], &["/sleep", "600"]);
    machine.run("bystander", &[], &["/sleep", "600"]);
    machine.run(
        "asgard-loki",
        &[
            "--label",
            "io.asgard.instance=us",
            "--label",
            "io.asgard.agent=loki",
            "--publish",
            "127.0.0.1:8013:8013",
        ],
        &["/asgard-stand-in", "vllm", "serve", MODEL, "--port", "8013"],
    );

    let thor = machine.seen(&wanted, "strix-vllm_thor-1", |n| n.running).await;
    assert_eq!((thor.kind, thor.port), (Kind::Vllm, Some(8001)), "{thor:#?}");
    assert_eq!((thor.id.as_str(), thor.engine.as_str()), ("docker/strix-vllm_thor-1", "docker"));
    assert_eq!(thor.endpoint.as_deref(), Some("http://127.0.0.1:8001"));
    assert_eq!(thor.line.model.as_deref(), Some(MODEL));
    assert_eq!(thor.key.reveal(), "sk-thor");
    assert!(!format!("{thor:?}").contains("sk-thor"), "a key is shown: {thor:?}");
    assert!(!thor.pids.is_empty());
    let Place::Container { project, service, toolbox, .. } = &thor.place else { panic!("{thor:#?}") };
    assert_eq!((project.as_deref(), service.as_deref(), *toolbox), (Some("strix"), Some("vllm_thor"), false));

    let mut names: Vec<_> = machine.engine.neighbours(&wanted).await.unwrap();
    names.sort_by(|a, b| a.name.cmp(&b.name));
    let seen: Vec<_> = names.iter().map(|n| (n.name.as_str(), n.kind, n.port)).collect();
    assert_eq!(
        seen,
        [("holder", Kind::Unknown, Some(8899)), ("strix-vllm_thor-1", Kind::Vllm, Some(8001))],
        "ours and what is in nobody's way are never listed, and only these are"
    );

    machine.engine.stop_neighbour(id(&thor), GRACE).await.unwrap();
    assert_eq!(machine.status("strix-vllm_thor-1"), "exited", "it is kept");
    let stopped = machine.find(&wanted, "strix-vllm_thor-1").await.expect("its project says what it is");
    assert_eq!((stopped.running, stopped.port), (false, Some(8001)));
    // Stopped already is fine.
    machine.engine.stop_neighbour(id(&thor), GRACE).await.unwrap();
    machine.engine.start_neighbour(id(&thor)).await.unwrap();
    let again = machine.seen(&wanted, "strix-vllm_thor-1", |n| n.running).await;
    assert_eq!(again.place, thor.place, "it is the same container");

    let ours = machine.engine.stop_neighbour("asgard-loki", GRACE).await.unwrap_err();
    assert_eq!(ours.kind, ErrorKind::Foreign, "{ours:?}");
    assert_eq!(machine.engine.start_neighbour("asgard-loki").await.unwrap_err().kind, ErrorKind::Foreign);
    assert_eq!(machine.status("asgard-loki"), "running");
    assert!(machine.engine.stop_neighbour("nobody", GRACE).await.is_err());
    assert!(machine.engine.start_neighbour("nobody").await.is_err());
}

#[tokio::test]
async fn what_would_be_removed_is_not_stopped_and_what_was_started_inside_is_seen() {
    let Some(machine) = Machine::new("toolboxes").await else { return };
    let (passing, inside) = (free_port(), free_port());
    let publish = format!("127.0.0.1:{passing}:8000");
    machine.run(
        "passing",
        &["--rm", "--publish", &publish],
        &["/asgard-stand-in", "vllm", "serve", MODEL, "--host", "0.0.0.0"],
    );
    let found = machine.seen(&[], "passing", |n| n.running).await;
    assert_eq!((found.kind, found.port), (Kind::Vllm, Some(passing)));
    let refused = machine.engine.stop_neighbour(id(&found), GRACE).await.unwrap_err();
    assert_eq!(refused.kind, ErrorKind::Foreign);
    assert!(refused.message.contains("--rm"), "{refused:?}");
    assert_eq!(machine.status("passing"), "running");

    // A toolbox only waits; the server is started in it by hand, and is no child of its first process.
    let toolbox = ["--label", "com.github.containers.toolbox=true", "--network", "host"];
    machine.run("vllm-box", &toolbox, &["/sleep", "600"]);
    assert!(machine.find(&[], "vllm-box").await.is_none(), "nothing serves in it yet");
    let port = inside.to_string();
    let (ok, out) = machine.docker.docker(&[
        "exec",
        "-d",
        "vllm-box",
        "/asgard-stand-in",
        "vllm",
        "serve",
        MODEL,
        "--port",
        &port,
    ]);
    assert!(ok, "{out}");
    let found = machine.seen(&[], "vllm-box", |_| true).await;
    assert_eq!((found.kind, found.port), (Kind::Vllm, Some(inside)), "{found:#?}");
    assert_eq!(found.line.model.as_deref(), Some(MODEL));
    assert!(
        matches!(found.place, Place::Container { toolbox: true, .. }) && found.pids.len() >= 2,
        "{found:#?}"
    );
}
