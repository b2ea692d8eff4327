use std::os::unix::fs::symlink;

use super::*;
use crate::cache::fetch_command;

const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

/// A cache with one model; files are links into `blobs`, as the Hub's own client makes them.
struct Cache {
    folder: tempfile::TempDir,
}

impl Cache {
    fn new() -> Self {
        let cache = Self { folder: tempfile::tempdir().unwrap() };
        for name in ["blobs", "refs", "snapshots"] {
            fs::create_dir_all(cache.model().join(name)).unwrap();
        }
        fs::write(cache.model().join("refs/main"), COMMIT).unwrap();
        fs::create_dir(cache.snapshot()).unwrap();
        cache
    }

    fn model(&self) -> PathBuf {
        self.folder.path().join("models--org--name")
    }

    fn snapshot(&self) -> PathBuf {
        self.model().join("snapshots").join(COMMIT)
    }

    fn with(self, name: &str, content: &str) -> Self {
        fs::write(self.model().join("blobs").join(name.replace('/', "_")), content).unwrap();
        self.with_broken(name)
    }

    fn with_broken(self, name: &str) -> Self {
        symlink(format!("../../blobs/{name}"), self.snapshot().join(name)).unwrap();
        self
    }

    fn presence(&self) -> Presence {
        has_model(self.folder.path(), "org/name", None)
    }

    fn incomplete(&self) -> String {
        match self.presence() {
            Presence::Incomplete { why } => why,
            other => panic!("this is not incomplete: {other:?}"),
        }
    }
}

const INDEX: &str = r#"{"metadata":{},"weight_map":{"a":"model-00001-of-00002.safetensors","b":"model-00002-of-00002.safetensors"}}"#;

#[test]
fn a_whole_model_is_complete() {
    let sharded = Cache::new()
        .with("config.json", "{}")
        .with("model.safetensors.index.json", INDEX)
        .with("model-00001-of-00002.safetensors", "w")
        .with("model-00002-of-00002.safetensors", "w");
    assert_eq!(sharded.presence(), Presence::Complete { snapshot: sharded.snapshot() });
    let single = Cache::new().with("config.json", "{}").with("model.safetensors", "w");
    assert!(matches!(single.presence(), Presence::Complete { .. }));
    let gguf = Cache::new().with("name-Q4_K_M.gguf", "w");
    assert!(matches!(gguf.presence(), Presence::Complete { .. }));
}

#[test]
fn what_is_missing_is_named() {
    let shard = Cache::new()
        .with("config.json", "{}")
        .with("model.safetensors.index.json", INDEX)
        .with("model-00001-of-00002.safetensors", "w");
    assert!(
        shard.incomplete().starts_with("model-00002-of-00002.safetensors is missing"),
        "{}",
        shard.incomplete()
    );
    let no_index = Cache::new().with("config.json", "{}").with("model-00001-of-00003.safetensors", "w");
    assert!(no_index.incomplete().starts_with("model-00002-of-00003.safetensors is missing"));
    assert_eq!(Cache::new().with("model.safetensors", "w").incomplete(), "config.json is missing.");
    assert_eq!(Cache::new().with("config.json", "{}").incomplete(), "There are no weights.");
    let broken = Cache::new().with("config.json", "{}").with_broken("model.safetensors");
    assert_eq!(broken.incomplete(), "model.safetensors is listed, but its content is not there.");
    let empty = Cache::new().with("config.json", "{}").with("model.safetensors", "");
    assert_eq!(empty.incomplete(), "model.safetensors is empty.");
    let split = Cache::new().with("big-00001-of-00002.gguf", "w");
    assert!(split.incomplete().contains("big-00002-of-00002.gguf is missing"));
}

#[test]
fn a_damaged_or_hostile_index_is_no_model() {
    for index in [
        "",
        "{",
        "{}",
        r#"{"weight_map":{}}"#,
        r#"{"weight_map":{"a":"../../../../etc/passwd"}}"#,
        r#"{"weight_map":{"a":"/etc/passwd"}}"#,
    ] {
        let cache = Cache::new()
            .with("config.json", "{}")
            .with("model.safetensors.index.json", index)
            .with("model.safetensors", "w");
        assert_eq!(cache.incomplete(), "model.safetensors.index.json cannot be read.", "{index}");
    }
}

#[test]
fn absent_begun_and_another_revision_differ() {
    let cache = Cache::new().with("config.json", "{}").with("model.safetensors", "w");
    let hub = cache.folder.path();
    assert_eq!(has_model(hub, "org/other", None), Presence::Absent);
    assert!(matches!(has_model(hub, "org/name", Some(COMMIT)), Presence::Complete { .. }));
    let Presence::Incomplete { why } = has_model(hub, "org/name", Some("v2")) else {
        panic!("v2 is not there")
    };
    assert_eq!(why, "org/name is in the cache, but not at revision v2.");
    fs::remove_dir_all(cache.model().join("snapshots")).unwrap();
    assert_eq!(cache.presence(), Presence::Absent);
    fs::write(cache.model().join("blobs/abc.incomplete"), "").unwrap();
    assert_eq!(cache.incomplete(), "The download of org/name was begun and not finished.");
}

