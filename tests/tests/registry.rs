//! Pulling from a real registry: progress, digests, a tag that moves, a registry that dies.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "what fails here fails the test")]

#[path = "contract/bench.rs"]
#[allow(dead_code, reason = "shared with the contract of the engines")]
mod bench;

use std::fs;
use std::io::Read as _;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use bench::{Bench, Kind, agent, identity, image, start, until_line};
use bollard::Docker;
use bollard::query_parameters::{CreateImageOptionsBuilder, PushImageOptionsBuilder, TagImageOptionsBuilder};
use engine::container::ContainerEngine;
use engine::container::images::{full_name, pinned};
use engine::{Engine, ErrorKind, Launch, StartProgress};
use futures_util::StreamExt as _;
use journeys::docker::{missing_program, skipped};
use journeys::registry::Registry;
use tokio::time::timeout;

/// A pull that has to be given up takes an engine several tries.
const PATIENT: Duration = Duration::from_mins(2);
const REPOSITORY: &str = "asgard/server";
const PAYLOAD: usize = 8 << 20;

/// An image with a shell, a name and bytes that do not pack.
async fn build(bench: &Bench, docker: &Docker, name: &str) -> String {
    let root = bench.folder.path().join(name);
    fs::create_dir_all(root.join("bin")).unwrap();
    for program in ["sh", "cat", "sleep"] {
        fs::copy("/usr/bin/busybox", root.join("bin").join(program)).unwrap();
    }
    fs::write(root.join("build"), format!("{name}\n")).unwrap();
    let mut payload = vec![0; PAYLOAD];
    fs::File::open("/dev/urandom").unwrap().read_exact(&mut payload).unwrap();
    fs::write(root.join("payload"), payload).unwrap();
    let archive = bench.folder.path().join(format!("{name}.tar"));
    let tar = Command::new("tar").arg("-C").arg(&root).arg("-cf").arg(&archive).arg(".").status();
    assert!(tar.unwrap().success());
    let options = CreateImageOptionsBuilder::new().from_src("-").build();
    let body = bollard::body_full(fs::read(&archive).unwrap().into());
    let mut answers = docker.create_image(Some(options), Some(body), None);
    let mut id = None;
    while let Some(answer) = answers.next().await {
        id = answer.unwrap().status.filter(|status| status.starts_with("sha256:")).or(id);
    }
    id.unwrap()
}

/// Builds, pushes under the tag, and forgets it here.
async fn push(bench: &Bench, containers: &ContainerEngine, registry: &Registry, name: &str, tag: &str) {
    let docker = bench.api_at_its_version().await;
    let id = build(bench, &docker, name).await;
    let repository = format!("{}/{REPOSITORY}", registry.address);
    let options = TagImageOptionsBuilder::new().repo(&repository).tag(tag).build();
    docker.tag_image(&id, Some(options)).await.unwrap();
    let options = PushImageOptionsBuilder::new().tag(tag).build();
    let mut pushing = Box::pin(docker.push_image(&repository, Some(options), None));
    while let Some(said) = pushing.next().await {
        said.unwrap();
    }
    containers.remove_image(&format!("{repository}:{tag}")).await.unwrap();
    assert!(containers.images().await.unwrap().iter().all(|image| image.id != id), "it is forgotten here");
}

async fn pull(containers: &ContainerEngine, reference: &str) -> Vec<(u64, Option<u64>)> {
    let mut seen = Vec::new();
    let mut on = |step: StartProgress| {
        if let StartProgress::Pulling { done, total } = step {
            seen.push((done, total));
        }
    };
    timeout(PATIENT, containers.pull_reference(reference, &mut on)).await.unwrap().unwrap();
    seen
}

async fn runs(bench: &Bench, engine: &Arc<dyn Engine>, reference: &str, build: &str) {
    let identity = identity(0, 'a');
    let launch = bench.launch(&identity, &agent("thor"), "cat /build; exec sleep 600");
    let launch = Launch { program: image(reference), ..launch };
    start(engine, &launch).await;
    assert_eq!(until_line(engine, &launch.agent, build).await, [build]);
    engine.stop(&launch.agent, Duration::ZERO).await.unwrap();
}

