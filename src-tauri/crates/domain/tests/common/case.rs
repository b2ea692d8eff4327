//! Random stacks on random machines, most of them near a limit.

use std::collections::{BTreeMap, BTreeSet};

use domain::agent::{AgentName, AgentState};
use domain::footprint::Learned;
use domain::memory::{Bytes, GIB};
use domain::plan::{Goal, Running, Situation, claims, plan};
use domain::pool::{Held, PoolId, PoolKind, Share, Shares};
use domain::stack::{Agent, BackendKind, ClaimBasis, Profile, Runs, Stack};
use proptest::prelude::*;

use super::{agent, external, name, pool, stack};

#[derive(Debug, Clone)]
pub(crate) struct Case {
    pub(crate) stack: Stack,
    pub(crate) situation: Situation,
    pub(crate) goal: Goal,
    /// What other programs hold of each pool, and of its GPU part: what the planner has to find out by itself.
    pub(crate) other: BTreeMap<PoolId, Share>,
}

const NAMES: [&str; 6] = ["ask", "bil", "dag", "eir", "fro", "gna"];

/// More than any case needs, so that the wished limit is the one in force.
const CAPACITY: f64 = 2000.0;

#[derive(Debug, Clone)]
struct RawAgent {
    tenths: u32,
    pinned: bool,
    /// 0: external, 1: on the CPU, else a vLLM agent.
    sort: u8,
    tensor_parallel: u32,
    state: Option<AgentState>,
    measured: Option<i32>,
    /// Tenths of a gigabyte: what it was seen to take beyond its claim at rest, and beyond that while it loads.
    learned: Option<(i32, u32)>,
    in_use: u32,
    to_pull: bool,
}

fn raw_agent() -> impl Strategy<Value = RawAgent> {
    let state = prop_oneof![
        5 => Just(None),
        4 => Just(Some(AgentState::Ready)),
        2 => Just(Some(AgentState::Busy)),
        1 => prop::sample::select(AgentState::ALL.to_vec()).prop_map(|s| (s != AgentState::Asleep).then_some(s)),
    ];
    let measured = prop::option::of(-60i32..60);
    let learned = prop_oneof![7 => Just(None), 1 => (-50i32..50, 0u32..80).prop_map(Some)];
    (
        1u32..500,
        prop::bool::weighted(0.2),
        0u8..10,
        1u32..3,
        state,
        (measured, learned),
        0u32..3,
        any::<bool>(),
    )
        .prop_map(
            |(tenths, pinned, sort, tensor_parallel, state, (measured, learned), in_use, to_pull)| RawAgent {
                tenths,
                pinned,
                sort,
                tensor_parallel,
                state,
                measured,
                learned,
                in_use,
                to_pull,
            },
        )
}

/// How far a bound is from what the goal needs, in bytes.
fn distance() -> impl Strategy<Value = i64> {
    let gb = i64::try_from(GIB).unwrap_or(i64::MAX);
    prop_oneof![
        2 => Just(0),
        1 => Just(1),
        1 => Just(-1),
        4 => -gb..gb,
        3 => -40 * gb..40 * gb,
        1 => Just(300 * gb),
    ]
}

#[derive(Debug, Clone)]
struct RawMachine {
    kind: u8,
    other_tenths: [u32; 3],
    device_other_tenths: u32,
    lost_tenths: u32,
    limits: [i64; 3],
    cap: i64,
}

fn raw_machine() -> impl Strategy<Value = RawMachine> {
    (
        0u8..4,
        prop::array::uniform3(0u32..400),
        0u32..40,
        prop_oneof![3 => Just(0u32), 1 => 1u32..80],
        prop::array::uniform3(distance()),
        distance(),
    )
        .prop_map(|(kind, other_tenths, device_other_tenths, lost_tenths, limits, cap)| RawMachine {
            kind,
            other_tenths,
            device_other_tenths: device_other_tenths.min(other_tenths[0]),
            lost_tenths,
            limits,
            cap,
        })
}

pub(crate) fn cases() -> impl Strategy<Value = Case> {
    (
        prop::collection::vec(raw_agent(), 1..=NAMES.len()),
        prop::collection::vec(any::<u8>(), 1..5),
        prop::collection::vec(any::<u8>(), 0..3),
        raw_machine(),
        0u8..10,
        any::<u8>(),
    )
        .prop_map(|(agents, profiles, rules, machine, goal, pick)| {
            build(&agents, &profiles, &rules, &machine, goal, pick)
        })
}

fn tenths(amount: u32) -> Bytes {
    Bytes::gb(f64::from(amount) / 10.0)
}

fn moved(bytes: Bytes, by: i64) -> Bytes {
    Bytes(bytes.0.saturating_add_signed(by))
}

fn agent_of(i: usize, raw: &RawAgent) -> Agent {
    let claim = ClaimBasis::Memory(tenths(raw.tenths));
    let plain = match raw.sort {
        0 => external(NAMES[i]),
        1 => Agent {
            backend: BackendKind::LlamaCpp,
            runs: Runs::Process { command: vec!["server".into()] },
            ..agent(NAMES[i], 0.0)
        },
        _ => agent(NAMES[i], 0.0),
    };
    let learned = raw.learned.map(|(beyond, loading)| {
        let steady = raw.tenths.saturating_add_signed(beyond);
        Learned { steady: tenths(steady), peak: tenths(steady + loading), starts: 1 }
    });
    Agent { claim, learned, pinned: raw.pinned, tensor_parallel: raw.tensor_parallel, ..plain }
}

fn picked(mask: u8, count: usize) -> Vec<AgentName> {
    (0..count).filter(|i| mask & (1 << i) != 0).map(|i| name(NAMES[i])).collect()
}

