//! Raw to resolved: every check of the stack file, all problems at once.
//!
//! Here is what concerns the file as a whole; one agent's own keys are checked in [`agent`], the gateway's in [`gateway`].
//!
//! Not checked here: what needs the machine (whether a pool exists, whether it all fits: that is a plan's to say),
//! and `args` that repeat what Asgard sets, which each backend knows for itself.

mod agent;
mod gateway;

use std::collections::{BTreeMap, BTreeSet};

use self::agent::AgentCheck;
use super::quantity::{quoted, size};
use super::raw::{RawLimit, RawStack};
use super::suggest::instead_of;
use super::{Agent, Gateway, MemoryLimits, Profile, Runs, Stack};
use crate::agent::AgentName;
use crate::estimate::ModelFacts;
use crate::memory::Bytes;
use crate::pool::PoolId;

/// What the check needs to know from outside the file.
#[derive(Debug, Clone, Default)]
pub struct Facts {
    /// Sizes on disk of models that are plain files (GGUF paths), by the path as written.
    pub file_sizes: BTreeMap<String, Bytes>,
    /// What the models' own files say, by the model as written (`model`, `draft_model`). Where an agent's is here, its
    /// weights, its cache and its limit come from it, before the preset data of [`crate::catalog`].
    pub models: BTreeMap<String, ModelFacts>,
    /// 1 for a real machine. 1024 for a rehearsal, whose stack is written in MB for GB: the known figures of models
    /// (weights, overhead, KV bytes per token) are divided by it, so that every sum is the same in a smaller unit.
    pub scale: u64,
    /// The GPU whose known limits the choices are held against; none where it is not known here.
    pub gpu: Option<Gpu>,
}

/// A GPU of which it is known what works on it: see [`crate::matrix`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Gpu {
    /// Strix Halo's, PCI 1002:1586.
    Gfx1151,
}

/// One thing that is wrong, where, and what to write instead.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The path of the key: `["agents", "odin", "port"]`. Empty for the file as a whole. An element of a list is
    /// named by its number.
    pub path: Vec<String>,
    /// What is wrong, one sentence.
    pub message: String,
    /// What to do, one sentence.
    pub next: String,
}

/// Something allowed but worth knowing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    pub path: Vec<String>,
    pub message: String,
}

/// The problems and notes found so far.
#[derive(Default)]
struct Findings {
    problems: Vec<Problem>,
    notes: Vec<Note>,
}

impl Findings {
    fn problem(&mut self, path: &[&str], message: impl Into<String>, next: impl Into<String>) {
        self.problems.push(Problem { path: owned(path), message: message.into(), next: next.into() });
    }

    fn note(&mut self, path: &[&str], message: impl Into<String>) {
        self.notes.push(Note { path: owned(path), message: message.into() });
    }

    /// The value, or a problem at `path`.
    fn take<T>(&mut self, path: &[&str], checked: Result<T, (String, String)>) -> Option<T> {
        match checked {
            Ok(value) => Some(value),
            Err((message, next)) => {
                self.problem(path, message, next);
                None
            }
        }
    }
}

fn owned(path: &[&str]) -> Vec<String> {
    path.iter().map(|p| (*p).to_owned()).collect()
}

/// # Errors
/// Every problem of the file at once, never only the first.
pub fn resolve(raw: &RawStack, facts: &Facts) -> Result<Stack, Vec<Problem>> {
    let mut found = Findings::default();
    version(raw, &mut found);
    // Every name that is spelled well counts as known, even where its agent has problems of its own: one mistake
    // should be said once.
    let known: Vec<&str> =
        raw.agents.0.iter().map(|(name, _)| name.as_str()).filter(|n| AgentName::new(n).is_ok()).collect();
    let gateway = gateway::checked(&raw.gateway, &known, &mut found);
    let memory = memory(raw, &mut found);
    let agents = agents(raw, facts, &known, &mut found);
    ports(&agents, &gateway, &mut found);
    let conflicts = conflicts(raw, &known, &mut found);
    let profiles = profiles(raw, &known, &conflicts, &mut found);
    let base = base(raw, &mut found);
    roles_in_conflict(&profiles, &agents, &conflicts, &mut found);
    // A role has its server's choices: what speaks against them is said once, where they stand.
    for agent in agents.iter().filter(|a| a.served_by.is_none()) {
        for concern in crate::matrix::concerns(facts.gpu, agent) {
            found.note(&["agents", agent.name.as_str()], concern.sentence);
        }
    }
    if !found.problems.is_empty() {
        return Err(found.problems);
    }
    Ok(Stack {
        name: raw.name.clone().filter(|n| !n.trim().is_empty()).unwrap_or_else(|| "stack".to_owned()),
        base,
        conflicts,
        memory,
        agents,
        profiles,
        gateway,
        gpu: facts.gpu,
        notes: found.notes,
    })
}

