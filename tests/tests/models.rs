//! Models through the real program: fetched from a loopback Hub that misbehaves, judged by the Hub's own client.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use api::shapes::downloads::{Download, DownloadState, Remedy};
use journeys::fetching::{
    Fetching, KILLED_PACE, kill_while_fetching, served, two_parts, walk, within_two_percent,
};
use journeys::household::Household;
use journeys::hub_client::hashes;
use rehearsal::hub::{Hub, Place, Repo, Running, TOKEN, Trouble, catalogue, hostile};
use serde_json::json;

const MODEL: &str = "Qwen/Qwen2.5-7B-Instruct-AWQ";
const MB: u64 = 1_000_000;

fn repo_of(id: &str) -> Repo {
    catalogue().repos.into_iter().find(|r| r.id == id).unwrap()
}

fn hub() -> Running {
    catalogue().start().unwrap()
}

/// A Hub with one repository, each connection so fast.
fn slow_hub(repo: &Repo, pace: u64) -> Running {
    let mut hub = Hub::new(vec![repo.clone()]).with_account(TOKEN, "odin");
    hub.pace = Some(pace);
    hub.start().unwrap()
}

#[tokio::test]
async fn what_asgard_fetched_is_whole_for_the_hubs_own_client() {
    let (hub, repo) = (hub(), repo_of(MODEL));
    let fetching = Fetching::new(&hub).await;
    let pulled = fetching.household.asgard(&["models", "pull", MODEL]).await.ok();
    assert!(!pulled.stdout.contains('\u{1b}'), "no terminal, no escapes: {}", pulled.stdout);
    let files = fetching.judged(&hub, &repo).await;
    let wanted = |f: &&str| [".safetensors", ".json"].iter().any(|end| f.ends_with(end));
    for file in repo.head().unwrap().files.iter().map(|f| f.path.as_str()).filter(wanted) {
        assert!(files.iter().any(|f| f == file), "{file} is not there: {files:?}");
    }
    for entry in hub.log() {
        assert!(entry.host == "hub" || !entry.authorization, "{entry:?}");
    }
    // With the network that client takes what is here as it is.
    let weights = hub.bytes_served(".safetensors");
    fetching.client_runs(&hub, &["fetch", MODEL], hashes(&repo)).await;
    assert_eq!(hub.bytes_served(".safetensors"), weights, "no weight came twice");
    // And a second pull has nothing to do.
    let before = hub.bytes_served("");
    fetching.household.asgard(&["models", "pull", MODEL]).await.ok();
    assert_eq!(hub.bytes_served(""), before);
}

#[tokio::test]
async fn what_the_hubs_own_client_fetched_asgard_lists_as_complete() {
    let (hub, repo) = (hub(), repo_of(MODEL));
    let fetching = Fetching::new(&hub).await;
    fetching.client_runs(&hub, &["fetch", MODEL], hashes(&repo)).await;
    let found = fetching.installed(MODEL).await;
    assert_eq!(found.len(), 1, "{found:#?}");
    assert!(found[0].complete && found[0].problem.is_none(), "{found:#?}");
    assert_eq!(found[0].commit, repo.head().unwrap().id);
    assert_eq!(found[0].quantization.as_deref(), Some("AWQ 4-bit"));
    // All of it is here: nothing is fetched again.
    let before = hub.bytes_served("");
    fetching.pull(MODEL).await;
    fetching.done(MODEL).await;
    assert_eq!(hub.bytes_served(""), before);
    let listed = fetching.household.json(&["models", "list"]).await;
    assert!(listed.to_string().contains(MODEL), "{listed}");
}

#[tokio::test]
async fn ten_kills_at_random_bytes_cost_next_to_nothing() {
    let repo = two_parts("big/killed", 240 * MB);
    let hub = slow_hub(&repo, KILLED_PACE);
    kill_while_fetching(&hub, &repo, 10, 20_260).await;
}

