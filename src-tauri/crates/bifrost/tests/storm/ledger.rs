//! Who stands behind the gateway in a campaign: gives, delays and refuses by the word in the request's model, and
//! keeps account of what it gave.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bifrost::{
    Asked, Client, Control, ControlAnswer, Dispatch, Lease, Model, Outcome, Presented, Record, Refusal,
    Waiting, Wanted,
};
use domain::schedule::{Place, Ticket};
use domain::secret::Secret;
use domain::{AgentName, AgentState};
use serde_json::Value;
use tokio::sync::{oneshot, watch};

use super::agent::Board;

/// How a request is dealt with. Its word is the agent that the request names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deal {
    Grant,
    Refuse,
    /// Waits, hears of another place, and is granted.
    WaitGrant,
    WaitRefuse,
    /// The controller ends while it waits.
    WaitForget,
    /// Waits until the client is gone.
    WaitEver,
    /// Granted, and nobody listens at the agent's port.
    Deaf,
}

impl Deal {
    pub const ALL: [Self; 7] = [
        Self::Grant,
        Self::Refuse,
        Self::WaitGrant,
        Self::WaitRefuse,
        Self::WaitForget,
        Self::WaitEver,
        Self::Deaf,
    ];

    pub fn word(self) -> &'static str {
        match self {
            Self::Grant => "grant",
            Self::Refuse => "refuse",
            Self::WaitGrant => "waitgrant",
            Self::WaitRefuse => "waitrefuse",
            Self::WaitForget => "waitforget",
            Self::WaitEver => "waitever",
            Self::Deaf => "deaf",
        }
    }

    pub fn waits(self) -> bool {
        matches!(self, Self::WaitGrant | Self::WaitRefuse | Self::WaitForget | Self::WaitEver)
    }

    /// Whether a lease comes of it in the end.
    pub fn reaches_the_agent(self) -> bool {
        matches!(self, Self::Grant | Self::WaitGrant)
    }
}

pub struct Ledger {
    models: Arc<[Model]>,
    endpoint: Arc<str>,
    deaf: Arc<str>,
    books: Arc<Mutex<Books>>,
    /// Counts what changed, for whoever waits.
    changed: watch::Sender<u64>,
    tickets: AtomicU64,
    board: Board,
}

#[derive(Default)]
struct Books {
    /// How often each client was let in, by its user agent.
    admitted: HashMap<String, u32>,
    records: HashMap<String, Vec<Record>>,
    leases: Vec<Ticket>,
    places: Vec<Ticket>,
    leases_given: u64,
    places_given: u64,
    /// What came back that was not out.
    twice: Vec<Ticket>,
}

#[derive(Clone, Copy)]
enum Kind {
    Lease,
    Place,
}

/// Tells the books that something came back.
struct Back {
    kind: Kind,
    ticket: Ticket,
    books: Arc<Mutex<Books>>,
    changed: watch::Sender<u64>,
}

impl Drop for Back {
    fn drop(&mut self) {
        let mut books = self.books.lock().unwrap();
        let out = match self.kind {
            Kind::Lease => &mut books.leases,
            Kind::Place => &mut books.places,
        };
        match out.iter().position(|t| *t == self.ticket) {
            Some(at) => drop(out.swap_remove(at)),
            None => books.twice.push(self.ticket),
        }
        drop(books);
        self.changed.send_modify(|n| *n += 1);
    }
}

impl Ledger {
    /// `board` is shown who waits for ever.
    pub fn new(agent: SocketAddr, board: Board) -> Self {
        let model = |deal: &Deal| Model {
            id: AgentName::new(deal.word()).unwrap(),
            model: format!("models/{}", deal.word()),
            state: AgentState::Ready,
            max_model_len: 32768,
        };
        Self {
            models: Deal::ALL.iter().map(model).collect(),
            endpoint: format!("http://{agent}").into(),
            // Port 1 is nobody's.
            deaf: "http://127.0.0.1:1".into(),
            books: Arc::default(),
            changed: watch::channel(0).0,
            tickets: AtomicU64::new(1),
            board,
        }
    }

    fn back(&self, kind: Kind, ticket: Ticket) -> Back {
        let mut books = self.books.lock().unwrap();
        match kind {
            Kind::Lease => {
                books.leases.push(ticket);
                books.leases_given += 1;
            }
            Kind::Place => {
                books.places.push(ticket);
                books.places_given += 1;
            }
        }
        drop(books);
        Back { kind, ticket, books: Arc::clone(&self.books), changed: self.changed.clone() }
    }

    /// Everything is back, and everybody who was let in has a record.
    pub async fn settled(&self) {
        let mut changes = self.changed.subscribe();
        let done = || {
            let books = self.books.lock().unwrap();
            let recorded: usize = books.records.values().map(Vec::len).sum();
            let admitted: u32 = books.admitted.values().sum();
            books.leases.is_empty() && books.places.is_empty() && recorded >= admitted as usize
        };
        while !done() {
            changes.changed().await.unwrap();
        }
    }

