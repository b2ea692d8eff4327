//! The beginning and the end of the controller.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, RwLock};
use std::time::Duration;

use api::shapes::activity::Event as ActivityEvent;
use api::shapes::settings::AfterLogin;
use api::shapes::status::{Notice, Severity};
use api::{ApiError, Code};
use domain::agent::AgentName;
use domain::plan::Goal;
use engine::container::ContainerEngine;
use engine::external::ExternalEngine;
use engine::ollama::OllamaEngine;
use engine::process::ProcessEngine;
use engine::{Engine, EngineEvent, Identity};
use futures_util::StreamExt;
use hardware::Machine;
use jiff::Timestamp;
use rehearsal::playback::Playback;
use store::database::{Database, Severity as Kept};
use store::lock::{ControllerLock, LockError};
use store::paths::Paths;
use tokio::sync::watch;

use crate::account::Access;
use crate::carry::Ctx;
use crate::chat::Replies;
use crate::commands::App;
use crate::gate::{self, Gate};
use crate::gateway::{self, Port};
use crate::here::Here;
use crate::keys::Keys;
use crate::record::Recorder;
use crate::run_loop::{self, Wish};
use crate::state::{Event, State};
use crate::telemetry::{self, Lookers};
use crate::world::{PlayedMachine, RehearsalOptions, World};
use crate::{downloads, recover, stack_watch};

/// What the program read from its surroundings.
#[derive(Debug, Clone)]
pub struct Options {
    pub paths: Paths,
    /// Asked for with `--rehearsal`.
    pub rehearsal: bool,
    /// The environment.
    pub env: BTreeMap<String, String>,
    /// This program, for stand-ins that are processes.
    pub exe: PathBuf,
    /// Started by the desktop after login.
    pub after_login: bool,
    /// `HF_TOKEN`, which is not in `env`.
    pub hub_token: Option<domain::secret::Secret>,
}

/// Why the controller could not start.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{message}")]
pub struct StartError {
    pub code: Code,
    pub message: String,
    pub next: String,
}

impl StartError {
    fn new(message: impl Into<String>, next: impl Into<String>) -> Self {
        Self { code: Code::Failed, message: message.into(), next: next.into() }
    }
}

impl Options {
    pub(crate) fn var(&self, name: &str) -> Option<&str> {
        self.env.get(name).map(String::as_str).filter(|v| !v.is_empty())
    }

    /// The person wants nothing to be asked of the Hub, in the words that its own client takes for a yes.
    pub(crate) fn hub_offline(&self) -> bool {
        let yes = |v: &str| ["1", "true", "yes", "on"].iter().any(|y| v.trim().eq_ignore_ascii_case(y));
        self.var("HF_HUB_OFFLINE").is_some_and(yes)
    }

    pub(crate) fn machine(&self) -> Machine {
        Machine::new(self.var("ASGARD_SYSROOT").unwrap_or("/"))
    }

    /// With no stack of the user's, a machine with a GPU starts with the shipped stack asleep, any other with the
    /// rehearsal, so that the main job works at once.
    pub fn decide_rehearsal(&self) -> bool {
        self.rehearsal || (!self.paths.stack_file().exists() && !self.machine().has_gpu())
    }

    /// The folders in force: a rehearsal keeps everything in folders of its own.
    pub fn paths_in_force(&self) -> Result<Paths, store::paths::PathError> {
        if self.decide_rehearsal() && !self.paths.rehearsal {
            let get = |name: &str| self.env.get(name).map(OsString::from);
            return Paths::from_env(&get, rustix::process::getuid().as_raw(), true);
        }
        Ok(self.paths.clone())
    }

    /// Which machine a rehearsal plays on: a recording where one is named, else the small one.
    fn played_machine(&self) -> PlayedMachine {
        let Some(root) = self.var("ASGARD_SYSROOT").filter(|root| *root != "/") else {
            let other = rehearsal::machine::other_from(self.var("ASGARD_REHEARSAL_OTHER_MB"));
            return PlayedMachine::Small { other };
        };
        let asked = self.var("ASGARD_REHEARSAL_MOVES_SYSROOT") == Some("1");
        let moves = asked.then(|| Playback::new(root, self.var("ASGARD_REHEARSAL_LEAK_GB")));
        PlayedMachine::Recorded { moves }
    }

