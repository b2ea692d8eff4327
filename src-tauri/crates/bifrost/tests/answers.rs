//! What an agent answers is what the client gets: every byte, at once, and no good end where there was none.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test's helpers fail the test")]

mod support;

use std::sync::atomic::Ordering;

use support::{End, With, capture, header, rig, soon, status};

const CHAT: &[u8] = br#"{"model":"odin","messages":[]}"#;

#[tokio::test]
async fn captured_answers_arrive_byte_for_byte() {
    for name in [
        "vllm-chat-stream",
        "vllm-chat-nonstream",
        "vllm-responses-stream",
        "vllm-tool-named-stream",
        "vllm-anthropic-messages-stream",
        "vllm-stream-when-worker-killed",
        "vllm-err-401-bad-key",
        "vllm-err-context-overflow",
        "llamacpp-chat-stream-timings",
        "llamacpp-chat-nonstream",
        "llamacpp-anthropic-messages-stream",
        "llamacpp-err-404-path",
        "llamacpp-tokenize",
    ] {
        let mut rig = rig(With::default()).await;
        let (lines, captured) = capture(name);
        let (mut client, mut agent, _) = rig.chat(CHAT).await;
        agent.send(lines.join("\r\n") + "\r\n\r\n").await;
        let sent_head = lines.join("\n");
        let chunked = header(&sent_head, "transfer-encoding").is_some();
        // Pieces that respect neither lines nor characters.
        for piece in captured.chunks(97) {
            if chunked { agent.chunk(piece).await } else { agent.send(piece).await }
        }
        if chunked {
            agent.chunk("").await;
        }
        drop(agent);

        let head = client.head().await;
        assert_eq!(status(&head), status(&sent_head), "{name}");
        for kept in ["content-type", "content-length", "server", "vary", "x-accel-buffering"] {
            assert_eq!(header(&head, kept), header(&sent_head, kept), "{name}: {kept}");
        }
        for dropped in ["access-control-allow-origin", "keep-alive", "x-asgard-origin"] {
            assert_eq!(header(&head, dropped), None, "{name}: {dropped}");
        }
        let body = if chunked {
            let (body, end) = client.chunked().await;
            assert_eq!(end, End::Clean, "{name}");
            body
        } else {
            client.exactly(captured.len()).await
        };
        assert!(body == captured, "{name}: {:?}", String::from_utf8_lossy(&body));
        assert_eq!(rig.returned().await, "lease");
    }
}

#[tokio::test]
async fn a_chunk_is_there_before_the_next_is_made() {
    let mut rig = rig(With::default()).await;
    let (mut client, mut agent, _) = rig.chat(CHAT).await;
    agent
        .send("HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n")
        .await;
    // The head alone first: a client shows that something happens.
    assert_eq!(status(&client.head().await), 200);
    for token in ["data: one\n\n", "da", "ta: two\n\n", "data: [DONE]\n\n"] {
        agent.chunk(token).await;
        client.arrives(token).await;
    }
    assert!(rig.out(), "the lease is out while the answer is");
    agent.chunk("").await;
    assert_eq!(client.chunked().await, (Vec::new(), End::Clean));
    assert_eq!(rig.returned().await, "lease");
}

#[tokio::test]
async fn a_client_that_hangs_up_is_heard_by_the_agent() {
    let mut rig = rig(With::default()).await;
    // In the middle of an answer that pauses.
    let (mut client, mut agent, _) = rig.chat(CHAT).await;
    agent.send("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n").await;
    agent.chunk("data: one\n\n").await;
    client.head().await;
    client.arrives("data: one\n\n").await;
    drop(client);
    agent.hung_up().await;
    assert_eq!(rig.returned().await, "lease");
    // Before the first byte: a long prompt is being read.
    let (client, mut agent, _) = rig.chat(CHAT).await;
    drop(client);
    agent.hung_up().await;
    assert_eq!(rig.returned().await, "lease");
}

