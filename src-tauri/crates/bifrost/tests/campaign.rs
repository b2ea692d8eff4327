//! Some hundred sequences of random clients and misbehaving agents; `make soak` plays many more.

mod storm;

use storm::{Counts, play};

/// `SEED` and `CASES` repeat or prolong it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_clients_and_agents_do_nothing_is_lost() {
    let number = |name: &str| std::env::var(name).ok().and_then(|v| v.parse::<u64>().ok());
    let first = number("SEED").unwrap_or(1);
    let mut seen = Counts::default();
    for seed in first..first + number("CASES").unwrap_or(200) {
        match play(seed).await {
            Ok(counts) => seen += counts,
            Err(wrong) => panic!("{wrong}"),
        }
    }
    println!("{seen:#?}");
    // A campaign in which one of these never happens proves nothing of it.
    for (what, count) in [
        ("whole answers", seen.whole),
        ("refusals", seen.refused),
        ("hang-ups", seen.left),
        ("broken answers", seen.broken),
        ("leases", seen.leases),
        ("places", seen.places),
    ] {
        assert!(count > seen.sequences / 10, "few {what}: {seen:#?}");
    }
}
