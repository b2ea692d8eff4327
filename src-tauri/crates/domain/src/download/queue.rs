//! The queue of downloads: a state machine that is told what happened and answers with orders.
//!
//! Time is passed in, as the time since some beginning that never jumps; the wall clock has no say here. Whoever
//! carries the orders out says for each [`Order::Begin`] once how it ended ([`Event::Ended`]), stopped or not.
//!
//! Deliberately absent: what a download is about. An id, and the repository that it writes to, are all that the order
//! of things depends on.

use std::time::Duration;

/// Never used twice.
pub type Id = u64;

/// How many repositories are fetched at once. Each has connections enough to fill a line; the second keeps it full
/// while the first ends with small files and checksums.
pub const AT_ONCE: usize = 2;

/// How long it is waited after the first failure that may pass by itself; doubled with each up to the second.
pub const PATIENCE: (Duration, Duration) = (Duration::from_secs(5), Duration::from_secs(60));

/// After so many answers that were none of a Hub, without a byte in between, nothing better is waited for.
pub const STRANGE_ANSWERS: u32 = 10;

/// What a server says of waiting counts between these: it is not asked again at once, and keeps nobody for days.
const WAIT: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(3600));

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    Queued,
    /// Begun, and not ended yet.
    Active,
    /// Told to stop, and not ended yet.
    Stopping(Then),
    /// It goes on by itself, then or when somebody says so.
    Waiting {
        until: Duration,
    },
    Paused,
    Failed,
    Done,
}

/// What becomes of one that was told to stop, unless it came to its end all the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Then {
    Pause,
    Queue,
    Remove { keep: bool },
}

/// Facts and wishes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A new one, or one of an earlier run: what was active then is queued now.
    Added {
        id: Id,
        repo: String,
        phase: Phase,
    },
    /// One, or all that have not ended.
    Pause(Option<Id>),
    /// One, whatever keeps it, or all that are paused or wait.
    Resume(Option<Id>),
    /// It leaves the queue; what has arrived is deleted unless it is kept.
    Cancel {
        id: Id,
        keep: bool,
    },
    /// One that ended leaves the list.
    Forget(Id),
    /// Bytes have arrived: what went wrong before is over.
    Progressed(Id),
    Ended {
        id: Id,
        end: End,
    },
    /// The Hub asked somebody else for patience.
    Asked(Duration),
    /// Time has passed.
    Tick,
}

/// How a download that was begun ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    Done,
    /// It did as it was told.
    Stopped,
    /// For good, until somebody says otherwise.
    Failed,
    Again(Again),
}

/// Why it is worth another try.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Again {
    /// The Hub cannot be reached, or fails.
    Network,
    /// It answers, but not like a Hub: a captive portal lets one through sooner or later, a wrong address never does.
    Strange,
    /// It asked for patience, which goes for every download.
    Asked(Duration),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    Begin(Id),
    Stop(Id),
    /// Delete what it has left unfinished.
    Discard(Id),
    /// It is no more in the list.
    Remove(Id),
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Entry {
    id: Id,
    repo: String,
    phase: Phase,
    /// Failures in a row that may pass by themselves.
    tries: u32,
}

/// Ids in the order in which they are worked off.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Queue {
    entries: Vec<Entry>,
    /// The Hub asked for patience until then.
    hold: Option<Duration>,
}

impl Queue {
    pub fn phase(&self, id: Id) -> Option<Phase> {
        self.entries.iter().find(|e| e.id == id).map(|e| e.phase)
    }

    /// In the order in which they are worked off; those that ended after those that did not, in the same order.
    pub fn order(&self) -> Vec<Id> {
        let ended = |e: &&Entry| matches!(e.phase, Phase::Done);
        let not = self.entries.iter().filter(|e| !ended(e));
        not.chain(self.entries.iter().filter(ended)).map(|e| e.id).collect()
    }

