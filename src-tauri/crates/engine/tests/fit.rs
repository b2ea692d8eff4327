//! What reaches servers of different versions: a flag that one lacks is never passed, and nothing is claimed in silence.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "what fails here fails the test")]

mod common;

use domain::Bytes;
use domain::GpuVendor;
use domain::pool::PoolId;
use domain::stack::{Agent, ClaimBasis, KnownParts, LoadMode, Runs};
use engine::backend::explain::explain;
use engine::backend::flags::{Dropped, FlagSet, fit, fit_launch, shown_env};
use engine::backend::{Host, NvidiaCard, Order};
use engine::container::images::ServerFacts;
use engine::container::spec;
use engine::shell::command_text;
use engine::{Launch, Program};
use proptest::prelude::*;

use common::{GIB, host, identity, launch, launch_with, mimir, thor, value};

/// Of every version here.
const VLLM: &str = "--host --port --served-model-name --api-key --revision --max-model-len --max-num-seqs \
                    --max-num-batched-tokens --dtype --quantization -q --kv-cache-dtype --tensor-parallel-size -tp \
                    --tool-call-parser --enable-auto-tool-choice --enforce-eager --no-enforce-eager \
                    --enable-prefix-caching --no-enable-prefix-caching --speculative-config --cpu-offload-gb \
                    --chat-template --reasoning-parser";

const LLAMA: &str = "--model -m --alias -a --host --port --ctx-size -c --parallel -np --batch-size -b --ubatch-size -ub \
                     --cache-type-k -ctk --cache-type-v -ctv --n-gpu-layers -ngl --device -dev --flash-attn -fa \
                     --jinja --metrics --slots --threads -t --model-draft -md";

fn set(version: &str, flags: &[&str]) -> FlagSet {
    let flags = flags.iter().flat_map(|f| f.split_whitespace()).map(str::to_owned).collect();
    FlagSet::new(ServerFacts { version: version.to_owned(), flags }).unwrap()
}

fn vllm(minor: u32) -> FlagSet {
    let version = format!("vLLM 0.{minor}.0");
    let own: &[&str] = match minor {
        // Before KV bytes could be given.
        0..=10 => &["--gpu-memory-utilization --swap-space --disable-log-requests --guided-decoding-backend"],
        11 => &["--gpu-memory-utilization --kv-cache-memory-bytes --swap-space --disable-log-requests \
             --enable-log-requests --guided-decoding-backend"],
        16 => &["--gpu-memory-utilization --kv-cache-memory-bytes --swap-space --disable-log-requests \
             --enable-log-requests --attention-backend"],
        _ => &[
            "--gpu-memory-utilization --device-memory-utilization --kv-cache-memory-bytes --enable-log-requests \
             --attention-backend",
        ],
    };
    set(&version, &[&[VLLM], own].concat())
}

fn llama(build: u32) -> FlagSet {
    let version = format!("llama.cpp b{build}");
    let own: &[&str] = match build {
        0..=6000 => &["--mmap --no-mmap --mlock --draft-max --device-draft -devd -ngld --gpu-layers-draft"],
        6001..=8000 => {
            &["--mmap --no-mmap --mlock --draft-max --cache-ram -cram --device-draft --gpu-layers-draft"]
        }
        8001..=10000 => {
            &["--mmap --no-mmap --mlock --direct-io --draft-max --cache-ram --kv-unified --device-draft \
             --gpu-layers-draft"]
        }
        _ => &[
            "--load-mode -lm --cache-ram --kv-unified --spec-draft-n-max --spec-draft-device --device-draft \
             --spec-draft-ngl --gpu-layers-draft",
        ],
    };
    set(&version, &[&[LLAMA], own].concat())
}

fn fitted(agent: &Agent, known: &FlagSet) -> (Launch, Vec<Dropped>) {
    let mut launch = launch(agent);
    let dropped = fit_launch(&mut launch, Some(known));
    (launch, dropped)
}

