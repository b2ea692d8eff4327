//! A campaign of random clients through the gateway to agents that misbehave.
//!
//! One sequence is one gateway, and a handful of connections at once with a few requests on each. What every client
//! and agent does is drawn from the seed; how the machine interleaves them is not, so a seed that failed once may take
//! a few repetitions.
//!
//! What must hold, whatever happens: every lease and every place in the queue comes back; each request that was let in
//! leaves exactly one record; what an agent sent whole arrives unchanged; what broke never looks whole; an agent
//! whose client is gone is hung up on; and afterwards the gateway answers as if nothing had been.
#![allow(dead_code, unreachable_pub, reason = "a test and the soak each use a part")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a harness")]

mod agent;
#[path = "../../../domain/tests/simulator/chance.rs"]
mod chance;
mod client;
mod ledger;

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use bifrost::{Dispatch, Gateway, Settings};
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio::time::timeout;

use agent::Agent;
use chance::Chance;
use client::Visit;
use ledger::Ledger;

/// Nothing in a sequence waits for a clock: what takes so long hangs.
const HANG: Duration = Duration::from_secs(30);

/// What sequences have met.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    pub sequences: u64,
    pub requests: u64,
    /// Requests whose answer arrived whole.
    pub whole: u64,
    pub refused: u64,
    /// Requests whose client went away.
    pub left: u64,
    /// Answers that an agent broke.
    pub broken: u64,
    pub leases: u64,
    pub places: u64,
}

impl std::ops::AddAssign for Counts {
    fn add_assign(&mut self, other: Self) {
        self.sequences += other.sequences;
        self.requests += other.requests;
        self.whole += other.whole;
        self.refused += other.refused;
        self.left += other.left;
        self.broken += other.broken;
        self.leases += other.leases;
        self.places += other.places;
    }
}

/// Choices from a seed.
#[derive(Debug, Clone)]
pub struct Dice(Chance);

impl Dice {
    pub fn new(seed: u64) -> Self {
        Self(Chance::new(seed))
    }

    pub fn next(&mut self) -> u64 {
        self.0.next()
    }

    /// From 0 on, below `end`.
    pub fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() % end.max(1) as u64).unwrap()
    }

    pub fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }

    pub fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len())]
    }
}

/// Plays one sequence. The error tells what did not hold.
pub async fn play(seed: u64) -> Result<Counts, String> {
    let mut dice = Dice::new(seed);
    let agent = Agent::start().await;
    let ledger = Arc::new(Ledger::new(agent.address, agent.board.clone()));
    let bound = Gateway::bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
    let gateway = bound.address();
    let (stop, stopped) = oneshot::channel::<()>();
    let dispatch: Arc<dyn Dispatch> = Arc::clone(&ledger) as _;
    let settings = Settings { max_body: 2 << 20, ..Settings::default() };
    let serving = tokio::spawn(bound.serve(dispatch, settings, async {
        let _ = stopped.await;
    }));

    let mut counts = Counts { sequences: 1, ..Counts::default() };
    let mut story = String::new();
    let mut visits = JoinSet::new();
    let connections = 4 + dice.below(8);
    let mut plan = |connection| -> Vec<Visit> {
        (0..=dice.below(3)).map(|n| Visit::random(&mut dice, format!("c{connection}r{n}"))).collect()
    };
    let plans: Vec<Vec<Visit>> = (0..connections).map(&mut plan).collect();
    let spoiled = plans.iter().flatten().any(Visit::spoils);
    for plan in plans {
        for visit in &plan {
            let _ = writeln!(story, "  {visit:?}");
        }
        visits.spawn(client::converse(gateway, plan, agent.board.clone(), spoiled));
    }
    let failed = |what: String| Err(format!("Sequence {seed}: {what}\nWhat was planned:\n{story}"));
    loop {
        match timeout(HANG, visits.join_next()).await {
            Err(_) => return failed("a client waits for ever.".to_owned()),
            Ok(None) => break,
            Ok(Some(Err(panicked))) => return failed(format!("a client panicked: {panicked}")),
            Ok(Some(Ok(Err(wrong)))) => return failed(wrong),
            Ok(Some(Ok(Ok(seen)))) => counts += seen,
        }
    }
    // Nobody is left who could hold anything.
    if timeout(HANG, ledger.settled()).await.is_err() {
        return failed(ledger.open());
    }
    if let Err(wrong) = ledger.balance() {
        return failed(wrong);
    }
    if timeout(HANG, agent.quiet()).await.is_err() {
        return failed("an agent still works for a client that is gone.".to_owned());
    }
    // As if nothing had been.
    let after = client::converse(gateway, vec![Visit::plain("after".to_owned())], agent.board.clone(), false);
    match timeout(HANG, after).await {
        Ok(Ok(seen)) if seen.whole == 1 => {}
        other => return failed(format!("afterwards a plain request got {other:?}")),
    }
    if timeout(HANG, ledger.settled()).await.is_err() {
        return failed(ledger.open());
    }
    (counts.leases, counts.places) = ledger.given();
    let _ = stop.send(());
    match timeout(HANG, serving).await {
        Ok(Ok(())) => Ok(counts),
        other => failed(format!("the gateway did not end: {other:?}")),
    }
}
