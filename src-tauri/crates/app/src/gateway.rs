//! Bifrost's port, for as long as the controller runs: opened at the start, given up when another program is to have
//! it back, and opened again when the one that held it is gone.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::thread;

use api::shapes::status::Failure;
use bifrost::{Gateway, Settings};
use tokio::sync::watch;

use crate::commands::App;
use crate::dispatch::Dispatcher;
use crate::state::Event;

/// What is wanted of the port. The count tells a second "open" from the first: it is another try.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wanted {
    Open(u64),
    Closed,
    Ended,
}

/// The way to the task that holds the port.
#[derive(Debug, Clone)]
pub(crate) struct Port {
    wanted: Arc<watch::Sender<Wanted>>,
}

impl Port {
    pub(crate) fn new() -> Self {
        Self { wanted: Arc::new(watch::Sender::new(Wanted::Open(0))) }
    }

    /// Another try, where the port could not be had; nothing where it is open.
    pub(crate) fn open(&self) {
        self.wanted.send_modify(|wanted| {
            *wanted = match *wanted {
                Wanted::Open(n) => Wanted::Open(n + 1),
                Wanted::Closed => Wanted::Open(0),
                Wanted::Ended => Wanted::Ended,
            };
        });
    }

    pub(crate) fn close(&self) {
        self.wanted.send_modify(|wanted| {
            if *wanted != Wanted::Ended {
                *wanted = Wanted::Closed;
            }
        });
    }

    /// For good: the controller ends.
    pub(crate) fn end(&self) {
        self.wanted.send_replace(Wanted::Ended);
    }
}

/// Runs on a thread of its own, with a runtime of its own: a small request then passes from its client to its agent and
/// back without being handed from one worker to another, and nothing else that the controller does holds up a stream.
///
/// # Errors
/// The system gives no thread, or no more file handles.
pub(crate) fn begin(app: App) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    thread::Builder::new().name("bifrost".to_owned()).spawn(move || runtime.block_on(run(app)))?;
    Ok(())
}

/// Holds the port until the end, and says so in `ended` when everything is put away.
async fn run(app: App) {
    let mut wanted = app.port.wanted.subscribe();
    loop {
        let now = *wanted.borrow_and_update();
        match now {
            Wanted::Ended => break,
            Wanted::Closed => {
                app.ctx.state.tell(Event::GatewaySeen { address: None, error: Some(closed()) }).await;
                let _ = wanted.changed().await;
            }
            Wanted::Open(_) => match Gateway::bind(app.ctx.state.state().stack.gateway.listen).await {
                Ok(bound) => {
                    let at = bound.address();
                    let address = Some(format!("http://{}/v1", reached_at(at)));
                    app.ctx.state.tell(Event::GatewaySeen { address, error: None }).await;
                    let state = app.ctx.state.clone();
                    let opened_with = of(&state.state().stack.gateway, at);
                    let dispatch = Arc::new(Dispatcher { ctx: app.ctx.clone() });
                    let listen = state.state().stack.gateway.listen;
                    let changed = state.until(|s| {
                        let now = &s.stack.gateway;
                        // Other settings are taken up when no answer is under way that a new start would break off.
                        (now.listen != listen || of(now, at) != opened_with)
                            && s.leases.is_empty()
                            && app.ctx.recorder.crowd().is_empty()
                    });
                    let over = async {
                        tokio::select! {
                            _ = wanted.wait_for(|w| !matches!(w, Wanted::Open(_))) => {}
                            () = changed => {}
                        }
                    };
                    // Not the system's folder for temporary files, which may be in memory.
                    let spool_folder = Some(app.ctx.world.paths.state.clone());
                    let settings = Settings { spool_folder, ..settings(&opened_with) };
                    bound.serve(dispatch, settings, over).await;
                }
                Err(cause) => {
                    let failure = Failure {
                        code: "gateway_port".to_owned(),
                        // The gateway's own sentence names the port and what to do about it.
                        message: cause.to_string(),
                        next: "Bifrost opens by itself once what holds the port was stopped here, or when Asgard is \
                               started again; BIFROST_PORT sets another port for once."
                            .to_owned(),
                    };
                    tracing::error!("{}", failure.message);
                    app.ctx.state.tell(Event::GatewaySeen { address: None, error: Some(failure) }).await;
                    let _ = wanted.changed().await;
                }
            },
        }
    }
    app.ctx.recorder.flush().await;
    app.ctx.downloads.put_away().await;
    app.ctx.keys.keep(&app.ctx).await;
    app.ended.send_replace(true);
}

/// What of the settings the gateway's own part is opened with.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Opened {
    max_body: u64,
    hosts: Vec<String>,
    hold: bool,
    max_streams: u32,
}

fn of(gateway: &domain::stack::Gateway, address: SocketAddr) -> Opened {
    let mut hosts = gateway.hosts.clone();
    // Reached by its address, that address is the host; which names it has is for `hosts` to say.
    if !address.ip().is_loopback() && !address.ip().is_unspecified() {
        hosts.push(match address.ip() {
            IpAddr::V4(ip) => ip.to_string(),
            IpAddr::V6(ip) => format!("[{ip}]"),
        });
    }
    Opened { max_body: gateway.max_body, hosts, hold: gateway.hold, max_streams: gateway.max_streams }
}

fn settings(opened: &Opened) -> Settings {
    let max_streams = if opened.max_streams == 0 { usize::MAX } else { opened.max_streams as usize };
    Settings {
        max_body: usize::try_from(opened.max_body).unwrap_or(usize::MAX),
        allowed_hosts: opened.hosts.clone(),
        hold: opened.hold,
        max_streams,
        max_connections: max_streams.saturating_add(256).min(65_536),
        ..Settings::default()
    }
}

/// Where programs of this machine reach it: who listens everywhere listens on the loopback.
fn reached_at(address: SocketAddr) -> SocketAddr {
    match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => SocketAddr::new(Ipv4Addr::LOCALHOST.into(), address.port()),
        IpAddr::V6(ip) if ip.is_unspecified() => SocketAddr::new(Ipv6Addr::LOCALHOST.into(), address.port()),
        _ => address,
    }
}

fn closed() -> Failure {
    Failure {
        code: "gateway_closed".to_owned(),
        message: "Bifrost has given its port back to the program that held it before.".to_owned(),
        next: "Stop that program in Settings, Engines, and Bifrost opens again.".to_owned(),
    }
}
