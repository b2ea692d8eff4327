use std::collections::BTreeSet;
use std::path::Path;

use domain::stack::Stack;
use proptest::prelude::*;
use serde_json::json;

use super::super::{check, presets};
use super::*;

fn keys(json: Value) -> BTreeMap<String, Value> {
    serde_json::from_value(json).unwrap()
}

fn names(names: &[&str]) -> Vec<String> {
    names.iter().map(|n| (*n).to_owned()).collect()
}

fn change(agent: &str, json: Value) -> Edit {
    Edit::ChangeAgent { agent: agent.into(), keys: keys(json) }
}

fn one(text: &str, edit: Edit) -> String {
    super::edit(text, &[edit]).unwrap()
}

fn refused(text: &str, edit: Edit, says: &[&str]) {
    let error = super::edit(text, &[edit]).unwrap_err();
    let whole = error.to_string();
    assert!(says.iter().all(|s| whole.contains(s)), "{whole}");
    assert!(error.message.ends_with('.') && error.next.ends_with('.'), "{whole}");
}

fn resolved(text: &str) -> Stack {
    check(Path::new("stack.toml"), text, 1).unwrap_or_else(|p| panic!("{p:?}\n{text}"))
}

/// Every comment line and every comment behind something.
fn comments(text: &str) -> BTreeSet<String> {
    text.lines().filter_map(|l| l.split_once('#')).map(|(_, c)| c.trim().to_owned()).collect()
}

const SMALL: &str = r#"# The head of the file.
version = 1 # behind the version
base = "day"
# Above the rules.
conflicts = [
    ["a", "b"], # never these
    ["a", "b", "c"],
]

# Stands apart from everything.

# About a.
[agents.a] # behind its header
model = 'x/y'   # a literal
port = 8_001
# About the context of a.
context = 32768
memory = "10 GB"
# below a

# Apart, between a and its variables.

[agents.a.env]
ONE = "1" # the first
TWO = "2"

[agents."b"]
model = "x/y"
port = 8002
context = 0x8000
memory = "10 GB"
args = [
    "--one", # because
    "--two",
]

# About c.
[agents.c]
served_by = "b"
role = """
[agents.fake]
# not a comment"""

# Who is awake together.

[profiles.day] # the day
agents = ["a"]

[profiles.night]
agents = [ "b", "c" ]
# The end.
"#;

#[test]
fn nothing_asked_is_nothing_changed() {
    for text in presets::all().iter().map(presets::Preset::text).chain([SMALL.to_owned(), String::new()]) {
        assert_eq!(edit(&text, &[]).unwrap(), text);
        // As pieces, too.
        let names: Vec<String> = written(&text).unwrap().agents.into_iter().map(|(n, _)| n).collect();
        assert_eq!(text::reorder(&text, &names).unwrap(), text);
    }
}

#[test]
fn what_is_written_is_told_in_the_order_of_the_file() {
    let written = written(SMALL).unwrap();
    let agents: Vec<_> = written.agents.iter().map(|(n, _)| n.as_str()).collect();
    assert_eq!(agents, ["a", "b", "c"]);
    assert_eq!(
        json!(written.agents[0].1),
        json!({"model": "x/y", "port": 8001, "context": 32768, "memory": "10 GB", "env": {"ONE": "1", "TWO": "2"}})
    );
    assert_eq!(written.agents[1].1["args"], json!(["--one", "--two"]));
    assert_eq!(written.agents[2].1["role"], json!("[agents.fake]\n# not a comment"));
    assert_eq!(written.profiles, [("day".into(), names(&["a"])), ("night".into(), names(&["b", "c"]))]);
}

#[test]
fn a_changed_value_changes_its_own_bytes() {
    let text = one(SMALL, change("a", json!({"context": 8192, "model": "z/w", "port": 8001})));
    let expected = SMALL.replacen("context = 32768", "context = 8192", 1).replacen("'x/y'", "\"z/w\"", 1);
    assert_eq!(text, expected);
    let text = one(SMALL, change("a", json!({"memory": null})));
    assert_eq!(text, SMALL.replacen("memory = \"10 GB\"\n", "", 1));
    let text = one(SMALL, change("a", json!({"context": null, "absent": null})));
    assert_eq!(text, SMALL.replacen("context = 32768\n", "", 1), "what is written above it stays");
    let text = one(SMALL, change("c", json!({"role": null})));
    assert_eq!(text, SMALL.replacen("role = \"\"\"\n[agents.fake]\n# not a comment\"\"\"\n", "", 1));
    let text = one(SMALL, change("b", json!({"pinned": true, "share": 0.25})));
    assert_eq!(
        text,
        SMALL.replacen("    \"--two\",\n]\n", "    \"--two\",\n]\npinned = true\nshare = 0.25\n", 1)
    );
}

