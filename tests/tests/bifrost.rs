//! Journeys across Bifrost: who sleeps is summoned, who waits is told, and what was before comes back.

use std::time::{Duration, Instant};

use futures_util::StreamExt;
use journeys::household::{Household, state_of};
use journeys::steps::{SWITCH, awake, journal_holds, ready, streamed_text};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

const DEADLINE: Duration = Duration::from_secs(60);

fn quick() -> Household {
    let mut household = Household::new();
    household.set("ASGARD_REHEARSAL_LOAD_MS", "500").set("ASGARD_REHEARSAL_TOKENS_PER_SECOND", "80");
    household
}

async fn ask(household: &Household, model: &str, text: &str, max_tokens: u32) -> (u16, String) {
    let asked = journeys::steps::ask(household, model, text, max_tokens);
    tokio::time::timeout(DEADLINE, asked).await.expect("an answer in time")
}

fn http() -> reqwest::Client {
    net::plain().build().unwrap()
}

async fn root(household: &Household) -> String {
    let address = household.status().await.gateway.address.expect("Bifrost is open");
    address.trim_end_matches("/v1").to_owned()
}

async fn post(household: &Household, path: &str) -> (u16, Option<String>, Value) {
    let url = format!("{}{path}", root(household).await);
    let answer = tokio::time::timeout(DEADLINE, http().post(url).send()).await.expect("in time").unwrap();
    let status = answer.status().as_u16();
    let retry = answer.headers().get("retry-after").and_then(|v| v.to_str().ok()).map(str::to_owned);
    (status, retry, answer.json().await.unwrap_or_default())
}

async fn get(household: &Household, path: &str) -> Value {
    let url = format!("{}{path}", root(household).await);
    http().get(url).send().await.unwrap().json().await.unwrap_or_default()
}

fn chat(model: &str, stream: bool, text: &str, max_tokens: u32) -> Value {
    json!({
        "model": model, "stream": stream, "max_tokens": max_tokens,
        "messages": [{"role": "user", "content": text}],
    })
}

fn stand_in_of(household: &Household, agent: &str) -> Pid {
    let mark = format!("ASGARD_AGENT={agent}");
    household
        .processes()
        .into_iter()
        .find(|pid| {
            let has = |file: &str, text: &[u8]| {
                std::fs::read(format!("/proc/{pid}/{file}"))
                    .is_ok_and(|c| c.split(|b| *b == 0).any(|a| a == text))
            };
            has("cmdline", b"stand-in") && has("environ", mark.as_bytes())
        })
        .and_then(|pid| Pid::from_raw(i32::try_from(pid).unwrap()))
        .unwrap_or_else(|| panic!("no stand-in of {agent} runs"))
}

/// Odin may go again as soon as he has come.
async fn at_once(household: &Household) {
    let file: Value = household.client().await.call("save_stack", json!({})).await.unwrap();
    let path = file["path"].as_str().unwrap();
    let text = std::fs::read_to_string(path).unwrap();
    let lines = text.lines().filter(|line| !line.starts_with("min_residency"));
    std::fs::write(path, lines.map(|line| format!("{line}\n")).collect::<String>()).unwrap();
    // Read again by itself; the hash says when.
    let before = household.status().await.stack.hash;
    household.wait_status("the stack is read", DEADLINE, |s| s.stack.hash != before).await;
}

#[tokio::test]
async fn a_request_wakes_who_sleeps_and_a_look_wakes_nobody() {
    let mut household = quick();
    household.serve(&[]).await;
    for path in ["/v1/models", "/v1/health", "/v1/status", "/v1/models/odin", "/metrics"] {
        get(&household, path).await;
    }
    assert!(awake(&household.status().await).is_empty(), "looking wakes nobody");
    let (status, body) = ask(&household, "heimdall", "Who are you?", 20).await;
    assert_eq!(status, 200, "{body}");
    assert!(!streamed_text(&body).is_empty(), "{body}");
    assert!(body.contains("data: [DONE]"), "{body}");
    assert!(body.starts_with(": "), "life came before the answer: {body}");
    assert!(ready(&household.status().await, &["heimdall"]));
    let told = get(&household, "/v1/status").await;
    assert_eq!(told["summon_counts"]["utility"], 1, "{told:#}");
    assert_eq!(told["running_agents"], json!(["heimdall"]), "{told:#}");
    journal_holds(&household);
}

