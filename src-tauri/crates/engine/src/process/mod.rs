//! Agents as processes of this machine, for one with no container engine and for programs that are not in an image.
//!
//! Each agent leads a process group of its own and outlives the controller. Who it is stands in its environment
//! (`ASGARD_INSTANCE`, `ASGARD_AGENT`, …), which another controller reads from /proc to adopt it. Signals go through
//! process handles only, so that never a process is hit that took over an old id.
//!
//! Deliberately absent: limits of any kind on what the process may do. It is the user's own program.

mod follow;
pub(crate) mod proc;
pub(crate) mod run;

pub(crate) use proc::family;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use async_trait::async_trait;
use domain::AgentName;
use domain::secret::Secret;
use futures_util::StreamExt as _;
use futures_util::stream::BoxStream;
use tokio::sync::{broadcast, mpsc};
use tokio_stream::wrappers::{BroadcastStream, ReceiverStream};

use crate::{
    Engine, EngineError, EngineEvent, EngineInfo, ErrorKind, Identity, Instance, Launch, OnProgress, Phase,
    Program, StartProgress, ports,
};
use proc::{Stat, Who};

/// How long a killed process may take to be gone.
const AFTER_KILL: Duration = Duration::from_secs(10);

/// The engine of local processes.
#[derive(Debug)]
pub struct ProcessEngine {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    identity: Identity,
    proc: PathBuf,
    book: Mutex<Book>,
    news: broadcast::Sender<EngineEvent>,
}

/// What /proc cannot tell: how those ended that ended before our eyes.
#[derive(Debug, Default)]
struct Book {
    ended: HashMap<AgentName, Instance>,
    /// Those that a stop is ending: their end is no news.
    stopping: HashSet<Who>,
    watched: HashSet<Who>,
    log_files: HashMap<AgentName, PathBuf>,
}

/// One agent's processes as /proc shows them.
#[derive(Debug, Clone)]
struct Found {
    agent: AgentName,
    environment: BTreeMap<String, String>,
    /// The process that was started, if it lives.
    leader: Option<Who>,
    /// All of them, oldest first.
    members: Vec<Who>,
}

impl ProcessEngine {
    /// An engine for the agents of this Asgard, whoever started them.
    pub fn new(identity: Identity) -> Self {
        Self {
            shared: Arc::new(Shared {
                identity,
                proc: PathBuf::from("/proc"),
                book: Mutex::default(),
                news: broadcast::channel(256).0,
            }),
        }
    }
}

impl Shared {
    fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Every process of ours, by agent. Processes of the same group that cleaned their environment belong to it too.
    fn scan(&self) -> Vec<Found> {
        let me = rustix::process::geteuid().as_raw();
        let all: Vec<Stat> = proc::all(&self.proc).into_iter().filter(|s| !s.zombie).collect();
        let mut found: BTreeMap<AgentName, Found> = BTreeMap::new();
        let mut marked: Vec<(&Stat, AgentName)> = Vec::new();
        for stat in &all {
            let pid = stat.who.pid;
            let Some(environment) =
                owned_by(&self.proc, pid, me).then(|| proc::environment(&self.proc, pid)).flatten()
            else {
                continue;
            };
            if environment.get("ASGARD_INSTANCE") != Some(&self.identity.instance) {
                continue;
            }
            let Some(agent) = environment.get("ASGARD_AGENT").and_then(|name| AgentName::new(name).ok())
            else {
                continue;
            };
            marked.push((stat, agent.clone()));
            let entry = found.entry(agent.clone()).or_insert_with(|| Found {
                agent,
                environment: environment.clone(),
                leader: None,
                members: Vec::new(),
            });
            entry.members.push(stat.who);
            // A child that leads a group of its own has inherited the marks; the one started first is the agent.
            if stat.group == pid && entry.leader.is_none_or(|leader| stat.who.started < leader.started) {
                entry.leader = Some(stat.who);
                entry.environment = environment;
            }
        }
        let groups: HashMap<u32, AgentName> = marked
            .iter()
            .filter(|(stat, _)| stat.group == stat.who.pid || !all.iter().any(|s| s.who.pid == stat.group))
            .map(|(stat, agent)| (stat.group, agent.clone()))
            .collect();
        for stat in &all {
            if let Some(entry) = groups.get(&stat.group).and_then(|agent| found.get_mut(agent)) {
                entry.members.push(stat.who);
            }
        }
        let mut found: Vec<Found> = found.into_values().collect();
        for entry in &mut found {
            entry.members.sort_unstable_by_key(|who| (who.started, who.pid));
            entry.members.dedup();
        }
        found
    }

