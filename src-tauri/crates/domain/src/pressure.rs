//! What to do when memory runs short while agents are awake: tell, then let one idle agent go, and look again.
//!
//! The kernel kills what it likes when memory ends; on unified memory that is often the desktop. So the floor that
//! every limit keeps back is watched, and when somebody else's programs grow into it the household gives way first:
//! softly, one agent at a time, never one that answers, never everything at once.
//!
//! Deliberately absent: what memory is and how it is read (`hardware`), and the stop itself, which is a wish like any
//! other (`plan`). Time is an argument.

use std::time::Duration;

use crate::agent::AgentName;
use crate::memory::Bytes;
use crate::pool::{Ledger, PoolKind};

/// How long a shortage may last before an agent is let go. A build's peak is over by then.
pub const PATIENCE: Duration = Duration::from_secs(5);

/// How long after one agent went the next may: the kernel gives pages back late.
pub const SETTLE: Duration = Duration::from_secs(10);

/// Memory that programs on the processor live in, at one instant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Look {
    pub available: Bytes,
    /// What must stay available for the desktop to stay alive.
    pub floor: Bytes,
    /// The kernel said that programs wait for memory (PSI).
    pub stalled: bool,
}

impl Look {
    /// The shortest of the pools that ordinary programs live in. A card's own memory freezes no desktop.
    pub fn of(ledgers: &[Ledger], stalled: bool) -> Option<Self> {
        let ordinary = ledgers.iter().filter(|l| l.kind != PoolKind::Vram);
        ordinary
            .map(|l| Self {
                available: l.capacity.saturating_sub(l.used),
                // The least that any limit keeps back.
                floor: l.capacity.saturating_sub(Ledger::limit_for(l.kind, l.capacity, Some(l.capacity))),
                stalled,
            })
            .min_by_key(|look| i128::from(look.available.0) - i128::from(look.floor.0))
    }

    pub fn short(&self) -> Bytes {
        self.floor.saturating_sub(self.available)
    }

    /// Half of the floor is gone too: there is no time to be patient.
    fn is_desperate(&self) -> bool {
        self.available < self.floor.share(1, 2)
    }
}

/// An agent that nobody uses and that may be let go.
#[derive(Debug, Clone, PartialEq)]
pub struct Idle {
    pub agent: AgentName,
    /// Seconds that a start of it takes, as measured; `None` where none was.
    pub cost: Option<f64>,
    pub held: Bytes,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Act {
    Nothing,
    /// Say that memory is short, before anything is done.
    Tell,
    /// Put this one to sleep.
    Release(AgentName),
    /// Nobody idle is left; say so, once.
    Helpless,
    /// It is over.
    Calm,
}

/// The course of one shortage.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Watch {
    short_since: Option<Duration>,
    released_at: Option<Duration>,
    helpless: bool,
}

impl Watch {
    pub fn is_calm(&self) -> bool {
        self.short_since.is_none()
    }

    /// What to do now. `now` is the time since any fixed instant; a clock that went back begins the patience anew.
    pub fn look(&mut self, now: Duration, look: &Look, idle: &[Idle]) -> Act {
        // A quarter more than the floor before it counts as over, or it would begin again in a second.
        let enough = look.floor + look.floor.share(1, 4);
        let Some(since) = self.short_since else {
            if look.available >= look.floor {
                return Act::Nothing;
            }
            *self = Self { short_since: Some(now), ..Self::default() };
            return Act::Tell;
        };
        if look.available >= enough && !look.stalled {
            *self = Self::default();
            return Act::Calm;
        }
        if look.available >= look.floor {
            return Act::Nothing;
        }
        if now < since {
            self.short_since = Some(now);
        }
        let waited = now.saturating_sub(since);
        if waited < PATIENCE && !look.is_desperate() {
            return Act::Nothing;
        }
        if self.released_at.is_some_and(|at| now.saturating_sub(at) < SETTLE) {
            return Act::Nothing;
        }
        match least_cost(idle) {
            Some(agent) => {
                self.released_at = Some(now);
                self.helpless = false;
                Act::Release(agent.clone())
            }
            None if !self.helpless => {
                self.helpless = true;
                Act::Helpless
            }
            None => Act::Nothing,
        }
    }
}

