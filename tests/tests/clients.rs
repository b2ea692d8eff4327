//! Real clients from the registries against the gateway: what a person's programs see of agents that sleep, load,
//! queue and die. `scripts/clients` installs them; what each one does and expects is in `tests/clients`.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use journeys::household::Household;
use journeys::steps::awake;
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