    /// A rehearsal need not take a minute to show memory that does not come back.
    fn memory_patience(&self) -> Duration {
        let played = self.var("ASGARD_REHEARSAL_MEMORY_MS").filter(|_| self.decide_rehearsal());
        played.and_then(|ms| ms.parse().ok()).map_or(crate::carry::MEMORY_PATIENCE, Duration::from_millis)
    }

    /// By how much the sizes of the shipped stack are divided: by 1024 on the small machine of a rehearsal.
    pub(crate) fn scale(&self) -> u64 {
        if self.decide_rehearsal() && self.played_machine().is_small() { 1024 } else { 1 }
    }

    fn rehearsal_options(&self) -> Option<RehearsalOptions> {
        if !self.decide_rehearsal() {
            return None;
        }
        let beside = |name: &str| self.exe.parent().map(|p| p.join(name)).filter(|p| p.is_file());
        let program = self
            .var("ASGARD_STAND_IN")
            .map(PathBuf::from)
            .filter(|p| p.is_file())
            .or_else(|| beside("asgard-stand-in"))
            .or_else(|| beside("../libexec/asgard/asgard-stand-in"))
            .or_else(|| beside("../stand-in/asgard-stand-in"));
        let handed_on =
            |name: &str| name.starts_with("ASGARD_REHEARSAL_") && name != "ASGARD_REHEARSAL_OTHER_MB";
        Some(RehearsalOptions {
            command: vec![self.exe.display().to_string(), "stand-in".to_owned()],
            program,
            env: self.env.iter().filter(|(k, _)| handed_on(k)).map(|(k, v)| (k.clone(), v.clone())).collect(),
            machine: self.played_machine(),
        })
    }
}

