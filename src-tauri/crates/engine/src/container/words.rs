//! What an engine's errors are called for a person.

use std::io;

use bollard::errors::Error;

use super::link::{Address, Failure};
use crate::{EngineError, ErrorKind};

/// The error for `what` ("start Thor") going wrong at the engine.
pub(super) fn error(address: &Address, what: &str, error: &Error) -> EngineError {
    match error {
        Error::DockerResponseServerError { status_code: 401 | 403, message } => EngineError::new(
            ErrorKind::Forbidden,
            format!(
                "The container engine at {address} does not let this user {what}: {}.",
                sentence(message)
            ),
            "Ask whoever runs the engine for the right to, or use an engine of your own.",
        ),
        Error::DockerResponseServerError { message, .. } => EngineError::new(
            ErrorKind::Failed,
            format!("The container engine could not {what}: {}.", sentence(message)),
            "Read the engine's own words above; `docker info` shows whether it is well.",
        ),
        Error::DockerStreamError { error } => EngineError::new(
            ErrorKind::Failed,
            format!("The container engine could not {what}: {}.", sentence(error)),
            "Read the engine's own words above and try again.",
        ),
        Error::RequestTimeoutError => silent(address, what),
        other => match io_cause(other) {
            Some(io::ErrorKind::PermissionDenied) => forbidden(address),
            _ if is_transport(other) => gone(address),
            _ => EngineError::new(
                ErrorKind::Failed,
                format!("The container engine's answer was not understood ({other})."),
                "Check that its version is not older than Docker 20.10 or Podman 4.",
            ),
        },
    }
}

/// The engine said nothing in time.
pub(super) fn silent(address: &Address, what: &str) -> EngineError {
    EngineError::new(
        ErrorKind::Unreachable,
        format!("The container engine at {address} did not answer when asked to {what}."),
        format!("Look whether it hangs; {}.", restart(address)),
    )
}

/// The engine was there and is not any more.
pub(super) fn gone(address: &Address) -> EngineError {
    EngineError::new(
        ErrorKind::Unreachable,
        format!("The container engine at {address} went away."),
        format!("Agents that ran are found again when it is back; {}.", restart(address)),
    )
}

fn forbidden(address: &Address) -> EngineError {
    let docker = address.to_string().contains("docker");
    EngineError::new(
        ErrorKind::Forbidden,
        if docker {
            format!("You may not open {address}: this user is not in the docker group.")
        } else {
            format!("You may not open {address}: it belongs to another user.")
        },
        if docker {
            "Run `sudo usermod -aG docker $USER`, then log out and in again."
        } else {
            "Use Podman without root: run `systemctl --user enable --now podman.socket`."
        },
    )
}

const USERS_PODMAN: &str = "Switch it on: `systemctl --user enable --now podman.socket`.";

/// The socket of a Podman without root.
fn is_users_podman(address: &Address) -> bool {
    let text = address.to_string();
    text.contains("podman") && text.starts_with("/run/user")
}

fn restart(address: &Address) -> String {
    let text = address.to_string();
    let command = match (text.contains("podman"), text.starts_with("/run/user") || text.contains("/user/")) {
        (true, true) => "systemctl --user restart podman.socket",
        (true, false) => "sudo systemctl restart podman.socket",
        (false, true) => "systemctl --user restart docker",
        (false, false) => "sudo systemctl restart docker",
    };
    format!("`{command}` restarts it")
}

