//! The log: its tail, and all of it until the end.

use std::time::Duration;

use futures_util::StreamExt as _;
use rustix::process::{Pid, Signal, kill_process};
use tokio::time::timeout;

use super::Verdict::{self, Kept};
use super::bench::{Bench, LONG, agent, ended, identity, start, until_line};

pub async fn tail(bench: &Bench, number: usize) -> Verdict {
    let identity = identity(number, 'a');
    let engine = bench.engine(&identity).await;
    let script = "echo key $THE_KEY; echo to err >&2; printf 'a 1%%\\ra 2%%\\n'; exec sleep 600";
    let launch = bench.launch(&identity, &agent("thor"), script);
    start(&engine, &launch).await;
    // The two outputs may overtake each other.
    let follow = engine.log_follow(&launch.agent).await.unwrap();
    let mut seen: Vec<String> = timeout(LONG, follow.take(4).collect()).await.unwrap();
    seen.sort();
    assert_eq!(seen, ["a 1%", "a 2%", "key s3cret", "to err"]);
    assert_eq!(engine.log_tail(&launch.agent, 1).await.unwrap().len(), 1);
    assert_eq!(engine.log_tail(&launch.agent, 99).await.unwrap().len(), 4);
    engine.stop(&launch.agent, Duration::ZERO).await.unwrap();
    Kept
}

pub async fn follow(bench: &Bench, number: usize) -> Verdict {
    let identity = identity(number, 'a');
    let engine = bench.engine(&identity).await;
    // It ends when it is told to, and its last line has no end of its own.
    let script = "trap 'printf last; exit 0' TERM; echo one; while :; do sleep 0.1; done";
    let launch = bench.launch(&identity, &agent("heimdall"), script);
    start(&engine, &launch).await;
    let mut log = engine.log_follow(&launch.agent).await.unwrap();
    assert_eq!(timeout(LONG, log.next()).await.unwrap().as_deref(), Some("one"));
    for pid in &engine.list().await.unwrap()[0].pids {
        // One of them may have taken the others with it.
        let _ = kill_process(Pid::from_raw(i32::try_from(*pid).unwrap()).unwrap(), Signal::TERM);
    }
    let rest = timeout(LONG, log.collect::<Vec<String>>()).await.unwrap();
    assert_eq!(rest.last().map(String::as_str), Some("last"), "{rest:?}");
    engine.stop(&launch.agent, Duration::ZERO).await.unwrap();
    Kept
}

pub async fn this_run(bench: &Bench, number: usize) -> Verdict {
    let identity = identity(number, 'a');
    let engine = bench.engine(&identity).await;
    let mut events = engine.events();
    start(&engine, &bench.launch(&identity, &agent("loki"), "echo old; exit 1")).await;
    ended(&engine, &mut events).await;
    assert_eq!(engine.log_tail(&agent("loki"), 9).await.unwrap(), ["old"]);
    start(&engine, &bench.launch(&identity, &agent("loki"), "echo new; exec sleep 600")).await;
    assert_eq!(until_line(&engine, &agent("loki"), "new").await, ["new"]);
    assert_eq!(engine.log_tail(&agent("loki"), 9).await.unwrap(), ["new"]);
    engine.stop(&agent("loki"), Duration::ZERO).await.unwrap();
    Kept
}