#[tokio::test]
async fn the_first_byte_comes_at_once_and_the_wait_is_told() {
    let mut household = quick();
    household.set("ASGARD_REHEARSAL_LOAD_MS", "6000");
    household.serve(&[]).await;
    let url = format!("{}/v1/chat/completions", root(&household).await);
    let began = Instant::now();
    let answer = http().post(url).json(&chat("loki", true, "Hello", 10)).send().await.unwrap();
    assert_eq!(answer.status().as_u16(), 200);
    assert_eq!(answer.headers()["content-type"], "text/event-stream");
    assert!(answer.headers().contains_key("x-asgard-stage"), "{:?}", answer.headers());
    let mut bytes = answer.bytes_stream();
    let first = tokio::time::timeout(DEADLINE, bytes.next()).await.unwrap().unwrap().unwrap();
    assert!(began.elapsed() < Duration::from_secs(1), "the first byte took {:?}", began.elapsed());
    assert!(first.starts_with(b":"), "{first:?}");
    let (mut text, mut longest, mut last) = (first.to_vec(), Duration::ZERO, Instant::now());
    while let Some(chunk) = tokio::time::timeout(DEADLINE, bytes.next()).await.unwrap() {
        longest = longest.max(last.elapsed());
        last = Instant::now();
        text.extend_from_slice(&chunk.unwrap());
    }
    assert!(longest < Duration::from_secs(4), "silent for {longest:?}");
    let text = String::from_utf8(text).unwrap();
    assert!(text.contains("Loading Loki") || text.contains("stage="), "{text}");
    assert!(!streamed_text(&text).is_empty() && text.trim_end().ends_with("[DONE]"), "{text}");
}

#[tokio::test]
async fn a_swap_waits_for_the_answer_under_way_and_serves_everyone_who_waits() {
    let mut household = quick();
    household.set("BIFROST_ODIN_COOLDOWN", "0").set("BIFROST_SESSION_BUDGET_ODIN", "0");
    household.serve(&[]).await;
    household.json(&["switch", "standard"]).await;
    let long = ask(&household, "valkyrie", "Write a long story", 160);
    let odin = async {
        household.wait_status("valkyrie busy", SWITCH, |s| state_of(s, "valkyrie") == "busy").await;
        let all = (0..3).map(|_| ask(&household, "odin", "Judge this", 10));
        futures_util::future::join_all(all).await
    };
    let ((status, story), answers) = tokio::join!(long, odin);
    assert_eq!(status, 200);
    assert!(story.trim_end().ends_with("[DONE]"), "the answer under way was not cut: {story}");
    for (status, body) in answers {
        assert_eq!(status, 200, "{body}");
        assert!(!streamed_text(&body).is_empty(), "{body}");
    }
    let starts =
        household.journal_entries().into_iter().filter(|e| e["agent"] == "odin" && e["event"] == "ready");
    assert_eq!(starts.count(), 1, "one swap served all three");
    journal_holds(&household);
}

/// Another context for Valkyrie, in the stack file.
async fn change_valkyrie(household: &Household, context: u64) {
    let client = household.client().await;
    let hash = client.call::<Value>("stack_form", json!({})).await.unwrap()["hash"].clone();
    let edits = json!([{"edit": "change_agent", "agent": "valkyrie", "keys": {"context": context}}]);
    let asked = json!({"hash": hash, "edits": edits, "dry_run": false});
    let edited: Value = client.call("edit_stack", asked).await.unwrap();
    assert_eq!((&edited["saved"], &edited["restarts"]), (&json!(true), &json!(["valkyrie"])), "{edited:#}");
}

fn starts_of(household: &Household, agent: &str) -> usize {
    let ready = |e: &&Value| e["agent"] == agent && e["event"] == "ready";
    household.journal_entries().iter().filter(ready).count()
}

fn command_of(pid: Pid) -> String {
    let line = std::fs::read(format!("/proc/{}/cmdline", pid.as_raw_nonzero())).unwrap_or_default();
    String::from_utf8_lossy(&line).replace('\0', " ")
}

