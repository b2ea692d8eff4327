//! Agents in containers: Docker, or Podman through the same API.
//!
//! What is ours carries labels with the instance id; everything else on the engine is foreign, is named when it is in
//! the way, and is never touched. A container keeps its labels through every crash of the controller, so nothing is
//! remembered here but where the engine is.
//!
//! Deliberately absent: `docker` the program, compose files, privileged containers, restarts by the engine.

mod about;
mod events;
mod facts;
mod image;
pub mod images;
mod link;
mod logs;
mod once;
mod others;
mod pull;
mod spec;
mod words;

use std::collections::HashMap;
use std::fs;
use std::path::Path;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use async_trait::async_trait;
use bollard::models::{ContainerCreateBody, ContainerInspectResponse, ContainerSummary, ImageInspect};
use bollard::query_parameters::{
    CreateContainerOptionsBuilder, CreateImageOptionsBuilder, RemoveContainerOptionsBuilder,
    StartContainerOptions, StopContainerOptionsBuilder, TagImageOptionsBuilder,
};
use domain::AgentName;
use futures_util::StreamExt as _;
use futures_util::stream::BoxStream;
use tokio::sync::Mutex;
use tokio::time::timeout;

pub use about::About;
pub use link::{Address, addresses};
pub use spec::{container_name, spec};

use crate::{
    Engine, EngineError, EngineEvent, EngineInfo, ErrorKind, Identity, Instance, Launch, OnProgress, Phase,
    Program, StartProgress, ports, process,
};
use link::{LONG, Link, SHORT};

/// The engine of containers. Whether one is there is found out when it is needed, and again when it was not.
#[derive(Debug)]
pub struct ContainerEngine {
    shared: Arc<Shared>,
    /// Fixed by the first connection, or by the first question before one: others look agents up by it.
    id: OnceLock<&'static str>,
}

#[derive(Debug)]
struct Shared {
    identity: Identity,
    addresses: Result<Vec<Address>, EngineError>,
    /// Once an engine was found it stays: another one that answers meanwhile does not have our agents.
    link: Mutex<Option<Link>>,
}

impl ContainerEngine {
    /// Looks for an engine where `DOCKER_HOST` says or at the usual sockets. That none answers is not an error here
    /// but of everything that is asked later, each time after another look.
    pub fn connect(
        identity: &Identity,
        var: &dyn Fn(&str) -> Option<String>,
    ) -> impl Future<Output = Self> + Send + use<> {
        let addresses = addresses(var, rustix::process::geteuid().as_raw());
        let identity = identity.clone();
        async move { Self::at(&identity, addresses).await }
    }

    async fn at(identity: &Identity, addresses: Result<Vec<Address>, EngineError>) -> Self {
        let shared = Arc::new(Shared { identity: identity.clone(), addresses, link: Mutex::default() });
        let id = OnceLock::new();
        if let Ok(link) = shared.link().await {
            let _ = id.set(link.kind);
        }
        Self { shared, id }
    }

    /// Makes an image with this static program as its entry point, unless it is there already, and gives its name.
    /// Nothing is pulled.
    ///
    /// # Errors
    /// The file cannot be read, or the engine does not take it.
    pub async fn make_image(&self, program: &Path) -> Result<String, EngineError> {
        let bytes = fs::read(program).map_err(|error| {
            EngineError::new(
                ErrorKind::Failed,
                format!("{} cannot be read: {error}.", program.display()),
                "Build it again with `make`.",
            )
        })?;
        let link = self.shared.link().await?;
        let (name, tag) = ("asgard-stand-in", image::tag(&bytes));
        let full = format!("{name}:{tag}");
        if self.shared.has(&link, &full).await? {
            return Ok(full);
        }
        let options = CreateImageOptionsBuilder::new()
            .from_src("-")
            .repo(name)
            .tag(&tag)
            .changes(vec!["ENTRYPOINT [\"/asgard-stand-in\"]".to_owned()])
            .build();
        let archive = image::archive("asgard-stand-in", &bytes);
        let body = bollard::body_full(archive.into());
        let mut answers = link.docker.create_image(Some(options), Some(body), None);
        let import = async {
            let mut made = None;
            while let Some(answer) = answers.next().await {
                // Its id is the last thing said: Docker has it as the status, Podman in both.
                made = answer?.status.filter(|status| status.starts_with("sha256:")).or(made);
            }
            Ok(made)
        };
        let made = link.ask("make the image of the rehearsal", LONG, import).await?;
        // Podman 4 ignores the tag.
        if let Some(id) = made {
            let options = TagImageOptionsBuilder::new().repo(name).tag(&tag).build();
            let tagging = link.docker.tag_image(&id, Some(options));
            link.ask("name the image of the rehearsal", SHORT, tagging).await?;
        }
        if self.shared.has(&link, &full).await? { Ok(full) } else { Err(words::no_image(&full)) }
    }

