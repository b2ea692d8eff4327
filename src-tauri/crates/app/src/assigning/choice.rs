//! From a choice in the dialog to the keys of the stack file: what the new model needs, and what of the old one has to
//! go. Every key that is taken away or set without having been asked for is said in a note.

use std::collections::BTreeMap;

use api::shapes::assign::AssignRequest;
use api::{ApiError, Code};
use domain::estimate::{self, Request, Sureness};
use domain::memory::{Bytes, GIB, MIB, Unit};
use domain::stack::{Agent, BackendKind, Runs, Stack};
use serde_json::Value;

use super::arguments;
use super::known::Known;

/// Nobody asks for a million tokens by saying nothing.
const USUAL_CONTEXT: u32 = 32_768;
/// vLLM shares its cache among all that come; llama.cpp sets a whole context aside for each.
const USUAL_SEQUENCES: [(BackendKind, u32); 2] = [(BackendKind::Vllm, 4), (BackendKind::LlamaCpp, 2)];

/// From 0.26 on vLLM counts two batches for layers with a window.
const BATCHES_OF_NEWER: u32 = 2;

pub(super) type Keys = BTreeMap<String, Value>;

/// Everything that a choice depends on.
pub(super) struct Question<'a> {
    pub(super) asked: &'a AssignRequest,
    pub(super) stack: &'a Stack,
    /// The keys of every agent, as the file has them.
    pub(super) written: &'a [(String, Keys)],
    pub(super) known: &'a Known,
    pub(super) scale: u64,
    /// No pool of the machine belongs to a GPU.
    pub(super) no_gpu: bool,
    /// For a new agent that names none.
    pub(super) port: u16,
}

/// What the choice amounts to.
pub(super) struct Choice {
    pub(super) backend: BackendKind,
    pub(super) context: u32,
    pub(super) sequences: u32,
    /// "auto" where nothing is written.
    pub(super) kv_dtype: String,
    /// As the estimate is asked.
    pub(super) request: Request,
    /// Only keys that change; null takes one away.
    pub(super) keys: Keys,
    pub(super) notes: Vec<String>,
}

/// # Errors
/// An agent that cannot be given a model: it does not exist, is a role, or others run it.
pub(super) fn choose(question: &Question<'_>) -> Result<Choice, ApiError> {
    let asked = question.asked;
    let before = question.written.iter().find(|(name, _)| *name == asked.agent).map(|(_, keys)| keys);
    let agent = question.stack.agents.iter().find(|a| a.name.as_str() == asked.agent);
    if asked.new.is_none() {
        pointable(asked, agent, before)?;
    }
    let old = agent.filter(|_| asked.new.is_none());
    let empty = Keys::new();
    let mut draft = Draft {
        question,
        old,
        before: before.filter(|_| asked.new.is_none()).unwrap_or(&empty),
        keys: Keys::new(),
        notes: Vec::new(),
    };
    let backend = draft.backend()?;
    draft.server(backend);
    draft.model();
    draft.look();
    let context = draft.context();
    let sequences = draft.sequences(backend);
    let kv_dtype = draft.kv_dtype(backend);
    let request = draft.request(backend, context, sequences, &kv_dtype);
    draft.claim(&request);
    let Draft { keys, notes, before, .. } = draft;
    // What stands there already is not written again: every byte of it stays.
    let keys =
        keys.into_iter().filter(|(key, value)| before.get(key).unwrap_or(&Value::Null) != value).collect();
    Ok(Choice { backend, context, sequences, kv_dtype, request, keys, notes })
}

fn pointable(asked: &AssignRequest, agent: Option<&Agent>, before: Option<&Keys>) -> Result<(), ApiError> {
    let Some(agent) = agent.filter(|_| before.is_some()) else {
        return Err(ApiError::new(
            Code::Unknown,
            format!("There is no agent {:?} in the stack file.", asked.agent),
            "Choose another, or make a new one.",
        ));
    };
    if let Some(server) = &agent.served_by {
        return Err(ApiError::new(
            Code::Usage,
            format!(
                "{} is a role on {}'s server and has no model of its own.",
                agent.display_name,
                server.proper()
            ),
            format!("Give the model to {}, or make a new agent.", server.proper()),
        ));
    }
    if let Runs::External { .. } | Runs::Ollama { .. } = agent.runs {
        return Err(ApiError::new(
            Code::Usage,
            format!("{} is served by another program, which loads its own model.", agent.display_name),
            "Choose another agent, or make a new one.",
        ));
    }
    Ok(())
}

struct Draft<'a> {
    question: &'a Question<'a>,
    old: Option<&'a Agent>,
    before: &'a Keys,
    keys: Keys,
    notes: Vec<String>,
}

