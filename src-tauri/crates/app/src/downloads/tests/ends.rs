//! How an attempt ends, and what that makes of its download.

use super::*;

#[tokio::test(start_paused = true)]
async fn without_a_network_it_waits_and_is_pinned_when_it_is_first_resolved() {
    let play = Play::new().await;
    play.played.refuses("o/one", [away(), away(), away()]);
    let download = play.pull("o/one").await;
    assert_eq!((download.commit, download.title.as_str()), (None, "One"));
    let waiting = play.until(&download.id, DownloadState::Waiting).await;
    let words = "hub cannot be reached (no route). The next try is in 5\u{a0}s";
    assert_eq!((waiting.detail.as_deref(), waiting.problem), (Some(words), None));
    let call = play.played.next().await;
    assert_eq!(call.wanted.commit, "a".repeat(40));
    play.played.inner().main = 'b';
    // A list that is not believed any more is read again, of the same commit.
    call.ends(Err(FetchError::Changed { file: "a".into(), why: "another size".into() }));
    play.until(&download.id, DownloadState::Failed).await;
    play.line.resume(Some(&download.id)).await.unwrap();
    assert_eq!(play.played.next().await.wanted.commit, "a".repeat(40));
    assert_eq!(play.played.inner().asked.last().unwrap().revision, "a".repeat(40));
    assert_eq!(play.played.inner().asked[0].revision, "main");
}

#[tokio::test(start_paused = true)]
async fn each_error_of_the_engine_has_its_state_and_its_button() {
    use DownloadState::{Failed, Waiting};
    let page = || "https://hub/o/n".to_owned();
    let repo = || "o/n".to_owned();
    let at = || PathBuf::from("/cache/x");
    for (error, state, remedy, words) in [
        (FetchError::Hub(away()), Waiting, None, "next try is in 5"),
        (FetchError::Hub(HubError::Failed { status: 503 }), Waiting, None, "failed with 503"),
        (
            FetchError::Hub(HubError::Failed { status: 400 }),
            Failed,
            Some(Remedy::TryAgain),
            "failed with 400",
        ),
        (FetchError::Hub(HubError::RateLimited { seconds: 55 }), Waiting, None, "asks to wait 55"),
        (
            FetchError::Hub(HubError::Strange { host: "h".into(), why: "a page".into() }),
            Waiting,
            None,
            "does not answer like a Hub",
        ),
        (FetchError::Hub(HubError::NeedsToken { repo: repo() }), Failed, Some(Remedy::AddToken), "no token"),
        (
            FetchError::Hub(HubError::GatedNeedsToken { repo: repo(), page: page() }),
            Failed,
            Some(Remedy::AddToken),
            "gated",
        ),
        (FetchError::Hub(HubError::BadToken), Failed, Some(Remedy::ChangeToken), "token"),
        (
            FetchError::Hub(HubError::LicenceNotAccepted { repo: repo(), page: page() }),
            Failed,
            Some(Remedy::AcceptLicence),
            "licence",
        ),
        (
            FetchError::Hub(HubError::NoAccess { repo: repo(), page: page() }),
            Failed,
            Some(Remedy::AskForAccess),
            "access",
        ),
        (
            FetchError::Hub(HubError::NotFound { what: repo() }),
            Failed,
            Some(Remedy::ChooseOther),
            "does not exist",
        ),
        (FetchError::DiskFull { needed: 9_000_000_000, free: 1 }, Failed, Some(Remedy::FreeDisk), "9.0"),
        (
            FetchError::NotWritable { path: at(), why: "denied".into(), owner: Some(0) },
            Failed,
            Some(Remedy::FixOwner),
            "/cache/x",
        ),
        (
            FetchError::NotWritable { path: at(), why: "read-only".into(), owner: None },
            Failed,
            Some(Remedy::TryAgain),
            "/cache/x",
        ),
        (
            FetchError::Damaged { file: "f".into(), expected: "a".into(), got: "b".into() },
            Failed,
            Some(Remedy::TryAgain),
            "damaged",
        ),
        (
            FetchError::TooLarge { file: "f".into(), size: 60_000_000_000 },
            Failed,
            Some(Remedy::ChooseOther),
            "Xet",
        ),
        (FetchError::HostilePath { path: "../x".into() }, Failed, Some(Remedy::ChooseOther), "cache"),
        (
            FetchError::Clash { first: "a".into(), second: "A".into() },
            Failed,
            Some(Remedy::ChooseOther),
            "exist",
        ),
        (
            FetchError::Changed { file: "f".into(), why: "etag".into() },
            Failed,
            Some(Remedy::TryAgain),
            "listed",
        ),
        (FetchError::Io { path: at(), why: "EIO".into() }, Failed, Some(Remedy::TryAgain), "EIO"),
    ] {
        let mut play = Play::new().await;
        let download = play.pull("o/n").await;
        let call = play.played.next().await;
        call.moves(30, 30);
        call.ends(Err(error.clone()));
        let now = play.until(&download.id, state).await;
        assert_eq!(now.done_bytes, 30, "what has arrived is counted: {error:?}");
        let said = match &now.problem {
            Some(problem) => {
                assert_eq!(problem.remedy, remedy, "{error:?}");
                let ends = problem.next.ends_with('.') || problem.next.contains(": sudo chown ");
                assert!(problem.message.ends_with('.') && ends, "{problem:?}");
                problem.message.clone()
            }
            None => now.detail.clone().unwrap_or_default(),
        };
        assert_eq!(now.problem.is_some(), state == Failed, "{error:?}");
        assert!(said.contains(words), "{error:?}: {said}");
        if state == Failed {
            let Told::Happened(Severity::Failure, line) = play.told().await else { panic!("{error:?}") };
            assert!(line.starts_with("Title of o/n could not be downloaded: "), "{line}");
        } else {
            assert!(play.told.try_recv().is_err(), "it goes on: nothing has ended");
            // And it does, by itself.
            assert_eq!(play.played.next().await.wanted.repo, "o/n");
        }
    }
    let cancelled = crate::downloads::ends::of_fetch(&FetchError::Cancelled);
    assert_eq!((cancelled.end, cancelled.problem), (domain::download::queue::End::Stopped, None));
}

#[tokio::test(start_paused = true)]
async fn patience_that_the_hub_asks_for_is_shown_and_kept() {
    let play = Play::new().await;
    let one = play.pull("o/one").await;
    play.played.next().await.ends(Err(FetchError::Hub(HubError::RateLimited { seconds: 55 })));
    let waiting = play.until(&one.id, DownloadState::Waiting).await;
    assert_eq!(waiting.detail.as_deref(), Some("The Hub asks to wait 55\u{a0}s"));
    let two = play.pull("o/two").await;
    assert_eq!(two.state, DownloadState::Queued);
    assert!(two.detail.unwrap().starts_with("The Hub asks to wait"));
    let asked_at = tokio::time::Instant::now();
    play.played.next().await;
    assert!(asked_at.elapsed() >= Duration::from_secs(54), "{:?}", asked_at.elapsed());
    // One that is refused when it is first asked for waits as well.
    play.played.refuses("o/three", [HubError::RateLimited { seconds: 30 }]);
    let three = play.pull("o/three").await;
    assert!(three.detail.unwrap().contains("asks to wait 30"));
}
