//! The contract of the container engine, on a real Docker Engine that the test starts for itself.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "what fails here fails the test")]

use std::collections::BTreeMap;
use std::fs;
use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use domain::AgentName;
use domain::secret::Secret;
use engine::container::{ContainerEngine, container_name};
use engine::{Engine, EngineEvent, ErrorKind, Identity, Instance, Launch, Phase, Program, StartProgress};
use futures_util::{Stream, StreamExt as _};
use journeys::docker::DockerEngine;
use tokio::sync::Mutex;
use tokio::time::timeout;

/// Two engines in one network would give their containers the same addresses: one test at a time.
static ONE_ENGINE: Mutex<()> = Mutex::const_new(());

const LONG: Duration = Duration::from_mins(1);
const OURS: &str = "0123456789abcdef";
const OTHERS: &str = "fedcba9876543210";

fn agent(name: &str) -> AgentName {
    AgentName::new(name).unwrap()
}

fn free_port() -> u16 {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port()
}

async fn engine(docker: &DockerEngine, instance: &str) -> ContainerEngine {
    let host = docker.host();
    let identity = Identity { instance: instance.to_owned() };
    ContainerEngine::connect(&identity, &|name| (name == "DOCKER_HOST").then(|| host.clone())).await
}

/// An image with a shell, made here: nothing is pulled.
fn shell(docker: &DockerEngine) -> String {
    let folder = tempfile::tempdir().unwrap();
    let bin = folder.path().join("bin");
    fs::create_dir(&bin).unwrap();
    for name in ["sh", "sleep", "true"] {
        fs::copy("/usr/bin/busybox", bin.join(name)).unwrap();
    }
    let archive = folder.path().join("image.tar");
    let tar = Command::new("tar").arg("-C").arg(folder.path()).arg("-cf").arg(&archive).arg("bin").status();
    assert!(tar.unwrap().success());
    assert!(docker.docker(&["import", archive.to_str().unwrap(), "shell:1"]).0);
    "shell:1".to_owned()
}

/// A script that plays the server.
fn launch(instance: &str, image: &str, name: &str, script: &str) -> Launch {
    Launch {
        identity: Identity { instance: instance.to_owned() },
        agent: agent(name),
        program: Program::Image {
            image: image.to_owned(),
            devices: Vec::new(),
            groups: Vec::new(),
            mounts: Vec::new(),
            host_ipc: false,
            shm_bytes: 64 << 20,
            seccomp_unconfined: false,
        },
        args: ["sh", "-c", script].map(str::to_owned).into(),
        env: BTreeMap::new(),
        key: ("THE_KEY".to_owned(), Secret::new("s3cret")),
        port: free_port(),
        revision: "r1".to_owned(),
        reserved: vec![("uma".to_owned(), 1, 2)],
    }
}

async fn start(engine: &ContainerEngine, launch: &Launch) -> Instance {
    timeout(LONG, engine.start(launch, &mut |_| {})).await.unwrap().unwrap()
}

/// Waits until the first instance has ended, woken by the engine's events.
async fn ended(
    engine: &ContainerEngine,
    events: &mut (impl Stream<Item = EngineEvent> + Unpin),
) -> Option<i64> {
    timeout(LONG, async {
        loop {
            let list = engine.list().await.unwrap();
            if let Some(Phase::Exited { code, .. }) = list.first().map(|i| &i.phase) {
                return *code;
            }
            events.next().await.unwrap();
        }
    })
    .await
    .unwrap()
}

