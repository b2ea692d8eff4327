//! What must hold.
//!
//! The bound on a wait, in this house: with W the longest carrying out of a wish of the schedule, R the longest
//! `min_residency`, F the longest request (which a drain without a deadline waits for), n servers and P the time in
//! which operations of the person were under way while it waited: [`AGING`] + (n + 2) x (R + W + F) + 15 s + P.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::AddAssign;

use domain::agent::{AgentName, AgentState};
use domain::memory::Bytes;
use domain::plan::{Goal, plan};
use domain::schedule::{AGING, Denied, House, Ticket};
use domain::stack::{DRAIN_FINISH, Tier};

use super::clients::LONGEST;
use super::house::Day;

#[derive(Debug, Clone, Default)]
pub struct Counts {
    pub cases: u64,
    pub asked: u64,
    pub granted: u64,
    pub refused: u64,
    pub hung_up: u64,
    pub waited: u64,
    pub longest_wait: u64,
    pub wishes: u64,
    pub swaps: u64,
    pub gentle: u64,
    pub carried: u64,
    pub busy: u64,
    pub cancels: u64,
    pub crashes: u64,
    pub failed_starts: u64,
    pub person: u64,
    pub jumps: u64,
    pub restarts: u64,
    pub too_often: u64,
    pub given_up: u64,
    pub aged: u64,
}

impl AddAssign for Counts {
    fn add_assign(&mut self, o: Self) {
        self.longest_wait = self.longest_wait.max(o.longest_wait);
        for (sum, more) in [
            (&mut self.cases, o.cases),
            (&mut self.asked, o.asked),
            (&mut self.granted, o.granted),
            (&mut self.refused, o.refused),
            (&mut self.hung_up, o.hung_up),
            (&mut self.waited, o.waited),
            (&mut self.wishes, o.wishes),
            (&mut self.swaps, o.swaps),
            (&mut self.gentle, o.gentle),
            (&mut self.carried, o.carried),
            (&mut self.busy, o.busy),
            (&mut self.cancels, o.cancels),
            (&mut self.crashes, o.crashes),
            (&mut self.failed_starts, o.failed_starts),
            (&mut self.person, o.person),
            (&mut self.jumps, o.jumps),
            (&mut self.restarts, o.restarts),
            (&mut self.too_often, o.too_often),
            (&mut self.given_up, o.given_up),
            (&mut self.aged, o.aged),
        ] {
            *sum += more;
        }
    }
}

impl Day {
    pub fn all_is_well(&self, house: &House) -> Result<(), String> {
        let waiting: BTreeSet<Ticket> = self.schedule.waiting().collect();
        let should: BTreeSet<Ticket> =
            self.requests.iter().filter(|(_, r)| r.waits()).map(|(t, _)| *t).collect();
        // Those whose asking or leaving is still to be told are on their way.
        if self.todo.is_empty() && waiting != should {
            return Err(format!("Waiting are {waiting:?} and should be {should:?}."));
        }
        let mut leases: BTreeMap<AgentName, u32> = BTreeMap::new();
        for request in self.requests.values().filter(|r| r.ends.is_some()) {
            *leases.entry(request.server.clone()).or_default() += 1;
        }
        if self.todo.is_empty() && self.schedule.leases() != leases {
            return Err(format!("Leases are {:?} and should be {leases:?}.", self.schedule.leases()));
        }
        for ticket in &waiting {
            let place = self.schedule.place(*ticket, self.clock(), house);
            if place.as_ref().is_none_or(|p| p.place == 0 || p.stage.is_empty()) {
                return Err(format!("Ticket {ticket} waits at {place:?}."));
            }
        }
        let pool = &house.situation.pools[0];
        let limit = self.stack.memory.limit.unwrap_or_default();
        if pool.used > limit {
            return Err(format!("{:?} is in use of {limit:?}.", pool.used));
        }
        let awake: Vec<AgentName> = self.awake().into_iter().collect();
        for (place, a) in awake.iter().enumerate() {
            if let Some(b) = awake[place + 1..].iter().find(|b| self.stack.conflict(a, b)) {
                return Err(format!("{a} and {b} are awake together."));
            }
        }
        for tier in [Tier::Reviewer, Tier::Utility] {
            let budget = self.schedule.budget(house, tier, self.clock());
            if budget.limit.is_some_and(|limit| budget.used > limit) {
                return Err(format!("The budget of {tier:?} is exceeded: {budget:?}."));
            }
        }
        Ok(())
    }

