//! A stand-in's life: what it holds and reports, how it starts, stops, dies and misbehaves.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test's helpers fail the test")]

mod common;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use common::{DEADLINE, Server};
use rehearsal::fault::{self, Kind};
use rehearsal::journal::{self, Event};
use rehearsal::report;
use rustix::process::Signal;
use serde_json::{Value, json};

const VLLM: &str = "vllm serve acme/model --host 127.0.0.1 --port {port} --served-model-name odin --max-model-len 4096 \
                    --max-num-seqs 2 --kv-cache-memory-bytes 4194304 --enable-auto-tool-choice --tool-call-parser \
                    hermes";
const LLAMA: &str = "llama-server --model /models/x.gguf --alias odin --host 127.0.0.1 --port {port} --ctx-size 8192 \
                     --parallel 2 --metrics";
const HOLD: u64 = 24 << 20;

fn chat(words: &str, max_tokens: u64, more: &Value) -> String {
    let mut body = json!({"messages": [{"role": "user", "content": words}], "max_tokens": max_tokens});
    for (name, value) in more.as_object().into_iter().flatten() {
        body[name] = value.clone();
    }
    body.to_string()
}

fn resident(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let row = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    row.trim().strip_suffix(" kB").unwrap().parse::<u64>().unwrap() * 1024
}

fn held(server: &Server) -> Vec<(String, u64)> {
    report::held(server.report.parent().unwrap()).unwrap()
}

#[test]
fn what_it_says_it_holds_is_resident_and_in_the_books() {
    for line in [VLLM, LLAMA] {
        let mut server = Server::ready(line, &[("ASGARD_REHEARSAL_HOLD", &HOLD.to_string())]);
        assert_eq!(held(&server), [("odin".to_owned(), HOLD)]);
        let resident = resident(server.child.id());
        assert!(resident >= HOLD, "{resident} of {HOLD} are resident");
        assert!(
            resident < HOLD + (16 << 20),
            "{resident} for {HOLD} is more than the server may weigh itself"
        );
        server.post("/v1/chat/completions", &chat("Hi", 2, &json!({})));
        server.signal(Signal::TERM);
        let (_, status) = server.end();
        assert_eq!(status.code(), Some(0));
        assert!(held(&server).is_empty(), "a server that ended holds nothing");
        let entries = journal::read(&server.journal).unwrap();
        let events: Vec<Event> = entries.iter().map(|e| e.event).collect();
        assert_eq!(events.first(), Some(&Event::Start));
        assert_eq!(events[events.len() - 4..], [Event::Ready, Event::Request, Event::Stop, Event::Exit]);
        assert!(entries.iter().all(|e| e.agent == "odin"));
        let steps: Vec<u64> = entries.iter().filter(|e| e.event == Event::Hold).map(|e| e.bytes).collect();
        assert!(steps.len() >= 5 && steps.is_sorted(), "it grows in steps: {steps:?}");
        assert_eq!(steps.last(), Some(&HOLD));
        assert_eq!(entries.last().map(|e| e.bytes), Some(0));
        assert_eq!(journal::peak(&entries).0, HOLD);
    }
}

#[test]
fn a_killed_server_holds_nothing_from_that_instant_and_the_next_one_can_have_its_file() {
    let mut server = Server::ready(VLLM, &[("ASGARD_REHEARSAL_HOLD", &HOLD.to_string())]);
    server.signal(Signal::KILL);
    let (_, status) = server.end();
    assert_eq!(status.code(), None, "killed");
    assert!(held(&server).is_empty());
    let entries = journal::read(&server.journal).unwrap();
    assert!(entries.iter().all(|e| e.event != Event::Exit), "it had no time to say goodbye");
    let report = server.report.to_str().unwrap().to_owned();
    let journal = server.journal.to_str().unwrap().to_owned();
    let next = Server::ready(
        VLLM,
        &[
            ("ASGARD_REHEARSAL_HOLD", "1000000"),
            ("ASGARD_REHEARSAL_REPORT", &report),
            ("ASGARD_REHEARSAL_JOURNAL", &journal),
        ],
    );
    assert_eq!(held(&server), [("odin".to_owned(), 1_000_000)]);
    assert_eq!(journal::peak(&journal::read(&server.journal).unwrap()).0, HOLD, "the start set it to zero");
    drop(next);
}

