//! The stack file through a form: what is written, what would change, and what must start again for it to count.

use std::collections::BTreeMap;
use std::time::Duration;

use api::shapes::agents::SuggestionRequest;
use api::shapes::stacks::{AgentForm, EditRequest, Edited, ProfileForm, StackEdit, StackForm};
use api::{ApiError, Code};
use domain::agent::AgentName;
use domain::memory::Bytes;
use domain::plan::{Goal, claims, plan};
use domain::stack::{Agent, ClaimBasis, DRAIN_ABORT, DRAIN_FINISH, Runs, Stack, agent_hash};
use serde_json::{Value, json};
use store::stack_file::{self, edit};

use crate::carry::Ctx;
use crate::here::Here;
use crate::stack_watch;
use crate::stacks;
use crate::state::State;
use crate::view;

pub(crate) fn form(ctx: &Ctx) -> Result<StackForm, ApiError> {
    let state = ctx.state.state();
    let stack = &state.file_stack;
    let written =
        edit::written(&state.source.text).map_err(|e| ApiError::new(Code::Stack, e.message, e.next))?;
    let mut written: BTreeMap<String, BTreeMap<String, Value>> = written.agents.into_iter().collect();
    let agents = stack
        .agents
        .iter()
        .map(|agent| {
            let claim: u64 = claims(agent, &state.pools).values().map(|s| s.total().0).sum();
            let (weights, kv, overhead) = parts(agent);
            AgentForm {
                agent: agent.name.to_string(),
                display_name: agent.display_name.clone(),
                written: written.remove(agent.name.as_str()).unwrap_or_default(),
                defaults: defaults(agent),
                profiles: stack
                    .profiles
                    .iter()
                    .filter(|p| p.agents.contains(&agent.name))
                    .map(|p| p.name.clone())
                    .collect(),
                claim_bytes: claim,
                weights_bytes: weights.0,
                kv_bytes: kv.0,
                overhead_bytes: overhead.0,
                kv_bytes_per_token: agent.kv_bytes_per_token,
                max_context: domain::catalog::known_model(&agent.model).map(|m| m.max_context),
                warnings: warnings(&state, agent),
            }
        })
        .collect();
    let mut models: Vec<String> = stack.agents.iter().map(|a| a.model.clone()).collect();
    models.extend(domain::catalog::all().iter().map(|m| m.id.to_owned()));
    models.sort();
    models.dedup();
    Ok(StackForm {
        hash: store::identity::hash(state.source.text.as_bytes()),
        saved: state.source.saved,
        agents,
        profiles: profiles(&state, stack),
        next_port: next_port(stack, &crate::assigning::free),
        models,
    })
}

/// What is known of an agent's choices on this GPU.
pub(crate) fn warnings(state: &State, agent: &Agent) -> Vec<String> {
    domain::matrix::concerns(state.gpu, agent).into_iter().map(|c| c.sentence).collect()
}

fn parts(agent: &Agent) -> (Bytes, Bytes, Bytes) {
    match agent.claim {
        ClaimBasis::KvCache { weights, kv_cache, overhead } => (weights, kv_cache, overhead),
        ClaimBasis::Memory(_) | ClaimBasis::Share(_) => (Bytes::ZERO, Bytes::ZERO, Bytes::ZERO),
    }
}

/// The first port after the stack's own that no agent has, and that is `free`.
pub(crate) fn next_port(stack: &Stack, free: &dyn Fn(u16) -> bool) -> u16 {
    let taken =
        |p: u16| stack.agents.iter().any(|a| a.port == p) || stack.gateway.listen.port() == p || !free(p);
    let from = stack.agents.iter().map(|a| a.port).filter(|p| (8000..8800).contains(p)).max().unwrap_or(8000);
    (from.saturating_add(1)..=u16::MAX).find(|p| !taken(*p)).unwrap_or(8001)
}

