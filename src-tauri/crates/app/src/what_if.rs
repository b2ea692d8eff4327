//! The stack as it would be with another choice for one agent: nothing is written.

use std::path::Path;

use api::shapes::plans::{PlanChange, PlanChanged};
use api::{ApiError, Code};
use domain::agent::AgentName;
use domain::memory::{Bytes, MIB};
use domain::plan::{Situation, claims};
use domain::pool::PoolReading;
use domain::stack::{Agent, ClaimBasis, Stack};
use serde_json::{Value, json};
use store::stack_file::{self, edit};

use crate::here::Here;

/// Where a stack comes from.
pub(crate) struct Source<'a> {
    pub(crate) path: &'a Path,
    pub(crate) text: &'a str,
    pub(crate) scale: u64,
    pub(crate) here: &'a Here,
}

/// The changed stack, and what the change amounts to.
///
/// # Errors
/// An agent that is not in the stack, a change that says nothing, and every reason why a stack file would not hold.
pub(crate) fn changed(
    source: &Source<'_>,
    stack: &Stack,
    pools: &[PoolReading],
    change: &PlanChange,
) -> Result<(Stack, PlanChanged), ApiError> {
    let agent = AgentName::new(&change.agent).ok().and_then(|name| stack.agent(&name)).ok_or_else(|| {
        ApiError::new(
            Code::Unknown,
            format!("There is no agent {:?} in the stack.", change.agent),
            "See the agents with: asgard status",
        )
    })?;
    let keys = keys(agent, change)?;
    let edits =
        [edit::Edit::ChangeAgent { agent: agent.name.to_string(), keys: keys.clone().into_iter().collect() }];
    let text = edit::edit(source.text, &edits).map_err(|e| ApiError::new(Code::Usage, e.message, e.next))?;
    let changed =
        stack_file::check_on(source.path, &text, source.scale, source.here).map_err(|problems| {
            let all: Vec<&str> = problems.iter().map(|p| p.message.as_str()).collect();
            let next = problems.first().map_or("Choose another value.", |p| p.next.as_str());
            ApiError::new(Code::Stack, all.join(" "), next)
        })?;
    let claim = |stack: &Stack| -> u64 {
        let agent = stack.agent(&agent.name);
        agent.map_or(0, |a| claims(a, pools).values().map(|s| s.total().0).sum())
    };
    let known: Vec<&str> = stack.notes.iter().map(|n| n.message.as_str()).collect();
    let summary = PlanChanged {
        agent: agent.name.to_string(),
        keys,
        claim_bytes_before: claim(stack),
        claim_bytes_after: claim(&changed),
        notes: changed
            .notes
            .iter()
            .map(|n| n.message.clone())
            .filter(|n| !known.contains(&n.as_str()))
            .collect(),
    };
    Ok((changed, summary))
}

/// The situation as if this agent slept: with another choice it would start anew.
pub(crate) fn without(situation: &mut Situation, agent: &str) {
    let Some(place) = situation.running.iter().position(|r| r.agent.as_str() == agent) else { return };
    let gone = situation.running.remove(place);
    let shares = gone.held.measured.unwrap_or(gone.held.reserved);
    for pool in &mut situation.pools {
        let share = shares.get(&pool.id).copied().unwrap_or_default();
        pool.used = pool.used.saturating_sub(share.total());
        pool.device_used = pool.device_used.map(|d| d.saturating_sub(share.device));
    }
}

/// The keys that would be written. A cache that nobody sized anew keeps its proportion to what the contexts need.
fn keys(agent: &Agent, change: &PlanChange) -> Result<std::collections::BTreeMap<String, Value>, ApiError> {
    let mut keys = std::collections::BTreeMap::new();
    if let Some(context) = change.context {
        keys.insert("context".to_owned(), json!(context));
    }
    if let Some(sequences) = change.sequences {
        keys.insert("sequences".to_owned(), json!(sequences));
    }
    if let Some(kv_dtype) = &change.kv_dtype {
        keys.insert("kv_dtype".to_owned(), json!(kv_dtype));
    }
    if let Some(kv_cache) = &change.kv_cache {
        keys.insert("kv_cache".to_owned(), json!(kv_cache));
    }
    if keys.is_empty() {
        return Err(ApiError::new(
            Code::Usage,
            format!("Nothing about {} would change.", agent.display_name),
            "Give a context, a number of sequences, a KV type or a KV cache.",
        ));
    }
    if change.kv_cache.is_none()
        && let ClaimBasis::KvCache { kv_cache, .. } = agent.claim
    {
        let grown = proportional(agent, kv_cache, change);
        keys.insert("kv_cache".to_owned(), json!(grown.0));
    }
    Ok(keys)
}

/// `kv_cache` times what the change multiplies the need by, in whole megabytes.
fn proportional(agent: &Agent, kv_cache: Bytes, change: &PlanChange) -> Bytes {
    let ratio = |new: Option<u32>, old: u32| new.map_or(1.0, |new| f64::from(new) / f64::from(old.max(1)));
    let width = |kind: Option<&str>| -> f64 {
        match kind.unwrap_or("auto").to_ascii_lowercase().as_str() {
            "f32" | "float32" => 4.0,
            "fp8" | "fp8_e4m3" | "fp8_e5m2" | "int8" => 1.0,
            "q8_0" => 34.0 / 32.0,
            "q5_1" => 24.0 / 32.0,
            "q5_0" => 22.0 / 32.0,
            "q4_1" => 20.0 / 32.0,
            "q4_0" | "iq4_nl" => 18.0 / 32.0,
            _ => 2.0,
        }
    };
    let kind =
        change.kv_dtype.as_deref().map_or(1.0, |new| width(Some(new)) / width(agent.kv_dtype.as_deref()));
    let factor = ratio(change.context, agent.context) * ratio(change.sequences, agent.sequences) * kind;
    let grown = Bytes::mb(kv_cache.0 as f64 * factor / MIB as f64);
    Bytes(grown.0.div_ceil(MIB).saturating_mul(MIB))
}
