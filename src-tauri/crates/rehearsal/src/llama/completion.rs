//! `/v1/completions` in OpenAI's form, and `/completion` in llama.cpp's own.

use std::sync::Arc;

use axum::response::Response;
use serde_json::{Value, json};

use super::{FINGERPRINT, begin, check, crashed, id, slots, timings, usage, with_events, with_json};
use crate::engine::{Engine, Generation};
use crate::exchange::Ask;
use crate::metrics::Finish;
use crate::sse::{self, Events};
use crate::text::token_id;

pub(super) async fn openai(engine: &Arc<Engine>, body: &Value) -> Result<Response, Response> {
    let ask = Ask::completion(body);
    check(engine, &ask)?;
    if ask.stream {
        let engine = Arc::clone(engine);
        return Ok(with_events(sse::body(move |events| async move {
            openai_stream(&engine, &ask, &events).await;
        })));
    }
    let mut generation = begin(engine, &ask).await.map_err(crashed)?;
    let text = generation.rest().await;
    Ok(with_json(&openai_end(engine, &generation, &text, &id(engine, "chatcmpl-"))))
}

fn openai_chunk(engine: &Engine, text: &str, finish: Option<&str>, id: &str) -> Value {
    json!({
        "choices": [{"text": text, "index": 0, "logprobs": null, "finish_reason": finish}],
        "created": jiff::Timestamp::now().as_second(), "model": engine.command.name(),
        "system_fingerprint": FINGERPRINT, "object": "text_completion", "id": id,
    })
}

fn openai_end(engine: &Engine, generation: &Generation, text: &str, id: &str) -> Value {
    let mut end = openai_chunk(engine, text, Some(generation.reply().finish.word()), id);
    end["usage"] = usage(generation);
    end["timings"] = timings(generation);
    end
}

async fn openai_stream(engine: &Arc<Engine>, ask: &Ask, events: &Events) {
    let Ok(mut generation) = begin(engine, ask).await else { return };
    let id = id(engine, "chatcmpl-");
    while let Some(piece) = generation.next().await {
        events.data(&openai_chunk(engine, &piece, None, &id)).await;
    }
    events.data(&openai_end(engine, &generation, "", &id)).await;
    events.done().await;
}

pub(super) async fn native(engine: &Arc<Engine>, body: &Value) -> Result<Response, Response> {
    let ask = Ask::completion(body);
    check(engine, &ask)?;
    let prompt = body["prompt"].clone();
    if ask.stream {
        let engine = Arc::clone(engine);
        let work = move |events| async move { native_stream(&engine, &ask, &prompt, &events).await };
        return Ok(with_events(sse::body(work)));
    }
    let mut generation = begin(engine, &ask).await.map_err(crashed)?;
    let text = generation.rest().await;
    Ok(with_json(&native_end(engine, &generation, &text, &prompt)))
}

fn native_end(engine: &Engine, generation: &Generation, text: &str, prompt: &Value) -> Value {
    let stop_type = match (generation.reply().finish, &generation.reply().stopped_by) {
        (Finish::Length, _) => "limit",
        (_, Some(_)) => "word",
        _ => "eos",
    };
    let mut settings = slots::parameters(Some(generation.generated()));
    // What the two pages leave out.
    for (name, value) in [
        ("dry_sequence_breakers", json!(["\n", ":", "\"", "*"])),
        ("stop", json!([])),
        ("logit_bias", json!([])),
        ("grammar", json!("")),
        ("grammar_lazy", json!(false)),
        ("grammar_triggers", json!([])),
        ("preserved_tokens", json!([])),
    ] {
        settings[name] = value;
    }
    json!({
        "index": 0, "content": text, "tokens": [], "id_slot": generation.slot, "stop": true,
        "model": engine.command.name(), "tokens_predicted": generation.generated(),
        "tokens_evaluated": generation.prompt, "generation_settings": settings,
        "prompt": prompt, "has_new_line": text.contains('\n'), "truncated": false, "stop_type": stop_type,
        "stopping_word": generation.reply().stopped_by.clone().unwrap_or_default(),
        "tokens_cached": generation.prompt + generation.generated().saturating_sub(1),
        "timings": timings(generation),
    })
}

/// Ends without `[DONE]`, unlike OpenAI's form.
async fn native_stream(engine: &Arc<Engine>, ask: &Ask, prompt: &Value, events: &Events) {
    let Ok(mut generation) = begin(engine, ask).await else { return };
    while let Some(piece) = generation.next().await {
        let chunk = json!({
            "index": 0, "content": piece, "tokens": [token_id(&piece)], "stop": false, "id_slot": -1,
            "tokens_predicted": generation.generated(), "tokens_evaluated": generation.prompt,
        });
        events.data(&chunk).await;
    }
    events.data(&native_end(engine, &generation, "", prompt)).await;
}
