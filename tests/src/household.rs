//! A household of its own: private folders, a private environment, the programs that were just built.
//!
//! Nothing of the user's is read or written, no container engine is seen unless a test names one, and whatever was
//! started here is ended with it.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::missing_panics_doc,
    clippy::return_self_not_must_use,
    reason = "a harness: what fails here fails the test"
)]

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use api::client::Client;
use api::shapes::status::Status;
use rustix::fs::FlockOperation;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tokio::process::{Child, Command};
use tokio::time::{Instant, timeout};

/// No command of a test may take longer than this.
pub const COMMAND: Duration = Duration::from_mins(2);
/// Nor may a controller take longer until it answers.
pub const ANSWERS: Duration = Duration::from_secs(30);

pub struct Household {
    folder: tempfile::TempDir,
    env: BTreeMap<String, OsString>,
    controller: Option<Child>,
    /// The agents' ports are fixed, so households take turns, over all test programs.
    _turn: Option<File>,
}

/// How a command ended.
#[derive(Debug)]
pub struct Output {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Output {
    /// The document on stdout; of a stream (`switch`, `chat`) the last one. Nothing else may be there.
    pub fn json(&self) -> Value {
        let documents = serde_json::Deserializer::from_str(&self.stdout).into_iter::<Value>();
        let read: Result<Vec<Value>, _> = documents.collect();
        read.unwrap_or_else(|e| panic!("stdout is not JSON ({e}): {self:#?}"))
            .pop()
            .unwrap_or_else(|| panic!("nothing on stdout: {self:#?}"))
    }

    pub fn ok(self) -> Self {
        assert_eq!(self.code, Some(0), "{self:#?}");
        self
    }
}

/// Where cargo put the programs: beside this test program, or one folder up from it.
pub fn program(name: &str) -> PathBuf {
    let own = std::env::current_exe().unwrap();
    let folder = own.parent().unwrap();
    let folder = if folder.ends_with("deps") { folder.parent().unwrap() } else { folder };
    let path = folder.join(name);
    assert!(path.is_file(), "{} is not built: cargo build --workspace --bins", path.display());
    path
}

/// The agents of the shipped stack have fixed ports. Whoever else has them gets a minute, and is then named.
fn ports_are_free() {
    let deadline = std::time::Instant::now() + Duration::from_mins(1);
    for port in [8001, 8002, 8011, 8012, 8013, 8014] {
        while let Err(e) = std::net::TcpListener::bind(("127.0.0.1", port)) {
            assert!(
                std::time::Instant::now() < deadline,
                "Port {port} is not free ({e}): end what listens there (an Asgard with agents awake?), then test again."
            );
            std::thread::sleep(Duration::from_millis(100));
        }
    }
}

/// A port that nobody listens on now.
pub fn free_port() -> u16 {
    std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port()
}

impl Default for Household {
    fn default() -> Self {
        Self::new()
    }
}

impl Household {
    pub fn new() -> Self {
        Self::make(Some(Self::turn()))
    }

    /// One whose stack starts no agent of the shipped one: it needs no port of theirs, and waits for nobody.
    pub fn without_agents() -> Self {
        Self::make(None)
    }

    fn turn() -> File {
        let turn = OpenOptions::new()
            .create(true)
            .append(true)
            .open(std::env::temp_dir().join("asgard-journeys.lock"))
            .unwrap();
        rustix::fs::flock(&turn, FlockOperation::LockExclusive).unwrap();
        ports_are_free();
        turn
    }

