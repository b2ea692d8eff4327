//! An agent as it is read from other files, before it is a table of a stack file.

use std::collections::BTreeMap;

use domain::agent::AgentName;
use domain::server_line::ServerLine;
use domain::stack::BackendKind;

use crate::report::Place;

#[derive(Debug, Clone, Default)]
pub(crate) struct Draft {
    pub(crate) name: String,
    pub(crate) place: Place,
    /// What the findings call it: "services.vllm_thor" or "THOR".
    pub(crate) what: String,
    /// What the server was told.
    pub(crate) line: ServerLine,
    pub(crate) image: Option<String>,
    /// Meant for the CPU: threads are given, or there is no GPU in it.
    pub(crate) for_cpu: bool,
    pub(crate) host_ipc: bool,
    pub(crate) env: BTreeMap<String, String>,
    /// Seconds that its health check allows.
    pub(crate) load_timeout: Option<u64>,
    /// Seconds.
    pub(crate) ttl: Option<u64>,
    pub(crate) endpoint: Option<String>,
    pub(crate) profiles: Vec<String>,
    pub(crate) claim: Option<Claim>,
    /// Keys that flags became, each once.
    pub(crate) keys: BTreeMap<&'static str, Said>,
}

/// What a key of the stack file says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Said {
    Number(i64),
    Flag(bool),
    Text(String),
}

/// What it takes, as the stack file will say it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Claim {
    KvCache { kv_cache: u64, weights: Option<u64> },
    Memory(u64),
    Share(f64),
}

impl Draft {
    pub(crate) fn backend(&self) -> BackendKind {
        self.line.backend.unwrap_or(BackendKind::Vllm)
    }

    pub(crate) fn model(&self) -> &str {
        self.line.model.as_deref().unwrap_or_default()
    }

    /// Whether what it runs on is a Strix Halo, by its image.
    pub(crate) fn on_strix(&self) -> bool {
        self.image.as_deref().is_some_and(|i| i.contains("gfx1151") || i.contains("strix-halo"))
    }

    pub(crate) fn context(&self) -> u32 {
        let longest = crate::known::model(self.model()).map_or(u32::MAX, |m| m.max_context);
        self.line.context.unwrap_or(32_768.min(longest))
    }
}

/// The name of an agent, out of what a service or a prefix is called: `vllm_thor` is thor.
pub(crate) fn name_of(service: &str) -> Option<String> {
    let lower = service.to_ascii_lowercase();
    let short = ["vllm", "llama", "llamacpp", "llama-cpp", "ollama"].iter().find_map(|backend| {
        let rest = lower.strip_prefix(backend)?;
        rest.strip_prefix(['_', '-']).filter(|rest| !rest.is_empty())
    });
    let mut name: String = short
        .unwrap_or(&lower)
        .chars()
        .map(|c| if c.is_ascii_lowercase() || c.is_ascii_digit() { c } else { '-' })
        .collect();
    while name.starts_with(|c: char| !c.is_ascii_lowercase()) {
        name.remove(0);
    }
    name.truncate(40);
    let name = name.trim_end_matches('-').to_owned();
    AgentName::new(&name).is_ok().then_some(name)
}

#[cfg(test)]
mod tests {
    use super::name_of;

    #[test]
    fn names_lose_their_backend() {
        for (service, name) in [
            ("vllm_thor", Some("thor")),
            ("llama-odin", Some("odin")),
            ("vllm", Some("vllm")),
            ("My.Server_2", Some("my-server-2")),
            ("2fast", Some("fast")),
            ("___", None),
            ("Ж", None),
        ] {
            assert_eq!(name_of(service).as_deref(), name, "{service}");
        }
        assert_eq!(name_of(&"x".repeat(99)).map(|n| n.len()), Some(40));
    }
}
