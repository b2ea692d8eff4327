use std::time::Duration;

use api::wire::{Call, Reply};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpStream, UnixListener};
use tokio::sync::mpsc;

use super::*;

const TOKEN: &str = "a-token-of-this-test";

struct Rig {
    at: SocketAddr,
    /// What the controller was sent: the command, or "cancel".
    calls: mpsc::UnboundedReceiver<String>,
    _folder: tempfile::TempDir,
}

/// A host on a controller that answers "status" with its payload, streams two chunks for "watch" and waits, streams
/// one and ends for "follow_logs", and refuses the rest as busy.
async fn rig(controller: bool) -> Rig {
    let folder = tempfile::tempdir().unwrap();
    let dist = folder.path().join("dist");
    std::fs::create_dir_all(dist.join("assets")).unwrap();
    std::fs::write(dist.join("index.html"), "<!doctype html>").unwrap();
    std::fs::write(dist.join("assets/main.js"), "1").unwrap();
    std::fs::write(folder.path().join("secret"), "secret").unwrap();
    let socket = folder.path().join("control.sock");
    let (heard, calls) = mpsc::unbounded_channel();
    if controller {
        let listener = UnixListener::bind(&socket).unwrap();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let heard = heard.clone();
                tokio::spawn(async move {
                    let (read, mut write) = stream.into_split();
                    let mut lines = BufReader::new(read).lines();
                    while let Ok(Some(line)) = lines.next_line().await {
                        let call: Call = serde_json::from_str(&line).unwrap();
                        let _ = heard.send(call.cmd.clone().unwrap_or_else(|| "cancel".to_owned()));
                        for body in played(&call) {
                            let mut line = serde_json::to_string(&Reply { id: call.id, body }).unwrap();
                            line.push('\n');
                            write.write_all(line.as_bytes()).await.unwrap();
                        }
                    }
                });
            }
        });
    }
    let mut pages = HashMap::new();
    read_pages(&dist, "", &mut pages).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = listener.local_addr().unwrap();
    let host = Host { port: at.port(), token: Secret::new(TOKEN), socket, pages };
    tokio::spawn(async move { axum::serve(listener, router(host)).await });
    Rig { at, calls, _folder: folder }
}

fn played(call: &Call) -> Vec<api::wire::Body> {
    use api::wire::Body::{Chunk, Error, Ok};
    match call.cmd.as_deref() {
        Some("status") => vec![Ok(call.payload.clone())],
        Some("watch") => vec![Chunk(json!(1)), Chunk(json!(2))],
        Some("follow_logs") => vec![Chunk(json!({"text": "ä"})), Ok(json!({}))],
        Some("follow_reply") => {
            vec![Chunk(json!(1)), Error(ApiError::new(Code::Failed, "It broke.", "Try again."))]
        }
        Some(_) => vec![Error(ApiError::new(Code::Busy, "A switch is under way.", "Wait."))],
        None => vec![],
    }
}

impl Rig {
    async fn open(&self, request: &str) -> TcpStream {
        let mut stream = TcpStream::connect(self.at).await.unwrap();
        stream.write_all(request.replace("{at}", &self.at.to_string()).as_bytes()).await.unwrap();
        stream
    }

    /// Status, head and body of a request that asks for the connection to end.
    async fn ask(&self, request: &str) -> (u16, String, String) {
        let mut stream = self.open(request).await;
        let mut text = String::new();
        tokio::time::timeout(Duration::from_secs(20), stream.read_to_string(&mut text))
            .await
            .unwrap()
            .unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        (head.split(' ').nth(1).unwrap().parse().unwrap(), head.to_owned(), body.to_owned())
    }
}

fn post(path: &str, headers: &str, body: &str) -> String {
    let length = body.len();
    format!(
        "POST {path} HTTP/1.1\r\nconnection: close\r\ncontent-length: {length}\r\n{headers}\r\n\r\n{body}"
    )
}

fn admitted() -> String {
    format!("host: {{at}}\r\norigin: http://{{at}}\r\nauthorization: Bearer {TOKEN}")
}

