//! Which failures are of memory, and what change of the agent is suggested for each.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "what fails here fails the test")]

mod common;

use common::in_a_log;
use engine::backend::failure::{Explanation, explain, explain_ended_for, explain_for};
use proptest::prelude::*;
use serde_json::json;

const GIB: u64 = 1 << 30;

/// A text, and then of it: whether memory was short, the suggested key and its value.
#[test]
fn failures_of_memory_are_told_apart_and_a_change_is_suggested() {
    let kv_too_small = |model: &str| {
        format!(
            "ValueError: To serve at least one request with the {model} max seq len (32768), (10.00 GiB KV cache is \
             needed, which is larger than the available KV cache memory (3.50 GiB). Based on the available memory, \
             the estimated maximum model length is 11456. Try increasing"
        )
    };
    let free = "ValueError: Free memory on device cuda:0 (20.00/124.00 GiB) on startup is less than desired GPU memory \
                utilization (0.2, 23.00 GiB).";
    for (text, memory, change) in [
        (kv_too_small("models's"), false, Some(("context", json!(11_456)))),
        (kv_too_small("model's"), false, Some(("context", json!(11_456)))),
        (free.to_owned(), true, Some(("kv_cache", json!("5 GB")))),
        (
            "Free memory on device is less than desired GPU memory utilization".to_owned(),
            true,
            Some(("kv_cache", json!("6 GB"))),
        ),
        (
            "ValueError: No available memory for the cache blocks. Try increasing".to_owned(),
            true,
            Some(("kv_cache", json!("16 GB"))),
        ),
        ("ValueError: Cannot auto-fit max_model_len: not".to_owned(), false, Some(("kv_cache", json!("16 GB")))),
        (
            "User-specified max_model_len (100000) is greater than the derived max_model_len \
             (max_position_embeddings=8192.0 or model_max_length=None in model's config.json)"
                .to_owned(),
            false,
            Some(("context", json!(8192))),
        ),
        (
            "ValueError: torch.bfloat16 is not supported for quantization method awq. Supported dtypes: [torch.float16]"
                .to_owned(),
            false,
            Some(("dtype", json!("float16"))),
        ),
        (
            "torch.float16 is not supported for quantization method x. Supported dtypes: [torch.bfloat16]".to_owned(),
            false,
            Some(("dtype", json!("bfloat16"))),
        ),
        (
            "torch.OutOfMemoryError: HIP out of memory. Tried to allocate 1.02 GiB.".to_owned(),
            true,
            Some(("kv_cache", json!("6 GB"))),
        ),
        ("torch.cuda.OutOfMemoryError: CUDA out of memory.".to_owned(), true, Some(("kv_cache", json!("6 GB")))),
        ("RuntimeError: HIP error: out of memory".to_owned(), true, Some(("kv_cache", json!("6 GB")))),
        (
            "E ggml_backend_cuda_buffer_type_alloc_buffer: allocating 4096.00 MiB on device 0: cudaMalloc failed: out \
             of memory\nE alloc_tensor_range: failed to allocate CUDA0 buffer of size 4294967296\nE llama_model_load: \
             error loading model: unable to allocate CUDA0 buffer"
                .to_owned(),
            true,
            Some(("context", json!(16_384))),
        ),
        (
            "ggml_vulkan: Device memory allocation of size 1073741824 failed.\nggml_vulkan: \
             vk::Device::allocateMemory: ErrorOutOfDeviceMemory"
                .to_owned(),
            true,
            Some(("context", json!(16_384))),
        ),
        (
            "llama_init_from_model: failed to initialize the context: failed to allocate compute pp buffers".to_owned(),
            true,
            Some(("context", json!(16_384))),
        ),
        ("AssertionError: Error in memory profiling. Initial free".to_owned(), false, None),
        ("RuntimeError: torch._scaled_mm is only supported".to_owned(), false, None),
        ("Memory access fault by GPU node-1 (Agent handle: 0x5)".to_owned(), false, None),
        ("OSError: [Errno 98] Address already in use".to_owned(), false, None),
        ("ZeroDivisionError: division by zero".to_owned(), false, None),
    ] {
        let explanation = explain_for(&in_a_log(&text), Some(1), Some(32_768), Some(8 * GIB));
        assert_eq!(explanation.of_memory, memory, "{text}: {explanation:?}");
        let suggested = explanation.suggestion.as_ref().map(|s| (s.key.as_str(), s.value.clone()));
        assert_eq!(suggested, change, "{text}: {explanation:?}");
        assert!(explanation.suggestion.is_none_or(|s| s.words.ends_with('.')), "{text}");
    }
}

