//! The figures that change by themselves: read every 2 s while somebody looks, every 30 s otherwise.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use domain::advice::KvUse;
use domain::agent::AgentName;
use domain::stack::BackendKind;
use engine::metrics::Meter;
use jiff::Timestamp;
use tokio::sync::{Notify, watch};
use tokio::time::Instant;

use crate::carry::{self, Ctx};
use crate::probe::{self, Said};
use crate::recover;
use crate::state::{Event, Figures};

/// How many look at the state right now.
#[derive(Clone)]
pub(crate) struct Lookers {
    count: Arc<watch::Sender<usize>>,
    came: Arc<Notify>,
}

impl Default for Lookers {
    fn default() -> Self {
        Self { count: Arc::new(watch::Sender::new(0)), came: Arc::default() }
    }
}

/// Somebody who looks, until dropped.
pub(crate) struct Looking(Lookers);

impl Lookers {
    pub(crate) fn come(&self) -> Looking {
        self.count.send_modify(|count| *count += 1);
        self.came.notify_one();
        Looking(self.clone())
    }

    pub(crate) fn any(&self) -> bool {
        *self.count.borrow() > 0
    }

    /// Returns when somebody looks, at once where somebody does.
    pub(crate) async fn looked_at(&self) {
        // An error would mean that the count is gone, and it is here.
        let _ = self.count.subscribe().wait_for(|count| *count > 0).await;
    }
}

impl Drop for Looking {
    fn drop(&mut self) {
        self.0.count.send_modify(|count| *count = count.saturating_sub(1));
    }
}

const WHILE_LOOKED_AT: Duration = Duration::from_secs(2);
const OTHERWISE: Duration = Duration::from_secs(30);
/// A look at every container and process costs more than reading figures.
const AROUND: Duration = Duration::from_secs(10);
const AROUND_OTHERWISE: Duration = Duration::from_secs(300);

/// A week changes slowly.
const WEEK_LOOKED_AT: Duration = Duration::from_secs(3600);

pub(crate) async fn run(ctx: Ctx, lookers: Lookers) {
    let began = Instant::now();
    let meters = Meters::default();
    let mut week: Option<Instant> = None;
    let mut looked_around: Option<Instant> = None;
    loop {
        carry::read(&ctx).await;
        recover::look_at_external(&ctx).await;
        ctx.world.read_ollama().await;
        read_all(&ctx, began, &meters).await;
        let state = ctx.state.state();
        crate::history::record(&ctx).await;
        if state.engines.iter().any(|e| e.error.is_some()) && lookers.any() {
            // An engine that was away has no event that says it is back, unless its event stream does.
            recover::look_at_engines(&ctx).await;
        }
        // Who else serves models here has no event either.
        if looked_around
            .is_none_or(|at| at.elapsed() >= if lookers.any() { AROUND } else { AROUND_OTHERWISE })
        {
            looked_around = Some(Instant::now());
            // Beside the figures, not before them: an engine may take its time to list what it runs.
            tokio::spawn({
                let ctx = ctx.clone();
                async move { crate::neighbours::look(&ctx).await }
            });
        }
        if week.is_none_or(|at| at.elapsed() >= WEEK_LOOKED_AT) {
            week = Some(Instant::now());
            look_at_the_week(&ctx).await;
        }
        let pause = if lookers.any() { WHILE_LOOKED_AT } else { OTHERWISE };
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = lookers.came.notified() => {}
            () = count_is_stale(&ctx) => {}
        }
    }
}

/// Returns a second after a server's own count says "in use" while no lease does: either the count was read in the
/// middle of a request that has ended since, or a client goes past Bifrost. Both are worth another look.
async fn count_is_stale(ctx: &Ctx) {
    ctx.state
        .until(|s| {
            s.agents.iter().any(|(name, live)| {
                live.state.answers() && live.figures.in_use() > 0 && !s.leases.contains_key(name)
            })
        })
        .await;
    tokio::time::sleep(Duration::from_secs(1)).await;
}

/// Two readings that are closer say more of the moment than of the speed.
const CLOSEST: Duration = Duration::from_millis(200);

/// One meter for each agent; it remembers the last reading.
#[derive(Default)]
struct Meters(Mutex<BTreeMap<AgentName, Metered>>);

#[derive(Default)]
struct Metered {
    /// The engine's name for what runs: another one is counted from its beginning.
    instance: String,
    at: Duration,
    meter: Meter,
    preempted: Preempted,
}

impl Meters {
    /// What one more reading tells; nothing right after another one.
    fn next(&self, agent: &AgentName, instance: &str, now: Duration, said: &Said) -> Option<Figures> {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let metered = known.entry(agent.clone()).or_default();
        if metered.instance != instance {
            *metered = Metered { instance: instance.to_owned(), ..Metered::default() };
        } else if now.saturating_sub(metered.at) < CLOSEST {
            return None;
        }
        metered.at = now;
        let live = metered.meter.next(now, &said.scrape, said.slots.as_ref());
        let preemptions_per_minute = metered.preempted.rate(now, live.preemptions);
        Some(Figures { preemptions_per_minute, ..Figures::of(&live) })
    }
}

