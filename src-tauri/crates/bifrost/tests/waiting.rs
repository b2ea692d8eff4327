//! Nobody waits in silence: streams are opened at once and live until their agent answers, the rest is held or told
//! when to come again.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test's helpers fail the test")]

mod support;

use std::time::Duration;

use bifrost::{Outcome, Refusal, Settings};
use domain::AgentName;
use domain::schedule::Place;
use serde_json::{Value, json};
use support::{End, Rig, Waiter, Wire, With, capture, header, rig, status};

const BODY: &[u8] = br#"{"model":"odin","stream":true}"#;
const STREAMS: [&str; 4] = ["/v1/chat/completions", "/v1/completions", "/v1/responses", "/v1/messages"];
const OPENED: &str = ": asgard place=1 stage=\"Loading\" seconds_left=38\n\n";
const EVENTS: &str =
    "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\ntransfer-encoding: chunked\r\n\r\n";
const NEVER: Duration = Duration::from_hours(1);
const OFTEN: Duration = Duration::from_millis(10);

/// A gateway whose agents are all asleep.
async fn asleep(beat: Duration) -> Rig {
    rig(With { queue: true, settings: Settings { beat, ..Settings::default() }, ..With::default() }).await
}

/// A client whose stream was opened, and its place in the queue.
async fn opened(rig: &Rig, path: &str) -> (Wire, Waiter) {
    let mut client = rig.client().await;
    client.post(rig.address, path, BODY).await;
    assert_eq!(status(&client.head().await), 200);
    let waiter = rig.waiter().await;
    (client, waiter)
}

fn grant(rig: &Rig, waiter: Waiter) {
    assert!(waiter.grant.send(Ok(rig.fake.lease_on(1))).is_ok(), "nobody waits any more");
}

/// The events of a stream, without its comments: names and data.
fn events(body: &[u8]) -> Vec<(String, Value)> {
    let text = std::str::from_utf8(body).unwrap();
    let mut events = Vec::new();
    for block in text.split("\n\n") {
        let field = |name: &str| block.lines().find_map(|line| line.strip_prefix(name));
        let Some(data) = field("data: ") else { continue };
        let name = field("event: ").unwrap_or_default().to_owned();
        events.push((name, serde_json::from_str(data).unwrap_or_else(|_| Value::from(data))));
    }
    events
}

/// What a stream that failed says at its end, whatever its protocol: the message.
fn failure(path: &str, body: &[u8]) -> String {
    let all = events(body);
    let names: Vec<&str> = all.iter().map(|(name, _)| name.as_str()).filter(|n| *n != "ping").collect();
    let text = |value: &Value| value.as_str().unwrap_or_else(|| panic!("no message in {all:?}")).to_owned();
    match path {
        "/v1/messages" => {
            assert_eq!(names, ["error"], "{path}");
            let (_, error) = all.last().unwrap();
            assert_eq!(error["type"], "error");
            assert!(error["error"]["type"].as_str().unwrap().ends_with("_error"));
            text(&error["error"]["message"])
        }
        "/v1/responses" => {
            assert_eq!(names.first(), Some(&"response.created"), "{names:?}");
            let [.., (error, said), (failed, end)] = all.as_slice() else { panic!("{names:?}") };
            assert_eq!((error.as_str(), failed.as_str()), ("error", "response.failed"));
            for (number, (name, data)) in all.iter().enumerate() {
                assert_eq!((&data["sequence_number"], &data["type"]), (&json!(number), &json!(name)));
            }
            assert_eq!(end["response"]["status"], "failed");
            assert_eq!(said["message"], end["response"]["error"]["message"]);
            text(&said["message"])
        }
        _ => {
            assert_eq!(all.len(), 2, "an error and the end: {all:?}");
            assert_eq!(all[1].1, "[DONE]");
            let error = all[0].1["error"].as_object().unwrap();
            assert!(
                ["message", "type", "code", "param"].iter().all(|key| error.contains_key(*key)),
                "{error:?}"
            );
            text(&error["message"])
        }
    }
}

