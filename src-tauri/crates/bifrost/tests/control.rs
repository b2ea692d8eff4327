//! The paths that the gateway answers by itself, and those that it takes to no agent.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test's helpers fail the test")]

mod support;

use bifrost::{Control, ControlAnswer, Outcome, Refusal};
use domain::AgentName;
use serde_json::{Value, json};
use support::{Rig, With, header, rig, status};

/// Sends a raw request with an empty body, and reads the answer.
async fn ask(rig: &Rig, request: &str) -> (String, Value) {
    let (line, headers) = request.split_once('\n').unwrap_or((request, ""));
    let headers = headers.lines().map(|line| format!("{line}\r\n")).collect::<String>();
    let mut client = rig.client().await;
    client
        .send(format!("{line} HTTP/1.1\r\nhost: {}\r\n{headers}content-length: 0\r\n\r\n", rig.address))
        .await;
    let (head, body) = client.answer().await;
    assert_eq!(header(&head, "x-asgard-origin"), Some("gateway"), "{request}: {head}");
    (head, serde_json::from_slice(&body).unwrap_or_else(|_| Value::from(String::from_utf8(body).unwrap())))
}

#[tokio::test]
async fn the_control_paths_hand_on_what_is_asked_and_answered() {
    let done = json!({
        "ok": true, "action": "summon", "agent": "odin", "profile": "deep", "duration_seconds": 38.2,
        "detail": "Odin is ready.", "timestamp": "2026-11-21T14:00:00Z",
    });
    let odin = || "odin".to_owned();
    for (path, what) in [
        ("/v1/summon/odin", Control::Summon(odin())),
        ("/v1/release/odin", Control::Release(odin())),
        ("/v1/restore", Control::Restore),
    ] {
        for code in [200, 504] {
            let rig = rig(With::default()).await;
            *rig.fake.control.lock().unwrap() =
                Some(ControlAnswer::Done { status: code, body: done.clone() });
            let (head, body) = ask(&rig, &format!("POST {path}\nuser-agent: opencode/1.0")).await;
            assert_eq!((status(&head), &body), (code, &done), "{path}");
            assert_eq!(header(&head, "x-should-retry"), (code == 504).then_some("false"));
            assert_eq!(*rig.fake.controlled.lock().unwrap(), std::slice::from_ref(&what));
            let record = rig.record().await;
            assert_eq!((record.status, record.path.as_str(), &*record.client), (code, path, "opencode/1.0"));
            assert_eq!(record.outcome, if code == 200 { Outcome::Done } else { Outcome::Error });
            assert_eq!(record.why.as_deref(), Some("Odin is ready."));
        }
    }
}

#[tokio::test]
async fn the_control_paths_refuse_with_the_right_status() {
    let message = "What happened.".to_owned();
    for (refusal, code, word, later) in [
        (Refusal::UnknownAgent { message: message.clone() }, 400, "unknown_agent", None),
        (Refusal::TooOften { message: message.clone(), retry_after: 600 }, 429, "too_often", Some("600")),
        (Refusal::DoesNotFit { message: message.clone() }, 409, "does_not_fit", None),
        (Refusal::NotInTime { message: message.clone() }, 504, "not_ready_in_time", None),
        (Refusal::Busy { message, retry_after: 0 }, 503, "busy", Some("1")),
    ] {
        let rig = rig(With::default()).await;
        *rig.fake.control.lock().unwrap() = Some(ControlAnswer::Refused(refusal));
        let (head, body) = ask(&rig, "POST /v1/summon/odin").await;
        assert_eq!((status(&head), &body["error"]["code"]), (code, &json!(word)));
        assert_eq!(body["error"]["message"], "What happened.");
        assert_eq!(header(&head, "retry-after"), later);
        let record = rig.record().await;
        assert_eq!((record.outcome, record.status), (Outcome::Refused, code));
    }
}

