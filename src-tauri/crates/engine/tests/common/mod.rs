//! The agents and the machine that launches are tested with.
#![allow(dead_code, reason = "each test file uses its part")]

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use domain::secret::Secret;
use domain::stack::{Agent, BackendKind, ClaimBasis, Runs, Tier};
use domain::{AgentName, Bytes};
use engine::backend::{Host, Order, Rehearsal, backend};
use engine::{EngineError, Identity, Launch};

pub(crate) const GIB: u64 = 1 << 30;
pub(crate) const IMAGE: &str = "docker.io/kyuz0/vllm-therock-gfx1151";

/// name, tier, port, model, weights, KV cache and overhead in GB, parser.
pub(crate) type Row = (&'static str, Tier, u16, &'static str, f64, f64, f64, &'static str);

pub(crate) const NORSE: [Row; 6] = [
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

pub(crate) fn norse((name, tier, port, model, weights, kv, overhead, parser): Row) -> Agent {
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
        basis: domain::stack::Basis::Declared,
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

pub(crate) fn thor() -> Agent {
    norse(NORSE[0])
}

pub(crate) fn mimir() -> Agent {
    Agent {
        backend: BackendKind::LlamaCpp,
        model: "/data/gguf/small.gguf".to_owned(),
        runs: Runs::Process { command: vec!["/opt/llama/llama-server".to_owned()] },
        context: 4096,
        tool_parser: None,
        ..thor()
    }
}

pub(crate) fn host() -> Host {
    Host {
        devices: vec!["/dev/kfd".to_owned(), "/dev/dri".to_owned()],
        groups: vec![44, 992],
        hub: PathBuf::from("/home/u/.cache/huggingface/hub"),
        caches: PathBuf::from("/home/u/.local/share/asgard/caches"),
        logs: PathBuf::from("/home/u/.local/state/asgard/agents"),
        capacity: 128 * GIB,
        gpu_vendor: None,
        nvidia: Vec::new(),
    }
}

pub(crate) fn identity() -> Identity {
    Identity { instance: "0123456789abcdef".to_owned() }
}

pub(crate) fn launch_with(
    agent: &Agent,
    host: &Host,
    rehearsal: Option<Rehearsal>,
) -> Result<Launch, EngineError> {
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

pub(crate) fn launch(agent: &Agent) -> Launch {
    launch_with(agent, &host(), None).unwrap()
}

pub(crate) fn refusal(agent: &Agent) -> EngineError {
    launch_with(agent, &host(), None).unwrap_err()
}

/// The value after a flag; each flag must be there once only.
pub(crate) fn value<'a>(launch: &'a Launch, flag: &str) -> Option<&'a str> {
    let places: Vec<usize> =
        launch.args.iter().enumerate().filter(|(_, a)| *a == flag).map(|(i, _)| i).collect();
    assert!(places.len() < 2, "{flag} is given {} times", places.len());
    places.first().and_then(|at| launch.args.get(at + 1)).map(String::as_str)
}

/// What vLLM says, wrapped in the consequences that a real log has after it.
pub(crate) fn in_a_log(text: &str) -> Vec<String> {
    let mut log = vec![
        "(APIServer pid=1) INFO 11-21 02:30:37 [api_utils.py:347]  ▄▄ ▄█ █ version 0.32.0".to_owned(),
        "(EngineCore pid=2) ERROR 11-21 02:36:26 [core.py:1510] EngineCore failed to start.".to_owned(),
        "(EngineCore pid=2) ERROR 11-21 02:36:26 [core.py:1510] Traceback (most recent call last):"
            .to_owned(),
    ];
    log.extend(text.lines().map(|l| format!("(EngineCore pid=2) ERROR 11-21 02:36:26 [core.py:1510] {l}")));
    log.extend(
        [
            "Process EngineCore:",
            "Traceback (most recent call last):",
            "    wait_for_engine_startup(",
            "RuntimeError: Engine core initialization failed. See root cause above. Failed core proc(s): {}",
        ]
        .map(str::to_owned),
    );
    log
}
