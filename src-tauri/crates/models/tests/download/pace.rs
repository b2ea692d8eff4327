//! How fast: several connections where they help, and a limit that is kept.

use std::time::{Duration, Instant};

use models::download::{Progress, Tuning};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::play::{Play, seeded};

#[tokio::test(flavor = "multi_thread")]
async fn connections_are_added_where_each_brings_its_own() {
    let play = Play::of(&[("w.safetensors", seeded(24_000_000))], |hub| rehearsal::hub::Hub {
        pace: Some(1_000_000),
        ..hub
    });
    let play =
        Play { tuning: Tuning { first_connections: 2, most_connections: 12, ..play.tuning.clone() }, ..play };
    let progress = watch::Sender::new(Progress::default());
    let mut seen = progress.subscribe();
    let most = async {
        let mut most = 0;
        while seen.changed().await.is_ok() {
            most = most.max(seen.borrow().connections);
        }
        most
    };
    let (fetched, most) = tokio::join!(play.fetch_until(CancellationToken::new(), progress), most);
    fetched.unwrap();
    assert!(most > 4, "{most}");
    play.assert_complete();
    play.assert_served_once();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_limit_is_kept_and_can_be_lifted() {
    let play = Play::large(6_000_000);
    play.rate.set(Some(1_500_000));
    let progress = watch::Sender::new(Progress::default());
    let mut seen = progress.subscribe();
    let begun = Instant::now();
    let lift = async {
        seen.wait_for(|p| p.done_bytes >= 3_000_000).await.unwrap();
        let took = begun.elapsed();
        play.rate.set(None);
        took
    };
    let (fetched, took) = tokio::join!(play.fetch_until(CancellationToken::new(), progress), lift);
    fetched.unwrap();
    play.assert_complete();
    // What a socket held already may have come at once.
    assert!(took >= Duration::from_millis(1000), "{took:?}");
    assert!(begun.elapsed() < Duration::from_secs(4), "{:?}", begun.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn speed_and_time_left_are_told() {
    let play = Play::of(&[("w.safetensors", seeded(8_000_000))], |hub| rehearsal::hub::Hub {
        pace: Some(500_000),
        ..hub
    });
    let progress = watch::Sender::new(Progress::default());
    let mut seen = progress.subscribe();
    let told = async {
        let told = seen
            .wait_for(|p| p.seconds_left.is_some() && p.files[0].seconds_left.is_some())
            .await
            .unwrap()
            .clone();
        play.server.pace(None);
        told
    };
    let (fetched, told) = tokio::join!(play.fetch_until(CancellationToken::new(), progress), told);
    fetched.unwrap();
    let speed = told.bytes_per_second.unwrap();
    assert!((500_000.0..8_000_000.0).contains(&speed), "{speed}");
    assert!(told.connections > 0 && told.files[0].connections == told.connections);
    assert!(told.verified_bytes <= told.done_bytes && told.done_bytes <= told.fetched_bytes);
}
