//! The control socket: lines of JSON from the faces, passed on to the one who answers ([`Desk`]).
//!
//! Whoever can write here can run programs as this user, so the file is closed to others and every peer is looked
//! at. A client that goes away ends its streams; what it has asked for goes on.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::future::Future;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use api::wire::{Body, Call, MAX_LINE, Reply};
use api::{ApiError, Code};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncRead, AsyncWriteExt as _, BufReader};
use tokio::net::unix::OwnedWriteHalf;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;

/// Replies that wait for a client to read them. A full queue holds the streams back, not the controller.
const REPLIES_WAITING: usize = 64;

/// Chunks between a stream and its client's queue.
const CHUNKS_WAITING: usize = 16;

/// So many at once on one connection is a fault of the client.
const CALLS_AT_ONCE: usize = 1000;

/// How long the last answers may take to be written when the controller ends.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// Who answers. The one implementation is `app::App`.
pub(crate) trait Desk: Clone + Send + Sync + 'static {
    fn handle(&self, cmd: &str, payload: Value) -> impl Future<Output = Result<Value, ApiError>> + Send;
    /// Ends when it has ended, or when nobody receives its chunks.
    fn stream(
        &self,
        cmd: &str,
        payload: Value,
        out: mpsc::Sender<Value>,
    ) -> impl Future<Output = Result<(), ApiError>> + Send;
    fn is_stream(cmd: &str) -> bool;
}

impl Desk for app::App {
    async fn handle(&self, cmd: &str, payload: Value) -> Result<Value, ApiError> {
        Self::handle(self, cmd, payload).await
    }

    async fn stream(&self, cmd: &str, payload: Value, out: mpsc::Sender<Value>) -> Result<(), ApiError> {
        Self::stream(self, cmd, payload, out).await
    }

    fn is_stream(cmd: &str) -> bool {
        Self::is_stream(cmd)
    }
}

/// The socket, listening. Its file goes when it is dropped.
pub(crate) struct Listening {
    listener: UnixListener,
    path: PathBuf,
}

