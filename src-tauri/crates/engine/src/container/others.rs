//! Containers of others that serve a model or hold a port in question: looked at, stopped and started again when a
//! person says so. Never removed, never changed.

use std::collections::HashMap;
use std::path::Path;
use std::time::Duration;

use bollard::models::{ContainerInspectResponse, ContainerSummary, PortMap};
use bollard::query_parameters::{StartContainerOptions, StopContainerOptionsBuilder};

use super::link::LONG;
use super::{ContainerEngine, present};
use crate::neighbour::Neighbour;
use crate::neighbour::here::Contained;
use crate::neighbour::recognise::{self, ContainerFacts, Published};
use crate::{EngineError, ErrorKind};

impl ContainerEngine {
    /// Every container that serves a model or holds one of the `wanted` ports, except ours.
    ///
    /// # Errors
    /// No engine answers.
    pub async fn neighbours(&self, wanted: &[u16]) -> Result<Vec<Neighbour>, EngineError> {
        let link = self.shared.link().await?;
        let list = link.containers(true, &HashMap::new()).await?;
        // Process ids say something on the engine's own machine only.
        let look = || tokio::task::spawn_blocking(|| Contained::look(Path::new("/proc")));
        let contained = if link.is_local() { look().await.ok() } else { None };
        let mut found = Vec::new();
        for id in list.iter().filter(|c| worth_a_look(c)).filter_map(|c| c.id.as_deref()) {
            let Some(container) = link.inspect(id).await? else { continue };
            let mut facts = facts(&container);
            let pid = container.state.as_ref().and_then(|s| s.pid).and_then(|pid| u32::try_from(pid).ok());
            let pid = pid.filter(|pid| *pid > 0 && facts.running);
            if let (Some(pid), Some(contained)) = (pid, &contained) {
                let inside = contained.of(id, pid);
                facts.pids = inside.pids;
                facts.inside = inside.commands;
                facts.listening = inside.listening;
            }
            found.extend(recognise::container(link.kind, &self.shared.identity.instance, &facts, wanted));
        }
        Ok(found)
    }

    /// Stops a container of others. Its restart policy is left as it is: one of `always` brings it back when the
    /// engine starts again, and that is its owner's to change.
    ///
    /// # Errors
    /// It is one of ours, the engine would remove it, or the engine refuses.
    pub async fn stop_neighbour(&self, id: &str, grace: Duration) -> Result<(), EngineError> {
        let link = self.shared.link().await?;
        let container = self.not_ours(&link, id).await?;
        stays(&container)?;
        let patience = grace + LONG;
        let mut patient = link.docker.clone();
        patient.set_timeout(patience);
        let seconds = i32::try_from(grace.as_secs()).unwrap_or(i32::MAX);
        let options = StopContainerOptionsBuilder::new().t(seconds).build();
        link.ask("stop a container", patience, present(patient.stop_container(id, Some(options))))
            .await
            .map(drop)
    }

    /// Starts one again that was stopped.
    ///
    /// # Errors
    /// It is gone, one of ours, or the engine refuses.
    pub async fn start_neighbour(&self, id: &str) -> Result<(), EngineError> {
        let link = self.shared.link().await?;
        self.not_ours(&link, id).await?;
        let start = link.docker.start_container(id, None::<StartContainerOptions>);
        match link.ask("start a container", LONG, present(start)).await? {
            Some(()) => Ok(()),
            None => Err(gone()),
        }
    }

    async fn not_ours(
        &self,
        link: &super::link::Link,
        id: &str,
    ) -> Result<ContainerInspectResponse, EngineError> {
        let container = link.inspect(id).await?.ok_or_else(gone)?;
        let labels = container.config.as_ref().and_then(|c| c.labels.as_ref());
        let instance = labels.and_then(|l| l.get(super::spec::INSTANCE));
        if instance == Some(&self.shared.identity.instance) {
            return Err(EngineError::new(
                ErrorKind::Foreign,
                "That container is an agent of this Asgard.",
                "Start or stop the agent itself.",
            ));
        }
        Ok(container)
    }
}

