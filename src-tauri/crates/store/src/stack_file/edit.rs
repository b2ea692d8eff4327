//! Changes of the stack file's text by a program: what is asked for changes, and every comment, blank line, order and
//! spelling of the rest stays.
//!
//! Two ways on purpose. Values are changed in the document (`values`), because there a comment behind a value is a
//! part of it. Whole tables are moved and taken away as pieces of text (`text`), because there a comment above a
//! table belongs to the table, and one that stands apart does not.
//!
//! Deliberately absent: whether the result is a stack. [`super::check`] says that, with lines; here only what an edit
//! itself cannot mean is refused.

mod gateway;
#[cfg(test)]
mod tests;
mod text;
mod values;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use domain::agent::AgentName;
use serde_json::Value;
use toml_edit::{Document, DocumentMut, Item, Table, TableLike};

use super::keys::{STACK, Shape};
use super::{SaveError, line_of, replace};

/// One change of the text; comments, order and spelling of everything else stay.
#[derive(Debug, Clone, PartialEq)]
pub enum Edit {
    /// A new agent behind the others.
    AddAgent {
        agent: String,
        keys: BTreeMap<String, Value>,
        profiles: Vec<String>,
    },
    /// Sets keys; null takes one away.
    ChangeAgent {
        agent: String,
        keys: BTreeMap<String, Value>,
    },
    /// The same keys under another name, behind the first. A name for a person is left out: two would be called alike.
    DuplicateAgent {
        agent: String,
        to: String,
        port: u16,
    },
    /// Everywhere it is named: profiles, conflicts, roles.
    RenameAgent {
        agent: String,
        to: String,
    },
    /// Out of profiles and conflicts too. One that serves others is refused.
    RemoveAgent {
        agent: String,
    },
    /// Every agent's name once, in the new order.
    OrderAgents {
        agents: Vec<String>,
    },
    /// In which profiles an agent is.
    AgentProfiles {
        agent: String,
        profiles: Vec<String>,
    },
    /// A new profile, or other agents in one.
    PutProfile {
        profile: String,
        agents: Vec<String>,
    },
    RemoveProfile {
        profile: String,
    },
    /// The most that may be in use in all: `limit` of `[memory]`, for a machine with one pool.
    MemoryLimit {
        limit: String,
    },
    /// Sets keys of `[gateway]`; null takes one away.
    ChangeGateway {
        keys: BTreeMap<String, Value>,
    },
    /// A new key of the gateway, and the agents that it may use; none: all of them.
    AddGatewayKey {
        name: String,
        agents: Option<Vec<String>>,
    },
    RemoveGatewayKey {
        name: String,
    },
}

/// Why an edit cannot be made: one sentence what is wrong, one what to do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message} {next}")]
pub struct EditError {
    pub message: String,
    pub next: String,
}

/// What the file says, in its order.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Written {
    pub agents: Vec<(String, BTreeMap<String, Value>)>,
    pub profiles: Vec<(String, Vec<String>)>,
}

fn wrong(message: impl Into<String>, next: impl Into<String>) -> EditError {
    EditError { message: message.into(), next: next.into() }
}

type Result<T> = std::result::Result<T, EditError>;

/// The text after the edits, one after the other; all of them or none.
///
/// # Errors
/// One sentence what is wrong, one what to do.
pub fn edit(text: &str, edits: &[Edit]) -> Result<String> {
    // The document writes plain line ends: those of a file from elsewhere are put back at the end.
    let (bom, body) = text.strip_prefix('\u{feff}').map_or(("", text), |rest| ("\u{feff}", rest));
    let crlf = body.contains("\r\n") && !body.replace("\r\n", "").contains('\n');
    let mut start = if crlf { body.replace("\r\n", "\n") } else { body.to_owned() };
    if !start.is_empty() && !start.ends_with('\n') {
        start.push('\n');
    }
    let had_base = base(&written(&start)?, &start)?;
    let mut now = start.clone();
    for edit in edits {
        now = apply(&now, edit)?;
    }
    let after = written(&now)?;
    if had_base.is_some_and(|(_, held)| held)
        && let Some((name, false)) = base(&after, &now)?
    {
        return Err(wrong(
            format!("The base profile {name} would hold no agent."),
            format!("Put another agent into {name} first."),
        ));
    }
    if now == start {
        return Ok(text.to_owned());
    }
    Ok(format!("{bom}{}", if crlf { now.replace('\n', "\r\n") } else { now }))
}

