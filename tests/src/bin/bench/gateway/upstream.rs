//! The agent of the measurements: answers at once, by hand, so that what is measured is the way to it.
//!
//! The query says what is wanted: `?answer`, `?first`, `?burst`, `?idle`, `?tokens=N`.

use std::fmt::Write as _;
use std::io;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// The bytes of the body of `?answer`.
pub const ANSWER: usize = 1024;
/// Chunks that are written one after the other without a pause, and how many such bursts a stream has.
pub const BURST: usize = 64;
pub const BURSTS: usize = 32;

/// Serves until this program's standard input ends.
pub async fn serve(listener: TcpListener) -> io::Result<()> {
    loop {
        let (stream, _) = listener.accept().await?;
        tokio::spawn(async move {
            // A client that hangs up is how most measurements end.
            let _ = converse(stream).await;
        });
    }
}

async fn converse(mut stream: TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let answer = answer();
    let mut held = Vec::new();
    let mut part = vec![0; 16 << 10];
    loop {
        let (head, body) = loop {
            if let Some(end) = held.windows(4).position(|w| w == b"\r\n\r\n") {
                break (String::from_utf8_lossy(&held[..end]).into_owned(), end + 4);
            }
            match stream.read(&mut part).await? {
                0 => return Ok(()),
                n => held.extend_from_slice(&part[..n]),
            }
        };
        let length = head.lines().find_map(|line| {
            let (name, value) = line.split_once(':')?;
            name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse::<usize>().ok())?
        });
        let whole = body + length.unwrap_or(0);
        while held.len() < whole {
            match stream.read(&mut part).await? {
                0 => return Ok(()),
                n => held.extend_from_slice(&part[..n]),
            }
        }
        held.drain(..whole);
        let target = head.split(' ').nth(1).unwrap_or_default();
        match target.split_once('?').map_or("models", |(_, wanted)| wanted) {
            "first" => {
                stream.write_all(STREAM).await?;
                stream.write_all(&chunk(&event(0))).await?;
                stream.write_all(&[&chunk("data: [DONE]\n\n")[..], LAST].concat()).await?;
            }
            "burst" => {
                stream.write_all(STREAM).await?;
                let event = chunk(&event(0));
                for _ in 0..BURSTS {
                    for _ in 0..BURST {
                        stream.write_all(&event).await?;
                    }
                    tokio::task::yield_now().await;
                }
                stream.write_all(LAST).await?;
            }
            "idle" => {
                stream.write_all(STREAM).await?;
                stream.write_all(&chunk(&event(0))).await?;
                // Until the client hangs up.
                let _ = stream.read(&mut part).await?;
                return Ok(());
            }
            "models" => {
                stream
                    .write_all(&whole_answer("{\"object\":\"list\",\"data\":[{\"id\":\"bench\"}]}"))
                    .await?;
            }
            wanted => match wanted.strip_prefix("tokens=").and_then(|n| n.parse::<usize>().ok()) {
                Some(tokens) => {
                    stream.write_all(STREAM).await?;
                    for n in 0..tokens {
                        stream.write_all(&chunk(&event(n))).await?;
                    }
                    stream.write_all(&[&chunk("data: [DONE]\n\n")[..], LAST].concat()).await?;
                }
                None => stream.write_all(&answer).await?,
            },
        }
    }
}

const STREAM: &[u8] =
    b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n";
pub const LAST: &[u8] = b"0\r\n\r\n";

fn chunk(data: &str) -> Vec<u8> {
    format!("{:x}\r\n{data}\r\n", data.len()).into_bytes()
}

/// One token, as vLLM sends it.
fn event(n: usize) -> String {
    let head = "data: {\"id\":\"chatcmpl-0123456789abcdef\",\"object\":\"chat.completion.chunk\",\"created\":1763733600,\"model\":\"bench\"";
    format!(
        "{head},\"choices\":[{{\"index\":0,\"delta\":{{\"content\":\" token{}\"}},\"logprobs\":null,\"finish_reason\":null}}]}}\n\n",
        n % 10
    )
}

fn whole_answer(body: &str) -> Vec<u8> {
    let length = body.len();
    format!("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}")
        .into_bytes()
}

/// A chat completion of exactly [`ANSWER`] bytes.
fn answer() -> Vec<u8> {
    let mut body = "{\"id\":\"chatcmpl-0123456789abcdef\",\"object\":\"chat.completion\",\"created\":1763733600,\"model\":\"bench\",\
        \"usage\":{\"prompt_tokens\":200,\"completion_tokens\":120,\"total_tokens\":320},\"choices\":[{\"index\":0,\
        \"finish_reason\":\"stop\",\"message\":{\"role\":\"assistant\",\"content\":\"".to_owned();
    let end = "\"}}]}";
    while body.len() + end.len() < ANSWER {
        let _ = write!(body, "{}", if body.len().is_multiple_of(7) { ' ' } else { 'a' });
    }
    whole_answer(&(body + end))
}
