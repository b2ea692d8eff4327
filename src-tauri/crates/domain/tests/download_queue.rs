//! The queue of downloads, replayed from lists of events, and under events in any order.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test's helpers fail the test")]

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use domain::download::queue::{AT_ONCE, Again, End, Event, Id, Order, Phase, Queue, Then};
use proptest::prelude::*;

/// "add 1 a" puts download 1 of repository a into the queue; after "→" stand the orders that must follow.
/// "wait 5" lets 5 s pass, "check" compares nothing but the phases named after "=".
fn replay(script: &str) {
    let mut queue = Queue::default();
    let mut now = Duration::ZERO;
    for (at, line) in script.lines().map(str::trim).filter(|l| !l.is_empty()).enumerate() {
        let (said, expected) = line.split_once('→').unwrap_or((line, ""));
        let (said, phases) = said.split_once('=').unwrap_or((said, ""));
        let words: Vec<&str> = said.split_whitespace().collect();
        let id = |n: usize| words[n].parse::<Id>().unwrap();
        let seconds = |n: usize| Duration::from_secs(words[n].parse().unwrap());
        let ended = |id, end| Event::Ended { id, end };
        let event = match words[0] {
            "add" => Event::Added { id: id(1), repo: words[2].to_owned(), phase: Phase::Queued },
            "restore" => {
                let phase = match words[3] {
                    "active" => Phase::Active,
                    "paused" => Phase::Paused,
                    "pausing" => Phase::Stopping(Then::Pause),
                    "waiting" => Phase::Waiting { until: Duration::from_secs(1_000_000) },
                    "failed" => Phase::Failed,
                    "done" => Phase::Done,
                    other => panic!("{other}"),
                };
                Event::Added { id: id(1), repo: words[2].to_owned(), phase }
            }
            "pause" if words.len() == 1 => Event::Pause(None),
            "pause" => Event::Pause(Some(id(1))),
            "resume" if words.len() == 1 => Event::Resume(None),
            "resume" => Event::Resume(Some(id(1))),
            "cancel" => Event::Cancel { id: id(1), keep: false },
            "leave" => Event::Cancel { id: id(1), keep: true },
            "forget" => Event::Forget(id(1)),
            "bytes" => Event::Progressed(id(1)),
            "done" => ended(id(1), End::Done),
            "stopped" => ended(id(1), End::Stopped),
            "failed" => ended(id(1), End::Failed),
            "network" => ended(id(1), End::Again(Again::Network)),
            "strange" => ended(id(1), End::Again(Again::Strange)),
            "asked" => ended(id(1), End::Again(Again::Asked(seconds(2)))),
            "wait" => {
                now += seconds(1);
                Event::Tick
            }
            other => panic!("{other}"),
        };
        let orders: Vec<String> = queue
            .apply(event, now)
            .into_iter()
            .map(|order| match order {
                Order::Begin(id) => format!("begin {id}"),
                Order::Stop(id) => format!("stop {id}"),
                Order::Discard(id) => format!("discard {id}"),
                Order::Remove(id) => format!("remove {id}"),
            })
            .collect();
        assert_eq!(orders.join(", "), expected.trim(), "line {at}: {line}\n{queue:#?}");
        for pair in phases.split(',').map(str::trim).filter(|p| !p.is_empty()) {
            let (id, word) = pair.split_once(' ').unwrap();
            let phase = queue.phase(id.parse().unwrap());
            let is = match phase {
                None => "gone",
                Some(Phase::Queued) => "queued",
                Some(Phase::Active) => "active",
                Some(Phase::Stopping(_)) => "stopping",
                Some(Phase::Waiting { .. }) => "waiting",
                Some(Phase::Paused) => "paused",
                Some(Phase::Failed) => "failed",
                Some(Phase::Done) => "done",
            };
            assert_eq!(is, word, "line {at}: {line}\n{queue:#?}");
        }
    }
}