#[test]
fn tables_and_lists_are_changed_in_their_places() {
    let text = one(SMALL, change("a", json!({"env": {"ONE": "1", "THREE": "3"}})));
    assert_eq!(text, SMALL.replacen("TWO = \"2\"", "THREE = \"3\"", 1));
    let text = one(SMALL, change("a", json!({"env": null})));
    assert!(!text.contains("ONE") && !text.contains("env]"), "{text}");
    assert!(text.contains("# Apart, between a and its variables.\n\n[agents.\"b\"]"), "{text}");
    let text = one(SMALL, change("b", json!({"args": ["--one", "--two", "--three"]})));
    assert_eq!(text, SMALL.replacen("    \"--two\",\n", "    \"--two\",\n    \"--three\",\n", 1));
    let text = one(SMALL, change("b", json!({"args": ["--two"]})));
    assert_eq!(written(&text).unwrap().agents[1].1["args"], json!(["--two"]));
    assert_eq!(comments(&text), comments(SMALL));
    let text = one(SMALL, change("b", json!({"env": {"A": "x \"y\""}})));
    assert_eq!(written(&text).unwrap().agents[1].1["env"], json!({"A": "x \"y\""}));
}

#[test]
fn an_agent_that_loses_all_its_keys_breaks_nothing() {
    let dotted = "agents.a.port = 1\n";
    let text = one(dotted, change("a", json!({"env": {"X": "1"}, "port": null, "zeta": "z"})));
    assert_eq!(json!(written(&text).unwrap().agents[0].1), json!({"env": {"X": "1"}, "zeta": "z"}));
    assert_eq!(one(dotted, change("a", json!({"port": null}))), "");
    let inline = "agents = { a = { port = 1 } }\n";
    assert_eq!(written(&one(inline, change("a", json!({"port": null})))).unwrap().agents[0].1.len(), 0);
}

#[test]
fn a_text_of_several_lines_stands_on_several_lines() {
    for role in ["one\ntwo\n", "a \"\"\" b\n\\n \"", "\n\nx\t\u{7}\r\n", "ends with\n\"\"", "\u{1f}\n'''"] {
        let text = one(SMALL, change("b", json!({"role": role})));
        assert!(text.contains("role = \"\"\"\n"), "{text}");
        assert_eq!(written(&text).unwrap().agents[1].1["role"], json!(role), "{text}");
    }
}

#[test]
fn what_no_stack_file_can_hold_is_refused() {
    for value in [json!([1]), json!([["a"]]), json!({"a": 1}), json!(u64::MAX)] {
        refused(SMALL, change("a", json!({"args": value})), &["`args`", "list of texts"]);
    }
    refused(SMALL, change("z", json!({})), &["no agent \"z\""]);
    refused("a = ", change("a", json!({})), &["not TOML in line 1"]);
    refused("agents = 3", change("a", json!({})), &["`agents`"]);
}

#[test]
fn a_new_agent_comes_behind_the_others() {
    let add = Edit::AddAgent {
        agent: "new".into(),
        keys: keys(
            json!({"port": 8009, "model": "x/y", "role": "One.\nTwo.\n", "memory": "1 GB", "ttl": null}),
        ),
        profiles: names(&["night"]),
    };
    let text = one(SMALL, add.clone());
    let block = "\n[agents.new]\nrole = \"\"\"\nOne.\nTwo.\n\"\"\"\nmodel = \"x/y\"\nport = 8009\nmemory = \"1 GB\"\n";
    let expected = SMALL
        .replacen("# not a comment\"\"\"\n", &format!("# not a comment\"\"\"\n{block}"), 1)
        .replacen("[ \"b\", \"c\" ]", "[ \"b\", \"c\", \"new\" ]", 1);
    assert_eq!(text, expected);
    refused(&text, add, &["already"]);
    let bad = |agent: &str| Edit::AddAgent { agent: agent.into(), keys: keys(json!({})), profiles: vec![] };
    refused(SMALL, bad("New"), &["lower-case"]);
    refused(SMALL, bad("x] #"), &["lower-case"]);
    assert_eq!(one("", bad("x")), "[agents.x]\n");
    assert_eq!(one("name = \"n\"", bad("x")), "name = \"n\"\n\n[agents.x]\n");
}

