//! `make install` into a place of its own, the window from its menu entry, and `make uninstall`.

use std::path::{Path, PathBuf};
use std::time::Duration;

use api::shapes::plans::Profiles;
use journeys::display::{SOON, Screen, eventually};
use journeys::household::{Household, Output, state_of};
use serde_json::json;

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_path_buf()
}

async fn script(household: &Household, name: &str) -> Output {
    household.output(repository().join("scripts").join(name), &[], Duration::from_secs(60)).await
}

/// The words of the Exec line of a group, as a desktop reads them.
fn exec(entry: &str, group: &str) -> Vec<String> {
    let line = entry
        .lines()
        .skip_while(|l| *l != format!("[{group}]"))
        .skip(1)
        .take_while(|l| !l.starts_with('['))
        .find_map(|l| l.strip_prefix("Exec="))
        .unwrap_or_else(|| panic!("no Exec in {group}:\n{entry}"));
    let mut words = Vec::new();
    let mut rest = line;
    while !rest.is_empty() {
        let (word, after) = match rest.strip_prefix('"') {
            Some(quoted) => quoted.split_once('"').unwrap(),
            None => rest.split_once(' ').unwrap_or((rest, "")),
        };
        assert!(!word.contains('\\'), "this test reads no escapes: {line}");
        words.push(word.to_owned());
        rest = after.trim_start();
    }
    words
}

/// What lies below a folder, as paths.
fn below(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    let mut found = Vec::new();
    for path in entries.map(|e| e.unwrap().path()) {
        if path.is_dir() {
            found.extend(below(&path));
        }
        found.push(path);
    }
    found
}

#[tokio::test]
async fn installed_opened_from_the_menu_and_taken_away() {
    let mut household = Household::new();
    let screen = Screen::start(1280, 800).await;
    screen.dress(&mut household);
    // A space, because a home folder may have one.
    let prefix = household.path("pre fix");
    household.set("PREFIX", &prefix).set("ASGARD_PROFILE", "dev").set("ASGARD_SKIP_BUILD", "1");
    let data = household.path("data");
    std::fs::write(data.join("of-somebody-else"), "").unwrap();

    let said = script(&household, "install").await.ok().stdout;
    assert!(said.contains("Asgard is installed"), "{said}");
    script(&household, "install").await.ok();

    let file = data.join("applications/asgard.desktop");
    let path = file.to_str().unwrap();
    let valid = household.output("/usr/bin/desktop-file-validate", &[path], SOON).await.ok();
    assert_eq!((valid.stdout.as_str(), valid.stderr.as_str()), ("", ""));
    for size in [16, 32, 48, 128, 256, 512] {
        let icon = data.join(format!("icons/hicolor/{size}x{size}/apps/asgard.png"));
        let asked = ["-format", "%w %h", icon.to_str().unwrap()];
        let looked = household.output("/usr/bin/identify", &asked, SOON).await.ok();
        assert_eq!(looked.stdout, format!("{size} {size}"));
    }

    // The desktop's own reader of menu entries opens the window; its controller is the installed one.
    // Not by `output`: the window inherits what gio has, and would hold its pipes open.
    let mut gio = household.command("/usr/bin/gio").args(["launch", path]).spawn().unwrap();
    let launched = tokio::time::timeout(SOON, gio.wait()).await.expect("gio ends after it launched").unwrap();
    assert!(launched.success(), "{launched}");
    let window = screen.window("Asgard", SOON).await;
    let client = household.client().await;
    let bin = prefix.join("bin");
    let processes = household.processes();
    let runs = |name: &str| {
        let wanted = bin.join(name);
        processes
            .iter()
            .any(|pid| std::fs::read_link(format!("/proc/{pid}/exe")).is_ok_and(|exe| exe == wanted))
    };
    assert!(runs("asgard") && runs("asgard-desktop"), "both run from {}", bin.display());

    // An action for each profile of the shipped stack, and each is what `asgard` understands.
    let entry = std::fs::read_to_string(&file).unwrap();
    let profiles: Profiles = client.call("profiles", json!({})).await.unwrap();
    let names: Vec<&str> = profiles.profiles.iter().map(|p| p.name.as_str()).collect();
    let actions = entry.lines().find_map(|l| l.strip_prefix("Actions=")).unwrap();
    let listed: Vec<&str> = actions.split_terminator(';').collect();
    assert_eq!(listed, names, "the menu has the profiles of the stack, in its order");
    for name in &names {
        assert_eq!(
            exec(&entry, &format!("Desktop Action {name}")),
            [bin.join("asgard").to_str().unwrap(), "switch", name]
        );
    }
    let action = exec(&entry, "Desktop Action standard");
    let words: Vec<&str> = action[1..].iter().map(String::as_str).collect();
    household.output(&action[0], &words, Duration::from_secs(90)).await.ok();
    assert_eq!(state_of(&household.status().await, "valkyrie"), "ready");

    screen.close(window);
    eventually("the window ends and the controller stays", SOON, || {
        let left: Vec<PathBuf> = household
            .processes()
            .iter()
            .filter_map(|pid| std::fs::read_link(format!("/proc/{pid}/exe")).ok())
            .collect();
        let done = !left.contains(&bin.join("asgard-desktop")) && left.contains(&bin.join("asgard"));
        async move { done.then_some(()) }
    })
    .await;

    script(&household, "uninstall").await.ok();
    assert_eq!(below(&prefix), Vec::<PathBuf>::new());
    assert!(!prefix.exists(), "the folders that it made are gone too");
    let left: Vec<PathBuf> = below(&data)
        .into_iter()
        .filter(|p| p.starts_with(data.join("applications")) || p.starts_with(data.join("icons")))
        .collect();
    assert_eq!(left, Vec::<PathBuf>::new());
    assert!(data.join("of-somebody-else").exists());
}
