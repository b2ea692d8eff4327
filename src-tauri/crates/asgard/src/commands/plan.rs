//! `asgard plan`: what a switch would do, without doing it.

use std::fmt::Write as _;
use std::path::Path;

use api::shapes::plans::{Plan, PlanChange, PlanChanged, PlanPool};
use api::{ApiError, Code};
use app::{FromState, OfflinePlan};
use domain::memory::Unit;
use serde_json::{Value, json};

use crate::Answer;
use crate::args::PlanArgs;
use crate::screen::Screen;
use crate::words::{duration, list, memory, plain, proper, table, unit};
use crate::{place, reach};

pub(crate) fn run(screen: Screen, ask: &PlanArgs) -> Result<Answer, ApiError> {
    // With another machine, another stack or another start in mind the controller's own state is beside the point.
    let change = ask.agent.as_ref().map(|agent| PlanChange {
        agent: agent.clone(),
        context: ask.context,
        sequences: ask.sequences,
        kv_dtype: ask.kv_dtype.clone(),
        kv_cache: ask.kv_cache.clone(),
    });
    let asks_here = ask.from.is_none() && ask.stack.is_none() && std::env::var_os("ASGARD_SYSROOT").is_none();
    let answer =
        if asks_here { super::block_on(of_the_controller(&ask.profile, change.as_ref()))? } else { None };
    let document = match answer {
        Some(document) => document,
        None => offline(ask, change)?,
    };
    let plan: Plan = super::read(&document)?;
    if screen.json {
        screen.document(&document);
    } else {
        screen.piece(&render(&plan));
    }
    Ok(if plan.fits { Answer::Yes } else { Answer::No })
}

/// `None` where none runs.
async fn of_the_controller(profile: &str, change: Option<&PlanChange>) -> Result<Option<Value>, ApiError> {
    let client = match reach::running().await {
        Ok(client) => client,
        Err(error) if error.code == Code::Unreachable => return Ok(None),
        Err(error) => return Err(error),
    };
    client.call_value("plan", json!({ "profile": profile, "agent": null, "change": change })).await.map(Some)
}

fn offline(ask: &PlanArgs, change: Option<PlanChange>) -> Result<Value, ApiError> {
    let options = place::options(place::paths(false)?, false, false)?;
    let wanted = OfflinePlan {
        profile: ask.profile.clone(),
        from: ask.from.as_deref().map(from).transpose()?,
        stack_file: ask.stack.clone(),
        change,
    };
    let plan = app::offline_plan(&options, &wanted)?;
    serde_json::to_value(plan)
        .map_err(|error| ApiError::new(Code::Failed, format!("The plan cannot be written: {error}."), ""))
}

/// A profile's name, or a file with what `asgard status --json` printed.
fn from(text: &str) -> Result<FromState, ApiError> {
    let path = Path::new(text);
    if path.extension().is_none_or(|e| !e.eq_ignore_ascii_case("json")) && !text.contains('/') {
        return Ok(FromState::Profile(text.to_owned()));
    }
    let wrong =
        |what: String| ApiError::new(Code::Usage, what, "Write one with: asgard status --json > FILE.json");
    let bytes = std::fs::read(path).map_err(|error| wrong(format!("{text} cannot be read: {error}.")))?;
    let state =
        serde_json::from_slice(&bytes).map_err(|error| wrong(format!("{text} is not JSON: {error}.")))?;
    Ok(FromState::Json(state))
}

fn render(plan: &Plan) -> String {
    let unit = unit(plan.pools.iter().map(|p| p.capacity_bytes));
    let mut text = plan.changed.as_ref().map(|c| what_if(c, unit)).unwrap_or_default();
    text.push_str(&verdict(plan));
    if !plan.steps.is_empty() {
        text.push('\n');
        text.push_str(&steps(plan, unit));
    }
    for pool in &plan.pools {
        text.push('\n');
        text.push_str(&pool_text(pool, unit));
    }
    plain(&text)
}

