//! Who may use which agent, and when: leases, queues, summons, drains, idle times, budgets.
//!
//! A state machine that is told what happened ([`Happening`]) and answers with what shall be done ([`Order`]). It
//! neither waits nor measures: the time is passed in ([`Now`]), the household is passed in ([`House`]), so that every
//! day of it can be replayed from a list.
//!
//! The rules, each with its reasons where it is kept:
//!
//! - *Leases* (`step`). A server that answers and is not closed is had at once; it queues by itself. One that is
//!   asleep, on its way, or closed (whoever stops it has begun to drain it) makes the request wait. A role is its
//!   server. What a server counts of itself is seen too, so that a client that goes past the gateway is in use.
//! - *Who is next* (`next`, `queue`). The person before tools, then age. A tool that waited [`AGING`] is before
//!   persons that came later, and nobody passes it any more. All requests of one agent are served by one swap.
//! - *Waking* (`next`). Never without somebody who waits. What stops nobody goes at once; what stops somebody waits
//!   for its `min_residency`, and for the end of its requests where its `drain` is "finish". One wish at a time. A
//!   load under way goes on though its client hung up: one that comes back finds it further on.
//! - *Budgets* (`budget`) and cooldown bind tools, by the tier of the server, and survive a restart.
//! - *Idle times* (`idle`). Counted from the last use. With the agent that goes, the base profile comes back.
//! - *Restarts* (`again`) that a person asked for wait until nobody uses the agent, and are forgotten when it stops.
//! - *Crashes* (`crash`). Restarted on demand with a back-off; after three in a row only by the person.
//! - *Answers*. Each request is granted or refused exactly once, unless it left first, and with a sentence that says
//!   what it waited for (`story`).
//!
//! Nobody starves. With W the longest carrying out of one wish (its drains, stops and starts), R the longest
//! `min_residency`, F the longest request of an agent whose `drain` is "finish", and n servers, a request is answered
//! within [`AGING`] + (n + 2) x (W + R + F) + the longest back-off (15 s), beside the time that operations of the person
//! take meanwhile: once it is older than [`AGING`] only older requests go before it, all those of one agent in one swap,
//! and there are n - 1 other agents; one swap may be under way when it ages, one more is its own, and one may have gone
//! first while it waited for its own back-off. The bound does not hold against clients that go past the gateway to an
//! agent whose `drain` is "finish".

mod again;
mod budget;
mod crash;
mod idle;
mod next;
mod queue;
mod reading;
mod seen;
mod step;
mod story;
mod words;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::agent::{AgentName, AgentState};
use crate::plan::{Goal, Situation};
use crate::stack::Stack;

pub use queue::AGING;
pub use reading::Budget;

/// A moment, by two clocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Now {
    /// Since any fixed moment; never goes back. For waits, residency, idle times.
    pub steady: Duration,
    /// Seconds since the epoch by the wall's clock, which may jump. For what survives a restart: budgets, cooldown.
    pub wall: i64,
}

/// One request, from its asking to its end. Given out by whoever asks, never twice.
pub type Ticket = u64;

/// One request for an agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ask {
    pub ticket: Ticket,
    /// As asked for: may be a role on another agent's server.
    pub agent: AgentName,
    /// The person at the window, the tray or the command line: before tools, and bound by no budget.
    pub person: bool,
    /// Only to wake it: the lease is not used, and nothing but the summons counts.
    pub summon: bool,
}

/// What happened.
#[derive(Debug, Clone, PartialEq)]
pub enum Happening {
    Asked(Ask),
    /// A lease ended, or its client hung up in the queue.
    Left(Ticket),
    /// The household changed, or a moment came that [`Schedule::next_look`] named.
    Looked,
    /// What [`Order::Wish`] asked for came to its end.
    WishEnded(WishEnd),
    /// An agent begins to drain, on behalf of whoever stops it: its new requests wait.
    Closed(AgentName),
    /// It takes requests again, or is asleep.
    Opened(AgentName),
    /// The person did something that says which household they want.
    Person(PersonAct),
    /// A new session of the budgets.
    NewSession,
}

/// How a wish ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WishEnd {
    Done,
    /// Something else was under way. Asked again when it is over.
    Busy,
    /// A person cancelled it.
    Cancelled,
    DoesNotFit(String),
    /// An agent did not start.
    Failed {
        agent: AgentName,
        message: String,
    },
    /// It cannot be carried out, and not for want of memory: an unconfirmed stack, no engine.
    Refused {
        message: String,
        next: String,
    },
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PersonAct {
    /// Switched to a profile, or brought one up.
    Switched,
    /// Sent everybody to sleep: no profile comes back by itself.
    Down,
    /// Started this agent: its crashes are forgiven.
    Started(AgentName),
    Stopped(AgentName),
    /// This agent shall start again as soon as nobody uses it.
    RestartWhenIdle(AgentName),
    /// It shall not, after all.
    RestartTakenBack(AgentName),
}

