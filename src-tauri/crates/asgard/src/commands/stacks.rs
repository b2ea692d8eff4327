//! `asgard preset`, `import`, `export` and `config confirm`: the stack as a whole. All of them work with nothing
//! running; where a controller runs it is told, so that what it has in force is what was written.

use std::fmt::Write as _;
use std::io::{BufRead as _, IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};

use api::client::Client;
use api::shapes::stacks::{
    Confirmation, ExportKind, ExportRequest, Exported, Finding, ImportKind, ImportRequest, Imported,
    PresetRequest, PresetUsed, Presets, SurfaceEntry, SurfaceKind,
};
use api::{ApiError, Code};
use app::Ground;
use domain::stack::Stack;
use serde_json::json;

use crate::Answer;
use crate::args::{ImportWhat, PresetCommand};
use crate::screen::Screen;
use crate::words::{list, table};
use crate::{place, reach};

/// The controller where one runs, and the ground for doing without.
async fn sides() -> Result<(Option<Client>, Ground), ApiError> {
    let options = place::options(place::paths(false)?, false, false)?;
    let client = match reach::running().await {
        Ok(client) => Some(client),
        Err(error) if error.code == Code::Unreachable => None,
        Err(error) => return Err(error),
    };
    Ok((client, app::ground(&options)))
}

fn stack_of(ground: &Ground) -> Result<Stack, ApiError> {
    app::stack_on(ground).0.map_err(|problems| {
        let first = problems.first();
        ApiError::new(
            Code::Stack,
            format!("The stack file does not hold: {}", first.map_or("", |p| p.message.as_str())),
            "See all of it with: asgard config check",
        )
    })
}

pub(super) async fn preset(screen: Screen, what: PresetCommand) -> Result<Answer, ApiError> {
    let (client, ground) = sides().await?;
    match what {
        PresetCommand::List => {
            let presets: Presets = match client {
                Some(client) => super::read(&client.call_value("presets", json!({})).await?)?,
                None => app::presets(&ground, &app::stack_on(&ground).1),
            };
            screen.document(&presets);
            let rows: Vec<Vec<String>> = presets
                .presets
                .iter()
                .map(|p| {
                    let mark = if p.in_force { "*" } else { " " };
                    vec![format!("{mark} {}", p.name), p.machine.clone(), p.reason.clone(), p.summary.clone()]
                })
                .collect();
            screen.say(table(&rows, &[]).trim_end());
        }
        PresetCommand::Use { name, dry_run } => {
            let asked = PresetRequest { name, dry_run };
            let used: PresetUsed = if let Some(client) = client {
                super::read(&client.call_value("use_preset", json!(asked)).await?)?
            } else {
                ready(&ground)?;
                app::use_preset(&ground, &asked)?
            };
            screen.document(&used);
            if used.written {
                let kept = used
                    .kept
                    .as_ref()
                    .map(|k| format!(" The file before is kept as {k}."))
                    .unwrap_or_default();
                screen.say(&format!("{} is the stack now, in {}.{kept}", used.name, used.path));
            } else {
                screen.piece(&used.text);
            }
        }
    }
    Ok(Answer::Yes)
}

fn ready(ground: &Ground) -> Result<(), ApiError> {
    ground.paths.ensure().map_err(|error| ApiError::new(Code::Failed, error.to_string(), ""))
}

pub(super) fn whole(path: &Path) -> Result<String, ApiError> {
    let path = std::path::absolute(path).map_err(|e| {
        ApiError::new(Code::Usage, format!("{} is no path: {e}.", path.display()), "Check it.")
    })?;
    Ok(path.display().to_string())
}

pub(super) async fn import(screen: Screen, what: ImportWhat) -> Result<Answer, ApiError> {
    let (kind, files, env, write, out) = match what {
        ImportWhat::Compose { files, env, to } => (ImportKind::Compose, files, env, to.write, to.out),
        ImportWhat::Env { file, to } => (ImportKind::Env, vec![file], None, to.write, to.out),
        ImportWhat::Stack { file, to } => (ImportKind::Stack, vec![file], None, to.write, to.out),
    };
    let request = ImportRequest {
        kind,
        files: files.iter().map(|f| whole(f)).collect::<Result<_, _>>()?,
        env: env.as_deref().map(whole).transpose()?,
        write,
    };
    let (client, ground) = sides().await?;
    let imported: Imported = if let Some(client) = client.filter(|_| write) {
        super::read(&client.call_value("import", json!(request)).await?)?
    } else {
        if write {
            ready(&ground)?;
        }
        let secrets = store::secrets::Secrets::open(&ground.paths);
        app::import(&ground, &secrets, &request).await?
    };
    if let Some(out) = &out {
        put_new(out, &imported.stack)?;
    }
    screen.document(&imported);
    screen.aside(report(&imported).trim_end());
    match (&imported.written, &out) {
        (Some(path), _) => {
            let kept = imported
                .kept
                .as_ref()
                .map(|k| format!(" The file before is kept as {k}."))
                .unwrap_or_default();
            screen.say(&format!(
                "It is the stack now, in {path}.{kept} Nothing of it starts until you confirm it: asgard config confirm"
            ));
        }
        (None, Some(out)) => screen.say(&format!("Written to {}.", out.display())),
        // The stack file itself is the answer, so that it can be sent into a file.
        (None, None) => screen.piece(&imported.stack),
    }
    Ok(if imported.problems.is_empty() { Answer::Yes } else { Answer::No })
}

