//! The window itself: one page, one origin, nothing else.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tauri::webview::{NewWindowResponse, PageLoadEvent};
use tauri::{AppHandle, Manager, Url, WebviewUrl, WebviewWindowBuilder};

use crate::arguments::Options;
use crate::commands;
use crate::controller::Controller;
use crate::dialogs::{self, Chosen};
use crate::link::Link;
use crate::places::Places;
use crate::preferences::Preferences;
use crate::streams::Streams;

pub(crate) const LABEL: &str = "main";

/// Opens it, and returns when it was closed.
///
/// # Errors
/// One sentence saying why there is no window, and one saying what to do.
pub(crate) fn open(options: Options) -> Result<(), String> {
    if gtk::init().is_err() {
        return Err("Asgard's window needs a display, and none could be opened. \
                    Run `asgard serve` instead, and use the other commands of `asgard`."
            .to_owned());
    }
    let places = Places::here(options.rehearsal)?;
    let link = Arc::new(Link::new(places.socket));
    if options.rehearsal {
        refuse_the_real_one(&link)?;
    }
    let controller = Arc::new(Controller::new(Arc::clone(&link), options.rehearsal, places.words));
    tauri::Builder::default()
        // First, so that a second start does nothing before it hands over. It needs D-Bus; without it there are simply
        // two windows on the one controller.
        .plugin(tauri_plugin_single_instance::init(|app, _, _| show(app)))
        .plugin(tauri_plugin_store::Builder::default().build())
        .manage(link)
        .manage(Arc::clone(&controller))
        .manage(Streams::default())
        .manage(Chosen::default())
        .invoke_handler(tauri::generate_handler![
            commands::rpc,
            commands::open_stream,
            commands::close_stream,
            commands::preference_get,
            commands::preference_set,
            commands::start_controller,
            dialogs::dialog_import,
            dialogs::dialog_import_write,
            dialogs::dialog_confirm,
            dialogs::dialog_stop_neighbour,
            dialogs::dialog_gateway_listen,
            dialogs::dialog_save_report,
            dialogs::dialog_save_picture,
            dialogs::dialog_save_requests,
            dialogs::dialog_write_tool,
            dialogs::models::dialog_import_model,
            dialogs::models::dialog_open_model_folder,
            dialogs::models::dialog_open_page,
        ])
        .setup(move |app| {
            app.manage(Preferences::open(app.handle(), &places.preferences));
            // Beside the window, not before it: until a controller answers, the page says that it waits.
            tauri::async_runtime::spawn(async move { controller.ensure().await });
            build(app.handle())?;
            Ok(())
        })
        .run(tauri::generate_context!())
        .map_err(|e| {
            format!("Asgard's window could not be opened: {e}. Run `asgard serve` to use Asgard without it.")
        })
}

fn build(app: &AppHandle) -> tauri::Result<()> {
    WebviewWindowBuilder::new(app, LABEL, WebviewUrl::App("index.html".into()))
        .title("Asgard")
        .inner_size(1280.0, 800.0)
        .min_inner_size(960.0, 640.0)
        // The page may not leave, and nothing opens beside it: a link in a reply leads nowhere.
        .on_navigation(is_ours)
        .on_new_window(|_, _| NewWindowResponse::Deny)
        .on_page_load(|window, load| {
            if load.event() == PageLoadEvent::Started {
                window.state::<Streams>().close_all();
            }
        })
        .build()?;
    Ok(())
}

/// The page's own origin. A development server is not among them: `vite` runs the page in a browser.
fn is_ours(url: &Url) -> bool {
    url.scheme() == "tauri" && url.host_str() == Some("localhost")
}

fn show(app: &AppHandle) {
    if let Some(window) = app.get_webview_window(LABEL) {
        // Each may fail on its own under one desktop or another; the window is there in any case.
        let _ = window.unminimize();
        let _ = window.show();
        let _ = window.set_focus();
    }
}

/// There is one controller per user. Who asked for a rehearsal must not press Stop on the real agents by mistake.
fn refuse_the_real_one(link: &Link) -> Result<(), String> {
    let asked = tauri::async_runtime::block_on(async {
        tokio::time::timeout(Duration::from_secs(2), link.call("status", json!({}))).await
    });
    if let Ok(Ok(status)) = asked
        && status.get("rehearsal").and_then(Value::as_bool) == Some(false)
    {
        return Err("Asgard runs already, and not as a rehearsal. \
                    End it first (in its tray menu), or open the window without --rehearsal."
            .to_owned());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_its_own_origin_is_ever_loaded() {
        for (url, ours) in [
            ("tauri://localhost/index.html#chat", true),
            ("tauri://elsewhere/", false),
            ("https://example.org/", false),
            ("http://tauri.localhost/", false),
            ("file:///etc/passwd", false),
            ("data:text/html,hi", false),
            ("about:blank", false),
        ] {
            assert_eq!(is_ours(&url.parse().unwrap()), ours, "{url}");
        }
    }
}
