//! Drives the real app and writes its screens, dark and light, to `target/screenshots`.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a script: what fails here ends it, with the reason"
)]

use std::path::PathBuf;
use std::time::Duration;

use journeys::display::{SOON, Screen, Window};
use journeys::household::{Household, state_of};

const LOOKS: [&str; 2] = ["dark", "light"];
const SWITCH: Duration = Duration::from_secs(120);

#[tokio::main]
async fn main() {
    let mut household = Household::new();
    let screen = Screen::start(1280, 800).await;
    screen.dress(&mut household);
    household.serve(&["--rehearsal"]).await;
    household.asgard(&["up", "standard"]).await.ok();
    let window = Window::open(&household, &["--rehearsal"]).await;
    let awake = |s: &api::shapes::status::Status| {
        s.switching.is_none() && ["thor", "valkyrie"].iter().all(|a| state_of(s, a) == "ready")
    };
    household.wait_status("standard is awake", SWITCH, awake).await;
    window.see_css("[data-testid=\"agent-valkyrie\"][data-state=\"ready\"]").await;

    // Something to see in the chat and among the events.
    window.press("chat-thor").await;
    window
        .type_into(
            "chat-input",
            "Plan the move of our build to the new machine, and show me the first command.",
        )
        .await;
    window.press("chat-send").await;
    window.see_css_within("[data-testid=\"message-assistant\"][data-state=\"done\"]", SWITCH).await;

    for look in LOOKS {
        wear(&window, look).await;
        for name in ["stack", "chat", "activity", "settings"] {
            window.press(&format!("nav-{name}")).await;
            aside(&window).await;
            window.see(&format!("screen-{name}")).await;
            window.until("it is all read", SOON, "return !/Reading /.test(document.body.innerText)").await;
            take(&window, name, look).await;
        }
        window.press("nav-stack").await;
        window.hover("profile-odin").await;
        window.until("the preview", SOON, "return document.querySelector('header.preview') !== null").await;
        take(&window, "stack-preview-odin", look).await;
        aside(&window).await;
    }
    let frame = screen.window("Asgard", SOON).await;
    screen.resize(frame, 960, 640).await;
    window.until("the smaller size", SOON, "return innerWidth === 960 && innerHeight === 640").await;
    for look in LOOKS {
        wear(&window, look).await;
        take(&window, "stack-960", look).await;
    }
}

async fn wear(window: &Window, look: &str) {
    let now = window.run("return document.documentElement.dataset.theme").await;
    if now != look {
        window.press("toggle-look").await;
    }
    let worn = format!("return document.documentElement.dataset.theme === '{look}'");
    window.until("the look", SOON, &worn).await;
    aside(window).await;
}

/// The pointer to where nothing shows a tip: below the rail's items.
async fn aside(window: &Window) {
    window.point(4.0, 400.0).await;
    let away = "return document.querySelector('header.preview') === null";
    window.until("no preview", SOON, away).await;
}

async fn take(window: &Window, name: &str, look: &str) {
    // Transitions have an end; a picture in their midst would be a different one each time.
    let still = "return document.getAnimations().every(a => a.playState !== 'running' || a.effect.getTiming().iterations === Infinity)";
    window.until("it stands still", SOON, still).await;
    let folder = PathBuf::from("target/screenshots");
    std::fs::create_dir_all(&folder).unwrap();
    let file = folder.join(format!("{name}-{look}.png"));
    window.screenshot(&file).await;
    println!("{}", file.display());
}
