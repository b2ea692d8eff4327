//! Budgets and cooldown, which survive a restart.
//!
//! Tools may wake reviewers `session_budget_odin` times a session and utility agents `session_budget_utility` times,
//! each tier together; a reviewer that was let go (it fell asleep after it had been ready, for whatever reason) sleeps
//! for `odin_cooldown` first. A wake counts when it is wished for on behalf of tools alone, and is given back where
//! the agent did not become ready. A session ends eight hours after its last wake.
//!
//! What is kept is by the wall's clock, which may jump. A jump back moves everything that is kept with it, so that a
//! wait is never longer than it was; a jump forward ends a wait early, which harms nobody. A jump back that nobody
//! saw, because no controller ran, leaves moments that lie ahead: those count as now, so that a wait begins anew once.

use std::time::Duration;

use super::{Denied, Kept, Now, words};
use crate::agent::AgentName;
use crate::stack::{Agent, Stack, Tier};

/// A session of the budgets ends so long after its last summons, in seconds.
pub(super) const SESSION: i64 = 8 * 3600;

/// How far the two clocks may differ by rounding alone, in seconds.
const ROUNDING: i64 = 1;

#[derive(Debug, Clone)]
pub(super) struct Books {
    kept: Kept,
    changed: bool,
    /// The wall's clock less the steady one, in seconds: by it a jump is seen.
    offset: i64,
}

impl Books {
    pub(super) fn new(kept: Kept, now: Now) -> Self {
        let mut books = Self { kept, changed: false, offset: offset(now) };
        if books.kept.session_start == 0 {
            books.kept.session_start = now.wall;
            books.changed = true;
        }
        books.no_later_than(now.wall);
        books
    }

    pub(super) fn kept(&self) -> &Kept {
        &self.kept
    }

    /// Whether something changed since this was asked last.
    pub(super) fn take_changed(&mut self) -> bool {
        std::mem::take(&mut self.changed)
    }

    /// Follows the wall's clock where it jumped, and ends a session that is over. To be called at every step.
    pub(super) fn clock(&mut self, now: Now) {
        let offset = offset(now);
        let back = self.offset.saturating_sub(offset);
        if back > ROUNDING {
            let moved = |moment: &mut i64| *moment = moment.saturating_sub(back);
            moved(&mut self.kept.session_start);
            self.kept.last_summon.as_mut().map(moved);
            self.kept.last_release.as_mut().map(moved);
            self.kept.released.values_mut().for_each(moved);
            self.changed = true;
        }
        if back.abs() > ROUNDING {
            self.offset = offset;
        }
        if now.wall.saturating_sub(self.last_in_session()) >= SESSION {
            self.new_session(now);
        }
    }

    pub(super) fn new_session(&mut self, now: Now) {
        self.kept.session_start = now.wall;
        self.kept.summons.clear();
        self.changed = true;
    }

    fn last_in_session(&self) -> i64 {
        self.kept.session_start.max(self.kept.last_summon.unwrap_or(i64::MIN))
    }

    /// When the session ends if nobody is summoned any more, by the wall's clock.
    pub(super) fn session_end(&self) -> i64 {
        self.last_in_session().saturating_add(SESSION)
    }

    /// What lies ahead of now was written by a clock that was wrong.
    fn no_later_than(&mut self, wall: i64) {
        let mut changed = false;
        let mut clamp = |moment: &mut i64| {
            changed |= *moment > wall;
            *moment = (*moment).min(wall);
        };
        clamp(&mut self.kept.session_start);
        self.kept.last_summon.as_mut().map(&mut clamp);
        self.kept.last_release.as_mut().map(&mut clamp);
        self.kept.released.values_mut().for_each(&mut clamp);
        self.changed |= changed;
    }

    /// A server is to be woken for tools.
    pub(super) fn summoned(&mut self, server: &AgentName, now: Now) {
        let count = self.kept.summons.entry(server.clone()).or_default();
        *count = count.saturating_add(1);
        self.kept.last_summon = Some(now.wall);
        self.changed = true;
    }

    /// It did not become ready.
    pub(super) fn give_back(&mut self, server: &AgentName) {
        if let Some(count) = self.kept.summons.get_mut(server) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                self.kept.summons.remove(server);
            }
            self.changed = true;
        }
    }

    /// A server that had been ready fell asleep.
    pub(super) fn released(&mut self, server: &AgentName, now: Now) {
        self.kept.released.insert(server.clone(), now.wall);
        self.kept.last_release = Some(now.wall);
        self.changed = true;
    }

    pub(super) fn set_down(&mut self, down: bool) {
        self.changed |= self.kept.down != down;
        self.kept.down = down;
    }

    /// How often tools summoned agents of this tier in this session.
    pub(super) fn used(&self, stack: &Stack, tier: Tier) -> u32 {
        let of_tier = |name: &AgentName| stack.agent(name).is_some_and(|a| a.tier == tier);
        self.kept.summons.iter().filter(|(n, _)| of_tier(n)).map(|(_, c)| *c).fold(0, u32::saturating_add)
    }

    /// When a reviewer may be summoned again, by the wall's clock; none where it may.
    pub(super) fn cooldown_until(&self, stack: &Stack, agent: &Agent, wall: i64) -> Option<i64> {
        if agent.tier != Tier::Reviewer || stack.gateway.odin_cooldown.is_zero() {
            return None;
        }
        let released = *self.kept.released.get(&agent.name)?;
        let cooldown = i64::try_from(stack.gateway.odin_cooldown.as_secs()).unwrap_or(i64::MAX);
        let until = released.min(wall).saturating_add(cooldown);
        (until > wall).then_some(until)
    }

    /// What forbids tools to wake this server now.
    pub(super) fn forbids(&self, stack: &Stack, server: &Agent, now: Now) -> Option<Denied> {
        let proper = &server.display_name;
        if let Some(until) = self.cooldown_until(stack, server, now.wall) {
            let left = seconds(until, now.wall);
            let message = words::cooling_down(proper, Duration::from_secs(left));
            return Some(Denied::TooOften { message, retry_after: left.max(1), until: Some(until) });
        }
        let limit = limit(stack, server.tier)?;
        if self.used(stack, server.tier) < limit {
            return None;
        }
        let until = self.session_end();
        let left = seconds(until, now.wall);
        let message = words::budget_spent(proper, limit, Duration::from_secs(left));
        Some(Denied::TooOften { message, retry_after: left.max(1), until: Some(until) })
    }
}

/// How often tools may summon agents of this tier in one session; none: as often as they like.
pub(super) fn limit(stack: &Stack, tier: Tier) -> Option<u32> {
    let limit = match tier {
        Tier::Reviewer => stack.gateway.session_budget_odin,
        Tier::Utility => stack.gateway.session_budget_utility,
        Tier::Primary | Tier::Coder => 0,
    };
    (limit > 0).then_some(limit)
}

fn offset(now: Now) -> i64 {
    now.wall.saturating_sub(i64::try_from(now.steady.as_secs()).unwrap_or(i64::MAX))
}

fn seconds(until: i64, wall: i64) -> u64 {
    u64::try_from(until.saturating_sub(wall)).unwrap_or(0)
}
