//! The figures that change by themselves: read every 2 s while somebody looks, every 30 s otherwise.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use domain::agent::AgentName;
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::carry::{self, Ctx};
use crate::probe;
use crate::recover;
use crate::state::Event;

/// How many look at the state right now.
#[derive(Clone, Default)]
pub(crate) struct Lookers {
    count: Arc<AtomicUsize>,
    came: Arc<Notify>,
}

/// Somebody who looks, until dropped.
pub(crate) struct Looking(Lookers);

impl Lookers {
    pub(crate) fn come(&self) -> Looking {
        self.count.fetch_add(1, Ordering::Relaxed);
        self.came.notify_one();
        Looking(self.clone())
    }

    fn any(&self) -> bool {
        self.count.load(Ordering::Relaxed) > 0
    }
}

impl Drop for Looking {
    fn drop(&mut self) {
        self.0.count.fetch_sub(1, Ordering::Relaxed);
    }
}

const WHILE_LOOKED_AT: Duration = Duration::from_secs(2);
const OTHERWISE: Duration = Duration::from_secs(30);
/// A look at every container and process costs more than reading figures.
const AROUND: Duration = Duration::from_secs(10);
const AROUND_OTHERWISE: Duration = Duration::from_secs(300);

pub(crate) async fn run(ctx: Ctx, lookers: Lookers) {
    let rates = Rates::default();
    let mut looked_around: Option<Instant> = None;
    loop {
        carry::read(&ctx).await;
        recover::look_at_external(&ctx).await;
        ctx.world.read_ollama().await;
        let state = ctx.state.state();
        for (name, live) in &state.agents {
            if live.state.answers() {
                read_figures(&ctx, name, &rates).await;
            }
        }
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

/// Counters of the last reading, for rates.
#[derive(Default)]
struct Rates(Mutex<BTreeMap<AgentName, (Instant, f64)>>);

impl Rates {
    /// Tokens per second since the last reading. A counter that falls means that the server restarted.
    fn next(&self, agent: &AgentName, generated: f64) -> Option<f64> {
        let now = Instant::now();
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let before = known.insert(agent.clone(), (now, generated));
        let (then, counted) = before?;
        let seconds = now.duration_since(then).as_secs_f64();
        (generated >= counted && (0.2..60.0).contains(&seconds)).then(|| (generated - counted) / seconds)
    }
}

async fn read_figures(ctx: &Ctx, agent: &AgentName, rates: &Rates) {
    let state = ctx.state.state();
    let Some(instance) = state.agents.get(agent).and_then(|l| l.instance.as_ref()) else { return };
    if let Some(metrics) = probe::figures(&ctx.world.http, &instance.endpoint, &instance.key).await {
        let rate = metrics.generated.and_then(|g| rates.next(agent, g));
        ctx.state.tell(Event::Figured { agent: agent.clone(), figures: metrics.figures(rate) }).await;
    }
}

/// One reading of one agent, for a drain.
pub(crate) async fn read_figures_of(ctx: &Ctx, agent: &AgentName) {
    let state = ctx.state.state();
    let Some(live) = state.agents.get(agent) else { return };
    let Some(instance) = &live.instance else { return };
    if let Some(metrics) = probe::figures(&ctx.world.http, &instance.endpoint, &instance.key).await {
        let figures = metrics.figures(live.figures.tokens_per_second);
        ctx.state.tell(Event::Figured { agent: agent.clone(), figures }).await;
    }
}
