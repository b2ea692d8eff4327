//! `make soak`: the planner and the ledger against `CASES` machines that know the truth (the simulator of `domain`'s
//! tests); the schedule through `DAYS` days of households in which anything happens; random clients through the gateway
//! to agents that misbehave, for a quarter of `SECONDS`; ten kills at random bytes in each of `DOWNLOADS` downloads; then
//! the controller is killed at random instants, again and again, for the rest of them. All from `SEED`. Everything printed can be repeated.

#![allow(
    clippy::duplicate_mod,
    reason = "two campaigns share their dice, and each is a test of its own elsewhere"
)]

#[path = "../../../src-tauri/crates/domain/tests/day/mod.rs"]
mod day;
#[path = "../../../src-tauri/crates/domain/tests/simulator/mod.rs"]
mod simulator;
#[path = "../../../src-tauri/crates/bifrost/tests/storm/mod.rs"]
mod storm;

use std::ops::AddAssign;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use journeys::fetching::{KILLED_PACE, kill_while_fetching, two_parts};
use journeys::household::Household;
use journeys::steps::kill_at_random;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let number = |name: &str| std::env::var(name).ok().and_then(|v| v.parse::<u64>().ok());
    let seconds = number("SECONDS").unwrap_or(300);
    let first = number("SEED").unwrap_or_else(|| u64::from(std::process::id()));
    if let Err(story) = simulate(first, number("CASES").unwrap_or(100_000)) {
        eprintln!("{story}");
        return ExitCode::FAILURE;
    }
    if let Err(story) = live_through(first, number("DAYS").unwrap_or(10_000)) {
        eprintln!("{story}");
        return ExitCode::FAILURE;
    }
    if let Err(story) = weather(first, Duration::from_secs(seconds / 4)) {
        eprintln!("{story}");
        return ExitCode::FAILURE;
    }
    for download in 0..number("DOWNLOADS").unwrap_or(10) {
        let repo = two_parts(&format!("soak/killed-{download}"), 240_000_000 + download);
        let hub = rehearsal::hub::Hub { pace: Some(KILLED_PACE), ..rehearsal::hub::Hub::new(Vec::new()) };
        match hub.start() {
            Ok(hub) => kill_while_fetching(&hub, &repo, 10, first.wrapping_add(download)).await,
            Err(e) => {
                eprintln!("No Hub: {e}");
                return ExitCode::FAILURE;
            }
        }
    }
    let end = Instant::now() + Duration::from_secs(seconds - seconds / 4);
    let mut kills = 0;
    let mut seed = first;
    while Instant::now() < end {
        let mut household = Household::new();
        household.set("ASGARD_REHEARSAL_LOAD_MS", "250");
        kill_at_random(&mut household, 10, seed, seed.is_multiple_of(3).then_some(4)).await;
        kills += 10;
        seed += 1;
    }
    if kills > 0 {
        println!("{kills} kills of the controller, seeds {first} to {}, nothing was lost", seed - 1);
    }
    ExitCode::SUCCESS
}

/// Plays that many cases from `first` on, on every core.
fn simulate(first: u64, cases: u64) -> Result<(), String> {
    let began = Instant::now();
    let seen = on_every_core(first, cases, simulator::play)?;
    println!("{seen:#?}");
    println!(
        "{} machines, seeds {first} to {}, {:.0} s: no start of ours passed a bound that could be known",
        seen.cases,
        first.wrapping_add(cases.saturating_sub(1)),
        began.elapsed().as_secs_f64()
    );
    Ok(())
}

/// The same for the schedule's days.
fn live_through(first: u64, days: u64) -> Result<(), String> {
    let began = Instant::now();
    let seen = on_every_core(first, days, day::play)?;
    println!("{seen:#?}");
    println!(
        "{} days, seeds {first} to {}, {:.0} s: the schedule kept every promise",
        seen.cases,
        first.wrapping_add(days.saturating_sub(1)),
        began.elapsed().as_secs_f64()
    );
    Ok(())
}

/// Random clients and misbehaving agents, for that long. A thread of its own, because the one that this program runs on
/// may not block.
fn weather(first: u64, span: Duration) -> Result<(), String> {
    let end = Instant::now() + span;
    let play = || -> Result<storm::Counts, String> {
        let runtime = tokio::runtime::Runtime::new().map_err(|e| format!("No runtime: {e}"))?;
        let mut seen = storm::Counts::default();
        while Instant::now() < end {
            seen += runtime.block_on(storm::play(first.wrapping_add(seen.sequences)))?;
        }
        Ok(seen)
    };
    let seen = std::thread::scope(|scope| {
        scope.spawn(play).join().unwrap_or_else(|_| Err("A sequence panicked.".to_owned()))
    })?;
    println!("{seen:#?}");
    println!(
        "{} sequences through the gateway, seeds {first} to {}, {:.0} s: every lease came back, every request left one record",
        seen.sequences,
        first.wrapping_add(seen.sequences.saturating_sub(1)),
        span.as_secs_f64()
    );
    Ok(())
}

fn on_every_core<T: Default + AddAssign + Send>(
    first: u64,
    cases: u64,
    play: fn(u64) -> Result<T, String>,
) -> Result<T, String> {
    let cores = std::thread::available_parallelism().map_or(1, |n| n.get() as u64);
    let played: Vec<Result<T, String>> = std::thread::scope(|scope| {
        let each = |core: u64| scope.spawn(move || every_nth(first, cases, core, cores, play));
        let threads: Vec<_> = (0..cores).map(each).collect();
        threads.into_iter().map(|t| t.join().unwrap_or_else(|_| Err("A case panicked.".to_owned()))).collect()
    });
    let mut seen = T::default();
    for counts in played {
        seen += counts?;
    }
    Ok(seen)
}

/// The cases of one core.
fn every_nth<T: Default + AddAssign>(
    first: u64,
    cases: u64,
    core: u64,
    cores: u64,
    play: fn(u64) -> Result<T, String>,
) -> Result<T, String> {
    let mut seen = T::default();
    let mut n = core;
    while n < cases {
        seen += play(first.wrapping_add(n))?;
        n += cores;
    }
    Ok(seen)
}
