//! Choices tried on the shipped stacks.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use api::shapes::assign::{AssignPreview, AssignRequest, NewAgent};
use api::{ApiError, Code};
use domain::estimate::{Cache, Heads, LayerRun, ModelFacts, Weights};
use domain::memory::{Bytes, GIB, MIB};
use domain::pool::{PoolId, PoolKind, PoolReading};
use domain::stack::Gpu;
use jiff::Timestamp;
use serde_json::{Value, json};
use store::stack_file::{self, Surroundings, edit, presets};

use super::trial::Ground;
use super::{to_write, tried};
use crate::reading::Look;
use crate::state::{Event, StackSource, State};

/// A machine on which these models were fetched.
#[derive(Default)]
struct Around(BTreeMap<&'static str, ModelFacts>);

impl Surroundings for Around {
    fn gpu(&self) -> Option<Gpu> {
        Some(Gpu::Gfx1151)
    }

    fn model(&self, model: &str, _: Option<&str>) -> Option<ModelFacts> {
        self.0.get(model).cloned()
    }
}

const FILE: &str = "/nowhere/stack.toml";
const GGUF: &str = "someone/Strange-12B-GGUF/Strange-12B-Q4_K_M.gguf";
const PLAIN: &str = "someone/Strange-12B-AWQ";

fn facts(weights: u64, quantization: &str) -> ModelFacts {
    ModelFacts {
        architecture: "StrangeForCausalLM".into(),
        layers: vec![LayerRun { count: 40, cache: Cache::Full { heads: Heads::of(8, 128) } }],
        attention_heads: 32,
        hidden: 5120,
        max_context: Some(131_072),
        dtype: "bfloat16".into(),
        quantization: Some(quantization.into()),
        weights: Weights::Exact(Bytes(weights)),
        ..ModelFacts::default()
    }
}

/// What the rehearsal's Hub has: megabytes for gigabytes, in the files themselves.
fn played() -> Around {
    let layers = vec![LayerRun { count: 40, cache: Cache::Full { heads: Heads::of(1, 1) } }];
    Around(BTreeMap::from([(PLAIN, ModelFacts { layers, ..facts(8 * MIB, "AWQ 4-bit") })]))
}

fn around() -> Around {
    Around(BTreeMap::from([
        (PLAIN, facts(8 * GIB, "AWQ 4-bit")),
        (GGUF, facts(7 * GIB, "GGUF Q4_K_M")),
        ("someone/Enormous-400B", facts(800 * GIB, "BF16")),
    ]))
}

fn pool(scale: u64) -> PoolReading {
    if scale > 1 {
        return rehearsal::machine::reading(&[], rehearsal::machine::OTHER);
    }
    PoolReading {
        id: PoolId::new("unified"),
        name: "Unified memory".into(),
        kind: PoolKind::Unified,
        capacity: Some(Bytes(128 * GIB)),
        device_cap: Some(Bytes(124 * GIB)),
        used: Bytes(11 * GIB),
        device_used: Some(Bytes::ZERO),
    }
}

fn household(text: &str, scale: u64, around: &Around) -> State {
    let stack = stack_file::check_on(Path::new(FILE), text, scale, around).unwrap();
    let source = StackSource { text: text.to_owned(), saved: true, ..StackSource::default() };
    let mut state = State::new(Arc::new(stack), "hash".into(), source, scale > 1, Timestamp::UNIX_EPOCH);
    let look = Look { pools: vec![pool(scale)], measured: BTreeMap::new(), doubts: BTreeMap::new() };
    state.apply(Event::Read(look), Timestamp::UNIX_EPOCH);
    state
}

fn asked(text: &str, agent: &str, model: &str) -> AssignRequest {
    AssignRequest {
        hash: store::identity::hash(text.as_bytes()),
        agent: agent.into(),
        new: None,
        model: model.into(),
        revision: None,
        backend: None,
        context: None,
        sequences: None,
        kv_dtype: None,
        kv_cache_bytes: None,
        profiles: None,
        beside: None,
    }
}

/// The preview, and the text that would be written.
fn both(text: &str, scale: u64, asked: &AssignRequest) -> Result<(AssignPreview, Option<String>), ApiError> {
    let around = if scale > 1 { played() } else { around() };
    let state = household(text, scale, &around);
    let free = |port: u16| port != 8015;
    let ground = Ground { state: &state, file: Path::new(FILE), scale, around: &around, free: &free };
    let (preview, _) = tried(&ground, asked)?;
    let (written, edited) = to_write(&ground, asked)?;
    assert_eq!(preview.problems, edited.problems, "what is shown is what is written");
    assert_eq!(written.is_some(), edited.problems.is_empty());
    Ok((preview, written))
}

fn norse() -> String {
    presets::find("norse").unwrap().text()
}

fn lines_that_differ<'a>(before: &'a str, after: &'a str) -> (Vec<&'a str>, Vec<&'a str>) {
    let only = |these: &'a str, those: &str| {
        let mut those: Vec<&str> = those.lines().collect();
        these
            .lines()
            .filter(|line| match those.iter().position(|other| other == line) {
                Some(at) => {
                    those.remove(at);
                    false
                }
                None => true,
            })
            .collect::<Vec<_>>()
    };
    (only(before, after), only(after, before))
}

