//! What vLLM's log says of a start, in the spellings of 0.11 to 0.33. Read by the text alone: the prefixes, files and
//! line numbers before it change with every version.

use domain::Stage;

use super::scan::{after, figure, last_percent};
use super::{BufferKind, LogFact};

pub(super) fn facts(line: &str) -> Vec<LogFact> {
    // The words of a prompt are nobody's log.
    if line.contains("Received request") || line.contains("Added request") {
        return Vec::new();
    }
    let mut facts: Vec<LogFact> = progress(line).into_iter().collect();
    facts.extend(weights(line));
    facts.extend(cache(line));
    facts.extend(device(line));
    facts.extend(context(line));
    facts.extend(graphs(line));
    facts
}

fn progress(line: &str) -> Option<LogFact> {
    if line.contains("Application startup complete") {
        return Some(LogFact::Listening);
    }
    for (mark, about, stage) in
        [("% Completed", "shards:", Stage::Weights), ("%|", "Capturing CUDA graph", Stage::WarmUp)]
    {
        if line.contains(about)
            && let Some((before, _)) = line.rsplit_once(mark)
        {
            return last_percent(&format!("{before}%")).map(|share| LogFact::StageProgress(stage, share));
        }
    }
    let stage = [
        ("Initializing a V1 LLM engine", Stage::Container),
        ("Starting to load model", Stage::Weights),
        ("Loading weights took", Stage::KvCache),
        ("Graph capturing finished", Stage::WarmUp),
        ("init engine (profile, create kv cache, warmup model) took", Stage::WarmUp),
        ("Starting vLLM server on ", Stage::WarmUp),
        ("Starting vLLM API server", Stage::WarmUp),
    ];
    stage.iter().find(|(text, _)| line.contains(text)).map(|(_, stage)| LogFact::Stage(*stage))
}

/// "Model loading took X GiB and Y seconds", or "X GiB memory and Y seconds".
fn weights(line: &str) -> Option<LogFact> {
    let rest = after(line, "Model loading took ")?;
    let seconds = after(rest, " and ").and_then(figure)?;
    Some(LogFact::WeightsLoaded { bytes: gib(rest)?, seconds, worker: worker(line) })
}

/// 12 of "(Worker_TP0 pid=12) INFO …".
fn worker(line: &str) -> Option<u32> {
    let prefix = line.trim_start().strip_prefix('(')?.split_once(')')?.0;
    after(prefix, "pid=")?.trim().parse().ok()
}

fn cache(line: &str) -> Vec<LogFact> {
    let mut facts = Vec::new();
    // The device's word before it may be any. One line holds both in newer versions, two lines in older ones.
    if let Some(tokens) = after(line, "KV cache size: ").filter(|rest| rest.contains(" tokens")) {
        facts.extend(whole(tokens).map(LogFact::KvTokens));
    }
    if let Some(rest) = after(line, "Maximum concurrency for ") {
        let times = after(rest, "per request: ").and_then(figure);
        facts.extend(
            whole(rest)
                .zip(times)
                .map(|(tokens_per_request, times)| LogFact::Concurrency { tokens_per_request, times }),
        );
    }
    let bytes = after(line, "Available KV cache memory: ")
        .or_else(|| after(line, "Current kv cache memory in use is "))
        .or_else(|| after(line, ", reserved ").filter(|rest| rest.contains("GiB memory for KV Cache")))
        .or_else(|| after(line, "Explicitly set (").filter(|rest| rest.contains("GiB for KV cache")));
    facts.extend(bytes.and_then(gib).map(LogFact::KvBytes));
    facts
}

/// "Free memory on device (F/T GiB) on startup. … A GiB for peak activation, …", also in the refusal to start, and
/// with the device's name before the bracket.
fn device(line: &str) -> Vec<LogFact> {
    let Some(rest) = after(line, "Free memory on device") else { return Vec::new() };
    let inside = after(rest, "(").and_then(|rest| rest.split_once(')')).map(|(inside, _)| inside);
    let parts = inside.filter(|inside| inside.contains("GiB")).and_then(|inside| inside.split_once('/'));
    let mut facts = Vec::new();
    if let Some((free, total)) = parts
        && let Some((free, total)) = gib(free).zip(gib(total))
    {
        facts.push(LogFact::Device { free, total });
    }
    let activation = rest
        .split_once(" GiB for peak activation")
        .and_then(|(before, _)| before.rsplit(' ').next())
        .and_then(gib);
    facts.extend(activation.map(|bytes| LogFact::Buffer { kind: BufferKind::Compute, device: true, bytes }));
    facts
}

/// What was asked for, or what it was shortened to.
fn context(line: &str) -> Option<LogFact> {
    let tokens = after(line, "Using max model len ")
        .or_else(|| after(line, "Auto-fit max_model_len: full model context length "))
        .or_else(|| after(after(line, "Auto-fit max_model_len: reduced from ")?, " to "))?;
    u32::try_from(whole(tokens)?).ok().map(LogFact::ContextChosen)
}

/// "Graph capturing finished in S secs, took G GiB".
fn graphs(line: &str) -> Option<LogFact> {
    let rest = after(line, "Graph capturing finished in ")?;
    Some(LogFact::GraphsTook { bytes: gib(after(rest, "took ")?)?, seconds: figure(rest)? })
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a log's figure, cut at zero")]
fn gib(text: &str) -> Option<u64> {
    // A claim that is not there at all is logged with a minus, which is no figure.
    figure(text).map(|amount| (amount.max(0.0) * (1_u64 << 30) as f64).round() as u64)
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a log's count, cut at zero")]
fn whole(text: &str) -> Option<u64> {
    figure(text).map(|n| n.max(0.0) as u64)
}
