//! What coding tools are given, for the shipped stacks and for files of people.
#![allow(clippy::expect_used, clippy::unwrap_used, clippy::panic, reason = "a test may fail")]

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use domain::agent::AgentName;
use domain::stack::raw::RawStack;
use domain::stack::{Facts, GatewayKey, Stack, resolve};
use serde_json::{Value, json};
use tools::{Ask, Household, Primary, oh_my_opencode, opencode};

const NORSE: &str = include_str!("../../store/presets/norse.toml");
const LLAMACPP: &str = include_str!("../../store/presets/norse-llamacpp.toml");
const NEXT: &str = include_str!("../../store/presets/norse-next.toml");
const SMALL: &str = include_str!("../../store/presets/small.toml");

fn stack(text: &str) -> Stack {
    let raw: RawStack = toml_edit::de::from_str(text).unwrap();
    resolve(&raw, &Facts::default()).unwrap()
}

fn household(stack: &Stack) -> Household<'_> {
    Household::of(stack, &BTreeMap::new(), None).unwrap()
}

fn value(text: &str) -> Value {
    jsonc_parser::parse_to_serde_value(text, &jsonc_parser::ParseOptions::default()).unwrap()
}

fn written(household: &Household, ask: &Ask, before: Option<&str>) -> (Value, Vec<String>) {
    let done = opencode(household, ask, before).unwrap();
    let again = opencode(household, &Ask { primary: None, ..ask.clone() }, Some(&done.text)).unwrap();
    assert_eq!(again.text, done.text, "a second time changes nothing");
    (value(&done.text), done.notes)
}

fn primary(text: &str, stack: &Stack) -> Ask {
    Ask { primary: Some(Primary::read(text, stack).unwrap()), key_file: None }
}

#[test]
fn the_shipped_stack_in_opencode() {
    let stack = stack(NORSE);
    let household = household(&stack);
    let (config, _) = written(&household, &Ask::default(), None);
    assert_eq!(config["model"], "asgard/thor");
    assert_eq!(config["small_model"], "asgard/heimdall", "titles wake nobody large");
    let provider = &config["provider"]["asgard"];
    assert_eq!(provider["npm"], "@ai-sdk/openai-compatible");
    assert_eq!(provider["options"]["baseURL"], "http://127.0.0.1:8899/v1");
    assert_eq!(provider["options"]["headerTimeout"], 1_800_000);
    let models = provider["models"].as_object().unwrap();
    assert_eq!(models.len(), 6);
    for (name, model) in models {
        let (context, output) =
            (model["limit"]["context"].as_u64().unwrap(), model["limit"]["output"].as_u64().unwrap());
        assert_eq!((context, model["tool_call"].as_bool()), (32_768, Some(true)), "{name}");
        assert!(output >= 4096 && output * 2 <= context, "{name}: {output}");
    }
    for (part, agent, mode) in [
        ("primary", "thor", "primary"),
        ("coder", "valkyrie", "all"),
        ("reviewer", "odin", "subagent"),
        ("utility", "heimdall", "subagent"),
        ("loki", "loki", "subagent"),
        ("frigga", "frigga", "subagent"),
    ] {
        let entry = &config["agent"][part];
        assert_eq!(
            (entry["model"].as_str(), entry["mode"].as_str()),
            (Some(format!("asgard/{agent}").as_str()), Some(mode))
        );
        let prompt = entry["prompt"].as_str().unwrap();
        // Who is called for what: everybody else, by the name that OpenCode knows.
        for other in ["primary", "coder", "reviewer", "utility", "loki", "frigga"] {
            assert_eq!(prompt.contains(&format!("\n- {other} (")), other != part, "{part}: {other}");
        }
    }
    let lead = config["agent"]["primary"]["prompt"].as_str().unwrap();
    assert!(lead.contains("reviewer (Odin)") && lead.contains("puts Valkyrie to sleep"), "{lead}");
    assert!(!lead.contains("puts Odin to sleep"), "Valkyrie is awake anyway: {lead}");
}

