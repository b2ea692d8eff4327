//! The commands as scripts and people use them: exit codes, documents, and what goes to which side.

use std::process::Stdio;
use std::time::Duration;

use journeys::household::{Household, Output, program, state_of};
use journeys::steps::awake;
use rustix::process::{Pid, Signal, getpgid, getsid, kill_process};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::time::timeout;

const LONG: Duration = Duration::from_secs(60);

fn quick() -> Household {
    let mut household = Household::new();
    household.set("ASGARD_REHEARSAL_LOAD_MS", "300").set("ASGARD_REHEARSAL_TOKENS_PER_SECOND", "200");
    household
}

/// The process that holds the controller's lock.
fn controller(household: &Household) -> Pid {
    let text = std::fs::read_to_string(household.path("run/asgard/controller.lock")).unwrap();
    Pid::from_raw(text.trim().parse().unwrap()).unwrap()
}

/// Every document of a stream.
fn documents(output: &Output) -> Vec<Value> {
    output.stdout.lines().map(|line| serde_json::from_str(line).expect("one document a line")).collect()
}

#[tokio::test]
async fn a_wish_starts_a_controller_that_outlives_it() {
    let household = quick();
    let up = household.asgard(&["up"]).await.ok();
    assert!(up.stderr.contains("Starting the controller."), "{up:#?}");
    assert!(up.stdout.contains("standard is active."), "{up:#?}");
    assert!(!up.stdout.contains('\u{a0}') && !up.stdout.contains('\r'), "a pipe gets plain lines: {up:#?}");
    let pid = controller(&household);
    assert_eq!(getsid(Some(pid)).unwrap(), pid, "it has a session of its own");
    assert_eq!(getpgid(Some(pid)).unwrap(), pid);
    let status = household.status().await;
    assert_eq!(awake(&status), ["thor", "valkyrie"].map(String::from).into());

    // The commands of later are answered by the same one, also those that would start one.
    household.json(&["start", "heimdall"]).await;
    assert_eq!(controller(&household), pid);
    let down = household.json(&["down"]).await;
    assert_eq!(down["result"], "done", "{down:#}");
    assert!(awake(&household.status().await).is_empty());
}

#[tokio::test]
async fn nothing_runs() {
    let household = quick();
    for command in [
        vec!["status"],
        vec!["down"],
        vec!["stop", "thor"],
        vec!["restart", "thor"],
        vec!["health"],
        vec!["logs", "thor"],
        vec!["session", "new"],
        vec!["keys", "list"],
        vec!["keys", "remove", "zed"],
    ] {
        let refused = household.asgard(&command).await;
        assert_eq!(refused.code, Some(3), "{command:?}: {refused:#?}");
        assert_eq!(refused.stdout, "", "{command:?}");
        let lines: Vec<&str> = refused.stderr.lines().collect();
        assert_eq!(lines.len(), 2, "what happened, then what to do: {lines:?}");
        let mut with_json = command.clone();
        with_json.push("--json");
        let refused = household.asgard(&with_json).await;
        assert_eq!((refused.code, refused.stderr.as_str()), (Some(3), ""), "{command:?}");
        assert_eq!(refused.json()["error"]["code"], "unreachable", "{command:?}");
    }
    // These read files only.
    assert_eq!(household.json(&["plan", "odin"]).await["fits"], true);
    assert_eq!(household.json(&["config", "check"]).await["problems"], json!([]));
    assert_eq!(household.json(&["config", "path"]).await["saved"], false);
    assert!(household.json(&["config", "schema"]).await["properties"]["agents"].is_object());
    assert!(!household.path("run/asgard/control.sock").exists(), "and they start nothing");
}

#[tokio::test]
async fn wrong_usage_is_2() {
    let household = quick();
    for command in
        [vec![], vec!["bench"], vec!["switch"], vec!["plan", "nope"], vec!["logs", "thor", "-n", "x"]]
    {
        assert_eq!(household.asgard(&command).await.code, Some(2), "{command:?}");
        let mut with_json = vec!["--json"];
        with_json.extend(&command);
        let refused = household.asgard(&with_json).await;
        assert_eq!(refused.code, Some(2), "{command:?}");
        assert!(refused.json()["error"]["message"].as_str().unwrap().ends_with('.'), "{refused:#?}");
    }
}

