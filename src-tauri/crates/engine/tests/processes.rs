//! The process engine with real processes: /bin/sh and sleep.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "what fails here fails the test")]

use std::collections::BTreeMap;
use std::fs;
use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;
use std::time::Duration;

use domain::AgentName;
use domain::secret::Secret;
use engine::process::ProcessEngine;
use engine::{Engine, EngineEvent, ErrorKind, Identity, Instance, Launch, Phase, Program};
use futures_util::StreamExt as _;
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use tokio::time::timeout;

const LONG: Duration = Duration::from_secs(20);

fn agent(name: &str) -> AgentName {
    AgentName::new(name).unwrap()
}

fn free_port() -> u16 {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port()
}

/// An identity of its own for each test, so that tests do not see each other's processes.
struct Bench {
    dir: TempDir,
    identity: Identity,
}

impl Bench {
    fn new(instance: &str) -> Self {
        let instance = format!("{instance}-{}", std::process::id());
        Self { dir: tempfile::tempdir().unwrap(), identity: Identity { instance } }
    }

    fn engine(&self) -> ProcessEngine {
        ProcessEngine::new(self.identity.clone())
    }

    fn launch(&self, name: &str, script: &str) -> Launch {
        Launch {
            identity: self.identity.clone(),
            agent: agent(name),
            program: Program::Local {
                command: ["/bin/sh", "-c", script, "sh"].map(str::to_owned).into(),
                log_file: self.dir.path().join(format!("{name}.log")),
            },
            args: vec!["first".into(), "second".into()],
            env: BTreeMap::from([("MARK".to_owned(), "42".to_owned())]),
            key: ("THE_KEY".to_owned(), Secret::new("s3cret")),
            port: free_port(),
            revision: "r1".to_owned(),
            reserved: vec![("uma".to_owned(), 5, 7)],
        }
    }
}

async fn start(engine: &ProcessEngine, launch: &Launch) -> Instance {
    timeout(LONG, engine.start(launch, &mut |_| {})).await.unwrap().unwrap()
}

/// The log's lines until one is `wanted`.
async fn until_line(engine: &ProcessEngine, name: &str, wanted: &str) -> Vec<String> {
    let mut log = engine.log_follow(&agent(name)).await.unwrap();
    let mut seen = Vec::new();
    timeout(LONG, async {
        while let Some(line) = log.next().await {
            seen.push(line);
            if seen.last().is_some_and(|l| l == wanted) {
                return;
            }
        }
    })
    .await
    .unwrap();
    assert_eq!(seen.last().map(String::as_str), Some(wanted), "{seen:?}");
    seen
}

async fn until_changed(events: &mut (impl futures_util::Stream<Item = EngineEvent> + Unpin), name: &str) {
    timeout(LONG, async {
        while let Some(event) = events.next().await {
            if event == EngineEvent::Changed(agent(name)) {
                return;
            }
        }
        panic!("the events ended");
    })
    .await
    .unwrap();
}

fn pid(of: u32) -> Pid {
    Pid::from_raw(i32::try_from(of).unwrap()).unwrap()
}

