//! Plans of the shipped stack on recorded machines, and each rule of the planner on its own.

#![allow(clippy::expect_used, clippy::panic, reason = "a test may fail")]

mod common;

use common::{agent, external, gb, name, names, norse, parts, plain, pool, profile, stack, strix_halo, with};
use domain::agent::AgentState::{Busy, Failed, Loading, Pulling, Ready, Stopping};
use domain::memory::{Bytes, Unit};
use domain::plan::{Action, Goal, Plan, PlanError, Situation, claims, plan, plan_undo};
use domain::pool::{PoolId, PoolKind, Shares};
use domain::stack::{Agent, BackendKind, ClaimBasis, Runs, Stack};

fn planned(stack: &Stack, situation: &Situation, goal: &Goal) -> Plan {
    plan(stack, situation, goal).expect("a plan")
}

fn to(profile: &str) -> Goal {
    Goal::Profile(profile.into())
}

fn awake(agent: &str) -> Goal {
    Goal::Awake(name(agent))
}

/// "stop valkyrie, wait_memory valkyrie, start odin" in short.
fn steps(plan: &Plan) -> Vec<String> {
    plan.steps.iter().map(|s| format!("{:?} {}", s.action, s.agent)).collect()
}

fn reason_of<'a>(plan: &'a Plan, action: Action, agent: &str) -> &'a str {
    let step = plan.steps.iter().find(|s| s.action == action && s.agent.as_str() == agent).expect("the step");
    &step.reason
}

#[test]
fn the_claims_of_the_shipped_stack_are_the_documented_ones() {
    let stack = norse();
    let machine = strix_halo(125.0, 124.0, 20.0);
    let shown: Vec<String> = stack
        .agents
        .iter()
        .map(|a| {
            let whole: Bytes = claims(a, &machine.pools).values().map(|s| s.total()).sum();
            format!("{} {}", a.name, plain(&whole.show(Unit::Gb)))
        })
        .collect();
    assert_eq!(
        shown,
        [
            "thor 25.3 GB",
            "valkyrie 37.6 GB",
            "odin 62.0 GB",
            "heimdall 9.0 GB",
            "loki 12.7 GB",
            "frigga 20.3 GB"
        ]
    );
    let totals: Vec<String> = stack
        .profiles
        .iter()
        .map(|p| plain(&planned(&stack, &machine, &to(&p.name)).pools[0].planned.show(Unit::Gb)))
        .collect();
    assert_eq!(totals, ["62.9 GB", "71.9 GB", "75.6 GB", "83.2 GB", "87.3 GB"]);
}

#[test]
fn odin_fits_beside_twenty_gigabytes_of_other_programs() {
    let plan = planned(&norse(), &strix_halo(125.0, 124.0, 20.0), &to("odin"));
    assert!(plan.fits);
    assert_eq!(plain(&plan.reason), "Fits, 12.7 GB to spare");
    assert_eq!(plan.pools[0].ledger.limit, gb(120.0));
    assert_eq!(plain(&plan.pools[0].peak.show(Unit::Gb)), "107.3 GB");
    assert_eq!(steps(&plan), ["Start thor", "WaitReady thor", "Start odin", "WaitReady odin"]);
    assert_eq!(plan.profile.as_deref(), Some("odin"));
    assert_eq!(plan.awake, names(&["thor", "odin"]));
}

#[test]
fn odin_is_refused_beside_thirty_five_with_the_numbers() {
    let plan = planned(&norse(), &strix_halo(125.0, 124.0, 35.0), &to("odin"));
    assert!(!plan.fits);
    assert_eq!(
        plain(&plan.reason),
        "odin needs 87.3 GB; 85.0 GB is available to agents, 120.0 limit less 35.0 of other programs: 2.3 GB short."
    );
    assert_eq!(plain(&plan.next), "Close programs that hold 2.3 GB, or lower a KV cache in the stack file.");
    assert_eq!(plain(&plan.pools[0].shortfall.show_up(Unit::Gb)), "2.3 GB");
    assert_eq!(plain(&plan.brief()), "Fits with 2.3 GB closed");
    assert!(plan.steps.is_empty(), "a refusal has nothing to carry out");
}

