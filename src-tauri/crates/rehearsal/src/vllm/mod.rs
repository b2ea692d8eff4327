//! vLLM 0.32's dialect, as it was recorded.

pub(crate) mod args;
mod chat;
mod completion;
pub(crate) mod failure;
pub(crate) mod log;
mod messages;
mod metrics;
mod refusal;
mod responses;

use std::sync::Arc;

use axum::body::Body;
use axum::http::header::{ALLOW, AUTHORIZATION, CONTENT_TYPE, SERVER, VARY};
use axum::http::request::Parts;
use axum::http::{HeaderValue, Method, StatusCode};
use axum::response::Response;
use serde_json::{Value, json};

use crate::engine::{Crashed, Engine, Generation};
use crate::exchange::{Ask, ToolChoice};
use crate::metrics::Finish;
use crate::text::{token_id, tokens};

pub(crate) const VERSION: &str = "0.32.0";

/// The methods a path takes; none where there is no such path.
fn methods(path: &str) -> Option<&'static str> {
    Some(match path {
        "/health" | "/version" | "/load" | "/metrics" | "/v1/models" => "GET",
        "/ping" => "GET, POST",
        "/v1/chat/completions"
        | "/v1/completions"
        | "/v1/responses"
        | "/v1/messages"
        | "/v1/messages/count_tokens"
        | "/tokenize" => "POST",
        _ => return None,
    })
}

/// Answers one request.
pub(crate) async fn answer(engine: &Arc<Engine>, head: &Parts, body: &[u8]) -> Response {
    let path = head.uri.path();
    if !allowed(engine, head) {
        let mut response = with_json(StatusCode::UNAUTHORIZED, &json!({"error": "Unauthorized"}));
        // The key is checked outside of what adds this.
        response.headers_mut().remove(VARY);
        return response;
    }
    let Some(methods) = methods(path) else {
        return with_json(StatusCode::NOT_FOUND, &json!({"detail": "Not Found"}));
    };
    if !methods.split(", ").any(|method| method == head.method.as_str()) {
        let mut response =
            with_json(StatusCode::METHOD_NOT_ALLOWED, &json!({"detail": "Method Not Allowed"}));
        response.headers_mut().insert(ALLOW, HeaderValue::from_static(methods));
        return response;
    }
    match path {
        "/health" | "/ping" => with_body(StatusCode::OK, None, Body::empty()),
        "/version" => with_json(StatusCode::OK, &json!({"version": VERSION})),
        "/load" => with_json(StatusCode::OK, &json!({"server_load": engine.running() + engine.waiting()})),
        "/metrics" => {
            let kind = "text/plain; version=1.0.0; charset=utf-8";
            with_body(StatusCode::OK, Some(kind), Body::from(metrics::show(engine)))
        }
        "/v1/models" => with_json(StatusCode::OK, &models(engine)),
        _ => match post(engine, path, body).await {
            Ok(response) | Err(response) => response,
        },
    }
}

async fn post(engine: &Arc<Engine>, path: &str, body: &[u8]) -> Result<Response, Response> {
    let value: Value = serde_json::from_slice(body).map_err(|error| refusal::bad_json(body, &error))?;
    let field = match path {
        "/v1/chat/completions" | "/v1/messages" | "/v1/messages/count_tokens" => "messages",
        "/v1/responses" => "input",
        "/tokenize" if value["messages"].is_array() => "messages",
        _ => "prompt",
    };
    // A prompt may be left out; messages and input may not.
    if value.get(field).is_none() && path != "/v1/completions" {
        return Err(refusal::missing(&value, field));
    }
    refusal::unknown_model(engine, &value)?;
    Ok(match path {
        "/v1/chat/completions" => chat::answer(engine, &value).await?,
        "/v1/completions" => completion::answer(engine, &value).await?,
        "/v1/responses" => responses::answer(engine, &value).await?,
        "/v1/messages" => messages::answer(engine, &value).await?,
        "/v1/messages/count_tokens" => {
            with_json(StatusCode::OK, &json!({"input_tokens": Ask::chat(&value).prompt_tokens}))
        }
        _ => {
            let ids: Vec<u32> =
                tokens(value["prompt"].as_str().unwrap_or_default()).into_iter().map(token_id).collect();
            let count = if field == "messages" { Ask::chat(&value).prompt_tokens } else { ids.len() as u64 };
            let answer = json!({"count": count, "max_model_len": engine.command.context, "tokens": ids, "token_strs": null});
            with_json(StatusCode::OK, &answer)
        }
    })
}

/// Only what begins with `/v1` is behind the key.
fn allowed(engine: &Engine, head: &Parts) -> bool {
    if engine.command.keys.is_empty() || head.method == Method::OPTIONS || !head.uri.path().starts_with("/v1")
    {
        return true;
    }
    let given = head.headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok()).unwrap_or_default();
    given
        .strip_prefix("Bearer ")
        .is_some_and(|key| engine.command.keys.iter().any(|known| known.reveal() == key))
}

