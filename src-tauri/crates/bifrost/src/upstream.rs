//! Connections to the agents.

use std::collections::HashMap;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Waker};
use std::time::Duration;

use domain::secret::Secret;
use http::header::{CONTENT_LENGTH, HOST, HeaderMap, HeaderValue, TRANSFER_ENCODING};
use http::uri::PathAndQuery;
use http::{Method, Request, Response, Uri};
use hyper::body::Incoming;
use hyper::client::conn::{TrySendError, http1};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::Lease;
use crate::body::{Held, Sent};

/// A server on this machine takes a connection at once or not at all. After that nothing is timed.
const CONNECT: Duration = Duration::from_secs(5);
/// How long a connection may lie unused. Servers close theirs after five seconds (uvicorn, llama.cpp): one that is
/// used again before that never meets a server that is just closing it.
const IDLE: Duration = Duration::from_secs(2);
/// How many unused connections are kept to one agent.
const SPARE: usize = 32;
/// The longest head of an answer, and the most that is read ahead of the client.
const BUFFER: usize = 64 << 10;

type Driver = http1::Connection<TokioIo<TcpStream>, Sent>;

/// The unused connections, by the agents' addresses.
///
/// A request never costs an answer because of them: one whose server has closed it is seen before a byte is written,
/// and the request goes out on a new one. A request of which a byte may have been sent is never sent again.
#[derive(Clone, Default)]
pub(crate) struct Pool(Arc<Shelf>);

#[derive(Default)]
struct Shelf {
    spare: Mutex<HashMap<Arc<str>, Vec<Spare>>>,
    /// Something lies on an empty shelf.
    filled: Notify,
}

struct Spare {
    connection: Connection,
    since: Instant,
}

impl Pool {
    fn spare(&self) -> MutexGuard<'_, HashMap<Arc<str>, Vec<Spare>>> {
        self.0.spare.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The one that was used last: the others may then grow old and go.
    fn take(&self, lease: &Lease) -> Option<Connection> {
        let mut spare = self.spare();
        let here = spare.get_mut(&lease.endpoint)?;
        // Another key is another start of the agent: what was connected to the one before is of no use.
        if here.last().is_some_and(|last| last.connection.key != lease.key) {
            here.clear();
        }
        let newest = here.pop()?;
        if newest.since.elapsed() < IDLE {
            return Some(newest.connection);
        }
        here.clear();
        None
    }

    fn put(&self, connection: Connection) {
        let mut spare = self.spare();
        let first = spare.is_empty();
        let here = spare.entry(Arc::clone(&connection.endpoint)).or_default();
        if here.len() < SPARE {
            here.push(Spare { connection, since: Instant::now() });
        }
        drop(spare);
        if first {
            self.0.filled.notify_one();
        }
    }

    /// Forgets what is connected to an agent that broke off or cannot be reached.
    fn forget(&self, endpoint: &str) {
        self.spare().remove(endpoint);
    }

    /// Closes what lay unused for too long, for as long as it is polled.
    pub(crate) async fn tidy(&self) {
        loop {
            let filled = self.0.filled.notified();
            if self.spare().is_empty() {
                filled.await;
            }
            tokio::time::sleep(IDLE).await;
            self.spare().retain(|_, here| {
                here.retain(|spare| spare.since.elapsed() < IDLE);
                !here.is_empty()
            });
        }
    }
}

/// The connection under an answer. Nothing drives it but the one who reads the answer, in the same task, so that a
/// chunk passes without waking another thread.
///
/// Dropping it closes it at once, which is how an agent learns that nobody listens any more and stops generating.
pub(crate) struct Connection {
    sender: http1::SendRequest<Sent>,
    /// None when the connection has ended.
    driver: Option<Box<Driver>>,
    endpoint: Arc<str>,
    key: Secret,
    host: HeaderValue,
    prefix: Box<str>,
    pool: Pool,
}