#[test]
fn two_at_once_in_their_order() {
    replay(
        "add 1 a → begin 1
         add 2 b → begin 2
         add 3 c = 3 queued
         add 4 d = 4 queued
         done 2 = 2 done → begin 3
         failed 1 = 1 failed → begin 4
         done 3
         done 4",
    );
}

#[test]
fn one_repository_is_fetched_once_at_a_time_and_nobody_waits_for_that() {
    replay(
        "add 1 a → begin 1
         add 2 a = 2 queued
         add 3 b → begin 3
         done 1 → begin 2",
    );
}

#[test]
fn a_pause_holds_its_place_and_gives_the_line_to_the_next() {
    replay(
        "add 1 a → begin 1
         add 2 b → begin 2
         add 3 c
         pause 1 = 1 stopping → stop 1
         stopped 1 = 1 paused → begin 3
         resume 1 = 1 queued
         add 4 d
         done 2 = 4 queued → begin 1",
    );
}

#[test]
fn who_thinks_better_of_a_pause_goes_on() {
    replay(
        "add 1 a → begin 1
         pause 1 → stop 1
         resume 1 = 1 stopping
         pause 1
         resume 1
         stopped 1 = 1 active → begin 1
         pause 1 → stop 1
         done 1 = 1 done",
    );
}

#[test]
fn all_are_paused_and_all_go_on() {
    replay(
        "add 1 a → begin 1
         add 2 b → begin 2
         add 3 c
         failed 2 → begin 3
         pause → stop 1, stop 3
         stopped 1 = 1 paused, 2 failed
         stopped 3 = 3 paused
         add 4 d → begin 4
         resume = 2 failed, 3 queued → begin 1
         resume 2 = 2 queued",
    );
}

#[test]
fn cancelled_at_every_moment() {
    replay(
        "add 1 a → begin 1
         add 2 b → begin 2
         add 3 c
         cancel 3 = 3 gone → discard 3, remove 3
         cancel 1 → stop 1
         cancel 1
         network 1 = 1 gone → discard 1, remove 1
         leave 2 → stop 2
         stopped 2 = 2 gone → remove 2
         add 4 d → begin 4
         cancel 4 → stop 4
         done 4 = 4 done
         cancel 4 = 4 gone → discard 4, remove 4
         add 5 e → begin 5
         cancel 5 → stop 5
         resume 5
         stopped 5 = 5 active → begin 5
         stopped 9
         cancel 9",
    );
}

#[test]
fn only_what_ended_is_forgotten_and_no_file_goes() {
    replay(
        "add 1 a → begin 1
         forget 1 = 1 active
         failed 1
         forget 1 = 1 gone → remove 1
         add 2 b → begin 2
         pause 2 → stop 2
         stopped 2
         forget 2 = 2 paused",
    );
}

#[test]
fn the_network_is_waited_for_with_more_and_more_patience() {
    replay(
        "add 1 a → begin 1
         network 1 = 1 waiting
         wait 4
         wait 1 → begin 1
         network 1
         wait 9
         wait 1 → begin 1
         network 1
         wait 20 → begin 1
         network 1
         wait 40 → begin 1
         network 1
         wait 60 → begin 1
         network 1
         wait 60 → begin 1
         bytes 1
         network 1
         wait 5 → begin 1
         network 1
         resume 1 → begin 1",
    );
}

#[test]
fn who_waits_lets_others_pass() {
    replay(
        "add 1 a → begin 1
         add 2 b → begin 2
         add 3 c
         network 1 → begin 3
         wait 5 = 1 queued
         pause 1 = 1 paused
         done 3",
    );
}

#[test]
fn patience_that_the_hub_asks_for_goes_for_all_and_even_for_the_impatient() {
    replay(
        "add 1 a → begin 1
         asked 1 55 = 1 waiting
         add 2 b = 2 queued
         resume 1 = 1 queued
         wait 54
         wait 1 → begin 1, begin 2
         asked 1 0
         wait 1 → begin 1
         asked 2 999999999
         wait 3600 → begin 2",
    );
}

