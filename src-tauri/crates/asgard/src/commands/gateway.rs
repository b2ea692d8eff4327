//! `asgard keys` and `asgard session`: who may ask the gateway, and how often tools may wake agents.

use api::ApiError;
use api::shapes::gateway::{BudgetView, GatewayView, KeyText, KeyView};
use serde_json::{Value, json};

use crate::Answer;
use crate::args::{KeysCommand, SessionCommand};
use crate::reach;
use crate::screen::Screen;
use crate::words::{list, table};

pub(super) async fn session(screen: Screen, what: SessionCommand) -> Result<Answer, ApiError> {
    let SessionCommand::New = what;
    let client = reach::running().await?;
    client.call_value("new_session", json!({})).await?;
    let document = client.call_value("gateway_view", json!({})).await?;
    let view: GatewayView = super::read(&document)?;
    screen.document(&document);
    screen.say(&begun(&view.budgets));
    Ok(Answer::Yes)
}

fn begun(budgets: &[BudgetView]) -> String {
    let of = |budget: &BudgetView| match budget.limit {
        Some(limit) => format!("{} agents {limit} times", budget.tier),
        None => format!("{} agents as often as they like", budget.tier),
    };
    let budgets: Vec<String> = budgets.iter().map(of).collect();
    if budgets.is_empty() {
        return "A new session has begun.".to_owned();
    }
    format!("A new session has begun: tools may wake {}.", list(&budgets))
}

pub(super) async fn keys(screen: Screen, what: KeysCommand) -> Result<Answer, ApiError> {
    let client = reach::running().await?;
    match what {
        KeysCommand::List => {
            let document = client.call_value("gateway_view", json!({})).await?;
            let view: GatewayView = super::read(&document)?;
            screen.document(&json!({ "keys": document.get("keys") }));
            if view.keys.is_empty() {
                screen.say("There are no keys: every program of this machine may use the agents.");
            }
            let rows: Vec<Vec<String>> = view.keys.iter().map(row).collect();
            screen.piece(&table(&rows, &[]));
        }
        KeysCommand::New { name, agents } => {
            let agents = if agents.is_empty() { Value::Null } else { json!(agents) };
            let document = client.call_value("new_key", json!({ "name": name, "agents": agents })).await?;
            let made: KeyText = super::read(&document)?;
            screen.document(&document);
            screen.aside(
                "Give this to the tool as its API key. Requests without a key are refused from now on.",
            );
            screen.say(&made.key);
        }
        KeysCommand::Show { name } => {
            let document = client.call_value("reveal_key", json!({ "name": name })).await?;
            let key: KeyText = super::read(&document)?;
            screen.document(&document);
            screen.say(&key.key);
        }
        KeysCommand::Remove { name } => {
            let document = client.call_value("remove_key", json!({ "name": name })).await?;
            screen.document(&document);
            screen.say(&format!("The key {name} opens nothing any more."));
        }
    }
    Ok(Answer::Yes)
}

fn row(key: &KeyView) -> Vec<String> {
    vec![
        key.name.clone(),
        key.agents.as_ref().map_or_else(|| "every agent".to_owned(), |agents| agents.join(", ")),
        key.last_used.as_ref().map_or_else(|| "not used yet".to_owned(), |time| format!("last used {time}")),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn budgets_are_said_as_a_person_would() {
        let budget =
            |tier: &str, limit| BudgetView { tier: tier.to_owned(), used: 0, limit, cooldown_until: None };
        assert_eq!(
            begun(&[budget("reviewer", Some(3)), budget("utility", None)]),
            "A new session has begun: tools may wake reviewer agents 3 times and utility agents as often as they like."
        );
        assert_eq!(begun(&[]), "A new session has begun.");
    }

    #[test]
    fn a_key_says_what_it_opens_and_when_it_was_used() {
        let key = |agents: Option<Vec<String>>, last_used: Option<&str>| KeyView {
            name: "zed".to_owned(),
            agents,
            last_used: last_used.map(str::to_owned),
        };
        assert_eq!(row(&key(None, None)), ["zed", "every agent", "not used yet"]);
        let some = vec!["thor".to_owned(), "odin".to_owned()];
        assert_eq!(
            row(&key(Some(some), Some("2026-11-21T14:00:00Z"))),
            ["zed", "thor, odin", "last used 2026-11-21T14:00:00Z"]
        );
    }
}
