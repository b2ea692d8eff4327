//! Every request leaves one line behind, whatever becomes of it, with what the servers really say of tokens.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test's helpers fail the test")]

mod support;

use bifrost::{Outcome, Record, Refusal};
use support::{Rig, With, capture, header, rig, status};

const CHAT: &str = "/v1/chat/completions";
const BODY: &[u8] = br#"{"model":"odin","stream":true}"#;

/// The one record that there is.
fn only(rig: &Rig) -> Record {
    let mut records = rig.fake.records.lock().unwrap();
    assert_eq!(records.len(), 1, "one request, one record: {records:?}");
    records.remove(0)
}

#[tokio::test]
async fn tokens_are_what_the_captured_servers_say() {
    for (name, path, outcome, prompt, completion, counted) in [
        // With no usage asked for, vLLM says nothing: the events are counted.
        ("vllm-chat-stream", CHAT, Outcome::Done, None, Some(24), true),
        ("vllm-chat-stream-usage", CHAT, Outcome::Done, Some(34), Some(24), false),
        ("vllm-chat-stream-continuous-usage", CHAT, Outcome::Done, Some(34), Some(24), false),
        ("vllm-chat-nonstream", CHAT, Outcome::Done, Some(34), Some(24), false),
        ("vllm-chat-n2", CHAT, Outcome::Done, Some(31), Some(16), false),
        ("vllm-tool-required-stream", CHAT, Outcome::Done, None, Some(3), true),
        ("vllm-completions-stream", "/v1/completions", Outcome::Done, Some(4), Some(16), false),
        ("vllm-completions-nonstream", "/v1/completions", Outcome::Done, Some(4), Some(16), false),
        ("vllm-responses-stream", "/v1/responses", Outcome::Done, Some(34), Some(8), false),
        ("vllm-responses-nonstream", "/v1/responses", Outcome::Done, Some(34), Some(12), false),
        ("vllm-anthropic-messages-stream", "/v1/messages", Outcome::Done, Some(34), Some(8), false),
        ("vllm-stream-when-worker-killed", CHAT, Outcome::Error, None, Some(65), true),
        ("vllm-nonstream-when-worker-killed", CHAT, Outcome::Error, None, None, false),
        ("vllm-err-context-overflow", CHAT, Outcome::Error, None, None, false),
        ("llamacpp-chat-stream", CHAT, Outcome::Done, Some(34), Some(24), false),
        ("llamacpp-chat-stream-usage", CHAT, Outcome::Done, Some(34), Some(24), false),
        ("llamacpp-chat-stream-timings", CHAT, Outcome::Done, Some(34), Some(24), false),
        ("llamacpp-chat-nonstream", CHAT, Outcome::Done, Some(34), Some(24), false),
        ("llamacpp-tool-call", CHAT, Outcome::Done, Some(34), Some(60), false),
        ("llamacpp-completions-stream", "/v1/completions", Outcome::Done, Some(4), Some(8), false),
        ("llamacpp-responses-stream", "/v1/responses", Outcome::Done, Some(34), Some(8), false),
        ("llamacpp-anthropic-messages-stream", "/v1/messages", Outcome::Done, Some(34), Some(8), false),
    ] {
        let mut rig = rig(With::default()).await;
        let (lines, captured) = capture(name);
        let mut client = rig.client().await;
        client.post(rig.address, path, BODY).await;
        let (mut agent, _) = rig.agent.accept().await;
        agent.send(lines.join("\r\n") + "\r\n\r\n").await;
        let chunked = header(&lines.join("\n"), "transfer-encoding").is_some();
        for piece in captured.chunks(701) {
            if chunked { agent.chunk(piece).await } else { agent.send(piece).await }
        }
        if chunked {
            agent.chunk("").await;
            client.head().await;
            client.chunked().await;
        } else {
            client.answer().await;
        }
        assert_eq!(rig.returned().await, "lease");
        let record = only(&rig);
        let got = (record.outcome, record.prompt_tokens, record.completion_tokens, record.counted);
        assert_eq!(got, (outcome, prompt, completion, counted), "{name}");
        assert_eq!(record.agent.as_ref().unwrap().as_str(), "odin", "{name}");
        assert_eq!(record.ticket, Some(1), "{name}");
        assert_eq!((record.path.as_str(), record.stream), (path, true), "{name}");
        assert_eq!(record.status, status(&lines.join("\n")), "{name}");
        let first = record.first_token;
        assert_eq!(first.is_some(), chunked && completion.is_some(), "{name}");
        assert!(first.is_none_or(|first| record.took >= first), "{name}: {record:?}");
    }
}

