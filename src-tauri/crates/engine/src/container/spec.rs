//! The container of a launch, as a pure function, and reading a container back.

use std::collections::HashMap;

use bollard::models::{
    ContainerCreateBody, ContainerInspectResponse, DeviceMapping, DeviceRequest, HealthConfig, HostConfig,
    HostConfigLogConfig, Mount as BindMount, MountType, PortBinding, RestartPolicy, RestartPolicyNameEnum,
};
use domain::AgentName;
use domain::secret::Secret;

use super::pull::reference;
use crate::{EngineError, ErrorKind, Identity, Instance, Launch, Mount, Phase, Program};

pub(super) const INSTANCE: &str = "io.asgard.instance";
pub(super) const AGENT: &str = "io.asgard.agent";
const REVISION: &str = "io.asgard.revision";
const RESERVED: &str = "io.asgard.reserved";
const PORT: &str = "io.asgard.port";
/// Only the name of the variable: the key itself is in the environment, where it is not shown by `docker ps`.
const KEY_VARIABLE: &str = "io.asgard.key-variable";

/// vLLM shuts down in order when it is given the time.
const STOP_GRACE_SECONDS: i64 = 60;

/// crun reads it; runc does not.
const KEEP_GROUPS: &str = "run.oci.keep_original_groups";

/// "asgard-odin-1f2e3d4c": two Asgards on one engine have names of their own.
pub fn container_name(agent: &AgentName, identity: &Identity) -> String {
    let short: String = identity.instance.chars().take(8).collect();
    format!("asgard-{agent}-{short}")
}

/// Everything about the container that a launch asks for.
///
/// Never privileged, no restart by the engine (it would start all agents at once, in any order), no health check of
/// the image's (Asgard asks itself), published on 127.0.0.1 only.
///
/// # Errors
/// The launch is a local program.
pub fn spec(launch: &Launch) -> Result<ContainerCreateBody, EngineError> {
    let Program::Image {
        image,
        devices,
        groups,
        mounts,
        host_ipc,
        shm_bytes,
        seccomp_unconfined,
        entrypoint,
        nvidia,
        ..
    } = &launch.program
    else {
        return Err(EngineError::new(
            ErrorKind::Failed,
            format!("{} is a local program and runs in no container.", launch.agent.proper()),
            "Write an `image` for the agent in the stack file.",
        ));
    };
    let port = format!("{}/tcp", launch.port);
    let mut env: Vec<String> = launch.env.iter().map(|(name, value)| format!("{name}={value}")).collect();
    env.push(format!("{}={}", launch.key.0, launch.key.1.reveal()));
    let labels = HashMap::from([
        (INSTANCE.to_owned(), launch.identity.instance.clone()),
        (AGENT.to_owned(), launch.agent.to_string()),
        (REVISION.to_owned(), launch.revision.clone()),
        (RESERVED.to_owned(), serde_json::to_string(&launch.reserved).unwrap_or_default()),
        (PORT.to_owned(), launch.port.to_string()),
        (KEY_VARIABLE.to_owned(), launch.key.0.clone()),
    ]);
    let mut security = vec!["no-new-privileges".to_owned()];
    if *seccomp_unconfined {
        security.push("seccomp=unconfined".to_owned());
    }
    let binding =
        PortBinding { host_ip: Some("127.0.0.1".to_owned()), host_port: Some(launch.port.to_string()) };
    let host_config = HostConfig {
        devices: Some(devices.iter().map(|path| device(path)).collect()),
        device_requests: nvidia.as_deref().map(|cards| vec![nvidia_request(cards)]),
        group_add: Some(groups.iter().map(u32::to_string).collect()),
        mounts: Some(mounts.iter().map(bind).collect()),
        ipc_mode: Some(if *host_ipc { "host" } else { "private" }.to_owned()),
        shm_size: if *host_ipc { None } else { i64::try_from(*shm_bytes).ok() },
        security_opt: Some(security),
        privileged: Some(false),
        init: Some(true),
        restart_policy: Some(RestartPolicy {
            name: Some(RestartPolicyNameEnum::NO),
            maximum_retry_count: None,
        }),
        log_config: Some(HostConfigLogConfig {
            typ: Some("json-file".to_owned()),
            config: Some(HashMap::from([
                ("max-size".to_owned(), "16m".to_owned()),
                ("max-file".to_owned(), "2".to_owned()),
            ])),
        }),
        port_bindings: Some(HashMap::from([(port.clone(), Some(vec![binding]))])),
        ..HostConfig::default()
    };
    Ok(ContainerCreateBody {
        image: Some(reference(image)),
        entrypoint: entrypoint.clone(),
        cmd: Some(launch.args.clone()),
        env: Some(env),
        labels: Some(labels),
        exposed_ports: Some(vec![port]),
        healthcheck: Some(HealthConfig { test: Some(vec!["NONE".to_owned()]), ..HealthConfig::default() }),
        stop_timeout: Some(STOP_GRACE_SECONDS),
        tty: Some(false),
        host_config: Some(host_config),
        ..ContainerCreateBody::default()
    })
}