impl Draft<'_> {
    fn asked(&self) -> &AssignRequest {
        self.question.asked
    }

    fn written(&self, key: &str) -> Option<&Value> {
        self.before.get(key)
    }

    fn text(&self, key: &str) -> Option<&str> {
        self.written(key).and_then(Value::as_str)
    }

    fn set(&mut self, key: &str, value: impl Into<Value>) {
        self.keys.insert(key.to_owned(), value.into());
    }

    /// Takes a key away, where it is written.
    fn drop(&mut self, key: &str) -> bool {
        let there = self.before.contains_key(key);
        if there {
            self.keys.insert(key.to_owned(), Value::Null);
        }
        there
    }

    fn note(&mut self, words: impl Into<String>) {
        self.notes.push(words.into());
    }

    /// Whether the agent gets a model that it did not have.
    fn another_model(&self) -> bool {
        self.old.is_none_or(|old| old.model != self.question.known.model)
    }

    fn backend(&mut self) -> Result<BackendKind, ApiError> {
        match self.asked().backend.as_deref() {
            None => Ok(self.question.known.backend()),
            Some("vllm") => Ok(BackendKind::Vllm),
            Some("llama.cpp") => Ok(BackendKind::LlamaCpp),
            Some(other) => Err(ApiError::new(
                Code::Usage,
                format!("No model can be given to {other:?}."),
                "Choose vllm or llama.cpp.",
            )),
        }
    }

    /// What loads it: the backend, and how that is run.
    fn server(&mut self, backend: BackendKind) {
        let word = backend.word();
        if backend == BackendKind::LlamaCpp && !self.question.known.gguf {
            self.note("llama.cpp loads GGUF files, and this model is none.");
        }
        let Some(old) = self.old else {
            self.set("backend", word);
            self.like_others(backend);
            return;
        };
        if old.backend == backend {
            return;
        }
        self.set("backend", word);
        self.note(format!("{} runs on {word} from now on, which loads this model.", old.display_name));
        let mut gone = Vec::new();
        for key in [
            "engine",
            "command",
            "image",
            "host_ipc",
            "prefix_caching",
            "eager",
            "attention_backend",
            "gpu_layers",
            "load_mode",
            "cache_ram",
        ] {
            if self.drop(key) {
                gone.push(key);
            }
        }
        let args = self.arguments();
        if !args.is_empty() {
            self.drop("args");
            self.note(format!("Its flags were those of {} and go: {}.", old.backend.word(), args.join(" ")));
        }
        self.like_others(backend);
        gone.retain(|key| self.keys.get(*key).is_none_or(Value::is_null));
        if !gone.is_empty() {
            self.note(format!(
                "{} said how {} was run, and {}.",
                listed(&gone),
                old.backend.word(),
                goes(&gone)
            ));
        }
    }

    /// Run as the stack's other agents of this backend are; as the backend's default where there is none.
    fn like_others(&mut self, backend: BackendKind) {
        let own = self.asked().agent.clone();
        let like =
            self.question.stack.agents.iter().find(|a| {
                a.backend == backend && a.served_by.is_none() && a.is_ours() && a.name.as_str() != own
            });
        let keys = like.and_then(|like| {
            self.question.written.iter().find(|(name, _)| *name == like.name.as_str()).map(|(_, keys)| keys)
        });
        if let Some(keys) = keys {
            for key in ["engine", "command", "image", "host_ipc", "gpu_layers", "load_mode"] {
                if let Some(value) = keys.get(key) {
                    self.set(key, value.clone());
                }
            }
        } else if backend == BackendKind::LlamaCpp && self.question.no_gpu {
            self.set("image", "ghcr.io/ggml-org/llama.cpp:server");
            self.set("gpu_layers", 0);
            self.note("No GPU was found here: it stays on the processor.");
        }
    }

    fn arguments(&self) -> Vec<String> {
        let args = self.written("args").and_then(Value::as_array);
        args.into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
    }

    /// The model itself, and what was chosen for the one before.
    fn model(&mut self) {
        let known = self.question.known;
        self.set("model", known.model.as_str());
        match self.asked().revision.clone() {
            // A file of this machine has no revision.
            Some(revision) if !known.model.starts_with('/') => self.set("revision", revision),
            _ => {
                self.drop("revision");
            }
        }
        if !self.another_model() {
            return;
        }
        if let Some(old) = self.text("quantization").map(str::to_owned) {
            self.drop("quantization");
            self.note(format!(
                "quantization = {old:?} was the old model's and goes; the server finds out by itself."
            ));
        }
        if self.drop("draft_model") {
            self.drop("draft_tokens");
            self.note("draft_model wrote ahead for the old model and goes.");
        }
        for key in ["weights", "overhead"] {
            if self.drop(key) {
                self.note(format!("{key} was the old model's figure and goes."));
            }
        }
        self.parser();
        self.dtype();
        // Where the backend changed they are gone already.
        if !self.keys.get("args").is_some_and(Value::is_null) {
            let (stay, gone) = arguments::divided(&self.arguments());
            if !gone.is_empty() {
                if stay.is_empty() {
                    self.drop("args");
                } else {
                    self.set("args", stay);
                }
                self.note(format!("Flags that belong to the old model go: {}.", gone.join(", ")));
            }
        }
        let serves: Vec<&str> = self
            .question
            .stack
            .agents
            .iter()
            .filter(|a| a.served_by.as_ref().is_some_and(|s| s.as_str() == self.question.asked.agent))
            .map(|a| a.display_name.as_str())
            .collect();
        if !serves.is_empty() {
            let words = format!("{} is served by it and gets the model too.", serves.join(" and "));
            self.note(if serves.len() > 1 {
                words.replace(" is served", " are served").replace("gets", "get")
            } else {
                words
            });
        }
        if !known.counted
            && let Some(weights) = known.weights()
        {
            // The check of the file cannot look it up: a rehearsal asks no model's files.
            let text = self.written_size(weights);
            self.set("weights", text);
        }
    }

    /// llama.cpp reads the template in the file; vLLM has to be told.
    fn parser(&mut self) {
        let vllm = self.backend_now() == BackendKind::Vllm;
        let before = self.text("tool_parser").map(str::to_owned);
        match (vllm, self.question.known.tool_parser()) {
            (true, Some(parser)) => {
                self.set("tool_parser", parser);
                if before.as_deref().is_some_and(|b| b != parser) {
                    self.note(format!("tool_parser becomes {parser}, which this family of models speaks."));
                }
            }
            (true, None) => {
                self.drop("tool_parser");
                self.note(
                    "How this model spells calls of tools is not known: set tool_parser before tools are used with it.",
                );
            }
            (false, _) => {
                if self.drop("tool_parser") {
                    self.note("tool_parser goes: llama.cpp reads it from the model.");
                }
            }
        }
    }

    /// vLLM's kernels for AWQ want 16-bit floats of the older kind; other models say their own type.
    fn dtype(&mut self) {
        let awq = self.question.known.quantization().is_some_and(|q| q.to_ascii_lowercase().contains("awq"));
        if awq && self.backend_now() == BackendKind::Vllm {
            self.set("dtype", "float16");
        } else if let Some(old) = self.text("dtype").map(str::to_owned) {
            self.drop("dtype");
            self.note(format!("dtype = {old:?} was chosen for the old model and goes."));
        }
    }

    fn backend_now(&self) -> BackendKind {
        match self.keys.get("backend").and_then(Value::as_str) {
            Some("llama.cpp") => BackendKind::LlamaCpp,
            Some(_) => BackendKind::Vllm,
            None => self.old.map_or(BackendKind::Vllm, |old| old.backend),
        }
    }

    /// Of a new agent: how it is drawn, and where it listens.
    fn look(&mut self) {
        let Some(new) = self.asked().new.clone() else { return };
        self.set("port", new.port.unwrap_or(self.question.port));
        for (key, value) in [("title", new.title), ("glyph", new.glyph), ("color", new.color)] {
            if let Some(value) = value.filter(|v| !v.trim().is_empty()) {
                self.set(key, value);
            }
        }
    }

    fn context(&mut self) -> u32 {
        let most = self.question.known.max_context();
        let context = self
            .asked()
            .context
            .unwrap_or_else(|| most.map_or(USUAL_CONTEXT, |most| most.min(USUAL_CONTEXT)));
        let same = self.old.is_some_and(|old| old.context == context) && !self.before.contains_key("context");
        if !same {
            self.set("context", context);
        }
        context
    }

    fn sequences(&mut self, backend: BackendKind) -> u32 {
        let usual = USUAL_SEQUENCES.iter().find(|(b, _)| *b == backend).map_or(1, |(_, n)| *n);
        let sequences = self.asked().sequences.unwrap_or_else(|| self.old.map_or(usual, |old| old.sequences));
        let same =
            self.old.is_some_and(|old| old.sequences == sequences) && !self.before.contains_key("sequences");
        if !same {
            self.set("sequences", sequences);
        }
        sequences
    }

    fn kv_dtype(&mut self, backend: BackendKind) -> String {
        let written = self.text("kv_dtype").map(str::to_owned);
        let switched = self.old.is_some_and(|old| old.backend != backend);
        match self.asked().kv_dtype.clone() {
            Some(auto) if auto.trim().is_empty() || auto == "auto" => {
                // "auto" that stands there stays there.
                if written.as_deref() != Some("auto") || switched {
                    self.drop("kv_dtype");
                }
                "auto".to_owned()
            }
            Some(wanted) => {
                self.set("kv_dtype", wanted.as_str());
                wanted
            }
            None => match written {
                Some(old) if switched => {
                    self.drop("kv_dtype");
                    self.note(format!("kv_dtype = {old:?} is no type of {}'s and goes.", backend.word()));
                    "auto".to_owned()
                }
                Some(old) => old,
                None => "auto".to_owned(),
            },
        }
    }

    fn request(&self, backend: BackendKind, context: u32, sequences: u32, kv_dtype: &str) -> Request {
        let number =
            |key: &str| self.written(key).and_then(Value::as_u64).and_then(|n| u32::try_from(n).ok());
        Request {
            sequences,
            tensor_parallel: self.old.map_or(1, |old| old.tensor_parallel),
            kv_dtype: Some(kv_dtype.to_owned()),
            quantization: if self.another_model() {
                None
            } else {
                self.text("quantization").map(str::to_owned)
            },
            batched_tokens: number("batched_tokens"),
            prefix_caching: self.written("prefix_caching").and_then(Value::as_bool).unwrap_or(true),
            ..Request::one(backend, Some(context))
        }
    }

    /// How much it may take: weights and overhead are known by the model, the cache follows from the contexts.
    fn claim(&mut self, request: &Request) {
        let touched = self.another_model()
            || ["context", "sequences", "kv_dtype"].iter().any(|key| {
                let before = self.before.get(*key).unwrap_or(&Value::Null);
                self.keys.get(*key).is_some_and(|now| now != before)
            });
        // Opened and left as it is, an agent keeps the claim that somebody gave it.
        if !touched && self.asked().kv_cache_bytes.is_none() {
            return;
        }
        let wanted = self.asked().kv_cache_bytes.map(Bytes).or_else(|| needed(self.question.known, request));
        let Some(kv) = wanted else {
            if self.old.is_none() || !self.before.contains_key("kv_cache") {
                self.note("What its KV cache takes is not known: give its size.");
            } else {
                self.note("What its KV cache takes is not known: the size stays as it was.");
            }
            return;
        };
        if self.drop("memory") | self.drop("share") {
            self.note(
                "Its claim was one number for the old model; weights, KV cache and overhead take its place.",
            );
        }
        let text = self.written_size(kv);
        self.set("kv_cache", text);
    }

    /// As one writes it: rounded up to a tenth, below one unit to a hundredth.
    fn written_size(&self, bytes: Bytes) -> String {
        written_size(bytes, self.question.scale)
    }
}