#[tokio::test]
async fn a_restart_that_was_asked_for_waits_for_the_answer_under_way() {
    let household = &mut quick();
    household.serve(&[]).await;
    household.json(&["switch", "standard"]).await;
    let before = stand_in_of(household, "valkyrie");
    let busy = |s: &api::shapes::status::Status| state_of(s, "valkyrie") == "busy";
    let waits = |s: &api::shapes::status::Status| {
        s.agents.iter().any(|a| a.name == "valkyrie" && a.restart_when_idle)
    };
    let idle = |s: &api::shapes::status::Status| state_of(s, "valkyrie") == "ready" && s.switching.is_none();

    // Asked for and taken back: the answer ends, and nothing else happens.
    let long = ask(household, "valkyrie", "Write a long story", 160);
    let asked = async {
        household.wait_status("valkyrie busy", SWITCH, busy).await;
        change_valkyrie(household, 8192).await;
        let said = household.asgard(&["restart", "valkyrie", "--when-idle"]).await.ok();
        assert!(said.stdout.contains("when its last request has ended"), "{}", said.stdout);
        household.wait_status("it waits", SWITCH, waits).await;
        let shown = household.asgard(&["status"]).await.ok();
        assert!(shown.stdout.contains("restarts when nobody uses it"), "{}", shown.stdout);
        household.asgard(&["restart", "valkyrie", "--take-back"]).await.ok();
        assert!(!waits(&household.status().await));
    };
    let ((status, story), ()) = tokio::join!(long, asked);
    assert_eq!(status, 200);
    assert!(story.trim_end().ends_with("[DONE]"), "{story}");
    household.wait_status("valkyrie rests", SWITCH, idle).await;
    assert_eq!(stand_in_of(household, "valkyrie"), before, "it was taken back");

    // Asked for by "apply": it comes with the end of the answer, not sooner, and with the new setting.
    let long = ask(household, "valkyrie", "Write a long story", 400);
    let asked = async {
        household.wait_status("valkyrie busy", SWITCH, busy).await;
        let applied: Value = household.client().await.call("apply_stack", json!({})).await.unwrap();
        assert_eq!(applied, json!({"restarted": [], "busy": ["valkyrie"]}));
        let seen = household.wait_status("it waits", SWITCH, waits).await;
        assert!(busy(&seen) && seen.switching.is_none(), "no drain has begun: {seen:#?}");
        assert_eq!(stand_in_of(household, "valkyrie"), before);
        household.wait_status("it goes", SWITCH, |s| !waits(s)).await;
    };
    let ((status, story), ()) = tokio::join!(long, asked);
    assert_eq!(status, 200);
    assert!(story.trim_end().ends_with("[DONE]"), "the answer was not cut: {story}");
    household
        .wait_status("valkyrie is back", SWITCH, |s| idle(s) && starts_of(household, "valkyrie") == 2)
        .await;
    let after = stand_in_of(household, "valkyrie");
    assert_ne!(after, before);
    assert!(command_of(after).contains("8192"), "{}", command_of(after));
    assert!(household.status().await.agents.iter().all(|a| !a.restart_to_apply && !a.restart_when_idle));

    // Nobody uses it: it goes at once. Who sleeps has nothing to restart.
    household.asgard(&["restart", "valkyrie", "--when-idle"]).await.ok();
    household.wait_status("again", SWITCH, |s| idle(s) && starts_of(household, "valkyrie") == 3).await;
    let asleep = household.asgard(&["restart", "odin", "--when-idle"]).await;
    assert_ne!(asleep.code, Some(0), "{}", asleep.stderr);
    journal_holds(household);
}

#[tokio::test]
async fn budgets_and_cooldown_bind_tools_survive_a_kill_and_never_bind_the_person() {
    let mut household = quick();
    household.set("BIFROST_SESSION_BUDGET_UTILITY", "2");
    household.serve(&[]).await;
    for agent in ["heimdall", "loki"] {
        let (status, body) = ask(&household, agent, "Hello", 5).await;
        assert_eq!(status, 200, "{body}");
    }
    household.kill9().await;
    household.serve(&[]).await;
    let (status, retry, body) = post(&household, "/v1/summon/frigga").await;
    assert_eq!(status, 429, "{body:#}");
    assert!(retry.and_then(|r| r.parse::<u64>().ok()).is_some_and(|r| r > 0), "{body:#}");
    assert!(body["error"]["message"].is_string(), "{body:#}");
    // Who is awake is no summons.
    let (status, body) = ask(&household, "loki", "Hello", 5).await;
    assert_eq!(status, 200, "{body}");
    household.json(&["start", "frigga"]).await;
    assert_eq!(state_of(&household.status().await, "frigga"), "ready", "the person is not bound");
    household.asgard(&["session", "new"]).await.ok();
    household.json(&["stop", "heimdall"]).await;
    let (status, body) = ask(&household, "heimdall", "Hello", 5).await;
    assert_eq!(status, 200, "a new session has a new budget: {body}");
    journal_holds(&household);
}

