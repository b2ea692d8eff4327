//! Real clients from the registries against the gateway: what a person's programs see of agents that sleep, load,
//! queue and die. `scripts/clients` installs them; what each one does and expects is in `tests/clients`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use futures_util::future::join_all;
use journeys::household::{Household, state_of};
use journeys::steps::{SWITCH, awake};
use serde_json::Value;
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

/// One case of a script, to its end; what the client saw. A case that fails ends the test with everything it said.
async fn run(household: &Household, package: Package, case: &[&str], more: &[(&str, &str)]) -> Value {
    let status = household.status().await;
    let gateway = status.gateway.address.expect("Bifrost is open");
    let (program, script) = package.words();
    let mut command = household.command(program);
    command
        .arg(root().join("tests/clients").join(script))
        .args(case)
        .env("BIFROST", gateway.trim_end_matches("/v1"))
        .env("CLIENTS_PACKAGES", installed())
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .envs(more.iter().copied())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let ended = timeout(RUN, command.output()).await;
    let ended = ended.unwrap_or_else(|_| panic!("{package:?} {case:?} did not end within {RUN:?}")).unwrap();
    let (said, words) = (String::from_utf8_lossy(&ended.stdout), String::from_utf8_lossy(&ended.stderr));
    assert!(ended.status.success(), "{package:?} {case:?}: {}\n{said}\n{words}", ended.status);
    let seen = said.lines().last().unwrap_or_default();
    println!("{package:?} {case:?} saw {seen}");
    serde_json::from_str(seen).unwrap_or_else(|e| panic!("{package:?} {case:?} said {said:?}: {e}"))
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

/// What several clients do at the same time.
async fn all(household: &Household, runs: &[(Package, &[&str])], more: &[(&str, &str)]) {
    join_all(runs.iter().map(|(package, case)| run(household, *package, case, more))).await;
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
        (OpenaiPython, &["asleep_stream", "odin", "15"]),
        (OpenaiPython, &["asleep_responses", "odin", "15"]),
        (OpenaiNpm, &["asleep_stream", "odin", "15"]),
        (OpenaiNpm, &["asleep_responses", "odin", "15"]),
        (AnthropicPython, &["asleep_stream", "odin", "15"]),
        (AnthropicNpm, &["asleep_stream", "odin", "15"]),
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
        (OpenaiPython, &["asleep_whole", "heimdall", "3"]),
        (OpenaiNpm, &["asleep_whole", "heimdall", "3"]),
        (AnthropicPython, &["asleep_whole", "heimdall", "3"]),
        (AnthropicNpm, &["asleep_whole", "heimdall", "3"]),
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

/// Odin is asked for while Valkyrie writes, and Valkyrie again after that.
async fn a_swap(package: Package) {
    let mut household = quick();
    household
        .set("ASGARD_REHEARSAL_TOKENS_PER_SECOND", "30")
        .set("BIFROST_ODIN_COOLDOWN", "0")
        .set("BIFROST_SESSION_BUDGET_ODIN", "0");
    let household = with(household, &["thor", "valkyrie"]).await;
    run(&household, package, &["queued", "valkyrie", "odin"], &[("CLIENT_READ_SECONDS", "10")]).await;
    let entries = rehearsal::journal::read(&household.journal()).unwrap();
    assert!(!rehearsal::journal::overlap(&entries, "odin", "valkyrie"), "odin and valkyrie never meet");
    assert_eq!((starts(&household, "valkyrie"), starts(&household, "odin")), (2, 1));
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
