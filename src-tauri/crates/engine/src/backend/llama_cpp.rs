//! llama.cpp: llama-server's flags as of build b11434, its health check and its log.

use std::path::Path;

use domain::Bytes;
use domain::stack::{Agent, HubFile, LoadMode};

use super::assemble::{self, Parts, Place, Reserved, Spelling};
use super::explain::{self, Line};
use super::{Backend, LogFact, Order, llama_cpp_log};
use crate::launch::{Launch, Mount};
use crate::{EngineError, ErrorKind};

#[derive(Debug, Clone, Copy)]
pub struct LlamaCpp;

const KEY: &str = "LLAMA_API_KEY";

/// llama-server's own defaults, given all the same: another build's must not change the memory of a pass.
const BATCH: u32 = 2048;
const MICRO_BATCH: u32 = 512;

/// More layers than any model has: every build takes a number, and only some the word "all".
const ALL_LAYERS: &str = "999";

const GPU_LAYERS: &[&str] = &["--n-gpu-layers", "--gpu-layers", "-ngl"];
const DEVICE: &[&str] = &["--device", "-dev"];
const FLASH_ATTENTION: &[&str] = &["--flash-attn", "-fa"];
const EACH_ITS_OWN: &str = "each of its sequences has a context of its own, which is what was counted";

const RESERVED: &[Reserved] = &[
    Reserved::key(&["--model", "-m"], "model").or_env(&["LLAMA_ARG_MODEL"]),
    Reserved::key(
        &["--hf-repo", "-hf", "-hfr", "--hf-file", "-hff", "--model-url", "-mu", "--docker-repo", "-dr"],
        "model",
    )
    .or_env(&["LLAMA_ARG_HF_REPO", "LLAMA_ARG_HF_FILE", "LLAMA_ARG_MODEL_URL", "LLAMA_ARG_DOCKER_REPO"]),
    Reserved::never(
        &["--models-dir", "--models-preset", "--models-max", "--models-autoload"],
        "an agent is one model, whose memory was counted",
    )
    .or_env(&[
        "LLAMA_ARG_MODELS_DIR",
        "LLAMA_ARG_MODELS_PRESET",
        "LLAMA_ARG_MODELS_MAX",
        "LLAMA_ARG_MODELS_AUTOLOAD",
    ]),
    Reserved::never(&["--alias", "-a"], "an agent answers to its name").or_env(&["LLAMA_ARG_ALIAS"]),
    Reserved::never(&["--host"], "agents are reached on 127.0.0.1 only").or_env(&["LLAMA_ARG_HOST"]),
    Reserved::key(&["--port"], "port").or_env(&["LLAMA_ARG_PORT"]),
    Reserved::never(&["--api-key", "--api-key-file"], "every start has a fresh key, which Bifrost knows")
        .or_env(&["LLAMA_ARG_API_KEY", "LLAMA_ARG_API_KEY_FILE"]),
    Reserved::key(&["--ctx-size", "-c"], "context").or_env(&["LLAMA_ARG_CTX_SIZE"]),
    Reserved::key(&["--parallel", "-np"], "sequences").or_env(&["LLAMA_ARG_N_PARALLEL"]),
    Reserved::never(
        &["--kv-unified", "-kvu", "--no-kv-unified", "-no-kvu", "--kv-unified-per-slot"],
        EACH_ITS_OWN,
    )
    .or_env(&["LLAMA_ARG_KV_UNIFIED", "LLAMA_ARG_KV_SPLIT"]),
    Reserved::never(&["--swa-full"], "a sliding window is counted as its window, and this keeps everything")
        .or_env(&["LLAMA_ARG_SWA_FULL"]),
    Reserved::never(
        &["--fit", "-fit", "--fit-target", "-fitt", "--fit-ctx", "-fitc"],
        "what fits is planned before the start, from the claim",
    )
    .or_env(&["LLAMA_ARG_FIT", "LLAMA_ARG_FIT_TARGET", "LLAMA_ARG_FIT_CTX"]),
    Reserved::key(&["--batch-size", "-b", "--ubatch-size", "-ub"], "batched_tokens")
        .or_env(&["LLAMA_ARG_BATCH", "LLAMA_ARG_UBATCH"]),
    Reserved::key(&["--cache-type-k", "-ctk", "--cache-type-v", "-ctv"], "kv_dtype")
        .or_env(&["LLAMA_ARG_CACHE_TYPE_K", "LLAMA_ARG_CACHE_TYPE_V"]),
    Reserved::key(&["--cache-ram", "-cram"], "cache_ram").or_env(&["LLAMA_ARG_CACHE_RAM"]),
    Reserved::key(
        &[
            "--load-mode",
            "-lm",
            "--mmap",
            "--no-mmap",
            "--mlock",
            "--direct-io",
            "-dio",
            "--no-direct-io",
            "-ndio",
        ],
        "load_mode",
    )
    .or_env(&[
        "LLAMA_ARG_LOAD_MODE",
        "LLAMA_ARG_MMAP",
        "LLAMA_ARG_NO_MMAP",
        "LLAMA_ARG_MLOCK",
        "LLAMA_ARG_DIO",
    ]),
    Reserved::key(
        &["--model-draft", "-md", "--spec-draft-model", "--hf-repo-draft", "-hfd", "-hfrd"],
        "draft_model",
    )
    .or_env(&["LLAMA_ARG_MODEL_DRAFT", "LLAMA_ARG_HFD_REPO", "LLAMA_ARG_SPEC_DRAFT_MODEL"]),
    Reserved::key(&["--spec-draft-n-max", "--draft-max", "--draft", "--draft-n"], "draft_tokens")
        .or_env(&["LLAMA_ARG_DRAFT_MAX", "LLAMA_ARG_SPEC_DRAFT_N_MAX"]),
    // As arguments they are read like `gpu_layers`, for files from before that key.
    Reserved::key(&[], "gpu_layers").or_env(&["LLAMA_ARG_N_GPU_LAYERS", "LLAMA_ARG_DEVICE"]),
    Reserved::never(
        &["--jinja", "--no-jinja", "--metrics", "--slots", "--no-slots"],
        "tool calls and the figures on the card depend on it",
    )
    .or_env(&[
        "LLAMA_ARG_JINJA",
        "LLAMA_ARG_ENDPOINT_METRICS",
        "LLAMA_ARG_ENDPOINT_SLOTS",
        "LLAMA_ARG_NO_ENDPOINT_SLOTS",
    ]),
    Reserved::key(&[], "devices").or_env(&[
        "CUDA_VISIBLE_DEVICES",
        "HIP_VISIBLE_DEVICES",
        "ROCR_VISIBLE_DEVICES",
        "NVIDIA_VISIBLE_DEVICES",
        "GGML_VK_VISIBLE_DEVICES",
    ]),
];