#[test]
fn every_shipped_stack_has_a_leader_and_limits_that_leave_room() {
    for text in [NORSE, LLAMACPP, NEXT, SMALL] {
        let stack = stack(text);
        let household = household(&stack);
        let (config, _) = written(&household, &Ask::default(), None);
        let models = config["provider"]["asgard"]["models"].as_object().unwrap();
        assert_eq!(models.len(), stack.agents.len());
        for model in models.values() {
            assert!(
                model["limit"]["output"].as_u64().unwrap() * 2 <= model["limit"]["context"].as_u64().unwrap()
            );
        }
        let small = config["small_model"].as_str().unwrap().strip_prefix("asgard/").unwrap();
        let small = stack.agent(&AgentName::new(small).unwrap()).unwrap();
        assert_ne!(small.tier, domain::stack::Tier::Reviewer, "{}", stack.name);

        let oh_my = value(&oh_my_opencode(&household, &Ask::default(), None).unwrap().text);
        for (name, agent) in oh_my["agents"].as_object().unwrap() {
            let model = agent["model"].as_str().unwrap().strip_prefix("asgard/").unwrap();
            let (tokens, limit) = (agent["maxTokens"].as_u64().unwrap(), &models[model]["limit"]);
            assert!(tokens <= limit["output"].as_u64().unwrap(), "{name}");
            assert!(tokens <= limit["context"].as_u64().unwrap() / 2, "{name}");
        }
    }
}

#[test]
fn time_outs_are_longer_than_the_longest_start() {
    let stack = stack(NORSE);
    let names: Vec<AgentName> = stack.agents.iter().map(|a| a.name.clone()).collect();
    let wait = |starts: &[f64]| {
        let starts: BTreeMap<AgentName, f64> = names.iter().cloned().zip(starts.iter().copied()).collect();
        Household::of(&stack, &starts, None).unwrap().wait
    };
    assert_eq!(wait(&[]), Duration::from_secs(1800), "never measured");
    assert_eq!(wait(&[5.0; 6]), Duration::from_secs(600), "all of them quick");
    let slow = wait(&[20.0, 30.0, 700.0, 5.0, 5.0, 5.0]);
    assert!(slow >= Duration::from_secs(1400), "{slow:?}");
    assert_eq!(wait(&[40.0]), Duration::from_secs(1800), "the others may take longer");
    assert!(wait(&[f64::NAN, f64::INFINITY, -3.0, 1e300, 5.0, 5.0]) < Duration::from_secs(48 * 3600));
}

#[test]
fn what_a_person_set_stays() {
    let stack = stack(NORSE);
    let household = household(&stack);
    let before = r#"{
  // My own.
  "model": "anthropic/claude-sonnet-4-5", // paid for
  "small_model": "openai/gpt-5-nano",
  "provider": { "openai": { "options": { "apiKey": "{env:OPENAI_API_KEY}" } },
    "asgard": { "options": { "headers": { "X-Mine": "1" }, "apiKey": "{file:~/.key}" }, "models": { "thor": { "options": { "x": 1 } }, "gone": {} } } },
  "agent": {
    "coder": { "model": "openai/gpt-5", "prompt": "mine" },
    "loki": { "model": "asgard/loki", "prompt": "You doubt.", "temperature": 0.9, "mode": "all" },
  },
  "enabled_providers": ["openai"],
}"#;
    let done = opencode(&household, &Ask::default(), Some(before)).unwrap();
    let config = value(&done.text);
    assert_eq!(
        (&config["model"], &config["small_model"]),
        (&json!("anthropic/claude-sonnet-4-5"), &json!("openai/gpt-5-nano"))
    );
    let options = &config["provider"]["asgard"]["options"];
    assert_eq!((&options["apiKey"], &options["headers"]["X-Mine"]), (&json!("{file:~/.key}"), &json!("1")));
    let models = config["provider"]["asgard"]["models"].as_object().unwrap();
    assert!(
        !models.contains_key("gone")
            && models["thor"]["options"]["x"] == 1
            && models["thor"]["limit"]["context"] == 32_768
    );
    assert_eq!(config["agent"]["coder"], json!({"model": "openai/gpt-5", "prompt": "mine"}));
    let loki = &config["agent"]["loki"];
    assert_eq!(
        (&loki["prompt"], &loki["mode"], &loki["temperature"]),
        (&json!("You doubt."), &json!("all"), &json!(0.9))
    );
    assert_eq!(config["agent"]["reviewer"]["model"], "asgard/odin");
    assert!(done.text.contains("// My own.\n") && done.text.contains(", // paid for\n"));
    for of in [
        "model is anthropic",
        "small_model is openai",
        "agent.coder uses openai/gpt-5",
        "loki's prompt",
        "models.gone",
        "enabled_providers",
    ] {
        assert!(done.notes.iter().any(|n| n.contains(of)), "{of}: {:#?}", done.notes);
    }
}

