//! The real window, driven over WebDriver, on a rehearsal without a container engine.

use std::time::Duration;

use api::shapes::chat::{Conversation, Conversations, MessageState};
use journeys::display::{SOON, Screen, Window, is_alive};
use journeys::household::{Household, program, state_of};
use serde_json::{Value, json};

/// A switch of the rehearsal loads two stand-ins at most.
const SWITCH: Duration = Duration::from_secs(90);

async fn on_a_screen() -> (Household, Screen) {
    let mut household = Household::new();
    let screen = Screen::start(1280, 800).await;
    screen.dress(&mut household);
    household.set("ASGARD_REHEARSAL_LOAD_MS", "1500");
    (household, screen)
}

/// The position of an agent's first such event in the journal.
fn position(journal: &[Value], agent: &str, event: &str) -> Option<usize> {
    journal.iter().position(|e| e["agent"] == agent && e["event"] == event)
}

async fn the_one_conversation(household: &Household) -> Conversation {
    let client = household.client().await;
    let all: Conversations = client.call("conversations", json!({})).await.unwrap();
    assert_eq!(all.conversations.len(), 1, "{all:#?}");
    client.call("conversation", json!({ "conversation": all.conversations[0].id })).await.unwrap()
}

#[tokio::test]
async fn from_an_empty_machine_to_an_answer_of_odin() {
    let (household, _screen) = on_a_screen().await;
    let window = Window::open(&household, &["--rehearsal"]).await;

    // It started the controller, and says that nothing here is real.
    window.see("rehearsal").await;
    window.see("agent-frigga").await;
    assert_eq!(window.count("article[data-testid^=\"agent-\"]").await, 6);
    window.run("window.refused = []; addEventListener('securitypolicyviolation', e => refused.push(e.violatedDirective + ' ' + e.blockedURI + ' ' + e.sourceFile + ':' + e.lineNumber))").await;

    window.press("profile-standard").await;
    let standard = |s: &api::shapes::status::Status| {
        s.switching.is_none() && ["thor", "valkyrie"].iter().all(|a| state_of(s, a) == "ready")
    };
    household.wait_status("standard is awake", SWITCH, standard).await;
    window.see_css("[data-testid=\"agent-valkyrie\"][data-state=\"ready\"]").await;
    window.see_css("[data-testid=\"memory-bar\"] [data-segment=\"valkyrie\"]").await;
    let before = household.journal_entries();

    window.press("profile-odin").await;
    window.see_css_within("[data-testid=\"agent-odin\"][data-state=\"ready\"]", SWITCH).await;
    window.see_css("[data-testid=\"agent-valkyrie\"][data-state=\"asleep\"]").await;
    window.see_css("[data-testid=\"memory-bar\"] [data-segment=\"odin\"]").await;
    window
        .until(
            "valkyrie has left the bar",
            SOON,
            "return !document.querySelector('[data-testid=\"memory-bar\"] [data-segment=\"valkyrie\"]')",
        )
        .await;

    let journal = household.journal_entries();
    let left = position(&journal, "valkyrie", "exit").expect("valkyrie ended");
    let came = position(&journal, "odin", "start").expect("odin started");
    assert!(left < came, "Odin was started before Valkyrie had ended: {journal:#?}");
    assert!(position(&journal[before.len()..], "thor", "exit").is_none(), "Thor stays, so he is not touched");

    window.press("chat-odin").await;
    window.type_into("chat-input", "What is a bridge for?").await;
    window.press("chat-send").await;
    window.see_css_within("[data-testid=\"message-assistant\"][data-state=\"done\"]", SWITCH).await;
    let shown = window.text("message-assistant").await;
    let kept = the_one_conversation(&household).await;
    let reply = kept.messages.last().unwrap();
    assert_eq!(reply.state, MessageState::Done);
    let first_word = reply.text.split_whitespace().next().unwrap();
    assert!(shown.contains(first_word), "the window shows {shown:?}, the controller kept {:?}", reply.text);
    assert!(reply.stats.is_some_and(|s| s.tokens_per_second.is_some_and(|t| t > 0.0)), "{reply:#?}");

    let refused = window.run("return window.refused").await;
    assert_eq!(refused, json!([]), "the page asked for what its policy forbids");
}