#[test]
fn a_copy_has_its_own_name_and_port() {
    let text = one(SMALL, Edit::DuplicateAgent { agent: "a".into(), to: "twin".into(), port: 8050 });
    let written = written(&text).unwrap();
    let order: Vec<_> = written.agents.iter().map(|(n, _)| n.as_str()).collect();
    assert_eq!(order, ["a", "twin", "b", "c"]);
    let mut expected = written.agents[0].1.clone();
    expected.insert("port".into(), json!(8050));
    assert_eq!(written.agents[1].1, expected);
    assert!(text.contains("[agents.twin.env]"), "{text}");
    let text = one(SMALL, Edit::DuplicateAgent { agent: "c".into(), to: "d".into(), port: 8050 });
    assert!(!text.contains("8050"), "a role has no port of its own");
}

#[test]
fn another_name_is_everywhere() {
    let text = one(SMALL, Edit::RenameAgent { agent: "b".into(), to: "bee".into() });
    let expected = SMALL
        .replacen("[\"a\", \"b\"]", "[\"a\", \"bee\"]", 1)
        .replacen("[\"a\", \"b\", \"c\"]", "[\"a\", \"bee\", \"c\"]", 1)
        .replacen("[agents.\"b\"]", "[agents.bee]", 1)
        .replacen("served_by = \"b\"", "served_by = \"bee\"", 1)
        .replacen("[ \"b\", \"c\" ]", "[ \"bee\", \"c\" ]", 1);
    assert_eq!(text, expected);
    let back = one(&text, Edit::RenameAgent { agent: "bee".into(), to: "b".into() });
    assert_eq!(back, SMALL.replacen("[agents.\"b\"]", "[agents.b]", 1));
    let text = one(SMALL, Edit::RenameAgent { agent: "a".into(), to: "ay".into() });
    assert!(text.contains("[agents.ay.env]") && text.contains("# About a.\n[agents.ay] # behind its header"));
    refused(SMALL, Edit::RenameAgent { agent: "a".into(), to: "b".into() }, &["already"]);
}

#[test]
fn a_removed_agent_is_named_nowhere_and_takes_only_its_own_comments() {
    refused(SMALL, Edit::RemoveAgent { agent: "b".into() }, &["b serves c."]);
    refused(SMALL, Edit::RemoveAgent { agent: "a".into() }, &["base profile day", "Put another agent"]);
    let text = super::edit(
        SMALL,
        &[
            Edit::PutProfile { profile: "day".into(), agents: names(&["b"]) },
            Edit::RemoveAgent { agent: "a".into() },
        ],
    )
    .unwrap();
    let gone: Vec<String> = comments(SMALL).difference(&comments(&text)).cloned().collect();
    assert_eq!(
        gone,
        ["About a.", "About the context of a.", "a literal", "behind its header", "below a", "the first"]
    );
    assert!(text.contains("[\"b\", \"c\"],"), "the rule of three lives on: {text}");
    assert!(!text.contains("\"a\""), "{text}");
    let text = one(SMALL, Edit::RemoveAgent { agent: "c".into() });
    assert!(text.contains("]\n\n# Who is awake together.\n\n[profiles.day]"), "{text}");
    assert!(!text.contains("About c") && text.contains("[ \"b\" ]"), "{text}");
}

#[test]
fn tables_move_with_their_comments_and_the_rest_stays() {
    let text = one(SMALL, Edit::OrderAgents { agents: names(&["c", "a", "b"]) });
    let expected_start = "# Stands apart from everything.\n\n# About c.\n[agents.c]\n";
    assert!(text.contains(expected_start), "{text}");
    assert!(text.contains("\n\n# About a.\n[agents.a] # behind its header"), "{text}");
    assert!(text.contains("memory = \"10 GB\"\n# below a\n"), "{text}");
    assert_eq!(comments(&text), comments(SMALL));
    assert_eq!(one(&text, Edit::OrderAgents { agents: names(&["a", "b", "c"]) }), SMALL);
    for wrong in [&["a", "b"][..], &["a", "b", "b"], &["a", "b", "c", "d"]] {
        refused(SMALL, Edit::OrderAgents { agents: names(wrong) }, &["every agent once"]);
    }
}

