//! What is never taken over, whatever else the files say.

use super::merge::Service;
use super::values::{is_true, pairs, texts};
use crate::ImportError;
use crate::report::quoted;
use crate::yaml::Node;

/// Other files than those given.
pub(super) fn elsewhere(file: &str, root: &Node) -> Result<(), ImportError> {
    let error = |line: u32, key: &str| ImportError {
        message: format!(
            "{}, line {line}: {key} takes in what is not in the files that were given.",
            quoted(file)
        ),
        next: "Nothing else is read. Give all files by name, or put what is meant in its place.".to_owned(),
    };
    if let Some(node) = root.get("include") {
        return Err(error(node.line, "include"));
    }
    for (_, service) in root.get("services").and_then(|s| s.map()).into_iter().flatten() {
        if let Some(node) = service.get("extends") {
            return Err(error(node.line, "extends"));
        }
    }
    Ok(())
}

/// What would give a container the machine.
pub(super) fn service(service: &Service) -> Result<(), ImportError> {
    // The earlier scheduler held the engine's socket. Nothing of it is taken, so nothing is refused.
    if is_scheduler(service) {
        return Ok(());
    }
    let node = &service.node;
    let refuse = |at: &Node, what: &str| ImportError {
        message: format!(
            "{}, line {}: the service {} {what}, which would give it the whole machine.",
            quoted(&service.file),
            at.line,
            quoted(&service.name)
        ),
        next: "Nothing was imported. Take it out of the file, then import it again.".to_owned(),
    };
    if let Some(at) = node.get("privileged").filter(|n| is_true(n)) {
        return Err(refuse(at, "is privileged"));
    }
    if let Some(at) = node.get("pid").filter(|n| n.text() == Some("host")) {
        return Err(refuse(at, "shares the host's processes"));
    }
    if let Some(at) = node.get("cap_add") {
        let strong = |c: &str| {
            let c = c.trim_start_matches("CAP_");
            c.eq_ignore_ascii_case("ALL") || c.eq_ignore_ascii_case("SYS_ADMIN")
        };
        if texts(at).iter().any(|c| strong(&c.to_ascii_uppercase())) {
            return Err(refuse(at, "asks for a capability of the administrator"));
        }
    }
    if let Some(at) = node.get("volumes") {
        let socket = at.list().unwrap_or_default().iter().find(|entry| {
            let source = entry.text().or_else(|| entry.get("source").and_then(|s| s.text()));
            let target = entry.get("target").and_then(|t| t.text());
            source.into_iter().chain(target).any(is_socket)
        });
        if let Some(entry) = socket {
            return Err(refuse(entry, "mounts the socket of a container engine"));
        }
    }
    Ok(())
}

fn is_socket(path: &str) -> bool {
    let path = path.to_ascii_lowercase();
    ["docker.sock", "podman.sock", "containerd.sock", "crio.sock"].iter().any(|s| path.contains(s))
        || path.split(':').next().is_some_and(|source| {
            let source = source.trim_end_matches('/');
            matches!(source, "/run" | "/var/run" | "/run/docker" | "/run/podman" | "/var/lib/docker")
        })
}

/// strix-opencode's own scheduler, which Bifrost takes the place of.
pub(super) fn is_scheduler(service: &Service) -> bool {
    let named = service.name.to_ascii_lowercase().contains("bifrost");
    let port =
        service.node.get("environment").is_some_and(|e| pairs(e).iter().any(|(k, _, _)| k == "BIFROST_PORT"));
    named || port
}