    /// Whether an image is there, so that a plan can say that it must be pulled.
    pub async fn image_exists(&self, image: &str) -> Result<bool, EngineError> {
        let link = self.shared.link().await?;
        self.shared.has(&link, &pull::reference(image)).await
    }
}

impl Shared {
    async fn link(&self) -> Result<Link, EngineError> {
        let mut known = self.link.lock().await;
        if let Some(link) = known.as_ref() {
            return Ok(link.clone());
        }
        let addresses = self.addresses.as_ref().map_err(Clone::clone)?;
        let link = link::find(addresses).await?;
        *known = Some(link.clone());
        Ok(link)
    }

    async fn has(&self, link: &Link, image: &str) -> Result<bool, EngineError> {
        Ok(self.resolve(link, image).await?.is_some())
    }

    /// What the engine has under a reference, and the name it takes for it. "name@sha256:…" of an image that was made
    /// here is its id with a name before it, which engines do not know. What was built with Podman under a short name
    /// is "localhost/name" to it, while its API reads a short name as Docker's.
    async fn resolve(
        &self,
        link: &Link,
        reference: &str,
    ) -> Result<Option<(String, ImageInspect)>, EngineError> {
        let id = reference.split_once('@').map(|(_, digest)| digest.to_owned());
        let local = images::is_short(reference) && link.kind == "podman";
        let built = local.then(|| format!("localhost/{reference}"));
        for name in std::iter::once(reference.to_owned()).chain(built).chain(id) {
            let look = present(link.docker.inspect_image(&name));
            if let Some(found) = link.ask("look for an image", SHORT, look).await? {
                return Ok(Some((name, found)));
            }
        }
        Ok(None)
    }

    fn ours(&self, agent: Option<&AgentName>) -> HashMap<String, Vec<String>> {
        let mut labels = vec![format!("{}={}", spec::INSTANCE, self.identity.instance)];
        labels.extend(agent.map(|agent| format!("{}={agent}", spec::AGENT)));
        HashMap::from([("label".to_owned(), labels)])
    }

    /// Our containers, running or not, each looked at closely: only then are key and exit code known.
    async fn inspect_all(
        &self,
        link: &Link,
        agent: Option<&AgentName>,
    ) -> Result<Vec<ContainerInspectResponse>, EngineError> {
        let list = link.containers(true, &self.ours(agent)).await?;
        let mut all = Vec::with_capacity(list.len());
        for id in list.iter().filter_map(|container| container.id.as_deref()) {
            // One that was removed meanwhile is simply gone.
            all.extend(link.inspect(id).await?);
        }
        Ok(all)
    }

    fn instance(&self, link: &Link, container: &ContainerInspectResponse) -> Option<Instance> {
        let mut instance = spec::instance(container, &self.identity)?;
        let pid = container.state.as_ref().and_then(|s| s.pid).and_then(|pid| u32::try_from(pid).ok());
        if let Some(pid) = pid.filter(|pid| *pid > 0 && link.is_local() && instance.phase == Phase::Running) {
            instance.pids = process::family(Path::new("/proc"), pid);
        }
        Some(instance)
    }

    /// The newest container of the agent.
    async fn of_agent(&self, link: &Link, agent: &AgentName) -> Result<Option<Instance>, EngineError> {
        let all = self.inspect_all(link, Some(agent)).await?;
        Ok(all.iter().max_by_key(|c| c.created.clone()).and_then(|c| self.instance(link, c)))
    }

    /// Makes a container and gives its id. Podman takes its init program from a package of its own (catatonit) and
    /// refuses where that is missing; a model server reaps and stops without one.
    async fn create(
        &self,
        link: &Link,
        name: &str,
        body: ContainerCreateBody,
        what: &str,
    ) -> Result<String, EngineError> {
        let make = |body: ContainerCreateBody| {
            let options = CreateContainerOptionsBuilder::new().name(name).build();
            link.ask(what, LONG, link.docker.create_container(Some(options), body))
        };
        let mut again = body.clone();
        match make(body).await {
            Ok(created) => Ok(created.id),
            Err(error) if error.message.contains("container-init binary") => {
                if let Some(host) = again.host_config.as_mut() {
                    host.init = Some(false);
                }
                Ok(make(again).await?.id)
            }
            Err(error) => Err(error),
        }
    }

