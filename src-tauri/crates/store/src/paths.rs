//! Where everything lies: the XDG base folders, and the Hugging Face cache.

use std::ffi::OsString;
use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// The longest path a Unix socket can have on Linux, without the closing zero.
const LONGEST_SOCKET: usize = 107;

/// Asgard's folders for one user. A rehearsal has its own, except for `runtime`: there is one controller per user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Paths {
    /// The stack and the window's preferences.
    pub config: PathBuf,
    /// The database.
    pub data: PathBuf,
    /// The log, the intent, the logs of local processes.
    pub state: PathBuf,
    /// Compile caches of the model servers; can be deleted at any time.
    pub cache: PathBuf,
    /// The control socket and the lock.
    pub runtime: PathBuf,
    /// The `hub` folder of the Hugging Face cache.
    pub hub: PathBuf,
    /// Where the Hub's own client keeps its token.
    pub client_token: PathBuf,
    pub rehearsal: bool,
}

#[derive(Debug, thiserror::Error)]
pub enum PathError {
    #[error(
        "HOME is not set, so there is no folder for Asgard's files. Set HOME to your home folder and try again."
    )]
    NoHome,
    #[error("The folder {} cannot be made: {cause}. Check who owns the folders above it, or set {variable}.", path.display())]
    Folder { path: PathBuf, cause: io::Error, variable: &'static str },
    #[error(
        "The folder {} belongs to another user, so the control socket would not be safe there. Set XDG_RUNTIME_DIR to a folder of your own.",
        .0.display()
    )]
    NotOurs(PathBuf),
    #[error(
        "The path {} is too long for a socket (at most {LONGEST_SOCKET} bytes). Set XDG_RUNTIME_DIR to a shorter one.",
        .0.display()
    )]
    SocketTooLong(PathBuf),
}

impl Paths {
    /// The folders that the environment names. Nothing is created: see [`Paths::ensure`].
    pub fn from_env(
        env: &dyn Fn(&str) -> Option<OsString>,
        uid: u32,
        rehearsal: bool,
    ) -> Result<Self, PathError> {
        Self::resolve(env, uid, rehearsal, &|path| {
            fs::metadata(path).ok().filter(fs::Metadata::is_dir).map(|m| m.uid())
        })
    }

    /// `owner_of` answers for folders that exist; the one look at the disk that the rules need.
    fn resolve(
        env: &dyn Fn(&str) -> Option<OsString>,
        uid: u32,
        rehearsal: bool,
        owner_of: &dyn Fn(&Path) -> Option<u32>,
    ) -> Result<Self, PathError> {
        // The XDG rule: a relative value is as good as none.
        let folder = |name: &str| env(name).map(PathBuf::from).filter(|p| p.is_absolute());
        let home = folder("HOME");
        let base = |name: &str, below_home: &str| {
            folder(name).or_else(|| home.as_ref().map(|h| h.join(below_home))).ok_or(PathError::NoHome)
        };
        let own = if rehearsal { "asgard-rehearsal" } else { "asgard" };
        let state_base = base("XDG_STATE_HOME", ".local/state")?;
        let cache_base = base("XDG_CACHE_HOME", ".cache")?;
        let runtime = folder("XDG_RUNTIME_DIR")
            .or_else(|| {
                let usual = PathBuf::from(format!("/run/user/{uid}"));
                (owner_of(&usual) == Some(uid)).then_some(usual)
            })
            .map_or_else(|| state_base.join("asgard/run"), |r| r.join("asgard"));
        Ok(Self {
            config: base("XDG_CONFIG_HOME", ".config")?.join(own),
            data: base("XDG_DATA_HOME", ".local/share")?.join(own),
            state: state_base.join(own),
            hub: if rehearsal {
                played_hub(env, home.as_deref())
                    .unwrap_or_else(|| cache_base.join(own).join("huggingface/hub"))
            } else {
                hub(env, home.as_deref(), &cache_base)
            },
            client_token: client_token(env, home.as_deref(), &cache_base),
            cache: cache_base.join(own),
            runtime,
            rehearsal,
        })
    }

