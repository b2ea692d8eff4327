//! The whole way on recorded machines, on a home that is full of secrets, and with an engine that hangs.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use api::shapes::doctor::{Doctor, DoctorStatus};
use tempfile::TempDir;

use super::*;

fn options(home: &TempDir, more: &[(&str, &str)]) -> Options {
    let folder = |name: &str| home.path().join(name).display().to_string();
    let mut env: BTreeMap<String, String> = [
        ("HOME", folder("home")),
        ("XDG_CONFIG_HOME", folder("config")),
        ("XDG_DATA_HOME", folder("data")),
        ("XDG_STATE_HOME", folder("state")),
        ("XDG_CACHE_HOME", folder("cache")),
        ("XDG_RUNTIME_DIR", folder("run")),
        ("DOCKER_HOST", format!("unix://{}", folder("none.sock"))),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .into();
    env.extend(more.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
    let get = |name: &str| env.get(name).map(OsString::from);
    let paths = Paths::from_env(&get, 1000, false).unwrap();
    Options { paths, rehearsal: false, env, exe: PathBuf::from("/none"), after_login: false, hub_token: None }
}

fn fixture(name: &str) -> String {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../hardware/fixtures").join(name).display().to_string()
}

fn ids(doctor: &Doctor, status: DoctorStatus) -> Vec<&str> {
    doctor.checks.iter().filter(|c| c.status == status).map(|c| c.id.as_str()).collect()
}

const OTHERS: [&str; 4] = ["profile.heimdall", "profile.loki", "profile.frigga", "profile.odin"];

/// Fixture, what must be mended, what is advised beside profiles, which profiles are advised about.
type Expected<'a> = (&'a str, &'a [&'a str], &'a [&'a str], &'a [&'a str]);

#[tokio::test]
async fn each_recorded_machine_has_its_verdicts() {
    let home = tempfile::tempdir().unwrap();
    let base = "profile.standard";
    let cases: &[Expected<'_>] = &[
        ("strix-halo-quiet", &[], &[], &[]),
        ("strix-halo-35-used", &[], &[], &["profile.odin"]),
        ("strix-halo-half-gtt", &["gtt_cap", base], &[], &OTHERS),
        ("strix-halo-large-carveout", &[], &["carve_out", "memory_limit"], &[]),
        ("small-8gb", &[base], &["memory_limit"], &OTHERS),
        ("cpu-only", &[base], &["memory_limit"], &OTHERS),
        ("four-cards", &[base], &["memory_limit"], &OTHERS),
        ("two-cards", &[base], &["memory_limit"], &OTHERS),
        ("four-nvidia", &[base], &["memory_limit"], &OTHERS),
    ];
    for (name, fails, warns, profiles) in cases {
        let doctor = offline_doctor(&options(&home, &[("ASGARD_SYSROOT", &fixture(name))])).await;
        assert_eq!(ids(&doctor, DoctorStatus::Fail), *fails, "{name}");
        let advised: Vec<&str> = warns.iter().chain(profiles.iter()).copied().collect();
        assert_eq!(ids(&doctor, DoctorStatus::Warn), advised, "{name}");
        // What is of this machine says nothing about the recorded one.
        for id in ["engine", "images", "models", "hub_cache", "ports", "disk_models", "tray"] {
            let check = doctor.checks.iter().find(|c| c.id == id).unwrap();
            assert_eq!(check.status, DoctorStatus::Skip, "{name}: {check:?}");
        }
    }
    let broken = offline_doctor(&options(&home, &[("ASGARD_SYSROOT", &fixture("broken"))])).await;
    assert_eq!(ids(&broken, DoctorStatus::Fail), ["memory_limit"]);
}

