//! What the Hub has, and what of that would run here.
//!
//! A search is answered with what the Hub tells in a list, then with each model again as soon as its files were looked
//! at, at most six at once. What was looked at is remembered by repository and commit, and a commit never changes.

mod curated;
mod filter;
mod ground;
mod installed;
mod memory;
mod model;
mod offline;
#[cfg(test)]
mod search_tests;
mod words;

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use api::ApiError;
use api::shapes::hub::{
    CuratedModels, HubModel, ModelInfo, RepoFile, RepoRequest, SearchChunk, SearchRequest,
};
use domain::stack::HubFile;
use futures_util::StreamExt;
use futures_util::stream;
use models::hub::{About, Hash, Hub, HubError, PUBLIC, RepoInfo, Wanted};
use models::remote::Looked;
use serde_json::Value;
use tokio::sync::mpsc;

use crate::carry::Ctx;
use crate::hub_problem::{api_error, problem};
pub(crate) use ground::Ground;
pub(crate) use installed::of_installed;
pub(crate) use memory::Memory;
pub(crate) use offline::described as offline_described;
pub(crate) use offline::ground as offline_ground;
pub use offline::{offline_curated, offline_info, offline_search};
pub(crate) use words::title;

/// Models on a page.
const PAGE: usize = 20;
/// Looked at at the same time.
const AT_ONCE: usize = 6;
/// A person who asks for a download is not kept waiting for longer.
const MOMENT: Duration = Duration::from_secs(5);
/// Files that are listed to a face.
const MOST_FILES: usize = 2000;
const MOST_CARD: usize = 100_000;
/// A model card in bytes; longer ones are cut.
const MOST_CARD_BYTES: usize = 1 << 20;

pub(crate) fn curated(ctx: &Ctx) -> CuratedModels {
    curated::models(&Ground::of(ctx))
}

pub(crate) async fn info(ctx: &Ctx, asked: &RepoRequest) -> Result<ModelInfo, ApiError> {
    let hub = crate::account::hub(ctx).await;
    info_on(&hub, &Ground::of(ctx), &ctx.world.looked, asked).await
}

pub(crate) async fn search(
    ctx: &Ctx,
    asked: &SearchRequest,
    out: mpsc::Sender<Value>,
) -> Result<(), ApiError> {
    let hub = crate::account::hub(ctx).await;
    search_on(&hub, &Ground::of(ctx), &ctx.world.looked, asked, &out).await
}

/// The variant that suits this machine best, for a download that names none. None where there is nothing to choose, or
/// where that cannot be found out in a moment.
pub(crate) async fn best(ctx: &Ctx, info: RepoInfo) -> Option<String> {
    let best = async {
        let hub = crate::account::hub(ctx).await;
        let looked = look(&hub, &ctx.world.looked, info).await.ok()?;
        shaped(&Ground::of(ctx), &looked).await.best
    };
    tokio::time::timeout(MOMENT, best).await.ok().flatten()
}

/// A model that is not in the cache, as the Hub describes it; `absent` where it is not there either.
pub(crate) async fn described(
    ctx: &Ctx,
    model: &str,
    absent: ApiError,
) -> Result<models::Described, ApiError> {
    let hub = crate::account::hub(ctx).await;
    described_on(&hub, &ctx.world.looked, model, absent).await
}

async fn described_on(
    hub: &Hub,
    memory: &Memory,
    model: &str,
    absent: ApiError,
) -> Result<models::Described, ApiError> {
    let file = HubFile::parse(model);
    let repo = file.as_ref().map_or(model, |f| f.repo.as_str());
    if models::hub::repo_refusal(repo).is_some() || !repo.contains('/') {
        return Err(absent);
    }
    let looked = async { look(hub, memory, hub.info(repo, "main").await?).await };
    let looked = match looked.await {
        Ok(looked) => looked,
        Err(
            HubError::NotFound { .. }
            | HubError::Unreachable { .. }
            | HubError::NeedsToken { .. }
            | HubError::Offline,
        ) => return Err(absent),
        Err(error) => return Err(api_error(&error)),
    };
    let wanted = |d: &&models::remote::Described| match &file {
        Some(file) => d.variant.weights.contains(&file.file),
        None => d.variant.backend.is_some(),
    };
    let Some(found) = looked.variants.iter().find(wanted) else { return Err(absent) };
    let Some(facts) = found.facts.clone() else {
        return Err(looked.problem.as_ref().map_or(absent, api_error));
    };
    Ok(models::Described {
        name: model.to_owned(),
        facts,
        source: "its files on the Hub".to_owned(),
        is_gguf: found.variant.id != models::variants::ALL,
    })
}

