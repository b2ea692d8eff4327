//! The rules of the schedule, one after another, on the shipped household: leases, queues, swaps. Those of time and
//! count are in `schedule_limits`.

mod common;

use std::collections::BTreeMap;
use std::time::Duration;

use common::play::{Play, granted, refusals, wishes};
use common::{name, names, plain};
use domain::agent::AgentState;
use domain::plan::Goal;
use domain::schedule::{AGING, Busy, Denied, Happening, Order, WishEnd};
use domain::stack::DRAIN_FINISH;

#[test]
fn who_is_ready_is_had_at_once_and_again_after_the_end() {
    let mut play = Play::new(&["thor", "valkyrie"]);
    let (first, orders) = play.ask("thor");
    assert_eq!(orders, [Order::Grant { ticket: first, server: name("thor"), story: None }]);
    let (second, orders) = play.ask("thor");
    assert_eq!(granted(&orders), [second]);
    assert_eq!(play.schedule.lease_count(&name("thor")), 2);
    assert_eq!(play.step(Happening::Left(first)), []);
    assert_eq!(play.schedule.leases(), BTreeMap::from([(name("thor"), 1)]));
    assert_eq!(play.step(Happening::Left(77)), [], "an unknown ticket is nothing");
}

#[test]
fn one_swap_serves_all_that_wait_and_tells_why_they_waited() {
    let mut play = Play::new(&["thor", "valkyrie"]);
    let (work, _) = play.ask("valkyrie");
    let (first, orders) = play.ask("odin");
    assert_eq!(wishes(&orders), [(&Goal::Awake(name("odin")), false)], "{orders:?}");
    assert!(orders.contains(&Order::Keep), "a summons is counted: {orders:?}");
    let (second, orders) = play.ask("odin");
    assert_eq!(orders, []);
    assert_eq!(play.schedule.place(second, play.now, &play.house()).map(|p| p.place), Some(2));
    play.step(Happening::Closed(name("valkyrie")));
    let (late, orders) = play.ask("valkyrie");
    assert_eq!(orders, [], "who is being drained takes nobody");
    play.set("valkyrie", AgentState::Draining);
    play.pass(3);
    play.step(Happening::Left(work));
    let orders = play.swap_to_odin();
    assert_eq!(granted(&orders), [first, second]);
    let Some(Order::Grant { story: Some(story), .. }) = orders.first() else { panic!("{orders:?}") };
    assert_eq!(plain(story), "Waited 43 s: Valkyrie was draining one request, Odin loaded in 40 s.");
    assert_eq!(play.schedule.waiting().collect::<Vec<_>>(), [late]);
}

#[test]
fn minimum_residency_holds_a_swap_back_and_what_fits_beside_goes_first() {
    let mut play = Play::new(&["thor", "valkyrie"]);
    for agent in &mut play.stack.agents {
        agent.min_residency = Duration::from_secs(120);
    }
    let (odin, orders) = play.ask("odin");
    assert_eq!(wishes(&orders), []);
    let house = play.house();
    assert_eq!(play.schedule.next_look(play.now, &house), Some(Duration::from_secs(120)));
    assert_eq!(
        play.schedule.place(odin, play.now, &house).map(|p| p.stage).as_deref(),
        Some("Waiting for Valkyrie")
    );
    let (_, orders) = play.ask("loki");
    assert_eq!(wishes(&orders), [(&Goal::Awake(name("loki")), false)]);
    play.set("loki", AgentState::Ready);
    play.done();
    let orders = play.pass(119);
    assert_eq!(wishes(&orders), []);
    let orders = play.pass(1);
    assert_eq!(wishes(&orders), [(&Goal::Awake(name("odin")), false)]);
}

#[test]
fn who_finishes_is_left_alone_while_in_use_and_takes_no_new_work_meanwhile() {
    let mut play = Play::new(&["thor", "valkyrie"]);
    for agent in &mut play.stack.agents {
        agent.drain = DRAIN_FINISH;
    }
    let (work, _) = play.ask("valkyrie");
    let (_, orders) = play.ask("odin");
    assert_eq!(orders, []);
    let (held_back, orders) = play.ask("valkyrie");
    assert_eq!(orders, [], "or Odin would never come");
    let (person, orders) = play.ask_as("valkyrie", true);
    assert_eq!(granted(&orders), [person]);
    assert_eq!(wishes(&play.step(Happening::Left(work))), []);
    let orders = play.step(Happening::Left(person));
    assert_eq!(wishes(&orders), [(&Goal::Awake(name("odin")), false)]);
    assert_eq!(granted(&orders), []);
    // Odin's client is gone before anything was stopped: the wish goes on, and Valkyrie's waits for its end.
    play.step(Happening::WishEnded(WishEnd::Cancelled));
    assert_eq!(play.schedule.leases(), BTreeMap::from([(name("valkyrie"), 1)]), "{held_back}");
}

#[test]
fn the_person_goes_before_tools_and_who_waited_long_before_the_person() {
    let mut play = Play::new(&["thor", "valkyrie"]);
    play.busy = Some(Busy {
        awake: names(&["thor", "valkyrie"]),
        stage: "Looking".into(),
        seconds_left: None,
        switches: false,
    });
    let (tool, _) = play.ask("odin");
    play.pass(1);
    let (person, _) = play.ask_as("loki", true);
    let place = |play: &Play, ticket| play.schedule.place(ticket, play.now, &play.house()).map(|p| p.place);
    assert_eq!((place(&play, person), place(&play, tool)), (Some(1), Some(2)));
    play.pass(AGING.as_secs() - 1);
    assert_eq!((place(&play, person), place(&play, tool)), (Some(2), Some(1)));
    play.busy = None;
    let orders = play.pass(0);
    assert_eq!(wishes(&orders), [(&Goal::Awake(name("odin")), false)]);
}

