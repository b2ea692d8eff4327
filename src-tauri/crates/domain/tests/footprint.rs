//! What is learned from starts, and what is not.

#![allow(clippy::expect_used, reason = "a test may fail")]

mod common;

use std::collections::BTreeMap;

use common::{agent, external, gb, name, parts, plain, pool, profile, stack, strix_halo};
use domain::attribution::{Doubt, Measured, Quality};
use domain::footprint::{
    Accept, Drift, Key, Learned, Observation, Rejected, acceptable, apply, drift, learn, words,
};
use domain::memory::Bytes;
use domain::plan::{Basis, Goal, claims, declared_claims, footprint_of, loading_claims, plan};
use domain::pool::{PoolId, PoolKind, Share, Shares};
use domain::stack::{Agent, ClaimBasis, agent_hash, hash};

fn seen(peak: f64, steady: f64) -> Observation {
    Observation { weights: gb(9.0), kv: gb(12.0), peak: gb(peak), steady: gb(steady) }
}

/// 9 + 12 + 4 GB.
fn thor() -> Agent {
    parts("thor", 9.0, 12.0, 4.0)
}

fn learned(steady: f64, peak: f64) -> Learned {
    Learned { steady: gb(steady), peak: gb(peak), starts: 3 }
}

#[test]
fn overheads_are_what_weights_and_cache_leave() {
    let observation = seen(27.5, 24.6);
    assert_eq!(
        (observation.overhead_steady(), observation.overhead_loading()),
        (gb(24.6).saturating_sub(gb(21.0)), gb(6.5))
    );
    let below = seen(20.0, 20.8);
    assert_eq!((below.overhead_steady(), below.overhead_loading()), (Bytes::ZERO, Bytes::ZERO));
}

#[test]
fn what_cannot_be_true_is_not_learned() {
    let refused = |o: Observation| plain(&o.checked().expect_err("it cannot be true").to_string());
    assert_eq!(seen(30.0, 20.6).checked(), Ok(seen(30.0, 20.6)), "half a gigabyte is rounding");
    assert_eq!(
        refused(seen(30.0, 20.4)),
        "20.4 GB were measured, less than its weights and KV cache of 21.0 GB take: a counter lags or the weights \
         were not loaded."
    );
    assert_eq!(
        refused(seen(90.0, 25.0)),
        "90.0 GB were measured beside weights and KV cache of 21.0 GB: no server takes so much more."
    );
    assert_eq!(seen(85.0, 25.0).checked(), Ok(seen(85.0, 25.0)));
    assert_eq!(refused(seen(30.0, 0.0)), "Nothing was measured.");
    let small = Observation { weights: gb(2.0), kv: gb(1.0), peak: gb(90.0), steady: gb(90.0) };
    assert!(refused(small).contains("no server takes so much more"));
    let lower_peak = seen(10.0, 25.0).checked().expect("the peak was missed");
    assert_eq!(lower_peak.peak, gb(25.0));
    let whole = Observation { weights: Bytes::ZERO, kv: Bytes::ZERO, peak: gb(100.0), steady: gb(100.0) };
    assert!(whole.checked().is_ok(), "where no part is known there is nothing to hold it against");
}

#[test]
fn a_start_in_doubt_is_not_learned_from() {
    let sure = Measured::said(Shares::new(), Quality::Step);
    let doubt = Doubt { bytes: gb(5.0), message: "GTT stood still.".into() };
    let unsure = Measured { doubt: Some(doubt), ..sure.clone() };
    let new = |peak, steady| Observation::new(gb(9.0), gb(12.0), (gb(27.0), peak), (gb(25.0), steady));
    assert_eq!(new(&sure, &sure), Ok(seen(27.0, 25.0)));
    let rejected = Err(Rejected::Doubted("GTT stood still.".into()));
    assert_eq!(new(&unsure, &sure), rejected);
    assert_eq!(new(&sure, &unsure), rejected);
    let lower = Observation::new(gb(9.0), gb(12.0), (gb(22.0), &sure), (gb(25.0), &sure));
    assert_eq!(lower, Ok(seen(25.0, 25.0)));
}