#[test]
fn a_branch_with_a_slash_is_found() {
    let cache = Cache::new().with("config.json", "{}").with("model.safetensors", "w");
    fs::create_dir_all(cache.model().join("refs/refs/pr")).unwrap();
    fs::write(cache.model().join("refs/refs/pr/1"), format!("{COMMIT}\n")).unwrap();
    let found = has_model(cache.folder.path(), "org/name", Some("refs/pr/1"));
    assert!(matches!(found, Presence::Complete { .. }));
}

#[test]
fn hostile_names_never_reach_the_disk() {
    for id in [
        "",
        "..",
        "../x",
        "/etc",
        "a/b/c",
        "a//b",
        "a/..",
        "a/.b",
        "a\0b",
        "-rf",
        "a/b;c",
        "a b",
        "a--b/c",
        &"a".repeat(500),
    ] {
        assert!(folder_name(id).is_err(), "{id:?}");
        assert!(!fetch_command(id, None).contains(";c"));
    }
    let cache = Cache::new().with("config.json", "{}").with("model.safetensors", "w");
    for revision in ["..", "../main", "/main", "", "a/../main", "a\0", "-x"] {
        let found = has_model(cache.folder.path(), "org/name", Some(revision));
        assert!(matches!(found, Presence::Incomplete { .. }), "{revision:?} gave {found:?}");
    }
    // A ref that leads out of the snapshots.
    fs::write(cache.model().join("refs/main"), "../../../..").unwrap();
    assert!(!matches!(cache.presence(), Presence::Complete { .. }));
}

#[test]
fn usual_names_are_taken() {
    assert_eq!(
        folder_name("Qwen/Qwen2.5-14B-Instruct-AWQ").unwrap(),
        "models--Qwen--Qwen2.5-14B-Instruct-AWQ"
    );
    assert_eq!(folder_name("gpt2").unwrap(), "models--gpt2");
    assert_eq!(fetch_command("org/name", Some("v1.0")), "asgard models pull org/name --revision v1.0");
    assert_eq!(fetch_command("o/n/q4/a+b.gguf", None), "asgard models pull o/n/q4/a+b.gguf");
    for hostile in ["o/n/$(x).gguf", "o/n/a b.gguf", "o/n/../x", "../n/x", "o;x/n"] {
        assert_eq!(fetch_command(hostile, Some("$(x)")), "asgard models pull OWNER/NAME", "{hostile}");
    }
}

#[test]
fn a_gguf_file_of_a_repository_is_found_whole_or_not_at_all() {
    let cache = Cache::new()
        .with("a-Q4_K_M.gguf", "w")
        .with("a+b.gguf", "w")
        .with("empty.gguf", "")
        .with("whole-00001-of-00002.gguf", "w")
        .with("whole-00002-of-00002.gguf", "w")
        .with("half-00001-of-00002.gguf", "w")
        .with_broken("broken.gguf");
    let hub = cache.folder.path();
    let found = |file: &str, revision| gguf_path(hub, "org/name", file, revision);
    for file in ["a-Q4_K_M.gguf", "a+b.gguf", "whole-00001-of-00002.gguf"] {
        assert_eq!(found(file, None), Some(cache.snapshot().join(file)), "{file}");
        assert_eq!(found(file, Some(COMMIT)), found(file, None), "{file}");
    }
    for file in
        ["absent.gguf", "empty.gguf", "half-00001-of-00002.gguf", "broken.gguf", "../main", "", "/etc/passwd"]
    {
        assert_eq!(found(file, None), None, "{file}");
    }
    assert_eq!(found("a-Q4_K_M.gguf", Some("v2")), None);
    assert_eq!(gguf_path(hub, "org/other", "a-Q4_K_M.gguf", None), None);
    assert_eq!(gguf_path(hub, "../org", "a-Q4_K_M.gguf", None), None);
}

#[test]
fn a_gguf_file_in_a_folder_of_its_repository_is_found() {
    let cache = Cache::new();
    fs::create_dir(cache.snapshot().join("q4")).unwrap();
    fs::write(cache.model().join("blobs/q4"), "w").unwrap();
    symlink("../../../blobs/q4", cache.snapshot().join("q4/a.gguf")).unwrap();
    let found = gguf_path(cache.folder.path(), "org/name", "q4/a.gguf", None);
    assert_eq!(found, Some(cache.snapshot().join("q4/a.gguf")));
}

#[test]
fn a_file_of_weights_has_content() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.gguf");
    assert!(!crate::gguf_exists(&path) && !crate::gguf_exists(folder.path()));
    fs::write(&path, "").unwrap();
    assert!(!crate::gguf_exists(&path));
    fs::write(&path, "GGUF").unwrap();
    assert!(crate::gguf_exists(&path));
}
