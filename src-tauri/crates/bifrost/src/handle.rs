//! One request, from its head to its answer.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::header::{CONTENT_ENCODING, HeaderMap};
use http::request::Parts;
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Either};
use hyper::body::{Body as _, Incoming};
use percent_encoding::percent_decode_str;
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::passing::Passing;
use crate::refusal::{Body, Problem, json_answer};
use crate::{Asked, Dispatch, Model, Presented, Settings, Wanted, door, headers, route, upstream, wanted};

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

/// How much of a refused body is still read, so that a client in the middle of writing it hears the refusal instead
/// of a reset connection.
const LINGER: usize = 64 << 20;

/// What all requests share.
pub(crate) struct Hall {
    pub(crate) dispatch: Arc<dyn Dispatch>,
    pub(crate) settings: Settings,
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
                self.infer(&head, body, address).await.unwrap_or_else(Problem::answer)
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
        crate::Refusal::UnknownModel { message }.answer()
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
    async fn infer(
        &self,
        head: &Parts,
        body: Incoming,
        address: SocketAddr,
    ) -> Result<Response<Body>, Problem> {
        if head.headers.get(CONTENT_ENCODING).is_some_and(|coding| coding != "identity") {
            let message = "The request is compressed, and its model cannot be read. Send it as plain JSON.";
            return Err(Problem::request(StatusCode::UNSUPPORTED_MEDIA_TYPE, "compressed", message));
        }
        let client = match self.dispatch.admit(&presented(&head.headers, address)) {
            Ok(client) => client,
            Err(refusal) => return Ok(refusal.answer()),
        };
        let body = read(body, self.settings.max_body, self.settings.idle).await?;
        let named = wanted::model_in(&body).map_err(|why| {
            let message =
                format!("{why} Send a JSON object with \"model\": an agent's name, as in /v1/models.");
            Problem {
                param: Some("model"),
                ..Problem::request(StatusCode::BAD_REQUEST, "invalid_model", message)
            }
        })?;
        let wanted =
            Wanted { model: named.model, path: head.uri.path().to_owned(), stream: named.stream, client };
        let asked = match self.dispatch.ask(&wanted) {
            Asked::Granted(lease) => Ok(lease),
            Asked::Refused(refusal) => Err(refusal),
            Asked::Waiting(waiting) => waiting.wait().await,
        };
        let lease = match asked {
            Ok(lease) => lease,
            Err(refusal) => return Ok(refusal.answer()),
        };

        let body = match &lease.model {
            Some(theirs) => wanted::renamed(&body, &named.at, theirs),
            None => body,
        };
        let started = Instant::now();
        let target = head.uri.path_and_query().map_or(head.uri.path(), |target| target.as_str());
        let asked =
            upstream::ask(&lease.endpoint, target, headers::for_agent(&head.headers, &lease.key), body);
        let agent = lease.agent.proper();
        let answered = match lease.max_seconds {
            None => asked.await,
            Some(seconds) => {
                tokio::time::timeout(Duration::from_secs(seconds), asked).await.map_err(|_| {
                    let message = format!(
                        "{agent} did not answer within {seconds} s. Ask for less, or raise the limit."
                    );
                    Problem::server(StatusCode::GATEWAY_TIMEOUT, "agent_too_slow", message)
                })?
            }
        };
        let (answer, connection) = answered.map_err(|why| {
            tracing::warn!(agent = %lease.agent, "{agent} {why}.");
            let message = format!("{agent} {why}. See its log: asgard logs {}", lease.agent);
            Problem::server(StatusCode::BAD_GATEWAY, "agent_unreachable", message)
        })?;
        let (theirs, body) = answer.into_parts();
        let mut ours = Response::new(Either::Right(Passing::new(body, connection, lease, started)));
        *ours.status_mut() = theirs.status;
        *ours.headers_mut() = headers::for_client(&theirs.headers);
        Ok(ours)
    }
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

/// The whole body, if it is at most `max` bytes and no pause in it is longer than `idle`.
async fn read(mut body: Incoming, max: usize, idle: Duration) -> Result<Bytes, Problem> {
    let declared = usize::try_from(body.size_hint().lower()).unwrap_or(usize::MAX);
    if declared > max {
        linger(body, idle);
        return Err(too_large(max));
    }
    // What is declared is not yet sent: room is made for it as it comes.
    let mut bytes = BytesMut::with_capacity(declared.min(1 << 20));
    loop {
        let Ok(frame) = tokio::time::timeout(idle, body.frame()).await else {
            let message =
                format!("The request stopped arriving for {} s. Send it again.", idle.as_secs_f32());
            return Err(Problem::request(StatusCode::REQUEST_TIMEOUT, "request_timeout", message));
        };
        match frame {
            None => return Ok(bytes.freeze()),
            Some(Err(e)) => {
                let message = format!("The request could not be read to its end ({e}). Send it again.");
                return Err(Problem::request(StatusCode::BAD_REQUEST, "broken_request", message));
            }
            Some(Ok(frame)) => {
                let Ok(data) = frame.into_data() else { continue };
                if bytes.len() + data.len() > max {
                    linger(body, idle);
                    return Err(too_large(max));
                }
                bytes.extend_from_slice(&data);
            }
        }
    }
}

fn too_large(max: usize) -> Problem {
    let message = format!(
        "The request is larger than {} MB. Send less, or raise the gateway's limit.",
        max.div_ceil(1 << 20)
    );
    Problem::request(StatusCode::PAYLOAD_TOO_LARGE, "request_too_large", message)
}

/// Throws away what still comes of a refused body while the refusal is on its way; up to a limit, then the connection
/// is closed on whoever still writes.
fn linger(mut body: Incoming, idle: Duration) {
    tokio::spawn(async move {
        let mut thrown = 0;
        while let Ok(Some(Ok(frame))) = tokio::time::timeout(idle, body.frame()).await {
            thrown += frame.data_ref().map_or(0, Bytes::len);
            if thrown > LINGER {
                return;
            }
        }
    });
}