#[test]
fn the_primary_goes_to_the_cloud_and_back() {
    let stack = stack(NORSE);
    let household = household(&stack);
    let home = opencode(&household, &Ask::default(), None).unwrap().text;
    let (cloud, notes) =
        written(&household, &primary("cloud:anthropic/claude-sonnet-4-5", &stack), Some(&home));
    assert_eq!(
        (&cloud["model"], &cloud["agent"]["primary"]["model"]),
        (&json!("anthropic/claude-sonnet-4-5"), &json!("anthropic/claude-sonnet-4-5"))
    );
    assert_eq!(cloud["agent"]["coder"]["model"], "asgard/valkyrie");
    assert_eq!(cloud["small_model"], "asgard/heimdall");
    assert!(notes.iter().any(|n| n.contains("--primary thor")), "{notes:#?}");
    let away = opencode(&household, &primary("cloud:anthropic/claude-sonnet-4-5", &stack), Some(&home))
        .unwrap()
        .text;
    assert_eq!(opencode(&household, &primary("thor", &stack), Some(&away)).unwrap().text, home);
    let (other, _) = written(&household, &primary("valkyrie", &stack), Some(&home));
    assert_eq!(
        (&other["model"], &other["agent"]["primary"]["model"]),
        (&json!("asgard/valkyrie"), &json!("asgard/valkyrie"))
    );

    let oh_my = oh_my_opencode(&household, &Ask::default(), None).unwrap().text;
    let away = oh_my_opencode(&household, &primary("cloud:openai/gpt-5", &stack), Some(&oh_my)).unwrap().text;
    assert_eq!(value(&away)["agents"]["sisyphus"], json!({"model": "openai/gpt-5"}), "its own limits");
    assert_eq!(
        value(&oh_my_opencode(&household, &Ask::default(), Some(&away)).unwrap().text),
        value(&away),
        "stays"
    );
    let back = oh_my_opencode(&household, &primary("thor", &stack), Some(&away)).unwrap().text;
    assert_eq!(value(&back), value(&oh_my));

    for bad in [
        "nobody",
        "cloud:",
        "cloud:anthropic",
        "cloud:/x",
        "cloud:a/",
        "cloud:a/b c",
        "cloud:a/{env:X}",
        "cloud:asgard/thor",
        "Thor",
    ] {
        let error = Primary::read(bad, &stack).unwrap_err().to_string();
        assert_eq!(error.matches(". ").count(), 1, "two sentences: {error}");
    }
}