/// What an engine without root needs otherwise: there the host's group ids are not those of the container, and Docker
/// is given none. Podman hands its user's own groups on when the OCI runtime is told to. What its command line calls
/// `--group-add keep-groups` is that annotation: its API would look for a group of the name. Versions that do not read
/// annotations start without groups, which is enough where udev lets everybody open the GPU.
pub(super) fn without_root(mut body: ContainerCreateBody, kind: &str) -> ContainerCreateBody {
    if let Some(host) = body.host_config.as_mut() {
        let wanted = host.group_add.take().is_some_and(|groups| !groups.is_empty());
        if wanted && kind == "podman" {
            host.annotations = Some(HashMap::from([(KEEP_GROUPS.to_owned(), "1".to_owned())]));
        }
    }
    body
}

const NVIDIA: &str = "nvidia";

/// Cards by number; without any, all of them.
fn nvidia_request(cards: &[String]) -> DeviceRequest {
    DeviceRequest {
        driver: Some(NVIDIA.to_owned()),
        count: cards.is_empty().then_some(-1),
        device_ids: (!cards.is_empty()).then(|| cards.to_vec()),
        capabilities: Some(vec![vec!["gpu".to_owned()]]),
        ..DeviceRequest::default()
    }
}

/// As an engine of this kind wants it: Podman knows NVIDIA's cards by the names of the Container Device Interface.
pub(super) fn for_kind(mut body: ContainerCreateBody, kind: &str) -> ContainerCreateBody {
    if kind != "podman" {
        return body;
    }
    let requests = body.host_config.as_mut().and_then(|host| host.device_requests.as_mut());
    for request in requests.into_iter().flatten().filter(|r| r.driver.as_deref() == Some(NVIDIA)) {
        let cards = request.device_ids.take().unwrap_or_else(|| vec!["all".to_owned()]);
        *request = DeviceRequest {
            driver: Some("cdi".to_owned()),
            device_ids: Some(cards.iter().map(|card| format!("nvidia.com/gpu={card}")).collect()),
            ..DeviceRequest::default()
        };
    }
    body
}

fn device(path: &str) -> DeviceMapping {
    DeviceMapping {
        path_on_host: Some(path.to_owned()),
        path_in_container: Some(path.to_owned()),
        cgroup_permissions: Some("rwm".to_owned()),
    }
}

fn bind(mount: &Mount) -> BindMount {
    BindMount {
        typ: Some(MountType::BIND),
        source: Some(mount.source.to_string_lossy().into_owned()),
        target: Some(mount.target.clone()),
        read_only: Some(mount.read_only),
        ..BindMount::default()
    }
}

/// The instance that an inspected container is, if it is one of ours. Its process ids are left to the caller, who
/// knows whether the engine is on this machine.
pub(super) fn instance(container: &ContainerInspectResponse, identity: &Identity) -> Option<Instance> {
    let config = container.config.as_ref()?;
    let label = |name: &str| config.labels.as_ref().and_then(|labels| labels.get(name)).map(String::as_str);
    if label(INSTANCE) != Some(identity.instance.as_str()) {
        return None;
    }
    let agent = AgentName::new(label(AGENT)?).ok()?;
    let variable = format!("{}=", label(KEY_VARIABLE).unwrap_or_default());
    let key =
        config.env.iter().flatten().find_map(|pair| pair.strip_prefix(variable.as_str())).unwrap_or_default();
    let state = container.state.as_ref();
    let running = state.and_then(|s| s.running).unwrap_or_default();
    let phase = if running {
        Phase::Running
    } else {
        // One that was made and never started has no code of its own.
        let started = state.and_then(|s| s.started_at.as_deref()).is_some_and(|at| !at.starts_with("0001"));
        Phase::Exited {
            code: state.and_then(|s| s.exit_code).filter(|_| started),
            oom: state.and_then(|s| s.oom_killed).unwrap_or_default(),
        }
    };
    Some(Instance {
        agent,
        id: container.id.clone().unwrap_or_default(),
        revision: label(REVISION).unwrap_or_default().to_owned(),
        reserved: label(RESERVED).and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default(),
        endpoint: format!("http://127.0.0.1:{}", label(PORT).unwrap_or_default()),
        key: Secret::new(key),
        phase,
        pids: Vec::new(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(groups: &[&str], kind: &str) -> HostConfig {
        let group_add = Some(groups.iter().map(|&g| g.to_owned()).collect());
        let host_config = Some(HostConfig { group_add, ..HostConfig::default() });
        let body = ContainerCreateBody { host_config, ..ContainerCreateBody::default() };
        without_root(body, kind).host_config.unwrap()
    }

    #[test]
    fn without_root_podman_keeps_its_users_groups_and_docker_adds_none() {
        let podman = host(&["44", "105"], "podman");
        assert_eq!(podman.group_add, None, "the host's numbers are others there");
        assert_eq!(podman.annotations.unwrap()[KEEP_GROUPS], "1");
        let docker = host(&["44", "105"], "docker");
        assert_eq!((docker.group_add, docker.annotations), (None, None));
        assert_eq!(host(&[], "podman").annotations, None, "without a GPU nothing is handed on");
    }
}