impl Connection {
    async fn open(pool: &Pool, lease: &Lease) -> Result<Self, String> {
        let endpoint = &lease.endpoint;
        let (authority, prefix) =
            parse(endpoint).ok_or_else(|| format!("has an address that is none: {endpoint:?}"))?;
        let connect = TcpStream::connect(&*authority);
        let stream = match tokio::time::timeout(CONNECT, connect).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(e)) => return Err(format!("cannot be reached at {authority} ({e})")),
            Err(_) => {
                return Err(format!(
                    "did not take a connection at {authority} within {} s",
                    CONNECT.as_secs()
                ));
            }
        };
        // Small chunks in both directions: waiting to fill a packet would be felt in every token.
        let _ = stream.set_nodelay(true);
        let (sender, driver) = http1::Builder::new()
            .max_buf_size(BUFFER)
            .handshake(TokioIo::new(stream))
            .await
            .map_err(|e| format!("could not be spoken to at {authority} ({e})"))?;
        let host =
            HeaderValue::from_str(&authority).map_err(|e| format!("has an address that is none ({e})"))?;
        Ok(Self {
            sender,
            driver: Some(Box::new(driver)),
            endpoint: Arc::clone(endpoint),
            key: lease.key.clone(),
            host,
            prefix: prefix.into(),
            pool: pool.clone(),
        })
    }

    /// Reads and writes what can be read and written now.
    pub(crate) fn drive(&mut self, cx: &mut Context<'_>) {
        if let Some(driver) = &mut self.driver
            && Pin::new(driver).poll(cx).is_ready()
        {
            // How it ended is told by the answer's body.
            self.driver = None;
        }
    }

    async fn send(
        &mut self,
        request: Request<Sent>,
    ) -> Result<Response<Incoming>, TrySendError<Request<Sent>>> {
        let mut answer = pin!(self.sender.try_send_request(request));
        let driver = &mut self.driver;
        poll_fn(|cx| {
            if let Some(running) = driver
                && Pin::new(running).poll(cx).is_ready()
            {
                *driver = None;
            }
            answer.as_mut().poll(cx)
        })
        .await
    }

    /// For the next request, if the connection can carry one: the answer was read to its end, and the server keeps
    /// it open. Else it is closed.
    pub(crate) fn give_back(mut self) {
        // Nobody waits for it now; who takes it next polls it with a waker of its own.
        self.drive(&mut Context::from_waker(Waker::noop()));
        if self.driver.is_some() && self.sender.is_ready() {
            let pool = self.pool.clone();
            pool.put(self);
        }
    }

    /// Closed, and the other unused ones to the same agent with it.
    pub(crate) fn broken(self) {
        self.pool.forget(&self.endpoint);
    }
}

/// A connection to the agent, and nothing sent yet.
pub(crate) struct Reached {
    connection: Connection,
    /// Opened for this request, not left over from another.
    fresh: bool,
}

/// An unused connection that the agent still keeps open, else a new one. The error is the rest of a sentence that
/// starts with the agent's name.
pub(crate) async fn reach(pool: &Pool, lease: &Lease) -> Result<Reached, String> {
    while let Some(mut connection) = pool.take(lease) {
        if connection.is_alive() {
            return Ok(Reached { connection, fresh: false });
        }
    }
    let connection = Connection::open(pool, lease).await.inspect_err(|_| pool.forget(&lease.endpoint))?;
    Ok(Reached { connection, fresh: true })
}

/// Sends what is held and waits for the head of the answer. The error is the rest of a sentence that starts with the
/// agent's name.
pub(crate) async fn ask(
    pool: &Pool,
    lease: &Lease,
    first: Reached,
    target: &Uri,
    headers: HeaderMap,
    held: Held,
) -> Result<(Response<Incoming>, Connection), String> {
    let mut body = Some(held.sent(lease.model.as_deref()));
    let mut headers = Some(headers);
    let mut first = Some(first);
    loop {
        let Reached { mut connection, fresh } = match first.take() {
            Some(first) => first,
            None => reach(pool, lease).await?,
        };
        let mut request = Request::new(body.take().unwrap_or_default());
        *request.method_mut() = Method::POST;
        *request.uri_mut() = address(&connection.prefix, target)?;
        *request.headers_mut() = headers.take().unwrap_or_default();
        request.headers_mut().insert(HOST, connection.host.clone());
        match connection.send(request).await {
            Ok(answer) if answer.status().is_informational() => {
                return Err(format!("answered with {}, which is not an answer", answer.status()));
            }
            Ok(mut answer) => {
                one_framing(answer.headers_mut())?;
                return Ok((answer, connection));
            }
            Err(mut failed) => match failed.take_message() {
                // Nothing of it was written: the server had just closed this one.
                Some(unsent) if !fresh => {
                    let (head, unsent) = unsent.into_parts();
                    (headers, body) = (Some(head.headers), Some(unsent));
                }
                _ => {
                    let why = failed.into_error();
                    connection.broken();
                    return Err(format!("broke off before it answered ({why})"));
                }
            },
        }
    }
}

/// An answer that is in chunks has no length, whatever it says: the client must not be told one. Other codings of the
/// transfer would be undone by nobody.
fn one_framing(headers: &mut HeaderMap) -> Result<(), String> {
    let Some(coding) = headers.get(TRANSFER_ENCODING) else { return Ok(()) };
    if !coding.as_bytes().eq_ignore_ascii_case(b"chunked")
        || headers.get_all(TRANSFER_ENCODING).iter().count() > 1
    {
        return Err(format!("answered in a coding that is not spoken here ({coding:?})"));
    }
    headers.remove(CONTENT_LENGTH);
    Ok(())
}

