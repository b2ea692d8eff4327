//! Carrying a plan out: step by step, each result told to the run loop as an event.
//!
//! A switch is a transaction. Before the first step an intent is written, after the last it is removed. When a step
//! fails or the person cancels, what ran before is put back by a plan of its own.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use api::shapes::plans::{Outcome, OutcomeKind};
use api::shapes::status::{Failure, Notice, Severity};
use api::{ApiError, Code};
use domain::agent::{AgentName, AgentState, Stage};
use domain::memory::{Bytes, Unit};
use domain::plan::{
    Action, Goal, Headroom, Plan, Step, claims, headroom, ledgers, memory_returned, plan, plan_undo,
};
use domain::pool::{PoolReading, Shares};
use domain::stack::Agent;
use engine::{Engine, EngineError, ErrorKind, StartProgress};
use jiff::{SignedDuration, Timestamp};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::activity::{duration, happened};
use crate::leases::Leases;
use crate::ready::{self, NotReady};
use crate::run_loop::{Answer, Loop, Wish};
use crate::state::{Event, State};
use crate::world::{World, main_capacity};

/// What every task needs.
#[derive(Clone)]
pub(crate) struct Ctx {
    pub(crate) world: Arc<World>,
    pub(crate) state: Loop,
    pub(crate) leases: Leases,
}

/// An operation as it is handed over by the run loop.
pub(crate) struct Errand {
    pub(crate) id: u64,
    pub(crate) wish: Wish,
    pub(crate) plan: Arc<Plan>,
    pub(crate) awake_before: BTreeSet<AgentName>,
    pub(crate) profile_before: Option<String>,
    pub(crate) cancel: CancellationToken,
}

/// Why a step did not come to its end.
#[derive(Debug, Clone)]
enum Stuck {
    Cancelled,
    Failed { agent: AgentName, failure: Failure },
}

/// How long memory may take to come back, and how long a start waits for head-room that a plan counted on.
const MEMORY_PATIENCE: Duration = Duration::from_secs(60);
const HEADROOM_PATIENCE: Duration = Duration::from_secs(30);
/// vLLM shuts down in order on SIGTERM; the usual ten seconds may cut it.
const STOP_GRACE: Duration = Duration::from_secs(60);

pub(crate) async fn run(ctx: Ctx, errand: Errand, answer: Answer) {
    let id = errand.id;
    let outcome = carry_out(&ctx, &errand).await;
    ctx.state.ended(id);
    // The answer follows the state: who asks for the status next sees the operation ended.
    ctx.state.until(|s| s.operation.as_ref().is_none_or(|o| o.id != id)).await;
    let _ = answer.send(outcome);
}

async fn carry_out(ctx: &Ctx, errand: &Errand) -> Result<Outcome, ApiError> {
    let began = Instant::now();
    let to = &errand.wish.to;
    let done = |result, message: String| Outcome {
        result,
        message,
        profile: ctx.state.state().profile.clone(),
        seconds: began.elapsed().as_secs_f64(),
    };
    if errand.plan.steps.is_empty() {
        settle_profile(ctx, errand).await;
        return Ok(done(OutcomeKind::Done, words_done(&errand.wish.goal, to)));
    }
    happened(ctx, Severity::Info, None, words_begin(&errand.wish.goal, to, errand.profile_before.as_deref()));
    write_intent(ctx, errand, 0);
    let stuck = match steps(ctx, errand, &errand.plan, &errand.cancel, true).await {
        Ok(()) => match settled(ctx, &errand.plan, &errand.cancel).await {
            Ok(()) => {
                settle_profile(ctx, errand).await;
                clear_intent(ctx);
                let message = words_done(&errand.wish.goal, to);
                happened(
                    ctx,
                    Severity::Info,
                    None,
                    format!("{message} It took {}.", duration(began.elapsed().as_secs_f64())),
                );
                return Ok(done(OutcomeKind::Done, message));
            }
            Err(stuck) => stuck,
        },
        Err(stuck) => stuck,
    };
    ctx.state.tell(Event::CancelNoLongerPossible).await;
    let put_back = undo(ctx, errand).await;
    clear_intent(ctx);
    let back = match &put_back {
        Ok(()) => "What ran before is back.".to_owned(),
        Err(why) => format!("What ran before could not be put back: {why}"),
    };
    match stuck {
        Stuck::Cancelled => {
            happened(ctx, Severity::Info, None, format!("{to} was cancelled. {back}"));
            Ok(done(OutcomeKind::Cancelled, format!("{to} was cancelled. {back}")))
        }
        Stuck::Failed { agent, failure } => {
            happened(ctx, Severity::Failure, Some(&agent), failure.message.clone());
            let next = if failure.next.is_empty() { back } else { format!("{} {back}", failure.next) };
            Err(ApiError::new(Code::Failed, failure.message, next))
        }
    }
}

