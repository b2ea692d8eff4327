//! `asgard models`: what is here, what the Hub has, and what is on its way.

mod account;
mod bars;
mod cache;
mod downloads;
mod hub;
mod list;
mod pull;
mod text;

use api::ApiError;

use crate::Answer;
use crate::args::ModelsCommand;
use crate::screen::Screen;

pub(super) async fn run(screen: Screen, what: ModelsCommand) -> Result<Answer, ApiError> {
    match what {
        ModelsCommand::List => list::run(screen).await,
        ModelsCommand::Search(asked) => hub::search(screen, &asked).await,
        ModelsCommand::Info { repo, revision, files } => hub::info(screen, repo, revision, files).await,
        ModelsCommand::Pull(asked) => pull::run(screen, asked).await,
        ModelsCommand::Downloads => downloads::list(screen).await,
        ModelsCommand::Pause { download } => downloads::pause(screen, download.as_deref()).await,
        ModelsCommand::Resume { download } => downloads::resume(screen, download.as_deref()).await,
        ModelsCommand::Cancel { download, keep } => downloads::cancel(screen, &download, keep).await,
        ModelsCommand::Verify { models } => cache::verify(screen, models).await,
        ModelsCommand::Remove(asked) => cache::remove(screen, asked).await,
        ModelsCommand::Import { path, name } => cache::import(screen, &path, name).await,
        ModelsCommand::Login => account::login(screen).await,
        ModelsCommand::Logout => account::logout(screen).await,
        ModelsCommand::Whoami => account::whoami(screen).await,
    }
}

/// The controller where one runs; none where the files have to answer.
async fn controller() -> Result<Option<api::client::Client>, ApiError> {
    match crate::reach::running().await {
        Ok(client) => Ok(Some(client)),
        Err(error) if error.code == api::Code::Unreachable => Ok(None),
        Err(error) => Err(error),
    }
}

fn options() -> Result<app::Options, ApiError> {
    crate::place::options(crate::place::paths(false)?, false, false)
}

/// An answer that was made here, printed like one of the controller's.
fn as_document(answer: &impl serde::Serialize) -> Result<serde_json::Value, ApiError> {
    serde_json::to_value(answer).map_err(|error| {
        ApiError::new(api::Code::Failed, format!("The answer cannot be written: {error}."), "Try again.")
    })
}

/// Work that keeps a thread busy, beside the one that hears Ctrl-C.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, ApiError> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|_| ApiError::new(api::Code::Failed, "The work ended without an answer.", "Try again."))
}
