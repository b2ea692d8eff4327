//! What vLLM's log says, from the banner to the shutdown. The texts are those that readers match on; files and line
//! numbers are decoration, as they are in the real one.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::http::StatusCode;
use axum::http::request::Parts;

use super::VERSION;
use crate::args::Command;
use crate::engine::Engine;
use crate::loading::{Step, gib, grouped, kv_tokens, parts};
use crate::log::Line;
use crate::log::Who::{Api, Engine as Core, Worker};
use crate::settings::Settings;

/// A checkpoint file is played for each so many gigabytes (or megabytes, on the small machine).
const SHARD: u64 = 4;
const MOST_SHARDS: u64 = 20;
/// How often memory grows between two lines about a checkpoint file.
const STEPS_PER_SHARD: u64 = 4;
/// Where loading the weights begins and ends, as shares of the loading time.
const WEIGHTS: (f64, f64) = (0.15, 0.65);

/// Everything before loading.
pub(crate) fn banner(command: &Command) -> Vec<Line> {
    let art = [
        String::new(),
        "       █     █     █▄   ▄█".to_owned(),
        format!(" ▄▄ ▄█ █     █     █ ▀▄▀ █  version {VERSION}"),
        format!("  █▄█▀ █     █     █     █  model   {}", command.model),
        "   ▀▀  ▀▀▀▀▀ ▀▀▀▀▀ ▀     ▀".to_owned(),
        String::new(),
    ];
    let mut lines: Vec<Line> = art
        .into_iter()
        // One line each: a text of no line at all would print no prefix.
        .map(|text| Line::info(Api, "api_utils.py:347", format!("{text}\n")))
        .collect();
    let shown: Vec<String> = command.shown.iter().map(|(name, value)| format!("'{name}': {value}")).collect();
    let text = format!("non-default args: {{{}}}", shown.join(", "));
    lines.push(Line::info(Api, "api_utils.py:286", text));
    lines
}

fn step(at: f64, lines: Vec<Line>) -> Step {
    Step { at, hold: None, lines }
}

/// Loading, step by step.
pub(crate) fn loading(command: &Command, settings: &Settings) -> Vec<Step> {
    let (weights, kv) = parts(command, settings);
    let seconds = |share: f64| settings.load.mul_f64(share).as_secs_f64();
    let model = &command.model;
    let mut steps = vec![
        step(
            0.0,
            vec![
                Line::info(Api, "model.py:733", format!("Resolved architecture: {}", architecture(model))),
                Line::info(Api, "model.py:2152", format!("Using max model len {}", command.context)),
            ],
        ),
        step(
            0.05,
            vec![Line::info(
                Core,
                "core.py:133",
                format!(
                    "Initializing a V1 LLM engine (v{VERSION}) with config: model='{model}', speculative_config=None, \
                 tokenizer='{model}', max_seq_len={}, tensor_parallel_size=1, pipeline_parallel_size=1, \
                 enforce_eager={}, kv_cache_dtype=auto",
                    command.context,
                    if command.eager { "True" } else { "False" },
                ),
            )],
        ),
        step(
            0.1,
            vec![
                Line::info(
                    Worker,
                    "parallel_state.py:2350",
                    "rank 0 in world size 1 is assigned as DP rank 0, PP rank 0, PCP rank 0, TP rank 0, ETP rank 0, EP \
                 rank N/A, EPLB rank N/A",
                ),
                Line::info(Worker, "gpu_model_runner.py:4621", format!("Starting to load model {model}...")),
                Line::info(
                    Worker,
                    "base_loader.py:82",
                    format!("Initializing model took {:.6} seconds", seconds(0.05)),
                ),
            ],
        ),
    ];
    steps.extend(weights_steps(weights, settings));
    let took = seconds(WEIGHTS.1 - WEIGHTS.0);
    steps.push(step(
        0.66,
        vec![
            Line::info(Worker, "default_loader.py:501", format!("Loading weights took {took:.2} seconds")),
            Line::info(
                Worker,
                "gpu_model_runner.py:4711",
                format!("Model loading took {:.2} GiB memory and {took:.6} seconds", gib(weights)),
            ),
        ],
    ));
    let reserved = match command.kv_bytes {
        Some(bytes) => format!(
            "Initial free memory {:.2} GiB, reserved {:.2} GiB memory for KV Cache as specified by \
             kv_cache_memory_bytes config and skipped memory profiling. This does not respect the \
             gpu_memory_utilization config. Only use kv_cache_memory_bytes config when you want manual control of \
             KV cache memory size. If OOM'ed, check the difference of initial free memory between the current run \
             and the previous run where kv_cache_memory_bytes is suggested and update it correspondingly.",
            gib(settings.hold.saturating_mul(2)),
            gib(bytes),
        ),
        None => format!("Available KV cache memory: {:.2} GiB", gib(kv)),
    };
    steps.push(Step {
        at: 0.72,
        hold: Some(settings.hold),
        lines: vec![
            Line::info(Worker, "gpu_worker.py:391", reserved),
            Line::info(Core, "kv_cache_utils.py:2327", kv_line(command, settings)),
        ],
    });
    if !command.eager {
        for (share, percent) in [(0.76, 0_u64), (0.82, 50), (0.88, 100)] {
            let bar = "█".repeat(usize::try_from(percent / 10).unwrap_or_default());
            steps.push(step(
                share,
                vec![Line::raw(format!(
                    "Capturing CUDA graphs (mixed prefill-decode, PIECEWISE): {percent:3}%|{bar:<10}| {}/8",
                    percent * 8 / 100
                ))],
            ));
        }
        steps.push(step(
            0.9,
            vec![Line::info(
                Worker,
                "gpu_model_runner.py:5712",
                format!(
                    "Graph capturing finished in {:.0} secs, took {:.2} GiB",
                    seconds(0.14),
                    gib(weights / 50)
                ),
            )],
        ));
    }
    steps.push(step(
        0.95,
        vec![Line::info(
            Core,
            "core.py:402",
            format!("init engine (profile, create kv cache, warmup model) took {:.2} s", seconds(0.29)),
        )],
    ));
    steps
}

