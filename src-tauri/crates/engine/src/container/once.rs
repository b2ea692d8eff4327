//! An image run once for an answer: no network, no devices, no mounts, and gone afterwards.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use bollard::models::{ContainerCreateBody, HealthConfig, HostConfig};
use bollard::query_parameters::{LogsOptionsBuilder, StartContainerOptions};
use domain::stack::BackendKind;
use futures_util::StreamExt as _;
use tokio::time::timeout;

use super::facts::{self, ServerFacts};
use super::link::{LONG, Link};
use super::{Shared, words};
use crate::{EngineError, ErrorKind};

/// On what is run once: an answer that the controller did not live to hear is cleared away by the next question.
const PROBE: &str = "io.asgard.probe";
/// Loading its libraries takes vLLM most of a minute on a slow disk.
const PATIENCE: Duration = Duration::from_mins(3);
const MEMORY: i64 = 4 << 30;
/// More than any help text; what follows is not kept.
const PRINTED: usize = 2 << 20;

struct Answer {
    code: Option<i64>,
    text: String,
}

/// The version and the flags of the server in an image. It goes on to its end when nobody waits any more, so that no
/// container is left.
pub(super) async fn read(
    shared: &Arc<Shared>,
    link: &Link,
    image: String,
    entry: Vec<String>,
    backend: BackendKind,
) -> Result<ServerFacts, EngineError> {
    let (shared, link) = (Arc::clone(shared), link.clone());
    let asking = tokio::spawn(async move { ask(&shared, &link, &image, &entry, backend).await });
    asking.await.unwrap_or_else(|_| {
        Err(EngineError::new(
            ErrorKind::Cancelled,
            "Asgard ended while it read an image's version.",
            "Start it again.",
        ))
    })
}

async fn ask(
    shared: &Shared,
    link: &Link,
    image: &str,
    entry: &[String],
    backend: BackendKind,
) -> Result<ServerFacts, EngineError> {
    clear(shared, link).await?;
    let helps: &[&[&str]] = match backend {
        // With nothing after it newer ones list their groups only; older ones do not know the `=all`.
        BackendKind::Vllm => &[&["serve", "--help=all"], &["serve", "--help"]],
        _ => &[&["--help"]],
    };
    let said = once(shared, link, image, command(entry, backend, &["--version"])).await?.text;
    let Some(version) = facts::version(backend, &said) else {
        let last = said.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or("nothing").trim();
        return Err(EngineError::new(
            ErrorKind::Failed,
            format!("The server in {image} did not say its version; it said: {last}"),
            "Check that the image holds the agent's backend, and correct `image` or `backend` in the stack file.",
        ));
    };
    for question in helps {
        let answer = once(shared, link, image, command(entry, backend, question)).await?;
        let flags = facts::flags(&answer.text);
        if answer.code == Some(0) && !flags.is_empty() {
            return Ok(ServerFacts { version, flags });
        }
    }
    // Some versions of vLLM cannot print their help without a GPU. The version alone is worth having.
    Ok(ServerFacts { version, flags: Vec::new() })
}

/// The entry point and the arguments for a question: an image whose entry point is the server itself is not given its
/// name once more.
fn command(entry: &[String], backend: BackendKind, question: &[&str]) -> (Option<Vec<String>>, Vec<String>) {
    let owned = |words: &[&str]| words.iter().map(|&word| word.to_owned()).collect::<Vec<_>>();
    let program = if backend == BackendKind::Vllm { "vllm" } else { "llama-server" };
    let names = |word: &String| word.rsplit('/').next() == Some(program);
    if backend == BackendKind::Vllm && entry.iter().any(|word| word.contains("vllm")) {
        // `vllm serve`, or the module of older images: neither takes `--version` at its end.
        return (Some(owned(&[program])), owned(question));
    }
    if entry.iter().any(names) {
        return (None, owned(question));
    }
    let mut args = vec![program.to_owned()];
    args.extend(owned(question));
    (None, args)
}

