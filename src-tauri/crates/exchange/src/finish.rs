//! From agents as they were read to a stack file that passes the check.

use std::collections::BTreeSet;

use domain::memory::{Bytes, GIB, Unit};
use domain::stack::raw::RawStack;
use domain::stack::{BackendKind, Problem};

use crate::agents::{Claim, Draft};
use crate::interpolate::{has_unset, unset_in};
use crate::report::{Place, Report, is_secret_name, plain, quoted};
use crate::{Facts, Import, ImportError, claim, correct, write};

/// What was read, before it is checked.
#[derive(Debug, Default)]
pub(crate) struct Household {
    pub(crate) name: String,
    pub(crate) file: String,
    pub(crate) agents: Vec<Draft>,
    /// The profiles' names in their order; empty where the files have none.
    pub(crate) profiles: Vec<String>,
    /// The profiles are meant as they stand: nobody is added to them.
    pub(crate) explicit: bool,
    pub(crate) base: Option<String>,
    pub(crate) conflicts: Vec<Vec<String>>,
    pub(crate) gateway: Option<u16>,
}

/// The result with its profiles settled, as it is written.
#[derive(Debug, Default)]
pub(crate) struct Settled {
    pub(crate) name: String,
    pub(crate) base: String,
    pub(crate) conflicts: Vec<Vec<String>>,
    pub(crate) agents: Vec<Draft>,
    pub(crate) profiles: Vec<(String, Vec<String>)>,
    pub(crate) gateway: Option<u16>,
}

/// Kept free beside the agents when it is decided who is awake together; the plan of a switch decides for real.
const FREE: u64 = 10 * GIB;
/// Where the search for a free port begins.
const FIRST_PORT: u16 = 8001;
const GATEWAY_PORT: u16 = 8899;
const HALF_HOUR: u64 = 1800;

pub(crate) fn finish(mut house: Household, facts: &Facts, mut report: Report) -> Result<Import, ImportError> {
    let mut agents = Vec::new();
    for mut draft in std::mem::take(&mut house.agents) {
        unset(&mut draft, &mut report);
        secrets(&mut draft, &mut report);
        if draft.model().is_empty() {
            let message = "It names no model, so no agent was made of it.";
            report.not_understood(&draft.place, None, &draft.what, message);
            continue;
        }
        correct::correct(&mut draft, &mut report);
        patience(&mut draft, &mut report);
        if claim::claim(&mut draft, facts, &mut report) {
            agents.push(draft);
        }
    }
    unique(&mut agents, &mut report);
    if house.gateway == Some(0) {
        house.gateway = None;
    }
    ports(&mut agents, house.gateway.unwrap_or(GATEWAY_PORT), &mut report);
    // What a check still refuses is left out, one agent after the other.
    loop {
        if agents.is_empty() {
            return Err(report.error(nothing(&house, &report)));
        }
        let settled = settle(&house, agents.clone(), facts);
        let text = write::stack(&settled);
        match problems(&text) {
            None => {
                told(&settled, facts, &mut report);
                return Ok(import(text, report));
            }
            Some(problem) => {
                let culprit = problem
                    .path
                    .get(1)
                    .filter(|_| problem.path.first().is_some_and(|p| p == "agents"))
                    .and_then(|name| agents.iter().position(|a| &a.name == name));
                let Some(at) = culprit else {
                    return Err(report.error(ImportError { message: problem.message, next: problem.next }));
                };
                let draft = agents.remove(at);
                let message = format!("No agent was made of it: {} {}", problem.message, problem.next);
                report.not_understood(&draft.place, Some(&draft.name), &draft.what, message);
            }
        }
    }
}

fn import(stack: String, mut report: Report) -> Import {
    let mut lists =
        [&mut report.understood, &mut report.corrected, &mut report.not_understood].map(std::mem::take);
    for finding in lists.iter_mut().flatten() {
        report.clean(&mut finding.message);
        report.clean(&mut finding.what);
    }
    let [understood, corrected, not_understood] = lists;
    Import { stack, understood, corrected, not_understood, secrets: report.secrets }
}

fn nothing(house: &Household, report: &Report) -> ImportError {
    let why = report.not_understood.last().map(|f| format!(" The last that was left out: {}", f.message));
    ImportError {
        message: format!(
            "Nothing in {} describes a model server that can be taken over.{}",
            quoted(&house.file),
            why.unwrap_or_default()
        ),
        next: "Give the compose files together with their .env, or a .env that names models.".to_owned(),
    }
}

