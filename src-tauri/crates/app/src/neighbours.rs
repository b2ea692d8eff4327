//! Servers of others on this machine: found, and adopted, stopped or left alone by a person's word. Every answer is
//! kept before anything is done, so that it can be taken back after a crash too.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use api::shapes::neighbours::{AdoptRequest, MemoryBasis, NeighbourModel, Neighbours, StopNeighbourRequest};
use api::shapes::status::Severity;
use api::{ApiError, Code};
use domain::agent::AgentName;
use domain::memory::Bytes;
use domain::plan::Goal;
use domain::pool::PoolReading;
use domain::stack::{BackendKind, Stack};
use engine::neighbour::{self, Kind, Neighbour, Place};
use store::adoptions::{Answer, What};

use crate::activity::happened;
use crate::carry::{self, Ctx};
use crate::commands::App;
use crate::neighbour_view::{answer_of, busy, one, shape};
use crate::overlay;
use crate::recover;
use crate::run_loop::Wish;
use crate::state::{Event, State};

/// How long a server of others may take to shut down in order.
const GRACE: Duration = Duration::from_secs(60);

/// A server of others with what was found out about it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Found {
    pub(crate) neighbour: Neighbour,
    pub(crate) memory: Option<u64>,
    pub(crate) basis: MemoryBasis,
    /// What its command line lets it take: more than it holds while it loads.
    pub(crate) claim: Option<u64>,
    pub(crate) models: Vec<NeighbourModel>,
    /// The agent whose port or model it has.
    pub(crate) agent: Option<AgentName>,
}

/// Looks at everything that runs here, and tells the state.
pub(crate) async fn look(ctx: &Ctx) {
    let state = ctx.state.state();
    let mut wanted: Vec<u16> = state.file_stack.agents.iter().map(|a| a.port).collect();
    wanted.push(ctx.world.listen.port());
    let mut all = ctx.world.containers.neighbours(&wanted).await.unwrap_or_default();
    let in_containers: Vec<u32> = all.iter().flat_map(|n| n.pids.iter().copied()).collect();
    let mut ours: Vec<u32> =
        state.agents.values().filter_map(|l| l.instance.as_ref()).flat_map(|i| i.pids.clone()).collect();
    ours.push(std::process::id());
    if ctx.world.machine.is_this_one() || ctx.world.rehearsal.is_some() {
        let known = wanted.clone();
        let processes = tokio::task::spawn_blocking(move || {
            neighbour::processes(Path::new("/proc"), &ours, &in_containers, &known)
        });
        all.extend(processes.await.unwrap_or_default());
    }
    let mut found = Vec::new();
    for neighbour in all {
        // A rehearsal plays with stand-ins: what really serves is left alone, unless it holds a port in question.
        if ctx.world.rehearsal.is_some()
            && !stands_in(&neighbour)
            && !neighbour.port.is_some_and(|p| wanted.contains(&p))
        {
            continue;
        }
        let models = models(ctx, &neighbour).await;
        let (memory, basis) = memory(ctx, &state, &neighbour, &models);
        let claim = declared(&neighbour, &state.pools).map(|b| b.0);
        let agent = place_of(&state.file_stack, &neighbour);
        found.push(Found { neighbour, memory, basis, claim, models, agent });
    }
    found.sort_by_key(|f| (f.neighbour.port.unwrap_or(u16::MAX), f.neighbour.name.clone()));
    ctx.world.keep_keys(&state.answers, &found);
    ctx.state.tell(Event::NeighboursSeen { found: Arc::new(found) }).await;
}

fn stands_in(neighbour: &Neighbour) -> bool {
    match &neighbour.place {
        Place::Container { image, .. } => image.contains("asgard-stand-in"),
        Place::Process { .. } => neighbour.command.iter().take(2).any(|w| w == "stand-in"),
    }
}

async fn models(ctx: &Ctx, neighbour: &Neighbour) -> Vec<NeighbourModel> {
    if neighbour.kind == Kind::Ollama {
        let Some(endpoint) = neighbour.endpoint.as_deref().filter(|_| neighbour.running) else {
            return Vec::new();
        };
        let list = engine::ollama::models(&ctx.world.http, endpoint).await.unwrap_or_default();
        return list
            .into_iter()
            .map(|m| NeighbourModel { name: m.name, size_bytes: Some(m.size), loaded: m.loaded })
            .collect();
    }
    let model = neighbour.line.model.clone();
    model
        .map(|name| NeighbourModel { name, size_bytes: None, loaded: neighbour.running })
        .into_iter()
        .collect()
}