/// Writes a file that must not be there yet.
fn put_new(path: &Path, text: &str) -> Result<(), ApiError> {
    let failed = |e: std::io::Error| {
        ApiError::new(
            Code::Failed,
            format!("{} cannot be written: {e}.", path.display()),
            "Name a file that does not exist yet, in a folder of yours.",
        )
    };
    let mut file = std::fs::OpenOptions::new().write(true).create_new(true).open(path).map_err(failed)?;
    file.write_all(text.as_bytes()).map_err(failed)
}

fn report(imported: &Imported) -> String {
    let mut text = String::new();
    let mut part = |title: &str, findings: &[Finding]| {
        if findings.is_empty() {
            return;
        }
        let _ = writeln!(text, "{title} ({})", findings.len());
        for f in findings {
            let line = f.line.map(|l| format!(":{l}")).unwrap_or_default();
            let _ = writeln!(text, "  {}{line}  {}: {}", f.file, f.what, f.message);
        }
    };
    part("Understood", &imported.understood);
    part("Corrected", &imported.corrected);
    part("Not understood", &imported.not_understood);
    if !imported.secrets.is_empty() {
        let _ = writeln!(
            text,
            "Secrets: {}. With --write they go to the keyring or a file only you can read; they are not in the stack.",
            list(&imported.secrets)
        );
    }
    text.push_str(&surface(&imported.surface));
    for p in &imported.problems {
        let line = p.line.map(|l| format!(", line {l}")).unwrap_or_default();
        let _ = writeln!(text, "Does not hold yet{line}: {} {}", p.message, p.next);
    }
    text
}

fn surface(entries: &[SurfaceEntry]) -> String {
    let mut text = String::new();
    if !entries.is_empty() {
        text.push_str("It would run or reach:\n");
    }
    let rows: Vec<Vec<String>> = entries
        .iter()
        .map(|e| {
            let word = match e.kind {
                SurfaceKind::Image => "image",
                SurfaceKind::Command => "command",
                SurfaceKind::Mount => "mount",
                SurfaceKind::Device => "device",
                SurfaceKind::Argument => "argument",
                SurfaceKind::Variable => "variable",
                SurfaceKind::Endpoint => "address",
            };
            vec![format!("  {}", e.agent), word.to_owned(), e.text.clone()]
        })
        .collect();
    text.push_str(&table(&rows, &[]));
    text
}

pub(super) async fn export(
    screen: Screen,
    kind: ExportKind,
    write: bool,
    project: Option<PathBuf>,
) -> Result<Answer, ApiError> {
    let (client, ground) = sides().await?;
    let asked = ExportRequest { kind };
    let exported: Exported = match client {
        Some(client) => super::read(&client.call_value("export", json!(asked)).await?)?,
        None => app::export(&stack_of(&ground)?, asked),
    };
    screen.document(&exported);
    for note in &exported.notes {
        screen.aside(&format!("Note: {note}"));
    }
    if write {
        let folder = project.unwrap_or_else(|| PathBuf::from("."));
        for file in &exported.files {
            let path = folder.join(&file.name);
            put_new(&path, &file.text)?;
            screen.say(&format!("Written to {}.", path.display()));
        }
    } else {
        for file in &exported.files {
            if exported.files.len() > 1 {
                screen.piece(&format!("# {}\n", file.name));
            }
            screen.piece(&file.text);
        }
    }
    Ok(Answer::Yes)
}

/// Shows what an imported stack would run, and takes the word of the person at this terminal.
pub(super) async fn confirm(screen: Screen) -> Result<Answer, ApiError> {
    let (client, ground) = sides().await?;
    let confirmation: Confirmation = match &client {
        Some(client) => super::read(&client.call_value("confirmation", json!({})).await?)?,
        None => app::confirmation(&ground, &stack_of(&ground)?),
    };
    screen.document(&confirmation);
    if !confirmation.needed {
        screen.say("Nothing waits for a word: this stack is your own.");
        return Ok(Answer::Yes);
    }
    screen.aside(&format!("This stack was {}.", confirmation.source));
    screen.aside(surface(&confirmation.surface).trim_end());
    if screen.json || !std::io::stdin().is_terminal() {
        return Err(ApiError::new(
            Code::Unconfirmed,
            "Only a person at a terminal can confirm what a stack of somebody else runs.",
            "Run asgard config confirm in a terminal, or use the window.",
        ));
    }
    screen.piece("Let it run? Type yes: ");
    let mut line = String::new();
    let _ = std::io::stdin().lock().read_line(&mut line);
    if line.trim() != "yes" {
        screen.say("Not confirmed; nothing of it starts.");
        return Ok(Answer::No);
    }
    match &client {
        Some(client) => {
            client.call_value("confirm_stack", json!({ "hash": confirmation.hash })).await?;
        }
        None => app::confirm(&ground, &stack_of(&ground)?, &confirmation.hash)?,
    }
    screen.say("Confirmed.");
    Ok(Answer::Yes)
}
