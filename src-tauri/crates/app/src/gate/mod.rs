//! The schedule at work: requests ask here for agents, the household's changes are told to it, and its orders are
//! carried out.
//!
//! `domain::schedule` decides. This holds it behind one lock, which no wait is ever done under, and knows the two
//! things that it does not: who sits where with which channel, and how a lease is made of a running server.

mod control;
mod house;
mod run;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use bifrost::{Asked, Lease, Model, Refusal, Waiting, Wanted};
use domain::agent::AgentName;
use domain::schedule::{
    Ask, Budget, Denied, Happening, House, Kept, Now, Order, PersonAct, Place, Schedule, Ticket,
};
use domain::secret::Secret;
use domain::stack::{Runs, Tier};
use jiff::Timestamp;
use tokio::sync::{mpsc, oneshot, watch};

use crate::record::{Entry, Recorder};
use crate::run_loop::Loop;
use crate::state::{Event, State};

pub(crate) use control::{control, status};
pub(crate) use run::{recall, run};

/// The way to the schedule. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Gate(Arc<Inner>);

struct Inner {
    state: Loop,
    recorder: Recorder,
    /// What the steady clock counts from.
    began: Instant,
    /// How the window, the tray and the command line make themselves known to the gateway.
    face: Secret,
    desk: Mutex<Desk>,
    to_do: mpsc::UnboundedSender<ToDo>,
}

struct Desk {
    schedule: Schedule,
    house: Arc<House>,
    /// Every agent as `/v1/models` shows it. Asked for at every request, so it is made with the house.
    models: Arc<[Model]>,
    seats: BTreeMap<Ticket, Seat>,
    next: Ticket,
    /// The restarts that wait, as the state shows them.
    restarts: BTreeSet<AgentName>,
    /// The runner was told that leases changed, and has not looked yet.
    told: bool,
    /// Whom the wish under way is to wake.
    waking: Option<AgentName>,
    /// Everybody who waited for it has hung up.
    abandoned: bool,
}

/// Who waits.
struct Seat {
    wanted: Asks,
    place: watch::Sender<Place>,
    outcome: oneshot::Sender<Result<Lease, Refusal>>,
}

/// What of a request makes its lease.
#[derive(Clone)]
struct Asks {
    /// It was told to come again, so what is begun for it is not for nobody.
    returns: bool,
    agent: AgentName,
    /// The name it was asked by.
    model: String,
}

/// What cannot be done under the lock, or outside of the runtime.
enum ToDo {
    Wish {
        goal: domain::plan::Goal,
        to: String,
        gentle: bool,
        because: String,
    },
    Keep(Kept),
    /// A restart that was asked for will not be.
    Forgotten {
        agent: AgentName,
        because: String,
    },
    Leases,
    /// Nobody waits any more for whom the wish under way is to wake.
    Unwish,
}

/// What the runner receives.
pub(crate) struct Orders(mpsc::UnboundedReceiver<ToDo>);

/// One request's use of an agent; it ends when this is dropped.
struct Using {
    ticket: Ticket,
    gate: Gate,
}

impl Drop for Using {
    fn drop(&mut self) {
        self.gate.0.recorder.gone(self.ticket);
        self.gate.step(Happening::Left(self.ticket));
    }
}

/// One request's place in the queue. After the queue's answer its end means nothing.
struct Queueing {
    ticket: Ticket,
    gate: Gate,
}

impl Drop for Queueing {
    fn drop(&mut self) {
        let (seat, nobody) = {
            let mut desk = self.gate.desk();
            let seat = desk.seats.remove(&self.ticket);
            let hung_up = seat.as_ref().is_some_and(|seat| {
                let for_it = desk.waking.as_ref() == Some(desk.house.stack.server_of(&seat.wanted.agent));
                for_it && !seat.wanted.returns
            });
            let nobody = hung_up && !desk.somebody_waits_for_it();
            desk.abandoned |= nobody;
            (seat, nobody)
        };
        if seat.is_some() {
            self.gate.0.recorder.gone(self.ticket);
            self.gate.step(Happening::Left(self.ticket));
            if nobody {
                self.gate.to_do(ToDo::Unwish);
            }
        }
    }
}

impl Desk {
    /// Takes the household as it is now.
    fn take(&mut self, state: &State) {
        self.house = Arc::new(house::of(state));
        self.models = models(state);
    }

    /// Under the lock, so that an older list never comes after a newer one.
    fn show_restarts(&mut self, state: &Loop) {
        if !self.schedule.restarts().eq(&self.restarts) {
            self.restarts = self.schedule.restarts().cloned().collect();
            state.note(Event::RestartsWait(self.restarts.clone()));
        }
    }