fn weights_steps(weights: u64, settings: &Settings) -> Vec<Step> {
    let unit = domain::Unit::for_capacity(domain::Bytes(settings.hold)).bytes();
    let shards = (weights / (unit * SHARD)).clamp(1, MOST_SHARDS);
    let (begin, end) = WEIGHTS;
    let parts = shards * STEPS_PER_SHARD;
    (0..=parts)
        .map(|part| {
            let share = part as f64 / parts as f64;
            let line = part.is_multiple_of(STEPS_PER_SHARD).then(|| {
                let done = part / STEPS_PER_SHARD;
                let took = settings.load.mul_f64((end - begin) * share);
                shard_line(done, shards, took)
            });
            let bytes = u128::from(weights) * u128::from(part) / u128::from(parts);
            Step {
                at: begin + (end - begin) * share,
                hold: (part > 0).then(|| u64::try_from(bytes).unwrap_or(weights)),
                lines: line.into_iter().collect(),
            }
        })
        .collect()
}

/// The progress bar that loaders print for each checkpoint file.
fn shard_line(done: u64, shards: u64, took: Duration) -> Line {
    let percent = done * 100 / shards;
    let clock = |seconds: u64| format!("{:02}:{:02}", seconds / 60, seconds % 60);
    let times = match (took.as_secs() * (shards - done)).checked_div(done) {
        None => "00:00<?, ?it/s".to_owned(),
        Some(left) => {
            let speed = done as f64 / took.as_secs_f64().max(0.001);
            let speed =
                if speed >= 1.0 { format!("{speed:5.2}it/s") } else { format!("{:5.2}s/it", 1.0 / speed) };
            format!("{}<{}, {speed}", clock(took.as_secs()), clock(left))
        }
    };
    Line::raw(format!(
        "Loading safetensors checkpoint shards: {percent:3}% Completed | {done}/{shards} [{times}]"
    ))
}

fn kv_line(command: &Command, settings: &Settings) -> String {
    let tokens = kv_tokens(command, settings);
    let context = command.context;
    format!(
        "GPU KV cache size: {} tokens, Maximum concurrency for {} tokens per request: {:.2}x",
        grouped(tokens),
        grouped(context),
        tokens as f64 / context as f64
    )
}

fn architecture(model: &str) -> &'static str {
    let model = model.to_lowercase();
    if model.contains("qwen3") {
        "Qwen3MoeForCausalLM"
    } else if model.contains("qwen") {
        "Qwen2ForCausalLM"
    } else {
        "LlamaForCausalLM"
    }
}

