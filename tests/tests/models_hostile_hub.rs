//! A Hub that means harm, in the real window: it stays usable, and what strangers wrote is only text.

use std::time::Duration;

use journeys::display::{SOON, Screen, Window};
use journeys::household::Household;
use rehearsal::hub::{catalogue, hostile, many};

const MANY: &str = "harm/many-files-7b";
const HOSTILE: &str = "harm/hostile-7b";

/// Of a hundred thousand files some thousands are made up, hashed and listed first.
const WHILE: Duration = Duration::from_secs(60);

fn card(repo: &str) -> String {
    format!("[data-testid=\"hub-model\"][data-repo=\"{repo}\"]")
}

async fn open(window: &Window, repo: &str) {
    let details = format!("{} [data-testid=\"details\"]", card(repo));
    window.see_css(&details).await.click().await.unwrap();
    window.see("details-dialog").await;
}

async fn close(window: &Window) {
    window.see_css("[data-testid=\"details-dialog\"] .btn.primary").await.click().await.unwrap();
    window
        .until("it is closed", SOON, "return !document.querySelector('[data-testid=\"details-dialog\"]')")
        .await;
}

#[tokio::test]
async fn the_window_stays_usable_on_a_hostile_hub() {
    let mut hub = catalogue();
    hub.repos.push(many(MANY, 100_000));
    hub.repos.push(hostile(HOSTILE));
    let hub = hub.start().unwrap();
    let mut household = Household::new();
    let screen = Screen::start(1280, 800).await;
    screen.dress(&mut household);
    household.set("HF_ENDPOINT", hub.endpoint());
    let window = Window::open(&household, &["--rehearsal"]).await;
    window.press("nav-models").await;
    window.press("tab-discover").await;
    window.type_into("discover-search", "harm").await;
    for repo in [MANY, HOSTILE] {
        window.see_css_within(&format!("{}[aria-busy=\"false\"]", card(repo)), WHILE).await;
    }
    window.picture("hostile-search").await;

    // A hundred thousand files are no model: that is known after a few thousand, and said.
    open(&window, MANY).await;
    window
        .until("it says why", WHILE, "return document.querySelector('[data-testid=\"details-dialog\"]').innerText.includes('lists more files than a model has')")
        .await;
    window.picture("hostile-many").await;
    close(&window).await;

    open(&window, HOSTILE).await;
    for fold in ["details-files", "details-card"] {
        window.see_css(&format!("[data-testid=\"{fold}\"] summary")).await.click().await.unwrap();
    }
    window.see_css("[data-testid=\"details-files\"] li").await;
    window.picture("hostile-files").await;
    let harm = "const d = document.querySelector('[data-testid=\"details-dialog\"]'); \
        return { title: document.title, \
          made: [...d.querySelectorAll('script, img, iframe, [onerror], a[href^=\"javascript\"]')].map(e => e.outerHTML), \
          wide: d.scrollWidth > d.clientWidth + 1, \
          tall: [...d.querySelectorAll('[data-testid=\"details-files\"] li')].filter(e => e.offsetHeight > 30).length }";
    let found = window.run(harm).await;
    assert_ne!(found["title"], "pwned");
    assert_eq!(found["made"], serde_json::json!([]), "{found}");
    assert_eq!(found["wide"], false, "a name pushes the dialog wider");
    assert_eq!(found["tall"], 0, "a name has lines of its own");
    close(&window).await;

    // And another search goes as before.
    window.run("document.querySelector('[data-testid=\"discover-search\"]').select()").await;
    window.type_into("discover-search", "coder 7b").await;
    let other = card("Qwen/Qwen2.5-Coder-7B-Instruct-AWQ");
    window.see_css_within(&format!("{other}[aria-busy=\"false\"] [data-testid=\"fit\"]"), SOON).await;
}
