//! What holds for every plan, over random stacks and states, most of them within a gigabyte of a bound.
//!
//! The arithmetic here is written a second time on purpose: nothing of the planner's own sums is used to judge it.

#![allow(clippy::expect_used, clippy::panic, reason = "a test may fail")]

mod common;

use std::collections::{BTreeMap, BTreeSet};

use common::case::{Case, cases};
use domain::agent::{AgentName, AgentState};
use domain::memory::Bytes;
use domain::plan::{Action, Goal, Plan, Running, claims, loading_claims, plan};
use domain::pool::{PoolId, PoolKind, PoolReading, Share, Shares};
use domain::stack::{Agent, ClaimBasis};
use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::{Config, TestRunner};

const UNIT: u64 = 1 << 30;

type Held = BTreeMap<AgentName, Shares>;

impl Case {
    fn is_ours(&self, agent: &AgentName) -> bool {
        self.stack.agent(agent).is_some_and(Agent::is_ours)
    }

    fn awake_before(&self) -> BTreeSet<AgentName> {
        self.situation.running.iter().filter(|r| awake(r)).map(|r| r.agent.clone()).collect()
    }

    fn held_before(&self) -> Held {
        let larger = |r: &Running, pool: &PoolReading| {
            let reserved = r.held.reserved.get(&pool.id).copied().unwrap_or_default();
            let measured =
                r.held.measured.as_ref().and_then(|m| m.get(&pool.id)).copied().unwrap_or_default();
            if measured.total() > reserved.total() { measured } else { reserved }
        };
        let all = |r: &Running| self.situation.pools.iter().map(|p| (p.id.clone(), larger(r, p))).collect();
        self.situation.running.iter().map(|r| (r.agent.clone(), all(r))).collect()
    }

    fn claim(&self, agent: &AgentName) -> Shares {
        claims(self.stack.agent(agent).expect("an agent of the stack"), &self.situation.pools)
    }

    fn loading(&self, agent: &AgentName) -> Shares {
        loading_claims(self.stack.agent(agent).expect("an agent of the stack"), &self.situation.pools)
    }

    /// Bytes past the limit, and past the cap, with `held`; negative where there is room.
    fn past(&self, pool: &PoolReading, held: &Held) -> (i128, Option<i128>) {
        let of = |f: fn(&Share) -> Bytes| -> i128 {
            held.values().filter_map(|s| s.get(&pool.id)).map(|s| i128::from(f(s).0)).sum()
        };
        let other = self.other[&pool.id];
        let counted = if pool.kind == PoolKind::Vram { UNIT / 2 } else { 6 * UNIT };
        let programs = i128::from(other.total().0.max(counted));
        let lost = self.situation.lost.get(&pool.id).map_or(0, |b| i128::from(b.0));
        let limit = i128::from(self.stack.memory.by_pool[&pool.id].0);
        let device =
            pool.device_cap.map(|cap| of(|s| s.device) + i128::from(other.device.0) - i128::from(cap.0));
        (of(|s| s.total()) + programs + lost - limit, device)
    }

    /// What each pool is short of when `starts` wake one after another, with the rest of `held` there. The highest
    /// instant of each start counts.
    fn short(&self, starts: &[AgentName], held: &Held) -> BTreeMap<PoolId, i128> {
        let claimed: Vec<Shares> = starts.iter().map(|a| self.loading(a)).collect();
        let mut now = held.clone();
        now.retain(|agent, _| !starts.contains(agent));
        let mut instants = Vec::new();
        for agent in starts {
            now.insert(agent.clone(), self.loading(agent));
            instants.push(now.clone());
            now.insert(agent.clone(), self.claim(agent));
        }
        let mut short = BTreeMap::new();
        for pool in &self.situation.pools {
            let here: Vec<Share> = claimed.iter().filter_map(|c| c.get(&pool.id)).copied().collect();
            let past = instants.iter().map(|held| {
                let (limit, device) = self.past(pool, held);
                let limit = if here.iter().any(|s| s.total().0 > 0) { limit } else { 0 };
                let device = if here.iter().any(|s| s.device.0 > 0) { device.unwrap_or(0) } else { 0 };
                limit.max(device)
            });
            short.insert(pool.id.clone(), past.max().unwrap_or(0).max(0));
        }
        short
    }

