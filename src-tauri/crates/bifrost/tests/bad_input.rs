//! What is no clean request is refused, reaches nobody and disturbs nobody.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test's helpers fail the test")]

mod support;

use std::sync::Arc;
use std::time::Duration;

use bifrost::{Outcome, Settings};
use serde_json::Value;
use support::{Rig, Wire, With, header, rig, soon, status};

const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
const JSON: &str = r#"{"model":"odin"}"#;

/// Nobody was asked for anything, all leases are back, and the next client is served.
async fn undisturbed(rig: &mut Rig, what: &str) {
    assert_eq!(rig.asked(), 0, "{what}: somebody was asked");
    let mut client = rig.client().await;
    client.get(rig.address, "/v1/health").await;
    assert_eq!(status(&client.answer().await.0), 200, "{what}");
    let (mut client, mut agent, request) = rig.chat(JSON.as_bytes()).await;
    assert_eq!(request.body, JSON.as_bytes(), "{what}");
    agent.send(OK).await;
    assert_eq!(client.answer().await.1, b"ok", "{what}");
    assert_eq!(rig.returned().await, "lease", "{what}");
    rig.fake.wanted.lock().unwrap().clear();
}

/// Everything that comes until the other end closes.
async fn rest(client: &mut Wire) -> String {
    String::from_utf8_lossy(&client.at_most(1 << 20).await).into_owned()
}

#[tokio::test]
async fn doubtful_framing_is_refused_and_the_connection_closed() {
    // Where more would have to come for it to be complete, it is not waited for long.
    let (idle, head) = (Duration::from_millis(300), Duration::from_millis(300));
    let settings = Settings { idle, head, ..Settings::default() };
    let mut rig = rig(With { settings, ..With::default() }).await;
    // What a smuggler wants to be taken for a second request.
    let hidden = "GET /v1/models HTTP/1.1\r\nhost: localhost\r\n\r\n";
    let post = |headers: &str, body: &str| {
        format!("POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\n{headers}\r\n\r\n{body}{hidden}")
    };
    let two = format!("content-length: {}\r\ncontent-length: 5", JSON.len());
    let list = format!("content-length: {}, 5", JSON.len());
    let chunk = |size: &str| format!("{size}\r\n{JSON}\r\n0\r\n\r\n");
    let chunked = "transfer-encoding: chunked";
    for (what, request) in [
        ("two lengths", post(&two, JSON)),
        ("a list of lengths", post(&list, JSON)),
        ("a length with a sign", post("content-length: +16", JSON)),
        ("a negative length", post("content-length: -16", JSON)),
        ("a length in hexadecimal", post("content-length: 0x10", JSON)),
        ("a length with a blank inside", post("content-length: 1 6", JSON)),
        ("a length that is too long", post("content-length: 99999999999999999999999", JSON)),
        ("a blank before the colon", post("content-length : 16", JSON)),
        ("a folded header", post("x: a\r\n content-length: 16", JSON)),
        ("a folded length", post("content-length:\r\n 16", JSON)),
        ("a nameless header", post(": x\r\ncontent-length: 16", JSON)),
        ("a zero byte in a header", post("x: a\0b\r\ncontent-length: 16", JSON)),
        ("a lone carriage return", post("x: a\rb\r\ncontent-length: 16", JSON)),
        ("chunks, but not at the end", post("transfer-encoding: chunked, gzip", &chunk("10"))),
        ("another coding", post("transfer-encoding: xchunked", &chunk("10"))),
        ("a coding in quotes", post("transfer-encoding: \"chunked\"", &chunk("10"))),
        (
            "chunks of an old client",
            post(chunked, &chunk("10")).replace("HTTP/1.1\r\nhost", "HTTP/1.0\r\nhost"),
        ),
        ("a chunk size with 0x", post(chunked, &chunk("0x10"))),
        ("a chunk size with a sign", post(chunked, &chunk("+10"))),
        ("a negative chunk size", post(chunked, &chunk("-10"))),
        ("a huge chunk size", post(chunked, &chunk("ffffffffffffffff10"))),
        ("no chunk size", post(chunked, &chunk(""))),
        ("a chunk that is longer than it says", post(chunked, &chunk("f"))),
        ("a chunk that is shorter than it says", post(chunked, &chunk("11"))),
        ("an extension with a bare line feed", post(chunked, &chunk("10;a\nb"))),
        ("a bare line feed after the size", post(chunked, &chunk("10").replacen("\r\n", "\n", 1))),
        ("an endless extension", post(chunked, &chunk(&format!("10;{}", "x".repeat(100_000))))),
        ("no version", format!("POST /v1/chat/completions\r\n\r\n{hidden}")),
        ("another version", post("content-length: 16", JSON).replace("HTTP/1.1\r\nhost", "HTTP/3.0\r\nhost")),
        ("the preface of HTTP/2", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_owned()),
        ("the hello of TLS", "\u{16}\u{3}\u{1}\0\u{1}\0".repeat(50)),
        (
            "a target without a path",
            "POST chat HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n".to_owned(),
        ),
        (
            "a tunnel",
            "CONNECT localhost:22 HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n".to_owned(),
        ),
    ] {
        let mut client = rig.client().await;
        client.send(request).await;
        let all = rest(&mut client).await;
        assert!(!all.contains(" 200 "), "{what}: {all}");
        assert!(all.matches("HTTP/1.1 ").count() <= 1, "{what}: the hidden request was answered: {all}");
        assert!(all.is_empty() || (400..500).contains(&status(&all)), "{what}: {all}");
        undisturbed(&mut rig, what).await;
    }
}

