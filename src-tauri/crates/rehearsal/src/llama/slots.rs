//! `/slots` and `/props`: who is at work, and what the server was started with.

use serde_json::{Value, json};

use crate::engine::Engine;

/// Sampling settings as both pages list them; `max_tokens` where a request set it.
pub(super) fn parameters(max_tokens: Option<u64>) -> Value {
    let limit = max_tokens.map_or_else(|| json!(-1), |n| json!(n));
    json!({
        "seed": u32::MAX, "temperature": 0.8, "dynatemp_range": 0.0, "dynatemp_exponent": 1.0, "top_k": 40,
        "top_p": 0.95, "min_p": 0.05, "top_n_sigma": -1.0, "xtc_probability": 0.0, "xtc_threshold": 0.1,
        "typical_p": 1.0, "repeat_last_n": 64, "repeat_penalty": 1.0, "presence_penalty": 0.0,
        "frequency_penalty": 0.0, "dry_multiplier": 0.0, "dry_base": 1.75, "dry_allowed_length": 2,
        "dry_penalty_last_n": 64, "mirostat": 0, "mirostat_tau": 5.0, "mirostat_eta": 0.1, "adaptive_target": -1.0,
        "adaptive_decay": 0.9, "max_tokens": limit, "n_predict": limit, "n_keep": 0, "n_discard": 0,
        "ignore_eos": false, "stream": max_tokens.is_some(), "n_probs": 0, "min_keep": 0,
        "chat_format": "Content-only", "reasoning_format": "none", "reasoning_in_content": false,
        "generation_prompt": "",
        "samplers": ["penalties", "dry", "top_n_sigma", "top_k", "typ_p", "top_p", "min_p", "xtc", "temperature"],
        "speculative.types": "none", "timings_per_token": false, "post_sampling_probs": false,
        "backend_sampling": false, "lora": [],
    })
}

pub(super) fn slots(engine: &Engine) -> Value {
    let slots = engine.slots();
    let all = slots.iter().enumerate().map(|(number, at_work)| {
        let mut slot = json!({
            "id": number, "n_ctx": engine.command.context, "speculative": false,
            "is_processing": at_work.is_some(),
        });
        if let Some(work) = at_work {
            slot["id_task"] = json!(work.task);
            slot["n_prompt_tokens"] = json!(work.prompt);
            slot["n_prompt_tokens_processed"] = json!(work.prompt);
            slot["n_prompt_tokens_cache"] = json!(0);
            slot["params"] = parameters(Some(work.max_tokens));
            slot["next_token"] = json!([{
                "has_next_token": true, "has_new_line": false,
                "n_remain": work.max_tokens.saturating_sub(work.generated), "n_decoded": work.generated,
            }]);
        }
        slot
    });
    Value::Array(all.collect())
}

pub(super) fn props(engine: &Engine) -> Value {
    json!({
        "default_generation_settings": {"params": parameters(None), "n_ctx": engine.command.context},
        "total_slots": engine.command.sequences, "model_alias": engine.command.name(), "model_ftype": "Q4_1",
        "model_path": engine.command.model, "modalities": {"vision": false, "video": false, "audio": false},
        "media_marker": "<__media__>", "endpoint_slots": true, "endpoint_props": true,
        "endpoint_metrics": engine.command.metrics, "ui": true, "ui_settings": {},
        "chat_template": "{% for message in messages %}{{ message['content'] }}{% endfor %}",
        "chat_template_caps": {
            "supports_object_arguments": false, "supports_parallel_tool_calls": false,
            "supports_preserve_reasoning": false, "supports_reasoning_effort": false,
            "supports_string_content": true, "supports_system_role": true, "supports_tool_calls": false,
            "supports_tools": false, "supports_typed_content": false,
        },
        "bos_token": "<|im_start|>", "eos_token": "<|im_end|>", "build_info": super::FINGERPRINT,
        "is_sleeping": false, "cors_proxy_enabled": false,
    })
}
