//! What is known by name: the agents of strix-opencode, families of models, GGUF files.

use domain::catalog::{KnownModel, known_model};
use domain::stack::Tier;

/// An agent of strix-opencode.
pub(crate) struct KnownAgent {
    pub(crate) name: &'static str,
    /// What its variables begin with, in every phase.
    pub(crate) prefix: &'static str,
    pub(crate) title: &'static str,
    pub(crate) tier: Tier,
    /// Whether the window has a rune and a colour of this name.
    pub(crate) drawn: bool,
}

const fn agent(
    name: &'static str,
    prefix: &'static str,
    title: &'static str,
    tier: Tier,
    drawn: bool,
) -> KnownAgent {
    KnownAgent { name, prefix, title, tier, drawn }
}

/// In the order in which they start.
pub(crate) const AGENTS: &[KnownAgent] = &[
    agent("thor", "THOR", "Primary Commander", Tier::Primary, true),
    agent("orchestrator", "ORCH", "Orchestrator", Tier::Primary, false),
    agent("valkyrie", "VALKYRIE", "Execution Specialist", Tier::Coder, true),
    agent("coder", "CODER", "Coder", Tier::Coder, false),
    agent("odin", "ODIN", "Supreme Architect", Tier::Reviewer, true),
    agent("reviewer", "REVIEWER", "Reviewer", Tier::Reviewer, false),
    agent("heimdall", "HEIMDALL", "Guardian", Tier::Utility, true),
    agent("loki", "LOKI", "Adversarial Intelligence", Tier::Utility, true),
    agent("frigga", "FRIGGA", "Knowledge Curator", Tier::Utility, true),
    agent("utility", "UTILITY", "Utility", Tier::Utility, false),
    agent("fast", "FAST", "Fast", Tier::Utility, false),
];

pub(crate) fn agent_named(name: &str) -> Option<&'static KnownAgent> {
    AGENTS.iter().find(|a| a.name == name)
}

/// GGUF files of the catalog: the same file under another folder is the same model.
const GGUF: &[&str] = &[
    "unsloth/Llama-3.3-70B-Instruct-GGUF/Llama-3.3-70B-Instruct-Q4_K_M.gguf",
    "unsloth/Qwen3-Coder-30B-A3B-Instruct-GGUF/Qwen3-Coder-30B-A3B-Instruct-Q4_K_M.gguf",
    "bartowski/Qwen2.5-14B-Instruct-GGUF/Qwen2.5-14B-Instruct-Q4_K_M.gguf",
    "bartowski/Qwen2.5-7B-Instruct-GGUF/Qwen2.5-7B-Instruct-Q4_K_M.gguf",
    "bartowski/Qwen2.5-3B-Instruct-GGUF/Qwen2.5-3B-Instruct-Q4_K_M.gguf",
];

/// The facts on a model by its id, or by the name of its GGUF file.
pub(crate) fn model(id: &str) -> Option<&'static KnownModel> {
    known_model(id).or_else(|| {
        if !is_gguf(id) {
            return None;
        }
        let wanted = letters(file_name(id));
        GGUF.iter().find(|known| letters(file_name(known)) == wanted).and_then(|known| known_model(known))
    })
}

/// The catalog's file for a repository and a quantisation, as `-hf OWNER/NAME:Q4_K_M` names it.
pub(crate) fn hub_file(repo: &str, quant: Option<&str>) -> Option<&'static str> {
    GGUF.iter().copied().find(|known| {
        let in_repo = known.to_ascii_lowercase().starts_with(&format!("{}/", repo.to_ascii_lowercase()));
        // Without a quantisation llama.cpp takes Q4_K_M where it is there.
        in_repo && quant.is_none_or(|q| known.to_ascii_lowercase().contains(&q.to_ascii_lowercase()))
    })
}

/// The Q4_K_M file of the family that an Ollama tag names: "qwen2.5:14b-instruct-q4_K_M-64k".
pub(crate) fn ollama_model(tag: &str) -> Option<&'static KnownModel> {
    let (family, variant) = tag.split_once(':')?;
    let variant = variant.to_ascii_lowercase();
    let size = variant.split('-').next()?;
    // Without a quantisation in its name a tag is Q4_K_M.
    if ["q2", "q3", "q5", "q6", "q8", "fp16", "q4_0"].iter().any(|q| variant.contains(q)) {
        return None;
    }
    let wanted = match (family.to_ascii_lowercase().as_str(), size) {
        ("qwen2.5", "14b") => GGUF[2],
        ("qwen2.5", "7b") => GGUF[3],
        ("qwen2.5", "3b") => GGUF[4],
        ("qwen3-coder", "30b") => GGUF[1],
        ("llama3.3", "70b") => GGUF[0],
        _ => return None,
    };
    known_model(wanted)
}

/// How the tool calls of a family are written, by the model's name.
pub(crate) fn tool_parser(id: &str) -> Option<&'static str> {
    if let Some(known) = model(id) {
        return Some(known.tool_parser);
    }
    let id = id.to_ascii_lowercase();
    [
        ("qwen3-coder", "qwen3_coder"),
        ("qwen2.5", "hermes"),
        ("qwen3-next", "hermes"),
        ("llama-3.", "llama3_json"),
        ("gpt-oss", "openai"),
    ]
    .iter()
    .find(|(family, _)| id.contains(family))
    .map(|(_, parser)| *parser)
}

pub(crate) fn is_gguf(model: &str) -> bool {
    model.to_ascii_lowercase().ends_with(".gguf")
}

pub(crate) fn is_awq(model: &str) -> bool {
    model.to_ascii_lowercase().contains("awq")
}

pub(crate) fn file_name(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

/// "llama-3.3-70b.Q4_K_M.gguf" and "Llama-3.3-70B-Q4_K_M.gguf" are one.
fn letters(name: &str) -> String {
    name.chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_lowercase()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gguf_files_are_known_by_their_names() {
        for (name, limit) in [
            ("/m/llama-3.3-70b-instruct.Q4_K_M.gguf", Some(131_072)),
            ("./models/qwen2.5-14b-instruct.Q4_K_M.gguf", Some(32_768)),
            ("/m/qwen2.5-14b-instruct.Q8_0.gguf", None),
            ("qwen2.5-14b-instruct", None),
        ] {
            assert_eq!(model(name).map(|m| m.max_context), limit, "{name}");
        }
        assert!(GGUF.iter().all(|id| known_model(id).is_some()));
        assert!(hub_file("bartowski/qwen2.5-7b-instruct-gguf", Some("q4_k_m")).is_some());
        assert!(hub_file("bartowski/Qwen2.5-7B-Instruct-GGUF", Some("Q8_0")).is_none());
    }

    #[test]
    fn tool_parsers_go_by_family() {
        for (id, parser) in [
            ("Qwen/Qwen3-Coder-480B-A35B-Instruct", Some("qwen3_coder")),
            ("meta-llama/Llama-3.3-70B-Instruct", Some("llama3_json")),
            ("openai/gpt-oss-120b", Some("openai")),
            ("some/thing", None),
        ] {
            assert_eq!(tool_parser(id), parser, "{id}");
        }
    }
}
