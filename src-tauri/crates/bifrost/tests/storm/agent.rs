//! The agent of a campaign: does what the query of each request says.

use std::collections::HashSet;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// How an agent answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Manner {
    Whole,
    /// Whole, and says that it closes.
    WholeClose,
    /// Whole, and closes without having said so.
    WholeDrop,
    /// Whole, with bytes after it that belong to nothing.
    Extra,
    Events,
    UntilClose,
    /// An error of the agent's own, whole.
    Error,
    /// A head that is not yet the answer, then the answer.
    Informed,
    CutLength,
    CutEvents,
    BadChunk,
    CutHead,
    Nothing,
    /// Hangs up on the head, before the body was read.
    Early,
    Garbage,
    EndlessHead,
    /// A part, then silence until it is hung up on.
    Stall,
    /// Silence.
    Mute,
}

impl Manner {
    pub const ALL: [Self; 18] = [
        Self::Whole,
        Self::WholeClose,
        Self::WholeDrop,
        Self::Extra,
        Self::Events,
        Self::UntilClose,
        Self::Error,
        Self::Informed,
        Self::CutLength,
        Self::CutEvents,
        Self::BadChunk,
        Self::CutHead,
        Self::Nothing,
        Self::Early,
        Self::Garbage,
        Self::EndlessHead,
        Self::Stall,
        Self::Mute,
    ];

    pub fn whole(self) -> bool {
        matches!(
            self,
            Self::Whole
                | Self::WholeClose
                | Self::WholeDrop
                | Self::Extra
                | Self::Events
                | Self::UntilClose
                | Self::Error
        )
    }

    /// Ends only when it is hung up on.
    pub fn stalls(self) -> bool {
        matches!(self, Self::Stall | Self::Mute)
    }

    fn named(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|m| format!("{m:?}") == word)
    }
}

/// What one request asks of the agent; travels in the query.
#[derive(Debug, Clone)]
pub struct Order {
    pub manner: Manner,
    /// Bytes of the body, about.
    pub size: usize,
    /// Where it is cut, in thousandths.
    pub cut: usize,
    /// A cut is a reset, not an end.
    pub reset: bool,
    pub tag: String,
}

impl Order {
    pub fn query(&self) -> String {
        format!("{:?}&{}&{}&{}&{}", self.manner, self.size, self.cut, self.reset, self.tag)
    }

    fn read(target: &str) -> Option<Self> {
        let mut parts = target.split_once('?')?.1.split('&');
        Some(Self {
            manner: Manner::named(parts.next()?)?,
            size: parts.next()?.parse().ok()?,
            cut: parts.next()?.parse().ok()?,
            reset: parts.next()? == "true",
            tag: parts.next()?.to_owned(),
        })
    }

    /// The body that the client must receive.
    pub fn body(&self) -> Vec<u8> {
        match self.manner {
            Manner::Events | Manner::CutEvents | Manner::BadChunk | Manner::UntilClose | Manner::Stall => {
                let mut events = self.events().concat();
                events.extend_from_slice(b"data: [DONE]\n\n");
                events
            }
            Manner::Error => b"{\"error\":{\"message\":\"The context is too long.\",\"code\":400}}".to_vec(),
            _ => {
                format!("{{ \"choices\" : [{{\"message\":{{\"content\":\"{}\"}}}}] }}", "x".repeat(self.size))
                    .into_bytes()
            }
        }
    }

    fn events(&self) -> Vec<Vec<u8>> {
        let count = 1 + self.size / 100;
        let event = |n| {
            format!("data: {{\"choices\":[{{ \"delta\":{{\"content\":\"{}\"}}}}]}}\n\n", "y".repeat(n % 90))
        };
        (0..count).map(|n| event(n).into_bytes()).collect()
    }

    /// Everything that goes onto the wire, as if nothing were cut.
    fn wire(&self) -> Vec<u8> {
        let length = |status: &str, more: &str, body: &[u8]| {
            let head = format!("HTTP/1.1 {status}\r\n{more}content-length: {}\r\n\r\n", body.len());
            [head.as_bytes(), body].concat()
        };
        let json = "content-type: application/json\r\n";
        match self.manner {
            Manner::Error => length("400 Bad Request", json, &self.body()),
            Manner::WholeClose => length("200 OK", "connection: close\r\n", &self.body()),
            Manner::Informed => {
                let early = b"HTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\n";
                [&early[..], &length("200 OK", json, &self.body())].concat()
            }
            Manner::Extra => [&length("200 OK", json, &self.body())[..], b"HTTP/1.1 200 O"].concat(),
            Manner::UntilClose => {
                [b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n", &self.body()[..]].concat()
            }
            Manner::Events | Manner::CutEvents | Manner::BadChunk | Manner::Stall => {
                let mut wire =
                    b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
                        .to_vec();
                for event in self.events().into_iter().chain([b"data: [DONE]\n\n".to_vec()]) {
                    wire.extend_from_slice(format!("{:X}\r\n", event.len()).as_bytes());
                    wire.extend_from_slice(&event);
                    wire.extend_from_slice(b"\r\n");
                }
                wire.extend_from_slice(b"0\r\n\r\n");
                wire
            }
            Manner::Garbage => b"SSH-2.0-OpenSSH_9.2\r\n\x00\x01\xff\xfe\r\n\r\n".to_vec(),
            _ => length("200 OK", json, &self.body()),
        }
    }
}

/// Who has come to the point where only a hang-up ends it.
#[derive(Clone)]
pub struct Board(Arc<watch::Sender<HashSet<String>>>);

impl Default for Board {
    fn default() -> Self {
        Self(Arc::new(watch::channel(HashSet::new()).0))
    }
}

impl Board {
    pub fn show(&self, tag: &str) {
        self.0.send_modify(|seen| {
            seen.insert(tag.to_owned());
        });
    }