/// Refuses what the engine removes as soon as it stops: there would be no way back.
fn stays(container: &ContainerInspectResponse) -> Result<(), EngineError> {
    let removed = container.host_config.as_ref().and_then(|h| h.auto_remove).unwrap_or_default();
    if !removed {
        return Ok(());
    }
    let name = container.name.as_deref().unwrap_or_default().trim_start_matches('/');
    let labels = container.config.as_ref().and_then(|c| c.labels.as_ref());
    // podman-compose writes a unit's name on each of its containers, whether there is one or not.
    let unit =
        labels.and_then(|l| l.get("PODMAN_SYSTEMD_UNIT")).filter(|u| !u.starts_with("podman-compose@"));
    let next = match unit {
        Some(unit) => format!("It is run by systemd; stop it with: systemctl --user stop {unit}"),
        None => "Stop it where it was started, and start it there again afterwards.".to_owned(),
    };
    Err(EngineError::new(
        ErrorKind::Foreign,
        format!(
            "{name} was started with --rm: the engine removes it when it stops, so it could not be given back."
        ),
        next,
    ))
}

fn gone() -> EngineError {
    EngineError::new(
        ErrorKind::Failed,
        "That container is gone.",
        "Start the server where it was started before.",
    )
}

/// Containers that run or hold their memory all the same, and stopped ones of a compose project: others have nothing
/// to say.
fn worth_a_look(container: &ContainerSummary) -> bool {
    let state = container.state.as_ref().map(ToString::to_string).unwrap_or_default();
    let running = matches!(state.as_str(), "running" | "paused" | "restarting");
    let composed = container.labels.iter().flatten().any(|(name, _)| name.contains("compose.project"));
    running || composed
}

fn facts(container: &ContainerInspectResponse) -> ContainerFacts {
    let config = container.config.as_ref();
    let host = container.host_config.as_ref();
    let running = container.state.as_ref().and_then(|s| s.running).unwrap_or_default();
    let live = container.network_settings.as_ref().and_then(|n| n.ports.as_ref());
    let asked = host.and_then(|h| h.port_bindings.as_ref());
    let live = live.map(published).filter(|p| !p.is_empty());
    ContainerFacts {
        id: container.id.clone().unwrap_or_default(),
        name: container.name.as_deref().unwrap_or_default().trim_start_matches('/').to_owned(),
        image: config.and_then(|c| c.image.clone()).unwrap_or_default(),
        labels: config.and_then(|c| c.labels.clone()).unwrap_or_default(),
        entrypoint: config.and_then(|c| c.entrypoint.clone()).unwrap_or_default(),
        cmd: config.and_then(|c| c.cmd.clone()).unwrap_or_default(),
        env: config.and_then(|c| c.env.clone()).unwrap_or_default(),
        // A stopped one has no live ports; those that it was made with say where it will be.
        published: live.or_else(|| asked.map(published)).unwrap_or_default(),
        host_network: host.and_then(|h| h.network_mode.as_deref()) == Some("host"),
        running,
        ..ContainerFacts::default()
    }
}

