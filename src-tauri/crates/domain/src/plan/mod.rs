//! Plans: what a wish would do, step by step, proven at the peak of every step; or a refusal with its numbers.
//!
//! The one entry is [`plan`]. It is pure: the same stack, situation and goal give the same plan.

mod beside;
mod build;
mod claims;
mod proof;
mod sentence;
mod view;
mod walk;
mod words;

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::agent::{AgentName, AgentState};
use crate::memory::Bytes;
use crate::pool::{CapacityUnknown, Held, Ledger, PoolId, PoolReading, Shares};
pub use crate::stack::Basis;
use crate::stack::{ProfileName, Stack};

pub(crate) use beside::plan_with;
pub use beside::{Fit, Guest, beside};
pub use build::{plan, plan_undo};
pub use claims::{claims, declared_claims, footprint_of, loading_claims};

/// What is wished for. Always an outcome, never a sequence of acts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Goal {
    /// The profile's agents awake (pinned ones that run stay), nobody else.
    Profile(ProfileName),
    /// This agent awake: beside what runs if it fits and no rule forbids it, else by a switch to the first profile
    /// that holds it and stops least.
    Awake(AgentName),
    /// This agent stopped and started again, everything else as it is. One that is not awake is started.
    Again(AgentName),
    /// This agent asleep, everything else as it is.
    Asleep(AgentName),
    /// Exactly these awake: for undoing.
    Exactly(BTreeSet<AgentName>),
    /// Nobody awake.
    Nobody,
}

/// An agent that is not asleep, as the engine and the ledger see it.
#[derive(Debug, Clone, PartialEq)]
pub struct Running {
    pub agent: AgentName,
    pub state: AgentState,
    pub held: Held,
    /// Requests in use of it: leases, or the server's own running and waiting, whichever is more.
    pub in_use: u32,
}

/// Everything a plan is made from, beside the stack.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Situation {
    /// The pools, the main one first.
    pub pools: Vec<PoolReading>,
    /// Bytes that did not come back after a stop, by pool.
    pub lost: BTreeMap<PoolId, Bytes>,
    /// Agents that are not asleep; failed ones that hold nothing are left out.
    pub running: Vec<Running>,
    /// Agents whose image is not there yet.
    pub to_pull: BTreeSet<AgentName>,
    /// Measured seconds of earlier starts, by agent; no entry, no promise.
    pub start_seconds: BTreeMap<AgentName, f64>,
    /// The profile in force, for the words.
    pub profile: Option<ProfileName>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    Drain,
    Stop,
    WaitMemory,
    Pull,
    Start,
    WaitReady,
    Undo,
}

/// A pool at the end and at the peak of one step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StepPool {
    pub id: PoolId,
    /// Sum over the agents that are awake after the step.
    pub reserved_after: Bytes,
    /// The most that is in use in all (other programs included) while the step lasts.
    pub peak: Bytes,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Step {
    pub action: Action,
    pub agent: AgentName,
    /// How long it takes, as far as that was ever measured.
    pub seconds: Option<f64>,
    pub reason: String,
    pub pools: Vec<StepPool>,
}

/// What an agent's claim in a pool is made of. The parts of a whole claim given in one number are zero but the last.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlannedAgent {
    pub agent: AgentName,
    pub weights: Bytes,
    pub kv: Bytes,
    pub overhead: Bytes,
    pub basis: Basis,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlannedPool {
    pub ledger: Ledger,
    /// Sum over the agents awake at the end of what each counts with.
    pub planned: Bytes,
    /// The most in use in all at any step.
    pub peak: Bytes,
    /// How much is missing; zero where it fits.
    pub shortfall: Bytes,
    pub agents: Vec<PlannedAgent>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// The profile the goal amounts to, if it is one.
    pub profile: Option<ProfileName>,
    pub from: Option<ProfileName>,
    pub fits: bool,
    /// One line for a card ("Stops Valkyrie", "Fits, 21.6 GB to spare"), or why not, with numbers.
    pub reason: String,
    /// What to do about a refusal; empty where it fits.
    pub next: String,
    pub steps: Vec<Step>,
    pub pools: Vec<PlannedPool>,
    /// What is left in the tightest of the pools that the starts take from; none where nothing starts or it does not
    /// fit.
    pub spare: Option<Bytes>,
    /// Who is awake at the end.
    pub awake: BTreeSet<AgentName>,
    /// An agent that does not fit beside one with the same weights, and that one: it could be a role on its server.
    pub role_offer: Option<(AgentName, AgentName)>,
    /// What is known to go wrong on this machine's GPU with those that start; each begins with the agent's name.
    pub concerns: Vec<String>,
}

impl Plan {
    pub fn stops(&self) -> impl Iterator<Item = &AgentName> {
        self.steps.iter().filter(|s| s.action == Action::Stop).map(|s| &s.agent)
    }

    pub fn starts(&self) -> impl Iterator<Item = &AgentName> {
        self.steps.iter().filter(|s| s.action == Action::Start).map(|s| &s.agent)
    }
}

/// A wish that cannot be planned at all. A plan that does not fit is not an error: it is a [`Plan`] with numbers.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    #[error("There is no profile {0:?} in the stack.")]
    UnknownProfile(String),
    #[error("There is no agent {0:?} in the stack.")]
    UnknownAgent(String),
    #[error(transparent)]
    Capacity(#[from] CapacityUnknown),
    #[error("No memory pool of this machine could be detected.")]
    NoPool,
}

/// The ledgers of a situation, in the order of its pools.
pub fn ledgers(stack: &Stack, situation: &Situation) -> Result<Vec<Ledger>, PlanError> {
    let held: Vec<Held> = situation.running.iter().map(|r| r.held.clone()).collect();
    if situation.pools.is_empty() {
        return Err(PlanError::NoPool);
    }
    situation
        .pools
        .iter()
        .map(|p| {
            let lost = situation.lost.get(&p.id).copied().unwrap_or_default();
            Ledger::new(p, stack.memory.for_pool(&p.id), lost, &held).map_err(PlanError::from)
        })
        .collect()
}

/// The verdict of the look at the live figures just before a start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Headroom {
    Enough,
    /// Less than planned: in which pool, and by how much.
    Short {
        pool: PoolId,
        by: Bytes,
    },
}

/// Whether the live figures still leave room for `claim`, which is an agent's [`loading_claims`]. `ledgers` are fresh
/// ones. Both bounds are looked at twice: as promised, and as in use at this instant.
pub fn headroom(ledgers: &[Ledger], claim: &Shares) -> Headroom {
    for ledger in ledgers {
        let by = ledger.short_of(claim.get(&ledger.id).copied().unwrap_or_default());
        if by > Bytes::ZERO {
            return Headroom::Short { pool: ledger.id.clone(), by };
        }
    }
    Headroom::Enough
}

/// Whether a stopped agent's memory has come back: 95 % of what it held, or all but one unit of it.
pub fn memory_returned(held: Bytes, used_before: Bytes, used_now: Bytes, unit: crate::memory::Unit) -> bool {
    let back = used_before.saturating_sub(used_now);
    back >= held.share(95, 100) || back + unit.of(1.0) >= held
}
