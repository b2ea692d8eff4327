//! Bifrost's question "may this request have an agent?", answered from the state. Thin: only agents that are awake.

use async_trait::async_trait;
use bifrost::{Dispatch, Lease, Model, Refusal, Wanted};
use domain::agent::{AgentName, AgentState};
use domain::stack::Runs;

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
    async fn models(&self) -> Vec<Model> {
        let state = self.state.state();
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

    async fn lease(&self, wanted: &Wanted) -> Result<Lease, Refusal> {
        let models = self.models().await;
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
                let lease = Lease::new(
                    model.id.clone(),
                    instance.endpoint.clone(),
                    instance.key.clone(),
                    longest,
                    guard,
                );
                Ok(match known_as(&state, &server) {
                    // Our own servers know both the agent's name and the model's; only what they do not know is replaced.
                    Some(theirs) if theirs != wanted.model => lease.with_model(theirs),
                    None if server != model.id => lease.with_model(server.to_string()),
                    _ => lease,
                })
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
