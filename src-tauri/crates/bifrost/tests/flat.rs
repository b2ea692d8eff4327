//! Memory stays flat, however long an answer is and however many there are. One test, because memory is the
//! process's: both ends of every connection are in it too.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test's helpers fail the test")]

mod support;

use support::{Wire, With, rig};

const CHAT: &[u8] = br#"{"model":"odin","stream":true}"#;
const HEAD: &str = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n";
const EVENT: &str = "data: {\"id\":\"chatcmpl-1\",\"object\":\"chat.completion.chunk\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\" word\"},\"finish_reason\":null}]}\n\n";

/// What is resident, in kB.
fn resident() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    statm.split(' ').nth(1).unwrap().parse::<usize>().unwrap() * 4
}

/// Throws away chunks until so many bytes of events have come.
async fn skip(client: &mut Wire, mut events: usize) {
    while events > 0 {
        client.arrives(EVENT.repeat(events.min(100))).await;
        events -= events.min(100);
    }
}

#[tokio::test]
async fn memory_does_not_grow_with_answers() {
    let mut rig = rig(With::default()).await;
    let (mut client, mut agent, _) = rig.chat(CHAT).await;
    agent.send(HEAD).await;
    client.head().await;
    let chunk = format!("{:x}\r\n{EVENT}\r\n", EVENT.len());
    let mut before = 0;
    for hundred in 0..2000 {
        agent.send(chunk.repeat(100)).await;
        skip(&mut client, 100).await;
        if hundred == 200 {
            before = resident();
        }
    }
    let grown = resident().saturating_sub(before);
    assert!(grown < 2000, "180,000 tokens of 150 bytes made it grow by {grown} kB");
    agent.chunk("").await;
    client.chunked().await;
    assert_eq!(rig.returned().await, "lease");
    let record = rig.fake.records.lock().unwrap().remove(0);
    assert_eq!(record.completion_tokens, Some(200_000));
    // Else the next request would come on this connection again.
    drop((client, agent));

    // A picture of 50 MB on its way in, as text; the agent reads it piece by piece.
    let picture = vec![b'x'; 1 << 20];
    let before = resident();
    let mut client = rig.client().await;
    let size = 67 * picture.len() + 40;
    client
        .send(format!(
            "POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\ncontent-length: {size}\r\n\r\n{:40}",
            r#"{"model":"odin","messages":""#
        ))
        .await;
    for _ in 0..66 {
        client.send(&picture).await;
    }
    client.send(&picture[2..]).await;
    let held = resident().saturating_sub(before);
    client.send("\"}").await;
    let (stream, _) = rig.agent.listen().await;
    let mut agent = Wire::new(stream);
    agent.head().await;
    let mut got = 0;
    while got < size {
        got += agent.at_most((size - got).min(1 << 20)).await.len();
    }
    agent.send("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await;
    client.answer().await;
    let grown = resident().saturating_sub(before);
    assert!(held < 16 << 10, "a body of 67 MB was held in {held} kB");
    assert!(grown < 16 << 10, "a body of 67 MB made it grow by {grown} kB");
    drop((client, agent));

    // Five hundred at once, each with a first word, all idle.
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    let more = rustix::process::Rlimit { current: limit.maximum, ..limit };
    rustix::process::setrlimit(rustix::process::Resource::Nofile, more).unwrap();
    let before = resident();
    let mut open = Vec::new();
    for _ in 0..500 {
        let (mut client, mut agent, _) = rig.chat(CHAT).await;
        agent.send(format!("{HEAD}{chunk}")).await;
        client.head().await;
        skip(&mut client, 1).await;
        open.push((client, agent));
    }
    let each = resident().saturating_sub(before) / 500;
    // 50 kB are the gateway's; the rest is the test's own two ends.
    assert!(each < 70, "{each} kB for each of 500 streams");
    for (_, agent) in &mut open {
        agent.send(chunk.repeat(50)).await;
    }
    for (client, _) in &mut open {
        skip(client, 50).await;
    }
    let each = resident().saturating_sub(before) / 500;
    assert!(each < 90, "{each} kB for each of 500 streams after 50 tokens more");
    drop(open);
    for _ in 0..500 {
        rig.returned().await;
    }
}