fn defaults(agent: &Agent) -> BTreeMap<String, Value> {
    let mut keys = BTreeMap::from([
        ("name".to_owned(), json!(agent.display_name)),
        ("title".to_owned(), json!(agent.title)),
        ("role".to_owned(), json!(agent.role)),
        ("tier".to_owned(), json!(agent.tier)),
        ("backend".to_owned(), json!(agent.backend.word())),
        ("model".to_owned(), json!(agent.model)),
        ("port".to_owned(), json!(agent.port)),
        ("context".to_owned(), json!(agent.context)),
        ("sequences".to_owned(), json!(agent.sequences)),
        ("tensor_parallel".to_owned(), json!(agent.tensor_parallel)),
        ("args".to_owned(), json!(agent.args)),
        ("drain".to_owned(), json!(drain(agent.drain))),
        ("load_timeout".to_owned(), json!(format!("{} s", agent.load_timeout.as_secs()))),
        ("min_residency".to_owned(), json!(format!("{} s", agent.min_residency.as_secs()))),
        (
            "request_timeout".to_owned(),
            json!(format!("{} s", agent.request_timeout.map_or(0, |t| t.as_secs()))),
        ),
        ("pinned".to_owned(), json!(agent.pinned)),
        ("glyph".to_owned(), json!(agent.glyph.as_deref().unwrap_or(agent.name.as_str()))),
        ("color".to_owned(), json!(agent.color.as_deref().unwrap_or(agent.name.as_str()))),
    ]);
    let texts = [
        ("quantization", &agent.quantization),
        ("dtype", &agent.dtype),
        ("kv_dtype", &agent.kv_dtype),
        ("tool_parser", &agent.tool_parser),
        ("revision", &agent.revision),
    ];
    for (key, value) in texts {
        if let Some(value) = value {
            keys.insert(key.to_owned(), json!(value));
        }
    }
    match &agent.runs {
        Runs::Container { image, host_ipc } => {
            keys.insert("image".to_owned(), json!(image));
            keys.insert("host_ipc".to_owned(), json!(host_ipc));
        }
        Runs::Process { command } => {
            keys.insert("command".to_owned(), json!(command));
        }
        Runs::External { endpoint } | Runs::Ollama { endpoint } => {
            keys.insert("endpoint".to_owned(), json!(endpoint));
        }
    }
    keys
}

/// As the stack file writes it.
fn drain(time: Duration) -> String {
    match time {
        DRAIN_FINISH => "finish".to_owned(),
        DRAIN_ABORT => "abort".to_owned(),
        time => format!("{} s", time.as_secs()),
    }
}

/// Each profile of a stack, and whether it would fit from what runs now.
fn profiles(state: &State, stack: &Stack) -> Vec<ProfileForm> {
    let situation = state.situation();
    stack
        .profiles
        .iter()
        .map(|p| {
            let (fits, reason) = match plan(stack, &situation, &Goal::Profile(p.name.clone())) {
                Ok(plan) => (Some(plan.fits), plan.reason),
                Err(error) => (None, error.to_string()),
            };
            ProfileForm {
                name: p.name.clone(),
                agents: p.agents.iter().map(ToString::to_string).collect(),
                fits,
                reason,
            }
        })
        .collect()
}

fn to_edit(edit: &StackEdit) -> edit::Edit {
    match edit.clone() {
        StackEdit::AddAgent { agent, keys, profiles } => edit::Edit::AddAgent { agent, keys, profiles },
        StackEdit::ChangeAgent { agent, keys } => edit::Edit::ChangeAgent { agent, keys },
        StackEdit::DuplicateAgent { agent, to, port } => edit::Edit::DuplicateAgent { agent, to, port },
        StackEdit::RenameAgent { agent, to } => edit::Edit::RenameAgent { agent, to },
        StackEdit::RemoveAgent { agent } => edit::Edit::RemoveAgent { agent },
        StackEdit::OrderAgents { agents } => edit::Edit::OrderAgents { agents },
        StackEdit::AgentProfiles { agent, profiles } => edit::Edit::AgentProfiles { agent, profiles },
        StackEdit::PutProfile { profile, agents } => edit::Edit::PutProfile { profile, agents },
        StackEdit::RemoveProfile { profile } => edit::Edit::RemoveProfile { profile },
    }
}

/// Running agents whose server was started with other settings than `stack` has.
pub(crate) fn restarts(state: &State, stack: &Stack) -> Vec<AgentName> {
    state
        .agents
        .iter()
        .filter(|(name, live)| {
            let Some(instance) = &live.instance else { return false };
            let Some(agent) = stack.agent(name).filter(|a| a.is_ours()) else { return false };
            !instance.revision.is_empty() && instance.revision != agent_hash(agent)
        })
        .map(|(name, _)| name.clone())
        .collect()
}

