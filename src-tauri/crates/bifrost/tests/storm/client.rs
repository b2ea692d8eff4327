//! The clients of a campaign: what each sends, when it leaves, and what it must be answered.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::agent::{Board, Manner, Order};
use super::ledger::Deal;
use super::{Counts, Dice};

/// What is in the request's body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Content {
    Plain,
    /// In chunks of the client's own cut.
    Chunked,
    /// Past what is held in memory.
    Large,
    NoModel,
    RepeatedModel,
    NumberModel,
    UnknownModel,
    NotJson,
    TooLarge,
}

/// When the client goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Leaves {
    Never,
    /// In the middle of its request, in thousandths of it.
    Sending(usize),
    AtOnce,
    /// When everything waits for its hang-up.
    Seen,
    AfterBytes(usize),
}

/// One request.
#[derive(Debug, Clone)]
pub struct Visit {
    order: Order,
    deal: Deal,
    content: Content,
    stream: bool,
    leaves: Leaves,
    reset: bool,
}

impl Visit {
    pub fn plain(tag: String) -> Self {
        Self {
            order: Order { manner: Manner::Whole, size: 500, cut: 0, reset: false, tag },
            deal: Deal::Grant,
            content: Content::Plain,
            stream: false,
            leaves: Leaves::Never,
            reset: false,
        }
    }

    pub fn random(dice: &mut Dice, tag: String) -> Self {
        let manner = if dice.one_in(3) { Manner::Events } else { dice.pick(&Manner::ALL) };
        let size = dice.pick(&[0, 10, 1000, 20_000, 300_000]);
        let order =
            Order { manner, size: size + dice.below(100), cut: dice.below(1000), reset: dice.one_in(2), tag };
        let deal = if dice.one_in(2) { Deal::Grant } else { dice.pick(&Deal::ALL) };
        let content = if dice.one_in(3) {
            dice.pick(&[
                Content::Chunked,
                Content::Large,
                Content::NoModel,
                Content::RepeatedModel,
                Content::NumberModel,
                Content::UnknownModel,
                Content::NotJson,
                Content::TooLarge,
            ])
        } else {
            Content::Plain
        };
        let mut visit = Self {
            order,
            deal,
            content,
            stream: dice.one_in(2),
            leaves: Leaves::Never,
            reset: dice.one_in(2),
        };
        visit.leaves = match dice.below(10) {
            0 => Leaves::Sending(dice.below(1000)),
            1 => Leaves::AtOnce,
            2 | 3 if !visit.for_ever() => Leaves::AfterBytes(1 + dice.below(size + 200)),
            _ if visit.for_ever() => Leaves::Seen,
            _ => Leaves::Never,
        };
        visit
    }

    /// Nothing but a hang-up ends it.
    fn for_ever(&self) -> bool {
        self.understood()
            && (self.deal == Deal::WaitEver || self.deal.reaches_the_agent() && self.order.manner.stalls())
    }

    fn understood(&self) -> bool {
        matches!(self.content, Content::Plain | Content::Chunked | Content::Large)
    }

    /// Meets a connection to the agent that may be just closing.
    pub fn spoils(&self) -> bool {
        self.order.manner == Manner::WholeDrop || self.order.manner == Manner::Extra
    }

    fn bytes(&self, to: SocketAddr) -> Vec<u8> {
        let (model, stream) = (self.deal.word(), self.stream);
        let body = match self.content {
            Content::Plain | Content::Chunked => {
                format!("{{ \"stream\":{stream},  \"messages\":[],\"model\": \"{model}\"}}")
            }
            Content::Large => {
                let text = "z".repeat((1 << 20) + 1000 * (self.order.cut % 500));
                format!("{{\"messages\":[\"{text}\"],\"stream\":{stream},\"model\":\"{model}\"}}")
            }
            Content::NoModel => "{\"messages\":[]}".to_owned(),
            Content::RepeatedModel => format!("{{\"model\":\"{model}\",\"model\":\"{model}\"}}"),
            Content::NumberModel => "{\"model\":7}".to_owned(),
            Content::UnknownModel => "{\"model\":\"nobody\"}".to_owned(),
            Content::NotJson => format!("{{\"model\":\"{model}\""),
            Content::TooLarge => format!("{{\"model\":\"{model}\",\"x\":\"{}\"}}", "z".repeat(2 << 20)),
        };
        let framing = if self.content == Content::Chunked {
            "transfer-encoding: chunked".to_owned()
        } else {
            format!("content-length: {}", body.len())
        };
        let head = format!(
            "POST /v1/chat/completions?{} HTTP/1.1\r\nhost: {to}\r\nuser-agent: {}\r\n\
             content-type: application/json\r\n{framing}\r\n\r\n",
            self.order.query(),
            self.order.tag
        );
        if self.content != Content::Chunked {
            return (head + &body).into_bytes();
        }
        let cut = body.len() * self.order.cut / 1000;
        let pieces = [&body[..cut], &body[cut..]].map(|piece| match piece.len() {
            0 => String::new(),
            n => format!("{n:x}\r\n{piece}\r\n"),
        });
        format!("{head}{}{}0\r\n\r\n", pieces[0], pieces[1]).into_bytes()
    }
}

