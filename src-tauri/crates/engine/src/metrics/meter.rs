//! What readings in a row tell: speeds, and the time to the first token.

use std::time::Duration;

use super::{Scrape, Slots, Sum};

/// A mean over a longer time says nothing of now.
const LONGEST_GAP: Duration = Duration::from_secs(60);
/// Two readings of the same process may differ by rounding, seconds.
const SAME_START: f64 = 1.0;

/// What a running server does now.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Live {
    /// Requests at work, and in the queue.
    pub running: Option<u32>,
    pub waiting: Option<u32>,
    /// 0 to 1.
    pub kv_cache_used: Option<f64>,
    /// Generated, over the time since the last reading.
    pub tokens_per_second: Option<f64>,
    pub prompt_tokens_per_second: Option<f64>,
    /// The mean over the requests that got their first token since the last reading; kept until a newer one.
    pub time_to_first_token_seconds: Option<f64>,
    /// Since the server's start.
    pub preemptions: Option<u64>,
    /// The server began anew since the last reading.
    pub restarted: bool,
    /// Tokens that the KV cache takes. With layers of several kinds it is an approximation in older versions of vLLM.
    pub kv_capacity_tokens: Option<u64>,
    pub kv_bytes: Option<u64>,
}

/// Remembers the last readings of one server.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Meter {
    last: Scrape,
    prompt: Base,
    generated: Base,
    first_token: Option<f64>,
}

/// A counter at the reading that the next speed is measured from.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
struct Base(Option<(Duration, f64)>);

impl Base {
    /// The speed since the base, per second, which becomes this reading.
    fn rate(&mut self, now: Duration, value: Option<f64>) -> Option<f64> {
        let value = value.filter(|value| value.is_finite())?;
        let Some((at, before)) = self.0 else {
            self.0 = Some((now, value));
            return None;
        };
        // At the same instant the older base stays, so that what came since is in the next speed.
        if now == at {
            return None;
        }
        self.0 = Some((now, value));
        let took = now.checked_sub(at).filter(|took| *took <= LONGEST_GAP)?;
        let rate = (value - before) / took.as_secs_f64();
        (rate.is_finite() && rate >= 0.0).then_some(rate)
    }
}

impl Meter {
    /// What this reading says, and what it says beside the ones before. `now` is on any clock that only goes forward.
    pub fn next(&mut self, now: Duration, scrape: &Scrape, slots: Option<&Slots>) -> Live {
        let restarted = self.last.restarted_before(scrape);
        if restarted {
            *self = Self::default();
        }
        let tokens_per_second = self.generated.rate(now, scrape.generated_tokens);
        let prompt_tokens_per_second = self.prompt.rate(now, scrape.prompt_tokens);
        // After a restart everything that was counted is since the last reading.
        let base = if restarted { Some(Sum::default()) } else { self.last.ttft };
        if let Some(mean) = base.zip(scrape.ttft).and_then(|(before, after)| mean(before, after)) {
            self.first_token = Some(mean);
        }
        self.last = self.last.with(scrape);
        let cache = scrape.cache.unwrap_or_default();
        let blocks = cache.blocks.zip(cache.block_size).map(|(blocks, size)| blocks.saturating_mul(size));
        Live {
            running: scrape.running.and_then(small).or(slots.map(|slots| slots.busy)),
            waiting: scrape.waiting.and_then(small),
            kv_cache_used: share(scrape.kv_cache_used).or_else(|| filled(slots?)),
            tokens_per_second,
            prompt_tokens_per_second,
            time_to_first_token_seconds: self.first_token,
            preemptions: scrape.preemptions.and_then(whole),
            restarted,
            kv_capacity_tokens: cache
                .kv_size_tokens
                .or(blocks)
                .or(slots.map(|slots| slots.context_tokens))
                .filter(|tokens| *tokens > 0),
            kv_bytes: cache.kv_bytes.filter(|bytes| *bytes > 0),
        }
    }
}

impl Scrape {
    /// What only ever grows while a server lives.
    fn counters(&self) -> [Option<f64>; 6] {
        [
            self.prompt_tokens,
            self.generated_tokens,
            self.preemptions,
            self.prefix_queries,
            self.prefix_hits,
            self.ttft.map(|ttft| ttft.count),
        ]
    }

    /// Whether the server began anew between this reading and the later one.
    fn restarted_before(&self, later: &Self) -> bool {
        let fell = |(before, after): (Option<f64>, Option<f64>)| {
            before.zip(after).is_some_and(|(before, after)| after < before)
        };
        let moved =
            self.started.zip(later.started).is_some_and(|(before, after)| after > before + SAME_START);
        moved || self.counters().into_iter().zip(later.counters()).any(fell)
    }

    /// The newer reading, with what it does not say as it was before.
    fn with(self, newer: &Self) -> Self {
        Self {
            prompt_tokens: newer.prompt_tokens.or(self.prompt_tokens),
            generated_tokens: newer.generated_tokens.or(self.generated_tokens),
            preemptions: newer.preemptions.or(self.preemptions),
            prefix_queries: newer.prefix_queries.or(self.prefix_queries),
            prefix_hits: newer.prefix_hits.or(self.prefix_hits),
            ttft: newer.ttft.or(self.ttft),
            started: newer.started.or(self.started),
            ..*newer
        }
    }
}

fn mean(before: Sum, after: Sum) -> Option<f64> {
    let (sum, count) = (after.sum - before.sum, after.count - before.count);
    let mean = sum / count;
    (count > 0.0 && mean.is_finite() && mean >= 0.0).then_some(mean)
}

fn share(share: Option<f64>) -> Option<f64> {
    share.filter(|share| share.is_finite()).map(|share| share.clamp(0.0, 1.0))
}

fn filled(slots: &Slots) -> Option<f64> {
    (slots.context_tokens > 0)
        .then(|| (slots.used_tokens as f64 / slots.context_tokens as f64).clamp(0.0, 1.0))
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "bounded below and above")]
fn small(value: f64) -> Option<u32> {
    (value.is_finite() && value >= 0.0).then(|| value.round().min(f64::from(u32::MAX)) as u32)
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "bounded below and above")]
fn whole(value: f64) -> Option<u64> {
    (value.is_finite() && value >= 0.0).then(|| value.round().min(9e15) as u64)
}
