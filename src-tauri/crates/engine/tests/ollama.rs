//! The Ollama engine against a small server that answers as Ollama does, and as broken ones do.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "what fails here fails the test")]

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use domain::AgentName;
use domain::secret::Secret;
use engine::ollama::{OllamaEngine, OllamaModel, Server, models};
use engine::{Engine, ErrorKind, Identity, Launch, Phase, Program, StartProgress};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// What a daemon holds, and the faults that it shows.
#[derive(Default)]
struct State {
    tags: Vec<(String, u64)>,
    /// Name, all bytes, bytes on the GPU.
    loaded: Vec<(String, u64, u64)>,
    /// It is still listed for so many questions after it was told to go.
    lingers: usize,
    leaving: bool,
    /// By path, instead of the true answer.
    faults: BTreeMap<String, (u16, Vec<u8>)>,
    /// By path: it takes the request and never answers.
    silent: Option<String>,
    pull: Vec<u8>,
    pull_brings: Option<(String, u64)>,
    /// "METHOD /path" and the body, in the order of their coming.
    asked: Vec<(String, Value)>,
}

struct Fake {
    state: Arc<Mutex<State>>,
    endpoint: String,
    task: JoinHandle<()>,
}

impl Drop for Fake {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Fake {
    async fn new(state: State) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let state = Arc::new(Mutex::new(state));
        let shared = state.clone();
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, shared.clone()));
            }
        });
        Self { state, endpoint, task }
    }

    fn server(&self, agent: &str, model: &str) -> Server {
        server(&self.endpoint, agent, model)
    }

    fn engine(&self, model: &str) -> OllamaEngine {
        OllamaEngine::new(vec![self.server("thor", model)]).unwrap()
    }

    fn asked(&self, what: &str) -> Vec<Value> {
        let state = self.state.lock().unwrap();
        state.asked.iter().filter(|(line, _)| line == what).map(|(_, body)| body.clone()).collect()
    }
}

async fn serve(mut stream: TcpStream, state: Arc<Mutex<State>>) {
    let mut request = Vec::new();
    let (head, body) = loop {
        if stream.read_buf(&mut request).await.unwrap_or(0) == 0 {
            return;
        }
        let Some(end) = request.windows(4).position(|w| w == b"\r\n\r\n") else { continue };
        let head = String::from_utf8_lossy(&request[..end]).to_ascii_lowercase();
        let length = head.lines().find_map(|l| l.strip_prefix("content-length: "));
        let length = length.map_or(0, |n| n.trim().parse::<usize>().unwrap());
        if request.len() >= end + 4 + length {
            break (head, request[end + 4..].to_vec());
        }
    };
    let line = head.lines().next().unwrap().trim_end_matches(" http/1.1").to_owned();
    let path = line.split(' ').nth(1).unwrap().to_owned();
    let body = serde_json::from_slice(&body).unwrap_or(Value::Null);
    let silent = {
        let mut state = state.lock().unwrap();
        state.asked.push((line, body.clone()));
        state.silent.as_ref() == Some(&path)
    };
    if silent {
        // Until the one who asked hangs up.
        let _ = stream.read_u8().await;
        return;
    }
    let (status, bytes) = answer(&mut state.lock().unwrap(), &path, &body);
    let head =
        format!("HTTP/1.1 {status} So\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", bytes.len());
    let _ = stream.write_all(head.as_bytes()).await;
    let _ = stream.write_all(&bytes).await;
}

fn answer(state: &mut State, path: &str, body: &Value) -> (u16, Vec<u8>) {
    if let Some(fault) = state.faults.get(path) {
        return fault.clone();
    }
    let full = |name: &str| if name.contains(':') { name.to_owned() } else { format!("{name}:latest") };
    let said = match path {
        "/api/version" => json!({ "version": "0.12.6" }),
        "/api/tags" => {
            let all: Vec<_> = state.tags.iter().map(|(n, size)| json!({ "name": n, "size": size })).collect();
            json!({ "models": all })
        }
        "/api/ps" => {
            if state.leaving && state.lingers == 0 {
                state.loaded.clear();
            }
            state.lingers = state.lingers.saturating_sub(usize::from(state.leaving));
            let all: Vec<_> = state
                .loaded
                .iter()
                .map(|(n, size, vram)| json!({ "name": n, "size": size, "size_vram": vram }))
                .collect();
            json!({ "models": all })
        }
        "/api/generate" => {
            let name = full(body["model"].as_str().unwrap());
            if body["keep_alive"] == 0 {
                state.leaving = true;
                json!({ "model": name, "response": "", "done": true, "done_reason": "unload" })
            } else if state.tags.iter().any(|(n, _)| *n == name) {
                state.loaded.push((name.clone(), 10, 6));
                json!({ "model": name, "response": "", "done": true, "done_reason": "load" })
            } else {
                return (404, json!({ "error": format!("model '{name}' not found") }).to_string().into());
            }
        }
        "/api/pull" => {
            state.tags.extend(state.pull_brings.take());
            return (200, state.pull.clone());
        }
        other => panic!("nobody asks for {other}"),
    };
    (200, said.to_string().into())
}