fn models(engine: &Engine) -> Value {
    let created = jiff::Timestamp::now().as_second();
    let data: Vec<Value> = engine
        .command
        .names
        .iter()
        .map(|name| {
            json!({
                "id": name, "object": "model", "created": created, "owned_by": "vllm", "root": engine.command.model,
                "parent": null, "max_model_len": engine.command.context,
                "permission": [{
                    "id": format!("modelperm-{}", engine.hex_id()), "object": "model_permission", "created": created,
                    "allow_create_engine": false, "allow_sampling": true, "allow_logprobs": true,
                    "allow_search_indices": false, "allow_view": true, "allow_fine_tuning": false,
                    "organization": "*", "group": null, "is_blocking": false,
                }],
            })
        })
        .collect();
    json!({"object": "list", "data": data})
}

fn with_body(status: StatusCode, kind: Option<&'static str>, body: Body) -> Response {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(SERVER, HeaderValue::from_static("uvicorn"));
    headers.insert(VARY, HeaderValue::from_static("Origin"));
    if let Some(kind) = kind {
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    }
    response
}

fn with_json(status: StatusCode, value: &Value) -> Response {
    with_body(status, Some("application/json"), Body::from(value.to_string()))
}

fn with_events(body: Body) -> Response {
    with_body(StatusCode::OK, Some("text/event-stream; charset=utf-8"), body)
}

/// Some figures that all answers of one server share.
fn fingerprint(engine: &Engine) -> String {
    format!("vllm-{VERSION}-{:08x}", engine.started.as_microsecond() & 0xffff_ffff)
}

/// What may be generated after a prompt: the limit asked for, or what the context has left.
fn limit(engine: &Engine, ask: &Ask) -> u64 {
    let left = engine.command.context.saturating_sub(ask.prompt_tokens).max(1);
    ask.max_tokens.map_or(left, |wanted| wanted.clamp(1, left))
}

/// Refuses what cannot be generated, in the order in which vLLM looks.
fn check(engine: &Engine, body: &Value, ask: &Ask) -> Result<(), Response> {
    let command = &engine.command;
    if let Some(temperature) = body["temperature"].as_f64().filter(|t| *t < 0.0) {
        return Err(refusal::parameter("temperature", &format!("{temperature:?}"), |value| {
            format!("temperature must be non-negative, got {value}.")
        }));
    }
    if let Some(wanted) = ask.max_tokens.filter(|wanted| *wanted > command.context) {
        return Err(refusal::parameter("max_tokens", &wanted.to_string(), |value| {
            format!(
                "max_tokens={value} cannot be greater than max_model_len={}. Please request fewer output tokens.",
                command.context
            )
        }));
    }
    if ask.max_tokens == Some(0) {
        return Err(refusal::parameter("max_tokens", "0", |value| {
            format!("max_tokens must be at least 1, got {value}.")
        }));
    }
    if ask.image {
        return Err(refusal::bad_request(&format!("{} is not a multimodal model", command.name())));
    }
    if !ask.tools.is_empty() {
        let missing = match ask.tool_choice {
            ToolChoice::Auto if !(command.auto_tools && command.tool_parser) => Some(
                "\"auto\" tool choice requires --enable-auto-tool-choice and --tool-call-parser to be set",
            ),
            ToolChoice::Required if !command.tool_parser => {
                Some("tool_choice=\"required\" requires --tool-call-parser to be set")
            }
            ToolChoice::Named(_) if !command.tool_parser => {
                Some("tool_choice with a named function requires --tool-call-parser to be set")
            }
            _ => None,
        };
        if let Some(message) = missing {
            return Err(refusal::bad_request(message));
        }
    }
    if ask.prompt_tokens > command.context {
        let context = command.context;
        return Err(refusal::parameter("input_tokens", &(context + 1).to_string(), |value| {
            format!(
                "This model's maximum context length is {context} tokens. However, your prompt contains at least \
                 {value} input tokens, which exceeds this limit even without any output tokens. Please reduce the \
                 length of the input prompt."
            )
        }));
    }
    Ok(())
}

/// Begins to generate, or says that the engine died.
async fn begin(engine: &Arc<Engine>, ask: &Ask, limit: u64) -> Result<Generation, Crashed> {
    let reply = crate::answer::Reply::to(ask, &engine.settings, limit);
    engine.begin(ask.prompt_tokens, limit, reply).await
}

/// `usage` as it stands in an answer.
fn usage(prompt: u64, generated: u64) -> Value {
    json!({"prompt_tokens": prompt, "total_tokens": prompt + generated, "completion_tokens": generated})
}

/// The reason an answer ended, as chat answers name it: a named tool's call ends with "stop".
fn finish_word(ask: &Ask, finish: Finish) -> &'static str {
    match (finish, &ask.tool_choice) {
        (Finish::ToolCalls, ToolChoice::Named(_)) => "stop",
        _ => finish.word(),
    }
}