#[tokio::test]
async fn a_client_that_hangs_up_leaves_the_queue() {
    let mut rig = rig(With { queue: true, ..With::default() }).await;
    let mut client = rig.client().await;
    client.post(rig.address, "/v1/chat/completions", CHAT).await;
    soon("the queue", async {
        while rig.asked() == 0 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    drop(client);
    assert_eq!(rig.returned().await, "queue");
}

#[tokio::test]
async fn an_agent_that_dies_in_mid_answer_breaks_the_answer() {
    for killed in [false, true] {
        let mut rig = rig(With::default()).await;
        let (mut client, mut agent, _) = rig.chat(CHAT).await;
        agent.send("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n").await;
        agent.chunk("data: one\n\n").await;
        client.head().await;
        client.arrives("data: one\n\n").await;
        if killed {
            agent.die();
        } else {
            drop(agent);
        }
        assert_eq!(client.chunked().await, (Vec::new(), End::Broken), "killed: {killed}");
        assert_eq!(rig.returned().await, "lease");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn what_had_arrived_before_the_break_is_handed_on() {
    // Often, because what is lost depends on who runs first.
    for _ in 0..200 {
        let rig = rig(With::default()).await;
        let (mut client, mut agent, _) = rig.chat(CHAT).await;
        // Head, chunk and end all at once.
        agent.send("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n").await;
        drop(agent);
        client.head().await;
        assert_eq!(client.chunked().await, (b"hello".to_vec(), End::Broken));
    }
}

#[tokio::test]
async fn a_length_that_lies_is_not_believed() {
    let rig = rig(With::default()).await;
    // Too large: the client must see that bytes are missing.
    let (mut client, mut agent, _) = rig.chat(CHAT).await;
    agent.send("HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhello").await;
    drop(agent);
    assert_eq!(header(&client.head().await, "content-length"), Some("10"));
    assert_eq!(client.at_most(10).await, b"hello");
    // Too small: what is beyond it must not become the start of the next answer.
    let (mut client, mut agent, _) = rig.chat(CHAT).await;
    agent
        .send(
            "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhelloHTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\nx",
        )
        .await;
    assert_eq!(client.answer().await.1, b"hello");
    client.get(rig.address, "/v1/health").await;
    let (head, body) = client.answer().await;
    assert!(String::from_utf8(body).unwrap().contains(r#""status":"ok""#), "{head}");
}

#[tokio::test]
async fn an_agent_that_speaks_nonsense_is_a_502_with_its_name() {
    for (nonsense, why) in [
        ("", "nothing"),
        ("hello\r\n\r\n", "no HTTP"),
        ("HTTP/1.1 200 OK\r\ncontent-length: 3\r\ncontent-length: 4\r\n\r\nabcd", "two lengths"),
        ("HTTP/1.1 200 OK\r\ncontent-length: -1\r\n\r\n", "a negative length"),
        ("HTTP/1.1 200 OK\r\nbad header\r\n\r\n", "a header without a colon"),
        ("HTTP/1.1 101 Switching Protocols\r\nupgrade: h2c\r\nconnection: upgrade\r\n\r\n", "an upgrade"),
        ("HTTP/1.1 200 OK\r\nx-half: ", "half a head"),
    ] {
        let mut rig = rig(With::default()).await;
        let (mut client, mut agent, _) = rig.chat(CHAT).await;
        agent.send(nonsense).await;
        drop(agent);
        let (head, body) = client.answer().await;
        let error: serde_json::Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(status(&head), 502, "{why}: {head}");
        assert_eq!(header(&head, "x-asgard-origin"), Some("gateway"));
        let message = error["error"]["message"].as_str().unwrap();
        assert!(message.starts_with("Odin ") && message.contains("asgard logs odin"), "{why}: {message}");
        assert_eq!(rig.returned().await, "lease");
    }
}

#[tokio::test]
async fn a_closed_port_is_a_502_with_the_agents_name() {
    let mut rig = rig(With::default()).await;
    let mut client = rig.client().await;
    client.post(rig.address, "/v1/chat/completions", br#"{"model":"loki"}"#).await;
    let (head, body) = client.answer().await;
    let error: serde_json::Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(status(&head), 502);
    assert_eq!(error["error"]["code"], "agent_unreachable");
    assert!(error["error"]["message"].as_str().unwrap().starts_with("Loki cannot be reached"), "{error}");
    let tries = rig.asked();
    assert!(tries > 1, "the schedule was asked once, though nothing was sent yet");
    for _ in 0..tries {
        assert_eq!(rig.returned().await, "lease");
    }
}

#[tokio::test]
async fn who_comes_a_moment_before_the_end_is_known_waits_for_the_next_start() {
    let mut rig = rig(With::default()).await;
    let mut client = rig.client().await;
    client.post(rig.address, "/v1/chat/completions", br#"{"model":"loki"}"#).await;
    // The lease is on a server that is gone already. Then the engine says so, and the schedule with it.
    assert_eq!(rig.returned().await, "lease");
    rig.fake.queue.store(true, Ordering::Relaxed);
    let waiter = rig.waiter().await;
    assert!(waiter.grant.send(Ok(rig.fake.lease_on(1))).is_ok(), "nobody waits any more");
    let (mut agent, _) = rig.agent.accept().await;
    agent.send("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await;
    let (head, body) = client.answer().await;
    assert_eq!((status(&head), &body[..]), (200, &b"ok"[..]));
    let record = rig.record().await;
    assert_eq!(record.status, 200, "one request, one record");
}

#[tokio::test]
async fn a_client_that_does_not_read_slows_the_agent() {
    const PIECE: usize = 1 << 20;
    const PIECES: usize = 128;
    let rig = rig(With::default()).await;
    let (mut client, mut agent, _) = rig.chat(CHAT).await;
    agent.send(format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", PIECE * PIECES)).await;
    client.head().await;
    let piece = vec![b'x'; PIECE];
    let stall = std::time::Duration::from_millis(300);
    let mut sent = 0;
    while sent < PIECES && agent.try_send(&piece, stall).await.is_ok() {
        sent += 1;
    }
    assert!(sent < PIECES, "128 MB were taken while nobody read: they pile up in the gateway");
    drop(agent);
    // What was taken is still handed on, and the end is not a good one.
    let got = client.at_most(PIECE * PIECES).await;
    assert!(got.len() >= sent * PIECE && got.len() < PIECE * PIECES);
}

#[tokio::test]
async fn an_answer_that_takes_longer_than_its_lease_is_broken_off() {
    let mut rig = rig(With { max_seconds: Some(1), ..With::default() }).await;
    let (mut client, mut agent, _) = rig.chat(CHAT).await;
    agent.send("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n").await;
    client.head().await;
    assert_eq!(client.chunked().await, (b"hello".to_vec(), End::Broken));
    agent.hung_up().await;
    assert_eq!(rig.returned().await, "lease");
    // Nothing at all within the time is an answer of the gateway's own.
    let (mut client, mut agent, _) = rig.chat(CHAT).await;
    let (head, _) = client.answer().await;
    assert_eq!(status(&head), 504);
    agent.hung_up().await;
    assert_eq!(rig.returned().await, "lease");
}

#[tokio::test]
async fn the_end_of_the_gateway_breaks_off_what_is_under_way() {
    let mut rig = rig(With::default()).await;
    let (mut client, mut agent, _) = rig.chat(CHAT).await;
    agent.send("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n").await;
    client.head().await;
    client.arrives("hello").await;
    rig.stop().await;
    assert_eq!(client.chunked().await, (Vec::new(), End::Broken));
    agent.hung_up().await;
    assert_eq!(rig.returned().await, "lease");
    assert!(tokio::net::TcpStream::connect(rig.address).await.is_err(), "nobody listens any more");
}

#[tokio::test]
async fn an_old_client_is_reset_where_an_end_would_look_good() {
    let rig = rig(With::default()).await;
    let mut client = rig.client().await;
    let head = format!(
        "POST /v1/chat/completions HTTP/1.0\r\nhost: {}\r\ncontent-length: {}\r\n\r\n",
        rig.address,
        CHAT.len()
    );
    client.send(head).await;
    client.send(CHAT).await;
    let (mut agent, _) = rig.agent.accept().await;
    agent.send("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n").await;
    client.head().await;
    assert_eq!(client.exactly(5).await, b"hello");
    drop(agent);
    assert!(client.reset().await, "HTTP/1.0 has no other way to say that an answer is not whole");
}