#[tokio::test]
async fn chunks_win_over_a_length_and_nothing_follows() {
    let rig = rig(With::default()).await;
    for headers in [
        "content-length: 3\r\ntransfer-encoding: chunked",
        "transfer-encoding: chunked\r\ncontent-length: 3",
        "transfer-encoding: chunked\r\ncontent-length: nonsense",
    ] {
        let mut client = rig.client().await;
        let hidden = "GET /v1/models HTTP/1.1\r\nhost: localhost\r\n\r\n";
        client
            .send(format!(
                "POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\n{headers}\r\n\r\n10\r\n{JSON}\r\n0\r\n\r\n{hidden}"
            ))
            .await;
        let (mut agent, request) = rig.agent.accept().await;
        assert_eq!(request.body, JSON.as_bytes(), "{headers}");
        assert_eq!(header(&request.head, "transfer-encoding"), None);
        agent.send("HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok").await;
        let all = rest(&mut client).await;
        assert!(all.starts_with("HTTP/1.1 200") && all.ends_with("\r\n\r\nok"), "{headers}: {all}");
    }
}

#[tokio::test]
async fn requests_one_behind_the_other_are_answered_in_their_order() {
    let rig = rig(With::default()).await;
    let mut client = rig.client().await;
    let one = |n: usize| {
        let body = format!(r#"{{"model":"odin","n":{n}}}"#);
        format!(
            "POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        )
    };
    // One that is refused among them, and a body on a path that takes none.
    let refused = "POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\ncontent-length: 2\r\n\r\n{}";
    let hidden = "GET /v1/nothing HTTP/1.1\r\nhost: localhost\r\n\r\n";
    let looks = format!(
        "GET /v1/health HTTP/1.1\r\nhost: localhost\r\ncontent-length: {}\r\n\r\n{hidden}",
        hidden.len()
    );
    client.send([one(1), refused.to_owned(), looks, one(2)].concat()).await;
    let (mut agent, request) = rig.agent.accept().await;
    assert!(request.body.ends_with(br#""n":1}"#));
    agent.send(OK).await;
    assert_eq!(client.answer().await.1, b"ok");
    assert_eq!(status(&client.answer().await.0), 400);
    assert_eq!(status(&client.answer().await.0), 200, "the health, and not what was hidden in its body");
    assert!(agent.request().await.body.ends_with(br#""n":2}"#));
    agent.send(OK).await;
    assert_eq!(client.answer().await.1, b"ok");
}

#[tokio::test]
async fn a_body_that_ends_early_reaches_nobody() {
    let mut rig = rig(With::default()).await;
    for (what, head, body) in [
        ("a length that is too large", "content-length: 100", JSON),
        ("half a chunk", "transfer-encoding: chunked", "20\r\n{\"model\":\"odin\"}"),
        ("no last chunk", "transfer-encoding: chunked", "10\r\n{\"model\":\"odin\"}\r\n"),
    ] {
        let mut client = rig.client().await;
        client
            .send(format!("POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\n{head}\r\n\r\n{body}"))
            .await;
        drop(client);
        soon("the record", async {
            while rig.fake.records.lock().unwrap().is_empty() {
                tokio::task::yield_now().await;
            }
        })
        .await;
        let record = rig.fake.records.lock().unwrap().remove(0);
        assert!(matches!(record.outcome, Outcome::Left | Outcome::Refused), "{what}: {record:?}");
        undisturbed(&mut rig, what).await;
        rig.fake.records.lock().unwrap().clear();
    }
    // Too small a length: the body is what it says, and is no JSON then.
    let mut client = rig.client().await;
    client
        .send(format!(
            "POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\ncontent-length: 5\r\n\r\n{JSON}"
        ))
        .await;
    let all = rest(&mut client).await;
    assert_eq!(status(&all), 400);
    assert!(!all.contains(" 200 "), "{all}");
    undisturbed(&mut rig, "a length that is too small").await;
}

#[tokio::test]
async fn json_that_is_broken_is_said_to_be() {
    let mut rig = rig(With::default()).await;
    let deep = format!(r#"{{"model":"odin","a":{}"#, "[".repeat(3 << 20));
    for body in [
        "",
        "{",
        "nonsense",
        r#"{"model":"odin""#,
        r#"{"model":"odin"}}"#,
        r#"{"model":"odin",}"#,
        r#"{"model":"odin","a":01}"#,
        r#"{"model":"odin","a":1.}"#,
        r#"{"model":"odin","a":tru}"#,
        "{\"model\":\"odin\",\"a\":\"\n\"}",
        r#"{"model":"odin","a":"\x"}"#,
        r#"{"model":"odin","a":[1}"#,
        r#"{"model":"\ud800"}"#,
        "{\"model\":\"odin\"}\0",
        &format!(r#"{{"model":"{}"}}"#, "x".repeat(100_000)),
        &deep,
    ] {
        let mut client = rig.client().await;
        client.post(rig.address, "/v1/chat/completions", body.as_bytes()).await;
        let (head, answer) = client.answer().await;
        let error: Value = serde_json::from_slice(&answer).unwrap();
        let short: String = body.chars().take(60).collect();
        assert_eq!((status(&head), &error["error"]["code"]), (400, &Value::from("invalid_model")), "{short}");
        undisturbed(&mut rig, &short).await;
    }
}

#[tokio::test]
async fn a_large_request_waits_in_a_file_without_a_name() {
    let folder = tempfile::tempdir().unwrap();
    let settings = Settings { spool_folder: Some(folder.path().to_owned()), ..Settings::default() };
    let rig = rig(With { settings, queue: true, ..With::default() }).await;
    let body = format!(r#"{{"messages":"{}","model":"odin"}}"#, "x".repeat(20 << 20));
    let mut client = rig.client().await;
    client.post(rig.address, "/v1/chat/completions", body.as_bytes()).await;
    soon("the queue", async {
        while rig.asked() == 0 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "no folder lists it");
    let inside = folder.path().to_owned();
    let held = std::fs::read_dir("/proc/self/fd").unwrap().filter_map(|fd| {
        let fd = fd.unwrap().path();
        std::fs::read_link(&fd).ok()?.starts_with(&inside).then(|| std::fs::metadata(&fd).unwrap())
    });
    let held: Vec<_> = held.collect();
    assert_eq!(held.len(), 1, "one file is open in it");
    assert_eq!(held[0].len(), body.len() as u64);
    assert_eq!(std::os::unix::fs::PermissionsExt::mode(&held[0].permissions()) & 0o777, 0o600);
    let waiter = rig.fake.waiting.lock().unwrap().remove(0);
    waiter.grant.send(Ok(rig.fake.lease_on(1))).unwrap();
    let (mut agent, request) = rig.agent.accept().await;
    assert!(request.body == body.as_bytes());
    agent.send(OK).await;
    assert_eq!(client.answer().await.1, b"ok");
}

#[tokio::test]
async fn a_folder_that_cannot_be_written_is_said() {
    let settings = Settings { spool_folder: Some("/nonexistent/folder".into()), ..Settings::default() };
    let mut rig = rig(With { settings, ..With::default() }).await;
    let body = format!(r#"{{"messages":"{}","model":"odin"}}"#, "x".repeat(5 << 20));
    let mut client = rig.client().await;
    client.post(rig.address, "/v1/chat/completions", body.as_bytes()).await;
    let (head, answer) = client.answer().await;
    let error: Value = serde_json::from_slice(&answer).unwrap();
    assert_eq!((status(&head), &error["error"]["code"]), (500, &Value::from("not_kept")));
    // Small ones need no file.
    undisturbed(&mut rig, "an unwritable folder").await;
}

#[tokio::test]
async fn one_open_request_too_many_is_told_so() {
    let mut rig =
        rig(With { settings: Settings { max_streams: 2, ..Settings::default() }, ..With::default() }).await;
    let (mut first, mut agent, _) = rig.chat(JSON.as_bytes()).await;
    let (second, _agent, _) = rig.chat(JSON.as_bytes()).await;
    let mut third = rig.client().await;
    third.post(rig.address, "/v1/chat/completions", JSON.as_bytes()).await;
    let (head, answer) = third.answer().await;
    let error: Value = serde_json::from_slice(&answer).unwrap();
    assert_eq!((status(&head), &error["error"]["code"]), (503, &Value::from("busy")));
    assert_eq!(header(&head, "retry-after"), Some("1"));
    assert_eq!(rig.asked(), 2);
    // A place is free when an answer ends, and when a client is gone.
    agent.send(OK).await;
    first.answer().await;
    assert_eq!(rig.returned().await, "lease");
    third.post(rig.address, "/v1/chat/completions", JSON.as_bytes()).await;
    agent.request().await;
    drop(second);
    assert_eq!(rig.returned().await, "lease");
    let mut fourth = rig.client().await;
    fourth.post(rig.address, "/v1/chat/completions", JSON.as_bytes()).await;
    rig.agent.accept().await;
    assert_eq!(rig.asked(), 4);
}

/// In a time that jumps to the next thing to do whenever nobody does anything.
#[tokio::test(start_paused = true)]
async fn who_sends_too_slowly_is_not_waited_for() {
    let idle = Duration::from_secs(10);
    let settings = Settings { slowest: 1000, head: idle, idle, ..Settings::default() };
    let rig = Arc::new(rig(With { settings, ..With::default() }).await);
    // A byte in every pause that is allowed: it would take days.
    let mut slow = rig.client().await;
    slow.send("POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\ncontent-length: 100000\r\n\r\n{")
        .await;
    let began = tokio::time::Instant::now();
    while slow.try_send(b" ", Duration::from_secs(1)).await.is_ok() && began.elapsed() < 10 * idle {
        if let Ok(head) = tokio::time::timeout(idle * 9 / 10, slow.head()).await {
            assert_eq!(status(&head), 408);
            break;
        }
    }
    assert!(began.elapsed() < 3 * idle, "{:?}", began.elapsed());
    assert_eq!(rig.asked(), 0);
    // A head that never ends.
    let mut slow = rig.client().await;
    let began = tokio::time::Instant::now();
    slow.send("POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\n").await;
    loop {
        if tokio::time::timeout(Duration::from_secs(4), slow.hung_up()).await.is_ok() {
            break;
        }
        assert!(began.elapsed() < Duration::from_mins(1), "the head is still waited for");
        let _ = slow.try_send(b"x: y\r\n", Duration::from_secs(1)).await;
    }
    assert_eq!(rig.asked(), 0);
}
