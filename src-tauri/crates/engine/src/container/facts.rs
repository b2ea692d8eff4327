//! What a model server in an image says of itself: its version, and the flags that it takes. Pure.

use std::collections::BTreeSet;

use domain::stack::BackendKind;

/// Read once for each digest, and kept by whoever asked.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct ServerFacts {
    /// "vLLM 0.32.0", "llama.cpp b11434".
    pub version: String,
    /// Every spelling, sorted: "--max-model-len", "-tp". Empty where its help could not be read.
    pub flags: Vec<String>,
}

/// The version in what the server printed when it was asked for it, if there is one.
pub(super) fn version(backend: BackendKind, printed: &str) -> Option<String> {
    match backend {
        // Warnings of its libraries come first; the version is a line of its own.
        BackendKind::Vllm => printed.lines().rev().find_map(|line| {
            let word = line.trim();
            let word = word.strip_prefix("vllm ").unwrap_or(word);
            let numeric = word.starts_with(|c: char| c.is_ascii_digit()) && word.contains('.');
            (numeric && !word.contains(char::is_whitespace)).then(|| format!("vLLM {word}"))
        }),
        // "version: 11434 (0a1b2c3)", after what its devices said.
        BackendKind::LlamaCpp => printed.lines().find_map(|line| {
            let number = line.trim().strip_prefix("version:")?.split_whitespace().next()?;
            let number = number.trim_start_matches('b');
            number.chars().all(|c| c.is_ascii_digit()).then(|| format!("llama.cpp b{number}"))
        }),
        BackendKind::External | BackendKind::Ollama => None,
    }
}

/// The flags of a help text: of the lines that begin with one, everything before the description.
pub(super) fn flags(help: &str) -> Vec<String> {
    let mut all = BTreeSet::new();
    for line in help.lines() {
        let text = line.trim_start();
        // Descriptions hang far to the right, and may begin with a flag of which they speak.
        if line.len() - text.len() > 8 || !text.starts_with('-') {
            continue;
        }
        for spelling in invocation(text).split(", ") {
            let word = spelling.split_whitespace().next().unwrap_or_default();
            match word.strip_prefix("--[no-]") {
                Some(rest) => all.extend([format!("--{rest}"), format!("--no-{rest}")]),
                None if is_flag(word) => {
                    all.insert(word.split('=').next().unwrap_or(word).trim_end_matches(',').to_owned());
                }
                None => {}
            }
        }
    }
    all.into_iter().collect()
}

/// What comes before the description: spellings are parted by a comma, however many blanks follow it; a gap after
/// anything else ends them.
fn invocation(line: &str) -> String {
    let mut out = String::new();
    let mut rest = line;
    loop {
        let Some(gap) = rest.find("  ") else {
            out.push_str(rest);
            return out;
        };
        let (before, after) = rest.split_at(gap);
        out.push_str(before);
        if !before.ends_with(',') {
            return out;
        }
        out.push(' ');
        rest = after.trim_start();
    }
}

/// A word that a command line takes for a flag. A negative number is a value.
fn is_flag(word: &str) -> bool {
    word.strip_prefix('-').is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_alphabetic() || c == '-'))
        && word.trim_start_matches('-').starts_with(|c: char| c.is_ascii_alphabetic())
}

/// The flags among an agent's own arguments that the server does not know, as they were written. Nothing where its
/// flags could not be read.
pub fn unknown_flags(args: &[String], facts: &ServerFacts) -> Vec<String> {
    if facts.flags.is_empty() {
        return Vec::new();
    }
    let argparse = facts.version.starts_with("vLLM");
    let before_values = args.iter().take_while(|argument| *argument != "--");
    let mut unknown = Vec::new();
    for argument in before_values.filter(|argument| is_flag(argument)) {
        let name = argument.split('=').next().unwrap_or(argument);
        if !known(name, &facts.flags, argparse) && !unknown.iter().any(|seen| seen == name) {
            unknown.push(name.to_owned());
        }
    }
    unknown
}

