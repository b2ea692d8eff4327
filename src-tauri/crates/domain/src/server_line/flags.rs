//! The flags of vLLM and of llama-server.

use super::ServerLine;
use crate::secret::Secret;
use crate::stack::BackendKind;

/// vLLM's switches that take no value, as far as a model's name may stand behind them.
const VLLM_SWITCHES: &[&str] = &[
    "--enable-auto-tool-choice",
    "--enable-prefix-caching",
    "--no-enable-prefix-caching",
    "--enable-chunked-prefill",
    "--no-enable-chunked-prefill",
    "--enforce-eager",
    "--trust-remote-code",
    "--disable-log-requests",
    "--disable-log-stats",
    "--enable-log-requests",
    "--enable-sleep-mode",
    "--enable-expert-parallel",
    "--enable-lora",
    "--enable-reasoning",
    "--disable-custom-all-reduce",
];

/// One flag with what was written behind it.
struct Flag<'a> {
    /// With hyphens, as the documentation spells it.
    name: String,
    /// Behind an equals sign.
    inline: Option<&'a str>,
    /// The words that follow.
    next: &'a [String],
}

impl<'a> Flag<'a> {
    fn of(word: &'a str, next: &'a [String]) -> Self {
        let (name, inline) = match word.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (word, None),
        };
        let name = if name.starts_with("--") { name.replace('_', "-") } else { name.to_owned() };
        Self { name, inline, next }
    }

    /// The value. A number may be negative, so one hyphen is no sign of another flag; two are.
    fn value(&self) -> Option<&'a str> {
        self.inline.or_else(|| self.next.first().map(String::as_str).filter(|v| !v.starts_with("--")))
    }

    /// How many of the following words belong to it when it has one value.
    fn taken(&self) -> usize {
        usize::from(self.inline.is_none() && self.value().is_some())
    }

    /// How many words follow until the next flag.
    fn until_flag(&self) -> usize {
        self.next.iter().take_while(|w| !w.starts_with('-')).count()
    }
}

/// What is left of a line, and how far it was read.
struct Reading<'a> {
    words: &'a [String],
    at: usize,
    rest: Vec<String>,
}

impl<'a> Reading<'a> {
    fn new(words: &'a [String]) -> Self {
        Self { words, at: 0, rest: Vec::new() }
    }

    fn next(&mut self) -> Option<(&'a str, &'a [String])> {
        let word = self.words.get(self.at)?;
        self.at += 1;
        Some((word, &self.words[self.at..]))
    }

    /// Keeps a word and so many of the following, word for word.
    fn keep(&mut self, word: &str, following: usize) {
        self.rest.push(word.to_owned());
        let end = (self.at + following).min(self.words.len());
        self.rest.extend_from_slice(&self.words[self.at..end]);
        self.at = end;
    }
}

