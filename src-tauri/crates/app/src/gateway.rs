//! Bifrost's port, for as long as the controller runs: opened at the start, given up when another program is to have
//! it back, and opened again when the one that held it is gone.

use std::net::SocketAddr;
use std::sync::Arc;

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

/// Holds the port until the end, and says so in `ended` when everything is put away.
pub(crate) async fn run(app: App, listen: SocketAddr) {
    let mut wanted = app.port.wanted.subscribe();
    loop {
        let now = *wanted.borrow_and_update();
        match now {
            Wanted::Ended => break,
            Wanted::Closed => {
                app.ctx.state.tell(Event::GatewaySeen { address: None, error: Some(closed()) }).await;
                let _ = wanted.changed().await;
            }
            Wanted::Open(_) => match Gateway::bind(listen).await {
                Ok(bound) => {
                    let address = Some(format!("http://{}/v1", bound.address()));
                    app.ctx.state.tell(Event::GatewaySeen { address, error: None }).await;
                    let state = app.ctx.state.clone();
                    let max_body =
                        usize::try_from(state.state().stack.gateway.max_body).unwrap_or(usize::MAX);
                    let dispatch = Arc::new(Dispatcher { ctx: app.ctx.clone() });
                    let settings = Settings { max_body, ..Settings::default() };
                    let over = async {
                        let _ = wanted.wait_for(|w| !matches!(w, Wanted::Open(_))).await;
                    };
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
    app.ended.send_replace(true);
}

fn closed() -> Failure {
    Failure {
        code: "gateway_closed".to_owned(),
        message: "Bifrost has given its port back to the program that held it before.".to_owned(),
        next: "Stop that program in Settings, Engines, and Bifrost opens again.".to_owned(),
    }
}
