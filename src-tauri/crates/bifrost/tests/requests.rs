//! What a client sends is what the agent gets; what may not come in does not.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test's helpers fail the test")]

mod support;

use std::time::Duration;

use bifrost::{Client, Gateway, Refusal, Settings};
use domain::AgentName;
use proptest::prelude::*;
use serde_json::Value;
use support::{KEY, Rig, With, header, rig, status};

const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

/// Sends a raw request and returns the status and the error's code (empty where there is no body).
async fn refused(rig: &Rig, request: &str) -> (u16, String) {
    let mut client = rig.client().await;
    client.send(request.replace("{at}", &rig.address.to_string())).await;
    let (head, body) = client.answer().await;
    for name in ["access-control-allow-origin", "access-control-allow-methods"] {
        assert_eq!(header(&head, name), None, "no CORS header is ever sent");
    }
    if body.is_empty() {
        return (status(&head), String::new());
    }
    assert_eq!(header(&head, "x-asgard-origin"), Some("gateway"), "{head}");
    assert_eq!(header(&head, "content-type"), Some("application/json"));
    let error: Value = serde_json::from_slice(&body).unwrap();
    let keys: Vec<&String> = error["error"].as_object().unwrap().keys().collect();
    assert_eq!(keys, ["code", "message", "param", "type"], "OpenAI's shape");
    assert!(error["error"]["message"].as_str().unwrap().len() > 10);
    (status(&head), error["error"]["code"].as_str().unwrap().to_owned())
}