#[tokio::test]
async fn the_control_paths_of_the_earlier_bifrost() {
    let mut household = quick();
    household.set("BIFROST_ODIN_COOLDOWN", "600");
    household.serve(&[]).await;
    household.json(&["switch", "standard"]).await;
    let (status, _, body) = post(&household, "/v1/summon/odin").await;
    assert_eq!(status, 200, "{body:#}");
    assert_eq!(
        (&body["ok"], &body["action"], &body["agent"]),
        (&json!(true), &json!("summon"), &json!("odin"))
    );
    assert!(body["duration_seconds"].as_f64().is_some_and(|s| s > 0.3), "{body:#}");
    assert_eq!(body["profile"], "odin", "{body:#}");
    let (status, _, body) = post(&household, "/v1/release/odin").await;
    assert_eq!(status, 200, "{body:#}");
    let now = household.status().await;
    assert!(ready(&now, &["thor", "valkyrie"]), "Valkyrie is not forgotten: {now:#?}");
    let (status, retry, body) = post(&household, "/v1/summon/odin").await;
    assert_eq!(status, 429, "the cooldown: {body:#}");
    let retry: u64 = retry.expect("Retry-After").parse().unwrap();
    assert!((500..=600).contains(&retry), "{retry}");
    let (status, _, body) = post(&household, "/v1/summon/freya").await;
    assert_eq!(status, 400, "{body:#}");
    post(&household, "/v1/summon/loki").await;
    let (status, _, body) = post(&household, "/v1/restore").await;
    assert_eq!(status, 200, "{body:#}");
    assert_eq!(awake(&household.status().await), ["thor", "valkyrie"].map(String::from).into());
    journal_holds(&household);
}

#[tokio::test]
async fn a_summon_that_takes_too_long_is_told_and_goes_on() {
    let mut household = quick();
    household.set("ASGARD_REHEARSAL_LOAD_MS", "4000").set("BIFROST_HEALTH_TIMEOUT", "1");
    household.serve(&[]).await;
    let (status, _, body) = post(&household, "/v1/summon/heimdall").await;
    assert_eq!(status, 504, "{body:#}");
    assert_eq!(body["ok"], false, "{body:#}");
    assert!(body["detail"].as_str().is_some_and(|d| d.contains("goes on loading")), "{body:#}");
    household
        .wait_status("heimdall is ready all the same", SWITCH, |s| state_of(s, "heimdall") == "ready")
        .await;
}

#[tokio::test]
async fn after_its_idle_time_odin_sleeps_and_the_base_profile_comes_back() {
    let mut household = quick();
    household.set("BIFROST_ODIN_TTL", "2");
    household.serve(&[]).await;
    at_once(&household).await;
    household.json(&["switch", "standard"]).await;
    let (status, body) = ask(&household, "odin", "Hello", 5).await;
    assert_eq!(status, 200, "{body}");
    household
        .wait_status("standard is back", DEADLINE, |s| {
            state_of(s, "odin") == "asleep" && ready(s, &["thor", "valkyrie"]) && s.switching.is_none()
        })
        .await;
    journal_holds(&household);
}

#[tokio::test]
async fn a_crashed_agent_is_restarted_on_demand() {
    let mut household = quick();
    household.serve(&[]).await;
    household.json(&["start", "heimdall"]).await;
    kill_process(stand_in_of(&household, "heimdall"), Signal::KILL).unwrap();
    household.wait_status("heimdall failed", DEADLINE, |s| state_of(s, "heimdall") == "failed").await;
    let (status, body) = ask(&household, "heimdall", "Hello again", 5).await;
    assert_eq!(status, 200, "{body}");
    assert!(!streamed_text(&body).is_empty(), "{body}");
}

#[tokio::test]
async fn an_agent_that_never_starts_is_given_up_after_three_times() {
    let mut household = quick();
    household.set("ASGARD_REHEARSAL_FAULT", "loki=fail:oom");
    household.serve(&[]).await;
    let mut last = String::new();
    for _ in 0..3 {
        last = ask(&household, "loki", "Hello", 5).await.1;
        assert!(last.contains("\"error\""), "{last}");
    }
    let began = Instant::now();
    let (status, body) = ask(&household, "loki", "Hello", 5).await;
    assert!(
        status == 503 && began.elapsed() < Duration::from_secs(2),
        "{status} after {:?}: {body}",
        began.elapsed()
    );
    assert!(
        body.contains("asgard logs loki") || body.contains("asgard start loki"),
        "{body}\nbefore: {last}"
    );
    assert!(awake(&household.status().await).is_empty());
}

