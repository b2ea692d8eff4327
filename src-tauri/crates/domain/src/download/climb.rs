//! How many connections help.
//!
//! A climb: more are opened as long as what arrives grows with them, and given back when it does not. A connection
//! that brings nothing costs the Hub and the machine.

use std::time::Duration;

/// So long a number is looked at before it is judged.
const LOOK: Duration = Duration::from_millis(700);
/// So long a number that was found good is kept before another is tried.
const KEEP: Duration = Duration::from_secs(15);
/// After the Hub asked for patience.
const REST: Duration = Duration::from_secs(60);
/// More must bring at least so much more.
const WORTH: f64 = 1.07;
/// Fewer may lose at most so much.
const SAME: f64 = 0.97;

#[derive(Debug, Clone, Copy, PartialEq)]
enum Phase {
    /// The number before, and what it brought, bytes a second.
    Tried {
        before: u32,
        brought: f64,
    },
    Kept {
        until: Duration,
    },
}

#[derive(Debug, Clone)]
pub struct Climb {
    most: u32,
    now: u32,
    phase: Phase,
    /// When the present look began, and what had arrived by then.
    since: Option<(Duration, u64)>,
    /// The next try goes down.
    down: bool,
}

impl Climb {
    /// Begins with `first` connections and never opens more than `most`.
    pub fn new(first: u32, most: u32) -> Self {
        let most = most.max(1);
        let now = first.clamp(1, most);
        Self { most, now, phase: Phase::Tried { before: now, brought: 0.0 }, since: None, down: false }
    }

    pub fn connections(&self) -> u32 {
        self.now
    }

    /// Told now and then what has arrived in all. `full`: all connections that are allowed were at work; where they
    /// were not, nothing can be learned.
    pub fn look(&mut self, time: Duration, arrived: u64, full: bool) {
        if !full {
            self.since = None;
            return;
        }
        let Some((began, before)) = self.since else {
            self.since = Some((time, arrived));
            return;
        };
        let took = time.saturating_sub(began);
        if took < LOOK {
            return;
        }
        let brings = arrived.saturating_sub(before) as f64 / took.as_secs_f64();
        self.since = Some((time, arrived));
        match self.phase {
            Phase::Tried { before, brought } if self.now >= before => {
                if brings < brought * WORTH {
                    self.keep(before, time);
                } else if self.now == self.most {
                    self.keep(self.now, time);
                } else {
                    self.phase = Phase::Tried { before: self.now, brought: brings };
                    self.now = (self.now + (self.now / 2).max(1)).min(self.most);
                }
            }
            Phase::Tried { before, brought } => {
                let number = if brings < brought * SAME { before } else { self.now };
                self.keep(number, time);
            }
            Phase::Kept { until } if time >= until => {
                let up = (self.now + (self.now / 4).max(1)).min(self.most);
                let fewer = (self.now - (self.now / 4).max(1).min(self.now - 1)).max(1);
                let next = if self.down || up == self.now { fewer } else { up };
                self.down = !self.down;
                self.phase = Phase::Tried { before: self.now, brought: brings };
                self.now = next;
            }
            Phase::Kept { .. } => {}
        }
    }

    /// The Hub asked for patience, or refuses connections: half as many, for a while.
    pub fn back_down(&mut self, time: Duration) {
        self.now = (self.now / 2).max(1);
        self.phase = Phase::Kept { until: time + REST };
        self.since = None;
    }

    fn keep(&mut self, number: u32, time: Duration) {
        self.now = number;
        self.phase = Phase::Kept { until: time + KEEP };
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Plays `seconds` against a network that brings so much with so many connections; the last number.
    fn play(climb: &mut Climb, seconds: u64, brings: impl Fn(u32) -> f64) -> Vec<u32> {
        let (mut arrived, mut numbers) = (0.0, Vec::new());
        for tick in 0..seconds * 10 {
            arrived += brings(climb.connections()) / 10.0;
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a count of bytes")]
            climb.look(Duration::from_millis(tick * 100), arrived as u64, true);
            numbers.push(climb.connections());
        }
        numbers
    }

    #[test]
    fn where_each_brings_its_own_all_are_opened_soon() {
        let mut climb = Climb::new(8, 16);
        let numbers = play(&mut climb, 4, |n| f64::from(n) * 30e6);
        assert_eq!(numbers.last(), Some(&16));
    }

    #[test]
    fn where_the_line_is_full_no_more_are_kept() {
        let mut climb = Climb::new(8, 16);
        let numbers = play(&mut climb, 10, |_| 12e6);
        assert_eq!(numbers.last(), Some(&8));
        let numbers = play(&mut climb, 600, |_| 12e6);
        assert!(*numbers.last().unwrap() <= 2, "connections that bring nothing are given back");
    }

    #[test]
    fn it_stays_near_what_the_line_holds() {
        let mut climb = Climb::new(4, 16);
        let numbers = play(&mut climb, 900, |n| f64::from(n.min(10)) * 10e6);
        let late = &numbers[3000..];
        let mean = late.iter().map(|n| f64::from(*n)).sum::<f64>() / late.len() as f64;
        assert!((8.0..=13.0).contains(&mean), "{mean}");
    }

    #[test]
    fn patience_asked_for_is_kept() {
        let mut climb = Climb::new(8, 16);
        climb.back_down(Duration::ZERO);
        assert_eq!(climb.connections(), 4);
        let numbers = play(&mut climb, 50, |n| f64::from(n) * 30e6);
        assert!(numbers.iter().all(|n| *n == 4));
    }

    proptest! {
        #[test]
        fn it_is_within_its_bounds(
            first in 0u32..40, most in 0u32..40,
            steps in prop::collection::vec((0u64..3000, 0u64..1_000_000_000, any::<bool>(), 0u8..10), 0..200),
        ) {
            let mut climb = Climb::new(first, most);
            let (mut time, mut arrived) = (Duration::ZERO, 0);
            for (milliseconds, bytes, full, what) in steps {
                time += Duration::from_millis(milliseconds);
                arrived += bytes;
                if what == 0 { climb.back_down(time) } else { climb.look(time, arrived, full) }
                prop_assert!((1..=most.max(1)).contains(&climb.connections()));
            }
        }
    }
}
