//! Logs of real servers, recorded: what is read from them, and why the failed ones failed.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "what fails here fails the test")]

use std::fs;
use std::path::Path;

use domain::Stage;
use domain::stack::BackendKind;
use engine::backend::failure::{Explanation, explain, explain_ended, explain_ended_for, explain_for};
use engine::backend::{BufferKind, LogFact, OwnNumbers, backend};
use proptest::prelude::*;
use serde_json::json;

fn lines(name: &str) -> Vec<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/captures").join(name);
    fs::read_to_string(&path)
        .unwrap_or_else(|e| panic!("{}: {e}", path.display()))
        .lines()
        .map(str::to_owned)
        .collect()
}

fn facts(kind: BackendKind, name: &str) -> Vec<LogFact> {
    let backend = backend(kind).expect("a backend");
    lines(name).iter().filter_map(|line| backend.read_line(line)).collect()
}

fn stages(facts: &[LogFact]) -> Vec<Stage> {
    let mut stages: Vec<Stage> = facts.iter().filter_map(LogFact::stage).collect();
    stages.dedup();
    stages
}

#[test]
fn a_real_start_of_vllm_goes_through_its_stages_in_order() {
    for name in [
        "vllm-start-from-hub-compile-then-worker-killed.txt",
        "vllm-start-serve-stop-eager.txt",
        "vllm-start-serve-then-sigterm.txt",
    ] {
        let facts = facts(BackendKind::Vllm, name);
        assert_eq!(
            stages(&facts),
            [Stage::Container, Stage::Weights, Stage::KvCache, Stage::WarmUp],
            "{name}: {facts:?}"
        );
        let shards: Vec<f64> = facts
            .iter()
            .filter_map(|f| if let LogFact::StageProgress(Stage::Weights, p) = f { Some(*p) } else { None })
            .collect();
        assert!(
            shards.is_sorted() && shards.first() == Some(&0.0) && shards.last() == Some(&1.0),
            "{shards:?}"
        );
        assert!(facts.contains(&LogFact::KvTokens(46_592)), "{name}");
        assert!(facts.contains(&LogFact::KvBytes(1 << 30)), "{name}");
        assert_eq!(facts.iter().filter(|f| **f == LogFact::Listening).count(), 1, "{name}");
    }
}

#[test]
fn a_real_start_of_llama_cpp_is_read() {
    let facts = facts(BackendKind::LlamaCpp, "llama-start.txt");
    assert_eq!(
        facts,
        [
            LogFact::Stage(Stage::Weights),
            LogFact::KvTokens(4096),
            LogFact::Stage(Stage::WarmUp),
            LogFact::Listening
        ]
    );
}

fn of(name: &str, exit: i64) -> Explanation {
    explain(&lines(name), Some(exit))
}

#[test]
fn recorded_failures_are_told_in_plain_words() {
    for (name, exit, id, says) in [
        ("vllm-fail-bad-arg.txt", 2, "bad-args", "--no-such-flag"),
        ("vllm-fail-gated-401.txt", 1, "gated", "licence"),
        ("vllm-fail-hub-id-offline.txt", 1, "not-cached", "not in the Hugging Face cache"),
        ("vllm-fail-hub-repo-missing.txt", 1, "not-allowed", "(401)"),
        (
            "vllm-fail-kv-cache-too-small.txt",
            1,
            "kv-too-small",
            "4.3 GB of KV cache, and the agent has 1.0 GB",
        ),
        (
            "vllm-fail-max-model-len-too-large.txt",
            1,
            "context-too-long",
            "100000 tokens is longer than the 8192",
        ),
        ("vllm-fail-missing-path.txt", 1, "bad-model", "\"/models/none\""),
        ("vllm-fail-port-in-use.txt", 1, "port-in-use", "port is taken"),
        ("vllm-fail-truncated-safetensors.txt", 1, "truncated", "cut short"),
        ("llama-fail-bad-arg.txt", 1, "bad-args", "--no-such-flag"),
        ("llama-fail-missing-file.txt", 1, "missing-file", "/models/none.gguf"),
        ("llama-fail-not-gguf.txt", 1, "not-gguf", "not a GGUF file"),
        ("llama-fail-oom-ctx.txt", 1, "out-of-memory", "171.7 GB"),
        ("llama-fail-port-in-use.txt", 1, "port-in-use", "port is taken"),
        ("llama-fail-truncated-gguf.txt", 1, "truncated", "cut short"),
    ] {
        let explanation = of(name, exit);
        assert_eq!(explanation.id, id, "{name}: {explanation:?}");
        assert!(explanation.message.contains(says), "{name}: {explanation:?}");
        assert!(
            explanation.message.ends_with('.') && explanation.next.ends_with('.'),
            "{name}: {explanation:?}"
        );
    }
    assert!(of("vllm-fail-kv-cache-too-small.txt", 1).next.contains("context = 46464"));
    assert!(of("vllm-fail-max-model-len-too-large.txt", 1).next.contains("context = 8192"));
    assert!(of("vllm-fail-gated-401.txt", 1).next.contains("https://huggingface.co/acme/gated,"));
}

