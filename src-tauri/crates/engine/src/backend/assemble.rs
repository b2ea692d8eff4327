//! What the backends have in common: refusing what Asgard sets itself, and dressing a command line for a container,
//! a local process or a rehearsal.

use std::collections::BTreeMap;

use domain::GpuVendor;
use domain::pool::PoolId;
use domain::stack::{Agent, BackendKind, Runs};

use super::flags::Fallback;
use super::{Host, NvidiaCard, Order, StandIn};
use crate::launch::{Launch, Mount, Program};
use crate::{EngineError, ErrorKind};

/// Shared memory of a container with private IPC. Only what is used counts; a tensor-parallel server needs gigabytes.
const SHM_BYTES: u64 = 16 << 30;

/// A flag that belongs to Asgard, in all its spellings, the variables that say the same, and what to write instead.
pub(super) struct Reserved {
    pub(super) spellings: &'static [&'static str],
    pub(super) env: &'static [&'static str],
    pub(super) instead: Instead,
}

impl Reserved {
    pub(super) const fn key(spellings: &'static [&'static str], key: &'static str) -> Self {
        Self { spellings, env: &[], instead: Instead::Key(key) }
    }

    pub(super) const fn never(spellings: &'static [&'static str], why: &'static str) -> Self {
        Self { spellings, env: &[], instead: Instead::Never(why) }
    }

    pub(super) const fn or_env(mut self, env: &'static [&'static str]) -> Self {
        self.env = env;
        self
    }
}

