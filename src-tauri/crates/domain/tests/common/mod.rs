//! Stacks and machines for tests, built in a line each.
#![allow(
    dead_code,
    clippy::expect_used,
    clippy::unnecessary_wraps,
    reason = "each test binary uses its own part; what a test builds is right or the test is wrong"
)]

pub(crate) mod case;
pub(crate) mod play;
pub(crate) mod raw;

use std::collections::{BTreeMap, BTreeSet};

use domain::agent::{AgentName, AgentState};
use domain::memory::Bytes;
use domain::plan::{Running, Situation, claims};
use domain::pool::{Held, PoolId, PoolKind, PoolReading};
use domain::stack::{Agent, BackendKind, ClaimBasis, Gateway, MemoryLimits, Profile, Runs, Stack, Tier};

pub(crate) fn name(text: &str) -> AgentName {
    AgentName::new(text).expect("a test's own name")
}

pub(crate) fn names(list: &[&str]) -> BTreeSet<AgentName> {
    list.iter().map(|n| name(n)).collect()
}

pub(crate) fn gb(amount: f64) -> Bytes {
    Bytes::gb(amount)
}

/// A vLLM agent in a container whose whole claim is `gb`.
pub(crate) fn agent(text: &str, claim: f64) -> Agent {
    Agent {
        name: name(text),
        display_name: name(text).proper(),
        title: String::new(),
        role: String::new(),
        tier: Tier::Utility,
        backend: BackendKind::Vllm,
        runs: Runs::Container { image: "server".into(), host_ipc: false },
        model: format!("a/{text}"),
        revision: None,
        port: 8001,
        context: 32_768,
        sequences: 4,
        claim: ClaimBasis::Memory(gb(claim)),
        basis: domain::stack::Basis::Declared,
        learned: None,
        known_parts: None,
        kv_bytes_per_token: None,
        dtype: None,
        quantization: None,
        kv_dtype: None,
        tensor_parallel: 1,
        devices: Vec::new(),
        tool_parser: None,
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
        drain: std::time::Duration::from_mins(1),
        load_timeout: std::time::Duration::from_mins(30),
        request_timeout: None,
        min_residency: std::time::Duration::ZERO,
        pinned: false,
        served_by: None,
        glyph: None,
        color: None,
    }
}

/// As the stack file gives it: weights, KV cache, overhead.
pub(crate) fn parts(text: &str, weights: f64, kv: f64, overhead: f64) -> Agent {
    let claim = ClaimBasis::KvCache { weights: gb(weights), kv_cache: gb(kv), overhead: gb(overhead) };
    Agent { claim, ..agent(text, 0.0) }
}

pub(crate) fn external(text: &str) -> Agent {
    Agent {
        backend: BackendKind::External,
        runs: Runs::External { endpoint: "http://127.0.0.1:9000".into() },
        ..agent(text, 0.0)
    }
}

pub(crate) fn profile(name_of: &str, agents: &[&str]) -> Profile {
    Profile { name: name_of.into(), agents: agents.iter().map(|n| name(n)).collect() }
}

pub(crate) fn stack(agents: Vec<Agent>, profiles: Vec<Profile>, conflicts: &[&[&str]]) -> Stack {
    Stack {
        name: "test".into(),
        base: profiles.first().map(|p| p.name.clone()).unwrap_or_default(),
        conflicts: conflicts.iter().map(|set| set.iter().map(|n| name(n)).collect()).collect(),
        memory: MemoryLimits::default(),
        agents,
        profiles,
        gateway: Gateway::default(),
        gpu: None,
        notes: Vec::new(),
    }
}

/// The shipped default: six agents, five profiles, a limit of 120 GB.
pub(crate) fn norse() -> Stack {
    let thor = Agent { pinned: true, ..parts("thor", 9.3, 12.0, 4.0) };
    let mut stack = stack(
        vec![
            thor,
            parts("valkyrie", 15.6, 18.0, 4.0),
            parts("odin", 37.0, 20.0, 5.0),
            parts("heimdall", 2.5, 2.5, 4.0),
            parts("loki", 5.2, 3.5, 4.0),
            parts("frigga", 9.3, 7.0, 4.0),
        ],
        vec![
            profile("standard", &["thor", "valkyrie"]),
            profile("heimdall", &["thor", "valkyrie", "heimdall"]),
            profile("loki", &["thor", "valkyrie", "loki"]),
            profile("frigga", &["thor", "valkyrie", "frigga"]),
            profile("odin", &["thor", "odin"]),
        ],
        &[&["odin", "valkyrie"]],
    );
    stack.memory.limit = Some(gb(120.0));
    stack
}

pub(crate) fn pool(id: &str, kind: PoolKind, capacity: f64, used: f64) -> PoolReading {
    PoolReading {
        id: PoolId::new(id),
        name: id.to_uppercase(),
        kind,
        capacity: Some(gb(capacity)),
        device_cap: None,
        used: gb(used),
        device_used: None,
    }
}

/// A Strix Halo as the kernel shows it: one unified pool with a GTT cap, and what other programs use of it.
pub(crate) fn strix_halo(total: f64, gtt_cap: f64, other: f64) -> Situation {
    let pool =
        PoolReading { device_cap: Some(gb(gtt_cap)), ..pool("unified", PoolKind::Unified, total, other) };
    Situation { pools: vec![pool], ..Situation::default() }
}

/// The situation with these running too, each in its state and holding its claim, all of it measured.
pub(crate) fn with(
    stack: &Stack,
    mut situation: Situation,
    running: &[(&str, AgentState, u32)],
) -> Situation {
    for (agent, state, in_use) in running {
        let agent = stack.agent(&name(agent)).expect("an agent of the stack");
        let shares = claims(agent, &situation.pools);
        for pool in &mut situation.pools {
            let share = shares.get(&pool.id).copied().unwrap_or_default();
            pool.used += share.total();
            pool.device_used = Some(pool.device_used.unwrap_or_default() + share.device);
        }
        situation.running.push(Running {
            agent: agent.name.clone(),
            state: *state,
            held: Held { agent: agent.name.clone(), reserved: shares.clone(), measured: Some(shares) },
            in_use: *in_use,
        });
    }
    situation
}

/// A no-break space is what a person reads as a space.
pub(crate) fn plain(text: &str) -> String {
    text.replace('\u{a0}', " ")
}
