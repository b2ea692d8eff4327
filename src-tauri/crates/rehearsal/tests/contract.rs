//! The stand-in against what the real servers were recorded to say: the recorded requests are sent again, and the
//! answers must have the same status, headers and shape. Streams are compared event by event.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test's helpers fail the test")]

mod common;

use std::collections::BTreeSet;

use common::{Answer, Capture, Server, capture_text};
use serde_json::{Map, Value, json};

const PLAIN: &str = "vllm serve /srv/models/SmolLM2 --host 127.0.0.1 --port {port} --served-model-name smollm2-135m \
                     --max-model-len 2048 --max-num-seqs 8";
const WITH_TOOLS: &str = "vllm serve HuggingFaceTB/SmolLM2-135M-Instruct --host 127.0.0.1 --port {port} \
                          --served-model-name HuggingFaceTB/SmolLM2-135M-Instruct smol --max-model-len 2048 \
                          --enable-auto-tool-choice --tool-call-parser hermes --api-key sesame";
const LLAMA: &str = "llama-server --model /models/SmolLM2-135M-Instruct.Q4_1.gguf --alias smollm2-135m --host \
                     127.0.0.1 --port {port} --ctx-size 4096 --parallel 4 --metrics --jinja";

/// Values that are words of the protocol, and so must be equal, not only of one kind.
const WORDS: [&str; 8] = ["object", "type", "role", "owned_by", "code", "param", "message", "detail"];

/// What is left of a value when everything that may differ is taken away.
fn shape(name: &str, value: &Value) -> Value {
    match value {
        Value::Null => json!("null"),
        Value::String(_) | Value::Number(_) if WORDS.contains(&name) => value.clone(),
        Value::Bool(_) => json!("a truth"),
        Value::Number(_) => json!("a number"),
        Value::String(_) => json!("a text"),
        Value::Array(items) => {
            let shapes: BTreeSet<String> = items.iter().map(|item| shape("", item).to_string()).collect();
            json!(shapes)
        }
        Value::Object(fields) => Value::Object(
            fields.iter().map(|(name, value)| (name.clone(), shape(name, value))).collect::<Map<_, _>>(),
        ),
    }
}

/// The body's shape: of its JSON, or of each event in turn, equal neighbours taken together.
fn body_shape(answer: &Answer) -> Value {
    let kind = answer.headers.get("content-type").map(String::as_str).unwrap_or_default();
    if kind.starts_with("text/event-stream") {
        let mut events: Vec<Value> = Vec::new();
        for event in answer.body.split("\n\n").map(str::trim).filter(|e| !e.is_empty()) {
            let name = event.lines().find_map(|line| line.strip_prefix("event: ")).unwrap_or_default();
            let data = event.lines().find_map(|line| line.strip_prefix("data: ")).unwrap_or_default();
            let data = serde_json::from_str(data).map_or_else(|_| json!(data), |value| shape("", &value));
            let event = json!([name, data]);
            if events.last() != Some(&event) {
                events.push(event);
            }
        }
        json!(events)
    } else if kind.starts_with("application/json") {
        shape("", &answer.json())
    } else {
        json!(answer.body.is_empty())
    }
}

fn compare(name: &str, real: &Answer, played: &Answer, headers: &[&str]) {
    assert_eq!(played.status, real.status, "{name}: {}", played.body);
    for header in headers {
        assert_eq!(played.headers.get(*header), real.headers.get(*header), "{name}: {header}");
    }
    let (real, played) = (body_shape(real), body_shape(played));
    let pretty = |value| serde_json::to_string_pretty(value).unwrap();
    assert_eq!(pretty(&played), pretty(&real), "{name}");
}

fn replay(server: &Server, dialect: &str, name: &str, headers: &[(&str, &str)], compared: &[&str]) {
    let capture = Capture::read(dialect, name);
    let answer = server.ask(&capture.method, &capture.path, headers, &capture.request);
    compare(name, &capture.answer, &answer, compared);
}

const VLLM_HEADERS: [&str; 4] = ["content-type", "server", "vary", "allow"];

#[test]
fn vllm_answers_as_recorded() {
    let server = Server::ready(PLAIN, &[]);
    for name in [
        "health",
        "ping",
        "version",
        "load",
        "models",
        "chat-nonstream",
        "chat-stop",
        "chat-n2",
        "chat-json-object",
        "chat-stream",
        "chat-stream-usage",
        "chat-stream-continuous-usage",
        "completions-nonstream",
        "completions-stream",
        "responses-nonstream",
        "responses-stream",
        "anthropic-messages-stream",
        "tokenize",
        "err-404-path",
        "err-405-method",
        "err-bad-json",
        "err-bad-temperature",
        "err-context-overflow",
        "err-embeddings-unsupported",
        "err-image-to-text-model",
        "err-max-tokens-too-large",
        "err-missing-messages",
        "err-tool-choice-auto",
        "err-unknown-model",
        "err-unknown-model-stream",
        "tool-choice-required",
    ] {
        replay(&server, "vllm-0.32", name, &[], &VLLM_HEADERS);
    }
}

