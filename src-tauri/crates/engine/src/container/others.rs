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
use crate::neighbour::recognise::{self, ContainerFacts, Published};
use crate::{EngineError, ErrorKind, process};

impl ContainerEngine {
    /// Every container that serves a model or holds one of the `wanted` ports, except ours.
    ///
    /// # Errors
    /// No engine answers.
    pub async fn neighbours(&self, wanted: &[u16]) -> Result<Vec<Neighbour>, EngineError> {
        let link = self.shared.link().await?;
        let list = link.containers(true, &HashMap::new()).await?;
        let mut found = Vec::new();
        for id in list.iter().filter(|c| worth_a_look(c)).filter_map(|c| c.id.as_deref()) {
            let Some(container) = link.inspect(id).await? else { continue };
            let mut facts = facts(&container);
            let pid = container.state.as_ref().and_then(|s| s.pid).and_then(|pid| u32::try_from(pid).ok());
            if let Some(pid) = pid.filter(|pid| *pid > 0 && facts.running && link.is_local()) {
                facts.pids = process::family(Path::new("/proc"), pid);
            }
            found.extend(recognise::container(link.kind, &self.shared.identity.instance, &facts, wanted));
        }
        Ok(found)
    }

    /// Stops a container of others. Its restart policy is left as it is: one of `always` brings it back when the
    /// engine starts again, and that is its owner's to change.
    ///
    /// # Errors
    /// It is one of ours, or the engine refuses.
    pub async fn stop_neighbour(&self, id: &str, grace: Duration) -> Result<(), EngineError> {
        let link = self.shared.link().await?;
        self.not_ours(&link, id).await?;
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

    async fn not_ours(&self, link: &super::link::Link, id: &str) -> Result<(), EngineError> {
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
        Ok(())
    }
}

fn gone() -> EngineError {
    EngineError::new(
        ErrorKind::Failed,
        "That container is gone.",
        "Start the server where it was started before.",
    )
}

/// Containers that run, and stopped ones of a compose project: others have nothing to say.
fn worth_a_look(container: &ContainerSummary) -> bool {
    let running = container.state.as_ref().is_some_and(|s| s.to_string() == "running");
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
        pids: Vec::new(),
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
}
