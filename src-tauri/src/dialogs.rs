//! What the page may not do by itself: choosing files, and saying yes to what runs code or touches what others run.
//! Each is asked in a dialog of the desktop, outside of what the page can draw; the page learns the outcome alone.

pub(crate) mod models;

use std::fs::OpenOptions;
use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use api::shapes::doctor::DoctorReport;
use api::shapes::gateway::{ExportRequestsRequest, NamedText};
use api::shapes::history::{Picture, PictureRequest};
use api::shapes::neighbours::{Neighbour, Neighbours};
use api::shapes::stacks::{Confirmation, ImportKind, ImportRequest, SurfaceKind};
use api::shapes::tools::{ToolConfig, ToolRequest};
use api::{ApiError, Code};
use gtk::prelude::*;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tauri::{AppHandle, Manager, State};
use tokio::sync::oneshot;

use crate::link::Link;
use crate::window::LABEL;

/// The import that was looked at last: what `dialog_import_write` makes the stack.
#[derive(Default)]
pub(crate) struct Chosen(Mutex<Option<ImportRequest>>);

fn failed(message: impl Into<String>, next: &str) -> ApiError {
    ApiError::new(Code::Failed, message, next)
}

fn read<T: DeserializeOwned>(value: Value) -> Result<T, ApiError> {
    serde_json::from_value(value).map_err(|e| {
        failed(
            format!("The controller's answer could not be read: {e}."),
            "It may be of another version: end it in the tray, and open the window again.",
        )
    })
}

/// Runs `show` on the thread that draws, and waits for the person's answer. A dialog that was closed is a no.
async fn ask<T: Send + 'static>(
    app: &AppHandle,
    show: impl FnOnce(Option<gtk::ApplicationWindow>, oneshot::Sender<T>) + Send + 'static,
) -> Result<Option<T>, ApiError> {
    let (answer, answered) = oneshot::channel();
    let handle = app.clone();
    app.run_on_main_thread(move || {
        let parent = handle.get_webview_window(LABEL).and_then(|window| window.gtk_window().ok());
        show(parent, answer);
    })
    .map_err(|e| failed(format!("No dialog could be opened: {e}."), "Close the window and open it again."))?;
    Ok(answered.await.ok())
}

#[tauri::command]
pub(crate) async fn dialog_import(
    app: AppHandle,
    link: State<'_, Arc<Link>>,
    chosen: State<'_, Chosen>,
    kind: ImportKind,
) -> Result<Option<Value>, ApiError> {
    let Some(paths) = choose(&app, kind).await?.filter(|paths| !paths.is_empty()) else { return Ok(None) };
    let (env, files): (Vec<String>, Vec<String>) =
        paths.iter().map(|p| p.display().to_string()).partition(|p| kind == ImportKind::Compose && is_env(p));
    let request = ImportRequest { kind, files, env: env.into_iter().next(), write: false };
    let answer = link.call("import", json!(request)).await?;
    *chosen.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(request);
    Ok(Some(answer))
}

/// `.env`, `.env.example`, `house.env`.
fn is_env(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or(path);
    name.starts_with(".env") || name.to_ascii_lowercase().ends_with(".env")
}

#[tauri::command]
pub(crate) async fn dialog_import_write(
    link: State<'_, Arc<Link>>,
    chosen: State<'_, Chosen>,
) -> Result<Option<Value>, ApiError> {
    let request = chosen.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let Some(request) = request else { return Ok(None) };
    let answer = link.call("import", json!(ImportRequest { write: true, ..request })).await?;
    *chosen.0.lock().unwrap_or_else(PoisonError::into_inner) = None;
    Ok(Some(answer))
}

async fn choose(app: &AppHandle, kind: ImportKind) -> Result<Option<Vec<PathBuf>>, ApiError> {
    ask(app, move |parent, answer| {
        let title = match kind {
            ImportKind::Compose => "Choose the compose files, and their .env with them",
            ImportKind::Env => "Choose the .env file",
            ImportKind::Stack => "Choose the stack file",
        };
        let chooser = gtk::FileChooserDialog::with_buttons(
            Some(title),
            parent.as_ref(),
            gtk::FileChooserAction::Open,
            &[("Cancel", gtk::ResponseType::Cancel), ("Read", gtk::ResponseType::Accept)],
        );
        chooser.set_modal(true);
        chooser.set_default_response(gtk::ResponseType::Accept);
        chooser.set_select_multiple(kind == ImportKind::Compose);
        // A .env is a hidden file.
        chooser.set_show_hidden(true);
        let answer = std::cell::Cell::new(Some(answer));
        chooser.connect_response(move |chooser, response| {
            if response == gtk::ResponseType::Accept
                && let Some(answer) = answer.take()
            {
                let _ = answer.send(chooser.filenames());
            }
            chooser.close();
        });
        chooser.show_all();
    })
    .await
}

