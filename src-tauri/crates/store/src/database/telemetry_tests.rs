//! What is kept of telemetry: means, maxima, bounds, and clocks that lie.

use jiff::Timestamp;
use proptest::prelude::*;
use rusqlite::Connection;

use super::open::MIGRATIONS;
use super::*;

const GB: u64 = 1 << 30;
const DAY: i64 = 86_400;
/// A full hour.
const START: i64 = 1_794_999_600;

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(START + seconds).unwrap()
}

fn pool(used: u64, held: &[(&str, u64)]) -> Sample {
    let held: Vec<(String, u64)> = held.iter().map(|(a, b)| ((*a).to_owned(), *b)).collect();
    let other = used - held.iter().map(|(_, b)| b).sum::<u64>();
    let pool = PoolSample {
        pool: "ram".into(),
        capacity: Some(128 * GB),
        limit: Some(120 * GB),
        used,
        other,
        lost: 0,
        held,
    };
    Sample { pools: vec![pool], agents: Vec::new() }
}

fn kv(agent: &str, share: f64) -> Sample {
    let figures = vec![(Figure::KvCacheUsed, share), (Figure::TokensPerSecond, share * 40.0)];
    Sample { pools: Vec::new(), agents: vec![AgentFigures { agent: agent.into(), figures }] }
}

fn kv_points(db: &Database, from: i64, to: i64, step: i64) -> Vec<Point> {
    let all = db.figure_history("thor", at(from), at(to), step).unwrap();
    all.into_iter().find(|(f, _)| *f == Figure::KvCacheUsed).map(|(_, p)| p).unwrap_or_default()
}

fn count(db: &Database, table: &str) -> i64 {
    db.connection.query_row(&format!("SELECT count(*) FROM {table}"), [], |row| row.get(0)).unwrap()
}

fn oldest(db: &Database, table: &str) -> Option<i64> {
    let sql = format!("SELECT min(time) FROM {table}");
    db.connection.query_row(&sql, [], |row| row.get::<_, Option<i64>>(0)).unwrap().map(|t| t - START)
}

#[test]
fn a_reading_comes_back_as_it_was() {
    let mut db = Database::in_memory().unwrap();
    db.record_telemetry(&pool(60 * GB, &[("thor", 20 * GB), ("odin", 30 * GB)]), at(0)).unwrap();
    db.record_telemetry(&pool(30 * GB, &[("thor", 20 * GB)]), at(30)).unwrap();
    assert_eq!(db.telemetry_pools().unwrap(), ["ram"]);
    let history = db.pool_history("ram", at(-60), at(60), 10).unwrap();
    let means = |points: &[Point]| points.iter().map(|p| (p.time - START, p.mean)).collect::<Vec<_>>();
    assert_eq!(means(&history.other), [(0, 10.0 * GB as f64), (30, 10.0 * GB as f64)]);
    assert_eq!(means(&history.limit).last(), Some(&(30, 120.0 * GB as f64)));
    let agents: Vec<(&str, usize)> = history.agents.iter().map(|(a, p)| (a.as_str(), p.len())).collect();
    assert_eq!(agents, [("odin", 1), ("thor", 2)]);
    // Of a bucket with two readings, one of them without Odin, he held the half.
    let history = db.pool_history("ram", at(-60), at(60), 600).unwrap();
    let odin = history.agents[0].1[0];
    assert!(
        (odin.mean - 15.0 * GB as f64).abs() < 1024.0 && (odin.max - 30.0 * GB as f64).abs() < 1024.0,
        "{odin:?}"
    );
    assert_eq!(db.pool_history("vram:0", at(-60), at(60), 10).unwrap(), PoolHistory::default());
}

#[test]
fn what_is_no_figure_is_left_out_and_absurd_ones_are_bounded() {
    let mut db = Database::in_memory().unwrap();
    for (n, value) in (0i64..).zip([f64::NAN, f64::INFINITY, -1.0, f64::MAX]) {
        db.record_telemetry(&kv("thor", value), at(n)).unwrap();
    }
    assert_eq!(kv_points(&db, -10, 10, 1), []);
    db.record_telemetry(&pool(u64::MAX, &[("thor", u64::MAX)]), at(5)).unwrap();
    assert!(db.pool_history("ram", at(0), at(10), 1).unwrap().used[0].mean > 1e19);
    assert!(
        db.pool_history("ram", at(10), at(0), 1).unwrap().used.is_empty(),
        "a time that ends before it begins"
    );
    assert_eq!(kv_points(&db, 0, 10, 0), [], "a step of nothing");
}

