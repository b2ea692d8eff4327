//! llama.cpp's `/slots`: what each conversation holds of the KV cache, which its `/metrics` no longer say.
//!
//! The names changed: `state` became `is_processing`, `next_token` an array, and the tokens were once `n_past`. What a
//! slot at rest keeps of its last conversation makes room when it is needed, so only slots at work count as used.

use serde_json::Value;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Slots {
    pub total: u32,
    /// At work on a request.
    pub busy: u32,
    /// Of all slots together. Where the server shares one cache between its slots, which Asgard never asks for, each
    /// slot names the whole.
    pub context_tokens: u64,
    /// Prompt and answer of the slots at work.
    pub used_tokens: u64,
}

/// Reads one answer of `/slots`; nothing of a text that is none.
pub fn read_slots(json: &[u8]) -> Option<Slots> {
    let answer: Value = serde_json::from_slice(json).ok()?;
    let list = answer.as_array().or_else(|| answer.get("slots")?.as_array())?;
    let mut slots = Slots::default();
    for slot in list.iter().filter(|slot| slot.is_object()) {
        slots.total = slots.total.saturating_add(1);
        let context = count(slot, "n_ctx");
        slots.context_tokens = slots.context_tokens.saturating_add(context.unwrap_or_default());
        if is_busy(slot) {
            slots.busy = slots.busy.saturating_add(1);
            let used = used(slot).min(context.unwrap_or(u64::MAX));
            slots.used_tokens = slots.used_tokens.saturating_add(used);
        }
    }
    (slots.total > 0).then_some(slots)
}

fn is_busy(slot: &Value) -> bool {
    match slot.get("is_processing") {
        Some(busy) => busy.as_bool().unwrap_or_default(),
        // 0 is at rest.
        None => count(slot, "state").is_some_and(|state| state > 0),
    }
}

fn used(slot: &Value) -> u64 {
    if let Some(past) = count(slot, "n_past") {
        return past;
    }
    let next = match slot.get("next_token") {
        Some(Value::Array(list)) => list.first(),
        other => other,
    };
    let generated = next.and_then(|next| count(next, "n_decoded")).or_else(|| count(slot, "n_decoded"));
    let prompt = count(slot, "n_prompt_tokens").unwrap_or_else(|| {
        // Before it was counted, the prompt itself stood there, as tokens or (too long to count) as text.
        slot.get("prompt").and_then(Value::as_array).map_or(0, |tokens| tokens.len() as u64)
    });
    prompt.saturating_add(generated.unwrap_or_default())
}

/// A count that may be written as any number; below zero is none.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "bounded below and above")]
fn count(object: &Value, name: &str) -> Option<u64> {
    let value = object.get(name)?;
    value
        .as_u64()
        .or_else(|| value.as_f64().filter(|number| (0.0..9e15).contains(number)).map(|number| number as u64))
}
