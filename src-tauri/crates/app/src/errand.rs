//! An operation as it is handed to the carrier: its words, and the intent that a crash leaves behind.

use std::collections::BTreeSet;
use std::sync::Arc;

use domain::agent::AgentName;
use domain::plan::{Goal, Plan};
use jiff::Timestamp;
use tokio_util::sync::CancellationToken;

use crate::carry::Ctx;
use crate::run_loop::Wish;

/// An operation as it is handed over by the run loop.
pub(crate) struct Errand {
    pub(crate) id: u64,
    pub(crate) wish: Wish,
    pub(crate) plan: Arc<Plan>,
    pub(crate) awake_before: BTreeSet<AgentName>,
    pub(crate) profile_before: Option<String>,
    pub(crate) cancel: CancellationToken,
}

pub(crate) fn write_intent(ctx: &Ctx, errand: &Errand, steps_done: u32) {
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

pub(crate) fn clear_intent(ctx: &Ctx) {
    if let Err(error) = store::intent::clear(&ctx.world.paths.intent_file()) {
        tracing::warn!("The intent could not be removed: {error}");
    }
}

pub(crate) fn words_begin(goal: &Goal, to: &str, from: Option<&str>) -> String {
    match (goal, from) {
        (Goal::Profile(_), Some(from)) if from != to => format!("Switching from {from} to {to}."),
        (Goal::Profile(_), _) => format!("Switching to {to}."),
        (Goal::Awake(agent), _) => format!("Starting {}.", agent.proper()),
        (Goal::Again(agent), _) => format!("Starting {} again.", agent.proper()),
        (Goal::Asleep(agent), _) => format!("Stopping {}.", agent.proper()),
        (Goal::Exactly(_), _) => format!("Taking up {to} again."),
        (Goal::Nobody, _) => "Stopping every agent.".to_owned(),
    }
}

pub(crate) fn words_done(goal: &Goal, to: &str) -> String {
    match goal {
        Goal::Profile(_) => format!("{to} is active."),
        Goal::Awake(agent) | Goal::Again(agent) => format!("{} is ready.", agent.proper()),
        Goal::Asleep(agent) => format!("{} is asleep.", agent.proper()),
        Goal::Exactly(_) => format!("{to} was taken up again."),
        Goal::Nobody => "Every agent is asleep.".to_owned(),
    }
}