#[test]
fn two_readings_of_one_second_are_one() {
    let mut db = Database::in_memory().unwrap();
    for share in [0.2, 0.4] {
        db.record_telemetry(&kv("thor", share), at(7)).unwrap();
    }
    let points = kv_points(&db, 0, 10, 1);
    assert_eq!(points.len(), 1);
    assert!(points[0].time == START + 7 && (points[0].mean - 0.4).abs() < 1e-9, "{points:?}");
}

#[test]
fn readings_become_minutes_and_minutes_hours_with_mean_and_maximum() {
    let mut db = Database::in_memory().unwrap();
    // Three hours, every 30 s: the share is the hour's number in tenths, and once in each hour 0.9.
    for second in (0..3 * 3600 + 1200).step_by(30) {
        let share = if second % 3600 == 1830 { 0.9 } else { (second / 3600) as f64 / 10.0 };
        db.record_telemetry(&kv("thor", share), at(second)).unwrap();
    }
    let hours: Vec<(i64, i64, i64, i64)> = db
        .connection
        .prepare("SELECT h.time, h.mean, h.max, h.n FROM telemetry_hours h JOIN telemetry_series s ON s.id = h.series WHERE s.figure = 'kv_cache_used' ORDER BY h.time")
        .unwrap()
        .query_map([], |r| Ok((r.get::<_, i64>(0)? - START, r.get(1)?, r.get(2)?, r.get(3)?)))
        .unwrap()
        .map(|row| row.unwrap())
        .collect();
    // The one reading of 0.9 weighs half a minute of sixty.
    assert_eq!(hours, [(0, 75, 9000, 60), (3600, 1067, 9000, 60), (7200, 2058, 9000, 60)]);
    let spread = kv_points(&db, 0, 3 * 3600 + 1200, 60);
    assert_eq!(spread.len(), 200, "one for each minute, from three grains, none twice");
    assert!((spread.iter().map(|p| p.max).fold(0.0, f64::max) - 0.9).abs() < 1e-9);
    assert!(oldest(&db, "telemetry_raw").unwrap() >= 3 * 3600 + 1200 - RAW_KEPT - 660);
    // At 0.9, and known from three hours and twenty minutes.
    let (peak, known) = db.kv_peak("thor", at(0)).unwrap().unwrap();
    assert!((peak - 0.9).abs() < 1e-9 && (known - 200.0 / 60.0).abs() < 1e-9, "{peak} {known}");
    let (later, known) = db.kv_peak("thor", at(3 * 3600)).unwrap().unwrap();
    assert!((later - 0.3).abs() < 1e-9 && (known - 20.0 / 60.0).abs() < 1e-9, "{later} {known}");
    assert_eq!(db.kv_peak("loki", at(0)).unwrap(), None);
    assert_eq!(db.kv_peak("thor", at(4 * 3600)).unwrap(), None);
}

/// Days of readings, ten minutes apart: enough for each pass to have something to do.
fn live(db: &mut Database, from: i64, to: i64) {
    for second in (from..to).step_by(600) {
        db.record_telemetry(&kv("thor", 0.5), at(second)).unwrap();
    }
}

#[test]
fn nothing_is_older_than_its_bound() {
    let mut db = Database::in_memory().unwrap();
    live(&mut db, 0, 10 * DAY);
    let now = 10 * DAY;
    assert!(oldest(&db, "telemetry_raw").unwrap() >= now - RAW_KEPT - 1200);
    assert!(oldest(&db, "telemetry_minutes").unwrap() >= now - MINUTES_KEPT - 3600 - 600);
    assert_eq!(oldest(&db, "telemetry_hours").unwrap(), 0);
    let year = kv_points(&db, 0, now, 3600);
    assert_eq!(year.len(), 240, "hours of three days, and what has followed since");
    // More than a year later, the machine was off meanwhile.
    live(&mut db, 380 * DAY, 384 * DAY);
    assert!(oldest(&db, "telemetry_hours").unwrap() >= 384 * DAY - HOURS_KEPT - DAY);
    assert!(oldest(&db, "telemetry_minutes").unwrap() >= 380 * DAY);
}

#[test]
fn an_agent_that_left_is_forgotten_with_its_last_hour() {
    let mut db = Database::in_memory().unwrap();
    for second in (0..7200).step_by(60) {
        db.record_telemetry(&kv("loki", 0.5), at(second)).unwrap();
    }
    live(&mut db, 7200, 3 * DAY);
    assert_eq!(db.telemetry_agents().unwrap(), ["loki", "thor"]);
    live(&mut db, 370 * DAY, 372 * DAY);
    assert_eq!(db.telemetry_agents().unwrap(), ["thor"]);
}

