//! Waking one agent: its image, its model, the last look at the memory, the start, the first answer.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use api::shapes::status::{Failure, Severity};
use domain::agent::{AgentState, Stage};
use domain::memory::{Bytes, Unit};
use domain::plan::{Headroom, claims, headroom, ledgers, loading_claims};
use domain::stack::Agent;
use engine::{Engine, EngineError, ErrorKind, StartProgress};
use jiff::Timestamp;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::activity::{duration, happened};
use crate::carry::{Ctx, Stuck, fail, read, wait_memory};
use crate::ready::{self, NotReady};
use crate::state::Event;
use crate::world::main_capacity;
use crate::{images, learning};

/// How long a start waits for head-room that its plan counted on.
const HEADROOM_PATIENCE: Duration = Duration::from_secs(30);

pub(crate) async fn pull(ctx: &Ctx, agent: &Agent, cancel: &CancellationToken) -> Result<(), Stuck> {
    let name = &agent.name;
    ctx.state.tell(Event::Moved { agent: name.clone(), to: AgentState::Pulling, detail: None }).await;
    let result = async {
        let engine = ctx.world.engine_for(agent).await?;
        let launch = prepare(ctx, agent, &engine).await?;
        let mut last = Instant::now();
        let mut on = |progress: StartProgress| {
            if let StartProgress::Pulling { done, total } = progress
                && last.elapsed() >= Duration::from_millis(250)
            {
                last = Instant::now();
                let within = total.filter(|t| *t > 0).map(|t| done as f64 / t as f64);
                let detail = Some(pulled(done, total));
                ctx.state.note(Event::Progressed {
                    agent: name.clone(),
                    stage: Stage::Container,
                    within,
                    detail,
                });
            }
        };
        tokio::select! {
            result = engine.pull(&launch, &mut on) => result,
            () = cancel.cancelled() => Err(EngineError::new(ErrorKind::Cancelled, "Cancelled.", "")),
        }
    }
    .await;
    match result {
        Ok(()) => {
            images::write_down(ctx, agent).await;
            let mut to_pull = ctx.state.state().to_pull.clone();
            to_pull.remove(name);
            ctx.state.tell(Event::ImagesSeen { to_pull }).await;
            ctx.state.tell(Event::Moved { agent: name.clone(), to: AgentState::Asleep, detail: None }).await;
            Ok(())
        }
        Err(error) => Err(fail(ctx, name, &error).await),
    }
}

/// Downloads count in units of 10^9.
fn pulled(done: u64, total: Option<u64>) -> String {
    let gb = |b: u64| format!("{:.1}", b as f64 / 1e9);
    match total {
        Some(total) => format!("{} of {}\u{a0}GB pulled", gb(done), gb(total)),
        None => format!("{}\u{a0}GB pulled", gb(done)),
    }
}

async fn prepare(ctx: &Ctx, agent: &Agent, engine: &Arc<dyn Engine>) -> Result<engine::Launch, EngineError> {
    let state = ctx.state.state();
    let reserved = claims(agent, &state.pools);
    let capacity = main_capacity(&state.pools, &reserved);
    let hold: Bytes = reserved.values().map(|s| s.total()).sum();
    let rehearsal = ctx.world.stand_in(agent, engine.id(), hold).await?;
    let in_rehearsal = rehearsal.is_some();
    let mut launch = ctx.world.launch(agent, &reserved, capacity, new_key()?, rehearsal)?;
    if !in_rehearsal && engine.has_image(&launch).await.unwrap_or(false) {
        images::fit_flags(ctx, agent, &mut launch).await?;
    }
    Ok(launch)
}

pub(crate) fn new_key() -> Result<domain::secret::Secret, EngineError> {
    let mut bytes = [0u8; 24];
    getrandom::fill(&mut bytes).map_err(|e| {
        EngineError::new(ErrorKind::Failed, format!("The system gives no random bytes ({e})."), "Try again.")
    })?;
    let mut text = String::with_capacity(48);
    for byte in bytes {
        let _ = write!(text, "{byte:02x}");
    }
    Ok(domain::secret::Secret::new(text))
}