#[test]
fn vllm_with_a_key_and_tools_answers_as_recorded() {
    let server = Server::ready(WITH_TOOLS, &[]);
    let key = [("Authorization", "Bearer sesame")];
    for name in ["models-two-aliases", "tool-required", "tool-required-stream", "tool-named-stream"] {
        replay(&server, "vllm-0.32", name, &key, &VLLM_HEADERS);
    }
    replay(&server, "vllm-0.32", "health-no-key", &[], &VLLM_HEADERS);
    replay(&server, "vllm-0.32", "err-401-no-key", &[], &VLLM_HEADERS);
    replay(&server, "vllm-0.32", "err-401-bad-key", &[("Authorization", "Bearer wrong")], &VLLM_HEADERS);
    assert_eq!(server.get("/metrics").status, 200, "metrics are outside of the key");
    let named = server.ask(
        "POST",
        "/v1/chat/completions",
        &key,
        &Capture::read("vllm-0.32", "tool-required").request,
    );
    let call = &named.json()["choices"][0]["message"]["tool_calls"][0]["function"];
    assert_eq!(call["arguments"], r#"{"city":"Paris"}"#);
}

#[test]
fn the_key_comes_from_the_environment_too() {
    let server = Server::ready(PLAIN, &[("VLLM_API_KEY", "sesame")]);
    assert_eq!(server.get("/v1/models").status, 401);
    assert_eq!(server.ask("GET", "/v1/models", &[("Authorization", "Bearer sesame")], "").status, 200);
    let server = Server::ready(LLAMA, &[("LLAMA_API_KEY", "sesame")]);
    let refused = server.get("/props");
    assert_eq!((refused.status, refused.headers["connection"].as_str()), (401, "close"));
    let recorded = capture_text("llamacpp-b11434", "err-401-api-key");
    assert_eq!(refused.json(), serde_json::from_str::<Value>(recorded.lines().last().unwrap()).unwrap());
    assert_eq!(server.ask("GET", "/props", &[("Authorization", "Bearer sesame")], "").status, 200);
    assert_eq!(server.get("/health").status, 200);
}

#[test]
fn llama_answers_as_recorded() {
    let server = Server::ready(LLAMA, &[]);
    let headers = ["content-type", "server", "access-control-allow-origin", "x-accel-buffering"];
    for name in [
        "health",
        "models",
        "props",
        "slots-idle",
        "chat-nonstream",
        "chat-unknown-model",
        "chat-stream",
        "chat-stream-usage",
        "chat-stream-timings",
        "completions-stream",
        "native-completion-stream",
        "responses-stream",
        "anthropic-messages-stream",
        "tokenize",
        "err-404-path",
        "err-embeddings",
        "err-image",
        "err-missing-messages",
    ] {
        replay(&server, "llamacpp-b11434", name, &[], &headers);
    }
    // These carry what the parser or the tokenizer said; the rest of them is equal.
    for name in ["err-bad-json", "err-context-overflow"] {
        let real = Capture::read("llamacpp-b11434", name);
        let played = server.ask(&real.method, &real.path, &[], &real.request);
        assert_eq!(played.status, real.answer.status, "{name}");
        let plain = |answer: &Answer| {
            let mut error = answer.json()["error"].clone();
            error["message"] = json!("");
            shape("", &error)
        };
        assert_eq!(plain(&played), plain(&real.answer), "{name}");
    }
    let overflow = server
        .post("/v1/chat/completions", &Capture::read("llamacpp-b11434", "err-context-overflow").request);
    assert!(
        overflow.json()["error"]["message"]
            .as_str()
            .unwrap()
            .contains("exceeds the available context size (1024 tokens)")
    );
}

#[test]
fn a_busy_llama_shows_its_slots_as_recorded() {
    let server = Server::ready(LLAMA, &[("ASGARD_REHEARSAL_TOKENS_PER_SECOND", "50")]);
    let body = json!({"messages": [{"role": "user", "content": "Hi"}], "max_tokens": 900, "ignore_eos": true,
                      "stream": true});
    let _busy = server.open("POST", "/v1/chat/completions", &[], &body.to_string());
    let recorded = Capture::read("llamacpp-b11434", "slots-busy").answer.json();
    let started = std::time::Instant::now();
    loop {
        let slots = server.get("/slots").json();
        if let Some(slot) = slots.as_array().unwrap().iter().find(|slot| slot["is_processing"] == true) {
            assert_eq!(shape("", slot), shape("", &recorded[0]));
            return;
        }
        assert!(started.elapsed() < common::DEADLINE, "no slot got busy");
    }
}

/// Names, types and label names of an exposition.
fn series(text: &str) -> BTreeSet<String> {
    text.lines()
        .filter(|line| !line.starts_with("# HELP"))
        .filter_map(|line| {
            if let Some(kind) = line.strip_prefix("# TYPE ") {
                return Some(kind.to_owned());
            }
            let (name, rest) = line.split_once('{')?;
            let labels = rest.rsplit_once('}')?.0;
            let names: Vec<&str> =
                labels.split("\",").filter_map(|l| l.split_once('=')).map(|(n, _)| n).collect();
            Some(format!("{name} {}", names.join(" ")))
        })
        .collect()
}

#[test]
fn metrics_have_the_recorded_names_types_and_labels() {
    for (dialect, line) in [("vllm-0.32", PLAIN), ("llamacpp-b11434", LLAMA)] {
        let server = Server::ready(line, &[]);
        let recorded = Capture::read(dialect, "metrics-under-load").answer;
        let played = server.get("/metrics");
        assert_eq!(played.headers["content-type"], recorded.headers["content-type"], "{dialect}");
        // The cache's facts are labels: here only some of them.
        let cache = |name: &String| name.starts_with("vllm:cache_config_info ");
        let (real, played) = (series(&recorded.body), series(&played.body));
        let unknown: Vec<&String> = played.difference(&real).filter(|name| !cache(name)).collect();
        assert!(unknown.is_empty(), "{dialect}: not recorded: {unknown:#?}");
        let labels = |all: &BTreeSet<String>| -> BTreeSet<String> {
            all.iter()
                .filter(|n| cache(n))
                .flat_map(|n| n.split(' ').map(str::to_owned).collect::<Vec<_>>())
                .collect()
        };
        assert!(labels(&played).is_subset(&labels(&real)), "{:?}", labels(&played));
        assert!(played.len() >= if dialect == "vllm-0.32" { 60 } else { 15 }, "{dialect}: {}", played.len());
    }
}

/// A log line without prefix, numbers and model names.
fn form(line: &str) -> String {
    let text = match line.strip_prefix('(').and_then(|rest| rest.split_once("] ")) {
        Some((_, text)) => text,
        None => line,
    };
    // llama.cpp's prefix is the time.
    let text = match text.split_once(' ') {
        Some((time, rest)) if time.matches('.').count() == 3 => rest,
        _ => text,
    };
    let text = [
        "/srv/models/hf/SmolLM2-135M-Instruct",
        "HuggingFaceTB/SmolLM2-135M-Instruct",
        "/srv/models/SmolLM2",
    ]
    .iter()
    .fold(text.to_owned(), |text, model| text.replace(model, "MODEL"));
    let mut form = String::new();
    for c in text.replace("GPU KV", "CPU KV").replace("s/it", "it/s").chars() {
        if !c.is_ascii_digit() {
            form.push(c);
        } else if !form.ends_with('0') {
            form.push('0');
        }
    }
    form.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[test]
fn the_log_of_a_life_has_the_recorded_lines_in_the_recorded_order() {
    let lives = [
        (
            "vllm-0.32",
            PLAIN,
            vec![
                "log-start-serve-then-sigterm",
                "log-start-serve-stop-eager",
                "log-start-from-hub-compile-then-worker-killed",
            ],
        ),
        ("llamacpp-b11434", LLAMA, vec!["log-start-serve-stop"]),
    ];
    // Only on a GPU, and so in no recording made here; or arguments, which differ.
    let elsewhere = [
        "Model loading took",
        "Available KV cache memory",
        "Capturing CUDA graphs",
        "Graph capturing finished",
        "non-default args",
        "Initializing a V",
    ];
    for (dialect, line, recordings) in lives {
        let mut server = Server::ready(line, &[("ASGARD_REHEARSAL_HOLD", "30000000")]);
        server.signal(rustix::process::Signal::TERM);
        let (log, status) = server.end();
        assert_eq!(status.code(), Some(0), "{log}");
        let recorded: Vec<Vec<String>> =
            recordings.iter().map(|name| capture_text(dialect, name).lines().map(form).collect()).collect();
        let mut last = 0;
        for played in log.lines() {
            let text = form(played);
            if elsewhere.iter().any(|known| text.starts_with(known)) || text.is_empty() {
                continue;
            }
            assert!(
                recorded.iter().any(|lines| lines.contains(&text)),
                "{dialect}: not recorded: {played}\n({text})"
            );
            // Milestones come in the order of the first recording.
            if [
                "Using max",
                "Starting to load",
                "Loading weights",
                "KV cache size",
                "init engine",
                "startup complete",
            ]
            .iter()
            .any(|milestone| text.contains(milestone))
            {
                let place = recorded[0].iter().position(|l| *l == text).unwrap();
                assert!(place >= last, "{dialect}: too late: {played}");
                last = place;
            }
        }
        assert!(dialect.starts_with("llama") || last > 0, "no milestone was met");
    }
}
