//! What outlives the controller.

use super::*;

#[tokio::test(start_paused = true)]
async fn before_earlier_runs_were_heard_no_number_is_given() {
    let play = Play::bare(Arc::new(Mutex::new(Database::in_memory().unwrap())));
    assert_eq!(play.line.pull(&asked("o/one")).await.unwrap_err().code, Code::Busy);
    assert!(!play.line.flush().await, "and nothing is written over them");
    play.line.recall().await;
    assert_eq!(play.pull("o/one").await.id, "1");
}

#[tokio::test(start_paused = true)]
async fn a_restart_takes_up_where_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let open = || Database::open(&folder.path().join("asgard.db")).unwrap().database;
    let mut play = Play::on(Arc::new(Mutex::new(open()))).await;
    let (running, paused) = (play.pull("o/running").await, play.pull("o/paused").await);
    let call = play.played.next().await;
    call.moves(40, 44);
    play.line.pause(Some(&paused.id)).await.unwrap();
    let (queued, failed, done, gone) = (
        play.pull("o/queued").await,
        play.pull("o/failed").await,
        play.pull("o/done").await,
        play.pull("o/gone").await,
    );
    // The slot of the paused one goes to each of the others in turn.
    let _paused = play.played.next().await;
    let next = play.played.next().await;
    assert_eq!(next.wanted.repo, "o/queued");
    play.line.pause(Some(&queued.id)).await.unwrap();
    play.played.next().await.ends(Err(FetchError::Damaged {
        file: "a".into(),
        expected: "b".into(),
        got: "c".into(),
    }));
    play.until(&failed.id, DownloadState::Failed).await;
    play.played.next().await.ends(Ok(()));
    play.until(&done.id, DownloadState::Done).await;
    play.line.resume(Some(&queued.id)).await.unwrap();
    play.line.cancel(&gone.id, true).await.unwrap();
    play.line.put_away().await;
    // As after kill -9: nothing is told to end.
    while play.told.try_recv().is_ok() {}
    let before = play.database.clone();
    let play = Play::bare(Arc::new(Mutex::new(open())));
    play.played.inner().main = 'b';
    play.line.recall().await;
    drop(before);
    let state = |id: &str| play.one(id).state;
    assert_eq!(state(&paused.id), DownloadState::Paused);
    assert_eq!(state(&failed.id), DownloadState::Failed);
    assert_eq!(state(&done.id), DownloadState::Done);
    assert!(play.line.detail(&gone.id).is_err());
    assert_eq!(play.one(&failed.id).problem.unwrap().remedy, Some(Remedy::TryAgain));
    let call = play.played.next().await;
    assert_eq!(call.wanted.repo, "o/running");
    assert_eq!(call.wanted.commit, "a".repeat(40), "the branch moved meanwhile, the download did not");
    assert_eq!(call.wanted.files.len(), 2);
    assert_eq!((play.one(&running.id).done_bytes, play.one(&running.id).fetched_bytes), (40, 44));
    call.moves(60, 20);
    assert_eq!((play.one(&running.id).done_bytes, play.one(&running.id).fetched_bytes), (60, 64));
    assert_eq!(play.played.next().await.wanted.repo, "o/queued");
    assert!(play.played.inner().asked.is_empty(), "the Hub need not be asked for what is known");
    let new = play.pull("o/new").await;
    assert!(new.id.parse::<u64>().unwrap() > gone.id.parse::<u64>().unwrap(), "no number is used twice");
}

#[tokio::test(start_paused = true)]
async fn a_database_that_takes_nothing_holds_no_download_up() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("asgard.db");
    drop(Database::open(&path).unwrap());
    // It can be read and not written.
    let database = Arc::new(Mutex::new(Database::look(&path).unwrap()));
    let play = Play::on(database.clone()).await;
    let download = play.pull("o/one").await;
    assert_eq!(play.played.next().await.wanted.repo, "o/one");
    assert_eq!(kept(&path), 0);
    // The disk has room again.
    *database.lock().unwrap() = Database::open(&path).unwrap().database;
    let written = async {
        while !play.line.flush().await || kept(&path) == 0 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(600), written).await.expect("what waited is written");
    let play = play.restarted().await;
    assert_eq!(play.one(&download.id).repo, "o/one");
    assert_eq!(play.played.next().await.wanted.files.len(), 2, "its files too");
}

fn kept(path: &Path) -> usize {
    Database::look(path).unwrap().downloads().unwrap().len()
}
