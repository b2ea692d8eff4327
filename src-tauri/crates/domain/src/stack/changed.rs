//! What one stack has that another has not, agent by agent: so that a file that was changed touches only whom it
//! concerns.

use super::{Agent, Stack, agent_hash};
use crate::agent::AgentName;

/// By agent, each name in one list at most. Profiles, rules and limits are not in it: they start nothing again.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Diff {
    pub added: Vec<AgentName>,
    pub removed: Vec<AgentName>,
    /// Its server counts with other settings only after a new start; or it gains or loses a server of its own.
    pub restart: Vec<AgentName>,
    /// Shown, prompted or timed otherwise. In force at once.
    pub shown: Vec<AgentName>,
}

impl Diff {
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// What of `old` is otherwise in `new`: in the order of `new`, and what was removed in the order of `old`.
pub fn changed(old: &Stack, new: &Stack) -> Diff {
    let mut diff = Diff::default();
    for after in &new.agents {
        let list = match old.agent(&after.name) {
            None => &mut diff.added,
            Some(before) if starts_again(before, after) => &mut diff.restart,
            Some(before) if before != after => &mut diff.shown,
            Some(_) => continue,
        };
        list.push(after.name.clone());
    }
    let gone = old.agents.iter().filter(|a| new.agent(&a.name).is_none());
    diff.removed = gone.map(|a| a.name.clone()).collect();
    diff
}

/// A role starts nothing, nor does a server that others run: whatever is said of it counts at once.
fn starts_again(before: &Agent, after: &Agent) -> bool {
    let starts = |agent: &Agent| agent.served_by.is_none() && agent.is_ours();
    match (starts(before), starts(after)) {
        (false, false) => false,
        (true, true) => agent_hash(before) != agent_hash(after),
        _ => true,
    }
}
