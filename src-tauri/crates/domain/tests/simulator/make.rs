//! Random machines, stacks and temperaments.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use domain::agent::{AgentName, AgentState};
use domain::memory::{Bytes, GIB};
use domain::plan::{Running, Situation, declared_claims};
use domain::pool::{Held, PoolId, PoolKind, PoolReading, Share};
use domain::stack::{Agent, BackendKind, ClaimBasis, Gateway, MemoryLimits, Profile, Runs, Stack, Tier};

use super::Chance;
use super::check::Counts;
use super::counters::{Faults, Machine, Pool, Row, Tells};
use super::house::{House, Nature, Temper};

const NAMES: [&str; 8] = ["ask", "bil", "dag", "eir", "fro", "gna", "hel", "idun"];

fn tenths(chance: &mut Chance, low: u64, high: u64) -> u64 {
    chance.between(low * 10, high * 10) * GIB / 10
}

fn pool(id: impl Into<String>, kind: PoolKind, capacity: u64) -> Pool {
    let id = PoolId::new(id);
    Pool { id, kind, capacity, cap: None, other: Share::default(), leaked: 0 }
}

/// One to eight pools of each sort of machine.
fn pools(chance: &mut Chance) -> Vec<Pool> {
    let mut pools = match chance.between(0, 9) {
        0..=4 => {
            let mut unified = pool("unified", PoolKind::Unified, tenths(chance, 32, 256));
            if chance.percent(80) {
                unified.cap = Some(unified.capacity / 100 * chance.between(50, 100));
            }
            vec![unified]
        }
        5 => vec![
            pool("vram", PoolKind::Vram, tenths(chance, 48, 96)),
            pool("ram", PoolKind::Ram, tenths(chance, 16, 64)),
        ],
        6..=8 => {
            let size = tenths(chance, 12, 80);
            let cards = chance.between(1, 7);
            let mut pools: Vec<_> =
                (0..cards).map(|n| pool(format!("gpu{n}"), PoolKind::Vram, size)).collect();
            pools.push(pool("ram", PoolKind::Ram, tenths(chance, 16, 256)));
            pools
        }
        _ => vec![pool("ram", PoolKind::Ram, tenths(chance, 8, 128))],
    };
    for pool in &mut pools {
        let most = pool.capacity / 8;
        pool.other = match pool.kind {
            PoolKind::Vram => Share { device: Bytes(chance.between(0, most / 4)), host: Bytes::ZERO },
            PoolKind::Ram => Share { device: Bytes::ZERO, host: Bytes(chance.between(0, most)) },
            PoolKind::Unified => {
                Share { device: Bytes(chance.between(0, GIB)), host: Bytes(chance.between(0, most)) }
            }
        };
    }
    pools
}

fn faults(chance: &mut Chance, plain: bool) -> Faults {
    let truth = |chance: &mut Chance| if chance.percent(50) { Tells::Truth } else { Tells::Nothing };
    if plain {
        return Faults {
            fdinfo: truth(chance),
            pss: truth(chance),
            cgroup: truth(chance),
            nvml: truth(chance),
            ..Faults::default()
        };
    }
    let any = |chance: &mut Chance| {
        [Tells::Nothing, Tells::Truth, Tells::Half, Tells::Absurd, Tells::Flickers]
            [usize::try_from(chance.between(0, 4)).unwrap_or(0)]
    };
    Faults {
        no_device_counter: chance.percent(15),
        gtt_stands_still: chance.percent(10),
        lag: usize::try_from(if chance.percent(40) { chance.between(1, 3) } else { 0 }).unwrap_or(0),
        backwards: if chance.percent(20) { 10 } else { 0 },
        fdinfo: any(chance),
        pss: any(chance),
        cgroup: any(chance),
        nvml: any(chance),
        file_cache: if chance.percent(30) { tenths(chance, 0, 60) } else { 0 },
    }
}