/// What it says when it answers from now on.
pub(crate) fn ready(command: &Command, pid: u32) -> Vec<Line> {
    let mut lines = vec![Line::info(Api, "entry.py:136", "Supported tasks: ['generate']")];
    if command.auto_tools {
        lines.push(Line::info(Api, "parser_manager.py:38", "\"auto\" tool choice has been enabled."));
    }
    let address = format!("Starting vLLM server on http://{}:{}", command.host, command.port);
    lines.push(Line::info(Api, "entry.py:140", address));
    lines.push(Line::info(Api, "launcher.py:186", "Available routes are:"));
    for (path, methods) in ROUTES {
        lines.push(Line::info(Api, "launcher.py:195", format!("Route: {path}, Methods: {methods}")));
    }
    lines.push(Line::raw(format!("INFO:     Started server process [{pid}]")));
    lines.push(Line::raw("INFO:     Waiting for application startup."));
    lines.push(Line::raw("INFO:     Application startup complete."));
    lines
}

/// Only those that are answered here.
const ROUTES: &[(&str, &str)] = &[
    ("/load", "GET"),
    ("/version", "GET"),
    ("/health", "GET"),
    ("/metrics", "GET"),
    ("/tokenize", "POST"),
    ("/v1/models", "GET"),
    ("/ping", "GET"),
    ("/ping", "POST"),
    ("/v1/chat/completions", "POST"),
    ("/v1/responses", "POST"),
    ("/v1/completions", "POST"),
    ("/v1/messages", "POST"),
    ("/v1/messages/count_tokens", "POST"),
];

/// uvicorn's line about one request.
pub(crate) fn access(peer: SocketAddr, head: &Parts, status: StatusCode) -> Line {
    let path = head.uri.path_and_query().map_or("/", |path| path.as_str());
    let reason = status.canonical_reason().unwrap_or_default();
    Line::raw(format!("INFO:     {peer} - \"{} {path} HTTP/1.1\" {} {reason}", head.method, status.as_u16()))
}

/// The line about throughput every ten seconds, until the server ends. An idle server says it once and is quiet.
pub(crate) async fn periodic(engine: &Arc<Engine>) {
    const PERIOD: Duration = Duration::from_secs(10);
    let mut before = (0, 0);
    let mut quiet = true;
    loop {
        tokio::time::sleep(PERIOD).await;
        let now = {
            let stats = engine.stats();
            (stats.prompt_tokens, stats.generation_tokens)
        };
        let (running, waiting) = (engine.running(), engine.waiting());
        let idle = now == before && running == 0 && waiting == 0;
        if !(idle && quiet) {
            let rate = |now: u64, before: u64| now.saturating_sub(before) as f64 / PERIOD.as_secs_f64();
            engine.log.print(&Line::info(
                Api,
                "loggers.py:335",
                format!(
                    "Engine 000: Avg prompt throughput: {:.1} tokens/s, Avg generation throughput: {:.1} tokens/s, \
                     Running: {running} reqs, Waiting: {waiting} reqs, GPU KV cache usage: {:.1}%, Prefix cache hit \
                     rate: 0.0%",
                    rate(now.0, before.0),
                    rate(now.1, before.1),
                    engine.kv_usage() * 100.0,
                ),
            ));
        }
        quiet = idle;
        before = now;
    }
}

/// The shutdown after SIGTERM.
pub(crate) fn stopping() -> Vec<Line> {
    let api = |at, text| Line::info(Api, at, text);
    let core = |at, text| Line::info(Core, at, text);
    vec![
        core("core.py:1454", "[shutdown] EngineCore: trigger received signal=SIGTERM"),
        api("launcher.py:254", "[shutdown] API server: shutdown triggered"),
        api("launcher.py:270", "[shutdown] API server: stopping engine client mode=abort timeout=0s"),
        core("core.py:1635", "[shutdown] EngineCore: start mode=abort timeout=0s"),
        core(
            "core.py:1666",
            "[shutdown] EngineCore: request processing complete; starting resource teardown",
        ),
        core("core.py:1499", "[shutdown] EngineCore: exiting busy loop"),
        core("multiproc_executor.py:479", "[shutdown] Executor: waiting for worker exit count=1"),
        api("core_client.py:770", "[shutdown] MPClient: start timeout=0s"),
        api("core_client.py:777", "[shutdown] MPClient: complete"),
        api("launcher.py:279", "[shutdown] API server: engine client stopped"),
        api("launcher.py:282", "[shutdown] API server: signalling HTTP server shutdown"),
        api("launcher.py:304", "[shutdown] API server: shutting down FastAPI HTTP server"),
        Line::raw("INFO:     Shutting down"),
        Line::raw("INFO:     Waiting for application shutdown."),
        Line::raw("INFO:     Application shutdown complete."),
    ]
}