#[tokio::test]
async fn a_pause_a_lost_line_and_an_old_address_cost_nothing() {
    let repo = two_parts("big/paused", 60 * MB);
    let hub = slow_hub(&repo, KILLED_PACE);
    let fetching = Fetching::new(&hub).await;
    let id = fetching.pull(&repo.id).await.id;
    served(&hub, 15 * MB).await;
    fetching.ask("pause_download", json!({ "id": id })).await.unwrap();
    let paused = fetching.until(&repo.id, "paused", |d| d.state == DownloadState::Paused).await;
    assert!(paused.done_bytes > 0 && paused.done_bytes < repo.head().unwrap().size(), "{paused:?}");
    hub.expire_addresses();
    fetching.ask("resume_download", json!({ "id": id })).await.unwrap();
    served(&hub, 25 * MB).await;
    // The line goes away for a while, in several ways.
    hub.trouble(Trouble::Cut { at: 20 * MB }.on(Place::Cdn).times(2));
    hub.trouble(Trouble::Failed { status: 500 }.on(Place::Cdn).times(2));
    hub.trouble(Trouble::TooMany { retry_after: Some(1), rate_limit: None }.on(Place::Resolve).times(1));
    hub.expire_addresses();
    let done = fetching.done(&repo.id).await;
    assert_eq!(done.done_bytes, repo.head().unwrap().size());
    fetching.judged(&hub, &repo).await;
    within_two_percent(&hub, &repo);
}

/// A machine whose clock was wrong and is set right, or that slept: forwards and backwards by more than partial files are
/// kept, while it fetches and between two lives.
#[tokio::test]
async fn a_clock_that_jumps_costs_nothing() {
    let repo = two_parts("big/timeless", 60 * MB);
    let hub = slow_hub(&repo, KILLED_PACE);
    let mut household = Household::without_agents();
    let (clock, home) = (household.path("clock"), household.path("hf"));
    let jump = |days: i32| fs::write(&clock, format!("{days:+}d\n")).unwrap();
    jump(0);
    let libfaketime = [
        "/usr/lib/x86_64-linux-gnu/faketime",
        "/usr/lib/aarch64-linux-gnu/faketime",
        "/usr/lib/faketime",
        "/usr/lib64/faketime",
    ]
    .map(|folder| Path::new(folder).join("libfaketimeMT.so.1"));
    let library = libfaketime.iter().find(|l| l.exists()).expect("libfaketime is not installed");
    household
        .set("LD_PRELOAD", library)
        .set("FAKETIME_TIMESTAMP_FILE", &clock)
        .set("FAKETIME_NO_CACHE", "1")
        .set("FAKETIME_DONT_FAKE_MONOTONIC", "1")
        .set("NO_FAKE_STAT", "1");
    let mut fetching = Fetching::with(household, &hub, home).await;
    let id = fetching.pull(&repo.id).await.id;
    let began = fetching.until(&repo.id, "running", |d| d.state == DownloadState::Running).await.added;
    for (days, megabytes) in [(400, 5), (-4000, 10), (8000, 15), (0, 20)] {
        served(&hub, megabytes * MB).await;
        jump(days);
    }
    for (days, megabytes) in [(800, 25), (-800, 30), (0, 35)] {
        served(&hub, megabytes * MB).await;
        jump(days);
        fetching.household.kill9().await;
        fetching.serve().await;
    }
    // The program lives in that time: what it writes down now says so.
    jump(800);
    fetching.ask("pause_download", json!({ "id": id })).await.unwrap();
    fetching.until(&repo.id, "paused", |d| d.state == DownloadState::Paused).await;
    fetching.ask("resume_download", json!({ "id": id })).await.unwrap();
    let done = fetching.done(&repo.id).await;
    assert_ne!(done.finished.unwrap()[..4], began[..4]);
    fetching.judged(&hub, &repo).await;
    within_two_percent(&hub, &repo);
}