/// What is written for each agent, as JSON values, in file order; and the profiles.
///
/// # Errors
/// The text is not TOML, or its agents or profiles are no tables.
pub fn written(text: &str) -> Result<Written> {
    let document = parse(text)?;
    let agents = group(&document, "agents")?.map_or_else(Vec::new, |table| {
        let keys = |item: &Item| match values::to_json(item) {
            Value::Object(keys) => keys.into_iter().collect(),
            _ => BTreeMap::new(),
        };
        table.iter().map(|(name, item)| (name.to_owned(), keys(item))).collect()
    });
    let profiles = group(&document, "profiles")?.map_or_else(Vec::new, |table| {
        let members = |item: &Item| item.get("agents").map(values::texts).unwrap_or_default();
        table.iter().map(|(name, item)| (name.to_owned(), members(item))).collect()
    });
    Ok(Written { agents, profiles })
}

/// Puts the text in the place of the stack file; the one before is kept beside it. See [`replace`].
///
/// # Errors
/// The folder or the file cannot be written; then what was there is still there.
pub fn save(path: &Path, text: &str, stamp: &str) -> std::result::Result<Option<PathBuf>, SaveError> {
    replace(path, text, stamp)
}

fn parse(text: &str) -> Result<Document<String>> {
    Document::parse(text.to_owned()).map_err(|error| {
        let line = error.span().map(|s| format!(" in line {}", line_of(text, s.start))).unwrap_or_default();
        let said = error.message().lines().collect::<Vec<_>>().join("; ");
        wrong(format!("The stack file is not TOML{line}: {said}."), "Correct it in the file first.")
    })
}

fn parse_mut(text: &str) -> Result<DocumentMut> {
    Ok(parse(text)?.into_mut())
}

fn group<'a>(document: &'a Document<String>, name: &str) -> Result<Option<&'a dyn TableLike>> {
    match document.as_table().get(name) {
        None => Ok(None),
        Some(item) => item.as_table_like().map(Some).ok_or_else(|| {
            wrong(format!("`{name}` in the stack file is no table."), "Correct it in the file first.")
        }),
    }
}

/// The base profile's name, and whether it holds an agent.
fn base(written: &Written, text: &str) -> Result<Option<(String, bool)>> {
    let named = parse(text)?.as_table().get("base").and_then(Item::as_str).map(str::to_owned);
    let name = named.or_else(|| written.profiles.first().map(|(name, _)| name.clone()));
    Ok(name.and_then(|name| {
        let (_, agents) = written.profiles.iter().find(|(n, _)| *n == name)?;
        Some((name, !agents.is_empty()))
    }))
}