fn published(map: &PortMap) -> Vec<Published> {
    let mut all: Vec<Published> = map
        .iter()
        .filter_map(|(port, bindings)| {
            let container: u16 = port.split('/').next()?.parse().ok()?;
            Some((container, bindings.as_ref()?))
        })
        .flat_map(|(container, bindings)| {
            bindings.iter().filter_map(move |b| {
                let host = b.host_port.as_deref()?.parse().ok()?;
                Some(Published { ip: b.host_ip.clone().unwrap_or_default(), host, container })
            })
        })
        .collect();
    all.sort_by_key(|p| (p.container, p.host));
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::neighbour::{Kind, Place};

    #[test]
    fn what_an_engine_says_is_read() {
        let answer = serde_json::json!({
            "Id": "ab12", "Name": "/strix-vllm_thor-1",
            "State": {"Running": true, "Pid": 0},
            "Config": {
                "Image": "docker.io/kyuz0/vllm-therock-gfx1151:latest",
                "Cmd": ["vllm", "serve", "Qwen/Qwen2.5-14B-Instruct-AWQ", "--port", "8001"],
                "Env": ["VLLM_API_KEY=k"],
                "Labels": {"com.docker.compose.project": "strix", "com.docker.compose.service": "vllm_thor"}
            },
            "HostConfig": {"NetworkMode": "bridge"},
            "NetworkSettings": {"Ports": {"8001/tcp": [{"HostIp": "127.0.0.1", "HostPort": "18001"}], "9/tcp": null}}
        });
        let container: ContainerInspectResponse = serde_json::from_value(answer).unwrap();
        let found = recognise::container("docker", "us", &facts(&container), &[]).unwrap();
        assert_eq!((found.id.as_str(), found.port), ("docker/strix-vllm_thor-1", Some(18_001)));
        assert_eq!(found.key.reveal(), "k");
    }

    /// One row: the name, what differs from a running container of `vllm serve`, and kind and port of what is found.
    type Row = (&'static str, serde_json::Value, Option<(Kind, Option<u16>)>);

    /// As `docker inspect` and `podman inspect` say it, shortened to what is read and some of what is not.
    fn inspected(differs: &serde_json::Value) -> ContainerInspectResponse {
        let mut answer = serde_json::json!({
            "Id": "0123456789ab", "Name": "/vllm", "Created": "2026-02-09T10:00:00Z", "RestartCount": 0,
            "State": {"Status": "running", "Running": true, "Paused": false, "Pid": 4242, "ExitCode": 0},
            "Config": {
                "Image": "docker.io/kyuz0/vllm-therock-gfx1151:latest", "Hostname": "box", "Tty": false,
                "Entrypoint": null,
                "Cmd": ["vllm", "serve", "Qwen/Qwen2.5-14B-Instruct-AWQ", "--host", "0.0.0.0", "--port", "8001"],
                "Env": ["PATH=/usr/bin", "HF_HOME=/hf"],
                "Labels": {}
            },
            "HostConfig": {"NetworkMode": "bridge", "RestartPolicy": {"Name": "no", "MaximumRetryCount": 0}},
            "NetworkSettings": {"Ports": {"8001/tcp": [{"HostIp": "127.0.0.1", "HostPort": "8001"}]}}
        });
        for (path, value) in differs.as_object().into_iter().flatten() {
            *answer.pointer_mut(path).unwrap() = value.clone();
        }
        serde_json::from_value(answer).unwrap()
    }

    fn rows() -> Vec<Row> {
        let vllm = |port| Some((Kind::Vllm, Some(port)));
        let bound = |ip: &str, port: &str| serde_json::json!({"/NetworkSettings/Ports": {"8001/tcp": [{"HostIp": ip, "HostPort": port}]}});
        let exited = serde_json::json!({"Status": "exited", "Running": false, "Pid": 0, "ExitCode": 137});
        vec![
            ("without labels", serde_json::json!({}), vllm(8001)),
            ("on every address", bound("0.0.0.0", "18001"), vllm(18_001)),
            ("on every address of IPv6", bound("::", "18001"), vllm(18_001)),
            ("as Podman writes every address", bound("", "18001"), vllm(18_001)),
            ("on another address alone", bound("192.168.1.5", "8001"), Some((Kind::Vllm, None))),
            (
                "published nowhere",
                serde_json::json!({"/NetworkSettings/Ports": {"8001/tcp": null}}),
                Some((Kind::Vllm, None)),
            ),
            (
                "with the host's network",
                serde_json::json!({"/HostConfig/NetworkMode": "host", "/NetworkSettings/Ports": {}}),
                vllm(8001),
            ),
            (
                "with the host's network and vLLM's own port",
                serde_json::json!({"/HostConfig/NetworkMode": "host", "/NetworkSettings/Ports": {}, "/Config/Cmd": ["vllm", "serve", "m"]}),
                vllm(8000),
            ),
            (
                "of podman-compose, exited",
                serde_json::json!({
                    "/State": exited.clone(),
                    "/Config/Labels": {"io.podman.compose.project": "strix", "io.podman.compose.service": "vllm_thor"}
                }),
                vllm(8001),
            ),
            ("exited, of no project", serde_json::json!({"/State": exited}), None),
            (
                "a toolbox in which nothing runs",
                serde_json::json!({
                    "/HostConfig/NetworkMode": "host", "/NetworkSettings/Ports": {},
                    "/Config/Entrypoint": ["toolbox", "init-container", "--home", "/home/me"], "/Config/Cmd": null,
                    "/Config/Labels": {"com.github.containers.toolbox": "true"}
                }),
                None,
            ),
            (
                "a distrobox in which nothing runs",
                serde_json::json!({
                    "/HostConfig/NetworkMode": "host", "/NetworkSettings/Ports": {},
                    "/Config/Entrypoint": ["/usr/bin/entrypoint"], "/Config/Cmd": ["--verbose", "--name", "me"],
                    "/Config/Labels": {"manager": "distrobox"}
                }),
                None,
            ),
            (
                "ours",
                serde_json::json!({"/Config/Labels": {"io.asgard.instance": "us", "io.asgard.agent": "thor"}}),
                None,
            ),
            (
                "of another Asgard, on a port of the stack",
                serde_json::json!({"/Config/Labels": {"io.asgard.instance": "them"}}),
                Some((Kind::Unknown, Some(8001))),
            ),
            (
                "something else on a port of the stack",
                serde_json::json!({"/Config/Image": "nginx", "/Config/Cmd": ["nginx"]}),
                Some((Kind::Unknown, Some(8001))),
            ),
        ]
    }

    #[test]
    fn containers_are_told_apart_as_their_engines_describe_them() {
        for (name, differs, expected) in rows() {
            let found = recognise::container("docker", "us", &facts(&inspected(&differs)), &[8001]);
            assert_eq!(found.map(|n| (n.kind, n.port)), expected, "{name}");
        }
    }

    #[test]
    fn a_project_is_known_by_the_labels_of_either_compose() {
        for (project, service) in [
            ("com.docker.compose.project", "com.docker.compose.service"),
            ("io.podman.compose.project", "io.podman.compose.service"),
        ] {
            let labels = serde_json::json!({"/Config/Labels": {project: "strix", service: "vllm_thor"}});
            let found = recognise::container("podman", "us", &facts(&inspected(&labels)), &[]).unwrap();
            let Place::Container { project: Some(p), service: Some(s), toolbox: false, .. } = &found.place
            else {
                panic!("{found:?}")
            };
            assert_eq!((p.as_str(), s.as_str(), found.id.as_str()), ("strix", "vllm_thor", "podman/vllm"));
        }
    }

    #[test]
    fn what_the_engine_would_remove_is_not_stopped() {
        assert!(stays(&inspected(&serde_json::json!({}))).is_ok());
        let of = |labels: serde_json::Value| {
            let differs = serde_json::json!({"/HostConfig": {"AutoRemove": true}, "/Config/Labels": labels});
            stays(&inspected(&differs)).unwrap_err()
        };
        let error = of(serde_json::json!({}));
        assert!(
            error.kind == ErrorKind::Foreign && error.message.starts_with("vllm was started with --rm"),
            "{error:?}"
        );
        let error = of(serde_json::json!({"PODMAN_SYSTEMD_UNIT": "vllm.service"}));
        assert!(error.next.ends_with("systemctl --user stop vllm.service"), "{error:?}");
        let error = of(serde_json::json!({"PODMAN_SYSTEMD_UNIT": "podman-compose@strix.service"}));
        assert!(!error.next.contains("systemctl"), "{error:?}");
    }
}