#[tokio::test]
async fn a_byte_that_is_wrong_never_gets_a_name() {
    let repo = two_parts("big/flipped", 20 * MB);
    let hub = slow_hub(&repo, 20 * MB);
    let fetching = Fetching::new(&hub).await;
    // Once: it is found, and what was wrong is fetched again.
    hub.trouble(Trouble::Flip { at: 9 * MB }.of("00001-of").times(1));
    fetching.pull(&repo.id).await;
    fetching.done(&repo.id).await;
    fetching.judged(&hub, &repo).await;
}

#[tokio::test]
async fn asgard_and_the_hubs_own_client_at_once_make_one_whole_cache() {
    let repo = two_parts("big/shared", 60 * MB);
    let hub = slow_hub(&repo, 5 * MB);
    let fetching = Fetching::new(&hub).await;
    let mut theirs = fetching.client(&hub).command(&["fetch", &repo.id], &hashes(&repo)).spawn().unwrap();
    served(&hub, 2 * MB).await;
    fetching.pull(&repo.id).await;
    fetching.done(&repo.id).await;
    let ended = tokio::task::spawn_blocking(move || theirs.wait()).await.unwrap().unwrap();
    assert!(ended.success(), "the Hub's own client fails beside Asgard");
    fetching.judged(&hub, &repo).await;
    assert!(fetching.installed(&repo.id).await.iter().all(|m| m.complete));
    within_two_percent(&hub, &repo);
}

#[tokio::test]
async fn two_asgards_on_one_cache_fetch_it_once() {
    let repo = two_parts("big/both", 60 * MB);
    let hub = slow_hub(&repo, 5 * MB);
    let one = Fetching::new(&hub).await;
    let two = Fetching::with(Household::without_agents(), &hub, one.home.clone()).await;
    tokio::join!(one.pull(&repo.id), two.pull(&repo.id));
    tokio::join!(one.done(&repo.id), two.done(&repo.id));
    one.judged(&hub, &repo).await;
    within_two_percent(&hub, &repo);
}

/// A small disk of its own, gone with this.
struct Disk(PathBuf);

impl Disk {
    /// Says why there is none where none can be had.
    fn mount(at: &Path, megabytes: u64) -> Option<Self> {
        fs::create_dir_all(at).unwrap();
        let size = format!("size={megabytes}m");
        let done =
            Command::new("mount").args(["-t", "tmpfs", "-o", &size, "tmpfs"]).arg(at).output().unwrap();
        if done.status.success() {
            return Some(Self(at.to_path_buf()));
        }
        println!("skipped: a small disk needs root ({})", String::from_utf8_lossy(&done.stderr).trim());
        None
    }

