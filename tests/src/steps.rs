//! Steps that journeys on every engine have in common.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a harness: what fails here fails the test"
)]

use std::collections::BTreeSet;
use std::time::Duration;

use api::shapes::status::Status;
use serde_json::{Value, json};

use crate::household::{Household, state_of};

pub const MB: u64 = 1 << 20;
/// Switching stand-ins takes seconds; a minute is a hang.
pub const SWITCH: Duration = Duration::from_secs(60);

/// The names of the agents that hold memory.
pub fn awake(status: &Status) -> BTreeSet<String> {
    status.agents.iter().filter(|a| a.state.holds_memory()).map(|a| a.name.clone()).collect()
}

pub fn ready(status: &Status, names: &[&str]) -> bool {
    awake(status) == names.iter().map(|n| (*n).to_owned()).collect()
        && names.iter().all(|n| ["ready", "busy"].contains(&state_of(status, n).as_str()))
}

/// Nothing under way, nobody on the way up or down.
pub fn settled(status: &Status) -> bool {
    status.switching.is_none()
        && status.agents.iter().all(|a| ["asleep", "ready", "busy", "failed"].contains(&a.state.word()))
}

/// What the journal says of every instant: the sum never passed the limit, and the giants never met.
pub fn journal_holds(household: &Household) {
    let entries = rehearsal::journal::read(&household.journal()).expect("the journal is readable");
    assert!(!entries.is_empty(), "nothing was written into the journal");
    let (peak, by_agent) = rehearsal::journal::peak(&entries);
    let room = 120 * MB - 112 * MB / 10;
    assert!(peak <= room, "{peak} bytes were held at once, {room} is the room: {by_agent:?}");
    assert!(
        !rehearsal::journal::overlap(&entries, "odin", "valkyrie"),
        "odin and valkyrie were awake together"
    );
}

/// A streamed chat completion through Bifrost: status and whole body.
pub async fn ask(household: &Household, model: &str, text: &str, max_tokens: u32) -> (u16, String) {
    let status = household.status().await;
    let gateway = status.gateway.address.expect("Bifrost is open");
    let answer = net::plain()
        .build()
        .unwrap()
        .post(format!("{gateway}/chat/completions"))
        .json(&json!({
            "model": model, "stream": true, "max_tokens": max_tokens,
            "messages": [{"role": "user", "content": text}],
        }))
        .send()
        .await
        .unwrap();
    let code = answer.status().as_u16();
    (code, answer.text().await.unwrap_or_else(|e| format!("broken: {e}")))
}

/// The text of a streamed answer.
pub fn streamed_text(body: &str) -> String {
    body.lines()
        .filter_map(|l| l.strip_prefix("data: "))
        .filter_map(|d| serde_json::from_str::<Value>(d).ok())
        .filter_map(|v| v["choices"][0]["delta"]["content"].as_str().map(ToOwned::to_owned))
        .collect()
}

