//! An answer on its way through.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use domain::AgentName;
use http::HeaderMap;
use http::header::CONTENT_TYPE;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use tokio::time::Sleep;

use crate::meter::Meter;
use crate::trip::Trip;
use crate::upstream::Connection;
use crate::{Lease, Outcome, protocol};

/// A chunk of more bytes is handed on as it is.
const SMALL: usize = 2 << 10;
/// How much is put into one chunk at most.
const TOGETHER: usize = 16 << 10;

/// The body of an agent's answer as it arrives, one chunk at a time: the next is read when the last was taken, so a
/// slow client slows the agent and nothing piles up here.
///
/// Dropping it before its end, because the client hung up, closes the connection to the agent. However it ends, the
/// lease goes back and the request's record is written.
///
/// In a box, because an answer's body is moved several times before it flows.
pub(crate) struct Passing(Box<Flow>);

struct Flow {
    answer: Incoming,
    /// What came behind the chunks that were put together last.
    ahead: Option<Result<Frame<Bytes>, hyper::Error>>,
    deadline: Option<Pin<Box<Sleep>>>,
    state: State,
    /// Server-sent events: they can say in their own way that no more will come.
    events: bool,
    connection: Option<Connection>,
    meter: Meter,
    trip: Trip,
    // The order matters: the agent hears of the end before the schedule does.
    lease: Lease,
}

enum State {
    Flowing,
    /// The reason is told in the stream itself first.
    Telling(Broken),
    Broken(Broken),
    Over,
}

/// Why an answer ends early. The client's connection is broken off with it: an end that looks like a good one would
/// have half an answer taken for a whole.
#[derive(Debug, Clone)]
pub(crate) struct Broken(String);

impl std::fmt::Display for Broken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Broken {}

impl Passing {
    /// `headers` are the answer's own.
    pub(crate) fn new(
        answer: Incoming,
        headers: &HeaderMap,
        connection: Connection,
        lease: Lease,
        trip: Trip,
    ) -> Self {
        let deadline = lease
            .max_seconds
            .and_then(|seconds| trip.leased_at().checked_add(Duration::from_secs(seconds)))
            .map(|at| Box::pin(tokio::time::sleep_until(at)));
        let kind = headers.get(CONTENT_TYPE).map_or(&b""[..], |kind| kind.as_bytes());
        let events = kind.starts_with(b"text/event-stream") && answer.size_hint().exact().is_none();
        let meter = Meter::new(trip.path(), headers, trip.leased_at());
        Self(Box::new(Flow {
            answer,
            ahead: None,
            deadline,
            state: State::Flowing,
            events,
            connection: Some(connection),
            meter,
            trip,
            lease,
        }))
    }

    pub(crate) fn agent(&self) -> &AgentName {
        &self.0.lease.agent
    }

    /// Why it breaks off, once it does.
    pub(crate) fn broken(&self) -> Option<&Broken> {
        match &self.0.state {
            State::Telling(broken) | State::Broken(broken) => Some(broken),
            State::Flowing | State::Over => None,
        }
    }

    /// What became of it, where its reader knows better: an error that was not handed on, an end before the beginning.
    pub(crate) fn ends(&mut self, outcome: Outcome, why: String) {
        self.0.trip.ends(outcome, Some(why));
    }
}

