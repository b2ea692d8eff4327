//! From a wish to steps.
//!
//! How a plan is decided, in order:
//!
//! 1. *Who is there.* An agent is awake when it runs and is neither failed, nor stopping, nor only pulling its
//!    image. A server that somebody else runs is never started or stopped: it holds what it holds.
//! 2. *Who is wanted.* A profile wants its agents, and keeps pinned ones that are awake and that no rule forbids
//!    beside them. One agent is wanted beside what is awake; where a rule or the bytes forbid that, by a switch to
//!    the profile that holds it. Of several such profiles: one that fits, then the fewest stops, then the fewest of
//!    those in use, then the file's order. Where no profile holds it, it takes the place of those it conflicts with.
//! 3. *Who stops.* Everybody awake that is not wanted, and what still holds memory though it failed or is stopping;
//!    idle ones first. Putting one agent to sleep touches no other, not even a failed one.
//! 4. *Steps.* For each that stops: drain (only where it is in use), stop, wait for its memory. Then for each that
//!    starts, in the profile's order: pull (only where the image is missing), start, wait until it answers. So all
//!    memory is back before the first start, and one loads at a time. Who is awake and wanted is not touched.
//! 5. *Rules.* No two in conflict are wanted together. Since every stop comes before every start, they never meet on
//!    the way either.
//! 6. *Proof.* At the peak of each start, in each pool that a start claims of: other programs (at least 6 units) +
//!    lost + the larger of reserved and measured of each agent <= the limit; and what agents hold through the GPU
//!    <= the device cap less what others hold there. An agent that was seen to need more while it loads counts with
//!    that during its own start, and with its claim at rest afterwards. A pool that no start claims of is as it was, and is no reason
//!    to refuse. A plan that only stops always fits.
//! 7. *Refusals* carry their numbers and no steps: there is nothing in them that could be carried out by mistake.

use std::cmp::Reverse;
use std::collections::BTreeSet;

use super::proof::{Holding, Verdict, in_all};
use super::view::{View, stays};
use super::walk::Walk;
use super::words::{self, Subject, Why};
use super::{Goal, Plan, PlanError, PlannedAgent, PlannedPool, Running, Situation, Step, ledgers};
use crate::agent::{AgentName, AgentState};
use crate::memory::Bytes;
use crate::pool::{Ledger, PoolKind, Share};
use crate::stack::{Agent, Profile, ProfileName, Stack};

/// # Errors
/// See [`PlanError`]. A goal that does not fit is not an error.
pub fn plan(stack: &Stack, situation: &Situation, goal: &Goal) -> Result<Plan, PlanError> {
    let whole = stack;
    let servers = stack.servers_only();
    let stack: &Stack = &servers;
    let goal = &on_servers(whole, goal);
    let view = View::new(stack, situation, ledgers(stack, situation)?);
    // One that still runs by itself, from before it became a role, can be stopped like any other.
    if let Goal::Asleep(name) = goal
        && view.running(name).is_none()
        && let Some(server) = whole.agent(name).and_then(|a| a.served_by.as_ref())
    {
        return Ok(view.refuse_asleep(name, server));
    }
    let known = |name: &AgentName| {
        if stack.agent(name).is_some() || view.running(name).is_some() {
            Ok(())
        } else {
            Err(PlanError::UnknownAgent(name.to_string()))
        }
    };
    let draft = match goal {
        Goal::Profile(name) => view.profile(name)?,
        Goal::Awake(name) => {
            known(name)?;
            view.awake(name)
        }
        Goal::Again(name) => {
            known(name)?;
            view.beside(name, |_| true, Some(name.clone()))
        }
        Goal::Asleep(name) => {
            known(name)?;
            view.draft(Wish {
                subject: Subject::Asleep(name.clone()),
                profile: None,
                wanted: view.awake_now().filter(|n| *n != name).cloned().collect(),
                only: Some(name.clone()),
                strict: false,
                again: None,
            })
        }
        Goal::Exactly(names) => {
            names.iter().try_for_each(known)?;
            let in_order = stack.agents.iter().map(|a| &a.name).filter(|n| names.contains(*n));
            let strangers = names.iter().filter(|n| stack.agent(n).is_none());
            view.draft(Wish {
                subject: Subject::Before,
                profile: None,
                wanted: in_order.chain(strangers).cloned().collect(),
                only: None,
                strict: true,
                again: None,
            })
        }
        Goal::Nobody => view.draft(Wish {
            subject: Subject::Nobody,
            profile: None,
            wanted: Vec::new(),
            only: None,
            strict: false,
            again: None,
        }),
    };
    Ok(draft.plan)
}