    /// Makes the folders, each for this user alone.
    pub fn ensure(&self) -> Result<(), PathError> {
        if self.socket().as_os_str().as_bytes().len() > LONGEST_SOCKET {
            return Err(PathError::SocketTooLong(self.socket()));
        }
        for (path, variable) in [
            (&self.config, "XDG_CONFIG_HOME"),
            (&self.data, "XDG_DATA_HOME"),
            (&self.state, "XDG_STATE_HOME"),
            (&self.agent_logs(), "XDG_STATE_HOME"),
            (&self.caches(), "XDG_CACHE_HOME"),
            (&self.runtime, "XDG_RUNTIME_DIR"),
        ] {
            make(path).map_err(|cause| PathError::Folder { path: path.clone(), cause, variable })?;
        }
        self.close_runtime()
    }

    /// The control socket obeys whoever can open it: its folder is ours and closed, also if it was there before.
    fn close_runtime(&self) -> Result<(), PathError> {
        let failed =
            |cause| PathError::Folder { path: self.runtime.clone(), cause, variable: "XDG_RUNTIME_DIR" };
        let metadata = fs::metadata(&self.runtime).map_err(failed)?;
        if metadata.uid() != rustix::process::getuid().as_raw() {
            return Err(PathError::NotOurs(self.runtime.clone()));
        }
        if metadata.mode() & 0o077 != 0 {
            fs::set_permissions(&self.runtime, fs::Permissions::from_mode(0o700)).map_err(failed)?;
        }
        Ok(())
    }

    pub fn stack_file(&self) -> PathBuf {
        self.config.join("stack.toml")
    }

    /// The window's preferences.
    pub fn settings_file(&self) -> PathBuf {
        self.config.join("settings.json")
    }

    pub fn database(&self) -> PathBuf {
        self.data.join("asgard.db")
    }

    pub fn log_file(&self) -> PathBuf {
        self.state.join("asgard.log")
    }

    pub fn intent_file(&self) -> PathBuf {
        self.state.join("intent.json")
    }

    /// What was said about servers of others.
    pub fn adoptions_file(&self) -> PathBuf {
        self.data.join("adoptions.json")
    }

    /// Beside the stack file, which it holds back.
    pub fn unconfirmed_file(&self) -> PathBuf {
        self.config.join("unconfirmed.json")
    }

    /// Where secrets lie on a machine without a keyring.
    pub fn secrets_file(&self) -> PathBuf {
        self.data.join("secrets.json")
    }

    pub fn socket(&self) -> PathBuf {
        self.runtime.join("control.sock")
    }

    pub fn lock_file(&self) -> PathBuf {
        self.runtime.join("controller.lock")
    }

    /// The logs of agents that are local processes.
    pub fn agent_logs(&self) -> PathBuf {
        self.state.join("agents")
    }

    /// Compile caches, which containers may write.
    pub fn caches(&self) -> PathBuf {
        self.cache.join("compile")
    }
}

/// A folder that a variable of the Hub's own client names.
fn named(env: &dyn Fn(&str) -> Option<OsString>, home: Option<&Path>, name: &str) -> Option<PathBuf> {
    let value = env(name).filter(|v| !v.is_empty()).map(PathBuf::from)?;
    let value = match (value.strip_prefix("~"), home) {
        (Ok(rest), Some(home)) => home.join(rest),
        _ => value,
    };
    // Containers need the absolute path; a relative one counts from the working folder, as it does for the client.
    Some(std::path::absolute(&value).unwrap_or(value))
}

/// The Hugging Face cache, by the order that its own client uses.
fn hub(env: &dyn Fn(&str) -> Option<OsString>, home: Option<&Path>, cache_base: &Path) -> PathBuf {
    let folder = |name: &str| named(env, home, name);
    folder("HF_HUB_CACHE")
        .or_else(|| folder("HUGGINGFACE_HUB_CACHE"))
        .or_else(|| folder("HF_HOME").map(|h| h.join("hub")))
        .unwrap_or_else(|| cache_base.join("huggingface/hub"))
}