/// What vLLM says, wrapped in the consequences that a real log has after it.
fn in_a_log(text: &str) -> Vec<String> {
    let mut log = vec![
        "(APIServer pid=1) INFO 11-21 02:30:37 [api_utils.py:347]  ▄▄ ▄█ █ version 0.32.0".to_owned(),
        "(EngineCore pid=2) ERROR 11-21 02:36:26 [core.py:1510] EngineCore failed to start.".to_owned(),
        "(EngineCore pid=2) ERROR 11-21 02:36:26 [core.py:1510] Traceback (most recent call last):"
            .to_owned(),
    ];
    log.extend(text.lines().map(|l| format!("(EngineCore pid=2) ERROR 11-21 02:36:26 [core.py:1510] {l}")));
    log.extend(
        [
            "Process EngineCore:",
            "Traceback (most recent call last):",
            "    wait_for_engine_startup(",
            "RuntimeError: Engine core initialization failed. See root cause above. Failed core proc(s): {}",
        ]
        .map(str::to_owned),
    );
    log
}

#[test]
fn every_known_text_has_its_words() {
    for (text, id, says) in [
        (
            "ValueError: Free memory on device cuda:0 (20.10/124.00 GiB) on startup is less than desired GPU memory \
             utilization (0.48, 59.52 GiB). Decrease GPU memory utilization or reduce GPU memory used by other processes.",
            "free-memory",
            "59.5 GB of GPU memory to be free, and 20.1 of 124.0 GB are",
        ),
        (
            "ValueError: Free memory on device (20.10/124.00 GiB) on startup is less than desired GPU memory \
             utilization (0.48, 59.52 GiB).",
            "free-memory",
            "59.5 GB",
        ),
        ("ValueError: No available memory for the cache blocks. Try increasing", "no-kv-memory", "KV cache"),
        (
            "ValueError: To serve at least one request with the models's max seq len (32768), (10.00 GiB KV cache is \
             needed, which is larger than the available KV cache memory (3.50 GiB). Based on the available memory, the \
             estimated maximum model length is 11456. Try increasing",
            "kv-too-small",
            "10.0 GB of KV cache, and the agent has 3.5 GB",
        ),
        ("ValueError: Cannot auto-fit max_model_len: not enough", "auto-fit", "shortest context"),
        (
            "AssertionError: Error in memory profiling. Initial free memory 60.12 GiB",
            "profiling",
            "measuring",
        ),
        (
            "Value error, modelopt quantization is currently not supported in rocm.",
            "quantization",
            "modelopt",
        ),
        (
            "ValueError: torch.bfloat16 is not supported for quantization method awq. Supported dtypes: [torch.float16]",
            "dtype",
            "number format",
        ),
        ("RuntimeError: torch._scaled_mm is only supported on CUDA devices", "fp8", "FP8"),
        ("Memory access fault by GPU node-1 (Agent handle: 0x55d3c0a5f2a0)", "memory-fault", "GPU kernel"),
        (
            "torch.OutOfMemoryError: HIP out of memory. Tried to allocate 1.02 GiB. GPU 0 has a total capacity",
            "out-of-memory",
            "1.02 GB more",
        ),
        ("huggingface_hub.errors.GatedRepoError: 401 Client Error.", "gated", "gated"),
        (
            "OSError: You are trying to access a gated repo.\nMake sure to have access to it.\n401 Client Error.",
            "gated",
            "gated",
        ),
        ("huggingface_hub.errors.HfHubHTTPError: 403 Client Error.", "not-allowed", "(403)"),
        ("ValueError: Invalid repository ID or local directory specified: 'x/y'.", "bad-model", "\"x/y\""),
        ("RuntimeError: Cannot find any model weights with `x/y`", "no-weights", "x/y"),
        (
            "LocalEntryNotFoundError: Cannot find an appropriate cached snapshot folder for",
            "not-cached",
            "cache",
        ),
        (
            "TypeError: Error: --enable-auto-tool-choice requires --tool-call-parser",
            "tool-parser",
            "no parser",
        ),
        ("KeyError: \"invalid tool call parser: nope (chose from { hermes })\"", "tool-parser", "nope"),
        (
            "vllm: error: unrecognized arguments: --swap-space 4",
            "bad-args",
            "Version 0.32.0 of the server does not know --swap-space 4",
        ),
        ("OSError: [Errno 98] Address already in use", "port-in-use", "taken"),
    ] {
        let explanation = explain(&in_a_log(text), Some(1));
        assert_eq!(explanation.id, id, "{text}: {explanation:?}");
        assert!(explanation.message.contains(says), "{text}: {explanation:?}");
        assert!(explanation.next.ends_with('.'), "{explanation:?}");
    }
}

