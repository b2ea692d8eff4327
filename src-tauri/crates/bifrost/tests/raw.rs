//! What an agent answers passes as it is, or not at all.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test's helpers fail the test")]

mod support;

use std::time::Duration;

use serde_json::Value;
use support::{End, With, header, rig, status};

const CHAT: &[u8] = br#"{"model":"odin"}"#;
const ODD: &str = "{ \"a\" :1,\"a\": 2 ,\t\"b\":\"\\u00e9\\/\u{e9}\",\r\n\"c\":1.0e+00,\"c\":null}\n\n ";

#[tokio::test]
async fn every_byte_passes_at_once() {
    for kind in ["application/json", "text/event-stream", "application/x-odd"] {
        let rig = rig(With::default()).await;
        // In chunks, of unknown length, and of a known one. Each byte is seen before the next is made.
        let (mut client, mut agent, _) = rig.chat(CHAT).await;
        agent
            .send(format!("HTTP/1.1 200 OK\r\ncontent-type: {kind}\r\ntransfer-encoding: chunked\r\n\r\n"))
            .await;
        client.head().await;
        for byte in ODD.bytes() {
            agent.chunk([byte]).await;
            client.arrives([byte]).await;
        }
        agent.chunk("").await;
        assert_eq!(client.chunked().await, (Vec::new(), End::Clean));

        client.post(rig.address, "/v1/chat/completions", CHAT).await;
        agent.request().await;
        agent
            .send(format!("HTTP/1.1 200 OK\r\ncontent-type: {kind}\r\ncontent-length: {}\r\n\r\n", ODD.len()))
            .await;
        client.head().await;
        for byte in ODD.bytes() {
            agent.send([byte]).await;
            assert_eq!(client.exactly(1).await, [byte]);
        }

        client.post(rig.address, "/v1/chat/completions", CHAT).await;
        agent.request().await;
        agent.send(format!("HTTP/1.0 200 OK\r\ncontent-type: {kind}\r\n\r\n")).await;
        client.head().await;
        for byte in ODD.bytes() {
            agent.send([byte]).await;
            client.arrives([byte]).await;
        }
        drop(agent);
        assert_eq!(client.chunked().await, (Vec::new(), End::Clean));
    }
}

#[tokio::test]
async fn what_a_server_may_do_does_no_harm() {
    let body = "4\r\nwhat\r\n0\r\n\r\n";
    for (name, answer) in [
        ("go on", format!("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n{body}")),
        (
            "hints",
            format!(
                "HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\nHTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n{body}"
            ),
        ),
        ("no reason", format!("HTTP/1.1 200\r\ntransfer-encoding: chunked\r\n\r\n{body}")),
        ("odd names", format!("HTTP/1.1 200 OK\r\nTRANSFER-encoding:chunked\r\nX-Odd:\t  a  b \r\n\r\n{body}")),
        (
            "trailers",
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ntrailer: x-sum\r\n\r\n4\r\nwhat\r\n0\r\nx-sum: 1\r\n\r\n"
                .to_owned(),
        ),
        (
            "extensions",
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0004;a=b;c=\"d\"\r\nwhat\r\n0;x\r\n\r\n".to_owned(),
        ),
        (
            "a length beside chunks",
            format!("HTTP/1.1 200 OK\r\ncontent-length: 2\r\ntransfer-encoding: chunked\r\n\r\n{body}"),
        ),
    ] {
        let mut rig = rig(With::default()).await;
        let (mut client, mut agent, _) = rig.chat(CHAT).await;
        agent.send(answer).await;
        let head = client.head().await;
        assert_eq!(status(&head), 200, "{name}");
        assert_eq!(header(&head, "trailer"), None, "{name}");
        assert_eq!(header(&head, "content-length"), None, "{name}");
        assert_eq!(client.chunked().await, (b"what".to_vec(), End::Clean), "{name}");
        assert_eq!(rig.returned().await, "lease", "{name}");
    }
}

