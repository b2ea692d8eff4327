//! The rules of the schedule, one after another, on the shipped household.

mod common;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use common::{name, names, norse, plain, strix_halo, with};
use domain::agent::AgentState;
use domain::plan::Goal;
use domain::schedule::{
    AGING, Ask, Busy, Denied, Happening, House, Kept, Now, Order, PersonAct, Schedule, Seen, Ticket, WishEnd,
};
use domain::stack::{DRAIN_FINISH, Stack, Tier};

/// A household whose clock and states a test sets by hand.
struct Play {
    schedule: Schedule,
    stack: Stack,
    states: BTreeMap<&'static str, (AgentState, u32)>,
    now: Now,
    busy: Option<Busy>,
    #[expect(clippy::option_option, reason = "as the household has it")]
    yielded: Option<Option<i64>>,
    paused: bool,
    next: Ticket,
}

const WALL: i64 = 1_800_000_000;

impl Play {
    fn new(awake: &[&'static str]) -> Self {
        let mut stack = norse();
        for agent in &mut stack.agents {
            agent.tier = match agent.name.as_str() {
                "thor" => Tier::Primary,
                "valkyrie" => Tier::Coder,
                "odin" => Tier::Reviewer,
                _ => Tier::Utility,
            };
        }
        Self::of(stack, awake, Kept::default())
    }

    fn of(stack: Stack, awake: &[&'static str], kept: Kept) -> Self {
        let now = Now { steady: Duration::from_secs(1000), wall: WALL };
        let states = ["thor", "valkyrie", "odin", "heimdall", "loki", "frigga"].map(|agent| {
            let state = if awake.contains(&agent) { AgentState::Ready } else { AgentState::Asleep };
            (agent, (state, 0))
        });
        let mut play = Self {
            schedule: Schedule::new(kept, now),
            stack,
            states: BTreeMap::from(states),
            now,
            busy: None,
            yielded: None,
            paused: false,
            next: 0,
        };
        play.step(Happening::Looked);
        play
    }

    fn house(&self) -> House {
        let running: Vec<(&str, AgentState, u32)> = self
            .states
            .iter()
            .filter(|(_, (state, _))| state.holds_memory())
            .map(|(agent, (state, own))| (*agent, *state, *own))
            .collect();
        let situation = with(&self.stack, strix_halo(128.0, 124.0, 6.0), &running);
        let agents = self.states.iter().map(|(agent, (state, own))| {
            let seen = Seen {
                state: *state,
                own: *own,
                failure: (*state == AgentState::Failed).then(|| "It ran out of memory.".to_owned()),
                stage: None,
                seconds_left: None,
                proper: name(agent).proper(),
            };
            (name(agent), seen)
        });
        House {
            stack: Arc::new(self.stack.clone()),
            situation,
            agents: agents.collect(),
            busy: self.busy.clone(),
            yielded: self.yielded,
            paused: self.paused,
        }
    }

    fn step(&mut self, happening: Happening) -> Vec<Order> {
        self.schedule.step(self.now, &self.house(), happening)
    }

    fn ask_as(&mut self, agent: &str, person: bool) -> (Ticket, Vec<Order>) {
        self.next += 1;
        let ask = Ask { ticket: self.next, agent: name(agent), person, summon: false };
        (self.next, self.step(Happening::Asked(ask)))
    }

    fn ask(&mut self, agent: &str) -> (Ticket, Vec<Order>) {
        self.ask_as(agent, false)
    }

    fn set(&mut self, agent: &'static str, state: AgentState) -> Vec<Order> {
        self.states.insert(agent, (state, 0));
        self.step(Happening::Looked)
    }

    fn pass(&mut self, seconds: u64) -> Vec<Order> {
        self.now.steady += Duration::from_secs(seconds);
        self.now.wall += i64::try_from(seconds).unwrap_or(0);
        self.step(Happening::Looked)
    }

    fn done(&mut self) -> Vec<Order> {
        self.step(Happening::WishEnded(WishEnd::Done))
    }

    /// Odin's swap, from the wish to its end.
    fn swap_to_odin(&mut self) -> Vec<Order> {
        self.set("valkyrie", AgentState::Stopping);
        self.set("valkyrie", AgentState::Asleep);
        self.set("odin", AgentState::Loading);
        self.pass(40);
        let mut orders = self.set("odin", AgentState::Ready);
        orders.extend(self.done());
        orders
    }
}

fn granted(orders: &[Order]) -> Vec<Ticket> {
    orders
        .iter()
        .filter_map(|o| if let Order::Grant { ticket, .. } = o { Some(*ticket) } else { None })
        .collect()
}

fn refusals(orders: &[Order]) -> Vec<(Ticket, &Denied)> {
    orders
        .iter()
        .filter_map(|o| if let Order::Refuse { ticket, why, .. } = o { Some((*ticket, why)) } else { None })
        .collect()
}

fn wishes(orders: &[Order]) -> Vec<(&Goal, bool)> {
    orders
        .iter()
        .filter_map(|o| if let Order::Wish { goal, gentle, .. } = o { Some((goal, *gentle)) } else { None })
        .collect()
}

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
    play.busy =
        Some(Busy { awake: names(&["thor", "valkyrie"]), stage: "Looking".into(), seconds_left: None });
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
fn nothing_is_begun_for_nobody() {
    let mut play = Play::new(&["thor", "valkyrie"]);
    play.busy = Some(Busy { awake: names(&["thor"]), stage: "Draining Loki".into(), seconds_left: None });
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
fn a_busy_household_is_asked_again_and_a_cancelled_wait_ends_with_words() {
    let mut play = Play::new(&["thor", "valkyrie"]);
    let (ticket, _) = play.ask("odin");
    play.busy = Some(Busy { awake: names(&["thor"]), stage: "Stopping Valkyrie".into(), seconds_left: None });
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
