//! llama-server's dialect, build b11434, as it was recorded.

pub(crate) mod args;
mod chat;
mod completion;
pub(crate) mod failure;
pub(crate) mod log;
mod messages;
mod metrics;
mod responses;
mod slots;

use std::sync::Arc;

use axum::body::Body;
use axum::http::header::{
    ACCESS_CONTROL_ALLOW_ORIGIN, AUTHORIZATION, CONNECTION, CONTENT_TYPE, HeaderName, SERVER,
};
use axum::http::request::Parts;
use axum::http::{HeaderValue, Method, StatusCode};
use axum::response::Response;
use serde_json::{Value, json};

use crate::answer::Reply;
use crate::engine::{Crashed, Engine, Generation};
use crate::exchange::Ask;
use crate::log::Line;
use crate::text::{token_id, tokens};

pub(crate) const BUILD: &str = "b11434";
const FINGERPRINT: &str = "b0-unknown";
/// Paths that need no key.
const OPEN: [&str; 4] = ["/health", "/v1/health", "/models", "/v1/models"];

/// Answers one request.
pub(crate) async fn answer(engine: &Arc<Engine>, head: &Parts, body: &[u8]) -> Response {
    let path = head.uri.path();
    if !allowed(engine, head) {
        return refusal(StatusCode::UNAUTHORIZED, "authentication_error", "Invalid API Key");
    }
    if !engine.is_ready() {
        return refusal(StatusCode::SERVICE_UNAVAILABLE, "unavailable_error", "Loading model");
    }
    match (&head.method, path) {
        (&Method::GET, "/health" | "/v1/health") => with_json(&json!({"status": "ok"})),
        (&Method::GET, "/models" | "/v1/models") => with_json(&models(engine)),
        (&Method::GET, "/props") => with_json(&slots::props(engine)),
        (&Method::GET, "/slots") => with_json(&slots::slots(engine)),
        (&Method::GET, "/metrics") if engine.command.metrics => {
            with_body(StatusCode::OK, "text/plain; version=0.0.4", Body::from(metrics::show(engine)))
        }
        (&Method::GET, "/metrics") => refusal(
            StatusCode::NOT_IMPLEMENTED,
            "not_supported_error",
            "This server does not support metrics endpoint. Start it with `--metrics`",
        ),
        (&Method::POST, "/v1/embeddings" | "/embeddings" | "/embedding") => refusal(
            StatusCode::NOT_IMPLEMENTED,
            "not_supported_error",
            "This server does not support embeddings. Start it with `--embeddings`",
        ),
        (
            &Method::POST,
            "/v1/chat/completions"
            | "/chat/completions"
            | "/v1/completions"
            | "/completion"
            | "/completions"
            | "/v1/responses"
            | "/v1/messages"
            | "/v1/messages/count_tokens"
            | "/tokenize",
        ) => match post(engine, path, body).await {
            Ok(response) => response,
            Err(refusal) => {
                engine
                    .log
                    .print(&Line::llama('W', "srv    operator(): got exception, answered with an error"));
                refusal
            }
        },
        _ => refusal(StatusCode::NOT_FOUND, "not_found_error", "File Not Found"),
    }
}

async fn post(engine: &Arc<Engine>, path: &str, body: &[u8]) -> Result<Response, Response> {
    let value: Value = serde_json::from_slice(body).map_err(|error| {
        let message = format!(
            "[json.exception.parse_error.101] parse error at line {}, column {}: syntax error while parsing value - \
             {error}",
            error.line(),
            error.column() + 1,
        );
        refusal(StatusCode::BAD_REQUEST, "invalid_request_error", &message)
    })?;
    let wanted = match path {
        "/v1/chat/completions" | "/chat/completions" | "/v1/messages" | "/v1/messages/count_tokens" => {
            "messages"
        }
        "/v1/responses" => "input",
        "/tokenize" => "content",
        _ => "prompt",
    };
    if value.get(wanted).is_none() && wanted != "content" {
        let message = format!("'{wanted}' is required");
        return Err(refusal(StatusCode::BAD_REQUEST, "invalid_request_error", &message));
    }
    match path {
        "/v1/chat/completions" | "/chat/completions" => chat::answer(engine, &value).await,
        "/v1/completions" => completion::openai(engine, &value).await,
        "/completion" | "/completions" => completion::native(engine, &value).await,
        "/v1/responses" => responses::answer(engine, &value).await,
        "/v1/messages" => messages::answer(engine, &value).await,
        "/v1/messages/count_tokens" => {
            Ok(with_json(&json!({"input_tokens": Ask::chat(&value).prompt_tokens})))
        }
        _ => {
            let ids: Vec<u32> =
                tokens(value["content"].as_str().unwrap_or_default()).into_iter().map(token_id).collect();
            Ok(with_json(&json!({"tokens": ids})))
        }
    }
}

fn allowed(engine: &Engine, head: &Parts) -> bool {
    if engine.command.keys.is_empty() || OPEN.contains(&head.uri.path()) {
        return true;
    }
    let header = |name: HeaderName| head.headers.get(name).and_then(|v| v.to_str().ok()).unwrap_or_default();
    let bearer = header(AUTHORIZATION).strip_prefix("Bearer ").unwrap_or_default();
    let plain = header(HeaderName::from_static("x-api-key"));
    engine.command.keys.iter().any(|key| key.reveal() == bearer || key.reveal() == plain)
}