    /// The orders that a goal may start these in: the file's for exactly these, else that of a profile.
    fn orders(&self, starts: &[AgentName]) -> Vec<Vec<AgentName>> {
        let sorted = |by: Vec<&AgentName>| {
            let place = |a: &AgentName| by.iter().position(|b| *b == a).unwrap_or(by.len());
            let mut starts = starts.to_vec();
            starts.sort_by_key(place);
            starts
        };
        let profiles = self.stack.profiles.iter().filter(|p| match &self.goal {
            Goal::Profile(name) => &p.name == name,
            Goal::Awake(_) => true,
            _ => false,
        });
        let mut orders: Vec<_> = profiles.map(|p| sorted(p.agents.iter().collect())).collect();
        if orders.is_empty() {
            orders.push(sorted(self.stack.agents.iter().map(|a| &a.name).collect()));
        }
        orders
    }

    /// Who would have to start for `target`, and what would be held in the end.
    fn outcome(&self, target: &BTreeSet<AgentName>) -> (Vec<AgentName>, Held) {
        let before = self.awake_before();
        let mut held = self.held_before();
        held.retain(|agent, _| !self.is_ours(agent) || (before.contains(agent) && target.contains(agent)));
        let starts: Vec<AgentName> =
            target.iter().filter(|a| self.is_ours(a) && !before.contains(*a)).cloned().collect();
        held.extend(starts.iter().map(|a| (a.clone(), self.claim(a))));
        (starts, held)
    }

    fn would_fit(&self, target: &BTreeSet<AgentName>) -> bool {
        let (starts, held) = self.outcome(target);
        self.short(&starts, &held).values().all(|s| *s == 0)
    }

    fn breaks_a_rule(&self, together: &BTreeSet<AgentName>) -> bool {
        together.iter().any(|a| together.iter().any(|b| self.stack.conflict(a, b)))
    }

    /// The same, with each bound that is short moved away by `by` bytes.
    fn with_more(&self, by: &BTreeMap<PoolId, u64>) -> Self {
        let mut more = self.clone();
        for pool in &mut more.situation.pools {
            let by = Bytes(by[&pool.id]);
            if let Some(limit) = more.stack.memory.by_pool.get_mut(&pool.id) {
                *limit += by;
            }
            pool.device_cap = pool.device_cap.map(|cap| cap + by);
        }
        more
    }

    fn plan(&self) -> Plan {
        plan(&self.stack, &self.situation, &self.goal).expect("a plan")
    }
}

fn awake(r: &Running) -> bool {
    use AgentState::{Busy, Draining, Loading, Ready, Starting};
    matches!(r.state, Starting | Loading | Ready | Busy | Draining)
}

