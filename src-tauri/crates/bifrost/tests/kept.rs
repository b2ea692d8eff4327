//! Connections to agents are kept, and never cost a request.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test's helpers fail the test")]

mod support;

use support::{End, With, rig, status};

const CHAT: &[u8] = br#"{"model":"odin"}"#;
const PATH: &str = "/v1/chat/completions";
const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
const CHUNKED: &str = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n";

#[tokio::test]
async fn a_finished_answer_gives_its_connection_to_the_next() {
    let mut rig = rig(With::default()).await;
    let (mut client, mut agent, _) = rig.chat(CHAT).await;
    for round in 0..20 {
        if round % 2 == 0 {
            agent.send(OK).await;
            assert_eq!(client.answer().await.1, b"ok");
        } else {
            agent.send(CHUNKED).await;
            client.head().await;
            assert_eq!(client.chunked().await, (b"ok".to_vec(), End::Clean));
        }
        assert_eq!(rig.returned().await, "lease");
        // Also for another client.
        if round % 3 == 0 {
            client = rig.client().await;
        }
        client.post(rig.address, PATH, CHAT).await;
        assert_eq!(agent.request().await.body, CHAT);
    }
}

#[tokio::test]
async fn a_connection_that_the_agent_closed_costs_nothing() {
    for (what, last) in [
        ("closed after its answer", OK),
        ("closed after its answer in chunks", CHUNKED),
        ("said so", "HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok"),
        ("an old server", "HTTP/1.0 200 OK\r\ncontent-length: 2\r\n\r\nok"),
        ("words nobody asked for", "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nokHTTP/1.1 408 x\r\n\r\n"),
        ("bytes nobody asked for", "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok\r\n\r\nhello"),
    ] {
        let mut rig = rig(With::default()).await;
        let (mut client, mut agent, _) = rig.chat(CHAT).await;
        agent.send(last).await;
        let head = client.head().await;
        assert_eq!(status(&head), 200, "{what}");
        if last == CHUNKED {
            client.chunked().await.0
        } else {
            client.exactly(2).await
        };
        assert_eq!(rig.returned().await, "lease", "{what}");
        drop(agent);
        client.post(rig.address, PATH, CHAT).await;
        let (mut agent, request) = rig.agent.accept().await;
        assert_eq!(request.body, CHAT, "{what}");
        agent.send(OK).await;
        assert_eq!(client.answer().await.1, b"ok", "{what}");
    }
}

#[tokio::test]
async fn what_may_have_arrived_is_not_sent_again() {
    let mut rig = rig(With::default()).await;
    let (mut client, mut agent, _) = rig.chat(CHAT).await;
    agent.send(OK).await;
    client.answer().await;
    client.post(rig.address, PATH, CHAT).await;
    // The agent has read it, and ends without a word.
    assert_eq!(agent.request().await.body, CHAT);
    drop(agent);
    let (head, _) = client.answer().await;
    assert_eq!(status(&head), 502);
    for _ in 0..2 {
        assert_eq!(rig.returned().await, "lease");
    }
    // The next is a request of its own, on a new connection, and the first that comes there.
    client.post(rig.address, PATH, br#"{"model":"odin","n":2}"#).await;
    let (mut agent, request) = rig.agent.accept().await;
    assert_eq!(request.body, br#"{"model":"odin","n":2}"#);
    agent.send(OK).await;
    assert_eq!(client.answer().await.1, b"ok");
}

#[tokio::test]
async fn a_broken_answer_is_never_the_start_of_another() {
    let mut rig = rig(With::default()).await;
    let (mut client, mut agent, _) = rig.chat(CHAT).await;
    agent.send("HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf").await;
    client.head().await;
    assert_eq!(client.exactly(4).await, b"half");
    drop(client);
    agent.hung_up().await;
    assert_eq!(rig.returned().await, "lease");
    let (mut client, mut agent, _) = rig.chat(CHAT).await;
    agent.send(OK).await;
    assert_eq!(client.answer().await.1, b"ok");
}

#[tokio::test]
async fn requests_at_once_have_a_connection_each() {
    let mut rig = rig(With::default()).await;
    let mut pairs = Vec::new();
    for n in 0..40 {
        let body = format!(r#"{{"model":"odin","n":{n}}}"#);
        pairs.push((rig.chat(body.as_bytes()).await, body));
    }
    for ((client, agent, request), body) in &mut pairs {
        assert_eq!(&request.body, body.as_bytes());
        agent.send(format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len())).await;
        assert_eq!(&client.answer().await.1, body.as_bytes());
        assert_eq!(rig.returned().await, "lease");
    }
}