fn names(dropped: &[Dropped]) -> Vec<&str> {
    dropped.iter().map(|d| d.flag.as_str()).collect()
}

fn kernels() -> Agent {
    Agent { attention_backend: Some("TRITON_ATTN".to_owned()), ..thor() }
}

#[test]
fn each_version_of_vllm_is_told_the_same_in_its_own_words() {
    for (minor, kv, utilization, attention) in [
        (10, None, "0.19", false),
        (11, Some("12884901888"), "0.01", false),
        (16, Some("12884901888"), "0.01", true),
        (33, Some("12884901888"), "0.01", true),
    ] {
        let (launch, dropped) = fitted(&kernels(), &vllm(minor));
        assert_eq!(value(&launch, "--kv-cache-memory-bytes"), kv, "0.{minor}");
        assert_eq!(value(&launch, "--gpu-memory-utilization"), Some(utilization), "0.{minor}");
        assert_eq!(value(&launch, "--attention-backend").is_some(), attention);
        assert_eq!(launch.env.contains_key("VLLM_ATTENTION_BACKEND"), !attention, "0.{minor}");
        assert!(dropped.iter().all(|d| d.harmless && d.why.ends_with('.')), "{dropped:?}");
        let said = dropped.iter().find(|d| d.flag == "--kv-cache-memory-bytes");
        assert_eq!(said.is_some(), kv.is_none());
        assert!(said.is_none_or(|d| d.why.contains("0.19") && d.why.contains("whole claim")), "{said:?}");
    }
    // Should the older of the two names of the share go one day.
    let renamed = set("vLLM 0.40.0", &[VLLM, "--device-memory-utilization --kv-cache-memory-bytes"]);
    let (launch, dropped) = fitted(&thor(), &renamed);
    assert_eq!(value(&launch, "--device-memory-utilization"), Some("0.01"));
    assert_eq!(names(&dropped), ["--gpu-memory-utilization"]);
    let bare = set("vLLM 0.5.0", &[VLLM, "--device-memory-utilization"]);
    assert_eq!(value(&fitted(&thor(), &bare).0, "--device-memory-utilization"), Some("0.19"));
}

#[test]
fn flags_that_came_and_went_are_left_out_and_others_are_refused_by_name() {
    let args = |words: &str| words.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    let row = "--swap-space 4 --disable-log-requests --guided-decoding-backend xgrammar";
    let agent = Agent { args: args(row), ..thor() };
    for (minor, lost) in [
        (11, &[][..]),
        (16, &["--guided-decoding-backend"]),
        (33, &["--swap-space", "--disable-log-requests", "--guided-decoding-backend"]),
    ] {
        let (launch, dropped) = fitted(&agent, &vllm(minor));
        assert_eq!(names(&dropped), lost, "0.{minor}");
        assert!(dropped.iter().all(|d| d.harmless));
        for flag in lost {
            assert!(!launch.args.iter().any(|a| a == flag), "{flag}");
        }
        assert!(!launch.args.iter().any(|a| a == "xgrammar") || minor == 11);
        assert_eq!(value(&launch, "--max-num-seqs"), Some("4"), "another flag's 4 stays");
    }
    let agent = Agent { args: args("--fly-to-the-moon 3 --chat-template x"), ..thor() };
    let (launch, dropped) = fitted(&agent, &vllm(33));
    assert!(
        dropped.len() == 1 && !dropped[0].harmless && dropped[0].why.contains("vLLM 0.33.0"),
        "{dropped:?}"
    );
    assert_eq!(launch.args[launch.args.len() - 2..], ["--chat-template", "x"]);
    // What is not known to be missing is passed.
    let line = launch.args.clone();
    assert_eq!(fit(line.clone(), None), (line, Vec::new()));
}

