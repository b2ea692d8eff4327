//! The first steps on a machine: what was found, what is proposed, and what the person made of it.
//!
//! It is offered while no stack file was ever written and nobody has skipped it. Nothing here is done before the person
//! asks for it, and everything of it can be done later in its own place: presets in Settings, models in Models.

mod household;
mod machine;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use api::shapes::assign::{FinishFirstRunRequest, FirstEngine, FirstImage, FirstRun};
use api::shapes::doctor::DoctorStatus;
use api::shapes::downloads::PullRequest;
use api::shapes::status::Severity;
use api::{ApiError, Code};
use domain::memory::Bytes;
use domain::plan::{Situation, ledgers};
use domain::stack::{Agent, Runs, Stack};
use engine::{Engine, StartProgress};
use serde_json::json;
use store::stack_file::{self, edit, presets};

use crate::activity::happened;
use crate::carry::Ctx;
use crate::here::Here;
use crate::state::{Event, State};
use crate::{discover, doctor, downloads, images, stack_watch, stacks};

use self::machine::Bounds;

/// The key in the settings.
const KEPT: &str = "first_run";
/// Lets a rehearsal offer the first steps too.
const PLAYED: &str = "ASGARD_REHEARSAL_FIRST_RUN";
/// The readiness checks take longer where a disk sleeps; the window asks for them by themselves as well.
const CHECKS: Duration = Duration::from_millis(800);
const ENGINE: Duration = Duration::from_secs(2);

pub(crate) async fn first_run(ctx: &Ctx) -> Result<FirstRun, ApiError> {
    let state = ctx.state.state();
    let due = due(ctx, &state).await;
    let engine = engine(ctx, &state, due).await;
    let scale = ctx.world.scale();
    let world = ctx.world.clone();
    let gpu = state.gpu;
    let pools = state.pools.clone();
    let of_machine = world.machine.clone();
    let (reading, proposed) = tokio::task::spawn_blocking(move || {
        let ground = stacks::Ground { paths: world.paths.clone(), scale, pools };
        (of_machine.read(), machine::preset(&ground, gpu))
    })
    .await
    .map_err(|_| ApiError::new(Code::Failed, "This machine could not be looked at.", "Try it again."))?;
    // What stands in the file already is looked at as it is.
    let (stack, preset) = match proposed.filter(|_| !state.source.saved) {
        Some((preset, stack)) => (stack, Some(preset.name.to_owned())),
        None => (state.file_stack.as_ref().clone(), None),
    };
    let bounds = bounds(&state, &stack);
    let image = image(ctx, &stack).await;
    let curated = discover::curated(ctx).models;
    let here = Here::in_world(&ctx.world, gpu);
    let hub = ctx.world.paths.hub.clone();
    let base = stack.base.clone();
    let models = tokio::task::spawn_blocking(move || household::models(&stack, &curated, &here, &hub, scale))
        .await
        .unwrap_or_default();
    Ok(FirstRun {
        due,
        engine,
        machine: machine::words(&state.pools, ctx.world.rehearsal.is_some()),
        gpu: machine::gpu(&reading, gpu),
        preset,
        capacity_bytes: bounds.as_ref().map(|b| b.capacity.0),
        limit_bytes: bounds.as_ref().map(|b| b.limit.0),
        least_limit_bytes: bounds.as_ref().map(|b| b.least.0),
        most_limit_bytes: bounds.as_ref().map(|b| b.most.0),
        other_bytes: bounds.as_ref().map(|b| b.other.0),
        models,
        image,
        free_bytes: downloads::list(ctx).free_bytes.or_else(|| free_bytes(&ctx.world.paths.hub)),
        base,
    })
}

fn free_bytes(folder: &Path) -> Option<u64> {
    let there = folder.ancestors().find(|p| p.exists())?;
    let disk = rustix::fs::statvfs(there).ok()?;
    Some(disk.f_bavail.saturating_mul(disk.f_frsize))
}

async fn due(ctx: &Ctx, state: &State) -> bool {
    let played =
        ctx.world.rehearsal.as_ref().is_some_and(|r| r.env.iter().any(|(k, v)| k == PLAYED && v == "1"));
    if state.source.saved || ctx.world.rehearsal.is_some() && !played {
        return false;
    }
    let kept = ctx.world.database(|db| db.setting(KEPT).ok().flatten()).await.flatten();
    kept.is_none()
}

