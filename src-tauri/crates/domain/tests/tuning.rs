//! The keys that say how a server works: each on the backend that has it, with its bounds, and what follows from them.

#![allow(clippy::expect_used, clippy::panic, reason = "a test may fail")]

mod common;

use common::raw::{facts, size, text, texts, with_thor};
use domain::matrix::concerns;
use domain::memory::{Bytes, GIB, MIB};
use domain::stack::raw::{RawAgent, RawSize, RawStack};
use domain::stack::{
    Agent, Facts, Gpu, KnownParts, Layers, LoadMode, Problem, Runs, agent_hash, offload, resolve,
};

fn found(raw: &RawStack) -> Vec<String> {
    let line = |p: Problem| format!("{}: {} {}", p.path.join("."), p.message, p.next);
    resolve(raw, &facts()).map_or_else(|all| all.into_iter().map(line).collect(), |_| Vec::new())
}

fn taken(change: impl FnOnce(&mut RawAgent)) -> Agent {
    resolve(&with_thor(change), &facts()).expect("nothing is wrong").agents.swap_remove(0)
}

fn gguf(agent: &mut RawAgent) {
    agent.model = text("/m/small.gguf");
    agent.backend = text("llama.cpp");
    agent.tool_parser = None;
}

#[test]
fn each_key_is_taken_where_it_means_something() {
    let vllm = taken(|t| {
        t.batched_tokens = Some(4096);
        t.prefix_caching = Some(false);
        t.eager = Some(true);
        t.attention_backend = text("TRITON_ATTN");
        t.draft_model = text("a/small");
        t.draft_tokens = Some(3);
    });
    assert_eq!((vllm.batched_tokens, vllm.prefix_caching, vllm.eager), (Some(4096), Some(false), true));
    assert_eq!((vllm.attention_backend.as_deref(), vllm.draft_tokens), (Some("TRITON_ATTN"), Some(3)));
    let llama = taken(|t| {
        gguf(t);
        t.gpu_layers = Some(0);
        t.load_mode = text("mmap+mlock");
        t.cache_ram = size("2 GB");
        t.batched_tokens = Some(512);
    });
    assert_eq!((llama.gpu_layers, llama.load_mode), (Some(0), Some(LoadMode::MmapMlock)));
    assert_eq!((llama.cache_ram, llama.batched_tokens), (Some(Bytes::gb(2.0)), Some(512)));
    // The prompt cache is memory like any other.
    let without = taken(gguf);
    assert_eq!(llama.claim_in(Bytes::ZERO), without.claim_in(Bytes::ZERO) + Bytes::gb(2.0));
    for mode in LoadMode::ALL {
        let written = taken(|t| {
            gguf(t);
            t.load_mode = text(mode.word());
        });
        assert_eq!(written.load_mode, Some(mode));
    }
}

#[test]
fn a_key_of_another_backend_is_a_problem_with_its_way_out() {
    type Change = fn(&mut RawAgent);
    let of_vllm: [(&str, Change); 3] = [
        ("prefix_caching", |t| t.prefix_caching = Some(true)),
        ("eager", |t| t.eager = Some(false)),
        ("attention_backend", |t| t.attention_backend = text("X")),
    ];
    let of_llama: [(&str, Change); 3] = [
        ("gpu_layers", |t| t.gpu_layers = Some(0)),
        ("load_mode", |t| t.load_mode = text("none")),
        ("cache_ram", |t| t.cache_ram = size("1 GB")),
    ];
    let said = |key: &str, backend: &str, all: &[String]| {
        let [one] = all else { panic!("{key}: {all:#?}") };
        let expected =
            format!("agents.thor.{key}: {key} means nothing for backend = \"{backend}\", which Thor has.");
        assert!(one.starts_with(&expected) && one.contains(" Remove it"), "{one}");
    };
    for (key, change) in of_llama {
        said(key, "vllm", &found(&with_thor(change)));
    }
    for (key, change) in of_vllm {
        let raw = with_thor(|t| {
            gguf(t);
            change(t);
        });
        said(key, "llama.cpp", &found(&raw));
    }
    let external = with_thor(|t| {
        t.backend = text("external");
        t.endpoint = text("http://127.0.0.1:9000");
        t.port = None;
        t.kv_cache = None;
        t.batched_tokens = Some(1);
    });
    said("batched_tokens", "external", &found(&external));
    // And a role has none of them.
    let mut role = with_thor(|_| {});
    let all = RawAgent {
        served_by: text("thor"),
        batched_tokens: Some(1),
        prefix_caching: Some(true),
        eager: Some(true),
        attention_backend: text("X"),
        gpu_layers: Some(0),
        load_mode: text("none"),
        cache_ram: size("1 GB"),
        draft_tokens: Some(1),
        ..RawAgent::default()
    };
    role.agents.0.push(("frigga".to_owned(), all));
    assert_eq!(found(&role).len(), 8, "{:#?}", found(&role));
}