#[test]
fn each_build_of_llama_cpp_reads_the_file_in_the_same_way() {
    for (build, mode, words, cache) in [
        (5000, LoadMode::None, "--no-mmap", false),
        (7000, LoadMode::None, "--no-mmap", true),
        (7000, LoadMode::Mlock, "--no-mmap --mlock", true),
        (9000, LoadMode::MmapMlock, "--mlock", true),
        (9000, LoadMode::Dio, "--direct-io", true),
        (9000, LoadMode::Mmap, "", true),
        (11434, LoadMode::None, "--load-mode none", true),
        (11434, LoadMode::MmapMlock, "--load-mode mmap+mlock", true),
    ] {
        let agent = Agent {
            load_mode: Some(mode),
            draft_model: Some("/d/x.gguf".to_owned()),
            draft_tokens: Some(4),
            ..mimir()
        };
        let known = llama(build);
        let (launch, dropped) = fitted(&agent, &known);
        let mode_words = ["--load-mode", "--no-mmap", "--mlock", "--mmap", "--direct-io"];
        let mut found: Vec<String> =
            launch.args.iter().filter(|a| mode_words.contains(&a.as_str())).cloned().collect();
        found.extend(value(&launch, "--load-mode").map(str::to_owned));
        assert_eq!(found.join(" "), words, "b{build} {mode:?}");
        assert_eq!(value(&launch, "--cache-ram").is_some(), cache);
        let drafted = value(&launch, "--spec-draft-n-max").or(value(&launch, "--draft-max"));
        assert_eq!(drafted, Some("4"), "b{build}");
        assert_eq!(value(&launch, "--flash-attn").is_some(), build >= 6325);
        assert!(dropped.iter().all(|d| d.harmless), "{dropped:?}");
    }
    // A build that cannot read past the page cache is not asked to, and the start is refused.
    let (_, dropped) = fitted(&Agent { load_mode: Some(LoadMode::Dio), ..mimir() }, &llama(7000));
    assert!(dropped.iter().any(|d| d.flag == "--load-mode" && !d.harmless), "{dropped:?}");
    let kept = Agent { cache_ram: Some(Bytes(GIB)), ..mimir() };
    let (_, dropped) = fitted(&kept, &llama(5000));
    assert!(dropped.iter().any(|d| d.flag == "--cache-ram" && !d.harmless), "asked for, so it is missed");
}

#[test]
fn every_flag_is_explained_with_its_numbers() {
    let agent = Agent { kv_bytes_per_token: Some(192 << 10), ..kernels() };
    let (host, identity) = (host(), identity());
    let order = order(&agent, &host, &identity);
    let all = explain(&order);
    let launch = launch(&agent);
    let mut passed: Vec<&str> =
        launch.args.iter().map(String::as_str).filter(|a| a.starts_with("--")).collect();
    passed.dedup();
    assert_eq!(all.iter().map(|e| e.flag.as_str()).collect::<Vec<_>>(), passed);
    assert!(
        all.iter().all(|e| e.why.ends_with('.') && e.why.starts_with(|c: char| !c.is_lowercase())),
        "{all:#?}"
    );
    let why = |flag: &str| all.iter().find(|e| e.flag == flag).unwrap().why.replace('\u{a0}', " ");
    assert_eq!(why("--kv-cache-memory-bytes"), "12.0 GB of KV cache: two contexts of 32K at 192 KB a token.");
    let agent = Agent {
        claim: ClaimBasis::Memory(Bytes(25 * GIB)),
        known_parts: Some(KnownParts { weights: Bytes(9 * GIB), overhead: Bytes(4 * GIB) }),
        tensor_parallel: 2,
        ..agent
    };
    let order = self::order(&agent, &host, &identity);
    let all = explain(&order);
    let why = &all.iter().find(|e| e.flag == "--kv-cache-memory-bytes").unwrap().why;
    assert!(why.contains("25.0\u{a0}GB leave after 9.0\u{a0}GB of weights"), "{why}");
    assert!(why.contains("on each of two devices"), "{why}");
    let mimir = mimir();
    let order = self::order(&mimir, &host, &identity);
    let flags: Vec<String> = explain(&order).into_iter().map(|e| e.flag).collect();
    let launch = self::launch(&mimir);
    assert_eq!(flags, launch.args.iter().filter(|a| a.starts_with("--")).cloned().collect::<Vec<_>>());
    // One that cannot be launched has its reason elsewhere.
    let broken = Agent { args: vec!["--port".to_owned()], ..thor() };
    assert!(explain(&self::order(&broken, &host, &identity)).is_empty());
}