#[test]
fn a_gtt_cap_of_half_the_memory_is_named_as_the_bound() {
    let plan = planned(&norse(), &strix_halo(125.0, 62.5, 20.0), &to("odin"));
    assert!(!plan.fits);
    assert_eq!(
        plain(&plan.reason),
        "The GPU may hold 62.5 GB together, the GTT cap, and odin's agents need 87.3 GB there: 24.8 GB short."
    );
    assert_eq!(
        plain(&plan.next),
        "Raise the GTT cap to at least 88 GB: put ttm.pages_limit=23068672 on the kernel's command line and start \
         the machine again."
    );
    assert_eq!(plain(&plan.brief()), "Does not fit: 24.8 GB short");
}

#[test]
fn what_others_hold_on_the_gpu_counts_against_the_cap() {
    let mut machine = strix_halo(125.0, 90.0, 20.0);
    machine.pools[0].device_used = Some(gb(4.0));
    let plan = planned(&norse(), &machine, &to("odin"));
    assert!(!plan.fits);
    assert!(plain(&plan.reason).contains("the GTT cap, 4.0 of it held by other programs"), "{}", plan.reason);
    assert_eq!(plain(&plan.pools[0].shortfall.show_up(Unit::Gb)), "1.3 GB");
}

#[test]
fn a_profile_that_can_never_fit_says_so() {
    let mut stack = norse();
    stack.profiles.push(profile("all", &["thor", "odin", "frigga", "loki"]));
    let plan = planned(&stack, &strix_halo(125.0, 124.0, 0.0), &to("all"));
    assert_eq!(
        plain(&plan.reason),
        "all can never fit on this machine: its agents need 120.3 GB and other programs are counted with at least \
         6.0; the limit is 120.0 GB."
    );
    stack.memory.limit = Some(gb(90.0));
    let plan = planned(&stack, &strix_halo(125.0, 124.0, 0.0), &to("odin"));
    assert!(plain(&plan.reason).starts_with("odin can never fit under this limit:"), "{}", plan.reason);
    assert_eq!(
        plain(&plan.next),
        "Raise limit under [memory] in the stack file to 93.3 GB or more, or lower a KV cache."
    );
}

#[test]
fn other_programs_are_planned_with_six_gigabytes_even_when_they_use_one() {
    let stack =
        stack(vec![agent("big", 80.0), agent("small", 7.0)], vec![profile("both", &["big", "small"])], &[]);
    let fits = planned(&stack, &strix_halo(101.0, 100.0, 1.0), &to("both"));
    assert!(fits.fits, "87 and 6 are just 93, the default limit: {}", fits.reason);
    assert_eq!(fits.pools[0].peak, gb(93.0));
    let short = planned(&stack, &strix_halo(100.9, 100.0, 1.0), &to("both"));
    assert!(!short.fits);
}

#[test]
fn a_switch_to_odin_drains_and_stops_valkyrie_before_odin_loads() {
    let stack = norse();
    let mut machine =
        with(&stack, strix_halo(125.0, 124.0, 20.0), &[("thor", Ready, 0), ("valkyrie", Busy, 2)]);
    machine.to_pull.insert(name("odin"));
    machine.profile = Some("standard".into());
    machine.start_seconds.insert(name("odin"), 87.4);
    let plan = planned(&stack, &machine, &to("odin"));
    assert_eq!(
        steps(&plan),
        [
            "Drain valkyrie",
            "Stop valkyrie",
            "WaitMemory valkyrie",
            "Pull odin",
            "Start odin",
            "WaitReady odin"
        ]
    );
    assert_eq!(plan.from.as_deref(), Some("standard"));
    assert_eq!(plain(&plan.reason), "Stops Valkyrie, about 90 s");
    assert_eq!(reason_of(&plan, Action::Drain, "valkyrie"), "Valkyrie finishes 2 requests");
    assert_eq!(reason_of(&plan, Action::Stop, "valkyrie"), "Odin and Valkyrie are never awake together");
    assert_eq!(plain(reason_of(&plan, Action::WaitMemory, "valkyrie")), "Valkyrie gives back 37.6 GB");
    let pools: Vec<String> = plan
        .steps
        .iter()
        .map(|s| format!("{:.1} {:.1}", as_gb(s.pools[0].reserved_after), as_gb(s.pools[0].peak)))
        .collect();
    assert_eq!(pools, ["62.9 82.9", "25.3 82.9", "25.3 82.9", "25.3 45.3", "87.3 107.3", "87.3 107.3"]);
    assert_eq!(plan.steps.last().and_then(|s| s.seconds), Some(87.4));
}

