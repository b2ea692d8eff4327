//! Where a model that is no agent yet would fit, and with how much context: beside each profile, only in place of
//! somebody, or never.
//!
//! Every yes and no is a plan of [`crate::plan`]; here contexts are tried until the longest that fits is found. What a
//! context takes is asked of the caller, so that estimates from files, figures that ship with Asgard and the small
//! machine of a rehearsal are all the same here.

mod words;

use crate::agent::AgentName;
use crate::memory::{Bytes, Unit};
use crate::plan::{Guest, Plan, PlanError, Situation, plan_with};
use crate::stack::{Agent, ProfileName, Stack};

/// A context that is shorter is of no use to an agent that works with tools.
pub const LEAST_CONTEXT: u32 = 4096;
/// Nobody asks for a million tokens by saying nothing.
pub const USUAL_CONTEXT: u32 = 32_768;
/// A context that was found is rounded down to a multiple of this.
const STEP: u32 = 1024;

/// A model that somebody thinks of.
pub struct Wish<'a> {
    /// Its total is not looked at: see `total`.
    pub guest: Guest,
    /// What agents of the stack would call it: the repository, a file of it.
    pub models: &'a [&'a str],
    /// Tokens that are wished for, and the most that the model has.
    pub context: u32,
    pub most: u32,
    /// All that it takes with one sequence of so many tokens, over all devices. It must not fall as tokens are added.
    pub total: &'a dyn Fn(u32) -> Bytes,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Beside one profile at least, or in one.
    Fits,
    /// Beside one profile at least, with a shorter context than wished for.
    LessContext,
    /// Only in place of somebody.
    Alone,
    Never,
    Unknown,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BesideKind {
    /// An agent of the profile runs it.
    InProfile,
    Fits,
    LessContext,
    No,
}

/// How it is with one profile.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Beside {
    /// None: with nobody else awake.
    pub profile: Option<ProfileName>,
    pub kind: BesideKind,
    /// The longest context that fits, at one sequence; none where none does.
    pub context: Option<u32>,
    /// Left with the context that fits (the wished one, or the longest below it).
    pub spare: Option<Bytes>,
    /// Short of even the shortest context that is of use.
    pub short: Option<Bytes>,
    /// "7.6 GB to spare".
    pub reason: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fit {
    pub kind: Kind,
    /// One line for a card: "Fits beside standard and heimdall".
    pub words: String,
    /// In the stack's order, at last alone.
    pub profiles: Vec<Beside>,
}

impl Fit {
    /// Where nothing can be said, and why, in a few words.
    pub fn unknown(words: impl Into<String>) -> Self {
        Self { kind: Kind::Unknown, words: words.into(), profiles: Vec::new() }
    }
}

/// Where the model fits.
///
/// # Errors
/// A machine whose memory is not known.
pub fn fit(stack: &Stack, situation: &Situation, wish: &Wish<'_>) -> Result<Fit, PlanError> {
    let search = Search { stack, situation, wish };
    let unit = situation.pools.first().and_then(|p| p.capacity).map(Unit::for_capacity).unwrap_or_default();
    let mut profiles = Vec::new();
    for profile in &stack.profiles {
        let own = profile.agents.iter().filter_map(|n| stack.agent(n)).find(|a| search.runs(a));
        let found = match own {
            Some(agent) => Beside {
                profile: None,
                kind: BesideKind::InProfile,
                context: Some(agent.context),
                spare: None,
                short: None,
                reason: format!("{} runs it", agent.display_name),
            },
            None => search.beside(&profile.agents, unit)?,
        };
        profiles.push(Beside { profile: Some(profile.name.clone()), ..found });
    }
    profiles.push(search.beside(&[], unit)?);
    let instead = if profiles.iter().rev().skip(1).all(|b| b.kind == BesideKind::No) {
        search.in_place_of()?
    } else {
        Vec::new()
    };
    let kind = kind(&profiles);
    Ok(Fit { kind, words: words::line(kind, &profiles, &instead, wish.context, unit), profiles })
}

fn kind(profiles: &[Beside]) -> Kind {
    let Some((alone, beside)) = profiles.split_last() else { return Kind::Unknown };
    let any = |kinds: &[BesideKind]| beside.iter().any(|b| kinds.contains(&b.kind));
    if any(&[BesideKind::Fits, BesideKind::InProfile]) {
        Kind::Fits
    } else if any(&[BesideKind::LessContext]) {
        Kind::LessContext
    } else if alone.kind == BesideKind::No {
        Kind::Never
    } else {
        Kind::Alone
    }
}

struct Search<'a> {
    stack: &'a Stack,
    situation: &'a Situation,
    wish: &'a Wish<'a>,
}

