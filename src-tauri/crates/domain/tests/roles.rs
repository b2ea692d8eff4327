//! Roles: agents on another agent's server. What is taken, what is refused and with which words, and that a plan
//! sees their servers only.

#![allow(clippy::expect_used, clippy::panic, reason = "a test may fail")]

mod common;

use std::time::Duration;

use common::raw::{agent as raw_agent, facts, size, text, texts, with};
use common::{agent, external, gb, name, names, parts, plain, pool, profile, stack, strix_halo};
use domain::agent::{AgentName, AgentState};
use domain::memory::Bytes;
use domain::plan::{Action, Goal, Plan, Situation, claims, plan};
use domain::pool::{PoolKind, Shares};
use domain::stack::raw::{RawAgent, RawProfile, RawStack, RawTime};
use domain::stack::{Agent, Problem, Stack, resolve};

fn on(server: &str) -> RawAgent {
    RawAgent { served_by: text(server), ..RawAgent::default() }
}

/// The good stack with frigga, a role, at its end.
fn with_frigga(frigga: RawAgent) -> RawStack {
    with(|raw| raw.agents.0.push(("frigga".into(), frigga)))
}

fn said(problems: &[Problem]) -> Vec<String> {
    problems.iter().map(|p| plain(&format!("{}: {} {}", p.path.join("."), p.message, p.next))).collect()
}

fn refused(raw: &RawStack) -> Vec<String> {
    said(&resolve(raw, &facts()).expect_err("something is wrong"))
}

fn taken(raw: &RawStack) -> Stack {
    resolve(raw, &facts()).unwrap_or_else(|problems| panic!("{:#?}", said(&problems)))
}

#[test]
fn a_role_has_its_own_words_and_times_and_the_rest_is_its_servers() {
    let stack = taken(&with_frigga(RawAgent {
        name: text("Frigga"),
        role: text("You write."),
        context: Some(8192),
        sequences: Some(2),
        request_timeout: Some(RawTime::Text("90 s".into())),
        ..on("thor")
    }));
    let [thor, frigga] = ["thor", "frigga"].map(|n| stack.agent(&name(n)).expect("it"));
    assert_eq!(frigga.served_by.as_ref(), Some(&thor.name));
    assert_eq!((&frigga.model, frigga.port, &frigga.runs), (&thor.model, thor.port, &thor.runs));
    assert_eq!((frigga.role.as_str(), frigga.context, frigga.sequences), ("You write.", 8192, 2));
    assert_eq!(frigga.request_timeout, Some(Duration::from_secs(90)));
    assert_eq!(frigga.claim_in(gb(128.0)), Bytes::ZERO);
    assert_eq!(thor.request_timeout, None);
}

#[test]
fn a_time_that_is_not_written_is_the_servers_and_zero_is_none() {
    let thirty = |raw: &mut RawStack| raw.agents.0[0].1.request_timeout = Some(RawTime::Text("30 s".into()));
    let of = |frigga: RawAgent| {
        let mut raw = with_frigga(frigga);
        thirty(&mut raw);
        taken(&raw).agent(&name("frigga")).expect("it").request_timeout
    };
    assert_eq!(of(on("thor")), Some(Duration::from_secs(30)));
    assert_eq!(of(RawAgent { request_timeout: Some(RawTime::Seconds(0)), ..on("thor") }), None);
}

#[test]
fn the_place_in_the_file_is_kept() {
    let raw = with(|raw| raw.agents.0.insert(0, ("frigga".into(), on("thor"))));
    let order: Vec<_> = taken(&raw).agents.iter().map(|a| a.name.to_string()).collect();
    assert_eq!(order, ["frigga", "thor", "odin", "loki"]);
}

#[test]
fn a_server_that_cannot_be_one_is_refused_with_the_reason() {
    let table = [
        (
            on("frigga"),
            "agents.frigga.served_by: Frigga cannot be a role on its own server. Name another agent, or remove \
             served_by.",
        ),
        (on("thro"), "agents.frigga.served_by: There is no agent \"thro\". Did you mean \"thor\"?"),
        (
            RawAgent { context: Some(65_536), ..on("thor") },
            "agents.frigga.context: Thor's server holds 32768 tokens. Write context = 32768 or less.",
        ),
    ];
    for (frigga, expected) in table {
        assert_eq!(refused(&with_frigga(frigga)), [expected]);
    }
}