#[test]
fn general_words_are_never_the_cause() {
    let explanation = explain(&in_a_log("ZeroDivisionError: integer division or modulo by zero"), Some(1));
    assert_eq!(explanation.id, "unknown");
    assert!(explanation.message.contains("ZeroDivisionError: integer division"), "{explanation:?}");
    let explanation = explain(&in_a_log(""), Some(1));
    assert!(!explanation.message.contains("Engine core initialization failed"), "{explanation:?}");
}

#[test]
fn an_end_without_words_is_told_by_its_code() {
    let log = vec!["0.00.003.713 I srv    load_model: loading model 'x.gguf'".to_owned()];
    assert_eq!(explain(&log, Some(137)).id, "killed");
    assert_eq!(explain_ended(&log, Some(1), true).id, "killed");
    assert_eq!(explain(&log, Some(139)).id, "crashed");
    assert!(explain(&log, Some(3)).message.contains("loading model 'x.gguf'"));
    assert_eq!(explain(&[], None).id, "silent");
    let log = vec!["[FATAL tini (7)] exec vllm failed: No such file or directory".to_owned()];
    assert_eq!(explain(&log, Some(127)).message, "The image has no program vllm.");
}

fn said(kind: BackendKind, line: &str) -> Vec<LogFact> {
    backend(kind).expect("a backend").facts(line)
}

const GIB: u64 = 1 << 30;
const MIB: u64 = 1 << 20;

