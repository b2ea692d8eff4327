//! `make soak`: the controller is killed at random instants, again and again, for `SECONDS` from `SEED`; then the
//! plans' properties are the same as in the tests, with more cases. Everything printed can be repeated.

use std::time::{Duration, Instant};

use journeys::household::Household;
use journeys::steps::kill_at_random;

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let number = |name: &str| std::env::var(name).ok().and_then(|v| v.parse::<u64>().ok());
    let seconds = number("SECONDS").unwrap_or(300);
    let first = number("SEED").unwrap_or_else(|| u64::from(std::process::id()));
    let end = Instant::now() + Duration::from_secs(seconds);
    let mut kills = 0;
    let mut seed = first;
    while Instant::now() < end {
        let mut household = Household::new();
        household.set("ASGARD_REHEARSAL_LOAD_MS", "250");
        kill_at_random(&mut household, 10, seed, seed.is_multiple_of(3).then_some(4)).await;
        kills += 10;
        seed += 1;
    }
    println!("{kills} kills of the controller, seeds {first} to {}, nothing was lost", seed - 1);
}