    fn somebody_waits_for_it(&self) -> bool {
        let server = |seat: &Seat| self.house.stack.server_of(&seat.wanted.agent).clone();
        self.waking.as_ref().is_some_and(|waking| self.seats.values().any(|seat| server(seat) == *waking))
    }
}

impl Gate {
    pub(crate) fn new(state: Loop, recorder: Recorder, kept: Kept, face: Secret) -> (Self, Orders) {
        let (to_do, orders) = mpsc::unbounded_channel();
        let now = Now { steady: std::time::Duration::ZERO, wall: Timestamp::now().as_second() };
        let seen = state.state();
        let desk = Desk {
            schedule: Schedule::new(kept, now),
            house: Arc::new(house::of(&seen)),
            models: models(&seen),
            seats: BTreeMap::new(),
            next: 1,
            restarts: BTreeSet::new(),
            told: false,
            waking: None,
            abandoned: false,
        };
        let inner = Inner { state, recorder, began: Instant::now(), face, desk: Mutex::new(desk), to_do };
        (Self(Arc::new(inner)), Orders(orders))
    }

    /// What the person's own requests carry, so that no budget binds them.
    pub(crate) fn face(&self) -> &Secret {
        &self.0.face
    }

    pub(crate) fn recorder(&self) -> &Recorder {
        &self.0.recorder
    }

    fn desk(&self) -> MutexGuard<'_, Desk> {
        self.0.desk.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now(&self) -> Now {
        Now { steady: self.0.began.elapsed(), wall: Timestamp::now().as_second() }
    }

    /// A lease on the agent that is asked for, a place in its queue, or a refusal; at once.
    pub(crate) fn ask(&self, wanted: &Wanted) -> Asked {
        let state = self.0.state.state();
        let models = self.models();
        let Some(model) = bifrost::route(&models, &wanted.model).and_then(|at| models.get(at)) else {
            return Asked::Refused(unknown_model(&models, wanted));
        };
        if let Some(allowed) = &wanted.client.agents
            && !allowed.contains(&model.id)
        {
            let message = format!(
                "The key {} does not allow {}. Use another agent, or change the key's list in the stack file.",
                wanted.client.name,
                model.id.proper()
            );
            return Asked::Refused(Refusal::NotAllowed { message });
        }
        let asks = Asks { agent: model.id.clone(), model: wanted.model.clone(), returns: wanted.returns };
        let entry = |ticket| Entry {
            ticket,
            client: wanted.client.name.clone(),
            agent: asks.agent.clone(),
            path: wanted.path.clone(),
            stream: wanted.stream,
            since: Timestamp::now(),
        };
        self.queue(&state, &asks, wanted.client.person, false, Some(&entry))
    }

    /// To wake an agent and no more.
    fn summon(&self, agent: AgentName, person: bool) -> Asked {
        let asks = Asks { model: agent.to_string(), agent, returns: true };
        self.queue(&self.0.state.state(), &asks, person, true, None)
    }

    fn queue(
        &self,
        state: &State,
        asks: &Asks,
        person: bool,
        summon: bool,
        entry: Option<&dyn Fn(Ticket) -> Entry>,
    ) -> Asked {
        let mut desk = self.desk();
        let ticket = desk.next;
        desk.next += 1;
        let house = desk.house.clone();
        let now = self.now();
        let ask = Ask { ticket, agent: asks.agent.clone(), person, summon };
        let mut orders = desk.schedule.step(now, &house, Happening::Asked(ask));
        desk.show_restarts(&self.0.state);
        let own = orders.iter().position(|order| order_for(order) == Some(ticket));
        let own = own.map(|at| orders.remove(at));
        let waiting = own.is_none().then(|| {
            let place = desk.schedule.place(ticket, now, &house).unwrap_or_else(|| Place {
                agent: asks.agent.clone(),
                place: 1,
                stage: format!("Waiting for {}", asks.agent.proper()),
                seconds_left: None,
            });
            let (outcome, answer) = oneshot::channel();
            if let Some(entry) = entry {
                self.0.recorder.under_way(entry(ticket));
                self.0.recorder.placed(ticket, place.clone());
            }
            let (place, sees) = watch::channel(place);
            desk.seats.insert(ticket, Seat { wanted: asks.clone(), place, outcome });
            Waiting::new(ticket, sees, answer, Queueing { ticket, gate: self.clone() })
        });
        let tell = matches!(own, Some(Order::Grant { .. })) && !std::mem::replace(&mut desk.told, true);
        drop(desk);
        if tell {
            self.to_do(ToDo::Leases);
        }
        self.carry_out(orders);
        if let Some(waiting) = waiting {
            // The runner looks at the clock anew.
            self.to_do(ToDo::Leases);
            return Asked::Waiting(waiting);
        }
        match own {
            Some(Order::Grant { server, story, .. }) => {
                if let Some(entry) = entry {
                    self.0.recorder.under_way(entry(ticket));
                    self.0.recorder.leased(ticket, story.clone());
                }
                match self.lease(state, ticket, asks, &server, story) {
                    Ok(lease) => Asked::Granted(lease),
                    Err(refusal) => Asked::Refused(refusal),
                }
            }
            Some(Order::Refuse { why, .. }) => Asked::Refused(refusal(&asks.agent, why)),
            _ => Asked::Refused(Refusal::Busy { message: "Try again.".to_owned(), retry_after: 1 }),
        }
    }

