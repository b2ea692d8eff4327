//! What is known of an agent's model: from its own files where they were read, else from the preset data.

use super::super::super::{BackendKind, Basis};
use super::AgentCheck;
use crate::catalog::{KnownModel, known_model};
use crate::estimate::{self, Estimate, ModelFacts, Request, Sureness};
use crate::memory::Bytes;

/// llama.cpp computes so many tokens at once at most, however many its batch has.
const UBATCH: u32 = 512;

/// Figures in the size of this machine (divided by the scale of a rehearsal), over all devices of the agent.
#[derive(Debug, Clone, Default)]
pub(super) struct Known {
    pub(super) weights: Option<Bytes>,
    /// Where the weights come from, if they are not written.
    pub(super) basis: Option<Basis>,
    pub(super) kv_bytes_per_token: Option<u64>,
    /// What one sequence of the full context takes of the pool, the fixed state and the rounding of the server
    /// included; a draft model's too.
    pub(super) one: Option<Bytes>,
    /// What all sequences take.
    pub(super) all: Option<Bytes>,
    /// With how much every version of vLLM starts at all: one sequence, a block that newer ones set aside, and the
    /// second batch that they count for layers with a window.
    pub(super) least: Option<Bytes>,
    pub(super) overhead: Option<Bytes>,
}

/// Numbers of the agent that decide about the size of its cache.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wanted {
    pub(super) backend: BackendKind,
    pub(super) context: u32,
    pub(super) sequences: u32,
    pub(super) tensor_parallel: u32,
    pub(super) batched_tokens: Option<u32>,
}

impl AgentCheck<'_> {
    /// What the files of the agent's model say.
    pub(super) fn model_facts(&self) -> Option<&ModelFacts> {
        self.facts.models.get(self.raw.model.as_deref()?)
    }

    pub(super) fn known(&mut self, wanted: Wanted, catalog: Option<&KnownModel>) -> Known {
        let mut known = match self.model_facts().and_then(|facts| self.estimated(facts, wanted)) {
            Some(known) => known,
            None => self.preset(wanted, catalog),
        };
        if let Some(size) = self.raw.model.as_deref().and_then(|m| self.facts.file_sizes.get(m))
            && known.basis != Some(Basis::Estimated)
        {
            known.weights = Some(*size);
            known.basis = Some(Basis::Declared);
        }
        if known.weights.is_none()
            && let Some(model) = catalog
        {
            known.weights = Some(self.scaled(model.weights));
            known.basis = Some(Basis::Declared);
        }
        self.with_draft(&mut known, wanted);
        known
    }

    /// The request that the agent amounts to.
    pub(super) fn request(&self, wanted: Wanted) -> Request {
        let raw = self.raw;
        let llama = matches!(wanted.backend, BackendKind::LlamaCpp | BackendKind::Ollama);
        Request {
            backend: wanted.backend,
            context: Some(wanted.context),
            sequences: wanted.sequences,
            tensor_parallel: wanted.tensor_parallel,
            kv_dtype: raw.kv_dtype.clone(),
            quantization: raw.quantization.clone(),
            batched_tokens: wanted.batched_tokens.map(|b| if llama { b.min(UBATCH) } else { b }),
            // Newer versions cache prefixes of hybrid models by themselves: the larger figure, unless it is off.
            prefix_caching: raw.prefix_caching.unwrap_or(true),
        }
    }

    fn estimated(&self, facts: &ModelFacts, wanted: Wanted) -> Option<Known> {
        let request = self.request(wanted);
        let all = estimate::estimate(facts, &request).ok()?;
        let one = estimate::estimate(facts, &Request { sequences: 1, ..request.clone() }).ok()?;
        let pool = |e: &Estimate| self.scaled(e.kv + e.state);
        let kv = all.certainty.kv != Sureness::Unknown && all.kv + all.state > Bytes::ZERO;
        // From 0.26 on vLLM counts two batches for layers with a window.
        let two_batches = request.batched_tokens.unwrap_or(estimate::BATCHED_TOKENS).saturating_mul(2);
        let newer = match request.backend {
            BackendKind::Vllm => Request { batched_tokens: Some(two_batches), ..request.clone() },
            _ => request.clone(),
        };
        let least = estimate::smallest_pool(facts, &newer)
            .map(|pool| Bytes(pool.0.saturating_mul(u64::from(wanted.tensor_parallel))));
        let known = (all.certainty.weights != Sureness::Unknown).then(|| self.scaled(all.weights));
        Some(Known {
            weights: known,
            basis: known.map(|_| Basis::Estimated),
            kv_bytes_per_token: kv.then(|| all.kv_bytes_per_token / self.facts.scale.max(1)),
            one: kv.then(|| pool(&one)),
            all: kv.then(|| pool(&all)),
            least: if kv { least.map(|l| self.scaled(l)) } else { None },
            overhead: Some(self.scaled(all.overhead)),
        })
    }

    fn preset(&self, wanted: Wanted, catalog: Option<&KnownModel>) -> Known {
        let Some(model) = catalog else { return Known::default() };
        let per_token = self.kv_bytes_per_token(model);
        let one = per_token.map(|p| Bytes(p.saturating_mul(u64::from(wanted.context))));
        Known {
            weights: Some(self.scaled(model.weights)),
            basis: Some(Basis::Declared),
            kv_bytes_per_token: per_token,
            one,
            all: one.map(|one| Bytes(one.0.saturating_mul(u64::from(wanted.sequences)))),
            least: one,
            overhead: (wanted.backend == BackendKind::Vllm).then(|| self.scaled(model.vllm_overhead)),
        }
    }

    /// A draft model's weights and cache count as well: both servers hold them beside the model's own.
    fn with_draft(&mut self, known: &mut Known, wanted: Wanted) {
        let Some(draft) = self.raw.draft_model.clone() else { return };
        if !matches!(wanted.backend, BackendKind::Vllm | BackendKind::LlamaCpp) {
            return;
        }
        // A draft cannot look further back than it was made for; servers then use it with what it has.
        let of = self.facts.models.get(&draft).and_then(|facts| {
            let context = facts.max_context.map_or(wanted.context, |most| most.min(wanted.context));
            self.estimated(facts, Wanted { context, ..wanted })
        });
        let own = of.unwrap_or_else(|| self.preset(wanted, known_model(&draft)));
        let weights = own.weights.or_else(|| self.facts.file_sizes.get(&draft).copied());
        let Some(weights) = weights else {
            let path = ["agents", self.name.as_str(), "draft_model"];
            self.found.note(&path, "How large the draft model is is not known: it is not counted.");
            return;
        };
        let add = |to: &mut Option<Bytes>, more: Option<Bytes>| {
            if let Some(to) = to {
                *to += more.unwrap_or_default();
            }
        };
        add(&mut known.weights, Some(weights));
        add(&mut known.one, own.one);
        add(&mut known.all, own.all);
        add(&mut known.least, own.one);
        if let Some(per_token) = &mut known.kv_bytes_per_token {
            *per_token = per_token.saturating_add(own.kv_bytes_per_token.unwrap_or_default());
        }
    }

    /// The longest context that a cache of `kv_cache` (over all devices) holds.
    pub(super) fn longest(&self, wanted: Wanted, kv_cache: Bytes) -> Option<u32> {
        let facts = self.model_facts()?;
        let here =
            kv_cache.0.saturating_mul(self.facts.scale.max(1)) / u64::from(wanted.tensor_parallel.max(1));
        estimate::longest_context(facts, &self.request(wanted), Bytes(here))
    }
}