#[test]
fn keys_are_references() {
    let mut stack = stack(NORSE);
    stack.gateway.keys = vec![GatewayKey { name: "opencode".into(), agents: None }];
    let household = household(&stack);
    let (config, notes) = written(&household, &Ask::default(), None);
    assert_eq!(config["provider"]["asgard"]["options"]["apiKey"], "asgard");
    assert!(notes.iter().any(|n| n.contains("--key") && n.contains("opencode")), "{notes:#?}");
    let ask =
        Ask { primary: None, key_file: Some(PathBuf::from("/home/you/.config/asgard/tool-keys/opencode")) };
    let (config, notes) = written(&household, &ask, None);
    assert_eq!(
        config["provider"]["asgard"]["options"]["apiKey"],
        "{file:/home/you/.config/asgard/tool-keys/opencode}"
    );
    assert!(!notes.iter().any(|n| n.contains("--key")), "{notes:#?}");
    let text = opencode(&household, &ask, None).unwrap().text;
    assert!(!text.contains("${"), "the tool reads {{env:…}} and {{file:…}} alone");
}

#[test]
fn oh_my_opencode_by_parts() {
    let stack = stack(NORSE);
    let household = household(&stack);
    let config = value(&oh_my_opencode(&household, &Ask::default(), None).unwrap().text);
    for (agents, model) in [
        (["sisyphus"].as_slice(), "thor"),
        (&["hephaestus", "sisyphus-junior"], "valkyrie"),
        (&["oracle", "prometheus"], "odin"),
        (&["metis", "momus"], "frigga"),
        (&["librarian", "explore", "atlas"], "heimdall"),
    ] {
        for agent in agents {
            assert_eq!(config["agents"][agent]["model"], format!("asgard/{model}"), "{agent}");
        }
    }
    assert_eq!(config["agents"]["explore"]["maxTokens"], 4096);

    // Contexts as large as they were meant for have the values that were meant.
    let mut large = stack.clone();
    for agent in &mut large.agents {
        agent.context = 65_536;
    }
    let household = Household::of(&large, &BTreeMap::new(), None).unwrap();
    let config = value(&oh_my_opencode(&household, &Ask::default(), None).unwrap().text);
    let tokens = |agent: &str| config["agents"][agent]["maxTokens"].as_u64().unwrap();
    assert_eq!(
        ["sisyphus", "hephaestus", "oracle", "momus", "atlas"].map(tokens),
        [32_768, 24_576, 16_384, 16_384, 4096]
    );

    // A file from when contexts were larger is put right; a smaller wish stays, and so does a model of others.
    let before = r#"{ "agents": { "sisyphus": { "model": "asgard/thor", "maxTokens": 32768, "temperature": 0.1 }, // lead
        "oracle": { "model": "openai/gpt-5", "maxTokens": 128000 }, "momus": { "maxTokens": 1000 } } }"#;
    let household = self::household(&stack);
    let done = oh_my_opencode(&household, &Ask::default(), Some(before)).unwrap();
    let config = value(&done.text);
    assert_eq!(
        config["agents"]["sisyphus"],
        json!({"model": "asgard/thor", "maxTokens": 8192, "temperature": 0.1})
    );
    assert_eq!(config["agents"]["oracle"]["maxTokens"], 128_000);
    assert_eq!(config["agents"]["momus"], json!({"maxTokens": 1000, "model": "asgard/frigga"}));
    assert!(done.text.contains("// lead"));
}

