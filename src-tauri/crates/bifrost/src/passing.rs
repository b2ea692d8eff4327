//! An answer on its way through.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use tokio::time::{Instant, Sleep};

use crate::Lease;
use crate::upstream::Connection;

/// The body of an agent's answer as it arrives, one chunk at a time: the next is read when the last was taken, so a
/// slow client slows the agent and nothing piles up here.
///
/// Dropping it, by its end or because the client hung up, closes the connection to the agent and gives the lease back.
pub(crate) struct Passing {
    answer: Incoming,
    deadline: Option<Pin<Box<Sleep>>>,
    broken: Option<Broken>,
    // The order matters: the agent hears of the end before the schedule does.
    _connection: Connection,
    lease: Lease,
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
    pub(crate) fn new(answer: Incoming, connection: Connection, lease: Lease, started: Instant) -> Self {
        let deadline = lease
            .max_seconds
            .and_then(|seconds| started.checked_add(Duration::from_secs(seconds)))
            .map(|at| Box::pin(tokio::time::sleep_until(at)));
        Self { answer, deadline, broken: None, _connection: connection, lease }
    }

    fn break_off(&mut self, why: String, cx: &Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        tracing::warn!(agent = %self.lease.agent, "{why}");
        self.broken = Some(Broken(why));
        // Not at once: what has arrived before is still on its way out, and is flushed when there is nothing to do.
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

impl Body for Passing {
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        if let Some(broken) = &self.broken {
            return Poll::Ready(Some(Err(broken.clone())));
        }
        if let Some(deadline) = &mut self.deadline
            && deadline.as_mut().poll(cx).is_ready()
        {
            let why = format!("The answer of {} took longer than it may.", self.lease.agent.proper());
            return self.break_off(why, cx);
        }
        loop {
            return match Pin::new(&mut self.answer).poll_frame(cx) {
                Poll::Pending => Poll::Pending,
                Poll::Ready(None) => Poll::Ready(None),
                // Trailers belong to the connection they came on.
                Poll::Ready(Some(Ok(frame))) if !frame.is_data() => continue,
                Poll::Ready(Some(Ok(frame))) => Poll::Ready(Some(Ok(frame))),
                Poll::Ready(Some(Err(e))) => {
                    let why =
                        format!("{} broke off in the middle of an answer ({e}).", self.lease.agent.proper());
                    self.break_off(why, cx)
                }
            };
        }
    }

    fn is_end_stream(&self) -> bool {
        self.broken.is_none() && self.answer.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.answer.size_hint()
    }
}