fn agent(name: &str) -> AgentName {
    AgentName::new(name).unwrap()
}

fn server(endpoint: &str, name: &str, model: &str) -> Server {
    Server {
        agent: agent(name),
        endpoint: endpoint.to_owned(),
        model: model.to_owned(),
        context: 8192,
        revision: "r1".to_owned(),
        reserved: vec![("uma".to_owned(), 5, 7)],
    }
}

fn launch() -> Launch {
    Launch {
        identity: Identity { instance: "i".to_owned() },
        agent: agent("thor"),
        program: Program::Local { command: Vec::new(), log_file: PathBuf::new() },
        args: Vec::new(),
        env: BTreeMap::new(),
        key: (String::new(), Secret::default()),
        port: 11434,
        revision: "r1".to_owned(),
        reserved: Vec::new(),
    }
}

fn has(name: &str, size: u64) -> State {
    State { tags: vec![(name.to_owned(), size)], ..State::default() }
}

/// An address where nobody listens.
async fn nobody() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    format!("http://{}", listener.local_addr().unwrap())
}

fn fault(path: &str, status: u16, body: impl Into<Vec<u8>>) -> State {
    let mut state = has("qwen:latest", 9);
    state.faults.insert(path.to_owned(), (status, body.into()));
    state
}

#[tokio::test]
async fn it_says_its_version_and_without_servers_nobody_is_asked() {
    let fake = Fake::new(State::default()).await;
    let info = fake.engine("qwen").probe().await.unwrap();
    assert_eq!((info.kind, info.version.as_deref()), ("ollama", Some("0.12.6")));
    let none = OllamaEngine::new(Vec::new()).unwrap();
    let info = none.probe().await.unwrap();
    assert_eq!((none.id(), info.kind, info.version), ("ollama", "ollama", None));
    assert!(none.list().await.unwrap().is_empty());
    assert!(none.held().await.is_empty());
}

#[tokio::test]
async fn the_first_endpoint_of_the_stack_is_probed() {
    let fake = Fake::new(State::default()).await;
    let servers = vec![fake.server("thor", "qwen"), server("http://127.0.0.1:1", "loki", "qwen")];
    assert!(OllamaEngine::new(servers).unwrap().probe().await.is_ok());
}

#[tokio::test]
async fn a_loaded_model_is_an_instance_whatever_tag_is_written() {
    let mut state = has("qwen:latest", 9);
    state.loaded = vec![("qwen:latest".to_owned(), 10, 6), ("other:7b".to_owned(), 3, 3)];
    let fake = Fake::new(state).await;
    let servers = vec![fake.server("thor", "qwen"), fake.server("loki", "qwen:14b")];
    let engine = OllamaEngine::new(servers).unwrap();
    let list = engine.list().await.unwrap();
    let [one] = list.as_slice() else { panic!("{list:?}") };
    assert_eq!(one.agent, agent("thor"));
    assert_eq!(one.id, format!("{}#qwen", fake.endpoint));
    assert_eq!((&one.endpoint, one.revision.as_str()), (&fake.endpoint, "r1"));
    assert_eq!((&one.reserved, &one.phase), (&vec![("uma".to_owned(), 5, 7)], &Phase::Running));
    assert!(one.key.is_empty() && one.pids.is_empty());
    assert_eq!(engine.held().await, [(agent("thor"), 6, 4)]);
}

#[tokio::test]
async fn all_models_are_listed_with_what_they_hold() {
    let mut state = has("qwen:latest", 9);
    state.tags.push(("gpt-oss:120b".to_owned(), 60));
    // More on the GPU than there is in all cannot be.
    state.loaded = vec![("gpt-oss:120b".to_owned(), 70, 71)];
    let fake = Fake::new(state).await;
    let list = models(&net::plain().build().unwrap(), &fake.endpoint).await.unwrap();
    let qwen = OllamaModel { name: "qwen:latest".into(), size: 9, loaded: false, total: 0, vram: 0 };
    let oss = OllamaModel { name: "gpt-oss:120b".into(), size: 60, loaded: true, total: 70, vram: 70 };
    assert_eq!(list, [qwen, oss]);
}

