//! Watching the memory while an agent is awake, and giving way when other programs grow into what the desktop needs.
//!
//! What is decided is in `domain::pressure`; here the machine is read and the wish is made. Where the kernel tells of
//! stalls by itself (PSI triggers) it is listened to; otherwise MemAvailable is read once a second. Nothing is read
//! while every agent sleeps.

use std::time::Duration;

use api::shapes::status::{Notice, Severity};
use domain::agent::{AgentName, AgentState};
use domain::memory::{Bytes, Unit};
use domain::plan::{Goal, Situation, ledgers};
use domain::pool::{Ledger, PoolKind};
use domain::pressure::{Act, Idle, Look, Watch};
use hardware::{PressureWatch, watch_pressure};
use tokio::time::Instant;

use crate::activity::happened;
use crate::carry::{self, Ctx};
use crate::run_loop::Wish;
use crate::state::{Event, State};
use crate::yielding::is_idle;

const EVERY: Duration = Duration::from_secs(1);
/// Where the kernel tells of stalls: memory may end without any program having waited for it yet.
const BESIDE_THE_KERNEL: Duration = Duration::from_secs(30);
const NOTICE: &str = "pressure";

pub(crate) async fn run(ctx: Ctx) {
    let origin = Instant::now();
    let mut watch = Watch::default();
    loop {
        ctx.state.until(|s| !s.awake().is_empty() || !watch.is_calm()).await;
        // Open only while somebody is awake: the kernel counts for whoever listens.
        let mut kernel = watch_pressure(&ctx.world.machine);
        while !ctx.state.state().awake().is_empty() || !watch.is_calm() {
            let stalled = wait(&ctx, &mut kernel, &watch).await;
            look(&ctx, &mut watch, origin.elapsed(), stalled).await;
        }
    }
}

/// Until it is time to look; whether the kernel said so.
async fn wait(ctx: &Ctx, kernel: &mut PressureWatch, watch: &Watch) -> bool {
    let loads = ctx.state.state().agents.values().any(|l| l.state == AgentState::Loading);
    if !kernel.is_trigger() || !watch.is_calm() || loads {
        tokio::time::sleep(EVERY).await;
        return false;
    }
    tokio::select! {
        () = kernel.next() => true,
        () = tokio::time::sleep(BESIDE_THE_KERNEL) => false,
    }
}

async fn look(ctx: &Ctx, watch: &mut Watch, now: Duration, stalled: bool) {
    if ctx.state.state().agents.values().any(|l| l.state == AgentState::Loading) {
        // The highest that it holds while it loads is seen by looking while it loads.
        carry::read(ctx).await;
    }
    let state = ctx.state.state();
    let situation = Situation { pools: ctx.world.pools(), ..Situation::default() };
    let Ok(ledgers) = ledgers(&state.stack, &situation) else { return };
    let Some(look) = Look::of(&ledgers, stalled) else { return };
    let unit = ledgers.first().map_or(Unit::Gb, Ledger::unit);
    // A switch under way frees and takes by a plan of its own.
    if state.operation.is_some() && !watch.is_calm() {
        return;
    }
    let idle = if state.operation.is_some() { Vec::new() } else { idle(&state) };
    match watch.look(now, &look, &idle) {
        Act::Nothing => {}
        Act::Tell => tell(ctx, &look, unit, !idle.is_empty()).await,
        Act::Helpless => helpless(ctx, &look, unit).await,
        Act::Release(agent) => release(ctx, &agent, &idle, unit).await,
        Act::Calm => ctx.state.tell(Event::Noticed { key: NOTICE, notice: None }).await,
    }
}

/// Who may be let go: ready, used by nobody, ours, not pinned.
fn idle(state: &State) -> Vec<Idle> {
    let ordinary =
        |pool: &domain::pool::PoolId| state.pools.iter().any(|p| &p.id == pool && p.kind != PoolKind::Vram);
    state
        .agents
        .iter()
        .filter(|(name, _)| is_idle(state, name))
        .filter(|(name, _)| !state.stack.agent(name).is_some_and(|a| a.pinned))
        .map(|(name, live)| {
            let shares = live.measured.as_ref().map_or_else(|| state.reserved(name), |m| m.shares.clone());
            Idle {
                agent: name.clone(),
                cost: state.start_seconds.get(name).copied(),
                held: shares.iter().filter(|(pool, _)| ordinary(pool)).map(|(_, s)| s.total()).sum(),
            }
        })
        .collect()
}

fn holders(ctx: &Ctx, unit: Unit) -> String {
    let holders = ctx.world.top_holders();
    if holders.is_empty() {
        return String::new();
    }
    let each: Vec<String> =
        holders.iter().map(|(name, bytes)| format!("{name} {}", Bytes(*bytes).show(unit))).collect();
    format!(" Most is held by {}.", each.join(", "))
}

async fn notice(ctx: &Ctx, message: String, next: String) {
    let notice = Notice { severity: Severity::Warning, message, next };
    ctx.state.tell(Event::Noticed { key: NOTICE, notice: Some(notice) }).await;
}

async fn tell(ctx: &Ctx, look: &Look, unit: Unit, somebody: bool) {
    let message = format!(
        "Memory is short: {} is left of the {} that the desktop needs.{}",
        look.available.show_down(unit),
        look.floor.show(unit),
        holders(ctx, unit)
    );
    happened(ctx, Severity::Warning, None, message.clone());
    let next = if somebody {
        "If it stays so, the idle agent that starts again soonest goes to sleep."
    } else {
        "Close what you can."
    };
    notice(ctx, message, next.to_owned()).await;
}

async fn helpless(ctx: &Ctx, look: &Look, unit: Unit) {
    let message = format!(
        "Memory is short by {}, and no agent is idle that could give way.{}",
        look.short().show_up(unit),
        holders(ctx, unit)
    );
    happened(ctx, Severity::Warning, None, message.clone());
    notice(ctx, message, "Close programs, or stop an agent.".to_owned()).await;
}

async fn release(ctx: &Ctx, agent: &AgentName, idle: &[Idle], unit: Unit) {
    let held = idle.iter().find(|i| &i.agent == agent).map(|i| i.held).unwrap_or_default();
    let message = format!(
        "{} goes to sleep and gives {} back, because memory is short.",
        agent.proper(),
        held.show_down(unit)
    );
    happened(ctx, Severity::Warning, Some(agent), message.clone());
    notice(ctx, message, format!("Start {} again when there is room.", agent.proper())).await;
    if let Err(error) = ctx.state.wish(Wish::gentle(Goal::Asleep(agent.clone()), agent.to_string())).await {
        tracing::warn!(%agent, "It could not give way: {}", error.message);
    }
    carry::read(ctx).await;
}