pub(super) fn vllm(words: &[String]) -> ServerLine {
    let mut line = ServerLine { backend: Some(BackendKind::Vllm), ..ServerLine::default() };
    let mut reading = Reading::new(words);
    while let Some((word, next)) = reading.next() {
        if !word.starts_with('-') || word.len() == 1 {
            let before = reading.rest.last().map(String::as_str);
            let belongs = before.is_some_and(|b| {
                b.starts_with('-')
                    && !b.contains('=')
                    && !VLLM_SWITCHES.contains(&b.replace('_', "-").as_str())
            });
            if line.model.is_none() && !belongs {
                line.model = Some(word.to_owned());
            } else {
                reading.keep(word, 0);
            }
            continue;
        }
        let flag = Flag::of(word, next);
        let one = flag.taken();
        let value = flag.value();
        // A value that is not understood stays, with its flag.
        let taken = match flag.name.as_str() {
            "--model" | "--model-tag" => text(value, &mut line.model).then_some(one),
            "--revision" => text(value, &mut line.revision).then_some(one),
            "--host" => text(value, &mut line.host).then_some(one),
            "--port" => set(value.and_then(|v| v.parse().ok()), &mut line.port).then_some(one),
            "--served-model-name" => {
                line.served_names = match flag.inline {
                    Some(name) => vec![name.to_owned()],
                    None => next[..flag.until_flag()].to_vec(),
                };
                Some(if flag.inline.is_some() { 0 } else { flag.until_flag() })
            }
            "--max-model-len" => {
                // `auto` and -1: as much as fits, which is no figure.
                let auto = value.is_some_and(|v| v == "-1" || v.eq_ignore_ascii_case("auto"));
                if auto {
                    line.context = None;
                }
                let length = value.and_then(human).and_then(|n| u32::try_from(n).ok()).filter(|n| *n > 0);
                (auto || set(length, &mut line.context)).then_some(one)
            }
            "--max-num-seqs" => set(value.and_then(count), &mut line.sequences).then_some(one),
            "--gpu-memory-utilization" | "--device-memory-utilization" => {
                let share = value.and_then(|v| v.parse::<f64>().ok()).filter(|s| (0.0..=1.0).contains(s));
                set(share, &mut line.utilization).then_some(one)
            }
            "--kv-cache-memory-bytes" | "--kv-cache-memory" => {
                set(value.and_then(human), &mut line.kv_bytes).then_some(one)
            }
            "--dtype" => text(value, &mut line.dtype).then_some(one),
            "--kv-cache-dtype" => text(value, &mut line.kv_dtype).then_some(one),
            "--quantization" | "-q" => text(value, &mut line.quantization).then_some(one),
            "--tool-call-parser" => text(value, &mut line.tool_parser).then_some(one),
            // It says nothing without a parser, and the parser says it too.
            "--enable-auto-tool-choice" => Some(0),
            "--tensor-parallel-size" | "-tp" => {
                set(value.and_then(count), &mut line.tensor_parallel).then_some(one)
            }
            "--speculative-config" => {
                let model = value.and_then(|v| json_text(v, "model"));
                set(model, &mut line.draft_model).then_some(one)
            }
            "--speculative-model" => text(value, &mut line.draft_model).then_some(one),
            name if is_key(name) => {
                // Newer versions take several keys. None may end among the rest.
                line.api_key = value.map(Secret::new);
                Some(if flag.inline.is_some() { 0 } else { flag.until_flag().max(one) })
            }
            name if is_token(name) => {
                line.hub_token = value.filter(|v| !v.starts_with('-')).map(Secret::new);
                Some(if line.hub_token.is_some() { one } else { 0 })
            }
            _ => None,
        };
        match taken {
            Some(words) => reading.at += words,
            None => reading.keep(word, 0),
        }
    }
    line.rest = reading.rest;
    line
}

