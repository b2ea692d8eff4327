//! What a Hub refuses, where a token goes, and addresses that get old.

use std::time::{Duration, Instant};

use models::download::{FetchError, Progress, State};
use models::hub::HubError;
use rehearsal::hub::{Access, Place, Trouble};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::play::{Play, seeded};

#[tokio::test(flavor = "multi_thread")]
async fn each_refusal_is_told_as_it_is_and_not_asked_again() {
    for (trouble, is_right) in [
        (Trouble::Unauthorized, (|e| matches!(e, HubError::BadToken)) as fn(&HubError) -> bool),
        (Trouble::Gated, |e| matches!(e, HubError::LicenceNotAccepted { repo, .. } if repo == "org/model")),
        (Trouble::NoAccess, |e| matches!(e, HubError::NoAccess { .. })),
        (Trouble::Missing, |e| matches!(e, HubError::NotFound { .. })),
    ] {
        let play = Play::large(3_000_000);
        play.server.trouble(trouble.clone().on(Place::Resolve));
        match play.fetch().await.unwrap_err() {
            FetchError::Hub(e) if is_right(&e) => {}
            other => panic!("{trouble:?}: {other}"),
        }
        assert_eq!(play.server.log().len(), 1, "{trouble:?}");
        play.assert_nothing_named();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gated_repository_opens_with_its_licence() {
    let play = Play::of(&[("w.safetensors", seeded(2_000_000))], |mut hub| {
        hub.repos[0].access = Access::Auto;
        hub
    });
    assert!(matches!(play.fetch().await, Err(FetchError::Hub(HubError::LicenceNotAccepted { .. }))));
    play.server.accept(super::play::TOKEN, super::play::REPO);
    play.fetch().await.unwrap();
    play.assert_complete();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_token_goes_to_the_hub_alone() {
    let play = Play::usual();
    play.fetch().await.unwrap();
    let log = play.server.log();
    assert!(log.iter().any(|e| e.host == "cdn"));
    assert!(log.iter().filter(|e| e.host == "cdn").all(|e| !e.authorization));
    assert!(log.iter().filter(|e| e.host == "hub").all(|e| e.authorization));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_is_asked_for_once_and_again_when_it_is_old() {
    let play = Play::large(12_000_000);
    play.fetch().await.unwrap();
    assert_eq!(play.server.log().iter().filter(|e| e.host == "hub").count(), 1);
    let play = Play::of(&[("w.safetensors", seeded(12_000_000))], |hub| rehearsal::hub::Hub {
        pace: Some(3_000_000),
        ..hub
    });
    let progress = watch::Sender::new(Progress::default());
    let mut seen = progress.subscribe();
    let expire = async {
        seen.wait_for(|p| p.fetched_bytes > 3_000_000).await.unwrap();
        play.server.expire_addresses();
        play.server.pace(None);
    };
    let (fetched, ()) = tokio::join!(play.fetch_until(CancellationToken::new(), progress), expire);
    fetched.unwrap();
    play.assert_complete();
    play.assert_served_once();
    let log = play.server.log();
    assert!(log.iter().any(|e| e.host == "cdn" && e.status == 403), "no address was too old");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_takes_none_of_its_addresses_is_an_error() {
    let play = Play::large(3_000_000);
    play.server.trouble(Trouble::Expired.on(Place::Cdn));
    assert!(matches!(play.fetch().await, Err(FetchError::Hub(HubError::Strange { .. }))));
    assert!(play.server.log().len() < 20);
}

#[tokio::test(flavor = "multi_thread")]
async fn patience_that_is_asked_for_is_given_by_all_connections() {
    for (retry_after, rate_limit) in [(Some(2), None), (None, Some(2))] {
        let play = Play::of(&[("w.safetensors", seeded(8_000_000))], |hub| rehearsal::hub::Hub {
            pace: Some(2_000_000),
            ..hub
        });
        play.server.trouble(Trouble::TooMany { retry_after, rate_limit }.on(Place::Cdn).after(2).times(1));
        let progress = watch::Sender::new(Progress::default());
        let mut seen = progress.subscribe();
        let watcher = async {
            let waiting = seen.wait_for(|p| matches!(p.state, State::Waiting { .. })).await.unwrap().clone();
            let State::Waiting { why, seconds } = waiting.state else { unreachable!() };
            assert!(why.contains("asks to wait 2 s") && seconds <= 2, "{why} {seconds}");
        };
        let begun = Instant::now();
        let (fetched, ()) = tokio::join!(play.fetch_until(CancellationToken::new(), progress), watcher);
        fetched.unwrap();
        assert!(begun.elapsed() >= Duration::from_secs(2));
        play.assert_complete();
        // The others ended what they had begun, and nobody asked for more meanwhile.
        let log = play.server.log();
        let refused = log.iter().position(|e| e.status == 429).unwrap();
        assert!(log.iter().skip(refused + 1).take(1).all(|e| e.status != 429));
        play.assert_served_once();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn errors_hold_no_signed_address_and_no_token() {
    for trouble in
        [Trouble::Expired, Trouble::Portal, Trouble::Failed { status: 500 }, Trouble::Reset { at: 0 }]
    {
        let mut play = Play::large(3_000_000);
        play.tuning.patience = Duration::from_millis(300);
        play.server.trouble(trouble.on(Place::Cdn));
        let error = play.fetch().await.unwrap_err();
        let text = format!("{error} {} {error:?}", error.next());
        assert!(!text.contains("Signature") && !text.contains(super::play::TOKEN), "{text}");
    }
}
