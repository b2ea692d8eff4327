//! After a start of the controller: what runs is adopted, and a switch that a crash cut is taken to its end or back.

use std::collections::BTreeSet;
use std::sync::Arc;

use api::shapes::status::{Notice, Severity};
use domain::agent::{AgentName, AgentState};
use domain::plan::Goal;
use domain::stack::Runs;
use engine::{Engine, Instance, Phase};
use tokio_util::sync::CancellationToken;

use crate::activity::happened;
use crate::carry::{self, Ctx, from_engine};
use crate::ready::{self, Exit, NotReady};
use crate::run_loop::Wish;
use crate::state::{EngineLive, Event};

/// Asks every engine what it is and what of ours it runs.
pub(crate) async fn look_at_engines(ctx: &Ctx) {
    let external = ctx.state.state().stack.agents.iter().any(|a| !a.is_ours());
    let ollama = ctx.state.state().stack.agents.iter().any(|a| matches!(a.runs, Runs::Ollama { .. }));
    for (engine, answer) in ctx.world.probes().await {
        if engine.id() == "external" && !external || engine.id() == "ollama" && !ollama {
            continue;
        }
        let seen = match answer {
            Ok(info) => EngineLive {
                id: engine.id().to_owned(),
                kind: info.kind.to_owned(),
                version: info.version,
                error: None,
            },
            Err(error) => EngineLive {
                id: engine.id().to_owned(),
                kind: engine.id().to_owned(),
                version: None,
                error: Some(from_engine(&error)),
            },
        };
        ctx.state.tell(Event::EngineSeen(seen)).await;
    }
    let stack = ctx.state.state().stack.clone();
    let to_pull = ctx.world.missing_images(&stack).await;
    ctx.state.tell(Event::ImagesSeen { to_pull }).await;
}

/// Takes over everything of ours that runs, and forgets what no longer does.
pub(crate) async fn adopt(ctx: &Ctx) {
    let instances = ctx.world.instances().await;
    let state = ctx.state.state();
    for (engine_id, instance) in &instances {
        let known = state.agents.get(&instance.agent).and_then(|l| l.instance.as_ref());
        // Servers of others are looked at by `look_at_external`.
        if engine_id == "external"
            || instance.phase != Phase::Running
            || known.is_some_and(|k| k.id == instance.id)
        {
            continue;
        }
        // During an operation what starts is told of by the carrier.
        if state.operation.is_some() {
            continue;
        }
        let Some(engine) = ctx.world.engine(engine_id) else { continue };
        ctx.state
            .tell(Event::Adopted {
                agent: instance.agent.clone(),
                engine: engine_id.clone(),
                instance: instance.clone(),
                ready: false,
            })
            .await;
        watch_adopted(ctx.clone(), engine, instance.clone());
    }
    carry::read(ctx).await;
}

/// An adopted agent is ready when it has answered, like any other.
fn watch_adopted(ctx: Ctx, engine: Arc<dyn Engine>, instance: Instance) {
    tokio::spawn(async move {
        let name = instance.agent.clone();
        let Some(agent) = ctx.state.state().stack.agent(&name).cloned() else {
            let message = format!("{} runs, but is not in the stack.", name.proper());
            let notice = Notice {
                severity: Severity::Warning,
                message,
                next: format!("Stop it with: asgard stop {name}"),
            };
            ctx.state.tell(Event::Noticed { key: "stranger", notice: Some(notice) }).await;
            return;
        };
        let never = CancellationToken::new();
        match ready::until_ready(&ctx, &agent, &engine, &instance, &never).await {
            Ok(()) => {
                ctx.state.tell(Event::Ready { agent: name.clone() }).await;
                happened(
                    &ctx,
                    Severity::Info,
                    Some(&name),
                    format!("{} was running and is ready.", name.proper()),
                );
            }
            Err(NotReady::Failed { failure, log }) if still_it(&ctx, &instance) => {
                happened(&ctx, Severity::Failure, Some(&name), failure.message.clone());
                ctx.state.tell(Event::Failed { agent: name, failure, log }).await;
            }
            Err(NotReady::Failed { .. } | NotReady::Cancelled) => {}
        }
    });
}

fn still_it(ctx: &Ctx, instance: &Instance) -> bool {
    let state = ctx.state.state();
    state.agents.get(&instance.agent).and_then(|l| l.instance.as_ref()).is_some_and(|i| i.id == instance.id)
}

