//! The first steps in the real window: three steps lead to agents that run, and each can be passed over.

use std::time::Duration;

use api::shapes::assign::FirstRun;
use api::shapes::downloads::{DownloadState, Downloads};
use journeys::display::{SOON, Screen, Window, eventually};
use journeys::household::Household;
use journeys::steps::{awake, ready};
use serde_json::{Value, json};

/// What the base profile of the rehearsal needs.
const NEEDED: [&str; 2] = ["Qwen/Qwen2.5-14B-Instruct-AWQ", "QuantTrio/Qwen3-Coder-30B-A3B-Instruct-AWQ"];
/// Loki's, which nobody needs for a start.
const ALSO: &str = "Qwen/Qwen2.5-7B-Instruct-AWQ";
/// Some thirty megabytes, and two starts.
const WHILE: Duration = Duration::from_secs(90);
/// The key to the left, as WebDriver spells it.
const LEFT: &str = "\u{e012}";

async fn on_a_new_machine() -> (Household, Screen) {
    let mut household = Household::new();
    let screen = Screen::start(1280, 800).await;
    screen.dress(&mut household);
    household.set("ASGARD_REHEARSAL_FIRST_RUN", "1").set("ASGARD_REHEARSAL_LOAD_MS", "800");
    household.serve(&["--rehearsal"]).await;
    (household, screen)
}

async fn first_run(household: &Household) -> FirstRun {
    household.client().await.call("first_run", json!({})).await.unwrap()
}

async fn downloads(household: &Household) -> Downloads {
    household.client().await.call("downloads", json!({})).await.unwrap()
}

async fn limit(household: &Household, bytes_per_second: Option<u64>) {
    let asked = json!({ "bytes_per_second": bytes_per_second });
    let _: Value = household.client().await.call("limit_downloads", asked).await.unwrap();
}

/// The text of the stack file, where one was written.
fn stack_file(household: &Household) -> Option<String> {
    std::fs::read_to_string(household.path("config/asgard-rehearsal/stack.toml")).ok()
}

/// Closes the window as a person does, and opens it once more: the steps do not come again.
async fn not_again(household: &Household, screen: &Screen, window: Window) {
    screen.close(screen.window("Asgard", SOON).await);
    window.gone().await;
    assert!(!first_run(household).await.due, "it is not due again");
    let again = Window::open(household, &["--rehearsal"]).await;
    again.see("agent-thor").await;
    assert_eq!(again.count("[data-testid=\"screen-firstrun\"]").await, 0);
}

#[tokio::test]
async fn three_steps_lead_to_agents_that_run() {
    let (household, screen) = on_a_new_machine().await;
    // Slow enough that it is to be seen what waits for the downloads.
    limit(&household, Some(400_000)).await;
    let window = Window::open(&household, &["--rehearsal"]).await;

    // What was found of the machine.
    window.see("screen-firstrun").await;
    window.see("first-row-engine").await;
    window.see("first-row-gpu").await;
    window.picture("first-run-1").await;
    window.press("first-continue").await;

    // The budget, less by the limit that is chosen.
    let proposed = window.text("first-left").await;
    assert!(proposed.starts_with("108.8"), "{proposed}");
    window.type_into("first-limit", LEFT).await;
    window
        .until(
            "a megabyte less",
            SOON,
            "return document.querySelector('[data-testid=\"first-left\"]').innerText.startsWith('107.8')",
        )
        .await;
    // Who goes on reads the next step from its title.
    let focus = "return document.activeElement.id";
    window.picture("first-run-2").await;
    window.press("first-continue").await;
    window.see("first-models").await;
    assert_eq!(window.run(focus).await, "first-title");

    // What the base profile needs is chosen, and stands on the bar already.
    window.see_css("[data-testid=\"memory-bar\"] [data-segment=\"valkyrie\"]").await;
    for repo in NEEDED {
        window.see_css(&format!("[data-testid=\"first-model-{repo}\"]:checked")).await;
    }
    window.press(&format!("first-model-{ALSO}")).await;
    window.picture("first-run-3").await;
    window.press("first-finish").await;

    // In the background, and nobody starts before it is all here.
    window.see("screen-models").await;
    window
        .until(
            "the three are in the list",
            SOON,
            "return document.querySelectorAll('[data-testid=\"download\"]').length === 3",
        )
        .await;
    let words = window.words().await;
    assert!(words.contains("standard starts by itself"), "{words}");
    let all = downloads(&household).await;
    assert_eq!(all.then_start.as_deref(), Some("standard"));
    assert!(all.downloads.iter().any(|d| d.state != DownloadState::Done), "{all:#?}");
    assert!(awake(&household.status().await).is_empty(), "nobody starts before its model is here");
    window.picture("first-run-downloads").await;
    let text = stack_file(&household).expect("a stack file was written");
    assert!(text.contains("limit = \"119 MB\""), "{text}");

    limit(&household, None).await;
    household.wait_status("the standard profile runs", WHILE, |s| ready(s, &["thor", "valkyrie"])).await;
    for repo in NEEDED.iter().chain([&ALSO]) {
        eventually("the model is here", WHILE, || async {
            let all = downloads(&household).await.downloads;
            all.iter().any(|d| d.repo == *repo && d.state == DownloadState::Done).then_some(())
        })
        .await;
    }
    window.press("nav-stack").await;
    for agent in ["thor", "valkyrie"] {
        window.see_css(&format!("[data-testid=\"agent-{agent}\"][data-state=\"ready\"]")).await;
    }
    window.picture("first-run-after").await;
    not_again(&household, &screen, window).await;
}

#[tokio::test]
async fn each_step_can_be_skipped() {
    let (mut household, screen) = on_a_new_machine().await;
    let window = Window::open(&household, &["--rehearsal"]).await;
    window.see("screen-firstrun").await;

    // Left for later it is offered again when the window opens.
    window.press("first-later").await;
    window.see("agent-thor").await;
    assert!(first_run(&household).await.due, "it was only put off");
    screen.close(screen.window("Asgard", SOON).await);
    window.gone().await;
    let window = Window::open(&household, &["--rehearsal"]).await;
    window.see("first-engine").await;
    window.press("first-continue").await;

    // A limit that was touched and is skipped is as it was found.
    let proposed = window.text("first-left").await;
    window.type_into("first-limit", LEFT).await;
    window.press("first-skip-step").await;
    window.see("first-models").await;
    window.press("first-back").await;
    assert_eq!(window.text("first-left").await, proposed);
    window.press("first-continue").await;

    // And without models it is done.
    window.press("first-skip-step").await;
    window.see("agent-thor").await;
    assert_eq!(window.count("[data-testid=\"screen-firstrun\"]").await, 0);
    assert!(downloads(&household).await.downloads.is_empty());
    assert!(awake(&household.status().await).is_empty());
    assert_eq!(stack_file(&household), None, "nothing was asked for, so nothing was written");

    // The next controller knows it too.
    household.kill9().await;
    household.serve(&["--rehearsal"]).await;
    not_again(&household, &screen, window).await;
}
