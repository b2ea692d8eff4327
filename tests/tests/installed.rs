//! Installed models by the commands: with nothing running, and with a controller.

use std::fs;
use std::path::{Path, PathBuf};

use journeys::household::Household;
use models::cache;
use serde_json::Value;

const CONFIG: &str = r#"{"model_type":"qwen2","architectures":["Qwen2ForCausalLM"],"hidden_size":64,"num_hidden_layers":2,"num_attention_heads":4,"num_key_value_heads":2,"vocab_size":100,"intermediate_size":128,"max_position_embeddings":4096,"torch_dtype":"bfloat16"}"#;

/// A folder with a small model, as a person would have one.
fn model(household: &Household, name: &str) -> PathBuf {
    let folder = household.path(name);
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join("config.json"), CONFIG).unwrap();
    fs::write(folder.join("README.md"), "---\nlicense: apache-2.0\n---\n# A model\n").unwrap();
    let header = br#"{"a":{"dtype":"BF16","shape":[4],"data_offsets":[0,8]}}"#;
    let mut weights = (header.len() as u64).to_le_bytes().to_vec();
    weights.extend_from_slice(header);
    weights.extend_from_slice(name.as_bytes().first_chunk::<1>().unwrap().repeat(8).as_slice());
    fs::write(folder.join("model.safetensors"), weights).unwrap();
    folder
}

/// Puts it into the cache, as another program would: the original is deleted, so that nothing else holds its content.
fn put(household: &Household, hub: &Path, repo: &str) {
    let folder = model(household, &repo.replace('/', "-"));
    cache::import(hub, &folder, Some(repo), &mut |_| true).unwrap();
    fs::remove_dir_all(folder).unwrap();
}

fn one<'a>(list: &'a Value, repo: &str) -> &'a Value {
    let models = list["models"].as_array().unwrap();
    models.iter().find(|m| m["repo"] == repo).unwrap_or_else(|| panic!("{repo} is not in {list:#}"))
}

fn household() -> (Household, PathBuf) {
    let mut household = Household::new();
    let hub = household.path("hub");
    // A Hub that is named makes a rehearsal use the cache that is named; nobody is asked there.
    household
        .set("HF_HUB_CACHE", &hub)
        .set("HF_ENDPOINT", "http://127.0.0.1:9")
        .set("ASGARD_REHEARSAL_LOAD_MS", "200");
    (household, hub)
}

