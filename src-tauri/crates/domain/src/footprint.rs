//! What an agent really takes, learned from its starts.
//!
//! A start is observed once while it loads (the highest figure) and once when it is at rest. What is learned is
//! everything but the KV cache: that one is given in bytes and the same at every start, and a figure that contained
//! it would answer for a cache that has been changed since. Where a claim is one number (`memory`, `share`) the cache
//! is not known apart, so the whole is learned, and [`Key::of`] keeps claims of different numbers apart.
//!
//! A learned figure above the declared one counts at once ([`crate::plan::claims`]); one below it only when a person
//! accepts it into the stack file ([`acceptable`]). Neither changes what a server is started with, so
//! [`crate::stack::agent_hash`] does not know of it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::agent::AgentName;
use crate::attribution::Measured;
use crate::memory::{Bytes, Unit};
use crate::stack::{Agent, ClaimBasis, Stack};

/// What two starts must have in common for one to tell of the other. The bytes of KV cache are not in it: they are
/// taken out of every observation.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Key {
    pub model: String,
    /// The commit of the model's files; empty where it is not known.
    pub revision: String,
    /// The digest of the image; empty for a local process.
    pub image: String,
    /// The backend's word, with the claim where that is one number.
    pub backend: String,
    pub tensor_parallel: u32,
    pub sequences: u32,
    /// Tokens in one batch; 0 where the server decides.
    pub batched_tokens: u32,
}

impl Key {
    pub fn of(agent: &Agent, revision: &str, image: &str, batched_tokens: u32) -> Self {
        let word = agent.backend.word();
        let backend = match agent.claim {
            ClaimBasis::KvCache { .. } => word.to_owned(),
            // The cache is part of the figure here, so what decides its size is part of the key.
            ClaimBasis::Memory(bytes) => format!("{word}, memory {}, context {}", bytes.0, agent.context),
            ClaimBasis::Share(share) => format!("{word}, share {share}, context {}", agent.context),
        };
        Self {
            model: agent.model.clone(),
            revision: revision.to_owned(),
            image: image.to_owned(),
            backend,
            tensor_parallel: agent.tensor_parallel,
            sequences: agent.sequences,
            batched_tokens,
        }
    }
}

/// One start, in bytes over all devices of the model ([`crate::plan::footprint_of`]).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Observation {
    pub weights: Bytes,
    pub kv: Bytes,
    /// The highest figure while it was loading.
    pub peak: Bytes,
    /// At rest, after the first answer.
    pub steady: Bytes,
}

/// Why a start teaches nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Rejected {
    #[error("The measurement is in doubt: {0}")]
    Doubted(String),
    #[error(
        "{measured} were measured, less than its weights and KV cache of {known} take: a counter lags or the weights were not loaded."
    )]
    TooLittle { measured: String, known: String },
    #[error("{measured} were measured beside weights and KV cache of {known}: no server takes so much more.")]
    TooMuch { measured: String, known: String },
    #[error("Nothing was measured.")]
    Nothing,
}

/// More than this beyond weights and KV cache is no overhead, whatever a counter says.
const ABSURD_UNITS: f64 = 64.0;
/// A measurement may be this much below weights and KV cache before it is taken for a lie: what a server says of its
/// weights is rounded, and pages that were never touched are not there.
const SLACK_UNITS: f64 = 0.5;

impl Observation {
    /// An observation that may be kept.
    ///
    /// # Errors
    /// [`Rejected`]: a doubted measurement may hold another program's growth, and a figure that cannot be true
    /// tells of a counter, not of the agent.
    pub fn new(
        weights: Bytes,
        kv: Bytes,
        peak: (Bytes, &Measured),
        steady: (Bytes, &Measured),
    ) -> Result<Self, Rejected> {
        for measured in [peak.1, steady.1] {
            if let Some(doubt) = &measured.doubt {
                return Err(Rejected::Doubted(doubt.message.clone()));
            }
        }
        Self { weights, kv, peak: peak.0.max(steady.0), steady: steady.0 }.checked()
    }

