//! Sending: the bytes of a file as they are asked for, or as a trouble has it.

use std::io;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures_util::FutureExt;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep_until};

use super::log::Number;
use super::resolve::{Of, too_old};
use super::server::{After, finish};
use super::trouble::{Asked, Trouble};
use super::wire::{self, Answer, Request};
use super::{Shared, gzip};

/// An endless answer ends here, so that a client that swallows it all does not fill a disk with its log.
const ENDLESS: usize = 1 << 30;

/// The answer that a trouble puts in place of the true one.
pub(super) async fn instead(
    stream: &mut TcpStream,
    shared: &Shared,
    request: &Request,
    number: Number,
    trouble: &Trouble,
) -> io::Result<After> {
    let refusal = Answer::refusal;
    let answer = match trouble {
        Trouble::Portal => Answer::html(
            200,
            "<!doctype html><title>Welcome</title><h1>Hotel Yggdrasil</h1><form>Room number <input></form>",
        ),
        Trouble::Unauthorized => refusal(401, None, "Invalid username or password."),
        Trouble::Gated => refusal(
            403,
            Some("GatedRepo"),
            "Access to this model is restricted and you are not in the authorized list.",
        ),
        Trouble::NoAccess => refusal(403, None, "Access to this resource is disabled."),
        Trouble::Missing => refusal(404, Some("EntryNotFound"), "Entry not found"),
        Trouble::TooMany { retry_after, rate_limit } => {
            let mut answer = refusal(429, None, "We had to rate limit your IP.");
            if let Some(seconds) = retry_after {
                answer = answer.with("Retry-After", seconds.to_string());
            }
            if let Some(seconds) = rate_limit {
                answer = answer
                    .with("RateLimit", format!("\"resolvers\";r=0;t={seconds}"))
                    .with("RateLimit-Policy", "\"fixed window\";\"resolvers\";q=3000;w=300");
            }
            answer
        }
        Trouble::Failed { status } => {
            refusal(*status, None, "Internal Error - We're working hard to fix this.")
        }
        Trouble::Expired => too_old("Request has expired"),
        Trouble::Redirect { to } => Answer::new(302, "text/plain", "Found.").with("Location", to.clone()),
        Trouble::EndlessHeaders | Trouble::EndlessBody => {
            return endless(stream, shared, number, trouble).await;
        }
        Trouble::Silence => return wait_for_the_end(stream).await,
        _ => refusal(500, None, "No such trouble."),
    };
    finish(stream, shared, request, number, &answer).await
}

async fn endless(
    stream: &mut TcpStream,
    shared: &Shared,
    number: Number,
    trouble: &Trouble,
) -> io::Result<After> {
    shared.log.change(number, |e| e.status = 200);
    let (first, again): (&str, String) = if *trouble == Trouble::EndlessHeaders {
        ("HTTP/1.1 200 OK\r\n", "X-Pad: round and round and round it goes\r\n".repeat(100))
    } else {
        (
            "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\n\r\n[",
            "{},".repeat(1000),
        )
    };
    stream.write_all(first.as_bytes()).await?;
    let mut sent = 0;
    while sent < ENDLESS {
        stream.write_all(again.as_bytes()).await?;
        sent += again.len();
        shared.log.change(number, |e| e.bytes = sent as u64);
    }
    Ok(After::Close)
}

/// Holds the connection open until the client gives it up.
async fn wait_for_the_end(stream: &TcpStream) -> io::Result<After> {
    let mut spare = [0; 1024];
    loop {
        stream.readable().await?;
        match stream.try_read(&mut spare) {
            Ok(0) => return Ok(After::Close),
            Ok(_) => {}
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
            Err(e) => return Err(e),
        }
    }
}

/// Whether the client has closed the connection: what is written to it then is taken, and reaches nobody.
fn gone(stream: &TcpStream) -> bool {
    matches!(stream.peek(&mut [0]).now_or_never(), Some(Ok(0) | Err(_)))
}

/// What becomes of the bytes on their way.
#[derive(Debug, Default)]
struct Fate {
    cut: Option<u64>,
    reset: Option<u64>,
    stall: Option<u64>,
    flips: Vec<u64>,
    slow: Option<u64>,
    changed: bool,
    gzip: bool,
    /// Bytes after the last one, or fewer; and whether Content-Length says so.
    extra: i64,
    no_length: bool,
}

