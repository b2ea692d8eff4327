//! Restarts that a person asks for, and that wait until nobody uses the agent.
//!
//! The schedule decides when: it knows of every request (`domain::schedule`, `again`). Nothing is kept on the disk: a
//! controller that starts knows of no restart that somebody asked an earlier one for.

use api::shapes::plans::{Outcome, OutcomeKind};
use api::shapes::stacks::Applied;
use api::shapes::status::Severity;
use api::{ApiError, Code};
use domain::agent::{AgentName, AgentState};
use domain::plan::Goal;
use domain::schedule::PersonAct;
use domain::stack::Agent;

use crate::activity::happened;
use crate::carry::Ctx;
use crate::commands::no_agent;
use crate::editing;
use crate::run_loop::Wish;
use crate::state::{Event, State};

/// Has an agent start again as soon as nobody uses it; at once where nobody does. Returns without waiting for it.
pub(crate) async fn when_idle(ctx: &Ctx, agent: &AgentName) -> Result<Outcome, ApiError> {
    let state = ctx.state.state();
    let server = server(&state, agent)?;
    let proper = proper(&state, &server);
    if state.stack.agent(&server).is_some_and(|a| !a.is_ours()) {
        let message = format!("{proper} runs on a server of others, which is never restarted.");
        return Err(ApiError::new(Code::Usage, message, "Restart it with the program that started it."));
    }
    let down = matches!(
        state.agents.get(&server).map(|l| l.state),
        None | Some(AgentState::Asleep | AgentState::Failed | AgentState::Stopping | AgentState::Draining)
    );
    if down {
        let message = format!("{proper} does not run: there is nothing to restart.");
        let next = format!("It has its new settings when it is started: asgard start {server}");
        return Err(ApiError::new(Code::Usage, message, next));
    }
    let waits = remember(ctx, &server).await;
    let message = if waits {
        format!("{proper} starts again when its last request has ended.")
    } else {
        format!("{proper} starts again: nobody uses it.")
    };
    Ok(outcome(ctx, message))
}

pub(crate) async fn take_back(ctx: &Ctx, agent: &AgentName) -> Result<Outcome, ApiError> {
    let state = ctx.state.state();
    let server = server(&state, agent)?;
    let proper = proper(&state, &server);
    if !state.restarts.contains(&server) {
        let message = format!("{proper} does not wait to start again.");
        return Err(ApiError::new(Code::Usage, message, "What is under way is taken back with Cancel."));
    }
    ctx.gate.person(PersonAct::RestartTakenBack(server.clone()));
    shown(ctx).await;
    let message = format!("{proper} does not start again by itself any more.");
    happened(ctx, Severity::Info, Some(&server), message.clone());
    Ok(outcome(ctx, message))
}

/// Restarts the running agents that changed: those that nobody uses one after the other, the rest when their last
/// requests have ended.
pub(crate) async fn apply(ctx: &Ctx) -> Result<Applied, ApiError> {
    let state = ctx.state.state();
    let mut applied = Applied { restarted: Vec::new(), busy: Vec::new() };
    for name in editing::restarts(&state, &state.stack) {
        let now = ctx.state.state();
        if now.in_use(&name) == 0 && now.agents.get(&name).is_some_and(|l| l.state.answers()) {
            match ctx.state.wish(Wish::gentle(Goal::Again(name.clone()), name.to_string())).await {
                Ok(outcome) if outcome.result == OutcomeKind::Done => {
                    applied.restarted.push(name.to_string());
                    continue;
                }
                // The person took it back.
                Ok(_) => continue,
                // A request, or something else, came first.
                Err(error) if error.code == Code::Busy => {}
                Err(error) => return Err(error),
            }
        }
        remember(ctx, &name).await;
        applied.busy.push(name.to_string());
    }
    Ok(applied)
}

/// Whether it has to wait.
async fn remember(ctx: &Ctx, server: &AgentName) -> bool {
    ctx.gate.person(PersonAct::RestartWhenIdle(server.clone()));
    shown(ctx).await;
    let waits = ctx.state.state().restarts.contains(server);
    if waits {
        let text = format!("{} starts again when nobody uses it.", proper(&ctx.state.state(), server));
        happened(ctx, Severity::Info, Some(server), text);
    }
    waits
}

/// Returns when the state shows what the schedule has decided.
async fn shown(ctx: &Ctx) {
    ctx.state.tell(Event::RestartsWait(ctx.gate.restarts())).await;
}

fn server(state: &State, agent: &AgentName) -> Result<AgentName, ApiError> {
    let server = state.stack.server_of(agent).clone();
    if state.agents.contains_key(&server) { Ok(server) } else { Err(no_agent(agent.as_str())) }
}

fn proper(state: &State, agent: &AgentName) -> String {
    state.stack.agent(agent).map_or_else(|| agent.proper(), |a: &Agent| a.display_name.clone())
}

fn outcome(ctx: &Ctx, message: String) -> Outcome {
    Outcome { result: OutcomeKind::Done, message, profile: ctx.state.state().profile.clone(), seconds: 0.0 }
}