/// Figures at rest, oldest first, and what is learned of them.
#[test]
fn the_largest_of_the_last_that_is_not_alone() {
    let rows: &[(&str, &[f64], f64)] = &[
        ("one start", &[24.6], 24.6),
        ("of two the larger", &[24.6, 28.0], 28.0),
        ("of two the larger, whichever came first", &[28.0, 24.6], 28.0),
        ("usual ones differ a little", &[24.6, 24.9, 24.7], 24.9),
        ("one that is too large is left out", &[24.6, 24.6, 40.0], 24.6),
        ("wherever it was", &[40.0, 24.6, 24.6], 24.6),
        ("one that is too small changes nothing", &[24.6, 21.0, 24.6], 24.6),
        ("two running are no accident", &[24.6, 24.6, 24.6, 30.0, 31.0], 30.0),
        ("two that are apart are", &[24.6, 31.0, 24.6, 24.6, 24.6, 31.0], 24.6),
        (
            "what is long past is forgotten",
            &[31.0, 31.0, 24.6, 24.6, 24.6, 24.6, 24.6, 24.6, 24.6, 24.6],
            24.6,
        ),
        ("the last eight count", &[24.6, 25.0, 24.6, 24.6, 24.6, 24.6, 24.6, 24.6, 24.6], 25.0),
        ("just within a gigabyte of the middle", &[22.0, 22.0, 23.0], 23.0),
        ("just beyond", &[22.0, 22.0, 23.1], 22.0),
    ];
    for (what, figures, expected) in rows {
        let observations: Vec<_> = figures.iter().map(|f| seen(*f, *f)).collect();
        let learned = learn(&thor(), &observations).expect("something");
        assert_eq!(learned.steady, gb(*expected), "{what}");
        assert_eq!(learned.peak, gb(*expected), "{what}");
        assert_eq!(learned.starts as usize, figures.len(), "{what}");
    }
    assert_eq!(learn(&thor(), &[]), None);
    assert_eq!(learn(&thor(), &[seen(5.0, 5.0)]), None, "no start that can be true");
    // The limit of 5 % above the middle of large agents.
    let large = |f: f64| Observation { weights: gb(60.0), kv: gb(30.0), peak: gb(f), steady: gb(f) };
    let agent = parts("odin", 60.0, 30.0, 5.0);
    let of = |last: f64| learn(&agent, &[large(100.0), large(100.0), large(last)]).expect("something").steady;
    assert_eq!((of(103.0), of(104.0)), (gb(103.0), gb(100.0)), "3.5 GB above 70 GB beside the cache");
}

#[test]
fn the_peak_is_learned_apart_and_never_below_what_is_at_rest() {
    let observations = [seen(28.0, 24.6), seen(28.5, 24.7), seen(28.2, 24.6)];
    assert_eq!(learn(&thor(), &observations), Some(Learned { steady: gb(24.7), peak: gb(28.5), starts: 3 }));
    // The outlier of the one is not that of the other.
    let usual = seen(28.0, 24.6);
    let observations = [seen(60.0, 24.6), usual, usual, usual, seen(28.0, 40.0)];
    let learned = learn(&thor(), &observations).expect("something");
    assert_eq!((learned.steady, learned.peak), (gb(24.6), gb(28.0)));
}

#[test]
fn a_changed_cache_changes_the_figure_by_itself_and_nothing_else() {
    let larger = Agent {
        claim: ClaimBasis::KvCache { weights: gb(9.0), kv_cache: gb(20.0), overhead: gb(4.0) },
        ..thor()
    };
    let learned = learn(&larger, &[seen(28.0, 24.5)]).expect("something");
    assert_eq!((learned.steady, learned.peak), (gb(32.5), gb(36.0)));
    // Weights that the server counts otherwise than the stack file change nothing.
    let as_logged = Observation { weights: gb(9.4), ..seen(28.0, 24.5) };
    assert_eq!(learn(&thor(), &[as_logged]).expect("something").steady, gb(24.5));
    // A claim in one number is learned whole.
    assert_eq!(learn(&agent("thor", 25.0), &[seen(28.0, 24.5)]).expect("something").steady, gb(24.5));
    let share = Agent { claim: ClaimBasis::Share(0.2), ..agent("thor", 0.0) };
    assert_eq!(learn(&share, &[seen(28.0, 24.5)]).expect("something").peak, gb(28.0));
}