fn order<'a>(agent: &'a Agent, host: &'a Host, identity: &'a engine::Identity) -> Order<'a> {
    Order {
        agent,
        identity,
        host,
        key: domain::secret::Secret::new("the-key-of-this-start"),
        revision: "r".to_owned(),
        reserved: Vec::new(),
        rehearsal: None,
        gguf: None,
    }
}

#[test]
fn a_command_can_be_copied_and_holds_no_secret() {
    let mut agent = thor();
    agent.env.insert("MY_API_TOKEN".to_owned(), "hush".to_owned());
    agent.args = vec!["--chat-template".to_owned(), "it's {{ x }}; $(id)".to_owned()];
    let launch = launch(&agent);
    for engine in ["docker", "podman", "container"] {
        let text = command_text(&launch, engine);
        assert!(!text.contains("the-key-of-this-start") && !text.contains("hush"), "{text}");
        assert!(text.contains("'VLLM_API_KEY=****'") && text.contains("'MY_API_TOKEN=****'"), "{text}");
        assert!(text.contains(r"'it'\''s {{ x }}; $(id)'"), "{text}");
        assert!(text.contains("--entrypoint vllm") && text.contains("-p 127.0.0.1:8001:8001"), "{text}");
        assert_eq!(text.starts_with("podman"), engine == "podman");
        assert_eq!(text.contains("keep-groups"), engine == "podman");
    }
    assert_eq!(shown_env(&launch)["VLLM_API_KEY"], None);
    assert_eq!(shown_env(&launch)["HF_HUB_OFFLINE"].as_deref(), Some("1"));
    let text = command_text(&self::launch(&mimir()), "process");
    assert!(text.contains("LLAMA_API_KEY='****'") && text.contains("/opt/llama/llama-server"), "{text}");
}

