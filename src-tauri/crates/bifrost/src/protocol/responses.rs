//! `OpenAI`'s responses.
//!
//! Readers of these streams want `response.created` first; Codex counts its patience by events, not by bytes. So a wait
//! is a response of ours that is queued: created, then queued at every beat. The agent's own `response.created` comes
//! after it and takes its place.
//!
//! `OpenAI`'s own libraries count bytes, and their newer versions end a stream whose response changes its id. They say
//! who they are, and are sent comments alone (`comments_only`).

use serde_json::{Value, json};

use super::{Opening, event};
use crate::refusal::Problem;

/// A response that waits.
#[derive(Debug)]
pub(crate) struct Queue {
    opening: Opening,
    /// Of the next event.
    number: u64,
}

impl Queue {
    pub(super) fn new(opening: Opening) -> Self {
        Self { opening, number: 0 }
    }

    pub(super) fn beat(&mut self, text: &mut String) {
        if !self.opening.comments_only {
            self.create(text);
            let response = self.response("queued");
            self.say(text, "response.queued", json!({"response": response}));
        }
    }

    pub(super) fn failure(&mut self, problem: &Problem) -> String {
        let mut text = String::new();
        self.create(&mut text);
        self.say(&mut text, "error", complaint(problem));
        let mut response = self.response("failed");
        response["error"] = json!({"code": code(problem), "message": problem.message});
        self.say(&mut text, "response.failed", json!({"response": response}));
        text
    }

    /// Before everything else, once.
    fn create(&mut self, text: &mut String) {
        if self.number == 0 {
            let response = self.response("queued");
            self.say(text, "response.created", json!({"response": response}));
        }
    }

    fn say(&mut self, text: &mut String, name: &str, mut data: Value) {
        data["type"] = Value::from(name);
        data["sequence_number"] = Value::from(self.number);
        self.number += 1;
        text.push_str(&event(name, &data));
    }

    /// All that `OpenAI`'s type of a response demands, and nothing that is not known yet.
    fn response(&self, status: &str) -> Value {
        let Opening { model, created_at, id, .. } = &self.opening;
        json!({
            "id": id,
            "object": "response",
            "created_at": created_at,
            "status": status,
            "background": false,
            "error": null,
            "incomplete_details": null,
            "instructions": null,
            "max_output_tokens": null,
            "metadata": {},
            "model": model,
            "output": [],
            "parallel_tool_calls": true,
            "previous_response_id": null,
            "temperature": null,
            "tool_choice": "auto",
            "tools": [],
            "top_p": null,
            "usage": null,
        })
    }
}

/// An error in the middle of an agent's own answer, whose response and numbers are not known here.
pub(super) fn broken(problem: &Problem) -> String {
    let mut data = complaint(problem);
    data["type"] = Value::from("error");
    // After all others of a stream, however many there were.
    data["sequence_number"] = Value::from(i32::MAX);
    event("error", &data)
}

/// Flat, as the type is documented, and nested, as the service sends it: clients read the one or the other.
fn complaint(problem: &Problem) -> Value {
    json!({
        "code": problem.code,
        "message": problem.message,
        "param": problem.param,
        "error": super::chat::error(problem)["error"],
    })
}

/// Of the few words that the type of a response's error knows.
fn code(problem: &Problem) -> &'static str {
    match problem.status.as_u16() {
        429 => "rate_limit_exceeded",
        400..=428 | 430..=499 => "invalid_prompt",
        _ => "server_error",
    }
}