fn version(raw: &RawStack, found: &mut Findings) {
    match raw.version {
        Some(1) => {}
        None => {
            found.problem(
                &["version"],
                "The file does not say its version.",
                "Write version = 1 at its top.",
            );
        }
        Some(other) => found.problem(
            &["version"],
            format!("This Asgard reads stack files of version 1, and this one is of version {other}."),
            if other > 1 { "Use a newer Asgard, or write version = 1." } else { "Write version = 1." },
        ),
    }
}

fn memory(raw: &RawStack, found: &mut Findings) -> MemoryLimits {
    let mut limits = MemoryLimits::default();
    match &raw.memory.limit {
        None => {}
        Some(RawLimit::One(limit)) => limits.limit = found.take(&["memory", "limit"], size(limit)),
        Some(RawLimit::ByPool(pools)) => {
            for (pool, limit) in pools {
                if let Some(limit) = found.take(&["memory", "limit", pool], size(limit)) {
                    limits.by_pool.insert(PoolId::new(pool), limit);
                }
            }
        }
    }
    limits
}

fn agents(raw: &RawStack, facts: &Facts, known: &[&str], found: &mut Findings) -> Vec<Agent> {
    if raw.agents.0.is_empty() {
        found.problem(
            &["agents"],
            "The stack has no agent.",
            "Add one: a table [agents.NAME] with model, port and kv_cache.",
        );
    }
    let mut seen = BTreeSet::new();
    let mut agents: Vec<(usize, Agent)> = Vec::new();
    let mut roles = Vec::new();
    for (place, (key, agent)) in raw.agents.0.iter().enumerate() {
        let Ok(name) = AgentName::new(key) else {
            found.problem(
                &["agents", key],
                format!("{} cannot be an agent's name.", quoted(key)),
                "Use lower-case letters, digits and hyphens, a letter first, at most 40.",
            );
            continue;
        };
        if !seen.insert(name.clone()) {
            found.problem(
                &["agents", key],
                format!("{key} is there twice."),
                "Give one of them another name.",
            );
            continue;
        }
        if agent.served_by.is_some() {
            roles.push((place, name, agent));
            continue;
        }
        let checked = AgentCheck { name: &name, raw: agent, facts, known, found }.checked();
        agents.extend(checked.map(|a| (place, a)));
    }
    // Roles take over what their servers are, so those come first.
    let is_role = |name: &str| roles.iter().any(|(_, n, _)| n.as_str() == name);
    let mut served = Vec::new();
    for (place, name, agent) in &roles {
        let wanted = agent.served_by.as_deref().unwrap_or_default();
        let server = agents.iter().map(|(_, a)| a).find(|a| a.name.as_str() == wanted);
        let check = AgentCheck { name, raw: agent, facts, known, found };
        served.extend(check.role(server, is_role(wanted)).map(|a| (*place, a)));
    }
    agents.extend(served);
    agents.sort_by_key(|(place, _)| *place);
    agents.into_iter().map(|(_, agent)| agent).collect()
}

/// No two of our own servers on one port, none on the gateway's. Two agents may share an external server.
fn ports(agents: &[Agent], gateway: &Gateway, found: &mut Findings) {
    let free = |from: u16| {
        let taken = |p: u16| p == gateway.listen.port() || agents.iter().any(|a| a.port == p);
        (from.max(1024)..=u16::MAX).find(|p| !taken(*p)).unwrap_or(from)
    };
    // A role has its server's port, and is no second server there.
    let servers: Vec<&Agent> = agents.iter().filter(|a| a.served_by.is_none()).collect();
    for (i, agent) in servers.iter().enumerate() {
        let path = ["agents", agent.name.as_str(), "port"];
        let next = || format!("Give {} a port of its own, such as {}.", agent.name, free(agent.port));
        // Several agents may share a server that others run, and one Ollama serves many models.
        let ollama = |a: &Agent| matches!(a.runs, Runs::Ollama { .. });
        let clash = |b: &&&Agent| {
            b.port == agent.port && (agent.is_ours() || b.is_ours()) && !(ollama(agent) && ollama(b))
        };
        let earlier = servers[..i].iter().find(clash);
        if let Some(earlier) = earlier {
            let message = format!("{} and {} both want port {}.", earlier.name, agent.name, agent.port);
            found.problem(&path, message, next());
        } else if agent.port == gateway.listen.port() {
            found.problem(&path, format!("Port {} is the gateway's own.", agent.port), next());
        }
    }
}

