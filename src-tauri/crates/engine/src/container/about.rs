//! What the engine is, for a person who asks whether this machine is ready.

use super::ContainerEngine;
use super::link::{self, SHORT};
use crate::EngineError;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct About {
    /// "docker" or "podman".
    pub kind: &'static str,
    pub version: Option<String>,
    /// It runs as an ordinary user.
    pub rootless: bool,
    /// The socket, or "tcp://…".
    pub address: String,
    /// Where it keeps images and containers; on this machine only where the engine is.
    pub folder: Option<String>,
    /// Names of its OCI runtimes: "runc", "nvidia".
    pub runtimes: Vec<String>,
}

impl ContainerEngine {
    /// Asks the engine anew.
    ///
    /// # Errors
    /// None answers, or it does not answer this user.
    pub async fn about(&self) -> Result<About, EngineError> {
        let link = self.shared.link().await?;
        let version = link.ask("say its version", SHORT, link.docker.version()).await?;
        let system = link.ask("describe itself", SHORT, link.docker.info()).await?;
        let mut runtimes: Vec<String> = system.runtimes.unwrap_or_default().into_keys().collect();
        runtimes.sort();
        Ok(About {
            kind: link.kind,
            version: link::info(&version).version,
            rootless: link.rootless,
            address: link.address.to_string(),
            folder: system.docker_root_dir.filter(|_| link.is_local()),
            runtimes,
        })
    }
}
