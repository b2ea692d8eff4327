//! A model server's command line, read back: what somebody else's container or process was started with.
//!
//! The flags are those of vLLM 0.11 to 0.33 and llama.cpp up to b11434, in every spelling that those accept. Nothing
//! is run or expanded: a word such as `$PORT` stays that word.
//!
//! Deliberately absent: configuration files that a line names, and variables that set flags (`LLAMA_ARG_*`).

mod flags;
mod shell;

pub use shell::split_shell;

use crate::secret::Secret;
use crate::stack::BackendKind;

/// What a command line says. What it does not say is `None`; what is not understood is in `rest`, word for word.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ServerLine {
    pub backend: Option<BackendKind>,
    pub model: Option<String>,
    /// `--served-model-name`, `--alias`: by which names requests may ask for it. Empty: by the model's own.
    pub served_names: Vec<String>,
    pub host: Option<String>,
    pub port: Option<u16>,
    /// Tokens of one conversation.
    pub context: Option<u32>,
    pub sequences: Option<u32>,
    /// `--gpu-memory-utilization`, 0 to 1.
    pub utilization: Option<f64>,
    /// `--kv-cache-memory-bytes`.
    pub kv_bytes: Option<u64>,
    pub dtype: Option<String>,
    pub kv_dtype: Option<String>,
    pub quantization: Option<String>,
    pub tool_parser: Option<String>,
    pub tensor_parallel: Option<u32>,
    pub revision: Option<String>,
    pub draft_model: Option<String>,
    /// `-ngl` as written: "0", "99", "all".
    pub gpu_layers: Option<String>,
    pub api_key: Option<Secret>,
    /// `--hf-token`.
    pub hub_token: Option<Secret>,
    pub rest: Vec<String>,
}

/// How many wrappers are taken off: `tini -- sh -c "exec env A=1 python -m …"` has five.
const WRAPPERS: usize = 8;

impl ServerLine {
    /// Reads a program with its arguments. None where it is not a model server that is known here.
    pub fn read(command: &[String]) -> Option<Self> {
        read(command, WRAPPERS)
    }
}

fn read(words: &[String], depth: usize) -> Option<ServerLine> {
    let (first, rest) = words.split_first()?;
    if depth == 0 || first.is_empty() {
        return None;
    }
    if first.starts_with('-') {
        return without_program(words);
    }
    let deeper = |words: &[String]| read(words, depth - 1);
    match base_name(first) {
        "vllm" => vllm(rest),
        "llama-server" | "llama-server.exe" | "llama.cpp-server" => Some(flags::llama_cpp(rest)),
        "sh" | "bash" | "dash" | "ash" | "zsh" => {
            let (at, _) = rest.iter().enumerate().find(|(_, w)| runs_text(w))?;
            if !rest[..at].iter().all(|w| w.starts_with('-')) {
                return None;
            }
            commands(rest.get(at + 1)?)?.iter().find_map(|words| deeper(words))
        }
        "exec" | "nohup" | "command" => deeper(rest),
        "env" => deeper(after(rest, |w| w.contains('=') || w == "-i" || w == "--")),
        "tini" | "dumb-init" | "catatonit" | "docker-init" => deeper(after(rest, |w| w.starts_with('-'))),
        "uv" => deeper(after(rest.strip_prefix(&["run".to_owned()])?, |w| w == "--")),
        name if is_python(name) => python(rest),
        // `VLLM_USE_V1=1 vllm serve …`, as in a shell.
        _ if is_assignment(first) => deeper(rest),
        _ => None,
    }
}

/// The words of an image whose entry point already is the server.
fn without_program(words: &[String]) -> Option<ServerLine> {
    // The full llama.cpp image chooses its program by the first word.
    if words[0] == "--server" {
        return Some(flags::llama_cpp(&words[1..]));
    }
    let llama_cpp = words.iter().enumerate().any(|(i, w)| {
        let (name, inline) = w.split_once('=').map_or((w.as_str(), None), |(n, v)| (n, Some(v)));
        match name {
            "-hf" | "-hfr" | "--hf-repo" | "--hf_repo" => true,
            "-m" | "--model" => {
                inline.or(words.get(i + 1).map(String::as_str)).is_some_and(|v| {
                    // A Hub id may end so too, for vLLM's GGUF: there a name has no folder of its own.
                    v.to_ascii_lowercase().ends_with(".gguf")
                })
            }
            _ => false,
        }
    });
    if llama_cpp {
        return Some(flags::llama_cpp(words));
    }
    let vllm = words.iter().any(|w| w == "--model" || w.starts_with("--model="));
    vllm.then(|| flags::vllm(words))
}

fn vllm(rest: &[String]) -> Option<ServerLine> {
    match rest.split_first() {
        Some((verb, rest)) if verb == "serve" => Some(flags::vllm(rest)),
        _ => None,
    }
}

fn python(rest: &[String]) -> Option<ServerLine> {
    let rest = after(rest, |w| w.starts_with('-') && w != "-m" && w != "-c");
    let (first, rest) = rest.split_first()?;
    if first != "-m" {
        // A console script as the kernel shows it: python /usr/local/bin/vllm serve …
        return if base_name(first) == "vllm" { vllm(rest) } else { None };
    }
    let (module, rest) = rest.split_first()?;
    match module.as_str() {
        "vllm.entrypoints.openai.api_server" | "vllm.entrypoints.api_server" => Some(flags::vllm(rest)),
        "vllm" | "vllm.entrypoints.cli.main" => vllm(rest),
        _ => None,
    }
}

/// The commands of a shell's text, each as words.
fn commands(text: &str) -> Option<Vec<Vec<String>>> {
    Some(shell::commands(text)?.into_iter().filter(|words| !words.is_empty()).collect())
}

fn runs_text(word: &str) -> bool {
    word.strip_prefix('-').is_some_and(|letters| {
        letters.ends_with('c') && letters.chars().all(|c| matches!(c, 'c' | 'l' | 'e' | 'u' | 'x' | 'i'))
    })
}

fn after(words: &[String], skipped: impl Fn(&str) -> bool) -> &[String] {
    let at = words.iter().position(|w| !skipped(w)).unwrap_or(words.len());
    &words[at..]
}

fn base_name(program: &str) -> &str {
    program.rsplit('/').next().unwrap_or(program)
}

fn is_python(name: &str) -> bool {
    name.strip_prefix("python").is_some_and(|v| v.chars().all(|c| c.is_ascii_digit() || c == '.'))
}

fn is_assignment(word: &str) -> bool {
    word.split_once('=').is_some_and(|(name, _)| {
        !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
    })
}