#[tokio::test]
async fn who_looks_wakes_nobody() {
    let rig = rig(With { queue: true, ..With::default() }).await;
    for method in ["GET", "HEAD"] {
        for (path, kind) in [
            ("/v1/health", "application/json"),
            ("/v1/models", "application/json"),
            ("/v1/models/thor", "application/json"),
            ("/v1/models/Qwen%2FQwen2.5-14B", "application/json"),
            ("/v1/status", "application/json"),
            ("/metrics", "text/plain; version=0.0.4"),
        ] {
            let mut client = rig.client().await;
            client.send(format!("{method} {path} HTTP/1.1\r\nhost: {}\r\n\r\n", rig.address)).await;
            let head = client.head().await;
            assert_eq!((status(&head), header(&head, "content-type")), (200, Some(kind)), "{method} {path}");
            assert_eq!(header(&head, "x-asgard-origin"), Some("gateway"));
            let length: usize = header(&head, "content-length").unwrap().parse().unwrap();
            assert!(length > 0, "{method} {path}");
            if method == "GET" {
                client.exactly(length).await;
            }
            // After a HEAD nothing of a body stands in the way of the next answer.
            client.get(rig.address, "/v1/health").await;
            assert_eq!(status(&client.answer().await.0), 200, "{method} {path}");
        }
    }
    let (_, body) = ask(&rig, "GET /v1/status").await;
    assert_eq!(body["active_profile"], "standard");
    let (_, body) = ask(&rig, "GET /metrics").await;
    assert_eq!(body, "bifrost_up 1\n");
    for refused in
        ["GET /v1/summon/odin", "GET /v1/chat/completions", "GET /v1/models/nobody", "GET /v1/responses/x"]
    {
        assert!(status(&ask(&rig, refused).await.0) >= 404);
    }
    assert_eq!(rig.asked(), 0, "no lease was asked for");
    assert_eq!(*rig.fake.controlled.lock().unwrap(), []);
    let records = rig.fake.records.lock().unwrap();
    let refused = |path: &str| records.iter().filter(|record| record.path == path).count();
    assert_eq!(
        refused("/v1/health") + refused("/v1/status") + refused("/metrics"),
        0,
        "looking is no request"
    );
    assert_eq!(refused("/v1/responses/x"), 1, "a refusal is");
}

#[tokio::test]
async fn what_is_not_spoken_is_refused_in_clear_words() {
    let rig = rig(With::default()).await;
    for (request, code, word) in [
        (
            "GET /v1/realtime\nconnection: Upgrade\nupgrade: websocket\nsec-websocket-key: x",
            501,
            "no_websockets",
        ),
        ("POST /v1/chat/completions\nconnection: upgrade\nupgrade: WebSocket", 501, "no_websockets"),
        ("OPTIONS /v1/chat/completions\naccess-control-request-method: POST", 405, "wrong_method"),
        ("OPTIONS /v1/chat/completions\norigin: https://evil.example", 403, "forbidden"),
        ("TRACE /v1/models", 405, "wrong_method"),
        ("PUT /v1/restore", 405, "wrong_method"),
        ("GET /v1/responses/resp_1", 404, "unknown_response"),
        ("POST /v1/responses/resp_1/cancel", 404, "unknown_response"),
        ("POST /v1/audio/transcriptions\ncontent-type: Multipart/Form-Data; boundary=x", 415, "multipart"),
        ("POST /v1/embeddings\ncontent-encoding: br", 415, "compressed"),
        ("POST /v1/summon/", 404, "unknown_path"),
        ("POST /v1/../sleep", 404, "unknown_path"),
        ("POST /sleep", 404, "unknown_path"),
    ] {
        let (head, body) = ask(&rig, request).await;
        assert_eq!((status(&head), &body["error"]["code"]), (code, &json!(word)), "{request}: {body}");
        for name in ["access-control-allow-origin", "access-control-allow-methods", "upgrade"] {
            assert_eq!(header(&head, name), None, "{request}");
        }
        assert_eq!(header(&head, "allow").is_some(), code == 405, "{request}");
        let record = rig.record().await;
        assert_eq!((record.outcome, record.status), (Outcome::Refused, code), "{request}");
        assert_eq!(record.why.as_deref(), body["error"]["message"].as_str());
    }
    let mut client = rig.client().await;
    client.send(format!("CONNECT {0} HTTP/1.1\r\nhost: {0}\r\n\r\n", rig.address)).await;
    assert_eq!(status(&client.head().await), 405);
    assert_eq!(rig.asked(), 0);
}

