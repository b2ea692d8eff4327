//! A look at the cache, kept as long as nothing changed there.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use api::shapes::hub::{HubModel, Variant};
use models::Described;
use models::cache::{self, Bounds, Installed, Repo, Scan, Snapshot, User};

use crate::discover::{Ground, of_installed};

/// A look may not take longer than a person waits.
const PATIENCE: Duration = Duration::from_secs(20);
/// What changes without a trace in its folder (a file that grows) is seen after so long.
const OLDEST: Duration = Duration::from_secs(60);
/// Memory in use moves all the time; where a model fits, seldom.
const FIT_KEPT: Duration = Duration::from_secs(10);
/// Repositories whose folders are looked at for changes.
const MOST: usize = 5_000;

/// What was seen.
pub(super) struct Look {
    pub(super) scan: Scan,
    pub(super) models: Vec<Seen>,
    signature: u64,
    at: Instant,
}

/// One model, and what its files say of it.
pub(super) struct Seen {
    pub(super) installed: Installed,
    pub(super) described: Option<Arc<Described>>,
    /// As the card has it.
    pub(super) licence: Option<String>,
    /// Of the contents that it is made of.
    print: u64,
}

impl Look {
    pub(super) fn place_of(&self, installed: &Installed) -> Option<(&Repo, &Snapshot)> {
        let repo = self.scan.repos.iter().find(|r| r.id == installed.repo)?;
        Some((repo, repo.snapshots.iter().find(|s| s.commit == installed.commit)?))
    }
}

/// What is known of a model as long as its files have these sizes and contents.
type Facts = BTreeMap<String, (u64, Option<Arc<Described>>, Option<String>)>;

/// Where a model fits, and until when that is taken to be so.
type Placed = BTreeMap<String, (Instant, u64, Arc<(HubModel, Variant)>)>;

#[derive(Default)]
pub(crate) struct Shelf {
    kept: Mutex<(Option<Arc<Look>>, Facts)>,
    placed: Mutex<Placed>,
}

impl Shelf {
    /// What is there now. Looks at the disk: never on a thread that answers requests.
    pub(super) fn look(&self, hub: &Path) -> Arc<Look> {
        let now = signature(hub);
        // Held through the look, so that two who ask look once.
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(look) = kept.0.as_ref().filter(|l| l.signature == now && l.at.elapsed() < OLDEST) {
            return look.clone();
        }
        let mut facts = std::mem::take(&mut kept.1);
        let look = Arc::new(look_at(hub, now, &mut facts));
        *kept = (Some(look.clone()), facts);
        look
    }

    /// Where a model fits: planned against every profile, which takes a moment, and so kept for another moment as long
    /// as the stack is the same one.
    pub(super) fn placed(&self, seen: &Seen, ground: &Ground) -> Arc<(HubModel, Variant)> {
        let mut hasher = DefaultHasher::new();
        seen.print.hash(&mut hasher);
        ground.household.as_ref().map(|h| format!("{:?}", h.0)).hash(&mut hasher);
        let now = hasher.finish();
        let model = &seen.installed;
        let mut placed = self.placed.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((at, of, known)) = placed.get(&model.id)
            && at.elapsed() < FIT_KEPT
            && *of == now
        {
            return known.clone();
        }
        let facts = seen.described.as_ref().map(|d| &d.facts).filter(|_| model.problem.is_none());
        let licence = seen.licence.as_deref();
        let made = Arc::new(of_installed(ground, &model.repo, &model.model, model.is_gguf, facts, licence));
        placed.retain(|_, (at, ..)| at.elapsed() < FIT_KEPT);
        placed.insert(model.id.clone(), (Instant::now(), now, made.clone()));
        made
    }

    /// The next look is at the disk.
    pub(super) fn forget(&self) {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner).0 = None;
    }
}

fn look_at(hub: &Path, signature: u64, facts: &mut Facts) -> Look {
    let at = Instant::now();
    let scan = cache::scan(hub, &User::current(), Bounds { until: Some(at + PATIENCE), ..Bounds::default() });
    let mut known = std::mem::take(facts);
    let models = cache::installed(&scan)
        .into_iter()
        .map(|installed| {
            let print = fingerprint(&scan, &installed);
            let fresh = known.remove(&installed.id).filter(|(of, ..)| *of == print);
            let (_, described, licence) = fresh.unwrap_or_else(|| {
                let described = models::describe(&installed.path.to_string_lossy(), hub, None).ok();
                let folder = if installed.is_gguf {
                    installed.path.ancestors().find(|p| p.ends_with(&installed.commit))
                } else {
                    Some(installed.path.as_path())
                };
                (print, described.map(Arc::new), folder.and_then(|f| cache::card(f).licence))
            });
            facts.insert(installed.id.clone(), (print, described.clone(), licence.clone()));
            Seen { installed, described, licence, print }
        })
        .collect();
    Look { scan, models, signature, at }
}

/// Of the contents that a model is made of.
fn fingerprint(scan: &Scan, installed: &Installed) -> u64 {
    let mut hasher = DefaultHasher::new();
    let repo = scan.repos.iter().find(|r| r.id == installed.repo);
    let snapshot = repo.and_then(|r| r.snapshots.iter().find(|s| s.commit == installed.commit));
    for (path, entry) in snapshot.iter().flat_map(|s| &s.files) {
        path.hash(&mut hasher);
        match entry {
            cache::Entry::Blob(name) => {
                name.hash(&mut hasher);
                repo.and_then(|r| r.blobs.get(name)).map(|b| (b.bytes, b.inode)).hash(&mut hasher);
            }
            cache::Entry::Own(blob) => (blob.bytes, blob.inode).hash(&mut hasher),
            cache::Entry::Outside { bytes } => bytes.hash(&mut hasher),
            cache::Entry::Broken | cache::Entry::Odd => {}
        }
    }
    hasher.finish()
}

/// Changes whenever a file comes, goes or is renamed in the cache: the times of its folders, which cost one `stat` each.
pub(super) fn signature(hub: &Path) -> u64 {
    let mut hasher = DefaultHasher::new();
    let mut note = |path: &Path| {
        std::fs::symlink_metadata(path).and_then(|m| m.modified()).ok().hash(&mut hasher);
    };
    note(hub);
    for entry in std::fs::read_dir(hub).into_iter().flatten().flatten().take(MOST) {
        let folder = entry.path();
        if !entry.file_name().to_string_lossy().starts_with("models--") {
            continue;
        }
        for name in ["", "blobs", "refs", "snapshots", ".asgard"] {
            note(&folder.join(name));
        }
        // A ref is written over in place.
        note(&folder.join("refs/main"));
        for snapshot in std::fs::read_dir(folder.join("snapshots")).into_iter().flatten().flatten().take(MOST)
        {
            note(&snapshot.path());
        }
    }
    hasher.finish()
}
