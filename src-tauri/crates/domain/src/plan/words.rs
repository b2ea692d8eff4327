//! The sentences of plans. Agents are proper names, profiles are identifiers; a shortfall rounds up, spare rounds
//! down; what happened first, then what to do.

use std::collections::BTreeSet;

use super::proof::{Holding, Verdict, place_of};
use super::{Plan, PlannedPool};
use crate::agent::AgentName;
use crate::matrix::{self, Concern};
use crate::memory::{Bytes, GIB, Unit};
use crate::pool::{Ledger, Share};
use crate::stack::{Agent, Gpu};

/// Whom a plan is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Subject {
    Profile(String),
    Agent(AgentName),
    Asleep(AgentName),
    /// What ran before.
    Before,
    Nobody,
}

/// Why an agent stops.
pub(super) enum Why {
    /// A rule forbids the two together; in the rule's order.
    Rule(AgentName, AgentName),
    NotHeld(Subject, AgentName),
    Again(AgentName),
    Failed(AgentName),
    StoppingAlready(AgentName),
}

pub(super) fn stop(why: &Why) -> String {
    match why {
        Why::Rule(a, b) => never_together(a, b),
        Why::Again(name) => format!("{} is to start again", name.proper()),
        Why::Failed(name) => format!("{} failed and still holds memory", name.proper()),
        Why::StoppingAlready(name) => format!("{} is stopping already", name.proper()),
        Why::NotHeld(subject, name) => {
            let name = name.proper();
            match subject {
                Subject::Profile(profile) => format!("{profile} does not hold {name}"),
                Subject::Agent(wanted) => format!("{name} makes room for {}", wanted.proper()),
                Subject::Asleep(_) => format!("{name} is to sleep"),
                Subject::Before => format!("{name} was not awake before"),
                Subject::Nobody => "Every agent is to sleep".to_owned(),
            }
        }
    }
}

pub(super) fn drain(name: &AgentName, in_use: u32) -> String {
    let requests = if in_use == 1 { "request" } else { "requests" };
    format!("{} finishes {in_use} {requests}", name.proper())
}

pub(super) fn wait_memory(name: &AgentName, ledgers: &[Ledger], given_back: &[Share]) -> String {
    let back = |(l, share): (&Ledger, &Share)| {
        let held = share.total();
        (held > Bytes::ZERO).then(|| format!("{}{}", held.show(l.unit()), of_pool(l, ledgers)))
    };
    let amounts: Vec<String> = ledgers.iter().zip(given_back).filter_map(back).collect();
    if amounts.is_empty() {
        format!("{} has ended", name.proper())
    } else {
        format!("{} gives back {}", name.proper(), list(&amounts))
    }
}

pub(super) fn pull(name: &AgentName) -> String {
    format!("The image of {} is not on this machine yet", name.proper())
}

pub(super) fn start(subject: &Subject, name: &AgentName, concerns: &[Concern]) -> String {
    let why = match subject {
        Subject::Profile(profile) => format!("{profile} holds {}", name.proper()),
        Subject::Before => format!("{} was awake before", name.proper()),
        Subject::Agent(_) | Subject::Asleep(_) | Subject::Nobody => {
            format!("{} is to be awake", name.proper())
        }
    };
    concerns.iter().fold(why, |all, concern| format!("{all}. {}", concern.sentence))
}

/// What is known to go wrong with those that start, by name.
pub(super) fn concerns(gpu: Option<Gpu>, starting: &[&Agent]) -> Vec<String> {
    let of = |agent: &&Agent| {
        let name = agent.name.proper();
        matrix::concerns(gpu, agent).into_iter().map(move |concern| format!("{name}: {}", concern.sentence))
    };
    starting.iter().flat_map(of).collect()
}

/// The line of a plan that fits, with the servers of others that it has to do without.
pub(super) fn without(line: String, away: &[AgentName]) -> String {
    let (line, servers) = match away {
        [] => return line,
        [one] => (line, format!("{}'s server, which others run, is away", one.proper())),
        [..] => {
            let names: Vec<String> = away.iter().map(AgentName::proper).collect();
            (line, format!("the servers of {}, which others run, are away", list(&names)))
        }
    };
    match line.strip_suffix('.') {
        Some(sentence) => {
            format!("{}; {servers}.", sentence.replacen("Everything it", "Everything else it", 1))
        }
        None => format!("{line}; {servers}"),
    }
}

pub(super) fn wait_ready(name: &AgentName) -> String {
    format!("{} counts as ready when it has answered", name.proper())
}

pub(super) fn undoing(reason: &str) -> String {
    format!("Undoing: {reason}")
}