#[derive(Clone, Copy)]
pub(super) enum Instead {
    /// The key of the agent's table in the stack file.
    Key(&'static str),
    /// There is nothing to write: the sentence says why.
    Never(&'static str),
}

/// How a command line spells a flag: what is compared, and whether a longer flag may be cut short.
#[derive(Clone, Copy)]
pub(super) enum Spelling {
    /// Python's argparse: underscores for hyphens, `--flag=value`, and any beginning that only one flag has.
    Argparse,
    /// llama.cpp: exactly as it is.
    Exact,
}

/// The first of the user's arguments that sets what Asgard sets.
///
/// # Errors
/// Names the argument and what to write instead.
pub(super) fn check_args(agent: &Agent, reserved: &[Reserved], how: Spelling) -> Result<(), EngineError> {
    for argument in &agent.args {
        let Some(found) = reserved.iter().find(|r| r.spellings.iter().any(|s| spells(argument, s, how)))
        else {
            continue;
        };
        let flag = argument.split('=').next().unwrap_or(argument);
        let next = match found.instead {
            Instead::Key(key) => {
                format!("Take it out of args and write `{key}` in [agents.{}] instead.", agent.name)
            }
            Instead::Never(why) => format!("Take it out of args in [agents.{}]: {why}.", agent.name),
        };
        return Err(EngineError::new(
            ErrorKind::Failed,
            format!("The args of {} set {flag}, which Asgard sets itself.", agent.display_name),
            next,
        ));
    }
    Ok(())
}

fn spells(argument: &str, flag: &str, how: Spelling) -> bool {
    let given = argument.split('=').next().unwrap_or(argument);
    if given == flag {
        return true;
    }
    if matches!(how, Spelling::Exact) {
        return false;
    }
    if !flag.starts_with("--") {
        // A value may hang on a short flag: "-tp2", "-qawq".
        return given.strip_prefix(flag).is_some_and(|value| {
            flag.len() == 2 || value.starts_with(|c: char| !c.is_ascii_alphabetic() && c != '-')
        });
    }
    // A beginning of three letters and more is taken for the whole flag, as argparse does.
    let given = given.replace('_', "-");
    given.len() >= 5 && given.starts_with("--") && flag.starts_with(given.as_str())
}

/// Whether the user's arguments give this flag, so that Asgard's own default stays away.
pub(super) fn gives(agent: &Agent, spellings: &[&str], how: Spelling) -> bool {
    agent.args.iter().any(|a| spellings.iter().any(|s| spells(a, s, how)))
}

/// Asgard's variables and the agent's own.
///
/// # Errors
/// The agent's table sets one of Asgard's, or a token.
pub(super) fn environment(
    agent: &Agent,
    ours: impl IntoIterator<Item = (&'static str, String)>,
    key: &str,
    reserved: &[Reserved],
) -> Result<BTreeMap<String, String>, EngineError> {
    let mut all: BTreeMap<String, String> = ours.into_iter().map(|(k, v)| (k.to_owned(), v)).collect();
    for (name, value) in &agent.env {
        let refusal = if matches!(name.as_str(), "HF_TOKEN" | "HUGGING_FACE_HUB_TOKEN") {
            Some("agents run offline and are never given a token")
        } else if name == key || name.starts_with("ASGARD_") || all.contains_key(name) {
            Some("Asgard sets it itself")
        } else {
            None
        };
        // The first card is the one that is counted where none is chosen: to name it changes nothing.
        let first_card = name.ends_with("_VISIBLE_DEVICES") && value == "0" && chosen_cards(agent).is_empty();
        if let Some(found) = reserved.iter().find(|r| r.env.contains(&name.as_str()) && !first_card) {
            let next = match found.instead {
                Instead::Key(key) => {
                    format!("Take {name} out of env and write `{key}` in [agents.{}] instead.", agent.name)
                }
                Instead::Never(why) => format!("Take {name} out of env in [agents.{}]: {why}.", agent.name),
            };
            return Err(EngineError::new(
                ErrorKind::Failed,
                format!(
                    "The env of {} sets {name}, which decides what Asgard sets itself.",
                    agent.display_name
                ),
                next,
            ));
        }
        if let Some(why) = refusal {
            return Err(EngineError::new(
                ErrorKind::Failed,
                format!("The env of {} sets {name}: {why}.", agent.display_name),
                format!("Take {name} out of env in [agents.{}].", agent.name),
            ));
        }
        all.insert(name.clone(), value.clone());
    }
    Ok(all)
}

/// Where the server will run, and so which address it binds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// Inside a container every address is bound: the published port is what keeps it on 127.0.0.1.
    Container,
    Local,
}

impl Place {
    pub(super) fn of(order: &Order<'_>) -> Result<Self, EngineError> {
        match (&order.rehearsal, &order.agent.runs) {
            (Some(rehearsal), _) => Ok(match rehearsal.stand_in {
                StandIn::Image { .. } => Self::Container,
                StandIn::Process { .. } => Self::Local,
            }),
            (None, Runs::Container { .. }) => Ok(Self::Container),
            (None, Runs::Process { .. }) => Ok(Self::Local),
            (None, Runs::External { .. } | Runs::Ollama { .. }) => Err(EngineError::new(
                ErrorKind::Failed,
                format!("{} is not ours to start or stop.", order.agent.display_name),
                "Start its server yourself; Asgard uses it as soon as it answers.",
            )),
        }
    }

    pub(super) fn why(self) -> &'static str {
        match self {
            Self::Container => "Every address inside its container; only the port on 127.0.0.1 leads there.",
            Self::Local => "This machine alone reaches it.",
        }
    }

    pub(super) fn host(self) -> &'static str {
        match self {
            Self::Container => "0.0.0.0",
            Self::Local => "127.0.0.1",
        }
    }
}

/// What a backend made of an agent, before it is known what runs it.
pub(super) struct Parts {
    /// The whole command line, beginning with the program's own name.
    pub(super) line: Vec<String>,
    /// Whether the image's entry point already is the program.
    pub(super) image_is_program: bool,
    /// The program that is run whatever the image's entry point is; the line's own name then is not given again.
    pub(super) entrypoint: Option<&'static str>,
    pub(super) mounts: Vec<Mount>,
    pub(super) env: BTreeMap<String, String>,
    pub(super) key_variable: &'static str,
    pub(super) fallbacks: Vec<Fallback>,
}

