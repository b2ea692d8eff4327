//! A cache as several programs leave it, looked at, verified and deleted from.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write as _;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use sha1::{Digest as _, Sha1};
use sha2::Sha256;

use super::verify::hex;
use super::*;

/// A cache in a folder of its own, filled as the Hub's own client does it.
pub(super) struct Cache {
    pub(super) home: tempfile::TempDir,
}

pub(super) fn commit(n: u8) -> String {
    format!("{n:02x}").repeat(20)
}

impl Cache {
    pub(super) fn new() -> Self {
        let cache = Self { home: tempfile::tempdir().unwrap() };
        fs::create_dir(cache.hub()).unwrap();
        cache
    }

    pub(super) fn hub(&self) -> PathBuf {
        self.home.path().join("hub")
    }

    fn repo(&self, id: &str) -> PathBuf {
        self.hub().join(folder_name(id).unwrap())
    }

    fn snapshot(&self, id: &str, n: u8) -> PathBuf {
        self.repo(id).join("snapshots").join(commit(n))
    }

    /// A file of a snapshot; the blob's name is the content's hash.
    fn file(&self, id: &str, n: u8, path: &str, content: &str) -> &Self {
        let name = if matches!(super::presence::extension(path), "safetensors" | "gguf") {
            hex(&Sha256::digest(content))
        } else {
            hex(&Sha1::digest(format!("blob {}\0{content}", content.len())))
        };
        let blobs = self.repo(id).join("blobs");
        fs::create_dir_all(&blobs).unwrap();
        fs::write(blobs.join(&name), content).unwrap();
        let up = "../".repeat(2 + path.matches('/').count());
        self.link(id, n, path, &format!("{up}blobs/{name}"))
    }

    fn link(&self, id: &str, n: u8, path: &str, to: &str) -> &Self {
        let at = self.snapshot(id, n).join(path);
        fs::create_dir_all(at.parent().unwrap()).unwrap();
        symlink(to, at).unwrap();
        self
    }

    fn revision(&self, id: &str, name: &str, n: u8) -> &Self {
        let path = self.repo(id).join("refs").join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, commit(n)).unwrap();
        self
    }

    /// A repository of safetensors, complete.
    fn model(&self, id: &str, n: u8, weights: &str) -> &Self {
        self.file(id, n, "config.json", "{}")
            .file(id, n, "README.md", "---\nlicense: mit\n---")
            .file(id, n, "model.safetensors", weights)
            .revision(id, "main", n)
    }

    pub(super) fn scan(&self) -> Scan {
        scan(&self.hub(), &User::current(), Bounds::default())
    }

    pub(super) fn installed(&self) -> BTreeMap<String, Installed> {
        installed(&self.scan()).into_iter().map(|m| (m.id.clone(), m)).collect()
    }

    fn remove(&self, id: &str) -> Result<Removed, RemoveError> {
        remove(&removal(&self.scan(), id).expect("a model with this id"), &User::current())
    }

    /// Every file and link of the whole home, with what it holds.
    fn everything(&self) -> BTreeMap<PathBuf, String> {
        fn walk(folder: &Path, found: &mut BTreeMap<PathBuf, String>) {
            for entry in fs::read_dir(folder).unwrap().flatten() {
                let path = entry.path();
                let kind = entry.file_type().unwrap();
                if kind.is_dir() {
                    walk(&path, found);
                } else if kind.is_symlink() {
                    found.insert(path.clone(), format!("-> {}", fs::read_link(&path).unwrap().display()));
                } else {
                    found.insert(path.clone(), fs::read_to_string(&path).unwrap());
                }
            }
        }
        let mut found = BTreeMap::new();
        walk(self.home.path(), &mut found);
        found
    }
}

fn id(model: &str, n: u8) -> String {
    format!("{model}@{}", commit(n))
}