#[test]
fn what_cannot_be_is_said_once() {
    type Change = fn(&mut RawAgent);
    let table: [(&str, Change); 11] = [
        ("batched_tokens = 0 is not possible. Write a whole number from 1 to", |t| {
            t.batched_tokens = Some(0);
        }),
        ("batched_tokens = -5 is", |t| t.batched_tokens = Some(-5)),
        ("batched_tokens = 9000000000 is", |t| t.batched_tokens = Some(9_000_000_000)),
        ("\"-x\" cannot be an attention_backend.", |t| t.attention_backend = text("-x")),
        ("\"\" cannot be an attention_backend.", |t| t.attention_backend = text("")),
        ("Thor has draft_tokens and no model that would write them.", |t| t.draft_tokens = Some(3)),
        ("draft_tokens = 65 is", |t| {
            t.draft_model = text("a/small");
            t.draft_tokens = Some(65);
        }),
        ("gpu_layers = -1 is not possible. Write 0 to keep it on the processor", |t| {
            gguf(t);
            t.gpu_layers = Some(-1);
        }),
        ("gpu_layers = 1000000 is", |t| {
            gguf(t);
            t.gpu_layers = Some(1_000_000);
        }),
        ("There is no load_mode \"mapp\". Write one of \"none\", \"mmap\"", |t| {
            gguf(t);
            t.load_mode = text("mapp");
        }),
        ("cache_ram", |t| {
            gguf(t);
            t.cache_ram = Some(RawSize::Bytes(-1));
        }),
    ];
    for (expected, change) in table {
        let all = found(&with_thor(change));
        assert!(all.len() == 1 && all[0].contains(expected), "{expected}: {all:#?}");
    }
}

#[test]
fn the_hash_knows_what_a_launch_is_made_from() {
    type Change = fn(&mut RawAgent);
    let vllm: [Change; 6] = [
        |t| t.batched_tokens = Some(4096),
        |t| t.prefix_caching = Some(true),
        |t| t.eager = Some(true),
        |t| t.attention_backend = text("TRITON_ATTN"),
        |t| t.draft_model = text("a/small"),
        |t| {
            t.draft_model = text("a/small");
            t.draft_tokens = Some(2);
        },
    ];
    let mut seen = vec![agent_hash(&taken(|_| {}))];
    for change in vllm {
        seen.push(agent_hash(&taken(change)));
    }
    let llama: [Change; 4] =
        [|t| t.gpu_layers = Some(0), |t| t.load_mode = text("mlock"), |t| t.cache_ram = size("1 GB"), |_| {}];
    for change in llama {
        seen.push(agent_hash(&taken(|t| {
            gguf(t);
            change(t);
        })));
    }
    let different: std::collections::BTreeSet<&String> = seen.iter().collect();
    assert_eq!(different.len(), seen.len());
}

