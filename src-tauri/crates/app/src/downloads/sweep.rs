//! The end of partial files that nobody took up again.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use api::shapes::status::Severity;
use models::download::Partial;

use super::show::gb;
use crate::activity::happened;
use crate::carry::Ctx;

const DAY: Duration = Duration::from_secs(24 * 3600);

/// At the start and once a day.
pub(super) async fn run(ctx: Ctx) {
    loop {
        sweep(&ctx).await;
        tokio::time::sleep(DAY).await;
    }
}

async fn sweep(ctx: &Ctx) {
    let line = &ctx.downloads;
    let days = line.desk().partial_days;
    let source = line.inner.source.clone();
    let going_on = line.going_on();
    let swept = tokio::task::spawn_blocking(move || {
        let old = too_old(source.partials(), days, SystemTime::now(), |repo| going_on.contains(repo));
        let bytes = old.values().flatten().fold(0, |sum: u64, (_, bytes)| sum.saturating_add(*bytes));
        for (repo, files) in old {
            let hashes: Vec<String> = files.into_iter().map(|(hash, _)| hash).collect();
            source.discard(&repo, &hashes);
        }
        bytes
    });
    match swept.await {
        Ok(0) | Err(_) => {}
        Ok(bytes) => {
            let words = format!(
                "Unfinished downloads that nobody took up for {days} days were deleted: {}.",
                gb(bytes)
            );
            happened(ctx, Severity::Info, None, words);
            line.measure().await;
        }
    }
}

/// Hashes and bytes by repository. A download that goes on by itself keeps what it has: it was not left, however long
/// the network is away or how far the clock has jumped.
fn too_old(
    partials: Vec<Partial>,
    days: u32,
    now: SystemTime,
    goes_on: impl Fn(&str) -> bool,
) -> BTreeMap<String, Vec<(String, u64)>> {
    let mut old: BTreeMap<String, Vec<(String, u64)>> = BTreeMap::new();
    for partial in partials {
        // One from the future is as young as can be.
        let age = now.duration_since(partial.last_used).unwrap_or_default();
        if age > DAY * days && !goes_on(&partial.repo) {
            old.entry(partial.repo).or_default().push((partial.hash, partial.bytes));
        }
    }
    old
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_left_for_long_goes() {
        let now = SystemTime::UNIX_EPOCH + DAY * 20_000;
        let partial = |repo: &str, hash: &str, last_used: SystemTime| Partial {
            repo: repo.to_owned(),
            hash: hash.to_owned(),
            bytes: 7,
            last_used,
            path: "/x".into(),
        };
        let found = too_old(
            vec![
                partial("o/old", "a", now - DAY * 31),
                partial("o/old", "b", now - DAY * 29),
                partial("o/waits", "c", now - DAY * 3000),
                partial("o/future", "d", now + DAY * 9),
                partial("o/old", "e", SystemTime::UNIX_EPOCH),
            ],
            30,
            now,
            |repo| repo == "o/waits",
        );
        let expected = vec![("a".to_owned(), 7), ("e".to_owned(), 7)];
        assert_eq!(found, BTreeMap::from([("o/old".to_owned(), expected)]));
    }
}
