//! What is known of a GPU: the table itself, and which of an agent's choices it speaks against.

#![allow(clippy::expect_used, reason = "a test may fail")]

mod common;

use common::{agent, external};
use domain::matrix::{Entry, Verdict, concerns, entries};
use domain::stack::{Agent, BackendKind, Facts, Gpu, Runs, resolve};

const GPU: Gpu = Gpu::Gfx1151;

fn verdicts(agent: &Agent) -> Vec<Verdict> {
    concerns(Some(GPU), agent).into_iter().map(|c| c.verdict).collect()
}

fn thor(model: &str) -> Agent {
    Agent { model: model.into(), ..agent("thor", 10.0) }
}

fn llama(model: &str, args: &[&str]) -> Agent {
    let args = args.iter().map(|a| (*a).to_owned()).collect();
    Agent { backend: BackendKind::LlamaCpp, args, ..thor(model) }
}

#[test]
fn every_entry_says_who_saw_it_and_when() {
    for Entry { name, reason, source, date, .. } in entries(GPU) {
        assert!(!name.is_empty() && !source.is_empty(), "{name}");
        assert!(reason.ends_with('.'), "{name}: {reason}");
        assert!(date.starts_with("2026") && date.len() <= 10, "{name}: {date}");
    }
    let names: std::collections::BTreeSet<_> = entries(GPU).iter().map(|e| e.name).collect();
    assert_eq!(names.len(), entries(GPU).len(), "each is there once");
}

#[test]
fn fp8_weights_crash_in_these_words() {
    let found = concerns(Some(GPU), &thor("Qwen/Qwen3-14B-FP8"));
    assert_eq!(
        found.iter().map(|c| c.sentence.as_str()).collect::<Vec<_>>(),
        [
            "FP8 weights: crashes on gfx1151. torch._scaled_mm has no kernel for this GPU: it wants MI300 or newer. \
          (strix-opencode, DECISIONS.md, 2026-02-09)"
        ]
    );
    let by_key = Agent { quantization: Some("FP8".into()), ..thor("a/b") };
    assert_eq!(verdicts(&by_key), [Verdict::Crashes]);
}

#[test]
fn each_choice_is_judged_by_itself() {
    let kv = Agent { kv_dtype: Some("FP8_e4m3".into()), ..thor("a/b") };
    let env = |value: &str| Agent {
        env: [("VLLM_ROCM_USE_AITER".to_owned(), value.to_owned())].into(),
        ..thor("a/b")
    };
    let amdvlk = Agent {
        runs: Runs::Container { image: "docker.io/kyuz0/toolboxes:vulkan-amdvlk".into(), host_ipc: false },
        ..llama("/m/a-Q4_K_M.gguf", &[])
    };
    let table: [(Agent, &[Verdict]); 21] = [
        (kv, &[Verdict::LosesAccuracy]),
        (thor("Qwen/Qwen2.5-14B-Instruct-AWQ"), &[]),
        (thor("Qwen/Qwen2.5-14B-Instruct-GPTQ-Int4"), &[Verdict::Slow]),
        (thor("openai/gpt-oss-20b-mxfp4"), &[Verdict::Crashes]),
        (thor("nvidia/Llama-3-NVFP4"), &[Verdict::Unsupported]),
        (thor("unsloth/a-bnb-4bit"), &[Verdict::Unsupported]),
        (env("1"), &[Verdict::Crashes]),
        (env("True"), &[Verdict::Crashes]),
        (env("0"), &[]),
        (amdvlk, &[Verdict::Unsupported]),
        (llama("/m/a-Q4_K_M.gguf", &["--mmap"]), &[Verdict::Hangs]),
        (llama("/m/a-Q4_K_M.gguf", &["--no-mmap"]), &[]),
        (llama("/m/a-Q4_K_M.gguf", &["--load-mode", "mmap"]), &[Verdict::Hangs]),
        (llama("/m/a-Q4_K_M.gguf", &["--alias", "x", "-lm", "mmap"]), &[Verdict::Hangs]),
        (llama("/m/a-Q4_K_M.gguf", &["--load-mode", "none", "--x", "mmap"]), &[]),
        (thor("/m/a-Q4_K_M.gguf"), &[Verdict::Unsupported]),
        (thor("openai/gpt-oss-120b"), &[]),
        (Agent { quantization: Some("awq_marlin".into()), ..thor("a/b") }, &[]),
        (thor("a/b-W4A16"), &[Verdict::Slow]),
        // vLLM's troubles are not llama.cpp's.
        (llama("/m/a-fp8.gguf", &[]), &[]),
        // On the CPU none of it matters.
        (llama("/m/a-Q4_K_M.gguf", &["-ngl", "0", "--mmap"]), &[]),
    ];
    for (agent, expected) in table {
        assert_eq!(verdicts(&agent), expected, "{} {:?} {:?}", agent.model, agent.args, agent.env);
    }
}

#[test]
fn words_stand_by_themselves() {
    for inside in ["a/mxfp8x", "a/nofp8", "a/fp80", "a/fp8b", "a/gptqx", "a/xnvfp4"] {
        assert_eq!(verdicts(&thor(inside)), [], "{inside}");
    }
    for apart in ["a/fp8", "fp8/b", "a/b-FP8-dynamic", "a/b_fp8", "a/nofp8-fp8"] {
        assert_eq!(verdicts(&thor(apart)), [Verdict::Crashes], "{apart}");
    }
}

#[test]
fn nothing_is_said_without_a_gpu_and_of_servers_of_others() {
    let fp8 = thor("a/b-fp8");
    assert_eq!(concerns(None, &fp8), []);
    let others = Agent { model: "a/b-fp8".into(), ..external("hel") };
    assert_eq!(concerns(Some(GPU), &others), []);
    let ollama =
        Agent { runs: Runs::Ollama { endpoint: "x".into() }, backend: BackendKind::Ollama, ..fp8.clone() };
    assert_eq!(concerns(Some(GPU), &ollama), []);
}

#[test]
fn it_is_a_note_of_the_check_at_the_server_alone() {
    let raw = common::raw::with(|raw| {
        raw.agents.0[0].1.kv_dtype = common::raw::text("fp8");
        let role = domain::stack::raw::RawAgent {
            served_by: common::raw::text("thor"),
            ..domain::stack::raw::RawAgent::default()
        };
        raw.agents.0.push(("frigga".into(), role));
    });
    let notes = |gpu| {
        let facts = Facts { gpu, ..common::raw::facts() };
        let mut notes = resolve(&raw, &facts).expect("nothing is wrong").notes;
        // Others are about keys of agents.
        notes.retain(|n| n.path.len() == 2);
        notes
    };
    assert_eq!(notes(None), []);
    let found = notes(Some(GPU));
    assert_eq!(found.iter().map(|n| n.path.join(".")).collect::<Vec<_>>(), ["agents.thor"]);
    assert!(found[0].message.starts_with("An FP8 KV cache: loses accuracy on gfx1151. "), "{found:?}");
}
