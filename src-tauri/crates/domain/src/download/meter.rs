//! How fast something arrives, and how long the rest takes.

use std::collections::VecDeque;
use std::time::Duration;

/// The time that a speed is said of.
const WINDOW: Duration = Duration::from_secs(6);
/// Looks closer together than this are one.
const STEP: Duration = Duration::from_millis(150);
/// Nothing is said of less.
const LEAST: Duration = Duration::from_millis(500);

#[derive(Debug, Clone, Default)]
pub struct Meter {
    looks: VecDeque<(Duration, u64)>,
}

impl Meter {
    /// `arrived` in all at `now`. A count that falls begins anew (a file that is fetched once more).
    pub fn look(&mut self, now: Duration, arrived: u64) {
        if self.looks.back().is_some_and(|(_, before)| arrived < *before) {
            self.looks.clear();
        }
        if self.looks.len() > 1 && self.looks.back().is_some_and(|(at, _)| now.saturating_sub(*at) < STEP) {
            self.looks.pop_back();
        }
        self.looks.push_back((now, arrived));
        // One look from before the window stays, so that there is always a whole one.
        while self.looks.get(1).is_some_and(|(at, _)| now.saturating_sub(*at) >= WINDOW) {
            self.looks.pop_front();
        }
    }

    /// Bytes a second over the last few seconds.
    pub fn per_second(&self) -> Option<f64> {
        let ((first, before), (last, arrived)) = (self.looks.front()?, self.looks.back()?);
        let took = last.saturating_sub(*first);
        (took >= LEAST).then(|| arrived.saturating_sub(*before) as f64 / took.as_secs_f64())
    }

    /// Seconds until `left` more bytes are here; none while nothing comes.
    pub fn seconds_left(&self, left: u64) -> Option<f64> {
        let speed = self.per_second().filter(|s| *s >= 1.0)?;
        Some(left as f64 / speed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(n: u64) -> Duration {
        Duration::from_millis(n)
    }

    #[test]
    fn an_even_flow_is_told_as_it_is() {
        let mut meter = Meter::default();
        for tick in 0..100 {
            meter.look(ms(tick * 100), tick * 1000);
            if tick < 5 {
                assert_eq!(meter.per_second(), None);
            } else {
                let speed = meter.per_second().unwrap();
                assert!((speed - 10_000.0).abs() < 1.0, "{speed}");
            }
        }
        assert!((meter.seconds_left(100_000).unwrap() - 10.0).abs() < 0.01);
        assert!(meter.looks.len() < 60);
    }

    #[test]
    fn a_silence_becomes_zero_and_no_time() {
        let mut meter = Meter::default();
        meter.look(ms(0), 0);
        meter.look(ms(1000), 5_000_000);
        for second in 2..20 {
            meter.look(ms(second * 1000), 5_000_000);
        }
        assert_eq!(meter.per_second(), Some(0.0));
        assert_eq!(meter.seconds_left(1), None);
    }

    #[test]
    fn what_begins_anew_is_measured_anew() {
        let mut meter = Meter::default();
        meter.look(ms(0), 0);
        meter.look(ms(1000), 5_000_000);
        meter.look(ms(1200), 0);
        assert_eq!(meter.per_second(), None);
        meter.look(ms(2200), 1000);
        assert_eq!(meter.per_second(), Some(1000.0));
    }
}