#[test]
fn a_key_does_not_hold_the_cache_but_a_claim_that_contains_it() {
    let key = |agent: &Agent| Key::of(agent, "5b7c", "sha256:1", 2048);
    let other_cache = Agent {
        claim: ClaimBasis::KvCache { weights: gb(9.0), kv_cache: gb(20.0), overhead: gb(2.0) },
        ..thor()
    };
    assert_eq!(key(&thor()), key(&other_cache));
    assert_eq!(
        key(&thor()),
        Key {
            model: "a/thor".into(),
            revision: "5b7c".into(),
            image: "sha256:1".into(),
            backend: "vllm".into(),
            tensor_parallel: 1,
            sequences: 4,
            batched_tokens: 2048
        }
    );
    let whole = [
        agent("thor", 25.0),
        agent("thor", 26.0),
        Agent { context: 8192, ..agent("thor", 25.0) },
        Agent { claim: ClaimBasis::Share(0.2), ..thor() },
        Agent { claim: ClaimBasis::Share(0.3), ..thor() },
        thor(),
    ];
    let keys: std::collections::BTreeSet<_> = whole.iter().map(key).collect();
    assert_eq!(keys.len(), whole.len());
}

#[test]
fn in_words() {
    assert_eq!(
        words(gb(25.0), &Learned { starts: 6, ..learned(24.6, 28.0) }),
        "planned 25.0, measured 24.6, 6 starts"
    );
    assert_eq!(
        words(gb(25.0), &Learned { starts: 1, ..learned(24.6, 28.0) }),
        "planned 25.0, measured 24.6, 1 start"
    );
    let small = Learned { steady: Bytes::mb(24.6), peak: Bytes::mb(25.0), starts: 2 };
    assert_eq!(words(Bytes::mb(25.0), &small), "planned 25.0, measured 24.6, 2 starts");
}

#[test]
fn drift_is_two_starts_that_differ_to_the_same_side() {
    let of = |figures: &[f64]| {
        let observations: Vec<_> = figures.iter().map(|f| seen(*f, *f)).collect();
        drift(&thor(), &observations)
    };
    assert_eq!(of(&[24.6, 27.5, 27.1]), Some(Drift { before: gb(24.6), last: gb(27.1) }));
    assert_eq!(of(&[27.5, 27.4, 24.6, 24.1]), Some(Drift { before: gb(27.5), last: gb(24.6) }));
    assert_eq!(of(&[24.6, 27.5]), None, "nothing to compare two with");
    assert_eq!(of(&[24.6, 24.6, 27.5]), None, "one start may be measured wrongly");
    assert_eq!(of(&[24.6, 27.5, 21.5]), None, "to different sides");
    assert_eq!(of(&[24.6, 25.2, 25.2]), None, "less than 5 %");
    assert_eq!(of(&[24.6]), None);
    // 5 % of a small agent are less than half a gigabyte.
    let small = |f: f64| Observation { weights: gb(2.0), kv: gb(1.0), peak: gb(f), steady: gb(f) };
    let agent = parts("heimdall", 2.0, 1.0, 1.0);
    assert_eq!(drift(&agent, &[small(4.0), small(4.4), small(4.4)]), None);
    assert!(drift(&agent, &[small(4.0), small(4.6), small(4.6)]).is_some());
    // A larger cache is no drift.
    let more = Observation { kv: gb(20.0), peak: gb(33.0), steady: gb(33.0), ..seen(0.0, 0.0) };
    assert_eq!(drift(&thor(), &[seen(25.0, 25.0), more, more]), None);
    let said = |before, last| plain(&Drift { before: gb(before), last: gb(last) }.words("Thor"));
    assert_eq!(said(24.6, 27.0), "Thor took 27.0 GB at its last starts, 2.4 GB more than before.");
    assert_eq!(said(27.0, 24.6), "Thor took 24.6 GB at its last starts, 2.4 GB less than before.");
}

