//! Images through the program: a digest written down at the first pull, a newer one tried on one agent, taken back
//! with one press, and one that does not answer left alone. With a real registry, on real memory.

use std::fs;
use std::path::Path;
use std::process::Command;

use journeys::docker::DockerEngine;
use journeys::household::{Household, state_of};
use journeys::registry::Registry;
use serde_json::Value;

const REPOSITORY: &str = "asgard/llama";

/// An image that plays llama-server, or one that ends at once; the mark makes each another image.
fn push(engine: &DockerEngine, registry: &Registry, tag: &str, plays: bool) {
    let folder = tempfile::tempdir().unwrap();
    let program = std::env::var("ASGARD_STAND_IN").expect("the static stand-in is built and named");
    fs::copy(program, folder.path().join("asgard-stand-in")).unwrap();
    fs::write(folder.path().join("mark"), tag).unwrap();
    let tar = folder.path().join("image.tar");
    let archive = |args: &[&str]| Command::new("tar").args(args).status().unwrap().success();
    let root = folder.path().to_str().unwrap();
    assert!(archive(&["-cf", tar.to_str().unwrap(), "-C", root, "asgard-stand-in", "mark"]));
    let entry = if plays {
        "ENTRYPOINT [\"/asgard-stand-in\", \"llama-server\"]"
    } else {
        "ENTRYPOINT [\"/asgard-stand-in\", \"nonsense\"]"
    };
    let reference = format!("{}/{REPOSITORY}:{tag}", registry.address);
    for args in [
        vec!["import", "--change", entry, tar.to_str().unwrap(), &reference],
        vec!["push", &reference],
        vec!["rmi", &reference],
    ] {
        let (ok, out) = engine.docker(&args);
        assert!(ok, "{args:?}: {out}");
    }
}

fn image<'a>(list: &'a Value, reference: &str) -> &'a Value {
    list["images"]
        .as_array()
        .and_then(|all| all.iter().find(|i| i["reference"] == reference))
        .unwrap_or_else(|| panic!("{reference} is not in {list:#}"))
}

async fn write_stack(household: &Household, reference: &str, model: &Path) {
    let path = household.json(&["config", "path"]).await;
    let path = Path::new(path["path"].as_str().unwrap()).to_path_buf();
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    let text = format!(
        "version = 1\nname = \"images\"\nbase = \"standard\"\n\n[agents.thor]\nbackend = \"llama.cpp\"\n\
         image = \"{reference}\"\nmodel = \"{}\"\nport = 8001\ncontext = 4096\nsequences = 1\nmemory = \"1 GB\"\n\
         load_timeout = \"20 s\"\nargs = [\"-ngl\", \"0\"]\n\n[profiles.standard]\nagents = [\"thor\"]\n",
        model.display()
    );
    fs::write(path, text).unwrap();
}

// The registry answers through a task of this test, while the docker client is waited for.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_newer_image_is_tried_on_one_agent_and_taken_back() {
    let engine = DockerEngine::start().await;
    let registry = Registry::start().await;
    push(&engine, &registry, "stable", true);
    push(&engine, &registry, "next", true);
    push(&engine, &registry, "broken", false);
    let digest = async |tag: &str| registry.digest(REPOSITORY, tag).await;
    let (first, second, broken) = (digest("stable").await, digest("next").await, digest("broken").await);
    let reference = format!("{}/{REPOSITORY}:stable", registry.address);

    let mut household = Household::new();
    household.set("DOCKER_HOST", engine.host());
    let model = household.path("models/tiny.gguf");
    fs::create_dir_all(model.parent().unwrap()).unwrap();
    fs::write(&model, b"GGUF of a stand-in").unwrap();
    write_stack(&household, &reference, &model).await;
    household.serve(&[]).await;

    // The first start pulls, and writes down which digest that was.
    household.json(&["start", "thor"]).await;
    let list = household.json(&["images", "list"]).await;
    let known = image(&list, &reference);
    assert_eq!(known["digest"], first.as_str(), "{known:#}");
    assert!(known["version"].as_str().is_some_and(|v| v.contains("llama.cpp")), "{known:#}");
    assert_eq!(known["used_by"][0], "thor");

    // The tag moves: the next start is the same image, and the newer one is only offered.
    registry.retag(REPOSITORY, "next", "stable").await;
    household.json(&["restart", "thor"]).await;
    let running = |engine: &DockerEngine| engine.docker(&["ps", "--no-trunc", "--format", "{{.Image}}"]).1;
    assert!(running(&engine).contains(&first), "{}", running(&engine));
    let list = household.json(&["images", "check"]).await;
    assert_eq!(image(&list, &reference)["newer"], second.as_str());

    let list = household.json(&["images", "try", &reference, "thor"]).await;
    let known = image(&list, &reference);
    assert_eq!(
        (&known["digest"], &known["previous"]),
        (&Value::from(second.as_str()), &Value::from(first.as_str()))
    );
    assert!(running(&engine).contains(&second), "{}", running(&engine));
    assert_eq!(state_of(&household.status().await, "thor"), "ready");

    let list = household.json(&["images", "undo", &reference]).await;
    assert_eq!(image(&list, &reference)["digest"], first.as_str());
    assert!(running(&engine).contains(&first), "one press, and it runs again: {}", running(&engine));

    // One that does not answer is not kept, and the agent is back on the one before.
    registry.retag(REPOSITORY, "broken", "stable").await;
    let list = household.json(&["images", "check"]).await;
    assert_eq!(image(&list, &reference)["newer"], broken.as_str());
    let tried = household.asgard(&["images", "try", &reference, "thor", "--json"]).await;
    assert_eq!(tried.code, Some(1), "{tried:#?}");
    assert!(running(&engine).contains(&first), "{tried:#?}\n{}", running(&engine));
    let list = household.json(&["images", "list"]).await;
    assert_eq!(image(&list, &reference)["digest"], first.as_str());
    // What is not used is listed with its size, and goes when it is asked for.
    let unused: Vec<&Value> = list["images"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|i| i["used_by"].as_array().unwrap().is_empty())
        .collect();
    assert!(unused.iter().any(|i| i["size_bytes"].as_u64() > Some(0)), "{list:#}");
    let refused = household.asgard(&["images", "remove", &reference, "--json"]).await;
    assert_ne!(refused.code, Some(0), "an image in use stays: {refused:#?}");
}