    async fn remove(&self, link: &Link, id: &str) -> Result<(), EngineError> {
        let options = RemoveContainerOptionsBuilder::new().force(true).v(true).build();
        let removal = link.docker.remove_container(id, Some(options));
        match timeout(LONG, removal).await {
            // 409: somebody else is removing it at this moment.
            Ok(
                Ok(())
                | Err(bollard::errors::Error::DockerResponseServerError { status_code: 404 | 409, .. }),
            ) => Ok(()),
            Ok(Err(error)) => Err(words::error(&link.address, "remove a container", &error)),
            Err(_) => Err(words::silent(&link.address, "remove a container")),
        }
    }

    /// Makes room for the launch's container: an ended one of ours goes, anything else is an error.
    async fn clear_name(&self, link: &Link, launch: &Launch, name: &str) -> Result<(), EngineError> {
        if let Some(there) = link.inspect(name).await?
            && spec::instance(&there, &self.identity).is_none_or(|instance| instance.agent != launch.agent)
        {
            return Err(EngineError::new(
                ErrorKind::Foreign,
                format!("The name {name} is taken by a container that is not Asgard's."),
                format!(
                    "Look at it with `docker inspect {name}` and rename it: `docker rename {name} NEW_NAME`."
                ),
            ));
        }
        for container in self.inspect_all(link, Some(&launch.agent)).await? {
            let Some(instance) = self.instance(link, &container) else { continue };
            if instance.phase == Phase::Running {
                return Err(EngineError::new(
                    ErrorKind::Failed,
                    format!("{} already runs, as container {name}.", launch.agent.proper()),
                    format!("Stop it first: `asgard stop {}`.", launch.agent),
                ));
            }
            self.remove(link, &instance.id).await?;
        }
        Ok(())
    }

    async fn check_port(&self, link: &Link, launch: &Launch) -> Result<(), EngineError> {
        let list = link.containers(false, &HashMap::new()).await?;
        if let Some(holder) = list.iter().find(|container| publishes(container, launch.port)) {
            let name = holder.names.iter().flatten().next().map_or("another", |n| n.trim_start_matches('/'));
            return Err(ports::taken_by(&launch.agent, launch.port, &format!("the container {name}")));
        }
        if link.is_local()
            && let Some(holder) = ports::holder(Path::new("/proc"), launch.port)
        {
            return Err(ports::taken(&launch.agent, launch.port, &holder));
        }
        Ok(())
    }
}

