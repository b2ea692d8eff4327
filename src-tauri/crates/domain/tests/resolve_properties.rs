//! The check of the stack file over anything that could be in one.

#![allow(clippy::expect_used, clippy::panic, reason = "a test may fail")]

mod common;

use common::raw::{THOR, agent, facts, with};
use domain::stack::raw::{
    Ordered, RawAgent, RawGateway, RawKey, RawLimit, RawMemory, RawProfile, RawSize, RawStack, RawTime,
};
use domain::stack::{ClaimBasis, Facts, resolve};
use proptest::prelude::*;

fn word() -> impl Strategy<Value = String> {
    prop_oneof![
        3 => prop::sample::select(vec![
            "thor", "odin", "loki", "standard", "vllm", "llama.cpp", "external", "container", "process", "primary",
            "http://127.0.0.1:1", "http://[::1]:1/v1", "12 GB", "0 GB", "20 min", "-1 s", "127.0.0.1:8899", "fp8",
            "Qwen/Qwen2.5-14B-Instruct-AWQ", "/m/small.gguf", "#fff", "", " ",
        ])
        .prop_map(str::to_owned),
        1 => any::<String>(),
        1 => "[a-z0-9.:/ -]{0,60}",
    ]
}

fn number() -> impl Strategy<Value = i64> {
    prop_oneof![any::<i64>(), -2i64..70_000, Just(i64::MAX), Just(i64::MIN), Just(1 << 40)]
}

fn any_size() -> impl Strategy<Value = RawSize> {
    prop_oneof![word().prop_map(RawSize::Text), number().prop_map(RawSize::Bytes)]
}

fn any_time() -> impl Strategy<Value = RawTime> {
    prop_oneof![word().prop_map(RawTime::Text), number().prop_map(RawTime::Seconds)]
}

fn any_agent() -> impl Strategy<Value = RawAgent> {
    let o = prop::option::of::<BoxedStrategy<String>>;
    let words = prop::collection::vec(o(word().boxed()), 19);
    let numbers = prop::collection::vec(prop::option::of(number()), 7);
    let sizes = prop::collection::vec(prop::option::of(any_size()), 5);
    let times = prop::collection::vec(prop::option::of(any_time()), 4);
    let lists = prop::collection::vec(prop::option::of(prop::collection::vec(word(), 0..3)), 3);
    let env = prop::option::of(prop::collection::btree_map(word(), word(), 0..3));
    (words, numbers, sizes, times, lists, env, prop::option::of(any::<f64>())).prop_map(
        |(mut w, n, s, t, mut l, env, share)| {
            let mut w = w.drain(..);
            let mut word = || w.next().flatten();
            let mut l = l.drain(..);
            let mut list = || l.next().flatten();
            RawAgent {
                name: word(),
                title: word(),
                role: word(),
                tier: word(),
                backend: word(),
                engine: word(),
                endpoint: word(),
                model: word(),
                revision: word(),
                image: word(),
                dtype: word(),
                quantization: word(),
                kv_dtype: word(),
                tool_parser: word(),
                draft_model: word(),
                attention_backend: word(),
                load_mode: word(),
                served_by: word(),
                color: word(),
                port: n[0],
                context: n[1],
                sequences: n[2],
                tensor_parallel: n[3],
                draft_tokens: n[4],
                batched_tokens: n[5],
                gpu_layers: n[6],
                cache_ram: s[4].clone(),
                weights: s[0].clone(),
                overhead: s[1].clone(),
                kv_cache: s[2].clone(),
                memory: s[3].clone(),
                ttl: t[0].clone(),
                drain: t[1].clone(),
                load_timeout: t[2].clone(),
                request_timeout: t[1].clone(),
                min_residency: t[3].clone(),
                command: list(),
                devices: list(),
                args: list(),
                env,
                share,
                ..RawAgent::default()
            }
        },
    )
}

fn any_gateway() -> impl Strategy<Value = RawGateway> {
    let words = || prop::option::of(prop::collection::vec(word(), 0..3));
    let key = words().prop_map(|agents| RawKey { agents });
    (
        words(),
        prop::collection::vec((word(), key), 0..3),
        prop::array::uniform4(prop::option::of(number())),
        prop::array::uniform3(prop::option::of(any_time())),
    )
        .prop_map(|(hosts, keys, n, t)| RawGateway {
            hosts,
            queue_limit: n[0],
            max_streams: n[1],
            session_budget_odin: n[2],
            session_budget_utility: n[3],
            odin_ttl: t[0].clone(),
            odin_cooldown: t[1].clone(),
            health_timeout: t[2].clone(),
            keys: Ordered(keys),
            ..RawGateway::default()
        })
}

fn any_stack() -> impl Strategy<Value = RawStack> {
    let profile = prop::collection::vec(word(), 0..4).prop_map(|agents| RawProfile { agents });
    (
        prop::option::of(prop_oneof![Just(1), number()]),
        prop::option::of(word()),
        prop::option::of(word()),
        prop::collection::vec(prop::collection::vec(word(), 0..4), 0..3),
        prop::collection::vec((word(), any_agent()), 0..4),
        prop::collection::vec((word(), profile), 0..4),
        (prop::option::of(word()), prop::option::of(any_size()), prop::option::of(any_size())),
        any_gateway(),
    )
        .prop_map(
            |(version, name, base, conflicts, agents, profiles, (listen, max_body, limit), gateway)| {
                RawStack {
                    version,
                    name,
                    base,
                    conflicts,
                    memory: RawMemory { limit: limit.map(RawLimit::One) },
                    agents: Ordered(agents),
                    profiles: Ordered(profiles),
                    gateway: RawGateway { listen, max_body, ..gateway },
                }
            },
        )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_file_makes_it_panic_and_no_refusal_is_without_words(raw in any_stack(), scale in 0u64..2000) {
        if let Err(problems) = resolve(&raw, &Facts { scale, ..facts() }) {
            prop_assert!(!problems.is_empty());
            for problem in problems {
                prop_assert!(problem.message.ends_with(['.', '?']), "{}", problem.message);
                prop_assert!(problem.next.ends_with(['.', '?']), "{}", problem.next);
                prop_assert!(!problem.message.chars().chain(problem.next.chars()).any(char::is_control));
            }
        }
    }

    /// A good stack with one agent replaced by anything: what is taken keeps the promises of its types.
    #[test]
    fn what_is_taken_is_sound(wild in any_agent()) {
        let raw = with(|raw| {
            let known = agent(THOR, 8001, "12 GB");
            let keep = RawAgent {
                model: known.model, port: known.port, kv_cache: known.kv_cache,
                share: None, memory: None, served_by: None, ..wild
            };
            raw.agents.0[0].1 = keep;
        });
        if let Ok(stack) = resolve(&raw, &facts()) {
            let mut ports: Vec<u16> = stack.agents.iter().filter(|a| a.is_ours()).map(|a| a.port).collect();
            ports.push(stack.gateway.listen.port());
            ports.sort_unstable();
            prop_assert!(ports.windows(2).all(|w| w[0] != w[1]) && ports[0] > 0);
            for agent in &stack.agents {
                prop_assert!(agent.context >= 1 && agent.sequences >= 1 && agent.tensor_parallel >= 1);
                if let (ClaimBasis::KvCache { kv_cache, .. }, Some(per_token)) = (agent.claim, agent.kv_bytes_per_token) {
                    prop_assert!(kv_cache.0 >= per_token * u64::from(agent.context));
                }
            }
        }
    }
}
