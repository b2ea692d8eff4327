//! The way to the controller: to the one that runs, or to one that is started for the purpose.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use api::client::Client;
use api::{ApiError, Code};
use serde_json::Value;
use store::paths::Paths;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::Command;
use tokio::time::{Instant, sleep, timeout_at};

use crate::place;
use crate::screen::Screen;

/// How long a controller may take until it answers: it looks at every engine and adopts what runs there.
const START: Duration = Duration::from_mins(1);

/// The controller that runs.
///
/// # Errors
/// [`Code::Unreachable`] when none does.
pub(crate) async fn running() -> Result<Client, ApiError> {
    let paths = place::paths(false)?;
    connect(&paths.socket()).await
}

/// The controller that runs, else one that is started now.
pub(crate) async fn running_or_started(screen: Screen) -> Result<Client, ApiError> {
    let paths = place::ready_paths(false)?;
    let socket = paths.socket();
    match connect(&socket).await {
        Err(error) if error.code == Code::Unreachable => {}
        other => return other,
    }
    screen.aside("Starting the controller.");
    let deadline = Instant::now() + START;
    start(&paths, deadline).await?;
    // It said that it listens, or that another does already and will any moment: the one case that has no event.
    loop {
        match connect(&socket).await {
            Err(error) if error.code == Code::Unreachable && Instant::now() < deadline => {
                sleep(Duration::from_millis(50)).await;
            }
            other => return other,
        }
    }
}

async fn connect(socket: &Path) -> Result<Client, ApiError> {
    match std::os::unix::net::UnixStream::connect(socket).map_err(|error| error.kind()) {
        Err(io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused) => Err(nobody()),
        Err(io::ErrorKind::PermissionDenied) => Err(ApiError::new(
            Code::Unreachable,
            format!("The control socket {} may not be opened: it belongs to another user.", socket.display()),
            "Run this as the user who started Asgard.",
        )),
        _ => Client::connect(socket).await,
    }
}

fn nobody() -> ApiError {
    ApiError::new(
        Code::Unreachable,
        "No controller runs for this user.",
        "Start one with: asgard up (or asgard serve, which stays in the terminal)",
    )
}

/// Starts `asgard serve` in a session of its own, so that it outlives this command and its terminal, and waits until
/// it says that it listens.
async fn start(paths: &Paths, deadline: Instant) -> Result<(), ApiError> {
    let failed = |what: String| {
        ApiError::new(
            Code::Unreachable,
            what,
            format!("Look at {}, or run it in this terminal: asgard serve", paths.log_file().display()),
        )
    };
    let log = log_file(&paths.log_file())
        .map_err(|error| failed(format!("The log cannot be written: {error}.")))?;
    let mut child = Command::new(place::own_path()?)
        .args(["serve", "--detached", "--json"])
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(log)
        .spawn()
        .map_err(|error| failed(format!("The controller could not be started: {error}.")))?;
    let Some(stdout) = child.stdout.take() else {
        return Err(failed("The controller could not be heard.".to_owned()));
    };
    let mut line = String::new();
    match timeout_at(deadline, BufReader::new(stdout).read_line(&mut line)).await {
        Ok(Ok(length)) if length > 0 => {
            said(&line).map_err(|error| error.unwrap_or_else(|| failed(unclear(&line))))
        }
        Ok(_) => Err(failed("The controller ended before it answered.".to_owned())),
        // It is left alone: loading a large state takes longer on some machines, and the next command finds it.
        Err(_) => Err(failed(format!("The controller did not answer within {} s.", START.as_secs()))),
    }
}

fn unclear(line: &str) -> String {
    format!(
        "The controller said something that was not understood: {}.",
        line.trim().chars().take(200).collect::<String>()
    )
}

/// What a starting controller's one line means. That another runs already is as good as ready; any other error is
/// its reason; a line that is no document is none of these.
fn said(line: &str) -> Result<(), Option<ApiError>> {
    let document: Value = serde_json::from_str(line).map_err(|_| None)?;
    match document.get("error") {
        None => Ok(()),
        Some(error) => match serde_json::from_value::<ApiError>(error.clone()) {
            Ok(error) if error.code == Code::Busy => Ok(()),
            Ok(error) => Err(Some(error)),
            Err(_) => Err(None),
        },
    }
}

fn log_file(path: &Path) -> io::Result<File> {
    OpenOptions::new().create(true).append(true).mode(0o600).open(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_controllers_first_line_is_ready_or_its_reason() {
        assert_eq!(said(r#"{"ready": true}"#), Ok(()));
        assert_eq!(said(r#"{"error": {"code": "busy", "message": "One runs.", "next": ""}}"#), Ok(()));
        let reason = said(r#"{"error": {"code": "stack", "message": "Line 3.", "next": "Mend it."}}"#);
        assert_eq!(reason, Err(Some(ApiError::new(Code::Stack, "Line 3.", "Mend it."))));
        assert_eq!(said("no json"), Err(None));
    }

    #[tokio::test]
    async fn nobody_there_is_exit_code_3() {
        let folder = tempfile::tempdir().unwrap();
        let error = connect(&folder.path().join("control.sock")).await.err().unwrap();
        assert_eq!(error.exit_code(), 3);
        assert_eq!(error.message, "No controller runs for this user.");
        // A socket that nobody listens on: what a killed controller leaves behind.
        let stale = folder.path().join("stale.sock");
        drop(std::os::unix::net::UnixListener::bind(&stale).unwrap());
        assert_eq!(connect(&stale).await.err().unwrap().message, "No controller runs for this user.");
    }
}