#[tokio::test]
async fn a_broken_stack_file_is_shown_with_its_line_and_an_editor_helps() {
    let mut household = quick();
    let file = household.path("config/asgard/stack.toml");
    household.set("EDITOR", "printf 'nonsense = 1\\n' >>");
    let edited = household.asgard(&["config", "edit"]).await;
    assert_eq!(edited.code, Some(1), "{edited:#?}");
    assert!(edited.stderr.contains("Saved the shipped stack"), "{edited:#?}");
    let lines = std::fs::read_to_string(&file).unwrap().lines().count();
    let place = format!("{}:{lines}: ", file.display());
    assert!(edited.stdout.starts_with(&place), "{place}: {edited:#?}");
    let checked = household.asgard(&["config", "check", "--json"]).await;
    assert_eq!(checked.code, Some(1));
    assert_eq!(checked.json()["problems"][0]["line"], lines);
    household.set("EDITOR", "sed -i '$d'");
    household.asgard(&["config", "edit"]).await.ok();
    household.set("EDITOR", "false");
    assert_eq!(household.asgard(&["config", "edit"]).await.code, Some(1), "an editor that fails is said");
}

#[tokio::test]
async fn a_switch_tells_its_steps_and_ends_with_the_outcome() {
    let mut household = quick();
    household.serve(&[]).await;
    let switch = household.asgard(&["switch", "standard", "--json"]).await.ok();
    let documents = documents(&switch);
    let (outcome, steps) = documents.split_last().unwrap();
    assert_eq!((&outcome["result"], &outcome["profile"]), (&json!("done"), &json!("standard")));
    assert!(!steps.is_empty(), "{switch:#?}");
    let numbers: Vec<u64> = steps.iter().map(|s| s["switching"]["step"].as_u64().unwrap()).collect();
    assert!(numbers.is_sorted(), "{numbers:?}");
    assert!(steps.iter().any(|s| s["switching"]["stage"] == "wait_ready"), "{steps:#?}");
    let again = household.asgard(&["switch", "standard"]).await.ok();
    assert!(again.stdout.contains("standard is active."), "{again:#?}");
}