#[test]
fn without_a_blank_line_a_comment_is_about_what_follows() {
    let text = "[agents.a]\nport = 1\n# about b\n[agents.b]\nport = 2\n# below b\n";
    let moved = one(text, Edit::OrderAgents { agents: names(&["b", "a"]) });
    assert_eq!(moved, "# about b\n[agents.b]\nport = 2\n# below b\n[agents.a]\nport = 1\n");
}

#[test]
fn profiles_are_made_changed_and_taken_away() {
    let put =
        |profile: &str, agents: &[&str]| Edit::PutProfile { profile: profile.into(), agents: names(agents) };
    let text = one(SMALL, put("new", &["b", "b", "c"]));
    assert_eq!(text, SMALL.to_owned() + "\n[profiles.new]\nagents = [\"b\", \"c\"]\n");
    assert_eq!(one(SMALL, put("day", &["b"])), SMALL.replacen("agents = [\"a\"]", "agents = [\"b\"]", 1));
    refused(SMALL, put("day", &[]), &["base profile day"]);
    refused(SMALL, put("day", &["z"]), &["no agent \"z\""]);
    refused(SMALL, put("No", &["a"]), &["lower-case"]);
    refused(SMALL, Edit::RemoveProfile { profile: "day".into() }, &["base profile"]);
    refused(SMALL, Edit::RemoveProfile { profile: "z".into() }, &["no profile"]);
    let text = one(SMALL, Edit::RemoveProfile { profile: "night".into() });
    assert!(text.contains("agents = [\"a\"]") && !text.contains("night"), "{text}");
    let shared = Edit::AgentProfiles { agent: "c".into(), profiles: names(&["day"]) };
    let text = one(SMALL, shared);
    assert!(text.contains("agents = [\"a\", \"c\"]") && text.contains("[ \"b\" ]"), "{text}");
}

#[test]
fn other_ways_of_writing_tables_survive() {
    let inline = "base = \"p\"\n[agents]\n# about thor\nthor = { port = 1, model = \"m\" } # behind\nodin = { port = 2, model = \"m\" }\n[profiles]\np = { agents = [\"thor\"] }\n";
    let dotted = "base = \"p\"\n[agents]\nthor.port = 1 # behind\nthor.model = \"m\"\nodin.port = 2\nodin.model = \"m\"\n[profiles]\np.agents = [\"thor\"]\n";
    let root = "base = \"p\"\nagents.thor.port = 1 # behind\nagents.thor.model = \"m\"\nagents.odin = { port = 2, model = \"m\" }\nprofiles.p.agents = [\"thor\"]\n";
    let all = "base = \"p\" # behind\nagents = { thor = { port = 1, model = \"m\" }, odin = { port = 2, model = \"m\" } }\nprofiles = { p = { agents = [\"thor\"] } }\n";
    for text in [inline, dotted, root, all] {
        let edits = [
            change("thor", json!({"port": 7, "context": 9, "model": null, "args": ["x"]})),
            Edit::AddAgent {
                agent: "new".into(),
                keys: keys(json!({"port": 3, "role": "a\nb"})),
                profiles: names(&["p"]),
            },
            Edit::DuplicateAgent { agent: "odin".into(), to: "two".into(), port: 5 },
            Edit::RenameAgent { agent: "thor".into(), to: "tyr".into() },
            Edit::RemoveAgent { agent: "odin".into() },
            Edit::PutProfile { profile: "q".into(), agents: names(&["two"]) },
        ];
        let text = super::edit(text, &edits).unwrap_or_else(|e| panic!("{e}\n{text}"));
        let got = written(&text).unwrap();
        assert_eq!(
            json!(got.agents.iter().cloned().collect::<BTreeMap<_, _>>()),
            json!({
                "tyr": {"port": 7, "context": 9, "args": ["x"]},
                "two": {"port": 5, "model": "m"},
                "new": {"port": 3, "role": "a\nb"},
            }),
            "{text}"
        );
        assert_eq!(
            got.profiles,
            [("p".into(), names(&["tyr", "new"])), ("q".into(), names(&["two"]))],
            "{text}"
        );
        assert!(text.contains("# behind"), "{text}");
    }
    for text in [inline, dotted, all] {
        let moved = one(text, Edit::OrderAgents { agents: names(&["odin", "thor"]) });
        assert_eq!(written(&moved).unwrap().agents[0].0, "odin");
        assert_eq!(comments(&moved), comments(text));
    }
    let mixed = "[agents]\na = { port = 1 }\n[agents.b]\nport = 2\n";
    refused(mixed, Edit::OrderAgents { agents: names(&["b", "a"]) }, &["inside [agents]"]);
}

