//! Starts that fail, with the log a real one leaves: the cause, and the general words after it that hide it.

use std::fmt::Write as _;

use super::args::USAGE;
use crate::args::Command;
use crate::loading::gib;
use crate::log::Line;
use crate::log::Who::{Api, Engine, Worker};
use crate::server::FailedStart;

/// Printed by the driver when a kernel read where it must not.
pub(crate) const MEMORY_FAULT: &str = "Memory access fault by GPU node-1 (Agent handle: 0x55d3c0a5f2a0) on address \
                                       0x7f1c2ea00000. Reason: Page not present or supervisor privilege.";

/// Printed when memory ran out in the middle of a request.
pub(crate) const OUT_OF_MEMORY: &str = "torch.OutOfMemoryError: HIP out of memory. Tried to allocate 1.02 GiB. GPU 0 has a total capacity of 124.00 GiB \
     of which 512.00 MiB is free. Of the allocated memory 61.31 GiB is allocated by PyTorch, and 214.55 MiB is \
     reserved by PyTorch but unallocated. If reserved but unallocated memory is large try setting \
     PYTORCH_ALLOC_CONF=expandable_segments:True to avoid fragmentation.";

const PACKAGES: &str = "/usr/local/lib/python3.12/dist-packages";
/// Where a start ends that fails before the engine began, while it loaded, or after the weights were there.
const AT_ONCE: f64 = 0.0;
const IN_MID_LOAD: f64 = 0.4;
const AFTER_WEIGHTS: f64 = 0.7;

