//! Readings to minutes, minutes to hours, and what is older than its bound away: ten minutes at a time, in a
//! transaction for each grain.
//!
//! The clock is not believed blindly. After a jump back the same minutes are rolled up again, and the later row of a
//! minute counts; nothing is deleted for lying in the future. After a jump ahead only a bounded part is trimmed in one
//! pass, so that a clock that was wrong for a moment does not cost the year.

use rusqlite::{Connection, OptionalExtension, params};

use super::super::Result;

/// Seconds.
pub const RAW_KEPT: i64 = 3600;
pub const MINUTES_KEPT: i64 = 7 * 24 * 3600;
pub const HOURS_KEPT: i64 = 366 * 24 * 3600;

/// How long readings wait until they are rolled up together: fifty series are fifty pages to write, whether for one
/// minute or for ten.
const PASS: i64 = 600;
/// How many rows of a series one pass may take away: more than it adds, much less than the whole.
const MINUTES_TRIMMED: i64 = 120;
const HOURS_TRIMMED: i64 = 6;

fn floor(time: i64, grain: i64) -> i64 {
    time.div_euclid(grain) * grain
}

/// Up to when a grain is rolled up.
pub(super) fn until(connection: &Connection, grain: &str) -> Result<Option<i64>> {
    Ok(connection
        .prepare_cached("SELECT until FROM telemetry_rolled WHERE grain = ?1")?
        .query_row([grain], |row| row.get(0))
        .optional()?)
}

fn set_until(connection: &Connection, grain: &str, time: i64) -> Result<()> {
    connection
        .prepare_cached("INSERT OR REPLACE INTO telemetry_rolled (grain, until) VALUES (?1, ?2)")?
        .execute(params![grain, time])?;
    Ok(())
}

/// Rolls up what is due at `now`, and trims.
pub(super) fn settle(connection: &mut Connection, now: i64) -> Result<()> {
    let minute = floor(now, 60);
    let first = match until(connection, "minutes")? {
        Some(done) if done > minute => return set_until(connection, "minutes", minute),
        Some(done) if minute - done < PASS => return Ok(()),
        Some(done) => done,
        None => return set_until(connection, "minutes", minute),
    };
    minutes(connection, first, minute)?;
    let hour = floor(minute, 3600);
    match until(connection, "hours")? {
        Some(done) if done > hour => set_until(connection, "hours", hour)?,
        Some(done) if done < hour => hours(connection, done, hour)?,
        Some(_) => {}
        // Minutes of the hour that has begun wait for its end.
        None => set_until(connection, "hours", floor(first, 3600))?,
    }
    trim(connection, now)
}

fn minutes(connection: &mut Connection, from: i64, to: i64) -> Result<()> {
    let transaction = connection.transaction()?;
    transaction.execute(
        "INSERT OR REPLACE INTO telemetry_minutes (series, time, mean, max, n)
         SELECT series, time / 60 * 60, CAST(round(avg(value)) AS INTEGER), max(value), count(*)
         FROM telemetry_raw WHERE time >= ?1 AND time < ?2 GROUP BY series, time / 60",
        [from, to],
    )?;
    set_until(&transaction, "minutes", to)?;
    transaction.commit()?;
    Ok(())
}

fn hours(connection: &mut Connection, from: i64, to: i64) -> Result<()> {
    let transaction = connection.transaction()?;
    for series in all(&transaction)? {
        transaction
            .prepare_cached(
                "INSERT OR REPLACE INTO telemetry_hours (series, time, mean, max, n)
                 SELECT series, time / 3600 * 3600, CAST(round(avg(mean)) AS INTEGER), max(max), count(*)
                 FROM telemetry_minutes WHERE series = ?1 AND time >= ?2 AND time < ?3
                 GROUP BY time / 3600",
            )?
            .execute(params![series, from, to])?;
    }
    set_until(&transaction, "hours", to)?;
    transaction.commit()?;
    Ok(())
}

fn trim(connection: &mut Connection, now: i64) -> Result<()> {
    let transaction = connection.transaction()?;
    // What was rolled up is safe to forget, whatever the clock says now.
    transaction.execute("DELETE FROM telemetry_raw WHERE time < ?1", [now - RAW_KEPT])?;
    let hours = until(&transaction, "hours")?.unwrap_or(0);
    for series in all(&transaction)? {
        for (table, before, rows) in [
            ("telemetry_minutes", floor(now - MINUTES_KEPT, 3600).min(hours), MINUTES_TRIMMED),
            ("telemetry_hours", now - HOURS_KEPT, HOURS_TRIMMED),
        ] {
            let sql = format!(
                "DELETE FROM {table} WHERE series = ?1 AND time IN
                 (SELECT time FROM {table} WHERE series = ?1 AND time < ?2 ORDER BY time LIMIT ?3)"
            );
            transaction.prepare_cached(&sql)?.execute(params![series, before, rows])?;
        }
        // An agent that left the household a year ago, and a pool whose card was taken out.
        transaction
            .prepare_cached(
                "DELETE FROM telemetry_series WHERE id = ?1
                 AND NOT EXISTS (SELECT 1 FROM telemetry_minutes WHERE series = ?1)
                 AND NOT EXISTS (SELECT 1 FROM telemetry_hours WHERE series = ?1)
                 AND NOT EXISTS (SELECT 1 FROM telemetry_raw WHERE series = ?1)",
            )?
            .execute([series])?;
    }
    transaction.commit()?;
    Ok(())
}

fn all(connection: &Connection) -> Result<Vec<i64>> {
    let mut query = connection.prepare_cached("SELECT id FROM telemetry_series ORDER BY id")?;
    let rows = query.query_map([], |row| row.get(0))?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}