/// Starts the controller: takes the lock, opens what is kept, opens the gateway, adopts what runs.
///
/// # Errors
/// A controller that runs already, folders that cannot be made, a database that cannot be opened.
pub async fn start(options: Options) -> Result<App, StartError> {
    let paths = options.paths_in_force().map_err(|e| StartError::new(e.to_string(), ""))?;
    paths.ensure().map_err(|e| StartError::new(e.to_string(), ""))?;
    let lock = ControllerLock::take(&paths).map_err(|e| match e {
        LockError::HeldBy(pid) => StartError {
            code: Code::Busy,
            message: match pid {
                Some(pid) => format!("A controller already runs for this user, as process {pid}."),
                None => "A controller already runs for this user.".to_owned(),
            },
            next: "Use it, or end it before starting another.".to_owned(),
        },
        LockError::Io { .. } => StartError::new(e.to_string(), ""),
    })?;
    let opened = Database::open(&paths.database())
        .map_err(|e| StartError::new(e.to_string(), "Check the disk that holds Asgard's data folder."))?;
    let rehearsal = options.rehearsal_options();
    let scale = options.scale();
    let here = Here::of(&options);
    let loaded = store::stack_file::load_on(&paths.stack_file(), scale, &here);
    let source = stack_watch::source(&loaded);
    // A file that does not hold must not keep the person from their machine: the shipped stack serves until then.
    let (stack, hash) = if let Ok(stack) = loaded.stack {
        (stack, loaded.hash)
    } else {
        let text = store::stack_file::shipped_text(scale);
        let stack = store::stack_file::check_on(&paths.stack_file(), &text, scale, &here).map_err(|_| {
            StartError::new("The shipped stack does not hold.", "This is a fault of Asgard's: report it.")
        })?;
        (stack, store::identity::hash(text.as_bytes()))
    };
    let uid = rustix::process::getuid().as_raw();
    let identity =
        Identity { instance: store::identity::instance_id(&store::identity::machine_id(), uid, &paths.data) };
    let http = net::plain()
        .connect_timeout(Duration::from_secs(5))
        .pool_idle_timeout(Duration::from_secs(5))
        .build()
        .map_err(|e| StartError::new(format!("The HTTP client could not be made: {e}."), ""))?;
    let hub = hub_access(&options, &paths)?;
    let pins = crate::images::Pins::load(&opened.database.images().unwrap_or_default());
    let secrets = store::secrets::Secrets::open(&paths);
    let containers = ContainerEngine::connect(&identity, &|name| options.env.get(name).cloned()).await;
    let listen = gateway_address(&options, stack.gateway.listen);
    let world = Arc::new(World {
        rehearsal: rehearsal.clone(),
        containers: Arc::new(containers),
        processes: Arc::new(ProcessEngine::new(identity.clone())),
        external: RwLock::new(Arc::new(
            ExternalEngine::new(crate::world::servers(&stack, &BTreeMap::new()))
                .map_err(|e| StartError::new(e.message, e.next))?,
        )),
        ollama: RwLock::new(Arc::new(
            OllamaEngine::new(crate::world::ollama_servers(&stack))
                .map_err(|e| StartError::new(e.message, e.next))?,
        )),
        ollama_held: Mutex::default(),
        keys: RwLock::default(),
        pins,
        secrets,
        hub,
        looked: crate::discover::Memory::default(),
        models: crate::installed::Shelf::default(),
        machine: options.machine(),
        identity,
        listen,
        http,
        database: Arc::new(Mutex::new(opened.database)),
        recorder: crate::history::Recorder::default(),
        memory_patience: options.memory_patience(),
        stand_in_image: tokio::sync::Mutex::default(),
        paths,
    });
    let now = Timestamp::now();
    let mut state = State::new(Arc::new(stack), hash, source, rehearsal.is_some(), now);
    state.gpu = world.machine.gpu();
    let bifrost = options.env.iter().filter(|(name, _)| name.starts_with("BIFROST_"));
    state.variables = Arc::new(bifrost.map(|(name, value)| (name.clone(), value.clone())).collect());
    for problem in state.file_stack.gateway.clone().with_env(|name| options.env.get(name).cloned()).1 {
        tracing::warn!("{problem}");
        let notice = Notice { severity: Severity::Warning, message: problem, next: String::new() };
        state.apply(Event::Noticed { key: "variables", notice: Some(notice) }, now);
    }
    state.lay_over(now);
    recall(&world, &mut state).await;
    match store::adoptions::read(&world.paths.adoptions_file()) {
        Ok(answers) => {
            state.apply(Event::Answered { answers: Arc::new(answers) }, now);
        }
        Err(error) => {
            let next = "Servers of others are asked about again.".to_owned();
            let notice = Notice { severity: Severity::Warning, message: error.to_string(), next };
            state.apply(Event::Noticed { key: "adoptions", notice: Some(notice) }, now);
        }
    }
    let unconfirmed = store::confirm::read(&world.paths.unconfirmed_file()).map(Arc::new);
    state.apply(Event::Confirming(unconfirmed), now);
    world.name_external(&state.stack);
    if let Some(aside) = opened.set_aside {
        let notice = Notice { severity: Severity::Warning, message: aside.to_string(), next: String::new() };
        state.apply(Event::Noticed { key: "database", notice: Some(notice) }, now);
    }
    let (schedule, paused) = gate::recall(&world).await;
    state.apply(Event::Paused(paused), now);
    let face = crate::wake::new_key().map_err(|e| StartError::new(e.message, e.next))?;
    let (handle, pending) = run_loop::prepare(state);
    let recorder = Recorder::new(world.database.clone());
    let (gate, orders) = Gate::new(handle.clone(), recorder.clone(), schedule, face);
    let (told, telling) = tokio::sync::mpsc::unbounded_channel();
    let source = Arc::new(downloads::FromHub::new(world.clone()));
    let downloads = downloads::Line::new(source, world.database.clone(), told);
    let ctx = Ctx { world, state: handle, gate, recorder, keys: Keys::default(), downloads };
    tokio::spawn(pending.run(ctx.clone()));

    let lookers = Lookers::default();
    let (ended, _) = watch::channel(false);
    let app = App {
        ctx: ctx.clone(),
        replies: Replies::default(),
        lookers: lookers.clone(),
        port: Port::new(),
        ended,
        _lock: Arc::new(lock),
    };
    recover::look_at_engines(&ctx).await;
    recover::adopt(&ctx).await;
    // Before the first request: one that comes with a key must not be told that it is none.
    ctx.keys.load(&ctx.world.secrets, &ctx.state.state().stack).await;
    let known = ctx.keys.clone();
    ctx.world.database(move |db| known.recall(db)).await;
    tokio::spawn(crate::keys::run(ctx.clone()));
    gateway::begin(app.clone()).map_err(|e| {
        StartError::new(format!("The gateway could not be started: {e}."), "Close something and try again.")
    })?;
    ctx.state.until(|s| s.gateway.is_some() || s.gateway_error.is_some()).await;
    for engine in ctx.world.engines() {
        tokio::spawn(listen_to(ctx.clone(), engine));
    }
    let (looking, to) = (lookers.clone(), ctx.state.clone());
    let tell = move || to.note(Event::RequestsChanged);
    tokio::spawn(ctx.recorder.clone().run(move || looking.any(), tell));
    tokio::spawn(crate::installed::watch(ctx.clone(), lookers.clone()));
    tokio::spawn(downloads::run(ctx.clone(), telling, lookers.clone()));
    tokio::spawn(telemetry::run(ctx.clone(), lookers));
    tokio::spawn(stack_watch::run(ctx.clone()));
    crate::learning::recall(&ctx).await;
    crate::yielding::recall(&ctx).await;
    tokio::spawn(crate::yielding::run(ctx.clone()));
    tokio::spawn(crate::pressure::run(ctx.clone()));
    tokio::spawn(gate::run(ctx.clone(), orders));
    let beginning = app.clone();
    tokio::spawn(async move {
        recover::take_up(&beginning.ctx).await;
        if options.after_login {
            after_login(&beginning).await;
        }
    });
    Ok(app)
}

