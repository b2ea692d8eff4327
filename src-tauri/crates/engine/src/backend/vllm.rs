//! vLLM: flags of 0.32 that 0.11 to 0.33 take too, its health check and its log.

use domain::quantization::vllm_method;
use domain::stack::{Agent, ClaimBasis};
use domain::{Bytes, GpuVendor};

use super::assemble::{self, Parts, Place, Reserved, Spelling};
use super::explain::{self, Line};
use super::flags::Fallback;
use super::{Backend, Host, LogFact, Order, vllm_log};
use crate::launch::{Launch, Mount};
use crate::{EngineError, ErrorKind};

#[derive(Debug, Clone, Copy)]
pub struct Vllm;

const KEY: &str = "VLLM_API_KEY";

/// Left to itself vLLM takes 8192 on a device of 70 GiB and more, which raises the memory of a forward pass.
const BATCHED_TOKENS: u32 = 2048;

/// How far a draft model runs ahead where nothing is written.
const DRAFT_TOKENS: u32 = 5;

/// The share of the device that is asked for beside explicit KV bytes. There it sizes nothing, but the check
/// `free >= total x share` at the start still runs, with 0.9 or 0.92 where it is left out: too much beside another
/// agent. What the server takes for `total` and `free` is not known here (62.5 and 124 GB were both seen of one
/// machine, and `free` leaves out what the page cache could give back), so the share is as small as two decimals are:
/// of the largest of those totals it asks for little more than 1 GB, less than any agent takes. Whether there is room is
/// the plan's to say, from figures that are measured.
const LEAST_SHARE: &str = "0.01";

const VISIBLE_DEVICES: &[&str] =
    &["CUDA_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES", "NVIDIA_VISIBLE_DEVICES"];

const RESERVED: &[Reserved] = &[
    Reserved::key(&["--model", "--model-tag"], "model"),
    Reserved::key(&["--revision"], "revision"),
    Reserved::never(&["--host", "--uds"], "agents are reached on 127.0.0.1 only"),
    Reserved::key(&["--port"], "port"),
    Reserved::never(&["--served-model-name"], "an agent answers to its name and to its model's id"),
    Reserved::never(&["--api-key"], "every start has a fresh key, which Bifrost knows"),
    Reserved::never(&["--config"], "a file of settings could set what Asgard counts with"),
    Reserved::key(&["--max-model-len"], "context").or_env(&["VLLM_ALLOW_LONG_MAX_MODEL_LEN"]),
    Reserved::key(&["--max-num-seqs"], "sequences"),
    Reserved::key(&["--max-num-batched-tokens"], "batched_tokens"),
    Reserved::key(&["--kv-cache-memory-bytes", "--num-gpu-blocks-override"], "kv_cache")
        .or_env(&["VLLM_CPU_KVCACHE_SPACE"]),
    Reserved::never(
        &["--kv-offloading-size", "--kv-offloading-backend"],
        "it takes ordinary memory that is in no claim",
    ),
    Reserved::key(&["--gpu-memory-utilization", "--device-memory-utilization"], "share"),
    Reserved::key(&["--dtype"], "dtype"),
    Reserved::key(&["--quantization", "-q"], "quantization"),
    Reserved::key(&["--kv-cache-dtype"], "kv_dtype"),
    Reserved::key(&["--tensor-parallel-size", "-tp"], "tensor_parallel"),
    Reserved::never(
        &[
            "--pipeline-parallel-size",
            "-pp",
            "--data-parallel-size",
            "-dp",
            "--data-parallel-size-local",
            "-dpl",
        ],
        "memory is counted for a model that is divided by `tensor_parallel` alone",
    ),
    Reserved::key(
        &["--tool-call-parser", "--enable-auto-tool-choice", "--no-enable-auto-tool-choice"],
        "tool_parser",
    ),
    Reserved::key(&["--speculative-config", "--speculative-model", "-sc"], "draft_model"),
    Reserved::key(&["--num-speculative-tokens"], "draft_tokens"),
    Reserved::key(&["--enable-prefix-caching", "--no-enable-prefix-caching"], "prefix_caching"),
    Reserved::key(&["--enforce-eager", "--no-enforce-eager"], "eager"),
    Reserved::key(&["--attention-backend"], "attention_backend").or_env(&["VLLM_ATTENTION_BACKEND"]),
    Reserved::never(&["--download-dir"], "weights come from the Hugging Face cache").or_env(&[
        "HF_HUB_CACHE",
        "HUGGINGFACE_HUB_CACHE",
        "TRANSFORMERS_CACHE",
    ]),
    Reserved::key(&[], "devices").or_env(VISIBLE_DEVICES),
];

