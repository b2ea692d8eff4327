//! Health on demand. It never wakes anyone.

use std::time::{Duration, Instant};

use api::shapes::agents::{AgentHealth, Health};
use domain::secret::Secret;
use domain::stack::Agent;
use engine::backend::backend;
use futures_util::StreamExt;
use serde_json::{Value, json};

use crate::carry::Ctx;
use crate::dispatch::known_as;
use crate::probe;
use crate::sse::SseReader;

pub(crate) async fn health(ctx: &Ctx, deep: bool) -> Health {
    let state = ctx.state.state();
    let mut agents = Vec::new();
    for agent in &state.stack.agents {
        let Some(live) = state.live(&agent.name) else { continue };
        let mut line = AgentHealth {
            name: agent.name.to_string(),
            state: live.state.word().to_owned(),
            healthy: None,
            detail: live.error.as_ref().map(|e| e.message.clone()).unwrap_or_default(),
            first_token_seconds: None,
            tool_call: None,
        };
        if live.error.is_some() {
            line.healthy = Some(false);
        }
        if let (true, Some(instance), Some(path)) =
            (live.state.answers(), live.instance.as_ref(), Some(path(agent)))
        {
            let healthy = probe::healthy(&ctx.world.http, &instance.endpoint, path).await;
            line.healthy = Some(healthy);
            line.detail = if healthy { "It answers.".to_owned() } else { "It does not answer.".to_owned() };
            if healthy && deep {
                let server = state.stack.server_of(&agent.name);
                let theirs = known_as(&state, server);
                let name = theirs.as_deref().unwrap_or(server.as_str());
                let (endpoint, key) = (&instance.endpoint, &instance.key);
                match first_token(&ctx.world.http, endpoint, key, name).await {
                    Ok(seconds) => {
                        line.first_token_seconds = Some(seconds);
                        line.detail = format!("First token in {seconds:.2}\u{a0}s.");
                    }
                    Err(why) => {
                        line.healthy = Some(false);
                        line.detail = why;
                    }
                }
                if agent.tool_parser.is_some() {
                    let works = tool_call(&ctx.world.http, endpoint, key, name).await;
                    line.tool_call = Some(works);
                    line.detail.push_str(if works { " Tool calls work." } else { " It made no tool call." });
                }
            }
        }
        agents.push(line);
    }
    Health { agents }
}

/// Where it is asked whether it lives: servers of others have no path of their own but the models'.
fn path(agent: &Agent) -> &'static str {
    backend(agent.backend).map_or("/v1/models", |b| b.health_path())
}

fn post(http: &reqwest::Client, endpoint: &str, key: &Secret, body: &Value) -> reqwest::RequestBuilder {
    let request =
        http.post(format!("{endpoint}/v1/chat/completions")).json(body).timeout(Duration::from_secs(60));
    if key.is_empty() { request } else { request.bearer_auth(key.reveal()) }
}

/// Seconds to the first text of a streamed answer.
async fn first_token(
    http: &reqwest::Client,
    endpoint: &str,
    key: &Secret,
    model: &str,
) -> Result<f64, String> {
    let body = json!({
        "model": model, "stream": true, "max_tokens": 16,
        "messages": [{"role": "user", "content": "Say hello."}],
    });
    let began = Instant::now();
    let answer = post(http, endpoint, key, &body)
        .send()
        .await
        .map_err(|e| format!("It broke off: {}.", e.without_url()))?;
    if !answer.status().is_success() {
        return Err(format!("It answered {}.", answer.status()));
    }
    let mut reader = SseReader::default();
    let mut bytes = answer.bytes_stream();
    while let Some(Ok(chunk)) = bytes.next().await {
        for data in reader.feed(&chunk) {
            let Ok(value) = serde_json::from_str::<Value>(&data) else { continue };
            let delta = &value["choices"][0]["delta"];
            if ["content", "reasoning", "reasoning_content"]
                .iter()
                .any(|k| delta[*k].as_str().is_some_and(|t| !t.is_empty()))
            {
                return Ok(began.elapsed().as_secs_f64());
            }
        }
    }
    Err("Its stream ended without a word.".to_owned())
}

async fn tool_call(http: &reqwest::Client, endpoint: &str, key: &Secret, model: &str) -> bool {
    let body = json!({
        "model": model, "max_tokens": 128, "temperature": 0,
        "messages": [{"role": "user", "content": "Which time is it in Oslo? Use the tool."}],
        "tools": [{"type": "function", "function": {
            "name": "clock", "description": "The time in a city.",
            "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
        }}],
    });
    let Ok(answer) = post(http, endpoint, key, &body).send().await else { return false };
    let Ok(value) = answer.json::<Value>().await else { return false };
    value["choices"][0]["message"]["tool_calls"][0]["function"]["name"].as_str() == Some("clock")
}
