//! What memory was used for and what the servers said, over time: kept at each reading, drawn when asked for.

mod draw;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use api::shapes::history::{
    AgentHistories, AgentHistoryRequest, History, HistoryRequest, Picture, PictureRequest, PictureTheme,
};
use api::{ApiError, Code};
use domain::memory::Bytes;
use domain::plan::ledgers;
use jiff::Timestamp;
use store::database::{AgentFigures, Database, Figure, PoolSample, Sample};

use self::draw::{Household, Known};
use crate::carry::Ctx;
use crate::start::Options;
use crate::state::State;

/// While everybody sleeps and nothing changes, this many seconds lie between two records at least.
const QUIET: i64 = 60;
/// A change of a pool by less than this part of it is none: the desktop breathes.
const BREATH: u64 = 200;

/// What was recorded last.
#[derive(Default)]
pub(crate) struct Recorder(Mutex<Last>);

#[derive(Default)]
struct Last {
    sample: Option<(Timestamp, Sample)>,
    /// The database refused; said once, until it takes something again.
    refused: bool,
}

/// Keeps the figures that the state holds now. A database that refuses is said once in the log, and stops nothing.
pub(crate) async fn record(ctx: &Ctx) {
    let now = Timestamp::now();
    let sample = sample(&ctx.state.state());
    {
        let last = ctx.world.recorder.0.lock().unwrap_or_else(PoisonError::into_inner);
        if !due(last.sample.as_ref(), &sample, now) {
            return;
        }
    }
    let kept = sample.clone();
    let outcome = ctx.world.database(move |db| db.record_telemetry(&kept, now)).await;
    let mut last = ctx.world.recorder.0.lock().unwrap_or_else(PoisonError::into_inner);
    match outcome {
        Some(Ok(())) => *last = Last { sample: Some((now, sample)), refused: false },
        Some(Err(error)) if !last.refused => {
            last.refused = true;
            tracing::warn!("What memory is used for is not recorded for now: {error}");
        }
        _ => {}
    }
}

fn sample(state: &State) -> Sample {
    let pools = match ledgers(&state.stack, &state.situation()) {
        Ok(ledgers) => ledgers
            .into_iter()
            .map(|l| PoolSample {
                pool: l.id.0,
                capacity: Some(l.capacity.0),
                limit: Some(l.limit.0),
                used: l.used.0,
                other: l.other.0,
                lost: l.lost.0,
                held: l
                    .measured
                    .iter()
                    .filter(|(_, share)| share.total() > Bytes::ZERO)
                    .map(|(agent, share)| (agent.to_string(), share.total().0))
                    .collect(),
            })
            .collect(),
        // A pool whose size is not known has no ledger; what is used of it is known all the same.
        Err(_) => state
            .pools
            .iter()
            .map(|p| PoolSample {
                pool: p.id.0.clone(),
                used: p.used.0,
                other: p.used.0,
                ..PoolSample::default()
            })
            .collect(),
    };
    let agents = state
        .agents
        .iter()
        .filter(|(_, live)| live.state.answers())
        .map(|(name, live)| AgentFigures { agent: name.to_string(), figures: figures(live) })
        .filter(|a| !a.figures.is_empty())
        .collect();
    Sample { pools, agents }
}

fn figures(live: &crate::state::AgentLive) -> Vec<(Figure, f64)> {
    let said = &live.figures;
    // Between requests a card keeps the last one's time; in a history that would be a line about nothing.
    let works = said.in_use() > 0 || said.tokens_per_second.is_some_and(|speed| speed > 0.0);
    [
        (Figure::KvCacheUsed, said.kv_cache_used),
        (Figure::TokensPerSecond, said.tokens_per_second),
        (Figure::Running, said.running.map(f64::from)),
        (Figure::Waiting, said.waiting.map(f64::from)),
        (Figure::TimeToFirstToken, said.time_to_first_token_seconds.filter(|_| works)),
        (Figure::Preemptions, said.preemptions_per_minute),
    ]
    .into_iter()
    .filter_map(|(figure, value)| Some((figure, value?)))
    .collect()
}

/// Whether a reading is worth a record: always while somebody is awake, else when something changed or a minute is over.
fn due(last: Option<&(Timestamp, Sample)>, sample: &Sample, now: Timestamp) -> bool {
    let Some((then, before)) = last else { return true };
    let awake = |s: &Sample| !s.agents.is_empty() || s.pools.iter().any(|p| !p.held.is_empty());
    if awake(sample) || awake(before) {
        return true;
    }
    // A clock that was set back is a change too.
    let passed = now.as_second() - then.as_second();
    if !(0..QUIET).contains(&passed) || before.pools.len() != sample.pools.len() {
        return true;
    }
    before.pools.iter().zip(&sample.pools).any(|(a, b)| {
        let breath = b.capacity.unwrap_or(b.used) / BREATH;
        a.pool != b.pool
            || (a.limit, a.capacity) != (b.limit, b.capacity)
            || a.used.abs_diff(b.used) > breath
            || a.other.abs_diff(b.other) > breath
            || a.lost.abs_diff(b.lost) > breath
    })
}

pub(crate) async fn pools(ctx: &Ctx, asked: HistoryRequest) -> Result<History, ApiError> {
    let now = Timestamp::now();
    draw::checked(asked.hours)?;
    let household = Arc::new(household(&ctx.state.state()));
    let wanted = (asked.pool.clone(), asked.hours, asked.theme, asked.width);
    let read = read(ctx, household.clone(), wanted, now).await?;
    off(move || Ok(draw::pools(read, &household, &asked))).await
}

