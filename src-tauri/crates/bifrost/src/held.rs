//! An answer that is opened before its agent is there.
//!
//! Status and head go out at once, and then a sign of life at every change of place and at least every
//! [`beat`](crate::Settings::beat), until the agent's own first bytes come: from there on they alone pass, unchanged. What
//! goes wrong before that can only be told inside the stream, as its protocol tells errors.
//!
//! Nothing runs on its own here. The client's connection drives the wait; where that is gone, the queue is left and no
//! agent is asked.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use domain::schedule::Place;
use http::header::{CACHE_CONTROL, CONTENT_ENCODING, CONTENT_TYPE, HeaderName, HeaderValue};
use http::{HeaderMap, Response, StatusCode, response};
use http_body_util::{BodyExt, Either};
use hyper::body::{Body, Frame};
use serde_json::{Map, Value};
use tokio::sync::watch;
use tokio::time::{Instant, Interval, MissedTickBehavior};

use crate::headers::ORIGIN_OF_ANSWER;
use crate::infer::{Errand, lease};
use crate::passing::{Broken, Passing};
use crate::protocol::{Opening, Voice, on_one_line, whole};
use crate::refusal::Problem;
use crate::{Outcome, Waiting, refusal};

const PLACE: HeaderName = HeaderName::from_static("x-asgard-queue-place");
const STAGE: HeaderName = HeaderName::from_static("x-asgard-stage");
const LEFT: HeaderName = HeaderName::from_static("x-asgard-seconds-left");
const SDK_LANGUAGE: HeaderName = HeaderName::from_static("x-stainless-lang");

/// How much of an agent's error is read, and how long it may take.
const LONGEST_ERROR: usize = 64 << 10;
const SLOWEST_ERROR: Duration = Duration::from_secs(5);

/// Opens the answer. `patience`: how long its client would wait for a lease.
pub(crate) fn open(
    mut errand: Errand,
    waiting: Waiting,
    patience: Option<Duration>,
    beat: Duration,
) -> Response<refusal::Body> {
    let now = jiff::Timestamp::now();
    let voice = Voice::new(Opening {
        protocol: errand.protocol,
        model: errand.wanted.model.clone(),
        created_at: now.as_second(),
        id: format!("resp_{:032x}{:016x}", now.as_nanosecond(), waiting.ticket),
        comments_only: counts_bytes(&errand.headers),
    });
    let places = waiting.place.clone();
    let first = places.borrow().clone();

    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(ORIGIN_OF_ANSWER, HeaderValue::from_static("gateway"));
    headers.insert(PLACE, HeaderValue::from(first.place));
    let stage = on_one_line(&first.stage).replace(|c: char| !c.is_ascii(), "?");
    if let Ok(stage) = HeaderValue::try_from(stage) {
        headers.insert(STAGE, stage);
    }
    if let Some(seconds) = whole(first.seconds_left) {
        headers.insert(LEFT, HeaderValue::from(seconds));
    }

    errand.opens();
    let mut beat = tokio::time::interval(beat.max(Duration::from_millis(1)));
    beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let held = HeldStream {
        voice,
        said: first,
        changes: Some(Box::pin(next_place(places))),
        beat,
        state: State::Waiting(Box::pin(cross(errand, waiting, patience))),
    };
    let mut answer = Response::new(Either::Right(Either::Right(Box::new(held))));
    *answer.headers_mut() = headers;
    answer
}

/// `OpenAI`'s own libraries: see `protocol/responses.rs`.
fn counts_bytes(headers: &HeaderMap) -> bool {
    headers.get(SDK_LANGUAGE).is_some_and(|language| language == "python" || language == "js")
}

/// A stream that waits for its agent, and then is the agent's.
pub(crate) struct HeldStream {
    voice: Voice,
    /// The place that was told last.
    said: Place,
    /// The next one; none when there will be no other.
    changes: Option<Pin<Box<dyn Future<Output = Option<Places>> + Send>>>,
    beat: Interval,
    state: State,
}

type Places = watch::Receiver<Place>;

enum State {
    /// For the lease, and then for the head of the agent's answer.
    Waiting(Pin<Box<dyn Future<Output = Result<Passing, Problem>> + Send>>),
    /// The agent answers; its first bytes are yet to come.
    Answering(Passing),
    Flowing(Passing),
    Over,
}

