//! `asgard models pull`: a download of the controller's, watched from here. The first Ctrl-C pauses it, the second leaves
//! that to the controller.

use std::time::Duration;

use api::client::{Chunks, Client};
use api::shapes::downloads::{Download, DownloadDetail, DownloadFile, DownloadState, PullRequest};
use api::{ApiError, Code};
use domain::stack::HubFile;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::bars::{Bars, Step};
use super::downloads::word;
use super::text::{size, tame};
use crate::Answer;
use crate::args::PullArgs;
use crate::reach;
use crate::screen::Screen;
use crate::words::duration;

/// A look at least so often, whatever the controller tells.
const LOOK: Duration = Duration::from_secs(1);
/// And not more often than that: the controller tells of everything that happens.
const CLOSEST: Duration = Duration::from_millis(50);

pub(super) async fn run(screen: Screen, asked: PullArgs) -> Result<Answer, ApiError> {
    let client = reach::running_or_started(screen).await?;
    let mut interrupts = super::super::interrupts()?;
    let mut changes = client.open("watch", json!({}))?;
    let document = client.call_value("pull", super::as_document(&request(asked))?).await?;
    let begun: Download = crate::commands::read(&document)?;
    let mut bars = Bars::new(screen);
    let began = Instant::now();
    let mut pausing = false;
    let mut told: Option<Value> = None;
    let ended = loop {
        let looked = Instant::now();
        let detail: Value = client.call_value("download", json!({ "id": begun.id })).await?;
        let now: DownloadDetail = crate::commands::read(&detail)?;
        let download = detail.get("download").cloned().unwrap_or_default();
        // Documents as things change, and the last one in any case.
        if told.as_ref() != Some(&download) {
            screen.document(&download);
            told = Some(download);
        }
        if has_ended(now.download.state) {
            break now.download;
        }
        bars.show(&whole(&now.download), &parts(&now.files));
        tokio::select! {
            _ = interrupts.recv() => {
                if pausing {
                    bars.end();
                    return Err(left());
                }
                pausing = true;
                pause(screen, &client, &begun.id, &mut bars).await;
            }
            () = changed(&mut changes, looked) => {}
        }
    };
    bars.end();
    close(screen, &ended, began.elapsed().as_secs_f64())
}

/// Something happened since `looked`, or it is time to look anyway.
async fn changed(changes: &mut Chunks, looked: Instant) {
    match tokio::time::timeout(LOOK, changes.next()).await {
        Err(_) => {}
        Ok(Ok(Some(_))) => tokio::time::sleep_until(looked + CLOSEST).await,
        // The controller went away: the next question says so.
        Ok(Ok(None) | Err(_)) => tokio::time::sleep(LOOK).await,
    }
}

/// "OWNER/NAME/FILE.gguf" means that file of the repository, with all its parts.
fn request(asked: PullArgs) -> PullRequest {
    let PullArgs { model, revision, variant, mut files } = asked;
    let Some(file) = HubFile::parse(&model).filter(|_| variant.is_none() && files.is_empty()) else {
        return PullRequest { repo: model, revision, variant, files };
    };
    files.push(parts_of(&file.file).unwrap_or(file.file));
    PullRequest { repo: file.repo, revision, variant, files }
}

/// A pattern for all parts of a split file.
fn parts_of(file: &str) -> Option<String> {
    let (rest, count) = file.strip_suffix(".gguf")?.rsplit_once("-of-")?;
    let (stem, part) = rest.rsplit_once('-')?;
    let number = |text: &str| text.len() == 5 && text.chars().all(|c| c.is_ascii_digit());
    (number(part) && number(count)).then(|| format!("{stem}-?????-of-{count}.gguf"))
}

fn has_ended(state: DownloadState) -> bool {
    matches!(state, DownloadState::Done | DownloadState::Failed | DownloadState::Paused)
}

fn whole(download: &Download) -> Step {
    let word = match download.state {
        DownloadState::Running => None,
        state => Some(download.detail.clone().unwrap_or_else(|| word(state).to_owned())),
    };
    Step {
        name: download.model.clone(),
        done: download.done_bytes,
        total: download.total_bytes,
        bytes_per_second: download.bytes_per_second,
        seconds_left: download.seconds_left,
        word,
    }
}

