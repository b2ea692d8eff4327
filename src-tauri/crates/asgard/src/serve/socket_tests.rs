//! The socket with a desk that does nothing but answer.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use api::client::Client;
use tokio::sync::{Notify, Semaphore};
use tokio::time::timeout;

use super::*;

const SOON: Duration = Duration::from_secs(10);

/// `echo` answers with its payload, `wait` when it is let, `fail` with an error; `count` is a stream of numbers
/// without an end, `three` one of three, `breaks` one that fails.
#[derive(Clone)]
struct Fake {
    let_go: Arc<Semaphore>,
    waited: Arc<AtomicUsize>,
    streams: Arc<AtomicUsize>,
    stream_ended: Arc<Notify>,
}

impl Fake {
    fn new() -> Self {
        Self {
            let_go: Arc::new(Semaphore::new(0)),
            waited: Arc::default(),
            streams: Arc::default(),
            stream_ended: Arc::default(),
        }
    }
}

impl Desk for Fake {
    async fn handle(&self, cmd: &str, payload: Value) -> Result<Value, ApiError> {
        match cmd {
            "echo" => Ok(payload),
            "wait" => {
                self.let_go.acquire().await.unwrap().forget();
                self.waited.fetch_add(1, Ordering::SeqCst);
                self.stream_ended.notify_one();
                Ok(json!("waited"))
            }
            _ => Err(ApiError::new(Code::Failed, "It failed.", "Nothing.")),
        }
    }

    async fn stream(&self, cmd: &str, _: Value, out: mpsc::Sender<Value>) -> Result<(), ApiError> {
        match cmd {
            "count" => {
                self.streams.fetch_add(1, Ordering::SeqCst);
                let mut n = 0;
                while out.send(json!(n)).await.is_ok() {
                    n += 1;
                }
                self.streams.fetch_sub(1, Ordering::SeqCst);
                self.stream_ended.notify_one();
                Ok(())
            }
            "three" => {
                for n in 0..3 {
                    let _ = out.send(json!(n)).await;
                }
                Ok(())
            }
            _ => {
                let _ = out.send(json!("one")).await;
                Err(ApiError::new(Code::Failed, "It broke.", ""))
            }
        }
    }

    fn is_stream(cmd: &str) -> bool {
        ["count", "three", "breaks"].contains(&cmd)
    }
}

struct Desked {
    _folder: tempfile::TempDir,
    path: PathBuf,
    fake: Fake,
    end: watch::Sender<bool>,
    served: tokio::task::JoinHandle<()>,
}

fn desk() -> Desked {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("control.sock");
    let listening = Listening::bind(&path).unwrap();
    let (end, ending) = watch::channel(false);
    let fake = Fake::new();
    let for_desk = fake.clone();
    let served = tokio::spawn(async move { listening.serve(for_desk, ending).await });
    Desked { _folder: folder, path, fake, end, served }
}

/// A client that writes what it likes.
struct Raw {
    lines: tokio::io::Lines<BufReader<tokio::net::unix::OwnedReadHalf>>,
    write: OwnedWriteHalf,
}

impl Raw {
    async fn connect(path: &Path) -> Self {
        let (read, write) = UnixStream::connect(path).await.unwrap().into_split();
        Self { lines: BufReader::new(read).lines(), write }
    }

    async fn send(&mut self, text: &str) {
        self.write.write_all(text.as_bytes()).await.unwrap();
    }

    async fn reply(&mut self) -> Option<Value> {
        let line = timeout(SOON, self.lines.next_line()).await.expect("a reply").ok()??;
        Some(serde_json::from_str(&line).unwrap())
    }
}

#[tokio::test]
async fn calls_are_answered_in_the_order_in_which_they_are_done() {
    let desk = desk();
    let mut raw = Raw::connect(&desk.path).await;
    raw.send("{\"id\":1,\"cmd\":\"wait\"}\n{\"id\":2,\"cmd\":\"echo\",\"payload\":{\"a\":1}}\n").await;
    assert_eq!(
        raw.reply().await.unwrap(),
        json!({"id": 2, "ok": {"a": 1}}),
        "the second does not wait for the first"
    );
    desk.fake.let_go.add_permits(1);
    assert_eq!(raw.reply().await.unwrap(), json!({"id": 1, "ok": "waited"}));
    raw.send("{\"id\":3,\"cmd\":\"nope\"}\n").await;
    let error = raw.reply().await.unwrap();
    assert_eq!(error["error"]["code"], "failed");
}

#[tokio::test]
async fn the_client_of_the_faces_and_the_socket_agree() {
    let desk = desk();
    let client = Client::connect(&desk.path).await.unwrap();
    assert_eq!(client.call_value("echo", json!([1])).await, Ok(json!([1])));
    let mut stream = client.open("three", json!({})).unwrap();
    for n in 0..3 {
        assert_eq!(stream.next().await, Ok(Some(json!(n))));
    }
    assert_eq!(stream.next().await, Ok(None));
    let mut stream = client.open("breaks", json!({})).unwrap();
    assert_eq!(stream.next().await, Ok(Some(json!("one"))));
    assert_eq!(stream.next().await.unwrap_err().message, "It broke.");
}

#[tokio::test]
async fn what_is_no_request_is_said_and_the_next_one_is_answered() {
    let desk = desk();
    let mut raw = Raw::connect(&desk.path).await;
    for (line, id) in [
        ("{", 0),
        ("[]", 0),
        ("{\"id\":4}", 4),
        ("{\"id\":5,\"cmd\":7}", 5),
        ("{\"id\":-1,\"cmd\":\"echo\"}", 0),
    ] {
        raw.send(&format!("{line}\n")).await;
        let reply = raw.reply().await.unwrap();
        assert_eq!((&reply["id"], &reply["error"]["code"]), (&json!(id), &json!("usage")), "{line}");
    }
    raw.send("\n\r\n{\"id\":6,\"cmd\":\"echo\",\"payload\":0}\n").await;
    assert_eq!(raw.reply().await.unwrap(), json!({"id": 6, "ok": 0}));
}

