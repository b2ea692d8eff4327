//! From what the Hub and the files say to what a card shows.

use api::shapes::downloads::Remedy;
use api::shapes::hub::{
    Fit as FitShape, FitKind, Gate, HubModel, HubProblem, ProfileFit, ProfileFitKind, Trouble, Variant,
};
use domain::Bytes;
use domain::estimate::{self, ModelFacts, Request, Sureness};
use domain::fit::{self, BesideKind, Fit, Kind, USUAL_CONTEXT, Wish};
use domain::licence::licence;
use domain::matrix;
use domain::plan::Guest;
use domain::pool::PoolKind;
use domain::speed::tokens_per_second;
use domain::stack::BackendKind;
use models::cache::{Presence, gguf_path, has_model};
use models::hub::{About, Gated};
use models::remote::{Described, Looked};
use models::variants::{ALL, RepoVariant, Unfit};

use super::ground::Ground;
use super::{curated, words};
use crate::hub_problem::problem;

/// What a list of the Hub tells, before any file was looked at.
pub(super) fn listed(about: &About, commit: Option<&str>) -> HubModel {
    let known = words::Known {
        repo: &about.repo,
        parameters: about.gguf.as_ref().and_then(|g| g.parameters),
        active: None,
        context: about.gguf.as_ref().and_then(|g| g.context),
        plain: false,
    };
    HubModel {
        repo: about.repo.clone(),
        title: words::title(&about.repo),
        summary: words::summary(known),
        gated: match about.gated {
            Gated::No => Gate::Open,
            Gated::Auto => Gate::Auto,
            Gated::Manual => Gate::Manual,
        },
        private: about.private,
        downloads: about.downloads,
        likes: about.likes,
        last_modified: about.last_modified.clone(),
        curated_for: curated::presets_of(&about.repo),
        commit: commit.map(ToOwned::to_owned),
        ..licensed(about.licence.as_deref())
    }
}

/// A model of which the licence alone is known.
pub(super) fn licensed(id: Option<&str>) -> HubModel {
    let known = id.and_then(licence);
    HubModel {
        licence: id.map(ToOwned::to_owned),
        licence_title: known.map(|l| l.title.to_owned()).or_else(|| id.map(ToOwned::to_owned)),
        open_licence: known.map(|l| l.open),
        ..HubModel::default()
    }
}

/// With its files.
pub(super) fn looked(ground: &Ground, looked: &Looked) -> HubModel {
    let about = &looked.info.about;
    let commit = &looked.info.commit;
    let mut model = listed(about, Some(commit));
    model.detailed = true;
    model.problem = looked.problem.as_ref().map(problem);
    model.variants = looked.variants.iter().map(|d| of_repository(ground, about, commit, d)).collect();
    let first = looked.variants.iter().find(|d| d.facts.is_some());
    if let Some((described, facts)) = first.and_then(|d| Some((d, d.facts.as_ref()?))) {
        let (parameters, active) = counts(ground, &about.repo, described);
        model.summary = words::summary(words::Known {
            repo: &about.repo,
            parameters,
            active,
            context: facts.max_context,
            plain: facts.quantization.is_none(),
        });
    }
    model.best = best(&model.variants).map(|v| v.id.clone());
    model
}

/// Weights, and those that one token uses. Where a small machine is played, files are too small for the models they play,
/// so what the name says comes first.
fn counts(ground: &Ground, repo: &str, described: &Described) -> (Option<u64>, Option<u64>) {
    match words::sizes(repo) {
        (Some(all), active) if ground.scale > 1 => (Some(all), active.or(Some(all))),
        _ => (described.parameters, described.active_parameters),
    }
}

fn of_repository(ground: &Ground, about: &About, commit: &str, described: &Described) -> Variant {
    let of = &described.variant;
    let (parameters, active) = counts(ground, &about.repo, described);
    let known = Known {
        facts: described.facts.as_ref(),
        parameters,
        active,
        // The small machine's own Hub has small models.
        divide: 1,
    };
    let said = about.quant_method.clone();
    let mut variant = shaped(ground, &about.repo, of, &known, said);
    variant.installed = is_installed(ground, &about.repo, of, commit);
    variant
}

fn is_installed(ground: &Ground, repo: &str, of: &RepoVariant, commit: &str) -> bool {
    if of.id == ALL {
        return matches!(has_model(&ground.folder, repo, Some(commit)), Presence::Complete { .. });
    }
    let first = of.weights.first();
    first.is_some_and(|file| gguf_path(&ground.folder, repo, file, Some(commit)).is_some())
}

/// What is known of a variant's weights and cache, wherever it comes from.
pub(super) struct Known<'a> {
    pub(super) facts: Option<&'a ModelFacts>,
    pub(super) parameters: Option<u64>,
    pub(super) active: Option<u64>,
    /// What weights and cache are divided by to be in this machine's size.
    pub(super) divide: u64,
}