/// The start that fails as `name` says.
pub(crate) fn start(name: &str, command: &Command) -> FailedStart {
    let model = &command.model;
    let context = command.context;
    let kv = command.kv_bytes.unwrap_or(1 << 30);
    let api = |error: &str| FailedStart { after: AT_ONCE, lines: traceback(&API, error) };
    let config = |error: String| {
        api(&format!(
            "pydantic_core._pydantic_core.ValidationError: 1 validation error for ModelConfig\n  Value error, {error} \
             [type=value_error, input_value=ArgsKwargs((), {{'model': ...nderer_num_workers': 1}}), \
             input_type=ArgsKwargs]\n    For further information visit \
             https://errors.pydantic.dev/2.14/v/value_error"
        ))
    };
    match name {
        "fail:free-memory" => {
            let total = 124.0;
            let wanted = total * command.utilization;
            core(
                IN_MID_LOAD / 2.0,
                &format!(
                    "ValueError: Free memory on device cuda:0 ({:.2}/{total:.2} GiB) on startup is less than desired \
                     GPU memory utilization ({}, {wanted:.2} GiB). Decrease GPU memory utilization or reduce GPU \
                     memory used by other processes.",
                    wanted * 0.8,
                    command.utilization,
                ),
            )
        }
        "fail:no-kv-memory" => core(
            AFTER_WEIGHTS,
            "ValueError: No available memory for the cache blocks. Try increasing `gpu_memory_utilization` when \
             initializing the engine. See https://docs.vllm.ai/en/latest/configuration/conserving_memory/ for more \
             details.",
        ),
        "fail:kv-too-small" => core(
            AFTER_WEIGHTS,
            &format!(
                "ValueError: To serve at least one request with the model's max seq len ({context}), ({:.2} GiB KV \
                 cache is needed, which is larger than the available KV cache memory ({:.2} GiB). Based on the \
                 available memory, the estimated maximum model length is {}. Try increasing \
                 `gpu_memory_utilization` (which also controls CPU memory on the CPU backend) or decreasing \
                 `max_model_len` when initializing the engine. See \
                 https://docs.vllm.ai/en/latest/configuration/conserving_memory/ for more details.",
                gib(kv.saturating_mul(2)),
                gib(kv),
                context / 2 / 16 * 16,
            ),
        ),
        "fail:auto-fit" => core(
            AFTER_WEIGHTS,
            "ValueError: Cannot auto-fit max_model_len: not enough GPU memory available to serve even a single \
             token. Try increasing `gpu_memory_utilization`.",
        ),
        "fail:context-too-long" => config(format!(
            "User-specified max_model_len ({context}) is greater than the derived max_model_len \
             (max_position_embeddings={}.0 or model_max_length=None in model's config.json). To allow overriding \
             this maximum, set the env var VLLM_ALLOW_LONG_MAX_MODEL_LEN=1. VLLM_ALLOW_LONG_MAX_MODEL_LEN must be \
             used with extreme caution.",
            context / 2,
        )),
        "fail:profiling" => core(
            AFTER_WEIGHTS,
            "AssertionError: Error in memory profiling. Initial free memory 60.12 GiB, current free memory 63.40 \
             GiB. This happens when other processes sharing the same container release GPU memory while vLLM is \
             profiling during initialization. To fix this, ensure consistent GPU memory allocation or isolate vLLM \
             in its own container.",
        ),
        "fail:quantization" => config("modelopt quantization is currently not supported in rocm.".to_owned()),
        "fail:dtype" => {
            api("ValueError: torch.bfloat16 is not supported for quantization method awq. Supported dtypes: \
             [torch.float16]")
        }
        "fail:fp8" => core(
            IN_MID_LOAD,
            "RuntimeError: torch._scaled_mm is only supported on CUDA devices with compute capability >= 9.0 or \
             8.9, or ROCm MI300+",
        ),
        "fail:memory-fault" => {
            let mut lines = vec![Line::raw(MEMORY_FAULT)];
            lines.extend(generic("{'EngineCore': -6}"));
            FailedStart { after: AFTER_WEIGHTS, lines }
        }
        "fail:oom" => worker(OUT_OF_MEMORY),
        "fail:gated" => api(&format!(
            "huggingface_hub.errors.GatedRepoError: 401 Client Error.\n\nCannot access gated repo for url \
             https://huggingface.co/{model}/resolve/main/config.json.\nAccess to model {model} is restricted. You \
             must have access to it and be authenticated to access it. Please log in.\n\nThe above exception was \
             the direct cause of the following exception:\n\nOSError: You are trying to access a gated repo.\nMake \
             sure to have access to it at https://huggingface.co/{model}.\n401 Client Error."
        )),
        "fail:forbidden" => api(&format!(
            "huggingface_hub.errors.HfHubHTTPError: 403 Client Error.\n\nForbidden: the token in use may not read \
             this repository.\nCannot access content at: https://huggingface.co/{model}/resolve/main/config.json."
        )),
        "fail:bad-model-id" => api(&format!(
            "ValueError: Invalid repository ID or local directory specified: '{model}'.\nPlease verify the following \
             requirements:\n1. Provide a valid Hugging Face repository ID.\n2. Specify a local directory that \
             contains a recognized configuration file."
        )),
        "fail:bad-path" => api(&format!(
            "huggingface_hub.errors.HFValidationError: Repo id must be in the form 'repo_name' or \
             'namespace/repo_name': '/models/{model}'. Use `repo_type` argument if needed."
        )),
        "fail:no-weights" => worker(&format!("RuntimeError: Cannot find any model weights with `{model}`")),
        "fail:not-cached" => api(
            "huggingface_hub.errors.LocalEntryNotFoundError: Cannot find an appropriate cached snapshot folder for \
             the specified revision on the local disk and outgoing traffic has been disabled. To enable repo \
             look-ups and downloads online, pass 'local_files_only=False' as input.",
        ),
        "fail:tool-parser-missing" => FailedStart { after: AT_ONCE, lines: raw(&tool_parser_missing()) },
        "fail:tool-parser-unknown" => {
            FailedStart { after: AT_ONCE, lines: raw(&tool_parser_unknown("no_such_parser")) }
        }
        "fail:port-in-use" => FailedStart { after: AT_ONCE, lines: port_in_use() },
        "fail:truncated" => worker(
            "safetensors._safetensors_rust.SafetensorError: Error while deserializing header: incomplete metadata, \
             file not fully covered",
        ),
        // The general words alone, as when the cause went to another log.
        _ => FailedStart { after: IN_MID_LOAD, lines: generic("{}") },
    }
}

/// `OSError: [Errno 98]`, whether played or met.
pub(crate) fn port_in_use() -> Vec<Line> {
    traceback(
        &[
            ("vllm/entrypoints/launchers/api_server/entry.py", 176, "run_server", "setup_server(args)"),
            ("vllm/entrypoints/launchers/launcher.py", 348, "create_server_socket", "sock.bind(addr)"),
        ],
        "OSError: [Errno 98] Address already in use",
    )
}

pub(crate) fn tool_parser_missing() -> String {
    "TypeError: Error: --enable-auto-tool-choice requires --tool-call-parser\n".to_owned()
}

pub(crate) fn tool_parser_unknown(parser: &str) -> String {
    format!(
        "{USAGE}KeyError: \"invalid tool call parser: {parser} (chose from {{ hermes,llama3_json,qwen3_coder }})\"\n"
    )
}