fn build(
    agents: &[RawAgent],
    profiles: &[u8],
    rules: &[u8],
    machine: &RawMachine,
    goal: u8,
    pick: u8,
) -> Case {
    let mut built =
        stack(agents.iter().enumerate().map(|(i, raw)| agent_of(i, raw)).collect(), Vec::new(), &[]);
    // At most three to a rule, so that a rule does not forbid everything.
    built.conflicts = rules
        .iter()
        .map(|m| picked(*m, agents.len()).into_iter().take(3).collect::<Vec<_>>())
        .filter(|s| s.len() > 1)
        .collect();
    for (i, mask) in profiles.iter().enumerate() {
        let mut members: Vec<AgentName> = Vec::new();
        for agent in picked(*mask, agents.len()) {
            if !members.iter().any(|m| built.conflict(m, &agent)) {
                members.push(agent);
            }
        }
        built.profiles.push(Profile { name: format!("p{i}"), agents: members });
    }
    let mut situation = Situation {
        pools: match machine.kind {
            0 | 1 => vec![pool("unified", PoolKind::Unified, CAPACITY, 0.0)],
            2 => vec![pool("gpu0", PoolKind::Vram, CAPACITY, 0.0), pool("ram", PoolKind::Ram, CAPACITY, 0.0)],
            _ => vec![
                pool("gpu0", PoolKind::Vram, CAPACITY, 0.0),
                pool("gpu1", PoolKind::Vram, CAPACITY, 0.0),
                pool("ram", PoolKind::Ram, CAPACITY, 0.0),
            ],
        },
        ..Situation::default()
    };
    // A model split over more GPUs than there are is refused whatever the memory: tests of its own say so.
    let gpus = if machine.kind == 3 { 2 } else { 1 };
    for agent in &mut built.agents {
        agent.tensor_parallel = agent.tensor_parallel.min(gpus);
    }
    run(&built, &mut situation, agents);
    let goal = goal_of(&built, goal, pick);
    let other = fill(&mut built, &mut situation, machine, &goal);
    Case { stack: built, situation, goal, other }
}

/// Who runs: nobody beside somebody that a rule forbids.
fn run(stack: &Stack, situation: &mut Situation, agents: &[RawAgent]) {
    for (raw, agent) in agents.iter().zip(&stack.agents) {
        if raw.to_pull {
            situation.to_pull.insert(agent.name.clone());
        }
        let Some(state) = raw.state else { continue };
        if situation.running.iter().any(|r| stack.conflict(&r.agent, &agent.name)) {
            continue;
        }
        let reserved =
            if state == AgentState::Pulling { Shares::new() } else { claims(agent, &situation.pools) };
        let measured = raw.measured.map(|by| {
            let moved_by =
                |b: Bytes| if b == Bytes::ZERO { b } else { moved(b, i64::from(by) * 100_000_000) };
            let share = |s: &Share| Share { device: moved_by(s.device), host: moved_by(s.host) };
            reserved.iter().map(|(id, s)| (id.clone(), share(s))).collect()
        });
        situation.running.push(Running {
            agent: agent.name.clone(),
            state,
            held: Held { agent: agent.name.clone(), reserved, measured },
            in_use: raw.in_use,
        });
    }
}

fn goal_of(stack: &Stack, goal: u8, pick: u8) -> Goal {
    let any_agent = || stack.agents[usize::from(pick) % stack.agents.len()].name.clone();
    match goal {
        0..=3 => Goal::Profile(stack.profiles[usize::from(pick) % stack.profiles.len()].name.clone()),
        4..=6 => Goal::Awake(any_agent()),
        7 => Goal::Asleep(any_agent()),
        8 => Goal::Exactly(picked(pick, stack.agents.len()).into_iter().collect::<BTreeSet<_>>()),
        _ => Goal::Nobody,
    }
}

/// What is in use, and bounds near what the goal needs. How much that is, a plan without any bound tells; where it
/// were wrong, the cases would only be less near.
fn fill(
    stack: &mut Stack,
    situation: &mut Situation,
    machine: &RawMachine,
    goal: &Goal,
) -> BTreeMap<PoolId, Share> {
    let mut others = BTreeMap::new();
    for (i, pool) in situation.pools.iter_mut().enumerate() {
        let other = tenths(machine.other_tenths[i]);
        let lost = tenths(if i == 0 { machine.lost_tenths } else { 0 });
        let unified = pool.kind == PoolKind::Unified;
        let device_other = if unified { tenths(machine.device_other_tenths) } else { Bytes::ZERO };
        let mut held = Share::default();
        for running in &situation.running {
            let shares = running.held.measured.as_ref().unwrap_or(&running.held.reserved);
            let share = shares.get(&pool.id).copied().unwrap_or_default();
            held = Share { device: held.device + share.device, host: held.host + share.host };
        }
        pool.used = other + lost + held.total();
        pool.device_used = unified.then_some(held.device + device_other);
        if lost > Bytes::ZERO {
            situation.lost.insert(pool.id.clone(), lost);
        }
        others.insert(
            pool.id.clone(),
            Share { device: device_other, host: other.saturating_sub(device_other) },
        );
    }
    let free = plan(stack, situation, goal).expect("a plan");
    for (i, pool) in free.pools.iter().enumerate() {
        let need = pool.planned + pool.ledger.planned_other() + pool.ledger.lost;
        stack.memory.by_pool.insert(pool.ledger.id.clone(), moved(need, machine.limits[i]));
        if machine.kind == 1 {
            let device: Bytes = free
                .awake
                .iter()
                .filter_map(|n| claims(stack.agent(n)?, &situation.pools).get(&pool.ledger.id).copied())
                .map(|s| s.device)
                .sum();
            situation.pools[i].device_cap = Some(moved(device + pool.ledger.device_other, machine.cap));
        }
    }
    others
}
