//! Bifrost's questions, answered: who comes in, who gets an agent, what the household is like.

use std::sync::Arc;

use async_trait::async_trait;
use bifrost::{Asked, Client, Control, ControlAnswer, Dispatch, Model, Presented, Record, Refusal, Wanted};
use serde_json::Value;

use crate::carry::Ctx;
use crate::gate;

pub(crate) struct Dispatcher {
    pub(crate) ctx: Ctx,
}

#[async_trait]
impl Dispatch for Dispatcher {
    fn models(&self) -> Arc<[Model]> {
        gate::models(&self.ctx.state.state())
    }

    fn admit(&self, presented: &Presented<'_>) -> Result<Client, Refusal> {
        let face = presented.face.is_some_and(|face| self.ctx.gate.face().is(face));
        let named = presented.user_agent.and_then(|name| name.split(['/', ' ']).next());
        if face {
            return Ok(Client { name: named.unwrap_or("asgard").into(), person: true, agents: None });
        }
        Ok(Client { name: named.unwrap_or("unknown").into(), person: false, agents: None })
    }

    fn ask(&self, wanted: &Wanted) -> Asked {
        self.ctx.gate.ask(wanted)
    }

    async fn control(&self, what: Control, client: &Client) -> ControlAnswer {
        gate::control(&self.ctx, what, client).await
    }

    async fn status(&self) -> Value {
        gate::status(&self.ctx.gate, &self.ctx.state.state())
    }

    async fn metrics(&self) -> String {
        String::new()
    }

    fn record(&self, record: Record) {
        self.ctx.gate.recorder().ended(record);
    }
}
