//! The hash keeps up with what lands: no pass over everything follows the last byte, and none a resume.

use std::fs;
use std::os::unix::fs::FileExt;
use std::time::Duration;

use domain::download::journal;
use models::download::{FetchError, Progress};
use rehearsal::hub::Trouble;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::play::Play;

const SIZE: u64 = 24_000_001;
/// The Hub falls silent so far before the end.
const MISSING: u64 = 1_000;

/// All is hashed but what the Hub holds back; then it is paused.
async fn almost(play: &Play) {
    let progress = watch::Sender::new(Progress::default());
    let mut seen = progress.subscribe();
    let cancel = CancellationToken::new();
    let watch = async {
        let seen = seen.wait_for(|p| p.verified_bytes >= SIZE - MISSING).await.unwrap();
        assert!(seen.done_bytes < SIZE && seen.files_done == 0, "{seen:?}");
        drop(seen);
        cancel.cancel();
    };
    let (fetched, ()) = tokio::join!(play.fetch_until(cancel.clone(), progress), watch);
    assert_eq!(fetched.unwrap_err(), FetchError::Cancelled);
}

fn silent_near_the_end() -> Play {
    let mut play = Play::large(SIZE);
    // Longer than the test: the silence must not be mended before it was looked at.
    play.tuning.stall = Duration::from_secs(120);
    play.server.trouble(Trouble::Stall { at: SIZE - MISSING }.times(1));
    play
}

#[tokio::test(flavor = "multi_thread")]
async fn when_the_last_byte_lands_the_rest_is_hashed() {
    let play = silent_near_the_end();
    almost(&play).await;
    let hash = play.wanted.files[0].hash.hex();
    let own = play.folder().join(".asgard");
    let text = fs::read(own.join(format!("{hash}.journal"))).unwrap();
    let hashed = journal::read(&text).unwrap().written.hashed.unwrap();
    assert!(hashed.bytes > SIZE - MISSING - 64, "only {} bytes are written down as hashed", hashed.bytes);
    let fetched = play.fetch().await.unwrap();
    assert_eq!(fetched.fetched_bytes, MISSING);
    play.assert_complete();
}

/// What was hashed is not read again: a byte of it that somebody changes on the disk meanwhile is not even seen. (To see
/// such a thing is what verifying an installed model is for.)
#[tokio::test(flavor = "multi_thread")]
async fn a_resume_hashes_what_lies_behind_the_last_checkpoint_alone() {
    let play = silent_near_the_end();
    almost(&play).await;
    let hash = play.wanted.files[0].hash.hex();
    let part = play.folder().join(".asgard").join(format!("{hash}.part"));
    fs::OpenOptions::new().write(true).open(part).unwrap().write_all_at(b"!", 10).unwrap();
    let fetched = play.fetch().await.unwrap();
    assert_eq!(fetched.fetched_bytes, MISSING);
    let blob = fs::read(play.folder().join("blobs").join(hash)).unwrap();
    let mut right = play.contents[0].1.to_vec();
    right[10] = b'!';
    assert!(blob == right);
}
