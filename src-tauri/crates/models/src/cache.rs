//! The Hugging Face cache in its standard layout:
//! `models--org--name/{blobs/<etag>, refs/<revision>, snapshots/<commit>/<path> → ../../blobs/<etag>}`.
//!
//! What a model needs is decided from a list of its files ([`verdict`]), apart from the look at the disk.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

/// Whether a model can be loaded without the network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Presence {
    Complete {
        snapshot: PathBuf,
    },
    /// Something is there, but not all; why, in a sentence.
    Incomplete {
        why: String,
    },
    Absent,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a model id. Write it as on the Hub, \"organisation/name\".")]
pub struct BadId(pub String);

/// An index of weights is a list of names; one larger than this is not read.
const LARGEST_INDEX: u64 = 64 << 20;

/// How deep a snapshot is looked into. Models keep their files at the top or one folder down.
const DEEPEST: u32 = 4;

/// Whether `id` is in the cache below `hub`, at a revision (a commit, tag or branch; "main" without one).
pub fn has_model(hub: &Path, id: &str, revision: Option<&str>) -> Presence {
    let revision = revision.unwrap_or("main");
    let folder = match folder_name(id) {
        Ok(name) => hub.join(name),
        Err(bad) => return Presence::Incomplete { why: bad.to_string() },
    };
    if !is_safe_path(revision) {
        return Presence::Incomplete { why: format!("{revision:?} is not a revision.") };
    }
    if !folder.is_dir() {
        return Presence::Absent;
    }
    let Some(commit) = commit_of(&folder, revision) else {
        return nothing_named(&folder, id, revision);
    };
    let snapshot = folder.join("snapshots").join(&commit);
    if !snapshot.is_dir() {
        return nothing_named(&folder, id, revision);
    }
    let mut files = BTreeMap::new();
    list(&snapshot, "", 0, &mut files);
    match verdict(&files, &|name| small_file(&snapshot.join(name))) {
        Ok(()) => Presence::Complete { snapshot },
        Err(why) => Presence::Incomplete { why },
    }
}

/// Where a GGUF file of a repository lies in the cache below `hub`, if it is there whole: of a split one the first part,
/// and only when every part is there.
pub fn gguf_path(hub: &Path, repo: &str, file: &str, revision: Option<&str>) -> Option<PathBuf> {
    let revision = revision.unwrap_or("main");
    // A plus is no part of a revision, and common in names of files.
    if !is_safe_path(revision) || !is_safe_path(&file.replace('+', "-")) {
        return None;
    }
    let folder = hub.join(folder_name(repo).ok()?);
    let snapshot = folder.join("snapshots").join(commit_of(&folder, revision)?);
    // Following the link: a broken one is a file that is not there.
    let whole = |name: &str| fs::metadata(snapshot.join(name)).is_ok_and(|m| m.is_file() && m.len() > 0);
    parts(file).iter().all(|part| whole(part)).then(|| snapshot.join(file))
}

/// "a-00001-of-00003.gguf" is three files; any other is one.
fn parts(file: &str) -> Vec<String> {
    let split = || {
        let (rest, count) = file.strip_suffix(".gguf")?.rsplit_once("-of-")?;
        let (stem, first) = rest.rsplit_once('-')?;
        let number = |text: &str| (text.len() == 5).then(|| text.parse::<u32>().ok()).flatten();
        (number(first)? == 1).then_some(())?;
        let count = number(count).filter(|n| (1..=999).contains(n))?;
        Some((1..=count).map(|part| format!("{stem}-{part:05}-of-{count:05}.gguf")).collect())
    };
    split().unwrap_or_else(|| vec![file.to_owned()])
}

/// The command that fetches a model, for a message.
pub fn fetch_command(id: &str, revision: Option<&str>) -> String {
    let revision =
        revision.filter(|r| is_safe_path(r)).map(|r| format!(" --revision {r}")).unwrap_or_default();
    // An id that is none could do harm in a shell; it is refused elsewhere.
    if folder_name(id).is_ok() {
        format!("hf download {id}{revision}")
    } else {
        "hf download ORGANISATION/NAME".to_owned()
    }
}

/// The folder of a model in the cache. Ids come from files that others wrote: nothing that could leave the cache is
/// let in.
pub fn folder_name(id: &str) -> Result<String, BadId> {
    let part_is_fine = |part: &str| {
        part.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_')
            && part.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.'))
            && !part.contains("..")
            && !part.contains("--")
    };
    let parts: Vec<&str> = id.split('/').collect();
    if id.len() <= 200 && parts.len() <= 2 && parts.iter().all(|p| part_is_fine(p)) {
        Ok(format!("models--{}", parts.join("--")))
    } else {
        Err(BadId(id.to_owned()))
    }
}

/// A relative path of plain names, as revisions and files of an index must be.
fn is_safe_path(path: &str) -> bool {
    path.len() <= 300
        && path.split('/').all(|part| {
            !part.is_empty()
                && !part.starts_with(['.', '-'])
                && part.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.'))
        })
}

fn is_commit(text: &str) -> bool {
    text.len() == 40 && text.chars().all(|c| c.is_ascii_hexdigit())
}