    pub async fn shows(&self, tag: &str) {
        let mut seen = self.0.subscribe();
        let _ = seen.wait_for(|seen| seen.contains(tag)).await;
    }
}

pub struct Agent {
    pub address: SocketAddr,
    pub board: Board,
    /// How many requests it works on.
    busy: watch::Sender<usize>,
}

struct Busy(watch::Sender<usize>);

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.send_modify(|n| *n -= 1);
    }
}

impl Agent {
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let agent = Self { address, board: Board::default(), busy: watch::channel(0).0 };
        let (busy, board) = (agent.busy.clone(), agent.board.clone());
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (busy, board) = (busy.clone(), board.clone());
                // Being hung up on is an ordinary end.
                tokio::spawn(async move { drop(converse(stream, busy, board).await) });
            }
        });
        agent
    }

    /// Works on nothing any more.
    pub async fn quiet(&self) {
        let _ = self.busy.subscribe().wait_for(|n| *n == 0).await;
    }
}

async fn converse(mut stream: TcpStream, busy: watch::Sender<usize>, board: Board) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut held = Vec::new();
    loop {
        let head = loop {
            if let Some(at) = held.windows(4).position(|w| w == b"\r\n\r\n") {
                let rest = held.split_off(at + 4);
                break String::from_utf8_lossy(&std::mem::replace(&mut held, rest)).into_owned();
            }
            more(&mut stream, &mut held).await?;
        };
        busy.send_modify(|n| *n += 1);
        let _busy = Busy(busy.clone());
        let order = head.split(' ').nth(1).and_then(Order::read).expect("an order");
        if order.manner == Manner::Early {
            return end(&stream, order.reset);
        }
        body(&mut stream, &mut held, &head).await?;
        let wire = order.wire();
        let part = |least: usize| least + (wire.len() - least - 1) * order.cut / 1000;
        let head_ends = wire.windows(4).position(|w| w == b"\r\n\r\n").map_or(0, |at| at + 4);
        match order.manner {
            Manner::Nothing => return end(&stream, order.reset),
            Manner::CutHead => {
                stream.write_all(&wire[..(head_ends - 1) * order.cut / 1000]).await?;
                return end(&stream, order.reset);
            }
            Manner::CutLength => {
                stream.write_all(&wire[..part(head_ends)]).await?;
                return end(&stream, order.reset);
            }
            // The last line of a chunked body has five bytes; without any of them it is cut.
            Manner::CutEvents => {
                stream.write_all(&wire[..part(head_ends).min(wire.len() - 5)]).await?;
                return end(&stream, order.reset);
            }
            Manner::BadChunk => {
                let whole = &wire[..wire.len() - 5];
                stream.write_all(&[whole, b"zz\r\nnonsense\r\n"].concat()).await?;
                return hung_up(&mut stream).await;
            }
            Manner::Garbage => {
                stream.write_all(&wire).await?;
                return hung_up(&mut stream).await;
            }
            Manner::EndlessHead => {
                stream.write_all(b"HTTP/1.1 200 OK\r\n").await?;
                loop {
                    stream.write_all(b"x-more: and more, and more, and more, and more, and more\r\n").await?;
                }
            }
            Manner::Stall | Manner::Mute => {
                if order.manner == Manner::Stall {
                    stream.write_all(&wire[..part(head_ends).min(wire.len() - 5)]).await?;
                }
                board.show(&order.tag);
                return hung_up(&mut stream).await;
            }
            Manner::WholeClose | Manner::WholeDrop | Manner::UntilClose => {
                stream.write_all(&wire).await?;
                return end(&stream, false);
            }
            _ => stream.write_all(&wire).await?,
        }
    }
}

fn end(stream: &TcpStream, reset: bool) -> io::Result<()> {
    if reset { stream.set_zero_linger() } else { Ok(()) }
}

async fn more(stream: &mut TcpStream, held: &mut Vec<u8>) -> io::Result<()> {
    let mut part = vec![0; 64 << 10];
    match stream.read(&mut part).await? {
        0 => Err(io::ErrorKind::UnexpectedEof.into()),
        n => {
            held.extend_from_slice(&part[..n]);
            Ok(())
        }
    }
}

async fn hung_up(stream: &mut TcpStream) -> io::Result<()> {
    let mut held = Vec::new();
    loop {
        more(stream, &mut held).await?;
        held.clear();
    }
}

/// Reads a request's body away, by its length or by its chunks.
async fn body(stream: &mut TcpStream, held: &mut Vec<u8>, head: &str) -> io::Result<()> {
    let head = head.to_ascii_lowercase();
    let value = |name: &str| head.lines().find_map(|l| l.strip_prefix(name)).map(str::trim);
    if value("transfer-encoding:").is_some() {
        loop {
            let line = loop {
                if let Some(at) = held.windows(2).position(|w| w == b"\r\n") {
                    let rest = held.split_off(at + 2);
                    break std::mem::replace(held, rest);
                }
                more(stream, held).await?;
            };
            let size =
                usize::from_str_radix(String::from_utf8_lossy(&line).trim(), 16).expect("a chunk's size");
            while held.len() < size + 2 {
                more(stream, held).await?;
            }
            held.drain(..size + 2);
            if size == 0 {
                return Ok(());
            }
        }
    }
    let length = value("content-length:").map_or(0, |n| n.parse().expect("a length"));
    while held.len() < length {
        more(stream, held).await?;
    }
    held.drain(..length);
    Ok(())
}
