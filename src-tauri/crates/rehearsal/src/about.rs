//! What the real servers print of themselves: `--version` and `--help`, with exactly the flags that are taken here.

use std::ffi::OsString;
use std::fmt::Write as _;

use crate::{llama, vllm};

/// An answer in the place of a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) text: String,
    /// llama.cpp says its version where others say what went wrong.
    pub(crate) on_stderr: bool,
}

/// The answer, if the command line asks for one.
pub(crate) fn answer(args: &[OsString]) -> Option<Answer> {
    let words: Vec<String> = args.iter().map(|a| a.to_string_lossy().into_owned()).collect();
    let (program, rest) = words.split_first()?;
    let asks = |spellings: &[&str]| rest.iter().any(|word| spellings.contains(&word.as_str()));
    let out = |text: String| Some(Answer { text, on_stderr: false });
    match program.rsplit('/').next().unwrap_or(program) {
        "vllm" if rest.first().is_some_and(|w| ["--version", "-v"].contains(&w.as_str())) => {
            out(format!("{}\n", vllm::VERSION))
        }
        "vllm" if rest.first().is_some_and(|w| w == "serve") && asks(&["--help", "--help=all", "-h"]) => {
            out(vllm_help())
        }
        "llama-server" if asks(&["--version"]) => {
            let text = format!("version: {} (stand-in)\n", llama::BUILD.trim_start_matches('b'));
            Some(Answer { text, on_stderr: true })
        }
        "llama-server" if asks(&["--help", "-h", "--usage"]) => out(llama_help()),
        _ => None,
    }
}

fn vllm_help() -> String {
    let mut help = "usage: vllm serve [model_tag] [options]\n\noptions:\n".to_owned();
    help.push_str("  -h, --help            The flags, and no more.\n");
    for (flag, value) in vllm::args::flags() {
        let _ = writeln!(help, "  {flag}{}", if value { " VALUE" } else { "" });
    }
    help
}

fn llama_help() -> String {
    let mut help = "----- common params -----\n\n".to_owned();
    help.push_str("-h,    --help, --usage                  the flags, and no more\n");
    help.push_str("--version                               the build\n");
    for (spellings, value) in llama::args::flags() {
        let _ = writeln!(help, "{}{}", spellings.join(", "), if value { " VALUE" } else { "" });
    }
    help
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args;

    fn words(line: &str) -> Vec<OsString> {
        line.split_whitespace().map(OsString::from).collect()
    }

    /// Whether the server refuses the flag itself; what it thinks of the value does not matter.
    fn refused(line: &str) -> bool {
        args::read(&words(line), |_| None).is_err_and(|refusal| {
            ["unrecognized", "invalid argument"].iter().any(|mark| refusal.text.contains(mark))
        })
    }

    #[test]
    fn the_help_lists_what_is_taken() {
        let vllm = answer(&words("vllm serve --help=all")).unwrap().text;
        for (flag, value) in vllm::args::flags() {
            let value = if value { " VALUE" } else { "" };
            assert!(vllm.contains(&format!("  {flag}{value}\n")), "{flag}");
            assert!(
                !refused(&format!("vllm serve m {flag}{}", if value.is_empty() { "" } else { " 1" })),
                "{flag}"
            );
        }
        let llama = answer(&words("llama-server --help")).unwrap().text;
        for flag in llama::args::flags().flat_map(|(spellings, _)| spellings) {
            assert!(llama.lines().any(|line| line.split([',', ' ']).any(|word| word == *flag)), "{flag}");
            assert!(
                !refused(&format!("llama-server -m x {flag} 1"))
                    || !refused(&format!("llama-server -m x {flag}"))
            );
        }
        assert!(refused("vllm serve m --swap-space") && refused("llama-server --no-mmap"));
    }

    #[test]
    fn versions_are_where_the_real_ones_are() {
        let vllm = answer(&words("vllm --version")).unwrap();
        assert_eq!((vllm.text.as_str(), vllm.on_stderr), ("0.32.0\n", false));
        let llama = answer(&words("/app/llama-server --version")).unwrap();
        assert_eq!((llama.text.as_str(), llama.on_stderr), ("version: 11434 (stand-in)\n", true));
        assert_eq!(answer(&words("vllm serve m --port 1")), None);
        assert_eq!(answer(&words("llama-server -m x")), None);
        assert_eq!(answer(&[]), None);
    }
}
