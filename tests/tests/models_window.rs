//! From "a coder that fits" to its answer, in the real window, by pointing alone: search, download with a pause,
//! assign, start, chat. The rehearsal's own Hub has the models.

use std::time::Duration;

use api::shapes::downloads::{DownloadState, Downloads};
use journeys::display::{SOON, Screen, Window, eventually};
use journeys::household::{Household, state_of};
use serde_json::{Value, json};

/// Nothing that Loki has in the shipped stack.
const CODER: &str = "Qwen/Qwen2.5-Coder-7B-Instruct-AWQ";
/// A start of the rehearsal, or a download of five megabytes.
const WHILE: Duration = Duration::from_secs(90);

async fn downloads(household: &Household) -> Downloads {
    household.client().await.call("downloads", json!({})).await.unwrap()
}

async fn stack_text(household: &Household) -> String {
    let stack: Value = household.client().await.call("stack", json!({})).await.unwrap();
    stack["text"].as_str().unwrap().to_owned()
}

/// The one download, once it is so.
async fn download(household: &Household, state: DownloadState) -> u64 {
    eventually("the download's state", WHILE, || async {
        let all = downloads(household).await.downloads;
        let one = all.into_iter().find(|d| d.repo == CODER)?;
        (one.state == state).then_some(one.done_bytes)
    })
    .await
}

#[tokio::test]
async fn from_a_search_to_an_answer() {
    let mut household = Household::new();
    let screen = Screen::start(1280, 800).await;
    screen.dress(&mut household);
    household.set("ASGARD_REHEARSAL_LOAD_MS", "800");
    let window = Window::open(&household, &["--rehearsal"]).await;
    window.see("agent-loki").await;
    // Slow enough to be paused on the way.
    let slow = json!({"bytes_per_second": 600_000});
    let _: Value = household.client().await.call("limit_downloads", slow).await.unwrap();

    window.press("nav-models").await;
    window.press("tab-discover").await;
    window.type_into("discover-search", "coder 7b awq").await;
    let card = format!("[data-testid=\"hub-model\"][data-repo=\"{CODER}\"]");
    window.see_css_within(&format!("{card}[aria-busy=\"false\"] [data-testid=\"fit\"]"), SOON).await;
    let told = format!("return document.querySelector('{card} [data-testid=\"fit\"]').innerText");
    let fit = window.run(&told).await;
    assert!(fit.as_str().unwrap().starts_with("Fits beside"), "the badge says {fit}");
    window.picture("models-search").await;

    window.see_css(&format!("{card} [data-testid=\"card-get\"]")).await.click().await.unwrap();
    window.press("tab-downloads").await;
    let row = format!("[data-testid=\"download\"][data-repo=\"{CODER}\"]");
    window.see_css_within(&format!("{row}[data-state=\"running\"]"), SOON).await;
    eventually("some of it is here", WHILE, || async {
        downloads(&household).await.downloads.iter().any(|d| d.done_bytes > 300_000).then_some(())
    })
    .await;
    window.picture("models-running").await;
    window.press("download-pause").await;
    window.see_css(&format!("{row}[data-state=\"paused\"]")).await;
    let paused = download(&household, DownloadState::Paused).await;
    window.picture("models-paused").await;
    window.press("download-resume").await;
    let fast = json!({"bytes_per_second": null});
    let _: Value = household.client().await.call("limit_downloads", fast).await.unwrap();
    window.see_css_within(&format!("{row}[data-state=\"done\"]"), WHILE).await;
    let done = downloads(&household).await.downloads.into_iter().find(|d| d.repo == CODER).unwrap();
    assert!(paused > 0 && paused < done.done_bytes, "{paused} of {} bytes at the pause", done.done_bytes);
    assert!(
        done.fetched_bytes <= done.done_bytes + done.done_bytes / 50 + 4096,
        "what was here was fetched again: {} for {} bytes",
        done.fetched_bytes,
        done.done_bytes
    );
    window.picture("models-done").await;

    window.press("download-assign").await;
    window.see("assign-dialog").await;
    window.press("assign-to-loki").await;
    window.see_css("[data-testid=\"assign-to-loki\"][aria-checked=\"true\"]").await;
    // What it would come to is there: only then it can be saved.
    window.see_css("[data-testid=\"assign-bar\"] [data-segment=\"loki\"]").await;
    window.picture("models-assign").await;
    let before = stack_text(&household).await;
    window.press("assign-save").await;
    window.see("assign-saved").await;
    let after = stack_text(&household).await;
    assert_ne!(before, after);
    assert!(after.contains(CODER), "the stack file names it: {after}");
    window.press("assign-then").await;
    household
        .wait_status("Loki is awake with it", WHILE, |s| {
            state_of(s, "loki") == "ready" && s.agents.iter().any(|a| a.name == "loki" && a.model == CODER)
        })
        .await;
    window.picture("models-started").await;

    window.press("assign-done").await;
    window.press("nav-stack").await;
    window.press("chat-loki").await;
    window.type_into("chat-input", "What would break this bridge?").await;
    window.press("chat-send").await;
    window.see_css_within("[data-testid=\"message-assistant\"][data-state=\"done\"]", WHILE).await;
    assert!(window.text("message-assistant").await.len() > 10);
    window.picture("models-answer").await;

    // And it is among the installed ones, with the one who uses it.
    window.press("nav-models").await;
    window.press("tab-installed").await;
    let row = "return document.querySelector('[data-testid=\"installed-row\"]')?.innerText.includes('Loki')";
    window.until("the installed one names who uses it", SOON, row).await;
    window.picture("models-installed").await;
}