pub(super) fn written_size(bytes: Bytes, scale: u64) -> String {
    let (unit, of) = if scale > 1 { (Unit::Mb, MIB) } else { (Unit::Gb, GIB) };
    let parts = if bytes.0 < of { 100 } else { 10 };
    let rounded = u128::from(bytes.0).saturating_mul(parts).div_ceil(u128::from(of)).max(1);
    let (whole, rest) = (rounded / parts, rounded % parts);
    match (rest, parts) {
        (0, _) => format!("{whole} {unit}"),
        (_, 10) => format!("{whole}.{rest} {unit}"),
        _ => format!("{whole}.{} {unit}", format!("{rest:02}").trim_end_matches('0')),
    }
}

/// What the cache must hold for all sequences of the context, or for the smallest pool that every version of the
/// server starts with; over all devices, in the size of this machine. None where nothing is known of it.
pub(super) fn needed(known: &Known, request: &Request) -> Option<Bytes> {
    let facts = known.facts.as_ref()?;
    let made = estimate::estimate(facts, request).ok()?;
    let all = made.kv + made.state;
    if made.certainty.kv == Sureness::Unknown || all == Bytes::ZERO {
        return None;
    }
    let newer = match request.backend {
        BackendKind::Vllm => Request {
            batched_tokens: Some(
                request.batched_tokens.unwrap_or(estimate::BATCHED_TOKENS).saturating_mul(BATCHES_OF_NEWER),
            ),
            ..request.clone()
        },
        _ => request.clone(),
    };
    let least = estimate::smallest_pool(facts, &newer)
        .map_or(Bytes::ZERO, |pool| Bytes(pool.0.saturating_mul(u64::from(request.tensor_parallel))));
    Some(Bytes(all.max(least).0 / known.shrunk))
}

fn listed(keys: &[&str]) -> String {
    match keys {
        [] => String::new(),
        [one] => (*one).to_owned(),
        [all @ .., last] => format!("{} and {last}", all.join(", ")),
    }
}

fn goes(keys: &[&str]) -> &'static str {
    if keys.len() == 1 { "goes" } else { "go" }
}