/// Everything on one connection, and a new one where that ended. The error is what may not be.
pub async fn converse(
    gateway: SocketAddr,
    visits: Vec<Visit>,
    board: Board,
    spoiled: bool,
) -> Result<Counts, String> {
    let mut counts = Counts::default();
    let mut wire = None;
    for visit in visits {
        counts.requests += 1;
        let mut open = match wire.take() {
            Some(open) => open,
            None => Wire::to(gateway).await,
        };
        let asked = visit.bytes(gateway);
        let sent = match visit.leaves {
            Leaves::Sending(part) => &asked[..asked.len() * part / 1000],
            _ => &asked[..],
        };
        // One that is refused before its end may meet a closed door.
        let written = open.stream.write_all(sent).await;
        let enough = match visit.leaves {
            Leaves::Sending(_) | Leaves::AtOnce => Some(0),
            Leaves::Seen => {
                board.shows(&visit.order.tag).await;
                Some(0)
            }
            Leaves::AfterBytes(n) => Some(n),
            Leaves::Never => None,
        };
        if enough == Some(0) {
            counts.left += 1;
            open.leave(visit.reset);
            continue;
        }
        match open.answer(enough).await {
            Heard::Enough => {
                counts.left += 1;
                open.leave(visit.reset);
            }
            Heard::Nothing if visit.content == Content::TooLarge || written.is_err() => counts.refused += 1,
            Heard::Nothing => return Err(format!("{} got no answer at all: {visit:?}", visit.order.tag)),
            Heard::Answer(answer) => {
                judge(&visit, &answer, spoiled, &mut counts)
                    .map_err(|wrong| format!("{} {wrong}: {visit:?}\n{}", visit.order.tag, answer.tell()))?;
                if answer.whole && answer.keeps {
                    wire = Some(open);
                }
            }
        }
    }
    Ok(counts)
}

/// Whether an answer is one that the request may get.
fn judge(visit: &Visit, answer: &Answer, spoiled: bool, counts: &mut Counts) -> Result<(), &'static str> {
    let refused = answer.whole && answer.tells_error() && answer.status >= 400;
    // A stream that was opened while its request waited can only tell of it in itself.
    let told = visit.stream && visit.deal.waits() && answer.status == 200 && answer.tells_error();
    let expected = |codes: &[u16]| refused && codes.contains(&answer.status);
    let wanted: &[u16] = match visit.content {
        Content::NoModel | Content::RepeatedModel | Content::NumberModel | Content::NotJson => &[400],
        Content::UnknownModel => &[404],
        Content::TooLarge => &[413],
        _ => &[],
    };
    if !wanted.is_empty() {
        counts.refused += 1;
        return if expected(wanted) { Ok(()) } else { Err("was not refused as it should be") };
    }
    match visit.deal {
        Deal::Refuse | Deal::WaitRefuse | Deal::WaitForget => {
            counts.refused += 1;
            return if expected(&[429, 503]) || told { Ok(()) } else { Err("was not refused") };
        }
        Deal::Deaf => {
            counts.broken += 1;
            return if expected(&[502]) { Ok(()) } else { Err("was not told that nobody listens") };
        }
        Deal::WaitEver => return Err("was answered, and nobody gave an agent"),
        Deal::Grant | Deal::WaitGrant => {}
    }
    let manner = visit.order.manner;
    let body = visit.order.body();
    let arrived = answer.whole
        && if visit.stream && visit.deal.waits() {
            answer.body.ends_with(&body)
        } else {
            answer.body == body
        };
    let broken = expected(&[502]) || told || !answer.whole && answer.status == 200;
    if manner.whole() {
        let status = if manner == Manner::Error { 400 } else { 200 };
        if arrived && (answer.status == status || visit.deal.waits() && visit.stream) {
            counts.whole += 1;
            return Ok(());
        }
        counts.broken += 1;
        // What is no stream of events cannot follow on one that is open already: it is told in there.
        let unfit = told && !matches!(manner, Manner::Events | Manner::UntilClose);
        // Another request's agent closed the kept connection just when this one was sent on it.
        return if unfit || spoiled && broken && (told || answer.status == 502) {
            Ok(())
        } else {
            Err("did not arrive as it was sent")
        };
    }
    counts.broken += 1;
    match manner {
        Manner::Informed if arrived => Ok(()),
        _ if broken => Ok(()),
        _ => Err("looks whole, and was broken"),
    }
}