/// Files under way, those with the most to come first.
fn parts(files: &[DownloadFile]) -> Vec<Step> {
    let mut active: Vec<&DownloadFile> = files.iter().filter(|f| !f.done && f.connections > 0).collect();
    active.sort_by(|a, b| b.total_bytes.cmp(&a.total_bytes).then_with(|| a.path.cmp(&b.path)));
    active
        .into_iter()
        .map(|file| Step {
            name: format!("  {}", file.path),
            done: file.done_bytes,
            total: Some(file.total_bytes),
            bytes_per_second: file.bytes_per_second,
            seconds_left: file.seconds_left,
            word: None,
        })
        .collect()
}

async fn pause(screen: Screen, client: &Client, id: &str, bars: &mut Bars) {
    bars.end();
    screen.aside("Pausing. Ctrl-C again leaves that to the controller.");
    if let Err(error) = client.call_value("pause_download", json!({ "id": id })).await {
        screen.aside(format!("{} {}", error.message, error.next).trim_end());
    }
}

fn left() -> ApiError {
    ApiError::new(
        Code::Cancelled,
        "This command ended; the controller goes on with the download.",
        "See how it goes with: asgard models downloads",
    )
}

fn close(screen: Screen, download: &Download, seconds: f64) -> Result<Answer, ApiError> {
    let model = tame(&download.model);
    match download.state {
        DownloadState::Done => {
            let total = download.total_bytes.unwrap_or(download.done_bytes);
            let took = if seconds < 1.0 { String::new() } else { format!(" It took {}.", duration(seconds)) };
            screen.say(&format!("{model} is here, {}, verified.{took}", size(total)));
            Ok(Answer::Yes)
        }
        DownloadState::Paused => Err(ApiError::new(
            Code::Cancelled,
            format!("{model} is paused; what has arrived is kept."),
            format!("Go on with: asgard models resume {}", download.id),
        )),
        _ => Err(match &download.problem {
            Some(problem) => {
                let page = problem.page.as_ref().map(|page| format!(" {page}")).unwrap_or_default();
                ApiError::new(Code::Failed, problem.message.clone(), format!("{}{page}", problem.next))
            }
            None => ApiError::new(
                Code::Failed,
                format!("{model} could not be downloaded."),
                "See: asgard models downloads",
            ),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(model: &str) -> PullArgs {
        PullArgs { model: model.to_owned(), revision: None, variant: None, files: Vec::new() }
    }

    #[test]
    fn one_file_of_a_repository_is_asked_for_with_its_parts() {
        for (model, repo, files) in [
            ("a/b", "a/b", vec![]),
            ("a/b/c.gguf", "a/b", vec!["c.gguf"]),
            ("a/b/q/c-00001-of-00003.gguf", "a/b", vec!["q/c-?????-of-00003.gguf"]),
            ("a/b/c-of-d.gguf", "a/b", vec!["c-of-d.gguf"]),
        ] {
            let request = request(asked(model));
            assert_eq!(
                (request.repo.as_str(), request.files),
                (repo, files.iter().map(|f| (*f).to_owned()).collect())
            );
        }
        // Whoever says which files means those.
        let named = PullArgs { files: vec!["x".to_owned()], ..asked("a/b") };
        assert_eq!(request(named).files, ["x"]);
    }

    #[test]
    fn the_files_under_way_are_shown_the_largest_first() {
        let file = |path: &str, total_bytes, connections, done| DownloadFile {
            path: path.to_owned(),
            total_bytes,
            done_bytes: 0,
            verified_bytes: 0,
            bytes_per_second: None,
            seconds_left: None,
            connections,
            done,
        };
        let shown = parts(&[
            file("small", 1, 1, false),
            file("waits", 9, 0, false),
            file("large", 5, 2, false),
            file("done", 7, 1, true),
        ]);
        assert_eq!(shown.iter().map(|s| s.name.trim()).collect::<Vec<_>>(), ["large", "small"]);
    }
}
