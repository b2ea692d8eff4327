//! `asgard status`: what runs, and what it holds.

use api::ApiError;
use api::shapes::status::{AgentStatus, EngineStatus, Pool, PoolAgent, Severity, Status, Switching};
use domain::agent::{AgentState, Stage};
use domain::memory::Unit;
use serde_json::{Value, json};
use std::fmt::Write as _;

use crate::Answer;
use crate::reach;
use crate::screen::Screen;
use crate::words::{duration, memory, percent, plain, proper, table, unit};

pub(crate) async fn run(screen: Screen, watch: bool) -> Result<Answer, ApiError> {
    let client = reach::running().await?;
    if !watch {
        show(screen, &client.call_value("status", json!({})).await?)?;
        return Ok(Answer::Yes);
    }
    let mut changes = client.open("watch", json!({}))?;
    let mut shown = None;
    loop {
        let status = client.call_value("status", json!({})).await?;
        let revision = status.get("revision").and_then(Value::as_u64);
        if shown != Some(revision) {
            if screen.terminal {
                // To the top left, and everything below it away: nothing flickers.
                screen.piece("\x1b[H\x1b[2J");
            } else if shown.is_some() {
                screen.say("");
            }
            show(screen, &status)?;
            shown = Some(revision);
        }
        // Chunks say that something changed; those that came before this look are answered by it.
        loop {
            match changes.next().await? {
                None => return Ok(Answer::Yes),
                Some(chunk) if chunk.get("revision").and_then(Value::as_u64) > revision => break,
                Some(_) => {}
            }
        }
    }
}

fn show(screen: Screen, status: &Value) -> Result<(), ApiError> {
    if screen.json {
        screen.document(status);
    } else {
        screen.piece(&render(&super::read(status)?));
    }
    Ok(())
}

/// The whole state for a person.
pub(crate) fn render(status: &Status) -> String {
    let unit = unit(status.pools.iter().map(|p| p.capacity_bytes));
    let mut lines = Vec::new();
    if status.rehearsal {
        let machine = match unit {
            Unit::Mb => "megabytes stand for gigabytes",
            Unit::Gb => "on the memory of a recorded machine",
        };
        lines.push(format!("Rehearsal: stand-ins answer, {machine}."));
    }
    let mut head = vec![row("Profile", &profile(status))];
    if let Some(switching) = &status.switching {
        head.push(row("Change", &progress(switching)));
    }
    head.extend(status.pools.iter().map(|pool| row("Memory", &pool_line(pool, status.pools.len(), unit))));
    head.push(row("Gateway", &gateway(status)));
    head.extend(status.engines.iter().map(|engine| row("Engine", &engine_line(engine))));
    let mut text = lines.join("\n");
    if !text.is_empty() {
        text.push('\n');
    }
    text.push_str(&table(&head, &[]));
    text.push('\n');
    text.push_str(&agents(status, unit));
    let failed = status.agents.iter().filter_map(|agent| Some((agent, agent.error.as_ref()?)));
    for (agent, failure) in failed {
        let _ = writeln!(text, "\n{}: {}", proper(&agent.name), failure.message);
        if !failure.next.is_empty() {
            let _ = writeln!(text, "{}", failure.next);
        }
    }
    for notice in &status.notices {
        let word = match notice.severity {
            Severity::Info => "Note",
            Severity::Warning => "Warning",
            Severity::Failure => "Failure",
        };
        text.push_str(format!("\n{word}: {} {}", notice.message, notice.next).trim_end_matches(' '));
        text.push('\n');
    }
    plain(&text)
}

fn row(name: &str, words: &str) -> Vec<String> {
    vec![name.to_owned(), words.to_owned()]
}

fn profile(status: &Status) -> String {
    let stack = if status.stack.saved { "" } else { ", the shipped stack" };
    match &status.profile {
        Some(profile) if status.profile_matches => format!("{profile}{stack}"),
        Some(profile) => format!("{profile}, but not exactly its agents are awake{stack}"),
        None => format!("none{stack}"),
    }
}

/// "to odin: step 2 of 6, stopping Valkyrie, 41 s left".
pub(crate) fn progress(switching: &Switching) -> String {
    let direction = if switching.undoing { "undoing the change to" } else { "to" };
    let mut text = format!(
        "{direction} {}: step {} of {}, {}",
        switching.to,
        switching.step,
        switching.steps,
        doing(&switching.stage, switching.agent.as_deref())
    );
    if let Some(share) = switching.progress {
        let _ = write!(text, ", {}", percent(share));
    }
    if let Some(left) = switching.seconds_left {
        let _ = write!(text, ", {} left", duration(left));
    }
    text
}

/// What a step does while it lasts.
pub(crate) fn doing(stage: &str, agent: Option<&str>) -> String {
    let who = agent.map(proper).unwrap_or_default();
    let words = match stage {
        "drain" => format!("{who} finishes its requests"),
        "stop" => format!("stopping {who}"),
        "wait_memory" => format!("waiting for the memory of {who}"),
        "pull" => format!("pulling the image of {who}"),
        "start" => format!("starting {who}"),
        "wait_ready" => format!("waiting until {who} answers"),
        "undo" => format!("putting back {who}"),
        // A later controller may know more steps.
        other => format!("{other} {who}"),
    };
    words.trim_end().to_owned()
}

