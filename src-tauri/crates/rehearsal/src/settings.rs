//! What the environment says about the rehearsal, apart from the command line that a real server would get.

use std::path::PathBuf;
use std::time::Duration;

use crate::fault::{self, Fault};

#[derive(Debug, Clone)]
pub(crate) struct Settings {
    /// `ASGARD_AGENT`: who is being played.
    pub(crate) agent: String,
    /// `ASGARD_REHEARSAL_HOLD`: bytes held in the end.
    pub(crate) hold: u64,
    /// `ASGARD_REHEARSAL_HELD_PART`: one part in so many is held for real, the rest is only said. For a household that
    /// plays on another machine's memory.
    pub(crate) held_part: u64,
    /// `ASGARD_REHEARSAL_LOAD_MS`: of several between commas, `odin=20000` is for odin alone.
    pub(crate) load: Duration,
    /// `ASGARD_REHEARSAL_TOKENS_PER_SECOND`
    pub(crate) tokens_per_second: f64,
    /// `ASGARD_REHEARSAL_FAULT`: names of [`fault::ALL`] between commas; `odin=garbage` is for odin alone, so that
    /// one setting can be handed to a whole household.
    pub(crate) faults: Vec<&'static Fault>,
    /// `ASGARD_REHEARSAL_REPORT`
    pub(crate) report: Option<PathBuf>,
    /// `ASGARD_REHEARSAL_JOURNAL`
    pub(crate) journal: Option<PathBuf>,
}

impl Settings {
    /// Reads them through `var`, which is the process environment or a test's.
    ///
    /// # Errors
    /// A sentence about the variable that is wrong, and one about what to write.
    pub(crate) fn read(var: impl Fn(&str) -> Option<String>) -> Result<Self, String> {
        let given = |name: &str| var(name).filter(|text| !text.trim().is_empty());
        let number = |name: &str, otherwise: f64| match given(name) {
            None => Ok(otherwise),
            Some(text) => {
                text.trim().parse::<f64>().ok().filter(|n| n.is_finite() && *n >= 0.0).ok_or_else(|| {
                    format!("{name} is {text:?}, which is no number. Write a number from 0 on.")
                })
            }
        };
        let hold = match given("ASGARD_REHEARSAL_HOLD") {
            None => 0,
            Some(text) => text.trim().parse::<u64>().map_err(|_| {
                format!("ASGARD_REHEARSAL_HOLD is {text:?}, which is no number of bytes. Write digits only.")
            })?,
        };
        let agent = given("ASGARD_AGENT").unwrap_or_else(|| "asgard".to_owned());
        let mut faults = Vec::new();
        for name in given("ASGARD_REHEARSAL_FAULT").unwrap_or_default().split(',').map(str::trim) {
            let (whose, name) = name.split_once('=').unwrap_or((agent.as_str(), name));
            if !name.is_empty() && whose == agent {
                faults.push(fault::named(name).ok_or_else(|| {
                    let known: Vec<&str> = fault::ALL.iter().map(|f| f.name).collect();
                    format!(
                        "ASGARD_REHEARSAL_FAULT names {name:?}, which is no fault. Write some of: {}.",
                        known.join(", ")
                    )
                })?);
            }
        }
        let held_part = number("ASGARD_REHEARSAL_HELD_PART", 1.0)?.clamp(1.0, 1e9);
        let load = load(given("ASGARD_REHEARSAL_LOAD_MS"), &agent)?.min(86_400_000.0);
        let speed = number("ASGARD_REHEARSAL_TOKENS_PER_SECOND", 40.0)?;
        Ok(Self {
            agent,
            hold,
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped")]
            held_part: held_part as u64,
            load: Duration::from_secs_f64(load / 1000.0),
            tokens_per_second: speed.clamp(0.1, 100_000.0),
            faults,
            report: given("ASGARD_REHEARSAL_REPORT").map(PathBuf::from),
            journal: given("ASGARD_REHEARSAL_JOURNAL").map(PathBuf::from),
        })
    }

