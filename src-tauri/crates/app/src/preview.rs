//! What an agent is started with, and why, before anything is started: the same function that starts it, with what is
//! known of its image, and no side effect.

use api::shapes::agents::{DroppedFlag, ExplainedFlag, LaunchPreview, LaunchVariable};
use api::{ApiError, Code};
use domain::agent::AgentName;
use domain::plan::claims;
use domain::secret::Secret;
use domain::stack::{Agent, BackendKind, HubFile, Runs};
use engine::backend::explain::{Explained, explain};
use engine::backend::flags::{Dropped, FlagSet, fit_launch, shown_env};
use engine::backend::{Order, backend};
use engine::shell::command_text;
use engine::{Engine, EngineError, Program};

use crate::carry::Ctx;
use crate::images;
use crate::world::main_capacity;

/// # Errors
/// No such agent, one whose server others run, or one that cannot be launched as it stands.
pub(crate) async fn preview(ctx: &Ctx, name: &AgentName) -> Result<LaunchPreview, ApiError> {
    let state = ctx.state.state();
    let server = state.stack.server_of(name);
    let Some(agent) = state.stack.agent(server).cloned() else {
        return Err(ApiError::new(
            Code::Unknown,
            format!("There is no agent {name}."),
            "Look at `asgard status` for those there are.",
        ));
    };
    let mut notes = Vec::new();
    if server != name {
        notes.push(format!("{} is a role on this server.", name.proper()));
    }
    let engine = match agent.runs {
        Runs::Container { .. } => {
            ctx.world.containers.probe().await.ok().map(|engine| engine.kind.to_owned())
        }
        _ => None,
    };
    of_agent(ctx, &agent, notes, engine).await
}

/// Of an agent that need not be in the stack so. `engine` is the word of the engine that containers run on; without it
/// the one that was seen last, and nobody is asked.
///
/// # Errors
/// As of [`preview`].
pub(crate) async fn of_agent(
    ctx: &Ctx,
    agent: &Agent,
    mut notes: Vec<String>,
    engine: Option<String>,
) -> Result<LaunchPreview, ApiError> {
    let state = ctx.state.state();
    let Some(backend) = backend(agent.backend) else { return Err(of_others(agent)) };
    let reserved = claims(agent, &state.pools);
    let host = ctx.world.host(main_capacity(&state.pools, &reserved));
    if ctx.world.rehearsal.is_some() {
        notes.push("In the rehearsal a stand-in is started with the same arguments.".to_owned());
    }
    let mut gguf = ctx.world.gguf(agent);
    if gguf.is_none()
        && let Some(file) = HubFile::parse(&agent.model)
    {
        notes.push(format!(
            "{} is not in the Hugging Face cache yet; where it will lie there, the commit's name stands in place of main.",
            file.file
        ));
        let folder = format!("models--{}", file.repo.replace('/', "--"));
        gguf = Some(host.hub.join(folder).join("snapshots/main").join(&file.file));
    }
    let order = Order {
        agent,
        identity: &ctx.world.identity,
        host: &host,
        key: Secret::default(),
        revision: domain::stack::agent_hash(agent),
        reserved: reserved.iter().map(|(p, s)| (p.0.clone(), s.device.0, s.host.0)).collect(),
        // A rehearsal's own wrapping is not what a person asks about.
        rehearsal: None,
        gguf,
    };
    let mut launch = backend.launch(&order).map_err(refused)?;
    let explained = explain(&order);
    let mut known = None;
    if let Program::Image { image, .. } = &mut launch.program {
        *image = ctx.world.pins.resolve(Some(&agent.name), image);
        if ctx.world.rehearsal.is_none() {
            known = images::kept_facts(ctx, image).await;
        }
        if known.is_none() {
            notes.push("Which flags this image's server takes is read when it is first started.".to_owned());
        }
    }
    let version = known.as_ref().map(|facts| facts.version.clone());
    let dropped = fit_launch(&mut launch, known.and_then(FlagSet::new).as_ref());
    for lost in dropped.iter().filter(|d| !d.harmless) {
        notes.push(format!("It would not be started so: {}", lost.why));
    }
    let engine = match agent.runs {
        Runs::Container { .. } => {
            let seen = || {
                let own = state.engines.iter().find(|e| e.id == ctx.world.containers.id());
                own.filter(|e| e.error.is_none()).map(|e| e.kind.clone())
            };
            engine.or_else(seen).unwrap_or_else(|| "container".to_owned())
        }
        _ => "process".to_owned(),
    };
    let command_text = command_text(&launch, &engine);
    let (image, mut command) = match &launch.program {
        Program::Image { image, entrypoint, .. } => {
            (Some(image.clone()), entrypoint.clone().unwrap_or_else(|| own_program(agent.backend)))
        }
        Program::Local { command, .. } => (None, command.clone()),
    };
    command.extend(launch.args.iter().cloned());
    let env = shown_env(&launch).into_iter().map(|(name, value)| LaunchVariable { name, value }).collect();
    Ok(LaunchPreview {
        agent: agent.name.to_string(),
        backend: agent.backend.word().to_owned(),
        engine,
        image,
        version,
        command,
        command_text,
        env,
        flags: passed(explained, &launch.args, &dropped),
        dropped: dropped.into_iter().map(|d| DroppedFlag { flag: d.flag, why: d.why }).collect(),
        notes,
    })
}

/// The explained flags as they are passed in the end: without those that were left out, with the values they have.
fn passed(explained: Vec<Explained>, args: &[String], dropped: &[Dropped]) -> Vec<ExplainedFlag> {
    let kept = explained.into_iter().filter(|e| !dropped.iter().any(|d| d.flag == e.flag));
    kept.map(|e| {
        let now = args.iter().position(|a| *a == e.flag).and_then(|at| args.get(at + 1)).cloned();
        match (e.value, now) {
            (Some(planned), Some(now)) if planned != now => {
                let why = dropped.iter().map(|d| d.why.as_str()).collect::<Vec<_>>().join(" ");
                ExplainedFlag { flag: e.flag, value: Some(now), why }
            }
            (value, _) => ExplainedFlag { flag: e.flag, value, why: e.why },
        }
    })
    .collect()
}

/// The program that an image is known to begin with.
fn own_program(backend: BackendKind) -> Vec<String> {
    if backend == BackendKind::LlamaCpp { vec!["llama-server".to_owned()] } else { Vec::new() }
}

fn of_others(agent: &Agent) -> ApiError {
    let (message, next) = match &agent.runs {
        Runs::Ollama { endpoint } => (
            format!("{} is a model of Ollama at {endpoint}, which runs it by itself.", agent.display_name),
            "Its settings are Ollama's own.",
        ),
        _ => (
            format!("{} is served by another program, which Asgard did not start.", agent.display_name),
            "Look where that program was started.",
        ),
    };
    ApiError::new(Code::Usage, message, next)
}

fn refused(error: EngineError) -> ApiError {
    ApiError::new(Code::Failed, error.message, error.next)
}