/// Nothing is offered again from now on.
async fn done(ctx: &Ctx) -> Result<(), ApiError> {
    let value = json!({"done": jiff::Timestamp::now().to_string()});
    match ctx.world.database(move |db| db.set_setting(KEPT, &value).is_ok()).await {
        Some(true) => Ok(()),
        _ => Err(ApiError::new(
            Code::Failed,
            "That the first steps are done could not be kept.",
            "Check the disk that holds Asgard's data folder.",
        )),
    }
}

async fn engine(ctx: &Ctx, state: &State, due: bool) -> FirstEngine {
    let probe = tokio::time::timeout(ENGINE, ctx.world.containers.probe());
    let checks = async {
        // Whom nothing is offered, nothing is checked for.
        if !due {
            return Vec::new();
        }
        let all = tokio::time::timeout(CHECKS, doctor::doctor(ctx)).await;
        let open = all.map(|d| d.checks).unwrap_or_default().into_iter();
        // Models and images come with the last step.
        let here = open.filter(|c| !["images", "models", "disk_models"].contains(&c.id.as_str()));
        here.filter(|c| matches!(c.status, DoctorStatus::Warn | DoctorStatus::Fail))
            .map(|c| (c.id.clone(), c.fix.clone(), format!("{}: {}", c.title, c.found)))
            .collect()
    };
    let (probe, checks) = tokio::join!(probe, checks);
    let advice = checks.iter().map(|(_, _, words)| words.clone()).collect();
    let fix = checks
        .iter()
        .find(|(id, _, _)| id == "engine" || id == "engine_socket")
        .and_then(|(_, f, _)| f.clone());
    let missing = |problem: String, next: String| FirstEngine {
        found: false,
        title: if state.rehearsal { "Stand-ins".to_owned() } else { "No engine".to_owned() },
        // Stand-ins play as processes where there is none.
        problem: (!state.rehearsal).then_some(problem),
        next: (!state.rehearsal).then_some(next),
        command: fix.clone(),
        advice: Vec::clone(&advice),
    };
    match probe {
        Ok(Ok(info)) => FirstEngine {
            found: true,
            title: machine::engine_words(info.kind, info.version.as_deref()),
            problem: None,
            next: None,
            command: None,
            advice,
        },
        Ok(Err(error)) => missing(error.message, error.next),
        Err(_) => missing(
            "The container engine does not answer.".to_owned(),
            "Look whether it is running, then look again.".to_owned(),
        ),
    }
}

/// The pool that agents live in, its limit with this stack, and between what a limit may be chosen. None of several
/// pools, of which one number would not say which is meant.
fn bounds(state: &State, stack: &Stack) -> Option<Bounds> {
    let [pool] = state.pools.as_slice() else { return None };
    let situation =
        Situation { running: state.situation().running, pools: state.pools.clone(), ..Situation::default() };
    let ledger = ledgers(stack, &situation).ok()?.into_iter().next()?;
    Some(machine::bounds(pool, &ledger))
}

/// The image that the base profile's agents run in.
fn image_of(stack: &Stack) -> Option<(&Agent, &str)> {
    let base = stack.profile(&stack.base)?;
    base.servers(stack).iter().filter_map(|name| stack.agent(name)).find_map(|agent| match &agent.runs {
        Runs::Container { image, .. } => Some((agent, image.as_str())),
        _ => None,
    })
}

async fn image(ctx: &Ctx, stack: &Stack) -> Option<FirstImage> {
    // Stand-ins need none.
    if ctx.world.rehearsal.is_some() {
        return None;
    }
    let (agent, image) = image_of(stack)?;
    let reference = ctx.world.pins.resolve(Some(&agent.name), image);
    let present = tokio::time::timeout(ENGINE, ctx.world.containers.image_exists(&reference)).await;
    Some(FirstImage { reference: image.to_owned(), bytes: None, present: matches!(present, Ok(Ok(true))) })
}

/// # Errors
/// A preset that there is not, a limit out of bounds, a file that cannot be written; what was done before that stays.
pub(crate) async fn finish(ctx: &Ctx, asked: &FinishFirstRunRequest) -> Result<FirstRun, ApiError> {
    if asked.skip {
        done(ctx).await?;
        return first_run(ctx).await;
    }
    write_stack(ctx, asked).await?;
    done(ctx).await?;
    let state = ctx.state.state();
    let wanted: Vec<PullRequest> = household::pulls(&state.file_stack, &asked.models);
    let mut refused = Vec::new();
    for pull in &wanted {
        // One that is not to be had keeps none of the others.
        if let Err(error) = downloads::pull(ctx, pull).await {
            refused.push(format!("{}: {}", pull.repo, error.message));
        }
    }
    if asked.start {
        downloads::then_start(ctx, Some(state.file_stack.base.clone())).await?;
    }
    fetch_image(ctx, &state.file_stack);
    if let Some(first) = refused.first() {
        happened(ctx, Severity::Failure, None, format!("It could not be put into the queue. {first}"));
    }
    first_run(ctx).await
}

