//! Journeys on a real Docker Engine that the test starts for itself.

use std::time::Duration;

use journeys::docker::DockerEngine;
use journeys::household::{Household, state_of};
use journeys::steps::{awake, kill_at_random, ready, settled, the_first_journey};

async fn household() -> (DockerEngine, Household) {
    let engine = DockerEngine::start().await;
    let mut household = Household::new();
    household
        .set("DOCKER_HOST", engine.host())
        .set("ASGARD_REHEARSAL_LOAD_MS", "400")
        .set("ASGARD_REHEARSAL_TOKENS_PER_SECOND", "80");
    assert!(household.env().contains_key("ASGARD_STAND_IN"), "the static stand-in is built and named");
    (engine, household)
}

#[tokio::test]
async fn the_first_journey_in_containers() {
    let (engine, mut household) = household().await;
    household.serve(&[]).await;
    the_first_journey(&household).await;
    let (_, left) = engine.docker(&["ps", "-a", "--format", "{{.Names}}"]);
    assert!(!left.lines().any(|n| n.contains("odin")), "a stopped agent leaves no container: {left}");
}

#[tokio::test]
async fn thirty_kills_of_the_controller() {
    let (_engine, mut household) = household().await;
    household.set("ASGARD_REHEARSAL_LOAD_MS", "250");
    kill_at_random(&mut household, 30, 0x51d3_77aa, Some(11)).await;
}

#[tokio::test]
async fn what_is_not_ours_is_never_touched() {
    let (engine, mut household) = household().await;
    household.serve(&[]).await;
    household.json(&["start", "heimdall"]).await;
    let (_, image) = engine.docker(&["ps", "--format", "{{.Image}}"]);
    let image = image.trim();
    // A container with the same kind of labels, of another instance, and one without any.
    for (name, label) in [("another", "io.asgard.instance=ffffffffffffffff"), ("stranger", "x=y")] {
        let (ok, out) = engine.docker(&[
            "run",
            "-d",
            "--name",
            name,
            "--label",
            label,
            "--label",
            "io.asgard.agent=loki",
            image,
            "llama-server",
            "--model",
            "m",
            "--host",
            "0.0.0.0",
            "--port",
            "9999",
        ]);
        assert!(ok, "{out}");
    }
    household.json(&["down"]).await;
    let (_, running) = engine.docker(&["ps", "--format", "{{.Names}}"]);
    let mut names: Vec<&str> = running.lines().collect();
    names.sort_unstable();
    assert_eq!(names, ["another", "stranger"]);
    household.json(&["start", "loki"]).await;
    assert!(ready(&household.status().await, &["loki"]));
}

#[tokio::test]
async fn an_engine_that_goes_away_is_said_and_nothing_hangs() {
    let (mut engine, mut household) = household().await;
    household.serve(&[]).await;
    household.json(&["switch", "standard"]).await;
    engine.kill();
    let refused = household.asgard(&["stop", "thor"]).await;
    assert_ne!(refused.code, Some(0), "{refused:#?}");
    household
        .wait_status("the engine is gone", Duration::from_secs(60), |s| {
            s.engines.iter().any(|e| e.kind != "process" && !e.reachable)
        })
        .await;
    engine.run().await;
    let status = household
        .wait_status("the engine is back", Duration::from_secs(60), |s| {
            s.engines.iter().any(|e| e.kind == "docker" && e.reachable) && settled(s)
        })
        .await;
    assert!(awake(&status).contains("valkyrie"), "{status:#?}");
    household.json(&["down"]).await;
    assert_eq!(state_of(&household.status().await, "valkyrie"), "asleep");
}