#[test]
fn pointing_at_a_model_changes_its_own_lines_and_no_other_byte() {
    let text = norse();
    let asked = AssignRequest {
        context: Some(65_536),
        sequences: Some(2),
        beside: Some("loki".into()),
        ..asked(&text, "loki", PLAIN)
    };
    let (preview, written) = both(&text, 1, &asked).unwrap();
    let written = written.unwrap();
    let (gone, come) = lines_that_differ(&text, &written);
    for line in [
        "model = \"Qwen/Qwen2.5-7B-Instruct-AWQ\"",
        "context = 32768",
        "sequences = 4",
        "kv_cache = \"3.5 GB\"",
        "tool_parser = \"hermes\"",
    ] {
        assert!(gone.contains(&line), "{line}: {gone:?}");
    }
    // 2 contexts of 65,536 tokens at 160 KiB.
    for line in
        ["model = \"someone/Strange-12B-AWQ\"", "context = 65536", "sequences = 2", "kv_cache = \"20 GB\""]
    {
        assert!(come.contains(&line), "{line}: {come:?}");
    }
    assert_eq!((gone.len(), come.len()), (5, 4), "{gone:?} {come:?}");
    assert_eq!(preview.keys["tool_parser"], Value::Null);
    assert!(preview.notes.iter().any(|n| n.contains("tool_parser")), "{:?}", preview.notes);
    assert_eq!((preview.weights_bytes, preview.kv_bytes), (8 * GIB, 20 * GIB));
    assert_eq!(
        preview.total_bytes,
        preview.weights_bytes + preview.kv_bytes + preview.overhead_bytes,
        "the whole is the sum of its parts"
    );
    assert_eq!(preview.kv_bytes_per_token, Some(160 << 10));
    assert_eq!((preview.max_context, preview.certainty.as_str()), (Some(131_072), "exact"));
    // Beside Thor and Valkyrie two contexts of so much are too much.
    assert_eq!(preview.pools[0].shortfall_bytes > 0, !fits(&preview, "loki"));
    assert!(preview.longest_context.is_some_and(|longest| longest > 0));
    assert!(!preview.restart);
}

fn fits(preview: &AssignPreview, profile: &str) -> bool {
    preview.profiles.iter().find(|p| p.name == profile).unwrap().fits.unwrap()
}

#[test]
fn the_longest_context_is_one_that_fits_and_the_next_does_not() {
    let text = norse();
    for (profile, sequences) in [(Some("loki"), 4), (Some("standard"), 4), (Some("odin"), 2), (None, 1)] {
        let ask = |context| AssignRequest {
            context: Some(context),
            sequences: Some(sequences),
            beside: profile.map(str::to_owned),
            ..asked(&text, "loki", PLAIN)
        };
        let longest = both(&text, 1, &ask(8192)).unwrap().0.longest_context.unwrap();
        let short = |context| both(&text, 1, &ask(context)).unwrap().0.pools[0].shortfall_bytes;
        assert_eq!(short(longest), 0, "{profile:?}: {longest}");
        if longest < 131_072 {
            assert!(short(longest + 1024) > 0, "{profile:?}: {longest} is not the longest");
        }
    }
}

