//! The check of the stack file: what is taken and with which defaults, and each thing that is refused, with the
//! place, the sentence and the way out.

#![allow(clippy::expect_used, clippy::panic, reason = "a test may fail")]

mod common;

use std::collections::BTreeMap;
use std::time::Duration;

use common::raw::{THOR, agent, facts, good, size, text, texts, with, with_thor};
use domain::memory::{Bytes, GIB};
use domain::stack::raw::{RawAgent, RawGateway, RawLimit, RawMemory, RawProfile, RawSize, RawStack, RawTime};
use domain::stack::{BackendKind, ClaimBasis, Facts, Problem, Runs, Stack, Tier, agent_hash, hash, resolve};

fn resolved(raw: &RawStack) -> Stack {
    resolve(raw, &facts()).expect("nothing is wrong")
}

fn problems(raw: &RawStack) -> Vec<Problem> {
    resolve(raw, &facts()).expect_err("something is wrong")
}

/// The one problem, as "path: message next".
fn only(raw: &RawStack) -> String {
    let found = problems(raw);
    assert_eq!(found.len(), 1, "{found:#?}");
    format!("{}: {} {}", found[0].path.join("."), found[0].message, found[0].next).replace('\u{a0}', " ")
}

#[test]
fn what_is_left_out_has_a_default() {
    let stack = resolved(&good());
    assert_eq!((stack.name.as_str(), stack.base.as_str()), ("small", "standard"));
    let thor = &stack.agents[0];
    assert_eq!(thor.display_name, "Thor");
    assert_eq!((thor.tier, thor.backend), (Tier::Utility, BackendKind::Vllm));
    assert_eq!(
        thor.runs,
        Runs::Container { image: "docker.io/kyuz0/vllm-therock-gfx1151:latest".into(), host_ipc: false }
    );
    assert_eq!((thor.context, thor.sequences, thor.tensor_parallel), (32_768, 4, 1));
    assert_eq!(thor.tool_parser.as_deref(), Some("hermes"));
    assert_eq!(thor.quantization.as_deref(), Some("AWQ 4-bit"));
    assert_eq!(thor.kv_bytes_per_token, Some(192 << 10));
    assert_eq!((thor.drain, thor.load_timeout), (Duration::from_mins(1), Duration::from_mins(30)));
    assert_eq!((thor.ttl, thor.min_residency, thor.pinned), (None, Duration::ZERO, false));
    assert_eq!(stack.gateway.listen.to_string(), "127.0.0.1:8899");
    assert_eq!(stack.gateway.max_body, 96 << 20);
    let whole = |i: usize| format!("{:.1}", stack.agents[i].claim_in(Bytes::ZERO).0 as f64 / GIB as f64);
    assert_eq!([whole(0), whole(1), whole(2)], ["25.3", "62.0", "12.7"]);
}

#[test]
fn without_a_base_it_is_the_first_profile() {
    assert_eq!(resolved(&with(|raw| raw.base = None)).base, "standard");
}

#[test]
fn a_rehearsal_has_the_same_sums_in_megabytes() {
    let raw = with(|raw| {
        for (_, agent) in &mut raw.agents.0 {
            if let Some(RawSize::Text(kv)) = &mut agent.kv_cache {
                *kv = kv.replace("GB", "MB");
            }
        }
    });
    let stack = resolve(&raw, &Facts { scale: 1024, ..Facts::default() }).expect("nothing is wrong");
    let thor = stack.agents[0].claim_in(Bytes::ZERO);
    assert_eq!(format!("{:.2}", thor.0 as f64 / f64::from(1 << 20)), "25.30");
    assert_eq!(stack.agents[0].kv_bytes_per_token, Some(192));
    // And the same check of one whole context.
    let small = with_thor(|thor| thor.kv_cache = size("5 MB"));
    let found = resolve(&small, &Facts { scale: 1024, ..Facts::default() }).expect_err("too small");
    let message = found[0].message.replace('\u{a0}', " ");
    assert_eq!(message, "A KV cache of 5.0 MB is too small: one context of 32768 tokens takes 6.0 MB.");
}