pub(super) async fn file(
    stream: &mut TcpStream,
    shared: &Shared,
    request: &Request,
    number: Number,
    of: &Of,
    asked: &Asked<'_>,
) -> io::Result<After> {
    let size = of.content.size();
    let mut etag = of.etag.clone();
    let mut headers = of.headers.clone();
    let Ok((mut from, mut to)) = of.range(request) else {
        let answer = Answer::new(416, "text/plain", "").with("Content-Range", format!("bytes */{size}"));
        return finish(stream, shared, request, number, &answer).await;
    };
    let mut partial = request.range(size).is_some() && (from, to) != (0, size)
        || request.range(size).is_some() && request.header("if-range").is_none();
    let mut said = (from, to);
    let mut fate = Fate::default();
    let struck = if request.is_head() { Vec::new() } else { shared.strike(asked, Trouble::is_of_bytes) };
    for trouble in struck {
        match trouble {
            Trouble::Cut { at } => fate.cut = Some(at),
            Trouble::Reset { at } => fate.reset = Some(at),
            Trouble::Stall { at } => fate.stall = Some(at),
            Trouble::Flip { at } => fate.flips.push(at),
            Trouble::Slow { bytes_per_second } => fate.slow = Some(bytes_per_second.max(1)),
            Trouble::NoRange => {
                (from, to) = (0, size);
                said = (from, to);
                partial = false;
            }
            Trouble::WrongRange { shift, honest } => {
                let length = to - from;
                from = from.saturating_add_signed(shift).min(size.saturating_sub(1));
                to = (from + length).min(size);
                if honest {
                    said = (from, to);
                }
            }
            Trouble::Short { by, length } => {
                fate.extra = -i64::try_from(by).unwrap_or(i64::MAX);
                fate.no_length = !length;
            }
            Trouble::Long { by, length } => {
                fate.extra = i64::try_from(by).unwrap_or(i64::MAX);
                fate.no_length = !length;
            }
            Trouble::Changed => {
                fate.changed = true;
                etag = etag.chars().rev().collect();
            }
            Trouble::Gzip => fate.gzip = true,
            _ => {}
        }
    }
    let length = (to - from).saturating_add_signed(fate.extra);
    headers.push(("ETag", format!("\"{etag}\"")));
    headers.push(("Accept-Ranges", "bytes".to_owned()));
    if partial {
        headers.push(("Content-Range", format!("bytes {}-{}/{size}", said.0, said.1.saturating_sub(1))));
    }
    if fate.gzip {
        headers.push(("Content-Encoding", "gzip".to_owned()));
    }
    if fate.gzip || fate.no_length {
        headers.push(("Connection", "close".to_owned()));
    } else {
        headers.push(("Content-Length", length.to_string()));
    }
    let status = if partial { 206 } else { 200 };
    shared.log.change(number, |e| e.status = status);
    stream.write_all(wire::head(status, &headers).as_bytes()).await?;
    if request.is_head() {
        return Ok(if fate.no_length { After::Close } else { After::GoOn });
    }
    if fate.gzip {
        let mut all = vec![0; usize::try_from(to - from).unwrap_or(0)];
        of.content.fill(from, &mut all);
        let packed = gzip::packed(&all);
        stream.write_all(&packed).await?;
        shared.log.change(number, |e| e.bytes = packed.len() as u64);
        return Ok(After::Close);
    }
    let after = bytes(stream, shared, number, of, (from, from + length), &fate).await?;
    Ok(if fate.no_length { After::Close } else { after })
}

/// Once every so often a connection with a pace sends its share.
const BEAT: Duration = Duration::from_millis(10);
const PIECE: u64 = 256 << 10;

async fn bytes(
    stream: &mut TcpStream,
    shared: &Shared,
    number: Number,
    of: &Of,
    (from, to): (u64, u64),
    fate: &Fate,
) -> io::Result<After> {
    let size = of.content.size();
    let mut buffer = vec![0_u8; usize::try_from(PIECE.min(to - from)).unwrap_or(0)];
    let ends = [fate.cut, fate.reset, fate.stall].into_iter().flatten().min();
    let stop = ends.map_or(to, |end| end.min(to));
    let mut at = from;
    let mut due = Instant::now();
    while at < stop {
        let pace = shared.pace.load(Ordering::Relaxed);
        let pace = [fate.slow, (pace > 0).then_some(pace)].into_iter().flatten().min();
        let mut most = PIECE;
        if let Some(pace) = pace {
            let share = u64::try_from(u128::from(pace) * BEAT.as_millis() / 1000).unwrap_or(PIECE).max(1);
            most = most.min(share);
        }
        let length = usize::try_from(most.min(stop - at)).unwrap_or(0);
        let Some(piece) = buffer.get_mut(..length) else { return Ok(After::Close) };
        // What lies past the end of the file is made up.
        let real = usize::try_from(size.saturating_sub(at)).unwrap_or(0).min(length);
        let (known, beyond) = piece.split_at_mut(real);
        of.content.fill(at, known);
        beyond.fill(b'+');
        if fate.changed {
            for byte in known.iter_mut() {
                *byte ^= 0x5a;
            }
        }
        for flip in &fate.flips {
            let place =
                flip.checked_sub(at).and_then(|n| usize::try_from(n).ok()).and_then(|n| piece.get_mut(n));
            if let Some(byte) = place {
                *byte ^= 1;
            }
        }
        if gone(stream) {
            return Ok(After::Close);
        }
        let mut rest: &[u8] = piece;
        while !rest.is_empty() {
            let taken = stream.write(rest).await?;
            if taken == 0 {
                return Ok(After::Close);
            }
            rest = rest.get(taken..).unwrap_or_default();
            shared.log.change(number, |e| e.bytes += taken as u64);
        }
        at += length as u64;
        if let Some(pace) = pace {
            // A connection that fell behind does not catch up at once.
            due = due.max(Instant::now().checked_sub(BEAT).unwrap_or(due));
            due += Duration::from_secs_f64(length as f64 / pace as f64);
            sleep_until(due).await;
        }
    }
    if ends.is_none_or(|end| end > at || end >= to) {
        return Ok(After::GoOn);
    }
    if fate.stall.is_some_and(|s| s <= at) {
        return wait_for_the_end(stream).await;
    }
    if fate.reset.is_some_and(|r| r <= at) {
        // Closing with data unsent, and no time to send it, is a reset.
        stream.set_zero_linger()?;
    }
    Ok(After::Close)
}
