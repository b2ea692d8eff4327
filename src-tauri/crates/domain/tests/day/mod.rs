//! A day of a household, played against the schedule: clients that ask, wait and hang up, servers that load slowly,
//! crash and stop slowly, requests that go past the gateway, a person who switches, starts, stops and cancels, clocks
//! that jump, controllers that start again. One number is one case: the same seed is the same day, to the byte.
//!
//! What must hold at each instant, whatever happens:
//!
//! - each request is granted or refused exactly once, unless it left first; nobody is forgotten;
//! - a lease is only on a server that answers and that nobody is stopping;
//! - one wish is out at most; it wakes somebody that somebody waits for, or puts somebody to sleep whom nobody uses; its
//!   plan fits; it stops nobody within their `min_residency`, and nobody in use who is to finish;
//! - what is reserved stays within the limit, and a rule that forbids two together holds;
//! - tools never exceed a budget, never pass a cooldown, and are never locked out for longer than it lasts;
//! - what survives a restart was said to be kept;
//! - nobody waits longer than the bound that the schedule states (see [`check`]).

#![allow(
    dead_code,
    unreachable_pub,
    unused_imports,
    clippy::panic,
    clippy::expect_used,
    clippy::struct_excessive_bools,
    reason = "the tests and the soak use a part each; a played thing has many switches"
)]

#[path = "../simulator/chance.rs"]
mod chance;
mod check;
mod clients;
mod house;
mod make;
mod operation;

pub use check::Counts;

/// Plays one case. The error is the story up to what was broken.
pub fn play(seed: u64) -> Result<Counts, String> {
    let mut day = house::Day::new(seed, false);
    let Err(broken) = day.live_through() else { return Ok(day.counts) };
    // The same day once more, written down.
    let mut again = house::Day::new(seed, true);
    let _ = again.live_through();
    Err(format!("SEED={seed}: {broken}\n{}", again.story()))
}