#[tokio::test]
async fn a_start_loads_the_model_for_good_with_its_context() {
    let fake = Fake::new(has("qwen:latest", 9)).await;
    let engine = fake.engine("qwen");
    let instance = engine.start(&launch(), &mut |_| ()).await.unwrap();
    assert_eq!(engine.list().await.unwrap(), [instance]);
    let wanted =
        json!({ "model": "qwen", "keep_alive": -1, "stream": false, "options": { "num_ctx": 8192 } });
    assert_eq!(fake.asked("post /api/generate"), [wanted]);
}

#[tokio::test]
async fn a_model_that_is_not_there_is_not_loaded() {
    let fake = Fake::new(has("other:latest", 9)).await;
    let engine = fake.engine("qwen:14b");
    assert!(!engine.has_image(&launch()).await.unwrap());
    let error = engine.start(&launch(), &mut |_| ()).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::NoModel);
    assert!(error.next.contains("ollama pull qwen:14b"), "{}", error.next);
    assert!(fake.asked("post /api/generate").is_empty());
}

#[tokio::test]
async fn a_model_that_does_not_load_says_why() {
    let body = r#"{"error":"model requires more system memory (9 GiB) than is available (2 GiB)"}"#;
    let fake = Fake::new(fault("/api/generate", 500, body)).await;
    let error = fake.engine("qwen").start(&launch(), &mut |_| ()).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Failed);
    assert!(error.message.contains("requires more system memory"), "{}", error.message);
}

#[tokio::test]
async fn a_stop_waits_until_the_model_is_gone() {
    let mut state = has("qwen:latest", 9);
    state.loaded = vec![("qwen:latest".to_owned(), 10, 6)];
    state.lingers = 2;
    let fake = Fake::new(state).await;
    let engine = fake.engine("qwen");
    engine.stop(&agent("thor"), Duration::from_secs(20)).await.unwrap();
    assert!(fake.state.lock().unwrap().loaded.is_empty());
    let unload = json!({ "model": "qwen", "keep_alive": 0, "stream": false });
    assert_eq!(fake.asked("post /api/generate"), std::slice::from_ref(&unload));
    // Gone already is fine, and nothing is asked of it again.
    engine.stop(&agent("thor"), Duration::from_secs(20)).await.unwrap();
    assert_eq!(fake.asked("post /api/generate"), [unload]);
}

#[tokio::test]
async fn one_that_stays_loaded_is_said() {
    let mut state = has("qwen:latest", 9);
    state.loaded = vec![("qwen:latest".to_owned(), 10, 6)];
    state.lingers = usize::MAX;
    let fake = Fake::new(state).await;
    let error = fake.engine("qwen").stop(&agent("thor"), Duration::ZERO).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Failed);
    assert!(error.message.contains("stays loaded"), "{}", error.message);
}

#[tokio::test]
async fn a_pull_counts_the_bytes_of_all_files() {
    let lines = [
        r#"{"status":"pulling manifest"}"#,
        r#"{"status":"pulling a","digest":"sha256:a","total":100}"#,
        r#"{"status":"pulling a","digest":"sha256:a","total":100,"completed":40}"#,
        "no JSON at all",
        r#"{"status":"pulling a","digest":"sha256:a","total":100,"completed":100}"#,
        r#"{"status":"pulling b","digest":"sha256:b","total":10,"completed":5}"#,
        r#"{"status":"verifying sha256 digest"}"#,
        r#"{"status":"success"}"#,
    ];
    let mut state = State { pull: lines.join("\n").into(), ..State::default() };
    state.pull_brings = Some(("qwen:latest".to_owned(), 110));
    let fake = Fake::new(state).await;
    let mut seen = Vec::new();
    fake.engine("qwen").pull(&launch(), &mut |step| seen.push(step)).await.unwrap();
    let step = |done, total| StartProgress::Pulling { done, total: Some(total) };
    assert_eq!(seen, [step(0, 100), step(40, 100), step(100, 100), step(105, 110)]);
    assert_eq!(fake.asked("post /api/pull"), [json!({ "model": "qwen", "stream": true })]);
}

#[tokio::test]
async fn a_pull_that_fails_says_so_even_where_an_older_copy_is_there() {
    let said = r#"{"error":"pull model manifest: file does not exist"}"#;
    for end in ["", "\n"] {
        let mut state = has("qwen:latest", 9);
        state.pull = format!("{{\"status\":\"pulling manifest\"}}\n{said}{end}").into();
        let in_the_stream = Fake::new(state).await;
        let at_once = Fake::new(fault("/api/pull", 500, format!("{said}{end}"))).await;
        for fake in [in_the_stream, at_once] {
            let error = fake.engine("qwen").pull(&launch(), &mut |_| ()).await.unwrap_err();
            assert_eq!(error.kind, ErrorKind::Failed);
            assert!(error.message.contains("file does not exist"), "{}", error.message);
        }
    }
}

