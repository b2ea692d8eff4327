//! What llama-server's log says of a start. Which of its lines there are depends on the build and its verbosity.

use domain::Stage;

use super::scan::{after, figure};
use super::{BufferKind, LogFact};

pub(super) fn facts(line: &str) -> Vec<LogFact> {
    if line.contains("listening on http") {
        return vec![LogFact::Listening];
    }
    if let Some(buffer) = buffer(line) {
        return vec![buffer];
    }
    let slots = slots(line);
    if !slots.is_empty() {
        return slots;
    }
    if let Some(fact) = cache(line).or_else(|| device(line)) {
        return vec![fact];
    }
    let stage = [
        ("load_model: loading model", Stage::Weights),
        ("main: loading model", Stage::Weights),
        ("constructing llama_context", Stage::KvCache),
        ("warming up the model with an empty run", Stage::WarmUp),
        ("llama_server: model loaded", Stage::WarmUp),
        ("main: model loaded", Stage::WarmUp),
    ];
    let stage = stage.iter().find(|(text, _)| line.contains(text));
    stage.map(|(_, stage)| LogFact::Stage(*stage)).into_iter().collect()
}

/// "load_tensors:        CUDA0 model buffer size =  4403.49 MiB", of any kind and device.
fn buffer(line: &str) -> Option<LogFact> {
    let (before, size) = line.split_once(" buffer size =")?;
    let bytes = size_of(size)?;
    let mut words = before.split_whitespace().rev();
    let last = words.next()?;
    let (kind, device) = match last {
        "model" | "LoRA" => (BufferKind::Weights, words.next()?),
        "KV" => (BufferKind::Kv, words.next()?),
        "RS" => (BufferKind::State, words.next()?),
        "compute" => (BufferKind::Compute, words.next()?),
        "output" => (BufferKind::Output, words.next()?),
        // Old builds name no kind for the weights.
        device if before.contains("load_tensors") => (BufferKind::Weights, device),
        _ => return None,
    };
    // Another machine's memory is no part of this one's.
    if device.starts_with("RPC") {
        return None;
    }
    let host = device.starts_with("CPU")
        || device.ends_with("_Host")
        || matches!(device, "AMX" | "BLAS" | "host" | "Host");
    Some(LogFact::Buffer { kind, device: !host, bytes })
}

/// "initializing, n_slots = 4, n_ctx_slot = 1024, kv_unified = 'false'", or a line for each slot.
fn slots(line: &str) -> Vec<LogFact> {
    let context = |tokens: f64| u32::try_from(whole(tokens)).ok().map(LogFact::ContextChosen);
    let Some(rest) =
        after(line, "initializing, n_slots = ").or_else(|| after(line, "initializing slots, n_slots = "))
    else {
        let one = after(line, "new slot n_ctx_slot = ").or_else(|| after(line, "new slot, n_ctx = "));
        return one.and_then(figure).and_then(context).into_iter().collect();
    };
    let Some((slots, each)) = figure(rest).zip(after(rest, "n_ctx_slot = ").and_then(figure)) else {
        return Vec::new();
    };
    // The slots' contexts are one cache where it is unified.
    let unified = rest.contains("kv_unified = 'true'");
    let tokens = LogFact::KvTokens(whole(if unified { each } else { slots * each }));
    std::iter::once(tokens).chain(context(each)).collect()
}

/// "llama_kv_cache: size = 256.00 MiB (…)", or of older builds "llama_kv_cache_unified: size = …" and
/// "KV self size  = …".
fn cache(line: &str) -> Option<LogFact> {
    let size = after(line, "llama_kv_cache")
        .and_then(|rest| rest.split_once(": size ").map(|(_, size)| size))
        .or_else(|| after(line, "KV self size "))?;
    size_of(after(size, "=")?).map(LogFact::KvBytes)
}

/// "Vulkan0: AMD Radeon Graphics (87722 MiB, 86300 MiB free)", as the list of devices has it.
fn device(line: &str) -> Option<LogFact> {
    let before = line.trim_end().strip_suffix(" MiB free)")?;
    let (total, free) = before.rsplit_once('(')?.1.split_once(" MiB, ")?;
    let bytes = |text: &str| figure(text).map(|mib| whole(mib * f64::from(1 << 20)));
    Some(LogFact::Device { free: bytes(free)?, total: bytes(total)? })
}

fn size_of(text: &str) -> Option<u64> {
    let unit = match text.split_whitespace().nth(1) {
        Some("GiB") => 1_u64 << 30,
        Some("KiB") => 1 << 10,
        // The only one seen; old builds wrote MB for the same.
        _ => 1 << 20,
    };
    figure(text).map(|amount| whole(amount * unit as f64))
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a log's figure, cut at zero")]
fn whole(amount: f64) -> u64 {
    amount.max(0.0).round() as u64
}