async fn info_on(
    hub: &Hub,
    ground: &Ground,
    memory: &Memory,
    asked: &RepoRequest,
) -> Result<ModelInfo, ApiError> {
    let repo = named(&asked.repo);
    let revision = asked.revision.as_deref().unwrap_or("main");
    let info = hub.info(repo, revision).await.map_err(|e| api_error(&e))?;
    let looked = look(hub, memory, info).await.map_err(|e| api_error(&e))?;
    let card = match looked.tree.files.iter().find(|f| f.path.eq_ignore_ascii_case("readme.md")) {
        Some(file) if file.size <= MOST_CARD_BYTES as u64 => {
            let (repo, commit) = (&looked.info.about.repo, &looked.info.commit);
            hub.small_file(repo, commit, &file.path, MOST_CARD_BYTES).await.ok()
        }
        _ => None,
    };
    let files = looked.tree.files.iter().take(MOST_FILES).map(|f| RepoFile {
        path: f.path.clone(),
        bytes: f.size,
        sha256: match &f.hash {
            Hash::Sha256(hex) => Some(hex.clone()),
            Hash::Git(_) => None,
        },
    });
    Ok(ModelInfo {
        files: files.collect(),
        file_count: looked.tree.files.len() as u64,
        total_bytes: looked.tree.files.iter().map(|f| f.size).fold(0, u64::saturating_add),
        card: card.map(|bytes| card_text(&String::from_utf8_lossy(&bytes))),
        page: format!("{}/{}", hub.endpoint, looked.info.about.repo),
        model: shaped(ground, &looked).await,
    })
}

async fn search_on(
    hub: &Hub,
    ground: &Ground,
    memory: &Memory,
    asked: &SearchRequest,
    out: &mpsc::Sender<Value>,
) -> Result<(), ApiError> {
    let wanted = Wanted {
        text: named(&asked.text).to_owned(),
        tags: filter::tags(asked),
        sort: filter::sort(asked.sort),
        limit: PAGE,
        cursor: asked.cursor.clone(),
    };
    let found = hub.search(&wanted).await.map_err(|e| api_error(&e))?;
    let found_models: Vec<(About, Option<String>)> =
        found.models.into_iter().filter(|(about, _)| filter::writes_text(about)).collect();
    let page = SearchChunk::Page {
        models: found_models.iter().map(|(about, commit)| model::listed(about, commit.as_deref())).collect(),
        cursor: found.cursor,
        checked_for: ground.checked_for(),
        from: from(hub),
    };
    if !send(out, &page).await {
        return Ok(());
    }
    // What keeps one model from being looked at keeps all of them: the others are not asked for any more.
    let stopped: OnceLock<HubError> = OnceLock::new();
    let looker = Looker { hub, ground, memory, asked, stopped: &stopped };
    let mut looking = stream::iter(found_models)
        .map(|(about, commit)| looker.detail(about, commit))
        .buffer_unordered(AT_ONCE);
    loop {
        // Nobody reads any more: nothing is asked for any more.
        let next = tokio::select! {
            next = looking.next() => next,
            () = out.closed() => return Ok(()),
        };
        let Some(model) = next else { return Ok(()) };
        if !send(out, &SearchChunk::Model { model: Box::new(model) }).await {
            return Ok(());
        }
    }
}

async fn send(out: &mpsc::Sender<Value>, chunk: &SearchChunk) -> bool {
    match serde_json::to_value(chunk) {
        Ok(value) => out.send(value).await.is_ok(),
        Err(_) => false,
    }
}

/// Looks at the models of a page.
struct Looker<'a> {
    hub: &'a Hub,
    ground: &'a Ground,
    memory: &'a Memory,
    asked: &'a SearchRequest,
    stopped: &'a OnceLock<HubError>,
}

