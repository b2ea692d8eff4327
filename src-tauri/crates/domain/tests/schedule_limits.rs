//! The schedule's limits, one after another, on the shipped household: budgets, cooldown, idle times, crashes.

mod common;

use std::collections::BTreeMap;
use std::time::Duration;

use common::play::{Play, granted, refusals, wishes};
use common::{name, plain};
use domain::agent::AgentState;
use domain::plan::Goal;
use domain::schedule::{Ask, Denied, Happening, Order, PersonAct, Schedule, WishEnd};

#[test]
fn budgets_and_cooldown_bind_tools_and_never_the_person() {
    let mut play = Play::new(&["thor", "valkyrie"]);
    play.stack.gateway.session_budget_odin = 1;
    let (_, orders) = play.ask("odin");
    assert_eq!(wishes(&orders).len(), 1);
    play.swap_to_odin();
    play.set("odin", AgentState::Stopping);
    play.set("odin", AgentState::Asleep);
    let (_, orders) = play.ask("odin");
    let [(_, Denied::TooOften { message, retry_after: 600, until: Some(until) })] = refusals(&orders)[..]
    else {
        panic!("{orders:?}")
    };
    assert_eq!(*until, play.now.wall + 600);
    assert!(plain(message).contains("can start again in 10 min"), "{message}");
    play.pass(600);
    let (_, orders) = play.ask("odin");
    let [(_, Denied::TooOften { message, .. })] = refusals(&orders)[..] else { panic!("{orders:?}") };
    assert!(message.contains("once in this session"), "{message}");
    let (_, orders) = play.ask_as("odin", true);
    assert_eq!(wishes(&orders).len(), 1);
    // A tool may wait with the person.
    let (tool, orders) = play.ask("odin");
    assert_eq!(orders, []);
    assert!(play.schedule.waiting().any(|t| t == tool));
}

#[test]
fn a_summons_that_came_to_nothing_is_given_back_and_a_session_ends() {
    let mut play = Play::new(&["thor", "valkyrie"]);
    play.ask("odin");
    assert_eq!(play.schedule.kept().summons, BTreeMap::from([(name("odin"), 1)]));
    play.step(Happening::WishEnded(WishEnd::DoesNotFit("No.".into())));
    assert_eq!(play.schedule.kept().summons, BTreeMap::new());
    play.ask("odin");
    play.swap_to_odin();
    assert_eq!(play.schedule.kept().summons, BTreeMap::from([(name("odin"), 1)]));
    play.pass(8 * 3600);
    assert_eq!(play.schedule.kept().summons, BTreeMap::new());
    assert_eq!(play.schedule.kept().session_start, play.now.wall);
}

#[test]
fn a_clock_that_jumps_back_locks_nobody_out_for_longer() {
    let mut play = Play::new(&["thor", "odin"]);
    play.set("odin", AgentState::Asleep);
    play.pass(300);
    play.now.wall -= 1_000_000;
    let (_, orders) = play.ask("odin");
    let [(_, Denied::TooOften { retry_after: 300, .. })] = refusals(&orders)[..] else {
        panic!("{orders:?}")
    };
    // A restart finds the same.
    let mut again = Play::of(play.stack.clone(), &["thor"], play.schedule.kept().clone());
    again.now = play.now;
    again.schedule = Schedule::new(play.schedule.kept().clone(), play.now);
    let (_, orders) = again.ask("odin");
    let [(_, Denied::TooOften { retry_after: 300, .. })] = refusals(&orders)[..] else {
        panic!("{orders:?}")
    };
    play.pass(300);
    let (_, orders) = play.ask("odin");
    assert_eq!(wishes(&orders).len(), 1);
}

#[test]
fn after_the_idle_time_the_base_profile_comes_back() {
    let mut play = Play::new(&["thor", "odin"]);
    assert_eq!(wishes(&play.pass(1199)), []);
    let orders = play.pass(1);
    assert_eq!(wishes(&orders), [(&Goal::Profile("standard".into()), true)]);
    play.step(Happening::WishEnded(WishEnd::Cancelled));
    assert_eq!(wishes(&play.pass(59)), []);
    assert_eq!(wishes(&play.pass(1)).len(), 1);
    assert_eq!(wishes(&play.step(Happening::WishEnded(WishEnd::Busy))), [], "not again and again");
    assert_eq!(wishes(&play.pass(5)).len(), 1);
    play.step(Happening::WishEnded(WishEnd::Busy));
    play.step(Happening::Person(PersonAct::Down));
    assert_eq!(play.schedule.after_release(&play.house(), &name("odin")), Goal::Asleep(name("odin")));
    play.step(Happening::Person(PersonAct::Switched));
    assert_eq!(play.schedule.after_release(&play.house(), &name("odin")), Goal::Profile("standard".into()));
}