/// A goal about a role is one about its server, but for its sleep: the server has others to serve.
fn on_servers(stack: &Stack, goal: &Goal) -> Goal {
    match goal {
        Goal::Awake(name) => Goal::Awake(stack.server_of(name).clone()),
        Goal::Again(name) => Goal::Again(stack.server_of(name).clone()),
        Goal::Exactly(names) => Goal::Exactly(names.iter().map(|n| stack.server_of(n).clone()).collect()),
        Goal::Profile(_) | Goal::Asleep(_) | Goal::Nobody => goal.clone(),
    }
}

/// The plan back to `awake` after a switch failed or was cancelled: [`Goal::Exactly`], its steps marked as undoing.
///
/// The mark is in the reasons. The actions stay what they are, so that the run loop has one way to carry them out.
///
/// # Errors
/// See [`PlanError`].
pub fn plan_undo(
    stack: &Stack,
    situation: &Situation,
    awake: &BTreeSet<AgentName>,
) -> Result<Plan, PlanError> {
    let mut plan = plan(stack, situation, &Goal::Exactly(awake.clone()))?;
    for step in &mut plan.steps {
        step.reason = words::undoing(&step.reason);
    }
    Ok(plan)
}

/// A goal made definite.
struct Wish {
    subject: Subject,
    profile: Option<ProfileName>,
    /// Who shall be awake, in the order of their starts.
    wanted: Vec<AgentName>,
    /// Touch nobody but this one.
    only: Option<AgentName>,
    /// Refuse two in conflict even where both are awake already.
    strict: bool,
    /// It is awake and wanted, and stops all the same before it starts.
    again: Option<AgentName>,
}

/// A plan, and what it would disturb. A refusal has no steps to count, so this is kept beside it.
struct Draft {
    plan: Plan,
    stops: usize,
    stops_in_use: usize,
}