    fn instance(&self, found: &Found) -> Instance {
        let value = |name: &str| found.environment.get(name).cloned().unwrap_or_default();
        let who = found.leader.or_else(|| found.members.first().copied());
        let id = who.map_or_else(String::new, |who| {
            format!("{}:{}:{}", who.pid, who.started, proc::boot_id(&self.proc))
        });
        Instance {
            agent: found.agent.clone(),
            id,
            revision: value("ASGARD_REVISION"),
            reserved: serde_json::from_str(&value("ASGARD_RESERVED")).unwrap_or_default(),
            endpoint: value("ASGARD_ENDPOINT"),
            key: Secret::new(value(&value("ASGARD_KEY_VAR"))),
            phase: match found.leader {
                Some(_) => Phase::Running,
                None => Phase::Exited { code: None, oom: false },
            },
            pids: found.members.iter().map(|who| who.pid).collect(),
        }
    }

    /// What runs and what has ended, and a watch on each leader that has none yet.
    fn list(self: &Arc<Self>) -> Vec<Instance> {
        let found = self.scan();
        let mut instances = Vec::new();
        let mut to_watch = Vec::new();
        {
            let mut book = self.book();
            for entry in &found {
                let mut instance = self.instance(entry);
                if let Some(log) = entry.environment.get("ASGARD_LOG") {
                    book.log_files.insert(entry.agent.clone(), PathBuf::from(log));
                }
                match entry.leader {
                    Some(leader) => {
                        book.ended.remove(&entry.agent);
                        if book.watched.insert(leader) {
                            to_watch.push((leader, entry.agent.clone()));
                        }
                    }
                    // How the leader ended is remembered; what it left behind is seen.
                    None => {
                        if let Some(ended) = book.ended.get(&entry.agent) {
                            instance.phase = ended.phase.clone();
                            instance.id.clone_from(&ended.id);
                        }
                    }
                }
                instances.push(instance);
            }
            instances
                .extend(book.ended.values().filter(|e| !found.iter().any(|f| f.agent == e.agent)).cloned());
        }
        for (leader, agent) in to_watch {
            self.watch_adopted(leader, agent);
        }
        instances.sort_by(|a, b| a.agent.cmp(&b.agent));
        instances
    }

    /// Notices the end of a process that is not our child.
    fn watch_adopted(self: &Arc<Self>, leader: Who, agent: AgentName) {
        let Ok(Some(handle)) = proc::handle(&self.proc, leader) else {
            self.book().watched.remove(&leader);
            return;
        };
        let shared = Arc::downgrade(self);
        tokio::spawn(async move {
            if run::ended(handle).await.is_ok() {
                Self::gone(&shared, leader, &agent, None);
            }
        });
    }

    /// A leader has ended: remember how, unless it was asked to.
    fn gone(shared: &Weak<Self>, leader: Who, agent: &AgentName, instance: Option<Instance>) {
        let Some(shared) = shared.upgrade() else { return };
        {
            let mut book = shared.book();
            book.watched.remove(&leader);
            let asked = book.stopping.remove(&leader);
            if let (Some(instance), false) = (instance, asked) {
                book.ended.insert(agent.clone(), instance);
            }
        }
        let _ = shared.news.send(EngineEvent::Changed(agent.clone()));
    }

    /// The log of an agent that runs, or that ran while this engine looked.
    fn log_file(&self, agent: &AgentName) -> Option<PathBuf> {
        let known = self.book().log_files.get(agent).cloned();
        known.or_else(|| {
            let found = self.scan().into_iter().find(|f| &f.agent == agent)?;
            found.environment.get("ASGARD_LOG").map(PathBuf::from)
        })
    }
}

fn owned_by(proc: &Path, pid: u32, user: u32) -> bool {
    use std::os::unix::fs::MetadataExt as _;
    fs::metadata(proc.join(pid.to_string())).is_ok_and(|m| m.uid() == user)
}