#[test]
fn a_chain_and_a_circle_are_refused_at_each_link() {
    let both = |eir: &str, frigga: &str| {
        refused(&with(|raw| {
            raw.agents.0.push(("eir".into(), on(eir)));
            raw.agents.0.push(("frigga".into(), on(frigga)));
        }))
    };
    assert_eq!(
        both("thor", "eir"),
        [
            "agents.frigga.served_by: \"eir\" is a role itself and has no server. Name the agent that eir is served \
          by."
        ]
    );
    assert_eq!(
        both("frigga", "eir"),
        [
            "agents.eir.served_by: \"frigga\" is a role itself and has no server. Name the agent that frigga is \
             served by.",
            "agents.frigga.served_by: \"eir\" is a role itself and has no server. Name the agent that eir is \
             served by.",
        ]
    );
}

#[test]
fn every_key_of_a_server_is_refused_for_a_role() {
    let some = || text("x");
    let table: [(&str, RawAgent); 9] = [
        ("backend", RawAgent { backend: some(), ..on("thor") }),
        ("model", RawAgent { model: some(), ..on("thor") }),
        ("image", RawAgent { image: some(), ..on("thor") }),
        ("port", RawAgent { port: Some(8001), ..on("thor") }),
        ("kv_cache", RawAgent { kv_cache: size("1 GB"), ..on("thor") }),
        ("share", RawAgent { share: Some(0.5), ..on("thor") }),
        ("args", RawAgent { args: Some(Vec::new()), ..on("thor") }),
        ("load_timeout", RawAgent { load_timeout: Some(RawTime::Seconds(9)), ..on("thor") }),
        ("pinned", RawAgent { pinned: Some(true), ..on("thor") }),
    ];
    for (key, frigga) in table {
        assert_eq!(
            refused(&with_frigga(frigga)),
            [format!(
                "agents.frigga.{key}: {key} means nothing for Frigga, a role on another agent's server. Remove \
                 {key}, or remove served_by."
            )]
        );
    }
}

#[test]
fn servers_of_others_can_have_roles() {
    for backend in ["external", "ollama"] {
        let raw = with(|raw| {
            let hel = RawAgent {
                backend: text(backend),
                endpoint: text("http://127.0.0.1:11434"),
                model: text("qwen3:8b"),
                memory: size("9 GB"),
                ..RawAgent::default()
            };
            raw.agents.0.push(("hel".into(), hel));
            raw.agents.0.push(("frigga".into(), on("hel")));
        });
        let stack = taken(&raw);
        let frigga = stack.agent(&name("frigga")).expect("it");
        assert_eq!((frigga.port, frigga.is_ours()), (11434, backend == "ollama"), "{backend}");
    }
}

#[test]
fn a_servers_own_problem_is_said_once() {
    let raw = with(|raw| {
        raw.agents.0[0].1.model = None;
        raw.agents.0.push(("frigga".into(), on("thor")));
    });
    assert_eq!(refused(&raw).len(), 1, "{:#?}", refused(&raw));
    assert!(refused(&raw)[0].starts_with("agents.thor.model: "));
}

#[test]
fn a_port_is_taken_by_servers_and_said_once() {
    let raw = with(|raw| {
        raw.agents.0[0].1.port = Some(8899);
        raw.agents.0.push(("frigga".into(), on("thor")));
    });
    assert_eq!(refused(&raw).len(), 1, "{:#?}", refused(&raw));
    assert!(refused(&raw)[0].starts_with("agents.thor.port: Port 8899 is the gateway's own."));
    let clash = with(|raw| {
        raw.agents.0.insert(0, ("frigga".into(), on("thor")));
        raw.agents.0.push(("hel".into(), raw_agent(common::raw::LOKI, 8001, "4 GB")));
    });
    assert_eq!(refused(&clash).len(), 1, "{:#?}", refused(&clash));
    assert!(refused(&clash)[0].starts_with("agents.hel.port: thor and hel both want port 8001."));
}

