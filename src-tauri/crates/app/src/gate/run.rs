//! What keeps the schedule going: the household's changes, the clock, and the orders that take time.

use std::time::Duration;

use api::Code;
use api::shapes::plans::OutcomeKind;
use api::shapes::status::Severity;
use domain::plan::{Action, Goal};
use domain::schedule::{Happening, Kept, WishEnd};
use tokio::time::Instant;

use super::{Gate, Orders, ToDo};
use crate::activity::happened;
use crate::carry::Ctx;
use crate::run_loop::Wish;
use crate::state::Event;
use crate::world::World;

/// The keys in the settings.
const KEPT: &str = "schedule";
const PAUSED: &str = "gateway_paused";
/// Counts of leases are published at most so often: a publication copies the state.
const PUBLISH: Duration = Duration::from_millis(50);
/// Seconds left are told to those who wait so often.
const TICK: Duration = Duration::from_secs(1);
/// Without anything to wait for.
const LONG: Duration = Duration::from_secs(3600);

/// What an earlier run of the controller left of budgets and cooldown, and whether it was paused.
pub(crate) async fn recall(world: &World) -> (Kept, bool) {
    let kept = world
        .database(|db| (db.setting(KEPT).ok().flatten(), db.setting(PAUSED).ok().flatten()))
        .await
        .unwrap_or_default();
    let schedule = kept.0.and_then(|v| serde_json::from_value(v).ok()).unwrap_or_default();
    (schedule, kept.1 == Some(serde_json::Value::Bool(true)))
}

/// Runs as long as the controller does.
pub(crate) async fn run(ctx: Ctx, mut orders: Orders) {
    let gate = ctx.gate.clone();
    let mut view = ctx.state.view();
    let mut paused = ctx.state.state().paused;
    let mut publish: Option<Instant> = None;
    let mut published = Instant::now();
    gate.look();
    loop {
        let look = gate.next_look().unwrap_or(LONG);
        let at = Instant::now() + look;
        let next = publish.map_or(at, |publish| publish.min(at));
        tokio::select! {
            changed = view.changed() => {
                if changed.is_err() {
                    return;
                }
                let now = view.borrow_and_update().paused;
                if now != paused {
                    paused = now;
                    ctx.world.database(move |db| db.set_setting(PAUSED, &now.into()).ok()).await;
                }
                gate.look();
                // They may have hung up before what they waited for had begun.
                give_up(&ctx).await;
            }
            order = orders.0.recv() => match order {
                None => return,
                Some(ToDo::Leases) => {
                    publish.get_or_insert_with(|| (published + PUBLISH).max(Instant::now()));
                }
                Some(ToDo::Keep(kept)) => keep(&ctx, kept).await,
                Some(ToDo::Forgotten { agent, because }) => {
                    happened(&ctx, Severity::Info, Some(&agent), because);
                }
                Some(ToDo::Unwish) => give_up(&ctx).await,
                Some(ToDo::Wish { goal, to, gentle, because }) => {
                    tokio::spawn(wish(ctx.clone(), goal, to, gentle, because));
                }
            },
            () = tokio::time::sleep_until(next) => {
                if publish.is_some_and(|at| at <= Instant::now()) {
                    publish = None;
                    published = Instant::now();
                    gate.publish();
                }
                gate.step(Happening::Looked);
            }
        }
        gate.show_places();
    }
}

/// Nothing is loaded for nobody: a swap whose clients have all hung up is taken back while it has not begun to load.
/// A load that has begun goes on: who hung up for want of patience comes back, and finds it further on.
async fn give_up(ctx: &Ctx) {
    let Some(waking) = ctx.gate.given_up() else { return };
    let state = ctx.state.state();
    let Some(operation) = state.operation.as_ref() else { return };
    let begun = |action| matches!(action, Action::Pull | Action::Start | Action::WaitReady);
    let for_it = operation.plan.starts().any(|agent| *agent == waking);
    if for_it && operation.cancellable && !operation.action().is_some_and(|(action, _)| begun(action)) {
        // Too late is no harm.
        let _ = ctx.state.cancel().await;
    }
}