#[test]
fn a_whole_model_is_listed_with_what_it_holds() {
    let cache = Cache::new();
    cache.model("org/name", 1, "weights").revision("org/name", "refs/pr/1", 1);
    let all = cache.installed();
    let model = &all[&id("org/name", 1)];
    assert_eq!(model.model, "org/name");
    assert_eq!(model.revisions, ["main", "refs/pr/1"]);
    assert_eq!(model.path.canonicalize().unwrap(), cache.snapshot("org/name", 1).canonicalize().unwrap());
    assert_eq!((model.held, model.shared, model.problem.as_deref()), (2 + 20 + 7, 0, None));
    assert_eq!(model.parts.len(), 3);
    assert_eq!(cache.scan().held, 29);
    assert!(cache.scan().notes.is_empty() && cache.scan().whole);
}

#[test]
fn two_commits_share_what_did_not_change() {
    let cache = Cache::new();
    cache.model("org/name", 1, "old").model("org/name", 2, "newer");
    let all = cache.installed();
    let (old, new) = (&all[&id("org/name", 1)], &all[&id("org/name", 2)]);
    assert_eq!((old.held, old.shared), (3, 22));
    assert_eq!((new.held, new.shared), (5, 22));
    // "main" moved on.
    assert_eq!((old.revisions.len(), new.revisions.len()), (0, 1));
    assert_eq!(cache.scan().held, 30);
    let removed = cache.remove(&old.id).unwrap();
    assert_eq!((removed.freed, removed.files), (3, 3));
    let all = cache.installed();
    assert_eq!(all.len(), 1);
    assert_eq!((all[&id("org/name", 2)].held, all[&id("org/name", 2)].problem.as_deref()), (27, None));
    assert_eq!(cache.scan().held, 27);
}

#[test]
fn each_gguf_of_a_repository_is_a_model_and_its_parts_are_one() {
    let cache = Cache::new();
    for (path, content) in [
        ("a-Q4_K_M.gguf", "four"),
        ("a-Q8_0-00001-of-00002.gguf", "eight"),
        ("a-Q8_0-00002-of-00002.gguf", "eight and more"),
        ("deep/a-F16-00002-of-00002.gguf", "half"),
        ("mmproj-F16.gguf", "eyes"),
        ("README.md", "read"),
    ] {
        cache.file("org/name-GGUF", 1, path, content);
    }
    let all = cache.installed();
    assert_eq!(all.len(), 3, "{:?}", all.keys());
    let four = &all[&id("org/name-GGUF/a-Q4_K_M.gguf", 1)];
    assert_eq!((four.model.as_str(), four.held, four.shared), ("org/name-GGUF/a-Q4_K_M.gguf", 4, 0));
    let eight = &all[&id("org/name-GGUF/a-Q8_0-00001-of-00002.gguf", 1)];
    assert_eq!((eight.held, eight.problem.as_deref(), eight.parts.len()), (19, None, 2));
    let half = &all[&id("org/name-GGUF/deep/a-F16-00001-of-00002.gguf", 1)];
    assert_eq!(half.problem.as_deref(), Some("deep/a-F16-00001-of-00002.gguf is missing, one of 2 parts."));
    // The last of them takes the rest along.
    cache.remove(&eight.id).unwrap();
    assert_eq!(cache.scan().held, 4 + 4 + 4 + 4);
    cache.remove(&half.id).unwrap();
    let four = &cache.installed()[&four.id];
    assert_eq!(four.held, 12);
    assert_eq!(cache.remove(&four.id).unwrap().freed, 12);
    assert!(!cache.repo("org/name-GGUF").exists());
}

