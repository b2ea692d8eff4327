//! Images: there or not, by digest, what is in them.

use domain::stack::BackendKind;
use engine::container::images::{pinned, unknown_flags};
use engine::{ErrorKind, Launch, Program};
use tokio::time::timeout;

use super::Verdict::{self, DoesNotApply, Kept};
use super::bench::{Bench, LONG, SHELL, agent, identity, image, labelled, stand_in, start, until_line};

pub async fn has_image(bench: &Bench, number: usize) -> Verdict {
    let identity = identity(number, 'a');
    let engine = bench.engine(&identity).await;
    let launch = bench.launch(&identity, &agent("thor"), "true");
    assert!(engine.has_image(&launch).await.unwrap());
    if !bench.has_containers() {
        return Kept;
    }
    let nowhere = Launch { program: image("127.0.0.1:1/none"), ..launch };
    assert!(!engine.has_image(&nowhere).await.unwrap());
    assert_eq!(engine.start(&nowhere, &mut |_| {}).await.unwrap_err().kind, ErrorKind::NoImage);
    let error = timeout(LONG, engine.pull(&nowhere, &mut |_| {})).await.unwrap().unwrap_err();
    assert!(error.message.contains("could not be reached"), "{error:?}");
    assert_eq!(engine.list().await.unwrap(), [], "a start that failed leaves nothing");
    Kept
}

pub async fn by_digest(bench: &Bench, number: usize) -> Verdict {
    if !bench.has_containers() {
        return DoesNotApply;
    }
    let identity = identity(number, 'a');
    let containers = bench.containers(&identity).await;
    let digest = containers.digest(SHELL).await.unwrap().unwrap();
    assert!(digest.starts_with("sha256:") && digest.len() == 71, "{digest}");
    assert_eq!(containers.digest("127.0.0.1:1/none").await.unwrap(), None);
    let engine = bench.engine(&identity).await;
    // Under its name, and as a bare id.
    let id =
        containers.images().await.unwrap().into_iter().find(|i| i.tags.iter().any(|t| t.ends_with(SHELL)));
    for name in [pinned(SHELL, &digest), id.unwrap().id] {
        let mut launch = bench.launch(&identity, &agent("thor"), "echo up; exec sleep 600");
        if let Program::Image { image, .. } = &mut launch.program {
            image.clone_from(&name);
        }
        assert!(engine.has_image(&launch).await.unwrap(), "{name}");
        start(&engine, &launch).await;
        until_line(&engine, &launch.agent, "up").await;
        engine.stop(&launch.agent, std::time::Duration::ZERO).await.unwrap();
    }
    let gone = format!("sha256:{}", "0".repeat(64));
    let error = containers.pull_reference(&gone, &mut |_| {}).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::NoImage);
    Kept
}

pub async fn version(bench: &Bench, number: usize) -> Verdict {
    let Some(program) = stand_in().filter(|_| bench.has_containers()) else { return DoesNotApply };
    let identity = identity(number, 'a');
    let containers = bench.containers(&identity).await;
    let made = containers.make_image(&program).await.unwrap();
    assert_eq!(containers.make_image(&program).await.unwrap(), made, "made once");
    let vllm = timeout(LONG, containers.read_version(&made, BackendKind::Vllm)).await.unwrap().unwrap();
    assert_eq!(vllm.version, "vLLM 0.32.0");
    let own = ["--max-num-batched-tokens=4096", "--swap-space", "4"].map(str::to_owned);
    assert_eq!(unknown_flags(&own, &vllm), ["--swap-space"]);
    let llama = timeout(LONG, containers.read_version(&made, BackendKind::LlamaCpp)).await.unwrap().unwrap();
    assert_eq!(llama.version, "llama.cpp b11434");
    let own = ["--cache-ram", "0", "--no-mmap"].map(str::to_owned);
    assert_eq!(unknown_flags(&own, &llama), ["--no-mmap"]);
    let error = timeout(LONG, containers.read_version(SHELL, BackendKind::Vllm)).await.unwrap().unwrap_err();
    assert!(!error.next.is_empty(), "{error:?}");
    let docker = bench.api_at_its_version().await;
    assert_eq!(labelled(&docker, "io.asgard.probe").await, Vec::<String>::new(), "nothing is left of it");
    Kept
}

pub async fn listed(bench: &Bench, number: usize) -> Verdict {
    if !bench.has_containers() {
        return DoesNotApply;
    }
    let identity = identity(number, 'a');
    let containers = bench.containers(&identity).await;
    let engine = bench.engine(&identity).await;
    assert!(containers.free_disk().await.unwrap().is_some_and(|free| free > 0));
    let made = containers.make_image(std::path::Path::new("/usr/bin/busybox")).await.unwrap();
    let of = |name: &str| {
        let (name, containers) = (name.to_owned(), &containers);
        async move {
            let all = containers.images().await.unwrap();
            all.into_iter().find(|image| image.tags.iter().any(|tag| tag.ends_with(&name)))
        }
    };
    assert!(of(&made).await.is_some_and(|image| image.size > 100_000 && !image.used));
    let launch = bench.launch(&identity, &agent("thor"), "exit 0");
    start(&engine, &launch).await;
    assert!(of(SHELL).await.unwrap().used);
    let error = containers.remove_image(SHELL).await.unwrap_err();
    assert!(error.message.contains("asgard-thor-"), "{error:?}");
    engine.stop(&launch.agent, LONG).await.unwrap();
    assert!(!of(SHELL).await.unwrap().used);
    containers.remove_image(&made).await.unwrap();
    assert_eq!(of(&made).await, None);
    assert_eq!(containers.remove_image(&made).await.unwrap_err().kind, ErrorKind::NoImage);
    Kept
}
