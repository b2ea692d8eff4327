//! A model for an agent: tried, then written to the stack file.
//!
//! What a choice comes to is found out on the stack file's text as it would be ([`trial`]): the same edit, the same
//! check and the same plans as for what is written by hand, so that a preview and the truth cannot differ. Nothing is
//! restarted here; the window asks for that by itself.

mod arguments;
mod choice;
mod known;
#[cfg(test)]
mod tests;
mod trial;

use std::net::{Ipv4Addr, TcpListener};

use api::shapes::assign::{AssignPreview, AssignRequest};
use api::shapes::stacks::Edited;
use api::{ApiError, Code};
use domain::agent::AgentName;
use domain::plan::claims;
use domain::stack::Agent;
use store::stack_file::edit;

use self::known::Remembered;
use self::trial::Ground;
use crate::carry::Ctx;
use crate::here::Here;
use crate::state::State;
use crate::{editing, learning, stack_watch, stacks};

/// Whether a server of ours could listen there.
pub(crate) fn free(port: u16) -> bool {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok()
}

/// Runs `work` off the async threads: headers of models are read there the first time.
async fn on_ground<T: Send + 'static>(
    ctx: &Ctx,
    asked: &AssignRequest,
    work: impl FnOnce(&Ground<'_>, &AssignRequest) -> Result<T, ApiError> + Send + 'static,
) -> Result<T, ApiError> {
    let state = ctx.state.state();
    let file = ctx.world.paths.stack_file();
    let scale = ctx.world.scale();
    let around = Remembered(Here::in_world(&ctx.world, state.gpu));
    let asked = asked.clone();
    tokio::task::spawn_blocking(move || {
        let ground = Ground { state: &state, file: &file, scale, around: &around, free: &free };
        work(&ground, &asked)
    })
    .await
    .map_err(|_| ApiError::new(Code::Failed, "The choice could not be tried.", "Try it again."))?
}

pub(crate) async fn preview(ctx: &Ctx, asked: &AssignRequest) -> Result<AssignPreview, ApiError> {
    let (mut preview, agent) = on_ground(ctx, asked, tried).await?;
    if let Some(agent) = agent {
        match crate::preview::of_agent(ctx, &agent, Vec::new(), None).await {
            Ok(launch) => preview.launch = Some(launch),
            Err(error) => preview.notes.push(format!("{} {}", error.message, error.next)),
        }
        preview.learned_bytes = learning::of(ctx, &agent).await.map(|learned| learned.steady.0);
    }
    Ok(preview)
}

/// The preview but for what needs an engine or the database, and the agent as it would be.
fn tried(ground: &Ground<'_>, asked: &AssignRequest) -> Result<(AssignPreview, Option<Agent>), ApiError> {
    let trial = trial::trial(ground, asked)?;
    let state = ground.state;
    let agent = trial.agent(asked).cloned();
    let (weights, kv, overhead) = trial.parts(asked, ground.scale);
    let situation = trial::situation(state, &asked.agent);
    let mut notes = trial.notes.clone();
    let mut pools = Vec::new();
    let mut profiles = Vec::new();
    let mut longest_context = None;
    if let (Some(stack), Some(agent)) = (&trial.stack, &agent) {
        match trial::beside(stack, &situation, &agent.name, asked.beside.as_deref()) {
            Ok(plan) => pools = trial::pools(&plan, &asked.hash),
            Err(reason) => notes.push(reason),
        }
        profiles = trial::profiles(stack, &situation, &agent.name);
        longest_context =
            trial::longest(&trial, &situation, &agent.name, asked.beside.as_deref(), ground.scale);
    }
    let total = agent
        .as_ref()
        .map_or((weights + kv + overhead).0, |a| claims(a, &state.pools).values().map(|s| s.total().0).sum());
    let preview = AssignPreview {
        context: trial.choice.context,
        max_context: trial.known.max_context(),
        longest_context,
        sequences: trial.choice.sequences,
        kv_dtype: trial.choice.kv_dtype.clone(),
        kv_dtypes: trial::kv_choices(&trial, agent.as_ref()),
        backend: trial.choice.backend.word().to_owned(),
        weights_bytes: weights.0,
        kv_bytes: kv.0,
        overhead_bytes: overhead.0,
        total_bytes: total,
        kv_bytes_per_token: trial.per_token(asked),
        certainty: trial.certainty().to_owned(),
        pools,
        profiles,
        keys: trial.choice.keys.clone(),
        launch: None,
        problems: trial.problems.clone(),
        notes: once(notes),
        restart: trial.restart(state, asked),
        learned_bytes: None,
    };
    Ok((preview, agent))
}

/// Each sentence once, in its first place.
fn once(notes: Vec<String>) -> Vec<String> {
    let mut seen = std::collections::BTreeSet::new();
    notes.into_iter().filter(|n| seen.insert(n.clone())).collect()
}

/// Writes the choice; the text before is kept. One that fits no profile is written as it is in the editor: it is said,
/// and a start of it will be refused with its numbers.
pub(crate) async fn assign(ctx: &Ctx, asked: &AssignRequest) -> Result<Edited, ApiError> {
    let (text, edited) = on_ground(ctx, asked, to_write).await?;
    let Some(text) = text else { return Ok(edited) };
    let path = ctx.world.paths.stack_file();
    let stamp = jiff::Timestamp::now().strftime("%Y%m%d-%H%M%S").to_string();
    let kept = edit::save(&path, &text, &stamp).map_err(|e| stacks::not_written(&e))?;
    stack_watch::read_again(ctx).await;
    Ok(Edited { saved: true, kept: kept.map(|k| k.display().to_string()), ..edited })
}

/// The text to write; none where it does not hold.
fn to_write(ground: &Ground<'_>, asked: &AssignRequest) -> Result<(Option<String>, Edited), ApiError> {
    let trial = trial::trial(ground, asked)?;
    let name = AgentName::new(&asked.agent).ok();
    let stack = trial.stack.as_ref();
    let situation = trial::situation(ground.state, &asked.agent);
    let edited = Edited {
        saved: false,
        problems: trial.problems.clone(),
        notes: once(trial.notes.clone()),
        restarts: stack.map_or_else(Vec::new, |s| restarts(ground.state, s)),
        profiles: stack
            .zip(name.as_ref())
            .map_or_else(Vec::new, |(stack, name)| trial::profiles(stack, &situation, name)),
        kept: None,
    };
    Ok((stack.and(trial.text.ok()), edited))
}

fn restarts(state: &State, stack: &domain::stack::Stack) -> Vec<String> {
    editing::restarts(state, stack).iter().map(ToString::to_string).collect()
}
