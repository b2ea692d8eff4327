//! The household: its clocks, its servers, and what happens to them.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use domain::agent::{AgentName, AgentState};
use domain::memory::Bytes;
use domain::plan::{Goal, Running, Situation, claims, plan};
use domain::pool::{Held, PoolId, PoolKind, PoolReading};
use domain::schedule::{Ask, Busy, Happening, House, Kept, Now, Order, PersonAct, Schedule, Seen, Ticket};
use domain::stack::Stack;

use super::chance::Chance;
use super::check::Counts;
use super::clients::Request;
use super::make;
use super::operation::Operation;

/// What other programs take.
const OTHERS: Bytes = Bytes(7 << 30);
/// How long the carrying out of a wish may take to begin.
pub const LATE: u64 = 10_000;
const WALL: i64 = 1_800_000_000;

pub struct Server {
    pub state: AgentState,
    pub closed: bool,
    /// Requests that go past the gateway, until then.
    pub past_us_until: u64,
    pub ready_since: Option<u64>,
    /// When it fell asleep after it had been ready.
    pub released: Option<u64>,
    /// When its idle time began as this house knows it.
    pub used: u64,
}

pub struct Day {
    pub chance: Chance,
    pub stack: Arc<Stack>,
    pub schedule: Schedule,
    /// Milliseconds by the steady clock.
    pub now: u64,
    /// What the wall's clock is ahead.
    pub wall_ahead: i64,
    /// How far the wall's clock jumped forward in all.
    pub forward: u64,
    pub servers: BTreeMap<AgentName, Server>,
    pub requests: BTreeMap<Ticket, Request>,
    pub next_ticket: Ticket,
    pub operation: Option<Operation>,
    /// The wish that is out, and when its carrying out begins.
    pub wish: Option<(Goal, bool, Option<u64>)>,
    pub look_at: Option<u64>,
    pub kept: Kept,
    pub paused: bool,
    pub yielded: bool,
    pub todo: VecDeque<Happening>,
    pub counts: Counts,
    /// Time in which somebody else's operation was under way.
    pub foreign: u64,
    pub longest_wish: u64,
    /// The clock jumped back, and the schedule was not asked since.
    unseen_jump: bool,
    /// When a controller started that could not know of such a jump: what lay ahead began anew there.
    pub anew: u64,
    pub spins: u32,
    /// The server's own count shows the gateway's requests too.
    counts_ours: bool,
    tell: bool,
    told: String,
}

impl Day {
    pub fn new(seed: u64, tell: bool) -> Self {
        let mut chance = Chance::new(seed);
        let stack = make::stack(&mut chance);
        let now = Now { steady: Duration::from_secs(3600), wall: WALL };
        let asleep = || Server {
            state: AgentState::Asleep,
            closed: false,
            past_us_until: 0,
            ready_since: None,
            released: None,
            used: 0,
        };
        let servers = stack.agents.iter().filter(|a| a.served_by.is_none());
        let servers = servers.map(|a| (a.name.clone(), asleep())).collect();
        let counts_ours = chance.percent(50);
        Self {
            chance,
            stack: Arc::new(stack),
            schedule: Schedule::new(Kept::default(), now),
            now: 3_600_000,
            wall_ahead: WALL - 3600,
            forward: 0,
            servers,
            requests: BTreeMap::new(),
            next_ticket: 0,
            operation: None,
            wish: None,
            look_at: None,
            kept: Kept::default(),
            paused: false,
            yielded: false,
            todo: VecDeque::new(),
            counts: Counts::default(),
            foreign: 0,
            longest_wish: 0,
            unseen_jump: false,
            anew: 0,
            spins: 0,
            counts_ours,
            tell,
            told: String::new(),
        }
    }

    pub fn story(&self) -> &str {
        &self.told
    }

    pub fn note(&mut self, what: impl FnOnce() -> String) {
        if self.tell {
            let _ = writeln!(self.told, "{:>9.3} {}", self.now as f64 / 1000.0 - 3600.0, what());
        }
    }

