//! The token, marked: where it may be, and where it must never be.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use domain::secret::Secret;
use serde_json::{Value, json};
use store::paths::Paths;
use tracing::field::{Field, Visit};
use tracing::span;

use crate::{App, Options, start};

/// The one that the rehearsal's Hub takes, and one that it does not.
const GOOD: &str = rehearsal::hub::TOKEN;
const BAD: &str = "hf_MarkedAndWrong4711";

/// Everything that anybody logs at any level, libraries too.
#[derive(Clone, Default)]
struct Logged(Arc<Mutex<String>>);

impl Visit for Logged {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        let _ = write!(self.0.lock().unwrap(), " {field}={value:?}");
    }
}

impl tracing::Subscriber for Logged {
    fn enabled(&self, _: &tracing::Metadata<'_>) -> bool {
        true
    }
    fn new_span(&self, span: &span::Attributes<'_>) -> span::Id {
        span.record(&mut self.clone());
        span::Id::from_u64(1)
    }
    fn record(&self, _: &span::Id, values: &span::Record<'_>) {
        values.record(&mut self.clone());
    }
    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}
    fn event(&self, event: &tracing::Event<'_>) {
        event.record(&mut self.clone());
        self.0.lock().unwrap().push('\n');
    }
    fn enter(&self, _: &span::Id) {}
    fn exit(&self, _: &span::Id) {}
}

fn options(home: &Path, more: &[(&str, &str)], token: Option<&str>) -> Options {
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let text = |path: PathBuf| path.display().to_string();
    let mut env: BTreeMap<String, String> = [
        ("HOME", text(home.to_path_buf())),
        ("XDG_RUNTIME_DIR", text(home.join("run"))),
        ("DOCKER_HOST", "unix:///none".to_owned()),
        ("BIFROST_PORT", port.to_string()),
    ]
    .map(|(k, v)| (k.to_owned(), v))
    .into();
    env.extend(more.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())));
    let get = |name: &str| env.get(name).map(OsString::from);
    let paths = Paths::from_env(&get, rustix::process::getuid().as_raw(), true).unwrap();
    Options {
        paths,
        rehearsal: true,
        env,
        exe: PathBuf::from("/none"),
        after_login: false,
        hub_token: token.map(Secret::new),
    }
}

async fn ask(app: &App, cmd: &str, payload: Value) -> Result<Value, String> {
    app.handle(cmd, payload).await.map_err(|e| format!("{e} {e:?} {}", serde_json::to_value(&e).unwrap()))
}

async fn end(app: App) {
    app.end();
    app.finished().await;
}

