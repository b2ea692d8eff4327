//! What was asked of the gateway, one row a request, in the order in which they ended.
//!
//! Deliberately absent: what was asked and answered. Only who asked whom, how it went, and how long it took.

use jiff::{SignedDuration, Timestamp};
use rusqlite::{Row, params};

use super::{Database, Result, to_millis, to_time};

/// The oldest rows beyond these many are forgotten.
pub const REQUESTS_KEPT: u32 = 100_000;

/// Older rows are forgotten.
pub const REQUEST_DAYS_KEPT: i64 = 90;

/// How many rows go at once for their age, so that no batch waits long behind a controller that was off for months.
const FORGOTTEN_AT_ONCE: i64 = 5000;

/// A request that came to its end. Figures that are not known are `None`.
#[derive(Debug, Clone, PartialEq)]
pub struct EndedRequest {
    /// When it came.
    pub time: Timestamp,
    pub client: String,
    pub agent: Option<String>,
    pub path: String,
    pub stream: bool,
    /// The word of the outcome: "done", "refused", "error", "broken", "left".
    pub outcome: String,
    pub status: u16,
    pub prompt_tokens: Option<u64>,
    pub completion_tokens: Option<u64>,
    /// The completion tokens were counted by events, not said by the server.
    pub counted: bool,
    /// Until it had its agent.
    pub queued_ms: u64,
    /// From there to the first event with content.
    pub first_token_ms: Option<u64>,
    pub tokens_per_second: Option<f64>,
    pub took_ms: u64,
    pub why: Option<String>,
}

/// A row, with its number. Later rows have larger numbers; none is used twice.
#[derive(Debug, Clone, PartialEq)]
pub struct KeptRequest {
    pub id: i64,
    pub request: EndedRequest,
}

/// A page of rows, from the latest back.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RequestsPage {
    pub limit: u32,
    /// Those that ended before this one.
    pub before: Option<i64>,
    pub agent: Option<String>,
    pub client: Option<String>,
}

const COLUMNS: &str = "id, time, client, agent, path, stream, outcome, status, prompt_tokens, completion_tokens, \
                       counted, queued_ms, first_token_ms, tokens_per_second, took_ms, why";

impl Database {
    /// Keeps a batch in one transaction, and forgets what is beyond the limits.
    pub fn add_requests(&mut self, batch: &[EndedRequest], now: Timestamp) -> Result<()> {
        let transaction = self.connection.transaction()?;
        {
            let mut insert = transaction.prepare_cached(
                "INSERT INTO requests (time, client, agent, path, stream, outcome, status, prompt_tokens,
                 completion_tokens, counted, queued_ms, first_token_ms, tokens_per_second, took_ms, why)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15)",
            )?;
            for row in batch {
                insert.execute(params![
                    to_millis(row.time),
                    row.client,
                    row.agent,
                    row.path,
                    row.stream,
                    row.outcome,
                    row.status,
                    row.prompt_tokens.map(whole),
                    row.completion_tokens.map(whole),
                    row.counted,
                    whole(row.queued_ms),
                    row.first_token_ms.map(whole),
                    row.tokens_per_second.filter(|speed| speed.is_finite()),
                    whole(row.took_ms),
                    row.why,
                ])?;
            }
        }
        if !batch.is_empty() {
            // Numbers are never used again, so this counts rows without counting.
            let last = transaction.last_insert_rowid();
            transaction.execute("DELETE FROM requests WHERE id <= ?1", [last - i64::from(REQUESTS_KEPT)])?;
        }
        let oldest = now - SignedDuration::from_hours(24 * REQUEST_DAYS_KEPT);
        // Rows lie in the order of their ends: the look stops at the first that is young enough.
        transaction.execute(
            "DELETE FROM requests WHERE id <
                 min((SELECT id FROM requests ORDER BY id LIMIT 1) + ?2,
                     coalesce((SELECT id FROM requests WHERE time >= ?1 ORDER BY id LIMIT 1), 9223372036854775807))",
            params![to_millis(oldest), FORGOTTEN_AT_ONCE],
        )?;
        transaction.commit()?;
        Ok(())
    }

    /// The latest first.
    pub fn requests(&self, page: &RequestsPage) -> Result<Vec<KeptRequest>> {
        let mut statement = self.connection.prepare_cached(&format!(
            "SELECT {COLUMNS} FROM requests
             WHERE id < ?1 AND (?2 IS NULL OR agent = ?2) AND (?3 IS NULL OR client = ?3)
             ORDER BY id DESC LIMIT ?4"
        ))?;
        let before = page.before.unwrap_or(i64::MAX);
        let rows = statement.query_map(params![before, page.agent, page.client, page.limit], kept)?;
        Ok(rows.collect::<rusqlite::Result<_>>()?)
    }

    /// The oldest first, from behind `after`: for walking through all of them piece by piece, so that nobody waits
    /// for the database meanwhile. 0 is the beginning.
    pub fn requests_after(&self, after: i64, limit: u32) -> Result<Vec<KeptRequest>> {
        let mut statement = self
            .connection
            .prepare_cached(&format!("SELECT {COLUMNS} FROM requests WHERE id > ?1 ORDER BY id LIMIT ?2"))?;
        let rows = statement.query_map(params![after, limit], kept)?;
        Ok(rows.collect::<rusqlite::Result<_>>()?)
    }
}

/// SQLite's numbers are signed.
fn whole(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn kept(row: &Row<'_>) -> rusqlite::Result<KeptRequest> {
    let number = |index| row.get::<_, Option<i64>>(index).map(|n| n.and_then(|n| u64::try_from(n).ok()));
    Ok(KeptRequest {
        id: row.get(0)?,
        request: EndedRequest {
            time: to_time(row.get(1)?),
            client: row.get(2)?,
            agent: row.get(3)?,
            path: row.get(4)?,
            stream: row.get(5)?,
            outcome: row.get(6)?,
            status: row.get(7)?,
            prompt_tokens: number(8)?,
            completion_tokens: number(9)?,
            counted: row.get(10)?,
            queued_ms: number(11)?.unwrap_or(0),
            first_token_ms: number(12)?,
            tokens_per_second: row.get(13)?,
            took_ms: number(14)?.unwrap_or(0),
            why: row.get(15)?,
        },
    })
}
