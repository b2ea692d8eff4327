//! The gateway's own answers: why a request gets no agent, and the status that goes with it.

use bytes::Bytes;
use domain::AgentName;
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderName, Response, StatusCode};
use http_body_util::{Either, Full};
use serde_json::{Map, Value};

use crate::headers::ORIGIN_OF_ANSWER;
use crate::held::HeldStream;
use crate::passing::Passing;
use crate::protocol::Protocol;

/// Whole, or an agent's as it comes, or one that waits for its agent.
pub(crate) type Body = Either<Full<Bytes>, Either<Passing, Box<HeldStream>>>;

/// OpenAI's own clients repeat a request on 409, 429 and 5xx unless this header forbids it.
pub(crate) const SHOULD_RETRY: HeaderName = HeaderName::from_static("x-should-retry");

/// Why a request gets no agent. Each `message` is for the person at the client: what happened, then what to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// No agent of that name, and none with that model: 404.
    UnknownModel { message: String },
    /// A control path names an agent that is none: 400.
    UnknownAgent { message: String },
    /// The agent is not awake, and nothing wakes it: 503, and repeating the request will not help.
    Asleep { agent: AgentName, message: String, next: String },
    /// Not now: loading, draining, a switch under way: 503 with `Retry-After`.
    Busy { message: String, retry_after: u64 },
    /// A budget or a cooldown forbids it: 429 with `Retry-After`.
    TooOften { message: String, retry_after: u64 },
    /// It cannot be awake beside what runs: 409, with the numbers in the message.
    DoesNotFit { message: String },
    /// It was asked to wake and was not ready in time: 504. The loading goes on.
    NotInTime { message: String },
    /// The key is missing, or none of ours: 401.
    NoKey { message: String },
    /// The key does not allow this agent: 403.
    NotAllowed { message: String },
    /// As many wait for the agent as may: 429 with `Retry-After`.
    QueueFull { message: String, retry_after: u64 },
    /// The agent failed, and waits for somebody to look: 503.
    Failed { agent: AgentName, message: String, next: String },
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::UnknownModel { message } => Self {
                param: Some("model"),
                ..Self::request(StatusCode::NOT_FOUND, "model_not_found", message)
            },
            Refusal::UnknownAgent { message } => {
                Self::request(StatusCode::BAD_REQUEST, "unknown_agent", message)
            }
            Refusal::Asleep { message, next, .. } => {
                Self::server(StatusCode::SERVICE_UNAVAILABLE, "agent_asleep", sentence(&message, &next))
                    .for_good()
            }
            Refusal::Failed { message, next, .. } => {
                Self::server(StatusCode::SERVICE_UNAVAILABLE, "agent_failed", sentence(&message, &next))
                    .for_good()
            }
            Refusal::Busy { message, retry_after } => {
                Self::server(StatusCode::SERVICE_UNAVAILABLE, "busy", message).later(retry_after)
            }
            Refusal::NoKey { message } => Self {
                kind: "authentication_error",
                ..Self::request(StatusCode::UNAUTHORIZED, "invalid_api_key", message)
            },
            Refusal::NotAllowed { message } => Self {
                kind: "permission_error",
                ..Self::request(StatusCode::FORBIDDEN, "agent_not_allowed", message)
            },
            Refusal::QueueFull { message, retry_after } => {
                Self::server(StatusCode::TOO_MANY_REQUESTS, "queue_full", message).later(retry_after)
            }
            Refusal::TooOften { message, retry_after } => {
                Self::server(StatusCode::TOO_MANY_REQUESTS, "too_often", message).later(retry_after)
            }
            Refusal::DoesNotFit { message } => {
                Self::server(StatusCode::CONFLICT, "does_not_fit", message).for_good()
            }
            Refusal::NotInTime { message } => {
                Self::server(StatusCode::GATEWAY_TIMEOUT, "not_ready_in_time", message).for_good()
            }
        }
    }
}

fn sentence(message: &str, next: &str) -> String {
    if next.is_empty() { message.to_owned() } else { format!("{message} {next}") }
}

/// One error, before it is said in the words of a protocol.
#[derive(Debug, Clone)]
pub(crate) struct Problem {
    pub(crate) status: StatusCode,
    pub(crate) kind: &'static str,
    pub(crate) code: &'static str,
    pub(crate) param: Option<&'static str>,
    pub(crate) message: String,
    /// The error object of the agent whose error it is.
    pub(crate) theirs: Option<Box<Map<String, Value>>>,
    /// Seconds.
    pub(crate) retry_after: Option<u64>,
    /// Repeating the request will not help.
    pub(crate) for_good: bool,
    pub(crate) allow: Option<&'static str>,
}

impl Problem {
    /// The request is wrong.
    pub(crate) fn request(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self {
            status,
            kind: "invalid_request_error",
            code,
            param: None,
            message: message.into(),
            theirs: None,
            retry_after: None,
            for_good: false,
            allow: None,
        }
    }

    /// The request is fine, and cannot be answered.
    pub(crate) fn server(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self { kind: "server_error", ..Self::request(status, code, message) }
    }

    /// With the methods that the path takes.
    pub(crate) fn allowing(self, methods: &'static str) -> Self {
        Self { allow: Some(methods), ..self }
    }

    pub(crate) fn later(self, seconds: u64) -> Self {
        Self { retry_after: Some(seconds.max(1)), ..self }
    }

    fn for_good(self) -> Self {
        Self { for_good: true, ..self }
    }

    pub(crate) fn answer(self, protocol: Protocol) -> Response<Body> {
        let mut answer = json_answer(self.status, &protocol.body(&self));
        let headers = answer.headers_mut();
        if let Some(seconds) = self.retry_after {
            headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        if self.for_good {
            headers.insert(SHOULD_RETRY, HeaderValue::from_static("false"));
        }
        if let Some(methods) = self.allow {
            headers.insert(ALLOW, HeaderValue::from_static(methods));
        }
        if self.status == StatusCode::UNAUTHORIZED {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        answer
    }
}

/// An answer of the gateway's own.
pub(crate) fn json_answer(status: StatusCode, body: &Value) -> Response<Body> {
    own_answer(status, "application/json", body.to_string())
}

pub(crate) fn own_answer(status: StatusCode, kind: &'static str, body: String) -> Response<Body> {
    let mut answer = Response::new(Either::Left(Full::new(Bytes::from(body))));
    *answer.status_mut() = status;
    let headers = answer.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(ORIGIN_OF_ANSWER, HeaderValue::from_static("gateway"));
    answer
}
