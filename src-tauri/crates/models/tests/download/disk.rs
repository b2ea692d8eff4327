//! Disks that are full, or cannot be written to.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use models::download::{FetchError, Progress};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::play::{Play, seeded};

/// A small disk of its own; none where this user may not make one.
struct Disk(PathBuf);

impl Disk {
    fn new(at: &Path, options: &str) -> Option<Self> {
        fs::create_dir_all(at).unwrap();
        let done = Command::new("mount").args(["-t", "tmpfs", "-o", options, "tmpfs"]).arg(at).status();
        if !done.is_ok_and(|status| status.success()) {
            eprintln!("skipped: no disk can be mounted here");
            return None;
        }
        Some(Self(at.to_path_buf()))
    }

    fn again(&self, options: &str) {
        assert!(Command::new("mount").args(["-o", options]).arg(&self.0).status().unwrap().success());
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_does_not_fit_is_refused_before_the_first_byte() {
    let play = Play::large(6_000_000);
    let Some(disk) = Disk::new(play.cache.path(), "size=4m") else { return };
    let error = play.fetch().await.unwrap_err();
    assert!(
        matches!(error, FetchError::DiskFull { needed, free } if needed >= 6_000_000 && free <= 4 << 20),
        "{error}"
    );
    assert_eq!(play.server.log(), []);
    disk.again("remount,size=16m");
    play.fetch().await.unwrap();
    play.assert_complete();
}

/// Nothing goes on arriving for a disk that takes nothing: all connections end with the first write that fails.
#[tokio::test(flavor = "multi_thread")]
async fn a_write_that_fails_ends_all_connections() {
    let mut play = Play::of(&[("w.safetensors", seeded(12_000_000))], |hub| rehearsal::hub::Hub {
        pace: Some(250_000),
        ..hub
    });
    // So that nobody looks at the disk before a write fails.
    play.tuning.flush = Duration::from_secs(120);
    let Some(disk) = Disk::new(play.cache.path(), "size=16m") else { return };
    let progress = watch::Sender::new(Progress::default());
    let mut seen = progress.subscribe();
    let fill = async {
        seen.wait_for(|p| p.done_bytes > 1_000_000).await.unwrap();
        let _ = fs::write(play.cache.path().join("other"), vec![1; 16 << 20]);
    };
    let (fetched, ()) = tokio::join!(play.fetch_until(CancellationToken::new(), progress), fill);
    assert!(matches!(fetched.unwrap_err(), FetchError::DiskFull { .. }));
    fs::remove_file(play.cache.path().join("other")).unwrap();
    play.fetch().await.unwrap();
    play.assert_complete();
    play.assert_served_once();
    drop(disk);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_fills_up_on_the_way_keeps_what_has_landed() {
    let play = Play::of(&[("w.safetensors", seeded(12_000_000))], |hub| rehearsal::hub::Hub {
        pace: Some(500_000),
        ..hub
    });
    let Some(disk) = Disk::new(play.cache.path(), "size=16m") else { return };
    let progress = watch::Sender::new(Progress::default());
    let mut seen = progress.subscribe();
    let fill = async {
        seen.wait_for(|p| p.done_bytes > 2_000_000).await.unwrap();
        // Another program takes the room.
        let taken = vec![1; 9_000_000];
        let _ = fs::write(play.cache.path().join("other"), taken);
    };
    let (fetched, ()) = tokio::join!(play.fetch_until(CancellationToken::new(), progress), fill);
    let error = fetched.unwrap_err();
    assert!(matches!(error, FetchError::DiskFull { needed, free } if free < needed), "{error}");
    assert!(error.next().contains("kept"));
    play.assert_nothing_named();
    fs::remove_file(play.cache.path().join("other")).unwrap();
    play.fetch().await.unwrap();
    play.assert_complete();
    play.assert_served_once();
    drop(disk);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cache_that_cannot_be_written_to_is_told() {
    let play = Play::large(2_000_000);
    let Some(disk) = Disk::new(play.cache.path(), "size=16m") else { return };
    disk.again("remount,ro");
    let error = play.fetch().await.unwrap_err();
    assert!(
        matches!(&error, FetchError::NotWritable { path, .. } if play.cache.path().starts_with(path)
        || path.starts_with(play.cache.path())),
        "{error}"
    );
    assert_eq!(play.server.log(), []);
    disk.again("remount,rw");
    play.fetch().await.unwrap();
    play.assert_complete();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_where_a_folder_belongs_is_told() {
    let play = Play::large(2_000_000);
    fs::write(play.folder(), "x").unwrap();
    let error = play.fetch().await.unwrap_err();
    assert!(matches!(error, FetchError::Io { .. }), "{error}");
    assert!(!error.next().is_empty());
}