#[tokio::test]
async fn with_nothing_running_the_files_answer() {
    let (household, hub) = household();
    let empty = household.json(&["models", "list"]).await;
    assert_eq!(empty["models"].as_array().unwrap().len(), 0);
    put(&household, &hub, "org/fine");
    // An agent of the shipped stack is set to this one.
    put(&household, &hub, "Qwen/Qwen2.5-3B-Instruct-AWQ");
    let list = household.json(&["models", "list"]).await;
    let fine = one(&list, "org/fine");
    for (key, value) in [
        ("model", Value::from("org/fine")),
        ("complete", true.into()),
        ("licence", "apache-2.0".into()),
        ("licence_title", "Apache 2.0".into()),
        ("architecture", "Qwen2ForCausalLM".into()),
        ("max_context", 4096.into()),
        ("quantization", "BF16".into()),
        ("backend", "vllm".into()),
        ("verified", Value::Null),
        ("owner", Value::Null),
        ("files", 3.into()),
    ] {
        assert_eq!(fine[key], value, "{key}: {fine:#}");
    }
    let held = fine["held_bytes"].as_u64().unwrap();
    assert!(held > 300, "{fine:#}");
    assert_eq!(
        list["held_bytes"].as_u64().unwrap(),
        held + one(&list, "Qwen/Qwen2.5-3B-Instruct-AWQ")["held_bytes"].as_u64().unwrap()
    );

    // Verified, remembered, and forgotten when the file changes.
    household.asgard(&["models", "verify", "org/fine"]).await.ok();
    assert!(one(&household.json(&["models", "list"]).await, "org/fine")["verified"].is_string());
    let weights = PathBuf::from(fine["path"].as_str().unwrap()).join("model.safetensors");
    let mut bytes = fs::read(&weights).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(weights.canonicalize().unwrap(), bytes).unwrap();
    assert_eq!(one(&household.json(&["models", "list"]).await, "org/fine")["verified"], Value::Null);
    let damaged = household.asgard(&["models", "verify", "org/fine", "--json"]).await;
    assert_eq!(damaged.code, Some(1), "{damaged:#?}");
    assert_eq!(damaged.json()["damaged"][0], "model.safetensors");

    // Nothing goes without a yes, and nothing that an agent is set to.
    let unasked = household.asgard(&["models", "remove", "org/fine"]).await;
    assert_eq!(unasked.code, Some(2), "{unasked:#?}");
    let would = household.json(&["models", "remove", "org/fine", "--dry-run"]).await;
    assert_eq!((would["removed"].as_bool(), would["freed_bytes"].as_u64()), (Some(false), Some(held)));
    let kept = household.asgard(&["models", "remove", "Qwen/Qwen2.5-3B-Instruct-AWQ", "--yes"]).await;
    assert_eq!(kept.code, Some(1), "{kept:#?}");
    assert!(kept.stdout.contains("Heimdall is set to it."), "{kept:#?}");
    let gone = household.json(&["models", "remove", "org/fine", "--yes"]).await;
    assert_eq!((gone["removed"].as_bool(), gone["freed_bytes"].as_u64()), (Some(true), Some(held)));
    assert!(!hub.join("models--org--fine").exists());
    let unknown = household.asgard(&["models", "remove", "org/fine", "--yes", "--json"]).await;
    assert_eq!((unknown.code, unknown.json()["error"]["code"].as_str()), (Some(2), Some("unknown")));

    // A folder of the person's own; a pipe gets plain lines, and a relative path is one from here.
    model(&household, "mine");
    let imported = household.asgard(&["models", "import", "mine", "--as", "me/mine"]).await.ok();
    assert!(imported.stdout.contains("me/mine is in the cache"), "{imported:#?}");
    assert!(!imported.stdout.contains('\x1b') && !imported.stderr.contains('\x1b'), "{imported:#?}");
    assert!(household.path("mine/model.safetensors").exists());
    assert_eq!(one(&household.json(&["models", "list"]).await, "me/mine")["complete"], true);
}

#[tokio::test]
async fn a_controller_sees_what_others_do_and_keeps_what_runs() {
    let (mut household, hub) = household();
    household.serve(&["--rehearsal"]).await;
    assert_eq!(household.json(&["models", "list"]).await["models"].as_array().unwrap().len(), 0);
    put(&household, &hub, "Qwen/Qwen2.5-3B-Instruct-AWQ");
    let list = household.json(&["models", "list"]).await;
    let model = one(&list, "Qwen/Qwen2.5-3B-Instruct-AWQ");
    assert_eq!(model["used_by"][0]["agent"], "heimdall");
    assert_eq!(model["used_by"][0]["awake"], false);
    household.json(&["start", "heimdall"]).await;
    let refused = household
        .asgard(&["models", "remove", "Qwen/Qwen2.5-3B-Instruct-AWQ", "--yes", "--even-if-configured"])
        .await;
    assert_eq!(refused.code, Some(1), "{refused:#?}");
    assert!(refused.stdout.contains("Heimdall runs on it"), "{refused:#?}");
    household.json(&["stop", "heimdall"]).await;
    household.asgard(&["models", "verify"]).await.ok();
    assert!(
        one(&household.json(&["models", "list"]).await, "Qwen/Qwen2.5-3B-Instruct-AWQ")["verified"]
            .is_string()
    );
    household
        .asgard(&["models", "remove", "Qwen/Qwen2.5-3B-Instruct-AWQ", "--yes", "--even-if-configured"])
        .await
        .ok();
    assert_eq!(household.json(&["models", "list"]).await["models"].as_array().unwrap().len(), 0);
}
