//! Logs of real servers, recorded: what is read from them, and why the failed ones failed.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "what fails here fails the test")]

mod common;

use std::fs;
use std::path::Path;

use common::in_a_log;
use domain::Stage;
use domain::stack::BackendKind;
use engine::backend::failure::{Explanation, explain, explain_ended};
use engine::backend::{LogFact, backend};

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
        (
            "[Errno 98] error while attempting to bind on address: address already in use",
            "port-in-use",
            "taken",
        ),
        ("torch.cuda.OutOfMemoryError: Tried to allocate 512.00 MiB.", "out-of-memory", "512.00 MB more"),
        ("RuntimeError: CUDA error: out of memory", "out-of-memory", "GPU's memory ran out"),
        ("OSError: [Errno 12] Cannot allocate memory", "out-of-memory", "Memory ran out"),
        (
            "ValueError: To serve at least one request with the model's max seq len (32768), (10.00 GiB KV cache is \
             needed, which is larger than the available KV cache memory (3.50 GiB). Based on the available memory, the \
             estimated maximum model length is 0.",
            "kv-too-small",
            "10.0 GB of KV cache, and the agent has 3.5 GB",
        ),
        (
            "Repo id must be in the form 'repo_name' or 'namespace/repo_name': '/models/none'. Use `repo_type`",
            "bad-model",
            "\"/models/none\"",
        ),
        ("httpx.HTTPStatusError: Client error '401 Unauthorized' for url", "not-allowed", "(401)"),
        ("huggingface_hub.errors.LocalEntryNotFoundError: offline", "not-cached", "cache"),
        (
            "User-specified max_model_len (100000) is greater than the derived max_model_len \
             (max_position_embeddings=None or model_max_length=4096 in model's config.json).",
            "context-too-long",
            "longer than the 4096",
        ),
        ("safetensors_rust.SafetensorError: Error while deserializing header", "truncated", "cut short"),
        ("OSError: [Errno 28] No space left on device", "no-space", "disk is full"),
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
