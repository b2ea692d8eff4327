//! The planner and the ledger against a machine that knows the truth. See `simulator`.

mod simulator;

use domain::plan::{Goal, plan};
use simulator::{Counts, crowd, play};

/// As many as a run of all tests can bear; `make soak` plays a hundred thousand.
const CASES: u64 = 3000;

#[test]
fn no_start_of_ours_passes_a_bound_that_could_be_known() {
    let mut seen = Counts::default();
    for seed in 0..CASES {
        match play(seed) {
            Ok(counts) => seen += counts,
            Err(story) => panic!("{story}"),
        }
    }
    // A campaign in which little happens proves little.
    for (what, seen, least) in [
        ("cases", seen.cases, CASES),
        ("plain cases", seen.plain, CASES / 4),
        ("starts", seen.starts, CASES * 2),
        ("failed starts", seen.failed_starts, CASES / 10),
        ("refusals", seen.refused, CASES / 4),
        ("refusals at the last look", seen.refused_at_the_look, CASES / 50),
        ("ways back", seen.undone, CASES / 10),
        ("leaks", seen.leaks, CASES / 20),
        ("losses that were said", seen.lost_said, CASES / 20),
        ("losses that came back", seen.came_back, CASES / 50),
        ("doubts", seen.doubts, CASES / 5),
        ("lessons", seen.learned, CASES / 2),
        ("lessons above the declared", seen.learned_above, CASES / 20),
        ("instants past a limit that nobody could know", seen.excused, 10),
    ] {
        assert!(seen >= least, "{seen} {what}, and {least} are wanted");
    }
}

/// What the benchmarks time is a plan with steps, and one that is refused after every profile was tried.
#[test]
fn the_crowd_of_the_benchmarks_has_something_to_plan() {
    let (stack, situation) = crowd(100);
    let of = |goal| plan(&stack, &situation, &goal).unwrap_or_else(|e| panic!("{e}"));
    let switch = of(Goal::Profile("p0".into()));
    assert!(switch.fits && switch.steps.len() > 100, "{}", switch.reason);
    assert!(of(Goal::Awake(stack.agents[1].name.clone())).fits);
}
