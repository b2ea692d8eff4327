//! llama.cpp: llama-server's flags as of build b11434, its health check and its log.

use std::path::Path;

use domain::Stage;
use domain::stack::{Agent, HubFile};

use super::assemble::{self, Instead, Parts, Place, Reserved, Spelling};
use super::scan::{after, figure};
use super::{Backend, LogFact, Order};
use crate::launch::{Launch, Mount};
use crate::{EngineError, ErrorKind};

#[derive(Debug, Clone, Copy)]
pub struct LlamaCpp;

const KEY: &str = "LLAMA_API_KEY";

const RESERVED: &[Reserved] = &[
    Reserved { spellings: &["--model", "-m"], instead: Instead::Key("model") },
    Reserved {
        spellings: &["--hf-repo", "-hf", "-hfr", "--hf-file", "-hff", "--model-url", "-mu"],
        instead: Instead::Key("model"),
    },
    Reserved { spellings: &["--alias", "-a"], instead: Instead::Never("an agent answers to its name") },
    Reserved { spellings: &["--host"], instead: Instead::Never("agents are reached on 127.0.0.1 only") },
    Reserved { spellings: &["--port"], instead: Instead::Key("port") },
    Reserved {
        spellings: &["--api-key", "--api-key-file"],
        instead: Instead::Never("every start has a fresh key, which Bifrost knows"),
    },
    Reserved { spellings: &["--ctx-size", "-c"], instead: Instead::Key("context") },
    Reserved { spellings: &["--parallel", "-np"], instead: Instead::Key("sequences") },
    Reserved {
        spellings: &["--cache-type-k", "-ctk", "--cache-type-v", "-ctv"],
        instead: Instead::Key("kv_dtype"),
    },
    Reserved { spellings: &["--model-draft", "-md"], instead: Instead::Key("draft_model") },
    Reserved {
        spellings: &["--jinja", "--no-jinja", "--metrics", "--slots", "--no-slots"],
        instead: Instead::Never("tool calls and the figures on the card depend on it"),
    },
];

/// What Asgard sets unless the user's arguments do: the flag with its spellings, and the value.
const DEFAULTS: &[(&[&str], &str)] = &[
    // A prompt cache of 8 GB beside the model is not in any claim.
    (&["--cache-ram", "-cram"], "0"),
    // Reading through mmap hangs on large models with ROCm; `--no-mmap` itself is gone.
    (
        &["--load-mode", "-lm", "--mmap", "--no-mmap", "--mlock", "--direct-io", "-dio", "--no-direct-io"],
        "none",
    ),
    (&["--flash-attn", "-fa"], "auto"),
];
const GPU_LAYERS: &[&str] = &["--n-gpu-layers", "--gpu-layers", "-ngl"];

impl Backend for LlamaCpp {
    fn launch(&self, order: &Order<'_>) -> Result<Launch, EngineError> {
        let agent = order.agent;
        assemble::check_args(agent, RESERVED, Spelling::Exact)?;
        let place = Place::of(order)?;
        let in_container = place == Place::Container && order.rehearsal.is_none();
        let mut mounts = Vec::new();
        let mut locate = |model: &str, target: &str| -> Result<String, EngineError> {
            // The stand-in of a rehearsal reads no model, so any name will do.
            if order.rehearsal.is_some() {
                return Ok(model.to_owned());
            }
            let path = gguf(agent, model, order.gguf.as_deref().filter(|_| model == agent.model))?;
            Ok(if in_container {
                mounted(path, &order.host.hub, target, &mut mounts)
            } else {
                path.display().to_string()
            })
        };
        let model = locate(&agent.model, "/models")?;
        let draft = agent.draft_model.as_deref().map(|draft| locate(draft, "/draft")).transpose()?;

        let mut line: Vec<String> = vec!["llama-server".to_owned()];
        let mut flag = |name: &str, value: String| line.extend([name.to_owned(), value]);
        flag("--model", model);
        if let Some(draft) = draft {
            flag("--model-draft", draft);
        }
        flag("--alias", agent.name.to_string());
        flag("--host", place.host().to_owned());
        flag("--port", agent.port.to_string());
        // With a number of slots given the context is divided among them.
        let context = u64::from(agent.context) * u64::from(agent.sequences.max(1));
        flag("--ctx-size", context.to_string());
        flag("--parallel", agent.sequences.max(1).to_string());
        if let Some(dtype) = &agent.kv_dtype {
            flag("--cache-type-k", dtype.clone());
            flag("--cache-type-v", dtype.clone());
        }
        for (spellings, value) in DEFAULTS {
            if let Some(name) =
                spellings.first().filter(|_| !assemble::gives(agent, spellings, Spelling::Exact))
            {
                flag(name, (*value).to_owned());
            }
        }
        if in_container
            && !order.host.devices.is_empty()
            && !assemble::gives(agent, GPU_LAYERS, Spelling::Exact)
        {
            flag("--n-gpu-layers", "all".to_owned());
        }
        line.extend(["--jinja", "--metrics", "--slots"].map(str::to_owned));
        line.extend(agent.args.iter().cloned());
        let env = assemble::environment(agent, [("DO_NOT_TRACK", "1".to_owned())], KEY)?;
        assemble::launch(order, Parts { line, image_is_program: true, mounts, env, key_variable: KEY })
    }

    fn read_line(&self, line: &str) -> Option<LogFact> {
        read_line(line)
    }

    fn health_path(&self) -> &'static str {
        "/health"
    }
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
                "Download it into the Hugging Face cache first: hf download {} {}{}",
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

fn read_line(line: &str) -> Option<LogFact> {
    if line.contains("listening on http") {
        return Some(LogFact::Listening);
    }
    if let Some(rest) =
        after(line, "initializing, n_slots = ").or_else(|| after(line, "initializing slots, n_slots = "))
    {
        // The slots' contexts are one cache where it is unified.
        let slots = figure(rest)?;
        let context = after(rest, "n_ctx_slot = ").and_then(figure)?;
        let unified = rest.contains("kv_unified = 'true'");
        return Some(LogFact::KvTokens(whole(if unified { context } else { slots * context })));
    }
    if let Some(rest) = after(line, "llama_kv_cache: size = ").or_else(|| after(line, "KV self size = ")) {
        return figure(rest).map(|mib| LogFact::KvBytes(whole(mib * f64::from(1 << 20))));
    }
    let stage = [
        ("load_model: loading model", Stage::Weights),
        ("main: loading model", Stage::Weights),
        ("constructing llama_context", Stage::KvCache),
        ("warming up the model with an empty run", Stage::WarmUp),
        ("llama_server: model loaded", Stage::WarmUp),
        ("main: model loaded", Stage::WarmUp),
    ];
    stage.iter().find(|(text, _)| line.contains(text)).map(|(_, stage)| LogFact::Stage(*stage))
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a log's figure, cut at zero")]
fn whole(amount: f64) -> u64 {
    amount.max(0.0).round() as u64
}