fn apply(text: &str, edit: &Edit) -> Result<String> {
    let now = written(text)?;
    match edit {
        Edit::AddAgent { agent, keys, profiles } => {
            now.new_agent(agent)?;
            let text = text::add_table(text, "agents", agent, &in_order(keys)?)?;
            with_profiles(&text, agent, profiles)
        }
        Edit::ChangeAgent { agent, keys } => {
            now.known(agent)?;
            change(text, agent, keys)
        }
        Edit::DuplicateAgent { agent, to, port } => {
            now.known(agent)?;
            now.new_agent(to)?;
            text::duplicate(text, agent, to, *port)
        }
        Edit::RenameAgent { agent, to } if agent == to => now.known(agent).map(|()| text.to_owned()),
        Edit::RenameAgent { agent, to } => {
            now.known(agent)?;
            now.new_agent(to)?;
            rename(text, agent, to)
        }
        Edit::RemoveAgent { agent } => {
            now.known(agent)?;
            remove(text, &now, agent)
        }
        Edit::OrderAgents { agents } => order(text, &now, agents),
        Edit::AgentProfiles { agent, profiles } => {
            now.known(agent)?;
            with_profiles(text, agent, profiles)
        }
        Edit::PutProfile { profile, agents } => put_profile(text, &now, profile, agents),
        Edit::RemoveProfile { profile } => {
            now.known_profile(profile)?;
            if base(&now, text)?.is_some_and(|(name, _)| name == *profile) {
                return Err(wrong(
                    format!("{profile} is the base profile, the one to return to."),
                    "Name another as `base` in the stack file first.",
                ));
            }
            text::take_away(text, &["profiles", profile])
        }
        Edit::MemoryLimit { limit } => memory_limit(text, limit),
        Edit::ChangeGateway { keys } => gateway::change(text, keys),
        Edit::AddGatewayKey { name, agents } => {
            agents.iter().flatten().try_for_each(|agent| now.known(agent))?;
            gateway::add_key(text, name, agents.as_deref())
        }
        Edit::RemoveGatewayKey { name } => gateway::remove_key(text, name),
    }
}

impl Written {
    fn has(&self, agent: &str) -> bool {
        self.agents.iter().any(|(name, _)| name == agent)
    }

    fn known(&self, agent: &str) -> Result<()> {
        if self.has(agent) {
            return Ok(());
        }
        Err(wrong(format!("There is no agent {agent:?}."), "Load the stack again, and choose one it has."))
    }

    fn known_profile(&self, profile: &str) -> Result<()> {
        if self.profiles.iter().any(|(name, _)| name == profile) {
            return Ok(());
        }
        Err(wrong(
            format!("There is no profile {profile:?}."),
            "Load the stack again, and choose one it has.",
        ))
    }

    fn new_agent(&self, agent: &str) -> Result<()> {
        allowed(agent)?;
        if self.has(agent) {
            return Err(wrong(format!("There is an agent {agent} already."), "Choose another name."));
        }
        Ok(())
    }
}

/// Agents and profiles are named by the same rule.
fn allowed(name: &str) -> Result<()> {
    AgentName::new(name).map(drop).map_err(|_| {
        wrong(
            format!("{name:?} cannot be a name."),
            "Use lower-case letters, digits and hyphens, a letter first, at most 40.",
        )
    })
}

/// The keys of a new agent as the schema lists them; what it does not know comes last, and is said by the check.
fn in_order(keys: &BTreeMap<String, Value>) -> Result<Vec<(String, toml_edit::Value)>> {
    let known = STACK
        .iter()
        .find_map(|k| match k.shape {
            Shape::Tables(keys) if k.name == "agents" => Some(keys),
            _ => None,
        })
        .unwrap_or_default();
    let mut listed: Vec<_> = keys.iter().filter(|(_, value)| !value.is_null()).collect();
    listed.sort_by_key(|(name, _)| known.iter().position(|k| k.name == name.as_str()).unwrap_or(usize::MAX));
    listed.into_iter().map(|(name, value)| Ok((name.clone(), values::to_toml(name, value)?))).collect()
}

