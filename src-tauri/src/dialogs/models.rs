//! The desktop's part in models: choosing what is imported, the file manager, the browser. The page names a model or an
//! address; what is opened is checked here, and an address is shown to the person before anything leaves the machine.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use api::shapes::hub::HubAccount;
use api::shapes::installed::{ImportModelRequest, ImportProgress, InstalledModels};
use api::{ApiError, Code};
use gtk::prelude::*;
use gtk::{gio, glib};
use serde_json::{Value, json};
use tauri::ipc::Channel;
use tauri::{AppHandle, State, Url};

use super::{Question, ask, failed, read, yes};
use crate::link::Link;

/// "Import this folder" is neither Open nor Cancel.
const THIS_FOLDER: u16 = 1;

/// None when the person closed the dialog. `told` hears how far it is; a page that is gone ends it.
#[tauri::command]
pub(crate) async fn dialog_import_model(
    app: AppHandle,
    link: State<'_, Arc<Link>>,
    told: Channel<ImportProgress>,
) -> Result<Option<Value>, ApiError> {
    let Some(path) = choose(&app).await? else { return Ok(None) };
    let path = path.into_os_string().into_string().map_err(|path| {
        failed(
            format!("{} is no name in UTF-8.", path.to_string_lossy()),
            "Rename the file or folder, and choose it again.",
        )
    })?;
    let mut chunks = link.open("import_model", json!(ImportModelRequest { path, repo: None })).await?;
    while let Some(chunk) = chunks.next().await? {
        let progress: ImportProgress = read(chunk)?;
        if let Some(model) = progress.model {
            return Ok(Some(json!(model)));
        }
        if told.send(progress).is_err() {
            break;
        }
    }
    Err(ApiError::new(Code::Cancelled, "The import was ended.", "Import it again."))
}

/// A GGUF file, or a folder. The desktop's dialog knows either files or folders, so the folder that is looked into has a
/// button of its own.
async fn choose(app: &AppHandle) -> Result<Option<PathBuf>, ApiError> {
    ask(app, |parent, answer| {
        let chooser = gtk::FileChooserDialog::with_buttons(
            Some("Choose a GGUF file, or open the folder of a model"),
            parent.as_ref(),
            gtk::FileChooserAction::Open,
            &[
                ("Cancel", gtk::ResponseType::Cancel),
                ("Import this folder", gtk::ResponseType::Other(THIS_FOLDER)),
                ("Import this file", gtk::ResponseType::Accept),
            ],
        );
        chooser.set_modal(true);
        chooser.set_default_response(gtk::ResponseType::Accept);
        let filter = gtk::FileFilter::new();
        filter.set_name(Some("Models"));
        for pattern in ["*.gguf", "*.GGUF", "*.safetensors", "config.json"] {
            filter.add_pattern(pattern);
        }
        chooser.add_filter(filter);
        // Not at the files that were used last: that list is no folder, so there would be nothing to import.
        chooser.set_current_folder(glib::home_dir());
        let answer = std::cell::Cell::new(Some(answer));
        chooser.connect_response(move |chooser, response| {
            let marked = chooser.filename();
            let chosen = match response {
                gtk::ResponseType::Accept => marked.map(model_of),
                gtk::ResponseType::Other(THIS_FOLDER) => {
                    marked.filter(|path| path.is_dir()).or_else(|| chooser.current_folder())
                }
                _ => None,
            };
            if let (Some(chosen), Some(answer)) = (chosen, answer.take()) {
                let _ = answer.send(chosen);
            }
            chooser.close();
        });
        chooser.show_all();
    })
    .await
}

/// Who marks a file of a folder of weights means the folder.
fn model_of(marked: PathBuf) -> PathBuf {
    let part = marked.file_name().is_some_and(|name| name == "config.json")
        || marked.extension().is_some_and(|kind| kind == "safetensors");
    match marked.parent() {
        Some(folder) if part && !marked.is_dir() => folder.to_path_buf(),
        _ => marked,
    }
}