#[tokio::test]
async fn a_window_closed_in_mid_answer_loses_nothing_of_it() {
    let (mut household, screen) = on_a_screen().await;
    household.set("ASGARD_REHEARSAL_TOKENS_PER_SECOND", "30");
    household.serve(&["--rehearsal"]).await;
    household.asgard(&["up", "standard"]).await.ok();
    let window = Window::open(&household, &["--rehearsal"]).await;
    window.press("chat-thor").await;
    window.type_into("chat-input", "Tell me a long story about the tree.").await;
    window.press("chat-send").await;
    window.see_css("[data-testid=\"message-assistant\"][data-state=\"streaming\"]").await;
    let part = window
        .until(
            "some of the answer arrived",
            SOON,
            "const m = document.querySelector('[data-testid=\"message-assistant\"]'); return m && m.innerText.length > 20 && m.innerText",
        )
        .await;
    let controller = household.controller_pid().unwrap();

    screen.close(screen.window("Asgard", SOON).await);
    window.gone().await;

    assert!(is_alive(controller), "the controller lives on");
    assert!(the_one_conversation(&household).await.replying, "it was closed in mid-answer");
    let client = household.client().await;
    let mut follow = client.open("follow_reply", json!({ "conversation": 1 })).unwrap();
    let whole = async { while follow.next().await.unwrap().is_some() {} };
    tokio::time::timeout(SWITCH, whole).await.expect("the reply ended");
    let reply = the_one_conversation(&household).await.messages.pop().unwrap();
    assert_eq!(reply.state, MessageState::Done);
    assert!(reply.text.len() > part.as_str().unwrap().len(), "{reply:#?}");

    // And who comes back finds it whole.
    let again = Window::open(&household, &["--rehearsal"]).await;
    again.press("nav-chat").await;
    again.see_css("[data-testid=\"message-assistant\"][data-state=\"done\"]").await;
}

#[tokio::test]
async fn a_killed_window_changes_nothing() {
    let (mut household, _screen) = on_a_screen().await;
    household.serve(&["--rehearsal"]).await;
    household.asgard(&["up", "standard"]).await.ok();
    let before = household.status().await;
    let journal = household.journal_entries();
    let window = Window::open(&household, &["--rehearsal"]).await;
    window.see_css("[data-testid=\"agent-thor\"][data-state=\"ready\"]").await;
    window.kill9().await;

    let after = household.status().await;
    assert!(is_alive(household.controller_pid().unwrap()));
    assert_eq!(before.since, after.since, "it is the same controller");
    for agent in ["thor", "valkyrie", "odin"] {
        assert_eq!(state_of(&before, agent), state_of(&after, agent));
    }
    let ended = household.journal_entries()[journal.len()..].iter().any(|e| e["event"] == "exit");
    assert!(!ended, "no agent ended");
    let again = Window::open(&household, &["--rehearsal"]).await;
    again.see_css("[data-testid=\"agent-valkyrie\"][data-state=\"ready\"]").await;
}

#[tokio::test]
async fn the_page_can_go_nowhere_and_ask_for_nothing_else() {
    let (household, _screen) = on_a_screen().await;
    let window = Window::open(&household, &["--rehearsal"]).await;
    window.see("rehearsal").await;
    let here = window.run("return location.href").await;

    // A server that would notice.
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let address = format!("http://{}/", listener.local_addr().unwrap());
    let fetched = "window.fetched = null; fetch(ADDRESS).then(() => fetched = 'yes', () => fetched = 'no')";
    window.run(&fetched.replace("ADDRESS", &json!(address).to_string())).await;
    assert_eq!(window.until("the request ended", SOON, "return window.fetched").await, "no");
    window
        .run(&format!("new Image().src = {0}; window.open({0}); location.assign({0})", json!(address)))
        .await;

    let asked = "window.answer = null; \
        window.__TAURI_INTERNALS__.invoke(CMD, PAYLOAD).then(() => answer = 'allowed', e => answer = 'refused: ' + (e.message ?? e))";
    for (cmd, payload) in [
        ("plugin:store|load", json!({ "path": "/tmp/x.json", "options": {} })),
        ("plugin:window|close", json!({ "label": "main" })),
        ("plugin:webview|internal_toggle_devtools", json!({})),
        ("rpc", json!({ "cmd": "exec", "payload": {} })),
        ("rpc", json!({ "cmd": "shutdown", "payload": { "stop_agents": true } })),
        ("preference_set", json!({ "key": "token", "value": "x" })),
    ] {
        window
            .run(&asked.replace("CMD", &json!(cmd).to_string()).replace("PAYLOAD", &payload.to_string()))
            .await;
        let answer = window.until("an answer", SOON, "return window.answer").await;
        assert!(answer.as_str().unwrap().starts_with("refused"), "{cmd} {payload}: {answer}");
    }

    assert_eq!(window.run("return location.href").await, here);
    assert_eq!(window.page().windows().await.unwrap().len(), 1);
    let came = tokio::time::timeout(Duration::from_millis(1), listener.accept()).await;
    assert!(came.is_err(), "the page reached {address}");
}

