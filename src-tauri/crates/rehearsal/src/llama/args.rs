//! llama-server's command line, build b11434.

use domain::secret::Secret;

use crate::args::{Command, Dialect, Refusal};

/// Flags with a value, each with all its spellings; the first is the name it is looked up by.
const VALUED: &[&[&str]] = &[
    &["--model", "-m"],
    &["--alias", "-a"],
    &["--host"],
    &["--port"],
    &["--ctx-size", "-c"],
    &["--parallel", "-np"],
    &["--api-key"],
    &["--api-key-file"],
    &["--gpu-layers", "-ngl", "--n-gpu-layers"],
    &["--flash-attn", "-fa"],
    &["--load-mode", "-lm"],
    &["--cache-ram", "-cram"],
    &["--cache-type-k", "-ctk"],
    &["--cache-type-v", "-ctv"],
    &["--cache-reuse"],
    &["--threads", "-t"],
    &["--threads-batch", "-tb"],
    &["--threads-http"],
    &["--batch-size", "-b"],
    &["--ubatch-size", "-ub"],
    &["--n-predict", "-n", "--predict"],
    &["--keep"],
    &["--chat-template"],
    &["--chat-template-file"],
    &["--chat-template-kwargs"],
    &["--reasoning-format"],
    &["--reasoning-budget"],
    &["--hf-repo", "-hf", "-hfr"],
    &["--hf-file", "-hff"],
    &["--mmproj", "-mm"],
    &["--model-draft", "-md"],
    &["--spec-draft-n-max"],
    &["--spec-draft-n-min"],
    &["--device", "-dev"],
    &["--device-draft", "--spec-draft-device", "-devd"],
    &["--gpu-layers-draft", "--spec-draft-ngl", "-ngld", "--n-gpu-layers-draft"],
    &["--split-mode", "-sm"],
    &["--tensor-split", "-ts"],
    &["--main-gpu", "-mg"],
    &["--fit"],
    &["--fit-target"],
    &["--seed", "-s"],
    &["--temp"],
    &["--top-k"],
    &["--top-p"],
    &["--min-p"],
    &["--rope-scaling"],
    &["--rope-scale"],
    &["--rope-freq-base"],
    &["--rope-freq-scale"],
    &["--override-kv"],
    &["--override-tensor", "-ot"],
    &["--lora"],
    &["--slot-save-path"],
    &["--slot-prompt-similarity", "-sps"],
    &["--timeout", "-to"],
    &["--log-file"],
    &["--log-verbosity", "-lv", "--verbosity"],
    &["--numa"],
    &["--prio"],
    &["--poll"],
];

const SWITCHES: &[&str] = &[
    "--metrics",
    "--jinja",
    "--no-jinja",
    "--slots",
    "--no-slots",
    "--props",
    "--embeddings",
    "--embedding",
    "--reranking",
    "--kv-unified",
    "-kvu",
    "--kv-unified-per-slot",
    "--no-kv-unified",
    "--cont-batching",
    "-cb",
    "--no-cont-batching",
    "--context-shift",
    "--no-context-shift",
    "--swa-full",
    "--warmup",
    "--no-warmup",
    "--no-ui",
    "--no-webui",
    "--offline",
    "--log-disable",
    "--log-prefix",
    "--log-timestamps",
    "--verbose",
    "-v",
    "--no-kv-offload",
    "-nkvo",
    "--no-op-offload",
    "--check-tensors",
];

/// Slots when nobody says how many.
const SLOTS: usize = 4;
/// The context when it is left to the model.
const CONTEXT: u64 = 8192;

/// Every flag that is taken, with its spellings, and whether it has a value.
pub(crate) fn flags() -> impl Iterator<Item = (&'static [&'static str], bool)> {
    let valued = VALUED.iter().map(|spellings| (*spellings, true));
    valued.chain(SWITCHES.chunks(1).map(|spelling| (spelling, false)))
}

/// Reads what follows `llama-server`.
pub(crate) fn read(words: &[String], key: Option<Secret>) -> Result<Command, Refusal> {
    let mut rest = words.iter().map(String::as_str);
    let mut given: Vec<(&'static str, String)> = Vec::new();
    while let Some(word) = rest.next() {
        if let Some(names) = VALUED.iter().find(|names| names.contains(&word)) {
            let value = rest.next().ok_or_else(|| refuse("expected value for argument", word))?;
            given.push((names.first().copied().unwrap_or_default(), value.to_owned()));
        } else if let Some(switch) = SWITCHES.iter().find(|switch| **switch == word) {
            given.push((switch, String::new()));
        } else {
            return Err(refuse("invalid argument", word));
        }
    }
    let one = |name: &str| given.iter().rev().find(|(n, _)| *n == name).map(|(_, value)| value.as_str());
    let number = |name: &'static str| match one(name) {
        None => Ok(None),
        Some(text) => text
            .parse::<i64>()
            .map(Some)
            .map_err(|_| Refusal::new(format!("error while handling argument \"{name}\": stoi\n"), 1)),
    };
    let port = number("--port")?.unwrap_or(8080);
    let port = u16::try_from(port).map_err(|_| refuse("invalid argument", &port.to_string()))?;
    let parallel = number("--parallel")?.and_then(|n| usize::try_from(n).ok()).filter(|n| *n > 0);
    let total =
        number("--ctx-size")?.and_then(|n| u64::try_from(n).ok()).filter(|n| *n > 0).unwrap_or(CONTEXT);
    let unified = parallel.is_none() || one("--kv-unified").or_else(|| one("-kvu")).is_some();
    let sequences = parallel.unwrap_or(SLOTS);
    let model =
        one("--model").or_else(|| one("--hf-repo")).unwrap_or("models/7B/ggml-model-f16.gguf").to_owned();
    let file = model.rsplit('/').next().unwrap_or(&model).to_owned();
    let names: Vec<String> = one("--alias")
        .map_or_else(|| vec![file], |text| text.split(',').map(|n| n.trim().to_owned()).collect());
    let mut keys: Vec<Secret> = one("--api-key").unwrap_or_default().split(',').map(Secret::new).collect();
    keys.retain(|key| !key.is_empty());
    if keys.is_empty() {
        keys.extend(key);
    }
    Ok(Command {
        dialect: Dialect::Llama,
        names,
        host: one("--host").unwrap_or("127.0.0.1").to_owned(),
        port,
        // With a number of slots the context is divided among them, unless they share one cache.
        context: if unified { total } else { (total / sequences as u64).max(1) },
        sequences,
        keys,
        auto_tools: one("--no-jinja").is_none(),
        tool_parser: true,
        metrics: one("--metrics").is_some(),
        kv_bytes: None,
        utilization: 1.0,
        eager: false,
        force_usage: false,
        unified_kv: unified,
        shown: Vec::new(),
        model,
    })
}

fn refuse(what: &str, word: &str) -> Refusal {
    Refusal::new(format!("error: {what}: {word}\n"), 1)
}