    /// Whether a person has paused every one that could go on, and there is one.
    pub fn all_paused(&self) -> bool {
        let mut paused = false;
        for entry in &self.entries {
            match entry.phase {
                Phase::Paused | Phase::Stopping(Then::Pause) => paused = true,
                Phase::Done | Phase::Failed | Phase::Stopping(Then::Remove { .. }) => {}
                Phase::Queued | Phase::Active | Phase::Waiting { .. } | Phase::Stopping(Then::Queue) => {
                    return false;
                }
            }
        }
        paused
    }

    /// The Hub asked for patience until then.
    pub fn hold(&self, now: Duration) -> Option<Duration> {
        self.hold.filter(|until| *until > now)
    }

    /// For how many others a queued one waits: so many must end before it begins.
    pub fn waits_for(&self, id: Id) -> usize {
        let before =
            self.entries.iter().take_while(|e| e.id != id).filter(|e| e.phase == Phase::Queued).count();
        let busy = self.entries.iter().filter(|e| e.is_busy()).count();
        (before + busy + 1).saturating_sub(AT_ONCE).max(1)
    }

    /// When time alone changes something next.
    pub fn wake(&self, now: Duration) -> Option<Duration> {
        let waiting = self.entries.iter().filter_map(|e| match e.phase {
            Phase::Waiting { until } => Some(until),
            _ => None,
        });
        let queued = self.entries.iter().any(|e| e.phase == Phase::Queued);
        waiting.chain(self.hold(now).filter(|_| queued)).min()
    }

    /// Takes one event in. Events about ids that are not there are passed over.
    pub fn apply(&mut self, event: Event, now: Duration) -> Vec<Order> {
        let mut orders = Vec::new();
        match event {
            Event::Added { id, repo, phase } => {
                if self.phase(id).is_none() {
                    let phase = match phase {
                        Phase::Active | Phase::Stopping(Then::Queue) | Phase::Waiting { .. } => Phase::Queued,
                        Phase::Stopping(_) => Phase::Paused,
                        other => other,
                    };
                    self.entries.push(Entry { id, repo, phase, tries: 0 });
                }
            }
            Event::Pause(which) => {
                for entry in self.entries.iter_mut().filter(|e| which.is_none_or(|id| id == e.id)) {
                    entry.pause(&mut orders);
                }
            }
            Event::Resume(Some(id)) => {
                if let Some(entry) = self.entry(id) {
                    entry.resume();
                }
            }
            Event::Resume(None) => {
                for entry in self.entries.iter_mut().filter(|e| e.phase != Phase::Failed) {
                    entry.resume();
                }
            }
            Event::Cancel { id, keep } => {
                if let Some(entry) = self.entry(id) {
                    if entry.is_busy() {
                        if entry.phase == Phase::Active {
                            orders.push(Order::Stop(id));
                        }
                        entry.phase = Phase::Stopping(Then::Remove { keep });
                    } else {
                        self.remove(id, keep, &mut orders);
                    }
                }
            }
            Event::Forget(id) => {
                if matches!(self.phase(id), Some(Phase::Done | Phase::Failed)) {
                    self.remove(id, true, &mut orders);
                }
            }
            Event::Progressed(id) => {
                if let Some(entry) = self.entry(id) {
                    entry.tries = 0;
                }
            }
            Event::Ended { id, end } => self.ended(id, end, now, &mut orders),
            Event::Asked(wait) => self.be_patient(wait, now),
            Event::Tick => {}
        }
        self.go_on(now, &mut orders);
        orders
    }

    fn entry(&mut self, id: Id) -> Option<&mut Entry> {
        self.entries.iter_mut().find(|e| e.id == id)
    }

    fn remove(&mut self, id: Id, keep: bool, orders: &mut Vec<Order>) {
        self.entries.retain(|e| e.id != id);
        if !keep {
            orders.push(Order::Discard(id));
        }
        orders.push(Order::Remove(id));
    }

