//! `/v1/messages`: Anthropic's form.

use std::sync::Arc;

use axum::http::StatusCode;
use axum::response::Response;
use serde_json::{Value, json};

use super::{begin, check, limit, refusal, with_events, with_json};
use crate::engine::Engine;
use crate::exchange::Ask;
use crate::metrics::Finish;
use crate::sse::{self, Events};

pub(super) async fn answer(engine: &Arc<Engine>, body: &Value) -> Result<Response, Response> {
    let ask = Ask::chat(body);
    check(engine, body, &ask)?;
    if ask.stream {
        let engine = Arc::clone(engine);
        return Ok(with_events(sse::body(move |events| async move { stream(&engine, &ask, &events).await })));
    }
    let mut generation =
        begin(engine, &ask, limit(engine, &ask)).await.map_err(|_| refusal::engine_dead())?;
    let text = generation.rest().await;
    let content = match &generation.reply().tool {
        None => json!({"type": "text", "text": text}),
        Some(tool) => {
            let mut call = call(engine, tool);
            call["input"] = serde_json::from_str(&text).unwrap_or_else(|_| json!({}));
            call
        }
    };
    Ok(with_json(
        StatusCode::OK,
        &json!({
            "id": format!("chatcmpl-{}", engine.hex_id()), "type": "message", "role": "assistant",
            "content": [content], "model": engine.command.name(),
            "stop_reason": reason(generation.reply().finish), "stop_sequence": generation.reply().stopped_by,
            "usage": {"input_tokens": ask.prompt_tokens, "output_tokens": generation.generated()},
        }),
    ))
}

fn reason(finish: Finish) -> &'static str {
    match finish {
        Finish::Length => "max_tokens",
        Finish::ToolCalls => "tool_use",
        Finish::Stop => "end_turn",
    }
}

/// A call without its arguments.
fn call(engine: &Engine, tool: &str) -> Value {
    json!({"type": "tool_use", "id": format!("chatcmpl-tool-{}", engine.hex_id()), "name": tool, "input": {}})
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
    let tool = generation.reply().tool.clone();
    let block =
        tool.as_deref().map_or_else(|| json!({"type": "text", "text": ""}), |tool| call(engine, tool));
    send("content_block_start", json!({"content_block": block, "index": 0})).await;
    while let Some(piece) = generation.next().await {
        let delta = match &tool {
            None => json!({"type": "text_delta", "text": piece}),
            Some(_) => json!({"type": "input_json_delta", "partial_json": piece}),
        };
        send("content_block_delta", json!({"delta": delta, "index": 0})).await;
    }
    send("content_block_stop", json!({"index": 0})).await;
    let end = json!({
        "delta": {"stop_reason": reason(generation.reply().finish), "stop_sequence": generation.reply().stopped_by},
        "usage": {"input_tokens": ask.prompt_tokens, "output_tokens": generation.generated()},
    });
    send("message_delta", end).await;
    send("message_stop", json!({})).await;
}
