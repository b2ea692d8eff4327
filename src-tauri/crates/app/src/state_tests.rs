//! The state, replayed from lists of events.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use domain::agent::{AgentName, AgentState, Stage};
use domain::attribution::{Measured, Quality};
use domain::memory::Bytes;
use domain::plan::{Goal, plan};
use domain::pool::{Share, Shares};
use domain::secret::Secret;
use engine::backend::{LogFact, OwnNumbers};
use engine::{Instance, Phase};
use jiff::Timestamp;

use crate::reading::Look;
use crate::state::{Event, Figures, Operation, StackSource, State};

fn named(text: &str) -> AgentName {
    AgentName::new(text).unwrap()
}

fn household() -> State {
    let text = store::stack_file::shipped_text(1024);
    let stack = store::stack_file::check(Path::new("stack.toml"), &text, 1024).unwrap();
    let mut state =
        State::new(Arc::new(stack), "hash".into(), StackSource::default(), true, Timestamp::UNIX_EPOCH);
    let pool = rehearsal::machine::reading(&[], rehearsal::machine::OTHER);
    replay(
        &mut state,
        [Event::Read(Look { pools: vec![pool], measured: BTreeMap::new(), doubts: BTreeMap::new() })],
    );
    state
}

fn replay(state: &mut State, events: impl IntoIterator<Item = Event>) {
    for event in events {
        let before = state.revision;
        let changed = state.apply(event, Timestamp::UNIX_EPOCH);
        assert_eq!(
            state.revision,
            before + u64::from(changed),
            "a revision for each change, and for nothing else"
        );
    }
}

fn instance(agent: &str) -> Instance {
    Instance {
        agent: named(agent),
        id: format!("id of {agent}"),
        revision: String::new(),
        reserved: vec![("unified".into(), 7 << 20, 1 << 20)],
        endpoint: "http://127.0.0.1:1".into(),
        key: Secret::default(),
        phase: Phase::Running,
        pids: Vec::new(),
    }
}

fn woken(agent: &str) -> [Event; 3] {
    [
        Event::Began { agent: named(agent), baseline: Vec::new() },
        Event::Started { agent: named(agent), engine: "process".into(), instance: instance(agent) },
        Event::Ready { agent: named(agent) },
    ]
}

fn figured(agent: &str, figures: Figures) -> Event {
    Event::Figured { agent: named(agent), instance: format!("id of {agent}"), figures }
}

fn state_of(state: &State, agent: &str) -> AgentState {
    state.agents[&named(agent)].state
}

#[test]
fn busy_and_ready_follow_from_who_uses_an_agent() {
    let mut state = household();
    replay(&mut state, woken("thor"));
    assert_eq!(state_of(&state, "thor"), AgentState::Ready);
    replay(&mut state, [Event::Leased(BTreeMap::from([(named("thor"), 1)]))]);
    assert_eq!(state_of(&state, "thor"), AgentState::Busy);
    // A client that goes past Bifrost is seen by the server's own count.
    let own = Figures { running: Some(1), waiting: Some(2), ..Figures::default() };
    replay(&mut state, [figured("thor", own), Event::Leased(BTreeMap::new())]);
    assert_eq!((state_of(&state, "thor"), state.in_use(&named("thor"))), (AgentState::Busy, 3));
    replay(&mut state, [figured("thor", Figures::default())]);
    assert_eq!(state_of(&state, "thor"), AgentState::Ready);
}

#[test]
fn figures_of_what_ended_are_not_taken_and_same_ones_are_shown_with_their_time() {
    let mut state = household();
    let figures = Figures { running: Some(0), preemptions: Some(3), ..Figures::default() };
    let at = |second: i64| Timestamp::from_second(1_800_000_000 + second).unwrap();
    // Nothing runs yet.
    assert!(!state.apply(figured("thor", figures), at(0)));
    replay(&mut state, woken("thor"));
    let other = Event::Figured { agent: named("thor"), instance: "one before".into(), figures };
    assert!(!state.apply(other, at(0)));
    assert!(state.apply(figured("thor", figures), at(0)));
    assert_eq!(state.agents[&named("thor")].figures_at, Some(at(0)));
    assert!(!state.apply(figured("thor", figures), at(2)), "nothing changed that a face shows");
    assert!(state.apply(figured("thor", figures), at(40)));
    assert_eq!(state.agents[&named("thor")].figures_at, Some(at(40)));
    // A clock that was set back makes no figure old for ever.
    assert!(state.apply(figured("thor", figures), at(-3600)));
    replay(&mut state, [Event::Slept { agent: named("thor") }]);
    let thor = &state.agents[&named("thor")];
    assert_eq!((thor.figures, thor.figures_at), (Figures::default(), None));
}

#[test]
fn the_servers_own_numbers_last_until_its_next_start() {
    let mut state = household();
    replay(&mut state, woken("thor"));
    let mut own = OwnNumbers::default();
    own.take(&LogFact::KvTokens(5));
    let said = Event::Said { agent: named("thor"), own: own.clone() };
    replay(&mut state, [said.clone(), said, Event::Slept { agent: named("thor") }]);
    assert_eq!(state.agents[&named("thor")].own, own);
    replay(&mut state, woken("thor"));
    assert_eq!(state.agents[&named("thor")].own, OwnNumbers::default());
}

