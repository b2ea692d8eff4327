use std::fs;
use std::os::unix::fs::{MetadataExt as _, symlink};
use std::path::PathBuf;

use super::*;
use crate::cache::tests::Cache;
use crate::cache::{Presence, gguf_path, has_model, removal, remove, verify};

const CONFIG: &str = r#"{"model_type":"qwen2","hidden_size":64,"num_hidden_layers":2,"num_attention_heads":4,"num_key_value_heads":2,"vocab_size":100,"intermediate_size":128,"max_position_embeddings":1024}"#;

fn safetensors() -> Vec<u8> {
    let header = br#"{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}"#;
    let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
    bytes.extend_from_slice(header);
    bytes.extend_from_slice(&[7; 8]);
    bytes
}

fn gguf() -> Vec<u8> {
    // No tensors, one key: enough of a header to be one.
    let mut bytes = b"GGUF".to_vec();
    bytes.extend_from_slice(&3_u32.to_le_bytes());
    bytes.extend_from_slice(&0_u64.to_le_bytes());
    bytes.extend_from_slice(&1_u64.to_le_bytes());
    let text = |bytes: &mut Vec<u8>, text: &str| {
        bytes.extend_from_slice(&(text.len() as u64).to_le_bytes());
        bytes.extend_from_slice(text.as_bytes());
    };
    text(&mut bytes, "general.architecture");
    bytes.extend_from_slice(&8_u32.to_le_bytes());
    text(&mut bytes, "llama");
    bytes
}

fn folder(cache: &Cache, name: &str) -> PathBuf {
    let folder = cache.home.path().join(name);
    fs::create_dir_all(folder.join("sub")).unwrap();
    fs::create_dir_all(folder.join(".git")).unwrap();
    fs::write(folder.join(".git/config"), "x").unwrap();
    fs::write(folder.join("config.json"), CONFIG).unwrap();
    fs::write(folder.join("model.safetensors"), safetensors()).unwrap();
    fs::write(folder.join("sub/notes ü.txt"), "notes").unwrap();
    folder
}

fn take(cache: &Cache, source: &Path, name: Option<&str>) -> Result<Imported, ImportError> {
    import(&cache.hub(), source, name, &mut |_| true)
}

#[test]
fn a_folder_becomes_a_repository_that_every_tool_finds() {
    let cache = Cache::new();
    let source = folder(&cache, "my model");
    let done = take(&cache, &source, None).unwrap();
    assert_eq!(done.repo, "imported/my-model");
    assert!(matches!(has_model(&cache.hub(), &done.repo, None), Presence::Complete { .. }));
    let all = cache.installed();
    let model = &all[&format!("{}@{}", done.repo, done.commit)];
    assert_eq!((model.problem.as_deref(), model.revisions.as_slice()), (None, &["main".to_owned()][..]));
    assert_eq!(model.parts, ["config.json", "model.safetensors", "sub/notes ü.txt"]);
    let scan = cache.scan();
    let found = verify(&scan.repos[0], &scan.repos[0].snapshots[0], &model.parts, &mut |_| true).unwrap();
    assert_eq!((found.damaged.len(), found.unknown.len(), found.right.len()), (0, 0, 3));
    // The original is as it was, and a second time changes nothing.
    assert_eq!(fs::read(source.join("model.safetensors")).unwrap(), safetensors());
    assert_eq!(take(&cache, &source, None).unwrap().commit, done.commit);
    assert_eq!(cache.installed().len(), 1);
    assert!(!cache.hub().join("models--imported--my-model/.asgard").exists());
    remove(&removal(&cache.scan(), &model.id).unwrap(), &crate::cache::User::current()).unwrap();
    assert_eq!(fs::read(source.join("model.safetensors")).unwrap(), safetensors());
    assert_eq!(cache.scan().repos.len(), 0);
}

#[test]
fn what_a_link_shares_with_the_original_comes_not_free() {
    let cache = Cache::new();
    let source = folder(&cache, "model");
    let done = take(&cache, &source, Some("me/model")).unwrap();
    let blob = cache.hub().join("models--me--model/snapshots").join(&done.commit).join("model.safetensors");
    let linked =
        fs::metadata(&blob).unwrap().ino() == fs::metadata(source.join("model.safetensors")).unwrap().ino();
    let model = cache.installed().into_values().next().unwrap();
    if linked {
        assert_eq!((model.held, done.copied), (0, 0));
        assert!(model.shared > 0);
    } else {
        assert!(model.held > 0);
    }
}

