//! The stack file, and whether each profile fits this machine.

use super::{Check, Facts, ask, fix};
use crate::memory::Bytes;
use crate::plan::{Goal, Plan, Situation, plan};
use crate::stack::{Profile, Stack};

pub(super) fn checks(facts: &Facts) -> Vec<Check> {
    let asked = ask(
        "stack",
        "Stack file",
        "It holds",
        "It says which agents there are. While it does not hold, the last one that did stays in force, or the shipped one.",
    );
    let stack = match &facts.stack {
        Ok(stack) => stack,
        Err(reason) => return vec![asked.fail(reason.clone(), "asgard config check\nasgard config edit")],
    };
    let found = format!("{}, {} agents, {} profiles", stack.name, stack.agents.len(), stack.profiles.len());
    let mut all = vec![asked.pass(found)];
    all.extend(stack.profiles.iter().map(|p| profile(facts, stack, p)));
    all
}

/// The machine with nothing running on it: what other programs hold can be closed.
fn empty(situation: &Situation) -> Situation {
    let mut pools = situation.pools.clone();
    for pool in &mut pools {
        pool.used = Bytes::ZERO;
        pool.device_used = pool.device_used.map(|_| Bytes::ZERO);
    }
    Situation { pools, ..Situation::default() }
}

fn profile(facts: &Facts, stack: &Stack, profile: &Profile) -> Check {
    let base = profile.name == stack.base;
    let title = format!("Profile {}{}", profile.name, if base { ", the base" } else { "" });
    let asked = ask(
        format!("profile.{}", profile.name),
        &title,
        "It fits",
        "A profile that does not fit is refused when it is asked for; nothing is started by halves.",
    );
    let to = |situation: &Situation| plan(stack, situation, &Goal::Profile(profile.name.clone()));
    let planned: Plan = match to(&facts.situation) {
        Ok(planned) => planned,
        Err(error) => return asked.skip(error.to_string()),
    };
    if planned.fits {
        return asked.pass(if planned.reason.is_empty() { "Fits".to_owned() } else { planned.reason });
    }
    let asked = if planned.next.is_empty() { asked } else { asked.because(planned.next.clone()) };
    let ever = to(&empty(&facts.situation)).is_ok_and(|p| p.fits);
    let look = format!("asgard plan {}", fix::quoted(&profile.name));
    if base && !ever {
        // The profile to return to: without it a start after login, a release and a restore all end in a refusal.
        asked.fail(planned.reason, format!("{look}\nasgard preset list"))
    } else {
        asked.warn(planned.reason, look)
    }
}