/// A worker that died under a running engine, `why` being its last words.
pub(crate) fn worker_died(why: &str) -> Vec<Line> {
    vec![
        Line::raw(why),
        Line::error(
            Engine,
            "multiproc_executor.py:315",
            "Worker proc VllmWorker-0 died unexpectedly (exit code: -6), shutting down executor.",
        ),
        Line::error(Engine, "core.py:1512", "EngineCore encountered a fatal error."),
        Line::error(Api, "async_llm.py:906", "AsyncLLM output_handler failed."),
        Line::error(
            Api,
            "async_llm.py:906",
            "vllm.v1.engine.exceptions.EngineDeadError: EngineCore encountered an issue. See stack trace (above) for \
             the root cause.",
        ),
    ]
}

type Frame = (&'static str, u32, &'static str, &'static str);

const API: [Frame; 3] = [
    ("vllm/entrypoints/cli/serve.py", 156, "cmd", "uvloop.run(run_server(args))"),
    (
        "vllm/entrypoints/launchers/api_server/entry.py",
        195,
        "run_server_worker",
        "async with build_async_engine_client(",
    ),
    ("vllm/engine/arg_utils.py", 2240, "create_engine_config", "model_config = self.create_model_config()"),
];
const CORE: [Frame; 3] = [
    (
        "vllm/v1/engine/core.py",
        1482,
        "run_engine_core",
        "engine_core = EngineCoreProc(*args, engine_index=dp_rank, **kwargs)",
    ),
    ("vllm/v1/engine/core.py", 157, "__init__", "kv_cache_config = self._initialize_kv_caches(vllm_config)"),
    ("vllm/v1/engine/core.py", 326, "_initialize_kv_caches", "kv_cache_configs = get_kv_cache_configs("),
];
const LOADER: [Frame; 2] = [
    ("vllm/v1/executor/multiproc_executor.py", 924, "worker_main", "worker = WorkerProc(*args, **kwargs)"),
    (
        "vllm/model_executor/model_loader/base_loader.py",
        96,
        "load_model",
        "self.load_weights(model, model_config)",
    ),
];

/// A traceback that ends with `error`.
fn traceback(frames: &[Frame], error: &str) -> Vec<Line> {
    raw(&traceback_text(frames, error))
}

fn traceback_text(frames: &[Frame], error: &str) -> String {
    let mut text = "Traceback (most recent call last):\n".to_owned();
    for (file, line, function, code) in frames {
        let _ = writeln!(text, "  File \"{PACKAGES}/{file}\", line {line}, in {function}\n    {code}");
    }
    text.push_str(error);
    text
}

fn raw(text: &str) -> Vec<Line> {
    text.trim_end().split('\n').map(Line::raw).collect()
}

/// A failure in the engine's own process: the cause, the same again as the process ends, and the general words.
fn core(after: f64, error: &str) -> FailedStart {
    let text = traceback_text(&CORE, error);
    let mut lines = vec![
        Line::error(Engine, "core.py:1510", "EngineCore failed to start."),
        Line::error(Engine, "core.py:1510", text.clone()),
        Line::raw("Process EngineCore:"),
    ];
    lines.extend(raw(&text));
    lines.extend(generic("{}"));
    FailedStart { after, lines }
}

/// A failure in a worker, of which the engine only says that there was one.
fn worker(error: &str) -> FailedStart {
    let mut lines = vec![
        Line::error(Worker, "multiproc_executor.py:953", "WorkerProc failed to start."),
        Line::error(Worker, "multiproc_executor.py:953", traceback_text(&LOADER, error)),
    ];
    let words = "Exception: WorkerProc initialization failed due to an exception in a background process. See stack \
                 trace for root cause.";
    lines.extend(core(IN_MID_LOAD, words).lines);
    FailedStart { after: IN_MID_LOAD, lines }
}

/// How every failure of the engine ends. It names no cause.
fn generic(processes: &str) -> Vec<Line> {
    let frames: [Frame; 2] = [
        ("vllm/v1/engine/core_client.py", 682, "__init__", "with launch_core_engines("),
        ("vllm/v1/engine/utils.py", 1431, "wait_for_engine_startup", "raise RuntimeError("),
    ];
    traceback(
        &frames,
        &format!(
            "RuntimeError: Engine core initialization failed. See root cause above. Failed core proc(s): {processes}"
        ),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fault;

    #[test]
    fn every_failing_start_of_vllm_says_what_it_is_recognised_by() {
        let words = ["vllm", "serve", "acme/model", "--max-model-len", "4096"].map(std::ffi::OsString::from);
        let command = crate::args::read(&words, |_| None).unwrap();
        let played = fault::ALL.iter().filter(|f| f.name.starts_with("fail:") && f.name != "fail:bad-args");
        for (name, says) in played.filter_map(|fault| Some((fault.name, fault.vllm_says?))) {
            let text = format!("{:?}", start(name, &command).lines).replace("\\'", "'");
            assert!(text.contains(says), "{name}: {text}");
        }
    }
}
