//! Readiness: each verdict by its own facts, and the shape that every answer has whatever was seen.

#![allow(clippy::expect_used, reason = "a test may fail")]

use std::collections::BTreeSet;

use domain::doctor::{
    Check, DeviceNode, Devices, Disks, Distribution, Engine, Facts, Free, Graphics, HubCache, ImageFact,
    Kernel, ModelFact, PortFact, Status, Swap, SwapArea, checks, is_ready,
};
use domain::memory::Bytes;
use domain::plan::Situation;
use domain::pool::{PoolId, PoolKind, PoolReading};
use proptest::prelude::*;

fn check<'a>(all: &'a [Check], id: &str) -> &'a Check {
    all.iter().find(|c| c.id == id).expect(id)
}

fn strix() -> Facts {
    let pool = PoolReading {
        id: PoolId::new("unified"),
        name: "Unified memory".to_owned(),
        kind: PoolKind::Unified,
        capacity: Some(Bytes::gb(125.0)),
        device_cap: Some(Bytes::gb(124.0)),
        used: Bytes::gb(10.0),
        device_used: Some(Bytes::gb(0.5)),
    };
    Facts {
        distribution: Distribution::Fedora,
        situation: Situation { pools: vec![pool], ..Situation::default() },
        graphics: Graphics {
            carve_out: Some(Bytes::mb(512.0)),
            strix_halo: true,
            amd_cards: 1,
            ..Graphics::default()
        },
        kernel: Kernel {
            release: Ok("6.18.4-200.fc43.x86_64".to_owned()),
            command_line: Ok("quiet ttm.pages_limit=32505856".to_owned()),
            pages_limit: Ok(32_505_856),
            amdttm: false,
            firmware_package: Ok("20251111-1.fc43".to_owned()),
            pressure: Ok(true),
        },
        swap: Swap {
            areas: Ok(vec![SwapArea { path: "/dev/nvme0n1p3".to_owned(), size: Bytes::gb(16.0) }]),
            swappiness: Ok(80),
            early_oom: Ok(Some("systemd-oomd".to_owned())),
            memory: Some(Bytes::gb(125.0)),
            root_file_system: Some("btrfs".to_owned()),
        },
        devices: Ok(Devices {
            kfd: Some(node("/dev/kfd", true)),
            render: vec![node("/dev/dri/renderD128", true)],
        }),
        engine: Ok(engine(false)),
        ..Facts::default()
    }
}

fn node(path: &str, usable: bool) -> DeviceNode {
    DeviceNode {
        path: path.to_owned(),
        group: 992,
        group_name: Some("render".to_owned()),
        usable: Some(usable),
    }
}

fn engine(rootless: bool) -> Engine {
    Engine {
        kind: if rootless { "podman" } else { "docker" }.to_owned(),
        version: Some(if rootless { "5.2.1" } else { "27.3.1" }.to_owned()),
        rootless,
        address: "/var/run/docker.sock".to_owned(),
        needed: true,
        ..Engine::default()
    }
}

#[test]
fn a_machine_in_order_has_nothing_to_mend() {
    let all = checks(&strix());
    let wrong: Vec<&Check> = all.iter().filter(|c| matches!(c.status, Status::Warn | Status::Fail)).collect();
    // The stack was not looked at in these facts.
    assert_eq!(wrong.iter().map(|c| c.id.as_str()).collect::<Vec<_>>(), ["stack"], "{wrong:#?}");
    assert_eq!(check(&all, "gtt_cap").found, "124\u{a0}GiB, ttm.pages_limit=32505856");
}