pub(crate) async fn agents(ctx: &Ctx, asked: AgentHistoryRequest) -> Result<AgentHistories, ApiError> {
    let now = Timestamp::now();
    draw::checked(asked.hours)?;
    let household = household(&ctx.state.state());
    if let Some(agent) = &asked.agent
        && !household.agents.iter().any(|a| a.name == *agent)
    {
        return Err(ApiError::new(
            Code::Unknown,
            format!("There is no agent {agent:?} in the stack."),
            "See the agents with: asgard status",
        ));
    }
    on(ctx, move |db| draw::agents(db, &household, &asked, now)).await
}

pub(crate) async fn export(ctx: &Ctx, asked: PictureRequest) -> Result<Picture, ApiError> {
    let now = Timestamp::now();
    draw::checked(asked.hours)?;
    let household = Arc::new(household(&ctx.state.state()));
    let wanted = (asked.pool.clone(), asked.hours, asked.theme, asked.width);
    let read = read(ctx, household, wanted, now).await?;
    off(move || draw::picture(read, &asked)).await
}

/// Only what has to be is done while others wait for the database: the drawing comes after.
async fn read(
    ctx: &Ctx,
    household: Arc<Household>,
    (pool, hours, theme, width): (Option<String>, f64, PictureTheme, u32),
    now: Timestamp,
) -> Result<draw::Read, ApiError> {
    on(ctx, move |db| draw::read(db, &household, (pool.as_deref(), hours, theme, width), now)).await
}

fn lost() -> ApiError {
    ApiError::new(Code::Failed, "The picture could not be drawn.", "Try again.")
}

/// Works off the async threads.
async fn off<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, ApiError> + Send + 'static,
) -> Result<T, ApiError> {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|_| Err(lost()))
}

/// Reads off the async threads.
async fn on<T: Send + 'static>(
    ctx: &Ctx,
    work: impl FnOnce(&Database) -> Result<T, ApiError> + Send + 'static,
) -> Result<T, ApiError> {
    ctx.world.database(move |db| work(db)).await.unwrap_or_else(|| Err(lost()))
}

fn household(state: &State) -> Household {
    Household {
        pools: state
            .pools
            .iter()
            .map(|p| (p.id.0.clone(), Known { name: p.name.clone(), capacity: p.capacity.map(|b| b.0) }))
            .collect(),
        agents: dressed(&state.stack),
    }
}

fn dressed(stack: &domain::stack::Stack) -> Vec<draw::Agent> {
    let agent = |a: &domain::stack::Agent| draw::Agent {
        name: a.name.to_string(),
        display_name: a.display_name.clone(),
        colour: a.color.clone(),
    };
    stack.agents.iter().map(agent).collect()
}

/// The picture of the pools with no controller running: what the last one recorded.
///
/// # Errors
/// Nothing was recorded yet, a database that cannot be read, hours that are no time.
pub fn offline_picture(options: &Options, asked: &PictureRequest) -> Result<Picture, ApiError> {
    draw::checked(asked.hours)?;
    let nothing = || {
        ApiError::new(
            Code::Failed,
            "Nothing was recorded yet: no controller has run here.",
            "Start one with: asgard up",
        )
    };
    let paths = options.paths_in_force().map_err(|e| ApiError::new(Code::Failed, e.to_string(), ""))?;
    let failed = |e: store::database::DatabaseError| ApiError::new(Code::Failed, e.to_string(), "");
    let database = Database::open_to_read(&paths.database()).map_err(failed)?.ok_or_else(nothing)?;
    let ids = database.telemetry_pools().map_err(failed)?;
    if ids.is_empty() {
        return Err(nothing());
    }
    let read: BTreeMap<String, Known> = options
        .machine()
        .pools()
        .into_iter()
        .map(|p| (p.id.0.clone(), Known { name: p.name, capacity: p.capacity.map(|b| b.0) }))
        .collect();
    let known = |id: &String| {
        // A rehearsal's pool is on no machine; what was recorded says how large it was.
        let unread = || Known { name: id.clone(), capacity: None };
        (id.clone(), read.get(id).cloned().unwrap_or_else(unread))
    };
    let loaded = store::stack_file::load_on(&paths.stack_file(), options.scale(), &options.machine().gpu());
    let household = Household {
        pools: ids.iter().map(known).collect(),
        agents: loaded.stack.as_ref().map_or_else(|_| Vec::new(), dressed),
    };
    let wanted = (asked.pool.as_deref(), asked.hours, asked.theme, asked.width);
    draw::picture(draw::read(&database, &household, wanted, Timestamp::now())?, asked)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_795_000_000 + second).unwrap()
    }

    fn asleep(used: u64) -> Sample {
        let pool = PoolSample {
            pool: "ram".into(),
            capacity: Some(1000),
            limit: Some(900),
            used,
            ..PoolSample::default()
        };
        Sample { pools: vec![pool], agents: Vec::new() }
    }

    #[test]
    fn a_quiet_house_is_recorded_once_a_minute_and_a_waking_one_at_once() {
        let before = (at(0), asleep(500));
        assert!(due(None, &asleep(500), at(0)));
        for (sample, second, expected) in [
            (asleep(500), 2, false),
            (asleep(505), 30, false),
            (asleep(506), 30, true),
            (asleep(500), 59, false),
            (asleep(500), 60, true),
            (asleep(500), -5, true),
        ] {
            assert_eq!(due(Some(&before), &sample, at(second)), expected, "{second} s, {sample:?}");
        }
        let mut awake = asleep(500);
        awake.pools[0].held.push(("thor".into(), 100));
        assert!(due(Some(&before), &awake, at(2)));
        assert!(due(Some(&(at(0), awake)), &asleep(500), at(2)), "that it fell asleep is worth a record");
    }
}