pub(super) fn shaped(
    ground: &Ground,
    repo: &str,
    of: &RepoVariant,
    known: &Known<'_>,
    quant_method: Option<String>,
) -> Variant {
    let quantization = known.facts.and_then(|f| f.quantization.clone()).or(quant_method);
    let title = title(of, known.facts, quantization.as_deref());
    let said = format!("{} {title}", quantization.as_deref().unwrap_or_default());
    let troubles = of.backend.map(|backend| {
        let cache = known.facts.and_then(|f| f.cache_dtype.as_deref());
        matrix::troubles(ground.gpu, backend, repo, Some(&said), cache)
    });
    let placed = placed(ground, of, known);
    Variant {
        id: of.id.clone(),
        backend: of.backend.map(|b| b.word().to_owned()),
        quantization: quantization.or_else(|| known.facts.is_some().then(|| title.clone())),
        title,
        model: of.model.clone(),
        files: of.files.iter().map(|f| f.path.clone()).collect(),
        download_bytes: of.download_bytes(),
        memory_bytes: placed.memory.map(|b| b.0),
        weights_bytes: placed.weights.map(|b| b.0).or_else(|| Some(of.weights_bytes()).filter(|b| *b > 0)),
        context: placed.context,
        max_context: known.facts.and_then(|f| f.max_context),
        parameters: known.parameters,
        active_parameters: known.active,
        tokens_per_second: placed.speed,
        fit: placed.fit,
        troubles: troubles.into_iter().flatten().map(trouble).collect(),
        refused: of.refused.as_ref().map(unfit),
        installed: false,
    }
}

/// "AWQ 4-bit", "BF16", "Q4_K_M".
fn title(of: &RepoVariant, facts: Option<&ModelFacts>, quantization: Option<&str>) -> String {
    if of.id != ALL {
        return of.id.clone();
    }
    if let Some(quantization) = quantization {
        return quantization.to_owned();
    }
    match facts.map(|f| f.dtype.as_str()) {
        Some("bfloat16") => "BF16".to_owned(),
        Some("float16") => "FP16".to_owned(),
        Some("float32") => "FP32".to_owned(),
        _ => "All files".to_owned(),
    }
}

fn trouble(entry: &matrix::Entry) -> Trouble {
    Trouble {
        verdict: entry.verdict.word().to_owned(),
        fatal: entry.verdict.is_fatal(),
        message: format!("{}: {} on gfx1151. {}", entry.name, entry.verdict.word(), entry.reason),
        source: entry.source.to_owned(),
        date: entry.date.to_owned(),
    }
}

fn unfit(unfit: &Unfit) -> HubProblem {
    HubProblem {
        message: unfit.to_string(),
        next: unfit.next(),
        remedy: Some(Remedy::ChooseOther),
        page: None,
    }
}

#[derive(Default)]
struct Placed {
    memory: Option<Bytes>,
    weights: Option<Bytes>,
    context: Option<u32>,
    speed: Option<f64>,
    fit: FitShape,
}

fn unknown(words: &str) -> Placed {
    Placed { fit: shape(Fit::unknown(words)), ..Placed::default() }
}

/// What it takes, where that fits, and how fast it is at best.
fn placed(ground: &Ground, of: &RepoVariant, known: &Known<'_>) -> Placed {
    let Some(backend) = of.backend else { return unknown("Nothing here runs it") };
    let Some(facts) = known.facts else { return unknown("Not known before its files can be read") };
    let most = facts.max_context.unwrap_or(USUAL_CONTEXT).max(1);
    let wished = most.min(USUAL_CONTEXT);
    let request =
        |ranks: u32, context: u32| Request { tensor_parallel: ranks, ..Request::one(backend, Some(context)) };
    let Ok(made) = estimate::estimate(facts, &request(1, wished)) else {
        return unknown("Its files do not say what it takes");
    };
    let divide = known.divide.max(1);
    let size = |e: &estimate::Estimate| {
        let own = e.weights + e.kv + e.state;
        Bytes(own.0 / divide) + Bytes(e.overhead.0 / ground.scale.max(1))
    };
    let active = estimate::active_weights(facts, &request(1, wished));
    // On a small machine models are small and its memory is not slow.
    let active = active.map(|a| Bytes(a.0.saturating_mul(ground.scale / divide)));
    let speed = ground.bandwidth().zip(active).and_then(|(b, a)| tokens_per_second(b, a));
    let mut placed = Placed {
        memory: Some(size(&made)),
        weights: Some(Bytes(made.weights.0 / divide)),
        context: Some(wished),
        speed,
        fit: FitShape::default(),
    };
    let Some(household) = &ground.household else {
        placed.fit = shape(Fit::unknown("Not known without a stack that holds"));
        return placed;
    };
    let (stack, situation) = household.as_ref();
    let cards = situation.pools.iter().filter(|p| p.kind == PoolKind::Vram).count();
    let cards = u32::try_from(cards).unwrap_or(1);
    let spread = (cards > 1 && backend == BackendKind::Vllm).then_some(cards);
    for ranks in std::iter::once(1).chain(spread) {
        if estimate::estimate(facts, &request(ranks, wished)).is_err() {
            continue;
        }
        let total = |context: u32| {
            estimate::estimate(facts, &request(ranks, context)).map_or(Bytes(u64::MAX), |e| size(&e))
        };
        let guest = Guest { name: of.model.clone(), backend, total: Bytes::ZERO, tensor_parallel: ranks };
        let models = [of.model.as_str()];
        let wish = Wish { guest, models: &models, context: wished, most, total: &total };
        let found = fit::fit(stack, situation, &wish)
            .unwrap_or_else(|_| Fit::unknown("Not known: this machine's memory could not be read"));
        let fits = !matches!(found.kind, Kind::Never | Kind::Unknown);
        // A bound that fits, fits. One that does not says nothing.
        let sure = made.certainty.total() <= Sureness::Computed || found.kind == Kind::Fits;
        placed.fit = shape(if sure { found } else { Fit::unknown("Not known: its files do not say enough") });
        if fits {
            break;
        }
    }
    placed
}

