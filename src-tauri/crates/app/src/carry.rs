//! Carrying a plan out: step by step, each result told to the run loop as an event. Waking an agent is in `wake`.
//!
//! A switch is a transaction. Before the first step an intent is written, after the last it is removed. When a step
//! fails or the person cancels, what ran before is put back by a plan of its own.

use std::sync::Arc;
use std::time::Duration;

use api::shapes::plans::{Outcome, OutcomeKind};
use api::shapes::status::{Failure, Notice, Severity};
use api::{ApiError, Code};
use domain::agent::{AgentName, AgentState};
use domain::lost::lost_after_stop;
use domain::plan::{Action, Goal, Plan, Step, plan, plan_undo};
use domain::pool::{PoolReading, Shares};
use domain::stack::Agent;
use engine::{EngineError, ErrorKind};
use jiff::{SignedDuration, Timestamp};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::activity::{duration, happened};
use crate::errand::{Errand, clear_intent, words_begin, words_done, write_intent};
use crate::gate::Gate;
use crate::keys::Keys;
use crate::record::Recorder;
use crate::run_loop::{Answer, Loop};
use crate::state::{Event, State};
use crate::wake;
use crate::world::World;

/// What every task needs.
#[derive(Clone)]
pub(crate) struct Ctx {
    pub(crate) world: Arc<World>,
    pub(crate) state: Loop,
    pub(crate) gate: Gate,
    pub(crate) recorder: Recorder,
    pub(crate) keys: Keys,
    pub(crate) downloads: crate::downloads::Line,
}

/// Why a step did not come to its end.
#[derive(Debug, Clone)]
pub(crate) enum Stuck {
    Cancelled,
    Failed { agent: AgentName, failure: Failure },
}

/// How long memory may take to come back.
pub(crate) const MEMORY_PATIENCE: Duration = Duration::from_secs(60);
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
        // Nobody cancelled it: a request came before it was closed, and has it now.
        Stuck::Cancelled if matches!(errand.wish.goal, Goal::Again(_)) && !errand.cancel.is_cancelled() => {
            Err(ApiError::new(Code::Busy, "It is in use again.", "It is left alone until nobody uses it."))
        }
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
        carry_step(ctx, plan, step, cancel, errand.wish.gentle).await?;
        if record {
            write_intent(ctx, errand, u32::try_from(index + 1).unwrap_or(u32::MAX));
        }
    }
    Ok(())
}

