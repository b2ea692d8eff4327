//! What is in the cache of models, whoever put it there: listed, verified, removed, imported.
//!
//! The disk is the truth: a look at it is kept only as long as nothing changed there ([`shelf`]), and every look runs
//! off the threads that answer requests.

mod offline;
mod shape;
mod shelf;
#[cfg(test)]
mod tests;
mod users;
mod watch;

use std::sync::Arc;
use std::time::{Duration, Instant};

use api::shapes::downloads::DownloadState;
use api::shapes::installed::{
    ImportModelRequest, ImportProgress, InstalledModel, InstalledModels, RemoveModelRequest, RemovedModel,
    VerifyProgress,
};
use api::{ApiError, Code};
use jiff::Timestamp;
use models::cache::{self, Hashing, ImportError, Marks, RemoveError, User};
use serde_json::Value;
use store::paths::Paths;
use tokio::sync::mpsc;

use crate::carry::Ctx;
use crate::discover::Ground;
use crate::event::Event;
use shape::Around;
use shelf::{Look, Seen};

pub use offline::{offline_import, offline_installed, offline_remove, offline_verify};
pub(crate) use shelf::Shelf;
pub(crate) use watch::run as watch;

/// Progress is told at most this often.
const TELL_EVERY: Duration = Duration::from_millis(250);

pub(crate) async fn list(ctx: &Ctx) -> Result<InstalledModels, ApiError> {
    let look = look(ctx).await?;
    Ok(shaped(ctx, &look).await)
}

async fn look(ctx: &Ctx) -> Result<Arc<Look>, ApiError> {
    let world = ctx.world.clone();
    tokio::task::spawn_blocking(move || world.models.look(&world.paths.hub)).await.map_err(|_| broken())
}

async fn shaped(ctx: &Ctx, look: &Arc<Look>) -> InstalledModels {
    let state = ctx.state.state();
    let downloads = crate::downloads::list(ctx).downloads;
    let (look, world) = (look.clone(), ctx.world.clone());
    let ground = Ground::of(ctx);
    let shaped = tokio::task::spawn_blocking(move || {
        let awake = |agent: &domain::agent::AgentName| {
            state.agents.get(agent).is_some_and(|l| l.state.holds_memory())
        };
        let around = Around {
            stack: Some(&state.stack),
            ground: &ground,
            shelf: &world.models,
            awake: &awake,
            marks: &Marks::read(&marks_file(&world.paths)),
            user: &User::current(),
            downloads: &downloads,
        };
        shape::all(&look, &around)
    });
    shaped.await.unwrap_or_else(|_| shape::nothing(&ctx.world.paths.hub))
}

/// A thread that was to look at the disk ended; nothing is known of what it would have said.
fn broken() -> ApiError {
    ApiError::new(Code::Failed, "The cache could not be looked at.", "Try again.")
}

fn marks_file(paths: &Paths) -> std::path::PathBuf {
    paths.data.join("verified.json")
}

fn unknown(id: &str) -> ApiError {
    let shown: String = id.chars().filter(|c| !c.is_control()).take(200).collect();
    ApiError::new(
        Code::Unknown,
        format!("There is no model {shown:?} in the cache."),
        "See: asgard models list",
    )
}

/// The model that is meant: by its id, or by what an agent's `model` would say where that is one alone.
fn find<'a>(look: &'a Look, id: &str) -> Result<&'a Seen, ApiError> {
    if let Some(seen) = look.models.iter().find(|seen| seen.installed.id == id) {
        return Ok(seen);
    }
    let called: Vec<&Seen> = look.models.iter().filter(|seen| seen.installed.model == id).collect();
    match called.as_slice() {
        [one] => Ok(one),
        [] => {
            // A repository of GGUF files has no model of its own name.
            let below: Vec<&str> = look
                .models
                .iter()
                .filter(|seen| seen.installed.repo == id)
                .map(|seen| seen.installed.model.as_str())
                .collect();
            match below.as_slice() {
                [] => Err(unknown(id)),
                some => Err(ApiError::new(
                    Code::Usage,
                    format!("{id} is a repository of {} models.", some.len()),
                    format!("Name one of them: {}", some.join(", ")),
                )),
            }
        }
        // What "main" leads to is what an agent would load.
        several => several
            .iter()
            .find(|seen| seen.installed.revisions.iter().any(|r| r == "main"))
            .copied()
            .ok_or_else(|| {
                let ids: Vec<&str> = several.iter().map(|seen| seen.installed.id.as_str()).collect();
                ApiError::new(
                    Code::Usage,
                    format!("There are {} commits of {id} in the cache.", several.len()),
                    format!("Name one of them: {}", ids.join(", ")),
                )
            }),
    }
}