pub(crate) async fn edit(ctx: &Ctx, asked: &EditRequest) -> Result<Edited, ApiError> {
    let state = ctx.state.state();
    if store::identity::hash(state.source.text.as_bytes()) != asked.hash {
        return Err(ApiError::new(
            Code::Busy,
            "The stack file was changed by somebody else meanwhile.",
            "Load it again; what was typed here is not lost.",
        ));
    }
    let edits: Vec<edit::Edit> = asked.edits.iter().map(to_edit).collect();
    let text =
        edit::edit(&state.source.text, &edits).map_err(|e| ApiError::new(Code::Usage, e.message, e.next))?;
    let path = ctx.world.paths.stack_file();
    let scale = ctx.world.scale();
    let stack = match stack_file::check_on(&path, &text, scale, &Here::in_world(&ctx.world, state.gpu)) {
        Ok(stack) => stack,
        Err(problems) => {
            return Ok(Edited {
                saved: false,
                problems: problems.iter().map(stacks::problem).collect(),
                notes: Vec::new(),
                restarts: Vec::new(),
                profiles: Vec::new(),
                kept: None,
            });
        }
    };
    // What the form says already of the agents as they are.
    let known: Vec<String> = state.file_stack.agents.iter().flat_map(|a| warnings(&state, a)).collect();
    let mut edited = Edited {
        saved: false,
        problems: Vec::new(),
        notes: stack.notes.iter().map(|n| n.message.clone()).filter(|n| !known.contains(n)).collect(),
        restarts: restarts(&state, &stack).iter().map(ToString::to_string).collect(),
        profiles: profiles(&state, &stack),
        kept: None,
    };
    if !asked.dry_run {
        let stamp = jiff::Timestamp::now().strftime("%Y%m%d-%H%M%S").to_string();
        let kept = edit::save(&path, &text, &stamp).map_err(|e| stacks::not_written(&e))?;
        edited.saved = true;
        edited.kept = kept.map(|k| k.display().to_string());
        stack_watch::read_again(ctx).await;
    }
    Ok(edited)
}

/// Edits that Asgard makes by itself, on the file as it is now. Nothing is restarted by them.
pub(crate) async fn write(ctx: &Ctx, edits: &[edit::Edit]) -> Result<(), ApiError> {
    let path = ctx.world.paths.stack_file();
    // Somebody may have changed it since it was looked at.
    let on_disk = std::fs::read_to_string(&path).ok();
    if on_disk.is_some_and(|text| text != ctx.state.state().source.text) {
        stack_watch::read_again(ctx).await;
    }
    let state = ctx.state.state();
    let text =
        edit::edit(&state.source.text, edits).map_err(|e| ApiError::new(Code::Usage, e.message, e.next))?;
    let here = Here::in_world(&ctx.world, state.gpu);
    if let Err(problems) = stack_file::check_on(&path, &text, ctx.world.scale(), &here) {
        let first = problems.first().map(|p| (p.message.clone(), p.next.clone())).unwrap_or_default();
        return Err(ApiError::new(Code::Stack, first.0, first.1));
    }
    let stamp = jiff::Timestamp::now().strftime("%Y%m%d-%H%M%S").to_string();
    edit::save(&path, &text, &stamp).map_err(|e| stacks::not_written(&e))?;
    stack_watch::read_again(ctx).await;
    Ok(())
}

/// Writes one of an agent's suggestions into the stack file. Nothing is restarted by it.
pub(crate) async fn apply_suggestion(ctx: &Ctx, asked: &SuggestionRequest) -> Result<Edited, ApiError> {
    let state = ctx.state.state();
    let agent = state.stack.agents.iter().find(|a| a.name.as_str() == asked.agent);
    let found = agent.and_then(|a| view::suggestions(&state, a).into_iter().find(|s| s.id == asked.id));
    let Some(suggestion) = found else {
        return Err(ApiError::new(
            Code::Unknown,
            "There is no such suggestion any more.",
            "Look at the agent again.",
        ));
    };
    let change = StackEdit::ChangeAgent {
        agent: asked.agent.clone(),
        keys: BTreeMap::from([(suggestion.key, suggestion.value)]),
    };
    let hash = store::identity::hash(state.source.text.as_bytes());
    edit(ctx, &EditRequest { hash, edits: vec![change], dry_run: false }).await
}