    /// What a granted request needs to reach its server. An error gives the grant back.
    fn lease(
        &self,
        state: &State,
        ticket: Ticket,
        asks: &Asks,
        server: &AgentName,
        story: Option<String>,
    ) -> Result<Lease, Refusal> {
        let using = Using { ticket, gate: self.clone() };
        let Some(instance) = state.agents.get(server).and_then(|live| live.instance.as_ref()) else {
            let message = format!("{} is just changing. Try again in a moment.", asks.agent.proper());
            return Err(Refusal::Busy { message, retry_after: 1 });
        };
        let mut lease =
            Lease::new(ticket, asks.agent.clone(), &*instance.endpoint, instance.key.clone(), using);
        let timeout = state.stack.agent(&asks.agent).and_then(|a| a.request_timeout);
        lease.max_seconds = timeout.map(|t| t.as_secs().max(1));
        // Our own servers know both the agent's name and the model's; only what they do not know is replaced.
        lease.model = match known_as(state, server) {
            Some(theirs) if theirs != asks.model => Some(theirs),
            None if *server != asks.agent => Some(server.to_string()),
            _ => None,
        };
        lease.story = story;
        Ok(lease)
    }

    fn step(&self, happening: Happening) {
        let (orders, tell) = {
            let mut desk = self.desk();
            let house = desk.house.clone();
            let now = self.now();
            let leases = matches!(happening, Happening::Left(_));
            let orders = desk.schedule.step(now, &house, happening);
            desk.show_restarts(&self.0.state);
            let granted = orders.iter().any(|o| matches!(o, Order::Grant { .. }));
            let tell = (leases || granted) && !std::mem::replace(&mut desk.told, true);
            (orders, tell)
        };
        if tell {
            self.to_do(ToDo::Leases);
        }
        self.carry_out(orders);
    }

    /// Each order is carried out with the lock let go: what is sent may be dropped by its receiver, and a lease that
    /// is dropped comes back here.
    fn carry_out(&self, orders: Vec<Order>) {
        for order in orders {
            match order {
                Order::Grant { ticket, server, story } => {
                    let seat = self.desk().seats.remove(&ticket);
                    let Some(seat) = seat else {
                        // Hung up between the grant and here.
                        self.step(Happening::Left(ticket));
                        continue;
                    };
                    self.0.recorder.leased(ticket, story.clone());
                    let lease = self.lease(&self.0.state.state(), ticket, &seat.wanted, &server, story);
                    let _ = seat.outcome.send(lease);
                }
                Order::Refuse { ticket, why, .. } => {
                    let seat = self.desk().seats.remove(&ticket);
                    self.0.recorder.gone(ticket);
                    if let Some(seat) = seat {
                        let _ = seat.outcome.send(Err(refusal(&seat.wanted.agent, why)));
                    }
                }
                Order::Wish { goal, to, gentle, because } => {
                    let mut desk = self.desk();
                    desk.abandoned = false;
                    desk.waking = match &goal {
                        domain::plan::Goal::Awake(agent) => Some(agent.clone()),
                        _ => None,
                    };
                    drop(desk);
                    self.to_do(ToDo::Wish { goal, to, gentle, because });
                }
                Order::RestartForgotten { agent, because } => {
                    self.to_do(ToDo::Forgotten { agent, because });
                }
                Order::Keep => {
                    let kept = self.desk().schedule.kept().clone();
                    self.to_do(ToDo::Keep(kept));
                }
            }
        }
    }

    fn to_do(&self, what: ToDo) {
        // Nobody receives when the controller ends.
        let _ = self.0.to_do.send(what);
    }

