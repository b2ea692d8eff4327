use jiff::{SignedDuration, Timestamp};

use super::*;

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_770_000_000 + seconds).unwrap()
}

fn ended(time: Timestamp, client: &str, agent: Option<&str>) -> EndedRequest {
    EndedRequest {
        time,
        client: client.to_owned(),
        agent: agent.map(str::to_owned),
        path: "/v1/chat/completions".to_owned(),
        stream: true,
        outcome: "done".to_owned(),
        status: 200,
        prompt_tokens: Some(12),
        completion_tokens: Some(u64::MAX),
        counted: true,
        queued_ms: 41_000,
        first_token_ms: Some(310),
        tokens_per_second: Some(9.5),
        took_ms: 60_000,
        why: Some("waited 41 s: Valkyrie was draining one request".to_owned()),
    }
}

fn ids(rows: &[KeptRequest]) -> Vec<i64> {
    rows.iter().map(|r| r.id).collect()
}

#[test]
fn a_request_is_kept_as_it_was() {
    let mut db = Database::in_memory().unwrap();
    let full = ended(at(0), "opencode", Some("odin"));
    let bare = EndedRequest {
        prompt_tokens: None,
        completion_tokens: None,
        first_token_ms: None,
        tokens_per_second: Some(f64::NAN),
        why: None,
        outcome: "refused".to_owned(),
        status: 404,
        ..ended(at(1), "curl", None)
    };
    db.add_requests(&[full.clone(), bare.clone()], at(2)).unwrap();
    let rows = db.requests(&RequestsPage { limit: 10, ..RequestsPage::default() }).unwrap();
    let most = u64::try_from(i64::MAX).unwrap();
    assert_eq!(rows[1].request, EndedRequest { completion_tokens: Some(most), ..full });
    assert_eq!(rows[0].request, EndedRequest { tokens_per_second: None, ..bare });
}

#[test]
fn pages_go_back_from_the_latest_and_keep_to_agent_and_client() {
    let mut db = Database::in_memory().unwrap();
    let batch: Vec<EndedRequest> = (0..30_i64)
        .map(|n| {
            let agent = ["odin", "thor", "frigga"][usize::try_from(n % 3).unwrap()];
            ended(at(n), if n % 2 == 0 { "zed" } else { "curl" }, Some(agent))
        })
        .collect();
    db.add_requests(&batch, at(40)).unwrap();
    let mut page = RequestsPage { limit: 4, ..RequestsPage::default() };
    let first = db.requests(&page).unwrap();
    assert_eq!(ids(&first), [30, 29, 28, 27]);
    page.before = first.last().map(|r| r.id);
    assert_eq!(ids(&db.requests(&page).unwrap()), [26, 25, 24, 23]);
    page = RequestsPage {
        limit: 100,
        before: Some(20),
        agent: Some("odin".to_owned()),
        client: Some("zed".to_owned()),
    };
    assert_eq!(ids(&db.requests(&page).unwrap()), [19, 13, 7, 1]);
    page.agent = Some("loki".to_owned());
    assert!(db.requests(&page).unwrap().is_empty());
    page = RequestsPage { limit: 0, ..RequestsPage::default() };
    assert!(db.requests(&page).unwrap().is_empty());
}

#[test]
fn all_of_them_can_be_walked_through_while_others_come() {
    let mut db = Database::in_memory().unwrap();
    let some = |n| vec![ended(at(0), "zed", None); n];
    db.add_requests(&some(25), at(0)).unwrap();
    let (mut seen, mut after) = (Vec::new(), 0);
    loop {
        let piece = db.requests_after(after, 10).unwrap();
        let Some(last) = piece.last() else { break };
        after = last.id;
        seen.extend(ids(&piece));
        if seen.len() == 10 {
            db.add_requests(&some(3), at(0)).unwrap();
        }
    }
    assert_eq!(seen, (1..=28).collect::<Vec<_>>());
}