#[test]
fn a_page_that_is_no_hub_is_not_asked_for_ever() {
    let mut script = "add 1 a → begin 1\n".to_owned();
    for _ in 0..9 {
        script.push_str("strange 1 = 1 waiting\nwait 60 → begin 1\n");
    }
    script.push_str("strange 1 = 1 failed\nwait 1000\nresume 1 → begin 1\nstrange 1 = 1 waiting");
    replay(&script);
}

#[test]
fn after_a_restart_it_goes_on_where_it_was() {
    replay(
        "restore 1 a paused = 1 paused
         restore 2 b active → begin 2
         restore 3 c waiting → begin 3
         restore 4 d failed = 4 failed
         restore 5 e done = 5 done
         restore 6 f pausing = 6 paused
         restore 7 g active = 7 queued
         restore 2 b paused = 2 active",
    );
}

#[test]
fn the_words_for_a_place_in_the_queue() {
    let mut queue = Queue::default();
    for id in 1..=5 {
        queue.apply(Event::Added { id, repo: format!("r{id}"), phase: Phase::Queued }, Duration::ZERO);
    }
    let waits: Vec<usize> = [3, 4, 5].into_iter().map(|id| queue.waits_for(id)).collect();
    assert_eq!(waits, [1, 2, 3]);
    queue.apply(Event::Ended { id: 1, end: End::Done }, Duration::ZERO);
    assert_eq!(queue.order(), [2, 3, 4, 5, 1]);
    assert!(!queue.all_paused());
    queue.apply(Event::Pause(None), Duration::ZERO);
    assert!(queue.all_paused());
    queue.apply(Event::Resume(Some(5)), Duration::ZERO);
    assert!(!queue.all_paused());
}

#[derive(Debug, Clone)]
enum Step {
    Add(u8),
    Pause(Option<u8>),
    Resume(Option<u8>),
    Cancel(u8, bool),
    Forget(u8),
    Bytes(u8),
    /// The nth of those that are begun comes to an end.
    End(u8, End),
    Pass(u16),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let end = prop_oneof![
        4 => Just(End::Done),
        2 => Just(End::Stopped),
        1 => Just(End::Failed),
        2 => Just(End::Again(Again::Network)),
        1 => Just(End::Again(Again::Strange)),
        1 => (0u64..100).prop_map(|s| End::Again(Again::Asked(Duration::from_secs(s)))),
    ];
    let which = || prop::option::weighted(0.8, 0u8..12);
    let step = prop_oneof![
        3 => (0u8..4).prop_map(Step::Add),
        1 => which().prop_map(Step::Pause),
        2 => which().prop_map(Step::Resume),
        1 => (0u8..12, any::<bool>()).prop_map(|(id, keep)| Step::Cancel(id, keep)),
        1 => (0u8..12).prop_map(Step::Forget),
        1 => (0u8..12).prop_map(Step::Bytes),
        4 => (any::<u8>(), end).prop_map(|(n, end)| Step::End(n, end)),
        2 => (0u16..100).prop_map(Step::Pass),
    ];
    prop::collection::vec(step, 0..120)
}

/// Whoever carries the orders out: knows what runs, and complains about orders that make no sense.
#[derive(Default)]
struct Player {
    queue: Queue,
    now: Duration,
    repos: BTreeMap<Id, String>,
    running: BTreeSet<Id>,
    stopping: BTreeSet<Id>,
    gone: BTreeSet<Id>,
    /// The Hub asked for patience until then.
    hold: Duration,
    next: Id,
}