/// What says where the layers go, once the key `gpu_layers` does.
const LAYERS_BY_KEY: &[Reserved] = &[Reserved::key(GPU_LAYERS, "gpu_layers")];
/// Which GPU it is may be said beside a number of layers; that it is none only by that number.
const DEVICE_BY_KEY: &[Reserved] = &[Reserved::key(DEVICE, "gpu_layers")];

impl Backend for LlamaCpp {
    fn launch(&self, order: &Order<'_>) -> Result<Launch, EngineError> {
        let agent = order.agent;
        let (line, mounts) = line(order)?;
        let mut words = line.words;
        words.extend(agent.args.iter().cloned());
        let env = assemble::environment(agent, [("DO_NOT_TRACK", "1".to_owned())], KEY, RESERVED)?;
        let parts = Parts {
            line: words,
            image_is_program: true,
            entrypoint: None,
            mounts,
            env,
            key_variable: KEY,
            fallbacks: Vec::new(),
        };
        assemble::launch(order, parts)
    }

    fn facts(&self, line: &str) -> Vec<LogFact> {
        llama_cpp_log::facts(line)
    }

    fn health_path(&self) -> &'static str {
        "/health"
    }
}

/// What Asgard sets, each with its reason, and what is mounted for it; the agent's own arguments follow it.
pub(super) fn line(order: &Order<'_>) -> Result<(Line, Vec<Mount>), EngineError> {
    let agent = order.agent;
    assemble::check_args(agent, RESERVED, Spelling::Exact)?;
    if let Some(layers) = agent.gpu_layers {
        assemble::check_args(agent, LAYERS_BY_KEY, Spelling::Exact)?;
        if layers == 0 || agent.args.windows(2).any(|w| DEVICE.contains(&w[0].as_str()) && w[1] == "none") {
            assemble::check_args(agent, DEVICE_BY_KEY, Spelling::Exact)?;
        }
    }
    let place = Place::of(order)?;
    let mut mounts = Vec::new();
    let mut locate = |model: &str, target: &str| -> Result<String, EngineError> {
        // The stand-in of a rehearsal reads no model, so any name will do.
        if order.rehearsal.is_some() {
            return Ok(model.to_owned());
        }
        let path = gguf(agent, model, order.gguf.as_deref().filter(|_| model == agent.model))?;
        Ok(if place == Place::Container {
            mounted(path, &order.host.hub, target, &mut mounts)
        } else {
            path.display().to_string()
        })
    };
    let model = locate(&agent.model, "/models")?;
    let draft = agent.draft_model.as_deref().map(|draft| locate(draft, "/draft")).transpose()?;

    let mut line = Line::of(&["llama-server"]);
    line.set("--model", model, "The file of the weights.");
    if let Some(draft) = draft {
        line.set(
            "--model-draft",
            draft,
            "A small model that writes ahead, and which this one confirms or corrects.",
        );
        if let Some(tokens) = agent.draft_tokens {
            line.set("--spec-draft-n-max", tokens.to_string(), format!("It runs {tokens} tokens ahead."));
        }
    }
    line.set("--alias", agent.name.to_string(), "The name it answers to.");
    line.set("--host", place.host(), place.why());
    line.set("--port", agent.port.to_string(), "Its own port, from the stack file.");
    memory(order, &mut line);
    layers(order, place, &mut line);
    for flag in ["--jinja", "--metrics", "--slots"] {
        let why = match flag {
            "--jinja" => "Tool calls need the model's own template.",
            "--metrics" => "The figures on the card are read from it.",
            _ => "What each conversation holds of the KV cache is read from it.",
        };
        line.switch(flag, why);
    }
    Ok((line, mounts))
}

