//! What is asked of the gateway: who waits and runs right now, what became of those that ended, and the sums that
//! `/metrics` shows.
//!
//! Whoever tells of something never waits here: a line in a list, and a task of its own writes to the database. A
//! database that is locked or full costs rows of the record, never a request.

mod counters;
mod export;
#[cfg(test)]
pub(crate) mod tests;
mod under_way;

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use api::shapes::gateway::{RequestOutcome, RequestRow, Requests, RequestsQuery};
use domain::agent::AgentName;
use domain::schedule::{Place, Ticket};
use jiff::{SignedDuration, Timestamp};
use store::database::{Database, EndedRequest, KeptRequest, RequestsPage};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep, timeout};

pub(crate) use self::counters::{Counters, Histogram};
pub(crate) use self::export::export;
use self::under_way::UnderWay;

/// How long rows gather before they are written together.
const GATHER: Duration = Duration::from_millis(500);
/// So many are written before that time is over.
const BATCH: usize = 200;
/// How many rows wait at most for a database that does not take them; beyond, the oldest are lost, and counted.
const MOST_WAITING: usize = 10_000;
/// After a refusal of the database, how long until the next try; doubled up to the second.
const AGAIN: (Duration, Duration) = (Duration::from_secs(5), Duration::from_secs(60));
/// Longer names and sentences are cut: what a client says of itself is not bounded by anything else.
const LONGEST_NAME: usize = 100;
const LONGEST_WHY: usize = 1000;
/// How many rows a page of the record has when nobody says, and at most.
const PAGE: u32 = 100;
const LARGEST_PAGE: u32 = 1000;

/// A request that was let in.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub(crate) ticket: Ticket,
    pub(crate) client: Arc<str>,
    /// As asked for: may be a role on another agent's server.
    pub(crate) agent: AgentName,
    pub(crate) path: String,
    pub(crate) stream: bool,
    /// When it came.
    pub(crate) since: Timestamp,
}

/// The record of the gateway's requests. Clones are the same record.
#[derive(Clone)]
pub(crate) struct Recorder {
    inner: Arc<Inner>,
}

struct Inner {
    under_way: Mutex<UnderWay>,
    waiting: Mutex<VecDeque<EndedRequest>>,
    counters: Mutex<Counters>,
    /// Rows that the database never took.
    lost: AtomicU64,
    /// Something happened that readers may want to see.
    something: Notify,
    /// There are as many rows as are written at once.
    full: Notify,
    database: Arc<Mutex<Database>>,
    /// One writes at a time, so that rows keep their order.
    writing: tokio::sync::Mutex<()>,
}