#[test]
fn a_rule_holds_through_a_role_and_is_said_once() {
    let sentence = |raw: &RawStack| refused(raw);
    // The rule names the server, the profile its role.
    let through = with(|raw| {
        raw.agents.0.push(("frigga".into(), on("odin")));
        raw.profiles.0.push(("both".into(), RawProfile { agents: texts(&["frigga", "loki"]) }));
    });
    let words = "profiles.both: both holds frigga and loki, whose servers a rule in conflicts forbids together. Take \
                 one of them out of both, or change the rule.";
    assert_eq!(sentence(&through), [words]);
    // The rule names the role, the profile its server.
    let turned = with(|raw| {
        raw.conflicts = vec![texts(&["frigga", "loki"])];
        raw.agents.0.push(("frigga".into(), on("odin")));
        raw.profiles.0.push(("both".into(), RawProfile { agents: texts(&["odin", "loki"]) }));
    });
    assert_eq!(sentence(&turned), [words.replace("frigga", "odin")]);
    // Both name the role.
    let direct = with(|raw| {
        raw.conflicts = vec![texts(&["frigga", "loki"])];
        raw.agents.0.push(("frigga".into(), on("odin")));
        raw.profiles.0.push(("both".into(), RawProfile { agents: texts(&["frigga", "loki"]) }));
    });
    assert_eq!(sentence(&direct).len(), 1, "{:#?}", sentence(&direct));
    assert!(
        sentence(&direct)[0].starts_with("profiles.both.agents.1: both holds frigga and loki, and a rule")
    );
}

// What a plan makes of them.

fn role(of: &str, server: &Agent) -> Agent {
    Agent {
        name: name(of),
        display_name: name(of).proper(),
        claim: domain::stack::ClaimBasis::Memory(Bytes::ZERO),
        served_by: Some(server.name.clone()),
        pinned: false,
        ..server.clone()
    }
}

/// Thor with frigga on its server, and odin, who is never awake with frigga's server.
fn village() -> Stack {
    let thor = parts("thor", 9.3, 12.0, 4.0);
    let frigga = role("frigga", &thor);
    let mut stack = stack(
        vec![frigga, thor, parts("odin", 37.0, 20.0, 5.0)],
        vec![
            profile("role", &["frigga"]),
            profile("both", &["frigga", "thor"]),
            profile("server", &["thor"]),
            profile("odin", &["odin"]),
        ],
        &[&["frigga", "odin"]],
    );
    stack.memory.limit = Some(gb(100.0));
    stack
}

fn halo() -> Situation {
    strix_halo(124.0, 120.0, 6.0)
}

fn planned(stack: &Stack, situation: &Situation, goal: &Goal) -> Plan {
    plan(stack, situation, goal).expect("a plan")
}

fn to(profile: &str) -> Goal {
    Goal::Profile(profile.into())
}

#[test]
fn a_role_in_a_profile_wakes_its_server_alone() {
    let village = village();
    let acts = |p: &Plan| p.steps.iter().map(|s| (s.action, s.agent.to_string())).collect::<Vec<_>>();
    for way in ["role", "both", "server"] {
        let plan = planned(&village, &halo(), &to(way));
        assert!(plan.fits, "{way}: {}", plan.reason);
        assert_eq!(
            acts(&plan),
            [(Action::Start, "thor".to_owned()), (Action::WaitReady, "thor".to_owned())],
            "{way}"
        );
        assert_eq!(plan.awake, names(&["thor"]));
    }
    let both = planned(&village, &halo(), &to("both"));
    let server = planned(&village, &halo(), &to("server"));
    assert_eq!(both.pools, server.pools);
    assert_eq!(acts(&planned(&village, &halo(), &Goal::Awake(name("frigga")))), acts(&server));
}

#[test]
fn a_rule_about_a_role_stops_its_server() {
    let village = village();
    let awake = common::with(&village, halo(), &[("thor", AgentState::Ready, 0)]);
    let plan = planned(&village, &awake, &to("odin"));
    assert!(plan.fits, "{}", plan.reason);
    assert_eq!(plan.stops().collect::<Vec<_>>(), [&name("thor")]);
    assert_eq!(plan.steps[0].reason, "Thor and Odin are never awake together");
}

#[test]
fn a_role_does_not_sleep_by_itself() {
    let village = village();
    let awake = common::with(&village, halo(), &[("thor", AgentState::Ready, 0)]);
    let plan = planned(&village, &awake, &Goal::Asleep(name("frigga")));
    assert!(!plan.fits && plan.steps.is_empty());
    assert_eq!(plan.reason, "Frigga is a role on Thor's server.");
    assert_eq!(plan.next, "Stop Thor, or leave both awake.");
    assert_eq!(plan.awake, names(&["thor"]));
}

