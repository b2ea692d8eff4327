//! vLLM's `/metrics`: its names, labels and types, without the help texts.

use std::fmt::Write as _;

use crate::engine::Engine;

/// Where every series says which engine it is of.
const ENGINE: &str = "engine=\"0\"";
/// Tokens in a block of the KV cache.
const BLOCK: u64 = 16;

struct Page {
    out: String,
    model: String,
}

impl Page {
    fn plain(&mut self, name: &str, kind: &str, value: f64) {
        let _ = writeln!(self.out, "# TYPE {name} {kind}\n{name}{{{ENGINE},{}}} {value:?}", self.model);
    }

    fn labelled(&mut self, name: &str, kind: &str, label: &str, values: &[(&str, f64)]) {
        let _ = writeln!(self.out, "# TYPE {name} {kind}");
        for (case, value) in values {
            // Labels stand in the order of their names.
            let labels = if label < "model_name" {
                format!("{ENGINE},{label}=\"{case}\",{}", self.model)
            } else {
                format!("{ENGINE},{},{label}=\"{case}\"", self.model)
            };
            let _ = writeln!(self.out, "{name}{{{labels}}} {value:?}");
        }
    }
}

pub(super) fn show(engine: &Engine) -> String {
    let name = engine.command.name().replace('\\', "\\\\").replace('"', "\\\"");
    let (running, waiting, usage) = (engine.running(), engine.waiting(), engine.kv_usage());
    let stats = engine.stats().clone();
    let mut page = Page { out: String::new(), model: format!("model_name=\"{name}\"") };
    let waiting = waiting as f64;
    page.plain("vllm:num_requests_running", "gauge", running as f64);
    page.plain("vllm:num_requests_waiting", "gauge", waiting);
    let reasons = [("capacity", waiting), ("deferred", 0.0)];
    page.labelled("vllm:num_requests_waiting_by_reason", "gauge", "reason", &reasons);
    let sleep = [("awake", 1.0), ("weights_offloaded", 0.0), ("discard_all", 0.0)];
    page.labelled("vllm:engine_sleep_state", "gauge", "sleep_state", &sleep);
    page.plain("vllm:kv_cache_usage_perc", "gauge", usage);
    let prompt = stats.prompt_tokens as f64;
    page.plain("vllm:prefix_cache_queries_total", "counter", prompt);
    page.plain("vllm:prefix_cache_hits_total", "counter", 0.0);
    page.plain("vllm:num_preemptions_total", "counter", stats.preempted as f64);
    page.plain("vllm:prompt_tokens_total", "counter", prompt);
    let sources = [("local_compute", prompt), ("local_cache_hit", 0.0), ("external_kv_transfer", 0.0)];
    page.labelled("vllm:prompt_tokens_by_source_total", "counter", "source", &sources);
    page.plain("vllm:prompt_tokens_cached_total", "counter", 0.0);
    page.plain("vllm:generation_tokens_total", "counter", stats.generation_tokens as f64);
    let ends = [
        ("stop", stats.stopped as f64),
        ("length", stats.cut as f64),
        ("abort", stats.aborted as f64),
        ("error", stats.failed as f64),
        ("repetition", 0.0),
    ];
    page.labelled("vllm:request_success_total", "counter", "finished_reason", &ends);
    let histograms = [
        ("vllm:request_prompt_tokens", &stats.prompt_sizes),
        ("vllm:request_generation_tokens", &stats.generation_sizes),
        ("vllm:iteration_tokens_total", &stats.iteration_tokens),
        ("vllm:request_params_max_tokens", &stats.max_tokens),
        ("vllm:time_to_first_token_seconds", &stats.first_token),
        ("vllm:inter_token_latency_seconds", &stats.between_tokens),
        ("vllm:request_time_per_output_token_seconds", &stats.per_output_token),
        ("vllm:e2e_request_latency_seconds", &stats.whole),
        ("vllm:request_queue_time_seconds", &stats.queued),
        ("vllm:request_inference_time_seconds", &stats.inference),
        ("vllm:request_prefill_time_seconds", &stats.prefill),
        ("vllm:request_decode_time_seconds", &stats.decode),
    ];
    for (name, histogram) in histograms {
        histogram.show(&mut page.out, name, ENGINE, &page.model);
    }
    cache_config(engine, &mut page.out);
    page.out
}

/// The facts about the cache: labels of a series that is always one.
fn cache_config(engine: &Engine, out: &mut String) {
    let tokens = engine.kv_tokens;
    let (_, kv) = crate::loading::parts(&engine.command, &engine.settings);
    let facts = [
        ("block_size", BLOCK.to_string()),
        ("cache_dtype", "auto".to_owned()),
        ("enable_prefix_caching", "True".to_owned()),
        ("engine", "0".to_owned()),
        ("gpu_memory_utilization", format!("{:?}", engine.command.utilization)),
        ("is_attention_free", "False".to_owned()),
        ("kv_cache_max_concurrency", format!("{:.2}", tokens as f64 / engine.command.context as f64)),
        ("kv_cache_memory_bytes", engine.command.kv_bytes.unwrap_or(kv).to_string()),
        ("kv_cache_size_tokens", tokens.to_string()),
        ("num_gpu_blocks", (tokens / BLOCK).to_string()),
        ("num_gpu_blocks_override", "None".to_owned()),
        ("prefix_caching_hash_algo", "sha256".to_owned()),
    ];
    let labels: Vec<String> = facts.iter().map(|(name, value)| format!("{name}=\"{value}\"")).collect();
    let _ = writeln!(
        out,
        "# TYPE vllm:cache_config_info gauge\nvllm:cache_config_info{{{}}} 1.0",
        labels.join(",")
    );
}