pub(crate) async fn remove(ctx: &Ctx, asked: &RemoveModelRequest) -> Result<RemovedModel, ApiError> {
    // What was decided must be about what is there now.
    ctx.world.models.forget();
    let look = look(ctx).await?;
    let id = find(&look, &asked.id)?.installed.id.clone();
    let model =
        shaped(ctx, &look).await.models.into_iter().find(|m| m.id == id).ok_or_else(|| unknown(&asked.id))?;
    let downloading = crate::downloads::list(ctx).downloads.into_iter().any(|d| {
        let under_way = matches!(
            d.state,
            DownloadState::Queued
                | DownloadState::Resolving
                | DownloadState::Running
                | DownloadState::Verifying
                | DownloadState::Waiting
        );
        d.repo == model.repo && under_way
    });
    let (asked, text) = (asked.clone(), ctx.state.state().source.text.clone());
    let removed = tokio::task::spawn_blocking(move || carry_out(&look, &model, downloading, &text, &asked))
        .await
        .map_err(|_| broken())??;
    if removed.removed {
        changed(ctx).await;
    }
    Ok(removed)
}

/// The same for the controller and for a command with nothing running.
fn carry_out(
    look: &Look,
    model: &InstalledModel,
    downloading: bool,
    stack_text: &str,
    asked: &RemoveModelRequest,
) -> Result<RemovedModel, ApiError> {
    let removal = cache::removal(&look.scan, &model.id).ok_or_else(|| unknown(&model.id))?;
    let protected = if downloading {
        Some(format!("{} is being downloaded.", model.repo))
    } else {
        users::protected(&model.used_by, asked.even_if_configured).or_else(|| {
            // A stack file that does not hold has no agents, and still says what is wanted.
            let named = !asked.even_if_configured && stack_text.contains(&format!("\"{}\"", model.model));
            named.then(|| "The stack file names it.".to_owned())
        })
    };
    let answer = |removed, freed_bytes, files: usize| RemovedModel {
        removed,
        freed_bytes,
        files: files as u64,
        protected: protected.clone(),
        users: model.used_by.clone(),
    };
    if protected.is_some() || asked.dry_run {
        return Ok(answer(false, removal.freed, removal.files));
    }
    match cache::remove(&removal, &User::current()) {
        Ok(done) => Ok(answer(true, done.freed, done.files)),
        Err(error) => {
            let code = match error {
                RemoveError::Downloading { .. } | RemoveError::Open { .. } => Code::Busy,
                _ => Code::Failed,
            };
            Err(ApiError::new(code, error.to_string(), error.next()))
        }
    }
}

/// Tells of its progress, then of the model. It ends when nobody listens any more, and leaves nothing then.
pub(crate) async fn import(
    ctx: &Ctx,
    asked: &ImportModelRequest,
    out: mpsc::Sender<Value>,
) -> Result<(), ApiError> {
    let (hub, asked, to) = (ctx.world.paths.hub.clone(), asked.clone(), out.clone());
    let brought = tokio::task::spawn_blocking(move || {
        let mut last = Hashing::default();
        let imported = bring(&hub, &asked, &mut teller(&to, &mut last))?;
        Ok::<_, ApiError>((imported, last))
    });
    let (imported, last) = brought.await.map_err(|_| broken())??;
    changed(ctx).await;
    let model = found(list(ctx).await?, &imported)?;
    let done = ImportProgress { model: Some(model), ..import_progress(&last) };
    if let Ok(chunk) = serde_json::to_value(done) {
        let _ = out.send(chunk).await;
    }
    Ok(())
}

/// Hears of every piece, tells of some, and says no as soon as nobody listens.
fn teller<'a>(out: &'a mpsc::Sender<Value>, last: &'a mut Hashing) -> impl FnMut(&Hashing) -> bool + 'a {
    let mut told: Option<Instant> = None;
    move |at: &Hashing| {
        at.clone_into(last);
        if told.is_none_or(|told| told.elapsed() >= TELL_EVERY) {
            told = Some(Instant::now());
            if let Ok(chunk) = serde_json::to_value(import_progress(at)) {
                // One that is not taken in time is not missed: nobody's slowness holds the copying up.
                let _ = out.try_send(chunk);
            }
        }
        !out.is_closed()
    }
}

fn import_progress(at: &Hashing) -> ImportProgress {
    ImportProgress { file: at.file.clone(), done_bytes: at.done, total_bytes: at.total, model: None }
}

fn bring(
    hub: &std::path::Path,
    asked: &ImportModelRequest,
    tell: &mut dyn FnMut(&Hashing) -> bool,
) -> Result<cache::Imported, ApiError> {
    let path = std::path::Path::new(&asked.path);
    if !path.is_absolute() {
        return Err(ApiError::new(
            Code::Usage,
            format!("{} is no whole path.", path.display()),
            "Give it from the root of the disk.",
        ));
    }
    cache::import(hub, path, asked.repo.as_deref(), tell).map_err(|error| {
        let code = match error {
            ImportError::BadName(_) => Code::Usage,
            ImportError::NotThere(_) => Code::Unknown,
            ImportError::Cancelled => Code::Cancelled,
            _ => Code::Failed,
        };
        ApiError::new(code, error.to_string(), error.next())
    })
}

