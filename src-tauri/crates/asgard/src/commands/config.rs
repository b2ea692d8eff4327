//! `asgard config`: the stack file, without a controller.

use std::fmt::Write as _;
use std::io::IsTerminal as _;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::process::{Command, Stdio};

use api::shapes::settings::{StackFile, StackProblem};
use api::{ApiError, Code};
use domain::stack::{Gpu, Note};
use serde_json::json;
use store::stack_file::{self, Loaded};

use crate::Answer;
use crate::args::ConfigCommand;
use crate::place;
use crate::screen::Screen;
use crate::words::proper;

/// The user's own stack counts in gigabytes; the rehearsal's is not edited here.
const SCALE: u64 = 1;

pub(super) fn run(screen: Screen, what: ConfigCommand) -> Result<Answer, ApiError> {
    let path = place::paths(false)?.stack_file();
    match what {
        ConfigCommand::Path => {
            screen.document(&json!({ "path": path, "saved": path.exists() }));
            screen.say(&path.display().to_string());
            Ok(Answer::Yes)
        }
        ConfigCommand::Check => Ok(check(screen, &path, gpu()?)),
        ConfigCommand::Schema => {
            let schema = stack_file::json_schema();
            screen.document(&schema);
            screen.say(&serde_json::to_string_pretty(&schema).unwrap_or_default());
            Ok(Answer::Yes)
        }
        ConfigCommand::Edit => edit(screen, &path),
        ConfigCommand::Command { agent } => super::block_on(super::command::run(screen, &agent)),
        ConfigCommand::Confirm => super::block_on(super::stacks::confirm(screen)),
    }
}

/// What is known to go wrong on this machine's GPU is said as well.
fn gpu() -> Result<Option<Gpu>, ApiError> {
    Ok(app::gpu(&place::options(place::paths(false)?, false, false)?))
}

fn check(screen: Screen, path: &Path, gpu: Option<Gpu>) -> Answer {
    let file = document(stack_file::load_on(path, SCALE, &gpu));
    screen.document(&file);
    screen.say(report(&file).trim_end());
    if file.problems.is_empty() { Answer::Yes } else { Answer::No }
}

fn document(loaded: Loaded) -> StackFile {
    let (problems, notes) = match loaded.stack {
        Ok(stack) => (Vec::new(), stack.notes.iter().map(note).collect()),
        Err(problems) => {
            let problems = problems
                .into_iter()
                .map(|p| StackProblem {
                    file: p.file.display().to_string(),
                    line: p.line,
                    message: p.message,
                    next: p.next,
                })
                .collect();
            (problems, Vec::new())
        }
    };
    StackFile {
        path: loaded.file.display().to_string(),
        saved: loaded.saved,
        text: loaded.text,
        problems,
        notes,
    }
}

/// A note about an agent names it.
fn note(note: &Note) -> String {
    match note.path.as_slice() {
        [table, agent, ..] if table == "agents" => format!("{}: {}", proper(agent), note.message),
        _ => note.message.clone(),
    }
}

/// `file:line: what is wrong`, then what to write.
fn report(file: &StackFile) -> String {
    let mut text = String::new();
    for problem in &file.problems {
        let line = problem.line.map(|line| format!(":{line}")).unwrap_or_default();
        let _ = writeln!(text, "{}{line}: {}", problem.file, problem.message);
        if !problem.next.is_empty() {
            let _ = writeln!(text, "  {}", problem.next);
        }
    }
    if file.problems.is_empty() {
        if file.saved {
            let _ = writeln!(text, "{} holds.", file.path);
        } else {
            let _ = writeln!(
                text,
                "There is no {}, so the shipped stack is in force. To have one to change: asgard config edit",
                file.path
            );
        }
    }
    for note in &file.notes {
        let _ = writeln!(text, "Note: {note}");
    }
    text
}

