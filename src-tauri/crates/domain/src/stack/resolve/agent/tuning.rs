//! How the server works: keys that change its launch, and each of which one backend has.

use super::super::super::quantity::size;
use super::super::super::{BackendKind, KnownParts, LoadMode};
use super::AgentCheck;
use super::known::Known;
use crate::memory::Bytes;

/// A draft of more tokens than this is hardly ever right to its end.
const MOST_DRAFT_TOKENS: u32 = 64;
/// Far above what any server takes; a larger number is a slip.
const MOST_BATCHED_TOKENS: u32 = 1 << 20;
const MOST_LAYERS: u32 = 10_000;

/// The keys of an agent that say how its server works.
#[derive(Default)]
pub(super) struct Tuning {
    pub(super) draft_tokens: Option<u32>,
    pub(super) batched_tokens: Option<u32>,
    pub(super) prefix_caching: Option<bool>,
    pub(super) eager: bool,
    pub(super) attention_backend: Option<String>,
    pub(super) gpu_layers: Option<u32>,
    pub(super) load_mode: Option<LoadMode>,
    pub(super) cache_ram: Option<Bytes>,
}

impl AgentCheck<'_> {
    pub(super) fn tuning(&mut self, backend: Option<BackendKind>) -> Tuning {
        let raw = self.raw;
        if let Some(backend) = backend {
            self.keys_of_other_backends(backend);
        }
        if raw.draft_tokens.is_some() && raw.draft_model.is_none() {
            self.problem(
                "draft_tokens",
                format!("{} has draft_tokens and no model that would write them.", self.name.proper()),
                "Name a small model of the same family as draft_model, or remove draft_tokens.",
            );
        }
        self.argument("attention_backend", raw.attention_backend.as_deref());
        let modes = LoadMode::ALL.map(|mode| (mode.word(), mode));
        Tuning {
            draft_tokens: self.number("draft_tokens", raw.draft_tokens, MOST_DRAFT_TOKENS),
            batched_tokens: self.number("batched_tokens", raw.batched_tokens, MOST_BATCHED_TOKENS),
            prefix_caching: raw.prefix_caching,
            eager: raw.eager.unwrap_or(false),
            attention_backend: raw.attention_backend.clone(),
            gpu_layers: self.gpu_layers(),
            load_mode: self.word("load_mode", raw.load_mode.as_deref(), &modes),
            cache_ram: self.size("cache_ram", raw.cache_ram.as_ref()),
        }
    }

    /// Zero is a number here: it means the processor.
    fn gpu_layers(&mut self) -> Option<u32> {
        let written = self.raw.gpu_layers?;
        let layers = u32::try_from(written).ok().filter(|n| *n <= MOST_LAYERS);
        if layers.is_none() {
            self.problem(
                "gpu_layers",
                format!("gpu_layers = {written} is not possible."),
                "Write 0 to keep it on the processor, the number of layers for the GPU, or leave it out for all.",
            );
        }
        layers
    }

    /// What a claim in one number is made of. Problems of `weights` and `overhead` are said where the claim is read.
    pub(super) fn known_parts(&self, backend: BackendKind, known: &Known) -> Option<KnownParts> {
        let raw = self.raw;
        if raw.memory.is_none() && raw.share.is_none() {
            return None;
        }
        let written = |key: &Option<_>| key.as_ref().and_then(|text| size(text).ok());
        let weights = written(&raw.weights).or(known.weights)?;
        let usual = match backend {
            BackendKind::Vllm | BackendKind::LlamaCpp => self.usual_overhead(backend, known),
            BackendKind::External | BackendKind::Ollama => return None,
        };
        let overhead = written(&raw.overhead).unwrap_or(usual);
        Some(KnownParts { weights, overhead })
    }

    /// A key without effect would only look like a setting.
    fn keys_of_other_backends(&mut self, backend: BackendKind) {
        use BackendKind::{LlamaCpp, Vllm};
        let raw = self.raw;
        let keys: [(&str, bool, &[BackendKind], &str); 8] = [
            ("draft_tokens", raw.draft_tokens.is_some(), &[Vllm, LlamaCpp], "Remove it."),
            ("batched_tokens", raw.batched_tokens.is_some(), &[Vllm, LlamaCpp], "Remove it."),
            (
                "prefix_caching",
                raw.prefix_caching.is_some(),
                &[Vllm],
                "Remove it: llama.cpp keeps the beginning of a prompt in its slot by itself.",
            ),
            ("eager", raw.eager.is_some(), &[Vllm], "Remove it: only vLLM captures graphs at its start."),
            (
                "attention_backend",
                raw.attention_backend.is_some(),
                &[Vllm],
                "Remove it: llama.cpp has one attention, which args = [\"-fa\", \"off\"] turns off.",
            ),
            (
                "gpu_layers",
                raw.gpu_layers.is_some(),
                &[LlamaCpp],
                "Remove it: vLLM holds every layer on the GPU.",
            ),
            (
                "load_mode",
                raw.load_mode.is_some(),
                &[LlamaCpp],
                "Remove it: how weights are read is a choice of llama.cpp's.",
            ),
            (
                "cache_ram",
                raw.cache_ram.is_some(),
                &[LlamaCpp],
                "Remove it: only llama.cpp keeps old prompts in ordinary memory.",
            ),
        ];
        for (key, given, of, next) in keys {
            if !given || of.contains(&backend) {
                continue;
            }
            let next = if matches!(backend, Vllm | LlamaCpp) {
                next
            } else {
                "Remove it: that server has its own settings."
            };
            self.problem(
                key,
                format!(
                    "{key} means nothing for backend = \"{}\", which {} has.",
                    backend.word(),
                    self.name.proper()
                ),
                next,
            );
        }
    }
}
