//! The client of the control socket: what every face uses to ask the controller.

use std::collections::HashMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;
use tokio::sync::mpsc;

use crate::error::{ApiError, Code};
use crate::wire::{Body, Call, Reply};

/// Where the socket is: `$XDG_RUNTIME_DIR/asgard/control.sock`; without that variable below `/run/user/UID` if it is
/// ours, else below `$XDG_STATE_HOME/asgard/run`. The same for a rehearsal: there is one controller per user.
///
/// The caller passes what it read from the environment, and whether a folder is the user's own. A relative value is as
/// good as none. `None` only where not even HOME is set.
pub fn socket_path(
    env: &dyn Fn(&str) -> Option<OsString>,
    uid: u32,
    is_ours: &dyn Fn(&Path) -> bool,
) -> Option<PathBuf> {
    let folder = |name: &str| env(name).map(PathBuf::from).filter(|p| p.is_absolute());
    let usual = || Some(PathBuf::from(format!("/run/user/{uid}"))).filter(|p| is_ours(p));
    let state = || folder("XDG_STATE_HOME").or_else(|| folder("HOME").map(|h| h.join(".local/state")));
    let below = match folder("XDG_RUNTIME_DIR").or_else(usual) {
        Some(runtime) => runtime.join("asgard"),
        None => state()?.join("asgard/run"),
    };
    Some(below.join("control.sock"))
}

/// A connection on which many requests can be under way.
#[derive(Clone)]
pub struct Client {
    inner: Arc<Inner>,
}

struct Inner {
    next: AtomicU64,
    out: mpsc::UnboundedSender<Call>,
    waiting: Mutex<Option<HashMap<u64, mpsc::UnboundedSender<Body>>>>,
}

fn gone() -> ApiError {
    ApiError::new(Code::Unreachable, "The controller went away.", "Start it again with: asgard serve")
}

impl Client {
    /// # Errors
    /// [`Code::Unreachable`] when no controller listens there.
    pub async fn connect(socket: &Path) -> Result<Self, ApiError> {
        let stream = UnixStream::connect(socket).await.map_err(|e| {
            ApiError::new(
                Code::Unreachable,
                format!("No controller answers at {} ({e}).", socket.display()),
                "Start it with: asgard serve",
            )
        })?;
        let (read, mut write) = stream.into_split();
        let (out, mut calls) = mpsc::unbounded_channel::<Call>();
        let inner =
            Arc::new(Inner { next: AtomicU64::new(1), out, waiting: Mutex::new(Some(HashMap::new())) });
        tokio::spawn(async move {
            while let Some(call) = calls.recv().await {
                let Ok(mut line) = serde_json::to_vec(&call) else { continue };
                line.push(b'\n');
                if write.write_all(&line).await.is_err() {
                    break;
                }
            }
        });
        let weak = Arc::downgrade(&inner);
        tokio::spawn(async move {
            let mut lines = BufReader::new(read).lines();
            while let Ok(Some(line)) = lines.next_line().await {
                let Some(inner) = weak.upgrade() else { return };
                if let Ok(reply) = serde_json::from_str::<Reply>(&line) {
                    inner.deliver(reply);
                }
            }
            if let Some(inner) = weak.upgrade() {
                // Dropping the senders ends every wait with `gone`.
                inner.waiting.lock().unwrap_or_else(PoisonError::into_inner).take();
            }
        });
        Ok(Self { inner })
    }

    /// Whether the other side is still there, as far as is known: a new connection is needed where it is not.
    pub fn is_open(&self) -> bool {
        self.inner.waiting.lock().unwrap_or_else(PoisonError::into_inner).is_some()
    }

    /// Ask, and wait for the one answer. `payload` is any JSON value of the request's shape.
    pub async fn call_value(&self, cmd: &str, payload: Value) -> Result<Value, ApiError> {
        let mut stream = self.open(cmd, payload)?;
        stream.last().await
    }

    pub async fn call<R: DeserializeOwned>(&self, cmd: &str, payload: impl Serialize) -> Result<R, ApiError> {
        let payload = serde_json::to_value(payload).map_err(|e| unreadable(&e))?;
        let answer = self.call_value(cmd, payload).await?;
        serde_json::from_value(answer).map_err(|e| unreadable(&e))
    }