async fn until_everything(events: &mut (impl Stream<Item = EngineEvent> + Unpin)) {
    let wanted = async { while events.next().await.unwrap() != EngineEvent::Everything {} };
    timeout(LONG, wanted).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_container_lives_and_ends_as_the_contract_says() {
    let _alone = ONE_ENGINE.lock().await;
    let docker = DockerEngine::start().await;
    let engine = engine(&docker, OURS).await;
    assert_eq!((engine.id(), engine.probe().await.unwrap().kind), ("docker", "docker"));
    let mut events = engine.events();

    let made = engine.make_image(Path::new("/usr/bin/busybox")).await.unwrap();
    assert_eq!(engine.make_image(Path::new("/usr/bin/busybox")).await.unwrap(), made, "made once");
    let (_, entry) = docker.docker(&["inspect", "--format", "{{.Config.Entrypoint}}", &made]);
    assert_eq!(entry.trim(), "[/asgard-stand-in]");

    let image = shell(&docker);
    let busy = |name: &str, script: &str| launch(OURS, &image, name, script);

    let thor = busy("thor", "echo out $THE_KEY; printf 'a 1%%\\ra 2%%\\n'; sleep 600 & wait");
    assert!(engine.has_image(&thor).await.unwrap());
    let mut steps = Vec::new();
    let instance = timeout(LONG, engine.start(&thor, &mut |step| steps.push(step))).await.unwrap().unwrap();
    assert_eq!(steps, [StartProgress::Created, StartProgress::Started]);
    assert_eq!(instance.key.reveal(), "s3cret");
    assert_eq!(instance.reserved, thor.reserved);
    assert_eq!(instance.endpoint, format!("http://127.0.0.1:{}", thor.port));
    assert!(!instance.pids.is_empty());
    let log: Vec<String> =
        timeout(LONG, engine.log_follow(&agent("thor")).await.unwrap().take(3).collect()).await.unwrap();
    assert_eq!(log, ["out s3cret", "a 1%", "a 2%"]);
    assert_eq!(engine.log_tail(&agent("thor"), 1).await.unwrap(), ["a 2%"]);
    let again = engine.start(&thor, &mut |_| {}).await.unwrap_err();
    assert!(again.message.contains("Thor already runs"), "{again:?}");

    // Another Asgard on the same engine sees nothing of it, and is told who has the port.
    let other = self::engine(&docker, OTHERS).await;
    assert!(other.list().await.unwrap().is_empty());
    let same_port = Launch { port: thor.port, ..launch(OTHERS, &image, "thor", "true") };
    let error = other.start(&same_port, &mut |_| {}).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::PortTaken);
    assert!(error.message.contains("the container asgard-thor-01234567"), "{error:?}");
    other.stop(&agent("thor"), Duration::ZERO).await.unwrap();
    assert_eq!(engine.list().await.unwrap().len(), 1, "another's stop does not touch ours");

    timeout(LONG, engine.stop(&agent("thor"), Duration::from_secs(5))).await.unwrap().unwrap();
    assert!(engine.list().await.unwrap().is_empty());
    engine.stop(&agent("thor"), Duration::ZERO).await.unwrap();

    // One that ends by itself stays until the next start, with its code and its log.
    start(&engine, &busy("loki", "echo last words; exit 7")).await;
    assert_eq!(ended(&engine, &mut events).await, Some(7));
    assert_eq!(engine.log_tail(&agent("loki"), 9).await.unwrap(), ["last words"]);
    start(&engine, &busy("loki", "trap '' TERM; while :; do sleep 1; done")).await;
    assert_eq!(engine.list().await.unwrap().len(), 1);
    timeout(LONG, engine.stop(&agent("loki"), Duration::from_secs(1))).await.unwrap().unwrap();
    assert!(engine.list().await.unwrap().is_empty(), "one that refuses is killed");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_in_the_way_is_named_and_left_alone() {
    let _alone = ONE_ENGINE.lock().await;
    let docker = DockerEngine::start().await;
    let engine = engine(&docker, OURS).await;
    let image = shell(&docker);
    let launch = launch(OURS, &image, "odin", "true");
    let with = |change: &dyn Fn(&mut Program)| {
        let mut launch = launch.clone();
        change(&mut launch.program);
        launch
    };

    let name = container_name(&launch.agent, &launch.identity);
    assert!(docker.docker(&["create", "--name", &name, &image, "true"]).0);
    let error = engine.start(&launch, &mut |_| {}).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Foreign);
    assert!(error.message.contains(&name), "{error:?}");
    engine.stop(&launch.agent, Duration::ZERO).await.unwrap();
    assert!(docker.docker(&["inspect", &name]).0, "it is still there");
    assert!(docker.docker(&["rm", &name]).0);

    let nowhere = with(&|program| {
        if let Program::Image { image, .. } = program {
            "127.0.0.1:1/none".clone_into(image);
        }
    });
    assert!(!engine.has_image(&nowhere).await.unwrap());
    assert_eq!(engine.start(&nowhere, &mut |_| {}).await.unwrap_err().kind, ErrorKind::NoImage);
    let error = timeout(LONG, engine.pull(&nowhere, &mut |_| {})).await.unwrap().unwrap_err();
    assert!(error.message.contains("could not be reached"), "{error:?}");

    let no_device = with(&|program| {
        if let Program::Image { devices, .. } = program {
            devices.push("/dev/no-such-gpu".to_owned());
        }
    });
    let error = engine.start(&no_device, &mut |_| {}).await.unwrap_err();
    assert!(error.message.contains("Odin needs a GPU device that is not there"), "{error:?}");
    assert!(engine.list().await.unwrap().is_empty(), "a start that failed leaves nothing");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_engine_that_goes_away_is_said_and_its_agents_are_found_again() {
    let _alone = ONE_ENGINE.lock().await;
    let mut docker = DockerEngine::start().await;
    let engine = engine(&docker, OURS).await;
    let image = shell(&docker);
    let mut events = engine.events();
    let instance = start(&engine, &launch(OURS, &image, "frigga", "sleep 600")).await;
    assert_eq!(timeout(LONG, events.next()).await.unwrap(), Some(EngineEvent::Changed(agent("frigga"))));

    docker.kill();
    until_everything(&mut events).await;
    let error = timeout(LONG, engine.list()).await.unwrap().unwrap_err();
    assert_eq!(error.kind, ErrorKind::Unreachable, "{error:?}");
    assert!(!error.next.is_empty());
    let error =
        timeout(LONG, engine.start(&launch(OURS, &image, "thor", "true"), &mut |_| {})).await.unwrap();
    assert_eq!(error.unwrap_err().kind, ErrorKind::Unreachable);

    docker.run().await;
    until_everything(&mut events).await;
    let list = engine.list().await.unwrap();
    assert_eq!(list.iter().map(|i| (&i.id, &i.phase)).collect::<Vec<_>>(), [(&instance.id, &Phase::Running)]);
    engine.stop(&agent("frigga"), Duration::ZERO).await.unwrap();
}
