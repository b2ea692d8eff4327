//! A container's log in lines.

use bollard::container::LogOutput;
use bollard::query_parameters::LogsOptionsBuilder;
use futures_util::StreamExt as _;
use futures_util::stream::BoxStream;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use super::link::{LONG, Link};
use crate::EngineError;
use crate::lines::{self, Lines};

/// The last lines, oldest first.
pub(super) async fn tail(link: &Link, id: &str, lines: usize) -> Result<Vec<String>, EngineError> {
    // Podman 4 mixes up the ends of lines that were written in parts when it is asked for the last ones only.
    let wanted = if link.kind == "podman" { "all".to_owned() } else { lines.to_string() };
    // A progress bar is one line to the engine and many here.
    Ok(lines::last(read(link, id, &wanted).await?, lines))
}

async fn read(link: &Link, id: &str, tail: &str) -> Result<Vec<String>, EngineError> {
    let options = LogsOptionsBuilder::new().stdout(true).stderr(true).tail(tail).build();
    let mut output = Box::pin(link.docker.logs(id, Some(options)));
    let reading = async {
        let mut cut = Cut::default();
        let mut out = Vec::new();
        while let Some(piece) = output.next().await {
            cut.take(&piece?, &mut out);
        }
        cut.finish(&mut out);
        Ok(out)
    };
    link.ask("show a log", LONG, reading).await
}

/// All of it, line by line, until the container has ended.
pub(super) fn follow(link: Link, id: String) -> BoxStream<'static, String> {
    let (to, from) = mpsc::channel(256);
    tokio::spawn(async move {
        tokio::select! {
            () = pass_on(&link, &id, &to) => {}
            () = to.closed() => {}
        }
    });
    ReceiverStream::new(from).boxed()
}

async fn pass_on(link: &Link, id: &str, to: &mpsc::Sender<String>) {
    let options = LogsOptionsBuilder::new().stdout(true).stderr(true).follow(true).tail("all").build();
    let mut output = Box::pin(link.docker.logs(id, Some(options)));
    let mut cut = Cut::default();
    let mut out = Vec::new();
    let mut sent = 0;
    // An error is the engine's end, and nothing more comes from it.
    while let Some(Ok(piece)) = output.next().await {
        cut.take(&piece, &mut out);
        for line in out.drain(..) {
            sent += 1;
            if to.send(line).await.is_err() {
                return;
            }
        }
    }
    cut.finish(&mut out);
    // Docker closes the stream as soon as the container has ended, at times before it has passed on the last words.
    let whole = read(link, id, "all").await.unwrap_or_default();
    let rest = if whole.len() >= sent + out.len() { whole.into_iter().skip(sent).collect() } else { out };
    for line in rest {
        if to.send(line).await.is_err() {
            return;
        }
    }
}

/// Lines of the two outputs, each cut on its own: halves of lines must not meet.
#[derive(Default)]
struct Cut {
    out: Lines,
    err: Lines,
}

impl Cut {
    fn take(&mut self, piece: &LogOutput, into: &mut Vec<String>) {
        match piece {
            LogOutput::StdErr { message } => self.err.take(message, into),
            other => self.out.take(other.as_ref(), into),
        }
    }

    fn finish(self, into: &mut Vec<String>) {
        into.extend(self.out.finish());
        into.extend(self.err.finish());
    }
}
