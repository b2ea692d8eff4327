use std::path::Path;

use domain::memory::{Bytes, Unit};
use domain::stack::{Agent, Stack};
use proptest::prelude::*;

use super::keys::{Key, STACK, Shape};
use super::*;

fn norse(scale: u64) -> Stack {
    check(Path::new("stack.toml"), &shipped_text(scale), scale).unwrap_or_else(|problems| {
        panic!(
            "the shipped stack has problems: {}",
            problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
        )
    })
}

fn problems(text: &str) -> Vec<FileProblem> {
    match check(Path::new("stack.toml"), text, 1) {
        Ok(_) => panic!("this was taken:\n{text}"),
        Err(problems) => {
            assert!(!problems.is_empty(), "a refusal says why");
            problems
        }
    }
}

/// The shipped stack with one line changed, and that line's number.
fn changed(from: &str, to: &str) -> (String, u32) {
    let text = presets::NORSE;
    let offset = text.find(from).unwrap_or_else(|| panic!("{from:?} is not in the shipped stack"));
    (text.replacen(from, to, 1), line_of(text, offset))
}

fn refused(from: &str, to: &str, says: &[&str]) {
    let (text, line) = changed(from, to);
    refused_at(&text, Some(line), says);
}

fn refused_at(text: &str, line: Option<u32>, says: &[&str]) {
    let found = problems(text);
    let fitting = found.iter().find(|p| {
        let whole = p.to_string();
        p.line == line && says.iter().all(|s| whole.contains(s)) && !p.next.is_empty()
    });
    assert!(fitting.is_some(), "wanted line {line:?} and {says:?}, found {found:#?}");
}

#[test]
fn the_shipped_stack_claims_what_is_promised() {
    for (scale, unit, capacity) in [(1, Unit::Gb, Bytes::gb(125.0)), (1024, Unit::Mb, Bytes::mb(128.0))] {
        let stack = norse(scale);
        let claim = |agent: &Agent| agent.claim_in(capacity);
        let shown: Vec<String> = stack
            .agents
            .iter()
            .map(|a| format!("{} {}", a.name, claim(a).show(unit).replace('\u{a0}', " ")))
            .collect();
        assert_eq!(
            shown,
            ["thor 25.3", "valkyrie 37.6", "odin 62.0", "heimdall 9.0", "loki 12.7", "frigga 20.3"]
                .map(|s| format!("{s} {unit}"))
        );
        let totals: Vec<String> = stack
            .profiles
            .iter()
            .map(|p| {
                let total: Bytes = p.agents.iter().filter_map(|a| stack.agent(a)).map(claim).sum();
                format!("{} {}", p.name, total.show(unit).replace('\u{a0}', " "))
            })
            .collect();
        assert_eq!(
            totals,
            ["standard 62.9", "heimdall 71.9", "loki 75.6", "frigga 83.2", "odin 87.3"]
                .map(|s| format!("{s} {unit}"))
        );
    }
}

#[test]
fn the_shipped_stack_is_what_it_says() {
    let stack = norse(1);
    assert_eq!((stack.name.as_str(), stack.base.as_str()), ("norse", "standard"));
    assert_eq!(stack.memory.limit, Some(Bytes::gb(120.0)));
    let agent = |name: &str| stack.agents.iter().find(|a| a.name.as_str() == name).unwrap();
    assert!(stack.conflict(&agent("odin").name, &agent("valkyrie").name));
    assert!(agent("thor").pinned && !agent("odin").pinned);
    for agent in &stack.agents {
        assert_eq!((agent.context, agent.sequences), (32_768, 4), "{}", agent.name);
        assert!(agent.role.len() > 100 && agent.role.starts_with("You are "), "{} has a role", agent.name);
        assert!(agent.glyph.is_some() && agent.color.is_some(), "{} has a rune and a colour", agent.name);
    }
    let parsers: Vec<_> = stack.agents.iter().map(|a| a.tool_parser.as_deref().unwrap_or("")).collect();
    assert_eq!(parsers, ["hermes", "qwen3_coder", "llama3_json", "hermes", "hermes", "hermes"]);
    let ports: Vec<_> = stack.agents.iter().map(|a| a.port).collect();
    assert_eq!(ports, [8001, 8002, 8011, 8012, 8013, 8014]);
}

#[test]
fn the_rehearsal_differs_in_the_unit_alone() {
    let (real, rehearsal) = (presets::NORSE, presets::rehearsal_text());
    let differing = real.lines().zip(rehearsal.lines()).filter(|(a, b)| a != b).collect::<Vec<_>>();
    assert_eq!(differing.len(), 7, "six KV caches and the limit: {differing:?}");
    assert_eq!(rehearsal.replace(" MB", " GB"), real);
}

