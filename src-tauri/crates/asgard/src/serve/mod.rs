//! `asgard serve`: the host of the one controller. It opens the control socket and the tray, tells that it is ready,
//! and waits for its end. Agents keep running when it ends, unless they were told otherwise.

mod logging;
mod sleep;
mod socket;
mod tray;
mod window;

use std::time::Duration;

use api::{ApiError, Code};
use app::App;
use serde_json::{Value, json};
use store::paths::Paths;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;

use crate::Answer;
use crate::args::ServeArgs;
use crate::place;
use crate::screen::Screen;
use socket::Listening;

/// How long the end may take: streams of clients of the gateway are the only thing that is waited for.
const END: Duration = Duration::from_secs(10);

pub(crate) fn run(screen: Screen, how: &ServeArgs) -> Result<Answer, ApiError> {
    if how.detached {
        // Fails only for one that leads a session already, which is what is wanted.
        let _ = rustix::process::setsid();
    }
    let paths = place::ready_paths(how.rehearsal)?;
    logging::begin(&paths.log_file());
    raise_file_handles();
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().map_err(
            |error| {
                ApiError::new(
                    Code::Failed,
                    format!("The controller could not start: {error}."),
                    "Close something and try again.",
                )
            },
        )?;
    let answer = runtime.block_on(serve(screen, how, paths));
    runtime.shutdown_timeout(Duration::from_secs(1));
    if let Err(error) = &answer {
        tracing::error!("{} {}", error.message, error.next);
    }
    answer
}

/// Every stream through the gateway takes two; what most systems give by default is used up by 500 of them.
fn raise_file_handles() {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    if let Err(error) = setrlimit(Resource::Nofile, limit) {
        tracing::warn!("The limit of open files could not be raised: {error}.");
    }
}

async fn serve(screen: Screen, how: &ServeArgs, paths: Paths) -> Result<Answer, ApiError> {
    let mut signals = Signals::new()?;
    let socket = paths.socket();
    let options = place::options(paths, how.rehearsal, how.after_login)?;
    let exe = options.exe.clone();
    // The lock is taken here and held as long as `app` lives: from now on the socket's file is ours.
    let app =
        app::start(options).await.map_err(|error| ApiError::new(error.code, error.message, error.next))?;
    let listening = Listening::bind(&socket).map_err(|error| {
        ApiError::new(
            Code::Failed,
            format!("The control socket {} cannot be opened: {error}.", socket.display()),
            "Check that its folder is yours and can be written.",
        )
    })?;
    let (end, ending) = watch::channel(false);
    let ending_too = ending.clone();
    let answering = tokio::spawn({
        let (app, ending) = (app.clone(), ending.clone());
        async move { listening.serve(app, ending).await }
    });
    let icon = (!how.no_tray).then(|| tokio::spawn(tray::run(app.clone(), exe, ending)));
    let sleeping = tokio::spawn(sleep::run(app.clone(), ending_too));
    ready(screen, &app, &socket.display().to_string()).await;

    tokio::select! {
        () = app.finished() => {}
        name = signals.next() => {
            tracing::info!("{name}: the controller ends, agents keep running.");
            app.end();
            tokio::select! {
                () = app.finished() => {}
                () = tokio::time::sleep(END) => tracing::warn!("What was under way took too long to put away."),
                _ = signals.next() => {}
            }
        }
    }
    end.send_replace(true);
    let _ = answering.await;
    let _ = sleeping.await;
    if let Some(icon) = icon {
        let _ = icon.await;
    }
    tracing::info!("The controller has ended.");
    Ok(Answer::Yes)
}

/// Resolves when the end has begun. What is borrowed for the look is given back here, not held by a `select!`.
async fn ended(ending: &mut watch::Receiver<bool>) {
    let _ = ending.wait_for(|ending| *ending).await;
}

/// One line: that it listens, and where.
async fn ready(screen: Screen, app: &App, socket: &str) {
    let status = app.handle("status", json!({})).await.unwrap_or_default();
    let gateway = status.pointer("/gateway/address").cloned().unwrap_or_default();
    let rehearsal = status.get("rehearsal").and_then(Value::as_bool).unwrap_or(false);
    screen.document(&json!({
        "ready": true,
        "pid": std::process::id(),
        "gateway": gateway,
        "socket": socket,
        "rehearsal": rehearsal,
    }));
    let text = ready_text(gateway.as_str(), socket, rehearsal);
    tracing::info!("{text}");
    screen.say(&text);
}

fn ready_text(gateway: Option<&str>, socket: &str, rehearsal: bool) -> String {
    let what = if rehearsal { "Asgard is ready, as a rehearsal" } else { "Asgard is ready" };
    let gateway =
        gateway.map_or_else(|| "the gateway is off".to_owned(), |address| format!("gateway {address}"));
    format!("{what}: {gateway}, control socket {socket}.")
}

/// What asks the controller to end.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
}

impl Signals {
    fn new() -> Result<Self, ApiError> {
        let hear = |kind| {
            signal(kind).map_err(|error| {
                ApiError::new(
                    Code::Failed,
                    format!("Signals cannot be heard: {error}."),
                    "Close something and try again.",
                )
            })
        };
        Ok(Self {
            terminate: hear(SignalKind::terminate())?,
            interrupt: hear(SignalKind::interrupt())?,
            hangup: hear(SignalKind::hangup())?,
        })
    }

    async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
            _ = self.hangup.recv() => "SIGHUP",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_one_line_names_gateway_and_socket() {
        let text = ready_text(Some("http://127.0.0.1:8899/v1"), "/run/user/1000/asgard/control.sock", false);
        let expected = "Asgard is ready: gateway http://127.0.0.1:8899/v1, control socket /run/user/1000/asgard/control.sock.";
        assert_eq!(text, expected);
        assert!(
            ready_text(None, "s", true).starts_with("Asgard is ready, as a rehearsal: the gateway is off")
        );
    }
}
