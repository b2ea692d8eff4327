//! What a week of use says of a KV cache: half of it was never needed, or it was always full.

use crate::memory::{Bytes, GIB, Unit};
use crate::stack::{Agent, ClaimBasis};

/// Below this many hours awake nothing is concluded.
pub const HOURS_NEEDED: f64 = 8.0;

/// What was seen of one agent's KV cache.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct KvUse {
    /// The highest share in use, 0 to 1.
    pub peak: f64,
    /// Hours in which it was awake and looked at.
    pub hours: f64,
}

/// A cache of another size.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KvAdvice {
    pub kv_cache: Bytes,
    /// Bytes that the change gives back; below zero it takes them.
    pub gives: i64,
    pub words: String,
}

/// Where the peak stayed under half of what is reserved, or touched it.
///
/// A smaller cache keeps half as much again as was ever in use, and never less than one context; a larger one has
/// half as much again as now. Steps are of half a unit; less than one step is no advice.
pub fn kv_cache(agent: &Agent, seen: &KvUse, unit: Unit) -> Option<KvAdvice> {
    let ClaimBasis::KvCache { kv_cache: now, .. } = agent.claim else { return None };
    if !(0.0..=1.5).contains(&seen.peak) || seen.hours < HOURS_NEEDED || now == Bytes::ZERO {
        return None;
    }
    let step = unit.bytes() / 2;
    let up = |bytes: Bytes| Bytes(bytes.0.div_ceil(step).saturating_mul(step));
    let part = |share: f64| Bytes::gb(now.0 as f64 * share / GIB as f64);
    let percent = (seen.peak * 100.0).round();
    let name = &agent.display_name;
    if seen.peak < 0.5 {
        let one_context = Bytes(agent.kv_bytes_per_token?.saturating_mul(u64::from(agent.context)));
        let smaller = up(part(seen.peak * 1.5).max(one_context));
        let gives = now.saturating_sub(smaller);
        return (gives.0 >= step).then(|| KvAdvice {
            kv_cache: smaller,
            gives: i64::try_from(gives.0).unwrap_or(i64::MAX),
            words: format!(
                "{name} never used more than {percent}\u{a0}% of its KV cache in the last week. With {} it gives back {}.",
                smaller.show(unit),
                gives.show_down(unit)
            ),
        });
    }
    if seen.peak >= 0.98 {
        let larger = up(part(1.5));
        let takes = larger.saturating_sub(now);
        return (takes.0 >= step).then(|| KvAdvice {
            kv_cache: larger,
            gives: i64::try_from(takes.0).map_or(i64::MIN, |t| -t),
            words: format!(
                "The KV cache of {name} was full in the last week, so requests waited for each other. With {} it takes {} more.",
                larger.show(unit),
                takes.show_up(unit)
            ),
        });
    }
    None
}
