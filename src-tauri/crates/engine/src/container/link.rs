//! Finding the engine: `DOCKER_HOST`, else Podman's `CONTAINER_HOST`, else the first of the usual sockets that answers.

use std::collections::HashMap;
use std::fmt;
use std::future::Future;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use bollard::Docker;
use bollard::models::{ContainerInspectResponse, ContainerSummary, SystemInfo, SystemVersion};
use bollard::query_parameters::{InspectContainerOptions, ListContainersOptionsBuilder};
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::net::{TcpStream, UnixStream};
use tokio::time::timeout;

use super::words;
use crate::{EngineError, EngineInfo, ErrorKind};

/// Short questions are answered at once, or the engine is not well.
pub(super) const SHORT: Duration = Duration::from_secs(10);
/// Making and starting a container takes an engine seconds on a busy disk.
pub(super) const LONG: Duration = Duration::from_secs(90);

/// Where an engine may be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Address {
    Unix(PathBuf),
    /// "HOST:PORT".
    Tcp(String),
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "{}", path.display()),
            Self::Tcp(address) => write!(f, "tcp://{address}"),
        }
    }
}

/// The addresses to try in their order.
///
/// # Errors
/// `DOCKER_HOST` or `CONTAINER_HOST` is of a kind that Asgard does not speak.
pub fn addresses(var: &dyn Fn(&str) -> Option<String>, uid: u32) -> Result<Vec<Address>, EngineError> {
    let given = |name: &str| var(name).filter(|text| !text.trim().is_empty());
    let named = ["DOCKER_HOST", "CONTAINER_HOST"].into_iter().find_map(|name| Some((name, given(name)?)));
    if let Some((name, host)) = named {
        let address = if let Some(path) = host.strip_prefix("unix://") {
            Address::Unix(PathBuf::from(path))
        } else if let Some(address) = host.strip_prefix("tcp://").or_else(|| host.strip_prefix("http://")) {
            Address::Tcp(address.trim_end_matches('/').to_owned())
        } else {
            return Err(EngineError::new(
                ErrorKind::Unreachable,
                format!("{name} is {host:?}, which Asgard cannot use."),
                "Set it to an address that begins with unix:// or tcp://, or unset it.",
            ));
        };
        return Ok(vec![address]);
    }
    let runtime =
        given("XDG_RUNTIME_DIR").map_or_else(|| PathBuf::from(format!("/run/user/{uid}")), PathBuf::from);
    Ok([
        PathBuf::from("/var/run/docker.sock"),
        runtime.join("docker.sock"),
        runtime.join("podman/podman.sock"),
        PathBuf::from("/run/podman/podman.sock"),
    ]
    .map(Address::Unix)
    .into())
}

/// A connection that has answered.
#[derive(Debug, Clone)]
pub(super) struct Link {
    pub(super) docker: Docker,
    pub(super) address: Address,
    pub(super) kind: &'static str,
    /// It runs as an ordinary user: numeric groups of the host mean nothing to it.
    pub(super) rootless: bool,
    /// Whether it can limit the memory of a container.
    pub(super) limits_memory: bool,
}

/// The first of the addresses that answers.
pub(super) async fn find(addresses: &[Address]) -> Result<Link, EngineError> {
    let mut failures = Vec::new();
    for address in addresses {
        match open(address).await {
            Ok(link) => return Ok(link),
            Err(failure) => failures.push((address.clone(), failure)),
        }
    }
    Err(words::none_answers(&failures))
}

/// Why an address did not lead to an engine.
#[derive(Debug)]
pub(super) enum Failure {
    Socket(io::Error),
    Silent,
    Engine(EngineError),
}

async fn open(address: &Address) -> Result<Link, Failure> {
    let knock = async {
        match address {
            Address::Unix(path) => UnixStream::connect(path).await.map(drop),
            Address::Tcp(address) => TcpStream::connect(address).await.map(drop),
        }
    };
    timeout(SHORT, knock).await.map_err(|_| Failure::Silent)?.map_err(Failure::Socket)?;
    let version = bollard::API_DEFAULT_VERSION;
    let docker = match address {
        Address::Unix(path) => Docker::connect_with_unix(&path.to_string_lossy(), LONG.as_secs(), version),
        Address::Tcp(address) => Docker::connect_with_http(address, LONG.as_secs(), version),
    };
    let agreed = async {
        let docker = docker?.negotiate_version().await?;
        let version = docker.version().await?;
        let info = docker.info().await?;
        Ok::<_, bollard::errors::Error>((docker, version, info))
    };
    let (docker, version, system) = timeout(SHORT, agreed)
        .await
        .map_err(|_| Failure::Silent)?
        .map_err(|error| Failure::Engine(words::error(address, "say its version", &error)))?;
    let mut link = Link {
        docker,
        address: address.clone(),
        kind: info(&version).kind,
        rootless: is_rootless(&system),
        limits_memory: system.memory_limit.unwrap_or_default(),
    };
    // Podman 4 says it in a field of its own, which Docker's answer does not have.
    if link.kind == "podman" {
        let system: Option<Value> =
            link.read("describe itself", "info", &[]).await.map_err(Failure::Engine)?;
        let field = system.as_ref().and_then(|system| system.get("Rootless")).and_then(Value::as_bool);
        link.rootless |= field.unwrap_or_default();
    }
    Ok(link)
}