#[test]
fn lines_for_the_others_are_whole() {
    let mut stack = stack(NORSE);
    stack.gateway.listen = "0.0.0.0:9000".parse().unwrap();
    let household = household(&stack);
    let none = Ask::default();

    let codex = tools::codex(&household, &none).text;
    let toml: Value = toml_edit::de::from_str(&codex).unwrap();
    assert_eq!(
        (&toml["model"], &toml["model_provider"], &toml["model_context_window"]),
        (&json!("thor"), &json!("asgard"), &json!(32_768))
    );
    let provider = &toml["model_providers"]["asgard"];
    assert_eq!(
        (&provider["base_url"], &provider["wire_api"], &provider["env_key"]),
        (&json!("http://127.0.0.1:9000/v1"), &json!("responses"), &json!("ASGARD_API_KEY"))
    );

    let claude = tools::claude_code(&household, &none).text;
    for line in [
        "export ANTHROPIC_BASE_URL=http://127.0.0.1:9000\n",
        "export ANTHROPIC_AUTH_TOKEN=asgard\n",
        "export ANTHROPIC_MODEL=thor\n",
        "export ANTHROPIC_SMALL_FAST_MODEL=heimdall\n",
        "export API_TIMEOUT_MS=1800000\n",
    ] {
        assert!(claude.contains(line), "{line}{claude}");
    }

    let zed: Value = serde_json::from_str(&tools::zed(&household, &none).text).unwrap();
    let asgard = &zed["language_models"]["openai_compatible"]["Asgard"];
    assert_eq!(asgard["api_url"], "http://127.0.0.1:9000/v1");
    assert_eq!(asgard["available_models"].as_array().unwrap().len(), 6);
    assert_eq!(asgard["available_models"][0]["max_tokens"], 32_768);

    let yaml = tools::continue_dev(&household, &none).text;
    assert_eq!(yaml.matches("    apiBase: http://127.0.0.1:9000/v1\n").count(), 6, "{yaml}");
    assert!(yaml.starts_with("name: Asgard\n") && yaml.contains("      contextLength: 32768\n"));

    let cline = tools::cline(&household, &none).text;
    assert!(
        cline.contains("Base URL: http://127.0.0.1:9000/v1\n")
            && cline.contains("Context Window Size: 32768\n"),
        "{cline}"
    );

    let aider = tools::aider(&household, &none).text;
    let json = aider.split("<<'END'\n").nth(1).unwrap().split("\nEND\n").next().unwrap();
    let metadata: Value = serde_json::from_str(json).unwrap();
    let thor = &metadata["openai/thor"];
    assert_eq!(
        thor["max_input_tokens"].as_u64().unwrap() + thor["max_output_tokens"].as_u64().unwrap(),
        32_768
    );
    assert!(
        aider.contains("export OPENAI_API_BASE=http://127.0.0.1:9000/v1\n")
            && aider.contains("aider --model openai/thor ")
    );

    // A key is read where it is used, and never printed.
    let ask = Ask { primary: None, key_file: Some("/tmp/it's here".into()) };
    assert!(
        tools::claude_code(&household, &ask)
            .text
            .contains(r#"export ANTHROPIC_AUTH_TOKEN="$(cat '/tmp/it'\''s here')""#)
    );
    assert!(tools::cline(&household, &ask).text.contains("PASTE-THE-KEY"));
}

#[test]
fn a_stack_with_other_names_goes_by_tiers() {
    let mut stack = stack(NORSE);
    stack.agents.retain(|a| !["loki", "frigga"].contains(&a.name.as_str()));
    for (agent, name) in stack.agents.iter_mut().zip(["chief", "smith", "judge", "scout"]) {
        agent.name = AgentName::new(name).unwrap();
        agent.role = String::new();
    }
    for profile in &mut stack.profiles {
        profile.agents = ["chief", "smith", "scout"].map(|n| AgentName::new(n).unwrap()).to_vec();
    }
    let household = household(&stack);
    let (config, _) = written(&household, &Ask::default(), None);
    assert_eq!((&config["model"], &config["small_model"]), (&json!("asgard/chief"), &json!("asgard/scout")));
    assert_eq!(config["agent"]["reviewer"]["model"], "asgard/judge");
    assert!(config["agent"].get("loki").is_none());
    let oh_my = value(&oh_my_opencode(&household, &Ask::default(), None).unwrap().text);
    assert_eq!(oh_my["agents"]["metis"]["model"], "asgard/chief");

    // Nobody small that is awake beside the base profile: the primary itself, never somebody who puts it to sleep.
    let mut alone = stack.clone();
    for profile in &mut alone.profiles {
        profile.agents = ["chief", "smith"].map(|n| AgentName::new(n).unwrap()).to_vec();
    }
    assert_eq!(Household::of(&alone, &BTreeMap::new(), None).unwrap().small.as_str(), "chief");
    let empty = Stack { agents: Vec::new(), ..alone };
    assert!(Household::of(&empty, &BTreeMap::new(), None).is_none());
}
