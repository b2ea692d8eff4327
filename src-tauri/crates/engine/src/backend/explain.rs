//! Why a server is started with what it is started with: a sentence for each flag that Asgard sets, made where the
//! flag is made, so that the two cannot part.

use domain::Bytes;
use domain::memory::Unit;
use domain::stack::{Agent, BackendKind, ClaimBasis};

use super::{Host, Order};

/// A flag that Asgard sets, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Explained {
    pub flag: String,
    /// None for a flag that has none.
    pub value: Option<String>,
    /// Plain words, with the numbers.
    pub why: String,
}

/// Each flag that Asgard sets for this order, in the order of the command line. Nothing for an agent that cannot be
/// launched as it stands; why not is said by [`super::Backend::launch`].
pub fn explain(order: &Order<'_>) -> Vec<Explained> {
    let line = match order.agent.backend {
        BackendKind::Vllm => super::vllm::line(order),
        BackendKind::LlamaCpp => super::llama_cpp::line(order).map(|(line, _)| line),
        BackendKind::External | BackendKind::Ollama => return Vec::new(),
    };
    line.map(|line| line.explained).unwrap_or_default()
}

/// A command line while it is made.
#[derive(Debug, Default)]
pub(super) struct Line {
    pub(super) words: Vec<String>,
    pub(super) explained: Vec<Explained>,
}

impl Line {
    pub(super) fn of(words: &[&str]) -> Self {
        Self { words: words.iter().map(|w| (*w).to_owned()).collect(), explained: Vec::new() }
    }

    pub(super) fn set(&mut self, flag: &str, value: impl Into<String>, why: impl Into<String>) {
        let value = value.into();
        self.words.extend([flag.to_owned(), value.clone()]);
        self.explained.push(Explained { flag: flag.to_owned(), value: Some(value), why: why.into() });
    }

    pub(super) fn switch(&mut self, flag: &str, why: impl Into<String>) {
        self.words.push(flag.to_owned());
        self.explained.push(Explained { flag: flag.to_owned(), value: None, why: why.into() });
    }
}

/// The unit that this machine is spoken of in.
pub(super) fn unit(host: &Host) -> Unit {
    if host.capacity == 0 { Unit::Gb } else { Unit::for_capacity(Bytes(host.capacity)) }
}

/// "12.0 GB of KV cache: two contexts of 32K at 192 KB a token."
pub(super) fn cache(agent: &Agent, kv: Bytes, unit: Unit) -> String {
    let what = format!("{} of KV cache", kv.show(unit));
    let Some(per_token) = agent.kv_bytes_per_token.filter(|p| *p > 0) else { return what };
    let one = u64::from(agent.context).saturating_mul(per_token);
    let per = per_token_words(per_token);
    let context = tokens(agent.context);
    match kv.0.checked_div(one) {
        None | Some(0) => format!("{what}: less than one context of {context} at {per}"),
        Some(1) => format!("{what}: one context of {context} at {per}"),
        Some(n) => format!("{what}: {} contexts of {context} at {per}", count(n)),
    }
}

fn per_token_words(bytes: u64) -> String {
    if bytes >= 1024 && bytes.is_multiple_of(1024) {
        format!("{} KB a token", bytes / 1024)
    } else {
        format!("{bytes} bytes a token")
    }
}

/// "32K"; what is no multiple of 1024 as it is.
pub(super) fn tokens(n: u32) -> String {
    if n >= 1024 && n.is_multiple_of(1024) { format!("{}K", n / 1024) } else { n.to_string() }
}

pub(super) fn count(n: u64) -> String {
    const WORDS: [&str; 13] = [
        "no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven",
        "twelve",
    ];
    usize::try_from(n).ok().and_then(|n| WORDS.get(n)).map_or_else(|| n.to_string(), |w| (*w).to_owned())
}

/// What the claim is, and what the KV cache is of it.
pub(super) fn split(agent: &Agent, host: &Host) -> String {
    let unit = unit(host);
    let claim = agent.claim_in(Bytes(host.capacity));
    match (agent.claim, agent.known_parts) {
        (ClaimBasis::Memory(_) | ClaimBasis::Share(_), Some(parts)) => format!(
            "what {} leave after {} of weights and {} for the server itself",
            claim.show(unit),
            parts.weights.show(unit),
            parts.overhead.show(unit)
        ),
        _ => "as kv_cache says".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_said_as_people_say_them() {
        assert_eq!(tokens(32_768), "32K");
        assert_eq!(tokens(1000), "1000");
        assert_eq!((count(2).as_str(), count(13).as_str()), ("two", "13"));
        assert_eq!(per_token_words(196_608), "192 KB a token");
        assert_eq!(per_token_words(192), "192 bytes a token");
    }
}
