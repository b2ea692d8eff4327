//! Readiness: gathers the facts that `domain::doctor` judges. The controller's request and the command without a
//! controller take the same way; they differ in what they know of what runs.
//!
//! Every probe is bounded by itself, and all run beside each other: nothing here takes five seconds, whatever hangs.
//! None needs root, and none changes anything. One that fails gives its reason in the place of its fact.
//!
//! Deliberately absent: what is right or wrong (`domain::doctor`), words of the command.

mod containers;
mod files;
mod machine;
mod private;
mod report;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use api::shapes::doctor::{Doctor, DoctorCheck, DoctorReport, DoctorStatus};
use domain::doctor::{Check, Facts, Seen, Status, checks};
use domain::plan::Situation;
use domain::pool::PoolReading;
use domain::stack::{Gpu, Stack};
use engine::container::ContainerEngine;
use engine::process::ProcessEngine;
use engine::{Engine, Identity};
use hardware::Machine;
use store::database::{Database, ImageRecord, VersionRecord};
use store::paths::Paths;

use crate::carry::Ctx;
use crate::start::Options;

/// A disk that went to sleep answers within this; a network folder whose server is gone never does.
const FILES: Duration = Duration::from_secs(2);
/// An engine that is asked who it is.
const ENGINE: Duration = Duration::from_millis(2500);
/// What it is asked after that.
const MORE: Duration = Duration::from_millis(1500);

const RECORDING: &str = "This is a recording of another machine, which does not hold it.";

/// What is known beside the machine itself, whoever asks.
struct Place {
    paths: Paths,
    machine: Machine,
    rehearsal: bool,
    /// By how much the shipped stack is divided here.
    scale: u64,
    stack: Seen<Stack>,
    situation: Situation,
    /// Whether a controller has watched the stops.
    watched: bool,
    /// None on a recording: the engine is of this machine.
    containers: Option<Arc<ContainerEngine>>,
    processes: Option<Arc<ProcessEngine>>,
    images: Vec<ImageRecord>,
    versions: Vec<VersionRecord>,
    /// Whether the gateway of ours listens, and where it should.
    gateway_open: bool,
    listen: SocketAddr,
}

/// What a probe found, or why it found nothing in time.
async fn within<T>(patience: Duration, what: &str, probe: impl Future<Output = T>) -> Seen<T> {
    tokio::time::timeout(patience, probe).await.map_err(|_| format!("{what} did not answer in time."))
}

/// A look at files, on a thread that may hang without hanging anybody else.
async fn look<T: Send + 'static>(what: &str, look: impl FnOnce() -> T + Send + 'static) -> Seen<T> {
    match within(FILES, what, tokio::task::spawn_blocking(look)).await {
        Ok(done) => done.map_err(|_| format!("{what} could not be looked at.")),
        Err(reason) => Err(reason),
    }
}

async fn facts(place: &Place) -> Facts {
    let (machine, containers, files, tray) = tokio::join!(
        Box::pin(machine::read(&place.machine)),
        Box::pin(containers::read(place)),
        Box::pin(files::read(place)),
        Box::pin(tray(place.machine.is_this_one())),
    );
    let agents = place.stack.as_ref().map(|stack| stack.agents.as_slice()).unwrap_or_default();
    let engine = containers.engine.map(|engine| domain::doctor::Engine {
        needed: !place.rehearsal && agents.iter().any(|a| a.is_ours() && a.runs_in_container()),
        ..engine
    });
    let mut graphics = machine.graphics;
    // What the engine says of its runtimes is as good as the toolkit's own files.
    if graphics.nvidia_cards > 0 && containers.nvidia_runtime {
        graphics.nvidia_toolkit = Some(Ok(true));
    }
    Facts {
        rehearsal: place.rehearsal,
        distribution: machine.distribution,
        stack: place.stack.clone(),
        stack_file: place.paths.stack_file().display().to_string(),
        situation: place.situation.clone(),
        lost_is_known: place.watched,
        doubts: machine.doubts,
        graphics,
        kernel: machine.kernel,
        swap: machine.swap,
        devices: machine.devices,
        engine,
        images: containers.images,
        models: files.models,
        hub: files.hub,
        disks: domain::doctor::Disks { engine: containers.disk, ..files.disks },
        ports: containers.ports,
        tray,
    }
}

/// Whether something on the session bus shows tray icons.
async fn tray(here: bool) -> Seen<bool> {
    if !here {
        return Err(RECORDING.to_owned());
    }
    let asked = async {
        let bus = zbus::Connection::session().await.ok()?;
        let bus = zbus::fdo::DBusProxy::new(&bus).await.ok()?;
        let name = zbus::names::BusName::try_from("org.kde.StatusNotifierWatcher").ok()?;
        bus.name_has_owner(name).await.ok()
    };
    let answer = within(MORE, "The session bus", asked).await?;
    answer.ok_or_else(|| "There is no session bus here, so no desktop to show one.".to_owned())
}

fn shape(checks: Vec<Check>) -> Doctor {
    let check = |c: Check| DoctorCheck {
        id: c.id,
        title: c.title,
        status: match c.status {
            Status::Pass => DoctorStatus::Pass,
            Status::Warn => DoctorStatus::Warn,
            Status::Fail => DoctorStatus::Fail,
            Status::Skip => DoctorStatus::Skip,
        },
        found: c.found,
        wanted: c.wanted,
        why: c.why,
        fix: c.fix,
    };
    Doctor { checks: checks.into_iter().map(check).collect() }
}

