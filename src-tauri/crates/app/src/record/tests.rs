use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use api::shapes::gateway::{ExportRequestsRequest, RequestOutcome, RequestsQuery, TableFormat};
use bifrost::{Outcome, Record};
use domain::agent::AgentName;
use domain::schedule::{Place, Ticket};
use jiff::{SignedDuration, Timestamp};
use proptest::prelude::*;
use serde_json::Value;
use store::database::Database;

use super::*;

fn recorder() -> Recorder {
    Recorder::new(Arc::new(Mutex::new(Database::in_memory().unwrap())))
}

fn named(name: &str) -> AgentName {
    AgentName::new(name).unwrap()
}

pub(crate) fn record(ticket: Option<Ticket>, client: &str, agent: &str, outcome: Outcome) -> Record {
    Record {
        ticket,
        client: client.into(),
        agent: Some(named(agent)),
        path: "/v1/chat/completions".into(),
        stream: true,
        outcome,
        status: if outcome == Outcome::Refused { 429 } else { 200 },
        prompt_tokens: Some(20),
        completion_tokens: Some(100),
        counted: false,
        queued: Duration::from_secs(41),
        first_token: Some(Duration::from_millis(1500)),
        tokens_per_second: Some(9.5),
        took: Duration::from_secs(60),
        why: Some("waited 41 s: Odin loaded in 38 s".into()),
    }
}

fn entry(ticket: Ticket, agent: &str, since: Timestamp) -> Entry {
    Entry {
        ticket,
        client: "zed".into(),
        agent: named(agent),
        path: "/v1/messages".into(),
        stream: true,
        since,
    }
}

fn place(stage: &str) -> Place {
    Place { agent: named("odin"), place: 2, stage: stage.into(), seconds_left: Some(12.0) }
}

fn all() -> RequestsQuery {
    RequestsQuery::default()
}

#[tokio::test]
async fn a_request_is_seen_waiting_running_and_ended() {
    let recorder = recorder();
    let came = Timestamp::now() - SignedDuration::from_secs(10);
    recorder.under_way(entry(7, "odin", came));
    recorder.under_way(entry(3, "thor", came));
    recorder.placed(7, place("Draining Valkyrie"));
    recorder.leased(3, None);
    let seen = recorder.page(&all()).await.unwrap().under_way;
    assert_eq!(seen.len(), 2);
    assert_eq!((seen[0].agent.as_deref(), seen[0].outcome), (Some("thor"), RequestOutcome::Running));
    assert_eq!((seen[1].agent.as_deref(), seen[1].outcome), (Some("odin"), RequestOutcome::Waiting));
    assert!((10.0..60.0).contains(&seen[1].queued_seconds) && seen[1].id.is_none());
    let shown = seen[1].place.as_ref().unwrap();
    assert_eq!((shown.place, shown.stage.as_str(), shown.seconds_left), (2, "Draining Valkyrie", Some(12.0)));
    assert_eq!(recorder.crowd(), [(named("odin"), (1, 0)), (named("thor"), (0, 1))].into());

    recorder.leased(7, Some("waited 10 s".into()));
    // A place that is told late is none any more.
    recorder.placed(7, place("Loading Odin"));
    let seen = recorder.page(&RequestsQuery { agent: Some("odin".into()), ..all() }).await.unwrap().under_way;
    assert_eq!(seen.len(), 1);
    assert_eq!((seen[0].outcome, &seen[0].place), (RequestOutcome::Running, &None));
    assert_eq!(seen[0].why.as_deref(), Some("waited 10 s"));

    recorder.ended(record(Some(7), "zed", "odin", Outcome::Done));
    recorder.gone(7);
    recorder.gone(99);
    let page = recorder.page(&all()).await.unwrap();
    assert_eq!(page.under_way.len(), 1, "what ended is not under way, and not lost between the two");
    let row = &page.ended[0];
    assert_eq!((row.id, row.outcome, row.status), (Some(1), RequestOutcome::Done, Some(200)));
    assert_eq!((row.queued_seconds, row.first_token_seconds, row.seconds), (41.0, Some(1.5), 60.0));
    let time: Timestamp = row.time.parse().unwrap();
    let ago = Timestamp::now().duration_since(time).as_secs();
    assert!((60..90).contains(&ago), "when it came, not when it ended: {ago}");
}

#[tokio::test]
async fn pages_are_bounded() {
    let recorder = recorder();
    for n in 0..1200 {
        recorder.ended(record(None, if n % 2 == 0 { "zed" } else { "curl" }, "thor", Outcome::Done));
    }
    let count = async |limit| recorder.page(&RequestsQuery { limit, ..all() }).await.unwrap().ended.len();
    assert_eq!((count(0).await, count(7).await, count(u32::MAX).await), (100, 7, 1000));
    let page = RequestsQuery { limit: 1000, client: Some("curl".into()), before: Some(101), ..all() };
    assert_eq!(recorder.page(&page).await.unwrap().ended.len(), 50);
}