fn shape(fit: Fit) -> FitShape {
    FitShape {
        kind: match fit.kind {
            Kind::Fits => FitKind::Fits,
            Kind::LessContext => FitKind::LessContext,
            Kind::Alone => FitKind::Alone,
            Kind::Never => FitKind::Never,
            Kind::Unknown => FitKind::Unknown,
        },
        words: fit.words,
        profiles: fit
            .profiles
            .into_iter()
            .map(|b| ProfileFit {
                profile: b.profile,
                kind: match b.kind {
                    BesideKind::InProfile => ProfileFitKind::InProfile,
                    BesideKind::Fits => ProfileFitKind::Fits,
                    BesideKind::LessContext => ProfileFitKind::LessContext,
                    BesideKind::No => ProfileFitKind::No,
                },
                context: b.context,
                spare_bytes: spare(b.spare, b.short),
                reason: b.reason,
            })
            .collect(),
    }
}

fn spare(spare: Option<Bytes>, short: Option<Bytes>) -> Option<i64> {
    let signed = |b: Bytes| i64::try_from(b.0).unwrap_or(i64::MAX);
    spare.map(signed).or_else(|| short.map(|s| -signed(s)))
}

/// The variant that suits the machine best: one that fits before one that does not, then the quantisation that loses
/// little for its size, then the largest.
pub(super) fn best(variants: &[Variant]) -> Option<&Variant> {
    const LIKED: [&str; 12] = [
        ALL,
        "Q4_K_M",
        "UD-Q4_K_XL",
        "Q5_K_M",
        "Q4_K_S",
        "Q6_K",
        "MXFP4",
        "Q8_0",
        "IQ4_XS",
        "Q4_0",
        "Q3_K_M",
        "Q2_K",
    ];
    let rank = |v: &Variant| match v.fit.kind {
        FitKind::Fits => 0,
        FitKind::LessContext => 1,
        FitKind::Alone => 2,
        FitKind::Unknown => 3,
        FitKind::Never => 4,
    };
    let liked = |v: &Variant| LIKED.iter().position(|w| *w == v.id).unwrap_or(LIKED.len());
    variants
        .iter()
        .filter(|v| v.backend.is_some() && v.refused.is_none() && !v.troubles.iter().any(|t| t.fatal))
        .filter(|v| v.fit.kind != FitKind::Never)
        .min_by_key(|v| (rank(v), liked(v), std::cmp::Reverse(v.download_bytes)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn variant(id: &str, kind: FitKind, bytes: u64) -> Variant {
        Variant {
            id: id.to_owned(),
            backend: Some("llama.cpp".to_owned()),
            download_bytes: bytes,
            fit: FitShape { kind, ..FitShape::default() },
            ..Variant::default()
        }
    }

    #[test]
    fn the_best_is_one_that_fits_and_loses_little() {
        let id = |variants: &[Variant]| best(variants).map(|v| v.id.clone());
        let mut all = vec![
            variant("Q8_0", FitKind::Never, 75),
            variant("Q4_K_M", FitKind::Alone, 42),
            variant("IQ1_S", FitKind::Fits, 15),
            variant("IQ2_M", FitKind::Fits, 24),
        ];
        assert_eq!(id(&all).as_deref(), Some("IQ2_M"));
        all[1].fit.kind = FitKind::Fits;
        assert_eq!(id(&all).as_deref(), Some("Q4_K_M"));
        all[1].refused = Some(unfit(&Unfit::Parts { parts: 2 }));
        assert_eq!(id(&all).as_deref(), Some("IQ2_M"));
        assert_eq!(id(&[variant("Q4_K_M", FitKind::Never, 1)]), None);
        assert_eq!(id(&[]), None);
    }
}
