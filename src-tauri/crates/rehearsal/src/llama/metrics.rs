//! llama-server's `/metrics`: its names and types, without the help texts.

use std::fmt::Write as _;

use crate::engine::Engine;

pub(super) fn show(engine: &Engine) -> String {
    let (running, waiting) = (engine.running(), engine.waiting());
    let stats = engine.stats().clone();
    let rate = |tokens: u64, seconds: f64| if seconds > 0.0 { tokens as f64 / seconds } else { 0.0 };
    let (prompt_time, generation_time) =
        (stats.prompt_time.as_secs_f64(), stats.generation_time.as_secs_f64());
    let rows = [
        ("prompt_tokens_total", "counter", stats.prompt_tokens as f64),
        ("prompt_tokens_cached_total", "counter", 0.0),
        ("prompt_seconds_total", "counter", prompt_time),
        ("tokens_predicted_total", "counter", stats.generation_tokens as f64),
        ("tokens_predicted_seconds_total", "counter", generation_time),
        ("n_decode_total", "counter", stats.generation_tokens as f64),
        ("n_tokens_max", "counter", stats.longest as f64),
        ("spec_decode_num_draft_tokens_total", "counter", 0.0),
        ("spec_decode_num_accepted_tokens_total", "counter", 0.0),
        ("spec_decode_num_drafts_total", "counter", 0.0),
        ("prompt_tokens_seconds", "gauge", rate(stats.prompt_tokens, prompt_time)),
        ("predicted_tokens_seconds", "gauge", rate(stats.generation_tokens, generation_time)),
        ("requests_processing", "gauge", running as f64),
        ("requests_deferred", "gauge", waiting as f64),
        ("n_busy_slots_per_decode", "gauge", if stats.generation_tokens > 0 { 1.0 } else { 0.0 }),
    ];
    let mut out = String::new();
    for (name, kind, value) in rows {
        let _ = writeln!(out, "# TYPE llamacpp:{name} {kind}\nllamacpp:{name} {value}");
    }
    out
}
