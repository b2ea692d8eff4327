//! What agents are started with: the shipped stack's containers as reviewed snapshots, and the rules around them.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "what fails here fails the test")]

mod common;

use std::collections::BTreeMap;
use std::path::PathBuf;

use domain::Bytes;
use domain::secret::Secret;
use domain::stack::{Agent, ClaimBasis, KnownParts, LoadMode, Runs};
use engine::backend::{Host, Order, Rehearsal, StandIn, backend};
use engine::container::{container_name, spec};
use engine::{ErrorKind, Program};

use common::{GIB, IMAGE, NORSE, host, identity, launch, launch_with, mimir, norse, refusal, thor, value};

#[test]
fn the_container_of_each_agent_of_norse_is_as_reviewed() {
    for row in NORSE {
        let launch = launch(&norse(row));
        let name = container_name(&launch.agent, &launch.identity);
        // Through a value, whose maps are sorted.
        let body = serde_json::to_value(spec(&launch).unwrap()).unwrap();
        let text = serde_json::to_string_pretty(&sorted(body)).unwrap();
        insta::assert_snapshot!(row.0, format!("{name}\n{text}"));
    }
}

fn sorted(value: serde_json::Value) -> serde_json::Value {
    match value {
        serde_json::Value::Object(map) => {
            let mut entries: Vec<_> = map.into_iter().map(|(k, v)| (k, sorted(v))).collect();
            entries.sort_by(|a, b| a.0.cmp(&b.0));
            entries.into_iter().collect()
        }
        serde_json::Value::Array(all) => all.into_iter().map(sorted).collect(),
        other => other,
    }
}

#[test]
fn nothing_of_a_container_opens_the_machine() {
    let launch = launch(&thor());
    let body = spec(&launch).unwrap();
    let config = body.host_config.unwrap();
    assert_eq!(config.privileged, Some(false));
    assert_eq!(config.ipc_mode.as_deref(), Some("private"));
    assert_eq!(config.shm_size, Some(16 << 30));
    assert_eq!(config.init, Some(true));
    assert!(config.security_opt.unwrap().contains(&"no-new-privileges".to_owned()));
    assert!(config.network_mode.is_none() && config.cap_add.is_none() && config.pid_mode.is_none());
    let bindings = config.port_bindings.unwrap();
    assert!(bindings.values().flatten().flatten().all(|b| b.host_ip.as_deref() == Some("127.0.0.1")));
    let hub: Vec<_> = config
        .mounts
        .unwrap()
        .into_iter()
        .filter(|m| m.source.as_deref().unwrap().contains("huggingface"))
        .collect();
    assert_eq!(hub.len(), 1);
    assert!(hub[0].source.as_deref().unwrap().ends_with("/hub") && hub[0].read_only == Some(true));
    assert!(body.env.unwrap().iter().all(|e| !e.contains("TOKEN")));
    assert!(body.labels.unwrap().values().all(|v| !v.contains("the-key")), "labels are shown to everybody");
}

#[test]
fn host_ipc_is_used_only_where_it_is_asked_for_and_no_gpu_needs_no_rights() {
    let mut agent = thor();
    agent.runs = Runs::Container { image: IMAGE.to_owned(), host_ipc: true };
    let config = spec(&launch(&agent)).unwrap().host_config.unwrap();
    assert_eq!((config.ipc_mode.as_deref(), config.shm_size), (Some("host"), None));
    let bare = Host { devices: Vec::new(), ..host() };
    let config = spec(&launch_with(&thor(), &bare, None).unwrap()).unwrap().host_config.unwrap();
    assert_eq!(config.security_opt.unwrap(), ["no-new-privileges"]);
    assert!(config.group_add.unwrap().is_empty());
}

