//! vLLM: flags of 0.32 that 0.11 to 0.33 take too, its health check and its log.

use domain::Stage;
use domain::stack::{Agent, ClaimBasis};

use super::assemble::{self, Instead, Parts, Place, Reserved, Spelling};
use super::scan::{after, figure, last_percent};
use super::{Backend, Host, LogFact, Order};
use crate::launch::{Launch, Mount};
use crate::{EngineError, ErrorKind};

#[derive(Debug, Clone, Copy)]
pub struct Vllm;

const KEY: &str = "VLLM_API_KEY";

/// Left to itself vLLM takes 8192 on a device of 70 GiB and more, which raises the memory of a forward pass.
const BATCHED_TOKENS: u32 = 2048;
const BATCHED: &[&str] = &["--max-num-batched-tokens"];

const RESERVED: &[Reserved] = &[
    Reserved { spellings: &["--model", "--model-tag"], instead: Instead::Key("model") },
    Reserved { spellings: &["--revision"], instead: Instead::Key("revision") },
    Reserved {
        spellings: &["--host", "--uds"],
        instead: Instead::Never("agents are reached on 127.0.0.1 only"),
    },
    Reserved { spellings: &["--port"], instead: Instead::Key("port") },
    Reserved {
        spellings: &["--served-model-name"],
        instead: Instead::Never("an agent answers to its name and to its model's id"),
    },
    Reserved {
        spellings: &["--api-key"],
        instead: Instead::Never("every start has a fresh key, which Bifrost knows"),
    },
    Reserved { spellings: &["--max-model-len"], instead: Instead::Key("context") },
    Reserved { spellings: &["--max-num-seqs"], instead: Instead::Key("sequences") },
    Reserved { spellings: &["--kv-cache-memory-bytes"], instead: Instead::Key("kv_cache") },
    Reserved {
        spellings: &["--gpu-memory-utilization", "--device-memory-utilization"],
        instead: Instead::Key("share"),
    },
    Reserved { spellings: &["--dtype"], instead: Instead::Key("dtype") },
    Reserved { spellings: &["--quantization", "-q"], instead: Instead::Key("quantization") },
    Reserved { spellings: &["--kv-cache-dtype"], instead: Instead::Key("kv_dtype") },
    Reserved { spellings: &["--tensor-parallel-size", "-tp"], instead: Instead::Key("tensor_parallel") },
    Reserved {
        spellings: &["--tool-call-parser", "--enable-auto-tool-choice", "--no-enable-auto-tool-choice"],
        instead: Instead::Key("tool_parser"),
    },
    Reserved {
        spellings: &["--speculative-config", "--speculative-model"],
        instead: Instead::Key("draft_model"),
    },
    Reserved {
        spellings: &["--download-dir"],
        instead: Instead::Never("weights come from the Hugging Face cache"),
    },
];

impl Backend for Vllm {
    fn launch(&self, order: &Order<'_>) -> Result<Launch, EngineError> {
        let agent = order.agent;
        assemble::check_args(agent, RESERVED, Spelling::Argparse)?;
        let place = Place::of(order)?;
        let mut line: Vec<String> = ["vllm", "serve", &agent.model].map(str::to_owned).into();
        let mut flag = |name: &str, value: String| line.extend([name.to_owned(), value]);
        if let Some(revision) = &agent.revision {
            flag("--revision", revision.clone());
        }
        flag("--host", place.host().to_owned());
        flag("--port", agent.port.to_string());
        flag("--served-model-name", agent.name.to_string());
        if agent.model != agent.name.as_str() {
            line.push(agent.model.clone());
        }
        let mut flag = |name: &str, value: String| line.extend([name.to_owned(), value]);
        flag("--max-model-len", agent.context.to_string());
        flag("--max-num-seqs", agent.sequences.to_string());
        if !assemble::gives(agent, BATCHED, Spelling::Argparse) {
            flag("--max-num-batched-tokens", BATCHED_TOKENS.max(agent.sequences).to_string());
        }
        if let ClaimBasis::KvCache { kv_cache, .. } = agent.claim {
            // The flag is for one device.
            let bytes = kv_cache.0 / u64::from(agent.tensor_parallel.max(1));
            flag("--kv-cache-memory-bytes", bytes.to_string());
        }
        flag("--gpu-memory-utilization", utilization(agent, order.host)?);
        if let Some(dtype) = dtype(agent) {
            flag("--dtype", dtype);
        }
        if let Some(quantization) = agent.quantization.as_deref().and_then(method) {
            flag("--quantization", quantization);
        }
        if let Some(kv_dtype) = &agent.kv_dtype {
            flag("--kv-cache-dtype", kv_dtype.clone());
        }
        if agent.tensor_parallel > 1 {
            flag("--tensor-parallel-size", agent.tensor_parallel.to_string());
        }
        if let Some(draft) = &agent.draft_model {
            let config = serde_json::json!({ "model": draft, "num_speculative_tokens": 5 });
            flag("--speculative-config", config.to_string());
        }
        if let Some(parser) = &agent.tool_parser {
            flag("--tool-call-parser", parser.clone());
            line.push("--enable-auto-tool-choice".to_owned());
        }
        line.extend(agent.args.iter().cloned());
        let parts = Parts {
            line,
            image_is_program: false,
            mounts: mounts(order.host),
            env: environment(agent, order.host, place)?,
            key_variable: KEY,
        };
        assemble::launch(order, parts)
    }

