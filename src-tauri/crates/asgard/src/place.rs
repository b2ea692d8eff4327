//! Where this program runs: its folders, the variables it passes on, its own path.

use std::collections::BTreeMap;
use std::path::PathBuf;

use api::{ApiError, Code};
use store::paths::Paths;

/// The folders of the user who runs this.
pub(crate) fn paths(rehearsal: bool) -> Result<Paths, ApiError> {
    let uid = rustix::process::getuid().as_raw();
    // The error is both sentences already.
    Paths::from_env(&|name| std::env::var_os(name), uid, rehearsal)
        .map_err(|error| ApiError::new(Code::Failed, error.to_string(), ""))
}

/// As [`paths`], and the folders exist afterwards.
pub(crate) fn ready_paths(rehearsal: bool) -> Result<Paths, ApiError> {
    let paths = paths(rehearsal)?;
    paths.ensure().map_err(|error| ApiError::new(Code::Failed, error.to_string(), ""))?;
    Ok(paths)
}

pub(crate) fn options(paths: Paths, rehearsal: bool, after_login: bool) -> Result<app::Options, ApiError> {
    let hub_token = std::env::var("HF_TOKEN").ok().map(|t| t.trim().to_owned()).filter(|t| !t.is_empty());
    Ok(app::Options {
        paths,
        rehearsal,
        env: variables(),
        exe: own_path()?,
        after_login,
        hub_token: hub_token.map(domain::secret::Secret::new),
    })
}

/// This program's own file: the one that plays the model servers of a rehearsal.
pub(crate) fn own_path() -> Result<PathBuf, ApiError> {
    std::env::current_exe().map_err(|error| {
        ApiError::new(
            Code::Failed,
            format!("The path of this program cannot be found: {error}."),
            "Start it by its full path.",
        )
    })
}

/// The environment for the controller. Tokens stay out: whoever needs one asks for it by name, so that none ends up
/// in a log or in a server's environment.
fn variables() -> BTreeMap<String, String> {
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .filter(|(name, _)| !secret(name))
        .collect()
}

fn secret(name: &str) -> bool {
    ["TOKEN", "SECRET", "PASSWORD", "API_KEY"].iter().any(|word| name.ends_with(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_not_passed_on() {
        for name in ["HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "OPENAI_API_KEY"] {
            assert!(secret(name), "{name}");
        }
        for name in ["HOME", "HF_HUB_CACHE", "DOCKER_HOST", "ASGARD_SYSROOT", "XDG_RUNTIME_DIR"] {
            assert!(!secret(name), "{name}");
        }
    }
}