fn as_gb(bytes: Bytes) -> f64 {
    bytes.0 as f64 / (1u64 << 30) as f64
}

#[test]
fn odin_asked_for_while_valkyrie_runs_and_thor_is_stopped_names_the_rule() {
    let stack = norse();
    let machine = with(&stack, strix_halo(125.0, 124.0, 20.0), &[("valkyrie", Ready, 0)]);
    for goal in [awake("odin"), to("odin")] {
        let plan = planned(&stack, &machine, &goal);
        assert!(plan.fits);
        assert_eq!(plan.profile.as_deref(), Some("odin"));
        assert_eq!(reason_of(&plan, Action::Stop, "valkyrie"), "Odin and Valkyrie are never awake together");
        assert_eq!(plan.starts().map(ToString::to_string).collect::<Vec<_>>(), ["thor", "odin"]);
    }
}

#[test]
fn both_giants_would_not_fit_by_bytes_either() {
    let mut stack = norse();
    stack.conflicts.clear();
    let machine = with(&stack, strix_halo(125.0, 124.0, 1.0), &[("thor", Ready, 0), ("valkyrie", Ready, 0)]);
    let all = planned(&stack, &machine, &Goal::Exactly(names(&["thor", "valkyrie", "odin"])));
    assert!(!all.fits);
    assert_eq!(plain(&all.pools[0].planned.show(Unit::Gb)), "124.9 GB");
    // With no rule in the way it is the bytes that make it a switch.
    let odin = planned(&stack, &machine, &awake("odin"));
    assert_eq!(odin.awake, names(&["thor", "odin"]));
    assert_eq!(reason_of(&odin, Action::Stop, "valkyrie"), "odin does not hold Valkyrie");
}

#[test]
fn an_agent_that_fits_starts_beside_what_runs() {
    let stack = norse();
    let machine = with(&stack, strix_halo(125.0, 124.0, 20.0), &[("thor", Ready, 0), ("valkyrie", Ready, 0)]);
    let plan = planned(&stack, &machine, &awake("loki"));
    assert_eq!(steps(&plan), ["Start loki", "WaitReady loki"]);
    assert_eq!(plan.profile.as_deref(), Some("loki"), "what is awake then is that profile");
}

#[test]
fn a_switch_for_one_agent_takes_the_profile_that_stops_least() {
    let agents = || vec![agent("a", 30.0), agent("b", 30.0), agent("c", 30.0), agent("x", 30.0)];
    let two_stop = profile("two-stop", &["a", "x"]);
    let one_stops = profile("one-stops", &["a", "b", "x"]);
    let machine = |stack: &Stack| {
        with(stack, strix_halo(125.0, 124.0, 6.0), &[("a", Ready, 0), ("b", Busy, 1), ("c", Ready, 0)])
    };
    let plan_of = |profiles| {
        let stack = stack(agents(), profiles, &[]);
        planned(&stack, &machine(&stack), &awake("x"))
    };
    assert_eq!(plan_of(vec![two_stop.clone(), one_stops.clone()]).profile.as_deref(), Some("one-stops"));
    // As many stops: the one that interrupts nobody.
    let idle = profile("stops-idle", &["a", "b", "x"]);
    let busy = profile("stops-busy", &["a", "c", "x"]);
    assert_eq!(plan_of(vec![busy.clone(), idle.clone()]).profile.as_deref(), Some("stops-idle"));
    assert_eq!(plan_of(vec![idle, busy]).profile.as_deref(), Some("stops-idle"));
    // Equal in all: the file's order.
    let first = profile("first", &["b", "a", "x"]);
    assert_eq!(plan_of(vec![first, one_stops]).profile.as_deref(), Some("first"));
    // One that does not fit is no way to wake it, however little it stops.
    let too_much = profile("too-much", &["a", "b", "c", "x"]);
    let plan = plan_of(vec![too_much.clone(), two_stop]);
    assert_eq!((plan.fits, plan.profile.as_deref()), (true, Some("two-stop")));
    // Where none fits, the refusal is of the one that would stop least.
    let plan = plan_of(vec![too_much]);
    assert!(!plan.fits);
    assert!(plan.reason.starts_with("too-much can never fit"), "{}", plan.reason);
}