    pub fn clock(&self) -> Now {
        let wall = i64::try_from(self.now / 1000).unwrap_or(0) + self.wall_ahead;
        Now { steady: Duration::from_millis(self.now), wall }
    }

    pub fn in_use(&self, server: &AgentName) -> u32 {
        self.leased(server).max(self.own(server))
    }

    pub fn leased(&self, server: &AgentName) -> u32 {
        let count = self.requests.values().filter(|r| r.ends.is_some() && &r.server == server).count();
        u32::try_from(count).unwrap_or(u32::MAX)
    }

    fn own(&self, server: &AgentName) -> u32 {
        let Some(known) = self.servers.get(server) else { return 0 };
        if !known.state.holds_memory() {
            return 0;
        }
        let past_us = u32::from(known.past_us_until > self.now);
        past_us + if self.counts_ours { self.leased(server) } else { 0 }
    }

    pub fn situation(&self) -> Situation {
        let mut pool = PoolReading {
            id: PoolId::new("unified"),
            name: "Unified memory".into(),
            kind: PoolKind::Unified,
            capacity: Some(Bytes::gb(128.0)),
            device_cap: None,
            used: OTHERS,
            device_used: Some(Bytes::ZERO),
        };
        let mut running = Vec::new();
        for (name, server) in &self.servers {
            if !server.state.holds_memory() {
                continue;
            }
            let Some(agent) = self.stack.agent(name) else { continue };
            let shares = claims(agent, std::slice::from_ref(&pool));
            let share = shares.get(&pool.id).copied().unwrap_or_default();
            pool.used += share.total();
            pool.device_used = pool.device_used.map(|d| d + share.device);
            running.push(Running {
                agent: name.clone(),
                state: server.state,
                held: Held { agent: name.clone(), reserved: shares.clone(), measured: Some(shares) },
                in_use: self.in_use(name),
            });
        }
        Situation { pools: vec![pool], running, ..Situation::default() }
    }

    pub fn house(&self) -> House {
        let agents = self.servers.iter().map(|(name, server)| {
            let seen = Seen {
                state: server.state,
                own: self.own(name),
                failure: (server.state == AgentState::Failed).then(|| "It fell over.".to_owned()),
                stage: None,
                seconds_left: None,
                proper: name.proper(),
            };
            (name.clone(), seen)
        });
        House {
            stack: self.stack.clone(),
            situation: self.situation(),
            agents: agents.collect(),
            busy: self.operation.as_ref().map(|o| Busy {
                awake: o.awake.clone(),
                stage: "Working".into(),
                seconds_left: None,
                switches: false,
            }),
            yielded: self.yielded.then_some(None),
            paused: self.paused,
        }
    }

    /// Tells the schedule, does what it orders, and looks whether all is well.
    pub fn tell(&mut self, happening: Happening) -> Result<(), String> {
        self.todo.push_back(happening);
        while let Some(happening) = self.todo.pop_front() {
            self.unseen_jump = false;
            self.note(|| format!("  -> {happening:?}"));
            let (now, house) = (self.clock(), self.house());
            let orders = self.schedule.step(now, &house, happening);
            for order in orders {
                self.note(|| format!("  <- {order:?}"));
                self.carry(order, &house)?;
            }
            self.all_is_well(&house)?;
            let next = self.schedule.next_look(now, &house);
            self.look_at = next.map(|d| self.now + u64::try_from(d.as_millis()).unwrap_or(u64::MAX / 2));
        }
        Ok(())
    }

    fn carry(&mut self, order: Order, house: &House) -> Result<(), String> {
        match order {
            Order::Grant { ticket, server, story } => self.granted(ticket, &server, story.as_deref()),
            Order::Refuse { ticket, why, .. } => self.refused(ticket, &why),
            Order::Wish { goal, gentle, .. } => {
                self.wish_is_sound(&goal, gentle, house)?;
                // Whoever carries it out may be late.
                let late = if self.chance.percent(10) { LATE } else { 300 };
                let begins = self.now + self.chance.between(0, late);
                self.wish = Some((goal, gentle, Some(begins)));
                Ok(())
            }
            // Nobody asks for a restart in these days.
            Order::RestartForgotten { .. } => Ok(()),
            Order::Keep => {
                self.kept = self.schedule.kept().clone();
                Ok(())
            }
        }
    }