#[tokio::test]
async fn a_conversation_of_lines_and_an_answer_in_pieces() {
    let mut household = quick();
    household.serve(&[]).await;
    let asleep = household.asgard(&["chat", "heimdall", "hello"]).await;
    assert_eq!(asleep.code, Some(1), "a message wakes nobody: {asleep:#?}");
    assert!(
        asleep.stderr.contains("asleep") && asleep.stderr.contains("asgard start heimdall"),
        "{asleep:#?}"
    );
    household.json(&["start", "heimdall"]).await;

    let pieces = household.asgard(&["chat", "heimdall", "hello", "there", "--json"]).await.ok();
    let pieces = documents(&pieces);
    assert_eq!(pieces.first().unwrap()["kind"], "started");
    let said: String =
        pieces.iter().filter_map(|p| (p["kind"] == "text").then(|| p["text"].as_str())?).collect();
    let done = pieces.last().unwrap();
    assert_eq!((&done["kind"], &done["message"]["state"]), (&json!("done"), &json!("done")));
    let begun = pieces[0]["message"]["text"].as_str().unwrap();
    assert_eq!(format!("{begun}{said}"), done["message"]["text"].as_str().unwrap());
    assert!(said.contains("hello there"), "several words are one message: {said}");

    let mut talk = household
        .command(program("asgard"))
        .args(["chat", "heimdall"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    talk.stdin.take().unwrap().write_all(b"first line\n\nsecond line\n").await.unwrap();
    let talk = timeout(LONG, talk.wait_with_output()).await.expect("it ends with its input").unwrap();
    assert!(talk.status.success(), "{talk:?}");
    let text = String::from_utf8(talk.stdout).unwrap();
    assert!(text.contains("first line") && text.contains("second line"), "{text}");
}

#[tokio::test]
async fn a_measurement_starts_nobody_unasked_and_may_miss_its_target() {
    let mut household = quick();
    household.set("ASGARD_REHEARSAL_TOKENS_PER_SECOND", "2000");
    household.serve(&[]).await;
    let asleep = household.asgard(&["bench", "heimdall"]).await;
    assert_eq!(asleep.code, Some(1), "{asleep:#?}");
    assert!(
        asleep.stderr.contains("Heimdall is asleep.") && asleep.stderr.contains("--start"),
        "{asleep:#?}"
    );
    assert_eq!(household.asgard(&["bench", "nobody"]).await.code, Some(2));
    assert!(awake(&household.status().await).is_empty());

    let met = household.asgard(&["bench", "heimdall", "--start", "--target", "5"]).await.ok();
    let prompts: Vec<&str> = met.stdout.lines().filter(|l| l.contains(" of 5: first token ")).collect();
    assert_eq!(prompts.len(), 5, "{met:#?}");
    assert!(prompts.iter().all(|l| l.contains("tok/s")), "{met:#?}");
    assert!(
        !met.stdout.contains('\r') && !met.stdout.contains('\u{1b}'),
        "a pipe gets plain lines: {met:#?}"
    );

    let missed = household.asgard(&["bench", "heimdall", "--target", "1000000", "--json"]).await;
    assert_eq!(missed.code, Some(1), "{missed:#?}");
    let document = missed.json();
    assert_eq!(missed.stdout.lines().count(), 1, "one document: {missed:#?}");
    assert_eq!((&document["target"], &document["met"]), (&json!(1_000_000.0), &json!(false)));
    let agent = &document["agents"][0];
    let mut rates: Vec<f64> = agent["prompts"]
        .as_array()
        .unwrap()
        .iter()
        .map(|p| p["tokens_per_second"].as_f64().unwrap())
        .collect();
    rates.sort_by(f64::total_cmp);
    assert_eq!((rates.len(), agent["tokens_per_second"].as_f64()), (5, Some(rates[2])), "{document:#}");
    let words = household.asgard(&["bench", "heimdall", "--target", "1000000"]).await;
    assert_eq!(words.code, Some(1));
    assert!(words.stderr.contains("Heimdall misses the target"), "{words:#?}");
}

#[tokio::test]
async fn two_that_do_not_fit_together_are_measured_one_after_the_other() {
    let mut household = quick();
    household.set("ASGARD_REHEARSAL_TOKENS_PER_SECOND", "2000");
    household.serve(&[]).await;
    let compare = household.asgard(&["bench", "--compare", "odin", "valkyrie", "--start"]).await.ok();
    let head = compare.stdout.lines().find(|l| l.starts_with("MEDIAN")).unwrap_or_default();
    let columns: Vec<&str> = head.split_whitespace().collect();
    assert_eq!(columns, ["MEDIAN", "ODIN", "VALKYRIE"], "{compare:#?}");
    let speed = compare.stdout.lines().find(|l| l.starts_with("speed")).unwrap_or_default();
    assert_eq!(speed.matches("tok/s").count(), 2, "{compare:#?}");
    let awake = awake(&household.status().await);
    assert!(awake.contains("valkyrie") && !awake.contains("odin"), "{awake:?}");
}

#[tokio::test]
async fn ctrl_c_ends_a_measurement_and_the_request_with_it() {
    let mut household = quick();
    household.set("ASGARD_REHEARSAL_TOKENS_PER_SECOND", "5");
    household.serve(&[]).await;
    household.json(&["start", "heimdall"]).await;
    let bench = household
        .command(program("asgard"))
        .args(["bench", "heimdall"])
        .stderr(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    household.wait_status("the prompt is asked", LONG, |s| state_of(s, "heimdall") == "busy").await;
    let pid = Pid::from_raw(i32::try_from(bench.id().unwrap()).unwrap()).unwrap();
    kill_process(pid, Signal::INT).unwrap();
    let ended = timeout(LONG, bench.wait_with_output()).await.expect("it ends").unwrap();
    assert_eq!(ended.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&ended.stderr).contains("The measurement was stopped."), "{ended:?}");
    household.wait_status("nobody is asked any more", LONG, |s| state_of(s, "heimdall") == "ready").await;
}

#[tokio::test]
async fn a_deep_look_fails_with_whoever_fails_and_wakes_nobody() {
    let mut household = quick();
    household.set("ASGARD_REHEARSAL_FAULT", "heimdall=die-mid-stream");
    household.serve(&[]).await;
    household.json(&["start", "heimdall"]).await;
    let deep = household.asgard(&["health", "--deep", "--json"]).await;
    assert_eq!(deep.code, Some(1), "{deep:#?}");
    let document = deep.json();
    for agent in document["agents"].as_array().unwrap() {
        if agent["name"] == "heimdall" {
            assert_eq!(agent["healthy"], false, "{agent:#}");
            assert!(agent["detail"].as_str().unwrap().contains("broke off"), "{agent:#}");
        } else {
            assert_eq!((&agent["healthy"], &agent["state"]), (&Value::Null, &json!("asleep")), "{agent:#}");
        }
    }
}

#[tokio::test]
async fn ctrl_c_stops_an_answer_and_keeps_what_came() {
    let mut household = quick();
    household.set("ASGARD_REHEARSAL_TOKENS_PER_SECOND", "5");
    household.serve(&[]).await;
    household.json(&["start", "heimdall"]).await;
    let mut chat = household
        .command(program("asgard"))
        .args(["chat", "heimdall", "hello", "--json"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(chat.stdout.take().unwrap()).lines();
    let mut next = async || -> Option<Value> {
        let line = timeout(LONG, lines.next_line()).await.expect("a line").unwrap()?;
        Some(serde_json::from_str(&line).unwrap())
    };
    while next().await.expect("the answer begins")["kind"] != "text" {}
    let pid = Pid::from_raw(i32::try_from(chat.id().unwrap()).unwrap()).unwrap();
    kill_process(pid, Signal::INT).unwrap();
    let mut last = Value::Null;
    while let Some(piece) = next().await {
        last = piece;
    }
    assert_eq!(last["message"]["state"], "stopped", "{last:#}");
    assert!(!last["message"]["text"].as_str().unwrap().is_empty());
    assert_eq!(timeout(LONG, chat.wait()).await.expect("it ends").unwrap().code(), Some(1));
}

#[tokio::test]
async fn what_changes_is_told_as_it_changes() {
    let mut household = quick();
    household.serve(&[]).await;
    let mut watch = household
        .command(program("asgard"))
        .args(["status", "--watch", "--json"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(watch.stdout.take().unwrap()).lines();
    let mut seen = Vec::new();
    let mut next = async || -> Value {
        let line = timeout(LONG, lines.next_line()).await.expect("a change").unwrap().expect("it goes on");
        serde_json::from_str(&line).unwrap()
    };
    let state = |status: &Value| {
        let agents = status["agents"].as_array().unwrap();
        agents.iter().find(|a| a["name"] == "heimdall").unwrap()["state"].as_str().unwrap().to_owned()
    };
    assert_eq!(state(&next().await), "asleep");
    let start = household.json(&["start", "heimdall"]);
    let watching = async {
        loop {
            let status = next().await;
            seen.push(state(&status));
            if seen.last().unwrap() == "ready" {
                return;
            }
        }
    };
    tokio::join!(start, watching);
    assert!(seen.iter().any(|s| s == "loading"), "{seen:?}");

    let log = household.asgard(&["logs", "heimdall", "-n", "3"]).await.ok();
    assert_eq!(log.stdout.lines().count(), 3, "{log:#?}");
    let mut follow = household
        .command(program("asgard"))
        .args(["logs", "heimdall", "-f", "-n", "0"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(follow.stdout.take().unwrap()).lines();
    let asking = household.asgard(&["health", "--deep"]);
    let (line, health) = tokio::join!(timeout(LONG, lines.next_line()), asking);
    assert!(line.expect("a new line").unwrap().is_some(), "the agent logs what it is asked");
    assert_eq!(health.ok().stdout.lines().count(), 6, "one line for each agent");
}

#[tokio::test]
async fn a_signal_ends_the_controller_and_not_its_agents() {
    let mut household = quick();
    household.serve(&[]).await;
    household.json(&["start", "heimdall"]).await;
    kill_process(controller(&household), Signal::TERM).unwrap();
    assert!(household.ended(LONG).await.success());
    assert!(!household.path("run/asgard/control.sock").exists(), "the socket goes with it");
    assert_eq!(household.asgard(&["status"]).await.code, Some(3));
    // One that is started for a message finds the agent again, and waits until it knows it.
    let said = household.asgard(&["chat", "heimdall", "hello"]).await.ok();
    assert!(said.stdout.contains("hello"), "{said:#?}");
    // Its own count may have been read in the middle of the answer; it is read again within a second.
    household.wait_status("heimdall is ready", LONG, |s| state_of(s, "heimdall") == "ready").await;
}

/// Asks the gateway, with a key or without: the status, and the answer.
async fn ask(household: &Household, key: Option<&str>, path: &str, body: Option<&Value>) -> (u16, String) {
    let root = household.status().await.gateway.address.expect("Bifrost is open");
    let url = format!("{}{path}", root.trim_end_matches("/v1"));
    let http = net::plain().build().unwrap();
    let mut request = match body {
        Some(body) => http.post(url).json(body),
        None => http.get(url),
    };
    if let Some(key) = key {
        request = request.bearer_auth(key);
    }
    let answer = timeout(LONG, request.send()).await.expect("in time").unwrap();
    (answer.status().as_u16(), answer.text().await.unwrap())
}

#[tokio::test]
async fn a_key_lets_a_tool_in_and_what_it_asked_is_on_record() {
    let household = quick();
    household.asgard(&["up"]).await.ok();
    let chat = |agent: &str| json!({ "model": agent, "max_tokens": 8, "messages": [{ "role": "user", "content": "hello" }] });
    assert_eq!(household.json(&["keys", "list"]).await, json!({ "keys": [] }));
    assert_eq!(ask(&household, None, "/v1/models", None).await.0, 200);

    let made = household.asgard(&["keys", "new", "zed", "--agents", "thor"]).await.ok();
    let key = made.stdout.trim().to_owned();
    assert!(key.starts_with("asg-") && key.len() == 68, "the key alone is printed: {made:#?}");
    assert_eq!(household.asgard(&["keys", "show", "zed"]).await.ok().stdout.trim(), key);
    for (wrong, code) in [
        (vec!["keys", "new", "zed"], 2),
        (vec!["keys", "new", "Not a name"], 2),
        (vec!["keys", "new", "aider", "--agents", "nobody"], 2),
        (vec!["keys", "show", "aider"], 2),
        (vec!["keys", "remove", "aider"], 2),
    ] {
        assert_eq!(household.asgard(&wrong).await.code, Some(code), "{wrong:?}");
    }

    assert_eq!(ask(&household, None, "/v1/models", None).await.0, 401);
    assert_eq!(ask(&household, Some("asg-0"), "/v1/chat/completions", Some(&chat("thor"))).await.0, 401);
    let (status, models) = ask(&household, Some(&key), "/v1/models", None).await;
    assert!(status == 200 && models.contains("thor") && !models.contains("valkyrie"), "{status} {models}");
    let (status, answer) = ask(&household, Some(&key), "/v1/chat/completions", Some(&chat("thor"))).await;
    assert_eq!(status, 200, "{answer}");
    let (status, answer) = ask(&household, Some(&key), "/v1/chat/completions", Some(&chat("valkyrie"))).await;
    assert!([403, 404].contains(&status), "{status} {answer}");
    // The person needs none.
    household.asgard(&["chat", "valkyrie", "hello"]).await.ok();

    let client = household.client().await;
    let asked = client.call_value("requests", json!({ "client": "zed", "agent": "thor" })).await.unwrap();
    let row = &asked["ended"][0];
    assert_eq!((&row["outcome"], &row["status"]), (&json!("done"), &json!(200)), "{asked:#}");
    assert!(row["completion_tokens"].as_u64().unwrap() > 0 && row["seconds"].as_f64().unwrap() > 0.0);
    assert_eq!(asked["under_way"], json!([]));
    let table = client.call_value("export_requests", json!({ "format": "csv" })).await.unwrap();
    assert!(table["text"].as_str().unwrap().contains(",zed,thor,/v1/chat/completions,"), "{table:#}");
    let (_, metrics) = ask(&household, Some(&key), "/metrics", None).await;
    let counted = "bifrost_requests_total{agent=\"thor\",client=\"zed\",outcome=\"done\"} 1";
    assert!(metrics.contains(counted), "{metrics}");
    let keys = household.json(&["keys", "list"]).await;
    assert_eq!(keys["keys"][0]["agents"], json!(["thor"]));
    assert!(keys["keys"][0]["last_used"].is_string(), "{keys:#}");

    // Settings are written beside the key, and what would open the gateway to others without one is refused.
    let view = client.call_value("change_gateway", json!({ "odin_cooldown": 60 })).await.unwrap();
    assert_eq!(view["settings"]["odin_cooldown"], 60.0);
    let session = household.json(&["session", "new"]).await;
    assert_eq!(session["budgets"][0]["tier"], "reviewer", "{session:#}");
    household.asgard(&["keys", "remove", "zed"]).await.ok();
    assert_eq!(ask(&household, None, "/v1/models", None).await.0, 200);
    let refused = client.call_value("change_gateway", json!({ "listen": "0.0.0.0:8899" })).await.unwrap_err();
    assert!(refused.message.contains("Without a key"), "{refused:?}");

    // The secret was in its own file of mode 0600, and is in no other.
    let found =
        std::process::Command::new("grep").args(["-rlF", &key]).arg(household.folder()).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&found.stdout), "", "the key is left in these files");
}
