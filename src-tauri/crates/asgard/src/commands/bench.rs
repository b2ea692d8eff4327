//! `asgard bench`: five short prompts to each agent, and the medians. It starts nobody unless that is asked for.

use api::client::Client;
use api::shapes::plans::Outcome;
use api::shapes::status::Status;
use api::shapes::tools::BenchLine;
use api::{ApiError, Code};
use domain::agent::AgentState;
use serde::Serialize;
use serde_json::json;
use tokio::signal::unix::Signal;

use crate::Answer;
use crate::args::BenchArgs;
use crate::reach;
use crate::screen::Screen;
use crate::words::{duration, list, proper, table};

/// What `--json` prints.
#[derive(Debug, Serialize)]
struct Document<'a> {
    agents: &'a [Measured],
    target: Option<f64>,
    /// Null without a target.
    met: Option<bool>,
}

/// One agent's five prompts, and their medians.
#[derive(Debug, Serialize)]
struct Measured {
    agent: String,
    first_token_seconds: Option<f64>,
    tokens_per_second: Option<f64>,
    error: Option<String>,
    prompts: Vec<BenchLine>,
}

pub(super) async fn run(screen: Screen, ask: BenchArgs) -> Result<Answer, ApiError> {
    let client = if ask.start { reach::running_or_started(screen).await? } else { reach::running().await? };
    let names = ask.names();
    let before = status(&client).await?;
    let asleep = sleepers(&names, &before)?;
    if !ask.start && !asleep.is_empty() {
        return Err(all_awake(&names, &asleep));
    }
    let mut interrupts = super::interrupts()?;
    let mut agents = Vec::new();
    for agent in &names {
        if ask.start {
            wake(screen, &client, agent, &mut interrupts).await?;
        }
        agents.push(measure(screen, &client, agent, &mut interrupts).await?);
    }
    screen.document(&Document {
        agents: &agents,
        target: ask.target,
        met: ask.target.map(|t| met(&agents, t)),
    });
    screen.piece(&summary(&agents, ask.compare.is_some()));
    if let Some(profile) = before.profile.filter(|_| !asleep.is_empty()) {
        screen.aside(&format!("Back to what ran before with: asgard switch {profile}"));
    }
    Ok(verdict(screen, &agents, ask.target))
}

async fn status(client: &Client) -> Result<Status, ApiError> {
    super::read(&client.call_value("status", json!({})).await?)
}

/// Those of the named agents that are not awake, each with the word for what it is.
///
/// # Errors
/// When one of them is not in the stack.
fn sleepers(names: &[String], status: &Status) -> Result<Vec<(String, &'static str)>, ApiError> {
    let mut asleep = Vec::new();
    for name in names {
        let found = status.agents.iter().find(|a| a.name == *name).ok_or_else(|| {
            ApiError::new(
                Code::Unknown,
                format!("There is no agent {name:?} in the stack."),
                "See the agents with: asgard status",
            )
        })?;
        if !matches!(found.state, AgentState::Ready | AgentState::Busy) {
            asleep.push((name.clone(), found.state.word()));
        }
    }
    Ok(asleep)
}

