//! The household as the schedule sees it, read from the state.

use domain::agent::{AgentName, AgentState};
use domain::plan::Action;
use domain::schedule::{Busy, House, Seen};
use jiff::Timestamp;

use crate::state::{Operation, State};
use crate::view;

pub(super) fn of(state: &State) -> House {
    let now = Timestamp::now();
    let agents = state
        .agents
        .iter()
        .map(|(name, live)| {
            let (_, seconds_left) = view::start_progress(state, name, live, now);
            let loads =
                matches!(live.state, AgentState::Pulling | AgentState::Starting | AgentState::Loading);
            let seen = Seen {
                state: live.state,
                own: live.figures.in_use(),
                failure: live.error.as_ref().map(|e| e.message.clone()),
                stage: live.stage.filter(|_| loads).map(domain::Stage::word),
                seconds_left,
                proper: proper(state, name),
            };
            (name.clone(), seen)
        })
        .collect();
    House {
        stack: state.stack.clone(),
        situation: state.situation(),
        agents,
        busy: state.operation.as_ref().map(|o| busy(state, o, now)),
        yielded: state.yielded.as_ref().map(|y| y.until.map(Timestamp::as_second)),
        paused: state.paused,
    }
}

fn proper(state: &State, name: &AgentName) -> String {
    state.stack.agent(name).map_or_else(|| name.proper(), |a| a.display_name.clone())
}

fn busy(state: &State, operation: &Operation, now: Timestamp) -> Busy {
    let stage = match operation.action() {
        Some((action, agent)) => {
            let agent = proper(state, agent);
            match action {
                Action::Drain => format!("Draining {agent}"),
                Action::Stop => format!("Stopping {agent}"),
                Action::WaitMemory => format!("Waiting for the memory of {agent}"),
                Action::Pull => format!("Pulling the image of {agent}"),
                Action::Start | Action::WaitReady => format!("Loading {agent}"),
                Action::Undo => format!("Putting {agent} back"),
            }
        }
        None => format!("Switching to {}", operation.to),
    };
    Busy {
        awake: operation.plan.awake.clone(),
        stage,
        seconds_left: view::operation_left(state, operation, now),
        switches: operation.plan.profile.is_some() && operation.plan.profile != operation.from,
    }
}
