//! A small stack file in its raw form, and ways to spoil it.

use std::collections::BTreeMap;

use domain::memory::Bytes;
use domain::stack::Facts;
use domain::stack::raw::{Ordered, RawAgent, RawProfile, RawSize, RawStack};

pub(crate) fn size(text: &str) -> Option<RawSize> {
    Some(RawSize::Text(text.into()))
}

pub(crate) fn text(text: &str) -> Option<String> {
    Some(text.into())
}

pub(crate) fn texts(list: &[&str]) -> Vec<String> {
    list.iter().map(|s| (*s).to_owned()).collect()
}

pub(crate) fn agent(model: &str, port: i64, kv_cache: &str) -> RawAgent {
    RawAgent { model: text(model), port: Some(port), kv_cache: size(kv_cache), ..RawAgent::default() }
}

pub(crate) const THOR: &str = "Qwen/Qwen2.5-14B-Instruct-AWQ";
pub(crate) const ODIN: &str = "casperhansen/llama-3.3-70b-instruct-awq";
pub(crate) const LOKI: &str = "Qwen/Qwen2.5-7B-Instruct-AWQ";

/// Three agents, two profiles, one rule; nothing wrong with it.
pub(crate) fn good() -> RawStack {
    RawStack {
        version: Some(1),
        name: text("small"),
        base: text("standard"),
        conflicts: vec![texts(&["odin", "loki"])],
        agents: Ordered(vec![
            ("thor".into(), agent(THOR, 8001, "12 GB")),
            ("odin".into(), agent(ODIN, 8011, "20 GB")),
            ("loki".into(), agent(LOKI, 8013, "3.5 GB")),
        ]),
        profiles: Ordered(vec![
            ("standard".into(), RawProfile { agents: texts(&["thor", "loki"]) }),
            ("odin".into(), RawProfile { agents: texts(&["thor", "odin"]) }),
        ]),
        ..RawStack::default()
    }
}

pub(crate) fn facts() -> Facts {
    Facts {
        models: BTreeMap::new(),
        scale: 1,
        gpu: None,
        file_sizes: BTreeMap::from([("/m/small.gguf".to_owned(), Bytes(98_362_432))]),
    }
}

pub(crate) fn with(change: impl FnOnce(&mut RawStack)) -> RawStack {
    let mut raw = good();
    change(&mut raw);
    raw
}

/// The good stack with its first agent, thor, changed.
pub(crate) fn with_thor(change: impl FnOnce(&mut RawAgent)) -> RawStack {
    with(|raw| change(&mut raw.agents.0[0].1))
}
