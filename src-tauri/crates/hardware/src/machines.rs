//! The recorded machines side by side: their pools, and what could still be taken of each.

use std::path::{Path, PathBuf};

use domain::Bytes;
use domain::memory::Unit;
use domain::pool::{PoolId, PoolKind, PoolReading};

use super::*;

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures")
}

fn recorded(name: &str) -> Reading {
    let folder = fixtures().join(name);
    assert!(folder.join("README.md").is_file(), "no machine {name}");
    Machine::new(folder).read()
}

fn shown(bytes: Option<Bytes>) -> String {
    bytes.map_or_else(|| "?".to_owned(), |b| format!("{:.1}", b.0 as f64 / Unit::Gb.bytes() as f64))
}

/// "unified 125.0 (cap 124.0) used 20.0 (gpu 0.8) room 101.0": what a pool has, and what is left with 4 GB kept back.
fn line(reading: &Reading, pool: &PoolReading) -> String {
    let cap = pool.device_cap.map(|cap| format!(" (cap {})", shown(Some(cap)))).unwrap_or_default();
    let gpu = pool.device_used.map(|used| format!(" (gpu {})", shown(Some(used)))).unwrap_or_default();
    let room = shown(headroom(reading, &pool.id, Bytes::gb(4.0)));
    format!("{} {}{cap} used {}{gpu} room {room}", pool.id, shown(pool.capacity), shown(Some(pool.used)))
}

