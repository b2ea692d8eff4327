//! Restarts that a person asked for "when idle": when they go, what they wait for, and when they are forgotten.

mod common;

use common::play::{Play, granted, wishes};
use common::{name, names, plain};
use domain::agent::AgentState;
use domain::plan::Goal;
use domain::schedule::{Busy, Happening, Order, PersonAct, WishEnd};

fn ask(play: &mut Play, agent: &str) -> Vec<Order> {
    play.step(Happening::Person(PersonAct::RestartWhenIdle(name(agent))))
}

fn again(agent: &str) -> Goal {
    Goal::Again(name(agent))
}

fn waiting(play: &Play) -> Vec<String> {
    play.schedule.restarts().map(ToString::to_string).collect()
}

fn forgotten(orders: &[Order]) -> Vec<String> {
    let because = |o: &Order| match o {
        Order::RestartForgotten { because, .. } => Some(plain(because)),
        _ => None,
    };
    orders.iter().filter_map(because).collect()
}

#[test]
fn who_is_idle_starts_again_at_once() {
    let mut play = Play::new(&["thor", "valkyrie"]);
    let orders = ask(&mut play, "valkyrie");
    assert_eq!(wishes(&orders), [(&again("valkyrie"), true)], "gently: a request that comes first ends it");
    assert_eq!(waiting(&play), [""; 0], "it does not wait any more");
    assert_eq!(play.done(), []);
}

#[test]
fn who_is_in_use_starts_again_with_the_end_of_the_last_request() {
    let mut play = Play::new(&["thor", "valkyrie"]);
    let (first, _) = play.ask("valkyrie");
    assert_eq!(ask(&mut play, "valkyrie"), []);
    assert_eq!(ask(&mut play, "valkyrie"), [], "asked twice is asked once");
    let (second, orders) = play.ask("valkyrie");
    assert_eq!(granted(&orders), [second], "no request is held back for it");
    assert_eq!(play.pass(3600), [], "and none has a deadline");
    assert_eq!(play.step(Happening::Left(first)), []);
    assert_eq!(waiting(&play), ["valkyrie"]);
    let orders = play.step(Happening::Left(second));
    assert_eq!(wishes(&orders), [(&again("valkyrie"), true)]);
}

/// What else an agent may wait for, and what ends that.
#[test]
fn what_it_waits_for() {
    type Turn = fn(&mut Play) -> Vec<Order>;
    let cases: &[(&str, Turn, Turn)] = &[
        (
            "its server counts a request that went past the gateway",
            |play| {
                play.states.insert("valkyrie", (AgentState::Busy, 1));
                play.step(Happening::Looked)
            },
            |play| play.set("valkyrie", AgentState::Ready),
        ),
        (
            "it still loads with the old settings",
            |play| play.set("valkyrie", AgentState::Loading),
            |play| play.set("valkyrie", AgentState::Ready),
        ),
        (
            "somebody has closed it",
            |play| play.step(Happening::Closed(name("valkyrie"))),
            |play| play.step(Happening::Opened(name("valkyrie"))),
        ),
        (
            "something else is under way",
            |play| {
                let awake = names(&["thor", "valkyrie", "loki"]);
                let stage = "Loading Loki".to_owned();
                play.busy = Some(Busy { awake, stage, seconds_left: None, switches: false });
                play.step(Happening::Looked)
            },
            |play| {
                play.busy = None;
                play.step(Happening::Looked)
            },
        ),
    ];
    for (what, before, after) in cases {
        let mut play = Play::new(&["thor", "valkyrie"]);
        before(&mut play);
        assert_eq!(wishes(&ask(&mut play, "valkyrie")), [], "{what}");
        assert_eq!(waiting(&play), ["valkyrie"], "{what}");
        assert_eq!(wishes(&after(&mut play)), [(&again("valkyrie"), true)], "{what}");
    }
}

