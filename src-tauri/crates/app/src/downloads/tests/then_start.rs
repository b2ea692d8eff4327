//! The profile that waits for its models.

use std::collections::BTreeSet;

use super::*;
use crate::downloads::then_start::{Facts, Need, Turn};

/// The profile `standard` needs these; which of them are here is what the play says.
fn facts(models: &'static [&'static str], here: &'static [&'static str]) -> impl Fn(&str) -> Facts {
    move |profile| {
        assert_eq!(profile, "standard");
        let need = |model: &&str| Need { model: (*model).to_owned(), here: here.contains(model) };
        Facts { needs: Some(models.iter().map(need).collect()), busy: false }
    }
}

fn needed(_profile: &str) -> BTreeSet<String> {
    BTreeSet::from(["o/one".to_owned(), "o/two".to_owned()])
}

async fn waiting() -> Play {
    let play = Play::new().await;
    play.line.wait_for(Some("standard".to_owned())).await;
    play
}

const BOTH: &[&str] = &["o/one", "o/two"];

fn start() -> Turn {
    Turn::Start("standard".to_owned())
}

#[tokio::test(start_paused = true)]
async fn it_starts_once_when_the_last_of_its_downloads_is_there() {
    let play = waiting().await;
    assert_eq!(play.line.list().then_start.as_deref(), Some("standard"));
    let (one, two) = (play.pull("o/one").await, play.pull("o/two").await);
    assert_eq!(play.line.turn(facts(BOTH, &[])).await, Turn::Rest);
    play.played.next().await.ends(Ok(()));
    play.until(&one.id, DownloadState::Done).await;
    assert_eq!(play.line.turn(facts(BOTH, &["o/one"])).await, Turn::Rest);
    // Its weights are here already, and its last files are not.
    assert_eq!(play.line.turn(facts(BOTH, BOTH)).await, Turn::Rest);
    play.played.next().await.ends(Ok(()));
    play.until(&two.id, DownloadState::Done).await;
    let turns = tokio::join!(play.line.turn(facts(BOTH, BOTH)), play.line.turn(facts(BOTH, BOTH)));
    assert!(matches!(turns, (Turn::Start(_), Turn::Rest) | (Turn::Rest, Turn::Start(_))), "{turns:?}");
    assert_eq!(play.line.turn(facts(BOTH, BOTH)).await, Turn::Rest);
    assert_eq!(play.line.list().then_start, None);
    let play = play.restarted().await;
    play.line.recall_wait().await;
    assert_eq!(play.line.waits_for(), None, "nor after a restart");
}

#[tokio::test(start_paused = true)]
async fn what_somebody_else_does_is_waited_for_and_what_is_no_download_is_not() {
    let play = waiting().await;
    let busy = |profile: &str| Facts { busy: true, ..facts(BOTH, BOTH)(profile) };
    assert_eq!(play.line.turn(busy).await, Turn::AfterWhatRuns);
    assert_eq!(play.line.turn(facts(BOTH, BOTH)).await, start(), "all of it was here before");
    // Another file of the same repository, that nobody goes on with, is not waited for.
    play.line.wait_for(Some("standard".to_owned())).await;
    let other = play.line.pull(&variant("o/one", "Q8_0")).await.unwrap();
    play.line.pause(Some(&other.id)).await.unwrap();
    let wanted: &[&str] = &["o/one/Q4_K_M.gguf"];
    assert_eq!(play.line.turn(facts(wanted, wanted)).await, start());
    play.line.wait_for(Some("standard".to_owned())).await;
    let wanted: &[&str] = &["o/one/Q8_0.gguf"];
    assert_eq!(play.line.turn(facts(wanted, wanted)).await, Turn::Rest, "this one is");
}