    /// Ask for a stream of chunks. Dropping the stream ends it on the other side too.
    pub fn open(&self, cmd: &str, payload: Value) -> Result<Chunks, ApiError> {
        let id = self.inner.next.fetch_add(1, Ordering::Relaxed);
        let (to, from) = mpsc::unbounded_channel();
        match self.inner.waiting.lock().unwrap_or_else(PoisonError::into_inner).as_mut() {
            Some(waiting) => waiting.insert(id, to),
            None => return Err(gone()),
        };
        let call = Call { id, cmd: Some(cmd.to_owned()), payload, cancel: false };
        self.inner.out.send(call).map_err(|_| gone())?;
        Ok(Chunks { id, from, client: self.clone(), ended: false })
    }
}

fn unreadable(e: &serde_json::Error) -> ApiError {
    ApiError::new(
        Code::Failed,
        format!("The answer of the controller could not be read: {e}."),
        "The controller may be of another version: end it (agents keep running) and start it again.",
    )
}

impl Inner {
    fn deliver(&self, reply: Reply) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(map) = waiting.as_mut() else { return };
        let last = !matches!(reply.body, Body::Chunk(_));
        if let Some(to) = map.get(&reply.id) {
            let _ = to.send(reply.body);
        }
        if last {
            map.remove(&reply.id);
        }
    }
}

/// A stream of chunks under way.
pub struct Chunks {
    id: u64,
    from: mpsc::UnboundedReceiver<Body>,
    client: Client,
    ended: bool,
}

impl Chunks {
    /// The next chunk; `None` when the stream has ended well.
    ///
    /// # Errors
    /// What ended the stream early, or [`Code::Unreachable`] when the controller went away.
    pub async fn next(&mut self) -> Result<Option<Value>, ApiError> {
        if self.ended {
            return Ok(None);
        }
        match self.from.recv().await {
            Some(Body::Chunk(value)) => Ok(Some(value)),
            Some(Body::Ok(_)) => {
                self.ended = true;
                Ok(None)
            }
            Some(Body::Error(error)) => {
                self.ended = true;
                Err(error)
            }
            None => {
                self.ended = true;
                Err(gone())
            }
        }
    }

    async fn last(&mut self) -> Result<Value, ApiError> {
        loop {
            match self.from.recv().await {
                Some(Body::Ok(value)) => {
                    self.ended = true;
                    return Ok(value);
                }
                Some(Body::Error(error)) => {
                    self.ended = true;
                    return Err(error);
                }
                Some(Body::Chunk(_)) => {}
                None => {
                    self.ended = true;
                    return Err(gone());
                }
            }
        }
    }
}

impl Drop for Chunks {
    fn drop(&mut self) {
        if !self.ended {
            if let Some(map) =
                self.client.inner.waiting.lock().unwrap_or_else(PoisonError::into_inner).as_mut()
            {
                map.remove(&self.id);
            }
            let _ = self.client.inner.out.send(Call {
                id: self.id,
                cmd: None,
                payload: Value::Null,
                cancel: true,
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(variables: &[(&str, &str)], ours: bool) -> Option<PathBuf> {
        let env = |name: &str| variables.iter().find(|(n, _)| *n == name).map(|(_, v)| OsString::from(v));
        socket_path(&env, 1000, &|folder| ours && folder == Path::new("/run/user/1000"))
    }

    #[test]
    fn the_runtime_folder_comes_first_then_the_usual_one_if_it_is_ours_then_the_state_folder() {
        let all = [("XDG_RUNTIME_DIR", "/r"), ("XDG_STATE_HOME", "/s"), ("HOME", "/h")];
        let expected = [
            (0, true, "/r/asgard/control.sock"),
            (1, true, "/run/user/1000/asgard/control.sock"),
            (1, false, "/s/asgard/run/control.sock"),
            (2, false, "/h/.local/state/asgard/run/control.sock"),
        ];
        for (from, ours, socket) in expected {
            assert_eq!(path(&all[from..], ours).as_deref(), Some(Path::new(socket)));
        }
        assert_eq!(path(&[], false), None);
    }

    #[test]
    fn relative_and_empty_values_are_ignored() {
        let found = path(&[("XDG_RUNTIME_DIR", ""), ("XDG_STATE_HOME", "state"), ("HOME", "/h")], false);
        assert_eq!(found.as_deref(), Some(Path::new("/h/.local/state/asgard/run/control.sock")));
    }
}
