//! `/v1/responses`: OpenAI's newer form.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::http::StatusCode;
use axum::response::Response;
use serde_json::{Value, json};

use super::{begin, check, limit, refusal, with_events, with_json};
use crate::engine::Engine;
use crate::exchange::Ask;
use crate::metrics::Finish;
use crate::sse::{self, Events};

pub(super) async fn answer(engine: &Arc<Engine>, body: &Value) -> Result<Response, Response> {
    let ask = Ask::responses(body);
    check(engine, body, &ask)?;
    let frame = frame(engine, body);
    if ask.stream {
        let engine = Arc::clone(engine);
        return Ok(with_events(sse::body(move |events| async move {
            stream(&engine, &ask, frame, &events).await;
        })));
    }
    let mut generation =
        begin(engine, &ask, limit(engine, &ask)).await.map_err(|_| refusal::engine_dead())?;
    let text = generation.rest().await;
    let item = match &generation.reply().tool {
        None => item(&format!("msg_{}", engine.hex_id()), &text),
        Some(tool) => call(engine, tool, &text),
    };
    Ok(with_json(
        StatusCode::OK,
        &completed(frame, &item, &ask, generation.reply().finish, generation.generated()),
    ))
}

/// A response that has not begun.
fn frame(engine: &Engine, body: &Value) -> Value {
    json!({
        "id": format!("resp_{}", engine.hex_id()), "created_at": jiff::Timestamp::now().as_second(),
        "incomplete_details": null, "instructions": body["instructions"], "metadata": body["metadata"],
        "model": engine.command.name(), "object": "response", "output": [], "parallel_tool_calls": true,
        "temperature": body["temperature"].as_f64().unwrap_or(1.0), "tool_choice": "none", "tools": [],
        "top_p": body["top_p"].as_f64().unwrap_or(1.0), "background": false,
        "max_output_tokens": body["max_output_tokens"], "max_tool_calls": null, "previous_response_id": null,
        "prompt": null, "reasoning": null, "service_tier": "auto", "status": "in_progress", "text": null,
        "top_logprobs": null, "truncation": "disabled", "usage": null, "user": null, "presence_penalty": 0.0,
        "frequency_penalty": 0.0, "kv_transfer_params": null, "ec_transfer_params": null, "input_messages": null,
        "output_messages": null,
    })
}

fn item(id: &str, text: &str) -> Value {
    json!({
        "id": id, "content": [{"annotations": [], "text": text, "type": "output_text", "logprobs": null}],
        "role": "assistant", "status": "completed", "type": "message", "phase": null,
    })
}

/// A tool's call as an item, whole.
fn call(engine: &Engine, tool: &str, arguments: &str) -> Value {
    json!({
        "id": format!("fc_{}", engine.hex_id()), "call_id": format!("call_{}", engine.hex_id()), "name": tool,
        "arguments": arguments, "status": "completed", "type": "function_call",
    })
}

fn completed(mut frame: Value, item: &Value, ask: &Ask, finish: Finish, generated: u64) -> Value {
    frame["output"] = json!([item]);
    frame["status"] = json!("completed");
    if finish == Finish::Length {
        frame["status"] = json!("incomplete");
        frame["incomplete_details"] = json!({"reason": "max_output_tokens"});
    }
    frame["usage"] = json!({
        "input_tokens": ask.prompt_tokens,
        "input_tokens_details": {
            "cached_tokens": 0, "cache_write_tokens": 0, "input_tokens_per_turn": [], "cached_tokens_per_turn": [],
        },
        "output_tokens": generated,
        "output_tokens_details": {
            "reasoning_tokens": 0, "tool_output_tokens": 0, "output_tokens_per_turn": [],
            "tool_output_tokens_per_turn": [],
        },
        "total_tokens": ask.prompt_tokens + generated,
    });
    frame
}

async fn stream(engine: &Arc<Engine>, ask: &Ask, frame: Value, events: &Events) {
    let Ok(mut generation) = begin(engine, ask, limit(engine, ask)).await else {
        return events.named("error", &refusal::engine_dead_body()).await;
    };
    let number = AtomicU64::new(0);
    let send = |kind: &'static str, mut value: Value| {
        value["sequence_number"] = json!(number.fetch_add(1, Ordering::Relaxed));
        value["type"] = json!(kind);
        async move { events.named(kind, &value).await }
    };
    send("response.created", json!({"response": frame})).await;
    send("response.in_progress", json!({"response": frame})).await;
    if let Some(tool) = generation.reply().tool.clone() {
        let mut item = call(engine, &tool, "");
        item["status"] = json!("in_progress");
        send("response.output_item.added", json!({"item": item, "output_index": 0})).await;
        let mut arguments = String::new();
        while let Some(piece) = generation.next().await {
            arguments.push_str(&piece);
            let delta = json!({"item_id": item["id"], "output_index": 0, "delta": piece});
            send("response.function_call_arguments.delta", delta).await;
        }
        let done = json!({"item_id": item["id"], "output_index": 0, "name": tool, "arguments": arguments});
        send("response.function_call_arguments.done", done).await;
        item["arguments"] = json!(arguments);
        item["status"] = json!("completed");
        send("response.output_item.done", json!({"item": item, "output_index": 0})).await;
        let whole = completed(frame, &item, ask, generation.reply().finish, generation.generated());
        return send("response.completed", json!({"response": whole})).await;
    }
    let id = format!("msg_{}", engine.hex_id());
    let empty = json!({
        "id": id, "content": [], "role": "assistant", "status": "in_progress", "type": "message", "phase": null,
    });
    send("response.output_item.added", json!({"item": empty, "output_index": 0})).await;
    let part = json!({"annotations": [], "text": "", "type": "output_text", "logprobs": []});
    let place = json!({"content_index": 0, "item_id": id, "output_index": 0});
    let at = |name: &str, value: Value| {
        let mut all = place.clone();
        all[name] = value;
        all
    };
    send("response.content_part.added", at("part", part)).await;
    let mut text = String::new();
    while let Some(piece) = generation.next().await {
        text.push_str(&piece);
        let mut delta = at("delta", json!(piece));
        delta["logprobs"] = json!([]);
        send("response.output_text.delta", delta).await;
    }
    let mut done = at("text", json!(text));
    done["logprobs"] = json!([]);
    send("response.output_text.done", done).await;
    let part = json!({"annotations": [], "text": text, "type": "output_text", "logprobs": null});
    send("response.content_part.done", at("part", part)).await;
    let item = item(&id, &text);
    send("response.output_item.done", json!({"item": item, "output_index": 0})).await;
    let whole = completed(frame, &item, ask, generation.reply().finish, generation.generated());
    send("response.completed", json!({"response": whole})).await;
}
