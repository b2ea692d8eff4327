//! The outside: engines, the machine, the database, the clock. One value, made at the start, shared by all tasks.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use domain::GpuVendor;
use domain::agent::AgentName;
use domain::memory::Bytes;
use domain::pool::{PoolId, PoolReading, Shares};
use domain::secret::Secret;
use domain::stack::{Agent, Runs, Stack};
use engine::backend::{Host, NvidiaCard, Rehearsal, StandIn};
use engine::container::ContainerEngine;
use engine::external::{ExternalEngine, Server};
use engine::ollama::{self, OllamaEngine};
use engine::process::ProcessEngine;
use engine::{Engine, EngineError, EngineInfo, ErrorKind, Identity, Instance, Launch, Mount, Program};
use hardware::Machine;
use rehearsal::playback::Playback;
use store::adoptions::{Answer, What};
use store::database::Database;
use store::paths::Paths;
use store::secrets::Secrets;

use crate::images::Pins;
use crate::neighbours::Found;

/// How a rehearsal is played.
#[derive(Debug, Clone)]
pub(crate) struct RehearsalOptions {
    /// This program under its hidden subcommand, for stand-ins that are processes.
    pub(crate) command: Vec<String>,
    /// The static program for stand-ins that are containers.
    pub(crate) program: Option<PathBuf>,
    /// `ASGARD_REHEARSAL_*` variables that are handed on.
    pub(crate) env: Vec<(String, String)>,
    pub(crate) machine: PlayedMachine,
}

/// The machine that a rehearsal plays on.
#[derive(Debug, Clone)]
pub(crate) enum PlayedMachine {
    /// The small one, whose gigabytes are megabytes, and what other programs hold on it.
    Small { other: Bytes },
    /// A recording (`ASGARD_SYSROOT`), in its own gigabytes; it moves with the stand-ins where that was asked for.
    Recorded { moves: Option<Playback> },
}

impl PlayedMachine {
    pub(crate) fn is_small(&self) -> bool {
        matches!(self, Self::Small { .. })
    }
}

pub(crate) struct World {
    pub(crate) paths: Paths,
    pub(crate) identity: Identity,
    /// Where the gateway is to listen.
    pub(crate) listen: std::net::SocketAddr,
    pub(crate) rehearsal: Option<RehearsalOptions>,
    pub(crate) containers: Arc<ContainerEngine>,
    pub(crate) processes: Arc<ProcessEngine>,
    /// Made anew from each stack.
    pub(crate) external: RwLock<Arc<ExternalEngine>>,
    pub(crate) ollama: RwLock<Arc<OllamaEngine>>,
    /// Bytes that Ollama's models hold, `(device, host)`, as it said last.
    pub(crate) ollama_held: Mutex<BTreeMap<AgentName, (u64, u64)>>,
    /// Keys of servers of others, as they were found with them; never written down.
    pub(crate) keys: RwLock<BTreeMap<AgentName, Secret>>,
    /// Which digests the stack's image tags stand for.
    pub(crate) pins: Pins,
    pub(crate) secrets: Secrets,
    /// The Hub that models come from.
    pub(crate) hub: crate::account::Access,
    /// What was looked at of the Hub.
    pub(crate) looked: crate::discover::Memory,
    /// What was seen last of the cache of models.
    pub(crate) models: crate::installed::Shelf,
    pub(crate) machine: Machine,
    /// How long memory may take to come back after a stop.
    pub(crate) memory_patience: Duration,
    pub(crate) http: reqwest::Client,
    pub(crate) database: Arc<Mutex<Database>>,
    /// What was recorded last of memory and figures.
    pub(crate) recorder: crate::history::Recorder,
    /// The tag of the stand-in's image, once it is made.
    pub(crate) stand_in_image: tokio::sync::Mutex<Option<String>>,
}

impl World {
    /// Every engine that may hold agents of ours, reachable or not.
    pub(crate) fn engines(&self) -> [Arc<dyn Engine>; 4] {
        [self.containers.clone(), self.processes.clone(), self.external(), self.ollama()]
    }

