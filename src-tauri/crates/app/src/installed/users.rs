//! Who uses a model: which agents are set to it, by whatever name they call it.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use api::shapes::installed::ModelUser;
use domain::agent::AgentName;
use domain::stack::{Agent, HubFile, Stack};
use models::cache::{Inode, Installed};

/// The agents of a stack that load this model, in its order. `contents` are the inodes of its files.
pub(super) fn of(
    stack: &Stack,
    awake: &dyn Fn(&AgentName) -> bool,
    model: &Installed,
    contents: &[Inode],
) -> Vec<ModelUser> {
    stack
        .agents
        .iter()
        // A role has no model of its own: its server is in the list.
        .filter(|agent| agent.served_by.is_none() && loads(agent, model, contents))
        .map(|agent| ModelUser {
            agent: agent.name.to_string(),
            display_name: agent.display_name.clone(),
            awake: awake(&agent.name),
        })
        .collect()
}

fn loads(agent: &Agent, model: &Installed, contents: &[Inode]) -> bool {
    let revision = agent.revision.as_deref();
    names(&agent.model, revision, model, contents)
        // The draft's revision is not said anywhere: any commit of it may be meant.
        || agent.draft_model.as_deref().is_some_and(|draft| names(draft, None, model, contents))
        // Whatever else a command line names: a projector, an adapter, a tokenizer.
        || agent.args.iter().any(|arg| names(arg.rsplit('=').next().unwrap_or(arg), revision, model, contents))
}

/// Whether `text`, as a stack file would say it, means this model.
fn names(text: &str, revision: Option<&str>, model: &Installed, contents: &[Inode]) -> bool {
    if Path::new(text).is_absolute() {
        return leads_to(Path::new(text), model, contents);
    }
    let same_revision = || {
        let revision = revision.unwrap_or("main");
        model.revisions.iter().any(|r| r == revision)
            || model.commit.eq_ignore_ascii_case(revision)
            // One that was only begun is needed by whoever names it.
            || model.commit.is_empty()
    };
    let same = match HubFile::parse(text) {
        Some(file) => {
            let parts = model.parts.contains(&file.file);
            file.repo == model.repo && (parts || model.commit.is_empty())
        }
        None => text == model.repo && !model.is_gguf,
    };
    same && same_revision()
}

/// A path may reach the same content through the snapshot, the blob, or a link from anywhere.
fn leads_to(path: &Path, model: &Installed, contents: &[Inode]) -> bool {
    let Ok(metadata) = fs::metadata(path) else { return false };
    if metadata.is_file() {
        return contents.contains(&(metadata.dev(), metadata.ino()));
    }
    path.canonicalize().ok().zip(model.path.canonicalize().ok()).is_some_and(|(path, own)| own == path)
}

/// Why a model is kept, in a sentence; none where it may go.
pub(super) fn protected(users: &[ModelUser], even_if_configured: bool) -> Option<String> {
    let list = |users: &[&ModelUser]| {
        let names: Vec<&str> = users.iter().map(|u| u.display_name.as_str()).collect();
        match names.as_slice() {
            [most @ .., last] if !most.is_empty() => format!("{} and {last}", most.join(", ")),
            names => names.join(""),
        }
    };
    let awake: Vec<&ModelUser> = users.iter().filter(|u| u.awake).collect();
    if !awake.is_empty() {
        let (runs, it) = if awake.len() == 1 { ("runs", "it sleeps") } else { ("run", "they sleep") };
        return Some(format!("{} {runs} on it; it can go when {it}.", list(&awake)));
    }
    if users.is_empty() || even_if_configured {
        return None;
    }
    let all: Vec<&ModelUser> = users.iter().collect();
    let is = if all.len() == 1 { "is" } else { "are" };
    Some(format!("{} {is} set to it.", list(&all)))
}

#[cfg(test)]
#[path = "users_tests.rs"]
mod tests;