#[test]
fn nvidia_cards_are_asked_of_the_engine_and_amds_chosen_by_a_variable() {
    let nvidia = Host { gpu_vendor: Some(GpuVendor::Nvidia), ..host() };
    let on = |agent: &Agent, host: &Host| launch_with(agent, host, None).unwrap();
    let pools = |names: &[&str]| names.iter().map(|n| PoolId::new(*n)).collect::<Vec<_>>();
    for (devices, parts, wanted) in [
        (&[][..], 1, &["0"][..]),
        (&[], 4, &["0", "1", "2", "3"]),
        (&["gpu1"], 1, &["1"]),
        (&["gpu2", "gpu3"], 2, &["2", "3"]),
    ] {
        let agent = Agent { devices: pools(devices), tensor_parallel: parts, ..thor() };
        let launch = on(&agent, &nvidia);
        let body = spec(&launch).unwrap().host_config.unwrap();
        let request = &body.device_requests.unwrap()[0];
        assert_eq!(request.driver.as_deref(), Some("nvidia"));
        assert_eq!(request.device_ids.as_deref().unwrap(), wanted);
        assert_eq!(request.capabilities.as_deref().unwrap(), [["gpu"]]);
        assert!(body.devices.unwrap().is_empty() && body.group_add.unwrap().is_empty());
        assert_eq!(body.security_opt.unwrap(), ["no-new-privileges"], "NVIDIA needs nothing opened");
        assert!(
            !launch.env.contains_key("VLLM_ROCM_USE_AITER")
                && !launch.env.contains_key("HIP_VISIBLE_DEVICES")
        );
        let text = command_text(&launch, "docker");
        assert!(text.contains(&format!("--gpus '\"device={}\"'", wanted.join(","))), "{text}");
        assert!(command_text(&launch, "podman").contains(&format!("--device nvidia.com/gpu={}", wanted[0])));

        let launch = on(&agent, &host());
        let hip = launch.env.get("HIP_VISIBLE_DEVICES").map(String::as_str);
        assert_eq!(hip, (!devices.is_empty() || parts > 1).then(|| wanted.join(",")).as_deref());
        assert!(
            !launch.env.contains_key("ROCR_VISIBLE_DEVICES"),
            "the two would be applied one after the other"
        );
        assert_eq!(spec(&launch).unwrap().host_config.unwrap().device_requests, None);
    }
    // By their UUIDs where they are known, and by their pools beside a card of AMD's.
    let card = |pool: &str, uuid: Option<&str>| NvidiaCard {
        pool: PoolId::new(pool),
        uuid: uuid.map(str::to_owned),
    };
    let mixed = Host {
        gpu_vendor: Some(GpuVendor::Amd),
        nvidia: vec![card("gpu1", Some("GPU-a")), card("gpu3", None)],
        ..host()
    };
    let of = |devices: &[&str]| on(&Agent { devices: pools(devices), tensor_parallel: 1, ..thor() }, &mixed);
    let asked = |launch: &Launch| match &launch.program {
        Program::Image { nvidia, .. } => nvidia.clone(),
        Program::Local { .. } => None,
    };
    assert_eq!(asked(&of(&["gpu1"])), Some(vec!["GPU-a".to_owned()]));
    assert_eq!(asked(&of(&["gpu3"])), Some(vec!["1".to_owned()]), "the second of NVIDIA's");
    assert_eq!(asked(&of(&["gpu2"])), None);
    assert_eq!(of(&["gpu2"]).env["HIP_VISIBLE_DEVICES"], "1", "the second of AMD's");
    assert_eq!(asked(&of(&[])), None, "the first GPU is AMD's");
    let built_in =
        Host { gpu_vendor: Some(GpuVendor::Nvidia), nvidia: vec![card("unified", Some("GPU-b"))], ..host() };
    assert_eq!(asked(&on(&thor(), &built_in)), Some(vec!["GPU-b".to_owned()]));
    // On the processor, and as a program of this machine.
    let image = Runs::Container { image: "llama:1".to_owned(), host_ipc: false };
    let cpu = on(&Agent { gpu_layers: Some(0), runs: image, ..mimir() }, &nvidia);
    assert!(matches!(cpu.program, Program::Image { nvidia: None, .. }));
    let local = Agent { gpu_layers: Some(99), devices: pools(&["gpu1"]), ..mimir() };
    assert_eq!(on(&local, &nvidia).env["CUDA_VISIBLE_DEVICES"], "1");
    assert_eq!(on(&local, &host()).env["GGML_VK_VISIBLE_DEVICES"], "1");
    // A pool that is no card chooses none.
    let unified = Agent { devices: pools(&["unified"]), ..thor() };
    assert!(!on(&unified, &host()).env.contains_key("HIP_VISIBLE_DEVICES"));
}

fn any_claim() -> impl Strategy<Value = (ClaimBasis, Option<KnownParts>)> {
    let size = 1u64..400 * GIB;
    let parts =
        (size.clone(), size.clone()).prop_map(|(w, o)| KnownParts { weights: Bytes(w), overhead: Bytes(o) });
    let claim = prop_oneof![
        (size.clone(), size.clone(), size.clone()).prop_map(|(w, k, o)| ClaimBasis::KvCache {
            weights: Bytes(w),
            kv_cache: Bytes(k),
            overhead: Bytes(o)
        }),
        size.prop_map(|m| ClaimBasis::Memory(Bytes(m))),
        (0.001f64..=1.0).prop_map(ClaimBasis::Share),
    ];
    (claim, prop::option::of(parts))
}

