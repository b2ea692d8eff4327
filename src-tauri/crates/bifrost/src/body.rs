//! A request's body: read whole, with its model found on the way, and held until there is an agent to send it to.

use std::io;
use std::ops::Range;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::StatusCode;
use http_body_util::BodyExt;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use tokio::fs::File;
use tokio::io::{AsyncRead, ReadBuf};
use tokio::time::Instant;

use crate::Settings;
use crate::refusal::Problem;
use crate::spool::{Spool, Stored};
use crate::wanted::{Named, Scan};

/// How much of a refused body is still read, so that a client in the middle of writing it hears the refusal instead
/// of a reset connection.
const LINGER: usize = 64 << 20;
/// How much of a file is read at once on its way to the agent.
const PIECE: usize = 64 << 10;

/// A request's whole body, and the model that it names.
#[derive(Debug)]
pub(crate) struct Held {
    pub(crate) named: Named,
    stored: Stored,
}

/// Reads the whole body, if it is at most [`Settings::max_body`] bytes, no pause in it is longer than
/// [`Settings::idle`], and it is on the whole faster than [`Settings::slowest`].
///
/// # Errors
/// What is wrong with it, as the client is told.
pub(crate) async fn receive(mut body: Incoming, settings: &Settings) -> Result<Held, Problem> {
    let declared = usize::try_from(body.size_hint().lower()).unwrap_or(usize::MAX);
    if declared > settings.max_body {
        linger(body, settings.idle);
        return Err(too_large(settings.max_body));
    }
    let mut spool = Spool::new();
    let mut scan = Scan::default();
    let mut patience = Patience::new(settings);
    while let Some(frame) = patience.next(&mut body, spool.len()).await? {
        let frame = frame.map_err(|e| {
            let message = format!("The request could not be read to its end ({e}). Send it again.");
            Problem::request(StatusCode::BAD_REQUEST, "broken_request", message)
        })?;
        let Ok(data) = frame.into_data() else { continue };
        if spool.len() + data.len() > settings.max_body {
            linger(body, settings.idle);
            return Err(too_large(settings.max_body));
        }
        if let Err(why) = scan.push(&data) {
            linger(body, settings.idle);
            return Err(wrong(&why));
        }
        if let Err(e) = spool.push(data, settings.spool_folder.as_deref()).await {
            linger(body, settings.idle);
            return Err(not_kept(&e));
        }
    }
    let named = scan.finish().map_err(|why| wrong(&why))?;
    let stored = spool.close().await.map_err(|e| not_kept(&e))?;
    Ok(Held { named, stored })
}

/// How long the next piece of a body is waited for.
struct Patience {
    idle: Duration,
    slowest: u32,
    /// When the body began; none until the first time that it was waited for.
    began: Option<Instant>,
}

impl Patience {
    fn new(settings: &Settings) -> Self {
        Self { idle: settings.idle, slowest: settings.slowest.max(1), began: None }
    }

    async fn next(
        &mut self,
        body: &mut Incoming,
        received: usize,
    ) -> Result<Option<Result<Frame<Bytes>, hyper::Error>>, Problem> {
        // What is there already needs no clock.
        let ready = std::future::poll_fn(|cx| {
            Poll::Ready(match Pin::new(&mut *body).poll_frame(cx) {
                Poll::Ready(frame) => Some(frame),
                Poll::Pending => None,
            })
        });
        if let Some(frame) = ready.await {
            return Ok(frame);
        }
        let now = Instant::now();
        let began = *self.began.get_or_insert(now);
        let earned = Duration::from_secs(received as u64 / u64::from(self.slowest));
        let until = (now + self.idle).min(began + self.idle + earned);
        tokio::time::timeout_at(until, body.frame()).await.map_err(|_| {
            let message = if now + self.idle == until {
                format!("The request stopped arriving for {} s. Send it again.", self.idle.as_secs_f32())
            } else {
                format!("The request arrived at less than {} bytes per second. Send it again.", self.slowest)
            };
            Problem::request(StatusCode::REQUEST_TIMEOUT, "request_timeout", message)
        })
    }
}

fn wrong(why: &str) -> Problem {
    let message = format!("{why} Send a JSON object with \"model\": an agent's name, as in /v1/models.");
    Problem { param: Some("model"), ..Problem::request(StatusCode::BAD_REQUEST, "invalid_model", message) }
}

fn too_large(max: usize) -> Problem {
    let message = format!(
        "The request is larger than {} MB. Send less, or raise the gateway's limit.",
        max.div_ceil(1 << 20)
    );
    Problem::request(StatusCode::PAYLOAD_TOO_LARGE, "request_too_large", message)
}

fn not_kept(e: &io::Error) -> Problem {
    tracing::warn!("A request could not be kept in a file until its agent is free ({e}).");
    match e.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            let message = "There is no room on the disk for a request of this size. Free some, or send less.";
            Problem::server(StatusCode::INSUFFICIENT_STORAGE, "disk_full", message)
        }
        _ => {
            let message =
                format!("The gateway could not keep the request in a file ({e}). See its folder's rights.");
            Problem::server(StatusCode::INTERNAL_SERVER_ERROR, "not_kept", message)
        }
    }
}

/// Throws away what still comes of a refused body while the refusal is on its way; up to a limit, then the connection
/// is closed on whoever still writes.
fn linger(mut body: Incoming, idle: Duration) {
    tokio::spawn(async move {
        let mut thrown = 0;
        let until = Instant::now() + idle;
        while let Ok(Some(Ok(frame))) = tokio::time::timeout_at(until, body.frame()).await {
            thrown += frame.data_ref().map_or(0, Bytes::len);
            if thrown > LINGER {
                return;
            }
        }
    });
}