#[test]
fn pools_and_room() {
    let table: &[(&str, &[&str])] = &[
        ("strix-halo-small-carveout", &["unified 125.0 (cap 124.0) used 20.0 (gpu 0.8) room 101.0"]),
        // Bounded by the cap, not by what is free.
        ("strix-halo-half-gtt", &["unified 125.0 (cap 62.5) used 20.0 (gpu 0.8) room 61.8"]),
        ("strix-halo-35-used", &["unified 125.0 (cap 124.0) used 35.0 (gpu 0.8) room 86.0"]),
        ("strix-halo-gtt-over-ram", &["unified 124.9 (cap 124.9) used 22.0 (gpu 1.0) room 98.9"]),
        ("strix-halo-large-carveout", &["gpu0 96.0 used 0.6 room 91.4", "ram 31.0 used 7.0 room 20.0"]),
        ("strix-halo-carveout-64", &["gpu0 64.0 used 0.7 room 59.3", "ram 63.0 used 8.0 room 51.0"]),
        (
            "strix-halo-and-nvidia",
            &["gpu0 24.0 used 0.4 room 19.5", "unified 125.0 (cap 124.0) used 20.0 (gpu 0.8) room 101.0"],
        ),
        (
            "four-nvidia",
            &[
                "gpu0 16.0 used 0.7 room 11.3",
                "gpu1 16.0 used 0.3 room 11.7",
                "gpu2 16.0 used 0.3 room 11.7",
                "gpu3 16.0 used 0.3 room 11.7",
                "ram 125.8 used 6.8 room 115.0",
            ],
        ),
        ("dgx-spark", &["unified 121.7 used 8.6 (gpu 1.0) room 109.1"]),
        ("card-beside-igpu", &["gpu0 24.0 used 1.2 room 18.8", "ram 62.0 used 10.0 room 48.0"]),
        ("small-card", &["gpu0 4.0 used 0.2 room 0.0", "ram 31.0 used 4.0 room 23.0"]),
        (
            "two-cards",
            &["gpu0 24.0 used 1.0 room 19.0", "gpu1 24.0 used 2.0 room 18.0", "ram 63.0 used 13.0 room 46.0"],
        ),
        ("cpu-only", &["ram 31.0 used 4.0 room 23.0"]),
        ("cpu-64gb", &["ram 62.0 used 6.0 room 52.0"]),
        ("small-8gb", &["ram 7.7 used 2.0 room 1.7"]),
        ("broken", &["ram ? used 0.0 room ?"]),
        (
            "contradicting",
            &[
                "gpu0 40.0 used 10.0 room 26.0",
                "gpu1 15.0 used 15.0 room ?",
                "gpu2 15.0 used 15.0 room 0.0",
                "unified 125.0 (cap 124.0) used 60.0 (gpu 60.0) room 61.0",
            ],
        ),
    ];
    let mut wrong = Vec::new();
    for (name, expected) in table {
        let reading = recorded(name);
        let lines: Vec<String> = reading.pools.iter().map(|pool| line(&reading, pool)).collect();
        if lines != *expected {
            wrong.push(format!("{name}: {lines:#?}"));
        }
        assert_eq!(reading.pools, Machine::new(fixtures().join(name)).pools(), "{name}: both ways agree");
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn on_every_machine_the_pools_hold_together() {
    let mut seen = 0;
    for entry in fs::read_dir(fixtures()).unwrap() {
        let folder = entry.unwrap().path();
        if !folder.is_dir() {
            continue;
        }
        assert!(folder.join("README.md").is_file(), "{} does not say what it is", folder.display());
        let reading = Machine::new(&folder).read();
        let name = folder.display();
        let ids: std::collections::BTreeSet<&PoolId> = reading.pools.iter().map(|p| &p.id).collect();
        assert_eq!(ids.len(), reading.pools.len(), "{name}: each pool once");
        let own = reading.pools.iter().filter(|p| p.kind == PoolKind::Vram).count();
        assert_eq!(own + 1, reading.pools.len(), "{name}: the system's memory once");
        assert_ne!(reading.pools.last().unwrap().kind, PoolKind::Vram, "{name}: and last");
        for pool in &reading.pools {
            let capacity = pool.capacity.unwrap_or(Bytes(u64::MAX));
            assert!(pool.used <= capacity, "{name} {}", pool.id);
            assert!(pool.device_used.unwrap_or_default() <= pool.used, "{name} {}: a part of it", pool.id);
            assert!(pool.device_cap.unwrap_or_default() <= capacity, "{name} {}", pool.id);
            for reserve in [0.0, 4.0, 1e9].map(Bytes::gb) {
                let room = headroom(&reading, &pool.id, reserve).unwrap_or_default();
                assert!(
                    room + reserve.min(capacity) <= capacity || room == Bytes::ZERO,
                    "{name} {}",
                    pool.id
                );
            }
        }
        for gpu in &reading.gpus {
            assert!(ids.contains(&gpu.pool), "{name}: {} is somewhere", gpu.name);
            assert!(gpu.busy.is_none_or(|b| (0.0..=1.0).contains(&b)), "{name}");
        }
        seen += 1;
    }
    assert!(seen >= 20, "only {seen} machines");
}

#[test]
fn nothing_is_known_of_a_pool_that_is_not_there() {
    assert_eq!(headroom(&recorded("cpu-only"), &PoolId::new("gpu0"), Bytes::ZERO), None);
    assert_eq!(headroom(&Reading::default(), &PoolId::new("ram"), Bytes::ZERO), None);
}

/// Each doubt as "pool: first words (GB)".
fn doubts(name: &str) -> Vec<String> {
    let reading = recorded(name);
    for doubt in &reading.doubts {
        assert!(doubt.message.ends_with('.') && doubt.next.ends_with('.'), "{doubt:?}");
    }
    let first = |text: &str| text.split(' ').take(5).collect::<Vec<_>>().join(" ");
    reading
        .doubts
        .iter()
        .map(|d| format!("{}: {} ({})", d.pool, first(&d.message), shown(Some(d.bytes))))
        .collect()
}

#[test]
fn what_contradicts_itself_is_said() {
    assert_eq!(doubts("strix-halo-gtt-over-ram"), ["unified: The GPU may map 128.0\u{a0}GB (3.1)"]);
    assert_eq!(
        doubts("contradicting"),
        [
            "unified: The system says that 134.5\u{a0}GB (9.5)",
            "unified: The GPU holds 60.0\u{a0}GB while (40.0)",
            "unified: The GPU's driver says that (62.0)",
            "gpu0: NVIDIA A100-SXM4-40GB says that it (10.0)",
            "gpu0: NVIDIA A100-SXM4-40GB is divided into (40.0)",
            "gpu1: NVIDIA A2 says that 31.0\u{a0}GB (16.0)",
            "gpu1: The card says that 93.1\u{a0}GB (78.1)",
            "gpu2: NVIDIA T4 no longer answers, (15.0)",
            "unified: NVIDIA A10 does not say (0.0)",
        ]
    );
}

#[test]
fn what_agrees_within_two_gigabytes_is_not() {
    for quiet in [
        "strix-halo-small-carveout",
        "strix-halo-half-gtt",
        "strix-halo-large-carveout",
        "strix-halo-carveout-64",
        "strix-halo-and-nvidia",
        "four-nvidia",
        "dgx-spark",
        "card-beside-igpu",
        "two-cards",
        "cpu-only",
        "small-8gb",
        "rehearsal",
        "broken",
    ] {
        assert_eq!(doubts(quiet), Vec::<String>::new(), "{quiet}");
    }
}

fn gpu(name: &str, n: usize) -> GpuReading {
    recorded(name).gpus.remove(n)
}

#[test]
fn what_the_sensors_say() {
    let halo = gpu("strix-halo-small-carveout", 0);
    assert_eq!((halo.name.as_str(), halo.pci.as_deref()), ("AMD Strix Halo", Some("0000:c4:00.0")));
    assert_eq!((halo.busy, halo.temperature), (Some(0.0), Some(41.0)));
    assert_eq!((halo.power_watts, halo.clock_mhz), (Some(9.124), Some(608)));
    assert_eq!((halo.vram_total, halo.gtt_used), (Some(Bytes::mb(512.0)), Some(Bytes::mb(768.0))));
    let card = gpu("card-beside-igpu", 0);
    assert_eq!((card.pool.0.as_str(), card.power_watts), ("gpu0", Some(21.0)), "power1_average");
    let screen = gpu("card-beside-igpu", 1);
    assert_eq!((screen.pool.0.as_str(), screen.power_watts), ("ram", None), "text is no figure");
    let nvidia = gpu("four-nvidia", 2);
    assert_eq!((nvidia.pool.0.as_str(), nvidia.pci.as_deref()), ("gpu2", Some("0000:81:00.0")));
    assert_eq!(nvidia.uuid.as_deref(), Some("GPU-00000002-0000-4000-8000-000000000002"));
    assert_eq!((nvidia.temperature, nvidia.power_watts), (Some(35.0), Some(9.82)));
    let spark = gpu("dgx-spark", 0);
    assert_eq!((spark.pool.0.as_str(), spark.vram_total), ("unified", None));
    for lying in [gpu("contradicting", 0), gpu("contradicting", 1)] {
        assert_eq!((lying.busy, lying.temperature), (None, None), "{}", lying.name);
        assert_eq!((lying.power_watts, lying.clock_mhz), (None, None), "{}", lying.name);
    }
}

#[test]
fn a_container_gets_nvidia_cards_by_their_own_name() {
    let machine = Machine::new(fixtures().join("four-nvidia"));
    assert!(machine.has_gpu());
    let cards: Vec<(String, String)> = machine
        .gpu_devices()
        .nvidia
        .into_iter()
        .map(|card| (card.pool.0, card.uuid.unwrap_or_default()))
        .collect();
    assert_eq!(cards.len(), 4);
    assert_eq!(cards[3], ("gpu3".to_owned(), "GPU-00000003-0000-4000-8000-000000000003".to_owned()));
    assert_eq!(machine.gpu(), None, "nothing is known of what works on it");
}