impl View<'_> {
    fn holds(&self, running: &Running) -> bool {
        self.situation.pools.iter().any(|p| running.held.counts(p).total() > Bytes::ZERO)
    }

    /// A role cannot sleep by itself.
    fn refuse_asleep(&self, role: &AgentName, server: &AgentName) -> Plan {
        let (reason, next) = words::role_asleep(role, server);
        let wish = Wish {
            subject: Subject::Asleep(role.clone()),
            profile: None,
            wanted: self.awake_now().cloned().collect(),
            only: Some(role.clone()),
            strict: false,
            again: None,
        };
        Plan { fits: false, reason, next, steps: Vec::new(), ..self.draft(wish).plan }
    }

    /// An agent that would start though another that is awake, or would be, has the same weights.
    fn role_offer(&self, starting: &[&Agent], awake: &BTreeSet<AgentName>) -> Option<(AgentName, AgentName)> {
        starting.iter().rev().find_map(|agent| {
            let same = |other: &&Agent| {
                other.name != agent.name
                    && awake.contains(&other.name)
                    && other.backend == agent.backend
                    && other.model.eq_ignore_ascii_case(&agent.model)
                    && other.revision == agent.revision
            };
            let server = self.stack.agents.iter().find(same)?;
            Some((agent.name.clone(), server.name.clone()))
        })
    }

    fn profile(&self, name: &str) -> Result<Draft, PlanError> {
        let profile = self.stack.profile(name).ok_or_else(|| PlanError::UnknownProfile(name.to_owned()))?;
        let mut wanted = profile.agents.clone();
        for agent in self.stack.agents.iter().filter(|a| a.pinned && self.is_awake(&a.name)) {
            // Against those kept so far as well: two pinned agents may be in conflict with each other.
            if !wanted.contains(&agent.name) && !wanted.iter().any(|w| self.conflict(w, &agent.name)) {
                wanted.push(agent.name.clone());
            }
        }
        Ok(self.draft(Wish {
            subject: Subject::Profile(name.to_owned()),
            profile: Some(name.to_owned()),
            wanted,
            only: None,
            strict: true,
            again: None,
        }))
    }

    fn awake(&self, name: &AgentName) -> Draft {
        let first = self.beside(name, |_| true, None);
        let external_asleep = !self.is_ours(name) && !self.is_awake(name);
        if first.plan.fits || external_asleep {
            return first;
        }
        let holding = self.stack.profiles.iter().filter(|p| p.agents.contains(name));
        let switches = holding.filter_map(|p| self.profile(&p.name).ok());
        // `min_by_key` keeps the first of equals, which is the file's order.
        switches
            .min_by_key(|d| (Reverse(d.plan.fits), d.stops, d.stops_in_use))
            .unwrap_or_else(|| self.beside(name, |n| !self.conflict(n, name), None))
    }

    /// This agent with those that are awake and may stay. `again`: itself, where it stops before it starts.
    fn beside(
        &self,
        name: &AgentName,
        stays: impl Fn(&AgentName) -> bool,
        again: Option<AgentName>,
    ) -> Draft {
        let mut wanted: Vec<_> = self.awake_now().filter(|n| stays(n)).cloned().collect();
        if !wanted.contains(name) {
            wanted.push(name.clone());
        }
        self.draft(Wish {
            subject: Subject::Agent(name.clone()),
            profile: None,
            wanted,
            only: again.clone(),
            strict: false,
            again,
        })
    }

    fn draft(&self, wish: Wish) -> Draft {
        let again = |name: &AgentName| wish.again.as_ref() == Some(name);
        let leaving = self.leaving(&wish);
        let starting: Vec<&Agent> = wish
            .wanted
            .iter()
            .filter(|n| (!self.is_awake(n) || again(n)) && self.is_ours(n))
            .filter_map(|n| self.agent(n))
            .collect();
        let awake: BTreeSet<AgentName> = self
            .awake_now()
            .filter(|n| !leaving.iter().any(|r| &r.agent == *n))
            .chain(starting.iter().map(|a| &a.name))
            .cloned()
            .collect();

        let mut walk = Walk::new(self);
        for running in &leaving {
            walk.stop(running, &self.why(&wish, running));
        }
        let before_starts = walk.sums.clone();
        for agent in &starting {
            walk.start(agent, &wish.subject);
        }
        let verdict = Verdict::of(&self.ledgers, &walk.moments, &walk.sums);
        let forbidden = self.forbidden(&wish, &starting, &awake);
        let by_memory = forbidden.is_none() && verdict.worst().is_some();
        let refusal = forbidden.or_else(|| {
            let facts = words::Shortage {
                subject: &wish.subject,
                ledgers: &self.ledgers,
                holding: &walk.holding,
                end: &walk.sums,
                awake: &awake,
                verdict: &verdict,
                pinned: self.pinned_extra(&wish),
                fixed: awake.iter().filter(|n| !self.is_ours(n)).cloned().collect(),
            };
            words::shortage(&facts)
        });
        let fits = refusal.is_none();
        let role_offer = self.role_offer(&starting, &awake).filter(|_| by_memory);
        let refusal = refusal.map(|(reason, next)| match &role_offer {
            Some((agent, server)) => (reason, format!("{} {next}", words::role_offer(agent, server))),
            None => (reason, next),
        });
        let spare = Verdict::spare(&self.ledgers, &walk.sums, &before_starts);
        let left = spare.map(|(_, bytes)| bytes).filter(|_| fits);
        let (reason, next) = refusal.unwrap_or_else(|| {
            let stops: Vec<&AgentName> = leaving.iter().map(|r| &r.agent).collect();
            let line = words::fits(&wish.subject, &stops, &starting, self.promised(&starting), spare);
            (words::without(line, &self.away(&wish)), String::new())
        });

        let Walk { sums, steps, .. } = walk;
        let pools = self.planned(&steps, &sums, &awake, &verdict);
        let plan = Plan {
            profile: wish.profile.or_else(|| self.amounts_to(&awake)),
            from: self.situation.profile.clone(),
            fits,
            reason,
            next,
            steps: if fits { steps } else { Vec::new() },
            pools,
            spare: left,
            awake,
            role_offer,
            concerns: words::concerns(self.stack.gpu, &starting),
        };
        let stopped = leaving.iter().filter(|r| stays(r.state));
        Draft { plan, stops: stopped.clone().count(), stops_in_use: stopped.filter(|r| r.in_use > 0).count() }
    }

    /// Who has to stop, idle ones first.
    fn leaving(&self, wish: &Wish) -> Vec<&Running> {
        let mut leaving: Vec<&Running> = self
            .situation
            .running
            .iter()
            .filter(|r| self.is_ours(&r.agent))
            .filter(|r| wish.only.as_ref().is_none_or(|only| only == &r.agent))
            .filter(|r| {
                let wanted = wish.wanted.contains(&r.agent) && wish.again.as_ref() != Some(&r.agent);
                if stays(r.state) { !wanted } else { self.holds(r) }
            })
            .collect();
        leaving.sort_by_key(|r| r.in_use > 0);
        leaving
    }

    fn why(&self, wish: &Wish, running: &Running) -> Why {
        let name = &running.agent;
        if wish.again.as_ref() == Some(name) && stays(running.state) {
            return Why::Again(name.clone());
        }
        let rule = wish.wanted.iter().find(|w| self.conflict(w, name));
        match running.state {
            AgentState::Failed => Why::Failed(name.clone()),
            AgentState::Stopping => Why::StoppingAlready(name.clone()),
            _ => match rule {
                Some(wanted) => {
                    let set = self.stack.conflicts.iter().find(|s| s.contains(wanted) && s.contains(name));
                    // In the order in which the rule names them.
                    let first_is_wanted =
                        set.and_then(|s| s.iter().find(|n| *n == wanted || *n == name)) == Some(wanted);
                    if first_is_wanted {
                        Why::Rule(wanted.clone(), name.clone())
                    } else {
                        Why::Rule(name.clone(), wanted.clone())
                    }
                }
                None => Why::NotHeld(wish.subject.clone(), name.clone()),
            },
        }
    }

    /// What no amount of memory would mend.
    fn forbidden(
        &self,
        wish: &Wish,
        starting: &[&Agent],
        awake: &BTreeSet<AgentName>,
    ) -> Option<(String, String)> {
        if let Subject::Agent(name) = &wish.subject
            && !self.is_ours(name)
            && !self.is_awake(name)
        {
            return Some(words::somebody_elses(name));
        }
        if let Some(agent) = starting.iter().find(|a| self.too_few_devices(a)) {
            return Some(words::too_few_devices(agent, self.gpus()));
        }
        let starts = |n: &AgentName| starting.iter().any(|a| &a.name == n);
        let asked = |n: &AgentName| wish.strict && wish.wanted.contains(n);
        for (a, b) in self.conflicts_among(awake) {
            if starts(a) || starts(b) || (asked(a) && asked(b)) {
                let external = [a, b].into_iter().find(|n| !self.is_ours(n) && !asked(n));
                return Some(words::in_conflict(&wish.subject, a, b, external));
            }
        }
        None
    }

    /// GPUs of this machine: cards with memory of their own, else the one that shares the system's.
    fn gpus(&self) -> usize {
        let of = |kind| self.situation.pools.iter().filter(|p| p.kind == kind).count();
        of(PoolKind::Vram).max(of(PoolKind::Unified))
    }

    /// A model that is split over more GPUs than there are does not start, however much memory is free. A machine
    /// without any is not judged: there the parts are processes.
    fn too_few_devices(&self, agent: &Agent) -> bool {
        let gpus = self.gpus();
        agent.on_device()
            && gpus > 0
            && usize::try_from(agent.tensor_parallel).is_ok_and(|parts| parts > gpus)
    }

    /// Pinned agents that a switch keeps though the profile does not hold them.
    fn pinned_extra(&self, wish: &Wish) -> Vec<AgentName> {
        let Some(profile) = wish.profile.as_deref().and_then(|p| self.stack.profile(p)) else {
            return Vec::new();
        };
        wish.wanted.iter().filter(|n| !profile.agents.contains(n)).cloned().collect()
    }

    /// Seconds until all of `starting` answer, where each was measured before.
    fn promised(&self, starting: &[&Agent]) -> Option<f64> {
        let seconds = starting.iter().map(|a| self.situation.start_seconds.get(&a.name).copied());
        if starting.is_empty() { None } else { seconds.sum() }
    }

    /// Servers of others that a profile holds and that do not answer: it goes on without them.
    fn away(&self, wish: &Wish) -> Vec<AgentName> {
        let away = wish.wanted.iter().filter(|n| !self.is_ours(n) && !self.is_awake(n));
        away.cloned().collect()
    }

    /// The profile whose agents these are. What others run comes and goes by itself, so it decides only between
    /// profiles that differ in nothing else.
    fn amounts_to(&self, awake: &BTreeSet<AgentName>) -> Option<ProfileName> {
        let ours = |n: &&AgentName| self.is_ours(n);
        let now: BTreeSet<_> = awake.iter().filter(ours).collect();
        let same = |p: &&Profile| p.agents.iter().filter(ours).collect::<BTreeSet<_>>() == now;
        let exact = |p: &&Profile| p.agents.iter().collect::<BTreeSet<_>>() == awake.iter().collect();
        let profiles = || self.stack.profiles.iter();
        let found = profiles().find(exact).or_else(|| profiles().find(|p| !now.is_empty() && same(p)));
        found.map(|p| p.name.clone())
    }

    fn planned(
        &self,
        steps: &[Step],
        end: &[Share],
        awake: &BTreeSet<AgentName>,
        verdict: &Verdict,
    ) -> Vec<PlannedPool> {
        let now = Holding::now(&self.ledgers).sums(self.ledgers.len());
        let planned = |(place, ledger): (usize, &Ledger)| {
            // Every step has all pools, in the order of the ledgers.
            let of_steps = steps.iter().filter_map(|s| s.pools.get(place)).map(|p| p.peak);
            PlannedPool {
                ledger: ledger.clone(),
                planned: end[place].total(),
                peak: of_steps.max().unwrap_or(in_all(ledger, now[place])),
                shortfall: verdict.shortfall(place),
                agents: self.parts(place, awake),
            }
        };
        self.ledgers.iter().enumerate().map(planned).collect()
    }

    /// What each agent's claim in a pool is made of, in the stack's order.
    fn parts(&self, place: usize, awake: &BTreeSet<AgentName>) -> Vec<PlannedAgent> {
        let awake = self.stack.agents.iter().filter(|a| awake.contains(&a.name));
        awake.filter_map(|agent| self.claims(&agent.name)?.parts(agent, place)).collect()
    }
}
