//! What agents are started with: the shipped stack's containers as reviewed snapshots, and the rules around them.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "what fails here fails the test")]

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use domain::secret::Secret;
use domain::stack::{Agent, BackendKind, ClaimBasis, Runs, Tier};
use domain::{AgentName, Bytes};
use engine::backend::{Host, Order, Rehearsal, StandIn, backend};
use engine::container::{container_name, spec};
use engine::{EngineError, ErrorKind, Identity, Launch, Program};

const GIB: u64 = 1 << 30;
const IMAGE: &str = "docker.io/kyuz0/vllm-therock-gfx1151";

/// name, tier, port, model, weights, KV cache and overhead in GB, parser.
type Row = (&'static str, Tier, u16, &'static str, f64, f64, f64, &'static str);

const NORSE: [Row; 6] = [
    ("thor", Tier::Primary, 8001, "Qwen/Qwen2.5-14B-Instruct-AWQ", 9.3, 12.0, 4.0, "hermes"),
    (
        "valkyrie",
        Tier::Coder,
        8002,
        "QuantTrio/Qwen3-Coder-30B-A3B-Instruct-AWQ",
        15.6,
        18.0,
        4.0,
        "qwen3_coder",
    ),
    ("odin", Tier::Reviewer, 8011, "casperhansen/llama-3.3-70b-instruct-awq", 37.0, 20.0, 5.0, "llama3_json"),
    ("heimdall", Tier::Utility, 8012, "Qwen/Qwen2.5-3B-Instruct-AWQ", 2.5, 2.5, 4.0, "hermes"),
    ("loki", Tier::Utility, 8013, "Qwen/Qwen2.5-7B-Instruct-AWQ", 5.2, 3.5, 4.0, "hermes"),
    ("frigga", Tier::Utility, 8014, "Qwen/Qwen2.5-14B-Instruct-AWQ", 9.3, 7.0, 4.0, "hermes"),
];

fn norse((name, tier, port, model, weights, kv, overhead, parser): Row) -> Agent {
    let name = AgentName::new(name).unwrap();
    Agent {
        display_name: name.proper(),
        name,
        title: String::new(),
        role: String::new(),
        tier,
        backend: BackendKind::Vllm,
        runs: Runs::Container { image: IMAGE.to_owned(), host_ipc: false },
        model: model.to_owned(),
        revision: None,
        port,
        context: 32_768,
        sequences: 4,
        claim: ClaimBasis::KvCache {
            weights: Bytes::gb(weights),
            kv_cache: Bytes::gb(kv),
            overhead: Bytes::gb(overhead),
        },
        learned: None,
        known_parts: None,
        kv_bytes_per_token: None,
        dtype: Some("float16".to_owned()),
        quantization: Some("AWQ 4-bit".to_owned()),
        kv_dtype: None,
        tensor_parallel: 1,
        devices: Vec::new(),
        tool_parser: Some(parser.to_owned()),
        draft_model: None,
        draft_tokens: None,
        batched_tokens: None,
        prefix_caching: None,
        eager: false,
        attention_backend: None,
        gpu_layers: None,
        load_mode: None,
        cache_ram: None,
        args: Vec::new(),
        env: BTreeMap::new(),
        ttl: None,
        drain: Duration::from_mins(1),
        load_timeout: Duration::from_mins(30),
        request_timeout: None,
        min_residency: Duration::ZERO,
        pinned: false,
        served_by: None,
        glyph: None,
        color: None,
    }
}

fn thor() -> Agent {
    norse(NORSE[0])
}

fn mimir() -> Agent {
    Agent {
        backend: BackendKind::LlamaCpp,
        model: "/data/gguf/small.gguf".to_owned(),
        runs: Runs::Process { command: vec!["/opt/llama/llama-server".to_owned()] },
        context: 4096,
        tool_parser: None,
        ..thor()
    }
}

fn host() -> Host {
    Host {
        devices: vec!["/dev/kfd".to_owned(), "/dev/dri".to_owned()],
        groups: vec![44, 992],
        hub: PathBuf::from("/home/u/.cache/huggingface/hub"),
        caches: PathBuf::from("/home/u/.local/share/asgard/caches"),
        logs: PathBuf::from("/home/u/.local/state/asgard/agents"),
        capacity: 128 * GIB,
        gpu_vendor: None,
    }
}

fn identity() -> Identity {
    Identity { instance: "0123456789abcdef".to_owned() }
}

fn launch_with(agent: &Agent, host: &Host, rehearsal: Option<Rehearsal>) -> Result<Launch, EngineError> {
    let order = Order {
        gguf: None,
        agent,
        identity: &identity(),
        host,
        key: Secret::new("the-key-of-this-start"),
        revision: "r1".to_owned(),
        reserved: vec![("uma".to_owned(), 1, 2)],
        rehearsal,
    };
    backend(agent.backend).unwrap().launch(&order)
}

fn launch(agent: &Agent) -> Launch {
    launch_with(agent, &host(), None).unwrap()
}

fn refusal(agent: &Agent) -> EngineError {
    launch_with(agent, &host(), None).unwrap_err()
}

/// The value after a flag; each flag must be there once only.
fn value<'a>(launch: &'a Launch, flag: &str) -> Option<&'a str> {
    let places: Vec<usize> =
        launch.args.iter().enumerate().filter(|(_, a)| *a == flag).map(|(i, _)| i).collect();
    assert!(places.len() < 2, "{flag} is given {} times", places.len());
    places.first().and_then(|at| launch.args.get(at + 1)).map(String::as_str)
}

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
    let launch = launch(&thor());
    assert_eq!(value(&launch, "--kv-cache-memory-bytes"), Some((12 * GIB).to_string().as_str()));
    assert_eq!(value(&launch, "--gpu-memory-utilization"), Some("0.19"));
    for (claim, utilization) in [
        (ClaimBasis::Share(0.5), "0.50"),
        (ClaimBasis::Memory(Bytes(32 * GIB)), "0.25"),
        (ClaimBasis::Memory(Bytes(500 * GIB)), "0.95"),
    ] {
        let launch = self::launch(&Agent { claim, ..thor() });
        assert_eq!(value(&launch, "--kv-cache-memory-bytes"), None);
        assert_eq!(value(&launch, "--gpu-memory-utilization"), Some(utilization));
    }
    let unknown = Host { capacity: 0, ..host() };
    assert!(launch_with(&Agent { claim: ClaimBasis::Memory(Bytes(GIB)), ..thor() }, &unknown, None).is_err());
    let two = self::launch(&Agent { tensor_parallel: 2, ..thor() });
    assert_eq!(value(&two, "--tensor-parallel-size"), Some("2"));
    assert_eq!(value(&two, "--kv-cache-memory-bytes"), Some((6 * GIB).to_string().as_str()));
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
    ] {
        let error = refusal(&Agent { args: vec![argument.to_owned()], ..thor() });
        let flag = argument.split('=').next().unwrap();
        assert!(error.message.contains(flag) && error.next.contains(wants), "{argument}: {error:?}");
    }
    for (argument, wants) in
        [("-c", "`context`"), ("-np", "`sequences`"), ("--model", "`model`"), ("-ctk", "`kv_dtype`")]
    {
        let error = refusal(&Agent { args: vec![argument.to_owned()], ..mimir() });
        assert!(error.message.contains(argument) && error.next.contains(wants), "{argument}: {error:?}");
    }
    // What has no key is Asgard's default, and the user's word counts.
    let launch = launch(&Agent {
        args: ["--max-num-batched-tokens", "8192", "--enforce-eager"].map(str::to_owned).into(),
        ..thor()
    });
    assert_eq!(value(&launch, "--max-num-batched-tokens"), Some("8192"));
    let launch = self::launch(&Agent { args: ["-fa", "on"].map(str::to_owned).into(), ..mimir() });
    assert_eq!((value(&launch, "-fa"), value(&launch, "--flash-attn")), (Some("on"), None));
}

#[test]
fn the_environment_is_asgards_first() {
    for name in ["HF_HUB_OFFLINE", "VLLM_API_KEY", "HF_TOKEN", "ASGARD_INSTANCE"] {
        let env = BTreeMap::from([(name.to_owned(), "x".to_owned())]);
        assert!(refusal(&Agent { env, ..thor() }).message.contains(name));
    }
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
         --cache-ram 0 --load-mode none --flash-attn auto --jinja --metrics --slots"
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
        assert_eq!(value(&launch, "--n-gpu-layers"), Some("all"));
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
    assert_eq!(error.next, "Download it into the Hugging Face cache first: hf download a/b q4/x.gguf");

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
    assert_eq!(played.args, real.args);
    assert_eq!(played.args.first().map(String::as_str), Some("vllm"));
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
