//! Where models fit that are no agents yet.

#![allow(clippy::expect_used, clippy::panic, reason = "a test may fail")]

mod common;

use common::{agent, gb, norse, plain, profile, stack, strix_halo};
use domain::fit::{BesideKind, Fit, Kind, LEAST_CONTEXT, Wish, fit};
use domain::memory::Bytes;
use domain::plan::{Guest, Situation, beside};
use domain::stack::{BackendKind, Gpu, Stack};
use domain::{matrix, matrix::Verdict};
use proptest::prelude::*;

const MODEL: &str = "org/model";

/// A model of `weights` GB whose cache takes `per_k` MB for each 1024 tokens.
fn total(weights: f64, per_k: u64) -> impl Fn(u32) -> Bytes {
    move |context| gb(weights) + Bytes((u64::from(context) * per_k) << 10)
}

fn found(
    stack: &Stack,
    machine: &Situation,
    models: &[&str],
    total: &dyn Fn(u32) -> Bytes,
    most: u32,
) -> Fit {
    let guest =
        Guest { name: MODEL.to_owned(), backend: BackendKind::Vllm, total: Bytes::ZERO, tensor_parallel: 1 };
    fit(stack, machine, &Wish { guest, models, context: 32_768.min(most), most, total }).expect("a machine")
}

fn on_norse(weights: f64, per_k: u64, most: u32) -> Fit {
    found(&norse(), &strix_halo(125.0, 124.0, 20.0), &[MODEL], &total(weights, per_k), most)
}

#[test]
fn a_card_says_where_it_fits_in_one_line() {
    for (weights, per_k, most, kind, words) in [
        (6.0, 56, 32_768, Kind::Fits, "Fits beside every profile"),
        (13.0, 96, 131_072, Kind::Fits, "Fits beside 4 of 5 profiles"),
        (24.0, 96, 131_072, Kind::Fits, "Fits beside standard and heimdall"),
        (33.0, 192, 131_072, Kind::LessContext, "Fits with less context, 21K beside standard"),
        (40.0, 96, 131_072, Kind::Alone, "Only in place of Valkyrie or Odin"),
        (90.0, 96, 131_072, Kind::Alone, "Only with nobody else awake"),
        (90.0, 512, 131_072, Kind::Alone, "Only with nobody else awake, with 20K context"),
        (110.0, 96, 131_072, Kind::Never, "Too large for every profile, by 10.4 GB or more"),
    ] {
        let fit = on_norse(weights, per_k, most);
        assert_eq!((fit.kind, plain(&fit.words).as_str()), (kind, words), "{weights} {per_k}");
        assert_eq!(fit.profiles.len(), 6, "five profiles, and alone");
        assert_eq!(fit.profiles[5].profile, None);
    }
}

#[test]
fn each_profile_has_its_numbers() {
    let fit = on_norse(24.0, 96, 131_072);
    let standard = &fit.profiles[0];
    assert_eq!((standard.profile.as_deref(), standard.kind), (Some("standard"), BesideKind::Fits));
    assert_eq!(plain(&standard.reason), "10.1 GB to spare");
    // 10.1 GB more at 96 MB for each 1024 tokens are 107 of them, and the model has room for that.
    assert_eq!(standard.context, Some(131_072));
    let full = fit.profiles.iter().find(|p| p.kind == BesideKind::No).expect("one that is too full");
    assert!(full.reason.ends_with("short") && full.short.is_some() && full.context.is_none(), "{full:?}");
    let less = on_norse(33.0, 192, 131_072);
    assert_eq!(less.profiles[0].kind, BesideKind::LessContext);
    assert!(plain(&less.profiles[0].reason).starts_with("21K context, 0."), "{}", less.profiles[0].reason);
}

#[test]
fn a_model_that_an_agent_runs_is_part_of_its_profiles() {
    let own = norse();
    let model = own.agent(&common::name("odin")).expect("odin").model.to_ascii_uppercase();
    let fit = found(&own, &strix_halo(125.0, 124.0, 20.0), &[&model], &total(40.0, 320), 131_072);
    assert_eq!((fit.kind, fit.words.as_str()), (Kind::Fits, "Part of odin"));
    let odin = fit.profiles.iter().find(|p| p.profile.as_deref() == Some("odin")).expect("odin");
    assert_eq!((odin.kind, odin.reason.as_str()), (BesideKind::InProfile, "Odin runs it"));
}

