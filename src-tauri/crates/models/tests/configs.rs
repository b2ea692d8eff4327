//! Configurations of real models, written by hand from what is public of them, and what the estimate makes of them.

mod common;

use common::{facts, gib, mib, names, vllm};
use domain::Bytes;
use domain::estimate::{Cache, Experts, Request, Sureness, Weights, active_weights, estimate};
use domain::stack::BackendKind;

/// Within `percent` of `true_value`.
fn near(value: f64, true_value: f64, percent: f64) -> bool {
    (value - true_value).abs() <= true_value * percent / 100.0
}

/// What is known of each: weights in 10^9 bytes (sums of the repositories' files), KiB of KV cache per token, GiB of
/// one sequence of 32,768 tokens where the model has only full attention, and its own limit.
#[test]
fn the_table_of_true_values_comes_out() {
    let table = [
        ("qwen2.5-3b", 6.17, 36.0, Some(1.125), 32_768),
        ("qwen2.5-3b-awq", 2.1, 36.0, Some(1.125), 32_768),
        ("qwen2.5-7b", 15.23, 56.0, Some(1.75), 32_768),
        ("qwen2.5-7b-awq", 5.57, 56.0, Some(1.75), 32_768),
        ("qwen2.5-14b", 29.5, 192.0, Some(6.0), 32_768),
        ("qwen2.5-14b-awq", 9.98, 192.0, Some(6.0), 32_768),
        ("qwen3-coder-30b-a3b", 61.06, 96.0, Some(3.0), 262_144),
        ("qwen3-coder-30b-a3b-awq", 16.8, 96.0, Some(3.0), 262_144),
        ("llama-3.3-70b", 141.1, 320.0, Some(10.0), 131_072),
        ("llama-3.3-70b-awq", 39.8, 320.0, Some(10.0), 131_072),
        ("qwq-32b", 65.5, 256.0, Some(8.0), 131_072),
        ("qwen3-next-80b-a3b", 160.0, 24.0, None, 262_144),
        ("gpt-oss-120b", 65.0, 36.0, None, 131_072),
        // Beside the table: families whose shapes differ.
        ("gpt-oss-20b", 13.76, 24.0, None, 131_072),
        ("qwen3-coder-30b-a3b-fp8", 31.2, 96.0, Some(3.0), 262_144),
        ("deepseek-v2-lite", 31.41, 30.375, None, 163_840),
        ("mixtral-8x7b", 93.4, 128.0, Some(4.0), 32_768),
        ("gemma-3-27b", 54.86, 80.0, None, 131_072),
        ("gemma-3-4b", 8.6, 20.0, None, 131_072),
        ("gemma-3-1b", 2.0, 4.0, None, 32_768),
        ("llama-4-scout", 217.3, 48.0, None, 10_485_760),
        ("qwen3.5-27b", 54.7, 64.0, None, 262_144),
        ("kimi-linear-48b-a3b", 98.2, 7.875, None, 1_048_576),
        ("jamba-mini", 103.1, 16.0, None, 262_144),
        ("granite-4.0-h-small", 64.4, 16.0, None, 131_072),
        ("minimax-text-01", 912.0, 40.0, None, 10_240_000),
        ("lfm2-1.2b", 2.34, 12.0, None, 128_000),
        ("falcon-h1-7b", 15.2, 44.0, None, 262_144),
        ("nemotron-h-8b", 16.2, 16.0, None, 8192),
        ("qwen2.5-vl-7b", 16.58, 56.0, Some(1.75), 128_000),
        ("gemma-3n-e4b", 15.7, 8.0, None, 32_768),
        ("glm-4.5-air", 213.7, 184.0, Some(5.75), 131_072),
        ("deepseek-v3", 675.0, 68.625, None, 163_840),
        ("qwen1.5-7b-gptq-int4", 5.86, 512.0, Some(16.0), 32_768),
        ("llama-3.1-8b-bnb-4bit", 5.70, 128.0, Some(4.0), 131_072),
        ("llama-3.1-8b-nvfp4", 6.03, 128.0, Some(4.0), 131_072),
        ("smollm2-135m", 0.269, 22.5, None, 8192),
        ("qwen3-8b", 16.38, 144.0, Some(4.5), 40_960),
        ("qwen3.5-35b-a3b", 70.2, 20.0, None, 262_144),
        ("mistral-small-3.2-24b", 48.02, 160.0, Some(5.0), 131_072),
        ("phi-4", 29.32, 200.0, None, 16_384),
        ("command-a", 222.1, 64.0, None, 131_072),
        ("exaone-4-32b", 64.0, 64.0, None, 131_072),
        ("minimax-m2", 230.0, 248.0, Some(7.75), 196_608),
        ("glm-4.7-flash", 60.0, 52.875, None, 202_752),
        ("nemotron-3-nano-30b-a3b", 63.2, 6.0, None, 262_144),
        ("gemma-4-31b", 62.5, 80.0, None, 262_144),
        ("ministral-8b", 16.04, 144.0, None, 32_768),
        ("qwen3-vl-8b", 17.53, 144.0, Some(4.5), 262_144),
    ];
    for (name, weights, per_token, of_32k, limit) in table {
        let facts = facts(name);
        assert_eq!(facts.max_context, Some(limit), "{name}");
        assert!(!facts.bounded && facts.notes.is_empty(), "{name}: {:?}", facts.notes);
        let context = if name == "phi-4" { 16_384 } else { 32_768 };
        let estimate = estimate(&facts, &vllm(context)).unwrap();
        let have = estimate.weights.0 as f64 / 1e9;
        assert!(near(have, weights, 3.0), "{name}: {have:.2} GB of weights, not {weights}");
        assert_eq!(estimate.certainty.weights, Sureness::Computed, "{name}");
        assert_eq!(estimate.certainty.kv, Sureness::Exact, "{name}");
        assert!((estimate.kv_bytes_per_token as f64 - per_token * 1024.0).abs() < 0.5, "{name}");
        if let Some(of_32k) = of_32k {
            assert_eq!(estimate.kv, gib(of_32k), "{name}");
            assert_eq!(estimate.state, Bytes::ZERO, "{name}");
        }
        assert_eq!(estimate.total, estimate.weights + estimate.kv + estimate.state + estimate.overhead);
    }
}