/// When preemptions were counted last, and how many.
#[derive(Default)]
struct Preempted(Option<(Duration, u64)>);

impl Preempted {
    /// A minute, since the last reading; none where the count began anew.
    fn rate(&mut self, now: Duration, counted: Option<u64>) -> Option<f64> {
        let counted = counted?;
        let (then, before) = self.0.replace((now, counted))?;
        let minutes = now.checked_sub(then)?.as_secs_f64() / 60.0;
        (minutes > 0.0).then_some(counted.checked_sub(before)? as f64 / minutes)
    }
}

/// Reads every agent that answers, all at once: one that hangs delays no other.
async fn read_all(ctx: &Ctx, began: Instant, meters: &Meters) {
    let state = ctx.state.state();
    let awake: Vec<&AgentName> =
        state.agents.iter().filter(|(_, live)| live.state.answers()).map(|(name, _)| name).collect();
    // Who sleeps begins anew with the next start.
    meters.0.lock().unwrap_or_else(PoisonError::into_inner).retain(|name, _| awake.contains(&name));
    futures_util::future::join_all(awake.into_iter().map(|name| read_figures(ctx, name, began, meters)))
        .await;
}

async fn read_figures(ctx: &Ctx, agent: &AgentName, began: Instant, meters: &Meters) {
    let Some((instance, said)) = ask(ctx, agent).await else { return };
    if let Some(figures) = meters.next(agent, &instance, began.elapsed(), &said) {
        ctx.state.tell(Event::Figured { agent: agent.clone(), instance, figures }).await;
    }
}

/// What an agent's server says, with the engine's name for what was asked.
async fn ask(ctx: &Ctx, agent: &AgentName) -> Option<(String, Said)> {
    let state = ctx.state.state();
    let instance = state.agents.get(agent)?.instance.as_ref()?;
    let backend = state.stack.agent(agent).map_or(BackendKind::External, |a| a.backend);
    let said = probe::figures(&ctx.world.http, &instance.endpoint, &instance.key, backend).await?;
    Some((instance.id.clone(), said))
}

/// One reading of one agent, for a drain: who uses it is what counts.
pub(crate) async fn read_figures_of(ctx: &Ctx, agent: &AgentName) {
    let Some((instance, said)) = ask(ctx, agent).await else { return };
    let Some(before) = ctx.state.state().agents.get(agent).map(|l| l.figures) else { return };
    let now = Figures::of(&Meter::default().next(Duration::ZERO, &said.scrape, said.slots.as_ref()));
    let figures = Figures { running: now.running, waiting: now.waiting, ..before };
    ctx.state.tell(Event::Figured { agent: agent.clone(), instance, figures }).await;
}

/// What the last week says of the KV caches.
async fn look_at_the_week(ctx: &Ctx) {
    let names: Vec<AgentName> = ctx.state.state().stack.agents.iter().map(|a| a.name.clone()).collect();
    let since = Timestamp::now() - Duration::from_secs(7 * 24 * 3600);
    let seen = ctx
        .world
        .database(move |db| {
            let of = |name: AgentName| {
                let (peak, hours) = db.kv_peak(name.as_str(), since).ok()??;
                Some((name, KvUse { peak, hours }))
            };
            names.into_iter().filter_map(of).collect::<BTreeMap<_, _>>()
        })
        .await;
    if let Some(seen) = seen {
        ctx.state.tell(Event::WeekSeen(seen)).await;
    }
}

#[cfg(test)]
mod tests {
    use engine::metrics::Scrape;

    use super::*;

    #[test]
    fn each_server_has_its_meter_and_another_one_begins_anew() {
        let meters = Meters::default();
        let thor = AgentName::new("thor").unwrap();
        let next = |instance: &str, ms: u64, generated: f64, preempted: f64| {
            let scrape = Scrape {
                generated_tokens: Some(generated),
                preemptions: Some(preempted),
                ..Scrape::default()
            };
            let figures =
                meters.next(&thor, instance, Duration::from_millis(ms), &Said { scrape, slots: None })?;
            Some((figures.tokens_per_second, figures.preemptions_per_minute))
        };
        assert_eq!(next("a", 0, 100.0, 5.0), Some((None, None)));
        assert_eq!(next("a", 2_000, 150.0, 6.0), Some((Some(25.0), Some(30.0))));
        assert_eq!(next("a", 2_100, 151.0, 6.0), None, "somebody came to look a moment later");
        assert_eq!(next("a", 4_000, 170.0, 6.0), Some((Some(10.0), Some(0.0))));
        // It has already said more than the one before, which is no speed of anybody.
        assert_eq!(next("b", 6_000, 900.0, 9.0), Some((None, None)));
        assert_eq!(next("b", 8_000, 902.0, 9.0), Some((Some(1.0), Some(0.0))));
        assert_eq!(next("b", 10_000, 4.0, 0.0), Some((None, None)), "restarted within");
    }
}
