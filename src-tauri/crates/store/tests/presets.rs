//! Every preset holds, and each of its profiles is planned from nothing on the recorded machine that it names. The
//! table of what is to spare is printed: `cargo test -p store --test presets -- --nocapture`.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may fail")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use domain::Bytes;
use domain::catalog::known_model;
use domain::memory::Unit;
use domain::plan::{Action, Goal, Plan, Situation, claims, plan};
use domain::pool::PoolReading;
use domain::stack::{BackendKind, Stack};
use hardware::Machine;
use store::stack_file::presets::{self, Preset, use_preset};
use store::stack_file::{check, replace};

fn stack(preset: &Preset, scale: u64) -> Stack {
    let file = PathBuf::from(format!("{}.toml", preset.name));
    check(&file, &preset.text_scaled(scale), scale).unwrap_or_else(|problems| {
        panic!("{}", problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))
    })
}

fn pools(preset: &Preset) -> Vec<PoolReading> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../hardware/fixtures").join(preset.fixture);
    assert!(folder.join("README.md").is_file(), "{} names a machine that is not recorded", preset.name);
    Machine::new(folder).pools()
}

fn planned(preset: &Preset, stack: &Stack, profile: &str) -> Plan {
    let situation = Situation { pools: pools(preset), ..Situation::default() };
    plan(stack, &situation, &Goal::Profile(profile.to_owned())).unwrap()
}

/// What is left of the tightest pool.
fn spare(plan: &Plan) -> (String, Bytes, Unit) {
    let tightest = plan.pools.iter().filter(|p| p.planned > Bytes::ZERO).map(|p| {
        let by_limit = p.ledger.limit.saturating_sub(p.peak);
        let by_cap = p.ledger.for_agents_on_device().map(|room| room.saturating_sub(p.planned));
        (p.ledger.name.clone(), by_cap.map_or(by_limit, |cap| cap.min(by_limit)), p.ledger.unit())
    });
    tightest.min_by_key(|(_, spare, _)| *spare).unwrap()
}

#[test]
fn the_shipped_ones_are_there_each_under_its_own_name() {
    let names: Vec<&str> = presets::all().iter().map(|p| p.name).collect();
    assert_eq!(
        names,
        ["norse", "norse-bf16", "norse-next", "norse-llamacpp", "qwen3-next-tp4", "small", "rehearsal"]
    );
    for preset in presets::all() {
        assert_eq!(stack(preset, preset.scale).name, preset.name);
        assert_eq!(presets::find(preset.name), Some(preset));
        assert!(!preset.summary.is_empty() && !preset.machine.is_empty());
    }
    assert_eq!(presets::find("nobody"), None);
}

#[test]
fn every_profile_fits_the_machine_that_its_preset_names() {
    println!(
        "{:<16} {:<10} {:<34} {:>9}  {:<15} {:>9}",
        "preset", "profile", "awake", "claims", "tightest pool", "spare"
    );
    for preset in presets::all() {
        let stack = stack(preset, preset.scale);
        assert!(stack.profiles.iter().any(|p| p.name == stack.base), "{} has its base", preset.name);
        for profile in &stack.profiles {
            let plan = planned(preset, &stack, &profile.name);
            assert!(plan.fits, "{} on {}: {} {}", preset.name, preset.fixture, plan.reason, plan.next);
            let starts: Vec<String> = plan.starts().map(ToString::to_string).collect();
            let wanted: Vec<String> = profile.agents.iter().map(ToString::to_string).collect();
            assert_eq!(starts, wanted, "{} {}", preset.name, profile.name);
            assert!(plan.steps.iter().all(|s| s.action != Action::Stop), "nothing runs that could stop");
            let (pool, left, unit) = spare(&plan);
            let claimed: Bytes = plan.pools.iter().map(|p| p.planned).sum();
            println!(
                "{:<16} {:<10} {:<34} {:>9}  {:<15} {:>9}",
                preset.name,
                profile.name,
                wanted.join(" "),
                claimed.show(unit),
                pool,
                left.show_down(unit)
            );
        }
        let held: BTreeSet<_> = stack.profiles.iter().flat_map(|p| &p.agents).collect();
        assert_eq!(held.len(), stack.agents.len(), "{}: every agent is in some profile", preset.name);
    }
}

#[test]
fn a_preset_in_megabytes_is_the_same_sum() {
    for preset in presets::all() {
        let (real, played) = (stack(preset, 1), stack(preset, 1024));
        for (a, b) in real.agents.iter().zip(&played.agents) {
            let (a, b) = (a.claim_in(Bytes::gb(128.0)), b.claim_in(Bytes::mb(128.0)));
            // Each of three parts is rounded to a whole byte.
            assert!(a.0.abs_diff(b.0 * 1024) <= 3 * 1024, "{}: {a:?} {b:?}", preset.name);
        }
    }
}

#[test]
fn no_two_in_conflict_share_a_profile_and_no_two_agents_a_port() {
    for preset in presets::all() {
        let stack = stack(preset, preset.scale);
        for profile in &stack.profiles {
            for (a, b) in profile.agents.iter().flat_map(|a| profile.agents.iter().map(move |b| (a, b))) {
                assert!(!stack.conflict(a, b), "{} {}: {a} and {b}", preset.name, profile.name);
            }
        }
        let mut ports: BTreeSet<u16> = stack.agents.iter().map(|a| a.port).collect();
        ports.insert(stack.gateway.listen.port());
        assert_eq!(ports.len(), stack.agents.len() + 1, "{}", preset.name);
    }
}

