//! `/v1/completions`.

use std::sync::Arc;

use axum::http::StatusCode;
use axum::response::Response;
use serde_json::{Value, json};

use super::{begin, check, fingerprint, limit, refusal, usage, with_events, with_json};
use crate::engine::Engine;
use crate::exchange::{Ask, Usage};
use crate::metrics::Finish;
use crate::sse::{self, Events};

/// Tokens when nobody says how many: few, unlike in a chat.
const DEFAULT_LIMIT: u64 = 16;

pub(super) async fn answer(engine: &Arc<Engine>, body: &Value) -> Result<Response, Response> {
    let mut ask = Ask::completion(body);
    check(engine, body, &ask)?;
    ask.max_tokens = ask.max_tokens.or(Some(DEFAULT_LIMIT));
    if engine.command.force_usage && ask.usage == Usage::Unsaid {
        ask.usage = Usage::AtTheEnd;
    }
    if ask.stream {
        let engine = Arc::clone(engine);
        return Ok(with_events(sse::body(move |events| async move { stream(&engine, &ask, &events).await })));
    }
    let mut generation =
        begin(engine, &ask, limit(engine, &ask)).await.map_err(|_| refusal::engine_dead())?;
    let text = generation.rest().await;
    let mut counts = usage(ask.prompt_tokens, generation.generated());
    counts["prompt_tokens_details"] = Value::Null;
    counts["completion_tokens_details"] = Value::Null;
    Ok(with_json(
        StatusCode::OK,
        &json!({
            "id": format!("cmpl-{}", engine.hex_id()), "object": "text_completion",
            "created": jiff::Timestamp::now().as_second(), "model": engine.command.name(),
            "choices": [{
                "index": 0, "text": text, "logprobs": null, "finish_reason": generation.reply().finish.word(),
                "stop_reason": generation.reply().stopped_by, "token_ids": null, "prompt_logprobs": null,
                "prompt_token_ids": null, "routed_experts": null,
            }],
            "service_tier": null, "system_fingerprint": fingerprint(engine), "usage": counts,
            "kv_transfer_params": null, "ec_transfer_params": null, "metrics": null,
        }),
    ))
}

async fn stream(engine: &Arc<Engine>, ask: &Ask, events: &Events) {
    let frame = json!({
        "id": format!("cmpl-{}", engine.hex_id()), "object": "text_completion",
        "created": jiff::Timestamp::now().as_second(), "model": engine.command.name(),
    });
    let Ok(mut generation) = begin(engine, ask, limit(engine, ask)).await else {
        events.data(&refusal::engine_dead_body()).await;
        return events.done().await;
    };
    let chunk = |text: &str, finish: Option<&str>, stopped_by: Option<&str>| {
        let mut chunk = frame.clone();
        chunk["choices"] = json!([{
            "index": 0, "text": text, "logprobs": null, "finish_reason": finish, "stop_reason": stopped_by,
            "prompt_token_ids": null, "token_ids": null,
        }]);
        if finish.is_some() && ask.usage == Usage::Unsaid {
            chunk["system_fingerprint"] = json!(fingerprint(engine));
        }
        chunk
    };
    while let Some(piece) = generation.next().await {
        let cut = generation.at_last() && generation.reply().finish == Finish::Length;
        let mut chunk = chunk(&piece, cut.then_some("length"), None);
        if ask.usage == Usage::InEveryChunk {
            chunk["usage"] = usage(ask.prompt_tokens, generation.generated());
        }
        events.data(&chunk).await;
    }
    if generation.reply().finish == Finish::Stop {
        events.data(&chunk("", Some("stop"), generation.reply().stopped_by.as_deref())).await;
    }
    if ask.usage != Usage::Unsaid {
        let mut chunk = frame.clone();
        chunk["choices"] = json!([]);
        chunk["usage"] = usage(ask.prompt_tokens, generation.generated());
        chunk["system_fingerprint"] = json!(fingerprint(engine));
        events.data(&chunk).await;
    }
    events.done().await;
}