impl Backend for Vllm {
    fn launch(&self, order: &Order<'_>) -> Result<Launch, EngineError> {
        let mut words = line(order)?.words;
        words.extend(order.agent.args.iter().cloned());
        let parts = Parts {
            line: words,
            image_is_program: false,
            // Images of vLLM differ in their entry point: a shell, `vllm serve`, or a module.
            entrypoint: Some("vllm"),
            mounts: mounts(order.host),
            env: environment(order.agent, order.host, Place::of(order)?)?,
            key_variable: KEY,
            fallbacks: fallbacks(order.agent, order.host),
        };
        assemble::launch(order, parts)
    }

    fn facts(&self, line: &str) -> Vec<LogFact> {
        vllm_log::facts(line)
    }

    fn health_path(&self) -> &'static str {
        "/health"
    }
}

/// What Asgard sets, each with its reason; the agent's own arguments follow it.
pub(super) fn line(order: &Order<'_>) -> Result<Line, EngineError> {
    let (agent, host) = (order.agent, order.host);
    assemble::check_args(agent, RESERVED, Spelling::Argparse)?;
    let place = Place::of(order)?;
    let mut line = Line::of(&["vllm", "serve", &agent.model]);
    if let Some(revision) = &agent.revision {
        line.set("--revision", revision, "The version of the model that the stack file names.");
    }
    line.set("--host", place.host(), place.why());
    line.set("--port", agent.port.to_string(), "Its own port, from the stack file.");
    let names = "The names it answers to: the agent's, and the model's own.";
    line.set("--served-model-name", agent.name.to_string(), names);
    if agent.model != agent.name.as_str() {
        line.words.push(agent.model.clone());
    }
    let context = explain::tokens(agent.context);
    line.set(
        "--max-model-len",
        agent.context.to_string(),
        format!(
            "The longest conversation, {context}: a longer one would need more KV cache than was counted."
        ),
    );
    line.set(
        "--max-num-seqs",
        agent.sequences.to_string(),
        format!(
            "{} at once. Left out, vLLM takes 256, or 1024 on a device of 70 GB and more, and needs memory for them.",
            if agent.sequences == 1 { "One request".to_owned() } else { format!("{} requests", agent.sequences) }
        ),
    );
    let batched = agent.batched_tokens.unwrap_or(BATCHED_TOKENS).max(agent.sequences);
    line.set("--max-num-batched-tokens", batched.to_string(), batched_words(agent, batched));
    let sized = sizing(agent, host)?;
    match &sized {
        Sizing::Bytes { per_device, why } => {
            line.set("--kv-cache-memory-bytes", per_device.to_string(), why.as_str());
            line.set(
                "--gpu-memory-utilization",
                LEAST_SHARE,
                "Sizes nothing beside explicit bytes. Its default would have the server refuse to start unless nine \
                 tenths of what it takes for the device's memory were free.",
            );
        }
        Sizing::Share { share, why } => {
            line.set("--gpu-memory-utilization", two_decimals(*share), why.as_str());
        }
    }
    kinds(agent, &mut line);
    if agent.tensor_parallel > 1 {
        let parts = explain::count(u64::from(agent.tensor_parallel));
        line.set(
            "--tensor-parallel-size",
            agent.tensor_parallel.to_string(),
            format!("The model is divided over {parts} devices, and its claim with it."),
        );
    }
    if let Some(draft) = &agent.draft_model {
        let tokens = agent.draft_tokens.unwrap_or(DRAFT_TOKENS);
        let config = serde_json::json!({ "model": draft, "num_speculative_tokens": tokens });
        line.set(
            "--speculative-config",
            config.to_string(),
            format!("{draft} writes {tokens} tokens ahead, which the model then confirms or corrects."),
        );
    }
    match agent.prefix_caching {
        Some(true) => line.switch(
            "--enable-prefix-caching",
            "The beginnings that prompts share are kept, within the KV cache.",
        ),
        Some(false) => {
            line.switch("--no-enable-prefix-caching", "Nothing of a prompt is kept once it was answered.");
        }
        None => {}
    }
    if agent.eager {
        line.switch(
            "--enforce-eager",
            "No graphs are captured: less memory and a faster start, slower answers.",
        );
    }
    if let Some(attention) = &agent.attention_backend {
        line.set("--attention-backend", attention, "The attention kernels that the stack file names.");
    }
    if let Some(parser) = &agent.tool_parser {
        line.set("--tool-call-parser", parser, "How this family of models writes its tool calls.");
        line.switch("--enable-auto-tool-choice", "The model decides by itself when to call a tool.");
    }
    Ok(line)
}