/// Shows an installed model in the file manager. The page gives its id, never a path.
#[tauri::command]
pub(crate) async fn dialog_open_model_folder(
    app: AppHandle,
    link: State<'_, Arc<Link>>,
    id: String,
) -> Result<bool, ApiError> {
    let installed: InstalledModels = read(link.call("installed_models", json!({})).await?)?;
    let Some(model) = installed.models.into_iter().find(|model| model.id == id) else {
        return Err(failed("That model is no longer there.", "Look again."));
    };
    let folder = folder_in(Path::new(&installed.path), Path::new(&model.path))?;
    let uri = glib::filename_to_uri(&folder, None)
        .map_err(|e| failed(format!("{} cannot be shown: {e}.", folder.display()), ""))?;
    let next = format!("Open {} yourself.", folder.display());
    launch(&app, uri.to_string(), "No program of this desktop shows folders", next).await
}

/// The folder of a model, with every link followed: one that leads out of the cache is not opened, and nothing but a
/// folder is, because the desktop would run some files.
fn folder_in(cache: &Path, model: &Path) -> Result<PathBuf, ApiError> {
    let gone = |path: &Path| failed(format!("{} is not there.", path.display()), "Look again.");
    let cache = cache.canonicalize().map_err(|_| gone(cache))?;
    let folder = if model.is_dir() { model } else { model.parent().unwrap_or(model) };
    let folder = folder.canonicalize().map_err(|_| gone(model))?;
    if !folder.starts_with(&cache) || !folder.is_dir() {
        return Err(failed(
            format!("{} is not in the cache.", model.display()),
            "Open it yourself in the file manager.",
        ));
    }
    Ok(folder)
}

/// Opens a page of the Hub in the browser, once the person has seen its exact address. False: the person said no.
#[tauri::command]
pub(crate) async fn dialog_open_page(
    app: AppHandle,
    link: State<'_, Arc<Link>>,
    url: String,
) -> Result<bool, ApiError> {
    let account: HubAccount = read(link.call("hub_account", json!({})).await?)?;
    let page = page_of(&account.endpoint, &url)?;
    let question = Question {
        title: "Open this page in the browser?".to_owned(),
        head: format!("It is at {}, outside of Asgard.", page.host_str().unwrap_or_default()),
        detail: Some(page.to_string()),
        yes: "Open".to_owned(),
        no: "Stay here".to_owned(),
    };
    if !yes(&app, question).await? {
        return Ok(false);
    }
    let next = format!("Open {page} yourself.");
    launch(&app, page.to_string(), "No program of this desktop opens pages", next).await
}

/// An address below the Hub's own, encrypted or of this machine, as a browser would be given it.
fn page_of(endpoint: &str, url: &str) -> Result<Url, ApiError> {
    let refused = || {
        ApiError::new(
            Code::Usage,
            "That address is no page of the Hub.",
            "Copy it, and open it yourself if you trust it.",
        )
    };
    let hub = Url::parse(endpoint).map_err(|_| refused())?;
    let page = Url::parse(url).map_err(|_| refused())?;
    let same = page.scheme() == hub.scheme()
        && page.host_str() == hub.host_str()
        && page.port_or_known_default() == hub.port_or_known_default();
    let safe = page.scheme() == "https" || (page.scheme() == "http" && page.host_str().is_some_and(loopback));
    let plain = page.username().is_empty() && page.password().is_none();
    let base = hub.path().trim_end_matches('/');
    let below = page.path().strip_prefix(base).is_some_and(|rest| rest.starts_with('/'));
    if url.len() > 2000 || !(same && safe && plain && below) {
        return Err(refused());
    }
    Ok(page)
}

fn loopback(host: &str) -> bool {
    let address = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    host == "localhost" || address.is_ok_and(|address| address.is_loopback())
}

