//! Coding tools: what a person with a file of their own sees, keeps, and gets back.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use journeys::household::{Household, program};
use serde_json::{Value, json};

/// As somebody may have written it.
const MINE: &str = "// What I use every day.
{
    \"$schema\": \"https://opencode.ai/config.json\",
    \"theme\": \"nord\", // dark
    /* paid for */
    \"provider\": {
        \"openai\": { \"options\": { \"apiKey\": \"{env:OPENAI_API_KEY}\" } }, // mine
    },
}
";

fn config(household: &Household) -> PathBuf {
    PathBuf::from(household.env().get("XDG_CONFIG_HOME").cloned().expect("a private folder")).join("opencode")
}

fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(folder)
        .map(|all| all.map(|e| e.unwrap().file_name().into_string().unwrap()).collect())
        .unwrap_or_default();
    names.sort();
    names
}

/// The values, without what only a person reads: whole lines and ends of lines.
fn value(text: &str) -> Value {
    let mut bare = String::new();
    let mut rest = text;
    let mut quoted = false;
    while let Some(c) = rest.chars().next() {
        if !quoted && rest.starts_with("//") {
            rest = &rest[rest.find('\n').unwrap_or(rest.len())..];
            continue;
        }
        if !quoted && rest.starts_with("/*") {
            rest = &rest[rest.find("*/").unwrap() + 2..];
            continue;
        }
        if quoted && c == '\\' {
            bare.push_str(&rest[..2]);
            rest = &rest[2..];
            continue;
        }
        quoted ^= c == '"';
        if !quoted && (c == '}' || c == ']') && bare.trim_end().ends_with(',') {
            bare.truncate(bare.trim_end().len() - 1);
        }
        bare.push(c);
        rest = &rest[c.len_utf8()..];
    }
    serde_json::from_str(&bare).unwrap_or_else(|e| panic!("{e}\n{bare}"))
}

#[tokio::test]
async fn a_file_of_ones_own_is_edited_in_place_and_kept() {
    let household = Household::new();
    let folder = config(&household);
    fs::create_dir_all(&folder).unwrap();
    let file = folder.join("opencode.jsonc");
    fs::write(&file, MINE).unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();

    // Printing is for a file or a pipe: the whole text on stdout, and nothing is written.
    let printed = household.asgard(&["export", "opencode"]).await.ok();
    let fresh: Value = serde_json::from_str(&printed.stdout).unwrap();
    assert_eq!(fresh["model"], "asgard/thor");
    assert!(printed.stderr.contains(&file.display().to_string()), "{printed:#?}");
    assert_eq!(fs::read_to_string(&file).unwrap(), MINE);

    let looked = household.json(&["export", "opencode"]).await;
    assert_eq!((&looked["tool"], &looked["same"]), (&json!("opencode"), &json!(false)));
    let diff = looked["diff"].as_str().unwrap();
    assert!(diff.contains("\n+        \"asgard\": {") && !diff.contains("\n-    \"theme\""), "{diff}");

    let written = household.asgard(&["export", "opencode", "--write"]).await.ok();
    assert!(written.stderr.contains("+        \"asgard\": {"), "the diff is shown first: {written:#?}");
    let text = fs::read_to_string(&file).unwrap();
    for kept in [
        "// What I use every day.\n{\n",
        "\"theme\": \"nord\", // dark\n    /* paid for */\n",
        "}, // mine\n",
    ] {
        assert!(text.contains(kept), "{kept}\n{text}");
    }
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    let now = value(&text);
    assert_eq!((&now["theme"], &now["small_model"]), (&json!("nord"), &json!("asgard/heimdall")));
    assert_eq!(now["provider"]["openai"], json!({"options": {"apiKey": "{env:OPENAI_API_KEY}"}}));
    assert_eq!(now["provider"]["asgard"], fresh["provider"]["asgard"]);
    assert_eq!(now["agent"], fresh["agent"]);
    let kept = names(&folder);
    assert_eq!(kept.len(), 2, "{kept:?}");
    assert_eq!(fs::read_to_string(folder.join(&kept[1])).unwrap(), MINE, "the backup");

    let again = household.json(&["export", "opencode", "--write"]).await;
    assert_eq!((&again["same"], &again["backup"]), (&json!(true), &Value::Null));
    assert_eq!((names(&folder), fs::read_to_string(&file).unwrap()), (kept, text.clone()));

    // To the cloud and back: the same file again.
    let cloud = household
        .json(&["export", "opencode", "--write", "--primary", "cloud:anthropic/claude-sonnet-4-5"])
        .await;
    assert!(cloud["backup"].is_string(), "{cloud:#}");
    assert_eq!(value(&fs::read_to_string(&file).unwrap())["model"], "anthropic/claude-sonnet-4-5");
    household.json(&["export", "opencode", "--write", "--primary", "thor"]).await;
    assert_eq!(fs::read_to_string(&file).unwrap(), text);
}

