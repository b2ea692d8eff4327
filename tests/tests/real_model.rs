//! A real llama.cpp server with a real, small model, as an agent of the process engine.

use std::path::{Path, PathBuf};

use journeys::household::{Household, free_port, state_of};
use journeys::steps::{ask, awake, streamed_text};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_path_buf()
}

#[tokio::test]
async fn a_real_model_answers_through_bifrost() {
    let made = root().join("target/real-model");
    let (python, model) = (made.join("bin/python"), made.join("model.gguf"));
    assert!(python.exists() && model.exists(), "scripts/real-model makes the model and its server");
    let mut household = Household::new();
    let folder = household.path("config/asgard");
    std::fs::create_dir_all(&folder).unwrap();
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
    std::fs::write(folder.join("stack.toml"), stack).unwrap();
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
