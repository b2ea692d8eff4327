//! Who does what in a stack, as a coding tool needs to know it: which agent leads, which writes code, which small one
//! makes titles, how much each may write, and how long a tool has to wait.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use domain::agent::AgentName;
use domain::memory::Bytes;
use domain::stack::{Agent, BackendKind, Stack, Tier};

/// What is waited for where nothing was ever measured, and at least where something was.
const UNMEASURED: Duration = Duration::from_secs(1800);
const LEAST_WAIT: Duration = Duration::from_secs(600);
/// From here on half of the context may be answer. Below, the tool's own instructions and its list of functions take
/// so much that a quarter is left for it.
const LARGE_CONTEXT: u32 = 65_536;

/// A part that an agent plays for a coding tool.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// "primary", "coder", "reviewer", "utility", or the agent's own name.
    pub name: String,
    pub agent: AgentName,
}

#[derive(Debug, Clone)]
pub struct Household<'a> {
    pub stack: &'a Stack,
    /// The gateway, without `/v1`: "http://127.0.0.1:8899".
    pub address: String,
    /// The primary first; every agent has one.
    pub parts: Vec<Part>,
    /// Who makes titles and the like without waking anybody large.
    pub small: AgentName,
    /// How long a tool has to wait for the first word: longer than the longest start and what comes before it.
    pub wait: Duration,
    /// Every agent that is started here was measured at least once.
    pub measured: bool,
}

impl<'a> Household<'a> {
    /// `start_seconds`: the median of each agent's last starts. `address`: where the gateway listens, where that is
    /// known better than the stack says it. None for a stack without agents.
    pub fn of(
        stack: &'a Stack,
        start_seconds: &BTreeMap<AgentName, f64>,
        address: Option<SocketAddr>,
    ) -> Option<Self> {
        let parts = parts(stack);
        let primary = parts.first()?.agent.clone();
        let (wait, measured) = wait(stack, start_seconds);
        Some(Self {
            stack,
            address: reachable(address.unwrap_or(stack.gateway.listen)),
            small: small(stack, &primary),
            parts,
            wait,
            measured,
        })
    }

    pub fn base_url(&self) -> String {
        format!("{}/v1", self.address)
    }

    pub fn primary(&self) -> &AgentName {
        &self.parts[0].agent
    }

    /// The agent that plays `part`, where somebody does.
    pub fn part(&self, part: &str) -> Option<&AgentName> {
        self.parts.iter().find(|p| p.name == part).map(|p| &p.agent)
    }

    pub fn agent(&self, name: &AgentName) -> Option<&'a Agent> {
        self.stack.agent(name)
    }

    /// Tokens that an answer of this agent may have.
    pub fn output(&self, agent: &Agent) -> u32 {
        let most = match agent.tier {
            Tier::Primary => 32_768,
            Tier::Coder => 24_576,
            Tier::Reviewer | Tier::Utility => 16_384,
        };
        let share = if agent.context >= LARGE_CONTEXT { agent.context / 2 } else { agent.context / 4 };
        share.min(most).max(1)
    }

    /// Whether functions may be offered to it. Only vLLM has to be told how its model writes calls.
    pub fn calls_tools(agent: &Agent) -> bool {
        match agent.backend {
            BackendKind::Vllm => agent.tool_parser.is_some(),
            BackendKind::LlamaCpp => !agent.args.iter().any(|a| a == "--no-jinja"),
            BackendKind::External | BackendKind::Ollama => true,
        }
    }

    /// Whether its server tells thinking from answering.
    pub fn reasons(agent: &Agent) -> bool {
        agent.args.iter().any(|a| a.starts_with("--reasoning-parser") || a.starts_with("--reasoning-format"))
    }

    /// Who never sleeps beside this agent awake, by the stack's rules.
    pub fn puts_to_sleep(&self, name: &AgentName) -> Vec<&'a Agent> {
        self.stack.agents.iter().filter(|other| self.stack.conflict(name, &other.name)).collect()
    }
}

