//! The Hub's own Python client, as the judge of a Hub and of a cache. `scripts/clients` installs it; what each case does
//! is in `tests/clients/hub_client.py`.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a harness: what fails here fails the test"
)]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use rehearsal::hub::Repo;
use serde_json::Value;

/// A private home of the client: its cache is below it.
#[derive(Debug)]
pub struct Client {
    endpoint: String,
    home: PathBuf,
    token: Option<String>,
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_path_buf()
}

/// The environment that `scripts/clients` made.
pub fn python() -> PathBuf {
    let place = root().join("target/clients");
    assert!(place.join(".ready").is_file(), "scripts/clients installs the clients");
    place.join("bin/python")
}

impl Client {
    /// `home` is its `HF_HOME`; the cache is `home/hub`.
    pub fn new(endpoint: &str, home: &Path) -> Self {
        Self { endpoint: endpoint.to_owned(), home: home.to_path_buf(), token: None }
    }

    #[must_use]
    pub fn with_token(mut self, token: &str) -> Self {
        self.token = Some(token.to_owned());
        self
    }

    /// The command of one case, to be started as the caller likes.
    pub fn command(&self, case: &[&str], expected: &Value) -> Command {
        let mut command = Command::new(python());
        command
            .env_clear()
            .arg(root().join("tests/clients/hub_client.py"))
            .args(case)
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", &self.home)
            .env("HF_HOME", &self.home)
            .env("HF_ENDPOINT", &self.endpoint)
            .env("HF_HUB_DISABLE_TELEMETRY", "1")
            .env("HF_HUB_DISABLE_PROGRESS_BARS", "1")
            .env("NO_PROXY", "127.0.0.1,127.0.0.2")
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .env("EXPECTED", expected.to_string())
            .stdin(Stdio::null());
        if let Some(token) = &self.token {
            command.env("CLIENT_TOKEN", token);
        }
        command
    }

    /// Runs one case to its end; what it saw. A case that fails ends the test with everything it said.
    pub fn run(&self, case: &[&str], expected: &Value) -> Value {
        let done = self.command(case, expected).output().unwrap();
        let said = String::from_utf8_lossy(&done.stdout).into_owned();
        assert!(
            done.status.success(),
            "{case:?}: {}\n{said}\n{}",
            done.status,
            String::from_utf8_lossy(&done.stderr)
        );
        let last = said.lines().last().unwrap_or_default();
        serde_json::from_str(last).unwrap_or_else(|e| panic!("{case:?} said {said:?}: {e}"))
    }
}

/// The SHA-256 of every file of a repository's newest commit, by path: what a case expects of a whole one.
pub fn hashes(repo: &Repo) -> Value {
    let files = &repo.head().unwrap().files;
    let all: BTreeMap<&str, &str> = files.iter().map(|f| (f.path.as_str(), f.sha256())).collect();
    serde_json::to_value(all).unwrap()
}