/// After success the wished profile is the active one, also when an adopted set of agents already was it.
async fn settle_profile(ctx: &Ctx, errand: &Errand) {
    if let Goal::Profile(name) = &errand.wish.goal {
        ctx.state.tell(Event::ProfileChosen(Some(name.clone()))).await;
    }
    let state = ctx.state.state();
    let profile = match &errand.wish.goal {
        Goal::Profile(name) => Some(name.clone()),
        _ => state.profile.clone(),
    };
    if let Some(profile) = profile {
        ctx.world
            .database(move |db| db.set_setting("last_profile", &serde_json::Value::from(profile)).ok())
            .await;
    }
}

/// Runs a plan's steps in order.
async fn steps(
    ctx: &Ctx,
    errand: &Errand,
    plan: &Plan,
    cancel: &CancellationToken,
    record: bool,
) -> Result<(), Stuck> {
    for (index, step) in plan.steps.iter().enumerate() {
        if cancel.is_cancelled() {
            return Err(Stuck::Cancelled);
        }
        ctx.state.tell(Event::StepBegan { step: index }).await;
        carry_step(ctx, plan, step, cancel).await?;
        if record {
            write_intent(ctx, errand, u32::try_from(index + 1).unwrap_or(u32::MAX));
        }
    }
    Ok(())
}

async fn carry_step(ctx: &Ctx, plan: &Plan, step: &Step, cancel: &CancellationToken) -> Result<(), Stuck> {
    let state = ctx.state.state();
    match step.action {
        Action::Drain => drain(ctx, &step.agent, cancel).await,
        Action::Stop => {
            // Requests may have come since the plan was made: nobody is stopped in use without the deadline.
            drain(ctx, &step.agent, cancel).await?;
            stop(ctx, &step.agent).await
        }
        // Waiting is part of `stop`, which knows what was held before; the step is there to be seen.
        Action::WaitMemory | Action::WaitReady | Action::Undo => Ok(()),
        Action::Pull => match state.stack.agent(&step.agent) {
            Some(agent) => pull(ctx, agent, cancel).await,
            None => Ok(()),
        },
        Action::Start => match state.stack.agent(&step.agent) {
            Some(agent) => {
                let wait_ready = plan
                    .steps
                    .iter()
                    .position(|s| s.action == Action::WaitReady && s.agent == step.agent)
                    .unwrap_or(0);
                start(ctx, agent, wait_ready, cancel).await
            }
            None => Err(Stuck::Failed {
                agent: step.agent.clone(),
                failure: plain(
                    "unknown",
                    format!("{} is no longer in the stack.", step.agent.proper()),
                    "Add it again.",
                ),
            }),
        },
    }
}

/// Lets running requests finish, until the drain deadline. New ones are refused meanwhile.
async fn drain(ctx: &Ctx, agent: &AgentName, cancel: &CancellationToken) -> Result<(), Stuck> {
    ctx.leases.close(agent);
    let state = ctx.state.state();
    let answers =
        state.agents.get(agent).is_some_and(|l| l.state.answers() || l.state == AgentState::Draining);
    if !answers || state.in_use(agent) == 0 && ctx.leases.count(agent) == 0 {
        return Ok(());
    }
    let patience = state.stack.agent(agent).map_or(Duration::from_secs(60), |a| a.drain);
    let until = Timestamp::now() + SignedDuration::try_from(patience).unwrap_or_default();
    ctx.state.tell(Event::Draining { agent: agent.clone(), until }).await;
    let idle = async {
        loop {
            // The server's own count has no event; it is read again while the drain lasts.
            crate::telemetry::read_figures_of(ctx, agent).await;
            let quiet = ctx.state.until(|s| s.in_use(agent) == 0);
            if tokio::time::timeout(Duration::from_millis(500), quiet).await.is_ok() {
                return;
            }
        }
    };
    tokio::select! {
        () = idle => Ok(()),
        () = tokio::time::sleep(patience) => {
            let left = ctx.state.state().in_use(agent);
            happened(
                ctx,
                Severity::Warning,
                Some(agent),
                format!("{} had {left} requests left at its drain deadline; they were cut off.", agent.proper()),
            );
            Ok(())
        }
        () = cancel.cancelled() => {
            lift_drain(ctx, agent).await;
            Err(Stuck::Cancelled)
        }
    }
}