#[tokio::test]
async fn every_path_with_a_model_reaches_its_agent() {
    for path in [
        "/v1/rerank",
        "/v1/score",
        "/v1/audio/speech",
        "/v1/responses/input_tokens",
        "/v1/chat/completions/render",
        "/v1/what-comes-next_year",
        "/rerank",
        "/detokenize",
    ] {
        let rig = rig(With::default()).await;
        let mut client = rig.client().await;
        client.post(rig.address, path, br#"{"model":"odin"}"#).await;
        let (mut agent, request) = rig.agent.accept().await;
        assert!(request.head.starts_with(&format!("POST {path} HTTP/1.1\r\n")), "{}", request.head);
        agent.send("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await;
        assert_eq!(client.answer().await.1, b"ok");
    }
}

#[tokio::test]
async fn refusals_on_anthropics_path_have_anthropics_shape() {
    let odin = AgentName::new("odin").unwrap();
    let message = "What happened.".to_owned();
    for (refusal, code, kind, later) in [
        (Refusal::UnknownModel { message: message.clone() }, 404, "not_found_error", false),
        (Refusal::TooOften { message: message.clone(), retry_after: 9 }, 429, "rate_limit_error", true),
        (Refusal::QueueFull { message: message.clone(), retry_after: 9 }, 429, "rate_limit_error", true),
        (Refusal::Busy { message: message.clone(), retry_after: 9 }, 503, "overloaded_error", true),
        (
            Refusal::Asleep { agent: odin.clone(), message: message.clone(), next: String::new() },
            503,
            "overloaded_error",
            false,
        ),
        (
            Refusal::Failed { agent: odin, message: message.clone(), next: String::new() },
            503,
            "api_error",
            false,
        ),
        (Refusal::NotAllowed { message: message.clone() }, 403, "permission_error", false),
        (Refusal::NoKey { message: message.clone() }, 401, "authentication_error", false),
        (Refusal::DoesNotFit { message }, 409, "invalid_request_error", false),
    ] {
        for path in ["/v1/messages", "/v1/messages/count_tokens"] {
            let rig = rig(With::default()).await;
            *rig.fake.refuse.lock().unwrap() = Some(refusal.clone());
            let mut client = rig.client().await;
            client.post(rig.address, path, br#"{"model":"odin","stream":true}"#).await;
            let (head, body) = client.answer().await;
            let error: Value = serde_json::from_slice(&body).unwrap();
            assert_eq!(status(&head), code);
            assert_eq!((&error["type"], &error["error"]["type"]), (&json!("error"), &json!(kind)), "{path}");
            assert_eq!(error["error"]["message"], "What happened.");
            assert_eq!(header(&head, "retry-after").is_some(), later, "{error}");
        }
    }
    // Also for what comes no further than the door or the body.
    let rig = rig(With::default()).await;
    for (request, code, kind) in [
        ("GET /v1/messages", 405, "invalid_request_error"),
        ("POST /v1/messages\norigin: https://evil.example", 403, "permission_error"),
        ("POST /v1/messages", 400, "invalid_request_error"),
        ("POST /v1/messages/count_tokens\ncontent-encoding: gzip", 415, "invalid_request_error"),
    ] {
        let (head, error) = ask(&rig, request).await;
        assert_eq!((status(&head), &error["error"]["type"]), (code, &json!(kind)), "{request}");
    }
}
