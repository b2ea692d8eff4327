//! One request, from its head to its answer.

use std::net::SocketAddr;
use std::sync::Arc;

use http::header::{HeaderMap, UPGRADE};
use http::request::Parts;
use http::{Request, Response, StatusCode};
use hyper::body::Incoming;

use crate::paths::{self, Meaning};
use crate::protocol::Protocol;
use crate::refusal::{Body, Problem};
use crate::trip::{Opened, Trip};
use crate::upstream::Pool;
use crate::{Client, Dispatch, Outcome, Presented, Settings, door};

/// What all requests share.
pub(crate) struct Hall {
    pub(crate) dispatch: Arc<dyn Dispatch>,
    pub(crate) settings: Settings,
    pub(crate) pool: Pool,
    pub(crate) opened: Opened,
    pub(crate) port: u16,
    /// Seconds since the epoch: what `created` of a model is, because the shape wants one.
    pub(crate) since: i64,
}

impl Hall {
    pub(crate) async fn answer(
        self: &Arc<Self>,
        request: Request<Incoming>,
        address: SocketAddr,
    ) -> Response<Body> {
        let (head, body) = request.into_parts();
        let (meaning, client) = match self.enter(&head, address) {
            Ok(entered) => entered,
            Err(problem) => {
                let user_agent = presented(&head.headers, address).user_agent;
                let name = user_agent.and_then(|name| name.split(['/', ' ']).next()).unwrap_or("unknown");
                let mut trip = Trip::begin(Arc::clone(&self.dispatch), name.into(), head.uri.path());
                return refused(&mut trip, problem, Protocol::of(head.uri.path()));
            }
        };
        match meaning {
            Meaning::Health => self.health(),
            Meaning::Models => self.models(&client),
            Meaning::Status => self.status().await,
            Meaning::Metrics => self.metrics().await,
            Meaning::Model(id) => {
                self.model(&id, &client).unwrap_or_else(|problem| problem.answer(Protocol::Plain))
            }
            Meaning::Control(what) => {
                let mut trip =
                    Trip::begin(Arc::clone(&self.dispatch), Arc::clone(&client.name), head.uri.path());
                self.control(what, &client, &mut trip).await
            }
            Meaning::Inference => {
                let trip = Trip::begin(Arc::clone(&self.dispatch), Arc::clone(&client.name), head.uri.path());
                self.infer(head, body, client, trip).await
            }
        }
    }

    /// What is asked for, and by whom; or why the request comes no further. Its body is not looked at.
    fn enter(&self, head: &Parts, address: SocketAddr) -> Result<(Meaning, Client), Problem> {
        door::look(head, self.port, &self.settings.allowed_hosts).map_err(|why| {
            tracing::warn!(%address, "{why}");
            let message = format!(
                "{why} Use http://127.0.0.1:{} from a program on this machine, or add the name to hosts under \
                 [gateway].",
                self.port
            );
            Problem::request(StatusCode::FORBIDDEN, "forbidden", message)
        })?;
        let upgrades = head.headers.get_all(UPGRADE).iter().filter_map(|value| value.to_str().ok());
        if upgrades.flat_map(|value| value.split(',')).any(|to| to.trim().eq_ignore_ascii_case("websocket")) {
            let message = "WebSockets are not spoken here. Ask with \"stream\": true for an answer that comes \
                           word by word.";
            return Err(Problem::request(StatusCode::NOT_IMPLEMENTED, "no_websockets", message));
        }
        let meaning = paths::meaning(&head.method, head.uri.path())?;
        if meaning == Meaning::Health {
            // Open to everybody, so that a watchdog needs no key.
            let nobody = Client { name: "unknown".into(), person: false, agents: None };
            return Ok((meaning, nobody));
        }
        let client = self.dispatch.admit(&presented(&head.headers, address))?;
        Ok((meaning, client))
    }
}

/// The gateway's own no, noted.
pub(crate) fn refused(trip: &mut Trip, problem: Problem, protocol: Protocol) -> Response<Body> {
    trip.answers(problem.status);
    trip.ends(Outcome::Refused, Some(problem.message.clone()));
    problem.answer(protocol)
}

fn presented(headers: &HeaderMap, address: SocketAddr) -> Presented<'_> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let bearer = text("authorization").and_then(|value| {
        let (scheme, key) = value.split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then_some(key.trim())
    });
    Presented {
        address,
        key: bearer.or_else(|| text("x-api-key")),
        face: text("x-asgard-face"),
        user_agent: text("user-agent"),
    }
}
