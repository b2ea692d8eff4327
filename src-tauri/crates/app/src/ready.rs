//! From a process that runs to an agent that has answered.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use api::shapes::status::Failure;
use domain::agent::{AgentName, Stage};
use domain::stack::Agent;
use engine::backend::{LogFact, OwnNumbers, backend, failure};
use engine::{Engine, ErrorKind, Instance, Phase, kernel_log};
use futures_util::StreamExt;
use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::carry::Ctx;
use crate::gate::known_as;
use crate::probe::{self, NoAnswer};
use crate::state::Event;

/// Why an agent did not become ready.
#[derive(Debug, Clone)]
pub(crate) enum NotReady {
    Cancelled,
    Failed { failure: Failure, log: Arc<Vec<String>> },
}

/// How a server ended, as far as its engine knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Exit {
    /// 128 and the signal for one that a signal ended.
    pub(crate) code: Option<i64>,
    /// The kernel's memory killer did it.
    pub(crate) oom: bool,
}

/// Follows the log for progress, asks for health, and then for one answer.
///
/// While the server loads its port is closed (vLLM) or says 503 (llama.cpp); nothing tells when that ends, so it is
/// asked often at first and every second later, and at once when the log says that it listens.
pub(crate) async fn until_ready(
    ctx: &Ctx,
    agent: &Agent,
    engine: &Arc<dyn Engine>,
    instance: &Instance,
    cancel: &CancellationToken,
) -> Result<(), NotReady> {
    let Some(backend) = backend(agent.backend).filter(|_| agent.is_ours()) else {
        // Ollama answers when the model is loaded; a server of others is asked by nobody's start.
        return if agent.is_ours() { answered(ctx, agent, engine, instance, cancel).await } else { Ok(()) };
    };
    let listening = Arc::new(Notify::new());
    let follower = follow(ctx, agent, engine.clone(), listening.clone());
    let began = Instant::now();
    let deadline = began + agent.load_timeout;
    let mut looked = began;
    // Workers come while it loads; those of the last look are the ones that the kernel may have killed.
    let mut pids = instance.pids.clone();
    let result = loop {
        if cancel.is_cancelled() {
            break Err(NotReady::Cancelled);
        }
        if probe::healthy(&ctx.world.http, &instance.endpoint, backend.health_path()).await {
            break answered(ctx, agent, engine, instance, cancel).await;
        }
        if looked.elapsed() >= Duration::from_millis(500) {
            looked = Instant::now();
            if let Some(exit) = ended(engine, &agent.name, &mut pids).await {
                break Err(explained(ctx, agent, engine, &instance.id, &pids, exit).await);
            }
        }
        if Instant::now() >= deadline {
            let message = format!(
                "{} was not ready within {}.",
                agent.display_name,
                crate::activity::duration(agent.load_timeout.as_secs_f64())
            );
            break Err(failed(
                engine,
                &agent.name,
                "load_timeout",
                message,
                "Look at its log; if it was still loading, raise load_timeout in the stack file.",
            )
            .await);
        }
        let pause = match began.elapsed().as_secs() {
            0..3 => 50,
            3..20 => 250,
            _ => 1000,
        };
        tokio::select! {
            () = tokio::time::sleep(Duration::from_millis(pause)) => {}
            () = listening.notified() => {}
            () = cancel.cancelled() => {}
        }
    };
    follower.abort();
    result
}

/// The exit of an agent that has ended; one that says nothing when it is gone without a trace. While it runs its
/// processes are noted in `pids`.
async fn ended(engine: &Arc<dyn Engine>, agent: &AgentName, pids: &mut Vec<u32>) -> Option<Exit> {
    match engine.list().await {
        Ok(list) => match list.into_iter().find(|i| &i.agent == agent) {
            Some(instance) => match instance.phase {
                Phase::Running => {
                    *pids = instance.pids;
                    None
                }
                Phase::Exited { code, oom } => Some(Exit { code, oom }),
            },
            None => Some(Exit::default()),
        },
        // An engine that does not answer says nothing about the agent; the deadline bounds the wait.
        Err(_) => None,
    }
}

