//! Starting, ending, stopping.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::sync::Arc;
use std::time::Duration;

use engine::{EngineEvent, ErrorKind, Launch, Mount, Phase, Program, StartProgress};
use futures_util::StreamExt as _;
use rustix::process::{Pid, Signal, kill_process};
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};

use super::Verdict::{self, DoesNotApply, Kept};
use super::bench::{Bench, LONG, agent, ended, identity, labelled, start, until_line};

/// A server that ends when it is asked to. Without an init of its own the first process of a container must say so.
const OBEYS: &str = "trap 'exit 0' TERM; echo up; while :; do sleep 0.1; done";

pub async fn probe(bench: &Bench, number: usize) -> Verdict {
    let engine = bench.engine(&identity(number, 'a')).await;
    let info = engine.probe().await.unwrap();
    assert_eq!((engine.id(), info.kind), (bench.kind.name(), bench.kind.name()));
    assert_eq!(info.version.is_some(), bench.has_containers());
    Kept
}

pub async fn empty(bench: &Bench, number: usize) -> Verdict {
    let engine = bench.engine(&identity(number, 'a')).await;
    assert_eq!(engine.list().await.unwrap(), []);
    assert_eq!(engine.log_tail(&agent("thor"), 9).await.unwrap(), Vec::<String>::new());
    assert_eq!(
        engine.log_follow(&agent("thor")).await.unwrap().collect::<Vec<_>>().await,
        Vec::<String>::new()
    );
    Kept
}

pub async fn starts(bench: &Bench, number: usize) -> Verdict {
    let identity = identity(number, 'a');
    let engine = bench.engine(&identity).await;
    let launch = bench.launch(&identity, &agent("thor"), OBEYS);
    let mut steps = Vec::new();
    let started = timeout(LONG, engine.start(&launch, &mut |step| steps.push(step))).await.unwrap().unwrap();
    assert_eq!(steps, [StartProgress::Created, StartProgress::Started]);
    let list = engine.list().await.unwrap();
    let [instance] = list.as_slice() else { panic!("{list:?}") };
    assert_eq!((&instance.id, &instance.phase), (&started.id, &Phase::Running));
    assert_eq!(instance.key.reveal(), "s3cret");
    assert_eq!((instance.revision.as_str(), &instance.reserved), ("r1", &launch.reserved));
    assert_eq!(instance.endpoint, format!("http://127.0.0.1:{}", launch.port));
    assert!(!instance.pids.is_empty(), "its processes are known");
    engine.stop(&launch.agent, LONG).await.unwrap();
    Kept
}