/// The first problem that the check of stack files has with this text.
pub(crate) fn problems(text: &str) -> Option<Problem> {
    let raw: RawStack = match toml_edit::de::from_str(text) {
        Ok(raw) => raw,
        Err(error) => {
            return Some(Problem {
                path: Vec::new(),
                message: format!("The stack file is not one: {}.", plain(error.message())),
                next: "Correct it there, then import it again.".to_owned(),
            });
        }
    };
    domain::stack::resolve(&raw, &domain::stack::Facts::default()).err()?.into_iter().next()
}

/// Takes out what hangs on variables that nobody set.
fn unset(draft: &mut Draft, report: &mut Report) {
    let (place, name, what) = (draft.place.clone(), draft.name.clone(), draft.what.clone());
    let mut gone = |text: &str, key: &str| {
        for variable in unset_in(text) {
            report.not_understood(
                &place,
                Some(&name),
                &format!("{what}.{key}"),
                format!("{} is not set, so this was left out. Give the .env that sets it.", plain(variable)),
            );
        }
        has_unset(text)
    };
    let line = &mut draft.line;
    for (key, value) in [
        ("model", &mut line.model),
        ("dtype", &mut line.dtype),
        ("kv_dtype", &mut line.kv_dtype),
        ("quantization", &mut line.quantization),
        ("tool_parser", &mut line.tool_parser),
        ("revision", &mut line.revision),
        ("draft_model", &mut line.draft_model),
        ("gpu_layers", &mut line.gpu_layers),
        ("image", &mut draft.image),
    ] {
        if value.as_deref().is_some_and(|v| gone(v, key)) {
            *value = None;
        }
    }
    let mut kept: Vec<String> = Vec::new();
    for word in std::mem::take(&mut line.rest) {
        if !gone(&word, "command") {
            kept.push(word);
        } else if !word.starts_with('-')
            && kept.last().is_some_and(|w| w.starts_with('-') && !w.contains('='))
        {
            kept.pop();
        }
    }
    line.rest = kept;
    // What Asgard sets itself hangs on nothing.
    draft.env.retain(|key, value| correct::is_own(key) || !gone(value, &format!("environment.{key}")));
}

/// Takes tokens out of what would be written down.
fn secrets(draft: &mut Draft, report: &mut Report) {
    let (place, name) = (draft.place.clone(), draft.name.clone());
    for key in draft.env.keys().cloned().collect::<Vec<_>>() {
        let value = draft.env.get(&key).cloned().unwrap_or_default();
        if is_secret_name(&key) || report.holds_secret(&value) {
            report.secret(&place, Some(&name), &key, &value);
            draft.env.remove(&key);
        }
    }
    if let Some(token) = draft.line.hub_token.take()
        && !has_unset(token.reveal())
    {
        report.secret(&place, Some(&name), "HF_TOKEN", token.reveal());
    }
    if let Some(key) = draft.line.api_key.take() {
        if !has_unset(key.reveal()) {
            report.secret(&place, Some(&name), &format!("{}_API_KEY", variable(&name)), key.reveal());
        }
        report.corrected(
            &place,
            Some(&name),
            &format!("{}.--api-key", draft.what),
            "The server's own key is not used: every start has a fresh one, which Bifrost knows.",
        );
    }
    let mut kept: Vec<String> = Vec::new();
    let mut after_secret = false;
    for word in std::mem::take(&mut draft.line.rest) {
        let (flag, inline) = word.split_once('=').map_or((word.as_str(), None), |(f, v)| (f, Some(v)));
        let named = flag.starts_with("--") && is_secret_name(&flag.trim_start_matches('-').replace('-', "_"));
        if named || after_secret || report.holds_secret(&word) {
            let value = if named { inline } else { Some(word.as_str()) };
            if let Some(value) = value {
                report.secret(&place, Some(&name), &format!("{}_ARGUMENT", variable(&name)), value);
            }
            if !named && kept.last().is_some_and(|w| w.starts_with('-') && !w.contains('=')) && !after_secret
            {
                kept.pop();
            }
            after_secret = named && inline.is_none();
        } else {
            kept.push(word);
        }
    }
    draft.line.rest = kept;
    for text in
        [&mut draft.line.model, &mut draft.line.revision, &mut draft.line.draft_model, &mut draft.image]
    {
        if text.as_deref().is_some_and(|t| report.holds_secret(t)) {
            *text = None;
        }
    }
}

fn variable(name: &str) -> String {
    name.to_ascii_uppercase().replace('-', "_")
}

