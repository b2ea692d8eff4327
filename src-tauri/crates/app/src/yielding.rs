//! Giving the memory to something else for a while: a game, a build, another tool; and taking it back.
//!
//! What is idle is put to sleep, one after the other, and stays so until the time is over, until `resume`, or until a
//! person starts something. Who answers a request is left alone. What was stopped is kept in the database, so that a
//! restart of the controller forgets nothing.

use std::collections::BTreeSet;
use std::time::Duration;

use api::shapes::plans::{Outcome, OutcomeKind};
use api::shapes::status::{Notice, Severity};
use api::{ApiError, Code};
use domain::agent::{AgentName, AgentState};
use domain::plan::Goal;
use domain::stack::Agent;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use crate::activity::happened;
use crate::carry::Ctx;
use crate::run_loop::Wish;
use crate::state::{Event, State};

/// The key in the settings.
const KEPT: &str = "yielded";
/// A machine that sleeps stops the clock that timers go by; the wall clock is looked at again after this.
const LOOK: Duration = Duration::from_secs(30);
/// Nobody means more than a month.
const LONGEST_HOURS: f64 = 24.0 * 31.0;

/// What was given away.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Yielded {
    /// None: until resumed.
    pub(crate) until: Option<Timestamp>,
    /// Who was awake before.
    pub(crate) agents: BTreeSet<AgentName>,
    pub(crate) profile: Option<String>,
}

pub(crate) async fn yield_memory(ctx: &Ctx, hours: Option<f64>) -> Result<Outcome, ApiError> {
    let until = match hours {
        None => None,
        Some(hours) if hours > 0.0 && hours <= LONGEST_HOURS => {
            Some(Timestamp::now() + Duration::from_secs_f64(hours * 3600.0))
        }
        Some(hours) => {
            return Err(ApiError::new(
                Code::Usage,
                format!("{hours} hours is no time to yield for."),
                "Write a number above 0 and up to 744, or none to wait for resume.",
            ));
        }
    };
    let began = Instant::now();
    let state = ctx.state.state();
    let before = state.yielded.as_deref();
    let mut yielded = Yielded {
        until,
        agents: before.map(|y| y.agents.clone()).unwrap_or_default(),
        profile: before.map_or_else(|| state.profile.clone(), |y| y.profile.clone()),
    };
    let mut kept = Vec::new();
    for agent in idle_first(&state) {
        if ctx.state.state().in_use(&agent) > 0 || !is_idle(&ctx.state.state(), &agent) {
            kept.push(agent);
            continue;
        }
        // Written down before it is stopped: what a crash leaves asleep is brought back all the same.
        yielded.agents.insert(agent.clone());
        keep(ctx, Some(&yielded)).await;
        let wish = Wish::gentle(Goal::Asleep(agent.clone()), agent.to_string());
        match ctx.state.wish(wish).await {
            Ok(outcome) if outcome.result == OutcomeKind::Done => {}
            // A request came in between.
            Ok(_) => {
                yielded.agents.remove(&agent);
                kept.push(agent);
            }
            Err(error) => {
                yielded.agents.remove(&agent);
                keep(ctx, Some(&yielded).filter(|y| !y.agents.is_empty())).await;
                return Err(error);
            }
        }
    }
    keep(ctx, Some(&yielded)).await;
    let message = words(&yielded, &kept);
    happened(ctx, Severity::Info, None, message.clone());
    Ok(Outcome {
        result: OutcomeKind::Done,
        message,
        profile: ctx.state.state().profile.clone(),
        seconds: began.elapsed().as_secs_f64(),
    })
}

pub(crate) async fn resume(ctx: &Ctx) -> Result<Outcome, ApiError> {
    let state = ctx.state.state();
    let Some(yielded) = state.yielded.clone() else {
        return Err(ApiError::new(
            Code::Busy,
            "Nothing was given away.",
            "Start agents with: asgard up, or asgard start AGENT",
        ));
    };
    // Agents that left the stack meanwhile stay away.
    let wanted: BTreeSet<AgentName> = yielded
        .agents
        .iter()
        .filter(|a| state.stack.agent(a).is_some())
        .cloned()
        .chain(state.awake())
        .collect();
    let to = yielded.profile.clone().unwrap_or_else(|| "what ran before".to_owned());
    let wish = Wish { goal: Goal::Exactly(wanted), to, gentle: false, resumes: true };
    let outcome = ctx.state.wish(wish).await?;
    if outcome.result == OutcomeKind::Done {
        keep(ctx, None).await;
        ctx.state.tell(Event::Noticed { key: KEPT, notice: None }).await;
    }
    Ok(outcome)
}