    fn read_line(&self, line: &str) -> Option<LogFact> {
        read_line(line)
    }

    fn health_path(&self) -> &'static str {
        "/health"
    }
}

/// The Hub's `hub` folder alone, never the token beside it, and caches that make the next start faster.
fn mounts(host: &Host) -> Vec<Mount> {
    let cache = |name: &str, target: &str| Mount {
        source: host.caches.join(name),
        target: target.to_owned(),
        read_only: false,
    };
    vec![
        Mount {
            source: host.hub.clone(),
            target: "/root/.cache/huggingface/hub".to_owned(),
            read_only: true,
        },
        cache("vllm", "/root/.cache/vllm"),
        cache("triton", "/opt/triton_cache"),
        cache("aiter", "/root/.aiter"),
    ]
}

fn environment(
    agent: &Agent,
    host: &Host,
    place: Place,
) -> Result<std::collections::BTreeMap<String, String>, EngineError> {
    let mut ours = vec![
        ("HF_HUB_OFFLINE", "1".to_owned()),
        // AITER fails in places on gfx1151.
        ("VLLM_ROCM_USE_AITER", "0".to_owned()),
        ("VLLM_ROCM_USE_AITER_LINEAR", "0".to_owned()),
        ("VLLM_NO_USAGE_STATS", "1".to_owned()),
        ("DO_NOT_TRACK", "1".to_owned()),
    ];
    let text = |path: std::path::PathBuf| path.to_string_lossy().into_owned();
    match place {
        Place::Container => ours.push(("HF_HOME", "/root/.cache/huggingface".to_owned())),
        Place::Local => ours.extend([
            ("HF_HUB_CACHE", text(host.hub.clone())),
            ("VLLM_CACHE_ROOT", text(host.caches.join("vllm"))),
            ("TRITON_CACHE_DIR", text(host.caches.join("triton"))),
        ]),
    }
    assemble::environment(agent, ours, KEY)
}

/// The share of the device that vLLM wants to find free at its start. With KV bytes given it sizes nothing, but the
/// check `free >= total x share` still runs, with 0.9 by default: too much beside another agent. So it is the claim's
/// share, rounded down.
fn utilization(agent: &Agent, host: &Host) -> Result<String, EngineError> {
    let share = match agent.claim {
        ClaimBasis::Share(share) => share.clamp(0.01, 0.95),
        ClaimBasis::KvCache { weights, kv_cache, overhead } => {
            share_of((weights + kv_cache + overhead).0, agent, host).unwrap_or(0.0).clamp(0.05, 0.9)
        }
        ClaimBasis::Memory(memory) => {
            let share = share_of(memory.0, agent, host).ok_or_else(|| {
                EngineError::new(
                    ErrorKind::Failed,
                    format!(
                        "The memory of {} cannot be turned into a share: the machine's capacity is not known.",
                        agent.display_name
                    ),
                    format!("Write `kv_cache` instead of `memory` in [agents.{}].", agent.name),
                )
            })?;
            share.clamp(0.01, 0.95)
        }
    };
    Ok(format!("{:.2}", (share * 100.0 + 1e-9).floor() / 100.0))
}

fn share_of(claim: u64, agent: &Agent, host: &Host) -> Option<f64> {
    let devices = f64::from(agent.tensor_parallel.max(1));
    (host.capacity > 0).then(|| claim as f64 / devices / host.capacity as f64)
}

/// AWQ is float16 only up to 0.16; elsewhere the model's own type is right.
fn dtype(agent: &Agent) -> Option<String> {
    let awq = |text: &str| text.to_ascii_lowercase().contains("awq");
    agent.dtype.clone().or_else(|| {
        (awq(&agent.model) || agent.quantization.as_deref().is_some_and(awq)).then(|| "float16".to_owned())
    })
}

/// The name of a quantisation method, where the text is one: "AWQ 4-bit" is a description for a person, and the
/// method is found in the model's own configuration.
fn method(text: &str) -> Option<String> {
    let text = text.to_ascii_lowercase();
    let name = !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-'));
    name.then_some(text)
}