#[test]
fn what_is_learned_is_laid_over_a_stack_and_changes_no_hash() {
    let role = Agent { served_by: Some(name("thor")), ..agent("mimir", 0.0) };
    let plain = stack(vec![thor(), role, external("hel")], vec![profile("all", &["thor"])], &[]);
    let all: BTreeMap<_, _> =
        ["thor", "mimir", "hel", "nobody"].iter().map(|n| (name(n), learned(27.0, 30.0))).collect();
    let with = apply(&plain, &all);
    assert_eq!(
        with.agents.iter().map(|a| a.learned).collect::<Vec<_>>(),
        [Some(learned(27.0, 30.0)), None, None]
    );
    assert_eq!(with.agents[0].claim, plain.agents[0].claim, "what the file says stays");
    assert_eq!(agent_hash(&with.agents[0]), agent_hash(&plain.agents[0]));
    assert_eq!(hash(&with), hash(&plain));
    let other = stack(vec![parts("thor", 9.0, 12.0, 5.0)], Vec::new(), &[]);
    assert_ne!(hash(&with), hash(&other));
    assert_eq!(apply(&with, &BTreeMap::new()).agents[0].learned, None, "and is taken away again");
}

#[test]
fn claims_are_the_larger_of_declared_and_learned() {
    let pools = strix_halo(128.0, 124.0, 8.0).pools;
    let whole = |shares: Shares| shares[&PoolId::new("unified")].total();
    let with = |steady, peak| Agent { learned: Some(learned(steady, peak)), ..thor() };
    for (steady, peak, at_rest, loading) in [
        (24.0, 24.5, 25.0, 25.0),
        (24.0, 28.0, 25.0, 28.0),
        (27.0, 28.0, 27.0, 28.0),
        (27.0, 20.0, 27.0, 27.0),
    ] {
        let agent = with(steady, peak);
        assert_eq!(whole(claims(&agent, &pools)), gb(at_rest), "{steady} {peak}");
        assert_eq!(whole(loading_claims(&agent, &pools)), gb(loading), "{steady} {peak}");
        assert_eq!(whole(declared_claims(&agent, &pools)), gb(25.0));
    }
    assert_eq!(whole(loading_claims(&thor(), &pools)), gb(25.0));
    let cached = Agent { cache_ram: Some(gb(8.0)), ..with(27.0, 28.0) };
    assert_eq!(whole(claims(&cached, &pools)), gb(35.0), "a prompt cache fills later");
    let role = Agent { served_by: Some(name("odin")), ..with(27.0, 28.0) };
    assert!(claims(&role, &pools).is_empty());
}

#[test]
fn on_cards_the_fullest_device_counts_for_each() {
    let pools = vec![
        pool("gpu0", PoolKind::Vram, 24.0, 0.0),
        pool("gpu1", PoolKind::Vram, 24.0, 0.0),
        pool("ram", PoolKind::Ram, 64.0, 0.0),
    ];
    let held: Shares = [("gpu0", 13.0, 0.0), ("gpu1", 14.0, 0.0), ("ram", 0.0, 3.0)]
        .map(|(id, device, host)| (PoolId::new(id), Share { device: gb(device), host: gb(host) }))
        .into();
    let two = Agent { tensor_parallel: 2, ..thor() };
    assert_eq!(footprint_of(&two, &pools, &held), gb(28.0));
    assert_eq!(footprint_of(&thor(), &pools, &held), gb(13.0));
    assert_eq!(footprint_of(&two, &pools, &Shares::new()), Bytes::ZERO);
    let with = Agent { learned: Some(learned(28.0, 30.0)), ..two };
    let claimed = loading_claims(&with, &pools);
    assert_eq!(claimed[&PoolId::new("gpu1")].device, gb(15.0));
    assert_eq!(claimed[&PoolId::new("ram")].host, gb(1.0));
    let share = Agent { claim: ClaimBasis::Share(0.5), ..with };
    assert_eq!(
        claims(&share, &pools)[&PoolId::new("gpu0")].device,
        gb(14.0),
        "12 GB of the card, 28 / 2 learned"
    );
}

