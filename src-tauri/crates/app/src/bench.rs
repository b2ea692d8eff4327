//! How fast an agent answers: five short prompts, streamed, through Bifrost as anybody's requests go.
//!
//! It wakes nobody. Between two prompts it looks whether the agent is still awake, because a request to one that
//! sleeps would be a summons.

use std::time::Duration;

use api::shapes::tools::{BenchLine, BenchRequest};
use api::{ApiError, Code};
use futures_util::StreamExt;
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio::time::timeout;

use crate::carry::Ctx;
use crate::chat::{Meter, Piece, must_answer, read_chunk, refusal_text};
use crate::sse::SseReader;

/// Different from their first word on, so that no server answers one out of what it keeps of another.
const PROMPTS: [&str; 5] = [
    "Explain in one paragraph how a rainbow comes about.",
    "Write a function in Python that tells whether a number is prime.",
    "Name ten rivers of Europe, each with the sea it flows into.",
    "A farmer has 17 sheep and all but 9 run away. How many are left, and why?",
    "Tell a short story of a lighthouse keeper who finds a letter.",
];
const MAX_TOKENS: u32 = 128;
/// A server that says nothing for so long will say nothing more. The slowest that is of any use sends a token a second.
const SILENCE: Duration = Duration::from_mins(5);

/// One line for each prompt, then one with the medians.
///
/// # Errors
/// When the agent is unknown or asleep, or the gateway is not open. A prompt that fails is said in its line.
pub(crate) async fn bench(ctx: &Ctx, asked: &BenchRequest, out: mpsc::Sender<Value>) -> Result<(), ApiError> {
    must_answer(ctx, &asked.agent)?;
    let gateway = gateway(ctx)?;
    let mut lines = Vec::new();
    for (prompt, text) in (1..).zip(PROMPTS) {
        let answered = if let Err(asleep) = must_answer(ctx, &asked.agent) {
            Err(asleep.message)
        } else {
            tokio::select! {
                answered = ask(ctx, &gateway, &asked.agent, text) => answered,
                // Nobody reads on: the request is dropped, and with it its place at the agent.
                () = out.closed() => return Ok(()),
            }
        };
        let failed = answered.is_err();
        let line = line(&asked.agent, prompt, answered);
        lines.push(line.clone());
        if out.send(value(&line)?).await.is_err() || (failed && must_answer(ctx, &asked.agent).is_err()) {
            break;
        }
    }
    let _ = out.send(value(&close(&asked.agent, &lines))?).await;
    Ok(())
}

fn gateway(ctx: &Ctx) -> Result<String, ApiError> {
    let state = ctx.state.state();
    state.gateway.clone().ok_or_else(|| {
        let why = state.gateway_error.as_ref().map_or_else(String::new, |e| format!(" {}", e.message));
        ApiError::new(
            Code::Failed,
            format!("Bifrost is not open.{why}"),
            "Free its port, then start Asgard again.",
        )
    })
}

fn value(line: &BenchLine) -> Result<Value, ApiError> {
    serde_json::to_value(line)
        .map_err(|e| ApiError::new(Code::Failed, format!("A measurement could not be written: {e}."), ""))
}

/// What one answer measured.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Measured {
    first_token_seconds: f64,
    /// None for an answer of one token: there is no time between two.
    tokens_per_second: Option<f64>,
    tokens: u64,
}

async fn ask(ctx: &Ctx, gateway: &str, agent: &str, prompt: &str) -> Result<Measured, String> {
    let body = json!({
        "model": agent, "stream": true, "stream_options": {"include_usage": true},
        "max_tokens": MAX_TOKENS, "temperature": 0,
        "messages": [{"role": "user", "content": prompt}],
    });
    let request = ctx
        .world
        .http
        .post(format!("{gateway}/chat/completions"))
        .header("user-agent", "asgard-bench")
        .header("x-asgard-face", ctx.gate.face().reveal())
        .json(&body);
    let mut meter = Meter::begun();
    let silent = || format!("Nothing came for {} min.", SILENCE.as_secs() / 60);
    let answer = timeout(SILENCE, request.send())
        .await
        .map_err(|_| silent())?
        .map_err(|e| format!("Bifrost could not be reached ({}).", e.without_url()))?;
    if !answer.status().is_success() {
        let status = answer.status();
        let text = answer.text().await.unwrap_or_default();
        return Err(refusal_text(&text).unwrap_or_else(|| format!("The answer was {status}.")));
    }
    let mut reader = SseReader::default();
    let mut bytes = answer.bytes_stream();
    loop {
        let chunk = timeout(SILENCE, bytes.next()).await.map_err(|_| silent())?;
        let Some(Ok(chunk)) = chunk else { return Err("The answer broke off before its end.".to_owned()) };
        for data in reader.feed(&chunk) {
            if data == "[DONE]" {
                return measured(&meter);
            }
            match read_chunk(&data) {
                Piece::Failed(said) => return Err(said),
                Piece::Delta { text, thinking, usage } => {
                    meter.count(!text.is_empty() || !thinking.is_empty(), usage);
                }
            }
        }
    }
}

