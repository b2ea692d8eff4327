//! The models that ship with the presets, known without a network.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::OnceLock;

use api::shapes::hub::{CuratedModels, Gate, HubModel};
use domain::Bytes;
use domain::catalog::known_model;
use domain::curated::{self, Curated};
use domain::estimate::{Cache, Heads, LayerRun, ModelFacts, Weights};
use domain::stack::{BackendKind, HubFile};
use models::variants::{ALL, RepoVariant};
use store::stack_file::{check, presets};

use super::ground::Ground;
use super::model::{Known, best, licensed, shaped};

pub(super) fn models(ground: &Ground) -> CuratedModels {
    let models = curated::all().iter().map(|of| model(ground, of)).collect();
    CuratedModels { models, checked_for: ground.checked_for() }
}

fn model(ground: &Ground, of: &Curated) -> HubModel {
    let file = HubFile::parse(of.model);
    let repo = file.as_ref().map_or_else(|| of.model.to_owned(), |f| f.repo.clone());
    // Its own files first: they are the truth, and in this machine's size.
    let here = models::facts_of(&ground.folder, of.model, None);
    let installed = here.is_some();
    let divide = if installed { 1 } else { ground.scale.max(1) };
    let facts = here.or_else(|| shipped(of));
    let known =
        Known { facts: facts.as_ref(), parameters: Some(of.parameters), active: Some(of.active), divide };
    let plain = RepoVariant {
        id: file.as_ref().map_or_else(|| ALL.to_owned(), |f| word(&f.file)),
        backend: Some(if file.is_some() { BackendKind::LlamaCpp } else { BackendKind::Vllm }),
        model: of.model.to_owned(),
        files: Vec::new(),
        weights: file.iter().map(|f| f.file.clone()).collect(),
        refused: None,
    };
    let mut variant = shaped(ground, &repo, &plain, &known, None);
    variant.installed = installed;
    variant.files = plain.weights;
    // Where nobody has read the list, the weights are nearly all of it.
    let weights = known_model(of.model).map_or(0, |k| k.weights.0);
    variant.download_bytes = of.download.unwrap_or(weights) / ground.scale.max(1);
    let variants = vec![variant];
    HubModel {
        title: of.title.to_owned(),
        summary: of.summary.to_owned(),
        gated: Gate::Open,
        curated_for: presets_with(|model| model.eq_ignore_ascii_case(of.model)),
        best: best(&variants).map(|v| v.id.clone()),
        variants,
        repo,
        ..licensed(Some(of.licence))
    }
}

/// "Q4_K_M" of "name-Q4_K_M.gguf", as the list of variants would call it.
fn word(file: &str) -> String {
    let stem = file.strip_suffix(".gguf").unwrap_or(file);
    stem.rsplit_once('-').map_or(stem, |(_, word)| word).to_ascii_uppercase()
}

/// What comes with Asgard: one layer that costs what all of them do, because the catalog has no more.
fn shipped(of: &Curated) -> Option<ModelFacts> {
    let known = known_model(of.model)?;
    let width = u32::try_from(known.kv_bytes_per_token / 4).unwrap_or(u32::MAX);
    let mut facts = ModelFacts {
        architecture: "known by name".to_owned(),
        layers: vec![LayerRun { count: 1, cache: Cache::Full { heads: Heads::of(1, width) } }],
        max_context: Some(known.max_context),
        dtype: "float16".to_owned(),
        quantization: Some(known.quantization.to_owned()).filter(|q| q != "BF16"),
        weights: Weights::Computed(known.weights),
        ..ModelFacts::default()
    };
    if facts.quantization.is_none() {
        "bfloat16".clone_into(&mut facts.dtype);
    }
    // As much of the weights as of their count: for the speed.
    if of.active < of.parameters {
        facts.parts.total = known.weights;
        let idle = known.weights.share(of.parameters - of.active, of.parameters);
        facts.parts.towers = idle.min(known.weights);
    } else {
        facts.parts.total = Bytes::ZERO;
    }
    Some(facts)
}

/// The presets that name a model of this repository, and their agents: "norse: Thor and Frigga".
pub(super) fn presets_of(repo: &str) -> Vec<String> {
    presets_with(|model| {
        let file = HubFile::parse(model);
        file.map_or_else(|| model.eq_ignore_ascii_case(repo), |f| f.repo.eq_ignore_ascii_case(repo))
    })
}

fn presets_with(is: impl Fn(&str) -> bool) -> Vec<String> {
    let all = shipped_presets();
    all.iter()
        .filter_map(|(preset, agents)| {
            let names: Vec<&str> =
                agents.iter().filter(|(model, _)| is(model)).map(|(_, name)| name.as_str()).collect();
            let listed = match names.as_slice() {
                [] => return None,
                [one] => (*one).to_owned(),
                [rest @ .., last] => format!("{} and {last}", rest.join(", ")),
            };
            Some(format!("{preset}: {listed}"))
        })
        .collect()
}

/// By preset, each agent's model and name. The presets are part of the program: read once.
fn shipped_presets() -> &'static BTreeMap<&'static str, Vec<(String, String)>> {
    static ALL: OnceLock<BTreeMap<&'static str, Vec<(String, String)>>> = OnceLock::new();
    ALL.get_or_init(|| {
        presets::all()
            .iter()
            // The played one has the default's own text.
            .filter(|p| p.scale == 1)
            .filter_map(|p| {
                let stack = check(Path::new("stack.toml"), &p.text(), p.scale).ok()?;
                let agents = stack.agents.iter().map(|a| (a.model.clone(), a.display_name.clone()));
                Some((p.name, agents.collect()))
            })
            .collect()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ground(scale: u64) -> Ground {
        Ground { folder: std::path::PathBuf::from("/nowhere"), scale, gpu: None, household: None }
    }

    #[test]
    fn every_shipped_model_is_there_with_its_preset() {
        let models = models(&ground(1)).models;
        assert_eq!(models.len(), curated::all().len());
        for model in &models {
            assert!(!model.curated_for.is_empty(), "{} is in no preset", model.repo);
            assert!(model.commit.is_none() && !model.detailed && model.licence_title.is_some());
            let variant = &model.variants[0];
            assert!(
                variant.download_bytes > 0 && variant.memory_bytes > variant.weights_bytes,
                "{variant:?}"
            );
            assert_eq!(model.best.as_deref(), Some(variant.id.as_str()));
        }
        let thor = models.iter().find(|m| m.repo == "Qwen/Qwen2.5-14B-Instruct-AWQ").unwrap();
        assert!(thor.curated_for.iter().any(|p| p.starts_with("norse: ") && p.contains("Thor")), "{thor:?}");
        let small = super::models(&ground(1024)).models;
        assert_eq!(small[0].variants[0].memory_bytes, models[0].variants[0].memory_bytes.map(|b| b / 1024));
    }

    #[test]
    fn the_agents_of_every_preset_are_curated() {
        for (preset, agents) in shipped_presets() {
            for (model, agent) in agents {
                assert!(curated::curated(model).is_some(), "{preset}: {agent} has {model}");
            }
        }
        assert!(shipped_presets().len() >= 5);
    }
}