fn all_awake(names: &[String], asleep: &[(String, &'static str)]) -> ApiError {
    let said: Vec<String> = asleep.iter().map(|(name, word)| format!("{} is {word}", proper(name))).collect();
    let first = asleep.first().map(|(name, _)| name.as_str()).unwrap_or_default();
    let way = if names.len() == 1 {
        format!("Start it with: asgard start {first} (or measure with --start, which starts it)")
    } else {
        "Measure with --start, which starts each in its turn; what does not fit beside it sleeps meanwhile."
            .to_owned()
    };
    ApiError::new(Code::Asleep, format!("{}.", list(&said)), way)
}

/// Starts an agent that is not awake. Ctrl-C cancels the start.
async fn wake(screen: Screen, client: &Client, agent: &str, interrupts: &mut Signal) -> Result<(), ApiError> {
    if sleepers(&[agent.to_owned()], &status(client).await?)?.is_empty() {
        return Ok(());
    }
    screen.aside(&format!("Starting {}.", proper(agent)));
    let started = client.call_value("start", json!({ "agent": agent }));
    let outcome = tokio::select! {
        outcome = started => outcome?,
        _ = interrupts.recv() => {
            client.call_value("cancel", json!({})).await?;
            return Err(stopped("The start was cancelled; what ran before is put back."));
        }
    };
    let outcome: Outcome = super::read(&outcome)?;
    screen.aside(&format!("{} It took {}.", outcome.message, duration(outcome.seconds)));
    Ok(())
}

fn stopped(what: &str) -> ApiError {
    ApiError::new(Code::Cancelled, what, "Measure again when there is time.")
}

/// Shows each prompt's line as it comes. Ctrl-C hangs up, which ends the answer under way.
async fn measure(
    screen: Screen,
    client: &Client,
    agent: &str,
    interrupts: &mut Signal,
) -> Result<Measured, ApiError> {
    let mut lines = client.open("bench", json!({ "agent": agent }))?;
    let mut prompts: Vec<BenchLine> = Vec::new();
    loop {
        if screen.terminal {
            screen.piece(&format!("\r\x1b[K{}: prompt {}", proper(agent), prompts.len() + 1));
        }
        let line = tokio::select! {
            line = lines.next() => line?,
            _ = interrupts.recv() => {
                clear(screen);
                return Err(stopped("The measurement was stopped."));
            }
        };
        clear(screen);
        let Some(line) = line else {
            return Err(ApiError::new(
                Code::Failed,
                format!("The measurement of {} ended before its last line.", proper(agent)),
                "Measure it again.",
            ));
        };
        let line: BenchLine = super::read(&line)?;
        if line.done {
            return Ok(Measured {
                agent: line.agent,
                first_token_seconds: line.first_token_seconds,
                tokens_per_second: line.tokens_per_second,
                error: line.error,
                prompts,
            });
        }
        screen.say(&prompt_line(&line));
        prompts.push(line);
    }
}

/// The line that was drawn makes room for what follows.
fn clear(screen: Screen) {
    if screen.terminal {
        screen.piece("\r\x1b[K");
    }
}

/// "thor 2 of 5: first token 0.12 s, 41.3 tok/s, 128 tokens".
fn prompt_line(line: &BenchLine) -> String {
    let what = match &line.error {
        Some(why) => why.clone(),
        None => [
            line.first_token_seconds.map(|s| format!("first token {}", seconds(s))),
            line.tokens_per_second.map(rate),
            line.tokens.map(|n| if n == 1 { "1 token".to_owned() } else { format!("{n} tokens") }),
        ]
        .into_iter()
        .flatten()
        .collect::<Vec<_>>()
        .join(", "),
    };
    format!("{} {} of {}: {what}", line.agent, line.prompt, line.of)
}

fn seconds(s: f64) -> String {
    if s < 10.0 { format!("{s:.2} s") } else { format!("{s:.1} s") }
}

fn rate(r: f64) -> String {
    format!("{r:.1} tok/s")
}

/// The medians: a row for each agent, or two agents as columns beside one another.
fn summary(agents: &[Measured], beside: bool) -> String {
    let cell = |value: Option<String>| value.unwrap_or_else(|| "none".to_owned());
    let first = |a: &Measured| cell(a.first_token_seconds.map(seconds));
    let speed = |a: &Measured| cell(a.tokens_per_second.map(rate));
    let rows: Vec<Vec<String>> = if beside {
        let row = |title: &str, of: &dyn Fn(&Measured) -> String| {
            std::iter::once(title.to_owned()).chain(agents.iter().map(of)).collect()
        };
        vec![row("MEDIAN", &|a| a.agent.to_uppercase()), row("first token", &first), row("speed", &speed)]
    } else {
        let head = ["MEDIAN", "FIRST TOKEN", "SPEED"].map(str::to_owned).to_vec();
        let row = |a: &Measured| vec![a.agent.clone(), first(a), speed(a)];
        std::iter::once(head).chain(agents.iter().map(row)).collect()
    };
    let columns: Vec<usize> = (1..rows.first().map_or(0, Vec::len)).collect();
    format!("\n{}", table(&rows, &columns))
}

fn too_slow(agent: &Measured, target: f64) -> bool {
    agent.tokens_per_second.is_none_or(|rate| rate < target)
}

fn met(agents: &[Measured], target: f64) -> bool {
    !agents.iter().any(|a| too_slow(a, target))
}

/// Says what was missed: a prompt without an answer, or the target.
fn verdict(screen: Screen, agents: &[Measured], target: Option<f64>) -> Answer {
    let mut answer = Answer::Yes;
    for agent in agents {
        let name = proper(&agent.agent);
        if let Some(why) = &agent.error {
            answer = Answer::No;
            screen.aside(&format!("{name} did not answer every prompt: {why}"));
        }
        if let Some(target) = target.filter(|t| too_slow(agent, *t)) {
            answer = Answer::No;
            let made = agent.tokens_per_second.map_or_else(|| "none".to_owned(), |r| format!("{r:.1}"));
            screen.aside(&format!(
                "{name} misses the target: it made {made} tokens a second, {target} were wanted.\nA smaller model, \
                 a smaller quantisation or fewer sequences make it faster."
            ));
        }
    }
    answer
}

#[cfg(test)]
mod tests {
    use super::*;

    fn measured(agent: &str, first: Option<f64>, speed: Option<f64>) -> Measured {
        Measured {
            agent: agent.to_owned(),
            first_token_seconds: first,
            tokens_per_second: speed,
            error: None,
            prompts: Vec::new(),
        }
    }

    #[test]
    fn the_medians_stand_below_or_beside_one_another() {
        let agents = [measured("thor", Some(0.123), Some(41.26)), measured("valkyrie", Some(12.34), None)];
        let below = "
MEDIAN    FIRST TOKEN       SPEED
thor           0.12 s  41.3 tok/s
valkyrie       12.3 s        none
";
        assert_eq!(summary(&agents, false), below);
        let beside = "
MEDIAN             THOR  VALKYRIE
first token      0.12 s    12.3 s
speed        41.3 tok/s      none
";
        assert_eq!(summary(&agents, true), beside);
    }

    #[test]
    fn a_target_is_missed_by_the_slowest_and_by_whoever_made_nothing() {
        let fast = || measured("thor", None, Some(5.0));
        let slow = || measured("odin", None, Some(4.99));
        for (agents, wanted) in [
            (vec![fast()], true),
            (vec![fast(), slow()], false),
            (vec![fast(), measured("loki", None, None)], false),
        ] {
            assert_eq!(met(&agents, 5.0), wanted, "{agents:?}");
            let answer = if wanted { Answer::Yes } else { Answer::No };
            assert_eq!(verdict(Screen::new(true), &agents, Some(5.0)), answer);
            assert_eq!(verdict(Screen::new(true), &agents, None), Answer::Yes);
        }
        let failed = Measured { error: Some("It died.".to_owned()), ..fast() };
        assert_eq!(verdict(Screen::new(true), &[failed], None), Answer::No);
    }

    #[test]
    fn a_prompt_is_one_line() {
        let mut line = BenchLine {
            agent: "thor".to_owned(),
            prompt: 2,
            of: 5,
            first_token_seconds: Some(0.1234),
            tokens_per_second: Some(41.26),
            tokens: Some(128),
            done: false,
            error: None,
        };
        assert_eq!(prompt_line(&line), "thor 2 of 5: first token 0.12 s, 41.3 tok/s, 128 tokens");
        line.error = Some("It broke off.".to_owned());
        assert_eq!(prompt_line(&line), "thor 2 of 5: It broke off.");
    }

    #[test]
    fn who_sleeps_is_named_with_the_way_to_start_it() {
        let one = all_awake(&["odin".to_owned()], &[("odin".to_owned(), "asleep")]);
        assert_eq!(one.message, "Odin is asleep.");
        assert!(one.next.contains("asgard start odin") && one.next.contains("--start"), "{}", one.next);
        let names = ["odin", "thor", "loki"].map(str::to_owned);
        let two = all_awake(&names, &[("odin".to_owned(), "asleep"), ("loki".to_owned(), "failed")]);
        assert_eq!((two.message.as_str(), two.exit_code()), ("Odin is asleep and Loki is failed.", 1));
    }
}
