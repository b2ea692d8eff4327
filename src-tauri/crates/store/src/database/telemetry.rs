//! How full the pools were, and what the servers said of themselves: each reading for an hour, one row a minute for a
//! week, one row an hour for a year. Mean and maximum are kept.
//!
//! A *series* is one figure of a pool, of an agent on a pool, or of an agent; rows name it by its number. Values are
//! whole numbers in the series' own small unit (KiB, ten thousandths, milliseconds), times are seconds since 1970:
//! SQLite keeps those in three or four bytes each. A year of six agents stays below 40 MB.
//!
//! Readings are kept by time, so that one reading touches one or two pages; minutes and hours by series, so that a
//! history is read in one sweep. Rows of the second kind are written ten minutes at a time.
//!
//! Deliberately absent: zeros of agents that sleep. Where the pool was read and an agent was not, it held nothing.

mod roll;

use std::collections::BTreeMap;

use jiff::Timestamp;
use rusqlite::{OptionalExtension, params};

pub use self::roll::{HOURS_KEPT, MINUTES_KEPT, RAW_KEPT};
use super::{Database, Result};

/// What a server says of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Figure {
    /// Share of the KV cache, 0 to 1.
    KvCacheUsed,
    TokensPerSecond,
    /// Requests under way.
    Running,
    /// Requests that wait.
    Waiting,
    /// Seconds.
    TimeToFirstToken,
    /// Requests put back, a minute.
    Preemptions,
}

impl Figure {
    pub const ALL: [Self; 6] = [
        Self::KvCacheUsed,
        Self::TokensPerSecond,
        Self::Running,
        Self::Waiting,
        Self::TimeToFirstToken,
        Self::Preemptions,
    ];

    /// How the series is called in the database and in requests.
    pub fn word(self) -> &'static str {
        match self {
            Self::KvCacheUsed => "kv_cache_used",
            Self::TokensPerSecond => "tokens_per_second",
            Self::Running => "running",
            Self::Waiting => "waiting",
            Self::TimeToFirstToken => "time_to_first_token",
            Self::Preemptions => "preemptions",
        }
    }

    /// Small units in one.
    fn scale(self) -> f64 {
        match self {
            Self::KvCacheUsed => 10_000.0,
            Self::TimeToFirstToken => 1000.0,
            Self::TokensPerSecond | Self::Running | Self::Waiting | Self::Preemptions => 100.0,
        }
    }
}

/// Memory is kept in KiB: the rehearsal's pool has 128 MB, and a year of bytes would take twice the room.
const KIB: f64 = 1024.0;

/// A pool at one moment. All in bytes.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PoolSample {
    pub pool: String,
    pub capacity: Option<u64>,
    pub limit: Option<u64>,
    pub used: u64,
    pub other: u64,
    pub lost: u64,
    /// What each agent held; those that sleep are left out.
    pub held: Vec<(String, u64)>,
}

/// An agent's figures at one moment; what it does not say is left out.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct AgentFigures {
    pub agent: String,
    pub figures: Vec<(Figure, f64)>,
}

/// One reading of everything.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Sample {
    pub pools: Vec<PoolSample>,
    pub agents: Vec<AgentFigures>,
}

/// A figure over a short while that begins at `time` (seconds since 1970).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Point {
    pub time: i64,
    pub mean: f64,
    pub max: f64,
}

/// A pool over time. All in bytes.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct PoolHistory {
    pub capacity: Vec<Point>,
    pub limit: Vec<Point>,
    pub used: Vec<Point>,
    pub other: Vec<Point>,
    pub lost: Vec<Point>,
    /// Each agent's bytes at the moments when it held some, by name.
    pub agents: Vec<(String, Vec<Point>)>,
}

/// A series' row, whatever grain it is of.
struct Row {
    time: i64,
    mean: f64,
    max: f64,
    /// Readings in a minute, minutes in an hour.
    n: f64,
    /// Minutes that it stands for.
    weight: f64,
}