    fn read_only(&self) {
        let done = Command::new("mount").args(["-o", "remount,ro"]).arg(&self.0).status().unwrap();
        assert!(done.success());
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

#[tokio::test]
async fn a_disk_that_is_full_is_told_of_and_costs_nothing() {
    let repo = two_parts("big/full", 60 * MB);
    let hub = slow_hub(&repo, 4 * MB);
    let household = Household::without_agents();
    let home = household.path("hf");
    let Some(_disk) = Disk::mount(&home, 100) else { return };
    let fetching = Fetching::with(household, &hub, home.clone()).await;
    // Too large for it from the beginning: refused before the first byte.
    let large = two_parts("big/never", 200 * MB);
    hub.put(large.clone());
    let refused = fetching.ask("pull", json!({ "repo": large.id, "files": ["*"] })).await.unwrap_err();
    assert!(refused.message.contains("0.2 GB") || refused.message.contains("MB"), "{refused:?}");
    assert_eq!(hub.bytes_served(&large.id), 0);
    // Somebody else fills it on the way: what has landed stays, and it goes on when there is room.
    fetching.pull(&repo.id).await;
    served(&hub, 10 * MB).await;
    // Hardly anything comes while it is filled.
    hub.pace(Some(10_000));
    let filler = home.join("filler");
    let free = rustix::fs::statvfs(&home).unwrap();
    let left = free.f_bavail * free.f_frsize;
    let taken = usize::try_from(left.saturating_sub(4 * MB)).unwrap();
    let mut bytes = vec![7; taken];
    while fs::write(&filler, &bytes).is_err() {
        bytes.truncate(bytes.len() - bytes.len() / 20);
    }
    hub.pace(Some(MB / 4));
    let told = fetching
        .until(&repo.id, "told of the full disk", |d| {
            d.problem.as_ref().is_some_and(|p| p.remedy == Some(Remedy::FreeDisk))
        })
        .await;
    assert!(told.problem.is_some_and(|p| p.message.ends_with('.') && !p.next.is_empty()));
    fs::remove_file(&filler).unwrap();
    hub.pace(Some(4 * MB));
    fetching.ask("resume_download", json!({ "id": told.id })).await.unwrap();
    fetching.done(&repo.id).await;
    fetching.judged(&hub, &repo).await;
    within_two_percent(&hub, &repo);
}

#[tokio::test]
async fn a_cache_that_cannot_be_written_is_told_of_before_the_first_byte() {
    let repo = two_parts("big/readonly", 2 * MB);
    let hub = slow_hub(&repo, 20 * MB);
    let household = Household::without_agents();
    let home = household.path("hf");
    let Some(disk) = Disk::mount(&home, 50) else { return };
    fs::create_dir_all(home.join("hub")).unwrap();
    disk.read_only();
    let fetching = Fetching::with(household, &hub, home).await;
    let answer = fetching.ask("pull", json!({ "repo": repo.id, "files": ["*"] })).await;
    let message = if let Err(refused) = answer {
        refused.message
    } else {
        let failed = fetching.until(&repo.id, "failed", |d| d.problem.is_some()).await;
        failed.problem.unwrap().message
    };
    assert!(message.contains("hub") && message.ends_with('.'), "{message}");
    assert_eq!(hub.bytes_served("safetensors"), 0);
}

#[tokio::test]
async fn hostile_names_write_nothing_outside_and_break_nothing() {
    let hub = Hub::new(vec![hostile("mallory/x"), repo_of(MODEL)]).start().unwrap();
    let fetching = Fetching::new(&hub).await;
    let before = everything(fetching.household.folder(), &fetching.cache());
    let answer = fetching.ask("pull", json!({ "repo": "mallory/x", "files": ["*"] })).await;
    if answer.is_ok() {
        fetching
            .until("mallory/x", "at its end", |d| {
                matches!(d.state, DownloadState::Done | DownloadState::Failed)
            })
            .await;
    }
    for place in ["/tmp/asgard-escaped.txt", "/tmp/asgard-escaped-absolute.txt"] {
        assert!(!Path::new(place).exists(), "{place} was written");
    }
    let after = everything(fetching.household.folder(), &fetching.cache());
    let new: Vec<&PathBuf> = after
        .iter()
        .filter(|p| !before.contains(p))
        .filter(|p| p.to_string_lossy().contains("escaped") || p.to_string_lossy().contains("txt"))
        .filter(|p| !p.ends_with("serve.txt"))
        .collect();
    assert_eq!(new, Vec::<&PathBuf>::new(), "it wrote outside of the cache");
    // Links within the cache lead into its blobs.
    walk(&fetching.cache(), &mut |path| {
        if let Ok(to) = fs::read_link(path) {
            let real = path.parent().unwrap().join(to).canonicalize().unwrap();
            assert!(
                real.starts_with(fetching.cache().canonicalize().unwrap()),
                "{} leads to {}",
                path.display(),
                real.display()
            );
        }
    });
    fetching.ask("model_info", json!({ "repo": "mallory/x" })).await.ok();
    // It is still able to do its work.
    fetching.pull(MODEL).await;
    fetching.done(MODEL).await;
}

/// Every file below a folder but those of the cache.
fn everything(folder: &Path, but: &Path) -> Vec<PathBuf> {
    let mut all = Vec::new();
    walk(folder, &mut |path| {
        if !path.starts_with(but) {
            all.push(path.to_path_buf());
        }
    });
    all
}

#[tokio::test]
async fn a_token_opens_what_its_licence_allows_and_is_seen_nowhere() {
    let gated = "meta-llama/Llama-3.1-8B-Instruct";
    let hub = hub();
    let fetching = Fetching::new(&hub).await;
    let pull = async || fetching.ask("pull", json!({ "repo": gated, "files": [] })).await;
    let problem = async |remedy: Remedy| {
        pull().await.unwrap();
        let is = |d: &Download| d.problem.as_ref().is_some_and(|p| p.remedy == Some(remedy));
        fetching.until(gated, "refused for that reason", is).await.problem.unwrap()
    };
    problem(Remedy::AddToken).await;
    let account = fetching.ask("set_hub_token", json!({ "token": TOKEN })).await.unwrap();
    assert_eq!(account["user"], "rehearsal");
    let wrong = fetching.ask("set_hub_token", json!({ "token": "hf_wrongwrong" })).await;
    assert!(wrong.is_err() || wrong.unwrap()["problem"].is_object());
    let licence = problem(Remedy::AcceptLicence).await;
    assert!(licence.page.is_some_and(|p| p.contains(gated)));
    hub.accept(TOKEN, gated);
    pull().await.unwrap();
    fetching.done(gated).await;
    fetching.judged(&hub, &repo_of(gated)).await;
    for entry in hub.log() {
        assert!(entry.host == "hub" || !entry.authorization, "{entry:?}");
    }
    // In no file but the one of mode 0600, in no process' words or environment.
    let mut with = Vec::new();
    walk(fetching.household.folder(), &mut |path| {
        if fs::read(path).is_ok_and(|bytes| contains(&bytes, TOKEN)) {
            with.push(path.to_path_buf());
        }
    });
    for path in &with {
        use std::os::unix::fs::PermissionsExt;
        let mode = fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert!(mode == 0o600 && !path.starts_with(fetching.household.path("state")), "{}", path.display());
    }
    assert!(with.len() <= 1, "{with:?}");
    for pid in fetching.household.processes() {
        for what in ["environ", "cmdline"] {
            let bytes = fs::read(format!("/proc/{pid}/{what}")).unwrap_or_default();
            assert!(!contains(&bytes, TOKEN), "the {what} of {pid}");
        }
    }
}

fn contains(bytes: &[u8], text: &str) -> bool {
    bytes.windows(text.len()).any(|w| w == text.as_bytes())
}

#[tokio::test]
async fn a_commit_that_moves_on_the_way_does_not_mix() {
    let repo = two_parts("big/moved", 30 * MB);
    let hub = slow_hub(&repo, 4 * MB);
    let fetching = Fetching::new(&hub).await;
    let pulled = fetching.pull(&repo.id).await;
    assert_eq!(pulled.commit.as_deref(), Some(repo.head().unwrap().id.as_str()));
    served(&hub, 5 * MB).await;
    let other = two_parts(&repo.id, 31 * MB);
    hub.push(&repo.id, other.head().unwrap().files.clone());
    let done = fetching.done(&repo.id).await;
    assert_eq!(done.commit, pulled.commit, "it is what it was pinned to");
    fetching.judged(&hub, &repo).await;
    // And the next pull is the new commit, beside the old one.
    fetching.ask("forget_download", json!({ "id": done.id })).await.unwrap();
    let next = fetching.pull(&repo.id).await;
    assert_ne!(next.commit, pulled.commit);
    fetching.done(&repo.id).await;
    let known: Vec<String> = fetching.installed(&repo.id).await.into_iter().map(|m| m.commit).collect();
    assert_eq!(known.len(), 2, "{known:?}");
}