    /// The same, if its numbers can be true.
    ///
    /// # Errors
    /// [`Rejected`].
    pub fn checked(self) -> Result<Self, Rejected> {
        if self.steady == Bytes::ZERO {
            return Err(Rejected::Nothing);
        }
        let known = self.weights + self.kv;
        let unit = Unit::for_capacity(known.max(self.steady));
        let shown = |measured: Bytes| (measured.show(unit), known.show(unit));
        if self.steady + unit.of(SLACK_UNITS) < known {
            let (measured, known) = shown(self.steady);
            return Err(Rejected::TooLittle { measured, known });
        }
        // Where neither part is known there is nothing to hold the figure against.
        if known > Bytes::ZERO && self.steady.max(self.peak) > known + unit.of(ABSURD_UNITS) {
            let (measured, known) = shown(self.steady.max(self.peak));
            return Err(Rejected::TooMuch { measured, known });
        }
        Ok(Self { peak: self.peak.max(self.steady), ..self })
    }

    /// Beyond weights and KV cache, at rest.
    pub fn overhead_steady(&self) -> Bytes {
        self.steady.saturating_sub(self.weights + self.kv)
    }

    /// Beyond weights and KV cache, at the highest while loading.
    pub fn overhead_loading(&self) -> Bytes {
        self.peak.max(self.steady).saturating_sub(self.weights + self.kv)
    }
}

/// What an agent's whole claim comes to by its earlier starts, with the KV cache that it has now. Bytes over all
/// devices of the model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Learned {
    /// At rest.
    pub steady: Bytes,
    /// While it loads; never below `steady`.
    pub peak: Bytes,
    /// How many starts it was learned from.
    pub starts: u32,
}

/// How many of the last starts count.
const LAST: usize = 8;

/// What `agent` takes by its earlier starts, oldest first; nothing where none of them can be true.
pub fn learn(agent: &Agent, observations: &[Observation]) -> Option<Learned> {
    let seen: Vec<Observation> = observations.iter().filter_map(|o| o.checked().ok()).collect();
    let cache = cache_of(agent);
    let of = |figure: fn(&Observation) -> Bytes| {
        let each = seen.iter().map(|o| without_cache(agent, o, figure(o)));
        robust(&each.collect::<Vec<_>>()).map(|bytes| bytes + cache)
    };
    let steady = of(|o| o.steady)?;
    let peak = of(|o| o.peak)?.max(steady);
    Some(Learned { steady, peak, starts: u32::try_from(seen.len()).unwrap_or(u32::MAX) })
}

fn cache_of(agent: &Agent) -> Bytes {
    match agent.claim {
        ClaimBasis::KvCache { kv_cache, .. } => kv_cache,
        ClaimBasis::Memory(_) | ClaimBasis::Share(_) => Bytes::ZERO,
    }
}

fn without_cache(agent: &Agent, observation: &Observation, measured: Bytes) -> Bytes {
    match agent.claim {
        ClaimBasis::KvCache { .. } => measured.saturating_sub(observation.kv),
        ClaimBasis::Memory(_) | ClaimBasis::Share(_) => measured,
    }
}

/// The largest of the last figures that is not alone.
///
/// A figure that is too small starts what does not fit, one that is too large wastes memory; so the largest of the
/// usual ones is taken, not their middle. Usual is what is at most 5 % or one unit above the median (of an even
/// number the upper one): a single start during which another program grew unnoticed is left out as soon as there
/// are three. Two starts running that both lie above are no accident, and the smaller of them counts at once: a new
/// driver that takes more must not first become the majority.
fn robust(figures: &[Bytes]) -> Option<Bytes> {
    let last = &figures[figures.len().saturating_sub(LAST)..];
    let mut sorted = last.to_vec();
    sorted.sort_unstable();
    let median = *sorted.get(sorted.len() / 2)?;
    let bound = median + tolerance(median, 1.0);
    let usual = sorted.iter().copied().filter(|f| *f <= bound).max()?;
    let repeated = match last {
        [.., before, latest] => (*before).min(*latest),
        _ => usual,
    };
    Some(usual.max(repeated))
}

/// 5 % of a figure, at least `units`.
fn tolerance(figure: Bytes, units: f64) -> Bytes {
    figure.share(5, 100).max(Unit::for_capacity(figure).of(units))
}