#[test]
fn what_is_written_wins_over_what_is_known() {
    let stack = resolved(&with_thor(|thor| {
        thor.weights = size("10 GB");
        thor.overhead = size("1 GB");
        thor.tool_parser = text("llama3_json");
        thor.tier = text("primary");
        thor.name = text("Donar");
        thor.ttl = Some(RawTime::Text("20 min".into()));
        thor.drain = Some(RawTime::Seconds(5));
        thor.kv_dtype = text("fp8");
    }));
    let thor = &stack.agents[0];
    let gb = |n: u64| Bytes(n << 30);
    assert_eq!(thor.claim, ClaimBasis::KvCache { weights: gb(10), kv_cache: gb(12), overhead: gb(1) });
    assert_eq!((thor.display_name.as_str(), thor.tier), ("Donar", Tier::Primary));
    assert_eq!((thor.ttl, thor.drain), (Some(Duration::from_mins(20)), Duration::from_secs(5)));
    assert_eq!(thor.kv_bytes_per_token, Some(96 << 10), "half as much in 8 bits");
    let never = resolved(&with_thor(|thor| thor.ttl = Some(RawTime::Seconds(0))));
    assert_eq!(never.agents[0].ttl, None, "0 means no limit");
}

#[test]
fn the_three_ways_to_run() {
    let gguf = RawAgent { command: Some(texts(&["llama-server"])), ..agent("/m/small.gguf", 8001, "512 MB") };
    let server = RawAgent {
        endpoint: text("http://127.0.0.1:11434/v1"),
        model: text("qwen3:8b"),
        ..RawAgent::default()
    };
    let stack = resolved(&with(|raw| {
        raw.agents.0[0].1 = gguf;
        raw.agents.0[2].1 = server;
    }));
    assert_eq!(stack.agents[0].backend, BackendKind::LlamaCpp);
    assert_eq!(stack.agents[0].runs, Runs::Process { command: texts(&["llama-server"]) });
    let ClaimBasis::KvCache { weights, overhead, .. } = stack.agents[0].claim else { panic!("a KV claim") };
    assert_eq!((weights, overhead), (Bytes(98_362_432), Bytes(GIB)), "the file's own size, and 1 GB");
    assert_eq!(stack.agents[2].backend, BackendKind::External);
    assert_eq!(stack.agents[2].runs, Runs::External { endpoint: "http://127.0.0.1:11434".into() });
    assert_eq!((stack.agents[2].port, stack.agents[2].claim), (11434, ClaimBasis::Memory(Bytes::ZERO)));
}

#[test]
fn several_devices_make_it_parallel() {
    let stack = resolved(&with_thor(|thor| thor.devices = Some(texts(&["gpu0", "gpu1"]))));
    assert_eq!((stack.agents[0].tensor_parallel, stack.agents[0].devices.len()), (2, 2));
}

#[test]
fn limits_are_one_or_by_pool() {
    let one = resolved(&with(|raw| raw.memory = RawMemory { limit: size("120 GB").map(RawLimit::One) }));
    assert_eq!(one.memory.limit, Some(Bytes(120 << 30)));
    let pools = BTreeMap::from([("gpu0".to_owned(), RawSize::Text("22 GB".into()))]);
    let many = resolved(&with(|raw| raw.memory = RawMemory { limit: Some(RawLimit::ByPool(pools)) }));
    assert_eq!(many.memory.for_pool(&domain::pool::PoolId::new("gpu0")), Some(Bytes(22 << 30)));
}

#[test]
fn what_is_worth_knowing_is_a_note_and_no_problem() {
    let stack = resolved(&good());
    let thor = stack.notes.iter().find(|n| n.path == ["agents", "thor", "kv_cache"]).expect("a note");
    assert_eq!(
        thor.message.replace('\u{a0}', " "),
        "4 full contexts of 32768 tokens would take 24.0 GB; with 12.0 GB they take turns."
    );
}