fn models(engine: &Engine) -> Value {
    let name = engine.command.name();
    json!({
        "models": [{
            "name": name, "model": name, "modified_at": "", "size": "", "digest": "", "type": "model",
            "description": "", "tags": [""], "capabilities": ["completion"], "parameters": "",
            "details": {
                "parent_model": "", "format": "gguf", "family": "", "families": [""], "parameter_size": "",
                "quantization_level": "",
            },
        }],
        "object": "list",
        "data": [{
            "id": name, "aliases": engine.command.names, "tags": [], "object": "model",
            "architecture": {"input_modalities": ["text"], "output_modalities": ["text"]},
            "created": engine.started.as_second(), "owned_by": "llamacpp",
            "meta": {
                "vocab_type": 2, "n_vocab": 49152, "n_ctx": engine.command.context,
                "n_ctx_train": engine.command.context.max(8192), "n_embd": 576,
                "n_params": engine.settings.hold.saturating_mul(2),
                "size": crate::loading::parts(&engine.command, &engine.settings).0, "ftype": "Q4_1",
            },
        }],
    })
}

fn with_body(status: StatusCode, kind: &'static str, body: Body) -> Response {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(SERVER, HeaderValue::from_static("llama.cpp"));
    headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static(""));
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    if status.is_success() {
        headers.insert(HeaderName::from_static("keep-alive"), HeaderValue::from_static("timeout=5, max=100"));
    } else {
        headers.insert(CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

fn with_json(value: &Value) -> Response {
    with_body(StatusCode::OK, "application/json; charset=utf-8", Body::from(value.to_string()))
}

fn with_events(body: Body) -> Response {
    let mut response = with_body(StatusCode::OK, "text/event-stream", body);
    response
        .headers_mut()
        .insert(HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no"));
    response
}

fn refusal(status: StatusCode, kind: &str, message: &str) -> Response {
    refusal_with(status, kind, message, &[])
}

fn refusal_with(status: StatusCode, kind: &str, message: &str, more: &[(&str, Value)]) -> Response {
    let mut error = json!({"code": status.as_u16(), "message": message, "type": kind});
    for (name, value) in more {
        error[*name] = value.clone();
    }
    with_body(status, "application/json; charset=utf-8", Body::from(json!({"error": error}).to_string()))
}

/// Refuses what cannot be generated.
fn check(engine: &Engine, ask: &Ask) -> Result<(), Response> {
    if ask.image {
        return Err(refusal(
            StatusCode::INTERNAL_SERVER_ERROR,
            "server_error",
            "image input is not supported - hint: if this is unexpected, you may need to provide the mmproj",
        ));
    }
    if ask.prompt_tokens > engine.command.context {
        let (prompt, context) = (ask.prompt_tokens, engine.command.context);
        return Err(refusal_with(
            StatusCode::BAD_REQUEST,
            "exceed_context_size_error",
            &format!(
                "request ({prompt} tokens) exceeds the available context size ({context} tokens), try increasing it"
            ),
            &[("n_prompt_tokens", json!(prompt)), ("n_ctx", json!(context))],
        ));
    }
    Ok(())
}

/// Begins to generate.
async fn begin(engine: &Arc<Engine>, ask: &Ask) -> Result<Generation, Crashed> {
    let left = engine.command.context.saturating_sub(ask.prompt_tokens).max(1);
    let limit = ask.max_tokens.map_or(left, |wanted| wanted.clamp(1, left));
    let reply = Reply::to(ask, &engine.settings, limit);
    engine.begin(ask.prompt_tokens, limit, reply).await
}

/// The answer of a server that dies under a request; the process ends before it is sent.
fn crashed(_: Crashed) -> Response {
    refusal(StatusCode::INTERNAL_SERVER_ERROR, "server_error", "the server is shutting down")
}

/// An id as llama-server makes them.
fn id(engine: &Engine, head: &str) -> String {
    const ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
    format!("{head}{}", engine.id(32, ALPHABET))
}

fn usage(generation: &Generation) -> Value {
    let (prompt, generated) = (generation.prompt, generation.generated());
    json!({
        "completion_tokens": generated, "prompt_tokens": prompt, "total_tokens": prompt + generated,
        "prompt_tokens_details": {"cached_tokens": 0},
    })
}

fn timings(generation: &Generation) -> Value {
    let (prompt, predicted) = generation.times();
    let (prompt_n, predicted_n) = (generation.prompt, generation.generated());
    let per = |time: std::time::Duration, n: u64| time.as_secs_f64() * 1000.0 / n.max(1) as f64;
    let rate = |time: std::time::Duration, n: u64| n as f64 / time.as_secs_f64().max(1e-6);
    json!({
        "cache_n": 0, "prompt_n": prompt_n, "prompt_ms": prompt.as_secs_f64() * 1000.0,
        "prompt_per_token_ms": per(prompt, prompt_n), "prompt_per_second": rate(prompt, prompt_n),
        "predicted_n": predicted_n, "predicted_ms": predicted.as_secs_f64() * 1000.0,
        "predicted_per_token_ms": per(predicted, predicted_n), "predicted_per_second": rate(predicted, predicted_n),
    })
}
