//! Ends in the middle: paused, killed, a power cut.

use std::fs;
use std::time::Duration;

use models::download::{FetchError, Progress, Wanted, discard, partials, sweep};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::play::{Play, files_below, seeded};

const SIZE: u64 = 24_000_001;

fn paced(bytes_per_second: u64) -> Play {
    let play = Play::of(&[("w.safetensors", seeded(SIZE))], |hub| rehearsal::hub::Hub {
        pace: Some(bytes_per_second),
        ..hub
    });
    Play {
        tuning: models::download::Tuning { flush: Duration::from_secs(60), ..play.tuning.clone() },
        ..play
    }
}

/// Cancelled when so much has landed.
async fn pause_at(play: &Play, enough: u64) {
    let progress = watch::Sender::new(Progress::default());
    let mut seen = progress.subscribe();
    let cancel = CancellationToken::new();
    let pause = async {
        seen.wait_for(|p| p.done_bytes >= enough).await.unwrap();
        cancel.cancel();
    };
    let (fetched, ()) = tokio::join!(play.fetch_until(cancel.clone(), progress), pause);
    assert_eq!(fetched.unwrap_err(), FetchError::Cancelled);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pause_costs_nothing() {
    let play = paced(1_000_000);
    for enough in [2_000_000, 4_000_000] {
        pause_at(&play, enough).await;
        let [partial] = &partials(play.cache.path())[..] else { panic!("one partial file") };
        assert_eq!(
            (partial.repo.as_str(), partial.hash.as_str()),
            ("org/model", play.wanted.files[0].hash.hex())
        );
        assert!(partial.bytes >= enough, "{}", partial.bytes);
    }
    assert!(finish(&play).await.fetched_bytes <= SIZE - 4_000_000);
    play.assert_complete();
    play.assert_served_once();
}

/// Fetches the rest, without a pace once the Hub has seen that the connections of an earlier life are gone: it counts what
/// it writes to them too.
async fn finish(play: &Play) -> models::download::Fetched {
    let progress = watch::Sender::new(Progress::default());
    let mut seen = progress.subscribe();
    let lift = async {
        let _ = seen.wait_for(|p| p.fetched_bytes > 250_000).await;
        play.server.pace(None);
    };
    let (fetched, ()) = tokio::join!(play.fetch_until(CancellationToken::new(), progress), lift);
    fetched.unwrap()
}

/// The future is dropped at some byte; what has landed by then is not fetched again. Ten times.
#[tokio::test(flavor = "multi_thread")]
async fn killed_at_any_byte() {
    let mut seed = 0x2545_f491_4f6c_dd1d_u64;
    for _ in 0..10 {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        // So slowly that little is on its way at any moment: what the Hub has sent and nobody has read yet is lost.
        let play = paced(800_000);
        assert!(play.fetch_and_die(seed % 3_000_000).await);
        finish(&play).await;
        play.assert_complete();
        play.assert_served_once();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kill_between_small_files_keeps_those_that_are_there() {
    let contents: Vec<(String, rehearsal::hub::Content)> =
        (0..60).map(|n| (format!("f{n}.json"), seeded(20_000 + n))).collect();
    let contents: Vec<(&str, rehearsal::hub::Content)> =
        contents.iter().map(|(p, c)| (p.as_str(), c.clone())).collect();
    let play = Play::of(&contents, |hub| rehearsal::hub::Hub { pace: Some(400_000), ..hub });
    for enough in [300_000, 300_000] {
        assert!(play.fetch_and_die(enough).await);
    }
    play.server.pace(None);
    let fetched = play.fetch().await.unwrap();
    assert!(fetched.files_there >= 20, "{}", fetched.files_there);
    play.assert_complete();
}

/// What was only in the kernel's hands is gone after a power cut, whatever the journal says of it.
#[tokio::test(flavor = "multi_thread")]
async fn after_a_power_cut_only_what_was_flushed_is_believed() {
    let play = paced(6_000_000);
    pause_at(&play, 6_000_000).await;
    // The pause has flushed. More lands, and is killed before it is flushed.
    assert!(play.fetch_and_die(6_000_000).await);
    let own = play.folder().join(".asgard");
    let (part, journal) = (
        own.join(format!("{}.part", play.wanted.files[0].hash.hex())),
        own.join(format!("{}.journal", play.wanted.files[0].hash.hex())),
    );
    wait_until_free(&play).await;
    let text = fs::read_to_string(&journal).unwrap();
    let read = domain::download::journal::read(text.as_bytes()).unwrap();
    let (written, flushed) = (read.written.landed.clone(), read.flushed.landed.clone());
    assert!(flushed.bytes() >= 6_000_000 && written.bytes() > flushed.bytes(), "{text}");
    // Another kernel, and a disk that has lost what was not flushed.
    let mut changed = String::new();
    domain::download::journal::Line::Header(domain::download::journal::Header {
        boot: "another".to_owned(),
        ..read.header.clone()
    })
    .write(&mut changed);
    changed.push_str(text.split_once('\n').unwrap().1);
    fs::write(&journal, changed).unwrap();
    let bytes = fs::read(&part).unwrap();
    let mut lost = vec![0; bytes.len()];
    for span in flushed.spans() {
        let span = usize::try_from(span.start).unwrap()..usize::try_from(span.end).unwrap();
        lost[span.clone()].copy_from_slice(&bytes[span]);
    }
    write_in_place(&part, &lost);
    play.server.pace(None);
    let fetched = play.fetch().await.unwrap();
    play.assert_complete();
    assert_eq!(fetched.fetched_bytes, SIZE - flushed.bytes());
}

/// Whatever is done to what lies there: right bytes at the end, at the price of fetching more.
#[tokio::test(flavor = "multi_thread")]
async fn damage_to_what_lies_there_costs_time_and_never_a_wrong_byte() {
    type Harm = fn(&std::path::Path, &std::path::Path);
    let harms: [(&str, Harm); 7] = [
        ("a journal cut short", |_, journal| {
            let text = fs::read(journal).unwrap();
            fs::write(journal, &text[..text.len() / 2]).unwrap();
        }),
        ("no journal", |_, journal| fs::remove_file(journal).unwrap()),
        ("a journal of nonsense", |_, journal| fs::write(journal, [0xff; 5000]).unwrap()),
        ("no part", |part, _| fs::remove_file(part).unwrap()),
        ("a part cut short", |part, _| {
            fs::OpenOptions::new().write(true).open(part).unwrap().set_len(3_000_000).unwrap();
        }),
        ("a part of other bytes", |part, _| write_in_place(part, &vec![7; usize::try_from(SIZE).unwrap()])),
        ("a copy of the part", |part, _| {
            let bytes = fs::read(part).unwrap();
            fs::remove_file(part).unwrap();
            fs::write(part, bytes).unwrap();
        }),
    ];
    for (name, harm) in harms {
        let play = paced(8_000_000);
        pause_at(&play, 8_000_000).await;
        let own = play.folder().join(".asgard");
        let hash = play.wanted.files[0].hash.hex();
        harm(&own.join(format!("{hash}.part")), &own.join(format!("{hash}.journal")));
        play.server.pace(None);
        play.fetch().await.unwrap_or_else(|e| panic!("{name}: {e}"));
        play.assert_complete();
    }
}

/// A state of the hash that is wrong over bytes that are right: they are hashed again, and not fetched again.
#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_state_of_the_hash_costs_hashing_alone() {
    let play = paced(8_000_000);
    pause_at(&play, 12_000_000).await;
    let journal = play.folder().join(".asgard").join(format!("{}.journal", play.wanted.files[0].hash.hex()));
    let mut text = fs::read_to_string(&journal).unwrap();
    let wrong = domain::download::journal::Hashed { bytes: 64, state: "ab".repeat(32) };
    domain::download::journal::Line::Hashed(wrong).write(&mut text);
    fs::write(&journal, text).unwrap();
    play.server.pace(None);
    let fetched = play.fetch().await.unwrap();
    assert!(fetched.fetched_bytes <= SIZE - 12_000_000);
    play.assert_complete();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_cancelled_download_left_is_deleted() {
    let play = paced(6_000_000);
    pause_at(&play, 4_000_000).await;
    let hashes: Vec<String> = play.wanted.files.iter().map(|f| f.hash.hex().to_owned()).collect();
    // Another's is not touched, nor is a name that is none.
    let theirs = play.folder().join("blobs/0123.incomplete");
    fs::write(&theirs, "x").unwrap();
    assert_eq!(discard(play.cache.path(), "org/other", &hashes).unwrap(), 0);
    assert_eq!(discard(play.cache.path(), "org/model", &["../../blobs/0123".to_owned()]).unwrap(), 0);
    let freed = discard(play.cache.path(), "org/model", &hashes).unwrap();
    assert!(freed >= 4_000_000, "{freed}");
    assert_eq!(partials(play.cache.path()), []);
    assert!(theirs.exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn old_partial_files_are_swept_and_young_ones_are_not() {
    let play = paced(6_000_000);
    pause_at(&play, 4_000_000).await;
    let month = Duration::from_secs(30 * 86_400);
    let used = partials(play.cache.path())[0].last_used;
    assert_eq!(sweep(play.cache.path(), month, used + month / 2).files, 0);
    // A clock that jumped back makes nothing old.
    assert_eq!(sweep(play.cache.path(), month, used - 2 * month).files, 0);
    let swept = sweep(play.cache.path(), month, used + 2 * month);
    assert!(swept.files == 1 && swept.bytes >= 4_000_000, "{swept:?}");
    assert_eq!(partials(play.cache.path()), []);
    play.server.pace(None);
    play.fetch().await.unwrap();
    play.assert_complete();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sweep_leaves_a_running_download_alone() {
    let play = paced(3_000_000);
    let progress = watch::Sender::new(Progress::default());
    let mut seen = progress.subscribe();
    let later = std::time::SystemTime::now() + Duration::from_secs(400 * 86_400);
    let sweeps = async {
        seen.wait_for(|p| p.done_bytes > 1_000_000).await.unwrap();
        assert_eq!(sweep(play.cache.path(), Duration::ZERO, later).files, 0);
        play.server.pace(None);
    };
    let (fetched, ()) = tokio::join!(play.fetch_until(CancellationToken::new(), progress), sweeps);
    fetched.unwrap();
    play.assert_complete();
}

/// Named just before a power cut, and not on the disk yet: found by the list, and fetched again.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_named_and_lost_by_a_power_cut_is_found() {
    let play = Play::usual();
    play.fetch().await.unwrap();
    let own = play.folder().join(".asgard");
    let mut list = "another-kernel/1\n".to_owned();
    for file in &play.wanted.files {
        list = format!("{list}{} {}\n", file.hash.hex(), file.size);
    }
    list.push_str("../../../etc/passwd 5\nnonsense\n");
    fs::write(own.join("1-0.settle"), list).unwrap();
    let large = play.wanted.files.iter().find(|f| f.size > 1_000_000).unwrap();
    let blob = play.folder().join("blobs").join(large.hash.hex());
    let size = fs::metadata(&blob).unwrap().len();
    fs::write(&blob, vec![0; usize::try_from(size).unwrap()]).unwrap();
    let fetched = play.fetch().await.unwrap();
    assert_eq!((fetched.fetched_bytes, fetched.files_there), (large.size, 2));
    play.assert_complete();
}

#[tokio::test(flavor = "multi_thread")]
async fn other_downloads_of_the_repository_use_what_landed() {
    let play = paced(6_000_000);
    pause_at(&play, 8_000_000).await;
    // Another commit with the same file, say.
    let wanted = Wanted { revision: "v2".to_owned(), ..play.wanted.clone() };
    let play = Play { wanted, ..play };
    play.server.pace(None);
    let fetched = play.fetch().await.unwrap();
    assert!(fetched.fetched_bytes <= SIZE - 8_000_000);
}

/// The threads of a download that was dropped may hold its lock for a moment.
async fn wait_until_free(play: &Play) {
    let locks = files_below(&play.cache.path().join(".locks"));
    let free = || {
        locks.iter().all(|lock| {
            let file = fs::File::open(lock).unwrap();
            rustix::fs::flock(&file, rustix::fs::FlockOperation::NonBlockingLockExclusive).is_ok()
        })
    };
    let until = tokio::time::Instant::now() + Duration::from_secs(10);
    while !free() {
        assert!(tokio::time::Instant::now() < until, "a lock is never let go");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

fn write_in_place(path: &std::path::Path, bytes: &[u8]) {
    use std::os::unix::fs::FileExt;
    fs::OpenOptions::new().write(true).open(path).unwrap().write_all_at(bytes, 0).unwrap();
}