/// The line of a plan that fits.
pub(super) fn fits(
    subject: &Subject,
    stops: &[&AgentName],
    starts: &[&Agent],
    seconds: Option<f64>,
    spare: Option<(&Ledger, Bytes)>,
) -> String {
    if stops.is_empty() && starts.is_empty() {
        return match subject {
            Subject::Asleep(name) => format!("{} is asleep.", name.proper()),
            Subject::Nobody => "Every agent is asleep.".to_owned(),
            Subject::Agent(name) => format!("{} is awake.", name.proper()),
            Subject::Profile(_) | Subject::Before => "Everything it needs is awake.".to_owned(),
        };
    }
    if stops.is_empty() {
        return match spare {
            Some((ledger, spare)) => format!("Fits, {} to spare", spare.show_down(ledger.unit())),
            None => "Fits".to_owned(),
        };
    }
    let names: Vec<String> = stops.iter().map(|n| n.proper()).collect();
    match seconds {
        Some(seconds) => format!("Stops {}, {}", list(&names), about(seconds)),
        None => format!("Stops {}", list(&names)),
    }
}

/// What the sentence about missing memory is made from.
pub(super) struct Shortage<'a> {
    pub(super) subject: &'a Subject,
    pub(super) ledgers: &'a [Ledger],
    /// What would be held after the last start.
    pub(super) holding: &'a Holding,
    /// Its sums.
    pub(super) end: &'a [Share],
    pub(super) awake: &'a BTreeSet<AgentName>,
    pub(super) verdict: &'a Verdict,
    /// Pinned agents that are kept though the profile does not hold them.
    pub(super) pinned: Vec<AgentName>,
    /// Agents that others run: no switch ever stops them.
    pub(super) fixed: Vec<AgentName>,
}

/// Why it does not fit, and what to do; nothing where it does. Whom others run is named: nothing here can stop them.
pub(super) fn shortage(facts: &Shortage) -> Option<(String, String)> {
    let (reason, next) = what_is_short(facts)?;
    let worst = facts.verdict.worst()?;
    let ledger = facts.ledgers.get(worst.place)?;
    let held = held_by(facts, ledger, &facts.fixed);
    if held == Bytes::ZERO {
        return Some((reason, next));
    }
    let with_bytes = |n: &&AgentName| held_by(facts, ledger, std::slice::from_ref(*n)) > Bytes::ZERO;
    let names: Vec<String> = facts.fixed.iter().filter(with_bytes).map(AgentName::proper).collect();
    let one = names.len() == 1;
    let (run, hold) = if one { ("runs", "holds") } else { ("run", "hold") };
    let stop = if one { "Stop it where it was" } else { "Stop them where they were" };
    let reason = format!(
        "{reason} {}, which {run} on a server of others, {hold} {} of it.",
        list(&names),
        held.show(ledger.unit())
    );
    let next = if held >= worst.by() {
        format!("{stop} started, or in Settings under Engines, and take the place.")
    } else {
        next
    };
    Some((reason, next))
}

/// Why a role cannot sleep by itself.
pub(super) fn role_asleep(role: &AgentName, server: &AgentName) -> (String, String) {
    let (role, server) = (role.proper(), server.proper());
    (format!("{role} is a role on {server}'s server."), format!("Stop {server}, or leave both awake."))
}

/// What to do instead of loading the same weights twice.
pub(super) fn role_offer(agent: &AgentName, server: &AgentName) -> String {
    format!(
        "{} has the same model as {}: make it a role on that server with served_by = \"{server}\" in [agents.{agent}].",
        agent.proper(),
        server.proper()
    )
}

