//! Zed, Continue, Cline.

use std::fmt::Write as _;

use super::{Lines, costly, key_by_hand, leader, minutes, needs_key, plays};
use crate::ask::{Ask, NO_KEY};
use crate::household::Household;
use crate::jsonc::Json;

pub fn zed(household: &Household, ask: &Ask) -> Lines {
    let mut notes = Vec::new();
    let models = household
        .stack
        .agents
        .iter()
        .map(|agent| {
            let can = [
                ("tools", Household::calls_tools(agent)),
                ("images", false),
                ("parallel_tool_calls", false),
                ("prompt_cache_key", false),
            ];
            Json::object([
                ("name", Some(Json::text(agent.name.as_str()))),
                ("display_name", Some(Json::text(&agent.display_name))),
                ("max_tokens", Some(Json::number(agent.context))),
                ("max_output_tokens", Some(Json::number(household.output(agent)))),
                ("capabilities", Some(Json::object(can.map(|(name, yes)| (name, Some(Json::Bool(yes))))))),
            ])
        })
        .collect::<Vec<_>>();
    // One model a line: the list is printed by hand, for `Json` keeps lists on one.
    let mut list = String::from("[");
    for (n, model) in models.iter().enumerate() {
        let comma = if n + 1 < models.len() { "," } else { "" };
        let _ = write!(list, "\n          {}{comma}", model.print("          ", "  ", "\n"));
    }
    list.push_str("\n        ]");
    let mut url = String::new();
    crate::jsonc::quote_to(&mut url, &household.base_url());
    let text = format!(
        "{{\n  \"language_models\": {{\n    \"openai_compatible\": {{\n      \"Asgard\": {{\n        \"api_url\": {url},\n        \"available_models\": {list}\n      }}\n    }}\n  }}\n}}\n"
    );
    notes.push("Lay it over what settings.json holds already.".to_owned());
    let key = ask
        .key_file
        .as_ref()
        .map_or_else(|| NO_KEY.to_owned(), |path| format!("what {} holds", path.display()));
    notes.push(format!("Zed takes the key from ASGARD_API_KEY, or asks for it in its settings: {key}."));
    notes.extend(needs_key(household, ask));
    Lines { file: Some(".config/zed/settings.json"), text, notes }
}

pub fn continue_dev(household: &Household, ask: &Ask) -> Lines {
    let mut notes = Vec::new();
    let key = key_by_hand(ask, &mut notes);
    let mut text = String::from("name: Asgard\nversion: 1.0.0\nschema: v1\nmodels:\n");
    let lead = leader(household, ask, &mut notes).map(|a| a.name.clone());
    // The first is the one that is chosen.
    let mut agents: Vec<_> = household.stack.agents.iter().collect();
    agents.sort_by_key(|a| Some(&a.name) != lead.as_ref());
    for agent in agents {
        let roles = if costly(agent) { "[chat]" } else { "[chat, edit, apply]" };
        let can = if Household::calls_tools(agent) { "[tool_use]" } else { "[]" };
        let mut name = String::new();
        // A string of JSON is one of YAML.
        crate::jsonc::quote_to(&mut name, &agent.display_name);
        let _ = write!(
            text,
            "  - name: {name}\n    provider: openai\n    model: {}\n    apiBase: {}\n    apiKey: {key}\n    roles: {roles}\n    capabilities: {can}\n    defaultCompletionOptions:\n      contextLength: {}\n      maxTokens: {}\n    requestOptions:\n      timeout: {}\n",
            agent.name,
            household.base_url(),
            agent.context,
            household.output(agent),
            household.wait.as_secs().max(7200),
        );
    }
    notes.push("Where config.yaml has models already, put these below its own models line.".to_owned());
    notes.extend(needs_key(household, ask));
    Lines { file: Some(".continue/config.yaml"), text, notes }
}

pub fn cline(household: &Household, ask: &Ask) -> Lines {
    let mut notes = Vec::new();
    let key = key_by_hand(ask, &mut notes);
    let mut text = String::new();
    if let Some(agent) = leader(household, ask, &mut notes) {
        let _ = write!(
            text,
            "API Provider: OpenAI Compatible\nBase URL: {}\nAPI Key: {key}\nModel ID: {}\nContext Window Size: {}\nMax Output Tokens: {}\nSupports Images: no\nRequest Timeout (ms): {}\n",
            household.base_url(),
            agent.name,
            agent.context,
            household.output(agent),
            household.wait.as_millis(),
        );
        if let Some(coder) = plays(household, "coder").filter(|c| c.name != agent.name) {
            notes.push(format!(
                "With different models for Plan and Act: {} plans, {} acts.",
                agent.name, coder.name
            ));
        }
    }
    notes.push("Enter them in Cline's settings, under API Configuration.".to_owned());
    notes.push(format!(
        "An agent that sleeps may need up to {} minutes until its first word.",
        minutes(household)
    ));
    notes.extend(needs_key(household, ask));
    Lines { file: None, text, notes }
}