#[test]
fn everything_that_vllm_says_of_memory_is_read() {
    use LogFact::{Concurrency, ContextChosen, Device, GraphsTook, KvBytes, KvTokens, WeightsLoaded};
    let loaded = |worker| WeightsLoaded { bytes: 9_932_111_872, seconds: 12.5, worker };
    let times = |tokens_per_request, times| Concurrency { tokens_per_request, times };
    let work = |bytes| LogFact::Buffer { kind: BufferKind::Compute, device: true, bytes };
    for (line, facts) in [
        ("Model loading took 9.25 GiB and 12.5 seconds", vec![loaded(None)]),
        (
            "(Worker_TP1 pid=77) INFO 11-21 02:31:47 [gpu_model_runner.py:1] Model loading took 9.25 GiB memory and \
             12.500000 seconds",
            vec![loaded(Some(77))],
        ),
        (
            "(EngineCore_DP0 pid=5) INFO x] Loading weights took 4.50 seconds",
            vec![LogFact::Stage(Stage::KvCache)],
        ),
        ("Available KV cache memory: 12.00 GiB", vec![KvBytes(12 * GIB)]),
        // What is below zero is no cache.
        ("Available KV cache memory: -3.20 GiB", vec![]),
        (
            "Initial free memory 90.1 GiB, reserved 12.00 GiB memory for KV Cache as specified by \
             kv_cache_memory_bytes config and skipped memory profiling",
            vec![KvBytes(12 * GIB)],
        ),
        ("GPU KV cache size: 1,065,536 tokens", vec![KvTokens(1_065_536)]),
        ("Maximum concurrency for 32,768 tokens per request: 2.00x", vec![times(32_768, 2.0)]),
        (
            "(EngineCore pid=1) INFO 1] XPU KV cache size: 46,592 tokens, Maximum concurrency for 2,048 tokens per \
             request: 1,022.75x",
            vec![KvTokens(46_592), times(2_048, 1_022.75)],
        ),
        (
            "Graph capturing finished in 150 secs, took 0.50 GiB",
            vec![LogFact::Stage(Stage::WarmUp), GraphsTook { bytes: GIB / 2, seconds: 150.0 }],
        ),
        ("Using max model len 131072", vec![ContextChosen(131_072)]),
        (
            "Auto-fit max_model_len: reduced from 262144 to 172,032 to fit in available GPU memory (3.01 GiB available \
             for KV cache)",
            vec![ContextChosen(172_032)],
        ),
        (
            "Auto-fit max_model_len: full model context length 1048576 fits in available GPU memory",
            vec![ContextChosen(1_048_576)],
        ),
        (
            "DEBUG 1] Free memory on device (47.0/48.0 GiB) on startup. Desired GPU memory utilization is (0.9, 42.64 \
             GiB). Actual usage is 15.27 GiB for weight, 1.5 GiB for peak activation, 0.03 GiB for non-torch memory, \
             and 0.54 GiB for CUDAGraph memory. Replace gpu_memory_utilization config with \
             `--kv-cache-memory=22976439705` (21.4 GiB) to fit into requested memory.",
            vec![Device { free: 47 * GIB, total: 48 * GIB }, work(3 * GIB / 2)],
        ),
        (
            "Free memory on device (137.5/139.5 GiB) on startup. Desired GPU memory utilization is (0.9, 125.82 GiB). \
             Actual usage is 39.98 GiB for consumed memory (weights + non-torch), 4.0 GiB for peak activation, and \
             1.2 GiB for CUDAGraph memory. Current kv cache memory in use is 81.5 GiB.",
            vec![KvBytes(163 * GIB / 2), Device { free: 275 * GIB / 2, total: 279 * GIB / 2 }, work(4 * GIB)],
        ),
        (
            "ValueError: Free memory on device cuda:0 (20.5/124.0 GiB) on startup is less than desired GPU memory \
             utilization (0.48, 59.52 GiB).",
            vec![Device { free: 41 * GIB / 2, total: 124 * GIB }],
        ),
        (
            "init engine (profile, create kv cache, warmup model) took 67.61 s",
            vec![LogFact::Stage(Stage::WarmUp)],
        ),
        ("INFO:     Application startup complete.", vec![LogFact::Listening]),
        (
            "Engine 000: Avg prompt throughput: 1.0 tokens/s, Running: 1 reqs, GPU KV cache usage: 3.1%, Prefix cache \
             hit rate: 0.0%",
            vec![],
        ),
        ("Received request x: prompt: 'GPU KV cache size: 5 tokens'", vec![]),
        ("Free memory on device (many/lots GiB)", vec![]),
        ("Using max model len 99999999999999", vec![]),
    ] {
        assert_eq!(said(BackendKind::Vllm, line), facts, "{line}");
    }
}