fn patience(draft: &mut Draft, report: &mut Report) {
    match draft.load_timeout {
        Some(seconds) if seconds < HALF_HOUR => {
            report.corrected(
                &draft.place,
                Some(&draft.name),
                &format!("{}.healthcheck", draft.what),
                format!(
                    "Its health check gives up after {} min; a start may take 30 min here, as the first of a large model \
                     does.",
                    seconds.div_ceil(60)
                ),
            );
            draft.load_timeout = None;
        }
        // Half an hour is what Asgard waits anyway.
        Some(seconds) => draft.load_timeout = Some(seconds.min(24 * 3600)).filter(|s| *s > HALF_HOUR),
        None => {}
    }
}

fn unique(agents: &mut [Draft], report: &mut Report) {
    let mut taken: BTreeSet<String> = BTreeSet::new();
    for draft in agents {
        let first = draft.name.clone();
        let mut number = 2;
        while !taken.insert(draft.name.clone()) {
            let mut short = first.clone();
            short.truncate(36);
            draft.name = format!("{short}-{number}");
            number += 1;
        }
        if draft.name != first {
            let message = format!("There is a {first} already; this one is called {}.", draft.name);
            report.corrected(&draft.place, Some(&draft.name), &draft.what, message);
        }
    }
}

fn ports(agents: &mut [Draft], gateway: u16, report: &mut Report) {
    let mut taken: BTreeSet<u16> = BTreeSet::from([gateway]);
    let wanted: BTreeSet<u16> = agents.iter().filter_map(|a| a.line.port).collect();
    for draft in agents {
        if matches!(draft.backend(), BackendKind::Ollama | BackendKind::External) {
            continue;
        }
        if let Some(port) = draft.line.port
            && port > 0
            && taken.insert(port)
        {
            continue;
        }
        let Some(free) = (FIRST_PORT..=u16::MAX).find(|p| !taken.contains(p) && !wanted.contains(p)) else {
            continue;
        };
        taken.insert(free);
        let message = match draft.line.port {
            Some(port) => format!("Port {port} is taken in this stack; it listens on {free}."),
            None => {
                format!("No port was given; it listens on {free}. Clients reach it by name through Bifrost.")
            }
        };
        report.corrected(&draft.place, Some(&draft.name), &format!("{}.port", draft.what), message);
        draft.line.port = Some(free);
    }
}

/// Who is awake together.
fn settle(house: &Household, agents: Vec<Draft>, facts: &Facts) -> Settled {
    let has = |name: &str| agents.iter().any(|a| a.name == name);
    let mut conflicts: Vec<Vec<String>> = house
        .conflicts
        .iter()
        .map(|set| set.iter().filter(|name| has(name)).cloned().collect::<Vec<_>>())
        .filter(|set: &Vec<String>| set.len() > 1)
        .collect();
    if !house.explicit && has("odin") && has("valkyrie") {
        conflicts.push(vec!["odin".to_owned(), "valkyrie".to_owned()]);
    }
    let mut profiles: Vec<(String, Vec<String>)> = Vec::new();
    let names = |list: &[&Draft]| list.iter().map(|a| a.name.clone()).collect::<Vec<_>>();
    if house.profiles.is_empty() {
        let always: Vec<&Draft> = agents.iter().filter(|a| is_first(a, &agents)).collect();
        let norse = has("thor") && has("valkyrie");
        let standard: Vec<&Draft> = if norse {
            agents.iter().filter(|a| a.name == "thor" || a.name == "valkyrie").collect()
        } else {
            together(Vec::new(), agents.iter(), facts)
        };
        profiles.push(("standard".to_owned(), names(&standard)));
        for agent in agents.iter().filter(|a| !standard.iter().any(|s| s.name == a.name)) {
            let others = standard.iter().copied().filter(|s| !at_odds(&conflicts, &s.name, &agent.name));
            // Thor is always awake; another leader, and the rest, where they fit beside it.
            let thor = always.iter().copied().filter(|a| a.name == "thor");
            let first: Vec<&Draft> = thor.chain([agent]).collect();
            let mut members = together(first, always.iter().copied().chain(others), facts);
            members.sort_by_key(|m| agents.iter().position(|a| a.name == m.name));
            profiles.push((agent.name.clone(), names(&members)));
        }
    } else {
        let mut listed = house.profiles.clone();
        let unnamed = agents.iter().any(|a| a.profiles.is_empty());
        if unnamed && !listed.iter().any(|p| p == "standard") && !house.explicit {
            listed.insert(0, "standard".to_owned());
        }
        for profile in listed {
            let own = |a: &&Draft| a.profiles.is_empty() || a.profiles.contains(&profile);
            let mut members: Vec<&Draft> = agents.iter().filter(own).collect();
            if !house.explicit && profile != "standard" {
                let standard = agents.iter().filter(|a| {
                    a.profiles.iter().any(|p| p == "standard")
                        && !members.iter().any(|m| m.name == a.name || at_odds(&conflicts, &m.name, &a.name))
                });
                let standard: Vec<&Draft> = standard.collect();
                members = together(members, standard.into_iter(), facts);
            }
            // Two that are at odds cannot both be meant: the later one stays asleep.
            let mut fine: Vec<&Draft> = Vec::new();
            for member in members {
                if !fine.iter().any(|f| at_odds(&conflicts, &f.name, &member.name)) {
                    fine.push(member);
                }
            }
            let order = |a: &&Draft| agents.iter().position(|b| b.name == a.name);
            fine.sort_by_key(order);
            if !fine.is_empty() {
                profiles.push((profile.clone(), names(&fine)));
            }
        }
    }
    let named = |name: &String| profiles.iter().any(|(p, _)| p == name);
    let base = house
        .base
        .clone()
        .filter(&named)
        .or_else(|| Some("standard".to_owned()).filter(&named))
        .or_else(|| profiles.first().map(|(name, _)| name.clone()))
        .unwrap_or_default();
    Settled { name: house.name.clone(), base, conflicts, agents, profiles, gateway: house.gateway }
}

