//! What the backends have in common: refusing what Asgard sets itself, and dressing a command line for a container,
//! a local process or a rehearsal.

use std::collections::BTreeMap;

use domain::stack::{Agent, Runs};

use super::{Order, StandIn};
use crate::launch::{Launch, Mount, Program};
use crate::{EngineError, ErrorKind};

/// Shared memory of a container with private IPC. Only what is used counts; a tensor-parallel server needs gigabytes.
const SHM_BYTES: u64 = 16 << 30;

/// A flag that belongs to Asgard, in all its spellings, and what to write instead.
pub(super) struct Reserved {
    pub(super) spellings: &'static [&'static str],
    pub(super) instead: Instead,
}

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
    if matches!(how, Spelling::Exact) || !flag.starts_with("--") {
        return false;
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
    pub(super) mounts: Vec<Mount>,
    pub(super) env: BTreeMap<String, String>,
    pub(super) key_variable: &'static str,
}

/// The launch of these parts: for real, or with the stand-in in the program's place.
pub(super) fn launch(order: &Order<'_>, parts: Parts) -> Result<Launch, EngineError> {
    let Parts { line, image_is_program, mounts, env, key_variable } = parts;
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
                devices: order.host.devices.clone(),
                groups: if order.host.devices.is_empty() { Vec::new() } else { order.host.groups.clone() },
                mounts,
                host_ipc: *host_ipc,
                shm_bytes: SHM_BYTES,
                // ROCm needs calls that the default profile forbids; without a GPU nothing is opened up.
                seccomp_unconfined: !order.host.devices.is_empty(),
            };
            let args = if image_is_program { without_name() } else { line };
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
