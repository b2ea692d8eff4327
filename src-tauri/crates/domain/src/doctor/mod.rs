//! Readiness: from what was seen of a machine to what is right, what is advised and what has to be mended.
//!
//! [`Facts`] are what probes saw, each by itself: one that failed says why, and its checks are skipped with that
//! reason. [`checks`] turns them into verdicts, always in the same order. Every verdict that is not a pass carries
//! something to copy; nothing is changed on the machine by anything here.
//!
//! Deliberately absent: how a fact is found (`app::doctor`), and any wish to mend something by itself.

mod devices;
mod disk;
mod engine;
mod facts;
mod fix;
mod kernel;
mod known;
mod memory;
mod ports;
mod profiles;
mod scrub;
mod swap;

pub use facts::{
    DeviceNode, Devices, Disks, Distribution, Engine, Facts, Free, Graphics, HubCache, ImageFact, Kernel,
    ModelFact, PortFact, Seen, Swap, SwapArea,
};
pub use known::{KNOWN, Known, version_below};
pub use scrub::{Private, scrub};

use crate::memory::Bytes;

/// What a check says. A skip is not a verdict: the fact could not be seen, or does not matter here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Status {
    Pass,
    /// It works without, less well.
    Warn,
    /// Agents will not start, or not all of them, until this is mended.
    Fail,
    Skip,
}

impl Status {
    pub fn word(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Warn => "warn",
            Self::Fail => "fail",
            Self::Skip => "skip",
        }
    }
}

/// One check. All but `id` is for a person.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Check {
    /// Stays the same between versions: "gtt_cap", "profile.odin".
    pub id: String,
    pub title: String,
    pub status: Status,
    /// What is there; of a skip, why nothing can be said.
    pub found: String,
    /// What would pass.
    pub wanted: String,
    /// One or two sentences: what goes wrong otherwise.
    pub why: String,
    /// Commands to copy, one a line. Present with a warning and a failure, and only there.
    pub fix: Option<String>,
}

/// Every check, by theme: memory, swap, the kernel, devices, the engine, disks, ports, the stack.
pub fn checks(facts: &Facts) -> Vec<Check> {
    let mut all = Vec::new();
    all.extend(memory::checks(facts));
    all.extend(swap::checks(facts));
    all.extend(kernel::checks(facts));
    all.extend(devices::checks(facts));
    all.extend(engine::checks(facts));
    all.extend(disk::checks(facts));
    all.extend(ports::checks(facts));
    all.extend(profiles::checks(facts));
    all
}

/// Whether anything has to be mended.
pub fn is_ready(checks: &[Check]) -> bool {
    checks.iter().all(|c| c.status != Status::Fail)
}

/// The part of a check that is the same whatever is found.
struct Asked {
    id: String,
    title: String,
    wanted: String,
    why: String,
}

fn ask(id: impl Into<String>, title: &str, wanted: impl Into<String>, why: &str) -> Asked {
    Asked { id: id.into(), title: title.to_owned(), wanted: wanted.into(), why: why.to_owned() }
}

impl Asked {
    fn pass(self, found: impl Into<String>) -> Check {
        self.with(Status::Pass, found.into(), None)
    }

    fn warn(self, found: impl Into<String>, fix: impl Into<String>) -> Check {
        self.with(Status::Warn, found.into(), Some(fix.into()))
    }

    fn fail(self, found: impl Into<String>, fix: impl Into<String>) -> Check {
        self.with(Status::Fail, found.into(), Some(fix.into()))
    }

    fn skip(self, reason: impl Into<String>) -> Check {
        self.with(Status::Skip, reason.into(), None)
    }

    /// Another reason than the usual one.
    fn because(mut self, why: impl Into<String>) -> Self {
        self.why = why.into();
        self
    }

    fn with(self, status: Status, found: String, fix: Option<String>) -> Check {
        let Self { id, title, wanted, why } = self;
        Check { id, title, status, found, wanted, why, fix }
    }
}

/// Bytes on a disk for a person, in 10^9 as disks count.
fn on_disk(bytes: u64) -> String {
    match bytes {
        0..1_000_000_000 => format!("{:.0}\u{a0}MB", bytes as f64 / 1e6),
        1_000_000_000..1_000_000_000_000 => format!("{:.1}\u{a0}GB", bytes as f64 / 1e9),
        _ => format!("{:.1}\u{a0}TB", bytes as f64 / 1e12),
    }
}

/// The kernel's own unit, for values that are copied: "124 GiB", "62.5 GiB".
fn gib(bytes: Bytes) -> String {
    let text = format!("{:.1}", bytes.0 as f64 / crate::memory::GIB as f64);
    format!("{}\u{a0}GiB", text.strip_suffix(".0").unwrap_or(&text))
}

/// "a", "a and b", "a, b and c".
fn list(words: &[String]) -> String {
    match words {
        [] => String::new(),
        [one] => one.clone(),
        [most @ .., last] => format!("{} and {last}", most.join(", ")),
    }
}
