//! Container images: each tag's digest is written down when it is first used, a newer one is tried on one agent, and
//! the one before can be taken again.

use std::collections::BTreeMap;
use std::sync::{PoisonError, RwLock};

use api::shapes::images::{Image, ImageRequest, Images, TryImageRequest};
use api::shapes::status::Severity;
use api::{ApiError, Code};
use domain::agent::AgentName;
use domain::plan::Goal;
use domain::stack::{Agent, BackendKind, Runs};
use engine::backend::flags::{FlagSet, fit_launch};
use engine::container::images::{ServerFacts, pinned};
use engine::{EngineError, ErrorKind, Launch, Program, StartProgress};
use jiff::Timestamp;
use store::database::{ImageRecord, VersionRecord};

use crate::activity::happened;
use crate::carry::Ctx;
use crate::run_loop::Wish;
use crate::state::Event;

/// Which digest stands for which reference. One value, read at the start, written with the database.
#[derive(Debug, Default)]
pub(crate) struct Pins {
    by_reference: RwLock<BTreeMap<String, String>>,
    /// The one agent that a newer image is tried on.
    trial: RwLock<Option<(AgentName, String)>>,
}

impl Pins {
    pub(crate) fn load(records: &[ImageRecord]) -> Self {
        let known = records.iter().filter_map(|r| Some((r.reference.clone(), r.digest.clone()?)));
        Self { by_reference: RwLock::new(known.collect()), trial: RwLock::default() }
    }

    fn digest(&self, agent: Option<&AgentName>, reference: &str) -> Option<String> {
        let trial = self.trial.read().unwrap_or_else(PoisonError::into_inner);
        if let Some((tried_on, digest)) = trial.as_ref()
            && agent == Some(tried_on)
        {
            return Some(digest.clone());
        }
        self.by_reference.read().unwrap_or_else(PoisonError::into_inner).get(reference).cloned()
    }

    /// What an agent's image is started as.
    pub(crate) fn resolve(&self, agent: Option<&AgentName>, reference: &str) -> String {
        match self.digest(agent, reference) {
            Some(digest) => pinned(reference, &digest),
            None => reference.to_owned(),
        }
    }

    fn put(&self, reference: &str, digest: &str) {
        let mut known = self.by_reference.write().unwrap_or_else(PoisonError::into_inner);
        known.insert(reference.to_owned(), digest.to_owned());
    }

    fn try_on(&self, trial: Option<(AgentName, String)>) {
        *self.trial.write().unwrap_or_else(PoisonError::into_inner) = trial;
    }
}

fn image_of(agent: &Agent) -> Option<&str> {
    match &agent.runs {
        Runs::Container { image, .. } => Some(image),
        Runs::Process { .. } | Runs::External { .. } | Runs::Ollama { .. } => None,
    }
}

/// A reference that names its digest itself needs none written down.
fn has_digest(reference: &str) -> bool {
    reference.contains("@sha256:") || reference.starts_with("sha256:")
}

async fn record(ctx: &Ctx, reference: &str) -> ImageRecord {
    let wanted = reference.to_owned();
    let known = ctx.world.database(move |db| db.image(&wanted).ok().flatten()).await.flatten();
    known.unwrap_or_else(|| ImageRecord { reference: reference.to_owned(), ..ImageRecord::default() })
}

async fn keep(ctx: &Ctx, record: ImageRecord) -> Result<(), ApiError> {
    let kept = ctx.world.database(move |db| db.put_image(&record).is_ok()).await;
    if kept == Some(true) {
        return Ok(());
    }
    Err(ApiError::new(
        Code::Failed,
        "What was found out about the image could not be kept.",
        "Check the disk that holds Asgard's data folder.",
    ))
}

/// Writes down which digest the agent's tag stands for, the first time that it is used.
pub(crate) async fn write_down(ctx: &Ctx, agent: &Agent) {
    let Some(reference) = image_of(agent).filter(|r| !has_digest(r) && ctx.world.rehearsal.is_none()) else {
        return;
    };
    let known = record(ctx, reference).await;
    if known.digest.is_some() {
        return;
    }
    let Ok(Some(digest)) = ctx.world.containers.digest(reference).await else { return };
    ctx.world.pins.put(reference, &digest);
    let now = Timestamp::now().to_string();
    let message = format!("{reference} is {} from now on.", short(&digest));
    if keep(ctx, ImageRecord { digest: Some(digest), since: Some(now), ..known }).await.is_ok() {
        happened(ctx, Severity::Info, None, message);
    }
}

