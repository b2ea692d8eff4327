//! `asgard models verify`, `remove`, `import`: what touches the cache itself. With no controller the files answer.

use std::io::{self, IsTerminal as _, Write as _};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use api::client::Client;
use api::shapes::installed::{
    ImportModelRequest, ImportProgress, InstalledModel, InstalledModels, RemoveModelRequest, RemovedModel,
    VerifyProgress,
};
use api::{ApiError, Code};
use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::bars::{Bars, Step};
use super::text::{files, size, tame};
use crate::Answer;
use crate::args::RemoveArgs;
use crate::screen::Screen;

pub(super) async fn verify(screen: Screen, models: Vec<String>) -> Result<Answer, ApiError> {
    let client = super::controller().await?;
    let names = if models.is_empty() { all(client.as_ref()).await? } else { models };
    if names.is_empty() {
        screen.say("There are no models in the cache.");
    }
    let mut answer = Answer::Yes;
    for name in names {
        let found = match &client {
            Some(client) => verify_there(screen, client, &name).await?,
            None => verify_here(screen, &name).await?,
        };
        if !found.damaged.is_empty() {
            answer = Answer::No;
        }
        screen.say(&verdict(&name, &found));
    }
    Ok(answer)
}

async fn all(client: Option<&Client>) -> Result<Vec<String>, ApiError> {
    let all: InstalledModels = if let Some(client) = client {
        crate::commands::read(&client.call_value("installed_models", json!({})).await?)?
    } else {
        let options = super::options()?;
        super::blocking(move || app::offline_installed(&options)).await?
    };
    // What was only begun has nothing to compare.
    Ok(all.models.into_iter().filter(|m| !m.commit.is_empty()).map(|m| m.id).collect())
}

async fn verify_there(screen: Screen, client: &Client, name: &str) -> Result<VerifyProgress, ApiError> {
    let mut chunks = client.open("verify_model", json!({ "id": name }))?;
    let mut interrupts = super::super::interrupts()?;
    let mut bars = Bars::new(screen);
    loop {
        let chunk = tokio::select! {
            chunk = chunks.next() => chunk?,
            _ = interrupts.recv() => return Err(ended()),
        };
        let progress: VerifyProgress = crate::commands::read(&chunk.ok_or_else(ended)?)?;
        show(screen, &mut bars, name, &progress);
        if progress.done {
            return Ok(progress);
        }
    }
}

async fn verify_here(screen: Screen, name: &str) -> Result<VerifyProgress, ApiError> {
    let (options, id) = (super::options()?, name.to_owned());
    let (to, mut heard) = mpsc::channel(4);
    let work = tokio::task::spawn_blocking(move || {
        // Nobody hears of it any more: Ctrl-C.
        app::offline_verify(&options, &id, &mut |progress| to.blocking_send(progress.clone()).is_ok())
    });
    let mut interrupts = super::super::interrupts()?;
    let mut bars = Bars::new(screen);
    loop {
        tokio::select! {
            progress = heard.recv() => match progress {
                Some(progress) => show(screen, &mut bars, name, &progress),
                None => break,
            },
            _ = interrupts.recv() => return Err(ended()),
        }
    }
    work.await.map_err(|_| ended())??.ok_or_else(ended)
}

fn ended() -> ApiError {
    ApiError::new(Code::Cancelled, "The comparison ended before its end.", "Start it again; it begins anew.")
}

fn show(screen: Screen, bars: &mut Bars, name: &str, progress: &VerifyProgress) {
    if screen.json {
        let mut document = json!(progress);
        if let Value::Object(fields) = &mut document {
            fields.insert("id".to_owned(), name.into());
        }
        screen.document(&document);
        return;
    }
    if progress.done {
        bars.end();
        return;
    }
    let step = |name: String| Step {
        name,
        done: progress.done_bytes,
        total: Some(progress.total_bytes),
        word: Some(progress.file.clone()).filter(|f| !f.is_empty()),
        ..Step::default()
    };
    bars.show(&step(called(name)), &[]);
}

/// An id names a whole commit; a person tells two of them by less.
fn called(name: &str) -> String {
    match name.rsplit_once('@') {
        Some((model, commit)) if commit.len() == 40 => {
            format!("{}@{}", tame(model), commit.chars().take(8).collect::<String>())
        }
        _ => tame(name),
    }
}

fn verdict(name: &str, found: &VerifyProgress) -> String {
    let name = called(name);
    let mut text = if found.damaged.is_empty() {
        format!("{name}: {} compared, all right.", size(found.done_bytes))
    } else {
        let damaged: Vec<String> = found.damaged.iter().take(20).map(|f| tame(f)).collect();
        format!(
            "{name}: {} damaged or missing: {}. Fetch what is missing with: asgard models pull",
            files(found.damaged.len() as u64),
            damaged.join(", ")
        )
    };
    if !found.unknown.is_empty() {
        let of = files(found.unknown.len() as u64);
        text = format!("{text} Of {of} no hash is known.");
    }
    text
}

pub(super) async fn remove(screen: Screen, asked: RemoveArgs) -> Result<Answer, ApiError> {
    let client = super::controller().await?;
    let request = |dry_run| RemoveModelRequest {
        id: asked.model.clone(),
        dry_run,
        even_if_configured: asked.even_if_configured,
    };
    let would = remove_once(client.as_ref(), request(true)).await?;
    if asked.dry_run || would.protected.is_some() {
        screen.document(&would);
        screen.say(&removal(&asked.model, &would));
        let no = would.protected.is_some();
        return Ok(if no { Answer::No } else { Answer::Yes });
    }
    if !asked.yes && !agreed(screen, &asked.model, &would)? {
        screen.document(&would);
        screen.say("Nothing was removed.");
        return Ok(Answer::No);
    }
    let done = remove_once(client.as_ref(), request(false)).await?;
    screen.document(&done);
    screen.say(&removal(&asked.model, &done));
    Ok(if done.removed { Answer::Yes } else { Answer::No })
}