/// "planned 25.0, measured 24.6, 6 starts": both in the unit that the planned figure is spoken of in.
pub fn words(planned: Bytes, learned: &Learned) -> String {
    let unit = Unit::for_capacity(planned);
    let number = |b: Bytes| format!("{:.1}", b.0 as f64 / unit.bytes() as f64);
    let starts = if learned.starts == 1 { "start" } else { "starts" };
    format!("planned {}, measured {}, {} {starts}", number(planned), number(learned.steady), learned.starts)
}

/// An agent takes otherwise than it used to: the last two starts against those before them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Drift {
    pub before: Bytes,
    pub last: Bytes,
}

impl Drift {
    /// A sentence about the agent of this name.
    pub fn words(&self, name: &str) -> String {
        let unit = Unit::for_capacity(self.before);
        let (by, word) = if self.last > self.before {
            (self.last.saturating_sub(self.before), "more")
        } else {
            (self.before.saturating_sub(self.last), "less")
        };
        format!(
            "{name} took {} at its last starts, {} {word} than before.",
            self.last.show(unit),
            by.show(unit)
        )
    }
}

/// Whether the last two starts both differ from those before by more than 5 % and more than half a unit, to the same
/// side. One start that differs is not said: it may be its measurement that was wrong. The changed size of a KV
/// cache is no drift.
pub fn drift(agent: &Agent, observations: &[Observation]) -> Option<Drift> {
    let seen: Vec<Observation> = observations.iter().filter_map(|o| o.checked().ok()).collect();
    let figures: Vec<Bytes> = seen.iter().map(|o| without_cache(agent, o, o.steady)).collect();
    let [before @ .., one, two] = figures.as_slice() else { return None };
    let before = robust(before)?;
    let beyond = tolerance(before, 0.5);
    let (lower, upper) = ((*one).min(*two), (*one).max(*two));
    let last = if lower > before + beyond {
        lower
    } else if upper + beyond < before {
        upper
    } else {
        return None;
    };
    let cache = cache_of(agent);
    Some(Drift { before: before + cache, last: last + cache })
}

/// The stack with what was learned of its agents. What they declare stays as it is written, so that an editor shows
/// the file's figures and a server is started with the same arguments; plans count the larger of both.
pub fn apply(stack: &Stack, learned: &BTreeMap<AgentName, Learned>) -> Stack {
    let mut stack = stack.clone();
    for agent in &mut stack.agents {
        // A role is on its server's bytes, and what others run is not planned with.
        let counts = agent.served_by.is_none() && agent.is_ours();
        agent.learned = learned.get(&agent.name).copied().filter(|_| counts);
    }
    stack
}

/// A figure of the stack file that measured starts would allow to be smaller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Accept {
    /// Which key of the agent: "overhead" or "memory".
    pub key: &'static str,
    /// What to write: whole tenths of a unit, rounded up.
    pub value: Bytes,
    pub gives_back: Bytes,
}

/// What could be given back by taking the learned figure into the stack file; nothing where that is less than a
/// tenth of a unit. A share of the capacity is no figure that could be lowered by bytes.
pub fn acceptable(agent: &Agent, learned: &Learned) -> Option<Accept> {
    if agent.served_by.is_some() || !agent.is_ours() {
        return None;
    }
    let (key, declared, measured) = match agent.claim {
        ClaimBasis::KvCache { weights, kv_cache, overhead } => {
            ("overhead", overhead, learned.steady.saturating_sub(weights + kv_cache))
        }
        ClaimBasis::Memory(bytes) => ("memory", bytes, learned.steady),
        ClaimBasis::Share(_) => return None,
    };
    let unit = Unit::for_capacity(learned.steady.max(declared));
    // Bytes that a tenth is rounded by are none of the agent's.
    let tenths =
        u128::from(measured.0.saturating_sub(8)).saturating_mul(10).div_ceil(u128::from(unit.bytes()));
    // A size of nothing is none in the stack file.
    let value = unit.of(tenths.max(1) as f64 / 10.0);
    let gives_back = declared.saturating_sub(value);
    (gives_back >= unit.of(0.1)).then_some(Accept { key, value, gives_back })
}