/// Whose GPU it is: as the machine says, else by the device that only one maker has.
pub(super) fn vendor(host: &Host) -> Option<GpuVendor> {
    host.gpu_vendor.or_else(|| host.devices.iter().any(|d| d == "/dev/kfd").then_some(GpuVendor::Amd))
}

/// Whether a container could be given a GPU here.
pub(super) fn has_gpu(order: &Order<'_>) -> bool {
    vendor(order.host) == Some(GpuVendor::Nvidia) || !order.host.devices.is_empty()
}

/// Whose GPU the agent is on: its own devices' maker, else the machine's.
fn vendor_of(agent: &Agent, host: &Host) -> Option<GpuVendor> {
    let nvidia = |pool: &PoolId| host.nvidia.iter().any(|card| card.pool == *pool);
    match agent.devices.as_slice() {
        [] => vendor(host),
        pools if pools.iter().any(nvidia) => Some(GpuVendor::Nvidia),
        _ if host.nvidia.is_empty() => vendor(host),
        _ => Some(GpuVendor::Amd),
    }
}

/// The numbers of the cards that the agent names or is divided over: "gpu0" is 0, and without names it is the first
/// `tensor_parallel`. Empty where nothing is chosen.
fn chosen_cards(agent: &Agent) -> Vec<u32> {
    if agent.devices.is_empty() && agent.tensor_parallel > 1 {
        return (0..agent.tensor_parallel).collect();
    }
    agent.devices.iter().filter_map(number).collect()
}

fn number(pool: &PoolId) -> Option<u32> {
    pool.0.strip_prefix("gpu")?.parse().ok()
}

/// The cards as NVIDIA's runtime is asked for them. An agent that names none is counted on the first.
fn nvidia_cards(agent: &Agent, host: &Host) -> Vec<String> {
    let wanted = usize::try_from(agent.tensor_parallel.max(1)).unwrap_or(1);
    let name = |(at, card): (usize, &NvidiaCard)| card.uuid.clone().unwrap_or_else(|| at.to_string());
    let all = host.nvidia.iter().enumerate();
    match (host.nvidia.is_empty(), agent.devices.is_empty()) {
        (true, true) => (0..wanted).map(|n| n.to_string()).collect(),
        (true, false) => chosen_cards(agent).iter().map(u32::to_string).collect(),
        (false, true) => all.take(wanted).map(name).collect(),
        (false, false) => all.filter(|(_, card)| agent.devices.contains(&card.pool)).map(name).collect(),
    }
}

/// The numbers of AMD's cards as ROCm counts them: cards of another maker have pools too, and no number there.
fn amd_cards(agent: &Agent, host: &Host) -> String {
    let others: Vec<u32> = host.nvidia.iter().filter_map(|card| number(&card.pool)).collect();
    let named = !agent.devices.is_empty();
    let counted = chosen_cards(agent).into_iter().filter_map(|n| {
        let before = others.iter().filter(|other| named && **other < n).count();
        n.checked_sub(u32::try_from(before).unwrap_or(u32::MAX))
    });
    counted.map(|n| n.to_string()).collect::<Vec<_>>().join(",")
}

