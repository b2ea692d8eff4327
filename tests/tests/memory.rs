//! Memory on a recorded Strix Halo that moves as stand-ins load: what is measured, what leaks, what others take.

use std::path::{Path, PathBuf};
use std::time::Duration;

use api::shapes::status::{Pool, Status};
use journeys::household::{Household, state_of};

const LONG: Duration = Duration::from_secs(60);
const GB: u64 = 1 << 30;

/// A household on a copy of the recorded machine.
fn on_a_recording() -> (Household, PathBuf) {
    let mut household = Household::new();
    let machine = household.path("machine");
    let recorded =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../src-tauri/crates/hardware/fixtures/strix-halo-quiet");
    copy(&recorded, &machine);
    household
        .set("ASGARD_SYSROOT", &machine)
        .set("ASGARD_REHEARSAL_MOVES_SYSROOT", "1")
        .set("ASGARD_REHEARSAL_LOAD_MS", "300")
        .set("ASGARD_REHEARSAL_MEMORY_MS", "1500");
    (household, machine)
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap().map(Result::unwrap) {
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            std::fs::write(target, std::fs::read(entry.path()).unwrap()).unwrap();
        }
    }
}

/// What the recording has available, KiB.
fn available(machine: &Path) -> u64 {
    let text = std::fs::read_to_string(machine.join("proc/meminfo")).unwrap();
    let line = text.lines().find(|l| l.starts_with("MemAvailable:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// Another program takes memory, or gives it back: available becomes `kib`.
fn others_leave(machine: &Path, kib: u64) {
    let path = machine.join("proc/meminfo");
    let text = std::fs::read_to_string(&path).unwrap();
    let lines: Vec<String> = text
        .lines()
        .map(
            |l| if l.starts_with("MemAvailable:") { format!("MemAvailable: {kib} kB") } else { l.to_owned() },
        )
        .collect();
    let beside = path.with_extension("new");
    std::fs::write(&beside, lines.join("\n") + "\n").unwrap();
    std::fs::rename(beside, path).unwrap();
}

fn pool(status: &Status) -> &Pool {
    &status.pools[0]
}

/// Agents with what is measured of each, in tenths of a gigabyte.
fn measured(status: &Status) -> Vec<(String, u64)> {
    let tenths = |bytes: u64| (bytes * 10 + GB / 2) / GB;
    pool(status).agents.iter().map(|a| (a.agent.clone(), tenths(a.measured_bytes.unwrap()))).collect()
}

#[tokio::test]
async fn the_recording_moves_and_each_agent_is_measured_by_its_step() {
    let (mut household, machine) = on_a_recording();
    let before = available(&machine);
    household.serve(&["--rehearsal", "--no-tray"]).await;
    household.json(&["up", "standard"]).await;
    let status = household.status().await;
    assert_eq!(measured(&status), [("thor".to_owned(), 253), ("valkyrie".to_owned(), 376)]);
    let fell = (before - available(&machine)) * 1024;
    assert_eq!((fell * 10 + GB / 2) / GB, 629, "the recording itself has moved");
    assert_eq!(pool(&status).doubt, None);
    // What was learned agrees with what was planned.
    let thor = status.agents.iter().find(|a| a.name == "thor").unwrap();
    let footprint = thor.footprint.as_ref().unwrap();
    assert_eq!(footprint.words, "planned 25.3, measured 25.3, 1 start");
    // The GPU's counter and the system's contradict each other by 20 GB: said on the pool.
    let card = std::fs::read_dir(machine.join("sys/class/drm"))
        .unwrap()
        .map(|e| e.unwrap().path().join("device/mem_info_gtt_used"))
        .find(|p| p.is_file())
        .unwrap();
    std::fs::write(&card, format!("{}\n", 95 * GB)).unwrap();
    let status = household.wait_status("the counters are doubted", LONG, |s| pool(s).doubt.is_some()).await;
    assert!(
        pool(&status).doubt.as_ref().unwrap().contains("the larger is counted"),
        "{:?}",
        pool(&status).doubt
    );
    household.json(&["down"]).await;
}

#[tokio::test]
async fn memory_that_does_not_come_back_is_said_left_out_and_taken_in_again() {
    let (mut household, machine) = on_a_recording();
    household.set("ASGARD_REHEARSAL_LEAK_GB", "valkyrie=10");
    household.serve(&["--rehearsal", "--no-tray"]).await;
    household.json(&["up", "standard"]).await;
    household.json(&["switch", "odin"]).await;
    let status = household.status().await;
    assert_eq!(pool(&status).lost_bytes, 10 * GB);
    let notice = status.notices.iter().find(|n| n.message.contains("did not come back")).expect("it is said");
    assert!(notice.message.contains("Valkyrie") && notice.message.contains("10.0"), "{notice:?}");
    let short = pool(&status).available_bytes;
    // The driver gives it back after all: both counters fall, and the budget grows again.
    others_leave(&machine, available(&machine) + 10 * (GB >> 10));
    let card = std::fs::read_dir(machine.join("sys/class/drm"))
        .unwrap()
        .map(|e| e.unwrap().path().join("device/mem_info_gtt_used"))
        .find(|p| p.is_file())
        .unwrap();
    let gtt: u64 = std::fs::read_to_string(&card).unwrap().trim().parse().unwrap();
    std::fs::write(&card, format!("{}\n", gtt - 10 * GB)).unwrap();
    let status = household.wait_status("nothing is lost", LONG, |s| pool(s).lost_bytes == 0).await;
    assert_eq!(pool(&status).available_bytes, short + 10 * GB);
    assert!(!status.notices.iter().any(|n| n.message.contains("did not come back")));
    household.json(&["down"]).await;
}

#[tokio::test]
async fn others_that_grow_are_counted_and_in_need_the_cheapest_idle_agent_gives_way() {
    let (mut household, machine) = on_a_recording();
    household.serve(&["--rehearsal", "--no-tray"]).await;
    household.json(&["up", "loki"]).await;
    let other = pool(&household.status().await).other_bytes;
    others_leave(&machine, available(&machine) - 20 * (GB >> 10));
    let status = household
        .wait_status("20 GB more are others'", LONG, |s| pool(s).other_bytes > other + 19 * GB)
        .await;
    assert_eq!(pool(&status).other_bytes, other + 20 * GB);
    // Three gigabytes are left of the four that the desktop needs: first a word, then one agent, and one only.
    others_leave(&machine, 3 << 20);
    household
        .wait_status("it is said first", LONG, |s| {
            s.notices.iter().any(|n| n.message.contains("Memory is short"))
        })
        .await;
    let status = household
        .wait_status("one gave way", LONG, |s| {
            ["valkyrie", "loki"].iter().any(|a| state_of(s, a) == "asleep")
        })
        .await;
    assert_eq!(state_of(&status, "thor"), "ready", "a pinned agent stays");
    let asleep = ["valkyrie", "loki"].iter().filter(|a| state_of(&status, a) == "asleep").count();
    assert_eq!(asleep, 1, "never an evict-everything");
    household
        .wait_status("it is over", LONG, |s| {
            s.switching.is_none() && !s.notices.iter().any(|n| n.message.contains("Memory is short"))
        })
        .await;
    household.json(&["down"]).await;
}

#[tokio::test]
async fn a_yield_survives_the_controller_and_resume_brings_back_who_was_awake() {
    let (mut household, _machine) = on_a_recording();
    household.serve(&["--rehearsal", "--no-tray"]).await;
    household.json(&["up", "standard"]).await;
    household.json(&["yield", "2"]).await;
    let status = household.status().await;
    let yielded = status.yielded.expect("it is known");
    assert_eq!(yielded.agents, ["thor", "valkyrie"]);
    assert!(yielded.until.is_some());
    assert!(pool(&household.status().await).agents.is_empty());
    household.kill9().await;
    household.serve(&["--rehearsal", "--no-tray"]).await;
    assert!(household.status().await.yielded.is_some(), "a crash forgets nothing");
    household.json(&["resume"]).await;
    let status = household.status().await;
    assert_eq!((state_of(&status, "thor"), state_of(&status, "valkyrie")), ("ready".into(), "ready".into()));
    assert!(status.yielded.is_none());
    // Whoever starts something by hand arranges the memory anew.
    household.json(&["yield"]).await;
    household.json(&["start", "heimdall"]).await;
    household.wait_status("the yield is over", LONG, |s| s.yielded.is_none()).await;
    let refused = household.asgard(&["yield", "0", "--json"]).await;
    assert_eq!(refused.code, Some(2), "{refused:?}");
    household.json(&["down"]).await;
}

#[tokio::test]
async fn what_if_is_answered_before_anything_is_saved() {
    let (mut household, _machine) = on_a_recording();
    household.serve(&["--rehearsal", "--no-tray"]).await;
    household.json(&["up", "standard"]).await;
    let client = household.client().await;
    let ask = serde_json::json!({
        "profile": "standard", "agent": null,
        "change": { "agent": "thor", "context": 16384, "sequences": 2, "kv_dtype": null, "kv_cache": null }
    });
    let plan: api::shapes::plans::Plan = client.call("plan", ask).await.unwrap();
    let changed = plan.changed.unwrap();
    assert_eq!(changed.claim_bytes_before - changed.claim_bytes_after, 9 * GB, "a quarter of the cache");
    assert!(plan.fits && plan.sentence.starts_with("Starts Thor"), "{}", plan.sentence);
    let wrong = serde_json::json!({
        "profile": "standard", "agent": null, "change": { "agent": "thor", "context": 999_999 }
    });
    let refused = client.call::<api::shapes::plans::Plan>("plan", wrong).await.unwrap_err();
    assert!(!refused.next.is_empty(), "{refused:?}");
    assert!(!household.status().await.stack.saved, "nothing was written");
    household.json(&["down"]).await;
}