/// Each bad input: what is changed, and the whole of what is said.
#[test]
fn each_problem_has_its_place_its_sentence_and_a_way_out() {
    let norm = "Use lower-case letters, digits and hyphens, a letter first, at most 40.";
    let cases: Vec<(RawStack, String)> = vec![
        (with(|r| r.version = None), "version: The file does not say its version. Write version = 1 at its top.".into()),
        (
            with(|r| r.version = Some(2)),
            "version: This Asgard reads stack files of version 1, and this one is of version 2. Use a newer Asgard, or write version = 1.".into(),
        ),
        (
            with(|r| r.profiles.0[0].1.agents = texts(&["thor", "lokki"])),
            "profiles.standard.agents.1: There is no agent \"lokki\". Did you mean \"loki\"?".into(),
        ),
        (
            with(|r| r.conflicts = vec![texts(&["odin", "freyja"])]),
            "conflicts.0.1: There is no agent \"freyja\". Write one of \"thor\", \"odin\" and \"loki\".".into(),
        ),
        (
            with(|r| r.conflicts = vec![texts(&["odin"])]),
            "conflicts.0: A rule about who is never awake together names fewer than two agents. Name at least two, as in [[\"odin\", \"valkyrie\"]], or remove it.".into(),
        ),
        (
            with(|r| r.base = text("standart")),
            "base: The base profile \"standart\" does not exist. Did you mean \"standard\"?".into(),
        ),
        (
            with(|r| r.profiles.0[1].1.agents = texts(&["odin", "loki"])),
            "profiles.odin.agents.1: odin holds odin and loki, and a rule in conflicts forbids the two awake together. Take one of them out of odin, or change the rule.".into(),
        ),
        (
            with(|r| r.agents.0.push(("Frigga".into(), agent(THOR, 8014, "7 GB")))),
            format!("agents.Frigga: \"Frigga\" cannot be an agent's name. {norm}"),
        ),
        (
            with(|r| r.profiles.0.push(("My profile".into(), RawProfile { agents: texts(&["thor"]) }))),
            format!("profiles.My profile: \"My profile\" cannot be a profile's name. {norm}"),
        ),
        (
            with(|r| r.agents.0[2].1.port = Some(8001)),
            "agents.loki.port: thor and loki both want port 8001. Give loki a port of its own, such as 8002.".into(),
        ),
        (
            with_thor(|t| t.port = Some(8899)),
            "agents.thor.port: Port 8899 is the gateway's own. Give thor a port of its own, such as 8900.".into(),
        ),
        (with_thor(|t| t.port = Some(0)), "agents.thor.port: 0 is not a port. Write a number from 1 to 65535.".into()),
        (
            with_thor(|t| t.port = Some(70_000)),
            "agents.thor.port: 70000 is not a port. Write a number from 1 to 65535.".into(),
        ),
        (
            with_thor(|t| t.port = None),
            "agents.thor.port: Thor has no port. Write port = 8001, or another that nothing else uses.".into(),
        ),
        (
            with_thor(|t| t.context = Some(-4096)),
            "agents.thor.context: context = -4096 is not possible. Write a whole number from 1 to 16777216.".into(),
        ),
        (
            with_thor(|t| t.context = Some(65_536)),
            "agents.thor.context: A context of 65536 tokens is longer than the model's own 32768. Write context = 32768 or less.".into(),
        ),
        (
            with_thor(|t| t.sequences = Some(0)),
            "agents.thor.sequences: sequences = 0 is not possible. Write a whole number from 1 to 4096.".into(),
        ),
        (
            with_thor(|t| t.tensor_parallel = Some(0)),
            "agents.thor.tensor_parallel: tensor_parallel = 0 is not possible. Write a whole number from 1 to 64.".into(),
        ),
        (
            with_thor(|t| {
                t.tensor_parallel = Some(3);
                t.devices = Some(texts(&["gpu0", "gpu1"]));
            }),
            "agents.thor.tensor_parallel: tensor_parallel = 3 does not go with 2 devices. Write tensor_parallel = 2, or name as many devices.".into(),
        ),
        (
            with_thor(|t| t.kv_cache = None),
            "agents.thor.kv_cache: Thor does not say how much memory it takes. Write kv_cache = \"6 GB\" or more, or the whole claim as memory = \"...\".".into(),
        ),
        (
            with_thor(|t| t.share = Some(0.2)),
            "agents.thor.share: Thor gives kv_cache and share, and a claim is exactly one of the three. Keep the one you mean: kv_cache, memory (all of it) or share (of the capacity).".into(),
        ),
        (
            with_thor(|t| {
                t.kv_cache = None;
                t.share = Some(1.5);
            }),
            "agents.thor.share: share = 1.5 is no part of the memory. Write a number above 0 and at most 1.".into(),
        ),
        (
            with_thor(|t| t.kv_cache = size("5 GB")),
            "agents.thor.kv_cache: A KV cache of 5.0 GB is too small: one context of 32768 tokens takes 6.0 GB. Write kv_cache = \"6 GB\" or more, or context = 27306 or less.".into(),
        ),
        (
            with_thor(|t| t.kv_cache = size("12 gigs")),
            "agents.thor.kv_cache: \"12 gigs\" is not a size. Write a number above zero with its unit, such as \"12 GB\" or \"512 MB\"; 1 GB is 2^30 bytes.".into(),
        ),
        (
            with_thor(|t| t.kv_cache = Some(RawSize::Bytes(12))),
            "agents.thor.kv_cache: 12 without a unit is 12 bytes. Write a number with its unit: \"12 GB\".".into(),
        ),
        (
            with_thor(|t| t.ttl = Some(RawTime::Text("soon".into()))),
            "agents.thor.ttl: \"soon\" is not a time. Write a number with its unit, such as \"90 s\", \"20 min\" or \"1 h\", or seconds.".into(),
        ),
        (
            with_thor(|t| t.load_timeout = Some(RawTime::Seconds(0))),
            "agents.thor.load_timeout: No agent is ready in no time. Write a time such as \"30 min\".".into(),
        ),
        (
            with_thor(|t| t.tier = text("review")),
            "agents.thor.tier: There is no tier \"review\". Did you mean \"reviewer\"?".into(),
        ),
        (
            with_thor(|t| t.backend = text("llamacpp")),
            "agents.thor.backend: There is no backend \"llamacpp\". Did you mean \"llama.cpp\"?".into(),
        ),
        (
            with_thor(|t| t.backend = text("tensorrt")),
            "agents.thor.backend: There is no backend \"tensorrt\". Write one of \"vllm\", \"llama.cpp\", \"external\" and \"ollama\".".into(),
        ),
        (
            with_thor(|t| t.engine = text("podman")),
            "agents.thor.engine: There is no engine \"podman\". Write one of \"container\", \"process\", \"external\" and \"ollama\".".into(),
        ),
        (
            with_thor(|t| {
                t.command = Some(texts(&["llama-server"]));
                t.image = text("server:1");
            }),
            "agents.thor.image: image means nothing for a process, which Thor is. Remove image, or say with engine and backend what is meant.".into(),
        ),
        (
            with_thor(|t| t.command = Some(Vec::new())),
            "agents.thor.command: A process needs a program to run. Write command = [\"llama-server\"]: the program, then what comes before the usual arguments.".into(),
        ),
        (
            with_thor(|t| t.image = text("my image")),
            "agents.thor.image: \"my image\" is not the name of an image. Write it as the engine does, such as \"docker.io/kyuz0/vllm-therock-gfx1151:latest\".".into(),
        ),
        (
            with_thor(|t| {
                *t = RawAgent { backend: text("external"), model: text("m"), ..RawAgent::default() };
            }),
            "agents.thor.endpoint: An external server needs its address. Write endpoint = \"http://127.0.0.1:PORT\".".into(),
        ),
        (
            with_thor(|t| {
                *t = RawAgent { endpoint: text("http://10.0.0.2:80"), model: text("m"), ..RawAgent::default() };
            }),
            "agents.thor.endpoint: \"http://10.0.0.2:80\" is not an address of a server on this machine. Write endpoint = \"http://127.0.0.1:PORT\"; other machines are not supported yet.".into(),
        ),
        (
            with_thor(|t| {
                t.backend = text("vllm");
                t.engine = text("external");
            }),
            "agents.thor.engine: A server that somebody else runs does not go with backend = \"vllm\". Write \"external\" for both engine and backend, or for neither.".into(),
        ),
        (
            with_thor(|t| t.model = None),
            "agents.thor.model: Thor has no model. Write its Hub id, such as model = \"Qwen/Qwen2.5-14B-Instruct-AWQ\".".into(),
        ),
        (
            with_thor(|t| {
                t.model = text("../../etc/passwd");
                t.weights = size("1 GB");
            }),
            "agents.thor.model: \"../../etc/passwd\" is neither a Hub id nor a path. Write OWNER/NAME as on the Hub, or the whole path of a file.".into(),
        ),
        (
            with_thor(|t| t.model = text("somebody/unknown-7b")),
            "agents.thor.weights: How large the weights of \"somebody/unknown-7b\" are is not known. Give weights = \"...\" beside kv_cache, or the whole claim as memory = \"...\".".into(),
        ),
        (
            with_thor(|t| t.model = text("/m/absent.gguf")),
            "agents.thor.weights: The size of \"/m/absent.gguf\" is not known: there is no such file here. Give weights = \"...\" beside kv_cache, or the whole claim as memory = \"...\".".into(),
        ),
        (
            with_thor(|t| t.dtype = text("--trust-remote-code")),
            "agents.thor.dtype: \"--trust-remote-code\" cannot be a dtype. Write its name, or leave dtype out.".into(),
        ),
        (
            with_thor(|t| t.env = Some(BTreeMap::from([("A B".to_owned(), "1".to_owned())]))),
            "agents.thor.env.A B: \"A B\" cannot be a variable of the environment. Use letters, digits and underscores, a letter first, and a value of plain text.".into(),
        ),
        (
            with_thor(|t| t.env = Some(BTreeMap::from([("HF_TOKEN".to_owned(), "x".to_owned())]))),
            "agents.thor.env.HF_TOKEN: A token does not belong in the stack file, and model servers are not given one. Remove HF_TOKEN; models are fetched before the start, with the token of your own login.".into(),
        ),
        (
            with_thor(|t| t.color = text("url(x)")),
            "agents.thor.color: \"url(x)\" is not a colour. Write the name of an agent's colour, such as \"odin\", or \"#rrggbb\".".into(),
        ),
        (
            with(|r| r.gateway = RawGateway { listen: text("0.0.0.0:8899"), ..RawGateway::default() }),
            "gateway.listen: Binding \"0.0.0.0:8899\" lets other machines in and demands a key, and there is none. Add a key, a table [gateway.keys.NAME] for each tool. Otherwise write listen = \"127.0.0.1:8899\".".into(),
        ),
        (
            with(|r| r.gateway = RawGateway { listen: text("8899"), ..RawGateway::default() }),
            "gateway.listen: \"8899\" is not an address with a port. Write listen = \"127.0.0.1:8899\".".into(),
        ),
        (
            with(|r| r.memory.limit = size("lots").map(RawLimit::One)),
            "memory.limit: \"lots\" is not a size. Write a number above zero with its unit, such as \"12 GB\" or \"512 MB\"; 1 GB is 2^30 bytes.".into(),
        ),
        (
            with(|r| {
                r.profiles.0.clear();
                r.base = None;
            }),
            "profiles: The stack has no profile. Add one: a table [profiles.standard] with agents = [\"NAME\"].".into(),
        ),
    ];
    for (raw, said) in cases {
        assert_eq!(only(&raw), said);
    }
}

