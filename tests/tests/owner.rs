//! The owner's machine: what runs there already is recognised, adopted, replaced, and given back.

use std::fs;
use std::process::Command;
use std::time::Duration;

use journeys::docker::DockerEngine;
use journeys::household::{Household, free_port, state_of};
use serde_json::Value;

const IMAGE: &str = "asgard-stand-in:strix";

/// The stand-in as somebody else's image: the static program with itself as its entry point.
fn make_image(engine: &DockerEngine) {
    let program = std::env::var("ASGARD_STAND_IN").expect("the static stand-in is built and named");
    let folder = tempfile::tempdir().unwrap();
    fs::copy(program, folder.path().join("asgard-stand-in")).unwrap();
    let tar = folder.path().join("image.tar");
    let made = Command::new("tar")
        .arg("-cf")
        .arg(&tar)
        .arg("-C")
        .arg(folder.path())
        .arg("asgard-stand-in")
        .status()
        .unwrap();
    assert!(made.success());
    let entry = "ENTRYPOINT [\"/asgard-stand-in\"]";
    let (ok, out) = engine.docker(&["import", "--change", entry, tar.to_str().unwrap(), IMAGE]);
    assert!(ok, "{out}");
}

/// A service as docker-compose would have started it.
fn compose_service(engine: &DockerEngine, service: &str, port: u16, command: &[&str]) {
    let publish = format!("127.0.0.1:{port}:{port}");
    let (name, service) = (format!("strix-{service}-1"), format!("com.docker.compose.service={service}"));
    let mut args = vec![
        "run",
        "-d",
        "--name",
        &name,
        "--label",
        "com.docker.compose.project=strix",
        "--label",
        &service,
        "--publish",
        &publish,
        IMAGE,
    ];
    args.extend(command);
    let (ok, out) = engine.docker(&args);
    assert!(ok, "{out}");
}

fn neighbour<'a>(list: &'a Value, name: &str) -> &'a Value {
    list["neighbours"]
        .as_array()
        .and_then(|all| all.iter().find(|n| n["name"] == name))
        .unwrap_or_else(|| panic!("{name} is not in {list:#}"))
}