async fn carry_step(
    ctx: &Ctx,
    plan: &Plan,
    step: &Step,
    cancel: &CancellationToken,
    gentle: bool,
) -> Result<(), Stuck> {
    let state = ctx.state.state();
    match step.action {
        Action::Drain => drain(ctx, &step.agent, cancel, gentle).await,
        Action::Stop => {
            // Requests may have come since the plan was made: nobody is stopped in use without the deadline.
            drain(ctx, &step.agent, cancel, gentle).await?;
            stop(ctx, &step.agent).await
        }
        // Waiting is part of `stop`, which knows what was held before; the step is there to be seen.
        Action::WaitMemory | Action::WaitReady | Action::Undo => Ok(()),
        Action::Pull => match state.stack.agent(&step.agent) {
            Some(agent) => wake::pull(ctx, agent, cancel).await,
            None => Ok(()),
        },
        Action::Start => match state.stack.agent(&step.agent) {
            Some(agent) => {
                let wait_ready = plan
                    .steps
                    .iter()
                    .position(|s| s.action == Action::WaitReady && s.agent == step.agent)
                    .unwrap_or(0);
                wake::start(ctx, agent, wait_ready, cancel).await
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
async fn drain(ctx: &Ctx, agent: &AgentName, cancel: &CancellationToken, gentle: bool) -> Result<(), Stuck> {
    ctx.gate.close(agent);
    let state = ctx.state.state();
    let answers =
        state.agents.get(agent).is_some_and(|l| l.state.answers() || l.state == AgentState::Draining);
    if !answers || state.in_use(agent) == 0 && ctx.gate.count(agent) == 0 {
        return Ok(());
    }
    if gentle {
        lift_drain(ctx, agent).await;
        return Err(Stuck::Cancelled);
    }
    // A stop drains once more, for requests that came since. One whose deadline has passed has no second one.
    if let Some(live) = state.agents.get(agent)
        && live.state == AgentState::Draining
        && live.drain_until.is_some_and(|until| until <= Timestamp::now())
    {
        return Ok(());
    }
    let patience = state.stack.agent(agent).map_or(Duration::from_secs(60), |a| a.drain);
    // None where the requests may take as long as they take.
    let until = SignedDuration::try_from(patience).ok().and_then(|p| Timestamp::now().checked_add(p).ok());
    ctx.state.tell(Event::Draining { agent: agent.clone(), until }).await;
    let idle = async {
        loop {
            // The server's own count has no event; it is read again while the drain lasts.
            crate::telemetry::read_figures_of(ctx, agent).await;
            // The published count may lag behind by a moment; the schedule's own does not.
            let quiet = ctx.state.until(|s| s.in_use(agent) == 0 && ctx.gate.count(agent) == 0);
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

/// Waits until nobody uses an agent, or its drain deadline has passed; new requests are refused from now on.
pub(crate) async fn quiet(ctx: &Ctx, agent: &AgentName) {
    // Nothing cancels it, so it always comes to its end.
    let _ = drain(ctx, agent, &CancellationToken::new(), false).await;
}

/// An agent that was to sleep stays after all: it takes requests again.
async fn lift_drain(ctx: &Ctx, agent: &AgentName) {
    ctx.gate.open(agent);
    ctx.state.tell(Event::Ready { agent: agent.clone() }).await;
}

/// Stops an agent and waits until its memory is back.
async fn stop(ctx: &Ctx, agent: &AgentName) -> Result<(), Stuck> {
    let state = ctx.state.state();
    let live = state.agents.get(agent);
    let engine = live.and_then(|l| l.engine.as_deref()).and_then(|id| ctx.world.engine(id));
    let Some(engine) = engine else {
        ctx.state.tell(Event::Slept { agent: agent.clone() }).await;
        ctx.gate.open(agent);
        return Ok(());
    };
    let look = ctx.world.read(&state);
    let held = look.measured.get(agent).or_else(|| live.and_then(|l| l.measured.as_ref()));
    let held = held.map(|m| m.shares.clone());
    let pids = live.and_then(|l| l.instance.as_ref()).map(|i| i.pids.clone()).unwrap_or_default();
    ctx.state.tell(Event::Moved { agent: agent.clone(), to: AgentState::Stopping, detail: None }).await;
    let result = engine.stop(agent, STOP_GRACE).await;
    if let Err(error) = result {
        // It runs on, as far as anybody knows; if not, its engine tells when it can be reached again.
        lift_drain(ctx, agent).await;
        return Err(Stuck::Failed { agent: agent.clone(), failure: from_engine(&error) });
    }
    wait_memory(ctx, agent, &look.pools, held.as_ref(), &pids).await;
    ctx.state.tell(Event::Slept { agent: agent.clone() }).await;
    ctx.gate.open(agent);
    read(ctx).await;
    happened(ctx, Severity::Info, Some(agent), format!("{} fell asleep.", agent.proper()));
    Ok(())
}

/// Waits until what the agent held is back; what is not after a minute is lost, and said. `pids` are its processes,
/// of which one may hang.
pub(crate) async fn wait_memory(
    ctx: &Ctx,
    agent: &AgentName,
    before: &[PoolReading],
    held: Option<&Shares>,
    pids: &[u32],
) {
    // An agent whose use was never measured promises nothing that could be waited for.
    let Some(held) = held else { return };
    let deadline = Instant::now() + ctx.world.memory_patience;
    loop {
        let now = ctx.world.pools();
        let hangs = pids.iter().find(|pid| std::path::Path::new(&format!("/proc/{pid}")).exists());
        let holder = hangs.map(|pid| format!("its process {pid}, which does not end,"));
        let lost = lost_after_stop(&agent.proper(), before, &now, held, holder.as_deref());
        if lost.is_empty() {
            return;
        }
        if Instant::now() >= deadline {
            for lost in lost {
                happened(ctx, Severity::Warning, Some(agent), lost.message.clone());
                ctx.state.tell(Event::Lost { pool: lost.pool, bytes: lost.bytes }).await;
                let notice = Notice { severity: Severity::Warning, message: lost.message, next: lost.next };
                ctx.state.tell(Event::Noticed { key: "lost", notice: Some(notice) }).await;
            }
            return;
        }
        // The kernel tells nobody that pages came back.
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Reads the machine's figures into the state.
pub(crate) async fn read(ctx: &Ctx) {
    let look = ctx.world.read(&ctx.state.state());
    ctx.state.tell(Event::Read(look)).await;
}

/// After the last step, agents that were found loading come to their end too: the outcome is the profile, not the steps.
async fn settled(ctx: &Ctx, plan: &Plan, cancel: &CancellationToken) -> Result<(), Stuck> {
    let settled = ctx.state.until(|s| {
        plan.awake.iter().filter(|n| s.stack.agent(n).is_none_or(Agent::is_ours)).all(|name| {
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

pub(crate) async fn fail(ctx: &Ctx, agent: &AgentName, error: &EngineError) -> Stuck {
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

/// Whether a goal can be carried out from what runs now, for taking up a switch after a crash.
pub(crate) fn would_fit(state: &State, goal: &Goal) -> Result<(), String> {
    match plan(&state.stack, &state.situation(), goal) {
        Ok(plan) if plan.fits => Ok(()),
        Ok(plan) => Err(plan.reason),
        Err(error) => Err(error.to_string()),
    }
}
