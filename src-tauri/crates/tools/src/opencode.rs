//! OpenCode: the provider `asgard`, which model leads, which is small, and the agents with their ways up.
//!
//! Deliberately absent: anything under another provider's name, `default_agent`, permissions, key bindings.

use crate::ask::{Ask, NO_KEY, Primary};
use crate::household::{Household, Part};
use crate::jsonc::{Document, DocumentError, Json};
use crate::roles::{PATH_LINE, description, prompt};

const SCHEMA: &str = "https://opencode.ai/config.json";
/// How long an answer may take from its first word to its last. Some versions limit the whole request by five minutes.
const WHOLE_ANSWER_MS: u64 = 2 * 3600 * 1000;

/// A document and what to know of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Edited {
    pub text: String,
    pub notes: Vec<String>,
}

/// `before`: the file as it is, none where there is none.
///
/// # Errors
/// A file that cannot be edited without a guess.
pub fn opencode(household: &Household, ask: &Ask, before: Option<&str>) -> Result<Edited, DocumentError> {
    let mut document = Document::read(before.unwrap_or_default())?;
    let there = document.value()?;
    let mut notes = Vec::new();
    let mut wanted: Vec<(&str, Option<Json>)> = Vec::new();
    if matches!(&there, Json::Object(members) if members.is_empty()) {
        wanted.push(("$schema", Some(Json::text(SCHEMA))));
    }
    let model = model(household, ask, &there, &mut notes);
    wanted.push(("model", model.map(Json::text)));
    wanted.push(("small_model", small_model(household, &there, &mut notes).map(Json::text)));
    wanted.push((
        "provider",
        Some(Json::object([("asgard", Some(provider(household, ask, &there, &mut notes)))])),
    ));
    wanted.push(("agent", agents(household, ask, &there, &mut notes)));
    for gone in gone_models(household, &there) {
        document.remove(&["provider", "asgard", "models", &gone])?;
        notes.push(format!("provider.asgard.models.{gone} is taken out: no agent has this name."));
    }
    document.merge(&Json::object(wanted))?;
    notes.extend(shut_out(&there));
    if !household.measured {
        notes.push(format!(
            "The time-outs are {} minutes: not every agent's start was measured yet. Export again when they were.",
            household.wait.as_secs() / 60
        ));
    }
    Ok(Edited { text: document.text(), notes })
}

fn ours(model: &str) -> bool {
    model.starts_with("asgard/")
}

/// An agent of ours that still exists.
fn holds(household: &Household, model: &str) -> bool {
    model.strip_prefix("asgard/").is_some_and(|id| known_id(household, id))
}

/// A name under which the gateway finds somebody.
fn known_id(household: &Household, id: &str) -> bool {
    household.stack.agents.iter().any(|a| a.name.as_str() == id || a.model == id)
}

fn model(household: &Household, ask: &Ask, there: &Json, notes: &mut Vec<String>) -> Option<String> {
    if let Some(primary) = &ask.primary {
        if let Primary::Cloud { provider, .. } = primary {
            notes.push(format!(
                "The primary is a model of {provider}: log in to it with opencode auth login. Its limits are those that OpenCode knows. Back again with: --primary {}",
                household.primary()
            ));
        }
        return Some(primary.model());
    }
    match there.get("model").and_then(Json::as_text) {
        None => Some(format!("asgard/{}", household.primary())),
        Some(now) if ours(now) && !holds(household, now) => Some(format!("asgard/{}", household.primary())),
        Some(now) if ours(now) => None,
        Some(now) => {
            notes.push(format!(
                "model is {now} and stays. Make an agent the primary with: --primary {}",
                household.primary()
            ));
            None
        }
    }
}

fn small_model(household: &Household, there: &Json, notes: &mut Vec<String>) -> Option<String> {
    let wanted = format!("asgard/{}", household.small);
    match there.get("small_model").and_then(Json::as_text) {
        Some(now) if !ours(now) => {
            notes.push(format!("small_model is {now} and stays."));
            None
        }
        _ => Some(wanted),
    }
}

/// The models of the provider that nobody serves any more.
fn gone_models(household: &Household, there: &Json) -> Vec<String> {
    match there.get("provider").and_then(|p| p.get("asgard")).and_then(|p| p.get("models")) {
        Some(Json::Object(models)) => models
            .iter()
            .filter(|(key, model)| {
                let id = model.get("id").and_then(Json::as_text).unwrap_or(key);
                !known_id(household, id)
            })
            .map(|(key, _)| key.clone())
            .collect(),
        _ => Vec::new(),
    }
}