async fn keep(ctx: &Ctx, kept: Kept) {
    if let Ok(value) = serde_json::to_value(kept) {
        ctx.world.database(move |db| db.set_setting(KEPT, &value).ok()).await;
    }
}

async fn wish(ctx: Ctx, goal: Goal, to: String, gentle: bool, because: String) {
    let target = match &goal {
        Goal::Awake(agent) | Goal::Again(agent) => Some(ctx.state.state().stack.server_of(agent).clone()),
        _ => None,
    };
    if !because.is_empty() {
        happened(&ctx, Severity::Info, target.as_ref(), because);
    }
    let restarts = matches!(goal, Goal::Again(_));
    let result = ctx.state.wish(Wish { goal, to, gentle, resumes: false }).await;
    // Nobody waits for its answer; what did not start has said so already.
    if let Err(error) = result.as_ref()
        && restarts
        && !matches!(error.code, Code::Busy | Code::Failed)
    {
        let text = format!("It was not started again: {} {}", error.message, error.next);
        happened(&ctx, Severity::Warning, target.as_ref(), text.trim_end().to_owned());
    }
    let end = match result {
        Ok(outcome) if outcome.result == OutcomeKind::Done => WishEnd::Done,
        // What nobody waits for any more was given up here, not by the person.
        Ok(_) if ctx.gate.given_up().is_some() => WishEnd::Busy,
        Ok(_) => WishEnd::Cancelled,
        Err(error) => match error.code {
            Code::Busy => WishEnd::Busy,
            Code::DoesNotFit => WishEnd::DoesNotFit(error.message),
            Code::Failed => {
                let state = ctx.state.state();
                let failed = |name: &&domain::AgentName| {
                    state
                        .agents
                        .get(*name)
                        .and_then(|l| l.error.as_ref())
                        .is_some_and(|e| e.message == error.message)
                };
                let agent = target.as_ref().filter(failed).or_else(|| state.agents.keys().find(failed));
                match agent {
                    Some(agent) => WishEnd::Failed { agent: agent.clone(), message: error.message.clone() },
                    None => WishEnd::Refused { message: error.message, next: error.next },
                }
            }
            _ => WishEnd::Refused { message: error.message, next: error.next },
        },
    };
    ctx.gate.wish_ended(end);
}

impl Gate {
    fn wish_ended(&self, end: WishEnd) {
        // What it did is in the state by now; the schedule judges by that.
        {
            let mut desk = self.desk();
            desk.take(&self.0.state.state());
            desk.waking = None;
        }
        self.step(Happening::WishEnded(end));
    }

    /// Whom the wish under way would wake for nobody.
    fn given_up(&self) -> Option<domain::AgentName> {
        let desk = self.desk();
        desk.waking.clone().filter(|_| desk.abandoned && !desk.somebody_waits_for_it())
    }

    fn next_look(&self) -> Option<Duration> {
        let desk = self.desk();
        let next = desk.schedule.next_look(self.now(), &desk.house);
        if desk.seats.is_empty() { next } else { Some(next.unwrap_or(TICK).min(TICK)) }
    }

    fn publish(&self) {
        let leases = {
            let mut desk = self.desk();
            desk.told = false;
            desk.schedule.leases()
        };
        if leases != self.0.state.state().leases {
            self.0.state.note(Event::Leased(leases));
        }
    }

    /// Tells those who wait where they stand.
    fn show_places(&self) {
        let desk = self.desk();
        if desk.seats.is_empty() {
            return;
        }
        let now = self.now();
        for (ticket, seat) in &desk.seats {
            if let Some(place) = desk.schedule.place(*ticket, now, &desk.house) {
                let changed = seat.place.send_if_modified(|shown| {
                    let changed = *shown != place;
                    if changed {
                        *shown = place.clone();
                    }
                    changed
                });
                if changed {
                    self.0.recorder.placed(*ticket, place);
                }
            }
        }
    }
}