#[tokio::test]
async fn a_head_that_does_not_end_is_not_read_to_its_end() {
    for line in ["x: y\r\n".to_owned(), format!("x: {}\r\n", "y".repeat(5000)), "y".repeat(5000)] {
        let mut rig = rig(With::default()).await;
        let (mut client, mut agent, _) = rig.chat(CHAT).await;
        agent.send("HTTP/1.1 200 OK\r\n").await;
        let mut taken = 0;
        while taken < 64 << 20 && agent.try_send(line.as_bytes(), Duration::from_secs(20)).await.is_ok() {
            taken += line.len();
        }
        assert!(taken < 64 << 20, "an endless head was taken");
        let (head, body) = client.answer().await;
        let error: Value = serde_json::from_slice(&body).unwrap();
        assert_eq!((status(&head), &error["error"]["code"]), (502, &Value::from("agent_unreachable")));
        assert_eq!(rig.returned().await, "lease");
    }
}

#[tokio::test]
async fn a_body_that_is_no_body_is_a_clean_error() {
    for (name, sent, body, passed) in [
        ("no chunk", "transfer-encoding: chunked", "hello\r\n", ""),
        ("a negative chunk", "transfer-encoding: chunked", "-1\r\nhello", ""),
        ("a huge chunk", "transfer-encoding: chunked", "fffffffffffffffff\r\nhello", ""),
        ("a chunk that is too long", "transfer-encoding: chunked", "2\r\nhello\r\n0\r\n\r\n", "he"),
        ("half a chunk", "transfer-encoding: chunked", "9\r\nhello", "hello"),
        ("no last chunk", "transfer-encoding: chunked", "5\r\nhello\r\n", "hello"),
        ("half a last chunk", "transfer-encoding: chunked", "5\r\nhello\r\n0\r\n", "hello"),
    ] {
        let mut rig = rig(With::default()).await;
        let (mut client, mut agent, _) = rig.chat(CHAT).await;
        agent.send(format!("HTTP/1.1 200 OK\r\n{sent}\r\n\r\n{body}")).await;
        drop(agent);
        assert_eq!(status(&client.head().await), 200, "{name}");
        assert_eq!(client.chunked().await, (passed.as_bytes().to_vec(), End::Broken), "{name}");
        assert_eq!(rig.returned().await, "lease", "{name}");
    }
    // A coding that nobody would undo.
    let mut rig = rig(With::default()).await;
    for coding in ["gzip", "gzip, chunked", "chunked\r\ntransfer-encoding: chunked"] {
        let (mut client, mut agent, _) = rig.chat(CHAT).await;
        agent.send(format!("HTTP/1.1 200 OK\r\ntransfer-encoding: {coding}\r\n\r\n0\r\n\r\n")).await;
        assert_eq!(status(&client.answer().await.0), 502, "{coding}");
        assert_eq!(rig.returned().await, "lease", "{coding}");
    }
}

#[tokio::test]
async fn a_stream_that_breaks_says_so_in_its_own_way() {
    for (kind, told) in [("text/event-stream; charset=utf-8", true), ("application/json", false)] {
        let mut rig = rig(With::default()).await;
        let (mut client, mut agent, _) = rig.chat(CHAT).await;
        agent
            .send(format!("HTTP/1.1 200 OK\r\ncontent-type: {kind}\r\ntransfer-encoding: chunked\r\n\r\n"))
            .await;
        agent.chunk("data: {\"choices\":[{\"del").await;
        drop(agent);
        client.head().await;
        let (body, end) = client.chunked().await;
        assert_eq!(end, End::Broken, "{kind}");
        let body = String::from_utf8(body).unwrap();
        let rest = body.strip_prefix("data: {\"choices\":[{\"del").unwrap();
        assert_eq!(rest.starts_with("\n\n") && rest.contains("\"error\""), told, "{kind}: {rest}");
        assert_eq!(rig.returned().await, "lease", "{kind}");
    }
}