    pub(crate) fn ollama(&self) -> Arc<OllamaEngine> {
        self.ollama.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Remembers the keys that adopted servers were started with.
    pub(crate) fn keep_keys(&self, answers: &[Answer], found: &[Found]) {
        let keys = answers.iter().filter_map(|answer| {
            let What::Adopted { agent, .. } = &answer.what else { return None };
            let id = answer.id.split('#').next()?;
            let neighbour = &found.iter().find(|f| f.neighbour.id == id)?.neighbour;
            Some((AgentName::new(agent).ok()?, neighbour.key.clone()))
        });
        *self.keys.write().unwrap_or_else(PoisonError::into_inner) = keys.collect();
    }

    pub(crate) fn external(&self) -> Arc<ExternalEngine> {
        self.external.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Takes over the servers of others that a stack names.
    pub(crate) fn name_external(&self, stack: &Stack) {
        let keys = self.keys.read().unwrap_or_else(PoisonError::into_inner).clone();
        match ExternalEngine::new(servers(stack, &keys)) {
            Ok(engine) => *self.external.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(engine),
            Err(error) => tracing::warn!("{error}"),
        }
        match OllamaEngine::new(ollama_servers(stack)) {
            Ok(engine) => *self.ollama.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(engine),
            Err(error) => tracing::warn!("{error}"),
        }
    }

    pub(crate) fn engine(&self, id: &str) -> Option<Arc<dyn Engine>> {
        self.engines().into_iter().find(|e| e.id() == id)
    }

    /// The engine an agent is started on. A rehearsal plays in containers where an engine answers and the static
    /// stand-in is at hand, else as processes.
    pub(crate) async fn engine_for(&self, agent: &Agent) -> Result<Arc<dyn Engine>, EngineError> {
        match &agent.runs {
            Runs::Process { .. } => Ok(self.processes.clone()),
            Runs::Container { .. } => {
                if let Some(rehearsal) = &self.rehearsal {
                    return Ok(if rehearsal.program.is_some() && self.containers.probe().await.is_ok() {
                        self.containers.clone()
                    } else {
                        self.processes.clone()
                    });
                }
                self.containers.probe().await?;
                Ok(self.containers.clone())
            }
            Runs::Ollama { .. } => Ok(self.ollama()),
            Runs::External { endpoint } => Err(EngineError::new(
                ErrorKind::Foreign,
                format!("{} is served by another program at {endpoint}.", agent.display_name),
                "Start or stop it there.",
            )),
        }
    }

    /// The folder that stand-ins report into.
    pub(crate) fn rehearsal_folder(&self) -> PathBuf {
        self.paths.state.join("rehearsal")
    }

    /// What stands in for the real server, on the engine chosen.
    pub(crate) async fn stand_in(
        &self,
        agent: &Agent,
        on: &str,
        hold: Bytes,
    ) -> Result<Option<Rehearsal>, EngineError> {
        let Some(rehearsal) = &self.rehearsal else { return Ok(None) };
        if !agent.runs_in_container() {
            return Ok(None);
        }
        let folder = self.rehearsal_folder();
        std::fs::create_dir_all(folder.join("held")).map_err(|e| {
            EngineError::new(
                ErrorKind::Failed,
                format!("The folder {} could not be made ({e}).", folder.display()),
                "Make it writable.",
            )
        })?;
        let stand_in = match &rehearsal.program {
            Some(program) if on == self.containers.id() => {
                let mut known = self.stand_in_image.lock().await;
                let image = match known.as_ref() {
                    Some(image) => image.clone(),
                    None => self.containers.make_image(program).await?,
                };
                *known = Some(image.clone());
                StandIn::Image { image, folder }
            }
            _ => StandIn::Process { command: rehearsal.command.clone(), folder },
        };
        let mut env = rehearsal.env.clone();
        if !rehearsal.machine.is_small() {
            // Gigabytes of another machine are said, not held.
            env.push(("ASGARD_REHEARSAL_HELD_PART".to_owned(), "1024".to_owned()));
        }
        Ok(Some(Rehearsal { stand_in, hold: hold.0, env }))
    }

    pub(crate) fn host(&self, capacity: Bytes) -> Host {
        let gpu = self.machine.gpu_devices();
        let nvidia: Vec<NvidiaCard> =
            gpu.nvidia.into_iter().map(|card| NvidiaCard { pool: card.pool, uuid: card.uuid }).collect();
        // With cards of both makers, agents that name none are on the first pool of a GPU.
        let first = |pool: &PoolId| matches!(pool.0.as_str(), "gpu0" | "unified");
        let amd = gpu.devices.iter().any(|device| device == "/dev/kfd");
        let gpu_vendor = if nvidia.iter().any(|card| !amd || first(&card.pool)) {
            Some(GpuVendor::Nvidia)
        } else {
            amd.then_some(GpuVendor::Amd)
        };
        Host {
            devices: gpu.devices,
            groups: gpu.groups,
            hub: self.paths.hub.clone(),
            caches: self.paths.caches(),
            logs: self.paths.agent_logs(),
            capacity: capacity.0,
            gpu_vendor,
            nvidia,
        }
    }

    /// Asks Ollama what its loaded models hold. Nothing is asked where no agent is one of its models.
    pub(crate) async fn read_ollama(&self) {
        let held = self.ollama().held().await;
        let held = held.into_iter().map(|(agent, device, host)| (agent, (device, host))).collect();
        *self.ollama_held.lock().unwrap_or_else(PoisonError::into_inner) = held;
    }

    /// The programs of others that hold most, for the sentence about what grew.
    pub(crate) fn top_holders(&self) -> Vec<(String, u64)> {
        if self.rehearsal.is_some() { Vec::new() } else { hardware::top_holders(3) }
    }

    /// Which agents' images are not there yet. An engine that does not answer has none to pull.
    pub(crate) async fn missing_images(&self, stack: &Stack) -> BTreeSet<AgentName> {
        let mut missing = BTreeSet::new();
        if self.rehearsal.is_some() || self.containers.probe().await.is_err() {
            return missing;
        }
        for agent in &stack.agents {
            if let Runs::Container { image, .. } = &agent.runs
                && matches!(
                    self.containers.image_exists(&self.pins.resolve(Some(&agent.name), image)).await,
                    Ok(false)
                )
            {
                missing.insert(agent.name.clone());
            }
        }
        missing
    }

    /// Every instance of ours on every engine that answers, with its engine's id.
    pub(crate) async fn instances(&self) -> Vec<(String, Instance)> {
        let mut all = Vec::new();
        for engine in self.engines() {
            if let Ok(list) = engine.list().await {
                all.extend(list.into_iter().map(|i| (engine.id().to_owned(), i)));
            }
        }
        all
    }

    /// What each engine says of itself.
    pub(crate) async fn probes(&self) -> Vec<(Arc<dyn Engine>, Result<EngineInfo, EngineError>)> {
        let mut all = Vec::new();
        for engine in self.engines() {
            let answer = engine.probe().await;
            all.push((engine, answer));
        }
        all
    }

    /// By how much the sizes of the shipped stack are divided here.
    pub(crate) fn scale(&self) -> u64 {
        if self.rehearsal.as_ref().is_some_and(|r| r.machine.is_small()) { 1024 } else { 1 }
    }

    /// Runs a piece of work on the database, off the async threads.
    pub(crate) async fn database<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Database) -> T + Send + 'static,
    ) -> Option<T> {
        let database = self.database.clone();
        tokio::task::spawn_blocking(move || {
            work(&mut database.lock().unwrap_or_else(PoisonError::into_inner))
        })
        .await
        .ok()
    }