#[test]
fn memory_is_decided_by_the_claim() {
    let kv =
        |launch: &engine::Launch| value(launch, "--kv-cache-memory-bytes").map(|v| v.parse::<u64>().unwrap());
    let exact = launch(&thor());
    assert_eq!(kv(&exact), Some(12 * GIB));
    assert_eq!(value(&exact, "--gpu-memory-utilization"), Some("0.01"));
    // The same on a machine whose total is believed to be another, or is not known.
    for capacity in [0, 512 << 20, 62 * GIB, 124 * GIB] {
        let other = launch_with(&thor(), &Host { capacity, ..host() }, None).unwrap();
        assert_eq!(other.args, exact.args);
    }
    // Nothing is known of the weights: a share, rounded down.
    for (claim, utilization) in [
        (ClaimBasis::Share(0.5), "0.50"),
        (ClaimBasis::Memory(Bytes(32 * GIB)), "0.25"),
        (ClaimBasis::Memory(Bytes(500 * GIB)), "0.95"),
    ] {
        let launch = self::launch(&Agent { claim, ..thor() });
        assert_eq!(kv(&launch), None);
        assert_eq!(value(&launch, "--gpu-memory-utilization"), Some(utilization));
    }
    let unknown = Host { capacity: 0, ..host() };
    assert!(launch_with(&Agent { claim: ClaimBasis::Memory(Bytes(GIB)), ..thor() }, &unknown, None).is_err());
    // With the weights known, what they leave is given in bytes.
    let known_parts = Some(KnownParts { weights: Bytes(9 * GIB), overhead: Bytes(4 * GIB) });
    for (claim, bytes) in [
        (ClaimBasis::Memory(Bytes(25 * GIB)), Some(12 * GIB)),
        (ClaimBasis::Share(0.25), Some(19 * GIB)),
        // One context of 32K takes 6 GB: less than that is left to the server's own reckoning.
        (ClaimBasis::Memory(Bytes(18 * GIB)), None),
        (ClaimBasis::Memory(Bytes(12 * GIB)), None),
    ] {
        let agent = Agent { claim, known_parts, kv_bytes_per_token: Some(192 << 10), ..thor() };
        let launch = self::launch(&agent);
        assert_eq!(kv(&launch), bytes, "{claim:?}");
        assert_eq!(value(&launch, "--gpu-memory-utilization") == Some("0.01"), bytes.is_some());
    }
    let two = self::launch(&Agent { tensor_parallel: 2, ..thor() });
    assert_eq!(value(&two, "--tensor-parallel-size"), Some("2"));
    assert_eq!(kv(&two), Some(6 * GIB));
}

#[test]
fn what_asgard_sets_cannot_be_set_twice() {
    for (argument, wants) in [
        ("--max-model-len", "`context`"),
        ("--max-model-len=4096", "`context`"),
        ("--max_model_len", "`context`"),
        ("--max-model", "`context`"),
        ("--gpu-memory-utilization=0.9", "`share`"),
        ("--device-memory-utilization", "`share`"),
        ("--gpu-mem", "`share`"),
        ("--kv-cache-memory=5", "`kv_cache`"),
        ("--port", "`port`"),
        ("-tp", "`tensor_parallel`"),
        ("-q=awq", "`quantization`"),
        ("--served-model-name", "answers to its name"),
        ("--api-key=x", "fresh key"),
        ("--host=0.0.0.0", "127.0.0.1 only"),
        ("--tool-call-parser", "`tool_parser`"),
        ("--max-num-batched-tokens=8192", "`batched_tokens`"),
        ("--max_num_batched_tokens", "`batched_tokens`"),
        ("--enforce-eager", "`eager`"),
        ("--no-enable-prefix-caching", "`prefix_caching`"),
        ("--attention-backend=TRITON_ATTN", "`attention_backend`"),
        ("--num-gpu-blocks-override", "`kv_cache`"),
        ("-tp4", "`tensor_parallel`"),
        ("-qawq", "`quantization`"),
        ("-sc", "`draft_model`"),
        ("-pp=2", "divided"),
        ("-dp2", "divided"),
        ("--kv-offloading-size=8", "no claim"),
        ("--config", "file of settings"),
    ] {
        let error = refusal(&Agent { args: vec![argument.to_owned()], ..thor() });
        let flag = argument.split('=').next().unwrap();
        assert!(error.message.contains(flag) && error.next.contains(wants), "{argument}: {error:?}");
    }
    for (argument, wants) in [
        ("-c", "`context`"),
        ("-np", "`sequences`"),
        ("--model", "`model`"),
        ("-ctk", "`kv_dtype`"),
        ("-ub", "`batched_tokens`"),
        ("--cache-ram", "`cache_ram`"),
        ("-lm", "`load_mode`"),
        ("--no-mmap", "`load_mode`"),
        ("--mlock", "`load_mode`"),
        ("--draft-max", "`draft_tokens`"),
        ("-kvu", "context of its own"),
        ("--swa-full", "window"),
        ("--fit", "planned"),
        ("--models-dir", "one model"),
    ] {
        let error = refusal(&Agent { args: vec![argument.to_owned()], ..mimir() });
        assert!(error.message.contains(argument) && error.next.contains(wants), "{argument}: {error:?}");
    }
    // Where layers go may be said by either, and not by both.
    for argument in ["-ngl", "--device"] {
        let agent = Agent { args: vec![argument.to_owned(), "none".to_owned()], ..mimir() };
        assert!(launch_with(&agent, &host(), None).is_ok());
        for gpu_layers in [Some(0), Some(4)] {
            let error = refusal(&Agent { gpu_layers, ..agent.clone() });
            assert!(error.next.contains("`gpu_layers`"), "{error:?}");
        }
    }
    let which = ["--device", "Vulkan1"].map(str::to_owned).into();
    let chosen = launch(&Agent { args: which, gpu_layers: Some(20), ..mimir() });
    assert_eq!((value(&chosen, "--device"), value(&chosen, "--n-gpu-layers")), (Some("Vulkan1"), Some("20")));
    // What has no key is Asgard's default, and the user's word counts.
    let launch = self::launch(&Agent { args: ["-fa", "on"].map(str::to_owned).into(), ..mimir() });
    assert_eq!((value(&launch, "-fa"), value(&launch, "--flash-attn")), (Some("on"), None));
}