pub async fn answers(bench: &Bench, number: usize) -> Verdict {
    let identity = identity(number, 'a');
    let engine = bench.engine(&identity).await;
    let script = "trap 'exit 0' TERM; echo up; while :; do echo pong | busybox nc -l -p $PORT; done & wait";
    let launch = bench.launch(&identity, &agent("loki"), script);
    start(&engine, &launch).await;
    until_line(&engine, &launch.agent, "up").await;
    let heard = async {
        loop {
            // The port may be open before the server behind it is.
            if let Ok(mut stream) = TcpStream::connect(("127.0.0.1", launch.port)).await {
                let mut text = String::new();
                let read = timeout(Duration::from_secs(2), stream.read_to_string(&mut text)).await;
                if text.starts_with("pong") || read.is_ok_and(|r| r.is_ok()) && !text.is_empty() {
                    return text;
                }
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    assert_eq!(timeout(LONG, heard).await.unwrap().trim(), "pong");
    engine.stop(&launch.agent, Duration::from_secs(2)).await.unwrap();
    Kept
}

pub async fn mounts(bench: &Bench, number: usize) -> Verdict {
    if !bench.has_containers() {
        return DoesNotApply;
    }
    let identity = identity(number, 'a');
    let engine = bench.engine(&identity).await;
    let (model, cache) = (bench.folder.path().join("model"), bench.folder.path().join("made/by/us"));
    fs::create_dir(&model).unwrap();
    fs::write(model.join("weights"), "heavy\n").unwrap();
    if !bench.is_own().await {
        // A service of another user's: what this one owns must be open to it.
        fs::set_permissions(bench.folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
        fs::create_dir_all(&cache).unwrap();
        fs::set_permissions(&cache, fs::Permissions::from_mode(0o777)).unwrap();
    }
    let script = "cat /model/weights; echo new > /model/new || echo refused; echo warm > /cache/graph";
    let mut launch = bench.launch(&identity, &agent("thor"), script);
    if let Program::Image { mounts, .. } = &mut launch.program {
        mounts.push(Mount { source: model.clone(), target: "/model".to_owned(), read_only: true });
        mounts.push(Mount { source: cache.clone(), target: "/cache".to_owned(), read_only: false });
    }
    let mut events = engine.events();
    start(&engine, &launch).await;
    ended(&engine, &mut events).await;
    let log = engine.log_tail(&launch.agent, 9).await.unwrap();
    assert!(log.contains(&"heavy".to_owned()) && log.contains(&"refused".to_owned()), "{log:?}");
    assert_eq!(fs::read_to_string(cache.join("graph")).unwrap(), "warm\n");
    assert!(!model.join("new").exists());
    engine.stop(&launch.agent, Duration::ZERO).await.unwrap();
    assert!(cache.join("graph").exists(), "what the user owns stays");
    Kept
}

pub async fn second_start(bench: &Bench, number: usize) -> Verdict {
    let identity = identity(number, 'a');
    let engine = bench.engine(&identity).await;
    let launch = bench.launch(&identity, &agent("thor"), OBEYS);
    let first = start(&engine, &launch).await;
    let error = engine.start(&launch, &mut |_| {}).await.unwrap_err();
    assert!(error.message.contains("Thor already runs"), "{error:?}");
    assert_eq!(engine.list().await.unwrap().iter().map(|i| &i.id).collect::<Vec<_>>(), [&first.id]);
    engine.stop(&launch.agent, LONG).await.unwrap();
    Kept
}

pub async fn no_device(bench: &Bench, number: usize) -> Verdict {
    if !bench.has_containers() {
        return DoesNotApply;
    }
    let identity = identity(number, 'a');
    let engine = bench.engine(&identity).await;
    let mut launch = bench.launch(&identity, &agent("odin"), "true");
    if let Program::Image { devices, .. } = &mut launch.program {
        devices.push("/dev/no-such-gpu".to_owned());
    }
    let error = engine.start(&launch, &mut |_| {}).await.unwrap_err();
    assert!(error.message.contains("Odin needs a GPU device that is not there"), "{error:?}");
    assert_eq!(engine.list().await.unwrap(), []);
    Kept
}

pub async fn event(bench: &Bench, number: usize) -> Verdict {
    let identity = identity(number, 'a');
    let engine = bench.engine(&identity).await;
    let mut events = engine.events();
    let launch = bench.launch(&identity, &agent("loki"), "exit 0");
    start(&engine, &launch).await;
    let changed = async { while events.next().await.unwrap() != EngineEvent::Changed(agent("loki")) {} };
    timeout(LONG, changed).await.unwrap();
    assert_eq!(ended(&engine, &mut events).await, Phase::Exited { code: Some(0), oom: false });
    engine.stop(&launch.agent, Duration::ZERO).await.unwrap();
    Kept
}

pub async fn crash_code(bench: &Bench, number: usize) -> Verdict {
    let identity = identity(number, 'a');
    let engine = bench.engine(&identity).await;
    let mut events = engine.events();
    let launch = bench.launch(&identity, &agent("loki"), "echo last words; exit 7");
    start(&engine, &launch).await;
    assert_eq!(ended(&engine, &mut events).await, Phase::Exited { code: Some(7), oom: false });
    assert_eq!(engine.log_tail(&launch.agent, 9).await.unwrap(), ["last words"]);
    engine.stop(&launch.agent, Duration::ZERO).await.unwrap();
    assert_eq!(engine.list().await.unwrap(), []);
    Kept
}

pub async fn killed(bench: &Bench, number: usize) -> Verdict {
    let identity = identity(number, 'a');
    let engine = bench.engine(&identity).await;
    let mut events = engine.events();
    let launch = bench.launch(&identity, &agent("loki"), "echo up; exec sleep 600");
    start(&engine, &launch).await;
    until_line(&engine, &launch.agent, "up").await;
    let list = engine.list().await.unwrap();
    for pid in list[0].pids.iter().filter_map(|pid| Pid::from_raw(i32::try_from(*pid).unwrap())) {
        // One of them may have taken the others with it.
        let _ = kill_process(pid, Signal::KILL);
    }
    assert_eq!(ended(&engine, &mut events).await, Phase::Exited { code: Some(137), oom: false });
    engine.stop(&launch.agent, Duration::ZERO).await.unwrap();
    Kept
}

pub async fn ended_is_removed(bench: &Bench, number: usize) -> Verdict {
    let identity = identity(number, 'a');
    let engine = bench.engine(&identity).await;
    let mut events = engine.events();
    let first = start(&engine, &bench.launch(&identity, &agent("loki"), "exit 3")).await;
    ended(&engine, &mut events).await;
    let second = start(&engine, &bench.launch(&identity, &agent("loki"), OBEYS)).await;
    assert_ne!(first.id, second.id);
    let list = engine.list().await.unwrap();
    assert_eq!(list.iter().map(|i| (&i.id, &i.phase)).collect::<Vec<_>>(), [(&second.id, &Phase::Running)]);
    engine.stop(&agent("loki"), LONG).await.unwrap();
    Kept
}

pub async fn stops(bench: &Bench, number: usize) -> Verdict {
    let identity = identity(number, 'a');
    let engine = bench.engine(&identity).await;
    let launch = bench.launch(&identity, &agent("frigga"), OBEYS);
    let started = start(&engine, &launch).await;
    until_line(&engine, &launch.agent, "up").await;
    let begun = Instant::now();
    timeout(LONG, engine.stop(&launch.agent, Duration::from_secs(40))).await.unwrap().unwrap();
    assert!(begun.elapsed() < Duration::from_secs(30), "it was not waited for to the end of its grace");
    assert_eq!(engine.list().await.unwrap(), []);
    for pid in started.pids {
        let alive = fs::read_to_string(format!("/proc/{pid}/stat"))
            .is_ok_and(|stat| !stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with('Z')));
        assert!(!alive, "process {pid} is still there");
    }
    if bench.has_containers() {
        let docker = bench.api_at_its_version().await;
        let volumes =
            docker.list_volumes(None::<bollard::query_parameters::ListVolumesOptions>).await.unwrap().volumes;
        assert!(volumes.unwrap_or_default().is_empty(), "its volumes went with it");
    }
    Kept
}

pub async fn refuses_to_stop(bench: &Bench, number: usize) -> Verdict {
    let identity = identity(number, 'a');
    let engine = bench.engine(&identity).await;
    let launch =
        bench.launch(&identity, &agent("frigga"), "trap '' TERM; echo up; while :; do sleep 1; done");
    start(&engine, &launch).await;
    until_line(&engine, &launch.agent, "up").await;
    let begun = Instant::now();
    timeout(LONG, engine.stop(&launch.agent, Duration::from_secs(1))).await.unwrap().unwrap();
    assert!(begun.elapsed() >= Duration::from_millis(900), "it had its grace");
    assert_eq!(engine.list().await.unwrap(), []);
    Kept
}

pub async fn stop_of_nothing(bench: &Bench, number: usize) -> Verdict {
    let engine = bench.engine(&identity(number, 'a')).await;
    timeout(LONG, engine.stop(&agent("odin"), LONG)).await.unwrap().unwrap();
    Kept
}

pub async fn leftovers(bench: &Bench, number: usize) -> Verdict {
    let identity = identity(number, 'a');
    let first = bench.engine(&identity).await;
    let launch = bench.launch(&identity, &agent("odin"), OBEYS);
    let started = start(&first, &launch).await;
    until_line(&first, &launch.agent, "up").await;
    drop(first);
    // A controller that knows nothing finds it, with its key, and hears its end.
    let second = bench.engine(&identity).await;
    let list = second.list().await.unwrap();
    assert_eq!(list.first().map(|i| (&i.id, i.key.reveal())), Some((&started.id, "s3cret")));
    assert_eq!(list.first().map(|i| (&i.phase, &i.reserved)), Some((&Phase::Running, &launch.reserved)));
    assert_eq!(second.log_tail(&launch.agent, 5).await.unwrap(), ["up"]);
    second.stop(&launch.agent, LONG).await.unwrap();
    assert_eq!(second.list().await.unwrap(), []);
    Kept
}

pub async fn dropped(bench: &Bench, number: usize) -> Verdict {
    let identity = identity(number, 'a');
    let label = format!("io.asgard.instance={}", identity.instance);
    let engine = bench.engine(&identity).await;
    for patience in [0, 1, 5, 20, 60, 120, 200, 300, 500] {
        let launch = bench.launch(&identity, &agent("thor"), OBEYS);
        let cut = {
            let engine = Arc::clone(&engine);
            async move {
                let _ = timeout(Duration::from_millis(patience), engine.start(&launch, &mut |_| {})).await;
            }
        };
        cut.await;
        // What the engine itself went on with after that is listed in the end, and a stop clears it away.
        let quiet = async {
            loop {
                engine.stop(&agent("thor"), Duration::from_secs(5)).await.unwrap();
                if engine.list().await.unwrap().is_empty() {
                    return;
                }
            }
        };
        timeout(LONG, quiet).await.unwrap();
    }
    let launch = bench.launch(&identity, &agent("thor"), OBEYS);
    start(&engine, &launch).await;
    let list = engine.list().await.unwrap();
    assert_eq!(list.len(), 1, "{list:?}");
    if bench.has_containers() {
        let docker = bench.api_at_its_version().await;
        assert_eq!(labelled(&docker, &label).await.len(), 1, "nothing is there that is not listed");
    }
    engine.stop(&agent("thor"), LONG).await.unwrap();
    Kept
}

pub async fn goes_away(bench: &Bench, number: usize) -> Verdict {
    if !bench.is_own().await {
        return DoesNotApply;
    }
    let identity = identity(number, 'a');
    let engine = bench.engine(&identity).await;
    let mut events = engine.events();
    let launch = bench.launch(&identity, &agent("frigga"), OBEYS);
    let instance = start(&engine, &launch).await;
    let changed = async { while events.next().await.unwrap() != EngineEvent::Changed(agent("frigga")) {} };
    timeout(LONG, changed).await.unwrap();

    bench.kill().await;
    let everything = async { while events.next().await.unwrap() != EngineEvent::Everything {} };
    timeout(LONG, everything).await.unwrap();
    let error = timeout(LONG, engine.list()).await.unwrap().unwrap_err();
    assert_eq!(error.kind, ErrorKind::Unreachable, "{error:?}");
    assert!(!error.next.is_empty());
    let other: Launch = bench.launch(&identity, &agent("thor"), "true");
    let error = timeout(LONG, engine.start(&other, &mut |_| {})).await.unwrap().unwrap_err();
    assert_eq!(error.kind, ErrorKind::Unreachable, "{error:?}");

    bench.run().await;
    let everything = async { while events.next().await.unwrap() != EngineEvent::Everything {} };
    timeout(LONG, everything).await.unwrap();
    let list = engine.list().await.unwrap();
    assert_eq!(list.iter().map(|i| (&i.id, &i.phase)).collect::<Vec<_>>(), [(&instance.id, &Phase::Running)]);
    engine.stop(&launch.agent, LONG).await.unwrap();
    assert_eq!(engine.list().await.unwrap(), []);
    Kept
}
