//! The text of a stack file.

use domain::memory::GIB;
use domain::stack::{BackendKind, Tier};
use toml_edit::{Array, DocumentMut, Item, Table, value};

use crate::agents::{Claim, Draft, Said};
use crate::finish::Settled;
use crate::known::agent_named;

const HEAD: &str =
    "# Imported. What became of each line of the old files is in the report of the import.\n\n";

pub(crate) fn stack(settled: &Settled) -> String {
    let mut document = DocumentMut::new();
    let root = document.as_table_mut();
    root.insert("version", value(1));
    root.insert("name", value(settled.name.as_str()));
    root.insert("base", value(settled.base.as_str()));
    if !settled.conflicts.is_empty() {
        let sets: Array = settled.conflicts.iter().map(|set| set.iter().collect::<Array>()).collect();
        root.insert("conflicts", value(sets));
    }
    let mut agents = Table::new();
    agents.set_implicit(true);
    for draft in &settled.agents {
        agents.insert(&draft.name, Item::Table(agent(draft)));
    }
    root.insert("agents", Item::Table(agents));
    let mut profiles = Table::new();
    profiles.set_implicit(true);
    for (name, members) in &settled.profiles {
        let mut table = Table::new();
        table.insert("agents", value(members.iter().collect::<Array>()));
        profiles.insert(name, Item::Table(table));
    }
    root.insert("profiles", Item::Table(profiles));
    if let Some(port) = settled.gateway {
        let mut gateway = Table::new();
        gateway.insert("listen", value(format!("127.0.0.1:{port}")));
        root.insert("gateway", Item::Table(gateway));
    }
    format!("{HEAD}{document}")
}

fn agent(draft: &Draft) -> Table {
    let mut table = Table::new();
    let line = &draft.line;
    let mut text = |key: &str, text: Option<&str>| {
        if let Some(text) = text {
            table.insert(key, value(text));
        }
    };
    let known = agent_named(&draft.name);
    text("title", known.map(|k| k.title));
    text(
        "tier",
        known.map(|k| match k.tier {
            Tier::Primary => "primary",
            Tier::Coder => "coder",
            Tier::Reviewer => "reviewer",
            Tier::Utility => "utility",
        }),
    );
    text("backend", Some(draft.backend().word()));
    text("image", draft.image.as_deref());
    text("endpoint", draft.endpoint.as_deref());
    text("model", line.model.as_deref());
    text("revision", line.revision.as_deref());
    text("dtype", line.dtype.as_deref());
    text("quantization", line.quantization.as_deref());
    text("kv_dtype", line.kv_dtype.as_deref());
    text("tool_parser", line.tool_parser.as_deref());
    text("draft_model", line.draft_model.as_deref());
    if draft.backend() != BackendKind::Ollama {
        number(&mut table, "port", line.port.map(i64::from));
    }
    number(&mut table, "context", line.context.map(i64::from));
    number(&mut table, "sequences", line.sequences.map(i64::from));
    number(&mut table, "tensor_parallel", line.tensor_parallel.filter(|t| *t > 1).map(i64::from));
    match draft.claim {
        Some(Claim::KvCache { kv_cache, weights }) => {
            if let Some(weights) = weights {
                size(&mut table, "weights", weights);
            }
            size(&mut table, "kv_cache", kv_cache);
        }
        Some(Claim::Memory(bytes)) if bytes > 0 => size(&mut table, "memory", bytes),
        Some(Claim::Share(share)) => {
            table.insert("share", value(share));
        }
        Some(Claim::Memory(_)) | None => {}
    }
    for (key, said) in &draft.keys {
        table.insert(
            key,
            match said {
                Said::Number(number) => value(*number),
                Said::Flag(flag) => value(*flag),
                Said::Text(text) => value(text.as_str()),
            },
        );
    }
    if !line.rest.is_empty() {
        table.insert("args", value(line.rest.iter().collect::<Array>()));
    }
    if draft.host_ipc {
        table.insert("host_ipc", value(true));
    }
    if let Some(seconds) = draft.load_timeout {
        table.insert("load_timeout", value(format!("{seconds} s")));
    }
    if let Some(seconds) = draft.ttl {
        table.insert("ttl", value(format!("{seconds} s")));
    }
    if draft.name == "thor" {
        table.insert("pinned", value(true));
    }
    if known.is_some_and(|k| k.drawn) {
        table.insert("glyph", value(draft.name.as_str()));
        table.insert("color", value(draft.name.as_str()));
    }
    if !draft.env.is_empty() {
        let mut env = Table::new();
        for (key, text) in &draft.env {
            env.insert(key, value(text.as_str()));
        }
        table.insert("env", Item::Table(env));
    }
    table
}

fn number(table: &mut Table, key: &str, number: Option<i64>) {
    if let Some(number) = number {
        table.insert(key, value(number));
    }
}

/// A tenth of a gigabyte where it is one, else the bytes.
fn size(table: &mut Table, key: &str, bytes: u64) {
    let tenths = (u128::from(bytes) * 10 + u128::from(GIB) / 2) / u128::from(GIB);
    let exact = (tenths * u128::from(GIB) + 5) / 10;
    let near = exact.abs_diff(u128::from(bytes)) <= 1;
    let item = match (near, tenths % 10) {
        (true, 0) => value(format!("{} GB", tenths / 10)),
        (true, rest) => value(format!("{}.{rest} GB", tenths / 10)),
        (false, _) => value(i64::try_from(bytes).unwrap_or(i64::MAX)),
    };
    table.insert(key, item);
}