/// What it holds: measured where its processes may be looked at and no GPU holds a part that they do not show, else
/// what its command line claims.
fn memory(
    ctx: &Ctx,
    state: &State,
    neighbour: &Neighbour,
    models: &[NeighbourModel],
) -> (Option<u64>, MemoryBasis) {
    if !neighbour.running {
        return (None, MemoryBasis::Unknown);
    }
    let on_gpu = ctx.world.rehearsal.as_ref().is_none_or(|r| !r.machine.is_small())
        && state.pools.iter().any(|p| p.device_used.is_some());
    let measured = hardware::process_memory(&neighbour.pids);
    if measured > 0 && (!on_gpu || matches!(neighbour.kind, Kind::Bifrost | Kind::Unknown)) {
        return (Some(measured), MemoryBasis::Measured);
    }
    if neighbour.kind == Kind::Ollama {
        let loaded: u64 = models.iter().filter(|m| m.loaded).filter_map(|m| m.size_bytes).sum();
        return (Some(loaded), MemoryBasis::Declared);
    }
    match declared(neighbour, &state.pools) {
        Some(bytes) => (Some(bytes.0), MemoryBasis::Declared),
        None => (None, MemoryBasis::Unknown),
    }
}

/// What its command line says it takes: vLLM claims its share of the device whatever the weights weigh.
fn declared(neighbour: &Neighbour, pools: &[PoolReading]) -> Option<Bytes> {
    let line = &neighbour.line;
    let known = line.model.as_deref().and_then(domain::catalog::known_model);
    if let (Some(kv), Some(known)) = (line.kv_bytes, known) {
        return Some(known.weights + Bytes(kv) + known.vllm_overhead);
    }
    match neighbour.kind {
        Kind::Vllm => {
            let pool = pools.first()?;
            let capacity = pool.device_cap.or(pool.capacity)?.min(pool.capacity?);
            // vLLM's own default, where nothing is said.
            let share = line.utilization.unwrap_or(0.9).clamp(0.0, 1.0);
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "0 to 1 of a capacity"
            )]
            Some(capacity.share((share * 1e6).round() as u64, 1_000_000))
        }
        Kind::LlamaCpp => {
            let known = known?;
            let context = u64::from(line.context.unwrap_or(known.max_context));
            Some(known.weights + Bytes(known.kv_bytes_per_token.saturating_mul(context)) + Bytes(1 << 30))
        }
        Kind::Ollama | Kind::Bifrost | Kind::Unknown => None,
    }
}

/// The agent whose place it has: by the port, else by the name of the compose service, else by the model.
fn place_of(stack: &Stack, neighbour: &Neighbour) -> Option<AgentName> {
    if matches!(neighbour.kind, Kind::Bifrost) {
        return None;
    }
    let by_port = stack.agents.iter().find(|a| Some(a.port) == neighbour.port && a.served_by.is_none());
    if let Some(agent) = by_port {
        return Some(agent.name.clone());
    }
    if neighbour.kind == Kind::Unknown {
        return None;
    }
    let service = match &neighbour.place {
        Place::Container { service, .. } => service.as_deref().unwrap_or(&neighbour.name),
        Place::Process { .. } => "",
    };
    let words: BTreeSet<&str> = service.split(|c: char| !c.is_ascii_alphanumeric()).collect();
    let by_name = stack.agents.iter().find(|a| words.contains(a.name.as_str()));
    let by_model = || {
        let model = neighbour.line.model.as_deref()?;
        stack.agents.iter().find(|a| a.model.eq_ignore_ascii_case(model))
    };
    by_name.or_else(by_model).map(|a| a.name.clone())
}

fn refused(message: impl Into<String>, next: impl Into<String>) -> ApiError {
    ApiError::new(Code::Failed, message, next)
}

fn find(state: &State, id: &str) -> Result<Found, ApiError> {
    state.found.iter().find(|f| f.neighbour.id == id).cloned().ok_or_else(|| {
        ApiError::new(
            Code::Unknown,
            "That server is no longer there.",
            "Look again: it may have ended, or have been started anew under another id.",
        )
    })
}