#[tauri::command]
pub(crate) async fn dialog_confirm(app: AppHandle, link: State<'_, Arc<Link>>) -> Result<bool, ApiError> {
    let confirmation: Confirmation = read(link.call("confirmation", json!({})).await?)?;
    if !confirmation.needed {
        return Ok(true);
    }
    let (text, source) = (surface_text(&confirmation), confirmation.source.clone());
    let question = Question {
        title: "Let this stack run?".to_owned(),
        head: format!(
            "This stack was {source}. Once confirmed, Asgard may run what is listed here on this machine."
        ),
        detail: Some(text),
        yes: "Let it run".to_owned(),
        no: "Not now".to_owned(),
    };
    if !yes(&app, question).await? {
        return Ok(false);
    }
    link.call("confirm_stack", json!({ "hash": confirmation.hash })).await?;
    Ok(true)
}

/// One line for each thing that would run or be reached, by agent. Foreign text: nothing of it is markup, and no line
/// of it can look like another.
fn surface_text(confirmation: &Confirmation) -> String {
    let mut text = String::new();
    let mut agent = "";
    for entry in &confirmation.surface {
        if entry.agent != agent {
            agent = &entry.agent;
            text.push_str(&plain(agent));
            text.push('\n');
        }
        let word = match entry.kind {
            SurfaceKind::Image => "image",
            SurfaceKind::Command => "command",
            SurfaceKind::Mount => "mount",
            SurfaceKind::Device => "device",
            SurfaceKind::Argument => "argument",
            SurfaceKind::Variable => "variable",
            SurfaceKind::Endpoint => "address",
        };
        text.push_str("    ");
        text.push_str(word);
        text.push_str(": ");
        text.push_str(&plain(&entry.text));
        text.push('\n');
    }
    text
}

/// Without line breaks, control characters and those that turn the direction of writing around.
fn plain(text: &str) -> String {
    text.chars()
        .map(|c| {
            let turns =
                matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
            if c.is_control() || turns || matches!(c, '\u{2028}' | '\u{2029}') { '\u{fffd}' } else { c }
        })
        .collect()
}

#[tauri::command]
pub(crate) async fn dialog_stop_neighbour(
    app: AppHandle,
    link: State<'_, Arc<Link>>,
    id: String,
    take_place: bool,
) -> Result<Option<Value>, ApiError> {
    let all: Neighbours = read(link.call("neighbours", json!({})).await?)?;
    let Some(found) = all.neighbours.into_iter().find(|n| n.id == id) else {
        return Err(failed("That server is no longer there.", "Look again."));
    };
    if found.stop_refused {
        return Err(failed(format!("{} cannot be stopped from here.", found.name), &found.stop_hint));
    }
    if !yes(&app, stop_question(&found, take_place)).await? {
        return Ok(None);
    }
    link.call("stop_neighbour", json!({ "id": id, "take_place": take_place })).await.map(Some)
}

/// Lets the gateway listen where other machines reach it. The controller refuses it as long as there is no key.
#[tauri::command]
pub(crate) async fn dialog_gateway_listen(
    app: AppHandle,
    link: State<'_, Arc<Link>>,
    listen: String,
) -> Result<Option<Value>, ApiError> {
    if crate::callers::reaches_others(&listen) && !yes(&app, listen_question(&listen)).await? {
        return Ok(None);
    }
    link.call("change_gateway", json!({ "listen": listen })).await.map(Some)
}

fn listen_question(listen: &str) -> Question {
    Question {
        title: "Open Bifrost to other machines?".to_owned(),
        head: format!(
            "Bifrost would listen on {}. Whoever reaches this machine there and has a key can use the agents that the \
             key allows. What is asked and answered is not encrypted on the way.",
            plain(listen)
        ),
        detail: None,
        yes: "Open it".to_owned(),
        no: "Keep it on this machine".to_owned(),
    }
}

fn stop_question(found: &Neighbour, take_place: bool) -> Question {
    let place = match (&found.agent, take_place) {
        (Some(agent), true) => format!(" Then {} is started in its place.", plain(agent)),
        _ => String::new(),
    };
    Question {
        title: format!("Stop {}?", plain(&found.name)),
        head: format!("{}. {}{place}", plain(&found.origin), found.stop_hint),
        detail: None,
        yes: if take_place { "Stop and take its place".to_owned() } else { "Stop".to_owned() },
        no: "Leave it running".to_owned(),
    }
}

