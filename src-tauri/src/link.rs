//! The connection to the controller: one, kept, made again when it broke.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use api::client::{Chunks, Client};
use api::{ApiError, Code};
use serde_json::Value;

pub(crate) struct Link {
    socket: PathBuf,
    client: tokio::sync::Mutex<Option<Client>>,
    /// Why no controller could be started, for whoever asks while none answers.
    trouble: Mutex<Option<ApiError>>,
}

impl Link {
    pub(crate) fn new(socket: PathBuf) -> Self {
        Self { socket, client: tokio::sync::Mutex::new(None), trouble: Mutex::new(None) }
    }

    pub(crate) fn socket(&self) -> &Path {
        &self.socket
    }

    pub(crate) fn set_trouble(&self, trouble: Option<ApiError>) {
        *self.trouble.lock().unwrap_or_else(PoisonError::into_inner) = trouble;
    }

    /// A request is never sent twice: one that was under way when the controller went away may have been heard.
    pub(crate) async fn call(&self, cmd: &str, payload: Value) -> Result<Value, ApiError> {
        self.client().await?.call_value(cmd, payload).await
    }

    pub(crate) async fn open(&self, cmd: &str, payload: Value) -> Result<Chunks, ApiError> {
        self.client().await?.open(cmd, payload)
    }

    async fn client(&self) -> Result<Client, ApiError> {
        let mut kept = self.client.lock().await;
        if let Some(client) = kept.as_ref().filter(|c| c.is_open()) {
            return Ok(client.clone());
        }
        *kept = None;
        match Client::connect(&self.socket).await {
            Ok(client) => {
                self.set_trouble(None);
                *kept = Some(client.clone());
                Ok(client)
            }
            Err(error) => {
                let trouble = self.trouble.lock().unwrap_or_else(PoisonError::into_inner).clone();
                Err(trouble.filter(|_| error.code == Code::Unreachable).unwrap_or(error))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use api::wire::{Body, Call, Reply};
    use serde_json::json;
    use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
    use tokio::net::UnixListener;

    /// A controller that answers one request with its own name, and then goes away.
    async fn answer_once(listener: &UnixListener, name: &str) {
        let (stream, _) = listener.accept().await.unwrap();
        let (read, mut write) = stream.into_split();
        let line = BufReader::new(read).lines().next_line().await.unwrap().unwrap();
        let call: Call = serde_json::from_str(&line).unwrap();
        let reply = Reply { id: call.id, body: Body::Ok(json!(name)) };
        write.write_all(format!("{}\n", serde_json::to_string(&reply).unwrap()).as_bytes()).await.unwrap();
    }

    #[tokio::test]
    async fn it_finds_the_next_controller_after_one_went_away() {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("control.sock");
        let link = Link::new(socket.clone());
        assert_eq!(link.call("status", json!({})).await.unwrap_err().code, Code::Unreachable);
        for name in ["one", "two"] {
            let listener = UnixListener::bind(&socket).unwrap();
            let (answer, ()) = tokio::join!(link.call("status", json!({})), answer_once(&listener, name));
            assert_eq!(answer.unwrap(), json!(name));
            drop(listener);
            std::fs::remove_file(&socket).unwrap();
            // The end of the old connection is noticed by its reader, in its own time.
            let gone = async {
                while link.client.lock().await.as_ref().is_some_and(Client::is_open) {
                    tokio::task::yield_now().await;
                }
            };
            tokio::time::timeout(std::time::Duration::from_secs(5), gone).await.unwrap();
        }
    }

    #[tokio::test]
    async fn while_none_answers_it_says_why_none_could_be_started() {
        let link = Link::new(PathBuf::from("/nonexistent/control.sock"));
        let why = ApiError::new(Code::Unreachable, "The port is taken.", "Free it.");
        link.set_trouble(Some(why.clone()));
        assert_eq!(link.call("status", json!({})).await.unwrap_err(), why);
    }
}