/// A whole number in the small unit; `None` for what is no figure.
fn whole(value: f64, scale: f64) -> Option<i64> {
    let value = (value * scale).round();
    // Every figure is zero or more, and 10^17 KiB is more than any machine has.
    #[expect(clippy::cast_possible_truncation, reason = "bounded just here")]
    (value.is_finite() && (0.0..=1e17).contains(&value)).then_some(value as i64)
}

impl Database {
    /// Keeps a reading, and from time to time rolls up what is old. Two readings of one second are one.
    ///
    /// # Errors
    /// The disk is full or cannot be written: nothing of this reading is kept, and what was kept before stays.
    pub fn record_telemetry(&mut self, sample: &Sample, now: Timestamp) -> Result<()> {
        let time = now.as_second();
        let transaction = self.connection.transaction()?;
        {
            let put = |pool: &str, agent: &str, figure: &str, value: Option<i64>| -> Result<()> {
                let Some(value) = value else { return Ok(()) };
                let series = series_made(&transaction, pool, agent, figure)?;
                transaction
                    .prepare_cached(
                        "INSERT OR REPLACE INTO telemetry_raw (time, series, value) VALUES (?1, ?2, ?3)",
                    )?
                    .execute(params![time, series, value])?;
                Ok(())
            };
            let kib = |bytes: u64| whole(bytes as f64, 1.0 / KIB);
            for pool in &sample.pools {
                for (figure, bytes) in [
                    ("capacity", pool.capacity),
                    ("limit", pool.limit),
                    ("used", Some(pool.used)),
                    ("other", Some(pool.other)),
                    ("lost", Some(pool.lost)),
                ] {
                    put(&pool.pool, "", figure, bytes.and_then(kib))?;
                }
                for (agent, bytes) in &pool.held {
                    put(&pool.pool, agent, "held", kib(*bytes))?;
                }
            }
            for agent in &sample.agents {
                for (figure, value) in &agent.figures {
                    put("", &agent.agent, figure.word(), whole(*value, figure.scale()))?;
                }
            }
        }
        transaction.commit()?;
        roll::settle(&mut self.connection, time)
    }

    /// The pools that something is known of, by their ids.
    pub fn telemetry_pools(&self) -> Result<Vec<String>> {
        self.names("SELECT DISTINCT pool FROM telemetry_series WHERE figure = 'used' ORDER BY pool")
    }

    /// The agents whose figures are known.
    pub fn telemetry_agents(&self) -> Result<Vec<String>> {
        self.names(
            "SELECT DISTINCT agent FROM telemetry_series WHERE pool = '' AND agent <> '' ORDER BY agent",
        )
    }

    fn names(&self, sql: &str) -> Result<Vec<String>> {
        let mut query = self.connection.prepare_cached(sql)?;
        let rows = query.query_map([], |row| row.get(0))?;
        Ok(rows.collect::<rusqlite::Result<_>>()?)
    }

    /// A pool from `from` to `to`, one point for each `step` seconds or for each row where those are further apart.
    /// Empty where nothing was kept.
    pub fn pool_history(&self, pool: &str, from: Timestamp, to: Timestamp, step: i64) -> Result<PoolHistory> {
        let mut query = self.connection.prepare_cached(
            "SELECT id, agent, figure FROM telemetry_series WHERE pool = ?1 ORDER BY agent, figure",
        )?;
        let found = query.query_map([pool], |row| Ok((row.get(0)?, (row.get(1)?, row.get(2)?))))?;
        let series: Vec<(i64, (String, String))> = found.collect::<rusqlite::Result<_>>()?;
        let ids: Vec<i64> = series.iter().map(|(id, _)| *id).collect();
        let mut rows = self.rows(&ids, from, to)?;
        let used =
            series.iter().find(|(_, (_, figure))| figure == "used").and_then(|(id, _)| rows.remove(id));
        let used = used.unwrap_or_default();
        // An agent that held something for a part of an hour held that much less in its mean.
        let covered: BTreeMap<i64, f64> = used.iter().map(|r| (r.time, r.n)).collect();
        let mut whole = BTreeMap::new();
        for row in &used {
            *whole.entry(bucket(row.time, step)).or_insert(0.0) += row.weight;
        }
        let mut history = PoolHistory { used: bucketed(&used, step, KIB, None), ..PoolHistory::default() };
        for (id, (agent, figure)) in series {
            let Some(mut rows) = rows.remove(&id).filter(|rows| !rows.is_empty()) else { continue };
            match figure.as_str() {
                "capacity" => history.capacity = bucketed(&rows, step, KIB, None),
                "limit" => history.limit = bucketed(&rows, step, KIB, None),
                "other" => history.other = bucketed(&rows, step, KIB, None),
                "lost" => history.lost = bucketed(&rows, step, KIB, None),
                _ => {
                    for row in &mut rows {
                        if let Some(n) = covered.get(&row.time).filter(|n| **n > 0.0) {
                            row.mean *= (row.n / n).min(1.0);
                        }
                    }
                    history.agents.push((agent, bucketed(&rows, step, KIB, Some(&whole))));
                }
            }
        }
        Ok(history)
    }

