//! The gateway's own answers, in the shape that every OpenAI client reads.

use bytes::Bytes;
use domain::AgentName;
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use http::{HeaderName, Response, StatusCode};
use http_body_util::{Either, Full};
use serde_json::{Value, json};

use crate::headers::ORIGIN_OF_ANSWER;
use crate::passing::Passing;

pub(crate) type Body = Either<Full<Bytes>, Passing>;

/// OpenAI's own clients repeat a request on 409, 429 and 5xx unless this header forbids it.
const SHOULD_RETRY: HeaderName = HeaderName::from_static("x-should-retry");

/// Why a request gets no agent. Each `message` is for the person at the client: what happened, then what to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// No agent of that name, and none with that model: 404.
    UnknownModel { message: String },
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

impl Refusal {
    /// What happened, as the client is told.
    pub(crate) fn message(&self) -> &str {
        match self {
            Self::UnknownModel { message }
            | Self::Asleep { message, .. }
            | Self::Busy { message, .. }
            | Self::TooOften { message, .. }
            | Self::DoesNotFit { message }
            | Self::NotInTime { message }
            | Self::NoKey { message }
            | Self::NotAllowed { message }
            | Self::QueueFull { message, .. }
            | Self::Failed { message, .. } => message,
        }
    }

    pub(crate) fn answer(self) -> Response<Body> {
        match self {
            Self::UnknownModel { message } => Problem {
                param: Some("model"),
                ..Problem::request(StatusCode::NOT_FOUND, "model_not_found", message)
            }
            .answer(),
            Self::Asleep { message, next, .. } => {
                Problem::server(StatusCode::SERVICE_UNAVAILABLE, "agent_asleep", sentence(&message, &next))
                    .final_answer()
            }
            Self::Failed { message, next, .. } => {
                Problem::server(StatusCode::SERVICE_UNAVAILABLE, "agent_failed", sentence(&message, &next))
                    .final_answer()
            }
            Self::Busy { message, retry_after } => {
                Problem::server(StatusCode::SERVICE_UNAVAILABLE, "busy", message).answer_later(retry_after)
            }
            Self::NoKey { message } => Problem {
                kind: "authentication_error",
                ..Problem::request(StatusCode::UNAUTHORIZED, "invalid_api_key", message)
            }
            .answer(),
            Self::NotAllowed { message } => Problem {
                kind: "permission_error",
                ..Problem::request(StatusCode::FORBIDDEN, "agent_not_allowed", message)
            }
            .answer(),
            Self::QueueFull { message, retry_after } => {
                Problem::server(StatusCode::TOO_MANY_REQUESTS, "queue_full", message)
                    .answer_later(retry_after)
            }
            Self::TooOften { message, retry_after } => {
                Problem::server(StatusCode::TOO_MANY_REQUESTS, "too_often", message).answer_later(retry_after)
            }
            Self::DoesNotFit { message } => {
                Problem::server(StatusCode::CONFLICT, "does_not_fit", message).final_answer()
            }
            Self::NotInTime { message } => {
                Problem::server(StatusCode::GATEWAY_TIMEOUT, "not_ready_in_time", message).final_answer()
            }
        }
    }
}

fn sentence(message: &str, next: &str) -> String {
    if next.is_empty() { message.to_owned() } else { format!("{message} {next}") }
}

/// One error of the gateway itself.
#[derive(Debug)]
pub(crate) struct Problem {
    pub(crate) status: StatusCode,
    pub(crate) kind: &'static str,
    pub(crate) code: &'static str,
    pub(crate) param: Option<&'static str>,
    pub(crate) message: String,
}

impl Problem {
    /// The request is wrong.
    pub(crate) fn request(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self { status, kind: "invalid_request_error", code, param: None, message: message.into() }
    }

    /// The request is fine, and cannot be answered.
    pub(crate) fn server(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self { status, kind: "server_error", code, param: None, message: message.into() }
    }

    pub(crate) fn answer(self) -> Response<Body> {
        let Self { status, kind, code, param, message } = self;
        let body = json!({"error": {"message": message, "type": kind, "code": code, "param": param}});
        let mut answer = json_answer(status, &body);
        answer.headers_mut().insert(ORIGIN_OF_ANSWER, HeaderValue::from_static("gateway"));
        answer
    }

    pub(crate) fn answer_allowing(self, methods: &'static str) -> Response<Body> {
        let mut answer = self.answer();
        answer.headers_mut().insert(ALLOW, HeaderValue::from_static(methods));
        answer
    }

    fn answer_later(self, seconds: u64) -> Response<Body> {
        let mut answer = self.answer();
        answer.headers_mut().insert(RETRY_AFTER, HeaderValue::from(seconds));
        answer
    }

    fn final_answer(self) -> Response<Body> {
        let mut answer = self.answer();
        answer.headers_mut().insert(SHOULD_RETRY, HeaderValue::from_static("false"));
        answer
    }
}

pub(crate) fn json_answer(status: StatusCode, body: &Value) -> Response<Body> {
    let mut answer = Response::new(Either::Left(Full::new(Bytes::from(body.to_string()))));
    *answer.status_mut() = status;
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    answer.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    answer
}