    fn make(turn: Option<File>) -> Self {
        // Short, because a socket's path may have 108 bytes.
        let folder = tempfile::Builder::new().prefix("asgard-").tempdir_in("/tmp").unwrap();
        let mut env: BTreeMap<String, OsString> = BTreeMap::new();
        for kept in ["PATH", "LANG", "ASGARD_STAND_IN", "ASGARD_TEST_RUN", "CARGO_LLVM_PROFILE_FILE"] {
            if let Some(value) = std::env::var_os(kept) {
                env.insert(kept.to_owned(), value);
            }
        }
        for (name, below) in [
            ("HOME", "home"),
            ("XDG_CONFIG_HOME", "config"),
            ("XDG_DATA_HOME", "data"),
            ("XDG_STATE_HOME", "state"),
            ("XDG_CACHE_HOME", "cache"),
            ("XDG_RUNTIME_DIR", "run"),
        ] {
            let path = folder.path().join(below);
            fs::DirBuilder::new().mode(0o700).create(&path).unwrap();
            env.insert(name.to_owned(), path.into());
        }
        let none = format!("unix://{}/no-engine.sock", folder.path().display());
        env.insert("DOCKER_HOST".to_owned(), none.into());
        env.insert("BIFROST_PORT".to_owned(), free_port().to_string().into());
        env.insert("ASGARD_REHEARSAL_JOURNAL".to_owned(), folder.path().join("journal.jsonl").into());
        Self { folder, env, controller: None, _turn: turn }
    }

    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Below `folder()`: config, data, state, cache, run, home.
    pub fn path(&self, below: &str) -> PathBuf {
        self.folder.path().join(below)
    }

    pub fn journal(&self) -> PathBuf {
        self.path("journal.jsonl")
    }

    pub fn set(&mut self, name: &str, value: impl Into<OsString>) -> &mut Self {
        self.env.insert(name.to_owned(), value.into());
        self
    }

    pub fn unset(&mut self, name: &str) -> &mut Self {
        self.env.remove(name);
        self
    }

    pub fn env(&self) -> &BTreeMap<String, OsString> {
        &self.env
    }

    /// Any program, in this household's environment and no other.
    pub fn command(&self, path: impl AsRef<Path>) -> Command {
        let mut command = Command::new(path.as_ref());
        command
            .env_clear()
            .envs(&self.env)
            .current_dir(self.folder())
            .stdin(Stdio::null())
            .kill_on_drop(true);
        command
    }

    /// `asgard …`, to its end.
    pub async fn asgard(&self, arguments: &[&str]) -> Output {
        self.output(program("asgard"), arguments, COMMAND).await
    }

    /// `asgard … --json`, which must exit with 0.
    pub async fn json(&self, arguments: &[&str]) -> Value {
        let mut all = arguments.to_vec();
        all.push("--json");
        self.asgard(&all).await.ok().json()
    }

    pub async fn output(&self, path: impl AsRef<Path>, arguments: &[&str], within: Duration) -> Output {
        let mut command = self.command(path.as_ref());
        command.args(arguments).stdout(Stdio::piped()).stderr(Stdio::piped());
        let done = timeout(within, command.output()).await;
        let done = done
            .unwrap_or_else(|_| {
                panic!("{} {arguments:?} did not end within {within:?}", path.as_ref().display())
            })
            .unwrap();
        Output {
            code: done.status.code(),
            stdout: String::from_utf8_lossy(&done.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&done.stderr).into_owned(),
        }
    }

    /// Starts `asgard serve …`, and returns when it answers on the control socket.
    pub async fn serve(&mut self, arguments: &[&str]) {
        let mut command = self.command(program("asgard"));
        let words = OpenOptions::new().create(true).append(true).open(self.path("serve.txt")).unwrap();
        command
            .arg("serve")
            .args(arguments)
            .stdout(words.try_clone().unwrap())
            .stderr(words)
            .process_group(0);
        let mut child = command.spawn().unwrap();
        let deadline = Instant::now() + ANSWERS;
        loop {
            if self.try_client().await.is_some_and(|c| c.is_open()) {
                break;
            }
            assert!(Instant::now() < deadline, "the controller did not answer in time:\n{}", self.words());
            // No event says that a socket listens; the wait ends early when the controller does.
            if let Ok(ended) = timeout(Duration::from_millis(20), child.wait()).await {
                panic!("the controller ended at once ({}):\n{}", ended.unwrap(), self.words());
            }
        }
        self.controller = Some(child);
    }

    /// What the controllers of [`Household::serve`] printed.
    pub fn words(&self) -> String {
        fs::read_to_string(self.path("serve.txt")).unwrap_or_default()
    }

    /// `kill -9` of the controller that [`Household::serve`] started, and of nothing else.
    pub async fn kill9(&mut self) {
        let mut child = self.controller.take().expect("a controller runs");
        child.start_kill().unwrap();
        child.wait().await.unwrap();
    }