fn change(text: &str, agent: &str, keys: &BTreeMap<String, Value>) -> Result<String> {
    let mut text = text.to_owned();
    // What goes, goes last: an agent written in dotted keys alone is there as long as one of them is.
    for (key, value) in keys.iter().filter(|(_, value)| !value.is_null()) {
        // What is no more in a table of texts goes first, with its line.
        if let Value::Object(wanted) = value {
            let document = parse(&text)?;
            let there = group(&document, "agents")?
                .and_then(|agents| agents.get(agent)?.get(key))
                .map(values::to_json);
            if let Some(Value::Object(there)) = there {
                for gone in there.keys().filter(|k| !wanted.contains_key(*k)) {
                    text = text::take_away(&text, &["agents", agent, key, gone])?;
                }
            }
        }
        let mut document = parse_mut(&text)?;
        let table = document["agents"][agent].as_table_like_mut().ok_or_else(|| {
            wrong(format!("{agent} is no table in the stack file."), "Correct it in the file first.")
        })?;
        values::put(table, key, value)?;
        text = document.to_string();
    }
    for (key, _) in keys.iter().filter(|(_, value)| value.is_null()) {
        text = text::take_away(&text, &["agents", agent, key])?;
    }
    Ok(text)
}

fn memory_limit(text: &str, limit: &str) -> Result<String> {
    let mut document = parse_mut(text)?;
    if document.as_table().get("memory").is_none() {
        return text::add_header(text, &["memory"], &[("limit".to_owned(), limit.into())]);
    }
    let table = document["memory"]
        .as_table_like_mut()
        .ok_or_else(|| wrong("`memory` in the stack file is no table.", "Correct it in the file first."))?;
    if table.get("limit").is_some_and(Item::is_table_like) {
        return Err(wrong(
            "The stack file has a limit for each pool.",
            "Change them in the file: one number would not say which is meant.",
        ));
    }
    values::put(table, "limit", &Value::from(limit))?;
    Ok(document.to_string())
}

fn rename(text: &str, agent: &str, to: &str) -> Result<String> {
    let mut document = parse_mut(text)?;
    let names: Vec<String> = document["agents"]
        .as_table_like()
        .map(|t| t.iter().map(|(n, _)| n.to_owned()).collect())
        .unwrap_or_default();
    text::rebuild(&mut document["agents"], &names, Some((agent, to)));
    let other = |text: &str| if text == agent { to.to_owned() } else { text.to_owned() };
    each_list(&mut document, |list| {
        let names: Vec<String> = list.iter().filter_map(|v| v.as_str()).map(other).collect();
        values::sync(list, &names);
    });
    if let Some(agents) = document["agents"].as_table_like_mut() {
        for (_, item) in agents.iter_mut() {
            let server = item.get("served_by").and_then(Item::as_str);
            if server == Some(agent)
                && let Some(table) = item.as_table_like_mut()
            {
                values::put(table, "served_by", &Value::from(to))?;
            }
        }
    }
    Ok(document.to_string())
}

/// Every list of agents' names: of the profiles, of the rules in `conflicts`, and of the gateway's keys.
fn each_list(document: &mut DocumentMut, mut change: impl FnMut(&mut toml_edit::Array)) {
    let root = document.as_table_mut();
    if let Some(profiles) = root.get_mut("profiles").and_then(Item::as_table_like_mut) {
        for (_, profile) in profiles.iter_mut() {
            let list =
                profile.as_table_like_mut().and_then(|p| p.get_mut("agents")).and_then(Item::as_array_mut);
            list.map(&mut change);
        }
    }
    if let Some(rules) = root.get_mut("conflicts").and_then(Item::as_array_mut) {
        rules.iter_mut().filter_map(|rule| rule.as_array_mut()).for_each(&mut change);
    }
    gateway::each_list(root, change);
}

