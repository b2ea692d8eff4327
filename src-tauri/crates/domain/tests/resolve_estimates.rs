//! An agent whose model's files were read: its figures come from them, before preset data.

mod common;

use std::collections::BTreeMap;

use common::raw::{facts, size, text, with};
use domain::Bytes;
use domain::estimate::{Cache, Heads, LayerRun, ModelFacts, Weights};
use domain::stack::raw::RawStack;
use domain::stack::{Agent, Basis, ClaimBasis, Facts, Problem, Stack, resolve};

const THOR: &str = "Qwen/Qwen2.5-14B-Instruct-AWQ";

fn model(weights: f64, layers: u64, kv: u32) -> ModelFacts {
    ModelFacts {
        architecture: "Qwen2ForCausalLM".to_owned(),
        layers: vec![LayerRun { count: layers, cache: Cache::Full { heads: Heads::of(kv, 128) } }],
        attention_heads: 40,
        hidden: 5120,
        intermediate: 13_824,
        vocabulary: 152_064,
        max_context: Some(65_536),
        dtype: "float16".to_owned(),
        weights: Weights::Exact(Bytes::gb(weights)),
        ..ModelFacts::default()
    }
}

fn known(models: &[(&str, ModelFacts)]) -> Facts {
    let models = models.iter().map(|(name, facts)| ((*name).to_owned(), facts.clone()));
    Facts { models: models.collect::<BTreeMap<_, _>>(), ..facts() }
}

fn first(raw: &RawStack, facts: &Facts) -> Result<Agent, Vec<Problem>> {
    resolve(raw, facts).map(|stack: Stack| stack.agents[0].clone())
}

#[expect(clippy::panic, reason = "a claim of another kind fails the test")]
fn parts(agent: &Agent) -> (Bytes, Bytes, Bytes) {
    match agent.claim {
        ClaimBasis::KvCache { weights, kv_cache, overhead } => (weights, kv_cache, overhead),
        _ => panic!("{:?}", agent.claim),
    }
}

fn thor(change: impl FnOnce(&mut domain::stack::raw::RawAgent)) -> RawStack {
    with(|raw| {
        let agent = &mut raw.agents.0[0].1;
        agent.model = text(THOR);
        agent.kv_cache = size("12 GB");
        (agent.weights, agent.overhead, agent.memory, agent.share) = (None, None, None, None);
        change(agent);
    })
}

#[test]
fn figures_of_the_files_come_before_preset_data_and_what_is_written_before_both() {
    let preset = first(&thor(|_| {}), &facts()).unwrap();
    assert_eq!(preset.basis, Basis::Declared);
    let files = known(&[(THOR, model(20.0, 24, 8))]);
    let agent = first(&thor(|_| {}), &files).unwrap();
    assert_eq!(parts(&agent).0, Bytes::gb(20.0));
    assert_eq!(agent.kv_bytes_per_token, Some(96 << 10), "24 layers in the file, 48 in the preset");
    assert_eq!(agent.basis, Basis::Estimated);
    assert!(parts(&agent).2 >= Bytes::gb(4.0));
    let written = first(&thor(|a| a.weights = size("11 GB")), &files).unwrap();
    assert_eq!((parts(&written).0, written.basis), (Bytes::gb(11.0), Basis::Declared));
    let whole = first(
        &thor(|a| {
            a.kv_cache = None;
            a.memory = size("40 GB");
        }),
        &files,
    )
    .unwrap();
    assert_eq!(whole.basis, Basis::Declared);
    assert_eq!(whole.known_parts.unwrap().weights, Bytes::gb(20.0));
    let eight = first(&thor(|a| a.kv_dtype = text("fp8")), &files).unwrap();
    assert_eq!(eight.kv_bytes_per_token, Some(48 << 10));
}

#[test]
fn files_that_arrive_are_no_reason_to_start_a_server_again() {
    let hash = |facts: &Facts, kv: &str| {
        domain::stack::agent_hash(&first(&thor(|a| a.kv_cache = size(kv)), facts).unwrap())
    };
    let files = known(&[(THOR, model(20.0, 24, 8))]);
    assert_eq!(hash(&facts(), "12 GB"), hash(&files, "12 GB"));
    assert_ne!(hash(&files, "12 GB"), hash(&files, "13 GB"));
}