fn short(digest: &str) -> String {
    digest.chars().take(19).collect()
}

/// What the image's server says of itself: read once for each digest, and kept.
async fn facts(ctx: &Ctx, reference: &str, backend: BackendKind) -> Option<ServerFacts> {
    let digest = ctx.world.containers.digest(reference).await.ok().flatten()?;
    let wanted = digest.clone();
    let known = ctx.world.database(move |db| db.image_version(&wanted).ok().flatten()).await.flatten();
    if let Some(known) = known {
        return Some(ServerFacts { version: known.version, flags: known.flags });
    }
    match ctx.world.containers.read_version(reference, backend).await {
        Ok(facts) => {
            let kept = VersionRecord {
                digest,
                backend: backend.word().to_owned(),
                version: facts.version.clone(),
                flags: facts.flags.clone(),
            };
            ctx.world.database(move |db| db.put_image_version(&kept).ok()).await;
            Some(facts)
        }
        Err(error) => {
            // A start must not fail because its image could not be asked.
            tracing::warn!("{reference} could not be asked for its version: {error}");
            None
        }
    }
}

/// What is kept of an image's server, without asking it: a preview must not wait for a container.
pub(crate) async fn kept_facts(ctx: &Ctx, reference: &str) -> Option<ServerFacts> {
    let digest = ctx.world.containers.digest(reference).await.ok().flatten()?;
    let known = ctx.world.database(move |db| db.image_version(&digest).ok().flatten()).await.flatten()?;
    Some(ServerFacts { version: known.version, flags: known.flags })
}

/// Fits a launch to the flags that the image's server takes: what has another name there is renamed, what is not
/// needed there is left out, and what it does not know is an error before anything is loaded.
pub(crate) async fn fit_flags(ctx: &Ctx, agent: &Agent, launch: &mut Launch) -> Result<(), EngineError> {
    let Program::Image { image, fallbacks, .. } = &launch.program else { return Ok(()) };
    let second: Vec<&str> = fallbacks.iter().map(|f| f.flag).collect();
    let Some(known) = facts(ctx, image, agent.backend).await.and_then(FlagSet::new) else { return Ok(()) };
    let dropped = fit_launch(launch, Some(&known));
    let unknown: Vec<&str> = dropped.iter().filter(|d| !d.harmless).map(|d| d.flag.as_str()).collect();
    if !unknown.is_empty() {
        return Err(EngineError::new(
            ErrorKind::Failed,
            format!("{} in this image does not know {}.", known.version(), unknown.join(", ")),
            format!("Remove it from args in [agents.{}], or use another image.", agent.name),
        ));
    }
    for lost in &dropped {
        tracing::info!("{}: {} is not passed as it is. {}", agent.name, lost.flag, lost.why);
        // What is claimed is told to the server in another way than planned: worth a line for the person.
        if second.contains(&lost.flag.as_str()) {
            happened(ctx, Severity::Info, Some(&agent.name), format!("{}: {}", agent.display_name, lost.why));
        }
    }
    Ok(())
}