#[test]
fn vllm_refuses_its_port_while_loading_and_llama_says_503() {
    let mut server = Server::start(VLLM, &[("ASGARD_REHEARSAL_LOAD_MS", "3000")]);
    server.wait_for("Starting to load model");
    let error = TcpStream::connect(("127.0.0.1", server.port)).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionRefused);
    // Stopped in the middle of it: in order too.
    server.signal(Signal::TERM);
    assert_eq!(server.end().1.code(), Some(0));

    let mut server = Server::start(LLAMA, &[("ASGARD_REHEARSAL_LOAD_MS", "1000")]);
    server.wait_for("loading model");
    for path in ["/health", "/v1/models", "/nothing"] {
        let answer = server.get(path);
        assert_eq!(answer.status, 503, "{path}");
        let recorded = common::capture_text("llamacpp-b11434", "health-while-loading");
        let body = recorded.lines().next().unwrap().strip_suffix(" [503]").unwrap();
        assert_eq!(answer.json(), serde_json::from_str::<Value>(body).unwrap());
    }
    server.wait_for("model loaded");
    let started = Instant::now();
    while server.get("/health").status != 200 {
        assert!(started.elapsed() < DEADLINE);
    }
}

#[test]
fn tokens_come_at_the_set_speed_and_one_by_one() {
    let server = Server::ready(VLLM, &[("ASGARD_REHEARSAL_TOKENS_PER_SECOND", "100")]);
    let started = Instant::now();
    let answer = server.post("/v1/chat/completions", &chat("Hi", 50, &json!({"stream": true})));
    let took = started.elapsed();
    assert!(took >= Duration::from_millis(490), "{took:?}");
    assert!(took < Duration::from_millis(2500), "{took:?}");
    let texts: Vec<String> = answer
        .events()
        .iter()
        .filter_map(|event| event["choices"][0]["delta"]["content"].as_str().map(str::to_owned))
        .collect();
    assert_eq!(texts.len(), 51, "the role, and a token each");
    assert!(
        texts.concat().starts_with("Odin here. You asked: Hi. This is a rehearsal, so no model read it.")
    );
}

/// The value of a series in an exposition.
fn value(server: &Server, name: &str) -> f64 {
    let page = server.get("/metrics").body;
    let line =
        page.lines().find(|line| line.starts_with(name)).unwrap_or_else(|| panic!("no {name} in {page}"));
    line.rsplit(' ').next().unwrap().parse().unwrap()
}

fn until(what: &str, mut done: impl FnMut() -> bool) {
    let started = Instant::now();
    while !done() {
        assert!(started.elapsed() < DEADLINE, "{what} did not come true");
    }
}

#[test]
fn more_requests_than_seats_wait_and_the_metrics_say_so() {
    let series = [
        (VLLM, "vllm:num_requests_running{", "vllm:num_requests_waiting{", "vllm:generation_tokens_total{"),
        (
            LLAMA,
            "llamacpp:requests_processing ",
            "llamacpp:requests_deferred ",
            "llamacpp:tokens_predicted_total ",
        ),
    ];
    for (line, running, waiting, tokens) in series {
        let server = Server::ready(line, &[("ASGARD_REHEARSAL_TOKENS_PER_SECOND", "50")]);
        assert!(value(&server, running) + value(&server, waiting) + value(&server, tokens) < 0.5);
        let body = chat("Hi", 2000, &json!({"stream": true, "ignore_eos": true}));
        let mut streams: Vec<TcpStream> =
            (0..5).map(|_| server.open("POST", "/v1/chat/completions", &[], &body)).collect();
        until("two at work and three waiting", || {
            (value(&server, running) - 2.0).abs() < 0.5 && (value(&server, waiting) - 3.0).abs() < 0.5
        });
        until("tokens", || value(&server, tokens) > 4.0);
        // Clients that hang up leave their seats and the queue.
        streams.clear();
        until("nobody is left", || value(&server, running) + value(&server, waiting) < 0.5);
        if line == VLLM {
            assert!(
                value(&server, "vllm:request_success_total{engine=\"0\",finished_reason=\"abort\"") > 1.5
            );
        }
    }
}

#[test]
fn the_cache_fills_while_it_works_and_is_empty_after() {
    let server = Server::ready(VLLM, &[("ASGARD_REHEARSAL_TOKENS_PER_SECOND", "200")]);
    let body = chat("Hi", 4000, &json!({"stream": true, "ignore_eos": true}));
    let stream = server.open("POST", "/v1/chat/completions", &[], &body);
    until("the cache fills", || value(&server, "vllm:kv_cache_usage_perc{") > 0.0);
    until("a token", || value(&server, "vllm:generation_tokens_total{") > 0.5);
    drop(stream);
    until("the cache is empty", || value(&server, "vllm:kv_cache_usage_perc{") < 1e-9);
    let answer = server.post("/v1/chat/completions", &chat("Hi", 5, &json!({})));
    assert_eq!(answer.status, 200);
    assert!(value(&server, "vllm:time_to_first_token_seconds_count{") > 1.5);
}

