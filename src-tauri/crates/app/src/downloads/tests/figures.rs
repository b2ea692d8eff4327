//! Figures, and the list that faces are shown.

use super::*;

#[tokio::test(start_paused = true)]
async fn all_are_paused_and_figures_are_counted_over_attempts() {
    let play = Play::new().await;
    let one = play.pull("o/one").await;
    let call = play.played.next().await;
    call.moves(40, 44);
    assert!(!play.line.list().paused);
    let list = play.line.pause(None).await.unwrap();
    assert!(list.paused);
    play.until(&one.id, DownloadState::Paused).await;
    call.cancel.cancelled().await;
    let paused = play.one(&one.id);
    assert_eq!((paused.done_bytes, paused.fetched_bytes, paused.bytes_per_second), (40, 44, None));
    assert!(!play.line.resume(None).await.unwrap().paused);
    let call = play.played.next().await;
    assert_eq!(play.one(&one.id).done_bytes, 40, "before it has looked around, what was known counts");
    call.moves(50, 10);
    assert_eq!(play.one(&one.id).fetched_bytes, 54);
    let detail = play.line.detail(&one.id).unwrap();
    assert_eq!(detail.files.len(), 2);
    assert!(play.line.pause(Some("99")).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn figures_wake_nobody_and_are_told_once() {
    let play = Play::new().await;
    play.pull("o/one").await;
    let call = play.played.next().await;
    while play.line.take_changed() | play.line.take_moved() {
        tokio::task::yield_now().await;
    }
    for n in 1..=1000 {
        call.moves(n, n);
    }
    assert!(!play.line.take_changed(), "a figure is no change of the list");
    assert!(play.line.take_moved());
    assert!(!play.line.take_moved());
}

#[tokio::test(start_paused = true)]
async fn the_list_of_what_is_done_has_an_end() {
    let play = Play::new().await;
    for n in 0..60 {
        let download = play.pull(&format!("o/n{n}")).await;
        play.played.next().await.ends(Ok(()));
        play.until(&download.id, DownloadState::Done).await;
    }
    let shrunk = async {
        while play.all().len() > 50 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), shrunk).await.unwrap();
    assert_eq!(play.all()[0].0, "o/n59", "the latest first");
    assert!(crate::downloads::ask::limit_of(Some(5)).is_err());
    assert_eq!(crate::downloads::ask::limit_of(None).unwrap(), None);
    play.line.limit(Some(20_000));
    assert_eq!(play.line.list().limit_bytes_per_second, Some(20_000));
}