#[tokio::test]
async fn who_hangs_up_in_the_queue_wakes_nobody() {
    let mut household = quick();
    household.set("ASGARD_REHEARSAL_TOKENS_PER_SECOND", "20");
    household.serve(&[]).await;
    household.json(&["switch", "standard"]).await;
    let url = format!("{}/v1/chat/completions", root(&household).await);
    // Odin has to wait for Valkyrie's answer.
    let story = http().post(&url).json(&chat("valkyrie", true, "A long story", 60)).send().await.unwrap();
    household.wait_status("valkyrie busy", SWITCH, |s| state_of(s, "valkyrie") == "busy").await;
    let waiting = http().post(&url).json(&chat("odin", true, "Hello", 5)).send().await.unwrap();
    assert_eq!(waiting.status().as_u16(), 200);
    drop(waiting);
    let whole = tokio::time::timeout(DEADLINE, story.text()).await.unwrap().unwrap();
    assert!(whole.trim_end().ends_with("[DONE]"), "{whole}");
    household
        .wait_status("all quiet", DEADLINE, |s| s.switching.is_none() && ready(s, &["thor", "valkyrie"]))
        .await;
    let odin = household.journal_entries().into_iter().filter(|e| e["agent"] == "odin").count();
    // A drain may have begun for it; nothing was loaded.
    assert_eq!(odin, 0, "nothing is loaded for nobody");
}

#[tokio::test]
async fn requests_that_do_not_stream_are_held_or_told_when_to_come_back() {
    let mut household = quick();
    household.serve(&[]).await;
    let url = format!("{}/v1/chat/completions", root(&household).await);
    let send = |prefer: Option<&'static str>| {
        let request = http().post(&url).json(&chat("loki", false, "Hello", 5));
        prefer.map_or(request.try_clone().unwrap(), |p| request.header("prefer", p)).send()
    };
    let told = send(Some("wait=0")).await.unwrap();
    assert_eq!(told.status().as_u16(), 503);
    assert!(told.headers().contains_key("retry-after"), "{:?}", told.headers());
    assert_eq!(told.headers()["x-asgard-origin"], "gateway");
    let held = send(None).await.unwrap();
    assert_eq!(held.status().as_u16(), 200);
    let body: Value = held.json().await.unwrap();
    assert!(body["choices"][0]["message"]["content"].is_string(), "{body:#}");
}

#[tokio::test]
async fn what_was_asked_is_written_down() {
    let mut household = quick();
    household.serve(&[]).await;
    ask(&household, "heimdall", "Who are you?", 12).await;
    let (status, _) = ask(&household, "nobody", "Hello", 5).await;
    assert_eq!(status, 404);
    let client = household.client().await;
    let deadline = Instant::now() + DEADLINE;
    let rows = loop {
        let all: Value = client.call("requests", json!({"limit": 10})).await.unwrap();
        let rows = all["ended"].as_array().cloned().unwrap_or_default();
        if rows.len() >= 2 {
            break rows;
        }
        assert!(Instant::now() < deadline, "{all:#}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    let done = rows.iter().find(|r| r["agent"] == "heimdall").expect("the answered one");
    assert_eq!(done["outcome"], "done", "{done:#}");
    assert!(done["completion_tokens"].as_u64().is_some_and(|n| n > 0), "{done:#}");
    assert!(done["queued_seconds"].as_f64().is_some_and(|s| s > 0.3), "{done:#}");
    assert!(done["why"].as_str().is_some_and(|w| w.contains("Heimdall")), "{done:#}");
    let refused = rows.iter().find(|r| r["status"] == 404).expect("the refused one");
    assert_eq!(refused["outcome"], "refused", "{refused:#}");
    for format in ["csv", "json"] {
        let text: Value = client.call("export_requests", json!({"format": format})).await.unwrap();
        assert!(text["text"].as_str().is_some_and(|t| t.contains("heimdall")), "{text:#}");
    }
    let url = format!("{}/metrics", root(&household).await);
    let metrics = http().get(url).send().await.unwrap().text().await.unwrap();
    assert!(
        metrics.contains("asgard_agent_state{") && metrics.contains("bifrost_requests_total{"),
        "{metrics}"
    );
}
