//! One request, from its head to its answer.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http::header::{CONTENT_ENCODING, HeaderMap};
use http::request::Parts;
use http::{Method, Request, Response, StatusCode};
use http_body_util::Either;
use hyper::body::Incoming;
use percent_encoding::percent_decode_str;
use serde_json::{Value, json};

use crate::passing::Passing;
use crate::refusal::{Body, Problem, json_answer};
use crate::trip::{Opened, Trip};
use crate::upstream::{Connection, Pool};
use crate::{
    Asked, Client, Dispatch, Lease, Model, Outcome, Presented, Refusal, Settings, Wanted, body, door,
    headers, route, upstream,
};

/// What goes to an agent. `/tokenize` and `/detokenize` are beside `/v1` because the servers have them there.
const INFERENCE: [&str; 8] = [
    "/v1/chat/completions",
    "/v1/completions",
    "/v1/responses",
    "/v1/messages",
    "/v1/messages/count_tokens",
    "/v1/embeddings",
    "/tokenize",
    "/detokenize",
];

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
    pub(crate) async fn answer(&self, request: Request<Incoming>, address: SocketAddr) -> Response<Body> {
        let (head, body) = request.into_parts();
        if let Err(why) = door::look(&head, self.port, &self.settings.allowed_hosts) {
            tracing::warn!(%address, "{why}");
            let message = format!("{why} Use http://127.0.0.1:{} from a program on this machine.", self.port);
            return Problem::request(StatusCode::FORBIDDEN, "forbidden", message).answer();
        }
        let path = head.uri.path();
        let read = matches!(head.method, Method::GET | Method::HEAD);
        if INFERENCE.contains(&path) {
            return if head.method == Method::POST {
                self.infer(&head, body, address).await
            } else {
                wrong_method(&head, "POST")
            };
        }
        match path {
            "/v1/health" if read => self.health(),
            "/v1/models" if read => self.models(),
            "/v1/health" | "/v1/models" => wrong_method(&head, "GET, HEAD"),
            _ => match path.strip_prefix("/v1/models/") {
                Some(id) if read => self.model(id),
                Some(_) => wrong_method(&head, "GET, HEAD"),
                None => {
                    let message = format!("Nothing is at {path}. Chats go to POST /v1/chat/completions.");
                    Problem::request(StatusCode::NOT_FOUND, "unknown_path", message).answer()
                }
            },
        }
    }

    fn health(&self) -> Response<Body> {
        let timestamp = jiff::Timestamp::now().to_string();
        json_answer(StatusCode::OK, &json!({"status": "ok", "port": self.port, "timestamp": timestamp}))
    }

    fn models(&self) -> Response<Body> {
        let data: Vec<Value> = self.dispatch.models().iter().map(|m| self.model_object(m)).collect();
        json_answer(StatusCode::OK, &json!({"object": "list", "data": data}))
    }

    /// A model's id has a slash in it, which clients send as it is or as %2F.
    fn model(&self, id: &str) -> Response<Body> {
        let id = percent_decode_str(id).decode_utf8_lossy();
        let models = self.dispatch.models();
        if let Some(model) = route(&models, &id).and_then(|at| models.get(at)) {
            return json_answer(StatusCode::OK, &self.model_object(model));
        }
        let message = format!("No agent is called {id:?}, and none has a model of that id. See /v1/models.");
        Refusal::UnknownModel { message }.answer()
    }

    fn model_object(&self, model: &Model) -> Value {
        json!({
            "id": model.id,
            "object": "model",
            "created": self.since,
            "owned_by": "asgard",
            "root": model.model,
            "state": model.state,
            "max_model_len": model.max_model_len,
        })
    }

    /// The one path to an agent: body, model, lease, agent, answer. Dropped at any point when the client hangs up.
    async fn infer(&self, head: &Parts, body: Incoming, address: SocketAddr) -> Response<Body> {
        let presented = presented(&head.headers, address);
        let path = head.uri.path();
        let client = match self.dispatch.admit(&presented) {
            Ok(client) => client,
            Err(refusal) => {
                let name = presented.user_agent.and_then(|agent| agent.split_whitespace().next());
                let mut trip =
                    Trip::begin(Arc::clone(&self.dispatch), name.unwrap_or("unknown").into(), path);
                return refused(&mut trip, refusal);
            }
        };
        let mut trip = Trip::begin(Arc::clone(&self.dispatch), Arc::clone(&client.name), path);
        match self.cross(head, body, client, &mut trip).await {
            Ok((answer, connection, lease)) => {
                let (theirs, body) = answer.into_parts();
                trip.answers(theirs.status);
                let passing = Passing::new(body, &theirs.headers, connection, lease, trip);
                let mut ours = Response::new(Either::Right(passing));
                *ours.status_mut() = theirs.status;
                *ours.headers_mut() = headers::for_client(theirs.headers);
                ours
            }
            Err(ours) => ours,
        }
    }

    /// Up to the head of the agent's answer. The error is the gateway's own answer, already noted in `trip`.
    async fn cross(
        &self,
        head: &Parts,
        body: Incoming,
        client: Client,
        trip: &mut Trip,
    ) -> Result<(Response<Incoming>, Connection, Lease), Response<Body>> {
        if head.headers.get(CONTENT_ENCODING).is_some_and(|coding| coding != "identity") {
            let message = "The request is compressed, and its model cannot be read. Send it as plain JSON.";
            let problem = Problem::request(StatusCode::UNSUPPORTED_MEDIA_TYPE, "compressed", message);
            return Err(noted(trip, Outcome::Refused, problem));
        }
        let Some(open) = self.opened.open(self.settings.max_streams) else {
            return Err(refused(trip, full()));
        };
        trip.holds(open);
        let held = body::receive(body, &self.settings)
            .await
            .map_err(|problem| noted(trip, Outcome::Refused, problem))?;
        let wanted = Wanted {
            model: held.named.model.clone(),
            path: head.uri.path().to_owned(),
            stream: held.named.stream,
            client,
        };
        trip.asks(&wanted);
        let asked = match self.dispatch.ask(&wanted) {
            Asked::Granted(lease) => Ok(lease),
            Asked::Refused(refusal) => Err(refusal),
            Asked::Waiting(waiting) => {
                trip.waits(&waiting);
                waiting.wait().await
            }
        };
        let lease = match asked {
            Ok(lease) => lease,
            Err(refusal) => {
                let models = self.dispatch.models();
                let means = route(&models, &wanted.model).and_then(|at| models.get(at));
                trip.means(means.map(|model| &model.id));
                return Err(refused(trip, refusal));
            }
        };
        trip.granted(&lease);

        let headers = headers::for_agent(&head.headers, &lease.key);
        let asked = upstream::ask(&self.pool, &lease, &head.uri, headers, held);
        let agent = lease.agent.proper();
        let answered = match lease.max_seconds {
            None => asked.await,
            Some(seconds) => {
                tokio::time::timeout(Duration::from_secs(seconds), asked).await.map_err(|_| {
                    let message = format!(
                        "{agent} did not answer within {seconds} s. Ask for less, or raise the limit."
                    );
                    let problem = Problem::server(StatusCode::GATEWAY_TIMEOUT, "agent_too_slow", message);
                    noted(trip, Outcome::Broken, problem)
                })?
            }
        };
        match answered {
            Ok((answer, connection)) => Ok((answer, connection, lease)),
            Err(why) => {
                tracing::warn!(agent = %lease.agent, "{agent} {why}.");
                let message = format!("{agent} {why}. See its log: asgard logs {}", lease.agent);
                let problem = Problem::server(StatusCode::BAD_GATEWAY, "agent_unreachable", message);
                Err(noted(trip, Outcome::Broken, problem))
            }
        }
    }
}