    /// Waits until the controller of [`Household::serve`] ended by itself.
    pub async fn ended(&mut self, within: Duration) -> std::process::ExitStatus {
        let mut child = self.controller.take().expect("a controller runs");
        timeout(within, child.wait()).await.expect("the controller did not end in time").unwrap()
    }

    pub fn controller_pid(&self) -> Option<u32> {
        self.controller.as_ref().and_then(Child::id)
    }

    pub fn socket(&self) -> PathBuf {
        let env = |name: &str| self.env.get(name).cloned();
        api::client::socket_path(&env, rustix::process::getuid().as_raw(), &|_| false).unwrap()
    }

    async fn try_client(&self) -> Option<Client> {
        Client::connect(&self.socket()).await.ok()
    }

    /// A client of the controller; waits for one to answer.
    pub async fn client(&self) -> Client {
        let deadline = Instant::now() + ANSWERS;
        loop {
            match Client::connect(&self.socket()).await {
                Ok(client) => return client,
                Err(e) => assert!(Instant::now() < deadline, "{e}\n{}", self.words()),
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    pub async fn status(&self) -> Status {
        let client = self.client().await;
        timeout(ANSWERS, client.call("status", json!({}))).await.expect("status took too long").unwrap()
    }

    /// The first status that `enough` accepts: looked at now and after every change that the controller tells of.
    pub async fn wait_status(
        &self,
        what: &str,
        within: Duration,
        enough: impl FnMut(&Status) -> bool,
    ) -> Status {
        let client = self.client().await;
        wait_status(&client, what, within, enough).await
    }

    /// Every event that a rehearsal server wrote so far.
    pub fn journal_entries(&self) -> Vec<Value> {
        let Ok(file) = File::open(self.journal()) else { return Vec::new() };
        BufReader::new(file)
            .lines()
            .map_while(Result::ok)
            .filter_map(|l| serde_json::from_str(&l).ok())
            .collect()
    }

    /// The processes whose environment names this household's folder: controllers, windows, and agents that are
    /// processes.
    pub fn processes(&self) -> Vec<u32> {
        let mark = self.folder().as_os_str().as_encoded_bytes().to_vec();
        fs::read_dir("/proc")
            .unwrap()
            .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
            .filter(|pid| {
                fs::read(format!("/proc/{pid}/environ"))
                    .is_ok_and(|all| all.windows(mark.len()).any(|part| part == mark))
            })
            .collect()
    }

    /// Asks the controller to end with its agents, and waits for the line to close. Blocking, for `drop`.
    fn shut_down(&self) -> Option<()> {
        let mut line = UnixStream::connect(self.socket()).ok()?;
        line.set_read_timeout(Some(Duration::from_secs(20))).ok()?;
        let ask = json!({ "id": 1, "cmd": "shutdown", "payload": { "stop_agents": true } });
        line.write_all(format!("{ask}\n").as_bytes()).ok()?;
        let mut lines = BufReader::new(line);
        while lines.read_line(&mut String::new()).ok()? > 0 {}
        Some(())
    }
}

/// See [`Household::wait_status`].
pub async fn wait_status(
    client: &Client,
    what: &str,
    within: Duration,
    mut enough: impl FnMut(&Status) -> bool,
) -> Status {
    let mut last = None;
    let waited = timeout(within, async {
        let mut changes = client.open("watch", json!({})).unwrap();
        loop {
            let status: Status = client.call("status", json!({})).await.unwrap();
            if enough(&status) {
                return status;
            }
            last = Some(status);
            changes.next().await.unwrap().expect("the watch went on");
        }
    });
    let waited = waited.await;
    waited.unwrap_or_else(|_| panic!("not within {within:?}: {what}. Last seen: {last:#?}"))
}

/// The state's word of one agent.
pub fn state_of(status: &Status, agent: &str) -> String {
    let found = status.agents.iter().find(|a| a.name == agent).unwrap_or_else(|| panic!("no agent {agent}"));
    serde_json::to_value(found.state).unwrap().as_str().unwrap().to_owned()
}

impl Drop for Household {
    fn drop(&mut self) {
        self.shut_down();
        if std::thread::panicking() {
            eprintln!("What the controller printed:\n{}", self.words());
        }
        for pid in self.processes() {
            if pid != std::process::id()
                && let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw)
            {
                let _ = kill_process(pid, Signal::KILL);
            }
        }
    }
}