fn remove(text: &str, now: &Written, agent: &str) -> Result<String> {
    let served: Vec<&str> = now
        .agents
        .iter()
        .filter(|(name, keys)| name != agent && keys.get("served_by").and_then(Value::as_str) == Some(agent))
        .map(|(name, _)| name.as_str())
        .collect();
    if !served.is_empty() {
        return Err(wrong(
            format!("{agent} serves {}.", served.join(", ")),
            "Remove those first, or give them a server of their own.",
        ));
    }
    let mut document = parse_mut(text)?;
    each_list(&mut document, |list| {
        if list.iter().any(|v| v.as_str() == Some(agent)) {
            let rest: Vec<String> =
                list.iter().filter_map(|v| v.as_str()).filter(|n| *n != agent).map(str::to_owned).collect();
            values::sync(list, &rest);
        }
    });
    if let Some(rules) = document.as_table_mut().get_mut("conflicts").and_then(Item::as_array_mut) {
        // Only a rule that lost this agent can be too short: the check lets no other through.
        values::keep(rules, |rule| {
            let names: std::collections::BTreeSet<&str> =
                rule.as_array().into_iter().flatten().filter_map(|v| v.as_str()).collect();
            names.len() >= 2
        });
    }
    text::take_away(&document.to_string(), &["agents", agent])
}

fn order(text: &str, now: &Written, wanted: &[String]) -> Result<String> {
    let names: Vec<&String> = now.agents.iter().map(|(name, _)| name).collect();
    let (mut sorted, mut given) = (names.clone(), wanted.iter().collect::<Vec<_>>());
    sorted.sort();
    given.sort();
    if sorted != given {
        return Err(wrong(
            "The new order does not name every agent once.",
            "Load the stack again, and order the agents it has.",
        ));
    }
    if names.iter().copied().eq(wanted) {
        return Ok(text.to_owned());
    }
    let mut document = parse_mut(text)?;
    text::rebuild(&mut document["agents"], wanted, None);
    let text = text::reorder(&document.to_string(), wanted)?;
    let got = written(&text)?;
    if got.agents.iter().map(|(name, _)| name).eq(wanted) {
        return Ok(text);
    }
    Err(wrong(
        "Some agents are written inside [agents] and others as tables of their own, so they cannot stand in this order.",
        "Write each as a table [agents.NAME] in the stack file first.",
    ))
}

/// The agent in exactly these profiles.
fn with_profiles(text: &str, agent: &str, profiles: &[String]) -> Result<String> {
    let now = written(text)?;
    for profile in profiles {
        now.known_profile(profile)?;
    }
    let mut document = parse_mut(text)?;
    for (name, agents) in &now.profiles {
        let (is, shall) = (agents.iter().any(|a| a == agent), profiles.contains(name));
        if is != shall {
            let mut agents: Vec<String> = agents.iter().filter(|a| *a != agent).cloned().collect();
            if shall {
                agents.push(agent.to_owned());
            }
            put_agents(&mut document, name, &agents)?;
        }
    }
    Ok(document.to_string())
}

fn put_agents(document: &mut DocumentMut, profile: &str, agents: &[String]) -> Result<()> {
    let table = document["profiles"][profile].as_table_like_mut().ok_or_else(|| {
        wrong(
            format!("The profile {profile} is no table in the stack file."),
            "Correct it in the file first.",
        )
    })?;
    values::put(table, "agents", &Value::from(agents.to_vec()))
}

fn put_profile(text: &str, now: &Written, profile: &str, agents: &[String]) -> Result<String> {
    let mut members: Vec<String> = Vec::new();
    for agent in agents {
        now.known(agent)?;
        if !members.contains(agent) {
            members.push(agent.clone());
        }
    }
    if now.known_profile(profile).is_ok() {
        let mut document = parse_mut(text)?;
        put_agents(&mut document, profile, &members)?;
        return Ok(document.to_string());
    }
    allowed(profile)?;
    let list = values::to_toml("agents", &Value::from(members))?;
    text::add_table(text, "profiles", profile, &[("agents".to_owned(), list)])
}

/// A document that holds one table of a group: `[agents.thor]` and what is below it.
fn alone(group: &str, name: &str, table: Table) -> String {
    let mut outer = Table::new();
    outer.set_implicit(true);
    outer.insert(name, Item::Table(table));
    let mut document = DocumentMut::new();
    document.as_table_mut().insert(group, Item::Table(outer));
    document.to_string().trim_start_matches('\n').to_owned()
}