#[test]
fn broken_syntax_has_its_line() {
    refused("port = 8011", "port 8011", &["stack.toml", "This is not TOML"]);
    refused("[agents.odin]", "[agents.odin", &["This is not TOML"]);
    refused("name = \"Loki\"", "name = \"Loki", &["This is not TOML"]);
    let (text, line) = changed("name = \"Loki\"", "name = \"Loki\"\nname = \"Again\"");
    refused_at(&text, Some(line + 1), &["This is not TOML"]);
}

#[test]
fn an_unknown_key_has_its_line_and_the_key_that_was_meant() {
    refused("port = 8011", "prot = 8011", &["unknown key `prot` in [agents.odin]; did you mean `port`?"]);
    refused("kv_cache = \"20 GB\"", "kvCache = \"20 GB\"", &["did you mean `kv_cache`?"]);
    refused(
        "[gateway]",
        "[gatway]",
        &["unknown key `gatway` at the top of the file; did you mean `gateway`?"],
    );
    refused("limit = \"120 GB\"", "weather = \"fine\"", &["unknown key `weather` in [memory].", "limit"]);
}

#[test]
fn every_wrong_type_is_found_at_once_in_the_order_of_the_file() {
    let text = "name = 7\n[agents.a]\nport = \"8001\"\nargs = [1]\nenv = { A = 1 }\n[profiles]\nall = 3\n";
    let found = problems(text);
    let lines: Vec<_> = found.iter().map(|p| p.line).collect();
    assert_eq!(lines, [Some(1), Some(3), Some(4), Some(5), Some(7)], "{found:#?}");
    assert_eq!(found[1].message, "`port` in [agents.a] must be a whole number, and is a text.");
    assert_eq!(found[1].next, "Write port = 4.");
}

#[test]
fn what_cannot_be_is_refused_with_line_and_remedy() {
    refused("agents = [\"thor\", \"odin\"]", "agents = [\"thor\", \"oden\"]", &["oden"]);
    refused("port = 8011", "port = 8001", &["8001", "thor"]);
    refused("context = 32768", "context = -4096", &["context"]);
    refused("base = \"standard\"", "base = \"standart\"", &["standart"]);
    refused("kv_cache = \"20 GB\"", "kv_cache = \"2 GB\"", &["10.0"]);
}

#[test]
fn no_file_is_the_shipped_stack_and_nothing_is_written() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("asgard/stack.toml");
    let loaded = load(&path, 1);
    assert!(!loaded.saved && loaded.stack.is_ok());
    assert_eq!(loaded.text, presets::NORSE);
    assert!(!path.exists() && !folder.path().join("asgard").exists());
    assert!(load(&path, 1024).text.contains("120 MB"));
}

#[test]
fn saving_the_shipped_stack_never_replaces_a_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("asgard/stack.toml");
    save_shipped(&path, 1).unwrap();
    let loaded = load(&path, 1);
    assert!(loaded.saved);
    assert_eq!(loaded.text, presets::NORSE);
    std::fs::write(&path, "# mine\n").unwrap();
    assert!(matches!(save_shipped(&path, 1), Err(SaveError::Exists(_))));
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "# mine\n");
}

#[test]
fn a_file_that_cannot_be_read_as_text_is_said_and_not_replaced_by_the_default() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("stack.toml");
    std::fs::write(&path, b"name = \"a\"\n\xff\xfe").unwrap();
    let loaded = load(&path, 1);
    assert!(loaded.saved);
    assert_eq!(loaded.stack.unwrap_err()[0].message, "Line 2 is not UTF-8 text.");
    let loaded = load(folder.path(), 1);
    assert!(loaded.stack.unwrap_err()[0].message.contains("not a plain file"));
}

#[test]
fn the_hash_follows_the_text() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("stack.toml");
    let shipped = load(&path, 1).hash;
    save_shipped(&path, 1).unwrap();
    assert_eq!(load(&path, 1).hash, shipped, "saving what was in force changes nothing");
    std::fs::write(&path, "# other").unwrap();
    assert_ne!(load(&path, 1).hash, shipped);
}

