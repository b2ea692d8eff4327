//! What a server counts. How it is shown is in the dialects' own files.

use std::fmt::Write as _;
use std::time::Duration;

pub(crate) const TIME_TO_FIRST: &[f64] = &[
    0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0, 20.0, 40.0,
    80.0, 160.0, 640.0, 2560.0,
];
pub(crate) const BETWEEN_TOKENS: &[f64] = &[
    0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0, 20.0, 40.0, 80.0,
];
pub(crate) const WHOLE_REQUEST: &[f64] = &[
    0.3, 0.5, 0.8, 1.0, 1.5, 2.0, 2.5, 5.0, 10.0, 15.0, 20.0, 30.0, 40.0, 50.0, 60.0, 120.0, 240.0, 480.0,
    960.0, 1920.0, 7680.0,
];
pub(crate) const TOKEN_COUNTS: &[f64] = &[
    1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1000.0, 2000.0, 5000.0, 10_000.0, 20_000.0,
    50_000.0,
];

/// A cumulative histogram, as Prometheus wants it.
#[derive(Debug, Clone)]
pub(crate) struct Histogram {
    bounds: &'static [f64],
    counts: Vec<u64>,
    sum: f64,
    count: u64,
}

impl Histogram {
    fn new(bounds: &'static [f64]) -> Self {
        Self { bounds, counts: vec![0; bounds.len()], sum: 0.0, count: 0 }
    }

    pub(crate) fn observe(&mut self, value: f64) {
        for (count, bound) in self.counts.iter_mut().zip(self.bounds) {
            *count += u64::from(value <= *bound);
        }
        self.sum += value;
        self.count += 1;
    }

    /// Appends the exposition, `labels` without braces.
    pub(crate) fn show(&self, out: &mut String, name: &str, engine: &str, labels: &str) {
        let _ = writeln!(out, "# TYPE {name} histogram");
        for (count, bound) in self.counts.iter().zip(self.bounds) {
            let _ = writeln!(out, "{name}_bucket{{{engine},le=\"{bound:?}\",{labels}}} {count}.0");
        }
        let _ = writeln!(out, "{name}_bucket{{{engine},le=\"+Inf\",{labels}}} {}.0", self.count);
        let _ = writeln!(out, "{name}_count{{{engine},{labels}}} {}.0", self.count);
        let _ = writeln!(out, "{name}_sum{{{engine},{labels}}} {:?}", self.sum);
    }
}

/// How a request ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Finish {
    Stop,
    Length,
    ToolCalls,
}

impl Finish {
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Stop => "stop",
            Self::Length => "length",
            Self::ToolCalls => "tool_calls",
        }
    }
}

#[derive(Debug, Clone)]
pub(crate) struct Stats {
    pub(crate) prompt_tokens: u64,
    pub(crate) prompt_time: Duration,
    pub(crate) generation_tokens: u64,
    pub(crate) generation_time: Duration,
    pub(crate) stopped: u64,
    pub(crate) cut: u64,
    pub(crate) aborted: u64,
    pub(crate) failed: u64,
    pub(crate) longest: u64,
    /// Requests that were put back because the KV cache was full.
    pub(crate) preempted: u64,
    pub(crate) first_token: Histogram,
    pub(crate) between_tokens: Histogram,
    pub(crate) per_output_token: Histogram,
    pub(crate) whole: Histogram,
    pub(crate) queued: Histogram,
    pub(crate) prefill: Histogram,
    pub(crate) decode: Histogram,
    pub(crate) inference: Histogram,
    pub(crate) prompt_sizes: Histogram,
    pub(crate) generation_sizes: Histogram,
    pub(crate) iteration_tokens: Histogram,
    pub(crate) max_tokens: Histogram,
}

impl Default for Stats {
    fn default() -> Self {
        let new = Histogram::new;
        Self {
            prompt_tokens: 0,
            prompt_time: Duration::ZERO,
            generation_tokens: 0,
            generation_time: Duration::ZERO,
            stopped: 0,
            cut: 0,
            aborted: 0,
            failed: 0,
            longest: 0,
            preempted: 0,
            first_token: new(TIME_TO_FIRST),
            between_tokens: new(BETWEEN_TOKENS),
            per_output_token: new(BETWEEN_TOKENS),
            whole: new(WHOLE_REQUEST),
            queued: new(WHOLE_REQUEST),
            prefill: new(WHOLE_REQUEST),
            decode: new(WHOLE_REQUEST),
            inference: new(WHOLE_REQUEST),
            prompt_sizes: new(TOKEN_COUNTS),
            generation_sizes: new(TOKEN_COUNTS),
            iteration_tokens: new(TOKEN_COUNTS),
            max_tokens: new(TOKEN_COUNTS),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_histogram_is_cumulative() {
        let mut histogram = Histogram::new(&[0.5, 1.0, 2.0]);
        for value in [0.4, 0.9, 1.5, 9.0] {
            histogram.observe(value);
        }
        let mut out = String::new();
        histogram.show(&mut out, "x", "engine=\"0\"", "model_name=\"m\"");
        let counts: Vec<&str> =
            out.lines().filter(|l| l.contains("_bucket")).filter_map(|l| l.split(' ').next_back()).collect();
        assert_eq!(counts, ["1.0", "2.0", "3.0", "4.0"]);
        assert!(out.contains("x_sum{engine=\"0\",model_name=\"m\"} 11.8"), "{out}");
    }
}
