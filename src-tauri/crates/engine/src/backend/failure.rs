//! Why a model server ended, in plain words.
//!
//! A failing server prints its cause once and then pages of consequences, so the log is read from its end upwards,
//! and general words ("Engine core initialization failed") are never taken for the cause.

mod rules;
mod suggest;

use super::scan::{after, figure};
use rules::RULES;
use suggest::Present;

/// A failure for a person.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Explanation {
    /// What kind it is; stable, for tests and for a client that reacts.
    pub id: &'static str,
    /// What happened, one sentence.
    pub message: String,
    /// What to do, one sentence.
    pub next: String,
    /// It ended because memory was short, not because something is broken.
    pub of_memory: bool,
    /// A change of the agent's entry in the stack file that is likely to help.
    pub suggestion: Option<Suggestion>,
}

/// One key of the agent's entry in the stack file, and what to write there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Suggestion {
    /// "context".
    pub key: String,
    /// As the stack file takes it: a number, or a text such as "6.5 GB".
    pub value: serde_json::Value,
    /// What the change is, one sentence.
    pub words: String,
}

/// Why the server ended that wrote these lines, oldest first, with this exit code where it is known
/// (128 + signal for one that a signal ended).
pub fn explain(lines: &[String], exit: Option<i64>) -> Explanation {
    explain_ended(lines, exit, false)
}

/// As [`explain`], for an engine that also tells whether the kernel's memory killer ended it.
pub fn explain_ended(lines: &[String], exit: Option<i64>, oom: bool) -> Explanation {
    explain_with(lines, exit, oom, &Present::default())
}

/// As [`explain`], with what the agent has now, so that something smaller can be suggested: the context of a request
/// in tokens, and the bytes of its KV cache where the stack file says them.
pub fn explain_for(
    lines: &[String],
    exit: Option<i64>,
    context: Option<u32>,
    kv_cache: Option<u64>,
) -> Explanation {
    explain_with(lines, exit, false, &Present { context, kv_cache })
}

/// As [`explain_for`], for an engine that also tells whether the kernel's memory killer ended it.
pub fn explain_ended_for(
    lines: &[String],
    exit: Option<i64>,
    oom: bool,
    context: Option<u32>,
    kv_cache: Option<u64>,
) -> Explanation {
    explain_with(lines, exit, oom, &Present { context, kv_cache })
}

fn explain_with(lines: &[String], exit: Option<i64>, oom: bool, present: &Present) -> Explanation {
    if oom {
        return suggest::with(killed_for_memory(KERNEL), &end_of(lines), present);
    }
    for (at, line) in lines.iter().enumerate().rev() {
        if WARNINGS.iter().any(|warning| line.contains(warning)) {
            continue;
        }
        for rule in RULES {
            if rule.marks.iter().any(|mark| line.contains(mark)) {
                let place = Place { lines, at, line };
                return suggest::with((rule.say)(&place, rule.id), &place, present);
            }
        }
    }
    match exit {
        Some(137) => suggest::with(killed_for_memory(SOMEBODY), &end_of(lines), present),
        Some(139 | 134 | 135 | 136 | 132) => said(
            "crashed",
            format!("The server crashed with signal {}.", exit.unwrap_or_default() - 128),
            "Read the end of its log; another image or attention backend often helps.",
        ),
        _ => unknown(lines, exit),
    }
}

fn end_of(lines: &[String]) -> Place<'_> {
    Place { lines, at: lines.len().saturating_sub(1), line: lines.last().map_or("", String::as_str) }
}

/// Where a mark was found, and the log around it.
struct Place<'a> {
    lines: &'a [String],
    at: usize,
    line: &'a str,
}

