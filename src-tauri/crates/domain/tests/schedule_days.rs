//! The schedule against households in which anything happens. See `day`.

#![allow(clippy::panic, clippy::expect_used, reason = "a test may fail")]

mod day;

use day::{Counts, play};

/// As many as a run of all tests can bear; `make soak` plays ten thousand.
const CASES: u64 = 2000;

#[test]
fn whatever_happens_every_promise_is_kept() {
    let half = |odd: u64| {
        let mut seen = Counts::default();
        for seed in (odd..CASES).step_by(2) {
            match play(seed) {
                Ok(counts) => seen += counts,
                Err(story) => return Err(story),
            }
        }
        Ok(seen)
    };
    let mut seen = Counts::default();
    let halves = std::thread::scope(|scope| {
        let threads = [0, 1].map(|odd| scope.spawn(move || half(odd)));
        threads.into_iter().map(std::thread::ScopedJoinHandle::join).collect::<Vec<_>>()
    });
    for counts in halves {
        seen += counts.expect("no panic").unwrap_or_else(|story| panic!("{story}"));
    }
    // A campaign in which little happens proves little.
    for (what, seen, least) in [
        ("cases", seen.cases, CASES),
        ("requests", seen.asked, CASES * 15),
        ("leases", seen.granted, CASES * 8),
        ("waits", seen.waited, CASES * 5),
        ("waits past the moment of ageing", seen.aged, CASES / 50),
        ("refusals", seen.refused, CASES * 4),
        ("clients that hung up", seen.hung_up, CASES),
        ("wishes", seen.wishes, CASES * 4),
        ("swaps", seen.swaps, CASES / 2),
        ("idle agents put to sleep", seen.gentle, CASES),
        ("wishes that met another operation", seen.busy, CASES / 50),
        ("cancelled operations", seen.cancels, CASES / 4),
        ("crashes", seen.crashes, CASES / 4),
        ("failed starts", seen.failed_starts, CASES / 2),
        ("agents given up", seen.given_up, CASES / 100),
        ("acts of the person", seen.person, CASES),
        ("jumps of the clock", seen.jumps, CASES),
        ("new starts of the controller", seen.restarts, CASES / 10),
        ("refusals for a budget or a cooldown", seen.too_often, CASES / 10),
    ] {
        assert!(seen >= least, "{seen} {what}, and {least} are wanted");
    }
}
