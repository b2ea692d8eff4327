//! The lines to copy for tools whose files Asgard does not write.

mod editors;
mod terminals;

use domain::stack::{Agent, Tier};

use crate::ask::{Ask, NO_KEY, Primary};
use crate::household::Household;

pub use editors::{cline, continue_dev, zed};
pub use terminals::{aider, claude_code, codex};

/// What a person copies, and where it belongs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lines {
    /// Below the home folder: ".codex/config.toml". None where it is no file.
    pub file: Option<&'static str>,
    pub text: String,
    pub notes: Vec<String>,
}

/// Who leads: these tools have one list of models, so a model of a cloud stays out of it.
fn leader<'a>(household: &Household<'a>, ask: &Ask, notes: &mut Vec<String>) -> Option<&'a Agent> {
    let name = match &ask.primary {
        Some(Primary::Agent(name)) => name,
        Some(Primary::Cloud { provider, model }) => {
            notes.push(format!("{provider}/{model} is chosen in the tool itself; these lines are for the agents of the stack."));
            household.primary()
        }
        None => household.primary(),
    };
    household.agent(name)
}

fn plays<'a>(household: &Household<'a>, part: &str) -> Option<&'a Agent> {
    household.part(part).and_then(|name| household.agent(name))
}

/// The key as a shell writes it: the file's content, or the word that stands for none.
fn key_in_shell(ask: &Ask) -> String {
    ask.key_file.as_ref().map_or_else(
        || NO_KEY.to_owned(),
        |path| format!("\"$(cat {})\"", quoted(&path.display().to_string())),
    )
}

/// The key where a person has to type it.
fn key_by_hand(ask: &Ask, notes: &mut Vec<String>) -> String {
    match &ask.key_file {
        Some(path) => {
            notes
                .push(format!("The key is in {}; put it where the lines say PASTE-THE-KEY.", path.display()));
            "PASTE-THE-KEY".to_owned()
        }
        None => NO_KEY.to_owned(),
    }
}

fn needs_key(household: &Household, ask: &Ask) -> Option<String> {
    (ask.key_file.is_none() && !household.stack.gateway.keys.is_empty()).then(|| {
        let names: Vec<&str> = household.stack.gateway.keys.iter().map(|k| k.name.as_str()).collect();
        format!("Bifrost asks every tool for a key: choose one with --key. There are: {}.", names.join(", "))
    })
}

/// For a shell.
fn quoted(text: &str) -> String {
    let plain = !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || "/._-:~".contains(c));
    if plain { text.to_owned() } else { format!("'{}'", text.replace('\'', r"'\''")) }
}

fn minutes(household: &Household) -> u64 {
    household.wait.as_secs().div_ceil(60)
}

/// Who may have to be woken at the cost of others: not offered where a tool calls all it knows by itself.
fn costly(agent: &Agent) -> bool {
    agent.tier == Tier::Reviewer
}
