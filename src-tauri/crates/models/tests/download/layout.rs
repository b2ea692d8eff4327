//! What lies where at the end, and what is left alone.

use std::fs;
use std::os::unix::fs::symlink;

use models::download::{FetchError, Progress, State, Wanted};
use rehearsal::hub::Content;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::play::{Play, files_below, seeded};

#[tokio::test(flavor = "multi_thread")]
async fn a_repository_arrives_in_the_standard_layout() {
    let play = Play::new(&[
        ("config.json", Content::text("{}")),
        ("empty.txt", Content::text("")),
        ("one.safetensors", seeded(5_000_000)),
        ("deep/er/two.safetensors", seeded(65_537)),
        ("deep/er/tokenizer.model", seeded(12)),
        ("middle.json", seeded(300_000)),
    ]);
    let progress = watch::Sender::new(Progress::default());
    let seen = progress.subscribe();
    let fetched = play.fetch_until(CancellationToken::new(), progress).await.unwrap();
    play.assert_complete();
    play.assert_served_once();
    assert_eq!(fetched.snapshot, play.folder().join("snapshots").join(&play.wanted.commit));
    assert_eq!((fetched.fetched_bytes, fetched.files_there), (play.size(), 0));
    let last = seen.borrow().clone();
    assert_eq!((last.state, last.files_done, last.connections), (State::Done, 6, 0));
    assert_eq!([last.done_bytes, last.verified_bytes, last.total_bytes], [play.size(); 3]);
    assert!(last.files.iter().all(|f| f.done && f.done_bytes == f.total_bytes));
    let locks = files_below(&play.cache.path().join(".locks/models--org--model"));
    assert!(locks.iter().all(|l| l.extension().is_some_and(|e| e == "lock")));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_there_is_not_fetched_again() {
    let play = Play::usual();
    play.fetch().await.unwrap();
    play.server.clear_log();
    let fetched = play.fetch().await.unwrap();
    assert_eq!((fetched.fetched_bytes, fetched.files_there), (0, 3));
    assert_eq!(play.server.log(), []);
    // A link that was lost, or leads elsewhere, is made again, without the network.
    let snapshot = play.folder().join("snapshots").join(&play.wanted.commit);
    fs::remove_file(snapshot.join("w.safetensors")).unwrap();
    fs::remove_file(snapshot.join("config.json")).unwrap();
    symlink("/etc/hostname", snapshot.join("config.json")).unwrap();
    play.fetch().await.unwrap();
    play.assert_complete();
    assert_eq!(play.server.log(), []);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_blob_that_others_left_damaged_is_fetched() {
    let play = Play::usual();
    play.fetch().await.unwrap();
    play.server.clear_log();
    for file in &play.wanted.files {
        let blob = play.folder().join("blobs").join(file.hash.hex());
        let bytes = fs::read(&blob).unwrap();
        // A small one is hashed; a large one is seen by its size.
        let bytes = if file.size < 1000 { vec![b'?'; bytes.len()] } else { bytes[1..].to_vec() };
        fs::write(&blob, bytes).unwrap();
    }
    play.fetch().await.unwrap();
    play.assert_complete();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_content_under_two_names_is_fetched_once() {
    let play = Play::new(&[("a.safetensors", seeded(2_000_000)), ("b/c.safetensors", seeded(2_000_000))]);
    let fetched = play.fetch().await.unwrap();
    assert_eq!(fetched.fetched_bytes, 2_000_000);
    play.assert_complete();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_has_no_name_of_its_own() {
    let mut play = Play::usual();
    play.wanted.revision = play.wanted.commit.clone();
    play.fetch().await.unwrap();
    assert_eq!(files_below(&play.folder().join("refs")), Vec::<std::path::PathBuf>::new());
    play.wanted.revision = "refs/pr/1".to_owned();
    play.fetch().await.unwrap();
    assert_eq!(fs::read_to_string(play.folder().join("refs/refs/pr/1")).unwrap(), play.wanted.commit);
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_hostile_is_asked_for_or_written() {
    let play = Play::usual();
    for path in ["../../evil", "/tmp/evil", "a/../../../evil", "a\u{0}b", "a\nb", "..", &"n".repeat(300)] {
        let mut files = play.wanted.files.clone();
        files[0].path = path.to_owned();
        let wanted = Wanted { files, ..play.wanted.clone() };
        let play = Play { wanted, ..Play::usual() };
        let error = play.fetch().await.unwrap_err();
        assert!(matches!(error, FetchError::HostilePath { .. }), "{path:?}: {error}");
        assert_eq!(files_below(play.cache.path()), Vec::<std::path::PathBuf>::new());
        assert_eq!(play.server.log(), []);
    }
    for repo in ["../org", "org", "org/..", "a/b/c"] {
        let wanted = Wanted { repo: repo.to_owned(), ..play.wanted.clone() };
        let play = Play { wanted, ..Play::usual() };
        // A name without an owner is one that the Hub has had.
        if repo != "org" {
            assert!(matches!(play.fetch().await, Err(FetchError::HostilePath { .. })), "{repo}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_only_xet_has_is_refused_before_anything() {
    let mut play = Play::usual();
    play.wanted.files[1].size = 50_000_000_001;
    let error = play.fetch().await.unwrap_err();
    assert!(matches!(error, FetchError::TooLarge { .. }), "{error}");
    assert_eq!(play.server.log(), []);
    assert!(error.next().contains("split"));
}

#[tokio::test(flavor = "multi_thread")]
async fn two_thousand_small_files() {
    let contents: Vec<(String, Content)> = (0..2000)
        .map(|n| (format!("d{}/f{n}.json", n % 7), Content::text(format!("{{\"n\": {n}}}"))))
        .collect();
    let contents: Vec<(&str, Content)> = contents.iter().map(|(p, c)| (p.as_str(), c.clone())).collect();
    let play = Play::of(&contents, |hub| rehearsal::hub::Hub { redirects_small: true, ..hub });
    play.fetch().await.unwrap();
    play.assert_complete();
    play.assert_served_once();
}