/// The types that weights and cache are kept in.
fn kinds(agent: &Agent, line: &mut Line) {
    if let Some(dtype) = dtype(agent) {
        let why = if agent.dtype.is_some() {
            "The type of the weights, from the stack file."
        } else {
            "vLLM up to 0.16 runs AWQ weights in float16 only."
        };
        line.set("--dtype", dtype, why);
    }
    if let Some(quantization) = agent.quantization.as_deref().and_then(vllm_method) {
        line.set("--quantization", quantization, "How the weights are quantised.");
    }
    if let Some(kv_dtype) = &agent.kv_dtype {
        line.set("--kv-cache-dtype", kv_dtype, "The type of the KV cache, which its size was counted with.");
    }
}

fn batched_words(agent: &Agent, batched: u32) -> String {
    match agent.batched_tokens {
        Some(written) if written == batched => {
            format!(
                "{batched} tokens in one pass, from the stack file; the memory of a pass grows with them."
            )
        }
        Some(_) => format!("{batched} tokens in one pass: at least one for each request at once."),
        None => format!(
            "{batched} tokens in one pass. Left out, vLLM takes 8192 on a device of 70 GB and more, and the memory of \
             a pass grows with them."
        ),
    }
}

/// How the server is told what memory to take.
#[derive(Debug, Clone, PartialEq)]
enum Sizing {
    /// So much KV cache on each device, whatever the server believes of the device.
    Bytes { per_device: u64, why: String },
    /// A share of what the server takes for the device's memory; the KV cache is what it finds left of it.
    Share { share: f64, why: String },
}

fn sizing(agent: &Agent, host: &Host) -> Result<Sizing, EngineError> {
    let unit = explain::unit(host);
    let devices = u64::from(agent.tensor_parallel.max(1));
    let each = |sentence: String| {
        if devices > 1 {
            format!("{sentence}, on each of {} devices.", explain::count(devices))
        } else {
            format!("{sentence}.")
        }
    };
    if let ClaimBasis::KvCache { kv_cache, .. } = agent.claim {
        // The flag is for one device.
        let per_device = kv_cache.0 / devices;
        let whole = explain::cache(agent, kv_cache, unit);
        let why = if devices > 1 {
            each(format!("{whole}; {}", Bytes(per_device).show(unit)))
        } else {
            each(whole)
        };
        return Ok(Sizing::Bytes { per_device, why });
    }
    let claim = claim_of_device(agent, host);
    if let (Some(claim), Some(parts)) = (claim, agent.known_parts) {
        let fixed = (parts.weights + parts.overhead).0.div_ceil(devices);
        let left = claim.saturating_sub(fixed);
        let one = agent.kv_bytes_per_token.unwrap_or(1).saturating_mul(u64::from(agent.context));
        if left > 0 && left.saturating_mul(devices) >= one {
            let whole = explain::cache(agent, Bytes(left.saturating_mul(devices)), unit);
            let why = each(format!("{whole}, {}", explain::split(agent, host)));
            return Ok(Sizing::Bytes { per_device: left, why });
        }
    }
    let Some(share) = share(agent, host) else {
        return Err(EngineError::new(
            ErrorKind::Failed,
            format!(
                "The memory of {} cannot be turned into a share: the machine's capacity is not known.",
                agent.display_name
            ),
            format!("Write `kv_cache` instead of `memory` in [agents.{}].", agent.name),
        ));
    };
    let because = if agent.known_parts.is_some() {
        "weights and the server's own memory, as far as they are known, would leave no room for one context"
    } else {
        "how large the weights are is not known"
    };
    let claim = claim.map_or_else(String::new, |c| format!("{} is ", Bytes(c).show(unit)));
    let why = format!(
        "{claim}{} of what the server takes for the device's memory. The KV cache is what it finds left of it: {because}. \
         Write kv_cache to have it exact.",
        two_decimals(share)
    );
    Ok(Sizing::Share { share, why })
}

