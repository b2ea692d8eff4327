//! `/v1/chat/completions`. The model's name is not looked at.

use std::sync::Arc;

use axum::response::Response;
use serde_json::{Value, json};

use super::{FINGERPRINT, begin, check, crashed, id, timings, usage, with_events, with_json};
use crate::engine::Engine;
use crate::exchange::{Ask, Usage};
use crate::sse::{self, Events};

pub(super) async fn answer(engine: &Arc<Engine>, body: &Value) -> Result<Response, Response> {
    let ask = Ask::chat(body);
    check(engine, &ask)?;
    let per_token = body["timings_per_token"] == true;
    if ask.stream {
        let engine = Arc::clone(engine);
        let work = move |events| async move { stream(&engine, &ask, per_token, &events).await };
        return Ok(with_events(sse::body(work)));
    }
    let mut generation = begin(engine, &ask).await.map_err(crashed)?;
    let text = generation.rest().await;
    let message = match &generation.reply().tool {
        None => json!({"role": "assistant", "content": text}),
        Some(tool) => json!({
            "role": "assistant", "content": null,
            "tool_calls": [{
                "type": "function", "function": {"name": tool, "arguments": text}, "id": id(engine, ""),
            }],
        }),
    };
    let finish = generation.reply().finish.word();
    Ok(with_json(&json!({
        "choices": [{"finish_reason": finish, "index": 0, "message": message}],
        "created": jiff::Timestamp::now().as_second(), "model": engine.command.name(),
        "system_fingerprint": FINGERPRINT, "object": "chat.completion", "usage": usage(&generation),
        "id": id(engine, "chatcmpl-"), "timings": timings(&generation),
    })))
}

async fn stream(engine: &Arc<Engine>, ask: &Ask, per_token: bool, events: &Events) {
    let Ok(mut generation) = begin(engine, ask).await else { return };
    let frame = json!({
        "created": jiff::Timestamp::now().as_second(), "id": id(engine, "chatcmpl-"),
        "model": engine.command.name(), "system_fingerprint": FINGERPRINT, "object": "chat.completion.chunk",
    });
    let chunk = |delta: Value, finish: Option<&str>| {
        let mut chunk = frame.clone();
        chunk["choices"] = json!([{"finish_reason": finish, "index": 0, "delta": delta}]);
        chunk
    };
    events.data(&chunk(json!({"role": "assistant", "content": null}), None)).await;
    let tool = generation.reply().tool.clone();
    if let Some(name) = &tool {
        let call = json!({
            "index": 0, "id": id(engine, ""), "type": "function", "function": {"name": name, "arguments": ""},
        });
        events.data(&chunk(json!({"tool_calls": [call]}), None)).await;
    }
    while let Some(piece) = generation.next().await {
        let delta = match &tool {
            None => json!({"content": piece}),
            Some(_) => json!({"tool_calls": [{"index": 0, "function": {"arguments": piece}}]}),
        };
        let mut chunk = chunk(delta, None);
        if per_token {
            chunk["timings"] = timings(&generation);
        }
        events.data(&chunk).await;
    }
    let mut end = chunk(json!({}), Some(generation.reply().finish.word()));
    if ask.usage == Usage::Unsaid {
        end["timings"] = timings(&generation);
        events.data(&end).await;
    } else {
        events.data(&end).await;
        let mut last = frame.clone();
        last["choices"] = json!([]);
        last["usage"] = usage(&generation);
        last["timings"] = timings(&generation);
        events.data(&last).await;
    }
    events.done().await;
}
