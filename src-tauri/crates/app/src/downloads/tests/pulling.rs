//! What is asked for, and what comes of it.

use super::*;

#[tokio::test(start_paused = true)]
async fn two_are_fetched_the_third_waits_and_each_end_is_told() {
    let mut play = Play::new().await;
    let first = play.pull("o/one").await;
    assert_eq!((first.commit.as_deref(), first.total_bytes), (Some("a".repeat(40).as_str()), Some(100)));
    play.pull("o/two").await;
    let third = play.pull("o/three").await;
    assert_eq!(
        (third.state, third.detail.as_deref()),
        (DownloadState::Queued, Some("Waiting for 1 download"))
    );
    let call = play.played.next().await;
    assert_eq!((call.wanted.repo.as_str(), call.wanted.revision.as_str()), ("o/one", "main"));
    call.moves(40, 40);
    let list = play.line.list();
    assert_eq!((list.downloads[0].state, list.downloads[0].done_bytes), (DownloadState::Running, 40));
    assert_eq!((list.bytes_per_second, list.seconds_left), (Some(50.0), Some(260.0 / 50.0)));
    call.ends(Ok(()));
    let done = play.until(&first.id, DownloadState::Done).await;
    assert_eq!((done.done_bytes, done.verified_bytes, done.files_done), (100, 100, 2));
    assert!(done.finished.is_some());
    let words = "Title of o/one is here, 0.0\u{a0}MB, checksums match.";
    assert_eq!(play.told().await, Told::Happened(Severity::Info, words.to_owned()));
    assert_eq!(play.told().await, Told::Arrived("o/one".to_owned()));
    play.until(&third.id, DownloadState::Running).await;
    let states = play.all();
    assert_eq!(states[2], ("o/one".to_owned(), DownloadState::Done), "what is done stands last");
    play.line.forget(&first.id).await.unwrap();
    assert_eq!(play.all().len(), 2);
    assert_eq!(play.line.forget(&third.id).await.unwrap_err().code, Code::Busy);
    assert_eq!(play.line.forget("nine").await.unwrap_err().code, Code::Unknown);
}

#[tokio::test(start_paused = true)]
async fn what_is_asked_for_twice_is_fetched_once() {
    let play = Play::new().await;
    let first = play.pull("o/one").await;
    assert_eq!(play.pull("o/one").await.id, first.id);
    let other = play.line.pull(&variant("o/one", "Q4_K_M")).await.unwrap();
    assert_ne!(other.id, first.id, "other files are another download");
    assert_eq!(other.state, DownloadState::Queued, "one repository at a time");
    play.line.pause(Some(&first.id)).await.unwrap();
    play.until(&first.id, DownloadState::Paused).await;
    // Who asks for it again wants it.
    let again = play.pull("o/one").await;
    assert_eq!((again.id.as_str(), again.state), (first.id.as_str(), DownloadState::Queued));
    // The branch has moved: that is something else.
    play.played.inner().main = 'b';
    assert_ne!(play.pull("o/one").await.id, first.id);
}

