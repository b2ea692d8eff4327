//! Keys: who may come in, and to whom.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test's helpers fail the test")]

mod support;

use std::collections::HashMap;
use std::io;
use std::sync::{Arc, Mutex};

use bifrost::{Client, ControlAnswer, Outcome, Refusal};
use domain::AgentName;
use serde_json::{Value, json};
use support::{Rig, With, header, rig, status};

const ALL: &str = "ak-for-all-of-them";
const SOME: &str = "ak-for-thor-and-loki";

async fn locked() -> Rig {
    let client = |name: &str, agents: Option<&[&str]>| Client {
        name: name.into(),
        person: false,
        agents: agents.map(|agents| agents.iter().map(|name| AgentName::new(name).unwrap()).collect()),
    };
    let keys = HashMap::from([
        (ALL, client("opencode", None)),
        (SOME, client("codex", Some(&["thor", "loki", "odin2"]))),
    ]);
    rig(With { keys, ..With::default() }).await
}

/// One request with these headers, and its answer.
async fn ask(rig: &Rig, line: &str, headers: &str, body: &str) -> (String, Value) {
    let mut client = rig.client().await;
    let length = body.len();
    let head =
        format!("{line} HTTP/1.1\r\nhost: {}\r\n{headers}content-length: {length}\r\n\r\n", rig.address);
    client.send(head + body).await;
    let (head, body) = client.answer().await;
    (head, serde_json::from_slice(&body).unwrap_or(Value::Null))
}

fn bearer(key: &str) -> String {
    format!("authorization: Bearer {key}\r\n")
}

