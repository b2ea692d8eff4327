//! A download in the shapes and words of a face.

use std::time::Duration;

use api::shapes::downloads::{Download, DownloadDetail, DownloadFile, DownloadState, Downloads};
use domain::download::queue::{Id, Phase, Queue, Then};
use models::download::{Progress, State};

use super::item::Item;
use super::line::Desk;

/// So many files of one download are listed.
const FILES_SHOWN: usize = 2000;

/// What is about to be removed is not shown any more.
fn is_shown(queue: &Queue, id: Id) -> bool {
    !matches!(queue.phase(id), None | Some(Phase::Stopping(Then::Remove { .. })))
}

pub(super) fn list(desk: &Desk, now: Duration, limit: Option<u64>) -> Downloads {
    let order = desk.queue.order();
    let shown = order.iter().filter(|id| is_shown(&desk.queue, **id)).filter_map(|id| desk.items.get(id));
    let mut downloads: Vec<Download> = shown.map(|item| download(item, &desk.queue, now)).collect();
    // What is done stands last, and the latest of it first.
    let done = downloads.iter().position(|d| d.state == DownloadState::Done).unwrap_or(downloads.len());
    if let Some(done) = downloads.get_mut(done..) {
        done.sort_by(|a, b| b.finished.cmp(&a.finished));
    }
    let speeds = downloads.iter().filter_map(|d| d.bytes_per_second);
    let bytes_per_second = speeds.fold(None, |sum: Option<f64>, speed| Some(sum.unwrap_or(0.0) + speed));
    // Of all that goes on by itself, also of what is next.
    let goes_on = |d: &&Download| {
        !matches!(d.state, DownloadState::Paused | DownloadState::Failed | DownloadState::Done)
    };
    let left: u64 = downloads
        .iter()
        .filter(goes_on)
        .map(|d| d.total_bytes.unwrap_or(0).saturating_sub(d.done_bytes))
        .sum();
    Downloads {
        seconds_left: bytes_per_second.filter(|speed| *speed >= 1.0).map(|speed| left as f64 / speed),
        bytes_per_second,
        paused: desk.queue.all_paused(),
        limit_bytes_per_second: limit,
        free_bytes: desk.free,
        partial_bytes: desk.partial,
        partial_days: desk.partial_days,
        then_start: desk.then_start.clone(),
        downloads,
    }
}

pub(super) fn detail(item: &Item, queue: &Queue, now: Duration) -> DownloadDetail {
    let progress = item.progress().or_else(|| item.last.clone());
    let mut files: Vec<DownloadFile> = match (&progress, &item.found) {
        (Some(progress), _) => progress
            .files
            .iter()
            .map(|f| DownloadFile {
                path: f.path.clone(),
                total_bytes: f.total_bytes,
                done_bytes: f.done_bytes,
                verified_bytes: f.verified_bytes,
                bytes_per_second: f.bytes_per_second.filter(|_| item.attempt.is_some()),
                seconds_left: f.seconds_left.filter(|_| item.attempt.is_some()),
                connections: if item.attempt.is_some() { f.connections } else { 0 },
                done: f.done,
            })
            .collect(),
        (None, Some(found)) => {
            let done = queue.phase(item.id) == Some(Phase::Done);
            let file = |f: &models::hub::RepoFile| {
                let here = if done { f.size } else { 0 };
                DownloadFile {
                    path: f.path.clone(),
                    total_bytes: f.size,
                    done_bytes: here,
                    verified_bytes: here,
                    bytes_per_second: None,
                    seconds_left: None,
                    connections: 0,
                    done,
                }
            };
            found.files.iter().map(file).collect()
        }
        (None, None) => Vec::new(),
    };
    files.sort_by_key(|f| (f.done, f.connections == 0 && f.done_bytes == 0));
    files.truncate(FILES_SHOWN);
    DownloadDetail { download: download(item, queue, now), files }
}

pub(super) fn download(item: &Item, queue: &Queue, now: Duration) -> Download {
    let progress = item.progress();
    let phase = queue.phase(item.id).unwrap_or(Phase::Done);
    let (state, detail) = state(item, queue, phase, progress.as_ref(), now);
    let running = matches!(state, DownloadState::Running | DownloadState::Verifying);
    let live = progress.as_ref().filter(|_| running);
    let done_bytes = match (&progress, state) {
        (_, DownloadState::Done) => item.total.unwrap_or(item.done),
        // Before it has looked around, it knows of nothing.
        (Some(p), _) if p.state != State::Starting => p.done_bytes,
        _ => item.done,
    };
    let verified = progress.as_ref().or(item.last.as_ref()).map_or(0, |p| p.verified_bytes);
    Download {
        id: item.id.to_string(),
        repo: item.asked.repo.clone(),
        revision: item.asked.revision.clone(),
        commit: item.commit.clone(),
        variant: item.found.as_ref().and_then(|f| f.variant.clone()).or_else(|| item.asked.variant.clone()),
        model: item.model.clone(),
        title: item.title.clone(),
        state,
        detail,
        total_bytes: item.total,
        done_bytes,
        verified_bytes: if state == DownloadState::Done { done_bytes } else { verified.min(done_bytes) },
        fetched_bytes: item.fetched.saturating_add(progress.as_ref().map_or(0, |p| p.fetched_bytes)),
        bytes_per_second: live.and_then(|p| p.bytes_per_second),
        seconds_left: live.and_then(|p| p.seconds_left),
        connections: live.map_or(0, |p| p.connections),
        files_total: item.files_total,
        files_done: progress.as_ref().map_or(item.files_done, |p| p.files_done as u64),
        problem: item.problem.clone().filter(|_| state == DownloadState::Failed),
        added: item.added.to_string(),
        finished: item.finished.map(|t| t.to_string()),
    }
}

