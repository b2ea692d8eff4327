//! The stack in force: the stack file with the servers of others that were adopted laid over it. Pure.
//!
//! The file is never written for an adoption: taking it back leaves nothing behind.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use domain::agent::AgentName;
use domain::memory::Bytes;
use domain::stack::{Agent, BackendKind, ClaimBasis, Runs, Stack, Tier};
use store::adoptions::{Answer, What};

const CONTEXT: u32 = 32_768;

/// The file's stack with every adopted server in its agent's place, and guests at the end.
pub(crate) fn effective(file: &Arc<Stack>, answers: &[Answer]) -> Arc<Stack> {
    if !answers.iter().any(|a| matches!(a.what, What::Adopted { .. })) {
        return file.clone();
    }
    let mut stack = Stack::clone(file);
    for answer in answers {
        let What::Adopted { agent, endpoint, model, backend, context, memory, .. } = &answer.what else {
            continue;
        };
        let Ok(name) = AgentName::new(agent) else { continue };
        let port = endpoint.rsplit(':').next().and_then(|p| p.split('/').next()?.parse().ok()).unwrap_or(0);
        let known = stack.agents.iter_mut().find(|a| a.name == name);
        let mut adopted = match &known {
            Some(agent) => (*agent).clone(),
            None => guest(name.clone(), &answer.name),
        };
        adopted.backend = backend_of(backend);
        adopted.runs = Runs::External { endpoint: endpoint.clone() };
        if let Some(model) = model {
            adopted.model.clone_from(model);
            adopted.quantization =
                domain::catalog::known_model(model).map(|known| known.quantization.to_owned());
        }
        if let Some(context) = context {
            adopted.context = *context;
        }
        adopted.port = port;
        adopted.claim = ClaimBasis::Memory(Bytes(memory.unwrap_or(0)));
        adopted.served_by = None;
        adopted.revision = None;
        match known {
            Some(agent) => *agent = adopted,
            None => stack.agents.push(adopted),
        }
    }
    stack.roles_follow();
    Arc::new(stack)
}

fn backend_of(word: &str) -> BackendKind {
    [BackendKind::Vllm, BackendKind::LlamaCpp, BackendKind::Ollama]
        .into_iter()
        .find(|b| b.word() == word)
        .unwrap_or(BackendKind::External)
}

/// A server that has no agent of the stack's: shown and routed to under its own name.
fn guest(name: AgentName, called: &str) -> Agent {
    Agent {
        display_name: name.proper(),
        name,
        title: format!("Guest, {called}"),
        role: String::new(),
        tier: Tier::Utility,
        backend: BackendKind::External,
        runs: Runs::External { endpoint: String::new() },
        model: called.to_owned(),
        revision: None,
        port: 0,
        context: CONTEXT,
        sequences: 1,
        claim: ClaimBasis::Memory(Bytes::ZERO),
        basis: domain::stack::Basis::Declared,
        learned: None,
        known_parts: None,
        kv_bytes_per_token: None,
        dtype: None,
        quantization: None,
        kv_dtype: None,
        tensor_parallel: 1,
        devices: Vec::new(),
        tool_parser: None,
        draft_model: None,
        draft_tokens: None,
        batched_tokens: None,
        prefix_caching: None,
        eager: false,
        attention_backend: None,
        gpu_layers: None,
        load_mode: None,
        cache_ram: None,
        args: Vec::new(),
        env: BTreeMap::new(),
        ttl: None,
        drain: Duration::from_mins(1),
        load_timeout: Duration::from_mins(30),
        request_timeout: None,
        min_residency: Duration::ZERO,
        pinned: false,
        served_by: None,
        glyph: None,
        color: None,
    }
}

/// A name for a guest that no agent has: "vllm-thor", "vllm-thor-2".
pub(crate) fn guest_name(called: &str, stack: &Stack) -> Option<AgentName> {
    let mut plain: String = called
        .to_ascii_lowercase()
        .chars()
        .map(|c| if c.is_ascii_lowercase() || c.is_ascii_digit() { c } else { '-' })
        .collect();
    while plain.contains("--") {
        plain = plain.replace("--", "-");
    }
    let plain: String = plain.trim_matches('-').chars().take(24).collect();
    let plain = plain.trim_matches('-');
    let plain = if plain.starts_with(|c: char| c.is_ascii_lowercase()) {
        plain.to_owned()
    } else {
        format!("guest-{plain}")
    };
    let plain = plain.trim_matches('-').to_owned();
    (1..100).find_map(|n| {
        let name = if n == 1 { plain.clone() } else { format!("{plain}-{n}") };
        AgentName::new(&name).ok().filter(|name| stack.agent(name).is_none())
    })
}