async fn journey(kind: Kind) {
    let bench = match Bench::start(kind).await {
        Ok(bench) => bench,
        Err(why) => return skipped(kind.name(), &why),
    };
    let mut registry = Registry::start().await;
    let containers = bench.containers(&identity(0, 'a')).await;
    let engine = bench.engine(&identity(0, 'a')).await;
    let reference = format!("{}/{REPOSITORY}:stable", registry.address);
    push(&bench, &containers, &registry, "first", "stable").await;
    push(&bench, &containers, &registry, "second", "next").await;
    assert_eq!(containers.digest(&reference).await.unwrap(), None);

    // Pulled with progress, where the engine tells it.
    registry.pause(10);
    let seen = pull(&containers, &reference).await;
    registry.pause(0);
    assert!(seen.windows(2).all(|pair| pair[0].0 <= pair[1].0), "bytes never fall: {seen:?}");
    if kind == Kind::Docker {
        let between = seen.iter().filter(|(done, _)| (1..PAYLOAD as u64).contains(done)).count();
        assert!(between > 2, "bytes are told on the way: {seen:?}");
        let last = seen.last().unwrap();
        assert!(last.0 >= PAYLOAD as u64 && last.1 == Some(last.0), "{last:?}");
    }

    // Its digest is the registry's, and stays when the tag there moves.
    let first = registry.digest(REPOSITORY, "stable").await;
    assert_eq!(containers.digest(&reference).await.unwrap().as_ref(), Some(&first));
    registry.retag(REPOSITORY, "next", "stable").await;
    let second = registry.digest(REPOSITORY, "stable").await;
    assert_ne!(first, second);
    assert_eq!(containers.digest(&reference).await.unwrap().as_ref(), Some(&first));
    match containers.newest(&reference).await {
        Ok(newest) => assert_eq!(newest, second),
        Err(error) => {
            assert_eq!((kind, error.kind), (Kind::Podman, ErrorKind::Failed));
            assert!(error.message.contains("without pulling"), "{error:?}");
        }
    }

    // The new one beside the old one, which still starts.
    pull(&containers, &reference).await;
    assert_eq!(containers.digest(&reference).await.unwrap().as_ref(), Some(&second));
    runs(&bench, &engine, &reference, "second").await;
    let old = pinned(&reference, &first);
    assert_eq!(containers.digest(&old).await.unwrap().as_ref(), Some(&first));
    runs(&bench, &engine, &old, "first").await;

    // A digest is pulled as a tag is.
    containers.remove_image(&old).await.unwrap();
    containers.remove_image(&reference).await.unwrap();
    assert!(!containers.image_exists(&old).await.unwrap());
    pull(&containers, &old).await;
    runs(&bench, &engine, &old, "first").await;

    // The registry dies on the way.
    registry.pause(40);
    let all = containers.images().await.unwrap().len();
    let wanted = reference.clone();
    let mut killed = false;
    let mut on = |step: StartProgress| {
        let begun = match step {
            // Podman tells no bytes, but that it has begun.
            StartProgress::Pulling { done, .. } => done > 0 || kind == Kind::Podman,
            _ => false,
        };
        if begun && !killed {
            killed = true;
            registry.kill();
        }
    };
    let error = timeout(PATIENT, containers.pull_reference(&wanted, &mut on)).await.unwrap().unwrap_err();
    assert!(killed, "it died on the way: {error:?}");
    let said = ["could not be reached", "went away"].iter().any(|words| error.message.contains(words));
    assert!(said && error.kind == ErrorKind::NoImage, "{error:?}");
    assert!(!containers.image_exists(&reference).await.unwrap());
    let left = containers.images().await.unwrap();
    assert_eq!(left.len(), all, "nothing half is left: {left:?}");
    assert!(left.iter().flat_map(|image| &image.tags).all(|tag| full_name(tag) != full_name(&reference)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn images_come_from_a_registry() {
    if let Err(why) = missing_program(&["docker-registry"]) {
        return skipped("registry", &why);
    }
    journey(Kind::Docker).await;
    journey(Kind::Podman).await;
}
