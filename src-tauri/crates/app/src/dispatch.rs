//! Bifrost's questions, answered: who comes in, who gets an agent, what the household is like.

use std::sync::Arc;

use async_trait::async_trait;
use bifrost::{Asked, Client, Control, ControlAnswer, Dispatch, Model, Presented, Record, Refusal, Wanted};
use serde_json::Value;

use crate::carry::Ctx;
use crate::{gate, prometheus};

pub(crate) struct Dispatcher {
    pub(crate) ctx: Ctx,
}

#[async_trait]
impl Dispatch for Dispatcher {
    fn models(&self) -> Arc<[Model]> {
        self.ctx.gate.models()
    }

    fn admit(&self, presented: &Presented<'_>) -> Result<Client, Refusal> {
        let face = presented.face.is_some_and(|face| self.ctx.gate.face().is(face));
        let named = presented.user_agent.and_then(|name| name.split(['/', ' ']).next());
        if face {
            return Ok(Client { name: named.unwrap_or("asgard").into(), person: true, agents: None });
        }
        let state = self.ctx.state.state();
        let keys = &state.stack.gateway.keys;
        if keys.is_empty() {
            return Ok(Client { name: named.unwrap_or("unknown").into(), person: false, agents: None });
        }
        let name = self.ctx.keys.check(presented.key);
        match name.and_then(|name| keys.iter().find(|key| *key.name == *name).map(|key| (name, key))) {
            Some((name, key)) => {
                Ok(Client { name, person: false, agents: key.agents.clone().map(Into::into) })
            }
            None => Err(Refusal::NoKey { message: no_key(presented.key.is_some()) }),
        }
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
        let summons = self.ctx.gate.kept().summons;
        prometheus::text(&self.ctx.state.state(), self.ctx.gate.recorder(), &summons)
    }

    fn record(&self, record: Record) {
        self.ctx.gate.recorder().ended(record);
    }
}

fn no_key(presented: bool) -> String {
    let what = if presented {
        "The key that came with this request is none of Bifrost's."
    } else {
        "Bifrost wants a key."
    };
    format!(
        "{what} Give the tool one as its API key; see them in Settings, or make one with: asgard keys new NAME"
    )
}
