//! Two clients that alternate between two agents of which only one is awake at a time: how often the schedule swaps
//! them, against first come, first served.

#![allow(
    clippy::panic,
    clippy::disallowed_macros,
    reason = "a test may fail; what it measures is to be read"
)]

mod common;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use common::{name, norse, strix_halo, with};
use domain::agent::{AgentName, AgentState};
use domain::plan::Goal;
use domain::schedule::{Ask, Busy, Happening, House, Kept, Now, Order, Schedule, Seen, Ticket, WishEnd};
use domain::stack::{Stack, Tier};

/// In milliseconds. For ten minutes the two ask, and then the last of their answers is waited for.
const END: u64 = 600_000;
/// Each sends a request so often, whether or not the one before it was answered: their sub-agents do.
const EVERY: u64 = 10_000;
/// Starts and stops as measured of warm ones.
const LOAD: u64 = 38_000;
const STOP: u64 = 5_000;
/// One answer.
const ANSWER: u64 = 4_000;
const PAIR: [&str; 2] = ["valkyrie", "odin"];

/// What a run came to.
#[derive(Debug, Default)]
struct Came {
    swaps: u32,
    answers: u32,
    /// In milliseconds, of one request.
    longest_wait: u64,
    /// When the last one was answered.
    end: u64,
}

/// One request: when it is sent, and for which of the two.
#[derive(Debug, Clone, Copy)]
struct Sent {
    at: u64,
    of: usize,
}

/// What both clients send, in order. Each alternates; the second begins with the other agent.
fn sent() -> VecDeque<Sent> {
    let mut all: Vec<Sent> = (0..2usize)
        .flat_map(|client| {
            (0..END / EVERY)
                .zip(client..)
                .map(move |(n, of)| Sent { at: n * EVERY + client as u64 * 500, of: of % 2 })
        })
        .collect();
    all.sort_by_key(|s| s.at);
    all.into()
}

/// Whoever came first is served first; one that needs the other agent waits for those in flight, and everybody
/// behind it waits with it.
fn first_come_first_served() -> Came {
    let (mut to_come, mut queue): (VecDeque<Sent>, VecDeque<Sent>) = (sent(), VecDeque::new());
    let mut flight: Vec<u64> = Vec::new();
    let (mut awake, mut swapping): (usize, Option<u64>) = (0, None);
    let mut came = Came::default();
    let mut now = 0;
    while !(to_come.is_empty() && queue.is_empty() && flight.is_empty()) {
        queue.extend(due(&mut to_come, now));
        let before = flight.len();
        flight.retain(|end| *end > now);
        came.answers += u32::try_from(before - flight.len()).unwrap_or(0);
        if swapping.is_some_and(|end| end <= now) {
            (swapping, awake) = (None, 1 - awake);
        }
        while swapping.is_none()
            && let Some(sent) = queue.front().copied()
        {
            if sent.of == awake {
                came.longest_wait = came.longest_wait.max(now - sent.at);
                flight.push(now + ANSWER);
                queue.pop_front();
            } else if flight.is_empty() {
                came.swaps += 1;
                swapping = Some(now + STOP + LOAD);
            } else {
                break;
            }
        }
        came.end = now;
        now += 100;
    }
    came
}

fn due(to_come: &mut VecDeque<Sent>, now: u64) -> Vec<Sent> {
    let count = to_come.iter().take_while(|s| s.at <= now).count();
    to_come.drain(..count).collect()
}

/// The same by the schedule, which is told of a drain, a stop and a load as the controller tells it.
struct Played {
    stack: Arc<Stack>,
    schedule: Schedule,
    now: u64,
    states: BTreeMap<AgentName, AgentState>,
    requests: BTreeMap<Ticket, Sent>,
    flight: Vec<(u64, Ticket)>,
    /// Who goes, who comes, and when the next of it is over.
    swap: Option<(usize, Option<u64>)>,
    wished: Option<usize>,
    came: Came,
}

impl Played {
    fn new(residency: Duration) -> Self {
        let mut stack = norse();
        stack.gateway.odin_cooldown = Duration::ZERO;
        stack.gateway.session_budget_odin = 0;
        for agent in &mut stack.agents {
            agent.tier = if agent.name.as_str() == "odin" { Tier::Reviewer } else { Tier::Coder };
            agent.min_residency = residency;
        }
        let states = stack.agents.iter().map(|a| {
            let awake = ["thor", "valkyrie"].contains(&a.name.as_str());
            (a.name.clone(), if awake { AgentState::Ready } else { AgentState::Asleep })
        });
        Self {
            states: states.collect(),
            schedule: Schedule::new(Kept::default(), Now { steady: Duration::ZERO, wall: 1_800_000_000 }),
            stack: Arc::new(stack),
            now: 0,
            requests: BTreeMap::new(),
            flight: Vec::new(),
            swap: None,
            wished: None,
            came: Came::default(),
        }
    }

