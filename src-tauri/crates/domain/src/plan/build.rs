//! From a wish to steps.

use std::collections::BTreeSet;

use super::{Goal, Plan, PlanError, Situation};
use crate::agent::AgentName;
use crate::pool::{PoolReading, Shares};
use crate::stack::{Agent, Stack};

/// What `agent` takes of each pool of this machine.
pub fn claims(_agent: &Agent, _pools: &[PoolReading]) -> Shares {
    Shares::new()
}

/// # Errors
/// See [`PlanError`]. A goal that does not fit is not an error.
pub fn plan(_stack: &Stack, _situation: &Situation, _goal: &Goal) -> Result<Plan, PlanError> {
    Err(PlanError::NoPool)
}

/// The plan back to `awake` after a switch failed or was cancelled: [`Goal::Exactly`], its steps marked as undoing.
///
/// # Errors
/// See [`PlanError`].
pub fn plan_undo(stack: &Stack, situation: &Situation, awake: &BTreeSet<AgentName>) -> Result<Plan, PlanError> {
    plan(stack, situation, &Goal::Exactly(awake.clone()))
}