struct Wire {
    stream: TcpStream,
    held: Vec<u8>,
}

enum Heard {
    /// As many bytes as the client wanted.
    Enough,
    /// The connection ended without a head.
    Nothing,
    Answer(Answer),
}

struct Answer {
    status: u16,
    body: Vec<u8>,
    /// It came to the end that its framing promises.
    whole: bool,
    /// Another request may follow on the connection.
    keeps: bool,
}

impl Answer {
    fn tells_error(&self) -> bool {
        self.body.windows(8).any(|w| w == b"\"error\":")
    }

    fn tell(&self) -> String {
        let start = String::from_utf8_lossy(&self.body[..self.body.len().min(400)]).into_owned();
        format!("status {}, whole {}, {} bytes: {start}", self.status, self.whole, self.body.len())
    }
}

impl Wire {
    async fn to(gateway: SocketAddr) -> Self {
        let stream = TcpStream::connect(gateway).await.unwrap();
        stream.set_nodelay(true).unwrap();
        Self { stream, held: Vec::new() }
    }

    fn leave(self, reset: bool) {
        if reset {
            let _ = self.stream.set_zero_linger();
        }
    }

    async fn more(&mut self) -> bool {
        let mut part = vec![0; 64 << 10];
        match self.stream.read(&mut part).await {
            Ok(0) | Err(_) => false,
            Ok(n) => {
                self.held.extend_from_slice(&part[..n]);
                true
            }
        }
    }

    async fn answer(&mut self, enough: Option<usize>) -> Heard {
        let enough = |held: &[u8]| enough.is_some_and(|n| held.len() >= n);
        let at = loop {
            if enough(&self.held) {
                return Heard::Enough;
            }
            if let Some(at) = self.held.windows(4).position(|w| w == b"\r\n\r\n") {
                break at + 4;
            }
            if !self.more().await {
                return Heard::Nothing;
            }
        };
        let head = String::from_utf8_lossy(&self.held[..at]).to_ascii_lowercase();
        let value = |name: &str| head.lines().find_map(|l| l.strip_prefix(name)).map(|v| v.trim().to_owned());
        let status = head.split(' ').nth(1).and_then(|s| s.parse().ok()).unwrap_or(0);
        let length = value("content-length:").map(|n| n.parse::<usize>().unwrap());
        let keeps = value("connection:").as_deref() != Some("close");
        let chunked = value("transfer-encoding:").is_some();
        loop {
            let body = &self.held[at..];
            let done = match length {
                Some(n) if body.len() >= n => Some((body[..n].to_vec(), n)),
                Some(_) => None,
                None => chunks(body).filter(|_| chunked),
            };
            if let Some((body, used)) = done {
                self.held.drain(..at + used);
                return Heard::Answer(Answer { status, body, whole: true, keeps });
            }
            if enough(&self.held) {
                return Heard::Enough;
            }
            if !self.more().await {
                let body = self.held.split_off(at);
                // Without a length and without chunks the end of the connection is the end.
                let whole = length.is_none() && !chunked;
                return Heard::Answer(Answer { status, body, whole, keeps: false });
            }
        }
    }
}

/// The data of a chunked body that is there to its last chunk, and the bytes that it took.
fn chunks(bytes: &[u8]) -> Option<(Vec<u8>, usize)> {
    if !bytes.ends_with(b"0\r\n\r\n") {
        return None;
    }
    let (mut at, mut body) = (0, Vec::new());
    loop {
        let line = bytes[at..].windows(2).position(|w| w == b"\r\n")?;
        let size = usize::from_str_radix(std::str::from_utf8(&bytes[at..at + line]).ok()?, 16).ok()?;
        let start = at + line + 2;
        body.extend_from_slice(bytes.get(start..start + size)?);
        at = start + size + 2;
        if size == 0 {
            return (at <= bytes.len()).then_some((body, at));
        }
    }
}