#[tokio::test]
async fn a_stream_that_waits_is_opened_at_once() {
    for path in STREAMS {
        let mut rig = asleep(NEVER).await;
        let mut client = rig.client().await;
        client.post(rig.address, path, BODY).await;
        // Nobody has granted anything.
        let head = client.head().await;
        assert_eq!(status(&head), 200, "{path}");
        for (name, value) in [
            ("content-type", "text/event-stream"),
            ("cache-control", "no-store"),
            ("x-asgard-origin", "gateway"),
            ("x-asgard-queue-place", "1"),
            ("x-asgard-stage", "Loading"),
            ("x-asgard-seconds-left", "38"),
        ] {
            assert_eq!(header(&head, name), Some(value), "{path}: {name}");
        }
        let first = client.until("\n\n").await;
        assert!(first.starts_with(OPENED), "{path}: {first:?}");
        let names: Vec<String> = events(first.as_bytes()).into_iter().map(|(name, _)| name).collect();
        let expected: &[&str] = match path {
            "/v1/messages" => &["ping"],
            "/v1/responses" => &["response.created", "response.queued"],
            _ => &[],
        };
        assert_eq!(names, expected, "{path}");
        assert!(rig.out(), "it still waits");
    }
}

#[tokio::test]
async fn a_stream_that_waits_has_a_beat() {
    for path in STREAMS {
        let rig = asleep(OFTEN).await;
        let (mut client, _waiter) = opened(&rig, path).await;
        let mut text = String::new();
        for _ in 0..4 {
            text += &client.until(": asgard ").await;
        }
        let beats = text.matches(OPENED).count();
        assert!(beats >= 4, "{path}: {text:?}");
        let all = events(text.as_bytes());
        match path {
            "/v1/messages" => assert_eq!(all, vec![("ping".to_owned(), json!({"type": "ping"})); beats]),
            "/v1/responses" => {
                assert_eq!(all.len(), beats + 1);
                for (number, (name, data)) in all.iter().enumerate() {
                    assert_eq!(name, if number == 0 { "response.created" } else { "response.queued" });
                    assert_eq!(data["sequence_number"], number);
                    assert_eq!(data["response"]["id"], all[0].1["response"]["id"]);
                    assert_eq!(data["response"]["status"], "queued");
                    assert_eq!(data["response"]["model"], "odin");
                }
            }
            _ => assert_eq!(all, []),
        }
    }
}

#[tokio::test]
async fn a_change_of_place_is_told_at_once() {
    let rig = asleep(NEVER).await;
    let (mut client, waiter) = opened(&rig, "/v1/chat/completions").await;
    assert_eq!(client.until("\n\n").await, OPENED);
    let place = |place, stage: &str, seconds_left| Place {
        agent: AgentName::new("odin").unwrap(),
        place,
        stage: stage.to_owned(),
        seconds_left,
    };
    waiter.places.send(place(2, "Loading", Some(38.0))).unwrap();
    assert_eq!(client.until("\n\n").await, ": asgard place=2 stage=\"Loading\" seconds_left=38\n\n");
    // A second less is no news; what comes next carries it.
    waiter.places.send(place(2, "Loading", Some(37.0))).unwrap();
    tokio::task::yield_now().await;
    waiter.places.send(place(2, "Draining \"Valkyrie\"", None)).unwrap();
    assert_eq!(client.until("\n\n").await, ": asgard place=2 stage=\"Draining 'Valkyrie'\"\n\n");
}

