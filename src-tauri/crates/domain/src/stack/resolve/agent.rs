//! One agent's own keys.

mod claim;
mod known;
mod model;
mod role;
mod runs;
mod tuning;

use std::time::Duration;

use self::known::Wanted;
use self::model::is_gguf;
use super::super::quantity::{quoted, size, time};
use super::super::raw::{RawAgent, RawSize, RawTime};
use super::super::suggest::instead_of;
use super::super::{Agent, BackendKind, Basis, ClaimBasis, DRAIN_ABORT, DRAIN_FINISH, Runs, Tier};
use super::{Facts, Findings};
use crate::agent::AgentName;
use crate::catalog::known_model;
use crate::memory::Bytes;
use crate::pool::PoolId;

const CONTEXT: u32 = 32_768;
const SEQUENCES: u32 = 4;
const DRAIN: Duration = Duration::from_mins(1);
const LOAD_TIMEOUT: Duration = Duration::from_mins(30);

/// More than any server would start with; a larger number is a slip.
const MOST_SEQUENCES: u32 = 4096;
const MOST_CONTEXT: u32 = 16 << 20;
const MOST_DEVICES: u32 = 64;

/// Variables that carry a token: the stack file is read by many, and no secret belongs there.
const TOKENS: [&str; 2] = ["HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"];

/// Variables by which a server is made to run code from elsewhere.
const LOADERS: [&str; 7] =
    ["LD_PRELOAD", "LD_LIBRARY_PATH", "LD_AUDIT", "PYTHONPATH", "PYTHONHOME", "PYTHONSTARTUP", "BASH_ENV"];

pub(super) struct AgentCheck<'a> {
    pub(super) name: &'a AgentName,
    pub(super) raw: &'a RawAgent,
    pub(super) facts: &'a Facts,
    /// All agents' names.
    pub(super) known: &'a [&'a str],
    pub(super) found: &'a mut Findings,
}