fn pool_line(pool: &Pool, pools: usize, unit: Unit) -> String {
    let name = if pools > 1 { format!("{}: ", pool.name) } else { String::new() };
    let used = memory(pool.used_bytes, unit);
    let mut text = match pool.limit_bytes {
        Some(limit) => format!(
            "{name}{used} of {} in use, {} free, {} by other programs",
            memory(limit, unit),
            memory(limit.saturating_sub(pool.used_bytes), unit),
            memory(pool.other_bytes, unit)
        ),
        None => format!("{name}{used} in use, how much there is could not be detected"),
    };
    if pool.lost_bytes > 0 {
        let _ = write!(text, ", {} did not come back after a stop", memory(pool.lost_bytes, unit));
    }
    text
}

fn engine_line(engine: &EngineStatus) -> String {
    let name = format!("{} {}", engine.kind, engine.version.as_deref().unwrap_or_default());
    let name = name.trim_end();
    match &engine.error {
        Some(error) => format!("{name}: {} {}", error.message, error.next).trim_end().to_owned(),
        None if engine.reachable => name.to_owned(),
        None => format!("{name}: not reachable"),
    }
}

fn gateway(status: &Status) -> String {
    match (&status.gateway.address, &status.gateway.error) {
        (Some(address), _) if status.gateway.paused => format!("{address}, paused"),
        (Some(address), _) => address.clone(),
        // Said below, with what to do.
        (None, Some(error)) if status.notices.iter().any(|notice| notice.message == error.message) => {
            "off".to_owned()
        }
        (None, Some(error)) => format!("off: {} {}", error.message, error.next).trim_end().to_owned(),
        (None, None) => "off".to_owned(),
    }
}

/// Measured beside planned: a plan is a promise, a measurement is a fact.
fn agents(status: &Status, unit: Unit) -> String {
    let head = ["AGENT", "STATE", "MODEL", "PORT", "PLANNED", "MEASURED", "DETAIL"];
    let mut rows = vec![head.map(str::to_owned).to_vec()];
    for agent in &status.agents {
        let held: Vec<&PoolAgent> =
            status.pools.iter().flat_map(|p| &p.agents).filter(|held| held.agent == agent.name).collect();
        let measured: Option<u64> = held.iter().filter_map(|h| h.measured_bytes).reduce(u64::saturating_add);
        rows.push(vec![
            agent.name.clone(),
            state(agent),
            agent.model.clone(),
            agent.port.to_string(),
            memory(agent.claim_bytes, unit),
            measured.map(|m| memory(m, unit)).unwrap_or_default(),
            detail(agent),
        ]);
    }
    table(&rows, &[3, 4, 5])
}

fn state(agent: &AgentStatus) -> String {
    match (agent.state, agent.progress) {
        (AgentState::Pulling | AgentState::Starting | AgentState::Loading, Some(share)) => {
            format!("{} {}", agent.state, percent(share))
        }
        (state, _) => state.to_string(),
    }
}

fn detail(agent: &AgentStatus) -> String {
    let mut parts: Vec<String> = Vec::new();
    match agent.state {
        AgentState::Busy => {
            let asked = agent.running.unwrap_or(0);
            parts.push(format!("{asked} {}", if asked == 1 { "request" } else { "requests" }));
            if let Some(waiting) = agent.waiting.filter(|n| *n > 0) {
                parts.push(format!("{waiting} waiting"));
            }
            if let Some(speed) = agent.tokens_per_second {
                parts.push(format!("{speed:.0} tok/s"));
            }
        }
        AgentState::Pulling | AgentState::Starting | AgentState::Loading => {
            parts.extend(agent.stage.map(Stage::word).map(str::to_owned));
            parts.extend(agent.seconds_left.map(|s| format!("{} left", duration(s))));
        }
        AgentState::Asleep => parts.extend(agent.start_hint.clone()),
        AgentState::Ready | AgentState::Draining | AgentState::Stopping | AgentState::Failed => {}
    }
    parts.extend(agent.detail.clone());
    if agent.pinned {
        parts.push("pinned".to_owned());
    }
    if agent.restart_when_idle {
        parts.push("restarts when nobody uses it".to_owned());
    } else if agent.restart_to_apply {
        parts.push("restart to apply the stack file".to_owned());
    }
    parts.join(", ")
}

#[cfg(test)]
mod tests {
    use domain::memory::Bytes;

    use super::*;

    const GB: u64 = 1 << 30;

