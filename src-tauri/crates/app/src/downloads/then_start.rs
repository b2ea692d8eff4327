//! The profile that is started once what it needs is here.

use std::collections::BTreeSet;

use api::shapes::status::Severity;
use api::{ApiError, Code};
use domain::plan::Goal;
use domain::schedule::PersonAct;
use domain::stack::{HubFile, Stack};
use tokio::sync::mpsc;

use super::line::Told;
use crate::activity::happened;
use crate::carry::Ctx;
use crate::run_loop::Wish;
use crate::wake;

/// The key in the settings.
pub(super) const KEPT: &str = "download_then_start";

/// From now on that profile is waited for; none: nothing is. It is started at once where all it needs is here.
pub(crate) async fn then_start(ctx: &Ctx, profile: Option<String>) -> Result<(), ApiError> {
    if let Some(profile) = &profile
        && ctx.state.state().stack.profile(profile).is_none()
    {
        return Err(ApiError::new(
            Code::Unknown,
            format!("There is no profile {profile:?} in the stack."),
            "See the profiles with: asgard status",
        ));
    }
    keep(ctx, profile).await;
    let ctx = ctx.clone();
    tokio::spawn(async move { look(&ctx).await });
    Ok(())
}

/// Hears what the line tells, and looks after each arrival whether it was the last.
pub(super) async fn run(ctx: Ctx, mut told: mpsc::UnboundedReceiver<Told>) {
    look(&ctx).await;
    while let Some(told) = told.recv().await {
        match told {
            Told::Happened(severity, words) => happened(&ctx, severity, None, words),
            Told::Arrived(repo) => {
                crate::installed::arrived(&ctx, &repo).await;
                // What a model takes is known better from its own files, and plans are to know it.
                if ctx.state.state().file_stack.agents.iter().any(|a| repo_of(&a.model) == repo) {
                    crate::stack_watch::read_again(&ctx).await;
                }
                let ctx = ctx.clone();
                // A switch takes minutes; the next arrival is told of meanwhile.
                tokio::spawn(async move { look(&ctx).await });
            }
        }
    }
}

/// What a person cancelled is not waited for.
pub(super) async fn cancelled(ctx: &Ctx, id: &str) {
    let Some(profile) = ctx.downloads.desk().then_start.clone() else { return };
    let Ok(detail) = ctx.downloads.detail(id) else { return };
    if needed(&ctx.state.state().stack, &profile).contains(&detail.download.repo) {
        keep(ctx, None).await;
        let words = format!("{profile} is not started: {} was cancelled.", detail.download.title);
        happened(ctx, Severity::Info, None, words);
    }
}

async fn keep(ctx: &Ctx, profile: Option<String>) {
    let value = serde_json::json!(profile);
    ctx.downloads.desk().then_start = profile;
    ctx.downloads.show_again();
    if ctx.world.database(move |db| db.set_setting(KEPT, &value).is_ok()).await != Some(true) {
        tracing::warn!("Which profile waits for its models could not be kept.");
    }
}

/// Starts the profile that is waited for, if all it needs is here.
async fn look(ctx: &Ctx) {
    loop {
        let Some(profile) = ctx.downloads.desk().then_start.clone() else { return };
        let state = ctx.state.state();
        let Some(wanted) = state.stack.profile(&profile) else {
            keep(ctx, None).await;
            return;
        };
        let unfinished = ctx.downloads.unfinished();
        let servers = wanted.servers(&state.stack);
        let agents = servers.iter().filter_map(|name| state.stack.agent(name));
        let missing = agents.filter(|a| a.is_ours()).any(|agent| {
            unfinished.contains(&repo_of(&agent.model)) || wake::model_is_there(ctx, agent).is_err()
        });
        if missing {
            return;
        }
        if state.operation.is_some() {
            ctx.state.until(|s| s.operation.is_none()).await;
            continue;
        }
        // Of two that look at once, one finds nothing any more.
        let mine = ctx.downloads.desk().then_start.take_if(|waited| *waited == profile).is_some();
        if !mine {
            return;
        }
        keep(ctx, None).await;
        happened(ctx, Severity::Info, None, format!("All models of {profile} are here: it is started."));
        match ctx.state.wish(Wish::new(Goal::Profile(profile.clone()), profile.clone())).await {
            Ok(_) => ctx.gate.person(PersonAct::Switched),
            // Somebody else was quicker; theirs is waited for.
            Err(error) if error.code == Code::Busy => {
                keep(ctx, Some(profile)).await;
                ctx.state.until(|s| s.operation.is_none()).await;
                continue;
            }
            Err(error) => {
                let words = format!("{profile} could not be started: {} {}", error.message, error.next);
                happened(ctx, Severity::Failure, None, words);
            }
        }
        return;
    }
}

/// Repositories of the agents of a profile.
fn needed(stack: &Stack, profile: &str) -> BTreeSet<String> {
    let Some(profile) = stack.profile(profile) else { return BTreeSet::new() };
    let servers = profile.servers(stack);
    servers.iter().filter_map(|name| stack.agent(name)).map(|a| repo_of(&a.model)).collect()
}

/// The repository of a model as a stack names it.
fn repo_of(model: &str) -> String {
    HubFile::parse(model).map_or_else(|| model.to_owned(), |file| file.repo)
}