fn what_is_short(facts: &Shortage) -> Option<(String, String)> {
    let worst = facts.verdict.worst()?;
    let ledger = facts.ledgers.get(worst.place)?;
    let unit = ledger.unit();
    let place = of_pool(ledger, facts.ledgers);
    let agents = worst.held;
    let at_rest = facts.end.get(worst.place).copied().unwrap_or_default();
    let short = worst.by();

    let others: Bytes = facts
        .holding
        .agents
        .iter()
        .filter(|(name, _)| !facts.awake.contains(*name))
        .filter_map(|(_, row)| row.get(worst.place))
        .map(|s| s.total())
        .sum();
    // What others run is no reason for "never": they can stop it.
    let wanted = at_rest.total().saturating_sub(others).saturating_sub(held_by(facts, ledger, &facts.fixed));
    let floor = Ledger::other_floor(ledger.kind, ledger.capacity);
    if wanted + floor > ledger.limit {
        return Some(never(facts, ledger, wanted, &place));
    }
    let while_loading = match &worst.loading {
        Some(name) => format!(" while {} loads", name.proper()),
        None => String::new(),
    };
    if worst.device > worst.limit {
        return Some(over_the_cap(facts.subject, ledger, agents.device, &while_loading, short));
    }

    let need = match facts.subject {
        Subject::Profile(profile) => {
            format!("{profile} needs {}{place}{while_loading}", agents.total().show(unit))
        }
        Subject::Agent(name) => {
            format!(
                "With {} the agents need {}{place}{while_loading}",
                name.proper(),
                agents.total().show(unit)
            )
        }
        Subject::Before | Subject::Asleep(_) | Subject::Nobody => {
            format!("What was awake before needs {}{place}{while_loading}", agents.total().show(unit))
        }
    };
    let mut less = format!("{} of other programs", bare(ledger.planned_other(), unit));
    if ledger.other < floor {
        less = format!("{} kept for other programs", bare(floor, unit));
    }
    if ledger.lost > Bytes::ZERO {
        less = format!("{less} and {} that did not come back after a stop", bare(ledger.lost, unit));
    }
    let reason = format!(
        "{need}; {} is available to agents, {} limit less {less}: {} short.",
        ledger.for_agents().show(unit),
        bare(ledger.limit, unit),
        short.show_up(unit),
    );

    let closable = ledger.other.saturating_sub(floor);
    let pinned: Bytes = held_by(facts, ledger, &facts.pinned);
    let next = if pinned >= short {
        let names: Vec<String> = facts.pinned.iter().map(AgentName::proper).collect();
        let (it, is) = if names.len() == 1 { ("it", "is") } else { ("them", "are") };
        format!("{} {is} pinned and stays awake through a switch; stop {it} first.", list(&names))
    } else if closable >= short {
        format!("Close programs that hold {}, or lower a KV cache in the stack file.", short.show_up(unit))
    } else if closable + ledger.lost >= short {
        "Start the machine again to get back what did not come back, or lower a KV cache in the stack file."
            .to_owned()
    } else {
        "Lower a KV cache in the stack file, or stop another agent first.".to_owned()
    };
    Some((reason, next))
}

/// Even with nothing else on the machine but what is always counted for other programs.
fn never(facts: &Shortage, ledger: &Ledger, wanted: Bytes, place: &str) -> (String, String) {
    let unit = ledger.unit();
    let floor = Ledger::other_floor(ledger.kind, ledger.capacity);
    let highest = Ledger::limit_for(ledger.kind, ledger.capacity, Some(ledger.capacity));
    let whom = match facts.subject {
        Subject::Profile(profile) => profile.clone(),
        Subject::Agent(name) => format!("{} beside what is awake", name.proper()),
        Subject::Before | Subject::Asleep(_) | Subject::Nobody => "What was awake before".to_owned(),
    };
    let within_reach = wanted + floor <= highest;
    let whereto = if within_reach { "under this limit" } else { "on this machine" };
    let reason = format!(
        "{whom} can never fit {whereto}: its agents need {}{place} and other programs are counted with at least {}; \
         the limit is {}.",
        wanted.show(unit),
        bare(floor, unit),
        ledger.limit.show(unit),
    );
    let next = if within_reach {
        format!(
            "Raise limit under [memory] in the stack file to {} or more, or lower a KV cache.",
            (wanted + floor).show_up(unit)
        )
    } else {
        "Lower a KV cache or a context in the stack file, choose a smaller model, or take an agent out."
            .to_owned()
    };
    (reason, next)
}

/// The second bound: what the GPU may hold of unified memory.
fn over_the_cap(
    subject: &Subject,
    ledger: &Ledger,
    need: Bytes,
    while_loading: &str,
    short: Bytes,
) -> (String, String) {
    let unit = ledger.unit();
    let whose = match subject {
        Subject::Profile(profile) => format!("{profile}'s agents need"),
        Subject::Agent(name) => format!("with {} the agents need", name.proper()),
        Subject::Before | Subject::Asleep(_) | Subject::Nobody => "the agents awake before need".to_owned(),
    };
    let cap = ledger.device_cap.unwrap_or_default();
    let others = if ledger.device_other.share(10, unit.bytes()) > Bytes::ZERO {
        format!(", {} of it held by other programs", bare(ledger.device_other, unit))
    } else {
        String::new()
    };
    let reason = format!(
        "The GPU may hold {} together, the GTT cap{others}, and {whose} {} there{while_loading}: {} short.",
        cap.show(unit),
        need.show(unit),
        short.show_up(unit),
    );
    // The kernel counts in pages of 4 KiB; a whole gigabyte is easier to read and never too little.
    let wanted = (need + ledger.device_other).0.div_ceil(GIB);
    let next = format!(
        "Raise the GTT cap to at least {wanted} GB: put ttm.pages_limit={} on the kernel's command line and start \
         the machine again.",
        wanted.saturating_mul(GIB / 4096),
    );
    (reason, next)
}