    fn sample() -> Value {
        let agent = |name: &str, state: &str, claim: f64| {
            json!({
                "name": name, "display_name": proper(name), "title": "", "state": state, "stage": null,
                "progress": null, "seconds_left": null, "detail": null, "engine": null, "endpoint": null,
                "backend": "vllm", "model": "Qwen/Qwen2.5", "quantization": null, "port": 8001, "context": 32768,
                "running": null, "waiting": null, "kv_cache_used": null, "tokens_per_second": null, "since": null,
                "drain_until": null, "idle_until": null, "restart_to_apply": false, "restart_when_idle": false, "pinned": name == "thor",
                "served_by": null, "adopted": false, "warnings": [],
                "glyph": null, "color": null, "claim_bytes": Bytes::gb(claim),
                "claim": {"weights_bytes": 0, "kv_bytes": 0, "overhead_bytes": 0}, "error": null,
                "start_hint": if state == "asleep" { json!("Stops Valkyrie") } else { json!(null) },
                "start_refused": false
            })
        };
        json!({
            "revision": 7, "profile": "standard", "profile_matches": true, "switching": null, "rehearsal": false,
            "engines": [{"id": "docker", "kind": "docker", "version": "20.10.24", "reachable": true, "error": null}],
            "gateway": {"address": "http://127.0.0.1:8899/v1", "paused": false, "error": null},
            "pools": [{
                "id": "unified", "name": "Memory", "kind": "unified", "capacity_bytes": 128 * GB,
                "limit_bytes": 120 * GB, "device_cap_bytes": 124 * GB, "used_bytes": 74 * GB,
                "device_used_bytes": 60 * GB, "other_bytes": 11 * GB, "lost_bytes": 0, "available_bytes": 46 * GB,
                "agents": [{
                    "agent": "thor", "reserved_bytes": 25 * GB, "measured_bytes": 24 * GB, "device_bytes": 24 * GB,
                    "host_bytes": 0, "weights_bytes": 0, "kv_bytes": 0, "overhead_bytes": 0, "learned": null
                }]
            }],
            "agents": [agent("thor", "ready", 25.3), agent("odin", "asleep", 62.0)],
            "notices": [], "unconfirmed": false, "open_neighbours": 0, "stack": {"name": "norse", "saved": true, "hash": "h"}, "since": "2026-01-01T00:00:00Z"
        })
    }

    fn text(change: impl FnOnce(&mut Value)) -> String {
        let mut status = sample();
        change(&mut status);
        render(&serde_json::from_value(status).unwrap())
    }

    #[test]
    fn at_rest() {
        let expected = "\
Profile  standard
Memory   74.0 GB of 120.0 GB in use, 46.0 GB free, 11.0 GB by other programs
Gateway  http://127.0.0.1:8899/v1
Engine   docker 20.10.24

AGENT  STATE   MODEL         PORT  PLANNED  MEASURED  DETAIL
thor   ready   Qwen/Qwen2.5  8001  25.3 GB   24.0 GB  pinned
odin   asleep  Qwen/Qwen2.5  8001  62.0 GB            Stops Valkyrie
";
        assert_eq!(text(|_| {}), expected);
    }

    #[test]
    fn a_rehearsal_says_so_first_and_counts_in_megabytes() {
        let text = text(|status| {
            status["rehearsal"] = json!(true);
            status["pools"][0]["capacity_bytes"] = json!(128 << 20);
            status["pools"][0]["limit_bytes"] = json!(120 << 20);
            status["pools"][0]["used_bytes"] = json!(74 << 20);
        });
        assert!(text.starts_with("Rehearsal: "), "{text}");
        assert!(text.contains("74.0 MB of 120.0 MB in use"), "{text}");
    }

    #[test]
    fn a_switch_a_failure_and_a_notice_are_said() {
        let text = text(|status| {
            status["switching"] = json!({
                "from": "standard", "to": "odin", "step": 2, "steps": 6, "agent": "valkyrie", "stage": "stop",
                "progress": 0.25, "seconds_left": 218.4, "cancellable": true, "undoing": false
            });
            status["agents"][1]["state"] = json!("failed");
            status["agents"][1]["error"] =
                json!({"code": "oom", "message": "Odin could not load.", "next": "Close something."});
            status["notices"] =
                json!([{"severity": "warning", "message": "The engine went away.", "next": ""}]);
        });
        assert!(
            text.contains("Change   to odin: step 2 of 6, stopping Valkyrie, 25 %, 3 min 38 s left\n"),
            "{text}"
        );
        assert!(text.contains("\nOdin: Odin could not load.\nClose something.\n"), "{text}");
        assert!(text.ends_with("\nWarning: The engine went away.\n"), "{text}");
    }

    #[test]
    fn an_engine_that_is_away_says_why_and_what_to_do() {
        let text = text(|status| {
            status["engines"][0]["reachable"] = json!(false);
            status["engines"][0]["version"] = json!(null);
            status["engines"][0]["error"] =
                json!({"code": "engine", "message": "It does not run.", "next": "Start it."});
            status["gateway"] = json!({"address": null, "paused": false, "error": null});
        });
        assert!(text.contains("It does not run. Start it."), "{text}");
        assert!(text.contains("Gateway  off\n"), "{text}");
    }

    #[test]
    fn every_step_of_a_plan_has_words() {
        for stage in ["drain", "stop", "wait_memory", "pull", "start", "wait_ready", "undo", "later"] {
            assert!(doing(stage, Some("odin")).contains("Odin"), "{stage}");
        }
        assert_eq!(doing("undo", None), "putting back");
    }
}