    fn take(&self) {
        let state = self.0.state.state();
        self.desk().take(&state);
    }

    /// Every agent as `/v1/models` shows it.
    pub(crate) fn models(&self) -> Arc<[Model]> {
        self.desk().models.clone()
    }

    /// Has the schedule see the household as it is now.
    fn look(&self) {
        self.take();
        self.step(Happening::Looked);
    }

    /// No request is let in any more that a drain would have to wait for.
    pub(crate) fn close(&self, agent: &AgentName) {
        self.step(Happening::Closed(agent.clone()));
    }

    pub(crate) fn open(&self, agent: &AgentName) {
        // What is asleep by now must not be taken for what was ready before.
        self.take();
        self.step(Happening::Opened(agent.clone()));
    }

    /// Leases that are out right now.
    pub(crate) fn count(&self, agent: &AgentName) -> u32 {
        self.desk().schedule.lease_count(agent)
    }

    /// Who waits to start again.
    pub(crate) fn restarts(&self) -> BTreeSet<AgentName> {
        self.desk().schedule.restarts().cloned().collect()
    }

    pub(crate) fn person(&self, act: PersonAct) {
        self.step(Happening::Person(act));
    }

    pub(crate) fn new_session(&self) {
        self.step(Happening::NewSession);
    }

    /// While it is paused nobody is woken and nothing is taken for tools.
    pub(crate) async fn pause(&self, paused: bool) {
        self.0.state.tell(Event::Paused(paused)).await;
        self.look();
    }

    pub(crate) fn kept(&self) -> Kept {
        self.desk().schedule.kept().clone()
    }

    /// When the session ends by itself, by the wall's clock.
    pub(crate) fn session_end(&self) -> i64 {
        self.desk().schedule.session_end()
    }

    /// What is used of a tier's budget, its limit, and until when its cooldown lasts.
    pub(crate) fn budget(&self, tier: Tier) -> Budget {
        let desk = self.desk();
        desk.schedule.budget(&desk.house, tier, self.now())
    }
}

fn order_for(order: &Order) -> Option<Ticket> {
    match order {
        Order::Grant { ticket, .. } | Order::Refuse { ticket, .. } => Some(*ticket),
        Order::Wish { .. } | Order::RestartForgotten { .. } | Order::Keep => None,
    }
}

fn models(state: &State) -> Arc<[Model]> {
    state
        .stack
        .agents
        .iter()
        .map(|a| Model {
            id: a.name.clone(),
            model: a.model.clone(),
            state: state.live(&a.name).map_or(domain::AgentState::Asleep, |l| l.state),
            max_model_len: a.context,
        })
        .collect()
}

fn unknown_model(models: &[Model], wanted: &Wanted) -> Refusal {
    let allowed = |m: &&Model| wanted.client.agents.as_ref().is_none_or(|a| a.contains(&m.id));
    let names: Vec<&str> = models.iter().filter(allowed).map(|m| m.id.as_str()).collect();
    let message =
        format!("There is no agent or model {:?}. Ask for one of: {}.", wanted.model, names.join(", "));
    Refusal::UnknownModel { message }
}

/// The name that a server of others, or Ollama, knows its model by. `None` for our own, which knows its agent's name.
pub(crate) fn known_as(state: &State, server: &AgentName) -> Option<String> {
    let agent = state.stack.agent(server)?;
    match agent.runs {
        Runs::External { .. } | Runs::Ollama { .. } => Some(agent.model.clone()),
        Runs::Container { .. } | Runs::Process { .. } => None,
    }
}

/// The schedule's no, as the gateway says it.
fn refusal(agent: &AgentName, why: Denied) -> Refusal {
    let both = |message: String, next: String| {
        if next.is_empty() { message } else { format!("{message} {next}") }
    };
    match why {
        Denied::QueueFull { message, retry_after } => Refusal::QueueFull { message, retry_after },
        Denied::TooOften { message, retry_after, .. } => Refusal::TooOften { message, retry_after },
        Denied::DoesNotFit { message, next } => Refusal::DoesNotFit { message: both(message, next) },
        Denied::Failed { message, next, retry_after: Some(retry_after) }
        | Denied::Asleep { message, next, retry_after: Some(retry_after) } => {
            Refusal::Busy { message: both(message, next), retry_after }
        }
        Denied::Failed { message, next, retry_after: None } => {
            Refusal::Failed { agent: agent.clone(), message, next }
        }
        Denied::Asleep { message, next, retry_after: None } => {
            Refusal::Asleep { agent: agent.clone(), message, next }
        }
    }
}