#[tokio::test]
async fn a_project_and_the_file_that_a_variable_names() {
    let mut household = Household::new();
    let project = household.path("project");
    fs::create_dir_all(&project).unwrap();
    let there = project.display().to_string();
    for what in ["opencode", "oh-my-opencode"] {
        let written = household.json(&["export", what, "--write", "--project", &there]).await;
        assert_eq!(written["path"], project.join(format!(".opencode/{what}.jsonc")).display().to_string());
    }
    let oh_my: Value =
        serde_json::from_str(&fs::read_to_string(project.join(".opencode/oh-my-opencode.jsonc")).unwrap())
            .unwrap();
    assert_eq!(oh_my["agents"]["sisyphus"]["model"], "asgard/thor");
    assert!(names(&config(&household)).is_empty(), "the user's own is left alone");

    let own = household.path("elsewhere/own.json");
    household.set("OPENCODE_CONFIG", own.as_os_str());
    let written = household.json(&["export", "opencode", "--write"]).await;
    assert_eq!(written["path"], own.display().to_string());
    assert!(own.is_file());
}

#[tokio::test]
async fn files_that_cannot_be_edited_are_left_with_a_reason() {
    let household = Household::new();
    let folder = config(&household);
    fs::create_dir_all(&folder).unwrap();
    let file = folder.join("opencode.jsonc");
    let large = format!("{{\"a\": \"{}\"}}", "x".repeat(10 << 20));
    for (text, words) in [
        ("{ \"provider\": {", "line 1, column"),
        ("{\n  \"provider\": {},\n  \"provider\": {}\n}", "lines 2 and 3: provider is there twice"),
        ("{ \"provider\": \"none\" }", "provider is no object"),
        ("[]", "the whole file is no object"),
        (&large, "larger than 1 MB"),
    ] {
        fs::write(&file, text).unwrap();
        let output = household.asgard(&["export", "opencode", "--write"]).await;
        assert_eq!(output.code, Some(1), "{output:#?}");
        assert!(
            output.stderr.contains(words) && output.stderr.contains("opencode.jsonc"),
            "{}",
            output.stderr
        );
        assert_eq!(fs::read_to_string(&file).unwrap(), text);
        assert_eq!(names(&folder), ["opencode.jsonc"]);
    }
    // What others make of a file is kept as well: a mark at its start, line ends of two bytes.
    fs::write(&file, "\u{feff}{\r\n\t\"theme\": \"nord\"\r\n}\r\n").unwrap();
    household.json(&["export", "opencode", "--write"]).await;
    let text = fs::read_to_string(&file).unwrap();
    assert!(
        text.starts_with("\u{feff}{\r\n\t\"theme\": \"nord\",\r\n\t\"model\": \"asgard/thor\",\r\n"),
        "{text}"
    );
    assert_eq!(text.matches('\n').count(), text.matches("\r\n").count());

    for wrong in [
        ["export", "opencode", "--primary", "nobody"].as_slice(),
        &["export", "opencode", "--primary", "cloud:anthropic"],
        &["export", "opencode", "--key", "none"],
        &["export", "opencode", "--project", "/nowhere/at/all"],
        &["export", "codex", "--project", "/tmp"],
        &["export", "compose", "--primary", "thor"],
        &["export", "vim"],
    ] {
        assert_eq!(household.asgard(wrong).await.code, Some(2), "{wrong:?}");
    }
    let codex = household.asgard(&["export", "codex", "--write"]).await;
    assert!(
        codex.code == Some(2) && codex.stderr.contains("does not write the files of Codex CLI"),
        "{codex:#?}"
    );
    for tool in ["codex", "claude-code", "zed", "continue", "cline", "aider"] {
        let lines = household.asgard(&["export", tool]).await.ok();
        let port = household.env()["BIFROST_PORT"].to_string_lossy();
        assert!(lines.stdout.contains(&format!("http://127.0.0.1:{port}")), "{tool}: {lines:#?}");
    }
}