#[test]
fn line_ends_and_marks_of_other_systems_stay() {
    let text = format!("\u{feff}{}", SMALL.replace('\n', "\r\n"));
    let changed = one(&text, change("a", json!({"context": 5, "role": "x\ny"})));
    assert!(changed.starts_with('\u{feff}'));
    assert!(!changed.replace("\r\n", "").contains('\n'));
    assert!(changed.contains("context = 5\r\n"));
    let same = one(&text, change("a", json!({"port": 8001})));
    assert_eq!(same, text);
}

#[test]
fn the_text_before_is_kept_beside_the_new_one() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("stack.toml");
    assert_eq!(save(&path, "a", "1").unwrap(), None);
    let kept = save(&path, "b", "2").unwrap().unwrap();
    assert_eq!(std::fs::read_to_string(kept).unwrap(), "a");
    assert_eq!(std::fs::read_to_string(path).unwrap(), "b");
}

#[test]
fn the_shipped_stack_is_edited_and_put_back() {
    let before = resolved(presets::NORSE);
    let there = [
        change("thor", json!({"context": 8192, "pinned": null, "ttl": "20 min"})),
        Edit::RenameAgent { agent: "frigga".into(), to: "freya".into() },
        Edit::PutProfile { profile: "two".into(), agents: names(&["odin", "thor"]) },
    ];
    let back = [
        Edit::RemoveProfile { profile: "two".into() },
        Edit::RenameAgent { agent: "freya".into(), to: "frigga".into() },
        change("thor", json!({"context": 32768, "pinned": true, "ttl": null})),
    ];
    let edited = super::edit(presets::NORSE, &there).unwrap();
    assert_ne!(resolved(&edited), before);
    let again = super::edit(&edited, &back).unwrap();
    assert_eq!(resolved(&again), before);
    assert_eq!(comments(&again), comments(presets::NORSE));
}

const NAMES: [&str; 6] = ["a", "b", "c", "d", "e-2", "agents"];

fn name() -> impl Strategy<Value = String> {
    prop::sample::select(NAMES.to_vec()).prop_map(str::to_owned)
}

fn some_names() -> impl Strategy<Value = Vec<String>> {
    prop::sample::subsequence(NAMES.to_vec(), 0..=4).prop_shuffle().prop_map(|n| names(&n))
}

fn some_keys() -> impl Strategy<Value = BTreeMap<String, Value>> {
    let value = prop_oneof![
        Just(Value::Null),
        ".{0,12}".prop_map(Value::from),
        "([a\"\\\\# \n]|'''){0,12}".prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<bool>().prop_map(Value::from),
        prop::collection::vec("[a-c#\"]{0,3}", 0..4).prop_map(Value::from),
        prop::collection::btree_map("[A-C.# ]{1,2}", ".{0,3}", 0..3).prop_map(|m| json!(m)),
    ];
    let key =
        prop::sample::select(vec!["role", "args", "env", "port", "context", "memory", "title", "model"]);
    prop::collection::btree_map(key.prop_map(str::to_owned), value, 0..4)
}

fn any_edit() -> impl Strategy<Value = Edit> {
    let profile = || prop::sample::select(vec!["day", "night", "dawn"]).prop_map(str::to_owned);
    prop_oneof![
        (name(), some_keys()).prop_map(|(agent, keys)| Edit::AddAgent { agent, keys, profiles: vec![] }),
        (name(), some_keys()).prop_map(|(agent, keys)| Edit::ChangeAgent { agent, keys }),
        (name(), name()).prop_map(|(agent, to)| Edit::DuplicateAgent { agent, to, port: 8100 }),
        (name(), name()).prop_map(|(agent, to)| Edit::RenameAgent { agent, to }),
        name().prop_map(|agent| Edit::RemoveAgent { agent }),
        some_names().prop_map(|agents| Edit::OrderAgents { agents }),
        Just(Edit::OrderAgents { agents: names(&["c", "b", "a"]) }),
        (name(), prop::collection::vec(profile(), 0..3))
            .prop_map(|(agent, profiles)| Edit::AgentProfiles { agent, profiles }),
        (profile(), some_names()).prop_map(|(profile, agents)| Edit::PutProfile { profile, agents }),
        profile().prop_map(|profile| Edit::RemoveProfile { profile }),
    ]
}

