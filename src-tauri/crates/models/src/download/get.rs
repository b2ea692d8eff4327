//! One connection's work: a portion of a large file into its part, or a small file into memory.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use domain::download::Span;
use domain::download::answer::Body;
use reqwest::Response;
use tokio::sync::mpsc::UnboundedSender;
use tokio::time::timeout;

use super::RateLimit;
use super::ask::{Opened, Source, Target, Trouble, ask, silent};
use super::part::Part;
use super::write::Writer;
use crate::hub::{Hub, HubError, shown_host, unreachable};

/// What all connections of a download share.
#[derive(Clone)]
pub(crate) struct Line {
    pub(crate) hub: Hub,
    pub(crate) rate: Arc<RateLimit>,
    /// Bytes of bodies so far.
    pub(crate) fetched: Arc<AtomicU64>,
    pub(crate) stall: Duration,
    pub(crate) notes: UnboundedSender<Note>,
}

/// What a connection has learned before it is done.
pub(crate) struct Note {
    pub(crate) job: usize,
    pub(crate) source: Source,
    /// It brings everything: the server knows no ranges.
    pub(crate) whole: bool,
}

/// A portion of a large file.
pub(crate) struct Portion {
    pub(crate) job: usize,
    pub(crate) target: Arc<Target>,
    pub(crate) part: Arc<Part>,
    pub(crate) span: Span,
    pub(crate) source: Option<Source>,
    pub(crate) etag: Option<String>,
    /// The only connection of its file: it finds out what the server can do.
    pub(crate) alone: bool,
    /// The server is known to have no ranges.
    pub(crate) whole: bool,
}

pub(crate) struct Ended {
    /// Written and claimed up to here, from the beginning of the portion.
    pub(crate) to: u64,
    pub(crate) result: Result<(), Trouble>,
}

impl Line {
    async fn chunk(&self, response: &mut Response) -> Result<Option<Bytes>, Trouble> {
        let chunk = match timeout(self.stall, response.chunk()).await {
            Err(_) => return Err(Trouble::Again(silent(response.url()))),
            Ok(Err(e)) => return Err(Trouble::Again(unreachable(response.url(), &e))),
            Ok(Ok(chunk)) => chunk,
        };
        if let Some(chunk) = &chunk {
            self.fetched.fetch_add(chunk.len() as u64, Ordering::Relaxed);
        }
        Ok(chunk)
    }

    pub(crate) async fn portion(&self, portion: Portion, writer: Writer) -> Ended {
        let mut at = portion.span.start;
        let mut result = self.bring(&portion, &writer, &mut at).await;
        if at > portion.span.start
            && let Err(broken) = writer.mark(&portion.part).await
        {
            at = portion.span.start;
            result = Err(Trouble::Disk(broken));
        }
        Ended { to: at, result }
    }

    async fn bring(&self, portion: &Portion, writer: &Writer, at: &mut u64) -> Result<(), Trouble> {
        let Portion { target, span, source, etag, .. } = portion;
        let wanted = (!portion.whole).then_some(*span);
        let opened = ask(&self.hub, target, source.as_ref(), etag.as_deref(), wanted, self.stall).await?;
        let Opened { mut response, body, source } = opened;
        let whole = body == Body::Whole;
        if whole && !portion.alone {
            return Err(Trouble::NoRanges);
        }
        // Nobody listens any more where the download has ended.
        let _ = self.notes.send(Note { job: portion.job, source, whole });
        let (mut from, end) = match body {
            Body::Part(part) => (part.start, part.end),
            Body::Whole => (0, target.size),
        };
        while from < end {
            let Some(mut chunk) = self.chunk(&mut response).await? else {
                let host = shown_host(response.url());
                return Err(Trouble::Again(HubError::Unreachable {
                    host,
                    why: "the answer broke off".to_owned(),
                }));
            };
            let came = chunk.len() as u64;
            let next = from + came;
            // More than was announced is nobody's.
            chunk.truncate(usize::try_from(end - from).unwrap_or(usize::MAX));
            // What is here already is passed over, where everything comes again.
            let skip = usize::try_from(at.saturating_sub(from)).unwrap_or(usize::MAX);
            from = next.min(end);
            if skip < chunk.len() {
                let chunk = chunk.slice(skip..);
                let length = chunk.len() as u64;
                writer.write(&portion.part, *at, chunk).await.map_err(Trouble::Disk)?;
                *at += length;
            }
            // Paid for when it is on its way to the disk: a pause while it waits would lose it.
            self.rate.pay(came).await;
        }
        Ok(())
    }

    /// A small file; `bytes` holds its beginning where an earlier connection brought it, and more of it afterwards.
    pub(crate) async fn small(&self, target: &Target, bytes: &mut Vec<u8>) -> Result<(), Trouble> {
        let got = bytes.len() as u64;
        let span = (got > 0).then_some(Span::new(got, target.size));
        let Opened { mut response, body, .. } = ask(&self.hub, target, None, None, span, self.stall).await?;
        let end = match body {
            Body::Part(part) => part.end,
            Body::Whole => {
                bytes.clear();
                target.size
            }
        };
        while (bytes.len() as u64) < end {
            let Some(chunk) = self.chunk(&mut response).await? else {
                let host = shown_host(response.url());
                return Err(Trouble::Again(HubError::Unreachable {
                    host,
                    why: "the answer broke off".to_owned(),
                }));
            };
            let room = usize::try_from(end - bytes.len() as u64).unwrap_or(usize::MAX);
            bytes.extend_from_slice(chunk.get(..chunk.len().min(room)).unwrap_or_default());
            self.rate.pay(chunk.len() as u64).await;
        }
        Ok(())
    }
}
