//! Real clients from the registries against the gateway: what a person's programs see of agents that sleep, load,
//! queue and die. `scripts/clients` installs them; what each one does and expects is in `tests/clients`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use futures_util::future::join_all;
use journeys::household::{Household, state_of};
use journeys::steps::{SWITCH, awake};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout};
use tokio::time::timeout;

/// A client's whole run: a start of the interpreter and some dozen short answers.
const RUN: Duration = Duration::from_secs(120);

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_path_buf()
}

fn installed() -> PathBuf {
    let place = root().join("target/clients");
    assert!(place.join(".ready").is_file(), "scripts/clients installs the clients");
    place
}

/// The scripts, by the package that each one drives.
#[derive(Debug, Clone, Copy)]
enum Package {
    OpenaiPython,
    OpenaiNpm,
    AnthropicPython,
    AnthropicNpm,
}

use Package::{AnthropicNpm, AnthropicPython, OpenaiNpm, OpenaiPython};

impl Package {
    fn words(self) -> (PathBuf, &'static str) {
        let python = || installed().join("bin/python");
        match self {
            OpenaiPython => (python(), "openai_client.py"),
            AnthropicPython => (python(), "anthropic_client.py"),
            OpenaiNpm => (PathBuf::from("node"), "openai.mjs"),
            AnthropicNpm => (PathBuf::from("node"), "anthropic.mjs"),
        }
    }
}

fn quick() -> Household {
    let mut household = Household::new();
    household.set("ASGARD_REHEARSAL_LOAD_MS", "400").set("ASGARD_REHEARSAL_TOKENS_PER_SECOND", "80");
    household
}

/// A household whose controller runs, with these agents awake.
async fn with(mut household: Household, agents: &[&str]) -> Household {
    household.serve(&["--rehearsal", "--no-tray"]).await;
    for agent in agents {
        household.json(&["start", agent]).await;
    }
    household
}