#[test]
fn the_oldest_are_forgotten_beyond_the_limit() {
    let mut db = Database::in_memory().unwrap();
    let batch = vec![ended(at(0), "zed", None); 1000];
    for _ in 0..REQUESTS_KEPT / 1000 {
        db.add_requests(&batch, at(0)).unwrap();
    }
    let count = |db: &Database| -> u32 {
        db.connection.query_row("SELECT count(*) FROM requests", [], |row| row.get(0)).unwrap()
    };
    assert_eq!(count(&db), REQUESTS_KEPT);
    db.add_requests(&batch[..7], at(0)).unwrap();
    assert_eq!(count(&db), REQUESTS_KEPT);
    assert_eq!(db.requests_after(0, 1).unwrap()[0].id, 8, "the oldest went");
}

#[test]
fn what_is_older_than_its_days_goes_in_pieces_and_a_wrong_clock_takes_nothing_young() {
    let mut db = Database::in_memory().unwrap();
    let day = |n: i64| at(0) + SignedDuration::from_hours(24 * n);
    db.add_requests(&vec![ended(day(0), "zed", None); 6000], day(0)).unwrap();
    db.add_requests(&[ended(day(50), "zed", None)], day(50)).unwrap();
    // A clock that stood in 1970 for one request.
    db.add_requests(&[ended(Timestamp::UNIX_EPOCH, "zed", None)], day(50)).unwrap();
    db.add_requests(&[ended(day(51), "zed", None)], day(90)).unwrap();
    assert_eq!(db.requests_after(0, 1).unwrap()[0].id, 1, "ninety days are not over");
    db.add_requests(&[], day(91)).unwrap();
    assert_eq!(db.requests_after(0, 1).unwrap()[0].id, 5001, "a piece at a time");
    db.add_requests(&[], day(91)).unwrap();
    assert_eq!(ids(&db.requests_after(0, 9).unwrap()), [6001, 6002, 6003]);
    db.add_requests(&[], day(400)).unwrap();
    assert!(db.requests_after(0, 9).unwrap().is_empty());
    db.add_requests(&[], day(400)).unwrap();
}

#[test]
fn a_database_of_every_earlier_format_learns_to_keep_requests() {
    for version in 1..=4 {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("asgard.db");
        {
            // What that format had: everything but the tables that came later.
            let opened = Database::open(&path).unwrap().database;
            let id = opened.new_conversation("odin", at(0)).unwrap();
            assert_eq!(id, 1);
            let later: &[&str] = match version {
                1 => &["images", "image_versions", "footprints", "telemetry_series", "telemetry_raw"],
                2 => &["footprints", "telemetry_series", "telemetry_raw"],
                3 => &["telemetry_series", "telemetry_raw"],
                _ => &[],
            };
            let more: &[&str] = match version {
                1..=3 => &["telemetry_minutes", "telemetry_hours", "telemetry_rolled"],
                _ => &[],
            };
            for table in later.iter().chain(more).chain(&["requests", "download_files", "downloads"]) {
                opened.connection.execute_batch(&format!("DROP TABLE {table}")).unwrap();
            }
            opened.connection.pragma_update(None, "user_version", version).unwrap();
        }
        let opened = Database::open(&path).unwrap();
        assert_eq!(opened.set_aside, None, "format {version}");
        let mut db = opened.database;
        assert_eq!(db.conversations(9).unwrap().len(), 1, "format {version}");
        db.add_requests(&[ended(at(0), "zed", Some("odin"))], at(0)).unwrap();
        assert_eq!(db.requests_after(0, 9).unwrap().len(), 1, "format {version}");
    }
}

#[test]
fn a_batch_is_kept_whole_or_not_at_all() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("asgard.db");
    let mut db = Database::open(&path).unwrap().database;
    db.connection.busy_timeout(std::time::Duration::ZERO).unwrap();
    let other = rusqlite::Connection::open(&path).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    assert!(db.add_requests(&[ended(at(0), "zed", None)], at(0)).is_err(), "somebody else writes");
    other.execute_batch("ROLLBACK").unwrap();
    db.connection
        .execute_batch("CREATE TRIGGER full BEFORE INSERT ON requests WHEN NEW.client = 'curl' BEGIN SELECT RAISE(ABORT, 'full'); END")
        .unwrap();
    assert!(db.add_requests(&[ended(at(0), "zed", None), ended(at(0), "curl", None)], at(0)).is_err());
    assert!(db.requests_after(0, 9).unwrap().is_empty());
}