#[test]
fn what_is_missing_is_said() {
    let cache = Cache::new();
    let index =
        r#"{"weight_map":{"a":"model-00001-of-00002.safetensors","b":"model-00002-of-00002.safetensors"}}"#;
    cache
        .file("org/shard", 1, "config.json", "{}")
        .file("org/shard", 1, "model.safetensors.index.json", index)
        .file("org/shard", 1, "model-00001-of-00002.safetensors", "w")
        .model("org/broken", 1, "w")
        .link("org/broken", 1, "tokenizer.json", "../../blobs/nowhere")
        .file("org/bare", 1, "config.json", "{}");
    fs::create_dir_all(cache.repo("org/begun").join("blobs")).unwrap();
    fs::write(
        cache.repo("org/begun").join("blobs").join(format!("{}.0a1b2c3d.incomplete", "a".repeat(64))),
        "half",
    )
    .unwrap();
    let all = cache.installed();
    let problem = |id: &str| all[id].problem.clone().unwrap();
    assert!(problem(&id("org/shard", 1)).starts_with("model-00002-of-00002.safetensors is missing"));
    assert_eq!(problem(&id("org/broken", 1)), "tokenizer.json is listed, but its content is not there.");
    assert_eq!(problem(&id("org/bare", 1)), "There are no weights.");
    assert_eq!(problem("org/begun@"), "Its download was begun and not finished.");
    assert_eq!(all["org/begun@"].held, 4);
    assert_eq!(cache.remove("org/begun@").unwrap().freed, 4);
    assert!(!cache.repo("org/begun").exists());
}

#[test]
fn what_is_no_model_is_only_told_of() {
    let cache = Cache::new();
    cache.model("org/name", 1, "w");
    for name in ["datasets--org--texts", "datasets--org--more", "spaces--org--demo"] {
        fs::create_dir_all(cache.hub().join(name).join("blobs")).unwrap();
        fs::write(cache.hub().join(name).join("blobs").join("b".repeat(40)), "12345").unwrap();
    }
    for name in [".locks", "models--..--etc", "models--a--b--c", "models--", "photos"] {
        fs::create_dir(cache.hub().join(name)).unwrap();
    }
    fs::write(cache.hub().join("version.txt"), "1").unwrap();
    let scan = cache.scan();
    assert_eq!(scan.repos.len(), 1);
    assert_eq!(
        scan.notes,
        [
            "2 data sets of other programs hold 0.0\u{a0}MB.",
            "1 space of other programs holds 0.0\u{a0}MB.",
            "4 other files and folders are no repositories, the first of them models--.",
        ]
    );
    assert_eq!(scan.held, 23 + 15);
}

#[test]
fn a_look_is_bounded() {
    let cache = Cache::new();
    cache.model("org/a", 1, "w").model("org/b", 1, "w");
    let user = User::current();
    let few = scan(&cache.hub(), &user, Bounds { entries: 6, until: None });
    assert!(!few.whole);
    assert!(few.notes.iter().any(|n| n.contains("too large")), "{:?}", few.notes);
    let late =
        scan(&cache.hub(), &user, Bounds { until: Some(std::time::Instant::now()), ..Bounds::default() });
    assert!(!late.whole && late.repos.is_empty());
    assert_eq!(scan(Path::new("/nonexistent/hub"), &user, Bounds::default()).repos.len(), 0);
}

#[test]
fn nothing_outside_of_the_cache_is_deleted() {
    let cache = Cache::new();
    let out = cache.home.path().join("out");
    fs::create_dir_all(out.join("sub")).unwrap();
    fs::write(out.join("precious.safetensors"), "precious").unwrap();
    fs::write(out.join("sub/deep"), "deep").unwrap();
    // Links out: a file, a folder, a whole snapshot, the blobs, the refs.
    cache
        .file("org/file", 1, "config.json", "{}")
        .link("org/file", 1, "model.safetensors", out.join("precious.safetensors").to_str().unwrap())
        .link("org/file", 1, "sub", out.join("sub").to_str().unwrap())
        .model("org/snap", 1, "w");
    symlink(&out, cache.repo("org/snap").join("snapshots").join(commit(2))).unwrap();
    cache.model("org/blobs", 1, "w");
    fs::remove_dir_all(cache.repo("org/blobs").join("blobs")).unwrap();
    symlink(&out, cache.repo("org/blobs").join("blobs")).unwrap();
    fs::remove_dir_all(cache.repo("org/blobs").join("refs")).unwrap();
    symlink(&out, cache.repo("org/blobs").join("refs")).unwrap();
    let scan = cache.scan();
    let file = &cache.installed()[&id("org/file", 1)];
    assert_eq!(file.held, 2, "what lies elsewhere is not the cache's");
    assert_eq!(scan.repos.iter().find(|r| r.id == "org/snap").unwrap().snapshots.len(), 1);
    for id in cache.installed().keys() {
        let _ = cache.remove(id);
    }
    assert_eq!(fs::read_to_string(out.join("precious.safetensors")).unwrap(), "precious");
    assert_eq!(fs::read_to_string(out.join("sub/deep")).unwrap(), "deep");
    // A repository that is a link is looked into, and left.
    let real = cache.home.path().join("disk2");
    fs::rename(cache.repo("org/snap"), &real).ok();
    let other = Cache::new();
    other.model("org/moved", 1, "w");
    fs::rename(other.repo("org/moved"), cache.home.path().join("moved")).unwrap();
    symlink(cache.home.path().join("moved"), cache.repo("org/moved")).unwrap();
    assert_eq!(cache.installed()[&id("org/moved", 1)].problem, None);
    assert!(matches!(cache.remove(&id("org/moved", 1)), Err(RemoveError::Linked(_))));
    assert!(cache.home.path().join("moved/snapshots").exists());
}