#[test]
fn a_late_log_line_moves_nobody_back() {
    let mut state = household();
    let progress = |stage| Event::Progressed { agent: named("thor"), stage, within: None, detail: None };
    replay(&mut state, woken("thor").into_iter().take(2));
    replay(&mut state, [progress(Stage::KvCache), progress(Stage::Weights)]);
    assert_eq!(state.agents[&named("thor")].stage, Some(Stage::KvCache));
    replay(&mut state, [Event::Ready { agent: named("thor") }, progress(Stage::WarmUp)]);
    assert_eq!((state_of(&state, "thor"), state.agents[&named("thor")].stage), (AgentState::Ready, None));
}

#[test]
fn a_failure_stays_to_be_read_until_the_next_start() {
    let mut state = household();
    let failure =
        api::shapes::status::Failure { code: "oom".into(), message: "No.".into(), next: "Less.".into() };
    let log = Arc::new(vec!["the last line".to_owned()]);
    replay(&mut state, woken("odin"));
    replay(
        &mut state,
        [Event::Failed { agent: named("odin"), failure, log }, Event::Slept { agent: named("odin") }],
    );
    let odin = &state.agents[&named("odin")];
    assert_eq!((odin.state, odin.instance.is_none(), odin.kept_log.len()), (AgentState::Failed, true, 1));
    assert!(state.awake().is_empty(), "what failed holds nothing");
    replay(&mut state, woken("odin"));
    assert!(state.agents[&named("odin")].error.is_none());
}

#[test]
fn the_profile_follows_from_who_is_awake() {
    let mut state = household();
    let goal = Goal::Profile("standard".into());
    let operation = Operation {
        id: 1,
        from: None,
        to: "standard".into(),
        plan: Arc::new(plan(&state.stack, &state.situation(), &goal).unwrap()),
        step: 0,
        undoing: false,
        cancellable: true,
        began: Timestamp::UNIX_EPOCH,
    };
    replay(&mut state, [Event::OperationBegan(operation)]);
    replay(&mut state, woken("thor"));
    replay(&mut state, woken("valkyrie"));
    assert_eq!(state.profile, None);
    // The end of another operation is not the end of this one.
    replay(&mut state, [Event::OperationEnded { id: 2 }]);
    assert!(state.operation.is_some());
    replay(&mut state, [Event::OperationEnded { id: 1 }]);
    assert_eq!((state.profile.as_deref(), state.profile_matches()), (Some("standard"), true));
    replay(&mut state, [Event::Slept { agent: named("valkyrie") }]);
    assert!(!state.profile_matches(), "a profile is active only while exactly its agents are awake");
}

#[test]
fn what_is_reserved_is_what_the_label_says() {
    let mut state = household();
    replay(&mut state, woken("thor"));
    assert_eq!(state.reserved(&named("thor")).values().map(|s| s.total()).sum::<Bytes>(), Bytes(8 << 20));
    // Nobody labelled is reserved by the stack.
    let odin: Bytes = state.reserved(&named("odin")).values().map(|s| s.total()).sum();
    assert_eq!(odin.show(domain::Unit::Mb), "62.0\u{a0}MB");
}

#[test]
fn a_start_counts_as_nothing_until_it_is_measured() {
    let mut state = household();
    replay(&mut state, woken("odin").into_iter().take(2));
    let ledger = &domain::plan::ledgers(&state.stack, &state.situation()).unwrap()[0];
    assert_eq!(
        ledger.other,
        rehearsal::machine::OTHER,
        "what others hold does not vanish while an agent starts"
    );
    let share = Share { device: Bytes(3 << 20), host: Bytes::ZERO };
    let shares = Shares::from([(ledger.id.clone(), share)]);
    let measured = BTreeMap::from([(named("odin"), Measured::said(shares, Quality::Step))]);
    let pool = rehearsal::machine::reading(&[("odin".into(), 3 << 20)], rehearsal::machine::OTHER);
    replay(&mut state, [Event::Read(Look { pools: vec![pool], measured, doubts: BTreeMap::new() })]);
    let ledger = &domain::plan::ledgers(&state.stack, &state.situation()).unwrap()[0];
    assert_eq!(ledger.other, rehearsal::machine::OTHER);
}

#[test]
fn a_stack_that_no_longer_names_a_running_agent_keeps_its_memory_in_the_books() {
    let mut state = household();
    replay(&mut state, woken("thor"));
    let text = "version = 1\nname = \"other\"\nbase = \"none\"\n[agents.mimir]\nbackend = \"external\"\n\
                endpoint = \"http://127.0.0.1:9\"\nmodel = \"m\"\n[profiles.none]\nagents = []\n";
    let stack = store::stack_file::check(Path::new("stack.toml"), text, 1024).unwrap();
    let read = Event::StackRead { stack: Some(Arc::new(stack)), hash: String::new(), source: Arc::default() };
    replay(&mut state, [read]);
    assert_eq!(state.situation().running.len(), 1, "thor still holds what it holds");
    assert!(!state.agents.contains_key(&named("odin")), "who sleeps is forgotten");
}
