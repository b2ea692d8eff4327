//! `/v1/chat/completions`.

use std::sync::Arc;

use axum::http::StatusCode;
use axum::response::Response;
use serde_json::{Value, json};

use super::{begin, check, fingerprint, finish_word, limit, refusal, usage, with_events, with_json};
use crate::engine::{Engine, Generation};
use crate::exchange::{Ask, Usage};
use crate::metrics::Finish;
use crate::sse::{self, Events};

pub(super) async fn answer(engine: &Arc<Engine>, body: &Value) -> Result<Response, Response> {
    let mut ask = Ask::chat(body);
    check(engine, body, &ask)?;
    if engine.command.force_usage && ask.usage == Usage::Unsaid {
        ask.usage = Usage::AtTheEnd;
    }
    if ask.stream {
        let engine = Arc::clone(engine);
        return Ok(with_events(sse::body(move |events| async move { stream(&engine, &ask, &events).await })));
    }
    whole(engine, &ask).await
}

async fn whole(engine: &Arc<Engine>, ask: &Ask) -> Result<Response, Response> {
    let limit = limit(engine, ask);
    let mut choices = Vec::new();
    let mut generated = 0;
    for index in 0..ask.choices {
        let mut generation = begin(engine, ask, limit).await.map_err(|_| refusal::engine_dead())?;
        let text = generation.rest().await;
        generated += generation.generated();
        let mut message = json!({
            "role": "assistant", "content": text, "refusal": null, "annotations": null, "audio": null,
            "function_call": null, "reasoning": null,
        });
        if let Some(tool) = &generation.reply().tool {
            message["content"] = json!("");
            message["tool_calls"] = json!([{
                "id": format!("chatcmpl-tool-{}", engine.hex_id()), "type": "function",
                "function": {"name": tool, "arguments": text},
            }]);
        }
        choices.push(json!({
            "index": index, "message": message, "logprobs": null,
            "finish_reason": finish_word(ask, generation.reply().finish),
            "stop_reason": generation.reply().stopped_by, "token_ids": null, "routed_experts": null,
        }));
    }
    let mut counts = usage(ask.prompt_tokens, generated);
    counts["prompt_tokens_details"] = Value::Null;
    counts["completion_tokens_details"] = Value::Null;
    Ok(with_json(
        StatusCode::OK,
        &json!({
            "id": format!("chatcmpl-{}", engine.hex_id()), "object": "chat.completion",
            "created": jiff::Timestamp::now().as_second(), "model": engine.command.name(), "choices": choices,
            "service_tier": null, "system_fingerprint": fingerprint(engine), "usage": counts,
            "prompt_logprobs": null, "prompt_token_ids": null, "prompt_text": null, "kv_transfer_params": null,
            "ec_transfer_params": null, "metrics": null,
        }),
    ))
}

/// What the chunks of one stream have in common.
struct Chunks<'a> {
    events: &'a Events,
    ask: &'a Ask,
    frame: Value,
}

impl Chunks<'_> {
    /// One chunk with one choice, `more` beside it.
    async fn send(&self, choice: Value, generated: u64, more: &[(&str, Value)]) {
        let mut chunk = self.frame.clone();
        chunk["choices"] = json!([choice]);
        for (name, value) in more {
            chunk[*name] = value.clone();
        }
        if self.ask.usage == Usage::InEveryChunk {
            let mut counts = usage(self.ask.prompt_tokens, generated);
            counts["completion_tokens_details"] = Value::Null;
            chunk["usage"] = counts;
        }
        self.events.data(&chunk).await;
    }
}

async fn stream(engine: &Arc<Engine>, ask: &Ask, events: &Events) {
    let limit = limit(engine, ask);
    let fingerprint = json!(fingerprint(engine));
    let chunks = Chunks {
        events,
        ask,
        frame: json!({
            "id": format!("chatcmpl-{}", engine.hex_id()), "object": "chat.completion.chunk",
            "created": jiff::Timestamp::now().as_second(), "model": engine.command.name(),
        }),
    };
    let mut generated = 0;
    for index in 0..ask.choices {
        let Ok(mut generation) = begin(engine, ask, limit).await else {
            events.data(&refusal::engine_dead_body()).await;
            return events.done().await;
        };
        let last = index + 1 == ask.choices && ask.usage == Usage::Unsaid;
        let closing: Vec<(&str, Value)> =
            last.then(|| ("system_fingerprint", fingerprint.clone())).into_iter().collect();
        let first = json!({
            "index": index, "delta": {"role": "assistant", "content": ""}, "logprobs": null, "finish_reason": null,
        });
        chunks
            .send(first, generated, &[("prompt_token_ids", Value::Null), ("prompt_text", Value::Null)])
            .await;
        if generation.reply().tool.is_some() {
            tool_chunks(engine, &chunks, index, &mut generation, &closing).await;
        } else {
            text_chunks(&chunks, index, &mut generation, &closing).await;
        }
        generated += generation.generated();
    }
    if ask.usage != Usage::Unsaid {
        let mut chunk = chunks.frame.clone();
        chunk["choices"] = json!([]);
        chunk["usage"] = usage(ask.prompt_tokens, generated);
        chunk["system_fingerprint"] = fingerprint;
        events.data(&chunk).await;
    }
    events.done().await;
}

async fn text_chunks(
    chunks: &Chunks<'_>,
    index: u64,
    generation: &mut Generation,
    closing: &[(&str, Value)],
) {
    while let Some(piece) = generation.next().await {
        let mut choice = json!({
            "index": index, "delta": {"content": piece}, "logprobs": null, "finish_reason": null, "token_ids": null,
        });
        // A text cut at its limit ends with its last piece; one that stops, with a token that is not shown.
        if generation.at_last() && generation.reply().finish == Finish::Length {
            choice["finish_reason"] = json!("length");
            choice["stop_reason"] = Value::Null;
            chunks.send(choice, generation.generated(), closing).await;
        } else {
            chunks.send(choice, generation.generated(), &[]).await;
        }
    }
    if generation.reply().finish == Finish::Stop {
        let choice = json!({
            "index": index, "delta": {"content": ""}, "logprobs": null, "finish_reason": "stop",
            "stop_reason": generation.reply().stopped_by, "token_ids": null,
        });
        chunks.send(choice, generation.generated(), closing).await;
    }
}

async fn tool_chunks(
    engine: &Engine,
    chunks: &Chunks<'_>,
    index: u64,
    generation: &mut Generation,
    closing: &[(&str, Value)],
) {
    let call = |call: Value| {
        json!({
            "index": index, "delta": {"content": null, "tool_calls": [call]}, "logprobs": null,
            "finish_reason": null, "token_ids": null,
        })
    };
    let name = generation.reply().tool.clone().unwrap_or_default();
    let id = format!("chatcmpl-tool-{}", engine.hex_id());
    let head = json!({"id": id, "type": "function", "index": 0, "function": {"name": name}});
    chunks.send(call(head), generation.generated(), &[]).await;
    while let Some(piece) = generation.next().await {
        let part = call(json!({"index": 0, "function": {"arguments": piece}}));
        chunks.send(part, generation.generated(), &[]).await;
    }
    let end = json!({
        "index": index, "delta": {}, "logprobs": null,
        "finish_reason": finish_word(chunks.ask, Finish::ToolCalls), "stop_reason": null, "token_ids": null,
    });
    chunks.send(end, generation.generated(), closing).await;
}
