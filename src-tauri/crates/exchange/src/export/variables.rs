//! The `.env`: names as in strix-opencode, values that need no quotes.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use domain::stack::{Agent, BackendKind, Runs, Stack};

use crate::known::{agent_named, file_name, is_gguf};

const HEAD: &str =
    "# Written by Asgard. Shares are of the stack's memory limit; the compose file beside it reads these.\n";

/// What the variables of each agent begin with, in the stack's order.
pub(super) fn prefixes(stack: &Stack) -> Vec<String> {
    let mut taken: BTreeSet<String> = BTreeSet::new();
    let mut prefix = |agent: &Agent| {
        let own = agent.name.as_str().to_ascii_uppercase().replace('-', "_");
        let first = agent_named(agent.name.as_str()).map_or(own, |k| k.prefix.to_owned());
        let mut prefix = first.clone();
        let mut number = 2;
        while !taken.insert(prefix.clone()) {
            prefix = format!("{first}_{number}");
            number += 1;
        }
        prefix
    };
    stack.agents.iter().map(&mut prefix).collect()
}

/// Whether a `.env` can hold this value bare, for every reader of such files.
pub(super) fn is_plain(value: &str) -> bool {
    !value.is_empty()
        && value
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-' | '/' | ':' | '@' | '+' | ','))
}

/// The variables of one agent of a container, name and value.
pub(super) fn of(agent: &Agent, prefix: &str, stack: &Stack) -> Vec<(String, String)> {
    let mut list = Vec::new();
    let mut add = |suffix: &str, value: String| list.push((format!("{prefix}_{suffix}"), value));
    match agent.backend {
        BackendKind::Vllm => {
            add("MODEL", agent.model.clone());
            add("PORT", agent.port.to_string());
            add("GPU_UTIL", super::share(agent, stack));
            add("MAX_LEN", agent.context.to_string());
            add("MAX_NUM_SEQS", agent.sequences.to_string());
            if let Some(kv_dtype) = &agent.kv_dtype {
                add("KV_CACHE_DTYPE", kv_dtype.clone());
            }
        }
        BackendKind::LlamaCpp => {
            add("GGUF", file_name(&agent.model).to_owned());
            add("PORT", agent.port.to_string());
            add("CTX", agent.context.to_string());
            add("MAX_NUM_SEQS", agent.sequences.to_string());
            let threads = agent.args.windows(2).find(|w| w[0] == "-t" || w[0] == "--threads");
            if let Some(threads) = threads {
                add("THREADS", threads[1].clone());
            }
        }
        BackendKind::Ollama => add("OLLAMA_MODEL", agent.model.clone()),
        BackendKind::External => {}
    }
    list
}

/// The folder of the GGUF files, where all are in one.
pub(super) fn models_dir(stack: &Stack) -> Option<String> {
    let mut folders = stack
        .agents
        .iter()
        .filter(|a| a.backend == BackendKind::LlamaCpp && a.model.starts_with('/') && is_gguf(&a.model))
        .map(|a| a.model.rsplit_once('/').map_or("/", |(folder, _)| folder).to_owned());
    let first = folders.next()?;
    folders.all(|f| f == first).then_some(first).filter(|f| is_plain(f))
}

pub(super) fn all(stack: &Stack, notes: &mut Vec<String>) -> String {
    let mut text = String::from(HEAD);
    text.push_str("\n# A token of the Hub is needed for closed models only. It is not exported: put it in yourself.\n#HF_TOKEN=\n");
    text.push_str("# Where the Hugging Face cache and vLLM's own are.\n#HF_HOME=\n#VLLM_CACHE=\n");
    text.push_str(
        "# Group ids of this machine: stat -c %g /dev/kfd /dev/dri/card*\n#RENDER_GID=\n#VIDEO_GID=\n",
    );
    if let Some(folder) = models_dir(stack) {
        // Writing into a text cannot fail.
        let _ = writeln!(text, "LLAMA_MODELS_DIR={folder}");
    }
    let port = stack.gateway.listen.port();
    let _ = writeln!(text, "\nBIFROST_PORT={port}");
    for (agent, prefix) in stack.agents.iter().zip(prefixes(stack)) {
        let listed = of(agent, &prefix, stack);
        if listed.is_empty() || agent.served_by.is_some() || matches!(agent.runs, Runs::External { .. }) {
            continue;
        }
        text.push('\n');
        for (name, value) in listed {
            if is_plain(&value) {
                let _ = writeln!(text, "{name}={value}");
            } else {
                notes.push(format!(
                    "{name} holds characters that a .env does not bear; it is left out of it."
                ));
            }
        }
        if let Some(ttl) = agent.ttl.filter(|_| agent.name.as_str() == "odin") {
            let _ = writeln!(text, "BIFROST_ODIN_TTL={}", ttl.as_secs());
        }
    }
    text
}
