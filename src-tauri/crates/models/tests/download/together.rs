//! Several at once on the same file.

use std::fs;

use models::download::{Progress, State};
use rustix::fs::{FlockOperation, flock};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::play::{Play, seeded};

#[tokio::test(flavor = "multi_thread")]
async fn two_at_once_fetch_each_byte_once() {
    let play = Play::of(
        &[
            ("w.safetensors", seeded(8_000_000)),
            ("v.safetensors", seeded(4_000_000)),
            ("c.json", seeded(5000)),
        ],
        |hub| rehearsal::hub::Hub { pace: Some(4_000_000), ..hub },
    );
    let (one, two) = tokio::join!(play.fetch(), play.fetch());
    let (one, two) = (one.unwrap(), two.unwrap());
    play.assert_complete();
    play.assert_served_once();
    assert_eq!(one.fetched_bytes + two.fetched_bytes, play.size());
}

/// As `huggingface_hub` does it: its lock is held while it downloads, and the blob is there when it lets go.
#[tokio::test(flavor = "multi_thread")]
async fn the_lock_of_others_is_waited_for() {
    let play = Play::large(2_000_000);
    let hash = play.wanted.files[0].hash.hex().to_owned();
    let locks = play.cache.path().join(".locks/models--org--model");
    fs::create_dir_all(&locks).unwrap();
    let lock = fs::File::create(locks.join(format!("{hash}.lock"))).unwrap();
    flock(&lock, FlockOperation::NonBlockingLockExclusive).unwrap();
    let progress = watch::Sender::new(Progress::default());
    let mut seen = progress.subscribe();
    let others = async {
        let waiting = seen.wait_for(|p| matches!(p.state, State::Waiting { .. })).await.unwrap().clone();
        assert!(
            matches!(waiting.state, State::Waiting { why, .. } if why == "Another program is fetching w.safetensors.")
        );
        assert_eq!(play.server.log(), []);
        fs::write(play.folder().join("blobs").join(&hash), seeded(2_000_000).to_vec()).unwrap();
        drop(lock);
    };
    let (fetched, ()) = tokio::join!(play.fetch_until(CancellationToken::new(), progress), others);
    assert_eq!(fetched.unwrap().fetched_bytes, 0);
    play.assert_complete();
}

#[tokio::test(flavor = "multi_thread")]
async fn our_lock_is_held_while_we_fetch() {
    let play = Play::of(&[("w.safetensors", seeded(4_000_000))], |hub| rehearsal::hub::Hub {
        pace: Some(1_000_000),
        ..hub
    });
    let progress = watch::Sender::new(Progress::default());
    let mut seen = progress.subscribe();
    let others = async {
        seen.wait_for(|p| p.done_bytes > 0).await.unwrap();
        let hash = play.wanted.files[0].hash.hex();
        let path = play.cache.path().join(format!(".locks/models--org--model/{hash}.lock"));
        let lock = fs::File::open(path).unwrap();
        assert!(flock(&lock, FlockOperation::NonBlockingLockExclusive).is_err());
        play.server.pace(None);
    };
    let (fetched, ()) = tokio::join!(play.fetch_until(CancellationToken::new(), progress), others);
    fetched.unwrap();
    play.assert_complete();
}