    /// Whether it was asked to misbehave in this way.
    pub(crate) fn has(&self, wanted: fault::Kind) -> bool {
        self.faults.iter().any(|fault| fault.kind == wanted)
    }

    /// The start it was asked to fail with, if any.
    pub(crate) fn failure(&self) -> Option<&'static Fault> {
        self.faults.iter().find(|fault| fault.kind == fault::Kind::FailAtStart).copied()
    }
}

/// Milliseconds until it is ready: what is said of this agent, else what is said of all.
fn load(text: Option<String>, agent: &str) -> Result<f64, String> {
    let mut of_all = 2000.0;
    let mut own = None;
    for part in text.unwrap_or_default().split(',').map(str::trim).filter(|part| !part.is_empty()) {
        let (whose, number) =
            part.split_once('=').map_or((None, part), |(who, n)| (Some(who.trim()), n.trim()));
        let number = number.parse::<f64>().ok().filter(|n| n.is_finite() && *n >= 0.0).ok_or_else(|| {
            format!(
                "ASGARD_REHEARSAL_LOAD_MS says {part:?}, which is no number of milliseconds. Write one from 0 on, or \
                 AGENT=NUMBER."
            )
        })?;
        match whose {
            None => of_all = number,
            Some(whose) if whose == agent => own = Some(number),
            Some(_) => {}
        }
    }
    Ok(own.unwrap_or(of_all))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(pairs: &[(&str, &str)]) -> Result<Settings, String> {
        Settings::read(|name| pairs.iter().find(|(n, _)| *n == name).map(|(_, v)| (*v).to_owned()))
    }

    #[test]
    fn nothing_set_is_a_harmless_server() {
        let settings = read(&[]).unwrap();
        assert_eq!((settings.hold, settings.load), (0, Duration::from_secs(2)));
        assert!((settings.tokens_per_second - 40.0).abs() < f64::EPSILON);
        assert!(settings.faults.is_empty() && settings.report.is_none() && settings.journal.is_none());
    }

    #[test]
    fn several_faults_are_taken_and_an_unknown_one_is_refused_with_the_list() {
        let settings = read(&[("ASGARD_REHEARSAL_FAULT", "garbage, ignore-sigterm")]).unwrap();
        assert!(settings.has(fault::Kind::Garbage) && settings.has(fault::Kind::IgnoreSigterm));
        assert!(settings.failure().is_none());
        let error = read(&[("ASGARD_REHEARSAL_FAULT", "garbag")]).unwrap_err();
        assert!(error.contains("\"garbag\"") && error.contains("die-mid-stream"), "{error}");
    }

    #[test]
    fn a_fault_can_be_for_one_agent_alone() {
        let of =
            |agent| read(&[("ASGARD_AGENT", agent), ("ASGARD_REHEARSAL_FAULT", "odin=garbage,loki=empty")]);
        assert!(
            of("odin").unwrap().has(fault::Kind::Garbage) && !of("odin").unwrap().has(fault::Kind::Empty)
        );
        assert!(of("thor").unwrap().faults.is_empty());
    }

    #[test]
    fn one_agent_can_take_longer_than_the_others() {
        let of = |agent, text| {
            read(&[("ASGARD_AGENT", agent), ("ASGARD_REHEARSAL_LOAD_MS", text)]).map(|s| s.load.as_millis())
        };
        for (agent, text, expected) in [
            ("odin", "", 2000),
            ("odin", "400", 400),
            ("odin", "400, odin=20000", 20_000),
            ("odin", "odin=20000,400", 20_000),
            ("thor", "400,odin=20000", 400),
            ("thor", "odin=20000", 2000),
        ] {
            assert_eq!(of(agent, text), Ok(expected), "{agent} of {text:?}");
        }
        for bad in ["soon", "400,odin=", "odin=-1", "inf"] {
            assert!(of("thor", bad).unwrap_err().contains("LOAD_MS"), "{bad}");
        }
    }

    #[test]
    fn a_size_that_is_none_is_refused() {
        for bad in ["12 MB", "-3", "1e6"] {
            assert!(read(&[("ASGARD_REHEARSAL_HOLD", bad)]).is_err(), "{bad}");
        }
    }
}