    fn step(&mut self, happening: Happening) {
        let now = Now {
            steady: Duration::from_millis(self.now),
            wall: 1_800_000_000 + i64::try_from(self.now / 1000).unwrap_or(0),
        };
        let running: Vec<(&str, AgentState, u32)> = self
            .states
            .iter()
            .filter(|(_, s)| s.holds_memory())
            .map(|(n, s)| (n.as_str(), *s, self.schedule.lease_count(n)))
            .collect();
        let seen = |(name, state): (&AgentName, &AgentState)| {
            let proper = name.proper();
            let (stage, seconds_left, failure) = (None, None, None);
            (name.clone(), Seen { state: *state, own: 0, failure, stage, seconds_left, proper })
        };
        let house = House {
            situation: with(&self.stack, strix_halo(128.0, 124.0, 6.0), &running),
            stack: self.stack.clone(),
            agents: self.states.iter().map(seen).collect(),
            busy: self.swap.map(|(to, _)| Busy {
                awake: [name("thor"), name(PAIR[to])].into(),
                stage: "Swapping".into(),
                seconds_left: None,
                switches: false,
            }),
            yielded: None,
            paused: false,
        };
        for order in self.schedule.step(now, &house, happening) {
            match order {
                Order::Grant { ticket, .. } => {
                    let waited = self.requests.get(&ticket).map_or(0, |sent| self.now - sent.at);
                    self.came.longest_wait = self.came.longest_wait.max(waited);
                    self.flight.push((self.now + ANSWER, ticket));
                }
                Order::Wish { goal: Goal::Awake(agent), .. } => {
                    self.wished = PAIR.iter().position(|n| *n == agent.as_str());
                }
                Order::Keep => {}
                other => panic!("{other:?}"),
            }
        }
    }

    fn set(&mut self, of: usize, state: AgentState) {
        self.states.insert(name(PAIR[of]), state);
        self.step(Happening::Looked);
    }

    fn go_on(&mut self) {
        if let Some(to) = self.wished.take() {
            self.came.swaps += 1;
            self.swap = Some((to, None));
            self.step(Happening::Closed(name(PAIR[1 - to])));
        }
        match self.swap {
            Some((to, None)) if self.schedule.lease_count(&name(PAIR[1 - to])) == 0 => {
                self.swap = Some((to, Some(self.now + STOP)));
                self.set(1 - to, AgentState::Stopping);
            }
            Some((to, Some(end))) if end <= self.now => {
                if self.states.get(PAIR[to]) == Some(&AgentState::Loading) {
                    self.swap = None;
                    self.set(to, AgentState::Ready);
                    self.step(Happening::WishEnded(WishEnd::Done));
                } else {
                    self.swap = Some((to, Some(self.now + LOAD)));
                    self.set(1 - to, AgentState::Asleep);
                    self.step(Happening::Opened(name(PAIR[1 - to])));
                    self.set(to, AgentState::Loading);
                }
            }
            _ => {}
        }
    }

    fn live_through(mut self) -> Came {
        let mut to_come = sent();
        let mut next: Ticket = 0;
        while !(to_come.is_empty() && self.requests.is_empty()) {
            for sent in due(&mut to_come, self.now) {
                next += 1;
                self.requests.insert(next, sent);
                let ask = Ask { ticket: next, agent: name(PAIR[sent.of]), person: false, summon: false };
                self.step(Happening::Asked(ask));
            }
            let over: Vec<Ticket> =
                self.flight.iter().filter(|(end, _)| *end <= self.now).map(|(_, t)| *t).collect();
            self.flight.retain(|(end, _)| *end > self.now);
            for ticket in over {
                self.step(Happening::Left(ticket));
                self.came.answers += u32::from(self.requests.remove(&ticket).is_some());
            }
            self.go_on();
            // A moment that the schedule named is at most a second late.
            if self.now.is_multiple_of(1000) {
                self.step(Happening::Looked);
            }
            self.came.end = self.now;
            self.now += 100;
        }
        self.came
    }
}

#[test]
fn two_clients_that_alternate_cause_far_fewer_swaps_than_first_come_first_served() {
    let first_come = first_come_first_served();
    let plain = Played::new(Duration::ZERO).live_through();
    let resident = Played::new(Duration::from_secs(120)).live_through();
    for (who, came) in [
        ("First come, first served", &first_come),
        ("The schedule", &plain),
        ("The schedule, two minutes at least", &resident),
    ] {
        println!(
            "{who:<35} {:>3} swaps for {} answers, the longest wait {:>4} s, the last answer after {:>4} s",
            came.swaps,
            came.answers,
            came.longest_wait / 1000,
            came.end / 1000
        );
        assert_eq!(u64::from(came.answers), 2 * END / EVERY, "everybody is answered");
    }
    assert!(plain.swaps * 3 <= first_come.swaps, "{} against {}", plain.swaps, first_come.swaps);
    assert!(resident.swaps * 2 <= plain.swaps, "{} against {}", resident.swaps, plain.swaps);
    assert!(plain.longest_wait < first_come.longest_wait && resident.longest_wait < first_come.longest_wait);
}