#[test]
fn a_folder_that_becomes_a_link_after_the_look_leads_nowhere() {
    let cache = Cache::new();
    cache.model("org/name", 1, "w").model("org/name", 2, "x");
    let out = cache.home.path().join("out");
    fs::create_dir(&out).unwrap();
    for name in ["config.json", "model.safetensors", "README.md"] {
        fs::write(out.join(name), "precious").unwrap();
    }
    let decided = removal(&cache.scan(), &id("org/name", 1)).unwrap();
    fs::remove_dir_all(cache.snapshot("org/name", 1)).unwrap();
    symlink(&out, cache.snapshot("org/name", 1)).unwrap();
    let _ = remove(&decided, &User::current());
    assert_eq!(fs::read_dir(&out).unwrap().count(), 3);
}

#[test]
fn what_a_download_or_a_server_uses_is_not_deleted() {
    let cache = Cache::new();
    cache.model("org/name", 1, "weights");
    let before = cache.everything();
    let locks = cache.hub().join(".locks/models--org--name");
    fs::create_dir_all(&locks).unwrap();
    let lock = fs::File::create(locks.join(format!("{}.lock", "a".repeat(64)))).unwrap();
    rustix::fs::flock(&lock, rustix::fs::FlockOperation::LockExclusive).unwrap();
    assert!(matches!(cache.remove(&id("org/name", 1)), Err(RemoveError::Downloading { .. })));
    drop(lock);
    let weights = fs::File::open(cache.snapshot("org/name", 1).join("model.safetensors")).unwrap();
    let mut reader = std::process::Command::new("sh")
        .args(["-c", "echo ready; read _"])
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .stderr(weights)
        .spawn()
        .unwrap();
    let mut said = String::new();
    let mut stdout = std::io::BufReader::new(reader.stdout.take().unwrap());
    std::io::BufRead::read_line(&mut stdout, &mut said).unwrap();
    match cache.remove(&id("org/name", 1)) {
        Err(RemoveError::Open { program, .. }) => {
            assert!(program.ends_with(&format!("(process {})", reader.id())), "{program}");
        }
        other => panic!("{other:?}"),
    }
    for (path, content) in &before {
        assert_eq!(cache.everything().get(path), Some(content), "{}", path.display());
    }
    reader.stdin.take().unwrap().write_all(b"\n").unwrap();
    reader.wait().unwrap();
    assert_eq!(cache.remove(&id("org/name", 1)).unwrap().freed, 29);
    // Locks are left where they are, as the Hub's own client leaves them.
    assert!(locks.exists() && !cache.repo("org/name").exists());
}

