//! Journeys with agents as processes: what a machine without a container engine has.

use std::process::Stdio;
use std::time::Duration;

use journeys::household::{Household, program, state_of};
use journeys::steps::{SWITCH, ask, awake, journal_holds, ready, the_first_journey};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

fn quick() -> Household {
    let mut household = Household::new();
    household.set("ASGARD_REHEARSAL_LOAD_MS", "400").set("ASGARD_REHEARSAL_TOKENS_PER_SECOND", "80");
    household
}

#[tokio::test]
async fn the_first_journey_as_processes() {
    let mut household = quick();
    household.serve(&[]).await;
    the_first_journey(&household).await;
}

#[tokio::test]
async fn a_start_that_fails_is_explained_and_undone() {
    let mut household = quick();
    household.set("ASGARD_REHEARSAL_FAULT", "odin=fail:oom");
    household.serve(&[]).await;
    household.json(&["switch", "standard"]).await;
    let refused = household.asgard(&["switch", "odin"]).await;
    assert_eq!(refused.code, Some(1), "{refused:#?}");
    assert!(refused.stderr.contains("memory"), "the reason is in plain words: {refused:#?}");
    let status = household.status().await;
    assert_eq!(state_of(&status, "odin"), "failed");
    let error = status.agents.iter().find(|a| a.name == "odin").and_then(|a| a.error.clone()).unwrap();
    assert!(!error.next.is_empty(), "a failure says what to do: {error:?}");
    assert_eq!(awake(&status), ["thor", "valkyrie"].map(String::from).into(), "what ran before is back");
    let log = household.asgard(&["logs", "odin"]).await.ok();
    assert!(!log.stdout.is_empty(), "the log of the failure can be read");
    journal_holds(&household);
}

#[tokio::test]
async fn ready_means_that_it_answered() {
    for (fault, word) in [("garbage", "not language"), ("empty", "empty"), ("crash-first-request", "first")] {
        let mut household = quick();
        household.set("ASGARD_REHEARSAL_FAULT", format!("heimdall={fault}"));
        household.serve(&[]).await;
        let refused = household.asgard(&["start", "heimdall"]).await;
        assert_eq!(refused.code, Some(1), "{fault}: {refused:#?}");
        assert!(refused.stderr.contains(word), "{fault}: {refused:#?}");
        assert!(awake(&household.status().await).is_empty(), "{fault}: nothing is left running");
    }
}