fn known(name: &str, flags: &[String], argparse: bool) -> bool {
    let has = |wanted: &str| flags.iter().any(|flag| flag == wanted);
    if has(name) {
        return true;
    }
    let Some(long) = name.strip_prefix("--") else {
        // argparse: a value may hang on a short flag ("-O3", "-tp2").
        return argparse
            && flags.iter().any(|flag| {
                !flag.starts_with("--")
                    && name
                        .strip_prefix(flag.as_str())
                        .is_some_and(|value| value.starts_with(|c: char| !c.is_ascii_alphabetic()))
            });
    };
    let long = format!("--{}", long.replace('_', "-"));
    if has(&long) || !argparse {
        return has(&long);
    }
    // vLLM: "--compilation-config.mode" is a part of a flag's value, and a beginning stands for the one flag that it
    // begins.
    let whole = long.split('.').next().unwrap_or(&long);
    has(whole) || (whole.len() > 4 && flags.iter().filter(|flag| flag.starts_with(whole)).count() == 1)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const VLLM_HELP: &str = "\
INFO 11-21 07:20:11 [__init__.py:239] No platform detected, vLLM is running on UnspecifiedPlatform
usage: vllm serve [model_tag] [options]

Start a local server with an API like OpenAI's.

positional arguments:
  model_tag             The model to serve.

options:
  -h, --help            show this help message and exit
  --headless            Run without a front end. See also
                        --data-parallel-hybrid-lb in the manual.
  --api-key API_KEY [API_KEY ...]
                        One or more keys. (default: None)
  --host HOST           The host's name, -1 for none. (default: None)

ModelConfig:
  --max-model-len MAX_MODEL_LEN
                        Parsed as a number with a suffix:
                        -1, --max, or 32k. (default: None)
  --quantization {awq,gptq,None}, -q {awq,gptq,None}
                        The method. (default: None)
  --tensor-parallel-size TENSOR_PARALLEL_SIZE, -tp TENSOR_PARALLEL_SIZE
  --compilation-config COMPILATION_CONFIG, -cc COMPILATION_CONFIG
  -O OPTIMIZATION_LEVEL
  --enable-prefix-caching, --no-enable-prefix-caching
  --[no-]async-scheduling
                        Later Pythons write it so.
";

    const LLAMA_HELP: &str = "\
----- common params -----

-h,    --help, --usage                  print usage and exit
--version                               show version and build info
-t,    --threads N                      number of CPU threads (default: -1)
                                        (env: LLAMA_ARG_THREADS)
-ngl,  --gpu-layers, --n-gpu-layers N   max. number of layers to keep in VRAM
-fa,   --flash-attn [on|off|auto]       Flash Attention use
-lm,   --load-mode none|mmap|mlock      how the file is read; --no-mmap is gone
--context-shift, --no-context-shift     whether to shift
-ot,   --override-tensor <tensor name pattern>=<buffer type>,...
                                        where tensors go
--spec-draft-n-max N                    tokens to draft
";

    fn facts(version: &str, help: &str) -> ServerFacts {
        ServerFacts { version: version.to_owned(), flags: flags(help) }
    }

    fn unknown(line: &str, facts: &ServerFacts) -> Vec<String> {
        let args: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        unknown_flags(&args, facts)
    }

    #[test]
    fn the_version_is_found_among_what_libraries_print() {
        let vllm = |text| version(BackendKind::Vllm, text);
        assert_eq!(vllm("0.32.0\n").as_deref(), Some("vLLM 0.32.0"));
        let noisy = "Triton is installed, but doesn't include CPU backend. Disabling Triton.\n\
                     INFO 11-21 07:20:11 [__init__.py:239] Automatically detected platform rocm.\n\
                     0.16.0rc1.dev155+g1a2b3c4.rocm714\n";
        assert_eq!(vllm(noisy).as_deref(), Some("vLLM 0.16.0rc1.dev155+g1a2b3c4.rocm714"));
        assert_eq!(vllm("bash: vllm: command not found\n"), None);
        let llama = |text| version(BackendKind::LlamaCpp, text);
        let built =
            "ggml_vulkan: Found 1 Vulkan devices:\nversion: 11434 (0a1b2c3)\nbuilt with cc for x86_64\n";
        assert_eq!(llama(built).as_deref(), Some("llama.cpp b11434"));
        assert_eq!(llama("version: b9000 (0a1b2c3)\n").as_deref(), Some("llama.cpp b9000"));
        assert_eq!(llama("version: unknown\n"), None);
        assert_eq!(version(BackendKind::Ollama, "0.1.0"), None);
    }

    #[test]
    fn flags_are_read_from_both_kinds_of_help() {
        assert_eq!(
            flags(VLLM_HELP),
            [
                "--api-key",
                "--async-scheduling",
                "--compilation-config",
                "--enable-prefix-caching",
                "--headless",
                "--help",
                "--host",
                "--max-model-len",
                "--no-async-scheduling",
                "--no-enable-prefix-caching",
                "--quantization",
                "--tensor-parallel-size",
                "-O",
                "-cc",
                "-h",
                "-q",
                "-tp",
            ]
        );
        assert_eq!(
            flags(LLAMA_HELP),
            [
                "--context-shift",
                "--flash-attn",
                "--gpu-layers",
                "--help",
                "--load-mode",
                "--n-gpu-layers",
                "--no-context-shift",
                "--override-tensor",
                "--spec-draft-n-max",
                "--threads",
                "--usage",
                "--version",
                "-fa",
                "-h",
                "-lm",
                "-ngl",
                "-ot",
                "-t",
            ]
        );
        assert!(flags("----- common params -----\n-----\n").is_empty());
    }

    #[test]
    fn vllms_spellings_are_all_known() {
        let vllm = facts("vLLM 0.32.0", VLLM_HELP);
        let fine = "--max_model_len=4096 --max-model 4096 -tp 2 -tp2 -O3 -cc.mode=3 --compilation_config.mode 3 -q awq \
                    --no-enable-prefix-caching --host -1";
        assert_eq!(unknown(fine, &vllm), Vec::<String>::new());
        assert_eq!(
            unknown("--swap-space 4 --swap-space=4 --no-headless -z --h 1", &vllm),
            ["--swap-space", "--no-headless", "-z", "--h"]
        );
        assert_eq!(unknown("--headless -- --anything", &vllm), Vec::<String>::new());
        assert!(unknown("--anything", &ServerFacts { flags: Vec::new(), ..vllm }).is_empty());
    }

    #[test]
    fn llamas_flags_are_known_as_they_are_written_only() {
        let llama = facts("llama.cpp b11434", LLAMA_HELP);
        assert_eq!(unknown("-ngl 99 --flash_attn on --no-context-shift -t -1", &llama), Vec::<String>::new());
        assert_eq!(
            unknown("--no-mmap --draft-max 4 --thread 2", &llama),
            ["--no-mmap", "--draft-max", "--thread"]
        );
    }

    proptest! {
        #[test]
        fn a_flag_that_help_lists_is_never_unknown(name in "--[a-z]{3,8}(-[a-z]{2,6}){0,3}", value in "[a-z0-9]{0,5}") {
            let help = format!("  {name} VALUE          what it does\n");
            for version in ["vLLM 1.0", "llama.cpp b1"] {
                let facts = facts(version, &help);
                prop_assert_eq!(&facts.flags, std::slice::from_ref(&name));
                let given = format!("{name}={value}");
                prop_assert!(unknown_flags(&[given], &facts).is_empty());
                let other = format!("{name}zzzzzzzzz");
                prop_assert_eq!(unknown_flags(std::slice::from_ref(&other), &facts), [other]);
            }
        }

        #[test]
        fn any_text_is_read(text in "\\PC{0,200}") {
            let _ = flags(&text);
            let _ = version(BackendKind::Vllm, &text);
            let _ = version(BackendKind::LlamaCpp, &text);
        }
    }
}