#[tokio::test]
async fn names_of_any_length_are_cut() {
    let recorder = recorder();
    let mut long = record(None, &"ö".repeat(5000), "thor", Outcome::Error);
    long.path = "/".repeat(5000);
    long.why = Some("w".repeat(5000));
    long.took = Duration::MAX;
    long.tokens_per_second = Some(f64::INFINITY);
    recorder.ended(long);
    let row = recorder.page(&all()).await.unwrap().ended.remove(0);
    assert_eq!(row.client, format!("{}…", "ö".repeat(100)));
    assert!(row.path.len() < 110 && row.why.unwrap().len() < 1010);
    assert_eq!(row.tokens_per_second, None);
}

#[tokio::test]
async fn a_database_that_refuses_costs_rows_and_never_a_request() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("asgard.db");
    let database = Arc::new(Mutex::new(Database::open(&path).unwrap().database));
    let recorder = Recorder::new(database.clone());
    // Somebody else holds it, as a query that takes its time does.
    let held = database.lock().unwrap();
    for _ in 0..MOST_WAITING + 25 {
        recorder.ended(record(None, "zed", "thor", Outcome::Done));
    }
    assert_eq!(recorder.lost(), 25, "the oldest beyond the limit");
    drop(held);
    assert!(recorder.flush().await);
    let kept = recorder.page(&RequestsQuery { limit: 1, ..all() }).await.unwrap().ended;
    assert_eq!(kept[0].id, Some(i64::try_from(MOST_WAITING).unwrap()));

    // One whose table is gone refuses everything.
    *database.lock().unwrap() = Database::look(&path).unwrap();
    recorder.ended(record(None, "zed", "thor", Outcome::Done));
    recorder.ended(record(None, "aider", "thor", Outcome::Done));
    assert!(!recorder.flush().await);
    assert_eq!(recorder.lost(), 25, "they wait");
    *database.lock().unwrap() = Database::open(&path).unwrap().database;
    assert!(recorder.flush().await);
    let kept = recorder.page(&RequestsQuery { limit: 2, ..all() }).await.unwrap().ended;
    let clients: Vec<&str> = kept.iter().map(|r| r.client.as_str()).collect();
    assert_eq!(clients, ["aider", "zed"], "in their order");
}

#[test]
fn sums_are_by_agent_client_and_outcome_and_clients_are_bounded() {
    let mut counters = Counters::default();
    for n in 0..500 {
        counters.count(&record(None, &format!("client {n}"), "thor", Outcome::Done));
    }
    counters.count(&record(None, "client 3", "thor", Outcome::Done));
    counters.count(&record(None, "client 3", "thor", Outcome::Refused));
    counters.count(&Record {
        agent: None,
        status: 404,
        ..record(None, "client 3", "thor", Outcome::Refused)
    });
    let of = |client: &str, outcome| {
        counters.requests.get(&(Some(named("thor")), client.into(), outcome)).copied().unwrap_or(0)
    };
    assert_eq!((of("client 3", Outcome::Done), of("client 3", Outcome::Refused)), (2, 1));
    assert_eq!((of("client 400", Outcome::Done), of("others", Outcome::Done)), (0, 300));
    assert_eq!(counters.refused, [(404, 1), (429, 1)].into());
    let thor = &counters.by_agent[&named("thor")];
    assert_eq!((thor.prompt_tokens, thor.completion_tokens), (502 * 20, 502 * 100));
    assert_eq!(
        (thor.queued.count, thor.took.count),
        (502, 501),
        "a refusal says nothing of an answer's length"
    );
}

#[test]
fn a_histogram_counts_what_is_at_most_its_bound() {
    let mut histogram = Histogram::new(&[0.5, 1.0, 10.0]);
    for seconds in [0.0, 0.5, 0.6, 10.0, 11.0] {
        histogram.add(seconds);
    }
    assert_eq!(histogram.buckets().collect::<Vec<_>>(), [(0.5, 2), (1.0, 3), (10.0, 4)]);
    assert_eq!(histogram.count, 5);
}

/// A reader of RFC 4180 that lets nothing else pass.
fn read_csv(text: &str) -> Vec<Vec<String>> {
    let mut rows = vec![vec![String::new()]];
    let mut chars = text.chars().peekable();
    let mut quoted = false;
    while let Some(c) = chars.next() {
        let row = rows.last_mut().unwrap();
        let cell = row.last_mut().unwrap();
        match (quoted, c) {
            (true, '"') if chars.peek() == Some(&'"') => {
                chars.next();
                cell.push('"');
            }
            (true, '"') => {
                quoted = false;
                assert!(
                    matches!(chars.peek(), Some(',' | '\r')),
                    "behind a quote comes a comma or the line's end"
                );
            }
            (false, '"') => {
                assert!(cell.is_empty(), "a quote stands at the beginning");
                quoted = true;
            }
            (false, ',') => row.push(String::new()),
            (false, '\r') => {
                assert_eq!(chars.next(), Some('\n'));
                rows.push(vec![String::new()]);
            }
            (false, '\n') => panic!("a line ends with CR LF"),
            (_, c) => cell.push(c),
        }
    }
    assert!(!quoted);
    assert_eq!(rows.pop(), Some(vec![String::new()]), "the last line ends, too");
    rows
}