#[test]
fn the_environment_is_asgards_first() {
    for name in ["HF_HUB_OFFLINE", "VLLM_API_KEY", "HF_TOKEN", "ASGARD_INSTANCE"] {
        let env = BTreeMap::from([(name.to_owned(), "x".to_owned())]);
        assert!(refusal(&Agent { env, ..thor() }).message.contains(name));
    }
    for (agent, name, wants) in [
        (thor(), "VLLM_ATTENTION_BACKEND", "`attention_backend`"),
        (thor(), "HIP_VISIBLE_DEVICES", "`devices`"),
        (thor(), "VLLM_ALLOW_LONG_MAX_MODEL_LEN", "`context`"),
        (mimir(), "LLAMA_ARG_CTX_SIZE", "`context`"),
        (mimir(), "LLAMA_ARG_N_GPU_LAYERS", "`gpu_layers`"),
        (mimir(), "LLAMA_ARG_CACHE_RAM", "`cache_ram`"),
        (mimir(), "LLAMA_ARG_KV_UNIFIED", "context of its own"),
        (mimir(), "GGML_VK_VISIBLE_DEVICES", "`devices`"),
    ] {
        let env = BTreeMap::from([(name.to_owned(), "1".to_owned())]);
        let error = refusal(&Agent { env, ..agent });
        assert!(error.message.contains(name) && error.next.contains(wants), "{error:?}");
    }
    let first = BTreeMap::from([("HIP_VISIBLE_DEVICES".to_owned(), "0".to_owned())]);
    assert!(launch_with(&Agent { env: first.clone(), ..thor() }, &host(), None).is_ok());
    assert!(refusal(&Agent { env: first, tensor_parallel: 2, ..thor() }).next.contains("`devices`"));
    let env = BTreeMap::from([("VLLM_LOGGING_LEVEL".to_owned(), "DEBUG".to_owned())]);
    let launch = launch(&Agent { env, ..thor() });
    assert_eq!(launch.env.get("VLLM_LOGGING_LEVEL").map(String::as_str), Some("DEBUG"));
    assert_eq!(launch.env.get("HF_HUB_OFFLINE").map(String::as_str), Some("1"));
}

#[test]
fn llama_cpp_gets_the_flags_of_its_version() {
    let launch = launch(&mimir());
    assert_eq!(
        launch.args.join(" "),
        "--model /data/gguf/small.gguf --alias thor --host 127.0.0.1 --port 8001 --ctx-size 16384 --parallel 4 \
         --batch-size 2048 --ubatch-size 512 --cache-ram 0 --load-mode none --flash-attn auto --n-gpu-layers 0 \
         --device none --jinja --metrics --slots"
    );
    assert_eq!(launch.key.0, "LLAMA_API_KEY");
    let Program::Local { command, log_file } = &launch.program else { panic!("{:?}", launch.program) };
    assert_eq!(command, &["/opt/llama/llama-server"]);
    assert_eq!(log_file, &PathBuf::from("/home/u/.local/state/asgard/agents/thor.log"));

    let image =
        Runs::Container { image: "ghcr.io/ggml-org/llama.cpp:server-vulkan".to_owned(), host_ipc: false };
    let in_hub = "/home/u/.cache/huggingface/hub/models--a--b/snapshots/c/x.gguf".to_owned();
    for (model, path, source) in [
        ("/data/gguf/small.gguf".to_owned(), "/models/small.gguf", "/data/gguf"),
        (in_hub, "/models/models--a--b/snapshots/c/x.gguf", "/home/u/.cache/huggingface/hub"),
    ] {
        let launch = self::launch(&Agent { model, runs: image.clone(), ..mimir() });
        assert_eq!(launch.args.first().map(String::as_str), Some("--model"));
        assert_eq!(value(&launch, "--model"), Some(path));
        assert_eq!(value(&launch, "--n-gpu-layers"), Some("999"));
        let Program::Image { mounts, .. } = &launch.program else { panic!() };
        assert_eq!(
            mounts.iter().map(|m| (m.source.as_path(), m.read_only)).collect::<Vec<_>>(),
            [(PathBuf::from(source).as_path(), true)]
        );
    }
    let error = refusal(&Agent { model: "Qwen/Qwen2.5-3B-GGUF".to_owned(), ..mimir() });
    assert_eq!(error.kind, ErrorKind::NoModel);
    assert!(error.next.contains(".gguf"));
}