#[test]
fn an_agent_of_no_profile_takes_the_place_of_those_it_conflicts_with() {
    let stack = stack(
        vec![agent("a", 30.0), agent("b", 30.0), agent("x", 30.0)],
        vec![profile("both", &["a", "b"])],
        &[&["x", "b"]],
    );
    let machine = with(&stack, strix_halo(125.0, 124.0, 6.0), &[("a", Ready, 0), ("b", Ready, 0)]);
    let plan = planned(&stack, &machine, &awake("x"));
    assert_eq!(steps(&plan), ["Stop b", "WaitMemory b", "Start x", "WaitReady x"]);
    assert_eq!(reason_of(&plan, Action::Stop, "b"), "X and B are never awake together");
    assert_eq!(plan.profile, None);
}

#[test]
fn a_pinned_agent_stays_through_a_switch_unless_a_rule_forbids_it() {
    let mut stack = norse();
    stack.profiles.push(profile("alone", &["odin"]));
    stack.profiles.push(profile("bare", &["loki"]));
    let machine = with(&stack, strix_halo(125.0, 124.0, 20.0), &[("thor", Ready, 0)]);
    let plan = planned(&stack, &machine, &to("alone"));
    assert_eq!(plan.awake, names(&["thor", "odin"]));
    assert_eq!(plan.stops().count(), 0);
    // Asleep, it is not woken for a profile that does not hold it.
    assert_eq!(planned(&stack, &strix_halo(125.0, 124.0, 20.0), &to("alone")).awake, names(&["odin"]));
    // Not pinned, or in conflict: it stops.
    stack.conflicts.push(vec![name("thor"), name("loki")]);
    let plan = planned(&stack, &machine, &to("bare"));
    assert_eq!(plan.awake, names(&["loki"]));
    assert_eq!(reason_of(&plan, Action::Stop, "thor"), "Thor and Loki are never awake together");
}

#[test]
fn a_pinned_agent_that_is_in_the_way_is_named() {
    let mut stack = norse();
    stack.profiles.push(profile("alone", &["odin"]));
    let machine = with(&stack, strix_halo(125.0, 124.0, 50.0), &[("thor", Ready, 0)]);
    let plan = planned(&stack, &machine, &to("alone"));
    assert!(!plan.fits);
    assert_eq!(plan.next, "Thor is pinned and stays awake through a switch; stop it first.");
}

#[test]
fn idle_agents_stop_first_and_nobody_spares_the_pinned() {
    let stack = norse();
    let running = [("thor", Busy, 1), ("valkyrie", Ready, 0), ("loki", Busy, 3)];
    let machine = with(&stack, strix_halo(125.0, 124.0, 20.0), &running);
    let plan = planned(&stack, &machine, &Goal::Nobody);
    assert!(plan.fits);
    assert_eq!(plan.stops().map(ToString::to_string).collect::<Vec<_>>(), ["valkyrie", "thor", "loki"]);
    assert_eq!(plan.reason, "Stops Valkyrie, Thor and Loki");
    assert!(plan.awake.is_empty());
    let again = planned(&stack, &strix_halo(125.0, 124.0, 20.0), &Goal::Nobody);
    assert_eq!((again.reason.as_str(), again.steps.len()), ("Every agent is asleep.", 0));
}