/// Carries the plan out on paper; every rule of the road is checked on the way. Gives who is awake at the end.
fn carried_out(case: &Case, plan: &Plan) -> Result<BTreeSet<AgentName>, TestCaseError> {
    let mut held = case.held_before();
    let mut awake = case.awake_before();
    let mut ending: BTreeSet<AgentName> = case
        .situation
        .running
        .iter()
        .filter(|r| r.state == AgentState::Stopping && case.is_ours(&r.agent))
        .map(|r| r.agent.clone())
        .collect();
    let mut loading: Option<AgentName> = None;
    let mut touched = BTreeSet::new();
    let mut draining: Option<AgentName> = None;
    let mut a_start_was_seen = false;
    for step in &plan.steps {
        let agent = &step.agent;
        prop_assert!(case.is_ours(agent), "{agent} is not ours to touch");
        if let Some(drained) = draining.take() {
            prop_assert!(step.action == Action::Stop && *agent == drained, "what drains is stopped next");
        }
        match step.action {
            Action::Drain => {
                prop_assert!(awake.contains(agent));
                let in_use = case.situation.running.iter().any(|r| &r.agent == agent && r.in_use > 0);
                prop_assert!(in_use, "{agent} has nothing to finish");
                draining = Some(agent.clone());
            }
            Action::Stop => {
                prop_assert!(!a_start_was_seen, "stops come before starts");
                prop_assert!(touched.insert(("stop", agent.clone())), "{agent} stops twice");
                awake.remove(agent);
                ending.insert(agent.clone());
            }
            Action::WaitMemory => {
                prop_assert!(ending.remove(agent), "{agent} was not stopped");
                held.remove(agent);
            }
            Action::Pull => {
                prop_assert!(case.situation.to_pull.contains(agent));
                prop_assert!(ending.is_empty(), "memory is back before anything new begins");
            }
            Action::Start => {
                a_start_was_seen = true;
                prop_assert!(touched.insert(("start", agent.clone())), "{agent} starts twice");
                prop_assert!(ending.is_empty(), "memory is back before the first start");
                prop_assert!(loading.is_none(), "one loads at a time");
                prop_assert!(!awake.contains(agent));
                loading = Some(agent.clone());
                let claim = case.loading(agent);
                held.insert(agent.clone(), claim.clone());
                for pool in &case.situation.pools {
                    let mine = claim.get(&pool.id).copied().unwrap_or_default();
                    let (limit, cap) = case.past(pool, &held);
                    prop_assert!(
                        mine.total().0 == 0 || limit <= 0,
                        "{agent} passes the limit of {}",
                        pool.id
                    );
                    prop_assert!(mine.device.0 == 0 || cap.unwrap_or(0) <= 0, "{agent} passes the cap");
                    let said = step.pools.iter().find(|p| p.id == pool.id).expect("every pool");
                    let bound = i128::from(case.stack.memory.by_pool[&pool.id].0);
                    prop_assert_eq!(i128::from(said.peak.0), limit + bound, "the peak that the step states");
                }
            }
            Action::WaitReady => {
                let loaded = loading.take();
                prop_assert_eq!(loaded.as_ref(), Some(agent));
                held.insert(agent.clone(), case.claim(agent));
                awake.insert(agent.clone());
            }
            Action::Undo => prop_assert!(false, "no plan has a step that is not an act"),
        }
        let present: BTreeSet<AgentName> = awake.iter().chain(&ending).chain(&loading).cloned().collect();
        prop_assert!(!case.breaks_a_rule(&present), "two in conflict meet: {present:?}");
    }
    prop_assert!(loading.is_none() && draining.is_none(), "the plan ends at rest");
    // Putting one to sleep touches no other, so another's stop may still be under way.
    let one_only = matches!(case.goal, Goal::Asleep(_) | Goal::Again(_));
    prop_assert!(one_only || ending.is_empty(), "the plan ends with its memory back");
    Ok(awake)
}

