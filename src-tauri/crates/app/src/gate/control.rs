//! The control paths of the earlier Bifrost: summon, release, restore, and what it told of itself.

use std::time::Duration;

use api::Code;
use api::shapes::plans::OutcomeKind;
use bifrost::{Asked, Client, Control, ControlAnswer, Refusal};
use domain::agent::{AgentName, AgentState};
use domain::memory::Bytes;
use domain::plan::Goal;
use domain::stack::Tier;
use jiff::Timestamp;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::Gate;
use crate::carry::Ctx;
use crate::run_loop::Wish;
use crate::state::State;

/// How long the end of a switch may take after its agent has answered.
const SETTLES: Duration = Duration::from_secs(5);

pub(crate) async fn control(ctx: &Ctx, what: Control, client: &Client) -> ControlAnswer {
    let began = Instant::now();
    match what {
        Control::Summon(name) => match named(ctx, &name, client) {
            Ok(agent) => summon(ctx, agent, client, began).await,
            Err(refusal) => ControlAnswer::Refused(refusal),
        },
        Control::Release(name) => match named(ctx, &name, client) {
            Ok(agent) => release(ctx, &agent, began).await,
            Err(refusal) => ControlAnswer::Refused(refusal),
        },
        Control::Restore => {
            let base = ctx.state.state().stack.base.clone();
            let wish = Wish::new(Goal::Profile(base.clone()), base.clone());
            let detail = format!("{base} is active.");
            brought(ctx, wish, began, &Act { action: "restore", agent: None, detail }).await
        }
    }
}

fn named(ctx: &Ctx, name: &str, client: &Client) -> Result<AgentName, Refusal> {
    let state = ctx.state.state();
    let names = || state.stack.agents.iter().map(|a| a.name.as_str()).collect::<Vec<_>>().join(", ");
    let agent = AgentName::new(name).ok().filter(|n| state.stack.agent(n).is_some()).ok_or_else(|| {
        let message = format!("There is no agent {name:?}. Name one of: {}.", names());
        Refusal::UnknownAgent { message }
    })?;
    if client.agents.as_ref().is_some_and(|allowed| !allowed.contains(&agent)) {
        let message = format!("The key {} does not allow {}.", client.name, agent.proper());
        return Err(Refusal::NotAllowed { message });
    }
    Ok(agent)
}

/// What was done, for the answer.
struct Act<'a> {
    action: &'a str,
    agent: Option<&'a AgentName>,
    detail: String,
}

fn answer(ctx: &Ctx, ok: bool, status: u16, act: &Act<'_>, began: Instant) -> ControlAnswer {
    let body = json!({
        "ok": ok,
        "action": act.action,
        "agent": act.agent,
        "profile": ctx.state.state().profile,
        "duration_seconds": (began.elapsed().as_secs_f64() * 1000.0).round() / 1000.0,
        "detail": act.detail,
        "timestamp": Timestamp::now().to_string(),
    });
    ControlAnswer::Done { status, body }
}

async fn summon(ctx: &Ctx, agent: AgentName, client: &Client, began: Instant) -> ControlAnswer {
    let proper = agent.proper();
    let patience = ctx.state.state().stack.gateway.health_timeout;
    let patience = if patience.is_zero() { Duration::from_secs(86_400) } else { patience };
    let act = |detail: String| Act { action: "summon", agent: Some(&agent), detail };
    // The lease of a summon is dropped at once: what counts is that the agent is awake.
    let waiting = match ctx.gate.summon(agent.clone(), client.person) {
        Asked::Granted(_) => return answer(ctx, true, 200, &act(format!("{proper} is ready.")), began),
        Asked::Refused(refusal) => return ControlAnswer::Refused(refusal),
        Asked::Waiting(waiting) => waiting,
    };
    let place = waiting.place.clone();
    match tokio::time::timeout(patience, waiting.wait()).await {
        Ok(Ok(lease)) => {
            // What the answer says of the profile is what the switch has made of it.
            let over = ctx.state.until(|s| s.operation.is_none());
            let _ = tokio::time::timeout(SETTLES, over).await;
            let story = lease.story.clone().unwrap_or_else(|| format!("{proper} is ready."));
            answer(ctx, true, 200, &act(story), began)
        }
        Ok(Err(refusal)) => ControlAnswer::Refused(refusal),
        Err(_) => {
            let place = place.borrow().clone();
            let state = ctx.state.state();
            let loads = state.live(&agent).is_some_and(|l| l.start_began.is_some());
            let until = place.seconds_left.map(|s| Timestamp::now() + Duration::from_secs_f64(s.max(0.0)));
            let detail = match (loads, until) {
                (true, Some(until)) => format!(
                    "{proper} was not ready within {} s. It goes on loading, until about {}.",
                    patience.as_secs(),
                    until.strftime("%H:%M:%S UTC")
                ),
                (true, None) => format!(
                    "{proper} was not ready within {} s. It goes on loading; how long it takes was never measured.",
                    patience.as_secs()
                ),
                (false, _) => format!(
                    "{proper} was not ready within {} s ({}). Ask again.",
                    patience.as_secs(),
                    place.stage
                ),
            };
            answer(ctx, false, 504, &act(detail), began)
        }
    }
}

