//! The profile that is started once what it needs is here.
//!
//! It is started once, and not behind anybody's back: a cancelled download, another profile, or everybody sent to sleep
//! takes the wish back, and a failed download is said to hold it up. It survives the controller.

use std::collections::BTreeSet;
use std::sync::PoisonError;

use api::shapes::plans::OutcomeKind;
use api::shapes::status::Severity;
use api::{ApiError, Code};
use domain::download::queue::Phase;
use domain::plan::Goal;
use domain::schedule::PersonAct;
use domain::stack::{HubFile, Stack};
use tokio::sync::mpsc;

use super::line::{Line, Told};
use crate::activity::happened;
use crate::carry::Ctx;
use crate::run_loop::Wish;
use crate::wake;

/// The key in the settings.
pub(super) const KEPT: &str = "download_then_start";

/// A model that the profile's agents need.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Need {
    /// As an agent's `model` says it.
    pub(super) model: String,
    /// An agent could be started with it.
    pub(super) here: bool,
}

/// What the household says of the profile that is waited for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Facts {
    /// None: the stack has no such profile any more.
    pub(super) needs: Option<Vec<Need>>,
    /// An operation is under way.
    pub(super) busy: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Turn {
    /// Nothing is waited for, or not all of it is here.
    Rest,
    /// All of it is here, and something else is under way.
    AfterWhatRuns,
    /// It is waited for no more: whoever is told this starts it, and nobody else is.
    Start(String),
    /// It is waited for no more: why, in a sentence.
    Forgotten(String),
}

impl Line {
    pub(super) fn waits_for(&self) -> Option<String> {
        self.desk().then_start.clone()
    }

    /// From now on this is waited for, through restarts too.
    pub(super) async fn wait_for(&self, profile: Option<String>) {
        self.desk().then_start.clone_from(&profile);
        self.show_again();
        self.write_wait(profile).await;
    }

    async fn write_wait(&self, profile: Option<String>) {
        let (database, value) = (self.inner.database.clone(), serde_json::json!(profile));
        let written = tokio::task::spawn_blocking(move || {
            database.lock().unwrap_or_else(PoisonError::into_inner).set_setting(KEPT, &value).is_ok()
        });
        if !written.await.unwrap_or(false) {
            tracing::warn!("Which profile waits for its models could not be kept.");
        }
    }

    /// What an earlier run waited for.
    pub(super) async fn recall_wait(&self) {
        let database = self.inner.database.clone();
        let kept = tokio::task::spawn_blocking(move || {
            database.lock().unwrap_or_else(PoisonError::into_inner).setting(KEPT).ok().flatten()
        });
        let kept = kept.await.ok().flatten();
        self.desk().then_start = kept.and_then(|v| v.as_str().map(str::to_owned));
    }

    /// What is to be done about the profile that is waited for, by what the household says of it.
    pub(super) async fn turn(&self, facts: impl Fn(&str) -> Facts) -> Turn {
        let Some(profile) = self.waits_for() else { return Turn::Rest };
        let facts = facts(&profile);
        let turn = match facts.needs {
            None => Turn::Forgotten(format!("{profile} is not started: the stack has no such profile.")),
            Some(needs) => {
                if needs.iter().any(|need| !need.here || self.is_on_its_way(&need.model)) {
                    return Turn::Rest;
                }
                if facts.busy {
                    return Turn::AfterWhatRuns;
                }
                Turn::Start(profile.clone())
            }
        };
        // Of two that look at once, one finds nothing any more.
        if self.desk().then_start.take_if(|waited| *waited == profile).is_none() {
            return Turn::Rest;
        }
        self.show_again();
        self.write_wait(None).await;
        turn
    }

    /// Whether a download in the line is to bring this model. One of another file of the same repository is none of it.
    fn is_on_its_way(&self, model: &str) -> bool {
        let (repo, desk) = (repo_of(model), self.desk());
        let file = repo != model;
        let is_it = |item: &super::item::Item| {
            let known = item.found.as_ref().is_some_and(|f| HubFile::parse(&f.model).is_some());
            item.asked.repo == repo && (!file || !known || item.model == model)
        };
        desk.items.values().any(|i| is_it(i) && desk.queue.phase(i.id) != Some(Phase::Done))
    }

