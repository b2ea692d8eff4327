//! `/v1/responses`: OpenAI's newer form.

use std::sync::Arc;

use axum::response::Response;
use serde_json::{Value, json};

use super::{begin, check, crashed, id, timings, with_events, with_json};
use crate::engine::{Engine, Generation};
use crate::exchange::Ask;
use crate::sse::{self, Events};

pub(super) async fn answer(engine: &Arc<Engine>, body: &Value) -> Result<Response, Response> {
    let ask = Ask::responses(body);
    check(engine, &ask)?;
    if ask.stream {
        let engine = Arc::clone(engine);
        return Ok(with_events(sse::body(move |events| async move { stream(&engine, &ask, &events).await })));
    }
    let mut generation = begin(engine, &ask).await.map_err(crashed)?;
    let text = generation.rest().await;
    let item = match &generation.reply().tool {
        None => item(&id(engine, "msg_"), &text),
        Some(tool) => call(&id(engine, "fc_"), tool, &text),
    };
    Ok(with_json(&completed(engine, &id(engine, "resp_"), &item, &generation)))
}

fn item(id: &str, text: &str) -> Value {
    json!({
        "type": "message", "status": "completed", "id": id,
        "content": [{"type": "output_text", "annotations": [], "logprobs": [], "text": text}],
        "role": "assistant",
    })
}

/// A tool's call as an item, whole.
fn call(id: &str, tool: &str, arguments: &str) -> Value {
    json!({"type": "function_call", "status": "completed", "call_id": id, "name": tool, "arguments": arguments})
}

fn completed(engine: &Engine, id: &str, item: &Value, generation: &Generation) -> Value {
    let (input, output) = (generation.prompt, generation.generated());
    json!({
        "id": id, "object": "response", "created_at": jiff::Timestamp::now().as_second(), "status": "completed",
        "model": engine.command.name(), "output": [item],
        "usage": {
            "input_tokens": input, "output_tokens": output, "total_tokens": input + output,
            "input_tokens_details": {"cached_tokens": 0},
        },
    })
}

async fn stream(engine: &Arc<Engine>, ask: &Ask, events: &Events) {
    let Ok(mut generation) = begin(engine, ask).await else { return };
    let send = |kind: &'static str, mut value: Value| async move {
        value["type"] = json!(kind);
        events.named(kind, &value).await;
    };
    let (response, message) = (id(engine, "resp_"), id(engine, "msg_"));
    let begun = json!({"response": {"id": response, "object": "response", "status": "in_progress"}});
    send("response.created", begun.clone()).await;
    send("response.in_progress", begun).await;
    if let Some(tool) = generation.reply().tool.clone() {
        let id = id(engine, "fc_");
        let mut item = call(&id, &tool, "");
        item["status"] = json!("in_progress");
        send("response.output_item.added", json!({"item": item})).await;
        let mut arguments = String::new();
        while let Some(piece) = generation.next().await {
            arguments.push_str(&piece);
            send("response.function_call_arguments.delta", json!({"item_id": id, "delta": piece})).await;
        }
        let item = call(&id, &tool, &arguments);
        send("response.output_item.done", json!({"item": item})).await;
        let whole = completed(engine, &response, &item, &generation);
        return send("response.completed", json!({"response": whole, "timings": timings(&generation)})).await;
    }
    let empty = json!({"content": [], "id": message, "role": "assistant", "status": "in_progress", "type": "message"});
    send("response.output_item.added", json!({"item": empty})).await;
    let part = json!({"item_id": message, "part": {"type": "output_text", "text": ""}});
    send("response.content_part.added", part).await;
    let mut text = String::new();
    while let Some(piece) = generation.next().await {
        text.push_str(&piece);
        send("response.output_text.delta", json!({"item_id": message, "delta": piece})).await;
    }
    send("response.output_text.done", json!({"item_id": message, "text": text})).await;
    let part = json!({"type": "output_text", "annotations": [], "logprobs": [], "text": text});
    send("response.content_part.done", json!({"item_id": message, "part": part})).await;
    let item = item(&message, &text);
    send("response.output_item.done", json!({"item": item})).await;
    let whole = completed(engine, &response, &item, &generation);
    send("response.completed", json!({"response": whole, "timings": timings(&generation)})).await;
}