impl Flow {
    fn break_off(&mut self, why: String, cx: &Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        tracing::warn!(agent = %self.lease.agent, "{why}");
        if let Some(connection) = self.connection.take() {
            connection.broken();
        }
        self.trip.ends(Outcome::Broken, Some(why.clone()));
        let broken = Broken(why);
        if self.events {
            let last = protocol::broken(self.trip.path(), &broken.0);
            self.state = State::Telling(broken);
            return Poll::Ready(Some(Ok(Frame::data(last))));
        }
        self.state = State::Broken(broken);
        // Not at once: what has arrived before is still on its way out, and is flushed when there is nothing to do.
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// The agent has said everything.
    fn over(&mut self) {
        self.state = State::Over;
        if let Some(connection) = self.connection.take() {
            connection.give_back();
        }
        if self.meter.failed() {
            let why = format!("{} failed in the middle of its answer.", self.lease.agent.proper());
            self.trip.ends(Outcome::Error, Some(why));
        } else {
            self.trip.ends(Outcome::Done, None);
        }
    }

    /// The next chunk of the answer, reading from the agent as long as there is anything to read.
    fn poll_chunk(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        if let Some(ahead) = self.ahead.take() {
            return Poll::Ready(Some(ahead));
        }
        loop {
            let frame = match Pin::new(&mut self.answer).poll_frame(cx) {
                Poll::Ready(frame) => frame,
                Poll::Pending => {
                    if let Some(connection) = &mut self.connection {
                        connection.drive(cx);
                    }
                    std::task::ready!(Pin::new(&mut self.answer).poll_frame(cx))
                }
            };
            // Trailers belong to the connection they came on.
            if !matches!(&frame, Some(Ok(frame)) if !frame.is_data()) {
                return Poll::Ready(frame);
            }
        }
    }

    /// Behind a small chunk whatever else is there already, and whether that is all there will be: a burst of tokens
    /// goes out as one. Nothing is waited for.
    fn gather(&mut self, first: Bytes, cx: &mut Context<'_>) -> (Bytes, bool) {
        if first.len() > SMALL || self.answer.is_end_stream() {
            return (first, false);
        }
        let mut together: Option<BytesMut> = None;
        let mut all = false;
        loop {
            match self.poll_chunk(cx) {
                Poll::Pending => break,
                Poll::Ready(None) => {
                    all = true;
                    break;
                }
                Poll::Ready(Some(Ok(frame))) => {
                    let Ok(data) = frame.into_data() else { continue };
                    let len = together.as_ref().map_or(first.len(), BytesMut::len);
                    if len + data.len() > TOGETHER {
                        self.ahead = Some(Ok(Frame::data(data)));
                        break;
                    }
                    let together = together.get_or_insert_with(|| {
                        let mut together = BytesMut::with_capacity(TOGETHER);
                        together.extend_from_slice(&first);
                        together
                    });
                    together.extend_from_slice(&data);
                }
                Poll::Ready(Some(Err(e))) => {
                    self.ahead = Some(Err(e));
                    break;
                }
            }
        }
        (together.map_or(first, BytesMut::freeze), all)
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        match &self.state {
            State::Flowing => {}
            State::Telling(broken) => {
                self.state = State::Broken(broken.clone());
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            State::Broken(broken) => return Poll::Ready(Some(Err(broken.clone()))),
            State::Over => return Poll::Ready(None),
        }
        if let Some(deadline) = &mut self.deadline
            && deadline.as_mut().poll(cx).is_ready()
        {
            let why = format!("The answer of {} took longer than it may.", self.lease.agent.proper());
            return self.break_off(why, cx);
        }
        match std::task::ready!(self.poll_chunk(cx)) {
            None => {
                self.over();
                Poll::Ready(None)
            }
            Some(Ok(frame)) => {
                let Ok(data) = frame.into_data() else { return Poll::Ready(None) };
                let (data, all) = self.gather(data, cx);
                self.meter.see(&data);
                if all {
                    self.over();
                }
                Poll::Ready(Some(Ok(Frame::data(data))))
            }
            Some(Err(e)) => {
                let why =
                    format!("{} broke off in the middle of an answer ({e}).", self.lease.agent.proper());
                self.break_off(why, cx)
            }
        }
    }

    /// An answer of known length is not asked for more when its last byte is there.
    fn is_over(&self) -> bool {
        match self.state {
            State::Flowing => self.ahead.is_none() && self.answer.is_end_stream(),
            State::Over => true,
            State::Telling(_) | State::Broken(_) => false,
        }
    }
}

impl Body for Passing {
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        self.0.poll(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_over()
    }

    fn size_hint(&self) -> SizeHint {
        self.0.answer.size_hint()
    }
}

impl Drop for Flow {
    fn drop(&mut self) {
        if matches!(self.state, State::Flowing) && self.is_over() {
            self.over();
        }
        self.trip.seen(&self.meter.seen());
    }
}
