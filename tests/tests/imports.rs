//! An imported stack: the old file is kept, tokens go elsewhere, and nothing starts until a person has seen it.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use journeys::household::{Household, state_of};
use serde_json::{Value, json};

fn fixture(name: &str) -> String {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_path_buf();
    root.join("src-tauri/crates/exchange/tests/fixtures/phase-6").join(name).display().to_string()
}

/// Every file below a folder that holds this text.
fn holding(folder: &Path, text: &str, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            holding(&path, text, found);
        } else if fs::read(&path).is_ok_and(|b| b.windows(text.len()).any(|w| w == text.as_bytes())) {
            found.push(path);
        }
    }
}

#[tokio::test]
async fn an_imported_stack_waits_for_a_persons_word() {
    let mut household = Household::new();
    household.set("ASGARD_REHEARSAL_LOAD_MS", "200");
    household.serve(&["--rehearsal"]).await;
    let env = fs::read_to_string(fixture("strix.env")).unwrap();
    let token = "hf_0123456789abcdefghij";
    let own = household.path("house.env");
    let lines: Vec<String> = env
        .lines()
        .map(|l| if l.contains("HF_TOKEN") { format!("HF_TOKEN={token}") } else { l.to_owned() })
        .collect();
    fs::write(&own, lines.join("\n")).unwrap();
    let (compose, own) = (fixture("hybrid.yml"), own.display().to_string());

    // Looking writes nothing.
    let looked = household.json(&["import", "compose", &compose, "--env", &own]).await;
    assert!(looked["written"].is_null() && looked["corrected"].as_array().unwrap().len() > 5, "{looked:#}");
    assert!(!household.status().await.unconfirmed);

    let written = household.json(&["import", "compose", &compose, "--env", &own, "--write"]).await;
    let stack = written["written"].as_str().expect("it was written").to_owned();
    assert_eq!(written["secrets"], json!(["HF_TOKEN"]));
    let status = household
        .wait_status("the stack is in force", Duration::from_secs(10), |s| s.stack.name == "strix-opencode")
        .await;
    assert!(status.unconfirmed, "{status:#?}");

    // The token lies in one file, which nobody else may read.
    let mut found = Vec::new();
    holding(household.folder(), token, &mut found);
    found.retain(|p| p.display().to_string() != own);
    assert_eq!(found.len(), 1, "{found:#?}");
    assert!(found[0].ends_with("secrets.json"), "{found:#?}");
    assert_eq!(fs::metadata(&found[0]).unwrap().permissions().mode() & 0o777, 0o600);

    // Nothing of it starts, by any way; what would run is listed.
    for wish in [&["switch", "standard"][..], &["start", "thor"], &["up"]] {
        let refused = household.asgard(&[wish, &["--json"]].concat()).await;
        assert_eq!(refused.code, Some(1), "{refused:#?}");
        assert!(refused.stdout.contains("unconfirmed"), "{refused:#?}");
    }
    // Without a terminal there is nobody who could say yes.
    assert_eq!(household.asgard(&["config", "confirm"]).await.code, Some(1));
    let client = household.client().await;
    let shown: Value = client.call("confirmation", json!({})).await.unwrap();
    assert!(shown["surface"].as_array().unwrap().iter().any(|e| e["kind"] == "image"), "{shown:#}");
    let wrong: Result<Value, _> = client.call("confirm_stack", json!({ "hash": "0" })).await;
    assert!(wrong.is_err(), "what was not shown cannot be confirmed");
    // It survives the controller.
    household.kill9().await;
    household.serve(&["--rehearsal"]).await;
    assert!(household.status().await.unconfirmed);
    let client = household.client().await;
    let _: Value = client.call("confirm_stack", json!({ "hash": shown["hash"] })).await.unwrap();
    household.json(&["switch", "heimdall"]).await;
    assert_eq!(state_of(&household.status().await, "heimdall"), "ready");
    household.json(&["down"]).await;

    // A second import keeps the first beside it.
    let again = household.json(&["import", "env", &own, "--write"]).await;
    let kept = again["kept"].as_str().expect("the file before is kept");
    assert!(Path::new(kept).is_file() && kept.starts_with(&stack), "{kept}");
}

#[tokio::test]
async fn what_is_wrong_is_said_and_nothing_is_written() {
    let household = Household::new();
    let path = household.json(&["config", "path"]).await["path"].as_str().unwrap().to_owned();
    let bad = household.path("bad.yml");
    let bomb: String = std::iter::once("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned())
        .chain((1..9).map(|i| {
            let before = vec![format!("*a{}", i - 1); 10].join(", ");
            format!("a{i}: &a{i} [{before}]\n")
        }))
        .collect();
    for (text, word) in [
        ("services:\n  a:\n    privileged: true\n    image: x\n    command: vllm serve a/b\n", "privileged"),
        (
            "services:\n  a:\n    image: x\n    command: vllm serve a/b\n    volumes: [/var/run/docker.sock:/s]\n",
            "socket",
        ),
        ("services:\n  a: {image: x, depends_on: [b]}\n  b: {image: x, depends_on: [a]}\n", ""),
        ("include: [../../etc/passwd]\nservices: {}\n", "include"),
        (&bomb, "hundred thousand"),
        ("services: [", "line"),
    ] {
        fs::write(&bad, text).unwrap();
        let said = household.asgard(&["import", "compose", bad.to_str().unwrap(), "--write"]).await;
        assert_ne!(said.code, Some(0), "{text}: {said:#?}");
        assert!(said.stderr.contains(word), "{text}: {said:#?}");
        assert!(!Path::new(&path).exists(), "{text}: something was written");
    }
}