pub(crate) async fn list(ctx: &Ctx) -> Images {
    let state = ctx.state.state();
    let mut by_reference: BTreeMap<String, Vec<&Agent>> = BTreeMap::new();
    for agent in &state.file_stack.agents {
        if let Some(reference) = image_of(agent) {
            by_reference.entry(reference.to_owned()).or_default().push(agent);
        }
    }
    let there = match ctx.world.containers.images().await {
        Ok(there) => there,
        Err(error) => {
            let error = Some(format!("{} {}", error.message, error.next));
            return Images { images: Vec::new(), free_bytes: None, error };
        }
    };
    let records = ctx.world.database(|db| db.images().unwrap_or_default()).await.unwrap_or_default();
    let versions = ctx.world.database(|db| db.image_versions().unwrap_or_default()).await.unwrap_or_default();
    let mut images = Vec::new();
    let mut shown: Vec<String> = Vec::new();
    for (reference, agents) in &by_reference {
        let record = records.iter().find(|r| &r.reference == reference).cloned().unwrap_or_default();
        let started_as = ctx.world.pins.resolve(None, reference);
        let digest = match record.digest.clone() {
            Some(digest) => Some(digest),
            None => ctx.world.containers.digest(reference).await.ok().flatten(),
        };
        let present = ctx.world.containers.image_exists(&started_as).await.unwrap_or(false);
        let facts = digest.as_deref().and_then(|d| {
            there.iter().find(|i| i.id == d || i.digests.iter().any(|known| known.ends_with(d)))
        });
        shown.extend(facts.map(|f| f.id.clone()));
        images.push(Image {
            reference: reference.clone(),
            version: digest
                .as_deref()
                .and_then(|d| versions.iter().find(|v| v.digest == d))
                .map(|v| v.version.clone()),
            digest,
            size_bytes: facts.map(|f| f.size),
            since: record.since,
            used_by: agents.iter().map(|a| a.name.to_string()).collect(),
            present,
            newer: record.newer,
            checked: record.checked,
            previous: record.previous,
            detail: record.detail,
        });
    }
    for image in there.iter().filter(|i| !i.used && !shown.contains(&i.id)) {
        let kept = records.iter().any(|r| {
            [&r.previous, &r.newer]
                .into_iter()
                .flatten()
                .any(|d| image.id == *d || image.digests.iter().any(|k| k.ends_with(d.as_str())))
        });
        let named = image.tags.first().or(image.digests.first()).cloned().unwrap_or_else(|| image.id.clone());
        images.push(Image {
            reference: named,
            digest: Some(image.id.clone()),
            version: versions.iter().find(|v| v.digest == image.id).map(|v| v.version.clone()),
            size_bytes: Some(image.size),
            since: None,
            used_by: Vec::new(),
            present: true,
            newer: None,
            checked: None,
            previous: None,
            detail: kept.then(|| "Kept for going back, or for trying.".to_owned()),
        });
    }
    let free_bytes = ctx.world.containers.free_disk().await.ok().flatten();
    Images { images, free_bytes, error: None }
}

/// Asks the registries what is under the tags now.
pub(crate) async fn check(ctx: &Ctx) -> Images {
    let references: Vec<String> = {
        let state = ctx.state.state();
        let all: std::collections::BTreeSet<&str> =
            state.file_stack.agents.iter().filter_map(image_of).collect();
        all.into_iter().filter(|r| !has_digest(r)).map(str::to_owned).collect()
    };
    for reference in references {
        let mut known = record(ctx, &reference).await;
        known.checked = Some(Timestamp::now().to_string());
        match ctx.world.containers.newest(&reference).await {
            Ok(newest) if known.digest.as_ref().is_some_and(|d| *d != newest) => {
                known.detail = Some(format!("{} is newer under this tag.", short(&newest)));
                known.newer = Some(newest);
            }
            Ok(_) => {
                known.newer = None;
                known.detail = Some("This is the newest under its tag.".to_owned());
            }
            Err(error) => known.detail = Some(format!("{} {}", error.message, error.next)),
        }
        let _ = keep(ctx, known).await;
    }
    list(ctx).await
}

async fn wish(ctx: &Ctx, goal: Goal, agent: &AgentName) -> Result<(), ApiError> {
    ctx.state.wish(Wish::new(goal, agent.to_string())).await.map(drop)
}