fn post(body: &str) -> String {
    format!(
        "POST /v1/chat/completions HTTP/1.1\r\nhost: {{at}}\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )
}

#[tokio::test]
async fn what_may_not_come_in_reaches_nobody() {
    let rig =
        rig(With { settings: Settings { max_body: 1000, ..Settings::default() }, ..With::default() }).await;
    let chat = r#"{"model":"odin"}"#;
    let with = |headers: &str| post(chat).replacen("host: {at}", headers, 1);
    let huge = format!("host: {{at}}\r\nx-huge: {}", "x".repeat(200_000));
    let many = format!("host: {{at}}\r\n{}x: y", "x: y\r\n".repeat(200));
    for (request, code, word) in [
        (with("host: evil.com"), 403, "forbidden"),
        (with("host: evil.com:8899"), 403, "forbidden"),
        (with("host: 127.0.0.1:1"), 403, "forbidden"),
        (with("host: {at}\r\nhost: {at}"), 403, "forbidden"),
        (with("x-no: host"), 403, "forbidden"),
        (with("host: {at}\r\norigin: https://evil"), 403, "forbidden"),
        (with("host: {at}\r\norigin: null"), 403, "forbidden"),
        (with("host: {at}\r\ncontent-encoding: gzip"), 415, "compressed"),
        (with(&huge), 431, ""),
        (with(&many), 431, ""),
        (post(r#"{"model":"odin","model":"thor"}"#), 400, "invalid_model"),
        (post(r#"{"model":3}"#), 400, "invalid_model"),
        (post(r#"{"messages":[]}"#), 400, "invalid_model"),
        (post(r#"{"model":"odin""#), 400, "invalid_model"),
        (post(""), 400, "invalid_model"),
        (post(&"x".repeat(1001)), 413, "request_too_large"),
        (post("").replace("length: 0", "length: 99999999999999"), 413, "request_too_large"),
        (
            "POST /v1/completions HTTP/1.1\r\nhost: {at}\r\ntransfer-encoding: chunked\r\n\r\n".to_owned()
                + &format!("200\r\n{}\r\n", " ".repeat(512)).repeat(3),
            413,
            "request_too_large",
        ),
        ("GET /v1/chat/completions HTTP/1.1\r\nhost: {at}\r\n\r\n".to_owned(), 405, "wrong_method"),
        ("OPTIONS /v1/chat/completions HTTP/1.1\r\nhost: {at}\r\n\r\n".to_owned(), 405, "wrong_method"),
        (
            "POST /v1/models HTTP/1.1\r\nhost: {at}\r\ncontent-length: 0\r\n\r\n".to_owned(),
            405,
            "wrong_method",
        ),
        ("DELETE /v1/models/odin HTTP/1.1\r\nhost: {at}\r\n\r\n".to_owned(), 405, "wrong_method"),
        (
            "POST /v1/load_lora_adapter HTTP/1.1\r\nhost: {at}\r\ncontent-length: 0\r\n\r\n".to_owned(),
            404,
            "unknown_path",
        ),
        ("GET / HTTP/1.1\r\nhost: {at}\r\n\r\n".to_owned(), 404, "unknown_path"),
        (
            "POST /v1/chat/completions/ HTTP/1.1\r\nhost: {at}\r\ncontent-length: 0\r\n\r\n".to_owned(),
            404,
            "unknown_path",
        ),
        (
            "POST /v1//chat/completions HTTP/1.1\r\nhost: {at}\r\ncontent-length: 0\r\n\r\n".to_owned(),
            404,
            "unknown_path",
        ),
        ("GET /v1/models/gpt-4 HTTP/1.1\r\nhost: {at}\r\n\r\n".to_owned(), 404, "model_not_found"),
    ] {
        let short: String = request.chars().take(160).collect();
        assert_eq!(refused(&rig, &request).await, (code, word.to_owned()), "{short}");
    }
    assert_eq!(rig.asked(), 0, "no lease was asked for");
    assert_eq!(refused(&rig, &post(r#"{"model":"gpt-4"}"#)).await, (404, "model_not_found".to_owned()));
    assert_eq!(rig.asked(), 1);
}

#[tokio::test]
async fn a_client_in_the_middle_of_a_body_that_is_too_large_hears_why() {
    let rig =
        rig(With { settings: Settings { max_body: 1000, ..Settings::default() }, ..With::default() }).await;
    let mut client = rig.client().await;
    let size = 20 << 20;
    client
        .send(format!(
            "POST /v1/completions HTTP/1.1\r\nhost: {}\r\ncontent-length: {size}\r\n\r\n",
            rig.address
        ))
        .await;
    client.send(vec![b'x'; size]).await;
    assert_eq!(status(&client.answer().await.0), 413);
    // And the connection is still good.
    client.get(rig.address, "/v1/health").await;
    assert_eq!(status(&client.answer().await.0), 200);
}

#[tokio::test]
async fn a_body_that_stops_arriving_is_not_waited_for() {
    let settings = Settings { idle: Duration::from_millis(50), ..Settings::default() };
    let rig = rig(With { settings, ..With::default() }).await;
    let half = post(r#"{"model":"odin"}"#).replace("length: 16", "length: 17");
    assert_eq!(refused(&rig, &half).await, (408, "request_timeout".to_owned()));
    assert_eq!(rig.asked(), 0);
}

#[tokio::test]
async fn one_connection_too_many_is_told_so() {
    let rig =
        rig(With { settings: Settings { max_connections: 1, ..Settings::default() }, ..With::default() })
            .await;
    let mut first = rig.client().await;
    first.get(rig.address, "/v1/health").await;
    assert_eq!(status(&first.answer().await.0), 200);
    let mut second = rig.client().await;
    let (head, body) = second.answer().await;
    assert_eq!(status(&head), 503);
    let error: Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(error["error"]["code"], "too_many_connections");
    // The place is free again when the first is gone; the gateway notices it in its own time.
    drop(first);
    support::soon("a free place", async {
        loop {
            let mut third = rig.client().await;
            third.get(rig.address, "/v1/health").await;
            if status(&third.head().await) == 200 {
                break;
            }
        }
    })
    .await;
}

#[tokio::test]
async fn the_agent_gets_the_same_bytes_and_its_own_key() {
    let rig = rig(With::default()).await;
    let body =
        "{ \"stream\" : true,\n \"model\":\"Qwen\\/Qwen2.5-14B\" , \"messages\":[{\"model\":\"x\"}] }\n";
    let mut client = rig.client().await;
    client
        .send(format!(
            "POST /v1/chat/completions?x=%2F&y HTTP/1.1\r\nHost: localhost:{}\r\nAuthorization: Bearer of-the-client\r\n\
             Origin: http://localhost:3000\r\nCookie: a=b\r\nX-Api-Key: sk\r\nConnection: keep-alive, x-hop\r\nX-Hop: 1\r\n\
             TE: trailers\r\nProxy-Authorization: Basic x\r\nUpgrade: h2c\r\nUser-Agent: opencode/1.0\r\n\
             Accept-Encoding: gzip, br\r\nX-Request-Id: 7\r\nContent-Length: {}\r\n\r\n{body}",
            rig.address.port(),
            body.len()
        ))
        .await;
    let (mut agent, request) = rig.agent.accept().await;
    assert_eq!(request.body, body.as_bytes());
    assert_eq!(request.head.lines().next(), Some("POST /v1/chat/completions?x=%2F&y HTTP/1.1"));
    let mut names: Vec<String> = request
        .head
        .lines()
        .skip(1)
        .filter_map(|l| l.split_once(':'))
        .map(|(n, _)| n.to_ascii_lowercase())
        .collect();
    names.sort();
    assert_eq!(
        names,
        ["accept-encoding", "authorization", "content-length", "host", "user-agent", "x-request-id"]
    );
    assert_eq!(header(&request.head, "authorization"), Some(format!("Bearer {KEY}").as_str()));
    assert_eq!(header(&request.head, "host"), Some(rig.agent.address.to_string().as_str()));
    assert_eq!(header(&request.head, "accept-encoding"), Some("gzip, br"));
    agent.send(OK).await;
    assert_eq!(client.answer().await.1, b"ok");
    let wanted = rig.fake.wanted.lock().unwrap().clone();
    assert_eq!(wanted.len(), 1);
    assert_eq!(wanted[0].model, "Qwen/Qwen2.5-14B");
    assert_eq!(wanted[0].path, "/v1/chat/completions");
    let Client { name, .. } = &wanted[0].client;
    assert_eq!(&**name, "opencode/1.0");
}

#[tokio::test]
async fn a_chunked_request_arrives_whole() {
    let rig = rig(With::default()).await;
    let mut client = rig.client().await;
    let head =
        format!("POST /v1/responses HTTP/1.1\r\nhost: {}\r\ntransfer-encoding: chunked\r\n\r\n", rig.address);
    client.send(head).await;
    for piece in [r#"{"mo"#, r#"del":"#, r#""odin","input":"hi"}"#, ""] {
        client.chunk(piece).await;
    }
    let (mut agent, request) = rig.agent.accept().await;
    assert_eq!(request.body, br#"{"model":"odin","input":"hi"}"#);
    assert_eq!(header(&request.head, "transfer-encoding"), None);
    agent.send(OK).await;
    assert_eq!(status(&client.answer().await.0), 200);
}

#[tokio::test]
async fn a_client_that_asks_before_it_sends_is_told_to_go_on() {
    let rig = rig(With::default()).await;
    let mut client = rig.client().await;
    let body = r#"{"model":"odin"}"#;
    let asks =
        post(body).replace("{at}", &format!("{}\r\nexpect: 100-continue", rig.address)).replace(body, "");
    client.send(asks).await;
    assert_eq!(status(&client.head().await), 100);
    client.send(body).await;
    let (mut agent, request) = rig.agent.accept().await;
    assert_eq!(request.body, body.as_bytes());
    agent.send(OK).await;
    assert_eq!(client.answer().await.1, b"ok");
}

#[tokio::test]
async fn one_connection_carries_several_requests() {
    let mut rig = rig(With::default()).await;
    let mut client = rig.client().await;
    for round in 0..3 {
        let body = format!(r#"{{"model":"odin","round":{round}}}"#);
        client.post(rig.address, "/v1/chat/completions", body.as_bytes()).await;
        let (mut agent, request) = rig.agent.accept().await;
        assert_eq!(request.body, body.as_bytes());
        agent.send("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n").await;
        agent.chunk(&body).await;
        agent.chunk("").await;
        client.head().await;
        assert_eq!(client.chunked().await, (body.into_bytes(), support::End::Clean));
        assert_eq!(rig.returned().await, "lease");
        // A refusal in between does not end the connection.
        client.post(rig.address, "/v1/chat/completions", b"{}").await;
        assert_eq!(status(&client.answer().await.0), 400);
    }
}

#[tokio::test]
async fn models_and_health_are_the_gateways_own() {
    let rig = rig(With::default()).await;
    let mut client = rig.client().await;
    let mut get = async |path: &str| {
        client.get(rig.address, path).await;
        let (head, body) = client.answer().await;
        (status(&head), serde_json::from_slice::<Value>(&body).unwrap())
    };
    let (code, list) = get("/v1/models").await;
    assert_eq!((code, &list["object"]), (200, &Value::from("list")));
    let ids: Vec<&str> = list["data"].as_array().unwrap().iter().map(|m| m["id"].as_str().unwrap()).collect();
    assert_eq!(ids, ["thor", "odin", "loki"], "every agent, in order");
    assert_eq!(list["data"][0]["state"], "asleep");
    assert_eq!(list["data"][0]["object"], "model");
    assert_eq!(list["data"][0]["root"], "Qwen/Qwen2.5-14B");
    assert_eq!(list["data"][0]["max_model_len"], 32768);
    assert_eq!(get("/v1/models/thor").await.1["id"], "thor");
    assert_eq!(get("/v1/models/Qwen/Qwen2.5-14B").await.1["id"], "odin", "the one that is ready");
    assert_eq!(get("/v1/models/Qwen%2FQwen2.5-7B").await.1["id"], "loki");
    let (code, health) = get("/v1/health").await;
    assert_eq!((code, &health["status"]), (200, &Value::from("ok")));
    assert_eq!(health["port"], rig.address.port());
    let time = health["timestamp"].as_str().unwrap();
    assert!(time.ends_with('Z') && time.as_bytes()[10] == b'T', "{time}");
    assert_eq!(rig.asked(), 0, "looking wakes nobody");
}

#[tokio::test]
async fn refusals_have_a_status_and_say_whether_to_come_again() {
    let odin = AgentName::new("odin").unwrap();
    let (message, next) = ("What happened.".to_owned(), "What to do.".to_owned());
    for (refusal, code, word, later, retry) in [
        (
            Refusal::Asleep { agent: odin.clone(), message: message.clone(), next: next.clone() },
            503,
            "agent_asleep",
            None,
            Some("false"),
        ),
        (
            Refusal::Failed { agent: odin, message: message.clone(), next },
            503,
            "agent_failed",
            None,
            Some("false"),
        ),
        (Refusal::Busy { message: message.clone(), retry_after: 5 }, 503, "busy", Some("5"), None),
        (Refusal::TooOften { message: message.clone(), retry_after: 60 }, 429, "too_often", Some("60"), None),
        (Refusal::DoesNotFit { message: message.clone() }, 409, "does_not_fit", None, Some("false")),
        (Refusal::NotInTime { message: message.clone() }, 504, "not_ready_in_time", None, Some("false")),
        (Refusal::UnknownModel { message }, 404, "model_not_found", None, None),
    ] {
        let rig = rig(With::default()).await;
        let says_next = matches!(refusal, Refusal::Asleep { .. } | Refusal::Failed { .. });
        *rig.fake.refuse.lock().unwrap() = Some(refusal);
        let mut client = rig.client().await;
        client.post(rig.address, "/v1/messages", br#"{"model":"odin"}"#).await;
        let (head, body) = client.answer().await;
        let error: Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(status(&head), code, "{error}");
        assert_eq!(error["error"]["code"], word);
        assert_eq!(
            error["error"]["message"],
            if says_next { "What happened. What to do." } else { "What happened." }
        );
        assert_eq!(header(&head, "retry-after"), later);
        assert_eq!(header(&head, "x-should-retry"), retry);
        assert_eq!(header(&head, "x-asgard-origin"), Some("gateway"));
    }
}

#[tokio::test]
async fn a_taken_port_is_named() {
    let rig = rig(With::default()).await;
    let error = Gateway::bind(rig.address).await.map(|_| ()).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::AddrInUse);
    assert!(error.to_string().contains(&format!("Port {} is taken", rig.address.port())), "{error}");
}

#[test]
fn any_json_reaches_the_agent_that_it_names_unchanged() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let rig = runtime.block_on(rig(With::default()));
    let value = || {
        prop_oneof![".{0,40}".prop_map(Value::from), any::<i64>().prop_map(Value::from), Just(Value::Null)]
    };
    let pairs = proptest::collection::btree_map("[a-z]{1,6}", value(), 0..8);
    let spaces = proptest::sample::select(vec!["", " ", "\n", "\t \r\n"]);
    let name = proptest::sample::select(vec!["odin", "Qwen/Qwen2.5-14B"]);
    let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig::with_cases(64));
    let random = (pairs, spaces, name, 0_usize..9, proptest::collection::vec(1_usize..40, 1..6));
    runner
        .run(&random, |(pairs, space, name, place, cuts)| {
            let mut members: Vec<String> = pairs
                .iter()
                .filter(|(key, _)| *key != "model")
                .map(|(key, value)| format!("{space}{}{space}:{space}{value}", Value::from(key.clone())))
                .collect();
            members
                .insert(place.min(members.len()), format!("\"model\"{space}:{space}{}", Value::from(name)));
            let body = format!("{space}{{{}{space}}}{space}", members.join(","));
            let full: Value = serde_json::from_str(&body).unwrap();
            runtime.block_on(async {
                let mut client = rig.client().await;
                let head = format!(
                    "POST /v1/embeddings HTTP/1.1\r\nhost: {}\r\ntransfer-encoding: chunked\r\n\r\n",
                    rig.address
                );
                client.send(head).await;
                let mut rest = body.as_bytes();
                for cut in cuts.iter().cycle() {
                    let (piece, after) = rest.split_at((*cut).min(rest.len()));
                    client.chunk(piece).await;
                    if piece.is_empty() {
                        break;
                    }
                    rest = after;
                }
                let (mut agent, request) = rig.agent.accept().await;
                agent.send(OK).await;
                client.answer().await;
                prop_assert_eq!(request.body, body.as_bytes());
                let wanted = rig.fake.wanted.lock().unwrap().pop().unwrap();
                prop_assert_eq!(Some(wanted.model.as_str()), full["model"].as_str());
                Ok(())
            })
        })
        .unwrap();
}

#[tokio::test]
async fn a_server_of_others_hears_its_own_name_and_every_other_byte() {
    let theirs = "q\"w\\en \u{e9}\n";
    let quoted = Value::from(theirs).to_string();
    let rig = rig(With { their_name: Some(theirs.to_owned()), ..With::default() }).await;
    let long = format!(r#"{{"prompt":"{}","model":"#, "x".repeat(10 << 20));
    for (before, asked, after) in [
        (r#"{"model":"#, r#""odin""#, "}"),
        (" {\n \"a\" : [{\"model\":\"odin\"}] ,\t\"model\"  :  ", r#""odin""#, " , \"z\":1.0e0}\r\n"),
        (r#"{"x":"\u00e9\/","mod\u0065l":"#, r#""od\u0069n""#, r#","model ":"odin","y":{"model":"odin"}}"#),
        (long.as_str(), r#""odin""#, r#","n":1}"#),
    ] {
        let body = format!("{before}{asked}{after}");
        let expected = format!("{before}{quoted}{after}");
        let (mut client, mut agent, request) = rig.chat(body.as_bytes()).await;
        assert!(request.body == expected.as_bytes(), "a body of {} bytes", body.len());
        assert_eq!(header(&request.head, "content-length"), Some(expected.len().to_string().as_str()));
        agent.send(OK).await;
        assert_eq!(status(&client.answer().await.0), 200);
    }
    for body in [r#"{"model":"odin","model":"odin"}"#, r#"{"model":3}"#] {
        assert_eq!(refused(&rig, &post(body)).await, (400, "invalid_model".to_owned()), "{body}");
    }
}

#[tokio::test]
async fn the_gateway_opens_when_the_port_is_free_and_opens_again() {
    let other = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = other.local_addr().unwrap();
    assert!(Gateway::bind(address).await.unwrap_err().to_string().contains("taken"));
    drop(other);
    let rig = rig(With::default()).await;
    for _ in 0..3 {
        let bound = Gateway::bind(address).await.unwrap();
        let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
        let dispatch: std::sync::Arc<dyn bifrost::Dispatch> = std::sync::Arc::clone(&rig.fake) as _;
        let serving = tokio::spawn(bound.serve(dispatch, Settings::default(), async {
            let _ = stopped.await;
        }));
        let mut client = support::Wire::new(tokio::net::TcpStream::connect(address).await.unwrap());
        client.get(address, "/v1/health").await;
        assert_eq!(status(&client.answer().await.0), 200);
        // With the connection still open, as a client of the earlier gateway leaves it.
        stop.send(()).unwrap();
        support::soon("the end of the gateway", serving).await.unwrap();
    }
}