pub(super) fn llama_cpp(words: &[String]) -> ServerLine {
    let mut line = ServerLine { backend: Some(BackendKind::LlamaCpp), ..ServerLine::default() };
    let mut reading = Reading::new(words);
    let mut total: Option<u64> = None;
    let mut unified = false;
    let mut value_type: Option<(String, String)> = None;
    let mut from_file = false;
    while let Some((word, next)) = reading.next() {
        let flag = Flag::of(word, next);
        let one = flag.taken();
        let value = flag.value();
        let taken = match flag.name.as_str() {
            "--model" | "-m" => {
                from_file = true;
                text(value, &mut line.model).then_some(one)
            }
            // The file wins where both are given, as the program has it.
            "--hf-repo" | "-hf" | "-hfr" if !from_file => text(value, &mut line.model).then_some(one),
            "--alias" | "-a" => value.map(|names| {
                let names = names.split(',').map(str::trim).filter(|n| !n.is_empty());
                line.served_names = names.map(str::to_owned).collect();
                one
            }),
            "--host" => text(value, &mut line.host).then_some(one),
            "--port" => set(value.and_then(|v| v.parse().ok()), &mut line.port).then_some(one),
            "--ctx-size" | "-c" => {
                // 0: as long as the model's own.
                let read = value.and_then(|v| v.parse::<u32>().ok());
                total = read.filter(|n| *n > 0).map(u64::from);
                read.map(|_| one)
            }
            "--parallel" | "-np" => {
                let auto = value == Some("-1");
                if auto {
                    line.sequences = None;
                }
                (auto || set(value.and_then(count), &mut line.sequences)).then_some(one)
            }
            "--kv-unified" | "-kvu" => {
                unified = true;
                None
            }
            "--cache-type-k" | "-ctk" => text(value, &mut line.kv_dtype).then_some(one),
            "--cache-type-v" | "-ctv" => value.map(|v| {
                value_type = Some((word.to_owned(), v.to_owned()));
                one
            }),
            "--model-draft" | "-md" | "--spec-draft-model" => {
                text(value, &mut line.draft_model).then_some(one)
            }
            "--n-gpu-layers" | "--gpu-layers" | "-ngl" => text(value, &mut line.gpu_layers).then_some(one),
            // Tool calls and figures: Asgard asks for them itself, and today they are the default.
            "--jinja" | "--metrics" | "--slots" => Some(0),
            name if is_key(name) => {
                line.api_key = value.map(Secret::new);
                Some(one)
            }
            name if is_token(name) || name == "-hft" => {
                line.hub_token = value.map(Secret::new);
                Some(one)
            }
            _ => None,
        };
        match taken {
            Some(words) => reading.at += words,
            None => reading.keep(word, 0),
        }
    }
    // With a number of slots given the context is divided among them, unless they share one cache.
    let slots = if unified { 1 } else { u64::from(line.sequences.unwrap_or(1)) };
    line.context = total.and_then(|n| u32::try_from(n / slots.max(1)).ok()).filter(|n| *n > 0);
    line.rest = reading.rest;
    match (value_type, &line.kv_dtype) {
        (Some((_, value)), Some(key)) if *key == value => {}
        // A type of its own for the values is nothing that a stack can say.
        (Some((flag, value)), _) => line.rest.extend([flag, value]),
        (None, _) => {}
    }
    line
}

/// `--api-key`, and as much of it as argparse would take for it.
fn is_key(name: &str) -> bool {
    name.starts_with("--api-k") && "--api-key".starts_with(name)
}

fn is_token(name: &str) -> bool {
    name.starts_with("--hf-t") && "--hf-token".starts_with(name)
}

fn text(value: Option<&str>, into: &mut Option<String>) -> bool {
    set(value.filter(|v| !v.is_empty()).map(str::to_owned), into)
}

fn set<T>(value: Option<T>, into: &mut Option<T>) -> bool {
    let understood = value.is_some();
    if understood {
        *into = value;
    }
    understood
}

fn count(value: &str) -> Option<u32> {
    value.parse().ok().filter(|n| *n > 0)
}

/// "32768", "32k" (32,000), "32K" (32,768), "25.6k": as vLLM reads lengths and sizes.
fn human(value: &str) -> Option<u64> {
    let value = value.trim();
    if let Ok(plain) = value.parse() {
        return Some(plain);
    }
    let unit = value.chars().last()?;
    let number = &value[..value.len() - unit.len_utf8()];
    if !number.starts_with(|c: char| c.is_ascii_digit()) {
        return None;
    }
    let power = match unit.to_ascii_lowercase() {
        'k' => 1,
        'm' => 2,
        'g' => 3,
        't' => 4,
        _ => return None,
    };
    if unit.is_ascii_uppercase() {
        return number.parse::<u64>().ok()?.checked_mul(1_u64 << (10 * power));
    }
    let exact = number.parse::<f64>().ok()? * 1000_f64.powi(power);
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "checked just before")]
    (exact.is_finite() && (0.0..2_f64.powi(60)).contains(&exact)).then(|| exact.round() as u64)
}

/// The text at `key` of a JSON object, wherever it stands. Enough for a model's name; escapes are not read.
fn json_text(json: &str, key: &str) -> Option<String> {
    let quoted = format!("\"{key}\"");
    let behind = json.split_once(quoted.as_str())?.1.trim_start().strip_prefix(':')?.trim_start();
    let (value, _) = behind.strip_prefix('"')?.split_once('"')?;
    (!value.is_empty() && !value.contains('\\')).then(|| value.to_owned())
}
