//! The rules of the house, read from `cargo metadata` and the sources: which room may import which, and what no room
//! may hold. A failure says what to do instead.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_path_buf()
}

/// Who may import whom, of our own crates. The reasons are in ARCHITECTURE.md.
fn allowed() -> BTreeMap<&'static str, BTreeSet<&'static str>> {
    BTreeMap::from([
        ("domain", BTreeSet::new()),
        ("api", BTreeSet::from(["domain"])),
        ("hardware", BTreeSet::from(["domain"])),
        ("engine", BTreeSet::from(["domain", "net"])),
        ("exchange", BTreeSet::from(["domain"])),
        ("models", BTreeSet::from(["domain", "net"])),
        ("net", BTreeSet::new()),
        ("plot", BTreeSet::from(["domain"])),
        ("store", BTreeSet::from(["domain"])),
        ("bifrost", BTreeSet::from(["domain"])),
        ("rehearsal", BTreeSet::from(["domain"])),
        ("tools", BTreeSet::from(["domain"])),
        (
            "app",
            BTreeSet::from([
                "api",
                "bifrost",
                "domain",
                "engine",
                "exchange",
                "hardware",
                "models",
                "net",
                "plot",
                "rehearsal",
                "store",
                "tools",
            ]),
        ),
        ("asgard", BTreeSet::from(["api", "app", "domain", "rehearsal", "store"])),
        ("asgard-desktop", BTreeSet::from(["api"])),
    ])
}

fn metadata() -> Value {
    let done = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version=1", "--no-deps", "--offline"])
        .current_dir(root())
        .output()
        .unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    serde_json::from_slice(&done.stdout).unwrap()
}

fn dependencies(package: &Value) -> impl Iterator<Item = (&str, bool)> {
    package["dependencies"].as_array().unwrap().iter().map(|d| {
        // Test-only edges do not shape the program.
        (d["name"].as_str().unwrap(), d["kind"].as_str() == Some("dev"))
    })
}

#[test]
fn rooms_import_only_what_they_may() {
    let metadata = metadata();
    let packages = metadata["packages"].as_array().unwrap();
    let ours: BTreeSet<&str> = packages.iter().map(|p| p["name"].as_str().unwrap()).collect();
    let allowed = allowed();
    for package in packages {
        let name = package["name"].as_str().unwrap();
        if name == "journeys" {
            continue;
        }
        let may = allowed
            .get(name)
            .unwrap_or_else(|| panic!("{name} is a new room: give it a line here and in ARCHITECTURE.md"));
        for (dependency, dev) in dependencies(package) {
            assert!(
                dev || !ours.contains(dependency) || may.contains(dependency),
                "{name} imports {dependency}: pass what it needs as plain data, or move the decision to where both are known"
            );
        }
    }
}

#[test]
fn the_domain_stays_pure() {
    let metadata = metadata();
    let domain = metadata["packages"].as_array().unwrap().iter().find(|p| p["name"] == "domain").unwrap();
    for (dependency, dev) in dependencies(domain) {
        assert!(
            dev || ["serde", "thiserror"].contains(&dependency),
            "domain imports {dependency}: it decides, it does not act"
        );
    }
}

#[test]
fn one_dependency_knows_one_world() {
    let metadata = metadata();
    for (dependency, room) in [
        ("bollard", "engine"),
        ("rusqlite", "store"),
        ("tauri", "asgard-desktop"),
        ("ksni", "asgard"),
        ("nvml-wrapper", "hardware"),
    ] {
        for package in metadata["packages"].as_array().unwrap() {
            let name = package["name"].as_str().unwrap();
            let found = dependencies(package).any(|(d, dev)| d == dependency && !dev);
            assert!(
                !found || name == room || name == "journeys",
                "{dependency} belongs to {room}, and {name} imports it"
            );
        }
    }
}

fn sources(folder: &Path, ending: &[&str], found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        let name = entry.file_name().to_string_lossy().into_owned();
        if path.is_dir() {
            if !["node_modules", "target", "dist", "gen"].contains(&name.as_str()) {
                sources(&path, ending, found);
            }
        } else if ending.iter().any(|e| name.ends_with(e)) {
            found.push(path);
        }
    }
}

#[test]
fn the_pages_touch_tauri_in_one_file() {
    let mut files = Vec::new();
    sources(&root().join("ui/src"), &[".ts", ".svelte"], &mut files);
    assert!(!files.is_empty(), "ui/src has sources");
    for file in files {
        let text = std::fs::read_to_string(&file).unwrap();
        assert!(
            !text.contains("@tauri-apps/") || file.starts_with(root().join("ui/src/lib/backend")),
            "{} imports Tauri: ask the backend interface in ui/src/lib/backend instead",
            file.display()
        );
    }
}

#[test]
fn names_say_what_things_are() {
    let mut files = Vec::new();
    sources(&root().join("src-tauri"), &[".rs"], &mut files);
    for file in files {
        let text = std::fs::read_to_string(&file).unwrap();
        for line in text.lines().map(str::trim_start) {
            let Some(name) = ["pub struct ", "pub(crate) struct ", "struct ", "pub trait ", "pub enum "]
                .iter()
                .find_map(|p| line.strip_prefix(p))
                .map(|rest| rest.chars().take_while(|c| c.is_alphanumeric()).collect::<String>())
            else {
                continue;
            };
            assert!(
                !["Manager", "Helper", "Util", "Utils", "Service"].iter().any(|w| name.ends_with(w)),
                "{}: {name} does not say what it is",
                file.display()
            );
        }
    }
}