#[test]
fn alone_is_without_those_that_are_pinned() {
    let mut thor = agent("thor", 60.0);
    thor.pinned = true;
    let stack = stack(vec![thor], vec![profile("standard", &["thor"])], &[]);
    let machine =
        common::with(&stack, strix_halo(125.0, 124.0, 10.0), &[("thor", domain::AgentState::Ready, 0)]);
    let fit = found(&stack, &machine, &[MODEL], &total(70.0, 8), 32_768);
    assert_eq!((fit.kind, fit.words.as_str()), (Kind::Alone, "Only with nobody else awake"));
}

#[test]
fn troubles_are_told_before_the_download() {
    let of = |model: &str, quantization: Option<&str>| -> Vec<(&str, Verdict)> {
        matrix::troubles(Some(Gpu::Gfx1151), BackendKind::Vllm, model, quantization, None)
            .iter()
            .map(|e| (e.name, e.verdict))
            .collect()
    };
    assert_eq!(of("Qwen/Qwen3-8B-FP8", Some("FP8")), [("FP8 weights", Verdict::Crashes)]);
    assert_eq!(of("Qwen/Qwen2.5-14B-Instruct-AWQ", Some("AWQ 4-bit")), []);
    assert_eq!(of("o/x-GPTQ-Int4", None).len(), 1);
    assert_eq!(of("openai/gpt-oss-120b", Some("MXFP4")), [], "the table says that this one works");
    assert_eq!(of("somebody/gpt-oss-120b-copy", Some("MXFP4")).len(), 1);
    assert!(matrix::troubles(None, BackendKind::Vllm, "o/x-FP8", Some("FP8"), None).is_empty());
    let cache = matrix::troubles(Some(Gpu::Gfx1151), BackendKind::Vllm, "o/x", None, Some("fp8"));
    assert_eq!(cache.len(), 1);
    assert!(!cache[0].verdict.is_fatal() && Verdict::Crashes.is_fatal());
}

fn order(kind: BesideKind) -> u8 {
    match kind {
        BesideKind::InProfile | BesideKind::Fits => 0,
        BesideKind::LessContext => 1,
        BesideKind::No => 2,
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Whatever takes less fits at least as well, and what is said to be the longest context is just that.
    #[test]
    fn less_never_fits_worse(weights in 1_u32..1150, less in 0_u32..300, per_k in 0_u64..700, other in 0_u32..60, most in 2048_u32..300_000) {
        let machine = strix_halo(125.0, 124.0, f64::from(other));
        let stack = norse();
        let large = total(f64::from(weights) / 10.0, per_k);
        let small = total(f64::from(weights.saturating_sub(less)) / 10.0, per_k);
        let a = found(&stack, &machine, &[MODEL], &large, most);
        let b = found(&stack, &machine, &[MODEL], &small, most);
        for (a, b) in a.profiles.iter().zip(&b.profiles) {
            prop_assert!(order(b.kind) <= order(a.kind), "{a:?} {b:?}");
            prop_assert!(b.context >= a.context, "{a:?} {b:?}");
        }
        let fits = |context: u32, place: usize| {
            let guest = Guest { name: MODEL.to_owned(), backend: BackendKind::Vllm, total: large(context), tensor_parallel: 1 };
            beside(&stack, &machine, &guest).expect("a machine")[place].fits
        };
        for (place, one) in a.profiles.iter().enumerate() {
            match one.context {
                Some(context) => {
                    prop_assert!(context <= most && fits(context, place), "{one:?}");
                    prop_assert!(context == most || per_k == 0 || !fits((context + 1024).min(most), place) || one.kind == BesideKind::LessContext && context + 1024 >= 32_768.min(most), "{one:?} could be longer");
                }
                None => prop_assert!(!fits(LEAST_CONTEXT.min(most), place), "{one:?}"),
            }
        }
    }
}