pub(super) fn in_conflict(
    subject: &Subject,
    a: &AgentName,
    b: &AgentName,
    external: Option<&AgentName>,
) -> (String, String) {
    let rule = never_together(a, b);
    if let Some(external) = external {
        let other = if external == a { b } else { a };
        return (
            format!("{rule}, and {} is run by somebody else.", external.proper()),
            format!("Stop {} where it was started, or leave {} asleep.", external.proper(), other.proper()),
        );
    }
    let whose = match subject {
        Subject::Profile(profile) => format!("{profile} holds both"),
        Subject::Agent(_) | Subject::Before | Subject::Asleep(_) | Subject::Nobody => {
            "both are wanted".to_owned()
        }
    };
    (
        format!("{rule}, and {whose}."),
        "Leave one of them out, or change conflicts in the stack file.".to_owned(),
    )
}

/// A model that is split over more GPUs than this machine has.
pub(super) fn too_few_devices(agent: &Agent, gpus: usize) -> (String, String) {
    let there = if gpus == 1 { "has one".to_owned() } else { format!("has {gpus}") };
    (
        format!(
            "{} is split over {} GPUs, and this machine {there}.",
            agent.display_name, agent.tensor_parallel
        ),
        format!("Lower tensor_parallel in [agents.{}], and choose a model that then fits.", agent.name),
    )
}

/// A server that is not ours is asleep: nothing here can wake it.
pub(super) fn somebody_elses(name: &AgentName) -> (String, String) {
    (
        format!("{} is a server that somebody else runs, and it does not answer.", name.proper()),
        "Start it where it lives; it is taken up as soon as it answers.".to_owned(),
    )
}

impl Plan {
    /// The pool that is short of most, if any is.
    pub fn short(&self) -> Option<&PlannedPool> {
        let short = self.pools.iter().filter(|p| p.shortfall > Bytes::ZERO);
        short.reduce(|worst, p| if p.shortfall > worst.shortfall { p } else { worst })
    }

    /// One short line for a card: the reason of a plan that fits, else how much is missing. A refusal that only
    /// other programs are to blame for says so.
    pub fn brief(&self) -> String {
        if self.fits {
            return self.reason.clone();
        }
        let Some(pool) = self.short() else { return "Not possible".to_owned() };
        let ledger = &pool.ledger;
        let missing = pool.shortfall.show_up(ledger.unit());
        let closable = ledger.other.saturating_sub(Ledger::other_floor(ledger.kind, ledger.capacity));
        let by_limit = (pool.planned + ledger.planned_other() + ledger.lost).saturating_sub(ledger.limit);
        if by_limit == pool.shortfall && closable >= pool.shortfall {
            format!("Fits with {missing} closed")
        } else {
            format!("Does not fit: {missing} short")
        }
    }
}

fn never_together(a: &AgentName, b: &AgentName) -> String {
    format!("{} and {} are never awake together", a.proper(), b.proper())
}

fn held_by(facts: &Shortage, ledger: &Ledger, names: &[AgentName]) -> Bytes {
    let Some(place) = place_of(facts.ledgers, &ledger.id) else { return Bytes::ZERO };
    names.iter().filter_map(|n| facts.holding.agents.get(n)?.get(place)).map(|s| s.total()).sum()
}

/// " of GPU 0" where a machine has several pools.
fn of_pool(ledger: &Ledger, all: &[Ledger]) -> String {
    if all.len() > 1 { format!(" of {}", ledger.name) } else { String::new() }
}

/// One decimal, without the unit: for the further figures of a sentence whose first one has it.
pub(super) fn bare(bytes: Bytes, unit: Unit) -> String {
    format!("{:.1}", bytes.0 as f64 / unit.bytes() as f64)
}

/// "A", "A and B", "A, B and C".
pub(super) fn list(names: &[String]) -> String {
    match names {
        [] => String::new(),
        [one] => one.clone(),
        [first @ .., last] => format!("{} and {last}", first.join(", ")),
    }
}

/// An estimate of a time, rounded up: "about 90 s", "about 4 min".
pub(super) fn about(seconds: f64) -> String {
    let seconds = seconds.max(1.0);
    if seconds <= 20.0 {
        format!("about {:.0}\u{a0}s", seconds.ceil())
    } else if seconds <= 180.0 {
        format!("about {:.0}\u{a0}s", (seconds / 10.0).ceil() * 10.0)
    } else {
        format!("about {:.0}\u{a0}min", (seconds / 60.0).ceil())
    }
}