#[test]
fn all_problems_are_said_at_once() {
    let raw = with(|raw| {
        raw.version = None;
        raw.agents.0[0].1.port = Some(-1);
        raw.agents.0[0].1.context = Some(-1);
        raw.agents.0[1].1.kv_cache = None;
        raw.profiles.0[0].1.agents.push("nobody".into());
    });
    let paths: Vec<String> = problems(&raw).iter().map(|p| p.path.join(".")).collect();
    assert_eq!(
        paths,
        [
            "version",
            "agents.thor.port",
            "agents.thor.context",
            "agents.odin.kv_cache",
            "profiles.standard.agents.2"
        ]
    );
}

#[test]
fn one_mistake_is_said_once() {
    // Odin's own problem must not make the profiles that hold it wrong as well.
    let found = problems(&with(|raw| raw.agents.0[1].1.port = None));
    assert_eq!(found.len(), 1, "{found:#?}");
}

#[test]
fn an_empty_file_says_what_a_stack_needs() {
    let paths: Vec<String> = problems(&RawStack::default()).iter().map(|p| p.path.join(".")).collect();
    assert_eq!(paths, ["version", "agents", "profiles"]);
}

#[test]
fn hashes_change_with_what_they_are_about() {
    let stack = resolved(&good());
    assert_eq!(hash(&stack), hash(&resolved(&good())));
    assert_ne!(hash(&stack), hash(&resolved(&with(|raw| raw.name = text("other")))));
    assert_eq!(hash(&stack).len(), 16);
    let thor = |change: fn(&mut RawAgent)| agent_hash(&resolved(&with_thor(change)).agents[0]);
    let before = thor(|_| {});
    let shown_otherwise = thor(|t| {
        t.name = text("Donar");
        t.title = text("Thunderer");
        t.role = text("You are Donar.");
        t.tier = text("primary");
        t.ttl = Some(RawTime::Seconds(60));
        t.drain = Some(RawTime::Seconds(1));
        t.load_timeout = Some(RawTime::Seconds(1));
        t.request_timeout = Some(RawTime::Seconds(1));
        t.min_residency = Some(RawTime::Seconds(1));
        t.pinned = Some(true);
        t.glyph = text("odin");
        t.color = text("odin");
    });
    assert_eq!(before, shown_otherwise, "none of these needs a restart");
    let restarts: [fn(&mut RawAgent); 6] = [
        |t| t.port = Some(8009),
        |t| t.context = Some(16_384),
        |t| t.kv_cache = size("13 GB"),
        |t| t.args = Some(vec!["--seed=1".into()]),
        |t| t.image = text("other:1"),
        |t| t.env = Some(BTreeMap::from([("A".to_owned(), "1".to_owned())])),
    ];
    for change in restarts {
        assert_ne!(before, thor(change));
    }
}
