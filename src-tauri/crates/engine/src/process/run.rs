//! Starting one process and ending all of an agent's.

use std::fs::{self, File, OpenOptions};
use std::future::Future;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::OpenOptionsExt as _;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;
use std::time::Duration;

use domain::AgentName;
use futures_util::future;
use rustix::process::Signal;
use tokio::io::unix::AsyncFd;
use tokio::process::Command;
use tokio::time::{Instant, timeout_at};

use super::proc::{self, Who};
use super::{Found, Shared};
use crate::{EngineError, ErrorKind, Instance, Launch, Phase, Program};

/// What a server is given of the controller's own environment: where programs, libraries and a home are, and nothing
/// that could be a secret.
const HANDED_ON: &[&str] = &[
    "PATH",
    "HOME",
    "USER",
    "LOGNAME",
    "LANG",
    "LC_ALL",
    "LC_CTYPE",
    "TZ",
    "TMPDIR",
    "LD_LIBRARY_PATH",
    "XDG_CACHE_HOME",
];

/// The command of a launch, not yet spawned, and its fresh log file's path.
pub(super) fn command(launch: &Launch) -> Result<(Command, PathBuf), EngineError> {
    let Program::Local { command, log_file } = &launch.program else {
        return Err(EngineError::new(
            ErrorKind::Failed,
            format!("{} runs from an image, which takes a container engine.", launch.agent.proper()),
            "Install Docker or Podman, or write a `command` for the agent in the stack file.",
        ));
    };
    let Some((program, before)) = command.split_first() else {
        return Err(EngineError::new(
            ErrorKind::Failed,
            format!("{} has no program to run.", launch.agent.proper()),
            format!("Write a `command` in [agents.{}] of the stack file.", launch.agent),
        ));
    };
    let log = fresh_log(log_file).map_err(|error| {
        EngineError::new(
            ErrorKind::Failed,
            format!("The log {} cannot be written: {error}.", log_file.display()),
            "Check who owns the folder, and that its disk is not full.",
        )
    })?;
    let errors = log.try_clone().map_err(|error| failed(launch, program, &error))?;
    // The folder is changed below, so a path that starts here must be made whole first.
    let program = if program.contains('/') {
        std::path::absolute(program).unwrap_or_else(|_| PathBuf::from(program))
    } else {
        PathBuf::from(program)
    };
    let mut command = Command::new(program);
    command
        .args(before)
        .args(&launch.args)
        .env_clear()
        .envs(HANDED_ON.iter().filter_map(|name| Some((name, std::env::var_os(name)?))))
        .envs(&launch.env)
        .env(&launch.key.0, launch.key.1.reveal())
        .env("ASGARD_INSTANCE", &launch.identity.instance)
        .env("ASGARD_AGENT", launch.agent.as_str())
        .env("ASGARD_REVISION", &launch.revision)
        .env("ASGARD_RESERVED", serde_json::to_string(&launch.reserved).unwrap_or_default())
        .env("ASGARD_ENDPOINT", format!("http://127.0.0.1:{}", launch.port))
        .env("ASGARD_LOG", log_file)
        .env("ASGARD_KEY_VAR", &launch.key.0)
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(log)
        .stderr(errors)
        // A group of its own: a Ctrl-C at the controller's terminal is not the agent's.
        .process_group(0)
        .kill_on_drop(false);
    Ok((command, log_file.clone()))
}

/// Opens an empty log; the one before is kept beside it.
fn fresh_log(path: &Path) -> io::Result<File> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    match fs::rename(path, path.with_extension("log.1")) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    OpenOptions::new().append(true).create(true).mode(0o600).open(path)
}

fn failed(launch: &Launch, program: &str, error: &io::Error) -> EngineError {
    let next = match error.kind() {
        io::ErrorKind::NotFound => "Install it, or correct `command` in the stack file.",
        io::ErrorKind::PermissionDenied => {
            "Make the file executable, or correct `command` in the stack file."
        }
        _ => "Read the message above and try again.",
    };
    EngineError::new(
        ErrorKind::Failed,
        format!("{program} could not be started for {}: {error}.", launch.agent.proper()),
        next,
    )
}

