//! The shipped household under a schedule, played by hand.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use domain::agent::AgentState;
use domain::plan::Goal;
use domain::schedule::{
    Ask, Busy, Denied, Happening, House, Kept, Now, Order, Schedule, Seen, Ticket, WishEnd,
};
use domain::stack::{Stack, Tier};

use super::{name, norse, strix_halo, with};

/// A household whose clock and states a test sets by hand.
pub(crate) struct Play {
    pub(crate) schedule: Schedule,
    pub(crate) stack: Stack,
    pub(crate) states: BTreeMap<&'static str, (AgentState, u32)>,
    pub(crate) now: Now,
    pub(crate) busy: Option<Busy>,
    #[expect(clippy::option_option, reason = "as the household has it")]
    pub(crate) yielded: Option<Option<i64>>,
    pub(crate) paused: bool,
    pub(crate) next: Ticket,
}

const WALL: i64 = 1_800_000_000;

impl Play {
    pub(crate) fn new(awake: &[&'static str]) -> Self {
        let mut stack = norse();
        for agent in &mut stack.agents {
            agent.tier = match agent.name.as_str() {
                "thor" => Tier::Primary,
                "valkyrie" => Tier::Coder,
                "odin" => Tier::Reviewer,
                _ => Tier::Utility,
            };
        }
        Self::of(stack, awake, Kept::default())
    }

    pub(crate) fn of(stack: Stack, awake: &[&'static str], kept: Kept) -> Self {
        let now = Now { steady: Duration::from_secs(1000), wall: WALL };
        let states = ["thor", "valkyrie", "odin", "heimdall", "loki", "frigga"].map(|agent| {
            let state = if awake.contains(&agent) { AgentState::Ready } else { AgentState::Asleep };
            (agent, (state, 0))
        });
        let mut play = Self {
            schedule: Schedule::new(kept, now),
            stack,
            states: BTreeMap::from(states),
            now,
            busy: None,
            yielded: None,
            paused: false,
            next: 0,
        };
        play.step(Happening::Looked);
        play
    }

    pub(crate) fn house(&self) -> House {
        let running: Vec<(&str, AgentState, u32)> = self
            .states
            .iter()
            .filter(|(_, (state, _))| state.holds_memory())
            .map(|(agent, (state, own))| (*agent, *state, *own))
            .collect();
        let situation = with(&self.stack, strix_halo(128.0, 124.0, 6.0), &running);
        let agents = self.states.iter().map(|(agent, (state, own))| {
            let seen = Seen {
                state: *state,
                own: *own,
                failure: (*state == AgentState::Failed).then(|| "It ran out of memory.".to_owned()),
                stage: None,
                seconds_left: None,
                proper: name(agent).proper(),
            };
            (name(agent), seen)
        });
        House {
            stack: Arc::new(self.stack.clone()),
            situation,
            agents: agents.collect(),
            busy: self.busy.clone(),
            yielded: self.yielded,
            paused: self.paused,
        }
    }

    pub(crate) fn step(&mut self, happening: Happening) -> Vec<Order> {
        self.schedule.step(self.now, &self.house(), happening)
    }

    pub(crate) fn ask_as(&mut self, agent: &str, person: bool) -> (Ticket, Vec<Order>) {
        self.next += 1;
        let ask = Ask { ticket: self.next, agent: name(agent), person, summon: false };
        (self.next, self.step(Happening::Asked(ask)))
    }

    pub(crate) fn ask(&mut self, agent: &str) -> (Ticket, Vec<Order>) {
        self.ask_as(agent, false)
    }

    pub(crate) fn set(&mut self, agent: &'static str, state: AgentState) -> Vec<Order> {
        self.states.insert(agent, (state, 0));
        self.step(Happening::Looked)
    }

    pub(crate) fn pass(&mut self, seconds: u64) -> Vec<Order> {
        self.now.steady += Duration::from_secs(seconds);
        self.now.wall += i64::try_from(seconds).unwrap_or(0);
        self.step(Happening::Looked)
    }

    pub(crate) fn done(&mut self) -> Vec<Order> {
        self.step(Happening::WishEnded(WishEnd::Done))
    }

    /// Odin's swap, from the wish to its end.
    pub(crate) fn swap_to_odin(&mut self) -> Vec<Order> {
        self.set("valkyrie", AgentState::Stopping);
        self.set("valkyrie", AgentState::Asleep);
        self.set("odin", AgentState::Loading);
        self.pass(40);
        let mut orders = self.set("odin", AgentState::Ready);
        orders.extend(self.done());
        orders
    }
}

pub(crate) fn granted(orders: &[Order]) -> Vec<Ticket> {
    orders
        .iter()
        .filter_map(|o| if let Order::Grant { ticket, .. } = o { Some(*ticket) } else { None })
        .collect()
}

pub(crate) fn refusals(orders: &[Order]) -> Vec<(Ticket, &Denied)> {
    orders
        .iter()
        .filter_map(|o| if let Order::Refuse { ticket, why, .. } = o { Some((*ticket, why)) } else { None })
        .collect()
}

pub(crate) fn wishes(orders: &[Order]) -> Vec<(&Goal, bool)> {
    orders
        .iter()
        .filter_map(|o| if let Order::Wish { goal, gentle, .. } = o { Some((goal, *gentle)) } else { None })
        .collect()
}