/// The cache of a rehearsal that was given one. A rehearsal plays its own Hub, whose models have real names and no
/// real content: they must never come to lie in the user's cache, which `HF_HUB_CACHE` may well name. With a Hub that
/// was named too (`HF_ENDPOINT`) nothing is played, and the variable means what it says.
fn played_hub(env: &dyn Fn(&str) -> Option<OsString>, home: Option<&Path>) -> Option<PathBuf> {
    env("HF_ENDPOINT").filter(|v| !v.is_empty())?;
    named(env, home, "HF_HUB_CACHE")
}

/// The file of the client's token, by the order that it uses itself.
fn client_token(env: &dyn Fn(&str) -> Option<OsString>, home: Option<&Path>, cache_base: &Path) -> PathBuf {
    named(env, home, "HF_TOKEN_PATH")
        .or_else(|| named(env, home, "HF_HOME").map(|h| h.join("token")))
        .unwrap_or_else(|| cache_base.join("huggingface/token"))
}

fn make(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolve(variables: &[(&str, &str)], rehearsal: bool, ours: bool) -> Result<Paths, PathError> {
        let env = |name: &str| variables.iter().find(|(n, _)| *n == name).map(|(_, v)| OsString::from(v));
        Paths::resolve(&env, 1000, rehearsal, &|path| {
            (path == Path::new("/run/user/1000")).then_some(if ours { 1000 } else { 0 })
        })
    }

    #[test]
    fn the_usual_folders() {
        let paths =
            resolve(&[("HOME", "/home/ada"), ("XDG_RUNTIME_DIR", "/run/user/1000")], false, true).unwrap();
        assert_eq!(paths.stack_file(), Path::new("/home/ada/.config/asgard/stack.toml"));
        assert_eq!(paths.database(), Path::new("/home/ada/.local/share/asgard/asgard.db"));
        assert_eq!(paths.log_file(), Path::new("/home/ada/.local/state/asgard/asgard.log"));
        assert_eq!(paths.socket(), Path::new("/run/user/1000/asgard/control.sock"));
        assert_eq!(paths.hub, Path::new("/home/ada/.cache/huggingface/hub"));
    }

    #[test]
    fn a_rehearsal_shares_the_socket_and_nothing_else() {
        let variables = [("HOME", "/home/ada")];
        let real = resolve(&variables, false, true).unwrap();
        let rehearsal = resolve(&variables, true, true).unwrap();
        assert_eq!(real.socket(), rehearsal.socket());
        assert_eq!(real.lock_file(), rehearsal.lock_file());
        for (a, b) in [
            (real.stack_file(), rehearsal.stack_file()),
            (real.database(), rehearsal.database()),
            (real.intent_file(), rehearsal.intent_file()),
            (real.caches(), rehearsal.caches()),
        ] {
            assert_ne!(a, b, "a rehearsal must never touch the user's files");
        }
    }

    #[test]
    fn without_a_runtime_folder_the_usual_one_is_taken_if_it_is_ours_else_the_state_folder() {
        let variables = [("HOME", "/home/ada"), ("XDG_RUNTIME_DIR", "")];
        assert_eq!(resolve(&variables, false, true).unwrap().runtime, Path::new("/run/user/1000/asgard"));
        for rehearsal in [false, true] {
            assert_eq!(
                resolve(&variables, rehearsal, false).unwrap().runtime,
                Path::new("/home/ada/.local/state/asgard/run"),
                "the same for a rehearsal: there is one controller per user"
            );
        }
    }

    #[test]
    fn relative_values_are_ignored() {
        let paths = resolve(
            &[("HOME", "/home/ada"), ("XDG_CONFIG_HOME", "conf"), ("XDG_DATA_HOME", "/d")],
            false,
            true,
        );
        let paths = paths.unwrap();
        assert_eq!(paths.config, Path::new("/home/ada/.config/asgard"));
        assert_eq!(paths.data, Path::new("/d/asgard"));
    }

    #[test]
    fn no_home_says_what_to_do() {
        assert!(resolve(&[], false, true).unwrap_err().to_string().contains("Set HOME"));
        let xdg = ["XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_STATE_HOME", "XDG_CACHE_HOME"].map(|v| (v, "/x"));
        assert!(resolve(&xdg, false, true).is_ok(), "HOME is not needed when every folder is named");
    }

    #[test]
    fn the_hub_folder_follows_the_clients_order() {
        let all = [
            ("HF_HUB_CACHE", "/a"),
            ("HUGGINGFACE_HUB_CACHE", "/b"),
            ("HF_HOME", "~/hf"),
            ("XDG_CACHE_HOME", "/c"),
            ("HOME", "/home/ada"),
        ];
        for (from, hub) in [(0, "/a"), (1, "/b"), (2, "/home/ada/hf/hub"), (3, "/c/huggingface/hub")] {
            assert_eq!(resolve(&all[from..], false, true).unwrap().hub, Path::new(hub));
        }
    }

    #[test]
    fn a_rehearsal_never_fills_the_users_cache_of_models() {
        let user = [("HF_HUB_CACHE", "/a"), ("HF_HOME", "/b"), ("HOME", "/home/ada")];
        let own = Path::new("/home/ada/.cache/asgard-rehearsal/huggingface/hub");
        for variables in [&user[..], &user[1..], &user[2..]] {
            assert_eq!(resolve(variables, true, true).unwrap().hub, own, "{variables:?}");
        }
        // Another Hub than the played one: its models are what they are.
        let mut variables = user.to_vec();
        variables.push(("HF_ENDPOINT", "http://127.0.0.1:1"));
        assert_eq!(resolve(&variables, true, true).unwrap().hub, Path::new("/a"));
        assert_eq!(resolve(&variables[1..], true, true).unwrap().hub, own);
    }

    #[test]
    fn the_clients_token_lies_where_the_client_looks_for_it() {
        let all =
            [("HF_TOKEN_PATH", "~/t"), ("HF_HOME", "/hf"), ("XDG_CACHE_HOME", "/c"), ("HOME", "/home/ada")];
        for (from, file) in [(0, "/home/ada/t"), (1, "/hf/token"), (2, "/c/huggingface/token")] {
            assert_eq!(resolve(&all[from..], false, true).unwrap().client_token, Path::new(file));
        }
    }

    #[test]
    fn folders_are_made_for_the_user_alone() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().to_str().unwrap();
        let runtime = folder.path().join("r");
        let (home, run) = (format!("{root}/h"), runtime.to_str().unwrap().to_owned());
        let paths = resolve(&[("HOME", &home), ("XDG_RUNTIME_DIR", &run)], false, true).unwrap();
        // It was there before, open to everybody.
        fs::create_dir_all(&paths.runtime).unwrap();
        fs::set_permissions(&paths.runtime, fs::Permissions::from_mode(0o755)).unwrap();
        paths.ensure().unwrap();
        paths.ensure().unwrap();
        for path in [&paths.config, &paths.data, &paths.state, &paths.runtime, &paths.agent_logs()] {
            assert_eq!(fs::metadata(path).unwrap().mode() & 0o777, 0o700, "{}", path.display());
        }
    }

    #[test]
    fn a_socket_path_that_is_too_long_is_said_before_it_fails() {
        let long = format!("/tmp/{}", "x".repeat(120));
        let paths = resolve(&[("HOME", "/nowhere"), ("XDG_RUNTIME_DIR", &long)], false, true).unwrap();
        assert!(matches!(paths.ensure(), Err(PathError::SocketTooLong(_))));
    }

    #[test]
    fn a_folder_that_cannot_be_made_names_itself_and_the_way_out() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        fs::write(&file, "").unwrap();
        let (home, run) = (folder.path().to_str().unwrap().to_owned(), folder.path().join("r"));
        let paths = resolve(
            &[
                ("HOME", &home),
                ("XDG_DATA_HOME", file.to_str().unwrap()),
                ("XDG_RUNTIME_DIR", run.to_str().unwrap()),
            ],
            false,
            true,
        );
        let error = paths.unwrap().ensure().unwrap_err().to_string();
        assert!(error.contains("file/asgard") && error.contains("XDG_DATA_HOME"), "{error}");
    }
}
