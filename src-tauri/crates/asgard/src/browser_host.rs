//! A loopback HTTP host for the browser tests: the window's pages in an ordinary browser, on a real controller.
//!
//! It serves the built pages and passes `POST /rpc` and `POST /stream` on to the control socket, as the window's one
//! command does. It stands behind the feature `browser-host` and is not part of what is installed.
//!
//! Whoever reaches this port could do all that the user can, so three things are asked of a request: a `Host` of the
//! loopback with this port (a name that was rebound to 127.0.0.1 still says its own name there), an `Origin` of this
//! very page where there is one, and the token, compared in constant time. The pages themselves hold no secret and are
//! served without it; the token is in the address's fragment, which a browser does not send.
//!
//! Deliberately absent: CORS headers, anything of Asgard's own. The folder is read once, at the start, and no path of
//! a request is ever a path of a file.

use std::collections::HashMap;
use std::convert::Infallible;
use std::io::Write as _;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use api::client::{Chunks, Client};
use api::{ApiError, Code};
use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::http::header::{
    AUTHORIZATION, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HOST, ORIGIN, X_CONTENT_TYPE_OPTIONS,
};
use axum::http::{HeaderMap, HeaderValue, StatusCode, Uri};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::serve::ListenerExt;
use clap::Parser;
use domain::secret::Secret;
use futures_util::stream;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::net::TcpListener;

/// The window's policy, with the one connection that its `rpc` is there: this host.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; \
                      connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// Serves Asgard's pages to a browser test.
#[derive(Parser)]
#[command(name = "asgard-browser-host")]
struct Words {
    /// The built pages.
    #[arg(long)]
    dist: PathBuf,
    /// The port on 127.0.0.1; 0 for any free one.
    #[arg(long)]
    port: u16,
    /// What the page must send as its bearer token.
    #[arg(long)]
    token: String,
    /// The control socket, where it is not the user's.
    #[arg(long)]
    socket: Option<PathBuf>,
}

struct Host {
    port: u16,
    token: Secret,
    socket: PathBuf,
    pages: HashMap<String, (&'static str, Bytes)>,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    match run(Words::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("{why}");
            ExitCode::FAILURE
        }
    }
}

async fn run(words: Words) -> Result<(), String> {
    if words.token.is_empty() {
        return Err("The token is empty. Give a random one with --token.".to_owned());
    }
    let socket = words.socket.map_or_else(users_socket, Ok)?;
    let dist = &words.dist;
    let mut pages = HashMap::new();
    read_pages(dist, "", &mut pages)
        .map_err(|e| format!("The pages in {} cannot be read ({e}).", dist.display()))?;
    if !pages.contains_key("/index.html") {
        return Err(format!(
            "There is no index.html in {}. Build the pages first: npm run build.",
            dist.display()
        ));
    }
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, words.port));
    let listening = TcpListener::bind(address).await.and_then(|l| l.local_addr().map(|at| (l, at)));
    let (listener, at) = listening.map_err(|e| format!("Port {} cannot be opened ({e}).", words.port))?;
    let host = Host { port: at.port(), token: Secret::new(words.token), socket, pages };
    // The line that a test waits for.
    println!("listening http://{at}/");
    let _ = std::io::stdout().flush();
    // Small lines, each to be seen at once.
    let listener = listener.tap_io(|connection| {
        let _ = connection.set_nodelay(true);
    });
    axum::serve(listener, router(host)).await.map_err(|e| format!("The host ended ({e})."))
}

fn users_socket() -> Result<PathBuf, String> {
    let uid = rustix::process::getuid().as_raw();
    let paths = store::paths::Paths::from_env(&|name| std::env::var_os(name), uid, false);
    paths.map(|paths| paths.socket()).map_err(|e| e.to_string())
}

fn router(host: Host) -> Router {
    let host = Arc::new(host);
    Router::new()
        .route("/rpc", post(rpc))
        .route("/stream", post(open_stream))
        .fallback(get(page))
        .layer(DefaultBodyLimit::max(api::wire::MAX_LINE))
        .layer(from_fn_with_state(Arc::clone(&host), door))
        .with_state(host)
}

fn read_pages(
    folder: &Path,
    prefix: &str,
    pages: &mut HashMap<String, (&'static str, Bytes)>,
) -> std::io::Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let name = format!("{prefix}/{}", entry.file_name().to_string_lossy());
        if entry.file_type()?.is_dir() {
            read_pages(&entry.path(), &name, pages)?;
        } else {
            let kind = kind_of(&name);
            pages.insert(name, (kind, Bytes::from(std::fs::read(entry.path())?)));
        }
    }
    Ok(())
}

fn kind_of(name: &str) -> &'static str {
    match name.rsplit('.').next() {
        Some("html") => "text/html; charset=utf-8",
        Some("js") => "text/javascript; charset=utf-8",
        Some("css") => "text/css; charset=utf-8",
        Some("svg") => "image/svg+xml",
        Some("png") => "image/png",
        Some("woff2") => "font/woff2",
        Some("json" | "map") => "application/json",
        _ => "application/octet-stream",
    }
}

