//! What vLLM prints when it starts, beside what the estimate says. The first group is from captured starts of 0.32 on
//! a processor; the others are lines of published start-up logs, of several versions.

mod common;

use common::{facts, gib, vllm};
use domain::Bytes;
use domain::estimate::{Request, concurrency, estimate, longest_context, smallest_pool};

/// As the log rounds it.
fn printed(concurrency: f64) -> String {
    format!("{concurrency:.2}x")
}

#[test]
fn a_captured_start_of_a_small_model() {
    let small = facts("smollm2-135m");
    // "KV cache size: 46,592 tokens, Maximum concurrency for 2,048 tokens per request: 22.75x", of 1 GiB.
    let at = |context| concurrency(&small, &vllm(context), gib(1.0)).unwrap();
    assert_eq!(printed(at(2048)), "22.75x");
    assert_eq!(printed(at(8192)), "5.69x");
    assert!((at(2048) * 2048.0 - 46_592.0).abs() < 0.5);
    // "200000 … 4.29 GiB KV cache is needed".
    let long = estimate(&small, &vllm(200_000)).unwrap();
    assert_eq!(format!("{:.2}", long.kv.0 as f64 / (1u64 << 30) as f64), "4.29");
    assert!(long.notes.iter().any(|n| n.contains("8192")), "beyond the model's limit: {:?}", long.notes);
    // "the estimated maximum model length is 46464": with blocks of 128 tokens on a processor, one of them set aside.
    let beyond = domain::estimate::ModelFacts { max_context: Some(200_000), ..small };
    let longest = longest_context(&beyond, &vllm(200_000), gib(1.0)).unwrap();
    assert!((46_464..46_592).contains(&longest), "{longest}");
    let needed = smallest_pool(&beyond, &vllm(longest)).unwrap();
    assert!(needed <= gib(1.0));
    assert!(smallest_pool(&beyond, &vllm(longest + 16)).unwrap() > gib(1.0));
}

#[test]
fn published_starts_of_hybrid_models() {
    // 6.67 GiB, an 8-bit cache, cached prefixes: "53,312 tokens", "32,768 tokens per request: 5.15x".
    let dense = facts("qwen3.5-27b");
    let request = Request { kv_dtype: Some("fp8_e4m3".to_owned()), prefix_caching: true, ..vllm(32_768) };
    let printed_is = |value: f64, wanted: f64| (value - wanted).abs() <= wanted * 0.01;
    assert!(printed_is(concurrency(&dense, &request, gib(6.67)).unwrap(), 5.15));
    // 5.95 GiB for a small one of 24 layers, prefixes not cached: "262,144 tokens per request: 1.97x".
    let small: Vec<u8> = String::from_utf8(common::text("qwen3.5-27b"))
        .unwrap()
        .replace("\"num_hidden_layers\": 64", "\"num_hidden_layers\": 24")
        .replace("\"num_key_value_heads\": 4", "\"num_key_value_heads\": 2")
        .replace("\"linear_num_value_heads\": 48", "\"linear_num_value_heads\": 16")
        .into_bytes();
    let small = models::config::read(&small).unwrap();
    assert!(printed_is(concurrency(&small, &vllm(262_144), gib(5.95)).unwrap(), 1.97));
    // Two devices halve the state and the heads: the same number of tokens in a block.
    let pair = Request { tensor_parallel: 2, ..vllm(32_768) };
    let half = estimate(&dense, &pair).unwrap();
    assert_eq!(half.per_device[0].state, Bytes(48 * 784 * 2048));
}

#[test]
fn groups_of_layers_are_padded_to_equal_sizes() {
    // 52 and 10 layers count as 70, 22 and 4 as 28.
    for (name, layers, counted) in [("gemma-3-27b", 62.0, 70.0), ("gemma-3-1b", 26.0, 28.0)] {
        let facts = facts(name);
        // Within the window every layer keeps every token.
        let context = 256;
        let pool = estimate(&facts, &vllm(context)).unwrap().kv.0 as f64;
        let per_layer = facts
            .layers
            .iter()
            .find_map(|run| match run.cache {
                domain::estimate::Cache::Full { heads } => Some(f64::from(heads.kv * heads.key * 4)),
                _ => None,
            })
            .unwrap();
        // Sliding groups take one block more than full ones.
        let sliding_groups = (counted - if name == "gemma-3-27b" { 10.0 } else { 4.0 }) / counted;
        let counted_layers = pool / per_layer / f64::from(context) / (1.0 + sliding_groups / 16.0);
        assert!((counted_layers - counted).abs() < 0.01, "{name}: {counted_layers} of {layers}");
    }
}