impl Shared {
    /// Spawns it and watches its end. It does not wait for anything.
    pub(super) fn spawn(
        self: &Arc<Self>,
        mut command: Command,
        launch: &Launch,
        log_file: PathBuf,
    ) -> Result<Instance, EngineError> {
        let program = command.as_std().get_program().to_string_lossy().into_owned();
        let mut child = command.spawn().map_err(|error| failed(launch, &program, &error))?;
        // Not yet waited for, so its entry is there even if it has ended already.
        let pid = child.id().unwrap_or_default();
        let who = proc::stat(&self.proc, pid).map_or(Who { pid, started: 0 }, |stat| stat.who);
        let instance = Instance {
            agent: launch.agent.clone(),
            id: format!("{}:{}:{}", who.pid, who.started, proc::boot_id(&self.proc)),
            revision: launch.revision.clone(),
            reserved: launch.reserved.clone(),
            endpoint: format!("http://127.0.0.1:{}", launch.port),
            key: launch.key.1.clone(),
            phase: Phase::Running,
            pids: vec![pid],
        };
        {
            let mut book = self.book();
            book.watched.insert(who);
            book.log_files.insert(launch.agent.clone(), log_file);
        }
        let shared = Arc::downgrade(self);
        let mut ended = instance.clone();
        tokio::spawn(async move {
            let code = child.wait().await.ok().and_then(code);
            ended.phase = Phase::Exited { code, oom: false };
            ended.pids = Vec::new();
            let agent = ended.agent.clone();
            Self::gone(&shared, who, &agent, Some(ended));
        });
        Ok(instance)
    }

    /// Sends `signal` to every process of the agent and waits until none is left, at most `patience`. Whether some
    /// are left.
    pub(super) async fn end(
        &self,
        agent: &AgentName,
        signal: Signal,
        patience: Duration,
    ) -> Result<bool, EngineError> {
        let deadline = Instant::now() + patience;
        loop {
            // Looked at again each time: a process may have had children in the meantime.
            let Some(found) = self.scan().into_iter().find(|f| &f.agent == agent) else {
                return Ok(false);
            };
            self.book().stopping.extend(found.leader);
            let handles = self.signal_all(&found, signal).map_err(|error| {
                EngineError::new(
                    ErrorKind::Failed,
                    format!("The processes of {} could not be ended: {error}.", agent.proper()),
                    "Check that they belong to you.",
                )
            })?;
            let all = future::join_all(handles.into_iter().map(ended));
            if timeout_at(deadline, all).await.is_err() {
                return Ok(self.scan().iter().any(|f| &f.agent == agent));
            }
            // A process that has ended is seen by its handle a moment before it is gone from /proc.
            tokio::task::yield_now().await;
        }
    }

    fn signal_all(&self, found: &Found, signal: Signal) -> io::Result<Vec<OwnedFd>> {
        let mut handles = Vec::new();
        for who in &found.members {
            if let Some(handle) = proc::handle(&self.proc, *who)? {
                proc::signal(&handle, signal)?;
                handles.push(handle);
            }
        }
        Ok(handles)
    }
}

/// A file descriptor that tasks can wait for.
#[expect(
    deprecated,
    reason = "what replaces it is unsafe; an owned descriptor is what makes this use of it sound"
)]
pub(super) fn waitable(fd: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    AsyncFd::new(fd)
}

/// Comes back when the process of this handle has ended.
pub(crate) fn ended(handle: OwnedFd) -> impl Future<Output = io::Result<()>> {
    let handle = waitable(handle);
    async move { handle?.readable().await.map(drop) }
}

/// The exit code; 128 and the signal's number for one that a signal ended, as shells count.
fn code(status: ExitStatus) -> Option<i64> {
    status.code().or_else(|| status.signal().map(|signal| 128 + signal)).map(i64::from)
}