async fn next_place(mut places: Places) -> Option<Places> {
    places.changed().await.ok()?;
    Some(places)
}

impl HeldStream {
    fn tell(&mut self) -> Frame<Bytes> {
        self.beat.reset();
        Frame::data(self.voice.beat(&self.said))
    }

    fn fail(&mut self, problem: &Problem) -> Frame<Bytes> {
        self.state = State::Over;
        self.changes = None;
        Frame::data(self.voice.failure(problem))
    }

    /// A sign of life, if one is due.
    fn poll_beat(&mut self, cx: &mut Context<'_>) -> Poll<Frame<Bytes>> {
        while let Some(change) = &mut self.changes {
            let Poll::Ready(places) = change.as_mut().poll(cx) else { break };
            self.changes = None;
            let Some(mut places) = places else { break };
            let now = places.borrow_and_update().clone();
            let moved = (now.place, &now.stage) != (self.said.place, &self.said.stage);
            self.said = now;
            self.changes = Some(Box::pin(next_place(places)));
            // That a second has passed is told with the next beat.
            if moved {
                return Poll::Ready(self.tell());
            }
        }
        self.beat.poll_tick(cx).map(|_| self.tell())
    }
}

impl Body for HeldStream {
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        loop {
            match &mut self.state {
                State::Waiting(answer) => match answer.as_mut().poll(cx) {
                    Poll::Ready(Ok(passing)) => {
                        self.changes = None;
                        self.state = State::Answering(passing);
                    }
                    Poll::Ready(Err(problem)) => return Poll::Ready(Some(Ok(self.fail(&problem)))),
                    Poll::Pending => return self.poll_beat(cx).map(|frame| Some(Ok(frame))),
                },
                State::Answering(passing) => match Pin::new(&mut *passing).poll_frame(cx) {
                    Poll::Ready(first) => {
                        if let Some(why) = silent(passing, first.as_ref()) {
                            let problem = Problem::server(StatusCode::BAD_GATEWAY, "agent_broke_off", why);
                            return Poll::Ready(Some(Ok(self.fail(&problem))));
                        }
                        let State::Answering(passing) = std::mem::replace(&mut self.state, State::Over)
                        else {
                            return Poll::Ready(None);
                        };
                        self.state = State::Flowing(passing);
                        return Poll::Ready(first);
                    }
                    Poll::Pending => return self.poll_beat(cx).map(|frame| Some(Ok(frame))),
                },
                State::Flowing(passing) => return Pin::new(passing).poll_frame(cx),
                State::Over => return Poll::Ready(None),
            }
        }
    }
}

/// What went wrong with an answer whose body has no first byte.
fn silent(passing: &mut Passing, first: Option<&Result<Frame<Bytes>, Broken>>) -> Option<String> {
    if let Some(broken) = passing.broken() {
        return Some(broken.to_string());
    }
    match first {
        Some(Ok(_)) => None,
        Some(Err(broken)) => Some(broken.to_string()),
        None => {
            let why = format!("{} ended its answer before it began.", passing.agent().proper());
            passing.ends(Outcome::Broken, why.clone());
            Some(format!("{why} See its log: asgard logs {}", passing.agent()))
        }
    }
}

/// Up to the agent's answer, if that is a stream that can be handed on. What goes wrong is noted.
async fn cross(mut errand: Errand, waiting: Waiting, patience: Option<Duration>) -> Result<Passing, Problem> {
    let lease = match lease(waiting, patience).await {
        Ok(lease) => lease,
        Err(problem) => {
            errand.refused(&problem);
            return Err(problem);
        }
    };
    let (head, mut passing) = errand.ask(lease, None).await?;
    let Some(problem) = unfit(&head, &mut passing).await else { return Ok(passing) };
    passing.ends(Outcome::Error, problem.message.clone());
    Err(problem)
}