/// Before anything else: is it this machine's own page that asks? After it: the headers that every answer has.
async fn door(State(host): State<Arc<Host>>, request: Request, next: Next) -> Response {
    let mut answer = if is_ours(request.headers(), host.port) {
        next.run(request).await
    } else {
        let message = "This host answers its own page only.";
        refusal(
            StatusCode::FORBIDDEN,
            &ApiError::new(Code::Usage, message, "Open the address that it printed."),
        )
    };
    let headers = answer.headers_mut();
    headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    answer
}

fn is_ours(headers: &HeaderMap, port: u16) -> bool {
    let ours = [format!("127.0.0.1:{port}"), format!("localhost:{port}")];
    let mut hosts = headers.get_all(HOST).iter();
    let host =
        hosts.next().is_some_and(|host| ours.iter().any(|o| host == o.as_str())) && hosts.next().is_none();
    let page = |origin: &HeaderValue| {
        origin
            .to_str()
            .ok()
            .and_then(|o| o.strip_prefix("http://"))
            .is_some_and(|o| ours.iter().any(|ours| o == ours))
    };
    host && headers.get_all(ORIGIN).iter().all(page)
}

/// The time that it takes tells nothing of how much of a token was right.
fn is_token(headers: &HeaderMap, token: &Secret) -> bool {
    let given = headers
        .get(AUTHORIZATION)
        .and_then(|value| value.as_bytes().strip_prefix(b"Bearer "))
        .unwrap_or_default();
    let wanted = token.reveal().as_bytes();
    let different = given.iter().zip(wanted).fold(0, |different, (a, b)| different | (a ^ b));
    std::hint::black_box(different) == 0 && given.len() == wanted.len()
}

async fn page(State(host): State<Arc<Host>>, uri: Uri) -> Response {
    let path = if uri.path() == "/" { "/index.html" } else { uri.path() };
    match host.pages.get(path) {
        Some((kind, bytes)) => ([(CONTENT_TYPE, *kind)], bytes.clone()).into_response(),
        None => StatusCode::NOT_FOUND.into_response(),
    }
}

#[derive(Deserialize)]
struct Asked {
    cmd: String,
    #[serde(default)]
    payload: Value,
}

async fn rpc(State(host): State<Arc<Host>>, headers: HeaderMap, body: Bytes) -> Response {
    let answer = async {
        let (client, asked) = host.admit(&headers, &body).await?;
        client.call_value(&asked.cmd, asked.payload).await
    };
    match answer.await {
        Ok(value) => axum::Json(value).into_response(),
        Err(error) => refusal(status_of(error.code), &error),
    }
}

/// A line of JSON for each chunk, then one for the end. A page that goes away ends the stream on the socket too.
async fn open_stream(State(host): State<Arc<Host>>, headers: HeaderMap, body: Bytes) -> Response {
    let opened = async {
        let (client, asked) = host.admit(&headers, &body).await?;
        client.open(&asked.cmd, asked.payload)
    };
    match opened.await {
        Ok(chunks) => {
            let lines = stream::unfold(Some(chunks), |chunks| async move {
                let (line, rest) = next_line(chunks?).await;
                Some((Ok::<_, Infallible>(format!("{line}\n")), rest))
            });
            ([(CONTENT_TYPE, "application/x-ndjson")], Body::from_stream(lines)).into_response()
        }
        Err(error) => refusal(status_of(error.code), &error),
    }
}

async fn next_line(mut chunks: Chunks) -> (Value, Option<Chunks>) {
    match chunks.next().await {
        Ok(Some(chunk)) => (json!({"chunk": chunk}), Some(chunks)),
        Ok(None) => (json!({"end": null}), None),
        Err(error) => (json!({"error": error}), None),
    }
}

impl Host {
    /// The token, the shape, and a connection to the controller: a new one each time, so that a controller that was
    /// started again is simply there.
    async fn admit(&self, headers: &HeaderMap, body: &[u8]) -> Result<(Client, Asked), ApiError> {
        if !is_token(headers, &self.token) {
            let next = "Open the address with #token= and the token that the host was started with.";
            return Err(ApiError::new(Code::Usage, "The token is missing or wrong.", next));
        }
        let asked = serde_json::from_slice(body).map_err(|e| {
            let message = format!("The request cannot be read ({e}).");
            ApiError::new(Code::Usage, message, r#"Send {"cmd": ..., "payload": ...}."#)
        })?;
        Ok((Client::connect(&self.socket).await?, asked))
    }
}

fn status_of(code: Code) -> StatusCode {
    match code {
        Code::Usage => StatusCode::BAD_REQUEST,
        Code::Unknown => StatusCode::NOT_FOUND,
        Code::DoesNotFit | Code::Busy | Code::Cancelled | Code::Asleep | Code::Unconfirmed => {
            StatusCode::CONFLICT
        }
        Code::Stack => StatusCode::UNPROCESSABLE_ENTITY,
        Code::Failed => StatusCode::INTERNAL_SERVER_ERROR,
        Code::Engine => StatusCode::BAD_GATEWAY,
        Code::Unreachable => StatusCode::SERVICE_UNAVAILABLE,
    }
}

fn refusal(status: StatusCode, error: &ApiError) -> Response {
    (status, axum::Json(error)).into_response()
}

#[cfg(test)]
#[path = "browser_host_tests.rs"]
mod tests;