#[test]
fn everything_that_llama_cpp_says_of_memory_is_read() {
    use BufferKind::{Compute, Kv, Output, State, Weights};
    let buffer = |kind, device, bytes| vec![LogFact::Buffer { kind, device, bytes }];
    for (line, facts) in [
        ("load_tensors:        CUDA0 model buffer size =  4096.00 MiB", buffer(Weights, true, 4 * GIB)),
        (
            "0.00.1 I load_tensors:   CPU_Mapped model buffer size =   417.50 MiB",
            buffer(Weights, false, 835 * MIB / 2),
        ),
        ("load_tensors:  CPU_REPACK model buffer size =   1.00 MiB", buffer(Weights, false, MIB)),
        ("llm_load_tensors:      ROCm0 buffer size =  3577.00 MiB", buffer(Weights, true, 3577 * MIB)),
        ("llm_load_tensors:  CUDA_Host buffer size =  70.00 MiB", buffer(Weights, false, 70 * MIB)),
        ("llama_kv_cache_init:      CUDA0 KV buffer size =     9.00 MiB", buffer(Kv, true, 9 * MIB)),
        ("llama_kv_cache_unified:        CPU KV buffer size =  1024.00 MiB", buffer(Kv, false, GIB)),
        ("llama_kv_cache:    Vulkan0 KV buffer size =   512.00 MiB", buffer(Kv, true, 512 * MIB)),
        ("init:      Metal KV buffer size =     9.00 MiB", buffer(Kv, true, 9 * MIB)),
        ("llama_memory_recurrent:      CUDA0 RS buffer size =   149.00 MiB", buffer(State, true, 149 * MIB)),
        ("llama_context:      ROCm0 compute buffer size =   300.00 MiB", buffer(Compute, true, 300 * MIB)),
        ("sched_reserve:  CUDA_Host compute buffer size =   2.50 MiB", buffer(Compute, false, 5 * MIB / 2)),
        ("llama_context:  Vulkan_Host  output buffer size =     2.00 MiB", buffer(Output, false, 2 * MIB)),
        ("load_tensors: RPC[10.0.0.2:50052] model buffer size = 4096.00 MiB", vec![]),
        ("load_tensors: CUDA0 model buffer size = unknown", vec![]),
        ("something:  CUDA0 other buffer size = 4.00 MiB", vec![]),
        (" buffer size = 4.00 MiB", vec![]),
        ("llama_kv_cache: size =  256.00 MiB (  4096 cells,  32 layers)", vec![LogFact::KvBytes(256 * MIB)]),
        ("llama_kv_cache_unified: size = 1024.00 MiB (  8192 cells)", vec![LogFact::KvBytes(GIB)]),
        (
            "llama_new_context_with_model: KV self size  =    9.00 MiB, K (f16): 4.50 MiB",
            vec![LogFact::KvBytes(9 * MIB)],
        ),
        (
            "0.00.444.279 I srv    load_model: initializing, n_slots = 4, n_ctx_slot = 1024, kv_unified = 'false'",
            vec![LogFact::KvTokens(4096), LogFact::ContextChosen(1024)],
        ),
        (
            "srv    load_model: initializing slots, n_slots = 4, n_ctx_slot = 4096, kv_unified = 'true'",
            vec![LogFact::KvTokens(4096), LogFact::ContextChosen(4096)],
        ),
        (
            "slot         init: id  0 | task -1 | new slot n_ctx_slot = 2048",
            vec![LogFact::ContextChosen(2048)],
        ),
        ("slot   load_model: id  0 | task -1 | new slot, n_ctx = 8192", vec![LogFact::ContextChosen(8192)]),
        (
            "  Vulkan0: AMD Radeon Graphics (RADV GFX1151) (87722 MiB, 86300 MiB free)",
            vec![LogFact::Device { free: 86_300 * MIB, total: 87_722 * MIB }],
        ),
        ("using device CUDA0 (NVIDIA GeForce RTX 3090) - 23892 MiB free", vec![]),
        ("llama_server: listening on http://127.0.0.1:8080", vec![LogFact::Listening]),
    ] {
        assert_eq!(said(BackendKind::LlamaCpp, line), facts, "{line}");
    }
}

fn own(kind: BackendKind, lines: &[&str]) -> OwnNumbers {
    let mut own = OwnNumbers::default();
    for fact in lines.iter().flat_map(|line| said(kind, line)) {
        own.take(&fact);
    }
    own
}