#[test]
fn what_stands_there_already_is_not_written_again() {
    let text = norse();
    let loki = AssignRequest {
        context: Some(32_768),
        sequences: Some(4),
        kv_dtype: Some("auto".into()),
        profiles: Some(vec!["loki".into()]),
        ..asked(&text, "loki", "Qwen/Qwen2.5-7B-Instruct-AWQ")
    };
    let (preview, written) = both(&text, 1, &loki).unwrap();
    assert_eq!(preview.keys, BTreeMap::new());
    assert_eq!(written.as_deref(), Some(text.as_str()), "somebody chose 3.5 GB of cache");
    // With another number of sequences the cache follows.
    let more = AssignRequest { sequences: Some(8), ..loki };
    let (preview, _) = both(&text, 1, &more).unwrap();
    assert_eq!(
        preview.keys,
        BTreeMap::from([("sequences".to_owned(), json!(8)), ("kv_cache".to_owned(), json!("14 GB")),])
    );
}

/// Keys of an agent in front of the choice, and what is left of them after it (null: gone, absent: as before).
type Reconsidered = (&'static str, &'static str, &'static str, Value, &'static str);

#[test]
fn what_was_chosen_for_the_old_model_is_reconsidered_and_said() {
    let cases: &[Reconsidered] = &[
        ("quantization = \"awq\"", PLAIN, "quantization", Value::Null, "quantization"),
        (
            "args = [\"--seed\", \"1\", \"--chat-template\", \"x.jinja\"]",
            PLAIN,
            "args",
            json!(["--seed", "1"]),
            "--chat-template x.jinja",
        ),
        ("args = [\"--trust-remote-code\"]", PLAIN, "args", Value::Null, "--trust-remote-code"),
        ("weights = \"5 GB\"", PLAIN, "weights", Value::Null, "weights"),
        ("overhead = \"9 GB\"", PLAIN, "overhead", Value::Null, "overhead"),
        ("draft_model = \"Qwen/Qwen2.5-3B-Instruct-AWQ\"", PLAIN, "draft_model", Value::Null, "draft_model"),
        ("revision = \"abc\"", PLAIN, "revision", Value::Null, ""),
        ("prefix_caching = false", GGUF, "prefix_caching", Value::Null, "prefix_caching"),
        ("eager = true", GGUF, "eager", Value::Null, "eager"),
        ("args = [\"--seed\", \"1\"]", GGUF, "args", Value::Null, "--seed 1"),
        ("kv_dtype = \"fp8\"", GGUF, "kv_dtype", Value::Null, "kv_dtype"),
        ("", GGUF, "tool_parser", Value::Null, "tool_parser"),
        ("", GGUF, "image", Value::Null, "image"),
        ("", GGUF, "backend", json!("llama.cpp"), "llama.cpp"),
        ("", "Qwen/Qwen2.5-7B-Instruct-AWQ", "tool_parser", json!("hermes"), ""),
        (
            "",
            "QuantTrio/Qwen3-Coder-30B-A3B-Instruct-AWQ",
            "tool_parser",
            json!("qwen3_coder"),
            "qwen3_coder",
        ),
    ];
    for (line, model, key, left, said) in cases {
        let text = norse().replacen("port = 8014", &format!("port = 8014\n{line}"), 1).replacen(
            "kv_cache = \"7 GB\"",
            "kv_cache = \"8 GB\"",
            1,
        );
        let asked = asked(&text, "frigga", model);
        let (preview, written) = both(&text, 1, &asked).unwrap();
        assert_eq!(preview.problems, [], "{line} {model}");
        let written = edit::written(&written.unwrap()).unwrap();
        let (_, keys) = written.agents.iter().find(|(name, _)| name == "frigga").unwrap();
        assert_eq!(keys.get(*key).unwrap_or(&Value::Null), left, "{line} {model}: {keys:?}");
        assert!(
            said.is_empty() || preview.notes.iter().any(|n| n.contains(said)),
            "{line} {model}: {:?}",
            preview.notes
        );
    }
}

#[test]
fn a_claim_in_one_number_gives_way_to_its_parts() {
    for line in ["memory = \"25 GB\"", "share = 0.2"] {
        let text = norse().replacen("kv_cache = \"7 GB\"", line, 1);
        let (preview, written) = both(&text, 1, &asked(&text, "frigga", PLAIN)).unwrap();
        let written = written.unwrap();
        assert!(!written.contains(line), "{line}");
        assert_eq!(preview.keys["kv_cache"], json!("20 GB"), "4 contexts of 32,768 tokens");
        assert!(preview.notes.iter().any(|n| n.contains("one number")));
    }
}