/// Something about an agent changed at its engine: it died, or was stopped by somebody else.
pub(crate) async fn look_at_agent(ctx: &Ctx, engine: &Arc<dyn Engine>, name: &AgentName) {
    let state = ctx.state.state();
    let Some(live) = state.agents.get(name) else { return };
    let Some(known) = live.instance.as_ref().filter(|_| live.engine.as_deref() == Some(engine.id())) else {
        if state.operation.is_none() {
            adopt(ctx).await;
        }
        return;
    };
    // A stop or a start under way tells of itself.
    if !live.state.answers() {
        return;
    }
    let Ok(list) = engine.list().await else { return };
    let now = list.into_iter().find(|i| &i.agent == name);
    if now.as_ref().is_some_and(|i| i.id == known.id && i.phase == Phase::Running) {
        return;
    }
    let exit = match now.as_ref().map(|i| &i.phase) {
        Some(Phase::Exited { code, oom }) => Exit { code: *code, oom: *oom },
        Some(Phase::Running) | None => Exit::default(),
    };
    let gone = now.is_none();
    let Some(agent) = state.stack.agent(name).cloned() else {
        ctx.state.tell(Event::Slept { agent: name.clone() }).await;
        return;
    };
    // What it says now may be a step of ours that is only told of later: look at the state once more.
    if !still_it(ctx, known) || !ctx.state.state().agents.get(name).is_some_and(|l| l.state.answers()) {
        return;
    }
    if gone || exit.code == Some(0) && !exit.oom {
        happened(
            ctx,
            Severity::Warning,
            Some(name),
            format!("{} was stopped by another program.", name.proper()),
        );
        ctx.state.tell(Event::Slept { agent: name.clone() }).await;
    } else if let NotReady::Failed { mut failure, log } =
        ready::explained(ctx, &agent, engine, &known.id, &known.pids, exit).await
    {
        failure.message = format!("{} crashed. {}", name.proper(), failure.message);
        happened(ctx, Severity::Failure, Some(name), failure.message.clone());
        ctx.state.tell(Event::Failed { agent: name.clone(), failure, log }).await;
    }
    carry::read(ctx).await;
}

/// Servers of others come and go without a word; they are asked whenever the figures are read.
pub(crate) async fn look_at_external(ctx: &Ctx) {
    let state = ctx.state.state();
    let names: Vec<AgentName> =
        state.stack.agents.iter().filter(|a| !a.is_ours()).map(|a| a.name.clone()).collect();
    if names.is_empty() {
        return;
    }
    let engine: Arc<dyn Engine> = ctx.world.external();
    let Ok(there) = engine.list().await else { return };
    for name in names {
        let known = state.agents.get(&name).and_then(|l| l.instance.as_ref());
        match (known, there.iter().find(|i| i.agent == name)) {
            (None, Some(instance)) => {
                let adopted = Event::Adopted {
                    agent: name.clone(),
                    engine: engine.id().to_owned(),
                    instance: instance.clone(),
                    ready: true,
                };
                ctx.state.tell(adopted).await;
                happened(ctx, Severity::Info, Some(&name), format!("{} answers.", name.proper()));
            }
            (Some(_), None) => {
                ctx.state.tell(Event::Slept { agent: name.clone() }).await;
                happened(
                    ctx,
                    Severity::Warning,
                    Some(&name),
                    format!("{} no longer answers.", name.proper()),
                );
            }
            // It runs and does not answer yet: it loads, and its memory is as good as taken.
            (None, None) => {
                let now = state.agents.get(&name).map(|l| l.state);
                let runs = crate::neighbour_view::runs(&state, &name);
                if runs && now == Some(AgentState::Asleep) {
                    let detail = Some("Does not answer yet".to_owned());
                    ctx.state.tell(Event::Moved { agent: name, to: AgentState::Loading, detail }).await;
                } else if !runs && now == Some(AgentState::Loading) {
                    ctx.state.tell(Event::Slept { agent: name }).await;
                }
            }
            (Some(_), Some(_)) => {}
        }
    }
}

/// Finishes or undoes what a crash cut, by what fits from what runs now.
pub(crate) async fn take_up(ctx: &Ctx) {
    let path = ctx.world.paths.intent_file();
    let intent = match store::intent::read(&path) {
        Ok(Some(intent)) => intent,
        Ok(None) => return,
        Err(error) => {
            tracing::warn!("The intent of a switch could not be read and was set aside: {error}");
            return;
        }
    };
    let names = |list: &[String]| -> BTreeSet<AgentName> {
        list.iter()
            .filter_map(|n| AgentName::new(n).ok())
            .filter(|n| ctx.state.state().stack.agent(n).is_some())
            .collect()
    };
    let state = ctx.state.state();
    let forward = Goal::Exactly(names(&intent.to_awake));
    let back = Goal::Exactly(names(&intent.from_awake));
    let onward = carry::would_fit(&state, &forward);
    let (goal, to, word) = match &onward {
        Ok(()) => (forward, intent.goal.clone(), "is finished"),
        Err(_) if carry::would_fit(&state, &back).is_ok() => {
            (back, intent.profile_from.clone().unwrap_or_else(|| "what ran before".to_owned()), "is undone")
        }
        Err(why) => {
            let message = format!(
                "A switch to {} was cut off and can neither be finished nor undone: {why}",
                intent.goal
            );
            happened(ctx, Severity::Failure, None, message.clone());
            let notice = Notice {
                severity: Severity::Failure,
                message,
                next: "Stop an agent, or close programs that hold memory, then switch again.".to_owned(),
            };
            ctx.state.tell(Event::Noticed { key: "intent", notice: Some(notice) }).await;
            let _ = store::intent::clear(&path);
            return;
        }
    };
    happened(ctx, Severity::Warning, None, format!("The switch to {} was cut off and {word}.", intent.goal));
    let result = ctx.state.wish(Wish::new(goal, to)).await;
    if let Err(error) = &result {
        happened(ctx, Severity::Failure, None, error.message.clone());
    } else if onward.is_ok() && intent.profile_to.is_some() {
        ctx.state.tell(Event::ProfileChosen(intent.profile_to.clone())).await;
    }
    let _ = store::intent::clear(&path);
}
