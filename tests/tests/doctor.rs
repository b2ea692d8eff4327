//! `asgard doctor` as people and scripts use it: alone, on a recorded machine, and beside a controller.

use std::path::Path;
use std::time::{Duration, Instant};

use journeys::household::Household;
use serde_json::Value;

fn fixture(name: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../src-tauri/crates/hardware/fixtures").join(name)
}

fn check<'a>(document: &'a Value, id: &str) -> &'a Value {
    let checks = document["checks"].as_array().expect("a list of checks");
    checks.iter().find(|c| c["id"] == id).unwrap_or_else(|| panic!("no {id} in {document:#}"))
}

#[tokio::test]
async fn the_exit_code_says_whether_something_must_be_mended() {
    let mut household = Household::new();
    household.set("ASGARD_SYSROOT", fixture("strix-halo-quiet"));
    let ready = household.asgard(&["doctor"]).await;
    assert_eq!(ready.code, Some(0), "{ready:#?}");
    assert!(ready.stdout.contains("ok  GPU-addressable memory: 124 GiB\n"), "{ready:#?}");
    assert!(!ready.stdout.contains('\u{a0}'), "{ready:#?}");

    household.set("ASGARD_SYSROOT", fixture("strix-halo-half-gtt"));
    let short = household.asgard(&["doctor", "--json"]).await;
    assert_eq!(short.code, Some(1), "{short:#?}");
    let document = short.json();
    for check in document["checks"].as_array().unwrap() {
        for key in ["id", "title", "status", "found", "wanted", "why"] {
            assert!(check[key].as_str().is_some_and(|text| !text.is_empty()), "{key} of {check:#}");
        }
        let todo = ["warn", "fail"].contains(&check["status"].as_str().unwrap());
        assert_eq!(check["fix"].is_string(), todo, "{check:#}");
    }
    assert_eq!(check(&document, "gtt_cap")["status"], "fail");
    assert!(check(&document, "gtt_cap")["fix"].as_str().unwrap().contains("ttm.pages_limit="));
    assert!(!household.path("data/asgard").exists(), "whoever only looks makes no folders");
}

#[tokio::test]
async fn beside_a_controller_its_own_ports_are_its_own_and_a_report_tells_no_secret() {
    let mut household = Household::new();
    household.set("ASGARD_REHEARSAL_LOAD_MS", "300").set("HF_TOKEN", "a-token-of-an-odd-kind");
    household.asgard(&["up"]).await.ok();
    let begun = Instant::now();
    let document = household.json(&["doctor"]).await;
    assert!(begun.elapsed() < Duration::from_secs(6), "{:?}", begun.elapsed());
    assert_eq!(check(&document, "ports")["status"], "pass", "{document:#}");
    assert_eq!(check(&document, "lost_memory")["status"], "pass", "{document:#}");
    assert_eq!(check(&document, "profile.standard")["status"], "pass", "{document:#}");

    let file = household.path("report.md");
    let name = file.to_str().unwrap();
    let made = household.asgard(&["doctor", "--report", name]).await.ok();
    assert!(made.stderr.contains("The report is in "), "{made:#?}");
    let text = std::fs::read_to_string(&file).unwrap();
    assert!(text.contains("## Plans") && text.contains("[agents.thor]"), "{text}");
    let home = household.env()["HOME"].to_str().unwrap();
    for gone in ["a-token-of-an-odd-kind", home] {
        assert!(!text.contains(gone), "{gone} is in {text}");
    }
    let again = household.asgard(&["doctor", "--report", name]).await;
    assert_eq!(again.code, Some(2), "{again:#?}");
    assert_eq!(std::fs::read_to_string(&file).unwrap(), text, "a file that is there is left as it is");
}
