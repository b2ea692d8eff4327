//! The same with nothing running: the user's cache, stack file and machine as they are.

use std::sync::Arc;

use api::ApiError;
use api::shapes::installed::{
    ImportModelRequest, InstalledModel, InstalledModels, RemoveModelRequest, RemovedModel, VerifyProgress,
};
use models::cache::{Hashing, Marks, User};
use store::paths::Paths;
use store::stack_file;

use super::shape::{self, Around};
use super::shelf::{Look, Shelf};
use crate::discover::offline_ground;
use crate::here::Here;
use crate::start::Options;

/// What is in the cache.
#[must_use]
pub fn offline_installed(options: &Options) -> InstalledModels {
    shaped(options, &look(&options.paths))
}

/// Hashes a model again. `tell` hears of it at most four times a second, and ends it by saying no; the last that it
/// hears has `done`. None where it was ended.
///
/// # Errors
/// No such model.
pub fn offline_verify(
    options: &Options,
    id: &str,
    tell: &mut dyn FnMut(&VerifyProgress) -> bool,
) -> Result<Option<VerifyProgress>, ApiError> {
    let look = look(&options.paths);
    let id = super::find(&look, id)?.installed.id.clone();
    // What was right is remembered in a folder that may not be there yet.
    let _ = options.paths.ensure();
    Ok(super::hash(&look, &id, &options.paths, tell))
}

/// Deletes a model, unless an agent of the stack file is set to it.
///
/// # Errors
/// No such model, or one that somebody uses or owns.
pub fn offline_remove(options: &Options, asked: &RemoveModelRequest) -> Result<RemovedModel, ApiError> {
    let look = look(&options.paths);
    let id = super::find(&look, &asked.id)?.installed.id.clone();
    let model = shaped(options, &look).models.into_iter().find(|m| m.id == id);
    let model = model.ok_or_else(|| super::unknown(&asked.id))?;
    super::carry_out(&look, &model, false, &stack_text(options), asked)
}

/// Takes a folder or a GGUF file into the cache. `tell` hears of every piece that was read, bytes done and in all.
///
/// # Errors
/// No model, no room, a name that is taken.
pub fn offline_import(
    options: &Options,
    asked: &ImportModelRequest,
    tell: &mut dyn FnMut(u64, u64) -> bool,
) -> Result<InstalledModel, ApiError> {
    let imported = super::bring(&options.paths.hub, asked, &mut |at: &Hashing| tell(at.done, at.total))?;
    super::found(shaped(options, &look(&options.paths)), &imported)
}

fn look(paths: &Paths) -> Arc<Look> {
    Shelf::default().look(&paths.hub)
}

/// The stack file's, or the shipped one's where there is none.
fn stack_text(options: &Options) -> String {
    stack_file::load_on(&options.paths.stack_file(), 1, &Here::of(options)).text
}

fn shaped(options: &Options, look: &Look) -> InstalledModels {
    let ground = offline_ground(options);
    // A stack whose figures do not agree with the models that are here still says who is set to which.
    let plain = || stack_file::check(&options.paths.stack_file(), &stack_text(options), 1).ok();
    let apart = if ground.household.is_none() { plain() } else { None };
    let around = Around {
        stack: ground.household.as_ref().map(|household| &household.0).or(apart.as_ref()),
        ground: &ground,
        shelf: &Shelf::default(),
        // Nobody is asked who is awake: what is open is found out when something is to go.
        awake: &|_| false,
        marks: &Marks::read(&super::marks_file(&options.paths)),
        user: &User::current(),
        downloads: &[],
    };
    shape::all(look, &around)
}