/// Every file below a folder that holds `text`.
fn holding(folder: &Path, text: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            found.extend(holding(&path, text));
        } else if std::fs::read(&path).is_ok_and(|b| b.windows(text.len()).any(|w| w == text.as_bytes())) {
            found.push(path);
        }
    }
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_is_kept_when_it_is_good_and_is_nowhere_but_there() {
    let logged = Logged::default();
    // Another test of this program may have come first; without it the logs go unread, and the rest is checked.
    let hears = tracing::subscriber::set_global_default(logged.clone()).is_ok();
    let home = tempfile::tempdir().unwrap();
    let options = options(home.path(), &[], Some("hf_TheUsersOwn4711"));
    let secrets = options.paths.secrets_file();
    let app = start(options).await.unwrap();
    let account = ask(&app, "hub_account", Value::Null).await.unwrap();
    assert_eq!(account["token"], Value::Null, "the user's own token is not for a played Hub: {account}");
    assert!(account["endpoint"].as_str().unwrap().starts_with("http://127.0.0.1:"), "{account}");
    for no_token in ["", "  ", "two words", "a\nb", &"x".repeat(2000)] {
        let error = ask(&app, "set_hub_token", json!({ "token": no_token })).await.unwrap_err();
        assert!(error.contains("This is no token"), "{error}");
    }
    let error = ask(&app, "set_hub_token", json!({ "token": BAD })).await.unwrap_err();
    assert!(error.contains("was not kept") && !error.contains(BAD), "{error}");
    assert!(!secrets.exists(), "nothing is kept of it");
    let account = ask(&app, "set_hub_token", json!({ "token": format!(" {GOOD}\n") })).await.unwrap();
    assert_eq!(
        (&account["user"], &account["token"], &account["problem"]),
        (&json!("rehearsal"), &json!("file"), &Value::Null)
    );
    // A worse one does not take its place.
    ask(&app, "set_hub_token", json!({ "token": BAD })).await.unwrap_err();
    let mut answers = vec![account.clone()];
    assert_eq!(ask(&app, "hub_account", Value::Null).await.unwrap(), account);
    for (cmd, payload) in [
        ("check_hub_token", Value::Null),
        ("status", Value::Null),
        ("settings", Value::Null),
        ("doctor_report", Value::Null),
        ("events", json!({ "limit": 200 })),
        ("downloads", Value::Null),
        ("launch_preview", json!({ "agent": "thor" })),
        ("pull", json!({ "repo": "nobody/nothing", "revision": null, "variant": null, "files": [] })),
    ] {
        answers.push(ask(&app, cmd, payload).await.unwrap_or_else(Value::from));
    }
    assert!(!answers[7].to_string().contains("HF_TOKEN"), "no server is given it: {}", answers[7]);
    for answer in &answers {
        let text = answer.to_string();
        assert!(!text.contains(GOOD) && !text.contains(BAD) && !text.contains("TheUsersOwn"), "{text}");
    }
    assert_eq!(holding(home.path(), GOOD), [secrets]);
    assert_eq!(holding(home.path(), BAD), Vec::<PathBuf>::new());
    end(app).await;
    let log = logged.0.lock().unwrap().clone();
    assert!(!hears || log.len() > 1000, "something was logged");
    for mark in [GOOD, BAD, "TheUsersOwn"] {
        assert!(!log.contains(mark), "{mark} is in the log");
    }
    assert!(!format!("{:?}", api::shapes::hub::TokenText(BAD.to_owned())).contains(BAD));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_order_of_tokens_and_the_end_of_each() {
    let hub =
        rehearsal::hub::Hub::new(Vec::new()).with_account("hf_env", "ada").with_account("hf_file", "bo");
    let hub = hub.with_account("hf_own", "cy").start().unwrap();
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join("token");
    std::fs::write(&file, "hf_file\n").unwrap();
    let more = [("HF_ENDPOINT", hub.endpoint()), ("HF_TOKEN_PATH", file.display().to_string())];
    let more: Vec<(&str, &str)> = more.iter().map(|(k, v)| (*k, v.as_str())).collect();
    let app = start(options(home.path(), &more, Some("hf_env"))).await.unwrap();
    let seen = async |app: &App| {
        let account = ask(app, "check_hub_token", Value::Null).await.unwrap();
        (account["user"].clone(), account["token"].clone())
    };
    assert_eq!(seen(&app).await, (json!("ada"), json!("environment")));
    let error = ask(&app, "remove_hub_token", Value::Null).await.unwrap_err();
    assert!(error.contains("HF_TOKEN"), "{error}");
    ask(&app, "set_hub_token", json!({ "token": "hf_own" })).await.unwrap();
    assert_eq!(seen(&app).await, (json!("cy"), json!("file")), "Asgard's own comes first");
    ask(&app, "remove_hub_token", Value::Null).await.unwrap();
    let account = ask(&app, "hub_account", Value::Null).await.unwrap();
    assert_eq!((&account["token"], &account["user"]), (&json!("environment"), &Value::Null), "{account}");
    end(app).await;
    let app = start(options(home.path(), &more, None)).await.unwrap();
    assert_eq!(seen(&app).await, (json!("bo"), json!("client_file")));
    std::fs::write(&file, "hf_taken_back\n").unwrap();
    let account = ask(&app, "check_hub_token", Value::Null).await.unwrap();
    assert_eq!((&account["user"], &account["problem"]["remedy"]), (&Value::Null, &json!("change_token")));
    std::fs::write(&file, "hf_file\n").unwrap();
    assert_eq!(seen(&app).await.0, json!("bo"));
    let endpoint = hub.endpoint();
    drop(hub);
    // The Hub is away: what it said last is still known, and a token that cannot be checked is not kept.
    let account = ask(&app, "check_hub_token", Value::Null).await.unwrap();
    assert_eq!(
        (&account["user"], &account["problem"]["remedy"]),
        (&json!("bo"), &json!("try_again")),
        "{endpoint}"
    );
    let error = ask(&app, "set_hub_token", json!({ "token": "hf_own" })).await.unwrap_err();
    assert!(error.contains("could not be checked, so it was not kept"), "{error}");
    let account = ask(&app, "hub_account", Value::Null).await.unwrap();
    assert_eq!(account["token"], json!("client_file"));
    std::fs::remove_file(&file).unwrap();
    assert_eq!(ask(&app, "hub_account", Value::Null).await.unwrap()["token"], Value::Null);
    end(app).await;
}
