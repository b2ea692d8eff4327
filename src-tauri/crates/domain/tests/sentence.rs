//! A plan in one sentence, and what a week of use says of a KV cache.

#![allow(clippy::expect_used, reason = "a test may fail")]

mod common;

use common::{agent, gb, name, norse, parts, plain, strix_halo, with};
use domain::advice::{KvUse, kv_cache};
use domain::agent::AgentState::Ready;
use domain::memory::Unit;
use domain::plan::{Goal, Situation, plan};
use domain::stack::Agent;

#[test]
fn a_plan_says_who_how_much_and_how_long() {
    let stack = norse();
    let mut situation =
        with(&stack, strix_halo(125.0, 124.0, 20.0), &[("thor", Ready, 0), ("valkyrie", Ready, 0)]);
    let sentence = |situation: &Situation| {
        let plan = plan(&stack, situation, &Goal::Profile("odin".into())).expect("a plan");
        plain(&plan.sentence())
    };
    assert_eq!(
        sentence(&situation),
        "Stops Valkyrie and starts Odin, with at most 107.3 of 120.0 GB in use on the way, first start, 5 to 20 minutes."
    );
    situation.start_seconds.insert(name("odin"), 83.0);
    assert!(sentence(&situation).ends_with("on the way, in about 90 s."), "{}", sentence(&situation));
    let refused = with(&stack, strix_halo(125.0, 62.5, 20.0), &[]);
    assert!(sentence(&refused).contains("62.5"), "a refusal is its reason: {}", sentence(&refused));
    let nothing = plan(&stack, &situation, &Goal::Profile("standard".into())).expect("a plan");
    assert_eq!(nothing.sentence(), "Nothing would change.");
}

fn odin() -> Agent {
    Agent { kv_bytes_per_token: Some(320 << 10), ..parts("odin", 37.0, 20.0, 5.0) }
}

#[test]
fn half_a_cache_that_was_never_used_is_offered_back_and_a_full_one_is_made_larger() {
    let advice = |peak, hours| kv_cache(&odin(), &KvUse { peak, hours }, Unit::Gb);
    // A quarter used: one context of 32K takes 10 GB and is kept.
    let less = advice(0.25, 100.0).expect("advice");
    assert_eq!((less.kv_cache, less.gives), (gb(10.0), 10 << 30));
    assert!(
        plain(&less.words).contains("25 %") && plain(&less.words).contains("gives back 10.0 GB"),
        "{}",
        less.words
    );
    let more = advice(1.0, 100.0).expect("advice");
    assert_eq!((more.kv_cache, more.gives), (gb(30.0), -(10 << 30)));
    // In between, too short a time, and figures that are none.
    for (peak, hours) in [(0.7, 100.0), (0.1, 7.0), (f64::NAN, 100.0), (-1.0, 100.0), (7.0, 100.0)] {
        assert_eq!(advice(peak, hours), None, "{peak} {hours}");
    }
    // Without a cache of its own in the file there is nothing to change.
    assert_eq!(kv_cache(&agent("loki", 12.0), &KvUse { peak: 0.1, hours: 99.0 }, Unit::Gb), None);
}