impl Search<'_> {
    fn runs(&self, agent: &Agent) -> bool {
        self.wish.models.iter().any(|m| m.eq_ignore_ascii_case(&agent.model))
    }

    /// The shortest context that is of use.
    fn least(&self) -> u32 {
        LEAST_CONTEXT.min(self.wish.most).max(1)
    }

    fn plan(&self, agents: &[AgentName], context: u32) -> Result<Option<Plan>, PlanError> {
        let guest = Guest { total: (self.wish.total)(context), ..self.wish.guest.clone() };
        // Alone is alone: nobody is kept for being pinned.
        let mut stack = self.stack;
        let unpinned;
        if agents.is_empty() {
            let mut own = self.stack.clone();
            own.agents.iter_mut().for_each(|a| a.pinned = false);
            unpinned = own;
            stack = &unpinned;
        }
        plan_with(stack, self.situation, &guest, agents)
    }

    fn beside(&self, agents: &[AgentName], unit: Unit) -> Result<Beside, PlanError> {
        let wished = self.wish.context.min(self.wish.most).max(1);
        let Some(plan) = self.plan(agents, wished)? else { return Ok(unknown()) };
        if plan.fits {
            let longest = self.longest(agents, wished, self.wish.most, plan.spare)?;
            return Ok(Beside {
                profile: None,
                kind: BesideKind::Fits,
                context: Some(longest),
                spare: plan.spare,
                short: None,
                reason: words::spare(plan.spare, unit),
            });
        }
        let least = self.least();
        let shortest = match self.plan(agents, least)? {
            Some(plan) if least < wished => plan,
            _ => plan,
        };
        if shortest.fits {
            let longest = self.longest(agents, least, wished.saturating_sub(1), shortest.spare)?;
            let spare = self.plan(agents, longest)?.and_then(|p| p.spare);
            return Ok(Beside {
                profile: None,
                kind: BesideKind::LessContext,
                context: Some(longest),
                spare,
                short: None,
                reason: words::with_context(longest, spare, unit),
            });
        }
        let short = shortest.pools.iter().map(|p| p.shortfall).max().filter(|s| *s > Bytes::ZERO);
        Ok(Beside {
            profile: None,
            kind: BesideKind::No,
            context: None,
            spare: None,
            short,
            reason: short.map_or_else(|| shortest.brief(), |s| words::short(s, unit)),
        })
    }

    /// The longest context from `fits` (which does) to `most`. What is to spare tells at once where to look; plans have
    /// the last word, at most twenty of them.
    fn longest(
        &self,
        agents: &[AgentName],
        fits: u32,
        most: u32,
        spare: Option<Bytes>,
    ) -> Result<u32, PlanError> {
        let most = most.max(fits);
        let rounded =
            |context: u32| if context >= most { most } else { (context - context % STEP).max(fits) };
        let room = (self.wish.total)(fits) + spare.unwrap_or_default();
        let mut low = fits;
        let mut high = most;
        while low < high {
            let middle = low + (high - low).div_ceil(2);
            if (self.wish.total)(middle) <= room { low = middle } else { high = middle - 1 }
        }
        let guess = rounded(low);
        if guess == fits || self.plan(agents, guess)?.is_some_and(|p| p.fits) {
            return Ok(guess);
        }
        let (mut low, mut high) = (fits / STEP, guess / STEP);
        for _ in 0..20 {
            if high <= low + 1 {
                break;
            }
            let middle = low + (high - low) / 2;
            let fit = self.plan(agents, middle * STEP)?.is_some_and(|p| p.fits);
            if fit { low = middle } else { high = middle }
        }
        Ok((low * STEP).max(fits))
    }

    /// Those whose place it could take: without one of them it fits beside the others of a profile. Pinned ones are not
    /// asked to go.
    fn in_place_of(&self) -> Result<Vec<String>, PlanError> {
        let wished = self.wish.context.min(self.wish.most).max(1);
        let mut found: Vec<&AgentName> = Vec::new();
        for profile in &self.stack.profiles {
            for name in &profile.agents {
                let stays = self.stack.agent(name).is_some_and(|a| a.pinned);
                if stays || found.contains(&name) {
                    continue;
                }
                let rest: Vec<AgentName> = profile.agents.iter().filter(|n| *n != name).cloned().collect();
                if !rest.is_empty() && self.plan(&rest, wished)?.is_some_and(|p| p.fits) {
                    found.push(name);
                }
            }
        }
        let shown = |name: &AgentName| self.stack.agent(name).map(|a| a.display_name.clone());
        Ok(found.into_iter().filter_map(shown).collect())
    }
}

fn unknown() -> Beside {
    Beside {
        profile: None,
        kind: BesideKind::No,
        context: None,
        spare: None,
        short: None,
        reason: "Not known".to_owned(),
    }
}