/// What earlier runs have left: events, start times, the last profile, a reply that was cut.
async fn recall(world: &Arc<World>, state: &mut State) {
    let names: Vec<AgentName> = state.stack.agents.iter().map(|a| a.name.clone()).collect();
    let cut = serde_json::json!({
        "code": "cut",
        "message": "Asgard ended in the middle of this answer.",
        "next": "What had arrived is kept. Ask again for the rest.",
    });
    let recalled = world
        .database(move |db| {
            db.mark_streaming_as_failed(&cut).ok();
            let events = db.events(200).unwrap_or_default();
            let starts: Vec<(AgentName, f64)> = names
                .into_iter()
                .filter_map(|n| db.start_seconds(n.as_str()).ok().flatten().map(|s| (n, s)))
                .collect();
            let profile = db.setting("last_profile").ok().flatten();
            (events, starts, profile)
        })
        .await;
    let Some((events, starts, profile)) = recalled else { return };
    state.events = Arc::new(
        events
            .into_iter()
            .map(|e| ActivityEvent {
                time: e.time.to_string(),
                severity: match e.severity {
                    Kept::Info => Severity::Info,
                    Kept::Warning => Severity::Warning,
                    Kept::Error => Severity::Failure,
                },
                agent: e.agent,
                message: e.message,
            })
            .collect(),
    );
    state.start_seconds.extend(starts);
    let profile = profile.as_ref().and_then(|v| v.as_str()).filter(|p| state.stack.profile(p).is_some());
    state.profile = profile.map(ToOwned::to_owned);
}

/// The Hub that is named, a rehearsal's own, or Hugging Face's.
fn hub_access(options: &Options, paths: &Paths) -> Result<Access, StartError> {
    let bad = |e: models::hub::BadEndpoint| StartError::new(e.to_string(), e.next());
    let endpoint = options.var("HF_ENDPOINT").filter(|e| !e.trim().is_empty());
    if endpoint.is_none() && options.decide_rehearsal() {
        let running = played_hub(options);
        // A rehearsal never asks the real one: without its own it finds nothing.
        let endpoint = running
            .as_ref()
            .map_or_else(|| "http://127.0.0.1:9".to_owned(), rehearsal::hub::Running::endpoint);
        return Ok(Access::played(models::hub::Hub::new(&endpoint, None).map_err(bad)?, running));
    }
    let Some(endpoint) = endpoint else {
        let hub = models::hub::Hub::new(models::hub::PUBLIC, None).map_err(bad)?;
        let hub = models::hub::Hub { offline: options.hub_offline(), ..hub };
        return Ok(Access::new(hub, false, options.hub_token.clone(), paths.client_token.clone()));
    };
    let hub = models::hub::Hub::mirror(endpoint, Some(domain::secret::Secret::new("any"))).map_err(bad)?;
    let clear = hub.token.is_none();
    let hub = models::hub::Hub { token: None, offline: options.hub_offline(), ..hub };
    Ok(Access::new(hub, clear, options.hub_token.clone(), paths.client_token.clone()))
}