#[test]
fn a_cache_that_is_too_small_for_all_costs_preemptions() {
    // One full context fits, and two requests want more than half of it each.
    let line = VLLM.replace("--kv-cache-memory-bytes 4194304", "--kv-cache-memory-bytes 65536");
    let server = Server::ready(
        &line,
        &[("ASGARD_REHEARSAL_HOLD", &HOLD.to_string()), ("ASGARD_REHEARSAL_TOKENS_PER_SECOND", "50")],
    );
    assert!(value(&server, "vllm:num_preemptions_total{") < 0.5);
    let body = chat(&"word ".repeat(2500), 1000, &json!({"stream": true, "ignore_eos": true}));
    let first = server.open("POST", "/v1/chat/completions", &[], &body);
    until("the first is at work", || value(&server, "vllm:generation_tokens_total{") > 0.5);
    assert!(value(&server, "vllm:num_preemptions_total{") < 0.5, "one alone fits");
    let second = server.open("POST", "/v1/chat/completions", &[], &body);
    until("both were put back", || value(&server, "vllm:num_preemptions_total{") > 1.5);
    assert!((value(&server, "vllm:kv_cache_usage_perc{") - 1.0).abs() < 1e-9);
    drop((first, second));
}

#[test]
fn a_taken_port_is_a_failed_start_with_the_real_words() {
    for (line, says) in [(VLLM, "Address already in use"), (LLAMA, "couldn't bind HTTP server socket")] {
        let first = Server::ready(line, &[]);
        let mut second = Server::start(&line.replace("{port}", &first.port.to_string()), &[]);
        let (log, status) = second.end();
        assert!(log.contains(says), "{log}");
        assert_eq!(status.code(), Some(1));
    }
}

#[test]
fn every_failing_start_says_its_words_and_gives_everything_back() {
    let starts = fault::ALL.iter().filter(|fault| fault.kind == Kind::FailAtStart);
    let mut played = 0;
    for fault in starts {
        for (line, says) in [(VLLM, fault.vllm_says), (LLAMA, fault.llama_says)] {
            let Some(says) = says else { continue };
            let hold = HOLD.to_string();
            let mut server = Server::start(
                line,
                &[("ASGARD_REHEARSAL_FAULT", fault.name), ("ASGARD_REHEARSAL_HOLD", &hold)],
            );
            let (log, status) = server.end();
            assert!(log.contains(says), "{}: {log}", fault.name);
            let wrong_arguments = line == VLLM && fault.name == "fail:bad-args";
            assert_eq!(status.code(), Some(if wrong_arguments { 2 } else { 1 }), "{}", fault.name);
            // The general words come after the cause, never alone, but where they are all there is.
            if let Some(general) = log.find("Engine core initialization failed") {
                assert!(log.find(says).unwrap() <= general, "{}", fault.name);
            }
            assert!(!log.contains("startup complete") && !log.contains("listening on"), "{}", fault.name);
            assert!(held(&server).is_empty());
            if let Ok(entries) = journal::read(&server.journal) {
                assert_eq!(
                    entries.last().map(|e| (e.event, e.bytes)),
                    Some((Event::Exit, 0)),
                    "{}",
                    fault.name
                );
            }
            played += 1;
        }
    }
    assert!(played >= 28, "{played}");
}

#[test]
fn it_crashes_on_the_first_request_after_it_was_healthy() {
    let mut server = Server::ready(VLLM, &[("ASGARD_REHEARSAL_FAULT", "crash-first-request")]);
    assert_eq!(server.get("/health").status, 200);
    let answer = server.post("/v1/chat/completions", &chat("Hi", 8, &json!({})));
    assert_eq!(answer.status, 500);
    assert!(answer.body.contains("EngineCore encountered an issue"), "{}", answer.body);
    let (log, status) = server.end();
    assert!(log.contains("Memory access fault by GPU node-1") && log.contains("EngineDeadError"), "{log}");
    assert_eq!(status.code(), Some(134));

    let mut server = Server::ready(VLLM, &[("ASGARD_REHEARSAL_FAULT", "crash-first-request")]);
    let answer = server.post("/v1/chat/completions", &chat("Hi", 8, &json!({"stream": true})));
    assert_eq!(answer.status, 200);
    assert_eq!(answer.events().last().unwrap()["error"]["type"], "InternalServerError");
    assert!(answer.body.ends_with("data: [DONE]\n\n"));
    assert_eq!(server.end().1.code(), Some(134));

    let mut server = Server::ready(LLAMA, &[("ASGARD_REHEARSAL_FAULT", "crash-first-request")]);
    assert!(server.try_ask("POST", "/v1/chat/completions", &[], &chat("Hi", 8, &json!({}))).is_none());
    assert_eq!(server.end().1.code(), Some(134));
}

