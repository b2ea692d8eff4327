//! The adapter to NVIDIA's library, against a stand-in for that library.
//!
//! A library is opened once in a process and found by the path that the process was started with, so each case runs
//! as a process of its own: this test program, told to run one ignored test.

#![allow(clippy::unwrap_used, reason = "a test may fail")]

use std::path::Path;
use std::process::Command;

use domain::Bytes;
use domain::pool::PoolKind;
use hardware::{Ask, Machine, NvmlMemory, headroom};

/// Runs an ignored test of this file where the loader looks into `libraries` first.
fn in_a_process_of_its_own(test: &str, libraries: &Path) {
    let done = Command::new(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", test, "--nocapture"])
        .env("LD_LIBRARY_PATH", libraries)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&done.stdout);
    assert!(done.status.success(), "{said}{}", String::from_utf8_lossy(&done.stderr));
    assert!(said.contains("1 passed"), "{test} did not run: {said}");
}

#[test]
fn a_library_that_answers() {
    let folder = tempfile::tempdir().unwrap();
    let built = Command::new("cc")
        .args(["-shared", "-fPIC", "-o"])
        .arg(folder.path().join("libnvidia-ml.so.1"))
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/nvml_library.c"))
        .status()
        .unwrap();
    assert!(built.success());
    in_a_process_of_its_own("cards_of_the_stand_in", folder.path());
}

#[test]
fn a_library_that_is_none() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("libnvidia-ml.so.1"), "not a library").unwrap();
    in_a_process_of_its_own("no_cards", folder.path());
}

#[test]
fn a_library_that_answers_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let source = folder.path().join("empty.c");
    std::fs::write(&source, "int nvmlInit_v2(void) { return 9; }\n").unwrap();
    let library = folder.path().join("libnvidia-ml.so.1");
    let built =
        Command::new("cc").args(["-shared", "-fPIC", "-o"]).arg(&library).arg(&source).status().unwrap();
    assert!(built.success());
    in_a_process_of_its_own("no_cards", folder.path());
}

#[test]
#[ignore = "run by the tests above"]
fn cards_of_the_stand_in() {
    let machine = Machine::new("/");
    let nvml = machine.nvml();
    let first = nvml.devices(Ask::Everything);
    let seen: Vec<(&str, Option<&str>)> = first.iter().map(|d| (d.name.as_str(), d.pci.as_deref())).collect();
    assert_eq!(
        seen,
        [
            ("NVIDIA A2", Some("0000:02:00.0")),
            ("NVIDIA T4", Some("0000:81:00.0")),
            ("NVIDIA GB10", Some("000f:01:00.0")),
        ]
    );
    let gb = |n: f64| Bytes::gb(n);
    let memory = NvmlMemory::Known { total: gb(16.0), free: gb(13.5), used: gb(2.0), reserved: gb(0.5) };
    assert_eq!(
        (first[0].memory, first[1].memory, first[2].memory),
        (memory, memory, NvmlMemory::Unsupported)
    );
    assert_eq!((first[0].busy, first[2].busy), (Some(50), None));
    assert_eq!((first[0].temperature, first[0].clock_mhz), (Some(41), Some(210)));
    assert_eq!((first[0].power_milliwatts, first[0].uuid.as_deref()), (Some(8500), Some("GPU-2")));
    assert!(first.iter().all(|d| !d.lost && !d.divided));

    let later = machine.read();
    let ids: Vec<String> = later.pools.iter().map(|p| p.id.to_string()).collect();
    assert_eq!(ids, ["gpu0", "gpu1", "unified"], "the lost card keeps its place");
    assert_eq!(headroom(&later, &later.pools[0].id, Bytes::ZERO), Some(gb(13.5)));
    assert_eq!(headroom(&later, &later.pools[1].id, Bytes::ZERO), Some(Bytes::ZERO));
    assert_eq!((later.pools[2].kind, later.pools[2].capacity), (PoolKind::Unified, later.memory.total));
    assert!(later.doubts.iter().any(|d| d.message.starts_with("NVIDIA T4 no longer answers")));
    assert_eq!((later.gpus[1].temperature, later.gpus[0].busy), (None, Some(0.5)));

    let processes = nvml.processes();
    let named: Vec<(u32, Option<Bytes>)> =
        processes[0].as_ref().unwrap().iter().map(|p| (p.pid, p.memory)).collect();
    assert_eq!(named, [(11, Some(gb(1.0))), (12, None)], "once, though it is in both lists");
    assert_eq!(processes[1], None, "a lost card names nobody");
    assert_eq!(processes[2], Some(vec![]));
}

#[test]
#[ignore = "run by the tests above"]
fn no_cards() {
    let machine = Machine::new("/");
    for _ in 0..2 {
        assert!(machine.nvml().devices(Ask::Everything).is_empty());
        assert!(machine.read().gpus.iter().all(|g| g.uuid.is_none()));
    }
}