#[test]
fn states_are_as_large_as_their_shapes_and_padded_to_a_page() {
    // Qwen3-Next: 37.7 MiB in 16 bits, in pages of 544 tokens.
    let next = facts("qwen3-next-80b-a3b");
    let one = estimate(&next, &vllm(32_768)).unwrap();
    assert_eq!(one.state, Bytes(36 * 544 * 2048));
    assert!(near(one.state.0 as f64, mib(37.7).0 as f64, 5.0));
    assert!(near(one.kv.0 as f64, gib(0.75).0 as f64, 5.0));
    let cached = estimate(&next, &Request { prefix_caching: true, ..vllm(32_768) }).unwrap();
    assert_eq!(cached.state.0, 2 * one.state.0, "two copies where prefixes are cached");
    // Qwen3.5: the recurrent state in 32 bits makes blocks of 784 tokens, of 1568 with an 8-bit cache.
    let dense = facts("qwen3.5-27b");
    assert_eq!(estimate(&dense, &vllm(32_768)).unwrap().state, Bytes(48 * 784 * 4096));
    let eight = Request { kv_dtype: Some("fp8".to_owned()), ..vllm(32_768) };
    assert_eq!(estimate(&dense, &eight).unwrap().state, Bytes(48 * 1568 * 2048));
    // What is exact in size: conv 2 x 16 x 128 + 48 x 128, three times; recurrent 48 x 128 x 128.
    let state = dense.layers.iter().find_map(|run| match run.cache {
        Cache::State(state) => Some((run.count, state)),
        _ => None,
    });
    let (count, state) = state.unwrap();
    assert_eq!((count, state.conv, state.recurrent, state.recurrent_bytes), (48, 30_720, 786_432, 4));
}

#[test]
fn kinds_of_layers_are_told_apart() {
    let counts = |name: &str| -> Vec<(u64, &'static str)> {
        facts(name)
            .layers
            .iter()
            .map(|run| {
                let kind = match run.cache {
                    Cache::Full { .. } => "full",
                    Cache::Sliding { .. } => "sliding",
                    Cache::Chunked { .. } => "chunked",
                    Cache::Latent { .. } => "latent",
                    Cache::Fixed { .. } => "fixed",
                    Cache::Cross { .. } => "cross",
                    Cache::State(_) => "state",
                };
                (run.count, kind)
            })
            .collect()
    };
    for (name, wanted) in [
        ("gemma-3-27b", vec![(52, "sliding"), (10, "full")]),
        ("gemma-3-1b", vec![(22, "sliding"), (4, "full")]),
        ("gemma-2-9b", vec![(21, "sliding"), (21, "full")]),
        // 35 layers, of which the last 15 read the caches of others.
        ("gemma-3n-e4b", vec![(16, "sliding"), (4, "full")]),
        ("gpt-oss-120b", vec![(18, "sliding"), (18, "full")]),
        ("llama-4-scout", vec![(36, "chunked"), (12, "full")]),
        ("mistral-7b-v0.1", vec![(32, "sliding")]),
        ("qwen3-next-80b-a3b", vec![(36, "state"), (12, "full")]),
        ("kimi-linear-48b-a3b", vec![(20, "state"), (7, "latent")]),
        ("jamba-mini", vec![(28, "state"), (4, "full")]),
        ("granite-4.0-h-small", vec![(36, "state"), (4, "full")]),
        ("minimax-text-01", vec![(70, "state"), (10, "full")]),
        ("nemotron-h-8b", vec![(24, "state"), (4, "full")]),
        ("falcon-h1-7b", vec![(44, "full"), (44, "state")]),
        ("lfm2-1.2b", vec![(10, "state"), (6, "full")]),
        ("deepseek-v3", vec![(61, "latent")]),
        ("deepseek-v3.2", vec![(61, "latent"), (61, "fixed")]),
    ] {
        let mut have = counts(name);
        let mut wanted = wanted;
        have.sort_unstable();
        wanted.sort_unstable();
        assert_eq!(have, wanted, "{name}");
    }
}

