//! `asgard export`: of a coding tool, what it needs to use the agents. Made here and not by the controller, because
//! which file a tool reads is decided by the variables of this terminal; the controller is asked where its gateway is
//! and whether it plays.

use api::shapes::stacks::ExportKind;
use api::shapes::tools::{Tool, ToolConfig, ToolRequest};
use api::{ApiError, Code};
use app::ToolGround;
use serde_json::{Value, json};
use store::paths::Paths;
use store::secrets::Secrets;

use super::stacks;
use crate::Answer;
use crate::args::{ExportArgs, ExportWhat};
use crate::screen::Screen;
use crate::{place, reach};

pub(super) async fn export(screen: Screen, ask: ExportArgs) -> Result<Answer, ApiError> {
    let tool = match what(ask.what) {
        What::Stack(kind) => {
            if ask.primary.is_some() || ask.key.is_some() {
                return Err(usage("--primary and --key are for coding tools.", "Leave them out."));
            }
            if ask.project.is_some() && !ask.write {
                return Err(usage("--project says where to write.", "Add --write."));
            }
            return stacks::export(screen, kind, ask.write, ask.project).await;
        }
        What::Tool(tool) => tool,
    };
    if ask.project.is_some() && !app::writes(tool) {
        return Err(usage("--project is for opencode and oh-my-opencode.", "Leave it out."));
    }
    let mut request = ToolRequest {
        tool,
        project: ask.project.as_deref().map(stacks::whole).transpose()?,
        primary: ask.primary,
        key: ask.key,
        shown: None,
    };
    let (ground, paths) = ground().await?;
    let config = app::tool_config(&ground, &request)?;
    // Lines to copy read the key at once; a file of the tool's has it when it is written.
    if let Some(key) = request.key.as_ref().filter(|_| ask.write || !app::writes(tool)) {
        app::put_tool_key(&ground, &Secrets::open(&paths), key).await?;
    }
    for note in &config.notes {
        screen.aside(&format!("Note: {note}"));
    }
    if !ask.write {
        screen.document(&config);
        print(screen, &config);
        return Ok(Answer::Yes);
    }
    show(screen, &config);
    // What was shown is what is written.
    request.shown.clone_from(&config.diff);
    let written = app::write_tool_config(&ground, &request)?;
    screen.document(&written);
    let kept =
        written.backup.as_ref().map(|b| format!(" The file as it was is kept as {b}.")).unwrap_or_default();
    screen.say(&if written.same {
        format!("{} has all of it already; nothing was written.", written.path)
    } else {
        format!("Written to {}.{kept}", written.path)
    });
    Ok(Answer::Yes)
}

enum What {
    Stack(ExportKind),
    Tool(Tool),
}

fn what(what: ExportWhat) -> What {
    What::Tool(match what {
        ExportWhat::Compose => return What::Stack(ExportKind::Compose),
        ExportWhat::Env => return What::Stack(ExportKind::Env),
        ExportWhat::OpenCode => Tool::Opencode,
        ExportWhat::OhMyOpencode => Tool::OhMyOpencode,
        ExportWhat::Codex => Tool::Codex,
        ExportWhat::ClaudeCode => Tool::ClaudeCode,
        ExportWhat::Zed => Tool::Zed,
        ExportWhat::Continue => Tool::Continue,
        ExportWhat::Cline => Tool::Cline,
        ExportWhat::Aider => Tool::Aider,
    })
}

fn usage(message: &str, next: &str) -> ApiError {
    ApiError::new(Code::Usage, message, next)
}

/// The stack of the controller that runs, else the user's own.
async fn ground() -> Result<(ToolGround, Paths), ApiError> {
    let status: Option<Value> = match reach::running().await {
        Ok(client) => Some(client.call_value("status", json!({})).await?),
        Err(error) if error.code == Code::Unreachable => None,
        Err(error) => return Err(error),
    };
    let plays = status.as_ref().is_some_and(|s| s["rehearsal"] == json!(true));
    let gateway = status.as_ref().and_then(|s| s["gateway"]["address"].as_str());
    let paths = place::paths(plays)?;
    let ground = ToolGround::offline(&place::options(paths.clone(), plays, false)?, gateway)?;
    Ok((ground, paths))
}

/// The lines to copy alone on stdout, so that they can be sent into a file; beside them where they belong.
fn print(screen: Screen, config: &ToolConfig) {
    if let Some(path) = &config.path {
        screen.aside(&format!("For {path}:"));
    }
    screen.piece(&config.text);
    if config.same {
        screen.aside("The file has all of it already.");
    } else if config.diff.is_some() {
        screen.aside("With --write it is laid over the file that is there, with a backup.");
    }
}

/// What would change, before it does.
fn show(screen: Screen, config: &ToolConfig) {
    for line in config.diff.iter().flat_map(|d| d.lines()) {
        screen.aside(line);
    }
}
