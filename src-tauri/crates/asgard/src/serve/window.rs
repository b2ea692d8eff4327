//! Opening the window from the tray: a program of its own, which shows the one that is open already if there is one.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use tokio::process::Command;

const NAME: &str = "asgard-desktop";

/// Starts the window. `activation` is the desktop's permission to come to the front, where it gave one.
pub(super) fn open(exe: &Path, activation: Option<String>) {
    let Some(program) = find(exe, std::env::var_os("PATH").as_deref()) else {
        tracing::error!("The window's program {NAME} was not found. Put it beside {}.", exe.display());
        return;
    };
    let mut command = Command::new(&program);
    // A group of its own: Ctrl-C at the controller's terminal is not meant for the window.
    command.stdin(Stdio::null()).stdout(Stdio::null()).process_group(0);
    if let Some(token) = activation {
        command.env("XDG_ACTIVATION_TOKEN", token);
    }
    match command.spawn() {
        Ok(mut child) => drop(tokio::spawn(async move { child.wait().await })),
        Err(error) => tracing::error!("The window {} could not be started: {error}.", program.display()),
    }
}

/// Whether there is a window to open.
pub(super) fn is_there(exe: &Path) -> bool {
    find(exe, std::env::var_os("PATH").as_deref()).is_some()
}

/// Beside this program, else in the path.
fn find(exe: &Path, path: Option<&OsStr>) -> Option<PathBuf> {
    let beside = exe.parent().map(|folder| folder.join(NAME));
    let in_path =
        path.into_iter().flat_map(std::env::split_paths).filter(|f| f.is_absolute()).map(|f| f.join(NAME));
    beside.into_iter().chain(in_path).find(|program| program.is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_window_beside_us_comes_before_one_in_the_path() {
        let folder = tempfile::tempdir().unwrap();
        let (here, there) = (folder.path().join("here"), folder.path().join("there"));
        for place in [&here, &there] {
            std::fs::create_dir(place).unwrap();
            std::fs::write(place.join(NAME), "").unwrap();
        }
        let exe = here.join("asgard");
        assert_eq!(find(&exe, Some(there.as_os_str())), Some(here.join(NAME)));
        std::fs::remove_file(here.join(NAME)).unwrap();
        assert_eq!(find(&exe, Some(there.as_os_str())), Some(there.join(NAME)));
        assert_eq!(find(&exe, None), None);
    }
}