/// The idle agent that is cheapest to bring back: by measured seconds, those never measured last, and of equals the
/// one that gives most.
fn least_cost(idle: &[Idle]) -> Option<&AgentName> {
    let cost = |i: &Idle| i.cost.filter(|c| c.is_finite()).unwrap_or(f64::MAX);
    idle.iter()
        .filter(|i| i.held > Bytes::ZERO)
        .min_by(|a, b| cost(a).total_cmp(&cost(b)).then_with(|| b.held.cmp(&a.held)))
        .map(|i| &i.agent)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn look(available: f64) -> Look {
        Look { available: Bytes::gb(available), floor: Bytes::gb(4.0), stalled: false }
    }

    fn idle(name: &str, cost: Option<f64>, gb: f64) -> Idle {
        Idle { agent: AgentName::new(name).unwrap(), cost, held: Bytes::gb(gb) }
    }

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn release(name: &str) -> Act {
        Act::Release(AgentName::new(name).unwrap())
    }

    #[test]
    fn it_tells_first_waits_and_lets_the_cheapest_go_one_at_a_time() {
        let all = [idle("odin", Some(90.0), 62.0), idle("loki", Some(20.0), 9.0), idle("frigga", None, 14.0)];
        let mut watch = Watch::default();
        assert_eq!(watch.look(at(0), &look(9.0), &all), Act::Nothing);
        assert_eq!(watch.look(at(1), &look(3.5), &all), Act::Tell);
        assert_eq!(watch.look(at(3), &look(3.5), &all), Act::Nothing, "patience");
        assert_eq!(watch.look(at(6), &look(3.5), &all), release("loki"));
        assert_eq!(watch.look(at(8), &look(3.5), &all[..1]), Act::Nothing, "its memory may still come back");
        assert_eq!(watch.look(at(16), &look(3.5), &[all[0].clone(), all[2].clone()]), release("odin"));
        assert_eq!(watch.look(at(17), &look(4.5), &[]), Act::Nothing, "not yet over");
        assert_eq!(watch.look(at(18), &look(60.0), &[]), Act::Calm);
        assert!(watch.is_calm());
    }

    #[test]
    fn a_peak_that_passes_costs_nobody() {
        let mut watch = Watch::default();
        assert_eq!(watch.look(at(0), &look(3.0), &[idle("loki", None, 9.0)]), Act::Tell);
        assert_eq!(watch.look(at(4), &look(8.0), &[idle("loki", None, 9.0)]), Act::Calm);
        assert_eq!(watch.look(at(9), &look(8.0), &[idle("loki", None, 9.0)]), Act::Nothing);
    }

    #[test]
    fn there_is_no_patience_when_half_the_floor_is_gone() {
        let mut watch = Watch::default();
        assert_eq!(watch.look(at(0), &look(1.0), &[idle("loki", None, 9.0)]), Act::Tell);
        assert_eq!(watch.look(at(1), &look(1.0), &[idle("loki", None, 9.0)]), release("loki"));
    }

    #[test]
    fn with_nobody_idle_it_says_so_once_and_stops_nobody() {
        let mut watch = Watch::default();
        watch.look(at(0), &look(1.0), &[]);
        assert_eq!(watch.look(at(6), &look(1.0), &[]), Act::Helpless);
        assert_eq!(watch.look(at(7), &look(1.0), &[]), Act::Nothing);
        // An agent that became idle meanwhile goes.
        assert_eq!(watch.look(at(8), &look(1.0), &[idle("thor", None, 25.0)]), release("thor"));
        // One that holds nothing would help nobody.
        assert_eq!(watch.look(at(60), &look(1.0), &[idle("thor", None, 0.0)]), Act::Helpless);
    }
}