#[tokio::test]
async fn a_kill_at_any_moment_leaves_a_whole_file() {
    let household = Household::new();
    let folder = config(&household);
    household.json(&["export", "opencode", "--write"]).await;
    let file = folder.join("opencode.jsonc");
    let leads = ["thor", "valkyrie"];
    for n in 0..24_u64 {
        let lead = leads[usize::from(n % 2 == 0)];
        let mut command = household.command(program("asgard"));
        let mut child = command.args(["export", "opencode", "--write", "--primary", lead]).spawn().unwrap();
        // It ends by itself or by the kill, whichever is first.
        if tokio::time::timeout(Duration::from_millis(n * 4), child.wait()).await.is_err() {
            child.kill().await.unwrap();
        }
        let now = value(&fs::read_to_string(&file).unwrap());
        let model = now["model"].as_str().unwrap();
        assert!(leads.iter().any(|l| model == format!("asgard/{l}")), "{model}");
        assert_eq!(now["agent"]["primary"]["model"], model, "one write or the other, never half of each");
        for backup in
            names(&folder).iter().filter(|n| Path::new(n).extension().is_some_and(|end| end == "bak"))
        {
            let text = fs::read_to_string(folder.join(backup)).unwrap();
            assert!(value(&text)["provider"]["asgard"].is_object(), "{backup}");
        }
    }
    // Whatever they left, the next one works.
    household.json(&["export", "opencode", "--write", "--primary", "thor"]).await;
    assert_eq!(value(&fs::read_to_string(&file).unwrap())["model"], "asgard/thor");
}

#[tokio::test]
async fn the_controller_writes_what_was_shown_and_nothing_else() {
    let mut household = Household::new();
    household.set("ASGARD_REHEARSAL_LOAD_MS", "200");
    household.serve(&["--rehearsal"]).await;
    let client = household.client().await;
    let all = client.call_value("tool_configs", json!({})).await.unwrap();
    let titles: Vec<&str> =
        all["tools"].as_array().unwrap().iter().map(|t| t["title"].as_str().unwrap()).collect();
    assert_eq!(
        titles,
        ["OpenCode", "oh-my-opencode", "Codex CLI", "Claude Code", "Zed", "Continue", "Cline", "Aider"]
    );
    let asked = json!({ "tool": "opencode", "project": null, "primary": null, "key": null });
    let shown = client.call_value("tool_config", asked.clone()).await.unwrap();
    let file = PathBuf::from(shown["path"].as_str().unwrap());
    let mut write = asked.clone();
    write["shown"] = shown["diff"].clone();

    fs::create_dir_all(file.parent().unwrap()).unwrap();
    fs::write(&file, MINE).unwrap();
    let refused = client.call_value("write_tool_config", write.clone()).await.unwrap_err();
    assert_eq!(refused.code, api::Code::Busy, "{refused:?}");
    assert_eq!(fs::read_to_string(&file).unwrap(), MINE);

    write["shown"] = client.call_value("tool_config", asked.clone()).await.unwrap()["diff"].clone();
    let written = client.call_value("write_tool_config", write).await.unwrap();
    assert_eq!(fs::read_to_string(written["backup"].as_str().unwrap()).unwrap(), MINE);
    // The command and the controller agree on what there is to write.
    let command = household.json(&["export", "opencode"]).await;
    assert_eq!((&command["same"], &command["path"]), (&json!(true), &shown["path"]));

    // A key goes into a file that only this user may read; the tool's own file, and what is printed, refer to it.
    let key = client.call_value("new_key", json!({ "name": "opencode", "agents": null })).await.unwrap();
    let secret = key["key"].as_str().unwrap();
    let written = household.json(&["export", "opencode", "--write", "--key", "opencode"]).await;
    let text = fs::read_to_string(written["path"].as_str().unwrap()).unwrap();
    let reference = value(&text)["provider"]["asgard"]["options"]["apiKey"].as_str().unwrap().to_owned();
    let put = PathBuf::from(reference.strip_prefix("{file:").unwrap().strip_suffix('}').unwrap());
    assert_eq!(fs::read_to_string(&put).unwrap(), secret);
    assert_eq!(fs::metadata(&put).unwrap().permissions().mode() & 0o777, 0o600);
    let lines = household.asgard(&["export", "claude-code", "--key", "opencode"]).await.ok();
    assert!(!text.contains(secret) && !lines.stdout.contains(secret) && !lines.stderr.contains(secret));
    assert!(lines.stdout.contains(&put.display().to_string()), "{lines:#?}");

    // One whose file is broken has its lines, and the reason.
    fs::write(&file, "{").unwrap();
    let all = client.call_value("tool_configs", json!({})).await.unwrap();
    let broken = &all["tools"][0];
    assert!(broken["notes"][0].as_str().unwrap().contains("line 1"), "{broken:#}");
    assert!(broken["text"].as_str().unwrap().contains("asgard/thor") && broken["diff"].is_null());
}
