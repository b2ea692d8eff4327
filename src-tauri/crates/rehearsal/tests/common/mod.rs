//! A stand-in as a process, an HTTP client that shows everything, and the recorded answers.

// Each test program uses its own part of this, and none has anybody to publish it to.
#![allow(dead_code, unreachable_pub)]

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

/// Nothing here takes long; what is not there by then will not come.
pub const DEADLINE: Duration = Duration::from_secs(20);

/// A port that was free a moment ago.
pub fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

pub struct Server {
    pub child: Child,
    pub port: u16,
    lines: Receiver<String>,
    seen: Vec<String>,
    _dir: tempfile::TempDir,
    pub report: PathBuf,
    pub journal: PathBuf,
}

impl Server {
    /// Starts `line` (with `{port}` for its port) and these variables; does not wait.
    pub fn start(line: &str, variables: &[(&str, &str)]) -> Self {
        let port = free_port();
        let dir = tempfile::tempdir().unwrap();
        let report = dir.path().join("held/agent.json");
        let journal = dir.path().join("journal.jsonl");
        let line = line.replace("{port}", &port.to_string());
        let mut child = Command::new(env!("CARGO_BIN_EXE_asgard-stand-in"))
            .args(line.split_whitespace())
            .env_clear()
            .env("ASGARD_AGENT", "odin")
            .env("ASGARD_REHEARSAL_LOAD_MS", "50")
            .env("ASGARD_REHEARSAL_TOKENS_PER_SECOND", "2000")
            .env("ASGARD_REHEARSAL_REPORT", &report)
            .env("ASGARD_REHEARSAL_JOURNAL", &journal)
            .envs(variables.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let (sender, lines) = channel();
        let log = child.stderr.take().unwrap();
        std::thread::spawn(move || {
            for line in BufReader::new(log).lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        Self { child, port, lines, seen: Vec::new(), _dir: dir, report, journal }
    }

    /// The same as [`Server::start`], with a log that nobody reads any more.
    pub fn unread(line: &str) -> (Child, u16) {
        let port = free_port();
        let line = line.replace("{port}", &port.to_string());
        let mut child = Command::new(env!("CARGO_BIN_EXE_asgard-stand-in"))
            .args(line.split_whitespace())
            .env_clear()
            .env("ASGARD_REHEARSAL_LOAD_MS", "200")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        drop(child.stderr.take());
        (child, port)
    }

    /// Starts and waits until it answers.
    pub fn ready(line: &str, variables: &[(&str, &str)]) -> Self {
        let mut server = Self::start(line, variables);
        server.wait_for(if line.starts_with("vllm") {
            "Application startup complete."
        } else {
            "listening on"
        });
        server
    }

    /// Waits for a line that contains `text`.
    pub fn wait_for(&mut self, text: &str) -> String {
        self.sees(text, DEADLINE).unwrap_or_else(|| panic!("no {text:?} in:\n{}", self.seen.join("\n")))
    }

    /// Whether a line with `text` comes within `patience`.
    pub fn sees(&mut self, text: &str, patience: Duration) -> Option<String> {
        let until = Instant::now() + patience;
        loop {
            let line = self.lines.recv_timeout(until.saturating_duration_since(Instant::now())).ok()?;
            self.seen.push(line.clone());
            if line.contains(text) {
                return Some(line);
            }
        }
    }

    /// Waits for its end. The whole log, and how it ended.
    pub fn end(&mut self) -> (String, ExitStatus) {
        let until = Instant::now() + DEADLINE;
        // The log ends when the process does.
        loop {
            match self.lines.recv_timeout(until.saturating_duration_since(Instant::now())) {
                Ok(line) => self.seen.push(line),
                Err(std::sync::mpsc::RecvTimeoutError::Disconnected) => break,
                Err(error) => panic!("still running ({error}):\n{}", self.seen.join("\n")),
            }
        }
        (self.seen.join("\n"), self.child.wait().unwrap())
    }

    pub fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    pub fn get(&self, path: &str) -> Answer {
        self.ask("GET", path, &[], "")
    }

    pub fn post(&self, path: &str, body: &str) -> Answer {
        self.ask("POST", path, &[], body)
    }

    pub fn ask(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Answer {
        self.try_ask(method, path, headers, body).unwrap()
    }

    /// An answer, or none where the server hung up before one was whole.
    pub fn try_ask(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Option<Answer> {
        let mut raw = Vec::new();
        self.open(method, path, headers, body).read_to_end(&mut raw).ok()?;
        Answer::parse(&raw)
    }

    /// Sends a request and leaves the answer to be read.
    pub fn open(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> TcpStream {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        let mut text = format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n");
        for (name, value) in headers {
            text.extend([name, ": ", value, "\r\n"]);
        }
        let length = body.len().to_string();
        text.extend(["Content-Type: application/json\r\nContent-Length: ", &length, "\r\n\r\n"]);
        text.push_str(body);
        stream.write_all(text.as_bytes()).unwrap();
        stream
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[derive(Debug, Clone)]
pub struct Answer {
    pub status: u16,
    /// Names in lower case.
    pub headers: BTreeMap<String, String>,
    pub body: String,
}

impl Answer {
    /// From the bytes of an HTTP answer; `None` where it is not whole.
    fn parse(raw: &[u8]) -> Option<Self> {
        let text = String::from_utf8(raw.to_vec()).ok()?;
        let (head, body) = text.split_once("\r\n\r\n")?;
        let mut answer = Self::head(head)?;
        answer.body = if answer.headers.get("transfer-encoding").is_some_and(|e| e == "chunked") {
            joined(body)?
        } else {
            body.to_owned()
        };
        Some(answer)
    }

    fn head(head: &str) -> Option<Self> {
        let mut lines = head.lines();
        let status = lines.next()?.split(' ').nth(1)?.parse().ok()?;
        let headers = lines
            .filter_map(|line| line.split_once(':'))
            .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
            .collect();
        Some(Self { status, headers, body: String::new() })
    }

    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.body))
    }

    /// Data of a stream's events, without `[DONE]`.
    pub fn events(&self) -> Vec<serde_json::Value> {
        self.body
            .lines()
            .filter_map(|line| line.strip_prefix("data: "))
            .filter(|data| *data != "[DONE]")
            .map(|data| serde_json::from_str(data).unwrap())
            .collect()
    }
}

/// A chunked body in one piece; `None` where its end is missing.
fn joined(mut rest: &str) -> Option<String> {
    let mut whole = String::new();
    loop {
        let (size, after) = rest.split_once("\r\n")?;
        let size = usize::from_str_radix(size, 16).ok()?;
        if size == 0 {
            return Some(whole);
        }
        whole.push_str(after.get(..size)?);
        rest = after.get(size + 2..)?;
    }
}

/// A recorded request and its answer.
#[derive(Debug)]
pub struct Capture {
    pub method: String,
    pub path: String,
    pub request: String,
    pub answer: Answer,
}

pub fn capture_text(dialect: &str, name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/captures/{dialect}/{name}.txt"));
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

impl Capture {
    pub fn read(dialect: &str, name: &str) -> Self {
        let text = capture_text(dialect, name).replace("\r\n", "\n");
        let mut rest = text.as_str();
        let (mut method, mut path, mut request) = (String::new(), String::new(), String::new());
        while let Some((line, after)) = rest.strip_prefix("# ").and_then(|r| r.split_once('\n')) {
            if let Some(body) = line.strip_prefix("request body: ") {
                body.clone_into(&mut request);
            } else if let Some((verb, target)) = line.split_once(' ') {
                (method, path) = (verb.to_owned(), target.to_owned());
            }
            rest = after;
        }
        let (head, body) = rest.split_once("\n\n").unwrap_or_else(|| panic!("no answer in {name}"));
        let mut answer = Answer::head(head).unwrap();
        body.trim_end_matches('\n').clone_into(&mut answer.body);
        if request.contains("(4000 times)") {
            let (start, end) = request.split_once("word ...(4000 times)... ").unwrap();
            request = format!("{start}{}{end}", "word ".repeat(4000));
        }
        Self { method, path, request, answer }
    }
}