/// Brings back what was given away when its time is over, through restarts of the controller and sleeps of the machine.
pub(crate) async fn run(ctx: Ctx) {
    loop {
        ctx.state.until(|s| s.yielded.as_ref().is_some_and(|y| y.until.is_some())).await;
        let Some(until) = ctx.state.state().yielded.as_ref().and_then(|y| y.until) else { continue };
        let now = Timestamp::now();
        if now < until {
            let left = Duration::try_from(until.duration_since(now)).unwrap_or(LOOK);
            let changed = ctx.state.until(|s| s.yielded.as_ref().and_then(|y| y.until) != Some(until));
            tokio::select! {
                () = tokio::time::sleep(left.min(LOOK)) => {}
                () = changed => {}
            }
            continue;
        }
        if let Err(error) = resume(&ctx).await {
            let message = format!("What slept for something else could not come back: {}", error.message);
            happened(&ctx, Severity::Warning, None, message.clone());
            let next = "Close what holds the memory, then resume.".to_owned();
            let notice = Notice { severity: Severity::Warning, message, next };
            ctx.state.tell(Event::Noticed { key: KEPT, notice: Some(notice) }).await;
            // Not again by itself: from now on it waits for a word.
            if let Some(yielded) = ctx.state.state().yielded.as_deref().cloned() {
                keep(&ctx, Some(&Yielded { until: None, ..yielded })).await;
            }
        }
    }
}

/// What an earlier run of the controller left.
pub(crate) async fn recall(ctx: &Ctx) {
    let kept = ctx.world.database(|db| db.setting(KEPT).ok().flatten()).await.flatten();
    if let Some(yielded) = kept.and_then(|v| serde_json::from_value::<Yielded>(v).ok()) {
        ctx.state.tell(Event::Yielded(Some(yielded))).await;
    }
}

/// A person started something: what was given away is theirs to arrange again.
pub(crate) fn forget(ctx: &Ctx) {
    let ctx = ctx.clone();
    tokio::spawn(async move { keep(&ctx, None).await });
}

async fn keep(ctx: &Ctx, yielded: Option<&Yielded>) {
    let value = serde_json::to_value(yielded).unwrap_or_default();
    ctx.world.database(move |db| db.set_setting(KEPT, &value).ok()).await;
    ctx.state.tell(Event::Yielded(yielded.cloned())).await;
}

/// Who may be put to sleep at all: ours, and awake. Those that nobody uses first.
fn idle_first(state: &State) -> Vec<AgentName> {
    let mut names: Vec<AgentName> = state.awake().into_iter().collect();
    names.sort_by_key(|n| state.in_use(n) > 0);
    names
}

pub(crate) fn is_idle(state: &State, agent: &AgentName) -> bool {
    let ours = state.stack.agent(agent).is_none_or(Agent::is_ours);
    ours && state.in_use(agent) == 0
        && state.agents.get(agent).is_some_and(|live| live.state == AgentState::Ready)
}

fn words(yielded: &Yielded, kept: &[AgentName]) -> String {
    let list = |names: &mut dyn Iterator<Item = &AgentName>| {
        let names: Vec<String> = names.map(AgentName::proper).collect();
        match names.as_slice() {
            [] => String::new(),
            [one] => one.clone(),
            [first @ .., last] => format!("{} and {last}", first.join(", ")),
        }
    };
    let until = match yielded.until {
        Some(until) => format!("until {}", clock(until)),
        None => "until resumed".to_owned(),
    };
    let asleep = match yielded.agents.len() {
        0 => format!("Nobody was idle; nothing is started {until} but by hand."),
        1 => format!("{} sleeps {until}.", list(&mut yielded.agents.iter())),
        _ => format!("{} sleep {until}.", list(&mut yielded.agents.iter())),
    };
    match kept.len() {
        0 => asleep,
        1 => format!("{asleep} {} is at work and stays.", list(&mut kept.iter())),
        _ => format!("{asleep} {} are at work and stay.", list(&mut kept.iter())),
    }
}

/// The time of day here, with the date where it is not within a day.
fn clock(time: Timestamp) -> String {
    let zoned = time.to_zoned(jiff::tz::TimeZone::system());
    let within_a_day = time.duration_since(Timestamp::now()).as_secs() < 24 * 3600;
    zoned.strftime(if within_a_day { "%H:%M" } else { "%-d %B, %H:%M" }).to_string()
}
