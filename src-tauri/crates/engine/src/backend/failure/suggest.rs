//! What change of the agent's entry in the stack file is likely to help. Only where the text, or what the agent has
//! now, gives a value to write; a guess that would change nothing is not made.

use domain::memory::{GIB, MIB};
use serde_json::{Value, json};

use super::super::scan::{after, figure};
use super::{Explanation, Place, Suggestion};

/// What the agent has now, as far as it is known.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Present {
    /// Tokens of one request.
    pub(super) context: Option<u32>,
    /// Bytes, where the stack file says them.
    pub(super) kv_cache: Option<u64>,
}

/// A shorter context than this is of no use to anybody.
const SHORTEST: u32 = 1024;
/// Nothing below this is suggested as a KV cache.
const SMALLEST: u64 = 256 * MIB;

/// The explanation with what else is known of it.
pub(super) fn with(mut explanation: Explanation, place: &Place<'_>, present: &Present) -> Explanation {
    explanation.of_memory =
        matches!(explanation.id, "free-memory" | "no-kv-memory" | "out-of-memory" | "killed");
    explanation.suggestion = match explanation.id {
        "kv-too-small" => place
            .number("estimated maximum model length is ")
            .and_then(|fits| fitting(fits, present, "the KV cache holds")),
        "context-too-long" => place
            .number("max_position_embeddings=")
            .or_else(|| place.number("model_max_length="))
            .and_then(|limit| fitting(limit, present, "the model was made for")),
        "dtype" => Some(Suggestion {
            key: "dtype".to_owned(),
            value: json!(supported(place.line)),
            words: format!("Compute in {}, which this quantization works with.", supported(place.line)),
        }),
        // Without a KV cache in bytes the claim is a share or a sum, which a shorter context does not lower.
        "free-memory" => {
            short_by(place.line).and_then(|short| less_by(short, present)).or_else(|| smaller_cache(present))
        }
        "no-kv-memory" => more(present, "so that the claim has room beside the weights"),
        "auto-fit" => more(present, "so that a context fits"),
        // Its KV cache follows from the context, whatever the claim says.
        "out-of-memory" | "killed" if of_llama_cpp(place) => half_context(present),
        "out-of-memory" | "killed" => less(present),
        _ => None,
    };
    explanation
}

/// A context that the text itself names.
fn fitting(tokens: f64, present: &Present, what: &str) -> Option<Suggestion> {
    let tokens = whole(tokens).filter(|tokens| *tokens > 0)?;
    if present.context.is_some_and(|now| u64::from(now) <= tokens) {
        return None;
    }
    let tokens = u32::try_from(tokens).ok()?;
    Some(Suggestion {
        key: "context".to_owned(),
        value: json!(tokens),
        words: format!("Set the context to {tokens} tokens, which is what {what}."),
    })
}

/// The first of the number formats that the text lists.
fn supported(line: &str) -> &'static str {
    let list = after(line, "Supported dtypes:").unwrap_or_default();
    let formats = ["float16", "bfloat16", "float32"];
    let first = list
        .split(|c: char| !c.is_ascii_alphanumeric())
        .find_map(|word| formats.into_iter().find(|format| *format == word));
    first.unwrap_or("float16")
}

/// By how many bytes the free memory is less than what the server wants.
fn short_by(line: &str) -> Option<u64> {
    let free = after(line, "Free memory on device").and_then(|rest| after(rest, "(")).and_then(figure)?;
    let wanted = after(line, "utilization (").and_then(|rest| after(rest, ", ")).and_then(figure)?;
    whole((wanted - free) * GIB as f64).filter(|short| *short > 0)
}

/// A smaller cache or context: where the cache is said in bytes, a shorter context alone would free nothing.
fn less(present: &Present) -> Option<Suggestion> {
    if present.kv_cache.is_some() { smaller_cache(present) } else { half_context(present) }
}

fn smaller_cache(present: &Present) -> Option<Suggestion> {
    let now = present.kv_cache?;
    cache(now / 4 * 3, now, "about a quarter less than now")
}

fn less_by(short: u64, present: &Present) -> Option<Suggestion> {
    let now = present.kv_cache?;
    cache(now.checked_sub(short)?, now, "which fits in the memory that was free")
}

fn half_context(present: &Present) -> Option<Suggestion> {
    let now = present.context?;
    let half = now / 2 / SHORTEST * SHORTEST;
    (half >= SHORTEST).then(|| Suggestion {
        key: "context".to_owned(),
        value: json!(half),
        words: format!("Set the context to {half} tokens, about half of the {now} it has now."),
    })
}

/// A larger cache, and with it a larger claim.
fn more(present: &Present, why: &str) -> Option<Suggestion> {
    let now = present.kv_cache?;
    let size = size_up(now.checked_mul(2).filter(|bytes| *bytes > 0)?);
    Some(Suggestion {
        key: "kv_cache".to_owned(),
        words: format!("Set the KV cache to {size}, twice of what it is now, {why}."),
        value: Value::String(size),
    })
}

/// A smaller cache, unless too little is left of it.
fn cache(bytes: u64, now: u64, why: &str) -> Option<Suggestion> {
    let step = if bytes >= 4 * GIB { GIB / 2 } else { 64 * MIB };
    let bytes = bytes / step * step;
    (bytes >= SMALLEST && bytes < now).then(|| {
        let size = size(bytes);
        Suggestion {
            key: "kv_cache".to_owned(),
            words: format!("Set the KV cache to {size}, {why}."),
            value: Value::String(size),
        }
    })
}

/// As the stack file takes it: "6.5 GB", or "320 MB" where gigabytes do not say it shortly.
fn size(bytes: u64) -> String {
    if bytes.is_multiple_of(GIB / 2) {
        format!("{} GB", bytes as f64 / GIB as f64)
    } else {
        format!("{} MB", bytes / MIB)
    }
}

fn size_up(bytes: u64) -> String {
    size(bytes.div_ceil(64 * MIB).saturating_mul(64 * MIB))
}

fn of_llama_cpp(place: &Place<'_>) -> bool {
    let marks = ["llama_", "ggml_", "load_model: ", "llama-server"];
    place.lines.iter().any(|line| marks.iter().any(|mark| line.contains(mark)))
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "bounded below and above")]
fn whole(number: f64) -> Option<u64> {
    (0.0..9e15).contains(&number).then_some(number as u64)
}
