//! Everything that can happen, as the run loop hears of it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use api::shapes::activity::Event as ActivityEvent;
use api::shapes::status::{Failure, Notice};
use domain::advice::KvUse;
use domain::agent::{AgentName, AgentState, Stage};
use domain::footprint::Learned;
use domain::memory::Bytes;
use domain::plan::Plan;
use domain::pool::{PoolId, PoolReading};
use domain::stack::Stack;
use engine::Instance;
use engine::backend::OwnNumbers;
use jiff::Timestamp;
use store::adoptions::Answer;
use store::confirm::Unconfirmed;

use crate::neighbours::Found;
use crate::reading::Look;
use crate::state::{EngineLive, Figures, Operation, StackSource};
use crate::yielding::Yielded;

/// Everything that can happen. Facts, in the past tense.
#[derive(Debug, Clone)]
pub(crate) enum Event {
    OperationBegan(Operation),
    /// The steps changed to those of the way back.
    UndoBegan {
        plan: Arc<Plan>,
    },
    StepBegan {
        step: usize,
    },
    CancelNoLongerPossible,
    OperationEnded {
        id: u64,
    },
    ProfileChosen(Option<String>),
    Moved {
        agent: AgentName,
        to: AgentState,
        detail: Option<String>,
    },
    Draining {
        agent: AgentName,
        /// None where its requests may take as long as they take.
        until: Option<Timestamp>,
    },
    Began {
        agent: AgentName,
        baseline: Vec<PoolReading>,
    },
    Started {
        agent: AgentName,
        engine: String,
        instance: Instance,
    },
    Progressed {
        agent: AgentName,
        stage: Stage,
        within: Option<f64>,
        detail: Option<String>,
    },
    Ready {
        agent: AgentName,
    },
    Slept {
        agent: AgentName,
    },
    Failed {
        agent: AgentName,
        failure: Failure,
        log: Arc<Vec<String>>,
    },
    Adopted {
        agent: AgentName,
        engine: String,
        instance: Instance,
        ready: bool,
    },
    Read(Look),
    Figured {
        agent: AgentName,
        /// The engine's name for what was asked: an answer that comes after its end is of no agent.
        instance: String,
        figures: Figures,
    },
    /// What its server said of its own memory while it started.
    Said {
        agent: AgentName,
        own: OwnNumbers,
    },
    /// What the last week says of the KV caches.
    WeekSeen(BTreeMap<AgentName, KvUse>),
    Leased(BTreeMap<AgentName, u32>),
    /// Who starts again as soon as nobody uses them.
    RestartsWait(BTreeSet<AgentName>),
    Lost {
        pool: PoolId,
        bytes: Bytes,
    },
    EngineSeen(EngineLive),
    ImagesSeen {
        to_pull: BTreeSet<AgentName>,
    },
    GatewaySeen {
        address: Option<String>,
        error: Option<Failure>,
    },
    /// The gateway takes nothing from tools, or takes it again.
    Paused(bool),
    StackRead {
        stack: Option<Arc<Stack>>,
        hash: String,
        source: Arc<StackSource>,
    },
    Answered {
        answers: Arc<Vec<Answer>>,
    },
    NeighboursSeen {
        found: Arc<Vec<Found>>,
    },
    Confirming(Option<Arc<Unconfirmed>>),
    /// What the agents take by their earlier starts, and in words how that moved.
    Learned(BTreeMap<AgentName, (Learned, Option<String>)>),
    StartTimed {
        agent: AgentName,
        median: f64,
    },
    Noticed {
        key: &'static str,
        notice: Option<Notice>,
    },
    Yielded(Option<Yielded>),
    Happened(ActivityEvent),
    ChatsChanged,
    /// Something came, went or was verified in the cache of models.
    ModelsChanged,
    /// Requests came, moved or ended, since the last of these.
    RequestsChanged,
    /// Downloads came, moved or ended, since the last of these.
    DownloadsChanged,
}
