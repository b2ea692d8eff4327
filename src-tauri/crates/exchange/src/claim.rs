//! What an agent claims, in bytes where a share was given.

use domain::catalog::KnownModel;
use domain::memory::{Bytes, GIB, Unit};
use domain::stack::BackendKind;

use crate::Facts;
use crate::agents::{Claim, Draft};
use crate::known;
use crate::report::Report;

/// What vLLM takes of the device when nothing is said, in the versions of these files.
const VLLM_SHARE: f64 = 0.9;

/// Sets the claim. False where it cannot be known, which is said.
pub(crate) fn claim(draft: &mut Draft, facts: &Facts, report: &mut Report) -> bool {
    let claim = match draft.backend() {
        BackendKind::Vllm => Some(vllm(draft, facts, report)),
        BackendKind::LlamaCpp => llama_cpp(draft, report),
        BackendKind::Ollama => ollama(draft, report),
        BackendKind::External => Some(Claim::Memory(0)),
    };
    draft.claim = claim;
    draft.claim.is_some()
}

fn vllm(draft: &mut Draft, facts: &Facts, report: &mut Report) -> Claim {
    let known = known::model(draft.model());
    if let (Some(kv_cache), Some(_)) = (draft.line.kv_bytes, known) {
        // The flag is for one device.
        let kv_cache = kv_cache.saturating_mul(u64::from(draft.line.tensor_parallel.unwrap_or(1)));
        return Claim::KvCache { kv_cache: at_least_one(draft, known, kv_cache, report), weights: None };
    }
    let given = draft.line.utilization.filter(|share| *share > 0.0);
    let what = format!("{}.gpu_util", draft.what);
    let place = draft.place.clone();
    if given.is_none()
        && let Some(known) = known
    {
        let one = one_context(draft, known);
        report.corrected(
            &place,
            Some(&draft.name),
            &what,
            format!(
                "No share was given, and vLLM would take nine tenths of everything. A KV cache for one whole context is \
                 claimed instead: {}.",
                Bytes(up(one)).show(Unit::Gb)
            ),
        );
        return Claim::KvCache { kv_cache: up(one), weights: None };
    }
    let share = given.unwrap_or(VLLM_SHARE);
    if given.is_none() {
        report.corrected(
            &place,
            Some(&draft.name),
            &what,
            "No share was given; 0.9, which vLLM takes by itself, is written down. Lower it to what the model needs.",
        );
    }
    let Some(capacity) = facts.capacity.filter(|c| c.0 > 0) else {
        report.not_understood(
            &place,
            Some(&draft.name),
            &what,
            format!("The share {share} stays a share: how much memory it is a share of is not known here."),
        );
        return Claim::Share(share);
    };
    let memory = down(part(capacity.0, share)).max(GIB / 10);
    let Some(known) = known else {
        report.corrected(
            &place,
            Some(&draft.name),
            &what,
            format!(
                "The share {share} became {}, of {}.",
                Bytes(memory).show(Unit::Gb),
                capacity.show(Unit::Gb)
            ),
        );
        return Claim::Memory(memory);
    };
    let besides = known.weights.0 + known.vllm_overhead.0;
    let one = one_context(draft, known);
    let left = memory.saturating_sub(besides);
    // Rounded down, unless the tenth is what one context hangs on.
    let kv_cache = if down(left) >= one { down(left) } else { up(one) };
    let all = Bytes(besides.saturating_add(kv_cache));
    if left >= one {
        report.corrected(
            &place,
            Some(&draft.name),
            &what,
            format!(
                "The share {share} is {}: {} for the weights and the server, {} for the KV cache.",
                Bytes(memory).show(Unit::Gb),
                Bytes(besides).show(Unit::Gb),
                Bytes(kv_cache).show(Unit::Gb)
            ),
        );
    } else {
        report.corrected(
            &place,
            Some(&draft.name),
            &what,
            format!(
                "The share {share} is {}, which beside weights and server ({}) does not hold one context of {} tokens. \
                 It was raised to the least that does: a KV cache of {}, {} in all.",
                Bytes(memory).show(Unit::Gb),
                Bytes(besides).show(Unit::Gb),
                draft.context(),
                Bytes(kv_cache).show(Unit::Gb),
                all.show(Unit::Gb)
            ),
        );
    }
    Claim::KvCache { kv_cache, weights: None }
}

