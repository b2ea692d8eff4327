//! The text of `/metrics`, in the names of vLLM (0.11 to 0.33) and of llama.cpp.
//!
//! Series of several engines (data parallelism gives each its label) are added up, but for the KV cache's use, where
//! the fullest counts. A series that stands there twice counts once, with its last value. What is no finite number of
//! at least zero says nothing, and what is not known is passed over. Every byte is looked at once or twice.

use std::borrow::Cow;
use std::collections::HashMap;

/// The sum and the number of what a histogram has seen.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Sum {
    pub sum: f64,
    pub count: f64,
}

/// What vLLM says of its KV cache, of all its engines together.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct CacheConfig {
    pub blocks: Option<u64>,
    /// Tokens in a block.
    pub block_size: Option<u64>,
    /// Newer versions only.
    pub kv_size_tokens: Option<u64>,
    /// How many requests of the full context fit at once; newer versions only.
    pub max_concurrency: Option<f64>,
    /// Bytes of the cache, of one rank under tensor parallelism; newer versions only.
    pub kv_bytes: Option<u64>,
}

/// One reading. Counters are since the server's start.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Scrape {
    /// Requests at work.
    pub running: Option<f64>,
    /// Requests in the queue.
    pub waiting: Option<f64>,
    /// 0 to 1.
    pub kv_cache_used: Option<f64>,
    pub prompt_tokens: Option<f64>,
    pub generated_tokens: Option<f64>,
    /// How often a request had to give its place in the KV cache away.
    pub preemptions: Option<f64>,
    /// Tokens of prompts that were looked up in the prefix cache, and those found there.
    pub prefix_queries: Option<f64>,
    pub prefix_hits: Option<f64>,
    /// Seconds from a request's arrival to its first token; llama.cpp does not count them.
    pub ttft: Option<Sum>,
    pub cache: Option<CacheConfig>,
    /// When the server's process began, seconds since 1970, where it says so.
    pub started: Option<f64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Metric {
    Running,
    Waiting,
    KvUsed,
    /// The name of 0.11; counts only where the other is missing.
    OldKvUsed,
    PromptTokens,
    /// llama.cpp counts the tokens that it did not have to read apart from those it read.
    CachedTokens,
    GeneratedTokens,
    Preemptions,
    PrefixQueries,
    OldPrefixQueries,
    PrefixHits,
    OldPrefixHits,
    FirstTokenSum,
    FirstTokenCount,
    Cache,
    Started,
}

impl Metric {
    fn of(name: &str) -> Option<Self> {
        if name == "process_start_time_seconds" {
            return Some(Self::Started);
        }
        if let Some(name) = name.strip_prefix("llamacpp:") {
            return Some(match name {
                "requests_processing" => Self::Running,
                "requests_deferred" => Self::Waiting,
                "kv_cache_usage_ratio" => Self::KvUsed,
                "prompt_tokens_total" => Self::PromptTokens,
                "prompt_tokens_cached_total" => Self::CachedTokens,
                "tokens_predicted_total" => Self::GeneratedTokens,
                _ => return None,
            });
        }
        let name = name.strip_prefix("vllm:")?;
        // A client library of another age leaves the ending of counters out.
        Some(match name.strip_suffix("_total").unwrap_or(name) {
            "num_requests_running" => Self::Running,
            "num_requests_waiting" => Self::Waiting,
            "kv_cache_usage_perc" => Self::KvUsed,
            "gpu_cache_usage_perc" => Self::OldKvUsed,
            "prompt_tokens" => Self::PromptTokens,
            "generation_tokens" => Self::GeneratedTokens,
            "num_preemptions" => Self::Preemptions,
            "prefix_cache_queries" => Self::PrefixQueries,
            "gpu_prefix_cache_queries" => Self::OldPrefixQueries,
            "prefix_cache_hits" => Self::PrefixHits,
            "gpu_prefix_cache_hits" => Self::OldPrefixHits,
            "time_to_first_token_seconds_sum" => Self::FirstTokenSum,
            "time_to_first_token_seconds_count" => Self::FirstTokenCount,
            "cache_config_info" => Self::Cache,
            _ => return None,
        })
    }
}

