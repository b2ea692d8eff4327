//! What the logs of a start say of memory, in every spelling, and the server's own numbers that come of it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "what fails here fails the test")]

use domain::Stage;
use domain::stack::BackendKind;
use engine::backend::{BufferKind, LogFact, OwnNumbers, backend};
use proptest::prelude::*;

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
    let log = include_str!("captures/vllm-start-serve-stop-eager.txt");
    for fact in log.lines().flat_map(|line| backend.facts(line)) {
        vllm.take(&fact);
    }
    assert_eq!((vllm.kv_bytes, vllm.kv_tokens), (Some(GIB), Some(46_592)));
    assert_eq!((vllm.context, vllm.concurrency), (Some(2048), Some(22.75)));
}

proptest! {
    #[test]
    fn no_line_breaks_the_readers_of_logs(
        line in r"(Model loading took |KV cache size: |Maximum concurrency for |Free memory on device|Graph capturing finished in |Auto-fit max_model_len: reduced from |\(Worker pid=|llama_kv_cache|CUDA0 KV buffer size =|n_slots = )?.{0,40}( GiB| MiB| tokens|per request: |to |took |for peak activation| MiB free\))?.{0,20}",
    ) {
        let mut own = OwnNumbers::default();
        for kind in [BackendKind::Vllm, BackendKind::LlamaCpp] {
            for fact in said(kind, &line) {
                own.take(&fact);
            }
        }
    }
}