async fn launch(app: &AppHandle, uri: String, nothing: &str, next: String) -> Result<bool, ApiError> {
    let outcome = ask(app, move |_, answer| {
        let opened = gio::AppInfo::launch_default_for_uri(&uri, None::<&gio::AppLaunchContext>);
        let _ = answer.send(opened);
    })
    .await?;
    match outcome {
        Some(Ok(())) => Ok(true),
        // That no program is registered for it is what the sentence says.
        Some(Err(why)) if why.matches(gio::IOErrorEnum::NotSupported) => {
            Err(failed(format!("{nothing}."), &next))
        }
        Some(Err(why)) => Err(failed(format!("{nothing} ({}).", why.message().trim_end_matches('.')), &next)),
        None => Ok(false),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_pages_of_the_hub_are_opened() {
        let hub = "https://huggingface.co";
        for (endpoint, url, opened) in [
            (hub, "https://huggingface.co/org/name", Some("https://huggingface.co/org/name")),
            (hub, "https://huggingface.co:443/org/name", Some("https://huggingface.co/org/name")),
            (hub, "https://huggingface.co/a\u{202e}b", Some("https://huggingface.co/a%E2%80%AEb")),
            (hub, "http://huggingface.co/org/name", None),
            (hub, "https://huggingface.co.evil.example/org", None),
            (hub, "https://huggingface.co@evil.example/org", None),
            (hub, "https://you:secret@huggingface.co/org", None),
            (hub, "https://huggingface.co:8443/org", None),
            (hub, "https://hugg\u{456}ngface.co/org", None),
            (hub, "file:///etc/passwd", None),
            (hub, "javascript:alert(1)", None),
            (hub, "", None),
            ("http://127.0.0.1:4000", "http://127.0.0.1:4000/org", Some("http://127.0.0.1:4000/org")),
            ("http://[::1]:4000", "http://[::1]:4000/org", Some("http://[::1]:4000/org")),
            ("http://127.0.0.1:4000", "http://127.0.0.1:4001/org", None),
            // A mirror that is not encrypted may be read by anybody on the way.
            ("http://mirror.example", "http://mirror.example/org", None),
            (
                "https://mirror.example/hf",
                "https://mirror.example/hf/org",
                Some("https://mirror.example/hf/org"),
            ),
            ("https://mirror.example/hf", "https://mirror.example/hfx/org", None),
            ("https://mirror.example/hf", "https://mirror.example/hf/../org", None),
            ("", "https://huggingface.co/org/name", None),
        ] {
            let page = page_of(endpoint, url).ok().map(|page| page.to_string());
            assert_eq!(page.as_deref(), opened, "{url} of {endpoint}");
        }
        assert!(page_of(hub, &format!("{hub}/{}", "a".repeat(3000))).is_err());
    }

    #[test]
    fn who_marks_a_part_of_a_model_means_its_folder() {
        let home = tempfile::tempdir().unwrap();
        let folder = home.path().join("odd.safetensors");
        std::fs::create_dir(&folder).unwrap();
        for (marked, meant) in [
            (home.path().join("config.json"), home.path().to_path_buf()),
            (home.path().join("model-00001-of-00002.safetensors"), home.path().to_path_buf()),
            (home.path().join("a.gguf"), home.path().join("a.gguf")),
            (folder.clone(), folder),
        ] {
            assert_eq!(model_of(marked), meant);
        }
    }

    #[test]
    fn only_folders_of_the_cache_are_shown() {
        let home = tempfile::tempdir().unwrap();
        let cache = home.path().join("hub");
        let snapshot = cache.join("models--org--name/snapshots/abc");
        std::fs::create_dir_all(&snapshot).unwrap();
        std::fs::write(snapshot.join("a.gguf"), "w").unwrap();
        let real = snapshot.canonicalize().unwrap();
        assert_eq!(folder_in(&cache, &snapshot).unwrap(), real);
        assert_eq!(folder_in(&cache, &snapshot.join("a.gguf")).unwrap(), real);
        std::os::unix::fs::symlink(home.path(), cache.join("out")).unwrap();
        for wrong in
            [cache.join("out"), home.path().to_path_buf(), cache.join("gone/further"), PathBuf::from("/")]
        {
            assert!(folder_in(&cache, &wrong).is_err(), "{}", wrong.display());
        }
    }
}