#[tokio::test]
async fn only_the_own_page_with_the_token_is_answered() {
    let mut rig = rig(true).await;
    let body = r#"{"cmd":"status","payload":{"a":1}}"#;
    let fine = admitted();
    for (headers, code) in [
        (fine.clone(), 200),
        (fine.replace("origin: http://{at}\r\n", ""), 200),
        (fine.replace("host: {at}", "host: evil.com"), 403),
        (fine.replace("host: {at}", "host: 127.0.0.1"), 403),
        (fine.replace("origin: http://{at}", "origin: http://localhost:1"), 403),
        (fine.replace("origin: http://{at}", "origin: null"), 403),
        (fine.replace(TOKEN, "a-token-of-this-tesx"), 400),
        (fine.replace(TOKEN, "a-token-of-this-tes"), 400),
        (fine.replace(TOKEN, "a-token-of-this-test2"), 400),
        (fine.replace(TOKEN, ""), 400),
        (fine.replace("Bearer ", "Basic "), 400),
        ("host: {at}".to_owned(), 400),
    ] {
        let (status, head, answer) = rig.ask(&post("/rpc", &headers, body)).await;
        assert_eq!(status, code, "{headers}");
        assert!(!head.contains("access-control"), "no CORS header is ever sent");
        if code == 200 {
            assert_eq!(answer, r#"{"a":1}"#);
            assert_eq!(rig.calls.recv().await.as_deref(), Some("status"));
        } else {
            let _: ApiError = serde_json::from_str(&answer).unwrap();
            assert!(rig.calls.try_recv().is_err(), "the controller hears nothing of {headers}");
        }
    }
}

#[tokio::test]
async fn errors_keep_their_shape_and_get_a_status() {
    let rig = rig(true).await;
    let (status, _, body) = rig.ask(&post("/rpc", &admitted(), r#"{"cmd":"switch","payload":{}}"#)).await;
    let error: ApiError = serde_json::from_str(&body).unwrap();
    assert_eq!((status, error.code, error.next.as_str()), (409, Code::Busy, "Wait."));
    let (status, _, body) = rig.ask(&post("/rpc", &admitted(), "{")).await;
    let error: ApiError = serde_json::from_str(&body).unwrap();
    assert_eq!((status, error.code), (400, Code::Usage));
}

#[tokio::test]
async fn a_controller_that_does_not_run_is_said() {
    let rig = rig(false).await;
    for path in ["/rpc", "/stream"] {
        let (status, _, body) = rig.ask(&post(path, &admitted(), r#"{"cmd":"status"}"#)).await;
        let error: ApiError = serde_json::from_str(&body).unwrap();
        assert_eq!((status, error.code), (503, Code::Unreachable));
    }
}

#[tokio::test]
async fn a_stream_is_a_line_a_chunk_and_one_for_its_end() {
    let rig = rig(true).await;
    let (status, head, body) = rig.ask(&post("/stream", &admitted(), r#"{"cmd":"follow_logs"}"#)).await;
    assert_eq!(status, 200);
    assert!(head.contains("application/x-ndjson"), "{head}");
    assert!(body.contains("{\"chunk\":{\"text\":\"ä\"}}\n") && body.contains("{\"end\":null}\n"), "{body}");
    let (_, _, body) = rig.ask(&post("/stream", &admitted(), r#"{"cmd":"follow_reply"}"#)).await;
    assert!(body.contains("{\"error\":{\"code\":\"failed\""), "{body}");
}

#[tokio::test]
async fn a_page_that_goes_away_ends_its_stream() {
    let mut rig = rig(true).await;
    let mut stream = rig.open(&post("/stream", &admitted(), r#"{"cmd":"watch"}"#)).await;
    assert_eq!(rig.calls.recv().await.as_deref(), Some("watch"));
    let mut text = Vec::new();
    while !String::from_utf8_lossy(&text).contains("{\"chunk\":2}") {
        assert!(stream.read_buf(&mut text).await.unwrap() > 0, "chunks come as they are made");
    }
    drop(stream);
    let heard = tokio::time::timeout(Duration::from_secs(20), rig.calls.recv()).await.unwrap();
    assert_eq!(heard.as_deref(), Some("cancel"));
}

#[tokio::test]
async fn pages_are_the_ones_in_the_folder_under_the_strict_policy() {
    let rig = rig(true).await;
    for (path, code, kind) in [
        ("/", 200, "text/html; charset=utf-8"),
        ("/index.html", 200, "text/html; charset=utf-8"),
        ("/assets/main.js?v=1", 200, "text/javascript; charset=utf-8"),
        ("/assets", 404, ""),
        ("/../secret", 404, ""),
        ("/assets/../../secret", 404, ""),
        ("/%2e%2e/secret", 404, ""),
        ("//etc/passwd", 404, ""),
    ] {
        let get = format!("GET {path} HTTP/1.1\r\nhost: {{at}}\r\nconnection: close\r\n\r\n");
        let (status, head, body) = rig.ask(&get).await;
        assert_eq!(status, code, "{path}");
        assert!(head.contains(&format!("content-security-policy: {POLICY}")), "{head}");
        assert!(head.contains(kind) && !body.contains("secret"), "{path}: {head}");
    }
    assert!(!POLICY.contains("unsafe") && !POLICY.contains('*'));
    let (status, _, _) = rig.ask("GET /rpc HTTP/1.1\r\nhost: {at}\r\nconnection: close\r\n\r\n").await;
    assert_eq!(status, 405);
}