/// Reads one answer of `/metrics`. Never fails: a text that is none gives a reading that says nothing.
pub fn read(text: &str) -> Scrape {
    let mut series: Vec<(Metric, &str, f64)> = Vec::new();
    let mut seen: HashMap<(Metric, &str), usize> = HashMap::new();
    for line in text.lines() {
        let Some((metric, labels, value)) = sample(line) else { continue };
        match seen.entry((metric, labels)) {
            std::collections::hash_map::Entry::Occupied(place) => {
                if let Some(known) = series.get_mut(*place.get()) {
                    known.2 = value;
                }
            }
            std::collections::hash_map::Entry::Vacant(place) => {
                place.insert(series.len());
                series.push((metric, labels, value));
            }
        }
    }
    let all = |wanted: Metric| series.iter().filter(move |(metric, ..)| *metric == wanted);
    let values = |wanted: Metric| all(wanted).map(|(.., value)| *value);
    let added = |wanted: Metric| values(wanted).reduce(|a, b| a + b).filter(|sum| sum.is_finite());
    let most = |wanted: Metric| values(wanted).reduce(f64::max);

    let (prompt, cached) = (added(Metric::PromptTokens), added(Metric::CachedTokens));
    let looked_up = cached.zip(prompt).map(|(cached, prompt)| cached + prompt);
    Scrape {
        running: added(Metric::Running),
        waiting: added(Metric::Waiting),
        kv_cache_used: most(Metric::KvUsed).or_else(|| most(Metric::OldKvUsed)).map(|share| share.min(1.0)),
        prompt_tokens: prompt,
        generated_tokens: added(Metric::GeneratedTokens),
        preemptions: added(Metric::Preemptions),
        prefix_queries: added(Metric::PrefixQueries)
            .or_else(|| added(Metric::OldPrefixQueries))
            .or(looked_up),
        prefix_hits: added(Metric::PrefixHits).or_else(|| added(Metric::OldPrefixHits)).or(cached),
        ttft: added(Metric::FirstTokenSum)
            .zip(added(Metric::FirstTokenCount))
            .map(|(sum, count)| Sum { sum, count }),
        cache: all(Metric::Cache).map(|(_, labels, _)| config(labels)).reduce(together),
        started: most(Metric::Started),
    }
}

/// A line's metric, its labels without the braces, and its value.
fn sample(line: &str) -> Option<(Metric, &str, f64)> {
    let line = line.trim();
    let end = line.find(|c: char| c == '{' || c.is_whitespace())?;
    let metric = Metric::of(line.get(..end)?)?;
    let rest = line.get(end..)?.trim_start();
    let (labels, rest) = match rest.strip_prefix('{') {
        Some(inside) => {
            let close = closing(inside)?;
            (inside.get(..close)?, inside.get(close + 1..)?)
        }
        None => ("", rest),
    };
    // A time, or an example, may follow the value.
    let value: f64 = rest.split_whitespace().next()?.parse().ok()?;
    (value.is_finite() && value >= 0.0).then_some((metric, labels, value))
}

/// Where the brace that ends the labels stands: the first outside quotation marks.
fn closing(labels: &str) -> Option<usize> {
    let (mut quoted, mut escaped) = (false, false);
    for (at, byte) in labels.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            b'}' if !quoted => return Some(at),
            _ => {}
        }
    }
    None
}

/// Names and values of labels, up to the first that is none.
struct Labels<'a>(&'a str);

impl<'a> Iterator for Labels<'a> {
    type Item = (&'a str, Cow<'a, str>);

    fn next(&mut self) -> Option<Self::Item> {
        let text = self.0.trim_start_matches([',', ' ', '\t']);
        let (name, rest) = text.split_once('=')?;
        let rest = rest.trim_start().strip_prefix('"')?;
        let mut escaped = false;
        let end = rest.bytes().position(|byte| {
            let ends = byte == b'"' && !escaped;
            escaped = byte == b'\\' && !escaped;
            ends
        })?;
        let value = rest.get(..end)?;
        self.0 = rest.get(end + 1..)?;
        let value = if value.contains('\\') { Cow::Owned(unescaped(value)) } else { Cow::Borrowed(value) };
        Some((name.trim(), value))
    }
}

fn unescaped(value: &str) -> String {
    let mut text = String::with_capacity(value.len());
    let mut letters = value.chars();
    while let Some(letter) = letters.next() {
        if letter != '\\' {
            text.push(letter);
            continue;
        }
        match letters.next() {
            Some('n') => text.push('\n'),
            Some(other) => text.push(other),
            None => text.push('\\'),
        }
    }
    text
}

fn config(labels: &str) -> CacheConfig {
    let mut config = CacheConfig::default();
    for (name, value) in Labels(labels) {
        match name {
            "num_gpu_blocks" => config.blocks = whole(&value),
            "block_size" => config.block_size = whole(&value),
            "kv_cache_size_tokens" => config.kv_size_tokens = whole(&value),
            "kv_cache_max_concurrency" => {
                config.max_concurrency = value.parse().ok().filter(|n: &f64| n.is_finite() && *n >= 0.0);
            }
            "kv_cache_memory_bytes" => config.kv_bytes = whole(&value),
            _ => {}
        }
    }
    config
}

/// "364", "364.0" or "4.6592e4"; "None" is nothing.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "bounded below and above")]
fn whole(text: &str) -> Option<u64> {
    let text = text.trim();
    text.parse::<u64>().ok().or_else(|| {
        let number: f64 = text.parse().ok()?;
        (0.0..9e15).contains(&number).then_some(number as u64)
    })
}

/// Two engines' caches as one.
fn together(a: CacheConfig, b: CacheConfig) -> CacheConfig {
    fn sum(a: Option<u64>, b: Option<u64>) -> Option<u64> {
        a.zip(b).map(|(a, b)| a.saturating_add(b)).or(a).or(b)
    }
    CacheConfig {
        blocks: sum(a.blocks, b.blocks),
        block_size: b.block_size.or(a.block_size),
        kv_size_tokens: sum(a.kv_size_tokens, b.kv_size_tokens),
        max_concurrency: a
            .max_concurrency
            .zip(b.max_concurrency)
            .map(|(a, b)| a + b)
            .or(a.max_concurrency)
            .or(b.max_concurrency),
        kv_bytes: sum(a.kv_bytes, b.kv_bytes),
    }
}
