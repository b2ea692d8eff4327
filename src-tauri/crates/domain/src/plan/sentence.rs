//! A whole plan in one sentence.

use super::words::{about, bare, list};
use super::{Action, Plan};
use crate::agent::AgentName;

impl Plan {
    /// "Stops Valkyrie and starts Odin, with at most 108.3 of 120.0 GB in use on the way, in about 90 s." A refusal is
    /// its reason and what to do about it.
    pub fn sentence(&self) -> String {
        if !self.fits {
            return format!("{} {}", self.reason, self.next).trim().to_owned();
        }
        let names = |all: Vec<&AgentName>| list(&all.into_iter().map(AgentName::proper).collect::<Vec<_>>());
        let (stops, starts) = (names(self.stops().collect()), names(self.starts().collect()));
        let what = match (stops.is_empty(), starts.is_empty()) {
            (true, true) => return "Nothing would change.".to_owned(),
            (false, true) => format!("Stops {stops}"),
            (true, false) => format!("Starts {starts}"),
            (false, false) => format!("Stops {stops} and starts {starts}"),
        };
        format!("{what}{}{}.", self.peak_words(), self.time_words())
    }

    /// The pool that comes nearest to its limit on the way.
    fn peak_words(&self) -> String {
        let fullest = self.pools.iter().filter(|p| p.ledger.limit.0 > 0).max_by(|a, b| {
            let full = |p: &super::PlannedPool| p.peak.0 as f64 / p.ledger.limit.0 as f64;
            full(a).total_cmp(&full(b))
        });
        let Some(pool) = fullest else { return String::new() };
        let unit = pool.ledger.unit();
        let place = if self.pools.len() > 1 { format!(" of {}", pool.ledger.name) } else { String::new() };
        format!(
            ", with at most {} of {}\u{a0}{unit}{place} in use on the way",
            bare(pool.peak, unit),
            bare(pool.ledger.limit, unit)
        )
    }

    /// Before any measured start no time is promised.
    fn time_words(&self) -> String {
        let starts: Vec<Option<f64>> =
            self.steps.iter().filter(|s| s.action == Action::WaitReady).map(|s| s.seconds).collect();
        if starts.is_empty() {
            return String::new();
        }
        match starts.into_iter().sum::<Option<f64>>() {
            Some(seconds) => format!(", in {}", about(seconds)),
            None => ", first start, 5 to 20\u{a0}minutes".to_owned(),
        }
    }
}
