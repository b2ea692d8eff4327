//! The listener, and its limits.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use http::{Request, Version};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;

use crate::Dispatch;
use crate::handle::Hall;
use crate::socket::{Cut, Socket};
use crate::trip::Opened;
use crate::upstream::Pool;

/// All headers of a request together. What is longer is answered with 431, and so is more than a hundred, which is
/// hyper's own limit: a set one would cost an allocation for each request.
const MAX_HEAD: usize = 64 << 10;
/// How long answers under way may go on when the gateway is told to end.
const FAREWELL: Duration = Duration::from_secs(2);
/// A pause after a failed accept: where file handles ran out, trying at once would only burn a core.
const BREATHER: Duration = Duration::from_millis(50);

/// What may be set. Write the ones that matter and `..Settings::default()`.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The largest request body, in bytes.
    pub max_body: usize,
    /// Names beside the loopback's under which the gateway may be asked.
    pub allowed_hosts: Vec<String>,
    /// The longest pause inside a request's body. Answers have no such limit.
    pub idle: Duration,
    /// How many connections may be open at once; one more is told so and closed.
    pub max_connections: usize,
    /// How many requests for agents may be open at once, answers under way included; one more gets 503.
    pub max_streams: usize,
    /// How long a connection may be quiet before its next request's head is there.
    pub head: Duration,
    /// The least that a request's body must bring on the average after [`idle`](Self::idle), in bytes per second: who
    /// sends one byte in every pause is not waited for either.
    pub slowest: u32,
    /// Where bodies that are held in a file have it; none: the system's folder for temporary files.
    pub spool_folder: Option<PathBuf>,
    /// Whether requests that do not stream are held while they wait; else they are told when to come again.
    pub hold: bool,
    /// The longest silence in a stream that waits for its agent.
    pub beat: Duration,
}

impl Default for Settings {
    /// A body of 96 MB holds a picture of 50 MB, which is a third larger as text, beside a full context.
    fn default() -> Self {
        Self {
            max_body: 96 << 20,
            allowed_hosts: Vec::new(),
            idle: Duration::from_secs(30),
            max_connections: 1024,
            max_streams: 512,
            head: Duration::from_mins(1),
            slowest: 4 << 10,
            spool_folder: None,
            hold: true,
            // Clients with a read time-out of five seconds live, even if one beat is late.
            beat: Duration::from_secs(2),
        }
    }
}

/// The gateway before it has its address.
pub struct Gateway {
    _private: (),
}

impl Gateway {
    /// Takes the address, so that a taken port is known before anything else starts.
    ///
    /// # Errors
    /// A sentence that names the address. A port of 0 takes any free one.
    pub async fn bind(listen: SocketAddr) -> io::Result<Bound> {
        let named = |e: io::Error| {
            let why = match e.kind() {
                io::ErrorKind::AddrInUse => {
                    format!(
                        "Port {} is taken by another program. Set another in [gateway] listen.",
                        listen.port()
                    )
                }
                io::ErrorKind::PermissionDenied => {
                    format!("Port {} may not be opened by this user. Set one above 1023.", listen.port())
                }
                _ => format!("The gateway cannot listen on {listen} ({e})."),
            };
            io::Error::new(e.kind(), why)
        };
        let listener = TcpListener::bind(listen).await.map_err(named)?;
        let address = listener.local_addr().map_err(named)?;
        Ok(Bound { listener, address })
    }
}

/// The gateway with its address, not yet serving: connections wait.
#[derive(Debug)]
pub struct Bound {
    listener: TcpListener,
    address: SocketAddr,
}

impl Bound {
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves until `shutdown` is ready; answers under way then have a moment to end, and are broken off.
    pub async fn serve(
        self,
        dispatch: Arc<dyn Dispatch>,
        settings: Settings,
        shutdown: impl Future<Output = ()>,
    ) {
        let places = Arc::new(Semaphore::new(settings.max_connections));
        let since = jiff::Timestamp::now().as_second();
        let hall = Arc::new(Hall {
            dispatch,
            settings,
            pool: Pool::default(),
            opened: Opened::default(),
            port: self.address.port(),
            since,
        });
        let (farewell, ending) = watch::channel(false);
        let mut connections = JoinSet::new();
        let mut shutdown = pin!(shutdown);
        let pool = hall.pool.clone();
        let mut tidy = pin!(pool.tidy());
        loop {
            tokio::select! {
                () = &mut shutdown => break,
                () = &mut tidy => {}
                Some(_) = connections.join_next() => {}
                accepted = self.listener.accept() => match accepted {
                    Err(e) => {
                        tracing::warn!("The gateway could not take a connection ({e}).");
                        tokio::time::sleep(BREATHER).await;
                    }
                    Ok((stream, address)) => match Arc::clone(&places).try_acquire_owned() {
                        Err(_) => turn_away(&stream),
                        Ok(place) => {
                            let (hall, ending) = (Arc::clone(&hall), ending.clone());
                            connections.spawn(async move {
                                converse(stream, address, hall, ending).await;
                                drop(place);
                            });
                        }
                    },
                },
            }
        }
        drop(self.listener);
        let _ = farewell.send(true);
        let all_gone = async { while connections.join_next().await.is_some() {} };
        // Dropping the set breaks off what is left, and gives the leases back.
        let _ = tokio::time::timeout(FAREWELL, all_gone).await;
    }
}

/// One connection, with as many requests as the client sends on it.
async fn converse(
    stream: TcpStream,
    address: SocketAddr,
    hall: Arc<Hall>,
    mut ending: watch::Receiver<bool>,
) {
    let _ = stream.set_nodelay(true);
    let (cut, old) = (Cut::default(), Arc::new(AtomicBool::new(false)));
    let head = hall.settings.head;
    let service = {
        let old = Arc::clone(&old);
        service_fn(move |request: Request<Incoming>| {
            old.store(request.version() == Version::HTTP_10, Ordering::Relaxed);
            let hall = Arc::clone(&hall);
            async move { Ok::<_, Infallible>(hall.answer(request, address).await) }
        })
    };
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(head)
        .max_header_size(MAX_HEAD)
        .max_buf_size(2 * MAX_HEAD)
        .serve_connection(TokioIo::new(Socket::new(stream, cut.clone())), service);
    let mut connection = pin!(connection);
    let ended = tokio::select! {
        ended = &mut connection => ended,
        _ = ending.changed() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(e) = ended {
        // `is_user`: an answer's body ended with an error, which is how `Passing` breaks off.
        if e.is_user() && old.load(Ordering::Relaxed) {
            cut.reset_at_end();
        }
        // Hang-ups and broken answers end here; what is worth a warning was said where it happened.
        tracing::debug!(%address, "A connection ended early: {e}.");
    }
}

/// Without a task and without waiting: the few bytes fit the socket's buffer, or the client gets nothing.
fn turn_away(stream: &TcpStream) {
    tracing::warn!("The gateway has as many connections as it may have; one more was turned away.");
    let body = concat!(
        r#"{"error":{"message":"The gateway has too many connections open. Try again in a moment.","#,
        r#""type":"server_error","code":"too_many_connections","param":null}}"#
    );
    let answer = format!(
        "HTTP/1.1 503 Service Unavailable\r\ncontent-type: application/json\r\nx-asgard-origin: gateway\r\n\
         retry-after: 1\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    let _ = stream.try_write(answer.as_bytes());
}