#[test]
fn a_clock_that_was_wrong_for_a_moment_does_not_cost_the_year() {
    let mut db = Database::in_memory().unwrap();
    live(&mut db, 0, 9 * DAY);
    let before = (count(&db, "telemetry_minutes"), count(&db, "telemetry_hours"));
    // Ten years ahead, then back, then 1970, then back.
    db.record_telemetry(&kv("thor", 0.9), at(3650 * DAY)).unwrap();
    db.record_telemetry(&kv("thor", 0.5), at(9 * DAY)).unwrap();
    db.record_telemetry(&kv("thor", 0.1), Timestamp::from_second(5).unwrap()).unwrap();
    live(&mut db, 9 * DAY, 9 * DAY + 7200);
    let after = (count(&db, "telemetry_minutes"), count(&db, "telemetry_hours"));
    // Of each of the two series what one pass trims, and not the year.
    assert!(after.0 >= before.0 - 260 && after.1 >= before.1 - 14, "{before:?} became {after:?}");
    // What is drawn afterwards is of these days, with every minute once.
    let points = kv_points(&db, 9 * DAY - 7200, 9 * DAY + 7200, 60);
    assert!(points.windows(2).all(|w| w[0].time < w[1].time));
    assert!(points.iter().all(|p| (p.mean - 0.5).abs() < 1e-9), "{points:?}");
    // An hour back, as a machine does that kept local time: those minutes are told again.
    live(&mut db, 9 * DAY + 3600, 9 * DAY + 4 * 3600);
    let points = kv_points(&db, 9 * DAY, 9 * DAY + 4 * 3600, 60);
    assert!(points.windows(2).all(|w| w[0].time < w[1].time) && points.len() >= 23, "{}", points.len());
}

#[test]
fn a_full_disk_is_an_error_and_costs_nothing_that_was_kept() {
    let folder = tempfile::tempdir().unwrap();
    let mut db = Database::open(&folder.path().join("asgard.db")).unwrap().database;
    live(&mut db, 0, DAY);
    let before = count(&db, "telemetry_minutes");
    let pages: i64 = db.connection.pragma_query_value(None, "page_count", |row| row.get(0)).unwrap();
    db.connection.pragma_update_and_check(None, "max_page_count", pages, |_| Ok(())).unwrap();
    let refused = (0..200_000i64)
        .map(|n| db.record_telemetry(&pool(u64::MAX >> 20, &[(&format!("agent-{n}"), GB)]), at(DAY + n)))
        .find_map(std::result::Result::err)
        .expect("a disk without room refuses at last");
    assert!(refused.to_string().contains("Check that the disk has room"), "{refused}");
    assert!(count(&db, "telemetry_minutes") >= before);
    db.connection.pragma_update_and_check(None, "max_page_count", 1_000_000, |_| Ok(())).unwrap();
    db.record_telemetry(&kv("thor", 0.5), at(2 * DAY)).unwrap();
}

#[test]
fn a_year_of_six_agents_stays_below_40_mb() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("asgard.db");
    let mut db = Database::open(&path).unwrap().database;
    let names = ["thor", "odin", "heimdall", "valkyrie", "loki", "frigga"];
    // Everybody awake and looked at: an hour of readings 2 s apart, and what passes make of it.
    for second in (0..4000i64).step_by(2) {
        let held: Vec<(&str, u64)> =
            names.iter().map(|n| (*n, 20 * GB + second.unsigned_abs() * 4096)).collect();
        let mut sample = pool(127 * GB, &held);
        for name in names {
            let figures = Figure::ALL.map(|f| (f, 0.37 + second as f64 / 10_000.0)).to_vec();
            sample.agents.push(AgentFigures { agent: name.into(), figures });
        }
        db.record_telemetry(&sample, at(second)).unwrap();
    }
    let series = count(&db, "telemetry_series");
    assert_eq!(series, 5 + 6 + 36);
    // A week of minutes and a year of hours of each series, written as passes write them: by time, ten minutes at once.
    let transaction = db.connection.transaction().unwrap();
    {
        let fill = |table: &str, grain: i64, rows: i64, batch: i64| {
            let sql = format!(
                "INSERT OR REPLACE INTO {table} (series, time, mean, max, n) VALUES (?1, ?2, ?3, ?4, ?5)"
            );
            let mut insert = transaction.prepare(&sql).unwrap();
            for first in (0..rows).step_by(usize::try_from(batch).unwrap()) {
                for id in 1..=series {
                    for n in first..(first + batch).min(rows) {
                        let value = 20_000_000 + (n * 7919 + id) % 100_000;
                        insert
                            .execute([id, START - rows * grain + n * grain, value, value + 4711, 30])
                            .unwrap();
                    }
                }
            }
        };
        // A quarter of each, so that the test is quick.
        fill("telemetry_minutes", 60, MINUTES_KEPT / 60 / 4, 10);
        fill("telemetry_hours", 3600, HOURS_KEPT / 3600 / 4, 1);
    }
    transaction.commit().unwrap();
    let size = |db: &Database| {
        let pages: i64 = db.connection.pragma_query_value(None, "page_count", |row| row.get(0)).unwrap();
        pages * 4096
    };
    let all = size(&db);
    let mb = 1024 * 1024;
    // The readings are there in full already.
    assert!(all * 4 < 40 * mb, "a quarter takes {} KB", all / 1024);
    println!("a quarter of a year and week, and an hour of readings: {} KB", all / 1024);
}