/// What is said of the household by a model of the file that has no text.
fn told(mut now: Written, edit: &Edit) -> Written {
    match edit {
        Edit::ChangeAgent { agent, keys } => {
            for (_, written) in now.agents.iter_mut().filter(|(n, _)| n == agent) {
                for (key, value) in keys {
                    if value.is_null() {
                        written.remove(key)
                    } else {
                        written.insert(key.clone(), value.clone())
                    };
                }
            }
        }
        Edit::OrderAgents { agents } => {
            now.agents.sort_by_key(|(n, _)| agents.iter().position(|a| a == n));
        }
        Edit::AddAgent { agent, keys, .. } => {
            let keys =
                keys.iter().filter(|(_, v)| !v.is_null()).map(|(k, v)| (k.clone(), v.clone())).collect();
            now.agents.push((agent.clone(), keys));
        }
        Edit::RemoveAgent { agent } => now.agents.retain(|(n, _)| n != agent),
        _ => {}
    }
    now
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    #[test]
    fn any_edits_leave_the_comments_of_what_they_do_not_touch(edits in prop::collection::vec(any_edit(), 1..8)) {
        let mut text = SMALL.to_owned();
        for edit in &edits {
            let before = written(&text).unwrap();
            let Ok(after) = super::edit(&text, std::slice::from_ref(edit)) else { continue };
            let now = written(&after);
            prop_assert!(now.is_ok(), "{edit:?} on\n{text}\ngave\n{after}");
            let now = now.unwrap();
            if matches!(edit, Edit::ChangeAgent { .. } | Edit::OrderAgents { .. } | Edit::AddAgent { .. } | Edit::RemoveAgent { .. }) {
                prop_assert_eq!(&now.agents, &told(before, edit).agents, "{:?} on\n{}\ngave\n{}", edit, text, after);
            }
            text = after;
        }
        for comment in ["The head of the file.", "behind the version", "Above the rules.", "Stands apart from everything.",
            "Who is awake together.", "the day"] {
            prop_assert!(comments(&text).contains(comment), "{comment} is gone after {edits:?}:\n{text}");
        }
        let touched = |name: &str| edits.iter().any(|e| matches!(e, Edit::RemoveAgent { agent } | Edit::ChangeAgent { agent, .. } if agent == name))
            || edits.iter().any(|e| matches!(e, Edit::RenameAgent { .. }));
        if !touched("a") {
            for comment in ["About a.", "behind its header", "a literal", "About the context of a.", "below a", "the first"] {
                prop_assert!(comments(&text).contains(comment), "{comment} is gone after {edits:?}:\n{text}");
            }
        }
        if !touched("b") {
            prop_assert!(comments(&text).contains("because"), "after {edits:?}:\n{text}");
        }
    }

    #[test]
    fn a_change_and_its_undoing_give_the_same_stack(
        agent in prop::sample::select(vec!["thor", "odin", "frigga"]),
        context in prop::sample::select(vec![4096, 8192, 16384]),
        order in Just(vec!["thor", "valkyrie", "odin", "heimdall", "loki", "frigga"]).prop_shuffle(),
    ) {
        let before = resolved(presets::NORSE);
        let first: Vec<String> = before.agents.iter().map(|a| a.name.to_string()).collect();
        let there = [
            change(agent, json!({"context": context, "title": "Other", "args": ["--x"]})),
            Edit::OrderAgents { agents: names(&order) },
            Edit::RenameAgent { agent: agent.into(), to: "other".into() },
        ];
        let title = &before.agents.iter().find(|a| a.name.as_str() == agent).unwrap().title;
        let back = [
            Edit::RenameAgent { agent: "other".into(), to: agent.into() },
            Edit::OrderAgents { agents: first },
            change(agent, json!({"context": 32768, "title": title, "args": null})),
        ];
        let text = super::edit(presets::NORSE, &there).unwrap();
        prop_assert_eq!(super::edit(&text, &back).unwrap(), presets::NORSE);
    }

    #[test]
    fn no_text_makes_it_fall_over(text in "([a-z=\\[\\]{}.\"#\n ,]|agents|profiles|\\[agents.a\\]\n){0,60}", edit in any_edit()) {
        if let Ok(after) = super::edit(&text, &[edit]) {
            prop_assert!(written(&after).is_ok(), "{after}");
        }
    }
}
