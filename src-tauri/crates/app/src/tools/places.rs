//! Which file a tool reads, of those that it would.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use api::{ApiError, Code};

/// Where this user's tools look, by the environment of whoever asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ToolPlaces {
    home: Option<PathBuf>,
    /// `$XDG_CONFIG_HOME`, else `~/.config`.
    config: Option<PathBuf>,
    /// `$OPENCODE_CONFIG`: a file that OpenCode reads over its usual one.
    opencode: Option<PathBuf>,
}

impl ToolPlaces {
    pub fn of(env: &dyn Fn(&str) -> Option<OsString>) -> Self {
        // The XDG rule: a relative value is as good as none.
        let folder = |name: &str| env(name).map(PathBuf::from).filter(|p| p.is_absolute());
        let home = folder("HOME");
        let config = folder("XDG_CONFIG_HOME").or_else(|| home.as_ref().map(|h| h.join(".config")));
        // OpenCode takes a relative one from where it is started, which is not known here.
        Self { home, config, opencode: folder("OPENCODE_CONFIG") }
    }

    /// OpenCode's file, and what to know of its choice.
    pub(super) fn opencode(&self, project: Option<&Path>) -> Result<(PathBuf, Vec<String>), ApiError> {
        if let Some(file) = self.opencode.as_ref().filter(|_| project.is_none()) {
            return Ok((file.clone(), vec!["It is the file that OPENCODE_CONFIG names.".to_owned()]));
        }
        let folder = self.folder(project)?;
        // Of several the one that OpenCode reads last: what it says wins.
        Ok(choose(&folder, &["opencode.jsonc", "opencode.json", "config.json"], "opencode.jsonc"))
    }

    /// oh-my-opencode's file. A new one has the older name, which every version reads.
    pub(super) fn oh_my_opencode(&self, project: Option<&Path>) -> Result<(PathBuf, Vec<String>), ApiError> {
        let names =
            ["oh-my-openagent.jsonc", "oh-my-openagent.json", "oh-my-opencode.jsonc", "oh-my-opencode.json"];
        Ok(choose(&self.folder(project)?, &names, "oh-my-opencode.jsonc"))
    }

    pub(super) fn below_home(&self, file: &str) -> Option<PathBuf> {
        match file.strip_prefix(".config/") {
            Some(rest) => self.config.as_ref().map(|c| c.join(rest)),
            None => self.home.as_ref().map(|h| h.join(file)),
        }
    }

    fn folder(&self, project: Option<&Path>) -> Result<PathBuf, ApiError> {
        let Some(project) = project else {
            return self.config.as_ref().map(|c| c.join("opencode")).ok_or_else(|| {
                ApiError::new(
                    Code::Failed,
                    "HOME is not set, so there is no folder for the tool's file.",
                    "Set HOME to your home folder and try again.",
                )
            });
        };
        if !project.is_absolute() || !project.is_dir() {
            return Err(ApiError::new(
                Code::Usage,
                format!("{} is no folder.", project.display()),
                "Name the folder of the project.",
            ));
        }
        Ok(project.join(".opencode"))
    }
}

fn choose(folder: &Path, names: &[&str], new: &str) -> (PathBuf, Vec<String>) {
    // A link that leads nowhere counts: it is somebody's choice, and writing says what is wrong with it.
    let there: Vec<PathBuf> =
        names.iter().map(|n| folder.join(n)).filter(|p| p.symlink_metadata().is_ok()).collect();
    let mut notes = Vec::new();
    if let [chosen, others @ ..] = there.as_slice() {
        for other in others {
            notes.push(format!("{} is there too and is left alone.", other.display()));
        }
        return (chosen.clone(), notes);
    }
    (folder.join(new), notes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places(set: &[(&str, &Path)]) -> ToolPlaces {
        ToolPlaces::of(&|name| set.iter().find(|(n, _)| *n == name).map(|(_, v)| v.as_os_str().to_owned()))
    }

    #[test]
    fn the_file_that_the_tool_reads_last_is_the_one() {
        let home = tempfile::tempdir().unwrap();
        let there = places(&[("HOME", home.path())]);
        let folder = home.path().join(".config/opencode");
        assert_eq!(there.opencode(None).unwrap().0, folder.join("opencode.jsonc"));
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join("opencode.json"), "{}").unwrap();
        assert_eq!(there.opencode(None).unwrap(), (folder.join("opencode.json"), vec![]));
        std::fs::write(folder.join("opencode.jsonc"), "{}").unwrap();
        let (path, notes) = there.opencode(None).unwrap();
        assert_eq!((path, notes.len()), (folder.join("opencode.jsonc"), 1));

        assert_eq!(there.oh_my_opencode(None).unwrap().0, folder.join("oh-my-opencode.jsonc"));
        std::fs::write(folder.join("oh-my-opencode.json"), "{}").unwrap();
        assert_eq!(there.oh_my_opencode(None).unwrap().0, folder.join("oh-my-opencode.json"));
        std::fs::write(folder.join("oh-my-openagent.json"), "{}").unwrap();
        assert_eq!(there.oh_my_opencode(None).unwrap().0, folder.join("oh-my-openagent.json"));
    }

    #[test]
    fn variables_come_before_the_home_folder() {
        let home = tempfile::tempdir().unwrap();
        let (config, own) = (home.path().join("c"), home.path().join("own.json"));
        let xdg = places(&[("HOME", home.path()), ("XDG_CONFIG_HOME", &config)]);
        assert_eq!(xdg.opencode(None).unwrap().0, config.join("opencode/opencode.jsonc"));
        let named = places(&[("HOME", home.path()), ("OPENCODE_CONFIG", &own)]);
        assert_eq!(named.opencode(None).unwrap().0, own);
        let project = home.path();
        assert_eq!(named.opencode(Some(project)).unwrap().0, project.join(".opencode/opencode.jsonc"));
        assert_eq!(named.below_home(".codex/config.toml"), Some(home.path().join(".codex/config.toml")));
        assert_eq!(xdg.below_home(".config/zed/settings.json"), Some(config.join("zed/settings.json")));
        let relative = places(&[("HOME", home.path()), ("XDG_CONFIG_HOME", Path::new("c"))]);
        assert_eq!(relative.opencode(None).unwrap().0, home.path().join(".config/opencode/opencode.jsonc"));
    }

    #[test]
    fn without_a_folder_it_says_so() {
        assert_eq!(places(&[]).opencode(None).unwrap_err().code, Code::Failed);
        let nowhere = Path::new("/nowhere/at/all");
        let error = places(&[("HOME", Path::new("/"))]).opencode(Some(nowhere)).unwrap_err();
        assert_eq!(error.code, Code::Usage);
    }
}