/// Why this answer cannot be put into a stream.
async fn unfit(head: &response::Parts, passing: &mut Passing) -> Option<Problem> {
    if !head.status.is_success() {
        let body = read(passing).await;
        return Some(their_error(head.status, &body, passing));
    }
    let kind = head.headers.get(CONTENT_TYPE).map_or(&b""[..], HeaderValue::as_bytes);
    let events = kind.get(..17).is_some_and(|kind| kind.eq_ignore_ascii_case(b"text/event-stream"));
    let coded = head.headers.get(CONTENT_ENCODING).is_some_and(|coding| coding != "identity");
    if events && !coded {
        return None;
    }
    let message = format!(
        "{} did not answer with a stream of events. Ask without \"stream\", or see its log: asgard logs {}",
        passing.agent().proper(),
        passing.agent(),
    );
    Some(Problem::server(StatusCode::BAD_GATEWAY, "not_a_stream", message))
}

/// The body of an error, as far as it is worth reading.
async fn read(passing: &mut Passing) -> Bytes {
    let until = Instant::now() + SLOWEST_ERROR;
    let mut body = BytesMut::new();
    while body.len() < LONGEST_ERROR
        && let Ok(Some(Ok(frame))) = tokio::time::timeout_at(until, passing.frame()).await
    {
        if let Some(data) = frame.data_ref() {
            body.extend_from_slice(data);
        }
    }
    body.freeze()
}

/// An agent's error in the agent's words. Servers have many shapes for it.
fn their_error(status: StatusCode, body: &[u8], passing: &Passing) -> Problem {
    let (message, theirs) = their_words(body);
    let message = message.unwrap_or_else(|| {
        let agent = passing.agent();
        format!("{} answered with {status}, and no reason. See its log: asgard logs {agent}", agent.proper())
    });
    // Its key is the gateway's business: the client's own was right.
    let status = match status {
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => StatusCode::BAD_GATEWAY,
        other => other,
    };
    let mut problem = if status.is_client_error() {
        Problem::request(status, "agent_error", message)
    } else {
        Problem::server(status, "agent_error", message)
    };
    problem.theirs = theirs.map(Box::new);
    problem
}

/// The message, and the object that it stands in where that is one of `OpenAI`'s shape.
fn their_words(body: &[u8]) -> (Option<String>, Option<Map<String, Value>>) {
    let said = |text: &str| {
        let text = text.trim();
        (!text.is_empty()).then(|| text.chars().take(2000).collect::<String>())
    };
    let Ok(json) = serde_json::from_slice::<Value>(body) else {
        let text = String::from_utf8_lossy(body);
        // A page is not for reading in an error.
        return (if text.trim_start().starts_with('<') { None } else { said(&text) }, None);
    };
    match &json["error"] {
        Value::Object(error) => {
            (error.get("message").and_then(Value::as_str).and_then(said), Some(error.clone()))
        }
        Value::String(error) => (said(error), None),
        _ => {
            let message = [&json["message"], &json["detail"]].into_iter().find_map(|words| match words {
                Value::String(text) => said(text),
                Value::Null => None,
                other => said(&other.to_string()),
            });
            (message, None)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_server_is_understood() {
        let check = |body: &str, expected: Option<&str>, object: bool| {
            let (message, theirs) = their_words(body.as_bytes());
            assert_eq!((message.as_deref(), theirs.is_some()), (expected, object), "{body}");
        };
        check(
            r#"{"error":{"message":"too long","type":"BadRequestError","code":400}}"#,
            Some("too long"),
            true,
        );
        check(r#"{"type":"error","error":{"type":"api_error","message":"no"}}"#, Some("no"), true);
        check(r#"{"error":"Unauthorized"}"#, Some("Unauthorized"), false);
        check(r#"{"detail":"Not Found"}"#, Some("Not Found"), false);
        check(r#"{"detail":[{"msg":"x"}]}"#, Some(r#"[{"msg":"x"}]"#), false);
        check(r#"{"object":"error","message":"old"}"#, Some("old"), false);
        check("plain words\n", Some("plain words"), false);
        check("<html>no</html>", None, false);
        check(r#"{"error":{}}"#, None, true);
        check("[]", None, false);
        check("", None, false);
        check("\u{0}", Some("\u{0}"), false);
        let long = "x".repeat(10_000);
        assert_eq!(their_words(long.as_bytes()).0.unwrap().len(), 2000);
    }
}