fn edit(screen: Screen, path: &Path) -> Result<Answer, ApiError> {
    let editor = editor(&|name| std::env::var(name).ok()).ok_or_else(|| {
        ApiError::new(
            Code::Failed,
            "No editor is set.",
            "Set one, for example: EDITOR=nano asgard config edit",
        )
    })?;
    if !path.exists() {
        stack_file::save_shipped(path, SCALE)
            .map_err(|error| ApiError::new(Code::Failed, error.to_string(), ""))?;
        screen.aside(&format!("Saved the shipped stack to {}.", path.display()));
    }
    // As git does it: the variable may hold arguments too ("code --wait"), and the path is not the shell's business.
    let mut command = Command::new("sh");
    command.arg("-c").arg(format!("{editor} \"$@\"")).arg("sh").arg(path);
    if screen.json || !std::io::stdout().is_terminal() {
        // Stdout is for the document alone.
        command.stdout(Stdio::from(std::io::stderr()));
    }
    let status = command.status().map_err(|error| {
        ApiError::new(
            Code::Failed,
            format!("The editor {editor} could not be started: {error}."),
            "Set EDITOR to one that can.",
        )
    })?;
    if !status.success() {
        return Err(ApiError::new(
            Code::Failed,
            format!("The editor {editor} ended with an error ({status})."),
            "Set EDITOR to another one, or edit the file by hand.",
        ));
    }
    Ok(check(screen, path, gpu()?))
}

/// `$VISUAL`, `$EDITOR`, else one that most machines have.
fn editor(variable: &dyn Fn(&str) -> Option<String>) -> Option<String> {
    ["VISUAL", "EDITOR"].iter().filter_map(|name| variable(name)).find(|v| !v.trim().is_empty()).or_else(
        || {
            let path = variable("PATH")?;
            ["sensible-editor", "nano", "vi"]
                .iter()
                .find(|name| {
                    std::env::split_paths(&path).any(|folder| {
                        !folder.as_os_str().as_bytes().is_empty() && folder.join(name).is_file()
                    })
                })
                .map(|name| (*name).to_owned())
        },
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(problems: Vec<StackProblem>, saved: bool) -> StackFile {
        StackFile {
            path: "/c/stack.toml".to_owned(),
            saved,
            text: String::new(),
            problems,
            notes: Vec::new(),
        }
    }

    #[test]
    fn a_problem_has_file_line_and_what_to_write() {
        let problem = |line| StackProblem {
            file: "/c/stack.toml".to_owned(),
            line,
            message: "The context is negative.".to_owned(),
            next: "Write a whole number above 0.".to_owned(),
        };
        let expected = "/c/stack.toml:12: The context is negative.\n  Write a whole number above 0.\n";
        assert_eq!(report(&file(vec![problem(Some(12))], true)), expected);
        assert!(report(&file(vec![problem(None)], true)).starts_with("/c/stack.toml: The context"));
    }

    #[test]
    fn no_file_is_not_a_problem() {
        assert!(report(&file(Vec::new(), false)).contains("shipped stack is in force"));
        assert_eq!(report(&file(Vec::new(), true)), "/c/stack.toml holds.\n");
    }

    #[test]
    fn a_broken_file_is_told_apart_from_none() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("stack.toml");
        assert!(document(stack_file::load(&path, SCALE)).problems.is_empty(), "the shipped stack must hold");
        std::fs::write(&path, "version = 1\nname = \n").unwrap();
        let broken = document(stack_file::load(&path, SCALE));
        assert_eq!(broken.problems[0].line, Some(2));
        assert_eq!(check(Screen::new(true), &path, None), Answer::No);
    }

    #[test]
    fn the_editor_of_the_environment_comes_first() {
        let with = |pairs: &'static [(&str, &str)]| {
            move |name: &str| pairs.iter().find(|(n, _)| *n == name).map(|(_, v)| (*v).to_owned())
        };
        assert_eq!(
            editor(&with(&[("VISUAL", "code --wait"), ("EDITOR", "vi")])).as_deref(),
            Some("code --wait")
        );
        assert_eq!(editor(&with(&[("VISUAL", " "), ("EDITOR", "vi")])).as_deref(), Some("vi"));
        assert_eq!(editor(&with(&[("PATH", "/nowhere")])), None);
    }
}