/// No address answered: the failure that leads furthest is told. A socket that may not be opened is nearer to an
/// engine than one that nobody listens on, and that is nearer than none.
pub(super) fn none_answers(failures: &[(Address, Failure)]) -> EngineError {
    let socket = |kind: io::ErrorKind| {
        failures.iter().find(|(_, f)| matches!(f, Failure::Socket(e) if e.kind() == kind)).map(|(a, _)| a)
    };
    if let Some(error) = failures.iter().find_map(|(_, f)| match f {
        Failure::Engine(error) => Some(error.clone()),
        _ => None,
    }) {
        return error;
    }
    if let Some((address, _)) = failures.iter().find(|(_, f)| matches!(f, Failure::Silent)) {
        return silent(address, "say its version");
    }
    if let Some(address) = socket(io::ErrorKind::PermissionDenied) {
        return forbidden(address);
    }
    if let Some(address) = socket(io::ErrorKind::ConnectionRefused) {
        if is_users_podman(address) {
            return EngineError::new(
                ErrorKind::Unreachable,
                format!("Podman's socket {address} is there, but not active."),
                USERS_PODMAN,
            );
        }
        let text = restart(address);
        return EngineError::new(
            ErrorKind::Unreachable,
            format!("The container engine at {address} does not run."),
            format!("Start it: {}.", text.replace("restarts it", "does").replace("restart ", "start ")),
        );
    }
    let places: Vec<String> = failures.iter().map(|(address, _)| address.to_string()).collect();
    let next = if failures.iter().all(|(address, _)| is_users_podman(address)) {
        USERS_PODMAN
    } else if places.len() == 1 {
        "Start the engine that DOCKER_HOST or CONTAINER_HOST names, or unset it to use the usual sockets."
    } else {
        "Install Docker (`sudo apt install docker.io`), or switch on Podman's socket: \
         `systemctl --user enable --now podman.socket`."
    };
    EngineError::new(
        ErrorKind::Unreachable,
        format!("No container engine was found: nothing answers at {}.", places.join(", ")),
        next,
    )
}

/// A start that the engine refused, where its words tell more than "failed".
pub(super) fn refused_start(error: &EngineError, agent: &str, port: u16) -> Option<EngineError> {
    let text = &error.message;
    if text.contains("port is already allocated") || text.contains("ddress already in use") {
        return Some(EngineError::new(
            ErrorKind::PortTaken,
            format!("Port {port} of {agent} is taken by another program."),
            "Stop it, or write another `port` for the agent in the stack file.",
        ));
    }
    if text.contains("gathering device information") || text.contains("stat /dev/") {
        return Some(EngineError::new(
            ErrorKind::Failed,
            format!("{agent} needs a GPU device that is not there: {text}"),
            "Check that the amdgpu driver is loaded: /dev/kfd and /dev/dri must exist.",
        ));
    }
    if text.contains("bind source path does not exist") || text.contains("statfs") {
        return Some(EngineError::new(
            ErrorKind::Failed,
            format!("A folder that {agent} needs is not there: {text}"),
            "Create the folder, or correct where the Hugging Face cache is (HF_HOME).",
        ));
    }
    None
}

/// A pull that failed.
pub(super) fn refused_pull(error: EngineError, image: &str) -> EngineError {
    let text = error.message.to_ascii_lowercase();
    let has = |marks: &[&str]| marks.iter().any(|mark| text.contains(mark));
    if has(&[
        "manifest unknown",
        "not found",
        "pull access denied",
        "repository does not exist",
        "name unknown",
    ]) {
        return EngineError::new(
            ErrorKind::NoImage,
            format!("The registry has no image {image}, or does not show it without a login."),
            format!("Correct `image` in the stack file; `docker pull {image}` tells more."),
        );
    }
    if has(&[
        "no such host",
        "dial tcp",
        "i/o timeout",
        "connection refused",
        "tls handshake",
        "network is unreachable",
    ]) {
        return EngineError::new(
            ErrorKind::NoImage,
            format!("The registry of {image} could not be reached."),
            "Check the network and try again; what was downloaded is kept.",
        );
    }
    if has(&["connection reset", "unexpected eof", "broken pipe", ": eof"]) {
        return EngineError::new(
            ErrorKind::NoImage,
            format!("The registry of {image} went away in the middle of the download."),
            "Check the network and try again; what was downloaded whole is kept.",
        );
    }
    if has(&["no space left"]) {
        return EngineError::new(
            ErrorKind::NoImage,
            format!("The disk is full: {image} does not fit."),
            "Make room with `docker image prune`, then try again.",
        );
    }
    error
}

pub(super) fn no_image(image: &str) -> EngineError {
    EngineError::new(
        ErrorKind::NoImage,
        format!("The image {image} is not on this machine."),
        format!("Fetch it: `docker pull {image}`."),
    )
}

/// An id cannot be pulled.
pub(super) fn made_here(id: &str) -> EngineError {
    EngineError::new(
        ErrorKind::NoImage,
        format!("The image {id} was made on this machine and is not there any more."),
        "Make it again, or write an image that a registry has in the stack file.",
    )
}