#[test]
fn a_database_from_before_keeps_what_it_had() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("asgard.db");
    // As the version before left it.
    let before = Connection::open(&path).unwrap();
    before.execute_batch(&MIGRATIONS[..3].concat()).unwrap();
    before.pragma_update(None, "user_version", 3).unwrap();
    let event = "INSERT INTO events (time, severity, agent, message) VALUES (?1, 'info', 'thor', 'Thor ready in 9 s')";
    before.execute(event, [at(0).as_millisecond()]).unwrap();
    drop(before);
    assert!(
        Database::open_to_read(&path).unwrap().is_none(),
        "a reader changes nothing, and says that it knows nothing"
    );
    let opened = Database::open(&path).unwrap();
    assert_eq!(opened.set_aside, None);
    let mut db = opened.database;
    assert_eq!(db.events(10).unwrap()[0].message, "Thor ready in 9 s");
    db.record_telemetry(&kv("thor", 0.5), at(0)).unwrap();
    // While it is open and written to, another program reads it.
    let reader = Database::open_to_read(&path).unwrap().unwrap();
    assert_eq!(kv_points(&reader, -10, 10, 1).len(), 1);
    assert!(Database::open_to_read(&folder.path().join("none.db")).unwrap().is_none());
    assert!(!folder.path().join("none.db").exists());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    /// Whatever the times and values: the highest stays the highest, the mean stays between least and most, and no
    /// moment is told twice.
    #[test]
    fn rolling_up_keeps_means_and_maxima(
        readings in prop::collection::vec((1i64..400, 0u32..10_000), 1..120),
        step in 1i64..4000,
    ) {
        let mut db = Database::in_memory().unwrap();
        let (mut time, mut told) = (0, Vec::new());
        for (pause, share) in &readings {
            time += pause;
            told.push((time, f64::from(*share) / 10_000.0));
            db.record_telemetry(&kv("thor", f64::from(*share) / 10_000.0), at(time)).unwrap();
        }
        let points = kv_points(&db, 0, time, step);
        prop_assert!(points.windows(2).all(|w| w[0].time < w[1].time));
        let most = told.iter().map(|(_, v)| *v).fold(0.0, f64::max);
        let least = told.iter().map(|(_, v)| *v).fold(1.0, f64::min);
        let seen = points.iter().map(|p| p.max).fold(0.0, f64::max);
        prop_assert!((seen - most).abs() < 1e-9, "{seen} {most}");
        prop_assert!(points.iter().all(|p| p.mean >= least - 1e-4 && p.mean <= p.max + 1e-4));
        let (peak, hours) = db.kv_peak("thor", at(0)).unwrap().unwrap();
        prop_assert!((peak - most).abs() < 1e-9);
        let minutes: std::collections::BTreeSet<i64> = told.iter().map(|(t, _)| (START + t) / 60).collect();
        prop_assert!((hours - minutes.len() as f64 / 60.0).abs() < 1e-9);
    }

    /// Clocks that jump anywhere break nothing, and never more than one row tells of a moment.
    #[test]
    fn no_clock_breaks_it(jumps in prop::collection::vec((-400_000_000i64..400_000_000, 0u32..10_000), 1..60)) {
        let mut db = Database::in_memory().unwrap();
        for (to, share) in &jumps {
            for second in [0, 30, 700] {
                db.record_telemetry(&kv("thor", f64::from(*share) / 10_000.0), at(to + second)).unwrap();
            }
        }
        let (last, _) = jumps[jumps.len() - 1];
        for hours in [1, 24, 168, 8784] {
            let points = kv_points(&db, last + 700 - hours * 3600, last + 700, 60);
            prop_assert!(points.windows(2).all(|w| w[0].time < w[1].time));
            prop_assert!(!points.is_empty());
        }
    }
}