#[tokio::test]
async fn how_it_looks_is_kept_beside_the_stack() {
    let (mut household, _screen) = on_a_screen().await;
    household.serve(&["--rehearsal"]).await;
    let look = "return document.documentElement.dataset.theme";
    let window = Window::open(&household, &["--rehearsal"]).await;
    window.see("rehearsal").await;
    let first = window.run(look).await;
    window.press("toggle-look").await;
    let second = window.until("the look changed", SOON, look).await;
    assert_ne!(first, second);
    let file = household.path("config/asgard/settings.json");
    journeys::display::eventually("the preference is on disk", SOON, || {
        let found = std::fs::read_to_string(&file).ok().filter(|t| t.contains(second.as_str().unwrap()));
        async move { found }
    })
    .await;
    drop(window);
    // What the page itself remembers is gone with its data; the file is what counts.
    std::fs::remove_dir_all(household.path("data/io.asgard.desktop")).unwrap();
    let again = Window::open(&household, &["--rehearsal"]).await;
    again.see("rehearsal").await;
    let kept = format!("return document.documentElement.dataset.theme === {second}");
    again.until("the look was kept", SOON, &kept).await;
}

#[tokio::test]
async fn a_second_start_shows_the_first_window() {
    let (mut household, screen) = on_a_screen().await;
    household.serve(&["--rehearsal"]).await;
    let mut first = household.command(program("asgard-desktop")).arg("--rehearsal").spawn().unwrap();
    let window = screen.window("Asgard", SOON).await;
    household.output(program("asgard-desktop"), &["--rehearsal"], SOON).await.ok();
    assert_eq!(screen.window("Asgard", SOON).await, window, "there is still the one");
    screen.close(window);
    let ended = tokio::time::timeout(SOON, first.wait()).await.expect("it ends when it is closed").unwrap();
    assert!(ended.success(), "{ended}");
}

#[tokio::test]
async fn without_a_session_bus_it_opens_all_the_same() {
    let (mut household, screen) = on_a_screen().await;
    household.unset("DBUS_SESSION_BUS_ADDRESS");
    household.serve(&["--rehearsal"]).await;
    let mut window = household.command(program("asgard-desktop")).arg("--rehearsal").spawn().unwrap();
    let seen = screen.window("Asgard", SOON).await;
    screen.close(seen);
    let ended = tokio::time::timeout(SOON, window.wait()).await.expect("it ends when it is closed").unwrap();
    assert!(ended.success(), "{ended}");
}

#[tokio::test]
async fn without_a_display_it_says_what_to_do_instead() {
    let household = Household::new();
    let done = household.output(program("asgard-desktop"), &[], SOON).await;
    assert_eq!(done.code, Some(1));
    assert!(done.stderr.contains("asgard serve"), "{}", done.stderr);
    assert_eq!(done.stderr.trim().lines().count(), 1, "{}", done.stderr);
    assert!(!household.socket().exists(), "and it starts nothing");
}

#[tokio::test]
async fn a_window_for_a_rehearsal_does_not_open_on_the_real_agents() {
    let (mut household, _screen) = on_a_screen().await;
    // With no GPU and no stack file the controller itself would choose the rehearsal.
    let stack = household.path("config/asgard");
    std::fs::create_dir_all(&stack).unwrap();
    std::fs::write(stack.join("stack.toml"), ONE_EXTERNAL_AGENT).unwrap();
    household.serve(&[]).await;
    assert!(!household.status().await.rehearsal);
    let done = household.output(program("asgard-desktop"), &["--rehearsal"], SOON).await;
    assert_eq!(done.code, Some(1), "{done:#?}");
    assert!(done.stderr.contains("--rehearsal"), "{}", done.stderr);
}

const ONE_EXTERNAL_AGENT: &str = r#"
version = 1
name = "small"
base = "small"

[agents.thor]
title = "Primary Commander"
backend = "llamacpp"
model = "/nowhere/model.gguf"
port = 18001
context = 2048
memory = "1 GB"

[profiles.small]
agents = ["thor"]
"#;
