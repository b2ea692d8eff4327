//! What a person asks of the line.

use api::shapes::downloads::{Download, DownloadDetail, Downloads, PullRequest, Remedy};
use api::shapes::hub::HubProblem;
use api::{ApiError, Code};
use domain::download::queue::{Again, End, Event, Id, Phase};
use jiff::Timestamp;

use models::hub::HubError;

use super::ends;
use super::line::Line;
use super::show::{self, gb};
use super::source::{Asked, Found, Nothing};
use crate::hub_problem;

/// Nobody writes more of them.
const MOST_PATTERNS: usize = 100;

/// A lower limit would be a pause that does not say so.
const LEAST_LIMIT: u64 = 10_000;

fn unknown(id: &str) -> ApiError {
    ApiError::new(
        Code::Unknown,
        format!("There is no download {id:?}."),
        "It may have ended: look at the list again.",
    )
}

fn refused(problem: HubProblem) -> ApiError {
    ApiError::new(Code::Failed, problem.message, problem.next)
}

/// A request as it is carried on: bounded, and of names that the Hub could know.
pub(super) fn asked_for(asked: &PullRequest) -> Result<Asked, ApiError> {
    let usage = |message: String, next: &str| Err(ApiError::new(Code::Usage, message, next));
    let repo = asked.repo.trim();
    if let Err(bad) = models::cache::folder_name(repo) {
        return usage(
            format!("{:?} is no name of a repository.", shown(&bad.0)),
            "Write it as on the Hub, \"organisation/name\".",
        );
    }
    let revision = asked.revision.as_deref().map(str::trim).filter(|r| !r.is_empty()).unwrap_or("main");
    if revision.len() > 200 || !models::cache::is_repo_path(revision) {
        return usage(format!("{:?} is no revision.", shown(revision)), "Write a branch, a tag or a commit.");
    }
    let fine = |text: &String| !text.is_empty() && text.len() <= 1000 && !text.contains(char::is_control);
    if asked.files.len() > MOST_PATTERNS || !asked.files.iter().all(fine) {
        return usage(
            "These are no names of files.".to_owned(),
            "Write paths of the repository, or globs like *.gguf.",
        );
    }
    let variant = asked.variant.clone().filter(|v| !v.is_empty());
    if variant.as_ref().is_some_and(|v| v.len() > 300 || v.contains(char::is_control)) {
        return usage(
            "This is no variant.".to_owned(),
            "See the variants with: asgard models info REPOSITORY",
        );
    }
    Ok(Asked { repo: repo.to_owned(), revision: revision.to_owned(), variant, patterns: asked.files.clone() })
}

fn shown(text: &str) -> String {
    text.chars().take(100).collect()
}

impl Line {
    pub(crate) async fn pull(&self, asked: &PullRequest) -> Result<Download, ApiError> {
        let asked = asked_for(asked)?;
        if !self.is_recalled().await {
            return Err(ApiError::new(
                Code::Busy,
                "The downloads of earlier could not be read yet.",
                "Check the disk that holds Asgard's data folder, and try again in a moment.",
            ));
        }
        let looked = self.inner.source.look_up(&asked).await;
        let one = self.inner.taking_up.lock().await;
        let id = match looked {
            Ok(found) => self.take_up(asked, found).await?,
            Err(Nothing::Refused(problem)) => return Err(refused(problem)),
            // It would wait for ever; but what is here whole needs no Hub.
            Err(Nothing::Hub(error @ HubError::Offline)) => match self.whole(&asked).await {
                Some(id) => id,
                None => return Err(hub_problem::api_error(&error)),
            },
            Err(Nothing::Hub(error)) => {
                let ending = ends::of_look_up(&Nothing::Hub(error.clone()));
                match (ending.end, ending.problem) {
                    (End::Again(again), problem) => self.later(asked, again, problem).await,
                    // What a token or a licence opens stays in the list, with the button that helps.
                    (_, Some(problem)) if is_closed(&problem) => self.closed(&asked, problem),
                    _ => return Err(hub_problem::api_error(&error)),
                }
            }
        };
        drop(one);
        self.written().await;
        self.shown(id).ok_or_else(|| unknown(&id.to_string()))
    }