async fn remove_once(client: Option<&Client>, request: RemoveModelRequest) -> Result<RemovedModel, ApiError> {
    if let Some(client) = client {
        let document = client.call_value("remove_model", super::as_document(&request)?).await?;
        return crate::commands::read(&document);
    }
    let options = super::options()?;
    super::blocking(move || app::offline_remove(&options, &request)).await?
}

fn removal(model: &str, done: &RemovedModel) -> String {
    let (model, of) = (tame(model), files(done.files));
    match (&done.protected, done.removed) {
        (Some(why), _) => format!("{model} is kept. {}", tame(why)),
        (None, true) => format!("{model} is gone: {of}, {}.", freed(done.freed_bytes)),
        (None, false) => format!("{model} would go: {of}, {}.", freed(done.freed_bytes)),
    }
}

/// An import may share its content with the original.
fn freed(bytes: u64) -> String {
    match bytes {
        0 => "nothing freed, because its content is still used elsewhere".to_owned(),
        bytes => format!("{} freed", size(bytes)),
    }
}

/// Asks on a terminal. A script has to have said so.
fn agreed(screen: Screen, model: &str, would: &RemovedModel) -> Result<bool, ApiError> {
    if screen.json || !io::stdin().is_terminal() || !io::stderr().is_terminal() {
        return Err(ApiError::new(
            Code::Usage,
            format!("{} is not removed without a yes.", tame(model)),
            "Add --yes, or look first with --dry-run.",
        ));
    }
    let question = format!(
        "Remove {}? {}, {} come free. [y/N] ",
        tame(model),
        files(would.files),
        size(would.freed_bytes)
    );
    let _ = io::stderr().write_all(question.as_bytes());
    let mut line = String::new();
    let read = io::stdin().read_line(&mut line).unwrap_or(0);
    Ok(read > 0 && matches!(line.trim().to_lowercase().as_str(), "y" | "yes"))
}

pub(super) async fn import(screen: Screen, path: &Path, name: Option<String>) -> Result<Answer, ApiError> {
    let whole = std::path::absolute(path).ok().and_then(|path| path.into_os_string().into_string().ok());
    let path = whole.ok_or_else(|| {
        ApiError::new(
            Code::Usage,
            format!("{} is no path that can be passed on.", path.display()),
            "Rename it, and try again.",
        )
    })?;
    let request = ImportModelRequest { path, repo: name };
    let model: InstalledModel = match super::controller().await? {
        Some(client) => import_there(screen, &client, &request).await?,
        None => import_here(screen, request).await?,
    };
    screen.document(&model);
    screen.say(&format!(
        "{} is in the cache, {}. An agent takes it by its name.",
        tame(&model.model),
        size(model.held_bytes.saturating_add(model.shared_bytes))
    ));
    Ok(Answer::Yes)
}

async fn import_there(
    screen: Screen,
    client: &Client,
    request: &ImportModelRequest,
) -> Result<InstalledModel, ApiError> {
    let mut chunks = client.open("import_model", super::as_document(request)?)?;
    let mut interrupts = super::super::interrupts()?;
    let mut bars = Bars::new(screen);
    loop {
        let chunk = tokio::select! {
            chunk = chunks.next() => chunk?,
            // The controller hears that nobody listens, and cleans up.
            _ = interrupts.recv() => return Err(import_ended()),
        };
        let progress: ImportProgress = crate::commands::read(&chunk.ok_or_else(import_ended)?)?;
        if let Some(model) = progress.model {
            bars.end();
            return Ok(model);
        }
        show_import(&mut bars, &request.path, progress.done_bytes, progress.total_bytes);
    }
}

fn import_ended() -> ApiError {
    let next = "What was copied is taken away again. Start it again; it begins anew.";
    ApiError::new(Code::Cancelled, "The import ended before its end.", next)
}

/// With `--json` there is one document, the model.
fn show_import(bars: &mut Bars, path: &str, done: u64, total: u64) {
    bars.show(&Step { name: path.to_owned(), done, total: Some(total), ..Step::default() }, &[]);
}

async fn import_here(screen: Screen, request: ImportModelRequest) -> Result<InstalledModel, ApiError> {
    let options = super::options()?;
    let name = request.path.clone();
    let stop = Arc::new(AtomicBool::new(false));
    let (to, mut heard) = mpsc::channel(4);
    let mut work = tokio::task::spawn_blocking({
        let stop = stop.clone();
        move || {
            let mut told = Instant::now();
            app::offline_import(&options, &request, &mut |done, total| {
                if told.elapsed() >= Duration::from_millis(100) {
                    told = Instant::now();
                    // One that is not heard in time is not missed.
                    let _ = to.try_send((done, total));
                }
                !stop.load(Ordering::Relaxed)
            })
        }
    });
    let mut interrupts = super::super::interrupts()?;
    let mut bars = Bars::new(screen);
    loop {
        tokio::select! {
            done = &mut work => return done.map_err(|_| import_ended())?,
            Some((done, total)) = heard.recv() => {
                show_import(&mut bars, &name, done, total);
            }
            // It cleans up, and its answer says that it was ended.
            _ = interrupts.recv() => stop.store(true, Ordering::Relaxed),
        }
    }
}
