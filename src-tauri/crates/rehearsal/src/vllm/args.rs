//! vLLM 0.32's command line.

use domain::secret::Secret;

use crate::args::{Command, Dialect, Refusal};

/// How many words a flag takes, and how its value is shown.
#[derive(Clone, Copy, PartialEq)]
enum Takes {
    Nothing,
    Text,
    Whole,
    Real,
    /// A whole number with an optional suffix: `32k`, `12G`.
    Size,
    Many,
}

use Takes::{Many, Nothing, Real, Size, Text, Whole};

/// The flags it knows: those that memory, speed and serving depend on, and those that people add.
const FLAGS: &[(&str, Takes)] = &[
    ("--model", Text),
    ("--host", Text),
    ("--port", Whole),
    ("--served-model-name", Many),
    ("--api-key", Many),
    ("--max-model-len", Size),
    ("--max-num-seqs", Whole),
    ("--max-num-batched-tokens", Size),
    ("--kv-cache-memory-bytes", Size),
    ("--gpu-memory-utilization", Real),
    ("--device-memory-utilization", Real),
    ("--dtype", Text),
    ("--quantization", Text),
    ("-q", Text),
    ("--kv-cache-dtype", Text),
    ("--block-size", Whole),
    ("--tensor-parallel-size", Whole),
    ("-tp", Whole),
    ("--pipeline-parallel-size", Whole),
    ("-pp", Whole),
    ("--data-parallel-size", Whole),
    ("-dp", Whole),
    ("--distributed-executor-backend", Text),
    ("--enable-auto-tool-choice", Nothing),
    ("--tool-call-parser", Text),
    ("--reasoning-parser", Text),
    ("--chat-template", Text),
    ("--chat-template-content-format", Text),
    ("--revision", Text),
    ("--code-revision", Text),
    ("--tokenizer", Text),
    ("--tokenizer-mode", Text),
    ("--tokenizer-revision", Text),
    ("--download-dir", Text),
    ("--load-format", Text),
    ("--safetensors-load-strategy", Text),
    ("--seed", Whole),
    ("--attention-backend", Text),
    ("--speculative-config", Text),
    ("--compilation-config", Text),
    ("-cc", Text),
    ("-O", Text),
    ("--hf-overrides", Text),
    ("--generation-config", Text),
    ("--override-generation-config", Text),
    ("--limit-mm-per-prompt", Text),
    ("--cpu-offload-gb", Real),
    ("--max-log-len", Whole),
    ("--root-path", Text),
    ("--uvicorn-log-level", Text),
    ("--log-level", Text),
    ("--config", Text),
    ("--enforce-eager", Nothing),
    ("--no-enforce-eager", Nothing),
    ("--trust-remote-code", Nothing),
    ("--enable-prefix-caching", Nothing),
    ("--no-enable-prefix-caching", Nothing),
    ("--enable-chunked-prefill", Nothing),
    ("--no-enable-chunked-prefill", Nothing),
    ("--enable-sleep-mode", Nothing),
    ("--enable-expert-parallel", Nothing),
    ("--enable-log-requests", Nothing),
    ("--no-enable-log-requests", Nothing),
    ("--disable-log-stats", Nothing),
    ("--disable-uvicorn-access-log", Nothing),
    ("--enable-force-include-usage", Nothing),
    ("--enable-server-load-tracking", Nothing),
    ("--enable-request-id-headers", Nothing),
    ("--async-scheduling", Nothing),
    ("--no-async-scheduling", Nothing),
    ("--disable-custom-all-reduce", Nothing),
    ("--language-model-only", Nothing),
];

/// Parsers that `--tool-call-parser` may name.
const PARSERS: &[&str] = &[
    "deepseek_v3",
    "deepseek_v31",
    "gemma4",
    "glm45",
    "granite",
    "hermes",
    "internlm",
    "jamba",
    "kimi_k2",
    "llama3_json",
    "llama4_json",
    "llama4_pythonic",
    "minimax",
    "mistral",
    "openai",
    "phi4_mini_json",
    "pythonic",
    "qwen3_coder",
    "qwen3_xml",
    "seed_oss",
    "xlam",
];

