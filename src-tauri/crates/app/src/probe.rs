//! Asking an agent's server: is it healthy, does it answer, how busy is it.

use std::time::Duration;

use domain::secret::Secret;
use serde_json::{Value, json};

use crate::state::Figures;

const SHORT: Duration = Duration::from_secs(5);

/// Whether the health path says yes.
pub(crate) async fn healthy(http: &reqwest::Client, endpoint: &str, path: &str) -> bool {
    matches!(
        http.get(format!("{endpoint}{path}")).timeout(SHORT).send().await,
        Ok(answer) if answer.status().is_success()
    )
}

/// Why a first answer was not one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum NoAnswer {
    /// The connection broke: most likely the server died.
    Broke(String),
    /// It refused, in its own words.
    Refused(u16, String),
    Nothing,
    Garbage(String),
}

/// One generation of eight tokens. "Ready means that it answered."
pub(crate) async fn first_answer(
    http: &reqwest::Client,
    endpoint: &str,
    key: &Secret,
    model: &str,
    patience: Duration,
) -> Result<(), NoAnswer> {
    let body = json!({
        "model": model,
        "messages": [{"role": "user", "content": "Say hello."}],
        "max_tokens": 8,
        "temperature": 0,
        "stream": false,
    });
    let mut request = http.post(format!("{endpoint}/v1/chat/completions")).json(&body).timeout(patience);
    if !key.is_empty() {
        request = request.bearer_auth(key.reveal());
    }
    let answer = request.send().await.map_err(|e| NoAnswer::Broke(e.without_url().to_string()))?;
    let status = answer.status();
    let text = answer.text().await.map_err(|e| NoAnswer::Broke(e.without_url().to_string()))?;
    if !status.is_success() {
        return Err(NoAnswer::Refused(status.as_u16(), text.chars().take(300).collect()));
    }
    judge(&text)
}

fn judge(body: &str) -> Result<(), NoAnswer> {
    let Ok(value) = serde_json::from_str::<Value>(body) else {
        return Err(NoAnswer::Garbage(body.chars().take(60).collect()));
    };
    let message = &value["choices"][0]["message"];
    let said = ["content", "reasoning", "reasoning_content"]
        .iter()
        .filter_map(|k| message[*k].as_str())
        .collect::<String>();
    match sound(&said) {
        Soundness::Sound => Ok(()),
        Soundness::Empty => Err(NoAnswer::Nothing),
        Soundness::Garbage => Err(NoAnswer::Garbage(said.chars().take(60).collect())),
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Soundness {
    Sound,
    Empty,
    Garbage,
}

/// Whether a short answer looks like language. A model whose kernels are wrong repeats one character, or gives what
/// is no text at all.
fn sound(text: &str) -> Soundness {
    let text = text.trim();
    if text.is_empty() {
        return Soundness::Empty;
    }
    let strange = text.chars().filter(|c| *c == '\u{fffd}' || (c.is_control() && !c.is_whitespace())).count();
    let letters: Vec<char> = text.chars().filter(|c| !c.is_whitespace()).collect();
    let one_character = letters.len() >= 5 && letters.iter().all(|c| Some(c) == letters.first());
    let wordless = letters.len() >= 5 && !letters.iter().any(|c| c.is_alphanumeric());
    if one_character || wordless || strange * 3 > letters.len() {
        Soundness::Garbage
    } else {
        Soundness::Sound
    }
}

/// The figures in a server's metrics, either dialect. Unknown names are passed over.
pub(crate) async fn figures(http: &reqwest::Client, endpoint: &str, key: &Secret) -> Option<Metrics> {
    let mut request = http.get(format!("{endpoint}/metrics")).timeout(SHORT);
    if !key.is_empty() {
        request = request.bearer_auth(key.reveal());
    }
    let text = request.send().await.ok()?.error_for_status().ok()?.text().await.ok()?;
    Some(read_metrics(&text))
}

/// What two dialects have in common.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Metrics {
    pub(crate) running: Option<f64>,
    pub(crate) waiting: Option<f64>,
    pub(crate) kv_cache_used: Option<f64>,
    /// A counter: a rate needs two readings.
    pub(crate) generated: Option<f64>,
}

impl Metrics {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped")]
    pub(crate) fn figures(&self, tokens_per_second: Option<f64>) -> Figures {
        let count = |v: Option<f64>| v.map(|v| v.clamp(0.0, 1e6) as u32);
        Figures {
            running: count(self.running),
            waiting: count(self.waiting),
            kv_cache_used: self.kv_cache_used,
            tokens_per_second,
        }
    }
}

pub(crate) fn read_metrics(text: &str) -> Metrics {
    let mut metrics = Metrics::default();
    for line in text.lines().filter(|l| !l.starts_with('#')) {
        let Some((series, value)) = line.rsplit_once(' ') else { continue };
        let name = series.split('{').next().unwrap_or(series);
        let Ok(value) = value.parse::<f64>() else { continue };
        if !value.is_finite() {
            continue;
        }
        let field = match name {
            "vllm:num_requests_running" | "llamacpp:requests_processing" => &mut metrics.running,
            "vllm:num_requests_waiting" | "llamacpp:requests_deferred" => &mut metrics.waiting,
            "vllm:kv_cache_usage_perc" => &mut metrics.kv_cache_used,
            "vllm:generation_tokens_total" | "llamacpp:tokens_predicted_total" => &mut metrics.generated,
            _ => continue,
        };
        *field = Some(field.unwrap_or(0.0) + value);
    }
    metrics
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn language_is_told_from_garbage() {
        for (text, wanted) in [
            ("Hello there.", Soundness::Sound),
            ("42", Soundness::Sound),
            ("你好", Soundness::Sound),
            ("", Soundness::Empty),
            (" \n ", Soundness::Empty),
            ("!!!!!!!!", Soundness::Garbage),
            ("! ! ! ! ! !", Soundness::Garbage),
            ("\u{fffd}\u{fffd}\u{fffd}a", Soundness::Garbage),
            ("#$%^&*(", Soundness::Garbage),
            ("aaaaaaaa", Soundness::Garbage),
        ] {
            assert_eq!(sound(text), wanted, "{text:?}");
        }
    }

    #[test]
    fn both_dialects_are_read() {
        let vllm = "# HELP x\nvllm:num_requests_running{engine=\"0\"} 2.0\nvllm:num_requests_waiting{a=\"b\"} 1.0\n\
                    vllm:kv_cache_usage_perc{engine=\"0\"} 0.25\nvllm:generation_tokens_total{engine=\"0\"} 640.0\n";
        let read = read_metrics(vllm);
        assert_eq!(
            (read.running, read.waiting, read.kv_cache_used, read.generated),
            (Some(2.0), Some(1.0), Some(0.25), Some(640.0))
        );
        let llama = "llamacpp:requests_processing 1\nllamacpp:requests_deferred 0\nllamacpp:tokens_predicted_total 9\n";
        let read = read_metrics(llama);
        assert_eq!(
            (read.running, read.waiting, read.kv_cache_used, read.generated),
            (Some(1.0), Some(0.0), None, Some(9.0))
        );
        assert_eq!(read_metrics("nonsense\nx NaN\nvllm:num_requests_running nan"), Metrics::default());
    }
}