    /// What is still out, in a sentence.
    pub fn open(&self) -> String {
        let books = self.books.lock().unwrap();
        let silent: Vec<&String> =
            books.admitted.keys().filter(|name| !books.records.contains_key(*name)).collect();
        format!(
            "leases {:?} and places {:?} never came back; without a record: {silent:?}.",
            books.leases, books.places
        )
    }

    /// Each request that was let in has one record, and the record tells what was.
    pub fn balance(&self) -> Result<(), String> {
        let books = self.books.lock().unwrap();
        if !books.twice.is_empty() {
            return Err(format!("tickets {:?} came back twice.", books.twice));
        }
        for (name, times) in &books.admitted {
            let records = books.records.get(name).map_or(&[][..], Vec::as_slice);
            if records.len() != *times as usize {
                return Err(format!("{name} was let in {times} times and has these records: {records:#?}"));
            }
        }
        for (name, records) in &books.records {
            if !books.admitted.contains_key(name) {
                return Err(format!("{name} was never let in and has these records: {records:#?}"));
            }
            for record in records {
                if let Some(wrong) = wrong(record) {
                    return Err(format!("the record of {name} {wrong}: {record:#?}"));
                }
            }
        }
        Ok(())
    }

    pub fn given(&self) -> (u64, u64) {
        let books = self.books.lock().unwrap();
        (books.leases_given, books.places_given)
    }

    fn lease(&self, ticket: Ticket, model: &Model) -> Lease {
        let deaf = model.id.as_str() == Deal::Deaf.word();
        let endpoint = if deaf { &self.deaf } else { &self.endpoint };
        let guard = self.back(Kind::Lease, ticket);
        Lease::new(ticket, model.id.clone(), Arc::clone(endpoint), Secret::new(""), guard)
    }
}

/// What no record may say.
fn wrong(record: &Record) -> Option<&'static str> {
    let ticketless = record.ticket.is_none();
    match record.outcome {
        Outcome::Done | Outcome::Error | Outcome::Broken if ticketless => {
            Some("tells of an answer without a lease")
        }
        Outcome::Done if !(200..400).contains(&record.status) => Some("is done with an error's status"),
        Outcome::Refused if record.status == 0 => Some("is refused without a status"),
        _ if record.queued > record.took + Duration::from_millis(5) => Some("waited longer than it took"),
        _ => None,
    }
}

fn refusal() -> Refusal {
    Refusal::Busy { message: "Not now.".to_owned(), retry_after: 1 }
}

#[async_trait]
impl Dispatch for Ledger {
    fn models(&self) -> Arc<[Model]> {
        Arc::clone(&self.models)
    }

    fn admit(&self, presented: &Presented<'_>) -> Result<Client, Refusal> {
        let name = presented.user_agent.unwrap_or("nameless");
        *self.books.lock().unwrap().admitted.entry(name.to_owned()).or_default() += 1;
        Ok(Client { name: name.into(), person: false, agents: None })
    }

    fn ask(&self, wanted: &Wanted) -> Asked {
        let Some(model) = bifrost::route(&self.models, &wanted.model).and_then(|at| self.models.get(at))
        else {
            return Asked::Refused(Refusal::UnknownModel { message: "There is none.".to_owned() });
        };
        let deal = Deal::ALL.into_iter().find(|d| d.word() == model.id.as_str()).unwrap();
        let ticket = self.tickets.fetch_add(1, Ordering::Relaxed);
        if deal == Deal::Refuse {
            return Asked::Refused(refusal());
        }
        if !deal.waits() {
            return Asked::Granted(self.lease(ticket, model));
        }
        let place = |place| Place {
            agent: model.id.clone(),
            place,
            stage: "Loading".to_owned(),
            seconds_left: Some(1.0),
        };
        if deal == Deal::WaitEver {
            self.board.show(&wanted.client.name);
        }
        let (places, at) = watch::channel(place(2));
        let (to, outcome) = oneshot::channel::<Result<Lease, Refusal>>();
        let waiting = Waiting::new(ticket, at, outcome, self.back(Kind::Place, ticket));
        let next = place(1);
        let granted = (deal == Deal::WaitGrant).then(|| self.lease(ticket, model));
        tokio::spawn(async move {
            tokio::task::yield_now().await;
            let _ = places.send(next);
            tokio::task::yield_now().await;
            match deal {
                Deal::WaitGrant => drop(to.send(Ok(granted.unwrap()))),
                Deal::WaitRefuse => drop(to.send(Err(refusal()))),
                Deal::WaitForget => drop(to),
                _ => {
                    let mut to = to;
                    to.closed().await;
                }
            }
        });
        Asked::Waiting(waiting)
    }

    async fn control(&self, _: Control, _: &Client) -> ControlAnswer {
        ControlAnswer::Refused(refusal())
    }

    async fn status(&self) -> Value {
        Value::Null
    }

    async fn metrics(&self) -> String {
        String::new()
    }

    fn record(&self, record: Record) {
        let name = record.client.to_string();
        self.books.lock().unwrap().records.entry(name).or_default().push(record);
        self.changed.send_modify(|n| *n += 1);
    }
}