/// Starts one agent and waits until it has answered.
pub(crate) async fn start(
    ctx: &Ctx,
    agent: &Agent,
    wait_ready: usize,
    cancel: &CancellationToken,
) -> Result<(), Stuck> {
    let name = &agent.name;
    if let Err(error) = model_is_there(ctx, agent) {
        return Err(fail(ctx, name, &error).await);
    }
    // One loading at a time: one that was found loading after a restart of the controller comes to its end first.
    let others_loaded = ctx.state.until(|s| {
        !s.agents.iter().any(|(n, l)| {
            n != name
                    && matches!(l.state, AgentState::Starting | AgentState::Loading)
                    // What others load is not waited for: it may never come to its end.
                    && s.stack.agent(n).is_none_or(Agent::is_ours)
        })
    });
    tokio::select! {
        () = others_loaded => {}
        () = cancel.cancelled() => return Err(Stuck::Cancelled),
    }
    look_at_headroom(ctx, agent, cancel).await?;
    let began = Instant::now();
    let baseline = ctx.world.pools();
    ctx.state.tell(Event::Began { agent: name.clone(), baseline }).await;
    let engine = match ctx.world.engine_for(agent).await {
        Ok(engine) => engine,
        Err(error) => return Err(fail(ctx, name, &error).await),
    };
    let launch = match prepare(ctx, agent, &engine).await {
        Ok(launch) => launch,
        Err(error) => return Err(fail(ctx, name, &error).await),
    };
    let mut on = |_: StartProgress| {};
    // A start is not cut in its middle: an engine that was asked for a container is waited for, then it is stopped.
    images::write_down(ctx, agent).await;
    let instance = match engine.start(&launch, &mut on).await {
        Ok(instance) => instance,
        Err(error) => return Err(fail(ctx, name, &error).await),
    };
    ctx.state
        .tell(Event::Started {
            agent: name.clone(),
            engine: engine.id().to_owned(),
            instance: instance.clone(),
        })
        .await;
    ctx.state.tell(Event::StepBegan { step: wait_ready }).await;
    match ready::until_ready(ctx, agent, &engine, &instance, cancel).await {
        Ok(()) => {}
        Err(NotReady::Cancelled) => {
            end_half_started(ctx, agent, &engine).await;
            ctx.state.tell(Event::Slept { agent: name.clone() }).await;
            return Err(Stuck::Cancelled);
        }
        Err(NotReady::Failed { failure, log }) => {
            end_half_started(ctx, agent, &engine).await;
            ctx.state.tell(Event::Failed { agent: name.clone(), failure: failure.clone(), log }).await;
            return Err(Stuck::Failed { agent: name.clone(), failure });
        }
    }
    let seconds = began.elapsed().as_secs_f64();
    // What it holds is read once more while it still counts as loading, against the pools before its start.
    read(ctx).await;
    ctx.state.tell(Event::Ready { agent: name.clone() }).await;
    record_start(ctx, agent, seconds).await;
    learning::observe(ctx, agent).await;
    happened(
        ctx,
        Severity::Info,
        Some(name),
        format!("{} ready in {}.", agent.display_name, duration(seconds)),
    );
    Ok(())
}

/// Stops what did not become ready, so that it holds nothing while what ran before comes back.
async fn end_half_started(ctx: &Ctx, agent: &Agent, engine: &Arc<dyn Engine>) {
    let state = ctx.state.state();
    let look = ctx.world.read(&state);
    let held = look.measured.get(&agent.name).map(|m| m.shares.clone());
    let instance = state.agents.get(&agent.name).and_then(|l| l.instance.as_ref());
    let pids = instance.map(|i| i.pids.clone()).unwrap_or_default();
    ctx.state.tell(Event::Moved { agent: agent.name.clone(), to: AgentState::Stopping, detail: None }).await;
    // Nothing it was doing is worth a long grace.
    if let Err(error) = engine.stop(&agent.name, Duration::from_secs(10)).await {
        tracing::warn!(agent = %agent.name, "It could not be stopped after its failed start: {error}");
    }
    wait_memory(ctx, &agent.name, &look.pools, held.as_ref(), &pids).await;
}