/// What shall be done.
#[derive(Debug, Clone, PartialEq)]
pub enum Order {
    /// The ticket has its lease on `server` now. `story`: why it waited, in one sentence; none where it did not.
    Grant {
        ticket: Ticket,
        server: AgentName,
        story: Option<String>,
    },
    Refuse {
        ticket: Ticket,
        why: Denied,
        story: Option<String>,
    },
    /// At most one is under way; its end is told by [`Happening::WishEnded`].
    Wish {
        goal: Goal,
        to: String,
        gentle: bool,
        because: String,
    },
    /// An agent will not start again by itself, though a person asked for it: why, in one sentence.
    RestartForgotten {
        agent: AgentName,
        because: String,
    },
    /// [`Schedule::kept`] changed.
    Keep,
}

/// Why a ticket gets no lease.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Denied {
    /// As many wait for this agent as may.
    QueueFull {
        message: String,
        retry_after: u64,
    },
    /// A budget or a cooldown. `until`: by the wall's clock, where it is a time that helps.
    TooOften {
        message: String,
        retry_after: u64,
        until: Option<i64>,
    },
    DoesNotFit {
        message: String,
        next: String,
    },
    /// It crashed or did not start. With `retry_after` another try is worth it.
    Failed {
        message: String,
        next: String,
        retry_after: Option<u64>,
    },
    /// Not now, and nothing wakes it: paused, yielded, requests may not wake agents.
    Asleep {
        message: String,
        next: String,
        retry_after: Option<u64>,
    },
}

/// The household as it is, for one step.
#[derive(Debug, Clone)]
pub struct House {
    pub stack: Arc<Stack>,
    pub situation: Situation,
    /// Every server of the stack.
    pub agents: BTreeMap<AgentName, Seen>,
    /// An operation is under way, of whomever.
    pub busy: Option<Busy>,
    /// Given away to something else: nobody is woken for tools. `Some(None)`: until resumed.
    pub yielded: Option<Option<i64>>,
    /// Nobody is woken for tools, and nothing is queued.
    pub paused: bool,
}

/// One agent of the household.
#[derive(Debug, Clone, PartialEq)]
pub struct Seen {
    pub state: AgentState,
    /// Its server's own running and waiting requests.
    pub own: u32,
    /// Why it failed.
    pub failure: Option<String>,
    /// While it starts: "Loading weights", and how long it takes yet.
    pub stage: Option<&'static str>,
    pub seconds_left: Option<f64>,
    /// Whose server it is, for the words.
    pub proper: String,
}

/// What is under way.
#[derive(Debug, Clone, PartialEq)]
pub struct Busy {
    /// Who will be awake at its end.
    pub awake: BTreeSet<AgentName>,
    /// In a few words: "Draining Valkyrie".
    pub stage: String,
    pub seconds_left: Option<f64>,
    /// Another profile will be active at its end.
    pub switches: bool,
}

/// Where a waiting ticket stands.
#[derive(Debug, Clone, PartialEq)]
pub struct Place {
    pub agent: AgentName,
    /// 1 is next.
    pub place: u32,
    /// "Loading Odin", "Draining Valkyrie", "Waiting for Valkyrie".
    pub stage: String,
    pub seconds_left: Option<f64>,
}

/// What survives a restart.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Kept {
    /// When this session began, by the wall's clock.
    pub session_start: i64,
    pub last_summon: Option<i64>,
    pub last_release: Option<i64>,
    /// Summons of this session by clients, by agent.
    pub summons: BTreeMap<AgentName, u32>,
    /// When each agent was last let go, by the wall's clock: what its cooldown counts from.
    pub released: BTreeMap<AgentName, i64>,
    /// The person sent everybody to sleep.
    pub down: bool,
}

/// Who uses which agent, who waits for one, and what is known of each: see the module.
#[derive(Debug, Clone)]
pub struct Schedule {
    books: budget::Books,
    queues: queue::Queues,
    /// Leases that were granted and did not end yet.
    held: BTreeMap<Ticket, Held>,
    /// How many of them there are by server. A server that was used once stays, with zero: leases come and go often.
    leases: BTreeMap<AgentName, u32>,
    /// Servers that somebody is stopping.
    closed: BTreeSet<AgentName>,
    servers: BTreeMap<AgentName, seen::Server>,
    /// What was asked for and has not come to its end.
    wish: Option<next::Wished>,
    /// By server, what those who wait for it wait for.
    blocked: BTreeMap<AgentName, next::Blocked>,
    /// Servers whose tools are held back, so that they come to rest: see `next`.
    fenced: BTreeSet<AgentName>,
    /// Before this nothing is wished, whatever waits: a wish just came back without a change.
    rest_until: Duration,
    /// Servers that start again as soon as nobody uses them.
    again: BTreeSet<AgentName>,
    story: story::Timeline,
}

/// One lease.
#[derive(Debug, Clone)]
struct Held {
    server: AgentName,
    summon: bool,
}

impl Schedule {
    /// Nothing is in use and nobody waits: what a controller that starts knows.
    pub fn new(kept: Kept, now: Now) -> Self {
        Self {
            books: budget::Books::new(kept, now),
            queues: queue::Queues::default(),
            held: BTreeMap::new(),
            leases: BTreeMap::new(),
            closed: BTreeSet::new(),
            servers: BTreeMap::new(),
            wish: None,
            blocked: BTreeMap::new(),
            fenced: BTreeSet::new(),
            rest_until: Duration::ZERO,
            again: BTreeSet::new(),
            story: story::Timeline::default(),
        }
    }
}