fn provider(household: &Household, ask: &Ask, there: &Json, notes: &mut Vec<String>) -> Json {
    let now = there
        .get("provider")
        .and_then(|p| p.get("asgard"))
        .and_then(|p| p.get("options"))
        .and_then(|o| o.get("apiKey"))
        .and_then(Json::as_text);
    let key = match (&ask.key_file, now) {
        (Some(path), _) => Some(format!("{{file:{}}}", path.display())),
        (None, Some(_)) => None,
        (None, None) => Some(NO_KEY.to_owned()),
    };
    let shown = key.as_deref().or(now).unwrap_or_default();
    if !household.stack.gateway.keys.is_empty() && (shown == NO_KEY || shown.is_empty()) {
        let names: Vec<&str> = household.stack.gateway.keys.iter().map(|k| k.name.as_str()).collect();
        notes.push(format!(
            "Bifrost asks every tool for a key: choose one with --key. There are: {}.",
            names.join(", ")
        ));
    }
    let wait = u64::try_from(household.wait.as_millis()).unwrap_or(u64::MAX);
    let options = Json::object([
        ("baseURL", Some(Json::text(household.base_url()))),
        ("apiKey", key.map(Json::text)),
        ("timeout", Some(Json::number(wait.saturating_add(WHOLE_ANSWER_MS)))),
        ("headerTimeout", Some(Json::number(wait))),
        ("chunkTimeout", Some(Json::number(wait))),
    ]);
    let models = household
        .stack
        .agents
        .iter()
        .map(|agent| {
            let name = if agent.title.is_empty() {
                agent.display_name.clone()
            } else {
                format!("{} ({})", agent.display_name, agent.title)
            };
            let limit = Json::object([
                ("context", Some(Json::number(agent.context))),
                ("output", Some(Json::number(household.output(agent)))),
            ]);
            let model = Json::object([
                ("name", Some(Json::text(name))),
                ("tool_call", Some(Json::Bool(Household::calls_tools(agent)))),
                ("reasoning", Household::reasons(agent).then_some(Json::Bool(true))),
                ("limit", Some(limit)),
            ]);
            (agent.name.to_string(), model)
        })
        .collect();
    Json::object([
        ("npm", Some(Json::text("@ai-sdk/openai-compatible"))),
        ("name", Some(Json::text("Asgard"))),
        ("options", Some(options)),
        ("models", Some(Json::Object(models))),
    ])
}

fn agents(household: &Household, ask: &Ask, there: &Json, notes: &mut Vec<String>) -> Option<Json> {
    let table = there.get("agent");
    let members: Vec<(String, Json)> = household
        .parts
        .iter()
        .filter_map(|part| {
            let now = table.and_then(|t| t.get(&part.name));
            Some((part.name.clone(), agent(household, ask, part, now, notes)?))
        })
        .collect();
    (!members.is_empty()).then_some(Json::Object(members))
}

/// What is set of one entry: all of a new one; of one that is there the model, and the prompt where Asgard wrote it.
fn agent(
    household: &Household,
    ask: &Ask,
    part: &Part,
    now: Option<&Json>,
    notes: &mut Vec<String>,
) -> Option<Json> {
    let leads = part.name == "primary";
    let asked = ask.primary.as_ref().filter(|_| leads).map(Primary::model);
    let own = format!("asgard/{}", part.agent);
    let text = |key| now.and_then(|n| n.get(key)).and_then(Json::as_text);
    let model = match (asked, now, text("model")) {
        (Some(asked), ..) => Some(asked),
        (None, None, _) => Some(own),
        (None, Some(_), Some(model)) if ours(model) => {
            // Which agent leads was chosen once, and stays.
            if leads && holds(household, model) { Some(model.to_owned()) } else { Some(own) }
        }
        // A primary in the cloud was asked for once, and stays: its prompt is still ours.
        (None, Some(_), Some(_)) if leads && text("prompt").is_some_and(|p| p.contains(PATH_LINE)) => None,
        (None, Some(_), model) => {
            let uses = model.map_or_else(|| "has no model of ours".to_owned(), |m| format!("uses {m}"));
            notes.push(format!("agent.{} {uses} and stays as it is.", part.name));
            return None;
        }
    };
    let absent = |key: &str| now.is_none_or(|n| n.get(key).is_none());
    let own_prompt = text("prompt").is_some_and(|p| !p.contains(PATH_LINE));
    if own_prompt {
        notes.push(format!("agent.{}'s prompt is your own and stays.", part.name));
    }
    Some(Json::object([
        ("description", absent("description").then(|| Json::text(description(household, part)))),
        (
            "mode",
            absent("mode").then(|| {
                Json::text(if leads {
                    "primary"
                } else if part.name == "coder" {
                    "all"
                } else {
                    "subagent"
                })
            }),
        ),
        ("model", model.map(Json::text)),
        ("prompt", (!own_prompt).then(|| Json::text(prompt(household, part)))),
    ]))
}

/// Lists that would hide the provider.
fn shut_out(there: &Json) -> Vec<String> {
    let names = |key: &str| match there.get(key) {
        Some(Json::List(items)) => Some(items.iter().any(|i| i.as_text() == Some("asgard"))),
        _ => None,
    };
    let mut notes = Vec::new();
    if names("enabled_providers") == Some(false) {
        notes.push("enabled_providers does not name asgard, so OpenCode hides it: add it there.".to_owned());
    }
    if names("disabled_providers") == Some(true) {
        notes.push("disabled_providers names asgard, so OpenCode hides it: take it out there.".to_owned());
    }
    notes
}
