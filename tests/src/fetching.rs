//! A controller that fetches models from a loopback Hub, and what holds it to its promises.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::missing_panics_doc,
    reason = "a harness: what fails here fails the test"
)]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use api::shapes::downloads::{Download, DownloadState, Downloads};
use api::shapes::installed::{InstalledModel, InstalledModels};
use rehearsal::hub::{Content, File, Repo, Running};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use crate::household::Household;
use crate::hub_client::{Client, hashes};
use crate::steps::Random;

/// No download of a test takes longer.
pub const FETCHED: Duration = Duration::from_mins(2);

/// One agent that is never there: the stack of somebody who only fetches.
const STACK: &str = "version = 1\nname = \"fetching\"\nbase = \"none\"\n[agents.mimir]\nbackend = \"external\"\n\
    endpoint = \"http://127.0.0.1:9\"\nmodel = \"none\"\n[profiles.none]\nagents = []\n";

/// A household whose models come from a loopback Hub.
pub struct Fetching {
    pub household: Household,
    /// `HF_HOME`; the cache is `hub` in it.
    pub home: PathBuf,
}

/// A repository of two large files and what a server needs beside them: about so many bytes.
pub fn two_parts(id: &str, bytes: u64) -> Repo {
    let json = |path: &str, value: &Value| File::new(path, Content::text(value.to_string()));
    let names = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"];
    let sizes = [bytes / 3 * 2 + 1, bytes / 3 + 7];
    let mut files = vec![
        json(
            "config.json",
            &json!({ "architectures": ["Qwen2ForCausalLM"], "model_type": "qwen2", "hidden_size": 512,
                     "num_attention_heads": 8, "num_hidden_layers": 4, "num_key_value_heads": 2,
                     "intermediate_size": 2048, "vocab_size": 32_000, "max_position_embeddings": 8192 }),
        ),
        json("tokenizer.json", &json!({ "version": "1.0" })),
        json(
            "model.safetensors.index.json",
            &json!({ "metadata": { "total_size": sizes[0] + sizes[1] },
                     "weight_map": { "a": names[0], "b": names[1] } }),
        ),
    ];
    for (n, (name, size)) in (0_u64..).zip(names.iter().zip(sizes)) {
        files.push(File::new(*name, Content::Seeded { size, seed: bytes ^ n }));
    }
    Repo::new(id, files)
}

impl Fetching {
    /// With a cache of its own, served.
    pub async fn new(hub: &Running) -> Self {
        let household = Household::without_agents();
        let home = household.path("hf");
        Self::with(household, hub, home).await
    }

    /// With the cache below `home`, served.
    pub async fn with(mut household: Household, hub: &Running, home: PathBuf) -> Self {
        household.set("HF_ENDPOINT", hub.endpoint()).set("HF_HOME", &home);
        // Where there is neither a GPU nor a stack file Asgard plays, with a cache of its own.
        let folder = household.path("config/asgard");
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join("stack.toml"), STACK).unwrap();
        let mut fetching = Self { household, home };
        fetching.serve().await;
        fetching
    }

    pub async fn serve(&mut self) {
        self.household.serve(&["--no-tray"]).await;
    }

    pub async fn ask(&self, command: &str, payload: Value) -> Result<Value, api::ApiError> {
        self.household.client().await.call_value(command, payload).await
    }

    /// Puts all of a repository into the queue.
    pub async fn pull(&self, repo: &str) -> Download {
        let answer = self.ask("pull", json!({ "repo": repo, "files": ["*"] })).await;
        serde_json::from_value(answer.unwrap_or_else(|e| panic!("{repo}: {e:?}"))).unwrap()
    }

    pub async fn downloads(&self) -> Vec<Download> {
        let answer = self.ask("downloads", json!({})).await.unwrap();
        serde_json::from_value::<Downloads>(answer).unwrap().downloads
    }

    pub async fn download(&self, repo: &str) -> Option<Download> {
        self.downloads().await.into_iter().find(|d| d.repo == repo)
    }

    /// The download of a repository as soon as `enough` says so. One that fails where that was not waited for ends the
    /// test.
    pub async fn until(&self, repo: &str, what: &str, enough: impl Fn(&Download) -> bool) -> Download {
        let deadline = Instant::now() + FETCHED;
        loop {
            let now = self.download(repo).await;
            if let Some(download) = now.clone().filter(&enough) {
                return download;
            }
            let failed = now.as_ref().is_some_and(|d| d.state == DownloadState::Failed);
            assert!(!failed && Instant::now() < deadline, "{repo}: not {what}: {now:#?}");
            // Events tell of a change, and what is looked for may lie between two of them.
            sleep(Duration::from_millis(20)).await;
        }
    }

    pub async fn done(&self, repo: &str) -> Download {
        self.until(repo, "done", |d| d.state == DownloadState::Done).await
    }

    pub async fn installed(&self, repo: &str) -> Vec<InstalledModel> {
        let answer = self.ask("installed_models", json!({})).await.unwrap();
        let all: InstalledModels = serde_json::from_value(answer).unwrap();
        all.models.into_iter().filter(|m| m.repo == repo).collect()
    }

    pub fn cache(&self) -> PathBuf {
        self.home.join("hub")
    }

    /// The Hub's own client on the same cache.
    pub fn client(&self, hub: &Running) -> Client {
        Client::new(&hub.endpoint(), &self.home)
    }

    /// One case of it, to its end.
    pub async fn client_runs(&self, hub: &Running, case: &[&str], expected: Value) -> Value {
        let client = self.client(hub);
        let case: Vec<String> = case.iter().map(|w| (*w).to_owned()).collect();
        let run = move || client.run(&case.iter().map(String::as_str).collect::<Vec<_>>(), &expected);
        tokio::task::spawn_blocking(run).await.unwrap()
    }

    /// The Hub's client sees a whole repository without the network: the paths that are there, each with the right
    /// hash.
    pub async fn judged(&self, hub: &Running, repo: &Repo) -> Vec<String> {
        let seen = self.client_runs(hub, &["local", &repo.id], Value::Null).await;
        let truth = hashes(repo);
        let files = seen["files"].as_object().unwrap();
        for (path, hash) in files {
            assert_eq!(Some(hash), truth.get(path), "{path} is wrong");
        }
        assert_eq!(self.left_over(), Vec::<PathBuf>::new(), "nothing unfinished stays");
        files.keys().cloned().collect()
    }

    /// Files of unfinished downloads.
    pub fn left_over(&self) -> Vec<PathBuf> {
        let mut found = Vec::new();
        walk(&self.cache(), &mut |path| {
            let text = path.to_string_lossy();
            if ["incomplete", ".part", ".journal", ".ref"].iter().any(|end| text.ends_with(end)) {
                found.push(path.to_path_buf());
            }
        });
        found
    }
}