#[tokio::test]
async fn without_a_key_nothing_but_health_is_open() {
    for headers in [
        String::new(),
        bearer("wrong"),
        bearer(""),
        format!("authorization: Basic {ALL}\r\n"),
        format!("authorization: {ALL}\r\n"),
        "x-api-key: wrong\r\n".to_owned(),
        // Two keys: the first one counts.
        format!("authorization: Bearer wrong\r\nx-api-key: {ALL}\r\n"),
    ] {
        let rig = locked().await;
        for line in [
            "GET /v1/models",
            "HEAD /v1/models",
            "GET /v1/models/odin",
            "GET /v1/status",
            "GET /metrics",
            "POST /v1/summon/odin",
            "POST /v1/release/odin",
            "POST /v1/restore",
            "POST /v1/chat/completions",
            "POST /v1/embeddings",
            "POST /tokenize",
        ] {
            if line.starts_with("HEAD") {
                let mut client = rig.client().await;
                client.send(format!("{line} HTTP/1.1\r\nhost: {}\r\n{headers}\r\n", rig.address)).await;
                assert_eq!(status(&client.head().await), 401, "{line}");
                continue;
            }
            let (head, error) = ask(&rig, line, &headers, r#"{"model":"odin"}"#).await;
            assert_eq!(status(&head), 401, "{line} {headers:?}");
            assert_eq!(error["error"]["code"], "invalid_api_key");
            assert_eq!(header(&head, "www-authenticate"), Some("Bearer"));
        }
        let (head, error) = ask(&rig, "POST /v1/messages", &headers, r#"{"model":"odin"}"#).await;
        assert_eq!(status(&head), 401);
        assert_eq!(
            (&error["type"], &error["error"]["type"]),
            (&json!("error"), &json!("authentication_error"))
        );
        assert_eq!(status(&ask(&rig, "GET /v1/health", &headers, "").await.0), 200);
        assert_eq!((rig.asked(), rig.fake.controlled.lock().unwrap().len()), (0, 0));
        let records = rig.fake.records.lock().unwrap();
        assert_eq!(records.len(), 12, "every refusal once");
        assert!(records.iter().all(|record| (record.outcome, record.status) == (Outcome::Refused, 401)));
    }
}

#[tokio::test]
async fn a_key_opens_in_each_of_its_forms_and_is_not_handed_on() {
    for headers in [
        bearer(ALL),
        format!("authorization: bearer  {ALL}\r\n"),
        format!("x-api-key: {ALL}\r\n"),
        format!("X-Api-Key: {ALL}\r\nanthropic-version: 2023-06-01\r\n"),
    ] {
        let rig = locked().await;
        assert_eq!(status(&ask(&rig, "GET /v1/models", &headers, "").await.0), 200, "{headers}");
        let mut client = rig.client().await;
        let body = r#"{"model":"odin"}"#;
        let head = format!(
            "POST /v1/messages HTTP/1.1\r\nhost: {}\r\n{headers}content-length: {}\r\n\r\n{body}",
            rig.address,
            body.len()
        );
        client.send(head).await;
        let (mut agent, request) = rig.agent.accept().await;
        assert!(!request.head.contains(ALL), "{}", request.head);
        agent.send("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await;
        assert_eq!(client.answer().await.1, b"ok");
        assert_eq!(&*rig.record().await.client, "opencode", "the key's name");
    }
}

#[tokio::test]
async fn a_key_for_some_agents_sees_and_asks_those_alone() {
    let rig = locked().await;
    let headers = bearer(SOME);
    let ids = async |headers: &str| {
        let (_, list) = ask(&rig, "GET /v1/models", headers, "").await;
        let data = list["data"].as_array().unwrap().clone();
        data.iter().map(|model| model["id"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(ids(&bearer(ALL)).await, ["thor", "odin", "loki"]);
    assert_eq!(ids(&headers).await, ["thor", "loki"]);
    assert_eq!(status(&ask(&rig, "GET /v1/models/thor", &headers, "").await.0), 200);
    assert_eq!(
        status(&ask(&rig, "GET /v1/models/odin", &headers, "").await.0),
        404,
        "it does not know of Odin"
    );

    for path in ["/v1/chat/completions", "/v1/messages"] {
        let (head, error) = ask(&rig, &format!("POST {path}"), &headers, r#"{"model":"odin"}"#).await;
        assert_eq!(status(&head), 403);
        assert_eq!(error["error"]["type"], "permission_error");
        let message = error["error"]["message"].as_str().unwrap();
        assert!(
            message.contains("codex") && message.contains("Odin") && message.contains("thor, loki"),
            "{message}"
        );
    }
    let (head, error) = ask(&rig, "POST /v1/embeddings", &headers, r#"{"model":"gpt-4"}"#).await;
    let message = error["error"]["message"].as_str().unwrap();
    assert_eq!(status(&head), 404);
    assert!(message.contains("thor, loki") && !message.contains("odin"), "{message}");
    assert_eq!(rig.asked(), 0, "nobody was asked for what is not allowed");

    // Odin, who is ready, has the same model: but it means Thor to this key.
    *rig.fake.refuse.lock().unwrap() = Some(Refusal::Busy { message: "x".to_owned(), retry_after: 1 });
    ask(&rig, "POST /v1/embeddings", &headers, r#"{"model":"Qwen/Qwen2.5-14B"}"#).await;
    assert_eq!(rig.fake.wanted.lock().unwrap()[0].model, "thor");
    ask(&rig, "POST /v1/embeddings", &bearer(ALL), r#"{"model":"Qwen/Qwen2.5-14B"}"#).await;
    assert_eq!(rig.fake.wanted.lock().unwrap()[1].model, "Qwen/Qwen2.5-14B", "as it was said");
}

#[tokio::test]
async fn a_key_for_some_agents_moves_those_alone() {
    let rig = locked().await;
    let headers = bearer(SOME);
    for line in ["POST /v1/summon/odin", "POST /v1/release/odin", "POST /v1/restore"] {
        let (head, error) = ask(&rig, line, &headers, "").await;
        assert_eq!((status(&head), &error["error"]["code"]), (403, &json!("agent_not_allowed")), "{line}");
    }
    assert_eq!(rig.fake.controlled.lock().unwrap().len(), 0);
    for line in ["POST /v1/summon/thor", "POST /v1/release/loki", "POST /v1/summon/nobody"] {
        *rig.fake.control.lock().unwrap() =
            Some(ControlAnswer::Done { status: 200, body: json!({"ok": true}) });
        assert_eq!(status(&ask(&rig, line, &headers, "").await.0), 200, "{line}");
    }
}

#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl io::Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn no_key_is_ever_in_a_log_a_record_or_an_answer() {
    let lines = Lines::default();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_writer({
            let lines = lines.clone();
            move || lines.clone()
        })
        .finish();
    let _guard = tracing::subscriber::set_default(subscriber);
    let secret = "sk-very-secret-0123456789";
    let everywhere: String = [
        "authorization: Bearer ",
        "x-api-key: ",
        "x-asgard-face: ",
        "cookie: key=",
        "proxy-authorization: Bearer ",
        "openai-organization: ",
        "x-request-id: ",
        "referer: http://localhost/?key=",
    ]
    .map(|name| format!("{name}{secret}\r\n"))
    .concat();
    let mut said = Vec::new();
    for rig in
        [locked().await, rig(With::default()).await, rig(With { queue: true, ..With::default() }).await]
    {
        for (line, more) in [
            ("POST /v1/chat/completions", ""),
            ("POST /v1/chat/completions?key=KEY", "prefer: wait=0\r\n"),
            ("POST /v1/messages", "origin: https://evil.example\r\n"),
            ("GET /v1/nothing?key=KEY", ""),
            ("POST /v1/embeddings", "upgrade: websocket\r\n"),
        ] {
            let line = line.replace("KEY", secret);
            // Loki's port is closed, and this is said in the log.
            let headers = format!("{everywhere}{more}prefer: wait=0\r\n");
            let (head, body) = ask(&rig, &line, &headers, r#"{"model":"loki"}"#).await;
            assert!(status(&head) >= 400);
            said.push(format!("{head}{body}"));
        }
        said.push(format!("{:?}", rig.fake.records.lock().unwrap()));
        // Half a request.
        let mut client = rig.client().await;
        client.send(format!("POST /v1/completions HTTP/1.1\r\nhost: x\r\n{everywhere}")).await;
        drop(client);
    }
    let log = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
    assert!(log.contains("Loki cannot be reached"), "the log is heard: {log}");
    assert!(!log.contains("very-secret"), "{log}");
    assert!(!said.concat().contains("very-secret"), "{said:?}");
}