/// What makes it forgotten, and that nothing restarts afterwards.
#[test]
fn what_forgets_it() {
    type Turn = fn(&mut Play) -> Vec<Order>;
    const STOPS: &str = "Valkyrie stops: it needs no restart of its own any more.";
    const SWITCH: &str = "Valkyrie does not start again by itself any more: another profile was chosen.";
    let cases: &[(&str, &str, Turn)] = &[
        ("it is drained", STOPS, |play| play.set("valkyrie", AgentState::Draining)),
        ("it is stopped", STOPS, |play| play.set("valkyrie", AgentState::Stopping)),
        ("it sleeps", STOPS, |play| play.set("valkyrie", AgentState::Asleep)),
        ("it failed", STOPS, |play| play.set("valkyrie", AgentState::Failed)),
        ("a switch has begun", SWITCH, |play| {
            let awake = names(&["thor", "valkyrie"]);
            let stage = "Stopping Thor".to_owned();
            play.busy = Some(Busy { awake, stage, seconds_left: None, switches: true });
            play.step(Happening::Looked)
        }),
        ("a switch was made", SWITCH, |play| play.step(Happening::Person(PersonAct::Switched))),
        ("it is gone from the stack", STOPS, |play| {
            play.states.remove("valkyrie");
            play.step(Happening::Looked)
        }),
        ("it was taken back", "", |play| {
            play.step(Happening::Person(PersonAct::RestartTakenBack(name("valkyrie"))))
        }),
    ];
    for (what, why, turn) in cases {
        let mut play = Play::new(&["thor", "valkyrie"]);
        let (ticket, _) = play.ask("valkyrie");
        ask(&mut play, "valkyrie");
        let said = forgotten(&turn(&mut play));
        assert_eq!(said.join(" "), *why, "{what}");
        assert_eq!(waiting(&play), [""; 0], "{what}");
        play.busy = None;
        play.set("valkyrie", AgentState::Ready);
        assert_eq!(wishes(&play.step(Happening::Left(ticket))), [], "{what}");
        assert_eq!(wishes(&play.pass(60)), [], "{what}");
    }
}

#[test]
fn a_request_that_came_in_between_is_waited_for_and_nothing_spins() {
    let mut play = Play::new(&["thor", "valkyrie"]);
    ask(&mut play, "valkyrie");
    let (ticket, orders) = play.ask("valkyrie");
    assert_eq!(granted(&orders), [ticket], "it is there until somebody closes it");
    assert_eq!(play.step(Happening::WishEnded(WishEnd::Busy)), []);
    assert_eq!(waiting(&play), ["valkyrie"]);
    assert_eq!(wishes(&play.step(Happening::Left(ticket))), [], "not again in the same moment");
    let next = play.schedule.next_look(play.now, &play.house());
    assert!(next.is_some_and(|n| n.as_millis() <= 500), "{next:?}");
    assert_eq!(wishes(&play.pass(1)), [(&again("valkyrie"), true)]);
}

#[test]
fn one_after_the_other_and_not_again_after_the_end() {
    let mut play = Play::new(&["thor", "valkyrie"]);
    assert_eq!(wishes(&ask(&mut play, "thor")), [(&again("thor"), true)]);
    assert_eq!(ask(&mut play, "valkyrie"), []);
    play.set("thor", AgentState::Stopping);
    play.set("thor", AgentState::Asleep);
    play.set("thor", AgentState::Loading);
    assert_eq!(waiting(&play), ["valkyrie"], "its own stop is no reason to forget the other");
    assert_eq!(wishes(&play.set("thor", AgentState::Ready)), []);
    assert_eq!(wishes(&play.done()), [(&again("valkyrie"), true)]);
    play.set("valkyrie", AgentState::Ready);
    assert_eq!(play.done(), []);
    assert_eq!(play.pass(3600), []);
}

#[test]
fn a_cancelled_or_refused_one_is_not_tried_again() {
    let ends = [
        WishEnd::Cancelled,
        WishEnd::DoesNotFit("It needs 200 GB.".to_owned()),
        WishEnd::Refused { message: "Nobody has confirmed it.".to_owned(), next: String::new() },
    ];
    for end in ends {
        let mut play = Play::new(&["thor", "valkyrie"]);
        ask(&mut play, "valkyrie");
        assert_eq!(play.step(Happening::WishEnded(end.clone())), [], "{end:?}");
        assert_eq!(waiting(&play), [""; 0], "{end:?}");
        assert_eq!(wishes(&play.pass(600)), [], "{end:?}");
    }
}

#[test]
fn a_role_is_its_server() {
    let mut play = Play::new(&["thor", "valkyrie"]);
    for agent in &mut play.stack.agents {
        if agent.name.as_str() == "heimdall" {
            agent.served_by = Some(name("thor"));
        }
    }
    assert_eq!(wishes(&ask(&mut play, "heimdall")), [(&again("thor"), true)]);
}