#[test]
fn garbage_and_nothing_are_answered_when_asked_for() {
    for line in [VLLM, LLAMA] {
        let text = |fault: &str| {
            let server = Server::ready(line, &[("ASGARD_REHEARSAL_FAULT", fault)]);
            let answer = server.post("/v1/chat/completions", &chat("Hi", 8, &json!({})));
            answer.json()["choices"][0]["message"]["content"].as_str().unwrap().to_owned()
        };
        assert_eq!(text("garbage"), "!!!!!!!!");
        assert_eq!(text("empty"), "");
    }
}

#[test]
fn it_dies_in_mid_stream_but_not_in_the_readiness_check() {
    for line in [VLLM, LLAMA] {
        let mut server = Server::ready(line, &[("ASGARD_REHEARSAL_FAULT", "die-mid-stream")]);
        let short = server.post("/v1/chat/completions", &chat("Hi", 8, &json!({})));
        assert_eq!(short.status, 200, "eight tokens are answered");
        let body = chat("Hi", 60, &json!({"stream": true}));
        let mut stream = server.open("POST", "/v1/chat/completions", &[], &body);
        let mut text = Vec::new();
        // The connection breaks or ends; either way the answer does not.
        let _ = stream.read_to_end(&mut text);
        let text = String::from_utf8_lossy(&text);
        assert!(text.contains("Odin") && !text.contains("[DONE]"), "{text}");
        let (log, status) = server.end();
        assert!(log.contains("HIP out of memory"), "{log}");
        assert_eq!(status.code(), Some(134));
        assert_eq!(journal::read(&server.journal).unwrap().last().map(|e| e.event), Some(Event::Exit));
    }
}

#[test]
fn it_stays_when_it_was_told_to_ignore_the_signal() {
    let mut server = Server::ready(VLLM, &[("ASGARD_REHEARSAL_FAULT", "ignore-sigterm")]);
    for _ in 0..2 {
        server.signal(Signal::TERM);
        server.wait_for("staying");
    }
    assert_eq!(server.get("/health").status, 200);
    server.signal(Signal::KILL);
    assert_eq!(server.end().1.code(), None);
}

#[test]
fn it_ends_or_hangs_half_way_through_loading() {
    let hold = HOLD.to_string();
    for line in [VLLM, LLAMA] {
        let mut server = Server::start(
            line,
            &[("ASGARD_REHEARSAL_FAULT", "exit-while-loading"), ("ASGARD_REHEARSAL_HOLD", &hold)],
        );
        let (log, status) = server.end();
        assert_eq!(status.code(), Some(1), "{log}");
        let (peak, _) = journal::peak(&journal::read(&server.journal).unwrap());
        assert!(peak > 0 && peak < HOLD, "{peak}: half-way");

        let mut server = Server::start(
            line,
            &[("ASGARD_REHEARSAL_FAULT", "hang-loading"), ("ASGARD_REHEARSAL_HOLD", &hold)],
        );
        assert!(
            server.sees("startup complete", Duration::from_secs(1)).is_none(),
            "twenty times the loading time"
        );
        let now = held(&server);
        assert!(now[0].1 > 0 && now[0].1 < HOLD, "{now:?}");
        server.signal(Signal::TERM);
        assert_eq!(server.end().1.code(), Some(0), "hanging is not ignoring");
    }
}

#[test]
fn a_log_nobody_reads_any_more_does_not_end_it() {
    // The reading end of its standard error is gone, as after a controller that was killed.
    let (mut server, port) = Server::unread(VLLM);
    until("it answers", || {
        TcpStream::connect(("127.0.0.1", port)).is_ok_and(|mut stream| {
            let request = "GET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
            let mut text = String::new();
            stream.write_all(request.as_bytes()).is_ok()
                && stream.read_to_string(&mut text).is_ok()
                && text.starts_with("HTTP/1.1 200")
        })
    });
    assert!(server.try_wait().unwrap().is_none());
    server.kill().unwrap();
    server.wait().unwrap();
}