#[test]
fn a_file_of_the_hub_is_given_from_where_it_was_found() {
    let found = "/home/u/.cache/huggingface/hub/models--a--b/snapshots/c/q4/x.gguf";
    let image = Runs::Container { image: "llama:1".to_owned(), host_ipc: false };
    let start = |runs: Runs, gguf: Option<&str>, rehearsal| {
        let agent =
            Agent { model: "a/b/q4/x.gguf".to_owned(), revision: Some("v1;x".to_owned()), runs, ..mimir() };
        backend(agent.backend).unwrap().launch(&Order {
            gguf: gguf.map(PathBuf::from),
            agent: &agent,
            identity: &identity(),
            host: &host(),
            key: Secret::new("the-key-of-this-start"),
            revision: "r1".to_owned(),
            reserved: Vec::new(),
            rehearsal,
        })
    };
    let contained = start(image.clone(), Some(found), None).unwrap();
    assert_eq!(value(&contained, "--model"), Some("/models/models--a--b/snapshots/c/q4/x.gguf"));
    let Program::Image { mounts, .. } = &contained.program else { panic!("{:?}", contained.program) };
    assert_eq!(mounts.len(), 1, "a link leads into the blobs, so the whole cache is given, to read");
    assert_eq!(mounts[0].source, PathBuf::from("/home/u/.cache/huggingface/hub"));
    assert!(mounts[0].read_only);
    let local = start(mimir().runs, Some(found), None).unwrap();
    assert_eq!(value(&local, "--model"), Some(found));

    let error = start(image.clone(), None, None).unwrap_err();
    assert_eq!(error.kind, ErrorKind::NoModel);
    assert_eq!(error.message, "q4/x.gguf of Thor is not in the Hugging Face cache.");
    assert_eq!(error.next, "Download it in Models, or with: asgard models pull a/b/q4/x.gguf");

    // A stand-in reads no model, so none has to be there.
    let stand_in = StandIn::Process { command: vec!["asgard".to_owned()], folder: PathBuf::from("/tmp/r") };
    let rehearsal = Rehearsal { stand_in, hold: 1, env: Vec::new() };
    let played = start(image, None, Some(rehearsal)).unwrap();
    assert_eq!(value(&played, "--model"), Some("a/b/q4/x.gguf"));
}

#[test]
fn vllm_as_a_process_is_told_where_things_are() {
    let agent = Agent { runs: Runs::Process { command: vec!["/opt/venv/bin/vllm".to_owned()] }, ..thor() };
    let launch = launch(&agent);
    assert_eq!(launch.args.first().map(String::as_str), Some("serve"));
    assert_eq!(value(&launch, "--host"), Some("127.0.0.1"));
    assert_eq!(launch.env.get("HF_HUB_CACHE").map(String::as_str), Some("/home/u/.cache/huggingface/hub"));
}