/// An agent that was to sleep stays after all: it takes requests again.
async fn lift_drain(ctx: &Ctx, agent: &AgentName) {
    ctx.leases.open(agent);
    ctx.state.tell(Event::Ready { agent: agent.clone() }).await;
}

/// Stops an agent and waits until its memory is back.
async fn stop(ctx: &Ctx, agent: &AgentName) -> Result<(), Stuck> {
    let state = ctx.state.state();
    let live = state.agents.get(agent);
    let engine = live.and_then(|l| l.engine.as_deref()).and_then(|id| ctx.world.engine(id));
    let Some(engine) = engine else {
        ctx.state.tell(Event::Slept { agent: agent.clone() }).await;
        ctx.leases.open(agent);
        return Ok(());
    };
    let (pools_before, measured) = ctx.world.read(&state);
    let held = measured.get(agent).cloned().or_else(|| live.and_then(|l| l.measured.clone()));
    ctx.state.tell(Event::Moved { agent: agent.clone(), to: AgentState::Stopping, detail: None }).await;
    let result = engine.stop(agent, STOP_GRACE).await;
    if let Err(error) = result {
        ctx.leases.open(agent);
        return Err(Stuck::Failed { agent: agent.clone(), failure: from_engine(&error) });
    }
    wait_memory(ctx, agent, &pools_before, held.as_ref()).await;
    ctx.state.tell(Event::Slept { agent: agent.clone() }).await;
    ctx.leases.open(agent);
    read(ctx).await;
    happened(ctx, Severity::Info, Some(agent), format!("{} fell asleep.", agent.proper()));
    Ok(())
}