#[test]
fn one_that_still_runs_from_before_it_was_a_role_can_be_stopped() {
    let mut village = village();
    let before = {
        let mut own = village.clone();
        own.agents[0] = parts("frigga", 9.3, 7.0, 4.0);
        common::with(&own, halo(), &[("frigga", AgentState::Ready, 0)])
    };
    village.conflicts.clear();
    let plan = planned(&village, &before, &Goal::Asleep(name("frigga")));
    assert!(plan.fits, "{}", plan.reason);
    assert_eq!(plan.stops().collect::<Vec<_>>(), [&name("frigga")]);
}

#[test]
fn a_role_claims_nothing_on_any_machine() {
    let server = agent("thor", 10.0);
    let frigga = role("frigga", &server);
    let cards = [pool("gpu0", PoolKind::Vram, 16.0, 0.0), pool("ram", PoolKind::Ram, 64.0, 6.0)];
    assert_eq!(claims(&frigga, &cards), Shares::new());
    assert_eq!(claims(&frigga, &halo().pools), Shares::new());
    assert_ne!(claims(&server, &cards), Shares::new());
}

/// Two with the same weights on a machine for one of them.
fn twins(change: impl FnOnce(&mut Agent)) -> (Stack, Situation) {
    let thor = Agent { model: "q/same".into(), ..agent("thor", 40.0) };
    let mut frigga = Agent { model: "Q/Same".into(), ..agent("frigga", 40.0) };
    change(&mut frigga);
    let mut stack = stack(
        vec![thor, frigga, agent("loki", 1.0)],
        vec![profile("both", &["thor", "frigga"]), profile("small", &["thor", "loki"])],
        &[],
    );
    stack.memory.limit = Some(gb(60.0));
    (stack, halo())
}

#[test]
fn a_role_is_offered_where_memory_is_short_and_the_weights_are_there() {
    let offer: Option<(AgentName, AgentName)> = Some((name("frigga"), name("thor")));
    let (stack, wanted) = twins(|_| {});
    let plan_of_both = planned(&stack, &wanted, &to("both"));
    assert_eq!(plan_of_both.role_offer, offer);
    assert!(
        plan_of_both.next.starts_with(
            "Frigga has the same model as Thor: make it a role on that server with served_by = \"thor\" in \
             [agents.frigga]. "
        ),
        "{}",
        plan_of_both.next
    );
    let awake = common::with(&stack, halo(), &[("thor", AgentState::Ready, 0)]);
    assert_eq!(planned(&stack, &awake, &to("both")).role_offer, offer);

    assert_eq!(planned(&stack, &wanted, &to("small")).role_offer, None);
    let (mut roomy, wanted) = twins(|_| {});
    roomy.memory.limit = Some(gb(100.0));
    let plan = planned(&roomy, &wanted, &to("both"));
    assert!(plan.fits && plan.role_offer.is_none(), "{}", plan.reason);

    let others: [fn(&mut Agent); 3] = [
        |a| a.model = "q/other".into(),
        |a| a.revision = Some("main".into()),
        |a| a.backend = domain::stack::BackendKind::LlamaCpp,
    ];
    for change in others {
        let (stack, wanted) = twins(change);
        let plan = planned(&stack, &wanted, &to("both"));
        assert!(!plan.fits && plan.role_offer.is_none(), "{plan:?}");
    }
}

#[test]
fn a_server_of_others_is_named_where_its_bytes_are_missing() {
    let hel = Agent { claim: domain::stack::ClaimBasis::Memory(gb(50.0)), ..external("hel") };
    let mut stack = stack(
        vec![hel, agent("thor", 40.0)],
        vec![profile("thor", &["thor"]), profile("hel", &["hel"])],
        &[],
    );
    stack.memory.limit = Some(gb(80.0));
    let awake = common::with(&stack, halo(), &[("hel", AgentState::Ready, 0)]);
    let plan = planned(&stack, &awake, &to("thor"));
    assert!(!plan.fits);
    let reason = plain(&plan.reason);
    assert_eq!(
        reason,
        "thor needs 90.0 GB; 74.0 GB is available to agents, 80.0 limit less 6.0 of other programs: 16.0 GB short. \
         Hel, which runs on a server of others, holds 50.0 GB of it."
    );
    assert_eq!(plan.next, "Stop it where it was started, or in Settings under Engines, and take the place.");
    assert_eq!(plan.awake, names(&["hel", "thor"]));
}