#[test]
fn a_lower_figure_counts_when_it_is_accepted() {
    let accept = |steady| acceptable(&thor(), &learned(steady, 40.0));
    assert_eq!(
        accept(24.6),
        Some(Accept { key: "overhead", value: gb(3.6), gives_back: gb(4.0).saturating_sub(gb(3.6)) })
    );
    // Whole tenths, rounded up, so that what is written is never less than what was measured.
    let between = accept(24.51).expect("four tenths");
    assert!(between.value >= gb(3.51) && between.value <= gb(3.61), "{between:?}");
    assert_eq!(accept(24.95), None, "less than a tenth");
    assert_eq!(accept(24.9).map(|a| a.value), Some(gb(3.9)));
    assert_eq!(accept(27.0), None);
    assert!(accept(20.8).expect("all of it").value > Bytes::ZERO, "a size of nothing is none");
    // A small overhead of a large agent is spoken of in gigabytes too.
    let small = acceptable(&parts("thor", 9.0, 12.0, 0.9), &learned(21.55, 22.0)).expect("three tenths");
    assert_eq!(small.value, gb(0.6));
    let whole = acceptable(&agent("thor", 25.0), &learned(20.0, 22.0)).expect("five");
    assert_eq!((whole.key, whole.value), ("memory", gb(20.0)));
    assert_eq!(acceptable(&Agent { claim: ClaimBasis::Share(0.9), ..thor() }, &learned(1.0, 1.0)), None);
    assert_eq!(acceptable(&Agent { served_by: Some(name("odin")), ..thor() }, &learned(22.0, 22.0)), None);
    let theirs = Agent { claim: ClaimBasis::Memory(gb(20.0)), ..external("hel") };
    assert_eq!(acceptable(&theirs, &learned(2.0, 2.0)), None);
}

#[test]
fn a_plan_says_what_was_learned_and_proves_the_peak_of_each_start() {
    let odin = parts("odin", 37.0, 20.0, 5.0);
    let mut two = stack(vec![thor(), odin], vec![profile("both", &["thor", "odin"])], &[]);
    two.memory.limit = Some(gb(100.0));
    let situation = strix_halo(128.0, 124.0, 5.0);
    let goal = Goal::Profile("both".into());
    let all = |thor: Learned, odin: Learned| {
        let learned = BTreeMap::from([(name("thor"), thor), (name("odin"), odin)]);
        plan(&apply(&two, &learned), &situation, &goal).expect("a plan")
    };
    // Thor counts with 27 instead of 25; Odin needs 66 while it loads and 60 afterwards, less than its 62.
    let fits = all(learned(27.0, 28.0), learned(60.0, 66.0));
    assert!(fits.fits, "{}", fits.reason);
    let figures: Vec<_> = fits.steps.iter().map(|s| (s.pools[0].peak, s.pools[0].reserved_after)).collect();
    let (first, second) = ((gb(34.0), gb(27.0)), (gb(99.0), gb(89.0)));
    assert_eq!(figures, [first, first, second, second]);
    assert_eq!((fits.pools[0].peak, fits.pools[0].planned), (gb(99.0), gb(89.0)));
    let [thor, odin] = &fits.pools[0].agents[..] else { panic!("two agents") };
    assert_eq!(
        (thor.weights, thor.kv, thor.overhead, thor.basis),
        (gb(9.0), gb(12.0), gb(6.0), Basis::Learned)
    );
    assert_eq!((odin.overhead, odin.basis), (gb(5.0), Basis::Declared));
    // At rest both would fit; while Odin loads they do not.
    let refused = all(learned(27.0, 28.0), learned(60.0, 68.5));
    assert!(!refused.fits);
    assert_eq!(
        plain(&refused.reason),
        "both needs 95.5 GB while Odin loads; 94.0 GB is available to agents, 100.0 limit less 6.0 kept for other \
         programs: 1.5 GB short."
    );
    assert_eq!(refused.pools[0].shortfall, gb(1.5));
    // The first start's peak alone, with the second asleep as yet, is judged too.
    let first = all(learned(27.0, 95.0), learned(60.0, 60.0));
    assert_eq!(first.pools[0].shortfall, gb(1.0));
    assert!(plain(&first.reason).contains("95.0 GB while Thor loads"), "{}", first.reason);
}

#[test]
fn the_cap_is_held_against_the_peak_too() {
    let mut one = stack(vec![thor()], vec![profile("one", &["thor"])], &[]);
    one.memory.limit = Some(gb(120.0));
    let learned = BTreeMap::from([(name("thor"), learned(24.0, 33.0))]);
    let situation = strix_halo(128.0, 32.0, 6.0);
    let refused = plan(&apply(&one, &learned), &situation, &Goal::Profile("one".into())).expect("a plan");
    assert!(
        plain(&refused.reason).starts_with(
            "The GPU may hold 32.0 GB together, the GTT cap, and one's agents need 33.0 GB there while Thor loads: \
             1.0 GB short."
        ),
        "{}",
        refused.reason
    );
}
