//! The loopback Hub, judged by the client that the real Hub's owners publish: what works with it here works as it does
//! with the real one, and a promise that is kept against this Hub is worth something.

use domain::estimate::{Request, estimate};
use domain::stack::BackendKind;
use journeys::hub_client::{Client, hashes};
use models::{Described, describe};
use rehearsal::hub::{Access, Content, File, Hub, Place, Repo, Running, TOKEN, Trouble, catalogue, many};
use serde_json::Value;

const MODEL: &str = "Qwen/Qwen2.5-7B-Instruct-AWQ";

fn repo(hub: &Hub, id: &str) -> Repo {
    hub.repos.iter().find(|r| r.id == id).unwrap().clone()
}

/// The rehearsal's Hub, and what its client is to find in [`MODEL`].
fn start(change: impl FnOnce(&mut Hub)) -> (Running, Value) {
    let mut hub = catalogue();
    change(&mut hub);
    let expected = hashes(&repo(&hub, MODEL));
    (hub.start().unwrap(), expected)
}

fn home() -> tempfile::TempDir {
    tempfile::tempdir().unwrap()
}

#[test]
fn a_whole_repository_is_fetched_once_and_found_without_the_network() {
    for redirects_small in [false, true] {
        let (hub, expected) = start(|hub| hub.redirects_small = redirects_small);
        let home = home();
        let client = Client::new(&hub.endpoint(), home.path()).with_token(TOKEN);
        client.run(&["fetch", MODEL], &expected);
        let size = hub.bytes_served("");
        client.run(&["fetch", MODEL], &expected);
        assert_eq!(hub.bytes_served(""), size, "nothing came a second time");
        let seen = client.run(&["local", MODEL], &expected);
        assert_eq!(seen["size_on_disk"].as_u64(), Some(size), "it took what was sent");
        let log = hub.log();
        assert!(log.iter().any(|e| e.host == "cdn") && log.iter().any(|e| e.host == "hub"));
        for entry in log {
            assert_eq!(entry.authorization, entry.host == "hub", "{entry:?}");
        }
    }
}

#[test]
fn lists_are_searched_filtered_sorted_and_paged() {
    let (hub, _) = start(|hub| hub.page = 3);
    let home = home();
    Client::new(&hub.endpoint(), home.path()).run(&["lists"], &Value::Null);
    assert!(hub.log().iter().any(|e| e.target.contains("cursor=3")), "it followed the pages");
}

#[test]
fn a_repository_says_what_it_holds() {
    let (hub, expected) = start(|hub| hub.repos.push(many("big/many", 2500)));
    let home = home();
    let client = Client::new(&hub.endpoint(), home.path());
    client.run(&["info", MODEL], &expected);
    client.run(&["many", "big/many", "2500"], &Value::Null);
}

#[test]
fn one_file_is_fetched_by_its_name() {
    let (hub, expected) = start(|_| {});
    let home = home();
    let client = Client::new(&hub.endpoint(), home.path());
    for path in ["README.md", "config.json", "model-00002-of-00002.safetensors"] {
        client.run(&["one", MODEL, path], &expected[path]);
    }
}

#[test]
fn the_account_is_known_and_every_refusal_has_its_class() {
    let config = || vec![File::new("config.json", Content::text("{}"))];
    let (hub, _) = start(|hub| {
        hub.repos.push(Repo::new("taken/down", config()).with_access(Access::Disabled));
    });
    let home = home();
    let client = Client::new(&hub.endpoint(), home.path());
    client.run(&["account"], &Value::Null);
    let case = [
        "refusals",
        MODEL,
        "meta-llama/Llama-3.1-8B-Instruct",
        "valhalla/Runes-70B",
        "rehearsal/odins-notes-7b",
        "taken/down",
    ];
    client.run(&case, &Value::Null);
    let client = client.with_token(TOKEN);
    client.run(&case, &Value::Null);
    hub.accept(TOKEN, "meta-llama/Llama-3.1-8B-Instruct");
    let gated = repo(&catalogue(), "meta-llama/Llama-3.1-8B-Instruct");
    client.run(&["fetch", &gated.id], &hashes(&gated));
}

#[test]
fn after_a_cut_and_a_refusal_the_client_goes_on_with_a_range() {
    let (hub, _) = start(|_| {});
    let home = home();
    let client = Client::new(&hub.endpoint(), home.path());
    // It keeps what it has in pieces of 10 MiB, so a cut in the second piece loses that one alone.
    let large = Repo::new(
        "big/file",
        vec![File::new("w.safetensors", Content::Seeded { size: 25_000_000, seed: 3 })],
    );
    hub.put(large.clone());
    hub.trouble(Trouble::Cut { at: 15_000_000 }.on(Place::Cdn).times(1));
    hub.trouble(Trouble::TooMany { retry_after: Some(1), rate_limit: None }.of("/resolve/").times(1));
    client.run(&["fetch", "big/file"], &hashes(&large));
    let ranges: Vec<_> = hub.log().into_iter().filter(|e| e.range.is_some()).collect();
    assert_eq!(ranges.len(), 1, "{ranges:#?}");
    assert_eq!((ranges[0].range.as_deref(), ranges[0].status), (Some("bytes=10485760-"), 206));
}

/// What a reader of models makes of a repository's files: bytes of KV cache for a token, weights.
fn described(repo: &Repo, file: &str) -> (u64, u64, Described) {
    let folder = home();
    for file in &repo.head().unwrap().files {
        let path = folder.path().join(&file.path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, file.content.to_vec()).unwrap();
    }
    let source = folder.path().join(file);
    let described = describe(source.to_str().unwrap(), folder.path(), None).unwrap();
    let backend = if described.is_gguf { BackendKind::LlamaCpp } else { BackendKind::Vllm };
    let estimate = estimate(&described.facts, &Request::one(backend, Some(4096))).unwrap();
    (estimate.kv_bytes_per_token, estimate.weights.0, described)
}

#[test]
fn the_rehearsals_models_are_read_as_the_real_ones_in_a_smaller_unit() {
    let hub = catalogue();
    for known in domain::catalog::all() {
        let parts: Vec<&str> = known.id.split('/').collect();
        let repo = repo(&hub, &parts[..2].join("/"));
        let (per_token, weights, described) = described(&repo, parts.get(2).copied().unwrap_or(""));
        assert_eq!(per_token, known.kv_bytes_per_token / 1024, "{}: {described:#?}", known.id);
        let wanted = known.weights.0 / 1024;
        assert!(weights.abs_diff(wanted) < wanted / 50, "{}: {weights} for {wanted}", known.id);
        assert_eq!(
            described.facts.quantization.as_deref().unwrap_or("BF16"),
            known.quantization,
            "{}",
            known.id
        );
        assert!(!described.facts.bounded, "{}: {:?}", known.id, described.facts.notes);
    }
}