impl Connection {
    /// Whether the server still keeps it open, as far as can be known without asking it.
    fn is_alive(&mut self) -> bool {
        self.drive(&mut Context::from_waker(Waker::noop()));
        self.driver.is_some() && self.sender.is_ready()
    }
}

/// The target as the agent's server knows it: below the prefix of its address.
fn address(prefix: &str, target: &Uri) -> Result<Uri, String> {
    let path = target.path_and_query().cloned().unwrap_or_else(|| PathAndQuery::from_static("/"));
    if prefix.is_empty() {
        return Ok(Uri::from(path));
    }
    format!("{prefix}{path}").parse().map_err(|e| format!("cannot be asked for this path ({e})"))
}

/// `http://127.0.0.1:8001/prefix/` becomes `127.0.0.1:8001` and `/prefix`. Anything but plain HTTP is not spoken here.
fn parse(endpoint: &str) -> Option<(String, String)> {
    let uri: Uri = endpoint.parse().ok()?;
    if uri.scheme_str() != Some("http") {
        return None;
    }
    let port = uri.port_u16().unwrap_or(80);
    Some((format!("{}:{port}", uri.host()?), uri.path().trim_end_matches('/').to_owned()))
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use http_body_util::BodyExt;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;

    #[test]
    fn an_endpoint_is_an_address_and_a_prefix() {
        let check = |endpoint: &str, expected: Option<(&str, &str)>| {
            let expected = expected.map(|(a, p)| (a.to_owned(), p.to_owned()));
            assert_eq!(parse(endpoint), expected, "{endpoint}");
        };
        check("http://127.0.0.1:8001", Some(("127.0.0.1:8001", "")));
        check("http://127.0.0.1:8001/", Some(("127.0.0.1:8001", "")));
        check("http://[::1]:8001/llm/", Some(("[::1]:8001", "/llm")));
        check("http://box", Some(("box:80", "")));
        check("https://127.0.0.1:8001", None);
        check("127.0.0.1:8001", None);
        check("", None);
    }

    #[test]
    fn a_prefix_stands_before_the_path() {
        let target: Uri = "http://other/v1/chat/completions?x=%2F".parse().unwrap();
        assert_eq!(address("", &target).unwrap().to_string(), "/v1/chat/completions?x=%2F");
        assert_eq!(address("/llm", &target).unwrap().to_string(), "/llm/v1/chat/completions?x=%2F");
    }

    /// A server that answers every request with the number of its connection.
    async fn numbered() -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            for number in 0_u8.. {
                let (mut stream, _) = listener.accept().await.unwrap();
                tokio::spawn(async move {
                    let mut buf = [0; 4096];
                    while stream.read(&mut buf).await.is_ok_and(|n| n > 0) {
                        let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\n{number}");
                        stream.write_all(answer.as_bytes()).await.unwrap();
                    }
                });
            }
        });
        format!("http://{address}")
    }

    async fn number(pool: &Pool, endpoint: &str, key: &str) -> Bytes {
        let agent = domain::AgentName::new("odin").unwrap();
        let lease = Lease::new(1, agent, endpoint, Secret::new(key), ());
        let held = crate::body::Held::of(br#"{"model":"odin"}"#);
        let target = Uri::from_static("/v1/chat/completions");
        let (answer, connection) =
            ask(pool, &lease, reach(pool, &lease).await.unwrap(), &target, HeaderMap::new(), held)
                .await
                .unwrap();
        let mut body = answer.into_body();
        let mut connection = connection;
        let mut read = pin!(body.frame());
        let frame = poll_fn(|cx| {
            connection.drive(cx);
            read.as_mut().poll(cx)
        });
        let data = frame.await.unwrap().unwrap().into_data().unwrap();
        connection.give_back();
        data
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_serves_one_start_of_an_agent_and_not_for_long() {
        let (pool, endpoint) = (Pool::default(), numbered().await);
        assert_eq!(number(&pool, &endpoint, "first").await, "0");
        assert_eq!(number(&pool, &endpoint, "first").await, "0");
        // Another key: the agent was started anew.
        assert_eq!(number(&pool, &endpoint, "second").await, "1");
        assert_eq!(number(&pool, &endpoint, "second").await, "1");
        tokio::time::advance(IDLE).await;
        assert_eq!(number(&pool, &endpoint, "second").await, "2");
        // With nobody asking it is put away all the same.
        let other = pool.clone();
        tokio::select! {
            () = other.tidy() => {}
            () = tokio::time::sleep(3 * IDLE) => {}
        }
        assert!(pool.spare().is_empty());
        pool.forget(&endpoint);
        assert_eq!(number(&pool, &endpoint, "second").await, "3");
    }
}
