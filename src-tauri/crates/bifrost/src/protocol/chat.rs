//! Chats and completions of `OpenAI`.
//!
//! Their streams have no event that means nothing, so a wait is told in comments alone: every client reads bytes
//! against its time-out, and skips the line.

use serde_json::{Value, json};

use crate::refusal::Problem;

/// `{"error": {message, type, code, param}}`. An agent's own error is said in its own words, with what they lack.
pub(super) fn error(problem: &Problem) -> Value {
    let mut error = json!({
        "message": problem.message,
        "type": problem.kind,
        "code": problem.code,
        "param": problem.param,
    });
    if let (Some(error), Some(theirs)) = (error.as_object_mut(), &problem.theirs) {
        for (key, value) in theirs.iter().filter(|(key, _)| *key != "message") {
            error.insert(key.clone(), value.clone());
        }
    }
    json!({"error": error})
}

/// The servers' own form of an error in mid-stream.
pub(super) fn failure(problem: &Problem) -> String {
    format!("data: {}\n\ndata: [DONE]\n\n", error(problem))
}