#[tokio::test]
async fn when_the_lease_comes_the_agents_bytes_pass_unchanged() {
    for (path, name) in [
        ("/v1/chat/completions", "vllm-chat-stream"),
        ("/v1/completions", "vllm-completions-stream"),
        ("/v1/responses", "vllm-responses-stream"),
        ("/v1/responses", "llamacpp-responses-stream"),
        ("/v1/messages", "vllm-anthropic-messages-stream"),
        ("/v1/messages", "llamacpp-anthropic-messages-stream"),
    ] {
        let mut rig = asleep(OFTEN).await;
        let body = "{ \"stream\":true,\t\"model\" : \"odin\"}\n";
        let mut client = rig.client().await;
        let head = format!(
            "POST {path} HTTP/1.1\r\nhost: {}\r\naccept-encoding: gzip\r\ncontent-length: {}\r\n\r\n{body}",
            rig.address,
            body.len()
        );
        client.send(head).await;
        client.head().await;
        grant(&rig, rig.waiter().await);
        let (mut agent, request) = rig.agent.accept().await;
        assert_eq!(request.body, body.as_bytes());
        assert_eq!(
            header(&request.head, "accept-encoding"),
            None,
            "the client's head is out, without a coding"
        );
        // Nothing from the agent yet, and then no more than its head: the beat goes on.
        client.until(OPENED).await;
        let (lines, captured) = capture(name);
        agent.send(lines.join("\r\n") + "\r\n\r\n").await;
        let mut before = String::new();
        for _ in 0..3 {
            before += &client.until(OPENED).await;
        }
        assert!(!before.contains("chatcmpl"), "{before}");
        for piece in captured.chunks(97) {
            agent.chunk(piece).await;
        }
        agent.chunk("").await;
        let (rest, end) = client.chunked().await;
        assert_eq!(end, End::Clean, "{path}");
        assert!(rest.ends_with(&captured), "{path}: {:?}", String::from_utf8_lossy(&rest));
        let beats = rest.len() - captured.len();
        assert!(beats == 0 || rest[..beats].starts_with(b": asgard"), "{path}");
        assert_eq!(rig.returned().await, "queue");
        assert_eq!(rig.returned().await, "lease");
        let record = rig.record().await;
        assert_eq!((record.outcome, record.status), (Outcome::Done, 200), "{record:?}");
        assert!(record.queued > Duration::ZERO && record.stream);
    }
}

#[tokio::test]
async fn after_the_agents_first_bytes_nothing_is_added() {
    let rig = asleep(OFTEN).await;
    let (mut client, waiter) = opened(&rig, "/v1/messages").await;
    grant(&rig, waiter);
    let (mut agent, _) = rig.agent.accept().await;
    agent.send(EVENTS).await;
    agent.chunk("event: a\n").await;
    let text = client.until("event: a\n").await;
    assert!(text.ends_with("event: a\n"), "{text:?}");
    // Another that waits is the clock: while it hears five beats, this one hears nothing.
    let (mut other, _waiter) = opened(&rig, "/v1/messages").await;
    for _ in 0..5 {
        other.until(OPENED).await;
    }
    agent.chunk("data: {}\n\n").await;
    agent.chunk("").await;
    assert_eq!(client.chunked().await, (b"data: {}\n\n".to_vec(), End::Clean));
}

#[tokio::test]
async fn a_refusal_after_the_wait_is_told_in_the_stream() {
    let message = "What happened.".to_owned();
    let odin = AgentName::new("odin").unwrap();
    for refusal in [
        Refusal::DoesNotFit { message: message.clone() },
        Refusal::TooOften { message: message.clone(), retry_after: 60 },
        Refusal::Failed { agent: odin, message: message.clone(), next: String::new() },
        Refusal::Busy { message, retry_after: 2 },
    ] {
        for path in STREAMS {
            let mut rig = asleep(OFTEN).await;
            let (mut client, waiter) = opened(&rig, path).await;
            client.until(OPENED).await;
            client.until(OPENED).await;
            waiter.grant.send(Err(refusal.clone())).unwrap();
            let (body, end) = client.chunked().await;
            assert_eq!(end, End::Clean);
            // The responses' own events began before.
            if path == "/v1/responses" {
                let all = events(&body);
                assert_eq!(all.last().unwrap().0, "response.failed");
                assert_eq!(all.last().unwrap().1["response"]["error"]["message"], "What happened.");
            } else {
                assert_eq!(failure(path, &body), "What happened.", "{path}");
            }
            assert_eq!(rig.returned().await, "queue");
            let record = rig.record().await;
            assert_eq!((record.outcome, record.status), (Outcome::Refused, 200));
            assert_eq!(record.why.as_deref(), Some("What happened."));
            assert_eq!(record.agent.unwrap().as_str(), "odin");
            // The connection is as good as before.
            client.get(rig.address, "/v1/health").await;
            assert_eq!(status(&client.answer().await.0), 200);
        }
    }
}

