//! `asgard models downloads`, `pause`, `resume`, `cancel`.

use api::client::Client;
use api::shapes::downloads::{Download, DownloadState, Downloads};
use api::{ApiError, Code};
use serde_json::{Value, json};

use super::text::{rate, size, tame};
use crate::Answer;
use crate::reach;
use crate::screen::Screen;
use crate::words::{duration, table};

pub(super) async fn list(screen: Screen) -> Result<Answer, ApiError> {
    let client = reach::running().await?;
    show(screen, &client.call_value("downloads", json!({})).await?)
}

pub(super) async fn pause(screen: Screen, which: Option<&str>) -> Result<Answer, ApiError> {
    let client = reach::running().await?;
    let id = id_of(&client, which).await?;
    show(screen, &client.call_value("pause_download", json!({ "id": id })).await?)
}

pub(super) async fn resume(screen: Screen, which: Option<&str>) -> Result<Answer, ApiError> {
    let client = reach::running_or_started(screen).await?;
    let id = id_of(&client, which).await?;
    show(screen, &client.call_value("resume_download", json!({ "id": id })).await?)
}

pub(super) async fn cancel(screen: Screen, which: &str, keep: bool) -> Result<Answer, ApiError> {
    let client = reach::running().await?;
    let id = id_of(&client, Some(which)).await?;
    show(screen, &client.call_value("cancel_download", json!({ "id": id, "keep": keep })).await?)
}

/// A download by its id, or by the one repository that it is of.
async fn id_of(client: &Client, which: Option<&str>) -> Result<Option<String>, ApiError> {
    let Some(which) = which else { return Ok(None) };
    let all: Downloads = crate::commands::read(&client.call_value("downloads", json!({})).await?)?;
    if all.downloads.iter().any(|d| d.id == which) {
        return Ok(Some(which.to_owned()));
    }
    let of: Vec<&Download> = all.downloads.iter().filter(|d| d.repo == which || d.model == which).collect();
    match of.as_slice() {
        [one] => Ok(Some(one.id.clone())),
        [] => Err(ApiError::new(
            Code::Unknown,
            format!("There is no download {:?}.", tame(which)),
            "See: asgard models downloads",
        )),
        several => Err(ApiError::new(
            Code::Usage,
            format!("There are {} downloads of {}.", several.len(), tame(which)),
            "Name one by its id; see: asgard models downloads",
        )),
    }
}

fn show(screen: Screen, document: &Value) -> Result<Answer, ApiError> {
    let all: Downloads = crate::commands::read(document)?;
    screen.document(document);
    if all.downloads.is_empty() {
        screen.say("Nothing is being downloaded.");
    }
    let rows: Vec<Vec<String>> = all.downloads.iter().map(row).collect();
    screen.piece(&table(&rows, &[]));
    Ok(Answer::Yes)
}

fn row(download: &Download) -> Vec<String> {
    let amount = match download.total_bytes {
        Some(total) => format!("{} of {}", size(download.done_bytes), size(total)),
        None => String::new(),
    };
    let detail = download.problem.as_ref().map(|p| p.message.clone()).or_else(|| download.detail.clone());
    let left = download.seconds_left.map(|s| format!("{} left", duration(s)));
    vec![
        download.id.clone(),
        tame(&download.model),
        word(download.state).to_owned(),
        amount,
        download.bytes_per_second.map(rate).unwrap_or_default(),
        left.unwrap_or_default(),
        detail.as_deref().map(tame).unwrap_or_default(),
    ]
}

pub(super) fn word(state: DownloadState) -> &'static str {
    match state {
        DownloadState::Queued => "queued",
        DownloadState::Resolving => "asking the Hub",
        DownloadState::Running => "running",
        DownloadState::Verifying => "verifying",
        DownloadState::Paused => "paused",
        DownloadState::Waiting => "waiting",
        DownloadState::Failed => "failed",
        DownloadState::Done => "done",
    }
}