fn parts(stack: &Stack) -> Vec<Part> {
    let first = |tier| stack.agents.iter().find(|a| a.tier == tier).map(|a| a.name.clone());
    let Some(primary) = first(Tier::Primary).or_else(|| stack.agents.first().map(|a| a.name.clone())) else {
        return Vec::new();
    };
    let mut parts = vec![Part { name: "primary".to_owned(), agent: primary }];
    for (name, tier) in [("coder", Tier::Coder), ("reviewer", Tier::Reviewer), ("utility", Tier::Utility)] {
        if let Some(agent) = first(tier).filter(|a| parts.iter().all(|p| &p.agent != a)) {
            parts.push(Part { name: name.to_owned(), agent });
        }
    }
    for agent in &stack.agents {
        let taken = parts.iter().any(|p| p.agent == agent.name || p.name == agent.name.as_str());
        if !taken {
            parts.push(Part { name: agent.name.to_string(), agent: agent.name.clone() });
        }
    }
    parts
}

/// The smallest utility agent that is awake in the base profile; else the smallest that a profile wakes beside all of
/// the base profile, so that nobody sleeps for a title; else the primary.
fn small(stack: &Stack, primary: &AgentName) -> AgentName {
    let base: Vec<&AgentName> = stack
        .profile(&stack.base)
        .map(|p| p.agents.iter().map(|a| stack.server_of(a)).collect())
        .unwrap_or_default();
    let awake_in = |agents: &[AgentName], name: &AgentName| {
        agents.iter().any(|a| stack.server_of(a) == stack.server_of(name))
    };
    let beside_base = |name: &AgentName| {
        stack
            .profiles
            .iter()
            .any(|p| awake_in(&p.agents, name) && base.iter().all(|b| awake_in(&p.agents, b)))
    };
    let sizes = stack.agents.iter().filter(|a| a.tier == Tier::Utility).filter_map(|agent| {
        let server = stack.agent(stack.server_of(&agent.name))?;
        // Behind a role may be anybody: one that stands in for a reviewer wakes a reviewer.
        if server.tier == Tier::Reviewer {
            return None;
        }
        let in_base = base.contains(&&server.name);
        // Shares are of a machine that is not known here; one of a usual size puts them in order.
        let size = server.claim_in(Bytes(128 << 30));
        (in_base || beside_base(&agent.name)).then_some((!in_base, size, &agent.name))
    });
    sizes
        .min_by_key(|(sleeps, size, _)| (*sleeps, *size))
        .map_or_else(|| primary.clone(), |(_, _, name)| name.clone())
}

/// Twice the longest median of starts, and the longest time that others may take to finish before: what a summons that
/// has to swap can take on a bad day.
fn wait(stack: &Stack, start_seconds: &BTreeMap<AgentName, f64>) -> (Duration, bool) {
    let started: Vec<&Agent> = stack.agents.iter().filter(|a| a.served_by.is_none() && a.is_ours()).collect();
    let known: Vec<f64> = started
        .iter()
        .filter_map(|a| start_seconds.get(&a.name).copied())
        .filter(|s| s.is_finite() && *s > 0.0)
        .collect();
    let measured = known.len() == started.len();
    let longest = known.iter().copied().fold(0.0, f64::max);
    let drain = started.iter().map(|a| a.drain).max().unwrap_or_default();
    // A day is more than any start; a clock that jumped may have written more.
    let computed =
        Duration::from_secs_f64((longest * 2.0).min(86_400.0).ceil()) + drain.min(Duration::from_secs(3600));
    let least = if measured && !known.is_empty() { LEAST_WAIT } else { UNMEASURED };
    (computed.max(least), measured && !known.is_empty())
}

/// Who listens everywhere is reached on the loopback.
fn reachable(listen: SocketAddr) -> String {
    let ip = match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        ip => ip,
    };
    format!("http://{}", SocketAddr::new(ip, listen.port()))
}
