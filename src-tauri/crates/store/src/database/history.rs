//! What happened, how long starts took, and settings.

use jiff::Timestamp;
use rusqlite::{OptionalExtension, params};
use serde_json::Value;

use super::{Database, Result, to_millis, to_time};

/// Older events are forgotten.
pub const EVENTS_KEPT: u32 = 5000;

/// Of how many starts the median is taken: enough to forget one cold start, few enough to follow a new disk.
const STARTS_COUNTED: u32 = 5;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    pub id: i64,
    pub time: Timestamp,
    pub severity: Severity,
    pub agent: Option<String>,
    pub message: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Severity {
    Info,
    Warning,
    Error,
}

impl Severity {
    fn word(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Warning => "warning",
            Self::Error => "error",
        }
    }

    fn from_word(word: &str) -> Self {
        match word {
            "info" => Self::Info,
            "warning" => Self::Warning,
            _ => Self::Error,
        }
    }
}

impl Database {
    pub fn add_event(
        &mut self,
        time: Timestamp,
        severity: Severity,
        agent: Option<&str>,
        message: &str,
    ) -> Result<i64> {
        let transaction = self.connection.transaction()?;
        transaction.execute(
            "INSERT INTO events (time, severity, agent, message) VALUES (?1, ?2, ?3, ?4)",
            params![to_millis(time), severity.word(), agent, message],
        )?;
        let id = transaction.last_insert_rowid();
        // Numbers are never used again, so this counts rows without counting.
        transaction.execute("DELETE FROM events WHERE id <= ?1", [id - i64::from(EVENTS_KEPT)])?;
        transaction.commit()?;
        Ok(id)
    }

    /// The latest first.
    pub fn events(&self, limit: u32) -> Result<Vec<Event>> {
        let mut statement = self.connection.prepare_cached(
            "SELECT id, time, severity, agent, message FROM events ORDER BY id DESC LIMIT ?1",
        )?;
        let rows = statement.query_map([limit], |row| {
            Ok(Event {
                id: row.get(0)?,
                time: to_time(row.get(1)?),
                severity: Severity::from_word(&row.get::<_, String>(2)?),
                agent: row.get(3)?,
                message: row.get(4)?,
            })
        })?;
        Ok(rows.collect::<rusqlite::Result<_>>()?)
    }

    /// A start that ended in ready. Figures that are no times are not kept.
    pub fn record_start(&mut self, agent: &str, revision: &str, seconds: f64, now: Timestamp) -> Result<()> {
        if !seconds.is_finite() || seconds < 0.0 {
            return Ok(());
        }
        let transaction = self.connection.transaction()?;
        transaction.execute(
            "INSERT INTO starts (agent, revision, seconds, time) VALUES (?1, ?2, ?3, ?4)",
            params![agent, revision, seconds, to_millis(now)],
        )?;
        transaction.execute(
            "DELETE FROM starts WHERE agent = ?1 AND id NOT IN
             (SELECT id FROM starts WHERE agent = ?1 ORDER BY id DESC LIMIT 100)",
            [agent],
        )?;
        transaction.commit()?;
        Ok(())
    }

    /// The median of the last starts, if there was any.
    pub fn start_seconds(&self, agent: &str) -> Result<Option<f64>> {
        let mut statement = self
            .connection
            .prepare_cached("SELECT seconds FROM starts WHERE agent = ?1 ORDER BY id DESC LIMIT ?2")?;
        let seconds = statement.query_map(params![agent, STARTS_COUNTED], |row| row.get(0))?;
        Ok(median(seconds.collect::<rusqlite::Result<_>>()?))
    }

    /// None where it was never set, or holds what is no JSON.
    pub fn setting(&self, key: &str) -> Result<Option<Value>> {
        let text: Option<String> = self
            .connection
            .query_row("SELECT value FROM settings WHERE key = ?1", [key], |row| row.get(0))
            .optional()?;
        Ok(text.and_then(|t| serde_json::from_str(&t).ok()))
    }

    pub fn set_setting(&self, key: &str, value: &Value) -> Result<()> {
        self.connection.execute(
            "INSERT INTO settings (key, value) VALUES (?1, ?2) ON CONFLICT (key) DO UPDATE SET value = excluded.value",
            params![key, value.to_string()],
        )?;
        Ok(())
    }
}

fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    let upper = values.get(middle).copied()?;
    if values.len() % 2 == 1 {
        return Some(upper);
    }
    let lower = middle.checked_sub(1).and_then(|n| values.get(n)).copied()?;
    Some(f64::midpoint(lower, upper))
}