/// Writes a coding tool's own file, once the person has seen which one and every line that changes. What was shown is
/// sent along, so that nothing else can be written. None when the person said no.
#[tauri::command]
pub(crate) async fn dialog_write_tool(
    app: AppHandle,
    link: State<'_, Arc<Link>>,
    request: ToolRequest,
) -> Result<Option<Value>, ApiError> {
    let config: ToolConfig = read(link.call("tool_config", json!(request)).await?)?;
    let Some((path, diff)) = config.path.clone().zip(config.diff.clone()) else {
        return Err(failed(
            format!("Asgard does not write the files of {}.", config.title),
            "Copy the lines, and put them where the notes say.",
        ));
    };
    if !config.same && !yes(&app, write_question(&config, &path, &diff)).await? {
        return Ok(None);
    }
    link.call("write_tool_config", json!(ToolRequest { shown: Some(diff), ..request })).await.map(Some)
}

fn write_question(config: &ToolConfig, path: &str, diff: &str) -> Question {
    // Line by line: the file is somebody's, and nothing in it may look like more of the question.
    let detail: Vec<String> = config
        .notes
        .iter()
        .map(|note| format!("Note: {}", plain(note)))
        .chain((!config.notes.is_empty()).then(String::new))
        .chain(diff.lines().map(|line| plain(&line.replace('\t', "    "))))
        .collect();
    Question {
        title: format!("Write the configuration of {}?", config.title),
        head: format!(
            "{} will be changed as shown here. The file as it is now is kept beside it.",
            plain(path)
        ),
        detail: Some(detail.join("\n")),
        yes: "Write".to_owned(),
        no: "Leave it".to_owned(),
    }
}

/// Writes the report of readiness where the person says. Nothing is overwritten: the file may be somebody's only copy of
/// something else, and a report is made again in a second.
#[tauri::command]
pub(crate) async fn dialog_save_report(
    app: AppHandle,
    link: State<'_, Arc<Link>>,
) -> Result<Option<String>, ApiError> {
    let report: DoctorReport = read(link.call("doctor_report", json!({})).await?)?;
    let Some(path) = save_as(&app, "Save the report", report.name).await? else { return Ok(None) };
    write_new(&path, report.text.as_bytes())?;
    Ok(Some(path.display().to_string()))
}

/// Writes a picture of the pools where the person says; as with a report, nothing is overwritten. The page says which
/// picture; its bytes come from the controller, not from the page.
#[tauri::command]
pub(crate) async fn dialog_save_picture(
    app: AppHandle,
    link: State<'_, Arc<Link>>,
    request: PictureRequest,
) -> Result<Option<String>, ApiError> {
    let picture: Picture = read(link.call("export_picture", json!(request)).await?)?;
    let bytes = picture.bytes().ok_or_else(|| {
        failed(
            "The controller's picture could not be read.",
            "It may be of another version: end it in the tray, and open the window again.",
        )
    })?;
    let Some(path) = save_as(&app, "Save the picture", picture.name).await? else { return Ok(None) };
    write_new(&path, &bytes)?;
    Ok(Some(path.display().to_string()))
}

/// Writes the record of requests where the person says; as with a report, nothing is overwritten.
#[tauri::command]
pub(crate) async fn dialog_save_requests(
    app: AppHandle,
    link: State<'_, Arc<Link>>,
    request: ExportRequestsRequest,
) -> Result<Option<String>, ApiError> {
    let table: NamedText = read(link.call("export_requests", json!(request)).await?)?;
    let Some(path) = save_as(&app, "Save the requests", table.name).await? else { return Ok(None) };
    write_new(&path, table.text.as_bytes())?;
    Ok(Some(path.display().to_string()))
}

async fn save_as(app: &AppHandle, title: &'static str, name: String) -> Result<Option<PathBuf>, ApiError> {
    let chosen = ask(app, move |parent, answer| {
        let chooser = gtk::FileChooserDialog::with_buttons(
            Some(title),
            parent.as_ref(),
            gtk::FileChooserAction::Save,
            &[("Cancel", gtk::ResponseType::Cancel), ("Save", gtk::ResponseType::Accept)],
        );
        chooser.set_modal(true);
        chooser.set_default_response(gtk::ResponseType::Accept);
        chooser.set_current_name(&name);
        let answer = std::cell::Cell::new(Some(answer));
        chooser.connect_response(move |chooser, response| {
            if response == gtk::ResponseType::Accept
                && let Some(answer) = answer.take()
            {
                let _ = answer.send(chooser.filename());
            }
            chooser.close();
        });
        chooser.show_all();
    })
    .await?;
    Ok(chosen.flatten())
}