    /// The figures of an agent, each in its unit. Points only where the agent was asked and said something.
    pub fn figure_history(
        &self,
        agent: &str,
        from: Timestamp,
        to: Timestamp,
        step: i64,
    ) -> Result<Vec<(Figure, Vec<Point>)>> {
        let mut series = Vec::new();
        for figure in Figure::ALL {
            series.extend(self.series("", agent, figure.word())?.map(|id| (figure, id)));
        }
        let ids: Vec<i64> = series.iter().map(|(_, id)| *id).collect();
        let rows = self.rows(&ids, from, to)?;
        let points = |(figure, id): (Figure, i64)| {
            let points = bucketed(rows.get(&id)?, step, 1.0 / figure.scale(), None);
            (!points.is_empty()).then_some((figure, points))
        };
        Ok(series.into_iter().filter_map(points).collect())
    }

    /// The highest share of its KV cache that an agent was seen to use since then (0 to 1), and how many hours of
    /// being awake that is known from. `None` where it said nothing in that time.
    pub fn kv_peak(&self, agent: &str, since: Timestamp) -> Result<Option<(f64, f64)>> {
        let figure = Figure::KvCacheUsed;
        let Some(series) = self.series("", agent, figure.word())? else { return Ok(None) };
        let rolled = roll::until(&self.connection, "minutes")?.unwrap_or(0);
        let since = since.as_second();
        let sql =
            "SELECT max(max), count(*) FROM telemetry_minutes WHERE series = ?1 AND time >= ?2 AND time < ?3";
        let read = |row: &rusqlite::Row<'_>| Ok((row.get::<_, Option<i64>>(0)?, row.get::<_, i64>(1)?));
        let (kept, minutes) = self.connection.query_row(sql, params![series, since, rolled], read)?;
        let sql = "SELECT max(value), count(DISTINCT time / 60) FROM telemetry_raw WHERE time >= ?2 AND series = ?1";
        let (fresh, later) = self.connection.query_row(sql, params![series, since.max(rolled)], read)?;
        let Some(peak) = kept.max(fresh) else { return Ok(None) };
        Ok(Some((peak as f64 / figure.scale(), (minutes + later) as f64 / 60.0)))
    }

    fn series(&self, pool: &str, agent: &str, figure: &str) -> Result<Option<i64>> {
        series_known(&self.connection, pool, agent, figure)
    }

