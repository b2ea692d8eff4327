//! What must not leave this machine in a report, gathered from where it usually lies.

use std::ffi::OsString;
use std::fs;
use std::path::Path;

use domain::doctor::Private;
use store::paths::Paths;

/// A file with more than a token in it is another file.
const LARGEST: u64 = 1 << 16;
/// A shorter value of a variable is no secret, and would take words out of the text.
const SHORTEST: usize = 5;

/// Everything that is known to be private, with `secrets` from elsewhere.
pub(super) fn gather(
    paths: &Paths,
    variables: impl Iterator<Item = (OsString, OsString)>,
    secrets: Vec<String>,
) -> Private {
    let mut private = Private { secrets, ..Private::default() };
    let mut token_files = vec![paths.hub.parent().map(|p| p.join("token")), Some(paths.client_token.clone())];
    for (name, value) in variables {
        let (Some(name), Some(value)) = (name.to_str(), value.to_str()) else { continue };
        match name {
            "HOME" => home(&mut private, value),
            "USER" | "LOGNAME" | "HOSTNAME" => private.names.push(value.to_owned()),
            "HF_TOKEN_PATH" => token_files.push(Some(value.into())),
            "HF_HOME" => token_files.push(Some(Path::new(value).join("token"))),
            _ if is_secret(name) && value.len() >= SHORTEST => private.secrets.push(value.to_owned()),
            _ => {}
        }
    }
    account(&mut private);
    for file in ["/proc/sys/kernel/hostname", "/etc/hostname"] {
        let name = small(Path::new(file)).map(|t| t.trim().to_owned()).filter(|t| !t.is_empty());
        if let Some(name) = name {
            // "gondor" of "gondor.middle.earth" too.
            private.names.extend(name.split_once('.').map(|(first, _)| first.to_owned()));
            private.names.push(name);
        }
    }
    // Asgard's own file of secrets, where there is no keyring: every text in it.
    token_files.push(Some(paths.secrets_file()));
    for text in token_files.into_iter().flatten().filter_map(|f| small(&f)) {
        match serde_json::from_str::<serde_json::Value>(&text) {
            Ok(value) => texts(&value, &mut private.secrets),
            Err(_) => private.secrets.push(text.trim().to_owned()),
        }
    }
    private
}

fn home(private: &mut Private, path: &str) {
    private.homes.push(path.to_owned());
    if let Ok(real) = fs::canonicalize(path) {
        private.homes.push(real.display().to_string());
    }
}

/// What the password file says of this user.
fn account(private: &mut Private) {
    let uid = rustix::process::getuid().as_raw().to_string();
    let Some(text) = small(Path::new("/etc/passwd")) else { return };
    let mut lines = text.lines().map(|l| l.split(':').collect::<Vec<_>>());
    let Some(line) = lines.find(|fields| fields.get(2) == Some(&uid.as_str())) else { return };
    if let [name, _, _, _, gecos, folder, ..] = line.as_slice() {
        private.names.push((*name).to_owned());
        // "Ada Lovelace,,,": each part of the name.
        let full = gecos.split(',').next().unwrap_or_default();
        private.names.extend(full.split_whitespace().filter(|w| w.len() > 2).map(str::to_owned));
        home(private, folder);
    }
}

fn texts(value: &serde_json::Value, into: &mut Vec<String>) {
    match value {
        serde_json::Value::String(text) => into.push(text.clone()),
        serde_json::Value::Array(all) => all.iter().for_each(|v| texts(v, into)),
        serde_json::Value::Object(all) => all.values().for_each(|v| texts(v, into)),
        _ => {}
    }
}

fn is_secret(name: &str) -> bool {
    let name = name.to_ascii_uppercase();
    ["TOKEN", "SECRET", "PASSWORD", "PASSWD", "KEY", "CREDENTIALS"].iter().any(|word| name.ends_with(word))
}

fn small(path: &Path) -> Option<String> {
    fs::metadata(path).ok().filter(|m| m.is_file() && m.len() < LARGEST)?;
    fs::read(path).ok().map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
}