/// A pull that the disk would not hold.
pub(super) fn no_room(image: &str, needed: u64, free: u64) -> EngineError {
    let gb = |bytes: u64| format!("{:.1} GB", bytes as f64 / 1e9);
    EngineError::new(
        ErrorKind::NoImage,
        format!("{image} needs about {} of disk, and {} are free.", gb(needed), gb(free)),
        "Make room: `docker system df` shows what takes it, and `docker image prune` removes unused images.",
    )
}

/// Without a full stop at the end, so that it fits in a sentence.
fn sentence(text: &str) -> &str {
    text.trim().trim_end_matches('.')
}

fn io_cause(error: &Error) -> Option<io::ErrorKind> {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(error) = cause {
        if let Some(io) = error.downcast_ref::<io::Error>() {
            return Some(io.kind());
        }
        cause = error.source();
    }
    // `Error::IOError` is transparent: its source is that of the error inside.
    match error {
        Error::IOError { err } => Some(err.kind()),
        _ => None,
    }
}

fn is_transport(error: &Error) -> bool {
    matches!(
        error,
        Error::IOError { .. }
            | Error::HyperResponseError { .. }
            | Error::HyperLegacyError { .. }
            | Error::SocketNotFoundError(_)
    )
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    fn failing(path: &str, kind: io::ErrorKind) -> (Address, Failure) {
        (Address::Unix(PathBuf::from(path)), Failure::Socket(io::Error::from(kind)))
    }

    #[test]
    fn the_failure_nearest_to_an_engine_is_told() {
        use io::ErrorKind as Io;
        let all = [
            failing("/var/run/docker.sock", Io::PermissionDenied),
            failing("/run/user/1000/podman/podman.sock", Io::ConnectionRefused),
            failing("/run/podman/podman.sock", Io::NotFound),
        ];
        let error = none_answers(&all);
        assert_eq!(error.kind, ErrorKind::Forbidden);
        assert!(error.next.contains("sudo usermod -aG docker $USER"));
        let error = none_answers(&all[1..]);
        assert_eq!(error.kind, ErrorKind::Unreachable);
        assert_eq!(error.next, "Switch it on: `systemctl --user enable --now podman.socket`.");
        let named = [failing("/run/user/1000/podman/podman.sock", Io::NotFound)];
        assert!(none_answers(&named).next.contains("systemctl --user enable --now podman.socket"));
        let named = [failing("/run/podman/podman.sock", Io::ConnectionRefused)];
        assert_eq!(none_answers(&named).next, "Start it: `sudo systemctl start podman.socket` does.");
        let error = none_answers(&all[2..]);
        assert!(error.message.contains("nothing answers at /run/podman/podman.sock"), "{error:?}");
    }

    #[test]
    fn an_engine_that_refuses_is_quoted() {
        let address = Address::Unix(PathBuf::from("/var/run/docker.sock"));
        let said = |status_code, message: &str| {
            error(
                &address,
                "start Thor",
                &Error::DockerResponseServerError { status_code, message: message.into() },
            )
        };
        let failed = said(500, "driver failed: Bind for 127.0.0.1:8001 failed: port is already allocated");
        assert_eq!(refused_start(&failed, "Thor", 8001).map(|e| e.kind), Some(ErrorKind::PortTaken));
        assert_eq!(said(403, "no").kind, ErrorKind::Forbidden);
        assert!(refused_start(&said(500, "out of luck."), "Thor", 8001).is_none());
        assert_eq!(
            said(500, "out of luck.").message,
            "The container engine could not start Thor: out of luck."
        );
        let pull = |text: &str| refused_pull(said(500, text), "x/y:latest");
        assert_eq!(pull("manifest unknown").kind, ErrorKind::NoImage);
        assert!(pull("dial tcp: lookup registry: no such host").message.contains("could not be reached"));
        assert!(pull("read tcp a->b: read: connection reset by peer").message.contains("went away"));
        assert!(pull("write /x: no space left on device").message.contains("disk is full"));
        assert_eq!(error(&address, "x", &Error::RequestTimeoutError).kind, ErrorKind::Unreachable);
        let lost = Error::IOError { err: io::Error::from(io::ErrorKind::ConnectionReset) };
        assert!(error(&address, "x", &lost).message.contains("went away"));
        let denied = Error::IOError { err: io::Error::from(io::ErrorKind::PermissionDenied) };
        assert_eq!(error(&address, "x", &denied).kind, ErrorKind::Forbidden);
    }
}
