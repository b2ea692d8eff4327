//! A server's life: load, answer, stop in order.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use axum::Router;
use axum::body::to_bytes;
use axum::extract::{ConnectInfo, Request, State};
use axum::response::Response;
use axum::serve::ListenerExt;
use tokio::net::{TcpListener, TcpSocket};
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::args::{Command, Dialect};
use crate::engine::Engine;
use crate::fault::Kind;
use crate::holding::Holding;
use crate::journal::Event;
use crate::loading::{self, Step};
use crate::log::{Line, Log};
use crate::settings::Settings;
use crate::{llama, vllm};

/// The largest request it reads.
const BODY_LIMIT: usize = 64 << 20;
/// Where a start breaks off that has to break off half-way.
const HALF_WAY: f64 = 0.5;

/// A start that fails: how far it gets, what it says, and its exit code.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct FailedStart {
    /// The share of the loading time that passes before; 0 is before anything was loaded.
    pub(crate) after: f64,
    pub(crate) lines: Vec<Line>,
}

/// Serves until it is stopped or fails. The exit code; an error is about the books (report and journal).
pub(crate) async fn run(command: Command, settings: Settings, log: Log) -> io::Result<u8> {
    let holding = Arc::new(Holding::open(&settings)?);
    holding.note(Event::Start);
    let mut stop = Stop::listen(settings.has(Kind::IgnoreSigterm))?;
    let engine = Engine::new(command, settings, log, Arc::clone(&holding));
    let ended = tokio::select! {
        code = live(&engine) => code,
        () = stop.asked(&log) => {
            holding.note(Event::Stop);
            log.print_all(&match engine.command.dialect {
                Dialect::Vllm => vllm::log::stopping(),
                Dialect::Llama => llama::log::stopping(),
            });
            Ok(0)
        }
    };
    holding.release();
    ended
}

/// Loads and serves; returns only when it fails.
async fn live(engine: &Arc<Engine>) -> io::Result<u8> {
    let Engine { command, settings, log, holding, .. } = &**engine;
    let (before, steps, failure): (Vec<Line>, Vec<Step>, Option<FailedStart>) = match command.dialect {
        Dialect::Vllm => (
            vllm::log::banner(command),
            vllm::log::loading(command, settings),
            settings.failure().map(|fault| vllm::failure::start(fault.name, command)),
        ),
        Dialect::Llama => (
            llama::log::banner(command),
            llama::log::loading(command, settings),
            settings.failure().map(|fault| llama::failure::start(fault.name, command)),
        ),
    };
    log.print_all(&before);
    if let Some(failure) = failure.as_ref().filter(|failure| failure.after <= 0.0) {
        log.print_all(&failure.lines);
        return Ok(1);
    }
    // vLLM takes its port at once and listens when it is ready; llama.cpp answers 503 until then.
    let Ok(socket) = bind(command) else {
        log.print_all(&match command.dialect {
            Dialect::Vllm => vllm::failure::port_in_use(),
            Dialect::Llama => llama::failure::port_in_use(command),
        });
        return Ok(1);
    };
    let mut socket = Some(socket);
    if command.dialect == Dialect::Llama && !open(&mut socket, engine) {
        log.print_all(&llama::failure::port_in_use(command));
        return Ok(1);
    }
    if let Some(failure) = failure {
        loading::play(&steps, settings.load, failure.after, holding, log).await?;
        log.print_all(&failure.lines);
        return Ok(1);
    }
    if settings.has(Kind::ExitWhileLoading) || settings.has(Kind::HangLoading) {
        loading::play(&steps, settings.load, HALF_WAY, holding, log).await?;
        if settings.has(Kind::HangLoading) {
            std::future::pending::<()>().await;
        }
        return Ok(1);
    }
    loading::play(&steps, settings.load, 1.0, holding, log).await?;
    engine.become_ready();
    if command.dialect == Dialect::Vllm && !open(&mut socket, engine) {
        log.print_all(&vllm::failure::port_in_use());
        return Ok(1);
    }
    match command.dialect {
        Dialect::Vllm => {
            log.print_all(&vllm::log::ready(command, log.pid()));
            vllm::log::periodic(engine).await;
        }
        Dialect::Llama => log.print_all(&llama::log::ready(command)),
    }
    std::future::pending().await
}

fn bind(command: &Command) -> io::Result<TcpSocket> {
    // Names are not looked up: a static program could not, and Asgard gives addresses.
    let address = match command.host.as_str() {
        "localhost" => IpAddr::V4(Ipv4Addr::LOCALHOST),
        host => host.trim_matches(['[', ']']).parse().map_err(io::Error::other)?,
    };
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    socket.set_reuseaddr(true)?;
    socket.bind(SocketAddr::new(address, command.port))?;
    Ok(socket)
}

/// Listens and answers from now on, in a task of its own. False when the port went to somebody else meanwhile.
fn open(socket: &mut Option<TcpSocket>, engine: &Arc<Engine>) -> bool {
    let Some(Ok(listener)) = socket.take().map(|socket| socket.listen(1024)) else { return false };
    tokio::spawn(answer_all(listener, Arc::clone(engine)));
    true
}

async fn answer_all(listener: TcpListener, engine: Arc<Engine>) {
    // Tokens are small packets that must not wait for each other.
    let listener = listener.tap_io(|stream| {
        let _ = stream.set_nodelay(true);
    });
    let app = Router::new().fallback(answer).with_state(engine);
    let _ = axum::serve(listener, app.into_make_service_with_connect_info::<SocketAddr>()).await;
}

async fn answer(
    State(engine): State<Arc<Engine>>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    request: Request,
) -> Response {
    let (head, body) = request.into_parts();
    let body = to_bytes(body, BODY_LIMIT).await.unwrap_or_default();
    match engine.command.dialect {
        Dialect::Vllm => {
            let response = vllm::answer(&engine, &head, &body).await;
            engine.log.print(&vllm::log::access(peer, &head, response.status()));
            response
        }
        Dialect::Llama => llama::answer(&engine, &head, &body).await,
    }
}

/// SIGTERM and SIGINT.
struct Stop {
    terminate: Signal,
    interrupt: Signal,
    ignored: bool,
}

impl Stop {
    fn listen(ignored: bool) -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            ignored,
        })
    }

    /// Returns when it is asked to stop, and means to.
    async fn asked(&mut self, log: &Log) {
        loop {
            tokio::select! {
                _ = self.terminate.recv() => {}
                _ = self.interrupt.recv() => {}
            }
            if !self.ignored {
                return;
            }
            log.print(&Line::raw(
                "Asked to stop, and staying: the rehearsal wants a server that has to be killed.",
            ));
        }
    }
}