fn conflicts(raw: &RawStack, known: &[&str], found: &mut Findings) -> Vec<Vec<AgentName>> {
    let mut sets = Vec::new();
    for (i, set) in raw.conflicts.iter().enumerate() {
        let at = i.to_string();
        let mut members = Vec::new();
        for (j, written) in set.iter().enumerate() {
            let path = ["conflicts", &at, &j.to_string()];
            if let Some(name) = known_agent(written, known, &path, found)
                && !members.contains(&name)
            {
                members.push(name);
            }
        }
        let different: BTreeSet<&String> = set.iter().collect();
        if different.len() < 2 {
            found.problem(
                &["conflicts", &at],
                "A rule about who is never awake together names fewer than two agents.",
                "Name at least two, as in [[\"odin\", \"valkyrie\"]], or remove it.",
            );
        }
        sets.push(members);
    }
    sets
}

fn profiles(
    raw: &RawStack,
    known: &[&str],
    conflicts: &[Vec<AgentName>],
    found: &mut Findings,
) -> Vec<Profile> {
    if raw.profiles.0.is_empty() {
        found.problem(
            &["profiles"],
            "The stack has no profile.",
            "Add one: a table [profiles.standard] with agents = [\"NAME\"].",
        );
    }
    let mut profiles: Vec<Profile> = Vec::new();
    for (key, profile) in &raw.profiles.0 {
        if AgentName::new(key).is_err() {
            found.problem(
                &["profiles", key],
                format!("{} cannot be a profile's name.", quoted(key)),
                "Use lower-case letters, digits and hyphens, a letter first, at most 40.",
            );
            continue;
        }
        if profiles.iter().any(|p| &p.name == key) {
            found.problem(
                &["profiles", key],
                format!("{key} is there twice."),
                "Give one of them another name.",
            );
            continue;
        }
        let mut members: Vec<AgentName> = Vec::new();
        for (i, written) in profile.agents.iter().enumerate() {
            let path = ["profiles", key, "agents", &i.to_string()];
            let Some(name) = known_agent(written, known, &path, found) else { continue };
            if members.contains(&name) {
                found.note(&path, format!("{key} names {name} twice; once is meant."));
                continue;
            }
            let rule = |m: &&AgentName| conflicts.iter().any(|set| set.contains(m) && set.contains(&name));
            if let Some(other) = members.iter().find(rule) {
                found.problem(
                    &path,
                    format!(
                        "{key} holds {other} and {name}, and a rule in conflicts forbids the two awake together."
                    ),
                    format!("Take one of them out of {key}, or change the rule."),
                );
            }
            members.push(name);
        }
        if profile.agents.is_empty() {
            found.note(
                &["profiles", key],
                format!("{key} holds no agent: a switch to it stops what is not pinned."),
            );
        }
        profiles.push(Profile { name: key.clone(), agents: members });
    }
    profiles
}

/// A role is awake where its server is, so a rule about the one is a rule about the other.
fn roles_in_conflict(
    profiles: &[Profile],
    agents: &[Agent],
    conflicts: &[Vec<AgentName>],
    found: &mut Findings,
) {
    let server = |name: &AgentName| {
        let agent = agents.iter().find(|a| &a.name == name);
        agent.and_then(|a| a.served_by.clone()).unwrap_or_else(|| name.clone())
    };
    for profile in profiles {
        let pairs = profile
            .agents
            .iter()
            .enumerate()
            .flat_map(|(i, a)| profile.agents[i + 1..].iter().map(move |b| (a, b)));
        for (a, b) in pairs {
            let (first, second) = (server(a), server(b));
            // A rule that names the two themselves was said above.
            if conflicts.iter().any(|set| set.contains(a) && set.contains(b)) {
                continue;
            }
            let rule = |set: &Vec<AgentName>| {
                let set: BTreeSet<AgentName> = set.iter().map(&server).collect();
                set.contains(&first) && set.contains(&second)
            };
            if first != second && conflicts.iter().any(rule) {
                found.problem(
                    &["profiles", &profile.name],
                    format!(
                        "{} holds {a} and {b}, whose servers a rule in conflicts forbids together.",
                        profile.name
                    ),
                    format!("Take one of them out of {}, or change the rule.", profile.name),
                );
            }
        }
    }
}

fn base(raw: &RawStack, found: &mut Findings) -> String {
    let mut known = raw.profiles.0.iter().map(|(name, _)| name.as_str());
    match &raw.base {
        None => known.next().unwrap_or_default().to_owned(),
        Some(base) => {
            // Without any profile that is said already.
            if !raw.profiles.0.is_empty() && !known.clone().any(|k| k == base) {
                let message = format!("The base profile {} does not exist.", quoted(base));
                found.problem(&["base"], message, instead_of(base, known));
            }
            base.clone()
        }
    }
}

fn known_agent(written: &str, known: &[&str], path: &[&str], found: &mut Findings) -> Option<AgentName> {
    match AgentName::new(written) {
        Ok(name) if known.contains(&written) => Some(name),
        _ => {
            let message = format!("There is no agent {}.", quoted(written));
            found.problem(path, message, instead_of(written, known.iter().copied()));
            None
        }
    }
}