impl Player {
    fn tell(&mut self, event: Event) {
        for order in self.queue.apply(event, self.now) {
            match order {
                Order::Begin(id) => {
                    assert!(self.running.insert(id), "{id} is begun twice");
                    assert!(!self.gone.contains(&id), "{id} is gone");
                    assert!(self.now >= self.hold, "the Hub asked for patience");
                    assert!(self.running.len() <= AT_ONCE);
                    let repos: BTreeSet<&String> = self.running.iter().map(|id| &self.repos[id]).collect();
                    assert_eq!(repos.len(), self.running.len(), "one repository at a time");
                }
                Order::Stop(id) => {
                    assert!(self.running.contains(&id), "{id} does not run");
                    assert!(self.stopping.insert(id), "{id} is stopped twice");
                }
                Order::Discard(id) => assert!(!self.running.contains(&id) && !self.gone.contains(&id)),
                Order::Remove(id) => {
                    assert!(!self.running.contains(&id) && self.gone.insert(id));
                    assert_eq!(self.queue.phase(id), None);
                }
            }
        }
        // Nobody idles while somebody could run.
        let busy: BTreeSet<&String> = self.running.iter().map(|id| &self.repos[id]).collect();
        if self.now >= self.hold && busy.len() < AT_ONCE {
            for (id, repo) in &self.repos {
                assert!(
                    self.queue.phase(*id) != Some(Phase::Queued) || busy.contains(repo),
                    "{id} could begin: {:#?}",
                    self.queue
                );
            }
        }
        for id in self.repos.keys() {
            let busy = matches!(self.queue.phase(*id), Some(Phase::Active | Phase::Stopping(_)));
            assert_eq!(busy, self.running.contains(id), "{id}");
        }
        // Whatever waits for time alone has a time.
        let waits = self.repos.keys().any(|id| match self.queue.phase(*id) {
            Some(Phase::Waiting { until }) => {
                assert!(until > self.now);
                true
            }
            _ => false,
        });
        assert!(!waits || self.queue.wake(self.now).is_some_and(|at| at > self.now));
    }

    fn add(&mut self, repo: u8) {
        let (id, repo) = (self.next, format!("r{repo}"));
        self.next += 1;
        self.repos.insert(id, repo.clone());
        self.tell(Event::Added { id, repo, phase: Phase::Queued });
    }

    fn end(&mut self, id: Id, end: End) {
        self.running.remove(&id);
        self.stopping.remove(&id);
        if let End::Again(Again::Asked(wait)) = end {
            self.hold = self.hold.max(self.now + wait.max(Duration::from_secs(1)));
        }
        self.tell(Event::Ended { id, end });
    }
}

proptest! {
    #[test]
    fn whatever_happens_the_orders_make_sense_and_in_the_end_all_is_fetched(steps in steps()) {
        let mut player = Player::default();
        for step in steps {
            match step {
                Step::Add(repo) => player.add(repo),
                Step::Pause(which) => player.tell(Event::Pause(which.map(Id::from))),
                Step::Resume(which) => player.tell(Event::Resume(which.map(Id::from))),
                Step::Cancel(id, keep) => player.tell(Event::Cancel { id: id.into(), keep }),
                Step::Forget(id) => player.tell(Event::Forget(id.into())),
                Step::Bytes(id) => player.tell(Event::Progressed(id.into())),
                Step::End(n, end) => {
                    let many = player.running.len().max(1);
                    if let Some(id) = player.running.iter().nth(usize::from(n) % many).copied() {
                        player.end(id, end);
                    }
                }
                Step::Pass(seconds) => {
                    player.now += Duration::from_secs(seconds.into());
                    player.tell(Event::Tick);
                }
            }
        }
        // From now on everything works, and the person wants it all.
        for id in player.repos.keys().copied().collect::<Vec<_>>() {
            player.tell(Event::Resume(Some(id)));
        }
        for _ in 0..1000 {
            if let Some(id) = player.running.first().copied() {
                let stopped = player.stopping.contains(&id);
                player.end(id, if stopped { End::Stopped } else { End::Done });
            } else if let Some(at) = player.queue.wake(player.now) {
                player.now = at;
                player.tell(Event::Tick);
            } else {
                break;
            }
        }
        for id in player.repos.keys() {
            let phase = player.queue.phase(*id);
            prop_assert!(matches!(phase, None | Some(Phase::Done)), "{id}: {phase:?}");
            prop_assert_eq!(phase.is_none(), player.gone.contains(id));
        }
    }
}