    /// The Hub said what there is: it is one that is in the line already, or is here, or is put into the line.
    async fn take_up(&self, asked: Asked, found: Found) -> Result<Id, ApiError> {
        let (source, ask, what) = (self.inner.source.clone(), asked.clone(), found.clone());
        let look = tokio::task::spawn_blocking(move || (source.here(&ask, &what), source.free()));
        let (here, free) = look.await.unwrap_or_default();
        let same = self.same(&asked, Some(&found));
        if let Some((id, phase)) = same {
            if phase != Phase::Done {
                self.apply(Event::Resume(Some(id)));
                return Ok(id);
            }
            if here.whole {
                return Ok(id);
            }
            // It was removed meanwhile.
            self.apply(Event::Forget(id));
        }
        if here.whole {
            return Ok(self.done(asked, found));
        }
        let needed = found.total().saturating_sub(here.bytes);
        let others = self.still_to_come();
        if let Some(free) = free.filter(|free| needed.saturating_add(others) > *free) {
            let besides = if others > 0 {
                format!(", besides {} that other downloads still bring", gb(others))
            } else {
                String::new()
            };
            return Err(ApiError::new(
                Code::DoesNotFit,
                format!(
                    "{} takes {}{besides}, and {} are free at {}.",
                    found.title,
                    gb(needed),
                    gb(free),
                    self.inner.source.folder().display()
                ),
                "Remove a model that is not needed, or choose a smaller variant.",
            ));
        }
        Ok(self.add(asked, Some(found), Phase::Queued, |item| item.done = here.bytes))
    }

    /// The Hub cannot be asked now. What is here whole needs no Hub; all else waits for it.
    async fn later(&self, asked: Asked, again: Again, problem: Option<HubProblem>) -> Id {
        if let Some(id) = self.whole(&asked).await {
            return id;
        }
        if let Some((id, _)) = self.same(&asked, None).filter(|(_, phase)| *phase != Phase::Done) {
            self.apply(Event::Resume(Some(id)));
            return id;
        }
        if let Again::Asked(wait) = again {
            // Before it is in the line: whoever asks again at once is told to wait longer.
            self.apply(Event::Asked(wait));
        }
        self.add(asked, None, Phase::Queued, |item| item.problem = problem)
    }

    /// What is here whole, without the network.
    async fn whole(&self, asked: &Asked) -> Option<Id> {
        let (source, ask) = (self.inner.source.clone(), asked.clone());
        let found = tokio::task::spawn_blocking(move || source.at_hand(&ask)).await.ok().flatten()?;
        Some(match self.same(asked, Some(&found)) {
            Some((id, Phase::Done)) => id,
            Some((id, _)) => {
                self.apply(Event::Resume(Some(id)));
                id
            }
            None => self.done(asked.clone(), found),
        })
    }

    fn done(&self, asked: Asked, found: Found) -> Id {
        self.add(asked, Some(found), Phase::Done, |item| {
            item.done = item.total.unwrap_or(0);
            item.files_done = item.files_total.unwrap_or(0);
            item.finished = Some(Timestamp::now());
        })
    }

    fn closed(&self, asked: &Asked, problem: HubProblem) -> Id {
        let id = match self.same(asked, None) {
            Some((id, Phase::Failed)) => id,
            _ => self.add(asked.clone(), None, Phase::Failed, |_| {}),
        };
        if let Some(item) = self.desk().items.get_mut(&id) {
            item.problem = Some(problem);
            item.finished = Some(Timestamp::now());
        }
        id
    }

    /// One in the line that is about the same files; before they are known, one that was asked for in the same words.
    fn same(&self, asked: &Asked, found: Option<&Found>) -> Option<(Id, Phase)> {
        let desk = self.desk();
        let mut all = desk.items.values().filter(|i| i.asked.repo == asked.repo);
        let item = all.find(|item| match (&item.found, found) {
            (Some(one), Some(other)) => one.is_same(other),
            // A list that was lost: the words and the commit are what is left to compare.
            (None, Some(other)) => {
                item.asked == *asked && item.commit.as_ref().is_none_or(|c| *c == other.commit)
            }
            (_, None) => item.asked == *asked,
        })?;
        Some((item.id, desk.queue.phase(item.id)?))
    }