async fn once(
    shared: &Shared,
    link: &Link,
    image: &str,
    (entrypoint, args): (Option<Vec<String>>, Vec<String>),
) -> Result<Answer, EngineError> {
    let body = ContainerCreateBody {
        image: Some(image.to_owned()),
        entrypoint,
        cmd: Some(args),
        labels: Some(HashMap::from([(PROBE.to_owned(), shared.identity.instance.clone())])),
        network_disabled: Some(true),
        healthcheck: Some(HealthConfig { test: Some(vec!["NONE".to_owned()]), ..HealthConfig::default() }),
        host_config: Some(HostConfig {
            network_mode: Some("none".to_owned()),
            memory: link.limits_memory.then_some(MEMORY),
            memory_swap: link.limits_memory.then_some(MEMORY),
            security_opt: Some(vec!["no-new-privileges".to_owned()]),
            privileged: Some(false),
            init: Some(true),
            ..HostConfig::default()
        }),
        ..ContainerCreateBody::default()
    };
    let what = "read an image's version";
    let name = format!("asgard-probe-{}", shared.identity.instance.chars().take(8).collect::<String>());
    let id = shared.create(link, &name, body, what).await?;
    let answer = match timeout(PATIENCE, run(link, &id, what)).await {
        Ok(answer) => answer,
        Err(_) => Err(words::silent(&link.address, what)),
    };
    shared.remove(link, &id).await?;
    answer
}

async fn run(link: &Link, id: &str, what: &str) -> Result<Answer, EngineError> {
    link.ask(what, LONG, link.docker.start_container(id, None::<StartContainerOptions>)).await?;
    let options = LogsOptionsBuilder::new().stdout(true).stderr(true).follow(true).tail("all").build();
    let mut output = Box::pin(link.docker.logs(id, Some(options)));
    let mut bytes: Vec<u8> = Vec::new();
    while let Some(Ok(piece)) = output.next().await {
        if bytes.len() < PRINTED {
            bytes.extend_from_slice(piece.as_ref());
        }
    }
    // The log's end comes with the container's; its code may come a moment later.
    loop {
        let container = link.inspect(id).await?;
        let state = container.and_then(|container| container.state);
        if !state.as_ref().and_then(|s| s.running).unwrap_or_default() {
            let text = String::from_utf8_lossy(&bytes).into_owned();
            return Ok(Answer { code: state.and_then(|s| s.exit_code), text });
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Removes what an Asgard that was killed left of its questions. Our own only.
async fn clear(shared: &Shared, link: &Link) -> Result<(), EngineError> {
    let label = format!("{PROBE}={}", shared.identity.instance);
    let filters = HashMap::from([("label".to_owned(), vec![label])]);
    let left = link.containers(true, &filters).await?;
    for id in left.iter().filter_map(|container| container.id.as_deref()) {
        shared.remove(link, id).await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words_of(
        entry: &[&str],
        backend: BackendKind,
        question: &[&str],
    ) -> (Option<Vec<String>>, Vec<String>) {
        let entry: Vec<String> = entry.iter().map(|&word| word.to_owned()).collect();
        command(&entry, backend, question)
    }

    #[test]
    fn the_servers_name_is_given_once() {
        use BackendKind::{LlamaCpp, Vllm};
        assert_eq!(words_of(&[], Vllm, &["--version"]).1, ["vllm", "--version"]);
        assert_eq!(words_of(&["/asgard-stand-in"], LlamaCpp, &["--help"]).1, ["llama-server", "--help"]);
        assert_eq!(
            words_of(&["/app/llama-server"], LlamaCpp, &["--help"]),
            (None, vec!["--help".to_owned()])
        );
        for entry in [&["vllm", "serve"][..], &["python3", "-m", "vllm.entrypoints.openai.api_server"]] {
            let (program, args) = words_of(entry, Vllm, &["serve", "--help"]);
            assert_eq!(
                (program.unwrap(), args),
                (vec!["vllm".to_owned()], vec!["serve".into(), "--help".into()])
            );
        }
    }
}
