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
    let hash = loaded.hash.clone();
    let stack: Option<Arc<Stack>> = loaded.stack.ok().map(Arc::new);
    if let Some((severity, words)) = news(&ctx.state.state().source, &source) {
        happened(ctx, severity, None, words);
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

/// What of a reading is worth a line. It is read again for its agents' models as well, which change what a plan counts
/// with and nothing that was written.
fn news(before: &StackSource, now: &StackSource) -> Option<(Severity, String)> {
    if before.text == now.text && before.problems == now.problems {
        return None;
    }
    Some(match now.problems.first() {
        None => (Severity::Info, "The stack file was read again.".to_owned()),
        Some(problem) => (Severity::Failure, format!("The stack file does not hold: {}", problem.message)),
    })
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_changed_is_told() {
        let of = |text: &str, problems: &[&str]| StackSource {
            text: text.to_owned(),
            problems: problems
                .iter()
                .map(|p| StackProblem {
                    file: "stack.toml".to_owned(),
                    line: None,
                    message: (*p).to_owned(),
                    next: String::new(),
                })
                .collect(),
            ..StackSource::default()
        };
        let said = |before: &StackSource, now: &StackSource| news(before, now).map(|(_, words)| words);
        let (good, other) = (of("a", &[]), of("b", &[]));
        let (broken, worse) = (of("b", &["No port."]), of("b", &["No name."]));
        for (before, now, words) in [
            (&good, &good, None),
            (&broken, &broken, None),
            (&good, &other, Some("The stack file was read again.")),
            (&good, &broken, Some("The stack file does not hold: No port.")),
            (&broken, &worse, Some("The stack file does not hold: No name.")),
            // What it lacked came without an edit: a model, say.
            (&broken, &other, Some("The stack file was read again.")),
        ] {
            assert_eq!(said(before, now).as_deref(), words, "{before:?} {now:?}");
        }
    }
}