#[async_trait]
impl Engine for ProcessEngine {
    fn id(&self) -> &'static str {
        "process"
    }

    async fn probe(&self) -> Result<EngineInfo, EngineError> {
        Ok(EngineInfo { kind: "process", version: None })
    }

    async fn list(&self) -> Result<Vec<Instance>, EngineError> {
        Ok(self.shared.list())
    }

    async fn has_image(&self, launch: &Launch) -> Result<bool, EngineError> {
        Ok(matches!(launch.program, Program::Local { .. }))
    }

    async fn pull(&self, _launch: &Launch, _on: OnProgress<'_>) -> Result<(), EngineError> {
        Ok(())
    }

    async fn start(&self, launch: &Launch, on: OnProgress<'_>) -> Result<Instance, EngineError> {
        let agent = &launch.agent;
        if let Some(found) = self.shared.scan().into_iter().find(|f| &f.agent == agent) {
            if let Some(leader) = found.leader {
                return Err(EngineError::new(
                    ErrorKind::Failed,
                    format!("{} already runs, as process {}.", agent.proper(), leader.pid),
                    format!("Stop it first: `asgard stop {agent}`."),
                ));
            }
            // The leader ended and left some of its group behind, which still holds memory.
            self.stop(agent, Duration::ZERO).await?;
        }
        if let Some(holder) = ports::holder(&self.shared.proc, launch.port) {
            return Err(ports::taken(agent, launch.port, &holder));
        }
        let (command, log_file) = run::command(launch)?;
        self.shared.book().ended.remove(agent);
        on(StartProgress::Created);
        // From here to the watch nothing waits, so a dropped future leaves either nothing or a process that is known.
        let instance = self.shared.spawn(command, launch, log_file)?;
        on(StartProgress::Started);
        let _ = self.shared.news.send(EngineEvent::Changed(agent.clone()));
        Ok(instance)
    }

    async fn stop(&self, agent: &AgentName, grace: Duration) -> Result<(), EngineError> {
        use rustix::process::Signal;
        if self.shared.end(agent, Signal::TERM, grace).await?
            && self.shared.end(agent, Signal::KILL, AFTER_KILL).await?
        {
            return Err(EngineError::new(
                ErrorKind::Failed,
                format!("{} did not end, not even when it was killed.", agent.proper()),
                "A process that the kernel cannot end usually waits for a driver: restart the machine.",
            ));
        }
        self.shared.book().ended.remove(agent);
        let _ = self.shared.news.send(EngineEvent::Changed(agent.clone()));
        Ok(())
    }

    async fn log_tail(&self, agent: &AgentName, lines: usize) -> Result<Vec<String>, EngineError> {
        let Some(path) = self.shared.log_file(agent) else { return Ok(Vec::new()) };
        follow::tail(&path, lines).map_err(|error| unreadable(&path, &error))
    }

    async fn log_follow(&self, agent: &AgentName) -> Result<BoxStream<'static, String>, EngineError> {
        let Some(path) = self.shared.log_file(agent) else {
            return Ok(futures_util::stream::empty().boxed());
        };
        let leader = self.shared.scan().into_iter().find(|f| &f.agent == agent).and_then(|f| f.leader);
        let handle: Option<OwnedFd> = match leader {
            Some(leader) => {
                proc::handle(&self.shared.proc, leader).map_err(|error| unreadable(&path, &error))?
            }
            None => None,
        };
        let (to, from) = mpsc::channel(256);
        tokio::spawn(async move {
            if let Err(error) = follow::follow(&path, handle, to).await {
                tracing::debug!(path = %path.display(), %error, "a log could not be followed");
            }
        });
        Ok(ReceiverStream::new(from).boxed())
    }

    fn events(&self) -> BoxStream<'static, EngineEvent> {
        // One that reads too slowly has missed something: it looks at everything.
        BroadcastStream::new(self.shared.news.subscribe())
            .map(|event| event.unwrap_or(EngineEvent::Everything))
            .boxed()
    }
}

fn unreadable(path: &Path, error: &std::io::Error) -> EngineError {
    EngineError::new(
        ErrorKind::Failed,
        format!("The log {} cannot be read: {error}.", path.display()),
        "Check who owns the file and its folder.",
    )
}
