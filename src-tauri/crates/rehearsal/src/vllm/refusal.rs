//! vLLM's error bodies.

use axum::http::StatusCode;
use axum::response::Response;
use serde_json::{Value, json};

use super::with_json;
use crate::engine::Engine;

pub(super) fn error(status: StatusCode, kind: &str, message: &str, param: Option<&str>) -> Response {
    with_json(status, &body(status, kind, message, param))
}

fn body(status: StatusCode, kind: &str, message: &str, param: Option<&str>) -> Value {
    json!({"error": {"message": message, "type": kind, "param": param, "code": status.as_u16()}})
}

pub(super) fn bad_request(message: &str) -> Response {
    error(StatusCode::BAD_REQUEST, "BadRequestError", message, None)
}

/// A parameter with a value that does not do: the sentence, and both once more in brackets.
pub(super) fn parameter(name: &str, value: &str, sentence: impl FnOnce(&str) -> String) -> Response {
    let message = format!("{} (parameter={name}, value={value})", sentence(value));
    error(StatusCode::BAD_REQUEST, "BadRequestError", &message, Some(name))
}

/// A body that is no JSON. The place is the number of characters before the error.
pub(super) fn bad_json(body: &[u8], problem: &serde_json::Error) -> Response {
    let lines = body.split(|byte| *byte == b'\n').take(problem.line().saturating_sub(1));
    let before: usize = lines.map(|line| line.len() + 1).sum();
    let place = before + if problem.is_eof() { problem.column() } else { problem.column().saturating_sub(1) };
    let what = if problem.is_eof() {
        "Expecting value"
    } else {
        "Expecting property name enclosed in double quotes"
    };
    let message = format!(
        "1 validation error:\n  {{'type': 'json_invalid', 'loc': 'body.{place}', 'msg': 'JSON decode error', \
         'input': '<dict of 0 items>', 'ctx': {{'error': '{what}'}}}}"
    );
    error(StatusCode::BAD_REQUEST, "Bad Request", &message, Some(&format!("body.{place}")))
}

/// A field that has to be there.
pub(super) fn missing(value: &Value, field: &str) -> Response {
    let items = value.as_object().map_or(0, serde_json::Map::len);
    let message = format!(
        "1 validation error:\n  {{'type': 'missing', 'loc': 'body.{field}', 'msg': 'Field required', 'input': '<dict \
         of {items} items>'}}"
    );
    error(StatusCode::BAD_REQUEST, "Bad Request", &message, Some(&format!("body.{field}")))
}

/// Refuses a model it does not serve; none named is the one it has.
pub(super) fn unknown_model(engine: &Engine, value: &Value) -> Result<(), Response> {
    match value["model"].as_str() {
        Some(model) if !model.is_empty() && !engine.command.names.iter().any(|name| name == model) => {
            let names = engine.command.names.join(", ");
            let message = format!("The model `{model}` does not exist. Valid aliases: {names}.");
            Err(error(StatusCode::NOT_FOUND, "NotFoundError", &message, Some("model")))
        }
        _ => Ok(()),
    }
}

const DEAD: &str = "EngineCore encountered an issue. See stack trace (above) for the root cause.";

/// The engine died before the answer began.
pub(super) fn engine_dead() -> Response {
    with_json(StatusCode::INTERNAL_SERVER_ERROR, &engine_dead_body())
}

/// The same as an event of a stream.
pub(super) fn engine_dead_body() -> Value {
    body(StatusCode::INTERNAL_SERVER_ERROR, "InternalServerError", DEAD, None)
}