async fn of_controller(ctx: &Ctx) -> Place {
    let world = &ctx.world;
    let state = ctx.state.state();
    let stack = match state.source.problems.first() {
        Some(problem) => {
            let line = problem.line.map(|l| format!(", line {l}")).unwrap_or_default();
            Err(format!("{}{line}: {}", problem.file, problem.message))
        }
        None => Ok((*state.stack).clone()),
    };
    let kept = world
        .database(|db| (db.images().unwrap_or_default(), db.image_versions().unwrap_or_default()))
        .await
        .unwrap_or_default();
    let here = world.machine.is_this_one();
    Place {
        paths: world.paths.clone(),
        machine: world.machine.clone(),
        rehearsal: world.rehearsal.is_some(),
        scale: world.scale(),
        stack,
        situation: state.situation(),
        watched: true,
        containers: here.then(|| world.containers.clone()),
        processes: here.then(|| world.processes.clone()),
        images: kept.0,
        versions: kept.1,
        gateway_open: state.gateway.is_some(),
        listen: world.listen,
    }
}

async fn offline(options: &Options) -> Place {
    // A recorded machine is a real one: its stack is the user's or the shipped one, never the rehearsal's.
    let rehearsal = options.var("ASGARD_SYSROOT").is_none() && options.decide_rehearsal();
    let paths = if rehearsal { options.paths_in_force().ok() } else { None };
    let paths = paths.unwrap_or_else(|| options.paths.clone());
    let machine = options.machine();
    let (file, gpu_of) = (paths.stack_file(), machine.clone());
    let scale = if rehearsal { options.scale() } else { 1 };
    let stack = look("The stack file", move || {
        let gpu: Option<Gpu> = gpu_of.gpu();
        store::stack_file::load_on(&file, scale, &gpu).stack.map_err(|problems| {
            problems.first().map_or_else(|| "It does not hold.".to_owned(), ToString::to_string)
        })
    })
    .await
    .and_then(|stack| stack);
    let (pools_of, other) =
        (machine.clone(), options.var("ASGARD_REHEARSAL_OTHER_MB").map(ToOwned::to_owned));
    let pools: Vec<PoolReading> = look("The machine's memory", move || {
        if rehearsal && scale > 1 {
            vec![rehearsal::machine::reading(&[], rehearsal::machine::other_from(other.as_deref()))]
        } else {
            pools_of.pools()
        }
    })
    .await
    .unwrap_or_default();
    let database = paths.database();
    let kept = look("The database", move || {
        let database = Database::look(&database).ok()?;
        Some((database.images().unwrap_or_default(), database.image_versions().unwrap_or_default()))
    });
    let (images, versions) = kept.await.ok().flatten().unwrap_or_default();
    let here = machine.is_this_one();
    let uid = rustix::process::getuid().as_raw();
    let identity =
        Identity { instance: store::identity::instance_id(&store::identity::machine_id(), uid, &paths.data) };
    let env: BTreeMap<String, String> = options.env.clone();
    let connect = ContainerEngine::connect(&identity, &move |name| env.get(name).cloned());
    let containers = if here { within(ENGINE, "The engine", connect).await.ok().map(Arc::new) } else { None };
    let listen =
        stack.as_ref().map_or_else(|_| SocketAddr::from(([127, 0, 0, 1], 8899)), |s| s.gateway.listen);
    Place {
        machine,
        rehearsal,
        scale,
        stack,
        situation: Situation { pools, ..Situation::default() },
        watched: false,
        containers,
        processes: here.then(|| Arc::new(ProcessEngine::new(identity))),
        images,
        versions,
        gateway_open: false,
        listen: crate::start::gateway_address(options, listen),
        paths,
    }
}

/// Where agents of ours answer now.
async fn own_ports(engine: &dyn Engine) -> Vec<u16> {
    let list = within(MORE, "The engine", engine.list()).await;
    let instances = list.ok().and_then(Result::ok).unwrap_or_default();
    instances.iter().filter_map(|i| i.endpoint.rsplit(':').next()?.parse().ok()).collect()
}

/// The environment as it is: [`Options`] has no tokens in it, which are what must be known to be taken out.
fn variables() -> Vec<(OsString, OsString)> {
    std::env::vars_os().collect()
}

/// The controller's answer.
pub(crate) async fn doctor(ctx: &Ctx) -> Doctor {
    shape(checks(&facts(&of_controller(ctx).await).await))
}

/// The controller's answer, with a text to send.
pub(crate) async fn report(ctx: &Ctx) -> DoctorReport {
    let place = of_controller(ctx).await;
    report::of(&place, &facts(&place).await, variables()).await
}

/// With nothing running.
pub async fn offline_doctor(options: &Options) -> Doctor {
    shape(checks(&facts(&offline(options).await).await))
}

/// With nothing running.
pub async fn offline_report(options: &Options) -> DoctorReport {
    let place = offline(options).await;
    report::of(&place, &facts(&place).await, variables()).await
}