fn state(
    item: &Item,
    queue: &Queue,
    phase: Phase,
    progress: Option<&Progress>,
    now: Duration,
) -> (DownloadState, Option<String>) {
    match phase {
        Phase::Queued | Phase::Stopping(Then::Queue) => {
            let words = match queue.hold(now) {
                Some(until) => hold(until, now),
                None => waits_for(queue.waits_for(item.id)),
            };
            (DownloadState::Queued, Some(words))
        }
        Phase::Active => match progress.map(|p| &p.state) {
            None => (DownloadState::Resolving, Some("Asking the Hub for the files".to_owned())),
            Some(State::Starting) => {
                (DownloadState::Running, Some("Looking at what is here already".to_owned()))
            }
            Some(State::Running | State::Done) => (DownloadState::Running, None),
            Some(State::Verifying) => (DownloadState::Verifying, Some("Verifying checksums".to_owned())),
            Some(State::Waiting { why, seconds }) => {
                (DownloadState::Waiting, Some(again(why, Duration::from_secs(*seconds))))
            }
        },
        Phase::Waiting { until } => {
            let words = match (queue.hold(now), &item.problem) {
                (Some(held), _) if held >= until => hold(held, now),
                (_, Some(problem)) => again(&problem.message, until.saturating_sub(now)),
                (_, None) => again("It broke off.", until.saturating_sub(now)),
            };
            (DownloadState::Waiting, Some(words))
        }
        Phase::Paused | Phase::Stopping(Then::Pause) => (DownloadState::Paused, None),
        Phase::Failed => (DownloadState::Failed, None),
        Phase::Done | Phase::Stopping(Then::Remove { .. }) => (DownloadState::Done, None),
    }
}

fn waits_for(many: usize) -> String {
    match many {
        1 => "Waiting for 1 download".to_owned(),
        many => format!("Waiting for {many} downloads"),
    }
}

fn hold(until: Duration, now: Duration) -> String {
    format!("The Hub asks to wait {}", seconds(until.saturating_sub(now)))
}

fn again(why: &str, wait: Duration) -> String {
    let why = why.trim_end_matches('.');
    format!("{why}. The next try is in {}", seconds(wait))
}

/// "55 s", rounded up: what is said is not over before.
fn seconds(time: Duration) -> String {
    let whole = time.as_millis().div_ceil(1000).max(1);
    if whole < 90 { format!("{whole}\u{a0}s") } else { format!("{}\u{a0}min", whole.div_ceil(60)) }
}

/// The line in Activity when all of it is here.
pub(super) fn arrived(item: &Item) -> String {
    let size = gb(item.total.unwrap_or(item.done));
    if item.fetched == 0 && item.last.is_none() {
        format!("{} was here already, {size}.", item.title)
    } else {
        format!("{} is here, {size}, checksums match.", item.title)
    }
}

/// Files are counted in units of 10⁹ bytes.
pub(super) fn gb(bytes: u64) -> String {
    match bytes {
        0..10_000_000 => format!("{:.1}\u{a0}MB", bytes as f64 / 1e6),
        10_000_000..1_000_000_000 => format!("{:.0}\u{a0}MB", bytes as f64 / 1e6),
        _ => format!("{:.1}\u{a0}GB", bytes as f64 / 1e9),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_for_waiting() {
        let now = Duration::from_secs(100);
        assert_eq!(hold(now + Duration::from_millis(54_001), now), "The Hub asks to wait 55\u{a0}s");
        assert_eq!(again("It is away.", Duration::ZERO), "It is away. The next try is in 1\u{a0}s");
        assert_eq!(seconds(Duration::from_secs(3600)), "60\u{a0}min");
        assert_eq!(
            (waits_for(1).as_str(), waits_for(2).as_str()),
            ("Waiting for 1 download", "Waiting for 2 downloads")
        );
        let sizes = [(5_590_000_000, "5.6\u{a0}GB"), (48_000_000, "48\u{a0}MB"), (12, "0.0\u{a0}MB")];
        for (bytes, words) in sizes {
            assert_eq!(gb(bytes), words);
        }
    }
}