/// Docker says it among its security options, and so do newer versions of Podman.
fn is_rootless(system: &SystemInfo) -> bool {
    system
        .security_options
        .iter()
        .flatten()
        .any(|option| option.split(',').any(|part| part == "name=rootless"))
}

pub(super) fn info(version: &SystemVersion) -> EngineInfo {
    let podman = version.components.iter().flatten().find(|c| c.name.contains("Podman"));
    match podman {
        Some(component) => EngineInfo { kind: "podman", version: Some(component.version.clone()) },
        None => EngineInfo { kind: "docker", version: version.version.clone() },
    }
}

impl Link {
    /// Asks the engine something, and never waits for ever.
    pub(super) async fn ask<T>(
        &self,
        what: &str,
        patience: Duration,
        question: impl Future<Output = Result<T, bollard::errors::Error>>,
    ) -> Result<T, EngineError> {
        match timeout(patience, question).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(error)) => Err(words::error(&self.address, what, &error)),
            Err(_) => Err(words::silent(&self.address, what)),
        }
    }

    /// Containers, all or those that run, with these filters.
    pub(super) async fn containers(
        &self,
        all: bool,
        filters: &HashMap<String, Vec<String>>,
    ) -> Result<Vec<ContainerSummary>, EngineError> {
        let what = "list its containers";
        let options = ListContainersOptionsBuilder::new().all(all).filters(filters).build();
        match timeout(SHORT, self.docker.list_containers(Some(options))).await {
            Ok(Err(error)) if is_unknown_state(&error) => {
                let filters = serde_json::to_string(filters).unwrap_or_default();
                let query = [("all", all.to_string()), ("filters", filters)];
                self.read(what, "containers/json", &query).await.map(Option::unwrap_or_default)
            }
            Ok(answer) => answer.map_err(|error| words::error(&self.address, what, &error)),
            Err(_) => Err(words::silent(&self.address, what)),
        }
    }

    /// One container, looked at closely. None where it is not there.
    pub(super) async fn inspect(&self, id: &str) -> Result<Option<ContainerInspectResponse>, EngineError> {
        let what = "look at a container";
        let look = self.docker.inspect_container(id, None::<InspectContainerOptions>);
        match timeout(SHORT, super::present(look)).await {
            Ok(Err(error)) if is_unknown_state(&error) => {
                self.read(what, &format!("containers/{id}/json"), &[]).await
            }
            Ok(answer) => answer.map_err(|error| words::error(&self.address, what, &error)),
            Err(_) => Err(words::silent(&self.address, what)),
        }
    }

    /// An answer read without bollard, whose types know only what Docker says. Podman has a state more: "stopped" is a
    /// container that has ended and is not tidied up yet, which takes a moment, or for ever where its tidying failed.
    async fn read<T: DeserializeOwned>(
        &self,
        what: &str,
        path: &str,
        query: &[(&str, String)],
    ) -> Result<Option<T>, EngineError> {
        let asked = async {
            let (client, base) = match &self.address {
                Address::Unix(socket) => {
                    (net::plain().unix_socket(socket.clone()), "http://engine".to_owned())
                }
                Address::Tcp(address) => (net::plain(), format!("http://{address}")),
            };
            let url = reqwest::Url::parse_with_params(&format!("{base}/{path}"), query).ok()?;
            let answer = client.timeout(SHORT).build().ok()?.get(url).send().await.ok()?;
            if answer.status() == reqwest::StatusCode::NOT_FOUND {
                return Some(None);
            }
            let mut value: Value = answer.error_for_status().ok()?.json().await.ok()?;
            as_ended(&mut value);
            serde_json::from_value(value).ok().map(Some)
        };
        asked.await.ok_or_else(|| words::silent(&self.address, what))
    }

    /// Whether the engine runs on this machine, so that its process ids and ports are this machine's.
    pub(super) fn is_local(&self) -> bool {
        matches!(self.address, Address::Unix(_))
    }
}

