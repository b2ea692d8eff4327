//! Folders: models, the cache they lie in, and room on the disks.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use domain::doctor::{Disks, Free, HubCache, ModelFact, Seen};
use domain::stack::{Agent, BackendKind, ClaimBasis, HubFile, Stack};
use models::cache::{self, Presence};

use super::{Place, RECORDING, look};

/// A cache of hundreds of models has some thousand entries.
const ENTRIES: u32 = 20_000;
const PATIENCE: Duration = Duration::from_millis(1500);
/// Of what is wrong, the first few are told.
const TOLD: usize = 5;
/// `models--a--b/snapshots/<commit>/<folder>/<file>`
const DEEPEST: u32 = 4;

pub(super) struct FileFacts {
    pub(super) models: Seen<Vec<ModelFact>>,
    pub(super) hub: Seen<HubCache>,
    pub(super) disks: Disks,
}

pub(super) async fn read(place: &Place) -> FileFacts {
    if !place.machine.is_this_one() {
        let recorded = || RECORDING.to_owned();
        return FileFacts {
            models: Err(recorded()),
            hub: Err(recorded()),
            disks: Disks {
                models: Err(recorded()),
                engine: Err(recorded()),
                caches: Err(recorded()),
                data: Err(recorded()),
            },
        };
    }
    let hub = place.paths.hub.clone();
    let models = async {
        let stack = place.stack.clone().map_err(|_| "The stack file does not hold.".to_owned())?;
        let hub = hub.clone();
        look("The folder of models", move || models_of(&stack, &hub)).await
    };
    let walked = hub.clone();
    let (models, hub, in_hub, in_caches, in_data) = tokio::join!(
        models,
        look("The folder of models", move || walk(&walked, PATIENCE)),
        free(hub.clone()),
        free(place.paths.cache.clone()),
        free(place.paths.data.clone()),
    );
    let disks = Disks {
        models: in_hub,
        engine: Err("It was not looked at.".to_owned()),
        caches: in_caches,
        data: in_data,
    };
    FileFacts { models, hub, disks }
}

/// Free bytes where a folder is, or will be.
async fn free(folder: PathBuf) -> Seen<Free> {
    let path = folder.display().to_string();
    let what = format!("The disk of {path}");
    let bytes = look(&what, move || {
        let there = folder.ancestors().find(|p| p.exists())?;
        let disk = rustix::fs::statvfs(there).ok()?;
        Some(disk.f_bavail.saturating_mul(disk.f_frsize))
    });
    match bytes.await? {
        Some(bytes) => Ok(Free { path, bytes }),
        None => Err(format!("{what} cannot be read.")),
    }
}

/// Each model once, in the stack's order.
fn models_of(stack: &Stack, hub: &Path) -> Vec<ModelFact> {
    let mut seen: BTreeSet<(&str, Option<&str>)> = BTreeSet::new();
    let takes_files = |a: &&Agent| {
        a.served_by.is_none() && a.is_ours() && matches!(a.backend, BackendKind::Vllm | BackendKind::LlamaCpp)
    };
    let agents = stack.agents.iter().filter(takes_files);
    agents.filter(|a| seen.insert((&a.model, a.revision.as_deref()))).map(|agent| model(agent, hub)).collect()
}

fn model(agent: &Agent, hub: &Path) -> ModelFact {
    let revision = agent.revision.as_deref();
    let (missing, fetch) = if let Some(file) = HubFile::parse(&agent.model) {
        let there = cache::gguf_path(hub, &file.repo, &file.file, revision).is_some();
        let fetch = cache::fetch_command(&agent.model, revision);
        ((!there).then(|| "The file is not in the cache.".to_owned()), fetch)
    } else if agent.model.starts_with('/') {
        let there = Path::new(&agent.model).exists();
        let fetch = format!("asgard config edit # {}: there is no {}", agent.name, agent.model);
        ((!there).then(|| "There is no such file.".to_owned()), fetch)
    } else {
        let missing = match cache::has_model(hub, &agent.model, revision) {
            Presence::Complete { .. } => None,
            Presence::Incomplete { why } => Some(why),
            Presence::Absent => Some("It is not in the cache.".to_owned()),
        };
        (missing, cache::fetch_command(&agent.model, revision))
    };
    let bytes = match agent.claim {
        ClaimBasis::KvCache { weights, .. } => weights.0,
        ClaimBasis::Memory(_) | ClaimBasis::Share(_) => 0,
    };
    ModelFact { model: agent.model.clone(), missing, fetch, bytes }
}

/// Looks for entries that this user can neither read nor change. Links are not followed: they lead to what is looked at
/// anyway.
fn walk(hub: &Path, patience: Duration) -> HubCache {
    let path = hub.display().to_string();
    let mut found = HubCache { path, ..HubCache::default() };
    let begun = Instant::now();
    let mut left = ENTRIES;
    let mut waiting = vec![(hub.to_path_buf(), 0_u32)];
    while let Some((folder, depth)) = waiting.pop() {
        let entries = match fs::read_dir(&folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                found.exists = true;
                tell(&mut found.unreadable, &folder);
                continue;
            }
            Err(_) => continue,
        };
        found.exists = true;
        for entry in entries.flatten() {
            if left == 0 || begun.elapsed() > patience {
                found.cut = true;
                return found;
            }
            left -= 1;
            let path = entry.path();
            let Ok(about) = fs::symlink_metadata(&path) else { continue };
            if about.is_symlink() {
                continue;
            }
            let may = |access| rustix::fs::access(&path, access).is_ok();
            if !may(rustix::fs::Access::READ_OK) {
                tell(&mut found.unreadable, &path);
            } else if about.uid() != rustix::process::geteuid().as_raw() && !may(rustix::fs::Access::WRITE_OK)
            {
                tell(&mut found.foreign, &path);
            }
            if about.is_dir() && depth < DEEPEST {
                waiting.push((path, depth + 1));
            }
        }
    }
    found
}

fn tell(list: &mut Vec<String>, path: &Path) {
    if list.len() < TOLD {
        list.push(path.display().to_string());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cache_is_looked_at_without_following_links_or_losing_time() {
        let dir = tempfile::tempdir().unwrap();
        assert!(!walk(&dir.path().join("hub"), PATIENCE).exists);
        let model = dir.path().join("models--a--b");
        fs::create_dir_all(model.join("blobs")).unwrap();
        fs::write(model.join("blobs/x"), "x").unwrap();
        std::os::unix::fs::symlink("/nowhere", model.join("blobs/broken")).unwrap();
        std::os::unix::fs::symlink(dir.path(), model.join("blobs/round")).unwrap();
        let found = walk(dir.path(), PATIENCE);
        assert!(found.exists && found.foreign.is_empty() && found.unreadable.is_empty() && !found.cut);
        assert!(walk(dir.path(), Duration::ZERO).cut);
        // A file where the folder should be is none.
        assert!(!walk(&model.join("blobs/x"), PATIENCE).exists);
    }
}