#[test]
fn what_is_loading_and_wanted_is_not_touched() {
    let stack = norse();
    let machine =
        with(&stack, strix_halo(125.0, 124.0, 20.0), &[("thor", Ready, 0), ("valkyrie", Loading, 0)]);
    let plan = planned(&stack, &machine, &to("standard"));
    assert!(plan.steps.is_empty());
    assert_eq!(plan.reason, "Everything it needs is awake.");
}

#[test]
fn what_failed_or_is_stopping_is_cleared_away_and_started_again() {
    let stack = norse();
    let machine = with(
        &stack,
        strix_halo(125.0, 124.0, 20.0),
        &[("thor", Failed, 0), ("valkyrie", Stopping, 1), ("loki", Failed, 0)],
    );
    let plan = planned(&stack, &machine, &to("standard"));
    assert_eq!(
        steps(&plan)[..6],
        [
            "Stop thor",
            "WaitMemory thor",
            "Stop loki",
            "WaitMemory loki",
            "Stop valkyrie",
            "WaitMemory valkyrie",
        ]
    );
    assert_eq!(plan.starts().count(), 2);
    assert_eq!(reason_of(&plan, Action::Stop, "loki"), "Loki failed and still holds memory");
    // One that only pulls its image holds nothing: there is nothing to stop.
    let mut pulling = strix_halo(125.0, 124.0, 20.0);
    pulling = with(&stack, pulling, &[("odin", Pulling, 0)]);
    pulling.running[0].held.reserved.clear();
    pulling.running[0].held.measured = None;
    pulling.pools[0].used = gb(20.0);
    assert_eq!(planned(&stack, &pulling, &to("standard")).stops().count(), 0);
    assert_eq!(planned(&stack, &pulling, &awake("odin")).starts().count(), 1);
}

#[test]
fn putting_one_to_sleep_touches_no_other() {
    let stack = norse();
    let running = [("thor", Ready, 0), ("valkyrie", Busy, 1), ("loki", Failed, 0)];
    let machine = with(&stack, strix_halo(125.0, 124.0, 60.0), &running);
    let plan = planned(&stack, &machine, &Goal::Asleep(name("valkyrie")));
    assert_eq!(steps(&plan), ["Drain valkyrie", "Stop valkyrie", "WaitMemory valkyrie"]);
    assert!(plan.fits, "a plan that only stops always fits");
    assert_eq!(plan.reason, "Stops Valkyrie");
}

#[test]
fn an_external_server_is_never_started_or_stopped() {
    let stack = stack(
        vec![agent("a", 30.0), external("guest"), agent("b", 30.0)],
        vec![profile("with", &["a", "guest"]), profile("without", &["a"])],
        &[&["guest", "b"]],
    );
    let asleep = strix_halo(125.0, 124.0, 20.0);
    let plan = planned(&stack, &asleep, &to("with"));
    assert_eq!(steps(&plan), ["Start a", "WaitReady a"]);
    assert_eq!(plan.awake, names(&["a"]));
    assert_eq!(plain(&plan.reason), "Fits, 67.0 GB to spare; Guest's server, which others run, is away");
    let beside = with(&stack, strix_halo(125.0, 124.0, 20.0), &[("a", Ready, 0)]);
    let plan = planned(&stack, &beside, &to("with"));
    assert_eq!(plan.reason, "Everything else it needs is awake; Guest's server, which others run, is away.");
    let no = planned(&stack, &asleep, &awake("guest"));
    assert!(!no.fits);
    assert_eq!(no.reason, "Guest is a server that somebody else runs, and it does not answer.");
    let there = with(&stack, asleep, &[("guest", Ready, 0)]);
    assert_eq!(planned(&stack, &there, &to("without")).awake, names(&["a", "guest"]));
    assert_eq!(planned(&stack, &there, &Goal::Nobody).steps.len(), 0);
    let no = planned(&stack, &there, &awake("b"));
    assert!(!no.fits);
    assert_eq!(no.reason, "B and Guest are never awake together, and Guest is run by somebody else.");
}

#[test]
fn a_goal_that_breaks_a_rule_is_refused() {
    let stack = norse();
    let plan = planned(&stack, &strix_halo(125.0, 124.0, 0.0), &Goal::Exactly(names(&["odin", "valkyrie"])));
    assert!(!plan.fits);
    assert_eq!(plan.reason, "Odin and Valkyrie are never awake together, and both are wanted.");
    assert_eq!(plan.brief(), "Not possible");
}