#[test]
fn where_the_layers_are_decides_what_they_count_against() {
    let process = || Runs::Process { command: vec!["llama-server".to_owned()] };
    let of = |layers: Option<u32>, args: &[&str], local: bool| {
        let agent = taken(gguf);
        let runs = if local { process() } else { agent.runs.clone() };
        let agent = Agent { gpu_layers: layers, args: texts(args), runs, ..agent };
        (agent.layers(), agent.on_device())
    };
    for (layers, args, local, expected) in [
        (None, &[][..], false, (None, true)),
        (None, &[], true, (None, false)),
        (Some(0), &[], false, (Some(Layers::Cpu), false)),
        (Some(8), &[], true, (Some(Layers::Gpu), true)),
        (None, &["-ngl", "0"], false, (Some(Layers::Cpu), false)),
        (None, &["--gpu-layers", "0", "-ngl", "9"], false, (Some(Layers::Gpu), true)),
        (None, &["--n-gpu-layers", "all"], true, (Some(Layers::Gpu), true)),
        (None, &["-ngl", "20", "--device", "none"], false, (Some(Layers::Cpu), false)),
        // The key is heard first.
        (Some(0), &["-ngl", "20"], false, (Some(Layers::Cpu), false)),
        (None, &["-ngl"], false, (None, true)),
    ] {
        assert_eq!(of(layers, args, local), expected, "{layers:?} {args:?} {local}");
    }
}

#[test]
fn a_claim_in_one_number_knows_its_parts() {
    let whole = |change: fn(&mut RawAgent)| {
        taken(|t| {
            t.kv_cache = None;
            t.memory = size("25 GB");
            change(t);
        })
        .known_parts
    };
    let gb = |tenths: u64| Bytes((tenths << 30) / 10);
    assert_eq!(whole(|_| {}), Some(KnownParts { weights: gb(93), overhead: gb(40) }));
    assert_eq!(whole(|t| t.overhead = size("6 GB")).map(|p| p.overhead), Some(Bytes(6 * GIB)));
    assert_eq!(whole(|t| t.model = text("a/unknown")), None);
    assert_eq!(whole(gguf), Some(KnownParts { weights: Bytes(98_362_432), overhead: Bytes(GIB) }));
    assert_eq!(taken(|_| {}).known_parts, None, "kv_cache says it all");
    let raw = with_thor(|t| {
        t.kv_cache = None;
        t.memory = size("25 MB");
    });
    // The others are left as they are, in gigabytes: only thor is looked at.
    let facts = Facts { scale: 1024, ..Facts::default() };
    let thor = resolve(&raw, &facts).expect("nothing is wrong").agents.swap_remove(0);
    assert_eq!(thor.known_parts.map(|p| p.overhead), Some(Bytes(4 * MIB)));
}

#[test]
fn moving_a_part_to_the_processor_gains_nothing_on_shared_memory() {
    let with_args = |agent: Agent, args: &[&str]| Agent { args: texts(args), ..agent };
    let thor = || taken(|_| {});
    let small = || taken(gguf);
    for (agent, flag) in [
        (with_args(thor(), &["--cpu-offload-gb", "8"]), "--cpu-offload-gb"),
        (with_args(thor(), &["--cpu_offload_gb=8"]), "--cpu-offload-gb"),
        (with_args(small(), &["--n-cpu-moe", "12"]), "--n-cpu-moe"),
        (with_args(small(), &["-ot", "exps=CPU"]), "-ot"),
        (with_args(small(), &["-nkvo"]), "-nkvo"),
        (Agent { gpu_layers: Some(20), ..small() }, "gpu_layers = 20"),
    ] {
        let said = offload(&agent).unwrap_or_else(|| panic!("{flag} is not seen"));
        assert!(said.starts_with(flag) && said.contains("gains nothing here"), "{said}");
        let all = concerns(Some(Gpu::Gfx1151), &agent);
        assert!(all.iter().any(|c| c.sentence == said), "{all:#?}");
        assert!(concerns(None, &agent).is_empty(), "of a card with memory of its own it is a choice");
    }
    for agent in [
        thor(),
        small(),
        Agent { gpu_layers: Some(0), ..small() },
        Agent { gpu_layers: Some(999), ..small() },
        Agent { gpu_layers: Some(0), ..with_args(small(), &["--cpu-moe"]) },
        with_args(thor(), &["--n-cpu-moe", "3"]),
    ] {
        assert_eq!(offload(&agent), None, "{:?} {:?}", agent.gpu_layers, agent.args);
    }
    let mapped = Agent { load_mode: Some(LoadMode::Mmap), ..small() };
    assert!(concerns(Some(Gpu::Gfx1151), &mapped).iter().any(|c| c.sentence.contains("mmap hangs")));
}
