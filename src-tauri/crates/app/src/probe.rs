//! Asking an agent's server: is it healthy, does it answer, how busy is it.

use std::time::Duration;

use domain::secret::Secret;
use engine::metrics::{self, Scrape, Slots};
use serde_json::{Value, json};

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

/// How long one reading may take: the next is due soon.
const READING: Duration = Duration::from_secs(2);
/// A server's figures have some hundred kilobytes at most.
const LARGEST_READING: usize = 10 << 20;

/// What a server says of itself in `/metrics`, either dialect; of llama.cpp its slots too.
pub(crate) async fn scrape(
    http: &reqwest::Client,
    endpoint: &str,
    key: &Secret,
    with_slots: bool,
) -> Option<(Scrape, Option<Slots>)> {
    let text = get(http, &format!("{endpoint}/metrics"), key).await?;
    let slots = if with_slots { get(http, &format!("{endpoint}/slots"), key).await } else { None };
    Some((metrics::read(&String::from_utf8_lossy(&text)), slots.and_then(|json| metrics::read_slots(&json))))
}

/// The body of an answer, if it is one and not too large.
async fn get(http: &reqwest::Client, url: &str, key: &Secret) -> Option<Vec<u8>> {
    let mut request = http.get(url).timeout(READING);
    if !key.is_empty() {
        request = request.bearer_auth(key.reveal());
    }
    let mut answer = request.send().await.ok()?.error_for_status().ok()?;
    let mut body = Vec::new();
    while let Some(chunk) = answer.chunk().await.ok()? {
        if body.len() + chunk.len() > LARGEST_READING {
            return None;
        }
        body.extend_from_slice(&chunk);
    }
    Some(body)
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
}