fn noted(trip: &mut Trip, outcome: Outcome, problem: Problem) -> Response<Body> {
    trip.answers(problem.status);
    trip.ends(outcome, Some(problem.message.clone()));
    problem.answer()
}

fn refused(trip: &mut Trip, refusal: Refusal) -> Response<Body> {
    let why = refusal.message().to_owned();
    let answer = refusal.answer();
    trip.answers(answer.status());
    trip.ends(Outcome::Refused, Some(why));
    answer
}

fn full() -> Refusal {
    let message = "The gateway has as many requests open as it may have. Try again in a moment.".to_owned();
    Refusal::Busy { message, retry_after: 1 }
}

fn presented(headers: &HeaderMap, address: SocketAddr) -> Presented<'_> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let bearer = text("authorization").and_then(|value| value.strip_prefix("Bearer "));
    Presented {
        address,
        key: bearer.or_else(|| text("x-api-key")),
        face: text("x-asgard-face"),
        user_agent: text("user-agent"),
    }
}

fn wrong_method(head: &Parts, allowed: &'static str) -> Response<Body> {
    let message = format!("{} is not for {}. Use {allowed}.", head.uri.path(), head.method);
    Problem::request(StatusCode::METHOD_NOT_ALLOWED, "wrong_method", message).answer_allowing(allowed)
}