    /// Bytes that downloads in the line have yet to bring, those that wait for a person too.
    fn still_to_come(&self) -> u64 {
        let desk = self.desk();
        let open = desk.items.values().filter(|i| {
            !matches!(desk.queue.phase(i.id), None | Some(Phase::Done | Phase::Failed | Phase::Paused))
        });
        open.map(|item| {
            let done = item.progress().map_or(item.done, |p| p.done_bytes);
            item.total.unwrap_or(0).saturating_sub(done)
        })
        .fold(0, u64::saturating_add)
    }

    fn id(&self, id: &str) -> Result<Id, ApiError> {
        let known = id.parse::<Id>().ok().filter(|id| self.desk().items.contains_key(id));
        known.ok_or_else(|| unknown(&shown(id)))
    }

    fn ids(&self, id: Option<&str>) -> Result<Option<Id>, ApiError> {
        id.map(|id| self.id(id)).transpose()
    }

    fn shown(&self, id: Id) -> Option<Download> {
        let desk = self.desk();
        Some(show::download(desk.items.get(&id)?, &desk.queue, self.now()))
    }

    pub(crate) fn list(&self) -> Downloads {
        show::list(&self.desk(), self.now(), self.inner.rate.get())
    }

    pub(crate) fn detail(&self, id: &str) -> Result<DownloadDetail, ApiError> {
        let id = self.id(id)?;
        let desk = self.desk();
        let item = desk.items.get(&id).ok_or_else(|| unknown(&id.to_string()))?;
        Ok(show::detail(item, &desk.queue, self.now()))
    }

    pub(crate) async fn pause(&self, id: Option<&str>) -> Result<Downloads, ApiError> {
        let id = self.ids(id)?;
        self.carry_out(Event::Pause(id)).await
    }

    pub(crate) async fn resume(&self, id: Option<&str>) -> Result<Downloads, ApiError> {
        let id = self.ids(id)?;
        self.carry_out(Event::Resume(id)).await
    }

    pub(crate) async fn cancel(&self, id: &str, keep: bool) -> Result<Downloads, ApiError> {
        let id = self.id(id)?;
        self.carry_out(Event::Cancel { id, keep }).await
    }

    pub(crate) async fn forget(&self, id: &str) -> Result<Downloads, ApiError> {
        let id = self.id(id)?;
        if !matches!(self.desk().queue.phase(id), Some(Phase::Done | Phase::Failed)) {
            return Err(ApiError::new(
                Code::Busy,
                "This download has not ended.",
                "Cancel it first; what has arrived can be kept.",
            ));
        }
        self.carry_out(Event::Forget(id)).await
    }

    async fn carry_out(&self, event: Event) -> Result<Downloads, ApiError> {
        self.apply(event);
        self.written().await;
        Ok(self.list())
    }

    /// Sets what `limit` was checked to be.
    pub(crate) fn limit(&self, limit: Option<u64>) {
        self.inner.rate.set(limit);
        self.show_again();
    }

    /// There is a token now, or another one: what failed for want of it is tried again.
    pub(crate) fn token_changed(&self) {
        let failed: Vec<Id> = {
            let desk = self.desk();
            let waits = |remedy: Option<Remedy>| {
                matches!(remedy, Some(Remedy::AddToken | Remedy::ChangeToken | Remedy::AcceptLicence))
            };
            let items = desk.items.values().filter(|i| i.problem.as_ref().is_some_and(|p| waits(p.remedy)));
            items.map(|i| i.id).filter(|id| desk.queue.phase(*id) == Some(Phase::Failed)).collect()
        };
        for id in failed {
            self.apply(Event::Resume(Some(id)));
        }
    }
}

/// Whether a token, a licence or somebody's word opens it.
fn is_closed(problem: &HubProblem) -> bool {
    matches!(
        problem.remedy,
        Some(Remedy::AddToken | Remedy::ChangeToken | Remedy::AcceptLicence | Remedy::AskForAccess)
    )
}

pub(super) fn limit_of(asked: Option<u64>) -> Result<Option<u64>, ApiError> {
    match asked {
        Some(limit) if limit < LEAST_LIMIT => Err(ApiError::new(
            Code::Usage,
            format!("{limit} bytes a second is too low a limit."),
            "Write 10,000 or more, none for no limit, or pause the downloads.",
        )),
        other => Ok(other),
    }
}