#[test]
fn sizes_of_what_was_refused_are_said() {
    for (text, says) in [
        (
            "allocating 4096.00 MiB on device 0: cudaMalloc failed: out of memory\nfailed to allocate CUDA0 buffer of \
             size 1\nunable to allocate CUDA0 buffer",
            "4.0 GB",
        ),
        ("ggml_gallocr_reserve_n: failed to allocate Vulkan0 buffer of size 536870912", "512 MB"),
        (
            "ggml_vulkan: Device memory allocation of size 3221225472 failed.\nErrorOutOfDeviceMemory",
            "3.0 GB",
        ),
        ("failed to allocate compute buffers", "what it needs"),
    ] {
        let log: Vec<String> = text.lines().map(|line| format!("E x: {line}")).collect();
        let explanation = explain(&log, Some(1));
        assert_eq!(explanation.id, "out-of-memory", "{text}");
        assert!(explanation.message.contains(says), "{text}: {explanation:?}");
    }
    // Without pinned memory it goes on more slowly: no failure.
    let log = [
        "0.1.2.3 E srv x: the real cause",
        "ggml_cuda_host_malloc: failed to allocate 512.00 MiB of pinned memory: out of memory",
    ];
    assert_ne!(explain(&log.map(str::to_owned), Some(1)).id, "out-of-memory");
}

#[test]
fn a_suggestion_needs_something_to_change() {
    let killed = |context, kv_cache| explain_for(&[], Some(137), context, kv_cache);
    let change = |explanation: Explanation| explanation.suggestion.map(|s| (s.key, s.value));
    let is = |key: &str, value: serde_json::Value| Some((key.to_owned(), value));
    assert!(killed(None, None).of_memory);
    assert_eq!(change(killed(None, None)), None);
    assert_eq!(change(killed(Some(40_000), None)), is("context", json!(19_456)));
    assert_eq!(change(killed(Some(1500), None)), None, "nothing shorter is of use");
    assert_eq!(change(killed(Some(40_000), Some(GIB))), is("kv_cache", json!("768 MB")));
    assert_eq!(change(killed(Some(40_000), Some(10 * GIB))), is("kv_cache", json!("7.5 GB")));
    assert_eq!(change(killed(Some(40_000), Some(1))), None);
    assert_eq!(change(killed(Some(0), Some(0))), None);
    assert!(change(killed(Some(u32::MAX), Some(u64::MAX))).is_some());
    let llama = ["0.0.0.1 I srv llama_server: initializing ...".to_owned()];
    let ended = explain_ended_for(&llama, Some(1), true, Some(8192), Some(GIB));
    assert!(ended.of_memory);
    assert_eq!(change(ended), is("context", json!(4096)));
    // Shorter already than what the text would have.
    let log = ["the estimated maximum model length is 11456. To serve at least one request with the model"
        .to_owned()];
    assert_eq!(change(explain_for(&log, Some(1), Some(8192), None)), None);
    // The engine's own readers of the text alone say what the text says.
    assert_eq!(change(explain(&log, Some(1))), is("context", json!(11_456)));
    let free = "Free memory on device (1.0/16.0 GiB) on startup is less than desired GPU memory utilization (0.9, \
                14.0 GiB)";
    let log = [free.to_owned()];
    assert_eq!(change(explain_for(&log, Some(1), Some(8192), Some(4 * GIB))), is("kv_cache", json!("3 GB")));
    assert_eq!(change(explain_for(&log, Some(1), Some(8192), None)), None);
    assert!(!explain(&[], Some(139)).of_memory);
}

proptest! {
    #[test]
    fn no_text_breaks_the_explanations(
        lines in prop::collection::vec(".{0,80}", 0..6), exit in any::<Option<i64>>(), oom in any::<bool>(),
        context in any::<Option<u32>>(), kv_cache in any::<Option<u64>>(),
    ) {
        let explanation = explain_ended_for(&lines, exit, oom, context, kv_cache);
        prop_assert!(!explanation.message.is_empty() && !explanation.next.is_empty());
    }

    #[test]
    fn no_failure_with_any_figure_breaks_the_suggestions(
        rule in prop::sample::select(vec![
            "estimated maximum model length is # To serve at least one request with the model",
            "is greater than the derived max_model_len (max_position_embeddings=#",
            "Free memory on device (#/# GiB) is less than desired GPU memory utilization (#, # GiB)",
            "No available memory for the cache blocks", "Cannot auto-fit max_model_len", "HIP out of memory",
            "ggml_ failed to allocate buffer of size #", "Supported dtypes: [#] is not supported for quantization method",
        ]),
        figure in r"[0-9.,-]{0,30}|[0-9]{300,400}", context in any::<Option<u32>>(), kv_cache in any::<Option<u64>>(),
    ) {
        let explanation = explain_for(&[rule.replace('#', &figure)], Some(1), context, kv_cache);
        if let Some(suggestion) = explanation.suggestion {
            prop_assert!(!suggestion.words.contains("inf") && !suggestion.words.contains("NaN"));
            if suggestion.key == "context" {
                let tokens = suggestion.value.as_u64().unwrap_or_default();
                prop_assert!(tokens > 0 && context.is_none_or(|now| tokens < u64::from(now)));
            }
        }
    }
}