fn agent(name: &str, chance: &mut Chance, largest: u64, cards: usize) -> Agent {
    let all = chance.between(10, (largest * 10 / GIB).max(20)) * GIB / 10;
    let claim = match chance.between(0, 3) {
        0 => ClaimBasis::Memory(Bytes(all)),
        _ => ClaimBasis::KvCache {
            weights: Bytes(all / 2),
            kv_cache: Bytes(all / 4),
            overhead: Bytes(all - all / 2 - all / 4),
        },
    };
    let on_cpu = chance.percent(15);
    let name = AgentName::new(name).unwrap_or_else(|e| panic!("{e}"));
    Agent {
        display_name: name.proper(),
        model: format!("a/{name}"),
        name,
        title: String::new(),
        role: String::new(),
        tier: Tier::Utility,
        backend: if on_cpu { BackendKind::LlamaCpp } else { BackendKind::Vllm },
        runs: if on_cpu {
            Runs::Process { command: vec!["server".into()] }
        } else {
            Runs::Container { image: "server".into(), host_ipc: false }
        },
        revision: None,
        port: 8001,
        context: 32_768,
        sequences: 4,
        claim,
        basis: domain::stack::Basis::Declared,
        learned: None,
        known_parts: None,
        kv_bytes_per_token: None,
        dtype: None,
        quantization: None,
        kv_dtype: None,
        tensor_parallel: if chance.percent(30) {
            u32::try_from(chance.between(1, cards.max(1) as u64)).unwrap_or(1)
        } else {
            1
        },
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
        drain: Duration::ZERO,
        load_timeout: Duration::ZERO,
        request_timeout: None,
        min_residency: Duration::ZERO,
        pinned: chance.percent(15),
        served_by: None,
        glyph: None,
        color: None,
    }
}

fn stack(chance: &mut Chance, pools: &[Pool]) -> Stack {
    let cards = pools.iter().filter(|p| p.kind == PoolKind::Vram).count();
    let main = pools[0].capacity;
    let count = usize::try_from(chance.between(2, NAMES.len() as u64)).unwrap_or(2);
    let mut agents: Vec<Agent> =
        NAMES[..count].iter().map(|n| agent(n, chance, main * 6 / 10, cards)).collect();
    let names: Vec<AgentName> = agents.iter().map(|a| a.name.clone()).collect();
    let pick = |chance: &mut Chance| {
        names[usize::try_from(chance.between(0, count as u64 - 1)).unwrap_or(0)].clone()
    };
    let mut conflicts = Vec::new();
    for _ in 0..chance.between(0, 2) {
        let (a, b) = (pick(chance), pick(chance));
        if a != b {
            conflicts.push(vec![a, b]);
        }
    }
    let meet = |a: &AgentName, b: &AgentName| conflicts.iter().any(|s| s.contains(a) && s.contains(b));
    let mut profiles = Vec::new();
    for n in 0..chance.between(1, 4) {
        let mut members: Vec<AgentName> = Vec::new();
        for _ in 0..chance.between(1, 4) {
            let one = pick(chance);
            if !members.contains(&one) && !members.iter().any(|m| meet(m, &one)) {
                members.push(one);
            }
        }
        profiles.push(Profile { name: format!("p{n}"), agents: members });
    }
    // A role on the first agent's server, in a profile of its own.
    if chance.percent(30) {
        let server = agents[0].clone();
        let name = AgentName::new("role").unwrap_or_else(|e| panic!("{e}"));
        profiles.push(Profile { name: "roles".into(), agents: vec![name.clone()] });
        let claim = ClaimBasis::Memory(Bytes::ZERO);
        agents.push(Agent { name, claim, pinned: false, served_by: Some(server.name.clone()), ..server });
    }
    let mut memory = MemoryLimits::default();
    for pool in pools {
        if chance.percent(40) {
            let limit = pool.capacity / 100 * chance.between(70, 100);
            memory.by_pool.insert(pool.id.clone(), Bytes(limit));
        }
    }
    Stack {
        name: "house".into(),
        base: "p0".into(),
        conflicts,
        memory,
        agents,
        profiles,
        gateway: Gateway::default(),
        gpu: None,
        notes: Vec::new(),
    }
}

