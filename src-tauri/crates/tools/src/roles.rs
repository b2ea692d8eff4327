//! What each agent is told of itself and of the others: the way up, who is called for what.

use std::fmt::Write as _;

use domain::agent::AgentName;

use crate::household::{Household, Part};

/// With this line the part of a prompt begins that is ours: a prompt that has it was written by Asgard.
pub(crate) const PATH_LINE: &str = "Who to call for what:";

/// In a few words: when to call for it.
fn duty(household: &Household, part: &Part) -> String {
    match part.name.as_str() {
        "primary" => "leads: turns a goal into steps, hands them out, and decides".to_owned(),
        "coder" => "writes and changes code, and runs what can be run".to_owned(),
        "reviewer" => "decides questions of architecture, and reviews what is hard to take back: design, failure, safety".to_owned(),
        "utility" => "checks quickly: does it build, do the tests pass, are the rules kept; reads and sums up what is short".to_owned(),
        "loki" => "looks for what breaks it: odd input, odd order, claims that were never tested".to_owned(),
        "frigga" => "writes documents, and compresses long conversations and logs without losing decisions".to_owned(),
        _ => household
            .agent(&part.agent)
            .map(|a| if a.title.is_empty() { format!("{} of this household", a.model) } else { a.title.clone() })
            .unwrap_or_default(),
    }
}

fn person(household: &Household, name: &AgentName) -> String {
    household.agent(name).map_or_else(|| name.proper(), |a| a.display_name.clone())
}

/// One line, for the tool's list of agents.
pub(crate) fn description(household: &Household, part: &Part) -> String {
    let who = person(household, &part.agent);
    match household.agent(&part.agent).map(|a| a.title.as_str()).filter(|t| !t.is_empty()) {
        Some(title) if title != duty(household, part) => {
            format!("{who}, {title}: {}.", duty(household, part))
        }
        _ => format!("{who}: {}.", duty(household, part)),
    }
}

/// What calling for it costs, where that is more than a moment: of who is usually asleep and puts others to sleep.
fn price(household: &Household, part: &Part) -> String {
    let stack = household.stack;
    let server = stack.server_of(&part.agent);
    let usually_awake = stack
        .profile(&stack.base)
        .is_some_and(|base| base.agents.iter().any(|a| stack.server_of(a) == server));
    if usually_awake {
        return String::new();
    }
    let asleep: Vec<String> =
        household.puts_to_sleep(&part.agent).iter().map(|a| a.display_name.clone()).collect();
    if asleep.is_empty() {
        return String::new();
    }
    format!(
        " It has to be woken, which takes minutes and puts {} to sleep: call it seldom, once, with everything it needs.",
        asleep.join(" and ")
    )
}

/// The agent's own role, and the way up from it.
pub(crate) fn prompt(household: &Household, part: &Part) -> String {
    let agent = household.agent(&part.agent);
    let role = agent.map(|a| a.role.trim()).unwrap_or_default();
    let mut text = if role.is_empty() {
        format!("You are {}. Your part: {}.", person(household, &part.agent), duty(household, part))
    } else {
        role.to_owned()
    };
    let others: Vec<&Part> = household.parts.iter().filter(|p| p.agent != part.agent).collect();
    if others.is_empty() {
        return text;
    }
    let leads = household.primary() == &part.agent;
    let how = if leads {
        "Each of these is an agent that you give a task to, with all it needs to know."
    } else {
        "When a task is not yours, or you are stuck at the same place twice, stop and say in your answer which of these should be called, and with what."
    };
    let _ = write!(text, "\n\n{PATH_LINE} {how}");
    for other in others {
        let price = if other.name == "primary" { String::new() } else { price(household, other) };
        let _ = write!(
            text,
            "\n- {} ({}) {}.{price}",
            other.name,
            person(household, &other.agent),
            duty(household, other)
        );
    }
    if leads && household.part("coder").is_some() && household.part("reviewer").is_some() {
        text.push_str(
            "\nThe way up: do small things yourself, give code to coder, and what coder could not solve twice, or what is hard to take back, to reviewer.",
        );
    }
    text
}
