//! What was seen, as faces show it.

use std::path::Path;

use api::shapes::downloads::{Download, DownloadState};
use api::shapes::installed::{InstalledModel, InstalledModels, OwnerProblem};
use domain::agent::AgentName;
use domain::stack::Stack;
use models::Described;
use models::cache::{Entry, Inode, Installed, Marks, User, quoted};
use rustix::fs::{Access, StatVfsMountFlags, access, statvfs};
use store::stack_file::presets;

use super::shelf::{Look, Seen, Shelf};
use super::users;
use crate::discover::Ground;

/// What a model is seen beside.
pub(super) struct Around<'a> {
    /// None where it does not hold.
    pub(super) stack: Option<&'a Stack>,
    pub(super) ground: &'a Ground,
    pub(super) shelf: &'a Shelf,
    pub(super) awake: &'a dyn Fn(&AgentName) -> bool,
    pub(super) marks: &'a Marks,
    pub(super) user: &'a User,
    pub(super) downloads: &'a [Download],
}

pub(super) fn all(look: &Look, around: &Around<'_>) -> InstalledModels {
    let presets: Vec<(&str, String)> = presets::all()
        .iter()
        // The played one has the default's own text.
        .filter(|p| p.scale == 1)
        .map(|p| (p.name, p.text()))
        .collect();
    let hub = &look.scan.hub;
    InstalledModels {
        models: look.models.iter().map(|seen| one(look, seen, around, &presets)).collect(),
        path: hub.display().to_string(),
        held_bytes: look.scan.held,
        free_bytes: free(hub),
        read_only: read_only(hub, around.user),
        notes: look.scan.notes.clone(),
    }
}

pub(super) fn nothing(hub: &Path) -> InstalledModels {
    InstalledModels {
        models: Vec::new(),
        path: hub.display().to_string(),
        held_bytes: 0,
        free_bytes: free(hub),
        read_only: None,
        notes: vec!["The cache could not be looked at.".to_owned()],
    }
}

fn one(look: &Look, seen: &Seen, around: &Around<'_>, presets: &[(&str, String)]) -> InstalledModel {
    let model = &seen.installed;
    let place = look.place_of(model);
    let contents: Vec<Inode> = place
        .iter()
        .flat_map(|(repo, snapshot)| {
            model.parts.iter().filter_map(|part| match snapshot.files.get(part)? {
                Entry::Blob(name) => repo.blobs.get(name).map(|b| b.inode),
                Entry::Own(blob) => Some(blob.inode),
                Entry::Outside { .. } | Entry::Broken | Entry::Odd => None,
            })
        })
        .collect();
    let foreign = look.scan.repos.iter().find(|r| r.id == model.repo).and_then(|r| r.foreign.as_ref());
    let described = seen.described.as_deref();
    let placed = around.shelf.placed(seen, around.ground);
    let (hub, variant) = (&placed.0, &placed.1);
    let quantization = described.and_then(quantization);
    let quoted_name = format!("\"{}\"", model.model);
    InstalledModel {
        id: model.id.clone(),
        model: model.model.clone(),
        repo: model.repo.clone(),
        title: title(hub.title.clone(), model, quantization.as_deref()),
        commit: model.commit.clone(),
        revisions: model.revisions.clone(),
        path: model.path.display().to_string(),
        held_bytes: model.held,
        shared_bytes: model.shared,
        files: model.parts.len() as u64,
        backend: described.and(variant.backend.clone()),
        quantization,
        architecture: described.map(|d| d.facts.architecture.clone()).filter(|a| !a.is_empty()),
        max_context: described.and_then(|d| d.facts.max_context),
        licence: seen.licence.clone(),
        licence_title: hub.licence_title.clone(),
        used_by: around
            .stack
            .map(|stack| users::of(stack, around.awake, model, &contents))
            .unwrap_or_default(),
        presets: presets
            .iter()
            .filter(|(_, text)| text.contains(&quoted_name))
            .map(|(name, _)| (*name).to_owned())
            .collect(),
        complete: model.problem.is_none(),
        problem: model.problem.clone(),
        verified: place.and_then(|(repo, snapshot)| around.marks.verified(repo, snapshot, &model.parts)),
        owner: foreign.map(|f| OwnerProblem { message: f.message(), command: f.command(around.user) }),
        weights_bytes: variant.weights_bytes,
        memory_bytes: variant.memory_bytes,
        context: variant.context,
        fit: variant.fit.clone(),
        tokens_per_second: variant.tokens_per_second,
        download: around
            .downloads
            .iter()
            .find(|d| {
                d.state != DownloadState::Done
                    && d.repo == model.repo
                    && d.commit
                        .as_ref()
                        .is_none_or(|commit| *commit == model.commit || model.commit.is_empty())
            })
            .map(|d| d.id.clone()),
    }
}

/// "AWQ 4-bit", "Q4_K_M", "BF16".
fn quantization(described: &Described) -> Option<String> {
    let facts = &described.facts;
    match &facts.quantization {
        Some(named) => Some(named.trim_start_matches("GGUF ").to_owned()),
        None => match facts.dtype.as_str() {
            "bfloat16" => Some("BF16".to_owned()),
            "float16" => Some("FP16".to_owned()),
            "float32" => Some("FP32".to_owned()),
            _ => None,
        },
    }
}

/// Of a GGUF its file's name too, where that says more than its repository and its quantisation.
fn title(repo: String, model: &Installed, quantization: Option<&str>) -> String {
    let stem = model.path.file_stem().filter(|_| model.is_gguf).map(|s| s.to_string_lossy().into_owned());
    let plain = |text: &str| text.to_lowercase().replace(['-', '_', '.', ' '], "");
    match stem {
        Some(stem)
            if !plain(&stem).starts_with(&plain(&repo))
                && plain(&stem) != plain(quantization.unwrap_or_default()) =>
        {
            format!("{repo}, {stem}")
        }
        _ => repo,
    }
}

/// On the file system of the cache, or of the nearest folder above where it is not made yet.
fn free(hub: &Path) -> Option<u64> {
    let there = hub.ancestors().find(|p| p.exists())?;
    statvfs(there).ok().map(|s| s.f_bavail.saturating_mul(s.f_frsize))
}

/// Why nothing can be written there; none where it can, or where the folder is only to be made.
fn read_only(hub: &Path, user: &User) -> Option<String> {
    let there = hub.ancestors().find(|p| p.exists())?;
    let on_disk = statvfs(there).ok().is_some_and(|s| s.f_flag.contains(StatVfsMountFlags::RDONLY));
    if on_disk {
        return Some(format!("{} is on a file system that may only be read.", there.display()));
    }
    access(there, Access::WRITE_OK | Access::EXEC_OK).err()?;
    Some(format!(
        "{} may not be written to by this user. Make it yours: sudo chown -R {}:{} {}",
        there.display(),
        user.uid,
        user.gid,
        quoted(&there.to_string_lossy())
    ))
}
