//! Connections that break, and answers that are none.

use std::time::Duration;

use models::download::{FetchError, Progress, State};
use models::hub::HubError;
use proptest::prelude::*;
use rehearsal::hub::{Place, Rule, Trouble};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::play::{Play, seeded};

fn large() -> Play {
    Play::large(6_000_001)
}

/// It arrives all the same, and hardly a byte comes twice.
async fn survives(rules: Vec<Rule>) -> Play {
    let mut play = large();
    play.tuning.patience = Duration::from_secs(40);
    for rule in &rules {
        play.server.trouble(rule.clone());
    }
    play.fetch().await.unwrap_or_else(|e| panic!("{rules:?}: {e}"));
    play.assert_complete();
    play.assert_served_once();
    play
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_is_cut_goes_on_at_the_byte() {
    for at in [0, 1, 65_535, 65_536, 1_048_575, 2_500_000, 5_999_999, 6_000_000] {
        survives(vec![Trouble::Cut { at }.times(1), Trouble::Cut { at: at / 2 }.times(2)]).await;
    }
}

/// What a reset takes with it was sent and never arrived, so that only the bytes can be judged.
#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_is_reset_goes_on_too() {
    for at in [0, 1, 65_536, 2_500_000, 6_000_000] {
        let play = large();
        play.server.trouble(Trouble::Reset { at }.times(3));
        play.fetch().await.unwrap();
        play.assert_complete();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_connection_may_break_once() {
    let rules = (0..30).map(|n| Trouble::Cut { at: n * 200_003 }.times(1)).collect();
    survives(rules).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_falls_silent_is_given_up() {
    survives(vec![Trouble::Stall { at: 3_000_000 }.times(1), Trouble::Stall { at: 0 }.times(1)]).await;
    survives(vec![Trouble::Silence.on(Place::Resolve).times(1), Trouble::Silence.on(Place::Cdn).times(2)])
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hub_that_fails_is_asked_again() {
    for status in [500, 502, 503, 504] {
        survives(vec![
            Trouble::Failed { status }.on(Place::Cdn).times(3),
            Trouble::Failed { status }.on(Place::Resolve).times(2),
        ])
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hub_that_goes_on_failing_is_given_up() {
    let play = large();
    play.server.trouble(Trouble::Failed { status: 500 });
    let error = play.fetch().await.unwrap_err();
    assert_eq!(error, FetchError::Hub(HubError::Failed { status: 500 }));
    play.assert_nothing_named();
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_that_are_not_what_was_asked_for_become_no_bytes() {
    for trouble in [
        Trouble::WrongRange { shift: 4096, honest: true },
        Trouble::WrongRange { shift: -4096, honest: true },
        Trouble::Short { by: 1000, length: false },
        Trouble::Short { by: 1000, length: true },
        Trouble::Long { by: 1000, length: false },
        Trouble::Gzip,
        Trouble::Portal,
        Trouble::Redirect { to: "/nowhere".to_owned() },
    ] {
        for after in [0, 2] {
            let play = large();
            play.server.trouble(trouble.clone().on(Place::Cdn).after(after).times(1));
            play.fetch().await.unwrap_or_else(|e| panic!("{trouble:?} {after}: {e}"));
            play.assert_complete();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_that_are_never_what_was_asked_for_are_an_error() {
    for trouble in [
        Trouble::WrongRange { shift: 4096, honest: true },
        Trouble::Short { by: 1000, length: true },
        Trouble::Long { by: 1000, length: true },
        Trouble::Gzip,
        Trouble::Portal,
        Trouble::Redirect { to: "http://127.0.0.1:9/".to_owned() },
    ] {
        let play = Play::usual();
        play.server.trouble(trouble.clone());
        let error = play.fetch().await.err().unwrap_or_else(|| panic!("{trouble:?} was believed"));
        assert!(matches!(error, FetchError::Hub(_)), "{trouble:?}: {error}");
        assert!(!error.next().is_empty());
        play.assert_nothing_named();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_range_that_lies_about_its_place_is_found_by_the_hash() {
    let play = large();
    play.server.trouble(Trouble::WrongRange { shift: 4096, honest: false }.on(Place::Cdn).times(1));
    play.fetch().await.unwrap();
    play.assert_complete();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_without_ranges_gives_everything_to_one_connection() {
    let play = Play::of(&[("w.safetensors", seeded(6_000_001))], |hub| rehearsal::hub::Hub {
        pace: Some(8_000_000),
        ..hub
    });
    play.server.trouble(Trouble::NoRange);
    play.fetch().await.unwrap();
    play.assert_complete();
    play.assert_served_once();
}

#[tokio::test(flavor = "multi_thread")]
async fn ranges_that_end_in_the_middle_are_a_new_beginning() {
    let play = large();
    play.server.trouble(Trouble::NoRange.on(Place::Cdn).after(2));
    play.fetch().await.unwrap();
    play.assert_complete();
    // And cut while it brings everything: from the beginning each time, but only what is missing is taken.
    let play = large();
    play.server.trouble(Trouble::NoRange.on(Place::Cdn));
    play.server.trouble(Trouble::Cut { at: 3_000_000 }.on(Place::Cdn).times(1));
    play.fetch().await.unwrap();
    play.assert_complete();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flipped_byte_is_fetched_again_and_an_error_if_it_stays() {
    for at in [0, 64, 3_333_333, 6_000_000] {
        let play = large();
        play.server.trouble(Trouble::Flip { at }.times(1));
        play.fetch().await.unwrap();
        play.assert_complete();
    }
    let play = large();
    play.server.trouble(Trouble::Flip { at: 77 });
    let error = play.fetch().await.unwrap_err();
    assert!(matches!(&error, FetchError::Damaged { file, got, expected }
        if file == "w.safetensors" && got != expected && *expected == play.wanted.files[0].hash.hex()));
    play.assert_nothing_named();
    // What is known to be wrong is not gone on with.
    play.server.calm();
    play.fetch().await.unwrap();
    play.assert_complete();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_small_file_that_is_damaged_is_found_too() {
    let play = Play::new(&[("config.json", seeded(3000))]);
    play.server.trouble(Trouble::Flip { at: 7 }.times(1));
    play.fetch().await.unwrap();
    play.assert_complete();
    let play = Play::new(&[("config.json", seeded(3000))]);
    play.server.trouble(Trouble::Flip { at: 7 });
    assert!(matches!(play.fetch().await, Err(FetchError::Damaged { .. })));
    play.assert_nothing_named();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_small_file_goes_on_at_the_byte_too() {
    for trouble in [Trouble::Cut { at: 1 }, Trouble::Reset { at: 2_000 }, Trouble::Stall { at: 2_999 }] {
        let play = Play::new(&[("config.json", seeded(3000))]);
        play.server.trouble(trouble.times(1));
        play.fetch().await.unwrap();
        play.assert_complete();
        play.assert_served_once();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_changes_between_two_ranges_is_not_mixed() {
    // Once: the address is found anew, and what has landed stays.
    let play = large();
    play.server.trouble(Trouble::Changed.on(Place::Cdn).after(3).times(1));
    play.fetch().await.unwrap();
    play.assert_complete();
    // From some moment on: the hash says that it is another.
    let play = large();
    play.server.trouble(Trouble::Changed.on(Place::Cdn).after(3));
    let error = play.fetch().await.unwrap_err();
    assert!(matches!(error, FetchError::Damaged { .. }), "{error}");
    play.assert_nothing_named();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_another_than_listed_is_not_taken() {
    for trouble in [Trouble::WrongEtag, Trouble::Moved] {
        let play = Play::usual();
        play.server.trouble(trouble.clone());
        match play.fetch().await {
            // The commit is pinned: what moved on is not what is asked for.
            Ok(_) => play.assert_complete(),
            Err(error) => {
                assert!(matches!(error, FetchError::Changed { .. }), "{trouble:?}: {error}");
                play.assert_nothing_named();
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hub_that_is_away_is_waited_for() {
    let mut play = large();
    play.tuning.patience = Duration::from_secs(30);
    play.server.trouble(Trouble::Failed { status: 502 });
    let progress = watch::Sender::new(Progress::default());
    let mut seen = progress.subscribe();
    let back = async {
        let waiting = seen.wait_for(|p| matches!(p.state, State::Waiting { .. })).await.unwrap().clone();
        assert!(matches!(&waiting.state, State::Waiting { why, .. } if why == "The Hub failed with 502."));
        play.server.calm();
    };
    let (fetched, ()) = tokio::join!(play.fetch_until(CancellationToken::new(), progress), back);
    fetched.unwrap();
    play.assert_complete();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_nobody_answers_at_is_an_error_in_the_end() {
    let mut play = large();
    play.tuning.patience = Duration::from_millis(500);
    let hub = play.hub();
    let Play { server, cache, wanted, rate, tuning, .. } = play;
    drop(server);
    let error = models::download::fetch_with(
        &hub,
        cache.path(),
        &wanted,
        &rate,
        watch::Sender::new(Progress::default()),
        CancellationToken::new(),
        &tuning,
    )
    .await
    .unwrap_err();
    assert!(matches!(error, FetchError::Hub(HubError::Unreachable { .. })), "{error}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, ..ProptestConfig::default() })]

    /// Whatever happens in whatever order, as long as it ends.
    #[test]
    fn any_weather(rules in prop::collection::vec((0u8..8, 0u64..6_000_001, 0u32..6, 1u32..3), 1..8)) {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        runtime.block_on(async {
            let play = large();
            let mut costly = false;
            for (kind, at, after, times) in rules {
                let trouble = match kind {
                    0 | 1 => Trouble::Cut { at },
                    2 => { costly = true; Trouble::Reset { at } }
                    3 => Trouble::Stall { at },
                    4 => Trouble::Failed { status: 503 },
                    5 => Trouble::Expired,
                    6 => Trouble::TooMany { retry_after: Some(0), rate_limit: None },
                    _ => { costly = true; Trouble::Long { by: at % 5000, length: false } }
                };
                play.server.trouble(trouble.on(Place::Cdn).after(after).times(times));
            }
            play.fetch().await.unwrap();
            play.assert_complete();
            if !costly { play.assert_served_once() }
        });
    }
}