/// The change that the plan is asked about.
fn what_if(changed: &PlanChanged, unit: Unit) -> String {
    let keys: Vec<String> = changed
        .keys
        .iter()
        .map(|(key, value)| match (key.as_str(), value.as_u64(), value.as_str()) {
            ("kv_cache", Some(bytes), _) => format!("kv_cache {}", memory(bytes, unit)),
            (_, _, Some(text)) => format!("{key} {text}"),
            _ => format!("{key} {value}"),
        })
        .collect();
    let mut text = format!(
        "If {} had {}: it would take {} instead of {}.\n",
        proper(&changed.agent),
        list(&keys),
        memory(changed.claim_bytes_after, unit),
        memory(changed.claim_bytes_before, unit)
    );
    for note in &changed.notes {
        text.push_str(note);
        text.push('\n');
    }
    text
}

fn verdict(plan: &Plan) -> String {
    let to = plan.profile.as_deref().unwrap_or("This");
    let from = plan
        .from
        .as_deref()
        .filter(|from| *from != to)
        .map(|from| format!(" from {from}"))
        .unwrap_or_default();
    let dot = if plan.reason.ends_with('.') { "" } else { "." };
    let mut text = if let Some(spare) = plan.reason.strip_prefix("Fits").filter(|_| plan.fits) {
        format!("{to}{from}: fits{spare}{dot}")
    } else if plan.fits {
        format!("{to}{from}: fits. {}{dot}", plan.reason)
    } else {
        format!("{to}{from}: does not fit. {}{dot}", plan.reason)
    };
    if let Some(seconds) = plan.seconds.filter(|_| !plan.reason.contains("about")) {
        let _ = write!(text, " It takes about {}.", duration(seconds));
    }
    text.push('\n');
    if !plan.next.is_empty() {
        text.push_str(&plan.next);
        text.push('\n');
    }
    if plan.fits && !plan.awake.is_empty() {
        let names: Vec<String> = plan.awake.iter().map(|n| proper(n)).collect();
        let _ = writeln!(text, "Awake afterwards: {}.", list(&names));
    }
    text
}

fn steps(plan: &Plan, unit: Unit) -> String {
    let several = plan.pools.len() > 1;
    let rows: Vec<Vec<String>> = plan
        .steps
        .iter()
        .enumerate()
        .map(|(n, step)| {
            let peaks: Vec<String> = step
                .pools
                .iter()
                .map(|p| {
                    let name = if several { format!("{} ", p.id) } else { String::new() };
                    format!("{name}{}", memory(p.peak_bytes, unit))
                })
                .collect();
            vec![
                format!("{}.", n + 1),
                step.action.replace('_', " "),
                step.agent.clone(),
                step.seconds.map(|s| format!("about {}", duration(s))).unwrap_or_default(),
                if peaks.is_empty() { String::new() } else { format!("at most {}", peaks.join(", ")) },
                step.reason.clone(),
            ]
        })
        .collect();
    table(&rows, &[0])
}

fn pool_text(pool: &PlanPool, unit: Unit) -> String {
    let amount = |bytes: u64| memory(bytes, unit);
    let limit = pool.limit_bytes.map(|l| format!(" of {}", amount(l))).unwrap_or_default();
    let mut text = format!(
        "{}: {} planned for agents, at most {}{limit} in use, {} by other programs",
        pool.name,
        amount(pool.planned_bytes),
        amount(pool.peak_bytes),
        amount(pool.other_bytes)
    );
    if pool.lost_bytes > 0 {
        let _ = write!(text, ", {} lost", amount(pool.lost_bytes));
    }
    if let Some(cap) = pool.device_cap_bytes {
        let _ = write!(text, ", {} for the GPU", amount(cap));
    }
    if pool.shortfall_bytes > 0 {
        let short = domain::memory::Bytes(pool.shortfall_bytes).show_up(unit);
        let _ = write!(text, ", {short} short");
    }
    text.push_str(".\n");
    let rows: Vec<Vec<String>> = pool
        .agents
        .iter()
        .map(|agent| {
            let total =
                agent.weights_bytes.saturating_add(agent.kv_bytes).saturating_add(agent.overhead_bytes);
            vec![
                format!("  {}", agent.agent),
                amount(total),
                format!("weights {}", amount(agent.weights_bytes)),
                format!("KV cache {}", amount(agent.kv_bytes)),
                format!("overhead {}", amount(agent.overhead_bytes)),
                agent.basis.clone(),
            ]
        })
        .collect();
    text.push_str(&table(&rows, &[1]));
    text
}