fn is_first(agent: &Draft, all: &[Draft]) -> bool {
    agent.name == "thor" || (agent.name == "orchestrator" && !all.iter().any(|a| a.name == "thor"))
}

fn at_odds(conflicts: &[Vec<String>], a: &String, b: &String) -> bool {
    a != b && conflicts.iter().any(|set| set.contains(a) && set.contains(b))
}

/// `members` and as many of `others`, in their order, as the memory holds beside them.
fn together<'a>(
    mut members: Vec<&'a Draft>,
    others: impl Iterator<Item = &'a Draft>,
    facts: &Facts,
) -> Vec<&'a Draft> {
    for other in others {
        if members.iter().any(|m| m.name == other.name) {
            continue;
        }
        members.push(other);
        if members.len() > 1 && !fit(&members, facts) {
            members.pop();
        }
    }
    members
}

fn fit(members: &[&Draft], facts: &Facts) -> bool {
    let shares: f64 = members
        .iter()
        .map(|m| match (&m.claim, m.line.utilization) {
            (Some(Claim::Share(share)), _) => *share,
            (_, Some(share)) if facts.capacity.is_none() => share,
            _ => 0.0,
        })
        .sum();
    let bytes = members.iter().filter_map(|m| claim::bytes(m, facts)).fold(0_u64, u64::saturating_add);
    shares <= 1.0 + 1e-9 && facts.capacity.is_none_or(|c| bytes <= c.0.saturating_sub(FREE))
}

/// What is said of the whole.
fn told(settled: &Settled, facts: &Facts, report: &mut Report) {
    let place = settled.agents.first().map(|a| Place { line: None, ..a.place.clone() }).unwrap_or_default();
    let sum: f64 = settled.agents.iter().filter_map(|a| a.line.utilization).sum();
    if sum > 1.0 + 1e-9 {
        report.corrected(
            &place,
            None,
            "gpu_util",
            format!(
                "The shares of all agents are {sum:.2} together, more than there is. They are never all awake at once: \
                 each profile holds those that fit."
            ),
        );
    }
    for (profile, members) in &settled.profiles {
        let drafts: Vec<&Draft> = settled.agents.iter().filter(|a| members.contains(&a.name)).collect();
        let line = format!("Profile {profile}: {}.", members.join(", "));
        report.understood(&place, None, &format!("profiles.{profile}"), line);
        if !fit(&drafts, facts) {
            let bytes: u64 =
                drafts.iter().filter_map(|d| claim::bytes(d, facts)).fold(0, u64::saturating_add);
            report.corrected(
                &place,
                None,
                &format!("profiles.{profile}"),
                format!(
                    "Its agents claim {} together, which this machine does not hold beside the system. The stack keeps \
                     them; a switch to it is refused until one is smaller.",
                    Bytes(bytes).show(Unit::Gb)
                ),
            );
        }
    }
}
