//! A gateway key, put down where a tool's file or a line of a shell can read it.

use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt as _;

use api::{ApiError, Code};
use store::secrets::{Secrets, gateway_key};

use super::ToolGround;

/// Writes the key of this name, and nothing else, into a file that only this user may read.
///
/// # Errors
/// The stack has no such key, its secret is not to be had, or the file cannot be written.
pub async fn put_tool_key(ground: &ToolGround, secrets: &Secrets, name: &str) -> Result<(), ApiError> {
    let path = ground.key_file(name)?;
    let found = secrets
        .get(&gateway_key(name))
        .await
        .map_err(|e| ApiError::new(Code::Failed, format!("The key {name} cannot be read."), e.to_string()))?;
    let Some(secret) = found.filter(|s| !s.reveal().is_empty()) else {
        return Err(ApiError::new(
            Code::Failed,
            format!("The secret of the key {name} is not there."),
            "Unlock the keyring, or remove the key and make it again.",
        ));
    };
    let written = DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(&ground.keys)
        .and_then(|()| store::atomic::write(&path, secret.reveal().as_bytes(), 0o600));
    written.map_err(|e| {
        ApiError::new(
            Code::Failed,
            format!("The key cannot be put into {}: {e}.", path.display()),
            "Check that Asgard's configuration folder is yours and has room.",
        )
    })
}