/// Context, passes, and what is kept where.
fn memory(order: &Order<'_>, line: &mut Line) {
    let agent = order.agent;
    let slots = agent.sequences.max(1);
    // With a number of slots given the context is divided among them.
    let context = u64::from(agent.context) * u64::from(slots);
    let one = explain::tokens(agent.context);
    let unit = explain::unit(order.host);
    let takes = agent.kv_bytes_per_token.map_or_else(String::new, |per_token| {
        format!(" It sets aside {} at once.", Bytes(per_token.saturating_mul(context)).show_up(unit))
    });
    let why = if slots == 1 {
        format!("One context of {one}.{takes}")
    } else {
        let times = explain::count(u64::from(slots));
        format!(
            "{times} contexts of {one}: with a number of slots given, llama-server divides this among them.{takes}"
        )
    };
    line.set("--ctx-size", context.to_string(), sentence(&why));
    let why = if slots == 1 {
        "One request at a time, with the whole context.".to_owned()
    } else {
        format!("{slots} requests at once, each with a context of its own and none of another's.")
    };
    line.set("--parallel", slots.to_string(), why);
    let (batch, micro, why) = match agent.batched_tokens {
        Some(tokens) => (tokens, tokens, "From batched_tokens; the memory of a pass grows with it."),
        None => (
            BATCH,
            MICRO_BATCH,
            "llama-server's own default, given so that another build's changes no memory.",
        ),
    };
    line.set("--batch-size", batch.to_string(), why);
    line.set("--ubatch-size", micro.to_string(), why);
    if let Some(dtype) = &agent.kv_dtype {
        line.set("--cache-type-k", dtype, "The type of the KV cache, which its size was counted with.");
        line.set("--cache-type-v", dtype, "The type of the KV cache, which its size was counted with.");
    }
    let kept = agent.cache_ram.unwrap_or_default();
    let why = if kept == Bytes::ZERO {
        "Left out, it would keep up to 8 GB of old prompts in ordinary memory, which no claim holds."
            .to_owned()
    } else {
        format!("{} of ordinary memory for old prompts; it counts in the claim.", kept.show(unit))
    };
    line.set("--cache-ram", (kept.0 >> 20).to_string(), why);
    let mode = agent.load_mode.unwrap_or(LoadMode::None);
    line.set("--load-mode", mode.word(), mode_words(mode));
    if !assemble::gives(agent, FLASH_ATTENTION, Spelling::Exact) {
        line.set("--flash-attn", "auto", "Flash attention where the device has it: less memory for a pass.");
    }
}

fn mode_words(mode: LoadMode) -> &'static str {
    match mode {
        LoadMode::None => "Copied into memory: reading more than 20 GB through a mapping hangs on some GPUs.",
        LoadMode::Mmap => "Mapped from the disk, as the stack file says; the kernel counts it as cache.",
        LoadMode::Mlock => "Copied and held in memory, as the stack file says.",
        LoadMode::MmapMlock => "Mapped and held in memory, as the stack file says.",
        LoadMode::Dio => "Read past the page cache, as the stack file says.",
    }
}