#[test]
fn nothing_is_begun_for_nobody() {
    let mut play = Play::new(&["thor", "valkyrie"]);
    play.busy = Some(Busy {
        awake: names(&["thor"]),
        stage: "Draining Loki".into(),
        seconds_left: None,
        switches: false,
    });
    let (ticket, _) = play.ask("odin");
    play.step(Happening::Left(ticket));
    play.busy = None;
    assert_eq!(play.pass(1), []);
}

#[test]
fn settings_and_the_person_may_forbid_tools_to_wake_anybody() {
    let mut play = Play::new(&["thor", "valkyrie"]);
    play.stack.gateway.wake = false;
    let (_, orders) = play.ask("odin");
    assert!(matches!(refusals(&orders)[..], [(_, Denied::Asleep { .. })]), "{orders:?}");
    let (person, orders) = play.ask_as("odin", true);
    assert_eq!(wishes(&orders).len(), 1, "the person may: {person}");
    let mut play = Play::new(&["thor", "valkyrie"]);
    play.yielded = Some(Some(play.now.wall + 90));
    let (_, orders) = play.ask("odin");
    assert!(
        matches!(refusals(&orders)[..], [(_, Denied::Asleep { retry_after: Some(90), .. })]),
        "{orders:?}"
    );
    play.paused = true;
    let (_, orders) = play.ask("thor");
    assert!(matches!(refusals(&orders)[..], [(_, Denied::Asleep { .. })]), "{orders:?}");
    assert_eq!(granted(&play.ask_as("thor", true).1).len(), 1);
}

#[test]
fn a_queue_has_an_end() {
    let mut play = Play::new(&["thor", "valkyrie"]);
    play.stack.gateway.queue_limit = 2;
    play.ask("odin");
    play.ask("odin");
    let (_, orders) = play.ask("odin");
    assert!(matches!(refusals(&orders)[..], [(_, Denied::QueueFull { .. })]), "{orders:?}");
    play.stack.gateway.queue_limit = 0;
    assert_eq!(play.ask("odin").1, []);
}

#[test]
fn a_busy_household_is_asked_again_and_a_cancelled_wait_ends_with_words() {
    let mut play = Play::new(&["thor", "valkyrie"]);
    let (ticket, _) = play.ask("odin");
    play.busy = Some(Busy {
        awake: names(&["thor"]),
        stage: "Stopping Valkyrie".into(),
        seconds_left: None,
        switches: false,
    });
    assert_eq!(wishes(&play.step(Happening::WishEnded(WishEnd::Busy))), []);
    assert_eq!(play.schedule.next_look(play.now, &play.house()), None, "its end is a step of its own");
    play.busy = None;
    assert_eq!(wishes(&play.pass(1)).len(), 1);
    let orders = play.step(Happening::WishEnded(WishEnd::Cancelled));
    let [(refused, Denied::Asleep { message, retry_after: Some(60), .. })] = refusals(&orders)[..] else {
        panic!("{orders:?}")
    };
    assert_eq!((refused, message.as_str()), (ticket, "The start of Odin was cancelled by hand."));
}

#[test]
fn what_does_not_fit_is_refused_with_the_plans_own_words() {
    let mut play = Play::new(&["thor", "valkyrie"]);
    play.stack.memory.limit = Some(common::gb(60.0));
    let (ticket, orders) = play.ask("odin");
    let [(refused, Denied::DoesNotFit { message, next })] = refusals(&orders)[..] else {
        panic!("{orders:?}")
    };
    assert_eq!(refused, ticket);
    assert!(plain(message).contains("GB") && !next.is_empty(), "{message} {next}");
    assert_eq!(play.schedule.kept().summons, BTreeMap::new());
}

#[test]
fn nobody_passes_one_who_waited_long() {
    let mut play = Play::new(&["thor", "valkyrie"]);
    for agent in &mut play.stack.agents {
        agent.min_residency = Duration::from_secs(1000);
    }
    play.ask("odin");
    play.pass(AGING.as_secs());
    let (loki, orders) = play.ask("loki");
    assert_eq!(wishes(&orders), [], "it would fit, and might put Odin off");
    let stage = play.schedule.place(loki, play.now, &play.house()).map(|p| p.stage);
    assert_eq!(stage.as_deref(), Some("Waiting for Odin"));
    assert_eq!(wishes(&play.pass(1000 - AGING.as_secs())), [(&Goal::Awake(name("odin")), false)]);
}

#[test]
fn who_waits_for_an_agent_that_is_taken_out_of_the_stack_is_told() {
    let mut play = Play::new(&["thor", "valkyrie"]);
    play.busy = Some(Busy {
        awake: names(&["thor"]),
        stage: "Stopping Loki".into(),
        seconds_left: None,
        switches: false,
    });
    let (waits, _) = play.ask("odin");
    let (uses, _) = play.ask("valkyrie");
    play.states.remove("odin");
    play.states.remove("valkyrie");
    let orders = play.pass(1);
    assert!(
        matches!(refusals(&orders)[..], [(ticket, Denied::Failed { .. })] if ticket == waits),
        "{orders:?}"
    );
    assert_eq!(play.schedule.lease_count(&name("valkyrie")), 1);
    play.step(Happening::Left(uses));
    assert_eq!(play.schedule.leases(), BTreeMap::new());
    assert_eq!(refusals(&play.ask("odin").1).len(), 1);
}