    fn be_patient(&mut self, wait: Duration, now: Duration) {
        let until = now.saturating_add(wait.clamp(WAIT.0, WAIT.1));
        self.hold = Some(self.hold.map_or(until, |before| before.max(until)));
    }

    fn ended(&mut self, id: Id, end: End, now: Duration, orders: &mut Vec<Order>) {
        if let End::Again(Again::Asked(wait)) = end {
            self.be_patient(wait, now);
        }
        let Some(entry) = self.entry(id).filter(|e| e.is_busy()) else { return };
        let then = match entry.phase {
            Phase::Stopping(then) => Some(then),
            _ => None,
        };
        entry.phase = match (end, then) {
            // It was quicker than the wish, and what is whole is not thrown away.
            (End::Done, _) => Phase::Done,
            (_, Some(Then::Remove { keep })) => {
                self.remove(id, keep, orders);
                return;
            }
            (End::Failed, _) => Phase::Failed,
            (_, Some(Then::Pause)) => Phase::Paused,
            (_, Some(Then::Queue)) => Phase::Queued,
            // One that stops without being told to was not stopped by a person; it is not begun again in a hurry.
            (End::Stopped, None) => entry.again(Again::Network, now),
            (End::Again(again), None) => entry.again(again, now),
        };
    }

    /// What waited long enough is queued, and who is next begins.
    fn go_on(&mut self, now: Duration, orders: &mut Vec<Order>) {
        for entry in &mut self.entries {
            if matches!(entry.phase, Phase::Waiting { until } if until <= now) {
                entry.phase = Phase::Queued;
            }
        }
        self.hold = self.hold(now);
        if self.hold.is_some() {
            return;
        }
        let mut busy: Vec<String> =
            self.entries.iter().filter(|e| e.is_busy()).map(|e| e.repo.clone()).collect();
        for entry in &mut self.entries {
            if busy.len() >= AT_ONCE {
                return;
            }
            // Two that write to one repository would wait for each other's files.
            if entry.phase == Phase::Queued && !busy.contains(&entry.repo) {
                entry.phase = Phase::Active;
                busy.push(entry.repo.clone());
                orders.push(Order::Begin(entry.id));
            }
        }
    }
}

impl Entry {
    /// Begun, and not ended yet.
    fn is_busy(&self) -> bool {
        matches!(self.phase, Phase::Active | Phase::Stopping(_))
    }

    fn pause(&mut self, orders: &mut Vec<Order>) {
        match self.phase {
            Phase::Queued | Phase::Waiting { .. } => self.phase = Phase::Paused,
            Phase::Active => {
                self.phase = Phase::Stopping(Then::Pause);
                orders.push(Order::Stop(self.id));
            }
            Phase::Stopping(Then::Queue) => self.phase = Phase::Stopping(Then::Pause),
            Phase::Stopping(Then::Pause | Then::Remove { .. })
            | Phase::Paused
            | Phase::Failed
            | Phase::Done => {}
        }
    }

    fn resume(&mut self) {
        match self.phase {
            Phase::Paused | Phase::Failed | Phase::Waiting { .. } => {
                self.phase = Phase::Queued;
                self.tries = 0;
            }
            Phase::Stopping(Then::Pause | Then::Remove { .. }) => self.phase = Phase::Stopping(Then::Queue),
            Phase::Stopping(Then::Queue) | Phase::Queued | Phase::Active | Phase::Done => {}
        }
    }

    fn again(&mut self, again: Again, now: Duration) -> Phase {
        let wait = match again {
            Again::Asked(wait) => wait.clamp(WAIT.0, WAIT.1),
            Again::Strange if self.tries + 1 >= STRANGE_ANSWERS => {
                self.tries = 0;
                return Phase::Failed;
            }
            Again::Strange | Again::Network => {
                let (first, most) = PATIENCE;
                let wait = first.saturating_mul(1 << self.tries.min(10)).min(most);
                self.tries = self.tries.saturating_add(1);
                wait
            }
        };
        Phase::Waiting { until: now.saturating_add(wait) }
    }
}