fn commit_of(folder: &Path, revision: &str) -> Option<String> {
    if is_commit(revision) {
        return Some(revision.to_ascii_lowercase());
    }
    let text = small_file(&folder.join("refs").join(revision))?;
    Some(text.trim().to_owned()).filter(|c| is_commit(c))
}

/// The model's folder is there, but not this revision.
fn nothing_named(folder: &Path, id: &str, revision: &str) -> Presence {
    let entries = |name: &str| fs::read_dir(folder.join(name)).into_iter().flatten().flatten();
    let begun = entries("blobs").any(|e| e.file_name().to_string_lossy().ends_with(".incomplete"));
    if begun {
        Presence::Incomplete { why: format!("The download of {id} was begun and not finished.") }
    } else if entries("snapshots").next().is_some() {
        Presence::Incomplete { why: format!("{id} is in the cache, but not at revision {revision}.") }
    } else {
        Presence::Absent
    }
}

/// The files of a snapshot with the sizes that their links lead to; none for a link that leads nowhere.
fn list(folder: &Path, prefix: &str, depth: u32, files: &mut BTreeMap<String, Option<u64>>) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let name = format!("{prefix}{}", entry.file_name().to_string_lossy());
        match fs::metadata(entry.path()) {
            Ok(metadata) if metadata.is_dir() => {
                if depth < DEEPEST {
                    list(&entry.path(), &format!("{name}/"), depth + 1, files);
                }
            }
            Ok(metadata) => {
                files.insert(name, Some(metadata.len()));
            }
            Err(_) => {
                files.insert(name, None);
            }
        }
    }
}

fn small_file(path: &Path) -> Option<String> {
    let mut text = String::new();
    fs::File::open(path).ok()?.take(LARGEST_INDEX).read_to_string(&mut text).ok()?;
    Some(text)
}

/// Whether these files are a whole model, or what is missing. `text` reads one of them.
fn verdict(
    files: &BTreeMap<String, Option<u64>>,
    text: &dyn Fn(&str) -> Option<String>,
) -> Result<(), String> {
    if let Some((name, _)) = files.iter().find(|(_, size)| size.is_none()) {
        return Err(format!("{name} is listed, but its content is not there."));
    }
    let weights: BTreeSet<&str> = files.keys().map(String::as_str).filter(|n| is_weights(n)).collect();
    if let Some(name) = weights.iter().find(|n| files.get(**n) == Some(&Some(0))) {
        return Err(format!("{name} is empty."));
    }
    let gguf = weights.iter().any(|n| extension(n) == "gguf");
    if !gguf && !files.contains_key("config.json") {
        return Err("config.json is missing.".to_owned());
    }
    let mut needed = BTreeSet::new();
    for index in files.keys().filter(|n| n.ends_with(".safetensors.index.json") && !n.contains('/')) {
        needed.extend(files_of_index(index, text(index).as_deref())?);
    }
    needed.extend(weights.iter().flat_map(|name| parts_of(name)));
    if let Some(missing) = needed.iter().find(|n| !files.contains_key(*n)) {
        return Err(format!("{missing} is missing, one of {} files of weights.", needed.len()));
    }
    if weights.is_empty() { Err("There are no weights.".to_owned()) } else { Ok(()) }
}

fn is_weights(name: &str) -> bool {
    match extension(name) {
        "safetensors" | "gguf" => true,
        // Older models. Other `.bin` files (an optimiser's state, say) are no weights.
        "bin" => name.starts_with("pytorch_model"),
        _ => false,
    }
}

fn extension(name: &str) -> &str {
    name.rsplit_once('.').map_or("", |(_, end)| end)
}

fn files_of_index(index: &str, text: Option<&str>) -> Result<BTreeSet<String>, String> {
    #[derive(serde::Deserialize)]
    struct Index {
        weight_map: BTreeMap<String, String>,
    }
    let unreadable = || format!("{index} cannot be read.");
    let found: Index = serde_json::from_str(text.ok_or_else(unreadable)?).map_err(|_| unreadable())?;
    let names: BTreeSet<String> = found.weight_map.into_values().collect();
    if names.is_empty() || !names.iter().all(|n| is_safe_path(n)) {
        return Err(unreadable());
    }
    Ok(names)
}

/// All the parts of a split file, by the name of one: "model-00002-of-00003.safetensors".
fn parts_of(name: &str) -> Vec<String> {
    let split = || {
        let (rest, end) = name.rsplit_once('.')?;
        let (rest, parts) = rest.rsplit_once("-of-")?;
        let (stem, part) = rest.rsplit_once('-')?;
        let number = |text: &str| (text.len() == 5).then(|| text.parse::<u32>().ok()).flatten();
        let parts = number(parts).filter(|n| (1..=10_000).contains(n))?;
        number(part)?;
        Some((1..=parts).map(|n| format!("{stem}-{n:05}-of-{parts:05}.{end}")).collect())
    };
    split().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

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
        assert_eq!(fetch_command("org/name", Some("v1.0")), "hf download org/name --revision v1.0");
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
        for file in [
            "absent.gguf",
            "empty.gguf",
            "half-00001-of-00002.gguf",
            "broken.gguf",
            "../main",
            "",
            "/etc/passwd",
        ] {
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
}
