//! The stack file is read again when it changes. A file that does not hold leaves the last good stack in force.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use api::shapes::settings::StackProblem;
use api::shapes::status::Severity;
use api::{ApiError, Code};
use domain::stack::Stack;
use store::stack_file::Loaded;

use crate::activity::happened;
use crate::carry::Ctx;
use crate::here::Here;
use crate::state::{Event, StackSource};

pub(crate) fn source(loaded: &Loaded) -> StackSource {
    let problems = match &loaded.stack {
        Ok(_) => Vec::new(),
        Err(problems) => problems
            .iter()
            .map(|p| StackProblem {
                file: p.file.display().to_string(),
                line: p.line,
                message: p.message.clone(),
                next: p.next.clone(),
            })
            .collect(),
    };
    StackSource {
        path: loaded.file.display().to_string(),
        saved: loaded.saved,
        text: loaded.text.clone(),
        problems,
    }
}

fn changed_at(path: &Path) -> Option<SystemTime> {
    std::fs::metadata(path).and_then(|m| m.modified()).ok()
}

/// Looks at the file's time once a second or two: one `stat`, which wakes less than a watch on a folder that
/// editors rename in.
pub(crate) async fn run(ctx: Ctx) {
    let path = ctx.world.paths.stack_file();
    let mut seen = changed_at(&path);
    loop {
        tokio::time::sleep(Duration::from_secs(2)).await;
        let now = changed_at(&path);
        if now != seen {
            seen = now;
            read_again(&ctx).await;
        }
    }
}

pub(crate) async fn read_again(ctx: &Ctx) {
    let here = Here::in_world(&ctx.world, ctx.state.state().gpu);
    let scale = ctx.world.scale();
    let loaded = store::stack_file::load_on(&ctx.world.paths.stack_file(), scale, &here);
    let source = Arc::new(source(&loaded));
    let problem = source.problems.first().cloned();
    let hash = loaded.hash.clone();
    let stack: Option<Arc<Stack>> = loaded.stack.ok().map(Arc::new);
    if stack.is_some() {
        happened(ctx, Severity::Info, None, "The stack file was read again.");
    } else if let Some(problem) = problem {
        happened(ctx, Severity::Failure, None, format!("The stack file does not hold: {}", problem.message));
    }
    let holds = stack.is_some();
    let unconfirmed = store::confirm::read(&ctx.world.paths.unconfirmed_file()).map(Arc::new);
    ctx.state.tell(Event::Confirming(unconfirmed)).await;
    ctx.state.tell(Event::StackRead { stack, hash, source }).await;
    if holds {
        ctx.world.name_external(&ctx.state.state().stack);
        ctx.keys.load(&ctx.world.secrets, &ctx.state.state().stack).await;
        crate::learning::recall(ctx).await;
    }
}

/// Writes the shipped stack, where no file exists yet.
pub(crate) async fn save(ctx: &Ctx) -> Result<(), ApiError> {
    let path = ctx.world.paths.stack_file();
    store::stack_file::save_shipped(&path, ctx.world.scale()).map_err(|e| {
        ApiError::new(
            Code::Failed,
            format!("The stack file could not be written: {e}."),
            "Check the folder, or edit the file that is there.",
        )
    })?;
    read_again(ctx).await;
    Ok(())
}
