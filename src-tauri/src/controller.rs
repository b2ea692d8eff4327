//! Starting the controller, where none runs. It is a program of its own, in a process group of its own, and outlives
//! the window.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;
use std::time::Duration;

use api::client::Client;
use api::{ApiError, Code};
use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep};

use crate::link::Link;

/// How long a controller may take until it answers: it looks at the engines first.
const ANSWERS_WITHIN: Duration = Duration::from_secs(30);
/// No event says that a socket listens, so it is tried this often, while starting only.
const TRY_EVERY: Duration = Duration::from_millis(20);

pub(crate) struct Controller {
    link: Arc<Link>,
    rehearsal: bool,
    /// Where what it prints goes.
    words: PathBuf,
    /// One start at a time, however often it is asked for.
    starting: tokio::sync::Mutex<()>,
}

impl Controller {
    pub(crate) fn new(link: Arc<Link>, rehearsal: bool, words: PathBuf) -> Self {
        Self { link, rehearsal, words, starting: tokio::sync::Mutex::new(()) }
    }

    /// Afterwards a controller answers, or the link knows why none does.
    pub(crate) async fn ensure(&self) -> Result<(), ApiError> {
        let _one = self.starting.lock().await;
        let outcome = self.start().await;
        self.link.set_trouble(outcome.clone().err());
        outcome
    }

    async fn start(&self) -> Result<(), ApiError> {
        if Client::connect(self.link.socket()).await.is_ok() {
            return Ok(());
        }
        let mut child = self.spawn().map_err(|e| match e.kind() {
            io::ErrorKind::NotFound => ApiError::new(
                Code::Unreachable,
                "The controller could not be started: the program asgard is neither beside asgard-desktop nor in PATH.",
                "Install it there, or run it yourself: asgard serve",
            ),
            _ => ApiError::new(
                Code::Unreachable,
                format!("The controller could not be started ({e})."),
                "Check the program asgard and Asgard's state folder, or run it yourself: asgard serve",
            ),
        })?;
        let deadline = Instant::now() + ANSWERS_WITHIN;
        loop {
            tokio::select! {
                ended = child.wait() => {
                    // Another face may have started one at the same moment; then this one found the lock taken.
                    if Client::connect(self.link.socket()).await.is_ok() {
                        return Ok(());
                    }
                    return Err(ended_at_once(ended, &self.words));
                }
                () = sleep(TRY_EVERY) => {}
            }
            if Client::connect(self.link.socket()).await.is_ok() {
                reap(child);
                return Ok(());
            }
            if Instant::now() >= deadline {
                reap(child);
                return Err(ApiError::new(
                    Code::Unreachable,
                    format!(
                        "The controller was started but did not answer within {} s.",
                        ANSWERS_WITHIN.as_secs()
                    ),
                    "Look into its log, asgard.log in Asgard's state folder.",
                ));
            }
        }
    }

    fn spawn(&self) -> io::Result<Child> {
        if let Some(folder) = self.words.parent() {
            DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
        }
        // Begun anew for each start, so it cannot grow; the controller's log is apart. Not a pipe: writing to one whose
        // window is gone would end the controller.
        let words =
            OpenOptions::new().create(true).write(true).truncate(true).mode(0o600).open(&self.words)?;
        let mut command = Command::new(program(std::env::current_exe().ok().as_deref()));
        command.arg("serve").args(self.rehearsal.then_some("--rehearsal"));
        // Automation is about this window and no business of the controller's.
        command.env_remove("TAURI_WEBVIEW_AUTOMATION");
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(words).process_group(0).current_dir("/");
        command.spawn()
    }
}

/// The program beside this one, else whatever PATH has.
fn program(own: Option<&Path>) -> PathBuf {
    own.and_then(Path::parent)
        .map(|d| d.join("asgard"))
        .filter(|p| p.is_file())
        .unwrap_or_else(|| "asgard".into())
}

/// So that a controller that ends before the window leaves no zombie.
fn reap(mut child: Child) {
    tauri::async_runtime::spawn(async move { child.wait().await });
}

fn ended_at_once(ended: io::Result<ExitStatus>, words: &Path) -> ApiError {
    let said = fs::read_to_string(words).unwrap_or_default();
    let said: Vec<&str> = said.lines().map(str::trim).filter(|l| !l.is_empty()).collect();
    match said.last() {
        Some(last) => {
            ApiError::new(Code::Unreachable, format!("The controller ended at once. It said: {last}"), "")
        }
        None => ApiError::new(
            Code::Unreachable,
            format!(
                "The controller ended at once ({}).",
                ended.map_or_else(|e| e.to_string(), |s| s.to_string())
            ),
            "Run `asgard serve` in a terminal to see why.",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_program_beside_the_window_comes_before_path() {
        let folder = tempfile::tempdir().unwrap();
        let own = folder.path().join("asgard-desktop");
        assert_eq!(program(Some(&own)), Path::new("asgard"));
        fs::write(folder.path().join("asgard"), "").unwrap();
        assert_eq!(program(Some(&own)), folder.path().join("asgard"));
        assert_eq!(program(None), Path::new("asgard"));
    }

    #[test]
    fn the_last_words_of_a_controller_that_ended_are_the_reason() {
        let folder = tempfile::tempdir().unwrap();
        let words = folder.path().join("serve.out");
        fs::write(&words, "starting\nPort 8899 is taken by nginx. Stop it, or set BIFROST_PORT.\n\n")
            .unwrap();
        let error = ended_at_once(Ok(ExitStatus::default()), &words);
        assert!(error.message.ends_with("set BIFROST_PORT."), "{}", error.message);
        let silent = ended_at_once(Ok(ExitStatus::default()), &folder.path().join("nothing"));
        assert!(silent.next.contains("asgard serve"));
    }
}