fn measured(meter: &Meter) -> Result<Measured, String> {
    let stats = meter.stats();
    let (Some(first_token_seconds), Some(tokens)) = (stats.first_token_seconds, stats.tokens) else {
        return Err("The answer was empty.".to_owned());
    };
    Ok(Measured {
        first_token_seconds,
        tokens_per_second: stats.tokens_per_second,
        tokens: u64::from(tokens),
    })
}

fn line(agent: &str, prompt: u32, answered: Result<Measured, String>) -> BenchLine {
    let (measured, error) = match answered {
        Ok(measured) => (Some(measured), None),
        Err(why) => (None, Some(why)),
    };
    BenchLine {
        agent: agent.to_owned(),
        prompt,
        of: of(),
        first_token_seconds: measured.map(|m| m.first_token_seconds),
        tokens_per_second: measured.and_then(|m| m.tokens_per_second),
        tokens: measured.map(|m| m.tokens),
        done: false,
        error,
    }
}

fn of() -> u32 {
    u32::try_from(PROMPTS.len()).unwrap_or(u32::MAX)
}

/// The last line: medians over the prompts that were answered, the sum of their tokens, and the first error.
fn close(agent: &str, lines: &[BenchLine]) -> BenchLine {
    let over = |of: fn(&BenchLine) -> Option<f64>| median(lines.iter().filter_map(of).collect());
    BenchLine {
        agent: agent.to_owned(),
        prompt: 0,
        of: of(),
        first_token_seconds: over(|l| l.first_token_seconds),
        tokens_per_second: over(|l| l.tokens_per_second),
        tokens: lines.iter().filter_map(|l| l.tokens).reduce(|a, b| a + b),
        done: true,
        error: lines.iter().find_map(|l| l.error.clone()),
    }
}

fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let (low, high) = (values.get(values.len().checked_sub(1)? / 2)?, values.get(values.len() / 2)?);
    Some(f64::midpoint(*low, *high))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_middle_or_between_the_two_middles() {
        for (values, wanted) in [
            (vec![], None),
            (vec![3.0], Some(3.0)),
            (vec![4.0, 1.0], Some(2.5)),
            (vec![9.0, 1.0, 2.0], Some(2.0)),
            (vec![9.0, 1.0, 2.0, 100.0], Some(5.5)),
        ] {
            assert_eq!(median(values.clone()), wanted, "{values:?}");
        }
    }

    #[test]
    fn a_prompt_that_failed_is_said_and_left_out_of_the_medians() {
        let good = |first, rate| {
            Ok(Measured { first_token_seconds: first, tokens_per_second: Some(rate), tokens: 10 })
        };
        let lines = [
            line("thor", 1, good(0.5, 40.0)),
            line("thor", 2, Err("It died.".to_owned())),
            line("thor", 3, good(0.3, 20.0)),
        ];
        let last = close("thor", &lines);
        assert_eq!((last.prompt, last.of, last.done), (0, 5, true));
        assert_eq!((last.first_token_seconds, last.tokens_per_second), (Some(0.4), Some(30.0)));
        assert_eq!((last.tokens, last.error.as_deref()), (Some(20), Some("It died.")));
        let none = close("thor", &lines[1..2]);
        assert_eq!((none.first_token_seconds, none.tokens), (None, None));
    }

    #[test]
    fn one_token_has_a_time_and_no_rate_and_no_token_is_no_answer() {
        let mut meter = Meter::begun();
        assert_eq!(measured(&meter), Err("The answer was empty.".to_owned()));
        // Some servers count what nobody was sent.
        meter.count(false, Some(7));
        assert!(measured(&meter).is_err());
        let mut meter = Meter::begun();
        meter.count(true, None);
        let one = measured(&meter).unwrap();
        assert_eq!((one.tokens, one.tokens_per_second), (1, None));
    }

    #[test]
    fn no_prompt_begins_like_another() {
        let beginnings: std::collections::BTreeSet<&str> =
            PROMPTS.iter().map(|p| p.split(' ').next().unwrap()).collect();
        assert_eq!(beginnings.len(), PROMPTS.len());
    }
}