fn read_line(line: &str) -> Option<LogFact> {
    // The words of a prompt are nobody's log.
    if line.contains("Received request") || line.contains("Added request") {
        return None;
    }
    if line.contains("Application startup complete") {
        return Some(LogFact::Listening);
    }
    if line.contains("shards:") && line.contains("% Completed") {
        let done = line.rsplit_once("% Completed").map_or(line, |(before, _)| before);
        return last_percent(&format!("{done}%")).map(|p| LogFact::StageProgress(Stage::Weights, p));
    }
    if line.contains("Capturing CUDA graph") && line.contains("%|") {
        let done = line.rsplit_once("%|").map_or(line, |(before, _)| before);
        return last_percent(&format!("{done}%")).map(|p| LogFact::StageProgress(Stage::WarmUp, p));
    }
    if let Some(rest) = after(line, "Model loading took ") {
        // "X GiB and Y seconds" or "X GiB memory and Y seconds".
        let seconds = after(rest, " and ").and_then(figure)?;
        return Some(LogFact::WeightsLoaded { bytes: gib(figure(rest)?), seconds });
    }
    if let Some(tokens) = after(line, "KV cache size: ").filter(|rest| rest.contains(" tokens")) {
        return whole(tokens).map(LogFact::KvTokens);
    }
    let kv_bytes = after(line, "Available KV cache memory: ")
        .or_else(|| after(line, ", reserved ").filter(|rest| rest.contains("GiB memory for KV Cache")))
        .or_else(|| after(line, "Explicitly set (").filter(|rest| rest.contains("GiB for KV cache")));
    if let Some(rest) = kv_bytes {
        return figure(rest).map(|n| LogFact::KvBytes(gib(n)));
    }
    let stage = [
        ("Initializing a V1 LLM engine", Stage::Container),
        ("Starting to load model", Stage::Weights),
        ("Loading weights took", Stage::KvCache),
        ("Graph capturing finished", Stage::WarmUp),
        ("init engine (profile, create kv cache, warmup model) took", Stage::WarmUp),
        ("Starting vLLM server on ", Stage::WarmUp),
        ("Starting vLLM API server", Stage::WarmUp),
    ];
    stage.iter().find(|(text, _)| line.contains(text)).map(|(_, stage)| LogFact::Stage(*stage))
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a log's figure, cut at zero")]
fn gib(amount: f64) -> u64 {
    (amount.max(0.0) * (1_u64 << 30) as f64).round() as u64
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a log's count, cut at zero")]
fn whole(text: &str) -> Option<u64> {
    figure(text).map(|n| n.max(0.0) as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_spellings_of_every_version_are_read() {
        let prefix = "(Worker pid=30537) INFO 11-21 02:31:47 [model_runner.py:68] ";
        for text in [
            "Model loading took 9.25 GiB and 12.5 seconds",
            "Model loading took 9.25 GiB memory and 12.5 seconds",
        ] {
            let Some(LogFact::WeightsLoaded { bytes, seconds }) = read_line(&format!("{prefix}{text}"))
            else {
                panic!("{text} was not read");
            };
            assert_eq!(bytes, 9_932_111_872);
            assert!((seconds - 12.5).abs() < 1e-9);
        }
        for (text, tokens) in [
            ("GPU KV cache size: 65,536 tokens", 65_536),
            (
                "CPU KV cache size: 46,592 tokens, Maximum concurrency for 2,048 tokens per request: 22.75x",
                46_592,
            ),
        ] {
            assert_eq!(read_line(&format!("{prefix}{text}")), Some(LogFact::KvTokens(tokens)));
        }
        for text in [
            "Available KV cache memory: 12.00 GiB",
            "Initial free memory 90.1 GiB, reserved 12.00 GiB memory for KV Cache as specified by \
             kv_cache_memory_bytes config and skipped memory profiling",
        ] {
            assert_eq!(read_line(&format!("{prefix}{text}")), Some(LogFact::KvBytes(12 << 30)), "{text}");
        }
        assert_eq!(
            read_line("Capturing CUDA graphs (decode, FULL):  25%|██▌       | 1/4 [00:00<00:01]"),
            Some(LogFact::StageProgress(Stage::WarmUp, 0.25))
        );
    }

    #[test]
    fn a_line_that_says_nothing_of_the_start_is_nothing() {
        for line in [
            "Maximum concurrency for 32,768 tokens per request: 2.00x",
            "Engine 000: Avg prompt throughput: 1.0 tokens/s, GPU KV cache usage: 3.1%, Prefix cache hit rate: 0.0%",
            "Received request x: prompt: 'Application startup complete', params: ...",
            "Model loading took ages",
            "",
        ] {
            assert_eq!(read_line(line), None, "{line}");
        }
    }

    #[test]
    fn only_a_name_is_passed_as_a_quantisation() {
        assert_eq!(method("AWQ 4-bit"), None);
        assert_eq!(method("compressed-tensors").as_deref(), Some("compressed-tensors"));
        assert_eq!(method("GPTQ").as_deref(), Some("gptq"));
    }
}
