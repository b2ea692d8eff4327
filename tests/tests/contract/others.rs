//! What is not ours: named where it is in the way, and never touched.

use std::net::{Ipv4Addr, TcpListener};
use std::time::Duration;

use bollard::models::ContainerCreateBody;
use bollard::query_parameters::{
    CreateContainerOptionsBuilder, InspectContainerOptions, RemoveContainerOptionsBuilder,
};
use engine::container::container_name;
use engine::{ErrorKind, Launch, Phase};

use super::Verdict::{self, DoesNotApply, Kept};
use super::bench::{Bench, LONG, SHELL, agent, identity, start, until_line};

const STAYS: &str = "trap 'exit 0' TERM; echo up; while :; do sleep 0.1; done";

pub async fn foreign_name(bench: &Bench, number: usize) -> Verdict {
    if !bench.has_containers() {
        return DoesNotApply;
    }
    let identity = identity(number, 'a');
    let engine = bench.engine(&identity).await;
    let launch = bench.launch(&identity, &agent("odin"), "true");
    let name = container_name(&launch.agent, &identity);
    let docker = bench.api_at_its_version().await;
    let options = CreateContainerOptionsBuilder::new().name(&name).build();
    let body = ContainerCreateBody {
        image: Some(SHELL.to_owned()),
        cmd: Some(vec!["true".to_owned()]),
        ..ContainerCreateBody::default()
    };
    let made = docker.create_container(Some(options), body).await.unwrap().id;
    let error = engine.start(&launch, &mut |_| {}).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Foreign);
    assert!(error.message.contains(&name), "{error:?}");
    engine.stop(&launch.agent, Duration::ZERO).await.unwrap();
    let there = docker.inspect_container(&name, None::<InspectContainerOptions>).await.unwrap();
    assert_eq!(there.id.as_ref(), Some(&made), "it is still there");
    let options = RemoveContainerOptionsBuilder::new().v(true).build();
    docker.remove_container(&made, Some(options)).await.unwrap();
    Kept
}

pub async fn foreign_port(bench: &Bench, number: usize) -> Verdict {
    let ours = identity(number, 'a');
    let engine = bench.engine(&ours).await;
    let launch = bench.launch(&ours, &agent("thor"), STAYS);
    // A program of this machine.
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, launch.port)).unwrap();
    let error = engine.start(&launch, &mut |_| {}).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::PortTaken);
    assert!(error.message.contains(&format!("(process {})", std::process::id())), "{error:?}");
    drop(listener);
    // A container of another.
    if bench.has_containers() {
        let theirs = identity(number, 'b');
        let other = bench.engine(&theirs).await;
        let held = Launch { port: launch.port, ..bench.launch(&theirs, &agent("loki"), STAYS) };
        start(&other, &held).await;
        until_line(&other, &held.agent, "up").await;
        let error = engine.start(&launch, &mut |_| {}).await.unwrap_err();
        assert_eq!(error.kind, ErrorKind::PortTaken);
        let name = container_name(&held.agent, &theirs);
        assert!(error.message.contains(&format!("the container {name}")), "{error:?}");
        other.stop(&held.agent, LONG).await.unwrap();
    }
    assert_eq!(engine.list().await.unwrap(), [], "a start that failed leaves nothing");
    start(&engine, &launch).await;
    engine.stop(&launch.agent, LONG).await.unwrap();
    Kept
}

pub async fn another_instance(bench: &Bench, number: usize) -> Verdict {
    let (ours, theirs) = (identity(number, 'a'), identity(number, 'b'));
    let engine = bench.engine(&ours).await;
    let other = bench.engine(&theirs).await;
    let launch = bench.launch(&ours, &agent("thor"), STAYS);
    let instance = start(&engine, &launch).await;
    assert_eq!(other.list().await.unwrap(), []);
    assert_eq!(other.log_tail(&launch.agent, 9).await.unwrap(), Vec::<String>::new());
    other.stop(&launch.agent, Duration::ZERO).await.unwrap();
    // An agent of the same name beside it.
    start(&other, &bench.launch(&theirs, &agent("thor"), STAYS)).await;
    other.stop(&launch.agent, LONG).await.unwrap();
    let list = engine.list().await.unwrap();
    assert_eq!(list.iter().map(|i| (&i.id, &i.phase)).collect::<Vec<_>>(), [(&instance.id, &Phase::Running)]);
    engine.stop(&launch.agent, LONG).await.unwrap();
    Kept
}
