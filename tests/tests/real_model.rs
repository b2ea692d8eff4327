//! A real llama.cpp server with a real, small model, as an agent of the process engine.

use std::fs;
use std::path::{Path, PathBuf};

use journeys::household::{Household, free_port, state_of};
use journeys::steps::{ask, awake, streamed_text};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_path_buf()
}

/// The server's program and the model that it is given.
fn made() -> (PathBuf, PathBuf) {
    let made = root().join("target/real-model");
    let (python, model) = (made.join("bin/python"), made.join("model.gguf"));
    assert!(python.exists() && model.exists(), "scripts/real-model makes the model and its server");
    (python, model)
}

#[tokio::test]
async fn a_real_model_answers_through_bifrost() {
    let (python, model) = made();
    let mut household = Household::new();
    let folder = household.path("config/asgard");
    fs::create_dir_all(&folder).unwrap();
    let stack = format!(
        r#"
version = 1
name = "real"
base = "small"

[agents.saga]
title = "Storyteller"
role = "You answer in one short sentence."
backend = "llama.cpp"
command = ["{python}", "{script}"]
model = "{model}"
port = {port}
context = 2048
sequences = 1
memory = "700 MB"

[profiles.small]
agents = ["saga"]
"#,
        python = python.display(),
        script = root().join("tests/real/llama_server.py").display(),
        model = model.display(),
        port = free_port(),
    );
    fs::write(folder.join("stack.toml"), stack).unwrap();
    household.serve(&[]).await;
    let status = household.status().await;
    assert!(!status.rehearsal, "a stack file of the user's is no rehearsal");

    household.json(&["up"]).await;
    let status = household.status().await;
    assert_eq!(state_of(&status, "saga"), "ready");
    let held = status.pools[0].agents.iter().find(|a| a.agent == "saga").unwrap();
    let measured = held.measured_bytes.expect("a process is measured");
    assert!(measured > 100 << 20, "the model's weights alone are 94 MB: {measured}");

    let (code, body) = ask(&household, "saga", "Name three colours.", 24).await;
    assert_eq!(code, 200, "{body}");
    assert!(streamed_text(&body).chars().filter(|c| c.is_alphabetic()).count() > 5, "{body}");
    assert!(body.contains("\"timings\""), "the server's own last chunk arrives unchanged: {body}");
    let said = household.asgard(&["chat", "saga", "Name three colours."]).await.ok();
    assert!(!said.stdout.trim().is_empty(), "{said:?}");

    household.kill9().await;
    household.serve(&[]).await;
    household
        .wait_status("saga is adopted", journeys::steps::SWITCH, |s| state_of(s, "saga") == "ready")
        .await;
    household.json(&["down"]).await;
    assert!(awake(&household.status().await).is_empty());
}

/// The preset for small machines as its user would have it without containers and with a model that is here already:
/// three lines of the first agent are changed, and one that only containers have.
#[tokio::test]
async fn the_small_preset_runs_with_a_model_that_is_here_already() {
    let (python, model) = made();
    let mut household = Household::new();
    household.asgard(&["preset", "use", "small"]).await.ok();
    let file = household.path("config/asgard/stack.toml");
    let shipped = fs::read_to_string(&file).unwrap();
    let first = shipped.find("[agents.huginn]").unwrap();
    let (mimir, rest) = shipped.split_at(first);
    let line = |text: &str, key: &str| {
        let start = format!("{key} = ");
        text.lines().find(|l| l.starts_with(&start)).unwrap_or_else(|| panic!("no {key}")).to_owned()
    };
    let script = root().join("tests/real/llama_server.py");
    let mimir = mimir
        .replace(
            &line(mimir, "image"),
            &format!("command = [\"{}\", \"{}\"]", python.display(), script.display()),
        )
        .replace(&line(mimir, "model"), &format!("model = \"{}\"", model.display()))
        .replace(&line(mimir, "port"), &format!("port = {}", free_port()));
    let mine = format!("{mimir}{rest}");
    fs::write(&file, &mine).unwrap();
    household.asgard(&["config", "check"]).await.ok();
    household.serve(&[]).await;

    household.json(&["up"]).await;
    let status = household.status().await;
    assert_eq!(state_of(&status, "mimir"), "ready");
    let running: Vec<String> = awake(&status).into_iter().collect();
    assert_eq!(running, ["mimir"], "the base profile holds one agent");
    let (code, body) = ask(&household, "mimir", "Name three colours.", 24).await;
    assert_eq!(code, 200, "{body}");
    assert!(streamed_text(&body).chars().filter(|c| c.is_alphabetic()).count() > 5, "{body}");
    household.json(&["down"]).await;
    assert!(awake(&household.status().await).is_empty());

    // Another preset keeps what was written by hand.
    let used = household.json(&["preset", "use", "norse"]).await;
    let kept = used["kept"].as_str().unwrap_or_else(|| panic!("{used}"));
    assert_eq!(fs::read_to_string(kept).unwrap(), mine);
}