/// A case of a script that waits for its start.
struct Started {
    what: String,
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

/// Starts a script, which is ready then and has asked nothing yet.
async fn start(household: &Household, package: Package, case: &[&str], more: &[(&str, &str)]) -> Started {
    let (program, script) = package.words();
    let mut command = household.command(program);
    command
        .arg(root().join("tests/clients").join(script))
        .args(case)
        .env("BIFROST", gateway(household).await)
        .env("CLIENTS_PACKAGES", installed())
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .envs(more.iter().copied())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let what = format!("{package:?} {case:?}");
    let ready =
        timeout(RUN, lines.next_line()).await.unwrap_or_else(|_| panic!("{what} did not start")).unwrap();
    assert!(ready.as_deref() == Some("ready"), "{what} did not start: {}", rest(child).await);
    Started { what, child, lines }
}

impl Started {
    /// Lets it run to its end; what the client saw. A case that fails ends the test with everything it said.
    async fn go(mut self) -> Value {
        let what = self.what;
        self.child.stdin.take().unwrap().write_all(b"go\n").await.unwrap();
        let last = timeout(RUN, self.lines.next_line()).await;
        let last = last.unwrap_or_else(|_| panic!("{what} did not end within {RUN:?}")).unwrap();
        let Some(seen) = last else { panic!("{what} failed: {}", rest(self.child).await) };
        let ended = timeout(RUN, self.child.wait()).await.expect("it ends after its last word").unwrap();
        assert!(ended.success(), "{what}: {ended}, after {seen}");
        println!("{what} saw {seen}");
        serde_json::from_str(&seen).unwrap_or_else(|e| panic!("{what} said {seen:?}: {e}"))
    }
}

/// How a script ended, and everything that it complained about.
async fn rest(child: Child) -> String {
    let ended = timeout(RUN, child.wait_with_output()).await.expect("it ends").unwrap();
    format!("{}\n{}", ended.status, String::from_utf8_lossy(&ended.stderr))
}

/// `http://127.0.0.1:PORT`
async fn gateway(household: &Household) -> String {
    let address = household.status().await.gateway.address.expect("Bifrost is open");
    address.trim_end_matches("/v1").to_owned()
}

/// One case of a script, alone.
async fn run(household: &Household, package: Package, case: &[&str], more: &[(&str, &str)]) -> Value {
    start(household, package, case, more).await.go().await
}

/// Several cases that begin together.
async fn all(household: &Household, runs: &[(Package, &[&str])], more: &[(&str, &str)]) {
    let started = join_all(runs.iter().map(|(package, case)| start(household, *package, case, more))).await;
    join_all(started.into_iter().map(Started::go)).await;
}

/// The process that plays this agent.
fn pid(household: &Household, agent: &str) -> String {
    let mark = format!("ASGARD_AGENT={agent}");
    let plays = |pid: &u32| {
        fs::read(format!("/proc/{pid}/environ"))
            .is_ok_and(|e| e.split(|b| *b == 0).any(|v| v == mark.as_bytes()))
    };
    let found: Vec<u32> = household.processes().into_iter().filter(plays).collect();
    assert_eq!(found.len(), 1, "one process plays {agent}: {found:?}");
    found[0].to_string()
}

#[tokio::test]
async fn openai_from_pypi_with_an_agent_that_is_awake() {
    let household = with(quick(), &["thor"]).await;
    run(&household, OpenaiPython, &["awake"], &[]).await;
    assert_eq!(awake(&household.status().await).len(), 1, "lists and refusals wake nobody");
}

#[tokio::test]
async fn openai_from_npm_with_an_agent_that_is_awake() {
    let household = with(quick(), &["thor"]).await;
    run(&household, OpenaiNpm, &["awake"], &[]).await;
}

#[tokio::test]
async fn anthropic_from_pypi_with_an_agent_that_is_awake() {
    let household = with(quick(), &["thor"]).await;
    run(&household, AnthropicPython, &["awake"], &[]).await;
}

#[tokio::test]
async fn anthropic_from_npm_with_an_agent_that_is_awake() {
    let household = with(quick(), &["thor"]).await;
    run(&household, AnthropicNpm, &["awake"], &[]).await;
}

/// How often an agent was started.
fn starts(household: &Household, agent: &str) -> usize {
    let entries = household.journal_entries();
    entries.iter().filter(|e| e["event"] == "start" && e["agent"] == agent).count()
}

/// Clients that hear nothing for five seconds give up. The agent loads for four times as long.
#[tokio::test]
async fn clients_with_five_seconds_of_patience_live_through_a_load_of_twenty() {
    let mut household = quick();
    household.set("ASGARD_REHEARSAL_LOAD_MS", "400,odin=20000");
    let household = with(household, &["thor"]).await;
    let streams: [(Package, &[&str]); 6] = [
        (OpenaiPython, &["asleep_stream", "odin", "19"]),
        (OpenaiPython, &["asleep_responses", "odin", "19"]),
        (OpenaiNpm, &["asleep_stream", "odin", "19"]),
        (OpenaiNpm, &["asleep_responses", "odin", "19"]),
        (AnthropicPython, &["asleep_stream", "odin", "19"]),
        (AnthropicNpm, &["asleep_stream", "odin", "19"]),
    ];
    all(&household, &streams, &[("CLIENT_READ_SECONDS", "5")]).await;
    assert_eq!(starts(&household, "odin"), 1, "one start serves them all");
}

#[tokio::test]
async fn answers_that_are_not_streamed_are_held_while_an_agent_is_summoned() {
    let mut household = quick();
    household.set("ASGARD_REHEARSAL_LOAD_MS", "6000");
    let household = with(household, &[]).await;
    let runs: [(Package, &[&str]); 4] = [
        (OpenaiPython, &["asleep_whole", "heimdall", "5"]),
        (OpenaiNpm, &["asleep_whole", "heimdall", "5"]),
        (AnthropicPython, &["asleep_whole", "heimdall", "5"]),
        (AnthropicNpm, &["asleep_whole", "heimdall", "5"]),
    ];
    all(&household, &runs, &[]).await;
    assert_eq!(starts(&household, "heimdall"), 1, "one start serves them all");
}

#[tokio::test]
async fn who_would_rather_be_told_than_wait_is_told() {
    let mut household = quick();
    household.set("ASGARD_REHEARSAL_LOAD_MS", "3000");
    let household = with(household, &[]).await;
    run(&household, OpenaiPython, &["asleep_if_asked", "heimdall"], &[]).await;
    household
        .wait_status("it was summoned all the same", SWITCH, |s| state_of(s, "heimdall") == "ready")
        .await;
    run(&household, OpenaiPython, &["streamed", "heimdall"], &[]).await;
}

/// Odin is asked for while Valkyrie writes.
async fn a_swap(package: Package) {
    let mut household = quick();
    household.set("ASGARD_REHEARSAL_TOKENS_PER_SECOND", "30");
    let household = with(household, &["thor", "valkyrie"]).await;
    run(&household, package, &["queued", "valkyrie", "odin"], &[("CLIENT_READ_SECONDS", "10")]).await;
    let entries = rehearsal::journal::read(&household.journal()).unwrap();
    assert!(!rehearsal::journal::overlap(&entries, "odin", "valkyrie"), "odin and valkyrie never meet");
    assert_eq!((starts(&household, "valkyrie"), starts(&household, "odin")), (1, 1));
}

#[tokio::test]
async fn openai_from_pypi_waits_for_a_swap() {
    a_swap(OpenaiPython).await;
}

#[tokio::test]
async fn openai_from_npm_waits_for_a_swap() {
    a_swap(OpenaiNpm).await;
}

/// Each package in turn sees its agent die, and asks again. Agents of their own, because one that crashes three times
/// in a row stays down.
#[tokio::test]
async fn an_agent_that_is_killed_under_a_stream_is_an_error_and_comes_back() {
    let household = with(quick(), &["thor", "valkyrie", "heimdall"]).await;
    for (package, case, agent) in [
        (OpenaiPython, "killed", "thor"),
        (OpenaiNpm, "killed", "valkyrie"),
        (AnthropicNpm, "killed", "heimdall"),
        (AnthropicPython, "killed", "thor"),
        (OpenaiPython, "killed_responses", "valkyrie"),
        (OpenaiNpm, "killed_responses", "heimdall"),
    ] {
        let pid = pid(&household, agent);
        run(&household, package, &[case, agent], &[("AGENT_PID", &pid)]).await;
    }
}

#[tokio::test]
async fn an_agent_that_is_killed_before_it_answered_is_an_error_and_comes_back() {
    let household = with(quick(), &["thor", "valkyrie"]).await;
    for (package, agent) in [(OpenaiPython, "thor"), (OpenaiNpm, "valkyrie")] {
        let pid = pid(&household, agent);
        run(&household, package, &["killed_whole", agent], &[("AGENT_PID", &pid)]).await;
    }
}

#[tokio::test]
async fn keys_let_in_who_has_one_and_tell_the_others() {
    let household = with(quick(), &["thor"]).await;
    let made = household.asgard(&["keys", "new", "editor", "--agents", "thor"]).await.ok();
    let key = made.stdout.trim();
    for package in [OpenaiPython, OpenaiNpm, AnthropicPython, AnthropicNpm] {
        run(&household, package, &["wrong_key", "thor"], &[("BIFROST_KEY", "asg-0-of-nobody")]).await;
        run(&household, package, &["right_key", "thor", "odin"], &[("BIFROST_KEY", key)]).await;
    }
    assert_eq!(starts(&household, "odin"), 0, "who may not have an agent does not wake it");
}

/// OpenCode without a window: its events, of which each is a line. The text comes by stdin, as it stands.
async fn opencode(household: &Household, arguments: &[&str], text: &str) -> Vec<Value> {
    let project = household.path("project");
    fs::create_dir_all(&project).unwrap();
    let mut command = household.command(installed().join("node_modules/.bin/opencode"));
    command
        .args(arguments)
        .current_dir(&project)
        // It looks for newer versions and model lists of others; nothing of that is wanted here.
        .env("OPENCODE_DISABLE_AUTOUPDATE", "1")
        .env("OPENCODE_DISABLE_MODELS_FETCH", "1")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(text.as_bytes()).await.unwrap();
    let ended = timeout(RUN, child.wait_with_output()).await;
    let ended =
        ended.unwrap_or_else(|_| panic!("opencode {arguments:?} did not end within {RUN:?}")).unwrap();
    let (said, words) = (String::from_utf8_lossy(&ended.stdout), String::from_utf8_lossy(&ended.stderr));
    assert!(ended.status.success(), "opencode {arguments:?}: {}\n{said}\n{words}", ended.status);
    let read: Result<Vec<Value>, _> = serde_json::Deserializer::from_str(&said).into_iter().collect();
    read.unwrap_or_else(|e| {
        panic!("opencode {arguments:?} said something else than JSON: {e}\n{said}\n{words}")
    })
}

/// The texts of an answer.
fn texts(events: &[Value]) -> String {
    events.iter().filter_map(|e| e["part"]["text"].as_str()).collect()
}

#[tokio::test]
async fn opencode_takes_the_exported_configuration_and_its_helpers_wake_who_sleeps() {
    let mut household = quick();
    // Longer than OpenCode would wait for a first byte, were it told to be that impatient.
    household
        .set("ASGARD_REHEARSAL_LOAD_MS", "400,odin=8000")
        .set("ASGARD_REHEARSAL_TOKENS_PER_SECOND", "200");
    let household = with(household, &["thor"]).await;
    household.asgard(&["export", "opencode", "--write"]).await.ok();

    let config = opencode(&household, &["debug", "config"], "").await.remove(0);
    let provider = &config["provider"]["asgard"];
    assert_eq!(provider["options"]["baseURL"], format!("{}/v1", gateway(&household).await), "{config:#}");
    assert_eq!(config["model"], "asgard/thor", "{config:#}");
    assert_ne!(config["small_model"], "asgard/odin", "{config:#}");
    for (name, model) in provider["models"].as_object().unwrap() {
        let limit = |of: &str| model["limit"][of].as_u64().unwrap();
        assert!(limit("output") <= limit("context") / 2, "{name}: {model:#}");
    }
    assert_eq!(config["agent"]["reviewer"]["model"], "asgard/odin", "{config:#}");

    // A prompt, and the title that OpenCode has made for it by the small model.
    let events = opencode(&household, &["run", "--format", "json"], "Say who you are.").await;
    assert!(texts(&events).starts_with("Thor here. You asked: Say who you are."), "{events:#?}");
    assert_eq!(starts(&household, "odin"), 0, "a title does not wake Odin");

    // Thor hands a task to the reviewer, who sleeps.
    let call =
        json!({ "description": "Judge it", "prompt": "Who judges here?", "subagent_type": "reviewer" });
    let ask = format!("Have it judged. [[call task {call}]]");
    let events = opencode(&household, &["run", "--format", "json"], &ask).await;
    let task = events.iter().find(|e| e["part"]["tool"] == "task").unwrap_or_else(|| panic!("{events:#?}"));
    let state = &task["part"]["state"];
    assert_eq!(state["status"], "completed", "{task:#}");
    assert!(state["output"].as_str().unwrap().contains("Odin here. You asked: Who judges here?"), "{task:#}");
    assert!(texts(&events).contains("Thor here. The tool answered:"), "{events:#?}");
    assert_eq!(starts(&household, "odin"), 1);
    assert!(!household.words().contains("panicked"));
}
