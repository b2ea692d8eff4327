//! Loading, as a list of what happens when: what is held from then on, and what the log says.

use std::io;
use std::time::Duration;

use domain::memory::GIB;
use tokio::time::Instant;

use crate::args::Command;
use crate::holding::Holding;
use crate::log::{Line, Log};
use crate::settings::Settings;

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Step {
    /// When, as a share of the loading time.
    pub(crate) at: f64,
    /// Bytes held from here on; `None` leaves them as they are.
    pub(crate) hold: Option<u64>,
    pub(crate) lines: Vec<Line>,
}

/// Carries out the steps up to the share `until` of the loading time, each when its time has come, and returns at
/// that time.
pub(crate) async fn play(
    steps: &[Step],
    load: Duration,
    until: f64,
    holding: &Holding,
    log: &Log,
) -> io::Result<()> {
    let start = Instant::now();
    for step in steps.iter().filter(|step| step.at <= until) {
        tokio::time::sleep_until(start + load.mul_f64(step.at)).await;
        if let Some(bytes) = step.hold {
            holding.grow_to(bytes)?;
        }
        log.print_all(&step.lines);
    }
    tokio::time::sleep_until(start + load.mul_f64(until)).await;
    Ok(())
}

/// What is held as weights, and what as KV cache.
pub(crate) fn parts(command: &Command, settings: &Settings) -> (u64, u64) {
    // A cache that would not fit what is to be held is no part of it.
    let kv = command.kv_bytes.filter(|kv| *kv < settings.hold).unwrap_or(settings.hold / 3);
    (settings.hold - kv, kv)
}

/// KiB for a token, of the models in the shipped stack; for another model a figure between them.
fn kib_per_token(model: &str) -> u64 {
    let model = model.to_lowercase();
    [("14b", 192), ("30b-a3b", 96), ("70b", 320), ("3b-", 36), ("7b", 56)]
        .iter()
        .find(|(part, _)| model.contains(part))
        .map_or(128, |(_, kib)| *kib)
}

/// Tokens that the KV cache takes. Where less than a gigabyte is held the machine is played a thousand times
/// smaller, and so is a token. Never below one full context: a real server would not have started.
pub(crate) fn kv_tokens(command: &Command, settings: &Settings) -> u64 {
    let per_token = kib_per_token(&command.model) * if settings.hold < GIB { 1 } else { 1024 };
    let (_, kv) = parts(command, settings);
    let blocks = (kv / per_token / 16).max(command.context.div_ceil(16));
    blocks * 16
}

pub(crate) fn gib(bytes: u64) -> f64 {
    bytes as f64 / GIB as f64
}

/// With separators: `46,592`.
pub(crate) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_separators() {
        assert_eq!(
            ["0", "999", "1,000", "46,592", "1,234,567"],
            [0, 999, 1000, 46_592, 1_234_567].map(grouped).each_ref().map(String::as_str)
        );
    }
}