#[tokio::test(start_paused = true)]
async fn one_that_failed_holds_it_up_and_that_is_said() {
    let mut play = waiting().await;
    let one = play.pull("o/one").await;
    play.played.next().await.ends(Err(FetchError::DiskFull { needed: 9, free: 1 }));
    play.until(&one.id, DownloadState::Failed).await;
    let Told::Happened(Severity::Failure, _) = play.told().await else { panic!("it failed") };
    let Told::Failed { repo, title } = play.told().await else { panic!("it is told which") };
    let said = play.line.wait_is_held_up(&repo, &title, needed).unwrap();
    assert!(said.starts_with("standard is not started before Title of o/one is here"), "{said}");
    assert_eq!(play.line.wait_is_held_up("o/other", "Other", needed), None, "that one is none of it");
    assert_eq!(play.line.turn(facts(BOTH, BOTH)).await, Turn::Rest);
    // Tried again, it comes.
    play.line.resume(Some(&one.id)).await.unwrap();
    play.played.next().await.ends(Ok(()));
    play.until(&one.id, DownloadState::Done).await;
    assert_eq!(play.line.turn(facts(BOTH, BOTH)).await, start());
}

#[tokio::test(start_paused = true)]
async fn one_that_was_cancelled_takes_it_back() {
    let play = waiting().await;
    let (other, one) = (play.pull("o/other").await, play.pull("o/one").await);
    assert_eq!(play.line.wait_is_cancelled(&other.id, needed).await, None);
    assert_eq!(play.line.waits_for().as_deref(), Some("standard"));
    let said = play.line.wait_is_cancelled(&one.id, needed).await;
    assert_eq!(said.as_deref(), Some("standard is not started: Title of o/one was cancelled."));
    play.line.cancel(&one.id, false).await.unwrap();
    assert_eq!(play.line.turn(facts(BOTH, BOTH)).await, Turn::Rest);
    let play = play.restarted().await;
    play.line.recall_wait().await;
    assert_eq!(play.line.waits_for(), None);
}

#[tokio::test(start_paused = true)]
async fn another_profile_and_nobody_at_all_take_it_back() {
    for (chosen, other) in [(Some("coding"), true), (None, true), (Some("standard"), false)] {
        let play = waiting().await;
        let over = play.line.wait_is_over(chosen).await.unwrap();
        assert_eq!(over.words().is_some(), other, "{chosen:?}");
        assert_eq!(play.line.turn(facts(BOTH, BOTH)).await, Turn::Rest, "{chosen:?}");
        assert_eq!(play.line.wait_is_over(chosen).await, None, "{chosen:?}");
        // What was chosen did not fit, or was cancelled.
        play.line.wait_again(Some(over.clone())).await;
        assert_eq!(play.line.turn(facts(BOTH, BOTH)).await, start(), "{chosen:?}");
        // A younger wish is not overwritten by that.
        play.line.wait_for(Some("younger".to_owned())).await;
        play.line.wait_again(Some(over)).await;
        assert_eq!(play.line.waits_for().as_deref(), Some("younger"));
    }
}

#[tokio::test(start_paused = true)]
async fn it_survives_a_restart_and_is_taken_back_by_hand() {
    let play = waiting().await;
    let one = play.pull("o/one").await;
    let play = play.restarted().await;
    play.line.recall_wait().await;
    assert_eq!(play.line.turn(facts(BOTH, BOTH)).await, Turn::Rest, "its download goes on");
    play.played.next().await.ends(Ok(()));
    play.until(&one.id, DownloadState::Done).await;
    assert_eq!(play.line.turn(facts(BOTH, BOTH)).await, start());
    play.line.wait_for(Some("standard".to_owned())).await;
    play.line.wait_for(None).await;
    assert_eq!(play.line.turn(facts(BOTH, BOTH)).await, Turn::Rest);
}

#[tokio::test(start_paused = true)]
async fn a_profile_that_is_gone_is_forgotten_with_a_word() {
    let play = waiting().await;
    let gone = |_: &str| Facts { needs: None, busy: false };
    let Turn::Forgotten(said) = play.line.turn(gone).await else { panic!("it is gone") };
    assert_eq!(said, "standard is not started: the stack has no such profile.");
    assert_eq!(play.line.waits_for(), None);
}