    pub fn wish_is_sound(&mut self, goal: &Goal, gentle: bool, house: &House) -> Result<(), String> {
        self.counts.wishes += 1;
        if self.wish.is_some() || self.operation.is_some() {
            return Err(format!("{goal:?} is wished while something is under way."));
        }
        let plan = plan(&self.stack, &house.situation, goal).map_err(|e| e.to_string())?;
        if !plan.fits {
            return Err(format!("{goal:?} is wished and does not fit: {}", plan.reason));
        }
        let stops: Vec<AgentName> = plan.stops().cloned().collect();
        for name in &stops {
            let (Some(server), Some(agent)) = (self.servers.get(name), self.stack.agent(name)) else {
                continue;
            };
            let residency = u64::try_from(agent.min_residency.as_millis()).unwrap_or(0);
            if server.state.answers() && server.ready_since.is_some_and(|since| since + residency > self.now)
            {
                return Err(format!("{goal:?} stops {name} before its time."));
            }
            let in_use = self.in_use(name) > 0;
            if in_use && (gentle || agent.drain == DRAIN_FINISH) {
                return Err(format!("{goal:?} stops {name}, which is in use."));
            }
        }
        if gentle {
            self.counts.gentle += 1;
            if stops.len() != 1 || self.stack.agent(&stops[0]).is_some_and(|a| a.pinned) {
                return Err(format!("{goal:?} is to put one to sleep and stops {stops:?}."));
            }
            return Ok(());
        }
        self.counts.swaps += u64::from(!stops.is_empty());
        let Goal::Awake(server) = goal else { return Err(format!("{goal:?} is not for one who waits.")) };
        let waiting: Vec<bool> =
            self.requests.values().filter(|r| r.waits() && &r.server == server).map(|r| r.person).collect();
        if waiting.is_empty() {
            return Err(format!("{server} is woken for nobody."));
        }
        if waiting.contains(&true) {
            return Ok(());
        }
        if self.paused || self.yielded || !self.stack.gateway.wake {
            return Err(format!("{server} is woken for tools, which may not."));
        }
        let agent = self.stack.agent(server).ok_or("It is unknown.")?;
        let cooldown = u64::try_from(self.stack.gateway.odin_cooldown.as_millis()).unwrap_or(0);
        let too_early = self.servers.get(server).and_then(|s| s.released).is_some_and(|at| {
            // A clock that jumped forward ends the cooldown early; its rounding may too, by two seconds.
            self.now + 2000 + self.forward * 1000 < at + cooldown
        });
        if agent.tier == Tier::Reviewer && too_early {
            return Err(format!("{server} is woken for tools in its cooldown."));
        }
        Ok(())
    }

    pub fn refusal_is_sound(
        &mut self,
        ticket: Ticket,
        server: &AgentName,
        person: bool,
        why: &Denied,
    ) -> Result<(), String> {
        if !why.message().ends_with('.') {
            return Err(format!("Ticket {ticket} is told {why:?}."));
        }
        match why {
            Denied::TooOften { retry_after, until, .. } => {
                self.counts.too_often += 1;
                if person {
                    return Err(format!("The person is bound by a budget: {why:?}."));
                }
                let wall = self.clock().wall;
                if until.is_some_and(|u| u <= wall || u > wall + 8 * 3600) || *retry_after == 0 {
                    return Err(format!("Ticket {ticket} is told {why:?} at {wall}."));
                }
                let cooldown = self.stack.gateway.odin_cooldown;
                if why.message().contains("let go") {
                    let released = self.servers.get(server).and_then(|s| s.released);
                    let left = |at: u64| {
                        (at + u64::try_from(cooldown.as_millis()).unwrap_or(0)).saturating_sub(self.now)
                    };
                    // Whole seconds are counted, by two clocks.
                    if released.is_none_or(|at| retry_after * 1000 > left(at.max(self.anew)) + 3000) {
                        return Err(format!("Ticket {ticket} is locked out for too long: {why:?}."));
                    }
                }
                Ok(())
            }
            Denied::Failed { retry_after, next, .. } => {
                self.counts.given_up += u64::from(retry_after.is_none());
                if next.is_empty() { Err("A failure says what to do.".to_owned()) } else { Ok(()) }
            }
            Denied::QueueFull { .. } => {
                let limit = self.stack.gateway.queue_limit;
                let waiting = self.requests.values().filter(|r| r.waits() && &r.server == server).count();
                // It is one of those that are counted.
                if limit == 0 || waiting <= usize::try_from(limit).unwrap_or(0) || person {
                    return Err(format!("The queue for {server} is not full with {waiting}."));
                }
                Ok(())
            }
            Denied::DoesNotFit { .. } | Denied::Asleep { .. } => Ok(()),
        }
    }

    pub fn waited(&mut self, ticket: Ticket, asked: u64, foreign: u64) -> Result<(), String> {
        let waited = self.now - asked;
        if waited == 0 {
            return Ok(());
        }
        self.counts.waited += 1;
        self.counts.longest_wait = self.counts.longest_wait.max(waited);
        let aging = u64::try_from(AGING.as_millis()).unwrap_or(0);
        self.counts.aged += u64::from(waited >= aging);
        let longest = |of: fn(&domain::stack::Agent) -> std::time::Duration| {
            self.stack.agents.iter().map(|a| u64::try_from(of(a).as_millis()).unwrap_or(0)).max().unwrap_or(0)
        };
        let finishes = self.stack.agents.iter().any(|a| a.drain == DRAIN_FINISH);
        let each = longest(|a| a.min_residency) + self.longest_wish + if finishes { LONGEST } else { 0 };
        let servers = u64::try_from(self.servers.len()).unwrap_or(0);
        let under_way = self.operation.as_ref().map_or(0, |o| o.so_far(self.now));
        let bound = aging + (servers + 2) * each.max(under_way) + 15_000 + (self.foreign - foreign);
        if waited > bound {
            return Err(format!("Ticket {ticket} waited {waited} ms, and the bound is {bound} ms."));
        }
        Ok(())
    }
}
