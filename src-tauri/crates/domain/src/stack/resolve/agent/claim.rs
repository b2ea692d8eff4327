//! What an agent claims of memory: exactly one of `kv_cache`, `memory` and `share`.

use super::super::super::quantity::quoted;
use super::super::super::{BackendKind, ClaimBasis};
use super::known::{Known, Wanted};
use super::{AgentCheck, is_gguf};
use crate::catalog::KnownModel;
use crate::memory::{Bytes, GIB, MIB, Unit};

/// What a server takes beyond weights and KV cache, until it was measured.
const VLLM_OVERHEAD: Bytes = Bytes(4 * GIB);
const LLAMA_CPP_OVERHEAD: Bytes = Bytes(GIB);

impl AgentCheck<'_> {
    pub(super) fn claim(&mut self, wanted: Wanted, known: &Known) -> Option<ClaimBasis> {
        let raw = self.raw;
        let backend = wanted.backend;
        let given: Vec<&str> = [
            ("kv_cache", raw.kv_cache.is_some()),
            ("memory", raw.memory.is_some()),
            ("share", raw.share.is_some()),
        ]
        .iter()
        .filter(|(_, given)| *given)
        .map(|(key, _)| *key)
        .collect();
        if raw.kv_cache.is_none() && (raw.weights.is_some() || raw.overhead.is_some()) {
            let key = if raw.weights.is_some() { "weights" } else { "overhead" };
            let path = ["agents", self.name.as_str(), key];
            self.found.note(&path, "weights and overhead count beside kv_cache only.");
        }
        match given.as_slice() {
            // What somebody else runs holds what it holds; a figure only helps to tell it from other programs.
            [] if backend == BackendKind::External => Some(ClaimBasis::Memory(Bytes::ZERO)),
            [] => {
                let next = match known.least {
                    Some(takes) => format!(
                        "Write kv_cache = \"{}\" or more, or the whole claim as memory = \"...\".",
                        self.written_up(takes)
                    ),
                    None => {
                        "Write one of kv_cache = \"8 GB\", memory = \"20 GB\" and share = 0.2.".to_owned()
                    }
                };
                self.problem(
                    "kv_cache",
                    format!("{} does not say how much memory it takes.", self.name.proper()),
                    next,
                );
                None
            }
            ["kv_cache"] => self.kv_claim(wanted, known),
            ["memory"] => self.size("memory", raw.memory.as_ref()).map(ClaimBasis::Memory),
            ["share"] => self.share(),
            [first, second, ..] => {
                let all = if given.len() == 3 {
                    "kv_cache, memory and share"
                } else {
                    &format!("{first} and {second}")
                };
                self.problem(
                    second,
                    format!("{} gives {all}, and a claim is exactly one of the three.", self.name.proper()),
                    "Keep the one you mean: kv_cache, memory (all of it) or share (of the capacity).",
                );
                None
            }
            [_] => None,
        }
    }

    fn share(&mut self) -> Option<ClaimBasis> {
        let share = self.raw.share?;
        if share > 0.0 && share <= 1.0 {
            return Some(ClaimBasis::Share(share));
        }
        self.problem(
            "share",
            format!("share = {share} is no part of the memory."),
            "Write a number above 0 and at most 1.",
        );
        None
    }

    fn kv_claim(&mut self, wanted: Wanted, known: &Known) -> Option<ClaimBasis> {
        let raw = self.raw;
        let kv_cache = self.size("kv_cache", raw.kv_cache.as_ref());
        if let Some(kv_cache) = kv_cache {
            self.kv_is_enough(kv_cache, wanted, known);
        }
        let written = self.size("weights", raw.weights.as_ref());
        let weights = written.or(known.weights);
        if weights.is_none() && raw.weights.is_none() && raw.model.is_some() {
            self.weights_unknown();
        }
        let overhead = match &raw.overhead {
            None => Some(self.usual_overhead(wanted.backend, known)),
            written => self.size("overhead", written.as_ref()),
        };
        Some(ClaimBasis::KvCache { weights: weights?, kv_cache: kv_cache?, overhead: overhead? })
    }

    /// What a server takes beyond weights and cache, where the file does not say it.
    pub(super) fn usual_overhead(&self, backend: BackendKind, known: &Known) -> Bytes {
        let usual = match backend {
            BackendKind::Vllm => VLLM_OVERHEAD,
            BackendKind::LlamaCpp => LLAMA_CPP_OVERHEAD,
            BackendKind::External | BackendKind::Ollama => return Bytes::ZERO,
        };
        known.overhead.unwrap_or_else(|| self.scaled(usual))
    }

    fn weights_unknown(&mut self) {
        let model = self.raw.model.as_deref().unwrap_or_default();
        let message = if is_gguf(model) {
            format!("The size of {} is not known: there is no such file here.", quoted(model))
        } else {
            format!("How large the weights of {} are is not known.", quoted(model))
        };
        self.problem(
            "weights",
            message,
            "Give weights = \"...\" beside kv_cache, or the whole claim as memory = \"...\".",
        );
    }

    /// A cache below one context cannot hold the conversation it promises; below all of them they take turns.
    fn kv_is_enough(&mut self, kv_cache: Bytes, wanted: Wanted, known: &Known) {
        let (Some(one), Some(all)) = (known.one, known.all) else { return };
        let Wanted { context, sequences, .. } = wanted;
        let unit = self.unit();
        let path = ["agents", self.name.as_str(), "kv_cache"];
        if kv_cache < one {
            let per_token = one.0 / u64::from(context.max(1));
            let fitting = match self.longest(wanted, kv_cache) {
                Some(longest) => u64::from(longest),
                None => kv_cache.0.checked_div(per_token).unwrap_or_default(),
            };
            self.problem(
                "kv_cache",
                format!(
                    "A KV cache of {} is too small: one context of {context} tokens takes {}.",
                    kv_cache.show(unit),
                    one.show_up(unit)
                ),
                format!(
                    "Write kv_cache = \"{}\" or more, or context = {} or less.",
                    self.written_up(known.least.unwrap_or(one)),
                    fitting.max(1)
                ),
            );
        } else if kv_cache < known.least.unwrap_or(one) {
            self.found.note(
                &path,
                format!(
                    "One context fits, and newer versions of vLLM set more aside than it takes: they start with \"{}\" or more.",
                    self.written_up(known.least.unwrap_or(one))
                ),
            );
        } else if kv_cache < all {
            self.found.note(
                &path,
                format!(
                    "{} full contexts of {context} tokens would take {}; with {} they take turns.",
                    sequences,
                    all.show_up(unit),
                    kv_cache.show(unit)
                ),
            );
        }
    }

    /// What one more token costs: the known figure is of a 16-bit cache.
    pub(super) fn kv_bytes_per_token(&self, model: &KnownModel) -> Option<u64> {
        let of_16_bit = model.kv_bytes_per_token / self.facts.scale.max(1);
        let kv_dtype = self.raw.kv_dtype.as_deref().unwrap_or("auto").to_ascii_lowercase();
        match kv_dtype.as_str() {
            "auto" | "f16" | "fp16" | "float16" | "bf16" | "bfloat16" | "half" => Some(of_16_bit),
            "f32" | "float32" => Some(of_16_bit * 2),
            "fp8" | "fp8_e4m3" | "fp8_e5m2" => Some(of_16_bit.div_ceil(2)),
            // Blocks of 32 values with a 16-bit scale each.
            "q8_0" => Some((of_16_bit * 34).div_ceil(64)),
            "q4_0" => Some((of_16_bit * 18).div_ceil(64)),
            // Rather nothing than a wrong figure to refuse by.
            _ => None,
        }
    }

    /// A figure of a real machine, in the size of this one.
    pub(super) fn scaled(&self, bytes: Bytes) -> Bytes {
        bytes.share(1, self.facts.scale.max(1))
    }

    fn unit(&self) -> Unit {
        if self.facts.scale > 1 { Unit::Mb } else { Unit::Gb }
    }

    /// As one would write it in the file, rounded up to a tenth: "6 GB", "1.2 GB".
    fn written_up(&self, bytes: Bytes) -> String {
        let (unit, of) = if self.facts.scale > 1 { (Unit::Mb, MIB) } else { (Unit::Gb, GIB) };
        let tenths = u128::from(bytes.0).saturating_mul(10).div_ceil(u128::from(of));
        match tenths % 10 {
            0 => format!("{} {unit}", tenths / 10),
            rest => format!("{}.{rest} {unit}", tenths / 10),
        }
    }
}