/// The preset's text, or the one in force, with the limit; every comment of it stays.
async fn write_stack(ctx: &Ctx, asked: &FinishFirstRunRequest) -> Result<(), ApiError> {
    let state = ctx.state.state();
    let scale = ctx.world.scale();
    let text = match &asked.preset {
        None => state.source.text.clone(),
        Some(name) => {
            let preset = presets::find(name).ok_or_else(|| {
                ApiError::new(
                    Code::Unknown,
                    format!("There is no preset {name:?}."),
                    "See them with: asgard preset list",
                )
            })?;
            if preset.scale > 1 && scale == 1 {
                return Err(ApiError::new(
                    Code::Usage,
                    format!("{} plays on a machine of its own.", preset.name),
                    "Choose another preset.",
                ));
            }
            preset.text_scaled(scale)
        }
    };
    if asked.preset.is_none() && asked.limit_bytes.is_none() && state.source.saved {
        return Ok(());
    }
    let path = ctx.world.paths.stack_file();
    let here = Here::in_world(&ctx.world, state.gpu);
    let text = with_limit(&text, asked.limit_bytes, scale)?;
    let stack = stack_file::check_on(&path, &text, scale, &here).map_err(|problems| {
        let first = problems.first().map(|p| (p.message.clone(), p.next.clone())).unwrap_or_default();
        ApiError::new(Code::Stack, first.0, first.1)
    })?;
    if let (Some(limit), Some(bounds)) = (asked.limit_bytes, bounds(&state, &stack)) {
        bounds.allow(Bytes(limit))?;
    }
    let stamp = jiff::Timestamp::now().strftime("%Y%m%d-%H%M%S").to_string();
    edit::save(&path, &text, &stamp).map_err(|e| stacks::not_written(&e))?;
    if asked.preset.is_some() {
        // What Asgard ships needs nobody's word.
        store::confirm::clear(&ctx.world.paths.unconfirmed_file())
            .map_err(|e| ApiError::new(Code::Failed, e.to_string(), "Remove the file it names."))?;
    }
    stack_watch::read_again(ctx).await;
    Ok(())
}

fn with_limit(text: &str, limit: Option<u64>, scale: u64) -> Result<String, ApiError> {
    let Some(limit) = limit else { return Ok(text.to_owned()) };
    let limit = machine::written(Bytes(limit), scale);
    edit::edit(text, &[edit::Edit::MemoryLimit { limit }])
        .map_err(|e| ApiError::new(Code::Usage, e.message, e.next))
}

/// Brings the images of the base profile while the models come; a switch would do it, and only then.
fn fetch_image(ctx: &Ctx, stack: &Stack) {
    if ctx.world.rehearsal.is_some() {
        return;
    }
    let Some(base) = stack.profile(&stack.base) else { return };
    let mut seen = BTreeSet::new();
    let agents: Vec<(Agent, String)> = base
        .servers(stack)
        .iter()
        .filter_map(|name| stack.agent(name))
        .filter_map(|agent| match &agent.runs {
            Runs::Container { image, .. } => {
                Some((agent.clone(), ctx.world.pins.resolve(Some(&agent.name), image)))
            }
            _ => None,
        })
        .filter(|(_, image)| seen.insert(image.clone()))
        .collect();
    let ctx = ctx.clone();
    tokio::spawn(async move {
        for (agent, image) in agents {
            if !matches!(ctx.world.containers.image_exists(&image).await, Ok(false)) {
                continue;
            }
            happened(&ctx, Severity::Info, None, format!("The image {image} is fetched."));
            // The switch that waits for it shows how far it is.
            let mut on = |_: StartProgress| {};
            match ctx.world.containers.pull_reference(&image, &mut on).await {
                Ok(()) => {
                    images::write_down(&ctx, &agent).await;
                    let to_pull = ctx.world.missing_images(&ctx.state.state().stack).await;
                    ctx.state.tell(Event::ImagesSeen { to_pull }).await;
                    happened(&ctx, Severity::Info, None, format!("The image {image} is here."));
                }
                Err(error) => {
                    let words = format!("The image {image} could not be fetched: {}", error.message);
                    happened(&ctx, Severity::Failure, None, words);
                }
            }
        }
    });
}