fn write_new(path: &Path, bytes: &[u8]) -> Result<(), ApiError> {
    let made = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    made.and_then(|mut file| file.write_all(bytes)).map_err(|error| match error.kind() {
        ErrorKind::AlreadyExists => failed(
            format!("{} exists already, and is left as it is.", path.display()),
            "Choose a name that does not exist yet.",
        ),
        _ => failed(
            format!("{} cannot be written: {error}.", path.display()),
            "Choose a folder of yours that has room.",
        ),
    })
}

struct Question {
    title: String,
    head: String,
    /// Shown in a box that scrolls.
    detail: Option<String>,
    yes: String,
    no: String,
}

async fn yes(app: &AppHandle, question: Question) -> Result<bool, ApiError> {
    let answer = ask(app, move |parent, answer| {
        let dialog = gtk::Dialog::with_buttons(
            Some(&question.title),
            parent.as_ref(),
            gtk::DialogFlags::MODAL | gtk::DialogFlags::DESTROY_WITH_PARENT,
            &[(&question.no, gtk::ResponseType::Cancel), (&question.yes, gtk::ResponseType::Accept)],
        );
        // Enter and Escape both leave things as they are.
        dialog.set_default_response(gtk::ResponseType::Cancel);
        let content = dialog.content_area();
        content.set_border_width(12);
        content.set_spacing(12);
        let head = gtk::Label::new(Some(&question.head));
        head.set_line_wrap(true);
        head.set_max_width_chars(72);
        head.set_xalign(0.0);
        content.add(&head);
        if let Some(detail) = &question.detail {
            let view = gtk::TextView::new();
            view.set_editable(false);
            view.set_cursor_visible(false);
            view.set_monospace(true);
            view.set_wrap_mode(gtk::WrapMode::WordChar);
            if let Some(buffer) = view.buffer() {
                buffer.set_text(detail);
            }
            let scrolled = gtk::ScrolledWindow::builder().hscrollbar_policy(gtk::PolicyType::Never).build();
            // A least width of the content counts only where it may scroll sideways.
            scrolled.set_size_request(680, height_of(detail));
            scrolled.add(&view);
            content.pack_start(&scrolled, true, true, 0);
        }
        let answer = std::cell::Cell::new(Some(answer));
        dialog.connect_response(move |dialog, response| {
            if let Some(answer) = answer.take() {
                let _ = answer.send(response == gtk::ResponseType::Accept);
            }
            dialog.close();
        });
        // Else the text would have the keys, and Enter would do nothing.
        if let Some(no) = dialog.widget_for_response(gtk::ResponseType::Cancel) {
            no.grab_focus();
        }
        dialog.show_all();
    })
    .await?;
    Ok(answer.unwrap_or(false))
}

/// Pixels for these lines: an address is one or two, a stack of somebody else scrolls.
fn height_of(detail: &str) -> i32 {
    let lines = detail.lines().map(|line| 1 + line.chars().count() / 80).sum::<usize>();
    i32::try_from(lines).unwrap_or(i32::MAX).saturating_mul(20).saturating_add(12).clamp(48, 320)
}

#[cfg(test)]
mod tests {
    use api::shapes::stacks::SurfaceEntry;

    use super::*;

    #[test]
    fn foreign_text_stays_on_its_line() {
        let confirmation = Confirmation {
            needed: true,
            source: String::new(),
            hash: String::new(),
            surface: vec![
                SurfaceEntry {
                    agent: "thor".into(),
                    kind: SurfaceKind::Argument,
                    text: "--x\n    image: harmless\u{202e}".into(),
                },
                SurfaceEntry { agent: "thor".into(), kind: SurfaceKind::Image, text: "a/b:c".into() },
            ],
        };
        let text = surface_text(&confirmation);
        assert_eq!(text, "thor\n    argument: --x\u{fffd}    image: harmless\u{fffd}\n    image: a/b:c\n");
    }

    #[test]
    fn the_question_shows_the_path_and_every_line_that_changes() {
        let config = ToolConfig {
            tool: api::shapes::tools::Tool::Opencode,
            title: "OpenCode".into(),
            path: None,
            text: String::new(),
            diff: None,
            same: false,
            notes: vec!["One.\nYes, write everything".into()],
        };
        let question = write_question(&config, "/home/you/open\ncode.jsonc", "-a\n+\"b\u{202e}\"\n");
        assert!(
            question.head.starts_with("/home/you/open\u{fffd}code.jsonc will be changed"),
            "{}",
            question.head
        );
        let detail = question.detail.unwrap();
        assert_eq!(detail, "Note: One.\u{fffd}Yes, write everything\n\n-a\n+\"b\u{fffd}\"");
    }

    #[test]
    fn the_env_is_told_from_the_compose_files() {
        assert!(is_env("/a/.env") && is_env("/a/.env.example") && is_env("/a/house.env"));
        assert!(!is_env("/a/compose.yml") && !is_env("/env/hybrid.yml"));
    }
}