/// Whether `end` is what the goal asked for.
fn reached(case: &Case, end: &BTreeSet<AgentName>) -> Result<(), TestCaseError> {
    let before = case.awake_before();
    let ours = |a: &&AgentName| case.is_ours(a);
    match &case.goal {
        Goal::Profile(name) => {
            let wanted = &case.stack.profile(name).expect("a profile").agents;
            for agent in wanted.iter().filter(ours) {
                prop_assert!(end.contains(agent), "{agent} was wanted");
            }
            for extra in end.iter().filter(ours).filter(|a| !wanted.contains(a)) {
                let pinned = case.stack.agent(extra).is_some_and(|a| a.pinned);
                prop_assert!(
                    pinned && before.contains(extra),
                    "{extra} is neither wanted nor pinned and awake"
                );
            }
            for agent in case.stack.agents.iter().filter(|a| a.pinned && before.contains(&a.name)) {
                let forbidden = end.iter().chain(wanted).any(|e| case.stack.conflict(e, &agent.name));
                prop_assert!(
                    end.contains(&agent.name) || forbidden,
                    "pinned {} was sent to sleep",
                    agent.name
                );
            }
        }
        Goal::Awake(agent) => prop_assert!(end.contains(agent)),
        Goal::Again(agent) => {
            let mut expected = before;
            expected.insert(agent.clone());
            prop_assert_eq!(end, &expected);
        }
        Goal::Asleep(agent) => {
            let mut expected = before;
            if case.is_ours(agent) {
                expected.remove(agent);
            }
            prop_assert_eq!(end, &expected);
        }
        Goal::Exactly(wanted) => {
            let ours_awake: BTreeSet<_> = end.iter().filter(ours).collect();
            prop_assert_eq!(ours_awake, wanted.iter().filter(ours).collect::<BTreeSet<_>>());
        }
        Goal::Nobody => prop_assert_eq!(end.iter().filter(ours).count(), 0),
    }
    Ok(())
}