    /// The launch of an agent: the pure function, with what the edges know.
    pub(crate) fn launch(
        &self,
        agent: &Agent,
        reserved: &Shares,
        capacity: Bytes,
        key: domain::secret::Secret,
        rehearsal: Option<Rehearsal>,
    ) -> Result<Launch, EngineError> {
        if let Runs::Ollama { .. } = &agent.runs {
            return Ok(self.ollama_launch(agent, reserved));
        }
        let backend = engine::backend::backend(agent.backend).ok_or_else(|| {
            EngineError::new(
                ErrorKind::Foreign,
                format!("{} is served by another program.", agent.display_name),
                "Start it there.",
            )
        })?;
        let mut launch = backend.launch(&engine::backend::Order {
            agent,
            identity: &self.identity,
            host: &self.host(capacity),
            key,
            revision: domain::stack::agent_hash(agent),
            reserved: reserved.iter().map(|(p, s)| (p.0.clone(), s.device.0, s.host.0)).collect(),
            rehearsal,
            gguf: self.gguf(agent),
        })?;
        if let (None, Program::Image { image, .. }) = (&self.rehearsal, &mut launch.program) {
            *image = self.pins.resolve(Some(&agent.name), image);
        }
        if let (Some(journal), Program::Image { mounts, .. }) = (self.journal()?, &mut launch.program) {
            mounts.push(Mount { target: journal.display().to_string(), source: journal, read_only: false });
        }
        Ok(launch)
    }