#[test]
fn the_store_that_repositories_share_is_counted_once_and_emptied_by_its_own_rules() {
    let cache = Cache::new();
    let store = cache.hub().join("blobs/ab");
    fs::create_dir_all(&store).unwrap();
    fs::write(cache.hub().join("blobs/.huggingface-shared-blobs"), "1\n").unwrap();
    let content = store.join(format!("ab{}", "0".repeat(62)));
    fs::write(&content, "shared weights").unwrap();
    let etag = hex(&Sha256::digest("shared weights"));
    let mut list = String::new();
    for repo in ["org/one", "org/two"] {
        cache.file(repo, 1, "config.json", "{}");
        let blob = cache.repo(repo).join("blobs").join(&etag);
        symlink(format!("../../blobs/ab/ab{}", "0".repeat(62)), &blob).unwrap();
        cache.link(repo, 1, "model.safetensors", &format!("../../blobs/{etag}"));
        list.push_str(&[folder_name(repo).unwrap().as_str(), "/blobs/", &etag, "\n"].concat());
    }
    fs::write(store.join(format!("ab{}.refs", "0".repeat(62))), list).unwrap();
    assert_eq!(cache.scan().held, 14 + 4);
    assert!(cache.scan().notes.is_empty(), "{:?}", cache.scan().notes);
    let all = cache.installed();
    let (one, two) = (&all[&id("org/one", 1)], &all[&id("org/two", 1)]);
    assert_eq!((one.problem.as_deref(), one.held, one.shared), (None, 2, 14));
    let found =
        verify(&cache.scan().repos[0], &cache.scan().repos[0].snapshots[0], &one.parts, &mut |_| true);
    assert_eq!(found.unwrap().damaged, Vec::<String>::new());
    assert_eq!(cache.remove(&one.id).unwrap().freed, 2);
    assert!(content.exists());
    assert_eq!(cache.installed()[&two.id].held, 16);
    assert_eq!(cache.remove(&two.id).unwrap().freed, 16);
    assert!(!content.exists());
}

#[test]
fn a_store_without_its_list_of_links_is_left_alone() {
    let cache = Cache::new();
    let store = cache.hub().join("blobs/ab");
    fs::create_dir_all(&store).unwrap();
    fs::write(cache.hub().join("blobs/.huggingface-shared-blobs"), "1\n").unwrap();
    let content = store.join(format!("ab{}", "0".repeat(62)));
    fs::write(&content, "w").unwrap();
    cache.file("org/one", 1, "config.json", "{}");
    let etag = hex(&Sha256::digest("w"));
    symlink(format!("../../blobs/ab/ab{}", "0".repeat(62)), cache.repo("org/one").join("blobs").join(&etag))
        .unwrap();
    cache.link("org/one", 1, "model.safetensors", &format!("../../blobs/{etag}"));
    cache.remove(&id("org/one", 1)).unwrap();
    assert!(content.exists(), "who else uses it is not known");
}

#[test]
fn files_of_others_are_recognised_and_the_command_mends_them() {
    let cache = Cache::new();
    cache.model("org/name", 1, "w");
    let owner = std::os::unix::fs::MetadataExt::uid(&fs::metadata(cache.hub()).unwrap());
    let other = User { uid: owner + 1, gid: 1000, groups: Vec::new() };
    let found = scan(&cache.hub(), &other, Bounds::default());
    let foreign = found.repos[0].foreign.clone().expect("they are another's");
    assert!(foreign.count >= 6, "{foreign:?}");
    let folder = found.hub.join("models--org--name");
    assert_eq!(foreign.command(&other), format!("sudo chown -R {}:1000 {}", owner + 1, folder.display()));
    assert_eq!(cache.scan().repos[0].foreign, None);
}