#[tokio::test]
async fn a_number_that_is_in_use_is_refused_and_free_again_afterwards() {
    let desk = desk();
    let mut raw = Raw::connect(&desk.path).await;
    raw.send("{\"id\":1,\"cmd\":\"wait\"}\n{\"id\":1,\"cmd\":\"echo\"}\n").await;
    assert_eq!(raw.reply().await.unwrap()["error"]["code"], "usage");
    desk.fake.let_go.add_permits(1);
    assert_eq!(raw.reply().await.unwrap()["ok"], "waited");
    // The place is free when the answer has been queued; the two are one step apart.
    loop {
        raw.send("{\"id\":1,\"cmd\":\"echo\",\"payload\":2}\n").await;
        if raw.reply().await.unwrap() == json!({"id": 1, "ok": 2}) {
            return;
        }
    }
}

#[tokio::test]
async fn a_line_without_an_end_is_not_collected_for_ever() {
    let (near, mut far) = tokio::io::duplex(64);
    let mut lines = Lines { from: BufReader::new(near), line: Vec::new() };
    let writing = tokio::spawn(async move {
        let _ = far.write_all(&[b'x'; 200]).await;
        far
    });
    assert_eq!(lines.next(100).await.unwrap(), Line::TooLong);
    assert!(lines.line.len() <= 100);
    drop(lines);
    drop(writing.await);

    let desk = desk();
    let mut raw = Raw::connect(&desk.path).await;
    let part = vec![b'x'; 1 << 20];
    for _ in 0..17 {
        // The other side may have closed by the last one.
        let _ = raw.write.write_all(&part).await;
    }
    let reply = raw.reply().await.unwrap();
    assert_eq!(reply["error"]["code"], "usage");
    assert_eq!(raw.reply().await, None, "the connection is closed");
}

#[tokio::test]
async fn a_line_may_come_in_pieces_and_a_cut_one_is_none() {
    let (near, mut far) = tokio::io::duplex(64);
    let mut lines = Lines { from: BufReader::new(near), line: Vec::new() };
    far.write_all(b"{\"id\"").await.unwrap();
    // What was read before the wait was given up is not lost.
    assert!(timeout(Duration::from_millis(1), lines.next(100)).await.is_err());
    far.write_all(b":1}\nrest").await.unwrap();
    assert_eq!(lines.next(100).await.unwrap(), Line::Whole);
    assert_eq!(lines.line, b"{\"id\":1}\n");
    drop(far);
    assert_eq!(lines.next(100).await.unwrap(), Line::End);
}

#[tokio::test]
async fn a_cancel_ends_a_stream_and_nothing_else() {
    let desk = desk();
    let mut raw = Raw::connect(&desk.path).await;
    raw.send("{\"id\":1,\"cmd\":\"count\"}\n{\"id\":2,\"cmd\":\"wait\"}\n").await;
    assert_eq!(raw.reply().await.unwrap()["chunk"], 0);
    raw.send("{\"id\":1,\"cancel\":true}\n{\"id\":2,\"cancel\":true}\n{\"id\":99,\"cancel\":true}\n").await;
    // Read on: a full queue holds the stream, and the cancel must reach it all the same.
    let mut raw_reading = raw;
    timeout(SOON, async {
        while desk.fake.streams.load(Ordering::SeqCst) > 0 {
            tokio::select! {
                () = desk.fake.stream_ended.notified() => {}
                reply = raw_reading.reply() => drop(reply),
            }
        }
    })
    .await
    .expect("the stream ends");
    desk.fake.let_go.add_permits(1);
    loop {
        let reply = raw_reading.reply().await.unwrap();
        if reply["id"] == 2 {
            assert_eq!(reply["ok"], "waited", "a cancel does not undo a request");
            return;
        }
    }
}

#[tokio::test]
async fn a_client_that_goes_away_ends_its_streams_and_undoes_nothing() {
    let desk = desk();
    let mut raw = Raw::connect(&desk.path).await;
    raw.send("{\"id\":1,\"cmd\":\"count\"}\n{\"id\":2,\"cmd\":\"wait\"}\n").await;
    assert_eq!(raw.reply().await.unwrap()["chunk"], 0);
    drop(raw);
    timeout(SOON, desk.fake.stream_ended.notified()).await.expect("the stream ends");
    assert_eq!(desk.fake.streams.load(Ordering::SeqCst), 0);
    desk.fake.let_go.add_permits(1);
    timeout(SOON, desk.fake.stream_ended.notified()).await.expect("the request goes on");
    assert_eq!(desk.fake.waited.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn the_end_writes_what_was_answered_and_takes_the_file_away() {
    let mut desk = desk();
    let mut raw = Raw::connect(&desk.path).await;
    raw.send("{\"id\":1,\"cmd\":\"wait\"}\n{\"id\":2,\"cmd\":\"echo\",\"payload\":1}\n").await;
    assert_eq!(raw.reply().await.unwrap()["ok"], 1);
    desk.end.send_replace(true);
    desk.fake.let_go.add_permits(1);
    assert_eq!(raw.reply().await.unwrap(), json!({"id": 1, "ok": "waited"}));
    assert_eq!(raw.reply().await, None);
    timeout(SOON, &mut desk.served).await.expect("it ends").unwrap();
    assert!(!desk.path.exists());
}

#[tokio::test]
async fn the_file_is_closed_to_others_and_a_stale_one_is_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("control.sock");
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    let _listening = Listening::bind(&path).unwrap();
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
}