#[test]
fn the_ranks_of_one_model_are_added_up() {
    let two = own(
        BackendKind::Vllm,
        &[
            "Using max model len 8192",
            "(Worker_TP0 pid=10) INFO 1] Model loading took 7.00 GiB memory and 1 seconds",
            "(Worker_TP1 pid=11) INFO 1] Model loading took 4.00 GiB memory and 1 seconds",
            // Said again: its last word counts.
            "(Worker_TP0 pid=10) INFO 1] Model loading took 5.00 GiB memory and 2 seconds",
            "(Worker_TP0 pid=10) INFO 1] Available KV cache memory: 3.00 GiB",
            "GPU KV cache size: 20,000 tokens",
            "GPU KV cache size: 19,000 tokens",
            "Maximum concurrency for 8,192 tokens per request: 2.32x",
            "Graph capturing finished in 3 secs, took 0.25 GiB",
            "Auto-fit max_model_len: reduced from 8192 to 4096 to fit in available GPU memory",
            "Free memory on device (9/16.0 GiB) on startup. 1.0 GiB for peak activation, and",
        ],
    );
    assert_eq!(
        (two.weights, two.kv_bytes, two.kv_tokens, two.graphs),
        (Some(9 * GIB), Some(3 * GIB), Some(19_000), Some(GIB / 4))
    );
    assert_eq!((two.compute, two.context, two.device_total), (Some(GIB), Some(4096), Some(16 * GIB)));
    assert_eq!(two.concurrency, Some(2.32));
    let unnamed = ["Model loading took 5.00 GiB and 1 seconds", "Model loading took 6.00 GiB and 1 seconds"];
    assert_eq!(own(BackendKind::Vllm, &unnamed).weights, Some(6 * GIB));
    assert_eq!(own(BackendKind::Vllm, &[]), OwnNumbers::default());
}

#[test]
fn buffers_of_llama_cpp_are_added_up_by_what_they_hold() {
    let own = own(
        BackendKind::LlamaCpp,
        &[
            "load_tensors:   CPU_Mapped model buffer size =   100.00 MiB",
            "load_tensors:        ROCm0 model buffer size =  1000.00 MiB",
            "llama_context:        CPU  output buffer size =     1.00 MiB",
            "llama_kv_cache:      ROCm0 KV buffer size =   200.00 MiB",
            "llama_kv_cache: size =  200.00 MiB",
            "llama_kv_cache:      ROCm0 KV buffer size =   50.00 MiB",
            "llama_kv_cache: size =  50.00 MiB",
            "llama_memory_recurrent:      ROCm0 RS buffer size =   6.00 MiB",
            "llama_context:      ROCm0 compute buffer size =   300.00 MiB",
            "llama_context:  ROCm_Host compute buffer size =   10.00 MiB",
        ],
    );
    assert_eq!(
        (own.weights, own.kv_bytes, own.compute),
        (Some(1100 * MIB), Some(256 * MIB), Some(311 * MIB))
    );
    let mut old = OwnNumbers::default();
    old.take(&LogFact::KvBytes(7));
    assert_eq!(old.kv_bytes, Some(7));
    old.take(&LogFact::Buffer { kind: BufferKind::Kv, device: true, bytes: u64::MAX });
    old.take(&LogFact::Buffer { kind: BufferKind::Kv, device: true, bytes: 1 });
    assert_eq!(old.kv_bytes, Some(u64::MAX));
}

#[test]
fn recorded_starts_give_the_servers_own_numbers() {
    let mut vllm = OwnNumbers::default();
    let backend = backend(BackendKind::Vllm).expect("a backend");
    for fact in lines("vllm-start-serve-stop-eager.txt").iter().flat_map(|line| backend.facts(line)) {
        vllm.take(&fact);
    }
    assert_eq!((vllm.kv_bytes, vllm.kv_tokens), (Some(GIB), Some(46_592)));
    assert_eq!((vllm.context, vllm.concurrency), (Some(2048), Some(22.75)));
}

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
    fn no_line_breaks_the_readers_of_logs(
        line in r#"(Model loading took |KV cache size: |Maximum concurrency for |Free memory on device|Graph capturing finished in |Auto-fit max_model_len: reduced from |\(Worker pid=|llama_kv_cache|CUDA0 KV buffer size =|n_slots = )?.{0,40}( GiB| MiB| tokens|per request: |to |took |for peak activation| MiB free\))?.{0,20}"#,
        context in any::<Option<u32>>(), kv_cache in any::<Option<u64>>(), oom in any::<bool>(),
    ) {
        let mut own = OwnNumbers::default();
        for kind in [BackendKind::Vllm, BackendKind::LlamaCpp] {
            for fact in said(kind, &line) {
                own.take(&fact);
            }
        }
        let explanation = explain_ended_for(std::slice::from_ref(&line), Some(1), oom, context, kv_cache);
        prop_assert!(!explanation.message.is_empty());
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