#[test]
fn a_gguf_file_becomes_one_with_its_parts() {
    let cache = Cache::new();
    let one = cache.home.path().join("My model (new) Q4_K_M.gguf");
    fs::write(&one, gguf()).unwrap();
    let done = take(&cache, &one, None).unwrap();
    assert_eq!(done.repo, "imported/My-model-new-Q4_K_M");
    assert_eq!(done.gguf.as_deref(), Some("My-model-new-Q4_K_M.gguf"));
    let id = "imported/My-model-new-Q4_K_M/My-model-new-Q4_K_M.gguf";
    assert!(
        cache.installed().values().any(|m| m.model == id && m.problem.is_none()),
        "{:?}",
        cache.installed()
    );
    assert!(gguf_path(&cache.hub(), &done.repo, &done.gguf.unwrap(), None).is_some());
    let split = cache.home.path().join("big-00001-of-00002.gguf");
    fs::write(&split, gguf()).unwrap();
    let why = take(&cache, &split, None).unwrap_err();
    assert!(why.to_string().contains("big-00002-of-00002.gguf"), "{why}");
    fs::write(cache.home.path().join("big-00002-of-00002.gguf"), gguf()).unwrap();
    let done = take(&cache, &split, None).unwrap();
    assert_eq!((done.repo.as_str(), done.gguf.as_deref()), ("imported/big", Some("big-00001-of-00002.gguf")));
    let snapshot = cache.hub().join("models--imported--big/snapshots").join(done.commit);
    assert_eq!(fs::read_dir(snapshot).unwrap().count(), 2);
}

#[test]
fn what_is_no_model_leaves_nothing_behind() {
    let cache = Cache::new();
    let home = cache.home.path();
    fs::create_dir(home.join("empty")).unwrap();
    fs::write(home.join("text.gguf"), "no GGUF at all").unwrap();
    fs::write(home.join("a.txt"), "x").unwrap();
    let half = folder(&cache, "half");
    fs::write(half.join("model.safetensors.index.json"), r#"{"weight_map":{"a":"b.safetensors"}}"#).unwrap();
    for source in ["empty", "text.gguf", "a.txt", "half"] {
        assert!(
            matches!(take(&cache, &home.join(source), None), Err(ImportError::NotAModel { .. })),
            "{source}"
        );
    }
    assert!(matches!(take(&cache, &home.join("nowhere"), None), Err(ImportError::NotThere(_))));
    let fine = folder(&cache, "fine");
    for name in ["", "name", "../x", "a/b/c", "/etc", "a/..", "-a/b", "a--b/c", "a b/c"] {
        assert!(matches!(take(&cache, &fine, Some(name)), Err(ImportError::BadName(_))), "{name}");
    }
    for whole in [cache.hub(), home.to_path_buf(), PathBuf::from("/")] {
        assert!(matches!(take(&cache, &whole, None), Err(ImportError::InCache(_))), "{}", whole.display());
    }
    assert_eq!(fs::read_dir(cache.hub()).unwrap().count(), 0);
}

#[test]
fn links_of_the_source_are_not_followed_out() {
    let cache = Cache::new();
    let source = folder(&cache, "model");
    fs::write(cache.home.path().join("secret"), "secret").unwrap();
    symlink("model.safetensors", source.join("same.safetensors")).unwrap();
    take(&cache, &source, None).unwrap();
    symlink("../secret", source.join("tokenizer.json")).unwrap();
    let why = take(&cache, &source, Some("me/other")).unwrap_err();
    assert!(matches!(why, ImportError::LeadsOut(_)), "{why}");
    fs::remove_file(source.join("tokenizer.json")).unwrap();
    // A folder that is a link is no way out either.
    symlink("..", source.join("up")).unwrap();
    assert!(matches!(take(&cache, &source, Some("me/other")), Err(ImportError::LeadsOut(_))));
    assert!(!cache.hub().join("models--me--other").exists());
}

#[test]
fn an_import_that_is_ended_leaves_nothing() {
    let cache = Cache::new();
    let source = folder(&cache, "model");
    let mut pieces = 0;
    let ended = import(&cache.hub(), &source, None, &mut |at| {
        assert!(at.done <= at.total);
        pieces += 1;
        pieces < 2
    });
    assert_eq!(ended, Err(ImportError::Cancelled));
    let blobs = cache.hub().join("models--imported--model/blobs");
    // What was whole already may stay: it is called by its hash, and the next try finds it.
    assert!(!cache.hub().join("models--imported--model/.asgard").exists());
    assert!(!cache.hub().join("models--imported--model/snapshots").exists(), "{}", blobs.display());
}

#[test]
fn a_name_that_is_taken_by_other_content_is_refused() {
    let cache = Cache::new();
    let source = folder(&cache, "model");
    let first = take(&cache, &source, Some("me/model")).unwrap();
    fs::write(source.join("config.json"), CONFIG.replace("1024", "2048")).unwrap();
    let before = fs::read_to_string(cache.hub().join("models--me--model/refs/main")).unwrap();
    assert_eq!(take(&cache, &source, Some("me/model")), Err(ImportError::Taken("me/model".to_owned())));
    assert_eq!(fs::read_to_string(cache.hub().join("models--me--model/refs/main")).unwrap(), before);
    assert_eq!(before, first.commit);
    assert!(!cache.hub().join("models--me--model/.asgard").exists());
}

#[test]
fn names_are_made_of_what_a_repository_may_be_called() {
    for (of, name) in [
        ("My model (new)", "My-model-new"),
        ("a--b..c", "a-b.c"),
        ("ümlaut", "mlaut"),
        ("...", "model"),
        ("模型", "model"),
        ("-x-", "x"),
    ] {
        assert_eq!(made_name(of), name);
        assert!(folder_name(&format!("imported/{name}")).is_ok());
    }
    assert!(folder_name(&format!("imported/{}", made_name(&"x".repeat(500)))).is_ok());
}