/// Lets an agent go, and has the base profile come back where its memory allows it.
async fn release(ctx: &Ctx, agent: &AgentName, began: Instant) -> ControlAnswer {
    let server = ctx.state.state().stack.server_of(agent).clone();
    let goal = ctx.gate.after_release(&server);
    let detail = match &goal {
        Goal::Asleep(_) => format!("{} is asleep.", agent.proper()),
        Goal::Profile(name) => format!("{} is asleep, {name} is back.", agent.proper()),
        _ => format!("{} is asleep, the base profile is back beside the others.", agent.proper()),
    };
    let to = match &goal {
        Goal::Profile(name) => name.clone(),
        _ => agent.to_string(),
    };
    brought(ctx, Wish::new(goal, to), began, &Act { action: "release", agent: Some(agent), detail }).await
}

/// Carries a wish out, after whatever is under way.
async fn brought(ctx: &Ctx, wish: Wish, began: Instant, act: &Act<'_>) -> ControlAnswer {
    let patience = ctx.state.state().stack.gateway.health_timeout;
    let deadline = Instant::now() + if patience.is_zero() { Duration::from_secs(86_400) } else { patience };
    loop {
        let result = ctx.state.wish(wish.clone()).await;
        match result {
            Ok(outcome) if outcome.result == OutcomeKind::Done => return answer(ctx, true, 200, act, began),
            Ok(outcome) => {
                return ControlAnswer::Refused(Refusal::Busy { message: outcome.message, retry_after: 10 });
            }
            Err(error) if error.code == Code::Busy => {
                tokio::task::yield_now().await;
                let free = ctx.state.until(|s| s.operation.is_none());
                if tokio::time::timeout_at(deadline, free).await.is_err() {
                    let message = format!("{} {}", error.message, error.next);
                    return ControlAnswer::Refused(Refusal::Busy { message, retry_after: 10 });
                }
            }
            Err(error) => {
                let message = format!("{} {}", error.message, error.next);
                return ControlAnswer::Refused(if error.code == Code::DoesNotFit {
                    Refusal::DoesNotFit { message }
                } else {
                    Refusal::Busy { message, retry_after: 10 }
                });
            }
        }
    }
}

/// What `GET /v1/status` tells.
pub(crate) fn status(gate: &Gate, state: &State) -> Value {
    let kept = gate.kept();
    let now = Timestamp::now();
    let time = |seconds: i64| Timestamp::from_second(seconds).ok().map(|t| t.to_string());
    let health: serde_json::Map<String, Value> = state
        .stack
        .agents
        .iter()
        .map(|a| (a.name.to_string(), state.live(&a.name).is_some_and(|l| l.state.answers()).into()))
        .collect();
    let running: Vec<&str> = state
        .stack
        .agents
        .iter()
        .filter(|a| state.live(&a.name).is_some_and(|l| l.state.holds_memory()))
        .map(|a| a.name.as_str())
        .collect();
    let (odin, utility) = (gate.budget(Tier::Reviewer), gate.budget(Tier::Utility));
    let loading = state
        .agents
        .iter()
        .find(|(_, l)| matches!(l.state, AgentState::Pulling | AgentState::Starting | AgentState::Loading));
    json!({
        "active_profile": state.profile,
        "running_agents": running,
        "uptime_seconds": now.duration_since(state.started).as_secs(),
        "session_start": time(kept.session_start),
        "last_summon_at": kept.last_summon.and_then(time),
        "last_release_at": kept.last_release.and_then(time),
        "summon_counts": {"odin": odin.used, "utility": utility.used},
        "summon_limits": {"odin": odin.limit, "utility": utility.limit},
        "cooldown_until": odin.cooldown_until.and_then(time),
        "health": health,
        "health_checked_at": now.to_string(),
        "gpu_utilization": utilization(state),
        "loading": loading.map(|(name, _)| name),
        "waiting": gate.recorder().crowd().values().map(|(waiting, _)| waiting).sum::<u32>(),
        "paused": state.paused,
        "rehearsal": state.rehearsal,
    })
}

/// By pool, measured, where the earlier scheduler gave a fixed text for each profile.
fn utilization(state: &State) -> Value {
    let pools: serde_json::Map<String, Value> = state
        .pools
        .iter()
        .filter_map(|p| {
            let capacity = p.capacity.filter(|c| *c > Bytes::ZERO)?;
            let used = p.device_used.unwrap_or(p.used);
            let share = used.0 as f64 / capacity.0 as f64;
            Some((p.id.0.clone(), json!((share * 1000.0).round() / 1000.0)))
        })
        .collect();
    Value::Object(pools)
}

impl Gate {
    fn after_release(&self, agent: &AgentName) -> Goal {
        let desk = self.desk();
        desk.schedule.after_release(&desk.house, agent)
    }
}