fn is_unknown_state(error: &bollard::errors::Error) -> bool {
    matches!(error, bollard::errors::Error::JsonDataError { message, .. } if message.contains("`stopped`"))
}

/// Podman's "stopped" in Docker's word, wherever a container's state stands.
fn as_ended(value: &mut Value) {
    match value {
        Value::Array(all) => all.iter_mut().for_each(as_ended),
        Value::Object(container) => {
            if let Some(state) = container.get_mut("State") {
                let word = if state.is_object() { state.get_mut("Status") } else { Some(state) };
                if let Some(word) = word.filter(|word| word.as_str() == Some("stopped")) {
                    *word = Value::from("exited");
                }
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn podmans_own_state_is_read_as_ended() {
        let mut list =
            serde_json::json!([{ "Id": "a", "State": "stopped" }, { "Id": "b", "State": "running" }]);
        as_ended(&mut list);
        let list: Vec<ContainerSummary> = serde_json::from_value(list).unwrap();
        let states: Vec<String> = list.iter().filter_map(|c| Some(c.state?.to_string())).collect();
        assert_eq!(states, ["exited", "running"]);
        let mut one = serde_json::json!({ "State": { "Status": "stopped", "ExitCode": 7 } });
        as_ended(&mut one);
        let one: ContainerInspectResponse = serde_json::from_value(one).unwrap();
        assert_eq!(one.state.and_then(|state| state.exit_code), Some(7));
    }

    fn of(pairs: &[(&str, &str)]) -> Result<Vec<String>, EngineError> {
        let var = |name: &str| pairs.iter().find(|(n, _)| *n == name).map(|(_, v)| (*v).to_owned());
        addresses(&var, 1000).map(|all| all.iter().map(Address::to_string).collect())
    }

    #[test]
    fn docker_host_wins_and_else_the_usual_sockets_are_tried() {
        assert_eq!(of(&[("DOCKER_HOST", "unix:///x/y.sock")]).unwrap(), ["/x/y.sock"]);
        assert_eq!(of(&[("DOCKER_HOST", "tcp://127.0.0.1:2375/")]).unwrap(), ["tcp://127.0.0.1:2375"]);
        assert_eq!(
            of(&[("DOCKER_HOST", " ")]).unwrap(),
            [
                "/var/run/docker.sock",
                "/run/user/1000/docker.sock",
                "/run/user/1000/podman/podman.sock",
                "/run/podman/podman.sock"
            ]
        );
        assert_eq!(of(&[("XDG_RUNTIME_DIR", "/r")]).unwrap()[2], "/r/podman/podman.sock");
        assert_eq!(of(&[("CONTAINER_HOST", "unix:///p.sock")]).unwrap(), ["/p.sock"]);
        let both = [("CONTAINER_HOST", "unix:///p.sock"), ("DOCKER_HOST", "unix:///d.sock")];
        assert_eq!(of(&both).unwrap(), ["/d.sock"]);
        let error = of(&[("CONTAINER_HOST", "ssh://me@there")]).unwrap_err();
        assert!(error.message.starts_with("CONTAINER_HOST is"), "{error:?}");
        let error = of(&[("DOCKER_HOST", "ssh://me@there")]).unwrap_err();
        assert!(error.message.contains("ssh://me@there") && error.kind == ErrorKind::Unreachable);
    }

    #[test]
    fn an_engine_without_root_is_known_by_its_security_options() {
        let says = |options: &[&str]| SystemInfo {
            security_options: Some(options.iter().map(|&o| o.to_owned()).collect()),
            ..SystemInfo::default()
        };
        assert!(is_rootless(&says(&["name=seccomp,profile=default", "name=rootless"])));
        assert!(!is_rootless(&says(&["name=seccomp,profile=default", "name=cgroupns"])));
        assert!(!is_rootless(&SystemInfo::default()));
    }

    #[tokio::test]
    async fn a_closed_socket_and_a_silent_one_are_told_apart() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("engine.sock");
        let error = find(&[Address::Unix(path.clone())]).await.unwrap_err();
        assert!(error.message.contains("No container engine was found"), "{error:?}");
        drop(tokio::net::UnixListener::bind(&path).unwrap());
        let error = find(&[Address::Unix(path)]).await.unwrap_err();
        assert!(error.message.contains("does not run"), "{error:?}");
    }
}