#[cfg(test)]
mod tests {
    use domain::memory::Bytes;

    use super::*;

    const GB: u64 = 1 << 30;

    fn sample() -> Value {
        json!({
            "profile": "odin", "from": "standard", "fits": true, "reason": "Stops Valkyrie", "next": "",
            "stack_hash": "h",
            "steps": [
                {"action": "stop", "agent": "valkyrie", "seconds": null, "reason": "Odin and Valkyrie are never awake together",
                 "pools": [{"id": "unified", "reserved_bytes_after": 25 * GB, "peak_bytes": 74 * GB}]},
                {"action": "wait_ready", "agent": "odin", "seconds": 90.0, "reason": "Odin counts as ready when it has answered",
                 "pools": [{"id": "unified", "reserved_bytes_after": 87 * GB, "peak_bytes": 107 * GB}]}
            ],
            "pools": [{
                "id": "unified", "name": "Memory", "kind": "unified", "capacity_bytes": 125 * GB, "limit_bytes": 117 * GB,
                "device_cap_bytes": 124 * GB, "used_bytes": 20 * GB, "device_used_bytes": 0, "other_bytes": 20 * GB,
                "lost_bytes": 0, "available_bytes": 97 * GB, "planned_bytes": Bytes::gb(87.3),
                "peak_bytes": 107 * GB, "shortfall_bytes": 0,
                "agents": [{"agent": "odin", "weights_bytes": 37 * GB, "kv_bytes": 20 * GB, "overhead_bytes": 5 * GB,
                            "basis": "declared"}]
            }],
            "awake": ["odin", "thor"], "stops": ["valkyrie"], "starts": ["odin"], "seconds": null
        })
    }

    #[test]
    fn a_plan_that_fits_shows_its_steps_and_where_the_memory_goes() {
        let expected = "\
odin from standard: fits. Stops Valkyrie.
Awake afterwards: Odin and Thor.

1.  stop        valkyrie                    at most 74.0 GB   Odin and Valkyrie are never awake together
2.  wait ready  odin      about 1 min 30 s  at most 107.0 GB  Odin counts as ready when it has answered

Memory: 87.3 GB planned for agents, at most 107.0 GB of 117.0 GB in use, 20.0 GB by other programs, 124.0 GB for the GPU.
  odin  62.0 GB  weights 37.0 GB  KV cache 20.0 GB  overhead 5.0 GB  declared
";
        assert_eq!(render(&serde_json::from_value(sample()).unwrap()), expected);
    }

    #[test]
    fn that_it_fits_is_said_once() {
        let mut plan = sample();
        plan["reason"] = json!("Fits, 21.5\u{a0}GB to spare");
        let text = render(&serde_json::from_value(plan).unwrap());
        assert!(text.starts_with("odin from standard: fits, 21.5 GB to spare.\n"), "{text}");
    }

    #[test]
    fn a_refusal_rounds_the_shortfall_up_and_says_what_to_do() {
        let mut plan = sample();
        plan["fits"] = json!(false);
        plan["steps"] = json!([]);
        plan["reason"] = json!("It needs 122.3\u{a0}GB of 120.0\u{a0}GB.");
        plan["next"] = json!("Close other programs.");
        plan["pools"][0]["shortfall_bytes"] = json!(Bytes::gb(2.21));
        let text = render(&serde_json::from_value(plan).unwrap());
        let head = "odin from standard: does not fit. It needs 122.3 GB of 120.0 GB.\nClose other programs.\n\nMemory:";
        assert!(text.starts_with(head), "{text}");
        assert!(text.contains(", 2.3 GB short.\n"), "{text}");
    }

    #[test]
    fn from_is_a_profile_or_a_file() {
        assert!(matches!(from("standard"), Ok(FromState::Profile(p)) if p == "standard"));
        let error = from("nowhere.json").err().unwrap();
        assert_eq!(error.exit_code(), 2);
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("state.json");
        std::fs::write(&file, "{\"revision\": 3}").unwrap();
        assert!(matches!(from(file.to_str().unwrap()), Ok(FromState::Json(v)) if v["revision"] == 3));
        std::fs::write(&file, "{").unwrap();
        assert_eq!(from(file.to_str().unwrap()).err().unwrap().exit_code(), 2);
    }
}
