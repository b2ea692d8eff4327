//! Streams under way, each a task that hands chunks on to the page.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use api::ApiError;
use api::client::Chunks;
use serde::Serialize;
use serde_json::Value;
use tauri::async_runtime::JoinHandle;
use tauri::ipc::Channel;

/// `{"chunk": …}` any number of times, then `{"end": null}` or `{"error": …}`.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Message {
    Chunk(Value),
    End(()),
    Error(ApiError),
}

#[derive(Default)]
pub(crate) struct Streams {
    open: Mutex<(u32, HashMap<u32, JoinHandle<()>>)>,
}

impl Streams {
    pub(crate) fn start(&self, mut chunks: Chunks, page: Channel<Message>) -> u32 {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.0 = open.0.wrapping_add(1);
        let id = open.0;
        open.1.retain(|_, task| !task.inner().is_finished());
        let task = tauri::async_runtime::spawn(async move {
            loop {
                let message = match chunks.next().await {
                    Ok(Some(value)) => Message::Chunk(value),
                    Ok(None) => Message::End(()),
                    Err(error) => Message::Error(error),
                };
                let last = !matches!(message, Message::Chunk(_));
                // A page that is gone cannot be told; dropping `chunks` ends the stream on the other side.
                if page.send(message).is_err() || last {
                    return;
                }
            }
        });
        open.1.insert(id, task);
        id
    }

    pub(crate) fn close(&self, id: u32) {
        if let Some(task) = self.open.lock().unwrap_or_else(PoisonError::into_inner).1.remove(&id) {
            task.abort();
        }
    }

    /// For a page that is loaded again: nobody listens to its old streams.
    pub(crate) fn close_all(&self) {
        for (_, task) in self.open.lock().unwrap_or_else(PoisonError::into_inner).1.drain() {
            task.abort();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use api::Code;
    use serde_json::json;

    #[test]
    fn messages_have_the_form_that_the_page_reads() {
        let error = ApiError::new(Code::Busy, "a", "b");
        for (message, form) in [
            (Message::Chunk(json!({ "revision": 1 })), json!({ "chunk": { "revision": 1 } })),
            (Message::End(()), json!({ "end": null })),
            (Message::Error(error), json!({ "error": { "code": "busy", "message": "a", "next": "b" } })),
        ] {
            assert_eq!(serde_json::to_value(message).unwrap(), form);
        }
    }
}
