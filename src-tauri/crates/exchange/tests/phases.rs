//! strix-opencode in each of its phases: what is made of it, and what is said.
#![allow(clippy::expect_used, clippy::unwrap_used, clippy::panic, reason = "a test may fail")]

mod common;

use common::{fixture, report, resolved};
use domain::memory::{Bytes, GIB};
use exchange::{Facts, Import, import_compose, import_env};

const MACHINE: Facts = Facts { capacity: Some(Bytes(124 * GIB)) };

fn compose(phase: &str, files: &[&str], facts: &Facts) -> Import {
    let files: Vec<_> = files.iter().map(|f| fixture(phase, f)).collect();
    let env = fixture(phase, "strix.env");
    import_compose(&files, Some(&env), facts).unwrap_or_else(|e| panic!("{phase}: {e} {}", e.next))
}

#[test]
fn each_phase_is_read_from_its_compose_files() {
    for (phase, files) in [
        ("phase-1", &["vllm.yml"][..]),
        ("phase-3", &["vllm.yml", "cpu.yml"]),
        ("phase-4", &["gpu-all.yml"]),
        ("phase-5", &["hybrid.yml"]),
        ("phase-6", &["hybrid.yml"]),
        ("phase-ollama", &["ollama.yml"]),
    ] {
        let import = compose(phase, files, &MACHINE);
        resolved(&import.stack);
        insta::assert_snapshot!(format!("{phase}-compose"), report(&import));
        // Without a machine nothing is refused either.
        resolved(&compose(phase, files, &Facts::default()).stack);
    }
}

#[test]
fn each_phase_is_read_from_its_env() {
    for phase in ["phase-1", "phase-3", "phase-4", "phase-5", "phase-6", "phase-ollama"] {
        let env = fixture(phase, "strix.env");
        let import = import_env(&env, &MACHINE).unwrap_or_else(|e| panic!("{phase}: {e}"));
        resolved(&import.stack);
        insta::assert_snapshot!(format!("{phase}-env"), report(&import));
        resolved(&import_env(&env, &Facts::default()).unwrap_or_else(|e| panic!("{phase}: {e}")).stack);
    }
}

#[test]
fn the_last_phase_has_the_profiles_and_the_rule_of_its_scheduler() {
    let stack = resolved(&compose("phase-6", &["hybrid.yml"], &MACHINE).stack);
    let profile = |name: &str| {
        let profile = stack.profile(name).unwrap_or_else(|| panic!("no profile {name}"));
        profile.agents.iter().map(|a| a.as_str().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(stack.base, "standard");
    assert_eq!(profile("standard"), ["thor", "valkyrie"]);
    assert_eq!(profile("odin"), ["thor", "odin"]);
    assert_eq!(profile("frigga"), ["thor", "valkyrie", "frigga"]);
    assert_eq!(stack.conflicts.len(), 1);
    let odin = stack.agents.iter().find(|a| a.name.as_str() == "odin").expect("odin");
    assert_eq!(odin.ttl.map(|t| t.as_secs()), Some(1200));
    assert_eq!(odin.tool_parser.as_deref(), Some("llama3_json"));
    let thor = stack.agents.iter().find(|a| a.name.as_str() == "thor").expect("thor");
    assert!(thor.pinned);
}

#[test]
fn the_tokens_are_nowhere_but_among_the_secrets() {
    const TOKEN: &str = "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00";
    for (phase, files) in
        [("phase-1", &["vllm.yml"][..]), ("phase-4", &["gpu-all.yml"]), ("phase-6", &["hybrid.yml"])]
    {
        let env = fixture(phase, "strix.env");
        for import in [compose(phase, files, &MACHINE), import_env(&env, &MACHINE).expect("env")] {
            assert!(!format!("{import:?}").contains(TOKEN), "{phase}");
            let secrets: Vec<_> = import.secrets.iter().map(|(n, s)| (n.as_str(), s.reveal())).collect();
            assert_eq!(secrets, [("HF_TOKEN", TOKEN)], "{phase}");
        }
    }
}

#[test]
fn an_agent_that_takes_nearly_everything_is_awake_alone() {
    let env = exchange::SourceFile {
        name: ".env".to_owned(),
        text: "ORCH_MODEL=openai/gpt-oss-120b\nORCH_GPU_UTIL=0.85\nFAST_MODEL=Qwen/Qwen2.5-7B-Instruct\nFAST_GPU_UTIL=0.70\n"
            .to_owned(),
    };
    for facts in [MACHINE, Facts::default()] {
        let stack = resolved(&import_env(&env, &facts).expect("imported").stack);
        let fast = stack.profile("fast").expect("a profile of its own");
        assert_eq!(fast.agents.iter().map(domain::agent::AgentName::as_str).collect::<Vec<_>>(), ["fast"]);
    }
}