#[tokio::test]
async fn tables_for_other_programs_hold_every_row_once() {
    let recorder = recorder();
    for n in 0..4100 {
        recorder.ended(record(None, &format!("c{n}"), "thor", Outcome::Done));
    }
    recorder.ended(Record {
        agent: None,
        why: None,
        ..record(None, "=cmd|'/c calc'!A1", "x", Outcome::Refused)
    });
    let now: Timestamp = "2026-11-21T14:00:00Z".parse().unwrap();
    let table = async |format| export(&recorder, &ExportRequestsRequest { format }, now).await.unwrap();
    let csv = table(TableFormat::Csv).await;
    assert_eq!(csv.name, "asgard-requests-20261121.csv");
    let rows = read_csv(&csv.text);
    assert_eq!(rows.len(), 4102);
    assert!(rows.iter().all(|row| row.len() == 16));
    assert_eq!((rows[1][0].as_str(), rows[1][2].as_str(), rows[4100][0].as_str()), ("1", "c0", "4100"));
    let last = &rows[4101];
    assert_eq!((last[2].as_str(), last[3].as_str(), last[15].as_str()), ("'=cmd|'/c calc'!A1", "", ""));
    let json: Vec<Value> = serde_json::from_str(&table(TableFormat::Json).await.text).unwrap();
    assert_eq!(json.len(), 4101);
    let names: Vec<&str> = json[0].as_object().unwrap().keys().map(String::as_str).collect();
    let mut header: Vec<&str> = rows[0].iter().map(String::as_str).collect();
    header.sort_unstable();
    let mut sorted = names.clone();
    sorted.sort_unstable();
    assert_eq!(sorted, header, "the same fields in both");
    assert_eq!(json[4100]["client"], "=cmd|'/c calc'!A1", "text in JSON is no formula");
    assert_eq!(json[4100]["agent"], Value::Null);
    let none = self::recorder();
    let empty = export(&none, &ExportRequestsRequest { format: TableFormat::Json }, now).await.unwrap();
    assert_eq!(serde_json::from_str::<Value>(&empty.text).unwrap(), serde_json::json!([]));
}

proptest! {
    #[test]
    fn any_name_comes_back_out_of_csv_and_is_no_formula(client in any::<String>(), why in any::<String>()) {
        let mut table = super::export::Table::new(TableFormat::Csv);
        let kept = KeptRequest {
            id: 1,
            request: EndedRequest {
                client: client.clone(),
                why: Some(why.clone()),
                ..row_of(record(None, "", "thor", Outcome::Done), Timestamp::UNIX_EPOCH)
            },
        };
        table.row(&shape(kept));
        let rows = read_csv(&table.whole());
        for (cell, text) in [(&rows[1][2], &client), (&rows[1][15], &why)] {
            prop_assert!(!cell.starts_with(['=', '+', '-', '@', '\t', '\r']), "{cell:?}");
            let bare = cell.strip_prefix('\'').filter(|_| !text.starts_with('\'')).unwrap_or(cell);
            prop_assert_eq!(bare, text);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn readers_hear_of_a_burst_now_and_then_and_only_while_they_look() {
    let recorder = recorder();
    let (told, looking) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
    let (tell, look) = (told.clone(), looking.clone());
    let task = tokio::spawn(recorder.clone().run(
        move || look.load(Ordering::Relaxed),
        move || {
            tell.fetch_add(1, Ordering::Relaxed);
        },
    ));
    let kept = async || recorder.read(|db| db.requests_after(0, u32::MAX)).await.unwrap().len();
    let ended = |n| (0..n).for_each(|_| recorder.ended(record(None, "zed", "thor", Outcome::Done)));
    // Rows are written by themselves, also while nobody looks.
    ended(3);
    let deadline = Instant::now() + Duration::from_secs(30);
    while kept().await < 3 {
        assert!(Instant::now() < deadline, "they are never written");
        tokio::task::yield_now().await;
    }
    assert_eq!(told.load(Ordering::Relaxed), 0, "nobody looks");
    looking.store(true, Ordering::Relaxed);
    let began = Instant::now();
    while told.load(Ordering::Relaxed) < 3 {
        assert!(Instant::now() < deadline, "nobody is told");
        ended(300);
        tokio::task::yield_now().await;
        // As fast as the database takes them; else the oldest would be lost.
        recorder.flush().await;
    }
    assert!(began.elapsed() >= 2 * GATHER, "twice a second at most");
    assert_eq!(recorder.lost(), 0);
    task.abort();
}
