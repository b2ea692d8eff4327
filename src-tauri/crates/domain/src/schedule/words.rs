//! What clients and the record are told.

use std::time::Duration;

use super::crash::Crashes;
use super::{Denied, House};
use crate::agent::AgentName;
use crate::plan::Plan;

impl Denied {
    /// What happened, in one sentence.
    pub fn message(&self) -> &str {
        match self {
            Self::QueueFull { message, .. }
            | Self::TooOften { message, .. }
            | Self::DoesNotFit { message, .. }
            | Self::Failed { message, .. }
            | Self::Asleep { message, .. } => message,
        }
    }
}

/// "under 1 s", "41 s", "2 min 5 s", "1 h 20 min".
pub(super) fn seconds(time: Duration) -> String {
    let whole = time.as_secs() + u64::from(time.subsec_millis() >= 500);
    match whole {
        0 => "under 1\u{a0}s".to_owned(),
        1..60 => format!("{whole}\u{a0}s"),
        60..3600 if whole.is_multiple_of(60) => format!("{}\u{a0}min", whole / 60),
        60..3600 => format!("{}\u{a0}min {}\u{a0}s", whole / 60, whole % 60),
        _ => hours(whole),
    }
}

/// A time that lies ahead, rounded up: "8 min" rather than "7 min 12 s".
fn about(time: Duration) -> String {
    let whole = time.as_secs() + u64::from(time.subsec_nanos() > 0);
    match whole {
        0..=90 => format!("{}\u{a0}s", whole.max(1)),
        91..3600 => format!("{}\u{a0}min", whole.div_ceil(60)),
        _ => hours(whole),
    }
}

fn hours(whole: u64) -> String {
    match (whole / 3600, whole % 3600 / 60) {
        (hours, 0) => format!("{hours}\u{a0}h"),
        (hours, minutes) => format!("{hours}\u{a0}h {minutes}\u{a0}min"),
    }
}

pub(super) fn requests(count: u32) -> String {
    if count == 1 { "one request".to_owned() } else { format!("{count} requests") }
}

pub(super) fn restarts_now(proper: &str) -> String {
    format!("{proper} starts again, as asked: nobody uses it.")
}

pub(super) fn restart_forgotten(proper: &str) -> String {
    format!("{proper} stops: it needs no restart of its own any more.")
}

pub(super) fn restart_forgotten_by_switch(proper: &str) -> String {
    format!("{proper} does not start again by itself any more: another profile was chosen.")
}

pub(super) fn unknown(agent: &AgentName) -> (String, String) {
    (format!("There is no agent {agent} in the stack."), "GET /v1/models lists those that are.".to_owned())
}

pub(super) fn paused() -> Denied {
    Denied::Asleep {
        message: "Requests are paused.".to_owned(),
        next: "Resume the gateway in the window or the tray.".to_owned(),
        retry_after: Some(60),
    }
}

pub(super) fn yielded(proper: &str, until: Option<i64>, wall: i64) -> Denied {
    let left = until.map(|until| u64::try_from(until.saturating_sub(wall)).unwrap_or(0).max(1));
    let when = left.map_or_else(
        || "until it is taken back".to_owned(),
        |left| format!("for {} yet", about(Duration::from_secs(left))),
    );
    Denied::Asleep {
        message: format!("{proper} is asleep, and its memory is given to something else {when}."),
        next: "Take it back with asgard resume, or ask an agent that is awake.".to_owned(),
        retry_after: left,
    }
}

pub(super) fn asleep(agent: &AgentName, proper: &str) -> Denied {
    Denied::Asleep {
        message: format!("{proper} is asleep, and requests do not wake agents here."),
        next: format!("Start it with asgard start {agent}, or set wake = true in [gateway]."),
        retry_after: None,
    }
}

pub(super) fn stopped(proper: &str) -> Denied {
    Denied::Asleep {
        message: format!("{proper} was stopped by hand."),
        next: "Ask again in a minute, or ask an agent that is awake.".to_owned(),
        retry_after: Some(60),
    }
}

pub(super) fn cancelled(proper: &str) -> Denied {
    Denied::Asleep {
        message: format!("The start of {proper} was cancelled by hand."),
        next: "Ask again in a minute, or ask an agent that is awake.".to_owned(),
        retry_after: Some(60),
    }
}

pub(super) fn queue_full(proper: &str, waiting: usize) -> String {
    format!("{waiting} requests wait for {proper} already, and no more may. Ask again later.")
}

pub(super) fn cooling_down(proper: &str, left: Duration) -> String {
    format!(
        "{proper} was let go a short while ago and can start again in {}. Ask again then, or ask an agent that is \
         awake.",
        about(left)
    )
}

pub(super) fn budget_spent(proper: &str, limit: u32, left: Duration) -> String {
    let times = if limit == 1 { "once".to_owned() } else { format!("{limit} times") };
    format!(
        "{proper} cannot start: agents of its kind were summoned {times} in this session, which is all that tools may. \
         Start it by hand, begin a new session, or wait {}.",
        about(left)
    )
}

pub(super) fn did_not_stay(proper: &str) -> String {
    format!("{proper} was started and is down again.")
}

pub(super) fn start_failed(agent: &AgentName, proper: &str, message: &str, retry_after: u64) -> Denied {
    let message =
        if message.trim().is_empty() { format!("{proper} did not start.") } else { message.to_owned() };
    Denied::Failed {
        message,
        next: format!("Ask again, or see why with asgard logs {agent}."),
        retry_after: Some(retry_after),
    }
}

pub(super) fn given_up(agent: &AgentName, proper: &str, crashes: &Crashes) -> Denied {
    let why = crashes.why().trim();
    let why = if why.is_empty() { String::new() } else { format!(" The last time: {why}") };
    Denied::Failed {
        message: format!("{proper} failed {} times in a row and is left alone.{why}", crashes.in_a_row()),
        next: format!("See why with asgard logs {agent}, then start it with asgard start {agent}."),
        retry_after: None,
    }
}

pub(super) fn fits_not_now() -> String {
    "Stop an agent that is not needed, close other programs, or ask again later.".to_owned()
}

pub(super) fn see_doctor() -> String {
    "See what is wrong with asgard doctor.".to_owned()
}

/// Why an agent is woken, for the log: "2 requests wait for Odin, which stops Valkyrie."
pub(super) fn because(waiting: usize, server: &AgentName, plan: &Plan) -> String {
    let who = if waiting == 1 { "A request waits".to_owned() } else { format!("{waiting} requests wait") };
    let stops: Vec<String> = plan.stops().map(AgentName::proper).collect();
    let cost = if stops.is_empty() { String::new() } else { format!("; {} must stop", stops.join(" and ")) };
    format!("{who} for {}{cost}.", server.proper())
}

pub(super) fn idle(house: &House, agent: &AgentName, idle: Duration) -> String {
    let proper = house.agents.get(agent).map_or_else(|| agent.proper(), |s| s.proper.clone());
    format!("Nobody used {proper} for {}.", seconds(idle))
}