/// What the agent claims of one device, bytes; a share of an unknown capacity is not known.
fn claim_of_device(agent: &Agent, host: &Host) -> Option<u64> {
    let devices = u64::from(agent.tensor_parallel.max(1));
    match agent.claim {
        ClaimBasis::Share(_) => (host.capacity > 0).then(|| agent.claim_in(Bytes(host.capacity)).0),
        ClaimBasis::Memory(_) | ClaimBasis::KvCache { .. } => Some(agent.claim_in(Bytes::ZERO).0 / devices),
    }
}

/// The claim as a share of a device, as a server without explicit bytes must be told it.
fn share(agent: &Agent, host: &Host) -> Option<f64> {
    let share = match agent.claim {
        ClaimBasis::Share(share) => share,
        _ if host.capacity == 0 => return None,
        _ => claim_of_device(agent, host)? as f64 / host.capacity as f64,
    };
    Some(share.clamp(0.01, 0.95))
}

/// Rounded down: a claim is never exceeded.
fn two_decimals(share: f64) -> String {
    format!("{:.2}", (share * 100.0 + 1e-9).floor() / 100.0)
}

/// What older versions are told instead.
fn fallbacks(agent: &Agent, host: &Host) -> Vec<Fallback> {
    let mut all = Vec::new();
    if let Some(share) = share(agent, host) {
        let share = two_decimals(share);
        all.push(Fallback {
            flag: "--kv-cache-memory-bytes",
            why: format!(
                "This version of vLLM takes no KV cache in bytes: --gpu-memory-utilization {share} stands for the whole \
                 claim instead, of what the server takes for the device's memory."
            ),
            set: Some(("--gpu-memory-utilization", share)),
            env: None,
        });
    }
    if let Some(attention) = &agent.attention_backend {
        all.push(Fallback {
            flag: "--attention-backend",
            set: None,
            env: Some(("VLLM_ATTENTION_BACKEND", attention.clone())),
            why: "This version of vLLM reads it from the variable VLLM_ATTENTION_BACKEND.".to_owned(),
        });
    }
    all
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
        ("VLLM_NO_USAGE_STATS", "1".to_owned()),
        ("DO_NOT_TRACK", "1".to_owned()),
    ];
    if assemble::vendor(host) != Some(GpuVendor::Nvidia) {
        // AITER fails in places on gfx1151.
        ours.extend([
            ("VLLM_ROCM_USE_AITER", "0".to_owned()),
            ("VLLM_ROCM_USE_AITER_LINEAR", "0".to_owned()),
        ]);
    }
    let text = |path: std::path::PathBuf| path.to_string_lossy().into_owned();
    match place {
        Place::Container => ours.push(("HF_HOME", "/root/.cache/huggingface".to_owned())),
        Place::Local => ours.extend([
            ("HF_HUB_CACHE", text(host.hub.clone())),
            ("VLLM_CACHE_ROOT", text(host.caches.join("vllm"))),
            ("TRITON_CACHE_DIR", text(host.caches.join("triton"))),
        ]),
    }
    assemble::environment(agent, ours, KEY, RESERVED)
}

/// AWQ is float16 only up to 0.16; elsewhere the model's own type is right.
fn dtype(agent: &Agent) -> Option<String> {
    let awq = |text: &str| text.to_ascii_lowercase().contains("awq");
    agent.dtype.clone().or_else(|| {
        (awq(&agent.model) || agent.quantization.as_deref().is_some_and(awq)).then(|| "float16".to_owned())
    })
}
