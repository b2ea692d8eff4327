//! Server-sent events, written as they come.

use std::convert::Infallible;

use axum::body::Body;
use bytes::Bytes;
use serde_json::Value;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

/// The writing end of a stream.
pub(crate) struct Events(mpsc::Sender<Result<Bytes, Infallible>>);

impl Events {
    /// `data: {…}`
    pub(crate) async fn data(&self, value: &Value) {
        self.write(format!("data: {value}\n\n")).await;
    }

    /// `event: NAME` and its data.
    pub(crate) async fn named(&self, name: &str, value: &Value) {
        self.write(format!("event: {name}\ndata: {value}\n\n")).await;
    }

    /// `data: [DONE]`
    pub(crate) async fn done(&self) {
        self.write("data: [DONE]\n\n".to_owned()).await;
    }

    async fn write(&self, text: String) {
        // Nobody listens any more: the task is about to be dropped.
        let _ = self.0.send(Ok(Bytes::from(text))).await;
    }
}

/// A body that `produce` writes. When the client hangs up, `produce` is dropped where it is, and with it the answer
/// it was writing.
pub(crate) fn body<F, Fut>(produce: F) -> Body
where
    F: FnOnce(Events) -> Fut,
    Fut: Future<Output = ()> + Send + 'static,
{
    let (sender, receiver) = mpsc::channel(16);
    let gone = sender.clone();
    let work = produce(Events(sender));
    tokio::spawn(async move {
        tokio::select! {
            () = work => {}
            () = gone.closed() => {}
        }
    });
    Body::from_stream(ReceiverStream::new(receiver))
}