impl Place<'_> {
    fn number(&self, marker: &str) -> Option<f64> {
        after(self.line, marker).and_then(figure)
    }

    /// What stands between two marks of the line.
    fn between(&self, from: &str, to: &str) -> Option<String> {
        let rest = after(self.line, from)?;
        rest.split_once(to).map(|(text, _)| text.trim().to_owned()).filter(|text| !text.is_empty())
    }

    /// The nearest line at or above this one that contains `mark`.
    fn above(&self, mark: &str) -> Option<&str> {
        self.lines.get(..=self.at)?.iter().rev().find(|l| l.contains(mark)).map(String::as_str)
    }

    /// The nearest line at this one or the few above it that contains `mark`.
    fn just_above(&self, mark: &str) -> Option<&str> {
        let lines = self.lines.get(self.at.saturating_sub(12)..=self.at)?;
        lines.iter().rev().find(|l| l.contains(mark)).map(String::as_str)
    }

    /// What stands between two marks on the lines close to this one.
    fn nearby(&self, from: &str, to: &str) -> Option<String> {
        let start = self.at.saturating_sub(12);
        self.lines.iter().skip(start).take(24).find_map(|line| {
            let rest = after(line, from)?;
            let end = rest.find(|c: char| to.contains(c)).unwrap_or(rest.len());
            rest.get(..end).map(|t| t.trim_end_matches('.').to_owned())
        })
    }
}

/// Lines that contain an error's words and are none.
const WARNINGS: &[&str] = &[
    "Found ulimit of",
    "retrying 1 of",
    "retrying 2 of",
    "Error retrieving safetensors",
    // Said where it goes on with ordinary memory.
    "of pinned memory",
];

/// What says nothing about the cause.
const GENERAL: &[&str] = &[
    "Engine core initialization failed",
    "EngineCore failed to start",
    "EngineCore encountered a",
    "EngineDeadError",
    "died unexpectedly",
    "See root cause above",
    "See stack trace (above)",
    "exiting due to model loading error",
    "exiting due to HTTP server error",
    "AsyncLLM output_handler failed",
    "resource_tracker",
    "warnings.warn(",
    "cleaning up before exit",
    "Traceback (most recent call last)",
    "[shutdown]",
];

fn said(id: &'static str, message: impl Into<String>, next: impl Into<String>) -> Explanation {
    Explanation { id, message: message.into(), next: next.into(), of_memory: false, suggestion: None }
}

const KERNEL: &str = "The kernel killed the server because memory ran out.";
/// The exit code alone does not tell who it was.
const SOMEBODY: &str =
    "The server was killed from outside, most likely by the kernel because memory ran out.";

fn killed_for_memory(by: &str) -> Explanation {
    said("killed", by, "Stop another program or agent, or lower the agent's `kv_cache`, then start it again.")
}

/// No known text: the last words that mean something.
fn unknown(lines: &[String], exit: Option<i64>) -> Explanation {
    let telling = |line: &&String| {
        let text = bare(line);
        !text.is_empty() && !text.starts_with('#') && !GENERAL.iter().any(|general| text.contains(general))
    };
    let error = lines.iter().rev().filter(telling).find(|line| is_error(line));
    let with_code = exit.map_or_else(String::new, |code| format!(" with exit code {code}"));
    match error.or_else(|| lines.iter().rev().find(telling)) {
        Some(line) => {
            let mut words: String = bare(line).chars().take(300).collect();
            if words.len() < bare(line).len() {
                words.push('…');
            }
            said(
                "unknown",
                format!("The server ended{with_code}; its last words: {words}"),
                "Read the end of its log.",
            )
        }
        None => said(
            "silent",
            format!("The server ended{with_code} without a word."),
            "Start it again; if it ends again, check that the image and the model are whole.",
        ),
    }
}

/// "SomeError: …" of Python, or a line of llama.cpp at level E.
fn is_error(line: &str) -> bool {
    let text = bare(line);
    let first = text.split(':').next().unwrap_or_default();
    let exception = !first.contains(' ') && (first.ends_with("Error") || first.ends_with("Exception"));
    exception || text.starts_with("error:") || line.split_whitespace().nth(1) == Some("E")
}

/// The line without vLLM's or llama.cpp's prefix.
fn bare(line: &str) -> &str {
    let text = line.trim();
    let text = text
        .strip_prefix('(')
        .filter(|rest| rest.contains(" pid="))
        .and_then(|rest| rest.split_once(") "))
        .map_or(text, |(_, rest)| rest);
    let level = ["INFO ", "WARNING ", "ERROR ", "DEBUG "].iter().any(|l| text.starts_with(l));
    let text = if level { text.split_once("] ").map_or(text, |(_, rest)| rest) } else { text };
    let mut words = text.splitn(3, ' ');
    match (words.next(), words.next(), words.next()) {
        (Some(time), Some("I" | "W" | "E" | "D"), Some(rest)) if time.matches('.').count() == 3 => {
            rest.trim()
        }
        _ => text.trim(),
    }
}