#[tokio::test]
async fn the_end_of_the_controller_is_told_to_who_waits() {
    for path in STREAMS {
        let rig = asleep(NEVER).await;
        let (mut client, waiter) = opened(&rig, path).await;
        drop(waiter);
        let (body, end) = client.chunked().await;
        assert_eq!((failure(path, &body).as_str(), end), ("Asgard is ending. Try again later.", End::Clean));
    }
}

#[tokio::test]
async fn an_agents_error_is_told_in_its_own_words() {
    let plain = |code: &str, kind: &str, body: &str| {
        let head =
            format!("HTTP/1.1 {code}\r\ncontent-type: {kind}\r\ncontent-length: {}\r\n\r\n", body.len());
        (head + body).into_bytes()
    };
    let captured = |name: &str| {
        let (lines, body) = capture(name);
        let mut all = (lines.join("\r\n") + "\r\n\r\n").into_bytes();
        all.extend(body);
        all
    };
    for (answer, part) in [
        (captured("vllm-err-context-overflow"), "This model's maximum context length is 2048 tokens."),
        (captured("vllm-err-401-bad-key"), "Unauthorized"),
        (captured("llamacpp-err-404-path"), "File Not Found"),
        (plain("404 Not Found", "application/json", r#"{"detail":"Not Found"}"#), "Not Found"),
        (plain("500 Internal Server Error", "text/plain", "Internal Server Error"), "Internal Server Error"),
        (
            plain("502 Bad Gateway", "text/html", "<html>"),
            "Odin answered with 502 Bad Gateway, and no reason.",
        ),
        (plain("503 Service Unavailable", "text/plain", ""), "asgard logs odin"),
        (plain("200 OK", "application/json", "{}"), "Odin did not answer with a stream of events."),
        (
            plain("200 OK\r\ncontent-encoding: gzip", "text/event-stream", "xx"),
            "did not answer with a stream",
        ),
    ] {
        for path in STREAMS {
            let mut rig = asleep(NEVER).await;
            let (mut client, waiter) = opened(&rig, path).await;
            grant(&rig, waiter);
            let (mut agent, _) = rig.agent.accept().await;
            agent.send(&answer).await;
            let (body, end) = client.chunked().await;
            let said = failure(path, &body);
            assert!(said.contains(part), "{path}: {said:?} does not say {part:?}");
            assert_eq!(end, End::Clean);
            assert_eq!((rig.returned().await, rig.returned().await), ("queue", "lease"));
            let record = rig.record().await;
            assert_eq!((record.outcome, record.status), (Outcome::Error, 200), "{record:?}");
            assert_eq!(record.why.as_deref(), Some(said.as_str()), "said once");
        }
    }
}

#[tokio::test]
async fn an_agent_that_dies_before_its_first_byte_is_told_in_the_stream() {
    for path in STREAMS {
        for sent in ["", "HTTP/1.1 200 OK\r\ncontent-ty", "nonsense\r\n\r\n", EVENTS] {
            let mut rig = asleep(NEVER).await;
            let (mut client, waiter) = opened(&rig, path).await;
            grant(&rig, waiter);
            let (mut agent, _) = rig.agent.accept().await;
            agent.send(sent).await;
            agent.die();
            let (body, end) = client.chunked().await;
            let said = failure(path, &body);
            assert!(said.starts_with("Odin broke off"), "{path} {sent:?}: {said}");
            assert_eq!(end, End::Clean, "all that there is to say was said");
            assert_eq!((rig.returned().await, rig.returned().await), ("queue", "lease"));
            let record = rig.record().await;
            assert_eq!((record.outcome, record.status), (Outcome::Broken, 200), "{record:?}");
        }
        // An end before the beginning is none.
        let mut rig = asleep(NEVER).await;
        let (mut client, waiter) = opened(&rig, path).await;
        grant(&rig, waiter);
        let (mut agent, _) = rig.agent.accept().await;
        agent.send(EVENTS).await;
        agent.chunk("").await;
        let (body, _) = client.chunked().await;
        assert!(failure(path, &body).starts_with("Odin ended its answer before it began."));
        assert_eq!((rig.returned().await, rig.returned().await), ("queue", "lease"));
        assert_eq!(rig.record().await.outcome, Outcome::Broken);
        // Nor is a port that nobody listens on.
        let rig = asleep(NEVER).await;
        let (mut client, waiter) = opened(&rig, path).await;
        assert!(waiter.grant.send(Ok(rig.fake.lease_on(2))).is_ok());
        let (body, _) = client.chunked().await;
        assert!(failure(path, &body).starts_with("Loki cannot be reached"));
    }
}

#[tokio::test]
async fn an_agent_that_dies_in_its_answer_is_told_and_the_end_is_no_good_one() {
    for held in [true, false] {
        for path in STREAMS {
            let rig = if held { asleep(NEVER).await } else { rig(With::default()).await };
            let mut client = rig.client().await;
            client.post(rig.address, path, BODY).await;
            if held {
                client.head().await;
                grant(&rig, rig.waiter().await);
            }
            let (mut agent, _) = rig.agent.accept().await;
            agent.send(EVENTS).await;
            agent.chunk("data: {\"half").await;
            if !held {
                client.head().await;
            }
            client.until("half").await;
            agent.die();
            let (body, end) = client.chunked().await;
            assert_eq!(end, End::Broken, "{path}");
            let all = events(&body);
            let (name, error) = &all[0];
            assert_eq!(name, if path.contains("completions") { "" } else { "error" }, "{path}");
            let said = error["error"]["message"].as_str().unwrap();
            assert!(said.starts_with("Odin broke off in the middle"), "{path}: {said}");
        }
    }
}

#[tokio::test]
async fn a_client_that_hangs_up_while_it_waits_asks_no_agent() {
    for path in STREAMS {
        for beat in [OFTEN, NEVER] {
            let mut rig = asleep(beat).await;
            let (mut client, waiter) = opened(&rig, path).await;
            client.until(OPENED).await;
            drop(client);
            assert_eq!(rig.returned().await, "queue", "{path}");
            assert!(waiter.grant.is_closed(), "nobody takes a lease any more");
            let record = rig.record().await;
            assert_eq!(record.outcome, Outcome::Left, "{record:?}");
            assert_eq!(record.agent.unwrap().as_str(), "odin");
        }
    }
}

#[tokio::test]
async fn a_client_that_hangs_up_after_the_wait_is_heard_by_the_agent() {
    for begun in [false, true] {
        let mut rig = asleep(NEVER).await;
        let (client, waiter) = opened(&rig, "/v1/chat/completions").await;
        grant(&rig, waiter);
        let (mut agent, _) = rig.agent.accept().await;
        assert_eq!(rig.returned().await, "queue");
        if begun {
            agent.send(EVENTS).await;
        }
        drop(client);
        agent.hung_up().await;
        assert_eq!(rig.returned().await, "lease");
        assert_eq!(rig.record().await.outcome, Outcome::Left);
    }
}

#[tokio::test]
async fn requests_are_granted_in_the_order_of_the_schedule_not_of_their_sockets() {
    let rig = asleep(NEVER).await;
    let (mut first, waits_first) = opened(&rig, "/v1/chat/completions").await;
    let (mut second, waits_second) = opened(&rig, "/v1/chat/completions").await;
    for (client, waiter, word) in [(&mut second, waits_second, "two"), (&mut first, waits_first, "one")] {
        grant(&rig, waiter);
        let (mut agent, _) = rig.agent.accept().await;
        // Each on a connection of its own.
        agent.send(EVENTS.replace("\r\n\r\n", "\r\nconnection: close\r\n\r\n")).await;
        agent.chunk(format!("data: {word}\n\n")).await;
        agent.chunk("").await;
        let (body, _) = client.chunked().await;
        assert!(body.ends_with(format!("data: {word}\n\n").as_bytes()));
    }
}

#[tokio::test]
async fn a_client_that_counts_bytes_and_holds_on_to_ids_hears_comments_alone() {
    for language in ["python", "js"] {
        hears_comments_alone(language).await;
    }
}

async fn hears_comments_alone(language: &str) {
    let rig = asleep(OFTEN).await;
    let mut client = rig.client().await;
    let length = BODY.len();
    let head = format!(
        "POST /v1/responses HTTP/1.1\r\nhost: {}\r\nx-stainless-lang: {language}\r\ncontent-length: {length}\r\n\r\n",
        rig.address
    );
    client.send(head).await;
    client.send(BODY).await;
    client.head().await;
    let mut text = String::new();
    for _ in 0..3 {
        text += &client.until(OPENED).await;
    }
    assert_eq!(text.replace(OPENED, ""), "");
    // An error is told in events all the same.
    drop(rig.waiter().await);
    let (body, _) = client.chunked().await;
    assert_eq!(failure("/v1/responses", &body), "Asgard is ending. Try again later.");
}

/// A request with a `Prefer` header, or without.
async fn prefers(rig: &Rig, path: &str, stream: bool, prefer: &str) -> Wire {
    let body = format!(r#"{{"model":"odin","stream":{stream}}}"#);
    let prefer = if prefer.is_empty() { String::new() } else { format!("prefer: {prefer}\r\n") };
    let mut client = rig.client().await;
    let length = body.len();
    let head =
        format!("POST {path} HTTP/1.1\r\nhost: {}\r\n{prefer}content-length: {length}\r\n\r\n", rig.address);
    client.send(head + &body).await;
    client
}

#[tokio::test]
async fn who_would_not_wait_is_told_when_to_come_again() {
    for (hold, prefer, stream) in [
        (true, "wait=0", false),
        (true, "respond-async, wait=0", false),
        (false, "", false),
        (true, "wait=0", true),
    ] {
        for path in ["/v1/chat/completions", "/v1/messages", "/v1/responses"] {
            let settings = Settings { hold, ..Settings::default() };
            let mut rig = rig(With { queue: true, settings, ..With::default() }).await;
            let mut client = prefers(&rig, path, stream, prefer).await;
            let (head, body) = client.answer().await;
            let error: Value = serde_json::from_slice(&body).unwrap();
            assert_eq!(status(&head), 503, "{error}");
            assert_eq!(header(&head, "retry-after"), Some("38"));
            assert_eq!(header(&head, "x-asgard-origin"), Some("gateway"));
            assert_eq!(error["error"]["code"], "agent_loading");
            let message = error["error"]["message"].as_str().unwrap();
            assert!(
                message.contains("Odin is not ready yet: Loading, place 1 in its queue, about 38 s"),
                "{message}"
            );
            if path == "/v1/messages" {
                assert_eq!(
                    (&error["type"], &error["error"]["type"]),
                    (&json!("error"), &json!("overloaded_error"))
                );
            }
            assert_eq!(rig.returned().await, "queue");
            let record = rig.record().await;
            assert_eq!((record.outcome, record.status), (Outcome::Refused, 503));
        }
    }
}

#[tokio::test]
async fn patience_ends_when_it_was_said_to() {
    let mut rig = asleep(NEVER).await;
    let mut client = prefers(&rig, "/v1/embeddings", false, "wait=1").await;
    let (head, _) = client.answer().await;
    assert_eq!((status(&head), header(&head, "retry-after")), (503, Some("38")));
    let waited: f64 = header(&head, "x-asgard-waited").unwrap().parse().unwrap();
    assert!((1.0..20.0).contains(&waited), "{waited}");
    assert_eq!(rig.returned().await, "queue");
    // A stream is opened, and ends with the same words.
    let mut client = prefers(&rig, "/v1/chat/completions", true, "wait=1").await;
    assert_eq!(status(&client.head().await), 200);
    let (body, end) = client.chunked().await;
    assert!(failure("/v1/chat/completions", &body).contains("about 38 s left"));
    assert_eq!((end, rig.returned().await), (End::Clean, "queue"));
}

#[tokio::test]
async fn what_does_not_stream_is_held_until_its_agent_answers() {
    // A path that has no words for a wait is held, whatever its body says of streams.
    for (path, stream, prefer) in [
        ("/v1/chat/completions", false, ""),
        ("/v1/chat/completions", false, "wait=3600"),
        ("/v1/messages", false, ""),
        ("/v1/embeddings", true, ""),
        ("/tokenize", false, "wait=nonsense"),
    ] {
        let mut rig = asleep(OFTEN).await;
        let mut client = prefers(&rig, path, stream, prefer).await;
        grant(&rig, rig.waiter().await);
        let (mut agent, _) = rig.agent.accept().await;
        agent.send("HTTP/1.1 404 Not Found\r\ncontent-length: 2\r\nx-theirs: 1\r\n\r\nno").await;
        let (head, body) = client.answer().await;
        assert_eq!(
            (status(&head), body.as_slice()),
            (404, &b"no"[..]),
            "{path}: the agent's own status and body"
        );
        assert_eq!((header(&head, "x-theirs"), header(&head, "x-asgard-origin")), (Some("1"), None));
        assert!(header(&head, "x-asgard-waited").unwrap().parse::<f64>().unwrap() >= 0.0);
        assert_eq!((rig.returned().await, rig.returned().await), ("queue", "lease"));
    }
    // Held and then refused: the refusal's own status.
    let rig = asleep(OFTEN).await;
    let mut client = prefers(&rig, "/v1/messages", false, "").await;
    let refusal = Refusal::DoesNotFit { message: "It does not fit.".to_owned() };
    rig.waiter().await.grant.send(Err(refusal)).unwrap();
    let (head, body) = client.answer().await;
    let error: Value = serde_json::from_slice(&body).unwrap();
    assert_eq!((status(&head), &error["error"]["message"]), (409, &json!("It does not fit.")));
    assert_eq!(rig.record().await.status, 409);
}

#[tokio::test]
async fn who_is_served_at_once_sees_nothing_of_all_this() {
    let rig = rig(With {
        settings: Settings { hold: false, beat: OFTEN, ..Settings::default() },
        ..With::default()
    })
    .await;
    let mut client = prefers(&rig, "/v1/chat/completions", true, "wait=0").await;
    let (mut agent, _) = rig.agent.accept().await;
    agent.send("HTTP/1.1 429 Too Many Requests\r\ncontent-length: 0\r\n\r\n").await;
    let (head, _) = client.answer().await;
    assert_eq!(status(&head), 429);
    for name in ["x-asgard-origin", "x-asgard-waited", "x-asgard-queue-place", "x-asgard-stage"] {
        assert_eq!(header(&head, name), None);
    }
}
