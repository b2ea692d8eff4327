//! `/v1/messages`: Anthropic's form.

use std::sync::Arc;

use axum::http::StatusCode;
use axum::response::Response;
use serde_json::{Value, json};

use super::{begin, check, limit, refusal, with_events, with_json};
use crate::engine::Engine;
use crate::exchange::{Ask, ToolChoice};
use crate::metrics::Finish;
use crate::sse::{self, Events};

pub(super) async fn answer(engine: &Arc<Engine>, body: &Value) -> Result<Response, Response> {
    let mut ask = Ask::chat(body);
    // Text only: what this stands in for was recorded without tools.
    ask.tool_choice = ToolChoice::Never;
    check(engine, body, &ask)?;
    if ask.stream {
        let engine = Arc::clone(engine);
        return Ok(with_events(sse::body(move |events| async move { stream(&engine, &ask, &events).await })));
    }
    let mut generation =
        begin(engine, &ask, limit(engine, &ask)).await.map_err(|_| refusal::engine_dead())?;
    let text = generation.rest().await;
    Ok(with_json(
        StatusCode::OK,
        &json!({
            "id": format!("chatcmpl-{}", engine.hex_id()), "type": "message", "role": "assistant",
            "content": [{"type": "text", "text": text}], "model": engine.command.name(),
            "stop_reason": reason(generation.reply().finish), "stop_sequence": generation.reply().stopped_by,
            "usage": {"input_tokens": ask.prompt_tokens, "output_tokens": generation.generated()},
        }),
    ))
}

fn reason(finish: Finish) -> &'static str {
    if finish == Finish::Length { "max_tokens" } else { "end_turn" }
}

async fn stream(engine: &Arc<Engine>, ask: &Ask, events: &Events) {
    let Ok(mut generation) = begin(engine, ask, limit(engine, ask)).await else {
        return events.named("error", &refusal::engine_dead_body()).await;
    };
    let send = |kind: &'static str, mut value: Value| async move {
        value["type"] = json!(kind);
        events.named(kind, &value).await;
    };
    let message = json!({
        "id": format!("chatcmpl-{}", engine.hex_id()), "type": "message", "role": "assistant", "content": [],
        "model": engine.command.name(), "stop_reason": null, "stop_sequence": null,
        "usage": {"input_tokens": ask.prompt_tokens, "output_tokens": 0},
    });
    send("message_start", json!({"message": message})).await;
    send("content_block_start", json!({"content_block": {"type": "text", "text": ""}, "index": 0})).await;
    while let Some(piece) = generation.next().await {
        let delta = json!({"delta": {"type": "text_delta", "text": piece}, "index": 0});
        send("content_block_delta", delta).await;
    }
    send("content_block_stop", json!({"index": 0})).await;
    let end = json!({
        "delta": {"stop_reason": reason(generation.reply().finish), "stop_sequence": generation.reply().stopped_by},
        "usage": {"input_tokens": ask.prompt_tokens, "output_tokens": generation.generated()},
    });
    send("message_delta", end).await;
    send("message_stop", json!({})).await;
}