#[test]
fn every_model_is_known_and_no_context_is_longer_than_its_own() {
    for preset in presets::all() {
        for agent in stack(preset, preset.scale).agents {
            let what = format!("{} {}", preset.name, agent.name);
            let known =
                known_model(&agent.model).unwrap_or_else(|| panic!("{what}: {} is unknown", agent.model));
            assert!(agent.context <= known.max_context, "{what}");
            assert_eq!(agent.tool_parser.as_deref(), Some(known.tool_parser), "{what}");
            let gguf = agent.model.to_ascii_lowercase().ends_with(".gguf");
            assert_eq!(
                gguf,
                agent.backend == BackendKind::LlamaCpp,
                "{what}: llama.cpp reads GGUF files, vLLM not"
            );
            assert!(!agent.role.trim().is_empty() && !agent.title.is_empty(), "{what} has a role");
            assert!(agent.glyph.is_some() && agent.color.is_some(), "{what} is drawn");
            // llama.cpp sets aside the whole cache at once.
            if let (BackendKind::LlamaCpp, domain::stack::ClaimBasis::KvCache { kv_cache, .. }) =
                (agent.backend, agent.claim)
            {
                let per_token = agent.kv_bytes_per_token.unwrap();
                let all = per_token * u64::from(agent.context) * u64::from(agent.sequences);
                assert!(all <= kv_cache.0, "{what}: {all} of {kv_cache:?}");
            }
        }
    }
}

#[test]
fn what_runs_on_the_processor_claims_nothing_of_the_gpu() {
    for (name, gpu) in [("norse-bf16", &["thor", "valkyrie"][..]), ("small", &[])] {
        let preset = presets::find(name).unwrap();
        let strix = presets::find("norse").unwrap();
        for agent in stack(preset, 1).agents {
            let device: Bytes = claims(&agent, &pools(strix)).values().map(|s| s.device).sum();
            assert_eq!(device > Bytes::ZERO, gpu.contains(&agent.name.as_str()), "{name} {}", agent.name);
            if device == Bytes::ZERO {
                assert_eq!(agent.gpu_layers, Some(0), "{name} {}", agent.name);
            }
        }
    }
}

#[test]
fn four_cards_each_hold_a_quarter() {
    let preset = presets::find("qwen3-next-tp4").unwrap();
    let stack = stack(preset, 1);
    let agent = &stack.agents[0];
    assert_eq!((agent.port, agent.context, agent.tensor_parallel), (8000, 8192, 4));
    assert_eq!(agent.request_timeout, Some(std::time::Duration::from_secs(300)));
    let shares = claims(agent, &pools(preset));
    let on_cards: BTreeMap<_, _> = shares.iter().filter(|(_, s)| s.device > Bytes::ZERO).collect();
    assert_eq!(on_cards.len(), 4);
    let weights = Bytes(49_000_000_000 / 4);
    for share in on_cards.values() {
        assert!(share.device > weights + Bytes::gb(2.0) && share.device < Bytes::gb(14.5), "{share:?}");
    }
}

#[test]
fn using_a_preset_keeps_every_earlier_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("asgard/stack.toml");
    let of = |name| presets::find(name).unwrap();
    let used = |name, stamp| use_preset(&path, of(name), 1, stamp).unwrap().kept;
    let read = |path: &Path| std::fs::read_to_string(path).unwrap();

    assert_eq!(used("norse", "1"), None, "there was no file");
    assert_eq!(used("norse", "1"), None, "it says the same already");
    std::fs::write(&path, "mine").unwrap();
    let first = used("small", "20260101-120000").unwrap();
    assert_eq!(first.file_name().unwrap(), "stack.toml.before-20260101-120000");
    assert_eq!((read(&first), read(&path)), ("mine".to_owned(), of("small").text()));
    let second = used("norse", "20260101-120000").unwrap();
    assert_ne!(first, second);
    assert_eq!((read(&first), read(&second)), ("mine".to_owned(), of("small").text()));
    // What is kept stays beside the file, whatever the stamp says.
    let third = replace(&path, "other", "../../x").unwrap().unwrap();
    assert_eq!(third.parent(), path.parent());
}

#[test]
fn a_file_that_cannot_be_written_stays_as_it_was() {
    let folder = tempfile::tempdir().unwrap();
    // A folder in the file's place: neither read nor replaced.
    let path = folder.path().join("stack.toml");
    std::fs::create_dir(&path).unwrap();
    assert!(replace(&path, "text", "1").is_err());
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
}

#[test]
fn a_busier_machine_is_told_what_is_missing() {
    // Twenty gigabytes of other programs are too much for 16-bit weights, and the refusal says how much.
    let preset = presets::find("norse-bf16").unwrap();
    let stack = stack(preset, 1);
    let pools = pools(presets::find("norse").unwrap());
    let plan =
        plan(&stack, &Situation { pools, ..Situation::default() }, &Goal::Profile("standard".to_owned()))
            .unwrap();
    assert!(!plan.fits && plan.steps.is_empty(), "{}", plan.reason);
    assert!(plan.reason.contains("short"), "{}", plan.reason);
}