fn any_flag() -> impl Strategy<Value = String> {
    let all: Vec<&str> = [VLLM, LLAMA]
        .iter()
        .flat_map(|l| l.split_whitespace())
        .chain([
            "--kv-cache-memory-bytes",
            "--gpu-memory-utilization",
            "--device-memory-utilization",
            "--swap-space",
            "--attention-backend",
            "--load-mode",
            "--no-mmap",
            "--mlock",
            "--mmap",
            "--cache-ram",
            "--draft-max",
            "--spec-draft-n-max",
            "--device-draft",
            "--gpu-layers-draft",
            "--disable-log-requests",
        ])
        .collect();
    prop::sample::select(all).prop_map(str::to_owned)
}

proptest! {
    #[test]
    fn kv_bytes_of_all_devices_are_never_above_the_claim(
        (claim, known_parts) in any_claim(),
        parts in 1u32..9,
        capacity in 0u64..300 * GIB,
        per_token in prop::option::of(1u64..1 << 20),
    ) {
        let agent = Agent { claim, known_parts, tensor_parallel: parts, kv_bytes_per_token: per_token, ..thor() };
        let host = Host { capacity, ..host() };
        if let Ok(launch) = launch_with(&agent, &host, None) {
            let whole = u128::from(agent.claim_in(Bytes(capacity)).0);
            // A share is of each device's own capacity.
            let whole = if matches!(claim, ClaimBasis::Share(_)) { whole * u128::from(parts) } else { whole };
            if let Some(bytes) = value(&launch, "--kv-cache-memory-bytes") {
                let bytes: u128 = bytes.parse().unwrap();
                prop_assert!(bytes * u128::from(parts) <= whole, "{bytes} x {parts} of {whole}");
                prop_assert_eq!(value(&launch, "--gpu-memory-utilization"), Some("0.01"));
                if let (ClaimBasis::Memory(_) | ClaimBasis::Share(_), Some(known)) = (claim, known_parts) {
                    let fixed = u128::from((known.weights + known.overhead).0);
                    prop_assert!(bytes * u128::from(parts) + fixed <= whole + u128::from(parts));
                }
            } else {
                let share: f64 = value(&launch, "--gpu-memory-utilization").unwrap().parse().unwrap();
                prop_assert!((0.01..=0.95).contains(&share));
            }
        }
    }

    #[test]
    fn no_flag_that_a_version_lacks_is_ever_passed(
        known in prop::collection::btree_set(any_flag(), 1..60),
        own in prop::collection::vec(any_flag(), 0..4),
        version in prop_oneof![
            Just("vLLM 0.11.0".to_owned()),
            Just("vLLM 0.33.0".to_owned()),
            (1u32..20_000).prop_map(|b| format!("llama.cpp b{b}")),
        ],
        mode in prop::sample::select(LoadMode::ALL.to_vec()),
    ) {
        let known = FlagSet::new(ServerFacts { version: version.clone(), flags: known.into_iter().collect() }).unwrap();
        let agent = if version.starts_with("vLLM") { kernels() } else { Agent { load_mode: Some(mode), ..mimir() } };
        let mut launch = launch(&agent);
        launch.args.extend(own);
        let before = launch.args.clone();
        let dropped = fit_launch(&mut launch, Some(&known));
        for word in launch.args.iter().filter(|a| a.starts_with('-')) {
            prop_assert!(known.takes(word), "{version} is passed {word}");
        }
        // What is missing is named, each with its sentence.
        for word in before.iter().filter(|a| a.starts_with('-') && !known.takes(a)) {
            prop_assert!(dropped.iter().any(|d| d.flag == *word && !d.why.is_empty()), "{word} went in silence");
        }
    }

    #[test]
    fn any_line_is_fitted(line in prop::collection::vec("\\PC{0,12}", 0..12)) {
        let (kept, _) = fit(line, Some(&vllm(33)));
        prop_assert!(kept.iter().take_while(|w| *w != "--").filter(|w| w.starts_with("--")).all(|w| vllm(33).takes(w)));
    }
}