/// Pulls the newer image, starts one agent with it, and keeps it if the agent answers; else everything is as before.
pub(crate) async fn try_on(ctx: &Ctx, asked: &TryImageRequest) -> Result<Images, ApiError> {
    let state = ctx.state.state();
    let agent = AgentName::new(&asked.agent)
        .ok()
        .and_then(|n| state.file_stack.agent(&n).cloned())
        .filter(|a| image_of(a) == Some(asked.reference.as_str()))
        .ok_or_else(|| {
            ApiError::new(
                Code::Unknown,
                format!("No agent {:?} uses {}.", asked.agent, asked.reference),
                "Choose one of those that use the image.",
            )
        })?;
    let known = record(ctx, &asked.reference).await;
    let Some(newer) = known.newer.clone() else {
        return Err(ApiError::new(
            Code::Usage,
            format!("No newer image of {} is known.", asked.reference),
            "Check for newer ones first.",
        ));
    };
    if state.in_use(&agent.name) > 0 {
        return Err(ApiError::new(
            Code::Busy,
            format!("{} is in use.", agent.display_name),
            "Try again when it is idle, or choose another agent.",
        ));
    }
    let target = pinned(&asked.reference, &newer);
    let name = agent.name.clone();
    happened(
        ctx,
        Severity::Info,
        Some(&name),
        format!("{} is tried on {}.", short(&newer), agent.display_name),
    );
    let mut on = |_: StartProgress| {};
    ctx.world
        .containers
        .pull_reference(&target, &mut on)
        .await
        .map_err(|e| ApiError::new(Code::Failed, e.message, format!("{} Nothing was changed.", e.next)))?;
    let awake = state.agents.get(&name).is_some_and(|l| l.state.answers());
    if awake {
        wish(ctx, Goal::Asleep(name.clone()), &name).await?;
    }
    ctx.world.pins.try_on(Some((name.clone(), newer.clone())));
    let tried = wish(ctx, Goal::Awake(name.clone()), &name).await;
    ctx.world.pins.try_on(None);
    let now = Timestamp::now().to_string();
    match tried {
        Ok(()) => {
            ctx.world.pins.put(&asked.reference, &newer);
            let message = format!("{} answered with {}; it is kept.", agent.display_name, short(&newer));
            keep(
                ctx,
                ImageRecord {
                    previous: known.digest.clone(),
                    digest: Some(newer),
                    newer: None,
                    since: Some(now),
                    detail: Some(message.clone()),
                    ..known
                },
            )
            .await?;
            happened(ctx, Severity::Info, Some(&name), message);
            Ok(list(ctx).await)
        }
        Err(error) => {
            let message =
                format!("{} did not answer with {}: {}", agent.display_name, short(&newer), error.message);
            keep(ctx, ImageRecord { detail: Some(message.clone()), ..known }).await?;
            happened(ctx, Severity::Warning, Some(&name), message.clone());
            if awake {
                wish(ctx, Goal::Awake(name.clone()), &name).await?;
            }
            Err(ApiError::new(Code::Failed, message, "The image before is in force, as it was."))
        }
    }
}

/// Back to the digest before; agents that run the newer one and that nobody uses are restarted.
pub(crate) async fn undo(ctx: &Ctx, asked: &ImageRequest) -> Result<Images, ApiError> {
    let known = record(ctx, &asked.reference).await;
    let Some(previous) = known.previous.clone() else {
        return Err(ApiError::new(
            Code::Usage,
            format!("There is no earlier image of {} to go back to.", asked.reference),
            "Name another digest in the stack file.",
        ));
    };
    ctx.world.pins.put(&asked.reference, &previous);
    let message = format!("{} is {} again.", asked.reference, short(&previous));
    let since = Some(Timestamp::now().to_string());
    keep(
        ctx,
        ImageRecord {
            previous: known.digest.clone(),
            digest: Some(previous),
            since,
            detail: Some(message.clone()),
            ..known
        },
    )
    .await?;
    happened(ctx, Severity::Info, None, message);
    let state = ctx.state.state();
    for agent in state.file_stack.agents.iter().filter(|a| image_of(a) == Some(asked.reference.as_str())) {
        let idle = state.agents.get(&agent.name).is_some_and(|l| l.state.answers())
            && state.in_use(&agent.name) == 0;
        if idle {
            wish(ctx, Goal::Asleep(agent.name.clone()), &agent.name).await?;
            wish(ctx, Goal::Awake(agent.name.clone()), &agent.name).await?;
        }
    }
    Ok(list(ctx).await)
}

pub(crate) async fn remove(ctx: &Ctx, asked: &ImageRequest) -> Result<Images, ApiError> {
    let used = list(ctx).await.images.into_iter().find(|i| i.reference == asked.reference);
    match used {
        Some(image) if image.used_by.is_empty() => {}
        Some(image) => {
            return Err(ApiError::new(
                Code::Usage,
                format!("{} is used by {}.", asked.reference, image.used_by.join(", ")),
                "Give those agents another image first.",
            ));
        }
        None => {
            return Err(ApiError::new(
                Code::Unknown,
                format!("There is no image {}.", asked.reference),
                "Look again.",
            ));
        }
    }
    ctx.world
        .containers
        .remove_image(&asked.reference)
        .await
        .map_err(|e| ApiError::new(Code::Failed, e.message, e.next))?;
    happened(ctx, Severity::Info, None, format!("The image {} was removed.", asked.reference));
    ctx.state.note(Event::ImagesSeen { to_pull: ctx.world.missing_images(&ctx.state.state().stack).await });
    Ok(list(ctx).await)
}