/// What of the machine's GPU a container is given, and the variables that choose among cards.
#[derive(Default)]
struct Gpu {
    devices: Vec<String>,
    groups: Vec<u32>,
    nvidia: Option<Vec<String>>,
    env: Vec<(&'static str, String)>,
}

/// An agent that stays on the processor is given nothing of a GPU.
fn gpu(order: &Order<'_>, place: Place) -> Gpu {
    let (agent, host) = (order.agent, order.host);
    if !agent.on_device() || order.rehearsal.is_some() {
        return Gpu::default();
    }
    if vendor_of(agent, host) == Some(GpuVendor::Nvidia) {
        let cards = nvidia_cards(agent, host);
        let env = match place {
            // The engine shows a container only the cards that it is given.
            Place::Container => Vec::new(),
            Place::Local => vec![("CUDA_VISIBLE_DEVICES", cards.join(","))],
        };
        return Gpu { nvidia: Some(cards), env, ..Gpu::default() };
    }
    let cards = amd_cards(agent, host);
    let mut env = Vec::new();
    if !cards.is_empty() {
        if agent.backend == BackendKind::LlamaCpp {
            env.push(("GGML_VK_VISIBLE_DEVICES", cards.clone()));
        }
        // One of ROCm's two variables only: the second would count within what the first leaves.
        env.push(("HIP_VISIBLE_DEVICES", cards));
    }
    let groups = if host.devices.is_empty() { Vec::new() } else { host.groups.clone() };
    Gpu { devices: host.devices.clone(), groups, nvidia: None, env }
}

/// The launch of these parts: for real, or with the stand-in in the program's place.
pub(super) fn launch(order: &Order<'_>, parts: Parts) -> Result<Launch, EngineError> {
    let Parts { line, image_is_program, entrypoint, mounts, mut env, key_variable, fallbacks } = parts;
    let given = gpu(order, Place::of(order)?);
    env.extend(given.env.iter().map(|(name, value)| ((*name).to_owned(), value.clone())));
    let log_file = order.host.logs.join(format!("{}.log", order.agent.name));
    let without_name = || line.iter().skip(1).cloned().collect::<Vec<_>>();
    let (program, args, env) = match (&order.rehearsal, &order.agent.runs) {
        (Some(rehearsal), _) => {
            let (program, folder) = match &rehearsal.stand_in {
                StandIn::Image { image, folder } => {
                    let program = Program::Image {
                        image: image.clone(),
                        devices: Vec::new(),
                        groups: Vec::new(),
                        mounts: vec![Mount {
                            source: folder.clone(),
                            target: folder.to_string_lossy().into_owned(),
                            read_only: false,
                        }],
                        host_ipc: false,
                        shm_bytes: 64 << 20,
                        seccomp_unconfined: false,
                        entrypoint: None,
                        nvidia: None,
                        fallbacks,
                    };
                    (program, folder)
                }
                StandIn::Process { command, folder } => {
                    (Program::Local { command: command.clone(), log_file }, folder)
                }
            };
            let report = folder.join("held").join(format!("{}.json", order.agent.name));
            let mut env = env;
            env.extend(rehearsal.env.iter().cloned());
            env.insert("ASGARD_AGENT".to_owned(), order.agent.name.to_string());
            env.insert("ASGARD_REHEARSAL_HOLD".to_owned(), rehearsal.hold.to_string());
            env.insert("ASGARD_REHEARSAL_REPORT".to_owned(), report.to_string_lossy().into_owned());
            (program, line, env)
        }
        (None, Runs::Container { image, host_ipc }) => {
            let program = Program::Image {
                image: image.clone(),
                // ROCm needs calls that the default profile forbids; without its devices nothing is opened up.
                seccomp_unconfined: !given.devices.is_empty(),
                devices: given.devices,
                groups: given.groups,
                nvidia: given.nvidia,
                mounts,
                host_ipc: *host_ipc,
                shm_bytes: SHM_BYTES,
                entrypoint: entrypoint.map(|program| vec![program.to_owned()]),
                fallbacks,
            };
            let args = if image_is_program || entrypoint.is_some() { without_name() } else { line };
            (program, args, env)
        }
        (None, Runs::Process { command }) => {
            (Program::Local { command: command.clone(), log_file }, without_name(), env)
        }
        (None, Runs::External { .. } | Runs::Ollama { .. }) => {
            Place::of(order)?;
            return Err(EngineError::new(
                ErrorKind::Failed,
                "An external agent has no launch.",
                "Leave it be.",
            ));
        }
    };
    Ok(Launch {
        identity: order.identity.clone(),
        agent: order.agent.name.clone(),
        program,
        args,
        env,
        key: (key_variable.to_owned(), order.key.clone()),
        port: order.agent.port,
        revision: order.revision.clone(),
        reserved: order.reserved.clone(),
    })
}