#[tokio::test(start_paused = true)]
async fn two_that_ask_at_once_get_the_same() {
    let play = Play::new().await;
    let (one, two) = (asked("o/one"), asked("o/one"));
    let (one, two) = tokio::join!(play.line.pull(&one), play.line.pull(&two));
    assert_eq!(one.unwrap().id, two.unwrap().id);
    assert_eq!(play.all().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_had_is_refused_at_once() {
    let play = Play::new().await;
    play.played.inner().free = Some(250);
    play.pull("o/one").await;
    play.pull("o/two").await;
    // 100 each are still to come.
    let error = play.line.pull(&asked("o/three")).await.unwrap_err();
    assert_eq!(error.code, Code::DoesNotFit);
    assert!(error.message.contains("/cache") && error.message.contains("other downloads"), "{error:?}");
    play.played.inner().here.insert("o/three".to_owned(), Here { whole: false, bytes: 60 });
    assert_eq!(play.pull("o/three").await.done_bytes, 60, "what is here need not be brought");
    play.played.refuses("o/none", [HubError::NotFound { what: "o/none".into() }]);
    assert_eq!(play.line.pull(&asked("o/none")).await.unwrap_err().code, Code::Unknown);
    let refused = api::shapes::hub::HubProblem {
        message: "Too large.".into(),
        next: "Choose another.".into(),
        remedy: Some(Remedy::ChooseOther),
        page: None,
    };
    play.played.inner().answers.insert("o/large".to_owned(), [Nothing::Refused(refused)].into());
    let error = play.line.pull(&asked("o/large")).await.unwrap_err();
    assert_eq!((error.message.as_str(), error.next.as_str()), ("Too large.", "Choose another."));
    for hostile in ["", "../x", "a/../../b", "a/b/c", "/etc/passwd", "a\0b", "-rf", "a b/c", &"x".repeat(300)]
    {
        assert_eq!(play.line.pull(&asked(hostile)).await.unwrap_err().code, Code::Usage, "{hostile:?}");
    }
    for revision in ["../main", "/x", "a\nb", &"x".repeat(201)] {
        let asked = PullRequest { revision: Some(revision.to_owned()), ..asked("o/one") };
        assert_eq!(play.line.pull(&asked).await.unwrap_err().code, Code::Usage, "{revision:?}");
    }
    for files in [vec![String::new()], vec!["a\0".to_owned()], vec!["a".to_owned(); 101]] {
        let asked = PullRequest { files, ..asked("o/one") };
        assert_eq!(play.line.pull(&asked).await.unwrap_err().code, Code::Usage);
    }
    assert_eq!(play.all().len(), 3);
}

#[tokio::test(start_paused = true)]
async fn what_is_here_is_done_at_once_and_needs_no_hub() {
    let play = Play::new().await;
    play.played.inner().here.insert("o/here".to_owned(), Here { whole: true, bytes: 100 });
    let done = play.pull("o/here").await;
    assert_eq!((done.state, done.done_bytes), (DownloadState::Done, 100));
    assert_eq!(play.pull("o/here").await.id, done.id);
    // It was removed since.
    play.played.inner().here.clear();
    let again = play.pull("o/here").await;
    assert_ne!(again.id, done.id);
    assert_eq!(play.played.next().await.wanted.repo, "o/here");
    // The Hub is away, and all of it is here.
    play.played.inner().at_hand = true;
    play.played.refuses("o/off", [away()]);
    let offline = play.pull("o/off").await;
    assert_eq!((offline.state, offline.commit), (DownloadState::Done, Some("a".repeat(40))));
    assert!(play.played.none_begun());
}

#[tokio::test(start_paused = true)]
async fn a_closed_repository_waits_in_the_list_for_its_key() {
    let play = Play::new().await;
    let gated = || HubError::GatedNeedsToken { repo: "o/gated".into(), page: "https://hub/o/gated".into() };
    play.played.refuses("o/gated", [gated(), gated()]);
    let closed = play.pull("o/gated").await;
    let problem = closed.problem.clone().unwrap();
    assert_eq!((closed.state, problem.remedy), (DownloadState::Failed, Some(Remedy::AddToken)));
    assert_eq!(problem.page.as_deref(), Some("https://hub/o/gated"));
    assert_eq!(play.pull("o/gated").await.id, closed.id, "asked again, it is the same row");
    play.line.token_changed();
    assert_eq!(play.played.next().await.wanted.repo, "o/gated");
    assert_eq!(play.one(&closed.id).problem, None);
}

#[tokio::test(start_paused = true)]
async fn cancelled_bytes_go_unless_they_are_kept_or_somebody_elses() {
    let play = Play::new().await;
    let one = play.line.pull(&variant("o/one", "Q4_K_M")).await.unwrap();
    let other = play.line.pull(&variant("o/one", "Q8_0")).await.unwrap();
    let call = play.played.next().await;
    let list = play.line.cancel(&one.id, false).await.unwrap();
    assert_eq!(list.downloads.len(), 1, "it is gone for whoever looks");
    call.cancel.cancelled().await;
    assert_eq!(play.played.next().await.wanted.repo, "o/one", "the other one's turn");
    play.line.cancel(&other.id, false).await.unwrap();
    let gone = async {
        while play.played.inner().discarded.is_empty() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), gone).await.unwrap();
    let discarded = play.played.inner().discarded.clone();
    let all = vec!["c".repeat(64), "f".repeat(64)];
    assert_eq!(discarded, [("o/one".to_owned(), all)], "only when nobody wants the same blobs any more");
    let kept = play.pull("o/kept").await;
    let call = play.played.next().await;
    play.line.cancel(&kept.id, true).await.unwrap();
    call.cancel.cancelled().await;
    let play = play.restarted().await;
    assert_eq!(play.all(), [], "a restart does not bring it back");
    assert!(play.played.none_begun() && play.played.inner().discarded.is_empty());
}

#[tokio::test(start_paused = true)]
async fn with_the_hub_forbidden_a_pull_is_refused_at_once() {
    let play = Play::new().await;
    play.played.refuses("o/one", [HubError::Offline, HubError::Offline]);
    let error = play.line.pull(&asked("o/one")).await.unwrap_err();
    assert!(error.message.contains("HF_HUB_OFFLINE") && error.next.contains("HF_HUB_OFFLINE"), "{error:?}");
    assert_eq!(play.all(), [], "nothing waits for it");
    // What is here whole needs nobody.
    play.played.inner().at_hand = true;
    assert_eq!(play.pull("o/one").await.state, DownloadState::Done);
    // One of an earlier run does not wait for ever either.
    play.played.inner().at_hand = false;
    let two = play.pull("o/two").await;
    play.played.next().await.ends(Err(FetchError::Hub(HubError::Offline)));
    let problem = play.until(&two.id, DownloadState::Failed).await.problem.unwrap();
    assert_eq!((problem.remedy, problem.page), (None, None));
}