#[test]
fn each_fact_decides_its_own_check() {
    type Change = fn(&mut Facts);
    let cases: &[(&str, Status, Change)] = &[
        ("carve_out", Status::Pass, |f| f.graphics.carve_out = Some(Bytes::gb(4.0))),
        ("carve_out", Status::Warn, |f| f.graphics.carve_out = Some(Bytes::gb(64.0))),
        ("carve_out", Status::Skip, |f| f.graphics.carve_out = None),
        ("gtt_cap", Status::Warn, |f| f.situation.pools[0].device_cap = Some(Bytes::gb(128.0))),
        ("gtt_cap", Status::Skip, |f| f.situation.pools[0].kind = PoolKind::Ram),
        ("memory_limit", Status::Fail, |f| f.situation.pools[0].capacity = None),
        ("memory_limit", Status::Fail, |f| f.situation.pools.clear()),
        ("counters", Status::Warn, |f| f.doubts.push(("They differ.".to_owned(), "Restart.".to_owned()))),
        ("lost_memory", Status::Pass, |f| f.lost_is_known = true),
        ("lost_memory", Status::Warn, |f| {
            f.lost_is_known = true;
            f.situation.lost.insert(PoolId::new("unified"), Bytes::gb(10.0));
        }),
        ("kernel_parameters", Status::Warn, |f| {
            f.kernel.command_line = Ok("amdgpu.gttsize=126976".to_owned());
        }),
        ("kernel_parameters", Status::Warn, |f| {
            f.kernel.command_line = Ok("amdgpu.gttsize=1 ttm.pages_limit=2".to_owned());
        }),
        ("kernel_parameters", Status::Warn, |f| f.kernel.amdttm = true),
        ("kernel_parameters", Status::Pass, |f| f.kernel.command_line = Ok(String::new())),
        ("iommu", Status::Pass, |f| f.kernel.command_line = Ok("amd_iommu=off".to_owned())),
        ("iommu", Status::Warn, |f| f.kernel.command_line = Ok("amd_iommu=pt".to_owned())),
        ("kernel", Status::Warn, |f| f.kernel.release = Ok("6.17.0-8-generic".to_owned())),
        ("kernel", Status::Skip, |f| f.graphics.strix_halo = false),
        ("firmware", Status::Fail, |f| f.kernel.firmware_package = Ok("20251125-1.fc43".to_owned())),
        ("firmware", Status::Fail, |f| f.graphics.mes_firmware = Some(0x83)),
        ("firmware", Status::Pass, |f| f.graphics.mes_firmware = Some(0x80)),
        ("swap", Status::Warn, |f| f.swap.areas = Ok(Vec::new())),
        ("swappiness", Status::Skip, |f| f.swap.areas = Ok(Vec::new())),
        ("swappiness", Status::Warn, |f| f.swap.swappiness = Ok(60)),
        ("swappiness", Status::Pass, |f| {
            f.swap.swappiness = Ok(60);
            f.situation.pools[0].kind = PoolKind::Ram;
        }),
        ("early_oom", Status::Warn, |f| f.swap.early_oom = Ok(None)),
        ("pressure", Status::Warn, |f| f.kernel.pressure = Ok(false)),
        ("kfd", Status::Fail, |f| f.devices = Ok(Devices::default())),
        ("render_nodes", Status::Fail, |f| f.devices = Ok(Devices::default())),
        ("kfd", Status::Skip, |f| f.graphics.amd_cards = 0),
        // Docker's daemon has root, and hands the numbers on.
        ("gpu_groups", Status::Pass, |f| closed(f, false)),
        ("gpu_groups", Status::Fail, |f| closed(f, true)),
        ("nvidia_toolkit", Status::Fail, |f| {
            f.graphics.nvidia_cards = 4;
            f.graphics.nvidia_toolkit = Some(Ok(false));
        }),
        ("engine", Status::Warn, |f| {
            f.engine = Ok(Engine { version: Some("19.3.1".to_owned()), ..engine(false) });
        }),
        ("engine", Status::Fail, |f| f.engine = Ok(silent(true, false))),
        ("engine", Status::Skip, |f| f.engine = Ok(silent(false, false))),
        ("engine_socket", Status::Fail, |f| f.engine = Ok(silent(true, true))),
        ("hub_cache", Status::Warn, |f| f.hub = Ok(HubCache { foreign: vec!["/h/x".to_owned()], ..hub() })),
        ("hub_cache", Status::Fail, |f| {
            f.hub = Ok(HubCache { unreadable: vec!["/h/x".to_owned()], ..hub() });
        }),
        ("hub_cache", Status::Pass, |f| f.hub = Ok(hub())),
        ("disk_models", Status::Fail, |f| models(f, 40)),
        ("disk_models", Status::Warn, |f| models(f, 55)),
        ("disk_models", Status::Pass, |f| models(f, 80)),
        ("models", Status::Warn, |f| models(f, 80)),
        ("image.Thor", Status::Warn, |f| f.images = Ok(vec![image(false)])),
        ("image.Thor", Status::Pass, |f| f.images = Ok(vec![image(true)])),
        ("ports", Status::Fail, |f| f.ports = Ok(vec![port(Some("python (process 7)"))])),
        ("ports", Status::Pass, |f| f.ports = Ok(vec![port(None)])),
        ("tray", Status::Skip, |f| f.tray = Ok(false)),
    ];
    for (n, (id, wanted, change)) in cases.iter().enumerate() {
        let mut facts = strix();
        change(&mut facts);
        let all = checks(&facts);
        let found = check(&all, id);
        assert_eq!(found.status, *wanted, "case {n}: {found:#?}");
    }
}

fn closed(facts: &mut Facts, rootless: bool) {
    facts.devices = Ok(Devices { kfd: Some(node("/dev/kfd", false)), render: Vec::new() });
    facts.engine = Ok(engine(rootless));
}

fn silent(needed: bool, forbidden: bool) -> Engine {
    let error = Some(("Nothing answers.".to_owned(), "Run `sudo systemctl start docker`.".to_owned()));
    Engine { needed, error, forbidden, ..Engine::default() }
}

fn hub() -> HubCache {
    HubCache { path: "/h".to_owned(), exists: true, ..HubCache::default() }
}