#[tokio::test]
async fn a_request_that_ends_badly_leaves_its_line_too() {
    // Refused, with the agent that was meant.
    let mut refusing = rig(With::default()).await;
    let message = "Odin was called 3 times in this session.".to_owned();
    *refusing.fake.refuse.lock().unwrap() = Some(Refusal::TooOften { message, retry_after: 60 });
    let mut client = refusing.client().await;
    client.post(refusing.address, CHAT, BODY).await;
    client.answer().await;
    let record = only(&refusing);
    assert_eq!((record.outcome, record.status), (Outcome::Refused, 429));
    assert_eq!(record.agent.unwrap().as_str(), "odin");
    assert_eq!(record.why.as_deref(), Some("Odin was called 3 times in this session."));
    *refusing.fake.refuse.lock().unwrap() = None;
    // What is no request for anybody.
    client.post(refusing.address, CHAT, b"{").await;
    client.answer().await;
    let record = only(&refusing);
    assert_eq!((record.outcome, record.status, record.agent), (Outcome::Refused, 400, None));
    // An agent that cannot be reached.
    client.post(refusing.address, CHAT, br#"{"model":"loki"}"#).await;
    client.answer().await;
    assert_eq!(refusing.returned().await, "lease");
    let record = only(&refusing);
    assert_eq!((record.outcome, record.status), (Outcome::Broken, 502));
    assert_eq!(record.agent.unwrap().as_str(), "loki");

    // Broken off by the agent.
    let mut broken = rig(With::default()).await;
    let (mut client, mut agent, _) = broken.chat(BODY).await;
    agent
        .send("HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n")
        .await;
    agent.chunk("data: {\"choices\":[{\"delta\":{\"content\":\"a\"}}]}\n\n").await;
    client.head().await;
    drop(agent);
    client.chunked().await;
    assert_eq!(broken.returned().await, "lease");
    let record = only(&broken);
    assert_eq!((record.outcome, record.completion_tokens), (Outcome::Broken, Some(1)));
    assert!(record.why.unwrap().starts_with("Odin broke off in the middle"));

    // The client hangs up: in the middle, before the first byte, and in the queue.
    let mut left = rig(With::default()).await;
    let (mut client, mut agent, _) = left.chat(BODY).await;
    agent.send("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n").await;
    client.head().await;
    drop(client);
    assert_eq!(left.returned().await, "lease");
    let record = only(&left);
    assert_eq!((record.outcome, record.status), (Outcome::Left, 200));
    let (client, _agent, _) = left.chat(BODY).await;
    drop(client);
    assert_eq!(left.returned().await, "lease");
    let record = only(&left);
    assert_eq!((record.outcome, record.status, record.ticket), (Outcome::Left, 0, Some(1)));
    let mut queue = rig(With { queue: true, ..With::default() }).await;
    let mut client = queue.client().await;
    client.post(queue.address, CHAT, br#"{"model":"odin"}"#).await;
    support::soon("the queue", async {
        while queue.asked() == 0 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    drop(client);
    assert_eq!(queue.returned().await, "queue");
    support::soon("the record", async {
        while queue.fake.records.lock().unwrap().is_empty() {
            tokio::task::yield_now().await;
        }
    })
    .await;
    let record = only(&queue);
    assert_eq!(record.outcome, Outcome::Left);
    assert!(record.agent.is_some() && record.ticket.is_some() && record.first_token.is_none());
}