#[test]
fn every_blob_is_compared_with_its_name() {
    let cache = Cache::new();
    cache.model("org/name", 1, "weights").link("org/name", 1, "gone.txt", "../../blobs/none");
    fs::write(cache.snapshot("org/name", 1).join("own.txt"), "own").unwrap();
    let check = |tell: &mut dyn FnMut(&Hashing) -> bool| {
        let scan = cache.scan();
        let snapshot = &scan.repos[0].snapshots[0];
        let parts: Vec<String> = snapshot.files.keys().cloned().collect();
        verify(&scan.repos[0], snapshot, &parts, tell)
    };
    let mut seen = Vec::new();
    let found = check(&mut |at| {
        seen.push((at.done, at.total));
        true
    })
    .unwrap();
    assert_eq!(found.damaged, ["gone.txt"]);
    assert_eq!(found.unknown, ["own.txt"]);
    assert_eq!(found.right.len(), 3);
    assert_eq!(seen.last(), Some(&(32, 32)));
    assert!(seen.windows(2).all(|w| w[0].0 <= w[1].0));
    assert_eq!(check(&mut |_| false), None);
    // One flipped byte.
    let weights = cache.snapshot("org/name", 1).join("model.safetensors").canonicalize().unwrap();
    fs::write(&weights, "weighty").unwrap();
    assert_eq!(check(&mut |_| true).unwrap().damaged, ["gone.txt", "model.safetensors"]);
    fs::write(cache.snapshot("org/name", 1).join("config.json"), "[]").unwrap();
    assert_eq!(check(&mut |_| true).unwrap().damaged, ["config.json", "gone.txt", "model.safetensors"]);
}

#[test]
fn a_mark_lasts_as_long_as_the_file_is_what_it_was() {
    let cache = Cache::new();
    cache.model("org/name", 1, "weights");
    let scan = cache.scan();
    let (repo, snapshot) = (&scan.repos[0], &scan.repos[0].snapshots[0]);
    let parts: Vec<String> = snapshot.files.keys().cloned().collect();
    let file = cache.home.path().join("verified.json");
    let mut marks = Marks::read(&file);
    assert_eq!(marks.verified(repo, snapshot, &parts), None);
    let right = verify(repo, snapshot, &parts, &mut |_| true).unwrap().right;
    marks.add(&right, "2026-11-21T12:00:00Z");
    marks.add(&right[1..], "2026-11-22T12:00:00Z");
    marks.write(&file).unwrap();
    let marks = Marks::read(&file);
    assert_eq!(marks.verified(repo, snapshot, &parts).as_deref(), Some("2026-11-21T12:00:00Z"));
    assert_eq!(fs::read_dir(cache.home.path()).unwrap().count(), 2, "nothing is left beside it");
    let weights = cache.snapshot("org/name", 1).join("model.safetensors").canonicalize().unwrap();
    let late = fs::File::options().write(true).open(&weights).unwrap();
    late.set_modified(std::time::SystemTime::UNIX_EPOCH).unwrap();
    assert_eq!(marks.verified(repo, snapshot, &parts), None);
    for text in ["", "{", "[]", "{\"blobs\":{\"a\":1}}"] {
        fs::write(&file, text).unwrap();
        assert_eq!(Marks::read(&file), Marks::default(), "{text}");
    }
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig { cases: 60, ..Default::default() })]

    /// Any snapshots over few contents: a removal frees what it said, and what is left is as whole as it was.
    #[test]
    fn a_removal_frees_what_it_said_and_harms_nothing_else(
        files in proptest::collection::vec((1_u8..4, 0_usize..6, 0_usize..4), 1..24),
        which in 0_usize..20,
    ) {
        let names =
            ["config.json", "model.safetensors", "a-Q4.gguf", "a-Q8.gguf", "sub/b-Q4.gguf", "README.md"];
        let cache = Cache::new();
        let mut made = std::collections::BTreeSet::new();
        for (n, name, content) in files {
            if made.insert((n, name)) {
                cache.file("org/name", n, names[name], &"x".repeat(content + 1));
            }
        }
        let before = cache.installed();
        let victim = before.values().nth(which % before.len()).unwrap().clone();
        let held = cache.scan().held;
        let removed = cache.remove(&victim.id).unwrap();
        proptest::prop_assert_eq!(removed.freed, victim.held);
        proptest::prop_assert_eq!(cache.scan().held, held - removed.freed);
        let after = cache.installed();
        proptest::prop_assert!(!after.contains_key(&victim.id));
        for (id, model) in before.iter().filter(|(id, _)| **id != victim.id) {
            let left = after.get(id);
            proptest::prop_assert!(left.is_some(), "{} is gone with {}", id, victim.id);
            proptest::prop_assert_eq!(&left.unwrap().problem, &model.problem);
        }
    }
}
