//! Bifrost's question "may this request have an agent?", answered from the state. Thin: only agents that are awake.

use std::sync::Arc;

use async_trait::async_trait;
use bifrost::{
    Asked, Client, Control, ControlAnswer, Dispatch, Lease, Model, Presented, Record, Refusal, Wanted,
};
use domain::agent::{AgentName, AgentState};
use domain::stack::Runs;
use serde_json::Value;

use crate::leases::Leases;
use crate::run_loop::Loop;
use crate::state::State;

/// The name that a server of others, or Ollama, knows its model by. `None` for our own, which knows its agent's name.
pub(crate) fn known_as(state: &State, server: &AgentName) -> Option<String> {
    let agent = state.stack.agent(server)?;
    match agent.runs {
        Runs::External { .. } | Runs::Ollama { .. } => Some(agent.model.clone()),
        Runs::Container { .. } | Runs::Process { .. } => None,
    }
}

pub(crate) struct Dispatcher {
    pub(crate) state: Loop,
    pub(crate) leases: Leases,
}

#[async_trait]
impl Dispatch for Dispatcher {
    fn models(&self) -> Arc<[Model]> {
        models(&self.state.state())
    }

    fn admit(&self, presented: &Presented<'_>) -> Result<Client, Refusal> {
        let name = presented.user_agent.and_then(|name| name.split(['/', ' ']).next()).unwrap_or("unknown");
        Ok(Client { name: name.into(), person: false, agents: None })
    }

    fn ask(&self, wanted: &Wanted) -> Asked {
        match self.lease(wanted) {
            Ok(lease) => Asked::Granted(lease),
            Err(refusal) => Asked::Refused(refusal),
        }
    }

    async fn control(&self, _: Control, _: &Client) -> ControlAnswer {
        let message = "Summons are not taken yet. Start agents with: asgard start AGENT".to_owned();
        ControlAnswer::Refused(Refusal::Busy { message, retry_after: 60 })
    }

    async fn status(&self) -> Value {
        Value::Null
    }

    async fn metrics(&self) -> String {
        String::new()
    }

    fn record(&self, _: Record) {}
}

fn models(state: &State) -> Arc<[Model]> {
    state
        .stack
        .agents
        .iter()
        .map(|a| Model {
            id: a.name.clone(),
            model: a.model.clone(),
            state: state.live(&a.name).map_or(AgentState::Asleep, |l| l.state),
            max_model_len: a.context,
        })
        .collect()
}

impl Dispatcher {
    fn lease(&self, wanted: &Wanted) -> Result<Lease, Refusal> {
        let models = self.models();
        let Some(model) = bifrost::route(&models, &wanted.model).and_then(|i| models.get(i)) else {
            let names: Vec<&str> = models.iter().map(|m| m.id.as_str()).collect();
            return Err(Refusal::UnknownModel {
                message: format!(
                    "There is no agent or model {:?}. Ask for one of: {}.",
                    wanted.model,
                    names.join(", ")
                ),
            });
        };
        let state = self.state.state();
        let name = model.id.proper();
        let server = state.stack.server_of(&model.id).clone();
        let Some(live) = state.agents.get(&server) else {
            return Err(Refusal::UnknownModel { message: format!("There is no agent {name}.") });
        };
        match live.state {
            AgentState::Ready | AgentState::Busy => {
                let instance = live.instance.as_ref().ok_or_else(|| Refusal::Busy {
                    message: format!("{name} is just changing. Try again in a moment."),
                    retry_after: 1,
                })?;
                let guard = self.leases.take(&server).ok_or_else(|| Refusal::Busy {
                    message: format!("{name} finishes its requests and then sleeps. Try again later."),
                    retry_after: 10,
                })?;
                let longest =
                    state.stack.agent(&model.id).and_then(|a| a.request_timeout).map(|t| t.as_secs().max(1));
                let endpoint = instance.endpoint.clone();
                let mut lease = Lease::new(0, model.id.clone(), endpoint, instance.key.clone(), guard);
                lease.max_seconds = longest;
                // Our own servers know both the agent's name and the model's; only what they do not know is replaced.
                lease.model = match known_as(&state, &server) {
                    Some(theirs) if theirs != wanted.model => Some(theirs),
                    None if server != model.id => Some(server.to_string()),
                    _ => None,
                };
                Ok(lease)
            }
            AgentState::Asleep => Err(Refusal::Asleep {
                agent: model.id.clone(),
                message: format!("{name} is asleep."),
                next: format!("Start it with: asgard start {}", model.id),
            }),
            AgentState::Failed => {
                let error = live.error.clone();
                Err(Refusal::Failed {
                    agent: model.id.clone(),
                    message: error.as_ref().map_or_else(|| format!("{name} failed."), |e| e.message.clone()),
                    next: error.map(|e| e.next).unwrap_or_default(),
                })
            }
            other => Err(Refusal::Busy {
                message: format!("{name} is {other}. Try again in a moment."),
                retry_after: 5,
            }),
        }
    }
}