async fn answered(
    ctx: &Ctx,
    agent: &Agent,
    engine: &Arc<dyn Engine>,
    instance: &Instance,
    cancel: &CancellationToken,
) -> Result<(), NotReady> {
    ctx.state.note(Event::Progressed {
        agent: agent.name.clone(),
        stage: Stage::WarmUp,
        within: None,
        detail: Some("Asking for a first answer".to_owned()),
    });
    let patience = Duration::from_secs(300);
    let served = known_as(&ctx.state.state(), &agent.name);
    let name = served.as_deref().unwrap_or(agent.name.as_str());
    let asked = probe::first_answer(&ctx.world.http, &instance.endpoint, &instance.key, name, patience);
    let result = tokio::select! {
        result = asked => result,
        () = cancel.cancelled() => return Err(NotReady::Cancelled),
    };
    let who = &agent.display_name;
    match result {
        Ok(()) => Ok(()),
        Err(NoAnswer::Broke(_)) => {
            // The port closes a moment before the engine knows of the exit.
            let mut pids = instance.pids.clone();
            let exit = exit_soon(engine, &agent.name, &mut pids).await.unwrap_or_default();
            match explained(ctx, agent, engine, &instance.id, &pids, exit).await {
                NotReady::Failed { mut failure, log } => {
                    failure.message =
                        format!("{who} loaded, but crashed at its first token. {}", failure.message);
                    Err(NotReady::Failed { failure, log })
                }
                NotReady::Cancelled => Err(NotReady::Cancelled),
            }
        }
        Err(NoAnswer::Refused(status, text)) => Err(failed(
            engine,
            &agent.name,
            "first_answer",
            format!("{who} loaded, but refused its first request ({status}): {text}"),
            "Look at its log; the model name or the flags in the stack file may be wrong.",
        )
        .await),
        Err(NoAnswer::Nothing) => Err(failed(
            engine,
            &agent.name,
            "empty_answer",
            format!("{who} loaded, but its first answer was empty."),
            "Try another quantisation or image; look at its log for kernel warnings.",
        )
        .await),
        Err(NoAnswer::Garbage(text)) => Err(failed(
            engine,
            &agent.name,
            "garbage_answer",
            format!("{who} loaded, but its first answer was not language: {text:?}."),
            "The kernels of this image do not fit this model on this GPU: try another quantisation or image.",
        )
        .await),
    }
}

async fn exit_soon(engine: &Arc<dyn Engine>, agent: &AgentName, pids: &mut Vec<u32>) -> Option<Exit> {
    for _ in 0..20 {
        if let Some(exit) = ended(engine, agent, pids).await {
            return Some(exit);
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    None
}

/// The failure of an agent that has ended, in plain words, from its log and the kernel's. `id` and `pids` are what its
/// engine called it, and its processes.
pub(crate) async fn explained(
    ctx: &Ctx,
    agent: &Agent,
    engine: &Arc<dyn Engine>,
    id: &str,
    pids: &[u32],
    exit: Exit,
) -> NotReady {
    let lines = engine.log_tail(&agent.name, 500).await.unwrap_or_default();
    // A played machine has no kernel of its own.
    let log = if ctx.world.machine.is_this_one() {
        tokio::task::spawn_blocking(|| kernel_log::read(Path::new(kernel_log::KERNEL_LOG)))
            .await
            .ok()
            .flatten()
    } else {
        None
    };
    let kill = log.and_then(|log| kernel_log::memory_kill(&log, id, pids));
    if let Some(kill) = &kill {
        tracing::info!(agent = %agent.name, pid = kill.pid, "The kernel killed {} for want of memory.", kill.program);
    }
    let explanation = failure::explain_ended(&lines, exit.code, exit.oom || kill.is_some());
    NotReady::Failed {
        failure: Failure {
            code: explanation.id.to_string(),
            message: explanation.message,
            next: explanation.next,
        },
        log: Arc::new(lines),
    }
}

async fn failed(
    engine: &Arc<dyn Engine>,
    agent: &AgentName,
    code: &str,
    message: String,
    next: &str,
) -> NotReady {
    let lines = engine.log_tail(agent, 500).await.unwrap_or_default();
    NotReady::Failed {
        failure: Failure { code: code.to_owned(), message, next: next.to_owned() },
        log: Arc::new(lines),
    }
}

/// Reads the log while it loads. It ends with the log, or when the agent is ready.
fn follow(
    ctx: &Ctx,
    agent: &Agent,
    engine: Arc<dyn Engine>,
    listening: Arc<Notify>,
) -> tokio::task::JoinHandle<()> {
    let state = ctx.state.clone();
    let name = agent.name.clone();
    let kind = agent.backend;
    tokio::spawn(async move {
        let Some(backend) = backend(kind) else { return };
        let mut lines = match engine.log_follow(&name).await {
            Ok(lines) => lines,
            Err(error) if error.kind == ErrorKind::Unreachable => return,
            Err(error) => {
                tracing::debug!(agent = %name, "The log cannot be followed: {error}");
                return;
            }
        };
        let mut own = OwnNumbers::default();
        while let Some(line) = lines.next().await {
            for fact in backend.facts(&line) {
                let before = own.clone();
                own.take(&fact);
                if own != before {
                    state.note(Event::Said { agent: name.clone(), own: own.clone() });
                }
                let (stage, within) = match fact {
                    LogFact::Stage(stage) => (stage, None),
                    LogFact::StageProgress(stage, within) => (stage, Some(within)),
                    LogFact::Listening => {
                        listening.notify_one();
                        continue;
                    }
                    _ => continue,
                };
                state.note(Event::Progressed { agent: name.clone(), stage, within, detail: None });
            }
        }
    })
}
