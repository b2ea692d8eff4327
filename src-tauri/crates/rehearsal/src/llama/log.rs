//! What llama-server's log says.

use crate::args::Command;
use crate::engine::Generation;
use crate::loading::{Step, parts};
use crate::log::Line;
use crate::settings::Settings;

/// How often memory grows while it loads.
const STEPS: u64 = 20;

fn info(text: impl Into<String>) -> Line {
    Line::llama('I', text)
}

pub(crate) fn banner(command: &Command) -> Vec<Line> {
    let mut lines = vec![
        info("srv  llama_server: initializing ..."),
        info("cmn  common_param: common_params_print_info: verbosity = 3 (adjust with the `-lv N` CLI arg)"),
    ];
    if command.keys.is_empty() {
        lines.push(Line::llama(
            'W',
            "srv  llama_server: security: no API key is set and CORS allows all origins (see \
             https://github.com/ggml-org/llama.cpp/pull/25655)",
        ));
    }
    lines
}

pub(crate) fn loading(command: &Command, settings: &Settings) -> Vec<Step> {
    let (weights, _) = parts(command, settings);
    let mut steps = vec![Step {
        at: 0.0,
        hold: None,
        lines: vec![info(format!("srv    load_model: loading model '{}'", command.model))],
    }];
    steps.extend((1..=STEPS).map(|part| Step {
        at: 0.85 * part as f64 / STEPS as f64,
        hold: Some(weights / STEPS * part),
        lines: Vec::new(),
    }));
    let unified = if command.unified_kv { "true" } else { "false" };
    steps.push(Step {
        at: 0.9,
        hold: Some(settings.hold),
        lines: vec![
            info("cmn          init: llama threadpool init, n_threads = 2"),
            info(format!(
                "srv    load_model: initializing, n_slots = {}, n_ctx_slot = {}, kv_unified = '{unified}'",
                command.sequences, command.context
            )),
        ],
    });
    steps
}

pub(crate) fn ready(command: &Command) -> Vec<Line> {
    vec![
        info("srv  llama_server: model loaded"),
        info(format!("srv  llama_server: listening on http://{}:{}", command.host, command.port)),
    ]
}

/// A request got its slot.
pub(crate) fn seated(generation: &Generation) -> Vec<Line> {
    let (slot, task) = (generation.slot, generation.task);
    vec![
        info(format!("slot get_availabl: id  {slot} | task -1 | selected slot by LRU, t_last = -1")),
        info(format!("slot launch_slot_: id  {slot} | task {task} | processing task, is_child = 0")),
    ]
}

/// A request gave its slot back.
pub(crate) fn released(generation: &Generation) -> Vec<Line> {
    let (slot, task) = (generation.slot, generation.task);
    let (prompt, predicted) = generation.times();
    let row = |what: &str, time: std::time::Duration, tokens: u64| {
        let ms = time.as_secs_f64() * 1000.0;
        info(format!(
            "slot print_timing: id  {slot} | task {task} | {what} = {ms:10.2} ms / {tokens:5} tokens ({:8.2} ms per \
             token, {:8.2} tokens per second)",
            ms / tokens.max(1) as f64,
            tokens as f64 * 1000.0 / ms.max(0.001),
        ))
    };
    let tokens = generation.prompt + generation.generated();
    vec![
        row("prompt eval time", prompt, generation.prompt),
        row("       eval time", predicted, generation.generated()),
        info(format!(
            "slot      release: id  {slot} | task {task} | stop processing: n_tokens = {tokens}, truncated = 0"
        )),
    ]
}

pub(crate) fn stopping() -> Vec<Line> {
    vec![info("srv    operator(): operator(): cleaning up before exit...")]
}