fn lock<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Recorder {
    pub(crate) fn new(database: Arc<Mutex<Database>>) -> Self {
        Self {
            inner: Arc::new(Inner {
                under_way: Mutex::default(),
                waiting: Mutex::default(),
                counters: Mutex::default(),
                lost: AtomicU64::new(0),
                something: Notify::new(),
                full: Notify::new(),
                database,
                writing: tokio::sync::Mutex::new(()),
            }),
        }
    }

    /// A request has a place in a queue, or a lease at once: then [`Self::leased`] follows.
    pub(crate) fn under_way(&self, entry: Entry) {
        lock(&self.inner.under_way).come(entry);
        self.inner.something.notify_one();
    }

    /// It has its agent. `story`: why it waited.
    pub(crate) fn leased(&self, ticket: Ticket, story: Option<String>) {
        lock(&self.inner.under_way).leased(ticket, story, Timestamp::now());
        self.inner.something.notify_one();
    }

    pub(crate) fn placed(&self, ticket: Ticket, place: Place) {
        if lock(&self.inner.under_way).placed(ticket, place) {
            self.inner.something.notify_one();
        }
    }

    /// It is under way no more. Harmless for one that is not known, or was told of before.
    pub(crate) fn gone(&self, ticket: Ticket) {
        if lock(&self.inner.under_way).gone(ticket) {
            self.inner.something.notify_one();
        }
    }

    /// A request came to its end; it is gone from those under way, too.
    pub(crate) fn ended(&self, record: bifrost::Record) {
        if let Some(ticket) = record.ticket {
            lock(&self.inner.under_way).gone(ticket);
        }
        lock(&self.inner.counters).count(&record);
        let row = row_of(record, Timestamp::now());
        let rows = {
            let mut waiting = lock(&self.inner.waiting);
            if waiting.len() >= MOST_WAITING {
                waiting.pop_front();
                self.inner.lost.fetch_add(1, Ordering::Relaxed);
            }
            waiting.push_back(row);
            waiting.len()
        };
        self.inner.something.notify_one();
        if rows == BATCH {
            self.inner.full.notify_one();
        }
    }

    /// Rows that were never written, since the start.
    pub(crate) fn lost(&self) -> u64 {
        self.inner.lost.load(Ordering::Relaxed)
    }

    /// A copy of the sums since the start.
    pub(crate) fn counters(&self) -> Counters {
        lock(&self.inner.counters).clone()
    }

    /// How many wait for each agent, and how many have it.
    pub(crate) fn crowd(&self) -> std::collections::BTreeMap<AgentName, (u32, u32)> {
        lock(&self.inner.under_way).crowd()
    }

    /// Writes what waits to be written. Whether the database took all of it.
    pub(crate) async fn flush(&self) -> bool {
        let _one = self.inner.writing.lock().await;
        loop {
            let batch: Vec<EndedRequest> = {
                let mut waiting = lock(&self.inner.waiting);
                let many = waiting.len().min(BATCH);
                waiting.drain(..many).collect()
            };
            if batch.is_empty() {
                return true;
            }
            let database = self.inner.database.clone();
            let done = tokio::task::spawn_blocking(move || {
                let outcome = lock(&database).add_requests(&batch, Timestamp::now());
                (batch, outcome)
            });
            match done.await {
                Ok((_, Ok(()))) => {}
                Ok((batch, Err(error))) => {
                    tracing::debug!("Requests are not recorded for now: {error}");
                    self.put_back(batch);
                    return false;
                }
                // The runtime ends.
                Err(_) => return false,
            }
        }
    }

    /// Before those that came since; what is too much is lost, the oldest first.
    fn put_back(&self, batch: Vec<EndedRequest>) {
        let mut waiting = lock(&self.inner.waiting);
        for row in batch.into_iter().rev() {
            if waiting.len() >= MOST_WAITING {
                self.inner.lost.fetch_add(1, Ordering::Relaxed);
            } else {
                waiting.push_front(row);
            }
        }
    }

    /// Writes what ends, and tells readers that there is something new, twice a second at most and only while
    /// somebody looks. Sleeps as long as nothing is asked of the gateway.
    pub(crate) async fn run(self, looked_at: impl Fn() -> bool, tell: impl Fn()) {
        let mut refused: Option<(Instant, Duration)> = None;
        loop {
            match refused {
                // Rows wait that the database did not take: they are tried again without anything having happened.
                Some((again, _)) => {
                    let _ = tokio::time::timeout_at(again, self.inner.something.notified()).await;
                }
                None => self.inner.something.notified().await,
            }
            let _ = timeout(GATHER, self.inner.full.notified()).await;
            if refused.is_none_or(|(again, _)| Instant::now() >= again) {
                if self.flush().await {
                    if refused.take().is_some() {
                        tracing::info!("Requests are recorded again.");
                    }
                } else {
                    let pause = refused.map_or(AGAIN.0, |(_, last)| (last * 2).min(AGAIN.1));
                    if refused.is_none() {
                        tracing::warn!(
                            "The database does not take the record of requests for now; up to {MOST_WAITING} \
                             rows wait for it."
                        );
                    }
                    refused = Some((Instant::now() + pause, pause));
                }
            }
            if looked_at() {
                tell();
                // A burst fills batches faster than anybody reads.
                sleep(GATHER).await;
            }
        }
    }

    /// A page of the record, with those under way.
    pub(crate) async fn page(&self, asked: &RequestsQuery) -> Result<Requests, api::ApiError> {
        // What has just ended is in no list until it is written.
        self.flush().await;
        let under_way = lock(&self.inner.under_way).rows(asked, Timestamp::now());
        let limit = if asked.limit == 0 { PAGE } else { asked.limit.min(LARGEST_PAGE) };
        let page = RequestsPage {
            limit,
            before: asked.before,
            agent: asked.agent.clone(),
            client: asked.client.clone(),
        };
        let ended = self.read(move |db| db.requests(&page)).await?;
        Ok(Requests { under_way, ended: ended.into_iter().map(shape).collect() })
    }

    /// Reads off the async threads.
    async fn read<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Database) -> Result<T, store::database::DatabaseError> + Send + 'static,
    ) -> Result<T, api::ApiError> {
        let database = self.inner.database.clone();
        let read = tokio::task::spawn_blocking(move || work(&lock(&database))).await;
        let next = "Try again in a moment.";
        match read {
            Ok(Ok(read)) => Ok(read),
            Ok(Err(error)) => Err(api::ApiError::new(api::Code::Failed, error.to_string(), next)),
            Err(_) => {
                Err(api::ApiError::new(api::Code::Failed, "The record of requests could not be read.", next))
            }
        }
    }
}

fn row_of(record: bifrost::Record, now: Timestamp) -> EndedRequest {
    let came = SignedDuration::try_from(record.took).ok().and_then(|took| now.checked_sub(took).ok());
    EndedRequest {
        time: came.unwrap_or(now),
        client: cut(&record.client, LONGEST_NAME),
        agent: record.agent.map(|a| a.to_string()),
        path: cut(&record.path, LONGEST_NAME),
        stream: record.stream,
        outcome: record.outcome.word().to_owned(),
        status: record.status,
        prompt_tokens: record.prompt_tokens,
        completion_tokens: record.completion_tokens,
        counted: record.counted,
        queued_ms: millis(record.queued),
        first_token_ms: record.first_token.map(millis),
        tokens_per_second: record.tokens_per_second.filter(|s| s.is_finite()),
        took_ms: millis(record.took),
        why: record.why.map(|why| cut(&why, LONGEST_WHY)),
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

fn cut(text: &str, most: usize) -> String {
    match text.char_indices().nth(most) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text.to_owned(),
    }
}

fn shape(kept: KeptRequest) -> RequestRow {
    let request = kept.request;
    RequestRow {
        id: Some(kept.id),
        time: request.time.to_string(),
        client: request.client,
        agent: request.agent,
        path: request.path,
        stream: request.stream,
        outcome: match request.outcome.as_str() {
            "done" => RequestOutcome::Done,
            "refused" => RequestOutcome::Refused,
            "broken" => RequestOutcome::Broken,
            "left" => RequestOutcome::Left,
            _ => RequestOutcome::Error,
        },
        status: Some(request.status),
        prompt_tokens: request.prompt_tokens,
        completion_tokens: request.completion_tokens,
        counted: request.counted,
        queued_seconds: seconds(request.queued_ms),
        first_token_seconds: request.first_token_ms.map(seconds),
        tokens_per_second: request.tokens_per_second,
        seconds: seconds(request.took_ms),
        place: None,
        why: request.why,
    }
}

fn seconds(millis: u64) -> f64 {
    millis as f64 / 1000.0
}
