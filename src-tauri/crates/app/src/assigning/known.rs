//! What is known of a model that an agent may get: from its own files, else from the figures that come with Asgard.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{LazyLock, Mutex, PoisonError};
use std::time::{Duration, Instant};

use domain::catalog::{KnownModel, known_model};
use domain::estimate::{ModelFacts, Weights};
use domain::memory::Bytes;
use domain::stack::{BackendKind, Gpu, HubFile};
use store::stack_file::Surroundings;

use crate::here::Here;

/// A slider asks many times a second, and a GGUF header has megabytes: so long what was read is believed.
const BELIEVED: Duration = Duration::from_secs(5);
const MOST_KEPT: usize = 64;

type Wanted = (PathBuf, String, Option<String>);
type Kept = BTreeMap<Wanted, (Instant, Option<ModelFacts>)>;
static READ: LazyLock<Mutex<Kept>> = LazyLock::new(Mutex::default);

/// The machine's own models, each read once in a while.
pub(super) struct Remembered(pub(super) Here);

impl Surroundings for Remembered {
    fn gpu(&self) -> Option<Gpu> {
        self.0.gpu()
    }

    fn model(&self, model: &str, revision: Option<&str>) -> Option<ModelFacts> {
        let wanted = (self.0.hub().to_path_buf(), model.to_owned(), revision.map(str::to_owned));
        let kept = READ.lock().unwrap_or_else(PoisonError::into_inner).get(&wanted).cloned();
        if let Some((at, facts)) = kept
            && at.elapsed() < BELIEVED
        {
            return facts;
        }
        let facts = self.0.model(model, revision);
        let mut read = READ.lock().unwrap_or_else(PoisonError::into_inner);
        if read.len() >= MOST_KEPT {
            read.clear();
        }
        read.insert(wanted, (Instant::now(), facts.clone()));
        facts
    }
}

/// A model as an agent may be given it.
pub(super) struct Known {
    pub(super) model: String,
    pub(super) gguf: bool,
    pub(super) facts: Option<ModelFacts>,
    pub(super) catalog: Option<&'static KnownModel>,
    /// Whether the check of the stack file finds the weights by itself; else they must be written.
    pub(super) counted: bool,
    /// What its weights and its cache are divided by on this machine. The models that a rehearsal fetches are in its
    /// small unit already; those that are known by name are real ones.
    pub(super) shrunk: u64,
}

impl Known {
    /// `scale` as in `stack_file::check_on`, which on the small machine of a rehearsal asks no file.
    pub(super) fn of(around: &dyn Surroundings, model: &str, revision: Option<&str>, scale: u64) -> Self {
        let catalog = known_model(model);
        let from_files = || around.model(model, revision);
        let facts = match catalog {
            Some(known) if scale > 1 => Some(known.facts()),
            Some(known) => from_files().or_else(|| Some(known.facts())),
            None => from_files(),
        };
        let weighed = |facts: &ModelFacts| !matches!(facts.weights, Weights::Unknown { .. });
        let counted = catalog.is_some() || scale == 1 && facts.as_ref().is_some_and(weighed);
        let shrunk = if catalog.is_some() { scale.max(1) } else { 1 };
        Self { model: model.to_owned(), gguf: is_gguf(model), facts, catalog, counted, shrunk }
    }

    pub(super) fn max_context(&self) -> Option<u32> {
        self.facts.as_ref().and_then(|f| f.max_context)
    }

    /// The weights as they are in the files or in the preset data; none where neither says it.
    pub(super) fn weights(&self) -> Option<Bytes> {
        self.facts
            .as_ref()
            .filter(|f| !matches!(f.weights, Weights::Unknown { .. }))
            .map(|f| f.weights.bytes())
    }

    /// The server that loads it.
    pub(super) fn backend(&self) -> BackendKind {
        if self.gguf { BackendKind::LlamaCpp } else { BackendKind::Vllm }
    }

    pub(super) fn quantization(&self) -> Option<&str> {
        let of_files = self.facts.as_ref().and_then(|f| f.quantization.as_deref());
        of_files.or(self.catalog.map(|m| m.quantization))
    }

    /// How its kind spells the calls of tools, as vLLM names it.
    pub(super) fn tool_parser(&self) -> Option<&'static str> {
        let architecture = self.facts.as_ref().map(|f| f.architecture.as_str());
        domain::catalog::tool_parser(&self.model, architecture)
    }
}

fn is_gguf(model: &str) -> bool {
    HubFile::parse(model).is_some() || model.to_ascii_lowercase().ends_with(".gguf")
}