impl Looker<'_> {
    async fn detail(&self, about: About, commit: Option<String>) -> HubModel {
        let listed = model::listed(&about, commit.as_deref());
        let looked = match self.stopped.get() {
            Some(error) => Err(error.clone()),
            None => self.look(about, commit).await,
        };
        match looked {
            Ok(looked) => {
                let mut model = shaped(self.ground, &looked).await;
                model.matches = Some(filter::matches(&model, self.asked));
                model
            }
            Err(error) => {
                let problem = problem(&error);
                if matches!(
                    error,
                    HubError::RateLimited { .. } | HubError::Unreachable { .. } | HubError::BadToken
                ) {
                    // The first of several is as good as any.
                    let _ = self.stopped.set(error);
                }
                HubModel { problem: Some(problem), ..listed }
            }
        }
    }

    async fn look(&self, about: About, commit: Option<String>) -> Result<Arc<Looked>, HubError> {
        let info = match commit {
            Some(commit) => RepoInfo { commit, about },
            None => self.hub.info(&about.repo, "main").await?,
        };
        look(self.hub, self.memory, info).await
    }
}

/// From memory, or from the Hub.
async fn look(hub: &Hub, memory: &Memory, info: RepoInfo) -> Result<Arc<Looked>, HubError> {
    let with_token = hub.sends_token();
    if let Some(known) = memory.get(&hub.endpoint, with_token, &info.about.repo, &info.commit) {
        // Counts and dates move while a commit stays.
        let now = Looked { info, ..(*known).clone() };
        return Ok(Arc::new(now));
    }
    let looked = Arc::new(hub.look(info).await?);
    memory.keep(&hub.endpoint, with_token, &looked);
    Ok(looked)
}

/// Planning takes a while for a repository of many quantisations: not in a thread that answers requests.
async fn shaped(ground: &Ground, looked: &Arc<Looked>) -> HubModel {
    let (ground, looked) = (ground.clone(), Arc::clone(looked));
    let listed = model::listed(&looked.info.about, Some(&looked.info.commit));
    tokio::task::spawn_blocking(move || model::looked(&ground, &looked)).await.unwrap_or(listed)
}

/// A repository's name, also out of an address that somebody copied from their browser.
fn named(text: &str) -> &str {
    let text = text.trim();
    let path = [PUBLIC, "https://hf.co", "huggingface.co", "hf.co"]
        .iter()
        .find_map(|begin| text.strip_prefix(begin)?.strip_prefix('/'));
    match path {
        Some(path) => {
            let end = path.match_indices('/').nth(1).map_or(path.len(), |(at, _)| at);
            path[..end].split(['?', '#']).next().unwrap_or_default()
        }
        None => text,
    }
}

/// Where it comes from, for a person.
fn from(hub: &Hub) -> String {
    if hub.endpoint == PUBLIC { "Hugging Face".to_owned() } else { hub.host() }
}

/// A model card without its head of facts, bounded.
fn card_text(text: &str) -> String {
    let body = text.trim_start_matches('\u{feff}').strip_prefix("---").and_then(|rest| {
        let end = rest.find("\n---")?;
        rest.get(end + 4..)
    });
    body.unwrap_or(text)
        .trim()
        .chars()
        .filter(|c| !c.is_control() || matches!(c, '\n' | '\t'))
        .take(MOST_CARD)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_as_good_as_a_name() {
        for (text, name) in [
            ("Qwen/Qwen2.5-7B", "Qwen/Qwen2.5-7B"),
            (" https://huggingface.co/Qwen/Qwen2.5-7B/tree/main ", "Qwen/Qwen2.5-7B"),
            ("https://huggingface.co/Qwen/Qwen2.5-7B?x=1", "Qwen/Qwen2.5-7B"),
            ("hf.co/o/n", "o/n"),
            ("coder that fits", "coder that fits"),
        ] {
            assert_eq!(named(text), name, "{text}");
        }
    }

    #[test]
    fn a_card_is_bounded_and_without_its_head() {
        assert_eq!(card_text("---\nlicense: mit\n---\n# Hello\n"), "# Hello");
        assert_eq!(card_text("# No head"), "# No head");
        assert_eq!(card_text("---\nnever closed"), "---\nnever closed");
        assert_eq!(card_text("a\u{1b}[31mb\0"), "a[31mb");
        assert_eq!(card_text(&"x".repeat(300_000)).len(), MOST_CARD);
    }
}
