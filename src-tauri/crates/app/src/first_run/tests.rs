//! What is proposed on the recorded machines.

use std::path::{Path, PathBuf};

use api::shapes::hub::{HubModel, Variant};
use domain::memory::{Bytes, GIB, MIB};
use domain::plan::{Situation, ledgers};
use domain::stack::{Gpu, Stack};
use hardware::Machine;
use store::paths::Paths;
use store::stack_file::{check, edit, presets};

use super::{household, machine, with_limit};
use crate::stacks::Ground;

fn stack(name: &str) -> Stack {
    check(Path::new("stack.toml"), &presets::find(name).unwrap().text(), 1).unwrap()
}

fn ground(home: &tempfile::TempDir, fixture: &str) -> (Ground, Machine) {
    let machine =
        Machine::new(Path::new(env!("CARGO_MANIFEST_DIR")).join("../hardware/fixtures").join(fixture));
    let get = |name: &str| (name == "HOME").then(|| home.path().as_os_str().to_owned());
    let paths = Paths::from_env(&get, 1000, false).unwrap();
    (Ground { paths, scale: 1, pools: machine.pools() }, machine)
}

#[test]
fn each_recorded_machine_is_proposed_the_household_that_fits_it() {
    let home = tempfile::tempdir().unwrap();
    for (fixture, preset) in [
        ("strix-halo-small-carveout", Some("norse")),
        ("strix-halo-quiet", Some("norse")),
        ("four-cards", Some("qwen3-next-tp4")),
        ("small-8gb", Some("small")),
        ("cpu-only", Some("small")),
    ] {
        let (ground, machine) = ground(&home, fixture);
        let found = machine::preset(&ground, machine.gpu()).map(|(p, _)| p.name);
        assert_eq!(found, preset, "{fixture}");
    }
    let (unknown, _) = ground(&home, "small-8gb");
    let nothing = Ground { pools: Vec::new(), ..unknown };
    assert_eq!(machine::preset(&nothing, Some(Gpu::Gfx1151)).map(|(p, _)| p.name), None);
}

#[test]
fn a_limit_is_chosen_between_its_bounds_and_keeps_every_comment() {
    let home = tempfile::tempdir().unwrap();
    let (ground, _) = ground(&home, "strix-halo-small-carveout");
    let stack = stack("norse");
    let situation = Situation { pools: ground.pools.clone(), ..Situation::default() };
    let ledger = ledgers(&stack, &situation).unwrap().remove(0);
    let bounds = machine::bounds(&ground.pools[0], &ledger);
    assert!(bounds.least < bounds.limit && bounds.limit <= bounds.most && bounds.most < bounds.capacity);
    for (limit, holds) in
        [(bounds.least, true), (bounds.most, true), (bounds.capacity, false), (Bytes(GIB), false)]
    {
        assert_eq!(bounds.allow(limit).is_ok(), holds, "{limit:?}");
    }
    for (name, before) in [("norse", Some("limit = \"120 GB\"")), ("small", None)] {
        let text = presets::find(name).unwrap().text();
        let limited = with_limit(&text, Some(100 * GIB + GIB / 2), 1).unwrap();
        let limit = check(Path::new("stack.toml"), &limited, 1).unwrap().memory.limit;
        assert_eq!(limit, Some(Bytes(100 * GIB + GIB / 2)), "{name}");
        for line in text.lines().filter(|line| Some(*line) != before) {
            assert!(limited.contains(line), "{name}: {line}");
        }
        assert_eq!(with_limit(&text, None, 1).unwrap(), text);
    }
    let small = presets::find("rehearsal").unwrap().text();
    assert!(with_limit(&small, Some(100 * MIB), 1024).unwrap().contains("limit = \"100 MB\""));
    // Of several pools one number is not meant, and such a file is left alone.
    let several = "version = 1\n[memory]\nlimit = { gpu0 = \"10 GB\" }\n";
    assert!(edit::edit(several, &[edit::Edit::MemoryLimit { limit: "9 GB".into() }]).is_err());
}

#[test]
fn the_base_profiles_models_come_first_and_are_chosen_unless_they_are_here() {
    let hub = tempfile::tempdir().unwrap();
    let curated = [HubModel {
        repo: "Qwen/Qwen2.5-14B-Instruct-AWQ".into(),
        title: "Qwen2.5 14B Instruct".into(),
        variants: vec![Variant {
            id: "all".into(),
            model: "Qwen/Qwen2.5-14B-Instruct-AWQ".into(),
            download_bytes: 9_980_000_000,
            ..Variant::default()
        }],
        ..HubModel::default()
    }];
    let models = household::models(&stack("norse"), &curated, &None, hub.path(), 1);
    let seen: Vec<(&str, Vec<&str>, bool)> = models
        .iter()
        .map(|m| (m.model.title.as_str(), m.agents.iter().map(String::as_str).collect(), m.chosen))
        .collect();
    assert_eq!(seen[0], ("Qwen2.5 14B Instruct", vec!["thor", "frigga"], true));
    assert_eq!(seen[1], ("Qwen3 Coder 30B A3B Instruct AWQ", vec!["valkyrie"], true));
    assert_eq!(seen.iter().filter(|(_, _, chosen)| *chosen).count(), 2);
    assert_eq!(seen.len(), 5);
    assert_eq!(models[0].bytes, Some(9_980_000_000));
    assert!(models[1].bytes.is_some_and(|b| b > 15_000_000_000), "by the catalog");
    // One that is here is not fetched again.
    let snapshot: PathBuf =
        hub.path().join("models--Qwen--Qwen2.5-14B-Instruct-AWQ/snapshots").join("a".repeat(40));
    std::fs::create_dir_all(&snapshot).unwrap();
    for (file, text) in [
        ("config.json", "{}"),
        ("model.safetensors", "x"),
        ("tokenizer.json", "{}"),
        ("tokenizer_config.json", "{}"),
    ] {
        std::fs::write(snapshot.join(file), text).unwrap();
    }
    let refs = hub.path().join("models--Qwen--Qwen2.5-14B-Instruct-AWQ/refs");
    std::fs::create_dir_all(&refs).unwrap();
    std::fs::write(refs.join("main"), "a".repeat(40)).unwrap();
    let models = household::models(&stack("norse"), &curated, &None, hub.path(), 1);
    assert_eq!((models[0].installed, models[0].chosen), (true, false));
}

#[test]
fn of_gguf_files_only_those_are_fetched_that_an_agent_names() {
    let stack = stack("norse-llamacpp");
    let repos = ["bartowski/Qwen2.5-14B-Instruct-GGUF".to_owned(), "someone/Else".to_owned()];
    let pulls = household::pulls(&stack, &repos);
    assert_eq!(pulls[0].files, ["Qwen2.5-14B-Instruct-Q4_K_M.gguf"]);
    assert_eq!((pulls[1].repo.as_str(), pulls[1].files.len()), ("someone/Else", 0));
    let split = presets::find("small")
        .unwrap()
        .text()
        .replace("qwen2.5-1.5b-instruct-q4_k_m.gguf\"", "big-00001-of-00003.gguf\"\nweights = \"1 GB\"");
    let stack = check(Path::new("stack.toml"), &split, 1).unwrap();
    let pulls = household::pulls(&stack, &["Qwen/Qwen2.5-1.5B-Instruct-GGUF".to_owned()]);
    assert_eq!(pulls[0].files, ["big-*.gguf"]);
}
