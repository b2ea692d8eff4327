//! What is exported, and that it comes back.
#![allow(clippy::expect_used, clippy::unwrap_used, clippy::panic, reason = "a test may fail")]

mod common;

use common::{report, resolved};
use domain::memory::{Bytes, GIB};
use domain::stack::{ClaimBasis, Runs, Stack};
use exchange::{Facts, SourceFile, export_compose, export_env, import_compose, import_env};
use proptest::prelude::*;

const NORSE: &str = include_str!("../../store/presets/norse.toml");
const MACHINE: Facts = Facts { capacity: Some(Bytes(124 * GIB)) };

/// What a stack starts: everything but how it is shown.
fn essence(stack: &Stack) -> String {
    let mut lines =
        vec![format!("{} {} {:?} {}", stack.name, stack.base, stack.conflicts, stack.gateway.listen.port())];
    for p in &stack.profiles {
        lines.push(format!("{p:?}"));
    }
    for a in &stack.agents {
        lines.push(format!(
            "{:?}",
            (
                (&a.name, a.backend, &a.runs, &a.model, &a.revision, a.port, a.context, a.sequences, a.claim),
                (
                    &a.dtype,
                    &a.quantization,
                    &a.kv_dtype,
                    a.tensor_parallel,
                    &a.tool_parser,
                    &a.draft_model,
                    &a.args,
                    &a.env
                ),
                (a.load_timeout, a.ttl.filter(|_| a.name.as_str() == "odin")),
            )
        ));
    }
    lines.join("\n")
}

fn back(stack: &Stack) -> Stack {
    let export = export_compose(stack);
    let [compose, env]: [SourceFile; 2] = export.files.try_into().expect("two files");
    let import = import_compose(std::slice::from_ref(&compose), Some(&env), &MACHINE)
        .unwrap_or_else(|e| panic!("{e} {}\n{}", e.next, compose.text));
    assert!(import.not_understood.is_empty(), "{}", report(&import));
    resolved(&import.stack)
}

#[test]
fn the_norse_stack_comes_back_from_compose() {
    let stack = resolved(NORSE);
    assert_eq!(essence(&back(&stack)), essence(&stack));
    let export = export_compose(&stack);
    insta::assert_snapshot!(
        "norse-compose",
        format!("{}\n=== .env\n{}", export.files[0].text, export.files[1].text)
    );
}

#[test]
fn the_norse_stack_comes_back_from_its_env() {
    let stack = resolved(NORSE);
    let export = export_env(&stack);
    let import = import_env(&export.files[0], &MACHINE).expect("imported");
    assert!(import.not_understood.is_empty(), "{}", report(&import));
    let again = resolved(&import.stack);
    let of = |s: &Stack| {
        s.agents
            .iter()
            .map(|a| (a.name.clone(), a.model.clone(), a.port, a.context, a.sequences))
            .collect::<Vec<_>>()
    };
    assert_eq!(of(&again), of(&stack));
    assert_eq!(again.conflicts, stack.conflicts);
}

#[test]
fn agents_of_other_kinds_are_said_and_left_out() {
    let mut stack = resolved(NORSE);
    stack.agents[1].runs = Runs::Process { command: vec!["vllm".into()] };
    stack.agents[2].runs = Runs::External { endpoint: "http://127.0.0.1:1".into() };
    let export = export_compose(&stack);
    for name in ["Valkyrie", "Odin"] {
        assert!(export.notes.iter().any(|n| n.contains(name)), "{name}: {:?}", export.notes);
    }
    assert!(!export.files[0].text.contains("vllm_valkyrie"));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(120))]

    #[test]
    fn whatever_an_agent_holds_comes_back(
        folder in "/[a-zA-Z0-9][a-zA-Z0-9 '\"$#{}\\\\é-]{0,11}",
        args in prop::collection::vec("[a-z$'\" {}#é\\\\]{1,8}", 0..3),
        env in prop::collection::btree_map("[A-Z]{3,8}_X", "[a-zA-Z0-9$'\" {}#é\\\\\t]{1,10}", 0..3),
        context in 1_u32..32_768,
        sequences in 1_u32..8,
        gb in 6_u64..40,
    ) {
        let mut stack = resolved(NORSE);
        let thor = &mut stack.agents[0];
        thor.context = context;
        thor.sequences = sequences;
        thor.args = args.iter().flat_map(|a| ["--extra".to_owned(), a.trim().to_owned() + "x"]).collect();
        thor.env = env.clone();
        if let ClaimBasis::KvCache { kv_cache, .. } = &mut thor.claim {
            *kv_cache = Bytes(gb * GIB);
        }
        let frigga = &mut stack.agents[5];
        frigga.backend = domain::stack::BackendKind::LlamaCpp;
        frigga.runs = Runs::Container { image: "ghcr.io/ggml-org/llama.cpp:server-vulkan".into(), host_ipc: true };
        let folder = folder.trim_end_matches(' ');
        frigga.model = format!("/data{folder}/qwen2.5-14b-instruct.Q4_K_M.gguf");
        frigga.dtype = None;
        frigga.context = context;
        frigga.sequences = 1;
        let again = back(&stack);
        prop_assert_eq!(&again.agents[0].args, &stack.agents[0].args);
        prop_assert_eq!(&again.agents[0].env, &stack.agents[0].env);
        prop_assert_eq!(again.agents[0].claim, stack.agents[0].claim);
        prop_assert_eq!((again.agents[0].context, again.agents[0].sequences), (context, sequences));
        prop_assert_eq!(&again.agents[5].model, &stack.agents[5].model);
        prop_assert_eq!(&again.agents[5].runs, &stack.agents[5].runs);
        prop_assert_eq!(again.agents[5].context, context);
        prop_assert!(again.agents[5].args.is_empty());
    }
}