    /// Where the file of a model that is named by its place on the Hub lies in the cache.
    pub(crate) fn gguf(&self, agent: &Agent) -> Option<PathBuf> {
        let file = domain::stack::HubFile::parse(&agent.model)?;
        models::gguf_path(&self.paths.hub, &file.repo, &file.file, agent.revision.as_deref())
    }

    /// Ollama starts nothing here: it is told which model to load.
    fn ollama_launch(&self, agent: &Agent, reserved: &Shares) -> Launch {
        Launch {
            identity: self.identity.clone(),
            agent: agent.name.clone(),
            program: Program::Local { command: Vec::new(), log_file: PathBuf::new() },
            args: Vec::new(),
            env: BTreeMap::new(),
            key: (String::new(), Secret::default()),
            port: agent.port,
            revision: domain::stack::agent_hash(agent),
            reserved: reserved.iter().map(|(p, s)| (p.0.clone(), s.device.0, s.host.0)).collect(),
        }
    }

    /// The rehearsal's journal, if one is kept. It may be anywhere, so containers are given that one file; it must
    /// exist before it can be mounted.
    fn journal(&self) -> Result<Option<PathBuf>, EngineError> {
        let Some(rehearsal) = &self.rehearsal else { return Ok(None) };
        let Some((_, path)) = rehearsal.env.iter().find(|(k, _)| k == "ASGARD_REHEARSAL_JOURNAL") else {
            return Ok(None);
        };
        let path = PathBuf::from(path);
        std::fs::OpenOptions::new().create(true).append(true).open(&path).map_err(|e| {
            EngineError::new(
                ErrorKind::Failed,
                format!("The rehearsal's journal {} cannot be written ({e}).", path.display()),
                "Correct ASGARD_REHEARSAL_JOURNAL.",
            )
        })?;
        Ok(Some(path))
    }
}

/// The servers of others in a stack.
pub(crate) fn servers(stack: &Stack, keys: &BTreeMap<AgentName, Secret>) -> Vec<Server> {
    stack
        .agents
        .iter()
        .filter(|agent| agent.served_by.is_none())
        .filter_map(|agent| match &agent.runs {
            Runs::External { endpoint } => Some(Server {
                agent: agent.name.clone(),
                endpoint: endpoint.clone(),
                key: keys.get(&agent.name).cloned().unwrap_or_default(),
                revision: domain::stack::agent_hash(agent),
            }),
            Runs::Container { .. } | Runs::Process { .. } | Runs::Ollama { .. } => None,
        })
        .collect()
}

/// The models that Ollama loads for agents of a stack.
pub(crate) fn ollama_servers(stack: &Stack) -> Vec<ollama::Server> {
    let ours = stack.agents.iter().filter(|agent| agent.served_by.is_none());
    ours.filter_map(|agent| match &agent.runs {
        Runs::Ollama { endpoint } => Some(ollama::Server {
            agent: agent.name.clone(),
            endpoint: endpoint.clone(),
            model: agent.model.clone(),
            context: agent.context,
            revision: domain::stack::agent_hash(agent),
            // What it reserves follows from the stack: nothing runs that could carry a label.
            reserved: Vec::new(),
        }),
        Runs::Container { .. } | Runs::Process { .. } | Runs::External { .. } => None,
    })
    .collect()
}

/// The capacity of the pool an agent takes most of.
pub(crate) fn main_capacity(pools: &[PoolReading], reserved: &Shares) -> Bytes {
    let most: Option<&PoolId> = reserved.iter().max_by_key(|(_, s)| s.total()).map(|(id, _)| id);
    pools.iter().find(|p| Some(&p.id) == most).or(pools.first()).and_then(|p| p.capacity).unwrap_or_default()
}