/// Waits until what the agent held is back; what is not after a minute is lost, and said.
async fn wait_memory(ctx: &Ctx, agent: &AgentName, before: &[PoolReading], held: Option<&Shares>) {
    // An agent whose use was never measured promises nothing that could be waited for.
    let Some(held) = held else { return };
    let deadline = Instant::now() + MEMORY_PATIENCE;
    loop {
        let (now, _) = ctx.world.read(&ctx.state.state());
        let missing: Vec<(&PoolReading, Bytes)> = before
            .iter()
            .filter_map(|b| {
                let n = now.iter().find(|n| n.id == b.id)?;
                let share = held.get(&b.id).copied().unwrap_or_default().total();
                let unit = Unit::for_capacity(b.capacity.unwrap_or_default());
                let back = b.used.saturating_sub(n.used);
                (!memory_returned(share, b.used, n.used, unit)).then(|| (b, share.saturating_sub(back)))
            })
            .collect();
        if missing.is_empty() {
            return;
        }
        if Instant::now() >= deadline {
            for (pool, bytes) in missing {
                let amount = bytes.show(Unit::for_capacity(pool.capacity.unwrap_or_default()));
                let message = format!("{amount} that {} held did not come back.", agent.proper());
                happened(ctx, Severity::Warning, Some(agent), message.clone());
                ctx.state.tell(Event::Lost { pool: pool.id.clone(), bytes }).await;
                let next =
                    "It is left out of every plan; a restart of the machine brings it back.".to_owned();
                let notice = Notice { severity: Severity::Warning, message, next };
                ctx.state.tell(Event::Noticed { key: "lost", notice: Some(notice) }).await;
            }
            return;
        }
        // The kernel tells nobody that pages came back.
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

async fn pull(ctx: &Ctx, agent: &Agent, cancel: &CancellationToken) -> Result<(), Stuck> {
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
    ctx.world.launch(agent, &reserved, capacity, new_key()?, rehearsal)
}

fn new_key() -> Result<domain::secret::Secret, EngineError> {
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
async fn start(ctx: &Ctx, agent: &Agent, wait_ready: usize, cancel: &CancellationToken) -> Result<(), Stuck> {
    let name = &agent.name;
    if let Err(error) = model_is_there(ctx, agent) {
        return Err(fail(ctx, name, &error).await);
    }
    // One loading at a time: one that was found loading after a restart of the controller comes to its end first.
    let others_loaded = ctx.state.until(|s| {
        !s.agents
            .iter()
            .any(|(n, l)| n != name && matches!(l.state, AgentState::Starting | AgentState::Loading))
    });
    tokio::select! {
        () = others_loaded => {}
        () = cancel.cancelled() => return Err(Stuck::Cancelled),
    }
    look_at_headroom(ctx, agent, cancel).await?;
    let began = Instant::now();
    let (baseline, _) = ctx.world.read(&ctx.state.state());
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
    let (before, measured) = ctx.world.read(&ctx.state.state());
    let held = measured.get(&agent.name).cloned();
    ctx.state.tell(Event::Moved { agent: agent.name.clone(), to: AgentState::Stopping, detail: None }).await;
    // Nothing it was doing is worth a long grace.
    if let Err(error) = engine.stop(&agent.name, Duration::from_secs(10)).await {
        tracing::warn!(agent = %agent.name, "It could not be stopped after its failed start: {error}");
    }
    wait_memory(ctx, &agent.name, &before, held.as_ref()).await;
}

fn model_is_there(ctx: &Ctx, agent: &Agent) -> Result<(), EngineError> {
    if ctx.world.rehearsal.is_some() && agent.runs_in_container() {
        return Ok(());
    }
    let missing = |why: String, next: String| EngineError::new(ErrorKind::NoModel, why, next);
    if agent.backend == domain::stack::BackendKind::LlamaCpp {
        return if models::gguf_exists(std::path::Path::new(&agent.model)) {
            Ok(())
        } else {
            Err(missing(
                format!("The model file {} of {} is not there.", agent.model, agent.display_name),
                "Download it, or correct model in the stack file.".to_owned(),
            ))
        };
    }
    let fetch = match &agent.revision {
        Some(revision) => format!("Fetch it with: hf download {} --revision {revision}", agent.model),
        None => format!("Fetch it with: hf download {}", agent.model),
    };
    match models::cache::has_model(&ctx.world.paths.hub, &agent.model, agent.revision.as_deref()) {
        models::cache::Presence::Complete { .. } => Ok(()),
        models::cache::Presence::Incomplete { why } => {
            Err(missing(format!("{} of {} is not complete: {why}.", agent.model, agent.display_name), fetch))
        }
        models::cache::Presence::Absent => {
            Err(missing(format!("{} of {} is not on this machine.", agent.model, agent.display_name), fetch))
        }
    }
}

/// The live figures may have changed since the plan: less than planned is waited for, then refused with who grew.
async fn look_at_headroom(ctx: &Ctx, agent: &Agent, cancel: &CancellationToken) -> Result<(), Stuck> {
    let deadline = Instant::now() + HEADROOM_PATIENCE;
    loop {
        read(ctx).await;
        let state = ctx.state.state();
        let Ok(ledgers) = ledgers(&state.stack, &state.situation()) else { return Ok(()) };
        let Headroom::Short { pool, by } = headroom(&ledgers, &claims(agent, &state.pools)) else {
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

/// Reads the machine's figures into the state.
pub(crate) async fn read(ctx: &Ctx) {
    let (pools, measured) = ctx.world.read(&ctx.state.state());
    ctx.state.tell(Event::Read { pools, measured }).await;
}

/// After the last step, agents that were found loading come to their end too: the outcome is the profile, not the steps.
async fn settled(ctx: &Ctx, plan: &Plan, cancel: &CancellationToken) -> Result<(), Stuck> {
    let settled = ctx.state.until(|s| {
        plan.awake.iter().all(|name| {
            s.agents.get(name).is_none_or(|l| !matches!(l.state, AgentState::Starting | AgentState::Loading))
        })
    });
    tokio::select! {
        () = settled => {}
        () = cancel.cancelled() => return Err(Stuck::Cancelled),
    }
    let state = ctx.state.state();
    for name in &plan.awake {
        if let Some(failure) = state.agents.get(name).and_then(|l| l.error.clone()) {
            return Err(Stuck::Failed { agent: name.clone(), failure });
        }
    }
    Ok(())
}

/// The way back to what ran before.
async fn undo(ctx: &Ctx, errand: &Errand) -> Result<(), String> {
    read(ctx).await;
    let state = ctx.state.state();
    for (name, live) in &state.agents {
        if live.state == AgentState::Draining {
            lift_drain(ctx, name).await;
        }
    }
    let state: Arc<State> = ctx.state.state();
    let back =
        plan_undo(&state.stack, &state.situation(), &errand.awake_before).map_err(|e| e.to_string())?;
    if !back.fits {
        return Err(back.reason);
    }
    if !back.steps.is_empty() {
        let back = Arc::new(back);
        ctx.state.tell(Event::UndoBegan { plan: back.clone() }).await;
        match steps(ctx, errand, &back, &CancellationToken::new(), false).await {
            Ok(()) => {}
            Err(Stuck::Cancelled) => return Err("it was cancelled".to_owned()),
            Err(Stuck::Failed { failure, .. }) => return Err(failure.message),
        }
    }
    ctx.state.tell(Event::ProfileChosen(errand.profile_before.clone())).await;
    Ok(())
}

async fn fail(ctx: &Ctx, agent: &AgentName, error: &EngineError) -> Stuck {
    if error.kind == ErrorKind::Cancelled {
        ctx.state.tell(Event::Moved { agent: agent.clone(), to: AgentState::Asleep, detail: None }).await;
        return Stuck::Cancelled;
    }
    let failure = from_engine(error);
    ctx.state
        .tell(Event::Failed { agent: agent.clone(), failure: failure.clone(), log: Arc::default() })
        .await;
    Stuck::Failed { agent: agent.clone(), failure }
}

fn plain(code: &str, message: String, next: &str) -> Failure {
    Failure { code: code.to_owned(), message, next: next.to_owned() }
}

/// An engine's error as the faces show it.
pub(crate) fn from_engine(error: &EngineError) -> Failure {
    let code = match error.kind {
        ErrorKind::Unreachable => "engine_unreachable",
        ErrorKind::Forbidden => "engine_forbidden",
        ErrorKind::NoImage => "no_image",
        ErrorKind::PortTaken => "port_taken",
        ErrorKind::Foreign => "foreign",
        ErrorKind::NoModel => "no_model",
        ErrorKind::Cancelled => "cancelled",
        ErrorKind::Failed => "failed",
    };
    Failure { code: code.to_owned(), message: error.message.clone(), next: error.next.clone() }
}

fn write_intent(ctx: &Ctx, errand: &Errand, steps_done: u32) {
    let intent = store::intent::Intent {
        id: errand.id,
        from_awake: errand.awake_before.iter().map(ToString::to_string).collect(),
        goal: errand.wish.to.clone(),
        to_awake: errand.plan.awake.iter().map(ToString::to_string).collect(),
        profile_from: errand.profile_before.clone(),
        profile_to: match &errand.wish.goal {
            Goal::Profile(name) => Some(name.clone()),
            _ => None,
        },
        steps_done,
        started: Timestamp::now().to_string(),
    };
    if let Err(error) = store::intent::write(&ctx.world.paths.intent_file(), &intent) {
        // The switch goes on: without the intent a crash in it is undone by hand, which is said then.
        tracing::warn!("The intent could not be written: {error}");
    }
}

fn clear_intent(ctx: &Ctx) {
    if let Err(error) = store::intent::clear(&ctx.world.paths.intent_file()) {
        tracing::warn!("The intent could not be removed: {error}");
    }
}

fn words_begin(goal: &Goal, to: &str, from: Option<&str>) -> String {
    match (goal, from) {
        (Goal::Profile(_), Some(from)) if from != to => format!("Switching from {from} to {to}."),
        (Goal::Profile(_), _) => format!("Switching to {to}."),
        (Goal::Awake(agent), _) => format!("Starting {}.", agent.proper()),
        (Goal::Asleep(agent), _) => format!("Stopping {}.", agent.proper()),
        (Goal::Exactly(_), _) => format!("Taking up {to} again."),
        (Goal::Nobody, _) => "Stopping every agent.".to_owned(),
    }
}

fn words_done(goal: &Goal, to: &str) -> String {
    match goal {
        Goal::Profile(_) => format!("{to} is active."),
        Goal::Awake(agent) => format!("{} is ready.", agent.proper()),
        Goal::Asleep(agent) => format!("{} is asleep.", agent.proper()),
        Goal::Exactly(_) => format!("{to} was taken up again."),
        Goal::Nobody => "Every agent is asleep.".to_owned(),
    }
}

/// Whether a goal can be carried out from what runs now, for taking up a switch after a crash.
pub(crate) fn would_fit(state: &State, goal: &Goal) -> Result<(), String> {
    match plan(&state.stack, &state.situation(), goal) {
        Ok(plan) if plan.fits => Ok(()),
        Ok(plan) => Err(plan.reason),
        Err(error) => Err(error.to_string()),
    }
}
