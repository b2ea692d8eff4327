use std::os::unix::fs::symlink;

use super::*;

const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

fn model(repo: &str, gguf: Option<&str>, path: &Path) -> Installed {
    let parts = match gguf {
        Some("q-00001-of-00002.gguf") => {
            vec!["q-00001-of-00002.gguf".to_owned(), "q-00002-of-00002.gguf".to_owned()]
        }
        Some(file) => vec![file.to_owned()],
        None => vec!["config.json".to_owned(), "model.safetensors".to_owned()],
    };
    Installed {
        id: "x".to_owned(),
        model: repo.to_owned(),
        repo: repo.to_owned(),
        commit: COMMIT.to_owned(),
        revisions: vec!["main".to_owned(), "v1".to_owned()],
        path: path.to_path_buf(),
        parts,
        is_gguf: gguf.is_some(),
        held: 0,
        shared: 0,
        problem: None,
    }
}

#[test]
fn a_model_is_known_by_every_name_that_a_stack_may_give_it() {
    let home = tempfile::tempdir().unwrap();
    let blob = home.path().join("blob");
    std::fs::write(&blob, "w").unwrap();
    let snapshot = home.path().join("snapshot");
    std::fs::create_dir(&snapshot).unwrap();
    symlink(&blob, snapshot.join("q.gguf")).unwrap();
    symlink(snapshot.join("q.gguf"), home.path().join("alias.gguf")).unwrap();
    std::fs::write(home.path().join("other.gguf"), "w").unwrap();
    let metadata = std::fs::metadata(&blob).unwrap();
    let contents = [(metadata.dev(), metadata.ino())];
    let file = model("org/name", Some("q.gguf"), &snapshot.join("q.gguf"));
    let split = model("org/name", Some("q-00001-of-00002.gguf"), &snapshot);
    let whole = model("org/name", None, &snapshot);
    let at = |name: &str| home.path().join(name).to_string_lossy().into_owned();
    for (text, revision, of, meant) in [
        ("org/name", None, &whole, true),
        ("org/name", Some("main"), &whole, true),
        ("org/name", Some("v1"), &whole, true),
        ("org/name", Some(COMMIT), &whole, true),
        ("org/name", Some("v2"), &whole, false),
        ("org/other", None, &whole, false),
        ("org/name", None, &file, false),
        ("org/name/q.gguf", None, &file, true),
        ("org/name/q.gguf", Some("v2"), &file, false),
        ("org/name/r.gguf", None, &file, false),
        ("org/name/q-00001-of-00002.gguf", None, &split, true),
        ("org/name/q-00002-of-00002.gguf", None, &split, true),
        (&at("snapshot/q.gguf"), None, &file, true),
        (&at("blob"), None, &file, true),
        (&at("alias.gguf"), Some("v2"), &file, true),
        (&at("other.gguf"), None, &file, false),
        (&at("nowhere.gguf"), None, &file, false),
        (&at("snapshot"), None, &whole, true),
        (&at("."), None, &whole, false),
        ("", None, &whole, false),
    ] {
        assert_eq!(names(text, revision, of, &contents), meant, "{text} {revision:?}");
    }
}

#[test]
fn who_runs_protects_and_who_is_set_protects_until_told_otherwise() {
    let user =
        |name: &str, awake| ModelUser { agent: name.to_lowercase(), display_name: name.to_owned(), awake };
    assert_eq!(protected(&[], false), None);
    let set = [user("Thor", false), user("Loki", false)];
    assert_eq!(protected(&set, false).as_deref(), Some("Thor and Loki are set to it."));
    assert_eq!(protected(&set[..1], false).as_deref(), Some("Thor is set to it."));
    assert_eq!(protected(&set, true), None);
    let runs = [user("Thor", false), user("Odin", true)];
    for even in [false, true] {
        assert_eq!(protected(&runs, even).as_deref(), Some("Odin runs on it; it can go when it sleeps."));
    }
}