#[tokio::test]
async fn a_pull_that_brings_nothing_is_an_error() {
    let fake = Fake::new(State { pull: b"{\"status\":\"success\"}\n".to_vec(), ..State::default() }).await;
    let error = fake.engine("qwen").pull(&launch(), &mut |_| ()).await.unwrap_err();
    assert!(error.message.contains("not there after its pull"), "{}", error.message);
}

#[tokio::test]
async fn a_line_without_end_is_not_kept_for_ever() {
    let state = State { pull: vec![b'x'; 6 << 20], ..State::default() };
    let fake = Fake::new(state).await;
    let error = fake.engine("qwen").pull(&launch(), &mut |_| ()).await.unwrap_err();
    assert!(error.message.contains("far too long"), "{}", error.message);
}

#[tokio::test]
async fn answers_that_are_not_ollamas_are_errors_and_never_an_empty_list() {
    let huge = format!("{{\"models\":[],\"x\":\"{}\"}}", "x".repeat(5 << 20));
    let faults: [(u16, &str, &str); 7] = [
        (200, "<html>hello</html>", "no JSON"),
        (200, "", "no JSON"),
        (200, "{}", "may not be Ollama"),
        (200, "[]", "may not be Ollama"),
        (200, r#"{"models":[{"name":7}]}"#, "cannot be read"),
        (500, r#"{"error":"out of luck"}"#, "out of luck"),
        (200, &huge, "far too large"),
    ];
    for (status, body, word) in faults {
        let fake = Fake::new(fault("/api/ps", status, body)).await;
        let engine = fake.engine("qwen");
        let error = engine.list().await.unwrap_err();
        assert_eq!(error.kind, ErrorKind::Failed);
        assert!(error.message.contains(word) && error.next.contains("journalctl"), "{error:?}");
        assert!(engine.held().await.is_empty());
        assert!(models(&net::plain().build().unwrap(), &fake.endpoint).await.is_err());
    }
    let fake = Fake::new(fault("/api/ps", 503, "busy")).await;
    let error = fake.engine("qwen").list().await.unwrap_err();
    assert!(error.message.contains("503"), "{}", error.message);
    let fake = Fake::new(fault("/api/ps", 200, r#"{"models":null}"#)).await;
    assert!(fake.engine("qwen").list().await.unwrap().is_empty());
}

#[tokio::test]
async fn a_dead_daemon_is_unreachable_and_holds_nothing() {
    let endpoint = nobody().await;
    let engine = OllamaEngine::new(vec![server(&endpoint, "thor", "qwen")]).unwrap();
    let grace = Duration::from_secs(1);
    let errors = [
        engine.probe().await.unwrap_err(),
        engine.list().await.unwrap_err(),
        engine.has_image(&launch()).await.unwrap_err(),
        engine.pull(&launch(), &mut |_| ()).await.unwrap_err(),
        engine.start(&launch(), &mut |_| ()).await.unwrap_err(),
        engine.stop(&agent("thor"), grace).await.unwrap_err(),
        models(&net::plain().build().unwrap(), &endpoint).await.unwrap_err(),
    ];
    for error in errors {
        assert_eq!(error.kind, ErrorKind::Unreachable);
        assert!(error.message.contains(&endpoint) && error.next.contains("systemctl start ollama"));
    }
    assert!(engine.held().await.is_empty());
}

#[tokio::test]
async fn a_daemon_that_says_nothing_is_not_waited_for() {
    let mut state = has("qwen:latest", 9);
    state.silent = Some("/api/version".to_owned());
    let fake = Fake::new(state).await;
    let engine = fake.engine("qwen");
    let answer = tokio::time::timeout(Duration::from_secs(20), engine.probe()).await;
    assert_eq!(answer.expect("it gives up by itself").unwrap_err().kind, ErrorKind::Unreachable);
}

#[tokio::test]
async fn its_log_is_ollamas() {
    let engine = OllamaEngine::new(Vec::new()).unwrap();
    let tail = engine.log_tail(&agent("thor"), 5).await.unwrap_err();
    let follow = engine.log_follow(&agent("thor")).await.err().unwrap();
    for error in [tail, follow] {
        assert_eq!(error.kind, ErrorKind::Foreign);
        assert!(error.next.contains("journalctl -u ollama"), "{}", error.next);
    }
}