#[test]
fn a_gguf_runs_like_the_stacks_other_agents_on_llama_cpp() {
    let text = presets::find("norse-llamacpp").unwrap().text();
    let new = AssignRequest {
        new: Some(NewAgent { glyph: Some("fehu".into()), color: Some("moss".into()), ..NewAgent::default() }),
        profiles: Some(vec!["loki".into(), "council".into()]),
        ..asked(&text, "bragi", GGUF)
    };
    let (preview, written) = both(&text, 1, &new).unwrap();
    assert_eq!(preview.problems, []);
    assert_eq!(preview.keys["image"], json!("ghcr.io/ggml-org/llama.cpp:server-vulkan"));
    // 8015 is taken by somebody else on this machine.
    assert_eq!(preview.keys["port"], json!(8016));
    assert_eq!((&preview.keys["glyph"], &preview.keys["color"]), (&json!("fehu"), &json!("moss")));
    let written = written.unwrap();
    let stack = stack_file::check_on(Path::new(FILE), &written, 1, &around()).unwrap();
    let held: Vec<&str> = stack
        .profiles
        .iter()
        .filter(|p| p.agents.iter().any(|a| a.as_str() == "bragi"))
        .map(|p| p.name.as_str())
        .collect();
    assert_eq!(held, ["loki", "council"]);
    let (gone, _) = lines_that_differ(&text, &written);
    assert_eq!(gone.len(), 2, "only the two lists of profiles were touched: {gone:?}");
    // On a small stack that keeps off the GPU, the next one does too.
    let small = presets::find("small").unwrap().text();
    let (preview, _) = both(&small, 1, &asked(&small, "huginn", GGUF)).unwrap();
    assert!(!preview.keys.contains_key("gpu_layers"), "it has them already");
    let new = AssignRequest { new: Some(NewAgent::default()), ..asked(&small, "bragi", GGUF) };
    assert_eq!(both(&small, 1, &new).unwrap().0.keys["gpu_layers"], json!(0));
}

#[test]
fn a_rule_or_a_name_that_does_not_hold_is_said_and_nothing_is_written() {
    let text = norse();
    let new = |name: &str| AssignRequest { new: Some(NewAgent::default()), ..asked(&text, name, PLAIN) };
    let with = |profiles: &[&str], of: AssignRequest| AssignRequest {
        profiles: Some(profiles.iter().map(|p| (*p).to_owned()).collect()),
        ..of
    };
    let cases: &[(AssignRequest, &str)] = &[
        (new("Thor!"), "cannot be a name"),
        (new("thor"), "already"),
        (
            AssignRequest { new: Some(NewAgent { port: Some(8001), ..NewAgent::default() }), ..new("bragi") },
            "port 8001",
        ),
        (with(&["nobody"], new("bragi")), "nobody"),
        // Odin and Valkyrie are never awake together, and standard holds Valkyrie.
        (with(&["standard", "odin"], asked(&text, "odin", PLAIN)), "conflicts"),
        (AssignRequest { context: Some(131_073), ..asked(&text, "loki", PLAIN) }, "131072"),
        (asked(&text, "loki", "someone/Nobody-Has-It"), "is not here"),
        (asked(&text, "loki", "../../etc/passwd"), "passwd"),
        (asked(&text, "loki", "/etc/x.gguf"), "x.gguf"),
        (AssignRequest { kv_cache_bytes: Some(GIB), ..asked(&text, "loki", PLAIN) }, "too small"),
    ];
    for (asked, said) in cases {
        let (preview, written) = both(&text, 1, asked).unwrap();
        assert_eq!(written, None, "{asked:?}");
        assert!(preview.problems.iter().any(|p| p.message.contains(said)), "{said}: {:?}", preview.problems);
    }
}