    /// The rows of series: hours where minutes are no longer kept, minutes where readings are not, readings last.
    fn rows(&self, series: &[i64], from: Timestamp, to: Timestamp) -> Result<BTreeMap<i64, Vec<Row>>> {
        let (from, to) = (from.as_second(), to.as_second());
        if from > to {
            return Ok(BTreeMap::new());
        }
        let minutes = roll::until(&self.connection, "minutes")?.unwrap_or(0);
        let hours = roll::until(&self.connection, "hours")?.unwrap_or(0);
        // A sweep of more than a week is by hours as long as there are any; one of more than an hour by minutes.
        let minutes_from = if from < to - MINUTES_KEPT { hours.clamp(from, to) } else { from };
        let raw_from = if from < to - RAW_KEPT { minutes.clamp(minutes_from, to) } else { from };
        let mut all: BTreeMap<i64, Vec<Row>> = series.iter().map(|id| (*id, Vec::new())).collect();
        for (id, rows) in &mut all {
            for (table, from, to, minutes_each) in [
                ("telemetry_hours", from, minutes_from, None),
                ("telemetry_minutes", minutes_from, raw_from, Some(1.0)),
            ] {
                let mut query = self.connection.prepare_cached(&format!(
                    "SELECT time, mean, max, n FROM {table} WHERE series = ?1 AND time >= ?2 AND time < ?3 ORDER BY time"
                ))?;
                let mut found = query.query(params![id, from, to])?;
                while let Some(row) = found.next()? {
                    let n = number(row, 3)?;
                    rows.push(Row {
                        time: row.get(0)?,
                        mean: number(row, 1)?,
                        max: number(row, 2)?,
                        n,
                        weight: minutes_each.unwrap_or(n),
                    });
                }
            }
        }
        // Readings lie by time: one sweep for all series.
        let mut query = self.connection.prepare_cached(
            "SELECT time, series, value FROM telemetry_raw WHERE time >= ?1 AND time <= ?2 ORDER BY time",
        )?;
        let mut found = query.query([raw_from, to])?;
        while let Some(row) = found.next()? {
            if let Some(rows) = all.get_mut(&row.get(1)?) {
                let value = number(row, 2)?;
                rows.push(Row {
                    time: row.get(0)?,
                    mean: value,
                    max: value,
                    n: 1.0,
                    weight: READING_MINUTES,
                });
            }
        }
        Ok(all)
    }
}

/// What a reading counts beside minutes that are done, in the one bucket where both meet.
const READING_MINUTES: f64 = 1.0 / 30.0;

fn number(row: &rusqlite::Row<'_>, column: usize) -> Result<f64> {
    Ok(row.get::<_, i64>(column)? as f64)
}

fn bucket(time: i64, step: i64) -> i64 {
    time.div_euclid(step.max(1)) * step.max(1)
}

/// Rows to points of `step` seconds, in the figure's unit. `whole` is the weight of each bucket where a missing row
/// means nothing was held; without it, means are over the rows that are there.
fn bucketed(rows: &[Row], step: i64, unit: f64, whole: Option<&BTreeMap<i64, f64>>) -> Vec<Point> {
    let mut buckets: BTreeMap<i64, (f64, f64, f64)> = BTreeMap::new();
    for row in rows {
        let entry = buckets.entry(bucket(row.time, step)).or_insert((0.0, 0.0, 0.0));
        entry.0 += row.mean * row.weight;
        entry.1 += row.weight;
        entry.2 = entry.2.max(row.max);
    }
    buckets
        .into_iter()
        .filter_map(|(time, (sum, weight, max))| {
            let weight = whole.and_then(|w| w.get(&time).copied()).unwrap_or(0.0).max(weight);
            (weight > 0.0).then(|| Point { time, mean: sum / weight * unit, max: max * unit })
        })
        .collect()
}

fn series_known(
    connection: &rusqlite::Connection,
    pool: &str,
    agent: &str,
    figure: &str,
) -> Result<Option<i64>> {
    Ok(connection
        .prepare_cached("SELECT id FROM telemetry_series WHERE pool = ?1 AND agent = ?2 AND figure = ?3")?
        .query_row([pool, agent, figure], |row| row.get(0))
        .optional()?)
}

fn series_made(connection: &rusqlite::Connection, pool: &str, agent: &str, figure: &str) -> Result<i64> {
    if let Some(id) = series_known(connection, pool, agent, figure)? {
        return Ok(id);
    }
    connection.execute(
        "INSERT INTO telemetry_series (pool, agent, figure) VALUES (?1, ?2, ?3)",
        [pool, agent, figure],
    )?;
    Ok(connection.last_insert_rowid())
}