#[test]
fn what_a_stop_did_not_give_back_is_counted_and_named() {
    let stack = norse();
    let mut machine = strix_halo(125.0, 124.0, 34.0);
    machine.lost.insert(PoolId::new("unified"), gb(4.0));
    // 34 in use: 30 of other programs, 4 lost; 86 for agents.
    let plan = planned(&stack, &machine, &to("odin"));
    assert!(!plan.fits);
    assert!(
        plain(&plan.reason).contains(
            "86.0 GB is available to agents, 120.0 limit less 30.0 of other programs and 4.0 that did not come back"
        ),
        "{}",
        plan.reason
    );
    assert_eq!(plain(&plan.pools[0].shortfall.show_up(Unit::Gb)), "1.3 GB");
}

#[test]
fn more_than_the_limit_in_use_already_is_part_of_the_shortfall() {
    let stack = norse();
    let plan = planned(&stack, &strix_halo(125.0, 124.0, 124.0), &to("standard"));
    assert_eq!(
        plain(&plan.pools[0].shortfall.show_up(Unit::Gb)),
        "66.9 GB",
        "62.9 and the 4.0 past the limit"
    );
}

#[test]
fn an_agent_counts_with_the_larger_of_reserved_and_measured() {
    let stack = norse();
    let mut machine =
        with(&stack, strix_halo(125.0, 124.0, 20.0), &[("thor", Ready, 0), ("valkyrie", Ready, 0)]);
    let more = gb(30.0);
    let pool = PoolId::new("unified");
    if let Some(share) = machine.running[0].held.measured.as_mut().and_then(|m| m.get_mut(&pool)) {
        share.device = more;
    }
    machine.pools[0].used += gb(4.7);
    let plan = planned(&stack, &machine, &awake("loki"));
    assert_eq!(plain(&plan.pools[0].planned.show(Unit::Gb)), "80.3 GB", "30.0 + 37.6 + 12.7");
}

#[test]
fn undoing_goes_back_to_exactly_what_ran_and_says_so() {
    let stack = norse();
    let machine = with(&stack, strix_halo(125.0, 124.0, 20.0), &[("thor", Ready, 0), ("odin", Loading, 0)]);
    let plan = plan_undo(&stack, &machine, &names(&["thor", "valkyrie"])).expect("a plan");
    assert_eq!(steps(&plan), ["Stop odin", "WaitMemory odin", "Start valkyrie", "WaitReady valkyrie"]);
    assert!(plan.steps.iter().all(|s| s.reason.starts_with("Undoing: ")));
    assert_eq!(plan.profile.as_deref(), Some("standard"));
}

#[test]
fn a_wish_that_names_nothing_known_is_an_error() {
    let stack = norse();
    let machine = strix_halo(125.0, 124.0, 20.0);
    assert_eq!(plan(&stack, &machine, &to("nope")), Err(PlanError::UnknownProfile("nope".into())));
    assert_eq!(plan(&stack, &machine, &awake("nope")), Err(PlanError::UnknownAgent("nope".into())));
    assert_eq!(plan(&stack, &Situation::default(), &to("odin")), Err(PlanError::NoPool));
    let mut blind = machine;
    blind.pools[0].capacity = None;
    assert!(matches!(plan(&stack, &blind, &to("odin")), Err(PlanError::Capacity(_))));
}