fn models(facts: &mut Facts, free_gb: u64) {
    let missing = |model: &str| ModelFact {
        model: model.to_owned(),
        missing: Some("It is not in the cache.".to_owned()),
        fetch: format!("asgard models pull {model}"),
        bytes: 25_000_000_000,
    };
    // One of them twice: two agents share it.
    facts.models = Ok(vec![missing("a/b"), missing("a/c"), missing("a/b")]);
    facts.disks = Disks {
        models: Ok(Free { path: "/h".to_owned(), bytes: free_gb * 1_000_000_000 }),
        ..Disks::default()
    };
}

fn image(present: bool) -> ImageFact {
    ImageFact {
        reference: "docker.io/kyuz0/x:latest".to_owned(),
        used_by: vec!["Thor".to_owned(), "Odin".to_owned()],
        present: Ok(present),
        version: None,
    }
}

fn port(taken_by: Option<&str>) -> PortFact {
    PortFact {
        port: 8001,
        owner: "Thor".to_owned(),
        agent: Some("thor".to_owned()),
        taken_by: taken_by.map(str::to_owned),
    }
}

#[test]
fn the_deprecated_parameter_is_replaced_by_the_same_amount() {
    let mut facts = strix();
    facts.kernel.command_line = Ok("amdgpu.gttsize=126976".to_owned());
    let all = checks(&facts);
    // 124 GB, in pages of 4 KiB.
    let fix = check(&all, "kernel_parameters").fix.as_deref().unwrap();
    assert!(fix.contains("--remove-args=amdgpu.gttsize --args=ttm.pages_limit=32505856"), "{fix}");
}

#[test]
fn an_engine_without_root_needs_you_in_the_group() {
    let mut facts = strix();
    closed(&mut facts, true);
    let all = checks(&facts);
    assert_eq!(
        check(&all, "gpu_groups").fix.as_deref().unwrap().lines().next(),
        Some("sudo usermod -aG render \"$USER\"")
    );
    assert!(!is_ready(&all));
}

#[test]
fn what_was_not_seen_is_skipped_with_its_reason() {
    let all = checks(&Facts::default());
    for found in &all {
        // A stack and a capacity that are missing are faults whatever the reason.
        if !["stack", "memory_limit"].contains(&found.id.as_str()) {
            assert_eq!(found.status, Status::Skip, "{found:?}");
        }
        assert!(!found.found.is_empty(), "{found:?}");
    }
}

proptest! {
    #[test]
    fn every_answer_has_the_same_shape(
        gb in prop::collection::vec(prop::option::of(0.0..300.0_f64), 4),
        line in "(amdgpu\\.gttsize=[0-9]{0,22} ?|ttm\\.pages_limit=.{0,5} ?|amd_iommu=(on|off|pt|) ?|[a-z=.]{0,12} ?){0,4}",
        release in ".{0,24}",
        package in ".{0,24}",
        swappiness in any::<u64>(),
        usable in prop::option::of(any::<bool>()),
        rootless in any::<bool>(),
        cards in 0_u32..3,
        strix_halo in any::<bool>(),
        text in ".{0,40}",
    ) {
        let bytes = |n: usize| gb[n].map(Bytes::gb);
        let mut facts = strix();
        facts.situation.pools[0].capacity = bytes(0);
        facts.situation.pools[0].device_cap = bytes(1);
        facts.graphics = Graphics { carve_out: bytes(2), strix_halo, amd_cards: cards, nvidia_cards: cards, ..Graphics::default() };
        facts.kernel.command_line = Ok(line);
        facts.kernel.release = Ok(release);
        facts.kernel.firmware_package = Ok(package);
        facts.swap.areas = Ok(bytes(3).map(|size| SwapArea { path: text.clone(), size }).into_iter().collect());
        facts.swap.swappiness = Ok(swappiness);
        facts.devices = Ok(Devices { kfd: None, render: vec![DeviceNode { usable, ..node(&text, true) }] });
        facts.engine = Ok(Engine { version: Some(text.clone()), ..engine(rootless) });
        facts.images = Ok(vec![ImageFact { reference: text.clone(), ..image(usable.unwrap_or(false)) }]);
        facts.hub = Ok(HubCache { path: text, ..hub() });
        let all = checks(&facts);
        let ids: BTreeSet<&str> = all.iter().map(|c| c.id.as_str()).collect();
        prop_assert_eq!(ids.len(), all.len(), "an id stands for one check");
        for found in &all {
            let todo = matches!(found.status, Status::Warn | Status::Fail);
            prop_assert_eq!(found.fix.as_ref().is_some_and(|f| !f.trim().is_empty()), todo, "{:?}", found);
            prop_assert!(!found.title.is_empty() && !found.wanted.is_empty() && !found.why.is_empty(), "{:?}", found);
        }
        prop_assert_eq!(is_ready(&all), all.iter().all(|c| c.status != Status::Fail));
    }
}