impl AgentCheck<'_> {
    /// The agent, or nothing where a key that everything hangs on is wrong; every problem is among the findings.
    pub(super) fn checked(mut self) -> Option<Agent> {
        let raw = self.raw;
        let backend = self.backend();
        let runs = backend.and_then(|b| self.runs(b));
        let model = self.model(backend);
        let catalog = model.and_then(known_model);
        let port = self.port(runs.as_ref());
        let limit = self.model_facts().and_then(|f| f.max_context).or(catalog.map(|m| m.max_context));
        let context = self.context(limit);
        let sequences = self.number("sequences", raw.sequences, MOST_SEQUENCES).unwrap_or(SEQUENCES);
        let devices = self.devices();
        let tensor_parallel = self.tensor_parallel(devices.len());
        let tuning = self.tuning(backend);
        let wanted = backend.map(|backend| Wanted {
            backend,
            context,
            sequences,
            tensor_parallel,
            batched_tokens: tuning.batched_tokens,
        });
        let known = wanted.map(|w| self.known(w, catalog)).unwrap_or_default();
        let claim = wanted.and_then(|w| self.claim(w, &known));
        let known_parts = backend.and_then(|b| self.known_parts(b, &known));
        let basis = match claim {
            Some(ClaimBasis::KvCache { .. }) if raw.weights.is_none() => known.basis,
            _ => None,
        };
        self.env();
        self.look();
        let tier = self.tier();
        let args = raw.args.clone().unwrap_or_default();
        self.no_control("args", args.iter().map(String::as_str));
        let short_words =
            [&raw.dtype, &raw.quantization, &raw.kv_dtype, &raw.tool_parser, &raw.revision, &raw.draft_model];
        for (key, value) in ["dtype", "quantization", "kv_dtype", "tool_parser", "revision", "draft_model"]
            .into_iter()
            .zip(short_words)
        {
            self.argument(key, value.as_deref());
        }
        // Zero means no limit.
        let ttl = self.time("ttl", raw.ttl.as_ref()).filter(|t| !t.is_zero());
        let drain = self.drain();
        let load_timeout = self.time("load_timeout", raw.load_timeout.as_ref()).unwrap_or(LOAD_TIMEOUT);
        if raw.load_timeout.is_some() && load_timeout.is_zero() {
            self.problem("load_timeout", "No agent is ready in no time.", "Write a time such as \"30 min\".");
        }
        // Zero means no limit.
        let request_timeout =
            self.time("request_timeout", raw.request_timeout.as_ref()).filter(|t| !t.is_zero());
        let min_residency = self.time("min_residency", raw.min_residency.as_ref()).unwrap_or_default();
        let owned =
            |default: Option<&str>, own: &Option<String>| own.clone().or_else(|| default.map(str::to_owned));
        Some(Agent {
            name: self.name.clone(),
            display_name: self.display_name(),
            title: raw.title.clone().unwrap_or_default(),
            role: raw.role.clone().unwrap_or_default(),
            tier: tier.unwrap_or(Tier::Utility),
            backend: backend?,
            runs: runs?,
            model: model?.to_owned(),
            revision: raw.revision.clone(),
            port: port?,
            context,
            sequences,
            claim: claim?,
            basis: basis.unwrap_or(Basis::Declared),
            learned: None,
            known_parts,
            kv_bytes_per_token: known.kv_bytes_per_token,
            dtype: raw.dtype.clone(),
            quantization: owned(catalog.map(|m| m.quantization), &raw.quantization),
            kv_dtype: raw.kv_dtype.clone(),
            tensor_parallel,
            devices,
            tool_parser: owned(catalog.map(|m| m.tool_parser), &raw.tool_parser),
            draft_model: raw.draft_model.clone(),
            draft_tokens: tuning.draft_tokens,
            batched_tokens: tuning.batched_tokens,
            prefix_caching: tuning.prefix_caching,
            eager: tuning.eager,
            attention_backend: tuning.attention_backend,
            gpu_layers: tuning.gpu_layers,
            load_mode: tuning.load_mode,
            cache_ram: tuning.cache_ram,
            args,
            env: raw.env.clone().unwrap_or_default(),
            ttl,
            drain,
            load_timeout,
            request_timeout,
            min_residency,
            pinned: raw.pinned.unwrap_or(false),
            served_by: None,
            glyph: raw.glyph.clone(),
            color: raw.color.clone(),
        })
    }

    fn display_name(&self) -> String {
        let written = self.raw.name.clone().filter(|n| !n.trim().is_empty());
        written.unwrap_or_else(|| self.name.proper())
    }

    fn tier(&mut self) -> Option<Tier> {
        let tiers = [
            ("primary", Tier::Primary),
            ("coder", Tier::Coder),
            ("reviewer", Tier::Reviewer),
            ("utility", Tier::Utility),
        ];
        self.word("tier", self.raw.tier.as_deref(), &tiers)
    }

    fn problem(&mut self, key: &str, message: impl Into<String>, next: impl Into<String>) {
        self.found.problem(&["agents", self.name.as_str(), key], message, next);
    }

    /// One of a few words; none where the key is left out or says something else.
    fn word<T: Copy>(&mut self, key: &str, written: Option<&str>, allowed: &[(&str, T)]) -> Option<T> {
        let written = written?;
        let value = allowed.iter().find(|(word, _)| *word == written).map(|(_, value)| *value);
        if value.is_none() {
            let next = instead_of(written, allowed.iter().map(|(word, _)| *word));
            self.problem(key, format!("There is no {key} {}.", quoted(written)), next);
        }
        value
    }

    /// A count from 1 to `most`; none where the key is left out or wrong.
    fn number(&mut self, key: &str, written: Option<i64>, most: u32) -> Option<u32> {
        let written = written?;
        match u32::try_from(written) {
            Ok(number) if (1..=most).contains(&number) => Some(number),
            _ => {
                let message = format!("{key} = {written} is not possible.");
                self.problem(key, message, format!("Write a whole number from 1 to {most}."));
                None
            }
        }
    }

    fn size(&mut self, key: &str, written: Option<&RawSize>) -> Option<Bytes> {
        let path = ["agents", self.name.as_str(), key];
        written.and_then(|s| self.found.take(&path, size(s)))
    }

    fn time(&mut self, key: &str, written: Option<&RawTime>) -> Option<Duration> {
        let path = ["agents", self.name.as_str(), key];
        written.and_then(|t| self.found.take(&path, time(t)))
    }

    /// How long requests may finish: a time, "finish" or "abort".
    fn drain(&mut self) -> Duration {
        let written = self.raw.drain.as_ref();
        if let Some(RawTime::Text(text)) = written {
            match text.trim() {
                "finish" => return DRAIN_FINISH,
                "abort" => return DRAIN_ABORT,
                _ => {}
            }
            let path = ["agents", self.name.as_str(), "drain"];
            let time = time(&RawTime::Text(text.clone())).map_err(|(message, _)| {
                let next = "Write a time such as \"60 s\", \"finish\" to let requests come to their end, or \"abort\" \
                            to cut them off.";
                (message, next.to_owned())
            });
            return self.found.take(&path, time).unwrap_or(DRAIN);
        }
        self.time("drain", written).unwrap_or(DRAIN)
    }

    /// A value that becomes one argument of a command line: not empty, not an option of its own, one line.
    fn argument(&mut self, key: &str, value: Option<&str>) {
        let Some(value) = value else { return };
        if value.trim().is_empty() || value.starts_with('-') || value.chars().any(char::is_control) {
            let article = if key.starts_with(['a', 'e', 'i', 'o', 'u']) { "an" } else { "a" };
            self.problem(
                key,
                format!("{} cannot be {article} {key}.", quoted(value)),
                format!("Write its name, or leave {key} out."),
            );
        }
    }

    fn no_control<'s>(&mut self, key: &str, mut values: impl Iterator<Item = &'s str>) {
        if values.any(|v| v.contains('\0')) {
            self.problem(
                key,
                format!("{key} holds a character that no program can be given."),
                "Remove the NUL.",
            );
        }
    }

    fn backend(&mut self) -> Option<BackendKind> {
        let words = [BackendKind::Vllm, BackendKind::LlamaCpp, BackendKind::External, BackendKind::Ollama]
            .map(|b| (b.word(), b));
        if self.raw.backend.is_some() {
            return self.word("backend", self.raw.backend.as_deref(), &words);
        }
        // What the other keys can only mean.
        let gguf = self.raw.model.as_deref().is_some_and(is_gguf);
        Some(if self.raw.endpoint.is_some() || self.raw.engine.as_deref() == Some("external") {
            BackendKind::External
        } else if gguf {
            BackendKind::LlamaCpp
        } else {
            BackendKind::Vllm
        })
    }

    fn port(&mut self, runs: Option<&Runs>) -> Option<u16> {
        if let Some(Runs::External { endpoint } | Runs::Ollama { endpoint }) = runs {
            if self.raw.port.is_some() {
                let path = ["agents", self.name.as_str(), "port"];
                self.found.note(&path, "The port of an external server is the one in its endpoint.");
            }
            return runs::endpoint(endpoint).map(|(_, port)| port);
        }
        let Some(written) = self.raw.port else {
            // Of an agent whose engine is not understood, it is not known whether it needs one.
            if runs.is_some() {
                self.problem(
                    "port",
                    format!("{} has no port.", self.name.proper()),
                    "Write port = 8001, or another that nothing else uses.",
                );
            }
            return None;
        };
        let port = u16::try_from(written).ok().filter(|p| *p > 0);
        if port.is_none() {
            self.problem("port", format!("{written} is not a port."), "Write a number from 1 to 65535.");
        }
        port
    }

    fn context(&mut self, limit: Option<u32>) -> u32 {
        let longest = limit.unwrap_or(MOST_CONTEXT);
        let Some(context) = self.number("context", self.raw.context, MOST_CONTEXT) else {
            return CONTEXT.min(longest);
        };
        if context > longest {
            self.problem(
                "context",
                format!("A context of {context} tokens is longer than the model's own {longest}."),
                format!("Write context = {longest} or less."),
            );
        }
        context
    }

    fn devices(&mut self) -> Vec<PoolId> {
        let written = self.raw.devices.as_deref().unwrap_or_default();
        let mut devices: Vec<PoolId> = Vec::new();
        for device in written {
            if devices.iter().any(|d| &d.0 == device) {
                self.problem(
                    "devices",
                    format!("{} is named twice.", quoted(device)),
                    "Name each device once.",
                );
            }
            devices.push(PoolId::new(device));
        }
        devices
    }

    fn tensor_parallel(&mut self, devices: usize) -> u32 {
        let of_devices = u32::try_from(devices.max(1)).unwrap_or(MOST_DEVICES);
        let Some(parts) = self.number("tensor_parallel", self.raw.tensor_parallel, MOST_DEVICES) else {
            return of_devices;
        };
        if devices > 0 && parts != of_devices {
            self.problem(
                "tensor_parallel",
                format!("tensor_parallel = {parts} does not go with {devices} devices."),
                format!("Write tensor_parallel = {of_devices}, or name as many devices."),
            );
        }
        parts
    }

    fn env(&mut self) {
        let Some(env) = &self.raw.env else { return };
        for (key, value) in env {
            let path = ["agents", self.name.as_str(), "env", key];
            let mut letters = key.chars();
            let named = letters.next().is_some_and(|c| c.is_ascii_alphabetic() || c == '_')
                && letters.all(|c| c.is_ascii_alphanumeric() || c == '_');
            if !named || value.contains('\0') {
                self.found.problem(
                    &path,
                    format!("{} cannot be a variable of the environment.", quoted(key)),
                    "Use letters, digits and underscores, a letter first, and a value of plain text.",
                );
            } else if TOKENS.contains(&key.as_str()) {
                self.found.problem(
                    &path,
                    "A token does not belong in the stack file, and model servers are not given one.",
                    format!(
                        "Remove {key}; models are fetched before the start, with the token of your own login."
                    ),
                );
            } else if LOADERS.contains(&key.as_str()) {
                self.found.note(&path, format!("{key} makes the server load code from {}.", quoted(value)));
            }
        }
    }

    /// How it is drawn: both end up in the window, so both are held to plain words.
    fn look(&mut self) {
        let word = |w: &str| {
            !w.is_empty() && w.len() <= 40 && w.chars().all(|c| c.is_ascii_alphanumeric() || c == '-')
        };
        if let Some(glyph) = self.raw.glyph.as_deref().filter(|g| !word(g)) {
            self.problem(
                "glyph",
                format!("{} is not the name of a rune.", quoted(glyph)),
                "Write one word, such as \"thor\", or leave it out.",
            );
        }
        if let Some(color) = self.raw.color.as_deref() {
            let hex = color
                .strip_prefix('#')
                .is_some_and(|h| matches!(h.len(), 3 | 6) && h.chars().all(|c| c.is_ascii_hexdigit()));
            if !hex && !word(color) {
                self.problem(
                    "color",
                    format!("{} is not a colour.", quoted(color)),
                    "Write the name of an agent's colour, such as \"odin\", or \"#rrggbb\".",
                );
            }
        }
    }
}