/// Keeps an answer in the place of an earlier one on the same server, and lays the adopted ones over the stack.
async fn keep(ctx: &Ctx, id: &str, answer: Option<Answer>) -> Result<(), ApiError> {
    let state = ctx.state.state();
    let mut answers: Vec<Answer> = state.answers.iter().filter(|a| a.id != id).cloned().collect();
    answers.extend(answer);
    store::adoptions::write(&ctx.world.paths.adoptions_file(), &answers).map_err(|e| {
        refused(
            format!("The answer could not be kept: {e}."),
            "Check the disk that holds Asgard's data folder.",
        )
    })?;
    ctx.state.tell(Event::Answered { answers: Arc::new(answers) }).await;
    let state = ctx.state.state();
    ctx.world.keep_keys(&state.answers, &state.found);
    ctx.world.name_external(&state.stack);
    recover::look_at_external(ctx).await;
    carry::read(ctx).await;
    Ok(())
}

fn answer(found: &Found, what: What) -> Answer {
    Answer {
        id: found.neighbour.id.clone(),
        name: found.neighbour.name.clone(),
        engine: found.neighbour.engine.clone(),
        what,
        when: jiff::Timestamp::now().to_string(),
    }
}

pub(crate) async fn list(ctx: &Ctx) -> Neighbours {
    look(ctx).await;
    shape(&ctx.state.state())
}

pub(crate) async fn adopt(ctx: &Ctx, asked: &AdoptRequest) -> Result<Neighbours, ApiError> {
    look(ctx).await;
    let state = ctx.state.state();
    let found = find(&state, &asked.id)?;
    let shape = one(&state, &found);
    if shape.adopt_refused {
        return Err(refused(format!("{} cannot be adopted. {}", found.neighbour.name, shape.adopt_hint), ""));
    }
    let Some(endpoint) = found.neighbour.endpoint.clone() else {
        return Err(refused("It has no port on this machine.", "Publish its port on 127.0.0.1."));
    };
    let wished = match &asked.agent {
        Some(name) => Some(AgentName::new(name).map_err(|_| {
            ApiError::new(
                Code::Unknown,
                format!("There is no agent {name:?} in the stack."),
                "Choose another.",
            )
        })?),
        None => found.agent.clone().filter(|_| asked.model.is_none()),
    };
    if busy(&state, wished.as_ref()) {
        return Err(refused(
            "That agent is awake on a server of Asgard's own.",
            "Stop it first, then adopt.",
        ));
    }
    let line = &found.neighbour.line;
    let model =
        asked.model.clone().or_else(|| line.served_names.first().cloned()).or_else(|| line.model.clone());
    let called = model.as_deref().filter(|_| asked.model.is_some()).unwrap_or(&found.neighbour.name);
    let guest = wished.as_ref().is_none_or(|n| state.file_stack.agent(n).is_none());
    let name = match wished {
        Some(name) => name,
        None => overlay::guest_name(called, &state.stack)
            .ok_or_else(|| refused("No name could be made for it.", "Say which agent it is to be."))?,
    };
    let backend = match found.neighbour.kind {
        Kind::Vllm => BackendKind::Vllm,
        Kind::LlamaCpp => BackendKind::LlamaCpp,
        Kind::Ollama | Kind::Bifrost | Kind::Unknown => BackendKind::External,
    };
    let what = What::Adopted {
        agent: name.to_string(),
        endpoint,
        model,
        backend: backend.word().to_owned(),
        context: line.context,
        memory: found.memory.max(found.claim),
        guest,
    };
    // One adopted model of a server with several is an answer of its own.
    let id = match &asked.model {
        Some(model) => format!("{}#{model}", found.neighbour.id),
        None => found.neighbour.id.clone(),
    };
    let mut kept = answer(&found, what);
    kept.id.clone_from(&id);
    keep(ctx, &id, Some(kept)).await?;
    if asked.model.is_some() && answer_of(&ctx.state.state(), &asked.id).is_none() {
        keep(ctx, &asked.id, Some(answer(&found, What::Left))).await?;
    }
    happened(
        ctx,
        Severity::Info,
        Some(&name),
        format!("{} is served by {}, which others run.", name.proper(), found.neighbour.name),
    );
    Ok(list(ctx).await)
}

pub(crate) async fn leave(ctx: &Ctx, id: &str) -> Result<Neighbours, ApiError> {
    let found = find(&ctx.state.state(), id)?;
    keep(ctx, id, Some(answer(&found, What::Left))).await?;
    Ok(list(ctx).await)
}