/// The rehearsal's Hub, with its catalogue, on a free port of the loopback. `ASGARD_REHEARSAL_HUB_PACE` is how many
/// bytes a second each of its connections gives.
fn played_hub(options: &Options) -> Option<rehearsal::hub::Running> {
    let pace = options.var("ASGARD_REHEARSAL_HUB_PACE").and_then(|p| p.parse().ok());
    match (rehearsal::hub::Hub { pace, ..rehearsal::hub::catalogue() }).start() {
        Ok(running) => Some(running),
        Err(error) => {
            tracing::warn!("The rehearsal has no Hub: {error}.");
            None
        }
    }
}

/// `BIFROST_PORT` keeps its name from the earlier Bifrost.
pub(crate) fn gateway_address(options: &Options, listen: SocketAddr) -> SocketAddr {
    match options.var("BIFROST_PORT").and_then(|p| p.parse().ok()) {
        Some(port) => SocketAddr::new(listen.ip(), port),
        None => listen,
    }
}

/// What an engine tells.
async fn listen_to(ctx: Ctx, engine: Arc<dyn Engine>) {
    let mut events = engine.events();
    while let Some(event) = events.next().await {
        match event {
            EngineEvent::Changed(agent) => recover::look_at_agent(&ctx, &engine, &agent).await,
            EngineEvent::Everything => {
                recover::look_at_engines(&ctx).await;
                let names: Vec<AgentName> = ctx.state.state().agents.keys().cloned().collect();
                for agent in names {
                    recover::look_at_agent(&ctx, &engine, &agent).await;
                }
                recover::adopt(&ctx).await;
            }
        }
    }
}

/// After login: nothing, the last profile or the base one, as set; nothing by default.
async fn after_login(app: &App) {
    let kept = app.ctx.world.database(|db| db.setting("after_login").ok().flatten()).await.flatten();
    let wished = kept.and_then(|v| serde_json::from_value::<AfterLogin>(v).ok()).unwrap_or_default();
    let state = app.ctx.state.state();
    let profile = match wished {
        AfterLogin::Nothing => return,
        AfterLogin::LastProfile => state.profile.clone().unwrap_or_else(|| state.stack.base.clone()),
        AfterLogin::BaseProfile => state.stack.base.clone(),
    };
    let wish = Wish::new(Goal::Profile(profile.clone()), profile);
    if let Err(error) = app.ctx.state.wish(wish).await {
        crate::activity::happened(&app.ctx, Severity::Failure, None, error.message);
    }
}

/// Writes or removes the entry that starts the controller after login.
pub(crate) fn autostart(ctx: &Ctx, wished: AfterLogin) -> Result<(), ApiError> {
    let Some(folder) = ctx.world.paths.config.parent().map(|p| p.join("autostart")) else { return Ok(()) };
    let file = folder.join("asgard.desktop");
    let failed = |e: std::io::Error| {
        ApiError::new(
            Code::Failed,
            format!("The start after login could not be set ({e})."),
            format!("Check the folder {}.", folder.display()),
        )
    };
    if wished == AfterLogin::Nothing {
        return match std::fs::remove_file(&file) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(failed(e)),
            _ => Ok(()),
        };
    }
    let exe = std::env::current_exe().map_err(failed)?;
    let flag = if ctx.world.rehearsal.is_some() { " --rehearsal" } else { "" };
    let exe = exe.display().to_string().replace('\\', "\\\\").replace('"', "\\\"");
    let text = format!(
        "[Desktop Entry]\nType=Application\nName=Asgard\nComment=Starts Asgard's controller after login\nExec=\"{exe}\" serve --after-login{flag}\nIcon=asgard\nTerminal=false\nX-GNOME-Autostart-enabled=true\n"
    );
    std::fs::create_dir_all(&folder).map_err(failed)?;
    std::fs::write(&file, text).map_err(failed)
}