impl Listening {
    /// To be called only by the holder of the controller's lock: a file that is there is then one that a killed
    /// controller has left.
    pub(crate) fn bind(path: &Path) -> io::Result<Self> {
        match std::fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        // Its folder is closed to others, so nobody can come between the two lines.
        let listener = UnixListener::bind(path)?;
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))?;
        Ok(Self { listener, path: path.to_path_buf() })
    }

    /// Serves until `ending` turns true, and then writes what was answered already.
    pub(crate) async fn serve<D: Desk>(&self, desk: D, mut ending: watch::Receiver<bool>) {
        let own = rustix::process::getuid().as_raw();
        let mut connections = JoinSet::new();
        let for_connections = ending.clone();
        loop {
            tokio::select! {
                () = super::ended(&mut ending) => break,
                Some(_) = connections.join_next() => {}
                accepted = self.listener.accept() => match accepted {
                    Ok((stream, _)) if stream.peer_cred().is_ok_and(|peer| peer.uid() == own) => {
                        connections.spawn(connection(desk.clone(), stream, for_connections.clone()));
                    }
                    Ok(_) => tracing::warn!("Another user opened the control socket; the connection was closed."),
                    Err(error) => {
                        // Too many open files, say. To try again at once would only burn a core.
                        tracing::error!("The control socket could not take a connection: {error}.");
                        tokio::time::sleep(Duration::from_millis(200)).await;
                    }
                },
            }
        }
        let all = async { while connections.join_next().await.is_some() {} };
        let _ = tokio::time::timeout(LAST_WORDS, all).await;
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

async fn connection<D: Desk>(desk: D, stream: UnixStream, mut ending: watch::Receiver<bool>) {
    let (read, write) = stream.into_split();
    let (replies, to_write) = mpsc::channel(REPLIES_WAITING);
    let writing = tokio::spawn(write_replies(write, to_write));
    let mut client = Connection { desk, replies, streams: HashMap::new() };
    let mut lines = Lines { from: BufReader::new(read), line: Vec::new() };
    loop {
        let line = tokio::select! {
            () = super::ended(&mut ending) => break,
            line = lines.next(MAX_LINE) => line,
        };
        match line {
            Ok(Line::Whole) => client.take(&lines.line).await,
            Ok(Line::TooLong) => {
                client.refuse(0, format!("A line is longer than {MAX_LINE} bytes.")).await;
                break;
            }
            Ok(Line::End) | Err(_) => break,
        }
    }
    // The streams end here; the writer ends when the last call under way has been answered.
    drop(client);
    let _ = writing.await;
}

async fn write_replies(mut write: OwnedWriteHalf, mut replies: mpsc::Receiver<Reply>) {
    while let Some(reply) = replies.recv().await {
        let Ok(mut line) = serde_json::to_vec(&reply) else { continue };
        line.push(b'\n');
        if write.write_all(&line).await.is_err() {
            return;
        }
    }
}

struct Connection<D> {
    desk: D,
    replies: mpsc::Sender<Reply>,
    /// To end a stream its sender is dropped.
    streams: HashMap<u64, oneshot::Sender<()>>,
}

impl<D: Desk> Connection<D> {
    async fn take(&mut self, line: &[u8]) {
        let value: Value = match serde_json::from_slice(line) {
            Ok(value) => value,
            Err(error) => return self.refuse(0, format!("The line is not JSON: {error}.")).await,
        };
        let id = value.get("id").and_then(Value::as_u64).unwrap_or(0);
        match serde_json::from_value::<Call>(value) {
            Ok(call) if call.cancel => drop(self.streams.remove(&call.id)),
            Ok(Call { id, cmd: Some(cmd), payload, .. }) => self.begin(id, cmd, payload).await,
            Ok(_) => self.refuse(id, "The line names no request.".to_owned()).await,
            Err(error) => self.refuse(id, format!("The line is no request: {error}.")).await,
        }
    }

    async fn begin(&mut self, id: u64, cmd: String, payload: Value) {
        self.streams.retain(|_, stream| !stream.is_closed());
        if self.streams.len() >= CALLS_AT_ONCE {
            return self.refuse(id, format!("More than {CALLS_AT_ONCE} requests are under way.")).await;
        }
        let (end, ended) = oneshot::channel();
        match self.streams.entry(id) {
            Entry::Occupied(_) => {
                return self.refuse(id, format!("A request {id} is under way already.")).await;
            }
            Entry::Vacant(place) => place.insert(end),
        };
        let (desk, replies) = (self.desk.clone(), self.replies.clone());
        if D::is_stream(&cmd) {
            tokio::spawn(stream(desk, id, cmd, payload, replies, ended));
        } else {
            tokio::spawn(async move {
                // Neither the client's end nor a cancel undoes what was asked for.
                let body = match desk.handle(&cmd, payload).await {
                    Ok(value) => Body::Ok(value),
                    Err(error) => Body::Error(error),
                };
                let _ = replies.send(Reply { id, body }).await;
                drop(ended);
            });
        }
    }

    async fn refuse(&self, id: u64, message: String) {
        let next = "The program that sent it may be of another version: start it again.";
        let body = Body::Error(ApiError::new(Code::Usage, message, next));
        let _ = self.replies.send(Reply { id, body }).await;
    }
}

async fn stream<D: Desk>(
    desk: D,
    id: u64,
    cmd: String,
    payload: Value,
    replies: mpsc::Sender<Reply>,
    mut ended: oneshot::Receiver<()>,
) {
    let (out, mut chunks) = mpsc::channel(CHUNKS_WAITING);
    // Apart from its client: a stream ends by seeing that nobody receives, in its own time.
    let work = tokio::spawn(async move { desk.stream(&cmd, payload, out).await });
    loop {
        let chunk = tokio::select! {
            _ = &mut ended => break,
            chunk = chunks.recv() => chunk,
        };
        let Some(chunk) = chunk else {
            let body = match work.await {
                Ok(Ok(())) => Body::Ok(json!({})),
                Ok(Err(error)) => Body::Error(error),
                Err(error) => Body::Error(broke_off(&error)),
            };
            let _ = replies.send(Reply { id, body }).await;
            return;
        };
        tokio::select! {
            _ = &mut ended => break,
            said = replies.send(Reply { id, body: Body::Chunk(chunk) }) => if said.is_err() { return },
        }
    }
    drop(chunks);
    // Whoever cancelled is told that it is over; whoever is gone is not there to be told.
    let _ = replies.try_send(Reply { id, body: Body::Ok(json!({})) });
}

fn broke_off(error: &tokio::task::JoinError) -> ApiError {
    let what = format!("The stream broke off: {error}.");
    ApiError::new(Code::Failed, what, "Try it again, and look at the log.")
}

#[derive(Debug, PartialEq, Eq)]
enum Line {
    Whole,
    TooLong,
    End,
}

/// Lines that may be waited for in a `select!`: what was read of one is kept.
struct Lines<R> {
    from: BufReader<R>,
    line: Vec<u8>,
}

impl<R: AsyncRead + Unpin> Lines<R> {
    /// The next line that is not empty, in `self.line`, without its end. What is left of a line at the end of the
    /// stream was cut off and is no line.
    async fn next(&mut self, longest: usize) -> io::Result<Line> {
        if self.line.last() == Some(&b'\n') {
            self.line.clear();
        }
        loop {
            let ready = self.from.fill_buf().await?;
            if ready.is_empty() {
                return Ok(Line::End);
            }
            let (taken, whole) = match ready.iter().position(|byte| *byte == b'\n') {
                Some(end) => (end + 1, true),
                None => (ready.len(), false),
            };
            if self.line.len() + taken > longest {
                return Ok(Line::TooLong);
            }
            self.line.extend_from_slice(&ready[..taken]);
            self.from.consume(taken);
            if whole && self.line.trim_ascii().is_empty() {
                self.line.clear();
            } else if whole {
                return Ok(Line::Whole);
            }
        }
    }
}

#[cfg(test)]
#[path = "socket_tests.rs"]
mod tests;