impl Held {
    #[cfg(test)]
    pub(crate) fn of(body: &'static [u8]) -> Self {
        let mut scan = Scan::default();
        scan.push(body).unwrap();
        Self { named: scan.finish().unwrap(), stored: Stored::Memory(Bytes::from_static(body)) }
    }

    /// The body as it goes to the agent: the same bytes, but for the model's name where the agent's server knows it by
    /// another.
    pub(crate) fn sent(self, model: Option<&str>) -> Sent {
        let swap = model.map(|model| Swap {
            at: self.named.at,
            name: Bytes::from(serde_json::Value::from(model).to_string()),
        });
        match (self.stored, swap) {
            (Stored::Memory(bytes), None) => Sent::Memory([bytes, Bytes::new(), Bytes::new()]),
            (Stored::Memory(mut bytes), Some(swap)) => {
                let after = bytes.split_off(swap.at.end.min(bytes.len()));
                bytes.truncate(swap.at.start);
                Sent::Memory([bytes, swap.name, after])
            }
            (Stored::File { file, len }, swap) => {
                let left = match &swap {
                    Some(swap) => len - swap.at.len() + swap.name.len(),
                    None => len,
                };
                Sent::File(Box::new(Reading { file, at: 0, len, left, swap, piece: BytesMut::new() }))
            }
        }
    }
}

/// Another value in the place of the one at `at`.
#[derive(Debug)]
struct Swap {
    at: Range<usize>,
    /// As JSON.
    name: Bytes,
}

/// A held body on its way to the agent.
#[derive(Debug)]
pub(crate) enum Sent {
    Memory([Bytes; 3]),
    File(Box<Reading>),
}

#[derive(Debug)]
pub(crate) struct Reading {
    file: File,
    /// How far the file is read, and how long it is.
    at: usize,
    len: usize,
    /// What the agent has not been sent yet.
    left: usize,
    swap: Option<Swap>,
    piece: BytesMut,
}

impl Default for Sent {
    fn default() -> Self {
        Self::Memory([Bytes::new(), Bytes::new(), Bytes::new()])
    }
}

impl Body for Sent {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        match self.get_mut() {
            Self::Memory(parts) => {
                let next = parts.iter_mut().find(|part| !part.is_empty());
                Poll::Ready(next.map(|part| Ok(Frame::data(std::mem::take(part)))))
            }
            Self::File(reading) => reading.poll(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.left() == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left() as u64)
    }
}

impl Sent {
    fn left(&self) -> usize {
        match self {
            Self::Memory(parts) => parts.iter().map(Bytes::len).sum(),
            Self::File(reading) => reading.left,
        }
    }
}

impl Reading {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        loop {
            if self.left == 0 {
                return Poll::Ready(None);
            }
            // Up to the value that is replaced, the value itself, or what is behind it.
            let (end, skipped) = match &mut self.swap {
                Some(swap) if self.at < swap.at.start => (swap.at.start, false),
                Some(swap) if self.at < swap.at.end => (swap.at.end, true),
                Some(swap) if !swap.name.is_empty() => {
                    let name = std::mem::take(&mut swap.name);
                    self.left -= name.len();
                    return Poll::Ready(Some(Ok(Frame::data(name))));
                }
                _ => (self.len, false),
            };
            self.piece.resize(PIECE.min(end - self.at), 0);
            let mut buf = ReadBuf::new(&mut self.piece);
            std::task::ready!(Pin::new(&mut self.file).poll_read(cx, &mut buf))?;
            let read = buf.filled().len();
            if read == 0 {
                return Poll::Ready(Some(Err(io::ErrorKind::UnexpectedEof.into())));
            }
            self.at += read;
            let piece = self.piece.split_to(read).freeze();
            if !skipped {
                self.left -= piece.len();
                return Poll::Ready(Some(Ok(Frame::data(piece))));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_is_told_from_a_folder_that_cannot_be_written() {
        for (kind, status) in [
            (io::ErrorKind::StorageFull, 507),
            (io::ErrorKind::QuotaExceeded, 507),
            (io::ErrorKind::PermissionDenied, 500),
            (io::ErrorKind::NotFound, 500),
        ] {
            assert_eq!(not_kept(&kind.into()).status, status, "{kind:?}");
        }
    }

    #[tokio::test]
    async fn a_held_body_goes_out_whole_wherever_it_is() {
        let folder = tempfile::tempdir().unwrap();
        for size in [10, 1 << 20, 3 << 20] {
            for place in [0, size / 2, size] {
                for theirs in [None, Some("th\"eir/name")] {
                    let before = format!("{{\"a\":\"{}\",\"model\": ", "x".repeat(place));
                    let after = format!(",\"z\":\"{}\"}}", "y".repeat(size - place));
                    let body = format!("{before}\"odin\"{after}");
                    let mut scan = Scan::default();
                    let mut spool = Spool::new();
                    for piece in body.as_bytes().chunks(100_003) {
                        scan.push(piece).unwrap();
                        spool.push(Bytes::copy_from_slice(piece), Some(folder.path())).await.unwrap();
                    }
                    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "the file has no name");
                    assert_eq!(spool.len(), body.len());
                    assert_eq!(matches!(spool, Spool::File { .. }), size >= 1 << 20);
                    let held = Held { named: scan.finish().unwrap(), stored: spool.close().await.unwrap() };
                    let sent = held.sent(theirs);
                    let said = sent.size_hint().exact().unwrap();
                    let got = sent.collect().await.unwrap().to_bytes();
                    let name = theirs
                        .map_or("\"odin\"".to_owned(), |name| serde_json::Value::from(name).to_string());
                    assert!(got == format!("{before}{name}{after}"), "{size} {place} {theirs:?}");
                    assert_eq!(said, got.len() as u64);
                }
            }
        }
    }
}