fn at_least_one(draft: &Draft, known: Option<&KnownModel>, kv_cache: u64, report: &mut Report) -> u64 {
    let Some(one) = known.map(|k| one_context(draft, k)).filter(|one| kv_cache < *one) else {
        return kv_cache;
    };
    report.corrected(
        &draft.place,
        Some(&draft.name),
        &format!("{}.kv_cache", draft.what),
        format!(
            "A KV cache of {} does not hold one context of {} tokens; it was raised to {}.",
            Bytes(kv_cache).show(Unit::Gb),
            draft.context(),
            Bytes(up(one)).show(Unit::Gb)
        ),
    );
    up(one)
}

fn llama_cpp(draft: &mut Draft, report: &mut Report) -> Option<Claim> {
    let Some(known) = known::model(draft.model()) else {
        report.not_understood(
            &draft.place,
            Some(&draft.name),
            &draft.what,
            "How much memory it takes is not known, so it was left out. Add it in the window once its file is there.",
        );
        return None;
    };
    if draft.line.context.is_none() {
        report.corrected(
            &draft.place,
            Some(&draft.name),
            &format!("{}.context", draft.what),
            format!("No context was given; {} tokens are written down.", draft.context()),
        );
        draft.line.context = Some(draft.context());
    }
    let sequences = u64::from(*draft.line.sequences.get_or_insert(1));
    let kv_cache = up(one_context(draft, known).saturating_mul(sequences));
    report.understood(
        &draft.place,
        Some(&draft.name),
        &format!("{}.memory", draft.what),
        format!(
            "{} for the file, as this model has it in this quantization, and {} for the KV cache.",
            Bytes(up(known.weights.0)).show(Unit::Gb),
            Bytes(kv_cache).show(Unit::Gb)
        ),
    );
    let weights = domain::catalog::known_model(draft.model()).is_none().then(|| up(known.weights.0));
    Some(Claim::KvCache { kv_cache, weights })
}

fn ollama(draft: &Draft, report: &mut Report) -> Option<Claim> {
    let Some(known) = known::ollama_model(draft.model()) else {
        report.not_understood(
            &draft.place,
            Some(&draft.name),
            &draft.what,
            "How much memory this model takes is not known, so it was left out. Once Ollama has it, Asgard finds it \
             there and offers it.",
        );
        return None;
    };
    let all = known.weights.0.saturating_add(one_context(draft, known)).saturating_add(GIB);
    report.understood(
        &draft.place,
        Some(&draft.name),
        &format!("{}.memory", draft.what),
        format!("{} for the weights of this tag and one context.", Bytes(up(all)).show(Unit::Gb)),
    );
    Some(Claim::Memory(up(all)))
}

/// The KV cache of one whole conversation.
fn one_context(draft: &Draft, known: &KnownModel) -> u64 {
    let of_16_bit = known.kv_bytes_per_token;
    let per_token = match draft.line.kv_dtype.as_deref().unwrap_or("auto").to_ascii_lowercase().as_str() {
        "f32" | "float32" => of_16_bit * 2,
        "q8_0" => (of_16_bit * 34).div_ceil(64),
        "q4_0" => (of_16_bit * 18).div_ceil(64),
        _ => of_16_bit,
    };
    per_token.saturating_mul(u64::from(draft.context()))
}

/// A share of the machine that an agent takes, for the sum over a profile; none where neither is known.
pub(crate) fn bytes(draft: &Draft, facts: &Facts) -> Option<u64> {
    let known = known::model(draft.model());
    match draft.claim.as_ref()? {
        Claim::Memory(bytes) => Some(*bytes),
        Claim::Share(share) => facts.capacity.map(|c| part(c.0, *share)),
        Claim::KvCache { kv_cache, weights } => {
            let overhead = match draft.backend() {
                BackendKind::Vllm => known.map_or(4 * GIB, |k| k.vllm_overhead.0),
                _ => GIB,
            };
            let weights = weights.or(known.map(|k| k.weights.0))?;
            Some(weights.saturating_add(*kv_cache).saturating_add(overhead))
        }
    }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a share is 0 to 1")]
fn part(capacity: u64, share: f64) -> u64 {
    Bytes(capacity).share((share.clamp(0.0, 1.0) * 1e6).round() as u64, 1_000_000).0
}

/// Rounded to a tenth of a gigabyte, which is how the file says it. A tenth is rounded up to whole bytes, as the
/// reader of the file rounds it to the nearest.
fn down(bytes: u64) -> u64 {
    // A few bytes lost in a product of a share do not cost a tenth.
    tenth((u128::from(bytes) + 16) * 10 / u128::from(GIB))
}

fn up(bytes: u64) -> u64 {
    tenth((u128::from(bytes) * 10).div_ceil(u128::from(GIB)))
}

fn tenth(tenths: u128) -> u64 {
    u64::try_from((tenths * u128::from(GIB)).div_ceil(10)).unwrap_or(u64::MAX)
}