/// What an agent truly takes, as parts of what it declares.
fn nature(agent: &Agent, pools: &[PoolReading], chance: &mut Chance, temper: &Temper) -> Nature {
    let declared = declared_claims(agent, pools);
    let modest = temper.plain || chance.percent(70);
    let steady = if modest { chance.between(70, 100) } else { chance.between(90, 135) };
    let peak = if modest { chance.between(steady, 100) } else { steady + chance.between(0, 25) };
    let host_part = chance.between(0, 15);
    let row = |percent: u64| -> Row {
        let of = |pool: &PoolReading| {
            let share = declared.get(&pool.id).copied().unwrap_or_default();
            // Division first, so that a hundredth is never rounded up past the claim.
            let all = Share {
                device: Bytes(share.device.0 / 100 * percent),
                host: Bytes(share.host.0 / 100 * percent),
            };
            if pool.kind != PoolKind::Unified || all.device == Bytes::ZERO {
                return all;
            }
            let host = Bytes(all.device.0 / 100 * host_part);
            Share { device: all.device.saturating_sub(host), host: all.host + host }
        };
        pools.iter().map(of).collect()
    };
    Nature { steady: row(steady), peak: row(peak), ticks: chance.between(2, 5) }
}

pub fn house(seed: u64) -> House {
    let mut chance = Chance::new(seed);
    let plain = chance.percent(40);
    let temper = Temper {
        plain,
        neighbours: if plain { 0 } else { chance.between(0, 40) },
        leaks: if chance.percent(50) { chance.between(0, 30) } else { 0 },
        failures: if chance.percent(50) { chance.between(0, 30) } else { 0 },
    };
    let pools = pools(&mut chance);
    let stack = stack(&mut chance, &pools);
    let faults = faults(&mut chance, plain);
    let mut machine = Machine::new(pools, faults);
    machine.tick();
    let readings = machine.read(&mut Chance::new(0));
    let natures =
        stack.agents.iter().map(|a| (a.name.clone(), nature(a, &readings, &mut chance, &temper))).collect();
    House::new(chance, machine, stack, natures, temper, Counts::default())
}

/// A crowd on eight pools, for the clock: every second agent runs, profiles hold up to a quarter of them each, rules
/// keep some apart. Always the same.
pub fn crowd(agents: usize) -> (Stack, Situation) {
    let mut chance = Chance::new(7);
    let mut pools: Vec<Pool> = (0..7).map(|n| pool(format!("gpu{n}"), PoolKind::Vram, 96 * GIB)).collect();
    pools.push(pool("ram", PoolKind::Ram, 1024 * GIB));
    let machine = Machine::new(pools, Faults::default());
    let readings = machine.read(&mut Chance::new(0));
    let members: Vec<Agent> = (0..agents)
        .map(|n| {
            let claim = ClaimBasis::KvCache {
                weights: Bytes(GIB / 8),
                kv_cache: Bytes(GIB / 8),
                overhead: Bytes(GIB / 8),
            };
            let parts = u32::try_from(n % 7 + 1).unwrap_or(1);
            Agent {
                claim,
                tensor_parallel: parts,
                pinned: n % 10 == 0,
                ..agent(&format!("a{n}"), &mut chance, GIB, 7)
            }
        })
        .collect();
    let name = |n: usize| members[n % agents].name.clone();
    let profiles = (0..20)
        .map(|p| Profile {
            name: format!("p{p}"),
            // Every odd agent is asleep, so that there is something to start.
            agents: (0..agents.div_ceil(4))
                .map(|n| name(p * 3 + n * 2 + 1))
                .collect::<BTreeSet<_>>()
                .into_iter()
                .collect(),
        })
        .collect();
    let conflicts = (0..10).map(|n| vec![name(n * 4), name(n * 4 + 2)]).filter(|s| s[0] != s[1]).collect();
    let mut situation = Situation { pools: readings, ..Situation::default() };
    for agent in members.iter().step_by(2) {
        let reserved = declared_claims(agent, &situation.pools);
        for pool in &mut situation.pools {
            pool.used += reserved.get(&pool.id).copied().unwrap_or_default().total();
        }
        let held = Held { agent: agent.name.clone(), measured: Some(reserved.clone()), reserved };
        let state = AgentState::Ready;
        situation.running.push(Running { agent: agent.name.clone(), state, held, in_use: 1 });
    }
    let stack = Stack {
        name: "crowd".into(),
        base: "p0".into(),
        conflicts,
        memory: MemoryLimits::default(),
        agents: members,
        profiles,
        gateway: Gateway::default(),
        gpu: None,
        notes: Vec::new(),
    };
    (stack, situation)
}