/// What vLLM does when a model's own limit is not known here.
const CONTEXT: u64 = 32_768;

pub(crate) const USAGE: &str = "usage: vllm [-h] [-v]\n            {chat,complete,serve,launch,bench,collect-env,\
                     download-kernels,preload,run-batch,snapshot}\n            ...\n";

/// Every flag that is taken, and whether it has a value.
pub(crate) fn flags() -> impl Iterator<Item = (&'static str, bool)> {
    FLAGS.iter().map(|(flag, takes)| (*flag, *takes != Nothing))
}

/// Reads what follows `vllm`.
pub(crate) fn read(words: &[String], key: Option<Secret>) -> Result<Command, Refusal> {
    let mut rest = words.iter().map(String::as_str).peekable();
    match rest.next() {
        Some("serve") => {}
        Some(other) => {
            return Err(refuse(&format!(
                "argument subparser: invalid choice: '{other}' (choose from 'serve')"
            )));
        }
        None => return Err(Refusal::new(USAGE, 1)),
    }
    let mut tag: Option<String> = None;
    let mut given: Vec<(&'static str, Takes, Vec<String>)> = Vec::new();
    let mut strange: Vec<String> = Vec::new();
    while let Some(word) = rest.next() {
        if !word.starts_with('-') || word == "-" {
            if tag.is_none() && strange.is_empty() {
                tag = Some(word.to_owned());
            } else {
                strange.push(word.to_owned());
            }
            continue;
        }
        let (name, inline) = match word.split_once('=') {
            Some((name, value)) => (name, Some(value.to_owned())),
            None => (word, None),
        };
        // vLLM takes underscores for hyphens.
        let name = if name.starts_with("--") { name.replace('_', "-") } else { name.to_owned() };
        let Some((flag, takes)) = FLAGS.iter().find(|(flag, _)| *flag == name).copied() else {
            strange.push(word.to_owned());
            // The words after an unknown flag belong to nobody; argparse lists them with it.
            while let Some(value) = rest.next_if(|w| !w.starts_with('-')) {
                strange.push(value.to_owned());
            }
            continue;
        };
        let mut values: Vec<String> = inline.into_iter().collect();
        match takes {
            Nothing => {}
            Many => {
                while let Some(value) = rest.next_if(|w| !w.starts_with('-')) {
                    values.push(value.to_owned());
                }
            }
            _ if values.is_empty() => {
                values.extend(rest.next_if(|w| !w.starts_with("--")).map(str::to_owned));
            }
            _ => {}
        }
        if takes != Nothing && values.is_empty() {
            let wanted = if takes == Many { "at least one argument" } else { "one argument" };
            return Err(refuse(&format!("argument {flag}: expected {wanted}")));
        }
        given.push((flag, takes, values));
    }
    if !strange.is_empty() {
        return Err(refuse(&format!("unrecognized arguments: {}", strange.join(" "))));
    }
    for (flag, takes, values) in &given {
        let value = values.first().map(String::as_str).unwrap_or_default();
        let kind = match takes {
            Whole if value.parse::<i64>().is_err() => "int",
            Real if value.parse::<f64>().is_err() => "float",
            Size if size(value).is_none()
                && !(*flag == "--max-model-len" && ["auto", "-1"].contains(&value)) =>
            {
                "human_readable_int"
            }
            _ => continue,
        };
        return Err(refuse(&format!("argument {flag}: invalid {kind} value: '{value}'")));
    }
    command(tag.as_deref(), &given, key)
}

fn command(
    tag: Option<&str>,
    given: &[(&'static str, Takes, Vec<String>)],
    key: Option<Secret>,
) -> Result<Command, Refusal> {
    // The last of several counts, as in argparse.
    let all =
        |flag: &str| given.iter().rev().find(|(name, _, _)| *name == flag).map(|(_, _, v)| v.as_slice());
    let one = |flag: &str| all(flag).and_then(|v| v.first()).map(String::as_str);
    let model = tag.or_else(|| one("--model")).unwrap_or("Qwen/Qwen3-0.6B").to_owned();
    let port = one("--port").map_or(Ok(8000), str::parse::<u16>).map_err(|_| {
        refuse(&format!("argument --port: invalid int value: '{}'", one("--port").unwrap_or_default()))
    })?;
    let parser = one("--tool-call-parser");
    let auto_tools = all("--enable-auto-tool-choice").is_some();
    if auto_tools && parser.is_none() {
        return Err(Refusal::new(super::failure::tool_parser_missing(), 1));
    }
    if let Some(parser) = parser.filter(|p| auto_tools && !PARSERS.contains(p)) {
        return Err(Refusal::new(super::failure::tool_parser_unknown(parser), 1));
    }
    let names = all("--served-model-name").map_or_else(|| vec![model.clone()], <[String]>::to_vec);
    let mut keys: Vec<Secret> = all("--api-key").unwrap_or_default().iter().map(Secret::new).collect();
    if keys.is_empty() {
        keys.extend(key);
    }
    let eager = given.iter().rev().find_map(|(flag, _, _)| match *flag {
        "--enforce-eager" => Some(true),
        "--no-enforce-eager" => Some(false),
        _ => None,
    });
    let utilization = one("--gpu-memory-utilization").or_else(|| one("--device-memory-utilization"));
    Ok(Command {
        dialect: Dialect::Vllm,
        names,
        host: one("--host").unwrap_or("0.0.0.0").to_owned(),
        port,
        context: one("--max-model-len").and_then(size).unwrap_or(CONTEXT).max(1),
        sequences: one("--max-num-seqs").and_then(|n| n.parse().ok()).unwrap_or(256).max(1),
        keys,
        auto_tools,
        tool_parser: parser.is_some(),
        metrics: true,
        kv_bytes: one("--kv-cache-memory-bytes").and_then(size),
        utilization: utilization.and_then(|u| u.parse().ok()).unwrap_or(0.92),
        eager: eager.unwrap_or(false),
        force_usage: all("--enable-force-include-usage").is_some(),
        unified_kv: false,
        shown: shown(tag, given),
        model,
    })
}

/// The arguments as a Python dictionary shows them.
fn shown(tag: Option<&str>, given: &[(&'static str, Takes, Vec<String>)]) -> Vec<(String, String)> {
    let quoted = |text: &str| format!("'{}'", text.replace('\\', "\\\\").replace('\'', "\\'"));
    let mut all: Vec<(String, String)> = Vec::new();
    if let Some(tag) = tag {
        all.push(("model_tag".to_owned(), quoted(tag)));
        all.push(("model".to_owned(), quoted(tag)));
    }
    for (flag, takes, values) in given {
        let value = values.first().map(String::as_str).unwrap_or_default();
        let name = flag.trim_start_matches('-').replace('-', "_");
        let (name, text) = match takes {
            _ if *flag == "--api-key" => (name, "'***'".to_owned()),
            Nothing if name.starts_with("no_") => {
                (name.trim_start_matches("no_").to_owned(), "False".to_owned())
            }
            Nothing => (name, "True".to_owned()),
            Many => (name, format!("[{}]", values.iter().map(|v| quoted(v)).collect::<Vec<_>>().join(", "))),
            Whole | Real => (name, value.to_owned()),
            Size => (name, size(value).map_or_else(|| quoted(value), |n| n.to_string())),
            Text => (name, quoted(value)),
        };
        all.retain(|(before, _)| *before != name);
        all.push((name, text));
    }
    all
}

/// `32k` is 32,000 and `32K` is 32,768; the same for m and g.
fn size(text: &str) -> Option<u64> {
    let (digits, factor) = match text.chars().last()? {
        'k' => (text.strip_suffix('k')?, 1_000),
        'm' => (text.strip_suffix('m')?, 1_000_000),
        'g' => (text.strip_suffix('g')?, 1_000_000_000),
        'K' => (text.strip_suffix('K')?, 1 << 10),
        'M' => (text.strip_suffix('M')?, 1 << 20),
        'G' => (text.strip_suffix('G')?, 1 << 30),
        _ => (text, 1),
    };
    digits.parse::<u64>().ok()?.checked_mul(factor)
}

fn refuse(what: &str) -> Refusal {
    Refusal::new(format!("{USAGE}vllm: error: {what}\n"), 2)
}
