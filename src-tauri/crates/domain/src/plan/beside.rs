//! Where a model that is no agent yet would fit: beside each profile, and alone.

use super::{Goal, Plan, PlanError, Situation, plan};
use crate::agent::AgentName;
use crate::memory::Bytes;
use crate::stack::{Agent, BackendKind, ClaimBasis, Profile, ProfileName, Runs, Stack};

/// A model that somebody thinks of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Guest {
    /// For the words.
    pub name: String,
    pub backend: BackendKind,
    /// Over all its devices.
    pub total: Bytes,
    pub tensor_parallel: u32,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fit {
    /// None: with nobody else awake.
    pub profile: Option<ProfileName>,
    pub fits: bool,
    pub reason: String,
}

/// Whether `guest` would fit beside each profile of `stack`, in the file's order, and at last alone. Planned like any
/// agent: there is no second proof. Who runs now is taken to stop.
///
/// # Errors
/// A machine whose memory is not known.
pub fn beside(stack: &Stack, situation: &Situation, guest: &Guest) -> Result<Vec<Fit>, PlanError> {
    let Some(agent) = as_agent(stack, guest) else { return Ok(Vec::new()) };
    let mut all: Vec<(Option<ProfileName>, Vec<AgentName>)> =
        stack.profiles.iter().map(|p| (Some(p.name.clone()), p.agents.clone())).collect();
    all.push((None, Vec::new()));
    all.into_iter()
        .map(|(profile, agents)| {
            let plan = with(stack, situation, &agent, agents)?;
            let reason = if plan.fits { plan.reason.clone() } else { plan.brief() };
            Ok(Fit { profile, fits: plan.fits, reason })
        })
        .collect()
}

/// The plan to have `guest` and `agents` awake, and whoever is pinned among those that run. None where no agent of the
/// stack is ours to take the guest's habits from.
pub(crate) fn plan_with(
    stack: &Stack,
    situation: &Situation,
    guest: &Guest,
    agents: &[AgentName],
) -> Result<Option<Plan>, PlanError> {
    let Some(agent) = as_agent(stack, guest) else { return Ok(None) };
    with(stack, situation, &agent, agents.to_vec()).map(Some)
}

fn with(
    stack: &Stack,
    situation: &Situation,
    guest: &Agent,
    mut agents: Vec<AgentName>,
) -> Result<Plan, PlanError> {
    agents.push(guest.name.clone());
    let wanted = Profile { name: "with the guest".to_owned(), agents };
    let mut with = stack.clone();
    with.agents.push(guest.clone());
    with.profiles = vec![wanted.clone()];
    plan(&with, situation, &Goal::Profile(wanted.name))
}

/// An agent like the stack's own, with the guest's claim and none of their ties.
fn as_agent(stack: &Stack, guest: &Guest) -> Option<Agent> {
    let like = stack.agents.iter().find(|a| a.is_ours() && a.served_by.is_none())?;
    let taken = |name: &AgentName| stack.agent(name).is_some();
    let name = (0..100).filter_map(|n| AgentName::new(&format!("guest-{n}")).ok()).find(|n| !taken(n))?;
    Some(Agent {
        name,
        display_name: guest.name.clone(),
        backend: guest.backend,
        runs: Runs::Container { image: String::new(), host_ipc: false },
        model: guest.name.clone(),
        claim: ClaimBasis::Memory(guest.total),
        tensor_parallel: guest.tensor_parallel,
        devices: Vec::new(),
        args: Vec::new(),
        gpu_layers: None,
        draft_model: None,
        pinned: false,
        served_by: None,
        learned: None,
        ..like.clone()
    })
}