#[test]
fn on_cards_a_claim_is_divided_and_a_little_is_ordinary_memory() {
    let pools = [
        pool("gpu0", PoolKind::Vram, 24.0, 0.5),
        pool("gpu1", PoolKind::Vram, 24.0, 0.5),
        pool("gpu2", PoolKind::Vram, 48.0, 0.5),
        pool("ram", PoolKind::Ram, 64.0, 8.0),
    ];
    let shown = |shares: &Shares| -> Vec<String> {
        shares.iter().map(|(id, s)| format!("{id} {:.1}+{:.1}", as_gb(s.device), as_gb(s.host))).collect()
    };
    let two = Agent { tensor_parallel: 2, ..parts("two", 20.0, 8.0, 4.0) };
    assert_eq!(shown(&claims(&two, &pools)), ["gpu0 16.0+0.0", "gpu1 16.0+0.0", "ram 0.0+1.0"]);
    let named = Agent { devices: vec![PoolId::new("gpu2")], ..parts("named", 20.0, 8.0, 4.0) };
    assert_eq!(shown(&claims(&named, &pools)), ["gpu2 32.0+0.0", "ram 0.0+1.0"]);
    let share = Agent { claim: ClaimBasis::Share(0.5), ..agent("share", 0.0) };
    assert_eq!(shown(&claims(&share, &pools)), ["gpu0 12.0+0.0", "ram 0.0+1.0"]);
    let cpu = Agent {
        backend: BackendKind::LlamaCpp,
        runs: Runs::Process { command: vec!["server".into()] },
        ..agent("cpu", 3.0)
    };
    assert_eq!(shown(&claims(&cpu, &pools)), ["ram 0.0+3.0"]);
    assert_eq!(shown(&claims(&agent("gpu", 3.0), &pools[3..])), ["ram 0.0+3.0"]);
    let uma = [pool("unified", PoolKind::Unified, 128.0, 8.0)];
    assert_eq!(shown(&claims(&two, &uma)), ["unified 32.0+0.0"]);
    assert_eq!(shown(&claims(&cpu, &uma)), ["unified 0.0+3.0"]);

    let stack = stack(vec![two], vec![profile("p", &["two"])], &[]);
    let situation = Situation { pools: pools.to_vec(), ..Situation::default() };
    let plan = planned(&stack, &situation, &to("p"));
    // Of a card 1 GB is kept back and half a one is counted for others: 24 - 1 - 0.5 - 16.
    assert_eq!(plain(&plan.reason), "Fits, 6.5 GB to spare");
    let small = [
        pool("gpu0", PoolKind::Vram, 16.0, 0.1),
        pool("gpu1", PoolKind::Vram, 16.0, 0.1),
        pool("ram", PoolKind::Ram, 64.0, 8.0),
    ];
    let situation = Situation { pools: small.to_vec(), ..Situation::default() };
    let plan = planned(&stack, &situation, &to("p"));
    assert!(!plan.fits);
    assert!(
        plain(&plan.reason).starts_with("p can never fit on this machine: its agents need 16.0 GB of GPU0"),
        "{}",
        plan.reason
    );
    let parts: Vec<String> = plan.pools[0]
        .agents
        .iter()
        .map(|a| format!("{:.1} {:.1} {:.1}", as_gb(a.weights), as_gb(a.kv), as_gb(a.overhead)))
        .collect();
    assert_eq!(parts, ["10.0 4.0 2.0"]);
}

#[test]
fn a_card_that_no_start_touches_is_no_reason_to_refuse() {
    let pools = vec![
        pool("gpu0", PoolKind::Vram, 48.0, 0.5),
        pool("gpu1", PoolKind::Vram, 24.0, 23.0),
        pool("ram", PoolKind::Ram, 64.0, 8.0),
    ];
    let stack = stack(vec![agent("a", 20.0)], vec![profile("p", &["a"])], &[]);
    let plan = planned(&stack, &Situation { pools, ..Situation::default() }, &to("p"));
    assert!(plan.fits, "{}", plan.reason);
    assert_eq!(plain(&plan.reason), "Fits, 26.5 GB to spare");
}

