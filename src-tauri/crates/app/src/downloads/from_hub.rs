//! Models from the Hub into the cache of this machine.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use api::shapes::downloads::Remedy;
use api::shapes::hub::HubProblem;
use async_trait::async_trait;
use models::download::{self, FetchError, Fetched, Partial, Progress, RateLimit, Wanted};
use models::hub::{Hash, HubError, RepoFile, Tree};
use models::variants::{NotChosen, files_for};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::source::{Asked, Found, Here, Nothing, Source};
use crate::world::World;

pub(crate) struct FromHub {
    world: Arc<World>,
}

impl FromHub {
    pub(crate) fn new(world: Arc<World>) -> Self {
        Self { world }
    }

    fn hub_folder(&self) -> &Path {
        &self.world.paths.hub
    }
}

#[async_trait]
impl Source for FromHub {
    async fn look_up(&self, asked: &Asked) -> Result<Found, Nothing> {
        let hub = crate::account::hub_of(&self.world).await;
        let info = hub.info(&asked.repo, &asked.revision).await?;
        let tree = hub.files(&asked.repo, &info.commit).await?;
        found(asked, info.commit, &tree).map_err(Nothing::Refused)
    }

    async fn fetch(
        &self,
        wanted: Wanted,
        rate: &Arc<RateLimit>,
        progress: watch::Sender<Progress>,
        cancel: CancellationToken,
    ) -> Result<Fetched, FetchError> {
        let hub = crate::account::hub_of(&self.world).await;
        if hub.offline {
            return Err(FetchError::Hub(HubError::Offline));
        }
        download::fetch(&hub, self.hub_folder(), &wanted, rate, progress, cancel).await
    }

    fn at_hand(&self, asked: &Asked) -> Option<Found> {
        let (commit, files) = lying(self.hub_folder(), &asked.repo, &asked.revision)?;
        let tree = Tree { files, refused: Vec::new() };
        let found = found(asked, commit, &tree).ok()?;
        // Of safetensors all that the index names; of what was named by pattern nobody knows how much there is.
        let complete = models::cache::has_model(self.hub_folder(), &asked.repo, Some(&asked.revision));
        let whole = matches!(complete, models::cache::Presence::Complete { .. })
            || domain::stack::HubFile::parse(&found.model).is_some();
        let exact = asked.patterns.iter().all(|p| tree.files.iter().any(|f| f.path == *p));
        (whole && exact && self.here(asked, &found).whole).then_some(found)
    }

    fn here(&self, asked: &Asked, found: &Found) -> Here {
        let cache = self.hub_folder();
        let Ok(folder) = models::cache::folder_name(&asked.repo) else { return Here::default() };
        let folder = cache.join(folder);
        let snapshot = folder.join("snapshots").join(&found.commit);
        let size =
            |path: PathBuf| std::fs::metadata(path).ok().filter(std::fs::Metadata::is_file).map(|m| m.len());
        let mut whole = true;
        let mut bytes = 0_u64;
        let mut missing = Vec::new();
        for file in found.files.iter() {
            if size(snapshot.join(&file.path)) == Some(file.size) {
                bytes = bytes.saturating_add(file.size);
                continue;
            }
            whole = false;
            // The same content under another commit.
            if size(folder.join("blobs").join(file.hash.hex())) == Some(file.size) {
                bytes = bytes.saturating_add(file.size);
            } else {
                missing.push(file);
            }
        }
        if !missing.is_empty() {
            let missing: BTreeMap<&str, u64> = missing.iter().map(|f| (f.hash.hex(), f.size)).collect();
            for partial in download::partials(cache).iter().filter(|p| p.repo == asked.repo) {
                if let Some(size) = missing.get(partial.hash.as_str()) {
                    bytes = bytes.saturating_add(partial.bytes.min(*size));
                }
            }
        }
        let named = asked.revision == found.commit
            || std::fs::read_to_string(folder.join("refs").join(&asked.revision))
                .is_ok_and(|commit| commit.trim() == found.commit);
        Here { whole: whole && named && !found.files.is_empty(), bytes }
    }

    fn partials(&self) -> Vec<Partial> {
        download::partials(self.hub_folder())
    }

    fn discard(&self, repo: &str, hashes: &[String]) {
        if let Err(error) = download::discard(self.hub_folder(), repo, hashes) {
            tracing::warn!("What was left of {repo} could not be deleted: {error}.");
        }
    }

    fn free(&self) -> Option<u64> {
        let there = self.hub_folder().ancestors().find(|p| p.exists())?;
        let disk = rustix::fs::statvfs(there).ok()?;
        Some(disk.f_bavail.saturating_mul(disk.f_frsize))
    }

    fn folder(&self) -> PathBuf {
        self.hub_folder().to_path_buf()
    }
}

fn found(asked: &Asked, commit: String, tree: &Tree) -> Result<Found, HubProblem> {
    let chosen =
        files_for(&asked.repo, tree, asked.variant.as_deref(), &asked.patterns).map_err(|e| refused(&e))?;
    Ok(Found {
        commit,
        title: crate::discover::title(&asked.repo),
        variant: chosen.variant,
        model: chosen.model,
        files: Arc::new(chosen.files),
    })
}

fn refused(why: &NotChosen) -> HubProblem {
    HubProblem { message: why.to_string(), next: why.next(), remedy: Some(Remedy::ChooseOther), page: None }
}

/// The files of a revision as they lie in the cache, each by the hash that its link names.
fn lying(cache: &Path, repo: &str, revision: &str) -> Option<(String, Vec<RepoFile>)> {
    let folder = cache.join(models::cache::folder_name(repo).ok()?);
    let is_commit = |text: &str| text.len() == 40 && text.bytes().all(|b| b.is_ascii_hexdigit());
    let commit = if is_commit(revision) {
        revision.to_ascii_lowercase()
    } else {
        let named = models::cache::is_repo_path(revision).then(|| folder.join("refs").join(revision))?;
        std::fs::read_to_string(named).ok().map(|c| c.trim().to_owned()).filter(|c| is_commit(c))?
    };
    let mut files = Vec::new();
    walk(&folder.join("snapshots").join(&commit), "", 0, &mut files);
    (!files.is_empty()).then_some((commit, files))
}

fn walk(folder: &Path, prefix: &str, depth: usize, files: &mut Vec<RepoFile>) {
    const DEEPEST: usize = 16;
    const MOST: usize = 100_000;
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let Ok(name) = entry.file_name().into_string() else { continue };
        let (path, kind) = (format!("{prefix}{name}"), entry.file_type());
        if kind.is_ok_and(|k| k.is_dir()) {
            if depth < DEEPEST {
                walk(&entry.path(), &format!("{path}/"), depth + 1, files);
            }
            continue;
        }
        let blob = std::fs::read_link(entry.path()).ok();
        let hex = blob.as_deref().and_then(Path::file_name).and_then(|n| n.to_str()).unwrap_or_default();
        let hash = match hex.len() {
            64 => Hash::Sha256(hex.to_owned()),
            40 => Hash::Git(hex.to_owned()),
            // A plain file, as other programs leave them: there is no hash to name it by.
            _ => continue,
        };
        if let Ok(metadata) = std::fs::metadata(entry.path())
            && files.len() < MOST
            && models::cache::is_repo_path(&path)
        {
            files.push(RepoFile { path, size: metadata.len(), hash });
        }
    }
}