/// Stops one of them, without removing it; then, where it is wished, starts the agent whose place it held.
pub(crate) async fn stop(app: &App, asked: &StopNeighbourRequest) -> Result<Neighbours, ApiError> {
    let ctx = &app.ctx;
    look(ctx).await;
    let state = ctx.state.state();
    let found = find(&state, &asked.id)?;
    let shape = one(&state, &found);
    if shape.stop_refused {
        return Err(refused(
            format!("{} cannot be stopped from here.", found.neighbour.name),
            shape.stop_hint,
        ));
    }
    let agent = shape.agent.as_deref().and_then(|a| AgentName::new(a).ok());
    // An agent that it serves is drained first: nobody's request is cut without its deadline.
    if let Some(name) = agent.as_ref().filter(|n| state.stack.agent(n).is_some_and(|a| !a.is_ours())) {
        carry::quiet(ctx, name).await;
    }
    let what = match &found.neighbour.place {
        Place::Container { id, .. } => {
            What::Stopped { container: Some(id.clone()), command: Vec::new(), folder: None }
        }
        Place::Process { folder, .. } => What::Stopped {
            container: None,
            command: found.neighbour.command.clone(),
            folder: folder.clone(),
        },
    };
    // Kept before it is done: the way back is known whatever happens in between.
    keep(ctx, &asked.id, Some(answer(&found, what))).await?;
    let stopped = match &found.neighbour.place {
        Place::Container { id, .. } => ctx.world.containers.stop_neighbour(id, GRACE).await,
        Place::Process { .. } => neighbour::stop_process(&found.neighbour, GRACE).await,
    };
    if let Some(name) = &agent {
        ctx.gate.open(name);
    }
    if let Err(error) = stopped {
        keep(ctx, &asked.id, None).await?;
        return Err(refused(error.message, error.next));
    }
    happened(
        ctx,
        Severity::Info,
        agent.as_ref(),
        format!("{} was stopped; it is kept and can be started again.", found.neighbour.name),
    );
    if found.neighbour.port == Some(ctx.world.listen.port()) {
        app.port.open();
    }
    look(ctx).await;
    carry::read(ctx).await;
    if let (true, Some(name)) = (asked.take_place, agent.filter(|n| state.file_stack.agent(n).is_some())) {
        let wish = Wish::new(Goal::Awake(name.clone()), name.to_string());
        ctx.state.wish(wish).await.map_err(|mut error| {
            error.next = format!("{} {} is stopped; Undo starts it again.", error.next, found.neighbour.name);
            error
        })?;
    }
    Ok(list(ctx).await)
}

/// Takes an answer back.
pub(crate) async fn undo(app: &App, id: &str) -> Result<Neighbours, ApiError> {
    let ctx = &app.ctx;
    let state = ctx.state.state();
    let Some(kept) = answer_of(&state, id).cloned() else {
        return Err(ApiError::new(Code::Unknown, "Nothing was answered about that server.", "Look again."));
    };
    match &kept.what {
        What::Left => keep(ctx, id, None).await?,
        What::Adopted { agent, .. } => {
            let name = AgentName::new(agent).ok();
            if let Some(name) = &name {
                carry::quiet(ctx, name).await;
                ctx.gate.open(name);
            }
            keep(ctx, id, None).await?;
            happened(ctx, Severity::Info, name.as_ref(), format!("{} is left to itself again.", kept.name));
        }
        What::Stopped { container, command, folder } => {
            start_again(app, &kept, container.as_deref(), command, folder.as_ref()).await?;
            keep(ctx, id, None).await?;
            happened(ctx, Severity::Info, None, format!("{} was started again.", kept.name));
        }
    }
    Ok(list(ctx).await)
}

async fn start_again(
    app: &App,
    kept: &Answer,
    container: Option<&str>,
    command: &[String],
    folder: Option<&PathBuf>,
) -> Result<(), ApiError> {
    let ctx = &app.ctx;
    let state = ctx.state.state();
    let found = state.found.iter().find(|f| f.neighbour.id == kept.id);
    // Whoever took its place gives it back first.
    if let Some(name) = found.and_then(|f| f.agent.clone()).filter(|n| busy(&state, Some(n))) {
        ctx.state.wish(Wish::new(Goal::Asleep(name.clone()), name.to_string())).await?;
    }
    let gateway = ctx.world.listen.port();
    let held_gateway =
        found.is_some_and(|f| f.neighbour.port == Some(gateway) || f.neighbour.kind == Kind::Bifrost);
    if held_gateway {
        app.port.close();
        ctx.state.until(|s| s.gateway.is_none()).await;
    }
    let started = match container {
        Some(id) => ctx.world.containers.start_neighbour(id).await,
        None => neighbour::start_process(command, folder.map(PathBuf::as_path)),
    };
    started.map_err(|error| {
        if held_gateway {
            app.port.open();
        }
        refused(error.message, error.next)
    })
}