pub(crate) fn model_is_there(ctx: &Ctx, agent: &Agent) -> Result<(), EngineError> {
    if ctx.world.rehearsal.is_some() && agent.runs_in_container() {
        return Ok(());
    }
    let missing = |why: String, next: String| EngineError::new(ErrorKind::NoModel, why, next);
    let fetch = || {
        let repo =
            domain::stack::HubFile::parse(&agent.model).map_or_else(|| agent.model.clone(), |f| f.repo);
        if ctx.downloads.going_on().contains(&repo) {
            return "It is being downloaded: wait for it in Models, Downloads.".to_owned();
        }
        let command = models::cache::fetch_command(&agent.model, agent.revision.as_deref());
        format!("Download it in Models, or with: {command}")
    };
    if matches!(agent.runs, domain::stack::Runs::Ollama { .. }) {
        return Ok(());
    }
    if agent.backend == domain::stack::BackendKind::LlamaCpp {
        if domain::stack::HubFile::parse(&agent.model).is_some() {
            return match ctx.world.gguf(agent) {
                Some(_) => Ok(()),
                None => Err(missing(
                    format!("{} of {} is not on this machine.", agent.model, agent.display_name),
                    fetch(),
                )),
            };
        }
        return if models::gguf_exists(std::path::Path::new(&agent.model)) {
            Ok(())
        } else {
            Err(missing(
                format!("The model file {} of {} is not there.", agent.model, agent.display_name),
                "Download it, or correct model in the stack file.".to_owned(),
            ))
        };
    }
    match models::cache::has_model(&ctx.world.paths.hub, &agent.model, agent.revision.as_deref()) {
        models::cache::Presence::Complete { .. } => Ok(()),
        models::cache::Presence::Incomplete { why } => {
            Err(missing(format!("{} of {} is not complete: {why}", agent.model, agent.display_name), fetch()))
        }
        models::cache::Presence::Absent => Err(missing(
            format!("{} of {} is not on this machine.", agent.model, agent.display_name),
            fetch(),
        )),
    }
}

/// The live figures may have changed since the plan: less than planned is waited for, then refused with who grew.
async fn look_at_headroom(ctx: &Ctx, agent: &Agent, cancel: &CancellationToken) -> Result<(), Stuck> {
    let deadline = Instant::now() + HEADROOM_PATIENCE;
    loop {
        read(ctx).await;
        let state = ctx.state.state();
        let Ok(ledgers) = ledgers(&state.stack, &state.situation()) else { return Ok(()) };
        let Headroom::Short { pool, by } = headroom(&ledgers, &loading_claims(agent, &state.pools)) else {
            return Ok(());
        };
        let unit = ledgers.iter().find(|l| l.id == pool).map_or(Unit::Gb, domain::pool::Ledger::unit);
        if Instant::now() >= deadline {
            let grew: Vec<String> = ctx
                .world
                .top_holders()
                .into_iter()
                .map(|(name, bytes)| format!("{name} {}", Bytes(bytes).show(unit)))
                .collect();
            let message = format!(
                "{} cannot start: other programs took {} of the memory it was planned with.",
                agent.display_name,
                by.show_up(unit)
            );
            let next = if grew.is_empty() {
                "Close programs that hold memory, then try again.".to_owned()
            } else {
                format!("Most is held by {}. Close what you can, then try again.", grew.join(", "))
            };
            let failure = Failure { code: "headroom".to_owned(), message, next };
            let event =
                Event::Failed { agent: agent.name.clone(), failure: failure.clone(), log: Arc::default() };
            ctx.state.tell(event).await;
            return Err(Stuck::Failed { agent: agent.name.clone(), failure });
        }
        let detail = Some(format!("Waiting for {} of memory", by.show_up(unit)));
        ctx.state.tell(Event::Moved { agent: agent.name.clone(), to: AgentState::Asleep, detail }).await;
        tokio::select! {
            () = tokio::time::sleep(Duration::from_secs(1)) => {}
            () = cancel.cancelled() => return Err(Stuck::Cancelled),
        }
    }
}

async fn record_start(ctx: &Ctx, agent: &Agent, seconds: f64) {
    let name = agent.name.to_string();
    let revision = domain::stack::agent_hash(agent);
    let time = Timestamp::now();
    let median = ctx
        .world
        .database(move |db| {
            db.record_start(&name, &revision, seconds, time).ok();
            db.start_seconds(&name).ok().flatten()
        })
        .await
        .flatten();
    if let Some(median) = median {
        ctx.state.tell(Event::StartTimed { agent: agent.name.clone(), median }).await;
    }
}
