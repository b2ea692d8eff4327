//! The gateway alone: the real crate, with somebody behind it who grants every request at once.

use std::net::SocketAddr;
use std::sync::Arc;

use async_trait::async_trait;
use bifrost::{
    Asked, Bound, Client, Control, ControlAnswer, Dispatch, Lease, Model, Presented, Record, Refusal,
    Settings, Wanted,
};
use domain::secret::Secret;
use domain::{AgentName, AgentState};
use serde_json::Value;

struct Granting {
    models: Arc<[Model]>,
    endpoint: Arc<str>,
    client: Client,
}

#[async_trait]
impl Dispatch for Granting {
    fn models(&self) -> Arc<[Model]> {
        Arc::clone(&self.models)
    }

    fn admit(&self, _: &Presented<'_>) -> Result<Client, Refusal> {
        Ok(self.client.clone())
    }

    fn ask(&self, wanted: &Wanted) -> Asked {
        match bifrost::route(&self.models, &wanted.model).and_then(|at| self.models.get(at)) {
            Some(model) => Asked::Granted(Lease::new(
                1,
                model.id.clone(),
                Arc::clone(&self.endpoint),
                Secret::new(""),
                (),
            )),
            None => Asked::Refused(Refusal::UnknownModel { message: "There is no such agent.".to_owned() }),
        }
    }

    async fn control(&self, _: Control, _: &Client) -> ControlAnswer {
        ControlAnswer::Refused(Refusal::UnknownModel { message: "There is no such agent.".to_owned() })
    }

    async fn status(&self) -> Value {
        Value::Null
    }

    async fn metrics(&self) -> String {
        String::new()
    }

    fn record(&self, record: Record) {
        std::hint::black_box(record);
    }
}

pub async fn serve(bound: Bound, upstream: SocketAddr) {
    let model = Model {
        id: AgentName::new("bench").unwrap(),
        model: "bench".to_owned(),
        state: AgentState::Ready,
        max_model_len: 32768,
    };
    let dispatch = Granting {
        models: vec![model].into(),
        endpoint: format!("http://{upstream}").into(),
        client: Client { name: "bench".into(), person: false, agents: None },
    };
    let settings = Settings { max_connections: 4096, max_streams: 4096, ..Settings::default() };
    bound.serve(Arc::new(dispatch), settings, std::future::pending()).await;
}
