//! Bifrost's question "may this request have an agent?", answered from the state. Thin: only agents that are awake.

use async_trait::async_trait;
use bifrost::{Dispatch, Lease, Model, Refusal, Wanted};
use domain::agent::AgentState;

use crate::leases::Leases;
use crate::run_loop::Loop;

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
                state: state.agents.get(&a.name).map_or(AgentState::Asleep, |l| l.state),
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
        let Some(live) = state.agents.get(&model.id) else {
            return Err(Refusal::UnknownModel { message: format!("There is no agent {name}.") });
        };
        match live.state {
            AgentState::Ready | AgentState::Busy => {
                let instance = live.instance.as_ref().ok_or_else(|| Refusal::Busy {
                    message: format!("{name} is just changing. Try again in a moment."),
                    retry_after: 1,
                })?;
                let guard = self.leases.take(&model.id).ok_or_else(|| Refusal::Busy {
                    message: format!("{name} finishes its requests and then sleeps. Try again later."),
                    retry_after: 10,
                })?;
                Ok(Lease::new(model.id.clone(), instance.endpoint.clone(), instance.key.clone(), None, guard))
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
