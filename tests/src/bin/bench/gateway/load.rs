//! The client of the measurements: HTTP by hand, on connections that stay open.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::upstream::LAST;

/// Nothing here takes longer; what hangs is to be known.
const HANG: Duration = Duration::from_secs(30);

/// A chat request of about 1 KB.
pub fn request(to: SocketAddr, wanted: &str) -> Vec<u8> {
    let stream = wanted != "answer";
    let content = "Tell me of the bridge. ".repeat(36);
    let body = format!(
        "{{\"model\":\"bench\",\"stream\":{stream},\"messages\":[{{\"role\":\"user\",\"content\":\"{content}\"}}]}}"
    );
    format!(
        "POST /v1/chat/completions?{wanted} HTTP/1.1\r\nhost: {to}\r\nuser-agent: bench\r\n\
         content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

fn ends_head(bytes: &[u8]) -> Option<usize> {
    bytes.windows(4).position(|w| w == b"\r\n\r\n").map(|at| at + 4)
}

/// The bytes of an answer of known length, head included, once its head is there.
fn whole(bytes: &[u8]) -> Option<usize> {
    let head = ends_head(bytes)?;
    let text = std::str::from_utf8(&bytes[..head]).unwrap();
    assert!(text.starts_with("HTTP/1.1 200"), "{text}{}", String::from_utf8_lossy(&bytes[head..]));
    let length = text.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse::<usize>().unwrap())
    });
    Some(head + length.expect("the answer has a length"))
}

/// One connection that blocks: the least that can stand between a clock and a socket.
pub struct Wire {
    stream: TcpStream,
    held: Vec<u8>,
}

impl Wire {
    pub fn to(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(HANG)).unwrap();
        Self { stream, held: vec![0; 64 << 10] }
    }

    /// Seconds from the request to the last byte of its answer.
    pub fn answer(&mut self, request: &[u8]) -> f64 {
        let began = Instant::now();
        self.stream.write_all(request).unwrap();
        let mut got = 0;
        loop {
            got += self.more(got);
            match whole(&self.held[..got]) {
                Some(all) if got >= all => return began.elapsed().as_secs_f64(),
                _ => {}
            }
        }
    }

    /// Seconds to the first byte of the first event; the stream is read to its end.
    pub fn first_event(&mut self, request: &[u8]) -> f64 {
        let began = Instant::now();
        self.stream.write_all(request).unwrap();
        let (mut got, mut first) = (0, None);
        loop {
            got += self.more(got);
            let bytes = &self.held[..got];
            if first.is_none() && bytes.windows(6).any(|w| w == b"data: ") {
                first = Some(began.elapsed().as_secs_f64());
            }
            if bytes.ends_with(LAST) {
                return first.expect("there was an event");
            }
        }
    }

    fn more(&mut self, got: usize) -> usize {
        let n = self.stream.read(&mut self.held[got..]).unwrap();
        assert!(n > 0, "the connection was closed: {}", String::from_utf8_lossy(&self.held[..got]));
        n
    }

    /// Seconds from the request to the end of a long stream. `each` hears, now and then, how many bytes have come.
    pub fn stream(&mut self, request: &[u8], mut each: impl FnMut(usize)) -> f64 {
        let began = Instant::now();
        self.stream.write_all(request).unwrap();
        let (mut all, mut tail) = (0, Vec::new());
        loop {
            let n = self.more(0);
            all += n;
            tail.extend_from_slice(&self.held[n.saturating_sub(LAST.len())..n]);
            let over = tail.len().saturating_sub(LAST.len());
            tail.drain(..over);
            if tail == LAST {
                return began.elapsed().as_secs_f64();
            }
            each(all);
        }
    }

    /// A stream that is held: returns when its first event has come.
    pub fn held(address: SocketAddr, request: &[u8]) -> Self {
        let mut wire = Self::to(address);
        wire.stream.write_all(request).unwrap();
        let mut got = 0;
        while !wire.held[..got].windows(6).any(|w| w == b"data: ") {
            got += wire.more(got);
        }
        // What holds 500 of them is this program, which is not measured; still.
        wire.held = Vec::new();
        wire
    }
}

/// Requests a second that `connections` get answered, each sending its next when the last was answered.
pub fn rate(address: SocketAddr, connections: usize, span: Duration) -> f64 {
    let request = request(address, "answer");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let began = Instant::now();
        let loops: Vec<_> = (0..connections)
            .map(|_| tokio::spawn(closed_loop(address, request.clone(), began + span)))
            .collect();
        let mut answered = 0;
        for each in loops {
            answered += each.await.unwrap();
        }
        f64::from(answered) / began.elapsed().as_secs_f64()
    })
}

async fn closed_loop(address: SocketAddr, request: Vec<u8>, end: Instant) -> u32 {
    let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
    stream.set_nodelay(true).unwrap();
    let mut held = vec![0; 8 << 10];
    let mut answered = 0;
    while Instant::now() < end {
        stream.write_all(&request).await.unwrap();
        let mut got = 0;
        loop {
            let n = stream.read(&mut held[got..]).await.unwrap();
            assert!(n > 0, "the connection was closed: {}", String::from_utf8_lossy(&held[..got]));
            got += n;
            if whole(&held[..got]).is_some_and(|all| got >= all) {
                break;
            }
        }
        answered += 1;
    }
    answered
}
