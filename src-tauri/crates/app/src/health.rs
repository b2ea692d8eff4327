//! Health on demand. It never wakes anyone.

use std::time::{Duration, Instant};

use api::shapes::agents::{AgentHealth, Health};
use domain::secret::Secret;
use domain::stack::{Agent, BackendKind};
use engine::backend::backend;
use futures_util::StreamExt;
use serde_json::{Value, json};

use crate::carry::Ctx;
use crate::chat::{Piece, read_chunk, refusal_text};
use crate::gate::known_as;
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
                if line.healthy == Some(true) {
                    let asked = may_call(agent);
                    let called = match asked {
                        Calls::Unable => Err(NO_PARSER.to_owned()),
                        Calls::Must | Calls::May => tool_call(&ctx.world.http, endpoint, key, name).await,
                    };
                    judge_call(&mut line, asked, called);
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

/// A small answer of a slow model that thinks before it speaks.
const PATIENCE: Duration = Duration::from_mins(2);

fn post(http: &reqwest::Client, endpoint: &str, key: &Secret, body: &Value) -> reqwest::RequestBuilder {
    let request = http.post(format!("{endpoint}/v1/chat/completions")).json(body).timeout(PATIENCE);
    if key.is_empty() { request } else { request.bearer_auth(key.reveal()) }
}

/// Seconds to the first text of a streamed answer, which must come to its end.
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
        return Err(refused(answer).await);
    }
    let mut reader = SseReader::default();
    let mut bytes = answer.bytes_stream();
    let mut first = None;
    while let Some(Ok(chunk)) = bytes.next().await {
        for data in reader.feed(&chunk) {
            if data == "[DONE]" {
                return first.ok_or_else(|| "Its stream ended without a word.".to_owned());
            }
            match read_chunk(&data) {
                Piece::Failed(said) => return Err(format!("Its stream ended with an error: {said}")),
                Piece::Delta { text, thinking, .. } if !(text.is_empty() && thinking.is_empty()) => {
                    first.get_or_insert_with(|| began.elapsed().as_secs_f64());
                }
                Piece::Delta { .. } => {}
            }
        }
    }
    Err("Its stream broke off before its end.".to_owned())
}

/// What it said when it refused, in its own words where there are some.
async fn refused(answer: reqwest::Response) -> String {
    let status = answer.status();
    let said = refusal_text(&answer.text().await.unwrap_or_default());
    said.map_or_else(|| format!("It answered {status}."), |said| format!("It answered {status}: {said}"))
}

/// What is to be expected when an agent is given a tool.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Calls {
    Must,
    /// A server of others: nobody has said that it can.
    May,
    /// vLLM refuses tools that it has no parser for.
    Unable,
}

const NO_PARSER: &str = "It has no tool parser, so it was asked for no tool call.";

fn may_call(agent: &Agent) -> Calls {
    match agent.backend {
        BackendKind::Vllm if agent.tool_parser.is_none() => Calls::Unable,
        BackendKind::Vllm | BackendKind::LlamaCpp => Calls::Must,
        BackendKind::Ollama | BackendKind::External => Calls::May,
    }
}

/// Writes into an agent's line what became of the tool that it was given.
fn judge_call(line: &mut AgentHealth, asked: Calls, called: Result<(), String>) {
    line.tool_call = (asked != Calls::Unable).then_some(called.is_ok());
    if asked == Calls::Must && called.is_err() {
        line.healthy = Some(false);
    }
    line.detail.push(' ');
    line.detail.push_str(&called.map_or_else(|why| why, |()| "Tool calls work.".to_owned()));
}

/// Asks for something that a tool is there for. The choice is the model's, so that the server's parser is what is
/// tried; a call that the server is made to give takes another way through it.
async fn tool_call(http: &reqwest::Client, endpoint: &str, key: &Secret, model: &str) -> Result<(), String> {
    let body = json!({
        "model": model, "max_tokens": 512, "temperature": 0,
        "messages": [{"role": "user", "content": "Which time is it in Oslo? Use the tool."}],
        "tools": [{"type": "function", "function": {
            "name": "clock", "description": "The time in a city.",
            "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
        }}],
    });
    let answer = post(http, endpoint, key, &body)
        .send()
        .await
        .map_err(|e| format!("Given a tool, it broke off: {}.", e.without_url()))?;
    if !answer.status().is_success() {
        return Err(format!("Given a tool: {}", refused(answer).await));
    }
    let value = answer.json::<Value>().await.map_err(|_| "Given a tool, it answered no JSON.".to_owned())?;
    called(&value)
}

fn called(answer: &Value) -> Result<(), String> {
    let choice = &answer["choices"][0];
    let function = &choice["message"]["tool_calls"][0]["function"];
    let arguments = function["arguments"].as_str().and_then(|a| serde_json::from_str::<Value>(a).ok());
    match (function["name"].as_str(), arguments) {
        (Some("clock"), Some(Value::Object(_))) => Ok(()),
        (Some("clock"), _) => Err("Its tool call had arguments that are no JSON.".to_owned()),
        (Some(other), _) => Err(format!("It called a tool that it was not given: {other:?}.")),
        (None, _) if choice["finish_reason"] == "length" => {
            Err("It made no tool call within 512 tokens.".to_owned())
        }
        (None, _) => Err("It made no tool call.".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line() -> AgentHealth {
        AgentHealth {
            name: "thor".to_owned(),
            state: "ready".to_owned(),
            healthy: Some(true),
            detail: "First.".to_owned(),
            first_token_seconds: Some(0.1),
            tool_call: None,
        }
    }

    #[test]
    fn a_tool_that_is_not_called_is_a_failure_where_it_was_promised() {
        for (asked, works, healthy, tool_call) in [
            (Calls::Must, true, true, Some(true)),
            (Calls::Must, false, false, Some(false)),
            (Calls::May, false, true, Some(false)),
            (Calls::Unable, false, true, None),
        ] {
            let mut line = line();
            judge_call(&mut line, asked, if works { Ok(()) } else { Err("Why.".to_owned()) });
            assert_eq!((line.healthy, line.tool_call), (Some(healthy), tool_call), "{asked:?} {works}");
            assert_eq!(line.detail, if works { "First. Tool calls work." } else { "First. Why." });
        }
    }

    #[test]
    fn a_call_is_the_tool_that_was_given_with_arguments_that_are_json() {
        let answer = |name: Value, arguments: Value, finish: &str| {
            json!({"choices": [{"finish_reason": finish, "message": {"tool_calls": [
                {"function": {"name": name, "arguments": arguments}}]}}]})
        };
        let clock = || json!("clock");
        assert_eq!(called(&answer(clock(), json!("{\"city\":\"Oslo\"}"), "tool_calls")), Ok(()));
        for (wrong, why) in [
            (answer(clock(), json!("{\"city\":"), "tool_calls"), "no JSON"),
            (answer(clock(), json!("7"), "tool_calls"), "no JSON"),
            (answer(json!("cloc"), json!("{}"), "tool_calls"), "cloc"),
            (json!({"choices": [{"finish_reason": "length", "message": {"content": "Well"}}]}), "512"),
            (json!({"choices": [{"finish_reason": "stop", "message": {"tool_calls": []}}]}), "no tool call"),
            (json!({"choices": []}), "no tool call"),
            (json!([]), "no tool call"),
        ] {
            let said = called(&wrong).unwrap_err();
            assert!(said.contains(why), "{wrong}: {said}");
        }
    }
}
