//! Anthropic's messages.

use serde_json::{Value, json};

use crate::refusal::Problem;

/// Their clients drop it; it may come at any time, before the first event too.
pub(super) const PING: &str = "event: ping\ndata: {\"type\": \"ping\"}\n\n";

/// `{"type": "error", "error": {type, message}}`. Their clients show the message; the gateway's code stands beside it.
pub(super) fn error(problem: &Problem) -> Value {
    json!({
        "type": "error",
        "error": {"type": kind(problem), "message": problem.message, "code": problem.code},
    })
}

pub(super) fn failure(problem: &Problem) -> String {
    super::event("error", &error(problem))
}

/// The type that Anthropic's service gives with such a status.
fn kind(problem: &Problem) -> &'static str {
    match problem.status.as_u16() {
        401 => "authentication_error",
        403 => "permission_error",
        404 => "not_found_error",
        413 => "request_too_large",
        429 => "rate_limit_error",
        408 | 504 => "timeout_error",
        // A client that is told of too much load comes again; who failed waits for somebody to look.
        503 if problem.code != "agent_failed" => "overloaded_error",
        400..=499 => "invalid_request_error",
        _ => "api_error",
    }
}