proptest! {
    #![proptest_config(Config { cases: 2000, failure_persistence: None, ..Config::default() })]

    #[test]
    fn a_plan_that_fits_never_passes_a_bound_and_reaches_its_goal(case in cases()) {
        let plan = case.plan();
        if !plan.fits {
            return Ok(());
        }
        let end = carried_out(&case, &plan)?;
        prop_assert_eq!(&end, &plan.awake);
        reached(&case, &end)?;
        for pool in &plan.pools {
            prop_assert_eq!(pool.shortfall, Bytes::ZERO);
        }
        prop_assert!(plan.next.is_empty() && !plan.reason.is_empty());
    }

    #[test]
    fn one_that_starts_again_passes_no_bound_and_touches_no_other(case in cases()) {
        let Goal::Awake(agent) = case.goal.clone() else { return Ok(()) };
        let case = Case { goal: Goal::Again(agent.clone()), ..case };
        let plan = case.plan();
        prop_assert!(plan.steps.iter().all(|s| s.agent == agent), "another is touched");
        if plan.fits {
            let end = carried_out(&case, &plan)?;
            prop_assert_eq!(&end, &plan.awake);
            reached(&case, &end)?;
        } else {
            prop_assert!(plan.steps.is_empty() && !plan.reason.is_empty());
        }
    }

    #[test]
    fn what_stays_is_not_touched(case in cases()) {
        let plan = case.plan();
        for agent in case.awake_before().intersection(&plan.awake) {
            prop_assert!(plan.steps.iter().all(|s| &s.agent != agent), "{agent} stays and is touched");
        }
    }

    #[test]
    fn a_shortfall_is_exactly_what_is_missing(case in cases()) {
        let plan = case.plan();
        if plan.fits {
            return Ok(());
        }
        prop_assert!(plan.steps.is_empty() && !plan.reason.is_empty() && !plan.next.is_empty());
        let (starts, held) = case.outcome(&plan.awake);
        let said: BTreeMap<PoolId, i128> =
            plan.pools.iter().map(|p| (p.ledger.id.clone(), i128::from(p.shortfall.0))).collect();
        let possible: Vec<_> = case.orders(&starts).iter().map(|order| case.short(order, &held)).collect();
        prop_assert!(possible.contains(&said), "{said:?} is said, and it is one of {possible:?}");
        let short = said;
        let asleep_and_not_ours = matches!(&case.goal, Goal::Awake(a) if !case.is_ours(a));
        let by_rule = case.breaks_a_rule(&plan.awake) || asleep_and_not_ours;
        prop_assert!(by_rule || short.values().any(|s| *s > 0), "refused for nothing: {}", plan.reason);

        // A rule is a reason only among those that have to be awake: who could stop is no excuse.
        if by_rule && !asleep_and_not_ours {
            let mut unavoidable: BTreeSet<AgentName> =
                case.awake_before().into_iter().filter(|a| !case.is_ours(a)).collect();
            match &case.goal {
                Goal::Profile(name) => unavoidable.extend(case.stack.profile(name).expect("it").agents.clone()),
                Goal::Exactly(wanted) => unavoidable.extend(wanted.clone()),
                Goal::Again(agent) => {
                    unavoidable.extend(case.awake_before());
                    unavoidable.insert(agent.clone());
                }
                Goal::Awake(agent) => {
                    let named = plan.profile.as_deref().and_then(|p| case.stack.profile(p));
                    unavoidable.extend(named.map(|p| p.agents.clone()).unwrap_or_default());
                    unavoidable.insert(agent.clone());
                }
                Goal::Asleep(_) | Goal::Nobody => {}
            }
            prop_assert!(case.breaks_a_rule(&unavoidable), "a rule that could be kept: {}", plan.reason);
        }

        let missing: BTreeMap<PoolId, u64> =
            plan.pools.iter().map(|p| (p.ledger.id.clone(), p.shortfall.0)).collect();
        let granted = case.with_more(&missing).plan();
        prop_assert!(by_rule || granted.fits, "the shortfall was granted, and still: {}", granted.reason);
        // One byte less is not enough, where the goal leaves no other way.
        if !matches!(case.goal, Goal::Awake(_)) {
            let almost = missing.iter().map(|(id, by)| (id.clone(), by.saturating_sub(1))).collect();
            prop_assert!(!case.with_more(&almost).plan().fits, "the shortfall is overstated");
        }
    }

    #[test]
    fn one_agent_is_refused_only_where_every_way_is_shut(case in cases()) {
        let Goal::Awake(agent) = &case.goal else { return Ok(()) };
        if !case.is_ours(agent) {
            return Ok(());
        }
        let plan = case.plan();
        let mut beside = case.awake_before();
        beside.insert(agent.clone());
        let beside_is_open = !case.breaks_a_rule(&beside) && case.would_fit(&beside);
        if beside_is_open {
            prop_assert!(plan.fits);
            prop_assert!(plan.awake == beside, "somebody stops though there is room beside");
        } else if !plan.fits {
            for profile in case.stack.profiles.iter().filter(|p| p.agents.contains(agent)) {
                let goal = Goal::Profile(profile.name.clone());
                let switch = plan_for(&case, &goal);
                prop_assert!(!switch.fits, "{} holds it and fits", profile.name);
            }
        }
    }

    /// Roles add no bytes and no steps: a plan is that of their servers, for every goal.
    #[test]
    fn a_plan_with_roles_is_the_plan_of_their_servers(case in cases(), masks in any::<[u8; 4]>()) {
        let with_roles = in_roles(&case, masks);
        prop_assert_eq!(with_roles.plan(), case.plan());
    }

    /// What others run is fixed: no step touches it, it is awake afterwards, and where its bytes are in the way of
    /// what memory alone refuses, it is named.
    #[test]
    fn a_server_of_others_is_left_alone_and_named(case in cases()) {
        let plan = case.plan();
        let theirs: BTreeSet<AgentName> =
            case.awake_before().into_iter().filter(|a| !case.is_ours(a)).collect();
        prop_assert!(plan.steps.iter().all(|s| case.is_ours(&s.agent)));
        prop_assert!(theirs.is_subset(&plan.awake));
        let asleep_and_not_ours = matches!(&case.goal, Goal::Awake(a) if !case.is_ours(a));
        if plan.fits || asleep_and_not_ours || case.breaks_a_rule(&plan.awake) {
            return Ok(());
        }
        // The pool that is short of most, the first of equals.
        let short = plan.short().expect("a pool is short").ledger.id.clone();
        let held = case.held_before();
        for agent in &theirs {
            let here = held[agent].get(&short).copied().unwrap_or_default().total();
            if here > Bytes::ZERO {
                prop_assert!(plan.reason.contains(&agent.proper()), "{} is not named: {}", agent, plan.reason);
                prop_assert!(plan.reason.contains("of others"), "{}", plan.reason);
            }
        }
    }

    #[test]
    fn the_same_arguments_give_the_same_plan(case in cases()) {
        prop_assert_eq!(case.plan(), case.plan());
    }
}