/// Puts files below another machine's root.
fn machine(files: &[(&str, &str)]) -> TempDir {
    let root = tempfile::tempdir().unwrap();
    for (path, text) in files {
        let path = root.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    root
}

#[tokio::test]
async fn what_is_known_to_be_bad_is_found_with_its_source() {
    let home = tempfile::tempdir().unwrap();
    let card = "sys/class/drm/card0/device";
    let at = |name: &str| format!("{card}/{name}");
    let (vendor, device, vram, gtt, mes) = (
        at("vendor"),
        at("device"),
        at("mem_info_vram_total"),
        at("mem_info_gtt_total"),
        at("fw_version/mes_fw_version"),
    );
    let root = machine(&[
        ("proc/meminfo", "MemTotal: 131072000 kB\nMemAvailable: 120000000 kB\nSwapTotal: 0 kB\n"),
        ("proc/swaps", "Filename Type Size Used Priority\n"),
        ("proc/cmdline", "quiet amd_iommu=pt amdgpu.gttsize=126976 ttm.pages_limit=32505856\n"),
        ("proc/sys/kernel/osrelease", "6.14.0-37-generic\n"),
        ("proc/sys/vm/swappiness", "60\n"),
        ("proc/1/comm", "systemd\n"),
        ("etc/os-release", "ID=ubuntu\nID_LIKE=debian\n"),
        ("var/lib/dpkg/status", "Package: linux-firmware\nVersion: 20251125-0ubuntu1\n"),
        ("dev/null", ""),
        (&vendor, "0x1002\n"),
        (&device, "0x1586\n"),
        (&vram, "536870912\n"),
        (&gtt, "133143986176\n"),
        (&mes, "0x00000083\n"),
    ]);
    let doctor = offline_doctor(&options(&home, &[("ASGARD_SYSROOT", root.path().to_str().unwrap())])).await;
    let check = |id: &str| doctor.checks.iter().find(|c| c.id == id).unwrap();
    assert_eq!(ids(&doctor, DoctorStatus::Fail), ["firmware", "kfd", "render_nodes"], "{doctor:#?}");
    assert_eq!(
        ids(&doctor, DoctorStatus::Warn),
        ["swap", "early_oom", "kernel_parameters", "iommu", "kernel"],
        "{doctor:#?}"
    );
    assert!(check("firmware").found.contains("20251125") && check("firmware").found.contains("0x83"));
    assert!(check("firmware").why.contains("2026-01"));
    let parameters = check("kernel_parameters").fix.as_deref().unwrap();
    assert!(parameters.contains("update-grub") && parameters.contains("gttsize"), "{parameters}");
    assert!(check("early_oom").fix.as_deref().unwrap().starts_with("sudo apt install earlyoom"));
    assert_eq!(check("swappiness").status, DoctorStatus::Skip, "without swap it means nothing");
}

#[tokio::test]
async fn nothing_hangs_when_the_engine_does() {
    let home = tempfile::tempdir().unwrap();
    let socket = home.path().join("mute.sock");
    // It takes connections and never answers one.
    let mute = std::os::unix::net::UnixListener::bind(&socket).unwrap();
    let options = options(&home, &[("DOCKER_HOST", &format!("unix://{}", socket.display()))]);
    let begun = Instant::now();
    let doctor = offline_doctor(&options).await;
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    let engine = doctor.checks.iter().find(|c| c.id == "engine").unwrap();
    assert!(matches!(engine.status, DoctorStatus::Fail | DoctorStatus::Skip), "{engine:?}");
    drop(mute);
}

#[tokio::test]
async fn a_report_tells_of_the_machine_and_not_of_its_owner() {
    let root = tempfile::tempdir().unwrap();
    let options = options(&root, &[("ASGARD_SYSROOT", &fixture("strix-halo-quiet"))]);
    let put = |path: &Path, text: &str| {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    };
    let stack = store::stack_file::shipped_text(1)
        + "\n[agents.spy]\nbackend = \"vllm\"\nmodel = \"Qwen/Qwen2.5-3B-Instruct-AWQ\"\nport = 8099\nkv_cache = \"1 GB\"\ncontext = 4096\n\
           role = \"Ada's diary\" # hf_inTheRemark1234\nargs = [\"--tool-server-key\", \"sesame-open\"]\nenv = { EXTRA = \"hf_inTheStack1234\" }\n";
    put(&options.paths.stack_file(), &stack);
    put(
        &options.paths.log_file(),
        "INFO adalovelace began at gondorhost\nINFO reading /home/adalovelace/secret-plans/x.gguf\n\
         WARN refused: Authorization: Bearer abcdef.ghijkl\nWARN HF_TOKEN=hf_inTheLog12345\nINFO sesame-open again\nINFO own-token-4711\n",
    );
    put(&options.paths.hub.parent().unwrap().join("token"), "hf_inTheFile12345\n");
    let place = offline(&options).await;
    let facts = facts(&place).await;
    let variables = [
        ("USER", "adalovelace"),
        ("HOME", "/home/adalovelace"),
        ("HOSTNAME", "gondorhost"),
        ("MY_TOKEN", "own-token-4711"),
    ];
    let variables = variables.map(|(name, value)| (OsString::from(name), OsString::from(value)));
    let report = report::of(&place, &facts, variables.into_iter().collect()).await;
    for gone in
        ["hf_", "Ada", "adalovelace", "gondorhost", "sesame-open", "abcdef", "own-token", "diary", "/home/"]
    {
        assert!(!report.text.contains(gone), "{gone} is in\n{}", report.text);
    }
    for kept in [
        "# Asgard report",
        "| gtt_cap | pass |",
        "Unified memory",
        "| standard | yes |",
        "[agents.thor]",
        "--tool-server-key",
        "INFO NAME began at NAME",
        "secret-plans",
    ] {
        assert!(report.text.contains(kept), "{kept} is not in\n{}", report.text);
    }
    assert!(report.name.starts_with("asgard-report-"));
}
