//! Codex CLI, Claude Code, Aider.

use std::fmt::Write as _;

use toml_edit::{DocumentMut, Item, Table, value};

use super::{Lines, key_in_shell, leader, minutes, needs_key, plays};
use crate::ask::Ask;
use crate::household::Household;
use crate::jsonc::Json;

pub fn codex(household: &Household, ask: &Ask) -> Lines {
    let mut notes = Vec::new();
    let mut toml = DocumentMut::new();
    if let Some(agent) = leader(household, ask, &mut notes) {
        let compact = agent.context - household.output(agent);
        toml["model"] = value(agent.name.as_str());
        toml["model_provider"] = value("asgard");
        toml["model_context_window"] = value(i64::from(agent.context));
        toml["model_auto_compact_token_limit"] = value(i64::from(compact));
    }
    let mut provider = Table::new();
    provider["name"] = value("Asgard");
    provider["base_url"] = value(household.base_url());
    provider["env_key"] = value("ASGARD_API_KEY");
    provider["wire_api"] = value("responses");
    let wait = i64::try_from(household.wait.as_millis()).unwrap_or(i64::MAX);
    provider["stream_idle_timeout_ms"] = value(wait);
    let mut providers = Table::new();
    providers.set_implicit(true);
    providers["asgard"] = Item::Table(provider);
    toml["model_providers"] = Item::Table(providers);
    notes.push(
        "The first four lines belong above every [table] of the file; Codex reads it when it starts."
            .to_owned(),
    );
    notes.push(format!("In the shell that starts Codex: export ASGARD_API_KEY={}", key_in_shell(ask)));
    notes.push("It asks /v1/responses, which vLLM and llama.cpp both serve.".to_owned());
    notes.extend(needs_key(household, ask));
    Lines { file: Some(".codex/config.toml"), text: toml.to_string(), notes }
}

pub fn claude_code(household: &Household, ask: &Ask) -> Lines {
    let mut notes = Vec::new();
    let mut lines = vec![
        // Without /v1: it adds the path itself.
        ("ANTHROPIC_BASE_URL", household.address.clone()),
        ("ANTHROPIC_AUTH_TOKEN", key_in_shell(ask)),
    ];
    let small = household.small.to_string();
    if let Some(agent) = leader(household, ask, &mut notes) {
        let sonnet = plays(household, "coder").unwrap_or(agent);
        let opus = plays(household, "reviewer").unwrap_or(agent);
        lines.extend([
            ("ANTHROPIC_MODEL", agent.name.to_string()),
            ("ANTHROPIC_DEFAULT_OPUS_MODEL", opus.name.to_string()),
            ("ANTHROPIC_DEFAULT_SONNET_MODEL", sonnet.name.to_string()),
            ("ANTHROPIC_DEFAULT_HAIKU_MODEL", small.clone()),
            ("ANTHROPIC_SMALL_FAST_MODEL", small),
            ("CLAUDE_CODE_MAX_CONTEXT_TOKENS", agent.context.to_string()),
            ("CLAUDE_CODE_AUTO_COMPACT_WINDOW", agent.context.to_string()),
            ("CLAUDE_CODE_MAX_OUTPUT_TOKENS", household.output(agent).to_string()),
        ]);
    }
    lines.extend([
        ("API_TIMEOUT_MS", household.wait.as_millis().to_string()),
        ("CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC", "1".to_owned()),
    ]);
    let text = lines.iter().map(|(name, value)| format!("export {name}={value}\n")).collect();
    notes.push(
        "For the shell that starts claude; in ~/.claude/settings.json the same names go under \"env\"."
            .to_owned(),
    );
    notes.push(
        "Its own instructions take some 20,000 tokens: give the primary a context of 64K or more for it."
            .to_owned(),
    );
    if plays(household, "reviewer").is_some() {
        notes.push("/model opus is the reviewer: choosing it wakes it.".to_owned());
    }
    notes.extend(needs_key(household, ask));
    Lines { file: None, text, notes }
}

pub fn aider(household: &Household, ask: &Ask) -> Lines {
    let mut notes = Vec::new();
    let metadata: Vec<(String, Json)> = household
        .stack
        .agents
        .iter()
        .map(|agent| {
            let output = household.output(agent);
            let entry = Json::object([
                ("max_tokens", Some(Json::number(output))),
                ("max_input_tokens", Some(Json::number(agent.context - output))),
                ("max_output_tokens", Some(Json::number(output))),
                ("input_cost_per_token", Some(Json::number(0_u32))),
                ("output_cost_per_token", Some(Json::number(0_u32))),
                ("litellm_provider", Some(Json::text("openai"))),
                ("mode", Some(Json::text("chat"))),
            ]);
            (format!("openai/{}", agent.name), entry)
        })
        .collect();
    let file = "~/.aider.asgard.metadata.json";
    let mut text = format!(
        "export OPENAI_API_BASE={}\nexport OPENAI_API_KEY={}\nexport AIDER_TIMEOUT={}\n",
        household.base_url(),
        key_in_shell(ask),
        household.wait.as_secs(),
    );
    let _ = write!(text, "cat > {file} <<'END'\n{}\nEND\n", Json::Object(metadata).print("", "  ", "\n"));
    if let Some(agent) = leader(household, ask, &mut notes) {
        let editor = plays(household, "coder").unwrap_or(agent);
        let _ = writeln!(
            text,
            "aider --model openai/{} --editor-model openai/{} --weak-model openai/{} --model-metadata-file {file}",
            agent.name, editor.name, household.small
        );
    }
    notes.push(format!("The lines write {file}, a file of their own, and start aider."));
    notes.push(format!("It waits up to {} minutes for an agent that has to be woken.", minutes(household)));
    notes.extend(needs_key(household, ask));
    Lines { file: None, text, notes }
}