    /// The person took one of its downloads out of the line: it is not waited for any more, and why.
    pub(super) async fn wait_is_cancelled(
        &self,
        id: &str,
        needed: impl Fn(&str) -> BTreeSet<String>,
    ) -> Option<String> {
        let profile = self.waits_for()?;
        let download = self.detail(id).ok()?.download;
        if !needed(&profile).contains(&download.repo) {
            return None;
        }
        self.wait_for(None).await;
        Some(format!("{profile} is not started: {} was cancelled.", download.title))
    }

    /// One of its downloads failed: what is said of that. It is waited on, because a second try may bring it.
    pub(super) fn wait_is_held_up(
        &self,
        repo: &str,
        title: &str,
        needed: impl Fn(&str) -> BTreeSet<String>,
    ) -> Option<String> {
        let profile = self.waits_for()?;
        needed(&profile).contains(repo).then(|| {
            format!(
                "{profile} is not started before {title} is here: try that again, or cancel it in Downloads."
            )
        })
    }

    /// The person chose a profile, or to have nobody awake: another is not started behind their back. What was waited
    /// for, where that is over by it.
    pub(crate) async fn wait_is_over(&self, chosen: Option<&str>) -> Option<Over> {
        let profile = self.waits_for()?;
        self.wait_for(None).await;
        let other = chosen != Some(profile.as_str());
        Some(Over { profile, other })
    }

    /// What was chosen instead did not come to be. Nothing younger is overwritten.
    pub(crate) async fn wait_again(&self, over: Option<Over>) {
        if let Some(over) = over
            && self.waits_for().is_none()
        {
            self.wait_for(Some(over.profile)).await;
        }
    }
}

/// A profile that is waited for no more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Over {
    profile: String,
    /// It was not the one that was chosen.
    other: bool,
}

impl Over {
    /// For Activity, where it is worth a line.
    pub(crate) fn words(&self) -> Option<String> {
        let profile = &self.profile;
        self.other
            .then(|| format!("{profile} is not started once its models are here: something else was chosen."))
    }
}

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
    ctx.downloads.wait_for(profile).await;
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
            Told::Failed { repo, title } => {
                let needed = |profile: &str| needed(&ctx.state.state().stack, profile);
                if let Some(words) = ctx.downloads.wait_is_held_up(&repo, &title, needed) {
                    happened(&ctx, Severity::Warning, None, words);
                }
            }
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
    let needed = |profile: &str| needed(&ctx.state.state().stack, profile);
    if let Some(words) = ctx.downloads.wait_is_cancelled(id, needed).await {
        happened(ctx, Severity::Info, None, words);
    }
}

/// Starts the profile that is waited for, if all it needs is here.
async fn look(ctx: &Ctx) {
    loop {
        let profile = match ctx.downloads.turn(|profile| facts(ctx, profile)).await {
            Turn::Rest => return,
            Turn::Forgotten(words) => return happened(ctx, Severity::Info, None, words),
            Turn::AfterWhatRuns => {
                ctx.state.until(|s| s.operation.is_none()).await;
                continue;
            }
            Turn::Start(profile) => profile,
        };
        happened(ctx, Severity::Info, None, format!("All models of {profile} are here: it is started."));
        match ctx.state.wish(Wish::new(Goal::Profile(profile.clone()), profile.clone())).await {
            Ok(outcome) => {
                if outcome.result == OutcomeKind::Done {
                    ctx.gate.person(PersonAct::Switched);
                }
            }
            // Somebody else was quicker; theirs is waited for.
            Err(error) if error.code == Code::Busy => {
                ctx.downloads.wait_again(Some(Over { profile, other: false })).await;
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

fn facts(ctx: &Ctx, profile: &str) -> Facts {
    let state = ctx.state.state();
    let needs = state.stack.profile(profile).map(|wanted| {
        let servers = wanted.servers(&state.stack);
        let agents = servers.iter().filter_map(|name| state.stack.agent(name)).filter(|a| a.is_ours());
        let need = |agent: &domain::stack::Agent| Need {
            model: agent.model.clone(),
            here: wake::model_is_there(ctx, agent).is_ok(),
        };
        agents.map(need).collect()
    });
    Facts { needs, busy: state.operation.is_some() }
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