/// Where the layers are. Today's builds take a GPU by themselves wherever they find one, and then hold memory there
/// that nobody counted: so it is always said.
fn layers(order: &Order<'_>, place: Place, line: &mut Line) {
    let agent = order.agent;
    let given = |flags| assemble::gives(agent, flags, Spelling::Exact);
    let drafts = agent.draft_model.is_some();
    if !agent.on_device() {
        let why = if agent.layers().is_some() {
            "It is to stay on the processor, and its memory is counted there."
        } else {
            "A program of this machine is kept on the processor unless gpu_layers says otherwise; its memory is \
             counted there."
        };
        if !given(GPU_LAYERS) {
            line.set("--n-gpu-layers", "0", why);
        }
        if !given(DEVICE) {
            line.set(
                "--device",
                "none",
                "Without it, today's builds use a GPU for long prompts all the same.",
            );
        }
        if drafts {
            line.set("--device-draft", "none", "The draft model stays on the processor too.");
        }
        return;
    }
    // A container on a machine without a GPU has nothing to choose.
    let none = place == Place::Container && !assemble::has_gpu(order) && agent.gpu_layers.is_none();
    if none || given(GPU_LAYERS) {
        return;
    }
    match agent.gpu_layers {
        Some(layers) => {
            line.set("--n-gpu-layers", layers.to_string(), format!("{layers} layers on the GPU, from the stack file."));
        }
        None => line.set(
            "--n-gpu-layers",
            ALL_LAYERS,
            "All layers on the GPU, where its claim is counted. Left out, it would take as many as it finds room for.",
        ),
    }
    if drafts {
        line.set("--gpu-layers-draft", ALL_LAYERS, "The draft model is on the GPU too.");
    }
}

/// With a capital at its beginning.
fn sentence(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}

/// The path of the model's file: as written, or where its file of the Hub was found.
///
/// # Errors
/// It is a Hub id, only a part of a path, or a file of the Hub that is not in the cache.
fn gguf<'a>(agent: &Agent, model: &'a str, found: Option<&'a Path>) -> Result<&'a Path, EngineError> {
    let path = Path::new(model);
    if path.is_absolute() {
        return Ok(path);
    }
    let missing = |message: String, next: String| EngineError::new(ErrorKind::NoModel, message, next);
    match (HubFile::parse(model), found) {
        (Some(_), Some(found)) => Ok(found),
        (Some(file), None) => Err(missing(
            format!("{} of {} is not in the Hugging Face cache.", file.file, agent.display_name),
            format!(
                "Download it in Models, or with: asgard models pull {}/{}{}",
                file.repo,
                file.file,
                agent.revision.as_deref().map(at_revision).unwrap_or_default()
            ),
        )),
        (None, _) => Err(missing(
            format!(
                "{} runs on llama.cpp, which needs a GGUF file, and its model is {model:?}.",
                agent.display_name
            ),
            format!(
                "Write the whole path of a .gguf file, or OWNER/NAME/FILE.gguf of the Hub, as `model` in [agents.{}].",
                agent.name
            ),
        )),
    }
}

/// The option for a command that a person may copy: nothing that a shell would read otherwise.
fn at_revision(revision: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-' | '/');
    if revision.chars().all(plain) { format!(" --revision {revision}") } else { String::new() }
}

/// Mounts what holds the file, and gives its path in the container. A file of the Hub's cache is a link into its
/// `blobs`, so the whole `hub` folder is mounted; parts of a split model lie side by side, so elsewhere the folder is.
fn mounted(path: &Path, hub: &Path, target: &str, mounts: &mut Vec<Mount>) -> String {
    let in_hub = (!hub.as_os_str().is_empty()).then(|| path.strip_prefix(hub).ok()).flatten();
    let (source, rest) = match in_hub {
        Some(rest) => (hub, rest.to_string_lossy().into_owned()),
        None => (
            path.parent().unwrap_or(path),
            path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default(),
        ),
    };
    if let Some(mount) = mounts.iter().find(|m: &&Mount| m.source == source) {
        return format!("{}/{rest}", mount.target);
    }
    mounts.push(Mount { source: source.to_owned(), target: target.to_owned(), read_only: true });
    format!("{target}/{rest}")
}
