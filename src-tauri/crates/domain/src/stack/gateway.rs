//! The gateway's settings, and the variables that override them.

use std::net::SocketAddr;
use std::time::Duration;

use super::quantity::quoted;
use super::{Stack, Tier};
use crate::agent::AgentName;

/// Bifrost's settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gateway {
    pub listen: SocketAddr,
    /// The largest request body that is taken, in bytes.
    pub max_body: u64,
    /// Names beside the loopback's under which it may be asked.
    pub hosts: Vec<String>,
    /// Whether requests wake agents; else those for a sleeping one get 503.
    pub wake: bool,
    /// Whether requests that do not stream are held while they wait; else they get 503 with `Retry-After`.
    pub hold: bool,
    /// How many requests may wait for one agent. 0: no limit.
    pub queue_limit: u32,
    /// How many streams may be open at once. What the file calls 0 is the largest number.
    pub max_streams: u32,
    /// The idle time of reviewers that have no `ttl` of their own. Zero: no limit.
    pub odin_ttl: Duration,
    /// How long after it was let go clients may not summon a reviewer. Zero: no limit.
    pub odin_cooldown: Duration,
    /// How often clients may summon reviewers in one session. 0: no limit.
    pub session_budget_odin: u32,
    /// The same for the utility agents, together.
    pub session_budget_utility: u32,
    /// How long a summon call waits. Never what decides that an agent failed. Zero: as long as the start takes.
    pub health_timeout: Duration,
    /// With any of them, every request has to bring one.
    pub keys: Vec<GatewayKey>,
}

/// A tool's key. The secret itself is with the other secrets, never in the stack file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GatewayKey {
    pub name: String,
    /// The agents that it may use; none: all of them.
    pub agents: Option<Vec<AgentName>>,
}

impl Default for Gateway {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 8899)),
            max_body: 96 << 20,
            hosts: Vec::new(),
            wake: true,
            hold: true,
            queue_limit: 32,
            max_streams: 1024,
            odin_ttl: Duration::from_secs(1200),
            odin_cooldown: Duration::from_secs(600),
            session_budget_odin: 3,
            session_budget_utility: 10,
            health_timeout: Duration::from_secs(300),
            keys: Vec::new(),
        }
    }
}

impl Gateway {
    /// The settings with the variables of the earlier scheduler over them: `BIFROST_ODIN_TTL`,
    /// `BIFROST_ODIN_COOLDOWN`, `BIFROST_HEALTH_TIMEOUT` (seconds), `BIFROST_SESSION_BUDGET_ODIN`,
    /// `BIFROST_SESSION_BUDGET_UTILITY` (counts) and `BIFROST_PORT`. 0 means no limit, but for the port. An empty one
    /// counts as none.
    ///
    /// `get` is the environment. What stands in a variable and means nothing changes nothing, and is a sentence in
    /// the list. Whether an agent has the port is not looked at here.
    #[must_use]
    pub fn with_env(mut self, get: impl Fn(&str) -> Option<String>) -> (Self, Vec<String>) {
        let mut problems = Vec::new();
        let mut number = |name: &str, what: &str| {
            let text = get(name).filter(|text| !text.trim().is_empty())?;
            let number = text.trim().parse::<u32>().ok();
            if number.is_none() {
                problems.push(format!(
                    "{name} is {}, which is not {what}; the setting of the stack file counts.",
                    quoted(text.trim())
                ));
            }
            number
        };
        for (name, setting) in [
            ("BIFROST_ODIN_TTL", &mut self.odin_ttl),
            ("BIFROST_ODIN_COOLDOWN", &mut self.odin_cooldown),
            ("BIFROST_HEALTH_TIMEOUT", &mut self.health_timeout),
        ] {
            if let Some(seconds) = number(name, "a whole number of seconds") {
                *setting = Duration::from_secs(u64::from(seconds));
            }
        }
        for (name, setting) in [
            ("BIFROST_SESSION_BUDGET_ODIN", &mut self.session_budget_odin),
            ("BIFROST_SESSION_BUDGET_UTILITY", &mut self.session_budget_utility),
        ] {
            if let Some(count) = number(name, "a whole number") {
                *setting = count;
            }
        }
        match number("BIFROST_PORT", "a port, 1 to 65535").map(u16::try_from) {
            Some(Ok(port)) if port > 0 => self.listen.set_port(port),
            Some(_) => problems.push(
                "BIFROST_PORT is not a port, 1 to 65535; the setting of the stack file counts.".to_owned(),
            ),
            None => {}
        }
        (self, problems)
    }
}

impl Stack {
    /// [`Gateway::with_env`]; and where `BIFROST_ODIN_TTL` is set, it counts for reviewers with a `ttl` of their own
    /// too, as it did when there was no other.
    #[must_use]
    pub fn with_env(mut self, get: impl Fn(&str) -> Option<String>) -> (Self, Vec<String>) {
        let odin_ttl = get("BIFROST_ODIN_TTL").is_some_and(|text| text.trim().parse::<u32>().is_ok());
        let (gateway, problems) = self.gateway.with_env(get);
        self.gateway = gateway;
        if odin_ttl {
            let reviewers = self.agents.iter_mut().filter(|a| a.tier == Tier::Reviewer);
            reviewers.for_each(|agent| agent.ttl = None);
        }
        (self, problems)
    }
}