#[test]
fn the_limit_of_the_files_counts() {
    let files = known(&[(THOR, model(20.0, 24, 8))]);
    let longer = thor(|a| a.context = Some(65_536));
    assert!(first(&longer, &facts()).is_err(), "the preset says 32768");
    assert_eq!(first(&longer, &files).unwrap().context, 65_536);
    let problems = first(&thor(|a| a.context = Some(70_000)), &files).unwrap_err();
    assert!(problems[0].message.contains("65536"), "{problems:?}");
}

#[test]
fn one_context_is_what_the_server_sets_aside_for_it() {
    // 60 sliding and 4 full layers count as 64 in groups of 4: blocks of 16 tokens of four layers.
    let heads = Heads::of(8, 128);
    let layers = vec![
        LayerRun { count: 4, cache: Cache::Full { heads } },
        LayerRun { count: 60, cache: Cache::Sliding { heads, window: 1024 } },
    ];
    let files = known(&[(THOR, ModelFacts { layers, ..model(20.0, 1, 8) })]);
    let block: u64 = 4 * 16 * 4096;
    let one = (2048 + 15 * 193) * block;
    let at = |bytes: u64| {
        let raw = thor(|a| {
            a.context = Some(32_768);
            a.sequences = Some(2);
            a.batched_tokens = Some(2048);
            a.kv_cache = Some(domain::stack::raw::RawSize::Bytes(i64::try_from(bytes).unwrap()));
        });
        resolve(&raw, &files)
    };
    let problems = at(one - 1).unwrap_err();
    assert!(problems[0].message.contains("too small"), "{problems:?}");
    assert!(
        problems[0].next.contains("context = 32736") || problems[0].next.contains("context = 327"),
        "{problems:?}"
    );
    let exactly = at(one).unwrap();
    assert!(exactly.notes.iter().any(|n| n.message.contains("newer versions")), "{:?}", exactly.notes);
    // A block is set aside, and windows hold a second batch.
    let least = (1 + 2048 + 15 * 321) * block;
    assert!(at(least - 1).unwrap().notes.iter().any(|n| n.message.contains("newer versions")));
    let turns = at(least).unwrap();
    assert!(turns.notes.iter().any(|n| n.message.contains("take turns")), "{:?}", turns.notes);
    let plenty = at(2 * one).unwrap();
    let own = plenty.agents[0].name.to_string();
    assert!(!plenty.notes.iter().any(|n| n.path.contains(&own)), "{:?}", plenty.notes);
}

#[test]
fn a_draft_model_counts_with_its_weights_and_its_cache() {
    let draft = ModelFacts { max_context: Some(8192), ..model(1.0, 12, 2) };
    let files = known(&[(THOR, model(20.0, 24, 8)), ("a/small", draft)]);
    let agent = first(&thor(|a| a.draft_model = text("a/small")), &files).unwrap();
    assert_eq!(parts(&agent).0, Bytes::gb(21.0));
    assert_eq!(agent.kv_bytes_per_token, Some((96 + 12) << 10));
    let unknown = thor(|a| a.draft_model = text("a/unknown"));
    let stack = resolve(&unknown, &files).unwrap();
    assert!(stack.notes.iter().any(|n| n.message.contains("draft")), "{:?}", stack.notes);
}

#[test]
fn a_rehearsal_divides_the_figures_of_the_files() {
    let files = Facts { scale: 1024, ..known(&[(THOR, model(20.0, 24, 8))]) };
    let agent = first(&thor(|a| a.kv_cache = size("12 MB")), &files).unwrap();
    assert_eq!(parts(&agent).0, Bytes::mb(20.0));
    assert_eq!(agent.kv_bytes_per_token, Some(96));
}

#[test]
fn what_the_files_do_not_say_is_asked_for() {
    let silent = ModelFacts { weights: Weights::Unknown { bound: None }, ..model(1.0, 24, 8) };
    let problems =
        first(&thor(|a| a.model = text("a/unknown")), &known(&[("a/unknown", silent)])).unwrap_err();
    assert!(problems.iter().any(|p| p.path.last().is_some_and(|k| k == "weights")), "{problems:?}");
}