    pub fn live_through(&mut self) -> Result<(), String> {
        self.counts.cases = 1;
        // Some are awake when the controller starts.
        for name in self.servers.keys().cloned().collect::<Vec<_>>() {
            if self.chance.percent(40) && self.would_fit(&name) {
                self.ready(&name);
            }
        }
        self.tell(Happening::Looked)?;
        // Some days are quiet, and some are full.
        let full = self.chance.percent(20);
        let events = if full { self.chance.between(60, 150) } else { self.chance.between(10, 60) };
        for _ in 0..events {
            let gap = match self.chance.between(0, 9) {
                _ if full => self.chance.between(0, 8_000),
                0..=4 => self.chance.between(0, 2_000),
                5..=7 => self.chance.between(0, 20_000),
                8 => self.chance.between(0, 200_000),
                _ => self.chance.between(0, 2_000_000),
            };
            self.run_until(self.now + gap)?;
            self.something_happens()?;
        }
        // The evening: nothing new happens, and everybody must get an answer.
        (self.paused, self.yielded) = (false, false);
        self.tell(Happening::Looked)?;
        self.run_until(self.now + 4 * 3_600_000)?;
        match self.requests.iter().find(|(_, r)| r.waits()) {
            Some((ticket, _)) => Err(format!("Ticket {ticket} was never answered.")),
            None => Ok(()),
        }
    }

    fn would_fit(&self, name: &AgentName) -> bool {
        plan(&self.stack, &self.situation(), &Goal::Awake(name.clone()))
            .is_ok_and(|p| p.fits && p.stops().next().is_none())
    }

    pub fn ready(&mut self, name: &AgentName) {
        let now = self.now;
        if let Some(server) = self.servers.get_mut(name) {
            server.state = AgentState::Ready;
            server.ready_since = Some(now);
        }
    }

    pub fn run_until(&mut self, end: u64) -> Result<(), String> {
        loop {
            let due = [self.look_at, self.next_of_operation(), self.next_of_requests()];
            let Some(next) = due.into_iter().flatten().min().map(|t| t.max(self.now)).filter(|t| *t <= end)
            else {
                break;
            };
            self.pass_to(next);
            if self.look_at.is_some_and(|at| at <= self.now) {
                self.spins += 1;
                if self.spins > 200 {
                    return Err("It looks again and again, and nothing changes.".to_owned());
                }
                self.look_at = None;
                self.tell(Happening::Looked)?;
            }
            self.requests_go_on()?;
            self.operation_goes_on()?;
        }
        self.pass_to(end);
        Ok(())
    }

    fn pass_to(&mut self, next: u64) {
        let passed = next.saturating_sub(self.now);
        if self.operation.as_ref().is_some_and(|o| o.by_person) {
            self.foreign += passed;
        }
        if passed > 1000 {
            self.spins = 0;
        }
        self.now = next;
    }

    fn any_server(&mut self) -> AgentName {
        let names: Vec<AgentName> = self.servers.keys().cloned().collect();
        self.one_of(names)
    }

    pub fn one_of<T>(&mut self, mut list: Vec<T>) -> T {
        let place = self.chance.between(0, list.len() as u64 - 1);
        list.swap_remove(usize::try_from(place).unwrap_or(0))
    }