/// Not found is an answer, not an error.
async fn present<T>(
    question: impl Future<Output = Result<T, bollard::errors::Error>>,
) -> Result<Option<T>, bollard::errors::Error> {
    match question.await {
        Ok(answer) => Ok(Some(answer)),
        Err(bollard::errors::Error::DockerResponseServerError { status_code: 404, .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Whether a container takes this port of 127.0.0.1.
fn publishes(container: &ContainerSummary, port: u16) -> bool {
    container.ports.iter().flatten().any(|published| {
        let here = published
            .ip
            .as_deref()
            .is_none_or(|ip| matches!(ip, "" | "127.0.0.1" | "0.0.0.0" | "::" | "::1"));
        here && published.public_port == Some(port)
    })
}

/// Folders that Asgard itself owns are made here: an engine would make them as root's.
fn make_folders(launch: &Launch) -> Result<(), EngineError> {
    let Program::Image { mounts, .. } = &launch.program else { return Ok(()) };
    for mount in mounts.iter().filter(|mount| !mount.read_only) {
        // A file that is there is mounted as it is.
        if mount.source.exists() {
            continue;
        }
        fs::create_dir_all(&mount.source).map_err(|error| {
            EngineError::new(
                ErrorKind::Failed,
                format!("The folder {} could not be made: {error}.", mount.source.display()),
                "Check who owns the folder above it, and that its disk is not full.",
            )
        })?;
    }
    match mounts.iter().find(|mount| mount.read_only && !mount.source.exists()) {
        Some(mount) => Err(EngineError::new(
            ErrorKind::NoModel,
            format!(
                "{} is not there, which {} reads its model from.",
                mount.source.display(),
                launch.agent.proper()
            ),
            "Download the model first, or correct where the Hugging Face cache is (HF_HOME).",
        )),
        None => Ok(()),
    }
}

fn image_of(launch: &Launch) -> Option<&str> {
    match &launch.program {
        Program::Image { image, .. } => Some(image),
        Program::Local { .. } => None,
    }
}

#[async_trait]
impl Engine for ContainerEngine {
    fn id(&self) -> &str {
        self.id.get_or_init(|| "docker")
    }

    async fn probe(&self) -> Result<EngineInfo, EngineError> {
        let link = self.shared.link().await?;
        let version = link.ask("say its version", SHORT, link.docker.version()).await?;
        Ok(link::info(&version))
    }

    async fn list(&self) -> Result<Vec<Instance>, EngineError> {
        let link = self.shared.link().await?;
        let all = self.shared.inspect_all(&link, None).await?;
        Ok(all.iter().filter_map(|container| self.shared.instance(&link, container)).collect())
    }

    async fn has_image(&self, launch: &Launch) -> Result<bool, EngineError> {
        let Some(image) = image_of(launch) else { return Ok(false) };
        let link = self.shared.link().await?;
        self.shared.has(&link, &pull::reference(image)).await
    }

    async fn pull(&self, launch: &Launch, on: OnProgress<'_>) -> Result<(), EngineError> {
        match image_of(launch) {
            Some(image) => self.pull_reference(image, on).await,
            None => Ok(()),
        }
    }

    async fn start(&self, launch: &Launch, on: OnProgress<'_>) -> Result<Instance, EngineError> {
        let shared = &self.shared;
        let link = shared.link().await?;
        let proper = launch.agent.proper();
        let mut body = spec::for_kind(spec(launch)?, link.kind);
        let image = image_of(launch).map(pull::reference).unwrap_or_default();
        let name = container_name(&launch.agent, &launch.identity);
        shared.clear_name(&link, launch, &name).await?;
        shared.check_port(&link, launch).await?;
        let Some((image, _)) = shared.resolve(&link, &image).await? else {
            return Err(words::no_image(&image));
        };
        body.image = Some(image);
        if link.rootless {
            body = spec::without_root(body, link.kind);
        }
        if link.is_local() {
            make_folders(launch)?;
        }
        let refused =
            |error: EngineError| words::refused_start(&error, &proper, launch.port).unwrap_or(error);
        let what = format!("make the container of {proper}");
        let making = shared.create(&link, &name, body, &what);
        // Docker looks for devices and folders at the start, Podman here.
        let created = making.await.map_err(refused)?;
        on(StartProgress::Created);
        // Dropped from here on, it is still listed: made and not running, with our labels.
        let starting = link.docker.start_container(&created, None::<StartContainerOptions>);
        if let Err(error) = link.ask(&format!("start {proper}"), LONG, starting).await {
            // What never ran is of no use; if the engine is gone, the next start clears it away.
            let _ = shared.remove(&link, &created).await;
            return Err(refused(error));
        }
        on(StartProgress::Started);
        let container = link.inspect(&created).await?;
        container.and_then(|container| shared.instance(&link, &container)).ok_or_else(|| {
            EngineError::new(
                ErrorKind::Failed,
                format!("The container of {proper} was removed as soon as it was started."),
                "Look for another program that removes containers, and start it again.",
            )
        })
    }

    async fn stop(&self, agent: &AgentName, grace: Duration) -> Result<(), EngineError> {
        let link = self.shared.link().await?;
        let what = format!("stop {}", agent.proper());
        // The engine waits out the grace and kills then; its answer comes after that.
        let patience = grace + LONG;
        let mut patient = link.docker.clone();
        patient.set_timeout(patience);
        let seconds = i32::try_from(grace.as_secs()).unwrap_or(i32::MAX);
        // More than once: somebody else may be removing it, or a start that was dropped is still being carried out.
        for _ in 0..100 {
            let left = self.shared.inspect_all(&link, Some(agent)).await?;
            if left.is_empty() {
                return Ok(());
            }
            for instance in left.iter().filter_map(|container| self.shared.instance(&link, container)) {
                if instance.phase == Phase::Running {
                    let options = StopContainerOptionsBuilder::new().t(seconds).build();
                    let stopping = present(patient.stop_container(&instance.id, Some(options)));
                    link.ask(&what, patience, stopping).await?;
                }
                self.shared.remove(&link, &instance.id).await?;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        Err(EngineError::new(
            ErrorKind::Failed,
            format!("The container of {} does not go away.", agent.proper()),
            "A process that the kernel cannot end usually waits for a driver: restart the machine.",
        ))
    }

    async fn log_tail(&self, agent: &AgentName, lines: usize) -> Result<Vec<String>, EngineError> {
        let link = self.shared.link().await?;
        let Some(instance) = self.shared.of_agent(&link, agent).await? else { return Ok(Vec::new()) };
        logs::tail(&link, &instance.id, lines).await
    }

    async fn log_follow(&self, agent: &AgentName) -> Result<BoxStream<'static, String>, EngineError> {
        let link = self.shared.link().await?;
        let Some(instance) = self.shared.of_agent(&link, agent).await? else {
            return Ok(futures_util::stream::empty().boxed());
        };
        Ok(logs::follow(link, instance.id))
    }

    fn events(&self) -> BoxStream<'static, EngineEvent> {
        events::stream(&self.shared)
    }
}