/// The household wakes, switches to odin under a running request, talks, and sleeps again.
pub async fn the_first_journey(household: &Household) {
    let status = household.status().await;
    assert!(status.rehearsal, "no stack and no GPU: a rehearsal");
    assert!(awake(&status).is_empty(), "nothing is started unasked");
    let pool = &status.pools[0];
    assert_eq!(pool.capacity_bytes, Some(128 * MB));
    assert_eq!(pool.limit_bytes, Some(120 * MB));

    let plan = household.json(&["plan", "odin"]).await;
    assert_eq!(plan["fits"], true, "{plan:#}");
    let planned = plan["pools"][0]["planned_bytes"].as_u64().unwrap();
    assert_eq!((planned * 10 + MB / 2) / MB, 873, "87.3 MB: {planned}");

    household.json(&["switch", "standard"]).await;
    let status = household.status().await;
    assert!(ready(&status, &["thor", "valkyrie"]), "{status:#?}");
    assert_eq!(status.profile.as_deref(), Some("standard"));
    let used = status.pools[0].used_bytes as f64 / MB as f64;
    assert!((used - (11.2 + 62.9)).abs() < 1.0, "the bar shows what is really held: {used}");

    // Valkyrie works while odin is asked for: it drains before it stops, and odin loads only then.
    let long = ask(household, "valkyrie", "Tell a long story.", 100);
    let switch = household.json(&["switch", "odin"]);
    let drained = household.wait_status("valkyrie drains", SWITCH, |s| {
        let odin = state_of(s, "odin");
        assert!(
            state_of(s, "valkyrie") == "asleep" || odin == "asleep",
            "odin is {odin} while valkyrie is not asleep"
        );
        state_of(s, "valkyrie") == "draining"
    });
    let begun = async {
        household.wait_status("valkyrie works", SWITCH, |s| state_of(s, "valkyrie") == "busy").await;
        tokio::join!(switch, drained)
    };
    let ((code, body), _) = tokio::join!(long, begun);
    assert_eq!(code, 200, "{body}");
    assert!(body.contains("data: [DONE]"), "the request under way came to its end: {body}");
    let status = household.status().await;
    assert!(ready(&status, &["thor", "odin"]), "{status:#?}");

    let (code, body) = ask(household, "odin", "Which is the best architecture?", 60).await;
    assert_eq!(code, 200);
    assert!(!streamed_text(&body).trim().is_empty(), "{body}");
    let (code, body) = ask(household, "nobody", "Hello?", 10).await;
    assert_eq!(code, 404, "{body}");

    let said = household.asgard(&["chat", "odin", "Which is the best architecture?"]).await.ok();
    assert!(!said.stdout.trim().is_empty());
    let health = household.json(&["health", "--deep"]).await;
    let odin = health["agents"].as_array().unwrap().iter().find(|a| a["name"] == "odin").unwrap().clone();
    assert_eq!(
        (odin["healthy"].as_bool(), odin["tool_call"].as_bool()),
        (Some(true), Some(true)),
        "{odin:#}"
    );
    let logs = household.asgard(&["logs", "odin", "-n", "400"]).await.ok();
    assert!(logs.stdout.contains("Application startup complete"), "{}", logs.stdout);

    household.json(&["restart", "thor"]).await;
    household.json(&["stop", "odin"]).await;
    household.json(&["start", "heimdall"]).await;
    assert!(ready(&household.status().await, &["thor", "heimdall"]));
    household.json(&["down"]).await;
    let status = household.status().await;
    assert!(awake(&status).is_empty(), "{status:#?}");
    let used = status.pools[0].used_bytes as f64 / MB as f64;
    assert!((used - 11.2).abs() < 0.1, "everything came back: {used}");
    journal_holds(household);
}

/// A seeded stream of numbers, for random instants that can be repeated.
pub struct Random(pub u64);

impl Random {
    pub fn below(&mut self, bound: u64) -> u64 {
        // SplitMix64.
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % bound.max(1)
    }
}

/// `kill -9` of the controller at random instants of a switch, and a new start each time: it adopts what runs, and
/// finishes or undoes. In round `lose_data` its data folder is deleted meanwhile.
pub async fn kill_at_random(household: &mut Household, rounds: u32, seed: u64, lose_data: Option<u32>) {
    let mut random = Random(seed);
    let targets = ["odin", "standard", "loki", "odin", "frigga"];
    household.serve(&["--rehearsal"]).await;
    household.json(&["switch", "standard"]).await;
    for round in 0..rounds {
        let to = targets[usize::try_from(random.below(targets.len() as u64)).unwrap()];
        let instant = Duration::from_millis(random.below(1500));
        let client = household.client().await;
        let mut switch = client.open("switch", json!({"profile": to})).unwrap();
        // The instant is what is random here; the wait ends early only when the switch is over.
        let _ = tokio::time::timeout(instant, switch.next()).await;
        household.kill9().await;
        if lose_data == Some(round) {
            std::fs::remove_dir_all(household.path("data")).unwrap();
            std::fs::create_dir(household.path("data")).unwrap();
        }
        household.serve(&["--rehearsal"]).await;
        let what =
            format!("round {round} of seed {seed}: settled after a kill {instant:?} into a switch to {to}");
        let status = household.wait_status(&what, SWITCH, settled).await;
        let names = awake(&status);
        assert!(!(names.contains("odin") && names.contains("valkyrie")), "{what}: {names:?}");
        assert!(
            names.iter().all(|n| ["ready", "busy"].contains(&state_of(&status, n).as_str())),
            "{what}: {status:#?}"
        );
        journal_holds(household);
    }
    // It is still fully able after all of that.
    household.json(&["switch", "odin"]).await;
    assert!(ready(&household.status().await, &["thor", "odin"]));
    journal_holds(household);
    println!("{rounds} kills, seed {seed}");
}
