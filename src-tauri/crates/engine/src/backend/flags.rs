//! The flags that the very version of a server takes. A flag that it lacks is never passed: it is written as that
//! version writes it, left out where nothing is lost by it, or the start is refused with its name. Pure.

use std::collections::BTreeMap;

use domain::stack::BackendKind;

use crate::container::images::{ServerFacts, unknown_flags};
use crate::launch::{Launch, Program};

/// What a server in an image takes, as its help said: read once for each digest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FlagSet(ServerFacts);

/// A flag that is not passed as it was meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dropped {
    pub flag: String,
    /// What became of it, a sentence.
    pub why: String,
    /// The start means the same without it. Where it does not, the start is refused.
    pub harmless: bool,
}

/// What a launch has in the place of a flag that a version lacks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fallback {
    pub flag: &'static str,
    /// A flag of the launch whose value becomes this.
    pub set: Option<(&'static str, String)>,
    /// A variable that says the same.
    pub env: Option<(&'static str, String)>,
    /// A sentence.
    pub why: String,
}

impl FlagSet {
    /// None where the help could not be read: then nothing is known to be missing.
    pub fn new(facts: ServerFacts) -> Option<Self> {
        (!facts.flags.is_empty()).then_some(Self(facts))
    }

    /// "vLLM 0.32.0".
    pub fn version(&self) -> &str {
        &self.0.version
    }

    /// Whether this version takes the flag, by whatever spelling it takes for it.
    pub fn takes(&self, flag: &str) -> bool {
        unknown_flags(&[flag.to_owned()], &self.0).is_empty()
    }

    fn backend(&self) -> BackendKind {
        if self.0.version.starts_with("vLLM") { BackendKind::Vllm } else { BackendKind::LlamaCpp }
    }

    /// llama.cpp's build number.
    fn build(&self) -> Option<u32> {
        self.0.version.strip_prefix("llama.cpp b")?.parse().ok()
    }
}

/// The line as the version takes it, and every flag that was renamed or left out. Without a `FlagSet` the line is
/// passed as it is.
pub fn fit(line: Vec<String>, known: Option<&FlagSet>) -> (Vec<String>, Vec<Dropped>) {
    let Some(known) = known else { return (line, Vec::new()) };
    let mut kept = Vec::with_capacity(line.len());
    let mut dropped = Vec::new();
    let mut words = line.into_iter().peekable();
    while let Some(word) = words.next() {
        if word == "--" {
            kept.push(word);
            kept.extend(words);
            break;
        }
        if !is_flag(&word) {
            kept.push(word);
            continue;
        }
        let mut values = Vec::new();
        while let Some(value) = words.next_if(|next| !is_flag(next) && next != "--") {
            values.push(value);
        }
        let (name, inline) = match word.split_once('=') {
            Some((name, value)) => (name.to_owned(), Some(value.to_owned())),
            None => (word.clone(), None),
        };
        if known.takes(&name) && !known.swallows(&name) {
            kept.push(word);
            kept.extend(values);
            continue;
        }
        let given = inline.as_deref().or(values.first().map(String::as_str));
        let (instead, why, harmless) = known.instead(&name, given);
        // What stands in its place must be known as well.
        let understood = instead.iter().filter(|w| is_flag(w)).all(|flag| known.takes(flag));
        if understood {
            kept.extend(instead);
        }
        dropped.push(Dropped { flag: name, why, harmless: harmless && understood });
    }
    (kept, dropped)
}

/// Fits a launch: its arguments, and what its backend named as the second choice for a flag that is missing.
pub fn fit_launch(launch: &mut Launch, known: Option<&FlagSet>) -> Vec<Dropped> {
    let (args, mut dropped) = fit(std::mem::take(&mut launch.args), known);
    launch.args = args;
    let Program::Image { fallbacks, .. } = &launch.program else { return dropped };
    for lost in &mut dropped {
        let Some(second) = fallbacks.iter().find(|f| f.flag == lost.flag) else { continue };
        if let Some((flag, value)) = &second.set {
            let Some(at) = launch.args.iter().position(|a| a == flag || same_share(a, flag)) else {
                continue;
            };
            if let Some(place) = launch.args.get_mut(at + 1) {
                place.clone_from(value);
            }
        }
        if let Some((name, value)) = &second.env {
            launch.env.entry((*name).to_owned()).or_insert_with(|| value.clone());
        }
        lost.why.clone_from(&second.why);
        lost.harmless = true;
    }
    dropped
}

/// The share of the device has two names; either may have been written.
fn same_share(word: &str, flag: &str) -> bool {
    SHARES.contains(&word) && SHARES.contains(&flag)
}

const SHARES: [&str; 2] = ["--gpu-memory-utilization", "--device-memory-utilization"];

/// A word that a command line takes for a flag; a negative number is a value.
fn is_flag(word: &str) -> bool {
    word.starts_with('-') && word.trim_start_matches('-').starts_with(|c: char| c.is_ascii_alphabetic())
}

/// Since this build `--flash-attn` wants a value; before it stood alone and took none.
const FLASH_ATTENTION_HAS_VALUES: u32 = 6325;

impl FlagSet {
    /// Known by its name, and yet not in this form.
    fn swallows(&self, flag: &str) -> bool {
        matches!(flag, "--flash-attn" | "-fa") && self.build().is_some_and(|b| b < FLASH_ATTENTION_HAS_VALUES)
    }

    /// What to write for a flag that is missing, why, and whether nothing is lost.
    fn instead(&self, flag: &str, value: Option<&str>) -> (Vec<String>, String, bool) {
        let name = flag.replace('_', "-");
        match self.backend() {
            BackendKind::Vllm => self.instead_of_vllm(&name, value),
            _ => self.instead_of_llama(&name, value),
        }
    }

    fn instead_of_vllm(&self, flag: &str, value: Option<&str>) -> (Vec<String>, String, bool) {
        let version = self.version();
        if SHARES.contains(&flag)
            && let Some(other) = SHARES.iter().find(|other| **other != flag && self.takes(other))
        {
            let words = std::iter::once((*other).to_owned()).chain(value.map(str::to_owned)).collect();
            return (words, format!("{version} calls it {other}."), true);
        }
        let gone = match flag {
            "--swap-space" => "it had no effect since vLLM's first engine went",
            "--disable-log-requests" => "requests are not logged by default there",
            "--enable-log-requests" => "it logs requests by itself, or has no such log",
            "--guided-decoding-backend" => "it chooses by itself how an answer is held to a grammar",
            "--enable-reasoning" => "the reasoning parser alone says it",
            "--enable-prefix-caching" | "--enable-chunked-prefill" => "it does so by default or cannot",
            _ => return (Vec::new(), format!("{version} does not know {flag}."), false),
        };
        (Vec::new(), format!("{version} does not know {flag}: {gone}."), true)
    }

    fn instead_of_llama(&self, flag: &str, value: Option<&str>) -> (Vec<String>, String, bool) {
        let version = self.version();
        let missing = || (Vec::new(), format!("{version} does not know {flag}."), false);
        let renamed = |candidates: &[&str]| {
            let name = candidates.iter().find(|c| self.takes(c))?;
            let words = std::iter::once((*name).to_owned()).chain(value.map(str::to_owned)).collect();
            Some((words, format!("{version} calls it {name}."), true))
        };
        match flag {
            "--load-mode" | "-lm" => {
                let words: &[&str] = match value {
                    Some("none") => &["--no-mmap"],
                    Some("mlock") => &["--no-mmap", "--mlock"],
                    Some("mmap+mlock") => &["--mlock"],
                    Some("dio") => &["--direct-io"],
                    // Mapping is what such builds do by themselves.
                    _ => &[],
                };
                let said = if words.is_empty() { "mapping, its default".to_owned() } else { words.join(" ") };
                let words = words.iter().map(|w| (*w).to_owned()).collect();
                (words, format!("{version} says it with {said}."), true)
            }
            "--spec-draft-n-max" => renamed(&["--draft-max", "--draft"]).unwrap_or_else(missing),
            "--spec-draft-ngl" | "--gpu-layers-draft" => {
                renamed(&["--gpu-layers-draft", "--spec-draft-ngl", "-ngld"]).unwrap_or_else(missing)
            }
            "--device-draft" | "--spec-draft-device" => {
                renamed(&["--device-draft", "--spec-draft-device", "-devd"]).unwrap_or_else(missing)
            }
            "--model-draft" => renamed(&["--spec-draft-model", "-md"]).unwrap_or_else(missing),
            "--flash-attn" | "-fa" => match value {
                Some("on") => (vec!["-fa".to_owned()], format!("{version} takes it without a value."), true),
                _ => (Vec::new(), format!("{version} has it off unless it is asked for."), true),
            },
            "--cache-ram" | "-cram" => {
                let none = value.is_none_or(|v| v == "0");
                (Vec::new(), format!("{version} keeps no old prompts in ordinary memory."), none)
            }
            "--slots" | "--metrics" | "--jinja" => (
                Vec::new(),
                format!("{version} does not know {flag}, and fewer figures are shown of it."),
                true,
            ),
            _ => missing(),
        }
    }
}

/// The variables of a launch for a person: the key's and what looks like a secret without their values.
pub fn shown_env(launch: &Launch) -> BTreeMap<String, Option<String>> {
    let mut all: BTreeMap<String, Option<String>> = launch
        .env
        .iter()
        .map(|(name, value)| (name.clone(), (!is_secret(name)).then(|| value.clone())))
        .collect();
    if !launch.key.0.is_empty() {
        all.insert(launch.key.0.clone(), None);
    }
    all
}

fn is_secret(name: &str) -> bool {
    let name = name.to_ascii_uppercase();
    ["KEY", "TOKEN", "SECRET", "PASSWORD", "PASSWD", "CREDENTIAL"].iter().any(|w| name.contains(w))
}