#[test]
fn a_rehearsal_has_the_same_arguments_and_touches_its_folder_only() {
    let folder = PathBuf::from("/tmp/rehearsal");
    let rehearsal = |stand_in| {
        Some(Rehearsal {
            stand_in,
            hold: 77,
            env: vec![("ASGARD_REHEARSAL_LOAD_MS".to_owned(), "5".to_owned())],
        })
    };
    let real = launch(&thor());
    let image = StandIn::Image { image: "asgard-stand-in:1".to_owned(), folder: folder.clone() };
    let played = launch_with(&thor(), &host(), rehearsal(image)).unwrap();
    // A real image is run as `vllm`, whatever its entry point; the stand-in is told which server it plays.
    assert_eq!((played.args[0].as_str(), &played.args[1..]), ("vllm", real.args.as_slice()));
    let Program::Image { devices, groups, mounts, seccomp_unconfined, .. } = &played.program else {
        panic!()
    };
    assert!(devices.is_empty() && groups.is_empty() && !seccomp_unconfined);
    assert_eq!(mounts.len(), 1);
    assert_eq!((mounts[0].source.as_path(), mounts[0].target.as_str()), (folder.as_path(), "/tmp/rehearsal"));
    for (name, wanted) in [
        ("ASGARD_AGENT", "thor"),
        ("ASGARD_REHEARSAL_HOLD", "77"),
        ("ASGARD_REHEARSAL_REPORT", "/tmp/rehearsal/held/thor.json"),
        ("ASGARD_REHEARSAL_LOAD_MS", "5"),
    ] {
        assert_eq!(played.env.get(name).map(String::as_str), Some(wanted));
    }
    let command = vec!["/usr/bin/asgard".to_owned(), "stand-in".to_owned()];
    let process = StandIn::Process { command: command.clone(), folder };
    for (agent, first) in [(thor(), "vllm"), (mimir(), "llama-server")] {
        let played = launch_with(&agent, &host(), rehearsal(process.clone())).unwrap();
        assert_eq!(played.args.first().map(String::as_str), Some(first));
        assert_eq!(value(&played, "--host"), Some("127.0.0.1"));
        assert!(matches!(&played.program, Program::Local { command: c, .. } if *c == command));
    }
}

#[test]
fn an_agent_of_the_processor_is_given_nothing_of_the_gpu() {
    let image = Runs::Container { image: "llama:1".to_owned(), host_ipc: false };
    let said = |args: &[&str], gpu_layers, runs: &Runs| {
        let args = args.iter().map(|a| (*a).to_owned()).collect();
        let agent =
            Agent { args, gpu_layers, runs: runs.clone(), draft_model: Some("/d/x.gguf".into()), ..mimir() };
        let launch = launch(&agent);
        let open = matches!(&launch.program, Program::Image { devices, .. } if !devices.is_empty());
        let count = |word: &str| launch.args.iter().filter(|a| *a == word).count();
        assert!(count("--n-gpu-layers") + count("-ngl") == 1, "{:?}", launch.args);
        (agent.on_device(), open, count("none") >= 2, launch)
    };
    let process = mimir().runs;
    for (args, layers, runs) in [
        (&[][..], Some(0), &image),
        (&["-ngl", "0"], None, &image),
        (&["-ngl", "0", "--device", "none"], None, &image),
        (&[], None, &process),
        (&[], Some(0), &process),
    ] {
        let (on_device, open, kept_off, launch) = said(args, layers, runs);
        assert!(!on_device && !open && kept_off, "{args:?} {layers:?}: {:?}", launch.args);
        assert_eq!(value(&launch, "--device"), Some("none"));
        assert_eq!(value(&launch, "--device-draft"), Some("none"));
    }
    for (args, layers, runs, wants) in [
        (&[][..], None, &image, "999"),
        (&[], Some(20), &image, "20"),
        (&[], Some(20), &process, "20"),
        (&["-ngl", "12"], None, &process, "12"),
    ] {
        let (on_device, _, kept_off, launch) = said(args, layers, runs);
        assert!(on_device && !kept_off, "{args:?} {layers:?}: {:?}", launch.args);
        assert_eq!(value(&launch, "--n-gpu-layers").or(value(&launch, "-ngl")), Some(wants));
        assert_eq!(value(&launch, "--device"), None);
    }
}

#[test]
fn each_key_has_its_flag() {
    let agent = Agent {
        batched_tokens: Some(4096),
        prefix_caching: Some(false),
        eager: true,
        attention_backend: Some("TRITON_ATTN".into()),
        draft_model: Some("a/small".into()),
        draft_tokens: Some(3),
        ..thor()
    };
    let launch = launch(&agent);
    assert_eq!(value(&launch, "--max-num-batched-tokens"), Some("4096"));
    assert_eq!(value(&launch, "--attention-backend"), Some("TRITON_ATTN"));
    for switch in ["--no-enable-prefix-caching", "--enforce-eager"] {
        assert!(launch.args.iter().any(|a| a == switch), "{switch}");
    }
    assert!(value(&launch, "--speculative-config").unwrap().contains("\"num_speculative_tokens\":3"));
    let agent = Agent {
        batched_tokens: Some(1024),
        load_mode: Some(LoadMode::MmapMlock),
        cache_ram: Some(Bytes(2 * GIB)),
        ..mimir()
    };
    let launch = self::launch(&agent);
    assert_eq!(
        (value(&launch, "--batch-size"), value(&launch, "--ubatch-size")),
        (Some("1024"), Some("1024"))
    );
    assert_eq!(value(&launch, "--load-mode"), Some("mmap+mlock"));
    assert_eq!(value(&launch, "--cache-ram"), Some("2048"));
}