#[test]
fn encoders_keep_nothing_and_pairs_are_a_bound() {
    let encoder = facts("bge-large");
    assert!(encoder.layers.is_empty() && encoder.notes[0].contains("keeps no cache"), "{:?}", encoder.notes);
    let pair = facts("whisper-large-v3");
    assert!(pair.bounded && !pair.notes.is_empty());
    let estimate = estimate(&pair, &vllm(448)).unwrap();
    assert!(near(estimate.weights.0 as f64 / 1e9, 3.09, 3.0), "{:?}", estimate.weights);
    assert_eq!(estimate.certainty.kv, Sureness::Bound);
    // 28 blocks of its own tokens and 94 of what it heard, in 32 layers of each kind.
    assert_eq!(estimate.kv, Bytes((28 + 94) * 16 * 32 * 20 * 64 * 4));
}

#[test]
fn only_active_experts_are_read_for_a_token() {
    for (name, active) in
        [("qwen3-coder-30b-a3b", 6.08), ("mixtral-8x7b", 25.5), ("qwen2.5-7b", 14.14), ("gpt-oss-120b", 5.0)]
    {
        let facts = facts(name);
        let bytes = active_weights(&facts, &vllm(4096)).unwrap().0 as f64 / 1e9;
        assert!(near(bytes, active, 3.0), "{name}: {bytes:.2} GB");
    }
    assert_eq!(facts("mixtral-8x7b").experts, Some(Experts { total: 8, active: 2 }));
    assert_eq!(facts("qwen2.5-7b").experts, None);
}

#[test]
fn shared_by_four_devices() {
    // Two KV heads on four devices: each has one of them. The recurrent states are divided.
    let next = facts("qwen3-next-80b-a3b");
    let shared = estimate(&next, &Request { tensor_parallel: 4, ..vllm(32_768) }).unwrap();
    assert_eq!(shared.per_device.len(), 4);
    let one = shared.per_device[0];
    assert_eq!(one.kv_bytes_per_token, 12 * 1024, "half of 24 KiB, not a quarter");
    assert_eq!(shared.kv_bytes_per_token, 4 * 12 * 1024);
    let whole = estimate(&next, &vllm(32_768)).unwrap();
    assert!(one.weights.0 * 4 >= whole.weights.0, "norms and routers are on every device");
    assert!(near(one.weights.0 as f64 * 4.0, whole.weights.0 as f64, 3.0));
    // A latent is whole on each device.
    let latent = facts("deepseek-v3");
    let shared = estimate(&latent, &Request { tensor_parallel: 8, ..vllm(32_768) }).unwrap();
    let alone = estimate(&latent, &vllm(32_768)).unwrap();
    assert_eq!(shared.per_device[7].kv_bytes_per_token, alone.kv_bytes_per_token);
    assert_eq!(shared.per_device[7].kv, alone.kv);
    // Eight heads on four devices are divided evenly.
    let plain = facts("llama-3.3-70b");
    let shared = estimate(&plain, &Request { tensor_parallel: 4, ..vllm(32_768) }).unwrap();
    assert_eq!(shared.per_device[2].kv_bytes_per_token, 80 * 1024);
    assert_eq!(shared.kv, gib(10.0));
}

#[test]
fn every_configuration_is_read_without_a_surprise() {
    let names = names();
    assert!(names.len() >= 42, "{}", names.len());
    for name in names {
        let facts = facts(&name);
        assert!(!facts.architecture.is_empty() && facts.hidden > 0, "{name}");
        assert!(matches!(facts.weights, Weights::Computed(_)), "{name}");
        for backend in [BackendKind::Vllm, BackendKind::LlamaCpp] {
            let request = Request { backend, ..vllm(256) };
            let estimate = estimate(&facts, &request).unwrap();
            assert_eq!(estimate.kv + estimate.state > Bytes::ZERO, name != "bge-large", "{name}");
        }
    }
}
