//! The command line of the real server, read as the real server reads it.

use std::ffi::OsString;

use domain::secret::Secret;

use crate::{llama, vllm};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Dialect {
    Vllm,
    Llama,
}

/// What was asked for, in words that both dialects share.
#[derive(Debug, Clone)]
#[expect(clippy::struct_excessive_bools, reason = "they are the switches of a command line")]
pub(crate) struct Command {
    pub(crate) dialect: Dialect,
    /// A Hub id or a path, as given.
    pub(crate) model: String,
    /// The names it answers to; at least one.
    pub(crate) names: Vec<String>,
    pub(crate) host: String,
    pub(crate) port: u16,
    /// Tokens that one sequence may have.
    pub(crate) context: u64,
    pub(crate) sequences: usize,
    /// Any of these is let in; none at all means no check.
    pub(crate) keys: Vec<Secret>,
    /// vLLM: `--enable-auto-tool-choice`. llama.cpp: `--jinja`, which is its default.
    pub(crate) auto_tools: bool,
    /// vLLM: `--tool-call-parser` was given.
    pub(crate) tool_parser: bool,
    pub(crate) metrics: bool,
    pub(crate) kv_bytes: Option<u64>,
    pub(crate) utilization: f64,
    pub(crate) eager: bool,
    pub(crate) force_usage: bool,
    pub(crate) unified_kv: bool,
    /// The arguments as the log shows them: name and value.
    pub(crate) shown: Vec<(String, String)>,
}

impl Command {
    /// The first of its names: what answers carry.
    pub(crate) fn name(&self) -> &str {
        self.names.first().map_or(self.model.as_str(), String::as_str)
    }
}

/// A command line that the real server would not take: what it says, and its exit code.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) text: String,
    pub(crate) code: u8,
}

impl Refusal {
    pub(crate) fn new(text: impl Into<String>, code: u8) -> Self {
        Self { text: text.into(), code }
    }
}

/// Reads a command line without the program's own name: `vllm serve …` or `llama-server …`. API keys also come
/// from the environment, through `var`.
pub(crate) fn read(args: &[OsString], var: impl Fn(&str) -> Option<String>) -> Result<Command, Refusal> {
    let words: Vec<String> = args.iter().map(|a| a.to_string_lossy().into_owned()).collect();
    let (program, rest) = words
        .split_first()
        .map(|(program, rest)| (program.rsplit('/').next().unwrap_or(program), rest))
        .unwrap_or_default();
    let key = |name: &str| var(name).filter(|text| !text.is_empty()).map(Secret::new);
    match program {
        "vllm" => vllm::args::read(rest, key("VLLM_API_KEY")),
        "llama-server" => llama::args::read(rest, key("LLAMA_API_KEY")),
        _ => Err(Refusal::new(
            "The stand-in plays a real model server and was not told which. Begin with `vllm serve MODEL` or \
             `llama-server --model FILE`.\n",
            2,
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(crate) fn words(line: &str) -> Vec<OsString> {
        line.split_whitespace().map(OsString::from).collect()
    }

    fn take(line: &str) -> Result<Command, Refusal> {
        read(&words(line), |_| None)
    }

    #[test]
    fn a_vllm_line_is_understood() {
        let command = take(
            "vllm serve Qwen/Qwen2.5-14B-Instruct-AWQ --host 127.0.0.1 --port 8001 --served-model-name thor \
             Qwen/Qwen2.5-14B-Instruct-AWQ --max-model-len 32768 --max-num-seqs 4 --kv-cache-memory-bytes=12582912 \
             --gpu-memory-utilization 0.2 --dtype float16 --enable-auto-tool-choice --tool-call-parser hermes",
        )
        .unwrap();
        assert_eq!(command.dialect, Dialect::Vllm);
        assert_eq!(command.names, ["thor", "Qwen/Qwen2.5-14B-Instruct-AWQ"]);
        assert_eq!((command.port, command.context, command.sequences), (8001, 32_768, 4));
        assert_eq!(command.kv_bytes, Some(12_582_912));
        assert!(command.auto_tools && command.tool_parser && command.keys.is_empty());
    }

    #[test]
    fn an_unknown_vllm_flag_is_refused_as_argparse_does() {
        for (line, says) in [
            ("vllm serve m --no-such-flag", "vllm: error: unrecognized arguments: --no-such-flag\n"),
            ("vllm serve m --swap-space 4", "vllm: error: unrecognized arguments: --swap-space 4\n"),
            ("vllm serve m --port many", "argument --port: invalid int value: 'many'\n"),
        ] {
            let refusal = take(line).unwrap_err();
            assert_eq!(refusal.code, 2, "{line}");
            assert!(refusal.text.ends_with(says), "{line}: {}", refusal.text);
        }
    }

    #[test]
    fn a_vllm_length_has_suffixes() {
        assert_eq!(take("vllm serve m --max-model-len 32K").unwrap().context, 32_768);
        assert_eq!(take("vllm serve m --max-model-len 32k").unwrap().context, 32_000);
    }

    #[test]
    fn a_llama_line_is_understood_and_its_context_divided() {
        let command = take(
            "llama-server --model /models/x.gguf --alias loki --host 127.0.0.1 --port 8013 --ctx-size 32768 \
             --parallel 4 --metrics --jinja --cache-ram 0 --load-mode none -ngl all -fa on",
        )
        .unwrap();
        assert_eq!(command.dialect, Dialect::Llama);
        assert_eq!((command.name(), command.context, command.sequences), ("loki", 8192, 4));
        assert!(command.metrics && !command.unified_kv);
    }

    #[test]
    fn removed_llama_flags_are_refused() {
        for flag in ["--no-mmap", "--draft-max", "--no-such-flag"] {
            let refusal = take(&format!("llama-server -m x.gguf {flag}")).unwrap_err();
            assert_eq!(refusal, Refusal::new(format!("error: invalid argument: {flag}\n"), 1));
        }
    }

    #[test]
    fn a_key_comes_from_the_environment_and_is_never_shown() {
        let command =
            read(&words("vllm serve m"), |name| (name == "VLLM_API_KEY").then(|| "s3cret".to_owned()))
                .unwrap();
        assert_eq!(command.keys.first().map(Secret::reveal), Some("s3cret"));
        let command = take("vllm serve m --api-key s3cret other --port 1").unwrap();
        assert_eq!(command.keys.len(), 2);
        assert!(!format!("{command:?}").contains("s3cret"));
    }

    #[test]
    fn any_other_program_is_refused_with_a_next_step() {
        assert_eq!(take("ollama serve").unwrap_err().code, 2);
        assert_eq!(take("").unwrap_err().code, 2);
    }
}