#[test]
fn what_is_known_of_the_gpu_is_said_of_those_that_start() {
    let fp8 = Agent { model: "q/x-FP8".into(), ..agent("a", 30.0) };
    let mut stack = stack(vec![fp8, agent("b", 30.0)], vec![profile("both", &["a", "b"])], &[]);
    let machine = strix_halo(125.0, 124.0, 20.0);
    let unknown = planned(&stack, &machine, &to("both"));
    assert!(unknown.concerns.is_empty());
    assert_eq!(reason_of(&unknown, Action::Start, "a"), "both holds A");
    stack.gpu = Some(domain::stack::Gpu::Gfx1151);
    let plan = planned(&stack, &machine, &to("both"));
    assert!(plan.fits, "it warns and never forbids");
    assert_eq!(plan.concerns.len(), 1, "{:?}", plan.concerns);
    assert!(plan.concerns[0].starts_with("A: FP8 weights: crashes on gfx1151. "), "{:?}", plan.concerns);
    assert!(
        reason_of(&plan, Action::Start, "a").starts_with("both holds A. FP8 weights: crashes on gfx1151. ")
    );
    assert_eq!(reason_of(&plan, Action::Start, "b"), "both holds B");
    let awake = with(&stack, machine, &[("a", Ready, 0)]);
    assert!(planned(&stack, &awake, &to("both")).concerns.is_empty(), "who runs has shown that it does");
}

#[test]
fn a_rule_is_not_mended_by_a_role() {
    let same = |name: &str| Agent { model: "q/same".into(), ..agent(name, 80.0) };
    let mut stack = stack(vec![same("a"), same("b")], Vec::new(), &[&["a", "b"]]);
    stack.memory.limit = Some(gb(100.0));
    let machine = with(&stack, strix_halo(125.0, 124.0, 6.0), &[("a", Ready, 0)]);
    let plan = planned(&stack, &machine, &Goal::Exactly(names(&["a", "b"])));
    assert_eq!(plan.role_offer, None);
    assert_eq!(plan.next, "Leave one of them out, or change conflicts in the stack file.");
}

#[test]
fn servers_of_others_do_not_make_it_another_profile() {
    let stack = stack(
        vec![agent("a", 30.0), external("guest"), external("other")],
        vec![profile("plain", &["a"]), profile("with", &["a", "guest"]), profile("theirs", &["guest"])],
        &[],
    );
    let machine = || strix_halo(125.0, 124.0, 20.0);
    let of = |running: &[(&str, domain::AgentState, u32)]| {
        planned(&stack, &with(&stack, machine(), running), &awake("a")).profile
    };
    assert_eq!(of(&[]).as_deref(), Some("plain"));
    assert_eq!(of(&[("guest", Ready, 0)]).as_deref(), Some("with"));
    assert_eq!(of(&[("other", Ready, 0)]).as_deref(), Some("plain"));
    assert_eq!(
        planned(&stack, &machine(), &Goal::Nobody).profile,
        None,
        "an empty machine is no profile of theirs"
    );
}

#[test]
fn one_starts_again_in_one_plan_and_nobody_else_is_touched() {
    let stack = norse();
    let machine = with(&stack, strix_halo(125.0, 124.0, 20.0), &[("thor", Busy, 2), ("valkyrie", Ready, 0)]);
    let plan = planned(&stack, &machine, &Goal::Again(name("valkyrie")));
    assert!(plan.fits);
    let again = ["Stop valkyrie", "WaitMemory valkyrie", "Start valkyrie", "WaitReady valkyrie"];
    assert_eq!(steps(&plan), again);
    assert_eq!(reason_of(&plan, Action::Stop, "valkyrie"), "Valkyrie is to start again");
    assert_eq!(plan.awake, names(&["thor", "valkyrie"]));
    // Who sleeps is started; who was stopped for good leaves what it needs to itself.
    let plan = planned(&stack, &machine, &Goal::Again(name("heimdall")));
    assert_eq!(steps(&plan), ["Start heimdall", "WaitReady heimdall"]);
}

#[test]
fn what_would_not_fit_again_is_refused_before_it_stops() {
    let mut stack = norse();
    let machine = with(&stack, strix_halo(125.0, 124.0, 20.0), &[("thor", Ready, 0), ("valkyrie", Ready, 0)]);
    for agent in &mut stack.agents {
        if agent.name.as_str() == "valkyrie" {
            agent.claim = ClaimBasis::Memory(gb(120.0));
        }
    }
    let plan = planned(&stack, &machine, &Goal::Again(name("valkyrie")));
    assert!(!plan.fits);
    assert_eq!(steps(&plan), [""; 0]);
}
