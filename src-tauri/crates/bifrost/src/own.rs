//! What the gateway answers by itself. Nothing here asks for a lease: who looks wakes nobody.

use std::sync::Arc;

use domain::AgentName;
use http::{HeaderValue, Response, StatusCode};
use serde_json::{Value, json};

use crate::handle::{Hall, refused};
use crate::protocol::Protocol;
use crate::refusal::{Body, Problem, SHOULD_RETRY, json_answer, own_answer};
use crate::trip::Trip;
use crate::{Client, Control, ControlAnswer, Model, Outcome, Refusal, route};

/// What Prometheus wants to read of a text of its kind.
const METRICS: &str = "text/plain; version=0.0.4";

impl Hall {
    pub(crate) fn health(&self) -> Response<Body> {
        let timestamp = jiff::Timestamp::now().to_string();
        json_answer(StatusCode::OK, &json!({"status": "ok", "port": self.port, "timestamp": timestamp}))
    }

    pub(crate) fn models(&self, client: &Client) -> Response<Body> {
        let data: Vec<Value> = self.models_for(client).iter().map(|m| self.model_object(m)).collect();
        json_answer(StatusCode::OK, &json!({"object": "list", "data": data}))
    }

    pub(crate) fn model(&self, id: &str, client: &Client) -> Result<Response<Body>, Problem> {
        let models = self.models_for(client);
        if let Some(model) = route(&models, id).and_then(|at| models.get(at)) {
            return Ok(json_answer(StatusCode::OK, &self.model_object(model)));
        }
        let message = format!("No agent is called {id:?}, and none has a model of that id. See /v1/models.");
        Err(Refusal::UnknownModel { message }.into())
    }

    pub(crate) async fn status(&self) -> Response<Body> {
        json_answer(StatusCode::OK, &self.dispatch.status().await)
    }

    pub(crate) async fn metrics(&self) -> Response<Body> {
        own_answer(StatusCode::OK, METRICS, self.dispatch.metrics().await)
    }

    pub(crate) async fn control(&self, what: Control, client: &Client, trip: &mut Trip) -> Response<Body> {
        if let Err(problem) = self.may_control(&what, client) {
            return refused(trip, problem, Protocol::Plain);
        }
        match self.dispatch.control(what, client).await {
            ControlAnswer::Refused(refusal) => refused(trip, refusal.into(), Protocol::Plain),
            ControlAnswer::Done { status, body } => {
                let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
                trip.answers(status);
                let detail = body.get("detail").and_then(Value::as_str).map(str::to_owned);
                trip.ends(if status.is_success() { Outcome::Done } else { Outcome::Error }, detail);
                let mut answer = json_answer(status, &body);
                if !status.is_success() {
                    // The loading goes on by itself.
                    answer.headers_mut().insert(SHOULD_RETRY, HeaderValue::from_static("false"));
                }
                answer
            }
        }
    }

    /// A key that is for some agents moves no others, and not the household as a whole.
    fn may_control(&self, what: &Control, client: &Client) -> Result<(), Problem> {
        let Some(allowed) = &client.agents else { return Ok(()) };
        match what {
            Control::Summon(name) | Control::Release(name) => {
                let models = self.dispatch.models();
                match models.iter().find(|model| model.id.as_str() == name) {
                    Some(model) if !allowed.contains(&model.id) => Err(not_allowed(client, model)),
                    _ => Ok(()),
                }
            }
            Control::Restore => {
                let message = format!(
                    "The key of {} is for some agents alone, and this path moves all of them. Release the agents \
                     that it summoned.",
                    client.name
                );
                Err(Refusal::NotAllowed { message }.into())
            }
        }
    }

    /// The agents that this client may know of.
    pub(crate) fn models_for(&self, client: &Client) -> Arc<[Model]> {
        let models = self.dispatch.models();
        match &client.agents {
            None => models,
            Some(allowed) => models.iter().filter(|model| allowed.contains(&model.id)).cloned().collect(),
        }
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
}

pub(crate) fn not_allowed(client: &Client, model: &Model) -> Problem {
    let names = client.agents.iter().flat_map(|agents| agents.iter()).map(AgentName::as_str);
    let names: Vec<&str> = names.collect();
    let message = format!(
        "The key of {} is not for {}. It may ask for: {}.",
        client.name,
        model.id.proper(),
        names.join(", ")
    );
    Refusal::NotAllowed { message }.into()
}
