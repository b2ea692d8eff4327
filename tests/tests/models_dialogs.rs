//! What leaves the page for the desktop: choosing a model to import, the file manager, the browser.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use journeys::display::{SOON, Screen, Window, eventually};
use journeys::household::Household;
use serde_json::{Value, json};

const GGUF: &str = "Qwen/Qwen2.5-0.5B-Instruct-GGUF";
const FOLDER: &str = "Qwen/Qwen2.5-3B-Instruct-AWQ";

/// All files of a model of the rehearsal's Hub whose names end so.
fn files_of(repo: &str, ending: &str) -> Vec<(String, Vec<u8>)> {
    let hub = rehearsal::hub::catalogue();
    let repo = hub.repos.iter().find(|r| r.id == repo).unwrap();
    let files = &repo.head().unwrap().files;
    files.iter().filter(|f| f.path.ends_with(ending)).map(|f| (f.path.clone(), f.content.to_vec())).collect()
}

/// A desktop whose one program for folders and pages writes down what it is to open.
fn desktop(household: &Household) -> PathBuf {
    let opened = household.path("opened.txt");
    let program = household.path("opener");
    fs::write(&program, format!("#!/bin/sh\nprintf '%s\\n' \"$1\" >> {}\n", opened.display())).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o700)).unwrap();
    let applications = household.path("data/applications");
    fs::create_dir_all(&applications).unwrap();
    let kinds = ["inode/directory", "x-scheme-handler/http"];
    let entry = format!(
        "[Desktop Entry]\nType=Application\nName=Opener\nExec={} %u\nMimeType={};\n",
        program.display(),
        kinds.join(";")
    );
    fs::write(applications.join("opener.desktop"), entry).unwrap();
    let chosen: String = kinds.iter().map(|kind| format!("{kind}=opener.desktop\n")).collect();
    fs::write(household.path("config/mimeapps.list"), format!("[Default Applications]\n{chosen}")).unwrap();
    opened
}

/// What the program was given, once all of the line is there.
async fn line(opened: &Path) -> String {
    eventually("something is opened", SOON, || async {
        fs::read_to_string(opened).ok().filter(|told| told.ends_with('\n'))
    })
    .await
}

async fn import(window: &Window, screen: &Screen, path: &str) {
    window.press("import-model").await;
    let chooser = screen.window("Choose a GGUF file, or open the folder of a model", SOON).await;
    screen.type_in(chooser, "ctrl+l", path).await;
    screen.answer(chooser, &["Return"]).await;
}

#[tokio::test]
async fn a_model_is_imported_shown_and_looked_up() {
    let mut household = Household::new();
    let screen = Screen::start(1280, 800).await;
    screen.dress(&mut household);
    let opened = desktop(&household);
    let own = household.path("home/own");
    fs::create_dir_all(own.join("coder")).unwrap();
    let (_, bytes) = files_of(GGUF, "q4_k_m.gguf").remove(0);
    fs::write(own.join("mine.gguf"), bytes).unwrap();
    for (name, bytes) in files_of(FOLDER, "") {
        fs::write(own.join("coder").join(name), bytes).unwrap();
    }
    let window = Window::open(&household, &["--rehearsal"]).await;
    window.press("nav-models").await;
    window.press("tab-installed").await;

    // A file; and of a folder a file of it is marked, because that is what one sees there.
    for (path, id) in [("mine.gguf", "imported/mine/mine.gguf"), ("coder/config.json", "imported/coder")] {
        import(&window, &screen, own.join(path).to_str().unwrap()).await;
        window.see_css(&format!("[data-testid=\"installed-row\"][data-id^=\"{id}\"].selected")).await;
    }
    window.picture("models-imported").await;

    // Its folder, of the cache and not of the person's own.
    window.press("model-menu").await;
    window.press("menu-folder").await;
    let told = line(&opened).await;
    let cache = household.path("cache");
    // Programs get a path or its address, as the desktop likes.
    assert!(told.trim_start_matches("file://").starts_with(cache.to_str().unwrap()), "{told}");
    assert!(told.contains("/models--imported--coder/snapshots/"), "{told}");
    fs::remove_file(&opened).unwrap();

    // And a page of the Hub, once its exact address was seen.
    window.press("tab-discover").await;
    window
        .see_css(&format!("[data-testid=\"hub-model\"][data-repo=\"{FOLDER}\"] [data-testid=\"details\"]"))
        .await
        .click()
        .await
        .unwrap();
    window.see("details-files").await;
    window.press("details-page").await;
    let question = screen.window("Open this page in the browser?", SOON).await;
    // Enter alone stays here: it is the second button that opens.
    screen.answer(question, &["Return"]).await;
    window
        .see_css("[data-testid=\"details-page\"]:not([aria-disabled=\"true\"])")
        .await
        .click()
        .await
        .unwrap();
    assert!(!opened.exists(), "it was opened without a yes");
    let question = screen.window("Open this page in the browser?", SOON).await;
    screen.answer(question, &["Tab", "Return"]).await;
    let told = line(&opened).await;
    let account: Value = household.client().await.call("hub_account", json!({})).await.unwrap();
    assert_eq!(told.trim(), format!("{}/{FOLDER}", account["endpoint"].as_str().unwrap()));
}
