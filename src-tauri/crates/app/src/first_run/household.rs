//! The models of a household: who needs them, what they weigh, which are here.

use std::collections::BTreeSet;
use std::path::Path;

use api::shapes::assign::FirstModel;
use api::shapes::downloads::PullRequest;
use api::shapes::hub::{HubModel, Variant};
use domain::agent::AgentName;
use domain::catalog::known_model;
use domain::stack::{Agent, BackendKind, HubFile, Stack};
use models::cache::{self, Presence};
use store::stack_file::Surroundings;

/// Agents that need files of the Hub.
fn agents(stack: &Stack) -> impl Iterator<Item = &Agent> {
    stack.agents.iter().filter(|a| {
        a.served_by.is_none()
            && a.is_ours()
            && matches!(a.backend, BackendKind::Vllm | BackendKind::LlamaCpp)
            && !a.model.starts_with('/')
    })
}

fn repo_of(model: &str) -> String {
    HubFile::parse(model).map_or_else(|| model.to_owned(), |file| file.repo)
}

/// Each model once, the base profile's first, in the stack's order.
pub(super) fn models(
    stack: &Stack,
    curated: &[HubModel],
    around: &dyn Surroundings,
    hub: &Path,
    scale: u64,
) -> Vec<FirstModel> {
    let base: BTreeSet<AgentName> =
        stack.profile(&stack.base).map(|p| p.servers(stack)).unwrap_or_default().into_iter().collect();
    let mut found: Vec<(bool, String, FirstModel)> = Vec::new();
    for agent in agents(stack) {
        let needed = base.contains(&agent.name);
        if let Some((first, _, known)) = found.iter_mut().find(|(_, model, _)| *model == agent.model) {
            known.agents.push(agent.name.to_string());
            *first |= needed;
            continue;
        }
        let model = shown(curated, &agent.model);
        let variant = model.variants.iter().find(|v| v.model == agent.model).or(model.variants.first());
        let bytes = variant.map(|v| v.download_bytes).filter(|b| *b > 0).or_else(|| {
            // Nearly all of a download is its weights.
            known_model(&agent.model).map(|m| m.weights.0 / scale.max(1))
        });
        let installed = is_here(agent, around, hub);
        found.push((
            needed,
            agent.model.clone(),
            FirstModel { model, agents: vec![agent.name.to_string()], bytes, chosen: false, installed },
        ));
    }
    // Stable: within the two parts the stack's order stays.
    found.sort_by_key(|(needed, _, _)| !needed);
    found
        .into_iter()
        .map(|(needed, _, model)| FirstModel { chosen: needed && !model.installed, ..model })
        .collect()
}

/// As the curated list has it, with the one variant that is meant; else by its name alone.
fn shown(curated: &[HubModel], model: &str) -> HubModel {
    let repo = repo_of(model);
    if let Some(known) = curated.iter().find(|m| m.repo == repo) {
        return known.clone();
    }
    let title = repo.rsplit('/').next().unwrap_or(&repo).replace(['-', '_'], " ");
    let variant = Variant { id: "all".to_owned(), model: model.to_owned(), ..Variant::default() };
    HubModel { repo, title, variants: vec![variant], ..HubModel::default() }
}

fn is_here(agent: &Agent, around: &dyn Surroundings, hub: &Path) -> bool {
    let revision = agent.revision.as_deref();
    match HubFile::parse(&agent.model) {
        Some(_) => around.model(&agent.model, revision).is_some(),
        None => matches!(cache::has_model(hub, &agent.model, revision), Presence::Complete { .. }),
    }
}

/// What is to be put into the queue for these repositories: of GGUF files the one that an agent names.
pub(super) fn pulls(stack: &Stack, repos: &[String]) -> Vec<PullRequest> {
    let mut asked = Vec::new();
    for repo in repos {
        let files: BTreeSet<String> = agents(stack)
            .filter_map(|a| HubFile::parse(&a.model))
            .filter(|file| file.repo == *repo)
            .map(|file| file.file)
            .collect();
        let revision = agents(stack).find(|a| repo_of(&a.model) == *repo).and_then(|a| a.revision.clone());
        let pull = PullRequest {
            repo: repo.clone(),
            revision,
            variant: None,
            files: files.into_iter().flat_map(|file| parts(&file)).collect(),
        };
        if !asked.contains(&pull) {
            asked.push(pull);
        }
    }
    asked
}

/// A split model is all of its parts.
fn parts(file: &str) -> Vec<String> {
    match file.rsplit_once("-00001-of-") {
        Some((stem, _)) => vec![format!("{stem}-*.gguf")],
        None => vec![file.to_owned()],
    }
}