/// The same case with a role for some agents, which stands for its server in some profiles, rules and the goal, and
/// beside it in others.
fn in_roles(case: &Case, masks: [u8; 4]) -> Case {
    let mut with = case.clone();
    let role_of = |name: &AgentName| AgentName::new(&format!("{name}-role")).expect("a name");
    let picked = |mask: u8, name: &AgentName| {
        let place = case.stack.agents.iter().position(|a| &a.name == name);
        place.is_some_and(|i| masks[0] & mask & (1 << i) != 0)
    };
    for server in case.stack.agents.iter().filter(|a| picked(u8::MAX, &a.name)) {
        let role = Agent {
            name: role_of(&server.name),
            served_by: Some(server.name.clone()),
            claim: ClaimBasis::Memory(Bytes::ZERO),
            ..server.clone()
        };
        // In front of its server, where order could matter most.
        with.stack.agents.insert(0, role);
    }
    let stands_for =
        |mask: u8, name: &AgentName| if picked(mask, name) { role_of(name) } else { name.clone() };
    for profile in &mut with.stack.profiles {
        profile.agents = profile
            .agents
            .iter()
            .flat_map(|n| {
                let beside = (picked(masks[2], n) && picked(masks[1], n)).then(|| n.clone());
                std::iter::once(stands_for(masks[1], n)).chain(beside)
            })
            .collect();
    }
    for set in &mut with.stack.conflicts {
        *set = set.iter().map(|n| stands_for(masks[2], n)).collect();
    }
    with.goal = match &case.goal {
        Goal::Awake(n) => Goal::Awake(stands_for(masks[3], n)),
        Goal::Exactly(all) => Goal::Exactly(all.iter().map(|n| stands_for(masks[3], n)).collect()),
        other => other.clone(),
    };
    with
}

fn plan_for(case: &Case, goal: &Goal) -> Plan {
    plan(&case.stack, &case.situation, goal).expect("a plan")
}

/// The properties above say little if nearly every case fits, or none does.
#[test]
fn the_cases_are_near_the_bounds_on_both_sides() {
    let mut runner = TestRunner::deterministic();
    let (mut fits_with_starts, mut refused, mut within_a_gigabyte, mut by_cap) = (0, 0, 0, 0);
    for _ in 0..2000 {
        let case = cases().new_tree(&mut runner).expect("a case").current();
        let plan = case.plan();
        fits_with_starts += u32::from(plan.fits && plan.starts().count() > 0);
        refused += u32::from(!plan.fits);
        let (starts, held) = case.outcome(&plan.awake);
        if !starts.is_empty() {
            let past = case.situation.pools.iter().map(|p| case.past(p, &held));
            let nearest = past.clone().map(|(limit, _)| limit.unsigned_abs()).min().unwrap_or(u128::MAX);
            within_a_gigabyte += u32::from(nearest <= u128::from(UNIT));
            by_cap += u32::from(past.clone().any(|(limit, cap)| cap.is_some_and(|c| c > 0 && c > limit)));
        }
    }
    assert!(fits_with_starts > 300, "{fits_with_starts} of 2000 fit and start something");
    assert!(refused > 300, "{refused} of 2000 are refused");
    assert!(within_a_gigabyte > 600, "{within_a_gigabyte} of 2000 are within a gigabyte of a limit");
    assert!(by_cap > 50, "{by_cap} of 2000 are refused by the cap first");
}