    fn something_happens(&mut self) -> Result<(), String> {
        match self.chance.between(0, 99) {
            0..=54 => self.asks(),
            55..=62 => self.hangs_up(),
            63..=69 => self.crashes(),
            70..=76 => {
                let name = self.any_server();
                let until = self.now + self.chance.between(0, 60_000);
                if let Some(server) = self.servers.get_mut(&name) {
                    server.past_us_until = until;
                }
                self.tell(Happening::Looked)
            }
            77..=86 => self.person_acts(),
            87..=90 => {
                let jump = i64::try_from(self.chance.between(0, 40_000)).unwrap_or(0) - 20_000;
                self.wall_ahead += jump;
                self.forward += u64::try_from(jump).unwrap_or(0);
                self.counts.jumps += 1;
                self.unseen_jump |= jump < 0;
                self.note(|| format!("The clock jumps by {jump} s"));
                Ok(())
            }
            91 => {
                self.paused = !self.paused;
                self.tell(Happening::Looked)
            }
            92 => {
                self.yielded = !self.yielded;
                self.tell(Happening::Looked)
            }
            93 => self.tell(Happening::NewSession),
            94 => self.controller_starts_again(),
            _ => self.tell(Happening::Looked),
        }
    }

    fn crashes(&mut self) -> Result<(), String> {
        let name = self.any_server();
        let in_hand = self.operation.as_ref().is_some_and(|o| o.is_at(&name));
        let Some(server) = self.servers.get_mut(&name).filter(|s| s.state.answers() && !in_hand) else {
            return Ok(());
        };
        server.state = AgentState::Failed;
        server.ready_since = None;
        self.counts.crashes += 1;
        self.note(|| format!("{name} crashes"));
        // Its clients notice first, or the engine does.
        if self.chance.percent(50) {
            self.cut(&name)?;
            self.tell(Happening::Looked)
        } else {
            self.tell(Happening::Looked)?;
            self.cut(&name)
        }
    }

    /// Everything is forgotten but what was kept; the servers run on.
    fn controller_starts_again(&mut self) -> Result<(), String> {
        if self.operation.is_some() || self.wish.is_some() {
            return Ok(());
        }
        if &self.kept != self.schedule.kept() {
            return Err("Something was to be kept, and nobody was told.".to_owned());
        }
        self.note(|| "The controller starts again".to_owned());
        self.requests.retain(|_, r| !r.waits() && r.ends.is_none());
        self.schedule = Schedule::new(self.kept.clone(), self.clock());
        if self.unseen_jump {
            self.anew = self.now;
        }
        for server in self.servers.values_mut() {
            server.closed = false;
            server.ready_since = server.ready_since.map(|_| self.now);
        }
        self.counts.restarts += 1;
        self.tell(Happening::Looked)
    }

    fn person_acts(&mut self) -> Result<(), String> {
        if self.operation.is_some() {
            if self.chance.percent(50)
                && let Some(operation) = &mut self.operation
            {
                operation.cancelled = true;
                self.counts.cancels += 1;
            }
            return Ok(());
        }
        let name = self.any_server();
        let (goal, act) = match self.chance.between(0, 5) {
            0..=1 => {
                let profile = self.one_of(self.stack.profiles.iter().map(|p| p.name.clone()).collect());
                (Goal::Profile(profile), PersonAct::Switched)
            }
            2 => (Goal::Nobody, PersonAct::Down),
            3 => (Goal::Asleep(name.clone()), PersonAct::Stopped(name)),
            _ => (Goal::Awake(name.clone()), PersonAct::Started(name)),
        };
        self.counts.person += 1;
        self.begin(&goal, true, false)?;
        self.tell(Happening::Person(act))
    }

    pub fn awake(&self) -> BTreeSet<AgentName> {
        let stays = |s: &Server| s.state.holds_memory() && s.state != AgentState::Stopping;
        self.servers.iter().filter(|(_, s)| stays(s)).map(|(n, _)| n.clone()).collect()
    }

    fn asks(&mut self) -> Result<(), String> {
        let agent = self.one_of(self.stack.agents.iter().map(|a| a.name.clone()).collect());
        let server = self.stack.server_of(&agent).clone();
        let (person, summon) = (self.chance.percent(15), self.chance.percent(8));
        self.next_ticket += 1;
        let ticket = self.next_ticket;
        self.requests.insert(ticket, Request::new(server, person, summon, self.now, self.foreign));
        self.counts.asked += 1;
        self.tell(Happening::Asked(Ask { ticket, agent, person, summon }))
    }
}
