//! The queue of downloads.
//!
//! `domain::download::queue` decides, [`line`] carries out and writes down, `models::download` fetches. A download is
//! pinned to a commit when it is first resolved, and from then on it is that commit, through pauses, lost networks and
//! restarts.
//!
//! Deliberately absent: bytes, hashes, connections. Those are the engine's.

mod ask;
mod ends;
mod from_hub;
mod item;
mod kept;
mod line;
mod show;
mod source;
mod sweep;
#[cfg(test)]
mod tests;
mod then_start;

use std::time::Duration;

use api::shapes::downloads::{CancelDownloadRequest, Download, DownloadDetail, Downloads, PullRequest};
use api::{ApiError, Code};
use tokio::sync::mpsc;

use crate::carry::Ctx;
use crate::state::Event;
use crate::telemetry::Lookers;

pub(crate) use from_hub::FromHub;
pub(crate) use line::{Line, Told};
pub(crate) use then_start::{Over, then_start};

/// How long partial files stay that nobody took up again, in days.
const PARTIAL_DAYS: u32 = 30;

/// The keys in the settings.
const LIMIT: &str = "download_limit";
const KEEP_DAYS: &str = "download_partial_days";

/// Faces hear of figures that moved at most this often, and of everything else not much later.
const FIGURES: Duration = Duration::from_millis(500);
const CLOSEST: Duration = Duration::from_millis(250);
/// How often the disk is looked at while a download runs and somebody looks.
const LOOK: Duration = Duration::from_secs(5);

pub(crate) async fn pull(ctx: &Ctx, asked: &PullRequest) -> Result<Download, ApiError> {
    let best = if asked.variant.is_none() && asked.files.is_empty() { best(ctx, asked).await } else { None };
    ctx.downloads
        .pull(&PullRequest { variant: best.or_else(|| asked.variant.clone()), ..asked.clone() })
        .await
}

/// Of several GGUF files the one that suits this machine best. None where there is nothing to choose, and where the
/// Hub does not say: then what is usual is taken, or the pull itself says why not.
async fn best(ctx: &Ctx, asked: &PullRequest) -> Option<String> {
    let asked = ask::asked_for(asked).ok()?;
    let info = crate::account::hub(ctx).await.info(&asked.repo, &asked.revision).await.ok()?;
    let gguf = info.about.gguf.is_some() || info.about.tags.iter().any(|tag| tag == "gguf");
    if !gguf {
        return None;
    }
    crate::discover::best(ctx, info).await
}

pub(crate) fn list(ctx: &Ctx) -> Downloads {
    ctx.downloads.list()
}

pub(crate) fn detail(ctx: &Ctx, id: &str) -> Result<DownloadDetail, ApiError> {
    ctx.downloads.detail(id)
}

pub(crate) async fn pause(ctx: &Ctx, id: Option<&str>) -> Result<Downloads, ApiError> {
    ctx.downloads.pause(id).await
}

pub(crate) async fn resume(ctx: &Ctx, id: Option<&str>) -> Result<Downloads, ApiError> {
    ctx.downloads.resume(id).await
}

pub(crate) async fn cancel(ctx: &Ctx, asked: &CancelDownloadRequest) -> Result<Downloads, ApiError> {
    then_start::cancelled(ctx, &asked.id).await;
    ctx.downloads.cancel(&asked.id, asked.keep).await
}

pub(crate) async fn forget(ctx: &Ctx, id: &str) -> Result<Downloads, ApiError> {
    ctx.downloads.forget(id).await
}

pub(crate) async fn limit(ctx: &Ctx, bytes_per_second: Option<u64>) -> Result<Downloads, ApiError> {
    let limit = ask::limit_of(bytes_per_second)?;
    let value = serde_json::json!(limit);
    if ctx.world.database(move |db| db.set_setting(LIMIT, &value).is_ok()).await != Some(true) {
        return Err(ApiError::new(
            Code::Failed,
            "The limit could not be kept.",
            "Check the disk that holds Asgard's data folder.",
        ));
    }
    ctx.downloads.limit(limit);
    Ok(ctx.downloads.list())
}

/// Takes up what earlier runs have left, and does from now on what the line tells of.
pub(crate) async fn run(ctx: Ctx, told: mpsc::UnboundedReceiver<Told>, lookers: Lookers) {
    recall(&ctx).await;
    tokio::spawn(show_changes(ctx.clone(), lookers));
    tokio::spawn(sweep::run(ctx.clone()));
    then_start::run(ctx, told).await;
}

async fn recall(ctx: &Ctx) {
    let kept = ctx.world.database(|db| {
        let setting = |key| db.setting(key).ok().flatten();
        (setting(LIMIT), setting(KEEP_DAYS))
    });
    if let Some((limit, days)) = kept.await {
        ctx.downloads.limit(limit.and_then(|v| v.as_u64()));
        let mut desk = ctx.downloads.desk();
        desk.partial_days =
            days.and_then(|v| v.as_u64()).and_then(|d| u32::try_from(d).ok()).unwrap_or(PARTIAL_DAYS).max(1);
    }
    ctx.downloads.recall_wait().await;
    ctx.downloads.recall().await;
}

/// Tells faces that there is something new, while there are any. With nobody looking this sleeps, however fast
/// downloads run.
async fn show_changes(ctx: Ctx, lookers: Lookers) {
    let line = ctx.downloads.clone();
    let mut looked = tokio::time::Instant::now();
    loop {
        lookers.looked_at().await;
        if line.is_active() {
            let _ = tokio::time::timeout(FIGURES, line.inner.changed.notified()).await;
            if looked.elapsed() >= LOOK {
                looked = tokio::time::Instant::now();
                line.measure().await;
            }
        } else {
            line.inner.changed.notified().await;
        }
        // Not "or": both are to be taken.
        if line.take_changed() | line.take_moved() {
            ctx.state.note(Event::DownloadsChanged);
            // An end is told at once, because somebody waits for it.
            let _ = tokio::time::timeout(CLOSEST, line.inner.ended.notified()).await;
        }
    }
}