#[test]
fn sizes_of_model_files_are_looked_up_parts_included() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    std::fs::write(at("one.gguf"), [0; 10]).unwrap();
    for part in 1..=3 {
        std::fs::write(at(&format!("big-0000{part}-of-00003.gguf")), [0; 5]).unwrap();
    }
    std::fs::write(at("half-00001-of-00002.gguf"), [0; 5]).unwrap();
    assert_eq!(size_of(&at("one.gguf")), Some(Bytes(10)));
    assert_eq!(size_of(&at("big-00001-of-00003.gguf")), Some(Bytes(15)));
    assert_eq!(size_of(&at("half-00001-of-00002.gguf")), None, "a part is missing");
    assert_eq!(size_of(&at("none.gguf")), None);
}

/// A value that fits, so that the table of keys can be held against the types.
fn sample(shape: Shape) -> String {
    match shape {
        Shape::Table(keys) => format!("{{ {} }}", samples(keys)),
        Shape::Tables(keys) => format!("{{ a = {{ {} }} }}", samples(keys)),
        Shape::Word(words) => format!("{:?}", words[0]),
        Shape::Flag => "true".to_owned(),
        other => other.example(),
    }
}

fn samples(keys: &[Key]) -> String {
    keys.iter().map(|k| format!("{} = {}", k.name, sample(k.shape))).collect::<Vec<_>>().join(", ")
}

#[test]
fn the_table_of_keys_agrees_with_the_types() {
    let text =
        STACK.iter().map(|k| format!("{} = {}", k.name, sample(k.shape))).collect::<Vec<_>>().join("\n");
    let raw: RawStack = toml_edit::de::from_str(&text).unwrap_or_else(|e| panic!("{e}\n{text}"));
    assert!(shape::check(Document::parse(text.as_str()).unwrap().as_table()).is_empty());
    // Every key of the types is in the table: a value for each was read.
    let printed = format!("{raw:?}");
    assert!(!printed.contains("None"), "a key of the types is missing from the table: {printed}");
}

fn walk(value: &serde_json::Value, count: &mut usize) {
    if let Some(properties) = value.get("properties").and_then(serde_json::Value::as_object) {
        for (name, below) in properties {
            assert!(below["description"].as_str().is_some_and(|d| d.len() > 5), "{name} is not described");
            *count += 1;
        }
    }
    match value {
        serde_json::Value::Object(map) => map.values().for_each(|v| walk(v, count)),
        serde_json::Value::Array(list) => list.iter().for_each(|v| walk(v, count)),
        _ => {}
    }
}

#[test]
fn the_schema_documents_every_key() {
    let schema = json_schema();
    let mut count = 0;
    walk(&schema, &mut count);
    assert!(count > 45, "only {count} keys");
    assert_eq!(
        schema["properties"]["agents"]["additionalProperties"]["properties"]["port"]["type"],
        "integer"
    );
}

#[test]
fn a_misspelling_finds_its_word_and_a_stranger_finds_none() {
    let words = ["port", "kv_cache", "sequences", "agents"];
    let meant = |w: &str| shape::closest(w, words.iter().copied());
    assert_eq!(meant("prot"), Some("port"));
    assert_eq!(meant("KV-Cache"), Some("kv_cache"));
    assert_eq!(meant("seqences"), Some("sequences"));
    assert_eq!(meant("agent"), Some("agents"));
    for stranger in ["weather", "", "xyz", &"p".repeat(5000)] {
        assert_eq!(meant(stranger), None, "{stranger:?}");
    }
}

proptest! {
    #[test]
    fn any_text_is_taken_or_refused_with_a_sentence(text in ".{0,200}") {
        if let Err(problems) = check(Path::new("f"), &text, 1) {
            prop_assert!(problems.iter().all(|p| !p.message.is_empty() && !p.next.is_empty()));
        }
    }

    #[test]
    fn any_damage_to_the_shipped_stack_is_taken_or_refused(
        at in 0..presets::NORSE.len(),
        length in 0usize..200,
        put in prop::sample::select(vec!["", "\"", "[", "]", "=", "\n", "-1", "9e999", "\u{0}", "[[agents]]", "99999999999999999999"]),
    ) {
        let bytes = presets::NORSE.as_bytes();
        let end = (at + length).min(bytes.len());
        let mut damaged = bytes[..at].to_vec();
        damaged.extend_from_slice(put.as_bytes());
        damaged.extend_from_slice(&bytes[end..]);
        let text = String::from_utf8_lossy(&damaged);
        if let Err(problems) = check(Path::new("f"), &text, 1) {
            let lines = u32::try_from(text.lines().count()).unwrap_or(0) + 1;
            prop_assert!(problems.iter().all(|p| p.line.is_none_or(|l| (1..=lines).contains(&l))));
        }
    }
}
