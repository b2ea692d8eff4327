//! What was seen, as faces show it.

use std::path::Path;

use api::shapes::downloads::{Download, DownloadState};
use api::shapes::hub::Fit;
use api::shapes::installed::{InstalledModel, InstalledModels, OwnerProblem};
use domain::agent::AgentName;
use domain::estimate::{self, Request};
use domain::plan::Situation;
use domain::stack::{BackendKind, Stack};
use models::Described;
use models::cache::{Entry, Inode, Marks, User, quoted};
use rustix::fs::{Access, StatVfsMountFlags, access, statvfs};
use store::stack_file::presets;

use super::shelf::{Look, Seen};
use super::users;

/// Nobody asks for a million tokens by saying nothing.
const USUAL_CONTEXT: u32 = 32_768;

/// What a model is seen beside.
pub(super) struct Around<'a> {
    /// The stack in force and the machine; none where either is not known.
    pub(super) ground: Option<(&'a Stack, &'a Situation)>,
    pub(super) awake: &'a dyn Fn(&AgentName) -> bool,
    pub(super) marks: &'a Marks,
    pub(super) user: &'a User,
    pub(super) downloads: &'a [Download],
}

pub(super) fn all(look: &Look, around: &Around<'_>) -> InstalledModels {
    let presets: Vec<(&str, String)> = presets::all().iter().map(|p| (p.name, p.text())).collect();
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
    let figures = described.map(|d| figures(d, model.problem.is_none())).unwrap_or_default();
    let quoted_name = format!("\"{}\"", model.model);
    InstalledModel {
        id: model.id.clone(),
        model: model.model.clone(),
        repo: model.repo.clone(),
        title: title(&model.repo, model.is_gguf.then_some(model.path.as_path())),
        commit: model.commit.clone(),
        revisions: model.revisions.clone(),
        path: model.path.display().to_string(),
        held_bytes: model.held,
        shared_bytes: model.shared,
        files: model.parts.len() as u64,
        backend: described.map(|d| backend(d).word().to_owned()),
        quantization: described.and_then(quantization),
        architecture: described.map(|d| d.facts.architecture.clone()).filter(|a| !a.is_empty()),
        max_context: described.and_then(|d| d.facts.max_context),
        licence: seen.licence.clone(),
        licence_title: seen.licence.as_deref().map(licence_title),
        used_by: around
            .ground
            .map(|(stack, _)| users::of(stack, around.awake, model, &contents))
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
        weights_bytes: figures.weights,
        memory_bytes: figures.memory,
        context: figures.context,
        fit: Fit::default(),
        tokens_per_second: None,
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

fn backend(described: &Described) -> BackendKind {
    if described.is_gguf { BackendKind::LlamaCpp } else { BackendKind::Vllm }
}

#[derive(Default)]
struct Figures {
    weights: Option<u64>,
    memory: Option<u64>,
    context: Option<u32>,
}

/// What it takes at the usual context; only of a model that is whole.
fn figures(described: &Described, whole: bool) -> Figures {
    let context = described.facts.max_context.map_or(USUAL_CONTEXT, |most| most.min(USUAL_CONTEXT));
    let request = Request::one(backend(described), Some(context));
    match estimate::estimate(&described.facts, &request) {
        Ok(made) if whole && made.certainty.weights <= estimate::Sureness::Computed => {
            Figures { weights: Some(made.weights.0), memory: Some(made.total.0), context: Some(context) }
        }
        _ => Figures::default(),
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

/// "Qwen2.5 14B Instruct".
fn title(repo: &str, gguf: Option<&Path>) -> String {
    let name = repo.rsplit('/').next().unwrap_or(repo);
    let name = name.strip_suffix("-GGUF").unwrap_or(name).replace(['-', '_'], " ");
    let file = gguf.and_then(|path| path.file_stem()).map(|stem| stem.to_string_lossy().into_owned());
    match file {
        // The file's own word stands in the column of quantisations; here only another name than the repository's.
        Some(file) if !file.replace(['-', '_'], " ").to_lowercase().starts_with(&name.to_lowercase()) => {
            format!("{name}, {file}")
        }
        _ => name,
    }
}

/// "Apache 2.0".
fn licence_title(licence: &str) -> String {
    let known = match licence {
        "apache-2.0" => "Apache 2.0",
        "mit" => "MIT",
        "llama3" => "Llama 3",
        "llama3.1" => "Llama 3.1",
        "llama3.2" => "Llama 3.2",
        "llama3.3" => "Llama 3.3",
        "gemma" => "Gemma",
        other => other,
    };
    known.to_owned()
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