#[test]
fn an_agent_that_cannot_be_given_a_model_is_refused_with_what_can_be_done() {
    let role = norse().replace(
        "[agents.frigga]",
        "[agents.bragi]\nserved_by = \"thor\"\n\n[agents.ymir]\nendpoint = \"http://127.0.0.1:9000\"\nmodel = \"m\"\n\n[agents.frigga]",
    );
    for (agent, code, said) in [
        ("bragi", Code::Usage, "role on Thor's server"),
        ("ymir", Code::Usage, "another program"),
        ("nobody", Code::Unknown, "no agent"),
    ] {
        let error = both(&role, 1, &asked(&role, agent, PLAIN)).unwrap_err();
        assert_eq!(error.code, code, "{agent}");
        assert!(error.message.contains(said), "{agent}: {}", error.message);
    }
    // Who serves others gives them the model too, and a shorter context than theirs is not written.
    let served = role.replace("served_by = \"thor\"", "served_by = \"thor\"\ncontext = 32768");
    let (preview, _) = both(&served, 1, &asked(&served, "thor", PLAIN)).unwrap();
    assert!(preview.notes.iter().any(|n| n.contains("Bragi is served by it")), "{:?}", preview.notes);
    let short = AssignRequest { context: Some(8192), ..asked(&served, "thor", PLAIN) };
    assert_eq!(both(&served, 1, &short).unwrap().1, None);
}

#[test]
fn the_text_of_two_editors_is_told_apart_by_its_hash() {
    let text = norse();
    let stale = AssignRequest { hash: "another".into(), ..asked(&text, "loki", PLAIN) };
    assert_eq!(both(&text, 1, &stale).unwrap_err().code, Code::Busy);
}

#[test]
fn what_fits_no_profile_is_said_and_may_be_written() {
    let text = norse();
    let (preview, written) = both(&text, 1, &asked(&text, "loki", "someone/Enormous-400B")).unwrap();
    assert!(preview.profiles.iter().filter(|p| p.name == "loki").all(|p| p.fits == Some(false)));
    assert_eq!(preview.longest_context, None);
    assert!(preview.pools[0].shortfall_bytes > 600 * GIB);
    assert!(written.is_some());
}

#[test]
fn a_kv_type_that_loses_accuracy_here_says_so() {
    let text = norse();
    let eight = AssignRequest { kv_dtype: Some("fp8".into()), ..asked(&text, "loki", PLAIN) };
    let (preview, _) = both(&text, 1, &eight).unwrap();
    assert_eq!(preview.kv_bytes, 10 * GIB, "half of 16 bit");
    let warning = |name: &str| preview.kv_dtypes.iter().find(|k| k.name == name).unwrap().warning.clone();
    assert_eq!(warning("auto"), None);
    assert!(warning("fp8").unwrap().contains("gfx1151"));
    let (gguf, _) = both(&text, 1, &asked(&text, "loki", GGUF)).unwrap();
    let names: Vec<&str> = gguf.kv_dtypes.iter().map(|k| k.name.as_str()).collect();
    assert_eq!(names, ["auto", "q8_0", "q5_1", "q4_0"]);
}

#[test]
fn in_a_rehearsal_everything_is_a_thousandth() {
    let text = stack_file::shipped_text(1024);
    // Known by name: the check divides it.
    let known = asked(&text, "loki", "Qwen/Qwen2.5-14B-Instruct-AWQ");
    let (preview, written) = both(&text, 1024, &known).unwrap();
    assert_eq!(preview.kv_bytes, 24 * MIB, "4 contexts of 32,768 tokens at 192 bytes");
    assert_eq!(preview.keys["kv_cache"], json!("24 MB"));
    assert!(!preview.keys.contains_key("weights"));
    assert!(written.is_some());
    // Fetched, and known by its files alone: those are small themselves.
    let (preview, written) = both(&text, 1024, &asked(&text, "loki", PLAIN)).unwrap();
    assert_eq!(preview.keys["weights"], json!("8 MB"));
    assert_eq!((preview.weights_bytes, preview.kv_bytes), (8 * MIB, 20 * MIB));
    assert_eq!(preview.profiles.len(), 5);
    // And again, with other contexts: what was written of it stays.
    let text = written.unwrap();
    let again = AssignRequest { context: Some(16_384), ..asked(&text, "loki", PLAIN) };
    let (preview, _) = both(&text, 1024, &again).unwrap();
    assert_eq!((preview.weights_bytes, preview.kv_bytes), (8 * MIB, 10 * MIB));
}