#[tokio::test]
async fn the_first_ctrl_c_cancels_and_undoes() {
    let mut household = quick();
    household.set("ASGARD_REHEARSAL_LOAD_MS", "1500");
    household.serve(&[]).await;
    household.json(&["switch", "standard"]).await;
    let mut switch = household.command(program("asgard"));
    let child =
        switch.args(["switch", "odin"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    household.wait_status("odin loads", SWITCH, |s| state_of(s, "odin") == "loading").await;
    let pid = child.id().and_then(|p| i32::try_from(p).ok()).and_then(Pid::from_raw).unwrap();
    kill_process(pid, Signal::INT).unwrap();
    let done = tokio::time::timeout(SWITCH, child.wait_with_output()).await.expect("it ends").unwrap();
    assert_eq!(done.status.code(), Some(1), "{done:?}");
    let status = household.status().await;
    assert!(ready(&status, &["thor", "valkyrie"]), "{status:#?}");
    journal_holds(&household);
}

#[tokio::test]
async fn a_killed_agent_is_noticed_and_said() {
    let mut household = quick();
    household.serve(&[]).await;
    household.json(&["start", "heimdall"]).await;
    let stand_in = household
        .processes()
        .into_iter()
        .find(|pid| {
            std::fs::read(format!("/proc/{pid}/cmdline"))
                .is_ok_and(|c| c.split(|b| *b == 0).any(|a| a == b"stand-in"))
        })
        .and_then(|pid| Pid::from_raw(i32::try_from(pid).unwrap()))
        .expect("a stand-in runs");
    kill_process(stand_in, Signal::KILL).unwrap();
    let status = household
        .wait_status("heimdall failed", Duration::from_secs(20), |s| state_of(s, "heimdall") == "failed")
        .await;
    assert!(status.agents.iter().any(|a| a.error.is_some()));
    household.json(&["start", "heimdall"]).await;
    assert!(ready(&household.status().await, &["heimdall"]), "it starts again");
}

#[tokio::test]
async fn a_taken_port_is_named_and_left_alone() {
    let mut household = quick();
    household.serve(&[]).await;
    let squatter = std::net::TcpListener::bind(("127.0.0.1", 8012)).unwrap();
    let refused = household.asgard(&["start", "heimdall"]).await;
    assert_eq!(refused.code, Some(1), "{refused:#?}");
    assert!(refused.stderr.contains("8012"), "{refused:#?}");
    assert_eq!(squatter.local_addr().unwrap().port(), 8012, "the holder lives on");
    drop(squatter);
    household.json(&["start", "heimdall"]).await;
}

#[tokio::test]
async fn what_does_not_fit_is_refused_with_numbers() {
    let mut household = quick();
    household.set("ASGARD_REHEARSAL_OTHER_MB", "35");
    household.serve(&[]).await;
    let refused = household.asgard(&["switch", "odin", "--json"]).await;
    assert_eq!(refused.code, Some(1), "{refused:#?}");
    let error = refused.json();
    assert!(error["error"]["message"].as_str().unwrap().contains("2.3\u{a0}MB"), "{error:#}");
    assert!(awake(&household.status().await).is_empty());
}

#[tokio::test]
async fn a_broken_stack_file_leaves_the_last_good_one_in_force() {
    let mut household = quick();
    household.serve(&[]).await;
    let folder = household.path("config/asgard-rehearsal");
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("stack.toml"), "version = 1\n[agents.odin]\nprot = 8011\n").unwrap();
    let status = household
        .wait_status("the notice", Duration::from_secs(20), |s| {
            s.notices.iter().any(|n| n.message.contains("prot"))
        })
        .await;
    let notice = status.notices.iter().find(|n| n.message.contains("prot")).unwrap();
    assert!(notice.message.contains("stack.toml:3"), "{notice:?}");
    assert_eq!(status.agents.len(), 6, "the last good stack is in force");
    household.json(&["start", "heimdall"]).await;
}

#[tokio::test]
async fn without_a_runtime_folder_or_d_bus_it_works() {
    let mut household = quick();
    household.unset("XDG_RUNTIME_DIR").unset("DBUS_SESSION_BUS_ADDRESS");
    household.serve(&[]).await;
    household.json(&["start", "heimdall"]).await;
    let (code, _) = ask(&household, "heimdall", "Hello?", 8).await;
    assert_eq!(code, 200);
}

#[tokio::test]
async fn no_controller_is_said_plainly() {
    let household = Household::new();
    let refused = household.asgard(&["status"]).await;
    assert_eq!(refused.code, Some(3), "{refused:#?}");
    let refused = household.asgard(&["status", "--json"]).await;
    assert_eq!(refused.json()["error"]["code"], "unreachable");
}

#[tokio::test]
async fn a_second_controller_says_that_one_runs() {
    let mut household = quick();
    household.serve(&[]).await;
    let second = household.asgard(&["serve"]).await;
    assert_eq!(second.code, Some(1), "{second:#?}");
    assert!(second.stderr.contains("already runs"), "{second:#?}");
}

#[tokio::test]
async fn a_server_of_others_is_shown_routed_to_and_left_alone() {
    let mut household = quick();
    let port = journeys::household::free_port();
    let folder = household.path("config/asgard");
    std::fs::create_dir_all(&folder).unwrap();
    let stack = format!(
        "version = 1\nname = \"others\"\nbase = \"none\"\n[agents.mimir]\nbackend = \"external\"\nendpoint = \"http://127.0.0.1:{port}\"\nmodel = \"m\"\n[profiles.none]\nagents = []\n"
    );
    std::fs::write(folder.join("stack.toml"), stack).unwrap();
    household.serve(&[]).await;
    assert_eq!(state_of(&household.status().await, "mimir"), "asleep");
    let mut server = household.command(program("asgard"));
    let port = port.to_string();
    server.args([
        "stand-in",
        "llama-server",
        "--model",
        "m",
        "--alias",
        "mimir",
        "--host",
        "127.0.0.1",
        "--port",
        &port,
    ]);
    let mut server = server.env("ASGARD_AGENT", "mimir").stderr(Stdio::null()).spawn().unwrap();
    household.wait_status("mimir is there", SWITCH, |s| state_of(s, "mimir") == "ready").await;
    let (code, body) = ask(&household, "mimir", "Hello?", 8).await;
    assert_eq!(code, 200, "{body}");
    household.json(&["down"]).await;
    assert!(server.try_wait().unwrap().is_none(), "it is never stopped");
    server.kill().await.unwrap();
    household.wait_status("mimir is gone", SWITCH, |s| state_of(s, "mimir") == "asleep").await;
}

/// A recorded machine with a GPU begins with the shipped stack asleep, and writes nothing.
#[tokio::test]
async fn a_machine_with_a_gpu_begins_with_the_real_stack_asleep() {
    let mut household = quick();
    let recorded = std::path::Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../src-tauri/crates/hardware/fixtures/strix-halo-small-carveout");
    household.set("ASGARD_SYSROOT", recorded);
    household.serve(&[]).await;
    let status = household.status().await;
    assert!(!status.rehearsal);
    assert!(awake(&status).is_empty());
    assert_eq!(status.pools[0].kind, "unified");
    assert!(!household.path("config/asgard/stack.toml").exists(), "nothing is written until the user saves");
    // No engine is there: a sentence with a next step, not a hang.
    let refused = household.asgard(&["start", "heimdall"]).await;
    assert_ne!(refused.code, Some(0), "{refused:#?}");
    assert!(status.notices.iter().any(|n| n.message.contains("engine")), "{:#?}", status.notices);
}

#[tokio::test]
async fn a_kill_in_the_middle_of_an_answer_keeps_what_had_arrived() {
    let mut household = quick();
    household.set("ASGARD_REHEARSAL_TOKENS_PER_SECOND", "20");
    household.serve(&[]).await;
    household.json(&["start", "heimdall"]).await;
    let client = household.client().await;
    let conversation: Value = client.call("new_conversation", json!({"agent": "heimdall"})).await.unwrap();
    let id = conversation["id"].as_i64().unwrap();
    let mut reply =
        client.open("send", json!({"conversation": id, "text": "Tell me a long story."})).unwrap();
    // What is kept is written twice a second: enough has arrived when a second's worth of words has.
    let mut seen = String::new();
    while seen.split_whitespace().count() < 25 {
        let chunk = reply.next().await.unwrap().expect("the reply goes on");
        seen.push_str(chunk["text"].as_str().unwrap_or_default());
    }
    household.kill9().await;
    household.serve(&[]).await;
    let client = household.client().await;
    let kept: Value = client.call("conversation", json!({"conversation": id})).await.unwrap();
    let message = kept["messages"].as_array().unwrap().last().unwrap().clone();
    assert_eq!((message["role"].as_str(), message["state"].as_str()), (Some("assistant"), Some("failed")));
    let text = message["text"].as_str().unwrap();
    assert!(
        !text.is_empty() && seen.starts_with(&text[..text.len().min(seen.len())]),
        "{text:?} of {seen:?}"
    );
    assert!(!message["error"]["next"].as_str().unwrap().is_empty());
    // And the person can ask again.
    household.wait_status("heimdall is adopted", SWITCH, |s| state_of(s, "heimdall") == "ready").await;
    let mut again = client.open("retry", json!({"conversation": id})).unwrap();
    let mut last = Value::Null;
    while let Some(chunk) = again.next().await.unwrap() {
        last = chunk;
    }
    assert_eq!((last["kind"].as_str(), last["message"]["state"].as_str()), (Some("done"), Some("done")));
}

#[tokio::test]
async fn after_login_does_what_was_set_and_nothing_by_default() {
    let mut household = quick();
    household.serve(&["--after-login"]).await;
    let client = household.client().await;
    let settings: Value = client.call("settings", json!({})).await.unwrap();
    assert_eq!(settings["after_login"], "nothing");
    assert!(awake(&household.status().await).is_empty());
    let entry = household.path("config/autostart/asgard.desktop");
    assert!(!entry.exists(), "nothing is started after login unless it was asked for");
    let _: Value = client.call("change_settings", json!({"after_login": "base_profile"})).await.unwrap();
    let text = std::fs::read_to_string(&entry).unwrap();
    assert!(text.contains("serve --after-login"), "{text}");
    household.kill9().await;
    household.serve(&["--after-login"]).await;
    household.wait_status("the base profile is awake", SWITCH, |s| ready(s, &["thor", "valkyrie"])).await;
    let client = household.client().await;
    let _: Value = client.call("change_settings", json!({"after_login": "nothing"})).await.unwrap();
    assert!(!entry.exists());
}
