//! The few places on disk that the window knows: the control socket, its preferences, and where a controller's first
//! words go. Everything else is the controller's.

use std::ffi::OsString;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Places {
    pub(crate) socket: PathBuf,
    /// `settings.json`, the window's preferences. The same in a rehearsal: they say how the window looks.
    pub(crate) preferences: PathBuf,
    /// What a controller that this window started prints, apart from its log: the reason when it ends at once.
    pub(crate) words: PathBuf,
}

impl Places {
    /// # Errors
    /// A sentence and what to do, where there is not even a home folder.
    pub(crate) fn here(rehearsal: bool) -> Result<Self, String> {
        let uid = rustix::process::getuid().as_raw();
        let is_ours = |folder: &Path| std::fs::metadata(folder).is_ok_and(|m| m.is_dir() && m.uid() == uid);
        Self::resolve(&|name| std::env::var_os(name), uid, &is_ours, rehearsal).ok_or_else(|| {
            "HOME is not set, so there is no folder for Asgard's files. Set HOME to your home folder and try again."
                .to_owned()
        })
    }

    fn resolve(
        env: &dyn Fn(&str) -> Option<OsString>,
        uid: u32,
        is_ours: &dyn Fn(&Path) -> bool,
        rehearsal: bool,
    ) -> Option<Self> {
        let folder = |name: &str| env(name).map(PathBuf::from).filter(|p| p.is_absolute());
        let base = |name: &str, below: &str| folder(name).or_else(|| folder("HOME").map(|h| h.join(below)));
        let own = if rehearsal { "asgard-rehearsal" } else { "asgard" };
        Some(Self {
            socket: api::client::socket_path(env, uid, is_ours)?,
            preferences: base("XDG_CONFIG_HOME", ".config")?.join("asgard/settings.json"),
            words: base("XDG_STATE_HOME", ".local/state")?.join(own).join("serve.out"),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rehearsal_shares_the_socket_and_the_looks_and_has_its_own_state() {
        let env = |name: &str| (name == "HOME").then(|| OsString::from("/home/ada"));
        let at = |rehearsal| Places::resolve(&env, 7, &|_| true, rehearsal).unwrap();
        assert_eq!(at(false).socket, Path::new("/run/user/7/asgard/control.sock"));
        assert_eq!(at(false).socket, at(true).socket);
        assert_eq!(at(true).preferences, Path::new("/home/ada/.config/asgard/settings.json"));
        assert_eq!(at(true).words, Path::new("/home/ada/.local/state/asgard-rehearsal/serve.out"));
    }

    #[test]
    fn nothing_is_guessed_without_a_home() {
        assert_eq!(Places::resolve(&|_| None, 7, &|_| true, false), None);
    }
}
