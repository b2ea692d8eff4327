//! A machine that knows who holds what, counters that tell it badly, and a household driven by the planner and the
//! ledger as the run loop drives it. One number is one case: the same seed is the same story, to the byte.
//!
//! The invariant, for each pool at each instant of a start of ours: what is truly in use is at most the limit, plus
//! only what could not be known when the start was decided. That is, each counted by the machine and not by the
//! ledger:
//!
//! - what other programs took since the look at the live figures,
//! - what the counters kept back at that look (a lag),
//! - what an agent takes beyond everything known of it: its declared claim, and what its earlier starts taught,
//! - what was measured of an agent, or counted as lost, that truly was another program's.
//!
//! In a *plain* case none of the four exists, and the sum is within the limit without any allowance. The same holds
//! for the GPU's cap. Beside it: agents in conflict never meet, one loads at a time, and the ledger says what the
//! machine knows, within the tolerance that `check` states.

#![allow(
    dead_code,
    unreachable_pub,
    unused_imports,
    clippy::panic,
    reason = "the tests and the soak use a part each"
)]

mod chance;
mod check;
mod counters;
mod house;
mod make;

pub use chance::Chance;
pub use check::Counts;
pub use make::crowd;

/// Plays one case. The error is the story up to what was broken.
pub fn play(seed: u64) -> Result<Counts, String> {
    let mut house = make::house(seed);
    let Err(broken) = house.live_through() else { return Ok(house.counts) };
    // The same story once more, written down.
    let mut again = make::house(seed);
    again.tell = true;
    let _ = again.live_through();
    Err(format!("SEED={seed}: {broken}\n{}", again.story()))
}