#[tokio::test]
async fn what_runs_already_is_adopted_then_replaced_then_given_back() {
    let engine = DockerEngine::start().await;
    make_image(&engine);
    let mut household = Household::new();
    let gateway = free_port();
    household
        .set("DOCKER_HOST", engine.host())
        .set("BIFROST_PORT", gateway.to_string())
        .set("ASGARD_REHEARSAL_LOAD_MS", "300");
    let model = "Qwen/Qwen2.5-14B-Instruct-AWQ";
    let port = gateway.to_string();
    compose_service(
        &engine,
        "vllm_thor",
        8001,
        &[
            "vllm",
            "serve",
            model,
            "--host",
            "0.0.0.0",
            "--port",
            "8001",
            "--gpu-memory-utilization",
            "0.20",
            "--max-model-len",
            "32768",
        ],
    );
    compose_service(
        &engine,
        "bifrost",
        gateway,
        &["llama-server", "--model", "/m.gguf", "--host", "0.0.0.0", "--port", &port],
    );
    household.serve(&[]).await;
    let status =
        household.wait_status("both are seen", Duration::from_secs(30), |s| s.open_neighbours == 2).await;
    assert!(status.gateway.address.is_none() && status.gateway.error.is_some(), "{:#?}", status.gateway);

    let list = household.json(&["neighbours", "list"]).await;
    let thor = neighbour(&list, "strix-vllm_thor-1");
    assert_eq!(thor["agent"], "thor", "{thor:#}");
    assert_eq!(thor["port"], 8001);
    assert_eq!(thor["models"][0]["name"], model);
    assert!(thor["origin"].as_str().unwrap().contains("strix"), "{thor:#}");
    let thor_id = thor["id"].as_str().unwrap().to_owned();
    let bifrost_id = neighbour(&list, "strix-bifrost-1")["id"].as_str().unwrap().to_owned();
    assert_eq!(state_of(&household.status().await, "thor"), "asleep", "nothing is touched without an answer");

    household.json(&["neighbours", "adopt", &thor_id]).await;
    let status = household
        .wait_status("Thor answers from the server of others", Duration::from_secs(20), |s| {
            s.agents.iter().any(|a| a.name == "thor" && a.adopted && a.state.answers())
        })
        .await;
    let claims: u64 = status.pools.iter().flat_map(|p| &p.agents).map(|a| a.reserved_bytes).sum();
    assert!(claims > 0, "it counts in the bar: {:#?}", status.pools);

    // The gateway's port is taken back from the earlier scheduler, and Thor is routed to under its own name.
    household.json(&["neighbours", "stop", &bifrost_id]).await;
    household
        .wait_status("the gateway is open", Duration::from_secs(20), |s| s.gateway.address.is_some())
        .await;
    let reply = household.asgard(&["chat", "thor", "hello", "--json"]).await.ok();
    assert!(!reply.stdout.is_empty());

    // It is never stopped by a switch.
    household.json(&["switch", "standard"]).await;
    household.json(&["down"]).await;
    let (_, running) = engine.docker(&["ps", "--format", "{{.Names}}"]);
    assert!(running.contains("strix-vllm_thor-1"), "{running}");

    household.json(&["neighbours", "stop", &thor_id, "--take-place"]).await;
    let status = household.status().await;
    assert!(status.agents.iter().any(|a| a.name == "thor" && !a.adopted && a.state.answers()), "{status:#?}");
    let (_, all) = engine.docker(&["ps", "-a", "--format", "{{.Names}} {{.Status}}"]);
    let old = all.lines().find(|l| l.starts_with("strix-vllm_thor-1")).expect("it is kept");
    assert!(old.contains("Exited"), "{all}");

    household.json(&["neighbours", "undo", &thor_id]).await;
    let (_, running) = engine.docker(&["ps", "--format", "{{.Names}}"]);
    assert!(running.contains("strix-vllm_thor-1"), "{running}");
    assert_eq!(state_of(&household.status().await, "thor"), "asleep");

    household.json(&["neighbours", "undo", &bifrost_id]).await;
    household
        .wait_status("the port is given back", Duration::from_secs(20), |s| s.gateway.address.is_none())
        .await;
    let (_, running) = engine.docker(&["ps", "--format", "{{.Names}}"]);
    assert!(running.contains("strix-bifrost-1"), "{running}");
}

#[tokio::test]
async fn a_profile_that_needs_an_adopted_servers_memory_is_refused_and_names_it() {
    let engine = DockerEngine::start().await;
    make_image(&engine);
    let mut household = Household::new();
    household.set("DOCKER_HOST", engine.host()).set("ASGARD_REHEARSAL_OTHER_MB", "20");
    compose_service(
        &engine,
        "big",
        9050,
        &[
            "vllm",
            "serve",
            "some/Model",
            "--host",
            "0.0.0.0",
            "--port",
            "9050",
            "--gpu-memory-utilization",
            "0.40",
        ],
    );
    household.serve(&[]).await;
    household.wait_status("it is seen", Duration::from_secs(30), |s| s.open_neighbours == 1).await;
    let list = household.json(&["neighbours", "list"]).await;
    let id = neighbour(&list, "strix-big-1")["id"].as_str().unwrap().to_owned();
    household.json(&["neighbours", "adopt", &id]).await;
    let guest = household
        .wait_status("the guest is there", Duration::from_secs(20), |s| s.agents.iter().any(|a| a.adopted))
        .await
        .agents
        .into_iter()
        .find(|a| a.adopted)
        .unwrap();
    let refused = household.asgard(&["switch", "odin", "--json"]).await;
    assert_eq!(refused.code, Some(1), "{refused:#?}");
    assert!(refused.stdout.contains(&guest.display_name), "{refused:#?}");
    let (_, running) = engine.docker(&["ps", "--format", "{{.Names}}"]);
    assert!(running.contains("strix-big-1"), "{running}");
    // Its name survives the controller.
    household.kill9().await;
    household.serve(&[]).await;
    household
        .wait_status("it is adopted still", Duration::from_secs(30), |s| {
            s.agents.iter().any(|a| a.adopted && a.name == guest.name)
        })
        .await;
    household.json(&["neighbours", "undo", &id]).await;
    assert!(household.status().await.agents.iter().all(|a| !a.adopted));
}
