//! The planner and the ledger against a machine that knows the truth. See `simulator`.

mod simulator;

use simulator::{Counts, play};

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
    println!("{seen:#?}");
}