/// Every file below a folder; links are not followed.
pub fn walk(folder: &Path, each: &mut dyn FnMut(&Path)) {
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if entry.file_type().is_ok_and(|t| t.is_dir()) { walk(&path, each) } else { each(&path) }
    }
}

/// Waits until the Hub has sent so many bytes of files.
pub async fn served(hub: &Running, bytes: u64) {
    let deadline = Instant::now() + FETCHED;
    while hub.bytes_served("") < bytes {
        assert!(Instant::now() < deadline, "{bytes} bytes were not served: {}", hub.bytes_served(""));
        sleep(Duration::from_millis(5)).await;
    }
}

/// At most two in a hundred above the size.
pub fn within_two_percent(hub: &Running, repo: &Repo) {
    let (sent, size) = (hub.bytes_served(&repo.id), repo.head().unwrap().size());
    assert!(sent >= size, "{sent} of {size}: it cannot be whole");
    let above = (sent - size) as f64 / size as f64 * 100.0;
    println!("{sent} bytes served for {size}: {above:.2} % above");
    assert!(above <= 2.0, "{sent} bytes for {size}, {above:.2} % above: {:#?}", ranges(hub));
}

/// What was asked for, by file.
fn ranges(hub: &Running) -> BTreeMap<String, Vec<String>> {
    let mut all: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for entry in hub.log().into_iter().filter(|e| e.bytes > 0) {
        let range = entry.range.unwrap_or_else(|| "whole".to_owned());
        all.entry(entry.file).or_default().push(format!("{range}: {} bytes", entry.bytes));
    }
    all
}

/// A connection's pace where the controller is killed, bytes a second. What a kill costs is what lies between the line and
/// the disk at that moment, some milliseconds of what all connections bring: the faster the line, the larger a file must be
/// for that to be two in a hundred of it.
pub const KILLED_PACE: u64 = 1_000_000;

/// `kill -9` of the controller when the Hub has sent a random number of bytes, so many times within one download; in the
/// end it is whole and little came twice.
pub async fn kill_while_fetching(hub: &Running, repo: &Repo, kills: u32, seed: u64) {
    let mut random = Random(seed);
    let size = repo.head().unwrap().size();
    let mut instants: Vec<u64> = (0..kills).map(|_| random.below(size)).collect();
    instants.sort_unstable();
    hub.put(repo.clone());
    hub.clear_log();
    let mut fetching = Fetching::new(hub).await;
    fetching.pull(&repo.id).await;
    for instant in instants {
        served(hub, instant).await;
        fetching.household.kill9().await;
        fetching.serve().await;
    }
    fetching.done(&repo.id).await;
    fetching.judged(hub, repo).await;
    within_two_percent(hub, repo);
    println!("{kills} kills within one download, seed {seed}");
}
