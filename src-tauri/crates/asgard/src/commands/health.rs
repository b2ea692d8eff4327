//! `asgard health`: one line for each agent. Nobody is woken for it.

use api::ApiError;
use api::shapes::agents::{AgentHealth, Health};
use serde_json::json;

use crate::Answer;
use crate::reach;
use crate::screen::Screen;
use crate::words::{plain, table};

pub(super) async fn run(screen: Screen, deep: bool) -> Result<Answer, ApiError> {
    let client = reach::running().await?;
    let document = client.call_value("health", json!({ "deep": deep })).await?;
    let health: Health = super::read(&document)?;
    if screen.json {
        screen.document(&document);
    } else {
        screen.piece(&render(&health, deep));
    }
    let ill = health.agents.iter().any(|agent| agent.healthy == Some(false));
    Ok(if ill { Answer::No } else { Answer::Yes })
}

fn render(health: &Health, deep: bool) -> String {
    let row = |agent: &AgentHealth| {
        let verdict = match agent.healthy {
            Some(true) => "healthy",
            Some(false) => "not healthy",
            None => "not asked",
        };
        let mut parts = Vec::new();
        // The sentence says it all where there is one.
        if deep && agent.detail.is_empty() {
            parts.extend(agent.first_token_seconds.map(|s| format!("first token {s:.2} s")));
            parts.extend(
                agent.tool_call.map(|called| if called { "tool call" } else { "no tool call" }.to_owned()),
            );
        }
        if !agent.detail.is_empty() {
            parts.push(agent.detail.clone());
        }
        vec![agent.name.clone(), agent.state.clone(), verdict.to_owned(), parts.join(", ")]
    };
    plain(&table(&health.agents.iter().map(row).collect::<Vec<_>>(), &[]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_for_each_agent() {
        let health = serde_json::from_value(json!({ "agents": [
            {"name": "thor", "state": "ready", "healthy": true, "detail": "", "first_token_seconds": 0.123, "tool_call": true},
            {"name": "loki", "state": "failed", "healthy": false, "detail": "It does not answer.",
             "first_token_seconds": null, "tool_call": null},
            {"name": "odin", "state": "asleep", "healthy": null, "detail": "", "first_token_seconds": null, "tool_call": null}
        ]}));
        let expected = "\
thor  ready   healthy      first token 0.12 s, tool call
loki  failed  not healthy  It does not answer.
odin  asleep  not asked
";
        assert_eq!(render(&health.unwrap(), true), expected);
    }
}