fn found(all: InstalledModels, imported: &cache::Imported) -> Result<InstalledModel, ApiError> {
    let is_it = |m: &InstalledModel| {
        m.repo == imported.repo
            && m.commit == imported.commit
            && imported.gguf.as_ref().is_none_or(|file| m.path.ends_with(file.as_str()))
    };
    all.models.into_iter().find(is_it).ok_or_else(broken)
}

pub(crate) async fn verify(ctx: &Ctx, id: &str, out: mpsc::Sender<Value>) -> Result<(), ApiError> {
    let look = look(ctx).await?;
    let seen = find(&look, id)?.installed.id.clone();
    let paths = ctx.world.paths.clone();
    let verified = tokio::task::spawn_blocking(move || {
        // Nobody listens any more: then there is no point in going on.
        hash(&look, &seen, &paths, &mut |progress| {
            serde_json::to_value(progress).is_ok_and(|chunk| out.blocking_send(chunk).is_ok())
        })
    });
    verified.await.map_err(|_| broken())?;
    ctx.state.tell(Event::ModelsChanged).await;
    Ok(())
}

/// Hashes a model, tells of it, and remembers what was right. None where it was ended.
fn hash(
    look: &Look,
    id: &str,
    paths: &Paths,
    tell: &mut dyn FnMut(&VerifyProgress) -> bool,
) -> Option<VerifyProgress> {
    let seen = look.models.iter().find(|seen| seen.installed.id == id)?;
    let (repo, snapshot) = look.place_of(&seen.installed)?;
    let mut told: Option<Instant> = None;
    let mut last = Hashing::default();
    let found = cache::verify(repo, snapshot, &seen.installed.parts, &mut |at| {
        at.clone_into(&mut last);
        if told.is_some_and(|told| told.elapsed() < TELL_EVERY) {
            return true;
        }
        told = Some(Instant::now());
        tell(&progress(at, false))
    })?;
    let file = marks_file(paths);
    let mut marks = Marks::read(&file);
    marks.forget(repo, snapshot, &seen.installed.parts);
    marks.add(&found.right, &Timestamp::now().to_string());
    if let Err(error) = marks.write(&file) {
        tracing::warn!("what was verified could not be remembered: {error}");
    }
    let done = VerifyProgress { damaged: found.damaged, unknown: found.unknown, ..progress(&last, true) };
    tell(&done);
    Some(done)
}

fn progress(at: &Hashing, done: bool) -> VerifyProgress {
    VerifyProgress {
        file: at.file.clone(),
        done_bytes: at.done,
        total_bytes: at.total,
        done,
        damaged: Vec::new(),
        unknown: Vec::new(),
    }
}

/// What downloads of this repository brought was hashed on the way. Only of one that fetched all of its bytes itself:
/// what others had put there before was not read.
pub(crate) async fn arrived(ctx: &Ctx, repo: &str) {
    let brought: Vec<(String, Vec<String>)> = crate::downloads::list(ctx)
        .downloads
        .into_iter()
        .filter(|d| d.repo == repo && d.state == DownloadState::Done)
        .filter(|d| d.total_bytes.is_some_and(|total| d.fetched_bytes >= total))
        .filter_map(|d| {
            let files = crate::downloads::detail(ctx, &d.id).ok()?.files;
            Some((d.commit?, files.into_iter().map(|f| f.path).collect()))
        })
        .collect();
    ctx.world.models.forget();
    let Ok(look) = look(ctx).await else { return };
    let (repo, file) = (repo.to_owned(), marks_file(&ctx.world.paths));
    let remembered = tokio::task::spawn_blocking(move || {
        let Some(repo) = look.scan.repos.iter().find(|r| r.id == repo) else { return Ok(()) };
        let mut marks = Marks::read(&file);
        for (commit, files) in &brought {
            if let Some(snapshot) = repo.snapshots.iter().find(|s| s.commit == *commit) {
                marks.add(&cache::stamps(repo, snapshot, files), &Timestamp::now().to_string());
            }
        }
        marks.write(&file)
    });
    if let Ok(Err(error)) = remembered.await {
        tracing::warn!("what was verified could not be remembered: {error}");
    }
    ctx.state.tell(Event::ModelsChanged).await;
}

/// Faces look again.
async fn changed(ctx: &Ctx) {
    ctx.world.models.forget();
    ctx.state.tell(Event::ModelsChanged).await;
}