#[test]
fn crashes_are_restarted_on_demand_three_times_and_forgiven_by_hand() {
    let mut play = Play::new(&["thor", "valkyrie"]);
    play.set("valkyrie", AgentState::Failed);
    let (_, orders) = play.ask("valkyrie");
    assert_eq!(orders, [], "it rests first");
    assert_eq!(play.schedule.next_look(play.now, &play.house()), Some(Duration::from_secs(2)));
    assert_eq!(wishes(&play.pass(2)).len(), 1);
    let failed =
        || Happening::WishEnded(WishEnd::Failed { agent: name("valkyrie"), message: "It fell.".into() });
    let orders = play.step(failed());
    let [(_, Denied::Failed { retry_after: Some(15), .. })] = refusals(&orders)[..] else {
        panic!("{orders:?}")
    };
    play.ask("valkyrie");
    assert_eq!(wishes(&play.pass(15)).len(), 1);
    let orders = play.step(failed());
    let [(_, Denied::Failed { message, next, retry_after: None })] = refusals(&orders)[..] else {
        panic!("{orders:?}")
    };
    assert_eq!(message, "Valkyrie failed 3 times in a row and is left alone. The last time: It fell.");
    assert!(next.contains("asgard logs valkyrie"), "{next}");
    let (_, orders) = play.ask("valkyrie");
    assert_eq!(refusals(&orders).len(), 1);
    play.step(Happening::Person(PersonAct::Started(name("valkyrie"))));
    let (_, orders) = play.ask("valkyrie");
    assert_eq!(wishes(&orders).len(), 1);
}

#[test]
fn a_start_that_ends_well_and_brings_nobody_is_not_wished_for_for_ever() {
    let mut play = Play::new(&["thor", "valkyrie"]);
    let (ticket, orders) = play.ask("loki");
    assert_eq!(wishes(&orders).len(), 1);
    for _ in 0..2 {
        assert_eq!(play.done(), [Order::Keep], "told of late, perhaps; the summons is given back");
        assert_eq!(play.schedule.next_look(play.now, &play.house()), Some(Duration::from_millis(500)));
        assert_eq!(wishes(&play.pass(1)).len(), 1);
    }
    let orders = play.done();
    let [(refused, Denied::Failed { message, retry_after: Some(2), .. })] = refusals(&orders)[..] else {
        panic!("{orders:?}")
    };
    assert_eq!((refused, message.as_str()), (ticket, "Loki was started and is down again."));
}

#[test]
fn who_goes_past_the_gateway_is_in_use() {
    let mut play = Play::new(&["thor", "odin"]);
    play.states.insert("odin", (AgentState::Busy, 1));
    play.pass(3000);
    play.states.insert("odin", (AgentState::Ready, 0));
    assert_eq!(
        wishes(&play.pass(1199)),
        [],
        "the idle time counts from the last look at which it was in use"
    );
    assert_eq!(wishes(&play.pass(1)).len(), 1);
}

#[test]
fn an_agent_of_the_base_profile_with_an_idle_time_of_its_own_sleeps_and_does_not_come_back() {
    let mut play = Play::new(&["thor", "valkyrie"]);
    for agent in &mut play.stack.agents {
        agent.ttl = (agent.name.as_str() == "valkyrie").then_some(Duration::from_secs(60));
    }
    let orders = play.pass(60);
    assert_eq!(wishes(&orders), [(&Goal::Asleep(name("valkyrie")), true)]);
    play.set("valkyrie", AgentState::Asleep);
    play.done();
    play.set("odin", AgentState::Ready);
    assert_eq!(play.schedule.after_release(&play.house(), &name("odin")), Goal::Asleep(name("odin")));
}

#[test]
fn a_summons_does_not_keep_an_agent_awake_beyond_its_moment() {
    let mut play = Play::new(&["thor", "odin"]);
    play.pass(1000);
    play.next += 1;
    let ask = Ask { ticket: play.next, agent: name("odin"), person: false, summon: true };
    assert_eq!(granted(&play.step(Happening::Asked(ask))), [play.next]);
    play.pass(600);
    play.step(Happening::Left(play.next));
    assert_eq!(wishes(&play.pass(599)), []);
    assert_eq!(wishes(&play.pass(1)).len(), 1, "twenty minutes after the summons, not after its end");
}

#[test]
fn a_lease_that_ended_well_begins_the_row_of_crashes_anew_and_one_that_broke_does_not() {
    let mut play = Play::new(&["thor", "valkyrie"]);
    let crash_and_restart = |play: &mut Play, held: u64| {
        play.set("valkyrie", AgentState::Failed);
        let (ticket, _) = play.ask("valkyrie");
        play.pass(15);
        play.set("valkyrie", AgentState::Ready);
        play.done();
        play.step(Happening::Left(ticket));
        play.pass(held);
    };
    // Broken leases: the crash is seen a second after their end.
    let mut broken = Play::new(&["thor", "valkyrie"]);
    for _ in 0..2 {
        crash_and_restart(&mut broken, 1);
    }
    broken.set("valkyrie", AgentState::Failed);
    assert_eq!(refusals(&broken.ask("valkyrie").1).len(), 1);
    for _ in 0..5 {
        crash_and_restart(&mut play, 40);
    }
    play.set("valkyrie", AgentState::Failed);
    assert_eq!(refusals(&play.ask("valkyrie").1), []);
}
