//! The contract of the engine trait: one list of checks, run on a real Docker Engine, on a real Podman service and on
//! processes of this machine, and one table of what came out.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "what fails here fails the test")]

mod contract;

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use contract::bench::{Bench, Kind};
use contract::{CHECKS, Verdict};
use journeys::docker::{say, skipped};
use tokio::time::{Instant, timeout};

/// No check may take longer.
const CHECK: Duration = Duration::from_mins(2);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_engine_keeps_the_contract() {
    let mut columns: Vec<(Kind, Vec<String>)> = Vec::new();
    let mut failures = Vec::new();
    for kind in [Kind::Docker, Kind::Podman, Kind::Process] {
        let bench = match Bench::start(kind).await {
            Ok(bench) => Arc::new(bench),
            Err(why) => {
                skipped(kind.name(), &why);
                columns.push((kind, vec!["skipped".to_owned(); CHECKS.len()]));
                continue;
            }
        };
        let mut column = Vec::new();
        for (number, (title, check)) in CHECKS.iter().enumerate() {
            let begun = Instant::now();
            // In a task of its own, so that a check that fails does not end the others.
            let run = tokio::spawn(timeout(CHECK, check(Arc::clone(&bench), number)));
            let cell = match run.await {
                Ok(Ok(Verdict::Kept)) => format!("ok {:.1} s", begun.elapsed().as_secs_f64()),
                Ok(Ok(Verdict::DoesNotApply)) => "-".to_owned(),
                Ok(Err(_)) => {
                    failures.push(format!("{} on {}: not done after {CHECK:?}", title, kind.name()));
                    "too long".to_owned()
                }
                Err(panicked) => {
                    failures.push(format!("{} on {}: {panicked}", title, kind.name()));
                    "FAILED".to_owned()
                }
            };
            column.push(cell);
        }
        columns.push((kind, column));
    }
    say(&table(&columns));
    assert!(failures.is_empty(), "the contract is broken:\n{}", failures.join("\n"));
}

fn table(columns: &[(Kind, Vec<String>)]) -> String {
    let widest = CHECKS.iter().map(|(title, _)| title.chars().count()).max().unwrap_or_default();
    let mut out = format!("\n{:widest$}", "check");
    for (kind, _) in columns {
        let _ = write!(out, "  {:10}", kind.name());
    }
    for (row, (title, _)) in CHECKS.iter().enumerate() {
        let _ = write!(out, "\n{title:widest$}");
        for (_, cells) in columns {
            let _ = write!(out, "  {:10}", cells.get(row).map_or("", String::as_str));
        }
    }
    out
}