/// A zombie that nobody has fetched yet holds nothing and is not alive.
fn alive(of: u32) -> bool {
    fs::read_to_string(format!("/proc/{of}/stat"))
        .is_ok_and(|stat| !stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with('Z')))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agent_starts_with_its_environment_and_nothing_else_and_stops() {
    let bench = Bench::new("starts");
    let engine = bench.engine();
    let launch = bench.launch(
        "thor",
        "echo \"$1 $2 $MARK $THE_KEY ${CARGO_MANIFEST_DIR-none} $ASGARD_AGENT\"; echo up; exec sleep 600",
    );
    let started = start(&engine, &launch).await;
    let seen = until_line(&engine, "thor", "up").await;
    assert_eq!(seen.first().map(String::as_str), Some("first second 42 s3cret none thor"));

    let list = engine.list().await.unwrap();
    let [instance] = list.as_slice() else { panic!("{list:?}") };
    assert_eq!(instance.id, started.id);
    assert_eq!((instance.phase.clone(), instance.revision.as_str()), (Phase::Running, "r1"));
    assert_eq!(instance.reserved, [("uma".to_owned(), 5, 7)]);
    assert_eq!(instance.key.reveal(), "s3cret");
    assert_eq!(instance.endpoint, format!("http://127.0.0.1:{}", launch.port));

    let again = engine.start(&launch, &mut |_| {}).await.unwrap_err();
    assert!(again.message.contains("Thor already runs"), "{again:?}");

    timeout(LONG, engine.stop(&agent("thor"), LONG)).await.unwrap().unwrap();
    assert!(engine.list().await.unwrap().is_empty());
    assert!(!alive(started.pids[0]));
    engine.stop(&agent("thor"), LONG).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_engine_adopts_what_runs_and_hears_its_end() {
    let bench = Bench::new("adopts");
    let first = bench.engine();
    let started = start(&first, &bench.launch("odin", "echo up; exec sleep 600")).await;
    until_line(&first, "odin", "up").await;
    drop(first);

    let second = bench.engine();
    let mut events = second.events();
    let list = second.list().await.unwrap();
    assert_eq!(list.first().map(|i| (&i.id, i.key.reveal())), Some((&started.id, "s3cret")));
    assert_eq!(second.log_tail(&agent("odin"), 5).await.unwrap(), ["up"]);
    kill_process(pid(started.pids[0]), Signal::KILL).unwrap();
    until_changed(&mut events, "odin").await;

    let foreign = ProcessEngine::new(Identity { instance: "another".into() });
    assert!(foreign.list().await.unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_end_of_its_own_is_remembered_with_code_and_log_until_the_next_start() {
    let bench = Bench::new("ends");
    let engine = bench.engine();
    let mut events = engine.events();
    start(&engine, &bench.launch("loki", "echo last words; exit 7")).await;
    until_changed(&mut events, "loki").await;
    let ended = timeout(LONG, async {
        loop {
            let list = engine.list().await.unwrap();
            if let Some(Phase::Exited { code, .. }) = list.first().map(|i| &i.phase) {
                return *code;
            }
            until_changed(&mut events, "loki").await;
        }
    });
    assert_eq!(ended.await.unwrap(), Some(7));
    assert_eq!(engine.log_tail(&agent("loki"), 9).await.unwrap(), ["last words"]);

    start(&engine, &bench.launch("loki", "echo new; exec sleep 600")).await;
    until_line(&engine, "loki", "new").await;
    let list = engine.list().await.unwrap();
    assert_eq!(list.iter().map(|i| &i.phase).collect::<Vec<_>>(), [&Phase::Running]);
    assert_eq!(fs::read_to_string(bench.dir.path().join("loki.log.1")).unwrap(), "last words\n");
    engine.stop(&agent("loki"), LONG).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_that_refuses_to_stop_is_killed_after_its_grace() {
    let bench = Bench::new("refuses");
    let engine = bench.engine();
    let started =
        start(&engine, &bench.launch("frigga", "trap '' TERM; sleep 600 & echo up; while :; do wait; done"))
            .await;
    until_line(&engine, "frigga", "up").await;
    timeout(LONG, engine.stop(&agent("frigga"), Duration::from_millis(100))).await.unwrap().unwrap();
    assert!(!alive(started.pids[0]));
    assert!(engine.list().await.unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_dead_leader_left_behind_still_counts_and_is_ended() {
    let bench = Bench::new("leaves");
    let engine = bench.engine();
    let mut events = engine.events();
    let started = start(&engine, &bench.launch("valkyrie", "sleep 600 & echo up; wait")).await;
    until_line(&engine, "valkyrie", "up").await;
    kill_process(pid(started.pids[0]), Signal::KILL).unwrap();
    let left = timeout(LONG, async {
        loop {
            let list = engine.list().await.unwrap();
            if let Some(Phase::Exited { code: Some(137), .. }) = list.first().map(|i| &i.phase) {
                return list[0].pids.clone();
            }
            until_changed(&mut events, "valkyrie").await;
        }
    });
    let left = left.await.unwrap();
    assert_eq!(left.len(), 1, "the sleep is still there");
    // A start ends what is left first.
    start(&engine, &bench.launch("valkyrie", "echo again; exec sleep 600")).await;
    until_line(&engine, "valkyrie", "again").await;
    assert!(!alive(left[0]));
    engine.stop(&agent("valkyrie"), LONG).await.unwrap();
    assert!(engine.list().await.unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_is_followed_to_its_last_word() {
    let bench = Bench::new("follows");
    let engine = bench.engine();
    let gate = bench.dir.path().join("gate");
    rustix::fs::mkfifoat(rustix::fs::CWD, &gate, rustix::fs::Mode::RWXU).unwrap();
    let script = format!("echo one; read x < {}; printf 'two 50%%\\rtwo 100%%\\nlast'", gate.display());
    start(&engine, &bench.launch("heimdall", &script)).await;
    let mut log = engine.log_follow(&agent("heimdall")).await.unwrap();
    assert_eq!(timeout(LONG, log.next()).await.unwrap().as_deref(), Some("one"));
    tokio::task::spawn_blocking(move || fs::write(gate, "go\n")).await.unwrap().unwrap();
    let rest: Vec<String> = timeout(LONG, log.collect()).await.unwrap();
    assert_eq!(rest, ["two 50%", "two 100%", "last"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_taken_port_and_a_missing_program_are_said() {
    let bench = Bench::new("refused");
    let engine = bench.engine();
    let mut launch = bench.launch("thor", "exec sleep 600");
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, launch.port)).unwrap();
    let error = engine.start(&launch, &mut |_| {}).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::PortTaken);
    assert!(error.message.contains(&format!("(process {})", std::process::id())), "{error:?}");
    drop(listener);
    launch.program = Program::Local {
        command: vec!["/no/such/program".into()],
        log_file: Path::new(bench.dir.path()).join("thor.log"),
    };
    let error = engine.start(&launch, &mut |_| {}).await.unwrap_err();
    assert!(error.message.contains("/no/such/program could not be started for Thor"), "{error:?}");
    assert!(engine.list().await.unwrap().is_empty());
}
